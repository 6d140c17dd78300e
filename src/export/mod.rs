//! Pruned models in the formats that others read, and the table of figures.

mod burn;
mod safetensors;
mod table;
mod tensors;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(crate) use table::optional;
pub use table::{amount_field, csv, effect_fields, effects, table};
use tensors::bias_name;
pub use tensors::{Changes, Form, Masks, ParameterMasks};

use crate::atomic::{Overwrite, WriteError};
use crate::graph::Graph;
use crate::onnx::{self, Change, Edit, NewBias, OnnxFile, OpenError, SaveError, Saved, TensorId};
use crate::prune::AddedBiases;

/// A file format to save as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The opened file with pruned elements zeroed.
    Onnx,
    /// PyTorch's names.
    Safetensors(Form),
    /// Burn's weight file, with Burn's names.
    Burnpack,
    /// Rust source for Burn, with its weight file beside it.
    RustSource,
}

impl Format {
    /// The format that a file's extension names: `.onnx`, `.safetensors`, `.bpk`, `.rs`.
    ///
    /// # Errors
    /// [`ExportError::Extension`] names the ones there are.
    pub fn from_path(path: &Path) -> Result<Self, ExportError> {
        match path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("onnx") => Ok(Self::Onnx),
            Some("safetensors") => Ok(Self::Safetensors(Form::Fixed)),
            Some("bpk") => Ok(Self::Burnpack),
            Some("rs") => Ok(Self::RustSource),
            _ => Err(ExportError::Extension { path: path.to_owned() }),
        }
    }

    /// Extension of its files, without the dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Safetensors(_) => "safetensors",
            Self::Burnpack => "bpk",
            Self::RustSource => "rs",
        }
    }
}

/// What was written, as read back.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Every file, the one that was asked for first.
    pub files: Vec<PathBuf>,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Zeros in the model's parameters, counted in what was read back.
    pub zeros: u64,
    /// Elements of the model's parameters.
    pub elements: u64,
    /// What could not be pruned because it cannot be read, with the reason: in a copy it is as it was, in weight files it is not.
    pub left: Vec<String>,
}

impl Report {
    /// Zeros / elements, 0..=1.
    #[must_use]
    pub fn sparsity(&self) -> f64 {
        if self.elements == 0 { 0.0 } else { self.zeros as f64 / self.elements as f64 }
    }
}

/// Why a model could not be saved; what was on disk before is untouched.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The name does not tell the format.
    #[error("the name must end in .onnx, .safetensors, .bpk or .rs: {}", path.display())]
    Extension {
        /// The name.
        path: PathBuf,
    },
    /// The disk refused.
    #[error(transparent)]
    Write(WriteError),
    /// The ONNX copy failed.
    #[error(transparent)]
    Onnx(#[from] SaveError),
    /// What was read back is not what was written.
    #[error("nothing was changed: reading back what was written gave something else ({reason}); the disk may be failing: {}", path.display())]
    Differs {
        /// What differs, or could not be read.
        reason: String,
        /// Which file.
        path: PathBuf,
    },
    /// The opened model's own data can no longer be read.
    #[error("nothing was written: {0}")]
    Source(#[from] OpenError),
    /// A weight format cannot hold this model.
    #[error("cannot save as {format}: {reason}")]
    Encode {
        /// Which format.
        format: &'static str,
        /// Why.
        reason: String,
    },
    /// Burn's importer does not know this model.
    #[error("Burn's importer cannot turn this model into Rust source: {reason}; save the weights alone as .bpk or .safetensors")]
    RustSource {
        /// What it said.
        reason: String,
    },
}

impl From<WriteError> for ExportError {
    fn from(error: WriteError) -> Self {
        match error.into_cause() {
            Ok(cause) => Self::Source(cause),
            Err(error) => Self::Write(error),
        }
    }
}

/// Saves `file` with `changes` to `path`.
///
/// # Errors
/// [`ExportError`]; a file that was there before is whole.
pub fn save(
    file: &OnnxFile,
    graph: &Graph,
    changes: &Changes,
    format: Format,
    path: &Path,
    overwrite: Overwrite,
) -> Result<Report, ExportError> {
    let report = match format {
        Format::Onnx => {
            let saved = onnx::write_with(file, &edits(file, graph, changes), &new_biases(graph, &changes.biases), path, overwrite)?;
            let zeros = zeros_of(graph, &saved);
            Report { files: saved.files, bytes: saved.bytes, zeros, elements: graph.elements() as u64, left: Vec::new() }
        }
        Format::Safetensors(form) => safetensors::save(file, graph, changes, form, path, overwrite)?,
        Format::Burnpack => burn::save_pack(file, graph, changes, path, overwrite)?,
        Format::RustSource => burn::save_source(file, graph, changes, path, overwrite)?,
    };
    let faulty = file.tensors.iter().filter_map(|tensor| Some(format!("“{}”: {}", tensor.name, tensor.fault.as_ref()?)));
    Ok(Report { left: faulty.collect(), ..report })
}

/// What becomes of the file's tensors.
fn edits(file: &OnnxFile, graph: &Graph, changes: &Changes) -> Vec<Edit> {
    let masks: BTreeMap<TensorId, &ParameterMasks> = changes.masks.iter().map(|(id, masks)| (graph.parameter(*id).tensor, masks)).collect();
    let zeros = masks.iter().filter(|(id, _)| !changes.values.contains_key(id));
    let zeros = zeros.map(|(&tensor, masks)| Edit { tensor, change: Change::Zeros(masks.zeroed().into_words()) });
    let others = changes.values.iter().map(|(&id, values)| {
        let dtype = file.tensor(id).dtype;
        let mut bytes = values.to_bytes(dtype);
        if let Some(masks) = masks.get(&id) {
            masks.zeroed().apply_to_bytes(&mut bytes, dtype.size().unwrap_or(1));
        }
        Edit { tensor: id, change: Change::Bytes(bytes) }
    });
    zeros.chain(others).collect()
}

/// What is added to the file.
pub(crate) fn new_biases(graph: &Graph, biases: &AddedBiases) -> Vec<NewBias> {
    let one = |(&id, bias): (&_, &crate::prune::AddedBias)| {
        let dtype = graph.parameter(id).dtype;
        let outputs = bias.outputs.iter().map(|value| graph.values[value.0].clone()).collect();
        NewBias { name: bias_name(graph, id), dtype, bytes: bias.values.to_bytes(dtype), outputs }
    };
    biases.iter().map(one).collect()
}

/// Zeros of the model's parameters in a copy.
fn zeros_of(graph: &Graph, saved: &Saved) -> u64 {
    graph.parameters.iter().map(|p| saved.zeros[p.tensor.0]).sum()
}
