//! Where every tensor's bytes lie in the file.
//!
//! The parser gives a tensor's content; writing a pruned model back needs its place. This walks the protobuf wire format
//! (<https://protobuf.dev/programming-guides/encoding/>) down to the tensors of the main graph and notes where their data
//! starts. It looks at nothing else, allocates nothing that the file's own length does not bound, and believes no length.

use std::collections::HashMap;

/// A tensor that the walk met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Who holds it.
    pub owner: Owner,
    /// Data that lies in the model file itself; `None` for external data and for encodings that cannot be patched in place.
    pub data: Option<Span>,
}

/// Which list of the graph a tensor stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// `graph.initializer`, in order.
    Initializer,
    /// Attribute number `attribute` of node number `node`.
    Attribute {
        /// Index in `graph.node`.
        node: usize,
        /// Index in `node.attribute`.
        attribute: usize,
    },
}

/// How a tensor's elements are laid out in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Little-endian numbers, `stride` bytes from one to the next, the first at `offset`.
    Fixed {
        /// Position of the first element, in bytes from the start of the file.
        offset: usize,
        /// Distance from one element to the next, in bytes.
        stride: usize,
        /// Number of elements that fit.
        elements: usize,
    },
    /// Plain bytes of a number type that the tensor's `data_type` tells.
    Raw {
        /// Position of the first byte.
        offset: usize,
        /// Length in bytes.
        length: usize,
    },
    /// Variable-length integers that hold 16-bit patterns (float16 and bfloat16 in `int32_data`).
    Varints {
        /// Position of the first byte.
        offset: usize,
        /// Length in bytes.
        length: usize,
    },
}

/// The bytes are not protobuf at this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// Field numbers from onnx.proto (<https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>).
mod field {
    pub(super) const MODEL_GRAPH: u64 = 7;
    pub(super) const GRAPH_NODE: u64 = 1;
    pub(super) const GRAPH_INITIALIZER: u64 = 5;
    pub(super) const NODE_ATTRIBUTE: u64 = 5;
    pub(super) const ATTRIBUTE_TENSOR: u64 = 5;
    pub(super) const TENSOR_FLOAT: u64 = 4;
    pub(super) const TENSOR_INT32: u64 = 5;
    pub(super) const TENSOR_RAW: u64 = 9;
    pub(super) const TENSOR_DOUBLE: u64 = 10;
    pub(super) const TENSOR_EXTERNAL: u64 = 13;
}

/// One field of a message: its number, and where its content lies.
#[derive(Clone, Copy)]
struct Field {
    number: u64,
    wire: u8,
    start: usize,
    end: usize,
}

/// Reads the fields of the message in `bytes[start..end]` one after the other.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl Fields<'_> {
    fn varint(&mut self) -> Result<u64, Malformed> {
        let (value, next) = varint(self.bytes, self.at, self.end)?;
        self.at = next;
        Ok(value)
    }

    fn next(&mut self) -> Result<Option<Field>, Malformed> {
        if self.at == self.end {
            return Ok(None);
        }
        let tag = self.varint()?;
        let (number, wire) = (tag >> 3, (tag & 7) as u8);
        let length = match wire {
            0 => {
                let start = self.at;
                self.varint()?;
                return Ok(Some(Field { number, wire, start, end: self.at }));
            }
            1 => 8,
            2 => usize::try_from(self.varint()?).map_err(|_| Malformed)?,
            5 => 4,
            _ => return Err(Malformed),
        };
        let start = self.at;
        let end = start.checked_add(length).filter(|&end| end <= self.end).ok_or(Malformed)?;
        self.at = end;
        Ok(Some(Field { number, wire, start, end }))
    }
}

/// The variable-length integer at `at`, and the position after it.
pub(super) fn varint(bytes: &[u8], at: usize, end: usize) -> Result<(u64, usize), Malformed> {
    let mut value = 0_u64;
    for (i, &byte) in bytes.get(at..end).ok_or(Malformed)?.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Ok((value, at + i + 1));
        }
    }
    Err(Malformed)
}

/// All tensors of the main graph: initializers and node attributes, each list in the file's order.
pub(super) fn locate(bytes: &[u8]) -> Result<Vec<Found>, Malformed> {
    let mut found = Vec::new();
    let mut num_nodes = 0;
    let mut model = Fields { bytes, at: 0, end: bytes.len() };
    while let Some(graph) = model.next()? {
        if (graph.number, graph.wire) != (field::MODEL_GRAPH, 2) {
            continue;
        }
        let mut fields = Fields { bytes, at: graph.start, end: graph.end };
        while let Some(part) = fields.next()? {
            match (part.number, part.wire) {
                (field::GRAPH_INITIALIZER, 2) => found.push(Found { owner: Owner::Initializer, data: tensor(bytes, part)? }),
                (field::GRAPH_NODE, 2) => {
                    node(bytes, part, num_nodes, &mut found)?;
                    num_nodes += 1;
                }
                _ => {}
            }
        }
    }
    Ok(found)
}

fn node(bytes: &[u8], message: Field, node: usize, found: &mut Vec<Found>) -> Result<(), Malformed> {
    let mut fields = Fields { bytes, at: message.start, end: message.end };
    let mut attribute = 0;
    while let Some(part) = fields.next()? {
        if (part.number, part.wire) != (field::NODE_ATTRIBUTE, 2) {
            continue;
        }
        let mut inner = Fields { bytes, at: part.start, end: part.end };
        while let Some(value) = inner.next()? {
            if (value.number, value.wire) == (field::ATTRIBUTE_TENSOR, 2) {
                found.push(Found { owner: Owner::Attribute { node, attribute }, data: tensor(bytes, value)? });
            }
        }
        attribute += 1;
    }
    Ok(())
}

/// Where the data of the tensor message lies. Data in several pieces, or in two fields at once, gives `None`.
fn tensor(bytes: &[u8], message: Field) -> Result<Option<Span>, Malformed> {
    let mut fields = Fields { bytes, at: message.start, end: message.end };
    let mut span = None;
    let mut whole = true;
    while let Some(part) = fields.next()? {
        let length = part.end - part.start;
        let next = match (part.number, part.wire) {
            (field::TENSOR_RAW, 2) => Span::Raw { offset: part.start, length },
            (field::TENSOR_INT32, 2) => Span::Varints { offset: part.start, length },
            (field::TENSOR_FLOAT, 2) => Span::Fixed { offset: part.start, stride: 4, elements: length / 4 },
            (field::TENSOR_DOUBLE, 2) => Span::Fixed { offset: part.start, stride: 8, elements: length / 8 },
            // Unpacked: every element has a tag of its own, of one byte for these field numbers.
            (field::TENSOR_FLOAT, 5) | (field::TENSOR_DOUBLE, 1) => match span {
                Some(Span::Fixed { offset, stride, elements }) if stride == length + 1 && part.start == offset + stride * elements => {
                    span = Some(Span::Fixed { offset, stride, elements: elements + 1 });
                    continue;
                }
                _ => Span::Fixed { offset: part.start, stride: length + 1, elements: 1 },
            },
            _ => continue,
        };
        whole &= span.is_none();
        span = Some(next);
    }
    Ok(span.filter(|_| whole))
}

/// A copy of the model in which external data of the initializers named in `locations` (old name to new) is found under its
/// new name. The lengths of the messages around a changed name change with it; all other bytes are copied.
pub(super) fn relocate(bytes: &[u8], locations: &HashMap<String, String>) -> Result<Vec<u8>, Malformed> {
    const PATHS: [&[u64]; 2] = [
        &[field::MODEL_GRAPH, field::GRAPH_INITIALIZER, field::TENSOR_EXTERNAL],
        &[field::MODEL_GRAPH, field::GRAPH_NODE, field::NODE_ATTRIBUTE, field::ATTRIBUTE_TENSOR, field::TENSOR_EXTERNAL],
    ];
    copy(bytes, 0, bytes.len(), &PATHS, locations)
}

/// Copies the message in `start..end`, descending into the fields that begin one of `paths`.
fn copy(bytes: &[u8], start: usize, end: usize, paths: &[&[u64]], locations: &HashMap<String, String>) -> Result<Vec<u8>, Malformed> {
    if paths.iter().any(|p| p.is_empty()) {
        return entry(bytes, start, end, locations);
    }
    let mut out = Vec::with_capacity(end - start);
    let mut fields = Fields { bytes, at: start, end };
    loop {
        let from = fields.at;
        let Some(part) = fields.next()? else { return Ok(out) };
        let below: Vec<&[u64]> = paths.iter().filter(|p| part.wire == 2 && p[0] == part.number).map(|p| &p[1..]).collect();
        if below.is_empty() {
            out.extend_from_slice(&bytes[from..part.end]);
        } else {
            push_message(&mut out, part.number, &copy(bytes, part.start, part.end, &below, locations)?);
        }
    }
}

/// Copies one `StringStringEntryProto`; the value of the key `location` is looked up.
fn entry(bytes: &[u8], start: usize, end: usize, locations: &HashMap<String, String>) -> Result<Vec<u8>, Malformed> {
    let (mut key, mut value) = (None, None);
    let mut fields = Fields { bytes, at: start, end };
    while let Some(part) = fields.next()? {
        match (part.number, part.wire) {
            (1, 2) => key = Some(&bytes[part.start..part.end]),
            (2, 2) => value = Some(&bytes[part.start..part.end]),
            _ => {}
        }
    }
    let moved = value.and_then(|v| std::str::from_utf8(v).ok()).and_then(|v| locations.get(v));
    match (key, moved) {
        (Some(b"location"), Some(moved)) => {
            let mut out = Vec::new();
            push_message(&mut out, 1, b"location");
            push_message(&mut out, 2, moved.as_bytes());
            Ok(out)
        }
        _ => Ok(bytes[start..end].to_vec()),
    }
}

fn push_message(out: &mut Vec<u8>, number: u64, content: &[u8]) {
    push_varint(out, number << 3 | 2);
    push_varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A length-delimited field.
    fn message(number: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, content.len() as u8];
        out.extend_from_slice(content);
        out
    }

    #[test]
    fn finds_every_encoding_of_a_tensor() {
        let raw = message(9, &[1, 2, 3, 4]);
        let packed = message(4, &1.5_f32.to_le_bytes());
        let mut unpacked = vec![4 << 3 | 5];
        unpacked.extend(1.0_f32.to_le_bytes());
        unpacked.push(4 << 3 | 5);
        unpacked.extend(2.0_f32.to_le_bytes());
        let halves = message(5, &[0x80, 0x78, 0x00]);
        let constant = message(5, &message(5, &raw));
        let graph: Vec<u8> =
            [message(5, &raw), message(5, &packed), message(1, &constant), message(5, &unpacked), message(5, &halves)].concat();
        let file = message(7, &graph);
        let found = locate(&file).unwrap();
        assert_eq!(found.len(), 5);
        assert!(matches!(found[0].data, Some(Span::Raw { length: 4, offset }) if file[offset..offset + 4] == [1, 2, 3, 4]));
        assert!(matches!(found[1].data, Some(Span::Fixed { stride: 4, elements: 1, .. })));
        assert_eq!(found[2].owner, Owner::Attribute { node: 0, attribute: 0 });
        let Some(Span::Fixed { offset, stride: 5, elements: 2 }) = found[3].data else { panic!("{:?}", found[3]) };
        assert_eq!(file[offset + 5..offset + 9], 2.0_f32.to_le_bytes());
        assert!(matches!(found[4].data, Some(Span::Varints { length: 3, .. })));
    }

    #[test]
    fn refuses_lengths_that_lie() {
        assert_eq!(locate(&[7 << 3 | 2, 200, 1]), Err(Malformed));
        assert_eq!(locate(&[0xff; 12]), Err(Malformed));
        assert_eq!(locate(&[7 << 3 | 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), Err(Malformed));
    }
}
