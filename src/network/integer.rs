//! Operators that calculate with small integers: ONNX's own, and those of `com.microsoft` beside them.
//!
//! Products of integers are worked out as products of floats. The right-hand side is taken apart into its upper and its lower
//! four bits, so that every sum is exact in a float32 for up to 4000 products; beyond that the last bits of a sum of ten million
//! may be lost.

use super::arithmetic::{Binary, floats};
use super::call::Call;
use super::cast::integer_range;
use super::fault::{Checked, fault};
use super::fused::{carried_out, number, part, prepared};
use super::linear::product;
use super::quantize::narrowed;
use super::setup::{Run, Setup, many, one};
use super::value::{Floats, Ints, Value};
use super::{convolution, elementwise, pool, reduce};
use crate::graph::{Attribute, Node};
use crate::onnx::Dtype;

/// Integers as floats, however they are held.
fn numbers(v: Value) -> Floats {
    match v {
        Value::Float(v) => v.marked(Dtype::F32),
        Value::Int(v) => v.to_floats(Dtype::F32),
    }
}

/// Input `i` as floats, where it is given.
fn given(call: &mut Call, i: usize) -> Checked<Option<Floats>> {
    if call.has(i) { call.take(i).map(|v| Some(numbers(v))) } else { Ok(None) }
}

/// One number for each index of an axis, shaped so that it is broadcast against a value of this shape.
fn along(v: Floats, at: usize, shape: &[usize]) -> Checked<Floats> {
    if v.elements() == 1 {
        return v.reshaped(Vec::new());
    }
    if v.rank() > 1 || v.elements() != shape[at] {
        return fault!("{:?} does not fit axis {at} of {shape:?}", v.shape);
    }
    let mut wide = vec![1; shape.len()];
    wide[at] = shape[at];
    v.reshaped(wide)
}

/// A value less its zero point.
fn centred(call: &Call, v: Floats, zero: Option<Floats>, at: usize) -> Checked<Floats> {
    let Some(zero) = zero else { return Ok(v) };
    let zero = along(zero, at, &v.shape)?;
    floats(call, Binary::Sub, v, zero)
}

/// Upper and lower part of small integers: sixteen times the first and the second are the value.
fn parts(v: &Floats) -> Checked<[Floats; 2]> {
    let data = v.to_host()?;
    let upper: Vec<f32> = data.iter().map(|x| (x / 16.0).floor()).collect();
    let lower = data.iter().zip(&upper).map(|(x, upper)| x - 16.0 * upper).collect();
    Ok([Floats::host(v.shape.clone(), Dtype::F32, upper), Floats::host(v.shape.clone(), Dtype::F32, lower)])
}

/// Sixteen times the first and the second.
fn joined(call: &Call, upper: Floats, lower: Floats) -> Checked<Floats> {
    let upper = floats(call, Binary::Mul, upper, number(16.0))?;
    floats(call, Binary::Add, upper, lower)
}

/// Exact sums as 32-bit integers.
fn sums(upper: &Floats, lower: &Floats) -> Checked<Value> {
    let data = upper.to_host()?.iter().zip(lower.to_host()?.iter()).map(|(u, l)| *u as i64 * 16 + *l as i64).collect();
    Ok(super::cast::wrap(Ints::typed(upper.shape.clone(), Dtype::I32, data)).into())
}

/// A product of matrices, in two parts.
fn products(call: &Call, a: &Floats, b: &Floats) -> Checked<[Floats; 2]> {
    let [upper, lower] = parts(b)?;
    Ok([product(call, a.clone(), upper)?, product(call, a.clone(), lower)?])
}

/// Two matrices of integers, each less its zero point: those of A by row, those of B by column.
fn matrices(call: &mut Call, [a, b]: [usize; 2], [a_zero, b_zero]: [usize; 2]) -> Checked<[Floats; 2]> {
    let (a, b) = (numbers(call.take(a)?), numbers(call.take(b)?));
    let (a_zero, b_zero) = (given(call, a_zero)?, given(call, b_zero)?);
    if a.rank() == 0 || b.rank() == 0 {
        return fault!("a single number cannot be multiplied so");
    }
    let (row, column) = (a.rank().saturating_sub(2), b.rank() - 1);
    Ok([centred(call, a, a_zero, row)?, centred(call, b, b_zero, column)?])
}

pub(super) fn matmul(_: &Setup) -> Checked<Run> {
    one(|call| {
        let [a, b] = matrices(call, [0, 1], [2, 3])?;
        let [upper, lower] = products(call, &a, &b)?;
        sums(&upper, &lower)
    })
}

/// `MatMulIntegerToFloat`, and the same with a left side that is made small on the way.
pub(super) fn matmul_to_float(setup: &Setup) -> Checked<Run> {
    let is_dynamic = setup.node.op == "DynamicQuantizeMatMul";
    one(move |call| {
        let (a, b, scale, bias);
        if is_dynamic {
            let x = call.take_floats(0)?;
            let (small, a_scale, zero) = made_small(&x)?;
            a = centred(call, small, Some(number(zero)), 0)?;
            let right = numbers(call.take(1)?);
            let (b_scale, b_zero) = (call.take_floats(2)?, given(call, 3)?);
            let column = right.rank().saturating_sub(1);
            b = centred(call, right, b_zero, column)?;
            scale = floats(call, Binary::Mul, b_scale, number(a_scale))?;
            bias = call.optional_floats(4)?;
        } else {
            [a, b] = matrices(call, [0, 1], [4, 5])?;
            let (a_scale, b_scale) = (call.take_floats(2)?, call.take_floats(3)?);
            scale = floats(call, Binary::Mul, a_scale, b_scale)?;
            bias = call.optional_floats(6)?;
        }
        let [upper, lower] = products(call, &a, &b)?;
        let y = joined(call, upper, lower)?;
        let last = y.rank().saturating_sub(1);
        let scale = along(scale, last, &y.shape)?;
        let y = floats(call, Binary::Mul, y, scale)?;
        Ok(match bias {
            Some(bias) => floats(call, Binary::Add, y, bias)?,
            None => y,
        }
        .into())
    })
}

/// A convolution of integers: what the first, or the first two, of its inputs less their zero points give, in two parts.
fn convolved(call: &Call, run: &Run, x: &Floats, w: &Floats) -> Checked<[Floats; 2]> {
    let [upper, lower] = parts(w)?;
    let of = |w: Floats| carried_out(call, run, vec![Some(x.clone().into()), Some(w.into())]).map(Value::into_floats);
    Ok([of(upper)?, of(lower)?])
}

pub(super) fn conv(setup: &Setup) -> Checked<Run> {
    let run = convolution::conv(setup)?;
    one(move |call| {
        let (x, w) = (numbers(call.take(0)?), numbers(call.take(1)?));
        let (x_zero, w_zero) = (given(call, 2)?, given(call, 3)?);
        if x.rank() < 2 || w.rank() == 0 {
            return fault!("{:?} and {:?} are no convolution", x.shape, w.shape);
        }
        let (x, w) = (centred(call, x, x_zero, 1)?, centred(call, w, w_zero, 0)?);
        let [upper, lower] = convolved(call, &run, &x, &w)?;
        sums(&upper, &lower)
    })
}

/// x, its scale and its zero point, the same of w and of the result, and a bias of integers.
pub(super) fn quantized_conv(setup: &Setup) -> Checked<Run> {
    let run = convolution::conv(setup)?;
    one(move |call| {
        let (x, w) = (numbers(call.take(0)?), numbers(call.take(3)?));
        if x.rank() < 2 || w.rank() == 0 {
            return fault!("{:?} and {:?} are no convolution", x.shape, w.shape);
        }
        let (x_zero, w_zero) = (given(call, 2)?, given(call, 5)?);
        let (x_scale, w_scale) = (call.take_floats(1)?, call.take_floats(4)?);
        let (x, w) = (centred(call, x, x_zero, 1)?, centred(call, w, w_zero, 0)?);
        let [upper, mut lower] = convolved(call, &run, &x, &w)?;
        if let Some(bias) = given(call, 8)? {
            let bias = along(bias, 1, &lower.shape)?;
            lower = floats(call, Binary::Add, lower, bias)?;
        }
        let y = joined(call, upper, lower)?;
        let scale = floats(call, Binary::Mul, x_scale, w_scale)?;
        let scale = along(scale, 1, &y.shape)?;
        rescaled(call, y, scale, [6, 7])
    })
}

pub(super) fn quantized_matmul(_: &Setup) -> Checked<Run> {
    one(|call| {
        let [a, b] = matrices(call, [0, 3], [2, 5])?;
        let (a_scale, b_scale) = (call.take_floats(1)?, call.take_floats(4)?);
        let [upper, lower] = products(call, &a, &b)?;
        let y = joined(call, upper, lower)?;
        let last = y.rank().saturating_sub(1);
        let (a_scale, b_scale) = (along(a_scale, last.saturating_sub(1), &y.shape)?, along(b_scale, last, &y.shape)?);
        let scale = floats(call, Binary::Mul, a_scale, b_scale)?;
        rescaled(call, y, scale, [6, 7])
    })
}

/// A sum times its scale, in the scale and type of the result, which inputs `scale` and `zero` tell.
fn rescaled(call: &mut Call, y: Floats, scale: Floats, [own, zero]: [usize; 2]) -> Checked<Value> {
    let own = call.take_floats(own)?;
    let factor = floats(call, Binary::Div, scale, own)?;
    let y = floats(call, Binary::Mul, y, factor)?;
    let zero = call.take(zero)?;
    let dtype = zero.dtype();
    narrowed(call, y, Some(numbers(zero)), dtype)
}

/// Least and largest as unsigned bytes, as dynamic quantisation does it: the bytes, their scale and their zero point.
fn made_small(x: &Floats) -> Checked<(Floats, f32, f32)> {
    let data = x.to_host()?;
    let (low, high) = data.iter().fold((0.0_f32, 0.0_f32), |(low, high), &v| (low.min(v), high.max(v)));
    let scale = (high - low) / 255.0;
    let scale = if scale == 0.0 { 1.0 } else { scale };
    let zero = (-low / scale).round_ties_even().clamp(0.0, 255.0);
    let small = data.iter().map(|v| ((v / scale).round_ties_even() + zero).clamp(0.0, 255.0)).collect();
    Ok((Floats::host(x.shape.clone(), Dtype::F32, small), scale, zero))
}

pub(super) fn dynamic(_: &Setup) -> Checked<Run> {
    many(|call| {
        let x = call.take_floats(0)?;
        let (small, scale, zero) = made_small(&x)?;
        let bytes = small.to_host()?.iter().map(|&v| v as i64).collect();
        let zero = Ints::typed(Vec::new(), Dtype::U8, vec![zero as i64]);
        Ok(vec![Ints::typed(small.shape.clone(), Dtype::U8, bytes).into(), number(scale).into(), zero.into()])
    })
}

/// Inputs `i`, `i + 1` and `i + 2`: integers, their scale, their zero point; as floats.
fn restored(call: &mut Call, i: usize) -> Checked<Floats> {
    let (v, scale, zero) = (numbers(call.take(i)?), call.take_floats(i + 1)?, given(call, i + 2)?);
    let v = centred(call, v, zero, 0)?;
    let scale = along(scale, 0, &v.shape)?;
    floats(call, Binary::Mul, v, scale)
}

/// A result as integers with the scale and zero point that inputs `i` and `i + 1` give; bytes where the second is not there.
fn made_whole(call: &mut Call, y: Floats, i: usize, fallback: Dtype) -> Checked<Value> {
    let scale = call.take_floats(i)?;
    let y = floats(call, Binary::Div, y, scale)?;
    let zero = if call.has(i + 1) { Some(call.take(i + 1)?) } else { None };
    let dtype = zero.as_ref().map_or(fallback, Value::dtype);
    integer_range(dtype)?;
    narrowed(call, y, zero.map(numbers), dtype)
}

/// A sum or a product of two values, each with its scale.
pub(super) fn arithmetic(setup: &Setup) -> Checked<Run> {
    let op = if setup.node.op == "QLinearAdd" { Binary::Add } else { Binary::Mul };
    one(move |call| {
        let dtype = call.value(0)?.dtype();
        let (a, b) = (restored(call, 0)?, restored(call, 3)?);
        let y = floats(call, op, a, b)?;
        made_whole(call, y, 6, dtype)
    })
}

/// A node of ONNX's own on what integers stand for.
pub(super) fn unary(setup: &Setup) -> Checked<Run> {
    let own = &setup.node.attributes;
    let run = match setup.node.op.as_str() {
        "QLinearSigmoid" => prepared(setup, &part("Sigmoid", &[]), elementwise::unary)?,
        "QLinearLeakyRelu" => prepared(setup, &part("LeakyRelu", &[("alpha", setup.float_or("alpha", 0.01))]), elementwise::unary)?,
        "QLinearSoftmax" => {
            let node = Node { attributes: own.clone(), ..Node::part("Softmax", Vec::new()) };
            reduce::softmax(&Setup { node: &node, opset: setup.int_or("opset", 13), ..*setup })?
        }
        op @ ("QLinearGlobalAveragePool" | "QLinearAveragePool") => {
            if setup.flag("channels_last") {
                return fault!("its channels come last");
            }
            match op {
                "QLinearAveragePool" => prepared(setup, setup.node, pool::average)?,
                _ => prepared(setup, setup.node, reduce::global_average)?,
            }
        }
        _ => return fault!("it is not known"),
    };
    one(move |call| {
        let dtype = call.value(0)?.dtype();
        let x = restored(call, 0)?;
        let y = carried_out(call, &run, vec![Some(x.into())])?.into_floats();
        made_whole(call, y, 3, dtype)
    })
}

/// Values with scales of their own, one behind the other.
pub(super) fn concat(setup: &Setup) -> Checked<Run> {
    let node = Node::part("Concat", vec![("axis".into(), Attribute::Int(setup.int_or("axis", 1)))]);
    let run = prepared(setup, &node, super::movement::concat)?;
    one(move |call| {
        let mut values = Vec::new();
        for i in (2..call.inputs.len()).step_by(3) {
            values.push(Some(restored(call, i)?.into()));
        }
        let y = carried_out(call, &run, values)?.into_floats();
        made_whole(call, y, 0, Dtype::U8)
    })
}

/// `Quant` of Brevitas and QONNX: to so many bits and back, so that floats stay floats.
pub(super) fn quant(setup: &Setup) -> Checked<Run> {
    let (is_signed, is_narrow) = (setup.int_or("signed", 1) != 0, setup.flag("narrow"));
    let round: fn(f32) -> f32 = match setup.string_or("rounding_mode", "ROUND").to_ascii_uppercase().as_str() {
        "ROUND" => f32::round_ties_even,
        "CEIL" => f32::ceil,
        "FLOOR" => f32::floor,
        "ROUND_TO_ZERO" => f32::trunc,
        other => return fault!("the rounding mode “{other}” is not known"),
    };
    let is_bipolar = setup.node.op == "BipolarQuant";
    one(move |call| {
        let (x, scale) = (call.take_floats(0)?, call.take_floats(1)?);
        let shape = call.broadcast([x.shape.as_slice(), scale.shape.as_slice()])?;
        if shape != x.shape {
            return fault!("a scale of {:?} does not fit {:?}", scale.shape, x.shape);
        }
        let spread = |v: &Floats| -> Checked<Vec<f32>> { Ok(super::dims::spread(&v.to_host()?, &v.shape, &shape)) };
        if is_bipolar {
            let data = x.to_host()?.iter().zip(spread(&scale)?).map(|(&x, s)| if x >= 0.0 { s } else { -s }).collect();
            return Ok(Floats::host(x.shape, x.dtype, data).into());
        }
        let zero = call.take_floats(2)?;
        let Some(bits) = call.scalar(3)? else { return fault!("the number of bits is not given") };
        if super::dims::broadcast([zero.shape.as_slice(), &shape])? != shape {
            return fault!("a zero point of {:?} does not fit {shape:?}", zero.shape);
        }
        let narrow = if is_narrow { 1.0 } else { 0.0 };
        let half = (bits - 1.0).exp2();
        let (low, high) = if is_signed { (narrow - half, half - 1.0) } else { (0.0, bits.exp2() - 1.0 - narrow) };
        let places = spread(&scale)?.into_iter().zip(spread(&zero)?);
        let data = x.to_host()?.iter().zip(places).map(|(&x, (s, z))| (round((x / s + z).max(low).min(high)) - z) * s).collect();
        Ok(Floats::host(x.shape, x.dtype, data).into())
    })
}
