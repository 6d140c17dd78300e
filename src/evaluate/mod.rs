//! What pruning costs, measured: the dense and the pruned network answer the same questions, and the answers are compared.
//!
//! An [`Evaluator`] shares the [`Engine`] of the opened model and takes the [`State`] that it measures. Everything here blocks, tells
//! how far it is, and stops between two operators of a network when asked.

mod norms;
mod questions;
mod search;
mod sensitivity;
mod trial;

pub use questions::{Act, Batch, Batching, Broken, Inputs, Questions, QuestionsError, noise};
pub use search::{Criterion, Found, MOST_PROBES, coarse_to_fine, largest_bearable, largest_share};
pub use sensitivity::{Scan, Sensitivity, SensitivityCase};
pub use trial::BatchRemark;

use std::collections::HashMap;
use std::sync::Arc;

use crate::engine::{Engine, EngineError};
use crate::graph::Graph;
use crate::measure::{Answering, Effect, Tally};
use crate::network::{Array, Network, NetworkError};
use crate::prune::{AmountError, PruneError, Recipe, State};
use crate::watch::Watch;

/// What all outputs of a network were for one batch.
type Outputs = Vec<(String, Array)>;

/// Answers of the dense network that are kept for the next comparison, in bytes: 256 MiB.
const KEPT_ANSWERS: usize = 1 << 28;

/// Why something could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The model could not be pruned or run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The model cannot be asked.
    #[error(transparent)]
    Questions(#[from] QuestionsError),
    /// There is no such output.
    #[error("the model has no output “{name}”; it has {outputs}")]
    NoOutput {
        /// What was asked for.
        name: String,
        /// Its outputs.
        outputs: String,
    },
    /// Not one image could be used.
    #[error("none of the images could be used; the first, “{name}”: {reason}")]
    NoImages {
        /// The first image.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl EvaluateError {
    /// Whether the method does not reach the amount, whatever is asked.
    #[must_use]
    pub fn is_beyond_reach(&self) -> bool {
        matches!(self, Self::Engine(EngineError::Prune(PruneError::Amount(AmountError::Reach { .. }))))
    }
}

impl From<NetworkError> for EvaluateError {
    fn from(error: NetworkError) -> Self {
        Self::Engine(error.into())
    }
}

/// Answers of the dense network by number of the batch, as many as memory allows, and which of its outputs they are.
#[derive(Debug, Default)]
struct Known {
    answers: HashMap<usize, Arc<Outputs>>,
    bytes: usize,
    /// Classes of the labels.
    classes: Option<usize>,
    /// The output that is to answer.
    chosen: Option<usize>,
    answering: Option<Answering>,
}

impl Known {
    /// The answers to a batch, which `run` finds where they are not known, and what they mean.
    fn answers(
        &mut self,
        graph: &Graph,
        (number, batch): (usize, &Batch),
        run: impl FnOnce() -> Result<Outputs, NetworkError>,
    ) -> Result<(Arc<Outputs>, &Answering), NetworkError> {
        let outputs = match self.answers.get(&number) {
            Some(outputs) => outputs.clone(),
            None => self.keep(number, batch.answers(run()?)),
        };
        let (classes, chosen) = (self.classes, self.chosen);
        let find = || Answering::find(graph, &outputs, batch.images.len(), classes, chosen);
        Ok((outputs.clone(), self.answering.get_or_insert_with(find)))
    }

    fn keep(&mut self, batch: usize, outputs: Outputs) -> Arc<Outputs> {
        let bytes = bytes(&outputs);
        if self.bytes + bytes > KEPT_ANSWERS {
            self.answers.clear();
            self.bytes = 0;
        }
        self.bytes += bytes;
        let outputs = Arc::new(outputs);
        self.answers.insert(batch, outputs.clone());
        outputs
    }
}

/// Compares pruned networks with the dense one.
#[derive(Debug)]
pub struct Evaluator {
    engine: Arc<Engine>,
    /// Whose network as opened is the dense one.
    reference: Arc<Engine>,
    questions: Questions,
    is_settled: bool,
    batch_remark: Option<BatchRemark>,
    known: Known,
}

impl Evaluator {
    /// Asks the networks of `engine` these questions. Where the labels have a number of `classes`, an output with as many scores is
    /// the one that answers.
    #[must_use]
    pub fn new(engine: Arc<Engine>, questions: Questions, classes: Option<usize>) -> Self {
        Self {
            reference: engine.clone(),
            engine,
            questions,
            is_settled: false,
            batch_remark: None,
            known: Known { classes, ..Known::default() },
        }
    }

    /// Compares with the network of this engine as opened: with the one that channels were removed from.
    #[must_use]
    pub fn compared_with(self, reference: Arc<Engine>) -> Self {
        Self { reference, ..self }
    }

    /// Takes the answers from this output, or from the one that classifies.
    ///
    /// # Errors
    /// [`EvaluateError::NoOutput`]
    pub fn choose_output(&mut self, name: Option<&str>) -> Result<(), EvaluateError> {
        let outputs = &self.engine.model().graph.outputs;
        self.known.chosen = match name {
            None => None,
            Some(name) => Some(outputs.iter().position(|(output, _)| output == name).ok_or_else(|| EvaluateError::NoOutput {
                name: name.to_owned(),
                outputs: outputs.iter().map(|(name, _)| format!("“{name}”")).collect::<Vec<_>>().join(", "),
            })?),
        };
        self.known.answering = None;
        Ok(())
    }

    /// Which output answers; `None` until the network has answered once.
    #[must_use]
    pub fn answering(&self) -> Option<&Answering> {
        self.known.answering.as_ref()
    }

    /// Why images go through the network in other batches than it declares, where they do.
    #[must_use]
    pub fn batch_remark(&self) -> Option<BatchRemark> {
        self.batch_remark
    }

    /// What is asked.
    #[must_use]
    pub fn questions(&self) -> &Questions {
        &self.questions
    }

    /// What prunes and runs the networks.
    #[must_use]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// What the model as pruned in `state` answers, over the first `limit` images.
    ///
    /// # Errors
    /// [`EngineError::Cancelled`] when it was stopped; a recipe that cannot be applied; a network that cannot be run.
    pub fn effect(&mut self, state: &State, limit: Option<usize>, watch: &dyn Watch) -> Result<Effect, EvaluateError> {
        let network = self.engine.pruned_network(state)?;
        self.compare(Some(&network), limit, watch)
    }

    /// As [`Self::effect`], with this recipe on what `state` masked and fixed.
    ///
    /// # Errors
    /// As [`Self::effect`].
    pub fn effect_at(&mut self, state: &State, recipe: Recipe, watch: &dyn Watch) -> Result<Effect, EvaluateError> {
        self.effect(&state.with(recipe), None, watch)
    }

    /// All images that can be used, as the network takes them.
    ///
    /// # Errors
    /// [`EngineError::Cancelled`] when it was stopped; [`EvaluateError::NoImages`]; a network that cannot be run.
    pub fn batches(&mut self, watch: &dyn Watch) -> Result<Vec<Arc<Batch>>, EvaluateError> {
        self.settle(watch)?;
        let mut batches = Vec::new();
        self.questions.each::<EvaluateError>(&|_| watch.is_cancelled(), &mut |_, batch| {
            batches.push(batch.clone());
            Ok(())
        })?;
        if watch.is_cancelled() {
            return Err(EngineError::Cancelled.into());
        }
        self.refuse_nothing(!batches.is_empty())?;
        Ok(batches)
    }

    /// What the dense network answers, compared with itself: it runs where its answers are not known yet.
    ///
    /// # Errors
    /// As [`Self::effect`].
    pub fn dense(&mut self, limit: Option<usize>, watch: &dyn Watch) -> Result<Effect, EvaluateError> {
        self.compare(None, limit, watch)
    }

    /// Classes that the network tells apart, once it has answered; `None` where it does not classify.
    #[must_use]
    pub fn num_classes(&self) -> Option<usize> {
        self.known.answering.as_ref().map(|answering| answering.classes).filter(|&classes| classes > 0)
    }

    /// Compares `pruned`, or the dense network itself, with the dense network.
    fn compare(&mut self, pruned: Option<&Network>, limit: Option<usize>, watch: &dyn Watch) -> Result<Effect, EvaluateError> {
        self.settle(watch)?;
        let dense = self.reference.dense_network()?;
        let Self { engine, questions, known, .. } = self;
        let graph = &engine.model().graph;
        let mut tally = Tally::default();
        let mut seen = 0;
        let total = questions.num_images().min(limit.unwrap_or(usize::MAX)).max(1);
        questions.each::<EvaluateError>(&|seen| seen >= total || watch.is_cancelled(), &mut |i, batch| {
            let (known, answering) = known.answers(graph, (i, batch), || dense.finish(dense.begin(&batch.inputs)?, watch))?;
            match pruned {
                Some(network) => {
                    let outputs = batch.answers(network.finish(network.begin(&batch.inputs)?, watch)?);
                    tally.add(answering, &known, &outputs, &batch.images, &batch.labels);
                }
                None => tally.add(answering, &known, &known, &batch.images, &batch.labels),
            }
            seen += batch.images.len();
            watch.progress(seen as f32 / total as f32, "Evaluating");
            Ok(())
        })?;
        if watch.is_cancelled() && seen < total {
            return Err(EngineError::Cancelled.into());
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
