//! One opened model and what was done to it, step by step: prune, keep, fix, undo, save.
//!
//! A [`Session`] knows what was done; its [`Engine`] knows how. The window drives a session from [`crate::worker`], the command
//! line directly. A call that fails changes nothing.

use std::path::Path;
use std::sync::Arc;

use crate::atomic::Overwrite;
use crate::engine::{Engine, EngineError, Model};
use crate::export::{Format, Report};
use crate::prune::{History, Masked, Recipe, State, Statistics, Step, Weights};
use crate::watch::Watch;

/// Owns the state of a model and its history.
#[derive(Debug)]
pub struct Session {
    engine: Arc<Engine>,
    history: History,
    /// Weights, masks and statistics when the model was last saved, or opened.
    saved: (Arc<[Weights]>, Arc<[Masked]>, Arc<Statistics>),
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
        let saved = (state.weights.clone(), state.kept.clone(), state.statistics.clone());
        Self { engine: Arc::new(engine), history: History::new(state), saved }
    }

    /// Goes on with another engine of the same model, on another device.
    pub fn use_engine(&mut self, engine: Engine) {
        self.engine = Arc::new(engine);
    }

    /// How things are done.
    #[must_use]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Arc<Model> {
        self.engine.model()
    }

    /// Recipe, masks and weights as they are.
    #[must_use]
    pub fn state(&self) -> &State {
        self.history.present()
    }

    /// Undo and redo.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Changes the recipe.
    ///
    /// # Errors
    /// An amount that does not fit the scope; nothing changes. An empty scope is allowed, and an amount that only another method reaches.
    pub fn set(&mut self, recipe: Recipe, step: Step) -> Result<(), EngineError> {
        let state = self.state().with(recipe);
        self.engine.check(&state)?;
        self.history.push(step, state);
        Ok(())
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
        let state = self.engine.keep(self.state())?;
        self.history.push(Step::Apply, state);
        Ok(())
    }

    /// Makes the present mask permanent, see [`Engine::fix`].
    ///
    /// # Errors
    /// As [`Engine::outcome`].
    pub fn fix(&mut self) -> Result<(), EngineError> {
        let state = self.engine.fix(self.state())?;
        self.history.push(Step::Fix, state);
        Ok(())
    }

    /// Goes on with another state of the model, as one step.
    ///
    /// # Errors
    /// An amount that does not fit.
    pub fn go_to(&mut self, state: State, step: Step) -> Result<(), EngineError> {
        self.engine.check(&state)?;
        self.history.push(step, state);
        Ok(())
    }

    /// Forgets masks and amount; what is fixed stays fixed.
    pub fn reset(&mut self) {
        let state = self.state();
        let kept = vec![Masked::Nothing; state.kept.len()].into();
        let fixed = state.earlier.iter().rposition(|step| step.is_fixed).map_or(0, |last| last + 1);
        let earlier = state.earlier[..fixed].into();
        let state = State { recipe: state.recipe.without_amount(), earlier, kept, ..state.clone() };
        self.history.push(Step::Reset, state);
    }

    /// Goes back one step; `None` where there is none.
    pub fn undo(&mut self) -> Option<Step> {
        self.history.undo()
    }

    /// Takes an undone step again; `None` where there is none.
    pub fn redo(&mut self) -> Option<Step> {
        self.history.redo()
    }

    /// Whether something was fixed or kept since the model was opened or saved.
    #[must_use]
    pub fn is_unsaved(&self) -> bool {
        let state = self.state();
        (&state.weights, &state.kept, &state.statistics) != (&self.saved.0, &self.saved.1, &self.saved.2)
    }

    /// Saves the model as it is pruned now.
    ///
    /// # Errors
    /// [`EngineError::Export`], [`EngineError::Prune`]
    pub fn save(&mut self, path: &Path, format: Format, overwrite: Overwrite) -> Result<Report, EngineError> {
        let report = self.engine.save(self.state(), path, format, overwrite)?;
        let state = self.state();
        self.saved = (state.weights.clone(), state.kept.clone(), state.statistics.clone());
        Ok(report)
    }
}
