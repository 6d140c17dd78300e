//! What the weight formats share: every tensor of the model by name, in its own number type, masked.

use std::collections::BTreeMap;

use crate::graph::{Graph, Layout, Parameter, ParameterId, Role};
use crate::onnx::{Dtype, OnnxFile, OpenError};
use crate::prune::Mask;

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

/// Whether masks are multiplied in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `weight` = original × mask.
    Fixed,
    /// `weight_orig` and `weight_mask`, as `torch.nn.utils.prune` keeps them.
    Unfixed,
}

/// A tensor ready to be written.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Little-endian.
    pub bytes: Vec<u8>,
}

/// Whose names and layouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Convention {
    /// `weight`, `bias`; a linear layer's outputs first.
    Torch(Form),
    /// `gamma` and `beta` for normalisation; a linear layer's inputs first.
    Burn,
}

/// All parameters, buffers and other float initializers of the model.
///
/// # Errors
/// External data that can no longer be read.
pub(super) fn named(file: &OnnxFile, graph: &Graph, masks: &Masks, convention: Convention) -> Result<Vec<Named>, OpenError> {
    let mut out = Vec::new();
    for (i, parameter) in graph.parameters.iter().enumerate() {
        let id = ParameterId(i);
        let Some(mut bytes) = file.float_bytes(parameter.tensor)? else { continue };
        let size = bytes.len() / parameter.elements.max(1);
        let name = name(graph, id, convention);
        let entry = |name: String, bytes: Vec<u8>| {
            turned(Named { name, dtype: parameter.dtype, shape: parameter.shape.clone(), bytes }, parameter, graph, convention)
        };
        match (masks.get(&id), convention) {
            (Some(masks), Convention::Torch(Form::Unfixed)) => {
                masks.fixed.apply_to_bytes(&mut bytes, size);
                let ones = one(parameter.dtype);
                let mut mask = ones.repeat(parameter.elements);
                masks.mask.apply_to_bytes(&mut mask, ones.len());
                out.push(entry(format!("{name}_orig"), bytes));
                out.push(entry(format!("{name}_mask"), mask));
            }
            (Some(masks), _) => {
                masks.zeroed().apply_to_bytes(&mut bytes, size);
                out.push(entry(name, bytes));
            }
            (None, _) => out.push(entry(name, bytes)),
        }
    }
    let buffers = graph.modules.iter().flat_map(|m| m.buffers.iter().map(move |(name, id)| (format!("{}.{name}", m.name), *id)));
    let others = graph.unowned.iter().map(|&id| (file.tensor(id).name.clone(), id));
    for (name, id) in buffers.chain(others) {
        let tensor = file.tensor(id);
        let known = out.iter().any(|n| n.name == name);
        if let Some(bytes) = file.float_bytes(id)?.filter(|_| !known) {
            out.push(Named { name, dtype: tensor.dtype, shape: tensor.shape.clone(), bytes });
        }
    }
    Ok(out)
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

/// Turns a linear layer's matrix into the convention's order.
fn turned(named: Named, parameter: &Parameter, graph: &Graph, convention: Convention) -> Named {
    let linear = matches!(graph.module(parameter.module).role, Role::Linear | Role::Head);
    let wanted = if convention == Convention::Burn { Layout::InFirst } else { Layout::OutFirst };
    let [rows, columns] = named.shape[..] else { return named };
    if !linear || parameter.layout == wanted {
        return named;
    }
    let size = named.bytes.len() / parameter.elements.max(1);
    let mut bytes = Vec::with_capacity(named.bytes.len());
    for column in 0..columns {
        for row in 0..rows {
            let at = (row * columns + column) * size;
            bytes.extend_from_slice(&named.bytes[at..at + size]);
        }
    }
    Named { shape: vec![columns, rows], bytes, ..named }
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

/// Zeros and elements of all float parameters of an opened model.
pub(super) fn count_zeros(file: &OnnxFile, graph: &Graph) -> Result<(u64, u64), OpenError> {
    let mut zeros = 0;
    for parameter in &graph.parameters {
        zeros += file.floats(parameter.tensor)?.map_or(0, |values| values.zeros());
    }
    Ok((zeros, graph.elements() as u64))
}

/// Zeros of a little-endian float tensor.
pub(super) fn zeros_in(dtype: Dtype, bytes: &[u8]) -> u64 {
    let size = dtype.size().unwrap_or(1);
    // Both zeros: every byte is 0 but for the sign in the last.
    bytes.chunks_exact(size).filter(|b| b[..size - 1].iter().all(|&x| x == 0) && b[size - 1].trailing_zeros() >= 7).count() as u64
}
