//! Which nodes are modules, and which tensors they own.

use std::collections::{HashMap, HashSet};

use onnx_ir::NodeProto;

use super::Graph;
use super::module::{Kind, Layout, Module, ModuleId, Parameter, ParameterId, Role};
use super::names;
use super::node::{BodyId, Node, ValueId};
use super::read::ReadGraph;
use super::sources::{NodePlace, Weight, WeightOrigin, Writers, node_at};
use crate::onnx::{OnnxFile, TensorId, within};

/// Finds the modules of what was read, in graph order; those in a graph that a node holds follow that node's own.
pub(super) fn discover(file: &OnnxFile, read: &mut ReadGraph) {
    let mut places = Vec::new();
    let mut seen = HashSet::new();
    for top in 0..read.graph.nodes.len() {
        walk(&read.graph, NodePlace { body: None, index: top, top }, &mut seen, &mut places);
    }
    let (mut producer, mut readers) = (HashMap::new(), HashMap::<ValueId, Vec<NodePlace>>::new());
    for &place in &places {
        let node = node_at(&read.graph, place);
        producer.extend(node.outputs.iter().flatten().map(|&value| (value, place)));
        node.inputs.iter().flatten().for_each(|&value| readers.entry(value).or_default().push(place));
    }
    let graph = std::mem::take(&mut read.graph);
    let mut discovery =
        Discovery { file, graph, protos: (&read.main, &read.bodies), producer, readers, owned: HashMap::new(), names: HashMap::new() };
    for place in places {
        discovery.module(place);
    }
    let owned = discovery.owned;
    let mut graph = discovery.graph;
    finish(file, &mut graph, &owned);
    read.graph = graph;
}

/// A node's place, then those of what it holds.
fn walk(graph: &Graph, place: NodePlace, seen: &mut HashSet<BodyId>, out: &mut Vec<NodePlace>) {
    out.push(place);
    for body in node_at(graph, place).bodies() {
        if seen.insert(body) {
            for index in 0..graph.bodies[body.0].nodes.len() {
                walk(graph, NodePlace { body: Some(body), index, top: place.top }, seen, out);
            }
        }
    }
}

/// One tensor that a module owns.
pub(super) struct ModulePart {
    pub(super) kind: Kind,
    /// What PyTorch calls it, where its own name does not tell.
    pub(super) attribute: &'static str,
    pub(super) weight: Weight,
    pub(super) layout: Layout,
    pub(super) reason: Option<String>,
    /// The node reads it as it is, so that each of its elements is an element of the node's weight.
    pub(super) is_direct: bool,
}

impl ModulePart {
    pub(super) fn new(kind: Kind, attribute: &'static str, weight: Weight, layout: Layout) -> Self {
        Self { kind, attribute, weight, layout, reason: None, is_direct: true }
    }

    pub(super) fn bias(weight: Weight) -> Self {
        Self::new(Kind::Bias, "bias", weight, Layout::OutFirst)
    }

    /// A weight, with all that it is worked out from.
    pub(super) fn all(attribute: &'static str, origin: &WeightOrigin, layout: Layout) -> Vec<Self> {
        let mut main = Self::new(Kind::Weight, attribute, origin.main(), layout);
        let WeightOrigin::WorkedOut(worked_out) = origin else { return vec![main] };
        main.reason.clone_from(&worked_out.reason);
        let own = || worked_out.reason.clone().unwrap_or_else(|| "it scales the weight".to_owned());
        let other = |&tensor: &TensorId| Self {
            reason: (!worked_out.is_moved).then(own),
            is_direct: worked_out.is_moved,
            ..Self::new(
                Kind::Weight,
                if worked_out.is_moved { attribute } else { "scale" },
                Weight { tensor, transposed: false },
                Layout::OutFirst,
            )
        };
        std::iter::once(main).chain(worked_out.others.iter().map(other)).collect()
    }
}

/// Modules found so far.
pub(super) struct Discovery<'r, 'a> {
    pub(super) file: &'a OnnxFile,
    pub(super) graph: Graph,
    protos: (&'r [&'a NodeProto], &'r [Vec<&'a NodeProto>]),
    /// The node that writes a value.
    producer: HashMap<ValueId, NodePlace>,
    /// The nodes that read a value.
    pub(super) readers: HashMap<ValueId, Vec<NodePlace>>,
    /// The parameter that stands for a tensor.
    owned: HashMap<TensorId, ParameterId>,
    /// The names of modules, each with the number that the next of its name gets.
    names: HashMap<String, usize>,
}

impl Discovery<'_, '_> {
    pub(super) fn node(&self, place: NodePlace) -> &Node {
        node_at(&self.graph, place)
    }

    fn proto(&self, place: NodePlace) -> &NodeProto {
        match place.body {
            Some(body) => self.protos.1[body.0][place.index],
            None => self.protos.0[place.index],
        }
    }

    /// What input `i` of a node comes from.
    pub(super) fn origin(&self, place: NodePlace, i: usize) -> Option<WeightOrigin> {
        let writers = Writers { file: self.file, graph: &self.graph, producer: &self.producer };
        writers.origin(self.node(place).input(i))
    }

    /// The one tensor behind input `i`.
    pub(super) fn weight(&self, place: NodePlace, i: usize) -> Option<Weight> {
        let writers = Writers { file: self.file, graph: &self.graph, producer: &self.producer };
        self.node(place).input(i).and_then(|value| writers.plain(value))
    }

    /// Enters a module with its parameters. A tensor that has an owner already stays with it.
    pub(super) fn add(&mut self, place: NodePlace, kind: &str, role: Role, parts: Vec<ModulePart>) -> Option<ModuleId> {
        for part in &parts {
            if let Some(&parameter) = self.owned.get(&part.weight.tensor) {
                self.used(parameter, place, part.is_direct);
            }
        }
        let shared = parts.iter().find(|part| part.kind == Kind::Weight).and_then(|part| self.owned.get(&part.weight.tensor));
        if let Some(&parameter) = shared {
            let module = self.graph.parameter(parameter).module;
            self.graph.modules[module.0].nodes.push(place.top);
            return None;
        }
        let first = self.file.tensor(parts.first()?.weight.tensor);
        let id = ModuleId(self.graph.modules.len());
        let proto = self.proto(place);
        let told = names::from_parameter(first.own_name()).filter(|_| !names::is_made_up(first.own_name()));
        // A weight from around a graph that a node holds keeps the name that it has there.
        let by_node = || node_name(proto, &self.node(place).name, first.own_name(), (kind, id.0));
        let (scope, own) = match told.map(|name| name.replace('/', ".")) {
            Some(name) => (first.scope(), name),
            None => match by_node() {
                Some(name) => (place.body.map_or("", |body| self.graph.bodies[body.0].scope.as_str()), name),
                None => (first.scope(), first.own_name().to_owned()),
            },
        };
        let kind = class(proto).filter(|class| names::class_agrees(class, &proto.op_type)).unwrap_or(kind).to_owned();
        let name = within(scope, &own);
        let name = self.unique(name);
        self.graph.modules.push(Module { name, kind, role, parameters: Vec::new(), buffers: Vec::new(), nodes: vec![place.top] });
        for part in parts {
            if self.owned.contains_key(&part.weight.tensor) {
                continue;
            }
            let tensor = self.file.tensor(part.weight.tensor);
            let parameter = ParameterId(self.graph.parameters.len());
            let attribute = self.attribute(id, &own, tensor.own_name(), part.attribute);
            self.graph.parameters.push(Parameter {
                module: id,
                kind: part.kind,
                name: tensor.name.clone(),
                attribute,
                tensor: part.weight.tensor,
                shape: tensor.shape.clone(),
                dtype: tensor.dtype,
                elements: tensor.elements,
                layout: part.layout,
                reason: tensor
                    .fault
                    .as_ref()
                    .map(ToString::to_string)
                    .or(part.reason)
                    .or_else(|| tensor.is_sparse().then(|| SPARSE.to_owned())),
            });
            self.owned.insert(part.weight.tensor, parameter);
            self.graph.modules[id.0].parameters.push(parameter);
            self.graph.users.push(Vec::new());
            self.used(parameter, place, part.is_direct);
        }
        Some(id)
    }

    /// Notes that a node uses a parameter.
    fn used(&mut self, parameter: ParameterId, place: NodePlace, is_direct: bool) {
        if !self.graph.users[parameter.0].contains(&place.top) {
            self.graph.users[parameter.0].push(place.top);
        }
        let node = match place.body {
            Some(body) => &mut self.graph.bodies[body.0].nodes[place.index],
            None => &mut self.graph.nodes[place.index],
        };
        if is_direct {
            node.weights.push(parameter);
        }
    }

    /// What PyTorch calls a tensor within its module: what its name says beyond the module's, where that is one of the known
    /// ways to say that a weight is worked out from it.
    fn attribute(&self, module: ModuleId, name: &str, tensor: &str, usual: &str) -> String {
        let rest = tensor.strip_prefix(name).and_then(|rest| rest.strip_prefix('.'));
        let told = rest.filter(|rest| names::is_worked_out(rest));
        let wanted = told.unwrap_or(usual).to_owned();
        let taken = |name: &str| self.graph.module(module).parameters.iter().any(|&p| self.graph.parameter(p).attribute == name);
        if !taken(&wanted) {
            return wanted;
        }
        // Ends: a module has fewer tensors than there are numbers.
        let mut number = 2;
        while taken(&format!("{wanted}_{number}")) {
            number += 1;
        }
        format!("{wanted}_{number}")
    }

    fn unique(&mut self, name: String) -> String {
        let mut number = match self.names.get(&name) {
            None => {
                self.names.insert(name.clone(), 2);
                return name;
            }
            Some(&number) => number,
        };
        // Ends: there are fewer names than numbers.
        let unique = loop {
            let candidate = format!("{name}#{number}");
            number += 1;
            if !self.names.contains_key(&candidate) {
                break candidate;
            }
        };
        self.names.insert(name, number);
        self.names.insert(unique.clone(), 2);
        unique
    }
}

const SPARSE: &str = "it is stored sparse, as the elements that are not zero and their places: nothing is saved by zeroing more of them \
in place; export the model with dense weights";

/// The head, and what no module owns.
fn finish(file: &OnnxFile, graph: &mut Graph, owned: &HashMap<TensorId, ParameterId>) {
    if let Some(last) = graph.modules.iter().rposition(|m| m.role == Role::Linear) {
        graph.modules[last].role = Role::Head;
    }
    let buffers: HashSet<TensorId> = graph.modules.iter().flat_map(|m| m.buffers.iter().map(|(_, t)| *t)).collect();
    // Numbers that nodes hold are settings as a rule: exponents, limits.
    let held: HashSet<TensorId> = graph.constants.iter().copied().flatten().filter(|id| !file.is_initializer(*id)).collect();
    let is_named = |id: TensorId| names::from_parameter(file.tensor(id).own_name()).is_some();
    let is_weight = |id: TensorId| file.tensor(id).dtype.is_float() && (file.tensor(id).elements > 1 || is_named(id));
    graph.rest = (0..file.tensors.len())
        .map(TensorId)
        .filter(|id| file.is_initializer(*id) || (held.contains(id) && is_weight(*id)))
        .filter(|id| !owned.contains_key(id) && !buffers.contains(id))
        .collect();
    let is_kept = |id: &TensorId| {
        let tensor = file.tensor(*id);
        tensor.dtype.is_float() && !names::is_made_up(tensor.own_name()) && (tensor.is_initializer || is_named(*id))
    };
    graph.unowned = graph.rest.iter().copied().filter(is_kept).collect();
}

/// A module's name where that of its first parameter does not tell it; `None` where that is better than nothing.
fn node_name(proto: &NodeProto, node: &str, parameter: &str, (kind, number): (&str, usize)) -> Option<String> {
    if let Some(scopes) = metadata(proto, "pkg.torch.onnx.name_scopes") {
        let scopes = names::python_list(scopes);
        if let Some(scope) = scopes.len().checked_sub(2).map(|i| scopes[i]).filter(|s| !s.is_empty()) {
            return Some(scope.to_owned());
        }
    }
    if let Some(name) = names::from_node(node) {
        return Some(name);
    }
    if !parameter.is_empty() && !names::is_made_up(parameter) {
        return None;
    }
    Some(if node.is_empty() { format!("{kind}_{number}") } else { node.to_owned() })
}

/// The class that owned this operator, without its path: `BatchNormAct2d`.
fn class(node: &NodeProto) -> Option<&str> {
    let classes = names::python_list(metadata(node, "pkg.torch.onnx.class_hierarchy")?);
    let path = *classes.iter().rev().find(|c| !c.starts_with("aten."))?;
    path.rsplit('.').next().filter(|name| !name.is_empty())
}

fn metadata<'a>(node: &'a NodeProto, key: &str) -> Option<&'a str> {
    node.metadata_props.iter().find(|p| p.key == key).map(|p| p.value.as_str())
}
