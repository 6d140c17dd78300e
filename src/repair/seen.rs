//! What is looked at inside a network: on the host, or on a GPU, where it stays as long as nobody wants to read it.

use std::borrow::Cow;

use burn::tensor::Tensor;

use crate::evaluate::Batch;
use crate::graph::ValueId;
use crate::network::{Array, Network, NetworkError, Pass};

/// A value of some images.
#[expect(clippy::large_enum_variant, reason = "looked at where it is made, never kept in numbers")]
pub(super) enum Seen {
    Host(Array),
    /// Float32 elements.
    Gpu(OnGpu),
}

/// Elements on a GPU, flat.
pub(super) struct OnGpu {
    pub(super) shape: Vec<usize>,
    pub(super) values: Tensor<1>,
}

impl Seen {
    /// What `pass` holds, without the rows that fill up the batch; `None` where it is not there.
    pub(super) fn of(network: &Network, pass: &Pass, value: ValueId, batch: &Batch) -> Result<Option<Self>, NetworkError> {
        let Some((mut shape, mut values)) = pass.value_on_gpu(value)? else {
            return Ok(network.value(pass, value)?.map(|array| Self::Host(batch.own_rows(array))));
        };
        if let Some(rows) = batch.own(&shape) {
            shape[0] = rows;
            values = values.narrow(0, 0, shape.iter().product());
        }
        Ok(Some(Self::Gpu(OnGpu { shape, values })))
    }

    pub(super) fn shape(&self) -> &[usize] {
        match self {
            Self::Host(array) => &array.shape,
            Self::Gpu(on_gpu) => &on_gpu.shape,
        }
    }

    /// The value on the host.
    pub(super) fn read(&self) -> Result<Cow<'_, Array>, NetworkError> {
        match self {
            Self::Host(array) => Ok(Cow::Borrowed(array)),
            Self::Gpu(OnGpu { shape, values }) => {
                let broken = |message: String| NetworkError::Internal { place: "reading a value".into(), message };
                let data = values.clone().try_into_data().map_err(|error| broken(format!("the device failed: {error}")))?;
                let data = data.try_into_vec().map_err(|error| broken(format!("the device returned no floats: {error:?}")))?;
                Ok(Cow::Owned(Array::f32(shape.clone(), data)))
            }
        }
    }
}
