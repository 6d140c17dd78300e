//! Which operators can be run, and by what.

use super::call::Call;
use super::fault::Checked;
use super::setup::{Run, Setup, many, one};
use super::value::Value;
use super::{
    arithmetic, attention, cast, convolution, einsum, elementwise, fused, gather, generate, heads, integer, linear, movement,
    normalization, pool, quantize, recurrent, reduce, resize, rotary, shape, skip, sort,
};
use crate::graph::{Attribute, Node};

/// A node that was made ready to run.
pub(super) struct Operator {
    run: Run,
    /// It understands integers that are held as floats on the device, as quantised values are.
    takes_quantized: bool,
    /// It can make a large value from small ones.
    pub(super) makes_much: bool,
}

impl Operator {
    /// Reads a node's settings. A fault is the node's, whatever its inputs.
    pub(super) fn of(setup: &Setup) -> Checked<Self> {
        let prepare = find(setup.node).unwrap_or(|_| super::fault::fault!("it cannot be run"));
        let op = setup.node.op.as_str();
        Ok(Self { run: prepare(setup)?, takes_quantized: takes_quantized(op), makes_much: makes_much(op) })
    }

    /// Carries the node out.
    pub(super) fn call(&self, mut call: Call) -> Checked<Vec<Value>> {
        if !self.takes_quantized {
            for input in &mut call.inputs {
                *input = input.take().map(Value::with_ints_on_host).transpose()?;
            }
        }
        let device = call.device;
        (self.run)(&mut call)?.into_iter().map(|v| v.with_floats_on_device(device)).collect()
    }
}

/// Makes a node ready.
pub(super) type Prepare = fn(&Setup) -> Checked<Run>;

/// What makes this node ready; `None` where nothing runs it.
pub(super) fn find(node: &Node) -> Option<Prepare> {
    match node.domain.as_str() {
        "" | "ai.onnx" => standard(node),
        "com.microsoft" => microsoft(node),
        // Brevitas and QONNX, under the names that they had in turn.
        "onnx.brevitas" | "qonnx.custom_op.general" | "finn.custom_op.general" => {
            matches!(node.op.as_str(), "Quant" | "IntQuant" | "BipolarQuant").then_some(integer::quant as Prepare)
        }
        // Numbers under the names of their classes: the numbers alone.
        "ai.onnx.ml" => (node.op == "ZipMap").then_some(shape::identity as Prepare),
        _ => None,
    }
}

/// Operators that ONNX Runtime adds: those that join others when it optimises a model, and those on small integers.
fn microsoft(node: &Node) -> Option<Prepare> {
    Some(match node.op.as_str() {
        "Gelu" | "FastGelu" | "BiasGelu" | "QuickGelu" => fused::gelu,
        "FusedConv" => fused::conv,
        "FusedGemm" => fused::gemm,
        "FusedMatMul" | "TransposeMatMul" => fused::matmul,
        "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => skip::layer,
        "SimplifiedLayerNormalization" => normalization::rms,
        "EmbedLayerNormalization" => skip::embedding,
        "Attention" => heads::projected,
        "MultiHeadAttention" => heads::multi,
        "GroupQueryAttention" => heads::grouped,
        "RotaryEmbedding" => rotary::embedding,
        "DynamicQuantizeMatMul" | "MatMulIntegerToFloat" => integer::matmul_to_float,
        "QLinearAdd" | "QLinearMul" => integer::arithmetic,
        "QLinearSigmoid" | "QLinearLeakyRelu" | "QLinearSoftmax" | "QLinearGlobalAveragePool" | "QLinearAveragePool" => integer::unary,
        "QLinearConcat" => integer::concat,
        "QuantizeLinear" => quantize::quantize,
        "DequantizeLinear" => quantize::dequantize,
        _ => return None,
    })
}

fn standard(node: &Node) -> Option<Prepare> {
    Some(match node.op.as_str() {
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Mod" | "BitShift" | "BitwiseAnd" | "BitwiseOr" | "BitwiseXor" => arithmetic::binary,
        "Min" | "Max" | "Sum" | "Mean" => arithmetic::variadic,
        "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "And" | "Or" | "Xor" => arithmetic::compare,
        "Not" | "BitwiseNot" => arithmetic::negate,
        "IsNaN" | "IsInf" => arithmetic::test,
        "Where" => arithmetic::choose,
        "Clip" => elementwise::clip,
        "PRelu" => elementwise::prelu,
        "Conv" => convolution::conv,
        "ConvTranspose" => convolution::conv_transpose,
        "Gemm" => linear::gemm,
        "MatMul" => linear::matmul,
        "Einsum" => einsum::einsum,
        "Attention" => attention::attention,
        "LSTM" | "GRU" | "RNN" => recurrent::recurrent,
        "BatchNormalization" if node.attributes.int("training_mode").unwrap_or(0) != 0 => normalization::batch_in_training,
        "BatchNormalization" => normalization::batch,
        "LayerNormalization" => normalization::layer,
        // ONNX Runtime keeps the second, which it made up, among ONNX's own.
        "RMSNormalization" | "SimplifiedLayerNormalization" => normalization::rms,
        "RotaryEmbedding" => rotary::embedding,
        "MatMulInteger" => integer::matmul,
        "ConvInteger" => integer::conv,
        "QLinearConv" => integer::quantized_conv,
        "QLinearMatMul" => integer::quantized_matmul,
        "DynamicQuantizeLinear" => integer::dynamic,
        "InstanceNormalization" => normalization::instance,
        "GroupNormalization" => normalization::group,
        "MeanVarianceNormalization" => normalization::mean_variance,
        "LpNormalization" => normalization::lp,
        "LRN" => normalization::local_response,
        "MaxPool" => pool::max,
        "AveragePool" => pool::average,
        "LpPool" => pool::norm,
        "GlobalMaxPool" => pool::global_max,
        "GlobalLpPool" => pool::global_norm,
        "GlobalAveragePool" => reduce::global_average,
        "ArgMax" | "ArgMin" => sort::arg,
        "TopK" => sort::top_k,
        "CumSum" | "CumProd" => sort::cumulative,
        "Gather" => gather::gather,
        "GatherElements" => gather::gather_elements,
        "GatherND" => gather::gather_nd,
        "ScatterElements" | "Scatter" => gather::scatter_elements,
        "ScatterND" => gather::scatter_nd,
        "NonZero" => gather::non_zero,
        "OneHot" => gather::one_hot,
        "ConstantOfShape" => generate::constant_of_shape,
        "Range" => generate::range,
        "EyeLike" => generate::eye_like,
        "Trilu" => generate::trilu,
        "Tile" => generate::tile,
        "Split" => movement::split,
        // As the graph rewrites it: see `graph::sequences`.
        "SequenceAt" if node.inputs.len() == 3 => movement::part,
        "SplitToSequence" if node.outputs.is_empty() => |_| many(|_| Ok(Vec::new())),
        "Pad" => movement::pad,
        "DepthToSpace" | "SpaceToDepth" => movement::depth_space,
        "Resize" | "Upsample" => resize::resize,
        "QuantizeLinear" => quantize::quantize,
        "DequantizeLinear" => quantize::dequantize,
        "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceProd" | "ReduceL1" | "ReduceL2" | "ReduceLogSum"
        | "ReduceLogSumExp" | "ReduceSumSquare" => reduce::reduce,
        "Softmax" | "LogSoftmax" => reduce::softmax,
        "Reshape" => shape::reshape,
        "Flatten" => shape::flatten,
        "Squeeze" => shape::squeeze,
        "Unsqueeze" => shape::unsqueeze,
        "Transpose" => shape::transpose,
        "Expand" => shape::expand,
        "Shape" => shape::shape,
        "Size" => shape::size,
        "Identity" => shape::identity,
        "Dropout" => shape::dropout,
        "Concat" => movement::concat,
        "Slice" => movement::slice,
        "Cast" => cast::cast,
        "CastLike" => cast::cast_like,
        "Constant" if is_plain_constant(node) => |_| one(|call| call.take(0)),
        _ if elementwise::knows(node) => elementwise::unary,
        _ => return None,
    })
}

/// Whether a Constant node holds numbers.
fn is_plain_constant(node: &Node) -> bool {
    matches!(
        node.attributes.0.as_slice(),
        [(_, Attribute::Int(_) | Attribute::Ints(_) | Attribute::Float(_) | Attribute::Floats(_) | Attribute::Tensor(_))]
    )
}

fn takes_quantized(op: &str) -> bool {
    matches!(
        op,
        "DequantizeLinear" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose" | "Identity" | "Slice" | "MaxPool" | "Shape"
    ) || op.starts_with("QLinear")
        || op.contains("Integer")
}

fn makes_much(op: &str) -> bool {
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
