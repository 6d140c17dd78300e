//! Operators that take elements out, put them together or repeat them.

use burn::backend::Dispatch;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::Slice;

use super::call::{Call, Outcome, axis, because, fault, size};
use super::value::{Floats, Ints, MAX_ELEMENTS, Value};

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
        let (start, end) = if step > 0 {
            (bound(starts[i]).clamp(0, length), bound(ends[i]).clamp(0, length))
        } else {
            (bound(starts[i]).clamp(0, (length - 1).max(0)), bound(ends[i]).clamp(-1, length - 1))
        };
        let distance = if step > 0 { end - start } else { start - end };
        let count = if distance <= 0 || length == 0 { 0 } else { (distance as u64).div_ceil(step.unsigned_abs()) as usize };
        cuts[at] = Cut { start: start as usize, step: step.clamp(-length.max(1), length.max(1)) as isize, count };
    }
    cut(call, value, &cuts)
}

/// Along one axis into as many parts as there are outputs, or of the sizes that are given.
pub(super) fn split(call: &mut Call) -> Outcome<Vec<Value>> {
    let sizes = call.ints_from(1, "split")?;
    let parts = call.node.outputs.len();
    let value = call.take(0)?;
    let at = axis(call.int_or("axis", 0), value.shape().len())?;
    let length = value.shape()[at];
    let sizes = if let Some(sizes) = sizes {
        sizes.iter().map(|&s| size(s)).collect::<Outcome<Vec<_>>>()?
    } else {
        let parts = usize::try_from(call.int_or("num_outputs", parts as i64)).unwrap_or(0).clamp(1, parts.max(1));
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
        cuts[at] = Cut { start, step: 1, count };
        out.push(cut(call, value.clone(), &cuts)?);
        start += count;
    }
    Ok(out)
}

/// One of the parts that a value is split into: of the sizes that are given or all of one, or single slices without their axis.
pub(super) fn part(call: &mut Call) -> Outcome {
    let sizes = call.int_list(1)?;
    let is_list = call.has(1) && call.value(1)?.shape().len() == 1;
    let Some(position) = call.scalar_int(2)? else { return fault!("the position is not given") };
    let value = call.take(0)?;
    let at = axis(call.int_or("axis", 0), value.shape().len())?;
    let length = value.shape()[at];
    let unfit = |sizes: &[i64]| because!("{length} elements cannot be split into parts of {sizes:?}");
    let (start, count) = match sizes.as_deref() {
        Some(list) if is_list => {
            let sizes = list.iter().map(|&s| size(s)).collect::<Outcome<Vec<_>>>()?;
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
    cuts[at] = Cut { start, step: 1, count };
    let taken = cut(call, value, &cuts)?;
    if sizes.is_some() || call.int_or("keepdims", 1) != 0 {
        return Ok(taken);
    }
    let mut shape = taken.shape().to_vec();
    shape.remove(at);
    taken.reshaped(shape)
}

/// Elements added around a value, or cut away where a pad is negative.
pub(super) fn pad(call: &mut Call) -> Outcome {
    let Some(pads) = call.ints_from(1, "pads")?.or_else(|| call.node.attributes.ints("paddings").map(<[i64]>::to_vec)) else {
        return fault!("the pads are not given");
    };
    let mode = call.string_or("mode", "constant").to_owned();
    let fill = if call.has(2) { Some(call.take(2)?) } else { None };
    let list = call.int_list(3)?;
    let value = call.take(0)?;
    let shape = value.shape().to_vec();
    let list = match list {
        Some(list) => list.iter().map(|&a| axis(a, shape.len())).collect::<Outcome<Vec<_>>>()?,
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
        cuts[at] = Cut { start: less.0, step: 1, count };
        grow[at] = (before.max(0) as usize, after.max(0) as usize);
        out[at] = count + grow[at].0 + grow[at].1;
    }
    if out != shape {
        call.allowance.made(&out)?;
    }
    let mut value = cut(call, value, &cuts)?;
    if mode != "constant" {
        for (at, &(before, after)) in grow.iter().enumerate().filter(|(_, g)| **g != (0, 0)) {
            let indices = around(value.shape()[at], before, after, &mode)?;
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
                _ => call.float_or("value", 0.0),
            };
            if v.is_on_host() || out.contains(&0) {
                let data = framed(&v.to_host()?, &v.shape, &grow, &out, fill);
                return Ok(Floats::host(out, v.dtype, data).into());
            }
            let dtype = v.dtype;
            Ok(Floats::on_device(out, dtype, super::convolution::padded(v.into_device(call.device)?, &grow, fill)).into())
        }
    }
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
fn around(length: usize, before: usize, after: usize, mode: &str) -> Outcome<Vec<usize>> {
    let n = length as i64;
    if n == 0 {
        return fault!("there is nothing to repeat");
    }
    let place = |i: i64| match mode {
        "edge" => Some(i.clamp(0, n - 1)),
        "wrap" => Some(i.rem_euclid(n)),
        "reflect" if n == 1 => Some(0),
        "reflect" => {
            let period = 2 * (n - 1);
            let i = i.rem_euclid(period);
            Some(if i < n { i } else { period - i })
        }
        _ => None,
    };
    let all = -(before as i64)..n + after as i64;
    all.map(|i| place(i).map_or_else(|| fault!("the mode “{mode}” is not known"), |i| Ok(i as usize))).collect()
}

/// Blocks of channels become blocks of pixels, and the other way round.
pub(super) fn depth_space(call: &mut Call) -> Outcome {
    let to_space = call.node.op == "DepthToSpace";
    let block = size(call.int_or("blocksize", 0))?;
    let by_column = call.string_or("mode", "DCR") == "CRD";
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
}
