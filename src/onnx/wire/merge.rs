//! Messages in pieces, put together. Protobuf lets a writer give a field that holds one message several times and makes one
//! message of them; the parser (`protobuf` 3.7) takes the last piece for the whole.

use super::schema::{Count, MessageKind, MessagePlace, below};
use super::{Fields, MAX_DEPTH, Malformed, push_field};

/// The model with every message in one piece; `None` where it is so already.
pub(in crate::onnx) fn merged(bytes: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
    let whole = MessagePlace::new(0, bytes.len());
    if !has_pieces(bytes, (0, bytes.len()), MessageKind::Model, 0)? {
        return Ok(None);
    }
    copy(bytes, &whole, MessageKind::Model, 0).map(Some)
}

/// Whether any message at or below this one is given in pieces.
fn has_pieces(bytes: &[u8], (at, end): (usize, usize), kind: MessageKind, depth: usize) -> Result<bool, Malformed> {
    if depth > MAX_DEPTH {
        return Err(Malformed);
    }
    let mut seen = 0_u32;
    let mut fields = Fields { bytes, at, end };
    while let Some(field) = fields.next()? {
        let Some((inner, count)) = below(kind, &field) else { continue };
        let bit = 1 << field.number;
        if (count == Count::One && seen & bit != 0) || has_pieces(bytes, (field.start, field.end), inner, depth + 1)? {
            return Ok(true);
        }
        seen |= bit;
    }
    Ok(false)
}

/// The content of `message` in one piece.
fn copy(bytes: &[u8], message: &MessagePlace, kind: MessageKind, depth: usize) -> Result<Vec<u8>, Malformed> {
    if depth > MAX_DEPTH {
        return Err(Malformed);
    }
    let mut out = Vec::with_capacity(message.pieces().map(|(start, end)| end - start).sum());
    let mut whole: Vec<(u64, MessageKind, MessagePlace)> = Vec::new();
    message.each_field(bytes, |field| {
        match below(kind, &field) {
            None => out.extend_from_slice(&bytes[field.tag..field.end]),
            Some((inner, Count::Many)) => {
                push_field(&mut out, field.number, &copy(bytes, &MessagePlace::new(field.start, field.end), inner, depth + 1)?);
            }
            Some((inner, Count::One)) => match whole.iter().position(|(number, ..)| *number == field.number) {
                // The last of several alternatives counts: it stays the last.
                Some(i) => {
                    let mut again = whole.remove(i);
                    again.2.more.push((field.start, field.end));
                    whole.push(again);
                }
                None => whole.push((field.number, inner, MessagePlace::new(field.start, field.end))),
            },
        }
        Ok(())
    })?;
    for (number, inner, message) in whole {
        push_field(&mut out, number, &copy(bytes, &message, inner, depth + 1)?);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::build::{field, group, number};
    use super::*;

    #[test]
    fn pieces_become_one_message() {
        let whole = [number(1, 8), field(7, &[field(2, b"name"), field(5, &number(2, 1))].concat())].concat();
        assert_eq!(merged(&whole), Ok(None));
        let pieces = [field(7, &field(2, b"name")), number(1, 8), field(7, &field(5, &number(2, 1)))].concat();
        assert_eq!(merged(&pieces), Ok(Some(whole)));
        // Unknown fields stay; pieces within pieces, too.
        let attribute = |tensor: &[u8]| field(7, &field(1, &field(5, tensor)));
        let odd = [group(200, &[]), field(201, b"?")].concat();
        let split = attribute(&[field(5, &number(2, 1)), odd.clone(), field(5, &field(8, b"t"))].concat());
        let joined = attribute(&[odd, field(5, &[number(2, 1), field(8, b"t")].concat())].concat());
        assert_eq!(merged(&split), Ok(Some(joined)));
    }
}
