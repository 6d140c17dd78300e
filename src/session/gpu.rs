//! A model's weights on the GPU, and masks made there and read back.

use std::sync::Arc;

use super::{Model, Session};
use crate::device::ComputeDevice;
use crate::export::{Masks, ParameterMasks};
use crate::graph::ParameterId;
use crate::measure::Outcome;
use crate::onnx::Values;
use crate::prune::device::{DeviceError, DeviceWeights, Rows};
use crate::prune::{self, Mask, Method};

/// The weights on a GPU, with what was fixed in them.
#[derive(Debug)]
pub(super) struct DeviceMasks {
    pub(super) weights: DeviceWeights,
    /// The parameters that are there, in graph order.
    pub(super) parameters: Vec<ParameterId>,
    /// What was fixed in them, per parameter of the graph.
    pub(super) fixed: Arc<[u64]>,
    pub(super) device: ComputeDevice,
}

/// What the GPU found.
pub(super) struct Found {
    pub(super) cut: Option<f64>,
    pub(super) ties: u64,
}

impl DeviceMasks {
    /// Copies every parameter that is no double to the device.
    pub(super) fn new(model: &Model, device: &ComputeDevice) -> Result<Self, DeviceError> {
        let (mut parameters, mut values) = (Vec::new(), Vec::new());
        for (i, parameter) in model.graph.parameters.iter().enumerate() {
            if let Some(Values::F32(narrow)) = model.file.floats(parameter.tensor)? {
                parameters.push(ParameterId(i));
                values.push(narrow);
            }
        }
        let weights = DeviceWeights::upload(values.iter().map(Vec::as_slice), &device.device)?;
        Ok(Self { weights, parameters, fixed: vec![0; model.graph.parameters.len()].into(), device: device.clone() })
    }

    /// Masks as `outcome` says, with the device's own cut.
    pub(super) fn prune(&mut self, session: &Session, outcome: &Outcome) -> Result<Found, DeviceError> {
        let state = session.state();
        let all = vec![true; self.parameters.len()];
        if self.fixed != state.fixed {
            // What was fixed before is gone on the device: start from the originals.
            *self = Self::new(&session.model, &self.device)?;
            self.weights.select(&all, Rows::Each, &self.of(&state.fixed))?;
            self.weights.fix()?;
            self.fixed = state.fixed.clone();
        }
        self.weights.reset();
        self.weights.select(&all, Rows::Each, &self.of(&state.masked))?;
        let scope = state.settings.scope(&session.model.graph);
        let inside: Vec<bool> = self.parameters.iter().map(|id| scope.binary_search(id).is_ok()).collect();
        let wanted: Vec<u64> = self.parameters.iter().map(|id| outcome.masked[id.0] - state.masked[id.0]).collect();
        let (rows, wanted) = match outcome.method {
            Method::LayerWise => (Rows::Each, wanted),
            Method::Global => (Rows::Together, vec![wanted.iter().sum()]),
        };
        let selection = self.weights.select(&inside, rows, &wanted)?;
        let disagreement = self.parameters.iter().zip(&selection.counts).find(|(id, count)| outcome.masked[id.0] != **count);
        if let Some((id, &found)) = disagreement {
            let expected = outcome.masked[id.0];
            return Err(DeviceError::Disagrees {
                adapter: self.device.name.clone(),
                step: "selecting",
                what: "a parameter's number of pruned elements",
                expected,
                found,
            });
        }
        let ties = match outcome.method {
            Method::Global => selection.ties.iter().sum(),
            // Only cuts that elements which stay share count, and those the host knows.
            Method::LayerWise => outcome.ties,
        };
        Ok(Found { cut: selection.cuts.iter().copied().flatten().next().map(f64::from), ties })
    }

    /// Reads back the masks of the last [`DeviceMasks::prune`].
    pub(super) fn masks(&self, session: &Session, outcome: &Outcome) -> Result<Masks, DeviceError> {
        let state = session.state();
        let graph = &session.model.graph;
        let scope = state.settings.scope(graph);
        let mut masks = Masks::new();
        for (id, words) in self.parameters.iter().zip(self.weights.all_masks()?) {
            let wanted = scope.binary_search(id).is_ok() || outcome.masked[id.0] > 0 || state.fixed[id.0] > 0;
            let (Some(order), true) = (session.orders[id.0].as_ref(), wanted) else { continue };
            let elements = graph.parameter(*id).elements;
            let fixed = match state.fixed[id.0] {
                0 => Mask::from_words(Vec::new(), elements),
                count => session
                    .model
                    .file
                    .floats(graph.parameter(*id).tensor)?
                    .map_or_else(|| Mask::from_words(Vec::new(), elements), |v| prune::smallest(&v, order, count)),
            };
            masks.insert(*id, ParameterMasks { fixed, mask: Mask::from_words(words, elements) });
        }
        Ok(masks)
    }

    /// The entries of the parameters that are on the device.
    fn of(&self, counts: &[u64]) -> Vec<u64> {
        self.parameters.iter().map(|id| counts[id.0]).collect()
    }
}
