//! Operators of one float input that treat every element alike.

use burn::backend::ops::{ActivationOps, FloatTensorOps};
use burn::backend::{Dispatch, DispatchTensor, Scalar};
use burn::tensor::{BoolDType, Device};

use super::dims::{aligned, broadcast, spread};
use super::fault::{Checked, fault};
use super::setup::{Run, Setup, one};
use super::value::{Floats, Ints, Value, is_host};
use crate::graph::Node;

type D = Dispatch;
type T = DispatchTensor;

/// The same function on the host and on the device.
struct Unary {
    host: Box<dyn Fn(f32) -> f32 + Send + Sync>,
    device: OnDevice,
}

/// A function of a tensor, on the device where the tensor lies.
type OnDevice = Box<dyn Fn(T, &Device) -> T + Send + Sync>;

fn unary_of(host: impl Fn(f32) -> f32 + Send + Sync + 'static, device: impl Fn(T) -> T + Send + Sync + 'static) -> Unary {
    Unary { host: Box::new(host), device: Box::new(move |t, _| device(t)) }
}

/// One that has to know the device.
fn unary_with(host: impl Fn(f32) -> f32 + Send + Sync + 'static, device: impl Fn(T, &Device) -> T + Send + Sync + 'static) -> Unary {
    Unary { host: Box::new(host), device: Box::new(device) }
}

fn scalar(v: f32) -> Scalar {
    Scalar::Float(f64::from(v))
}

/// x·a + b
fn affine(t: T, a: f32, b: f32) -> T {
    D::float_add_scalar(D::float_mul_scalar(t, scalar(a)), scalar(b))
}

fn softplus(x: f32) -> f32 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// log(1 + eˣ) that overflows for no x: max(x, 0) + log(1 + e^-|x|).
fn softplus_of(t: T, device: &Device) -> T {
    let has_log1p = is_host(device);
    let small = D::float_exp(D::float_neg(D::float_abs(t.clone())));
    let small = if has_log1p { D::float_log1p(small) } else { log1p_of(small) };
    D::float_add(D::relu(t), small)
}

/// log(1 + t) for t in 0..=1. Shaders work it out as it stands, which loses all of a small t; here 2·artanh(t / (2 + t)) is
/// summed up, to the last bit of a float32.
fn log1p_of(t: T) -> T {
    let z = D::float_div(t.clone(), D::float_add_scalar(t, scalar(2.0)));
    let square = D::float_mul(z.clone(), z.clone());
    let mut sum = affine(square.clone(), 1.0 / 13.0, 1.0 / 11.0);
    for n in [9.0_f32, 7.0, 5.0, 3.0, 1.0] {
        sum = D::float_add_scalar(D::float_mul(sum, square.clone()), scalar(n.recip()));
    }
    D::float_mul_scalar(D::float_mul(sum, z), scalar(2.0))
}

/// a·(eˣ − 1) for negative x, nothing for others.
fn negative_exp(t: T, a: f32) -> T {
    let e = D::float_exp(D::float_clamp_max(t, scalar(0.0)));
    affine(e, a, -a)
}

/// The error function, rounded from double precision.
pub(super) fn erf(x: f32) -> f32 {
    libm::erf(f64::from(x)) as f32
}

/// The type of number that the device keeps bools in.
fn bools(device: &Device) -> BoolDType {
    device.settings().bool_dtype
}

#[expect(clippy::too_many_lines, reason = "a table, one operator to a line")]
fn find(node: &Node) -> Option<Unary> {
    let setting = |name, default| node.attributes.float(name).unwrap_or(default);
    let alpha = |default| setting("alpha", default);
    Some(match node.op.as_str() {
        "Abs" => unary_of(f32::abs, D::float_abs),
        "Acos" => unary_of(f32::acos, D::float_acos),
        "Acosh" => unary_of(f32::acosh, D::float_acosh),
        "Asin" => unary_of(f32::asin, D::float_asin),
        "Asinh" => unary_of(f32::asinh, D::float_asinh),
        "Atan" => unary_of(f32::atan, D::float_atan),
        "Atanh" => unary_of(f32::atanh, D::float_atanh),
        "Ceil" => unary_of(f32::ceil, D::float_ceil),
        "Cos" => unary_of(f32::cos, D::float_cos),
        "Cosh" => unary_of(f32::cosh, D::float_cosh),
        "Erf" => unary_of(erf, D::float_erf),
        "Exp" => unary_of(f32::exp, D::float_exp),
        "Floor" => unary_of(f32::floor, D::float_floor),
        "Log" => unary_of(f32::ln, D::float_log),
        "Neg" => unary_of(|x| -x, D::float_neg),
        "Reciprocal" => unary_of(f32::recip, D::float_recip),
        "Relu" => unary_of(|x| x.max(0.0), D::relu),
        "Round" => unary_of(f32::round_ties_even, D::float_round),
        "Sigmoid" => unary_of(|x| 1.0 / (1.0 + (-x).exp()), D::sigmoid),
        "Sign" => unary_of(|x| if x == 0.0 { 0.0 } else { x.signum() }, D::float_sign),
        "Sin" => unary_of(f32::sin, D::float_sin),
        "Sinh" => unary_of(f32::sinh, D::float_sinh),
        "Softplus" => unary_with(softplus, softplus_of),
        "Softsign" => unary_of(|x| x / (1.0 + x.abs()), |t| D::float_div(t.clone(), D::float_add_scalar(D::float_abs(t), scalar(1.0)))),
        "Sqrt" => unary_of(f32::sqrt, D::float_sqrt),
        "Tan" => unary_of(f32::tan, D::float_tan),
        // Beyond 15 a float32 is 1 to the last bit; some drivers work tanh out by way of an overflowing e²ˣ.
        "Tanh" => unary_of(f32::tanh, |t| D::float_tanh(D::float_clamp(t, scalar(-15.0), scalar(15.0)))),
        "Mish" => unary_with(
            |x| x * softplus(x).tanh(),
            |t, device| D::float_mul(t.clone(), D::float_tanh(D::float_clamp_max(softplus_of(t, device), scalar(15.0)))),
        ),
        "Swish" => {
            let a = alpha(1.0);
            unary_of(move |x| x / (1.0 + (-a * x).exp()), move |t| D::float_mul(t.clone(), D::sigmoid(D::float_mul_scalar(t, scalar(a)))))
        }
        "Gelu" if node.attributes.string("approximate") == Some("tanh") => {
            let inner = |x: f32| 0.797_884_6 * (x + 0.044_715 * x * x * x);
            unary_of(
                move |x| 0.5 * x * (1.0 + inner(x).tanh()),
                |t| {
                    let cube = D::float_mul(D::float_mul(t.clone(), t.clone()), t.clone());
                    let inner =
                        D::float_mul_scalar(D::float_add(t.clone(), D::float_mul_scalar(cube, scalar(0.044_715))), scalar(0.797_884_6));
                    let tanh = D::float_tanh(D::float_clamp(inner, scalar(-15.0), scalar(15.0)));
                    D::float_mul(t, affine(tanh, 0.5, 0.5))
                },
            )
        }
        "Gelu" => unary_of(|x| 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2)), D::gelu),
        "LeakyRelu" => {
            let a = alpha(0.01);
            unary_of(move |x| if x < 0.0 { a * x } else { x }, move |t| D::leaky_relu(t, scalar(a)))
        }
        "ThresholdedRelu" => {
            let a = alpha(1.0);
            unary_with(
                move |x| if x > a { x } else { 0.0 },
                move |t, device| {
                    let mask = D::float_lower_equal_elem(t.clone(), scalar(a), bools(device));
                    D::float_mask_fill(t, mask, scalar(0.0))
                },
            )
        }
        "Elu" => {
            let a = alpha(1.0);
            unary_of(move |x| if x < 0.0 { a * x.exp_m1() } else { x }, move |t| D::float_add(D::relu(t.clone()), negative_exp(t, a)))
        }
        "Celu" => {
            let a = alpha(1.0);
            unary_of(
                move |x| x.max(0.0) + (a * (x / a).exp_m1()).min(0.0),
                move |t| D::float_add(D::relu(t.clone()), negative_exp(D::float_div_scalar(t, scalar(a)), a)),
            )
        }
        "Selu" => {
            let (a, g) = (alpha(1.673_263_2), setting("gamma", 1.050_701));
            unary_of(
                move |x| if x <= 0.0 { g * a * x.exp_m1() } else { g * x },
                move |t| D::float_add(D::float_mul_scalar(D::relu(t.clone()), scalar(g)), negative_exp(t, a * g)),
            )
        }
        "HardSigmoid" => {
            let (a, b) = (alpha(0.2), setting("beta", 0.5));
            unary_of(move |x| (a * x + b).clamp(0.0, 1.0), move |t| D::float_clamp(affine(t, a, b), scalar(0.0), scalar(1.0)))
        }
        "HardSwish" => unary_of(
            |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            |t| D::float_mul(D::float_clamp(affine(t.clone(), 1.0 / 6.0, 0.5), scalar(0.0), scalar(1.0)), t),
        ),
        "Shrink" => {
            let (bias, lambda) = (setting("bias", 0.0), setting("lambd", 0.5));
            unary_with(
                move |x| {
                    if x < -lambda {
                        x + bias
                    } else if x > lambda {
                        x - bias
                    } else {
                        0.0
                    }
                },
                move |t, device| {
                    let low = D::float_lower_elem(t.clone(), scalar(-lambda), bools(device));
                    let high = D::float_greater_elem(t.clone(), scalar(lambda), bools(device));
                    let zero = D::float_mul_scalar(t.clone(), scalar(0.0));
                    let out = D::float_mask_where(zero, low, D::float_add_scalar(t.clone(), scalar(bias)));
                    D::float_mask_where(out, high, D::float_sub_scalar(t, scalar(bias)))
                },
            )
        }
        _ => return None,
    })
}

/// Whether [`unary`] runs this node.
pub(super) fn knows(node: &Node) -> bool {
    find(node).is_some()
}

pub(super) fn unary(setup: &Setup) -> Checked<Run> {
    let Some(function) = find(setup.node) else { return fault!("it is not known") };
    let of_ints = unary_int(&setup.node.op);
    one(move |call| match call.take(0)? {
        Value::Int(v) => {
            let Some(of_ints) = of_ints else { return fault!("it is not known of {}", v.dtype) };
            Ok(super::cast::wrap(Ints::typed(v.shape.clone(), v.dtype, v.data.iter().map(|&x| of_ints(x)).collect())).into())
        }
        Value::Float(v) if v.is_on_host() => {
            let data = v.to_host()?.iter().map(|&x| (function.host)(x)).collect();
            Ok(Floats::host(v.shape, v.dtype, data).into())
        }
        Value::Float(v) => {
            let (shape, dtype) = (v.shape.clone(), v.dtype);
            Ok(Floats::on_device(shape, dtype, (function.device)(v.into_device(call.device)?, call.device)).into())
        }
    })
}

fn unary_int(op: &str) -> Option<fn(i64) -> i64> {
    Some(match op {
        "Abs" => i64::wrapping_abs,
        "Neg" => i64::wrapping_neg,
        "Relu" => |x| x.max(0),
        "Sign" => i64::signum,
        _ => return None,
    })
}

/// Limits are settings before operator set 11, inputs since.
pub(super) fn clip(setup: &Setup) -> Checked<Run> {
    let settings = (setup.float("min"), setup.float("max"));
    one(move |call| {
        if let Value::Int(v) = call.value(0)? {
            let (min, max) = (call.scalar_int(1)?.unwrap_or(i64::MIN), call.scalar_int(2)?.unwrap_or(i64::MAX));
            return Ok(Ints::typed(v.shape.clone(), v.dtype, v.data.iter().map(|&x| x.max(min).min(max)).collect()).into());
        }
        let min = call.scalar(1)?.or(settings.0);
        let max = call.scalar(2)?.or(settings.1);
        let v = call.take_floats(0)?;
        if v.is_on_host() {
            let data = v.to_host()?.iter().map(|&x| x.max(min.unwrap_or(f32::NEG_INFINITY)).min(max.unwrap_or(f32::INFINITY))).collect();
            return Ok(Floats::host(v.shape, v.dtype, data).into());
        }
        let (shape, dtype) = (v.shape.clone(), v.dtype);
        let t = v.into_device(call.device)?;
        let t = match (min, max) {
            (Some(min), Some(max)) if min <= max => D::float_clamp(t, scalar(min), scalar(max)),
            (Some(min), Some(max)) => D::float_clamp_max(D::float_clamp_min(t, scalar(min)), scalar(max)),
            (Some(min), None) => D::float_clamp_min(t, scalar(min)),
            (None, Some(max)) => D::float_clamp_max(t, scalar(max)),
            (None, None) => t,
        };
        Ok(Floats::on_device(shape, dtype, t).into())
    })
}

/// The slope is broadcast to the input, never the other way round.
pub(super) fn prelu(_: &Setup) -> Checked<Run> {
    one(move |call| {
        let (x, slope) = (call.take(0)?.into_floats(), call.take(1)?.into_floats());
        if broadcast([x.shape.as_slice(), slope.shape.as_slice()])? != x.shape {
            return fault!("the slope's shape {:?} does not fit {:?}", slope.shape, x.shape);
        }
        if x.elements() == 0 || (x.is_on_host() && slope.is_on_host()) {
            let (a, s) = (x.to_host()?, spread(&slope.to_host()?, &slope.shape, &x.shape));
            let data = a.iter().zip(s).map(|(&x, s)| if x < 0.0 { s * x } else { x }).collect();
            return Ok(Floats::host(x.shape, x.dtype, data).into());
        }
        let wide = aligned(&slope.shape, x.rank());
        let (shape, dtype) = (x.shape.clone(), x.dtype);
        let slope = slope.shaped(call.device, &wide)?;
        let t = x.into_device(call.device)?;
        let negative = D::float_mul(D::float_clamp_max(t.clone(), scalar(0.0)), slope);
        Ok(Floats::on_device(shape, dtype, D::float_add(D::relu(t), negative)).into())
    })
}
