//! Tensors of which the file holds only what is not zero, and where it stands.

use std::sync::Arc;

use onnx_ir::TensorProto;

use super::tensor::{Decoded, Tensor};

/// Elements that a sparse tensor may have whatever it holds, and for each that it holds.
const MAX_ELEMENTS: (usize, usize) = (1 << 24, 1 << 10);

/// The whole of a tensor of which `held` has the elements that are not zero: `indices` tells where they stand, by one number
/// or by one for each dimension.
pub(super) fn scattered(held: Tensor, indices: &TensorProto, dims: &[i64]) -> Result<Tensor, String> {
    let shape: Option<Vec<usize>> = dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let shape = shape.ok_or_else(|| format!("its shape is {dims:?}"))?;
    let most = MAX_ELEMENTS.0.saturating_add(held.elements.saturating_mul(MAX_ELEMENTS.1));
    let product = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d.max(1))).filter(|&n| n <= most);
    if product.is_none() {
        return Err(format!("its shape {shape:?} is beyond any memory"));
    }
    let elements: usize = shape.iter().product();
    if indices.data_type != 7 || indices.data_location.value() == 1 || held.shape.len() != 1 {
        return Err("its indices are not told in numbers of 64 bits".to_owned());
    }
    let numbers: Vec<i64> = if indices.raw_data.is_empty() {
        indices.int64_data.clone()
    } else {
        indices.raw_data.chunks_exact(8).map(|b| b.iter().rev().fold(0_u64, |n, &byte| n << 8 | u64::from(byte)) as i64).collect()
    };
    let depth = match indices.dims.len() {
        1 => 1,
        2 => shape.len(),
        _ => return Err(format!("its indices have {} dimensions", indices.dims.len())),
    };
    if numbers.len() != held.elements.saturating_mul(depth) {
        return Err(format!("{} elements have {} indices", held.elements, numbers.len()));
    }
    let place = |index: &[i64]| -> Option<usize> {
        if indices.dims.len() == 1 {
            return usize::try_from(index[0]).ok().filter(|&i| i < elements);
        }
        index.iter().zip(&shape).try_fold(0, |at, (&i, &d)| Some(at * d + usize::try_from(i).ok().filter(|&i| i < d)?))
    };
    let places: Option<Vec<usize>> = numbers.chunks_exact(depth.max(1)).map(place).collect();
    let Some(places) = places.filter(|places| places.len() == held.elements) else {
        return Err(format!("an index lies outside of {shape:?}"));
    };
    let decoded = Some(Decoded::Sparse(Arc::new((held.clone(), places))));
    Ok(Tensor { shape, elements, span: None, decoded, ..held })
}
