//! What stands behind a weight: one tensor of the file, or several from which it is worked out anew at every pass.

use std::collections::{BTreeSet, HashMap};

use super::Graph;
use super::node::{BodyId, Node, ValueId};
use crate::onnx::{Dtype, OnnxFile, TensorId};

/// How far a weight is followed back to its tensor; longer chains do not occur and cycles end here.
const MAX_STEPS: usize = 32;

/// Nodes from which a weight may be worked out.
const MAX_NODES: usize = 128;

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodePlace {
    /// The graph that holds it; none for the main graph.
    pub(super) body: Option<BodyId>,
    /// Its number there.
    pub(super) index: usize,
    /// The number of the node of the main graph that it is, or that holds it.
    pub(super) top: usize,
}

/// A parameter's tensor, and whether it was turned round on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weight {
    pub(super) tensor: TensorId,
    pub(super) transposed: bool,
}

/// What a weight comes from.
#[derive(Debug, Clone)]
pub(super) enum WeightOrigin {
    Plain(Weight),
    WorkedOut(WorkedOut),
}

/// A weight that nodes work out of tensors.
#[derive(Debug, Clone)]
pub(super) struct WorkedOut {
    /// The largest, of the weight's own shape or of one from which it follows.
    pub(super) main: Weight,
    /// The others.
    pub(super) others: Vec<TensorId>,
    /// Why the main one is not pruned; `None` where its zeros are zeros of the weight.
    pub(super) reason: Option<String>,
    /// All of them are parts of the weight.
    pub(super) is_moved: bool,
}

impl WeightOrigin {
    pub(super) fn main(&self) -> Weight {
        match self {
            Self::Plain(weight) => *weight,
            Self::WorkedOut(worked_out) => worked_out.main,
        }
    }
}

/// Who writes every value.
pub(super) struct Writers<'g> {
    pub(super) file: &'g OnnxFile,
    pub(super) graph: &'g Graph,
    pub(super) producer: &'g HashMap<ValueId, NodePlace>,
}

/// The node that stands there.
pub(super) fn node_at(graph: &Graph, place: NodePlace) -> &Node {
    match place.body {
        Some(body) => &graph.bodies[body.0].nodes[place.index],
        None => &graph.nodes[place.index],
    }
}

/// Whether an operator gives on what it gets, in another shape or type at most.
fn carries(node: &Node) -> bool {
    node.is_standard()
        && matches!(
            node.op.as_str(),
            "Identity" | "Cast" | "CastLike" | "DequantizeLinear" | "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" | "Transpose"
        )
}

/// Whether elements of this type stand for weights that were made small.
pub(super) fn is_small(dtype: Dtype) -> bool {
    use Dtype::{F4E2M1, F6E2M3, F6E3M2, F8E4M3Fn, F8E4M3FnUz, F8E5M2, F8E5M2FnUz, I2, I4, I8, U2, U4, U8};
    matches!(dtype, I8 | U8 | I4 | U4 | I2 | U2 | F8E4M3Fn | F8E4M3FnUz | F8E5M2 | F8E5M2FnUz | F6E2M3 | F6E3M2 | F4E2M1)
}

impl Writers<'_> {
    fn writer(&self, value: ValueId) -> Option<&Node> {
        self.producer.get(&value).map(|&place| node_at(self.graph, place))
    }

    /// What an input that should be a weight comes from; `None` where it depends on what goes into the network.
    pub(super) fn origin(&self, value: Option<ValueId>) -> Option<WeightOrigin> {
        let value = value?;
        match self.plain(value) {
            Some(weight) => Some(WeightOrigin::Plain(weight)),
            None => self.worked_out(value).map(WeightOrigin::WorkedOut),
        }
    }

    /// The one tensor behind an input, through operators that only carry it along.
    pub(super) fn plain(&self, mut value: ValueId) -> Option<Weight> {
        let mut transposed = false;
        for _ in 0..MAX_STEPS {
            if let Some(tensor) = self.graph.constants[value.0] {
                return Some(Weight { tensor, transposed });
            }
            let node = self.writer(value).filter(|node| carries(node))?;
            transposed ^= node.op == "Transpose";
            value = node.input(0)?;
        }
        None
    }

    fn worked_out(&self, value: ValueId) -> Option<WorkedOut> {
        let (mut open, mut seen) = (vec![value], BTreeSet::new());
        let (mut leaves, mut nodes): (Vec<TensorId>, Vec<&Node>) = (Vec::new(), Vec::new());
        while let Some(value) = open.pop() {
            if !seen.insert(value) {
                continue;
            }
            if let Some(tensor) = self.graph.constants[value.0] {
                leaves.push(tensor);
                continue;
            }
            let node = self.writer(value)?;
            nodes.push(node);
            if nodes.len() > MAX_NODES {
                return None;
            }
            // One of several weights: what its branches give, whatever the choice depends on.
            if node.is("If") {
                let output = node.outputs.iter().position(|output| *output == Some(value))?;
                open.extend(node.bodies().filter_map(|body| self.graph.bodies[body.0].outputs.get(output)));
                continue;
            }
            if node.bodies().next().is_some() {
                return None;
            }
            // Statistics that nothing is worked out from here, and zero points.
            let count = match node.op.as_str() {
                "BatchNormalization" => 3,
                "QuantizeLinear" | "DequantizeLinear" => 2,
                _ => usize::MAX,
            };
            open.extend(node.reads().take(count));
        }
        let weighty = |id: &TensorId| {
            let tensor = self.file.tensor(*id);
            tensor.elements > 1 && (tensor.dtype.is_float() || is_small(tensor.dtype))
        };
        if let Some(looked_up) = self.looked_up(&nodes, &leaves) {
            return Some(looked_up);
        }
        leaves.retain(weighty);
        leaves.dedup();
        // The first of the largest in the file's order.
        let main = *leaves.iter().min_by_key(|id| (std::cmp::Reverse(self.file.tensor(**id).elements), id.0))?;
        let how = How::of(&nodes, self.file.tensor(main).dtype)?;
        let mut others: Vec<TensorId> = leaves.into_iter().filter(|&id| id != main).collect();
        if how == How::Norm {
            others.extend(self.scalar_norms(&nodes));
        }
        others.sort_unstable();
        others.dedup();
        let reason = how.reason(&nodes, |id| self.is_zero(id));
        // Turned an odd number of times on the way, whatever else happens there.
        let transposed = nodes.iter().filter(|node| node.is("Transpose")).count() % 2 == 1;
        let is_moved = how == How::Moved;
        Some(WorkedOut { main: Weight { tensor: main, transposed }, others, reason, is_moved })
    }

    /// The norm of a whole weight, where it has one number for all: what a product, or a quotient from above, is made of.
    fn scalar_norms(&self, nodes: &[&Node]) -> impl Iterator<Item = TensorId> {
        let factors = nodes.iter().flat_map(|node| match node.op.as_str() {
            "Mul" => &node.inputs[..],
            "Div" => &node.inputs[..node.inputs.len().min(1)],
            _ => &[],
        });
        let is_norm = |id: &TensorId| {
            let tensor = self.file.tensor(*id);
            tensor.is_initializer && tensor.elements == 1 && tensor.dtype.is_float()
        };
        factors.flatten().filter_map(|&value| Some(self.plain(value)?.tensor)).filter(is_norm)
    }

    /// A weight of few values: the file holds them in a vector, and for every element the number of its value.
    fn looked_up(&self, nodes: &[&Node], leaves: &[TensorId]) -> Option<WorkedOut> {
        let looks = |node: &&Node| node.is("Gather") || node.is("GatherElements");
        let [a, b] = *leaves else { return None };
        if !nodes.iter().any(looks) || !nodes.iter().all(|node| carries(node) || looks(node)) {
            return None;
        }
        let is_wide = |id: TensorId| self.file.tensor(id).shape.iter().filter(|&&d| d > 1).count() > 1;
        let is_whole = |id: TensorId| matches!(self.file.tensor(id).dtype, Dtype::I64 | Dtype::I32 | Dtype::U8 | Dtype::U16 | Dtype::I8);
        let (codes, values) = if is_wide(a) { (a, b) } else { (b, a) };
        (is_wide(codes) && is_whole(codes) && !is_wide(values) && self.file.tensor(values).dtype.is_float()).then(|| WorkedOut {
            main: Weight { tensor: codes, transposed: false },
            others: vec![values],
            reason: Some("the weight is worked out from it at every pass: it holds the values that the weight's elements have".to_owned()),
            is_moved: false,
        })
    }

    /// Whether a value is a constant that is nothing but zeros; one that is not given is.
    fn is_zero(&self, value: Option<ValueId>) -> bool {
        let Some(value) = value else { return true };
        let Some(Weight { tensor, .. }) = self.plain(value) else { return false };
        if let Ok(Some(values)) = self.file.floats(tensor) {
            return values.zeros() == values.len() as u64;
        }
        matches!(self.file.ints(tensor), Ok(Some(values)) if values.iter().all(|&v| v == 0))
    }
}

/// How a weight is worked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// g · v / ‖v‖.
    Norm,
    /// Less its mean, divided by its deviation.
    Standard,
    /// To a few bits and back.
    Quantised,
    /// Of integers, by a scale.
    Restored,
    /// Times something.
    Scaled,
    /// Cut, put together, in another order, one of several.
    Moved,
    /// In any other way.
    Otherwise,
}

/// Operators that are met where weights are worked out, beside those that carry.
const ARITHMETIC: [&str; 47] = [
    "Abs",
    "Add",
    "BatchNormalization",
    "Clip",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Div",
    "Exp",
    "Expand",
    "Floor",
    "Gather",
    "Greater",
    "GreaterOrEqual",
    "If",
    "InstanceNormalization",
    "LayerNormalization",
    "Less",
    "LpNormalization",
    "MatMul",
    "Max",
    "MeanVarianceNormalization",
    "Min",
    "Mul",
    "Neg",
    "Pow",
    "QuantizeLinear",
    "Reciprocal",
    "ReduceL1",
    "ReduceL2",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceSum",
    "ReduceSumSquare",
    "Round",
    "Shape",
    "Sigmoid",
    "Sign",
    "Slice",
    "Softplus",
    "Split",
    "Sqrt",
    "Sub",
    "Tanh",
    "Trilu",
    "Where",
];

impl How {
    /// `None` where these nodes work something else out than a weight: a table of positions, for one.
    fn of(nodes: &[&Node], dtype: Dtype) -> Option<Self> {
        let has = |ops: &[&str]| nodes.iter().any(|node| ops.contains(&node.op.as_str()));
        let is_quant = |node: &Node| !node.is_standard() && matches!(node.op.as_str(), "Quant" | "IntQuant" | "BipolarQuant");
        let is_known = |node: &Node| carries(node) || is_quant(node) || (node.is_standard() && ARITHMETIC.contains(&node.op.as_str()));
        if !nodes.iter().all(|node| is_known(node)) {
            return None;
        }
        let sums = has(&["ReduceSum", "ReduceSumSquare", "ReduceMean"]) && has(&["Sqrt", "Pow"]);
        let norms = has(&["BatchNormalization", "InstanceNormalization", "LayerNormalization", "MeanVarianceNormalization"]);
        Some(if norms || (has(&["ReduceMean"]) && has(&["Sub"])) {
            Self::Standard
        } else if has(&["ReduceL2", "LpNormalization"]) || sums {
            Self::Norm
        } else if nodes.iter().any(|node| is_quant(node)) || has(&["QuantizeLinear"]) {
            Self::Quantised
        } else if is_small(dtype) {
            Self::Restored
        } else if nodes
            .iter()
            .all(|node| carries(node) || matches!(node.op.as_str(), "Concat" | "Slice" | "Split" | "If" | "Constant" | "Shape"))
        {
            has(&["Concat", "Slice", "Split", "If"]).then_some(Self::Moved)?
        } else if nodes
            .iter()
            .all(|node| carries(node) || matches!(node.op.as_str(), "Mul" | "Div" | "Neg" | "Trilu" | "Constant" | "Shape"))
        {
            has(&["Mul", "Div", "Neg", "Trilu"]).then_some(Self::Scaled)?
        } else if has(&["Add", "Sub", "MatMul", "Where", "Clip", "Tanh", "Sigmoid", "Exp", "Max", "Min", "Sign", "Abs", "Softplus"])
            && has(&["Mul", "Div", "Add", "Sub", "Where"])
        {
            Self::Otherwise
        } else {
            return None;
        })
    }

    /// Why what it is worked out from is not pruned; `None` where it can be.
    fn reason(self, nodes: &[&Node], is_zero: impl Fn(Option<ValueId>) -> bool) -> Option<String> {
        let worked_out = "the weight is worked out from it at every pass";
        Some(match self {
            Self::Norm => format!(
                "{worked_out}, as g · v / ‖v‖: pruned elements of v would stay zero in the weight, but the rest of their filter would grow \
                 until its norm is g again; export the model with its weights worked out (torch.nn.utils.remove_weight_norm, or \
                 parametrize.remove_parametrizations)"
            ),
            Self::Standard => format!(
                "{worked_out}, less its mean and divided by its deviation: zeros do not stay zero; export the model with its weights worked out"
            ),
            Self::Quantised => {
                let keeps = |node: &&Node| match node.op.as_str() {
                    "Quant" | "IntQuant" => is_zero(node.input(2)),
                    "QuantizeLinear" => is_zero(node.input(2)),
                    "BipolarQuant" => false,
                    _ => true,
                };
                if nodes.iter().all(keeps) {
                    return None;
                }
                format!("{worked_out}, to a few bits and back, and zero is not among what comes out")
            }
            Self::Restored => format!("{worked_out}, times a scale"),
            Self::Scaled | Self::Moved => return None,
            Self::Otherwise => {
                let ops: BTreeSet<&str> = nodes.iter().filter(|node| !carries(node)).map(|node| node.op.as_str()).collect();
                format!("{worked_out}, by {}: zeros need not stay zero", ops.into_iter().collect::<Vec<_>>().join(", "))
            }
        })
    }
}
