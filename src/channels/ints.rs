//! Where a number comes from that tells a node how long a dimension is.

use std::collections::HashMap;

use crate::graph::{Attribute, Graph, Node, ValueId};
use crate::network::Trace;
use crate::onnx::{OnnxFile, TensorId};

/// Nodes that are gone through at most.
const MOST_STEPS: usize = 16;

/// Where one number of a list comes from.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Element {
    /// A number of a constant.
    Constant {
        /// The node that reads the constant and as which input; `None` where it is the value itself.
        reader: Option<(usize, usize)>,
        /// The file's tensor, where it is one.
        tensor: Option<TensorId>,
        /// All its numbers.
        numbers: Vec<i64>,
        /// The place among them.
        index: usize,
    },
    /// The length of a value, which comes right by itself.
    Length {
        /// The value and the dimension, where they are known.
        of: Option<(ValueId, usize)>,
        /// The node that puts a list of one number from it among others, and as which input.
        piece: Option<(usize, usize)>,
    },
    /// Worked out.
    Unknown {
        /// As of a length.
        piece: Option<(usize, usize)>,
    },
}

/// What is looked at.
#[derive(Clone, Copy)]
pub(super) struct Lists<'a> {
    pub(super) graph: &'a Graph,
    pub(super) file: &'a OnnxFile,
    /// Who writes a value.
    pub(super) writers: &'a HashMap<ValueId, usize>,
    /// What one pass showed.
    pub(super) trace: &'a Trace,
}

/// Whether a node hands numbers of a list on as they are: as its first input, or any where it joins them.
pub(super) fn hands_on(node: &Node, input: usize) -> bool {
    node.is_standard()
        && match node.op.as_str() {
            "Identity" | "Unsqueeze" | "Squeeze" | "Reshape" | "Slice" | "Gather" | "Expand" => input == 0,
            "Cast" => node.attributes.int("to") == Some(7) || node.attributes.int("to") == Some(6),
            "Concat" | "Shape" | "Size" => true,
            _ => false,
        }
}

impl Lists<'_> {
    fn tensor(&self, value: ValueId) -> Option<TensorId> {
        self.graph.constants.get(value.0).copied().flatten()
    }

    fn rank(&self, value: ValueId) -> Option<usize> {
        match self.tensor(value) {
            Some(id) => Some(self.file.tensor(id).shape.len()),
            None => self.trace.shapes.get(value.0)?.as_ref().map(Vec::len),
        }
    }

    fn length(&self, value: ValueId) -> usize {
        match self.tensor(value) {
            Some(id) => self.file.tensor(id).elements,
            None => self.trace.shapes.get(value.0).and_then(Option::as_ref).map_or(1, |shape| shape.iter().product()),
        }
    }

    fn writer(&self, value: ValueId) -> Option<(usize, &Node)> {
        let n = *self.writers.get(&value)?;
        Some((n, &self.graph.nodes[n]))
    }

    /// The numbers of an integer constant: a tensor of the file, or what a Constant says.
    pub(super) fn constant(&self, value: ValueId) -> Option<(Option<TensorId>, Vec<i64>)> {
        if let Some(id) = self.tensor(value) {
            return Some((Some(id), self.file.ints(id).ok().flatten()?));
        }
        let (_, node) = self.writer(value)?;
        let said = node.is("Constant").then(|| node.attributes.0.first()).flatten()?;
        match said {
            (_, Attribute::Int(number)) => Some((None, vec![*number])),
            (_, Attribute::Ints(numbers)) => Some((None, numbers.clone())),
            _ => None,
        }
    }

    /// All numbers of a list that is known beforehand.
    pub(super) fn numbers(&self, value: ValueId) -> Option<Vec<i64>> {
        if let Some((_, numbers)) = self.constant(value) {
            return Some(numbers);
        }
        let number = |i: usize| match self.element(value, i) {
            Element::Constant { numbers, index, .. } => numbers.get(index).copied(),
            _ => None,
        };
        let (_, node) = self.writer(value)?;
        if hands_on(node, 0) { (0..self.length(value)).map(number).collect() } else { None }
    }

    /// The same, or what a list was in the pass that was seen.
    pub(super) fn seen(&self, value: ValueId) -> Option<Vec<i64>> {
        self.numbers(value).or_else(|| self.trace.numbers.get(&value).cloned())
    }

    /// Where number `i` of the list `value` comes from.
    pub(super) fn element(&self, value: ValueId, i: usize) -> Element {
        let (mut value, mut index, mut reader, mut piece) = (value, i, None, None);
        for _ in 0..MOST_STEPS {
            if let Some((tensor, numbers)) = self.constant(value) {
                return if index < numbers.len() {
                    Element::Constant { reader, tensor, numbers, index }
                } else {
                    Element::Unknown { piece }
                };
            }
            let Some((n, node)) = self.writer(value).filter(|(_, node)| node.is_standard()) else { return Element::Unknown { piece } };
            let (input, place) = match node.op.as_str() {
                "Shape" => {
                    let rank = node.input(0).and_then(|of| self.rank(of)).unwrap_or(0);
                    let axis = counted(node.attributes.int("start").unwrap_or(0), rank).map(|first| first + index);
                    return Element::Length { of: node.input(0).zip(axis), piece };
                }
                "Identity" | "Unsqueeze" | "Squeeze" | "Reshape" => (0, index),
                "Cast" if hands_on(node, 0) => (0, index),
                "Expand" if self.length(value) == 1 => (0, 0),
                "Concat" => {
                    let mut rest = index;
                    let mut found = None;
                    for (k, input) in node.inputs.iter().flatten().enumerate() {
                        if rest < self.length(*input) {
                            piece = (self.length(*input) == 1).then_some((n, k));
                            found = Some((k, rest));
                            break;
                        }
                        rest -= self.length(*input);
                    }
                    let Some(found) = found else { return Element::Unknown { piece } };
                    found
                }
                // From a list of lengths.
                "Slice" | "Gather" => {
                    let length = self.length(node.input(0).unwrap_or(ValueId(usize::MAX)));
                    let chosen = node.input(1).and_then(|chosen| self.constant(chosen)).map(|(_, numbers)| numbers);
                    let first = |numbers: Vec<i64>, i: usize| numbers.get(i).and_then(|&number| counted(number, length));
                    let place = match node.op.as_str() {
                        "Gather" => chosen.and_then(|numbers| first(numbers, index)),
                        _ if node.input(4).is_some_and(|steps| self.constant(steps).is_none_or(|(_, steps)| steps != [1])) => None,
                        _ => chosen.and_then(|numbers| first(numbers, 0)).map(|first| first + index),
                    };
                    let Some(place) = place else { return Element::Unknown { piece } };
                    (0, place)
                }
                _ => return Element::Unknown { piece },
            };
            let Some(next) = node.input(input) else { return Element::Unknown { piece } };
            reader = Some((n, input));
            (value, index) = (next, place);
        }
        Element::Unknown { piece }
    }
}

/// A place that may be counted from behind.
fn counted(place: i64, length: usize) -> Option<usize> {
    usize::try_from(if place < 0 { place + length as i64 } else { place }).ok()
}
