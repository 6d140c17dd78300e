//! What the weight formats share: every tensor of the model by name, in its own number type, masked.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::ExportError;
use crate::graph::{Graph, Layout, Parameter, ParameterId, Role};
use crate::onnx::{Dtype, OnnxFile, OpenError, Stored, TensorId, Values};
use crate::prune::{AddedBiases, Mask};

/// What happens to one parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterMasks {
    /// Elements that were fixed to zero; permanent.
    pub fixed: Mask,
    /// Elements that the present mask prunes.
    pub mask: Mask,
}

impl ParameterMasks {
    /// Every element that is zero after both.
    #[must_use]
    pub fn zeroed(&self) -> Mask {
        let mut all = self.fixed.clone();
        all.join(&self.mask);
        all
    }
}

/// The masks of all parameters that have any, or that are in the scope.
pub type Masks = BTreeMap<ParameterId, ParameterMasks>;

/// What is written otherwise than it was opened.
#[derive(Debug, Default)]
pub struct Changes {
    /// What is zero.
    pub masks: Masks,
    /// Tensors whose elements were replaced, before the masks.
    pub values: BTreeMap<TensorId, Arc<Values>>,
    /// Biases of layers that have none in the file.
    pub biases: Arc<AddedBiases>,
}

/// Whether masks are multiplied in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `weight` = original × mask.
    Fixed,
    /// `weight_orig` and `weight_mask`, as `torch.nn.utils.prune` keeps them.
    Unfixed,
}

/// A tensor to be written. Its bytes are made when they are wanted, so that one of them is in memory at a time.
#[derive(Debug, Clone)]
pub(super) struct NamedTensor {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    /// As it is written.
    pub(super) shape: Vec<usize>,
    content: ElementSource,
    what: TensorPart,
    /// Rows and columns in the file, where they change places.
    turned: Option<(usize, usize)>,
}

/// Where the elements of an entry come from.
#[derive(Debug, Clone)]
enum ElementSource {
    Opened(Box<Stored>),
    Replaced(Arc<Values>, Dtype),
}

impl ElementSource {
    fn of(file: &OnnxFile, changes: &Changes, id: TensorId) -> Self {
        match changes.values.get(&id) {
            Some(values) => Self::Replaced(values.clone(), file.tensor(id).dtype),
            None => Self::Opened(Box::new(file.content(id))),
        }
    }

    fn bytes(&self) -> Result<Vec<u8>, OpenError> {
        match self {
            Self::Opened(stored) => Ok(stored.float_bytes()?.unwrap_or_default()),
            Self::Replaced(values, dtype) => Ok(values.to_bytes(*dtype)),
        }
    }
}

#[derive(Debug, Clone)]
enum TensorPart {
    /// A parameter's elements, some of them zero; `masked` are so only once `weight_mask` is multiplied in.
    Parameter { zeroed: Option<Mask>, masked: Option<Mask> },
    /// The mask itself, in the parameter's type.
    Mask(Mask),
    /// Elements that are nobody's parameter.
    Other,
}

/// What one entry is in the file that is written.
pub(super) struct Made {
    /// Little-endian.
    pub(super) bytes: Vec<u8>,
    /// Zeros of a parameter; 0 for what is none.
    pub(super) zeros: u64,
}

impl NamedTensor {
    /// Length in bytes.
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.size()
    }

    fn size(&self) -> usize {
        self.dtype.size().unwrap_or(1)
    }

    /// Reads, masks and turns it.
    ///
    /// # Errors
    /// External data that can no longer be read.
    pub(super) fn make(&self) -> Result<Made, OpenError> {
        let size = self.size();
        let mut bytes = match &self.what {
            TensorPart::Mask(mask) => one(self.dtype).repeat(mask.len()),
            _ => self.content.bytes()?,
        };
        let mut zeros = 0;
        match &self.what {
            TensorPart::Mask(mask) => mask.apply_to_bytes(&mut bytes, size),
            TensorPart::Parameter { zeroed, masked } => {
                if let Some(zeroed) = zeroed {
                    zeroed.apply_to_bytes(&mut bytes, size);
                }
                let is_masked = |i: usize| masked.as_ref().is_some_and(|mask| mask.is_pruned(i));
                zeros = bytes.chunks_exact(size).enumerate().filter(|&(i, b)| is_zero(b) || is_masked(i)).count() as u64;
            }
            TensorPart::Other => {}
        }
        if let Some((rows, columns)) = self.turned {
            bytes = turned(&bytes, rows, columns, size);
        }
        Ok(Made { bytes, zeros })
    }
}

/// Compares what was written with what was meant, entry for entry; zeros of the parameters. A file is verified here, before it
/// takes the place of anything, and nowhere else.
///
/// # Errors
/// [`ExportError::Differs`], what `read` gives, or external data that can no longer be read.
pub(super) fn verify(
    entries: &[NamedTensor],
    path: &Path,
    mut read: impl FnMut(&NamedTensor) -> Result<Vec<u8>, ExportError>,
) -> Result<u64, ExportError> {
    let mut zeros = 0;
    for entry in entries {
        let made = entry.make()?;
        if read(entry)? != made.bytes {
            return Err(ExportError::Differs { reason: format!("“{}”", entry.name), path: path.to_owned() });
        }
        zeros += made.zeros;
    }
    Ok(zeros)
}

/// Whose names and layouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Convention {
    /// `weight`, `bias`; a linear layer's outputs first.
    Torch(Form),
    /// `gamma` and `beta` for normalisation; a linear layer's inputs first.
    Burn,
}

/// All parameters, buffers and other float initializers of the model that can be read.
pub(super) fn entries(file: &OnnxFile, graph: &Graph, changes: &Changes, convention: Convention) -> Vec<NamedTensor> {
    let mut out = Vec::new();
    let is_readable = |id: TensorId| file.tensor(id).dtype.is_float() && file.tensor(id).fault.is_none();
    for (i, parameter) in graph.parameters.iter().enumerate().filter(|(_, p)| is_readable(p.tensor)) {
        let id = ParameterId(i);
        let name = name(graph, id, convention);
        let turned = turn(parameter, graph, convention);
        let shape = turned.map_or_else(|| parameter.shape.clone(), |(rows, columns)| vec![columns, rows]);
        let content = ElementSource::of(file, changes, parameter.tensor);
        let entry = |name: String, what: TensorPart| NamedTensor {
            name,
            dtype: parameter.dtype,
            shape: shape.clone(),
            content: content.clone(),
            what,
            turned,
        };
        match (changes.masks.get(&id), convention) {
            (Some(masks), Convention::Torch(Form::Unfixed)) => {
                let original = TensorPart::Parameter { zeroed: Some(masks.fixed.clone()), masked: Some(masks.mask.clone()) };
                out.push(entry(format!("{name}_orig"), original));
                out.push(entry(format!("{name}_mask"), TensorPart::Mask(masks.mask.clone())));
            }
            (masks, _) => {
                let zeroed = masks.map(ParameterMasks::zeroed);
                out.push(entry(name, TensorPart::Parameter { zeroed, masked: None }));
            }
        }
    }
    for (&id, bias) in changes.biases.iter() {
        let dtype = graph.parameter(id).dtype;
        let (content, shape) = (ElementSource::Replaced(bias.values.clone(), dtype), vec![bias.values.len()]);
        out.push(NamedTensor { name: bias_name(graph, id), dtype, shape, content, what: TensorPart::Other, turned: None });
    }
    let mut known: HashSet<String> = out.iter().map(|entry| entry.name.clone()).collect();
    let buffers = graph.modules.iter().flat_map(|m| m.buffers.iter().map(move |(name, id)| (format!("{}.{name}", m.name), *id)));
    let others = graph.unowned.iter().map(|&id| (file.tensor(id).name.clone(), id));
    for (name, id) in buffers.chain(others).filter(|(_, id)| is_readable(*id)) {
        let tensor = file.tensor(id);
        if known.insert(name.clone()) {
            let (dtype, shape, content) = (tensor.dtype, tensor.shape.clone(), ElementSource::of(file, changes, id));
            out.push(NamedTensor { name, dtype, shape, content, what: TensorPart::Other, turned: None });
        }
    }
    out
}

/// What PyTorch calls the bias that was added to the layers of a weight.
pub(super) fn bias_name(graph: &Graph, id: ParameterId) -> String {
    let taken: HashSet<String> = (0..graph.parameters.len()).map(|i| graph.torch_name(ParameterId(i))).collect();
    let base = format!("{}.bias", graph.owner(id).name);
    let numbered = (0..).map(|n| if n == 0 { base.clone() } else { format!("{base}_{n}") });
    numbered.into_iter().find(|name| !taken.contains(name)).unwrap_or(base)
}

fn name(graph: &Graph, id: ParameterId, convention: Convention) -> String {
    let module = graph.owner(id);
    let attribute = graph.parameter(id).attribute.as_str();
    match (convention, module.role, attribute) {
        (Convention::Burn, Role::Normalization, "weight") => format!("{}.gamma", module.name),
        (Convention::Burn, Role::Normalization, "bias") => format!("{}.beta", module.name),
        _ => graph.torch_name(id),
    }
}

/// Rows and columns of a linear layer's matrix that is not in the convention's order.
fn turn(parameter: &Parameter, graph: &Graph, convention: Convention) -> Option<(usize, usize)> {
    let is_linear = matches!(graph.module(parameter.module).role, Role::Linear | Role::Head);
    let wanted = if convention == Convention::Burn { Layout::InFirst } else { Layout::OutFirst };
    match parameter.shape[..] {
        [rows, columns] if is_linear && parameter.layout != wanted && parameter.layout != Layout::Mixed => Some((rows, columns)),
        _ => None,
    }
}

/// A matrix with rows and columns exchanged.
fn turned(bytes: &[u8], rows: usize, columns: usize, size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for column in 0..columns {
        for row in 0..rows {
            let at = (row * columns + column) * size;
            out.extend_from_slice(&bytes[at..at + size]);
        }
    }
    out
}

/// The bytes of 1 in a number type.
fn one(dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::F16 => half::f16::ONE.to_le_bytes().to_vec(),
        Dtype::Bf16 => half::bf16::ONE.to_le_bytes().to_vec(),
        Dtype::F64 => 1.0_f64.to_le_bytes().to_vec(),
        _ => 1.0_f32.to_le_bytes().to_vec(),
    }
}

/// Whether a little-endian float is a zero of either sign.
fn is_zero(bytes: &[u8]) -> bool {
    // Every byte is 0 but for the sign in the last.
    bytes.split_last().is_some_and(|(last, rest)| last.trailing_zeros() >= 7 && rest.iter().all(|&b| b == 0))
}
