//! Operators that make values from little or nothing.

use super::cast::{convert, dtype_of};
use super::dims::{made_elements, size, spread};
use super::fault::{Checked, because, fault};
use super::setup::{Run, Setup, one};
use super::value::{Floats, Ints, Value};
use crate::graph::Attribute;
use crate::onnx::Dtype;

/// One value, zero where none is given, repeated over a shape.
pub(super) fn constant_of_shape(setup: &Setup) -> Checked<Run> {
    let value = match setup.attributes().get("value") {
        None => Floats::host(Vec::new(), Dtype::F32, vec![0.0]).into(),
        Some(Attribute::Tensor(id)) => (setup.tensor)(*id)?,
        Some(_) => return fault!("its value is not one number"),
    };
    if value.shape().iter().product::<usize>() != 1 {
        return fault!("its value is not one number");
    }
    one(move |call| {
        let Some(target) = call.int_list(0)? else { return fault!("the shape is not given") };
        let shape = target.iter().map(|&d| size(d)).collect::<Checked<Vec<_>>>()?;
        let total = call.allowance.made(&shape)?;
        Ok(match &value {
            Value::Int(v) => Ints::typed(shape, v.dtype, vec![v.data[0]; total]).into(),
            Value::Float(v) => Floats::host(shape, v.dtype, vec![v.to_host()?[0]; total]).into(),
        })
    })
}

/// Numbers from a start, a step apart, up to a limit.
pub(super) fn range(_: &Setup) -> Checked<Run> {
    one(move |call| {
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
            return Ok(
                Ints::typed(vec![count], dtype, (0..count as i64).map(|i| start.wrapping_add(i.wrapping_mul(step))).collect()).into()
            );
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
    })
}

/// Ones on a diagonal.
pub(super) fn eye_like(setup: &Setup) -> Checked<Run> {
    let (named, k) = (setup.int("dtype").map(dtype_of), setup.int_or("k", 0));
    one(move |call| {
        let value = call.value(0)?;
        let &[rows, columns] = value.shape() else { return fault!("{:?} is no matrix", value.shape()) };
        let dtype = named.unwrap_or(value.dtype());
        let one = |r: usize, c: usize| i64::from(c as i64 - r as i64 == k);
        let data = (0..rows).flat_map(|r| (0..columns).map(move |c| one(r, c))).collect();
        convert(Ints::new(vec![rows, columns], data).into(), dtype)
    })
}

/// The upper or lower triangle of the last two axes.
pub(super) fn trilu(setup: &Setup) -> Checked<Run> {
    let upper = setup.int_or("upper", 1) != 0;
    one(move |call| {
        let k = call.scalar_int(1)?.unwrap_or(0);
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
    })
}

/// A value's elements repeated whole, `repeats` times along each axis.
pub(super) fn tile(_: &Setup) -> Checked<Run> {
    one(move |call| {
        let Some(repeats) = call.int_list(1)? else { return fault!("the repeats are not given") };
        let repeats = repeats.iter().map(|&r| size(r)).collect::<Checked<Vec<_>>>()?;
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
    })
}

/// A host value whose every element is repeated `block` times along an axis, up to the length in `shape`.
pub(super) fn tile_rows(v: &Floats, at: usize, block: usize, shape: &[usize]) -> Checked<Floats> {
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
