//! What the slider's position costs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::showing::{BATCH, Images, batch};
use super::{Bench, Cost, Losses, Measured, Watcher};
use crate::evaluate::EvaluateError;
use crate::measure::Effect;
use crate::prune::{Method, Settings, State};
use crate::session::SessionError;

/// Pictures that are shown of the images whose answer changed.
const MAX_PICTURES: usize = 24;

impl Bench {
    /// Everything that belongs to the slider's position: first what somebody looks at. A network that cannot be run can be
    /// weighed.
    pub(super) fn measure_here(&mut self) -> Result<(), EvaluateError> {
        if self.weighs {
            self.measure_savings()?;
            return self.measure_position();
        }
        let effect = self.measure_position();
        if !matches!(effect, Err(EvaluateError::Session(SessionError::Cancelled))) {
            self.measure_savings()?;
        }
        effect
    }

    /// What the position takes from the weights, which needs no images and little time.
    pub(super) fn weigh_position(&mut self, state: &State) -> Result<(), EvaluateError> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let waiting = &self.inbox.waiting;
        let mut of = |method| {
            session.set_state(State { settings: Settings { method, ..state.settings.clone() }, ..state.clone() });
            match session.losses(&|| waiting.load(Ordering::Relaxed) > 0) {
                Ok(losses) => Ok(Some(losses)),
                Err(SessionError::Prune(_)) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let (layer_wise, global) = (of(Method::LayerWise)?, of(Method::Global)?);
        (self.tell)(Measured::Losses(Arc::new(Losses { settings: state.settings.clone(), layer_wise, global })));
        Ok(())
    }

    pub(super) fn measure_position(&mut self) -> Result<(), EvaluateError> {
        let Some(state) = self.position.clone() else { return Ok(()) };
        if self.measured.as_ref() == Some(&state) {
            return Ok(());
        }
        self.weigh_position(&state)?;
        self.check_labels()?;
        let Some(evaluator) = &mut self.evaluator else {
            self.measured = Some(state);
            return Ok(());
        };
        let (inbox, tell) = (&self.inbox, &self.tell);
        let total = evaluator.questions().num_images();
        let mut cost = Cost {
            settings: state.settings.clone(),
            dense: Effect::default(),
            layer_wise: None,
            global: None,
            is_whole: false,
            broken: Vec::new(),
        };
        // A first look at a part, then everything.
        let part = self.images.as_ref().map_or(BATCH, |images| batch(&images.preprocess));
        for limit in [Some(part), None] {
            if limit.is_some_and(|limit| total <= limit) {
                continue;
            }
            let mut observer = Watcher { inbox, seen: &mut |_| {} };
            cost.dense = evaluator.dense(limit, &mut observer)?;
            for method in [Method::LayerWise, Method::Global] {
                let state = State { settings: Settings { method, ..state.settings.clone() }, ..state.clone() };
                let effect = match evaluator.effect(&state, limit, &mut Watcher { inbox, seen: &mut |_| {} }) {
                    Ok(effect) => Some(effect),
                    Err(EvaluateError::Session(SessionError::Prune(_))) => None,
                    Err(error) => return Err(error),
                };
                match method {
                    Method::LayerWise => cost.layer_wise = effect,
                    Method::Global => cost.global = effect,
                }
            }
            cost.is_whole = limit.is_none();
            cost.broken = evaluator.questions().broken().to_vec();
            tell(Measured::Cost(Box::new(cost.clone())));
        }
        self.tell_pictures(&cost);
        self.measured = Some(state);
        Ok(())
    }

    /// Pictures of the images whose answer changed, of the chosen method first.
    pub(super) fn tell_pictures(&self, cost: &Cost) {
        let Some(Images { set, preprocess, .. }) = &self.images else { return };
        let method = cost.settings.method;
        let mut wanted: Vec<usize> = Vec::new();
        for effect in [method, method.other()].into_iter().filter_map(|m| cost.of(m)) {
            wanted.extend(spread(effect.changed.len()).map(|i| effect.changed[i].image));
        }
        if wanted.is_empty() {
            wanted = spread(set.images.len()).collect();
        }
        wanted.sort_unstable();
        wanted.dedup();
        let mut pictures = Vec::with_capacity(wanted.len());
        for image in wanted {
            if self.inbox.has_news() {
                return;
            }
            if let Some(Ok(picture)) = set.images.get(image).map(|i| preprocess.view(i)) {
                pictures.push((image, picture));
            }
        }
        (self.tell)(Measured::Pictures(Arc::new(pictures)));
    }
}

/// Which of `count` pictures are shown: from all over them, so that most classes are seen.
fn spread(count: usize) -> impl Iterator<Item = usize> {
    let shown = count.min(MAX_PICTURES);
    (0..shown).map(move |i| i * count / shown)
}
