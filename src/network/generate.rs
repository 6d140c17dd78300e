//! Operators that make values from little or nothing.

use super::arithmetic::spread;
use super::call::{Call, Outcome, because, fault, size};
use super::cast::{convert, dtype_of};
use super::value::{Floats, Ints, Value, made_elements};
use crate::onnx::Dtype;

/// One value, zero where none is given, repeated over a shape.
pub(super) fn constant_of_shape(call: &mut Call) -> Outcome {
    let Some(target) = call.int_list(0)? else { return fault!("the shape is not given") };
    let shape = target.iter().map(|&d| size(d)).collect::<Outcome<Vec<_>>>()?;
    let total = call.allowance.made(&shape)?;
    // The plan puts the value of the setting behind the inputs.
    match call.inputs.pop().flatten() {
        Some(Value::Int(v)) if v.data.len() == 1 && call.node.attributes.get("value").is_some() => {
            Ok(Ints::typed(shape, v.dtype, vec![v.data[0]; total]).into())
        }
        Some(Value::Float(v)) if v.elements() == 1 => Ok(Floats::host(shape, v.dtype, vec![v.to_host()?[0]; total]).into()),
        _ if call.node.attributes.get("value").is_some() => fault!("its value is not one number"),
        _ => Ok(Floats::host(shape, Dtype::F32, vec![0.0; total]).into()),
    }
}

/// Numbers from a start, a step apart, up to a limit.
pub(super) fn range(call: &mut Call) -> Outcome {
    if let Value::Int(start) = call.value(0)? {
        let dtype = start.dtype;
        let (Some(start), Some(limit), Some(step)) = (call.scalar_int(0)?, call.scalar_int(1)?, call.scalar_int(2)?) else {
            return fault!("its bounds are not given");
        };
        if step == 0 {
            return fault!("its step is 0");
        }
        let span = (i128::from(limit) - i128::from(start)) * i128::from(step.signum());
        let count =
            usize::try_from((span.max(0) as u128).div_ceil(u128::from(step.unsigned_abs()))).map_err(|_| because!("it is too long"))?;
        call.allowance.made(&[count])?;
        return Ok(Ints::typed(vec![count], dtype, (0..count as i64).map(|i| start.wrapping_add(i.wrapping_mul(step))).collect()).into());
    }
    let dtype = call.value(0)?.dtype();
    let (Some(start), Some(limit), Some(step)) = (call.scalar(0)?, call.scalar(1)?, call.scalar(2)?) else {
        return fault!("its bounds are not given");
    };
    let count = ((f64::from(limit) - f64::from(start)) / f64::from(step)).ceil().max(0.0);
    if !count.is_finite() {
        return fault!("its bounds are {start}, {limit} and {step}");
    }
    let count = call.allowance.made(&[count as usize])?;
    Ok(Floats::host(vec![count], dtype, (0..count).map(|i| start + i as f32 * step).collect()).into())
}

/// Ones on a diagonal.
pub(super) fn eye_like(call: &mut Call) -> Outcome {
    let value = call.value(0)?;
    let &[rows, columns] = value.shape() else { return fault!("{:?} is no matrix", value.shape()) };
    let dtype = call.node.attributes.int("dtype").map_or(value.dtype(), dtype_of);
    let k = call.int_or("k", 0);
    let one = |r: usize, c: usize| i64::from(c as i64 - r as i64 == k);
    let data = (0..rows).flat_map(|r| (0..columns).map(move |c| one(r, c))).collect();
    convert(Ints::new(vec![rows, columns], data).into(), dtype)
}

/// The upper or lower triangle of the last two axes.
pub(super) fn trilu(call: &mut Call) -> Outcome {
    let k = call.scalar_int(1)?.unwrap_or(0);
    let upper = call.int_or("upper", 1) != 0;
    let value = call.take(0)?;
    let shape = value.shape().to_vec();
    let &[.., rows, columns] = shape.as_slice() else { return fault!("{shape:?} is no matrix") };
    let keep = |(r, c): (usize, usize)| {
        let distance = (c as i64 - r as i64).saturating_sub(k);
        if upper { distance >= 0 } else { distance <= 0 }
    };
    let plane: Vec<bool> = (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))).map(keep).collect();
    match value {
        Value::Int(v) => {
            let data = v.data.iter().zip(plane.iter().cycle()).map(|(&x, &keep)| if keep { x } else { 0 }).collect();
            Ok(Ints::typed(shape, v.dtype, data).into())
        }
        Value::Float(v) => {
            let data = v.to_host()?.iter().zip(plane.iter().cycle()).map(|(&x, &keep)| if keep { x } else { 0.0 }).collect();
            Ok(Floats::host(shape, v.dtype, data).into())
        }
    }
}

/// A value's elements repeated whole, `repeats` times along each axis.
pub(super) fn tile(call: &mut Call) -> Outcome {
    let Some(repeats) = call.int_list(1)? else { return fault!("the repeats are not given") };
    let repeats = repeats.iter().map(|&r| size(r)).collect::<Outcome<Vec<_>>>()?;
    let value = call.take(0)?;
    let shape = value.shape().to_vec();
    if repeats.len() != shape.len() {
        return fault!("{} repeats for {} dimensions", repeats.len(), shape.len());
    }
    // Every axis becomes two: how often, and how long.
    let (mut from, mut to, mut out) = (Vec::new(), Vec::new(), Vec::new());
    for (&d, &r) in shape.iter().zip(&repeats) {
        from.extend([1, d]);
        to.extend([r, d]);
        out.push(d.saturating_mul(r));
    }
    call.allowance.made(&out)?;
    match value {
        Value::Int(v) => Ok(Ints::typed(out, v.dtype, spread(&v.data, &from, &to)).into()),
        Value::Float(v) if v.is_on_host() || out.contains(&0) => {
            let data = if out.contains(&0) { Vec::new() } else { spread(&v.to_host()?, &from, &to) };
            Ok(Floats::host(out, v.dtype, data).into())
        }
        Value::Float(v) => Ok(super::shape::expanded(call, v.reshaped(from)?, &to)?.reshaped(out)?.into()),
    }
}

/// A host value whose every element is repeated `block` times along an axis, up to the length in `shape`.
pub(super) fn tile_rows(v: &Floats, at: usize, block: usize, shape: &[usize]) -> Outcome<Floats> {
    let fits = (0..shape.len())
        .all(|d| if d == at { v.shape[d].saturating_mul(block) >= shape[d] && v.shape[d] > 0 } else { v.shape[d] == shape[d] });
    if !fits {
        return fault!("blocks of {block} of {:?} do not fit {shape:?}", v.shape);
    }
    let data = v.to_host()?;
    let (outer, length, inner) = (shape[..at].iter().product::<usize>(), v.shape[at], shape[at + 1..].iter().product::<usize>());
    let mut out = Vec::with_capacity(made_elements(shape)?);
    for o in 0..outer {
        for i in 0..shape[at] {
            let first = (o * length + i / block) * inner;
            out.extend_from_slice(&data[first..first + inner]);
        }
    }
    Ok(Floats::host(shape.to_vec(), v.dtype, out))
}
