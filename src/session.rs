//! One opened model and what was done to it, step by step: prune, keep, fix, remove channels, undo, save.
//!
//! A [`Session`] knows what was done; its [`Engine`] knows how. Removing channels is the one step that makes another network of the
//! model: it goes on with an engine of its own, and undo gives the one before back. The window drives a session from [`crate::worker`], the command
//! line directly. A call that fails changes nothing.

use std::path::Path;
use std::sync::Arc;

use crate::atomic::Overwrite;
use crate::device::ComputeDevice;
use crate::engine::{ChannelPlan, Chosen, Engine, EngineError, Model, Removal};
use crate::export::{Format, Report};
use crate::graph::Graph;
use crate::prune::{AddedBiases, History, Masked, Recipe, Repair, RunningStatistics, Score, State, Step, Weights};
use crate::repair::Judged;
use crate::watch::Watch;

/// A network that the model was, or is.
#[derive(Debug)]
struct Version {
    engine: Arc<Engine>,
    /// What made it of the version before; `None` for the model as opened.
    removal: Option<Removal>,
    /// How the masked twin was repaired before its channels were removed, whether that was any good or not.
    repaired: Option<Arc<Judged>>,
    /// The repairs that its weights hold for good.
    repairs: Arc<[Arc<Repair>]>,
}

/// What is in a file that is saved.
#[derive(Debug)]
struct SavedContent {
    model: Arc<Model>,
    weights: Arc<[Weights]>,
    kept: Arc<[Masked]>,
    statistics: Arc<RunningStatistics>,
    biases: Arc<AddedBiases>,
}

impl SavedContent {
    fn new(model: &Arc<Model>, state: &State) -> Self {
        let (weights, kept, statistics) = (state.weights.clone(), state.kept.clone(), state.statistics.clone());
        Self { model: model.clone(), weights, kept, statistics, biases: state.biases.clone() }
    }
}

/// What a step can change.
#[derive(Debug, Clone, PartialEq)]
pub struct Present {
    state: State,
    /// What is to go of the channels.
    plan: ChannelPlan,
}

/// Owns the state of a model and its history.
#[derive(Debug)]
pub struct Session {
    /// The network as it is.
    version: Version,
    /// The networks before it, one for every [`Step::Remove`] that can be undone.
    before: Vec<Version>,
    /// Those that were undone, one for every [`Step::Remove`] that can be done again, the next one last.
    undone: Vec<Version>,
    history: History<Present>,
    /// The model when it was last saved, or opened.
    saved: SavedContent,
}

impl Session {
    /// Opens a file and ranks its elements.
    ///
    /// # Errors
    /// [`EngineError::Open`], [`EngineError::Cancelled`]
    pub fn open(path: &Path, watch: &dyn Watch) -> Result<Self, EngineError> {
        Ok(Self::new(Engine::open(path, watch)?))
    }

    /// On the model of `engine`, as opened.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        let state = engine.opened();
        let saved = SavedContent::new(engine.model(), &state);
        let version = Version { engine: Arc::new(engine), removal: None, repaired: None, repairs: Arc::default() };
        Self {
            version,
            before: Vec::new(),
            undone: Vec::new(),
            history: History::new(Present { state, plan: ChannelPlan::default() }),
            saved,
        }
    }

    /// Goes on with the same networks on another device.
    pub fn use_device(&mut self, device: &ComputeDevice) {
        for version in self.before.iter_mut().chain(&mut self.undone).chain([&mut self.version]) {
            version.engine = Arc::new(version.engine.on(device.clone()));
        }
    }

    /// How things are done.
    #[must_use]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.version.engine
    }

    /// That of the model as it was opened, whatever channels were removed since.
    #[must_use]
    pub fn opened(&self) -> &Arc<Engine> {
        &self.before.first().unwrap_or(&self.version).engine
    }

    /// What all removals of channels together made of the model as opened; `None` where there was none.
    #[must_use]
    pub fn removal(&self) -> Option<Removal> {
        let last = self.version.removal?;
        let first = self.before.get(1).and_then(|version| version.removal).unwrap_or(last);
        Some(Removal { before: first.before, bytes: [first.bytes[0], last.bytes[1]], ..last })
    }

    /// How the network was repaired before channels were removed from it last, and what that gave; `None` where it was not.
    #[must_use]
    pub fn repaired(&self) -> Option<&Arc<Judged>> {
        self.version.repaired.as_ref()
    }

    /// The repairs that were made before channels were removed, and that the network holds for good.
    #[must_use]
    pub fn repairs(&self) -> &Arc<[Arc<Repair>]> {
        &self.version.repairs
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Arc<Model> {
        self.engine().model()
    }

    /// Recipe, masks and weights as they are.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.history.present().state
    }

    /// What is to go of the channels, as far as a person has said so.
    #[must_use]
    pub fn plan(&self) -> &ChannelPlan {
        &self.history.present().plan
    }

    /// Undo and redo.
    #[must_use]
    pub fn history(&self) -> &History<Present> {
        &self.history
    }

    /// Changes the recipe.
    ///
    /// # Errors
    /// An amount that does not fit the scope; nothing changes. An empty scope is allowed, and an amount that only another method reaches.
    pub fn set(&mut self, recipe: Recipe, step: Step) -> Result<(), EngineError> {
        let state = self.state().with(recipe);
        self.engine().check(&state)?;
        self.push(step, state);
        Ok(())
    }

    /// Changes what is to go of the channels, as a step; nothing goes yet.
    pub fn set_plan(&mut self, plan: ChannelPlan) {
        let state = self.state().clone();
        self.push_present(Step::Channels, Present { state, plan });
    }

    /// Ends a drag of the slider, so that the next one is a step of its own.
    pub fn end_drag(&mut self) {
        self.history.close();
    }

    /// Keeps the present mask and starts the amount again at nothing, see [`Engine::keep`].
    ///
    /// # Errors
    /// As [`Engine::outcome`].
    pub fn apply(&mut self) -> Result<(), EngineError> {
        let state = self.engine().keep(self.state())?;
        self.push(Step::Apply, state);
        Ok(())
    }

    /// Makes the present mask permanent, see [`Engine::fix`].
    ///
    /// # Errors
    /// As [`Engine::outcome`].
    pub fn fix(&mut self) -> Result<(), EngineError> {
        let state = self.engine().fix(self.state())?;
        self.push(Step::Fix, state);
        Ok(())
    }

    /// Goes on with another state of the model, as one step.
    ///
    /// # Errors
    /// An amount that does not fit.
    pub fn go_to(&mut self, state: State, step: Step) -> Result<(), EngineError> {
        self.engine().check(&state)?;
        self.push(step, state);
        Ok(())
    }

    /// Forgets masks and amount; what is fixed stays fixed.
    pub fn reset(&mut self) {
        let state = self.state();
        let kept = vec![Masked::Nothing; state.kept.len()].into();
        let fixed = state.earlier.iter().rposition(|step| step.is_fixed).map_or(0, |last| last + 1);
        let earlier = state.earlier[..fixed].into();
        let state = State { recipe: state.recipe.without_amount(), earlier, kept, ..state.clone() };
        self.push(Step::Reset, state);
    }

    /// Goes on with the network without what was chosen: smaller, and opened as if from a file. What is pruned, masked or repaired is so
    /// in it for good. Where the masked twin was repaired, the channels are removed from what it became, unless that agrees less with the
    /// dense network than before.
    ///
    /// # Errors
    /// As [`Engine::shrink`].
    pub fn remove_channels(&mut self, chosen: &Chosen, repaired: Option<Judged>, watch: &dyn Watch) -> Result<(), EngineError> {
        let state = repaired.as_ref().filter(|judged| judged.is_better()).map_or(self.state(), |judged| &judged.state);
        let (smaller, removal) = self.engine().shrink(state, chosen, watch)?;
        let made = state.earlier.iter().filter_map(|step| step.repair.as_ref());
        let repairs = self.version.repairs.iter().chain(made).cloned().collect();
        let opened = smaller.opened();
        let recipe = carried_over(&self.state().recipe, &self.model().graph, opened.recipe.clone(), &smaller.model().graph);
        let next = Version { engine: Arc::new(smaller), removal: Some(removal), repaired: repaired.map(Arc::new), repairs };
        self.before.push(std::mem::replace(&mut self.version, next));
        self.undone.clear();
        let plan = self.plan().emptied();
        self.history.go_on(Step::Remove, Present { state: opened.with(recipe), plan });
        Ok(())
    }

    fn push(&mut self, step: Step, state: State) {
        let plan = self.plan().clone();
        self.push_present(step, Present { state, plan });
    }

    fn push_present(&mut self, step: Step, present: Present) {
        self.history.push(step, present);
        // A new step forgets what was undone.
        if self.history.redoable().is_none() {
            self.undone.clear();
        }
    }

    /// Goes back one step; `None` where there is none.
    pub fn undo(&mut self) -> Option<Step> {
        let step = self.history.undo();
        if step == Some(Step::Remove)
            && let Some(version) = self.before.pop()
        {
            self.undone.push(std::mem::replace(&mut self.version, version));
        }
        step
    }

    /// Takes an undone step again; `None` where there is none.
    pub fn redo(&mut self) -> Option<Step> {
        let step = self.history.redo();
        if step == Some(Step::Remove)
            && let Some(version) = self.undone.pop()
        {
            self.before.push(std::mem::replace(&mut self.version, version));
        }
        step
    }

    /// Whether something was fixed, kept or removed since the model was opened or saved.
    #[must_use]
    pub fn is_unsaved(&self) -> bool {
        let (state, saved) = (self.state(), &self.saved);
        !Arc::ptr_eq(self.model(), &saved.model)
            || (&state.weights, &state.kept, &state.statistics) != (&saved.weights, &saved.kept, &saved.statistics)
            || state.biases != saved.biases
    }

    /// Saves the model as it is pruned now.
    ///
    /// # Errors
    /// [`EngineError::Export`], [`EngineError::Prune`]
    pub fn save(&mut self, path: &Path, format: Format, overwrite: Overwrite) -> Result<Report, EngineError> {
        let report = self.engine().save(self.state(), path, format, overwrite)?;
        self.saved = SavedContent::new(self.model(), self.state());
        Ok(report)
    }
}

/// What still means the same in a smaller network: how elements are chosen, and what is ticked and locked. Amounts and scores of single
/// elements were those of the network before.
fn carried_over(recipe: &Recipe, graph: &Graph, fresh: Recipe, smaller: &Graph) -> Recipe {
    let score = match &recipe.score {
        Score::Magnitude | Score::Random(_) => recipe.score.clone(),
        Score::Wanda(_) | Score::Given(_) => fresh.score,
    };
    let names = |graph: &Graph| graph.modules.iter().map(|module| module.name.clone()).collect::<Vec<_>>();
    let (ticked, locked) =
        if names(graph) == names(smaller) { (recipe.ticked.clone(), recipe.locked.clone()) } else { (fresh.ticked, fresh.locked) };
    Recipe { score, pattern: recipe.pattern, method: recipe.method, biases: recipe.biases, ticked, locked, ..fresh }
}
