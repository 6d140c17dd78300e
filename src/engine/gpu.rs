//! A model's weights on the GPU, and masks made there and read back.

use std::sync::Arc;

use burn::tensor::Tensor;

use super::{Engine, EngineError, lock};
use crate::device::ComputeDevice;
use crate::export::{Masks, ParameterMasks};
use crate::graph::ParameterId;
use crate::measure::Outcome;
use crate::onnx::Values;
use crate::prune::device::{DeviceError, DeviceScores, DeviceWeights, Rows};
use crate::prune::{Mask, Masked, Method, Pattern, Recipe, Replaced, Score, State, Weights};

/// What of the weights is on the GPU.
#[derive(Debug, Default)]
pub(super) enum Gpu {
    /// Nothing yet, or nothing after a failure.
    #[default]
    Empty,
    /// All of them.
    Holds(Box<GpuWeights>),
    /// They exceed what it can hold: the host prunes.
    TooSmall,
}

impl Engine {
    /// Lends the GPU's copy of the weights, made when first asked for; after a failure it is made anew. `None` where the host
    /// prunes.
    pub(super) fn with_gpu<T>(
        &self,
        state: &State,
        act: impl FnOnce(&mut GpuWeights) -> Result<T, EngineError>,
    ) -> Result<Option<T>, EngineError> {
        let Some(device) = self.gpu_for(state) else { return Ok(None) };
        let mut gpu = lock(&self.gpu);
        let held = match std::mem::take(&mut *gpu) {
            // Weights that were replaced are others to rank and to restore.
            Gpu::Holds(weights) if !weights.holds(state) => Gpu::Empty,
            held => held,
        };
        let mut weights = match held {
            Gpu::Holds(weights) => weights,
            Gpu::TooSmall => {
                *gpu = Gpu::TooSmall;
                return Ok(None);
            }
            Gpu::Empty => match GpuWeights::new(self, state, device) {
                Err(EngineError::Device(DeviceError::TooLarge { .. })) => {
                    *gpu = Gpu::TooSmall;
                    return Ok(None);
                }
                made => Box::new(made?),
            },
        };
        let result = act(&mut weights)?;
        *gpu = Gpu::Holds(weights);
        Ok(Some(result))
    }
}

/// The weights on a GPU, with what was fixed in them.
#[derive(Debug)]
pub(super) struct GpuWeights {
    weights: DeviceWeights,
    /// The parameters that are there, in graph order.
    parameters: Vec<ParameterId>,
    /// What was fixed in them, per parameter of the graph.
    fixed: Arc<[Weights]>,
    /// What they were copied from where that is not the file, per parameter of the graph.
    replaced: Vec<Option<Arc<Replaced>>>,
    /// The scores that are there, and the state that they were worked out for, whatever its method and amount.
    scores: Option<(State, DeviceScores)>,
    adapter: String,
}

/// What the GPU found.
pub(super) struct GpuCut {
    pub(super) cut: Option<f64>,
    pub(super) ties: u64,
}

impl GpuWeights {
    /// Copies every parameter that is no double to the device, as it was opened or replaced.
    fn new(engine: &Engine, state: &State, device: &ComputeDevice) -> Result<Self, EngineError> {
        let model = &engine.model;
        let (mut parameters, mut values) = (Vec::new(), Vec::new());
        for id in (0..model.graph.parameters.len()).map(ParameterId) {
            if let Some(Values::F32(narrow)) = engine.values(state, id)? {
                parameters.push(id);
                values.push(narrow);
            }
        }
        let weights = DeviceWeights::upload(values.iter().map(Vec::as_slice), &device.device)?;
        let fixed = vec![Weights::AsOpened; model.graph.parameters.len()].into();
        let replaced = state.weights.iter().map(|weights| weights.replaced().cloned()).collect();
        Ok(Self { weights, parameters, fixed, replaced, scores: None, adapter: device.name.clone() })
    }

    /// Whether the weights of `state` are those that were copied, but for what is zero in them.
    fn holds(&self, state: &State) -> bool {
        self.replaced.iter().zip(state.weights.iter()).all(|(known, weights)| known.as_ref() == weights.replaced())
    }

    /// Masks as `outcome` says, with the device's own cut.
    pub(super) fn prune(&mut self, engine: &Engine, state: &State, outcome: &Outcome) -> Result<GpuCut, EngineError> {
        if self.fixed != state.weights {
            self.weights.unfix();
            let fixed: Vec<Masked> = state.weights.iter().map(|weights| weights.zeroed().clone()).collect();
            self.mask(engine, state, &fixed)?;
            self.weights.fix()?;
            self.fixed = state.weights.clone();
        }
        self.weights.reset();
        self.mask(engine, state, &state.kept)?;
        let scope = state.recipe.scope(&engine.model.graph);
        let inside: Vec<bool> = self.parameters.iter().map(|id| scope.binary_search(id).is_ok()).collect();
        let wanted: Vec<u64> = self.parameters.iter().map(|id| outcome.masked[id.0] - state.kept[id.0].count()).collect();
        let recipe = &state.recipe;
        let is_by_score = recipe.pattern == Pattern::Elements && !matches!(recipe.score, Score::Wanda(_));
        let scores = if recipe.is_by_magnitude() { None } else { Some(self.scores(engine, state, &scope, is_by_score)?) };
        // An amount of one's own is a number for a parameter, whatever the others share; places in an order compare within it alone.
        let is_global = outcome.method == Method::Global
            && !recipe.is_decided()
            && is_by_score
            && scope.iter().all(|&id| state.recipe.own[engine.model.graph.parameter(id).module.0].is_none());
        let (rows, wanted) = match outcome.method {
            Method::Global if is_global => (Rows::Together, vec![wanted.iter().sum()]),
            // Numbers of every parameter, which the host worked out.
            _ => (Rows::Each, wanted),
        };
        let selection = match &scores {
            Some(scores) => self.weights.select_by(scores, &inside, rows, &wanted)?,
            None => self.weights.select(&inside, rows, &wanted)?,
        };
        let disagreement = self.parameters.iter().zip(&selection.counts).find(|(id, count)| outcome.masked[id.0] != **count);
        if let Some((id, &found)) = disagreement {
            let expected = outcome.masked[id.0];
            return Err(DeviceError::Disagrees {
                adapter: self.adapter.clone(),
                step: "selecting",
                what: "a parameter's number of pruned elements",
                expected,
                found,
            }
            .into());
        }
        let ties = match outcome.method {
            Method::Global if is_global => selection.ties.iter().sum(),
            // Only cuts that elements which stay share count, and those the host knows.
            _ => outcome.ties,
        };
        let cut = if is_global { selection.cuts.iter().copied().flatten().next().map(f64::from) } else { outcome.cut };
        Ok(GpuCut { cut, ties })
    }

    /// What ranks the elements of the scope where it is not their magnitudes, on the device: their scores, or else their places in the
    /// order. They are kept for the next amount.
    fn scores(&mut self, engine: &Engine, state: &State, scope: &[ParameterId], is_by_score: bool) -> Result<DeviceScores, EngineError> {
        let recipe = &state.recipe;
        let own = vec![None; recipe.own.len()];
        let key = state.with(Recipe { own, method: Method::Global, ..recipe.without_amount() });
        if let Some((_, scores)) = self.scores.as_ref().filter(|(known, _)| *known == key) {
            return Ok(scores.clone());
        }
        self.scores = None;
        let graph = &engine.model.graph;
        let one = |id: &ParameterId| -> Result<Vec<f32>, EngineError> {
            let parameter = graph.parameter(*id);
            if scope.binary_search(id).is_err() {
                return Ok(vec![0.0; parameter.elements]);
            }
            let values = if is_by_score { engine.values(state, *id)? } else { None };
            if let Some(values) = values {
                let scores = recipe.score.of(parameter, *id, parameter.axes(graph.owner(*id).role), &values);
                return Ok(scores.map_or_else(|| vec![0.0; parameter.elements], Values::into_f32));
            }
            let order = engine.standing(state, *id).and_then(|standing| standing.order);
            Ok(order.map_or_else(|| vec![0.0; parameter.elements], |order| order.places(parameter.elements)))
        };
        let scores = self.parameters.iter().map(one).collect::<Result<Vec<_>, _>>()?;
        let scores = self.weights.upload_scores(scores.iter().map(Vec::as_slice))?;
        self.scores = Some((key, scores.clone()));
        Ok(scores)
    }

    /// Masks these elements, one entry per parameter of the graph, on weights without a mask: where they are prefixes the device
    /// finds them itself.
    fn mask(&mut self, engine: &Engine, state: &State, masked: &[Masked]) -> Result<(), EngineError> {
        let prefixes: Option<Vec<u64>> = self.parameters.iter().map(|id| masked[id.0].prefix()).collect();
        if let Some(prefixes) = prefixes {
            let all = vec![true; self.parameters.len()];
            self.weights.select(&all, Rows::Each, &prefixes)?;
            return Ok(());
        }
        let one = |id: &ParameterId| -> Result<Vec<u64>, EngineError> {
            let parameter = engine.model.graph.parameter(*id);
            let none = || vec![0; parameter.elements.div_ceil(64)];
            let Some(ranking) = engine.rankings[id.0].as_ref().filter(|_| !masked[id.0].is_nothing()) else { return Ok(none()) };
            Ok(engine.values(state, *id)?.map_or_else(none, |v| masked[id.0].mask(&v, ranking).into_words()))
        };
        let masks = self.parameters.iter().map(one).collect::<Result<Vec<_>, _>>()?;
        Ok(self.weights.set_masks(&masks)?)
    }

    /// Reads back the masks of the last [`GpuWeights::prune`].
    pub(super) fn masks(&self, engine: &Engine, state: &State, outcome: &Outcome) -> Result<Masks, EngineError> {
        let graph = &engine.model.graph;
        let scope = state.recipe.scope(graph);
        let mut masks = Masks::new();
        for (id, words) in self.parameters.iter().zip(self.weights.all_masks()?) {
            let wanted = scope.binary_search(id).is_ok() || outcome.masked[id.0] > 0 || state.has_changed(id.0);
            let (Some(ranking), true) = (engine.rankings[id.0].as_ref(), wanted) else { continue };
            let elements = graph.parameter(*id).elements;
            let zeroed = state.weights[id.0].zeroed();
            let values = if zeroed.is_nothing() { None } else { engine.values(state, *id)? };
            let fixed = values.map_or_else(|| Mask::from_words(Vec::new(), elements), |v| zeroed.mask(&v, ranking));
            masks.insert(*id, ParameterMasks { fixed, mask: Mask::from_words(words, elements) });
        }
        Ok(masks)
    }

    /// Weights × mask of the last [`GpuWeights::prune`], on the device.
    pub(super) fn pruned(&mut self) -> Result<Vec<(ParameterId, Tensor<1>)>, DeviceError> {
        let weights = &mut self.weights;
        self.parameters.iter().enumerate().map(|(i, id)| Ok((*id, weights.pruned_tensor(i)?))).collect()
    }

    /// The weights as opened, on the device.
    pub(super) fn opened(&self) -> Result<Vec<(ParameterId, Tensor<1>)>, DeviceError> {
        self.parameters.iter().enumerate().map(|(i, id)| Ok((*id, self.weights.opened_tensor(i)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::device::DeviceChoice;
    use crate::prune::Amount;
    use crate::watch::Unwatched;

    /// Weights that no adapter takes are not at hand; what is done where one refuses them is.
    #[test]
    fn weights_that_exceed_the_gpu_are_pruned_by_the_host() {
        let engine = Engine::open(Path::new("assets/mobilenetv4_digits.onnx"), &Unwatched).unwrap();
        let opened = engine.opened();
        let state = opened.with(Recipe { amount: Amount::Fraction(0.5), ..opened.recipe.clone() });
        let wanted = engine.host_masks(&state).unwrap();
        let cpu = ComputeDevice::open(DeviceChoice::Cpu).unwrap();
        let engine = engine.on(ComputeDevice { is_gpu: true, name: "a small GPU".into(), ..cpu });
        *lock(&engine.gpu) = Gpu::TooSmall;
        assert_eq!((engine.mask_device(&state), engine.network_device()), ("CPU", "a small GPU"));
        assert!(engine.masks(&state).unwrap() == wanted);
        // What is no GPU at all is refused, and not taken for a small one.
        *lock(&engine.gpu) = Gpu::Empty;
        assert!(matches!(engine.masks(&state), Err(EngineError::Device(DeviceError::NotGpu { .. }))));
    }
}
