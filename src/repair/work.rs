//! A repair on its way through a network: what is measured at a place, and what changes there.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};

use super::gram::About;
use super::moments::Moments;
use super::places::Reading;
use super::seen::ImageValues;
use super::sites::{Fit, Fix, Site, ValueAt};
use super::squares::Sums;
use super::walk::{Pair, Walk};
use super::{IMAGES_PER_OUTPUT, RepairError, Start};
use crate::engine::{Engine, EngineError};
use crate::graph::{ChannelAxis, Graph, ParameterId, ValueId};
use crate::network::{Network, windows};
use crate::onnx::{TensorId, Values};
use crate::prune::{AddedBias, AddedBiases, Mask, NormStatistics, RepairedLayer, Replaced, RunningStatistics, State, Weights};
use crate::watch::Watch;

/// A repair on its way.
pub(super) struct RepairWork<'a> {
    pub(super) engine: &'a Engine,
    /// What was pruned, for good.
    pub(super) fixed: &'a State,
    pub(super) norms: NormStatistics,
    has_norms: bool,
    walk: Walk,
    pub(super) weights: Vec<Weights>,
    pub(super) statistics: RunningStatistics,
    pub(super) biases: AddedBiases,
    pub(super) layers: Vec<RepairedLayer>,
    pub(super) left: Vec<(String, String)>,
}

/// What becomes of a parameter, and the elements that are zero for good.
pub(super) struct NewValues {
    pub(super) values: Vec<f64>,
    pub(super) zeroed: Mask,
}

/// What all sites give in the dense network and in the pruned one before anything is repaired.
pub(super) fn unrepaired(walk: &Walk, sites: &[Site], watch: &dyn Watch) -> Result<Vec<Moments>, RepairError> {
    let mut moments = vec![Moments::default(); sites.len()];
    let reads: Vec<(usize, ValueAt)> =
        sites.iter().enumerate().flat_map(|(i, site)| site.reads.iter().map(move |&read| (i, read))).collect();
    let all: Vec<ValueAt> = reads.iter().map(|(_, read)| *read).collect();
    walk.look(&all, watch, &mut |i, dense, pruned| {
        let site = reads[i].0;
        Ok(moments[site].add(dense, pruned, sites[site].channels)?)
    })?;
    Ok(moments)
}

impl<'a> RepairWork<'a> {
    pub(super) fn new(engine: &'a Engine, start: &'a Start, norms: NormStatistics, memory: usize) -> Self {
        let Start { fixed, sites, walk, .. } = start;
        let (weights, statistics, biases) = (fixed.weights.to_vec(), (*fixed.statistics).clone(), (*fixed.biases).clone());
        let (walk, left) = (walk.clone().within(memory), sites.left.clone());
        let has_norms = sites.has_norms();
        Self { engine, fixed, norms, has_norms, walk, weights, statistics, biases, layers: Vec::new(), left }
    }

    /// Whether the layer that answers stays as it is. Estimated anew, batch normalisation gives its own scale to what follows, which need not
    /// be the dense network's. A layer that is scaled too takes that back; the last one, which is only shifted, would be off.
    pub(super) fn leaves_last(&self) -> bool {
        self.has_norms && self.norms == NormStatistics::Estimated
    }

    pub(super) fn graph(&self) -> &Graph {
        &self.engine.model().graph
    }

    /// Measures what one site gives in both networks, and repairs it. `next` is where the next one begins.
    pub(super) fn site(&mut self, (site, before): (&Site, &Moments), next: usize, watch: &dyn Watch) -> Result<(), RepairError> {
        let mut moments = Moments::default();
        let reads: Vec<Pair> = site.reads.iter().map(|&read| Pair { dense: read, pruned: read }).collect();
        let add = &mut |dense: &ImageValues, pruned: &ImageValues, _| Ok(moments.add(dense, pruned, site.channels)?);
        self.walk.measure((site.start, next), &reads, watch, add)?;
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
    pub(super) fn fit(&mut self, fit: &Fit, next: usize, images: usize, watch: &dyn Watch) -> Result<(), RepairError> {
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
        let pair =
            Pair { dense: ValueAt { before: fit.node + 1, value: fit.output }, pruned: ValueAt { before: fit.node, value: fit.input } };
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
        let about = if fit.is_about_means && !(fit.is_last && self.leaves_last()) { About::Means } else { About::Bias(bias) };
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
    pub(super) fn held(&self, id: ParameterId) -> Result<Option<NewValues>, RepairError> {
        let Some((mut values, zeroed)) = self.engine.fixed(self.fixed, id)? else { return Ok(None) };
        if let Some(replaced) = self.weights[id.0].replaced() {
            values = replaced.values().as_ref().clone();
        }
        zeroed.apply(&mut values);
        Ok(Some(NewValues { values: values.to_f64(), zeroed }))
    }

    /// Replaces a parameter, in the pruned network too; nothing where it would not be finite.
    pub(super) fn replace(&mut self, changed: Vec<(ParameterId, NewValues)>) -> bool {
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
    pub(super) fn replace_with_bias(
        &mut self,
        (weight, held): (ParameterId, NewValues),
        bias: &[f64],
        outputs: &[ValueId],
        channels: ChannelAxis,
    ) -> bool {
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
    pub(super) fn replace_statistics(&mut self, changed: [(TensorId, Vec<f64>); 2]) -> bool {
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
