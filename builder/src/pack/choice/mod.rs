//! Which kernel runs each convolution, and in steps of how many rows: for a goal, within the memories of a board.
//!
//! Flash is a sum, of weights and of each kernel once; RAM is a peak, which the planner knows. So `memory` finds the
//! ways that an arena has room for, and `flash` the fastest of them by the bytes that they take.

mod flash;
mod memory;
mod reasons;
mod tradeoff;
mod ways;

pub use reasons::{Next, Reason, Why, reasons};
pub use tradeoff::{Point, tradeoff};
pub use ways::Way;

use crate::plan::{Plan, PlanError, lay_out_densely, plan};
use crate::target::{Limits, Need, Program, of_format, packed_for};
use memory::Arenas;
use skipstone_runtime::format::records::{ALIGNMENT, Core, Node, OpCode, Tensor};
use skipstone_runtime::kernels::spec::ConvSpec;
use skipstone_runtime::ops;
use skipstone_runtime::{Model, kernels::spec::CoreKernels};

/// What matters most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Goal {
    /// A small arena: steps of one row, the fastest kernels whose weights take a byte each.
    #[default]
    Ram,
    /// The fewest instructions, in steps of as many rows as kernels make fastest.
    Speed,
    /// The least flash: weights and kernels, and no names of layers.
    Size,
}

/// A network whose convolutions wait for their kernels.
#[derive(Clone)]
pub struct Problem {
    nodes: Vec<Node>,
    tensors: Vec<Tensor>,
    kernels: &'static CoreKernels,
    /// The nodes that are convolutions.
    convs: Vec<usize>,
    /// Of each convolution the ways to run it.
    ways: Vec<Vec<Way>>,
    /// Different operators of the network.
    operators: usize,
    /// Bytes of the packed model besides the weights of convolutions and the names of layers.
    fixed: u64,
    /// Bytes of these names.
    names: u64,
    /// Scratch of the other operators.
    scratch: usize,
}

/// A way for each convolution, and what they take together.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The goal that is met: [`Goal::Speed`] where the one that was asked for does not fit.
    pub goal: Goal,
    /// Whether layers keep their names.
    pub names: bool,
    /// Estimated instructions of all convolutions.
    pub instructions: u64,
    /// Model, program and arena.
    pub need: Need,
    /// The memory plan.
    pub plan: Plan,
    /// Of each convolution the index of its way.
    picks: Vec<usize>,
}

/// Why nothing fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// What there is.
    pub limits: Limits,
    /// Of the choice that takes the least flash.
    pub least_flash: Need,
    /// Of the choice with the smallest arena.
    pub least_ram: Need,
    /// The node that runs where most bytes of that arena are alive, and the tensor that takes most of them.
    pub peak: [usize; 2],
}

/// Why there is no choice.
#[derive(Clone, Debug)]
pub enum ChoiceError {
    /// The network has no memory plan.
    Plan(PlanError),
    /// Nothing fits.
    Misfit(Box<Misfit>),
}

impl From<PlanError> for ChoiceError {
    fn from(error: PlanError) -> Self {
        Self::Plan(error)
    }
}

impl Problem {
    /// Of records whose tensors have their shapes and whose nodes have their operands.
    pub(super) fn new(nodes: Vec<Node>, mut tensors: Vec<Tensor>, core: Core) -> Self {
        lay_out_densely(&mut tensors);
        let is_conv = |node: &usize| OpCode::from_code(nodes[*node].op) == Some(OpCode::Conv);
        let (convs, others): (Vec<usize>, Vec<usize>) = (0..nodes.len()).partition(is_conv);
        let kernels = core.kernels();
        let ways = convs.iter().map(|&conv| ways::of(&nodes[conv], &tensors, kernels)).collect();
        let scratch = others.iter().map(|&node| {
            let [input, output] = [nodes[node].input, nodes[node].output].map(|index| &tensors[usize::from(index)]);
            ops::scratch_len(&nodes[node], input, output)
        });
        let scratch = scratch.max().unwrap_or(0);
        let operators = Program::operators(&nodes);
        Self { nodes, tensors, kernels, convs, ways, operators, fixed: 0, names: 0, scratch }
    }

    /// Of a packed model, for the core that it is packed for.
    pub fn of_model(model: &Model<'_>) -> Self {
        use skipstone_runtime::schedule::Network;
        let mut problem = Self::new(model.nodes().to_vec(), model.tensors().to_vec(), of_format(packed_for(model)));
        let weights = |&conv: &usize| (model.node(conv).weights_len as usize).next_multiple_of(ALIGNMENT) as u64;
        problem.fixed = (model.as_bytes().len() as u64).saturating_sub(problem.convs.iter().map(weights).sum());
        problem
    }

    /// The ways in which the convolutions of `model`, which this is of, are packed.
    fn packed(&self, model: &Model<'_>) -> Option<Vec<usize>> {
        let pick = |(&conv, ways): (&usize, &Vec<Way>)| {
            let node = &model.nodes()[conv];
            let reads = |way: &Way| (way.kernel.layout.code, way.groups) == (node.layout, node.groups);
            ways.iter().position(|way| way.is_of(node)).or_else(|| ways.iter().position(reads))
        };
        self.convs.iter().zip(&self.ways).map(pick).collect()
    }

    /// Says what the packed model takes besides: its bytes with names and without, of which `choice` is the weights.
    pub(super) fn set_fixed(&mut self, [with_names, without]: [usize; 2], choice: &Choice) {
        let weights: u64 = self.picked(&choice.picks).map(Way::section).sum();
        self.fixed = without as u64 - weights;
        self.names = (with_names - without) as u64;
    }

    fn picked<'p>(&'p self, picks: &'p [usize]) -> impl Iterator<Item = &'p Way> {
        self.ways.iter().zip(picks).map(|(ways, &pick)| &ways[pick])
    }

    /// The bit of a way's kernel; kernels after the last bit are counted each time that they are used.
    fn bit(&self, way: &Way) -> u128 {
        let at = self.kernels.iter().position(|kernel| kernel.path == way.kernel.path);
        at.and_then(|at| 1u128.checked_shl(at as u32)).unwrap_or(0)
    }

    /// Bytes of an arena whose scratch begins at `scratch_at`, where no convolution needs more scratch than `scratch`.
    fn arena_bytes(&self, scratch_at: usize, scratch: usize) -> usize {
        (scratch_at + scratch.max(self.scratch)).next_multiple_of(ALIGNMENT)
    }

    fn program(&self, picks: &[usize]) -> Program {
        let mut program = Program::of_operators(self.operators);
        let mut kernels: Vec<&ConvSpec> = self.picked(picks).map(|way| way.kernel).collect();
        kernels.sort_unstable_by_key(|kernel| kernel.path);
        kernels.dedup_by_key(|kernel| kernel.path);
        kernels.into_iter().for_each(|kernel| program.add(kernel));
        program
    }

    /// What `picks` take, with names of layers.
    fn need(&self, arenas: &mut Arenas, picks: &[usize]) -> Result<Need, PlanError> {
        let weights: u64 = self.picked(picks).map(Way::section).sum();
        Ok(Need {
            model_bytes: self.fixed + weights + self.names,
            arena_bytes: memory::arena(self, arenas, picks)?,
            program_bytes: self.program(picks).bytes(),
        })
    }

    /// What `picks` take, as the planner places them.
    fn choice(&self, picks: Vec<usize>, goal: Goal, names: bool) -> Result<Choice, PlanError> {
        let mut nodes = self.nodes.clone();
        for (&conv, way) in self.convs.iter().zip(self.picked(&picks)) {
            nodes[conv] = way.applied(&nodes[conv]);
        }
        let plan = plan(self.tensors.clone(), nodes)?;
        let weights: u64 = self.picked(&picks).map(Way::section).sum();
        let need = Need {
            model_bytes: self.fixed + weights + if names { self.names } else { 0 },
            arena_bytes: plan.arena_bytes as u64,
            program_bytes: self.program(&picks).bytes(),
        };
        let instructions = self.picked(&picks).map(|way| way.instructions).sum();
        Ok(Choice { goal, names, instructions, need, plan, picks })
    }

    /// All ways of all convolutions.
    fn every(&self) -> Vec<Vec<usize>> {
        self.ways.iter().map(|ways| (0..ways.len()).collect()).collect()
    }

    /// The ways that meet a goal, whatever they take.
    fn corner(&self, goal: Goal) -> Vec<usize> {
        match goal {
            Goal::Speed => {
                let fastest = |ways: &Vec<Way>| {
                    let key = |&index: &usize| (ways[index].instructions, ways[index].weights_bytes, index);
                    (0..ways.len()).min_by_key(key).expect("a core runs every convolution")
                };
                self.ways.iter().map(fastest).collect()
            }
            Goal::Ram => {
                let frugal = |(&conv, ways): (&usize, &Vec<Way>)| {
                    let own = self.nodes[conv].groups;
                    let of_bytes = |way: &Way| way.rows == 1 && way.kernel.layout.weight_bytes == 1;
                    let allowed = |&index: &usize| of_bytes(&ways[index]) && ways[index].groups == own;
                    let picks = (0..ways.len()).filter(allowed);
                    let pick = picks.min_by_key(|&index| (ways[index].instructions, index));
                    pick.expect("the last kernel of a core runs every convolution, one row at a time")
                };
                self.convs.iter().zip(&self.ways).map(frugal).collect()
            }
            Goal::Size => {
                let one_row = |ways: &Vec<Way>| (0..ways.len()).filter(|&index| ways[index].rows == 1).collect();
                flash::least(self, &self.ways.iter().map(one_row).collect::<Vec<_>>())
            }
        }
    }

    /// What meets a goal, whatever it takes.
    ///
    /// # Errors
    /// [`PlanError`] if the network has no memory plan.
    pub fn meet(&self, goal: Goal) -> Result<Choice, PlanError> {
        self.choice(self.corner(goal), goal, goal != Goal::Size)
    }

    /// What fits `limits`: what meets `goal`, and otherwise the fastest that is found, which no goal's choice that fits
    /// outruns. Names of layers are left out where there is no flash for them.
    ///
    /// # Errors
    /// `ChoiceError` if nothing fits or the network has no memory plan.
    pub fn meet_within(&self, goal: Goal, limits: Limits) -> Result<Choice, ChoiceError> {
        let fitting = |mut choice: Choice| {
            if choice.names && choice.need.left(limits).flash_spare < 0 {
                choice.names = false;
                choice.need.model_bytes -= self.names;
            }
            choice.need.left(limits).fits().then_some(choice)
        };
        let corner = |goal| Ok::<_, PlanError>(fitting(self.meet(goal)?));
        if let Some(choice) = corner(goal)? {
            return Ok(choice);
        }
        let mut arenas = Arenas::default();
        let mut found = Vec::new();
        for goal in [Goal::Speed, Goal::Ram, Goal::Size] {
            found.extend(corner(goal)?);
        }
        for picks in self.fastest_within(limits, &mut arenas)? {
            found.extend(fitting(self.choice(picks, Goal::Speed, true)?));
        }
        let key = |choice: &Choice| (choice.instructions, choice.need.model_bytes, choice.need.arena_bytes);
        match found.into_iter().min_by_key(key) {
            Some(choice) => Ok(Choice { goal: Goal::Speed, ..choice }),
            None => Err(ChoiceError::Misfit(Box::new(self.misfit(limits, &mut arenas)?))),
        }
    }

    /// Sets of ways that may be the fastest within limits.
    fn fastest_within(&self, limits: Limits, arenas: &mut Arenas) -> Result<Vec<Vec<usize>>, PlanError> {
        let ram = limits.arena();
        let fastest = |allowed: &[Vec<usize>]| {
            let front = flash::front(self, allowed, limits.flash_without_support());
            front.into_iter().next().map(|label| label.picks)
        };
        let Some(wanted) = fastest(&self.every()) else { return Ok(Vec::new()) };
        if self.choice(wanted.clone(), Goal::Speed, false)?.need.arena_bytes <= ram {
            return Ok(vec![wanted]);
        }
        let mut found = Vec::new();
        for wanted in [Some(&wanted[..]), None] {
            found.extend(memory::allowed(self, arenas, ram, wanted)?.and_then(|allowed| fastest(&allowed)));
        }
        Ok(found)
    }

    fn misfit(&self, limits: Limits, arenas: &mut Arenas) -> Result<Misfit, PlanError> {
        let least = |allowed: &[Vec<usize>]| self.choice(flash::least(self, allowed), Goal::Size, false);
        let least_flash = least(&self.every())?.need;
        let smallest = memory::least_arena(self, arenas)?;
        let allowed = memory::allowed(self, arenas, smallest, None)?.unwrap_or_else(|| self.every());
        let Choice { need: least_ram, plan, .. } = least(&allowed)?;
        Ok(Misfit { limits, least_flash, least_ram, peak: [plan.peak.node, plan.peak.tensor] })
    }
}

#[cfg(test)]
mod tests;
