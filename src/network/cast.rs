//! From one type of number to another.

use super::fault::{Checked, fault};
use super::setup::{Run, Setup, one};
use super::value::{Floats, Ints, Value};
use crate::onnx::Dtype;

/// Integer types that are held as i64, with their range; 64-bit ones take any bits.
fn range(dtype: Dtype) -> Option<(i64, i64)> {
    Some(match dtype {
        Dtype::I8 => (i64::from(i8::MIN), i64::from(i8::MAX)),
        Dtype::U8 => (0, i64::from(u8::MAX)),
        Dtype::I32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        Dtype::U16 => (0, i64::from(u16::MAX)),
        Dtype::I16 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        Dtype::U32 => (0, i64::from(u32::MAX)),
        Dtype::U4 => (0, 15),
        Dtype::I4 => (-8, 7),
        Dtype::I64 | Dtype::U64 => (i64::MIN, i64::MAX),
        _ => return None,
    })
}

/// The range of an integer type.
pub(super) fn integer_range(dtype: Dtype) -> Checked<(i64, i64)> {
    range(dtype).map_or_else(|| fault!("{dtype} is no integer type that can be calculated with"), Ok)
}

/// Brings results back into the range of their type, as two's complement does.
pub(super) fn wrap(v: Ints) -> Ints {
    match range(v.dtype) {
        Some((low, high)) if high < i64::MAX => {
            let span = high - low + 1;
            let data = v.data.iter().map(|&x| (x.wrapping_sub(low)).rem_euclid(span) + low).collect();
            Ints::typed(v.shape, v.dtype, data)
        }
        _ => v,
    }
}

/// A float of this type as near as it can be to `x`.
fn round_to(dtype: Dtype, x: f32) -> f32 {
    match dtype {
        Dtype::F16 => half::f16::from_f32(x).to_f32(),
        Dtype::Bf16 => half::bf16::from_f32(x).to_f32(),
        _ => x,
    }
}

/// Floats on the device stay float32 and change their mark alone; on the host they are rounded.
pub(super) fn convert(value: Value, to: Dtype) -> Checked<Value> {
    Ok(match value {
        Value::Float(v) if to.is_float() => {
            if !v.is_on_host() || v.dtype == to {
                return Ok(v.marked(to).into());
            }
            Floats::host(v.shape.clone(), to, v.to_host()?.iter().map(|&x| round_to(to, x)).collect()).into()
        }
        Value::Float(v) if to == Dtype::Bool => {
            Ints::bools(v.shape.clone(), v.to_host()?.iter().map(|&x| i64::from(x != 0.0)).collect()).into()
        }
        Value::Float(v) => {
            integer_range(to)?;
            let data = v.to_host()?.iter().map(|&x| if to == Dtype::U64 { x as u64 as i64 } else { x as i64 }).collect();
            wrap(Ints::typed(v.shape.clone(), to, data)).into()
        }
        Value::Int(v) if to.is_float() => {
            let unsigned = v.dtype == Dtype::U64;
            let data = v.data.iter().map(|&x| round_to(to, if unsigned { x as u64 as f32 } else { x as f32 })).collect();
            Floats::host(v.shape.clone(), to, data).into()
        }
        Value::Int(v) if to == Dtype::Bool => Ints::bools(v.shape.clone(), v.data.iter().map(|&x| i64::from(x != 0)).collect()).into(),
        Value::Int(v) => {
            integer_range(to)?;
            wrap(Ints { dtype: to, ..v }).into()
        }
    })
}

/// What a caller gives, as the model declares it: any type of the same kind, where the numbers fit.
pub(super) fn declared(value: Value, to: Dtype) -> Checked<Value> {
    match value {
        Value::Float(v) => Ok(v.marked(to).into()),
        Value::Int(v) if v.dtype == to || to == Dtype::Bool => Ok(v.into()),
        Value::Int(v) => {
            let (low, high) = integer_range(to)?;
            // All 64 bits of an unsigned number are taken as they are.
            let fits = |x: i64| (low..=high).contains(&x) && (x >= 0 || (v.dtype == Dtype::U64) == (to == Dtype::U64));
            match v.data.iter().find(|&&x| !fits(x)) {
                Some(x) => fault!("the model wants {to}, and {x} is none"),
                None => Ok(Ints { dtype: to, ..v }.into()),
            }
        }
    }
}

/// Whether values can have this type.
pub(super) fn is_value_type(dtype: Dtype) -> bool {
    dtype.is_float() || dtype == Dtype::Bool || range(dtype).is_some()
}

/// The type that a code of `TensorProto.DataType` in a setting names.
pub(super) fn dtype_of(code: i64) -> Dtype {
    i32::try_from(code).map_or(Dtype::Undefined, Dtype::from_code)
}

pub(super) fn cast(setup: &Setup) -> Checked<Run> {
    let to = dtype_of(setup.int_or("to", 0));
    one(move |call| convert(call.take(0)?, to))
}

pub(super) fn cast_like(_: &Setup) -> Checked<Run> {
    one(move |call| {
        let to = call.value(1)?.dtype();
        convert(call.take(0)?, to)
    })
}
