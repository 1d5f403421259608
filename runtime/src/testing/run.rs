//! Comparisons of the engine with the naive execution.

use super::{Aligned, Network, Random};
use crate::engine::{Engine, EngineError, Made};
use crate::kernels::BACKENDS;
use crate::model::Model;

/// Pixels, the same for a seed.
pub(crate) fn image(net: &Network, seed: u64) -> Vec<u8> {
    let t = net.tensors[0];
    let mut random = Random::new(seed);
    (0..usize::from(t.height) * usize::from(t.width) * usize::from(t.channels)).map(|_| random.next() as u8).collect()
}

/// Runs the packed network by every backend, by whole images and row by row, and compares every row of every node.
/// Returns the backends that ran.
pub(crate) fn runs_as_defined(net: &Network) -> Vec<&'static str> {
    let file = net.pack();
    let model = Model::from_bytes(&file).unwrap();
    let mut ran = Vec::new();
    for backend in BACKENDS.iter().copied().filter(|backend| (backend.available)()) {
        let mut arena = Aligned::zeroed(model.arena_len());
        arena.fill(0xA5);
        let mut engine = match Engine::with_backend(&model, &mut arena, backend) {
            Ok(engine) => engine,
            Err(EngineError::NoKernel { .. }) => continue,
            Err(error) => panic!("{error}"),
        };
        for seed in 0..3 {
            let pixels = image(net, seed);
            let expected = net.naive(&pixels);
            let mut rows = 0;
            let mut compare = |made: Made<'_>| {
                let output = usize::from(net.nodes[made.node].output);
                let t = net.tensors[output];
                let len = usize::from(t.width) * usize::from(t.channels);
                let row = &expected[output][made.row * len..][..len];
                assert!(
                    made.values.pixels().flatten().eq(row),
                    "{}: node {} row {}",
                    backend.name,
                    made.node,
                    made.row
                );
                rows += 1;
            };
            let scores = &expected[net.tensors.len() - 1][..net.classes];
            if seed == 1 {
                let row_len = pixels.len() / usize::from(net.tensors[0].height);
                let mut completed = Vec::new();
                for row in pixels.chunks(row_len) {
                    completed.push(engine.feed_row_observed(row, &mut compare).unwrap());
                }
                assert_eq!(completed.iter().filter(|&&done| done).count(), 1);
                assert_eq!(completed.last(), Some(&true));
                assert_eq!(engine.scores(), scores);
            } else {
                assert_eq!(engine.run_observed(&pixels, &mut compare).unwrap(), scores);
            }
            let all: usize =
                net.nodes.iter().map(|node| usize::from(net.tensors[usize::from(node.output)].height)).sum();
            assert!(rows > 0 && rows <= all);
        }
        ran.push(backend.name);
    }
    ran
}

/// Shrinks every ring as far as the check allows.
pub(crate) fn shrink_rings(net: &mut Network) {
    for index in 0..net.tensors.len() {
        let aliases = net.ring_of(index);
        loop {
            let mut smaller = net.clone();
            if smaller.tensors[index].ring_rows == 1 {
                break;
            }
            for &alias in &aliases {
                smaller.tensors[alias].ring_rows -= 1;
            }
            if Model::from_bytes(&smaller.pack()).is_err() {
                break;
            }
            *net = smaller;
        }
    }
}
