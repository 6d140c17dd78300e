//! Where a number comes from that tells a node how long a dimension is.

use std::collections::HashMap;

use crate::graph::{Graph, ValueId};
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
        /// The constant.
        tensor: TensorId,
        /// Its place there.
        index: usize,
        /// What it is.
        number: i64,
    },
    /// The length of a value along a dimension, where that is known which; it comes right by itself.
    Length(Option<(ValueId, usize)>),
    /// Worked out.
    Unknown,
}

/// Where number `i` of the list `value` comes from; `length` tells how many numbers a list holds.
pub(super) fn element(
    (graph, file): (&Graph, &OnnxFile),
    writers: &HashMap<ValueId, usize>,
    length: &dyn Fn(ValueId) -> usize,
    (value, i): (ValueId, usize),
) -> Element {
    let (mut value, mut index, mut reader) = (value, i, None);
    for _ in 0..MOST_STEPS {
        if let Some(tensor) = graph.constants.get(value.0).copied().flatten() {
            let number = file.ints(tensor).ok().flatten().and_then(|numbers| numbers.get(index).copied());
            return number.map_or(Element::Unknown, |number| Element::Constant { reader, tensor, index, number });
        }
        let Some(&n) = writers.get(&value) else { return Element::Unknown };
        let node = &graph.nodes[n];
        let (input, place) = match node.op.as_str() {
            _ if !node.is_standard() => return Element::Unknown,
            "Shape" => {
                let first = usize::try_from(node.attributes.int("start").unwrap_or(0)).ok();
                return Element::Length(node.input(0).zip(first.map(|first| first + index)));
            }
            "Identity" | "Cast" | "Unsqueeze" | "Squeeze" | "Reshape" => (0, index),
            "Expand" if length(value) == 1 => (0, 0),
            "Concat" => {
                let mut rest = index;
                let mut found = None;
                for (k, input) in node.inputs.iter().flatten().enumerate() {
                    if rest < length(*input) {
                        found = Some((k, rest));
                        break;
                    }
                    rest -= length(*input);
                }
                let Some(found) = found else { return Element::Unknown };
                found
            }
            // Of a list of lengths.
            "Slice" | "Gather" => {
                let Some(from) = node.input(0).and_then(|from| writers.get(&from)).map(|&n| &graph.nodes[n]) else { return Element::Unknown };
                if !from.is("Shape") {
                    return Element::Unknown;
                }
                let numbers = |value: ValueId| file.ints(graph.constants.get(value.0).copied().flatten()?).ok().flatten();
                let chosen = node.input(1).and_then(numbers);
                let place = match node.op.as_str() {
                    "Gather" => chosen.and_then(|chosen| chosen.get(index).copied()),
                    _ => chosen.and_then(|starts| starts.first().copied()).filter(|_| node.input(4).is_none()).map(|first| first + index as i64),
                };
                let first = from.attributes.int("start").unwrap_or(0);
                let axis = place.filter(|&place| place >= 0 && first >= 0).and_then(|place| usize::try_from(place + first).ok());
                return Element::Length(from.input(0).zip(axis));
            }
            _ => return Element::Unknown,
        };
        let Some(next) = node.input(input) else { return Element::Unknown };
        reader = Some((n, input));
        (value, index) = (next, place);
    }
    Element::Unknown
}
