//! For build scripts: the [`Program`](crate::Program) that a model needs, as source text.

use crate::format::records::{Core, Node, OpCode};
use crate::kernels::layout::RowElement;
use crate::kernels::spec::ConvSpec;
use crate::model::Model;
use crate::ops::{self, conv};
use crate::schedule::Network;
use std::collections::BTreeSet;

/// Rust source that defines `PROGRAM`, a `static` [`Program`](crate::Program) with the operators and kernels that `model`
/// names and no others, for the core that the model is laid out for.
///
/// A build script writes it to a file that the program includes:
///
/// ```
/// # fn write(model: &skipstone_runtime::Model<'_>) -> std::io::Result<()> {
/// let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").unwrap());
/// std::fs::write(out.join("program.rs"), skipstone_runtime::codegen::program(model))
/// # }
/// ```
pub fn program(model: &Model<'_>) -> String {
    let core = Core::from_code(model.header().core).unwrap_or(Core::Generic);
    let mut operators = BTreeSet::new();
    let mut kernels = BTreeSet::new();
    for node in model.nodes() {
        operators.extend(ops::rules(node).map(|rules| format!("&skipstone_runtime::{}", rules.path)));
        kernels.extend(kernel(model, node, core).map(|spec| format!("skipstone_runtime::{}", spec.path)));
    }
    let elements: Vec<RowElement> = core
        .kernels()
        .iter()
        .filter(|spec| kernels.iter().any(|path| path.ends_with(spec.path)))
        .map(|spec| spec.layout.element)
        .collect();
    let convolution = match elements[..] {
        [RowElement::Int8] => "conv::INT8",
        [RowElement::Int16] => "conv::INT16",
        _ => "conv::OPERATOR",
    };
    let joined = |paths: BTreeSet<String>| paths.into_iter().collect::<Vec<_>>().join(", ");
    PROGRAM
        .replace("{operators}", &joined(operators).replace("conv::OPERATOR", convolution))
        .replace("{kernels}", &joined(kernels))
        .replace("{backend}", core.backend())
}

const PROGRAM: &str = r#"/// The operators and kernels that the model names.
static PROGRAM: skipstone_runtime::Program = {
    use skipstone_runtime::kernels::Backend;
    use skipstone_runtime::ops::Operators;
    static OPERATORS: Operators = Operators::of(&[{operators}]);
    static BACKEND: Backend = Backend { name: "{backend}", available: || true, kernels: &[{kernels}] };
    skipstone_runtime::Program { operators: &OPERATORS, backend: &BACKEND }
};
"#;

/// The kernel of a core that runs a node, if it is a convolution.
fn kernel(model: &Model<'_>, node: &Node, core: Core) -> Option<&'static ConvSpec> {
    if node.op != OpCode::Conv as u8 {
        return None;
    }
    let shape = conv::conv_shape(node, model.tensor(node.input.into()), model.tensor(node.output.into()));
    let runs = |spec: &&&ConvSpec| spec.layout.code == node.layout && (spec.suits)(&shape);
    core.kernels().iter().find(runs).copied()
}

#[cfg(test)]
mod tests {
    use super::program;
    use crate::kernels::layout::{CANONICAL, PAIRS};
    use crate::model::Model;
    use crate::testing::small_resnet;

    #[test]
    fn a_program_names_what_its_model_needs() {
        for (layout, backend, kernels) in [
            (&CANONICAL, "portable", "&[skipstone_runtime::kernels::portable::CONV]"),
            (
                &PAIRS,
                "cortex_m",
                "&[skipstone_runtime::kernels::cortex_m::CONV, skipstone_runtime::kernels::portable::CONV]",
            ),
        ] {
            let file = small_resnet(9, 7, layout).pack();
            let source = program(&Model::from_bytes(&file).unwrap());
            assert!(source.contains(kernels) && source.contains(&format!("name: \"{backend}\"")), "{source}");
            assert!(source.contains(if backend == "portable" { "conv::INT8" } else { "conv::OPERATOR" }), "{source}");
            for operator in ["add", "copy", "global_pool"] {
                assert!(source.contains(&format!("&skipstone_runtime::ops::{operator}::OPERATOR")), "{source}");
            }
            assert!(!source.contains("resize"), "{source}");
        }
    }
}
