//! safetensors with PyTorch's names, for `load_file` and `load_state_dict`.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype as FileDtype, SafeTensors, TensorView, serialize};

use super::tensors::{Convention, Form, Masks, named, zeros_in};
use super::{ExportError, Report};
use crate::atomic::{self, Overwrite};
use crate::graph::Graph;
use crate::onnx::{Dtype, OnnxFile};

pub(super) fn save(
    file: &OnnxFile,
    graph: &Graph,
    masks: &Masks,
    form: Form,
    path: &Path,
    overwrite: Overwrite,
) -> Result<Report, ExportError> {
    let encode = |reason: String| ExportError::Encode { format: "safetensors", reason };
    let tensors = named(file, graph, masks, Convention::Torch(form))?;
    let views: Vec<(&str, TensorView)> = tensors
        .iter()
        .map(|t| Ok((t.name.as_str(), TensorView::new(dtype(t.dtype), t.shape.clone(), &t.bytes).map_err(|e| encode(e.to_string()))?)))
        .collect::<Result<_, ExportError>>()?;
    // PyTorch's own tools look for this entry.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = serialize(views, Some(metadata)).map_err(|e| encode(e.to_string()))?;
    atomic::write(path, overwrite, |out| out.write_all(&bytes))?;
    read_back(graph, path)
}

/// Opens the file again and counts zeros; an unfixed parameter's are those of original × mask.
fn read_back(graph: &Graph, path: &Path) -> Result<Report, ExportError> {
    let differs = |reason: String| ExportError::ReadBack { reason, path: path.to_owned() };
    let bytes = std::fs::read(path).map_err(|e| differs(e.to_string()))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| differs(e.to_string()))?;
    let (mut zeros, mut elements) = (0, 0);
    for (i, parameter) in graph.parameters.iter().enumerate().filter(|(_, p)| p.dtype.is_float()) {
        let name = graph.torch_name(crate::graph::ParameterId(i));
        let find = |name: &str| tensors.tensor(name).map_err(|e| differs(e.to_string()));
        elements += parameter.elements as u64;
        zeros += match (tensors.tensor(&format!("{name}_mask")), tensors.tensor(&name)) {
            (Ok(mask), _) => {
                let original = find(&format!("{name}_orig"))?;
                let size = parameter.dtype.size().unwrap_or(1);
                let pairs = mask.data().chunks_exact(size).zip(original.data().chunks_exact(size));
                pairs.filter(|(m, o)| zeros_in(parameter.dtype, m) + zeros_in(parameter.dtype, o) > 0).count() as u64
            }
            (_, Ok(tensor)) => zeros_in(parameter.dtype, tensor.data()),
            _ => return Err(differs(format!("“{name}” is missing"))),
        };
    }
    Ok(Report { files: vec![path.to_owned()], bytes: bytes.len() as u64, zeros, elements })
}

fn dtype(dtype: Dtype) -> FileDtype {
    match dtype {
        Dtype::F16 => FileDtype::F16,
        Dtype::Bf16 => FileDtype::BF16,
        Dtype::F64 => FileDtype::F64,
        _ => FileDtype::F32,
    }
}
