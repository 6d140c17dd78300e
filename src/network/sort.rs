//! Operators that rank or accumulate elements along one axis; carried out on the host.

use super::dims::{Lanes, axis, elements, size};
use super::fault::{Checked, fault};
use super::setup::{Run, Setup, many, one};
use super::value::{Floats, Ints, Value};

/// Integers and floats alike as f64, which tells all of them apart up to 2^53.
fn wide(value: &Value) -> Checked<Vec<f64>> {
    Ok(match value {
        Value::Float(v) => v.to_host()?.iter().map(|&x| f64::from(x)).collect(),
        Value::Int(v) => v.data.iter().map(|&x| x as f64).collect(),
    })
}

/// The index of the largest or least element along an axis.
pub(super) fn arg(setup: &Setup) -> Checked<Run> {
    let largest = setup.node.op == "ArgMax";
    let (along, keep, last) = (setup.int_or("axis", 0), setup.int_or("keepdims", 1) != 0, setup.flag("select_last_index"));
    one(move |call| {
        let value = call.take(0)?;
        let mut shape = value.shape().to_vec();
        let at = axis(along, shape.len())?;
        let lanes = Lanes::of(&shape, at);
        if lanes.length == 0 {
            return fault!("there is nothing along axis {at} of {shape:?}");
        }
        let data = wide(&value)?;
        let better = |a: f64, b: f64| if largest { b > a } else { b < a } || (last && a.total_cmp(&b).is_eq());
        let best = |start: usize| {
            let mut best = 0;
            for i in 1..lanes.length {
                if better(data[start + best * lanes.inner], data[start + i * lanes.inner]) {
                    best = i;
                }
            }
            best as i64
        };
        let out = lanes.starts().map(best).collect();
        if keep {
            shape[at] = 1;
        } else {
            shape.remove(at);
        }
        Ok(Ints::new(shape, out).into())
    })
}

/// The k largest or least elements along an axis, ties by the lower index.
pub(super) fn top_k(setup: &Setup) -> Checked<Run> {
    let (along, setting, largest) = (setup.int_or("axis", -1), setup.int_or("k", -1), setup.int_or("largest", 1) != 0);
    many(move |call| {
        let k = match call.scalar_int(1)? {
            Some(k) => k,
            None => setting,
        };
        let k = size(k)?;
        let value = call.take(0)?;
        let mut shape = value.shape().to_vec();
        let at = axis(along, shape.len())?;
        let lanes = Lanes::of(&shape, at);
        if k > lanes.length {
            return fault!("{k} of {} elements are wanted", lanes.length);
        }
        let data = wide(&value)?;
        shape[at] = k;
        let mut indices = vec![0_i64; elements(&shape)?];
        let mut places = vec![0_usize; indices.len()];
        for (lane, start) in lanes.starts().enumerate() {
            let mut order: Vec<usize> = (0..lanes.length).collect();
            order.sort_by(|&a, &b| {
                let (x, y) = (data[start + a * lanes.inner], data[start + b * lanes.inner]);
                let by_value = x.partial_cmp(&y).unwrap_or_else(|| y.is_nan().cmp(&x.is_nan()).reverse());
                if largest { by_value.reverse() } else { by_value }
            });
            let first = lane / lanes.inner * k * lanes.inner + lane % lanes.inner;
            for (i, &chosen) in order[..k].iter().enumerate() {
                indices[first + i * lanes.inner] = chosen as i64;
                places[first + i * lanes.inner] = start + chosen * lanes.inner;
            }
        }
        let values: Value = match &value {
            Value::Float(v) => {
                let data = v.to_host()?;
                Floats::host(shape.clone(), v.dtype, places.iter().map(|&i| data[i]).collect()).into()
            }
            Value::Int(v) => Ints::typed(shape.clone(), v.dtype, places.iter().map(|&i| v.data[i]).collect()).into(),
        };
        Ok(vec![values, Ints::new(shape, indices).into()])
    })
}

/// Sums, or products, of all elements up to each.
pub(super) fn cumulative(setup: &Setup) -> Checked<Run> {
    let (exclusive, reverse) = (setup.flag("exclusive"), setup.flag("reverse"));
    let product = setup.node.op == "CumProd";
    one(move |call| {
        let Some(at) = call.scalar_int(1)? else { return fault!("the axis is not given") };
        let value = call.take(0)?;
        let lanes = Lanes::of(value.shape(), axis(at, value.shape().len())?);
        match value {
            Value::Float(v) => {
                let neutral = if product { 1.0 } else { 0.0 };
                let data = accumulate(&lanes, &v.to_host()?, neutral, exclusive, reverse, |a: f32, b| if product { a * b } else { a + b });
                Ok(Floats::host(v.shape, v.dtype, data).into())
            }
            Value::Int(v) => {
                let data = accumulate(&lanes, &v.data, i64::from(product), exclusive, reverse, |a: i64, b| {
                    if product { a.wrapping_mul(b) } else { a.wrapping_add(b) }
                });
                Ok(super::cast::wrap(Ints::typed(v.shape, v.dtype, data)).into())
            }
        }
    })
}

fn accumulate<T: Copy>(lanes: &Lanes, data: &[T], neutral: T, exclusive: bool, reverse: bool, add: impl Fn(T, T) -> T) -> Vec<T> {
    let mut out = vec![neutral; data.len()];
    for start in lanes.starts() {
        let mut total = neutral;
        for i in 0..lanes.length {
            let at = start + if reverse { lanes.length - 1 - i } else { i } * lanes.inner;
            let with = add(total, data[at]);
            out[at] = if exclusive { total } else { with };
            total = with;
        }
    }
    out
}
