//! The index of a file's tensors: what was parsed, joined with where it was found, and checked.
//!
//! Parser and [`super::wire::locate`] meet the tensors in one order: of a graph its initializers, its sparse initializers, then
//! what its nodes hold, graphs within them as they come; the main graph first, then functions, then what is there for training.

use std::collections::HashMap;

use onnx_ir::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

use super::Dtype;
use super::error::TensorFault;
use super::external::Files;
use super::sources::SourceId;
use super::sparse::scattered;
use super::tensor::{Decoded, Tensor, TensorId};
use super::way::{Turn, Way, holder, within};
use super::wire::{Located, Malformed, Span};

/// Product of the other dimensions of a tensor without elements: nothing holds them to the bytes that are there.
const MAX_EMPTY: usize = 1 << 31;

/// What is known so far.
pub(super) struct Index {
    /// Where data was found that is not met yet.
    located: std::iter::Enumerate<std::vec::IntoIter<Located>>,
    /// Bytes of the model file.
    length: usize,
    pub(super) tensors: Vec<Tensor>,
    /// Those of the main graph.
    pub(super) by_name: HashMap<String, TensorId>,
    pub(super) by_way: HashMap<Way, TensorId>,
    pub(super) files: Files,
    /// Where the walk stands, and what its tensors are named after: the nodes that hold them.
    way: Way,
    scope: String,
}

impl Index {
    /// The index of `model`, whose tensors lie where `located` says in a file of `length` bytes, or in `files`.
    pub(super) fn of(files: Files, length: usize, model: &ModelProto, located: Vec<Located>) -> Result<Self, Malformed> {
        let mut index = Self {
            located: located.into_iter().enumerate(),
            length,
            tensors: Vec::new(),
            by_name: HashMap::new(),
            by_way: HashMap::new(),
            files,
            way: Way::new(),
            scope: String::new(),
        };
        index.graph(&model.graph, true)?;
        for (f, function) in model.functions.iter().enumerate() {
            index.way.push(Turn::Function(f));
            index.scope.clone_from(&function.name);
            // Defaults of its attributes stand in no node.
            for attribute in &function.attribute_proto {
                index.attribute(None, attribute)?;
            }
            index.nodes(&function.node)?;
            index.way.pop();
        }
        "training".clone_into(&mut index.scope);
        for training in &model.training_info {
            for graph in [&training.initialization, &training.algorithm] {
                if let Some(graph) = graph.as_ref() {
                    index.graph(graph, false)?;
                }
            }
        }
        if index.located.next().is_none() { Ok(index) } else { Err(Malformed) }
    }

    /// Enters a graph; one that `is_run` with the network is found by its way.
    fn graph(&mut self, graph: &GraphProto, is_run: bool) -> Result<(), Malformed> {
        let is_main = self.way.is_empty() && is_run;
        for (i, proto) in graph.initializer.iter().enumerate() {
            let id = self.add(&proto.name, proto)?;
            self.enter(Turn::Initializer(i), id, is_run);
            self.tensors[id.0].is_initializer = is_run;
            if is_main {
                // Of tensors with one name the first counts.
                self.by_name.entry(proto.name.clone()).or_insert(id);
            }
        }
        for (i, sparse) in graph.sparse_initializer.iter().enumerate() {
            let Some(id) = self.sparse(None, sparse.values.as_ref(), sparse.indices.as_ref(), &sparse.dims)? else { continue };
            self.enter(Turn::Sparse(i), id, is_run);
            self.tensors[id.0].is_initializer = is_run;
            if is_main {
                self.by_name.entry(sparse.values.name.clone()).or_insert(id);
            }
        }
        if is_run { self.nodes(&graph.node) } else { self.unrun_nodes(&graph.node) }
    }

    fn enter(&mut self, step: Turn, id: TensorId, is_run: bool) {
        if is_run {
            let mut way = self.way.clone();
            way.push(step);
            self.by_way.insert(way, id);
        }
    }

    fn nodes(&mut self, nodes: &[NodeProto]) -> Result<(), Malformed> {
        for (n, node) in nodes.iter().enumerate() {
            self.way.push(Turn::Node(n));
            for (a, attribute) in node.attribute.iter().enumerate() {
                self.way.push(Turn::Attribute(a));
                self.attribute(Some((node, n)), attribute)?;
                self.way.pop();
            }
            self.way.pop();
        }
        Ok(())
    }

    fn unrun_nodes(&mut self, nodes: &[NodeProto]) -> Result<(), Malformed> {
        nodes.iter().flat_map(|node| &node.attribute).try_for_each(|attribute| self.attribute(None, attribute))
    }

    /// Enters what an attribute of a node holds, or one that stands in no node that is run.
    fn attribute(&mut self, node: Option<(&NodeProto, usize)>, attribute: &AttributeProto) -> Result<(), Malformed> {
        let name = node.and_then(|(node, _)| node.output.first().or(Some(&node.name))).unwrap_or(&attribute.name);
        if let Some(proto) = attribute.t.as_ref() {
            let id = self.add(name, proto)?;
            self.value(Turn::Tensor, id, node, name);
        }
        if let Some(sparse) = attribute.sparse_tensor.as_ref()
            && let Some(id) = self.sparse(Some(name), sparse.values.as_ref(), sparse.indices.as_ref(), &sparse.dims)?
        {
            self.value(Turn::SparseTensor, id, node, name);
        }
        for proto in &attribute.tensors {
            self.add(name, proto)?;
        }
        for sparse in &attribute.sparse_tensors {
            self.sparse(Some(name), sparse.values.as_ref(), sparse.indices.as_ref(), &sparse.dims)?;
        }
        let graphs = attribute.g.as_ref().into_iter().map(|g| (0, g)).chain(attribute.graphs.iter().enumerate().map(|(i, g)| (i + 1, g)));
        for (i, graph) in graphs {
            let length = self.scope.len();
            if let Some((node, number)) = node {
                self.scope = within(&self.scope, &holder(node, number));
            }
            self.scope = within(&self.scope, &attribute.name);
            self.way.push(Turn::Graph(i));
            self.graph(graph, node.is_some())?;
            self.way.pop();
            self.scope.truncate(length);
        }
        Ok(())
    }

    /// Makes an attribute's tensor known by its place, and that of a Constant by its name.
    fn value(&mut self, turn: Turn, id: TensorId, node: Option<(&NodeProto, usize)>, name: &str) {
        self.enter(turn, id, node.is_some());
        // A node of the main graph: in a node, in an attribute.
        if node.is_some_and(|(node, _)| node.op_type == "Constant") && self.way.len() == 2 {
            self.by_name.entry(name.to_owned()).or_insert(id);
        }
    }

    /// Enters a tensor of which the file holds what is not zero, and where that stands; `None` where it holds nothing.
    fn sparse(
        &mut self,
        name: Option<&str>,
        values: Option<&TensorProto>,
        indices: Option<&TensorProto>,
        dims: &[i64],
    ) -> Result<Option<TensorId>, Malformed> {
        let name = name.or(values.map(|values| values.name.as_str())).unwrap_or_default();
        let id = values.map(|proto| self.add(name, proto)).transpose()?;
        // Its place is counted; the indices are no tensor of their own.
        indices.map(|_| self.located.next().ok_or(Malformed)).transpose()?;
        let Some(id) = id else { return Ok(None) };
        let held = &mut self.tensors[id.0];
        if held.fault.is_none() {
            let whole = indices.ok_or_else(|| "it has no indices".to_owned()).and_then(|indices| scattered(held.clone(), indices, dims));
            match whole {
                Ok(whole) => *held = whole,
                Err(reason) => held.fault = Some(TensorFault::Damaged { reason }),
            }
        }
        Ok(Some(id))
    }

    /// Enters the next tensor.
    fn add(&mut self, name: &str, proto: &TensorProto) -> Result<TensorId, Malformed> {
        let (number, located) = self.located.next().ok_or(Malformed)?;
        let (shape, elements) = shape(&proto.dims).unwrap_or_default();
        let mut tensor = Tensor {
            name: within(&self.scope, name),
            scope: if self.scope.is_empty() { 0 } else { self.scope.len() + 1 },
            dtype: Dtype::from_code(proto.data_type),
            shape,
            elements,
            is_initializer: false,
            fault: None,
            number,
            source: SourceId::Model,
            span: None,
            decoded: None,
        };
        if let Err(fault) = self.fill(&mut tensor, proto, located.span) {
            tensor.fault = Some(fault);
        }
        self.tensors.push(tensor);
        Ok(TensorId(self.tensors.len() - 1))
    }

    /// Finds a tensor's elements, and checks that they are there.
    fn fill(&mut self, tensor: &mut Tensor, proto: &TensorProto, span: Option<Span>) -> Result<(), TensorFault> {
        let bad = |reason: String| TensorFault::Damaged { reason };
        shape(&proto.dims).map_err(bad)?;
        let (dtype, elements) = (tensor.dtype, tensor.elements);
        let too_large = || bad(format!("its shape {:?} is beyond any memory", proto.dims));
        let wanted = match dtype {
            Dtype::I4 | Dtype::U4 => Some(elements.div_ceil(2)),
            _ => dtype.size().map(|size| elements.checked_mul(size).ok_or_else(too_large)).transpose()?,
        };
        // Elements of no whole bytes are at most eight to a byte of the file.
        if wanted.is_none() && elements / 8 > self.length {
            return Err(too_large());
        }
        if proto.data_location.value() == 1 {
            let Some(wanted) = wanted else { return Err(bad(format!("external data of {dtype}"))) };
            let entries: Vec<(&str, &str)> = proto.external_data.iter().map(|e| (e.key.as_str(), e.value.as_str())).collect();
            let place = self.files.place(&entries, wanted)?;
            tensor.source = SourceId::External(place.file);
            tensor.span = Some(Span::Raw { offset: place.offset, length: wanted });
            return Ok(());
        }
        // What lies in raw_data in a type of no whole bytes is of no use to anyone.
        let Some(wanted) = wanted else { return Ok(()) };
        // An empty raw_data beside a typed field says nothing.
        let span = span.filter(|span| !matches!(span, Span::Raw { length: 0, .. }) || wanted == 0);
        if let Some(Span::Raw { length, .. }) = &span {
            if *length != wanted {
                return Err(bad(format!("{wanted} bytes expected for its shape {:?}, {length} found", tensor.shape)));
            }
        } else {
            let decoded = Decoded::of(proto, dtype, elements);
            let have = match (&decoded, &span) {
                (Some(decoded), _) => decoded.len(),
                (None, Some(Span::Runs(runs))) => runs.iter().map(|run| run.elements).sum::<usize>() / numbers(dtype),
                (None, _) => proto.int32_data.len(),
            };
            if have != elements {
                return Err(bad(format!("{elements} elements expected for its shape {:?}, {have} found", tensor.shape)));
            }
            tensor.decoded = decoded;
        }
        tensor.span = span;
        Ok(())
    }
}

/// Numbers in a typed field to one element.
fn numbers(dtype: Dtype) -> usize {
    if matches!(dtype, Dtype::C64 | Dtype::C128) { 2 } else { 1 }
}

/// A shape with the number of its elements, or why it is none.
fn shape(dims: &[i64]) -> Result<(Vec<usize>, usize), String> {
    let shape: Vec<usize> = dims.iter().map(|&d| usize::try_from(d).map_err(|_| format!("dimension {d}"))).collect::<Result<_, _>>()?;
    let product = |least: usize| shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d.max(least)));
    let elements = product(0).filter(|&n| n > 0 || product(1).is_some_and(|n| n <= MAX_EMPTY));
    match elements {
        Some(elements) => Ok((shape, elements)),
        None => Err(format!("its shape {shape:?} is beyond any memory")),
    }
}
