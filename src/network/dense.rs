//! Convolutions on the CPU, dense and in groups, as products of matrices that are never written down.
//!
//! The weights are one matrix, a filter to a row. What the windows show is the other, a place to a column: tiles of it are
//! copied together just before they are multiplied, across the images of a batch where planes are small, and the result goes
//! through the [`Epilogue`] while it is still in registers. Burn's flex backend 0.22.1 goes image by image and writes what the
//! windows show into memory; bias, normalisation and activation are passes of their own there.
//!
//! Measured against it (best of 200 on two busy cores, nothing behind the convolution): 3×3 in 0.6 to 0.8 times its time, 1×1 in
//! 1.0 to 1.3, where the gain is in what follows. It rests on `gemm` 0.19, which multiplies matrices that are written down.

#![expect(clippy::manual_memcpy, reason = "a call for a few numbers costs more than the numbers")]

use std::ops::Range;

use rayon::prelude::*;

use super::activation::Activation;
use super::epilogue::Epilogue;
use super::vector::{self, multiply_add};
use super::window::Window;

/// Rows and columns of a tile: their sums fill twelve vector registers of eight, and leave room for what is multiplied.
const ROWS: usize = 6;
const COLUMNS: usize = 16;

/// Elements of the second matrix that are copied together at a time: they stay in the second level of cache.
const BLOCK: usize = 1 << 16;

/// Columns that one task takes at least, where a batch has them.
const FEW: usize = 256;

/// A padded value has at most this many times the elements of the value, or of the result, where it is large.
const MAX_PADDED: usize = 8;

/// A padded value of so few elements is never too large.
const MAX_SMALL: usize = 1 << 22;

/// A convolution over planes, of which the caller has checked that everything fits.
pub(super) struct Dense<'a> {
    pub(super) x: &'a [f32],
    /// Images, channels, height, width.
    pub(super) shape: [usize; 4],
    /// Filters × channels of a group × kernel.
    pub(super) weights: &'a [f32],
    pub(super) filters: usize,
    pub(super) groups: usize,
    pub(super) windows: [Window; 2],
    /// Places of the windows, down and across.
    pub(super) places: [usize; 2],
    pub(super) epilogue: Epilogue<'a>,
}

/// How the value is laid out where windows run over it, and where in it the elements of the second matrix lie.
///
/// Where pads or strides ask for it the value is copied: with its pads, and of every row first the columns that the first
/// place across begins with, each stride apart, then those after them. So neighbours in a row of places are neighbours in
/// memory, whatever the stride.
struct Arrangement {
    copies: bool,
    /// Channels of a group, and the rows and columns of their planes.
    shape: [usize; 3],
    /// Columns of every stride.
    phase: usize,
    /// From the first place of a window to what its row shows, by row.
    rows: Vec<usize>,
    /// Elements from a row of places to the next.
    down: usize,
    /// Places of a row.
    across: usize,
}

/// Part of the result that one task works out.
struct Portion<'o> {
    /// The first image; images of different groups count apart.
    image: usize,
    images: usize,
    /// Rows of the result: filters of the group.
    rows: std::ops::Range<usize>,
    places: std::ops::Range<usize>,
    out: ResultLines<'o>,
}

/// Where a part's results go.
enum ResultLines<'o> {
    /// All images, rows and places, one after the other.
    Whole(&'o mut [f32]),
    /// One line for each row.
    Split(Vec<&'o mut [f32]>),
}

/// Whether [`Dense::run`] would hold too much: pads make most of the value.
pub(super) fn fits(shape: [usize; 4], windows: &[Window; 2], result: usize) -> bool {
    let [images, channels, ..] = shape;
    let [height, width] = padded(shape, windows);
    let whole: usize = shape.iter().product();
    height
        .checked_mul(width)
        .and_then(|plane| plane.checked_mul(images * channels))
        .is_some_and(|n| n <= MAX_SMALL || n / MAX_PADDED <= whole.max(result))
}

/// Rows and columns with pads, and with what is missing to whole strides.
fn padded([_, _, height, width]: [usize; 4], windows: &[Window; 2]) -> [usize; 2] {
    let with_pads = |length: usize, w: &Window| (length + w.pads.0 + w.pads.1).next_multiple_of(w.stride);
    [with_pads(height, &windows[0]), with_pads(width, &windows[1])]
}

impl Dense<'_> {
    /// Writes the result over what is in `out`, which has its length.
    pub(super) fn run(&self, mut out: Vec<f32>) -> Vec<f32> {
        let plane = self.places[0] * self.places[1];
        let rows = self.filters / self.groups;
        let arrangement = self.arrangement();
        let images = self.shape[0] * self.groups;
        let parts = self.parts(&mut out, rows, plane);
        // Tasks that share an image share its copy.
        let mut shared = Vec::new();
        if arrangement.copies && parts.len() > images {
            self.copy(&arrangement, 0..images, &mut shared);
        }
        parts.into_par_iter().for_each_init(Vec::new, |own, part| {
            let value = if !arrangement.copies {
                (self.x, 0)
            } else if shared.is_empty() {
                self.copy(&arrangement, part.image..part.image + part.images, own);
                (&own[..], part.image)
            } else {
                (&shared[..], 0)
            };
            vector::run(DenseTask { of: self, arrangement: &arrangement, value, part });
        });
        out
    }

    fn arrangement(&self) -> Arrangement {
        let [_, channels, height, width] = self.shape;
        let [v, h] = self.windows;
        let [mut high, mut wide] = padded(self.shape, &self.windows);
        let copies = h.stride > 1 || [v, h].iter().any(|w| w.pads != (0, 0));
        if !copies {
            [high, wide] = [height, width];
        }
        let phase = wide / h.stride;
        let channels = channels / self.groups;
        let kernel = |c: usize| {
            let column = move |x: usize| x * h.dilation % h.stride * phase + x * h.dilation / h.stride;
            let across = move |y: usize| (0..h.kernel).map(move |x| (c * high + y * v.dilation) * wide + column(x));
            (0..v.kernel).flat_map(across)
        };
        let rows = (0..channels).flat_map(kernel).collect();
        Arrangement { copies, shape: [channels, high, wide], phase, rows, down: v.stride * wide, across: self.places[1] }
    }

    /// Copies images, those of different groups counted apart, into their arrangement.
    fn copy(&self, arrangement: &Arrangement, images: std::ops::Range<usize>, to: &mut Vec<f32>) {
        let [channels, high, wide] = arrangement.shape;
        let (plane, pad) = (self.shape[2] * self.shape[3], self.windows[0].pads.0);
        to.clear();
        to.resize(images.len() * channels * high * wide, 0.0);
        let from = &self.x[images.start * channels * plane..images.end * channels * plane];
        to.par_chunks_mut(high * wide).zip(from.par_chunks(plane)).with_min_len(16).for_each(|(to, from)| {
            let rows = to[pad * wide..].chunks_mut(wide).zip(from.chunks(self.shape[3]));
            rows.for_each(|(to, from)| spread(from, self.windows[1], arrangement.phase, to));
        });
    }

    /// Divides the result among tasks: by images where there are many, else by places, else by filters.
    fn parts<'o>(&self, out: &'o mut [f32], rows: usize, plane: usize) -> Vec<Portion<'o>> {
        let images = self.shape[0] * self.groups;
        let tasks = 2 * rayon::current_num_threads();
        if images >= tasks || tasks <= 2 {
            let most = if self.groups == 1 { images.div_ceil(tasks) } else { 1 };
            let together = FEW.div_ceil(plane).clamp(1, most);
            let part = |(i, out): (usize, &'o mut [f32])| Portion {
                image: i * together,
                images: out.len() / (rows * plane),
                rows: 0..rows,
                places: 0..plane,
                out: ResultLines::Whole(out),
            };
            return out.chunks_mut(together * rows * plane).enumerate().map(part).collect();
        }
        let wanted = tasks.div_ceil(images);
        let image_parts = |(image, out): (usize, &'o mut [f32])| -> Vec<Portion<'o>> {
            if plane >= wanted * FEW {
                let length = plane.div_ceil(wanted).next_multiple_of(COLUMNS);
                let mut lines: Vec<Vec<&'o mut [f32]>> = (0..plane.div_ceil(length)).map(|_| Vec::with_capacity(rows)).collect();
                for row in out.chunks_mut(plane) {
                    row.chunks_mut(length).zip(&mut lines).for_each(|(line, part)| part.push(line));
                }
                let part = |(i, lines): (usize, Vec<&'o mut [f32]>)| Portion {
                    image,
                    images: 1,
                    rows: 0..rows,
                    places: i * length..((i + 1) * length).min(plane),
                    out: ResultLines::Split(lines),
                };
                return lines.into_iter().enumerate().map(part).collect();
            }
            let length = rows.div_ceil(wanted).next_multiple_of(ROWS);
            let part = |(i, out): (usize, &'o mut [f32])| Portion {
                image,
                images: 1,
                rows: i * length..((i + 1) * length).min(rows),
                places: 0..plane,
                out: ResultLines::Whole(out),
            };
            out.chunks_mut(length * plane).enumerate().map(part).collect()
        };
        out.chunks_mut(rows * plane).enumerate().flat_map(image_parts).collect()
    }
}

impl Arrangement {
    /// Where the windows of these columns of an image begin.
    fn starts(&self, image: usize, places: Range<usize>, to: &mut Vec<usize>) {
        let image = image * self.shape.iter().product::<usize>();
        let mut place = places.start;
        while place < places.end {
            let column = place % self.across;
            let count = (self.across - column).min(places.end - place);
            let first = image + place / self.across * self.down + column;
            to.extend(first..first + count);
            place += count;
        }
    }

    /// Copies these columns together: for each row of the matrix [`COLUMNS`] elements, zeros after the last.
    #[inline(always)]
    fn gather(&self, data: &[f32], starts: &[usize], to: &mut [[f32; COLUMNS]]) {
        let runs = |length: usize| {
            starts.len() == COLUMNS && starts.chunks(length).all(|run| run.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == 1))
        };
        if runs(COLUMNS) {
            self.gather_runs::<COLUMNS>(data, starts, to);
        } else if runs(8) {
            self.gather_runs::<8>(data, starts, to);
        } else if runs(4) {
            self.gather_runs::<4>(data, starts, to);
        } else {
            for (to, row) in to.iter_mut().zip(&self.rows) {
                to[starts.len()..].fill(0.0);
                for i in 0..starts.len() {
                    to[i] = data[starts[i] + row];
                }
            }
        }
    }

    /// As [`Self::gather`], where runs of so many columns are neighbours.
    #[inline(always)]
    fn gather_runs<const LENGTH: usize>(&self, data: &[f32], starts: &[usize], to: &mut [[f32; COLUMNS]]) {
        for (to, row) in to.iter_mut().zip(&self.rows) {
            for (i, to) in to.as_chunks_mut::<LENGTH>().0.iter_mut().enumerate() {
                let from = &data[starts[i * LENGTH] + row..][..LENGTH];
                for j in 0..LENGTH {
                    to[j] = from[j];
                }
            }
        }
    }
}

/// Writes a row behind its pad, columns a stride apart together.
fn spread(from: &[f32], window: Window, phase: usize, to: &mut [f32]) {
    match window.stride {
        1 => to[window.pads.0..][..from.len()].copy_from_slice(from),
        2 => {
            let (even, odd) = to.split_at_mut(phase);
            // Behind an odd pad the first column is an odd one.
            let (first, second, skip) =
                if window.pads.0.is_multiple_of(2) { (even, odd, window.pads.0 / 2) } else { (odd, even, window.pads.0 / 2 + 1) };
            let (pairs, rest) = from.as_chunks::<2>();
            let first = &mut first[window.pads.0 / 2..];
            first.iter_mut().zip(pairs).for_each(|(to, pair)| *to = pair[0]);
            second[skip..].iter_mut().zip(pairs).for_each(|(to, pair)| *to = pair[1]);
            if let [last] = rest {
                first[pairs.len()] = *last;
            }
        }
        stride => from.iter().enumerate().for_each(|(x, from)| {
            let x = x + window.pads.0;
            to[x % stride * phase + x / stride] = *from;
        }),
    }
}

struct DenseTask<'w, 'o> {
    of: &'w Dense<'w>,
    arrangement: &'w Arrangement,
    /// The value in its arrangement, and the image that it begins with.
    value: (&'w [f32], usize),
    part: Portion<'o>,
}

impl vector::Loop for DenseTask<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(mut self) {
        let depth = self.arrangement.rows.len();
        let places = self.part.places.len();
        let count = self.part.images * places;
        let mut starts = Vec::with_capacity(self.part.images * self.part.places.len());
        for image in 0..self.part.images {
            self.arrangement.starts(self.part.image - self.value.1 + image, self.part.places.clone(), &mut starts);
        }
        let block = (BLOCK / (depth * COLUMNS).max(1)).max(1) * COLUMNS;
        let mut columns = vec![[0.0; COLUMNS]; depth * (block.min(count.next_multiple_of(COLUMNS)) / COLUMNS)];
        let group = self.part.image % self.of.groups;
        let filters = self.of.filters / self.of.groups;
        let weights = &self.of.weights[group * filters * depth..][..filters * depth];
        let epilogue = &self.of.epilogue;
        let finishes = epilogue.scale.is_some() || epilogue.shift.is_some() || epilogue.first.is_some();
        for first in (0..count).step_by(block) {
            let starts = &starts[first..count.min(first + block)];
            starts
                .chunks(COLUMNS)
                .zip(columns.chunks_exact_mut(depth))
                .for_each(|(starts, to)| self.arrangement.gather(self.value.0, starts, to));
            for row in self.part.rows.clone().step_by(ROWS) {
                let height = ROWS.min(self.part.rows.end - row);
                // Where fewer filters are left, the last is worked out several times.
                let filter = |i: usize| group * filters + row + i.min(height - 1);
                let scale: [f32; ROWS] = std::array::from_fn(|i| epilogue.scale.as_ref().map_or(1.0, |v| v[filter(i)]));
                let shift: [f32; ROWS] = std::array::from_fn(|i| epilogue.shift.as_ref().map_or(0.0, |v| v[filter(i)]));
                let lines: [&[f32]; ROWS] = std::array::from_fn(|i| &weights[(row + i.min(height - 1)) * depth..][..depth]);
                for (i, columns) in columns.chunks_exact(depth).take(starts.len().div_ceil(COLUMNS)).enumerate() {
                    let mut sums = vector::run(Tile { rows: lines, columns });
                    if finishes {
                        vector::run(TileFinish { sums: &mut sums, scale, shift, activation: epilogue.first });
                    }
                    self.put::<FUSED>(row, height, first + i * COLUMNS, &mut sums);
                }
            }
        }
    }
}

impl DenseTask<'_, '_> {
    /// Finishes a tile, whose columns are those from `first` on, and writes it.
    #[inline(always)]
    fn put<const FUSED: bool>(&mut self, row: usize, height: usize, first: usize, sums: &mut [[f32; COLUMNS]; ROWS]) {
        let (places, plane) = (self.part.places.len(), self.of.places[0] * self.of.places[1]);
        let filters = self.of.filters / self.of.groups;
        let (rows, local) = (self.part.rows.len(), row - self.part.rows.start);
        let count = COLUMNS.min(self.part.images * places - first);
        let (mut done, mut image, mut place) = (0, first / places, first % places);
        // Most tiles lie in one image, and nothing is left to be added.
        if count == COLUMNS && place + COLUMNS <= places && !self.of.epilogue.adds() {
            for (i, sums) in sums[..height].iter().enumerate() {
                let to = match &mut self.part.out {
                    ResultLines::Whole(out) => &mut out[(image * rows + local + i) * places + place..][..COLUMNS],
                    ResultLines::Split(lines) => &mut lines[local + i][place..place + COLUMNS],
                };
                for j in 0..COLUMNS {
                    to[j] = sums[j];
                }
            }
            return;
        }
        while done < count {
            let some = (places - place).min(count - done);
            let at = ((self.part.image + image) * filters + row) * plane + self.part.places.start + place;
            for (i, sums) in sums[..height].iter_mut().enumerate() {
                if self.of.epilogue.adds() {
                    self.of.epilogue.add::<FUSED>(at + i * plane, &mut sums[done..done + some]);
                }
                let to = match &mut self.part.out {
                    ResultLines::Whole(out) => &mut out[(image * rows + local + i) * places + place..][..some],
                    ResultLines::Split(lines) => &mut lines[local + i][place..place + some],
                };
                to.copy_from_slice(&sums[done..done + some]);
            }
            done += some;
            (image, place) = (image + 1, 0);
        }
    }
}

/// Products of [`ROWS`] rows with [`COLUMNS`] columns, summed.
struct Tile<'t> {
    rows: [&'t [f32]; ROWS],
    columns: &'t [[f32; COLUMNS]],
}

impl vector::Loop for Tile<'_> {
    type Output = [[f32; COLUMNS]; ROWS];

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> Self::Output {
        let mut sums = [[0.0; COLUMNS]; ROWS];
        let depth = self.columns.len();
        let [a, b, c, d, e, f] = self.rows;
        let [a, b, c, d, e, f] = [&a[..depth], &b[..depth], &c[..depth], &d[..depth], &e[..depth], &f[..depth]];
        for k in 0..depth {
            let (column, factors) = (&self.columns[k], [a[k], b[k], c[k], d[k], e[k], f[k]]);
            for i in 0..ROWS {
                for j in 0..COLUMNS {
                    sums[i][j] = multiply_add::<FUSED>(factors[i], column[j], sums[i][j]);
                }
            }
        }
        sums
    }
}

/// Factor, summand and activation of a tile.
struct TileFinish<'t> {
    sums: &'t mut [[f32; COLUMNS]; ROWS],
    scale: [f32; ROWS],
    shift: [f32; ROWS],
    activation: Option<Activation>,
}

impl vector::Loop for TileFinish<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for (i, sums) in self.sums.iter_mut().enumerate() {
            for sum in sums {
                *sum = multiply_add::<FUSED>(*sum, self.scale[i], self.shift[i]);
            }
        }
        if let Some(activation) = self.activation {
            activation.apply::<FUSED>(self.sums.as_flattened_mut());
        }
    }
}
