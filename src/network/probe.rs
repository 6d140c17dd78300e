//! What a pass holds between two nodes, for those who look at the values inside a network.

use burn::Tensor;

use super::fault::Fault;
use super::value::{Elements, Value, is_host};
use super::{Array, Network, NetworkError, Pass, guarded};
use crate::graph::ValueId;

/// Elements of a float value, flat, where they lie.
#[expect(clippy::large_enum_variant, reason = "looked at where it is made, never kept in numbers")]
pub(crate) enum FloatElements {
    /// Read by the host, as they are where that is possible.
    Host(Elements),
    /// On a GPU.
    Gpu(Tensor<1>),
}

impl Network {
    /// Whether it runs on a GPU.
    pub(crate) fn is_on_gpu(&self) -> bool {
        !is_host(self.device())
    }

    /// As [`Network::begin`], for a pass in which every node is carried out by itself, so that every value is there from when it is
    /// written until it was read for the last time.
    ///
    /// # Errors
    /// [`NetworkError`] tells which input is at fault.
    pub fn begin_one_by_one(&self, inputs: &[(String, Array)]) -> Result<Pass, NetworkError> {
        Ok(Pass { is_one_by_one: true, ..self.begin(inputs)? })
    }

    /// A value that `pass` holds, or a constant; `None` where it is not there.
    ///
    /// # Errors
    /// [`NetworkError::Internal`] where the device fails.
    pub fn value(&self, pass: &Pass, value: ValueId) -> Result<Option<Array>, NetworkError> {
        guarded("reading a value", || self.held(pass, value).map(|value| value.to_array().map_err(failed)).transpose())
    }

    /// The shape and the elements of a value that `pass` holds, or of a constant; `None` where it is not there or no float.
    ///
    /// # Errors
    /// [`NetworkError::Internal`] where the device fails.
    pub(crate) fn floats(&self, pass: &Pass, value: ValueId) -> Result<Option<(Vec<usize>, FloatElements)>, NetworkError> {
        guarded("reading a value", || {
            let Some(Value::Float(floats)) = self.held(pass, value).filter(|value| value.dtype().is_float()) else { return Ok(None) };
            let elements = match floats.on_gpu() {
                Some(flat) => FloatElements::Gpu(flat),
                None => FloatElements::Host(floats.read().map_err(failed)?),
            };
            Ok(Some((floats.shape, elements)))
        })
    }

    /// A value that `pass` holds, or a constant.
    fn held(&self, pass: &Pass, value: ValueId) -> Option<Value> {
        pass.values.get(value.0).and_then(Clone::clone).or_else(|| self.plan.constant(&self.parameters, value))
    }
}

fn failed(fault: Fault) -> NetworkError {
    NetworkError::Internal { place: "reading a value".into(), message: fault.0 }
}
