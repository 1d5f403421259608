//! How often an integer operator's value is exactly in the middle between two integers.

use super::graph::{QGraph, QNode, QOp};

/// Powers of 1/2 that are looked at: below, ties are as rare as between any scales.
const POWERS: i32 = 10;

impl QGraph {
    /// Part of the elements of a node that are exact ties where its sums spread evenly over the integers: a power of 1/2
    /// where the ratios of its scales are whole numbers of one, else 0.
    pub fn tie_share(&self, node: &QNode) -> f64 {
        let scale = |index: usize| f64::from(self.tensors[index].params.scale);
        let [input, output] = [f64::from(self.factor(node).params.scale), scale(node.output)];
        let operand = node.operand.map(|index| scale(index) / output);
        match &node.op {
            QOp::Conv(conv) => {
                let units = conv.weight_scales.iter().map(|&weight| input * f64::from(weight) / output);
                units.map(|unit| share([unit].into_iter().chain(operand))).fold(0.0, f64::max)
            }
            QOp::Add => share([input / output].into_iter().chain(operand)),
            QOp::GlobalAveragePool => {
                let [_, height, width] = self.tensors[node.input].dims;
                share([input / output / (height * width) as f64])
            }
            QOp::AveragePool { window, .. } => share([input / output / (window.kernel[0] * window.kernel[1]) as f64]),
            _ => 0.0,
        }
    }
}

/// Of sums of whole multiples of `units`.
fn share(units: impl IntoIterator<Item = f64>) -> f64 {
    let units: Vec<f64> = units.into_iter().collect();
    let whole = |power: i32| units.iter().all(|unit| (unit * 2f64.powi(power)).fract() == 0.0);
    match (0..=POWERS).find(|&power| whole(power)) {
        None | Some(0) => 0.0,
        Some(power) => 0.5f64.powi(power),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_and_quarters_are_ties_and_others_are_not() {
        assert_eq!(share([1.0, 2.0]), 0.0);
        assert_eq!(share([0.5]), 0.5);
        assert_eq!(share([1.0, 0.25]), 0.25);
        // Six elements of one scale: 3 of 6 is a half, but sums are no whole numbers of a power.
        assert_eq!(share([1.0 / 6.0]), 0.0);
        assert_eq!(share([0.5f64.powi(11)]), 0.0);
    }
}
