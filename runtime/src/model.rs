//! A checked packed model, read where it lies.

use crate::arith::Requant;
use crate::bounds;
use crate::format::records::{ALIGNMENT, Header, Node, Run, Segment, Source, TABLE_LEN, Tensor};
use crate::format::strings;
use crate::image::Preprocessing;
use crate::network::Network;
use bytemuck::AnyBitPattern;

#[cfg(target_endian = "big")]
compile_error!("packed models are little endian and are read in place");

/// A packed model: weights and records where they lie, in flash or in a file's bytes. Copying it copies references.
#[derive(Clone, Copy, Debug)]
pub struct Model<'m> {
    bytes: &'m [u8],
    header: &'m Header,
    tensors: &'m [Tensor],
    nodes: &'m [Node],
    segments: &'m [Segment],
}

/// The shape of an image, `[height][width][channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ImageShape {
    /// Rows.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    /// Samples of a pixel.
    pub channels: usize,
}

impl ImageShape {
    /// Bytes of a row.
    pub const fn row_len(&self) -> usize {
        self.width * self.channels
    }

    /// Bytes of an image.
    pub const fn len(&self) -> usize {
        self.height * self.row_len()
    }

    /// Whether there are no bytes; never so of a checked model.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'m> Model<'m> {
    /// A view of bytes that the check works through; records that are not there, or not aligned, are none. `None` if
    /// the bytes hold no header where one can be read in place.
    pub(crate) fn unchecked(bytes: &'m [u8]) -> Option<Self> {
        let header: &Header = record(bytes, 0)?;
        Some(Self {
            bytes,
            header,
            tensors: values(bytes, header.tensors, header.tensor_count.into()),
            nodes: values(bytes, header.nodes, header.node_count.into()),
            segments: values(bytes, header.segments, header.segment_count.into()),
        })
    }

    /// The head of the file.
    pub fn header(&self) -> &'m Header {
        self.header
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

    /// The shape of the image that it classifies.
    pub fn image(&self) -> ImageShape {
        let input = self.input();
        ImageShape { height: input.height.into(), width: input.width.into(), channels: input.channels.into() }
    }

    /// The tensor that holds the image.
    pub fn input(&self) -> &'m Tensor {
        self.tensor_record(self.header.input)
    }

    /// The tensor that holds the scores.
    pub fn output(&self) -> &'m Tensor {
        self.tensor_record(self.header.output)
    }

    fn tensor_record(&self, index: u16) -> &'m Tensor {
        bounds::record(self.tensors, index.into(), &Tensor::EMPTY)
    }

    /// All tensors, in order of their indices.
    pub fn tensors(&self) -> &'m [Tensor] {
        self.tensors
    }

    /// All nodes, in order of their indices, producers before consumers.
    pub fn nodes(&self) -> &'m [Node] {
        self.nodes
    }

    /// All segments, in order of execution.
    pub fn segments(&self) -> &'m [Segment] {
        self.segments
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
        (self.header.source != 0).then(|| record(self.bytes, self.header.source).copied()).flatten()
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
        let values = self.section(offset, 2 * channels);
        values.iter().copied().zip(bounds::rest(values, channels).iter().copied())
    }

    /// How an image of any size becomes the pixels that [`Engine::run`](crate::Engine::run) takes.
    pub fn preprocessing(&self) -> Preprocessing {
        self.stated_preprocessing().unwrap_or_default()
    }

    /// What the header's codes mean; nothing if they have no meaning.
    pub(crate) fn stated_preprocessing(&self) -> Option<Preprocessing> {
        let &Header { fit, filter, channel_order, resize, .. } = self.header;
        let input = self.input();
        Preprocessing::from_codes([fit, filter, channel_order], resize, [input.channels, input.height, input.width])
    }

    /// How a raised pixel, 0..=255, becomes the int8 input: one for each channel of the image.
    pub fn pixel_requant(&self) -> &'m [Requant] {
        self.requants(self.header.pixels, self.input().channels.into())
    }

    /// How a convolution reads its raised input: one for each channel; none if it reads it as it is.
    pub fn prologue(&self, node: &Node) -> &'m [Requant] {
        let channels = if node.prologue == 0 { 0 } else { self.tensor_record(node.input).channels };
        self.requants(node.prologue, channels.into())
    }

    /// The weights of a resampling: of all output rows, then of all pixels of a row.
    pub fn taps(&self, node: &Node) -> &'m [i32] {
        self.section(node.weights, node.weights_len as usize / size_of::<i32>())
    }

    /// The table of a lookup; `None` if the file does not hold one at the node's weights.
    pub fn table(&self, node: &Node) -> Option<&'m [i8; TABLE_LEN]> {
        self.section(node.weights, TABLE_LEN).first_chunk()
    }

    /// The channels that a copy takes over.
    pub fn runs(&self, node: &Node) -> &'m [Run] {
        self.section(node.weights, node.weights_len as usize / size_of::<Run>())
    }

    /// Of an L2 or a group norm: 1 for each channel, or 0 where one only pads.
    pub fn channel_mask(&self, node: &Node) -> &'m [i8] {
        let channels = usize::from(self.tensor_record(node.output).channels);
        self.section(node.weights, channels)
    }

    /// The weights of a convolution, as their layout says.
    pub fn weights(&self, node: &Node) -> &'m [i8] {
        self.section(node.weights, node.weights_len as usize)
    }

    /// `count` conversions at a file offset; none if they do not all exist.
    pub(crate) fn requants(&self, offset: u32, count: usize) -> &'m [Requant] {
        self.section(offset, count)
    }

    pub(crate) fn strings(&self) -> &'m [u8] {
        self.section(self.header.strings, self.header.strings_len as usize)
    }

    /// Whether `len` bytes from a file offset are an aligned section of the file.
    pub(crate) fn is_section(&self, offset: u32, len: u64) -> bool {
        offset.is_multiple_of(ALIGNMENT as u32) && u64::from(offset) + len <= self.bytes.len() as u64
    }

    /// `count` values from a file offset; none if they are not all there.
    pub(crate) fn section<T: AnyBitPattern>(&self, offset: u32, count: usize) -> &'m [T] {
        values(self.bytes, offset, count)
    }
}

/// The record at a file offset.
fn record<T: AnyBitPattern>(bytes: &[u8], offset: u32) -> Option<&T> {
    values(bytes, offset, 1).first()
}

/// `count` values from a file offset; none if they are not all there, or not aligned in memory.
fn values<T: AnyBitPattern>(bytes: &[u8], offset: u32, count: usize) -> &[T] {
    bounds::cast(bounds::part(bytes, offset as usize, count.saturating_mul(size_of::<T>())))
}

impl Network for Model<'_> {
    #[inline(always)]
    fn nodes(&self) -> &[Node] {
        self.nodes
    }
    #[inline(always)]
    fn tensors(&self) -> &[Tensor] {
        self.tensors
    }
    #[inline(always)]
    fn segments(&self) -> &[Segment] {
        self.segments
    }
}
