//! Modules and parameters: what a person prunes.

use std::fmt;

use crate::onnx::{Dtype, Tensor, TensorId};

/// Index of a module, in graph order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModuleId(pub usize);

/// Index of a parameter, in graph order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParameterId(pub usize);

/// A named part of the network that owns parameters.
#[derive(Debug, Clone)]
pub struct Module {
    /// Path in the network: `blocks.0.0.conv`. Unique.
    pub name: String,
    /// `Conv2d`, `BatchNormAct2d`, `Linear`.
    pub kind: String,
    /// What it does in the network.
    pub role: Role,
    /// The parameters it owns, weights first.
    pub parameters: Vec<ParameterId>,
    /// Tensors that it owns but that are not learnt by gradient: running statistics, with their PyTorch names.
    pub buffers: Vec<(String, TensorId)>,
    /// The nodes that use it, by index; more than one where weights are shared.
    pub nodes: Vec<usize>,
}

/// What a module does in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The first convolution, which reads the image.
    Stem,
    /// One filter per channel.
    Depthwise,
    /// A 1×1 convolution.
    Pointwise,
    /// Any other convolution.
    Dense,
    /// The last linear layer, which names the class.
    Head,
    /// Any other linear layer.
    Linear,
    /// Batch, layer, group normalisation.
    Normalization,
    /// A table of vectors.
    Embedding,
    /// LSTM, GRU, RNN.
    Recurrent,
    /// A learnt activation.
    Activation,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stem => "stem",
            Self::Depthwise => "depthwise",
            Self::Pointwise => "pointwise",
            Self::Dense => "dense convolution",
            Self::Head => "head",
            Self::Linear => "linear",
            Self::Normalization => "normalization",
            Self::Embedding => "embedding",
            Self::Recurrent => "recurrent",
            Self::Activation => "activation",
        })
    }
}

/// Whether a parameter is a weight or a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The weight.
    Weight,
    /// The bias.
    Bias,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Weight => "weight",
            Self::Bias => "bias",
        })
    }
}

/// In which order the file keeps a weight's outputs and inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// As PyTorch does: outputs first.
    OutFirst,
    /// Inputs first: a `MatMul`, a `Gemm` without `transB`, or a `ConvTranspose`.
    InFirst,
    /// Outputs or inputs lie along several dimensions or none, or not where the others have them: an `Einsum` of heads.
    Mixed,
}

/// One tensor of a module.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Who owns it.
    pub module: ModuleId,
    /// Weight or bias.
    pub kind: Kind,
    /// The initializer's name in the file.
    pub name: String,
    /// What PyTorch calls it within its module: `weight`, `bias`, `weight_ih_l0`.
    pub attribute: String,
    /// Its data in the file.
    pub tensor: TensorId,
    /// Dimensions, in the file's order.
    pub shape: Vec<usize>,
    /// Type of its elements.
    pub dtype: Dtype,
    /// Number of elements.
    pub elements: usize,
    /// Order of outputs and inputs.
    pub layout: Layout,
    /// Why it is never pruned, whatever its type: a weight is worked out from it, or the file does not hold all of it.
    pub reason: Option<String>,
}

#[cfg(test)]
impl Parameter {
    /// A weight that no file holds.
    pub(crate) fn of_shape(shape: &[usize], layout: Layout, dtype: Dtype) -> Self {
        Self {
            module: ModuleId(0),
            kind: Kind::Weight,
            name: "w".into(),
            attribute: "weight".into(),
            tensor: TensorId(0),
            shape: shape.to_vec(),
            dtype,
            elements: if shape.contains(&0) { 0 } else { shape.iter().product() },
            layout,
            reason: None,
        }
    }
}

impl Parameter {
    /// Why this parameter can never be pruned; `None` where it can.
    #[must_use]
    pub fn obstacle(&self) -> Option<String> {
        if self.dtype.is_float() { self.reason.clone() } else { Some(not_float(self.dtype)) }
    }
}

/// Why a tensor that no module owns is not pruned.
#[must_use]
pub fn rest_obstacle(tensor: &Tensor) -> String {
    let dtype = tensor.dtype;
    if let Some(fault) = &tensor.fault {
        return format!("no module owns it, and {fault}");
    }
    if dtype.is_float() { "no module owns it".to_owned() } else { format!("no module owns it, and {}", not_float(dtype)) }
}

fn not_float(dtype: Dtype) -> String {
    format!("its elements are {dtype}: pruning by magnitude needs float weights")
}

/// What happened to the network's batch normalisation when the file was exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchNorm {
    /// The nodes are there.
    Kept,
    /// The exporter multiplied it into the convolutions before it.
    Folded,
    /// There never was any, as far as the file tells.
    None,
}

impl BatchNorm {
    /// What this means for masks, and the way round it; `None` where there is nothing to say.
    #[must_use]
    pub fn note(self) -> Option<&'static str> {
        (self == Self::Folded).then_some(FOLDED)
    }
}

const FOLDED: &str = "BatchNorm was folded into the convolutions when this file was exported. Magnitudes, and so masks, are those of the \
folded weights, which are scaled per filter; they differ from masks on the PyTorch weights. Biases stand for the BatchNorm shift and are \
left out unless asked for. To keep BatchNorm, export with torch.onnx.export(…, dynamo=True, optimize=False), or with \
dynamo=False, do_constant_folding=False.";

/// A run of consecutive modules with one label: `stem`, `0`, `1`, …, `head`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Short label for a chart's axis.
    pub label: String,
    /// First module.
    pub first: ModuleId,
    /// Last module.
    pub last: ModuleId,
}

/// Groups modules by the first number in their path; what comes before the first such is the stem, after the last the head.
#[must_use]
pub fn stages(modules: &[Module]) -> Vec<Stage> {
    let number = |m: &Module| {
        m.name.split('.').find_map(|part| (!part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.to_owned()))
    };
    let numbers: Vec<Option<String>> = modules.iter().map(number).collect();
    let Some(last) = numbers.iter().rposition(Option::is_some) else { return Vec::new() };
    let mut stages: Vec<Stage> = Vec::new();
    for (i, number) in numbers.into_iter().enumerate() {
        let id = ModuleId(i);
        let label = match (number, stages.last()) {
            (Some(n), _) => n,
            (None, None) => "stem".to_owned(),
            (None, Some(_)) if i > last => "head".to_owned(),
            (None, Some(previous)) => previous.label.clone(),
        };
        match stages.last_mut() {
            Some(stage) if stage.label == label => stage.last = id,
            _ => stages.push(Stage { label, first: id, last: id }),
        }
    }
    stages
}
