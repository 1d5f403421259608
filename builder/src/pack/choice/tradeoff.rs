//! What speed costs in flash and RAM.

use super::memory::{self, Arenas};
use super::{Goal, Problem, flash};
use crate::plan::PlanError;
use crate::target::Need;

/// A choice of kernels that no other one betters in flash, RAM and instructions.
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

    /// Whether it takes no more of anything than `other`.
    fn betters(&self, other: &Self) -> bool {
        self.key().into_iter().zip(other.key()).all(|(own, other)| own <= other)
    }
}

/// Sizes of the arena that are tried, from the smallest to that of the fastest.
const ARENAS: u64 = 6;

/// The front of flash and RAM against instructions, the fastest first, and what meets each goal: for some sizes of the
/// arena the choices whose instructions differ by 2 % or more.
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
        let mut last = 0;
        for (index, label) in front.iter().enumerate() {
            if index + 1 < front.len() && label.instructions < last + last / 50 {
                continue;
            }
            last = label.instructions;
            let choice = problem.choice(label.picks.clone(), Goal::Speed, true)?;
            points.push(Point { instructions: choice.instructions, need: choice.need, goal: None });
        }
    }
    // Of equal ones the first stays, which may be a goal's.
    points.sort_by_key(|point| (point.key(), point.goal.is_none()));
    let mut front: Vec<Point> = Vec::new();
    for point in points {
        if point.goal.is_some() || !front.iter().any(|other| other.betters(&point)) {
            front.push(point);
        }
    }
    Ok(front)
}
