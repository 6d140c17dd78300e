//! Which fields of which messages of ONNX (<https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>) are messages.

use super::{Field, Fields, Malformed, Wire};

/// A kind of message; those below which no tensor lies and no message is given in pieces are not told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageKind {
    Model,
    Training,
    Graph,
    Function,
    Node,
    Attribute,
    Sparse,
    Tensor,
    /// An entry of a tensor's `external_data`.
    Entry,
    Value,
    Type,
    TensorType,
    Sequence,
    Map,
    Other,
}

/// How often a field may occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    /// Once; where it occurs again, its pieces are one message.
    One,
    /// Each is a message of its own.
    Many,
}

/// The message that a field holds, where it is one.
pub(super) fn below(kind: MessageKind, field: &Field) -> Option<(MessageKind, Count)> {
    use Count::{Many, One};
    use MessageKind::{
        Attribute, Entry, Function, Graph, Map, Model, Node, Other, Sequence, Sparse, Tensor, TensorType, Training, Type, Value,
    };
    if field.wire != Wire::Length {
        return None;
    }
    Some(match (kind, field.number) {
        (Model, 7) => (Graph, One),
        (Model, 20) => (Training, Many),
        (Model, 25) => (Function, Many),
        (Training, 1 | 2) => (Graph, One),
        (Graph, 1) | (Function, 7) => (Node, Many),
        (Graph, 5) => (Tensor, Many),
        (Graph, 15) => (Sparse, Many),
        (Graph, 11..=13) | (Function, 12) => (Value, Many),
        (Node, 5) | (Function, 11) => (Attribute, Many),
        (Attribute, 5) | (Sparse, 1 | 2) => (Tensor, One),
        (Attribute, 6) => (Graph, One),
        (Attribute, 10) => (Tensor, Many),
        (Attribute, 11) => (Graph, Many),
        (Attribute, 14) | (Value, 2) => (Type, One),
        (Attribute, 15) => (Type, Many),
        (Attribute, 22) => (Sparse, One),
        (Attribute, 23) => (Sparse, Many),
        (Tensor, 3) => (Other, One),
        (Tensor, 13) => (Entry, Many),
        (Type, 1 | 8) => (TensorType, One),
        (Type, 4 | 9) => (Sequence, One),
        (Type, 5) => (Map, One),
        (TensorType, 2) => (Other, One),
        (Sequence, 1) | (Map, 2) => (Type, One),
        _ => return None,
    })
}

/// A message, of one piece but for files that nobody writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MessagePlace {
    pub(super) first: (usize, usize),
    pub(super) more: Vec<(usize, usize)>,
}

impl MessagePlace {
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self { first: (start, end), more: Vec::new() }
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = (usize, usize)> {
        std::iter::once(self.first).chain(self.more.iter().copied())
    }

    /// Calls `each` for every field of all pieces.
    pub(super) fn each_field(&self, bytes: &[u8], mut each: impl FnMut(Field) -> Result<(), Malformed>) -> Result<(), Malformed> {
        for (start, end) in self.pieces() {
            let mut fields = Fields { bytes, at: start, end };
            while let Some(field) = fields.next()? {
                each(field)?;
            }
        }
        Ok(())
    }

    /// The messages in it, as message of `kind`, by field in the order in which they begin.
    pub(super) fn children(&self, bytes: &[u8], kind: MessageKind) -> Result<Vec<(u64, MessageKind, Self)>, Malformed> {
        let mut children: Vec<(u64, MessageKind, Self)> = Vec::new();
        // Field numbers are below 32.
        let mut seen = 0_u32;
        self.each_field(bytes, |field| {
            let Some((inner, count)) = below(kind, &field) else { return Ok(()) };
            let bit = 1 << field.number;
            if count == Count::One && seen & bit != 0 {
                if let Some((.., message)) = children.iter_mut().find(|(number, ..)| *number == field.number) {
                    message.more.push((field.start, field.end));
                }
                return Ok(());
            }
            seen |= bit;
            children.push((field.number, inner, Self::new(field.start, field.end)));
            Ok(())
        })?;
        Ok(children)
    }
}
