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

use std::path::PathBuf;
use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};

use crate::engine::{Engine, EngineError};
use crate::evaluate::{EvaluateError, Evaluator, Questions};
use crate::graph::{ChannelAxis, Graph, ParameterId, ValueId};
use crate::measure::Effect;
use crate::network::{Network, NetworkError, windows};
use crate::onnx::{OpenError, TensorId, Values};
use crate::prune::{
    AddedBias, AddedBiases, Mask, NormStatistics, PruneError, Repair, RepairedLayer, Replaced, RunningStatistics, State, Weights,
};
use crate::watch::{Part, Watch};
use gram::About;
pub use gram::Gram;
use moments::Moments;
use places::Reading;
use sites::{Fit, Fix, Read, Site, Sites};
pub use split::{NotEnough, USUAL_CALIBRATION, calibrating, others, split, spread, usual_calibration};
use squares::Sums;
use walk::{Pair, Walk};

/// What a walk through both networks may hold at once, in bytes, where nobody says otherwise: 1 GB.
pub const USUAL_MEMORY: usize = 1_000_000_000;

/// The layer that answers is fitted to no fewer images for each of its outputs: classes of which hardly an image is there would be taught
/// that nothing is ever one of them.
const IMAGES_PER_OUTPUT: usize = 10;

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
    /// Where the images that calibrate are, for the record; `None` for noise.
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

/// How like the dense network's its answers are: agreement where the network classifies, else how little its outputs are off. `None` where
/// that is no number.
fn closeness(effect: &Effect) -> Option<f64> {
    let errors = &effect.relative_errors;
    let error = (!errors.is_empty()).then(|| errors.iter().map(|(_, error)| error).sum::<f64>() / errors.len() as f64);
    effect.agreement.or(error.map(|error| -error)).filter(|figure| !figure.is_nan())
}

/// A repair, judged on images that did not calibrate.
#[derive(Debug, Clone)]
pub struct Judged {
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
    /// Whether it answers at least as much like the dense network as before. Otherwise the repair should not be kept.
    #[must_use]
    pub fn is_better(&self) -> bool {
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
        Self { calibration: Evaluator::new(engine, calibration, None), options }
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
        Ok(Judged { state, repair, before, after })
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
        let has_norms = start.sites.list.iter().any(|site| matches!(site.fix, Fix::Statistics(_)));
        if let Some(norms) = self.options.norms.or((!has_norms).then_some(NormStatistics::Estimated)) {
            return self.attempt(&start, norms, watch);
        }
        let part = |before: f32, share: f32| Part { whole: watch, what: None, before, share };
        let estimated = self.attempt(&start, NormStatistics::Estimated, &part(0.0, 0.45))?;
        let matched = match self.attempt(&start, NormStatistics::Matched, &part(0.45, 0.45)) {
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

    /// What repairs of `fixed` begin with.
    fn start(&mut self, engine: &Engine, fixed: State, watch: &dyn Watch) -> Result<Start, RepairError> {
        let batches = self.calibration.batches(watch)?;
        let images = batches.iter().map(|batch| batch.images.len()).sum();
        let walk = Walk::new(engine.dense_network()?, engine.pruned_network(&fixed)?, batches, self.options.memory)?;
        let sites = Sites::of(&engine.model().graph, &engine.model().file, &fixed);
        let unrepaired = unrepaired(&walk, &sites.list, watch)?;
        Ok(Start { fixed, sites, unrepaired, walk, images })
    }

    /// Repairs with these running statistics.
    fn attempt(&self, start: &Start, norms: NormStatistics, watch: &dyn Watch) -> Result<(State, Arc<Repair>), RepairError> {
        let Start { fixed, sites, unrepaired, images, .. } = start;
        let mut work = Work::new(self.calibration.engine(), start, norms);
        let mut steps: Vec<At> = sites.list.iter().zip(unrepaired).map(|(site, before)| At::Site(site, before)).collect();
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

/// A repair on its way.
struct Work<'a> {
    engine: &'a Engine,
    /// What was pruned, for good.
    fixed: &'a State,
    norms: NormStatistics,
    walk: Walk,
    weights: Vec<Weights>,
    statistics: RunningStatistics,
    biases: AddedBiases,
    layers: Vec<RepairedLayer>,
    left: Vec<(String, String)>,
}

/// What becomes of a parameter, and the elements that are zero for good.
struct Held {
    values: Vec<f64>,
    zeroed: Mask,
}

/// What all sites give in the dense network and in the pruned one before anything is repaired.
fn unrepaired(walk: &Walk, sites: &[Site], watch: &dyn Watch) -> Result<Vec<Moments>, RepairError> {
    let mut moments = vec![Moments::default(); sites.len()];
    let reads: Vec<(usize, Read)> = sites.iter().enumerate().flat_map(|(i, site)| site.reads.iter().map(move |&read| (i, read))).collect();
    let all: Vec<Read> = reads.iter().map(|(_, read)| *read).collect();
    walk.look(&all, watch, &mut |i, dense, pruned| {
        let site = reads[i].0;
        match sites[site].channels.dimension(dense.shape().len()) {
            Some(axis) => Ok(moments[site].add(dense, pruned, axis)?),
            None => Ok(()),
        }
    })?;
    Ok(moments)
}

impl<'a> Work<'a> {
    fn new(engine: &'a Engine, start: &'a Start, norms: NormStatistics) -> Self {
        let Start { fixed, sites, walk, .. } = start;
        let (weights, statistics, biases) = (fixed.weights.to_vec(), (*fixed.statistics).clone(), (*fixed.biases).clone());
        let (walk, left) = (walk.clone(), sites.left.clone());
        Self { engine, fixed, norms, walk, weights, statistics, biases, layers: Vec::new(), left }
    }

    fn graph(&self) -> &Graph {
        &self.engine.model().graph
    }

    /// Measures what one site gives in both networks, and repairs it. `next` is where the next one begins.
    fn site(&mut self, (site, before): (&Site, &Moments), next: usize, watch: &dyn Watch) -> Result<(), RepairError> {
        let mut moments = Moments::default();
        let reads: Vec<Pair> = site.reads.iter().map(|&read| Pair { dense: read, pruned: read }).collect();
        self.walk.measure(
            (site.start, next),
            &reads,
            watch,
            &mut |dense, pruned, _| match site.channels.dimension(dense.shape().len()) {
                Some(axis) => Ok(moments.add(dense, pruned, axis)?),
                None => Ok(()),
            },
        )?;
        if moments.is_empty() {
            return self.leave(site, "its output is no float array with channels");
        }
        if !moments.is_finite() {
            return self.leave(site, "on these images its output is not finite");
        }
        // Nothing before it was pruned, nor was it.
        if moments.is_same() {
            return Ok(());
        }
        let known_biases = self.biases.len();
        let errors = match &site.fix {
            Fix::Statistics(norm) => self.statistics(norm, &moments, before)?,
            Fix::Rows(rows) => self.rows((rows, site.channels), &moments, before)?,
            Fix::Affine(affine) => self.affine(affine, &moments, before)?,
        };
        match errors {
            Ok((error_before, error_after)) => {
                let adds_bias = self.biases.len() > known_biases;
                let layer = RepairedLayer { name: site.name.clone(), error_before, error_after, lambda: None, adds_bias };
                match self.layers.last_mut().filter(|last| last.name == site.name && last.lambda.is_some()) {
                    // It was fitted just before.
                    Some(fitted) => *fitted = RepairedLayer { lambda: fitted.lambda, ..layer },
                    None => self.layers.push(layer),
                }
                Ok(())
            }
            Err(reason) => self.leave(site, &reason),
        }
    }

    /// Fits the kept weights of a layer; its bias is left to what comes next.
    fn fit(&mut self, fit: &Fit, next: usize, images: usize, watch: &dyn Watch) -> Result<(), RepairError> {
        let Some(mut held) = self.held(fit.weight)? else { return Ok(()) };
        let kept = 1.0 - held.zeroed.pruned() as f64 / held.values.len().max(1) as f64;
        if !Sums::is_bearable(&fit.shape, kept) {
            self.left.push((fit.name.clone(), "it is too large to be fitted".to_owned()));
            return Ok(());
        }
        let outputs = fit.shape.groups * fit.shape.outputs;
        if fit.is_last && images < IMAGES_PER_OUTPUT * outputs {
            let wanted =
                format!("{IMAGES_PER_OUTPUT} images for each of its {outputs} outputs are wanted to fit it, and {images} calibrate");
            self.left.push((fit.name.clone(), wanted));
            return Ok(());
        }
        let mut sums = Sums::new(fit.shape.clone(), images);
        let pair = Pair { dense: Read { before: fit.node + 1, value: fit.output }, pruned: Read { before: fit.node, value: fit.input } };
        let engine = self.engine;
        let node = &engine.model().graph.nodes[fit.node];
        self.walk.measure((fit.start, next), &[pair], watch, &mut |y, x, images| {
            let reading = match &fit.kernel {
                None => Some(Reading::Rows),
                Some(kernel) => x.shape().get(2..).and_then(|spatial| windows(node, kernel, spatial)).map(Reading::Windows),
            };
            match reading {
                Some(reading) => Ok(sums.add(x, y, &reading, images)?),
                None => Ok(()),
            }
        })?;
        if watch.is_cancelled() {
            return Err(EngineError::Cancelled.into());
        }
        let bias = match fit.bias {
            Some(id) => self.held(id)?.map(|held| held.values),
            None => self.biases.get(&fit.weight).map(|added| added.values.to_f64()),
        };
        let about = if fit.is_about_means { About::Means } else { About::Bias(bias) };
        let fitted = sums.fit(&held.values, &held.zeroed, &about, watch);
        if watch.is_cancelled() {
            return Err(EngineError::Cancelled.into());
        }
        let Some(fitted) = fitted else { return Ok(()) };
        let (error_before, error_after) = fitted.errors;
        if let Some(weights) = fitted.weights {
            held.values = weights;
            if !self.replace(vec![(fit.weight, held)]) {
                return Ok(());
            }
        }
        let (name, lambda) = (fit.name.clone(), Some(fitted.lambda));
        self.layers.push(RepairedLayer { name, error_before, error_after, lambda, adds_bias: false });
        Ok(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "ends what can fail")]
    fn leave(&mut self, site: &Site, reason: &str) -> Result<(), RepairError> {
        self.left.push((site.name.clone(), reason.to_owned()));
        Ok(())
    }

    /// A parameter as it is by now, what was fixed in it being zero.
    fn held(&self, id: ParameterId) -> Result<Option<Held>, RepairError> {
        let Some((mut values, zeroed)) = self.engine.fixed(self.fixed, id)? else { return Ok(None) };
        if let Some(replaced) = self.weights[id.0].replaced() {
            values = replaced.values().as_ref().clone();
        }
        zeroed.apply(&mut values);
        Ok(Some(Held { values: values.to_f64(), zeroed }))
    }

    /// Replaces a parameter, in the pruned network too; nothing where it would not be finite.
    fn replace(&mut self, changed: Vec<(ParameterId, Held)>) -> bool {
        let mut made = Vec::with_capacity(changed.len());
        for (id, held) in changed {
            let values = Values::rounded(&held.values, self.graph().parameter(id).dtype);
            if !is_finite(&values) {
                return false;
            }
            made.push((id, Replaced::new(values, held.zeroed)));
        }
        for (id, replaced) in made {
            let network = &mut self.walk.pruned;
            let data = TensorData::new(replaced.values().as_ref().clone().into_f32(), [replaced.values().len()]);
            network.set_parameter(id, Tensor::from_data(data, network.device()));
            self.weights[id.0] = Weights::Replaced(Arc::new(replaced));
        }
        true
    }

    /// Gives layers their bias, in the pruned network too; nothing where it, or their weight, would not be finite.
    fn replace_with_bias(&mut self, (weight, held): (ParameterId, Held), bias: &[f64], outputs: &[ValueId], channels: ChannelAxis) -> bool {
        let dtype = self.graph().parameter(weight).dtype;
        let values = Values::rounded(bias, dtype);
        if !is_finite(&values) || !self.replace(vec![(weight, held)]) {
            return false;
        }
        let network = &mut self.walk.pruned;
        let data = TensorData::new(values.clone().into_f32(), [values.len()]);
        let tensor = Tensor::from_data(data, network.device());
        network.set_bias(outputs, &tensor, dtype);
        self.biases.insert(weight, AddedBias { values: Arc::new(values), outputs: outputs.into(), channels });
        true
    }

    /// Replaces running statistics, in the pruned network too; nothing where they would not be finite.
    fn replace_statistics(&mut self, changed: [(TensorId, Vec<f64>); 2]) -> bool {
        let file = &self.engine.model().file;
        let made = changed.map(|(id, values)| (id, Values::rounded(&values, file.tensor(id).dtype)));
        if !made.iter().all(|(_, values)| is_finite(values)) {
            return false;
        }
        for (id, values) in made {
            let network: &mut Network = &mut self.walk.pruned;
            let data = TensorData::new(values.clone().into_f32(), [values.len()]);
            network.set_statistic(id, Tensor::from_data(data, network.device()));
            self.statistics.insert(id, Arc::new(values));
        }
        true
    }
}

fn is_finite(values: &Values) -> bool {
    match values {
        Values::F32(v) => v.iter().all(|x| x.is_finite()),
        Values::F64(v) => v.iter().all(|x| x.is_finite()),
    }
}
