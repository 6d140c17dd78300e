//! Operators that change or tell a value's shape and leave its elements alone.

use burn::backend::Dispatch;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::Shape;

use super::call::Call;
use super::dims::{self, aligned, axes, axis, broadcast, permuted, spread, strided};
use super::fault::{Checked, fault};
use super::setup::{Run, Setup, many, one};
use super::value::{Floats, Ints, Value};

pub(super) fn reshape(setup: &Setup) -> Checked<Run> {
    let (setting, allow_zero) = (setup.ints("shape"), setup.flag("allowzero"));
    one(move |call| {
        let Some(target) = call.ints_from(1, setting.as_ref())? else { return fault!("the shape is not given") };
        let value = call.take(0)?;
        let have = value.shape();
        let mut shape = Vec::with_capacity(target.len());
        let mut open = None;
        for (i, &d) in target.iter().enumerate() {
            shape.push(match d {
                -1 if open.is_none() => {
                    open = Some(i);
                    1
                }
                0 if !allow_zero => match have.get(i) {
                    Some(&d) => d,
                    None => return fault!("{target:?} copies dimension {i}, which {have:?} lacks"),
                },
                d => dims::size(d)?,
            });
        }
        if let Some(open) = open {
            let known = dims::elements(&shape)?;
            let total: usize = have.iter().product();
            if known == 0 || !total.is_multiple_of(known) {
                return fault!("{have:?} cannot be reshaped to {target:?}");
            }
            shape[open] = total / known;
        }
        value.reshaped(shape)
    })
}

pub(super) fn flatten(setup: &Setup) -> Checked<Run> {
    let along = setup.int_or("axis", 1);
    one(move |call| {
        let value = call.take(0)?;
        let rank = value.shape().len();
        let at = if along == rank as i64 { rank } else { axis(along, rank)? };
        let (outer, inner) = value.shape().split_at(at);
        let shape = vec![outer.iter().product(), inner.iter().product()];
        value.reshaped(shape)
    })
}

pub(super) fn squeeze(setup: &Setup) -> Checked<Run> {
    let setting = setup.ints("axes");
    one(move |call| {
        let list = call.ints_from(1, setting.as_ref())?;
        let value = call.take(0)?;
        let have = value.shape();
        let gone = match list {
            Some(list) => axes(&list, have.len())?,
            None => (0..have.len()).filter(|&i| have[i] == 1).collect(),
        };
        if let Some(&i) = gone.iter().find(|&&i| have[i] != 1) {
            return fault!("dimension {i} of {have:?} is not 1");
        }
        let shape = have.iter().enumerate().filter(|(i, _)| !gone.contains(i)).map(|(_, &d)| d).collect();
        value.reshaped(shape)
    })
}

pub(super) fn unsqueeze(setup: &Setup) -> Checked<Run> {
    let setting = setup.ints("axes");
    one(move |call| {
        let Some(list) = call.ints_from(1, setting.as_ref())? else { return fault!("the axes are not given") };
        let value = call.take(0)?;
        let rank = value.shape().len() + list.len();
        let new = axes(&list, rank)?;
        let mut rest = value.shape().iter().copied();
        let shape = (0..rank).filter_map(|i| if new.contains(&i) { Some(1) } else { rest.next() }).collect();
        value.reshaped(shape)
    })
}

pub(super) fn transpose(setup: &Setup) -> Checked<Run> {
    let setting = setup.ints("perm");
    one(move |call| {
        let value = call.take(0)?;
        let rank = value.shape().len();
        let order: Vec<usize> = match &setting {
            Some(list) => list.iter().map(|&a| axis(a, rank)).collect::<Checked<_>>()?,
            None => (0..rank).rev().collect(),
        };
        check_order(&order, rank)?;
        match value {
            Value::Float(v) => Ok(permute(call, v, &order)?.into()),
            Value::Int(v) => {
                let (shape, strides) = permuted(&v.shape, &order);
                let data = strided(&v.data, 0, &shape, &strides);
                Ok(Ints::typed(shape, v.dtype, data).into())
            }
        }
    })
}

/// Whether `order` names every axis once.
fn check_order(order: &[usize], rank: usize) -> Checked<()> {
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    if sorted.iter().copied().eq(0..rank) { Ok(()) } else { fault!("{order:?} is no order of {rank} dimensions") }
}

/// Floats with their axes in another order.
pub(super) fn permute(call: &Call, v: Floats, order: &[usize]) -> Checked<Floats> {
    check_order(order, v.rank())?;
    let (shape, strides) = permuted(&v.shape, order);
    if shape.len() < 2 {
        return Ok(v);
    }
    let dtype = v.dtype;
    if v.is_on_host() {
        return Ok(Floats::host(shape.clone(), dtype, strided(&v.to_host()?, 0, &shape, &strides)));
    }
    Ok(Floats::on_device(shape, dtype, Dispatch::float_permute(v.into_device(call.device)?, order)))
}

pub(super) fn expand(_: &Setup) -> Checked<Run> {
    one(move |call| {
        let Some(target) = call.int_list(1)? else { return fault!("the shape is not given") };
        let target = target.iter().map(|&d| dims::size(d)).collect::<Checked<Vec<_>>>()?;
        match call.take(0)? {
            Value::Int(v) => {
                let shape = broadcast([v.shape.as_slice(), &target])?;
                call.allowance.made(&shape)?;
                let data = spread(&v.data, &v.shape, &shape);
                Ok(Ints::typed(shape, v.dtype, data).into())
            }
            Value::Float(v) => Ok(expanded(call, v, &target)?.into()),
        }
    })
}

/// Floats broadcast to `target`.
pub(super) fn expanded(call: &Call, v: Floats, target: &[usize]) -> Checked<Floats> {
    let shape = broadcast([v.shape.as_slice(), target])?;
    let dtype = v.dtype;
    if shape == v.shape {
        return Ok(v);
    }
    call.allowance.made(&shape)?;
    if shape.contains(&0) {
        return Ok(Floats::empty(shape, dtype));
    }
    if v.is_on_host() {
        return Ok(Floats::host(shape.clone(), dtype, spread(&v.to_host()?, &v.shape, &shape)));
    }
    let rank = shape.len().max(1);
    let t = v.shaped(call.device, &aligned(&v.shape, rank))?;
    let wide = Shape::from(aligned(&shape, rank));
    Ok(Floats::on_device(shape, dtype, Dispatch::float_expand(t, wide)))
}

pub(super) fn shape(setup: &Setup) -> Checked<Run> {
    let (first, last) = (setup.int_or("start", 0), setup.int("end"));
    one(move |call| {
        let shape = call.value(0)?.shape();
        let rank = shape.len() as i64;
        let bound = |v: i64| if v < 0 { v.saturating_add(rank) } else { v }.clamp(0, rank) as usize;
        let (start, end) = (bound(first), bound(last.unwrap_or(rank)));
        let part: Vec<i64> = shape.get(start..end).unwrap_or_default().iter().map(|&d| d as i64).collect();
        Ok(Ints::new(vec![part.len()], part).into())
    })
}

pub(super) fn size(_: &Setup) -> Checked<Run> {
    one(move |call| {
        let elements = call.value(0)?.shape().iter().product::<usize>();
        Ok(Ints::new(Vec::new(), vec![elements as i64]).into())
    })
}

pub(super) fn identity(_: &Setup) -> Checked<Run> {
    one(move |call| call.take(0))
}

/// Nothing is dropped when a network is only run, in training mode either; the mask says so.
pub(super) fn dropout(setup: &Setup) -> Checked<Run> {
    let wants_mask = setup.wants(1);
    many(move |call| {
        let value = call.take(0)?;
        let shape = value.shape().to_vec();
        if !wants_mask {
            return Ok(vec![value]);
        }
        let mask = Ints::bools(shape.clone(), vec![1; shape.iter().product()]);
        Ok(vec![value, mask.into()])
    })
}
