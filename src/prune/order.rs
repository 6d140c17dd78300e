//! The order in which the elements of one parameter go, where that is not simply the order of their magnitudes.

use std::sync::Arc;

use rayon::prelude::*;

use super::keys::{narrow_key, wide_key};
use super::mask::Mask;
use super::pattern::{Dimension, Pattern, SliceNorm};
use super::ranking::Ranking;
use super::score::{Score, chance};
use crate::graph::{Lines, Parameter, ParameterId, Role};
use crate::onnx::Values;

/// One parameter as it is before a step.
#[derive(Clone, Copy)]
pub struct Unordered<'a> {
    /// The parameter.
    pub parameter: &'a Parameter,
    /// Its number.
    pub id: ParameterId,
    /// What its module does.
    pub role: Role,
    /// Its elements, with what was fixed.
    pub values: &'a Values,
    /// What is masked.
    pub kept: &'a Mask,
}

/// The elements of a parameter that are not masked, in the order in which they go under a score and a pattern.
#[derive(Debug)]
pub struct Order {
    /// Scores of the units, sorted: units are elements or slices.
    ranking: Arc<Ranking>,
    /// Elements in the order in which they go.
    sequence: Vec<u32>,
    /// Where units are slices: how much of the sequence each takes with those before it, from none on.
    ends: Option<Vec<u64>>,
    /// Places in the sequence whose elements are zero as it is.
    zeros: Vec<u32>,
    /// So many elements go whatever the amount.
    decided: Option<u64>,
    /// Whether the sequence is that of the ranking; compared within rows it is not.
    is_ranked: bool,
}

impl Order {
    /// Sorts what is left of a parameter; `None` where score or pattern do not apply to it, see [`Recipe::left_out`](super::Recipe::left_out).
    #[must_use]
    pub fn new(score: &Score, pattern: Pattern, unordered: Unordered) -> Option<Self> {
        let Unordered { parameter, id, role, values, kept } = unordered;
        let axes = parameter.axes(role);
        u32::try_from(values.len()).ok()?;
        if let (Pattern::Slices { norm, dimension }, false) = (pattern, score.is_mask()) {
            let lines = axes
                .map(|axes| if dimension == Dimension::Outputs { axes.outputs(&parameter.shape) } else { axes.inputs(&parameter.shape) })?;
            let scores = match score {
                Score::Random(seed) => (0..lines.count).map(|line| f64::from(chance(*seed, id, line))).collect(),
                _ => means(&score.of(parameter, id, axes, values)?, kept, lines, norm),
            };
            return Some(Self::of_slices(&scores, lines, unordered));
        }
        let scores = score.of(parameter, id, axes, values)?;
        let (ranking, mut sequence) = sort(&scores, kept);
        let mut is_ranked = true;
        let mut decided = None;
        if score.is_mask() {
            decided = Some(ranking.zeros());
        } else if let Pattern::Groups { keep, of } = pattern {
            let lines = axes?.inputs(&parameter.shape);
            let goes = groups(&scores, kept, lines, keep.into(), of.into())?;
            let (first, rest): (Vec<u32>, Vec<u32>) = sequence.into_iter().partition(|&i| goes.is_pruned(i as usize));
            decided = Some(first.len() as u64);
            sequence = [first, rest].concat();
            is_ranked = false;
        } else if matches!(score, Score::Wanda(_)) {
            sequence = row_by_row(&sequence, axes?.outputs(&parameter.shape));
            is_ranked = false;
        }
        let zeros = zero_places(&sequence, values);
        Some(Self { ranking: Arc::new(ranking), sequence, ends: None, zeros, decided, is_ranked })
    }

    fn of_slices(scores: &[f64], lines: Lines, Unordered { values, kept, .. }: Unordered) -> Self {
        let mut members = vec![Vec::new(); lines.count];
        for i in (0..values.len()).filter(|&i| !kept.is_pruned(i)) {
            members[lines.line(i)].push(i as u32);
        }
        // What is wholly masked is no slice any more.
        let mut left: Vec<usize> = (0..lines.count).filter(|&line| !members[line].is_empty()).collect();
        left.sort_by_key(|&line| (wide_key(scores[line]), line));
        let mut ends = vec![0];
        let mut sequence = Vec::new();
        for &line in &left {
            sequence.extend_from_slice(&members[line]);
            ends.push(sequence.len() as u64);
        }
        let ranking = Ranking::new(&Values::F64(left.iter().map(|&line| scores[line]).collect()));
        let zeros = zero_places(&sequence, values);
        Self { ranking: Arc::new(ranking), sequence, ends: Some(ends), zeros, decided: None, is_ranked: true }
    }

    /// Scores of the units, sorted.
    #[must_use]
    pub fn ranking(&self) -> &Arc<Ranking> {
        &self.ranking
    }

    /// Elements that are not masked.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.sequence.len() as u64
    }

    /// Elements of the first `units` units.
    #[must_use]
    pub fn elements_of(&self, units: u64) -> u64 {
        self.ends.as_ref().map_or(units, |ends| ends[units as usize])
    }

    /// Whether units are slices.
    #[must_use]
    pub fn has_slices(&self) -> bool {
        self.ends.is_some()
    }

    /// Elements that go whatever the amount; `None` where the amount says it.
    #[must_use]
    pub fn decided(&self) -> Option<u64> {
        self.decided
    }

    /// Whether the units go in the order of their scores.
    #[must_use]
    pub fn is_ranked(&self) -> bool {
        self.is_ranked
    }

    /// Elements that are zero when the first `count` are masked, these included.
    #[must_use]
    pub fn zeros(&self, count: u64) -> u64 {
        count + (self.zeros.len() - self.zeros.partition_point(|&place| u64::from(place) < count)) as u64
    }

    /// The first `count` elements, of a parameter of `elements`. What was masked before is not marked.
    ///
    /// # Panics
    /// When fewer are left.
    #[must_use]
    pub fn first(&self, count: u64, elements: usize) -> Mask {
        let mut words = vec![0; elements.div_ceil(64)];
        for &i in &self.sequence[..count as usize] {
            words[i as usize / 64] |= 1_u64 << (i % 64);
        }
        Mask::from_words(words, elements)
    }

    /// Per element its place in the order, as the bits of a float; 0 for what is masked. A GPU that takes the smallest of them masks
    /// what [`Order::first`] does.
    #[must_use]
    pub fn places(&self, elements: usize) -> Vec<f32> {
        let mut places = vec![0.0; elements];
        for (place, &i) in (0..).zip(&self.sequence) {
            places[i as usize] = f32::from_bits(place);
        }
        places
    }
}

/// Scores of what is not masked, sorted, and its elements in that order; equal ones by index.
fn sort(scores: &Values, kept: &Mask) -> (Ranking, Vec<u32>) {
    fn sorted<T: Copy + Sync, K: Copy + Ord + Send>(scores: &[T], kept: &Mask, key: impl Fn(T) -> K + Sync) -> (Vec<K>, Vec<u32>) {
        let mut pairs: Vec<(K, u32)> = if kept.is_clear() {
            scores.par_iter().enumerate().map(|(i, &score)| (key(score), i as u32)).collect()
        } else {
            (0..scores.len()).filter(|&i| !kept.is_pruned(i)).map(|i| (key(scores[i]), i as u32)).collect()
        };
        pairs.par_sort_unstable();
        pairs.into_iter().unzip()
    }
    match scores {
        Values::F32(v) => {
            let (keys, sequence) = sorted(v, kept, narrow_key);
            (Ranking::of_narrow(keys), sequence)
        }
        Values::F64(v) => {
            let (keys, sequence) = sorted(v, kept, wide_key);
            (Ranking::of_wide(keys), sequence)
        }
    }
}

/// Elements sorted by score in such an order that every beginning takes equally many of every row, to within one, the smallest first.
fn row_by_row(sorted: &[u32], rows: Lines) -> Vec<u32> {
    let mut taken = vec![0_u32; rows.count];
    let places: Vec<u32> = sorted
        .iter()
        .map(|&i| {
            let taken = &mut taken[rows.line(i as usize)];
            *taken += 1;
            *taken - 1
        })
        .collect();
    // A counting sort by the place within the row, which leaves those of one place in the order of their scores.
    let mut starts = vec![0_usize; taken.iter().max().map_or(1, |&most| most as usize + 1)];
    for &place in &places {
        starts[place as usize + 1] += 1;
    }
    for place in 1..starts.len() {
        starts[place] += starts[place - 1];
    }
    let mut sequence = vec![0; sorted.len()];
    for (&i, &place) in sorted.iter().zip(&places) {
        sequence[starts[place as usize]] = i;
        starts[place as usize] += 1;
    }
    sequence
}

/// The elements that N:M takes and that are not masked; `None` where the inputs do not divide into groups. What is masked counts as the
/// smallest of its group.
fn groups(scores: &Values, kept: &Mask, inputs: Lines, keep: usize, of: usize) -> Option<Mask> {
    if !inputs.size.is_multiple_of(of) {
        return None;
    }
    let key = |i: usize| match scores {
        _ if kept.is_pruned(i) => None,
        Values::F32(v) => Some(u64::from(narrow_key(v[i]))),
        Values::F64(v) => Some(wide_key(v[i])),
    };
    let mut words = vec![0; scores.len().div_ceil(64)];
    let mut group = Vec::with_capacity(of);
    for first in (0..scores.len()).filter(|&i| inputs.within(i).is_multiple_of(of)) {
        group.clear();
        group.extend((0..of).map(|n| first + n * inputs.step).map(|i| (key(i), i)));
        group.sort_unstable();
        for &(key, i) in &group[..of - keep] {
            if key.is_some() {
                words[i / 64] |= 1_u64 << (i % 64);
            }
        }
    }
    Some(Mask::from_words(words, scores.len()))
}

/// What every line is compared by: the mean over its elements, what is masked being zero.
fn means(scores: &Values, kept: &Mask, lines: Lines, norm: SliceNorm) -> Vec<f64> {
    let mut sums = vec![0.0_f64; lines.count];
    for i in (0..scores.len()).filter(|&i| !kept.is_pruned(i)) {
        let score = match scores {
            Values::F32(v) => f64::from(v[i]).abs(),
            Values::F64(v) => v[i].abs(),
        };
        let sum = &mut sums[lines.line(i)];
        *sum = match norm {
            SliceNorm::L1 => *sum + score,
            SliceNorm::L2 => *sum + score * score,
            SliceNorm::Max if score.is_nan() || sum.is_nan() => f64::NAN,
            SliceNorm::Max => sum.max(score),
        };
    }
    let members = (scores.len() / lines.count.max(1)).max(1) as f64;
    if norm != SliceNorm::Max {
        for sum in &mut sums {
            *sum /= members;
        }
    }
    sums
}

fn zero_places(sequence: &[u32], values: &Values) -> Vec<u32> {
    let is_zero = |i: u32| match values {
        Values::F32(v) => v[i as usize] == 0.0,
        Values::F64(v) => v[i as usize] == 0.0,
    };
    (0..).zip(sequence).filter(|(_, i)| is_zero(**i)).map(|(place, _)| place).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::graph::Layout;
    use crate::onnx::Dtype;
    use crate::prune::InputNorms;

    fn order(score: &Score, pattern: Pattern, shape: &[usize], values: &[f32], kept: &[usize]) -> Option<Order> {
        let parameter = Parameter::of_shape(shape, Layout::OutFirst, Dtype::F32);
        let mut words = vec![0_u64; values.len().div_ceil(64)];
        for i in kept {
            words[i / 64] |= 1 << (i % 64);
        }
        let kept = Mask::from_words(words, values.len());
        let values = Values::F32(values.to_vec());
        Order::new(score, pattern, Unordered { parameter: &parameter, id: ParameterId(0), role: Role::Dense, values: &values, kept: &kept })
    }

    #[test]
    fn groups_keep_the_largest_and_ties_lose_the_lower_index() {
        let groups = Pattern::Groups { keep: 2, of: 4 };
        let found = order(&Score::Magnitude, groups, &[1, 8], &[1.0, -4.0, 2.0, 3.0, 5.0, 5.0, 5.0, 5.0], &[]).unwrap();
        assert_eq!(found.decided(), Some(4));
        let gone: Vec<usize> = (0..8).filter(|&i| found.first(4, 8).is_pruned(i)).collect();
        assert_eq!(gone, [0, 2, 4, 5]);
        // Of a convolution seen as [kernel, inputs]: elements two apart.
        let found = order(&Score::Magnitude, Pattern::Groups { keep: 1, of: 2 }, &[1, 2, 2], &[1.0, 9.0, 3.0, 4.0], &[]).unwrap();
        assert!([0, 3].iter().all(|&i| found.first(2, 4).is_pruned(i)));
        // One that is masked is one of those that go.
        let found = order(&Score::Magnitude, groups, &[1, 4], &[9.0, 1.0, 2.0, 3.0], &[0]).unwrap();
        assert_eq!((found.decided(), found.elements()), (Some(1), 3));
        assert!(found.first(1, 4).is_pruned(1));
        assert!(order(&Score::Magnitude, groups, &[4, 3], &[1.0; 12], &[]).is_none());
    }

    #[test]
    fn slices_go_by_their_norm_and_masked_ones_are_none() {
        let of = |norm, dimension| Pattern::Slices { norm, dimension };
        let values = [1.0, 5.0, 3.0, 3.5, 0.0, 6.2];
        let rows = |norm, kept: &[usize]| {
            let order = order(&Score::Magnitude, of(norm, Dimension::Outputs), &[3, 2], &values, kept).unwrap();
            let gone = order.first(order.elements_of(1), 6);
            ((0..6).filter(|&i| gone.is_pruned(i)).collect::<Vec<_>>(), order.ranking().len())
        };
        assert_eq!(rows(SliceNorm::L1, &[]), (vec![0, 1], 3));
        assert_eq!(rows(SliceNorm::L2, &[]), (vec![2, 3], 3));
        assert_eq!(rows(SliceNorm::Max, &[]), (vec![2, 3], 3));
        assert_eq!(rows(SliceNorm::L1, &[0, 1]), (vec![4, 5], 2), "the first row is wholly masked");
        assert_eq!(rows(SliceNorm::L1, &[5]), (vec![4], 3), "half of the last row is");
        let columns = order(&Score::Magnitude, of(SliceNorm::L1, Dimension::Inputs), &[3, 2], &values, &[]).unwrap();
        assert!([0, 2, 4].iter().all(|&i| columns.first(columns.elements_of(1), 6).is_pruned(i)));
        assert_eq!((columns.zeros(0), columns.zeros(3)), (1, 3));
        assert!(order(&Score::Magnitude, of(SliceNorm::L1, Dimension::Outputs), &[6], &values, &[]).is_none());
    }

    #[test]
    fn wanda_takes_equally_many_of_every_row() {
        let norms = InputNorms { images: "images".into(), count: 1, inputs: vec![Some(vec![1.0, 1.0, 10.0])] };
        let wanda = Score::Wanda(Arc::new(norms));
        let found = order(&wanda, Pattern::Elements, &[2, 3], &[1.0, 2.0, 0.3, 90.0, 70.0, 8.0], &[]).unwrap();
        let sequence: Vec<u32> = found.sequence.clone();
        // Scores 1 2 3 | 90 70 80: the smallest of each row, then the next of each.
        assert_eq!(sequence, [0, 4, 1, 5, 2, 3]);
    }

    proptest! {
        #[test]
        fn every_beginning_of_an_order_is_a_mask_of_its_length(
            values in prop::collection::vec(prop::sample::select(vec![0.0_f32, -0.0, 1.0, -2.0, 3.0, f32::NAN, f32::INFINITY]), 24),
            kept in prop::collection::btree_set(0_usize..24, 0..24),
            seed in any::<u64>(),
        ) {
            let kept: Vec<usize> = kept.into_iter().collect();
            let patterns = ["elements", "2:4", "1:2", "l1:0", "l2:1", "linf:0"];
            let scores = [Score::Magnitude, Score::Random(seed)];
            for (pattern, score) in patterns.iter().flat_map(|pattern| scores.iter().map(move |score| (pattern, score))) {
                let order = order(score, pattern.parse().unwrap(), &[2, 4, 3], &values, &kept).unwrap();
                prop_assert_eq!(order.elements(), 24 - kept.len() as u64);
                for count in 0..=order.elements() {
                    let mask = order.first(count, 24);
                    prop_assert_eq!(mask.pruned(), count);
                    prop_assert!(kept.iter().all(|&i| !mask.is_pruned(i)));
                    let zeros = (0..24).filter(|&i| !kept.contains(&i) && (values[i] == 0.0 || mask.is_pruned(i))).count();
                    prop_assert_eq!(order.zeros(count), zeros as u64);
                    // A device that takes the smallest places takes the same.
                    let places = order.places(24);
                    prop_assert!((0..24).filter(|i| !kept.contains(i)).all(|i| mask.is_pruned(i) == (u64::from(places[i].to_bits()) < count)));
                }
            }
        }
    }
}
