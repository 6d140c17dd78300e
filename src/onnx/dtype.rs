//! The number types of ONNX tensors.

use std::fmt;

/// The type of a tensor's elements. Only the four floating types can be pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// 32-bit IEEE float.
    F32,
    /// 16-bit IEEE float.
    F16,
    /// Brain float: the upper half of an f32.
    Bf16,
    /// 64-bit IEEE float.
    F64,
    /// 64-bit signed integer: shapes, axes, indices.
    I64,
    /// 32-bit signed integer.
    I32,
    /// One byte per value.
    Bool,
    /// 8-bit signed integer: quantised weights.
    I8,
    /// 8-bit unsigned integer: quantised weights.
    U8,
    /// Any other code of `TensorProto.DataType`.
    Other(i32),
}

impl Dtype {
    /// Of a value that is a sequence, a map or may be nothing at all. No code of ONNX's is negative.
    pub const NO_TENSOR: Self = Self::Other(-1);

    /// From `TensorProto.data_type`.
    #[must_use]
    pub fn from_code(code: i32) -> Self {
        match code {
            1 => Self::F32,
            2 => Self::U8,
            3 => Self::I8,
            6 => Self::I32,
            7 => Self::I64,
            9 => Self::Bool,
            10 => Self::F16,
            11 => Self::F64,
            16 => Self::Bf16,
            other => Self::Other(other),
        }
    }

    /// Bytes per element, where an element takes whole bytes.
    #[must_use]
    pub fn size(self) -> Option<usize> {
        match self {
            Self::F32 | Self::I32 => Some(4),
            Self::F16 | Self::Bf16 => Some(2),
            Self::F64 | Self::I64 => Some(8),
            Self::Bool | Self::I8 | Self::U8 => Some(1),
            Self::Other(4 | 5) => Some(2),
            Self::Other(12) => Some(4),
            Self::Other(13 | 14) => Some(8),
            Self::Other(15) => Some(16),
            Self::Other(17..=20 | 24) => Some(1),
            Self::Other(_) => None,
        }
    }

    /// Whether elements of this type can be pruned: the four floating types.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::Bf16 | Self::F64)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
            Self::F64 => "float64",
            Self::I64 => "int64",
            Self::I32 => "int32",
            Self::Bool => "bool",
            Self::I8 => "int8",
            Self::U8 => "uint8",
            Self::Other(4) => "uint16",
            Self::Other(5) => "int16",
            Self::Other(8) => "string",
            Self::Other(12) => "uint32",
            Self::Other(13) => "uint64",
            Self::Other(14) => "complex64",
            Self::Other(15) => "complex128",
            Self::Other(17) => "float8e4m3fn",
            Self::Other(18) => "float8e4m3fnuz",
            Self::Other(19) => "float8e5m2",
            Self::Other(20) => "float8e5m2fnuz",
            Self::Other(21) => "uint4",
            Self::Other(22) => "int4",
            Self::Other(23) => "float4e2m1",
            Self::Other(24) => "float8e8m0",
            Self::Other(25) => "uint2",
            Self::Other(26) => "int2",
            &Self::NO_TENSOR => "no tensor",
            Self::Other(code) => return write!(f, "type {code}"),
        };
        f.write_str(name)
    }
}
