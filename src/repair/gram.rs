//! Sums of products of a layer's inputs and outputs, and the rows of weights that they make best.

use faer::linalg::matmul::matmul;
use faer::linalg::solvers::{Llt, Solve};
use faer::{Accum, Mat, MatRef, Par, Side};
use rayon::prelude::*;

/// Columns of a Gram matrix that are worked out together.
const COLUMNS: usize = 64;

/// What inputs and outputs are taken about.
#[derive(Debug, Clone)]
pub(super) enum About {
    /// Their means, which are left to what follows.
    Means,
    /// Nothing, but for a bias that stays as it is.
    Bias(Option<Vec<f64>>),
}

/// Sums over some places about their means, as a device works them out: float32, matrices by rows of inputs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Centred<'a> {
    pub(super) count: f64,
    pub(super) input_means: &'a [f32],
    pub(super) output_means: &'a [f32],
    /// About those means: what their rounding left.
    pub(super) input_sums: &'a [f32],
    pub(super) output_sums: &'a [f32],
    pub(super) outputs: &'a [f32],
    pub(super) inputs: &'a [f32],
    pub(super) across: &'a [f32],
}

/// Sums over places of one group of inputs and outputs; lower triangles.
#[derive(Debug, Clone)]
pub struct Gram {
    pub(super) count: f64,
    inputs: Mat<f64>,
    across: Mat<f64>,
    pub(super) outputs: Vec<f64>,
    input_sums: Vec<f64>,
    output_sums: Vec<f64>,
}

impl Gram {
    /// Nothing added yet.
    #[must_use]
    pub fn new(inputs: usize, outputs: usize) -> Self {
        Self {
            count: 0.0,
            inputs: Mat::zeros(inputs, inputs),
            across: Mat::zeros(inputs, outputs),
            outputs: vec![0.0; outputs],
            input_sums: vec![0.0; inputs],
            output_sums: vec![0.0; outputs],
        }
    }

    /// Adds places, one per row. Every sum goes over them in one order, whatever the number of threads.
    pub fn add(&mut self, x: MatRef<f64>, y: MatRef<f64>) {
        self.count += x.nrows() as f64;
        let (inputs, outputs) = (self.inputs.nrows(), self.across.ncols());
        let blocks =
            |columns: usize| (0..columns.div_ceil(COLUMNS)).into_par_iter().map(move |b| (b * COLUMNS, COLUMNS.min(columns - b * COLUMNS)));
        let made: Vec<_> = blocks(inputs)
            .map(|(first, width)| {
                let mut block = Mat::zeros(inputs - first, width);
                let left = x.subcols(first, inputs - first).transpose();
                matmul(block.as_mut(), Accum::Replace, left, x.subcols(first, width), 1.0, Par::Seq);
                (first, block)
            })
            .collect();
        for (first, block) in made {
            let (rows, columns) = (block.nrows(), block.ncols());
            let mut into = self.inputs.as_mut().submatrix_mut(first, first, rows, columns);
            into += &block;
        }
        let made: Vec<_> = blocks(outputs)
            .map(|(first, width)| {
                let mut block = Mat::zeros(inputs, width);
                matmul(block.as_mut(), Accum::Replace, x.transpose(), y.subcols(first, width), 1.0, Par::Seq);
                (first, block)
            })
            .collect();
        for (first, block) in made {
            let columns = block.ncols();
            let mut into = self.across.as_mut().subcols_mut(first, columns);
            into += &block;
        }
        self.input_sums.par_iter_mut().enumerate().for_each(|(k, sum)| *sum += x.col(k).iter().sum::<f64>());
        self.output_sums.par_iter_mut().zip(&mut self.outputs).enumerate().for_each(|(o, (sum, square))| {
            *sum += y.col(o).iter().sum::<f64>();
            *square += y.col(o).iter().map(|y| y * y).sum::<f64>();
        });
    }

    /// Adds places that were summed about their means elsewhere.
    pub(super) fn add_centred(&mut self, part: &Centred) {
        self.count += part.count;
        let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
        let (x, y) = (wide(part.input_means), wide(part.output_means));
        let (x_rest, y_rest) = (wide(part.input_sums), wide(part.output_sums));
        // Σ a·b of what is a = m + a′ is Σ a′·b′ + m·Σ b′ + Σ a′·n + count · m · n.
        let whole = |about: f32, (m, a): (f64, f64), (n, b): (f64, f64)| f64::from(about) + m * b + a * n + part.count * m * n;
        let (inputs, outputs) = (x.len(), y.len());
        for j in 0..inputs {
            let column = self.inputs.col_as_slice_mut(j);
            for i in j..inputs {
                column[i] += whole(part.inputs[i * inputs + j], (x[i], x_rest[i]), (x[j], x_rest[j]));
            }
        }
        for o in 0..outputs {
            let column = self.across.col_as_slice_mut(o);
            for i in 0..inputs {
                column[i] += whole(part.across[i * outputs + o], (x[i], x_rest[i]), (y[o], y_rest[o]));
            }
            self.outputs[o] += whole(part.outputs[o], (y[o], y_rest[o]), (y[o], y_rest[o]));
            self.output_sums[o] += y_rest[o] + part.count * y[o];
        }
        for (sum, (mean, rest)) in self.input_sums.iter_mut().zip(x.iter().zip(&x_rest)) {
            *sum += rest + part.count * mean;
        }
    }

    /// Both together.
    pub(super) fn joined(&self, other: &Self) -> Self {
        let sum = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a + b).collect();
        Self {
            count: self.count + other.count,
            inputs: &self.inputs + &other.inputs,
            across: &self.across + &other.across,
            outputs: sum(&self.outputs, &other.outputs),
            input_sums: sum(&self.input_sums, &other.input_sums),
            output_sums: sum(&self.output_sums, &other.output_sums),
        }
    }

    /// About something: whole, not only the lower triangle.
    pub(super) fn about(mut self, about: &About, group: usize) -> Self {
        let outputs = self.outputs.len();
        let bias = match about {
            About::Means => return self.centred(),
            About::Bias(bias) => bias.as_ref().and_then(|bias| bias.get(group * outputs..(group + 1) * outputs)),
        };
        for j in 0..self.inputs.ncols() {
            for i in j..self.inputs.nrows() {
                self.inputs[(j, i)] = self.inputs[(i, j)];
            }
        }
        for (o, &b) in bias.into_iter().flatten().enumerate() {
            for (across, x) in self.across.col_as_slice_mut(o).iter_mut().zip(&self.input_sums) {
                *across -= x * b;
            }
            self.outputs[o] = (self.outputs[o] - 2.0 * b * self.output_sums[o] + b * b * self.count).max(0.0);
        }
        self
    }

    /// About the means of inputs and outputs: whole, not only the lower triangle.
    #[must_use]
    pub fn centred(mut self) -> Self {
        let n = self.count.max(1.0);
        let (x, y) = (self.input_sums.clone(), self.output_sums.clone());
        for j in 0..x.len() {
            for i in j..x.len() {
                let value = self.inputs[(i, j)] - x[i] * x[j] / n;
                self.inputs[(i, j)] = value;
                self.inputs[(j, i)] = value;
            }
        }
        for (o, y) in y.into_iter().enumerate() {
            for (across, x) in self.across.col_as_slice_mut(o).iter_mut().zip(&x) {
                *across -= x * y / n;
            }
            self.outputs[o] = (self.outputs[o] - y * y / n).max(0.0);
        }
        self
    }

    pub(super) fn is_finite(&self) -> bool {
        (0..self.inputs.ncols()).all(|j| self.inputs.col(j).iter().all(|x| x.is_finite()))
            && (0..self.across.ncols()).all(|j| self.across.col(j).iter().all(|x| x.is_finite()))
    }

    /// Sum of squares of an input over all places, the mean of all inputs.
    fn scale(&self) -> f64 {
        let n = self.inputs.nrows().max(1);
        (0..self.inputs.nrows()).map(|i| self.inputs[(i, i)]).sum::<f64>() / n as f64
    }

    /// ‖Y − w·X‖² of one row.
    pub(super) fn error(&self, output: usize, weights: &[f64]) -> f64 {
        let kept: Vec<usize> = (0..weights.len()).filter(|&k| weights[k] != 0.0).collect();
        let mut error = self.outputs[output];
        for &k in &kept {
            let column = self.inputs.col(k);
            let product: f64 = kept.iter().map(|&j| column[j] * weights[j]).sum();
            error += weights[k] * (product - 2.0 * self.across[(k, output)]);
        }
        error.max(0.0)
    }

    /// The weights of one row that are best, over the elements of `kept`; the others as they are. `None` where there is no such.
    ///
    /// # Panics
    /// Where an output or element is none of this.
    #[must_use]
    pub fn solve(&self, output: usize, weights: &[f64], kept: &[usize], lambda: f64) -> Option<Vec<f64>> {
        let pull = lambda * self.scale();
        if kept.is_empty() || !pull.is_finite() || pull <= 0.0 {
            return None;
        }
        let n = kept.len();
        let matrix = Mat::from_fn(n, n, |i, j| self.inputs[(kept[i], kept[j])] + if i == j { pull } else { 0.0 });
        let rest = |i: usize| {
            let column = self.inputs.col(kept[i]);
            self.across[(kept[i], output)] - kept.iter().map(|&k| column[k] * weights[k]).sum::<f64>()
        };
        let change = Llt::new(matrix.as_ref(), Side::Lower).ok()?.solve(Mat::from_fn(n, 1, |i, _| rest(i)));
        let mut found = weights.to_vec();
        for (i, &k) in kept.iter().enumerate() {
            found[k] += change[(i, 0)];
        }
        found.iter().all(|w| w.is_finite()).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::path::Path;

    use super::*;
    use crate::arrays;
    use crate::network::Array;

    fn matrix(array: &Array) -> Mat<f64> {
        let values = array.as_f32().unwrap();
        Mat::from_fn(array.shape[0], array.shape[1], |i, j| f64::from(values[i * array.shape[1] + j]))
    }

    #[test]
    fn rows_are_those_that_numpy_solves_for() {
        let fit: HashMap<String, Array> = arrays::read(Path::new("tests/repair/fit.npz")).unwrap().into_iter().collect();
        let (x, y) = (matrix(&fit["x"]), matrix(&fit["y"]));
        let mut gram = Gram::new(12, 3);
        // In parts, as images come.
        gram.add(x.subrows(0, 70), y.subrows(0, 70));
        gram.add(x.subrows(70, 130), y.subrows(70, 130));
        let gram = gram.about(&About::Means, 0);
        let keep = fit["keep"].as_i64().unwrap();
        for lambda in [0.01, 1.0] {
            let wanted = matrix(&fit[&format!("rows_{lambda:?}")]);
            for output in 0..3 {
                let weights: Vec<f64> = matrix(&fit["w"]).row(output).iter().copied().collect();
                let kept: Vec<usize> = (0..12).filter(|&k| keep[output * 12 + k] == 1).collect();
                let found = gram.solve(output, &weights, &kept, lambda);
                assert_eq!(found.is_none(), output == 2, "a row without elements is left");
                for (k, found) in found.unwrap_or(weights).into_iter().enumerate() {
                    assert!((found - wanted[(output, k)]).abs() < 1e-6, "{lambda} {output} {k}: {found}, and {}", wanted[(output, k)]);
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_solved_is_left() {
        let mut gram = Gram::new(2, 1);
        let zeros = Mat::zeros(5, 2);
        gram.add(zeros.as_ref(), Mat::from_fn(5, 1, |i, _| i as f64).as_ref());
        assert_eq!(gram.clone().about(&About::Means, 0).solve(0, &[1.0, 2.0], &[0, 1], 0.1), None, "dead inputs");
        // Two inputs that are one.
        let mut gram = Gram::new(2, 1);
        gram.add(Mat::from_fn(5, 2, |i, _| i as f64).as_ref(), Mat::from_fn(5, 1, |i, _| 2.0 * i as f64).as_ref());
        let found = gram.clone().about(&About::Means, 0).solve(0, &[1.0, 0.0], &[0, 1], 1e-3).unwrap();
        assert!((found[0] + found[1] - 2.0).abs() < 1e-2 && found.iter().all(|w| w.is_finite()), "{found:?}");
        gram.add(Mat::full(1, 2, f64::NAN).as_ref(), Mat::zeros(1, 1).as_ref());
        assert!(!gram.is_finite());
    }
}
