//! Masks: which elements of a parameter are pruned, as bits.

use rayon::prelude::*;

use crate::onnx::Values;

use super::keys::{narrow_key, wide_key};
use super::ranking::Ranking;

/// One bit per element of a parameter; a set bit is a pruned element (PyTorch's mask holds the opposite).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    words: Vec<u64>,
    elements: usize,
}

impl Mask {
    /// From words: bit `i % 64` of word `i / 64` is element `i`.
    #[must_use]
    pub fn from_words(mut words: Vec<u64>, elements: usize) -> Self {
        words.resize(elements.div_ceil(64), 0);
        Self { words, elements }
    }

    /// Of so many elements those that `is_pruned` names.
    #[must_use]
    pub fn of(elements: usize, is_pruned: impl Fn(usize) -> bool) -> Self {
        let mut words = vec![0; elements.div_ceil(64)];
        for i in (0..elements).filter(|&i| is_pruned(i)) {
            words[i / 64] |= 1 << (i % 64);
        }
        Self { words, elements }
    }

    /// Whether element `i` is pruned.
    #[inline]
    #[must_use]
    pub fn is_pruned(&self, i: usize) -> bool {
        self.words[i / 64] >> (i % 64) & 1 == 1
    }

    /// The bits.
    #[inline]
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Gives the bits away.
    #[must_use]
    pub fn into_words(self) -> Vec<u64> {
        self.words
    }

    /// Number of elements, pruned or not.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.elements
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.elements == 0
    }

    /// Number of pruned elements.
    #[inline]
    #[must_use]
    pub fn pruned(&self) -> u64 {
        self.words.iter().map(|w| u64::from(w.count_ones())).sum()
    }

    /// Whether no element is pruned.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// Adds the pruned elements of another mask of the same length.
    pub fn join(&mut self, other: &Self) {
        for (a, b) in self.words.iter_mut().zip(&other.words) {
            *a |= b;
        }
    }

    /// The values of the elements that are not pruned, in their order.
    #[must_use]
    pub fn left(&self, values: &Values) -> Values {
        fn left<T: Copy>(mask: &Mask, values: &[T]) -> Vec<T> {
            values.iter().enumerate().filter(|(i, _)| !mask.is_pruned(*i)).map(|(_, &v)| v).collect()
        }
        match values {
            Values::F32(v) => Values::F32(left(self, v)),
            Values::F64(v) => Values::F64(left(self, v)),
        }
    }

    /// `values` with pruned elements replaced by +0.0 and all others bit for bit as they are.
    pub fn apply(&self, values: &mut Values) {
        match values {
            Values::F32(v) => zero(v, &self.words, 0.0),
            Values::F64(v) => zero(v, &self.words, 0.0),
        }
    }

    /// Elements of `size` bytes each, with the pruned ones replaced by zeros.
    pub(crate) fn apply_to_bytes(&self, bytes: &mut [u8], size: usize) {
        for (i, element) in bytes.chunks_exact_mut(size.max(1)).enumerate() {
            if self.is_pruned(i) {
                element.fill(0);
            }
        }
    }
}

/// From this number of elements on, more than one core is worth its trouble.
const SHARED: usize = 1 << 16;

fn zero<T: Copy + Send + Sync>(values: &mut [T], words: &[u64], zero: T) {
    if values.len() < SHARED {
        return zero_here(values, words, zero);
    }
    values.par_chunks_mut(SHARED).zip(words.par_chunks(SHARED / 64)).for_each(|(values, words)| zero_here(values, words, zero));
}

#[expect(clippy::needless_range_loop, reason = "counted, for an iterator's constructor can be a call in the middle of the loop")]
fn zero_here<T: Copy>(values: &mut [T], words: &[u64], zero: T) {
    for (chunk, &word) in values.chunks_mut(64).zip(words) {
        if word == 0 {
            continue;
        }
        // Eight at a time against constants, which becomes vector code.
        let (lanes, rest) = chunk.as_chunks_mut::<8>();
        for i in 0..lanes.len() {
            let bits = (word >> (8 * i)) as u8;
            let lanes = &mut lanes[i];
            for j in 0..8 {
                lanes[j] = if bits & 1 << j == 0 { lanes[j] } else { zero };
            }
        }
        for (i, value) in rest.iter_mut().enumerate() {
            *value = if word >> (8 * lanes.len() + i) & 1 == 1 { zero } else { *value };
        }
    }
}

/// Marks the `count` smallest of `values`, ranked by `ranking`; equal ones by lowest index.
///
/// # Panics
/// When `count` is above the number of elements, or `ranking` is another parameter's.
#[must_use]
pub fn smallest(values: &Values, ranking: &Ranking, count: u64) -> Mask {
    let elements = values.len();
    assert!(count <= elements as u64 && ranking.len() == elements, "{count} of {elements}");
    if count == 0 {
        return Mask { words: vec![0; elements.div_ceil(64)], elements };
    }
    let (below, through) = ranking.around(count as usize - 1);
    let cut = ranking.magnitude(count as usize - 1);
    let ties = Ties { take: count as usize - below, all: through - below };
    let words = match values {
        Values::F32(v) => mark(v, narrow_key(cut as f32), ties, narrow_key),
        Values::F64(v) => mark(v, wide_key(cut), ties, wide_key),
    };
    Mask { words, elements }
}

/// How many of the elements at the cut are pruned.
#[derive(Clone, Copy)]
struct Ties {
    take: usize,
    all: usize,
}

/// One bit per value: its key is below `cut`, or at it and among the first `ties.take` such.
fn mark<T: Copy + Sync, K: Copy + Ord + Sync>(values: &[T], cut: K, ties: Ties, key: impl Fn(T) -> K + Sync) -> Vec<u64> {
    let is_at_most = |x: T| key(x) <= cut;
    let is_below = |x: T| key(x) < cut;
    if ties.take == ties.all {
        return bits(values, is_at_most);
    }
    // The first so many of the ties, up to where the last of them lies; behind it nothing at the cut goes.
    let mut left = ties.take;
    let end = values.iter().position(|&x| {
        left -= usize::from(key(x) == cut);
        left == 0
    });
    let end = end.map_or(values.len(), |last| last + 1);
    let whole = end / 64 * 64;
    let mut words = bits(&values[..whole], is_at_most);
    let seam = values[whole..].iter().take(64).enumerate();
    words.extend(
        (whole < values.len())
            .then(|| seam.fold(0, |word, (i, &x)| word | u64::from(if whole + i < end { is_at_most(x) } else { is_below(x) }) << i)),
    );
    words.extend(bits(values.get(whole + 64..).unwrap_or_default(), is_below));
    words
}

/// One bit per value for which `test` holds.
fn bits<T: Copy + Sync>(values: &[T], test: impl Fn(T) -> bool + Sync) -> Vec<u64> {
    let word = |chunk: &[T]| {
        // A byte for each, which becomes vector code, and then eight of them into eight bits by one product.
        let mut bytes = [0_u8; 64];
        for i in 0..chunk.len().min(64) {
            bytes[i] = u8::from(test(chunk[i]));
        }
        let mut word = 0;
        for i in 0..8 {
            let mut eight = [0; 8];
            eight.copy_from_slice(&bytes[8 * i..8 * i + 8]);
            word |= (u64::from_le_bytes(eight).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i);
        }
        word
    };
    if values.len() < SHARED {
        values.chunks(64).map(word).collect()
    } else {
        values.par_chunks(64).with_min_len(SHARED / 64).map(word).collect()
    }
}

/// Marks the `count` smallest of those elements of `values` that `gone` leaves, whose ranking is `ranking`; equal ones by lowest
/// index. What is gone is not marked.
///
/// # Panics
/// When `count` is above the number of elements that are left, or `ranking` is of others.
#[must_use]
pub fn smallest_left(values: &Values, gone: &Mask, ranking: &Ranking, count: u64) -> Mask {
    let elements = values.len();
    let left = elements as u64 - gone.pruned();
    assert!(count <= left && ranking.len() as u64 == left, "{count} of {left}");
    let mut words = vec![0; elements.div_ceil(64)];
    if count > 0 {
        let (below, _) = ranking.around(count as usize - 1);
        let cut = wide_key(ranking.magnitude(count as usize - 1));
        let mut ties = count as usize - below;
        for i in (0..elements).filter(|&i| !gone.is_pruned(i)) {
            let key = match values {
                Values::F32(v) => wide_key(f64::from(v[i])),
                Values::F64(v) => wide_key(v[i]),
            };
            let is_tie = key == cut && ties > 0;
            ties -= usize::from(is_tie);
            words[i / 64] |= u64::from(key < cut || is_tie) << (i % 64);
        }
    }
    Mask { words, elements }
}

/// Marks the first `count` zeros of `values` by index, where an element counts as zero when it is one or `fixed` names it.
#[must_use]
pub fn first_zeros(values: &Values, fixed: &Mask, count: u64) -> Mask {
    let elements = values.len();
    let is_zero = |i: usize| {
        fixed.is_pruned(i)
            || match values {
                Values::F32(v) => v[i] == 0.0,
                Values::F64(v) => v[i] == 0.0,
            }
    };
    let mut words = vec![0; elements.div_ceil(64)];
    for i in (0..elements).filter(|&i| is_zero(i)).take(count as usize) {
        words[i / 64] |= 1 << (i % 64);
    }
    Mask { words, elements }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rule in one line: sort by magnitude, then by index.
    fn reference(values: &[f32], count: usize) -> Vec<bool> {
        let mut ranks: Vec<usize> = (0..values.len()).collect();
        ranks.sort_by_key(|&i| (narrow_key(values[i]), i));
        let mut pruned = vec![false; values.len()];
        for &i in &ranks[..count] {
            pruned[i] = true;
        }
        pruned
    }

    fn value() -> impl Strategy<Value = f32> {
        prop_oneof![
            any::<f32>(),
            prop::sample::select(vec![
                0.0,
                -0.0,
                1.0,
                -1.0,
                0.5,
                f32::NAN,
                -f32::NAN,
                f32::INFINITY,
                f32::NEG_INFINITY,
                1e-45,
                f32::from_bits(0x7fc0_1234)
            ]),
        ]
    }

    proptest! {
        #[test]
        fn the_smallest_go_first_and_the_rest_is_untouched((values, count) in prop::collection::vec(value(), 0..300).prop_flat_map(|v| { let n = v.len(); (Just(v), 0..=n) })) {
            let data = Values::F32(values.clone());
            let mask = smallest(&data, &Ranking::new(&data), count as u64);
            prop_assert_eq!(mask.pruned(), count as u64);
            let wanted = reference(&values, count);
            let mut out = data;
            mask.apply(&mut out);
            let Values::F32(out) = out else { unreachable!() };
            for i in 0..values.len() {
                prop_assert_eq!(mask.is_pruned(i), wanted[i]);
                let bits = if wanted[i] { 0 } else { values[i].to_bits() };
                prop_assert_eq!(out[i].to_bits(), bits);
            }
        }

        #[test]
        fn of_what_is_left_the_smallest_go((values, gone, count) in prop::collection::vec((value(), any::<bool>()), 0..200).prop_flat_map(|v| { let n = v.iter().filter(|(_, gone)| !gone).count(); let (a, b): (Vec<f32>, Vec<bool>) = v.into_iter().unzip(); (Just(a), Just(b), 0..=n) })) {
            let mut words = vec![0; values.len().div_ceil(64)];
            (0..values.len()).filter(|&i| gone[i]).for_each(|i| words[i / 64] |= 1 << (i % 64));
            let left: Vec<f32> = (0..values.len()).filter(|&i| !gone[i]).map(|i| values[i]).collect();
            let wanted = reference(&left, count);
            let ranking = Ranking::new(&Values::F32(left));
            let mask = smallest_left(&Values::F32(values.clone()), &Mask::from_words(words, values.len()), &ranking, count as u64);
            let found: Vec<bool> = (0..values.len()).filter(|&i| !gone[i]).map(|i| mask.is_pruned(i)).collect();
            prop_assert_eq!(found, wanted);
            prop_assert_eq!(mask.pruned(), count as u64);
        }

        #[test]
        fn masks_grow_with_the_count(values in prop::collection::vec(value(), 1..200), a in 0_usize..200, b in 0_usize..200) {
            let (a, b) = (a.min(b).min(values.len()), a.max(b).min(values.len()));
            let data = Values::F32(values);
            let ranking = Ranking::new(&data);
            let (small, large) = (smallest(&data, &ranking, a as u64), smallest(&data, &ranking, b as u64));
            prop_assert!(small.words().iter().zip(large.words()).all(|(s, l)| s & !l == 0));
        }
    }
}
