//! Files that take the image as integers.
//!
//! Deployed networks take int8 or uint8 and begin by dequantizing or casting them. The graph's input is what these integers
//! stand for. Up to there only operators are read that move elements or compute with integers wide enough.

use super::failure::Failure;
use super::node::NodeReader;
use crate::proto::DataType;
use crate::{InputIntegers, Normalization};
use std::collections::HashMap;

/// Operators that move elements.
const MOVES: [&str; 12] = [
    "Concat",
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "MaxPool",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

/// Operators whose results are exact where integers are wide.
const EXACT: [&str; 3] = ["Add", "Mul", "Sub"];

/// Operators that ask for dimensions.
const QUESTIONS: [&str; 2] = ["Shape", "Size"];

/// The image as integers.
#[derive(Clone)]
pub(super) struct IntegerImage {
    signed: bool,
    /// Tensors that hold integers of the image, and their types.
    kinds: HashMap<String, DataType>,
    /// Scale and zero point, once an operator has told them.
    meaning: Option<(f32, i32)>,
}

impl IntegerImage {
    /// The input `name`, if it holds integers of the type `kind`.
    pub(super) fn of_input(name: &str, kind: DataType) -> Option<Self> {
        let signed = match kind {
            DataType::Int8 => true,
            DataType::Uint8 => false,
            _ => return None,
        };
        Some(Self { signed, kinds: HashMap::from([(name.into(), kind)]), meaning: None })
    }

    /// The type of a tensor of integers.
    pub(super) fn kind(&self, name: &str) -> Option<DataType> {
        self.kinds.get(name).copied()
    }

    /// What the integers stand for, if an operator has told it.
    pub(super) fn finish(&self) -> Option<InputIntegers> {
        let (scale, zero_point) = self.meaning?;
        Some(InputIntegers { signed: self.signed, scale, zero_point })
    }

    fn tell(&mut self, scale: f32, zero_point: i32) -> Result<(), Failure> {
        match self.meaning.replace((scale, zero_point)) {
            Some((other, other_zero)) if (other, other_zero) != (scale, zero_point) => Err(format!(
                "takes the input's integers with scale {scale} and zero point {zero_point}, another operator with {other} \
                 and {other_zero}"
            )
            .into()),
            _ => Ok(()),
        }
    }
}

impl InputIntegers {
    /// How pixels 0..=255 become the graph's input where the integers are the pixels, less 128 if they are signed.
    pub(super) fn normalization(&self, channels: usize) -> Normalization {
        let zero = self.zero_point + if self.signed { 128 } else { 0 };
        let (mean, std) = (zero as f32 / 255.0, (1.0 / (255.0 * f64::from(self.scale))) as f32);
        Normalization { mean: vec![mean; channels], std: vec![std; channels] }
    }
}

/// Follows integers through a node that is about to be read.
pub(super) fn follow(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let Some(mut image) = node.importer.integer_image.take() else { return Ok(()) };
    let followed = step(node, &mut image);
    node.importer.integer_image = Some(image);
    followed
}

fn step(node: &mut NodeReader<'_, '_>, image: &mut IntegerImage) -> Result<(), Failure> {
    let kind_of = |index: usize| node.operand(index).and_then(|name| image.kind(name));
    let kinds: Vec<Option<DataType>> = (0..node.input_count()).map(kind_of).collect();
    let Some(kind) = kinds.iter().flatten().next().copied() else { return Ok(()) };
    let wide = !matches!(kind, DataType::Int8 | DataType::Uint8);
    let op = node.op_type().to_owned();
    let result = match op.as_str() {
        "DequantizeLinear" if !wide => {
            let scale = node.scalar(1)?.ok_or("operand 1 must be a scale")?;
            let zero = node.scalar(2)?.unwrap_or(0.0);
            if !(scale > 0.0 && scale.is_finite()) {
                return Err(format!("its scale is {scale}").into());
            }
            image.tell(scale, zero as i32)?;
            return Ok(());
        }
        "Cast" => {
            let to = node.attributes.int("to")?.and_then(|to| DataType::try_from(i32::try_from(to).ok()?).ok());
            let to = to.ok_or("attribute `to` is missing, or no type")?;
            if !wide {
                image.tell(1.0, 0)?;
            }
            match to {
                DataType::Float | DataType::Double | DataType::Float16 | DataType::Bfloat16 => return Ok(()),
                DataType::Int32 | DataType::Int64 => to,
                _ if to == kind => to,
                _ => return Err(format!("casts the input's integers to {to:?}").into()),
            }
        }
        op if QUESTIONS.contains(&op) => return Ok(()),
        // Constants among the integers would be numbers of another scale.
        "Concat" if kinds.iter().any(Option::is_none) => {
            return Err("puts the input's integers beside other numbers".into());
        }
        op if MOVES.contains(&op) || (wide && EXACT.contains(&op)) => kind,
        _ => {
            return Err(format!(
                "takes the input's integers ({kind:?}) as they are; only DequantizeLinear, Cast to float and operators \
                 that move elements may"
            )
            .into());
        }
    };
    for index in 0..node.output_count() {
        if let Some(output) = node.result(index) {
            image.kinds.insert(output.into(), result);
        }
    }
    Ok(())
}
