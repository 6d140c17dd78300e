//! Operators of several inputs that are broadcast against each other: arithmetic, comparison, logic, choice.

use burn::backend::ops::{BoolTensorOps, FloatTensorOps};
use burn::backend::{Dispatch, DispatchTensor, Scalar};
use burn::tensor::{Shape, TensorData};

use super::call::{Call, Outcome, fault};
use super::movement::strided;
use super::value::{Floats, Ints, Value};
use crate::onnx::Dtype;

type D = Dispatch;

/// A shape with ones before it, so that it has `rank` dimensions.
pub(super) fn aligned(shape: &[usize], rank: usize) -> Vec<usize> {
    let mut out = vec![1; rank.saturating_sub(shape.len())];
    out.extend_from_slice(shape);
    out
}

/// Elements of `shape` repeated over `out`, which `shape` is broadcast to.
pub(super) fn spread<T: Copy>(data: &[T], shape: &[usize], out: &[usize]) -> Vec<T> {
    if shape == out {
        return data.to_vec();
    }
    let aligned = aligned(shape, out.len());
    let mut strides = vec![0_isize; out.len()];
    let mut stride = 1_isize;
    for i in (0..out.len()).rev() {
        if aligned[i] != 1 {
            strides[i] = stride;
        }
        stride *= aligned[i] as isize;
    }
    strided(data, 0, out, &strides)
}

pub(super) fn binary(call: &mut Call) -> Outcome {
    let (a, b) = (call.take(0)?, call.take(1)?);
    let op = call.node.op.clone();
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Ok(ints(call, &op, &a, &b)?.into()),
        // The exponent alone may be of another type.
        (Value::Int(a), Value::Float(b)) if op == "Pow" => {
            let powers = spread(&b.to_host()?, &b.shape, &call.broadcast([a.shape.as_slice(), b.shape.as_slice()])?);
            let shape = call.broadcast([a.shape.as_slice(), b.shape.as_slice()])?;
            let data =
                spread(&a.data, &a.shape, &shape).into_iter().zip(powers).map(|(x, p)| (x as f64).powf(f64::from(p)) as i64).collect();
            Ok(Ints::typed(shape, a.dtype, data).into())
        }
        (Value::Float(a), b) if op == "Pow" => Ok(floats(call, &op, a, b.into_floats())?.into()),
        (Value::Float(a), Value::Float(b)) => Ok(floats(call, &op, a, b)?.into()),
        (a, b) => fault!("its inputs are {} and {}", a.dtype(), b.dtype()),
    }
}

fn ints(call: &Call, op: &str, a: &Ints, b: &Ints) -> Outcome<Ints> {
    let shape = call.broadcast([a.shape.as_slice(), b.shape.as_slice()])?;
    let (x, y) = (spread(&a.data, &a.shape, &shape), spread(&b.data, &b.shape, &shape));
    let divides = matches!(op, "Div" | "Mod");
    if divides && y.contains(&0) {
        return fault!("an integer is divided by zero");
    }
    let c_style = call.flag("fmod");
    let left = call.string_or("direction", "LEFT") == "LEFT";
    let function = |x: i64, y: i64| match op {
        "Add" => x.wrapping_add(y),
        "Sub" => x.wrapping_sub(y),
        "Mul" => x.wrapping_mul(y),
        "Div" => x.wrapping_div(y),
        "Mod" if c_style => x.wrapping_rem(y),
        "Mod" => x.wrapping_rem(y).wrapping_add(y).wrapping_rem(y),
        "BitwiseAnd" => x & y,
        "BitwiseOr" => x | y,
        "BitwiseXor" => x ^ y,
        "BitShift" if left && !(0..64).contains(&y) => 0,
        "BitShift" if left => x.wrapping_shl(y as u32),
        "BitShift" if !(0..64).contains(&y) => x >> 63,
        "BitShift" => x >> y,
        _ => u32::try_from(y).map_or(i64::from(x == 1), |y| x.wrapping_pow(y)),
    };
    let data = x.into_iter().zip(y).map(|(x, y)| function(x, y)).collect();
    Ok(super::cast::wrap(Ints::typed(shape, a.dtype, data)))
}

fn host_function(op: &str) -> Option<fn(f32, f32) -> f32> {
    Some(match op {
        "Add" | "Sum" | "Mean" => |x, y| x + y,
        "Sub" => |x, y| x - y,
        "Mul" => |x, y| x * y,
        "Div" => |x, y| x / y,
        "Pow" => f32::powf,
        "Mod" => |x, y| x % y,
        // The remainder has the divisor's sign, as in Python.
        "FloorMod" => |x, y| {
            let r = x % y;
            if r != 0.0 && (r < 0.0) != (y < 0.0) { r + y } else { r }
        },
        "Min" => f32::min,
        "Max" => f32::max,
        _ => return None,
    })
}

/// Two floats with this operator, on the device where one of them is there.
pub(super) fn floats(call: &Call, op: &str, a: Floats, b: Floats) -> Outcome<Floats> {
    let shape = call.broadcast([a.shape.as_slice(), b.shape.as_slice()])?;
    let dtype = a.dtype;
    let op = if op == "Mod" && !call.flag("fmod") { "FloorMod" } else { op };
    if shape.contains(&0) {
        return Ok(Floats::empty(shape, dtype));
    }
    // No backend has C's fmod, whose result is exact however large the quotient.
    if matches!(op, "Mod" | "FloorMod") || (a.is_on_host() && b.is_on_host()) {
        let Some(function) = host_function(op) else { return fault!("{op} of floats is not known") };
        let (x, y) = (spread(&a.to_host()?, &a.shape, &shape), spread(&b.to_host()?, &b.shape, &shape));
        return Ok(Floats::host(shape, dtype, x.into_iter().zip(y).map(|(x, y)| function(x, y)).collect()));
    }
    if let (Some(y), true) = (b.host_scalar(), a.shape == shape)
        && let Some(t) = with_scalar(op, a.to_device(call.device)?, y)
    {
        return Ok(Floats::on_device(shape, dtype, t));
    }
    if let (Some(x), true, "Add" | "Mul") = (a.host_scalar(), b.shape == shape, op) {
        drop(a);
        let t = b.into_device(call.device)?;
        let t = if op == "Add" { D::float_add_scalar(t, f(x)) } else { D::float_mul_scalar(t, f(x)) };
        return Ok(Floats::on_device(shape, dtype, t));
    }
    let rank = shape.len().max(1);
    let (sa, sb) = (aligned(&a.shape, rank), aligned(&b.shape, rank));
    let device = call.device;
    let x = if sa == a.shape { a.into_device(device)? } else { a.shaped(device, &sa)? };
    let y = if sb == b.shape { b.into_device(device)? } else { b.shaped(device, &sb)? };
    let t = match op {
        "Add" | "Sum" | "Mean" => D::float_add(x, y),
        "Sub" => D::float_sub(x, y),
        "Mul" => D::float_mul(x, y),
        "Div" => D::float_div(x, y),
        "Pow" => D::float_powf(x, y),
        "Min" | "Max" => {
            let (x, y) = (D::float_expand(x, Shape::from(shape.clone())), D::float_expand(y, Shape::from(shape.clone())));
            let bools = device.settings().bool_dtype;
            let take =
                if op == "Min" { D::float_lower(y.clone(), x.clone(), bools) } else { D::float_greater(y.clone(), x.clone(), bools) };
            D::float_mask_where(x, take, y)
        }
        _ => return fault!("{op} of floats is not known"),
    };
    Ok(Floats::on_device(shape, dtype, t))
}

fn f(v: f32) -> Scalar {
    Scalar::Float(f64::from(v))
}

#[expect(clippy::float_cmp, reason = "these very exponents, and no others near them")]
fn with_scalar(op: &str, x: DispatchTensor, y: f32) -> Option<DispatchTensor> {
    Some(match op {
        "Add" | "Sum" | "Mean" => D::float_add_scalar(x, f(y)),
        "Sub" => D::float_sub_scalar(x, f(y)),
        "Mul" => D::float_mul_scalar(x, f(y)),
        "Div" => D::float_div_scalar(x, f(y)),
        // Whole powers are multiplied out: a power function need not take a negative base.
        "Pow" if y == 0.5 => D::float_sqrt(x),
        "Pow" if y == 1.0 => x,
        "Pow" if y == 2.0 => D::float_mul(x.clone(), x),
        "Pow" if y == 3.0 => D::float_mul(D::float_mul(x.clone(), x.clone()), x),
        "Pow" if y == -1.0 => D::float_recip(x),
        "Pow" => D::float_powf_scalar(x, f(y)),
        "Min" => D::float_clamp_max(x, f(y)),
        "Max" => D::float_clamp_min(x, f(y)),
        _ => return None,
    })
}

/// Sum, mean, least and largest of any number of inputs.
pub(super) fn variadic(call: &mut Call) -> Outcome {
    let op = call.node.op.clone();
    let count = call.inputs.len();
    let mut total = call.take(0)?;
    for i in 1..count {
        let next = call.take(i)?;
        total = match (total, next) {
            (Value::Float(a), Value::Float(b)) => floats(call, &op, a, b)?.into(),
            (Value::Int(a), Value::Int(b)) => {
                let shape = call.broadcast([a.shape.as_slice(), b.shape.as_slice()])?;
                let (x, y) = (spread(&a.data, &a.shape, &shape), spread(&b.data, &b.shape, &shape));
                let function: fn(i64, i64) -> i64 = match op.as_str() {
                    "Min" => i64::min,
                    "Max" => i64::max,
                    _ => i64::wrapping_add,
                };
                Ints::typed(shape, a.dtype, x.into_iter().zip(y).map(|(x, y)| function(x, y)).collect()).into()
            }
            (a, b) => return fault!("its inputs are {} and {}", a.dtype(), b.dtype()),
        };
    }
    match total {
        Value::Float(total) if op == "Mean" => {
            Ok(floats(call, "Div", total, Floats::host(Vec::new(), Dtype::F32, vec![count as f32]))?.into())
        }
        total => Ok(total),
    }
}

/// Comparisons and logic; the result is on the host.
#[expect(clippy::float_cmp, reason = "the operator asks for it")]
pub(super) fn compare(call: &mut Call) -> Outcome {
    let (a, b) = (call.take(0)?, call.take(1)?);
    let shape = call.broadcast([a.shape(), b.shape()])?;
    let op = call.node.op.as_str();
    let data = match (&a, &b) {
        (Value::Int(a), Value::Int(b)) => {
            let pairs = spread(&a.data, &a.shape, &shape).into_iter().zip(spread(&b.data, &b.shape, &shape));
            let function: fn(i64, i64) -> bool = match op {
                "Equal" => |x, y| x == y,
                "Less" => |x, y| x < y,
                "LessOrEqual" => |x, y| x <= y,
                "Greater" => |x, y| x > y,
                "GreaterOrEqual" => |x, y| x >= y,
                "And" => |x, y| x != 0 && y != 0,
                "Or" => |x, y| x != 0 || y != 0,
                _ => |x, y| (x != 0) != (y != 0),
            };
            pairs.map(|(x, y)| i64::from(function(x, y))).collect()
        }
        (Value::Float(a), Value::Float(b)) => {
            let pairs = spread(&a.to_host()?, &a.shape, &shape).into_iter().zip(spread(&b.to_host()?, &b.shape, &shape));
            let function: fn(f32, f32) -> bool = match op {
                "Equal" => |x, y| x == y,
                "Less" => |x, y| x < y,
                "LessOrEqual" => |x, y| x <= y,
                "Greater" => |x, y| x > y,
                "GreaterOrEqual" => |x, y| x >= y,
                _ => return fault!("its inputs are floats"),
            };
            pairs.map(|(x, y)| i64::from(function(x, y))).collect()
        }
        (a, b) => return fault!("its inputs are {} and {}", a.dtype(), b.dtype()),
    };
    Ok(Ints::bools(shape, data).into())
}

/// Yes or no for every element of one input.
pub(super) fn test(call: &mut Call) -> Outcome {
    let (positive, negative) = (call.int_or("detect_positive", 1) != 0, call.int_or("detect_negative", 1) != 0);
    match (call.take(0)?, call.node.op.as_str()) {
        (Value::Int(v), "Not") => Ok(Ints::bools(v.shape.clone(), v.data.iter().map(|&x| i64::from(x == 0)).collect()).into()),
        (Value::Int(v), "BitwiseNot") => {
            Ok(super::cast::wrap(Ints::typed(v.shape.clone(), v.dtype, v.data.iter().map(|&x| !x).collect())).into())
        }
        (Value::Float(v), op @ ("IsNaN" | "IsInf")) => {
            let infinite = |x: f32| x.is_infinite() && if x > 0.0 { positive } else { negative };
            let data = v.to_host()?.iter().map(|&x| i64::from(if op == "IsNaN" { x.is_nan() } else { infinite(x) })).collect();
            Ok(Ints::bools(v.shape, data).into())
        }
        (v, _) => fault!("its input is {}", v.dtype()),
    }
}

/// `Where`: of two values by a condition.
pub(super) fn choose(call: &mut Call) -> Outcome {
    let condition = call.ints(0)?.clone();
    let (a, b) = (call.take(1)?, call.take(2)?);
    let shape = call.broadcast([condition.shape.as_slice(), a.shape(), b.shape()])?;
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => {
            let data = pick(
                &spread(&condition.data, &condition.shape, &shape),
                &spread(&a.data, &a.shape, &shape),
                &spread(&b.data, &b.shape, &shape),
            );
            Ok(Ints::typed(shape, a.dtype, data).into())
        }
        (Value::Float(a), Value::Float(b)) => {
            let dtype = a.dtype;
            if shape.contains(&0) {
                return Ok(Floats::empty(shape, dtype).into());
            }
            let mask = spread(&condition.data, &condition.shape, &shape);
            if a.is_on_host() && b.is_on_host() {
                let data = pick(&mask, &spread(&a.to_host()?, &a.shape, &shape), &spread(&b.to_host()?, &b.shape, &shape));
                return Ok(Floats::host(shape, dtype, data).into());
            }
            let rank = shape.len().max(1);
            let wide = Shape::from(aligned(&shape, rank));
            let mask: Vec<bool> = mask.into_iter().map(|v| v != 0).collect();
            let mask = TensorData::new(mask, wide.clone()).convert_dtype(call.device.settings().bool_dtype.into());
            let mask = D::bool_from_data(mask, call.device.as_dispatch());
            let x = D::float_expand(a.shaped(call.device, &aligned(&a.shape, rank))?, wide.clone());
            let y = D::float_expand(b.shaped(call.device, &aligned(&b.shape, rank))?, wide);
            Ok(Floats::on_device(shape, dtype, D::float_mask_where(y, mask, x)).into())
        }
        (a, b) => fault!("its values are {} and {}", a.dtype(), b.dtype()),
    }
}

fn pick<T: Copy>(condition: &[i64], a: &[T], b: &[T]) -> Vec<T> {
    condition.iter().zip(a.iter().zip(b)).map(|(&c, (&a, &b))| if c == 0 { b } else { a }).collect()
}
