//! Images made larger or smaller: every result is a weighted sum of a few elements, axis by axis.
//!
//! Burn's `interpolate` (0.22.1) goes over two dimensions, from corners or from centres. ONNX has seven ways to say where a
//! place lies, any axes, antialiasing and regions; those two are among the seven and worked out the same way as the rest.

use super::arithmetic::{Binary, floats};
use super::call::Call;
use super::dims::{axis, made_elements};
use super::fault::{Checked, fault};
use super::gather::select;
use super::setup::{Run, Setup, one};
use super::value::{Floats, Value};
use crate::onnx::Dtype;

/// What a tap of one place costs beside its elements, in elements.
const PLACE: u64 = 32;

/// What is asked for along one axis.
struct Axis {
    at: usize,
    length: usize,
    result: usize,
    /// The result's length before it was rounded down.
    wanted: f32,
    scale: f32,
    /// Start and end of the region of interest, as fractions.
    region: (f32, f32),
}

impl Axis {
    /// How many times longer the result is.
    fn growth(&self) -> f64 {
        self.result as f64 / self.length as f64
    }

    /// A value's shape after this axis was resized.
    fn on(&self, shape: &[usize]) -> Vec<usize> {
        let mut shape = shape.to_vec();
        shape[self.at] = self.result;
        shape
    }
}

/// How elements between two others are found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

/// Where a result's place lies in the value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    TfHalfPixelForNearest,
    TfCropAndResize,
}

/// Which of two elements is the nearest.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nearest {
    PreferFloor,
    PreferCeil,
    Floor,
    Ceil,
}

/// Everything else.
struct Style {
    mode: Mode,
    coordinates: Coordinates,
    nearest: Nearest,
    cubic: f32,
    exclude_outside: bool,
    antialias: bool,
    extrapolation: f32,
}

/// Elements and weights for every result along an axis; all lists are of the same length, weights may be 0.
struct Taps {
    indices: Vec<Vec<usize>>,
    weights: Vec<Vec<f32>>,
    /// Results that lie outside the value and are extrapolated.
    outside: Vec<bool>,
}

impl Style {
    /// What holds where a setting is not there changed with the operator sets.
    fn of(setup: &Setup, old: bool) -> Checked<Self> {
        let mode = match setup.string_or("mode", "nearest") {
            "nearest" => Mode::Nearest,
            "linear" | "bilinear" => Mode::Linear,
            "cubic" => Mode::Cubic,
            other => return fault!("the mode “{other}” is not known"),
        };
        let coordinates = match setup.string_or("coordinate_transformation_mode", "half_pixel") {
            _ if old => Coordinates::Asymmetric,
            "half_pixel" => Coordinates::HalfPixel,
            "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
            "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
            "align_corners" => Coordinates::AlignCorners,
            "asymmetric" => Coordinates::Asymmetric,
            "tf_half_pixel_for_nn" => Coordinates::TfHalfPixelForNearest,
            "tf_crop_and_resize" => Coordinates::TfCropAndResize,
            other => return fault!("the coordinates “{other}” are not known"),
        };
        let nearest = match setup.string_or("nearest_mode", "round_prefer_floor") {
            _ if old => Nearest::Floor,
            "round_prefer_floor" => Nearest::PreferFloor,
            "round_prefer_ceil" => Nearest::PreferCeil,
            "floor" => Nearest::Floor,
            "ceil" => Nearest::Ceil,
            other => return fault!("the nearest mode “{other}” is not known"),
        };
        Ok(Self {
            mode,
            coordinates,
            nearest,
            cubic: setup.float_or("cubic_coeff_a", -0.75),
            exclude_outside: setup.flag("exclude_outside"),
            antialias: setup.flag("antialias"),
            extrapolation: setup.float_or("extrapolation_value", 0.0),
        })
    }
}

/// Which length is kept where sizes would change the proportions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    Stretch,
    NotLarger,
    NotSmaller,
}

/// `Resize`, and `Upsample` before it.
pub(super) fn resize(setup: &Setup) -> Checked<Run> {
    let old = setup.node.op == "Upsample" || setup.opset < 11;
    let style = Style::of(setup, old)?;
    let scales = setup.attributes().floats("scales").map(<[f32]>::to_vec);
    let axes = setup.ints("axes");
    let policy = match setup.string_or("keep_aspect_ratio_policy", "stretch") {
        "not_larger" => Policy::NotLarger,
        "not_smaller" => Policy::NotSmaller,
        _ => Policy::Stretch,
    };
    one(move |call| resized(call, &style, old, (scales.as_deref(), axes.as_deref()), policy))
}

fn resized(call: &mut Call, style: &Style, old: bool, (scales, named): (Option<&[f32]>, Option<&[i64]>), policy: Policy) -> Checked<Value> {
    let scales = match if old { call.float_list(1)? } else { call.float_list(2)? }.filter(|s| !s.is_empty()) {
        Some(scales) => Some(scales.to_vec()),
        None => scales.map(<[f32]>::to_vec),
    };
    let sizes = if old { None } else { call.int_list(3)?.filter(|s| !s.is_empty()) };
    let region = if old { None } else { call.float_list(1)?.filter(|r| !r.is_empty()) };
    let value = match call.take(0)? {
        Value::Float(v) => v,
        Value::Int(v) => v.to_floats(v.dtype),
    };
    let rank = value.rank();
    let list = match named {
        Some(list) => list.iter().map(|&a| axis(a, rank)).collect::<Checked<Vec<_>>>()?,
        None => (0..rank).collect(),
    };
    let mut axes = asked(&value, &list, scales.as_deref(), sizes.as_deref(), policy)?;
    if style.coordinates == Coordinates::TfCropAndResize {
        let Some(region) = region.filter(|r| r.len() == 2 * list.len()) else { return fault!("the region is not given") };
        for (i, axis) in axes.iter_mut().enumerate() {
            axis.region = (region[i], region[list.len() + i]);
        }
    }
    let mut shape = value.shape.clone();
    for axis in &axes {
        shape[axis.at] = axis.result;
    }
    if made_elements(&shape)? == 0 || value.elements() == 0 {
        return if shape.contains(&0) {
            Ok(Floats::empty(shape, value.dtype).into())
        } else {
            fault!("{:?} cannot be resized", value.shape)
        };
    }
    // What shrinks comes first and what grows most last: the fewer elements are on the way.
    axes.sort_by(|a, b| a.growth().total_cmp(&b.growth()));
    let dtype = value.dtype;
    let mut inside = Floats::host(Vec::new(), Dtype::F32, vec![1.0]);
    let mut out: Value = Floats::on_device(value.shape.clone(), dtype, value.to_device(call.device)?).into();
    for axis in &axes {
        let crops = style.coordinates == Coordinates::TfCropAndResize;
        if axis.length == axis.result && axis.scale.to_bits() == 1.0_f32.to_bits() && !crops {
            continue;
        }
        // Every tap takes the elements, and weighs and adds them; it is itself a few numbers for every place.
        let support = support(axis, style);
        let taps = (2.0 * support).ceil() as u64;
        let made = made_elements(&axis.on(out.shape()))? as u64;
        call.allowance.spend(taps.saturating_mul(2 * made + PLACE * axis.result as u64), &shape)?;
        let taps = self::taps(axis, style, support)?;
        if taps.outside.contains(&true) {
            let mut wide = vec![1; rank];
            wide[axis.at] = axis.result;
            let mask = Floats::host(wide, Dtype::F32, taps.outside.iter().map(|&o| if o { 0.0 } else { 1.0 }).collect());
            inside = floats(call, Binary::Mul, inside, mask)?;
        }
        out = apply(call, &out, axis, &taps)?;
    }
    if inside.elements() > 1 {
        let keep = inside.to_host()?;
        let fill = Floats::host(inside.shape.clone(), Dtype::F32, keep.iter().map(|k| (1.0 - k) * style.extrapolation).collect());
        let kept = floats(call, Binary::Mul, out.into_floats(), inside)?;
        out = floats(call, Binary::Add, kept, fill)?.into();
    }
    Ok(out.into_floats().marked(dtype).into())
}

/// Lengths and scales along the named axes.
fn asked(value: &Floats, list: &[usize], scales: Option<&[f32]>, sizes: Option<&[i64]>, policy: Policy) -> Checked<Vec<Axis>> {
    let plain = |at: usize, result: usize, scale: f32| Axis {
        at,
        length: value.shape[at],
        result,
        wanted: result as f32,
        scale,
        region: (0.0, 1.0),
    };
    if let Some(sizes) = sizes {
        if sizes.len() != list.len() || sizes.iter().any(|&s| s < 0) {
            return fault!("sizes {sizes:?} for {} axes", list.len());
        }
        let ratio = |i: usize| sizes[i] as f32 / value.shape[list[i]] as f32;
        let ratios = (0..list.len()).map(ratio);
        let common = match policy {
            Policy::NotLarger => Some(ratios.fold(f32::INFINITY, f32::min)),
            Policy::NotSmaller => Some(ratios.fold(0.0, f32::max)),
            Policy::Stretch => None,
        };
        let one = |(i, &at): (usize, &usize)| match common {
            Some(scale) => plain(at, (scale * value.shape[at] as f32).round() as usize, scale),
            None => plain(at, sizes[i] as usize, ratio(i)),
        };
        return Ok(list.iter().enumerate().map(one).collect());
    }
    let Some(scales) = scales else { return fault!("neither scales nor sizes are given") };
    if scales.len() != list.len() || scales.iter().any(|s| !s.is_finite() || *s <= 0.0) {
        return fault!("scales {scales:?} for {} axes", list.len());
    }
    let scaled = |(&at, &scale): (&usize, &f32)| {
        let wanted = scale * value.shape[at] as f32;
        Axis { wanted, ..plain(at, wanted.floor() as usize, scale) }
    };
    Ok(list.iter().zip(scales).map(scaled).collect())
}

/// Where result `i` lies in the value.
fn position(axis: &Axis, style: &Style, i: usize) -> f32 {
    let (x, scale, length, result) = (i as f32, axis.scale, axis.length as f32, axis.result as f32);
    match style.coordinates {
        Coordinates::HalfPixel => (x + 0.5) / scale - 0.5,
        Coordinates::HalfPixelSymmetric => {
            // Of the true result's length, which is rounded down: the centre stays the centre.
            let adjustment = result / (scale * length);
            length / 2.0 * (1.0 - adjustment) + (x + 0.5) / scale - 0.5
        }
        Coordinates::PytorchHalfPixel if axis.result > 1 => (x + 0.5) / scale - 0.5,
        Coordinates::AlignCorners if axis.wanted > 1.0 => x * (length - 1.0) / (axis.wanted - 1.0),
        // A result of one element.
        Coordinates::PytorchHalfPixel | Coordinates::AlignCorners => 0.0,
        Coordinates::Asymmetric => x / scale,
        Coordinates::TfHalfPixelForNearest => (x + 0.5) / scale,
        Coordinates::TfCropAndResize => {
            let (start, end) = axis.region;
            if axis.result > 1 {
                start * (length - 1.0) + x * (end - start) * (length - 1.0) / (result - 1.0)
            } else {
                0.5 * (start + end) * (length - 1.0)
            }
        }
    }
}

/// How many times wider the kernel is, so that nothing of what shrinks is left out.
fn stretch(axis: &Axis, style: &Style) -> f32 {
    if style.antialias && axis.scale < 1.0 { 1.0 / axis.scale } else { 1.0 }
}

/// How far from a result's place elements count.
fn support(axis: &Axis, style: &Style) -> f32 {
    let plain = match style.mode {
        Mode::Nearest => 0.5,
        Mode::Linear => 1.0,
        Mode::Cubic => 2.0,
    };
    plain * stretch(axis, style)
}

fn taps(axis: &Axis, style: &Style, support: f32) -> Checked<Taps> {
    let last = axis.length as i64 - 1;
    let stretch = stretch(axis, style);
    if f64::from(support) * axis.result as f64 > f64::from(1 << 24) {
        return fault!("a scale of {} is too small", axis.scale);
    }
    let mut rows: Vec<Vec<(usize, f32)>> = Vec::with_capacity(axis.result);
    let mut outside = Vec::with_capacity(axis.result);
    for i in 0..axis.result {
        let at = position(axis, style, i);
        if !at.is_finite() || at.abs() > (1 << 30) as f32 {
            return fault!("a place of {at} is out of bounds");
        }
        outside.push(style.coordinates == Coordinates::TfCropAndResize && (at < 0.0 || at > last as f32));
        if style.mode == Mode::Nearest {
            let nearest = match style.nearest {
                Nearest::PreferFloor => (at - 0.5).ceil(),
                Nearest::PreferCeil => (at + 0.5).floor(),
                Nearest::Floor => at.floor(),
                Nearest::Ceil => at.ceil(),
            };
            rows.push(vec![((nearest as i64).clamp(0, last) as usize, 1.0)]);
            continue;
        }
        let (from, to) = ((at - support).floor() as i64 + 1, (at + support).ceil() as i64 - 1);
        let mut row: Vec<(usize, f32)> = Vec::new();
        let mut total = 0.0;
        for n in from..=to.max(from) {
            let distance = (n as f32 - at).abs() / stretch;
            let weight = if style.mode == Mode::Cubic { cubic(distance, style.cubic) } else { (1.0 - distance).max(0.0) };
            let within = (0..=last).contains(&n);
            if style.exclude_outside && !within {
                continue;
            }
            total += weight;
            row.push((n.clamp(0, last) as usize, weight));
        }
        if row.is_empty() {
            row.push(((at.round() as i64).clamp(0, last) as usize, 1.0));
            total = 1.0;
        }
        if (style.exclude_outside || style.antialias) && total != 0.0 {
            for (_, weight) in &mut row {
                *weight /= total;
            }
        }
        rows.push(row);
    }
    let most = rows.iter().map(Vec::len).max().unwrap_or(1);
    let tap = |k: usize| rows.iter().map(move |row| row.get(k).copied().unwrap_or((row[0].0, 0.0)));
    Ok(Taps {
        indices: (0..most).map(|k| tap(k).map(|(i, _)| i).collect()).collect(),
        weights: (0..most).map(|k| tap(k).map(|(_, w)| w).collect()).collect(),
        outside,
    })
}

/// Keys' cubic convolution kernel.
fn cubic(x: f32, a: f32) -> f32 {
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

fn apply(call: &Call, value: &Value, axis: &Axis, taps: &Taps) -> Checked<Value> {
    let rank = value.shape().len();
    let mut wide = vec![1; rank];
    wide[axis.at] = axis.result;
    let mut total: Option<Floats> = None;
    for (indices, weights) in taps.indices.iter().zip(&taps.weights) {
        let mut part = select(call, value.clone(), axis.at, indices)?.into_floats();
        if weights.iter().any(|w| w.to_bits() != 1.0_f32.to_bits()) {
            part = floats(call, Binary::Mul, part, Floats::host(wide.clone(), Dtype::F32, weights.clone()))?;
        }
        total = Some(match total {
            Some(total) => floats(call, Binary::Add, total, part)?,
            None => part,
        });
    }
    total.map_or_else(|| fault!("nothing is left of it"), |v| Ok(v.into()))
}
