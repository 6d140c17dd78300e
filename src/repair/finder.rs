//! The search for places that can be repaired: which layers have a bias or can get one, what they share, what follows them.

use std::collections::HashMap;

use super::sites::{Affine, Bias, BiasedLayer, Fit, Fix, Norm, OutputAxis, Site, ValueAt};
use super::squares::Shape;
use crate::graph::{ChannelAxis, Graph, Layer, Node, ParameterId, ValueId};
use crate::onnx::{OnnxFile, TensorId};

/// A layer of a network, and how its weight comes to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached {
    pub(super) node: usize,
    pub(super) weight: ParameterId,
    pub(super) input: ValueId,
    /// The first node that reads the weight: the layer itself, or one that turns it round for it alone.
    pub(super) first: usize,
    pub(super) is_turned: bool,
}

/// Looks through a graph for places that can be repaired.
pub(super) struct Finder<'a> {
    graph: &'a Graph,
    parameters: HashMap<TensorId, ParameterId>,
    /// Nodes of the main graph that read a value; one that a graph within a node reads, or that is an output, is read by nobody known.
    readers: HashMap<ValueId, Vec<usize>>,
    /// Nodes that read a tensor, and whether all of them stand in the main graph.
    users: HashMap<TensorId, (Vec<usize>, bool)>,
    /// Who writes a value.
    writers: HashMap<ValueId, usize>,
    file: &'a OnnxFile,
}

impl<'a> Finder<'a> {
    pub(super) fn new(graph: &'a Graph, file: &'a OnnxFile) -> Self {
        let readers = graph.readers();
        let mut users: HashMap<TensorId, (Vec<usize>, bool)> = HashMap::new();
        let tensor = |value: ValueId| graph.constants.get(value.0).copied().flatten();
        for (n, node) in graph.nodes.iter().enumerate() {
            for id in node.inputs.iter().flatten().filter_map(|&value| tensor(value)) {
                users.entry(id).or_insert((Vec::new(), true)).0.push(n);
            }
            let inside = graph.all_reads(node).into_iter().skip(node.inputs.iter().flatten().count());
            for id in inside.filter_map(tensor) {
                users.entry(id).or_insert((Vec::new(), true)).1 = false;
            }
        }
        let parameters = graph.parameters.iter().enumerate().map(|(i, p)| (p.tensor, ParameterId(i))).collect();
        Self { graph, parameters, readers, users, writers: graph.writers(), file }
    }

    fn tensor(&self, node: &Node, input: usize) -> Option<TensorId> {
        self.graph.constants.get(node.input(input)?.0).copied().flatten()
    }

    /// The parameter that a node reads there as it is.
    fn parameter(&self, node: &Node, input: usize) -> Option<ParameterId> {
        self.parameters.get(&self.tensor(node, input)?).copied()
    }

    /// Layers of the main graph in its order, those too whose weight is turned round on its way to them.
    pub(super) fn layers(&self) -> Vec<Reached> {
        let plain =
            |layer: Layer| Reached { node: layer.node, weight: layer.weight, input: layer.input, first: layer.node, is_turned: false };
        let mut layers: Vec<Reached> = self.graph.layers().into_iter().map(plain).collect();
        for (node, held) in self.graph.nodes.iter().enumerate() {
            if held.is("MatMul") || held.is("Gemm") {
                layers.extend(self.turned(node, held).filter(|found| !layers.iter().any(|known| known.node == found.node)));
            }
        }
        layers.sort_by_key(|layer| layer.node);
        layers
    }

    /// A product with a matrix that other nodes hand on, or turn round, for it alone.
    fn turned(&self, node: usize, held: &Node) -> Option<Reached> {
        let (mut value, mut first, mut is_turned) = (held.input(1)?, node, false);
        while self.graph.constants.get(value.0).copied().flatten().is_none() {
            self.reader(value)?;
            let writer = *self.writers.get(&value)?;
            let by = &self.graph.nodes[writer];
            is_turned ^= match by.op.as_str() {
                "Transpose" if by.is_standard() && matches!(by.attributes.ints("perm"), None | Some([1, 0])) => true,
                "Identity" if by.is_standard() => false,
                _ => return None,
            };
            first = first.min(writer);
            value = by.input(0)?;
        }
        let tensor = self.graph.constants.get(value.0).copied().flatten()?;
        let weight = *self.parameters.get(&tensor)?;
        let is_alone = self.users(tensor)?.len() == 1 && self.graph.parameter(weight).shape.len() == 2;
        is_alone.then_some(Reached { node, weight, input: held.input(0)?, first, is_turned })
    }

    /// Whether a normalisation takes a value, and nobody else.
    pub(super) fn is_normalised(&self, value: ValueId) -> bool {
        self.reader(value).is_some_and(|(next, after)| after.input(0) == Some(value) && self.norm(next, after).is_some())
    }

    /// The one node that reads a value.
    fn reader(&self, value: ValueId) -> Option<(usize, &'a Node)> {
        let [n] = self.readers.get(&value)?[..] else { return None };
        Some((n, self.graph.nodes.get(n)?))
    }

    /// Nodes that read a tensor; nothing where one of them stands in a graph that a node holds.
    fn users(&self, tensor: TensorId) -> Option<&[usize]> {
        self.users.get(&tensor).filter(|(_, is_whole)| *is_whole).map(|(users, _)| users.as_slice())
    }

    /// Name of the module that owns a tensor, or that uses this node.
    fn module_name(&self, n: usize) -> String {
        let module = self.graph.modules.iter().find(|module| module.nodes.contains(&n));
        module.map_or_else(|| self.graph.nodes[n].shown_name(n), |module| module.name.clone())
    }

    /// A normalisation whose statistics are stored, or that has an affine part.
    pub(super) fn norm(&self, n: usize, node: &Node) -> Option<Site> {
        let op = node.op.as_str();
        let is_batch = node.is("BatchNormalization") && node.attributes.int("training_mode").unwrap_or(0) == 0;
        if is_batch {
            let (mean, variance) = (self.tensor(node, 3)?, self.tensor(node, 4)?);
            let is_own = |id: TensorId| {
                let tensor = self.file.tensor(id);
                tensor.dtype.is_float() && tensor.fault.is_none() && !tensor.is_sparse() && !self.parameters.contains_key(&id)
            };
            let uses = self.users(mean)?;
            // One vector can stand for several statistics that were equal when the file was made.
            let is_pair =
                |&n: &usize| self.tensor(&self.graph.nodes[n], 3) == Some(mean) && self.tensor(&self.graph.nodes[n], 4) == Some(variance);
            if mean == variance || !is_own(mean) || !is_own(variance) || !uses.iter().all(is_pair) || self.users(variance)? != uses {
                return None;
            }
            return Some(Site {
                name: self.module_name(n),
                start: n,
                reads: vec![ValueAt { before: n, value: node.input(0)? }],
                channels: ChannelAxis::Second,
                fix: Fix::Statistics(Norm {
                    mean,
                    variance,
                    scale: self.parameter(node, 1),
                    shift: self.parameter(node, 2),
                    epsilon: f64::from(node.attributes.float("epsilon").unwrap_or(1e-5)),
                }),
            });
        }
        let channels = match op {
            "LayerNormalization" | "RMSNormalization" | "SimplifiedLayerNormalization" => ChannelAxis::Last,
            "GroupNormalization" | "InstanceNormalization" => ChannelAxis::Second,
            _ => return None,
        };
        let scale = self.parameter(node, 1)?;
        let shift = self.parameter(node, 2);
        let parameters = || std::iter::once(scale).chain(shift);
        let is_usable = |id: ParameterId| self.is_changeable(id) && self.graph.parameter(id).shape.len() == 1;
        let users = |id: ParameterId| self.users(self.graph.parameter(id).tensor);
        if !parameters().all(is_usable) || !parameters().all(|id| users(id).is_some_and(|users| users.iter().all(|u| self.is_norm(*u)))) {
            return None;
        }
        if shift.is_some_and(|shift| shift == scale || users(shift) != users(scale)) || (op == "LayerNormalization" && shift.is_none()) {
            return None;
        }
        Some(Site {
            name: self.module_name(n),
            start: *users(scale)?.iter().min()?,
            reads: vec![ValueAt { before: n + 1, value: node.output(0)? }],
            channels,
            fix: Fix::Affine(Affine { scale, shift }),
        })
    }

    fn is_norm(&self, n: usize) -> bool {
        self.graph.nodes[n].op.ends_with("Normalization")
    }

    fn is_changeable(&self, id: ParameterId) -> bool {
        self.graph.parameter(id).obstacle().is_none()
    }

    /// A layer whose weights can be fitted: one that is used once.
    pub(super) fn fit(&self, layer: &Reached, is_last: bool) -> Option<Fit> {
        let (node, parameter) = (&self.graph.nodes[layer.node], self.graph.parameter(layer.weight));
        let is_left = self.tensor(node, 0) == Some(parameter.tensor);
        if !self.is_changeable(layer.weight) || self.users(parameter.tensor)?.len() != 1 || is_left {
            return None;
        }
        let (shape, kernel) = match (node.op.as_str(), &parameter.shape[..]) {
            ("Conv", [filters, inputs, kernel @ ..]) if node.is_standard() => {
                let groups = usize::try_from(node.attributes.int("group").unwrap_or(1)).ok().filter(|&g| g > 0)?;
                let inputs = inputs * kernel.iter().product::<usize>();
                if !filters.is_multiple_of(groups) {
                    return None;
                }
                (Shape { groups, inputs, outputs: filters / groups, order: OutputAxis::First }, Some(kernel.to_vec()))
            }
            ("Gemm" | "MatMul", &[first, second]) if node.is_standard() => {
                let is_set = |name| node.op == "Gemm" && node.attributes.int(name).unwrap_or(0) != 0;
                let is_scaled = node.op == "Gemm" && node.attributes.float("alpha").unwrap_or(1.0) != 1.0;
                let is_scaled = is_scaled || (node.op == "Gemm" && node.attributes.float("beta").unwrap_or(1.0) != 1.0);
                if is_set("transA") || is_scaled {
                    return None;
                }
                let is_turned = is_set("transB") != layer.is_turned;
                let (inputs, outputs) = if is_turned { (second, first) } else { (first, second) };
                (Shape { groups: 1, inputs, outputs, order: if is_turned { OutputAxis::First } else { OutputAxis::Last } }, None)
            }
            _ => return None,
        };
        let name = self.graph.owner(layer.weight).name.clone();
        let (weight, input, output) = (layer.weight, layer.input, node.output(0)?);
        let bias = self.parameter(node, 2).filter(|_| node.op != "MatMul");
        Some(Fit { name, node: layer.node, start: layer.first, weight, bias, input, output, shape, kernel, is_about_means: false, is_last })
    }

    /// A layer with its bias, or one that can get one; nothing where what follows it is repaired instead.
    pub(super) fn layer(&self, layer: &Reached, is_last: bool) -> Result<Option<Site>, String> {
        let (n, node) = (layer.node, &self.graph.nodes[layer.node]);
        let parameter = self.graph.parameter(layer.weight);
        let refuse = |reason: &str| Err(reason.to_owned());
        let is_left = self.tensor(node, 0) == Some(parameter.tensor);
        let (order, channels) = match node.op.as_str() {
            "Conv" if node.is_standard() => (OutputAxis::First, ChannelAxis::Second),
            "ConvTranspose" if node.is_standard() => {
                let groups = usize::try_from(node.attributes.int("group").unwrap_or(1)).unwrap_or(0);
                if groups == 0 || !parameter.shape[0].is_multiple_of(groups) {
                    return refuse("its groups do not divide its inputs");
                }
                (OutputAxis::Second(groups), ChannelAxis::Second)
            }
            "Gemm" | "MatMul" if node.is_standard() && !is_left && parameter.shape.len() == 2 => {
                let is_turned = (node.op == "Gemm" && node.attributes.int("transB").unwrap_or(0) != 0) != layer.is_turned;
                (if is_turned { OutputAxis::First } else { OutputAxis::Last }, ChannelAxis::Last)
            }
            "Gemm" | "MatMul" if is_left => return refuse("it multiplies from the left"),
            op => return Err(format!("{op} cannot be repaired")),
        };
        let output = node.output(0).ok_or("nobody reads it")?;
        let follower = self.reader(output);
        if let Some((next, after)) = follower
            && after.input(0) == Some(output)
            && self.norm(next, after).is_some_and(|site| matches!(site.fix, Fix::Statistics(_)))
        {
            return Ok(None);
        }
        let (bias, end, value) = match node.op.as_str() {
            "MatMul" => match follower {
                Some((next, add)) if add.is("Add") => {
                    let other = usize::from(add.input(0) == Some(output));
                    (self.parameter(add, other), next, add.output(0).ok_or("nobody reads it")?)
                }
                _ => (None, n, output),
            },
            _ => (self.parameter(node, 2), n, output),
        };
        let beta = if node.op == "Gemm" { f64::from(node.attributes.float("beta").unwrap_or(1.0)) } else { 1.0 };
        if beta == 0.0 {
            return refuse("its bias does not count");
        }
        let rows = |bias| Fix::Rows(BiasedLayer { weight: layer.weight, bias, order, beta, is_last });
        let name = self.graph.owner(layer.weight).name.clone();
        let Some(bias) = bias else {
            if self.is_normalised(output) {
                return Ok(None);
            }
            let (users, outputs) = self.biasless(layer)?;
            let start = users.iter().copied().min().unwrap_or(n).min(layer.first);
            let reads = vec![ValueAt { before: n + 1, value: output }];
            return Ok(Some(Site { name, start, reads, channels, fix: rows(Bias::Added(outputs)) }));
        };
        let outputs = order.outputs(&parameter.shape);
        let known = self.graph.parameter(bias);
        if known.elements != outputs || known.shape.last() != Some(&outputs) {
            return refuse("its bias is not one number per output");
        }
        if !self.is_changeable(layer.weight) || !self.is_changeable(bias) {
            return Err(self.graph.parameter(layer.weight).obstacle().or(known.obstacle()).unwrap_or_default());
        }
        let (Some(uses), Some(biases)) = (self.users(parameter.tensor), self.users(known.tensor)) else {
            return refuse("a graph that a node holds uses it too");
        };
        if !uses.iter().all(|&user| self.is_alike(layer, user))
            || uses.len() != biases.len()
            || (node.op != "MatMul" && layer.first == n && uses != biases)
        {
            return refuse("its weight or its bias is used elsewhere too");
        }
        Ok(Some(Site {
            name,
            start: layer.first.min(biases.iter().copied().min().unwrap_or(n)),
            reads: vec![ValueAt { before: end + 1, value }],
            channels,
            fix: rows(Bias::Parameter(bias)),
        }))
    }

    /// Whether another user of a layer's weight is a layer like it, or what turns the weight round for it.
    fn is_alike(&self, layer: &Reached, user: usize) -> bool {
        let other = &self.graph.nodes[user];
        user == layer.first
            || (other.op == self.graph.nodes[layer.node].op && self.tensor(other, 1) == Some(self.graph.parameter(layer.weight).tensor))
    }

    /// The layers that share the weight of one without a bias, and what they write, where all of them can get one; or why not.
    fn biasless(&self, layer: &Reached) -> Result<(Vec<usize>, Vec<ValueId>), String> {
        let refuse = |reason: &str| Err(reason.to_owned());
        if let Some(obstacle) = self.graph.parameter(layer.weight).obstacle() {
            return Err(obstacle);
        }
        let Some(users) = self.users(self.graph.parameter(layer.weight).tensor) else {
            return refuse("a graph that a node holds uses it too");
        };
        if !users.iter().all(|&user| self.is_alike(layer, user)) {
            return refuse("its weight is used elsewhere too");
        }
        let mut layers: Vec<usize> = users.iter().map(|&user| if user == layer.first { layer.node } else { user }).collect();
        layers.dedup();
        let mut outputs = Vec::with_capacity(layers.len());
        for &n in &layers {
            let node = &self.graph.nodes[n];
            let Some(output) = node.output(0) else { return refuse("nobody reads it") };
            let is_added = |(_, next): (usize, &Node)| {
                let other = usize::from(next.input(0) == Some(output));
                node.is("MatMul") && next.is("Add") && self.parameter(next, other).is_some()
            };
            if node.input(2).is_some() {
                return refuse("its bias is worked out from others");
            }
            if self.reader(output).is_some_and(is_added) || self.is_normalised(output) {
                return refuse("another layer with its weight has a bias, or a normalisation behind it");
            }
            if node.is("Gemm") && node.opset < 7 {
                return refuse("in this version of Gemm a bias is no row of numbers");
            }
            if !self.file.writes_once(&node.op, &self.graph.values[output.0]) {
                return refuse("it has no bias, and in a function of the model it can get none");
            }
            outputs.push(output);
        }
        Ok((layers, outputs))
    }
}
