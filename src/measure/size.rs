//! What a pruned parameter weighs in the formats that make use of its zeros, and whether it has the pattern that sparse tensor
//! cores want.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::DeflateEncoder;

use crate::graph::{Kind, Layout, Module, Parameter, Role};
use crate::watch::Watch;

/// Bytes of one index of an ONNX `SparseTensorProto`: int64.
const INDEX_BYTES: u64 = 8;
/// Elements of a group of the 2:4 pattern, and how many of them may be other than zero.
const GROUP: (usize, usize) = (4, 2);
/// Outputs and inputs of a weight must be multiples of these for sparse tensor cores, as NVIDIA's ASP (apex.contrib.sparsity)
/// asks before it prunes a layer.
const TILE: (usize, usize) = (8, 16);

/// How weights can be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Every element, zero or not.
    Dense,
    /// Compressed by deflate, as in zip and gzip.
    Deflate,
    /// Compressed by Zstandard.
    Zstd,
    /// One bit per element, and the elements that are not zero.
    Bitmask,
    /// ONNX's `SparseTensorProto`: the elements that are not zero, each with an index of 8 bytes.
    SparseTensor,
}

impl Encoding {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Dense, Self::Deflate, Self::Zstd, Self::Bitmask, Self::SparseTensor];

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dense => "Dense",
            Self::Deflate => "Deflate",
            Self::Zstd => "Zstandard",
            Self::Bitmask => "Bitmask and values",
            Self::SparseTensor => "ONNX sparse tensor",
        }
    }

    /// Sparsity from which it is smaller than dense, 0..=1, for elements of `size` bytes.
    ///
    /// A bitmask adds a bit per element, `1 / (8 size)`; a sparse tensor an index to each that is left, `8 / (8 + size)`. What
    /// a compressor makes depends on the elements: 0 where it is smaller on the model as `opened` already, else unknown.
    #[must_use]
    pub fn pays_from(self, size: usize, opened: &Bytes) -> Option<f64> {
        let size = size.max(1) as f64;
        match self {
            Self::Bitmask => Some(1.0 / (8.0 * size)),
            Self::SparseTensor => Some(INDEX_BYTES as f64 / (INDEX_BYTES as f64 + size)),
            Self::Deflate | Self::Zstd => (opened.of(self) < opened.dense).then_some(0.0),
            Self::Dense => None,
        }
    }
}

/// Bytes in every encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Bytes {
    /// See [`Encoding::Dense`].
    pub dense: u64,
    /// See [`Encoding::Deflate`].
    pub deflate: u64,
    /// See [`Encoding::Zstd`].
    pub zstd: u64,
    /// See [`Encoding::Bitmask`].
    pub bitmask: u64,
    /// See [`Encoding::SparseTensor`].
    pub sparse_tensor: u64,
}

impl Bytes {
    /// Those of one encoding.
    #[must_use]
    pub fn of(&self, encoding: Encoding) -> u64 {
        match encoding {
            Encoding::Dense => self.dense,
            Encoding::Deflate => self.deflate,
            Encoding::Zstd => self.zstd,
            Encoding::Bitmask => self.bitmask,
            Encoding::SparseTensor => self.sparse_tensor,
        }
    }

    /// The encoding with the fewest.
    #[must_use]
    pub fn smallest(&self) -> Encoding {
        Encoding::ALL.into_iter().min_by_key(|encoding| self.of(*encoding)).unwrap_or(Encoding::Dense)
    }
}

impl std::iter::Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(sizes: I) -> Self {
        sizes.fold(Self::default(), |a, b| Self {
            dense: a.dense + b.dense,
            deflate: a.deflate + b.deflate,
            zstd: a.zstd + b.zstd,
            bitmask: a.bitmask + b.bitmask,
            sparse_tensor: a.sparse_tensor + b.sparse_tensor,
        })
    }
}

/// How far a weight has the 2:4 pattern: at most two elements other than zero among four that follow one another along the
/// inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct GroupsOfFour {
    /// Groups of four.
    pub groups: u64,
    /// Groups that have the pattern.
    pub holding: u64,
}

impl GroupsOfFour {
    /// Share of the groups that have it, 0..=1.
    #[must_use]
    pub fn share(&self) -> f64 {
        if self.groups == 0 { 0.0 } else { self.holding as f64 / self.groups as f64 }
    }
}

/// What became of one parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct ParameterSize {
    /// Its bytes.
    pub bytes: Bytes,
    /// Elements that are zero.
    pub zeros: u64,
    /// The 2:4 pattern; `None` where its shape cannot have it, see [`is_eligible`].
    pub pattern: Option<GroupsOfFour>,
}

/// Whether sparse tensor cores could use a weight, were it pruned 2:4: the weight of a linear layer or of a convolution with
/// outputs a multiple of 8 and inputs (those of a group) a multiple of 16, both of which NVIDIA's ASP asks for.
#[must_use]
pub fn is_eligible(parameter: &Parameter, module: &Module) -> bool {
    let is_product = matches!(module.role, Role::Stem | Role::Pointwise | Role::Dense | Role::Head | Role::Linear)
        && !module.kind.starts_with("ConvTranspose");
    let fits = |(outputs, inputs, _): (usize, usize, bool)| {
        outputs > 0 && inputs > 0 && outputs.is_multiple_of(TILE.0) && inputs.is_multiple_of(TILE.1)
    };
    parameter.kind == Kind::Weight && is_product && sides(parameter).is_some_and(fits)
}

/// Weighs one parameter, whose elements are `bytes`, little-endian, in its own type, pruned already; `None` as soon as
/// `watch` stops it.
///
/// # Errors
/// Of the compressors.
pub(crate) fn weigh(parameter: &Parameter, module: &Module, bytes: &[u8], watch: &dyn Watch) -> io::Result<Option<ParameterSize>> {
    let Some(size) = parameter.dtype.size() else { return Ok(Some(ParameterSize::default())) };
    let elements = bytes.len() / size;
    let is_float = parameter.dtype.is_float();
    let is_zero = |i: usize| is_zero(&bytes[i * size..(i + 1) * size], is_float);
    let zeros = (0..elements).filter(|&i| is_zero(i)).count() as u64;
    let left = elements as u64 - zeros;
    let Some(ByteCounter(deflate)) = deflated(bytes, ByteCounter::default(), watch)? else { return Ok(None) };
    let Some(ByteCounter(zstd)) = zstd(bytes, ByteCounter::default(), watch)? else { return Ok(None) };
    let bytes = Bytes {
        dense: bytes.len() as u64,
        deflate,
        zstd,
        bitmask: (elements as u64).div_ceil(8) + left * size as u64,
        sparse_tensor: left * (INDEX_BYTES + size as u64),
    };
    let pattern = is_eligible(parameter, module).then(|| pattern(parameter, is_zero));
    Ok(Some(ParameterSize { bytes, zeros, pattern }))
}

/// A floating zero of either sign, or an integer zero.
fn is_zero(element: &[u8], is_float: bool) -> bool {
    let sign = if is_float { 0x7f } else { 0xff };
    match element.split_last() {
        Some((last, rest)) => last & sign == 0 && rest.iter().all(|&b| b == 0),
        None => true,
    }
}

/// Outputs and inputs of a weight with two and more dimensions, and whether the inputs are its first dimension.
fn sides(parameter: &Parameter) -> Option<(usize, usize, bool)> {
    // Beside a dimension of 0, others may be any number.
    let [first, second, ..] = parameter.shape[..] else { return None };
    if parameter.elements == 0 || parameter.layout == Layout::Mixed {
        return None;
    }
    Some(if parameter.layout == Layout::InFirst { (second, first, true) } else { (first, second, false) })
}

fn pattern(parameter: &Parameter, is_zero: impl Fn(usize) -> bool) -> GroupsOfFour {
    let mut found = GroupsOfFour { groups: 0, holding: 0 };
    let Some((outputs, inputs, inputs_first)) = sides(parameter) else { return found };
    let kernel: usize = parameter.shape[2..].iter().product();
    let at = |o: usize, i: usize, k: usize| if inputs_first { (i * outputs + o) * kernel + k } else { (o * inputs + i) * kernel + k };
    for o in 0..outputs {
        for k in 0..kernel {
            for first in (0..inputs).step_by(GROUP.0) {
                let left = (first..first + GROUP.0).filter(|&i| !is_zero(at(o, i, k))).count();
                found.groups += 1;
                found.holding += u64::from(left <= GROUP.1);
            }
        }
    }
    found
}

/// Counts what is written to it.
#[derive(Default)]
struct ByteCounter(u64);

impl Write for ByteCounter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes that are compressed between two looks at whether to stop.
const PIECE_BYTES: usize = 1 << 20;

/// What deflate at its usual level, 6, writes of `bytes` into `sink`.
fn deflated<W: Write>(bytes: &[u8], sink: W, watch: &dyn Watch) -> io::Result<Option<W>> {
    let mut encoder = DeflateEncoder::new(sink, Compression::default());
    if !fed(&mut encoder, bytes, watch)? {
        return Ok(None);
    }
    encoder.finish().map(Some)
}

/// What Zstandard at its usual level, 3, writes of `bytes` into `sink`.
fn zstd<W: Write>(bytes: &[u8], sink: W, watch: &dyn Watch) -> io::Result<Option<W>> {
    let mut encoder = zstd::stream::write::Encoder::new(sink, 0)?;
    if !fed(&mut encoder, bytes, watch)? {
        return Ok(None);
    }
    encoder.finish().map(Some)
}

/// Whether everything was written before `watch` stopped it.
fn fed(encoder: &mut impl Write, bytes: &[u8], watch: &dyn Watch) -> io::Result<bool> {
    for piece in bytes.chunks(PIECE_BYTES) {
        if watch.is_cancelled() {
            return Ok(false);
        }
        encoder.write_all(piece)?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::ParameterId;
    use crate::onnx::Dtype;
    use crate::watch::Unwatched;

    fn module(kind: &str, role: Role) -> Module {
        Module { name: "m".into(), kind: kind.into(), role, parameters: vec![ParameterId(0)], buffers: Vec::new(), nodes: Vec::new() }
    }

    fn bytes(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
        values.into_iter().flat_map(f32::to_le_bytes).collect()
    }

    #[test]
    fn every_encoding_is_counted_in_bytes() {
        let (p, m) = (Parameter::of_shape(&[10, 100], Layout::OutFirst, Dtype::F32), module("Linear", Role::Linear));
        // Every fifth is left.
        let values = (0..1000).map(|i| {
            if i % 5 == 0 {
                1.0 + i as f32
            } else if i % 2 == 0 {
                -0.0
            } else {
                0.0
            }
        });
        let size = weigh(&p, &m, &bytes(values), &Unwatched).unwrap().unwrap();
        assert_eq!((size.zeros, size.pattern), (800, None));
        assert_eq!((size.bytes.dense, size.bytes.bitmask, size.bytes.sparse_tensor), (4000, 125 + 800, 200 * 12));
        assert!(size.bytes.deflate > 100 && size.bytes.deflate < 2000, "{size:?}");
        assert!(size.bytes.zstd > 100 && size.bytes.zstd < 2000, "{size:?}");
        assert_ne!(size.bytes.smallest(), Encoding::Dense);
    }

    /// What is counted is what could be written and read again.
    #[test]
    fn what_was_compressed_can_be_read_again() {
        let original = bytes((0..5000).map(|i| if i % 3 == 0 { (i as f32).sin() } else { 0.0 }));
        let packed = deflated(&original, Vec::new(), &Unwatched).unwrap().unwrap();
        let mut again = Vec::new();
        io::Read::read_to_end(&mut flate2::read::DeflateDecoder::new(&packed[..]), &mut again).unwrap();
        assert!(again == original);
        let counted = deflated(&original, ByteCounter::default(), &Unwatched).unwrap().unwrap();
        assert_eq!(counted.0, packed.len() as u64);
        let packed = zstd(&original, Vec::new(), &Unwatched).unwrap().unwrap();
        assert!(zstd::stream::decode_all(&packed[..]).unwrap() == original);
        let counted = zstd(&original, ByteCounter::default(), &Unwatched).unwrap().unwrap();
        assert_eq!(counted.0, packed.len() as u64);
    }

    /// The sparsity from which an encoding pays is where its bytes are dense's.
    #[test]
    fn an_encoding_pays_from_where_it_is_as_large_as_dense() {
        for (dtype, size) in [(Dtype::F32, 4), (Dtype::F16, 2), (Dtype::F64, 8)] {
            let (p, m) = (Parameter::of_shape(&[4800], Layout::OutFirst, dtype), module("Linear", Role::Linear));
            for encoding in [Encoding::Bitmask, Encoding::SparseTensor] {
                let limit = encoding.pays_from(size, &Bytes::default()).unwrap();
                for (sparsity, pays) in [(limit - 0.01, false), (limit + 0.01, true)] {
                    let zeros = (sparsity * 4800.0) as usize;
                    let raw: Vec<u8> = (0..4800).flat_map(|i| vec![u8::from(i >= zeros); size]).collect();
                    let bytes = weigh(&p, &m, &raw, &Unwatched).unwrap().unwrap().bytes;
                    assert_eq!(bytes.of(encoding) < bytes.dense, pays, "{encoding:?} {size} {sparsity}");
                }
            }
        }
    }

    #[test]
    fn groups_lie_along_the_inputs() {
        // 8 outputs, 16 inputs, 2 positions: inputs 0 and 1 of every four are zero at position 0 only.
        let values = (0..8 * 16 * 2).map(|e| if e % 2 == 0 && (e / 2) % 16 % 4 < 2 { 0.0 } else { 1.0 });
        let conv = module("Conv1d", Role::Dense);
        let out_first = Parameter::of_shape(&[8, 16, 2], Layout::OutFirst, Dtype::F32);
        let size = weigh(&out_first, &conv, &bytes(values), &Unwatched).unwrap().unwrap();
        assert_eq!(size.pattern, Some(GroupsOfFour { groups: 8 * 4 * 2, holding: 8 * 4 }));
        // The same, inputs first and one position.
        let values: Vec<f32> = (0..16 * 8).map(|e| if e / 8 % 4 < 2 { 0.0 } else { 1.0 }).collect();
        let linear = module("Linear", Role::Linear);
        let turned = Parameter::of_shape(&[16, 8], Layout::InFirst, Dtype::F32);
        let size = weigh(&turned, &linear, &bytes(values), &Unwatched).unwrap().unwrap();
        assert_eq!(size.pattern, Some(GroupsOfFour { groups: 8 * 4, holding: 8 * 4 }));
    }

    #[test]
    fn tensor_cores_ask_for_multiples_of_8_and_16() {
        let eligible =
            |shape: &[usize], layout, kind: &str, role| is_eligible(&Parameter::of_shape(shape, layout, Dtype::F32), &module(kind, role));
        assert!(eligible(&[8, 16, 1, 1], Layout::OutFirst, "Conv2d", Role::Pointwise));
        assert!(!eligible(&[8, 8, 1, 1], Layout::OutFirst, "Conv2d", Role::Pointwise));
        assert!(!eligible(&[12, 16], Layout::OutFirst, "Linear", Role::Linear));
        assert!(eligible(&[16, 8], Layout::InFirst, "Linear", Role::Linear));
        assert!(eligible(&[8, 16, 3, 3], Layout::OutFirst, "Conv2d", Role::Dense));
        assert!(!eligible(&[16, 8, 2, 2], Layout::InFirst, "ConvTranspose2d", Role::Dense));
        assert!(!eligible(&[16, 16, 3, 3], Layout::OutFirst, "Conv2d", Role::Depthwise));
        assert!(!eligible(&[16, 16], Layout::OutFirst, "Embedding", Role::Embedding));
    }

    #[test]
    fn of_nothing_there_is_nothing_to_do() {
        for shape in [&[][..], &[0], &[1 << 40, 16, 0], &[0, 16, 1 << 40, 1 << 40]] {
            let p = Parameter::of_shape(shape, Layout::OutFirst, Dtype::F32);
            let raw = vec![0; p.elements * 4];
            assert_eq!(weigh(&p, &module("Conv2d", Role::Dense), &raw, &Unwatched).unwrap().unwrap().pattern, None);
        }
    }

    #[test]
    fn integers_have_no_negative_zero() {
        let (p, m) = (Parameter::of_shape(&[4], Layout::OutFirst, Dtype::I8), module("Linear", Role::Linear));
        assert_eq!(weigh(&p, &m, &[0, 0x80, 1, 0], &Unwatched).unwrap().unwrap().zeros, 2);
    }

    #[test]
    fn it_stops_when_it_is_told_to() {
        let (p, m) = (Parameter::of_shape(&[4], Layout::OutFirst, Dtype::F32), module("Linear", Role::Linear));
        let token = crate::watch::Token::default();
        token.cancel();
        assert_eq!(weigh(&p, &m, &[1; 16], &token).unwrap(), None);
    }
}
