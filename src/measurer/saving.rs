//! What pruning saves: bytes, multiply-accumulates, time. It needs no images.

use std::sync::Arc;

use super::position::where_applicable;
use super::{Finding, MeasurerThread, TaskKind, TaskWatch};
use crate::engine::EngineError;
use crate::evaluate::{EvaluateError, noise};
use crate::images::Preprocess;
use crate::measure::{Bytes, Effort, ParameterSize, Speed};
use crate::network::Array;
use crate::prune::{PerMethod, Recipe, State};
use crate::watch::Token;

/// What the parameters weigh at a position of the slider, one entry per parameter.
#[derive(Debug, Clone)]
pub struct Sizes {
    /// The position.
    pub recipe: Recipe,
    /// As opened.
    pub dense: Arc<[ParameterSize]>,
    /// As pruned; `None` where a method cannot be applied here.
    pub pruned: PerMethod<Option<Vec<ParameterSize>>>,
}

impl Sizes {
    /// The sum over all parameters.
    #[must_use]
    pub fn total(sizes: &[ParameterSize]) -> Bytes {
        sizes.iter().map(|size| size.bytes).sum()
    }
}

/// Time of a forward pass at a position of the slider.
#[derive(Debug, Clone)]
pub struct Timed {
    /// The position.
    pub recipe: Recipe,
    /// What was measured.
    pub speed: Speed,
    /// Name of the device.
    pub device: String,
}

impl MeasurerThread {
    /// Counts multiply-accumulates, once for every model, and weighs the position where that is wanted.
    pub(super) fn measure_savings(&mut self, token: &Token) -> Result<(), EvaluateError> {
        let (Some(position), Some(engine)) = (self.position.clone(), self.engine.clone()) else { return Ok(()) };
        if !self.has_work && (self.weighs || self.evaluator.is_some()) {
            // What the operators lack is told before what the inputs lack.
            let work = engine.dense_network().map_err(EvaluateError::from).and_then(|_| Ok(engine.work(&self.inputs(1)?, token)?));
            let work = match work {
                Err(EvaluateError::Engine(EngineError::Cancelled)) => return Err(EngineError::Cancelled.into()),
                Err(error) => Err(error.to_string()),
                Ok(work) => Ok(Arc::new(work)),
            };
            self.has_work = true;
            self.tell(Finding::Work(work));
        }
        if !self.weighs || self.weighed.as_ref() == Some(&position) {
            return Ok(());
        }
        let dense = match &self.dense_sizes {
            Some(dense) => dense.clone(),
            None => self.dense_sizes.insert(engine.dense_sizes(token)?.into()).clone(),
        };
        let state = &position.state;
        let pruned = PerMethod::try_new(&position.methods(), |method| where_applicable(engine.sizes(&state.under(method), &dense, token)))?;
        let sizes = Sizes { recipe: state.recipe.clone(), dense, pruned };
        self.weighed = Some(position);
        self.tell(Finding::Sizes(Arc::new(sizes)));
        Ok(())
    }

    /// Times forward passes of `batch` images at `state`.
    pub(super) fn time(&self, state: &State, batch: usize, token: &Token) -> Result<(), EvaluateError> {
        let Some(engine) = &self.engine else { return Ok(()) };
        let watch = TaskWatch { inside: self, token, kind: TaskKind::Time };
        let speed = engine.speed(state, &self.inputs(batch)?, Effort::default(), &watch)?;
        let device = engine.network_device().to_owned();
        self.tell(Finding::Speed(Box::new(Timed { recipe: state.recipe.clone(), speed, device })));
        Ok(())
    }

    /// Noise of the size of the images.
    pub(super) fn inputs(&self, batch: usize) -> Result<Vec<(String, Array)>, EvaluateError> {
        let Some(engine) = &self.engine else { return Ok(Vec::new()) };
        let model = engine.model();
        let shape = match &self.images {
            Some(images) => images.preprocess.shape(),
            None => Preprocess::for_model(&model.graph, &model.file.path).0.shape(),
        };
        Ok(noise(&model.graph, batch, Some(shape), 0)?)
    }
}
