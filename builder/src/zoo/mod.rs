//! The architectures by name.
//!
//! Each is one line of a table: its name, the shapes it was published with, its conventions, and a constructor that
//! composes it from [`blocks`].

pub mod blocks;
pub mod init;
mod resnet;
mod statistics;

pub use statistics::with_nontrivial_statistics;

use blocks::{Net, Shortcut, Style};
use skipstone_onnx::{Graph, GraphError, ValueId};

/// What an architecture is built for; what is not given is as published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Number of classes.
    pub classes: Option<usize>,
    /// Channels, height, width of the image.
    pub input: Option<[usize; 3]>,
    /// Seed of the initial weights.
    pub seed: u64,
}

/// An architecture that cannot be built.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ZooError {
    /// No architecture has this name.
    #[error("unknown architecture `{name}`: known are {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// Fewer than two classes.
    #[error("{arch} cannot tell {classes} classes apart: give at least 2")]
    Classes {
        /// The architecture.
        arch: &'static str,
        /// The number asked for.
        classes: usize,
    },
    /// An image on which nothing would be left of the last maps.
    #[error("{arch} halves its maps too often for an input of {}: height and width must be at least {least}", text(*.input))]
    InputTooSmall {
        /// The architecture.
        arch: &'static str,
        /// The dimensions asked for.
        input: [usize; 3],
        /// The least height and width.
        least: usize,
    },
    /// An image without channels, or so large that its maps cannot be counted.
    #[error("{arch} cannot take an input of {}: give 1 to 1024 channels and at most 4096 rows and columns", text(*.input))]
    Input {
        /// The architecture.
        arch: &'static str,
        /// The dimensions asked for.
        input: [usize; 3],
    },
    /// The constructor is at odds with itself.
    #[error("{arch}: {source}")]
    Graph {
        /// The architecture.
        arch: &'static str,
        /// What does not fit.
        source: GraphError,
    },
}

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
    /// Composes the network for a number of classes, and gives its scores.
    compose: fn(&mut Net, usize) -> Result<ValueId, GraphError>,
}

const CIFAR: Architecture = Architecture {
    name: "",
    family: "resnet",
    classes: 10,
    input: [3, 32, 32],
    least: 4,
    style: Style::PYTORCH,
    compose: |net, classes| resnet::cifar(net, classes, 3, Shortcut::ZeroPad),
};

const ARCHITECTURES: &[Architecture] = &[
    Architecture { name: "resnet20", ..CIFAR },
    Architecture {
        name: "plain20",
        family: "plain",
        compose: |net, classes| resnet::cifar(net, classes, 3, Shortcut::None),
        ..CIFAR
    },
    Architecture {
        name: "resnet8",
        style: Style::KERAS,
        compose: |net, classes| resnet::mlperf_tiny(net, classes, 16),
        ..CIFAR
    },
];

/// The names that [`build`] takes.
pub fn names() -> impl Iterator<Item = &'static str> {
    ARCHITECTURES.iter().map(|architecture| architecture.name)
}

/// Builds an architecture with freshly drawn weights.
///
/// # Errors
/// [`ZooError`]: the name is unknown, or the architecture does not fit these classes or this input.
pub fn build(name: &str, options: &Options) -> Result<Graph, ZooError> {
    let architecture = find(name)?;
    let classes = options.classes.unwrap_or(architecture.classes);
    let input = options.input.unwrap_or(architecture.input);
    architecture.build(classes, input, Some(options.seed))
}

/// One architecture as published.
///
/// # Errors
/// [`ZooError::Unknown`].
pub fn entry(name: &str) -> Result<Entry, ZooError> {
    find(name)?.entry()
}

/// All architectures as published.
///
/// # Errors
/// [`ZooError::Graph`] if a constructor is at odds with itself.
pub fn list() -> Result<Vec<Entry>, ZooError> {
    ARCHITECTURES.iter().map(Architecture::entry).collect()
}

/// `[3, 32, 32]` as `3x32x32`.
pub fn text([channels, height, width]: [usize; 3]) -> String {
    format!("{channels}x{height}x{width}")
}

fn find(name: &str) -> Result<&'static Architecture, ZooError> {
    ARCHITECTURES
        .iter()
        .find(|architecture| architecture.name == name)
        .ok_or_else(|| ZooError::Unknown { name: name.into(), known: names().collect::<Vec<_>>().join(", ") })
}

impl Architecture {
    fn build(&self, classes: usize, input: [usize; 3], seed: Option<u64>) -> Result<Graph, ZooError> {
        let arch = self.name;
        let [channels, height, width] = input;
        if classes < 2 {
            return Err(ZooError::Classes { arch, classes });
        }
        if !(1..=1024).contains(&channels) || height.max(width) > 4096 {
            return Err(ZooError::Input { arch, input });
        }
        if height.min(width) < self.least {
            return Err(ZooError::InputTooSmall { arch, input, least: self.least });
        }
        let compose = || {
            let mut net = Net::new(arch, input, self.style, seed)?;
            let scores = (self.compose)(&mut net, classes)?;
            net.finish(scores)
        };
        compose().map_err(|source| ZooError::Graph { arch, source })
    }

    fn entry(&self) -> Result<Entry, ZooError> {
        let graph = self.build(self.classes, self.input, None)?;
        Ok(Entry {
            name: self.name,
            family: self.family,
            classes: self.classes,
            input: text(self.input),
            params: graph.parameter_count(),
            macs: graph.macs(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skipstone_onnx::Op;

    #[test]
    fn counts_are_those_of_the_publications() {
        // Source: He 2015 section 4.2 and MLPerf Tiny's model, counted by instantiating them elsewhere.
        for (name, params, macs) in
            [("resnet20", 269_722, 40_551_040), ("plain20", 269_722, 40_551_040), ("resnet8", 78_186, 12_501_632)]
        {
            let entry = entry(name).unwrap();
            assert_eq!((entry.params, entry.macs), (params, macs), "{name}");
        }
        assert_eq!(list().unwrap().len(), ARCHITECTURES.len());
    }

    #[test]
    fn adapts_to_classes_and_input() {
        for name in names() {
            for (classes, input) in [(100, [3, 32, 32]), (2, [1, 8, 8]), (10, [4, 5, 4]), (10, [1, 28, 28])] {
                let graph = build(name, &Options { classes: Some(classes), input: Some(input), seed: 1 }).unwrap();
                assert_eq!(graph.value(graph.input()).dims, input, "{name}");
                assert_eq!(graph.value(graph.output()).dims, [classes], "{name}");
            }
        }
        let hundred = build("resnet20", &Options { classes: Some(100), ..Options::default() }).unwrap();
        assert_eq!(hundred.parameter_count(), 275_572);
    }

    #[test]
    fn refuses_what_does_not_fit_and_says_why() {
        let error = |name, classes, input| build(name, &Options { classes, input, seed: 0 }).unwrap_err().to_string();
        assert!(error("resnet9", None, None).contains("known are resnet20, plain20, resnet8"));
        assert!(error("resnet8", Some(1), None).contains("at least 2"));
        assert!(error("resnet8", None, Some([3, 3, 32])).contains("at least 4"));
        assert!(error("resnet8", None, Some([3, 3, 32])).contains("3x3x32"));
        assert!(error("resnet8", None, Some([0, 8, 8])).contains("1 to 1024 channels"));
        assert!(error("resnet8", None, Some([1, 8, usize::MAX])).contains("4096"));
    }

    #[test]
    fn structures_follow_the_publications() {
        let count = |graph: &Graph, name| graph.nodes().iter().filter(|node| node.op.name() == name).count();
        let resnet20 = build("resnet20", &Options::default()).unwrap();
        assert_eq!([count(&resnet20, "Conv"), count(&resnet20, "Add"), count(&resnet20, "Slice")], [19, 9, 2]);
        let plain20 = build("plain20", &Options::default()).unwrap();
        assert_eq!([count(&plain20, "Conv"), count(&plain20, "Add")], [19, 0]);
        let resnet8 = build("resnet8", &Options::default()).unwrap();
        assert_eq!([count(&resnet8, "Conv"), count(&resnet8, "Add"), count(&resnet8, "BatchNormalization")], [9, 3, 7]);
        let pads = |name: &str| {
            let node = resnet8.nodes().iter().find(|node| node.name == name).unwrap();
            let Op::Conv(conv) = &node.op else { panic!("{name}") };
            conv.pads
        };
        assert_eq!(pads("stage2.block1.conv1"), [0, 0, 1, 1]);
        assert_eq!(pads("stage2.block1.shortcut.conv"), [0; 4]);
        assert!(resnet8.parameters().any(|(_, name, _)| name == "stage2.block1.conv1.weight"));
    }

    #[test]
    fn a_seed_determines_the_network() {
        let weights = |seed| build("resnet8", &Options { seed, ..Options::default() }).unwrap();
        assert_eq!(weights(1), weights(1));
        assert_ne!(weights(1), weights(2));
    }
}
