//! What pruning saves: bytes, multiply-accumulates, time. It needs no images.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Bench, Measured};
use crate::evaluate::{EvaluateError, noise};
use crate::images::Preprocess;
use crate::measure::{Bytes, Effort, ParameterSize, Speed};
use crate::network::Array;
use crate::prune::{Method, Settings, State};
use crate::session::{SessionError, Watch};

/// What the parameters weigh at a position of the slider, one entry per parameter.
#[derive(Debug, Clone)]
pub struct Sizes {
    /// The position.
    pub settings: Settings,
    /// As opened.
    pub dense: Arc<[ParameterSize]>,
    /// Layer-wise; `None` where it cannot be applied here.
    pub layer_wise: Option<Vec<ParameterSize>>,
    /// Global; `None` where it cannot be applied here.
    pub global: Option<Vec<ParameterSize>>,
}

impl Sizes {
    /// Those of a method.
    #[must_use]
    pub fn of(&self, method: Method) -> Option<&[ParameterSize]> {
        match method {
            Method::LayerWise => self.layer_wise.as_deref(),
            Method::Global => self.global.as_deref(),
        }
    }

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
    pub settings: Settings,
    /// What was measured.
    pub speed: Speed,
    /// Name of the device.
    pub device: String,
}

/// Stops at news; tells how far it is where that is asked for.
struct Watching<'a> {
    waiting: &'a AtomicUsize,
    tell: Option<&'a (dyn Fn(Measured) + Send + Sync)>,
}

impl Watch for Watching<'_> {
    fn progress(&self, done: f32, _: &str) {
        if let Some(tell) = self.tell {
            tell(Measured::Progress(Some((done, "Speed"))));
        }
    }

    fn is_cancelled(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

impl Bench {
    /// Counts multiply-accumulates, once for every model, and weighs the position where that is wanted.
    pub(super) fn measure_savings(&mut self) -> Result<(), EvaluateError> {
        let Some(state) = self.position.clone() else { return Ok(()) };
        if !self.has_work && (self.weighs || self.evaluator.is_some()) {
            let inputs = self.inputs(1);
            let Some(session) = &mut self.session else { return Ok(()) };
            let watch = Watching { waiting: &self.inbox.waiting, tell: None };
            // What the operators lack is told before what the inputs lack.
            let work = session.dense_network().map_err(EvaluateError::from).and_then(|_| Ok(session.work(&inputs?, &watch)?));
            let work = match work {
                Err(EvaluateError::Session(SessionError::Cancelled)) => return Err(SessionError::Cancelled.into()),
                Err(error) => Err(error.to_string()),
                Ok(work) => Ok(Arc::new(work)),
            };
            self.has_work = true;
            (self.tell)(Measured::Work(work));
        }
        if !self.weighs || self.weighed.as_ref() == Some(&state) {
            return Ok(());
        }
        let Some(session) = &mut self.session else { return Ok(()) };
        let watch = Watching { waiting: &self.inbox.waiting, tell: None };
        let dense = match &self.dense_sizes {
            Some(dense) => dense.clone(),
            None => self.dense_sizes.insert(session.dense_sizes(&watch)?.into()).clone(),
        };
        let mut of = |method| {
            session.set_state(State { settings: Settings { method, ..state.settings.clone() }, ..state.clone() });
            match session.sizes(&dense, &watch) {
                Ok(sizes) => Ok(Some(sizes)),
                Err(SessionError::Prune(_)) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let (layer_wise, global) = (of(Method::LayerWise)?, of(Method::Global)?);
        let sizes = Sizes { settings: state.settings.clone(), dense, layer_wise, global };
        self.weighed = Some(state);
        (self.tell)(Measured::Sizes(Arc::new(sizes)));
        Ok(())
    }

    /// Times forward passes of `batch` images at `state`.
    pub(super) fn time(&mut self, state: State, batch: usize) -> Result<(), EvaluateError> {
        let inputs = self.inputs(batch)?;
        let Some(session) = &mut self.session else { return Ok(()) };
        let watch = Watching { waiting: &self.inbox.waiting, tell: Some(&*self.tell) };
        let settings = state.settings.clone();
        session.set_state(state);
        let speed = session.speed(&inputs, Effort::default(), &watch)?;
        (self.tell)(Measured::Speed(Box::new(Timed { settings, speed, device: session.network_device().to_owned() })));
        Ok(())
    }

    /// Noise of the size of the images.
    fn inputs(&self, batch: usize) -> Result<Vec<(String, Array)>, EvaluateError> {
        let Some(session) = &self.session else { return Ok(Vec::new()) };
        let model = session.model();
        let shape = match &self.images {
            Some(images) => images.preprocess.shape(),
            None => Preprocess::for_model(&model.graph, &model.file.path).0.shape(),
        };
        Ok(noise(&model.graph, batch, Some(shape), 0)?)
    }
}
