//! Which operators can be run, and by what.

use super::call::{Call, Outcome};
use super::cast::{dtype_of, is_value_type};
use super::value::Value;
use super::{
    arithmetic, attention, cast, convolution, einsum, elementwise, gather, generate, linear, movement, normalization, pool, quantize,
    recurrent, reduce, resize, shape, sort,
};
use crate::graph::{Attribute, Graph, Node, ValueId};
use crate::onnx::{Dtype, OnnxFile};

/// The code of an operator.
#[derive(Clone, Copy)]
pub(super) enum Operator {
    /// With one output.
    One(fn(&mut Call) -> Outcome),
    /// With several.
    Many(fn(&mut Call) -> Outcome<Vec<Value>>),
}

impl Operator {
    pub(super) fn call(self, call: &mut Call) -> Outcome<Vec<Value>> {
        match self {
            Self::One(run) => Ok(vec![run(call)?]),
            Self::Many(run) => run(call),
        }
    }
}

/// What runs this node; `None` where nothing does.
pub(super) fn find(node: &Node) -> Option<Operator> {
    use Operator::{Many, One};
    if !matches!(node.domain.as_str(), "" | "ai.onnx") {
        return None;
    }
    Some(match node.op.as_str() {
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Mod" | "BitShift" | "BitwiseAnd" | "BitwiseOr" | "BitwiseXor" => One(arithmetic::binary),
        "Min" | "Max" | "Sum" | "Mean" => One(arithmetic::variadic),
        "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "And" | "Or" | "Xor" => One(arithmetic::compare),
        "Not" | "IsNaN" | "IsInf" | "BitwiseNot" => One(arithmetic::test),
        "Where" => One(arithmetic::choose),
        op if elementwise::knows(op) => One(elementwise::unary),
        "Clip" => One(elementwise::clip),
        "PRelu" => One(elementwise::prelu),
        "Conv" => One(convolution::conv),
        "ConvTranspose" => One(convolution::conv_transpose),
        "Gemm" => One(linear::gemm),
        "MatMul" => One(linear::matmul),
        "Einsum" => One(einsum::einsum),
        "Attention" => Many(attention::attention),
        "LSTM" | "GRU" | "RNN" => Many(recurrent::recurrent),
        "BatchNormalization" if node.attributes.int("training_mode").unwrap_or(0) != 0 => Many(normalization::batch_in_training),
        "BatchNormalization" => One(normalization::batch),
        "LayerNormalization" => Many(normalization::layer),
        "RMSNormalization" => One(normalization::rms),
        "InstanceNormalization" => One(normalization::instance),
        "GroupNormalization" => One(normalization::group),
        "MeanVarianceNormalization" => One(normalization::mean_variance),
        "LpNormalization" => One(normalization::lp),
        "LRN" => One(normalization::local_response),
        "MaxPool" => Many(pool::max),
        "AveragePool" => One(pool::average),
        "LpPool" => One(pool::norm),
        "GlobalMaxPool" => One(pool::global_max),
        "GlobalLpPool" => One(pool::global_norm),
        "GlobalAveragePool" => One(reduce::global_average),
        "ArgMax" | "ArgMin" => One(sort::arg),
        "TopK" => Many(sort::top_k),
        "CumSum" | "CumProd" => One(sort::cumulative),
        "Gather" => One(gather::gather),
        "GatherElements" => One(gather::gather_elements),
        "GatherND" => One(gather::gather_nd),
        "ScatterElements" | "Scatter" => One(gather::scatter_elements),
        "ScatterND" => One(gather::scatter_nd),
        "NonZero" => One(gather::non_zero),
        "OneHot" => One(gather::one_hot),
        "ConstantOfShape" => One(generate::constant_of_shape),
        "Range" => One(generate::range),
        "EyeLike" => One(generate::eye_like),
        "Trilu" => One(generate::trilu),
        "Tile" => One(generate::tile),
        "Split" => Many(movement::split),
        // As the graph rewrites it: see `graph::sequences`.
        "SequenceAt" if node.inputs.len() == 3 => One(movement::part),
        "SplitToSequence" if node.outputs.is_empty() => Many(|_| Ok(Vec::new())),
        "Pad" => One(movement::pad),
        "DepthToSpace" | "SpaceToDepth" => One(movement::depth_space),
        "Resize" | "Upsample" => One(resize::resize),
        "QuantizeLinear" => One(quantize::quantize),
        "DequantizeLinear" => One(quantize::dequantize),
        "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceProd" | "ReduceL1" | "ReduceL2" | "ReduceLogSum"
        | "ReduceLogSumExp" | "ReduceSumSquare" => One(reduce::reduce),
        "Softmax" | "LogSoftmax" => One(reduce::softmax),
        "Reshape" => One(shape::reshape),
        "Flatten" => One(shape::flatten),
        "Squeeze" => One(shape::squeeze),
        "Unsqueeze" => One(shape::unsqueeze),
        "Transpose" => One(shape::transpose),
        "Expand" => One(shape::expand),
        "Shape" => One(shape::shape),
        "Size" => One(shape::size),
        "Identity" => One(shape::identity),
        "Dropout" => Many(shape::dropout),
        "Concat" => One(movement::concat),
        "Slice" => One(movement::slice),
        "Cast" => One(cast::cast),
        "CastLike" => One(cast::cast_like),
        "Constant" if is_plain_constant(node) => One(|call| call.take(0)),
        _ => return None,
    })
}

/// Why this node of `graph`, which was built from `file`, cannot be run: its operator and, where that is known, what about it
/// is not.
pub(super) fn obstacle(node: &Node, graph: &Graph, file: &OnnxFile) -> Option<String> {
    let op = node.full_op();
    if find(node).is_none() {
        return Some(op);
    }
    let made = match node.op.as_str() {
        "Cast" => Some(node.attributes.int("to").unwrap_or(0)),
        "QuantizeLinear" => node.attributes.int("output_dtype").filter(|&code| code != 0),
        "EyeLike" => node.attributes.int("dtype"),
        _ => None,
    };
    if let Some(dtype) = made.map(dtype_of).filter(|&dtype| !is_value_type(dtype)) {
        return Some(format!("{op} to {dtype}"));
    }
    let told = |value: ValueId| match graph.constants.get(value.0) {
        Some(Some(tensor)) => Some(file.tensor(*tensor).dtype),
        _ => graph.inputs.iter().find(|i| i.value == value).map(|i| i.dtype).filter(|&dtype| dtype != Dtype::Other(0)),
    };
    if let Some(dtype) = node.inputs.iter().flatten().filter_map(|&v| told(v)).find(|&dtype| !is_value_type(dtype)) {
        return Some(format!("{op} of {dtype}"));
    }
    // What falls out in training falls out by chance. A mode that is worked out while the network runs may be that one.
    let mode = if node.op == "Dropout" { node.input(2) } else { None };
    let is_off = |value: ValueId| {
        let tensor = graph.constants.get(value.0).copied().flatten();
        tensor.and_then(|id| file.ints(id).ok().flatten()).is_some_and(|mode| mode.iter().all(|&v| v == 0))
    };
    mode.filter(|&value| !is_off(value)).map(|_| format!("{op} in training mode"))
}

/// Whether a Constant node holds numbers.
fn is_plain_constant(node: &Node) -> bool {
    matches!(
        node.attributes.0.as_slice(),
        [(_, Attribute::Int(_) | Attribute::Ints(_) | Attribute::Float(_) | Attribute::Floats(_) | Attribute::Tensor(_))]
    )
}

/// Whether an operator understands integers that are held as floats on the device, as quantised values are.
pub(super) fn takes_quantized(op: &str) -> bool {
    matches!(
        op,
        "DequantizeLinear" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose" | "Identity" | "Slice" | "MaxPool" | "Shape"
    )
}

/// Whether an operator can make a large value from small ones.
pub(super) fn makes_much(op: &str) -> bool {
    matches!(
        op,
        "ConstantOfShape"
            | "Expand"
            | "Tile"
            | "Range"
            | "OneHot"
            | "Pad"
            | "Resize"
            | "Upsample"
            | "Gather"
            | "GatherND"
            | "Einsum"
            | "MatMul"
            | "Gemm"
            | "Conv"
            | "ConvTranspose"
    )
}
