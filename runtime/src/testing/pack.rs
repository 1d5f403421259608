//! From a network to the bytes of its file.

use super::{Aligned, Network};
use crate::format::records::{ALIGNMENT, Core, Header, MAGIC, Node, OpCode, Segment, Tensor, VERSION};
use crate::format::strings;
use crate::kernels::layout;
use crate::ops::{self, conv};

impl Network {
    /// The file.
    pub(crate) fn pack(&self) -> Aligned {
        let mut network = self.clone();
        let mut body = vec![0; Header::LEN];
        let mut blob = |bytes: &[u8]| {
            let offset = body.len();
            body.extend_from_slice(bytes);
            body.resize(body.len().next_multiple_of(ALIGNMENT), 0);
            offset as u32
        };
        let end = self.tensors.iter().map(|t| t.offset + u32::from(t.ring_rows) * t.row_stride).max();
        let mut end = end.unwrap_or(0).next_multiple_of(16);
        let mut scratch_len = 0;
        for (index, node) in network.nodes.iter_mut().enumerate() {
            let (input, output) = (&self.tensors[usize::from(node.input)], &self.tensors[usize::from(node.output)]);
            let weights = &self.weights[index];
            if OpCode::from_code(node.op) == Some(OpCode::Conv) {
                let shape = conv::conv_shape(node, input, output);
                let packing = layout::from_code(node.layout).unwrap();
                let mut packed = vec![0; (packing.layout.len)(&shape).unwrap()];
                (packing.pack)(&shape, weights, &mut packed);
                node.weights = blob(bytemuck::cast_slice(&packed));
                node.weights_len = packed.len() as u32;
            } else {
                node.weights = blob(bytemuck::cast_slice(weights));
                node.weights_len = weights.len() as u32;
            }
            if !self.prologues[index].is_empty() {
                node.prologue = blob(bytemuck::cast_slice(&self.prologues[index]));
            }
            node.requant = blob(bytemuck::cast_slice(&self.requants[index]));
            node.state_len = ops::state_len(node, output) as u32;
            node.state = if node.state_len > 0 { end } else { 0 };
            end += node.state_len.next_multiple_of(16);
            scratch_len = scratch_len.max(ops::scratch_len(node, input, output) as u32);
        }
        let reads = |core: &Core| network.nodes.iter().all(|node| core.reads(node.layout));
        let mut names = Vec::new();
        let name = strings::append(&mut names, "");
        let class_names = names.len() as u32;
        for class in 0..self.classes {
            strings::append(&mut names, &format!("class {class}"));
        }
        let provenance = strings::append(&mut names, "a test");
        let mut header = Header {
            magic: MAGIC,
            version: VERSION,
            scratch: end,
            scratch_len,
            counters: end + scratch_len.next_multiple_of(16),
            tensor_count: self.tensors.len() as u16,
            node_count: self.nodes.len() as u16,
            segment_count: self.segments.len().max(1) as u16,
            class_count: self.classes as u16,
            output: self.tensors.len() as u16 - 1,
            strings: blob(&names),
            strings_len: names.len() as u32,
            pixels: blob(bytemuck::cast_slice(&self.pixels)),
            class_names,
            provenance,
            core: Core::ALL.into_iter().find(reads).unwrap_or(Core::Generic) as u8,
            tensors: blob(&self.tensors.iter().flat_map(|t| Tensor { name, ..*t }.emit()).collect::<Vec<_>>()),
            nodes: blob(&network.nodes.iter().flat_map(Node::emit).collect::<Vec<_>>()),
            ..Header::default()
        };
        let whole = [Segment { first: 0, end: header.node_count, operand_first: 1 }];
        let segments = if self.segments.is_empty() { &whole[..] } else { &self.segments };
        header.segments = blob(&segments.iter().flat_map(Segment::emit).collect::<Vec<_>>());
        header.arena_len = header.counters + 2 * u32::from(header.node_count);
        header.file_len = body.len() as u32;
        body[..Header::LEN].copy_from_slice(&header.emit());
        let mut file = Aligned::copy_of(&body);
        file.seal();
        file
    }
}
