//! The opened ONNX file: what it holds, where the bytes of every tensor lie, and how it is written back.
//!
//! The file is untrusted: every count, length, offset and path in it is checked here, once. What a network of those tensors
//! and nodes means is left to [`crate::graph`].

mod body;
mod copy;
mod data_files;
mod dtype;
mod error;
mod external;
mod foreign;
mod index;
mod patch;
mod sharing;
mod sources;
mod sparse;
mod tensor;
mod values;
mod way;
mod wire;
mod write;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use onnx_ir::{Message, ModelProto};

pub use dtype::Dtype;
pub use error::{OpenError, SaveError, TensorFault};
pub(crate) use tensor::Stored;
pub use tensor::{Tensor, TensorId};
pub use values::Values;
pub(crate) use way::{Turn, Way, holder, within};
pub use wire::NewBias;
pub use write::{Change, Edit, Saved, add_biases, write, write_with};

use body::FileBytes;
use external::{External, Files};
use index::Index;
use sources::{SourceId, Sources};

/// A model file larger than this cannot be protobuf (its limit is 2 GiB); larger weights are external.
const MAX_MODEL_BYTES: u64 = i32::MAX as u64;

/// A larger file is not held in memory once it is parsed: its weights are most of it, and there are copies enough of them.
const MAX_HELD_BYTES: u64 = 1 << 26;

/// Where no data file can be opened, and so large a share of the floats lies in one, nothing is gained by opening the rest.
const MAX_MISSING: f64 = 0.9;

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
    /// Every tensor: the main graph's initializers first, in the file's order, then those in nodes, functions and training.
    pub tensors: Vec<Tensor>,
    sources: Arc<Sources>,
    model: ModelProto,
    by_name: HashMap<String, TensorId>,
    by_way: HashMap<Way, TensorId>,
    /// Names of data files that could not be opened.
    refused: Vec<String>,
}

impl OnnxFile {
    /// Reads and checks `path`, and opens every external data file that it names. A tensor that cannot be read says so in
    /// [`Tensor::fault`].
    ///
    /// # Errors
    /// [`OpenError`] tells what is missing or damaged.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_while(path, || {})
    }

    /// As [`Self::open`]; `meanwhile` runs when the file was read and is not yet known to be good.
    fn open_while(path: &Path, meanwhile: impl FnOnce()) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Read { source, path: path.to_owned() };
        let metadata = std::fs::metadata(path).map_err(failed)?;
        if metadata.is_dir() {
            return Err(foreign::folder(path));
        }
        // A pipe or a device has no length, and opening or reading it might never end.
        if !metadata.is_file() {
            return Err(failed(io::Error::other("not a regular file")));
        }
        let own = External::own(path).map_err(failed)?;
        let mut bytes = vec![0; own.len().min(MAX_MODEL_BYTES + 1) as usize];
        if own.len() > MAX_MODEL_BYTES {
            bytes.truncate(foreign::HEAD);
            own.read(0, &mut bytes)?;
            return Err(foreign::recognised(path, &bytes).unwrap_or_else(|| OpenError::TooLarge { path: path.to_owned() }));
        }
        own.read_while(0, &mut bytes, meanwhile)?;
        let bytes = Bytes::from(bytes);
        let body = if own.len() > MAX_HELD_BYTES { FileBytes::Disk(own) } else { FileBytes::Memory(bytes.clone()) };
        Self::parse(path, &bytes, body, Files::new(path))
    }

    fn parse(path: &Path, bytes: &Bytes, body: FileBytes, files: Files) -> Result<Self, OpenError> {
        let not_onnx =
            |reason: String| foreign::recognised(path, bytes).unwrap_or_else(|| OpenError::NotOnnx { reason, path: path.to_owned() });
        let broken = || not_onnx("its structure is broken".into());
        // What is malformed is told in the parser's words.
        let whole = wire::merged(bytes).ok().flatten().map_or_else(|| bytes.clone(), Bytes::from);
        let mut model = ModelProto::parse_from_tokio_bytes(&whole).map_err(|e| not_onnx(e.to_string()))?;
        if model.graph.is_none() || model.opset_import.is_empty() {
            return Err(not_onnx("it has no graph".into()));
        }
        let opset =
            model.opset_import.iter().filter(|o| o.domain.is_empty() || o.domain == "ai.onnx").map(|o| o.version).max().unwrap_or(0);
        let producer = [model.producer_name.as_str(), model.producer_version.as_str()].join(" ").trim().to_owned();
        let located = wire::locate(bytes).map_err(|_| broken())?;
        let Index { tensors, by_name, by_way, files, .. } = Index::of(files, bytes.len(), &model, located).map_err(|_| broken())?;
        check_weights(path, &tensors, files.list.is_empty())?;
        // The tensors are indexed; the nodes are kept.
        body::detach(&mut model);
        let refused = files.refused.into_iter().collect();
        let sources = Arc::new(Sources { body, external: files.list });
        Ok(Self { path: path.to_owned(), producer, opset, tensors, sources, model, by_name, by_way, refused })
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

    /// Whether exactly one node of the main graph writes a value of this name first, with this operator.
    #[must_use]
    pub fn writes_once(&self, op: &str, output: &str) -> bool {
        let mut writers = self.model.graph.node.iter().filter(|node| node.output.first().is_some_and(|name| name == output));
        matches!((writers.next(), writers.next()), (Some(node), None) if node.op_type == op)
    }

    /// The tensor that stands there.
    pub(crate) fn tensor_at(&self, way: &[Turn]) -> Option<TensorId> {
        self.by_way.get(way).copied()
    }

    /// The model as it is in the file, with the tensors that it holds.
    pub(crate) fn whole_model(&self) -> Result<ModelProto, OpenError> {
        let not_onnx = |reason: String| OpenError::NotOnnx { reason, path: self.path.clone() };
        let bytes = self.sources.body.range(0, self.sources.body.len())?;
        let merged = wire::merged(&bytes).map_err(|_| not_onnx("its structure is broken".into()))?;
        let bytes = merged.map_or_else(|| Bytes::copy_from_slice(&bytes), Bytes::from);
        ModelProto::parse_from_tokio_bytes(&bytes).map_err(|error| not_onnx(error.to_string()))
    }

    /// Where every tensor stands that is found by its way.
    pub(crate) fn ways(&self) -> impl Iterator<Item = (&Way, TensorId)> {
        self.by_way.iter().map(|(way, &id)| (way, id))
    }

    /// A model in memory with its external data, by the names that it has in the model, as if it had been opened at `path`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) fn of_bytes(path: &Path, bytes: Vec<u8>, data: Vec<(String, Vec<u8>)>) -> Result<Self, OpenError> {
        let bytes = Bytes::from(bytes);
        Self::parse(path, &bytes, FileBytes::Memory(bytes.clone()), Files::held(path, data))
    }

    /// How many files of external data there are.
    pub(crate) fn num_data_files(&self) -> usize {
        self.sources.external.len()
    }

    /// Number of the file of external data that a tensor lies in.
    pub(crate) fn data_file(&self, id: TensorId) -> Option<usize> {
        match self.tensor(id).source {
            SourceId::External(number) => Some(number),
            SourceId::Model => None,
        }
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

    /// A tensor's elements, to be read later.
    pub(crate) fn content(&self, id: TensorId) -> Stored {
        Stored { tensor: self.tensor(id).clone(), sources: self.sources.clone() }
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

/// Refuses a model of which there is nothing to prune because its weights cannot be read.
fn check_weights(path: &Path, tensors: &[Tensor], no_data: bool) -> Result<(), OpenError> {
    let floats = || tensors.iter().filter(|t| t.dtype.is_float());
    let Some((tensor, fault)) = floats().find_map(|t| Some((t, t.fault.clone()?))) else { return Ok(()) };
    let elements = |faulty: bool| floats().filter(|t| t.fault.is_some() == faulty).map(|t| t.elements as f64).sum::<f64>();
    let (bad, good) = (elements(true), elements(false));
    let is_forgotten = no_data && !matches!(fault, TensorFault::Damaged { .. }) && bad > MAX_MISSING * (bad + good);
    if good == 0.0 || is_forgotten {
        return Err(OpenError::Weights { tensor: tensor.name.clone(), fault, path: path.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_is_written_while_it_is_opened_is_told() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/operators/old.onnx");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        std::fs::copy(&model, &path).unwrap();
        OnnxFile::open_while(&path, || {}).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let error = OnnxFile::open_while(&path, || std::fs::write(&path, &bytes[1..]).unwrap()).unwrap_err();
        assert!(matches!(&error, OpenError::Changed { location, .. } if location == "model.onnx"), "{error}");
        // A file that takes the name of the one that is read is another matter.
        std::fs::write(&path, &bytes).unwrap();
        let replaced = || {
            std::fs::write(folder.path().join("new"), [0; 9]).unwrap();
            std::fs::rename(folder.path().join("new"), &path).unwrap();
        };
        OnnxFile::open_while(&path, replaced).unwrap();
    }
}
