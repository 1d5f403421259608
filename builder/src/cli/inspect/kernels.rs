//! The kernels of a packed model: why each was chosen, and what the next better one would cost.

use crate::cli::table::{Table, grouped};
use crate::pack::{Next, Reason};
use serde::Serialize;

/// The kernel of a convolution.
#[derive(Serialize)]
pub(super) struct Kernel {
    kernel: &'static str,
    /// Output rows of a step.
    rows_per_step: u8,
    /// What it is chosen for.
    why: &'static str,
    /// Estimated.
    instructions: u64,
    next: Option<Better>,
}

/// The next better kernel.
#[derive(Serialize)]
struct Better {
    kernel: &'static str,
    rows_per_step: u8,
    /// Flash that it takes more, of weights and kernel.
    flash_bytes: i64,
    /// What the arena takes more.
    ram_bytes: i64,
    instructions_saved: u64,
}

impl Kernel {
    pub(super) fn new(reason: &Reason) -> Self {
        let better = |next: &Next| Better {
            kernel: next.way.kernel.name,
            rows_per_step: next.way.rows,
            flash_bytes: next.flash_bytes,
            ram_bytes: next.ram_bytes,
            instructions_saved: next.instructions_saved,
        };
        Self {
            kernel: reason.way.kernel.name,
            rows_per_step: reason.way.rows,
            why: reason.why.name(),
            instructions: reason.way.instructions,
            next: reason.next.as_ref().map(better),
        }
    }

    /// Its estimated instructions.
    pub(super) fn instructions(&self) -> u64 {
        self.instructions
    }
}

/// For people: a row for each convolution, with its layer's name and the bytes of its weights.
pub(super) fn table<'k>(kernels: impl Iterator<Item = (&'k str, u32, &'k Kernel)>) -> Table {
    let head =
        ["layer", "kernel", "rows", "why", "instructions", "weights", "next better", "rows", "flash", "RAM", "saves"];
    let mut table = Table::new(&head);
    for (layer, weights, Kernel { kernel, rows_per_step, why, instructions, next }) in kernels {
        let mut row = vec![
            layer.to_owned(),
            (*kernel).to_owned(),
            rows_per_step.to_string(),
            (*why).to_owned(),
            grouped(*instructions),
            grouped(weights),
        ];
        if let Some(next) = next {
            row.extend([
                next.kernel.to_owned(),
                next.rows_per_step.to_string(),
                signed(next.flash_bytes),
                signed(next.ram_bytes),
                grouped(next.instructions_saved),
            ]);
        }
        table.row(row);
    }
    table
}

fn signed(bytes: i64) -> String {
    let sign = if bytes < 0 { "-" } else { "+" };
    format!("{sign}{}", grouped(bytes.unsigned_abs()))
}
