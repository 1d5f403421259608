//! The average of the weights over the steps.

use super::Config;
use skipstone_onnx::Graph;

/// A graph whose parameters, running statistics included, are exponential moving averages of those under training.
pub(super) struct Average {
    pub(super) graph: Graph,
    keep: f64,
}

impl Average {
    /// The average before the first step, if the settings want one.
    pub(super) fn new(graph: &Graph, config: &Config) -> Option<Self> {
        (config.average > 0.0).then(|| Self { graph: graph.clone(), keep: config.average })
    }

    /// Takes in the weights after step `steps`, counted from 1.
    pub(super) fn add(&mut self, graph: &Graph, steps: u64) {
        let steps = steps as f64;
        let new = (1.0 - self.keep.min((1.0 + steps) / (10.0 + steps))) as f32;
        for (id, _, parameter) in graph.parameters() {
            let Some(average) = self.graph.parameter_mut(id) else { continue };
            let pairs = average.data_mut().iter_mut().zip(parameter.tensor.data());
            pairs.for_each(|(average, &weight)| *average += new * (weight - *average));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::tests::{config, tiny};

    #[test]
    fn follows_the_formula() {
        let mut graph = tiny();
        assert!(Average::new(&graph, &config()).is_none());
        let mut average = Average::new(&graph, &Config { average: 0.5, ..config() }).unwrap();
        let ids: Vec<_> = graph.parameters().map(|(id, ..)| id).collect();
        let mut expected: Vec<f64> = ids.iter().map(|&id| f64::from(graph.parameter(id).unwrap().data()[0])).collect();
        for step in 1..=20u64 {
            for &id in &ids {
                graph.parameter_mut(id).unwrap().data_mut()[0] += step as f32;
            }
            average.add(&graph, step);
            let keep = f64::min(0.5, (1.0 + step as f64) / (10.0 + step as f64));
            for (&id, expected) in ids.iter().zip(&mut expected) {
                *expected = keep * *expected + (1.0 - keep) * f64::from(graph.parameter(id).unwrap().data()[0]);
                assert!((f64::from(average.graph.parameter(id).unwrap().data()[0]) - *expected).abs() < 1e-4);
            }
        }
    }
}
