use crate::{Board, Firmware, engine, fail};
use lines::Sink;
use skipstone_runtime::SelfTestError;
use skipstone_runtime::schedule::Network;

/// Runs the model's test vectors and tells for each whether every layer and the scores are the host's, or the first layer
/// that is not; then `PASS` or `FAIL` of all.
pub fn selftest<B: Board>(mut board: B, firmware: Firmware) -> ! {
    let Firmware { stone, load, program, arena, layers, .. } = firmware;
    board.log().text(lines::FIRST);
    let mut engine = engine(&mut board, (stone, load), arena, program);
    let model = *engine.model();
    lines::backend(&engine, board.log());
    let count = model.test_vectors().len();
    if count == 0 {
        fail(&mut board, "the model has no test vectors: quantize it with --test-vectors 2");
    }
    let mut passed = 0;
    for (index, vector) in model.test_vectors().enumerate() {
        let verdict = engine.self_test(&vector, layers);
        let log = board.log();
        log.text("vector ");
        log.number(index as u64);
        match verdict {
            Ok(()) => {
                passed += 1;
                log.text(" PASS");
            }
            Err(SelfTestError::Layer(node)) => {
                log.text(" FAIL node ");
                log.number(node as u64);
                log.text(" ");
                log.text(model.string(model.node(node).name));
            }
            Err(SelfTestError::Scores) => log.text(" FAIL scores"),
            Err(_) => log.text(" FAIL length"),
        }
        log.text("\n");
    }
    let verdict = if passed == count { "PASS " } else { "FAIL " };
    lines::numbers(board.log(), &[(verdict, passed as u64), (" of ", count as u64)]);
    board.end(passed == count)
}
