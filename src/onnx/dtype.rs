//! The number types of ONNX tensors.

use std::fmt;

/// The type of a tensor's elements: `TensorProto.DataType` of ONNX 1.23. Only the four floating types can be pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// The file does not say.
    Undefined,
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
    /// 16-bit signed integer.
    I16,
    /// 8-bit signed integer: quantised weights.
    I8,
    /// 4-bit signed integer, two to a byte.
    I4,
    /// 2-bit signed integer, four to a byte.
    I2,
    /// 64-bit unsigned integer.
    U64,
    /// 32-bit unsigned integer.
    U32,
    /// 16-bit unsigned integer.
    U16,
    /// 8-bit unsigned integer: quantised weights.
    U8,
    /// 4-bit unsigned integer, two to a byte.
    U4,
    /// 2-bit unsigned integer, four to a byte.
    U2,
    /// One byte per value.
    Bool,
    /// Text.
    Text,
    /// Two 32-bit floats.
    C64,
    /// Two 64-bit floats.
    C128,
    /// 8-bit float, 4 bits of exponent and 3 of mantissa, without infinities.
    F8E4M3Fn,
    /// The same without a negative zero.
    F8E4M3FnUz,
    /// 8-bit float, 5 bits of exponent and 2 of mantissa.
    F8E5M2,
    /// The same without infinities and negative zero.
    F8E5M2FnUz,
    /// 8-bit power of two, the scale of a block.
    F8E8M0,
    /// 6-bit float, 2 bits of exponent and 3 of mantissa.
    F6E2M3,
    /// 6-bit float, 3 bits of exponent and 2 of mantissa.
    F6E3M2,
    /// 4-bit float, two to a byte.
    F4E2M1,
    /// Of a value that is a sequence, a map or may be nothing at all.
    NoTensor,
    /// A code that ONNX gave after this was written, or never.
    Unknown(i32),
}

/// Code, type and ONNX's name of it.
const TYPES: [(i32, Dtype, &str); 29] = [
    (0, Dtype::Undefined, "undefined"),
    (1, Dtype::F32, "float32"),
    (2, Dtype::U8, "uint8"),
    (3, Dtype::I8, "int8"),
    (4, Dtype::U16, "uint16"),
    (5, Dtype::I16, "int16"),
    (6, Dtype::I32, "int32"),
    (7, Dtype::I64, "int64"),
    (8, Dtype::Text, "string"),
    (9, Dtype::Bool, "bool"),
    (10, Dtype::F16, "float16"),
    (11, Dtype::F64, "float64"),
    (12, Dtype::U32, "uint32"),
    (13, Dtype::U64, "uint64"),
    (14, Dtype::C64, "complex64"),
    (15, Dtype::C128, "complex128"),
    (16, Dtype::Bf16, "bfloat16"),
    (17, Dtype::F8E4M3Fn, "float8e4m3fn"),
    (18, Dtype::F8E4M3FnUz, "float8e4m3fnuz"),
    (19, Dtype::F8E5M2, "float8e5m2"),
    (20, Dtype::F8E5M2FnUz, "float8e5m2fnuz"),
    (21, Dtype::U4, "uint4"),
    (22, Dtype::I4, "int4"),
    (23, Dtype::F4E2M1, "float4e2m1"),
    (24, Dtype::F8E8M0, "float8e8m0"),
    (25, Dtype::U2, "uint2"),
    (26, Dtype::I2, "int2"),
    (27, Dtype::F6E2M3, "float6e2m3"),
    (28, Dtype::F6E3M2, "float6e3m2"),
];

impl Dtype {
    /// From `TensorProto.data_type`.
    #[must_use]
    pub fn from_code(code: i32) -> Self {
        TYPES.iter().find(|(c, ..)| *c == code).map_or(Self::Unknown(code), |(_, dtype, _)| *dtype)
    }

    /// What `TensorProto.data_type` says of it; -1 for what is no type of tensors.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::Unknown(code) => code,
            dtype => TYPES.iter().find(|(_, known, _)| *known == dtype).map_or(-1, |(code, ..)| *code),
        }
    }

    /// Bytes per element, where an element takes whole bytes.
    #[must_use]
    pub fn size(self) -> Option<usize> {
        match self {
            Self::F32 | Self::I32 | Self::U32 => Some(4),
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => Some(2),
            Self::F64 | Self::I64 | Self::U64 | Self::C64 => Some(8),
            Self::C128 => Some(16),
            Self::Bool | Self::I8 | Self::U8 => Some(1),
            Self::F8E4M3Fn | Self::F8E4M3FnUz | Self::F8E5M2 | Self::F8E5M2FnUz | Self::F8E8M0 => Some(1),
            Self::I4 | Self::U4 | Self::I2 | Self::U2 | Self::F4E2M1 | Self::F6E2M3 | Self::F6E3M2 => None,
            Self::Undefined | Self::Text | Self::NoTensor | Self::Unknown(_) => None,
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
        match self {
            Self::NoTensor => f.write_str("no tensor"),
            Self::Unknown(code) => write!(f, "type {code}"),
            dtype => f.write_str(TYPES.iter().find(|(_, d, _)| d == dtype).map_or("undefined", |(.., name)| name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_name_of_its_own() {
        let mut names: Vec<String> = (0..29).map(|code| Dtype::from_code(code).to_string()).collect();
        assert!(names.iter().all(|name| !name.starts_with("type ")), "{names:?}");
        assert!((0..30).all(|code| Dtype::from_code(code).code() == code));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 29);
        assert_eq!(Dtype::from_code(29).to_string(), "type 29");
        assert_eq!(Dtype::from_code(-1), Dtype::Unknown(-1));
        for (code, size) in
            [(1, Some(4)), (10, Some(2)), (16, Some(2)), (11, Some(8)), (13, Some(8)), (15, Some(16)), (22, None), (24, Some(1))]
        {
            assert_eq!(Dtype::from_code(code).size(), size, "{}", Dtype::from_code(code));
        }
    }
}
