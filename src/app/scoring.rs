//! What needs something first: scores, the inputs of the layers measured or a file read; these and repairs, images.

use std::path::PathBuf;
use std::sync::Arc;

use crate::measurer::{Finding, Request};
use crate::prune::{InputNorms, Recipe, Score, Step};
use crate::worker::{Event, Job, Told};

use super::App;
use super::commands::{Command, ScoreChoice};
use super::dialogs::Purpose;

/// What waits for images, or for the inputs of the layers to be measured on them.
#[derive(Debug)]
pub(super) enum Waiting {
    /// The score `wanda`, to be applied.
    Score,
    /// A recipe with it.
    Recipe(PathBuf),
    /// A repair.
    Repair,
}

impl App {
    /// Goes on with what waited for images.
    pub(super) fn take_images(&mut self) {
        match self.waiting {
            Some(Waiting::Repair) => {
                self.waiting = None;
                self.start_repair(None);
            }
            Some(_) => self.worker.measure(Request::Norms),
            None => {}
        }
    }

    /// What the worker says that scores wait for.
    pub(super) fn take_scores(&mut self, told: &Told) {
        let is_shown = told.model == self.state.opened;
        match &told.event {
            Event::Measured(Finding::Norms(norms)) if is_shown => self.take_norms(norms.clone()),
            Event::WantsNorms(recipe, images) if is_shown => self.want_norms(Waiting::Recipe(recipe.clone()), images.clone()),
            Event::Measured(Finding::Failed(_)) | Event::Opened(_) => self.waiting = None,
            _ => {}
        }
    }

    /// Ranks by another score, once what it needs is there.
    pub(super) fn score(&mut self, choice: ScoreChoice) {
        let score = match choice {
            ScoreChoice::Magnitude => Score::Magnitude,
            ScoreChoice::Random(seed) => Score::Random(seed),
            ScoreChoice::File => return self.ask(Purpose::Scores),
            ScoreChoice::Wanda => return self.want_norms(Waiting::Score, None),
        };
        self.use_score(score);
    }

    fn use_score(&mut self, score: Score) {
        if let Some(recipe) = &self.state.recipe {
            let recipe = Recipe { score, ..recipe.clone() };
            self.commands.push(Command::Set(Box::new(recipe), Step::Score));
        }
    }

    /// Has the inputs of the layers measured, on these images or on those that are shown; where there are none, they are asked for.
    fn want_norms(&mut self, waiting: Waiting, images: Option<PathBuf>) {
        self.waiting = Some(waiting);
        let is_shown = self.state.costs.shown.as_ref().is_some_and(|shown| shown.path.is_some());
        match images {
            Some(images) if self.state.costs.shown.as_ref().and_then(|shown| shown.path.as_ref()) != Some(&images) => {
                self.worker.measure(Request::Images(images));
                self.worker.measure(Request::Norms);
            }
            _ if is_shown => self.worker.measure(Request::Norms),
            _ => self.ask(Purpose::Images),
        }
    }

    /// Goes on with what waited for the inputs of the layers.
    fn take_norms(&mut self, norms: Arc<InputNorms>) {
        match self.waiting.take() {
            Some(Waiting::Score) => self.use_score(Score::Wanda(norms)),
            Some(Waiting::Recipe(path)) => self.worker.send(Job::OpenRecipe(path, Some(norms))),
            Some(Waiting::Repair) | None => {}
        }
    }
}
