//! The bytes of a model file as protobuf lays them out (<https://protobuf.dev/programming-guides/encoding/>): where every
//! tensor's elements lie, and a copy in which some fields are others.
//!
//! Libraries give a message's content, never its place: `protobuf`, whose bindings parse the file, keeps fields that it does not
//! know but neither their order nor their encoding, `prost` drops them, `quick-protobuf` and `micropb` generate readers of the
//! same kind. A file that is read and written by any of them is another file. So the walk is made here, over the few messages
//! that lead to a tensor. It allocates nothing that the file's own length does not bound, and believes no length.

mod biases;
mod merge;
mod places;
mod rewrite;
mod schema;

pub use biases::NewBias;
pub(super) use biases::with_biases;
pub(super) use merge::merged;
pub(super) use places::{Located, NumberRun, Span, locate};
pub(super) use rewrite::{Moves, rewritten};

/// Messages within messages; what parses the file goes no deeper either.
const MAX_DEPTH: usize = 100;

/// The bytes are not protobuf at this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// How a field's content is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    Varint,
    Fixed64,
    /// With a length before it: bytes, text, a message, a packed list.
    Length,
    /// Fields between two tags. No ONNX message has any.
    Group,
    Fixed32,
}

/// One field of a message.
#[derive(Debug, Clone, Copy)]
struct Field {
    number: u64,
    wire: Wire,
    /// Position of its tag.
    tag: usize,
    /// Where its content lies.
    start: usize,
    end: usize,
}

/// Reads the fields of the bytes `at..end` of a file one after the other.
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

    fn skip(&mut self, length: usize) -> Result<(), Malformed> {
        self.at = self.at.checked_add(length).filter(|&at| at <= self.end).ok_or(Malformed)?;
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Field>, Malformed> {
        if self.at == self.end {
            return Ok(None);
        }
        let tag = self.at;
        let (number, wire) = self.tag()?;
        let wire = wire.ok_or(Malformed)?;
        let mut start = self.at;
        match wire {
            Wire::Length => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                start = self.at;
                self.skip(length)?;
            }
            wire => self.pass(wire)?,
        }
        Ok(Some(Field { number, wire, tag, start, end: self.at }))
    }

    /// A field's number and layout; `None` where the tag ends a group.
    fn tag(&mut self) -> Result<(u64, Option<Wire>), Malformed> {
        let tag = self.varint()?;
        let wire = match tag & 7 {
            0 => Some(Wire::Varint),
            1 => Some(Wire::Fixed64),
            2 => Some(Wire::Length),
            3 => Some(Wire::Group),
            4 => None,
            5 => Some(Wire::Fixed32),
            _ => return Err(Malformed),
        };
        Ok((tag >> 3, wire))
    }

    /// Goes past the content of a field.
    fn pass(&mut self, wire: Wire) -> Result<(), Malformed> {
        match wire {
            Wire::Varint => self.varint().map(drop),
            Wire::Fixed64 => self.skip(8),
            Wire::Fixed32 => self.skip(4),
            Wire::Length => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                self.skip(length)
            }
            Wire::Group => {
                let mut open = 1;
                while open > 0 {
                    match self.tag()?.1 {
                        None => open -= 1,
                        Some(Wire::Group) if open == MAX_DEPTH => return Err(Malformed),
                        Some(Wire::Group) => open += 1,
                        Some(wire) => self.pass(wire)?,
                    }
                }
                Ok(())
            }
        }
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

/// A field with a length.
pub(super) fn push_field(out: &mut Vec<u8>, number: u64, content: &[u8]) {
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

/// Fields for tests.
#[cfg(test)]
mod build {
    /// A field with a length.
    pub(super) fn field(number: u64, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        super::push_field(&mut out, number, content);
        out
    }

    /// A whole number.
    pub(super) fn number(field: u64, value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        super::push_varint(&mut out, field << 3);
        super::push_varint(&mut out, value);
        out
    }

    /// A group of `content`.
    pub(super) fn group(number: u64, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        super::push_varint(&mut out, number << 3 | 3);
        out.extend_from_slice(content);
        super::push_varint(&mut out, number << 3 | 4);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::build::{field, group, number};
    use super::*;

    #[test]
    fn groups_and_long_varints_are_passed() {
        let inner = [number(1, 5), field(2, b"ab"), group(3, &[7 << 3 | 5, 1, 2, 3, 4])].concat();
        let long = [9 << 3, 0x85, 0x80, 0x80, 0x00];
        let bytes = [group(4, &inner), long.to_vec(), field(7, b"x")].concat();
        let mut fields = Fields { bytes: &bytes, at: 0, end: bytes.len() };
        let mut seen = Vec::new();
        while let Some(field) = fields.next().unwrap() {
            seen.push((field.number, field.wire));
        }
        assert_eq!(seen, [(4, Wire::Group), (9, Wire::Varint), (7, Wire::Length)]);
        // Without an end, without a beginning, and deeper than anybody nests.
        for bytes in [vec![4 << 3 | 3, 1 << 3, 5], vec![4 << 3 | 4], [4 << 3 | 3].repeat(1_000_000)] {
            assert!(Fields { bytes: &bytes, at: 0, end: bytes.len() }.next().is_err());
        }
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        assert_eq!(locate(&[7 << 3 | 2, 200, 1]), Err(Malformed));
        assert_eq!(locate(&[0xff; 12]), Err(Malformed));
        assert_eq!(locate(&[7 << 3 | 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), Err(Malformed));
    }
}
