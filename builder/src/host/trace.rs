//! Every int8 tensor that the engine makes of one image.

use super::{HostError, Model};
use skipstone_runtime::arith::{Requant, raise};
use skipstone_runtime::format::checksum::crc32;
use skipstone_runtime::format::records::{NONE, Node};
use skipstone_runtime::rows;
use skipstone_runtime::schedule::Network;

/// What the engine made of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The int8 image, NHWC.
    pub image: Vec<i8>,
    /// What each node made, in the order of the nodes.
    pub nodes: Vec<TracedNode>,
    /// The scores, one for each class.
    pub scores: Vec<i8>,
}

/// What a node made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedNode {
    /// The node's name.
    pub name: String,
    /// Name of its output.
    pub output: String,
    /// Channels as they lie in memory.
    pub channels: usize,
    /// The rows in order, NHWC, the channels that only pad included. Last rows that nothing reads are not made.
    pub values: Vec<i8>,
    /// Of a convolution that reads through an affine, what that makes of its input, as `values`; else nothing.
    pub read: Vec<i8>,
    /// CRC-32 (ISO-HDLC) of the rows in the order in which they were made, which a device computes too; of no rows for
    /// a view, which makes none.
    pub checksum: u32,
}

impl Model<'_> {
    /// Runs the model on one image, `[height][width][channels]` of pixels 0..=255, and keeps what every node makes.
    ///
    /// # Errors
    /// [`HostError`] if the model cannot run here, or takes images of another size.
    pub fn trace(&self, pixels: &[u8]) -> Result<Trace, HostError> {
        let model = self.view();
        let mut arena = self.arena();
        let mut engine = self.engine(&mut arena)?;
        let mut made: Vec<Vec<i8>> = vec![Vec::new(); model.nodes().len()];
        let scores = engine
            .run_observed(pixels, |row| made[row.node].extend(row.values.pixels().flatten()))
            .map_err(HostError::Input)?
            .to_vec();
        let requants = model.pixel_requant();
        let convert = |(pixel, requant): (&u8, &Requant)| requant.apply(raise(i32::from(*pixel)), i8::MIN, i8::MAX);
        let image: Vec<i8> =
            pixels.chunks(requants.len()).flat_map(|pixel| pixel.iter().zip(requants).map(convert)).collect();
        let checksums: Vec<u32> = made.iter().map(|values| crc32(bytemuck::cast_slice(values))).collect();
        for (index, node) in model.nodes().iter().enumerate().filter(|(_, node)| rows::is_view(node)) {
            let mut members = [node.input, node.operand].map(|tensor| {
                let tensor = model.tensor(tensor.into());
                made.get(usize::from(tensor.producer))
                    .into_iter()
                    .flat_map(move |rows| rows.chunks(tensor.channels.into()))
            });
            let [input, operand] = &mut members;
            made[index] = input.zip(operand).flat_map(|(first, second)| [first, second].concat()).collect();
        }
        let read = |node: &Node| {
            let requants = model.prologue(node);
            let apply = |(&value, requant): (&i8, &Requant)| {
                requant.apply(raise(value.into()), node.prologue_lo, node.prologue_hi)
            };
            let input = match model.tensor(node.input.into()).producer {
                NONE => &image,
                producer => &made[usize::from(producer)],
            };
            if requants.is_empty() {
                return Vec::new();
            }
            input.chunks(requants.len()).flat_map(|pixel| pixel.iter().zip(requants).map(apply)).collect()
        };
        let nodes = model.nodes().iter().zip(&made).zip(checksums).map(|((node, values), checksum)| {
            let output = model.tensor(node.output.into());
            TracedNode {
                name: model.string(node.name).into(),
                output: model.string(output.name).into(),
                channels: output.channels.into(),
                checksum,
                read: read(node),
                values: values.clone(),
            }
        });
        Ok(Trace { nodes: nodes.collect(), image, scores })
    }
}
