//! Fast inference of float networks on the host.
//!
//! A [`Session`] prepares once what [`autograd::infer`](crate::autograd::infer()) computes for every batch: batch norms
//! are folded into convolutions, or computed as a convolution of single pixels reads; sums and clamps are computed as
//! a convolution writes. Weights are packed or transformed for minimal filtering. Activations share a few buffers and
//! have frames of zeros for the convolutions' padding. Images run side by side on all cores; where there are fewer of
//! them than cores, the rows of a convolution do. Results do not depend on the number of threads nor on the other
//! images; they differ from autograd's by rounding.

mod conv;
mod elementwise;
mod fuse;
mod layout;
mod step;
#[cfg(test)]
mod tests;

pub(crate) use conv::batch_norm_affine;

use crate::autograd::{self, Pool};
use crate::tensor::Tensor;
use layout::{Map, Operand};
use rayon::Yield;
use rayon::prelude::*;
use skipstone_onnx::{Graph, ValueId};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use step::Work;

/// Spins before an idle worker yields its core.
const PATIENCE: u32 = 1000;

/// A network prepared to run.
pub struct Session<'g> {
    graph: &'g Graph,
    /// Where each activation lies: the map, and the buffer's number.
    places: Vec<(Map, usize)>,
    /// Elements of each buffer.
    buffers: Vec<usize>,
    steps: Vec<Step<'g>>,
    output: ValueId,
    workspaces: Mutex<Vec<Workspace>>,
}

struct Step<'g> {
    work: Work<'g>,
    operands: Vec<ValueId>,
    output: ValueId,
}

/// What one image needs while it is computed.
struct Workspace {
    buffers: Vec<Vec<f32>>,
    pool: Pool,
}

impl<'g> Session<'g> {
    /// Prepares a network.
    pub fn new(graph: &'g Graph) -> Self {
        let (fused, output) = fuse::fuse(graph);
        let steps: Vec<Step> = fused
            .iter()
            .map(|step| Step {
                work: Work::new(graph, step),
                operands: step.operands.iter().copied().chain(step.residual).collect(),
                output: step.output,
            })
            .collect();
        let mut places: Vec<(Map, usize)> = graph.values().iter().map(|value| (Map::new(&value.dims), 0)).collect();
        for step in &steps {
            places[step.operands[0].index()].0.widen(step.work.pads());
        }
        let buffers = assign(graph.input(), output, &steps, &mut places);
        Self { graph, places, buffers, steps, output, workspaces: Mutex::default() }
    }

    /// The scores `[N, classes]` of normalized `images` `[N, H, W, C]`.
    ///
    /// Runs in the current rayon pool. Call it from inside the pool (`rayon::scope`) for single images: a caller
    /// outside waits each time until a thread of the pool wakes up.
    ///
    /// # Panics
    /// If the images' dimensions are not those of the graph's input.
    pub fn run(&self, images: &Tensor) -> Tensor {
        autograd::check_dims(self.graph, images);
        let classes = self.graph.value(self.graph.output()).dims[0];
        let mut scores = Tensor::zeros([images.batch(), classes]);
        if images.batch() == 0 {
            return scores;
        }
        let bands = rayon::current_num_threads().div_ceil(images.batch());
        let image = images.data().len() / images.batch();
        let work = |(scores, image): (&mut [f32], &[f32])| {
            let mut workspace =
                self.workspaces.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_else(|| {
                    let buffers = self.buffers.iter().map(|&len| vec![0.0; len]).collect();
                    Workspace { buffers, pool: Pool::default() }
                });
            self.run_image(&mut workspace, image, scores, bands);
            self.workspaces.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
        };
        // Image by image: a thread that the system interrupts holds up no others.
        let images = scores.data_mut().par_chunks_mut(classes).zip(images.data().par_chunks(image)).with_max_len(1);
        with_threads_awake(|| images.for_each(work));
        scores
    }

    fn run_image(&self, workspace: &mut Workspace, image: &[f32], scores: &mut [f32], bands: usize) {
        let (map, buffer) = &self.places[self.graph.input().index()];
        map.fill(&mut workspace.buffers[*buffer], image);
        for step in &self.steps {
            let (y, buffer) = &self.places[step.output.index()];
            // No operand lies in the result's buffer.
            let mut out = std::mem::take(&mut workspace.buffers[*buffer]);
            let operands: Vec<Operand> = step
                .operands
                .iter()
                .map(|id| {
                    let (map, buffer) = &self.places[id.index()];
                    (map, workspace.buffers[*buffer].as_slice())
                })
                .collect();
            step.work.run(self.graph, &workspace.pool, &operands, y, &mut out, bands);
            workspace.buffers[*buffer] = out;
        }
        let (map, buffer) = &self.places[self.output.index()];
        map.rows(&workspace.buffers[*buffer]).for_each(|row| scores.copy_from_slice(row));
    }
}

/// Runs `work` in the current pool while its other threads wait for parts of it without falling asleep: a thread that
/// sleeps takes longer to wake than a layer takes to compute.
fn with_threads_awake(work: impl FnOnce() + Send) {
    let done = AtomicBool::new(false);
    // The leader may run this job itself while it waits: it must not wait for itself.
    let look_out = |leader: Option<usize>| {
        let mut idle = 0u32;
        while rayon::current_thread_index() != leader && !done.load(Ordering::Acquire) {
            if rayon::yield_now() == Some(Yield::Executed) {
                idle = 0;
            } else if idle < PATIENCE {
                idle += 1;
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    };
    rayon::scope(|scope| {
        let leader = rayon::current_thread_index();
        for _ in 1..rayon::current_num_threads() {
            let look_out = &look_out;
            scope.spawn(move |_| look_out(leader));
        }
        // Also where `work` panics.
        let _done = Defer(|| done.store(true, Ordering::Release));
        work();
    });
}

/// Calls a function when it is dropped.
struct Defer<F: Fn()>(F);

impl<F: Fn()> Drop for Defer<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Gives every activation a buffer that no other one needs at the same time; gives the buffers' sizes.
fn assign(input: ValueId, output: ValueId, steps: &[Step], places: &mut [(Map, usize)]) -> Vec<usize> {
    let mut last = vec![0; places.len()];
    for (index, step) in steps.iter().enumerate() {
        step.operands.iter().for_each(|id| last[id.index()] = index);
    }
    last[output.index()] = usize::MAX;
    let (mut sizes, mut free) = (Vec::new(), Vec::<usize>::new());
    let mut place = |id: ValueId, free: &mut Vec<usize>| {
        let len = places[id.index()].0.len();
        // The smallest that is large enough, or else the largest.
        let best = (0..free.len()).min_by_key(|&i| {
            let size: usize = sizes[free[i]];
            if size >= len { (0, size) } else { (1, usize::MAX - size) }
        });
        let buffer = match best {
            Some(best) => free.swap_remove(best),
            None => {
                sizes.push(0);
                sizes.len() - 1
            }
        };
        sizes[buffer] = sizes[buffer].max(len);
        places[id.index()].1 = buffer;
        buffer
    };
    let mut live = vec![(input, place(input, &mut free))];
    for (index, step) in steps.iter().enumerate() {
        live.push((step.output, place(step.output, &mut free)));
        live.retain(|&(id, buffer)| {
            let needed = last[id.index()] > index;
            if !needed {
                free.push(buffer);
            }
            needed
        });
    }
    sizes
}
