//! The elements of a parameter in order of magnitude, prepared once so that any cut is found by looking up.

use std::sync::OnceLock;

use rayon::prelude::*;

use super::counts::MagnitudeCounts;
use super::keys::{NARROW_NAN, WIDE_NAN, narrow_key, narrow_magnitude, wide_key};
use crate::onnx::{Dtype, Values};

/// Magnitudes of one parameter, sorted. Equal ones stand for their elements in index ranking.
#[derive(Debug)]
pub struct Ranking {
    keys: Keys,
    zeros: u64,
    /// For every block of [`BLOCK`] ranks, the sum of the squares of its and all larger magnitudes; made when first asked for.
    squares: OnceLock<Vec<f64>>,
}

/// Ranks between two sums of squares that are kept.
const BLOCK: usize = 64;

#[derive(Debug)]
enum Keys {
    Narrow(Vec<u32>),
    Wide(Vec<u64>),
    /// Of many elements with two bytes each: how many there are of every key says as much as the list would.
    Counts(MagnitudeCounts),
}

impl Ranking {
    /// Sorts the magnitudes of `values`: O(n).
    #[must_use]
    pub fn new(values: &Values) -> Self {
        let keys = match values {
            Values::F32(v) => Keys::Narrow(radix_sort(keys_of(v, narrow_key))),
            Values::F64(v) => {
                let mut keys = keys_of(v, wide_key);
                keys.par_sort_unstable();
                Keys::Wide(keys)
            }
        };
        Self::of_keys(keys)
    }

    /// From sorted keys of 32 bits.
    pub(super) fn of_narrow(keys: Vec<u32>) -> Self {
        Self::of_keys(Keys::Narrow(keys))
    }

    /// From sorted keys of 64 bits.
    pub(super) fn of_wide(keys: Vec<u64>) -> Self {
        Self::of_keys(Keys::Wide(keys))
    }

    fn of_keys(keys: Keys) -> Self {
        let mut ranking = Self { keys, zeros: 0, squares: OnceLock::new() };
        ranking.zeros = ranking.count_below(1, Domain::Narrow, 0, ranking.len()) as u64;
        ranking
    }

    /// As [`Ranking::new`], for values that were read from this type: magnitudes of two bytes are counted and not kept.
    #[must_use]
    pub fn of(values: &Values, dtype: Dtype) -> Self {
        let counts = match values {
            Values::F32(v) => MagnitudeCounts::of(v, dtype),
            Values::F64(_) => None,
        };
        let Some(counts) = counts else { return Self::new(values) };
        Self { zeros: counts.zeros(), keys: Keys::Counts(counts), squares: OnceLock::new() }
    }

    /// Number of elements.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.keys {
            Keys::Narrow(k) => k.len(),
            Keys::Wide(k) => k.len(),
            Keys::Counts(k) => k.len(),
        }
    }

    /// Whether the parameter has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Zeros of either sign in the parameter as opened.
    #[inline]
    #[must_use]
    pub fn zeros(&self) -> u64 {
        self.zeros
    }

    /// The `rank`-th smallest magnitude, from 0.
    #[inline]
    #[must_use]
    pub fn magnitude(&self, rank: usize) -> f64 {
        match &self.keys {
            Keys::Narrow(k) => f64::from(narrow_magnitude(k[rank])),
            Keys::Wide(k) => f64::from_bits(k[rank]),
            Keys::Counts(k) => f64::from(narrow_magnitude(k.key(rank))),
        }
    }

    /// How many of the smallest elements have a key below `key`, and how many at most `key`; keys in this parameter's width.
    #[inline]
    pub(super) fn around(&self, rank: usize) -> (usize, usize) {
        match &self.keys {
            Keys::Narrow(k) => (k.partition_point(|&x| x < k[rank]), k.partition_point(|&x| x <= k[rank])),
            Keys::Wide(k) => (k.partition_point(|&x| x < k[rank]), k.partition_point(|&x| x <= k[rank])),
            Keys::Counts(k) => k.around(rank),
        }
    }

    /// Sum of the squares of the finite magnitudes from this rank on, added up from the largest down.
    #[must_use]
    pub fn squares_from(&self, rank: usize) -> f64 {
        let add = |sum: f64, rank: usize| {
            let magnitude = self.magnitude(rank);
            if magnitude.is_finite() { sum + magnitude * magnitude } else { sum }
        };
        let length = self.len();
        let blocks = self.squares.get_or_init(|| {
            let mut blocks = vec![0.0; length.div_ceil(BLOCK) + 1];
            for block in (0..length.div_ceil(BLOCK)).rev() {
                blocks[block] = (block * BLOCK..((block + 1) * BLOCK).min(length)).rev().fold(blocks[block + 1], add);
            }
            blocks
        });
        if rank >= length {
            return 0.0;
        }
        (rank..((rank / BLOCK + 1) * BLOCK).min(length)).rev().fold(blocks[rank / BLOCK + 1], add)
    }

    #[inline]
    pub(super) fn is_wide(&self) -> bool {
        matches!(self.keys, Keys::Wide(_))
    }

    /// Key of rank `rank`, in the domain in which parameters of different types compare.
    #[inline]
    fn key(&self, rank: usize, domain: Domain) -> u64 {
        match (&self.keys, domain) {
            (Keys::Narrow(k), Domain::Narrow) => u64::from(k[rank]),
            (Keys::Narrow(k), Domain::Wide) => wide_key(f64::from(narrow_magnitude(k[rank]))),
            (Keys::Wide(k), _) => k[rank],
            (Keys::Counts(k), Domain::Narrow) => u64::from(k.key(rank)),
            (Keys::Counts(k), Domain::Wide) => wide_key(f64::from(narrow_magnitude(k.key(rank)))),
        }
    }

    /// Number of elements whose key is below `key`, known to lie in `low..=high`.
    #[inline]
    pub(super) fn count_below(&self, key: u64, domain: Domain, low: usize, high: usize) -> usize {
        match (&self.keys, domain) {
            (Keys::Narrow(k), Domain::Narrow) => first(low, high, |rank| u64::from(k[rank]) >= key),
            (Keys::Wide(k), _) => first(low, high, |rank| k[rank] >= key),
            _ => first(low, high, |rank| self.key(rank, domain) >= key),
        }
    }
}

/// The first of `low..high` that passes, where every later one does as well; `high` where none does.
#[inline]
pub(super) fn first(mut low: usize, mut high: usize, passes: impl Fn(usize) -> bool) -> usize {
    while low < high {
        let middle = low + (high - low) / 2;
        if passes(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// The width of keys in which a whole scope is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Domain {
    /// All parameters are f32 or narrower.
    Narrow,
    /// At least one is f64; an f32 is compared as the f64 of the same value.
    Wide,
}

impl Domain {
    pub(super) fn largest(self) -> u64 {
        match self {
            Self::Narrow => u64::from(NARROW_NAN),
            Self::Wide => WIDE_NAN,
        }
    }

    pub(super) fn magnitude(self, key: u64) -> f64 {
        match self {
            Self::Narrow => f64::from(narrow_magnitude(key as u32)),
            Self::Wide => f64::from_bits(key),
        }
    }
}

/// The keys of all values, on all cores.
fn keys_of<T: Copy + Sync, K: Copy + Default + Send>(values: &[T], key: impl Fn(T) -> K + Sync) -> Vec<K> {
    // A plain loop over a stretch becomes vector code; an iterator over single elements need not.
    const STRETCH: usize = 1 << 14;
    let mut keys = vec![K::default(); values.len()];
    keys.par_chunks_mut(STRETCH).zip(values.par_chunks(STRETCH)).for_each(|(to, from)| {
        for (to, &from) in to.iter_mut().zip(from) {
            *to = key(from);
        }
    });
    keys
}

/// Sorts 31-bit keys: three passes of a counting sort, least significant digits first.
fn radix_sort(mut keys: Vec<u32>) -> Vec<u32> {
    if keys.len() < 2048 {
        keys.sort_unstable();
        return keys;
    }
    let (mut low, mut middle, mut high) = ([0; DIGITS], [0; DIGITS], [0; DIGITS]);
    for &key in &keys {
        low[digit::<0, 11>(key)] += 1;
        middle[digit::<11, 10>(key)] += 1;
        high[digit::<21, 10>(key)] += 1;
    }
    let mut other = vec![0; keys.len()];
    scatter::<0, 11>(&keys, &mut other, &mut low);
    scatter::<11, 10>(&other, &mut keys, &mut middle);
    scatter::<21, 10>(&keys, &mut other, &mut high);
    other
}

/// Values of the widest digit. Widths are constants, so that a digit is known to be below this.
const DIGITS: usize = 1 << 11;

/// The digit of `BITS` bits from `SHIFT` on.
#[inline]
fn digit<const SHIFT: u32, const BITS: u32>(key: u32) -> usize {
    (key >> SHIFT) as usize % (1 << BITS)
}

/// Puts keys in the order of one digit, those with the same one as they come.
fn scatter<const SHIFT: u32, const BITS: u32>(from: &[u32], to: &mut [u32], counts: &mut [u32; DIGITS]) {
    let mut start = 0;
    for count in counts.iter_mut() {
        (*count, start) = (start, start + *count);
    }
    for &key in from {
        let slot = &mut counts[digit::<SHIFT, BITS>(key)];
        to[*slot as usize] = key;
        *slot += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nan_ranks_above_infinity_and_zero_has_no_sign() {
        let ranking = Ranking::new(&Values::F32(vec![f32::NAN, -0.0, f32::INFINITY, f32::from_bits(0xffff_ffff), 0.0, -1.0e-45]));
        assert_eq!(ranking.zeros(), 2);
        let ranked: Vec<f64> = (0..6).map(|i| ranking.magnitude(i)).collect();
        assert_eq!(ranked[..2], [0.0, 0.0]);
        assert!(ranked[2] > 0.0 && ranked[2] < 1e-44);
        assert!(ranked[3].is_infinite() && ranked[4].is_nan() && ranked[5].is_nan());
        assert_eq!(ranking.around(5), (4, 6));
    }

    #[test]
    fn sums_of_squares_are_those_of_the_sorted_list() {
        let values: Vec<f32> =
            (0..1000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 * 1e-5).chain([f32::INFINITY, f32::NAN]).collect();
        let mut sorted: Vec<f64> = values.iter().map(|&x| f64::from(x)).filter(|x| x.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let ranking = Ranking::new(&Values::F32(values));
        for rank in [0, 1, 63, 64, 65, 500, 999, 1000, 1001, 1002, 2000] {
            let wanted = sorted.get(rank..).unwrap_or_default().iter().rev().fold(0.0, |sum, x| sum + x * x);
            assert_eq!(ranking.squares_from(rank), wanted, "{rank}");
        }
    }

    proptest! {
        #[test]
        fn radix_sort_sorts(keys in prop::collection::vec(0_u32..=NARROW_NAN, 2000..5000)) {
            let mut wanted = keys.clone();
            wanted.sort_unstable();
            prop_assert_eq!(radix_sort(keys), wanted);
        }

        #[test]
        fn doubles_and_singles_rank_by_exact_magnitude(singles in prop::collection::vec(any::<f32>(), 1..50), doubles in prop::collection::vec(any::<f64>(), 1..50), probe in any::<f64>()) {
            let key = wide_key(probe);
            let narrow = Ranking::new(&Values::F32(singles.clone()));
            let wide = Ranking::new(&Values::F64(doubles.clone()));
            let wanted = singles.iter().filter(|&&x| wide_key(f64::from(x)) < key).count();
            prop_assert_eq!(narrow.count_below(key, Domain::Wide, 0, singles.len()), wanted);
            let wanted = doubles.iter().filter(|&&x| wide_key(x) < key).count();
            prop_assert_eq!(wide.count_below(key, Domain::Wide, 0, doubles.len()), wanted);
        }
    }
}
