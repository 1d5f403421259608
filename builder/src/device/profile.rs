//! What each layer of a packed model takes on an emulated device.

use super::place::Place;
use super::{BENCH, Built, Device, DeviceError, DeviceRun, RELEASE, TestImages, elf, lines::Told, tools};
use crate::files::{self, FileError};
use crate::host;
use crate::pack::AlignedBytes;
use std::ffi::OsString;
use std::path::Path;

/// Part of the name of the function that programs call as a mark.
const MARK: &str = "bench_mark";

/// What one inference takes on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The whole inference.
    pub whole: LayerCost,
    /// The steps of each node, in the order of the nodes; what lies between steps is in none of them.
    pub layers: Vec<LayerCost>,
    /// Bytes of flash that the program takes without the model; of microcontrollers.
    pub program_bytes: Option<u64>,
    /// Bytes of the deepest stack; of microcontrollers.
    pub stack_bytes: Option<u64>,
}

/// What a part of an inference takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerCost {
    /// Instructions.
    pub instructions: u64,
    /// Cycles that a plugin estimates, of a microcontroller.
    pub cycles: Option<u64>,
}

/// Counts what the packed model in the file `model` takes on `device` for the first of `images`, and with `by_layer`
/// what each of its layers takes. A microcontroller counts by its timer, exact for the whole, to some instructions a
/// step for a layer; with `plugin`, a plugin of QEMU, all is exact. An aarch64 processor needs the plugin.
///
/// # Errors
/// [`DeviceError`]: what is missing, or what failed, in one line.
pub fn profile(
    device: Device,
    model: &Path,
    images: &TestImages,
    by_layer: bool,
    plugin: Option<&Path>,
) -> Result<Profile, DeviceError> {
    let linux = matches!(device.place, Place::Linux(_));
    if linux && (plugin.is_none() || tools::is_native()) {
        return Err(DeviceError::NoPlugin { device: device.name() });
    }
    let mut profile =
        Profile { whole: LayerCost::default(), layers: Vec::new(), program_bytes: None, stack_bytes: None };
    if !linux {
        // The program whose size and stack are told counts no layers.
        let run = super::run(device, model, images)?;
        let DeviceRun { instructions_per_inference, flash_bytes, stack_bytes, .. } = run;
        let model_bytes = std::fs::metadata(model).map_err(|e| FileError::new("read", model, e))?.len();
        profile.whole.instructions = instructions_per_inference.unwrap_or_default();
        profile.program_bytes = flash_bytes.map(|bytes| bytes.saturating_sub(model_bytes));
        profile.stack_bytes = stack_bytes;
    }
    if by_layer || plugin.is_some() {
        let built = Built::new(device, model, images, (RELEASE, BENCH), &["--features", "layers"])?;
        match plugin {
            Some(plugin) => {
                let (whole, layers) = count_by_plugin(&built, plugin)?;
                profile.whole = whole;
                profile.layers = layers;
            }
            None => {
                let Told { layers, .. } = built.run(&mut tools::emulator(device)?)?;
                profile.layers =
                    layers.into_iter().map(|instructions| LayerCost { instructions, cycles: None }).collect();
            }
        }
    }
    Ok(profile)
}

/// Runs a program under a plugin: the whole inference, and each node of the model.
fn count_by_plugin(built: &Built, plugin: &Path) -> Result<(LayerCost, Vec<LayerCost>), DeviceError> {
    let failed = |reason: String| DeviceError::Plugin { path: plugin.to_path_buf(), reason };
    let file = std::fs::canonicalize(plugin).map_err(|e| FileError::new("read", plugin, e))?;
    let marks = built.folder.path().join("marks");
    let mark = elf::function(&built.program, MARK)?;
    let mut argument = OsString::from(&file);
    argument.push(format!(",mark={mark:#x},out={}", marks.display()));
    built.run(&mut tools::emulator_with_plugin(built.device, &argument)?)?;
    let text = String::from_utf8_lossy(&files::read(&marks)?).into_owned();
    let microcontroller = matches!(built.device.place, Place::Board(_));
    let marks = marks_of(&text, microcontroller).map_err(failed)?;

    let stone = AlignedBytes::copy(&files::read(&built.model)?);
    let model = host::Model::new(&stone).map_err(host::HostError::Load)?;
    let steps = model.steps()?;
    costs(&marks, &steps, model.view().nodes().len()).map_err(failed)
}

/// Running totals at each mark: lines `mark ADDRESS INSTRUCTIONS CYCLES`. The cycles are those of a microcontroller.
fn marks_of(text: &str, microcontroller: bool) -> Result<Vec<LayerCost>, String> {
    let lines = text.lines().filter(|line| line.starts_with("mark "));
    let mark = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let [_, _, instructions, cycles] = words[..] else { return None };
        let cycles: u64 = cycles.parse().ok()?;
        Some(LayerCost { instructions: instructions.parse().ok()?, cycles: microcontroller.then_some(cycles) })
    };
    lines
        .map(|line| mark(line).ok_or_else(|| format!("wrote \"{line}\", not \"mark ADDRESS INSTRUCTIONS CYCLES\"")))
        .collect()
}

/// From the marks of a whole run, and of each step of another one.
fn costs(marks: &[LayerCost], steps: &[usize], nodes: usize) -> Result<(LayerCost, Vec<LayerCost>), String> {
    let [begin, end, of_steps @ ..] = marks else { return Err(format!("saw {} marks, not two and more", marks.len())) };
    if of_steps.len() != 2 * steps.len() {
        return Err(format!("saw {} marks of {} steps, which have two each", of_steps.len(), steps.len()));
    }
    let mut layers = vec![begin.until(begin); nodes];
    for (&node, [begin, end]) in steps.iter().zip(of_steps.as_chunks().0) {
        let (sum, step) = (&mut layers[node], begin.until(end));
        sum.instructions += step.instructions;
        sum.cycles = sum.cycles.zip(step.cycles).map(|(sum, step)| sum + step);
    }
    Ok((begin.until(end), layers))
}

impl LayerCost {
    /// From these running totals to later ones.
    fn until(&self, end: &Self) -> Self {
        Self {
            instructions: end.instructions.saturating_sub(self.instructions),
            cycles: end.cycles.zip(self.cycles).map(|(end, begin)| end.saturating_sub(begin)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: &str = "mark 0x40 100 150\nmark 0x40 1100 2150\nmark 0x40 1200 3000\nmark 0x40 1500 3500\n\
                         mark 0x40 1501 3502\nmark 0x40 1601 3602\nmark 0x40 1700 4000\nmark 0x40 1710 4020\ntotal 9 9\n";

    #[test]
    fn marks_become_the_costs_of_layers() {
        let marks = marks_of(MARKS, true).unwrap();
        let (whole, layers) = costs(&marks, &[0, 2, 0], 3).unwrap();
        let cost = |instructions, cycles| LayerCost { instructions, cycles: Some(cycles) };
        assert_eq!((whole, layers), (cost(1000, 2000), vec![cost(310, 520), cost(0, 0), cost(100, 100)]));
        let (whole, layers) = costs(&marks_of(MARKS, false).unwrap(), &[0, 2, 0], 3).unwrap();
        assert_eq!((whole.cycles, layers[0].cycles, layers[0].instructions), (None, None, 310));
    }

    #[test]
    fn marks_that_do_not_fit_the_model_are_refused() {
        let marks = marks_of(MARKS, true).unwrap();
        assert_eq!(costs(&marks, &[0], 1).unwrap_err(), "saw 6 marks of 1 steps, which have two each");
        assert_eq!(costs(&marks[..1], &[0], 1).unwrap_err(), "saw 1 marks, not two and more");
        assert!(marks_of("mark 0x40 x 1\n", true).unwrap_err().starts_with("wrote \"mark 0x40 x 1\", not"));
    }
}
