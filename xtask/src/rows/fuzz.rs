//! Short fuzzing of the formats that are read from strangers.

use super::Context;
use crate::shell::Failure;
use crate::tools;

pub(super) fn stone(context: &Context) -> Result<String, Failure> {
    fuzz(context, "stone")
}

pub(super) fn onnx(context: &Context) -> Result<String, Failure> {
    fuzz(context, "onnx")
}

/// Fuzzes one target of `tests/fuzz`, starting from small valid files that the project's own code writes.
fn fuzz(context: &Context, target: &str) -> Result<String, Failure> {
    let fuzzer = tools::fuzzer(&context.root)?;
    context.cargo("run -p skipstone-tests --example seeds -- target/fuzz-seeds").pass()?;
    // What the fuzzer finds goes into the first folder, so that the second keeps only seeds.
    let found = context.root.join("target/fuzz-corpus").join(target);
    std::fs::create_dir_all(&found).map_err(|e| Failure(format!("cannot create {}: {e}", found.display())))?;
    let seconds = context.fuzz_seconds;
    let folders = format!("target/fuzz-corpus/{target} target/fuzz-seeds/{target}");
    let limits = format!("-max_total_time={seconds} -timeout=20 -max_len=65536 -print_final_stats=1 -verbosity=0");
    fuzzer.cargo("run", &format!("{target} {folders} -- {limits}"), &context.root).pass()?;
    Ok(format!("{seconds} s, {}", fuzzer.remark()))
}
