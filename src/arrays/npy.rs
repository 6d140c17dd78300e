//! One array as `NumPy` writes it, `.npy`: a text header, then the elements.
//!
//! The header is read by hand: it is one line of Python, and nothing in it is believed before it is checked against the bytes
//! that are there.

use std::io::{self, Read, Write};

use half::{bf16, f16};

use crate::network::{Array, ArrayData};
use crate::onnx::Dtype;

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// A header is a hundred bytes; `NumPy` itself reads up to ten thousand.
const MAX_HEADER: usize = 1 << 16;

/// Elements are read and written in pieces of this many bytes.
const PIECE: usize = 1 << 18;

/// Why bytes are no array: a sentence.
#[derive(Debug)]
pub(super) enum ArrayFault {
    Told(String),
    Io(io::Error),
}

impl From<io::Error> for ArrayFault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => told("it ends too early"),
            _ => Self::Io(error),
        }
    }
}

fn told(reason: impl Into<String>) -> ArrayFault {
    ArrayFault::Told(reason.into())
}

/// What the header says, checked.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    element: ElementType,
    is_column_major: bool,
    shape: Vec<usize>,
}

/// The type of the elements in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ElementType {
    kind: u8,
    bytes: usize,
    is_big_endian: bool,
}

impl ElementType {
    /// From `<f4` and its like.
    fn parse(text: &str) -> Result<Self, ArrayFault> {
        let unknown = || told(format!("its elements are {text:?}, which is none of bool, int, uint, float16, float32, float64"));
        let (&order, rest) = text.as_bytes().split_first().ok_or_else(unknown)?;
        let (&kind, digits) = rest.split_first().ok_or_else(unknown)?;
        let bytes: usize = std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok()).ok_or_else(unknown)?;
        let is_known = match kind {
            b'f' => matches!(bytes, 2 | 4 | 8),
            b'i' | b'u' => matches!(bytes, 1 | 2 | 4 | 8),
            b'b' => bytes == 1,
            _ => false,
        };
        match order {
            b'<' | b'|' | b'=' if is_known => Ok(Self { kind, bytes, is_big_endian: false }),
            b'>' if is_known => Ok(Self { kind, bytes, is_big_endian: bytes > 1 }),
            _ => Err(unknown()),
        }
    }

    fn dtype(self) -> Dtype {
        match (self.kind, self.bytes) {
            (b'f', 2) => Dtype::F16,
            (b'f', 4) => Dtype::F32,
            (b'f', _) => Dtype::F64,
            (b'b', _) => Dtype::Bool,
            (b'i', 1) => Dtype::I8,
            (b'i', 2) => Dtype::I16,
            (b'i', 4) => Dtype::I32,
            (b'i', _) => Dtype::I64,
            (_, 1) => Dtype::U8,
            (_, 2) => Dtype::U16,
            (_, 4) => Dtype::U32,
            (_, _) => Dtype::U64,
        }
    }
}

/// Reads one array from `from`, which has `length` bytes by its own account.
pub(super) fn read(from: &mut dyn Read, length: u64) -> Result<Array, ArrayFault> {
    let (header, header_bytes) = header(from)?;
    // As NumPy: a dimension of 0 excuses none of the others.
    let room = header.shape.iter().try_fold(header.element.bytes, |n, &d| n.checked_mul(d.max(1))).filter(|n| isize::try_from(*n).is_ok());
    if room.is_none() {
        return Err(told(format!("its shape {:?} is too large", header.shape)));
    }
    let elements: usize = header.shape.iter().product();
    let bytes = elements * header.element.bytes;
    let have = length.saturating_sub(header_bytes);
    if bytes as u64 != have {
        return Err(told(format!("its shape {:?} takes {bytes} bytes and it holds {have}", header.shape)));
    }
    let e = header.element;
    let data = match e.kind {
        b'f' => ArrayData::F32(collect(from, elements, e, header.is_column_major.then_some(&*header.shape), |b| match *b {
            [a, b] => f16::from_le_bytes([a, b]).to_f32(),
            [a, b, c, d] => f32::from_le_bytes([a, b, c, d]),
            _ => f64::from_le_bytes(wide(b)) as f32,
        })?),
        b'b' => ArrayData::Bool(collect(from, elements, e, header.is_column_major.then_some(&*header.shape), |b| b[0] != 0)?),
        kind => ArrayData::I64(collect(from, elements, e, header.is_column_major.then_some(&*header.shape), |b| {
            let unsigned = i64::from_le_bytes(wide(b));
            let unused = 64 - 8 * b.len() as u32;
            if kind == b'i' { unsigned << unused >> unused } else { unsigned }
        })?),
    };
    Ok(Array { shape: header.shape, dtype: e.dtype(), data })
}

/// Bytes with zeros after them.
fn wide(bytes: &[u8]) -> [u8; 8] {
    let mut out = [0; 8];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
}

/// All elements in row-major order; `columns` is the shape where the file has them column by column.
fn collect<T: Copy>(
    from: &mut dyn Read,
    elements: usize,
    element: ElementType,
    columns: Option<&[usize]>,
    value: impl Fn(&[u8]) -> T,
) -> Result<Vec<T>, ArrayFault> {
    let mut out = Vec::new();
    let mut piece = vec![0; PIECE.min(elements * element.bytes)];
    let mut left = elements * element.bytes;
    while left > 0 {
        let piece = &mut piece[..PIECE.min(left)];
        from.read_exact(piece)?;
        if element.is_big_endian {
            piece.chunks_exact_mut(element.bytes).for_each(<[u8]>::reverse);
        }
        out.extend(piece.chunks_exact(element.bytes).map(&value));
        left -= piece.len();
    }
    Ok(match columns {
        Some(shape) => rows(&out, shape),
        None => out,
    })
}

/// Elements that lie column by column, row by row.
fn rows<T: Copy>(data: &[T], shape: &[usize]) -> Vec<T> {
    let mut strides = vec![1; shape.len()];
    for i in 1..shape.len() {
        strides[i] = strides[i - 1] * shape[i - 1];
    }
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    let mut out = Vec::with_capacity(data.len());
    for _ in 0..data.len() {
        out.push(data[at]);
        for d in (0..shape.len()).rev() {
            index[d] += 1;
            at += strides[d];
            if index[d] < shape[d] {
                break;
            }
            at -= strides[d] * shape[d];
            index[d] = 0;
        }
    }
    out
}

/// The header, and how many bytes it took.
fn header(from: &mut dyn Read) -> Result<(Header, u64), ArrayFault> {
    let mut start = [0; 8];
    from.read_exact(&mut start)?;
    if &start[..6] != MAGIC {
        return Err(told("it does not start as a .npy file does"));
    }
    let (length, before) = match start[6] {
        1 => {
            let mut bytes = [0; 2];
            from.read_exact(&mut bytes)?;
            (usize::from(u16::from_le_bytes(bytes)), 10)
        }
        2 | 3 => {
            let mut bytes = [0; 4];
            from.read_exact(&mut bytes)?;
            (u32::from_le_bytes(bytes) as usize, 12)
        }
        version => return Err(told(format!("it is of version {version} of .npy; 1, 2 and 3 are known"))),
    };
    if length > MAX_HEADER {
        return Err(told(format!("its header takes {length} bytes, more than {MAX_HEADER}")));
    }
    let mut text = vec![0; length];
    from.read_exact(&mut text)?;
    let text = String::from_utf8(text).map_err(|_| told("its header is no text"))?;
    Ok((parse(&text)?, (before + length) as u64))
}

/// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`
fn parse(text: &str) -> Result<Header, ArrayFault> {
    let broken = || told(format!("its header cannot be understood: {}", text.trim_end().chars().take(200).collect::<String>()));
    let mut rest = text.trim().strip_prefix('{').and_then(|t| t.strip_suffix('}')).ok_or_else(broken)?.trim();
    let (mut element, mut order, mut shape) = (None, None, None);
    while !rest.is_empty() {
        let (key, after) = quoted(rest).ok_or_else(broken)?;
        rest = after.trim_start().strip_prefix(':').ok_or_else(broken)?.trim_start();
        let after = match key {
            "descr" => {
                if rest.starts_with('[') {
                    return Err(told("its elements are records of several fields"));
                }
                let (text, after) = quoted(rest).ok_or_else(broken)?;
                element = Some(ElementType::parse(text)?);
                after
            }
            "fortran_order" => {
                let is_true = rest.starts_with("True");
                order = Some(is_true);
                rest.strip_prefix(if is_true { "True" } else { "False" }).ok_or_else(broken)?
            }
            "shape" => {
                let (inside, after) = rest.strip_prefix('(').and_then(|r| r.split_once(')')).ok_or_else(broken)?;
                // A number written by Python 2 may end in L.
                let size = |d: &str| d.trim().trim_end_matches('L').parse::<usize>().map_err(|_| broken());
                shape = Some(inside.split(',').filter(|d| !d.trim().is_empty()).map(size).collect::<Result<Vec<_>, _>>()?);
                after
            }
            _ => return Err(broken()),
        };
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(next) => next.trim_start(),
            None if after.is_empty() => after,
            None => return Err(broken()),
        };
    }
    match (element, order, shape) {
        (Some(element), Some(is_column_major), Some(shape)) => Ok(Header { element, is_column_major, shape }),
        _ => Err(broken()),
    }
}

/// Text in quotes at the start, and what comes after it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text[1..].split_once(quote)
}

/// The type that `NumPy` knows these elements by. It has no bfloat16 and nothing below a byte: what holds them is written.
fn descr(dtype: Dtype, data: &ArrayData) -> &'static str {
    match (dtype, data) {
        (_, ArrayData::Bool(_)) => "|b1",
        (Dtype::F16, ArrayData::F32(_)) => "<f2",
        (Dtype::F64, ArrayData::F32(_)) => "<f8",
        (_, ArrayData::F32(_)) => "<f4",
        (Dtype::U8 | Dtype::U4, _) => "|u1",
        (Dtype::I8 | Dtype::I4, _) => "|i1",
        (Dtype::U16, _) => "<u2",
        (Dtype::I16, _) => "<i2",
        (Dtype::U32, _) => "<u4",
        (Dtype::I32, _) => "<i4",
        (Dtype::U64, _) => "<u8",
        _ => "<i8",
    }
}

/// The name that `NumPy` has for the type an array is written in.
pub(super) fn numpy_name(array: &Array) -> &'static str {
    match descr(array.dtype, &array.data) {
        "|b1" => "bool",
        "<f2" => "float16",
        "<f4" => "float32",
        "<f8" => "float64",
        "|u1" => "uint8",
        "|i1" => "int8",
        "<u2" => "uint16",
        "<i2" => "int16",
        "<u4" => "uint32",
        "<i4" => "int32",
        "<u8" => "uint64",
        _ => "int64",
    }
}

/// Writes one array.
pub(super) fn write(array: &Array, to: &mut dyn Write) -> io::Result<()> {
    if !array.is_whole() {
        return Err(io::Error::other("an array's number of elements is not the product of its shape"));
    }
    let descr = descr(array.dtype, &array.data);
    let mut shape = array.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    // A tuple of one has a comma, too.
    if array.shape.len() == 1 {
        shape.push(',');
    }
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    // The elements start at a multiple of 64 bytes, and a line ends before them.
    let pad = 64 - (10 + text.len() + 1) % 64;
    text.extend(std::iter::repeat_n(' ', pad % 64));
    text.push('\n');
    let length = u16::try_from(text.len()).map_err(|_| io::Error::other("an array has too many dimensions for a .npy file"))?;
    to.write_all(MAGIC)?;
    to.write_all(&[1, 0])?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(text.as_bytes())?;
    match &array.data {
        ArrayData::F32(v) if descr == "<f2" => write_each(to, v, |x| f16::from_f32(x).to_le_bytes()),
        // What float32 holds is to be what bfloat16 would.
        ArrayData::F32(v) if array.dtype == Dtype::Bf16 => write_each(to, v, |x| bf16::from_f32(x).to_f32().to_le_bytes()),
        ArrayData::F32(v) if descr == "<f8" => write_each(to, v, |x| f64::from(x).to_le_bytes()),
        ArrayData::F32(v) => write_each(to, v, f32::to_le_bytes),
        ArrayData::Bool(v) => write_each(to, v, |x| [u8::from(x)]),
        ArrayData::I64(v) => match &descr[2..] {
            "1" => write_each(to, v, |x| [x as u8]),
            "2" => write_each(to, v, |x| (x as u16).to_le_bytes()),
            "4" => write_each(to, v, |x| (x as u32).to_le_bytes()),
            _ => write_each(to, v, i64::to_le_bytes),
        },
    }
}

fn write_each<T: Copy, const N: usize>(to: &mut dyn Write, values: &[T], bytes: impl Fn(T) -> [u8; N]) -> io::Result<()> {
    for piece in values.chunks(PIECE / N) {
        to.write_all(&piece.iter().flat_map(|&x| bytes(x)).collect::<Vec<u8>>())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with this header and these bytes behind it.
    fn file(text: &str, data: &[u8]) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend([1, 0]);
        out.extend((text.len() as u16).to_le_bytes());
        out.extend(text.as_bytes());
        out.extend(data);
        out
    }

    fn take(bytes: &[u8]) -> Result<Array, ArrayFault> {
        read(&mut &bytes[..], bytes.len() as u64)
    }

    fn reason(bytes: &[u8]) -> String {
        match take(bytes) {
            Err(ArrayFault::Told(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_type_comes_back_as_it_was_written() {
        let floats = [0.5, -1.0, f32::INFINITY, 0.0];
        for dtype in [Dtype::F32, Dtype::F16, Dtype::F64] {
            let array = Array { shape: vec![2, 2], dtype, data: ArrayData::F32(floats.to_vec()) };
            let mut bytes = Vec::new();
            write(&array, &mut bytes).unwrap();
            assert_eq!((bytes.len() - floats.len() * dtype.size().unwrap()) % 64, 0, "the elements are aligned");
            assert_eq!(take(&bytes).unwrap(), array);
        }
        let whole = |dtype, values: &[i64]| Array { shape: vec![values.len()], dtype, data: ArrayData::I64(values.to_vec()) };
        let ints = [
            whole(Dtype::I8, &[-128, 127]),
            whole(Dtype::U8, &[0, 255]),
            whole(Dtype::I16, &[-32768, 32767]),
            whole(Dtype::U16, &[0, 65535]),
            whole(Dtype::I32, &[i64::from(i32::MIN), -1]),
            whole(Dtype::U32, &[0, i64::from(u32::MAX)]),
            whole(Dtype::I64, &[i64::MIN, i64::MAX]),
            whole(Dtype::U64, &[-1, 1]),
            Array::bool([2, 0], Vec::new()),
            Array::bool([3], vec![true, false, true]),
            Array::f32(Vec::new(), vec![7.0]),
        ];
        for array in ints {
            let mut bytes = Vec::new();
            write(&array, &mut bytes).unwrap();
            assert_eq!(take(&bytes).unwrap(), array);
        }
    }

    #[test]
    fn bfloat16_and_int4_are_written_in_the_next_wider_type() {
        for (dtype, data, wider) in [(Dtype::Bf16, ArrayData::F32(vec![1.5]), Dtype::F32), (Dtype::I4, ArrayData::I64(vec![-8]), Dtype::I8)]
        {
            let mut bytes = Vec::new();
            write(&Array { shape: vec![1], dtype, data: data.clone() }, &mut bytes).unwrap();
            assert_eq!(take(&bytes).unwrap(), Array { shape: vec![1], dtype: wider, data });
        }
    }

    #[test]
    fn columns_and_big_endian_numbers_are_brought_in_order() {
        let columns = file("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3, 1), }\n", &[0, 3, 1, 4, 2, 5]);
        assert_eq!(take(&columns).unwrap(), Array { dtype: Dtype::U8, ..Array::i64([2, 3, 1], vec![0, 1, 2, 3, 4, 5]) });
        let big = file("{\"shape\": (2L,), 'fortran_order': False, 'descr': '>i2'}", &[0xff, 0xfe, 1, 0]);
        assert_eq!(take(&big).unwrap(), Array { dtype: Dtype::I16, ..Array::i64([2], vec![-2, 256]) });
    }

    #[test]
    fn a_shape_is_not_believed() {
        for shape in ["(4,)", "(2, 1)", "(9999999999, 9999999999, 9999999999)", "(18446744073709551615,)"] {
            let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
            let told = reason(&file(&text, &[0; 12]));
            assert!(told.starts_with("its shape"), "{shape}: {told}");
        }
        for shape in
            ["(0, 4294967295, 4294967295)", "(4294967295, 4294967295, 0)", "(0, 9223372036854775807)", "(2, 0, 18446744073709551615)"]
        {
            for order in ["True", "False"] {
                let text = format!("{{'descr': '<f4', 'fortran_order': {order}, 'shape': {shape}, }}");
                let told = reason(&file(&text, &[]));
                assert!(told.starts_with("its shape") && told.ends_with("is too large"), "{shape}: {told}");
            }
        }
        let empty = file("{'descr': '<f4', 'fortran_order': True, 'shape': (4294967295, 0, 7), }", &[]);
        assert_eq!(take(&empty).unwrap(), Array::f32([4_294_967_295, 0, 7], Vec::new()));
        // The length that is given may lie, too.
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }";
        let bytes = file(text, &[0; 12]);
        assert!(
            matches!(read(&mut &bytes[..], 10 + text.len() as u64 + 4_000_000_000_000), Err(ArrayFault::Told(t)) if t.contains("early"))
        );
    }

    #[test]
    fn what_is_no_array_is_told_so() {
        assert!(reason(b"PK\x03\x04aaaaaaaaaaaa").contains("start"));
        assert!(reason(b"\x93NUM").contains("early"));
        assert!(reason(b"\x93NUMPY\x09\x00aaaaaaaa").contains("version 9"));
        assert!(reason(b"\x93NUMPY\x02\x00\xff\xff\xff\xff").contains("4294967295"));
        for (text, told) in [
            ("{'descr': '|O', 'fortran_order': False, 'shape': (), }", "\"|O\""),
            ("{'descr': '<U3', 'fortran_order': False, 'shape': (), }", "\"<U3\""),
            ("{'descr': '<c8', 'fortran_order': False, 'shape': (), }", "\"<c8\""),
            ("{'descr': '', 'fortran_order': False, 'shape': (), }", "\"\""),
            ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (), }", "records"),
            ("{'descr': '<f4', 'fortran_order': Maybe, 'shape': (), }", "understood"),
            ("{'descr': '<f4', 'shape': (), }", "understood"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", "understood"),
            ("((((((((", "understood"),
            ("{'é", "understood"),
            ("{é'", "understood"),
        ] {
            let have = reason(&file(text, &[0; 4]));
            assert!(have.contains(told), "{text}: {have}");
        }
    }
}
