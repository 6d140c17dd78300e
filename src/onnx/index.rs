//! The index of a file's tensors: what was parsed, joined with where it was found, and checked.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use onnx_ir::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

use super::external::Files;
use super::sources::Source;
use super::tensor::{Decoded, Tensor, TensorId, decode, elements_in_fields, scattered};
use super::way::{Found, Step, Way};
use super::wire::Span;
use super::{Dtype, OpenError};

/// Product of the other dimensions of a tensor without elements: nothing holds them to the bytes that are there.
const MAX_EMPTY: usize = 1 << 31;

/// What is known so far.
pub(super) struct Index {
    path: PathBuf,
    /// Bytes of the model file.
    length: usize,
    pub(super) tensors: Vec<Tensor>,
    /// Those of the main graph.
    pub(super) by_name: HashMap<String, TensorId>,
    pub(super) by_way: HashMap<Way, TensorId>,
    pub(super) files: Files,
    /// Where data was found that is not met yet.
    spans: HashMap<Way, Option<Span>>,
    /// Where the walk stands, and what its tensors are named after: the nodes that hold them.
    way: Way,
    scope: String,
}

impl Index {
    pub(super) fn new(path: &Path, length: usize, found: Vec<Found>) -> Self {
        let mut spans = HashMap::with_capacity(found.len());
        for f in found {
            spans.entry(f.way).and_modify(|span| *span = None).or_insert(f.data);
        }
        let (tensors, by_name, by_way) = (Vec::new(), HashMap::new(), HashMap::new());
        let (path, files) = (path.to_owned(), Files::new(path));
        Self { path, length, tensors, by_name, by_way, files, spans, way: Way::new(), scope: String::new() }
    }

    /// Fills `tensors`, joining what was parsed with where it was found: the initializers of the main graph first, in the
    /// file's order, then what its nodes hold, then what local functions hold.
    pub(super) fn fill(&mut self, model: &ModelProto) -> Result<(), OpenError> {
        self.graph(&model.graph)?;
        for (f, function) in model.functions.iter().enumerate() {
            self.way.push(Step::Function(f));
            self.scope.clone_from(&function.name);
            self.nodes(&function.node)?;
            self.way.pop();
        }
        Ok(())
    }

    fn graph(&mut self, graph: &GraphProto) -> Result<(), OpenError> {
        let is_main = self.way.is_empty();
        for (i, proto) in graph.initializer.iter().enumerate() {
            let id = self.add_at(Step::Initializer(i), &proto.name, proto)?;
            self.tensors[id.0].is_initializer = true;
            if is_main {
                self.by_name.entry(proto.name.clone()).or_insert(id);
            }
        }
        for (i, sparse) in graph.sparse_initializer.iter().enumerate() {
            let (name, way) = (sparse.values.name.clone(), self.way_to(Step::Sparse(i)));
            let span = self.spans.remove(&way).flatten();
            let id = self.add_sparse(&name, (&sparse.values, span), &sparse.indices, &sparse.dims)?;
            self.by_way.insert(way, id);
            if is_main {
                self.by_name.entry(name).or_insert(id);
            }
        }
        self.nodes(&graph.node)
    }

    fn nodes(&mut self, nodes: &[NodeProto]) -> Result<(), OpenError> {
        for (n, node) in nodes.iter().enumerate() {
            self.way.push(Step::Node(n));
            for (a, attribute) in node.attribute.iter().enumerate() {
                self.way.push(Step::Attribute(a));
                self.attribute(node, n, attribute)?;
                self.way.pop();
            }
            self.way.pop();
        }
        Ok(())
    }

    fn attribute(&mut self, node: &NodeProto, number: usize, attribute: &AttributeProto) -> Result<(), OpenError> {
        if let Some(proto) = attribute.t.as_ref() {
            let name = node.output.first().map_or(node.name.as_str(), String::as_str);
            let id = self.add_at(Step::Tensor, name, proto)?;
            // A node of the main graph: in a node, in an attribute.
            if node.op_type == "Constant" && self.way.len() == 2 {
                self.by_name.entry(name.to_owned()).or_insert(id);
            }
        }
        let graphs = attribute.g.as_ref().into_iter().map(|g| (0, g)).chain(attribute.graphs.iter().enumerate().map(|(i, g)| (i + 1, g)));
        for (i, graph) in graphs {
            let length = self.scope.len();
            self.scope = within(&self.scope, &holder(node, number));
            self.scope = within(&self.scope, &attribute.name);
            self.way.push(Step::Graph(i));
            self.graph(graph)?;
            self.way.pop();
            self.scope.truncate(length);
        }
        Ok(())
    }

    fn way_to(&self, step: Step) -> Way {
        let mut way = self.way.clone();
        way.push(step);
        way
    }

    fn add_at(&mut self, step: Step, name: &str, proto: &TensorProto) -> Result<TensorId, OpenError> {
        let way = self.way_to(step);
        let span = self.spans.remove(&way).flatten();
        let id = self.add(&within(&self.scope, name), proto, span)?;
        self.by_way.insert(way, id);
        Ok(id)
    }

    /// A tensor of which the file holds what is not zero, and where that stands.
    fn add_sparse(
        &mut self,
        name: &str,
        (values, span): (&TensorProto, Option<Span>),
        indices: &TensorProto,
        dims: &[i64],
    ) -> Result<TensorId, OpenError> {
        let name = within(&self.scope, name);
        let path = self.path.clone();
        let bad = |reason: String| OpenError::BadTensor { tensor: name.clone(), reason, path: path.clone() };
        let id = self.add(&name, values, span)?;
        let held = self.tensors[id.0].clone();
        let tensor = scattered(held, values, indices, dims).map_err(bad)?;
        self.tensors[id.0] = tensor;
        Ok(id)
    }

    fn add(&mut self, name: &str, proto: &TensorProto, span: Option<Span>) -> Result<TensorId, OpenError> {
        let bad = |reason: String| OpenError::BadTensor { tensor: name.to_owned(), reason, path: self.path.clone() };
        let dtype = Dtype::from_code(proto.data_type);
        let shape: Vec<usize> =
            proto.dims.iter().map(|&d| usize::try_from(d).map_err(|_| bad(format!("dimension {d}")))).collect::<Result<_, _>>()?;
        let elements = shape
            .iter()
            .try_fold(1_usize, |n, &d| n.checked_mul(d))
            .filter(|&n| n > 0 || shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d.max(1))).is_some_and(|n| n <= MAX_EMPTY))
            .ok_or_else(|| bad(format!("its shape {shape:?} is beyond any memory")))?;
        let scope = if self.scope.is_empty() { 0 } else { self.scope.len() + 1 };
        let mut tensor = Tensor {
            name: name.to_owned(),
            scope,
            dtype,
            shape,
            elements,
            source: Source::Model,
            span,
            is_initializer: false,
            decoded: None,
        };
        let too_large = || bad(format!("its shape {:?} is beyond any memory", proto.dims));
        let wanted = dtype.size().map(|size| elements.checked_mul(size).ok_or_else(too_large)).transpose()?;
        // Elements of no whole bytes are at most eight to a byte of the file.
        if wanted.is_none() && elements / 8 > self.length {
            return Err(too_large());
        }
        if proto.data_location.value() == 1 {
            let Some(wanted) = wanted else { return Err(bad(format!("external data of {dtype}"))) };
            let entries: Vec<(&str, &str)> = proto.external_data.iter().map(|e| (e.key.as_str(), e.value.as_str())).collect();
            let place = self.files.place(name, &entries, wanted)?;
            tensor.source = Source::External(place.file);
            tensor.span = Some(Span::Raw { offset: place.offset, length: wanted });
        } else if let Some(Span::Raw { length, .. }) = span {
            if let Some(wanted) = wanted.filter(|&wanted| wanted != length) {
                return Err(bad(format!("{wanted} bytes expected for its shape {:?}, {length} found", tensor.shape)));
            }
        } else {
            tensor.decoded = decode(proto, dtype);
            let have = match (&tensor.decoded, span) {
                (Some(Decoded::Ints(v)), _) => v.len(),
                (Some(Decoded::Floats(v)), _) => v.len(),
                (_, Some(Span::Fixed { elements, .. })) => elements,
                (_, _) => elements_in_fields(proto, dtype),
            };
            if have != elements && wanted.is_some() {
                return Err(bad(format!("{elements} elements expected for its shape {:?}, {have} found", tensor.shape)));
            }
        }
        // The raw span of a type that is not plain numbers is of no use to anyone.
        if dtype.size().is_none() {
            tensor.span = None;
        }
        self.tensors.push(tensor);
        Ok(TensorId(self.tensors.len() - 1))
    }
}

/// A name in the scope of the nodes that hold it; the main graph has none.
pub(crate) fn within(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

/// What a node that holds graphs is known by: its name, or its operator and its number among the nodes beside it.
pub(crate) fn holder(node: &NodeProto, number: usize) -> String {
    if node.name.is_empty() { format!("{}_{number}", node.op_type) } else { node.name.clone() }
}
