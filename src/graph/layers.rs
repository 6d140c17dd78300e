//! Nodes that multiply what they read by a weight: convolutions and products of matrices.

use super::{Graph, Kind, Layout, Node, ParameterId, ValueId, einsum};

/// A node that multiplies its input by a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// Its number in the graph.
    pub node: usize,
    /// The weight.
    pub weight: ParameterId,
    /// What it multiplies.
    pub input: ValueId,
    /// Where the input's channels lie, those that the weight's inputs are.
    pub channels: ChannelAxis,
}

/// Along which dimension a value's channels lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelAxis {
    /// The second, as in images.
    Second,
    /// The last, as in rows of a matrix.
    Last,
    /// The last but one: columns of a matrix.
    LastButOne,
}

impl ChannelAxis {
    /// Number of the dimension in a shape of so many; `None` where there is no such.
    #[must_use]
    pub fn dimension(self, dimensions: usize) -> Option<usize> {
        match self {
            Self::Second => (dimensions > 1).then_some(1),
            Self::Last => dimensions.checked_sub(1),
            Self::LastButOne => dimensions.checked_sub(2),
        }
    }
}

impl Graph {
    /// All such nodes of the main graph, in its order. A weight that is used again stands there again.
    #[must_use]
    pub fn layers(&self) -> Vec<Layer> {
        let mut layers = Vec::new();
        for (number, node) in self.nodes.iter().enumerate() {
            for &weight in &node.weights {
                layers.extend(self.layer(number, node, weight));
            }
        }
        layers
    }

    fn layer(&self, number: usize, node: &Node, weight: ParameterId) -> Option<Layer> {
        let parameter = self.parameter(weight);
        if parameter.kind != Kind::Weight || parameter.shape.len() < 2 {
            return None;
        }
        let is_weight = |value: ValueId| self.constants.get(value.0).copied().flatten() == Some(parameter.tensor);
        let place = (0..node.inputs.len()).find(|&i| node.input(i).is_some_and(is_weight))?;
        let is_set = |name| node.attributes.int(name).unwrap_or(0) != 0;
        let (input, channels) = match (node.op.as_str(), place) {
            ("Conv" | "FusedConv" | "ConvTranspose", 1) => (0, ChannelAxis::Second),
            ("MatMul", 1) => (0, ChannelAxis::Last),
            ("MatMul", 0) => (1, ChannelAxis::LastButOne),
            ("Gemm" | "FusedGemm" | "FusedMatMul" | "TransposeMatMul", 1) => {
                (0, if is_set("transA") { ChannelAxis::LastButOne } else { ChannelAxis::Last })
            }
            ("Gemm" | "FusedGemm" | "FusedMatMul" | "TransposeMatMul", 0) => {
                (1, if is_set("transB") { ChannelAxis::Last } else { ChannelAxis::LastButOne })
            }
            ("Attention", 1) if node.domain == "com.microsoft" => (0, ChannelAxis::Last),
            ("Einsum", place @ 0..2) if parameter.shape.len() == 2 && parameter.layout != Layout::Mixed => {
                einsum::multiplied(node.attributes.string("equation")?, place)?
            }
            ("LSTM" | "GRU" | "RNN", 1) => (0, ChannelAxis::Last),
            _ => return None,
        };
        Some(Layer { node: number, weight, input: node.input(input)?, channels })
    }
}
