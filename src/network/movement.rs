//! Operators that take elements out, put them together or repeat them.

use burn::backend::Dispatch;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::Slice;

use super::call::{Call, Outcome, axis, fault};
use super::value::{Floats, Ints, Value, elements};

/// Strides of a row-major array.
pub(super) fn row_strides(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1_isize; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i] as isize;
    }
    strides
}

/// Shape and strides of a row-major array seen with its axes in another order.
pub(super) fn permuted(shape: &[usize], order: &[usize]) -> (Vec<usize>, Vec<isize>) {
    let strides = row_strides(shape);
    order.iter().map(|&a| (shape[a], strides[a])).unzip()
}

/// Elements of `data` at `offset + Σ index·stride` for every index of `shape`, in row-major order.
///
/// The caller sees to it that all of them lie within `data`.
pub(super) fn strided<T: Copy>(data: &[T], offset: isize, shape: &[usize], strides: &[isize]) -> Vec<T> {
    let total: usize = shape.iter().product();
    let mut out = Vec::with_capacity(total);
    if total == 0 {
        return out;
    }
    let Some((&inner, outer)) = shape.split_last() else {
        out.push(data[offset as usize]);
        return out;
    };
    let step = strides[outer.len()];
    let mut index = vec![0; outer.len()];
    let mut at = offset;
    loop {
        if step == 1 {
            out.extend_from_slice(&data[at as usize..at as usize + inner]);
        } else {
            out.extend((0..inner as isize).map(|i| data[(at + i * step) as usize]));
        }
        let mut d = outer.len();
        loop {
            if d == 0 {
                return out;
            }
            d -= 1;
            index[d] += 1;
            at += strides[d];
            if index[d] < outer[d] {
                break;
            }
            at -= strides[d] * outer[d] as isize;
            index[d] = 0;
        }
    }
}

pub(super) fn concat(call: &mut Call) -> Outcome {
    let mut values = Vec::with_capacity(call.inputs.len());
    for i in 0..call.inputs.len() {
        values.push(call.take(i)?);
    }
    let Some(first) = values.first() else { return fault!("there is nothing to put together") };
    let rank = first.shape().len();
    let at = axis(call.int_or("axis", 1), rank)?;
    let mut shape = first.shape().to_vec();
    for value in &values[1..] {
        let s = value.shape();
        if s.len() != rank || (0..rank).any(|d| d != at && s[d] != shape[d]) {
            return fault!("shapes {shape:?} and {s:?} do not fit together along axis {at}");
        }
        shape[at] = shape[at].saturating_add(s[at]);
    }
    elements(&shape)?;
    if values.iter().all(|v| matches!(v, Value::Int(_))) {
        let dtype = first.dtype();
        let parts: Vec<(&[usize], &[i64])> = values
            .iter()
            .filter_map(|v| if let Value::Int(v) = v { Some((v.shape.as_slice(), v.data.as_slice())) } else { None })
            .collect();
        return Ok(Ints::typed(shape.clone(), dtype, joined(&parts, at, &shape)).into());
    }
    let values: Vec<Floats> = values.into_iter().map(Value::into_floats).filter(|v| v.elements() > 0).collect();
    let Some(dtype) = values.first().map(|v| v.dtype) else { return Ok(Floats::empty(shape, crate::onnx::Dtype::F32).into()) };
    if values.iter().all(Floats::is_on_host) {
        let hosts = values.iter().map(Floats::to_host).collect::<Outcome<Vec<_>>>()?;
        let parts: Vec<(&[usize], &[f32])> = values.iter().zip(&hosts).map(|(v, h)| (v.shape.as_slice(), h.as_slice())).collect();
        return Ok(Floats::host(shape.clone(), dtype, joined(&parts, at, &shape)).into());
    }
    let tensors = values.into_iter().map(|v| v.into_device(call.device)).collect::<Outcome<Vec<_>>>()?;
    Ok(Floats::on_device(shape, dtype, Dispatch::float_cat(tensors, at)).into())
}

fn joined<T: Copy>(parts: &[(&[usize], &[T])], at: usize, shape: &[usize]) -> Vec<T> {
    let outer: usize = shape[..at].iter().product();
    let mut out = Vec::with_capacity(shape.iter().product());
    for o in 0..outer {
        for (s, data) in parts {
            let run: usize = s[at..].iter().product();
            out.extend_from_slice(&data[o * run..(o + 1) * run]);
        }
    }
    out
}

/// What is taken along one axis: `count` elements from `start`, `step` apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub(super) start: usize,
    pub(super) step: isize,
    pub(super) count: usize,
}

/// Takes out of a value what `cuts` say, one for each axis; all of them lie within it.
pub(super) fn cut(call: &Call, value: Value, cuts: &[Cut]) -> Outcome {
    let shape: Vec<usize> = cuts.iter().map(|c| c.count).collect();
    if shape == value.shape() && cuts.iter().all(|c| c.step == 1) {
        return Ok(value);
    }
    let strides = row_strides(value.shape());
    let offset: isize = cuts.iter().zip(&strides).map(|(c, s)| c.start as isize * s).sum();
    let steps: Vec<isize> = cuts.iter().zip(&strides).map(|(c, s)| c.step.saturating_mul(*s)).collect();
    match value {
        Value::Int(v) => Ok(Ints::typed(shape.clone(), v.dtype, strided(&v.data, offset, &shape, &steps)).into()),
        Value::Float(v) if shape.contains(&0) => Ok(Floats::empty(shape, v.dtype).into()),
        Value::Float(v) if v.is_on_host() => {
            Ok(Floats::host(shape.clone(), v.dtype, strided(&v.to_host()?, offset, &shape, &steps)).into())
        }
        Value::Float(v) => {
            let dtype = v.dtype;
            let backward: Vec<usize> = (0..cuts.len()).filter(|&i| cuts[i].step < 0).collect();
            let ranges: Vec<Slice> = cuts
                .iter()
                .map(|c| {
                    let span = (c.count - 1) as isize * c.step.abs();
                    let first = if c.step < 0 { c.start as isize - span } else { c.start as isize };
                    Slice::new(first, Some(first + span + 1), c.step.abs())
                })
                .collect();
            let mut t = Dispatch::float_slice(v.into_device(call.device)?, &ranges);
            if !backward.is_empty() {
                t = Dispatch::float_flip(t, &backward);
            }
            Ok(Floats::on_device(shape, dtype, t).into())
        }
    }
}

/// The whole of a value, axis by axis.
pub(super) fn whole(shape: &[usize]) -> Vec<Cut> {
    shape.iter().map(|&d| Cut { start: 0, step: 1, count: d }).collect()
}

/// Bounds are settings before operator set 10, inputs since.
pub(super) fn slice(call: &mut Call) -> Outcome {
    let (Some(starts), Some(ends)) = (call.ints_from(1, "starts")?, call.ints_from(2, "ends")?) else {
        return fault!("the bounds are not given");
    };
    let list = call.ints_from(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = call.int_list(4)?.unwrap_or_else(|| vec![1; starts.len()]);
    let value = call.take(0)?;
    let shape = value.shape();
    if ends.len() != starts.len() || list.len() != starts.len() || steps.len() != starts.len() {
        return fault!("its lists of bounds are of different lengths");
    }
    let mut cuts = whole(shape);
    for i in 0..starts.len() {
        let at = axis(list[i], shape.len())?;
        let (length, step) = (shape[at] as i64, steps[i]);
        if step == 0 {
            return fault!("a step is 0");
        }
        let bound = |v: i64| if v < 0 { v.saturating_add(length) } else { v };
        let (start, end) = match step > 0 {
            true => (bound(starts[i]).clamp(0, length), bound(ends[i]).clamp(0, length)),
            false => (bound(starts[i]).clamp(0, (length - 1).max(0)), bound(ends[i]).clamp(-1, length - 1)),
        };
        let distance = if step > 0 { end - start } else { start - end };
        let count = if distance <= 0 || length == 0 { 0 } else { (distance as u64).div_ceil(step.unsigned_abs()) as usize };
        cuts[at] = Cut { start: start as usize, step: step.clamp(-length.max(1), length.max(1)) as isize, count };
    }
    cut(call, value, &cuts)
}
