//! Elements of a floating tensor in memory.

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

    /// As f32; doubles are rounded to the nearest.
    #[must_use]
    pub fn into_f32(self) -> Vec<f32> {
        match self {
            Self::F32(v) => v,
            Self::F64(v) => v.into_iter().map(|x| x as f32).collect(),
        }
    }
}
