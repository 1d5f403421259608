//! Where int8 loses accuracy.

use super::super::classifier;
use super::super::images::Images;
use super::super::model::{self, Pixels, absorbed};
use super::super::numbers::Numbers;
use super::super::table::Table;
use crate::cli::console::Console;
use crate::cli::failure::Failure;
use crate::data::{Spec, Split};
use crate::quant::{self, LayerSensitivity, Sensitivity};
use serde::Serialize;
use std::path::Path;

/// How to measure what int8 costs.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Rank the layers of a float network by what int8 costs in each. Needs --calib.
    #[arg(long, requires = "calib")]
    quantization: bool,
    /// Images to calibrate on: the train split, unless it names another. The cost of int8 is measured on its test
    /// split.
    #[arg(long, value_name = "SPEC", requires = "quantization")]
    calib: Option<Spec>,
    /// Number of images, spread over the split, to calibrate on and to measure with.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 500,
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    count: u32,
    #[command(flatten)]
    numbers: Numbers,
    #[command(flatten)]
    pixels: Pixels,
    #[command(flatten)]
    images: Images,
}

/// What int8 costs in one layer.
#[derive(Serialize)]
struct Layer<'s> {
    layer: &'s str,
    op: &'static str,
    /// `null` where int8 and float are equal.
    signal_to_noise_db: f64,
    /// Of all layers, 1 for the noisiest.
    noise_rank: usize,
    /// Accuracy of the network with this layer alone in float, less that in int8.
    accuracy_regained: f64,
    /// Mean cross entropy in int8, less that with this layer alone in float.
    loss_regained: f64,
    /// Of all layers, 1 for that which regains most accuracy, and among equals most loss.
    regained_rank: usize,
}

impl Arguments {
    /// The images to calibrate on, if the layers shall be ranked.
    pub(super) fn calibration(&self) -> Option<&Spec> {
        self.calib.as_ref().filter(|_| self.quantization)
    }
}

/// Ranks the layers of MODEL.
pub(super) fn inspect(model: &Path, spec: &Spec, arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    let (file, mut graph) = model::read_graph(model)?;
    arguments.pixels.complete(&mut graph, &file)?;
    let graph = absorbed(&file, graph)?;
    let dims = model::input_dims(&graph);
    let load = |spec: &Spec, split| arguments.images.load(spec, split, dims, &graph.metadata.preprocessing, console);
    let calibration = load(spec, Split::Train)?;
    let test = Spec { split: Some(Split::Test), ..spec.clone() };
    classifier::check_dims(&file, dims, calibration.dims)?;
    let mut test = load(&test, Split::Test)?;
    classifier::align(&file, &graph, &mut test, console)?;
    let [calibration, test] = [calibration, test].map(|set| set.spread(arguments.count as usize));
    let (calibration, test) = (calibration?, test?);
    let settings = arguments.numbers.settings()?;
    let quantization = quant::quantize(&graph, &calibration, &settings).map_err(|error| Failure::at(&file, error))?;
    let bar = console.bar("measuring", quantization.qgraph.nodes.len(), "layers");
    let sensitivity = quant::sensitivity(&quantization, &test, &mut || bar.inc(1));
    bar.finish_and_clear();
    let layers = rank(&sensitivity);
    show(&layers, console)?;
    let Sensitivity { float, int8, .. } = sensitivity;
    console.show(format!(
        "accuracy on {} images: {:.2} % in float, {:.2} % in int8; loss {:.4} and {:.4}",
        test.len(),
        100.0 * float.accuracy,
        100.0 * int8.accuracy,
        float.loss,
        int8.loss
    ))?;
    console.results(&layers)
}

/// The layers, the noisiest first.
fn rank(sensitivity: &Sensitivity) -> Vec<Layer<'_>> {
    let int8 = sensitivity.int8;
    let layer =
        |layer: &'_ LayerSensitivity| (layer.in_float.accuracy - int8.accuracy, int8.loss - layer.in_float.loss);
    let mut layers: Vec<Layer> = sensitivity
        .layers
        .iter()
        .map(|found| {
            let (accuracy_regained, loss_regained) = layer(found);
            Layer {
                layer: &found.name,
                op: found.op,
                signal_to_noise_db: found.signal_to_noise,
                noise_rank: 0,
                accuracy_regained,
                loss_regained,
                regained_rank: 0,
            }
        })
        .collect();
    layers.sort_by(|a, b| {
        let by_accuracy = b.accuracy_regained.total_cmp(&a.accuracy_regained);
        by_accuracy.then(b.loss_regained.total_cmp(&a.loss_regained))
    });
    layers.iter_mut().enumerate().for_each(|(index, layer)| layer.regained_rank = index + 1);
    layers.sort_by(|a, b| a.signal_to_noise_db.total_cmp(&b.signal_to_noise_db));
    layers.iter_mut().enumerate().for_each(|(index, layer)| layer.noise_rank = index + 1);
    layers
}

fn show(layers: &[Layer<'_>], console: &Console) -> Result<(), Failure> {
    let head = ["layer", "operator", "signal to noise", "accuracy regained", "loss regained", "rank of regained"];
    let mut table = Table::new(&head);
    for layer in layers {
        let noise = layer.signal_to_noise_db;
        table.row([
            layer.layer.into(),
            layer.op.into(),
            if noise.is_finite() { format!("{noise:.1} dB") } else { "exact".into() },
            format!("{:+.2} %", 100.0 * layer.accuracy_regained),
            format!("{:+.4}", layer.loss_regained),
            layer.regained_rank.to_string(),
        ]);
    }
    console.show(&table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Evaluation;

    #[test]
    fn ranks_by_noise_and_by_what_is_regained() {
        let score = |accuracy, loss| Evaluation { accuracy, loss, count: 1, images_per_second: 1.0 };
        let layer = |name: &str, signal_to_noise, in_float| LayerSensitivity {
            name: name.into(),
            op: "Conv",
            signal_to_noise,
            in_float,
        };
        let layers = vec![
            layer("a", 30.0, score(0.8, 0.5)),
            layer("b", f64::INFINITY, score(0.7, 0.6)),
            layer("c", 10.0, score(0.8, 0.4)),
        ];
        let sensitivity = Sensitivity { float: score(0.9, 0.3), int8: score(0.7, 0.6), layers };
        let ranked = rank(&sensitivity);
        let found: Vec<_> = ranked.iter().map(|layer| (layer.layer, layer.noise_rank, layer.regained_rank)).collect();
        assert_eq!(found, [("c", 1, 1), ("a", 2, 2), ("b", 3, 3)]);
        assert!((ranked[0].accuracy_regained - 0.1).abs() < 1e-12 && (ranked[0].loss_regained - 0.2).abs() < 1e-12);
    }
}
