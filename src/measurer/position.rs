//! What the slider's position costs.

use std::sync::Arc;

use super::showing::{BATCH, Images, batch};
use super::{Cost, Finding, Losses, MeasurerThread, Position};
use crate::engine::EngineError;
use crate::evaluate::EvaluateError;
use crate::measure::Effect;
use crate::prune::PerMethod;
use crate::watch::{Token, Watch};

/// Pictures that are shown of the images whose answer changed.
const MAX_PICTURES: usize = 24;

impl MeasurerThread {
    /// Everything that belongs to the slider's position: first what somebody looks at. A network that cannot be run can be
    /// weighed.
    pub(super) fn measure_here(&mut self, token: &Token) -> Result<(), EvaluateError> {
        if self.channels.is_watched {
            self.find_channels(token)?;
            self.measure_twin(token)?;
        }
        if self.weighs {
            self.measure_savings(token)?;
            return self.measure_position(token);
        }
        let effect = self.measure_position(token);
        if !matches!(effect, Err(EvaluateError::Engine(EngineError::Cancelled))) {
            self.measure_savings(token)?;
        }
        effect
    }

    /// What the position takes from the weights, which needs no images and little time.
    fn measure_losses(&self, position: &Position, token: &Token) -> Result<(), EvaluateError> {
        let Some(engine) = &self.engine else { return Ok(()) };
        let state = &position.state;
        let losses = PerMethod::try_new(&position.methods(), |method| where_applicable(engine.losses(&state.under(method), token)))?;
        self.tell(Finding::Losses(Arc::new(Losses { recipe: state.recipe.clone(), losses })));
        Ok(())
    }

    fn measure_position(&mut self, token: &Token) -> Result<(), EvaluateError> {
        let Some(position) = self.position.clone() else { return Ok(()) };
        if self.measured.as_ref() == Some(&position) {
            return Ok(());
        }
        self.measure_losses(&position, token)?;
        self.check_labels(token)?;
        let (state, methods) = (&position.state, position.methods());
        let (tell, model, is_output_chosen) = (self.tell.clone(), self.model, self.output.is_some());
        let part = self.images.as_ref().map_or(BATCH, |images| batch(&images.preprocess));
        let calibrated = self.calibrated(state);
        let Some(evaluator) = self.judge(&calibrated)? else {
            self.measured = Some(position);
            return Ok(());
        };
        let total = evaluator.questions().num_images();
        let mut cost = Cost {
            state: state.clone(),
            calibrated: calibrated.len(),
            dense: Effect::default(),
            effects: PerMethod::new(&methods, |_| None),
            is_whole: false,
            broken: Vec::new(),
            output: 0,
            is_output_chosen,
            remarks: Vec::new(),
        };
        // A first look at a part, then everything.
        for limit in [Some(part), None] {
            if limit.is_some_and(|limit| total <= limit) {
                continue;
            }
            cost.dense = evaluator.dense(limit, token)?;
            cost.effects = PerMethod::try_new(&methods, |method| match evaluator.effect(&state.under(method), limit, token) {
                Err(EvaluateError::Engine(error)) => Ok(where_applicable(Err(error))?),
                effect => effect.map(Some),
            })?;
            cost.is_whole = limit.is_none();
            cost.broken = evaluator.questions().broken().to_vec();
            cost.output = evaluator.answering().map_or(0, |answering| answering.output);
            cost.remarks = evaluator.remarks();
            tell(model, Finding::Cost(Box::new(cost.clone())));
        }
        self.measured = Some(position);
        self.tell_pictures(&cost, token);
        Ok(())
    }

    /// Pictures of the images whose answer changed, of the chosen method first.
    fn tell_pictures(&self, cost: &Cost, token: &Token) {
        let Some(Images { set, preprocess, .. }) = &self.images else { return };
        let set = self.judge.as_ref().filter(|_| cost.calibrated > 0).map_or(set, |judge| &judge.set);
        let mut wanted: Vec<usize> = Vec::new();
        for effect in cost.effects.iter().filter_map(|(_, effect)| effect.as_ref()) {
            wanted.extend(spread(effect.changed.len()).map(|i| effect.changed[i].image));
        }
        if wanted.is_empty() {
            wanted = spread(set.images.len()).collect();
        }
        wanted.sort_unstable();
        wanted.dedup();
        let mut pictures = Vec::with_capacity(wanted.len());
        for image in wanted {
            if token.is_cancelled() {
                return;
            }
            if let Some(Ok(picture)) = set.images.get(image).map(|i| preprocess.view(i)) {
                pictures.push((image, picture));
            }
        }
        self.tell(Finding::Pictures(Arc::new(pictures)));
    }
}

/// `None` for a recipe that cannot be applied.
pub(super) fn where_applicable<T>(result: Result<T, EngineError>) -> Result<Option<T>, EngineError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(EngineError::Prune(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Which of `count` pictures are shown: from all over them, so that most classes are seen.
fn spread(count: usize) -> impl Iterator<Item = usize> {
    let shown = count.min(MAX_PICTURES);
    (0..shown).map(move |i| i * count / shown)
}
