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

use crate::format::records::{Core, Element, Ending, Header, MAGIC, NONE, Node, Segment, Source, Tensor, VERSION};
use crate::format::{LoadError, Place, checksum, strings};
use crate::model::Model;
use crate::ops::{self, RuleTable};
use crate::schedule::{Network, Tabled};

/// Returns an error unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $place:expr, $reason:expr) => {
        if !$condition {
            return Err($crate::format::LoadError::Invalid { place: $place, reason: $reason });
        }
    };
}
use ensure;

use rows::MAX_NODES;

type Outcome = Result<(), LoadError>;

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
    sections(&model)?;
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
    ensure!(header.is_plain(), Place::Header, "unnamed bytes are not zero");
    if !bytes.as_ptr().addr().is_multiple_of(crate::format::records::ALIGNMENT) {
        return Err(LoadError::Misaligned);
    }
    Model::unchecked(bytes).ok_or(LoadError::Misaligned)
}

/// Whether `len` bytes from `offset` are an aligned section of the file.
fn is_section(model: &Model<'_>, offset: u32, len: u64) -> bool {
    offset.is_multiple_of(16) && u64::from(offset) + len <= model.as_bytes().len() as u64
}

fn sections(model: &Model<'_>) -> Outcome {
    let header = model.header();
    let place = Place::Header;
    let counted = |count: u16, len: usize| u64::from(count) * len as u64;
    let outside = "a section lies outside the file or is not aligned to 16 bytes";
    ensure!(is_section(model, header.tensors, counted(header.tensor_count, Tensor::LEN)), place, outside);
    ensure!(is_section(model, header.nodes, counted(header.node_count, Node::LEN)), place, outside);
    ensure!(is_section(model, header.segments, counted(header.segment_count, Segment::LEN)), place, outside);
    ensure!(is_section(model, header.strings, header.strings_len.into()), place, outside);
    ensure!((1..=MAX_NODES).contains(&header.node_count.into()), place, "no nodes, or more than 4096");
    ensure!(Core::from_code(header.core).is_some(), place, "this program does not know the core it is laid out for");
    ensure!(header.input < header.tensor_count, place, "the image is not a tensor");
    ensure!(header.output < header.tensor_count, place, "the scores are not a tensor");
    let channels = model.input().channels;
    ensure!(is_section(model, header.pixels, counted(channels, 16)), place, "pixel conversion outside the file");
    ensure!(is_section(model, header.normalization, counted(channels, 8)), place, "normalization outside the file");
    source(model)?;
    ensure!(model.stated_preprocessing().is_some(), place, "its preprocessing is not one of its images");
    ensure!(strings::read(model.strings(), header.provenance as usize).is_some(), place, "provenance is not a string");
    let mut at = header.class_names as usize;
    for _ in 0..header.class_count {
        let Some((_, end)) = strings::read(model.strings(), at) else {
            return Err(LoadError::Invalid { place, reason: "a class name is not a string" });
        };
        at = end;
    }
    Ok(())
}

fn source(model: &Model<'_>) -> Outcome {
    let (offset, place) = (model.header().source, Place::Header);
    if offset == 0 {
        return Ok(());
    }
    let len = Source::LEN as u64 + 8 * u64::from(model.input().channels);
    ensure!(is_section(model, offset, len), place, "what the network's file takes lies outside the file");
    let source = model.source().unwrap_or_default();
    ensure!(source.is_plain(), place, "unnamed bytes are not zero");
    let meaning = match Element::from_code(source.element) {
        Some(Element::Float32) => (source.scale, source.zero_point) == (0.0, 0),
        Some(Element::Uint8 | Element::Int8) => source.scale.is_finite() && source.scale > 0.0,
        None => false,
    };
    let known = source.channels_last <= 1 && Ending::from_code(source.ending).is_some();
    ensure!(known && meaning, place, "what the network's file takes or gives is not known");
    Ok(())
}

/// Indices, codes, ranges of single fields, the order of nodes, the segments.
fn records(model: &Model<'_>) -> Outcome {
    let header = model.header();
    for (index, tensor) in model.tensors().iter().enumerate() {
        let place = Place::Tensor(index);
        ensure!(tensor.is_plain(), place, "unnamed bytes are not zero");
        ensure!(strings::read(model.strings(), tensor.name as usize).is_some(), place, "its name is not a string");
        ensure!(tensor.scale.is_finite() && tensor.scale > 0.0, place, "its scale is not a positive number");
        if index == usize::from(header.input) {
            ensure!(tensor.producer == NONE, place, "a node makes the image");
        } else {
            let producer = usize::from(tensor.producer);
            ensure!(producer < header.node_count.into(), place, "no node makes it");
            let made = usize::from(model.node(producer).output);
            ensure!(made == index, place, "its producer makes another tensor");
        }
    }
    for (index, node) in model.nodes().iter().enumerate() {
        let place = Place::Node(index);
        ensure!(node.is_plain(), place, "unnamed bytes are not zero");
        ensure!(strings::read(model.strings(), node.name as usize).is_some(), place, "its name is not a string");
        ensure!(node.output < header.tensor_count, place, "its output does not exist");
        let producer = usize::from(model.tensor(node.output.into()).producer);
        ensure!(producer == index, place, "another node makes its output");
        let made_before = |tensor: u16| {
            let producer = model.tensor(tensor.into()).producer;
            tensor < header.tensor_count && (producer == NONE || usize::from(producer) < index)
        };
        ensure!(made_before(node.input), place, "its input does not exist or is made later");
        ensure!(
            node.operand == NONE || made_before(node.operand),
            place,
            "its operand does not exist or is made later"
        );
    }
    let mut end = 0;
    for (index, segment) in model.segments().iter().enumerate() {
        let place = Place::Segment(index);
        ensure!(segment.first == end && segment.end > segment.first, place, "segments do not follow each other");
        ensure!(segment.operand_first <= 1, place, "the order of operands is neither 0 nor 1");
        end = segment.end;
    }
    ensure!(end == header.node_count, Place::Header, "segments do not hold all nodes");
    Ok(())
}
