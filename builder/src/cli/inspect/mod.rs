//! `skipstone inspect`

mod arena;
pub(super) mod boards;
mod kernels;
mod onnx;
mod quantization;
mod stone;
mod svg;
pub(super) mod tradeoff;

pub(super) use arena::{name as region_name, peak};
pub(super) use stone::{describe, macs};
pub(super) use svg::picture;

use super::console::Console;
use super::failure::Failure;
use super::model::{self, Kind};
use std::path::PathBuf;

/// Show what is in an .onnx or .stone file: layers, sizes, memory, and which boards it fits.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  skipstone inspect cifar.stone --svg arena.svg")]
pub(super) struct Arguments {
    /// A run, an .onnx file or a .stone file.
    #[arg(value_name = "FILE")]
    model: PathBuf,
    /// For a .stone file: also draw the arena over time.
    #[arg(long, value_name = "FILE.svg")]
    svg: Option<PathBuf>,
    /// For a .stone file: show the trade-off instead, the choices of kernels that no other choice beats in flash, RAM
    /// and instructions. --svg draws it.
    #[arg(long, conflicts_with = "calib")]
    tradeoff: bool,
    #[command(flatten)]
    quantization: quantization::Arguments,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    if let Some(spec) = arguments.quantization.calibration() {
        return quantization::inspect(&arguments.model, spec, &arguments.quantization, console);
    }
    match model::locate(&arguments.model)? {
        (file, Kind::Onnx) if arguments.svg.is_some() => {
            Err(Failure::at(&file, "only a .stone file has a plan to draw: quantize the network first"))
        }
        (file, Kind::Onnx) if arguments.tradeoff => {
            Err(Failure::at(&file, "only a .stone file has kernels to choose: quantize the network first"))
        }
        (file, Kind::Stone) if arguments.tradeoff => tradeoff::inspect(&file, arguments.svg.as_deref(), console),
        (file, Kind::Onnx) => onnx::inspect(&file, console),
        (file, Kind::Stone) => stone::inspect(&file, arguments.svg.as_deref(), console),
    }
}
