//! Scaled dot-product attention, as ONNX defines it since operator set 23.
//!
//! Burn 0.22.1 has attention in one operation, which never writes the scores down. It does not put them out, as a node may want
//! them, has no window and no lengths, and gives NaN where a query sees no key and ONNX zeros: so here are its steps one by one.

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Dispatch, Scalar};

use super::arithmetic::{Binary, floats};
use super::call::Call;
use super::dims::{broadcast, elements, size, spread};
use super::fault::{Checked, because, fault};
use super::linear::product;
use super::reduce::softmax_rows;
use super::setup::{Run, Setup, many};
use super::shape::{expanded, permute};
use super::value::{Floats, Value};
use crate::onnx::Dtype;

type D = Dispatch;

/// What is added to the scores, and for every query whether it sees any key.
type Bias = (Vec<f32>, Vec<bool>);

/// Queries, keys or values as batch × heads × sequence × width.
pub(super) fn heads(call: &Call, v: Floats, count: usize) -> Checked<Floats> {
    match *v.shape.as_slice() {
        [_, _, _, _] => Ok(v),
        [batch, length, width] if count > 0 && width % count == 0 => {
            let v = v.reshaped(vec![batch, length, count, width / count])?;
            permute(call, v, &[0, 2, 1, 3])
        }
        _ => fault!("{:?} cannot be split into {count} heads", v.shape),
    }
}

/// Keys or values behind those of the past.
pub(super) fn with_past(call: &Call, past: Option<Floats>, new: Floats) -> Checked<Floats> {
    let Some(past) = past else { return Ok(new) };
    let fits = past.rank() == 4 && (0..4).all(|d| d == 2 || past.shape[d] == new.shape[d]);
    if !fits {
        return fault!("a past of {:?} does not fit {:?}", past.shape, new.shape);
    }
    if past.shape[2] == 0 {
        return Ok(new);
    }
    let mut shape = new.shape.clone();
    shape[2] += past.shape[2];
    let dtype = new.dtype;
    let t = D::float_cat(vec![past.into_device(call.device)?, new.into_device(call.device)?], 2);
    Ok(Floats::on_device(shape, dtype, t))
}

/// Every head of keys or values as often as queries need it.
pub(super) fn repeated(call: &Call, v: Floats, queries: usize) -> Checked<Floats> {
    let [batch, count, length, width] = four(&v)?;
    if count == queries {
        return Ok(v);
    }
    if !queries.is_multiple_of(count) {
        return fault!("{queries} heads of queries cannot share {count} heads of keys");
    }
    let times = queries / count;
    let v = expanded(call, v.reshaped(vec![batch, count, 1, length, width])?, &[batch, count, times, length, width])?;
    v.reshaped(vec![batch, queries, length, width])
}

pub(super) fn four(v: &Floats) -> Checked<[usize; 4]> {
    <[usize; 4]>::try_from(v.shape.as_slice()).map_err(|_| because!("{:?} has not four dimensions", v.shape))
}

/// What is added to the scores: 0 where a query may see a key, −∞ where it may not, and the model's own bias.
///
/// With it, for every query, whether it may see anything at all; one that may not puts out zeros.
fn bias(call: &mut Call, settings: &AttentionSettings, scores: [usize; 4], past: usize) -> Checked<Option<Bias>> {
    let AttentionSettings { causal, window: (left, right), .. } = *settings;
    let lengths = call.int_list(6)?;
    let mask = if call.has(3) { Some(call.take(3)?) } else { None };
    if mask.is_none() && !causal && lengths.is_none() && left < 0 && right < 0 {
        return Ok(None);
    }
    let [batch, count, queries, keys] = scores;
    let mut out = vec![0.0_f32; batch * count * queries * keys];
    if let Some(mask) = mask {
        let allowed = |v: i64| if v == 0 { f32::NEG_INFINITY } else { 0.0 };
        let (data, mut shape): (Vec<f32>, Vec<usize>) = match &mask {
            Value::Int(v) => (v.data.iter().map(|&v| allowed(v)).collect(), v.shape.clone()),
            Value::Float(v) => (v.to_host()?.to_vec(), v.shape.clone()),
        };
        let mut data = data;
        // A mask may be shorter than the keys: nobody sees what lies behind it.
        if let Some(last) = shape.last_mut().filter(|l| **l > 1 && **l < keys) {
            let short = *last;
            data = data
                .chunks(short)
                .flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(f32::NEG_INFINITY, keys - short)))
                .collect();
            *last = keys;
        }
        if broadcast([shape.as_slice(), &scores])? != scores {
            return fault!("a mask of {shape:?} does not fit {scores:?}");
        }
        out = spread(&data, &shape, &scores);
    }
    for (i, value) in out.iter_mut().enumerate() {
        let (key, query, n) = (i % keys, i / keys % queries, i / keys / queries / count);
        let beyond = lengths.as_ref().is_some_and(|l| l.get(n).is_some_and(|&l| key as i64 >= l));
        let offset = match &lengths {
            Some(l) => l.get(n).map_or(0, |&l| l.saturating_sub(queries as i64)),
            None => past as i64,
        };
        let distance = (key as i64).saturating_sub((query as i64).saturating_add(offset));
        let outside = (causal && distance > 0) || (left >= 0 && distance < -left) || (right >= 0 && distance > right);
        if beyond || outside {
            *value = f32::NEG_INFINITY;
        }
    }
    let sees: Vec<bool> = out.chunks(keys).map(|row| row.iter().any(|&v| v > f32::NEG_INFINITY)).collect();
    Ok(Some((out, sees)))
}

/// Everything that a node says beside its inputs.
struct AttentionSettings {
    /// Heads of queries, and of keys and values, where these are not split yet.
    heads: (usize, usize),
    causal: bool,
    /// Keys that a query sees before and behind its own place; all where negative.
    window: (i64, i64),
    scale: Option<f32>,
    cap: f32,
    /// Which of the scores on the way are put out too.
    shown: i64,
}

impl AttentionSettings {
    fn of(setup: &Setup) -> Checked<Self> {
        Ok(Self {
            heads: (size(setup.int_or("q_num_heads", 0))?, size(setup.int_or("kv_num_heads", 0))?),
            causal: setup.flag("is_causal"),
            window: (setup.int_or("left_window_size", -1), setup.int_or("right_window_size", -1)),
            scale: setup.float("scale").filter(|&s| s != 0.0),
            cap: setup.float_or("softcap", 0.0),
            shown: setup.int_or("qk_matmul_output_mode", 0),
        })
    }
}

pub(super) fn attention(setup: &Setup) -> Checked<Run> {
    let settings = AttentionSettings::of(setup)?;
    many(move |call| attended(call, &settings))
}

fn attended(call: &mut Call, settings: &AttentionSettings) -> Checked<Vec<Value>> {
    let (q_heads, kv_heads) = settings.heads;
    let (q, k, v) = (call.take_floats(0)?, call.take_floats(1)?, call.take_floats(2)?);
    let flat = q.rank() == 3;
    let dtype = q.dtype;
    let (q, k, v) = (heads(call, q, q_heads)?, heads(call, k, kv_heads)?, heads(call, v, kv_heads)?);
    let (past_k, past_v) = (call.optional_floats(4)?, call.optional_floats(5)?);
    let past = past_k.as_ref().map_or(0, |p| p.shape.get(2).copied().unwrap_or(0));
    let (k, v) = (with_past(call, past_k, k)?, with_past(call, past_v, v)?);
    let present = [k.clone(), v.clone()];
    let [batch, count, queries, width] = four(&q)?;
    let (k, v) = (repeated(call, k, count)?, repeated(call, v, count)?);
    let ([_, _, keys, k_width], [_, _, v_keys, v_width]) = (four(&k)?, four(&v)?);
    if k_width != width || keys != v_keys || k.shape[0] != batch || v.shape[0] != batch {
        return fault!("queries {:?}, keys {:?} and values {:?} do not fit", q.shape, k.shape, v.shape);
    }
    let shape = [batch, count, queries, keys];
    if elements(&shape)? == 0 || width == 0 || v_width == 0 {
        return fault!("there is nothing to attend to: {shape:?}");
    }
    let scale = settings.scale.unwrap_or(1.0 / (width as f32).sqrt());
    let scalar = |v: f32| Floats::host(Vec::new(), Dtype::F32, vec![v]);
    let root = scale.abs().sqrt() * scale.signum();
    let q = floats(call, Binary::Mul, q, scalar(root))?;
    let k = floats(call, Binary::Mul, permute(call, k, &[0, 1, 3, 2])?, scalar(scale.abs().sqrt()))?;
    let mut scores = product(call, q, k)?;
    let mode = settings.shown;
    let mut shown = (mode == 0).then(|| scores.clone());
    let cap = settings.cap;
    if cap > 0.0 {
        let t = D::float_tanh(D::float_clamp(
            D::float_div_scalar(scores.into_device(call.device)?, Scalar::Float(f64::from(cap))),
            Scalar::Float(-15.0),
            Scalar::Float(15.0),
        ));
        scores = Floats::on_device(shape.to_vec(), dtype, D::float_mul_scalar(t, Scalar::Float(f64::from(cap))));
    }
    if mode == 1 {
        shown = Some(scores.clone());
    }
    let mut blind = None;
    if let Some((mut bias, sees)) = bias(call, settings, shape, past)? {
        if sees.contains(&false) {
            bias.chunks_mut(keys).zip(&sees).filter(|(_, sees)| !**sees).for_each(|(row, _)| row.fill(0.0));
            blind = Some(Floats::host(vec![batch, count, queries, 1], Dtype::F32, sees.iter().map(|&s| f32::from(u8::from(s))).collect()));
        }
        scores = floats(call, Binary::Add, scores, Floats::host(shape.to_vec(), Dtype::F32, bias))?;
    }
    if mode == 2 {
        shown = Some(scores.clone());
    }
    let rows = softmax_rows(scores.shaped(call.device, &[batch * count * queries, keys])?, false);
    let mut weights = Floats::on_device(shape.to_vec(), dtype, rows);
    if let Some(sees) = blind {
        weights = floats(call, Binary::Mul, weights, sees)?;
    }
    if mode == 3 {
        shown = Some(weights.clone());
    }
    let mut y = product(call, weights, v)?;
    if flat {
        y = permute(call, y, &[0, 2, 1, 3])?.reshaped(vec![batch, queries, count * v_width])?;
    }
    let [present_k, present_v] = present;
    let mut out: Vec<Value> = vec![y.into(), present_k.into(), present_v.into()];
    out.extend(shown.map(Value::from));
    Ok(out)
}
