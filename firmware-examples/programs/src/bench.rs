use crate::{Board, Firmware, engine, fail};
use core::sync::atomic::{AtomicU32, Ordering};
use lines::Sink;
use skipstone_runtime::{Moment, Watch};

/// What each node's steps take, wrapping: a step's begin is subtracted, its end is added.
pub struct Layers<const NODES: usize>(
    /// One for each node.
    pub [AtomicU32; NODES],
);

impl<const NODES: usize> Layers<NODES> {
    /// Nothing yet.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self([const { AtomicU32::new(0) }; NODES])
    }
}

/// Runs an image, and tells what the inference and each layer of it take.
pub fn bench<B: Board>(mut board: B, firmware: Firmware, layers: &'static [AtomicU32], watch: Watch) -> ! {
    let Firmware { stone, load, program, image, arena, layers: checksums, .. } = firmware;
    board.log().text(lines::FIRST);
    board.paint_stack();
    let arena_len = arena.len() as u64;
    let start = B::ticks();
    let mut engine = engine(&mut board, (stone, load), arena, program);
    let loading = B::counted(B::ticks() - start);
    let Some(image) = image(engine.model(), 0) else {
        fail(&mut board, "there is no image, neither a test image nor a test vector");
    };

    let start = B::ticks();
    let mut ran = engine.run(image).map(drop);
    let counted = B::counted(B::ticks() - start);
    let stack = board.stack();
    lines::backend(&engine, board.log());
    lines::numbers(board.log(), &[("loading ", loading)]);
    lines::numbers(board.log(), &[(B::COUNTS, counted)]);
    lines::numbers(board.log(), &[("memory arena ", arena_len), (" stack ", stack as u64)]);
    ran = ran.and(lines::image(&mut engine, 0, image, checksums, board.log()));
    ran = ran.and(lines::run_marked(&mut engine, image));
    engine.watch_steps(watch);
    ran = ran.and(engine.run(image).map(drop));
    for (node, ticks) in layers.iter().enumerate() {
        let log = board.log();
        log.text("layer ");
        log.number(node as u64);
        log.text(" ");
        lines::numbers(log, &[(B::COUNTS, B::counted(ticks.load(Ordering::Relaxed).into()))]);
    }
    if ran.is_err() {
        fail(&mut board, "an image has another length than the model's");
    }
    lines::numbers(board.log(), &[("done ", 1)]);
    board.end(true)
}

/// Counts a step's begin or end for its node.
pub fn count<B: Board>(layers: &[AtomicU32], node: usize, moment: Moment) {
    let Some(sum) = layers.get(node) else { return };
    let (now, old) = (B::ticks() as u32, sum.load(Ordering::Relaxed));
    let new = match moment {
        Moment::Begin => old.wrapping_sub(now),
        Moment::End => old.wrapping_add(now),
    };
    // Nothing else writes it; Cortex-M0 has no atomic addition.
    sum.store(new, Ordering::Relaxed);
}
