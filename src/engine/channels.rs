//! Channels of the network that an engine holds: found, masked, removed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::{Engine, EngineError, Model};
use crate::atomic::Overwrite;
use crate::channels::{ChannelScore, Channels, RemoveError, Removed, Smaller};
use crate::export::{self, Changes, Format, Report};
use crate::graph::{ChannelAxis, ParameterId};
use crate::network::Array;
use crate::onnx::{self, TensorId, Values};
use crate::prune::{AddedBias, Mask, Masked, PruneError, State, Weights};
use crate::watch::Watch;

impl Engine {
    /// The channels of the network, from one pass of these inputs.
    ///
    /// # Errors
    /// A network that cannot be run.
    pub fn channels(&self, inputs: &[(String, Array)], watch: &dyn Watch) -> Result<Channels, EngineError> {
        let (work, trace) = self.dense_network()?.work_and_trace(inputs, watch)?;
        Ok(Channels::find(&self.model.graph, &self.model.file, trace, work))
    }

    /// Scores of all units of `channels` in `state`.
    ///
    /// # Errors
    /// External data that can no longer be read.
    pub fn channel_scores(&self, state: &State, channels: &Channels, score: ChannelScore) -> Result<Vec<f64>, EngineError> {
        Ok(channels.rank(score, |id| {
            Ok(self.fixed(state, id)?.map(|(mut values, zeroed)| {
                zeroed.apply(&mut values);
                values
            }))
        })?)
    }

    /// The masked twin: `state` with every slice of what is removed masked too.
    ///
    /// # Errors
    /// External data that can no longer be read.
    pub fn twin(&self, state: &State, channels: &Channels, removed: &Removed) -> Result<State, EngineError> {
        let masks = channels.masks(removed);
        let mut kept = state.kept.to_vec();
        for (id, mut mask) in masks {
            let Some(ranking) = self.rankings[id.0].as_ref() else { continue };
            if !kept[id.0].is_nothing()
                && let Some(values) = self.values(state, id)?
            {
                mask.join(&kept[id.0].mask(&values, ranking));
            }
            kept[id.0] = Masked::Bits(Arc::new(mask));
        }
        let mut biases = (*state.biases).clone();
        for bias in biases.values_mut() {
            let mut values = (*bias.values).clone();
            gone(bias, channels, removed).apply(&mut values);
            bias.values = Arc::new(values);
        }
        let going = self.model.graph.nodes.iter().filter_map(|node| {
            let axis = match node.op.as_str() {
                "Conv" | "ConvTranspose" => ChannelAxis::Second,
                "Gemm" | "MatMul" => ChannelAxis::Last,
                _ => return None,
            };
            let output = node.output(0)?;
            let staying = channels.staying(output, axis, removed)?;
            Some((output, Mask::of(staying.len(), |i| !staying[i])))
        });
        Ok(State { kept: kept.into(), biases: Arc::new(biases), going: Arc::new(going.collect()), ..state.clone() })
    }

    /// The model as pruned in `state`, without what is removed.
    ///
    /// # Errors
    /// [`EngineError::Remove`]; as [`Engine::masks`].
    pub fn smaller_bytes(&self, state: &State, channels: &Channels, removed: &Removed) -> Result<Smaller, EngineError> {
        let graph = &self.model.graph;
        let masks = match self.host_masks(state) {
            Ok(masks) => masks,
            Err(EngineError::Prune(PruneError::EmptyScope)) => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        let parameters: BTreeMap<TensorId, ParameterId> =
            graph.parameters.iter().enumerate().map(|(i, parameter)| (parameter.tensor, ParameterId(i))).collect();
        let read = |id: TensorId| {
            let dtype = self.model.file.tensor(id).dtype;
            let parameter = parameters.get(&id);
            let mask = parameter.and_then(|id| masks.get(id)).filter(|masks| !masks.zeroed().is_clear());
            let replaced = parameter.is_some_and(|id| matches!(state.weights[id.0], Weights::Replaced(_)));
            let values: Option<Values> = match (parameter, state.statistics.get(&id)) {
                (_, Some(values)) => Some(values.as_ref().clone()),
                (Some(&id), None) if replaced => self.values(state, id)?,
                _ => None,
            };
            let bytes = match values {
                Some(values) => Some(values.to_bytes(dtype)),
                None if mask.is_some() => self.model.file.bytes(id)?,
                None => None,
            };
            Ok(bytes.map(|mut bytes| {
                if let Some(masks) = mask {
                    masks.zeroed().apply_to_bytes(&mut bytes, dtype.size().unwrap_or(1));
                }
                bytes
            }))
        };
        let mut smaller = channels.smaller(&self.model.file, removed, &read).map_err(|error| match error {
            RemoveError::Source(error) => error.into(),
            error => EngineError::Remove(error),
        })?;
        if state.biases.is_empty() {
            return Ok(smaller);
        }
        let mut biases = (*state.biases).clone();
        for bias in biases.values_mut() {
            bias.values = Arc::new(gone(bias, channels, removed).left(&bias.values));
        }
        let told = onnx::add_biases(&smaller.model, &export::new_biases(graph, &biases));
        smaller.model = told.ok_or_else(|| EngineError::Remove(RemoveError::NotFound("an added bias".to_owned())))?;
        Ok(smaller)
    }

    /// Saves the model as it was opened.
    ///
    /// # Errors
    /// [`EngineError::Export`]
    pub fn save_opened(&self, path: &Path, format: Format, overwrite: Overwrite) -> Result<Report, EngineError> {
        Ok(export::save(&self.model.file, &self.model.graph, &Changes::default(), format, path, overwrite)?)
    }

    /// An engine of a model in memory, as if it had been opened where this one's was, on the same device.
    ///
    /// # Errors
    /// Bytes that are no model.
    pub fn of_bytes(&self, smaller: Smaller, watch: &dyn Watch) -> Result<Self, EngineError> {
        let model = Arc::new(Model::of_bytes(&self.model.file.path, smaller.model, smaller.data)?);
        let rankings = model.rank(watch)?;
        let engine = Self::new(model, rankings);
        Ok(match &self.device {
            Some(device) => engine.on(device.clone()),
            None => engine,
        })
    }
}

/// The elements of an added bias whose channels go.
fn gone(bias: &AddedBias, channels: &Channels, removed: &Removed) -> Mask {
    let staying = bias.outputs.first().and_then(|&output| channels.staying(output, bias.channels, removed));
    Mask::of(bias.values.len(), |i| staying.as_ref().is_some_and(|staying| staying.get(i) == Some(&false)))
}
