//! Instructions of one inference: networks of the zoo on emulated cores, and how many each may take.

use crate::shell::{Failure, Run, fail};
use clap::Args;
use skipstone_targets::Core;
use std::collections::BTreeMap;
use std::path::Path;

/// The networks of the table.
const NETWORKS: [&str; 4] = ["resnet8", "resnext20-8x2d", "densenet-bc22-k8", "attention-mini"];
/// The cores of the table: every microcontroller's.
const CORES: [Core; 6] =
    [Core::CortexM0, Core::CortexM3, Core::CortexM4, Core::CortexM7, Core::CortexM33, Core::CortexM55];
/// What the tests measure: a network of plain convolutions on a core of each kind, and one in groups.
const CHECKED: [(&str, Core); 7] = [
    ("resnet8", Core::CortexM0),
    ("resnet8", Core::CortexM3),
    ("resnet8", Core::CortexM4),
    ("resnet8", Core::CortexM33),
    ("resnet8", Core::CortexM55),
    ("resnext20-8x2d", Core::CortexM4),
    ("resnext20-8x2d", Core::CortexM55),
];
const FILE: &str = "benches/budgets.toml";
/// By how much a count may grow, in percent.
const GROWTH: u64 = 2;
/// Images of the data set that the networks are calibrated on.
const IMAGES: usize = 20;

/// Options of `cargo xtask bench`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Write the counts to benches/budgets.toml
    #[arg(long)]
    update: bool,
    /// Measure these networks of the zoo, of 3x32x32 pixels
    #[arg(long, num_args = 1.., value_name = "NAME", default_values = NETWORKS)]
    networks: Vec<String>,
    /// Measure on these microcontrollers' cores
    #[arg(long, num_args = 1.., value_name = "NAME", value_parser = core, default_values_t = CORES.map(|core| core.name().to_string()))]
    cores: Vec<String>,
}

fn core(name: &str) -> Result<String, String> {
    if CORES.iter().any(|core| core.name() == name) {
        return Ok(name.into());
    }
    Err(format!("the cores are {}", CORES.map(Core::name).join(", ")))
}

/// Instructions by network and core.
type Counts = BTreeMap<String, BTreeMap<String, u64>>;

/// Measures, prints the table as Markdown, and compares with the budgets or writes them.
///
/// # Errors
/// If a count has grown, or cannot be had.
pub(crate) fn run(arguments: &Arguments, root: &Path) -> Result<(), Failure> {
    let cases = arguments.networks.iter().flat_map(|network| arguments.cores.iter().map(move |core| (network, core)));
    let counts = measure(root, cases.map(|(network, core)| (network.as_str(), core.as_str())))?;
    print!("{}", table(&counts, &arguments.cores));
    let mut budgets = read(root)?;
    if arguments.update {
        for (network, cores) in counts {
            budgets.entry(network).or_default().extend(cores);
        }
        return write(root, &budgets);
    }
    compare(&counts, &budgets).map(|remark| println!("{remark}"))
}

/// Measures what the tests measure and compares it with the budgets.
///
/// # Errors
/// If a count has grown, or cannot be had.
pub(crate) fn check(root: &Path) -> Result<String, Failure> {
    let budgets = read(root)?;
    let counts = measure(root, CHECKED.into_iter().map(|(network, core)| (network, core.name())))?;
    print!("{}", table(&counts, &CORES.map(|core| core.name().to_string())));
    compare(&counts, &budgets)
}

/// Counts the instructions of untrained networks: their numbers hardly matter.
fn measure<'c>(root: &Path, cases: impl Iterator<Item = (&'c str, &'c str)>) -> Result<Counts, Failure> {
    let folder = root.join("target/bench");
    data_set(&folder.join("images")).map_err(|e| Failure(format!("cannot write to {}: {e}", folder.display())))?;
    let skipstone = |line: &str| Run::line(&format!("cargo run -q -p skipstone -- {line}"), root).read();
    let mut counts = Counts::new();
    for (network, core) in cases {
        if !counts.contains_key(network) {
            skipstone(&format!("export --arch {network} --seed 1 -o target/bench/{network}.onnx"))?;
        }
        let stone = format!("target/bench/{network}-{core}.stone");
        let calibration = "--calib cifar10:target/bench/images --eval-count 0";
        skipstone(&format!("quantize target/bench/{network}.onnx {calibration} --target {core} -o {stone}"))?;
        let json = skipstone(&format!("bench {stone} --on {core} --total --json"))?;
        let report: serde_json::Value =
            serde_json::from_str(&json).map_err(|e| Failure(format!("bench {stone} printed {json:?}: {e}")))?;
        let Some(count) = report["instructions"].as_u64() else {
            return fail(format!("bench {stone} gave no instructions"));
        };
        println!("{network} on {core}: {count} instructions");
        counts.entry(network.into()).or_default().insert(core.into(), count);
    }
    Ok(counts)
}

/// A few pictures of waves as CIFAR-10's files.
pub(crate) fn data_set(folder: &Path) -> std::io::Result<()> {
    const PLANE: usize = 32 * 32;
    std::fs::create_dir_all(folder)?;
    let value = |image: usize, at: usize| {
        let (channel, y, x) = (at / PLANE, at % PLANE / 32, at % 32);
        let phase = (x * (image % 7 + 1) + y * (channel + image % 5 + 1)) as f64 / 9.0;
        (127.5 + 100.0 * phase.sin() + 27.0 * (phase * 11.0).cos()) as u8
    };
    let record =
        |image: usize| std::iter::once((image % 10) as u8).chain((0..3 * PLANE).map(move |at| value(image, at)));
    let records: Vec<u8> = (0..IMAGES).flat_map(record).collect();
    let train = (1..=5).map(|number| format!("data_batch_{number}.bin"));
    for name in train.chain(["test_batch.bin".into()]) {
        std::fs::write(folder.join(name), &records)?;
    }
    let names: String = (0..10).map(|class| format!("class{class}\n")).collect();
    std::fs::write(folder.join("batches.meta.txt"), names)
}

/// Millions of instructions, as Markdown.
fn table(counts: &Counts, cores: &[String]) -> String {
    let mut text = format!("| M instructions | {} |\n|---|{}\n", cores.join(" | "), "---:|".repeat(cores.len()));
    for (network, counts) in counts {
        let cell = |core| counts.get(core).map_or(String::new(), |&count| format!("{:.2}", count as f64 / 1e6));
        text += &format!("| `{network}` | {} |\n", cores.iter().map(cell).collect::<Vec<_>>().join(" | "));
    }
    text
}

/// Fails with each count that is more than [`GROWTH`] percent above its budget, or has none; else says which could be
/// lower.
fn compare(counts: &Counts, budgets: &Counts) -> Result<String, Failure> {
    let (mut over, mut below) = (Vec::new(), 0);
    for (network, cores) in counts {
        for (core, &count) in cores {
            match budgets.get(network).and_then(|cores| cores.get(core)) {
                None => over.push(format!("{network} on {core} has no budget")),
                Some(&budget) if 100 * count > (100 + GROWTH) * budget => {
                    over.push(format!("{network} on {core} takes {count} instructions, the budget is {budget}"));
                }
                Some(&budget) => below += usize::from(100 * count < (100 - GROWTH) * budget),
            }
        }
    }
    if !over.is_empty() {
        return fail(format!("{}; cargo xtask bench --update accepts new counts", over.join("; ")));
    }
    let remark =
        if below == 0 { String::new() } else { format!("{below} below their budgets: cargo xtask bench --update") };
    Ok(remark)
}

fn read(root: &Path) -> Result<Counts, Failure> {
    let path = root.join(FILE);
    if !path.exists() {
        return Ok(Counts::new());
    }
    let text = std::fs::read_to_string(&path).map_err(|e| Failure(format!("cannot read {FILE}: {e}")))?;
    parse(&text).map_err(|reason| Failure(format!("{FILE}: {reason}")))
}

fn parse(text: &str) -> Result<Counts, String> {
    let tables: toml::Table = text.parse().map_err(|e: toml::de::Error| e.message().to_string())?;
    let mut counts = Counts::new();
    for (network, cores) in &tables {
        let cores = cores.as_table().ok_or_else(|| format!("`{network}` is no table"))?;
        for (core, count) in cores {
            let count = count.as_integer().and_then(|count| u64::try_from(count).ok());
            let count = count.ok_or_else(|| format!("`{network}.{core}` is no number of instructions"))?;
            counts.entry(network.clone()).or_default().insert(core.clone(), count);
        }
    }
    Ok(counts)
}

fn write(root: &Path, budgets: &Counts) -> Result<(), Failure> {
    let path = root.join(FILE);
    let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    folder
        .and_then(|()| std::fs::write(&path, render(budgets)))
        .map_err(|e| Failure(format!("cannot write {FILE}: {e}")))
}

fn render(budgets: &Counts) -> String {
    let mut text = String::from(
        "# Instructions of one inference, of untrained networks for 3x32x32 pixels, packed for the core.\n\
         # `cargo xtask test` fails where one has grown by more than 2 %; `cargo xtask bench --update` writes them.\n",
    );
    for (network, cores) in budgets {
        text += &format!("\n[{network}]\n");
        for (core, count) in cores {
            text += &format!("{core} = {count}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(count: u64) -> Counts {
        BTreeMap::from([("resnet8".into(), BTreeMap::from([("cortex-m4".into(), count)]))])
    }

    #[test]
    fn a_count_may_grow_by_two_percent() {
        let budgets = counts(1000);
        assert_eq!(compare(&counts(1020), &budgets), Ok(String::new()));
        assert_eq!(compare(&counts(900), &budgets), Ok("1 below their budgets: cargo xtask bench --update".into()));
        let failure = compare(&counts(1021), &budgets).unwrap_err().to_string();
        assert!(
            failure.starts_with("resnet8 on cortex-m4 takes 1021 instructions, the budget is 1000; cargo"),
            "{failure}"
        );
        let failure = compare(&counts(1), &Counts::new()).unwrap_err().to_string();
        assert!(failure.starts_with("resnet8 on cortex-m4 has no budget; "), "{failure}");
    }

    #[test]
    fn budgets_are_read_as_they_are_written() {
        assert_eq!(parse(&render(&counts(17_140_600))), Ok(counts(17_140_600)));
        assert_eq!(
            parse("[resnet8]\ncortex-m4 = \"x\"\n").unwrap_err(),
            "`resnet8.cortex-m4` is no number of instructions"
        );
        assert!(parse("[resnet8").is_err());
    }

    #[test]
    fn what_is_checked_is_part_of_the_table() {
        assert!(CHECKED.iter().all(|(network, core)| NETWORKS.contains(network) && CORES.contains(core)));
        let text = table(&counts(17_140_600), &["cortex-m0".into(), "cortex-m4".into()]);
        assert_eq!(text, "| M instructions | cortex-m0 | cortex-m4 |\n|---|---:|---:|\n| `resnet8` |  | 17.14 |\n");
    }
}
