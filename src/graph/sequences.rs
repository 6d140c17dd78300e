//! Sequences taken apart: exporters cut a value into a sequence only to take its members out again, one by one.
//!
//! Values are tensors here. A `SequenceAt` of a `SplitToSequence` is made to read the value itself: its inputs become the value,
//! the sizes of the parts (where they are given) and the position, and it takes the settings of the split over. A split that
//! nobody else reads is left without outputs, as a node that has nothing to do.

use std::collections::{HashMap, HashSet};

use super::Graph;
use super::node::{Node, ValueId};

/// Rewrites what can be rewritten. Nodes keep their places.
pub(super) fn dissolve(graph: &mut Graph) {
    // What a graph that a node holds reads from around it, or gives, is read too.
    let mut read: HashSet<ValueId> = graph.nodes.iter().flat_map(|node| node.captures.iter().copied()).collect();
    read.extend(graph.outputs.iter().map(|(_, output)| *output));
    dissolve_in(&mut graph.nodes, &read);
    for body in &mut graph.bodies {
        let mut read: HashSet<ValueId> = body.nodes.iter().flat_map(|node| node.captures.iter().copied()).collect();
        read.extend(&body.outputs);
        dissolve_in(&mut body.nodes, &read);
    }
}

/// The same for the nodes of one graph, of whose values these are read by others.
fn dissolve_in(nodes: &mut [Node], read: &HashSet<ValueId>) {
    let is_ours = |domain: &str| matches!(domain, "" | "ai.onnx");
    let mut splits: HashMap<ValueId, usize> = HashMap::new();
    for (n, node) in nodes.iter().enumerate() {
        if let ("SplitToSequence", true, Some(output)) = (node.op.as_str(), is_ours(&node.domain), node.output(0)) {
            splits.insert(output, n);
        }
    }
    if splits.is_empty() {
        return;
    }
    for n in 0..nodes.len() {
        let node = &nodes[n];
        if node.op != "SequenceAt" || !is_ours(&node.domain) {
            continue;
        }
        let Some(split) = node.input(0).and_then(|sequence| splits.get(&sequence)).map(|&s| &nodes[s]) else { continue };
        let inputs = vec![split.input(0), split.input(1), node.input(1)];
        let attributes = split.attributes.clone();
        let node = &mut nodes[n];
        node.inputs = inputs;
        node.attributes = attributes;
    }
    for node in nodes.iter() {
        for input in node.inputs.iter().flatten() {
            splits.remove(input);
        }
    }
    for value in read {
        splits.remove(value);
    }
    for n in splits.into_values() {
        nodes[n].outputs.clear();
        nodes[n].inputs.clear();
    }
}
