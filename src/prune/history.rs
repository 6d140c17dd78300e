//! Undo and redo: every step is a state of a few numbers per parameter, so all of them are kept.

use std::sync::Arc;

use super::scope::Settings;

/// Everything that a step can change.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// What the person has set.
    pub settings: Settings,
    /// Per parameter: how many of its smallest elements were masked by amounts applied before the present one.
    pub masked: Arc<[u64]>,
    /// Per parameter: how many of its smallest elements were fixed to zero.
    pub fixed: Arc<[u64]>,
}

/// What a step was, for the undo button.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The slider or the typed amount.
    Amount,
    /// Layer-wise or global.
    Method,
    /// A tick.
    Tick,
    /// A lock.
    Lock,
    /// Biases in or out.
    Biases,
    /// An amount was kept, and the next applies to what is left.
    Apply,
    /// Masks made permanent.
    Fix,
    /// Back to the start.
    Reset,
}

impl Step {
    /// As in “Undo fix weights”.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Amount => "amount",
            Self::Method => "method",
            Self::Tick => "ticks",
            Self::Lock => "lock",
            Self::Biases => "biases",
            Self::Apply => "prune again",
            Self::Fix => "fix weights",
            Self::Reset => "reset",
        }
    }
}

/// States that can be gone back to, and forward again.
#[derive(Debug)]
pub struct History {
    past: Vec<(Step, State)>,
    present: State,
    future: Vec<(Step, State)>,
    /// Whether the next step of the same kind replaces the present one: a drag is one step.
    is_open: bool,
}

impl History {
    /// Starts at `state`.
    #[must_use]
    pub fn new(state: State) -> Self {
        Self { past: Vec::new(), present: state, future: Vec::new(), is_open: false }
    }

    /// Where we are.
    #[must_use]
    pub fn present(&self) -> &State {
        &self.present
    }

    /// Goes on to `state`. Amounts that follow one another without [`History::close`] are one step. A step that changes
    /// nothing is none.
    pub fn push(&mut self, step: Step, state: State) {
        if state == self.present {
            return;
        }
        let continues = self.is_open && step == Step::Amount && matches!(self.past.last(), Some((Step::Amount, _)));
        let previous = std::mem::replace(&mut self.present, state);
        if !continues {
            self.past.push((step, previous));
        }
        self.future.clear();
        self.is_open = step == Step::Amount;
    }

    /// Ends a drag.
    pub fn close(&mut self) {
        self.is_open = false;
    }

    /// Goes back one step.
    pub fn undo(&mut self) -> Option<Step> {
        let (step, state) = self.past.pop()?;
        let next = std::mem::replace(&mut self.present, state);
        self.future.push((step, next));
        self.is_open = false;
        Some(step)
    }

    /// Takes an undone step again.
    pub fn redo(&mut self) -> Option<Step> {
        let (step, state) = self.future.pop()?;
        let previous = std::mem::replace(&mut self.present, state);
        self.past.push((step, previous));
        self.is_open = false;
        Some(step)
    }

    /// What undo would take back.
    #[must_use]
    pub fn undoable(&self) -> Option<Step> {
        self.past.last().map(|(step, _)| *step)
    }

    /// What redo would do again.
    #[must_use]
    pub fn redoable(&self) -> Option<Step> {
        self.future.last().map(|(step, _)| *step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prune::{Amount, Method};

    fn state(amount: f64) -> State {
        let settings =
            Settings { method: Method::Global, amount: Amount::Fraction(amount), biases: true, ticked: vec![true], locked: vec![false] };
        State { settings, masked: Arc::new([0]), fixed: Arc::new([0]) }
    }

    #[test]
    fn a_drag_is_one_step() {
        let mut history = History::new(state(0.0));
        for amount in [0.1, 0.2, 0.3] {
            history.push(Step::Amount, state(amount));
        }
        history.close();
        history.push(Step::Amount, state(0.4));
        assert_eq!(history.undo(), Some(Step::Amount));
        assert_eq!(history.present(), &state(0.3));
        assert_eq!(history.undo(), Some(Step::Amount));
        assert_eq!(history.present(), &state(0.0));
        assert_eq!(history.undo(), None);
        history.redo();
        history.redo();
        assert_eq!(history.present(), &state(0.4));
        assert_eq!(history.redo(), None);
    }

    #[test]
    fn a_new_step_forgets_what_was_undone() {
        let mut history = History::new(state(0.0));
        history.push(Step::Amount, state(0.1));
        history.undo();
        history.push(Step::Fix, state(0.5));
        assert_eq!(history.redoable(), None);
        history.push(Step::Tick, state(0.5));
        assert_eq!(history.undoable(), Some(Step::Fix), "nothing changed, so there is no step");
    }
}
