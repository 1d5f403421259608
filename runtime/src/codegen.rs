//! For build scripts: the [`Program`](crate::Program) that a model needs, as source text.

use crate::format::records::{Core, OpCode};
use crate::kernels::spec::{ARMV6M, ARMV7M, CORTEX_M, ConvSpec, DOTPROD, NEON, PORTABLE, X86};
use crate::model::Model;
use crate::ops::{self, conv};
use crate::schedule::Network;
use std::collections::BTreeSet;

/// Rust source that defines `PROGRAM`, a `static` [`Program`](crate::Program) with the operators and kernels that `model`
/// names and no others, and `RULES`, the rules of these operators for
/// [`Model::from_bytes_for`](crate::Model::from_bytes_for), for programs of a target of rustc; `dsp` says whether an Armv8-M Mainline core has the DSP
/// extension.
///
/// A build script writes it to a file that the program includes:
///
/// ```
/// # fn write(model: &skipstone_runtime::Model<'_>) -> Result<(), Box<dyn std::error::Error>> {
/// let target = std::env::var("TARGET")?;
/// let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
/// std::fs::write(out.join("program.rs"), skipstone_runtime::codegen::program(model, &target, false)?)?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// One line that names the core that the model is laid out for, and the target whose kernels do not read it.
pub fn program(model: &Model<'_>, target: &str, dsp: bool) -> Result<String, String> {
    source(model, target, dsp, false)
}

/// [`program`] with fewer kernels where those that run more convolutions take less flash than the fastest ones.
///
/// # Errors
/// As [`program`].
pub fn small_program(model: &Model<'_>, target: &str, dsp: bool) -> Result<String, String> {
    source(model, target, dsp, true)
}

fn source(model: &Model<'_>, target: &str, dsp: bool, small: bool) -> Result<String, String> {
    let smlad = target.starts_with("thumbv7em") || target.starts_with("thumbv8m.main") && dsp;
    let (backend, available) = match target.split('-').next() {
        _ if smlad => ("cortex_m", CORTEX_M),
        Some("thumbv6m" | "thumbv8m.base") => ("thumb", ARMV6M),
        Some(thumb) if thumb.starts_with("thumbv") => ("thumb", ARMV7M),
        Some("aarch64") if Core::from_code(model.header().core) == Some(Core::Dotprod) => ("dotprod", DOTPROD),
        Some("aarch64") => ("neon", NEON),
        Some("x86_64") => ("x86", X86),
        _ => ("portable", PORTABLE),
    };
    let used = kernels(model, available.iter().copied()).ok_or_else(|| {
        let core = Core::from_code(model.header().core).unwrap_or(Core::Generic).name();
        format!("the model is laid out for {core}, programs for {target} do not read it: pack it for that target")
    })?;
    // The most specific kernels come first, so the last that suits is the one that suits the most convolutions.
    let general =
        kernels(model, available.iter().copied().rev()).filter(|general| small && bytes(general) < bytes(&used));
    let used = general.unwrap_or(used);
    let [mut operators, mut layouts, mut elements] = [const { BTreeSet::new() }; 3];
    for node in model.nodes() {
        operators.extend(ops::rules(node).map(|rules| format!("&skipstone_runtime::{}", rules.path)));
    }
    for spec in &used {
        layouts.insert(format!("&skipstone_runtime::kernels::layout::{}_PACKING", spec.layout.name.to_uppercase()));
        elements.insert(format!("{:?}", spec.layout.element));
    }
    let convolution = match elements.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["Int8"] => "conv::INT8",
        ["Int16"] => "conv::INT16",
        _ => "conv::OPERATOR",
    };
    // The first one that suits a convolution runs it, so they keep their order.
    let kernels = available.iter().filter(|spec| used.iter().any(|used| used.path == spec.path));
    let kernels: Vec<_> = kernels.map(|spec| format!("skipstone_runtime::{}", spec.path)).collect();
    let joined = |paths: BTreeSet<String>| paths.into_iter().collect::<Vec<_>>().join(", ");
    let operators = joined(operators).replace("conv::OPERATOR", convolution);
    let rules =
        operators.replace("::OPERATOR", "::RULES").replace("INT8", "INT8_RULES").replace("INT16", "INT16_RULES");
    Ok(PROGRAM
        .replace("{rules}", &rules)
        .replace("{layouts}", &joined(layouts))
        .replace("{operators}", &operators)
        .replace("{kernels}", &kernels.join(", "))
        .replace("{backend}", backend))
}

const PROGRAM: &str = r#"/// The operators and kernels that the model names.
static PROGRAM: skipstone_runtime::Program = {
    use skipstone_runtime::kernels::Backend;
    use skipstone_runtime::ops::Operators;
    static OPERATORS: Operators = Operators::of(&[{operators}]);
    static BACKEND: Backend = Backend { name: "{backend}", available: || true, kernels: &[{kernels}] };
    skipstone_runtime::Program { operators: &OPERATORS, backend: &BACKEND }
};

/// What a check of the model judges by.
#[allow(dead_code)]
static RULES: skipstone_runtime::ops::RuleTable = skipstone_runtime::ops::RuleTable::of(&[{rules}], &[{layouts}]);
"#;

/// The kernels that run a model's convolutions, each the first that suits; `None` if one has none.
fn kernels(
    model: &Model<'_>,
    available: impl Iterator<Item = &'static ConvSpec> + Clone,
) -> Option<Vec<&'static ConvSpec>> {
    let mut used: Vec<&'static ConvSpec> = Vec::new();
    for node in model.nodes().iter().filter(|node| node.op == OpCode::Conv as u8) {
        let shape = conv::conv_shape(node, model.tensor(node.input.into()), model.tensor(node.output.into()));
        let kernel = available.clone().find(|spec| spec.layout.code == node.layout && (spec.suits)(&shape))?;
        if used.iter().all(|used| used.path != kernel.path) {
            used.push(kernel);
        }
    }
    Some(used)
}

/// Flash that kernels take, about.
fn bytes(kernels: &[&ConvSpec]) -> usize {
    kernels.iter().map(|kernel| kernel.code_bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::{program, small_program};
    use crate::kernels::layout::{CANONICAL, PAIRS};
    use crate::model::Model;
    use crate::testing::small_resnet;

    #[test]
    fn a_program_names_what_its_model_needs() {
        const SMLAD: &[&str] = &["cortex_m::PAIRS_3", "cortex_m::CONV", "thumb::CONV"];
        let source = |layout, target: &str, dsp| {
            let file = small_resnet(9, 7, layout).pack();
            program(&Model::from_bytes(&file).unwrap(), target, dsp)
        };
        for (layout, target, dsp, backend, kernels, convolution) in [
            (&CANONICAL, "thumbv6m-none-eabi", false, "thumb", &["thumb::CONV"][..], "INT8"),
            (&CANONICAL, "thumbv7m-none-eabi", false, "thumb", &["thumb::CONV"], "INT8"),
            (&CANONICAL, "thumbv7em-none-eabihf", false, "cortex_m", &["thumb::CONV"], "INT8"),
            (
                &CANONICAL,
                "riscv32imac-unknown-none-elf",
                false,
                "portable",
                &["scalar::CONV", "portable::CONV"],
                "INT8",
            ),
            (&PAIRS, "thumbv7em-none-eabihf", false, "cortex_m", SMLAD, "OPERATOR"),
            (&PAIRS, "thumbv8m.main-none-eabi", true, "cortex_m", SMLAD, "OPERATOR"),
            (&CANONICAL, "aarch64-unknown-linux-gnu", false, "neon", &["neon::CONV", "portable::CONV"], "INT8"),
        ] {
            let source = source(layout, target, dsp).unwrap();
            let kernels: Vec<_> =
                kernels.iter().map(|kernel| format!("skipstone_runtime::kernels::{kernel}")).collect();
            assert!(source.contains(&format!("kernels: &[{}]", kernels.join(", "))), "{source}");
            assert!(source.contains(&format!("name: \"{backend}\"")), "{source}");
            for operator in ["add::OPERATOR", "copy::OPERATOR", "global_pool::OPERATOR"] {
                assert!(source.contains(&format!("&skipstone_runtime::ops::{operator}")), "{source}");
            }
            assert!(source.contains(&format!("conv::{convolution}")) && !source.contains("resize"), "{source}");
        }
        let refused = source(&PAIRS, "thumbv7m-none-eabi", false).unwrap_err();
        assert!(refused.starts_with("the model is laid out for cortex-m4, programs for thumbv7m"), "{refused}");
        assert!(source(&PAIRS, "thumbv8m.main-none-eabi", false).is_err());
    }

    #[test]
    fn a_small_program_has_the_kernels_that_take_the_least_flash() {
        for (layout, target, kernels) in [
            (&PAIRS, "thumbv7em-none-eabihf", "kernels: &[skipstone_runtime::kernels::cortex_m::CONV, skip"),
            (&CANONICAL, "thumbv6m-none-eabi", "kernels: &[skipstone_runtime::kernels::thumb::CONV]"),
        ] {
            let file = small_resnet(9, 7, layout).pack();
            let source = small_program(&Model::from_bytes(&file).unwrap(), target, false).unwrap();
            assert!(source.contains(kernels), "{source}");
        }
    }
}
