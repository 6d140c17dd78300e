//! Operators that take elements out, put them together or repeat them.

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Dispatch, DispatchTensor, TensorMetadata};
use burn::tensor::Slice;
use burn::tensor::ops::PadMode;

use super::call::Call;
use super::dims::{MAX_ELEMENTS, axis, row_strides, size, strided};
use super::fault::{Checked, because, fault};
use super::setup::{Run, Setup, many, one};
use super::value::{Floats, Ints, Value};

pub(super) fn concat(setup: &Setup) -> Checked<Run> {
    let along = setup.int_or("axis", 1);
    one(move |call| {
        let mut values = Vec::with_capacity(call.inputs.len());
        for i in 0..call.inputs.len() {
            values.push(call.take(i)?);
        }
        let Some(first) = values.first() else { return fault!("there is nothing to put together") };
        let rank = first.shape().len();
        let at = axis(along, rank)?;
        let mut shape = first.shape().to_vec();
        for value in &values[1..] {
            let s = value.shape();
            if s.len() != rank || (0..rank).any(|d| d != at && s[d] != shape[d]) {
                return fault!("shapes {shape:?} and {s:?} do not fit together along axis {at}");
            }
            shape[at] = shape[at].saturating_add(s[at]);
        }
        call.allowance.fits(&shape)?;
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
            let hosts = values.iter().map(Floats::to_host).collect::<Checked<Vec<_>>>()?;
            let parts: Vec<(&[usize], &[f32])> = values.iter().zip(&hosts).map(|(v, h)| (v.shape.as_slice(), h.as_slice())).collect();
            return Ok(Floats::host(shape.clone(), dtype, joined(&parts, at, &shape)).into());
        }
        let tensors = values.into_iter().map(|v| v.into_device(call.device)).collect::<Checked<Vec<_>>>()?;
        Ok(Floats::on_device(shape, dtype, Dispatch::float_cat(tensors, at)).into())
    })
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
pub(super) struct AxisCut {
    pub(super) start: usize,
    pub(super) step: isize,
    pub(super) count: usize,
}

/// Takes out of a value what `cuts` say, one for each axis; all of them lie within it.
pub(super) fn cut(call: &Call, value: Value, cuts: &[AxisCut]) -> Checked<Value> {
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
pub(super) fn whole(shape: &[usize]) -> Vec<AxisCut> {
    shape.iter().map(|&d| AxisCut { start: 0, step: 1, count: d }).collect()
}

/// Bounds are settings before operator set 10, inputs since.
pub(super) fn slice(setup: &Setup) -> Checked<Run> {
    let settings = [setup.ints("starts"), setup.ints("ends"), setup.ints("axes")];
    one(move |call| {
        let (Some(starts), Some(ends)) = (call.ints_from(1, settings[0].as_ref())?, call.ints_from(2, settings[1].as_ref())?) else {
            return fault!("the bounds are not given");
        };
        let list = call.ints_from(3, settings[2].as_ref())?.unwrap_or_else(|| (0..starts.len() as i64).collect());
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
            let (start, end) = if step > 0 {
                (bound(starts[i]).clamp(0, length), bound(ends[i]).clamp(0, length))
            } else {
                (bound(starts[i]).clamp(0, (length - 1).max(0)), bound(ends[i]).clamp(-1, length - 1))
            };
            let distance = if step > 0 { end - start } else { start - end };
            let count = if distance <= 0 || length == 0 { 0 } else { (distance as u64).div_ceil(step.unsigned_abs()) as usize };
            cuts[at] = AxisCut { start: start as usize, step: step.clamp(-length.max(1), length.max(1)) as isize, count };
        }
        cut(call, value, &cuts)
    })
}

/// Along one axis into as many parts as there are outputs, or of the sizes that are given.
pub(super) fn split(setup: &Setup) -> Checked<Run> {
    let (along, setting, wanted) = (setup.int_or("axis", 0), setup.ints("split"), setup.node.outputs.len());
    let parts = usize::try_from(setup.int_or("num_outputs", wanted as i64)).unwrap_or(0).clamp(1, wanted.max(1));
    many(move |call| {
        let sizes = call.ints_from(1, setting.as_ref())?;
        let value = call.take(0)?;
        let at = axis(along, value.shape().len())?;
        let length = value.shape()[at];
        let sizes = if let Some(sizes) = sizes {
            sizes.iter().map(|&s| size(s)).collect::<Checked<Vec<_>>>()?
        } else {
            let each = length.div_ceil(parts);
            (0..parts).map(|i| each.min(length.saturating_sub(i * each))).collect()
        };
        if sizes.iter().try_fold(0_usize, |n, &s| n.checked_add(s)) != Some(length) {
            return fault!("{length} elements cannot be split into {sizes:?}");
        }
        let mut start = 0;
        let mut out = Vec::with_capacity(sizes.len());
        for count in sizes {
            let mut cuts = whole(value.shape());
            cuts[at] = AxisCut { start, step: 1, count };
            out.push(cut(call, value.clone(), &cuts)?);
            start += count;
        }
        Ok(out)
    })
}

/// One of the parts that a value is split into: of the sizes that are given or all of one, or single slices without their axis.
pub(super) fn part(setup: &Setup) -> Checked<Run> {
    let (along, keep) = (setup.int_or("axis", 0), setup.int_or("keepdims", 1) != 0);
    one(move |call| {
        let sizes = call.int_list(1)?;
        let is_list = call.has(1) && call.value(1)?.shape().len() == 1;
        let Some(position) = call.scalar_int(2)? else { return fault!("the position is not given") };
        let value = call.take(0)?;
        let at = axis(along, value.shape().len())?;
        let length = value.shape()[at];
        let unfit = |sizes: &[i64]| because!("{length} elements cannot be split into parts of {sizes:?}");
        let (start, count) = match sizes.as_deref() {
            Some(list) if is_list => {
                let sizes = list.iter().map(|&s| size(s)).collect::<Checked<Vec<_>>>()?;
                let index = axis(position, sizes.len())?;
                let start = sizes[..index].iter().try_fold(0_usize, |n, &s| n.checked_add(s)).ok_or_else(|| unfit(list))?;
                if start.checked_add(sizes[index]).is_none_or(|end| end > length) {
                    return Err(unfit(list));
                }
                (start, sizes[index])
            }
            Some(other) if other.len() != 1 || other[0] < 1 => return Err(unfit(other)),
            each => {
                let each = each.map_or(Ok(1), |each| size(each[0]))?;
                let start = axis(position, length.div_ceil(each))? * each;
                (start, each.min(length - start))
            }
        };
        let mut cuts = whole(value.shape());
        cuts[at] = AxisCut { start, step: 1, count };
        let taken = cut(call, value, &cuts)?;
        if sizes.is_some() || keep {
            return Ok(taken);
        }
        let mut shape = taken.shape().to_vec();
        shape.remove(at);
        taken.reshaped(shape)
    })
}

/// What stands in the elements that are added around a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fill {
    /// One number.
    Constant,
    /// The outermost elements.
    Edge,
    /// The elements seen in a mirror that stands on the outermost.
    Reflect,
    /// The elements from the other end on.
    Wrap,
}

impl Fill {
    fn of(mode: &str) -> Checked<Self> {
        Ok(match mode {
            "constant" => Self::Constant,
            "edge" => Self::Edge,
            "reflect" => Self::Reflect,
            "wrap" => Self::Wrap,
            _ => return fault!("the mode “{mode}” is not known"),
        })
    }
}

/// Elements added around a value, or cut away where a pad is negative.
pub(super) fn pad(setup: &Setup) -> Checked<Run> {
    let mode = Fill::of(setup.string_or("mode", "constant"))?;
    let setting = setup.ints("pads").or_else(|| setup.ints("paddings"));
    let value_setting = setup.float_or("value", 0.0);
    one(move |call| {
        let Some(pads) = call.ints_from(1, setting.as_ref())? else {
            return fault!("the pads are not given");
        };
        let fill = if call.has(2) { Some(call.take(2)?) } else { None };
        let list = call.int_list(3)?;
        let value = call.take(0)?;
        let shape = value.shape().to_vec();
        let list = match list {
            Some(list) => list.iter().map(|&a| axis(a, shape.len())).collect::<Checked<Vec<_>>>()?,
            None => (0..shape.len()).collect(),
        };
        if pads.len() != 2 * list.len() || pads.iter().any(|p| p.unsigned_abs() > MAX_ELEMENTS as u64) {
            return fault!("pads {pads:?} for {} axes", list.len());
        }
        let (mut cuts, mut grow, mut out) = (whole(&shape), vec![(0, 0); shape.len()], shape.clone());
        for (i, &at) in list.iter().enumerate() {
            let (before, after) = (pads[i], pads[list.len() + i]);
            let less = (before.min(0).unsigned_abs() as usize, after.min(0).unsigned_abs() as usize);
            let Some(count) = shape[at].checked_sub(less.0 + less.1) else { return fault!("pads {pads:?} cut more than {shape:?} away") };
            cuts[at] = AxisCut { start: less.0, step: 1, count };
            grow[at] = (before.max(0) as usize, after.max(0) as usize);
            out[at] = count + grow[at].0 + grow[at].1;
        }
        if out != shape {
            call.allowance.made(&out)?;
        }
        let mut value = cut(call, value, &cuts)?;
        if mode != Fill::Constant {
            for (at, &(before, after)) in grow.iter().enumerate().filter(|(_, g)| **g != (0, 0)) {
                let indices = around(value.shape()[at], before, after, mode)?;
                value = super::gather::select(call, value, at, &indices)?;
            }
            return Ok(value);
        }
        if out == value.shape() {
            return Ok(value);
        }
        match value {
            Value::Int(v) => {
                let fill = match fill {
                    Some(Value::Int(f)) if f.data.len() == 1 => f.data[0],
                    None => 0,
                    _ => return fault!("its fill is not one number"),
                };
                let data = framed(&v.data, &v.shape, &grow, &out, fill);
                Ok(Ints::typed(out, v.dtype, data).into())
            }
            Value::Float(v) => {
                let fill = match fill.map(|f| f.into_floats().to_host()).transpose()? {
                    Some(f) if f.len() == 1 => f[0],
                    Some(f) if !f.is_empty() => return fault!("its fill is {} numbers", f.len()),
                    _ => value_setting,
                };
                if v.is_on_host() || out.contains(&0) {
                    let data = framed(&v.to_host()?, &v.shape, &grow, &out, fill);
                    return Ok(Floats::host(out, v.dtype, data).into());
                }
                let dtype = v.dtype;
                Ok(Floats::on_device(out, dtype, padded(v.into_device(call.device)?, &grow, fill)).into())
            }
        }
    })
}

/// Adds `pads` before and after each of the last axes, filled with `fill`.
pub(super) fn padded(t: DispatchTensor, pads: &[(usize, usize)], fill: f32) -> DispatchTensor {
    if pads.iter().all(|&p| p == (0, 0)) {
        return t;
    }
    let rank = t.shape().num_dims();
    let mut all = vec![(0, 0); rank - pads.len()];
    all.extend_from_slice(pads);
    Dispatch::float_pad(t, &all, PadMode::Constant(fill))
}

/// Elements within a frame of `fill`.
fn framed<T: Copy>(data: &[T], shape: &[usize], grow: &[(usize, usize)], out: &[usize], fill: T) -> Vec<T> {
    let mut result = vec![fill; out.iter().product()];
    let (from, to) = (row_strides(shape), row_strides(out));
    for (i, &value) in data.iter().enumerate() {
        let at: usize = (0..shape.len()).map(|d| (i / from[d] as usize % shape[d] + grow[d].0) * to[d] as usize).sum();
        result[at] = value;
    }
    result
}

/// For every result along an axis, which element it repeats.
fn around(length: usize, before: usize, after: usize, mode: Fill) -> Checked<Vec<usize>> {
    let n = length as i64;
    if n == 0 {
        return fault!("there is nothing to repeat");
    }
    let place = |i: i64| match mode {
        Fill::Edge | Fill::Constant => i.clamp(0, n - 1),
        Fill::Wrap => i.rem_euclid(n),
        Fill::Reflect if n == 1 => 0,
        Fill::Reflect => {
            let period = 2 * (n - 1);
            let i = i.rem_euclid(period);
            if i < n { i } else { period - i }
        }
    };
    Ok((-(before as i64)..n + after as i64).map(|i| place(i) as usize).collect())
}

/// Blocks of channels become blocks of pixels, and the other way round.
pub(super) fn depth_space(setup: &Setup) -> Checked<Run> {
    let to_space = setup.node.op == "DepthToSpace";
    let block = size(setup.int_or("blocksize", 0))?;
    let by_column = setup.string_or("mode", "DCR") == "CRD";
    one(move |call| {
        let value = call.take(0)?.into_floats();
        let &[batch, channels, height, width] = value.shape.as_slice() else { return fault!("{:?} is no image", value.shape) };
        if block == 0 || block > MAX_ELEMENTS {
            return fault!("a block of {block}");
        }
        if to_space {
            if !channels.is_multiple_of(block.saturating_mul(block)) {
                return fault!("{channels} channels cannot be blocks of {block} by {block}");
            }
            let depth = channels / (block * block);
            let (split, order) = if by_column {
                (vec![batch, depth, block, block, height, width], [0, 1, 4, 2, 5, 3])
            } else {
                (vec![batch, block, block, depth, height, width], [0, 3, 4, 1, 5, 2])
            };
            let out = vec![batch, depth, height * block, width * block];
            return Ok(super::shape::permute(call, value.reshaped(split)?, &order)?.reshaped(out)?.into());
        }
        if !height.is_multiple_of(block) || !width.is_multiple_of(block) {
            return fault!("{height} by {width} cannot be blocks of {block}");
        }
        let split = vec![batch, channels, height / block, block, width / block, block];
        let out = vec![batch, channels * block * block, height / block, width / block];
        let order = if by_column { [0, 1, 3, 5, 2, 4] } else { [0, 3, 5, 1, 2, 4] };
        Ok(super::shape::permute(call, value.reshaped(split)?, &order)?.reshaped(out)?.into())
    })
}
