//! Where a tensor stands in a model: in the graph itself, in a graph that an attribute holds, in a local function.
//!
//! Names do not tell tensors apart: two branches of an `If` may use one name for two. Both the parsed model and its bytes are
//! walked the same way, and what they meet on it is the same tensor.

use super::wire::{Field, Fields, Malformed, Span, field, tensor};

/// Messages within each other that are believed; the parser believes no more.
const MAX_DEPTH: usize = 100;

/// One step on a way. Numbers count what stands in one list of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// From the model into a local function.
    Function(usize),
    /// Into a node.
    Node(usize),
    /// Into a node's attribute.
    Attribute(usize),
    /// Into an attribute's graph; the first is that of an attribute with one.
    Graph(usize),
    /// To a graph's initializer.
    Initializer(usize),
    /// To the elements of a graph's sparse initializer.
    Sparse(usize),
    /// To an attribute's tensor.
    Tensor,
}

/// All steps from the model's graph, or from the model where the first is into a function.
pub(crate) type Way = Vec<Step>;

/// A tensor that the walk over the bytes met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) way: Way,
    /// Data that lies in the model file itself; `None` for external data and for encodings that cannot be patched in place.
    pub(super) data: Option<Span>,
}

/// How many of each list a message had so far.
#[derive(Default)]
struct Counts {
    nodes: usize,
    initializers: usize,
    sparse: usize,
}

/// All tensors of the file, each where it stands.
pub(super) fn locate(bytes: &[u8]) -> Result<Vec<Found>, Malformed> {
    let mut walk = Walk { bytes, way: Way::new(), found: Vec::new() };
    let (mut counts, mut functions) = (Counts::default(), 0);
    let mut model = Fields::of(bytes);
    while let Some(part) = model.next()? {
        match (part.number, part.wire) {
            // A graph that is given twice is one to the parser.
            (field::MODEL_GRAPH, 2) => walk.graph(part, &mut counts)?,
            (field::MODEL_FUNCTION, 2) => {
                walk.way.push(Step::Function(functions));
                walk.nodes(part, field::FUNCTION_NODE, &mut Counts::default())?;
                walk.way.pop();
                functions += 1;
            }
            _ => {}
        }
    }
    Ok(walk.found)
}

struct Walk<'a> {
    bytes: &'a [u8],
    way: Way,
    found: Vec<Found>,
}

impl Walk<'_> {
    fn find(&mut self, step: Step, part: Field) -> Result<(), Malformed> {
        let mut way = self.way.clone();
        way.push(step);
        self.found.push(Found { way, data: tensor(self.bytes, part)? });
        Ok(())
    }

    fn graph(&mut self, message: Field, counts: &mut Counts) -> Result<(), Malformed> {
        if self.way.len() > MAX_DEPTH {
            return Err(Malformed);
        }
        self.nodes(message, field::GRAPH_NODE, counts)
    }

    /// The nodes of a graph or of a function, and a graph's initializers.
    fn nodes(&mut self, message: Field, list: u64, counts: &mut Counts) -> Result<(), Malformed> {
        let mut fields = Fields::within(self.bytes, message);
        while let Some(part) = fields.next()? {
            match (part.number, part.wire) {
                (number, 2) if number == list => {
                    self.way.push(Step::Node(counts.nodes));
                    self.node(part)?;
                    self.way.pop();
                    counts.nodes += 1;
                }
                (field::GRAPH_INITIALIZER, 2) if list == field::GRAPH_NODE => {
                    self.find(Step::Initializer(counts.initializers), part)?;
                    counts.initializers += 1;
                }
                (field::GRAPH_SPARSE, 2) if list == field::GRAPH_NODE => {
                    let mut inner = Fields::within(self.bytes, part);
                    while let Some(values) = inner.next()? {
                        if (values.number, values.wire) == (field::SPARSE_VALUES, 2) {
                            self.find(Step::Sparse(counts.sparse), values)?;
                        }
                    }
                    counts.sparse += 1;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn node(&mut self, message: Field) -> Result<(), Malformed> {
        let mut fields = Fields::within(self.bytes, message);
        let mut attribute = 0;
        while let Some(part) = fields.next()? {
            if (part.number, part.wire) == (field::NODE_ATTRIBUTE, 2) {
                self.way.push(Step::Attribute(attribute));
                self.attribute(part)?;
                self.way.pop();
                attribute += 1;
            }
        }
        Ok(())
    }

    fn attribute(&mut self, message: Field) -> Result<(), Malformed> {
        let first = self.found.len();
        let (mut own, mut tensors, mut listed) = (0, 0, 0);
        let mut fields = Fields::within(self.bytes, message);
        while let Some(part) = fields.next()? {
            match (part.number, part.wire) {
                (field::ATTRIBUTE_TENSOR, 2) => {
                    tensors += 1;
                    self.find(Step::Tensor, part)?;
                }
                (field::ATTRIBUTE_GRAPH | field::ATTRIBUTE_GRAPHS, 2) => {
                    let number = if part.number == field::ATTRIBUTE_GRAPH { &mut own } else { &mut listed };
                    // An attribute's own graph is the first, and those of its list follow it.
                    let step = Step::Graph(if part.number == field::ATTRIBUTE_GRAPH { 0 } else { 1 + *number });
                    *number += 1;
                    self.way.push(step);
                    self.graph(part, &mut Counts::default())?;
                    self.way.pop();
                }
                _ => {}
            }
        }
        // What is given twice is merged by the parser: not to be patched.
        if tensors > 1 || own > 1 {
            self.found[first..].iter_mut().for_each(|found| found.data = None);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A length-delimited field.
    fn message(number: u8, content: &[u8]) -> Vec<u8> {
        let tag = u16::from(number) << 3 | 2;
        let mut out = if tag < 0x80 { vec![tag as u8] } else { vec![tag as u8 | 0x80, (tag >> 7) as u8] };
        out.push(content.len() as u8);
        out.extend_from_slice(content);
        out
    }

    #[test]
    fn tensors_of_one_name_are_told_apart_by_where_they_stand() {
        let weight = |byte: u8| message(5, &message(9, &[byte; 4]));
        let branch = |byte: u8| message(5, &message(6, &weight(byte)));
        let node = message(1, &[branch(1), branch(2)].concat());
        let function = message(25, &message(7, &message(5, &message(5, &message(9, &[3; 4])))));
        let file = [message(7, &[node, weight(4)].concat()), function].concat();
        let found = locate(&file).unwrap();
        let at = |way: &[Step]| {
            let Some(Found { data: Some(Span::Raw { offset, .. }), .. }) = found.iter().find(|f| f.way == way) else { panic!("{way:?}") };
            file[*offset]
        };
        use Step::{Attribute, Function, Graph, Initializer, Node, Tensor};
        assert_eq!(at(&[Node(0), Attribute(0), Graph(0), Initializer(0)]), 1);
        assert_eq!(at(&[Node(0), Attribute(1), Graph(0), Initializer(0)]), 2);
        assert_eq!(at(&[Function(0), Node(0), Attribute(0), Tensor]), 3);
        assert_eq!(at(&[Initializer(0)]), 4);
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn what_is_given_twice_is_not_patched() {
        let weight = message(5, &message(9, &[1; 4]));
        let graphs = [message(6, &weight), message(6, &weight)].concat();
        let tensors = [message(5, &message(9, &[1; 4])), message(5, &message(9, &[1; 4]))].concat();
        for attribute in [graphs, tensors] {
            let file = message(7, &message(1, &message(5, &attribute)));
            assert!(locate(&file).unwrap().iter().all(|found| found.data.is_none()));
        }
    }
}
