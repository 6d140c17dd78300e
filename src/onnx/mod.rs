//! The opened ONNX file: what it holds, where the bytes of every tensor lie, and how it is written back.
//!
//! The file is untrusted: every count, length, offset and path in it is checked here, once. What a network of those tensors
//! and nodes means is left to [`crate::graph`].

mod body;
mod dtype;
mod external;
mod wire;
mod write;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use onnx_ir::{Message, ModelProto, NodeProto, TensorProto};

pub use dtype::Dtype;
pub use wire::Span;
pub use write::{SaveError, Saved, Zeros, write};

use body::Body;
use external::External;

/// A model file larger than this cannot be protobuf (its limit is 2 GiB); larger weights are external.
const MAX_MODEL_BYTES: u64 = i32::MAX as u64;

/// A larger file is not held in memory once it is parsed: its weights are most of it, and there are copies enough of them.
const MAX_HELD_BYTES: u64 = 1 << 26;

/// Product of the other dimensions of a tensor without elements: nothing holds them to the bytes that are there.
const MAX_EMPTY: usize = 1 << 31;

/// Index of a tensor in [`OnnxFile::tensors`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorId(pub usize);

/// Why a file could not be opened. Nothing that was open before is touched.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file, or one that it refers to, could not be read.
    #[error("cannot read the file: {source}: {}", path.display())]
    Read {
        /// What the system said.
        source: std::io::Error,
        /// Which file.
        path: PathBuf,
    },
    /// Too large to be a protobuf message.
    #[error("the file is larger than 2 GiB, the most an ONNX file can be; larger weights belong into an external data file: {}", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// The bytes are not an ONNX model.
    #[error("this is not a whole ONNX file ({reason}); if it was copied or downloaded, fetch it again: {}", path.display())]
    NotOnnx {
        /// What is wrong with the bytes.
        reason: String,
        /// Which file.
        path: PathBuf,
    },
    /// A tensor's data and its shape disagree.
    #[error("the tensor “{tensor}” is damaged: {reason}: {}", path.display())]
    BadTensor {
        /// Name of the tensor.
        tensor: String,
        /// What disagrees.
        reason: String,
        /// Which file.
        path: PathBuf,
    },
    /// The file with the weights is not beside the model.
    #[error("the weights of this model lie in “{location}”, which is not beside it; put both files into one folder: {}", path.display())]
    ExternalMissing {
        /// The name that the model gives.
        location: String,
        /// The model file.
        path: PathBuf,
    },
    /// The model points outside its own folder.
    #[error("the model refers to “{location}”, outside its own folder; such a file is not opened: {}", path.display())]
    ExternalEscapes {
        /// The name that the model gives.
        location: String,
        /// The model file.
        path: PathBuf,
    },
    /// The external file is shorter than the model says.
    #[error("the tensor “{tensor}” should lie in bytes {offset} to {end} of “{location}”, which has only {length}; fetch that file again: {}", path.display())]
    ExternalTruncated {
        /// Name of the tensor.
        tensor: String,
        /// The name of the data file.
        location: String,
        /// First byte.
        offset: u64,
        /// One past the last byte.
        end: u64,
        /// Length of the data file in bytes.
        length: u64,
        /// The model file.
        path: PathBuf,
    },
    /// Somebody wrote to the model or to a data file while the model was open.
    #[error("“{location}” was changed after this model was opened, so its weights are no longer known; open the model again: {}", path.display())]
    Changed {
        /// The name that the model gives, or the model's own.
        location: String,
        /// The data file, or the model.
        path: PathBuf,
    },
}

/// Which of the opened files a tensor's bytes lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The `.onnx` file.
    Model,
    /// Number in the list of external data files.
    External(usize),
}

/// One tensor of the file: an initializer, or a tensor in a node's attribute.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// The initializer's name, or the name of a Constant node's output.
    pub name: String,
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
    /// The content as parsed, where it is not plain bytes (integers in `int64_data` and the like).
    decoded: Option<Decoded>,
}

#[derive(Debug, Clone)]
enum Decoded {
    Ints(Arc<[i64]>),
    Floats(Arc<[f32]>),
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

/// An opened ONNX file. Weights of large files, and external data, stay on disk and are read when they are asked for; they must
/// not change meanwhile, and when they did, reading says so.
#[derive(Debug)]
pub struct OnnxFile {
    /// Where it was opened.
    pub path: PathBuf,
    /// Exporter and its version, as the file says; may be empty.
    pub producer: String,
    /// Version of the default operator set.
    pub opset: i64,
    /// Every tensor: initializers first, in the file's order, then those in node attributes.
    pub tensors: Vec<Tensor>,
    body: Body,
    external: Vec<External>,
    /// The first tensors are the initializers.
    num_initializers: usize,
    model: ModelProto,
    by_name: HashMap<String, TensorId>,
    by_attribute: HashMap<(usize, usize), TensorId>,
}

impl OnnxFile {
    /// Reads and checks `path`, and opens every external data file that it names.
    ///
    /// # Errors
    /// [`OpenError`] tells what is missing or damaged.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let read = |source| OpenError::Read { source, path: path.to_owned() };
        let metadata = std::fs::metadata(path).map_err(read)?;
        // A pipe or a device has no length, and reading it might never end.
        if !metadata.is_file() {
            return Err(read(std::io::Error::other("not a regular file")));
        }
        if metadata.len() > MAX_MODEL_BYTES {
            return Err(OpenError::TooLarge { path: path.to_owned() });
        }
        let file = File::open(path).map_err(read)?;
        let mut bytes = Vec::with_capacity(metadata.len() as usize);
        (&file).take(metadata.len()).read_to_end(&mut bytes).map_err(read)?;
        let mut opened = Self::parse(path, &Bytes::from(bytes))?;
        if metadata.len() > MAX_HELD_BYTES {
            opened.body = Body::Disk(External::own(path, file).map_err(read)?);
        }
        Ok(opened)
    }

    fn parse(path: &Path, bytes: &Bytes) -> Result<Self, OpenError> {
        let not_onnx = |reason: String| OpenError::NotOnnx { reason, path: path.to_owned() };
        if bytes.is_empty() {
            return Err(not_onnx("it is empty".into()));
        }
        let mut model = ModelProto::parse_from_tokio_bytes(bytes).map_err(|e| not_onnx(e.to_string()))?;
        if model.graph.is_none() || model.opset_import.is_empty() {
            return Err(not_onnx("it has no graph".into()));
        }
        let found = wire::locate(bytes).map_err(|_| not_onnx("its structure is broken".into()))?;
        let opset =
            model.opset_import.iter().filter(|o| o.domain.is_empty() || o.domain == "ai.onnx").map(|o| o.version).max().unwrap_or(0);
        let producer = [model.producer_name.as_str(), model.producer_version.as_str()].join(" ").trim().to_owned();
        let mut file = Self {
            path: path.to_owned(),
            producer,
            opset,
            tensors: Vec::new(),
            body: Body::Memory(bytes.clone()),
            external: Vec::new(),
            num_initializers: model.graph.initializer.len(),
            by_name: HashMap::new(),
            by_attribute: HashMap::new(),
            model: ModelProto::new(),
        };
        file.index(&model, &found)?;
        // The tensors are indexed; the nodes are kept.
        body::detach(&mut model);
        file.model = model;
        Ok(file)
    }

    /// Fills `tensors`, joining what was parsed with where it was found. Both lists are in the file's order.
    fn index(&mut self, model: &ModelProto, found: &[wire::Found]) -> Result<(), OpenError> {
        let mut initializer_spans = found.iter().filter(|f| f.owner == wire::Owner::Initializer).map(|f| f.data);
        let mut attribute_spans = HashMap::new();
        for f in found {
            if let wire::Owner::Attribute { node, attribute } = f.owner {
                // A tensor that is given twice in one attribute is merged by the parser: not to be patched.
                attribute_spans.entry((node, attribute)).and_modify(|span| *span = None).or_insert(f.data);
            }
        }
        let mut files = external::Files::new(&self.path);
        for proto in &model.graph.initializer {
            let span = initializer_spans.next().flatten();
            let id = self.add(&proto.name, proto, span, &mut files)?;
            self.by_name.entry(proto.name.clone()).or_insert(id);
        }
        for (n, node) in model.graph.node.iter().enumerate() {
            for (a, attribute) in node.attribute.iter().enumerate() {
                let Some(proto) = attribute.t.as_ref() else { continue };
                let name = node.output.first().map_or(node.name.as_str(), String::as_str);
                let span = attribute_spans.get(&(n, a)).copied().flatten();
                let id = self.add(name, proto, span, &mut files)?;
                self.by_attribute.insert((n, a), id);
                if node.op_type == "Constant" {
                    self.by_name.entry(name.to_owned()).or_insert(id);
                }
            }
        }
        self.external = files.into_list();
        Ok(())
    }

    fn add(&mut self, name: &str, proto: &TensorProto, span: Option<Span>, files: &mut external::Files) -> Result<TensorId, OpenError> {
        let bad = |reason: String| OpenError::BadTensor { tensor: name.to_owned(), reason, path: self.path.clone() };
        let dtype = Dtype::from_code(proto.data_type);
        let shape: Vec<usize> =
            proto.dims.iter().map(|&d| usize::try_from(d).map_err(|_| bad(format!("dimension {d}")))).collect::<Result<_, _>>()?;
        let elements = shape
            .iter()
            .try_fold(1_usize, |n, &d| n.checked_mul(d))
            .filter(|&n| n > 0 || shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d.max(1))).is_some_and(|n| n <= MAX_EMPTY))
            .ok_or_else(|| bad(format!("its shape {shape:?} is beyond any memory")))?;
        let mut tensor = Tensor { name: name.to_owned(), dtype, shape, elements, source: Source::Model, span, decoded: None };
        let too_large = || bad(format!("its shape {:?} is beyond any memory", proto.dims));
        let wanted = dtype.size().map(|size| elements.checked_mul(size).ok_or_else(too_large)).transpose()?;
        // Elements of no whole bytes are at most eight to a byte of the file.
        if wanted.is_none() && elements / 8 > self.body.len() {
            return Err(too_large());
        }
        if proto.data_location.value() == 1 {
            let Some(wanted) = wanted else { return Err(bad(format!("external data of {dtype}"))) };
            let entries: Vec<(&str, &str)> = proto.external_data.iter().map(|e| (e.key.as_str(), e.value.as_str())).collect();
            let place = files.place(name, &entries, wanted)?;
            tensor.source = Source::External(place.file);
            tensor.span = Some(Span::Raw { offset: place.offset, length: wanted });
        } else if let Some(Span::Raw { length, .. }) = span {
            if let Some(wanted) = wanted.filter(|&wanted| wanted != length) {
                return Err(bad(format!("{wanted} bytes expected for its shape {:?}, {length} found", tensor.shape)));
            }
        } else {
            tensor.decoded = decode(proto, dtype);
            let have = match (&tensor.decoded, span) {
                (Some(Decoded::Ints(v)), _) => v.len(),
                (Some(Decoded::Floats(v)), _) => v.len(),
                (None, Some(Span::Fixed { elements, .. })) => elements,
                (None, _) => elements_in_fields(proto, dtype),
            };
            if have != elements && wanted.is_some() {
                return Err(bad(format!("{elements} elements expected for its shape {:?}, {have} found", tensor.shape)));
            }
        }
        // The raw span of a type that is not plain numbers is of no use to anyone.
        if dtype.size().is_none() {
            tensor.span = None;
        }
        self.tensors.push(tensor);
        Ok(TensorId(self.tensors.len() - 1))
    }

    /// The tensor of this id.
    #[must_use]
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.0]
    }

    /// The initializer or Constant node's output of this name.
    #[must_use]
    pub fn tensor_named(&self, name: &str) -> Option<TensorId> {
        self.by_name.get(name).copied()
    }

    /// Whether a tensor is one of the graph's initializers; otherwise it lies in a node's attribute.
    #[must_use]
    pub fn is_initializer(&self, id: TensorId) -> bool {
        id.0 < self.num_initializers
    }

    /// The tensor in attribute number `attribute` of node number `node`.
    #[must_use]
    pub fn tensor_in_attribute(&self, node: usize, attribute: usize) -> Option<TensorId> {
        self.by_attribute.get(&(node, attribute)).copied()
    }

    /// The nodes of the main graph, in the file's order.
    #[must_use]
    pub fn nodes(&self) -> &[NodeProto] {
        &self.model.graph.node
    }

    /// The file's graph as parsed, without its initializers.
    pub(crate) fn graph(&self) -> &onnx_ir::GraphProto {
        &self.model.graph
    }

    /// Bytes of the model and of its external data, together.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.body.len() as u64 + self.external.iter().map(External::len).sum::<u64>()
    }

    /// The files that make up this model: its own name, then the external data files, relative to its folder.
    #[must_use]
    pub fn external_locations(&self) -> Vec<&str> {
        self.external.iter().map(|e| e.location.as_str()).collect()
    }

    /// `length` bytes from `offset`: borrowed from the model, or read from external data.
    fn range(&self, source: Source, offset: usize, length: usize) -> Result<Cow<'_, [u8]>, OpenError> {
        match source {
            Source::Model => self.body.range(offset, length),
            Source::External(i) => {
                let mut out = vec![0; length];
                self.external[i].read(offset as u64, &mut out)?;
                Ok(Cow::Owned(out))
            }
        }
    }

    /// The plain bytes of a tensor, little-endian, where it has such.
    fn raw(&self, id: TensorId) -> Result<Option<Cow<'_, [u8]>>, OpenError> {
        let tensor = self.tensor(id);
        let Some(size) = tensor.dtype.size() else { return Ok(None) };
        match tensor.span {
            Some(Span::Raw { offset, length }) => self.range(tensor.source, offset, length).map(Some),
            Some(Span::Fixed { offset, stride, elements }) if stride == size => {
                self.range(tensor.source, offset, stride * elements).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The bytes of a tensor in its own type, little-endian; `None` where its elements are no whole bytes.
    ///
    /// # Errors
    /// As [`Self::float_bytes`].
    pub fn bytes(&self, id: TensorId) -> Result<Option<Vec<u8>>, OpenError> {
        match self.float_bytes(id)? {
            None => Ok(self.raw(id)?.map(Cow::into_owned)),
            bytes => Ok(bytes),
        }
    }

    /// The bytes of a floating tensor in its own type, little-endian, however the file encodes them; `None` for other types.
    ///
    /// # Errors
    /// External data that changed since the model was opened, or that the disk does not give.
    pub fn float_bytes(&self, id: TensorId) -> Result<Option<Vec<u8>>, OpenError> {
        let dtype = self.tensor(id).dtype;
        if !dtype.is_float() {
            return Ok(None);
        }
        if let Some(raw) = self.raw(id)? {
            return Ok(Some(raw.into_owned()));
        }
        Ok(self.floats(id)?.map(|values| match values {
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
    pub fn floats(&self, id: TensorId) -> Result<Option<Values>, OpenError> {
        let tensor = self.tensor(id);
        if !tensor.dtype.is_float() {
            return Ok(None);
        }
        if let Some(Decoded::Floats(values)) = &tensor.decoded {
            return Ok(Some(Values::F32(values.to_vec())));
        }
        let (offset, stride) = match (tensor.span, tensor.dtype.size()) {
            (Some(Span::Raw { offset, .. }), Some(size)) => (offset, size),
            (Some(Span::Fixed { offset, stride, .. }), _) => (offset, stride),
            _ => return Ok((tensor.elements == 0).then(|| Values::F32(Vec::new()))),
        };
        let mut values = match tensor.dtype {
            Dtype::F64 => Values::F64(Vec::with_capacity(tensor.elements)),
            _ => Values::F32(Vec::with_capacity(tensor.elements)),
        };
        // Piece by piece: only the numbers are ever there as a whole, not their bytes beside them.
        let pieces = match tensor.source {
            Source::Model if self.body.is_held() => tensor.elements.max(1),
            _ => PIECE_ELEMENTS,
        };
        for first in (0..tensor.elements).step_by(pieces) {
            let count = pieces.min(tensor.elements - first);
            // The last element of a packed list may have nothing behind it.
            let length = stride * (count - 1) + tensor.dtype.size().unwrap_or(stride);
            append(&mut values, tensor.dtype, &self.range(tensor.source, offset + first * stride, length)?, stride);
        }
        Ok(Some(values))
    }

    /// The elements of an integer or bool tensor; `None` for other types.
    ///
    /// # Errors
    /// External data that changed since the model was opened, or that the disk does not give.
    pub fn ints(&self, id: TensorId) -> Result<Option<Vec<i64>>, OpenError> {
        let tensor = self.tensor(id);
        if let Some(Decoded::Ints(values)) = &tensor.decoded {
            return Ok(Some(values.to_vec()));
        }
        if tensor.elements == 0 {
            return Ok(Some(Vec::new()));
        }
        let Some(bytes) = self.raw(id)? else { return Ok(None) };
        Ok(Some(match tensor.dtype {
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

/// What the typed fields hold, where the data is not plain bytes.
fn decode(proto: &TensorProto, dtype: Dtype) -> Option<Decoded> {
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

fn elements_in_fields(proto: &TensorProto, dtype: Dtype) -> usize {
    match dtype {
        Dtype::F32 => proto.float_data.len(),
        Dtype::F64 => proto.double_data.len(),
        Dtype::U32 | Dtype::U64 => proto.uint64_data.len(),
        _ => proto.int32_data.len(),
    }
}
