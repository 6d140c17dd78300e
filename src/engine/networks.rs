//! The network on the device in use, dense and pruned.

use burn::tensor::{Device, Tensor, TensorData};

use super::{Engine, EngineError, lock};
use crate::network::{Array, Network};
use crate::prune::{PruneError, State};

impl Engine {
    /// Runs the network as pruned in `state`, on the device in use. Returns all outputs by name.
    ///
    /// # Errors
    /// [`EngineError::Network`], [`EngineError::Device`], and as [`Engine::outcome`].
    pub fn forward(&self, state: &State, inputs: &[(String, Array)]) -> Result<Vec<(String, Array)>, EngineError> {
        Ok(self.pruned_network(state)?.forward(inputs)?)
    }

    /// The network as opened, on the device in use. Built once; on a GPU its weights are those that masks are made of.
    ///
    /// # Errors
    /// [`EngineError::Network`], [`EngineError::Device`]
    pub fn dense_network(&self) -> Result<Network, EngineError> {
        let mut kept = lock(&self.network);
        if let Some(network) = &*kept {
            return Ok(network.clone());
        }
        let device = self.device.as_ref().map_or_else(Device::flex, |d| d.device.clone());
        let mut network = Network::build(self.model.graph.clone(), &self.model.file, &device)?;
        let opened = self.with_gpu(&self.opened(), |gpu| Ok(gpu.opened()?))?;
        for (id, tensor) in opened.into_iter().flatten() {
            network.set_parameter(id, tensor);
        }
        *kept = Some(network.clone());
        Ok(network)
    }

    /// The network as pruned in `state`, on the device in use.
    ///
    /// # Errors
    /// As [`Engine::forward`].
    pub fn pruned_network(&self, state: &State) -> Result<Network, EngineError> {
        let mut network = self.dense_network()?;
        for (&id, values) in state.statistics.iter() {
            let data = TensorData::new(values.as_ref().clone().into_f32(), [values.len()]);
            network.set_statistic(id, Tensor::from_data(data, network.device()));
        }
        for (&id, bias) in state.biases.iter() {
            let data = TensorData::new(bias.values.as_ref().clone().into_f32(), [bias.values.len()]);
            let values = Tensor::from_data(data, network.device());
            network.set_bias(&bias.outputs, &values, self.model.graph.parameter(id).dtype);
        }
        let outcome = match self.outcome(state) {
            Ok(outcome) => Some(outcome),
            Err(PruneError::EmptyScope) => None,
            Err(e) => return Err(e.into()),
        };
        if let Some(outcome) = &outcome {
            // The pruned weights are on the device already, and stay there.
            let pruned = self.with_gpu(state, |gpu| {
                gpu.prune(self, state, outcome)?;
                Ok(gpu.pruned()?)
            })?;
            if let Some(pruned) = pruned {
                for (id, tensor) in pruned {
                    network.set_parameter(id, tensor);
                }
                return Ok(network);
            }
        }
        if outcome.is_none() && !state.has_kept() && !state.has_fixed() {
            return Ok(network);
        }
        let device = network.device().clone();
        for (id, _, values) in self.pruned_weights(state)? {
            let data = TensorData::new(values.into_f32(), [self.model.graph.parameter(id).elements]);
            network.set_parameter(id, Tensor::from_data(data, &device));
        }
        Ok(network)
    }
}
