//! Where every tensor's elements lie in the file.

use super::schema::{MessageKind, MessagePlace};
use super::{Field, MAX_DEPTH, Malformed, Wire, varint};

/// Elements of two runs that lie no farther apart than this are one run: a tag or two are between them.
const MAX_STRIDE: usize = 24;

/// Little-endian numbers, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::onnx) struct NumberRun {
    /// Position of the first, in bytes from the start of the file.
    pub(in crate::onnx) offset: usize,
    /// Bytes from one to the next.
    pub(in crate::onnx) stride: usize,
    /// How many.
    pub(in crate::onnx) elements: usize,
}

/// How a tensor's elements are laid out in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::onnx) enum Span {
    /// Plain bytes of the tensor's own type.
    Raw {
        /// Position of the first byte.
        offset: usize,
        /// Length in bytes.
        length: usize,
    },
    /// Numbers of 4 or 8 bytes in a typed field, in as many runs as the file has.
    Runs(Vec<NumberRun>),
    /// Variable-length integers that hold 16-bit patterns (float16 and bfloat16 in `int32_data`): position, length in bytes and
    /// number of elements of every run.
    Varints(Vec<(usize, usize, usize)>),
}

/// A tensor that the walk met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::onnx) struct Located {
    /// Elements that lie in the model file itself; `None` for external data and for types that are no floats.
    pub(in crate::onnx) span: Option<Span>,
    /// Where its message begins; several where it is given in pieces.
    pub(in crate::onnx) starts: Vec<usize>,
}

/// All tensors of the file, in the order of [`crate::onnx::index`]: of a graph its initializers, sparse initializers, then what
/// its nodes hold; the main graph first, then functions and training.
pub(in crate::onnx) fn locate(bytes: &[u8]) -> Result<Vec<Located>, Malformed> {
    let mut found = Vec::new();
    walk(bytes, &MessagePlace::new(0, bytes.len()), MessageKind::Model, 0, &mut found)?;
    Ok(found)
}

/// The fields in whose order the messages below one of `kind` are visited.
fn order(kind: MessageKind) -> &'static [u64] {
    match kind {
        MessageKind::Model => &[7, 25, 20],
        MessageKind::Graph => &[5, 15, 1],
        MessageKind::Function => &[11, 7],
        MessageKind::Attribute => &[5, 22, 10, 23, 6, 11],
        MessageKind::Node => &[5],
        MessageKind::Training | MessageKind::Sparse => &[1, 2],
        _ => &[],
    }
}

fn walk(bytes: &[u8], message: &MessagePlace, kind: MessageKind, depth: usize, found: &mut Vec<Located>) -> Result<(), Malformed> {
    if depth > MAX_DEPTH {
        return Err(Malformed);
    }
    if kind == MessageKind::Tensor {
        found.push(tensor(bytes, message)?);
        return Ok(());
    }
    let children = message.children(bytes, kind)?;
    for &wanted in order(kind) {
        for (_, inner, child) in children.iter().filter(|(number, ..)| *number == wanted) {
            walk(bytes, child, *inner, depth + 1, found)?;
        }
    }
    Ok(())
}

/// Where the elements of a tensor message lie.
fn tensor(bytes: &[u8], message: &MessagePlace) -> Result<Located, Malformed> {
    let mut data_type = 0;
    let mut raw = None;
    let (mut floats, mut doubles, mut halves) = (Vec::new(), Vec::new(), Vec::new());
    message.each_field(bytes, |field| {
        match (field.number, field.wire) {
            (2, Wire::Varint) => data_type = varint(bytes, field.start, field.end)?.0,
            // Of a field that occurs once the last one counts.
            (9, Wire::Length) => raw = Some((field.start, field.end - field.start)),
            (4, Wire::Length | Wire::Fixed32) => add(&mut floats, &field, 4),
            (10, Wire::Length | Wire::Fixed64) => add(&mut doubles, &field, 8),
            (5, Wire::Length | Wire::Varint) if field.end > field.start => {
                let elements = bytes[field.start..field.end].iter().filter(|&&b| b < 0x80).count();
                halves.push((field.start, field.end - field.start, elements));
            }
            _ => {}
        }
        Ok(())
    })?;
    let typed = match data_type {
        1 | 14 => Some(floats).filter(|runs| !runs.is_empty()).map(Span::Runs),
        11 | 15 => Some(doubles).filter(|runs| !runs.is_empty()).map(Span::Runs),
        10 | 16 => Some(halves).filter(|runs| !runs.is_empty()).map(Span::Varints),
        _ => None,
    };
    let span = match (raw, typed) {
        (Some((offset, length)), None) => Some(Span::Raw { offset, length }),
        // A writer that sets both means the one that holds something.
        (Some((offset, length)), Some(_)) if length > 0 => Some(Span::Raw { offset, length }),
        (_, typed) => typed,
    };
    Ok(Located { span, starts: message.pieces().map(|(start, _)| start).collect() })
}

/// Adds the numbers of a field, packed or a single one.
fn add(runs: &mut Vec<NumberRun>, field: &Field, size: usize) {
    let elements = (field.end - field.start) / size;
    let offset = field.start;
    match runs.last_mut() {
        _ if elements == 0 => {}
        Some(run) if run.elements == 1 && elements == 1 && offset - run.offset <= MAX_STRIDE => {
            *run = NumberRun { stride: offset - run.offset, elements: 2, ..*run };
        }
        Some(run) if elements == 1 && offset == run.offset + run.stride * run.elements => run.elements += 1,
        _ => runs.push(NumberRun { offset, stride: size, elements }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::build::{field, group, number};
    use super::*;

    fn float(value: f32) -> Vec<u8> {
        [vec![4 << 3 | 5], value.to_le_bytes().to_vec()].concat()
    }

    /// The elements that a span names, as they lie in the file.
    fn elements(file: &[u8], span: &Span) -> Vec<f32> {
        let Span::Runs(runs) = span else { panic!("{span:?}") };
        let at = |run: &NumberRun| (0..run.elements).map(|i| run.offset + i * run.stride).collect::<Vec<_>>();
        runs.iter().flat_map(at).map(|at| f32::from_le_bytes(file[at..at + 4].try_into().unwrap())).collect()
    }

    #[test]
    fn every_encoding_of_a_tensor_is_found() {
        let packed = |values: &[f32]| field(4, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>());
        let is_float = number(2, 1);
        let encodings = [
            packed(&[1.0, 2.0, 3.0, 4.0]),
            [1.0, 2.0, 3.0, 4.0].map(float).concat(),
            [packed(&[1.0, 2.0]), packed(&[]), packed(&[3.0, 4.0])].concat(),
            [packed(&[1.0]), float(2.0), group(99, &number(1, 1)), packed(&[3.0, 4.0])].concat(),
            [float(1.0), field(8, &[b'n'; 200]), float(2.0), float(3.0), packed(&[4.0])].concat(),
            // The raw data of before counts no more.
            [packed(&[1.0, 2.0, 3.0, 4.0]), field(9, &[7; 16]), field(9, &[])].concat(),
        ];
        for encoding in encodings {
            for tensor in [[is_float.clone(), encoding.clone()].concat(), [number(2, 11), encoding.clone(), is_float.clone()].concat()] {
                let file = field(7, &field(5, &tensor));
                let found = locate(&file).unwrap();
                assert_eq!(elements(&file, found[0].span.as_ref().unwrap()), [1.0, 2.0, 3.0, 4.0], "{tensor:?}");
            }
        }
    }

    #[test]
    fn raw_data_and_halves_are_found() {
        let raw = [number(2, 1), field(9, &[9; 4]), field(4, &[0; 4]), field(9, &[1, 2, 3, 4])].concat();
        let halves = [number(2, 10), field(5, &[0x80, 0x78, 0x00]), number(5, 0x3c00)].concat();
        let file = field(7, &[field(5, &raw), field(5, &halves)].concat());
        let found = locate(&file).unwrap();
        let Some(Span::Raw { offset, length: 4 }) = found[0].span else { panic!("{found:?}") };
        assert_eq!(file[offset..offset + 4], [1, 2, 3, 4]);
        let Some(Span::Varints(runs)) = &found[1].span else { panic!("{found:?}") };
        assert_eq!(
            runs.iter().map(|&(at, length, n)| (&file[at..at + length], n)).collect::<Vec<_>>(),
            [(&[0x80, 0x78, 0x00][..], 2), (&[0x80, 0x78][..], 1)]
        );
    }

    #[test]
    fn tensors_are_found_in_order_wherever_they_lie() {
        let tensor = |mark: u8| [number(2, 1), field(9, &[mark; 4])].concat();
        let sparse = |a: u8, b: u8| [field(2, &tensor(b)), field(1, &tensor(a))].concat();
        let node = |attribute: &[u8]| field(5, attribute);
        let body = [field(1, &node(&field(5, &tensor(8)))), field(5, &tensor(7))].concat();
        let attribute = [field(6, &body), field(10, &tensor(5)), field(22, &sparse(3, 4)), field(10, &tensor(6))].concat();
        let graph = [field(1, &node(&attribute)), field(15, &sparse(1, 2)), field(5, &tensor(0))].concat();
        let function = [field(7, &node(&field(5, &tensor(10)))), field(11, &field(5, &tensor(9)))].concat();
        let training = [field(2, &field(5, &tensor(12))), field(1, &field(5, &tensor(11)))].concat();
        let file = [field(20, &training), field(25, &function), field(7, &graph)].concat();
        let marks = |file: &[u8]| -> Vec<u8> {
            let mark = |found: Located| match found.span {
                Some(Span::Raw { offset, .. }) => file[offset],
                span => panic!("{span:?}"),
            };
            locate(file).unwrap().into_iter().map(mark).collect()
        };
        assert_eq!(marks(&file), (0..=12).collect::<Vec<_>>());
        // The main graph in two pieces, and a tensor of it.
        let pieces = [
            field(7, &field(5, &tensor(0))),
            field(7, &field(1, &node(&[field(5, &number(2, 1)), field(5, &field(9, &[1; 4]))].concat()))),
        ];
        assert_eq!(marks(&pieces.concat()), [0, 1]);
        assert_eq!(locate(&pieces.concat()).unwrap()[1].starts.len(), 2);
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let mut graph = Vec::new();
        for _ in 0..200 {
            graph = field(1, &field(5, &field(6, &graph)));
        }
        assert_eq!(locate(&field(7, &graph)), Err(Malformed));
    }
}
