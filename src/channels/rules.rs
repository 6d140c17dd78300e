//! What every operator does to the dimensions of what it reads: what falls together, what passes, what stays.
//!
//! A place that is gone has weights of zero in the masked network, and so is zero behind the layer that made it; what multiplies it further
//! on has zeros there too. An operator without a rule keeps all that it reads as large as it is.

mod layers;
mod places;

use super::follow::Follow;
use super::ints::Element;
use super::reshape::Dim;
use crate::graph::{Node, ValueId};
use layers::{convolution, einsum, gemm, product};
use places::{blocks, extended, filled, gathered, joined, parted, reshaped, sliced, transposed};
pub(super) use places::{bounds, run};

/// Applies the rule of one node.
pub(super) fn follow(f: &mut Follow, n: usize, node: &Node) {
    let op = node.op.as_str();
    let is_known = node.is_standard() || (node.domain == "com.microsoft" && matches!(op, "Gelu" | "QuickGelu" | "FastGelu" | "FusedConv"));
    let done = is_known
        && match op {
            "Conv" | "FusedConv" | "ConvTranspose" => convolution(f, n, node),
            "MatMul" => product(f, n, node),
            "Gemm" => gemm(f, n, node),
            "Einsum" => einsum(f, n, node),
            "BatchNormalization" | "InstanceNormalization" => per_channel(f, n, node),
            "GroupNormalization" => group_norm(f, n, node),
            "LayerNormalization"
            | "RMSNormalization"
            | "SimplifiedLayerNormalization"
            | "Softmax"
            | "LogSoftmax"
            | "Hardmax"
            | "LpNormalization"
            | "CumSum"
            | "LRN" => along(f, n, node),
            "MaxPool" | "AveragePool" | "LpPool" | "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" | "Resize" | "Upsample" => {
                spatial(f, n, node)
            }
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => reshaped(f, n, node),
            "Transpose" => transposed(f, n, node),
            "Concat" => joined(f, n, node),
            "Split" => parted(f, n, node),
            "Slice" => sliced(f, n, node),
            "Gather" => gathered(f, n, node),
            "Pad" | "Tile" | "Expand" => extended(f, n, node),
            "DepthToSpace" | "SpaceToDepth" => blocks(f, n, node),
            "ConstantOfShape" => filled(f, n, node),
            "Shape" | "Constant" | "Range" | "EyeLike" | "RandomNormalLike" | "RandomUniformLike" => true,
            _ if op.starts_with("Reduce") || matches!(op, "ArgMax" | "ArgMin") => reduced(f, n, node),
            _ => elementwise(f, n, node),
        };
    if !done {
        let why = f.why(n, node, "has no rule for channels");
        f.freeze_node(node, why);
    }
}

/// Operators that work on every element by itself and give zero of zero.
const KEEPS_ZERO: [&str; 34] = [
    "Relu",
    "LeakyRelu",
    "Abs",
    "Neg",
    "Ceil",
    "Floor",
    "Round",
    "Sign",
    "Sqrt",
    "Tanh",
    "Erf",
    "Gelu",
    "HardSwish",
    "Mish",
    "Selu",
    "Elu",
    "Celu",
    "Sin",
    "Tan",
    "Asin",
    "Atan",
    "Sinh",
    "Asinh",
    "Atanh",
    "ThresholdedRelu",
    "Softsign",
    "Identity",
    "Cast",
    "Dropout",
    "Swish",
    "QuickGelu",
    "FastGelu",
    "CastLike",
    "Silu",
];

/// Those that give another number of zero.
const BREAKS_ZERO: [&str; 7] = ["Sigmoid", "HardSigmoid", "Exp", "Cos", "Cosh", "Softplus", "Not"];

/// Those of several values that meet element by element.
const TOGETHER: [&str; 22] = [
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Pow",
    "Max",
    "Min",
    "Sum",
    "Mean",
    "Where",
    "PRelu",
    "And",
    "Or",
    "Xor",
    "Equal",
    "Less",
    "Greater",
    "LessOrEqual",
    "GreaterOrEqual",
    "Mod",
    "BitwiseAnd",
    "BitwiseOr",
];

fn elementwise(f: &mut Follow, n: usize, node: &Node) -> bool {
    let op = node.op.as_str();
    let Some(x) = node.input(0) else { return false };
    if TOGETHER.contains(&op) {
        return together(f, n, node);
    }
    let keeps = match op {
        "Clip" => {
            let bound = |name: &str, i: usize| match node.input(i) {
                Some(value) => f.scalar(Some(value)),
                None => Some(node.attributes.float(name).map_or(0.0, f64::from)),
            };
            bound("min", 1).is_some_and(|min| min <= 0.0) && bound("max", 2).is_some_and(|max| max >= 0.0)
        }
        _ if KEEPS_ZERO.contains(&op) => true,
        _ if BREAKS_ZERO.contains(&op) => false,
        _ => return false,
    };
    let (dims, is_zero) = (f.passed(x), keeps && f.is_zero(x));
    let why = f.why(n, node, "has only one of it");
    f.set(node.output(0), dims, is_zero, why);
    true
}

/// Values that meet element by element: what they spread over one another falls together.
fn together(f: &mut Follow, n: usize, node: &Node) -> bool {
    let why = f.why(n, node, "meets what stays");
    let inputs: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
    let Some(out) = node.output(0) else { return true };
    let dims = broadcast(f, &inputs, f.rank(out), why);
    let zero = |f: &Follow, value: ValueId| f.is_zero(value);
    let has = |f: &Follow, value: ValueId| f.dims(value).iter().any(Option::is_some);
    let is_zero = match node.op.as_str() {
        "Mul" => inputs.iter().any(|&value| zero(f, value)),
        "Div" | "Mod" => {
            // Zero by zero is no number.
            let by = inputs[inputs.len() - 1];
            if has(f, by) {
                let why = f.why(n, node, "divides by it");
                f.freeze_value(by, why);
            }
            zero(f, inputs[0])
        }
        "Pow" => {
            let is_power = f.scalar(node.input(1)).is_some_and(|power| power > 0.0);
            if !is_power {
                let why = f.why(n, node, "may make a number of nothing");
                f.freeze_node(node, why);
            }
            is_power && zero(f, inputs[0])
        }
        "Where" => inputs[1..].iter().all(|&value| zero(f, value)),
        "PRelu" => zero(f, inputs[0]),
        "Add" | "Sub" | "Max" | "Min" | "Sum" | "Mean" => inputs.iter().all(|&value| zero(f, value)),
        _ => false,
    };
    f.set(Some(out), dims, is_zero, why);
    true
}

/// Dimensions of values that are spread over one another, in a result of so many dimensions.
fn broadcast(f: &mut Follow, inputs: &[ValueId], rank: usize, why: u32) -> Vec<Dim> {
    let mut dims = vec![None; rank];
    for (axis, dim) in dims.iter_mut().enumerate() {
        let place = |f: &Follow, value: ValueId| (axis + f.rank(value)).checked_sub(rank).filter(|&place| f.size(value, place) > 1);
        let there: Vec<(ValueId, usize)> = inputs.iter().filter_map(|&value| Some((value, place(f, value)?))).collect();
        let Some(&first) = there.iter().find(|&&(value, place)| f.dim(value, place).is_some()) else { continue };
        for &other in there.iter().filter(|&&other| other != first) {
            f.tie(first, other, why);
        }
        *dim = f.dim(first.0, first.1);
    }
    dims
}

/// Normalisations of every channel by itself.
fn per_channel(f: &mut Follow, n: usize, node: &Node) -> bool {
    let Some(x) = node.input(0) else { return false };
    if node.outputs.iter().skip(1).any(Option::is_some) || f.rank(x) < 2 {
        return false;
    }
    let why = f.why(n, node, "ties it to what stays");
    for &other in node.inputs[1..].iter().flatten() {
        f.tie((x, 1), (other, 0), why);
    }
    let mut dims = f.dims(x);
    if node.op == "InstanceNormalization" {
        let why = f.why(n, node, "normalises over it");
        for (axis, dim) in dims.iter_mut().enumerate().skip(2) {
            f.freeze_dim(x, axis, why);
            *dim = None;
        }
    }
    let is_zero = [1, 2].iter().all(|&i| node.input(i).is_some_and(|value| f.is_zero(value)));
    f.set(node.output(0), dims, is_zero, why);
    true
}

/// Whole groups can go.
fn group_norm(f: &mut Follow, n: usize, node: &Node) -> bool {
    let (Some(x), Some(groups)) = (node.input(0), node.attributes.int("num_groups").and_then(|g| usize::try_from(g).ok())) else {
        return false;
    };
    let channels = f.size(x, 1);
    if groups == 0 || !channels.is_multiple_of(groups) || f.rank(x) < 2 {
        return false;
    }
    let why = f.why(n, node, "normalises over it");
    let dim = f.dim(x, 1);
    let whole = f.split(&dim, &[groups, channels / groups], &[true, false], why);
    for axis in 2..f.rank(x) {
        f.freeze_dim(x, axis, why);
    }
    for i in [1, 2] {
        let Some(value) = node.input(i) else { return false };
        if f.size(value, 0) == channels {
            f.tie((x, 1), (value, 0), why);
        } else if whole[0].is_some() {
            let own = f.own(value, 0);
            f.tie_dims(&whole[0], &own, why);
        }
    }
    let mut dims = vec![None; f.rank(x)];
    dims[0] = f.dim(x, 0);
    dims[1] = f.dim(x, 1);
    let is_zero = [1, 2].iter().all(|&i| node.input(i).is_some_and(|value| f.is_zero(value)));
    f.set(node.output(0), dims, is_zero, why);
    true
}

/// The place of an axis that may be counted from behind.
fn axis_of(axis: i64, rank: usize) -> Option<usize> {
    usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).ok().filter(|&axis| axis < rank)
}

/// Operators that work along one dimension, or along all from one on.
fn along(f: &mut Follow, n: usize, node: &Node) -> bool {
    let Some(x) = node.input(0) else { return false };
    let rank = f.rank(x);
    let (is_tail, default) = match node.op.as_str() {
        "LayerNormalization" | "RMSNormalization" | "SimplifiedLayerNormalization" => (true, -1),
        "Softmax" | "LogSoftmax" | "Hardmax" => (node.opset < 13, if node.opset < 13 { 1 } else { -1 }),
        "LRN" => (false, 1),
        _ => (false, -1),
    };
    let given = if node.op == "CumSum" { f.ints(node.input(1)).and_then(|v| v.first().copied()) } else { node.attributes.int("axis") };
    if node.op == "CumSum" && given.is_none() {
        return false;
    }
    let Some(axis) = axis_of(given.unwrap_or(default), rank) else { return false };
    let why = f.why(n, node, if node.op.contains("Norm") || node.op == "LRN" { "normalises over it" } else { "works along it" });
    let dims = f.dims(x);
    for (place, dim) in dims.iter().enumerate() {
        if place == axis || (is_tail && place > axis) {
            f.freeze(dim, why);
        }
    }
    for &other in node.inputs[1..].iter().flatten() {
        f.freeze_value(other, why);
    }
    let is_zero = node.op == "CumSum" && f.is_zero(x);
    f.set(node.output(0), dims, is_zero, why);
    true
}

/// Pools and resizing: channels pass.
fn spatial(f: &mut Follow, n: usize, node: &Node) -> bool {
    let (Some(x), Some(y)) = (node.input(0), node.output(0)) else { return false };
    if node.outputs.iter().skip(1).any(Option::is_some) || f.rank(x) < 2 || f.rank(y) != f.rank(x) {
        return false;
    }
    let mut dims = f.dims(x);
    let why = f.why(n, node, "works over it");
    for (axis, dim) in dims.iter_mut().enumerate() {
        let is_resized = axis >= 2 || f.size(x, axis) != f.size(y, axis);
        let sizes = node.input(3).filter(|_| node.op == "Resize");
        let is_put_right = sizes.is_none_or(|sizes| f.size(sizes, 0) != f.rank(x) || is_settled(f, sizes, axis));
        if dim.is_some() && (is_resized || !is_put_right) {
            f.freeze_dim(x, axis, why);
            *dim = None;
        }
    }
    let is_zero = f.is_zero(x);
    f.set(Some(y), dims, is_zero, why);
    true
}

/// Whether a number that says how long a dimension is can be put right, or comes right by itself.
fn is_settled(f: &Follow, value: ValueId, i: usize) -> bool {
    f.lists().element(value, i) != Element::Unknown { piece: None }
}

fn reduced(f: &mut Follow, n: usize, node: &Node) -> bool {
    let (Some(x), Some(y)) = (node.input(0), node.output(0)) else { return false };
    let rank = f.rank(x);
    let is_arg = node.op.starts_with("Arg");
    let axes: Vec<i64> = if is_arg {
        vec![node.attributes.int("axis").unwrap_or(0)]
    } else if let Some(value) = node.input(1) {
        let Some(axes) = f.ints(Some(value)) else { return false };
        axes
    } else {
        node.attributes.ints("axes").map(<[i64]>::to_vec).unwrap_or_default()
    };
    let is_idle = axes.is_empty() && node.attributes.int("noop_with_empty_axes").unwrap_or(0) != 0;
    let Some(mut places) = axes.iter().map(|&axis| axis_of(axis, rank)).collect::<Option<Vec<_>>>() else { return false };
    if axes.is_empty() && !is_idle {
        places = (0..rank).collect();
    }
    let keeps = node.attributes.int("keepdims").unwrap_or(1) != 0;
    let why = f.why(n, node, "sums it up");
    let mut dims = Vec::new();
    for axis in 0..rank {
        if places.contains(&axis) {
            f.freeze_dim(x, axis, why);
            if keeps {
                dims.push(None);
            }
        } else {
            dims.push(f.dim(x, axis));
        }
    }
    let keeps_zero = ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceProd"];
    let is_zero = keeps_zero.contains(&node.op.as_str()) && f.is_zero(x);
    f.set(Some(y), dims, is_zero, why);
    true
}
