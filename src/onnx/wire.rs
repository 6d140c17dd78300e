//! Where every tensor's bytes lie in the file.
//!
//! The parser gives a tensor's content; writing a pruned model back needs its place. This walks the protobuf wire format
//! (<https://protobuf.dev/programming-guides/encoding/>) of a tensor and notes where its data starts; [`super::way`] leads there.
//! It looks at nothing else, allocates nothing that the file's own length does not bound, and believes no length.

use std::collections::HashMap;

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
pub(super) mod field {
    pub(in crate::onnx) const MODEL_GRAPH: u64 = 7;
    pub(in crate::onnx) const MODEL_FUNCTION: u64 = 25;
    pub(in crate::onnx) const FUNCTION_NODE: u64 = 7;
    pub(in crate::onnx) const GRAPH_NODE: u64 = 1;
    pub(in crate::onnx) const GRAPH_INITIALIZER: u64 = 5;
    pub(in crate::onnx) const GRAPH_SPARSE: u64 = 15;
    pub(in crate::onnx) const NODE_ATTRIBUTE: u64 = 5;
    pub(in crate::onnx) const ATTRIBUTE_TENSOR: u64 = 5;
    pub(in crate::onnx) const ATTRIBUTE_GRAPH: u64 = 6;
    pub(in crate::onnx) const ATTRIBUTE_GRAPHS: u64 = 11;
    pub(in crate::onnx) const SPARSE_VALUES: u64 = 1;
    pub(super) const TENSOR_FLOAT: u64 = 4;
    pub(super) const TENSOR_INT32: u64 = 5;
    pub(super) const TENSOR_RAW: u64 = 9;
    pub(super) const TENSOR_DOUBLE: u64 = 10;
    pub(super) const TENSOR_EXTERNAL: u64 = 13;
}

/// One field of a message: its number, and where its content lies.
#[derive(Clone, Copy)]
pub(super) struct Field {
    pub(super) number: u64,
    pub(super) wire: u8,
    start: usize,
    end: usize,
}

/// Reads the fields of the message in `bytes[start..end]` one after the other.
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Fields<'a> {
    /// Those of a whole file.
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, end: bytes.len() }
    }

    /// Those of the message that a field holds.
    pub(super) fn within(bytes: &'a [u8], message: Field) -> Self {
        Self { bytes, at: message.start, end: message.end }
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let (value, next) = varint(self.bytes, self.at, self.end)?;
        self.at = next;
        Ok(value)
    }

    pub(super) fn next(&mut self) -> Result<Option<Field>, Malformed> {
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

/// Where the data of the tensor message lies. Data in several pieces, or in two fields at once, gives `None`.
pub(super) fn tensor(bytes: &[u8], message: Field) -> Result<Option<Span>, Malformed> {
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

/// What a message is, where external data may lie below it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Graph,
    Function,
    Node,
    Attribute,
    Sparse,
    Tensor,
    /// An entry of a tensor's external data.
    Entry,
}

impl Kind {
    /// What the field of this number holds.
    fn of_field(self, number: u64) -> Option<Self> {
        Some(match (self, number) {
            (Self::Model, field::MODEL_GRAPH) | (Self::Attribute, field::ATTRIBUTE_GRAPH | field::ATTRIBUTE_GRAPHS) => Self::Graph,
            (Self::Model, field::MODEL_FUNCTION) => Self::Function,
            (Self::Graph, field::GRAPH_NODE) | (Self::Function, field::FUNCTION_NODE) => Self::Node,
            (Self::Graph, field::GRAPH_INITIALIZER) | (Self::Attribute, field::ATTRIBUTE_TENSOR) | (Self::Sparse, field::SPARSE_VALUES) => {
                Self::Tensor
            }
            (Self::Graph, field::GRAPH_SPARSE) => Self::Sparse,
            (Self::Node, field::NODE_ATTRIBUTE) => Self::Attribute,
            (Self::Tensor, field::TENSOR_EXTERNAL) => Self::Entry,
            _ => return None,
        })
    }
}

/// A copy of the model in which external data of the tensors named in `locations` (old name to new) is found under its
/// new name. The lengths of the messages around a changed name change with it; all other bytes are copied.
pub(super) fn relocate(bytes: &[u8], locations: &HashMap<String, String>) -> Result<Vec<u8>, Malformed> {
    copy(bytes, 0, bytes.len(), Kind::Model, locations)
}

/// Copies the message in `start..end`, descending into the fields below which external data may be named.
fn copy(bytes: &[u8], start: usize, end: usize, kind: Kind, locations: &HashMap<String, String>) -> Result<Vec<u8>, Malformed> {
    if kind == Kind::Entry {
        return entry(bytes, start, end, locations);
    }
    let mut out = Vec::with_capacity(end - start);
    let mut fields = Fields { bytes, at: start, end };
    loop {
        let from = fields.at;
        let Some(part) = fields.next()? else { return Ok(out) };
        match kind.of_field(part.number).filter(|_| part.wire == 2) {
            Some(below) => push_message(&mut out, part.number, &copy(bytes, part.start, part.end, below, locations)?),
            None => out.extend_from_slice(&bytes[from..part.end]),
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
    use super::super::way::{self, Step};
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
        let found = way::locate(&file).unwrap();
        assert_eq!(found.len(), 5);
        assert!(matches!(found[0].data, Some(Span::Raw { length: 4, offset }) if file[offset..offset + 4] == [1, 2, 3, 4]));
        assert!(matches!(found[1].data, Some(Span::Fixed { stride: 4, elements: 1, .. })));
        assert_eq!(found[2].way, [Step::Node(0), Step::Attribute(0), Step::Tensor]);
        let Some(Span::Fixed { offset, stride: 5, elements: 2 }) = found[3].data else { panic!("{:?}", found[3]) };
        assert_eq!(file[offset + 5..offset + 9], 2.0_f32.to_le_bytes());
        assert!(matches!(found[4].data, Some(Span::Varints { length: 3, .. })));
    }

    #[test]
    fn refuses_lengths_that_lie() {
        assert_eq!(way::locate(&[7 << 3 | 2, 200, 1]), Err(Malformed));
        assert_eq!(way::locate(&[0xff; 12]), Err(Malformed));
        assert_eq!(way::locate(&[7 << 3 | 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), Err(Malformed));
    }
}
