//! From a file's messages to nodes and values: graphs that nodes hold become bodies, calls of local functions what they stand for.

use std::collections::{HashMap, HashSet};

use onnx_ir::{AttributeProto, GraphProto, NodeProto, ValueInfoProto};

use super::node::{Attribute, Attributes, Body, BodyId, Node, ValueId};
use super::{Graph, Input};
use crate::onnx::{Dtype, OnnxFile, Turn, Way, holder, within};

/// Calls of local functions within each other that are followed; ONNX forbids those that call themselves.
const MAX_CALLS: usize = 32;

/// Nodes of a graph, and with them all that local functions are replaced by. Functions that call others twice, which call others
/// twice, and so on, would fill any memory.
const MAX_NODES: usize = 1 << 18;

/// Graphs within each other that are followed, those that local functions hold among them.
const MAX_DEPTH: usize = 48;

/// Operator sets by domain.
type Sets = HashMap<String, i64>;

/// Settings that a call gives to a local function, and those that the function has of its own.
type Given = HashMap<String, Attribute>;

/// What was read.
pub(super) struct ReadGraph<'a> {
    pub(super) graph: Graph,
    /// The messages that the nodes of the main graph, and of every body, were made from.
    pub(super) main: Vec<&'a NodeProto>,
    pub(super) bodies: Vec<Vec<&'a NodeProto>>,
}

/// Reads the graph of `file` with all that its nodes hold.
pub(super) fn read(file: &OnnxFile) -> ReadGraph<'_> {
    let model = file.model();
    let mut functions = HashMap::new();
    for (f, function) in model.functions.iter().enumerate() {
        functions.entry((function.domain.as_str(), function.name.as_str(), function.overload.as_str())).or_insert(f);
    }
    let sets: Sets = model.opset_import.iter().map(|set| (domain(&set.domain).to_owned(), set.version)).collect();
    let mut reader = Reader {
        file,
        graph: Graph { opset: file.opset, ..Graph::default() },
        functions,
        scopes: vec![Scope::default()],
        bodies: Vec::new(),
        num_nodes: 0,
        calls: 0,
        depth: 0,
    };
    reader.inputs(&model.graph);
    let context = Context { sets: &sets, given: None, scope: "", prefix: "" };
    let nodes = reader.nodes(&model.graph.node, &mut Way::new(), context);
    let (nodes, main) = nodes.into_iter().unzip();
    reader.graph.nodes = nodes;
    for info in &model.graph.output {
        let value = reader.value(&info.name);
        reader.graph.outputs.push((info.name.clone(), value));
    }
    ReadGraph { graph: reader.graph, main, bodies: reader.bodies }
}

/// ONNX's own operators under both names that they have.
fn domain(name: &str) -> &str {
    if name == "ai.onnx" { "" } else { name }
}

/// Names that are known where a node stands; `None` for an input of a function that a call leaves out.
#[derive(Default)]
struct Scope {
    names: HashMap<String, Option<ValueId>>,
    /// Nothing around it is known: a local function.
    is_closed: bool,
}

/// What nodes are read with.
#[derive(Clone, Copy)]
struct Context<'c> {
    sets: &'c Sets,
    /// Within a local function.
    given: Option<&'c Given>,
    /// The nodes that hold these: as in the names of tensors.
    scope: &'c str,
    /// Calls of local functions around them.
    prefix: &'c str,
}

struct Reader<'a> {
    file: &'a OnnxFile,
    graph: Graph,
    functions: HashMap<(&'a str, &'a str, &'a str), usize>,
    scopes: Vec<Scope>,
    bodies: Vec<Vec<&'a NodeProto>>,
    num_nodes: usize,
    /// Calls, and graphs, within each other at present.
    calls: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// A value that nothing is known of.
    fn fresh(&mut self, name: &str) -> ValueId {
        let id = ValueId(self.graph.values.len());
        self.graph.values.push(name.to_owned());
        self.graph.constants.push(None);
        id
    }

    /// A new value of this name in the innermost scope.
    fn define(&mut self, name: &str) -> ValueId {
        let id = self.fresh(name);
        if let Some(scope) = self.scopes.last_mut() {
            scope.names.insert(name.to_owned(), Some(id));
        }
        id
    }

    /// The value that a name stands for here; `None` where a call leaves it out.
    fn known(&mut self, name: &str) -> Option<ValueId> {
        for scope in self.scopes.iter().rev() {
            if let Some(id) = scope.names.get(name) {
                return *id;
            }
            if scope.is_closed {
                break;
            }
        }
        if self.scopes.len() > 1 {
            // Nobody writes it: that is told where it is wanted.
            let is_constant = !self.scopes.iter().any(|scope| scope.is_closed) && self.file.tensor_named(name).is_some();
            if !is_constant {
                return Some(self.define(name));
            }
        }
        let id = self.fresh(name);
        self.graph.constants[id.0] = self.file.tensor_named(name);
        if let Some(scope) = self.scopes.first_mut() {
            scope.names.insert(name.to_owned(), Some(id));
        }
        Some(id)
    }

    fn value(&mut self, name: &str) -> ValueId {
        match self.known(name) {
            Some(id) => id,
            None => self.define(name),
        }
    }

    fn inputs(&mut self, graph: &GraphProto) {
        for info in &graph.input {
            if self.file.tensor_named(&info.name).is_some() {
                continue;
            }
            let value = self.value(&info.name);
            let (dtype, shape) = declared(info);
            self.graph.inputs.push(Input { name: info.name.clone(), value, dtype, shape });
        }
    }

    /// Nodes in order, each with its message; calls of local functions are replaced by what they stand for.
    fn nodes(&mut self, protos: &'a [NodeProto], way: &mut Way, context: Context) -> Vec<(Node, &'a NodeProto)> {
        let mut out = Vec::with_capacity(protos.len());
        for (n, proto) in protos.iter().enumerate() {
            self.num_nodes += 1;
            way.push(Turn::Node(n));
            let function = self.functions.get(&(proto.domain.as_str(), proto.op_type.as_str(), proto.overload.as_str())).copied();
            match function.filter(|_| self.calls < MAX_CALLS && self.num_nodes < MAX_NODES) {
                Some(function) => out.extend(self.call((proto, n), function, way, context)),
                None => {
                    let node = self.node(proto, n, way, context);
                    out.push((node, proto));
                }
            }
            way.pop();
        }
        out
    }

    fn node(&mut self, proto: &'a NodeProto, number: usize, way: &mut Way, context: Context) -> Node {
        let inputs: Vec<_> = proto.input.iter().map(|name| if name.is_empty() { None } else { self.known(name) }).collect();
        let outputs: Vec<_> = proto.output.iter().map(|name| (!name.is_empty()).then(|| self.value(name))).collect();
        let attributes = self.attributes(proto, number, way, context);
        if let (true, Some(&Some(output)), [(_, Attribute::Tensor(id))]) =
            (proto.op_type == "Constant" && domain(&proto.domain).is_empty(), outputs.first(), attributes.as_slice())
        {
            self.graph.constants[output.0] = Some(*id);
        }
        let mut captures = HashSet::new();
        for (_, attribute) in &attributes {
            for body in attribute.bodies() {
                captures.extend(self.graph.bodies[body.0].captures.iter().copied());
            }
        }
        let mut captures: Vec<ValueId> = captures.into_iter().collect();
        captures.sort_unstable();
        let name = match (context.prefix, proto.name.as_str()) {
            ("", name) => name.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, name) => format!("{prefix}/{name}"),
        };
        Node {
            name,
            op: proto.op_type.clone(),
            domain: proto.domain.clone(),
            opset: context.sets.get(domain(&proto.domain)).copied().unwrap_or(self.file.opset),
            inputs,
            outputs,
            attributes: Attributes(attributes),
            captures,
            weights: Vec::new(),
        }
    }

    /// A node's settings; within a local function some stand for those of the call.
    fn attributes(&mut self, proto: &'a NodeProto, number: usize, way: &mut Way, context: Context) -> Vec<(String, Attribute)> {
        let mut out = Vec::with_capacity(proto.attribute.len());
        for (a, attribute) in proto.attribute.iter().enumerate() {
            if !attribute.ref_attr_name.is_empty() {
                // One that neither the call nor the function gives is as if it were not there.
                if let Some(given) = context.given.and_then(|given| given.get(&attribute.ref_attr_name)) {
                    out.push((attribute.name.clone(), given.clone()));
                }
                continue;
            }
            way.push(Turn::Attribute(a));
            let scope = within(&within(context.scope, &holder(proto, number)), &attribute.name);
            out.push((attribute.name.clone(), self.attribute(attribute, way, Context { scope: &scope, ..context })));
            way.pop();
        }
        out
    }

    fn attribute(&mut self, proto: &'a AttributeProto, way: &mut Way, context: Context) -> Attribute {
        use onnx_ir::AttributeType as T;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match proto.type_.enum_value_or_default() {
            T::INT => Attribute::Int(proto.i),
            T::FLOAT => Attribute::Float(proto.f),
            T::STRING => Attribute::String(text(&proto.s)),
            T::INTS => Attribute::Ints(proto.ints.clone()),
            T::FLOATS => Attribute::Floats(proto.floats.clone()),
            T::STRINGS => Attribute::Strings(proto.strings.iter().map(|s| text(s)).collect()),
            kind @ (T::TENSOR | T::SPARSE_TENSOR) => {
                way.push(if kind == T::TENSOR { Turn::Tensor } else { Turn::SparseTensor });
                let id = self.file.tensor_at(way);
                way.pop();
                id.map_or(Attribute::Other, Attribute::Tensor)
            }
            T::GRAPH => match proto.g.as_ref() {
                Some(graph) if self.depth < MAX_DEPTH => Attribute::Graph(self.body(graph, 0, &proto.name, way, context)),
                _ => Attribute::Other,
            },
            T::GRAPHS if self.depth < MAX_DEPTH => {
                let bodies = proto.graphs.iter().enumerate();
                Attribute::Graphs(bodies.map(|(i, graph)| self.body(graph, i + 1, &proto.name, way, context)).collect())
            }
            _ => Attribute::Other,
        }
    }

    /// A graph that a node holds. Names of its own hide those around it.
    fn body(&mut self, graph: &'a GraphProto, number: usize, name: &str, way: &mut Way, context: Context) -> BodyId {
        way.push(Turn::Graph(number));
        self.depth += 1;
        self.scopes.push(Scope::default());
        let inputs: Vec<ValueId> = graph.input.iter().map(|info| self.define(&info.name)).collect();
        let dense = graph.initializer.iter().map(|tensor| tensor.name.as_str()).enumerate().map(|(i, name)| (Turn::Initializer(i), name));
        let sparse = graph.sparse_initializer.iter().enumerate().map(|(i, sparse)| (Turn::Sparse(i), sparse.values.name.as_str()));
        for (step, name) in dense.chain(sparse).collect::<Vec<_>>() {
            way.push(step);
            let tensor = self.file.tensor_at(way);
            way.pop();
            // An initializer may stand among the inputs too: it is what the input is.
            let known = self.scopes.last().and_then(|scope| scope.names.get(name).copied().flatten());
            let id = known.unwrap_or_else(|| self.define(name));
            self.graph.constants[id.0] = tensor;
        }
        self.outputs_of(&graph.node);
        let nodes = self.nodes(&graph.node, way, context);
        let outputs: Vec<ValueId> = graph.output.iter().map(|info| self.value(&info.name)).collect();
        self.scopes.pop();
        self.depth -= 1;
        way.pop();
        let (nodes, protos): (Vec<Node>, Vec<&NodeProto>) = nodes.into_iter().unzip();
        let own: HashSet<ValueId> =
            inputs.iter().copied().chain(nodes.iter().flat_map(|node| node.outputs.iter().flatten().copied())).collect();
        let mut captures: Vec<ValueId> = nodes.iter().flat_map(Node::reads).chain(outputs.iter().copied()).collect();
        captures.retain(|id| !own.contains(id) && self.graph.constants[id.0].is_none());
        captures.sort_unstable();
        captures.dedup();
        let id = BodyId(self.graph.bodies.len());
        self.graph.bodies.push(Body { name: name.to_owned(), scope: context.scope.to_owned(), inputs, outputs, nodes, captures });
        self.bodies.push(protos);
        id
    }

    /// Defines what nodes write, so that it hides what is of the same name around them.
    fn outputs_of(&mut self, nodes: &[NodeProto]) {
        for name in nodes.iter().flat_map(|node| &node.output).filter(|name| !name.is_empty()) {
            if self.scopes.last().is_some_and(|scope| !scope.names.contains_key(name)) {
                self.define(name);
            }
        }
    }

    /// Puts the nodes of a local function in the place of its call.
    fn call(
        &mut self,
        (proto, number): (&'a NodeProto, usize),
        function: usize,
        way: &mut Way,
        context: Context,
    ) -> Vec<(Node, &'a NodeProto)> {
        let function_proto = &self.file.model().functions[function];
        let inputs: Vec<_> = proto.input.iter().map(|name| if name.is_empty() { None } else { self.known(name) }).collect();
        let outputs: Vec<_> = proto.output.iter().map(|name| (!name.is_empty()).then(|| self.value(name))).collect();
        let mut given: Given = self.attributes(proto, number, way, context).into_iter().collect();
        let sets: Sets = function_proto.opset_import.iter().map(|set| (domain(&set.domain).to_owned(), set.version)).collect();
        let name = if proto.name.is_empty() { proto.op_type.as_str() } else { proto.name.as_str() };
        let prefix = if context.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", context.prefix) };
        let mut inner = vec![Turn::Function(function)];
        let inner_context = Context { sets: &sets, given: None, scope: &function_proto.name, prefix: &prefix };
        for attribute in &function_proto.attribute_proto {
            if !given.contains_key(&attribute.name) {
                let value = self.attribute(attribute, &mut inner, inner_context);
                given.insert(attribute.name.clone(), value);
            }
        }
        let mut scope = Scope { is_closed: true, ..Scope::default() };
        for (i, name) in function_proto.input.iter().enumerate() {
            scope.names.insert(name.clone(), inputs.get(i).copied().flatten());
        }
        // What goes through unchanged.
        let mut through = Vec::new();
        for (name, output) in function_proto.output.iter().zip(&outputs) {
            match scope.names.get(name) {
                Some(&input) => through.push((input, *output)),
                None => drop(output.map(|output| scope.names.insert(name.clone(), Some(output)))),
            }
        }
        self.scopes.push(scope);
        self.calls += 1;
        self.outputs_of(&function_proto.node);
        let mut out = self.nodes(&function_proto.node, &mut inner, Context { given: Some(&given), ..inner_context });
        self.calls -= 1;
        self.scopes.pop();
        for (input, output) in through {
            out.push((Node { inputs: vec![input], outputs: vec![output], ..Node::part("Identity", Vec::new()) }, proto));
        }
        out
    }
}

/// Type and dimensions that a model tells of an input.
fn declared(info: &ValueInfoProto) -> (Dtype, Vec<Option<usize>>) {
    let Some(declared) = info.type_.as_ref() else { return (Dtype::Undefined, Vec::new()) };
    if !declared.has_tensor_type() {
        return (Dtype::NoTensor, Vec::new());
    }
    let tensor = declared.tensor_type();
    let shape = tensor
        .shape
        .dim
        .iter()
        .map(|d| if d.has_dim_value() { usize::try_from(d.dim_value()).ok().filter(|&d| d > 0) } else { None })
        .collect();
    (Dtype::from_code(tensor.elem_type), shape)
}
