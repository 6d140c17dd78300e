//! Repair: what is left of a pruned network made to answer as the dense one did, from images without labels and without training.
//!
//! A [`Repairer`] goes through both networks side by side, layer after layer in graph order, the pruned network's own activations as
//! inputs, the dense network's outputs as targets. Where batch normalisation was kept, its running statistics are changed, every other
//! layer, and every affine part of a normalisation, is scaled and shifted per output channel, so that the mean and the deviation of what
//! it gives over the images are the dense network's. A layer without a bias gets one; it is kept beside the
//! parameters, see [`crate::prune::AddedBias`]. What is pruned stays exactly zero.
//!
//! A thorough repair fits the kept weights first, see `squares`.
//!
//! [`Repairer::judged`] compares both networks' answers to images that did not calibrate, before and after: a repair that lowers their
//! agreement does not count. What is measured is left to [`crate::evaluate`], what runs to [`crate::network`].

mod finder;
mod gpu;
mod gram;
mod moments;
mod places;
mod seen;
mod sites;
mod split;
mod squares;
mod statistics;
mod walk;
mod work;

use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::{Engine, EngineError};
use crate::evaluate::{EvaluateError, Evaluator, Questions};
use crate::measure::Effect;
use crate::network::NetworkError;
use crate::onnx::OpenError;
use crate::prune::{NormStatistics, PruneError, Repair, State};
use crate::watch::{Part, Watch};
pub use gram::Gram;
use moments::Moments;
use sites::{Fit, Site, Sites};
pub use split::{NotEnough, USUAL_CALIBRATION, calibrating, others, split, spread, usual_calibration};
use walk::Walk;
use work::{RepairWork, unrepaired};

/// What a walk through both networks may hold at once, in bytes, where nobody says otherwise: 1 GB.
pub const USUAL_MEMORY: usize = 1_000_000_000;

/// The layer that answers is fitted to no fewer images for each of its outputs: classes of which hardly an image is there would be taught
/// that nothing is ever one of them.
const IMAGES_PER_OUTPUT: usize = 10;

/// Pixels that go through both networks at once: activations of many large images would exceed [`USUAL_MEMORY`] by themselves.
const BATCH_PIXELS: usize = 1 << 20;

/// Of some hundred images, agreement that differs by no more may do so by chance.
const CHANCE: f64 = 0.02;

/// Why nothing was repaired. Nothing changes.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The networks could not be run or measured.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// Nothing was pruned.
    #[error("nothing to repair: nothing of this network is pruned")]
    Unpruned,
    /// No layer could be repaired.
    #[error("nothing was repaired: {reason}")]
    Nothing {
        /// Why the first of them was left.
        reason: String,
    },
}

impl From<EngineError> for RepairError {
    fn from(error: EngineError) -> Self {
        Self::Evaluate(error.into())
    }
}

impl From<NetworkError> for RepairError {
    fn from(error: NetworkError) -> Self {
        Self::Evaluate(error.into())
    }
}

impl From<OpenError> for RepairError {
    fn from(error: OpenError) -> Self {
        EngineError::from(error).into()
    }
}

/// How to repair.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Fit the kept weights by least squares first.
    pub is_thorough: bool,
    /// Bytes that live activations of both networks may take together.
    pub memory: usize,
    /// Where the images that calibrate are, for the record.
    pub images: Option<PathBuf>,
    /// What running statistics become; `None` for estimates, unless matched ones agree clearly more with the dense network on the images
    /// that calibrate.
    pub norms: Option<NormStatistics>,
}

impl Default for Options {
    fn default() -> Self {
        Self { is_thorough: false, memory: USUAL_MEMORY, images: None, norms: None }
    }
}

/// By how much its outputs are off, in the mean over them; `None` where none can be compared.
fn relative_error(effect: &Effect) -> Option<f64> {
    let errors = &effect.relative_errors;
    (!errors.is_empty()).then(|| errors.iter().map(|(_, error)| error).sum::<f64>() / errors.len() as f64)
}

/// How like the dense network's its answers are: agreement where the network classifies, else how little its outputs are off. `None` where
/// that is no number.
fn closeness(effect: &Effect) -> Option<f64> {
    effect.agreement.or(relative_error(effect).map(|error| -error)).filter(|figure| !figure.is_nan())
}

/// A repair, judged on images that did not calibrate.
#[derive(Debug, Clone)]
pub struct Judged {
    /// Whether noise calibrated, and noise of another kind judged.
    pub is_by_noise: bool,
    /// The network as repaired.
    pub state: State,
    /// What was done.
    pub repair: Arc<Repair>,
    /// What the pruned network answered before.
    pub before: Effect,
    /// What it answers now.
    pub after: Effect,
}

impl Judged {
    /// Whether it answers at least as much like the dense network as before, by noise with as large a mean cosine. Otherwise the repair should
    /// not be kept.
    #[must_use]
    pub fn is_better(&self) -> bool {
        // The first answers to noise are often the same few classes, so that agreement tells less than the cosine.
        let closeness = |effect: &Effect| match effect.mean_cosine {
            Some(cosine) if self.is_by_noise => Some(cosine).filter(|cosine| !cosine.is_nan()),
            _ => closeness(effect),
        };
        match (closeness(&self.before), closeness(&self.after)) {
            (Some(before), Some(after)) => after >= before,
            // Answers that cannot be compared are none.
            (before, after) => after.is_some() || before.is_none(),
        }
    }
}

/// Repairs pruned networks with the same images.
#[derive(Debug)]
pub struct Repairer {
    calibration: Evaluator,
    options: Options,
}

impl Repairer {
    /// Calibrates on these images.
    #[must_use]
    pub fn new(engine: Arc<Engine>, calibration: Questions, options: Options) -> Self {
        Self { calibration: Evaluator::new(engine, calibration.of_pixels(BATCH_PIXELS), None), options }
    }

    /// How it repairs.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Repairs the network as pruned in `state`, and has `judge` compare it with the dense network before and after.
    ///
    /// # Errors
    /// As [`Self::repair`], and what `judge` cannot measure.
    pub fn judged(&mut self, judge: &mut Evaluator, state: &State, watch: &dyn Watch) -> Result<Judged, RepairError> {
        let part = |before: f32, share: f32| Part { whole: watch, what: None, before, share };
        let before = judge.effect(state, None, &part(0.0, 0.1))?;
        let (state, repair) = self.repair(state, &part(0.1, 0.8))?;
        let after = judge.effect(&state, None, &part(0.9, 0.1))?;
        Ok(Judged { is_by_noise: self.is_noise(), state, repair, before, after })
    }

    /// What the network as pruned in `state` costs once it is repaired, or as it is where repair does no good; `None` where its method does
    /// not reach its amount.
    ///
    /// # Errors
    /// As [`Evaluator::effect`].
    pub fn effect(&mut self, judge: &mut Evaluator, state: &State, watch: &dyn Watch) -> Result<Option<Effect>, EvaluateError> {
        match self.judged(judge, state, watch) {
            Ok(judged) => Ok(Some(if judged.is_better() { judged.after } else { judged.before })),
            Err(RepairError::Evaluate(error)) if error.is_beyond_reach() => Ok(None),
            Err(RepairError::Evaluate(error)) => Err(error),
            Err(RepairError::Unpruned | RepairError::Nothing { .. }) => judge.effect_within_reach(state, watch),
        }
    }

    /// The network as pruned in `state`, its masks made permanent and what is left repaired, as one step. It is for the caller to judge
    /// whether that was any good.
    ///
    /// # Errors
    /// [`RepairError`]; [`EngineError::Cancelled`] when it was stopped.
    pub fn repair(&mut self, state: &State, watch: &dyn Watch) -> Result<(State, Arc<Repair>), RepairError> {
        let engine = self.calibration.engine().clone();
        let fixed = match engine.fix(state) {
            Ok(fixed) => fixed,
            Err(EngineError::Prune(PruneError::EmptyScope)) if state.has_fixed() => state.clone(),
            Err(EngineError::Prune(PruneError::EmptyScope)) => return Err(RepairError::Unpruned),
            Err(error) => return Err(error.into()),
        };
        if !fixed.has_fixed() {
            return Err(RepairError::Unpruned);
        }
        let start = self.start(&engine, fixed, watch)?;
        if let Some(norms) = self.norms(&start) {
            return self.attempt(&start, norms, self.options.memory, watch);
        }
        let part = |before: f32, share: f32| Part { whole: watch, what: None, before, share };
        let (estimated, matched) = self.attempts(&start, watch)?;
        let matched = match matched {
            Err(RepairError::Nothing { .. }) => return Ok(estimated),
            matched => matched?,
        };
        let mut close = |state: &State, part: &dyn Watch| -> Result<Option<f64>, RepairError> {
            Ok(closeness(&self.calibration.effect(state, None, part)?))
        };
        let is_closer = match (close(&matched.0, &part(0.9, 0.05))?, close(&estimated.0, &part(0.95, 0.05))?) {
            (Some(matched), Some(estimated)) => matched > estimated + CHANCE,
            (matched, estimated) => matched.is_some() && estimated.is_none(),
        };
        Ok(if is_closer { matched } else { estimated })
    }

    /// Whether noise calibrates.
    fn is_noise(&self) -> bool {
        self.calibration.questions().is_noise()
    }

    /// What running statistics become, where that is no question.
    fn norms(&self, start: &Start) -> Option<NormStatistics> {
        match &self.options {
            Options { norms: Some(norms), .. } => Some(*norms),
            _ if !start.sites.has_norms() => Some(NormStatistics::Estimated),
            // Estimates would be the noise's own.
            _ => self.is_noise().then_some(NormStatistics::Matched),
        }
    }

    /// What repairs of `fixed` begin with.
    fn start(&mut self, engine: &Engine, fixed: State, watch: &dyn Watch) -> Result<Start, RepairError> {
        let batches = self.calibration.batches(watch)?;
        let images = batches.iter().map(|batch| batch.images.len()).sum();
        let walk = Walk::new(engine.dense_network()?, engine.pruned_network(&fixed)?, batches, self.options.memory)?;
        let sites = Sites::of(&engine.model().graph, &engine.model().file, &fixed);
        let unrepaired = unrepaired(&walk, &sites.list, watch)?;
        Ok(Start { fixed, sites, unrepaired, walk, images })
    }

    /// Repairs with running statistics that are estimated, and with matched ones: side by side on the host, where sums of least squares do
    /// not take much memory, for one layer of some images is often too little for all cores. A failure of the first is told before that of
    /// the second.
    fn attempts(&self, start: &Start, watch: &dyn Watch) -> Result<(Attempt, Result<Attempt, RepairError>), RepairError> {
        let part = |before: f32, share: f32| Part { whole: watch, what: None, before, share };
        let (estimated, matched) = (NormStatistics::Estimated, NormStatistics::Matched);
        if self.options.is_thorough || start.walk.is_on_gpu() {
            let estimated = self.attempt(start, estimated, self.options.memory, &part(0.0, 0.45))?;
            return Ok((estimated, self.attempt(start, matched, self.options.memory, &part(0.45, 0.45))));
        }
        let memory = self.options.memory / 2;
        let (estimated, matched) = rayon::join(
            || self.attempt(start, estimated, memory, &part(0.0, 0.9)),
            || self.attempt(start, matched, memory, &Silent(watch)),
        );
        Ok((estimated?, matched))
    }

    /// Repairs with these running statistics.
    fn attempt(&self, start: &Start, norms: NormStatistics, memory: usize, watch: &dyn Watch) -> Result<Attempt, RepairError> {
        let Start { fixed, sites, unrepaired, images, .. } = start;
        let mut work = RepairWork::new(self.calibration.engine(), start, norms, memory);
        let sites_before = sites.list.iter().zip(unrepaired).filter(|(site, _)| !(site.is_last() && work.leaves_last()));
        let mut steps: Vec<At> = sites_before.map(|(site, before)| At::Site(site, before)).collect();
        if self.options.is_thorough {
            steps.extend(sites.fits.iter().map(At::Fit));
        }
        // What is fitted is fitted first.
        steps.sort_by_key(|step| (step.start(), matches!(step, At::Site(..))));
        let total = steps.len().max(1) as f32;
        for (i, step) in steps.iter().enumerate() {
            let next = steps.get(i + 1).map_or(usize::MAX, At::start);
            watch.progress(i as f32 / total, &format!("Repairing {}", step.name()));
            match step {
                At::Fit(fit) => work.fit(fit, next, *images, watch)?,
                At::Site(site, before) => work.site((site, before), next, watch)?,
            }
        }
        if work.layers.is_empty() {
            let reason = match work.left.first() {
                Some((name, reason)) => format!("“{name}”: {reason}"),
                None => "no layer behind what was pruned answers otherwise on these images".to_owned(),
            };
            return Err(RepairError::Nothing { reason });
        }
        // What was not fitted, but scaled or shifted, was not left.
        work.left.retain(|(name, _)| !work.layers.iter().any(|layer| layer.name == *name));
        let repair = Arc::new(Repair {
            images: self.options.images.clone(),
            calibration_images: *images,
            is_thorough: self.options.is_thorough,
            norms: (work.statistics != *fixed.statistics).then_some(norms),
            layers: work.layers,
            left: work.left,
        });
        let state = fixed.repaired(work.weights.into(), Arc::new(work.statistics), Arc::new(work.biases), repair.clone());
        Ok((state, repair))
    }
}

/// The network as repaired, and what was done.
type Attempt = (State, Arc<Repair>);

/// Stops with whoever waits, and reports nothing.
struct Silent<'a>(&'a dyn Watch);

impl Watch for Silent<'_> {
    fn progress(&self, _: f32, _: &str) {}

    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

/// What repairs of the same network begin with.
struct Start {
    /// What was pruned, for good.
    fixed: State,
    sites: Sites,
    /// What all sites give in the dense network and in the pruned one before anything is repaired.
    unrepaired: Vec<Moments>,
    /// Before the first layer.
    walk: Walk,
    /// How many calibrate.
    images: usize,
}

/// One step of a repair.
#[derive(Clone, Copy)]
enum At<'a> {
    Fit(&'a Fit),
    /// With what it gives in the network that is not repaired.
    Site(&'a Site, &'a Moments),
}

impl At<'_> {
    fn start(&self) -> usize {
        match self {
            Self::Fit(fit) => fit.start,
            Self::Site(site, _) => site.start,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Fit(fit) => &fit.name,
            Self::Site(site, _) => &site.name,
        }
    }
}
