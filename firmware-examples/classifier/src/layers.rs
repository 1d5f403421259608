//! Instructions of each layer.

use crate::NODES;
use board_qemu::{Clock, Output};
use core::sync::atomic::{AtomicU32, Ordering};
use skipstone_runtime::{Engine, InputError, Moment};

/// Ticks of each node's steps, wrapping: a step's begin is subtracted, its end is added.
static TICKS: [AtomicU32; NODES] = [const { AtomicU32::new(0) }; NODES];

/// Classifies an image and writes a line for each node of the model. The clock runs.
pub(crate) fn report(engine: &mut Engine<'_, '_>, image: &[u8], out: &mut Output) -> Result<(), InputError> {
    lines::run_marked(engine, image)?;
    engine.watch_steps(count);
    engine.run(image)?;
    for (node, ticks) in TICKS.iter().enumerate() {
        let instructions = Clock::in_instructions(ticks.load(Ordering::Relaxed).into());
        lines::numbers(out, &[("layer ", node as u64), (" instructions ", instructions)]);
    }
    Ok(())
}

fn count(node: usize, moment: Moment) {
    let Some(sum) = TICKS.get(node) else { return };
    let (now, old) = (Clock::ticks() as u32, sum.load(Ordering::Relaxed));
    let new = match moment {
        Moment::Begin => old.wrapping_sub(now),
        Moment::End => old.wrapping_add(now),
    };
    // Nothing else writes it; Cortex-M0 has no atomic addition.
    sum.store(new, Ordering::Relaxed);
}
