//! Undo and redo: a state is mostly a few numbers per parameter and shares what it has in common with others, so all are kept.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::mask::Mask;
use super::masked::{Masked, Weights};
use super::method::Method;
use super::recipe::Recipe;
use crate::graph::{ChannelAxis, ParameterId, ValueId};
use crate::onnx::{TensorId, Values};

/// A step that is behind.
#[derive(Debug, Clone, PartialEq)]
pub struct Earlier {
    /// What made its masks.
    pub recipe: Recipe,
    /// Whether they were fixed then, and not only kept.
    pub is_fixed: bool,
    /// How what was left was repaired then.
    pub repair: Option<Arc<Repair>>,
}

/// How a network was repaired.
#[derive(Debug, Clone, PartialEq)]
pub struct Repair {
    /// Where the images that calibrated are; `None` for noise.
    pub images: Option<PathBuf>,
    /// How many calibrated.
    pub calibration_images: usize,
    /// Whether kept weights were fitted too.
    pub is_thorough: bool,
    /// What running statistics became; `None` where none was repaired.
    pub norms: Option<NormStatistics>,
    /// What was repaired, in graph order.
    pub layers: Vec<RepairedLayer>,
    /// What was left as it was, with the reason.
    pub left: Vec<(String, String)>,
}

/// What the running statistics of a batch normalisation become.
///
/// Which is better, the images tell. On the demo, whose every digit is much like those that it was trained on, it is the first; on
/// photographs, a hundred of which are not what a network saw in training, it is the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NormStatistics {
    /// Estimated anew: mean and variance of what it reads in the pruned network over these images.
    Estimated,
    /// Matched: such that what it gives has the mean and the deviation over these images that it has in the dense network. Where the dense
    /// network's running statistics are those of these images, that is the same.
    Matched,
}

/// What repair did to one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct RepairedLayer {
    /// The module.
    pub name: String,
    /// Relative error of its output, ‖dense − pruned‖ / ‖dense‖ over the images that calibrated, where nothing is repaired; `None` where
    /// there is nothing to compare with.
    pub error_before: Option<f64>,
    /// The same afterwards. Where statistics were estimated anew, those of the dense network are so too in what it is compared with.
    pub error_after: Option<f64>,
    /// Strength of the pull towards the dense weights, relative to the mean square of an input; infinite where the weights stay, `None`
    /// where nothing was to be.
    pub lambda: Option<f64>,
    /// Whether it got a bias, which it had not.
    pub adds_bias: bool,
}

/// A bias that repair gave layers that have none in the file. It is no parameter: nothing of it is pruned until what is saved is opened.
#[derive(Debug, Clone, PartialEq)]
pub struct AddedBias {
    /// One number per output, in the type of the layers' weight.
    pub values: Arc<Values>,
    /// What the layers write, several where they share their weight.
    pub outputs: Arc<[ValueId]>,
    /// Where their outputs' channels lie.
    pub channels: ChannelAxis,
}

/// Biases that repair added, by the weight of their layers.
pub type AddedBiases = BTreeMap<ParameterId, AddedBias>;

/// Running statistics that are no longer those of the file, by tensor.
pub type RunningStatistics = BTreeMap<TensorId, Arc<Values>>;

/// Everything that a step can change.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// What the person has set.
    pub recipe: Recipe,
    /// The recipes whose masks were kept or fixed before, in their order.
    pub earlier: Arc<[Earlier]>,
    /// Per parameter: what was masked by amounts applied before the present one.
    pub kept: Arc<[Masked]>,
    /// Per parameter: what became of its weights.
    pub weights: Arc<[Weights]>,
    /// What became of running statistics.
    pub statistics: Arc<RunningStatistics>,
    /// Biases that were added.
    pub biases: Arc<AddedBiases>,
    /// Of a masked twin: which channels of what layers write are to be removed. A bias that is added leaves them zero.
    pub going: Arc<BTreeMap<ValueId, Mask>>,
}

impl State {
    /// Nothing done to a model of so many parameters.
    #[must_use]
    pub fn new(recipe: Recipe, parameters: usize) -> Self {
        let kept = vec![Masked::Nothing; parameters].into();
        let weights = vec![Weights::AsOpened; parameters].into();
        Self { recipe, earlier: Arc::default(), kept, weights, statistics: Arc::default(), biases: Arc::default(), going: Arc::default() }
    }

    /// The same masks and weights under another recipe.
    #[must_use]
    pub fn with(&self, recipe: Recipe) -> Self {
        Self { recipe, ..self.clone() }
    }

    /// The same under another method.
    #[must_use]
    pub fn under(&self, method: Method) -> Self {
        self.with(Recipe { method, ..self.recipe.clone() })
    }

    /// The state after its own step: what comes next starts from these masks and weights, with nothing pruned yet.
    #[must_use]
    pub fn after(&self, kept: Arc<[Masked]>, weights: Arc<[Weights]>, is_fixed: bool) -> Self {
        let step = Earlier { recipe: self.recipe.clone(), is_fixed, repair: None };
        let earlier = self.earlier.iter().cloned().chain([step]).collect();
        Self { recipe: self.recipe.without_amount(), earlier, kept, weights, ..self.clone() }
    }

    /// The state whose last step is this one with its masks made permanent, once what was left is repaired.
    #[must_use]
    pub fn repaired(
        &self,
        weights: Arc<[Weights]>,
        statistics: Arc<RunningStatistics>,
        biases: Arc<AddedBiases>,
        repair: Arc<Repair>,
    ) -> Self {
        let mut earlier = self.earlier.to_vec();
        match earlier.last_mut() {
            Some(step) if step.repair.is_none() => step.repair = Some(repair),
            _ => earlier.push(Earlier { recipe: self.recipe.without_amount(), is_fixed: true, repair: Some(repair) }),
        }
        Self { earlier: earlier.into(), weights, statistics, biases, ..self.clone() }
    }

    /// Whether an earlier step masked or fixed elements of the parameter of this number.
    #[must_use]
    pub fn has_changed(&self, parameter: usize) -> bool {
        !self.kept[parameter].is_nothing() || self.weights[parameter] != Weights::AsOpened
    }

    /// Whether what earlier steps left is the same in `other`: masks, weights, statistics and added biases.
    #[must_use]
    pub fn has_same_base(&self, other: &Self) -> bool {
        let is_same = |(a, b): (&Arc<RunningStatistics>, &Arc<RunningStatistics>)| Arc::ptr_eq(a, b) || a == b;
        let has_same_biases = Arc::ptr_eq(&self.biases, &other.biases) || self.biases == other.biases;
        self.weights == other.weights && self.kept == other.kept && is_same((&self.statistics, &other.statistics)) && has_same_biases
    }

    /// How what was pruned was last repaired; `None` where it never was.
    #[must_use]
    pub fn last_repair(&self) -> Option<&Arc<Repair>> {
        self.earlier.iter().rev().find_map(|step| step.repair.as_ref())
    }

    /// Whether masks were kept from earlier amounts.
    #[must_use]
    pub fn has_kept(&self) -> bool {
        self.kept.iter().any(|masked| !masked.is_nothing())
    }

    /// Whether any weight was fixed, or anything was repaired.
    #[must_use]
    pub fn has_fixed(&self) -> bool {
        !self.statistics.is_empty() || !self.biases.is_empty() || self.weights.iter().any(|weights| *weights != Weights::AsOpened)
    }
}

/// What a step was, for the undo button.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The slider or the typed amount.
    Amount,
    /// Another method.
    Method,
    /// Another score.
    Score,
    /// Another pattern.
    Pattern,
    /// A tick.
    Tick,
    /// A lock.
    Lock,
    /// An amount of its own for a module or several, set, changed or cleared.
    OwnAmount,
    /// Biases in or out.
    Biases,
    /// An amount was kept, and the next applies to what is left.
    Apply,
    /// Masks made permanent.
    Fix,
    /// Weights, biases or statistics repaired.
    Repair,
    /// Back to the start.
    Reset,
    /// A recipe was opened.
    Recipe,
    /// What is to go of the channels.
    Channels,
    /// Channels were removed: another network goes on.
    Remove,
}

impl Step {
    /// As in “Undo fix weights”.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Amount => "amount",
            Self::Method => "method",
            Self::Score => "score",
            Self::Pattern => "pattern",
            Self::Tick => "ticks",
            Self::Lock => "lock",
            Self::OwnAmount => "own amount",
            Self::Biases => "biases",
            Self::Apply => "keep masks",
            Self::Fix => "fix weights",
            Self::Repair => "repair",
            Self::Reset => "reset",
            Self::Recipe => "recipe",
            Self::Channels => "channels",
            Self::Remove => "removal",
        }
    }
}

/// States, or more, that can be gone back to, and forward again.
#[derive(Debug)]
pub struct History<T = State> {
    past: Vec<(Step, T)>,
    present: T,
    future: Vec<(Step, T)>,
    /// Whether the next step of the same kind replaces the present one: a drag is one step.
    is_open: bool,
}

impl<T: PartialEq> History<T> {
    /// Starts at `state`.
    #[must_use]
    pub fn new(state: T) -> Self {
        Self { past: Vec::new(), present: state, future: Vec::new(), is_open: false }
    }

    /// Where we are.
    #[must_use]
    pub fn present(&self) -> &T {
        &self.present
    }

    /// Goes on to `state`. Amounts that follow one another without [`History::close`] are one step, and so are amounts of one's own and
    /// changes of what goes of the channels. A step that changes nothing is none.
    pub fn push(&mut self, step: Step, state: T) {
        if state == self.present {
            return;
        }
        let is_dragged = matches!(step, Step::Amount | Step::OwnAmount | Step::Channels);
        let continues = self.is_open && is_dragged && self.undoable() == Some(step);
        let previous = std::mem::replace(&mut self.present, state);
        if !continues {
            self.past.push((step, previous));
        }
        self.future.clear();
        self.is_open = is_dragged;
    }

    /// Goes on to a state of another network: a step even where the two are alike.
    pub fn go_on(&mut self, step: Step, state: T) {
        let previous = std::mem::replace(&mut self.present, state);
        self.past.push((step, previous));
        self.future.clear();
        self.is_open = false;
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
    use crate::prune::{Amount, Pattern, Score};

    fn state(amount: f64) -> State {
        let recipe = Recipe {
            score: Score::Magnitude,
            pattern: Pattern::Elements,
            method: Method::Global,
            amount: Amount::Fraction(amount),
            biases: true,
            ticked: vec![true],
            locked: vec![false],
            own: vec![None],
        };
        State::new(recipe, 1)
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
    fn dragging_an_amount_of_ones_own_is_a_step_of_its_own() {
        let own = |amount: f64| {
            let mut state = state(0.5);
            state.recipe.own[0] = Some(Amount::Fraction(amount));
            state
        };
        let mut history = History::new(state(0.0));
        history.push(Step::Amount, state(0.5));
        history.push(Step::OwnAmount, own(0.1));
        history.push(Step::OwnAmount, own(0.2));
        history.push(Step::Amount, state(0.6));
        assert_eq!(history.undo(), Some(Step::Amount));
        assert_eq!(history.undo(), Some(Step::OwnAmount));
        assert_eq!(history.present(), &state(0.5));
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
