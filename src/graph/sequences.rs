//! Sequences taken apart: exporters cut a value into a sequence only to take its members out again, one by one.
//!
//! Values are tensors here. A `SequenceAt` of a `SplitToSequence` is made to read the value itself: its inputs become the value,
//! the sizes of the parts (where they are given) and the position, and it takes the settings of the split over. A split that
//! nobody else reads is left without outputs, as a node that has nothing to do.

use std::collections::HashMap;

use super::Graph;
use super::node::ValueId;

/// Rewrites what can be rewritten. Nodes keep their places.
pub(super) fn dissolve(graph: &mut Graph) {
    let is_ours = |domain: &str| matches!(domain, "" | "ai.onnx");
    let mut splits: HashMap<ValueId, usize> = HashMap::new();
    for (n, node) in graph.nodes.iter().enumerate() {
        if let ("SplitToSequence", true, Some(output)) = (node.op.as_str(), is_ours(&node.domain), node.output(0)) {
            splits.insert(output, n);
        }
    }
    if splits.is_empty() {
        return;
    }
    for n in 0..graph.nodes.len() {
        let node = &graph.nodes[n];
        if node.op != "SequenceAt" || !is_ours(&node.domain) {
            continue;
        }
        let Some(split) = node.input(0).and_then(|sequence| splits.get(&sequence)).map(|&s| &graph.nodes[s]) else { continue };
        let inputs = vec![split.input(0), split.input(1), node.input(1)];
        let attributes = split.attributes.clone();
        let node = &mut graph.nodes[n];
        node.inputs = inputs;
        node.attributes = attributes;
    }
    for node in &graph.nodes {
        for input in node.inputs.iter().flatten() {
            splits.remove(input);
        }
    }
    for (_, output) in &graph.outputs {
        splits.remove(output);
    }
    for n in splits.into_values() {
        graph.nodes[n].outputs.clear();
        graph.nodes[n].inputs.clear();
    }
}
