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

    /// Rows `rows` along the first dimension; `None` where there are no such.
    #[must_use]
    pub fn rows(&self, rows: std::ops::Range<usize>) -> Option<Self> {
        let (&count, rest) = self.shape.split_first()?;
        let width: usize = rest.iter().product();
        if rows.start > rows.end || rows.end > count || !self.is_whole() {
            return None;
        }
        let part = rows.start * width..rows.end * width;
        let data = match &self.data {
            ArrayData::F32(v) => ArrayData::F32(v[part].to_vec()),
            ArrayData::I64(v) => ArrayData::I64(v[part].to_vec()),
            ArrayData::Bool(v) => ArrayData::Bool(v[part].to_vec()),
        };
        let shape = std::iter::once(rows.len()).chain(rest.iter().copied()).collect();
        Some(Self { shape, dtype: self.dtype, data })
    }

    /// These after one another along the first dimension; `None` where they do not fit.
    #[must_use]
    pub fn stacked(parts: &[&Self]) -> Option<Self> {
        let (first, rest) = parts.split_first()?;
        let mut whole = (*first).clone();
        for part in rest {
            if whole.shape.get(1..)? != part.shape.get(1..)? {
                return None;
            }
            match (&mut whole.data, &part.data) {
                (ArrayData::F32(to), ArrayData::F32(from)) => to.extend_from_slice(from),
                (ArrayData::I64(to), ArrayData::I64(from)) => to.extend_from_slice(from),
                (ArrayData::Bool(to), ArrayData::Bool(from)) => to.extend_from_slice(from),
                _ => return None,
            }
            whole.shape[0] += part.shape.first()?;
        }
        Some(whole)
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
