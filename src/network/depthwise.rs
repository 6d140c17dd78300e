//! Convolutions on the CPU in which every filter sees one channel.
//!
//! A plane with its pads is laid out as one line, rows one after the other, so that a tap of the kernel is one shift of the
//! whole line and the loop runs over it in full vectors, whatever the width; what it works out between two rows is thrown away.
//! Strides of s make s² such lines, of every s-th column of every s-th row. Planes of several images are laid side by side
//! where they are small.
//!
//! Burn's flex backend (0.22.1) has loops of its own for such filters, tap by tap over the rows of the result, for one filter to a
//! channel; bias, normalisation and activation are passes of their own there. Measured against it (best of 200 on two busy cores):
//! 0.5 to 1.0 times its time.

#![expect(clippy::manual_memcpy, reason = "a call for a few numbers costs more than the numbers")]

use rayon::prelude::*;

use super::epilogue::Epilogue;
use super::vector::{self, multiply_add};
use super::window::Window;

/// Elements that are summed together.
const WIDTH: usize = 32;

/// Elements that a line has at least, where a batch has them.
const LINE: usize = 256;

/// Rows shorter than this are moved element by element.
const SHORT: usize = 16;

/// A depthwise convolution, of which the caller has checked that everything fits.
pub(super) struct Depthwise<'a> {
    pub(super) x: &'a [f32],
    /// Images, channels, height, width.
    pub(super) shape: [usize; 4],
    /// Filters × kernel.
    pub(super) weights: &'a [f32],
    /// A multiple of the channels: each is seen by as many filters.
    pub(super) filters: usize,
    pub(super) windows: [Window; 2],
    /// Places of the windows, down and across.
    pub(super) places: [usize; 2],
    pub(super) epilogue: Epilogue<'a>,
}

/// How a plane is laid out.
struct Unwound {
    /// Rows and columns of a line.
    rows: usize,
    columns: usize,
    /// Elements of the lines of all phases of one image, and of one line with all images.
    phase: usize,
    /// From an element of the result's line to what each tap sees, with the tap's place in the kernel.
    taps: Vec<(usize, usize)>,
    /// Where the elements of an image's plane lie in the lines, where rows are short.
    places: Option<Vec<usize>>,
    /// Elements of the lines together, with room for the last vector to run over.
    room: usize,
}

impl Depthwise<'_> {
    /// Writes the result over what is in `out`, which has its length.
    pub(super) fn run(&self, mut out: Vec<f32>) -> Vec<f32> {
        let plane = self.places[0] * self.places[1];
        let (images, tasks) = (self.shape[0], 2 * rayon::current_num_threads());
        let rows = self.rows_and_columns();
        if images >= tasks {
            let together = LINE.div_ceil(rows[0] * rows[1]).clamp(1, images.div_ceil(tasks));
            let unwound = self.unwound(rows, together);
            out.par_chunks_mut(together * self.filters * plane).enumerate().for_each(|(i, out)| {
                vector::run(DepthwiseTask { of: self, unwound: &unwound, first: i * together * self.filters, filters: self.filters, out });
            });
        } else {
            let unwound = self.unwound(rows, 1);
            let filters = (images * self.filters).div_ceil(tasks).max(1);
            out.par_chunks_mut(filters * plane).enumerate().for_each(|(i, out)| {
                let count = out.len() / plane;
                vector::run(DepthwiseTask { of: self, unwound: &unwound, first: i * filters, filters: count, out });
            });
        }
        out
    }

    /// Rows and columns of the line of a phase.
    fn rows_and_columns(&self) -> [usize; 2] {
        std::array::from_fn(|i| (self.windows[i].pads.0 + self.shape[2 + i] + self.windows[i].pads.1).div_ceil(self.windows[i].stride))
    }

    fn unwound(&self, [rows, columns]: [usize; 2], images: usize) -> Unwound {
        let [v, h] = self.windows;
        let phase = images * rows * columns;
        let tap = &|y: usize, x: usize| (y % v.stride * h.stride + x % h.stride) * phase + y / v.stride * columns + x / h.stride;
        // Some taps of a large kernel see only pads.
        let sees = |i: usize, k: usize| {
            let Window { stride, dilation, pads, .. } = self.windows[i];
            let first = pads.0.saturating_sub(k * dilation).div_ceil(stride);
            first < self.places[i] && first * stride + k * dilation < pads.0 + self.shape[2 + i]
        };
        let (down, across): (Vec<_>, Vec<_>) =
            ((0..v.kernel).filter(|k| sees(0, *k)).collect(), (0..h.kernel).filter(|k| sees(1, *k)).collect());
        let taps: Vec<_> =
            down.iter().flat_map(|y| across.iter().map(move |x| (tap(y * v.dilation, x * h.dilation), y * h.kernel + x))).collect();
        let furthest = taps.iter().map(|(tap, _)| *tap).max().unwrap_or(0);
        let (height, width) = (self.shape[2], self.shape[3]);
        let short = width < SHORT && height * width < LINE;
        let places = short.then(|| (0..height * width).map(|i| tap(i / width + v.pads.0, i % width + h.pads.0)).collect());
        let room = (v.stride * h.stride * phase).max(furthest + phase.next_multiple_of(WIDTH));
        Unwound { rows, columns, phase, taps, places, room }
    }
}

/// Planes of the result that one task works out: all filters of some images, or some filters of one after the other.
struct DepthwiseTask<'w, 'o> {
    of: &'w Depthwise<'w>,
    unwound: &'w Unwound,
    /// The first plane of the result.
    first: usize,
    /// Filters that the part has of each image.
    filters: usize,
    out: &'o mut [f32],
}

impl vector::Loop for DepthwiseTask<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { of, unwound, first, filters, out } = self;
        let plane = of.places[0] * of.places[1];
        let images = (out.len() / (filters * plane)).max(1);
        let each = of.filters / of.shape[1];
        let mut lines = vec![0.0; unwound.room];
        let used = images * unwound.rows * unwound.columns;
        let mut sums = vec![0.0; used.next_multiple_of(WIDTH)];
        let kernel = of.windows[0].kernel * of.windows[1].kernel;
        let mut taps = Vec::with_capacity(kernel);
        let mut shown = usize::MAX;
        for f in 0..filters {
            let channel = (first + f) / each;
            if shown != channel {
                shown = channel;
                for image in 0..images {
                    of.show(channel + image * of.shape[1], image, unwound, &mut lines);
                }
            }
            let filter = (first + f) % of.filters;
            let weights = &of.weights[filter * kernel..][..kernel];
            taps.clear();
            taps.extend(unwound.taps.iter().map(|&(tap, k)| (tap, weights[k])));
            vector::run(Shifts { lines: &lines, taps: &taps, sums: &mut sums });
            vector::run(LineFinish { epilogue: &of.epilogue, filter, sums: &mut sums });
            for image in 0..images {
                // A part with several images has all their filters.
                let local = image * filters + f;
                let to = &mut out[local * plane..(local + 1) * plane];
                let from = &sums[image * unwound.rows * unwound.columns..];
                for (y, to) in to.chunks_exact_mut(of.places[1]).enumerate() {
                    let from = &from[y * unwound.columns..][..to.len()];
                    if to.len() < SHORT {
                        for x in 0..to.len() {
                            to[x] = from[x];
                        }
                    } else {
                        to.copy_from_slice(from);
                    }
                }
                if of.epilogue.adds() {
                    of.epilogue.add::<FUSED>((first + local) * plane, to);
                }
            }
        }
    }
}

impl Depthwise<'_> {
    /// Lays the plane of a channel of an image out in `lines`. Pads are never written: they stay zero.
    #[inline(always)]
    fn show(&self, plane: usize, image: usize, unwound: &Unwound, lines: &mut [f32]) {
        let [v, h] = self.windows;
        let (height, width) = (self.shape[2], self.shape[3]);
        let from = &self.x[plane * height * width..][..height * width];
        if let Some(places) = &unwound.places {
            let (lines, places) = (&mut lines[image * unwound.rows * unwound.columns..], &places[..from.len()]);
            for i in 0..from.len() {
                lines[places[i]] = from[i];
            }
            return;
        }
        if v.stride == 1 && h.stride == 1 {
            let first = (image * unwound.rows + v.pads.0) * unwound.columns + h.pads.0;
            for (y, from) in from.chunks_exact(width).enumerate() {
                lines[first + y * unwound.columns..][..width].copy_from_slice(from);
            }
            return;
        }
        for (y, from) in from.chunks_exact(width).enumerate() {
            let y = y + v.pads.0;
            let row = (image * unwound.rows + y / v.stride) * unwound.columns + y % v.stride * h.stride * unwound.phase;
            if h.stride == 1 {
                lines[row + h.pads.0..][..width].copy_from_slice(from);
                continue;
            }
            for phase in 0..h.stride {
                // The first column of this phase that is no pad.
                let x = (phase + h.stride - h.pads.0 % h.stride) % h.stride;
                let to = row + phase * unwound.phase + (x + h.pads.0) / h.stride;
                let count = width.saturating_sub(x).div_ceil(h.stride);
                let (to, from) = (&mut lines[to..to + count], &from[x.min(width)..]);
                if h.stride == 2 {
                    for i in 0..count {
                        to[i] = from[2 * i];
                    }
                } else {
                    for i in 0..count {
                        to[i] = from[h.stride * i];
                    }
                }
            }
        }
    }
}

/// Every tap's shift of the lines, times its weight, summed.
struct Shifts<'s> {
    lines: &'s [f32],
    /// Shifts and weights.
    taps: &'s [(usize, f32)],
    sums: &'s mut [f32],
}

impl vector::Loop for Shifts<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let (sums, _) = self.sums.as_chunks_mut::<WIDTH>();
        for (i, to) in sums.iter_mut().enumerate() {
            let lines = &self.lines[i * WIDTH..];
            let mut sum = [0.0; WIDTH];
            for &(tap, weight) in self.taps {
                let from = &lines[tap..tap + WIDTH];
                for i in 0..WIDTH {
                    sum[i] = multiply_add::<FUSED>(weight, from[i], sum[i]);
                }
            }
            *to = sum;
        }
    }
}

/// Factor, summand and activation, over a whole line.
struct LineFinish<'s> {
    epilogue: &'s Epilogue<'s>,
    filter: usize,
    sums: &'s mut [f32],
}

impl vector::Loop for LineFinish<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let (sums, _) = self.sums.as_chunks_mut::<WIDTH>();
        for sums in sums {
            self.epilogue.scale::<FUSED, WIDTH>(self.filter, sums);
            self.epilogue.activate::<FUSED, WIDTH>(sums);
        }
    }
}
