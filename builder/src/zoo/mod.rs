//! The architectures by name.
//!
//! Each is one line of its family's table: its name, the shapes it was published with, its conventions, and a
//! constructor that composes it from [`blocks`]. The constructors are public too, for other sizes than those that have
//! names.

pub mod attention;
pub mod blocks;
mod choice;
pub mod densenet;
mod error;
pub mod init;
mod options;
pub mod preresnet;
pub mod resnet;
pub mod resnext;
mod statistics;
#[cfg(test)]
mod tests;

pub use choice::Choice;
pub use error::ZooError;
pub use options::Options;
pub use statistics::with_nontrivial_statistics;

use blocks::{Net, Style};
use skipstone_onnx::{Graph, GraphError, ValueId};

/// An architecture as published, counted on the graph that [`build`] makes.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Entry {
    /// The name that [`build`] takes.
    pub name: &'static str,
    /// The family it belongs to.
    pub family: &'static str,
    /// Number of classes.
    pub classes: usize,
    /// `CxHxW`.
    pub input: String,
    /// Trainable elements.
    pub params: usize,
    /// Multiply-accumulates of convolutions and linear layers for one image.
    pub macs: u64,
}

struct Architecture {
    name: &'static str,
    family: &'static str,
    classes: usize,
    input: [usize; 3],
    /// Least height and width on which every stride still halves something.
    least: usize,
    style: Style,
    /// What else may be chosen.
    choices: &'static [Choice],
    /// Composes the network for a number of classes, and gives its scores.
    compose: fn(&mut Net, usize, &Options) -> Result<ValueId, GraphError>,
}

const FAMILIES: [&[Architecture]; 5] = [
    resnet::ARCHITECTURES,
    preresnet::ARCHITECTURES,
    resnext::ARCHITECTURES,
    densenet::ARCHITECTURES,
    attention::ARCHITECTURES,
];

/// The most classes that a data set's labels can count.
const MAX_CLASSES: usize = 1 << 16;

/// The names that [`build`] takes.
pub fn names() -> impl Iterator<Item = &'static str> {
    architectures().map(|architecture| architecture.name)
}

/// Builds an architecture with freshly drawn weights.
///
/// # Errors
/// [`ZooError`]: the name is unknown, or the architecture does not fit these classes, this input or these choices.
pub fn build(name: &str, options: &Options) -> Result<Graph, ZooError> {
    find(name)?.build(options, Some(options.seed))
}

/// One architecture as published.
///
/// # Errors
/// [`ZooError::Unknown`].
pub fn entry(name: &str) -> Result<Entry, ZooError> {
    find(name)?.entry()
}

/// Whether the architecture `name` has a choice; one that does not exist has none.
pub fn has_choice(name: &str, choice: Choice) -> bool {
    find(name).is_ok_and(|architecture| architecture.choices.contains(&choice))
}

/// All architectures as published. No weights are drawn and one network is held at a time.
///
/// # Errors
/// [`ZooError::Graph`] if a constructor is at odds with itself.
pub fn list() -> Result<Vec<Entry>, ZooError> {
    architectures().map(Architecture::entry).collect()
}

/// `[3, 32, 32]` as `3x32x32`.
pub fn dims_text([channels, height, width]: [usize; 3]) -> String {
    format!("{channels}x{height}x{width}")
}

fn architectures() -> impl Iterator<Item = &'static Architecture> {
    FAMILIES.into_iter().flatten()
}

/// Other names of architectures: MLPerf Tiny v1.4 calls its second image classifier IC02; it has 40 channels at first.
const ALIASES: [(&str, &str); 1] = [("resnet8-w40", "resnet8-large")];

fn find(name: &str) -> Result<&'static Architecture, ZooError> {
    let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
    architectures()
        .find(|architecture| architecture.name == name)
        .ok_or_else(|| ZooError::Unknown { name: name.into(), similar: similar(name).join(", ") })
}

/// The names that have most letters from the start in common with `name`.
fn similar(name: &str) -> Vec<&'static str> {
    let common = |known: &str| known.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
    let most = names().map(common).max();
    names().filter(|known| Some(common(known)) == most).collect()
}

impl Architecture {
    fn build(&self, options: &Options, seed: Option<u64>) -> Result<Graph, ZooError> {
        let arch = self.name;
        let classes = options.classes.unwrap_or(self.classes);
        let input = options.input.unwrap_or(self.input);
        let [channels, height, width] = input;
        if !(2..=MAX_CLASSES).contains(&classes) {
            return Err(ZooError::Classes { arch, classes, most: MAX_CLASSES });
        }
        if !(1..=1024).contains(&channels) || height.max(width) > 4096 {
            return Err(ZooError::Input { arch, input });
        }
        if height.min(width) < self.least {
            return Err(ZooError::InputTooSmall { arch, input, least: self.least });
        }
        options.check(arch, self.choices)?;
        let style = Style { zero_gamma: options.zero_gamma, ..self.style };
        let compose = || {
            let mut net = Net::new(arch, input, style, seed)?;
            let scores = (self.compose)(&mut net, classes, options)?;
            net.finish(scores)
        };
        compose().map_err(|source| ZooError::Graph { arch, source })
    }

    fn entry(&self) -> Result<Entry, ZooError> {
        let graph = self.build(&Options::default(), None)?;
        Ok(Entry {
            name: self.name,
            family: self.family,
            classes: self.classes,
            input: dims_text(self.input),
            params: graph.parameter_count(),
            macs: graph.macs(),
        })
    }
}
