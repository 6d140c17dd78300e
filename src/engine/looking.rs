//! A close look at one parameter.

use super::{Engine, lock};
use crate::graph::ParameterId;
use crate::measure::{Detail, Subject};
use crate::onnx::{OpenError, Values};
use crate::prune::{Mask, Masked, State, Weights};

/// A parameter that was looked at, with what became of its weights by then.
#[derive(Debug)]
pub(super) struct Looked {
    id: ParameterId,
    weights: Weights,
    subject: Subject,
}

impl Engine {
    /// A close look at one parameter as the recipe of `state` prunes it; `None` where it has no float elements. What does not
    /// depend on the mask is kept for the next look at the same parameter.
    ///
    /// # Errors
    /// External data that can no longer be read.
    pub fn detail(&self, state: &State, id: ParameterId) -> Result<Option<Detail>, OpenError> {
        let masked = self.outcome(state).map_or_else(|_| state.kept[id.0].count(), |outcome| outcome.masked[id.0]);
        let weights = &state.weights[id.0];
        let mut looked = lock(&self.looked);
        if looked.as_ref().is_none_or(|known| known.id != id || known.weights != *weights) {
            let parameter = self.model.graph.parameter(id);
            let Some(mut values) = self.values(state, id)? else { return Ok(None) };
            let Some(ranking) = self.rankings[id.0].as_ref() else { return Ok(None) };
            weights.zeroed().mask(&values, ranking).apply(&mut values);
            *looked = Some(Looked { id, weights: weights.clone(), subject: Subject::new(parameter, values) });
        }
        let Some(Looked { subject, .. }) = looked.as_ref() else { return Ok(None) };
        Ok(self.mask_after_fixing(state, id, subject.values(), masked)?.map(|mask| subject.under(&mask)))
    }

    /// The mask of `masked` elements on values in which what was fixed is zero already; `None` where they cannot be pruned.
    fn mask_after_fixing(&self, state: &State, id: ParameterId, values: &Values, masked: u64) -> Result<Option<Mask>, OpenError> {
        if *state.weights[id.0].zeroed() == Masked::Nothing {
            return Ok(self.parameter_masks(state, id, values, masked)?.map(|masks| masks.mask));
        }
        let Some(originals) = self.values(state, id)? else { return Ok(None) };
        Ok(self.parameter_masks(state, id, &originals, masked)?.map(|masks| masks.mask))
    }
}
