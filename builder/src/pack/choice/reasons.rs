//! Why the convolutions of a packed model run as they do, and what a faster kernel costs.

use super::memory::{Arenas, arena};
use super::{Problem, Way};
use crate::plan::PlanError;
use skipstone_runtime::Model;

/// Why a convolution runs as it does.
#[derive(Clone, Copy, Debug)]
pub struct Reason {
    /// The node.
    pub node: usize,
    /// How it runs.
    pub way: Way,
    /// What it is chosen for.
    pub why: Why,
    /// The next better kernel, if there is a better one.
    pub next: Option<Next>,
}

/// What a way is chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// No other kernel of the core runs such a convolution.
    Only,
    /// No other way takes fewer instructions.
    Fastest,
    /// The fastest takes more flash.
    Flash,
    /// The fastest takes more RAM.
    Ram,
    /// The fastest takes more of both.
    FlashAndRam,
    /// The fastest takes no more of either.
    Goal,
}

impl Why {
    /// In a word or two.
    pub fn name(self) -> &'static str {
        match self {
            Self::Only => "only kernel",
            Self::Fastest => "fastest",
            Self::Flash => "flash",
            Self::Ram => "RAM",
            Self::FlashAndRam => "flash and RAM",
            Self::Goal => "goal",
        }
    }
}

/// What a faster way costs, where all other convolutions run as they do.
#[derive(Clone, Copy, Debug)]
pub struct Next {
    /// The way.
    pub way: Way,
    /// Bytes of flash that it takes more, weights and kernel.
    pub flash_bytes: i64,
    /// Bytes that the arena takes more.
    pub ram_bytes: i64,
    /// Estimated instructions that it saves.
    pub instructions_saved: u64,
}

/// Of each convolution of `model`, which `problem` is of, why it runs as it does. The next better kernel is the
/// faster one that takes the fewest bytes more, in steps of as many rows as it is fastest with; the same kernel in
/// longer steps where no other one is faster.
///
/// # Errors
/// [`PlanError`] if the network has no memory plan.
pub fn reasons(problem: &Problem, model: &Model<'_>) -> Result<Vec<Reason>, PlanError> {
    let Some(picks) = problem.packed(model) else { return Ok(Vec::new()) };
    let mut arenas = Arenas::default();
    let now = arena(problem, &mut arenas, &picks)?;
    let text = |picks: &[usize]| problem.program(picks).bytes() as i64;
    let mut reasons = Vec::new();
    for (conv, &node) in problem.convs.iter().enumerate() {
        let ways = &problem.ways[conv];
        let way = ways[picks[conv]];
        let mut cost = |index: usize| {
            let mut other = picks.clone();
            other[conv] = index;
            let flash = ways[index].section() as i64 - way.section() as i64 + text(&other) - text(&picks);
            let ram = arena(problem, &mut arenas, &other)? as i64 - now as i64;
            let saved = way.instructions - ways[index].instructions;
            Ok::<_, PlanError>(Next { way: ways[index], flash_bytes: flash, ram_bytes: ram, instructions_saved: saved })
        };
        let fastest = (0..ways.len()).min_by_key(|&index| (ways[index].instructions, index)).unwrap_or(picks[conv]);
        let others = ways.iter().any(|other| other.kernel.layout != way.kernel.layout);
        let why = if ways[fastest].instructions == way.instructions {
            if others { Why::Fastest } else { Why::Only }
        } else {
            let Next { flash_bytes, ram_bytes, .. } = cost(fastest)?;
            match (flash_bytes > 0, ram_bytes > 0) {
                (true, true) => Why::FlashAndRam,
                (true, false) => Why::Flash,
                (false, true) => Why::Ram,
                (false, false) => Why::Goal,
            }
        };
        let mut next: Option<(bool, Next)> = None;
        for index in faster(ways, &way) {
            let (same, found) = (is_same(&ways[index], &way), cost(index)?);
            let price = |&(same, Next { flash_bytes, ram_bytes, .. }): &(bool, Next)| (same, flash_bytes + ram_bytes);
            if next.as_ref().is_none_or(|next| price(&(same, found)) < price(next)) {
                next = Some((same, found));
            }
        }
        let next = next.map(|(_, next)| next);
        reasons.push(Reason { node, way, why, next });
    }
    Ok(reasons)
}

/// Whether two ways read the same weights.
fn is_same(a: &Way, b: &Way) -> bool {
    (a.kernel.layout.code, a.groups) == (b.kernel.layout.code, b.groups)
}

/// The faster ways, of each kernel that with the rows by which it is fastest.
fn faster(ways: &[Way], way: &Way) -> Vec<usize> {
    let fastest = |index: usize| {
        let others = ways.iter().filter(|other| is_same(other, &ways[index]));
        others.into_iter().all(|other| other.instructions >= ways[index].instructions)
    };
    (0..ways.len()).filter(|&index| ways[index].instructions < way.instructions && fastest(index)).collect()
}
