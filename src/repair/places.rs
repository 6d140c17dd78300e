//! The places at which a layer is looked at, and where the numbers of each lie in what it reads and gives.

use faer::Mat;
use rayon::prelude::*;

use super::squares::Shape;
use crate::network::Window;

/// How a layer reads its input.
#[derive(Debug, Clone)]
pub(super) enum Reading {
    /// Rows of numbers, the inputs last.
    Rows,
    /// Windows over images.
    Windows(Vec<Window>),
}

/// What is looked at of some images of one layer.
pub(super) struct Places {
    pub(super) groups: usize,
    /// Of one group.
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Places of one image that there are, and that are looked at.
    pub(super) positions: usize,
    pub(super) looked: usize,
    /// Images that came before these.
    first: usize,
    /// Numbers of one image.
    x_size: usize,
    y_size: usize,
    pub(super) windows: Option<Offsets>,
}

impl Places {
    /// Of so many images, which come after others, at most so many places each; `None` where what is read and given does not fit the layer.
    pub(super) fn new(
        shape: &Shape,
        (x, y): (&[usize], &[usize]),
        reading: &Reading,
        (images, first): (usize, usize),
        most: usize,
    ) -> Option<Self> {
        let size = |shape: &[usize]| {
            let elements: usize = shape.iter().product();
            (images > 0 && elements.is_multiple_of(images)).then(|| elements / images)
        };
        let (x_size, y_size) = (size(x)?, size(y)?);
        let &Shape { groups, inputs, outputs, .. } = shape;
        let channels = groups * outputs;
        let positions = y_size / channels.max(1);
        let windows = match reading {
            Reading::Rows => None,
            Reading::Windows(windows) => Some(Offsets::new(windows, x.get(2..)?, y.get(2..)?)),
        };
        let is_read = match &windows {
            None => x_size == positions * inputs && groups == 1,
            Some(offsets) => x_size == inputs / offsets.kernel * groups * offsets.plane,
        };
        let is_fitting = is_read && positions > 0 && y_size == positions * channels;
        is_fitting.then(|| Self { groups, inputs, outputs, positions, looked: positions.min(most), first, x_size, y_size, windows })
    }

    /// The places of an image that are looked at.
    pub(super) fn of(&self, image: usize) -> impl Fn(usize) -> usize {
        let (positions, step, start) = (self.positions, stride(self.positions), (self.first + image) * 7);
        let is_all = self.looked == positions;
        move |i| if is_all { i } else { (start + i * step) % positions }
    }

    /// What one group reads and gives at the places of these images, one per row.
    pub(super) fn matrices(&self, (xs, ys): (&[f32], &[f32]), group: usize, images: &[usize]) -> (Mat<f64>, Mat<f64>) {
        let at: Vec<(usize, usize)> =
            images.iter().flat_map(|&image| (0..self.looked).map(self.of(image)).map(move |place| (image, place))).collect();
        let (inputs, outputs) = (self.inputs, self.outputs);
        let (kernel, plane) = self.windows.as_ref().map_or((1, 1), |offsets| (offsets.kernel, offsets.plane));
        let first = group * (inputs / kernel) * plane;
        // Where every row begins to read, under each element of the kernel.
        let begin = |k: usize| {
            move |&(image, place): &(usize, usize)| match &self.windows {
                None => Some(image * self.x_size + place * inputs),
                Some(offsets) => offsets.of(place, k).map(|inside| image * self.x_size + first + inside),
            }
        };
        let read: Vec<Vec<Option<usize>>> = (0..kernel).into_par_iter().map(|k| at.iter().map(begin(k)).collect()).collect();
        let (start, step) = match self.windows {
            Some(_) => (group * outputs * self.positions, self.positions),
            None => (0, 1),
        };
        let gives = if self.windows.is_some() { 1 } else { outputs };
        let given: Vec<usize> = at.iter().map(|&(image, place)| image * self.y_size + start + place * gives).collect();
        let mut x = Mat::zeros(at.len(), inputs);
        let mut y = Mat::zeros(at.len(), outputs);
        columns(&mut x).into_par_iter().enumerate().for_each(|(k, column)| {
            for (value, at) in column.iter_mut().zip(&read[k % kernel]) {
                *value = at.map_or(0.0, |at| f64::from(xs[at + k / kernel * plane]));
            }
        });
        columns(&mut y).into_par_iter().enumerate().for_each(|(o, column)| {
            for (value, at) in column.iter_mut().zip(&given) {
                *value = f64::from(ys[at + o * step]);
            }
        });
        (x, y)
    }
}

/// The columns of a matrix.
fn columns(matrix: &mut Mat<f64>) -> Vec<&mut [f64]> {
    matrix.as_mut().col_iter_mut().filter_map(|column| Some(column.try_as_col_major_mut()?.as_slice_mut())).collect()
}

/// A step through so many places that comes to each once, far ones after one another.
fn stride(places: usize) -> usize {
    let gcd = |mut a: usize, mut b: usize| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let mut step = (places as f64 * 0.618_034) as usize;
    while step > 1 && gcd(step, places) != 1 {
        step -= 1;
    }
    step.max(1)
}

/// Where the elements of windows lie in a channel of an image.
pub(super) struct Offsets {
    pub(super) kernel: usize,
    pub(super) plane: usize,
    /// Per axis, place and element of the kernel.
    axes: Vec<(usize, usize, Vec<Option<usize>>)>,
}

impl Offsets {
    fn new(windows: &[Window], spatial: &[usize], out: &[usize]) -> Self {
        let plane: usize = spatial.iter().product();
        let mut step = plane;
        let mut axes = Vec::with_capacity(windows.len());
        for ((window, &length), &places) in windows.iter().zip(spatial).zip(out) {
            step /= length.max(1);
            let inside = |at: usize| (at / window.kernel * window.stride + at % window.kernel * window.dilation).checked_sub(window.pads.0);
            let offsets = (0..places * window.kernel).map(|at| inside(at).filter(|&at| at < length).map(|at| at * step)).collect();
            axes.push((places, window.kernel, offsets));
        }
        Self { kernel: windows.iter().map(|w| w.kernel).product(), plane, axes }
    }

    /// The element of the channel under element `k` of the kernel at a place; `None` in the padding.
    pub(super) fn of(&self, mut place: usize, mut k: usize) -> Option<usize> {
        let mut at = 0;
        for (places, kernel, offsets) in self.axes.iter().rev() {
            at += offsets[place % places * kernel + k % kernel]?;
            place /= places;
            k /= kernel;
        }
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_find_the_elements_under_them() {
        // One axis of 5, a kernel of 3 in steps of 2, one element of padding on either side.
        let window = Window { kernel: 3, stride: 2, dilation: 1, pads: (1, 1) };
        let offsets = Offsets::new(&[window], &[5], &[3]);
        let found: Vec<Vec<Option<usize>>> = (0..3).map(|place| (0..3).map(|k| offsets.of(place, k)).collect()).collect();
        assert_eq!(found, [[None, Some(0), Some(1)], [Some(1), Some(2), Some(3)], [Some(3), Some(4), None]]);
        // Two axes: rows of 4.
        let window = Window { kernel: 2, stride: 1, dilation: 1, pads: (0, 0) };
        let offsets = Offsets::new(&[window, window], &[3, 4], &[2, 3]);
        assert_eq!((0..4).map(|k| offsets.of(4, k)).collect::<Vec<_>>(), [5, 6, 9, 10].map(Some));
    }
}
