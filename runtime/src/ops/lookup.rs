//! A function of one value, as a table.

use super::{Operands, Operator, Rules, dense_row, ensure, no_bytes, same_rows};
use crate::arena::Maps;
use crate::format::records::{OpCode, TABLE_LEN};
use crate::kernels::elementwise;
use crate::step::Step;

/// The lookup.
pub static OPERATOR: Operator = Operator { code: OpCode::Lookup, reduces: false, reads: same_rows, step };

/// Its rules.
pub static RULES: Rules = Rules {
    operator: &OPERATOR,
    path: "ops::lookup::OPERATOR",
    operands: Operands::One,
    flags: 0,
    gathers: false,
    requants: no_bytes,
    scratch: dense_row,
    state: no_bytes,
    check: |checked| {
        ensure!(checked.keeps_shape(), "a lookup cannot change the shape")?;
        let table = checked.node.weights_len as usize == TABLE_LEN
            && checked.is_section(checked.node.weights, TABLE_LEN as u64);
        ensure!(table, "its table does not have 256 bytes or lies outside the file")
    },
    sums: |_| Ok(()),
};

fn step(step: &Step<'_, '_>, maps: &mut Maps<'_>, dense: &mut [i8]) {
    let Some(table) = step.model.table(step.node) else { return };
    for row in step.rows() {
        let (input, out) = step.in_and_out_row((step.input, row), row, maps, dense);
        elementwise::lookup(input, table, out);
        step.put(row, maps, dense);
    }
}
