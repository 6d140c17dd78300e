//! The network on the device in use, dense and pruned.

use burn::tensor::{Device, Tensor, TensorData};

use super::{Session, SessionError};
use crate::export::ParameterMasks;
use crate::graph::ParameterId;
use crate::network::{Array, Network};
use crate::onnx::Values;
use crate::prune::device::DeviceError;
use crate::prune::{Mask, PruneError};

impl Session {
    /// Weights of all parameters in the scope or changed, masked at the present settings.
    ///
    /// # Errors
    /// As [`Session::masks`].
    pub fn pruned_weights(&mut self) -> Result<Vec<(ParameterId, Mask, Values)>, SessionError> {
        let prune = |id, mut values, masks: &ParameterMasks| {
            let zeroed = masks.zeroed();
            zeroed.apply(&mut values);
            (id, zeroed, values)
        };
        if self.mask_device().is_none() {
            return self.host_each(|id, values, masks| prune(id, values, &masks));
        }
        let masks = self.masks()?;
        let one = |(id, masks): (ParameterId, ParameterMasks)| -> Result<_, SessionError> {
            Ok(self.model.file.floats(self.model.graph.parameter(id).tensor)?.map(|values| prune(id, values, &masks)))
        };
        masks.into_iter().filter_map(|pair| one(pair).transpose()).collect()
    }

    /// Runs the network as pruned at the present settings, on the device in use. Returns all outputs by name.
    ///
    /// # Errors
    /// [`SessionError::Network`], [`SessionError::Device`], and as [`Session::outcome`].
    pub fn forward(&mut self, inputs: &[(String, Array)]) -> Result<Vec<(String, Array)>, SessionError> {
        Ok(self.pruned_network()?.forward(inputs)?)
    }

    /// The network as opened, on the device in use.
    ///
    /// # Errors
    /// [`SessionError::Network`]
    pub fn dense_network(&mut self) -> Result<Network, SessionError> {
        if let Some(network) = &self.network {
            return Ok(network.clone());
        }
        let device = self.device.as_ref().map_or_else(Device::flex, |d| d.device.clone());
        let network = Network::build(self.model.graph.clone(), &self.model.file, &device)?;
        self.network = Some(network.clone());
        Ok(network)
    }

    /// The network as pruned at the present settings, on the device in use.
    ///
    /// # Errors
    /// As [`Session::forward`].
    pub fn pruned_network(&mut self) -> Result<Network, SessionError> {
        let mut network = self.dense_network()?;
        let device = network.device().clone();
        let outcome = match self.outcome() {
            Ok(outcome) => Some(outcome),
            Err(PruneError::EmptyScope) => None,
            Err(e) => return Err(e.into()),
        };
        match (self.mask_device().cloned(), outcome) {
            // The pruned weights are on the device already, and stay there.
            (Some(gpu), Some(outcome)) => {
                let weights = self.with_gpu(&gpu, |gpu, session| {
                    gpu.prune(session, &outcome)?;
                    let parameters = gpu.parameters.clone();
                    parameters
                        .into_iter()
                        .enumerate()
                        .map(|(i, id)| Ok((id, gpu.weights.pruned_tensor(i)?)))
                        .collect::<Result<Vec<_>, DeviceError>>()
                })?;
                for (id, tensor) in weights {
                    network.set_parameter(id, tensor);
                }
            }
            (_, outcome) => {
                let state = self.state();
                let nothing = outcome.is_none() && state.fixed.iter().chain(state.masked.iter()).all(|&n| n == 0);
                for (id, _, values) in if nothing { Vec::new() } else { self.pruned_weights()? } {
                    let values = values.into_f32();
                    network
                        .set_parameter(id, Tensor::from_data(TensorData::new(values, [self.model.graph.parameter(id).elements]), &device));
                }
            }
        }
        Ok(network)
    }
}
