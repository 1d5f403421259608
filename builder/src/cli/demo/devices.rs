//! The packed model on emulated devices, against the host.

use super::Row;
use crate::cli::console::Console;
use crate::cli::failure::Failure;
use crate::cli::packed::Packed;
use crate::cli::table::grouped;
use crate::cli::targets::check_core;
use crate::data::Dataset;
use crate::device::{self, Device, DeviceError, DeviceRun, TestImages};
use crate::host;
use crate::pack::Quantized;
use rayon::prelude::*;
use std::path::Path;

/// What a device computed, and what the host did.
pub(super) struct OnDevice {
    device: Device,
    run: DeviceRun,
    accuracy: f64,
    /// Layers of all images whose bytes are not the host's.
    different: usize,
    layers: usize,
}

impl OnDevice {
    /// Classifies all of `images` by the packed model in the file `stone`; `None`, and a line about how to get it,
    /// where the device's compiler or emulator is missing.
    pub(super) fn run(
        device: Device,
        stone: &Path,
        images: &Dataset,
        console: &Console,
    ) -> Result<Option<Self>, Failure> {
        check_core(stone, &Packed::read(stone)?.model(), device.core(), console)?;
        if let Err(missing) = device::available(device) {
            console.say(missing);
            return Ok(None);
        }
        console.say(format!("running {} digits on an emulated {}", images.len(), device.name()));
        let [channels, height, width] = images.dims.map(|dim| dim as u16);
        let test = TestImages { height, width, channels, pixels: images.pixels.clone(), labels: images.labels.clone() };
        let run = match device::run(device, stone, &test) {
            Ok(run) => run,
            Err(error @ (DeviceError::Missing(_) | DeviceError::NoFirmware { .. })) => {
                console.say(error);
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(count) = run.instructions_to_load {
            console.say(format!("loading the model takes {} instructions there", grouped(count)));
        }
        let packed = Packed::read(stone)?;
        let expected = (0..images.len())
            .into_par_iter()
            .map(|index| {
                let trace = packed.on_host().trace(images.image(index))?;
                Ok(trace.nodes.into_iter().map(|node| node.checksum).collect())
            })
            .collect::<Result<Vec<Vec<u32>>, host::HostError>>()?;
        let layers = expected.iter().map(Vec::len).sum();
        let same = expected.iter().flatten().zip(run.layer_checksums.iter().flatten()).filter(|(a, b)| a == b).count();
        let shapes = |sums: &[Vec<u32>]| sums.iter().map(Vec::len).collect::<Vec<_>>();
        let different = if shapes(&expected) == shapes(&run.layer_checksums) { layers - same } else { layers };
        let right = run.labels.iter().zip(&images.labels).filter(|&(&label, &truth)| label == usize::from(truth));
        let accuracy = right.count() as f64 / images.len() as f64;
        Ok(Some(Self { device, run, accuracy, different, layers }))
    }

    /// What is checked, and what was found.
    pub(super) fn text(&self) -> String {
        let (name, backend) = (self.device.name(), &self.run.backend);
        let equal = self.layers - self.different;
        format!("every layer's bytes on {name} ({backend}) are the host's: {equal} of {} are equal", self.layers)
    }

    /// Whether every layer of every image is the host's.
    pub(super) fn holds(&self) -> bool {
        self.different == 0
    }

    /// The device's line of the table.
    pub(super) fn row(&self, name: &'static str, quantized: &Quantized) -> Row {
        Row {
            name,
            accuracy: self.accuracy,
            count: self.run.labels.len(),
            flash_bytes: self.run.flash_bytes.or(Some(quantized.stone.len() as u64)),
            ram_bytes: self.run.ram_bytes.or(Some(self.run.arena_bytes)),
            instructions: self.run.instructions_per_inference,
        }
    }
}
