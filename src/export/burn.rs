//! Burn: a weight file with Burn's names, or Rust source with its weights through Burn's importer.

use std::path::Path;

use burn_import::{LoadStrategy, ModelGen};
use burn_pack::{Bytes, DType, Reader, Tensor, Writer};

use super::tensors::{Convention, Masks, count_zeros, named, zeros_in};
use super::{ExportError, Report};
use crate::atomic::{self, Overwrite, WriteError};
use crate::graph::Graph;
use crate::onnx::{self, Dtype, OnnxFile, Zeros};
use crate::panics;

pub(super) fn save_pack(file: &OnnxFile, graph: &Graph, masks: &Masks, path: &Path, overwrite: Overwrite) -> Result<Report, ExportError> {
    let encode = |reason: String| ExportError::Encode { format: "burnpack", reason };
    let differs = |reason: String| ExportError::ReadBack { reason, path: path.to_owned() };
    let tensors = named(file, graph, masks, Convention::Burn)?;
    let names: Vec<String> = tensors.iter().take(graph.parameters.len()).map(|t| t.name.clone()).collect();
    let tensors = tensors
        .into_iter()
        .enumerate()
        .map(|(i, t)| Tensor::new(t.name, dtype(t.dtype), t.shape, Some(i as u64), Bytes::from_bytes_vec(t.bytes)))
        .collect();
    let bytes = Writer::new(tensors).with_metadata("producer", "secateur").into_bytes().map_err(|e| encode(e.to_string()))?;
    atomic::write(path, overwrite, |out| out.write_all(&bytes))?;
    let reader = Reader::from_file(path).map_err(|e| differs(e.to_string()))?;
    let mut zeros = 0;
    for (parameter, name) in graph.parameters.iter().filter(|p| p.dtype.is_float()).zip(names) {
        zeros += zeros_in(parameter.dtype, &reader.tensor_data(&name).map_err(|e| differs(e.to_string()))?);
    }
    Ok(Report { files: vec![path.to_owned()], bytes: bytes.len() as u64, zeros, elements: graph.elements() as u64 })
}

/// Runs the importer in a folder of its own on the pruned model, then moves what it wrote to where it was asked for.
pub(super) fn save_source(
    file: &OnnxFile,
    graph: &Graph,
    zeros: &[Zeros],
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
    onnx::write(file, zeros, &input, Overwrite::Refuse)?;
    generate(&input, folder.path())?;
    let source = std::fs::read_to_string(input.with_extension("rs")).map_err(io)?;
    let pack = std::fs::read(input.with_extension("bpk")).map_err(io)?;
    // The importer writes down where it ran; the weights lie beside the source.
    let source = source.replace(&format!("{}/", folder.path().display()), "");
    atomic::commit(vec![
        atomic::stage(&weights, overwrite, |out| out.write_all(&pack))?,
        atomic::stage(path, overwrite, |out| out.write_all(source.as_bytes()))?,
    ])?;
    let reader = Reader::from_file(&weights).map_err(|e| ExportError::ReadBack { reason: e.to_string(), path: weights.clone() })?;
    drop(reader);
    let (zeros, elements) = OnnxFile::open(&input).and_then(|again| count_zeros(&again, graph)).map_err(onnx::SaveError::from)?;
    Ok(Report { bytes: (source.len() + pack.len()) as u64, files: vec![path.to_owned(), weights], zeros, elements })
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
