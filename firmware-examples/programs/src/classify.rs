use crate::{Board, Firmware, engine, fail};
use lines::Sink;
use skipstone_runtime::format::checksum::Crc32;
use skipstone_runtime::{Engine, InputError};

/// Classifies the images that the program was built with, or those of the model's test vectors, and tells what it
/// computed, line by line as `docs/targets.md` says. Then it classifies what the board receives.
pub fn classify<B: Board>(mut board: B, firmware: Firmware) -> ! {
    let Firmware { stone, load, program, image, arena, layers, received } = firmware;
    board.log().text(lines::FIRST);
    board.paint_stack();
    let arena_len = arena.len() as u64;
    let start = B::ticks();
    let mut engine = engine(&mut board, (stone, load), arena, program);
    let loading = B::counted(B::ticks() - start);
    let model = *engine.model();
    let first = image(&model, 0);
    if first.is_none() && received.is_empty() {
        fail(&mut board, "there are no images, neither test images nor test vectors");
    }

    let mut ran = Ok(());
    let start = B::ticks();
    if let Some(image) = first {
        ran = engine.run(image).map(drop);
    }
    let counted = B::counted(B::ticks() - start);
    let stack = board.stack();
    lines::backend(&engine, board.log());
    let numbers = |board: &mut B, numbers: &[(&str, u64)]| lines::numbers(board.log(), numbers);
    numbers(&mut board, &[("loading ", loading)]);
    numbers(&mut board, &[(B::COUNTS, counted)]);
    numbers(&mut board, &[("memory arena ", arena_len), (" stack ", stack as u64)]);

    let mut count = 0;
    while let Some(image) = image(&model, count) {
        ran = ran.and(one(&mut board, &mut engine, count, image, layers));
        count += 1;
    }
    while !received.is_empty() && board.receive(received) {
        ran = ran.and(one(&mut board, &mut engine, count, received, layers));
        count += 1;
    }
    if ran.is_err() {
        fail(&mut board, "an image has another length than the model's");
    }
    numbers(&mut board, &[("done ", count as u64)]);
    board.end(true)
}

/// Classifies an image, writes its line and shows its class.
fn one<B: Board>(
    board: &mut B,
    engine: &mut Engine<'_, '_>,
    index: usize,
    image: &[u8],
    layers: &mut [Crc32],
) -> Result<(), InputError> {
    lines::image(engine, index, image, layers, board.log())?;
    let class = engine.top_k::<1>().first().map_or(0, |best| best.class);
    board.show(class, engine.model());
    Ok(())
}
