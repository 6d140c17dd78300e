//! Scores and masks from files, joined with the parameters of a model by name and shape.

use std::path::{Path, PathBuf};

use crate::arrays::{self, ArraysError};
use crate::escaped::escaped;
use crate::graph::{Graph, Layout, ParameterId, Role};
use crate::network::{Array, ArrayData};
use crate::onnx::{Dtype, Values};
use crate::prune::GivenScores;

/// What PyTorch adds to a parameter's name for its mask.
const MASK: &str = "_mask";

/// Why a file of scores or masks could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// The file could not be read.
    #[error(transparent)]
    Arrays(#[from] ArraysError),
    /// No parameter has a name that it has.
    #[error("none of its arrays ({names}) has the name of a parameter, such as {wanted}: {}", path.display())]
    NoNames {
        /// What it has.
        names: String,
        /// What one would have.
        wanted: String,
        /// Which file.
        path: PathBuf,
    },
    /// An array of another shape than its parameter.
    #[error("the array “{name}” is {found:?} and its parameter {wanted:?}: {}", path.display())]
    Shape {
        /// Its name.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// That of the parameter, in the model's file.
        wanted: Vec<usize>,
        /// Which file.
        path: PathBuf,
    },
    /// A mask that holds something else than zeros and ones.
    #[error("the mask “{name}” holds {value}, and a mask holds 0 and 1: {}", path.display())]
    Mask {
        /// Its name.
        name: String,
        /// What it holds.
        value: f32,
        /// Which file.
        path: PathBuf,
    },
}

/// Whether a file of this name can hold scores.
pub(super) fn is_known(path: &Path) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    matches!(extension.as_deref(), Some("npy" | "npz" | "safetensors"))
}

/// Reads scores or masks: one array per parameter, named as the initializer in the model's file or as PyTorch names the parameter
/// (`blocks.0.0.conv.weight`). A file that holds arrays whose names end in `_mask`, as `torch.nn.utils.prune` leaves them, or nothing
/// but bools or zeros and ones, holds masks: what is 0 in them goes. Returns the names that no parameter has, too.
///
/// # Errors
/// [`ScoreError`]
pub fn read(path: &Path, graph: &Graph) -> Result<(GivenScores, Vec<String>), ScoreError> {
    let mut arrays = arrays::read_any(path)?;
    let has_masks = arrays.iter().any(|(name, _)| name.ends_with(MASK));
    if has_masks {
        // Beside the masks lie the weights that they are for, and all else that the network has.
        arrays.retain(|(name, _)| name.ends_with(MASK));
    }
    let is_binary = |(_, array): &(String, Array)| match &array.data {
        ArrayData::Bool(_) => true,
        ArrayData::F32(v) => v.iter().all(|&x| x == 0.0 || x == 1.0),
        ArrayData::I64(v) => v.iter().all(|&x| x == 0 || x == 1),
    };
    let is_mask = has_masks || arrays.iter().all(is_binary);
    let mut given: Vec<Option<Values>> = vec![None; graph.parameters.len()];
    let mut unknown = Vec::new();
    let mut num_known = 0;
    for (name, array) in &arrays {
        let plain = if has_masks { name.strip_suffix(MASK).unwrap_or(name) } else { name };
        let owner = (0..graph.parameters.len()).map(ParameterId).find_map(|id| {
            let is_torch = graph.torch_name(id) == plain;
            (is_torch || graph.parameter(id).name == plain).then_some((id, is_torch))
        });
        let Some((id, is_torch)) = owner else {
            unknown.push(name.clone());
            continue;
        };
        num_known += 1;
        let parameter = graph.parameter(id);
        let mut values = match &array.data {
            ArrayData::F32(v) => v.clone(),
            ArrayData::I64(v) => v.iter().map(|&x| x as f32).collect(),
            ArrayData::Bool(v) => v.iter().map(|&x| f32::from(u8::from(x))).collect(),
        };
        // PyTorch keeps a linear layer's outputs first, whatever the file does.
        let is_linear = matches!(graph.owner(id).role, Role::Linear | Role::Head) && parameter.layout == Layout::InFirst;
        let is_turned = match (&array.shape[..], &parameter.shape[..]) {
            ([rows, columns], [inputs, outputs]) => is_linear && (rows, columns) == (outputs, inputs) && (rows != columns || is_torch),
            _ => false,
        };
        if is_turned {
            let columns = array.shape[1];
            let rows = array.shape[0];
            values = (0..columns).flat_map(|column| (0..rows).map(move |row| row * columns + column)).map(|at| values[at]).collect();
        } else if array.shape != parameter.shape {
            let (found, wanted) = (array.shape.clone(), parameter.shape.clone());
            return Err(ScoreError::Shape { name: escaped(name).to_string(), found, wanted, path: path.to_owned() });
        }
        if let Some(&value) = values.iter().find(|&&x| is_mask && x != 0.0 && x != 1.0) {
            return Err(ScoreError::Mask { name: escaped(name).to_string(), value, path: path.to_owned() });
        }
        given[id.0] = Some(if parameter.dtype == Dtype::F64 {
            Values::F64(values.into_iter().map(f64::from).collect())
        } else {
            Values::F32(values)
        });
    }
    if num_known == 0 {
        let wanted = (0..graph.parameters.len()).map(ParameterId).next().map_or_else(String::new, |id| graph.torch_name(id));
        let names: Vec<&str> = unknown.iter().take(5).map(String::as_str).collect();
        let names = escaped(&names.join(", ")).to_string() + if unknown.len() > 5 { ", …" } else { "" };
        return Err(ScoreError::NoNames { names, wanted: escaped(&wanted).to_string(), path: path.to_owned() });
    }
    Ok((GivenScores { path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()), is_mask, arrays: given }, unknown))
}
