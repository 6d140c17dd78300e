//! Pillow's `resize`, bit for bit: rows first and then columns, each rounded to 8 bits, with weights of 22 bits after the point.
//!
//! Where a filter overshoots, the order of the two passes and the rounding between them show: libraries that go another way are
//! many grey levels apart at hard edges.

use std::f64::consts::PI;

use super::picture::{Filter, Picture};

/// Pillow's `PRECISION_BITS`.
const BITS: u32 = 32 - 8 - 2;

/// Resizes to `width` × `height`, which are not 0.
pub(super) fn resample(picture: &Picture, width: usize, height: usize, filter: Filter) -> Picture {
    let (have_width, have_height) = (picture.width as usize, picture.height as usize);
    let Some((kernel, support)) = kernel(filter) else { return nearest(picture, width, height) };
    let mut rgb = std::borrow::Cow::Borrowed(&picture.rgb[..]);
    if width != have_width {
        rgb = along_rows(&rgb, have_width, &taps(have_width, width, kernel, support)).into();
    }
    if height != have_height {
        rgb = along_columns(&rgb, width * 3, &taps(have_height, height, kernel, support)).into();
    }
    Picture { width: width as u32, height: height as u32, rgb: rgb.into_owned() }
}

/// Weight at a distance, and reach.
type Kernel = (fn(f64) -> f64, f64);

/// A filter's weight at a distance from its middle, and how far it reaches.
fn kernel(filter: Filter) -> Option<Kernel> {
    match filter {
        Filter::Nearest => None,
        Filter::Bilinear => Some((|x| (1.0 - x.abs()).max(0.0), 1.0)),
        Filter::Bicubic => Some((bicubic, 2.0)),
        Filter::Lanczos => Some((|x| if (-3.0..3.0).contains(&x) { sinc(x) * sinc(x / 3.0) } else { 0.0 }, 3.0)),
    }
}

/// Keys' cubic, a = -0.5.
fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
}

/// What one pixel is mixed from: the first of its sources, and their weights.
struct Tap {
    first: usize,
    weights: Vec<i32>,
}

/// Pillow's `precompute_coeffs` and `normalize_coeffs_8bpc`.
fn taps(have: usize, want: usize, kernel: fn(f64) -> f64, support: f64) -> Vec<Tap> {
    let scale = have as f64 / want as f64;
    let stretch = scale.max(1.0);
    let reach = support * stretch;
    let tap = |pixel: usize| {
        let centre = (pixel as f64 + 0.5) * scale;
        let first = (centre - reach + 0.5).max(0.0) as usize;
        let end = ((centre + reach + 0.5) as usize).min(have);
        let weights: Vec<f64> = (first..end).map(|x| kernel((x as f64 - centre + 0.5) * (1.0 / stretch))).collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |w: f64| {
            let w = if sum == 0.0 { w } else { w / sum } * f64::from(1 << BITS);
            // Halves away from zero, cut off.
            (w + 0.5_f64.copysign(w)) as i32
        };
        Tap { first, weights: weights.into_iter().map(fixed).collect() }
    };
    (0..want).map(tap).collect()
}

fn to_byte(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

fn along_rows(rgb: &[u8], width: usize, taps: &[Tap]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rgb.len() / width * taps.len());
    let mut planes: [Vec<u8>; 3] = std::array::from_fn(|_| vec![0; width]);
    for row in rgb.chunks_exact(width * 3) {
        // Colour by colour, so that a tap is a product of two plain slices.
        for (i, pixel) in row.chunks_exact(3).enumerate() {
            for (plane, &v) in planes.iter_mut().zip(pixel) {
                plane[i] = v;
            }
        }
        for tap in taps {
            for plane in &planes {
                let sources = &plane[tap.first..tap.first + tap.weights.len()];
                let sum: i32 = sources.iter().zip(&tap.weights).map(|(&v, &w)| i32::from(v) * w).sum();
                out.push(to_byte(sum + (1 << (BITS - 1))));
            }
        }
    }
    out
}

fn along_columns(rgb: &[u8], row: usize, taps: &[Tap]) -> Vec<u8> {
    let mut out = Vec::with_capacity(row * taps.len());
    let mut sums = vec![0_i32; row];
    for tap in taps {
        sums.fill(1 << (BITS - 1));
        for (source, &w) in rgb[tap.first * row..].chunks_exact(row).zip(&tap.weights) {
            for (sum, &v) in sums.iter_mut().zip(source) {
                *sum += i32::from(v) * w;
            }
        }
        out.extend(sums.iter().map(|&sum| to_byte(sum)));
    }
    out
}

/// Pillow's `ImagingScaleAffine`: the position is added up, not multiplied.
fn nearest(picture: &Picture, width: usize, height: usize) -> Picture {
    let places = |have: u32, want: usize| {
        let step = f64::from(have) / want as f64;
        let mut at = step * 0.5;
        let mut places = Vec::with_capacity(want);
        for _ in 0..want {
            places.push((at as usize).min(have as usize - 1));
            at += step;
        }
        places
    };
    let (columns, rows) = (places(picture.width, width), places(picture.height, height));
    let pixel = |y: usize, x: usize| {
        let at = (y * picture.width as usize + x) * 3;
        [picture.rgb[at], picture.rgb[at + 1], picture.rgb[at + 2]]
    };
    let rgb = rows.iter().flat_map(|&y| columns.iter().flat_map(move |&x| pixel(y, x))).collect();
    Picture { width: width as u32, height: height as u32, rgb }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Image.fromarray(v).resize((5, 1), filter)` in Pillow 13.0.0.
    #[test]
    fn an_overshoot_is_cut_off_as_in_pillow() {
        let row: Vec<u8> = [0, 0, 255, 255, 0, 255, 10, 200, 30].iter().flat_map(|&v| [v; 3]).collect();
        let picture = Picture { width: 9, height: 1, rgb: row };
        let of = |filter| resample(&picture, 5, 1, filter).rgb.chunks(3).map(|p| p[0]).collect::<Vec<_>>();
        assert_eq!(of(Filter::Nearest), PILLOW[0]);
        assert_eq!(of(Filter::Bilinear), PILLOW[1]);
        assert_eq!(of(Filter::Bicubic), PILLOW[2]);
        assert_eq!(of(Filter::Lanczos), PILLOW[3]);
    }

    const PILLOW: [[u8; 5]; 4] = [[0, 255, 0, 10, 30], [18, 207, 120, 122, 101], [1, 218, 126, 123, 99], [0, 216, 131, 126, 93]];
}
