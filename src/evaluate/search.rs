//! Amounts worth measuring, and the largest one whose cost is bearable.

use super::{EvaluateError, Evaluator};
use crate::measure::Effect;
use crate::prune::{Amount, Method, Recipe, State};
use crate::watch::Watch;

/// The finest step between two amounts of a search: half a percent.
const FINEST: u32 = 200;

/// A search measures no more states than this: with nothing pruned, and one for every halving of the range.
pub const MOST_PROBES: u32 = FINEST.ilog2() + 2;

/// What must not suffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Criterion {
    /// Accuracy on labelled images.
    #[serde(rename = "top1")]
    Top1,
    /// Agreement with the dense network.
    Agreement,
    /// Mean cosine with the dense network's outputs, for networks that do not classify.
    #[serde(rename = "mean_cosine")]
    Cosine,
}

impl Criterion {
    /// The best that a network's own effect has: accuracy, else agreement, else the cosine.
    #[must_use]
    pub fn suiting(dense: &Effect) -> Self {
        match (dense.top1, dense.agreement) {
            (Some(_), _) => Self::Top1,
            (None, Some(_)) => Self::Agreement,
            (None, None) => Self::Cosine,
        }
    }

    /// The figure of an effect, 0..=1.
    #[must_use]
    pub fn of(self, effect: &Effect) -> Option<f64> {
        match self {
            Self::Top1 => effect.top1,
            Self::Agreement => effect.agreement,
            Self::Cosine => effect.mean_cosine,
        }
    }
}

/// The end of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// By which method.
    pub method: Method,
    /// The largest amount found, 0..=1.
    pub amount: f64,
    /// What it costs.
    pub effect: Effect,
}

impl Evaluator {
    /// The largest amount, to half a percent, at which the criterion is at most `drop` (0..=1) below the dense network's. Found by
    /// bisection: where the curve is not monotone it is the edge of one stretch that is good enough, measured as such.
    ///
    /// `None` where the model has no such figure.
    ///
    /// # Errors
    /// As [`Evaluator::effect`].
    pub fn largest_amount(
        &mut self,
        state: &State,
        method: Method,
        (criterion, drop): (Criterion, f64),
        watch: &dyn Watch,
    ) -> Result<Option<Found>, EvaluateError> {
        let Some(dense) = criterion.of(&self.dense(None, watch)?) else { return Ok(None) };
        largest_bearable(state, method, (criterion, dense - drop), &mut |state| self.effect_within_reach(state, watch)).map(Some)
    }

    /// As [`Evaluator::effect`]; `None` where the method does not reach its amount.
    ///
    /// # Errors
    /// As [`Evaluator::effect`].
    pub fn effect_within_reach(&mut self, state: &State, watch: &dyn Watch) -> Result<Option<Effect>, EvaluateError> {
        match self.effect(state, None, watch) {
            Err(error) if error.is_beyond_reach() => Ok(None),
            effect => effect.map(Some),
        }
    }
}

/// The largest amount at which the criterion is at least `least`, as [`Evaluator::largest_amount`] finds it. `effect_of` tells what a
/// state costs, `None` where its method does not reach its amount.
///
/// # Errors
/// Those of `effect_of`.
pub fn largest_bearable<E>(
    state: &State,
    method: Method,
    (criterion, least): (Criterion, f64),
    effect_of: &mut dyn FnMut(&State) -> Result<Option<Effect>, E>,
) -> Result<Found, E> {
    let mut effect_at = |share| effect_of(&state.with(Recipe { method, amount: Amount::Fraction(share), ..state.recipe.clone() }));
    let (amount, effect) = largest_share(1.0, (criterion, least), &mut effect_at)?;
    Ok(Found { method, amount, effect })
}

/// The largest share below `end`, to half a percent, at which the criterion is at least `least`, and its effect; by bisection. `effect_at`
/// tells what a share costs, `None` where it is not reached.
///
/// # Errors
/// Those of `effect_at`.
pub fn largest_share<E>(
    end: f64,
    (criterion, least): (Criterion, f64),
    effect_at: &mut dyn FnMut(f64) -> Result<Option<Effect>, E>,
) -> Result<(f64, Effect), E> {
    let at = |step: u32| f64::from(step) / f64::from(FINEST);
    // Rounding of shares must not refuse a drop that is exactly as large as was allowed.
    let is_good = |effect: &Effect| criterion.of(effect).is_some_and(|value| value >= least - 1e-9);
    let (mut low, mut high) = (0, (end * f64::from(FINEST)).round() as u32);
    let mut best = effect_at(0.0)?.unwrap_or_default();
    if !is_good(&best) {
        return Ok((0.0, best));
    }
    while high - low > 1 {
        let middle = low.midpoint(high);
        match effect_at(at(middle))? {
            Some(effect) if is_good(&effect) => (low, best) = (middle, effect),
            _ => high = middle,
        }
    }
    Ok((at(low), best))
}

/// Amounts from 0 to 1 in steps of `1 / 2^levels`, the coarse ones first: 0, 1, 1/2, 1/4, 3/4, 1/8, …
#[must_use]
pub fn coarse_to_fine(levels: u32) -> Vec<f64> {
    let mut amounts = vec![0.0, 1.0];
    for level in 1..=levels {
        let parts = 1_u32 << level;
        amounts.extend((1..parts).step_by(2).map(|i| f64::from(i) / f64::from(parts)));
    }
    amounts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_measures_no_more_than_it_says() {
        for bearable in 0..=FINEST {
            let mut probes = 0;
            let found = largest_share(1.0, (Criterion::Top1, 0.5), &mut |share| -> Result<_, ()> {
                probes += 1;
                let top1 = Some(f64::from(share <= f64::from(bearable) / f64::from(FINEST)));
                Ok(Some(Effect { top1, ..Effect::default() }))
            });
            let (share, _) = found.unwrap();
            assert_eq!(share, f64::from(bearable.min(FINEST - 1)) / f64::from(FINEST));
            assert!(probes <= MOST_PROBES, "{probes}");
        }
    }

    #[test]
    fn coarse_amounts_come_first_and_none_twice() {
        let amounts = coarse_to_fine(4);
        assert_eq!(amounts[..5], [0.0, 1.0, 0.5, 0.25, 0.75]);
        let mut sorted = amounts.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.dedup();
        assert_eq!(sorted, (0..=16).map(|i| f64::from(i) / 16.0).collect::<Vec<_>>());
        assert_eq!(amounts.len(), sorted.len());
    }
}
