//! Operators of `com.microsoft` that are two or three of ONNX's in one: ONNX Runtime writes them when it optimises a model.
//!
//! What they do is told in <https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>. They are carried out by
//! the operators that they stand for.

use super::activation::Activation;
use super::arithmetic::{Binary, floats};
use super::call::Call;
use super::convolution::{self, ConvSettings, Tail};
use super::elementwise;
use super::fault::{Checked, fault};
use super::linear::{self, product};
use super::setup::{Run, Setup, one};
use super::shape::permute;
use super::value::{Floats, Value};
use crate::graph::{Attribute, Node};
use crate::onnx::Dtype;

/// A number that is broadcast against anything.
pub(super) fn number(v: f32) -> Floats {
    Floats::host(Vec::new(), Dtype::F32, vec![v])
}

/// A node of one operator with these numbers as settings.
pub(super) fn part(op: &str, settings: &[(&str, f32)]) -> Node {
    Node::part(op, settings.iter().map(|&(name, value)| (name.to_owned(), Attribute::Float(value))).collect())
}

/// Operator set that parts are written in.
const OPSET: i64 = 23;

/// Makes a node ready that is carried out as part of this one.
pub(super) fn prepared(setup: &Setup, node: &Node, prepare: fn(&Setup) -> Checked<Run>) -> Checked<Run> {
    prepare(&Setup { node, opset: OPSET, ..*setup })
}

/// Carries out what was made ready, on values of its own, and gives its first result.
pub(super) fn carried_out(call: &Call, run: &Run, inputs: Vec<Option<Value>>) -> Checked<Value> {
    let mut inner = Call { device: call.device, inputs, spare: call.spare, allowance: call.allowance };
    match run(&mut inner)?.into_iter().next() {
        Some(value) => Ok(value),
        None => fault!("nothing comes out of it"),
    }
}

/// The functions of one element, some with a bias that is added first.
pub(super) fn gelu(setup: &Setup) -> Checked<Run> {
    let mut node = match setup.node.op.as_str() {
        "QuickGelu" => part("Swish", &[("alpha", setup.float_or("alpha", 1.702))]),
        _ => part("Gelu", &[]),
    };
    if setup.node.op == "FastGelu" {
        node.attributes.0.push(("approximate".into(), Attribute::String("tanh".into())));
    }
    let function = prepared(setup, &node, elementwise::unary)?;
    one(move |call| {
        let mut x = call.take_floats(0)?;
        if let Some(bias) = call.optional_floats(1)? {
            x = floats(call, Binary::Add, x, bias)?;
        }
        carried_out(call, &function, vec![Some(x.into())])
    })
}

/// The activation that a node names, with its parameters in this order.
fn activation(setup: &Setup, parameters: &[f32]) -> Option<Node> {
    let name = setup.node.attributes.string("activation").filter(|name| !name.is_empty())?;
    let names: &[&str] = if name == "Clip" { &["min", "max"] } else { &["alpha", "beta", "gamma"] };
    let settings: Vec<(&str, f32)> = names.iter().copied().zip(parameters.iter().copied()).collect();
    Some(part(name, &settings))
}

fn activation_run(setup: &Setup, node: &Node) -> Checked<Run> {
    match node.op.as_str() {
        "Clip" => prepared(setup, node, elementwise::clip),
        _ if elementwise::knows(node) => prepared(setup, node, elementwise::unary),
        other => fault!("the activation “{other}” is not known"),
    }
}

/// A convolution, a value that is added, an activation.
pub(super) fn conv(setup: &Setup) -> Checked<Run> {
    let settings = ConvSettings::of(setup)?;
    let plain = convolution::conv(setup)?;
    let node = activation(setup, setup.attributes().floats("activation_params").unwrap_or_default());
    let run = node.as_ref().map(|node| activation_run(setup, node)).transpose()?;
    let known = match &node {
        Some(node) if node.op == "Clip" => {
            let limit = |name, none| node.attributes.float(name).unwrap_or(none);
            let (low, high) = (limit("min", f32::NEG_INFINITY), limit("max", f32::INFINITY));
            (low <= high).then_some(Activation::Clip(low, high))
        }
        Some(node) => Activation::of(node),
        None => None,
    };
    one(move |call| {
        let residual = call.optional_floats(3)?;
        call.inputs.truncate(3);
        if known.is_some() || run.is_none() {
            let inputs = call.inputs.clone();
            let tail = Tail { residual: residual.clone(), second: known, ..Tail::default() };
            if let Some(result) = convolution::conv_with(call, &settings, &tail)? {
                return Ok(result.into());
            }
            call.inputs = inputs;
        }
        let inputs = std::mem::take(&mut call.inputs);
        let mut y = carried_out(call, &plain, inputs)?;
        if let Some(residual) = residual {
            y = floats(call, Binary::Add, y.into_floats(), residual)?.into();
        }
        match &run {
            Some(run) => carried_out(call, run, vec![Some(y)]),
            None => Ok(y),
        }
    })
}

/// A `Gemm` and an activation.
pub(super) fn gemm(setup: &Setup) -> Checked<Run> {
    let plain = linear::gemm(setup)?;
    let names = ["activation_alpha", "activation_beta", "activation_gamma"];
    let parameters: Vec<f32> = names.iter().map_while(|name| setup.float(name)).collect();
    let node = activation(setup, &parameters);
    let run = node.as_ref().map(|node| activation_run(setup, node)).transpose()?;
    one(move |call| {
        let inputs = std::mem::take(&mut call.inputs);
        let y = carried_out(call, &plain, inputs)?;
        match &run {
            Some(run) => carried_out(call, run, vec![Some(y)]),
            None => Ok(y),
        }
    })
}

/// α·A·B, with the last two axes of A and B turned, or the first moved before the last but one.
pub(super) fn matmul(setup: &Setup) -> Checked<Run> {
    let alpha = setup.float_or("alpha", 1.0);
    let turned = [setup.flag("transA"), setup.flag("transB")];
    let moved = [setup.flag("transBatchA"), setup.flag("transBatchB")];
    one(move |call| {
        let mut sides = Vec::with_capacity(2);
        for i in 0..2 {
            let v = call.take_floats(i)?;
            let rank = v.rank();
            let mut order: Vec<usize> = (0..rank).collect();
            if moved[i] && rank > 2 {
                order[..rank - 1].rotate_left(1);
            }
            if turned[i] && rank > 1 {
                order.swap(rank - 2, rank - 1);
            }
            sides.push(permute(call, v, &order)?);
        }
        let (Some(b), Some(a)) = (sides.pop(), sides.pop()) else { return fault!("there are not two matrices") };
        let y = product(call, a, b)?;
        Ok(if alpha.to_bits() == 1.0_f32.to_bits() { y } else { floats(call, Binary::Mul, y, number(alpha))? }.into())
    })
}
