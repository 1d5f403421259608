//! What speed costs in flash and RAM.

use super::memory::{self, Arenas};
use super::{Goal, Problem, flash};
use crate::plan::PlanError;
use crate::target::Need;

/// A choice of kernels on the front of flash, RAM and instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Estimated instructions of all convolutions.
    pub instructions: u64,
    /// Model, program and arena.
    pub need: Need,
    /// The goal that it meets, if it is one's.
    pub goal: Option<Goal>,
}

impl Point {
    fn key(&self) -> [u64; 3] {
        [self.instructions, self.need.arena_bytes, self.need.flash_bytes()]
    }

    /// Whether it takes no more of anything than `other`, but for [`SLACK`] parts in a hundred.
    fn is_like(&self, other: &Self) -> bool {
        self.key().into_iter().zip(other.key()).all(|(own, other)| own * 100 <= other * (100 + SLACK))
    }
}

/// Sizes of the arena that are tried, from the smallest to that of the fastest.
const ARENAS: u64 = 6;

/// Parts in a hundred by which points differ.
const SLACK: u64 = 4;

/// The front of flash and RAM against instructions, the fastest first, and what meets each goal: of some sizes of the
/// arena the choices that no other one betters or comes near.
///
/// # Errors
/// [`PlanError`] if the network has no memory plan.
pub fn tradeoff(problem: &Problem) -> Result<Vec<Point>, PlanError> {
    let mut points = Vec::new();
    for goal in [Goal::Speed, Goal::Ram, Goal::Size] {
        let choice = problem.meet(goal)?;
        points.push(Point { instructions: choice.instructions, need: choice.need, goal: Some(goal) });
    }
    let mut arenas = Arenas::default();
    let (least, most) = (memory::least_arena(problem, &mut arenas)?, points[0].need.arena_bytes);
    for step in 0..=ARENAS {
        let ram = least + most.saturating_sub(least) * step / ARENAS;
        let Some(allowed) = memory::allowed(problem, &mut arenas, ram, None)? else { continue };
        let front = flash::front(problem, &allowed, u64::MAX);
        let mut last: Option<u64> = None;
        for (index, label) in front.iter().enumerate() {
            let near = last.is_some_and(|last| label.instructions * 100 < last * (100 + SLACK / 2));
            if near && index + 1 < front.len() {
                continue;
            }
            last = Some(label.instructions);
            let need = problem.need(&mut arenas, &label.picks)?;
            points.push(Point { instructions: label.instructions, need, goal: None });
        }
    }
    points.sort_by_key(|point| (point.goal.is_none(), point.key()));
    let mut front: Vec<Point> = Vec::new();
    for point in points {
        if point.goal.is_some() || !front.iter().any(|other| other.is_like(&point)) {
            front.push(point);
        }
    }
    front.sort_by_key(Point::key);
    Ok(front)
}
