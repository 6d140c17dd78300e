//! The inverse cosine transform in whole numbers, as libjpeg's `jidctint` rounds it: Loeffler, Ligtenberg and Moschytz, "Practical
//! fast 1-D DCT algorithms with 11 multiplications", ICASSP 1989.

use std::num::Wrapping;

/// Bits after the point of the factors, and of what stands between the two passes.
const FACTOR_BITS: usize = 13;
const BETWEEN_BITS: usize = 2;

type Number = Wrapping<i32>;

/// A factor with [`FACTOR_BITS`] after the point.
const fn fixed(value: f64) -> Number {
    Wrapping((value * (1 << FACTOR_BITS) as f64 + 0.5) as i32)
}

const F_0_298: Number = fixed(0.298_631_336);
const F_0_390: Number = fixed(0.390_180_644);
const F_0_541: Number = fixed(0.541_196_100);
const F_0_765: Number = fixed(0.765_366_865);
const F_0_899: Number = fixed(0.899_976_223);
const F_1_175: Number = fixed(1.175_875_602);
const F_1_501: Number = fixed(1.501_321_110);
const F_1_847: Number = fixed(1.847_759_065);
const F_1_961: Number = fixed(1.961_570_560);
const F_2_053: Number = fixed(2.053_119_869);
const F_2_562: Number = fixed(2.562_915_447);
const F_3_072: Number = fixed(3.072_711_026);

/// The samples of a block whose coefficients are multiples of `steps`; rows of eight.
pub(super) fn samples(coefficients: &[i16; 64], steps: &[u16; 64]) -> [u8; 64] {
    let mut work = [Wrapping(0); 64];
    for x in 0..8 {
        let column: [Number; 8] = std::array::from_fn(|y| {
            let i = y * 8 + x;
            Wrapping(i32::from(coefficients[i]) * i32::from(steps[i]))
        });
        for (y, value) in transform(column, FACTOR_BITS - BETWEEN_BITS).into_iter().enumerate() {
            work[y * 8 + x] = value;
        }
    }
    let mut out = [0; 64];
    for (row, out) in work.chunks_exact(8).zip(out.chunks_exact_mut(8)) {
        let row: [Number; 8] = std::array::from_fn(|x| row[x]);
        for (sample, value) in out.iter_mut().zip(transform(row, FACTOR_BITS + BETWEEN_BITS + 3)) {
            *sample = (value.0.saturating_add(128)).clamp(0, 255) as u8;
        }
    }
    out
}

/// Eight numbers, the result rounded to `shift` bits fewer.
fn transform(c: [Number; 8], shift: usize) -> [Number; 8] {
    // Even part.
    let z = (c[2] + c[6]) * F_0_541;
    let (t2, t3) = (z - c[6] * F_1_847, z + c[2] * F_0_765);
    let (t0, t1) = ((c[0] + c[4]) << FACTOR_BITS, (c[0] - c[4]) << FACTOR_BITS);
    let even = [t0 + t3, t1 + t2, t1 - t2, t0 - t3];
    // Odd part.
    let (z3, z4) = (c[7] + c[3], c[5] + c[1]);
    let z5 = (z3 + z4) * F_1_175;
    let (z1, z2) = (-(c[7] + c[1]) * F_0_899, -(c[5] + c[3]) * F_2_562);
    let (z3, z4) = (z5 - z3 * F_1_961, z5 - z4 * F_0_390);
    let odd = [c[1] * F_1_501 + z1 + z4, c[3] * F_3_072 + z2 + z3, c[5] * F_2_053 + z2 + z4, c[7] * F_0_298 + z1 + z3];
    let half = Wrapping(1 << (shift - 1));
    std::array::from_fn(|i| if i < 4 { (even[i] + odd[i] + half) >> shift } else { (even[7 - i] - odd[7 - i] + half) >> shift })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_block_is_flat_and_a_wild_one_is_cut_off() {
        let mut coefficients = [0; 64];
        coefficients[0] = 80;
        assert_eq!(samples(&coefficients, &[2; 64]), [148; 64]);
        let wild = samples(&[i16::MIN; 64], &[u16::MAX; 64]);
        assert_eq!(wild.len(), 64);
    }

    /// Against the definition in floating point.
    #[test]
    fn samples_are_those_of_the_definition() {
        let mut state = 7_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as i16 % 40 - 20
        };
        for _ in 0..50 {
            let coefficients: [i16; 64] = std::array::from_fn(|_| next());
            let got = samples(&coefficients, &[3; 64]);
            for (i, &sample) in got.iter().enumerate() {
                let (x, y) = ((i % 8) as f64, (i / 8) as f64);
                let scale = |k: usize| if k == 0 { 0.125_f64.sqrt() } else { 0.5 };
                let angle = |k: usize, at: f64| ((2.0 * at + 1.0) * k as f64 * std::f64::consts::PI / 16.0).cos();
                let term = |k: usize| {
                    let (u, v) = (k % 8, k / 8);
                    f64::from(coefficients[k]) * 3.0 * scale(u) * scale(v) * angle(u, x) * angle(v, y)
                };
                let exact = (0..64).map(term).sum::<f64>() + 128.0;
                assert!((exact.clamp(0.0, 255.0) - f64::from(sample)).abs() < 0.6, "{exact} {sample}");
            }
        }
    }
}
