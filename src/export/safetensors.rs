//! safetensors with PyTorch's names, for `load_file` and `load_state_dict`.
//!
//! The library's `serialize` holds all tensors and the file that they make in memory at once, and its `serialize_to_file` cannot
//! be told that a tensor's bytes are no longer to be had. So the header is made with its types, and the tensors follow one by
//! one.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;

use safetensors::tensor::{Dtype as FileDtype, Metadata, TensorInfo};

use super::tensors::{Changes, Convention, Form, NamedTensor, entries, verify};
use super::{ExportError, Report};
use crate::atomic::{self, Overwrite};
use crate::graph::Graph;
use crate::onnx::{Dtype, OnnxFile};

/// The longest header that the library reads.
const MAX_HEADER: usize = 100_000_000;

pub(super) fn save(
    file: &OnnxFile,
    graph: &Graph,
    changes: &Changes,
    form: Form,
    path: &Path,
    overwrite: Overwrite,
) -> Result<Report, ExportError> {
    let mut entries = entries(file, graph, changes, Convention::Torch(form));
    // The widest types first, so that every tensor is aligned.
    entries.sort_by(|a, b| dtype(b.dtype).cmp(&dtype(a.dtype)).then_with(|| a.name.cmp(&b.name)));
    let header = header(&entries)?;
    let staged = atomic::stage(path, overwrite, |out| {
        out.write_all(&header)?;
        for entry in &entries {
            out.write_all(&entry.make().map_err(io::Error::other)?.bytes)?;
        }
        Ok(())
    })?;
    let read = |source: io::Error| ExportError::Differs { reason: source.to_string(), path: path.to_owned() };
    let mut disk = io::BufReader::new(std::fs::File::open(staged.temporary_path()).map_err(read)?);
    let mut next = |length: usize| -> Result<Vec<u8>, ExportError> {
        let mut bytes = vec![0; length];
        disk.read_exact(&mut bytes).map_err(read)?;
        Ok(bytes)
    };
    if next(header.len())? != header {
        return Err(ExportError::Differs { reason: "its header".into(), path: path.to_owned() });
    }
    let zeros = verify(&entries, path, |entry| next(entry.len()))?;
    atomic::commit(vec![staged])?;
    let bytes = (header.len() + entries.iter().map(NamedTensor::len).sum::<usize>()) as u64;
    Ok(Report { files: vec![path.to_owned()], bytes, zeros, elements: graph.elements() as u64, left: Vec::new() })
}

/// Length and table of contents, padded to whole words.
fn header(entries: &[NamedTensor]) -> Result<Vec<u8>, ExportError> {
    let encode = |reason: String| ExportError::Encode { format: "safetensors", reason };
    let mut offset = 0;
    let info = |entry: &NamedTensor| {
        let start = offset;
        offset += entry.len();
        (entry.name.clone(), TensorInfo { dtype: dtype(entry.dtype), shape: entry.shape.clone(), data_offsets: (start, offset) })
    };
    // PyTorch's own tools look for this entry.
    let told = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let metadata = Metadata::new(Some(told), entries.iter().map(info).collect()).map_err(|e| encode(e.to_string()))?;
    let mut json = serde_json::to_vec(&metadata).map_err(|e| encode(e.to_string()))?;
    json.resize(json.len().next_multiple_of(8), b' ');
    if json.len() > MAX_HEADER {
        return Err(encode(format!("its names take {} bytes, of which there may be {MAX_HEADER}", json.len())));
    }
    Ok([&(json.len() as u64).to_le_bytes()[..], &json].concat())
}

fn dtype(dtype: Dtype) -> FileDtype {
    match dtype {
        Dtype::F16 => FileDtype::F16,
        Dtype::Bf16 => FileDtype::BF16,
        Dtype::F64 => FileDtype::F64,
        _ => FileDtype::F32,
    }
}
