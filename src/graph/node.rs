//! Operators and values of a graph, as plain data.

use super::module::ParameterId;
use crate::onnx::TensorId;

/// Index of a value: a tensor that flows along an edge of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub usize);

/// Index of a graph that a node holds, in [`super::Graph::bodies`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BodyId(pub usize);

/// A graph that a node holds: a branch of an `If`, the body of a `Loop` or a `Scan`, or whatever another domain's operator means
/// by one. Its values are among those of the whole graph.
#[derive(Debug, Clone, Default)]
pub struct Body {
    /// The attribute that it stands in: `then_branch`.
    pub name: String,
    /// The nodes that hold it, as they stand before the names of its tensors: `If_0.then_branch`.
    pub scope: String,
    /// What it is given, in order.
    pub inputs: Vec<ValueId>,
    /// What it gives, in order.
    pub outputs: Vec<ValueId>,
    /// Operators, in an order of execution.
    pub nodes: Vec<Node>,
    /// Values from around it that it reads, or that a graph within it reads.
    pub captures: Vec<ValueId>,
}

/// One operator.
#[derive(Debug, Clone)]
pub struct Node {
    /// The file's own name; may be empty.
    pub name: String,
    /// Operator, as ONNX spells it: `Conv`.
    pub op: String,
    /// Operator domain; empty for ONNX's own.
    pub domain: String,
    /// Version of the operator set of its domain.
    pub opset: i64,
    /// Values read; `None` for an optional input that is left out.
    pub inputs: Vec<Option<ValueId>>,
    /// Values written; `None` for an output that nobody asked for.
    pub outputs: Vec<Option<ValueId>>,
    /// Settings.
    pub attributes: Attributes,
    /// Values that the graphs it holds read from around them.
    pub captures: Vec<ValueId>,
    /// The parameters that it uses as they are.
    pub weights: Vec<ParameterId>,
}

impl Node {
    /// A node of this operator that stands in no graph, to be carried out as part of another.
    pub(crate) fn part(op: &str, attributes: Vec<(String, Attribute)>) -> Self {
        Self {
            name: String::new(),
            op: op.to_owned(),
            domain: String::new(),
            opset: 0,
            inputs: Vec::new(),
            outputs: Vec::new(),
            attributes: Attributes(attributes),
            captures: Vec::new(),
            weights: Vec::new(),
        }
    }

    /// Input number `i`, where it is given.
    #[must_use]
    pub fn input(&self, i: usize) -> Option<ValueId> {
        self.inputs.get(i).copied().flatten()
    }

    /// Output number `i`, where it is asked for.
    #[must_use]
    pub fn output(&self, i: usize) -> Option<ValueId> {
        self.outputs.get(i).copied().flatten()
    }

    /// All values that are read where it is carried out: its inputs, and what the graphs that it holds read from around them.
    pub fn reads(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.inputs.iter().flatten().chain(&self.captures).copied()
    }

    /// The graphs that it holds.
    pub fn bodies(&self) -> impl Iterator<Item = BodyId> + '_ {
        self.attributes.0.iter().flat_map(|(_, attribute)| attribute.bodies()).copied()
    }

    /// Whether its operator is one of ONNX's own.
    #[must_use]
    pub fn is_standard(&self) -> bool {
        matches!(self.domain.as_str(), "" | "ai.onnx")
    }

    /// Whether it is this operator of ONNX's own.
    #[must_use]
    pub fn is(&self, op: &str) -> bool {
        self.op == op && self.is_standard()
    }

    /// Its name, or its operator and `number`, its place in the graph: `MatMul 17`.
    #[must_use]
    pub fn shown_name(&self, number: usize) -> String {
        if self.name.is_empty() { format!("{} {number}", self.op) } else { self.name.clone() }
    }

    /// Operator with its domain, for messages: `Conv`, `com.microsoft.FusedConv`.
    #[must_use]
    pub fn full_op(&self) -> String {
        match self.domain.as_str() {
            "" | "ai.onnx" => self.op.clone(),
            domain => format!("{domain}.{}", self.op),
        }
    }
}

/// A node's settings by name.
#[derive(Debug, Clone, Default)]
pub struct Attributes(pub Vec<(String, Attribute)>);

/// One setting.
#[derive(Debug, Clone)]
pub enum Attribute {
    /// `INT`
    Int(i64),
    /// `FLOAT`
    Float(f32),
    /// `STRING`
    String(String),
    /// `INTS`
    Ints(Vec<i64>),
    /// `FLOATS`
    Floats(Vec<f32>),
    /// `STRINGS`
    Strings(Vec<String>),
    /// `TENSOR`
    Tensor(TensorId),
    /// `GRAPH`
    Graph(BodyId),
    /// `GRAPHS`
    Graphs(Vec<BodyId>),
    /// Anything else: sparse tensors, types.
    Other,
}

impl Attribute {
    /// The graphs that it is.
    pub(crate) fn bodies(&self) -> &[BodyId] {
        match self {
            Self::Graph(body) => std::slice::from_ref(body),
            Self::Graphs(bodies) => bodies,
            _ => &[],
        }
    }
}

impl Attributes {
    /// The setting of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Attribute> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, a)| a)
    }

    /// An integer setting.
    #[must_use]
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.get(name)? {
            Attribute::Int(v) => Some(*v),
            _ => None,
        }
    }

    /// A float setting.
    #[must_use]
    pub fn float(&self, name: &str) -> Option<f32> {
        match self.get(name)? {
            Attribute::Float(v) => Some(*v),
            _ => None,
        }
    }

    /// A list of integers.
    #[must_use]
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        match self.get(name)? {
            Attribute::Ints(v) => Some(v),
            _ => None,
        }
    }

    /// A list of floats.
    #[must_use]
    pub fn floats(&self, name: &str) -> Option<&[f32]> {
        match self.get(name)? {
            Attribute::Floats(v) => Some(v),
            _ => None,
        }
    }

    /// A string setting.
    #[must_use]
    pub fn string(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Attribute::String(v) => Some(v),
            _ => None,
        }
    }

    /// A list of strings.
    #[must_use]
    pub fn strings(&self, name: &str) -> Option<&[String]> {
        match self.get(name)? {
            Attribute::Strings(v) => Some(v),
            _ => None,
        }
    }

    /// A graph setting.
    #[must_use]
    pub fn graph(&self, name: &str) -> Option<BodyId> {
        match self.get(name)? {
            Attribute::Graph(body) => Some(*body),
            _ => None,
        }
    }

    /// A tensor setting.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<TensorId> {
        match self.get(name)? {
            Attribute::Tensor(v) => Some(*v),
            _ => None,
        }
    }
}
