//! Elements of a floating tensor in memory.

use super::Dtype;

/// Exact: f16, bf16 and f32 as f32, f64 as itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// From f16, bf16 or f32.
    F32(Vec<f32>),
    /// From f64.
    F64(Vec<f64>),
}

impl Values {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
        }
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of zeros of either sign.
    #[must_use]
    pub fn zeros(&self) -> u64 {
        let zeros = match self {
            Self::F32(v) => v.iter().filter(|x| **x == 0.0).count(),
            Self::F64(v) => v.iter().filter(|x| **x == 0.0).count(),
        };
        zeros as u64
    }

    /// The bytes of a tensor of `dtype`, little-endian; what is no number of that type is rounded to the nearest.
    #[must_use]
    pub fn to_bytes(&self, dtype: Dtype) -> Vec<u8> {
        fn all<T: Copy, const N: usize>(values: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
            values.iter().flat_map(|&x| bytes(x)).collect()
        }
        match (self, dtype) {
            (Self::F32(v), Dtype::F16) => all(v, |x| half::f16::from_f32(x).to_le_bytes()),
            (Self::F32(v), Dtype::Bf16) => all(v, |x| half::bf16::from_f32(x).to_le_bytes()),
            (Self::F32(v), Dtype::F64) => all(v, |x| f64::from(x).to_le_bytes()),
            (Self::F32(v), _) => all(v, f32::to_le_bytes),
            (Self::F64(v), Dtype::F16) => all(v, |x| half::f16::from_f64(x).to_le_bytes()),
            (Self::F64(v), Dtype::Bf16) => all(v, |x| half::bf16::from_f64(x).to_le_bytes()),
            (Self::F64(v), Dtype::F64) => all(v, f64::to_le_bytes),
            (Self::F64(v), _) => all(v, |x| (x as f32).to_le_bytes()),
        }
    }

    /// Numbers as a tensor of `dtype` holds them: rounded to the nearest.
    #[must_use]
    pub fn rounded(values: &[f64], dtype: Dtype) -> Self {
        match dtype {
            Dtype::F64 => Self::F64(values.to_vec()),
            Dtype::F16 => Self::F32(values.iter().map(|&x| half::f16::from_f64(x).to_f32()).collect()),
            Dtype::Bf16 => Self::F32(values.iter().map(|&x| half::bf16::from_f64(x).to_f32()).collect()),
            _ => Self::F32(values.iter().map(|&x| x as f32).collect()),
        }
    }

    /// Exact: as f64.
    #[must_use]
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Self::F32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Self::F64(v) => v.clone(),
        }
    }

    /// Whether the same numbers, bit for bit.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::F32(a), Self::F32(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits()),
            (Self::F64(a), Self::F64(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits()),
            _ => false,
        }
    }

    /// As f32; doubles are rounded to the nearest.
    #[must_use]
    pub fn into_f32(self) -> Vec<f32> {
        match self {
            Self::F32(v) => v,
            Self::F64(v) => v.into_iter().map(|x| x as f32).collect(),
        }
    }
}
