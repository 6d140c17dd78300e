//! Pools: the largest, the mean or the norm of what a window shows.
//!
//! Over one and two dimensions Burn's pools do it, with what they lack put around them: uneven pads, and counts that leave pads
//! out. It has none over three, none of norms and none that tells places as ONNX numbers them: those run on the host.

use burn::backend::ops::ModuleOps;
use burn::backend::{Dispatch, DispatchTensor};

use super::arithmetic::{Binary, floats};
use super::call::Call;
use super::fault::{Checked, fault};
use super::movement::padded;
use super::reduce::{Fold, fold_rows, global};
use super::setup::{Run, Setup, many, one};
use super::value::{Floats, Ints, Value};
use super::window::{Sliding, Window, seen_elements};
use crate::onnx::Dtype;

type D = Dispatch;

/// Elements that all windows of a pool may show together.
const MAX_LOOKS: usize = 1 << 36;

/// A pool over a value: windows whose end pads reach as far as the last window, and how many places each axis has.
struct Pool {
    x: Floats,
    windows: Vec<Window>,
    /// End pads as the model gives them; windows reach beyond where sizes are rounded up.
    ends: Vec<usize>,
    places: Vec<usize>,
    shape: Vec<usize>,
}

/// The settings of a pool.
struct PoolSettings {
    kernel: Vec<usize>,
    sliding: Sliding,
    round_up: bool,
}

impl PoolSettings {
    fn of(setup: &Setup) -> Checked<Self> {
        let kernel = setup.sizes("kernel_shape")?.unwrap_or_default();
        Ok(Self { kernel, sliding: Sliding::of(setup)?, round_up: setup.flag("ceil_mode") })
    }
}

fn pool(call: &mut Call, settings: &PoolSettings) -> Checked<Pool> {
    let x = match call.take(0)? {
        Value::Float(v) => v,
        Value::Int(v) => v.to_floats(v.dtype),
    };
    if x.rank() < 3 {
        return fault!("{:?} has nothing to pool", x.shape);
    }
    let (kernel, round_up) = (&settings.kernel, settings.round_up);
    let mut windows = settings.sliding.over(kernel, &x.shape[2..])?;
    let mut places = Vec::with_capacity(windows.len());
    let mut ends = Vec::with_capacity(windows.len());
    for (window, &length) in windows.iter_mut().zip(&x.shape[2..]) {
        let Some(room) = (length + window.pads.0 + window.pads.1).checked_sub(window.extent()) else {
            return fault!("a window of {kernel:?} is larger than {:?}", x.shape);
        };
        let mut count = if round_up { room.div_ceil(window.stride) } else { room / window.stride } + 1;
        // A window that would begin beyond the value and its pads before is left out, as PyTorch does.
        if round_up && count > 1 && (count - 1) * window.stride >= length + window.pads.0 {
            count -= 1;
        }
        ends.push(window.pads.1);
        let reach = (count - 1) * window.stride + window.extent();
        window.pads.1 = window.pads.1.max(reach.saturating_sub(length + window.pads.0));
        places.push(count);
    }
    let mut shape = x.shape[..2].to_vec();
    shape.extend_from_slice(&places);
    let looks = kernel.iter().chain(&shape).try_fold(1_usize, |n, &v| n.checked_mul(v));
    if looks.is_none_or(|looks| looks > MAX_LOOKS) {
        return fault!("windows of {kernel:?} over {:?} are too much work", x.shape);
    }
    seen_elements(call, &shape, &windows)?;
    Ok(Pool { x, windows, ends, places, shape })
}

/// Windows and value of a pool over one or two dimensions, as one over two.
fn planar(pool: &Pool, call: &Call) -> Checked<Option<(DispatchTensor, [Window; 2])>> {
    let flat = Window { kernel: 1, stride: 1, dilation: 1, pads: (0, 0) };
    let s = &pool.x.shape;
    Ok(match *pool.windows.as_slice() {
        [w] => Some((pool.x.shaped(call.device, &[s[0], s[1], 1, s[2]])?, [flat, w])),
        [h, w] => Some((pool.x.to_device(call.device)?, [h, w])),
        _ => None,
    })
}

/// Pads that the pool itself can apply, after those that it cannot have been applied.
fn apply_pads(t: DispatchTensor, windows: &[Window; 2], fill: f32) -> (DispatchTensor, [usize; 2]) {
    let even = windows.iter().all(|w| w.pads.0 == w.pads.1 && w.pads.0 <= w.kernel / 2);
    if even {
        return (t, windows.map(|w| w.pads.0));
    }
    (padded(t, &windows.map(|w| w.pads), fill), [0, 0])
}

pub(super) fn max(setup: &Setup) -> Checked<Run> {
    let settings = PoolSettings::of(setup)?;
    let (column_major, wants_indices) = (setup.flag("storage_order"), setup.wants(1));
    many(move |call| {
        let pool = pool(call, &settings)?;
        let dtype = pool.x.dtype;
        if pool.shape.contains(&0) {
            return Ok(vec![Floats::empty(pool.shape.clone(), dtype).into(), Ints::new(pool.shape, Vec::new()).into()]);
        }
        if !wants_indices
            && pool.x.elements() > 0
            && let Some((t, windows)) = planar(&pool, call)?
        {
            let (t, pads) = apply_pads(t, &windows, f32::MIN);
            let t = D::max_pool2d(t, windows.map(|w| w.kernel), windows.map(|w| w.stride), pads, windows.map(|w| w.dilation), false);
            return Ok(vec![Floats::on_device(pool.shape, dtype, t).into()]);
        }
        let spatial = pool.x.shape[2..].to_vec();
        let plane: usize = spatial.iter().product();
        let mut indices = Vec::with_capacity(pool.shape.iter().product());
        let data = on_host(&pool, |seen, _, offset| {
            let best = seen.iter().copied().reduce(|a, b| if b.0 > a.0 || a.0.is_nan() { b } else { a });
            let (value, mut at) = best.unwrap_or((f32::MIN, 0));
            if column_major {
                at = turned(at, &spatial);
            }
            indices.push((offset * plane + at) as i64);
            value
        })?;
        let indices = Ints::new(pool.shape.clone(), indices);
        Ok(vec![Floats::host(pool.shape, dtype, data).into(), indices.into()])
    })
}

/// The place of a row-major index in column-major order.
fn turned(mut at: usize, spatial: &[usize]) -> usize {
    let mut index = vec![0; spatial.len()];
    for (i, &d) in index.iter_mut().zip(spatial).rev() {
        *i = at % d;
        at /= d;
    }
    index.iter().zip(spatial).rev().fold(0, |n, (i, d)| n * d + i)
}

pub(super) fn average(setup: &Setup) -> Checked<Run> {
    let settings = PoolSettings::of(setup)?;
    let include = setup.flag("count_include_pad");
    one(move |call| {
        let pool = pool(call, &settings)?;
        let dtype = pool.x.dtype;
        if pool.shape.contains(&0) {
            return Ok(Floats::empty(pool.shape, dtype).into());
        }
        let plain = pool.windows.iter().all(|w| w.dilation == 1) && pool.x.elements() > 0;
        let Some((t, windows)) = planar(&pool, call)?.filter(|_| plain) else {
            let data = on_host(&pool, |seen, whole, _| {
                let count = if include { whole } else { seen.len() };
                seen.iter().map(|(v, _)| v).sum::<f32>() / count as f32
            })?;
            return Ok(Floats::host(pool.shape, dtype, data).into());
        };
        let t = padded(t, &windows.map(|w| w.pads), 0.0);
        let area = windows.iter().map(|w| w.kernel).product::<usize>() as f32;
        let t = D::avg_pool2d(t, windows.map(|w| w.kernel), windows.map(|w| w.stride), [0, 0], true, false);
        let mean = Floats::on_device(pool.shape.clone(), dtype, t);
        // What the window shows beyond the value was counted in: correct where it must not be.
        let counts: Vec<Vec<usize>> = (0..pool.windows.len()).map(|i| seen_along(&pool, i, include)).collect();
        let mut factors = vec![area];
        for along in &counts {
            factors = factors.iter().flat_map(|f| along.iter().map(move |&c| if c == 0 { 0.0 } else { f / c as f32 })).collect();
        }
        if factors.iter().all(|&f| (f - 1.0).abs() < 1e-6) {
            return Ok(mean.into());
        }
        let mut shape = vec![1, 1];
        shape.extend_from_slice(&pool.places);
        Ok(floats(call, Binary::Mul, mean, Floats::host(shape, Dtype::F32, factors))?.into())
    })
}

/// How many elements of axis `i` each window shows, pads counted or not.
fn seen_along(pool: &Pool, i: usize, include: bool) -> Vec<usize> {
    let (window, length) = (pool.windows[i], pool.x.shape[2 + i]);
    let (low, high) = if include { (0, length + window.pads.0 + pool.ends[i]) } else { (window.pads.0, window.pads.0 + length) };
    (0..pool.places[i])
        .map(|p| (0..window.kernel).map(|k| p * window.stride + k * window.dilation).filter(|at| (low..high).contains(at)).count())
        .collect()
}

pub(super) fn norm(setup: &Setup) -> Checked<Run> {
    let settings = PoolSettings::of(setup)?;
    let p = setup.int("p").map_or_else(|| setup.float_or("p", 2.0), |p| p as f32);
    one(move |call| {
        let pool = pool(call, &settings)?;
        let data = on_host(&pool, |seen, _, _| seen.iter().map(|(v, _)| v.abs().powf(p)).sum::<f32>().powf(1.0 / p))?;
        Ok(Floats::host(pool.shape, pool.x.dtype, data).into())
    })
}

/// Any pool on the host. `fold` gets what a window shows (elements and their place in the plane), how many elements it shows
/// with the model's pads counted, and the number of the plane.
fn on_host(pool: &Pool, mut fold: impl FnMut(&[(f32, usize)], usize, usize) -> f32) -> Checked<Vec<f32>> {
    let data = pool.x.to_host()?;
    let spatial = &pool.x.shape[2..];
    let plane: usize = spatial.iter().product();
    let planes = pool.x.shape[0] * pool.x.shape[1];
    let axes: Vec<Vec<Vec<Option<usize>>>> = (0..spatial.len()).map(|i| places_along(pool, i)).collect();
    let inside: Vec<Vec<usize>> = (0..spatial.len()).map(|i| seen_along(pool, i, true)).collect();
    let mut out = Vec::with_capacity(pool.shape.iter().product());
    let mut seen = Vec::new();
    for p in 0..planes {
        let data = &data[p * plane..(p + 1) * plane];
        let mut index = vec![0; spatial.len()];
        'places: loop {
            // Flat indices that the window shows, axis by axis.
            let mut flat = vec![0_usize];
            for (i, &at) in index.iter().enumerate() {
                flat = flat.iter().flat_map(|f| axes[i][at].iter().flatten().map(move |x| f * spatial[i] + x)).collect();
            }
            seen.clear();
            seen.extend(flat.into_iter().map(|i| (data[i], i)));
            let whole = index.iter().enumerate().map(|(i, &at)| inside[i][at]).product();
            out.push(fold(&seen, whole, p));
            let mut d = index.len();
            loop {
                if d == 0 {
                    break 'places;
                }
                d -= 1;
                index[d] += 1;
                if index[d] < pool.places[d] {
                    break;
                }
                index[d] = 0;
            }
        }
    }
    Ok(out)
}

/// For every place along axis `i`, which elements its window shows.
fn places_along(pool: &Pool, i: usize) -> Vec<Vec<Option<usize>>> {
    let (window, length) = (pool.windows[i], pool.x.shape[2 + i]);
    let element = |p: usize, k: usize| (p * window.stride + k * window.dilation).checked_sub(window.pads.0).filter(|&at| at < length);
    (0..pool.places[i]).map(|p| (0..window.kernel).map(|k| element(p, k)).collect()).collect()
}

pub(super) fn global_max(_: &Setup) -> Checked<Run> {
    one(move |call| {
        let v = call.take_floats(0)?;
        let (rows, count, shape) = global(&v)?;
        if rows == 0 || count == 0 {
            return Ok(Floats::empty(shape, v.dtype).into());
        }
        let dtype = v.dtype;
        let t = fold_rows(v.shaped(call.device, &[rows, count])?, Fold::Max);
        Ok(Floats::on_device(shape, dtype, t).into())
    })
}

pub(super) fn global_norm(setup: &Setup) -> Checked<Run> {
    let p = setup.float_or("p", setup.int_or("p", 2) as f32);
    one(move |call| {
        let v = call.take_floats(0)?;
        let (rows, count, shape) = global(&v)?;
        let data = v.to_host()?;
        let norm = |row: &[f32]| row.iter().map(|v| v.abs().powf(p)).sum::<f32>().powf(1.0 / p);
        let data = (0..rows).map(|r| norm(&data[r * count..(r + 1) * count])).collect();
        Ok(Floats::host(shape, v.dtype, data).into())
    })
}
