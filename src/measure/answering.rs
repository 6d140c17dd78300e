//! Which output of a network answers, and what it says.

use std::collections::HashSet;

use crate::graph::{Graph, ValueId};
use crate::network::Array;

/// Operators that leave the order of the scores in a row as it is, as the last steps of a classifier.
const KEEPS_ORDER: [&str; 12] = [
    "Softmax",
    "LogSoftmax",
    "Sigmoid",
    "Identity",
    "Cast",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Dropout",
    "QuantizeLinear",
    "DequantizeLinear",
];

/// What is in the names that exporters and people give to scores of classes.
const NAMES_OF_SCORES: [&str; 7] = ["logit", "prob", "score", "class", "softmax", "pred", "output"];

/// What an output means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// One score per class, before softmax.
    Logits,
    /// One probability per class: the network ends with a softmax.
    Probabilities,
    /// The number of the class itself.
    Label,
    /// Anything else.
    Values,
}

/// Which output answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answering {
    /// Which of the graph's outputs.
    pub output: usize,
    /// What it means.
    pub answers: Answers,
    /// Classes that it tells apart; 0 where it does not classify or gives the class itself.
    pub classes: usize,
    /// Other outputs that could be meant: rows of two and more scores that are not the same answer in other words.
    pub others: Vec<usize>,
}

impl Answering {
    /// Finds the output of `graph` that classifies, when a forward pass over `images` gave `outputs`.
    ///
    /// Of several, this is the one with as many scores as there are `classes` of the labels; then one from which no other of them is
    /// worked out, as features are; then one whose name says so; then the first. A `chosen` output is taken whatever it is.
    #[must_use]
    pub fn find(graph: &Graph, outputs: &[(String, Array)], images: usize, classes: Option<usize>, chosen: Option<usize>) -> Self {
        let rows: Vec<(usize, usize)> = (0..outputs.len()).filter_map(|i| Some((i, scores(&outputs[i].1, images)?))).collect();
        if let Some(chosen) = chosen.filter(|&i| i < outputs.len()) {
            return Self::of(graph, outputs, images, chosen, Vec::new());
        }
        let is_source = |i: usize| rows.iter().any(|&(other, _)| other != i && leads_to(graph, i, other) && !is_same(graph, i, other));
        let is_named = |i: usize| {
            let name = outputs[i].0.to_lowercase();
            NAMES_OF_SCORES.iter().any(|part| name.contains(part))
        };
        let rank = |&(i, width): &(usize, usize)| {
            let is_later = rows.iter().any(|&(other, _)| other != i && is_same(graph, other, i));
            (classes != Some(width), is_source(i), !is_named(i), is_later, i)
        };
        let Some(&(best, _)) = rows.iter().min_by_key(|row| rank(row)) else {
            let label = (0..outputs.len()).find(|&i| is_label(&outputs[i].1, images));
            let values = (0..outputs.len()).find(|&i| outputs[i].1.as_f32().is_some());
            return Self::of(graph, outputs, images, values.or(label).unwrap_or(0), Vec::new());
        };
        let others = rows.iter().map(|&(i, _)| i).filter(|&i| i != best && !is_same(graph, i, best) && !is_same(graph, best, i));
        Self::of(graph, outputs, images, best, others.collect())
    }

    fn of(graph: &Graph, outputs: &[(String, Array)], images: usize, output: usize, others: Vec<usize>) -> Self {
        let array = outputs.get(output).map(|(_, array)| array);
        let classes = array.and_then(|array| scores(array, images));
        let answers = match (classes, array) {
            (Some(_), _) => {
                let value = graph.outputs.get(output).map(|(_, value)| *value);
                let is_softmax = graph.nodes.iter().any(|n| n.op == "Softmax" && n.output(0) == value);
                if is_softmax { Answers::Probabilities } else { Answers::Logits }
            }
            (None, Some(array)) if is_label(array, images) => Answers::Label,
            _ => Answers::Values,
        };
        Self { output, answers, classes: classes.unwrap_or(0), others }
    }
}

/// How many scores a row of this output has; `None` where it is no row for each image.
fn scores(output: &Array, images: usize) -> Option<usize> {
    let is_row = output.shape.len() >= 2 && output.shape[0] == images && output.shape[2..].iter().all(|&d| d == 1);
    (is_row && output.shape[1] >= 2 && output.as_f32().is_some()).then(|| output.shape[1])
}

/// Whether this is one whole number for each image.
fn is_label(output: &Array, images: usize) -> bool {
    output.shape.first() == Some(&images) && output.shape[1..].iter().all(|&d| d == 1) && output.as_i64().is_some()
}

/// Whether output `from` is worked out on the way to output `to`.
fn leads_to(graph: &Graph, from: usize, to: usize) -> bool {
    walks_back(graph, from, to, |_| true)
}

/// Whether output `to` is output `from` in other words: its softmax, or the same numbers in another shape.
fn is_same(graph: &Graph, from: usize, to: usize) -> bool {
    walks_back(graph, from, to, |op| KEEPS_ORDER.contains(&op))
}

/// Whether output `from` is met on a walk back from output `to` through operators that `passes` lets through.
fn walks_back(graph: &Graph, from: usize, to: usize, passes: impl Fn(&str) -> bool) -> bool {
    let (Some(&(_, from)), Some(&(_, to))) = (graph.outputs.get(from), graph.outputs.get(to)) else { return false };
    let mut wanted: HashSet<ValueId> = HashSet::from([to]);
    // A node stands behind those that make its inputs.
    for node in graph.nodes.iter().rev() {
        if wanted.contains(&from) {
            return true;
        }
        if node.outputs.iter().flatten().any(|value| wanted.contains(value)) && passes(&node.op) {
            wanted.extend(node.inputs.iter().flatten().chain(&node.captures));
        }
    }
    wanted.contains(&from)
}
