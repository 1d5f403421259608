//! The quantization that a packed model was made with.

use crate::quant::Known;
use skipstone_onnx::QuantParams;
use skipstone_runtime::Model;
use skipstone_runtime::arith::Requant;

impl Known for Model<'_> {
    fn tensor(&self, name: &str) -> Option<QuantParams> {
        let tensor = self.tensors().iter().find(|tensor| self.string(tensor.name) == name)?;
        Some(QuantParams { scale: tensor.scale, zero_point: tensor.zero_point })
    }

    fn prologue(&self, conv: &str) -> Option<(Vec<Requant>, i8)> {
        let node = self.nodes().iter().find(|node| node.prologue != 0 && self.string(node.name) == conv)?;
        Some((Model::prologue(self, node).to_vec(), node.prologue_zero))
    }
}
