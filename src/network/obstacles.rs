//! What keeps a network from being run: operators that nothing runs, types of number that values cannot have, a mode.

use std::collections::{BTreeMap, HashSet};

use super::cast::{dtype_of, is_value_type};
use super::{control, operator};
use crate::graph::{Graph, Node, ValueId};
use crate::onnx::{Dtype, OnnxFile};

/// Everything that is in the way, by name with the number of its nodes; see [`super::Network::unsupported`].
pub(super) fn all(graph: &Graph, file: &OnnxFile) -> BTreeMap<String, usize> {
    let varying = graph.inputs.iter().map(|input| input.value).collect();
    let mut search = Search { graph, file, varying, found: BTreeMap::new() };
    search.nodes(&graph.nodes);
    for (_, value) in &graph.outputs {
        if let Some(dtype) = search.told(*value).filter(|&dtype| !is_value_type(dtype)) {
            *search.found.entry(format!("output of {dtype}")).or_insert(0) += 1;
        }
    }
    search.found
}

struct Search<'g> {
    graph: &'g Graph,
    file: &'g OnnxFile,
    /// Values that depend on what goes into the network.
    varying: HashSet<ValueId>,
    found: BTreeMap<String, usize>,
}

impl Search<'_> {
    fn nodes(&mut self, nodes: &[Node]) {
        let graph = self.graph;
        for node in nodes {
            let varies = node.reads().any(|value| self.varying.contains(&value));
            if varies {
                self.varying.extend(node.outputs.iter().flatten());
            }
            if control::knows(node) && self.wrong_input(node).is_none() {
                for body in node.bodies() {
                    let body = &graph.bodies[body.0];
                    // What goes from round to round may be anything.
                    self.varying.extend(&body.inputs);
                    self.nodes(&body.nodes);
                }
            } else if let Some(obstacle) = self.obstacle(node) {
                *self.found.entry(obstacle).or_insert(0) += 1;
            }
        }
    }

    /// Why this node cannot be run: its operator and, where that is known, what about it is not.
    fn obstacle(&self, node: &Node) -> Option<String> {
        let op = node.full_op();
        if operator::find(node).is_none() && !control::knows(node) {
            return Some(op);
        }
        let made = match node.op.as_str() {
            "Cast" => Some(node.attributes.int("to").unwrap_or(0)),
            "QuantizeLinear" => node.attributes.int("output_dtype").filter(|&code| code != 0),
            "EyeLike" => node.attributes.int("dtype"),
            _ => None,
        };
        if let Some(dtype) = made.map(dtype_of).filter(|&dtype| !is_value_type(dtype)) {
            return Some(format!("{op} to {dtype}"));
        }
        if let Some(dtype) = self.wrong_input(node) {
            return Some(format!("{op} of {dtype}"));
        }
        // By the statistics of whatever goes in, an answer would depend on the images beside it. Weights have always the same;
        // exporters write standardised ones so.
        let trains = node.is("BatchNormalization") && node.attributes.int("training_mode").unwrap_or(0) != 0;
        let varies = node.input(0).is_some_and(|value| self.varying.contains(&value));
        (trains && varies).then(|| format!("{op} in training mode"))
    }

    /// A type of number that goes in and that values cannot have.
    fn wrong_input(&self, node: &Node) -> Option<Dtype> {
        node.inputs.iter().flatten().filter_map(|&value| self.told(value)).find(|&dtype| !is_value_type(dtype))
    }

    /// The type of a tensor of the file, or as the file declares it of an input.
    fn told(&self, value: ValueId) -> Option<Dtype> {
        match self.graph.constants.get(value.0) {
            Some(Some(tensor)) => Some(self.file.tensor(*tensor).dtype),
            _ => self.graph.inputs.iter().find(|i| i.value == value).map(|i| i.dtype).filter(|&dtype| dtype != Dtype::Undefined),
        }
    }
}
