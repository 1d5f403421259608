//! Weights that are laid out for another core, laid out again for the kernels of this host.

use crate::pack::AlignedBytes;
use skipstone_runtime::Model;
use skipstone_runtime::format::checksum;
use skipstone_runtime::format::records::{ALIGNMENT, Core, Header, Node, OpCode};
use skipstone_runtime::kernels::{best, layout, spec};
use skipstone_runtime::ops::{self, conv::conv_shape};
use skipstone_runtime::schedule::Network;

/// The same model, with the weights of each convolution as the fastest kernel that this host has for it reads them. `None`
/// where they lie so already.
pub(super) fn for_host(model: &Model<'_>) -> Option<AlignedBytes> {
    let core = match () {
        () if cfg!(target_arch = "x86_64") => Core::X86,
        () if best().name == "dotprod" => Core::Dotprod,
        () if cfg!(target_arch = "aarch64") => Core::Neon,
        () => Core::Generic,
    };
    let kernels: Vec<_> = best().kernels.iter().map(|kernel| kernel.spec).collect();
    let mut bytes = model.bytes_before_test_vectors().to_vec();
    let mut nodes = model.nodes().to_vec();
    let mut moved = false;
    let mut scratch_len = model.header().scratch_len as usize;
    for node in &mut nodes {
        let (input, output) = (model.tensor(node.input.into()), model.tensor(node.output.into()));
        if node.op == OpCode::Conv as u8 {
            let shape = conv_shape(node, input, output);
            let readable = |spec: &spec::ConvSpec| core.reads(spec.layout.code);
            let to = spec::fastest(&kernels, &shape, output.height.into(), readable)?.layout;
            let (from, to) = (layout::from_code(node.layout)?, layout::from_code(to.code)?);
            if from.layout != to.layout {
                moved = true;
                let mut canonical = vec![0; shape.macs()];
                from.unpack(&shape, model.weights(node), &mut canonical);
                // What is laid out otherwise than its weights say means something else.
                let mut same = vec![0; (from.layout.len)(&shape)?];
                (from.pack)(&shape, &canonical, &mut same);
                if same != model.weights(node) {
                    return None;
                }
                let mut weights = vec![0; (to.layout.len)(&shape)?];
                (to.pack)(&shape, &canonical, &mut weights);
                bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
                node.layout = to.layout.code;
                node.weights = bytes.len().try_into().ok()?;
                node.weights_len = weights.len().try_into().ok()?;
                bytes.extend_from_slice(bytemuck::cast_slice(&weights));
            }
        }
        scratch_len = scratch_len.max(ops::scratch_len(node, input, output));
    }
    if !moved {
        return None;
    }
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    let records: Vec<u8> = nodes.iter().flat_map(Node::emit).collect();
    bytes.get_mut(model.header().nodes as usize..)?.get_mut(..records.len())?.copy_from_slice(&records);
    let mut header = Header { core: core as u8, file_len: bytes.len().try_into().ok()?, ..*model.header() };
    (header.vectors, header.vector_count) = (0, 0);
    if scratch_len > header.scratch_len as usize {
        let scratch = model.arena_len().next_multiple_of(ALIGNMENT);
        header.scratch = scratch.try_into().ok()?;
        header.scratch_len = scratch_len.try_into().ok()?;
        header.arena_len = (scratch + scratch_len).try_into().ok()?;
    }
    bytes[..Header::LEN].copy_from_slice(&header.emit());
    header.checksum = checksum::of_file(&bytes);
    bytes[..Header::LEN].copy_from_slice(&header.emit());
    Some(AlignedBytes::copy(&bytes))
}
