//! What a pass holds between two nodes, for those who look at the values inside a network.

use burn::Tensor;
use burn::backend::DispatchDevice;

use super::value::Value;
use super::{Array, Network, NetworkError, Pass, guarded};
use crate::graph::ValueId;

impl Network {
    /// Whether it runs on a GPU.
    pub(crate) fn is_on_gpu(&self) -> bool {
        !matches!(self.device().as_dispatch(), DispatchDevice::Flex(_))
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
        guarded("reading a value", || {
            let held = pass.values.get(value.0).and_then(Clone::clone).or_else(|| self.plan.constant(&self.parameters, value));
            let read = |value: &Value| {
                value.to_array().map_err(|fault| NetworkError::Internal { place: "reading a value".into(), message: fault.0 })
            };
            held.as_ref().map(read).transpose()
        })
    }
}

impl Pass {
    /// The shape and the elements, flat, of a float value that is held on a GPU; `None` where it is not there.
    ///
    /// # Errors
    /// [`NetworkError::Internal`] where the device fails.
    pub(crate) fn value_on_gpu(&self, value: ValueId) -> Result<Option<(Vec<usize>, Tensor<1>)>, NetworkError> {
        guarded("reading a value", || match self.values.get(value.0) {
            Some(Some(Value::Float(floats))) => Ok(floats.on_gpu().map(|flat| (floats.shape.clone(), flat))),
            _ => Ok(None),
        })
    }
}
