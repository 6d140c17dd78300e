//! Numbers that hang on nothing but a seed: `SplitMix64` (Steele, Lea and Flood 2014). Crates of generators do not promise theirs from
//! one version to the next.

/// What the generator's state counts by.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The generator's output in this state.
#[inline]
pub(crate) fn split_mix(state: u64) -> u64 {
    let z = state.wrapping_add(STEP);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// In 0..1: what an f32 holds of an output without rounding.
#[inline]
pub(crate) fn fraction(output: u64) -> f32 {
    (output >> 40) as f32 / (1_u64 << 24) as f32
}

/// The generator's next output.
#[inline]
pub(crate) fn next(state: &mut u64) -> u64 {
    let output = split_mix(*state);
    *state = state.wrapping_add(STEP);
    output
}

/// Standard normal: the sum of twelve uniform numbers less six (Irwin-Hall).
pub(crate) fn normal(state: &mut u64) -> f32 {
    (0..12).map(|_| fraction(next(state))).sum::<f32>() - 6.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_mix_gives_the_published_numbers() {
        // The first outputs of the authors' program from the seed 1234567.
        let mut state = 1_234_567_u64;
        for wanted in [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423] {
            assert_eq!(next(&mut state), wanted);
        }
    }

    #[test]
    fn normal_numbers_have_mean_0_and_deviation_1() {
        let mut state = 3;
        let numbers: Vec<f64> = (0..10_000).map(|_| f64::from(normal(&mut state))).collect();
        let mean = numbers.iter().sum::<f64>() / 1e4;
        let deviation = (numbers.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 1e4).sqrt();
        assert!(mean.abs() < 0.03 && (deviation - 1.0).abs() < 0.03, "{mean} {deviation}");
    }
}
