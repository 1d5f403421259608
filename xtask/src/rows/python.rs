//! Rows that ask tools written in Python, in an environment of their own.

use super::Context;
use crate::shell::{Failure, Run};
use crate::tools;

pub(super) fn onnx_checker(context: &Context) -> Result<String, Failure> {
    let python = tools::python(&context.root, &["onnx"])?;
    context.cargo("build -p skipstone --bin skipstone").pass()?;
    let full = if context.full { " --full" } else { "" };
    let line = format!("xtask/python/check_onnx.py target/debug/skipstone target/onnx-checker{full}");
    Run::new(&python, &context.root).args(line.split_whitespace()).pass()?;
    Ok(if context.full { "all architectures".into() } else { "those for small images; all with --full".into() })
}
