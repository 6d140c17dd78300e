//! Burn: a weight file with Burn's names, or Rust source with its weights through Burn's importer.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use burn_import::{LoadStrategy, ModelGen};
use burn_pack::{Bytes, DType, Reader, Tensor, Writer};

use super::tensors::{Changes, Convention, NamedTensor, entries, verify};
use super::{ExportError, Report};
use crate::atomic::{self, Overwrite, WriteError};
use crate::graph::Graph;
use crate::onnx::{self, Dtype, OnnxFile, OpenError};
use crate::panics;

pub(super) fn save_pack(
    file: &OnnxFile,
    graph: &Graph,
    changes: &Changes,
    path: &Path,
    overwrite: Overwrite,
) -> Result<Report, ExportError> {
    let entries = entries(file, graph, changes, Convention::Burn);
    // The writer asks for one tensor after the other; its own errors are text.
    let failure: Arc<Mutex<Option<OpenError>>> = Arc::default();
    let tensor = |(i, entry): (usize, &NamedTensor)| {
        let (made, failure) = (entry.clone(), failure.clone());
        let make = move || match made.make() {
            Ok(made) => Ok(Bytes::from_bytes_vec(made.bytes)),
            Err(error) => {
                let text = error.to_string();
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Err(burn_pack::Error::IoError(text))
            }
        };
        Tensor::deferred(entry.name.clone(), dtype(entry.dtype), entry.shape.clone(), Some(i as u64), entry.len(), make)
    };
    let writer = Writer::new(entries.iter().enumerate().map(tensor).collect()).with_metadata("producer", "secateur");
    let staged = atomic::stage_at(path, overwrite, |temporary| {
        writer.write_to_file_in_place(temporary).map_err(|e| match failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => io::Error::other(error),
            None => io::Error::other(e),
        })
    })?;
    let differs = |reason: String| ExportError::Differs { reason, path: path.to_owned() };
    let reader = Reader::from_file(staged.temporary_path()).map_err(|e| differs(e.to_string()))?;
    let zeros = verify(&entries, path, |entry| reader.tensor_data(&entry.name).map_err(|e| differs(e.to_string())))?;
    drop(reader);
    let bytes = staged.temporary_path().metadata().map_or(0, |m| m.len());
    atomic::commit(vec![staged])?;
    Ok(Report { files: vec![path.to_owned()], bytes, zeros, elements: graph.elements() as u64, left: Vec::new() })
}

/// Runs the importer in a folder of its own on the pruned model, then moves what it wrote to where it was asked for.
pub(super) fn save_source(
    file: &OnnxFile,
    graph: &Graph,
    changes: &Changes,
    path: &Path,
    overwrite: Overwrite,
) -> Result<Report, ExportError> {
    let io = |source| WriteError::Io { source, path: path.to_owned() };
    let weights = path.with_extension("bpk");
    for target in [path, &weights] {
        if overwrite == Overwrite::Refuse && target.exists() {
            return Err(WriteError::Exists { path: target.to_owned() }.into());
        }
    }
    let folder = tempfile::tempdir().map_err(io)?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let input = folder.path().join(format!("{stem}.onnx"));
    let edits = super::edits(file, graph, changes);
    let saved = onnx::write_with(file, &edits, &super::new_biases(graph, &changes.biases), &input, Overwrite::Refuse)?;
    generate(&input, folder.path())?;
    let source = std::fs::read_to_string(input.with_extension("rs")).map_err(io)?;
    // The importer writes down where it ran; the weights lie beside the source.
    let source = source.replace(&format!("{}/", folder.path().display()), "");
    let made = input.with_extension("bpk");
    let pack = atomic::stage(&weights, overwrite, |out| std::io::copy(&mut std::fs::File::open(&made)?, out).map(drop))?;
    Reader::from_file(pack.temporary_path()).map_err(|e| ExportError::Differs { reason: e.to_string(), path: weights.clone() })?;
    let bytes = source.len() as u64 + made.metadata().map_or(0, |m| m.len());
    atomic::commit(vec![pack, atomic::stage(path, overwrite, |out| out.write_all(source.as_bytes()))?])?;
    let zeros = super::zeros_of(graph, &saved);
    Ok(Report { bytes, files: vec![path.to_owned(), weights], zeros, elements: graph.elements() as u64, left: Vec::new() })
}

/// The importer panics on what it does not know.
fn generate(input: &Path, folder: &Path) -> Result<(), ExportError> {
    let run = || {
        ModelGen::default()
            .input(&input.to_string_lossy())
            .out_dir(&folder.to_string_lossy())
            .load_strategy(LoadStrategy::File)
            .run_from_cli();
    };
    // Nobody has heard of the file that it read.
    let preface = format!("Failed to parse ONNX file '{}': ", input.display());
    panics::caught(run).map_err(|text| ExportError::RustSource { reason: text.replace(&preface, "") })
}

fn dtype(dtype: Dtype) -> DType {
    match dtype {
        Dtype::F16 => DType::F16,
        Dtype::Bf16 => DType::BF16,
        Dtype::F64 => DType::F64,
        _ => DType::F32,
    }
}
