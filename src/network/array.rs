//! Arrays on the host: what goes into a network and what comes out.

use crate::onnx::Dtype;

/// A row-major array on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Dimensions; empty for a scalar.
    pub shape: Vec<usize>,
    /// The type that the model means. `data` may be wider: see [`ArrayData`].
    pub dtype: Dtype,
    /// The elements, as many as the product of `shape`.
    pub data: ArrayData,
}

/// Elements of an [`Array`], in the few types that the network calculates with.
#[derive(Debug, Clone, PartialEq)]
pub enum ArrayData {
    /// Of float32; also float16, bfloat16 and float64, which are calculated in float32.
    F32(Vec<f32>),
    /// Of int64 and every narrower or unsigned integer.
    I64(Vec<i64>),
    /// Of bool.
    Bool(Vec<bool>),
}

impl Array {
    /// Float32 elements of this shape.
    #[must_use]
    pub fn f32(shape: impl Into<Vec<usize>>, data: Vec<f32>) -> Self {
        Self { shape: shape.into(), dtype: Dtype::F32, data: ArrayData::F32(data) }
    }

    /// Int64 elements of this shape.
    #[must_use]
    pub fn i64(shape: impl Into<Vec<usize>>, data: Vec<i64>) -> Self {
        Self { shape: shape.into(), dtype: Dtype::I64, data: ArrayData::I64(data) }
    }

    /// Bool elements of this shape.
    #[must_use]
    pub fn bool(shape: impl Into<Vec<usize>>, data: Vec<bool>) -> Self {
        Self { shape: shape.into(), dtype: Dtype::Bool, data: ArrayData::Bool(data) }
    }

    /// The elements, where they are floats.
    #[must_use]
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.data {
            ArrayData::F32(v) => Some(v),
            _ => None,
        }
    }

    /// The elements, where they are integers.
    #[must_use]
    pub fn as_i64(&self) -> Option<&[i64]> {
        match &self.data {
            ArrayData::I64(v) => Some(v),
            _ => None,
        }
    }

    /// The elements, where they are bools.
    #[must_use]
    pub fn as_bool(&self) -> Option<&[bool]> {
        match &self.data {
            ArrayData::Bool(v) => Some(v),
            _ => None,
        }
    }

    /// Whether the number of elements is the product of the shape.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let have = match &self.data {
            ArrayData::F32(v) => v.len(),
            ArrayData::I64(v) => v.len(),
            ArrayData::Bool(v) => v.len(),
        };
        self.shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)) == Some(have)
    }
}
