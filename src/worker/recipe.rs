//! Recipes that are opened: what they make of the model, up to the next repair that they want.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Event, RestOfRecipe, WorkerThread};
use crate::engine::EngineError;
use crate::prune::{InputNorms, Step};
use crate::recipes::{AppliedRecipe, RecipeError, RecipeFile};

impl WorkerThread {
    /// Goes on with what a recipe makes of the model, and tells what it wants beyond that.
    pub(super) fn open_recipe(&mut self, path: PathBuf, norms: Option<Arc<InputNorms>>) -> Result<(), EngineError> {
        let Some(session) = self.session.as_mut() else { return Ok(()) };
        let file = RecipeFile::read(&path);
        let images = file.as_ref().ok().and_then(RecipeFile::images).flatten();
        match file.and_then(|file| Ok((file.begin(session.engine(), norms.as_ref())?, file))) {
            Ok((applied, file)) => return self.take_recipe(applied, file, norms),
            Err(RecipeError::NoImages) => self.tell(Event::WantsNorms(path, images)),
            Err(RecipeError::Engine(error)) => return Err(error),
            Err(error) => self.tell(Event::Failed { what: "Open the recipe", message: error.to_string() }),
        }
        self.show()
    }

    /// Goes on behind a repair that a recipe wanted.
    pub(super) fn go_on_with_recipe(&mut self, rest: RestOfRecipe) -> Result<(), EngineError> {
        let Some(session) = self.session.as_mut() else { return Ok(()) };
        let RestOfRecipe { file, norms, pending } = rest;
        match file.go_on(session.engine(), norms.as_ref(), session.state().clone(), &pending) {
            Ok(applied) => return self.take_recipe(applied, file, norms),
            Err(RecipeError::Engine(error)) => return Err(error),
            Err(error) => self.tell(Event::Failed { what: "Open the recipe", message: error.to_string() }),
        }
        self.show()
    }

    /// Goes on with what a recipe made of the model, and tells what it wants next.
    fn take_recipe(&mut self, applied: AppliedRecipe, file: RecipeFile, norms: Option<Arc<InputNorms>>) -> Result<(), EngineError> {
        let AppliedRecipe { state, missing, pending } = applied;
        if let Some(session) = self.session.as_mut() {
            session.go_to(state, Step::Recipe)?;
        }
        self.tell_missing(missing);
        // What is to be repaired comes first.
        self.show()?;
        let repair = file.repair();
        match (pending, repair) {
            (Some(pending), _) => {
                let repair = pending.repair.clone();
                self.tell(Event::WantsRepair(repair, Some(Box::new(RestOfRecipe { file, norms, pending }))));
            }
            (None, Some(repair)) => self.tell(Event::WantsRepair(repair, None)),
            (None, None) => {}
        }
        Ok(())
    }

    pub(super) fn tell_missing(&self, missing: Vec<String>) {
        if !missing.is_empty() {
            self.tell(Event::Missing(missing));
        }
    }
}
