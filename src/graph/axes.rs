//! Where a weight's outputs and inputs lie among its dimensions.

use super::module::{Kind, Layout, Parameter, Role};

/// The dimensions along which a weight's outputs and inputs lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axes {
    /// So many dimensions in front only hold weights of the same kind side by side: directions of an LSTM, a batch of matrices.
    batch: usize,
    outputs: usize,
    inputs: usize,
}

/// The lines that lie across one dimension: which of them an element belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lines {
    /// Length of the dimension.
    pub size: usize,
    /// Elements from one place along it to the next.
    pub step: usize,
    /// Elements of one weight, where several lie side by side.
    block: usize,
    /// All lines, those of every weight.
    pub count: usize,
}

impl Lines {
    fn new(shape: &[usize], batch: usize, axis: usize) -> Self {
        let (size, step) = (shape[axis], shape[axis + 1..].iter().product());
        let block = shape[batch..].iter().product::<usize>();
        Self { size, step, block, count: size * shape[..batch].iter().product::<usize>() }
    }

    /// Place of element `i` along the dimension.
    #[must_use]
    pub fn within(&self, i: usize) -> usize {
        i / self.step % self.size
    }

    /// Number of the line that element `i` belongs to.
    #[must_use]
    pub fn line(&self, i: usize) -> usize {
        i / self.block * self.size + self.within(i)
    }
}

impl Axes {
    /// Lines across the outputs: filters, rows.
    #[must_use]
    pub fn outputs(&self, shape: &[usize]) -> Lines {
        Lines::new(shape, self.batch, self.outputs)
    }

    /// Lines across the inputs; those of a group where the weight is grouped.
    #[must_use]
    pub fn inputs(&self, shape: &[usize]) -> Lines {
        Lines::new(shape, self.batch, self.inputs)
    }
}

impl Parameter {
    /// Where outputs and inputs lie, in a module of this role; `None` for biases, vectors, what has no elements, and where neither
    /// has one dimension.
    #[must_use]
    pub fn axes(&self, role: Role) -> Option<Axes> {
        let dimensions = self.shape.len();
        if self.kind != Kind::Weight || dimensions < 2 || self.elements == 0 {
            return None;
        }
        // A matrix lies in the last two dimensions, a convolution's filters in the first two.
        let batch = if matches!(role, Role::Linear | Role::Head | Role::Recurrent) { dimensions - 2 } else { 0 };
        match self.layout {
            Layout::OutFirst => Some(Axes { batch, outputs: batch, inputs: batch + 1 }),
            Layout::InFirst => Some(Axes { batch, outputs: batch + 1, inputs: batch }),
            Layout::Mixed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::Dtype;

    #[test]
    fn lines_are_those_of_pytorch_whatever_the_order_in_the_file() {
        let lines = |shape: &[usize], layout, role| {
            let parameter = Parameter::of_shape(shape, layout, Dtype::F32);
            let axes = parameter.axes(role).unwrap();
            let of = |lines: Lines| (0..parameter.elements).map(|i| lines.line(i)).collect::<Vec<_>>();
            (of(axes.outputs(shape)), of(axes.inputs(shape)))
        };
        assert_eq!(lines(&[2, 3], Layout::OutFirst, Role::Linear), (vec![0, 0, 0, 1, 1, 1], vec![0, 1, 2, 0, 1, 2]));
        assert_eq!(lines(&[3, 2], Layout::InFirst, Role::Linear), (vec![0, 1, 0, 1, 0, 1], vec![0, 0, 1, 1, 2, 2]));
        assert_eq!(lines(&[2, 1, 2], Layout::OutFirst, Role::Depthwise), (vec![0, 0, 1, 1], vec![0; 4]));
        // A transposed convolution, and an LSTM with two directions.
        assert_eq!(lines(&[1, 2, 2], Layout::InFirst, Role::Dense), (vec![0, 0, 1, 1], vec![0; 4]));
        assert_eq!(lines(&[2, 2, 1], Layout::OutFirst, Role::Recurrent), (vec![0, 1, 2, 3], vec![0, 0, 1, 1]));
        assert_eq!(Parameter::of_shape(&[4, 2, 3], Layout::Mixed, Dtype::F32).axes(Role::Linear), None);
        assert_eq!(Parameter::of_shape(&[4], Layout::OutFirst, Dtype::F32).axes(Role::Normalization), None);
    }
}
