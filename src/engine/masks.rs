//! Masks, and what they take from the weights.

use std::sync::Arc;

use rayon::prelude::*;

use super::{Engine, EngineError};
use crate::export::{Masks, ParameterMasks};
use crate::graph::ParameterId;
use crate::measure::Loss;
use crate::onnx::{OpenError, Values};
use crate::prune::{self, Masked, PruneError, Replaced, State, Weights};
use crate::watch::Watch;

impl Engine {
    /// Masks of all parameters that are in the scope or changed in `state`, made on the device in use.
    ///
    /// # Errors
    /// As [`Engine::outcome`], and [`EngineError::Device`]; an empty scope is no error when something was pruned before.
    pub fn masks(&self, state: &State) -> Result<Masks, EngineError> {
        let outcome = match self.outcome(state) {
            Ok(outcome) => outcome,
            Err(PruneError::EmptyScope) => return self.host_masks(state),
            Err(e) => return Err(e.into()),
        };
        let made = self.with_gpu(state, |gpu| {
            gpu.prune(self, state, &outcome)?;
            gpu.masks(self, state, &outcome)
        })?;
        made.map_or_else(|| self.host_masks(state), Ok)
    }

    /// As [`Engine::masks`], on the host whatever the device.
    ///
    /// # Errors
    /// As [`Engine::outcome`]; an empty scope is no error when something was pruned before.
    pub fn host_masks(&self, state: &State) -> Result<Masks, EngineError> {
        Ok(self.host_each(state, |id, _, masks| Ok((id, masks)))?.into_iter().collect())
    }

    /// What pruning takes from every parameter that is in the scope or changed in `state`.
    ///
    /// # Errors
    /// As [`Engine::host_masks`]; [`EngineError::Cancelled`], which is asked for at every parameter.
    pub fn losses(&self, state: &State, watch: &dyn Watch) -> Result<Vec<Loss>, EngineError> {
        let graph = &self.model.graph;
        let one = |id: ParameterId, values: Values, masks: ParameterMasks| {
            if watch.is_cancelled() {
                return Err(EngineError::Cancelled);
            }
            // What was taken is told of what was opened, whatever became of the rest.
            let opened = if state.weights[id.0].replaced().is_some() { self.model.file.floats(graph.parameter(id).tensor)? } else { None };
            Ok(Loss::new(id, graph.parameter(id), opened.as_ref().unwrap_or(&values), &masks.zeroed()))
        };
        self.host_each(state, one)
    }

    /// Weights of all parameters in the scope or changed, as pruned in `state`, with what is zero in them.
    ///
    /// # Errors
    /// As [`Engine::masks`].
    pub fn pruned_weights(&self, state: &State) -> Result<Vec<(ParameterId, prune::Mask, Values)>, EngineError> {
        let prune = |id, mut values, masks: &ParameterMasks| {
            let zeroed = masks.zeroed();
            zeroed.apply(&mut values);
            (id, zeroed, values)
        };
        if self.gpu_for(state).is_none() {
            return self.host_each(state, |id, values, masks| Ok(prune(id, values, &masks)));
        }
        let one = |(id, masks): (ParameterId, ParameterMasks)| -> Result<_, EngineError> {
            Ok(self.values(state, id)?.map(|values| prune(id, values, &masks)))
        };
        self.masks(state)?.into_iter().filter_map(|pair| one(pair).transpose()).collect()
    }

    /// A parameter's elements as opened, the `count` smallest of them zero; `None` where it cannot be pruned.
    ///
    /// # Errors
    /// External data that can no longer be read.
    pub fn pruned_alone(&self, id: ParameterId, count: u64) -> Result<Option<Values>, OpenError> {
        let Some(ranking) = self.rankings[id.0].as_ref() else { return Ok(None) };
        let Some(mut values) = self.model.file.floats(self.model.graph.parameter(id).tensor)? else { return Ok(None) };
        prune::smallest(&values, ranking, count).apply(&mut values);
        Ok(Some(values))
    }

    /// `state` with its mask kept and nothing more pruned: what comes next applies to what is left, as PyTorch's `PruningContainer`
    /// does.
    ///
    /// # Errors
    /// As [`Engine::outcome`].
    pub fn keep(&self, state: &State) -> Result<State, EngineError> {
        Ok(state.after(self.masked(state)?, state.weights.clone(), false))
    }

    /// The [`Engine::values`] of a parameter, and what was fixed in them; `None` where it has no float elements.
    ///
    /// # Errors
    /// External data that can no longer be read.
    pub fn fixed(&self, state: &State, id: ParameterId) -> Result<Option<(Values, prune::Mask)>, OpenError> {
        let Some(ranking) = self.rankings[id.0].as_ref() else { return Ok(None) };
        Ok(self.values(state, id)?.map(|values| {
            let mask = state.weights[id.0].zeroed().mask(&values, ranking);
            (values, mask)
        }))
    }

    /// `state` with its mask made permanent, as `prune.remove` does on every parameter.
    ///
    /// # Errors
    /// As [`Engine::outcome`].
    pub fn fix(&self, state: &State) -> Result<State, EngineError> {
        let masked = self.masked(state)?;
        let one = |i: usize| -> Result<Weights, EngineError> {
            let (mask, weights) = (&masked[i], &state.weights[i]);
            if mask.is_nothing() {
                return Ok(weights.clone());
            }
            let zeroed = match (mask.prefix(), weights.zeroed().prefix()) {
                (Some(masked), Some(fixed)) => Masked::first(masked.max(fixed)),
                _ => {
                    let id = ParameterId(i);
                    let values = self.values(state, id)?;
                    let (Some(values), Some(ranking)) = (values, self.rankings[i].as_ref()) else { return Ok(weights.clone()) };
                    let mut both = weights.zeroed().mask(&values, ranking);
                    both.join(&mask.mask(&values, ranking));
                    if weights.replaced().is_some() {
                        return Ok(Weights::Replaced(Arc::new(Replaced::new(values, both))));
                    }
                    Masked::Bits(Arc::new(both))
                }
            };
            Ok(if zeroed.is_nothing() { Weights::AsOpened } else { Weights::Zeroed(zeroed) })
        };
        let weights = (0..masked.len()).map(one).collect::<Result<_, _>>()?;
        Ok(state.after(vec![Masked::Nothing; masked.len()].into(), weights, true))
    }

    /// What is masked in `state`, the step of its recipe included.
    fn masked(&self, state: &State) -> Result<Arc<[Masked]>, EngineError> {
        let outcome = self.outcome(state)?;
        let one = |i: usize| -> Result<Masked, EngineError> {
            let count = outcome.masked[i];
            let id = ParameterId(i);
            if self.prefixes(state, id).is_some() {
                return Ok(Masked::first(count));
            }
            if count == state.kept[i].count() {
                return Ok(state.kept[i].clone());
            }
            let Some(values) = self.values(state, id)? else { return Ok(state.kept[i].clone()) };
            let masks = self.parameter_masks(state, id, &values, count)?;
            Ok(masks.map_or_else(|| state.kept[i].clone(), |masks| Masked::Bits(Arc::new(masks.mask))))
        };
        (0..outcome.masked.len()).map(one).collect()
    }

    /// Fixed elements and mask of one parameter with these [`Engine::values`], when `masked` of its elements are.
    pub(super) fn parameter_masks(
        &self,
        state: &State,
        id: ParameterId,
        values: &Values,
        masked: u64,
    ) -> Result<Option<ParameterMasks>, OpenError> {
        let Some(ranking) = self.rankings[id.0].as_ref() else { return Ok(None) };
        if let Some((count, _)) = self.prefixes(state, id) {
            let fixed = state.weights[id.0].zeroed().mask(values, ranking);
            let is_next = count == 0 || masked >= count.max(ranking.zeros());
            let mask = if is_next { prune::smallest(values, ranking, masked) } else { prune::first_zeros(values, &fixed, masked) };
            return Ok(Some(ParameterMasks { fixed, mask }));
        }
        let Some(ParameterMasks { fixed, mut mask }) = self.earlier_masks(state, id, values) else { return Ok(None) };
        let more = masked - mask.pruned();
        if more > 0 {
            let Some(standing) = self.derived(state, id)? else { return Ok(None) };
            let next = if let Some(order) = &standing.order {
                order.first(more, values.len())
            } else {
                let mut left = values.clone();
                fixed.apply(&mut left);
                prune::smallest_left(&left, &mask, &standing.ranking, more)
            };
            mask.join(&next);
        }
        Ok(Some(ParameterMasks { fixed, mask }))
    }

    /// What `make` makes of every parameter that is in the scope or changed in `state`, of its [`Engine::values`] and its masks.
    pub(super) fn host_each<T: Send>(
        &self,
        state: &State,
        make: impl Fn(ParameterId, Values, ParameterMasks) -> Result<T, EngineError> + Sync,
    ) -> Result<Vec<T>, EngineError> {
        let scope = state.recipe.scope(&self.model.graph);
        let masked = match self.outcome(state) {
            Ok(outcome) => outcome.masked,
            Err(PruneError::EmptyScope) if state.has_kept() || state.has_fixed() => state.kept.iter().map(Masked::count).collect(),
            Err(e) => return Err(e.into()),
        };
        let wanted: Vec<ParameterId> = (0..masked.len())
            .map(ParameterId)
            .filter(|id| scope.binary_search(id).is_ok() || masked[id.0] > 0 || state.has_changed(id.0))
            .collect();
        let one = |&id: &ParameterId| -> Result<Option<T>, EngineError> {
            let Some(values) = self.values(state, id)? else { return Ok(None) };
            self.parameter_masks(state, id, &values, masked[id.0])?.map(|masks| make(id, values, masks)).transpose()
        };
        let mut made = Vec::with_capacity(wanted.len());
        for batch in self.model.batches(&wanted) {
            made.extend(batch.par_iter().with_max_len(1).filter_map(|id| one(id).transpose()).collect::<Result<Vec<T>, _>>()?);
        }
        Ok(made)
    }
}
