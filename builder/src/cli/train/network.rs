//! The network that training begins with, and its classes.

use super::Arguments;
use crate::cli::classes::{self, Match};
use crate::cli::classifier;
use crate::cli::console::Console;
use crate::cli::failure::Failure;
use crate::cli::model;
use crate::data::ImageSet;
use crate::train::{Config, START, with_new_head};
use crate::zoo;
use crate::zoo::blocks::MaskActivation;
use skipstone_onnx::{Batch, Graph, Normalization, export, import};
use std::path::{Path, PathBuf};

/// What training begins with.
pub(super) struct Network {
    pub(super) graph: Graph,
    /// The file to build a resumed run's network from.
    pub(super) start: Option<Vec<u8>>,
    /// What messages call it.
    name: PathBuf,
    origin: Origin,
}

enum Origin {
    /// An architecture, built for the data set.
    Architecture,
    /// A trained network.
    Init,
    /// The run to continue, which began with a trained network.
    Resumed,
}

impl Network {
    /// An architecture's network. A run that is resumed has its classes in the best network so far.
    pub(super) fn built(mut graph: Graph, normalization: Normalization, arguments: &Arguments) -> Self {
        let best = arguments.out.join(model::RUN_MODEL);
        if arguments.resume
            && best.exists()
            && let Ok(best) = model::import(&best)
        {
            graph.metadata.class_names = best.metadata.class_names;
        }
        graph.metadata.normalization = Some(normalization);
        Self { name: arguments.out.clone(), graph, start: None, origin: Origin::Architecture }
    }

    /// The network of --init, or what the run to continue kept of it.
    pub(super) fn trained(init: &Path, arguments: &Arguments, config: &Config) -> Result<Self, Failure> {
        let kept = arguments.out.join(START);
        if arguments.resume && kept.exists() {
            let graph = model::import(&kept)?;
            if graph.metadata.normalization.is_none() {
                return Err(Failure::at(
                    &kept,
                    "the normalization of its input is missing; the run cannot be continued",
                ));
            }
            return Ok(Self { graph, start: None, name: kept, origin: Origin::Resumed });
        }
        let (file, mut graph) = model::read_graph(init)?;
        check(&file, &graph, arguments, config)?;
        arguments.pixels.complete(&mut graph, &file)?;
        Ok(Self { graph, start: None, name: file, origin: Origin::Init })
    }

    /// The network with the classes of `sets`, the images to train on and those to test with; says what was changed in
    /// either. A trained network gets a new head where the number of classes is another one.
    pub(super) fn for_classes(
        mut self,
        config: &Config,
        sets: &mut [ImageSet; 2],
        console: &Console,
    ) -> Result<Self, Failure> {
        for set in sets.iter() {
            classifier::check_dims(&self.name, model::input_dims(&self.graph), set.dims)?;
        }
        if !matches!(self.origin, Origin::Init) {
            for set in sets {
                classifier::align(&self.name, &self.graph, set, console)?;
            }
            return Ok(self);
        }
        let count = self.graph.value(self.graph.output()).dims[0];
        let names = self.graph.metadata.class_names.clone();
        let [train, test] = sets;
        let has = train.class_names.len();
        let (shown, wanted) = (self.name.display(), config.new_head);
        match classes::compare(count, &names, &train.class_names) {
            Match::Same if !wanted => {}
            Match::Permuted(order) if !wanted => {
                console.say(format!("the classes of {shown} are the data set's in another order: labels go by name"));
                for set in [train, test] {
                    classes::relabel(set, &order, &names);
                }
            }
            Match::Unknown if !wanted && has == count => {
                console.say(format!(
                    "{shown} does not name its classes: its {count} scores are taken for the data set's classes in their \
                     order; --new-head begins without them"
                ));
            }
            Match::Different(reason) if !wanted && has == count => {
                return Err(Failure::at(
                    &self.name,
                    format!(
                        "tells {count} classes apart, as many as the data set has, but not the same: {reason}; rename \
                         them, or give --new-head to learn the data set's"
                    ),
                ));
            }
            _ => {
                self.graph = with_new_head(&self.graph, has, config.seed)?;
                let head = crate::train::head_name(&self.graph)?;
                console.say(format!(
                    "new head: `{head}` had the {count} classes of {shown} and begins anew for the data set's {has}"
                ));
            }
        }
        self.graph.metadata.class_names = sets[0].class_names.clone();
        // A resumed run reads the same.
        let file = export::export(&self.graph, Batch::default());
        self.graph = import::import(&file)?;
        self.start = Some(file);
        Ok(self)
    }
}

/// Refuses settings that would build another network than the one in `file`.
fn check(file: &Path, graph: &Graph, arguments: &Arguments, config: &Config) -> Result<(), Failure> {
    let shown = file.display();
    if let Some(arch) = arguments.arch.as_deref().or(Some(&config.arch)).filter(|arch| !arch.is_empty())
        && arch != graph.name
    {
        return Err(Failure::Usage(format!(
            "--init gives the network of {shown}, `{}`, and --arch another one, `{arch}`: leave one of them out",
            graph.name
        )));
    }
    let chosen = [
        ("zero_gamma", config.zero_gamma),
        ("naive_attention", config.naive_attention),
        ("mask_activation", config.mask_activation != MaskActivation::default()),
    ];
    if let Some((field, _)) = chosen.into_iter().find(|&(_, chosen)| chosen) {
        return Err(Failure::Usage(format!(
            "`{field}` says how a network is built, and --init gives one that is: leave one of them out"
        )));
    }
    let dims = model::input_dims(graph);
    match config.input.filter(|&input| input != dims) {
        None => Ok(()),
        Some(input) => {
            let (dims, input) = (zoo::dims_text(dims), zoo::dims_text(input));
            Err(Failure::Usage(format!(
                "{shown} takes images of {dims}: it cannot be trained with {input}; leave --input out, and images of a \
                 folder are brought to its size"
            )))
        }
    }
}
