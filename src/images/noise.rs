//! Pictures of noise, for where there are none of a person's.
//!
//! White noise looks like no photograph: layers give values for it that they never give otherwise. In photographs the amplitude falls
//! as the frequency rises, so that every octave holds equally much (Field 1987). Of the two kinds here, which have that, the one has no
//! edges and the other nothing else: what repairs a network for the one and harms it for the other repairs little.

use std::f32::consts::PI;

use rayon::prelude::*;

use crate::random::{fraction, next, normal};

/// Kinds of pictures of noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoiseKind {
    /// As much of value noise in every octave: random numbers on a lattice, and straight between them.
    Octaves,
    /// Things of all sizes, one before the other (dead leaves; Lee, Mumford and Huang 2001).
    Leaves,
}

/// Mean and deviation of the pictures' brightness, from 0 to 1: about those of ImageNet.
const BRIGHTNESS: [f32; 2] = [0.45, 0.22];
/// Deviation of each colour from the brightness: photographs are nearly grey.
const COLOUR: f32 = 0.07;
/// Deviation of the brightness of whole pictures.
const EXPOSURE: f32 = 0.1;
/// Things in a picture.
const LEAVES: usize = 300;
/// Half the width of the smallest and of the largest of them, as shares of the picture's longer edge.
const LEAF: [f32; 2] = [0.02, 0.5];

impl NoiseKind {
    /// So many pictures, `size` high and wide, pixel by pixel; with the same seed the same, whatever the number of threads.
    pub(super) fn pictures(self, size: [usize; 2], count: usize, seed: u64) -> Vec<u8> {
        let picture = |number: usize| {
            let mut random = seed.wrapping_mul(1_000_003).wrapping_add(number as u64).wrapping_mul(0x2545_f491_4f6c_dd1d);
            match self {
                Self::Octaves => clouds(size, &mut random),
                Self::Leaves => leaves(size, &mut random),
            }
        };
        (0..count).into_par_iter().flat_map_iter(picture).collect()
    }
}

/// A value of 0 to 1 as a byte; what is beyond becomes the nearest.
fn byte(value: f32) -> u8 {
    (value * 255.0).round() as u8
}

fn leaves([height, width]: [usize; 2], random: &mut u64) -> Vec<u8> {
    let [mean, deviation] = BRIGHTNESS;
    let colour = |random: &mut u64| {
        let grey = mean + deviation * normal(random);
        std::array::from_fn::<u8, 3, _>(|_| byte(grey + COLOUR * normal(random)))
    };
    let mut pixels = vec![colour(random); height * width];
    let edge = height.max(width) as f32;
    for _ in 0..LEAVES {
        let mut uniform = || fraction(next(random));
        // As many of every size as makes pictures of any scale alike: their number falls as the cube of it.
        let [least, most] = LEAF;
        let radius = edge * (least / (1.0 - uniform() * (1.0 - (least / most) * (least / most))).sqrt()).min(most);
        let (y, x) = (uniform() * height as f32, uniform() * width as f32);
        let (is_round, (sin, cos), narrow) = (uniform() < 0.5, (uniform() * PI).sin_cos(), radius * (0.2 + 0.8 * uniform()));
        let colour = colour(random);
        let reach = if is_round { radius } else { radius * std::f32::consts::SQRT_2 };
        let between = |middle: f32, end: usize| (middle - reach).max(0.0) as usize..((middle + reach) as usize + 1).min(end);
        for row in between(y, height) {
            for column in between(x, width) {
                let (down, across) = (row as f32 - y, column as f32 - x);
                let (along, off) = (across * cos + down * sin, down * cos - across * sin);
                let is_in =
                    if is_round { down * down + across * across < radius * radius } else { along.abs() < radius && off.abs() < narrow };
                if is_in {
                    pixels[row * width + column] = colour;
                }
            }
        }
    }
    pixels.into_iter().flatten().collect()
}

fn clouds([height, width]: [usize; 2], random: &mut u64) -> Vec<u8> {
    let brightness = octaves([height, width], random);
    let colours: [Vec<f32>; 3] = std::array::from_fn(|_| octaves([height, width], random));
    let [mean, deviation] = BRIGHTNESS;
    let exposure = mean + EXPOSURE * normal(random);
    let mut rgb = Vec::with_capacity(3 * height * width);
    for i in 0..height * width {
        rgb.extend(colours.iter().map(|colour| byte(exposure + deviation * brightness[i] + COLOUR * colour[i])));
    }
    rgb
}

/// Value noise of every octave, from one period of the whole down to single pixels, of mean 0 and deviation 1.
fn octaves([height, width]: [usize; 2], random: &mut u64) -> Vec<f32> {
    let mut field = vec![0.0; height * width];
    let mut spacing = height.max(width).next_power_of_two();
    while spacing > 0 {
        add_octave(&mut field, width, spacing, random);
        spacing /= 2;
    }
    let count = field.len().max(1) as f32;
    let mean = field.iter().sum::<f32>() / count;
    let deviation = (field.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / count).sqrt();
    // A single pixel deviates from nothing.
    let scale = if deviation > 0.0 { deviation.recip() } else { 0.0 };
    for value in &mut field {
        *value = (*value - mean) * scale;
    }
    field
}

/// Adds random numbers `spacing` pixels apart, with straight lines between them.
fn add_octave(field: &mut [f32], width: usize, spacing: usize, random: &mut u64) {
    let height = field.len() / width.max(1);
    let columns = width / spacing + 2;
    let lattice: Vec<f32> = (0..columns * (height / spacing + 2)).map(|_| normal(random)).collect();
    let between = |a: f32, b: f32, share: f32| a + (b - a) * share;
    for (y, row) in field.chunks_exact_mut(width.max(1)).enumerate() {
        let (first, down) = (y / spacing * columns, (y % spacing) as f32 / spacing as f32);
        let [above, below] = [&lattice[first..][..columns], &lattice[first + columns..][..columns]];
        for (x, value) in row.iter_mut().enumerate() {
            let (left, across) = (x / spacing, (x % spacing) as f32 / spacing as f32);
            let [above, below] = [above, below].map(|row| between(row[left], row[left + 1], across));
            *value += between(above, below, down);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [NoiseKind; 2] = [NoiseKind::Octaves, NoiseKind::Leaves];

    /// The deviation of the means of squares of this edge.
    fn deviation(field: &[f32], width: usize, edge: usize) -> f64 {
        let mean = |y: usize, x: usize| {
            (0..edge * edge).map(|i| f64::from(field[(y + i / edge) * width + x + i % edge])).sum::<f64>() / (edge * edge) as f64
        };
        let corners = |length: usize| (0..length / edge).map(move |n| n * edge);
        let means: Vec<f64> =
            corners(field.len() / width).flat_map(|y| corners(width).map(move |x| (y, x))).map(|(y, x)| mean(y, x)).collect();
        let of_all = means.iter().sum::<f64>() / means.len() as f64;
        (means.iter().map(|m| (m - of_all) * (m - of_all)).sum::<f64>() / means.len() as f64).sqrt()
    }

    /// Of white noise the means of 8 x 8 pixels deviate an eighth as much as the pixels.
    #[test]
    fn coarse_parts_differ_nearly_as_much_as_fine_ones() {
        let mut random = 5;
        for size in [[64, 64], [96, 64], [57, 131]] {
            let field = octaves(size, &mut random);
            let fine = deviation(&field, size[1], 1);
            assert!((fine - 1.0).abs() < 1e-3, "{size:?}: {fine}");
            let coarse = deviation(&field, size[1], 8);
            assert!((0.5..0.95).contains(&coarse), "{size:?}: {coarse}");
        }
    }

    #[test]
    fn pictures_are_their_seeds_and_differ_from_one_another() {
        for kind in KINDS {
            let size = [20, 31];
            let of = |count, seed| kind.pictures(size, count, seed);
            let (two, length) = (of(2, 1), 20 * 31 * 3);
            assert_eq!(two, of(2, 1));
            assert_eq!(of(1, 1), two[..length]);
            assert_ne!(two[..length], two[length..]);
            assert_ne!(of(2, 0), two);
            let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
            assert_eq!(one_thread.install(|| of(2, 1)), two);
            for size in [[1, 1], [1, 7], [2, 1]] {
                assert_eq!(kind.pictures(size, 3, 0).len(), 3 * 3 * size[0] * size[1]);
            }
        }
    }

    #[test]
    fn they_are_as_bright_as_photographs_and_nearly_grey() {
        for kind in KINDS {
            let bytes = kind.pictures([48, 48], 16, 3);
            let mean = bytes.iter().map(|&v| f64::from(v)).sum::<f64>() / bytes.len() as f64 / 255.0;
            let deviation = (bytes.iter().map(|&v| (f64::from(v) / 255.0 - mean).powi(2)).sum::<f64>() / bytes.len() as f64).sqrt();
            assert!((0.35..0.55).contains(&mean) && (0.18..0.32).contains(&deviation), "{kind:?}: {mean} {deviation}");
            let difference = bytes.chunks_exact(3).map(|p| f64::from(p[0].abs_diff(p[1]))).sum::<f64>() / (bytes.len() / 3) as f64 / 255.0;
            assert!((0.02..0.2).contains(&difference), "{kind:?}: {difference}");
        }
    }

    /// Two neighbours are equal within a thing, and nowhere else.
    #[test]
    fn leaves_have_edges_and_octaves_have_none() {
        let equal = |kind: NoiseKind| {
            let bytes = kind.pictures([64, 64], 4, 9);
            let pixels: Vec<&[u8]> = bytes.chunks_exact(3).collect();
            pixels.windows(2).filter(|pair| pair[0] == pair[1]).count() as f64 / pixels.len() as f64
        };
        let [octaves, leaves] = KINDS.map(equal);
        assert!(octaves < 0.1 && (0.5..0.98).contains(&leaves), "{octaves} {leaves}");
    }
}
