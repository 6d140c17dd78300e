//! What a mask takes from one parameter, without asking the network: the share of its norm, and what it leaves wholly zero.

use super::detail::Grid;
use crate::graph::{Parameter, ParameterId};
use crate::onnx::Values;
use crate::prune::Mask;

/// What pruning takes from one parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    /// Which.
    pub parameter: ParameterId,
    /// ‖w − w ⊙ m‖ / ‖w‖, Euclidean, over finite elements, 0..=1; 0 for a parameter without any but zeros.
    pub error: f64,
    /// Outputs (filters, rows of a matrix) all of whose elements are zero, of how many.
    pub empty_outputs: (usize, usize),
    /// Inputs (channels, columns) all of whose elements are zero, of how many.
    pub empty_inputs: (usize, usize),
}

impl Loss {
    /// Of `parameter` with these values as opened, less those that `mask` prunes.
    #[must_use]
    pub fn new(id: ParameterId, parameter: &Parameter, values: &Values, mask: &Mask) -> Self {
        let number = |i: usize| match values {
            Values::F32(v) => f64::from(v[i]),
            Values::F64(v) => v[i],
        };
        let elements = values.len().min(mask.len());
        let (mut whole, mut taken) = (0.0, 0.0);
        for i in 0..elements {
            let square = number(i) * number(i);
            if square.is_finite() {
                whole += square;
                taken += if mask.is_pruned(i) { square } else { 0.0 };
            }
        }
        let error = if whole > 0.0 { f64::sqrt(taken / whole) } else { 0.0 };
        let (empty_outputs, empty_inputs) = Grid::of(parameter).empty(|i| if mask.is_pruned(i) { 0.0 } else { number(i) });
        Self { parameter: id, error, empty_outputs, empty_inputs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Layout;
    use crate::onnx::Dtype;

    fn loss(values: Vec<f32>, pruned: u64) -> Loss {
        let parameter = Parameter::of_shape(&[2, values.len() / 2], Layout::OutFirst, Dtype::F32);
        let mask = Mask::from_words(vec![pruned], values.len());
        Loss::new(ParameterId(7), &parameter, &Values::F32(values), &mask)
    }

    #[test]
    fn the_error_is_a_share_of_the_norm() {
        let kept = loss(vec![3.0, 4.0, 0.0, 12.0], 0);
        assert_eq!(kept, Loss { parameter: ParameterId(7), error: 0.0, empty_outputs: (0, 2), empty_inputs: (0, 2) });
        // 3 and 4 of a norm of 13: the first of two outputs is gone, and with it the first of two inputs.
        let half = loss(vec![3.0, 4.0, 0.0, 12.0], 0b0011);
        assert!((half.error - 5.0 / 13.0).abs() < 1e-12);
        assert_eq!((half.empty_outputs, half.empty_inputs), ((1, 2), (1, 2)));
        assert_eq!(loss(vec![3.0, 4.0, 0.0, 12.0], 0b1111).error, 1.0);
    }

    #[test]
    fn what_is_not_a_number_makes_none_of_the_error() {
        assert_eq!(loss(vec![0.0, 0.0, -0.0, 0.0], 0b1111).error, 0.0);
        assert_eq!(loss(vec![f32::NAN, f32::INFINITY, 1.0, 1.0], 0b0100).error, f64::sqrt(0.5));
        assert_eq!(loss(vec![], 0).error, 0.0);
    }
}
