//! Where a tensor stands in a model: in the graph itself, in a graph that an attribute holds, in a local function.
//!
//! Names do not tell tensors apart: two branches of an `If` may use one name for two.

use onnx_ir::NodeProto;

/// One turn on a way. Numbers count what stands in one list of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Turn {
    /// From the model into a local function.
    Function(usize),
    /// Into a node.
    Node(usize),
    /// Into a node's attribute.
    Attribute(usize),
    /// Into an attribute's graph; the first is that of an attribute with one.
    Graph(usize),
    /// To a graph's initializer.
    Initializer(usize),
    /// To a graph's sparse initializer.
    Sparse(usize),
    /// To an attribute's tensor.
    Tensor,
    /// To an attribute's sparse tensor.
    SparseTensor,
}

/// All turns from the model's graph, or from the model where the first is into a function.
pub(crate) type Way = Vec<Turn>;

/// A name in the scope of the nodes that hold it; the main graph has none.
pub(crate) fn within(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

/// What a node that holds graphs is known by: its name with dots, or its operator and its number among the nodes beside it.
pub(crate) fn holder(node: &NodeProto, number: usize) -> String {
    match node.name.trim_start_matches('/') {
        "" => format!("{}_{number}", node.op_type),
        name => name.replace('/', "."),
    }
}
