//! How long a packed model takes on the host, layer by layer.

use super::{HostError, Model};
use skipstone_runtime::{Engine, Moment};
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// Times of one inference on one thread; medians.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The whole inference.
    pub whole: Duration,
    /// The steps of each node, in the order of the nodes; what lies between steps is in none of them.
    pub layers: Vec<Duration>,
    /// Inferences of which these are the medians.
    pub runs: usize,
}

/// What the watch of an engine has seen.
struct Watched {
    begin: Instant,
    /// The steps' nodes, in the order of the steps.
    steps: Vec<usize>,
    layers: Vec<Duration>,
}

thread_local! {
    static WATCHED: RefCell<Option<Watched>> = const { RefCell::new(None) };
}

/// Classifies an image and sees every step.
fn watched(engine: &mut Engine, pixels: &[u8]) -> Result<Watched, HostError> {
    let nodes = engine.model().nodes().len();
    WATCHED.set(Some(Watched { begin: Instant::now(), steps: Vec::new(), layers: vec![Duration::ZERO; nodes] }));
    engine.watch_steps(|node, moment| {
        WATCHED.with_borrow_mut(|watched| match (watched, moment) {
            (Some(watched), Moment::Begin) => {
                watched.steps.push(node);
                watched.begin = Instant::now();
            }
            (Some(watched), Moment::End) => watched.layers[node] += watched.begin.elapsed(),
            (None, _) => {}
        });
    });
    engine.run(pixels).map_err(HostError::Input)?;
    Ok(WATCHED.take().unwrap_or_else(|| unreachable!("it was set")))
}

impl Model<'_> {
    /// The nodes of all steps of an inference, in the order in which every engine takes them.
    ///
    /// # Errors
    /// [`HostError`] if the model cannot run here.
    pub fn steps(&self) -> Result<Vec<usize>, HostError> {
        let mut arena = self.arena();
        let image = vec![0; self.image_dims().into_iter().product()];
        Ok(watched(&mut self.engine(&mut arena)?, &image)?.steps)
    }

    /// Times inferences of one image on this thread for about as long as `limit`, at least three.
    ///
    /// # Errors
    /// [`HostError`] if the model cannot run here, or takes images of another size.
    pub fn time(&self, pixels: &[u8], limit: Duration) -> Result<Timing, HostError> {
        let (mut arena, mut watched_arena) = (self.arena(), self.arena());
        let (mut engine, mut watched_engine) = (self.engine(&mut arena)?, self.engine(&mut watched_arena)?);
        let (mut whole, mut layers) = (Vec::new(), vec![Vec::new(); self.view().nodes().len()]);
        let start = Instant::now();
        let clock = (0..100).map(|_| Instant::now().elapsed()).min().unwrap_or_default();
        // The first inference warms up.
        let Watched { steps, .. } = watched(&mut watched_engine, pixels)?;
        engine.run(pixels).map_err(HostError::Input)?;
        while whole.len() < 3 || start.elapsed() < limit {
            let begin = Instant::now();
            engine.run(pixels).map_err(HostError::Input)?;
            whole.push(begin.elapsed());
            let watched = watched(&mut watched_engine, pixels)?;
            layers.iter_mut().zip(watched.layers).for_each(|(times, time)| times.push(time));
        }
        let clocks = |node| clock * steps.iter().filter(|&&step| step == node).count() as u32;
        let layers = layers.into_iter().enumerate();
        let layers = layers.map(|(node, times)| median(times).saturating_sub(clocks(node))).collect();
        Ok(Timing { runs: whole.len(), whole: median(whole), layers })
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[cfg(test)]
mod tests {
    use crate::host::Model;
    use crate::pack::{AlignedBytes, Options, quantize};
    use crate::{data, zoo};
    use std::time::Duration;

    #[test]
    fn layers_are_timed_and_steps_are_those_of_the_model() {
        let spec: data::Spec = "digits".parse().unwrap();
        let digits = data::load(&spec, data::Split::Test).unwrap();
        let options = zoo::Options { input: Some(spec.dims()), seed: 1, ..zoo::Options::default() };
        let mut graph = zoo::build("resnet8", &options).unwrap();
        graph.metadata.normalization = Some(spec.normalization());
        let stone = AlignedBytes::copy(&quantize(&graph, &digits, &Options::default()).unwrap().stone);
        let model = Model::new(&stone).unwrap();
        let steps = model.steps().unwrap();
        let timing = model.time(digits.image(0), Duration::ZERO).unwrap();
        assert_eq!((timing.runs, timing.layers.len()), (3, model.view().nodes().len()));
        for (node, time) in timing.layers.iter().enumerate() {
            assert!(time.is_zero() || steps.contains(&node), "node {node}");
        }
        let sum: Duration = timing.layers.iter().sum();
        assert!(!sum.is_zero() && sum < 10 * timing.whole, "{timing:?}");
        assert!(model.time(&[0], Duration::ZERO).is_err());
    }
}
