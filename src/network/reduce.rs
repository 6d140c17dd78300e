//! Operators that draw the elements along some axes together.

use std::cmp::Ordering;

use burn::backend::ops::{ActivationOps, FloatTensorOps};
use burn::backend::{Dispatch, DispatchTensor, Scalar, TensorMetadata};
use burn::tensor::{Shape, Slice};

use super::call::Call;
use super::dims::{axes, axis, elements, permuted, strided};
use super::fault::{Checked, fault};
use super::setup::{Run, Setup, one};
use super::shape::permute;
use super::value::{Floats, Ints, Value};
use crate::onnx::Dtype;

type D = Dispatch;

/// Mesa's software adapter ends every shader loop after 65,535 rounds and says nothing (Burn 0.22.1, one round per element),
/// so longer sums are taken in steps of this many.
pub(super) const LOOP: usize = 32_768;

/// How elements are drawn together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fold {
    Sum,
    Product,
    Max,
    Min,
}

impl Fold {
    /// What the fold of nothing is.
    fn neutral(self) -> f32 {
        match self {
            Self::Sum => 0.0,
            Self::Product => 1.0,
            Self::Max => f32::NEG_INFINITY,
            Self::Min => f32::INFINITY,
        }
    }

    fn dim(self, t: DispatchTensor, dim: usize) -> DispatchTensor {
        match self {
            Self::Sum => D::float_sum_dim(t, dim),
            Self::Product => D::float_prod_dim(t, dim),
            Self::Max => D::float_max_dim(t, dim),
            Self::Min => D::float_min_dim(t, dim),
        }
    }
}

/// Folds the last axis of a matrix, which stays as a dimension of 1.
pub(super) fn fold_rows(mut t: DispatchTensor, fold: Fold) -> DispatchTensor {
    loop {
        let shape = t.shape();
        let (rows, length) = (shape[0], shape[1]);
        if length <= LOOP {
            return fold.dim(t, 1);
        }
        let whole = length / LOOP;
        let part = |from: usize, to: usize| [Slice::from(0..rows), Slice::from(from..to)];
        let head = D::float_reshape(D::float_slice(t.clone(), &part(0, whole * LOOP)), Shape::from(vec![rows * whole, LOOP]));
        let mut parts = vec![D::float_reshape(fold.dim(head, 1), Shape::from(vec![rows, whole]))];
        if whole * LOOP < length {
            parts.push(fold.dim(D::float_slice(t, &part(whole * LOOP, length)), 1));
        }
        t = if parts.len() == 1 { parts.remove(0) } else { D::float_cat(parts, 1) };
    }
}

/// Which reduction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reduction {
    Mean,
    Sum,
    Product,
    Max,
    Min,
    L1,
    L2,
    SumSquare,
    LogSum,
    LogSumExp,
}

impl Reduction {
    fn of(op: &str) -> Option<Self> {
        Some(match op {
            "ReduceMean" => Self::Mean,
            "ReduceSum" => Self::Sum,
            "ReduceProd" => Self::Product,
            "ReduceMax" => Self::Max,
            "ReduceMin" => Self::Min,
            "ReduceL1" => Self::L1,
            "ReduceL2" => Self::L2,
            "ReduceSumSquare" => Self::SumSquare,
            "ReduceLogSum" => Self::LogSum,
            "ReduceLogSumExp" => Self::LogSumExp,
            _ => return None,
        })
    }
}

/// The axes that a reduction goes over: all where none is named, unless none is what is meant.
fn reduced_axes(named: Option<&[i64]>, none_is_none: bool, rank: usize) -> Checked<Vec<usize>> {
    match named {
        Some(list) if !list.is_empty() => axes(list, rank),
        _ if none_is_none => Ok(Vec::new()),
        _ => Ok((0..rank).collect()),
    }
}

fn kept_shape(shape: &[usize], gone: &[usize], keep: bool) -> Vec<usize> {
    let dims = shape.iter().enumerate();
    dims.filter_map(|(i, &d)| {
        if !gone.contains(&i) {
            Some(d)
        } else if keep {
            Some(1)
        } else {
            None
        }
    })
    .collect()
}

/// Floats with `gone` moved to the end, as a matrix: kept elements by reduced ones.
fn matrix(call: &Call, v: Floats, gone: &[usize]) -> Checked<Floats> {
    let rank = v.rank();
    let mut order: Vec<usize> = (0..rank).filter(|i| !gone.contains(i)).collect();
    let rows: usize = order.iter().map(|&i| v.shape[i]).product();
    let columns: usize = gone.iter().map(|&i| v.shape[i]).product();
    order.extend_from_slice(gone);
    let v = if order.iter().copied().eq(0..rank) { v } else { permute(call, v, &order)? };
    v.reshaped(vec![rows, columns])
}

pub(super) fn reduce(setup: &Setup) -> Checked<Run> {
    let Some(op) = Reduction::of(&setup.node.op) else { return fault!("it is not known") };
    let (setting, keep, none_is_none) = (setup.ints("axes"), setup.int_or("keepdims", 1) != 0, setup.flag("noop_with_empty_axes"));
    one(move |call| {
        let rank = call.value(0)?.shape().len();
        let gone = reduced_axes(call.ints_from(1, setting.as_ref())?.as_deref(), none_is_none, rank)?;
        let value = call.take(0)?;
        let shape = kept_shape(value.shape(), &gone, keep);
        let v = match value {
            Value::Float(v) => v,
            Value::Int(v) => return Ok(reduce_ints(op, &v, &gone, shape)?.into()),
        };
        let dtype = v.dtype;
        let count: usize = gone.iter().map(|&i| v.shape[i]).product();
        if elements(&shape)? == 0 {
            return Ok(Floats::empty(shape, dtype).into());
        }
        let on_host = v.is_on_host();
        let v = matrix(call, v, &gone)?;
        if on_host {
            let data = v.to_host()?;
            let rows: usize = shape.iter().product();
            let folded = (0..rows).map(|r| fold_host(op, &data[r * count..(r + 1) * count])).collect();
            return Ok(Floats::host(shape, dtype, folded).into());
        }
        let t = v.into_device(call.device)?;
        let square = |t: DispatchTensor| D::float_mul(t.clone(), t);
        let t = match op {
            Reduction::Mean => D::float_mul_scalar(fold_rows(t, Fold::Sum), Scalar::Float(1.0 / count as f64)),
            Reduction::Sum => fold_rows(t, Fold::Sum),
            Reduction::Product => fold_rows(t, Fold::Product),
            Reduction::Max => fold_rows(t, Fold::Max),
            Reduction::Min => fold_rows(t, Fold::Min),
            Reduction::L1 => fold_rows(D::float_abs(t), Fold::Sum),
            Reduction::L2 => D::float_sqrt(fold_rows(square(t), Fold::Sum)),
            Reduction::SumSquare => fold_rows(square(t), Fold::Sum),
            Reduction::LogSum => D::float_log(fold_rows(t, Fold::Sum)),
            Reduction::LogSumExp => {
                let largest = fold_rows(t.clone(), Fold::Max);
                let sum = fold_rows(D::float_exp(D::float_sub(t, largest.clone())), Fold::Sum);
                D::float_add(D::float_log(sum), largest)
            }
        };
        Ok(Floats::on_device(shape, dtype, t).into())
    })
}

fn fold_host(op: Reduction, row: &[f32]) -> f32 {
    let wide = || row.iter().map(|&x| f64::from(x));
    let value = match op {
        Reduction::Mean => wide().sum::<f64>() / row.len() as f64,
        Reduction::Product => wide().product(),
        Reduction::Max => return row.iter().copied().fold(Fold::Max.neutral(), f32::max),
        Reduction::Min => return row.iter().copied().fold(Fold::Min.neutral(), f32::min),
        Reduction::L1 => wide().map(f64::abs).sum(),
        Reduction::L2 => wide().map(|x| x * x).sum::<f64>().sqrt(),
        Reduction::SumSquare => wide().map(|x| x * x).sum(),
        Reduction::LogSum => wide().sum::<f64>().ln(),
        Reduction::LogSumExp => {
            let largest = wide().fold(f64::NEG_INFINITY, f64::max);
            if largest.is_finite() { wide().map(|x| (x - largest).exp()).sum::<f64>().ln() + largest } else { largest }
        }
        Reduction::Sum => wide().sum(),
    };
    value as f32
}

fn reduce_ints(op: Reduction, v: &Ints, gone: &[usize], shape: Vec<usize>) -> Checked<Ints> {
    let mut order: Vec<usize> = (0..v.shape.len()).filter(|i| !gone.contains(i)).collect();
    order.extend_from_slice(gone);
    let (turned, strides) = permuted(&v.shape, &order);
    let data = strided(&v.data, 0, &turned, &strides);
    let count: usize = gone.iter().map(|&i| v.shape[i]).product();
    let rows = elements(&shape)?;
    if count == 0 && v.dtype == Dtype::Bool && matches!(op, Reduction::Max | Reduction::Min) {
        return Ok(Ints::bools(shape, vec![i64::from(op == Reduction::Min); rows]));
    }
    if count == 0 && !matches!(op, Reduction::Sum | Reduction::Product | Reduction::L1 | Reduction::SumSquare) {
        return fault!("nothing is left of {:?}", v.shape);
    }
    let fold = |row: &[i64]| match op {
        Reduction::Sum => row.iter().fold(0, |a: i64, &b| a.wrapping_add(b)),
        Reduction::Mean => row.iter().fold(0, |a: i64, &b| a.wrapping_add(b)) / row.len() as i64,
        Reduction::Product => row.iter().fold(1, |a: i64, &b| a.wrapping_mul(b)),
        Reduction::Max => row.iter().copied().max().unwrap_or(0),
        Reduction::Min => row.iter().copied().min().unwrap_or(0),
        Reduction::L1 => row.iter().fold(0, |a: i64, &b| a.wrapping_add(b.wrapping_abs())),
        Reduction::SumSquare => row.iter().fold(0, |a: i64, &b| a.wrapping_add(b.wrapping_mul(b))),
        Reduction::L2 | Reduction::LogSum | Reduction::LogSumExp => {
            i64::from(fold_host(op, &row.iter().map(|&x| x as f32).collect::<Vec<_>>()) as i32)
        }
    };
    let data = (0..rows).map(|r| fold(&data[r * count..(r + 1) * count])).collect();
    Ok(Ints::typed(shape, v.dtype, data))
}

/// The mean over all axes after the second.
pub(super) fn global_average(_: &Setup) -> Checked<Run> {
    one(move |call| {
        let v = call.take_floats(0)?;
        let (rows, count, shape) = global(&v)?;
        if rows == 0 || count == 0 {
            return Ok(Floats::empty(shape, v.dtype).into());
        }
        let dtype = v.dtype;
        let t = v.shaped(call.device, &[rows, count])?;
        let t = D::float_mul_scalar(fold_rows(t, Fold::Sum), Scalar::Float(1.0 / count as f64));
        Ok(Floats::on_device(shape, dtype, t).into())
    })
}

/// Planes, elements of a plane, and the shape with planes of 1.
pub(super) fn global(v: &Floats) -> Checked<(usize, usize, Vec<usize>)> {
    if v.rank() < 2 {
        return fault!("{:?} has no channels", v.shape);
    }
    let mut shape = v.shape.clone();
    shape[2..].fill(1);
    if v.elements() == 0 && !shape.contains(&0) {
        return fault!("{:?} has empty planes", v.shape);
    }
    Ok((v.shape[0] * v.shape[1], v.shape[2..].iter().product(), shape))
}

/// Softmax and its logarithm; before operator set 13 over all axes from `axis` on together.
pub(super) fn softmax(setup: &Setup) -> Checked<Run> {
    let log = setup.node.op == "LogSoftmax";
    let old = setup.opset < 13;
    let along = setup.int_or("axis", if old { 1 } else { -1 });
    one(move |call| {
        let v = call.take_floats(0)?;
        let rank = v.rank();
        let (shape, dtype) = (v.shape.clone(), v.dtype);
        if v.elements() == 0 {
            return Ok(v.into());
        }
        let at = axis(along, rank.max(1))?;
        if old || at + 1 >= rank {
            let outer: usize = shape[..at].iter().product();
            let columns = v.elements() / outer;
            let t = softmax_rows(v.shaped(call.device, &[outer, columns])?, log);
            return Ok(Floats::on_device(shape, dtype, t).into());
        }
        let mut order: Vec<usize> = (0..rank).filter(|&i| i != at).collect();
        order.push(at);
        let turned = permute(call, v, &order)?;
        let wide = turned.shape.clone();
        let length = shape[at];
        let rows = turned.elements() / length;
        let t = softmax_rows(turned.shaped(call.device, &[rows, length])?, log);
        let back: Vec<usize> = (0..rank)
            .map(|i| match i.cmp(&at) {
                Ordering::Less => i,
                Ordering::Equal => rank - 1,
                Ordering::Greater => i - 1,
            })
            .collect();
        Ok(permute(call, Floats::on_device(wide, dtype, t), &back)?.into())
    })
}

/// Over the last axis of a matrix.
pub(super) fn softmax_rows(t: DispatchTensor, log: bool) -> DispatchTensor {
    if t.shape()[1] <= LOOP {
        return if log { D::log_softmax(t, 1) } else { D::softmax(t, 1) };
    }
    let shifted = D::float_sub(t.clone(), fold_rows(t, Fold::Max));
    let sum = fold_rows(D::float_exp(shifted.clone()), Fold::Sum);
    if log { D::float_sub(shifted, D::float_log(sum)) } else { D::float_div(D::float_exp(shifted), sum) }
}
