//! From floats to small integers and back.
//!
//! Quantised values stay on the device as floats that are marked with their integer type: all of them are exact there.

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Dispatch, Scalar};

use super::arithmetic::{Binary, floats};
use super::call::Call;
use super::cast::{dtype_of, integer_range};
use super::dims::axis;
use super::fault::{Checked, fault};
use super::generate::tile_rows;
use super::setup::{Run, Setup, one};
use super::value::{Floats, Value};
use crate::onnx::Dtype;

type D = Dispatch;

/// The axis that has scales of its own, and how many elements of it share one.
fn axis_and_block(setup: &Setup) -> (i64, usize) {
    (setup.int_or("axis", 1), usize::try_from(setup.int_or("block_size", 0)).unwrap_or(0))
}

/// Scale and zero point, shaped so that they are broadcast against a value of this shape.
fn parameters(call: &mut Call, shape: &[usize], (at, block): (i64, usize)) -> Checked<(Floats, Option<Floats>)> {
    let scale = call.take_floats(1)?;
    let zero = if call.has(2) { Some(call.take(2)?) } else { None };
    let zero = zero.map(|z| match z {
        Value::Float(v) => v,
        Value::Int(v) => v.to_floats(Dtype::F32),
    });
    let fit = |v: Floats| -> Checked<Floats> {
        if v.elements() == 1 {
            return v.reshaped(Vec::new());
        }
        let at = axis(at, shape.len())?;
        if block > 0 && v.rank() == shape.len() {
            return tile_rows(&v, at, block, shape);
        }
        if v.shape != [shape[at]] {
            return fault!("a scale of shape {:?} does not fit axis {at} of {shape:?}", v.shape);
        }
        let mut wide = vec![1; shape.len()];
        wide[at] = shape[at];
        v.reshaped(wide)
    };
    Ok((fit(scale)?, zero.map(fit).transpose()?))
}

/// round(x / scale) + zero, held within the range of the type.
pub(super) fn quantize(setup: &Setup) -> Checked<Run> {
    let places = axis_and_block(setup);
    let named = setup.int("output_dtype").map(dtype_of).filter(|&d| d != Dtype::Undefined);
    one(move |call| {
        let dtype = match (call.inputs.get(2), named) {
            (Some(Some(zero)), _) => zero.dtype(),
            (_, Some(dtype)) => dtype,
            _ => Dtype::U8,
        };
        integer_range(dtype)?;
        let x = call.take(0)?.into_floats();
        let (scale, zero) = parameters(call, &x.shape, places)?;
        if x.elements() == 0 {
            return Ok(x.marked(dtype).into());
        }
        let x = floats(call, Binary::Div, x, scale)?;
        narrowed(call, x, zero, dtype)
    })
}

/// round(x) + zero, held within the range of the type.
pub(super) fn narrowed(call: &Call, x: Floats, zero: Option<Floats>, dtype: Dtype) -> Checked<Value> {
    let (low, high) = integer_range(dtype)?;
    let shape = x.shape.clone();
    let t = Floats::on_device(shape.clone(), Dtype::F32, D::float_round(x.into_device(call.device)?));
    let t = match zero {
        Some(zero) => floats(call, Binary::Add, t, zero)?,
        None => t,
    };
    let t = D::float_clamp(t.into_device(call.device)?, Scalar::Int(low), Scalar::Int(high));
    Ok(Floats::on_device(shape, dtype, t).into())
}

/// (x − zero) · scale
pub(super) fn dequantize(setup: &Setup) -> Checked<Run> {
    let places = axis_and_block(setup);
    one(move |call| {
        let x = match call.take(0)? {
            Value::Float(v) => v,
            Value::Int(v) => v.to_floats(Dtype::F32),
        };
        let dtype = call.value(1)?.dtype();
        let (scale, zero) = parameters(call, &x.shape, places)?;
        let x = match zero {
            Some(zero) => floats(call, Binary::Sub, x, zero)?,
            None => x,
        };
        Ok(floats(call, Binary::Mul, x, scale)?.marked(dtype).into())
    })
}
