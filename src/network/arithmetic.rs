//! Operators of several inputs that are broadcast against each other: arithmetic, comparison, logic, choice.

use burn::backend::ops::{BoolTensorOps, FloatTensorOps};
use burn::backend::{Dispatch, DispatchTensor, Scalar};
use burn::tensor::{Shape, TensorData};

use super::call::Call;
use super::dims::{aligned, spread};
use super::fault::{Checked, fault};
use super::setup::{Run, Setup, one};
use super::value::{Floats, Ints, Value};
use crate::onnx::Dtype;

type D = Dispatch;

/// What is done with two elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    /// The remainder with the dividend's sign, as in C.
    Remainder,
    /// The remainder with the divisor's sign, as in Python.
    Modulo,
    Min,
    Max,
    ShiftLeft,
    ShiftRight,
    BitwiseAnd,
    BitwiseOr,
    BitwiseXor,
}

impl Binary {
    fn of(setup: &Setup) -> Option<Self> {
        Some(match setup.node.op.as_str() {
            "Add" | "Sum" | "Mean" => Self::Add,
            "Sub" => Self::Sub,
            "Mul" => Self::Mul,
            "Div" => Self::Div,
            "Pow" => Self::Pow,
            "Mod" if setup.flag("fmod") => Self::Remainder,
            "Mod" => Self::Modulo,
            "Min" => Self::Min,
            "Max" => Self::Max,
            "BitShift" if setup.string_or("direction", "LEFT") == "LEFT" => Self::ShiftLeft,
            "BitShift" => Self::ShiftRight,
            "BitwiseAnd" => Self::BitwiseAnd,
            "BitwiseOr" => Self::BitwiseOr,
            "BitwiseXor" => Self::BitwiseXor,
            _ => return None,
        })
    }

    /// The function on the host, where there is one of floats.
    fn on_host(self) -> Option<fn(f32, f32) -> f32> {
        Some(match self {
            Self::Add => |x, y| x + y,
            Self::Sub => |x, y| x - y,
            Self::Mul => |x, y| x * y,
            Self::Div => |x, y| x / y,
            Self::Pow => f32::powf,
            Self::Remainder => |x, y| x % y,
            Self::Modulo => |x, y| {
                let r = x % y;
                if r != 0.0 && (r < 0.0) != (y < 0.0) { r + y } else { r }
            },
            Self::Min => f32::min,
            Self::Max => f32::max,
            _ => return None,
        })
    }
}

pub(super) fn binary(setup: &Setup) -> Checked<Run> {
    let Some(op) = Binary::of(setup) else { return fault!("it is not known") };
    one(move |call| match (call.take(0)?, call.take(1)?) {
        (Value::Int(a), Value::Int(b)) => Ok(ints(call, op, &a, &b)?.into()),
        // The exponent alone may be of another type.
        (Value::Int(a), Value::Float(b)) if op == Binary::Pow => {
            let shape = call.broadcast([a.shape.as_slice(), b.shape.as_slice()])?;
            let powers = spread(&b.to_host()?, &b.shape, &shape);
            let data =
                spread(&a.data, &a.shape, &shape).into_iter().zip(powers).map(|(x, p)| (x as f64).powf(f64::from(p)) as i64).collect();
            Ok(Ints::typed(shape, a.dtype, data).into())
        }
        (Value::Float(a), b) if op == Binary::Pow => Ok(floats(call, op, a, b.into_floats())?.into()),
        (Value::Float(a), Value::Float(b)) => Ok(floats(call, op, a, b)?.into()),
        (a, b) => fault!("its inputs are {} and {}", a.dtype(), b.dtype()),
    })
}

fn ints(call: &Call, op: Binary, a: &Ints, b: &Ints) -> Checked<Ints> {
    let shape = call.broadcast([a.shape.as_slice(), b.shape.as_slice()])?;
    let (x, y) = (spread(&a.data, &a.shape, &shape), spread(&b.data, &b.shape, &shape));
    let divides = matches!(op, Binary::Div | Binary::Remainder | Binary::Modulo);
    if divides && y.contains(&0) {
        return fault!("an integer is divided by zero");
    }
    let function: fn(i64, i64) -> i64 = match op {
        Binary::Add => i64::wrapping_add,
        Binary::Sub => i64::wrapping_sub,
        Binary::Mul => i64::wrapping_mul,
        Binary::Div => i64::wrapping_div,
        Binary::Remainder => i64::wrapping_rem,
        Binary::Modulo => |x, y| x.wrapping_rem(y).wrapping_add(y).wrapping_rem(y),
        Binary::Min => i64::min,
        Binary::Max => i64::max,
        Binary::BitwiseAnd => |x, y| x & y,
        Binary::BitwiseOr => |x, y| x | y,
        Binary::BitwiseXor => |x, y| x ^ y,
        Binary::ShiftLeft => |x, y| if (0..64).contains(&y) { x.wrapping_shl(y as u32) } else { 0 },
        Binary::ShiftRight => |x, y| if (0..64).contains(&y) { x >> y } else { x >> 63 },
        Binary::Pow => |x, y| u32::try_from(y).map_or(i64::from(x == 1), |y| x.wrapping_pow(y)),
    };
    let data = x.into_iter().zip(y).map(|(x, y)| function(x, y)).collect();
    Ok(super::cast::wrap(Ints::typed(shape, a.dtype, data)))
}

/// Two floats with this operator, on the device where one of them is there.
pub(super) fn floats(call: &Call, op: Binary, a: Floats, b: Floats) -> Checked<Floats> {
    let shape = call.broadcast([a.shape.as_slice(), b.shape.as_slice()])?;
    let dtype = a.dtype;
    if shape.contains(&0) {
        return Ok(Floats::empty(shape, dtype));
    }
    // No backend has C's fmod, whose result is exact however large the quotient.
    if matches!(op, Binary::Remainder | Binary::Modulo) || (a.is_on_host() && b.is_on_host()) {
        let Some(function) = op.on_host() else { return fault!("{op:?} of floats is not known") };
        let (x, y) = (spread(&a.to_host()?, &a.shape, &shape), spread(&b.to_host()?, &b.shape, &shape));
        return Ok(Floats::host(shape, dtype, x.into_iter().zip(y).map(|(x, y)| function(x, y)).collect()));
    }
    if let (Some(y), true) = (b.host_scalar(), a.shape == shape)
        && let Some(t) = with_scalar(op, a.to_device(call.device)?, y)
    {
        return Ok(Floats::on_device(shape, dtype, t));
    }
    if let (Some(x), true, Binary::Add | Binary::Mul) = (a.host_scalar(), b.shape == shape, op) {
        drop(a);
        let t = b.into_device(call.device)?;
        let t = if op == Binary::Add { D::float_add_scalar(t, f(x)) } else { D::float_mul_scalar(t, f(x)) };
        return Ok(Floats::on_device(shape, dtype, t));
    }
    let rank = shape.len().max(1);
    let (sa, sb) = (aligned(&a.shape, rank), aligned(&b.shape, rank));
    let device = call.device;
    let x = if sa == a.shape { a.into_device(device)? } else { a.shaped(device, &sa)? };
    let y = if sb == b.shape { b.into_device(device)? } else { b.shaped(device, &sb)? };
    let t = match op {
        Binary::Add => D::float_add(x, y),
        Binary::Sub => D::float_sub(x, y),
        Binary::Mul => D::float_mul(x, y),
        Binary::Div => D::float_div(x, y),
        Binary::Pow => D::float_powf(x, y),
        Binary::Min | Binary::Max => {
            let (x, y) = (D::float_expand(x, Shape::from(shape.clone())), D::float_expand(y, Shape::from(shape.clone())));
            let bools = device.settings().bool_dtype;
            let take =
                if op == Binary::Min { D::float_lower(y.clone(), x.clone(), bools) } else { D::float_greater(y.clone(), x.clone(), bools) };
            D::float_mask_where(x, take, y)
        }
        _ => return fault!("{op:?} of floats is not known"),
    };
    Ok(Floats::on_device(shape, dtype, t))
}

fn f(v: f32) -> Scalar {
    Scalar::Float(f64::from(v))
}

#[expect(clippy::float_cmp, reason = "these very exponents, and no others near them")]
fn with_scalar(op: Binary, x: DispatchTensor, y: f32) -> Option<DispatchTensor> {
    Some(match op {
        Binary::Add => D::float_add_scalar(x, f(y)),
        Binary::Sub => D::float_sub_scalar(x, f(y)),
        Binary::Mul => D::float_mul_scalar(x, f(y)),
        Binary::Div => D::float_div_scalar(x, f(y)),
        // Whole powers are multiplied out: a power function need not take a negative base.
        Binary::Pow if y == 0.5 => D::float_sqrt(x),
        Binary::Pow if y == 1.0 => x,
        Binary::Pow if y == 2.0 => D::float_mul(x.clone(), x),
        Binary::Pow if y == 3.0 => D::float_mul(D::float_mul(x.clone(), x.clone()), x),
        Binary::Pow if y == -1.0 => D::float_recip(x),
        Binary::Pow => D::float_powf_scalar(x, f(y)),
        Binary::Min => D::float_clamp_max(x, f(y)),
        Binary::Max => D::float_clamp_min(x, f(y)),
        _ => return None,
    })
}

/// Sum, mean, least and largest of any number of inputs.
pub(super) fn variadic(setup: &Setup) -> Checked<Run> {
    let is_mean = setup.node.op == "Mean";
    let Some(op) = Binary::of(setup) else { return fault!("it is not known") };
    one(move |call| {
        let count = call.inputs.len();
        let mut total = call.take(0)?;
        for i in 1..count {
            total = match (total, call.take(i)?) {
                (Value::Float(a), Value::Float(b)) => floats(call, op, a, b)?.into(),
                (Value::Int(a), Value::Int(b)) => ints(call, op, &a, &b)?.into(),
                (a, b) => return fault!("its inputs are {} and {}", a.dtype(), b.dtype()),
            };
        }
        match total {
            Value::Float(total) if is_mean => {
                Ok(floats(call, Binary::Div, total, Floats::host(Vec::new(), Dtype::F32, vec![count as f32]))?.into())
            }
            total => Ok(total),
        }
    })
}

/// Two functions that tell something of two elements: of integers, and of floats where there is one.
type Comparison = (fn(i64, i64) -> bool, Option<fn(f32, f32) -> bool>);

#[expect(clippy::float_cmp, reason = "the operator asks for it")]
fn comparison(op: &str) -> Option<Comparison> {
    Some(match op {
        "Equal" => (|x, y| x == y, Some(|x, y| x == y)),
        "Less" => (|x, y| x < y, Some(|x, y| x < y)),
        "LessOrEqual" => (|x, y| x <= y, Some(|x, y| x <= y)),
        "Greater" => (|x, y| x > y, Some(|x, y| x > y)),
        "GreaterOrEqual" => (|x, y| x >= y, Some(|x, y| x >= y)),
        "And" => (|x, y| x != 0 && y != 0, None),
        "Or" => (|x, y| x != 0 || y != 0, None),
        "Xor" => (|x, y| (x != 0) != (y != 0), None),
        _ => return None,
    })
}

/// Comparisons and logic; the result is on the host.
pub(super) fn compare(setup: &Setup) -> Checked<Run> {
    let Some((of_ints, of_floats)) = comparison(&setup.node.op) else { return fault!("it is not known") };
    one(move |call| {
        let (a, b) = (call.take(0)?, call.take(1)?);
        let shape = call.broadcast([a.shape(), b.shape()])?;
        let data = match (&a, &b) {
            (Value::Int(a), Value::Int(b)) => {
                let pairs = spread(&a.data, &a.shape, &shape).into_iter().zip(spread(&b.data, &b.shape, &shape));
                pairs.map(|(x, y)| i64::from(of_ints(x, y))).collect()
            }
            (Value::Float(a), Value::Float(b)) => {
                let Some(function) = of_floats else { return fault!("its inputs are floats") };
                let pairs = spread(&a.to_host()?, &a.shape, &shape).into_iter().zip(spread(&b.to_host()?, &b.shape, &shape));
                pairs.map(|(x, y)| i64::from(function(x, y))).collect()
            }
            (a, b) => return fault!("its inputs are {} and {}", a.dtype(), b.dtype()),
        };
        Ok(Ints::bools(shape, data).into())
    })
}

/// The opposite of a bool, or of every bit.
pub(super) fn negate(setup: &Setup) -> Checked<Run> {
    let bits = setup.node.op == "BitwiseNot";
    one(move |call| match call.take(0)? {
        Value::Int(v) if bits => Ok(super::cast::wrap(Ints::typed(v.shape.clone(), v.dtype, v.data.iter().map(|&x| !x).collect())).into()),
        Value::Int(v) => Ok(Ints::bools(v.shape.clone(), v.data.iter().map(|&x| i64::from(x == 0)).collect()).into()),
        v @ Value::Float(_) => fault!("its input is {}", v.dtype()),
    })
}

/// Whether a float is no number, or infinite.
pub(super) fn test(setup: &Setup) -> Checked<Run> {
    let (positive, negative) = (setup.int_or("detect_positive", 1) != 0, setup.int_or("detect_negative", 1) != 0);
    let is_nan = setup.node.op == "IsNaN";
    let holds = move |x: f32| if is_nan { x.is_nan() } else { x.is_infinite() && if x > 0.0 { positive } else { negative } };
    one(move |call| match call.take(0)? {
        Value::Float(v) => {
            let data = v.to_host()?.iter().map(|&x| i64::from(holds(x))).collect();
            Ok(Ints::bools(v.shape, data).into())
        }
        v @ Value::Int(_) => fault!("its input is {}", v.dtype()),
    })
}

/// `Where`: of two values by a condition.
pub(super) fn choose(_: &Setup) -> Checked<Run> {
    one(chosen)
}

fn chosen(call: &mut Call) -> Checked<Value> {
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
