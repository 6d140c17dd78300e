//! What every operator does to the dimensions of what it reads: what falls together, what passes, what stays.
//!
//! A place that is gone has weights of zero in the masked network, and so is zero behind the layer that made it; what multiplies it further
//! on has zeros there too. An operator without a rule keeps all that it reads as large as it is.

use super::follow::Follow;
use super::ints::Element;
use super::reshape::{Dim, merged, reshape};
use crate::graph::{Node, ValueId};

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

/// Convolutions, transposed ones too. Of groups, whole ones can go, and the same places of all.
fn convolution(f: &mut Follow, n: usize, node: &Node) -> bool {
    let (Some(x), Some(w), Some(y)) = (node.input(0), node.input(1), node.output(0)) else { return false };
    let is_transposed = node.op == "ConvTranspose";
    let groups = node.attributes.int("group").and_then(|g| usize::try_from(g).ok()).unwrap_or(1).max(1);
    if f.rank(x) < 3 || f.rank(w) != f.rank(x) || !f.size(x, 1).is_multiple_of(groups) || !f.size(y, 1).is_multiple_of(groups) {
        return false;
    }
    let why = f.why(n, node, "ties it to what stays");
    for axis in 2..f.rank(x) {
        let why = f.why(n, node, "slides over it");
        f.freeze_dim(x, axis, why);
        f.freeze_dim(w, axis, why);
    }
    if !f.is_zero(w) && !f.is_zero(x) {
        let why = f.why(n, node, "multiplies it by what cannot be zeroed");
        f.freeze_dim(x, 1, why);
    }
    let made: Dim = if groups == 1 {
        let (input, output) = if is_transposed { (0, 1) } else { (1, 0) };
        f.tie((x, 1), (w, input), why);
        f.own(w, output)
    } else {
        let (inputs, outputs) = (f.size(x, 1) / groups, f.size(y, 1) / groups);
        // A group's first dimension holds outputs, or inputs where it is transposed; the other those of one group.
        let front = f.own(w, 0);
        let front = f.split(&front, &[groups, if is_transposed { inputs } else { outputs }], &[true, true], why);
        let read = f.dim(x, 1);
        let read = f.split(&read, &[groups, inputs], &[true, true], why);
        f.tie_dims(&front[0], &read[0], why);
        let (within, behind) = if is_transposed { (&front[1], outputs) } else { (&read[1], inputs) };
        if is_transposed {
            if inputs > 1 {
                f.tie_dims(within, &read[1], why);
            }
        } else if within.is_some() && behind > 1 {
            let held = f.own(w, 1);
            f.tie_dims(within, &held, why);
        }
        if is_transposed {
            let each = if outputs > 1 { f.own(w, 1) } else { None };
            let Some(all) = merged(&mut f.atoms, &[(groups, front[0].clone()), (outputs, each)]) else { return false };
            Some(all.into())
        } else {
            f.dim(w, 0)
        }
    };
    let mut is_zero = f.is_zero(w) && node.op != "FusedConv";
    if let Some(bias) = node.input(2) {
        let own = f.own(bias, 0);
        f.tie_dims(&made, &own, why);
        is_zero &= f.is_zero(bias);
    }
    if let Some(added) = node.input(3) {
        let own = f.dim(added, 1);
        f.tie_dims(&made, &own, why);
    }
    let mut dims = vec![None; f.rank(y)];
    dims[0] = f.dim(x, 0);
    dims[1] = made;
    f.set(Some(y), dims, is_zero, why);
    true
}

/// What a product sums over is gone only where one of its sides is zero there.
fn contract(f: &mut Follow, n: usize, node: &Node, (a, a_axis): (ValueId, usize), (b, b_axis): (ValueId, usize)) {
    let why = f.why(n, node, "ties it to what stays");
    f.tie((a, a_axis), (b, b_axis), why);
    if !f.is_zero(a) && !f.is_zero(b) {
        let why = f.why(n, node, "sums over what is not zero where it is pruned");
        f.freeze_dim(a, a_axis, why);
    }
}

/// A dimension of a side that the product keeps.
fn kept(f: &mut Follow, value: ValueId, axis: usize) -> Dim {
    if f.tensor(value).is_some() { f.own(value, axis) } else { f.dim(value, axis) }
}

fn product(f: &mut Follow, n: usize, node: &Node) -> bool {
    let (Some(a), Some(b), Some(y)) = (node.input(0), node.input(1), node.output(0)) else { return false };
    let (rank_a, rank_b, rank) = (f.rank(a), f.rank(b), f.rank(y));
    if rank_a < 2 || rank_b < 2 {
        return false;
    }
    let why = f.why(n, node, "ties it to what stays");
    contract(f, n, node, (a, rank_a - 1), (b, rank_b - 2));
    let mut dims = vec![None; rank];
    // The dimensions before the matrices are spread over one another.
    for (axis, dim) in dims.iter_mut().enumerate().take(rank - 2) {
        let place = |rank_of: usize| (axis + rank_of).checked_sub(rank);
        let there: Vec<(ValueId, usize)> =
            [(a, rank_a), (b, rank_b)].into_iter().filter_map(|(v, r)| Some((v, place(r)?))).filter(|&(v, p)| f.size(v, p) > 1).collect();
        if let [first, second] = there[..] {
            f.tie(first, second, why);
        }
        *dim = there.iter().find_map(|&(value, place)| f.dim(value, place));
    }
    let is_batch = dims.iter().any(Option::is_some);
    let (rows, columns) = (kept(f, a, rank_a - 2), kept(f, b, rank_b - 1));
    let (za, zb) = (f.is_zero(a), f.is_zero(b));
    let is_zero = (rows.is_none() || za) && (columns.is_none() || zb) && (!is_batch || za || zb);
    dims[rank - 2] = rows;
    dims[rank - 1] = columns;
    f.set(Some(y), dims, is_zero, why);
    true
}

fn gemm(f: &mut Follow, n: usize, node: &Node) -> bool {
    let (Some(a), Some(b), Some(y)) = (node.input(0), node.input(1), node.output(0)) else { return false };
    let is_set = |name| node.attributes.int(name).unwrap_or(0) != 0;
    let (turned_a, turned_b) = (usize::from(is_set("transA")), usize::from(is_set("transB")));
    let why = f.why(n, node, "ties it to what stays");
    contract(f, n, node, (a, 1 - turned_a), (b, turned_b));
    let (rows, columns) = (kept(f, a, turned_a), kept(f, b, 1 - turned_b));
    let mut is_zero = (rows.is_none() || f.is_zero(a)) && (columns.is_none() || f.is_zero(b));
    if let Some(c) = node.input(2) {
        is_zero &= f.is_zero(c);
        let rank = f.rank(c);
        for (behind, dim) in [(1, &columns), (2, &rows)] {
            let Some(axis) = rank.checked_sub(behind).filter(|&axis| f.size(c, axis) > 1) else { continue };
            if dim.is_some() {
                let own = f.own(c, axis);
                f.tie_dims(dim, &own, why);
            } else {
                f.freeze_dim(c, axis, why);
            }
        }
    }
    f.set(Some(y), vec![rows, columns], is_zero, why);
    true
}

fn einsum(f: &mut Follow, n: usize, node: &Node) -> bool {
    let Some(equation) = node.attributes.string("equation").map(|text| text.replace(' ', "")) else { return false };
    let Some((left, right)) = equation.split_once("->") else { return false };
    let terms: Vec<Vec<char>> = left.split(',').map(|term| term.chars().collect()).collect();
    let inputs: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
    let is_plain = |letters: &[char]| letters.iter().enumerate().all(|(i, c)| c.is_alphabetic() && !letters[..i].contains(c));
    let right: Vec<char> = right.chars().collect();
    if terms.len() != inputs.len() || !terms.iter().all(|term| is_plain(term)) || !is_plain(&right) {
        return false;
    }
    if terms.iter().zip(&inputs).any(|(term, &value)| term.len() != f.rank(value)) {
        return false;
    }
    let why = f.why(n, node, "ties it to what stays");
    let places = |letter: char| -> Vec<(ValueId, usize)> {
        terms.iter().zip(&inputs).filter_map(|(term, &value)| Some((value, term.iter().position(|&c| c == letter)?))).collect()
    };
    let mut letters: Vec<char> = terms.concat();
    letters.sort_unstable();
    letters.dedup();
    for letter in letters {
        let there = places(letter);
        for pair in there.windows(2) {
            f.tie(pair[0], pair[1], why);
        }
        if !right.contains(&letter) && !there.iter().any(|&(value, _)| f.is_zero(value)) {
            let why = f.why(n, node, "sums over what is not zero where it is pruned");
            for (value, axis) in there {
                f.freeze_dim(value, axis, why);
            }
        }
    }
    let mut dims = Vec::new();
    let mut is_zero = true;
    for &letter in &right {
        let there = places(letter);
        let known = there.iter().find_map(|&(value, axis)| f.dim(value, axis));
        let is_made = there.iter().all(|&(value, _)| f.tensor(value).is_some());
        let dim = match (known, there.first()) {
            (None, Some(&(value, axis))) if is_made => f.own(value, axis),
            (known, _) => known,
        };
        is_zero &= dim.is_none() || there.iter().any(|&(value, _)| f.is_zero(value));
        dims.push(dim);
    }
    f.set(node.output(0), dims, is_zero, why);
    true
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

fn reshaped(f: &mut Follow, n: usize, node: &Node) -> bool {
    let (Some(x), Some(y)) = (node.input(0), node.output(0)) else { return false };
    let (Some(from), Some(to)) = (f.shape(x).map(<[usize]>::to_vec), f.shape(y).map(<[usize]>::to_vec)) else { return false };
    let why = f.why(n, node, "puts it together with what stays");
    let dims = f.passed(x);
    if dims.iter().all(Option::is_none) {
        return true;
    }
    let Some(mut made) = reshape(&mut f.atoms, &f.known, &from, &dims, &to, why) else {
        f.freeze_value(x, why);
        return true;
    };
    if node.op == "Reshape"
        && let Some(shape) = node.input(1)
    {
        for (axis, dim) in made.iter_mut().enumerate() {
            if dim.is_some() && !is_settled(f, shape, axis) {
                let why = f.why(n, node, "gives it a length that is worked out");
                let frozen = dim.take();
                f.freeze(&frozen, why);
            }
        }
    }
    let is_zero = f.is_zero(x);
    f.set(Some(y), made, is_zero, why);
    true
}

fn transposed(f: &mut Follow, n: usize, node: &Node) -> bool {
    let Some(x) = node.input(0) else { return false };
    let rank = f.rank(x);
    let order: Vec<usize> = match node.attributes.ints("perm") {
        Some(perm) => perm.iter().filter_map(|&axis| axis_of(axis, rank)).collect(),
        None => (0..rank).rev().collect(),
    };
    if order.len() != rank {
        return false;
    }
    let dims = order.iter().map(|&axis| f.own(x, axis)).collect();
    let (is_zero, why) = (f.is_zero(x), f.why(n, node, "has only one of it"));
    f.set(node.output(0), dims, is_zero, why);
    true
}

fn joined(f: &mut Follow, n: usize, node: &Node) -> bool {
    let Some(y) = node.output(0) else { return true };
    let rank = f.rank(y);
    let Some(axis) = node.attributes.int("axis").and_then(|axis| axis_of(axis, rank)) else { return false };
    let inputs: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
    if inputs.iter().any(|&value| f.rank(value) != rank) {
        return false;
    }
    let why = f.why(n, node, "ties it to what stays");
    let mut dims = vec![None; rank];
    for (place, dim) in dims.iter_mut().enumerate().filter(|(place, _)| *place != axis) {
        let Some(&first) = inputs.iter().find(|&&value| f.dim(value, place).is_some()) else { continue };
        for &other in inputs.iter().filter(|&&other| other != first) {
            f.tie((first, place), (other, place), why);
        }
        *dim = f.dim(first, place);
    }
    if inputs.iter().any(|&value| f.dim(value, axis).is_some()) {
        let mut all = Vec::new();
        for &value in &inputs {
            match f.dim(value, axis) {
                Some(labels) => all.extend_from_slice(&labels),
                None => all.extend(std::iter::repeat_n(super::atoms::Label::STAYS, f.size(value, axis))),
            }
        }
        dims[axis] = Some(all.into());
    }
    let is_zero = inputs.iter().all(|&value| f.is_zero(value) || f.dims(value).iter().all(Option::is_none));
    f.set(Some(y), dims, is_zero, why);
    true
}

fn parted(f: &mut Follow, n: usize, node: &Node) -> bool {
    let Some(x) = node.input(0) else { return false };
    let Some(axis) = axis_of(node.attributes.int("axis").unwrap_or(0), f.rank(x)) else { return false };
    let given = match node.input(1) {
        Some(list) => f.ints(Some(list)),
        None => node.attributes.ints("split").map(<[i64]>::to_vec),
    };
    if node.input(1).is_some() && given.is_none() {
        return false;
    }
    let why = f.why(n, node, "has only one of it");
    let (dims, is_zero, whole) = (f.dims(x), f.is_zero(x), f.dim(x, axis));
    let equal = f.size(x, axis).div_ceil(node.outputs.len().max(1));
    let mut start = 0;
    for (i, &output) in node.outputs.iter().enumerate() {
        let told = given.as_ref().map_or(Some(equal), |sizes| usize::try_from(*sizes.get(i)?).ok());
        let Some(size) = output.map(|output| f.size(output, axis)).or(told) else { return false };
        let mut dims = dims.clone();
        dims[axis] = whole.as_ref().and_then(|labels| labels.get(start..start + size)).map(Into::into);
        start += size;
        f.set(output, dims, is_zero, why);
    }
    true
}

/// Starts, ends, axes and steps of a Slice.
pub(super) fn bounds(node: &Node, ints: &dyn Fn(Option<ValueId>) -> Option<Vec<i64>>, rank: usize) -> Option<Vec<(usize, i64, i64, i64)>> {
    let get = |i: usize, name: &str| match node.input(i) {
        Some(value) => ints(Some(value)).map(Some),
        None => Some(node.attributes.ints(name).map(<[i64]>::to_vec)),
    };
    let (starts, ends) = (get(1, "starts")??, get(2, "ends")??);
    let axes = get(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = get(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        return None;
    }
    (0..starts.len()).map(|i| Some((axis_of(axes[i], rank)?, starts[i], ends[i], steps[i]))).collect()
}

/// First place of a slice with steps of 1 along a dimension of so many, and how many it takes.
pub(super) fn run((start, end): (i64, i64), size: usize) -> (usize, usize) {
    let size = size as i64;
    let at = |bound: i64| (if bound < 0 { bound.saturating_add(size) } else { bound }).clamp(0, size);
    let (start, end) = (at(start), at(end));
    (start as usize, (end - start).max(0) as usize)
}

fn sliced(f: &mut Follow, n: usize, node: &Node) -> bool {
    let Some(x) = node.input(0) else { return false };
    let mut dims = f.dims(x);
    if dims.iter().all(Option::is_none) {
        return true;
    }
    let Some(bounds) = bounds(node, &|value| f.seen(value), f.rank(x)) else {
        let why = f.why(n, node, "cuts at places that are worked out");
        f.freeze_value(x, why);
        return true;
    };
    // Numbers that are worked out are put right together: none of them may depend on the size of what comes in.
    let is_mixed = bounds.len() > 1 && self::bounds(node, &|value| f.ints(value), f.rank(x)).is_none();
    let why = f.why(n, node, "cuts it in steps, or down to one");
    for (axis, start, end, step) in bounds {
        let Some(labels) = &dims[axis] else { continue };
        let (first, count) = run((start, end), labels.len());
        if step == 1 && count > 0 && !is_mixed {
            dims[axis] = Some(labels[first..first + count].into());
        } else {
            f.freeze_dim(x, axis, why);
            dims[axis] = None;
        }
    }
    let is_zero = f.is_zero(x);
    f.set(node.output(0), dims, is_zero, why);
    true
}

fn gathered(f: &mut Follow, n: usize, node: &Node) -> bool {
    let (Some(x), Some(indices)) = (node.input(0), node.input(1)) else { return false };
    let rank = f.rank(x);
    let Some(axis) = axis_of(node.attributes.int("axis").unwrap_or(0), rank) else { return false };
    let why = f.why(n, node, "picks from it");
    let is_table = f.tensor(x).is_some();
    let chosen = f.ints(Some(indices));
    let picked: Dim = match (f.dim(x, axis), &chosen) {
        (None, _) => None,
        (Some(labels), Some(chosen)) if f.rank(indices) == 1 => {
            let size = labels.len() as i64;
            let at = |&i: &i64| labels.get(usize::try_from(if i < 0 { i + size } else { i }).ok()?).copied();
            chosen.iter().map(at).collect::<Option<Vec<_>>>().map(Into::into)
        }
        (Some(labels), Some(chosen)) if f.rank(indices) == 0 => {
            let size = labels.len() as i64;
            let only = chosen.first().and_then(|&i| labels.get(usize::try_from(if i < 0 { i + size } else { i }).ok()?).copied());
            // What is picked cannot go, and its number changes when others do.
            f.freeze(&Some(labels.clone()), why);
            let _ = only;
            None
        }
        (known, _) => {
            f.freeze(&known, why);
            None
        }
    };
    let mut dims = Vec::new();
    for place in 0..rank {
        if place == axis {
            let inner = f.rank(indices);
            if inner == 1 { dims.push(picked.clone()) } else { dims.extend(std::iter::repeat_n(None, inner)) }
        } else if is_table {
            // A table of vectors.
            dims.push(f.own(x, place));
        } else {
            dims.push(f.dim(x, place));
        }
    }
    let is_zero = f.is_zero(x);
    f.set(node.output(0), dims, is_zero, why);
    true
}

/// Operators that make a value longer, but not where its channels are.
fn extended(f: &mut Follow, n: usize, node: &Node) -> bool {
    let (Some(x), Some(y)) = (node.input(0), node.output(0)) else { return false };
    let (rank, rank_y) = (f.rank(x), f.rank(y));
    if rank > rank_y {
        return false;
    }
    let why = f.why(n, node, "makes it longer");
    let mut dims = vec![None; rank_y];
    for axis in 0..rank {
        let place = axis + rank_y - rank;
        let dim = f.own(x, axis);
        let is_alike = f.size(x, axis) == f.size(y, place);
        let is_put_right = node.op != "Expand" || node.input(1).is_some_and(|shape| is_settled(f, shape, place));
        if is_alike && is_put_right {
            dims[place] = dim;
        } else if f.size(x, axis) == 1 && node.op == "Expand" {
            dims[place] = node.input(1).and_then(|shape| measured(f, shape, place));
        } else {
            f.freeze(&dim, why);
        }
    }
    if node.op == "Expand" {
        for (place, dim) in dims.iter_mut().enumerate().take(rank_y - rank) {
            *dim = node.input(1).and_then(|shape| measured(f, shape, place));
        }
    }
    // Zeros are put around it, or the like; which is of no matter where it is multiplied by zeros.
    let is_filled =
        node.op == "Pad" && (node.attributes.string("mode").is_some_and(|m| m != "constant") || f.scalar(node.input(2)) == Some(0.0));
    let is_bare = node.op == "Pad" && node.input(2).is_none() && node.attributes.float("value").unwrap_or(0.0) == 0.0;
    let is_zero = f.is_zero(x) && (node.op != "Pad" || is_filled || is_bare);
    f.set(Some(y), dims, is_zero, why);
    true
}

/// A dimension that is made as long as another one is: what goes there goes here.
fn measured(f: &mut Follow, list: ValueId, i: usize) -> Dim {
    match f.lists().element(list, i) {
        Element::Length { of: Some((value, axis)), .. } => f.own(value, axis),
        _ => None,
    }
}

/// A value that is the same everywhere.
fn filled(f: &mut Follow, n: usize, node: &Node) -> bool {
    let (Some(shape), Some(y)) = (node.input(0), node.output(0)) else { return false };
    let dims = (0..f.rank(y)).map(|axis| measured(f, shape, axis)).collect();
    let value = node.attributes.tensor("value").and_then(|id| f.file.floats(id).ok().flatten());
    let is_zero = node.attributes.tensor("value").is_none() || value.is_some_and(|values| values.zeros() == values.len() as u64);
    let why = f.why(n, node, "has only one of it");
    f.set(Some(y), dims, is_zero, why);
    true
}

/// Blocks of an image that become channels, and back.
fn blocks(f: &mut Follow, n: usize, node: &Node) -> bool {
    let Some(x) = node.input(0) else { return false };
    let Some(side) = node.attributes.int("blocksize").and_then(|b| usize::try_from(b).ok()).filter(|&b| b > 0) else { return false };
    if f.rank(x) != 4 {
        return false;
    }
    let why = f.why(n, node, "makes an image of it");
    for axis in [2, 3] {
        f.freeze_dim(x, axis, why);
    }
    let (channels, area) = (f.size(x, 1), side * side);
    let dim = f.dim(x, 1);
    let made: Dim = if node.op == "SpaceToDepth" {
        let Some(all) = merged(&mut f.atoms, &[(area, None), (channels, dim.clone())]) else { return false };
        dim.as_ref().map(|_| all.into())
    } else {
        if !channels.is_multiple_of(area) {
            return false;
        }
        let is_last = node.attributes.string("mode").is_some_and(|mode| mode == "CRD");
        let (sizes, allowed, place) =
            if is_last { ([channels / area, area], [true, false], 0) } else { ([area, channels / area], [false, true], 1) };
        let parts = f.split(&dim, &sizes, &allowed, why);
        parts[place].clone()
    };
    let (is_zero, first) = (f.is_zero(x), f.dim(x, 0));
    f.set(node.output(0), vec![first, made, None, None], is_zero, why);
    true
}
