//! How often a node multiplies the weights that it reads.

use super::einsum;
use super::value::Value;
use crate::graph::{Graph, Kind, Node, ParameterId};

/// How a node multiplies the weights that it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Product {
    Convolution,
    TransposedConvolution,
    /// A product of matrices.
    Matrix {
        /// The left one is transposed.
        is_turned: bool,
    },
    /// Summed over these dimensions of what is read, from its end on where they are negative.
    Sum(Vec<isize>),
    Recurrent,
    /// Of every row of what is read.
    Projection,
}

impl Product {
    fn of(node: &Node) -> Option<Self> {
        Some(match node.op.as_str() {
            "Conv" | "FusedConv" | "ConvInteger" | "QLinearConv" => Self::Convolution,
            "ConvTranspose" => Self::TransposedConvolution,
            "MatMul" | "MatMulInteger" | "MatMulIntegerToFloat" | "DynamicQuantizeMatMul" | "QLinearMatMul" => {
                Self::Matrix { is_turned: false }
            }
            // The projection of queries, keys and values.
            "Attention" if node.domain == "com.microsoft" => Self::Projection,
            "Gemm" | "FusedGemm" | "FusedMatMul" | "TransposeMatMul" => {
                Self::Matrix { is_turned: node.attributes.int("transA").unwrap_or(0) != 0 }
            }
            "Einsum" => Self::Sum(einsum::contracted(node.attributes.string("equation")?)?),
            "LSTM" | "GRU" | "RNN" => Self::Recurrent,
            _ => return None,
        })
    }

    /// How often each of the `elements` of a weight is multiplied where values of these shapes are read and written.
    fn per_element(&self, elements: u64, read: &[usize], written: &[usize]) -> u64 {
        let volume = |shape: &[usize]| shape.iter().fold(1_u64, |n, &d| n.saturating_mul(d as u64));
        let positions = |shape: &[usize]| shape.get(1).map_or(0, |&channels| volume(shape) / (channels as u64).max(1));
        match self {
            Self::Convolution => positions(written),
            Self::TransposedConvolution => positions(read),
            Self::Matrix { is_turned } => {
                let inner = if *is_turned { read.first() } else { read.last() };
                volume(written).saturating_mul(inner.map_or(0, |&k| k as u64)) / elements.max(1)
            }
            Self::Sum(summed) => {
                let length = |&place: &isize| {
                    let at = usize::try_from(place).ok().or_else(|| read.len().checked_sub(place.unsigned_abs()));
                    at.and_then(|at| read.get(at)).map_or(0, |&d| d as u64)
                };
                summed.iter().map(length).fold(volume(written), u64::saturating_mul) / elements.max(1)
            }
            Self::Projection => volume(&read[..read.len().saturating_sub(1)]),
            // Steps and batch come first and second in either order.
            Self::Recurrent => read.iter().take(2).fold(1, |n, &d| n.saturating_mul(d as u64)),
        }
    }
}

/// The weights that a node multiplies.
#[derive(Debug)]
pub(super) struct Products {
    product: Option<Product>,
    weights: Vec<ParameterId>,
}

impl Products {
    pub(super) fn of(node: &Node, graph: &Graph) -> Self {
        let is_counted = |id: &ParameterId| {
            let parameter = graph.parameter(*id);
            parameter.kind == Kind::Weight && parameter.elements > 0
        };
        Self { product: Product::of(node), weights: node.weights.iter().copied().filter(is_counted).collect() }
    }

    /// The shape of the first input, where it will be wanted.
    pub(super) fn first_shape(&self, inputs: &[Option<Value>], is_counted: bool) -> Option<Vec<usize>> {
        let wanted = is_counted && self.product.is_some() && !self.weights.is_empty();
        inputs.first().and_then(Option::as_ref).filter(|_| wanted).map(|value| value.shape().to_vec())
    }

    /// Adds to `uses` what the node multiplied. What it wrote that nobody reads is worth nothing.
    pub(super) fn count(&self, graph: &Graph, read: Option<&[usize]>, written: Option<&[usize]>, uses: &mut [u64]) {
        let (Some(product), Some(read)) = (&self.product, read) else { return };
        for &id in &self.weights {
            let written = match (product, written) {
                (_, Some(written)) => written,
                (Product::Recurrent, None) => &[],
                (_, None) => continue,
            };
            let more = product.per_element(graph.parameter(id).elements as u64, read, written);
            uses[id.0] = uses[id.0].saturating_add(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Attribute;

    fn node(op: &str, attributes: &[(&str, i64)]) -> Node {
        Node::part(op, attributes.iter().map(|(name, value)| ((*name).to_owned(), Attribute::Int(*value))).collect())
    }

    #[test]
    fn an_element_is_used_wherever_its_operator_applies_it() {
        let uses = |op, attributes: &[_], elements, read: &[usize], written: &[usize]| {
            Product::of(&node(op, attributes)).map_or(0, |product| product.per_element(elements, read, written))
        };
        // 16 filters of 3 × 3 × 3 at 2 × 10 × 12 places.
        assert_eq!(uses("Conv", &[], 16 * 27, &[2, 3, 20, 24], &[2, 16, 10, 12]), 2 * 10 * 12);
        // Turned round, at every place of what is read.
        assert_eq!(uses("ConvTranspose", &[], 16 * 8 * 4, &[2, 16, 5, 6], &[2, 8, 10, 12]), 2 * 5 * 6);
        // x·W for 2 × 7 rows; W·x for 5 columns.
        assert_eq!(uses("MatMul", &[], 32 * 64, &[2, 7, 32], &[2, 7, 64]), 2 * 7);
        assert_eq!(uses("MatMul", &[], 64 * 32, &[64, 32], &[64, 5]), 5);
        // Another matrix for each of 4 heads.
        assert_eq!(uses("MatMul", &[], 4 * 32 * 64, &[4, 7, 32], &[4, 7, 64]), 7);
        assert_eq!(uses("Gemm", &[], 32 * 64, &[9, 32], &[9, 64]), 9);
        assert_eq!(uses("Gemm", &[("transA", 1)], 32 * 64, &[32, 9], &[9, 64]), 9);
        // 11 steps of 3 sequences, whatever comes out.
        assert_eq!(uses("LSTM", &[], 4 * 6 * 5, &[11, 3, 5], &[11, 1, 3, 6]), 33);
        let sums = |equation: &str, elements, read: &[usize], written: &[usize]| {
            let node = Node::part("Einsum", vec![("equation".to_owned(), Attribute::String(equation.to_owned()))]);
            Product::of(&node).map_or(0, |product| product.per_element(elements, read, written))
        };
        // x·W for 2 × 7 rows, W·x, 3 experts, heads put together, without an arrow; three factors are not counted.
        assert_eq!(sums("bti,ij->btj", 32 * 64, &[2, 7, 32], &[2, 7, 64]), 14);
        assert_eq!(sums("ij, ...j -> ...i", 64 * 32, &[64, 32], &[2, 7, 64]), 14);
        assert_eq!(sums("...d,edf->e...f", 3 * 8 * 5, &[2, 7, 8], &[3, 2, 7, 5]), 14);
        assert_eq!(sums("bthk,hkd->btd", 4 * 8 * 32, &[2, 7, 4, 8], &[2, 7, 32]), 14);
        assert_eq!(sums("ij,jk", 32 * 64, &[9, 32], &[9, 64]), 9);
        assert_eq!(sums("ij,jk,kl->il", 32 * 64, &[9, 32], &[9, 64]), 0);
        assert_eq!(uses("Gather", &[], 1000, &[100, 10], &[7, 10]), 0);
        assert_eq!(uses("MatMul", &[], 0, &[0], &[]), 0);
    }
}
