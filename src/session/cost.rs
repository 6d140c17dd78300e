//! What a prune saves and what it does not: bytes, multiply-accumulates, time.

use std::sync::atomic::{AtomicU64, Ordering};

use burn::Tensor;
use burn::tensor::TensorData;
use rayon::prelude::*;

use super::{Session, SessionError, Watch};
use crate::graph::ParameterId;
use crate::measure::{self, Effort, ParameterSize, Speed};
use crate::network::{Array, Work};
use crate::prune::PruneError;

impl Session {
    /// What every parameter weighs as it was opened.
    ///
    /// # Errors
    /// [`SessionError::Cancelled`], [`SessionError::Open`] where external data can no longer be read, [`SessionError::Weigh`].
    pub fn dense_sizes(&self, watch: &dyn Watch) -> Result<Vec<ParameterSize>, SessionError> {
        self.weighed(&vec![0; self.orders.len()], None, watch)
    }

    /// What every parameter weighs as pruned at the present settings; what is as it was is taken from `dense`, which
    /// [`Session::dense_sizes`] gave.
    ///
    /// # Errors
    /// As [`Session::dense_sizes`] and [`Session::outcome`]; an empty scope is no error.
    pub fn sizes(&self, dense: &[ParameterSize], watch: &dyn Watch) -> Result<Vec<ParameterSize>, SessionError> {
        let masked = match self.outcome() {
            Ok(outcome) => outcome.masked,
            Err(PruneError::EmptyScope | PruneError::Quantized { .. }) => self.state().masked.to_vec(),
            Err(e) => return Err(e.into()),
        };
        self.weighed(&masked, Some(dense), watch)
    }

    fn weighed(&self, masked: &[u64], dense: Option<&[ParameterSize]>, watch: &dyn Watch) -> Result<Vec<ParameterSize>, SessionError> {
        let (file, graph) = (&self.model.file, &self.model.graph);
        let (total, done) = (graph.elements().max(1) as f32, AtomicU64::new(0));
        let is_pruned = |id: ParameterId| dense.is_some() && (masked[id.0] > 0 || self.state().fixed[id.0] > 0);
        let one = |&id: &ParameterId| -> Result<ParameterSize, SessionError> {
            let parameter = graph.parameter(id);
            if let Some(size) = dense.and_then(|sizes| sizes.get(id.0)).filter(|_| !is_pruned(id)) {
                return Ok(*size);
            }
            let Some(mut bytes) = file.bytes(parameter.tensor)? else { return Ok(ParameterSize::default()) };
            if is_pruned(id)
                && let Some(values) = file.floats(parameter.tensor)?
                && let Some(masks) = self.parameter_masks(id, &values, masked[id.0])
            {
                masks.zeroed().apply_to_bytes(&mut bytes, parameter.dtype.size().unwrap_or(1));
            }
            let size = measure::weigh(parameter, graph.owner(id), &bytes, &|| watch.is_cancelled())
                .map_err(|source| SessionError::Weigh { name: parameter.name.clone(), source })?;
            let seen = done.fetch_add(parameter.elements as u64, Ordering::Relaxed) + parameter.elements as u64;
            watch.progress(seen as f32 / total, "Compressing");
            size.ok_or(SessionError::Cancelled)
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
    /// [`SessionError::Network`], [`SessionError::Cancelled`]
    pub fn work(&mut self, inputs: &[(String, Array)], watch: &dyn Watch) -> Result<Work, SessionError> {
        Ok(self.dense_network()?.work(inputs, &|| watch.is_cancelled())?)
    }

    /// Time of a forward pass on `inputs`, on the device in use: dense, masked as at the present settings, and fixed.
    ///
    /// # Errors
    /// [`SessionError::Network`], [`SessionError::Cancelled`], and as [`Session::outcome`].
    pub fn speed(&mut self, inputs: &[(String, Array)], effort: Effort, watch: &dyn Watch) -> Result<Speed, SessionError> {
        let network = self.dense_network()?;
        let masks = self.host_each(|id, values, masks| {
            let zeroed = masks.zeroed();
            let ones = (0..values.len()).map(|i| if zeroed.is_pruned(i) { 0.0_f32 } else { 1.0 }).collect::<Vec<_>>();
            (id, TensorData::new(ones, [values.len()]))
        })?;
        let masks: Vec<_> = masks.into_iter().map(|(id, ones)| (id, Tensor::<1>::from_data(ones, network.device()))).collect();
        Ok(measure::speed(&network, &masks, inputs, effort, watch)?)
    }
}
