//! For build scripts: the [`Program`](crate::Program) that a model needs, as source text.

use crate::format::records::{Core, OpCode};
use crate::kernels::spec::{ARMV6M, ARMV7M, CORTEX_M, ConvSpec, DOTPROD, MVE, NEON, PORTABLE, X86};
use crate::model::Model;
use crate::ops::{self, conv};
use crate::schedule::Network;
use std::collections::BTreeSet;

/// What a program tells of its Armv8-M Mainline core, because the compiler's target does not, by the runtime's feature of this
/// name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// `dsp`: dual 16-bit multiply-accumulates (M33).
    Dsp,
    /// `mve`: Helium (M55, M85).
    Mve,
}

impl Extension {
    /// For build scripts: the extension whose feature their package has by the same name.
    pub fn of_package() -> Option<Self> {
        let has = |feature: &str| std::env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
        if has("MVE") { Some(Self::Mve) } else { has("DSP").then_some(Self::Dsp) }
    }
}

/// Rust source that defines `PROGRAM`, a `static` [`Program`](crate::Program) with the operators and kernels that `model`
/// names and no others, and `RULES`, the rules of these operators for
/// [`Model::from_bytes_for`](crate::Model::from_bytes_for), for programs of a target of rustc; `told` is the extension of which a
/// program for an Armv8-M Mainline core tells the runtime by a feature.
///
/// A build script writes it to a file that the program includes:
///
/// ```
/// # fn write(model: &skipstone_runtime::Model<'_>) -> Result<(), Box<dyn std::error::Error>> {
/// let target = std::env::var("TARGET")?;
/// let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
/// std::fs::write(out.join("program.rs"), skipstone_runtime::codegen::program(model, &target, None)?)?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// One line that names the core that the model is laid out for, and the target whose kernels do not read it.
pub fn program(model: &Model<'_>, target: &str, told: Option<Extension>) -> Result<String, String> {
    source(model, target, told, false)
}

/// [`program`] with fewer kernels where those that run more convolutions take less flash than the fastest ones.
///
/// # Errors
/// As [`program`].
pub fn small_program(model: &Model<'_>, target: &str, told: Option<Extension>) -> Result<String, String> {
    source(model, target, told, true)
}

fn source(model: &Model<'_>, target: &str, told: Option<Extension>, small: bool) -> Result<String, String> {
    let core = Core::from_code(model.header().core).unwrap_or(Core::Generic);
    let told = told.filter(|_| target.starts_with("thumbv8m.main"));
    let (backend, available) = match target.split('-').next() {
        _ if told == Some(Extension::Mve) => ("mve", MVE),
        Some("thumbv7em") => ("cortex_m", CORTEX_M),
        _ if told == Some(Extension::Dsp) => ("cortex_m", CORTEX_M),
        Some("thumbv6m" | "thumbv8m.base") => ("thumb", ARMV6M),
        Some(thumb) if thumb.starts_with("thumbv") => ("thumb", ARMV7M),
        Some("aarch64") if core == Core::Dotprod => ("dotprod", DOTPROD),
        Some("aarch64") => ("neon", NEON),
        Some("x86_64") => ("x86", X86),
        _ => ("portable", PORTABLE),
    };
    let used = kernels(model, available.iter().copied()).ok_or_else(|| {
        format!(
            "the model is laid out for {}, programs for {target} do not read it: pack it for that target",
            core.name()
        )
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
    use super::{Extension, program, small_program};
    use crate::kernels::layout::{CANONICAL, PAIRS, VECTORS};
    use crate::model::Model;
    use crate::testing::small_resnet;

    #[test]
    fn a_program_names_what_its_model_needs() {
        const SMLAD: &[&str] = &["cortex_m::PAIRS_3", "cortex_m::CONV", "thumb::CONV"];
        let source = |layout, target: &str, told| {
            let file = small_resnet(9, 7, layout).pack();
            program(&Model::from_bytes(&file).unwrap(), target, told)
        };
        for (layout, target, told, backend, kernels, convolution) in [
            (&CANONICAL, "thumbv6m-none-eabi", None, "thumb", &["thumb::CONV"][..], "INT8"),
            (&CANONICAL, "thumbv7m-none-eabi", None, "thumb", &["thumb::CONV"], "INT8"),
            (&CANONICAL, "thumbv7em-none-eabihf", None, "cortex_m", &["thumb::CONV"], "INT8"),
            (&CANONICAL, "riscv32imac-unknown-none-elf", None, "portable", &["scalar::CONV", "portable::CONV"], "INT8"),
            (&PAIRS, "thumbv7em-none-eabihf", None, "cortex_m", SMLAD, "OPERATOR"),
            (&PAIRS, "thumbv8m.main-none-eabi", Some(Extension::Dsp), "cortex_m", SMLAD, "OPERATOR"),
            (&VECTORS, "thumbv8m.main-none-eabihf", Some(Extension::Mve), "mve", &["mve::CONV", "thumb::CONV"], "INT8"),
            (&CANONICAL, "aarch64-unknown-linux-gnu", None, "neon", &["neon::CONV", "portable::CONV"], "INT8"),
        ] {
            let source = source(layout, target, told).unwrap();
            let kernels: Vec<_> =
                kernels.iter().map(|kernel| format!("skipstone_runtime::kernels::{kernel}")).collect();
            assert!(source.contains(&format!("kernels: &[{}]", kernels.join(", "))), "{source}");
            assert!(source.contains(&format!("name: \"{backend}\"")), "{source}");
            for operator in ["add::OPERATOR", "copy::OPERATOR", "global_pool::OPERATOR"] {
                assert!(source.contains(&format!("&skipstone_runtime::ops::{operator}")), "{source}");
            }
            assert!(source.contains(&format!("conv::{convolution}")) && !source.contains("resize"), "{source}");
        }
        let refused = source(&PAIRS, "thumbv7m-none-eabi", None).unwrap_err();
        assert!(refused.starts_with("the model is laid out for cortex-m4, programs for thumbv7m"), "{refused}");
        assert!(source(&PAIRS, "thumbv8m.main-none-eabi", None).is_err());
        assert!(source(&PAIRS, "thumbv8m.main-none-eabihf", Some(Extension::Mve)).is_err());
        let refused = source(&VECTORS, "thumbv8m.main-none-eabihf", Some(Extension::Dsp)).unwrap_err();
        assert!(refused.starts_with("the model is laid out for cortex-m55, programs for thumbv8m"), "{refused}");
    }

    #[test]
    fn a_small_program_has_the_kernels_that_take_the_least_flash() {
        for (layout, target, kernels) in [
            (&PAIRS, "thumbv7em-none-eabihf", "kernels: &[skipstone_runtime::kernels::cortex_m::CONV, skip"),
            (&CANONICAL, "thumbv6m-none-eabi", "kernels: &[skipstone_runtime::kernels::thumb::CONV]"),
        ] {
            let file = small_resnet(9, 7, layout).pack();
            let source = small_program(&Model::from_bytes(&file).unwrap(), target, None).unwrap();
            assert!(source.contains(kernels), "{source}");
        }
    }
}
