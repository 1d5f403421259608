//! The fastest ways by the flash that they take, weights and kernels together.

use super::{Problem, Way};
use crate::target::Program;

/// Ways for the first convolutions of a network.
#[derive(Clone, Debug)]
pub(super) struct Label {
    /// Of each convolution the index of its way.
    pub(super) picks: Vec<usize>,
    pub(super) instructions: u64,
    /// Bytes of their weights.
    pub(super) weights: u64,
    /// The program that runs them.
    pub(super) program: Program,
    /// A bit for each kernel that the program has already and a later convolution may use.
    paid: u128,
}

/// Labels that are kept after a convolution; more are thinned out.
const LABELS: usize = 128;

impl Label {
    fn start(problem: &Problem) -> Self {
        let (picks, program) = (Vec::new(), Program::of_operators(problem.operators));
        Self { picks, instructions: 0, weights: 0, program, paid: 0 }
    }

    fn with(&self, index: usize, way: &Way, bit: u128, later: u128) -> Self {
        let mut next = self.clone();
        next.picks.push(index);
        next.instructions += way.instructions;
        next.weights += way.section();
        if self.paid & bit == 0 {
            next.program.add(way.kernel);
        }
        next.paid = (self.paid | bit) & later;
        next
    }

    /// Weights and program.
    fn bytes(&self) -> u64 {
        self.weights + self.program.bytes()
    }

    /// Whether nothing that follows can make `other`, which takes as many instructions or more, better.
    fn is_as_good_as(&self, other: &Self) -> bool {
        self.weights <= other.weights && self.program.within(&other.program) && other.paid & !self.paid == 0
    }
}

/// For each number of bytes the fewest instructions with `allowed` ways of each convolution, the fastest first: of
/// those whose flash is at most `limit`. The search is exact as long as few labels are kept; after that it is a good
/// one.
pub(super) fn front(problem: &Problem, allowed: &[Vec<usize>], limit: u64) -> Vec<Label> {
    let flash = |label: &Label| problem.fixed + label.bytes();
    let ways = |conv: usize| allowed[conv].iter().map(move |&index| (index, &problem.ways[conv][index]));
    let count = problem.ways.len();
    let mut later = vec![0u128; count + 1];
    for conv in (0..count).rev() {
        later[conv] = ways(conv).fold(later[conv + 1], |bits, (_, way)| bits | problem.bit(way));
    }
    let mut labels = vec![Label::start(problem)];
    for conv in 0..count {
        let next = labels
            .iter()
            .flat_map(|label| ways(conv).map(|(index, way)| label.with(index, way, problem.bit(way), later[conv + 1])));
        labels = thinned(undominated(next.filter(|label| flash(label) <= limit).collect()));
    }
    let mut front: Vec<Label> = Vec::new();
    for label in sorted(labels) {
        if front.last().is_none_or(|last| flash(&label) < flash(last)) {
            front.push(label);
        }
    }
    front
}

/// The way of each convolution with which weights and program take the fewest bytes; the fastest of these.
pub(super) fn least(problem: &Problem, allowed: &[Vec<usize>]) -> Vec<usize> {
    let labels = front(problem, allowed, u64::MAX);
    labels.last().expect("a core runs every convolution").picks.clone()
}

fn sorted(mut labels: Vec<Label>) -> Vec<Label> {
    labels.sort_by(|a, b| (a.instructions, a.bytes(), &a.picks).cmp(&(b.instructions, b.bytes(), &b.picks)));
    labels
}

fn undominated(labels: Vec<Label>) -> Vec<Label> {
    let mut kept: Vec<Label> = Vec::new();
    for label in sorted(labels) {
        if !kept.iter().any(|other| other.is_as_good_as(&label)) {
            kept.push(label);
        }
    }
    kept
}

/// The smallest label, and of the others, by their bytes, the fastest of each of [`LABELS`] parts.
fn thinned(mut labels: Vec<Label>) -> Vec<Label> {
    if labels.len() <= LABELS {
        return labels;
    }
    labels.sort_by_key(Label::bytes);
    let fastest = |part: &[Label]| part.iter().min_by_key(|label| label.instructions).cloned();
    let smallest = labels[0].clone();
    let size = labels.len().div_ceil(LABELS);
    [smallest].into_iter().chain(labels[1..].chunks(size).filter_map(fastest)).collect()
}
