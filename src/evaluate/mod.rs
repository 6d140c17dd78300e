//! What pruning costs, measured: the dense and the pruned network answer the same questions, and the answers are compared.
//!
//! An [`Evaluator`] has a session of its own on the opened model, so that the person's session is free meanwhile. Everything
//! here blocks, tells how far it is, and stops between two operators of a network when asked.

mod questions;
mod search;
mod sensitivity;

pub use questions::{Act, Batch, Broken, Questions, QuestionsError, noise};
pub use search::{Criterion, Found, coarse_to_fine};
pub use sensitivity::{Sensitivity, SensitivityCase};

use std::collections::HashMap;

use crate::measure::{Answers, Effect, Tally};
use crate::network::{Array, Network, NetworkError};
use crate::prune::{Settings, State};
use crate::session::{Session, SessionError};

/// What all outputs of a network were for one batch.
type Outputs = Vec<(String, Array)>;

/// Answers of the dense network that are kept for the next comparison, in bytes: 256 MiB.
const KEPT_ANSWERS: usize = 1 << 28;

/// Why something could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The model could not be pruned or run.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The model cannot be asked.
    #[error(transparent)]
    Questions(#[from] QuestionsError),
    /// Not one image could be used.
    #[error("none of the images could be used; the first, “{name}”: {reason}")]
    NoImages {
        /// The first image.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl From<NetworkError> for EvaluateError {
    fn from(error: NetworkError) -> Self {
        Self::Session(error.into())
    }
}

/// How an evaluation is watched.
pub trait Observer {
    /// What was found so far, after every batch.
    fn seen(&mut self, so_far: &Effect);
    /// Whether the person wants it to stop.
    fn is_cancelled(&self) -> bool;
}

/// Compares pruned networks with the dense one.
#[derive(Debug)]
pub struct Evaluator {
    session: Session,
    questions: Questions,
    dense: HashMap<usize, Outputs>,
    kept: usize,
}

impl Evaluator {
    /// On a session of its own, see [`Session::fork`].
    #[must_use]
    pub fn new(session: Session, questions: Questions) -> Self {
        Self { session, questions, dense: HashMap::new(), kept: 0 }
    }

    /// What is asked.
    #[must_use]
    pub fn questions(&self) -> &Questions {
        &self.questions
    }

    /// The session that prunes here.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What the model as pruned in `state` answers, over the first `limit` images.
    ///
    /// # Errors
    /// [`SessionError::Cancelled`] when it was stopped; settings that cannot be applied; a network that cannot be run.
    pub fn effect(&mut self, state: &State, limit: Option<usize>, observer: &mut dyn Observer) -> Result<Effect, EvaluateError> {
        self.session.set_state(state.clone());
        let network = self.session.pruned_network()?;
        self.compare(&network, limit, observer)
    }

    /// As [`Self::effect`], with these settings on what `state` masked and fixed.
    ///
    /// # Errors
    /// As [`Self::effect`].
    pub fn effect_at(&mut self, state: &State, settings: Settings, observer: &mut dyn Observer) -> Result<Effect, EvaluateError> {
        self.effect(&State { settings, ..state.clone() }, None, observer)
    }

    /// What the dense network answers, compared with itself.
    ///
    /// # Errors
    /// As [`Self::effect`].
    pub fn dense(&mut self, limit: Option<usize>, observer: &mut dyn Observer) -> Result<Effect, EvaluateError> {
        let network = self.session.dense_network()?;
        self.compare(&network, limit, observer)
    }

    /// Classes that the network tells apart, once it has answered; `None` where it does not classify.
    #[must_use]
    pub fn num_classes(&self) -> Option<usize> {
        let (_, first) = self.dense.values().next()?.first()?;
        let images = *first.shape.first()?;
        (Answers::of(&self.session.model().graph, first, images) != Answers::Values).then(|| first.shape[1])
    }

    fn compare(&mut self, network: &Network, limit: Option<usize>, observer: &mut dyn Observer) -> Result<Effect, EvaluateError> {
        let dense_network = self.session.dense_network()?;
        let Self { session, questions, dense, kept } = self;
        let graph = &session.model().graph;
        let mut tally = Tally::default();
        let mut seen = 0;
        // The loop looks at the observer through a cell: the questions ask it too.
        let observer = std::cell::RefCell::new(observer);
        let is_cancelled = || observer.borrow().is_cancelled();
        let limit = limit.unwrap_or(usize::MAX);
        let is_done = std::cell::Cell::new(false);
        questions.each::<EvaluateError>(&|| is_done.get() || is_cancelled(), &mut |i, batch| {
            let stops = &is_cancelled;
            if !dense.contains_key(&i) {
                let outputs = dense_network.finish(dense_network.begin(&batch.inputs)?, stops)?;
                let bytes = bytes(&outputs);
                if *kept + bytes > KEPT_ANSWERS {
                    *kept = 0;
                    dense.clear();
                }
                *kept += bytes;
                dense.insert(i, outputs);
            }
            let Some(known) = dense.get(&i) else { return Ok(()) };
            let pruned = network.finish(network.begin(&batch.inputs)?, stops)?;
            let answers = known.first().map_or(Answers::Values, |(_, first)| Answers::of(graph, first, batch.images.len()));
            tally.add(answers, known, &pruned, &batch.images, &batch.labels);
            seen += batch.images.len();
            is_done.set(seen >= limit);
            observer.borrow_mut().seen(&tally.effect());
            Ok(())
        })?;
        if !is_done.get() && is_cancelled() {
            return Err(SessionError::Cancelled.into());
        }
        self.refuse_nothing(seen > 0)?;
        Ok(tally.effect())
    }

    /// An error where no image could be used.
    fn refuse_nothing(&self, has_seen: bool) -> Result<(), EvaluateError> {
        match self.questions.broken().first() {
            Some(first) if !has_seen => Err(EvaluateError::NoImages { name: first.name.clone(), reason: first.reason.clone() }),
            _ => Ok(()),
        }
    }
}

fn bytes(outputs: &Outputs) -> usize {
    outputs.iter().map(|(_, a)| a.shape.iter().product::<usize>() * size_of::<f32>()).sum()
}
