//! What removing channels costs over all amounts, measured on masked twins: a curve, and the largest amount that can be borne.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{BearableChannels, ChannelCurve, Finding, MeasurerThread, RepairChoice, Task, TaskKind};
use crate::engine::{ChannelPlan, Chosen};
use crate::evaluate::{Criterion, EvaluateError, coarse_to_fine, largest_share};
use crate::measure::Effect;
use crate::prune::State;
use crate::watch::Token;

/// The largest share of channels, or of what they hold, that is tried.
pub const LARGEST_SHARE: f64 = 0.9;
/// A curve's amounts are `LARGEST_SHARE / 2^4` apart at its finest, as far as rounding allows.
const CURVE_LEVELS: u32 = 4;
/// A search looks at amounts up to the one half a percent below this.
const SEARCH_END: f64 = LARGEST_SHARE + 0.005;

/// A point of a curve.
#[derive(Debug)]
pub(super) struct ChannelCase {
    chosen: Arc<Chosen>,
    /// How it is repaired.
    repair: Option<RepairChoice>,
}

/// What is left of a curve.
#[derive(Debug)]
pub(super) struct ChannelCases {
    state: State,
    left: VecDeque<ChannelCase>,
    total: usize,
}

/// A search that was asked for.
#[derive(Debug)]
pub(super) struct ChannelSearch {
    pub(super) state: State,
    pub(super) chosen: Arc<Chosen>,
    /// What may be lost, 0..=1.
    pub(super) drop: f64,
    pub(super) repair: Option<RepairChoice>,
}

impl Task {
    /// Whether it measures channels of another state, or by another plan whatever its amount.
    fn is_of_other_channels(&self, state: &State, plan: Option<&ChannelPlan>) -> bool {
        let is_other = |of: &State, by: &ChannelPlan| *of != *state || plan.is_some_and(|plan| *plan != by.with_share(0.0));
        match self {
            Self::ChannelCurve(ChannelCases { state, left, .. }) => left.iter().any(|case| is_other(state, &case.chosen.plan)),
            Self::ChannelSearch(ChannelSearch { state, chosen, .. }) => is_other(state, &chosen.plan),
            _ => false,
        }
    }
}

impl MeasurerThread {
    /// Drops what is measured of the channels of another state than this one, or by another plan.
    pub(super) fn drop_other_channels(&mut self, state: &State, plan: Option<&ChannelPlan>) {
        let before = self.tasks.len();
        let plan = plan.map(|plan| plan.with_share(0.0));
        self.tasks.retain(|task| !task.is_of_other_channels(state, plan.as_ref()));
        if self.tasks.len() < before {
            self.tell_next();
        }
    }

    /// What `state` answers without these channels, repaired as `repair` says; `None` where nothing can repair or judge.
    fn effect_without(
        &mut self,
        state: &State,
        chosen: &Chosen,
        repair: Option<&RepairChoice>,
        token: &Token,
    ) -> Result<Option<Effect>, EvaluateError> {
        let Some(engine) = &self.engine else { return Ok(None) };
        let twin = engine.twin(state, &chosen.found.channels, &chosen.removed)?;
        if let Some(choice) = repair {
            return self.repaired_effect(&twin, choice, token);
        }
        let calibrated = self.calibrated(state);
        let Some(evaluator) = self.judge(&calibrated)? else { return Ok(None) };
        evaluator.effect(&twin, None, token).map(Some)
    }

    /// Measures the plan over all amounts, and repaired as `repair` says, apart from what is known already; where all of it is, once more.
    pub(super) fn start_channel_curve(&mut self, state: State, chosen: &Chosen, repair: Option<RepairChoice>) {
        let known = self.channels.curve.take().filter(|known| known.is_of(&state, &chosen.plan));
        let mut curve = known.unwrap_or_else(|| ChannelCurve::new(state.clone(), &chosen.plan));
        // What was repaired in another way is of no use; where no repair is asked for now, it stays.
        if repair.is_some() && curve.repair != repair {
            curve.repaired.clear();
            curve.repair.clone_from(&repair);
        }
        let mut shares: Vec<Arc<Chosen>> = Vec::new();
        for share in coarse_to_fine(CURVE_LEVELS) {
            let next = Arc::new(chosen.at(share * LARGEST_SHARE));
            // Many amounts round to the same channels.
            if shares.iter().all(|other| other.removed != next.removed) {
                shares.push(next);
            }
        }
        let is_known = |points: &[(f64, Effect)], of: &Chosen| points.iter().any(|(gone, _)| *gone == of.gone());
        let has_all = |points: &[(f64, Effect)]| shares.iter().all(|of| is_known(points, of));
        if has_all(&curve.points) && (repair.is_none() || has_all(&curve.repaired)) {
            curve.points.clear();
            if repair.is_some() {
                curve.repaired.clear();
            }
        }
        let mut left = VecDeque::new();
        for how in std::iter::once(None).chain(repair.into_iter().map(Some)) {
            let points = if how.is_some() { &curve.repaired } else { &curve.points };
            let unknown = shares.iter().filter(|of| !is_known(points, of));
            left.extend(unknown.map(|of| ChannelCase { chosen: of.clone(), repair: how.clone() }));
        }
        self.channels.curve = Some(curve);
        self.add_task(Task::ChannelCurve(ChannelCases { state, total: left.len(), left }));
    }

    /// Measures the next point; whether it was the last one.
    pub(super) fn channel_curve(&mut self, cases: &mut ChannelCases, token: &Token) -> Result<bool, EvaluateError> {
        let Some(ChannelCase { chosen, repair }) = cases.left.front() else { return Ok(true) };
        let (chosen, repair) = (chosen.clone(), repair.clone());
        let effect = self.effect_without(&cases.state, &chosen, repair.as_ref(), token)?;
        if let (Some(effect), Some(curve)) = (effect, &mut self.channels.curve) {
            let points = if repair.is_some() { &mut curve.repaired } else { &mut curve.points };
            let gone = chosen.gone();
            let place = points.partition_point(|(before, _)| *before < gone);
            points.insert(place, (gone, effect));
            let curve = Arc::new(curve.clone());
            self.tell(Finding::ChannelCurve(curve));
        }
        cases.left.pop_front();
        let done = 1.0 - cases.left.len() as f32 / cases.total.max(1) as f32;
        self.tell(Finding::Progress(Some((done, TaskKind::Curve))));
        Ok(cases.left.is_empty())
    }

    /// Searches the largest amount that loses no more than is asked for, and tells it.
    pub(super) fn search_channels(&mut self, search: &ChannelSearch, token: &Token) -> Result<(), EvaluateError> {
        let ChannelSearch { state, chosen, drop, repair } = search;
        let left_out = match repair {
            None => self.calibrated(state),
            Some(choice) => match self.not_judging(state, choice) {
                Ok(left_out) => left_out,
                Err(why) => {
                    self.tell(Finding::NotRepaired(why));
                    return Ok(());
                }
            },
        };
        let Some(judge) = self.judge(&left_out)? else { return Ok(()) };
        let dense = judge.dense(None, token)?;
        let criterion = Criterion::suiting(&dense);
        let Some(dense) = criterion.of(&dense) else { return Ok(()) };
        let mut effect_at = |share| self.effect_without(state, &chosen.at(share), repair.as_ref(), token);
        let (share, effect) = largest_share(SEARCH_END, (criterion, dense - drop), &mut effect_at)?;
        let found = BearableChannels {
            state: state.clone(),
            plan: chosen.plan.with_share(0.0),
            drop: *drop,
            is_repaired: repair.is_some(),
            share,
            gone: chosen.at(share).gone(),
            effect,
        };
        self.tell(Finding::BearableChannels(Box::new(found)));
        Ok(())
    }
}
