//! Arrays in safetensors files.

use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::Dtype as FileDtype;

use super::ArraysError;
use crate::network::{Array, ArrayData};
use crate::onnx::Dtype;

/// Reads all tensors that a network can take, by name; others are refused.
pub(super) fn read(path: &Path) -> Result<Vec<(String, Array)>, ArraysError> {
    let bytes = std::fs::read(path).map_err(|source| ArraysError::Read { source, path: path.to_owned() })?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|e| ArraysError::Broken { reason: format!("it is no whole safetensors file ({e})"), path: path.to_owned() })?;
    let one = |(name, tensor): (String, safetensors::tensor::TensorView)| {
        let (dtype, data) = data(tensor.dtype(), tensor.data()).ok_or_else(|| ArraysError::BrokenEntry {
            name: name.clone(),
            reason: format!("its elements are {:?}", tensor.dtype()),
            path: path.to_owned(),
        })?;
        Ok((name, Array { shape: tensor.shape().to_vec(), dtype, data }))
    };
    file.tensors().into_iter().map(one).collect()
}

fn data(dtype: FileDtype, bytes: &[u8]) -> Option<(Dtype, ArrayData)> {
    fn each<const N: usize, T>(bytes: &[u8], of: impl Fn([u8; N]) -> T) -> Vec<T> {
        bytes.as_chunks::<N>().0.iter().map(|&chunk| of(chunk)).collect()
    }
    Some(match dtype {
        FileDtype::F32 => (Dtype::F32, ArrayData::F32(each(bytes, f32::from_le_bytes))),
        FileDtype::F64 => (Dtype::F64, ArrayData::F32(each(bytes, |b| f64::from_le_bytes(b) as f32))),
        FileDtype::F16 => (Dtype::F16, ArrayData::F32(each(bytes, |b| half::f16::from_le_bytes(b).to_f32()))),
        FileDtype::BF16 => (Dtype::Bf16, ArrayData::F32(each(bytes, |b| half::bf16::from_le_bytes(b).to_f32()))),
        FileDtype::BOOL => (Dtype::Bool, ArrayData::Bool(bytes.iter().map(|&b| b != 0).collect())),
        FileDtype::U8 => (Dtype::U8, ArrayData::I64(bytes.iter().map(|&b| b.into()).collect())),
        FileDtype::I8 => (Dtype::I8, ArrayData::I64(each(bytes, |b| i8::from_le_bytes(b).into()))),
        FileDtype::I16 => (Dtype::I16, ArrayData::I64(each(bytes, |b| i16::from_le_bytes(b).into()))),
        FileDtype::I32 => (Dtype::I32, ArrayData::I64(each(bytes, |b| i32::from_le_bytes(b).into()))),
        FileDtype::I64 => (Dtype::I64, ArrayData::I64(each(bytes, i64::from_le_bytes))),
        _ => return None,
    })
}
