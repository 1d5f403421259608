//! Any bytes are a graph or an error; a graph survives its own export.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skipstone_onnx::{Batch, export, import};

fuzz_target!(|bytes: &[u8]| {
    let Ok(graph) = import(bytes) else { return };
    // A file may say in few words that many weights are one number; writing them out takes memory.
    if graph.parameters().map(|(_, _, parameter)| parameter.tensor.count()).sum::<usize>() > 1 << 24 {
        return;
    }
    let written = export(&graph, Batch::One);
    let again = import(&written).expect("what was exported is read");
    // Bit patterns, because weights may be NaN.
    assert_eq!(written, export(&again, Batch::One));
});
