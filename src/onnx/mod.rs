//! The opened ONNX file: what it holds, where the bytes of every tensor lie, and how it is written back.
//!
//! The file is untrusted: every count, length, offset and path in it is checked here, once. What a network of those tensors
//! and nodes means is left to [`crate::graph`].

mod body;
mod dtype;
mod error;
mod external;
mod index;
mod sources;
mod tensor;
mod way;
mod wire;
mod write;

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use onnx_ir::{Message, ModelProto};

pub use dtype::Dtype;
pub use error::OpenError;
pub(crate) use index::{holder, within};
pub use sources::Source;
pub use tensor::{Tensor, TensorId, Values};
pub(crate) use way::{Step, Way};
pub use wire::Span;
pub use write::{SaveError, Saved, Zeros, write};

use body::Body;
use external::External;
use index::Index;
use sources::Sources;

/// A model file larger than this cannot be protobuf (its limit is 2 GiB); larger weights are external.
const MAX_MODEL_BYTES: u64 = i32::MAX as u64;

/// A larger file is not held in memory once it is parsed: its weights are most of it, and there are copies enough of them.
const MAX_HELD_BYTES: u64 = 1 << 26;

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
    /// Every tensor: initializers first, in the file's order, then those that nodes hold.
    pub tensors: Vec<Tensor>,
    sources: Arc<Sources>,
    model: ModelProto,
    by_name: HashMap<String, TensorId>,
    by_way: HashMap<Way, TensorId>,
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
        let bytes = Bytes::from(bytes);
        let body = match metadata.len() {
            0..=MAX_HELD_BYTES => Body::Memory(bytes.clone()),
            _ => Body::Disk(External::own(path, file).map_err(read)?),
        };
        Self::parse(path, &bytes, body)
    }

    fn parse(path: &Path, bytes: &Bytes, body: Body) -> Result<Self, OpenError> {
        let not_onnx = |reason: String| OpenError::NotOnnx { reason, path: path.to_owned() };
        if bytes.is_empty() {
            return Err(not_onnx("it is empty".into()));
        }
        let mut model = ModelProto::parse_from_tokio_bytes(bytes).map_err(|e| not_onnx(e.to_string()))?;
        if model.graph.is_none() || model.opset_import.is_empty() {
            return Err(not_onnx("it has no graph".into()));
        }
        let opset =
            model.opset_import.iter().filter(|o| o.domain.is_empty() || o.domain == "ai.onnx").map(|o| o.version).max().unwrap_or(0);
        let producer = [model.producer_name.as_str(), model.producer_version.as_str()].join(" ").trim().to_owned();
        let mut index = Index::new(path, bytes.len(), way::locate(bytes).map_err(|_| not_onnx("its structure is broken".into()))?);
        index.fill(&model)?;
        // The tensors are indexed; the nodes are kept.
        body::detach(&mut model);
        let Index { tensors, by_name, by_way, files, .. } = index;
        let sources = Arc::new(Sources { body, external: files.into_list() });
        Ok(Self { path: path.to_owned(), producer, opset, tensors, sources, model, by_name, by_way })
    }

    /// The tensor of this id.
    #[must_use]
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.0]
    }

    /// The initializer or Constant node's output of this name in the main graph.
    #[must_use]
    pub fn tensor_named(&self, name: &str) -> Option<TensorId> {
        self.by_name.get(name).copied()
    }

    /// Whether a tensor is an initializer of the graph or of one that a node holds; otherwise it lies in a node's attribute.
    #[must_use]
    pub fn is_initializer(&self, id: TensorId) -> bool {
        self.tensor(id).is_initializer
    }

    /// The tensor that stands there.
    pub(crate) fn tensor_at(&self, way: &Way) -> Option<TensorId> {
        self.by_way.get(way).copied()
    }

    /// The model as parsed, without its tensors.
    pub(crate) fn model(&self) -> &ModelProto {
        &self.model
    }

    /// Bytes of the model and of its external data, together.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.sources.len()
    }

    /// The bytes of a tensor in its own type, little-endian; `None` where its elements are no whole bytes.
    ///
    /// # Errors
    /// As [`Self::float_bytes`].
    pub fn bytes(&self, id: TensorId) -> Result<Option<Vec<u8>>, OpenError> {
        self.tensor(id).bytes(&self.sources)
    }

    /// The bytes of a floating tensor in its own type, little-endian, however the file encodes them; `None` for other types.
    ///
    /// # Errors
    /// External data that changed since the model was opened, or that the disk does not give.
    pub fn float_bytes(&self, id: TensorId) -> Result<Option<Vec<u8>>, OpenError> {
        self.tensor(id).float_bytes(&self.sources)
    }

    /// The elements of a floating tensor; `None` for other types.
    ///
    /// # Errors
    /// External data that changed since the model was opened, or that the disk does not give.
    pub fn floats(&self, id: TensorId) -> Result<Option<Values>, OpenError> {
        self.tensor(id).floats(&self.sources)
    }

    /// The elements of an integer or bool tensor; `None` for other types.
    ///
    /// # Errors
    /// External data that changed since the model was opened, or that the disk does not give.
    pub fn ints(&self, id: TensorId) -> Result<Option<Vec<i64>>, OpenError> {
        self.tensor(id).ints(&self.sources)
    }
}
