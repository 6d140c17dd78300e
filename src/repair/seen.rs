//! What is looked at inside a network: on the host, or on a GPU, where it stays as long as nobody wants to read it.

use std::borrow::Cow;

use burn::tensor::Tensor;

use crate::evaluate::Batch;
use crate::graph::ValueId;
use crate::network::{Elements, FloatElements, Network, NetworkError, Pass};

/// A float value of some images.
#[expect(clippy::large_enum_variant, reason = "looked at where it is made, never kept in numbers")]
pub(super) enum ImageValues {
    Host(OnHost),
    Gpu(OnGpu),
}

/// Elements that the host can read.
pub(super) struct OnHost {
    shape: Vec<usize>,
    /// Perhaps more than the shape says: rows that fill up the batch, at the end.
    elements: Elements,
}

/// Elements on a GPU, flat, of float32.
pub(super) struct OnGpu {
    pub(super) shape: Vec<usize>,
    pub(super) values: Tensor<1>,
}

impl ImageValues {
    /// What `pass` holds, without the rows that fill up the batch; `None` where it is not there or no float.
    pub(super) fn of(network: &Network, pass: &Pass, value: ValueId, batch: &Batch) -> Result<Option<Self>, NetworkError> {
        let Some((mut shape, floats)) = network.floats(pass, value)? else { return Ok(None) };
        let own = batch.own(&shape);
        if let Some(rows) = own {
            shape[0] = rows;
        }
        Ok(Some(match floats {
            FloatElements::Host(elements) => Self::Host(OnHost { shape, elements }),
            FloatElements::Gpu(values) if own.is_none() => Self::Gpu(OnGpu { shape, values }),
            FloatElements::Gpu(values) => {
                let values = values.narrow(0, 0, shape.iter().product());
                Self::Gpu(OnGpu { shape, values })
            }
        }))
    }

    pub(super) fn shape(&self) -> &[usize] {
        match self {
            Self::Host(OnHost { shape, .. }) | Self::Gpu(OnGpu { shape, .. }) => shape,
        }
    }

    /// The elements on the host.
    pub(super) fn read(&self) -> Result<Cow<'_, [f32]>, NetworkError> {
        match self {
            Self::Host(OnHost { shape, elements }) => Ok(Cow::Borrowed(&elements[..shape.iter().product()])),
            Self::Gpu(OnGpu { values, .. }) => {
                let broken = |message: String| NetworkError::Internal { place: "reading a value".into(), message };
                let data = values.clone().try_into_data().map_err(|error| broken(format!("the device failed: {error}")))?;
                let data = data.try_into_vec().map_err(|error| broken(format!("the device returned no floats: {error:?}")))?;
                Ok(Cow::Owned(data))
            }
        }
    }

    /// These elements of this shape on the host.
    #[cfg(test)]
    pub(super) fn on_host(shape: &[usize], elements: Vec<f32>) -> Self {
        Self::Host(OnHost { shape: shape.to_vec(), elements: Elements::Host(std::sync::Arc::new(elements)) })
    }
}
