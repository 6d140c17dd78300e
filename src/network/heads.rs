//! Attention as ONNX Runtime's operators have it (`com.microsoft`): with the projection before it, packed, grouped or with a past.

use super::arithmetic::{Binary, floats};
use super::attention::{four, heads, repeated, with_past};
use super::call::Call;
use super::dims::{broadcast, elements, size, spread};
use super::fault::{Checked, fault};
use super::fused::number;
use super::linear::product;
use super::movement::{AxisCut, cut, whole};
use super::reduce::softmax_rows;
use super::rotary::{Angles, Rotation};
use super::setup::{Run, Setup, many};
use super::shape::permute;
use super::value::{Floats, Ints, Value};
use crate::onnx::Dtype;

/// What a node says beside its inputs.
struct HeadSettings {
    heads: usize,
    /// Heads of keys and values.
    shared: usize,
    causal: bool,
    scale: Option<f32>,
    /// What a score that is masked is lowered by.
    masked: f32,
    cap: f32,
    /// Keys that a query sees, its own among them; all where negative.
    window: i64,
    /// Widths of queries, keys and values together, where they differ.
    sizes: Option<Vec<usize>>,
    rotation: Option<Rotation>,
    outputs: usize,
}

impl HeadSettings {
    fn of(setup: &Setup) -> Checked<Self> {
        let count = size(setup.int_or("num_heads", 0))?;
        if count == 0 {
            return fault!("the number of heads is not given");
        }
        let rotation = setup.flag("do_rotary").then(|| Rotation { interleaved: setup.flag("rotary_interleaved"), width: 0 });
        Ok(Self {
            heads: count,
            shared: size(setup.int_or("kv_num_heads", count as i64))?,
            causal: setup.flag("unidirectional"),
            scale: setup.float("scale").filter(|&s| s != 0.0),
            masked: setup.float_or("mask_filter_value", -10_000.0),
            cap: setup.float_or("softcap", 0.0),
            window: setup.int_or("local_window_size", -1),
            sizes: setup.sizes("qkv_hidden_sizes")?,
            rotation,
            outputs: setup.node.outputs.len().max(1),
        })
    }
}

/// Part of a value along one axis.
fn part(call: &Call, v: &Floats, at: usize, start: usize, count: usize) -> Checked<Floats> {
    let mut cuts = whole(&v.shape);
    if start + count > cuts[at].count {
        return fault!("{:?} has not {} elements along axis {at}", v.shape, start + count);
    }
    cuts[at] = AxisCut { start, step: 1, count };
    Ok(cut(call, v.clone().into(), &cuts)?.into_floats())
}

/// Queries, keys and values, each batch × heads × sequence × width.
struct Split {
    q: Floats,
    k: Floats,
    v: Floats,
}

impl Split {
    /// softmax(q·kᵀ·scale + bias)·v, as batch × sequence × all heads.
    fn attended(self, call: &Call, settings: &HeadSettings, bias: Option<Floats>) -> Checked<Floats> {
        let [batch, count, queries, width] = four(&self.q)?;
        let (k, v) = (repeated(call, self.k, count)?, repeated(call, self.v, count)?);
        let ([.., keys, k_width], [.., v_keys, v_width]) = (four(&k)?, four(&v)?);
        if k_width != width || keys != v_keys || k.shape[0] != batch || v.shape[0] != batch {
            return fault!("queries {:?}, keys {:?} and values {:?} do not fit", self.q.shape, k.shape, v.shape);
        }
        let shape = [batch, count, queries, keys];
        if elements(&shape)? == 0 || width == 0 || v_width == 0 {
            return fault!("there is nothing to attend to: {shape:?}");
        }
        let dtype = self.q.dtype;
        let scale = settings.scale.unwrap_or(1.0 / (width as f32).sqrt());
        let q = floats(call, Binary::Mul, self.q, number(scale))?;
        let mut scores = product(call, q, permute(call, k, &[0, 1, 3, 2])?)?;
        if settings.cap > 0.0 {
            let mut data = scores.to_host()?.to_vec();
            for x in &mut data {
                *x = (*x / settings.cap).tanh() * settings.cap;
            }
            scores = Floats::host(scores.shape, dtype, data);
        }
        if let Some(bias) = bias {
            if broadcast([bias.shape.as_slice(), &shape])? != shape {
                return fault!("a bias of {:?} does not fit {shape:?}", bias.shape);
            }
            scores = floats(call, Binary::Add, scores, bias)?;
        }
        let rows = softmax_rows(scores.shaped(call.device, &[batch * count * queries, keys])?, false);
        let y = product(call, Floats::on_device(shape.to_vec(), dtype, rows), v)?;
        permute(call, y, &[0, 2, 1, 3])?.reshaped(vec![batch, queries, count * v_width])
    }
}

/// What is added to the scores of every head: a mask of keys, and of what lies behind a query.
fn masked(mask: Option<&Ints>, settings: &HeadSettings, [batch, queries, keys]: [usize; 3]) -> Checked<Option<Floats>> {
    if mask.is_none() && !settings.causal {
        return Ok(None);
    }
    let shape = [batch, 1, queries, keys];
    let mut out = vec![0.0; elements(&shape)?];
    if let Some(mask) = mask {
        let seen: Vec<i64> = match *mask.shape.as_slice() {
            [n] if n == batch || n == 2 * batch => {
                let start = |b: usize| if n == batch { 0 } else { mask.data[batch + b] };
                (0..batch).flat_map(|b| (0..keys as i64).map(move |k| i64::from(k >= start(b) && k < mask.data[b]))).collect()
            }
            [b, k] if b == batch && k == keys => mask.data.to_vec(),
            [b, q, k] if b == batch && q == queries && k == keys => mask.data.to_vec(),
            _ => return fault!("a mask of {:?} does not fit {shape:?}", mask.shape),
        };
        let from = if seen.len() == batch * keys { [batch, 1, 1, keys] } else { shape };
        for (to, seen) in out.iter_mut().zip(spread(&seen, &from, &shape)) {
            if seen == 0 {
                *to = settings.masked;
            }
        }
    }
    if settings.causal {
        for (i, to) in out.iter_mut().enumerate() {
            let (key, query) = (i % keys, i / keys % queries);
            if key + queries > query + keys {
                *to = f32::MIN;
            }
        }
    }
    Ok(Some(Floats::host(shape.to_vec(), Dtype::F32, out)))
}

/// Both, where both are given.
fn added(call: &Call, a: Option<Floats>, b: Option<Floats>) -> Checked<Option<Floats>> {
    match (a, b) {
        (Some(a), Some(b)) => floats(call, Binary::Add, a, b).map(Some),
        (a, b) => Ok(a.or(b)),
    }
}

/// The node's own projection of its input, then attention to itself.
pub(super) fn projected(setup: &Setup) -> Checked<Run> {
    let settings = HeadSettings::of(setup)?;
    if setup.flag("do_rotary") {
        return fault!("it turns its heads");
    }
    many(move |call| {
        let (x, w) = (call.take_floats(0)?, call.take_floats(1)?);
        let (bias, past, extra) = (call.optional_floats(2)?, call.optional_floats(4)?, call.optional_floats(5)?);
        let mask = if call.has(3) { Some(call.ints(3)?.clone()) } else { None };
        let &[batch, length, _] = x.shape.as_slice() else { return fault!("its input is {:?}", x.shape) };
        let mut qkv = product(call, x, w)?;
        if let Some(bias) = bias {
            qkv = floats(call, Binary::Add, qkv, bias)?;
        }
        let all = qkv.shape.last().copied().unwrap_or(0);
        let sizes = settings.sizes.clone().unwrap_or_else(|| vec![all / 3; 3]);
        let &[q, k, v] = sizes.as_slice() else { return fault!("sizes of {sizes:?}") };
        if qkv.shape != [batch, length, q + k + v] {
            return fault!("{:?} is not {sizes:?} together", qkv.shape);
        }
        let n = settings.heads;
        let split = |call: &Call, start, count| part(call, &qkv, 2, start, count).and_then(|v| heads(call, v, n));
        let (q, mut k, mut v) = (split(call, 0, q)?, split(call, q, k)?, split(call, q + k, v)?);
        if let Some(past) = past {
            let &[2, b, n, length, width] = past.shape.as_slice() else { return fault!("a past of {:?}", past.shape) };
            let half = |call: &Call, i| part(call, &past, 0, i, 1).and_then(|p| p.reshaped(vec![b, n, length, width]));
            (k, v) = (with_past(call, Some(half(call, 0)?), k)?, with_past(call, Some(half(call, 1)?), v)?);
        }
        let keys = four(&k)?[2];
        let bias = added(call, masked(mask.as_ref(), &settings, [batch, length, keys])?, extra)?;
        let mut out = vec![];
        let present = if settings.outputs > 1 {
            let (mut both, other) = (k.to_host()?.to_vec(), v.to_host()?);
            if k.shape != v.shape {
                return fault!("keys {:?} and values {:?} cannot be one value", k.shape, v.shape);
            }
            both.extend_from_slice(&other);
            let shape = std::iter::once(2).chain(k.shape.iter().copied()).collect();
            Some(Floats::host(shape, k.dtype, both))
        } else {
            None
        };
        out.push(Split { q, k, v }.attended(call, &settings, bias)?.into());
        out.extend(present.map(Value::from));
        Ok(out)
    })
}

/// One of the values that a packed one holds: batch × sequence × heads × parts × width.
fn unpacked(call: &Call, packed: &Floats, i: usize) -> Checked<Floats> {
    let &[batch, length, count, _, width] = packed.shape.as_slice() else { return fault!("{:?} is not packed", packed.shape) };
    part(call, packed, 3, i, 1)?.reshaped(vec![batch, length, count * width])
}

/// Attention of several heads to keys and values that are given.
pub(super) fn multi(setup: &Setup) -> Checked<Run> {
    let settings = HeadSettings::of(setup)?;
    many(move |call| {
        let (first, second, third) = (call.take_floats(0)?, call.optional_floats(1)?, call.optional_floats(2)?);
        let (bias, mask) = (call.optional_floats(3)?, if call.has(4) { Some(call.ints(4)?.clone()) } else { None });
        let (extra, past_k, past_v) = (call.optional_floats(5)?, call.optional_floats(6)?, call.optional_floats(7)?);
        let [mut q, mut k, mut v] = match (second, third) {
            (None, _) => [unpacked(call, &first, 0)?, unpacked(call, &first, 1)?, unpacked(call, &first, 2)?],
            (Some(packed), None) => [first, unpacked(call, &packed, 0)?, unpacked(call, &packed, 1)?],
            (Some(k), Some(v)) => [first, k, v],
        };
        if let Some(bias) = bias {
            let (mut start, mut sides) = (0, [q, k, v]);
            let is_cached = sides[1].rank() == 4;
            for (i, side) in sides.iter_mut().enumerate() {
                let count = if is_cached { bias.elements() / 3 } else { side.shape.last().copied().unwrap_or(0) };
                if i == 0 || !is_cached {
                    let own = part(call, &bias, 0, start, count)?;
                    *side = floats(call, Binary::Add, side.clone(), own)?;
                }
                start += count;
            }
            [q, k, v] = sides;
        }
        let n = settings.heads;
        let (q, k, v) = (heads(call, q, n)?, heads(call, k, n)?, heads(call, v, n)?);
        let (k, v) = (with_past(call, past_k, k)?, with_past(call, past_v, v)?);
        let ([batch, _, queries, _], [.., keys, _]) = (four(&q)?, four(&k)?);
        let bias = added(call, masked(mask.as_ref(), &settings, [batch, queries, keys])?, extra)?;
        let present = [k.clone(), v.clone()];
        let y = Split { q, k, v }.attended(call, &settings, bias)?;
        Ok(std::iter::once(y).chain(present).take(settings.outputs).map(Value::from).collect())
    })
}

/// Attention in which groups of heads share keys and values, with what came before in a buffer.
pub(super) fn grouped(setup: &Setup) -> Checked<Run> {
    let settings = HeadSettings { causal: true, ..HeadSettings::of(setup)? };
    many(move |call| {
        let (n, shared) = (settings.heads, settings.shared);
        let (first, second, third) = (call.take_floats(0)?, call.optional_floats(1)?, call.optional_floats(2)?);
        let (past_k, past_v) = (call.optional_floats(3)?, call.optional_floats(4)?);
        let Some(lengths) = call.int_list(5)? else { return fault!("the lengths are not given") };
        let total = size(call.scalar_int(6)?.unwrap_or(0))?;
        let [q, k, v] = match (second, third) {
            (Some(k), Some(v)) => [first, k, v],
            _ => {
                let width = first.shape.last().copied().unwrap_or(0) / (n + 2 * shared).max(1);
                let (a, b) = (n * width, shared * width);
                [part(call, &first, 2, 0, a)?, part(call, &first, 2, a, b)?, part(call, &first, 2, a + b, b)?]
            }
        };
        let (mut q, mut k, v) = (heads(call, q, n)?, heads(call, k, shared)?, heads(call, v, shared)?);
        let [batch, _, length, width] = four(&q)?;
        if length == 0 || width == 0 || shared == 0 {
            return fault!("there is nothing to attend to: {:?}", q.shape);
        }
        let before = |b: usize| lengths.get(b).and_then(|&l| usize::try_from(l.saturating_add(1).saturating_sub(length as i64)).ok());
        let before: Option<Vec<usize>> = (0..batch).map(before).collect();
        let Some(before) = before else { return fault!("lengths of {lengths:?} do not fit a sequence of {length}") };
        if let Some(rotation) = settings.rotation {
            let (cos, sin) = (call.take_floats(7)?, call.take_floats(8)?);
            let angles = Angles::of(&cos, &sin)?;
            let rotation = Rotation { width: 2 * cos.shape.last().copied().unwrap_or(0), ..rotation };
            for side in [&mut q, &mut k] {
                let count = side.shape[1];
                let mut data = side.to_host()?.to_vec();
                for (i, head) in data.chunks_exact_mut(width.max(1)).enumerate() {
                    rotation.turn(head, &angles, before[i / (count * length)] + i % length)?;
                }
                *side = Floats::host(side.shape.clone(), side.dtype, data);
            }
        }
        let room = past_k.as_ref().map_or(0, |p| p.shape.get(2).copied().unwrap_or(0)).max(total);
        if before.iter().any(|b| b.saturating_add(length) > room) {
            return fault!("{length} more do not fit a buffer of {room}");
        }
        let present_k = buffered(past_k.as_ref(), &k, &before, room)?;
        let present_v = buffered(past_v.as_ref(), &v, &before, room)?;
        let mut bias = vec![0.0; elements(&[batch, 1, length, room])?];
        for (i, to) in bias.iter_mut().enumerate() {
            let (key, query, b) = (i % room, i / room % length, i / room / length);
            let place = before[b] + query;
            let is_far = settings.window >= 0 && (place - key.min(place)) as i64 >= settings.window;
            if key > place || is_far {
                *to = f32::MIN;
            }
        }
        let bias = Floats::host(vec![batch, 1, length, room], Dtype::F32, bias);
        let present = [present_k.clone(), present_v.clone()];
        let y = Split { q, k: present_k, v: present_v }.attended(call, &settings, Some(bias))?;
        Ok(std::iter::once(y).chain(present).take(settings.outputs).map(Value::from).collect())
    })
}

/// A buffer of this length with what was there before, and what is new behind it.
fn buffered(past: Option<&Floats>, new: &Floats, before: &[usize], room: usize) -> Checked<Floats> {
    let [batch, count, length, width] = four(new)?;
    let shape = vec![batch, count, room, width];
    let mut out = vec![0.0; elements(&shape)?];
    if let Some(past) = past.filter(|past| past.elements() > 0) {
        let [b, n, old, w] = four(past)?;
        if (b, n, w) != (batch, count, width) || old > room {
            return fault!("a past of {:?} does not fit {:?}", past.shape, new.shape);
        }
        let data = past.to_host()?;
        for (to, from) in out.chunks_exact_mut(room * width).zip(data.chunks_exact(old * width)) {
            to[..old * width].copy_from_slice(from);
        }
    } else if before.iter().any(|&b| b > 0) {
        return fault!("what came before is not given");
    }
    let data = new.to_host()?;
    for (i, from) in data.chunks_exact(length * width).enumerate() {
        let at = i * room * width + before[i / count] * width;
        out[at..at + length * width].copy_from_slice(from);
    }
    Ok(Floats::host(shape, new.dtype, out))
}
