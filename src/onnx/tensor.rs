//! A tensor of the file: its type and shape, and its elements, read from wherever they lie.

use std::borrow::Cow;
use std::sync::Arc;

use onnx_ir::TensorProto;

use super::error::{OpenError, TensorFault};
use super::sources::{SourceId, Sources};
use super::wire::{NumberRun, Span};
use super::{Dtype, Values};

/// Index of a tensor in [`crate::onnx::OnnxFile::tensors`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorId(pub usize);

/// One tensor of the file: an initializer, or a tensor in a node's attribute.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// The initializer's name, or the name of a Constant node's output. Before it, where it lies in a graph that a node holds,
    /// stand that node and the attribute: `If_0.then_branch.weight`.
    pub name: String,
    /// Bytes of the name that tell where it lies.
    pub(super) scope: usize,
    /// Type of its elements.
    pub dtype: Dtype,
    /// Dimensions; empty for a scalar.
    pub shape: Vec<usize>,
    /// Number of elements: the product of the shape; 0 where no memory would hold so many.
    pub elements: usize,
    /// Whether it is an initializer of a graph; otherwise it lies in a node's attribute.
    pub is_initializer: bool,
    /// Why its elements cannot be read; then they are read as those of no type.
    pub fault: Option<TensorFault>,
    /// Its number among all tensors that [`super::wire::locate`] finds.
    pub(super) number: usize,
    /// Which file its bytes lie in.
    pub(super) source: SourceId,
    /// Where in that file; `None` where it is not known.
    pub(super) span: Option<Span>,
    /// The content as parsed, where it is not plain bytes (integers in `int64_data` and the like).
    pub(super) decoded: Option<Decoded>,
}

#[derive(Debug, Clone)]
pub(super) enum Decoded {
    Ints(Arc<[i64]>),
    Floats(Arc<[f32]>),
    /// Some elements, and the place of each; all others are zero.
    Sparse(Arc<(Tensor, Vec<usize>)>),
}

impl Decoded {
    /// What the typed fields hold, where the data is not plain bytes.
    pub(super) fn of(proto: &TensorProto, dtype: Dtype, elements: usize) -> Option<Self> {
        let ints = || proto.int32_data.iter().copied();
        match dtype {
            Dtype::I64 => Some(Self::Ints(proto.int64_data.as_slice().into())),
            Dtype::U32 | Dtype::U64 => Some(Self::Ints(proto.uint64_data.iter().map(|&v| v as i64).collect())),
            Dtype::I32 | Dtype::I8 | Dtype::U8 | Dtype::Bool | Dtype::U16 | Dtype::I16 => Some(Self::Ints(ints().map(i64::from).collect())),
            Dtype::I4 | Dtype::U4 => Some(Self::Ints(halves(ints().map(|v| v as u8), dtype).take(elements).collect())),
            Dtype::F16 => Some(Self::Floats(ints().map(|v| half::f16::from_bits(v as u16).to_f32()).collect())),
            Dtype::Bf16 => Some(Self::Floats(ints().map(|v| half::bf16::from_bits(v as u16).to_f32()).collect())),
            _ => None,
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Ints(v) => v.len(),
            Self::Floats(v) => v.len(),
            Self::Sparse(sparse) => sparse.1.len(),
        }
    }
}

/// Elements that are read from disk at once.
const PIECE_ELEMENTS: usize = 1 << 18;

impl Tensor {
    /// Its name in the graph that it lies in.
    #[must_use]
    pub fn own_name(&self) -> &str {
        self.name.get(self.scope..).unwrap_or_default()
    }

    /// The nodes that hold the graph that it lies in, as they stand before its name; empty for the main graph.
    #[must_use]
    pub fn scope(&self) -> &str {
        self.name.get(..self.scope.saturating_sub(1)).unwrap_or_default()
    }

    /// Whether the file holds only what is not zero.
    #[must_use]
    pub fn is_sparse(&self) -> bool {
        matches!(self.decoded, Some(Decoded::Sparse(_)))
    }

    /// Why neither floats nor integers can be read from it.
    #[must_use]
    pub fn obstacle(&self) -> String {
        self.fault.as_ref().map_or_else(|| format!("its elements are {}", self.dtype), ToString::to_string)
    }

    /// The plain bytes, little-endian, where it has such.
    fn raw<'a>(&self, sources: &'a Sources) -> Result<Option<Cow<'a, [u8]>>, OpenError> {
        match (&self.span, self.dtype.size()) {
            (Some(Span::Raw { offset, length }), Some(_)) => sources.range(self.source, *offset, *length).map(Some),
            (Some(Span::Runs(runs)), Some(size)) => match runs[..] {
                [NumberRun { offset, stride, elements }] if stride == size => {
                    sources.range(self.source, offset, stride * elements).map(Some)
                }
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// See [`crate::onnx::OnnxFile::bytes`].
    pub(super) fn bytes(&self, sources: &Sources) -> Result<Option<Vec<u8>>, OpenError> {
        match self.float_bytes(sources)? {
            None => Ok(self.raw(sources)?.map(Cow::into_owned)),
            bytes => Ok(bytes),
        }
    }

    /// See [`crate::onnx::OnnxFile::float_bytes`].
    pub(super) fn float_bytes(&self, sources: &Sources) -> Result<Option<Vec<u8>>, OpenError> {
        if !self.dtype.is_float() {
            return Ok(None);
        }
        if let Some(raw) = self.raw(sources)? {
            return Ok(Some(raw.into_owned()));
        }
        Ok(self.floats(sources)?.map(|values| values.to_bytes(self.dtype)))
    }

    /// See [`crate::onnx::OnnxFile::floats`].
    pub(super) fn floats(&self, sources: &Sources) -> Result<Option<Values>, OpenError> {
        if !self.dtype.is_float() || self.fault.is_some() {
            return Ok(None);
        }
        if let Some(Decoded::Floats(values)) = &self.decoded {
            return Ok(Some(Values::F32(values.to_vec())));
        }
        if let Some(Decoded::Sparse(sparse)) = &self.decoded {
            let (held, places) = &**sparse;
            return Ok(held.floats(sources)?.map(|values| match values {
                Values::F32(v) => Values::F32(spread(&v, places, self.elements)),
                Values::F64(v) => Values::F64(spread(&v, places, self.elements)),
            }));
        }
        let size = self.dtype.size().unwrap_or(1);
        let whole;
        let runs = match &self.span {
            Some(Span::Raw { offset, .. }) => {
                whole = [NumberRun { offset: *offset, stride: size, elements: self.elements }];
                &whole[..]
            }
            Some(Span::Runs(runs)) => runs,
            _ => &[],
        };
        let mut values = match self.dtype {
            Dtype::F64 => Values::F64(Vec::with_capacity(self.elements)),
            _ => Values::F32(Vec::with_capacity(self.elements)),
        };
        for run in runs {
            // Piece by piece: only the numbers are ever there as a whole, not their bytes beside them.
            let most = if sources.is_held(self.source) { run.elements } else { PIECE_ELEMENTS };
            for first in (0..run.elements).step_by(most.max(1)) {
                let count = most.min(run.elements - first);
                // The last element of a list may have nothing behind it.
                let length = run.stride * (count - 1) + size;
                append(&mut values, self.dtype, &sources.range(self.source, run.offset + first * run.stride, length)?, run.stride);
            }
        }
        Ok(Some(values))
    }

    /// See [`crate::onnx::OnnxFile::ints`].
    pub(super) fn ints(&self, sources: &Sources) -> Result<Option<Vec<i64>>, OpenError> {
        if self.fault.is_some() {
            return Ok(None);
        }
        if let Some(Decoded::Ints(values)) = &self.decoded {
            return Ok(Some(values.to_vec()));
        }
        if let Some(Decoded::Sparse(sparse)) = &self.decoded {
            let (held, places) = &**sparse;
            return Ok(held.ints(sources)?.map(|values| spread(&values, places, self.elements)));
        }
        if self.elements == 0 {
            return Ok(Some(Vec::new()));
        }
        if let (Dtype::I4 | Dtype::U4, Some(Span::Raw { offset, length })) = (self.dtype, &self.span) {
            let bytes = sources.range(self.source, *offset, *length)?;
            return Ok(Some(halves(bytes.iter().copied(), self.dtype).take(self.elements).collect()));
        }
        let Some(bytes) = self.raw(sources)? else { return Ok(None) };
        Ok(Some(match self.dtype {
            Dtype::I64 => bytes.chunks_exact(8).map(|b| i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])).collect(),
            Dtype::I32 => bytes.chunks_exact(4).map(|b| i64::from(i32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect(),
            Dtype::I8 => bytes.iter().map(|&b| i64::from(b as i8)).collect(),
            Dtype::U8 | Dtype::Bool => bytes.iter().map(|&b| i64::from(b)).collect(),
            Dtype::U16 => bytes.chunks_exact(2).map(|b| i64::from(u16::from_le_bytes([b[0], b[1]]))).collect(),
            Dtype::I16 => bytes.chunks_exact(2).map(|b| i64::from(i16::from_le_bytes([b[0], b[1]]))).collect(),
            Dtype::U32 => bytes.chunks_exact(4).map(|b| i64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect(),
            // Beyond the range of i64 the bits are kept.
            Dtype::U64 => bytes.chunks_exact(8).map(|b| i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])).collect(),
            _ => return Ok(None),
        }))
    }
}

/// The two numbers in each byte, the lower bits first.
fn halves(bytes: impl Iterator<Item = u8>, dtype: Dtype) -> impl Iterator<Item = i64> {
    let sign = if dtype == Dtype::I4 { 8 } else { 0 };
    bytes.flat_map(move |byte| [byte & 15, byte >> 4].map(|half| (i64::from(half) ^ sign) - sign))
}

/// Elements at their places, zeros elsewhere.
fn spread<T: Copy + Default>(values: &[T], places: &[usize], elements: usize) -> Vec<T> {
    let mut out = vec![T::default(); elements];
    places.iter().zip(values).for_each(|(&place, &value)| out[place] = value);
    out
}

/// Appends the little-endian numbers in `bytes`, `stride` bytes from one to the next.
fn append(values: &mut Values, dtype: Dtype, bytes: &[u8], stride: usize) {
    /// The elements' bytes: those that lie close together become vector code.
    fn each<const N: usize, T>(out: &mut Vec<T>, bytes: &[u8], stride: usize, of: impl Fn([u8; N]) -> T) {
        if stride == N {
            out.extend(bytes.as_chunks::<N>().0.iter().map(|&b| of(b)));
        } else {
            out.extend(bytes.chunks(stride).filter_map(|b| b.first_chunk::<N>()).map(|&b| of(b)));
        }
    }
    match values {
        Values::F32(out) => match dtype {
            Dtype::F16 => each(out, bytes, stride, |b| half::f16::from_le_bytes(b).to_f32()),
            Dtype::Bf16 => each(out, bytes, stride, |b| half::bf16::from_le_bytes(b).to_f32()),
            _ => each(out, bytes, stride, f32::from_le_bytes),
        },
        Values::F64(out) => each(out, bytes, stride, f64::from_le_bytes),
    }
}

/// A tensor's elements, to be read when they are wanted; what it takes to read them is kept for so long.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(super) tensor: Tensor,
    pub(super) sources: Arc<Sources>,
}

impl Stored {
    /// As [`crate::onnx::OnnxFile::float_bytes`].
    pub(crate) fn float_bytes(&self) -> Result<Option<Vec<u8>>, OpenError> {
        self.tensor.float_bytes(&self.sources)
    }
}
