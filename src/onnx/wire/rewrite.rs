//! A copy of a model whose external data lies elsewhere.

use std::collections::HashMap;

use super::schema::{MessageKind, MessagePlace, below};
use super::{Field, MAX_DEPTH, Malformed, push_field};

/// What is told otherwise about external data.
#[derive(Debug, Default)]
pub(in crate::onnx) struct Moves {
    /// New names of data files, by their old ones, for all tensors in them.
    pub(in crate::onnx) locations: HashMap<String, String>,
    /// New offsets of single tensors, by where their messages begin.
    pub(in crate::onnx) offsets: HashMap<usize, u64>,
}

/// A copy of the model with `moves`. The lengths of the messages around a changed field change with it; all other bytes are
/// copied.
pub(in crate::onnx) fn rewritten(bytes: &[u8], moves: &Moves) -> Result<Vec<u8>, Malformed> {
    copy(bytes, (0, bytes.len()), MessageKind::Model, moves, 0)
}

fn copy(bytes: &[u8], (start, end): (usize, usize), kind: MessageKind, moves: &Moves, depth: usize) -> Result<Vec<u8>, Malformed> {
    if depth > MAX_DEPTH {
        return Err(Malformed);
    }
    let offset = if kind == MessageKind::Tensor { moves.offsets.get(&start) } else { None };
    let mut out = Vec::with_capacity(end - start + 32);
    let mut is_told = false;
    MessagePlace::new(start, end).each_field(bytes, |field| {
        let content = match below(kind, &field) {
            Some((MessageKind::Entry, _)) => match entry(bytes, &field)? {
                (b"location", value) => std::str::from_utf8(value).ok().and_then(|v| moves.locations.get(v)).map(|v| pair("location", v)),
                (b"offset", _) => {
                    is_told |= offset.is_some();
                    offset.map(|offset| pair("offset", &offset.to_string()))
                }
                _ => None,
            },
            Some((inner, _)) if leads_to_tensors(inner) => {
                let inside = copy(bytes, (field.start, field.end), inner, moves, depth + 1)?;
                Some(inside).filter(|inside| *inside != bytes[field.start..field.end])
            }
            _ => None,
        };
        match content {
            None => out.extend_from_slice(&bytes[field.tag..field.end]),
            Some(content) => push_field(&mut out, field.number, &content),
        }
        Ok(())
    })?;
    if let Some(offset) = offset.filter(|_| !is_told) {
        push_field(&mut out, EXTERNAL_DATA, &pair("offset", &offset.to_string()));
    }
    Ok(out)
}

/// `TensorProto.external_data`
const EXTERNAL_DATA: u64 = 13;

fn leads_to_tensors(kind: MessageKind) -> bool {
    use MessageKind::{Attribute, Function, Graph, Node, Sparse, Tensor, Training};
    matches!(kind, Training | Graph | Function | Node | Attribute | Sparse | Tensor)
}

/// Key and value of a `StringStringEntryProto`.
fn entry<'a>(bytes: &'a [u8], field: &Field) -> Result<(&'a [u8], &'a [u8]), Malformed> {
    let (mut key, mut value) = (&[][..], &[][..]);
    MessagePlace::new(field.start, field.end).each_field(bytes, |part| {
        match part.number {
            1 => key = &bytes[part.start..part.end],
            2 => value = &bytes[part.start..part.end],
            _ => {}
        }
        Ok(())
    })?;
    Ok((key, value))
}

fn pair(key: &str, value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    push_field(&mut out, 1, key.as_bytes());
    push_field(&mut out, 2, value.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::super::build::{field, group, number};
    use super::super::locate;
    use super::*;

    #[test]
    fn locations_and_offsets_change_and_nothing_else() {
        let external = |entries: &[(&str, &str)]| -> Vec<u8> {
            let entries = entries.iter().flat_map(|(key, value)| field(13, &pair(key, value)));
            [number(2, 1), group(77, &number(1, 1)), entries.collect(), number(14, 1)].concat()
        };
        let model = |tensors: [Vec<u8>; 3], tail: &[u8]| {
            let body = field(1, &field(5, &field(6, &field(5, &tensors[2]))));
            [number(1, 8), field(7, &[field(5, &tensors[0]), field(5, &tensors[1]), body, tail.to_vec()].concat()), field(99, b"?")]
                .concat()
        };
        let tail = field(10, &[b'd'; 300]);
        let old =
            model([external(&[("location", "a"), ("offset", "4")]), external(&[("location", "b")]), external(&[("location", "a")])], &tail);
        let starts: Vec<usize> = locate(&old).unwrap().iter().map(|l| l.starts[0]).collect();
        let long = "n".repeat(200);
        let moves = Moves {
            locations: HashMap::from([("a".to_owned(), long.clone())]),
            offsets: HashMap::from([(starts[0], 4096), (starts[1], 5)]),
        };
        let second = [external(&[("location", "b")]), field(13, &pair("offset", "5"))].concat();
        let new = model([external(&[("location", &long), ("offset", "4096")]), second, external(&[("location", &long)])], &tail);
        assert_eq!(rewritten(&old, &moves), Ok(new));
        assert_eq!(rewritten(&old, &Moves::default()), Ok(old));
    }
}
