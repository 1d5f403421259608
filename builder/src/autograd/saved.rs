//! Activations that the backward pass needs: kept, or recomputed from others that are kept.
//!
//! In a dense block each layer reads the concatenation of all layers before it, normalized and rectified: kept, these
//! would take memory quadratic in the depth. They are cheap, so only what they are made of is kept, each layer's new
//! features once.

use super::Shared;
use super::pool::Pool;
use crate::kernels::channels::Affine;
use crate::kernels::images::{join_channels, rectify};
use crate::tensor::Tensor;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// One reader's claim to an activation.
pub(crate) enum Saved {
    /// In memory.
    Kept(Shared),
    /// Computed when its first reader asks, and kept until its last reader has it.
    Recomputed(Rc<Recomputed>),
}

/// How to compute an activation again.
pub(crate) enum Recipe {
    /// Activations side by side along the channels.
    Concat { parts: Vec<Saved>, dims: Vec<usize> },
    /// Batch normalization with known statistics, and perhaps a ReLU.
    Affine { x: Saved, affine: Arc<Affine> },
    /// `max(x, 0)`.
    Relu(Saved),
}

/// An activation that is not in memory.
pub(crate) struct Recomputed {
    state: RefCell<State>,
}

struct State {
    readers: usize,
    /// Taken by the first reader.
    recipe: Option<Recipe>,
    made: Option<Shared>,
}

impl Recomputed {
    pub(crate) fn new(recipe: Recipe) -> Rc<Self> {
        Rc::new(Self { state: RefCell::new(State { readers: 0, recipe: Some(recipe), made: None }) })
    }

    /// A claim for one more reader.
    pub(crate) fn claim(self: &Rc<Self>) -> Saved {
        self.state.borrow_mut().readers += 1;
        Saved::Recomputed(Rc::clone(self))
    }

    /// What it is made of if it is a concatenation, with claims for one more reader.
    pub(crate) fn parts(&self) -> Option<Vec<Saved>> {
        match &self.state.borrow().recipe {
            Some(Recipe::Concat { parts, .. }) => Some(parts.iter().map(Saved::another).collect()),
            _ => None,
        }
    }
}

impl Saved {
    /// A claim for one more reader.
    pub(crate) fn another(&self) -> Self {
        match self {
            Saved::Kept(tensor) => Saved::Kept(Arc::clone(tensor)),
            Saved::Recomputed(recomputed) => recomputed.claim(),
        }
    }

    /// The activation; for the last reader without other holders.
    pub(crate) fn get(self, pool: &Pool) -> Shared {
        let recomputed = match self {
            Saved::Kept(tensor) => return tensor,
            Saved::Recomputed(recomputed) => recomputed,
        };
        let mut state = recomputed.state.borrow_mut();
        if let Some(recipe) = state.recipe.take() {
            state.made = Some(Arc::new(recipe.follow(pool)));
        }
        state.readers -= 1;
        let made = if state.readers == 0 { state.made.take() } else { state.made.clone() };
        made.unwrap_or_else(|| unreachable!("there are as many claims as readers"))
    }
}

impl Recipe {
    fn follow(self, pool: &Pool) -> Tensor {
        match self {
            Recipe::Concat { parts, dims } => {
                let mut y = pool.tensor(dims);
                let parts: Vec<Shared> = parts.into_iter().map(|part| part.get(pool)).collect();
                join_channels(&mut y, &parts.iter().map(|part| &**part).collect::<Vec<_>>());
                parts.into_iter().for_each(|part| pool.release(part));
                y
            }
            Recipe::Affine { x, affine } => {
                let x = x.get(pool);
                let mut y = pool.tensor(x.dims());
                affine.apply(&mut y, &x);
                pool.release(x);
                y
            }
            Recipe::Relu(x) => {
                let mut y = pool.own(x.get(pool));
                rectify(&mut y);
                y
            }
        }
    }
}
