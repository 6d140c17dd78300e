//! What a prune saves and what it does not: bytes, multiply-accumulates, time.

use std::sync::atomic::{AtomicU64, Ordering};

use burn::Tensor;
use burn::tensor::TensorData;
use rayon::prelude::*;

use super::{Engine, EngineError};
use crate::graph::ParameterId;
use crate::measure::{self, Effort, ParameterSize, Speed};
use crate::network::{Array, Work};
use crate::prune::{Masked, PruneError, State};
use crate::watch::Watch;

/// A pruned model that is weighed.
#[derive(Clone, Copy)]
struct Pruned<'a> {
    state: &'a State,
    /// Masked elements per parameter.
    masked: &'a [u64],
    /// What every parameter weighs as opened.
    dense: &'a [ParameterSize],
}

impl Engine {
    /// What every parameter weighs as it was opened.
    ///
    /// # Errors
    /// [`EngineError::Cancelled`], [`EngineError::Open`] where external data can no longer be read, [`EngineError::Weigh`].
    pub fn dense_sizes(&self, watch: &dyn Watch) -> Result<Vec<ParameterSize>, EngineError> {
        self.weighed(None, watch)
    }

    /// What every parameter weighs as pruned in `state`; what is as it was is taken from `dense`, which
    /// [`Engine::dense_sizes`] gave.
    ///
    /// # Errors
    /// As [`Engine::dense_sizes`] and [`Engine::outcome`]; an empty scope is no error.
    pub fn sizes(&self, state: &State, dense: &[ParameterSize], watch: &dyn Watch) -> Result<Vec<ParameterSize>, EngineError> {
        let masked: Vec<u64> = match self.outcome(state) {
            Ok(outcome) => outcome.masked,
            Err(PruneError::EmptyScope | PruneError::Quantized { .. } | PruneError::Obstructed { .. }) => {
                state.kept.iter().map(Masked::count).collect()
            }
            Err(e) => return Err(e.into()),
        };
        self.weighed(Some(Pruned { state, masked: &masked, dense }), watch)
    }

    fn weighed(&self, pruned: Option<Pruned>, watch: &dyn Watch) -> Result<Vec<ParameterSize>, EngineError> {
        let (file, graph) = (&self.model.file, &self.model.graph);
        let (total, done) = (graph.elements().max(1) as f32, AtomicU64::new(0));
        let one = |&id: &ParameterId| -> Result<ParameterSize, EngineError> {
            let parameter = graph.parameter(id);
            let pruned = match pruned {
                Some(Pruned { state, masked, dense }) if masked[id.0] == 0 && !state.has_changed(id.0) => return Ok(dense[id.0]),
                pruned => pruned,
            };
            let Some(mut bytes) = file.bytes(parameter.tensor)? else { return Ok(ParameterSize::default()) };
            if let Some(Pruned { state, masked, .. }) = pruned
                && let Some(values) = self.values(state, id)?
                && let Some(masks) = self.parameter_masks(state, id, &values, masked[id.0])?
            {
                if state.weights[id.0].replaced().is_some() {
                    bytes = values.to_bytes(parameter.dtype);
                }
                masks.zeroed().apply_to_bytes(&mut bytes, parameter.dtype.size().unwrap_or(1));
            }
            let size = measure::weigh(parameter, graph.owner(id), &bytes, watch)
                .map_err(|source| EngineError::Weigh { name: parameter.name.clone(), source })?;
            let seen = done.fetch_add(parameter.elements as u64, Ordering::Relaxed) + parameter.elements as u64;
            watch.progress(seen as f32 / total, "Compressing");
            size.ok_or(EngineError::Cancelled)
        };
        let all: Vec<ParameterId> = (0..graph.parameters.len()).map(ParameterId).collect();
        let mut sizes = Vec::with_capacity(all.len());
        for batch in self.model.batches(&all) {
            sizes.extend(batch.par_iter().with_max_len(1).map(one).collect::<Result<Vec<_>, _>>()?);
        }
        Ok(sizes)
    }

    /// Multiply-accumulates of a forward pass on `inputs`, on the device in use.
    ///
    /// # Errors
    /// [`EngineError::Network`], [`EngineError::Cancelled`]
    pub fn work(&self, inputs: &[(String, Array)], watch: &dyn Watch) -> Result<Work, EngineError> {
        Ok(self.dense_network()?.work(inputs, watch)?)
    }

    /// Time of a forward pass on `inputs`, on the device in use: dense, masked as in `state`, and fixed.
    ///
    /// # Errors
    /// [`EngineError::Network`], [`EngineError::Cancelled`], and as [`Engine::outcome`].
    pub fn speed(&self, state: &State, inputs: &[(String, Array)], effort: Effort, watch: &dyn Watch) -> Result<Speed, EngineError> {
        let network = self.dense_network()?;
        let masks = self.host_each(state, |id, values, masks| {
            let zeroed = masks.zeroed();
            let ones = (0..values.len()).map(|i| if zeroed.is_pruned(i) { 0.0_f32 } else { 1.0 }).collect::<Vec<_>>();
            Ok((id, TensorData::new(ones, [values.len()])))
        })?;
        let masks: Vec<_> = masks.into_iter().map(|(id, ones)| (id, Tensor::<1>::from_data(ones, network.device()))).collect();
        Ok(measure::speed(&network, &masks, inputs, effort, watch)?)
    }
}
