//! From an opened file to a [`Graph`]: values, nodes, and the modules found in them.

use std::collections::{HashMap, HashSet};

use onnx_ir::{AttributeProto, NodeProto, ValueInfoProto};

use super::module::{BatchNorm, Kind, Layout, Module, ModuleId, Parameter, ParameterId, Role};
use super::names;
use super::node::{Attribute, Attributes, Node, ValueId};
use super::sequences;
use super::{Graph, Input};
use crate::onnx::{Dtype, OnnxFile, TensorId};

/// How far a weight is followed back to its tensor; longer chains do not occur and cycles end here.
const MAX_STEPS: usize = 32;

/// Builds the graph of `file`. Operators that cannot be run are kept as they are.
#[must_use]
pub fn build(file: &OnnxFile) -> Graph {
    let mut builder = Builder {
        file,
        graph: Graph { opset: file.opset, ..Graph::default() },
        by_name: HashMap::new(),
        producer: HashMap::new(),
        readers: HashMap::new(),
        owned: HashMap::new(),
        names: HashMap::new(),
    };
    builder.inputs();
    builder.nodes();
    builder.outputs();
    sequences::dissolve(&mut builder.graph);
    builder.edges();
    builder.modules();
    builder.finish()
}

struct Builder<'a> {
    file: &'a OnnxFile,
    graph: Graph,
    by_name: HashMap<String, ValueId>,
    /// The node that writes a value.
    producer: HashMap<ValueId, usize>,
    /// The nodes that read a value.
    readers: HashMap<ValueId, Vec<usize>>,
    /// The parameter that stands for a tensor.
    owned: HashMap<TensorId, ParameterId>,
    /// The names of modules, each with the number that the next of its name gets.
    names: HashMap<String, usize>,
}

/// A parameter's tensor, and whether it was turned round on its way.
#[derive(Clone, Copy)]
struct Weight {
    tensor: TensorId,
    transposed: bool,
}

impl Builder<'_> {
    fn value(&mut self, name: &str) -> ValueId {
        if let Some(&id) = self.by_name.get(name) {
            return id;
        }
        let id = ValueId(self.graph.values.len());
        self.graph.values.push(name.to_owned());
        self.graph.constants.push(self.file.tensor_named(name));
        self.by_name.insert(name.to_owned(), id);
        id
    }

    fn inputs(&mut self) {
        let file = self.file;
        for info in &file.graph().input {
            if file.tensor_named(&info.name).is_some() {
                continue;
            }
            let value = self.value(&info.name);
            let (dtype, shape) = declared(info);
            self.graph.inputs.push(Input { name: info.name.clone(), value, dtype, shape });
        }
    }

    fn nodes(&mut self) {
        let file = self.file;
        for (n, proto) in file.nodes().iter().enumerate() {
            let mut optional = |name: &String| (!name.is_empty()).then(|| self.value(name));
            let inputs: Vec<_> = proto.input.iter().map(&mut optional).collect();
            let outputs: Vec<_> = proto.output.iter().map(&mut optional).collect();
            let attributes =
                proto.attribute.iter().enumerate().map(|(a, attribute)| (attribute.name.clone(), convert(file, n, a, attribute))).collect();
            self.graph.nodes.push(Node {
                name: proto.name.clone(),
                op: proto.op_type.clone(),
                domain: proto.domain.clone(),
                inputs,
                outputs,
                attributes: Attributes(attributes),
            });
        }
    }

    fn outputs(&mut self) {
        for info in &self.file.graph().output {
            let value = self.value(&info.name);
            self.graph.outputs.push((info.name.clone(), value));
        }
    }

    /// Who writes and who reads every value.
    fn edges(&mut self) {
        for (n, node) in self.graph.nodes.iter().enumerate() {
            for &input in node.inputs.iter().flatten() {
                self.readers.entry(input).or_default().push(n);
            }
            for &output in node.outputs.iter().flatten() {
                self.producer.insert(output, n);
            }
        }
    }

    /// The tensor behind an input, through operators that only carry it along.
    fn weight(&self, value: Option<ValueId>) -> Option<Weight> {
        let mut value = value?;
        let mut transposed = false;
        for _ in 0..MAX_STEPS {
            if let Some(tensor) = self.graph.constants[value.0] {
                return Some(Weight { tensor, transposed });
            }
            let node = &self.graph.nodes[*self.producer.get(&value)?];
            match node.op.as_str() {
                "Identity" | "Cast" | "CastLike" | "DequantizeLinear" | "Reshape" | "Squeeze" | "Unsqueeze" => {}
                "Transpose" => transposed = !transposed,
                _ => return None,
            }
            value = node.input(0)?;
        }
        None
    }

    fn modules(&mut self) {
        for n in 0..self.graph.nodes.len() {
            let node = &self.graph.nodes[n];
            if !matches!(node.domain.as_str(), "" | "ai.onnx") {
                continue;
            }
            match node.op.as_str() {
                "Conv" | "ConvTranspose" => self.convolution(n),
                "Gemm" | "MatMul" => self.linear(n),
                "BatchNormalization" => self.norm(n, "BatchNorm2d"),
                "LayerNormalization" => self.norm(n, "LayerNorm"),
                "GroupNormalization" => self.norm(n, "GroupNorm"),
                "InstanceNormalization" => self.norm(n, "InstanceNorm2d"),
                "RMSNormalization" | "SimplifiedLayerNormalization" => self.norm(n, "RMSNorm"),
                "Gather" => self.embedding(n),
                "PRelu" => {
                    if let Some(weight) = self.weight(node.input(1)) {
                        self.add(n, "PReLU", Role::Activation, &[(Kind::Weight, "weight", weight, Layout::OutFirst)]);
                    }
                }
                "LSTM" | "GRU" | "RNN" => self.recurrent(n),
                _ => {}
            }
        }
    }

    fn convolution(&mut self, n: usize) {
        let node = &self.graph.nodes[n];
        let Some(weight) = self.weight(node.input(1)) else { return };
        let shape = &self.file.tensor(weight.tensor).shape;
        let dims = shape.len().saturating_sub(2);
        if !(1..=3).contains(&dims) {
            return;
        }
        let groups = node.attributes.int("group").unwrap_or(1);
        let transpose = node.op == "ConvTranspose";
        let filters = if transpose { shape[0] } else { shape[1] };
        let first = !self.graph.modules.iter().any(|m| matches!(m.role, Role::Stem));
        let role = if first && !transpose {
            Role::Stem
        } else if groups > 1 && (filters == 1 || (transpose && shape[1] == 1)) {
            Role::Depthwise
        } else if shape[2..].iter().all(|&k| k == 1) {
            Role::Pointwise
        } else {
            Role::Dense
        };
        let layout = if transpose { Layout::InFirst } else { Layout::OutFirst };
        let mut parts = vec![(Kind::Weight, "weight", weight, layout)];
        if let Some(bias) = self.weight(node.input(2)) {
            parts.push((Kind::Bias, "bias", bias, Layout::OutFirst));
        }
        let kind = format!("Conv{}{dims}d", if transpose { "Transpose" } else { "" });
        self.add(n, &kind, role, &parts);
    }

    fn linear(&mut self, n: usize) {
        let node = &self.graph.nodes[n];
        let gemm = node.op == "Gemm";
        let (weight, left) = match (self.weight(node.input(1)), self.weight(node.input(0))) {
            (Some(weight), None) => (weight, false),
            (None, Some(weight)) => (weight, true),
            _ => return,
        };
        if self.file.tensor(weight.tensor).shape.len() < 2 {
            return;
        }
        let flag = |name: &str| gemm && node.attributes.int(name).unwrap_or(0) != 0;
        // A product x·W keeps inputs first, x·Wᵀ outputs first; on the left side it is the other way round.
        let turned = if left { !flag("transA") } else { flag("transB") };
        let layout = if turned == weight.transposed { Layout::InFirst } else { Layout::OutFirst };
        let mut parts = vec![(Kind::Weight, "weight", weight, layout)];
        let bias = if gemm { self.weight(node.input(2)) } else { self.added_bias(n, weight, layout) };
        if let Some(bias) = bias {
            parts.push((Kind::Bias, "bias", bias, Layout::OutFirst));
        }
        self.add(n, "Linear", Role::Linear, &parts);
    }

    /// The constant vector that the one reader of a `MatMul` adds to it.
    fn added_bias(&self, n: usize, weight: Weight, layout: Layout) -> Option<Weight> {
        let output = self.graph.nodes[n].output(0)?;
        let [reader] = self.readers.get(&output)?.as_slice() else { return None };
        let add = &self.graph.nodes[*reader];
        if add.op != "Add" {
            return None;
        }
        let other = if add.input(0) == Some(output) { add.input(1) } else { add.input(0) };
        let bias = self.weight(other)?;
        let shape = &self.file.tensor(weight.tensor).shape;
        let outputs = match layout {
            Layout::InFirst => *shape.last()?,
            Layout::OutFirst => *shape.first()?,
        };
        let tensor = self.file.tensor(bias.tensor);
        (tensor.elements == outputs && tensor.shape.last() == Some(&outputs)).then_some(bias)
    }

    fn norm(&mut self, n: usize, kind: &str) {
        let node = &self.graph.nodes[n];
        let (first, second) = (self.weight(node.input(1)), self.weight(node.input(2)));
        let buffers: Vec<_> = [("running_mean", 3), ("running_var", 4)]
            .into_iter()
            .filter(|_| node.op == "BatchNormalization")
            .filter_map(|(name, i)| Some((name.to_owned(), self.weight(node.input(i))?.tensor)))
            .collect();
        let parts: Vec<_> = [(Kind::Weight, "weight", first), (Kind::Bias, "bias", second)]
            .into_iter()
            .filter_map(|(kind, name, weight)| Some((kind, name, weight?, Layout::OutFirst)))
            .collect();
        if let Some(id) = self.add(n, kind, Role::Normalization, &parts) {
            self.graph.modules[id.0].buffers = buffers;
        }
    }

    fn embedding(&mut self, n: usize) {
        let node = &self.graph.nodes[n];
        let Some(weight) = self.weight(node.input(0)) else { return };
        let tensor = self.file.tensor(weight.tensor);
        if tensor.shape.len() == 2 && tensor.dtype.is_float() && node.attributes.int("axis").unwrap_or(0) == 0 {
            self.add(n, "Embedding", Role::Embedding, &[(Kind::Weight, "weight", weight, Layout::OutFirst)]);
        }
    }

    fn recurrent(&mut self, n: usize) {
        let node = &self.graph.nodes[n];
        let parts: Vec<_> = [(Kind::Weight, "weight_ih_l0", 1), (Kind::Weight, "weight_hh_l0", 2), (Kind::Bias, "bias_l0", 3)]
            .into_iter()
            .filter_map(|(kind, name, i)| Some((kind, name, self.weight(node.input(i))?, Layout::OutFirst)))
            .collect();
        let op = node.op.clone();
        self.add(n, &op, Role::Recurrent, &parts);
    }

    /// Enters a module with its parameters. A tensor that has an owner already stays with it.
    fn add(&mut self, n: usize, kind: &str, role: Role, parts: &[(Kind, &str, Weight, Layout)]) -> Option<ModuleId> {
        for (.., weight, _) in parts {
            if let Some(&parameter) = self.owned.get(&weight.tensor) {
                self.graph.users[parameter.0].push(n);
            }
        }
        let shared = parts.iter().find(|(k, ..)| *k == Kind::Weight).and_then(|(_, _, w, _)| self.owned.get(&w.tensor));
        if let Some(&parameter) = shared {
            let module = self.graph.parameter(parameter).module;
            self.graph.modules[module.0].nodes.push(n);
            return None;
        }
        if parts.is_empty() {
            return None;
        }
        let id = ModuleId(self.graph.modules.len());
        let proto = &self.file.nodes()[n];
        let first = &self.file.tensor(parts[0].2.tensor).name;
        let name = self.unique(module_name(proto, first, kind, self.graph.modules.len()));
        let kind = class(proto).filter(|class| names::class_agrees(class, &proto.op_type)).unwrap_or(kind).to_owned();
        let mut module = Module { name, kind, role, parameters: Vec::new(), buffers: Vec::new(), nodes: vec![n] };
        for &(kind, attribute, weight, layout) in parts {
            if self.owned.contains_key(&weight.tensor) {
                continue;
            }
            let tensor = self.file.tensor(weight.tensor);
            let parameter = ParameterId(self.graph.parameters.len());
            self.owned.insert(weight.tensor, parameter);
            module.parameters.push(parameter);
            self.graph.users.push(vec![n]);
            self.graph.parameters.push(Parameter {
                module: id,
                kind,
                name: tensor.name.clone(),
                attribute: attribute.to_owned(),
                tensor: weight.tensor,
                shape: tensor.shape.clone(),
                dtype: tensor.dtype,
                elements: tensor.elements,
                layout,
                reason: match &tensor.fault {
                    Some(fault) => Some(fault.to_string()),
                    None => tensor.is_sparse().then(|| "the file holds only its elements that are not zero".to_owned()),
                },
            });
        }
        self.graph.modules.push(module);
        Some(id)
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

    fn finish(mut self) -> Graph {
        let last = self.graph.modules.iter().rposition(|m| m.role == Role::Linear);
        if let Some(last) = last {
            self.graph.modules[last].role = Role::Head;
        }
        self.graph.batch_norm = Some(self.batch_norm());
        let buffers: HashSet<TensorId> = self.graph.modules.iter().flat_map(|m| m.buffers.iter().map(|(_, t)| *t)).collect();
        self.graph.rest = (0..self.file.tensors.len())
            .map(TensorId)
            .filter(|id| self.file.is_initializer(*id) && !self.owned.contains_key(id) && !buffers.contains(id))
            .collect();
        let is_kept = |id: &TensorId| self.file.tensor(*id).dtype.is_float() && !names::is_made_up(&self.file.tensor(*id).name);
        self.graph.unowned = self.graph.rest.iter().copied().filter(is_kept).collect();
        self.graph
    }

    /// Folded where more convolutions carry a folded normalisation than normalisations are left.
    fn batch_norm(&self) -> BatchNorm {
        let nodes = self.file.nodes();
        let kept = nodes.iter().filter(|n| n.op_type == "BatchNormalization").count();
        let folded = nodes.iter().filter(|n| n.op_type == "Conv" && is_folded(n)).count();
        match (kept, folded) {
            (0, 0) => BatchNorm::None,
            (kept, folded) if folded > kept => BatchNorm::Folded,
            _ => BatchNorm::Kept,
        }
    }
}

/// Signs that an exporter multiplied a normalisation into this convolution: it says so in its metadata (PyTorch), it had to
/// make up new names for the weights (TorchScript), or it named them so (tf2onnx).
fn is_folded(node: &NodeProto) -> bool {
    let told = node.metadata_props.iter().any(|p| p.key.starts_with("pkg.") && p.value.contains("BatchNorm"));
    let weight = node.input.get(1).map_or("", String::as_str);
    told || (node.input.len() > 2 && names::is_made_up(weight)) || weight.contains("fused_bn")
}

fn module_name(node: &NodeProto, parameter: &str, kind: &str, number: usize) -> String {
    if let Some(name) = names::from_parameter(parameter).filter(|_| !names::is_made_up(parameter)) {
        return name.replace('/', ".");
    }
    if let Some(scopes) = metadata(node, "pkg.torch.onnx.name_scopes") {
        let scopes = names::python_list(scopes);
        if let Some(scope) = scopes.len().checked_sub(2).map(|i| scopes[i]).filter(|s| !s.is_empty()) {
            return scope.to_owned();
        }
    }
    if let Some(name) = names::from_node(&node.name) {
        return name;
    }
    match parameter {
        made_up if made_up.is_empty() || names::is_made_up(made_up) => match node.name.as_str() {
            "" => format!("{kind}_{number}"),
            name => name.to_owned(),
        },
        name => name.to_owned(),
    }
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

fn convert(file: &OnnxFile, node: usize, index: usize, proto: &AttributeProto) -> Attribute {
    use onnx_ir::AttributeType as T;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match proto.type_.enum_value_or_default() {
        T::INT => Attribute::Int(proto.i),
        T::FLOAT => Attribute::Float(proto.f),
        T::STRING => Attribute::String(text(&proto.s)),
        T::INTS => Attribute::Ints(proto.ints.clone()),
        T::FLOATS => Attribute::Floats(proto.floats.clone()),
        T::STRINGS => Attribute::Strings(proto.strings.iter().map(|s| text(s)).collect()),
        T::TENSOR => file.tensor_in_attribute(node, index).map_or(Attribute::Other, Attribute::Tensor),
        _ => Attribute::Other,
    }
}
