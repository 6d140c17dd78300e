//! Where the cut lies, and how many elements of every parameter fall below it. No element is touched.
//!
//! A step prunes the first units that a parameter has left in its ranking (elements, or slices), so what it adds to a parameter's mask
//! is a prefix of its [`Ranking`](super::Ranking) or [`Order`](super::Order), and a number per parameter says which.

use super::amount::{Amount, AmountError};
use super::masked::Standing;
use super::method::Method;
use super::ranking::{Domain, first};
use super::shares;
use crate::graph::Role;

/// One parameter of the scope.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    /// How it stands before the step.
    pub standing: &'a Standing,
    /// Its name, for messages.
    pub name: &'a str,
    /// Its dimensions.
    pub shape: &'a [usize],
    /// What its module does.
    pub role: Role,
    /// An amount of its own, of what it has left.
    pub own: Option<Amount>,
}

impl Candidate<'_> {
    /// Units that are in question, masked ones included: elements, or slices.
    fn ranked(&self) -> u64 {
        self.standing.ranking.len() as u64
    }

    /// Units that are not masked.
    pub(super) fn left(&self) -> u64 {
        self.ranked() - self.standing.masked
    }

    /// Elements that are not masked.
    pub(super) fn elements_left(&self) -> u64 {
        self.standing.elements() - self.standing.count()
    }

    /// Magnitude of the largest unit among the first so many; `None` where there is none, or they do not go in the order of theirs.
    fn cut(&self, units: u64) -> Option<f64> {
        units.checked_sub(1).filter(|_| self.standing.is_ranked()).map(|rank| self.magnitude(rank))
    }

    /// Magnitude of the element of this rank, in the order after fixing.
    fn magnitude(&self, rank: u64) -> f64 {
        if rank < self.standing.fixed { 0.0 } else { self.standing.ranking.magnitude(rank as usize) }
    }

    /// Elements that share the magnitude of this rank, in the order after fixing.
    fn ties(&self, rank: u64) -> u64 {
        let Standing { ranking, fixed, .. } = self.standing;
        let zeros = (*fixed).max(ranking.zeros());
        if rank < zeros {
            return zeros;
        }
        let (below, through) = ranking.around(rank as usize);
        through as u64 - (below as u64).max(*fixed)
    }
}

/// The result of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// Masked elements of every candidate after the step.
    pub masked: Vec<u64>,
    /// Magnitude of the largest pruned element of every candidate; `None` where nothing is masked.
    pub cuts: Vec<Option<f64>>,
    /// Of a method with a common cut, what it compares of the largest element that the step pruned: the magnitude for `global`, the
    /// score for `lamp` and `norm`; `None` where it pruned none, and for the others.
    pub cut: Option<f64>,
    /// Elements of the scope, in its rankings, that share the cut; 1 where the cut is unique, 0 without a cut. Where every parameter
    /// has a number of its own: summed over the parameters whose cut is shared by elements that stay.
    pub ties: u64,
}

/// Masks `amount` of the units that `candidates` have left, in addition to what is masked; where masks or N:M groups decide, the amount
/// says nothing.
///
/// # Errors
/// The amount is out of range for the scope (layer-wise: for one of its parameters), or beyond what the method reaches.
pub fn select(candidates: &[Candidate], method: Method, amount: Amount) -> Result<Selection, AmountError> {
    select_units(candidates, method, amount).map_err(|error| match error {
        AmountError::Count { count, limit, what } if candidates.iter().any(|c| c.standing.has_slices()) => {
            AmountError::Slices { count, limit, what }
        }
        error => error,
    })
}

fn select_units(candidates: &[Candidate], method: Method, amount: Amount) -> Result<Selection, AmountError> {
    if candidates.iter().any(|c| c.standing.decided().is_some()) {
        let masked = candidates.iter().map(|c| c.standing.elements_of(c.standing.decided().unwrap_or(0))).collect();
        return Ok(Selection { masked, cuts: vec![None; candidates.len()], cut: None, ties: 0 });
    }
    if candidates.iter().all(|c| c.own.is_none()) {
        return shared(candidates, method, amount);
    }
    let (own, rest): (Vec<Candidate>, Vec<Candidate>) = candidates.iter().partition(|c| c.own.is_some());
    let counts = own.iter().map(|c| c.own.map_or(Ok(0), |own| own.count(c.left(), c.name))).collect::<Result<Vec<u64>, _>>()?;
    let amount = rest_amount(candidates, &rest, counts.iter().sum(), method, amount)?;
    let (own, rest) = (each(&own, &counts), shared(&rest, method, amount)?);
    let mut all = Selection { ties: own.ties + rest.ties, cut: rest.cut, masked: Vec::new(), cuts: Vec::new() };
    let (mut own, mut rest) = (own.masked.into_iter().zip(own.cuts), rest.masked.into_iter().zip(rest.cuts));
    for c in candidates {
        let side = if c.own.is_some() { &mut own } else { &mut rest };
        all.masked.extend(side.next().map(|(masked, cut)| {
            all.cuts.push(cut);
            masked
        }));
    }
    Ok(all)
}

/// The amount for those without one of their own: what is left of the whole, which loses `amount`.
fn rest_amount(candidates: &[Candidate], rest: &[Candidate], taken: u64, method: Method, amount: Amount) -> Result<Amount, AmountError> {
    // A number for each says nothing of the whole.
    if method == Method::LayerWise && matches!(amount, Amount::Count(_)) {
        return Ok(amount);
    }
    let (left, left_of_rest) = (candidates.iter().map(Candidate::left).sum::<u64>(), rest.iter().map(Candidate::left).sum::<u64>());
    let wanted = amount.count(left, "the scope")?.saturating_sub(taken);
    if wanted > left_of_rest {
        return Err(AmountError::Reach {
            method: method.name(),
            most: (taken + left_of_rest) as f64 / left as f64,
            why: "modules with an amount of their own keep the rest",
        });
    }
    let is_each = method == Method::LayerWise;
    Ok(if is_each { Amount::Fraction(wanted as f64 / left_of_rest.max(1) as f64) } else { Amount::Count(wanted) })
}

/// As [`select`], of candidates without an amount of their own.
fn shared(candidates: &[Candidate], method: Method, amount: Amount) -> Result<Selection, AmountError> {
    if method.has_common_cut() {
        common(candidates, method, amount)
    } else {
        Ok(each(candidates, &shares::counts(candidates, method, amount)?))
    }
}

/// So many of each.
fn each(candidates: &[Candidate], counts: &[u64]) -> Selection {
    let mut selection =
        Selection { masked: Vec::with_capacity(candidates.len()), cuts: Vec::with_capacity(candidates.len()), cut: None, ties: 0 };
    for (c, &count) in candidates.iter().zip(counts) {
        let first = c.standing.masked + count;
        selection.masked.push(c.standing.elements_of(first));
        selection.cuts.push(c.cut(first));
        if count > 0 && first < c.ranked() && c.magnitude(first).total_cmp(&c.magnitude(first - 1)).is_eq() {
            selection.ties += c.ties(first - 1);
        }
    }
    selection
}

/// The smallest of all, as the method compares them.
fn common(candidates: &[Candidate], method: Method, amount: Amount) -> Result<Selection, AmountError> {
    let left: u64 = candidates.iter().map(Candidate::left).sum();
    let count = amount.count(left, "the scope")?;
    if count == 0 {
        let cuts = candidates.iter().map(|c| c.cut(c.standing.masked)).collect();
        return Ok(Selection { masked: candidates.iter().map(|c| c.standing.count()).collect(), cuts, cut: None, ties: 0 });
    }
    let cut = find_cut(candidates, &Scale::of(candidates, method), count);
    // Everything below the cut goes; of what equals it, the first in order until the count is reached.
    let mut rest = count - candidates.iter().zip(&cut.below).map(|(c, &b)| b.max(c.standing.masked) - c.standing.masked).sum::<u64>();
    let mut firsts = Vec::with_capacity(candidates.len());
    let mut ties = 0;
    for ((c, &below), &through) in candidates.iter().zip(&cut.below).zip(&cut.through) {
        let start = below.max(c.standing.masked);
        let take = rest.min(through.max(start) - start);
        rest -= take;
        ties += through - below;
        firsts.push(start + take);
    }
    let cuts = candidates.iter().zip(&firsts).map(|(c, &m)| c.cut(m)).collect();
    let masked = candidates.iter().zip(&firsts).map(|(c, &m)| c.standing.elements_of(m)).collect();
    Ok(Selection { masked, cuts, cut: Some(cut.value), ties })
}

/// By what elements of different parameters are compared: a key that grows with the rank.
enum Scale {
    /// Their magnitudes.
    Magnitude(Domain),
    /// LAMP's score, as the bits of a double.
    Lamp,
    /// The magnitude over these norms, as the bits of a double.
    Norm(Vec<f64>),
}

/// What a sum of squares or a norm that something is divided by is at least.
const SMALLEST_DIVISOR: f64 = 1e-300;

impl Scale {
    fn of(candidates: &[Candidate], method: Method) -> Self {
        match method {
            Method::Lamp => Self::Lamp,
            Method::Norm => {
                let norm = |c: &Candidate| {
                    let Standing { ranking, fixed, masked, .. } = c.standing;
                    ranking.squares_from((*fixed).max(*masked) as usize).sqrt().max(SMALLEST_DIVISOR)
                };
                Self::Norm(candidates.iter().map(norm).collect())
            }
            _ if candidates.iter().any(|c| c.standing.ranking.is_wide()) => Self::Magnitude(Domain::Wide),
            _ => Self::Magnitude(Domain::Narrow),
        }
    }

    fn largest(&self) -> u64 {
        match self {
            Self::Magnitude(domain) => domain.largest(),
            Self::Lamp | Self::Norm(_) => u64::MAX,
        }
    }

    /// What a key stands for.
    fn value(&self, key: u64) -> f64 {
        match self {
            Self::Magnitude(domain) => domain.magnitude(key),
            // Of a NaN or an infinity.
            Self::Lamp | Self::Norm(_) if key == u64::MAX => f64::INFINITY,
            Self::Lamp | Self::Norm(_) => f64::from_bits(key),
        }
    }

    /// Key of a candidate's element of this rank; NaN and infinities rank largest.
    fn key(&self, number: usize, c: &Candidate, rank: usize) -> u64 {
        let magnitude = c.magnitude(rank as u64);
        if !magnitude.is_finite() {
            return u64::MAX;
        }
        match self {
            Self::Norm(norms) => (magnitude / norms[number]).to_bits(),
            _ => (magnitude * magnitude / c.standing.ranking.squares_from(rank).max(SMALLEST_DIVISOR)).to_bits(),
        }
    }

    /// How many of a candidate's elements have a key below this one, known to lie in `low..=high`.
    fn count_below(&self, number: usize, c: &Candidate, key: u64, low: usize, high: usize) -> usize {
        if let Self::Magnitude(domain) = self {
            return c.standing.ranking.count_below(key, *domain, low, high);
        }
        first(low, high, |rank| self.key(number, c, rank) >= key)
    }
}

/// What is compared, with the number of elements of every candidate below it, and at most it.
struct Cut {
    value: f64,
    below: Vec<u64>,
    through: Vec<u64>,
}

/// The smallest key such that at least `count` unmasked elements are at most it: bisection over the bits of the key, with the
/// range of ranks of every parameter narrowed on the way, so that each costs its logarithm once.
fn find_cut(candidates: &[Candidate], scale: &Scale, count: u64) -> Cut {
    let (mut low, mut high) = (0, scale.largest());
    let mut below = vec![0_usize; candidates.len()];
    let mut through: Vec<usize> = candidates.iter().map(|c| c.standing.ranking.len()).collect();
    let mut middles = through.clone();
    let added = |i: usize, rank: usize| {
        let Standing { fixed, masked, .. } = candidates[i].standing;
        (rank as u64).max(*fixed).max(*masked) - masked
    };
    // Candidates of which it is not yet known how many lie below the cut, and how many elements the others add.
    let mut open: Vec<usize> = (0..candidates.len()).collect();
    let mut settled = 0;
    while low < high {
        open.retain(|&i| {
            let is_open = below[i] < through[i];
            settled += if is_open { 0 } else { added(i, below[i]) };
            is_open
        });
        let middle = low + (high - low) / 2;
        let mut total = settled;
        for &i in &open {
            middles[i] = scale.count_below(i, &candidates[i], middle + 1, below[i], through[i]);
            total += added(i, middles[i]);
        }
        let to = if total >= count { &mut through } else { &mut below };
        for &i in &open {
            to[i] = middles[i];
        }
        if total >= count {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    // Fixed elements are zeros, whatever they were.
    let is_zero = low == 0;
    let fixed = |counts: Vec<usize>, keep: bool| {
        counts.into_iter().zip(candidates).map(|(n, c)| if keep { (n as u64).max(c.standing.fixed) } else { n as u64 }).collect()
    };
    Cut { value: scale.value(low), below: fixed(below, !is_zero), through: fixed(through, true) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use std::sync::Arc;

    use super::*;
    use crate::onnx::Values;
    use crate::prune::{Ranking, narrow_key, smallest};

    fn standing(values: &Values, fixed: u64, masked: u64) -> Standing {
        Standing { ranking: Arc::new(Ranking::new(values)), fixed, masked, apart: 0, order: None }
    }

    fn standings(parameters: &[Vec<f32>], masked: &[u64]) -> Vec<Standing> {
        parameters.iter().zip(masked).map(|(p, &masked)| standing(&Values::F32(p.clone()), 0, masked)).collect()
    }

    fn candidates(standings: &[Standing]) -> Vec<Candidate<'_>> {
        standings.iter().map(|standing| Candidate { standing, name: "p", shape: &[], role: Role::Dense, own: None }).collect()
    }

    /// Sorts everything that is left by magnitude and place.
    fn reference(parameters: &[Vec<f32>], masked: &[u64], count: usize) -> Vec<u64> {
        let mut all = Vec::new();
        for (p, values) in parameters.iter().enumerate() {
            let mut ranks: Vec<usize> = (0..values.len()).collect();
            ranks.sort_by_key(|&i| (narrow_key(values[i]), i));
            all.extend(ranks.into_iter().skip(masked[p] as usize).map(|i| (narrow_key(values[i]), p, i)));
        }
        all.sort_unstable();
        let mut out = masked.to_vec();
        for &(_, p, _) in &all[..count] {
            out[p] += 1;
        }
        out
    }

    fn value() -> impl Strategy<Value = f32> {
        prop_oneof![any::<f32>(), prop::sample::select(vec![0.0, -0.0, 1.0, -1.0, 2.0, f32::NAN, f32::INFINITY])]
    }

    proptest! {
        #[test]
        fn global_equals_sorting_everything(parameters in prop::collection::vec(prop::collection::vec(value(), 0..40), 1..8), first in 0.0..=1.0, second in 0.0..=1.0) {
            let zero = vec![0; parameters.len()];
            let n: usize = parameters.iter().map(Vec::len).sum();
            let one = select(&candidates(&standings(&parameters, &zero)), Method::Global, Amount::Fraction(first)).unwrap();
            let count = (first * n as f64).round_ties_even() as usize;
            prop_assert_eq!(&one.masked, &reference(&parameters, &zero, count));
            let two = select(&candidates(&standings(&parameters, &one.masked)), Method::Global, Amount::Fraction(second)).unwrap();
            let more = (second * (n - count) as f64).round_ties_even() as usize;
            prop_assert_eq!(&two.masked, &reference(&parameters, &one.masked, more));
            prop_assert!(two.masked.iter().zip(&one.masked).all(|(b, a)| b >= a));
            if count > 0 {
                let cut = one.cut.unwrap();
                let key = narrow_key(cut as f32);
                let equal = parameters.iter().flatten().filter(|&&x| narrow_key(x) == key).count();
                prop_assert_eq!(one.ties, equal as u64);
            }
        }

        #[test]
        fn layer_wise_prunes_the_rounded_share_of_each(sizes in prop::collection::vec(0_usize..50, 1..6), amount in 0.0..=1.0) {
            let parameters: Vec<Vec<f32>> = sizes.iter().map(|&n| (0..n).map(|i| i as f32 * 0.37 - 3.0).collect()).collect();
            let selection = select(&candidates(&standings(&parameters, &vec![0; sizes.len()])), Method::LayerWise, Amount::Fraction(amount)).unwrap();
            for (&n, &masked) in sizes.iter().zip(&selection.masked) {
                prop_assert_eq!(masked, (amount * n as f64).round_ties_even() as u64);
            }
        }

        #[test]
        fn fixed_elements_count_as_zeros(values in prop::collection::vec(value(), 1..60), fixed in 0_usize..60, count in 0_usize..60) {
            let fixed = fixed.min(values.len());
            let count = count.min(values.len());
            let known = standing(&Values::F32(values.clone()), fixed as u64, 0);
            // The same, with the fixed elements really replaced.
            let mask = smallest(&Values::F32(values.clone()), &known.ranking, fixed as u64);
            let mut zeroed = Values::F32(values);
            mask.apply(&mut zeroed);
            let replaced = standing(&zeroed, 0, 0);
            let (candidate, plain) = (Candidate { standing: &known, name: "p", shape: &[], role: Role::Dense, own: None }, Candidate { standing: &replaced, name: "p", shape: &[], role: Role::Dense, own: None });
            for method in Method::ALL {
                let a = select(&[candidate], method, Amount::Count(count as u64)).unwrap();
                let b = select(&[plain], method, Amount::Count(count as u64)).unwrap();
                prop_assert_eq!(&a.masked, &b.masked);
                prop_assert_eq!(a.ties, b.ties);
                prop_assert_eq!(a.cut.map(f64::to_bits), b.cut.map(f64::to_bits));
                prop_assert_eq!(a.cuts[0].map(f64::to_bits), b.cuts[0].map(f64::to_bits));
            }
        }
    }

    #[test]
    fn twice_prunes_what_is_left() {
        let parameters = vec![(0..100).map(|i| i as f32).collect::<Vec<_>>()];
        for method in Method::ALL {
            let one = select(&candidates(&standings(&parameters, &[0])), method, Amount::Fraction(0.2)).unwrap();
            let two = select(&candidates(&standings(&parameters, &one.masked)), method, Amount::Fraction(0.5)).unwrap();
            assert_eq!(two.masked, [60]);
        }
    }

    /// Elements that are masked and not in the ranking are neither chosen again nor part of what an amount is of.
    #[test]
    fn what_lies_apart_is_counted_and_not_touched() {
        let ranking = Arc::new(Ranking::new(&Values::F32((0..10).map(|i| i as f32).collect())));
        let standing = Standing { ranking, fixed: 0, masked: 0, apart: 90, order: None };
        for method in Method::ALL {
            let selection = select(&candidates(std::slice::from_ref(&standing)), method, Amount::Fraction(0.5)).unwrap();
            assert_eq!((&selection.masked[..], selection.cuts[0]), (&[95][..], Some(4.0)));
        }
        assert_eq!((standing.elements(), standing.count(), standing.zeros(95)), (100, 90, 95));
    }

    /// What a parameter has of its own is exact; the others share what is left of the whole.
    #[test]
    fn an_amount_of_ones_own_is_exact_and_the_rest_makes_up_for_it() {
        let parameters: Vec<Vec<f32>> = (1..=4).map(|p| (0..100).map(|i| (i * p) as f32 + 0.5).collect()).collect();
        let standings = standings(&parameters, &[0, 0, 10, 0]);
        let mut candidates = candidates(&standings);
        candidates[1].own = Some(Amount::Fraction(0.9));
        candidates[2].own = Some(Amount::Count(0));
        for method in Method::ALL {
            let selection = select(&candidates, method, Amount::Fraction(0.5)).unwrap();
            assert_eq!((selection.masked[1], selection.masked[2]), (90, 10), "{method:?}");
            let total: u64 = selection.masked.iter().sum::<u64>() - 10;
            assert!(total.abs_diff(195) <= 1, "{method:?}: {total}");
        }
        let error = select(&candidates, Method::Global, Amount::Fraction(0.9)).unwrap_err();
        assert!(error.to_string().contains("74.4 %") && error.to_string().contains("amount of their own"), "{error}");
        let none = select(&candidates, Method::Global, Amount::Fraction(0.1)).unwrap();
        assert_eq!(none.masked, [0, 90, 10, 0], "what is set is taken, also where it is more than the whole");
    }

    #[test]
    fn too_large_a_count_names_the_parameter() {
        let parameters = [vec![1.0; 3], vec![1.0; 10]];
        let error = select(&candidates(&standings(&parameters, &[0, 0])), Method::LayerWise, Amount::Count(5)).unwrap_err();
        assert!(error.to_string().contains("3 elements of p"), "{error}");
        assert_eq!(select(&candidates(&standings(&parameters, &[0, 0])), Method::Global, Amount::Count(5)).unwrap().masked, [3, 2]);
    }

    #[test]
    fn singles_and_doubles_mix() {
        let standings = [standing(&Values::F32(vec![0.1, 0.3]), 0, 0), standing(&Values::F64(vec![0.2, 0.1]), 0, 0)];
        let selection = select(&candidates(&standings), Method::Global, Amount::Count(2)).unwrap();
        // 0.1 as f32 is above 0.1 as f64.
        assert_eq!(selection.masked, [1, 1]);
        assert_eq!(selection.cut, Some(f64::from(0.1_f32)));
    }
}
