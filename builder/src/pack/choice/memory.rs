//! The ways that an arena has room for.

use super::Problem;
use crate::plan::{PlanError, plan};
use std::collections::BTreeMap;

/// Bytes of the arena in which the convolutions run in these ways.
pub(super) fn arena(problem: &Problem, arenas: &mut Arenas, picks: &[usize]) -> Result<u64, PlanError> {
    let rows = problem.picked(picks).map(|way| way.rows).collect();
    let scratch = problem.picked(picks).map(|way| way.scratch_bytes).max().unwrap_or(0);
    arenas.bytes(problem, &Room { rows, scratch })
}

/// Which ways of each convolution are allowed: those of at most so many rows a step, and all of at most so much
/// scratch.
#[derive(Clone, Debug)]
struct Room {
    rows: Vec<u8>,
    scratch: usize,
}

impl Room {
    fn has(&self, problem: &Problem, conv: usize, index: usize) -> bool {
        let way = &problem.ways[conv][index];
        way.rows <= self.rows[conv] && way.scratch_bytes <= self.scratch
    }

    fn allowed(&self, problem: &Problem) -> Vec<Vec<usize>> {
        let of = |conv: usize| (0..problem.ways[conv].len()).filter(|&index| self.has(problem, conv, index)).collect();
        (0..problem.ways.len()).map(of).collect()
    }

    fn fewest_instructions(&self, problem: &Problem, conv: usize) -> u64 {
        let allowed = (0..problem.ways[conv].len()).filter(|&index| self.has(problem, conv, index));
        allowed.map(|index| problem.ways[conv][index].instructions).min().unwrap_or(u64::MAX)
    }
}

/// Bytes of arenas by the rows of the steps, without scratch.
#[derive(Default)]
pub(super) struct Arenas(BTreeMap<Vec<u8>, usize>);

impl Arenas {
    /// Bytes of the arena where convolutions make so many rows a step and no scratch is larger than `scratch`, that
    /// of the other operators apart.
    fn bytes(&mut self, problem: &Problem, room: &Room) -> Result<u64, PlanError> {
        let maps = match self.0.get(&room.rows) {
            Some(&bytes) => bytes,
            None => {
                let mut nodes = problem.nodes.clone();
                for (&node, &rows) in problem.convs.iter().zip(&room.rows) {
                    nodes[node].rows_per_step = rows;
                }
                let plan = plan(problem.tensors.clone(), nodes)?;
                self.0.insert(room.rows.clone(), plan.scratch);
                plan.scratch
            }
        };
        Ok(problem.arena_bytes(maps, room.scratch) as u64)
    }
}

/// The ways that an arena of at most `ram` bytes has room for, whichever of them are taken: where not for all, for
/// those first with which `wanted` is reached, and then for those that save the most instructions. `None` if there is
/// not even room for the smallest ones.
pub(super) fn allowed(
    problem: &Problem,
    arenas: &mut Arenas,
    ram: u64,
    wanted: Option<&[usize]>,
) -> Result<Option<Vec<Vec<usize>>>, PlanError> {
    let mut room = smallest(problem);
    if arenas.bytes(problem, &room)? > ram {
        return Ok(None);
    }
    let mut steps = Vec::new();
    for (conv, ways) in problem.ways.iter().enumerate() {
        let now = room.fewest_instructions(problem, conv);
        for (index, way) in ways.iter().enumerate().filter(|&(index, _)| !room.has(problem, conv, index)) {
            let is_wanted = wanted.is_some_and(|picks| picks[conv] == index);
            steps.push((is_wanted, now.saturating_sub(way.instructions), conv, index));
        }
    }
    steps.sort_by_key(|&(is_wanted, saved, conv, index)| (!is_wanted, std::cmp::Reverse(saved), conv, index));
    for (is_wanted, saved, conv, index) in steps {
        if room.has(problem, conv, index) || !is_wanted && saved == 0 {
            continue;
        }
        let way = &problem.ways[conv][index];
        let mut larger = room.clone();
        larger.rows[conv] = larger.rows[conv].max(way.rows);
        larger.scratch = larger.scratch.max(way.scratch_bytes);
        if arenas.bytes(problem, &larger)? <= ram {
            room = larger;
        }
    }
    Ok(Some(room.allowed(problem)))
}

/// Bytes of the arena in which nothing but the smallest ways have room.
pub(super) fn least_arena(problem: &Problem, arenas: &mut Arenas) -> Result<u64, PlanError> {
    arenas.bytes(problem, &smallest(problem))
}

/// Steps of one row, with scratch for the smallest way of each convolution.
fn smallest(problem: &Problem) -> Room {
    let least = |ways: &Vec<super::Way>| ways.iter().filter(|way| way.rows == 1).map(|way| way.scratch_bytes).min();
    let scratch = problem.ways.iter().filter_map(least).max().unwrap_or(0);
    Room { rows: vec![1; problem.ways.len()], scratch }
}
