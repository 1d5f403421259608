//! `skipstone bench`

use super::console::Console;
use super::failure::Failure;
use super::inspect::{describe, macs};
use super::packed::Packed;
use super::table::{Table, grouped};
use super::targets;
use crate::device::{self, Device, LayerCost, TestImages};
use crate::target::{Board, Core};
use serde::Serialize;
use skipstone_runtime::Model;
use skipstone_runtime::schedule::Network;
use std::path::PathBuf;
use std::time::Duration;

/// How long the host is timed.
const TIMING: Duration = Duration::from_secs(1);

/// Measure one inference of a .stone file, layer by layer: time on the host, instruction counts on emulated cores.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  skipstone bench cifar.stone --on cortex-m4")]
pub(super) struct Arguments {
    /// A .stone file.
    #[arg(value_name = "FILE.stone")]
    stone: PathBuf,
    /// The core or board: host, cortex-m0, cortex-m3, cortex-m4, cortex-m7, cortex-m33, cortex-m55, cortex-a53,
    /// cortex-a72, cortex-a76, or a board that QEMU has.
    #[arg(long, default_value = "host", value_name = "CORE|BOARD", value_parser = Place::named)]
    on: Place,
    /// A QEMU plugin that counts from mark to mark: exact per layer, with cycles if it estimates them. Needed for
    /// aarch64.
    #[arg(long, value_name = "FILE.so")]
    plugin: Option<PathBuf>,
    /// Measure only the whole inference, which takes less time on microcontrollers.
    #[arg(long)]
    total: bool,
}

/// Where the model runs.
#[derive(Clone, Copy, Debug)]
enum Place {
    Host,
    Device(&'static str, Device),
}

impl Place {
    /// The host, a core or an emulated board of a name.
    fn named(name: &str) -> Result<Self, String> {
        if name == "host" {
            return Ok(Self::Host);
        }
        if let Some(board) = Board::named(name) {
            let core = board.core.name();
            let device = Device::of_board(board);
            let device = device.ok_or_else(|| format!("QEMU has no such board; its core is {core}: --on {core}"))?;
            return Ok(Self::Device(board.name, device));
        }
        let of_core = |core: Core| Some(Self::Device(core.name(), Device::of_core(core)?));
        let cpu = Core::ALL.into_iter().flat_map(Core::emulated_cpus).find(|cpu| **cpu == name);
        let of_cpu = || cpu.and_then(|cpu| Some(Self::Device(cpu, Device::of_cpu(cpu)?)));
        Core::named(name).and_then(of_core).or_else(of_cpu).ok_or_else(|| {
            let cores = Core::ALL.into_iter().filter(|&core| Device::of_core(core).is_some()).map(Core::name);
            let cpus = Core::ALL.into_iter().flat_map(Core::emulated_cpus).copied();
            format!(
                "no core or board has this name; there are {}, and the emulated boards",
                ["host"].into_iter().chain(cores).chain(cpus).collect::<Vec<_>>().join(", ")
            )
        })
    }
}

#[derive(Serialize)]
struct Report {
    on: &'static str,
    #[serde(flatten)]
    whole: Cost,
    macs: u64,
    /// The slowest first; none with --total.
    layers: Vec<Layer>,
    /// Flash that the program takes without the model; of microcontrollers.
    program_bytes: Option<u64>,
    /// The deepest stack; of microcontrollers.
    stack_bytes: Option<u64>,
}

#[derive(Serialize)]
struct Layer {
    name: String,
    op: String,
    macs: u64,
    #[serde(flatten)]
    cost: Cost,
}

/// What was measured of an inference or a layer.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Cost {
    /// Counted where the model is emulated.
    instructions: Option<u64>,
    /// Estimated by a plugin.
    cycles: Option<u64>,
    /// Timed on the host.
    nanoseconds: Option<u64>,
}

impl Cost {
    fn time(time: Duration) -> Self {
        Self { nanoseconds: Some(time.as_nanos() as u64), ..Self::default() }
    }

    fn counted(LayerCost { instructions, cycles }: LayerCost) -> Self {
        Self { instructions: Some(instructions), cycles, nanoseconds: None }
    }

    /// What was measured, with its unit; the last counts.
    fn columns(&self) -> Vec<(&'static str, u64)> {
        let all = [("instruction", self.instructions), ("cycle", self.cycles), ("ns", self.nanoseconds)];
        all.into_iter().filter_map(|(unit, cost)| Some((unit, cost?))).collect()
    }

    fn last(&self) -> u64 {
        self.columns().last().map_or(0, |&(_, cost)| cost)
    }

    /// Without what `layers` take.
    fn without<'c>(self, layers: impl Iterator<Item = &'c Cost> + Clone) -> Self {
        let rest = |of: fn(&Cost) -> Option<u64>| {
            of(&self).map(|whole| whole.saturating_sub(layers.clone().filter_map(of).sum()))
        };
        Self {
            instructions: rest(|c| c.instructions),
            cycles: rest(|c| c.cycles),
            nanoseconds: rest(|c| c.nanoseconds),
        }
    }
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    let packed = Packed::read(&arguments.stone)?;
    let mut report = match arguments.on {
        Place::Host if arguments.plugin.is_some() => {
            return Err(Failure::Usage("--plugin is for emulated cores: name one by --on".into()));
        }
        Place::Host => time(&packed)?,
        Place::Device(name, device) => count(&packed, name, device, arguments, console)?,
    };
    if arguments.total {
        report.layers.clear();
    }
    report.layers.sort_by_key(|layer| std::cmp::Reverse(layer.cost.last()));
    show(&report, console)?;
    console.result(&report)
}

/// Noise, the same every time: what a layer takes hardly depends on the image.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_u32;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    (0..len).map(next).collect()
}

/// The layers of a model with their costs, which may be missing.
fn layers(model: &Model<'_>, costs: impl IntoIterator<Item = Cost>) -> Vec<Layer> {
    let name = |index: usize, name: &str| if name.is_empty() { format!("node {index}") } else { name.to_owned() };
    let layers = model.nodes().iter().zip(costs).enumerate().map(|(index, (node, cost))| Layer {
        name: name(index, model.string(node.name)),
        op: describe(node),
        macs: macs(node, model.tensor(node.input.into()), model.tensor(node.output.into())),
        cost,
    });
    layers.collect()
}

fn time(packed: &Packed) -> Result<Report, Failure> {
    let (host, model) = (packed.on_host(), packed.model());
    let timing = host.time(&noise(host.image_dims().into_iter().product()), TIMING)?;
    Ok(Report {
        on: "host",
        whole: Cost::time(timing.whole),
        macs: model.header().macs,
        layers: layers(&model, timing.layers.into_iter().map(Cost::time)),
        program_bytes: None,
        stack_bytes: None,
    })
}

fn count(
    packed: &Packed,
    on: &'static str,
    device: Device,
    arguments: &Arguments,
    console: &Console,
) -> Result<Report, Failure> {
    let model = packed.model();
    targets::check_core(&arguments.stone, &model, device.core(), console)?;
    let input = model.input();
    let [height, width, channels] = [input.height, input.width, input.channels];
    let pixels = noise([height, width, channels].into_iter().map(usize::from).product());
    let images = TestImages { height, width, channels, pixels, labels: vec![0] };
    let profile = device::profile(device, &arguments.stone, &images, !arguments.total, arguments.plugin.as_deref())?;
    Ok(Report {
        on,
        whole: Cost::counted(profile.whole),
        macs: model.header().macs,
        layers: layers(&model, profile.layers.into_iter().map(Cost::counted)),
        program_bytes: profile.program_bytes,
        stack_bytes: profile.stack_bytes,
    })
}

fn show(report: &Report, console: &Console) -> Result<(), Failure> {
    let columns = report.whole.columns();
    let unit = columns.last().map_or("", |&(unit, _)| unit);
    let titles = columns.iter().map(|&(unit, _)| if unit == "ns" { unit.into() } else { format!("{unit}s") });
    let head: Vec<String> = ["layer", "operator", "MAC"]
        .map(String::from)
        .into_iter()
        .chain(titles)
        .chain(["share".into(), format!("MAC per {unit}")])
        .collect();
    let mut table = Table::new(&head.iter().map(String::as_str).collect::<Vec<_>>());
    let row = |name: &str, op: &str, macs: u64, cost: &Cost| -> Vec<String> {
        let share = 100.0 * cost.last() as f64 / report.whole.last().max(1) as f64;
        let rate = if macs > 0 { format!("{:.2}", macs as f64 / cost.last().max(1) as f64) } else { String::new() };
        let costs = cost.columns().into_iter().map(|(_, cost)| grouped(cost));
        [name.into(), op.into(), grouped(macs)]
            .into_iter()
            .chain(costs)
            .chain([format!("{share:.1} %"), rate])
            .collect()
    };
    for layer in &report.layers {
        table.row(row(&layer.name, &layer.op, layer.macs, &layer.cost));
    }
    if !report.layers.is_empty() {
        let rest = report.whole.without(report.layers.iter().map(|layer| &layer.cost));
        table.row(row("between steps", "", 0, &rest));
    }
    table.row(row("all", "", report.macs, &report.whole));
    console.show(&table)?;
    console.show(match report.on {
        "host" => "on this host, one thread; medians".to_owned(),
        on => format!("on {on}, emulated"),
    })?;
    if let (Some(program), Some(stack)) = (report.program_bytes, report.stack_bytes) {
        console.show(format!(
            "program without the model {} bytes, stack {} bytes",
            grouped(program),
            grouped(stack)
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_boards_and_processors_are_understood() {
        assert!(matches!(Place::named("host"), Ok(Place::Host)));
        for name in ["cortex-m0", "cortex-m4", "cortex-m55", "mps2-an500", "microbit", "cortex-a53", "cortex-a76"] {
            assert!(matches!(Place::named(name), Ok(Place::Device(found, _)) if found == name), "{name}");
        }
        assert_eq!(Place::named("pico").unwrap_err(), "QEMU has no such board; its core is cortex-m0: --on cortex-m0");
        for name in ["generic", "x86", "cortex-m4f"] {
            assert!(Place::named(name).unwrap_err().starts_with("no core or board has this name; there are host, cor"));
        }
    }

    #[test]
    fn what_lies_between_layers_is_the_rest() {
        let cost = |instructions, cycles| Cost { instructions: Some(instructions), cycles, nanoseconds: None };
        let rest = cost(100, Some(150)).without([cost(60, Some(70)), cost(20, Some(90))].iter());
        assert_eq!((rest.instructions, rest.cycles, rest.nanoseconds), (Some(20), Some(0), None));
        assert_eq!((cost(100, Some(150)).last(), cost(100, None).last()), (150, 100));
    }
}
