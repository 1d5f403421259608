//! The only way from bytes to a [`Model`]: what passes can be executed without another test.
//!
//! The proof has five parts: the file and its records (here), shapes (`operators`) and memory (`layout`), weights and sums
//! that keep to their bits (`operators`), and an execution of the schedule on row numbers (`rows`), which shows that every
//! row is where its readers expect it until the last of them has read it. What an operator wants is said in its own file.

mod layout;
mod operators;
mod rows;
#[cfg(test)]
mod tests;

use crate::format::records::{
    ALIGNMENT, Core, Element, Ending, Header, MAGIC, NONE, Node, Segment, Source, Tensor, VERSION,
};
use crate::format::{LoadError, Place, Reason, checksum, strings};
use crate::model::Model;
use crate::ops::{self, RuleTable, Verdict, ensure};
use crate::schedule::{Network, Tabled};

use rows::MAX_NODES;

/// The error of a record that is refused for a reason.
fn at(place: Place) -> impl FnOnce(Reason) -> LoadError {
    move |reason| LoadError::Invalid { place, reason }
}

impl<'m> Model<'m> {
    /// Checks `bytes`, which must start at a multiple of 16 in memory, and gives access to them.
    ///
    /// Nothing that is done with a model afterwards can fail or read outside of `bytes`.
    ///
    /// # Errors
    /// [`LoadError`] says what is wrong with which record.
    pub fn from_bytes(bytes: &'m [u8]) -> Result<Self, LoadError> {
        check(bytes, &ops::EVERY)
    }

    /// [`from_bytes`](Self::from_bytes) by the rules of some operators, for programs that link no others.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes), or a node's operator is not among them.
    pub fn from_bytes_for(bytes: &'m [u8], rules: &'static RuleTable) -> Result<Self, LoadError> {
        check(bytes, rules)
    }

    /// Gives access to the bytes of a model that [`from_bytes`](Self::from_bytes) has accepted before, such as in the
    /// build of the program that holds it; the program then needs no checker. Only version, length, alignment and checksum
    /// are compared.
    ///
    /// Bytes that were never checked cannot break memory safety here, but results may be wrong and kernels may panic.
    ///
    /// # Errors
    /// [`LoadError`] where the bytes are not those of a whole packed model of this version.
    pub fn from_checked(bytes: &'m [u8]) -> Result<Self, LoadError> {
        envelope(bytes)
    }
}

fn check<'m>(bytes: &'m [u8], rules: &'static RuleTable) -> Result<Model<'m>, LoadError> {
    let model = Judged { model: envelope(bytes)?, table: rules };
    sections(&model).map_err(at(Place::Header))?;
    records(&model)?;
    layout::check(&model)?;
    operators::sums(&model)?;
    rows::check(&model)?;
    Ok(model.model)
}

/// A model that is being checked, and the rules by which.
type Judged<'m> = Tabled<'m, RuleTable>;

/// Magic, version, alignment in memory, length, checksum: that these are the bytes that were written.
fn envelope(bytes: &[u8]) -> Result<Model<'_>, LoadError> {
    if !bytes.starts_with(&MAGIC) {
        return Err(LoadError::NotAModel);
    }
    let Some(first) = bytes.first_chunk() else {
        return Err(LoadError::Length { stated: Header::LEN, found: bytes.len() });
    };
    let header = Header::parse(first);
    if header.version != VERSION {
        return Err(LoadError::Version { found: header.version });
    }
    if header.file_len as usize != bytes.len() {
        return Err(LoadError::Length { stated: header.file_len as usize, found: bytes.len() });
    }
    let computed = checksum::of_file(bytes);
    if header.checksum != computed {
        return Err(LoadError::Checksum { stated: header.checksum, computed });
    }
    ensure!(header.is_plain(), "unnamed bytes are not zero").map_err(at(Place::Header))?;
    if !bytes.as_ptr().addr().is_multiple_of(ALIGNMENT) {
        return Err(LoadError::Misaligned);
    }
    Model::unchecked(bytes).ok_or(LoadError::Misaligned)
}

fn sections(model: &Model<'_>) -> Verdict {
    let header = model.header();
    let counted = |count: u16, len: usize| u64::from(count) * len as u64;
    let lie = [
        (header.tensors, counted(header.tensor_count, Tensor::LEN)),
        (header.nodes, counted(header.node_count, Node::LEN)),
        (header.segments, counted(header.segment_count, Segment::LEN)),
        (header.strings, header.strings_len.into()),
    ];
    let lie = lie.into_iter().all(|(offset, len)| model.is_section(offset, len));
    ensure!(lie, "a section lies outside the file or is not aligned to 16 bytes")?;
    ensure!((1..=MAX_NODES).contains(&header.node_count.into()), "no nodes, or more than 4096")?;
    ensure!(Core::from_code(header.core).is_some(), "this program does not know the core it is laid out for")?;
    ensure!(header.input < header.tensor_count, "the image is not a tensor")?;
    ensure!(header.output < header.tensor_count, "the scores are not a tensor")?;
    let channels = model.input().channels;
    ensure!(model.is_section(header.pixels, counted(channels, 16)), "pixel conversion outside the file")?;
    ensure!(model.is_section(header.normalization, counted(channels, 8)), "normalization outside the file")?;
    source(model)?;
    vectors(model)?;
    ensure!(model.stated_preprocessing().is_some(), "its preprocessing is not one of its images")?;
    ensure!(is_string(model, header.provenance), "provenance is not a string")?;
    let mut next = Some(header.class_names as usize);
    for _ in 0..header.class_count {
        next = next.and_then(|at| strings::read(model.strings(), at)).map(|(_, end)| end);
    }
    ensure!(next.is_some(), "a class name is not a string")
}

fn is_string(model: &Model<'_>, offset: u32) -> bool {
    strings::read(model.strings(), offset as usize).is_some()
}

fn source(model: &Model<'_>) -> Verdict {
    let offset = model.header().source;
    if offset == 0 {
        return Ok(());
    }
    let len = Source::LEN as u64 + 8 * u64::from(model.input().channels);
    ensure!(model.is_section(offset, len), "what the network's file takes lies outside the file")?;
    let source = model.source().unwrap_or_default();
    ensure!(source.is_plain(), "unnamed bytes are not zero")?;
    let meaning = match Element::from_code(source.element) {
        Some(Element::Float32) => (source.scale, source.zero_point) == (0.0, 0),
        Some(Element::Uint8 | Element::Int8) => source.scale.is_finite() && source.scale > 0.0,
        None => false,
    };
    let known = source.channels_last <= 1 && Ending::from_code(source.ending).is_some();
    ensure!(known && meaning, "what the network's file takes or gives is not known")
}

fn vectors(model: &Model<'_>) -> Verdict {
    let header = model.header();
    ensure!((header.vectors == 0) == (header.vector_count == 0), "test vectors have a place or a number, not both")?;
    if header.vectors == 0 {
        return Ok(());
    }
    let len = u64::from(header.vector_count) * u64::from(model.vector_stride());
    let last = u64::from(header.vectors) + len == u64::from(header.file_len);
    ensure!(last && header.vectors.is_multiple_of(ALIGNMENT as u32), "test vectors are not the end of the file")?;
    ensure!(model.vectors_are_plain(), "unnamed bytes are not zero")
}

/// Indices, codes, ranges of single fields, the order of nodes, the segments.
fn records(model: &Model<'_>) -> Result<(), LoadError> {
    for (index, record) in model.tensors().iter().enumerate() {
        tensor(model, index, record).map_err(at(Place::Tensor(index)))?;
    }
    for (index, record) in model.nodes().iter().enumerate() {
        node(model, index, record).map_err(at(Place::Node(index)))?;
    }
    let mut end = 0;
    for (index, record) in model.segments().iter().enumerate() {
        segment(record, end).map_err(at(Place::Segment(index)))?;
        end = record.end;
    }
    let all = end == model.header().node_count;
    ensure!(all, "segments do not hold all nodes").map_err(at(Place::Header))
}

fn tensor(model: &Model<'_>, index: usize, tensor: &Tensor) -> Verdict {
    let header = model.header();
    ensure!(tensor.is_plain(), "unnamed bytes are not zero")?;
    ensure!(is_string(model, tensor.name), "its name is not a string")?;
    ensure!(tensor.scale.is_finite() && tensor.scale > 0.0, "its scale is not a positive number")?;
    if index == usize::from(header.input) {
        return ensure!(tensor.producer == NONE, "a node makes the image");
    }
    ensure!(tensor.producer < header.node_count, "no node makes it")?;
    let made = usize::from(model.node(tensor.producer.into()).output);
    ensure!(made == index, "its producer makes another tensor")
}

fn node(model: &Model<'_>, index: usize, node: &Node) -> Verdict {
    let tensor_count = model.header().tensor_count;
    ensure!(node.is_plain(), "unnamed bytes are not zero")?;
    ensure!(is_string(model, node.name), "its name is not a string")?;
    ensure!(node.output < tensor_count, "its output does not exist")?;
    let producer = usize::from(model.tensor(node.output.into()).producer);
    ensure!(producer == index, "another node makes its output")?;
    let made_before = |tensor: u16| {
        let producer = model.tensor(tensor.into()).producer;
        tensor < tensor_count && (producer == NONE || usize::from(producer) < index)
    };
    ensure!(made_before(node.input), "its input does not exist or is made later")?;
    let operand = node.operand == NONE || made_before(node.operand);
    ensure!(operand, "its operand does not exist or is made later")
}

fn segment(segment: &Segment, end: u16) -> Verdict {
    ensure!(segment.first == end && segment.end > segment.first, "segments do not follow each other")?;
    ensure!(segment.operand_first <= 1, "the order of operands is neither 0 nor 1")
}
