//! A checked packed model, read where it lies.

use crate::arith::Requant;
use crate::format::records::{Header, Node, Run, Segment, Source, TABLE_LEN, Tensor, WeightKind};
use crate::format::{LoadError, check, strings};
use crate::geometry;
use crate::image::Preprocessing;
use crate::schedule::Network;

#[cfg(target_endian = "big")]
compile_error!("packed models are little endian and are read in place");

/// A packed model: weights and records where they lie, in flash or in a file's bytes. Copying it copies a reference.
#[derive(Clone, Copy, Debug)]
pub struct Model<'m> {
    bytes: &'m [u8],
    header: Header,
}

impl<'m> Model<'m> {
    /// Checks `bytes`, which must start at a multiple of 16 in memory, and gives access to them.
    ///
    /// Nothing that is done with a model afterwards can fail or read outside of `bytes`.
    pub fn from_bytes(bytes: &'m [u8]) -> Result<Self, LoadError> {
        check::check(bytes)
    }

    /// A view of bytes that the check works through; its accessors give empty values for what is not there.
    pub(crate) fn unchecked(bytes: &'m [u8], header: Header) -> Self {
        Self { bytes, header }
    }

    /// The head of the file.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The whole file.
    pub fn as_bytes(&self) -> &'m [u8] {
        self.bytes
    }

    /// Bytes that an arena must have at least.
    pub fn arena_len(&self) -> usize {
        self.header.arena_len as usize
    }

    /// Number of scores.
    pub fn class_count(&self) -> usize {
        self.header.class_count.into()
    }

    /// The tensor that holds the image.
    pub fn input(&self) -> Tensor {
        self.tensor(self.header.input.into())
    }

    /// The tensor that holds the scores.
    pub fn output(&self) -> Tensor {
        self.tensor(self.header.output.into())
    }

    /// All tensors, in order of their indices.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = Tensor> + use<'m> {
        let model = *self;
        (0..self.header.tensor_count).map(move |index| model.tensor(index.into()))
    }

    /// All nodes, in order of their indices, producers before consumers.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = Node> + use<'m> {
        let model = *self;
        (0..self.header.node_count).map(move |index| model.node(index.into()))
    }

    /// All segments, in order of execution.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = Segment> + use<'m> {
        let model = *self;
        (0..self.header.segment_count).map(move |index| model.segment(index.into()).unwrap_or_default())
    }

    /// The string at an offset of the strings, as records hold them.
    pub fn string(&self, offset: u32) -> &'m str {
        strings::read(self.strings(), offset as usize).map_or("", |(text, _)| text)
    }

    /// The names of the classes, as many as there are scores.
    pub fn class_names(&self) -> impl Iterator<Item = &'m str> + use<'m> {
        let (strings, mut at) = (self.strings(), self.header.class_names as usize);
        (0..self.class_count()).map(move |_| {
            let (text, end) = strings::read(strings, at).unwrap_or(("", at));
            at = end;
            text
        })
    }

    /// What made the model, for people.
    pub fn provenance(&self) -> &'m str {
        self.string(self.header.provenance)
    }

    /// Mean and standard deviation of pixels scaled to 0..1, for each channel of the image; empty if unknown.
    pub fn normalization(&self) -> impl ExactSizeIterator<Item = (f32, f32)> + use<'m> {
        self.means_and_deviations(self.header.normalization)
    }

    /// How the file that the model was made from takes its image and gives its scores; nothing if it takes the normalized
    /// image as float32 `[N, C, H, W]` and gives the scores as they are.
    pub fn source(&self) -> Option<Source> {
        (self.header.source != 0).then(|| self.record(self.header.source, 0).map(Source::parse)).flatten()
    }

    /// Mean and standard deviation, for each channel of the image, by which pixels scaled to 0..1 become what the
    /// [`source`](Self::source)'s input holds; empty if there is no source.
    pub fn source_normalization(&self) -> impl ExactSizeIterator<Item = (f32, f32)> + use<'m> {
        self.means_and_deviations(match self.header.source {
            0 => 0,
            offset => offset.saturating_add(Source::LEN as u32),
        })
    }

    /// Means and then standard deviations of the image's channels at a file offset; none at 0.
    fn means_and_deviations(&self, offset: u32) -> impl ExactSizeIterator<Item = (f32, f32)> + use<'m> {
        let channels = if offset == 0 { 0 } else { usize::from(self.input().channels) };
        let values = self.section(offset, 8 * channels);
        let (means, deviations) = values.split_at_checked(4 * channels).unwrap_or((&[], &[]));
        let read = |raw: &[u8]| raw.first_chunk().map_or(0.0, |raw| f32::from_le_bytes(*raw));
        means
            .chunks_exact(4)
            .zip(deviations.chunks_exact(4))
            .map(move |(mean, deviation)| (read(mean), read(deviation)))
    }

    /// How an image of any size becomes the pixels that [`Engine::run`](crate::Engine::run) takes.
    pub fn preprocessing(&self) -> Preprocessing {
        self.stated_preprocessing().unwrap_or_default()
    }

    /// What the header's codes mean; nothing if they have no meaning.
    pub(crate) fn stated_preprocessing(&self) -> Option<Preprocessing> {
        let Header { fit, filter, channel_order, resize, .. } = self.header;
        let input = self.input();
        Preprocessing::from_codes([fit, filter, channel_order], resize, [input.channels, input.height, input.width])
    }

    /// How a raised pixel, 0..=255, becomes the int8 input: one for each channel of the image.
    pub fn pixel_requant(&self) -> &'m [Requant] {
        self.requants(self.header.pixels, self.input().channels.into())
    }

    /// How accumulators of `node` become outputs; [`geometry::requant_count`] says how many there are.
    pub fn requant(&self, node: &Node) -> &'m [Requant] {
        self.requants(node.requant, geometry::requant_count(node, &self.tensor(node.output.into())))
    }

    /// How a convolution reads its raised input: one for each channel; none if it reads it as it is.
    pub fn prologue(&self, node: &Node) -> &'m [Requant] {
        self.requants(node.prologue, geometry::prologue_count(node, &self.tensor(node.input.into())))
    }

    /// The table of a lookup; `None` if the file does not hold one at the node's weights.
    pub fn table(&self, node: &Node) -> Option<&'m [i8; TABLE_LEN]> {
        let bytes: &[i8] = bytemuck::try_cast_slice(self.section(node.weights, TABLE_LEN)).ok()?;
        bytes.first_chunk()
    }

    /// The channels that a copy takes over.
    pub fn runs(&self, node: &Node) -> &'m [Run] {
        bytemuck::try_cast_slice(self.section(node.weights, node.weights_len as usize)).unwrap_or(&[])
    }

    /// Of an L2 norm: 1 for each channel, or 0 where one only pads.
    pub fn channel_mask(&self, node: &Node) -> &'m [i8] {
        let channels = usize::from(self.tensor(node.output.into()).channels);
        bytemuck::try_cast_slice(self.section(node.weights, channels)).unwrap_or(&[])
    }

    /// Weights of a convolution in the layout `kind`; empty if the model does not hold them in it.
    pub fn weights(&self, node: &Node, kind: WeightKind) -> &'m [i8] {
        let length = || {
            let (input, output) = (self.tensor(node.input.into()), self.tensor(node.output.into()));
            geometry::weights_len(node, &input, &output, kind)
        };
        let bytes = if WeightKind::from_code(node.weight_kind) == Some(kind) {
            self.section(node.weights, length())
        } else if kind == WeightKind::Canonical && node.canonical != 0 {
            self.section(node.canonical, length())
        } else {
            &[]
        };
        bytemuck::try_cast_slice(bytes).unwrap_or(&[])
    }

    fn requants(&self, offset: u32, count: usize) -> &'m [Requant] {
        bytemuck::try_cast_slice(self.section(offset, count * size_of::<Requant>())).unwrap_or(&[])
    }

    pub(crate) fn strings(&self) -> &'m [u8] {
        self.section(self.header.strings, self.header.strings_len as usize)
    }

    /// `len` bytes from a file offset; empty if they are not all there.
    pub(crate) fn section(&self, offset: u32, len: usize) -> &'m [u8] {
        self.bytes.get(offset as usize..).and_then(|rest| rest.get(..len)).unwrap_or(&[])
    }

    pub(crate) fn record<const LEN: usize>(&self, section: u32, index: usize) -> Option<&'m [u8; LEN]> {
        self.bytes.get(section as usize..)?.get(index * LEN..)?.first_chunk()
    }
}

impl Network for Model<'_> {
    #[inline(always)]
    fn node(&self, index: usize) -> Node {
        match self.record(self.header.nodes, index) {
            Some(bytes) => Node::parse(bytes),
            None => Node::default(),
        }
    }
    #[inline(always)]
    fn tensor(&self, index: usize) -> Tensor {
        match self.record(self.header.tensors, index) {
            Some(bytes) => Tensor::parse(bytes),
            None => Tensor::default(),
        }
    }
    #[inline(always)]
    fn segment(&self, index: usize) -> Option<Segment> {
        if index >= usize::from(self.header.segment_count) {
            return None;
        }
        self.record(self.header.segments, index).map(Segment::parse)
    }
}
