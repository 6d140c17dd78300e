//! The walk through a graph that finds what the places of every dimension hang on.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::atoms::{Atoms, PlaceLabel};
use super::ints::Lists;
use super::reshape::{Dim, split};
use super::rules;
use crate::graph::{Graph, Node, ParameterId, ValueId};
use crate::network::Trace;
use crate::onnx::{OnnxFile, TensorId};

/// What is known of the places of all dimensions.
pub(super) struct Follow<'a> {
    pub(super) graph: &'a Graph,
    pub(super) file: &'a OnnxFile,
    trace: &'a Trace,
    pub(super) atoms: Atoms,
    /// Dimensions of values that nodes write.
    values: HashMap<ValueId, Vec<Dim>>,
    /// Dimensions of the file's tensors, by the value that they are.
    pub(super) tensors: BTreeMap<ValueId, Vec<Dim>>,
    /// Those of them that have labels, in the order in which they were met.
    pub(super) known: Vec<Arc<[PlaceLabel]>>,
    /// Values that are zero wherever something is gone.
    zero: HashSet<ValueId>,
    /// Dimensions of tensors that some node takes as long as they are.
    whole: HashSet<(ValueId, usize)>,
    /// Tensors of which every node has its own copy: they are not masked.
    copied: HashSet<TensorId>,
    /// Tensors that cannot be made smaller, with the reason.
    stuck: HashMap<TensorId, u32>,
    parameters: HashMap<TensorId, ParameterId>,
    /// Who writes a value.
    pub(super) writers: HashMap<ValueId, usize>,
    /// Names of values that nodes of the file's own graph write.
    named: HashSet<String>,
}

impl<'a> Follow<'a> {
    pub(super) fn new(graph: &'a Graph, file: &'a OnnxFile, trace: &'a Trace) -> Self {
        let named = file.model().graph.node.iter().flat_map(|node| node.output.iter().cloned()).collect();
        let mut follow = Self {
            graph,
            file,
            trace,
            atoms: Atoms::default(),
            values: HashMap::new(),
            tensors: BTreeMap::new(),
            known: Vec::new(),
            zero: HashSet::new(),
            whole: HashSet::new(),
            copied: copied(graph),
            stuck: HashMap::new(),
            parameters: graph.parameters.iter().enumerate().map(|(i, p)| (p.tensor, ParameterId(i))).collect(),
            writers: graph.writers(),
            named,
        };
        follow.find_stuck();
        follow
    }

    /// Tensors that stay as large as they are, whatever reads them.
    fn find_stuck(&mut self) {
        let inside = self.atoms.because("a graph that a node holds reads it");
        let mut held: HashSet<TensorId> = HashSet::new();
        for node in &self.graph.nodes {
            let own: HashSet<ValueId> = node.inputs.iter().flatten().copied().collect();
            held.extend(self.graph.all_reads(node).into_iter().filter(|value| !own.contains(value)).filter_map(|v| self.tensor(v)));
        }
        let main: HashSet<&str> = self.file.model().graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
        for (i, tensor) in self.file.tensors.iter().enumerate() {
            let id = TensorId(i);
            let parameter = self.parameters.get(&id).map(|&id| self.graph.parameter(id));
            let why = if held.contains(&id) {
                inside
            } else if let Some(obstacle) = parameter.and_then(crate::graph::Parameter::obstacle) {
                self.atoms.because(obstacle)
            } else if !tensor.dtype.is_float() || tensor.fault.is_some() || tensor.is_sparse() {
                self.atoms.because("it is stored as no float array of its own")
            } else if !main.contains(tensor.name.as_str()) && !self.named.contains(&tensor.name) {
                self.atoms.because("a graph or function within the model holds it")
            } else {
                continue;
            };
            self.stuck.insert(id, why);
        }
        // What a function stands for is not in the file's own graph.
        let initializers: HashSet<TensorId> =
            (0..self.file.tensors.len()).map(TensorId).filter(|&id| self.file.is_initializer(id)).collect();
        self.stuck
            .retain(|id, _| initializers.contains(id) || !self.file.tensor(*id).dtype.is_float() || self.file.tensor(*id).fault.is_some());
    }

    /// Goes through the whole graph.
    pub(super) fn run(&mut self) {
        for (n, node) in self.graph.nodes.iter().enumerate() {
            // Numbers that a function's node holds cannot be put right: the file has them once for all calls.
            let is_own = node.outputs.iter().flatten().any(|value| self.named.contains(&self.graph.values[value.0]));
            if is_own {
                rules::follow(self, n, node);
                self.close(node);
            } else {
                let why = self.why(n, node, "stands in a function of the model");
                self.freeze_node(node, why);
                self.close(node);
            }
        }
        let why = self.atoms.because(ANSWERS);
        for (_, value) in &self.graph.outputs {
            self.freeze_value(*value, why);
        }
    }

    /// Dimensions of the tensors that a node reads and that it ties to nothing stay, whatever reads them next.
    fn close(&mut self, node: &Node) {
        if node.is("Shape") || node.is("Size") {
            return;
        }
        let read = if node.is("CastLike") { 1 } else { node.inputs.len() };
        for &value in node.inputs[..read.min(node.inputs.len())].iter().flatten() {
            if self.tensor(value).is_none() {
                continue;
            }
            let stays: Vec<_> = (0..self.rank(value)).filter(|&axis| self.dim(value, axis).is_none()).map(|axis| (value, axis)).collect();
            self.whole.extend(stays);
        }
    }

    /// Labels of all dimensions of a value that goes on as it is.
    pub(super) fn passed(&mut self, value: ValueId) -> Vec<Dim> {
        (0..self.rank(value)).map(|axis| self.own(value, axis)).collect()
    }

    /// Number of a reason that a node gives.
    pub(super) fn why(&mut self, number: usize, node: &Node, what: &str) -> u32 {
        self.atoms.because(format!("{} “{}” {what}", node.full_op(), node.shown_name(number)))
    }

    /// The file's tensor behind a value.
    pub(super) fn tensor(&self, value: ValueId) -> Option<TensorId> {
        self.graph.constants.get(value.0).copied().flatten()
    }

    /// The shape of a value.
    pub(super) fn shape(&self, value: ValueId) -> Option<&[usize]> {
        match self.tensor(value) {
            Some(id) => Some(&self.file.tensor(id).shape),
            None => self.trace.shapes.get(value.0)?.as_deref(),
        }
    }

    pub(super) fn rank(&self, value: ValueId) -> usize {
        self.shape(value).map_or(0, <[usize]>::len)
    }

    pub(super) fn size(&self, value: ValueId, axis: usize) -> usize {
        self.shape(value).and_then(|shape| shape.get(axis)).copied().unwrap_or(1)
    }

    /// Numbers of a list that is known beforehand.
    pub(super) fn ints(&self, value: Option<ValueId>) -> Option<Vec<i64>> {
        self.lists().numbers(value?)
    }

    /// The same, or what a list was in the pass that was seen.
    pub(super) fn seen(&self, value: Option<ValueId>) -> Option<Vec<i64>> {
        self.lists().seen(value?)
    }

    /// Lists of numbers in the graph.
    pub(super) fn lists(&self) -> Lists<'_> {
        Lists { graph: self.graph, file: self.file, writers: &self.writers, trace: self.trace }
    }

    /// The one number of a float constant.
    pub(super) fn scalar(&self, value: Option<ValueId>) -> Option<f64> {
        let values = self.file.floats(self.tensor(value?)?).ok().flatten()?.to_f64();
        (values.len() == 1).then(|| values[0])
    }

    /// Labels of a dimension as far as they are known.
    pub(super) fn dim(&self, value: ValueId, axis: usize) -> Dim {
        let dims = match self.tensor(value) {
            Some(_) => self.tensors.get(&value),
            None => self.values.get(&value),
        };
        dims?.get(axis)?.clone()
    }

    pub(super) fn dims(&self, value: ValueId) -> Vec<Dim> {
        (0..self.rank(value)).map(|axis| self.dim(value, axis)).collect()
    }

    /// Whether the file's tensor behind a value can be made smaller.
    fn is_own(&self, value: ValueId) -> bool {
        self.tensor(value).is_some_and(|id| !self.stuck.contains_key(&id))
    }

    /// Labels of a dimension; one of a tensor of the file gets labels of its own where it has none.
    pub(super) fn own(&mut self, value: ValueId, axis: usize) -> Dim {
        let known = self.dim(value, axis);
        let size = self.size(value, axis);
        let is_own = self.is_own(value) && !self.whole.contains(&(value, axis));
        if !is_own || known.is_some() || size <= 1 {
            return known;
        }
        let labels: Arc<[PlaceLabel]> = self.atoms.fresh(size).into();
        let rank = self.rank(value);
        self.tensors.entry(value).or_insert_with(|| vec![None; rank])[axis] = Some(labels.clone());
        self.known.push(labels.clone());
        Some(labels)
    }

    /// The places of two dimensions fall together; where one of them has length 1 nothing does.
    pub(super) fn tie(&mut self, (a, a_axis): (ValueId, usize), (b, b_axis): (ValueId, usize), why: u32) {
        if self.size(a, a_axis) == 1 || self.size(b, b_axis) == 1 {
            return;
        }
        let (mut first, mut second) = (self.dim(a, a_axis), self.dim(b, b_axis));
        if first.is_none() && second.is_none() {
            return;
        }
        if first.is_none() {
            first = self.own(a, a_axis);
        }
        if second.is_none() {
            second = self.own(b, b_axis);
        }
        let why = [a, b].iter().find_map(|&value| self.stuck.get(&self.tensor(value)?).copied()).unwrap_or(why);
        self.tie_dims(&first, &second, why);
    }

    /// The places of two dimensions fall together; one that is unknown stays, and so does the other.
    pub(super) fn tie_dims(&mut self, a: &Dim, b: &Dim, why: u32) {
        match (a, b) {
            (None, None) => {}
            (Some(labels), None) | (None, Some(labels)) => self.freeze(&Some(labels.clone()), why),
            (Some(a), Some(b)) if Arc::ptr_eq(a, b) => {}
            (Some(a), Some(b)) if a.len() == b.len() => {
                for (&a, &b) in a.iter().zip(b.iter()) {
                    self.atoms.tie(a, b, why);
                }
            }
            (a, b) => {
                self.freeze(&a.clone(), why);
                self.freeze(&b.clone(), why);
            }
        }
    }

    pub(super) fn freeze(&mut self, dim: &Dim, why: u32) {
        for &label in dim.iter().flat_map(|labels| labels.iter()) {
            self.atoms.freeze(label, why);
        }
    }

    pub(super) fn freeze_dim(&mut self, value: ValueId, axis: usize, why: u32) {
        let dim = self.dim(value, axis);
        self.freeze(&dim, why);
    }

    pub(super) fn freeze_value(&mut self, value: ValueId, why: u32) {
        for axis in 0..self.rank(value) {
            self.freeze_dim(value, axis, why);
        }
    }

    /// All that a node reads stays.
    pub(super) fn freeze_node(&mut self, node: &Node, why: u32) {
        for value in self.graph.all_reads(node) {
            self.freeze_value(value, why);
        }
    }

    /// What is known of the dimensions of a value that a node writes, and whether it is zero wherever something is gone.
    pub(super) fn set(&mut self, value: Option<ValueId>, mut dims: Vec<Dim>, is_zero: bool, why: u32) {
        let Some(value) = value else { return };
        for (axis, dim) in dims.iter_mut().enumerate() {
            // The only place along a dimension cannot go.
            if dim.is_some() && self.size(value, axis) <= 1 {
                let only = dim.take();
                self.freeze(&only, why);
            }
        }
        if dims.iter().any(Option::is_some) {
            self.values.insert(value, dims);
        }
        if is_zero {
            self.zero.insert(value);
        }
    }

    /// Whether a value is zero wherever something of it is gone.
    pub(super) fn is_zero(&self, value: ValueId) -> bool {
        match self.tensor(value) {
            Some(id) if self.copied.contains(&id) || self.file.tensor(id).elements == 1 => {
                self.file.floats(id).ok().flatten().is_some_and(|values| values.zeros() == values.len() as u64)
            }
            Some(id) => self.parameters.contains_key(&id) && !self.stuck.contains_key(&id),
            None => self.zero.contains(&value),
        }
    }

    /// A dimension as a product of several; see [`split`].
    pub(super) fn split(&mut self, dim: &Dim, sizes: &[usize], allowed: &[bool], why: u32) -> Vec<Dim> {
        match dim {
            None => vec![None; sizes.len()],
            Some(labels) => split(&mut self.atoms, &self.known, labels, sizes, allowed, why),
        }
    }
}

/// Why what the network answers stays.
pub(super) const ANSWERS: &str = "the network answers with it";

impl Follow<'_> {
    /// What would leave nothing of a dimension stays.
    pub(super) fn freeze_last(&mut self) {
        let why = self.atoms.because("nothing would be left without it");
        let dims: Vec<Arc<[PlaceLabel]>> = self.known.iter().cloned().chain(self.values.values().flatten().flatten().cloned()).collect();
        let mut seen: HashSet<*const PlaceLabel> = HashSet::new();
        for labels in dims.into_iter().filter(|labels| seen.insert(labels.as_ptr())) {
            let mut shared = labels.first().map_or(PlaceLabel::STAYS, |&label| self.atoms.resolve(label));
            for &label in labels.iter() {
                if shared.stays() {
                    break;
                }
                let label = self.atoms.resolve(label);
                shared = shared.shared(label);
            }
            self.atoms.freeze(shared, why);
        }
    }

    /// What is known of the values, for good.
    pub(super) fn take_values(&mut self) -> HashMap<ValueId, Vec<Dim>> {
        std::mem::take(&mut self.values)
    }
}

/// Tensors that several values are, see [`apart`].
fn copied(graph: &Graph) -> HashSet<TensorId> {
    let mut seen = HashSet::new();
    graph.constants.iter().flatten().filter(|id| !seen.insert(**id)).copied().collect()
}

/// The graph with a value of its own for every use of a vector that several nodes read. Exporters store equal vectors once, biases of zero
/// for one: what is then of one name is not one thing.
pub(super) fn apart(graph: &Graph, file: &OnnxFile) -> Graph {
    let mut uses: HashMap<ValueId, usize> = HashMap::new();
    for value in graph.nodes.iter().flat_map(|node| node.inputs.iter().flatten()) {
        *uses.entry(*value).or_default() += 1;
    }
    let mut graph = graph.clone();
    let is_vector = |id: TensorId| {
        let tensor = file.tensor(id);
        tensor.dtype.is_float()
            && tensor.fault.is_none()
            && tensor.elements > 1
            && tensor.shape.iter().filter(|&&size| size > 1).count() == 1
    };
    let Graph { nodes, values, constants, .. } = &mut graph;
    for input in nodes.iter_mut().flat_map(|node| node.inputs.iter_mut().flatten()) {
        let Some(id) = constants.get(input.0).copied().flatten().filter(|&id| is_vector(id)) else { continue };
        if uses.get(input).is_some_and(|&uses| uses > 1) {
            values.push(values[input.0].clone());
            constants.push(Some(id));
            *input = ValueId(values.len() - 1);
        }
    }
    graph
}
