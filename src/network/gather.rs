//! Operators that take or put elements by index.

use std::sync::Arc;

use burn::backend::Dispatch;
use burn::backend::ops::{FloatTensorOps, IntTensorOps};
use burn::tensor::TensorData;

use super::call::Call;
use super::dims::{Lanes, axis, row_strides, size};
use super::fault::{Checked, fault};
use super::setup::{Run, Setup, one};
use super::value::{Floats, Ints, Value};

/// Elements of a value on the host, of either type, with what makes a value of others again.
enum Hosted {
    Float(Arc<Vec<f32>>),
    Int(Arc<Vec<i64>>),
}

fn hosted(value: &Value) -> Checked<Hosted> {
    Ok(match value {
        Value::Float(v) => Hosted::Float(v.to_host()?),
        Value::Int(v) => Hosted::Int(Arc::clone(&v.data)),
    })
}

/// A value of `shape` from the elements of `value` at these places.
pub(super) fn take_places(value: &Value, shape: Vec<usize>, places: &[usize]) -> Checked<Value> {
    Ok(match (value, hosted(value)?) {
        (Value::Float(v), Hosted::Float(data)) => Floats::host(shape, v.dtype, places.iter().map(|&i| data[i]).collect()).into(),
        (v, Hosted::Int(data)) => Ints::typed(shape, v.dtype(), places.iter().map(|&i| data[i]).collect()).into(),
        _ => return fault!("its input is of two types"),
    })
}

/// Indices into an axis of this length, counted from the end where they are negative.
fn resolved(indices: &[i64], length: usize) -> Checked<Vec<usize>> {
    let one = |&i: &i64| {
        let from_start = if i < 0 { i.saturating_add(length as i64) } else { i };
        usize::try_from(from_start).ok().filter(|&i| i < length).map_or_else(|| fault!("there is no index {i} in {length}"), Ok)
    };
    indices.iter().map(one).collect()
}

/// Takes these indices along an axis; all of them lie within it.
pub(super) fn select(call: &Call, value: Value, at: usize, indices: &[usize]) -> Checked<Value> {
    let lanes = Lanes::of(value.shape(), at);
    let mut shape = value.shape().to_vec();
    shape[at] = indices.len();
    call.allowance.fits(&shape)?;
    match value {
        Value::Float(v) if !v.is_on_host() && !shape.contains(&0) => {
            let data: Vec<i32> = indices.iter().map(|&i| i as i32).collect();
            let device = call.device.as_dispatch();
            let indices = Dispatch::int_from_data(TensorData::new(data, [indices.len()]), device);
            let dtype = v.dtype;
            Ok(Floats::on_device(shape, dtype, Dispatch::float_select(v.into_device(call.device)?, at, indices)).into())
        }
        value => {
            let mut places = Vec::with_capacity(shape.iter().product());
            for o in 0..lanes.outer {
                for &i in indices {
                    let first = (o * lanes.length + i) * lanes.inner;
                    places.extend(first..first + lanes.inner);
                }
            }
            take_places(&value, shape, &places)
        }
    }
}

pub(super) fn gather(setup: &Setup) -> Checked<Run> {
    let along = setup.int_or("axis", 0);
    one(move |call| {
        let indices = call.ints(1)?.clone();
        let value = call.take(0)?;
        let at = axis(along, value.shape().len())?;
        let mut shape = value.shape()[..at].to_vec();
        shape.extend_from_slice(&indices.shape);
        shape.extend_from_slice(&value.shape()[at + 1..]);
        call.allowance.fits(&shape)?;
        let list = resolved(&indices.data, value.shape()[at])?;
        select(call, value, at, &list)?.reshaped(shape)
    })
}

/// Where the elements lie that `indices`, of rank and extent below those of `shape`, name along an axis.
fn places_along(shape: &[usize], at: usize, indices: &Ints) -> Checked<Vec<usize>> {
    if indices.shape.len() != shape.len() || (0..shape.len()).any(|d| d != at && indices.shape[d] > shape[d]) {
        return fault!("indices of shape {:?} do not fit {shape:?}", indices.shape);
    }
    let strides = row_strides(shape);
    let list = resolved(&indices.data, shape[at])?;
    let steps = row_strides(&indices.shape);
    let place = |(n, &i): (usize, &usize)| {
        let other = |d: usize| n / steps[d] as usize % indices.shape[d];
        (0..shape.len()).map(|d| if d == at { i } else { other(d) } * strides[d] as usize).sum()
    };
    Ok(list.iter().enumerate().map(place).collect())
}

pub(super) fn gather_elements(setup: &Setup) -> Checked<Run> {
    let along = setup.int_or("axis", 0);
    one(move |call| {
        let indices = call.ints(1)?.clone();
        let value = call.take(0)?;
        let at = axis(along, value.shape().len())?;
        let places = places_along(value.shape(), at, &indices)?;
        take_places(&value, indices.shape, &places)
    })
}

/// Where the runs begin that the last axis of `indices` names in a value of `shape`, and how long they are.
fn runs(shape: &[usize], indices: &Ints, batch: usize) -> Checked<(Vec<usize>, usize)> {
    let Some((&depth, outer)) = indices.shape.split_last() else { return fault!("the indices have no axis") };
    if depth + batch > shape.len() || batch > outer.len() || outer[..batch] != shape[..batch] {
        return fault!("indices of shape {:?} do not fit {shape:?}", indices.shape);
    }
    let strides = row_strides(shape);
    let run: usize = shape[batch + depth..].iter().product();
    let many: usize = outer.iter().product();
    let in_batch: usize = outer[batch..].iter().product();
    let mut starts = Vec::with_capacity(many);
    for n in 0..many {
        let mut at = if batch == 0 { 0 } else { n / in_batch * shape[batch..].iter().product::<usize>() };
        for d in 0..depth {
            let index = resolved(&indices.data[n * depth + d..=n * depth + d], shape[batch + d])?;
            at += index[0] * strides[batch + d] as usize;
        }
        starts.push(at);
    }
    Ok((starts, run))
}

pub(super) fn gather_nd(setup: &Setup) -> Checked<Run> {
    let batch = size(setup.int_or("batch_dims", 0))?;
    one(move |call| {
        let indices = call.ints(1)?.clone();
        let value = call.take(0)?;
        let (starts, run) = runs(value.shape(), &indices, batch)?;
        let mut shape = indices.shape[..indices.shape.len() - 1].to_vec();
        shape.extend_from_slice(&value.shape()[batch + indices.shape[indices.shape.len() - 1]..]);
        call.allowance.fits(&shape)?;
        let places: Vec<usize> = starts.into_iter().flat_map(|s| s..s + run).collect();
        take_places(&value, shape, &places)
    })
}

/// One way to join two elements, for floats and for integers.
type Joining = (fn(f32, f32) -> f32, fn(i64, i64) -> i64);

/// How an element that is put somewhere is joined with what is there.
fn joining(name: &str) -> Checked<Joining> {
    Ok(match name {
        "none" => (|_, b| b, |_, b| b),
        "add" => (|a, b| a + b, i64::wrapping_add),
        "mul" => (|a, b| a * b, i64::wrapping_mul),
        "max" => (f32::max, i64::max),
        "min" => (f32::min, i64::min),
        _ => return fault!("the reduction “{name}” is not known"),
    })
}

fn put(value: &Value, updates: &Value, places: &[usize], (float, int): Joining) -> Checked<Value> {
    match (value, updates) {
        (Value::Float(v), Value::Float(u)) => {
            let (mut data, new) = (v.to_host()?.to_vec(), u.to_host()?);
            places.iter().zip(new.iter()).for_each(|(&i, &x)| data[i] = float(data[i], x));
            Ok(Floats::host(v.shape.clone(), v.dtype, data).into())
        }
        (Value::Int(v), Value::Int(u)) => {
            let mut data = v.data.to_vec();
            places.iter().zip(u.data.iter()).for_each(|(&i, &x)| data[i] = int(data[i], x));
            Ok(Ints::typed(v.shape.clone(), v.dtype, data).into())
        }
        (v, u) => fault!("{} cannot be put into {}", u.dtype(), v.dtype()),
    }
}

pub(super) fn scatter_elements(setup: &Setup) -> Checked<Run> {
    let along = setup.int_or("axis", 0);
    let reduction = joining(setup.string_or("reduction", "none"))?;
    one(move |call| {
        let indices = call.ints(1)?.clone();
        let (value, updates) = (call.take(0)?, call.take(2)?);
        if updates.shape() != indices.shape {
            return fault!("{:?} updates for {:?} indices", updates.shape(), indices.shape);
        }
        let at = axis(along, value.shape().len())?;
        let places = places_along(value.shape(), at, &indices)?;
        put(&value, &updates, &places, reduction)
    })
}

pub(super) fn scatter_nd(setup: &Setup) -> Checked<Run> {
    let reduction = joining(setup.string_or("reduction", "none"))?;
    one(move |call| {
        let indices = call.ints(1)?.clone();
        let (value, updates) = (call.take(0)?, call.take(2)?);
        let (starts, run) = runs(value.shape(), &indices, 0)?;
        let places: Vec<usize> = starts.into_iter().flat_map(|s| s..s + run).collect();
        if updates.shape().iter().product::<usize>() != places.len() {
            return fault!("updates of shape {:?} do not fit indices of shape {:?}", updates.shape(), indices.shape);
        }
        put(&value, &updates, &places, reduction)
    })
}

/// Indices of all elements that are not zero, one column for each.
pub(super) fn non_zero(_: &Setup) -> Checked<Run> {
    one(move |call| {
        let value = call.take(0)?;
        let shape = value.shape().to_vec();
        let hits: Vec<usize> = match hosted(&value)? {
            Hosted::Float(v) => (0..v.len()).filter(|&i| v[i] != 0.0).collect(),
            Hosted::Int(v) => (0..v.len()).filter(|&i| v[i] != 0).collect(),
        };
        let strides = row_strides(&shape);
        let data = (0..shape.len())
            .flat_map(|d| hits.iter().map(move |&i| (d, i)))
            .map(|(d, i)| (i / strides[d] as usize % shape[d]) as i64)
            .collect();
        Ok(Ints::new(vec![shape.len(), hits.len()], data).into())
    })
}

/// One of two values for every index and class.
pub(super) fn one_hot(setup: &Setup) -> Checked<Run> {
    let along = setup.int_or("axis", -1);
    one(move |call| {
        let indices = match call.take(0)? {
            Value::Int(v) => v,
            Value::Float(v) => Ints::new(v.shape.clone(), v.to_host()?.iter().map(|&x| x as i64).collect()),
        };
        let Some(depth) = call.scalar(1)? else { return fault!("the depth is not given") };
        let depth = size(depth as i64)?;
        let values = call.take(2)?;
        if values.shape() != [2] {
            return fault!("its two values are {:?}", values.shape());
        }
        let at = axis(along, indices.shape.len() + 1)?;
        let mut shape = indices.shape.clone();
        shape.insert(at, depth);
        let lanes = Lanes::of(&shape, at);
        let mut places = vec![0; call.allowance.made(&shape)?];
        for (start, &i) in lanes.starts().zip(indices.data.iter()) {
            let i = if i < 0 { i.saturating_add(depth as i64) } else { i };
            if let Some(i) = usize::try_from(i).ok().filter(|&i| i < depth) {
                places[start + i * lanes.inner] = 1;
            }
        }
        take_places(&values, shape, &places)
    })
}
