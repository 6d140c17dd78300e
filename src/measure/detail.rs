//! One parameter looked at closely: statistics, histogram, and its mask as a picture.

use crate::graph::{Layout, Parameter};
use crate::onnx::Values;
use crate::prune::Mask;

/// Bars of a histogram; odd, so that zero lies in the middle of one.
const BARS: usize = 121;
/// Most pixels of a mask's picture, either way.
const MAX_PIXELS: usize = 256;

/// Distribution of a parameter's values, signed.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Largest magnitude shown: the bars cover `-limit..=limit`.
    pub limit: f64,
    /// Non-zero elements per bar, from the left.
    pub bars: Vec<u64>,
    /// Zeros of either sign; in no bar.
    pub zeros: u64,
    /// Elements whose magnitude is above `limit`, infinite or not a number.
    pub outside: u64,
}

/// Moments and extremes of a parameter's finite values.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Statistics {
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation, over n.
    pub deviation: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
    /// Sum of magnitudes.
    pub l1: f64,
    /// Elements that are infinite or not a number.
    pub not_finite: u64,
}

/// A mask, drawn: one pixel per element or per block of elements.
#[derive(Debug, Clone, PartialEq)]
pub struct MaskPicture {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// Row by row: share of kept elements under the pixel, 0 (all pruned) to 255 (all kept).
    pub kept: Vec<u8>,
    /// Elements per pixel, across and down.
    pub block: (usize, usize),
    /// What the rows and the columns are: outputs × inputs, inputs with their kernel positions.
    pub rows: usize,
    /// Elements in a row.
    pub columns: usize,
}

/// Everything about one parameter under one mask.
#[derive(Debug, Clone, PartialEq)]
pub struct Detail {
    /// Values as they were before the mask (`weight_orig`).
    pub original: Statistics,
    /// Values after it.
    pub pruned: Statistics,
    /// Distribution before the mask.
    pub histogram: Histogram,
    /// The mask (`weight_mask`).
    pub picture: MaskPicture,
    /// Outputs (filters, rows of a matrix) all of whose elements are zero, of how many.
    pub empty_outputs: (usize, usize),
    /// Inputs (channels, columns) all of whose elements are zero, of how many.
    pub empty_inputs: (usize, usize),
}

/// A parameter with what does not change while its mask does.
#[derive(Debug)]
pub struct Subject {
    grid: Grid,
    values: Values,
    original: Statistics,
    histogram: Histogram,
}

impl Subject {
    /// Takes in `parameter` with its values before the mask.
    #[must_use]
    pub fn new(parameter: &Parameter, values: Values) -> Self {
        let numbers: Vec<f64> = (0..values.len()).map(|i| number(&values, i)).collect();
        let original = statistics(numbers.len(), |i| numbers[i]);
        Self { grid: Grid::of(parameter), original, histogram: histogram(&numbers), values }
    }

    /// The values before the mask.
    #[must_use]
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// Looks at it under `mask`.
    #[must_use]
    pub fn under(&self, mask: &Mask) -> Detail {
        let value = |i: usize| if mask.is_pruned(i) { 0.0 } else { number(&self.values, i) };
        let (empty_outputs, empty_inputs) = self.grid.empty(value);
        Detail {
            original: self.original,
            pruned: statistics(self.values.len(), value),
            histogram: self.histogram.clone(),
            picture: self.grid.picture(mask),
            empty_outputs,
            empty_inputs,
        }
    }
}

#[inline]
fn number(values: &Values, i: usize) -> f64 {
    match values {
        Values::F32(v) => f64::from(v[i]),
        Values::F64(v) => v[i],
    }
}

/// Two passes: sums and extremes, then the deviation from the mean.
fn statistics(elements: usize, value: impl Fn(usize) -> f64) -> Statistics {
    let (mut count, mut sum, mut l1) = (0_usize, 0.0, 0.0);
    let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
    for x in (0..elements).map(&value).filter(|x| x.is_finite()) {
        count += 1;
        sum += x;
        l1 += x.abs();
        min = min.min(x);
        max = max.max(x);
    }
    let not_finite = (elements - count) as u64;
    if count == 0 {
        return Statistics { not_finite, ..Statistics::default() };
    }
    let mean = sum / count as f64;
    let squares: f64 = (0..elements).map(&value).filter(|x| x.is_finite()).map(|x| (x - mean) * (x - mean)).sum();
    Statistics { mean, deviation: (squares / count as f64).sqrt(), min, max, l1, not_finite }
}

/// Bars up to the 99.9th percentile of the magnitudes and a little more, so that one outlier does not flatten the rest.
fn histogram(values: &[f64]) -> Histogram {
    let mut magnitudes: Vec<f64> = values.iter().map(|x| x.abs()).filter(|x| x.is_finite() && *x > 0.0).collect();
    let mut histogram =
        Histogram { limit: 0.0, bars: vec![0; BARS], zeros: values.iter().filter(|x| **x == 0.0).count() as u64, outside: 0 };
    if magnitudes.is_empty() {
        histogram.outside = values.len() as u64 - histogram.zeros;
        return histogram;
    }
    let rank = (magnitudes.len() - 1) * 999 / 1000;
    let (_, &mut limit, _) = magnitudes.select_nth_unstable_by(rank, f64::total_cmp);
    histogram.limit = limit * 1.15;
    let scale = BARS as f64 / (2.0 * histogram.limit);
    for &x in values.iter().filter(|x| **x != 0.0) {
        if x.abs() <= histogram.limit {
            histogram.bars[(((x + histogram.limit) * scale) as usize).min(BARS - 1)] += 1;
        } else {
            histogram.outside += 1;
        }
    }
    histogram
}

/// A parameter seen as outputs × inputs × kernel positions, whatever the file's order.
#[derive(Debug)]
pub(super) struct Grid {
    outputs: usize,
    inputs: usize,
    kernel: usize,
    inputs_first: bool,
}

impl Grid {
    pub(super) fn of(parameter: &Parameter) -> Self {
        match parameter.shape.as_slice() {
            // Other dimensions of what is empty say nothing, and may be of any size.
            _ if parameter.elements == 0 => Self { outputs: 0, inputs: 0, kernel: 0, inputs_first: false },
            [] => Self { outputs: 1, inputs: 1, kernel: 1, inputs_first: false },
            [n] => Self { outputs: *n, inputs: 1, kernel: 1, inputs_first: false },
            [first, second, rest @ ..] => {
                let kernel = rest.iter().product();
                let inputs_first = parameter.layout == Layout::InFirst;
                let (outputs, inputs) = if inputs_first { (*second, *first) } else { (*first, *second) };
                Self { outputs, inputs, kernel, inputs_first }
            }
        }
    }

    /// Position in the file of kernel position `k` of input `i` of output `o`.
    fn index(&self, o: usize, i: usize, k: usize) -> usize {
        if self.inputs_first { (i * self.outputs + o) * self.kernel + k } else { (o * self.inputs + i) * self.kernel + k }
    }

    /// Outputs and inputs that are wholly zero, of how many.
    pub(super) fn empty(&self, value: impl Fn(usize) -> f64) -> ((usize, usize), (usize, usize)) {
        let mut output_lives = vec![false; self.outputs];
        let mut input_lives = vec![false; self.inputs];
        for (o, output) in output_lives.iter_mut().enumerate() {
            for (i, input) in input_lives.iter_mut().enumerate() {
                let lives = (0..self.kernel).any(|k| value(self.index(o, i, k)) != 0.0);
                *output |= lives;
                *input |= lives;
            }
        }
        let dead = |lives: &[bool]| (lives.iter().filter(|l| !**l).count(), lives.len());
        (dead(&output_lives), dead(&input_lives))
    }

    /// Rows are outputs, columns the inputs with their kernel positions; a vector is wrapped into rows.
    fn picture(&self, mask: &Mask) -> MaskPicture {
        let columns_of_matrix = self.inputs * self.kernel;
        let vector = columns_of_matrix == 1;
        let columns = if vector { (self.outputs as f64).sqrt().ceil() as usize } else { columns_of_matrix };
        let rows = if vector { self.outputs.div_ceil(columns.max(1)) } else { self.outputs };
        let block = (columns.div_ceil(MAX_PIXELS).max(1), rows.div_ceil(MAX_PIXELS).max(1));
        let (width, height) = (columns.div_ceil(block.0), rows.div_ceil(block.1));
        let mut kept = vec![0_u32; width * height];
        let mut total = vec![0_u32; width * height];
        for row in 0..rows {
            for column in 0..columns {
                let element = if vector { row * columns + column } else { self.index(row, column / self.kernel, column % self.kernel) };
                if element >= mask.len() {
                    continue;
                }
                let pixel = row / block.1 * width + column / block.0;
                total[pixel] += 1;
                kept[pixel] += u32::from(!mask.is_pruned(element));
            }
        }
        let kept = kept.iter().zip(&total).map(|(&k, &t)| (k * 255).checked_div(t).unwrap_or(0) as u8).collect();
        MaskPicture { width, height, kept, block, rows, columns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::Dtype;

    fn detail(parameter: &Parameter, values: &Values, mask: &Mask) -> Detail {
        Subject::new(parameter, values.clone()).under(mask)
    }

    fn parameter(shape: &[usize], layout: Layout) -> Parameter {
        Parameter::of_shape(shape, layout, Dtype::F32)
    }

    #[test]
    fn empty_filters_and_inputs_are_counted() {
        // Outputs 0 and 2 of three are zero; input 1 of two is zero.
        let values = Values::F32(vec![0.0, 0.0, 5.0, 0.0, 0.0, 0.0]);
        let seen = detail(&parameter(&[3, 2], Layout::OutFirst), &values, &Mask::from_words(vec![0], 6));
        assert_eq!((seen.empty_outputs, seen.empty_inputs), ((2, 3), (1, 2)));
        let turned = Values::F32(vec![0.0, 5.0, 0.0, 0.0, 0.0, 0.0]);
        let seen = detail(&parameter(&[2, 3], Layout::InFirst), &turned, &Mask::from_words(vec![0], 6));
        assert_eq!((seen.empty_outputs, seen.empty_inputs), ((2, 3), (1, 2)));
        let seen = detail(&parameter(&[2, 3], Layout::InFirst), &turned, &Mask::from_words(vec![0b10], 6));
        assert_eq!(seen.empty_outputs, (3, 3));
    }

    #[test]
    fn a_histogram_holds_every_element() {
        let values = Values::F32(vec![0.0, -0.0, 1.0, -1.0, 0.5, f32::NAN, f32::INFINITY, 1e30]);
        let h = detail(&parameter(&[8], Layout::OutFirst), &values, &Mask::from_words(vec![0], 8)).histogram;
        assert_eq!(h.bars.iter().sum::<u64>() + h.zeros + h.outside, 8);
        assert_eq!(h.zeros, 2);
    }

    #[test]
    fn a_picture_shows_what_is_kept() {
        let mask = Mask::from_words(vec![0b0110], 4);
        let seen = detail(&parameter(&[2, 2], Layout::OutFirst), &Values::F32(vec![1.0; 4]), &mask);
        assert_eq!(seen.picture.kept, [255, 0, 0, 255]);
        let big = detail(&parameter(&[1000, 300], Layout::OutFirst), &Values::F32(vec![1.0; 300_000]), &Mask::from_words(vec![], 300_000));
        assert!(big.picture.width <= MAX_PIXELS && big.picture.height <= MAX_PIXELS);
        assert!(big.picture.kept.iter().all(|&k| k == 255));
    }

    #[test]
    fn nothing_is_not_a_crash() {
        for shape in [&[][..], &[0], &[0, 3], &[3, 0, 2], &[1 << 40, 0], &[0, 1, 1 << 40, 1 << 40]] {
            let p = parameter(shape, Layout::OutFirst);
            let _ = detail(&p, &Values::F32(vec![1.0; p.elements]), &Mask::from_words(vec![], p.elements));
        }
    }
}
