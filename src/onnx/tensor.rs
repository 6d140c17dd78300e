//! A tensor of the file: its type and shape, and its elements, read from wherever they lie.

use std::borrow::Cow;
use std::sync::Arc;

use onnx_ir::TensorProto;

use super::sources::{Source, Sources};
use super::{Dtype, OpenError, Span};

/// Index of a tensor in [`OnnxFile::tensors`].
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
    /// Number of elements: the product of the shape.
    pub elements: usize,
    /// Which file its bytes lie in.
    pub source: Source,
    /// Where in that file; `None` where it cannot be changed in place.
    pub span: Option<Span>,
    /// Whether it is an initializer of a graph; otherwise it lies in a node's attribute.
    pub is_initializer: bool,
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

/// Elements of a floating tensor, exact: f16, bf16 and f32 as f32, f64 as itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// From f16, bf16 or f32.
    F32(Vec<f32>),
    /// From f64.
    F64(Vec<f64>),
}

impl Values {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
        }
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of zeros of either sign.
    #[must_use]
    pub fn zeros(&self) -> u64 {
        let zeros = match self {
            Self::F32(v) => v.iter().filter(|x| **x == 0.0).count(),
            Self::F64(v) => v.iter().filter(|x| **x == 0.0).count(),
        };
        zeros as u64
    }

    /// As f32; doubles are rounded to the nearest.
    #[must_use]
    pub fn into_f32(self) -> Vec<f32> {
        match self {
            Self::F32(v) => v,
            Self::F64(v) => v.into_iter().map(|x| x as f32).collect(),
        }
    }
}

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

    /// The plain bytes of a tensor, little-endian, where it has such.
    fn raw<'a>(&self, sources: &'a Sources) -> Result<Option<Cow<'a, [u8]>>, OpenError> {
        let Some(size) = self.dtype.size() else { return Ok(None) };
        match self.span {
            Some(Span::Raw { offset, length }) => sources.range(self.source, offset, length).map(Some),
            Some(Span::Fixed { offset, stride, elements }) if stride == size => {
                sources.range(self.source, offset, stride * elements).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The bytes of a tensor in its own type, little-endian; `None` where its elements are no whole bytes.
    ///
    /// # Errors
    /// As [`Self::float_bytes`].
    pub(super) fn bytes(&self, sources: &Sources) -> Result<Option<Vec<u8>>, OpenError> {
        match self.float_bytes(sources)? {
            None => Ok(self.raw(sources)?.map(Cow::into_owned)),
            bytes => Ok(bytes),
        }
    }

    /// The bytes of a floating tensor in its own type, little-endian, however the file encodes them; `None` for other types.
    ///
    /// # Errors
    /// External data that changed since the model was opened, or that the disk does not give.
    pub(super) fn float_bytes(&self, sources: &Sources) -> Result<Option<Vec<u8>>, OpenError> {
        let dtype = self.dtype;
        if !dtype.is_float() {
            return Ok(None);
        }
        if let Some(raw) = self.raw(sources)? {
            return Ok(Some(raw.into_owned()));
        }
        Ok(self.floats(sources)?.map(|values| match values {
            Values::F64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Values::F32(v) => match dtype {
                Dtype::F16 => v.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect(),
                Dtype::Bf16 => v.iter().flat_map(|&x| half::bf16::from_f32(x).to_le_bytes()).collect(),
                _ => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            },
        }))
    }

    /// The elements of a floating tensor; `None` for other types.
    ///
    /// # Errors
    /// External data that changed since the model was opened, or that the disk does not give.
    pub(super) fn floats(&self, sources: &Sources) -> Result<Option<Values>, OpenError> {
        if !self.dtype.is_float() {
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
        let (offset, stride) = match (self.span, self.dtype.size()) {
            (Some(Span::Raw { offset, .. }), Some(size)) => (offset, size),
            (Some(Span::Fixed { offset, stride, .. }), _) => (offset, stride),
            _ => return Ok((self.elements == 0).then(|| Values::F32(Vec::new()))),
        };
        let mut values = match self.dtype {
            Dtype::F64 => Values::F64(Vec::with_capacity(self.elements)),
            _ => Values::F32(Vec::with_capacity(self.elements)),
        };
        // Piece by piece: only the numbers are ever there as a whole, not their bytes beside them.
        let pieces = match self.source {
            Source::Model if sources.body.is_held() => self.elements.max(1),
            _ => PIECE_ELEMENTS,
        };
        for first in (0..self.elements).step_by(pieces) {
            let count = pieces.min(self.elements - first);
            // The last element of a packed list may have nothing behind it.
            let length = stride * (count - 1) + self.dtype.size().unwrap_or(stride);
            append(&mut values, self.dtype, &sources.range(self.source, offset + first * stride, length)?, stride);
        }
        Ok(Some(values))
    }

    /// The elements of an integer or bool tensor; `None` for other types.
    ///
    /// # Errors
    /// External data that changed since the model was opened, or that the disk does not give.
    pub(super) fn ints(&self, sources: &Sources) -> Result<Option<Vec<i64>>, OpenError> {
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

/// Elements that are read from disk at once.
const PIECE_ELEMENTS: usize = 1 << 18;

/// Appends the little-endian numbers in `bytes`, `stride` bytes from one to the next.
fn append(values: &mut Values, dtype: Dtype, bytes: &[u8], stride: usize) {
    let chunks = bytes.chunks(stride);
    match values {
        Values::F32(out) => match dtype {
            Dtype::F16 => out.extend(chunks.map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32())),
            Dtype::Bf16 => out.extend(chunks.map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32())),
            _ => out.extend(chunks.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))),
        },
        Values::F64(out) => out.extend(chunks.map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))),
    }
}

/// Elements at their places, zeros elsewhere.
fn spread<T: Copy + Default>(values: &[T], places: &[usize], elements: usize) -> Vec<T> {
    let mut out = vec![T::default(); elements];
    places.iter().zip(values).for_each(|(&place, &value)| out[place] = value);
    out
}

/// Elements that a sparse tensor may have whatever it holds, and for each that it holds.
const SPARSE_ELEMENTS: (usize, usize) = (1 << 24, 1 << 10);

/// The whole of a tensor of which `held` has the elements that are not zero: `indices` tells where they stand, by one number
/// or by one for each dimension.
pub(super) fn scattered(held: Tensor, values: &TensorProto, indices: &TensorProto, dims: &[i64]) -> Result<Tensor, String> {
    let shape: Option<Vec<usize>> = dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let shape = shape.ok_or_else(|| format!("its shape is {dims:?}"))?;
    let most = SPARSE_ELEMENTS.0.saturating_add(held.elements.saturating_mul(SPARSE_ELEMENTS.1));
    let product = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d.max(1))).filter(|&n| n <= most);
    if product.is_none() {
        return Err(format!("its shape {shape:?} is beyond any memory"));
    }
    let elements: usize = shape.iter().product();
    let numbers: Vec<i64> = if indices.raw_data.is_empty() {
        indices.int64_data.clone()
    } else {
        indices.raw_data.chunks_exact(8).map(|b| b.iter().rev().fold(0_u64, |n, &byte| n << 8 | u64::from(byte)) as i64).collect()
    };
    if indices.data_type != 7 || indices.data_location.value() == 1 || values.dims.len() != 1 {
        return Err("its indices are not told in numbers of 64 bits".to_owned());
    }
    let depth = match indices.dims.len() {
        1 => 1,
        2 => shape.len(),
        _ => return Err(format!("its indices have {} dimensions", indices.dims.len())),
    };
    if numbers.len() != held.elements.saturating_mul(depth) {
        return Err(format!("{} elements have {} indices", held.elements, numbers.len()));
    }
    let place = |index: &[i64]| -> Option<usize> {
        if indices.dims.len() == 1 {
            return usize::try_from(index[0]).ok().filter(|&i| i < elements);
        }
        index.iter().zip(&shape).try_fold(0, |at, (&i, &d)| Some(at * d + usize::try_from(i).ok().filter(|&i| i < d)?))
    };
    let places: Option<Vec<usize>> = numbers.chunks_exact(depth.max(1)).map(place).collect();
    let Some(places) = places.filter(|places| places.len() == held.elements) else {
        return Err(format!("an index lies outside of {shape:?}"));
    };
    let (name, scope, dtype, source) = (held.name.clone(), held.scope, held.dtype, held.source);
    let decoded = Some(Decoded::Sparse(Arc::new((held, places))));
    Ok(Tensor { name, scope, dtype, shape, elements, source, span: None, is_initializer: true, decoded })
}

/// What the typed fields hold, where the data is not plain bytes.
pub(super) fn decode(proto: &TensorProto, dtype: Dtype) -> Option<Decoded> {
    match dtype {
        Dtype::I64 => Some(Decoded::Ints(proto.int64_data.as_slice().into())),
        Dtype::U32 | Dtype::U64 => Some(Decoded::Ints(proto.uint64_data.iter().map(|&v| v as i64).collect())),
        Dtype::I32 | Dtype::I8 | Dtype::U8 | Dtype::Bool | Dtype::U16 | Dtype::I16 => {
            Some(Decoded::Ints(proto.int32_data.iter().map(|&v| i64::from(v)).collect()))
        }
        Dtype::F16 => Some(Decoded::Floats(proto.int32_data.iter().map(|&v| half::f16::from_bits(v as u16).to_f32()).collect())),
        Dtype::Bf16 => Some(Decoded::Floats(proto.int32_data.iter().map(|&v| half::bf16::from_bits(v as u16).to_f32()).collect())),
        _ => None,
    }
}

pub(super) fn elements_in_fields(proto: &TensorProto, dtype: Dtype) -> usize {
    match dtype {
        Dtype::F32 => proto.float_data.len(),
        Dtype::F64 => proto.double_data.len(),
        Dtype::U32 | Dtype::U64 => proto.uint64_data.len(),
        _ => proto.int32_data.len(),
    }
}
