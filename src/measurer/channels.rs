//! Channels of the model, and what it costs to remove some.

use std::sync::Arc;

use super::showing::{BATCH, batch};
use super::{ChannelCurve, Finding, MeasurerThread, TaskKind, TaskWatch, TwinCost};
use crate::engine::{Chosen, Engine, EngineError, FoundChannels, ModelId};
use crate::evaluate::EvaluateError;
use crate::measure::{Effort, pace};
use crate::prune::{Repair, State};
use crate::watch::Token;

/// What the thread has in hand of channels.
#[derive(Debug, Default)]
pub(super) struct ChannelsInHand {
    /// Whether somebody looks at them.
    pub(super) is_watched: bool,
    /// Whether those of the model were looked for.
    is_searched: bool,
    /// What is chosen of them.
    pub(super) chosen: Option<Arc<Chosen>>,
    /// The choice whose twin was measured last, and where.
    pub(super) measured: Option<(Arc<Chosen>, State)>,
    /// The curve of a plan so far.
    pub(super) curve: Option<ChannelCurve>,
}

impl MeasurerThread {
    /// Looks for the model's channels, once: one pass shows which.
    pub(super) fn find_channels(&mut self, token: &Token) -> Result<(), EvaluateError> {
        let Some(engine) = self.engine.clone().filter(|_| !self.channels.is_searched) else { return Ok(()) };
        let find = || -> Result<FoundChannels, EvaluateError> {
            // What the operators lack is told before what the inputs lack.
            engine.dense_network()?;
            let inputs = self.inputs(1)?;
            let channels = engine.channels(&inputs, token)?;
            Ok(FoundChannels { channels, inputs })
        };
        let found = match find() {
            Err(EvaluateError::Engine(EngineError::Cancelled)) => return Err(EngineError::Cancelled.into()),
            Err(error) => Err(error.to_string()),
            Ok(found) => Ok(Arc::new(found)),
        };
        self.channels.is_searched = true;
        self.tell(Finding::Channels(found));
        Ok(())
    }

    /// Times the model as it is pruned in `state` beside the one that was opened.
    pub(super) fn pace(&self, state: &State, batch: usize, token: &Token) -> Result<(), EvaluateError> {
        let (Some(engine), Some(opened)) = (&self.engine, &self.reference) else { return Ok(()) };
        let watch = TaskWatch { inside: self, token, kind: TaskKind::Time };
        let networks = [opened.dense_network()?, engine.pruned_network(state)?];
        let pace = pace([&networks[0], &networks[1]], &self.inputs(batch)?, Effort::default(), &watch)?;
        self.tell(Finding::Pace(pace, engine.network_device().to_owned()));
        Ok(())
    }

    /// Measures the network in which what is chosen is zero: the bytes of the smaller file, and its answers to what the networks are
    /// shown.
    pub(super) fn measure_twin(&mut self, token: &Token) -> Result<(), EvaluateError> {
        let (Some(position), Some(chosen), Some(engine)) = (self.position.clone(), self.channels.chosen.clone(), self.engine.clone())
        else {
            return Ok(());
        };
        let state = &position.state;
        if self.channels.measured.as_ref().is_some_and(|(known, at)| Arc::ptr_eq(known, &chosen) && at == state) {
            return Ok(());
        }
        let channels = &chosen.found.channels;
        let twin = engine.twin(state, channels, &chosen.removed)?;
        if chosen.removed.count() > 0 {
            let bytes = engine.smaller_bytes(&twin, channels, &chosen.removed)?.size_bytes();
            self.tell(Finding::Bytes(chosen.clone(), bytes));
        }
        self.check_labels(token)?;
        let (tell, model) = (self.tell.clone(), self.model);
        let part = self.images.as_ref().map_or(BATCH, |images| batch(&images.preprocess));
        let calibrated = self.calibrated(state);
        let Some(evaluator) = self.judge(&calibrated)? else {
            self.channels.measured = Some((chosen, position.state));
            return Ok(());
        };
        let total = evaluator.questions().num_images();
        // A first look at a part, then everything.
        for limit in [Some(part), None] {
            if limit.is_some_and(|limit| total <= limit) {
                continue;
            }
            let dense = evaluator.dense(limit, token)?;
            let effect = evaluator.effect(&twin, limit, token)?;
            let cost = TwinCost { chosen: chosen.clone(), calibrated: calibrated.len(), dense, effect, is_whole: limit.is_none() };
            tell(model, Finding::Twin(Box::new(cost)));
        }
        self.channels.measured = Some((chosen, position.state));
        Ok(())
    }

    /// A model with fewer channels, or with them again: the same images go on, and what calibrated repairs is remembered.
    pub(super) fn replace_model(
        &mut self,
        model: ModelId,
        [engine, reference]: [Arc<Engine>; 2],
        repairs: Arc<[Arc<Repair>]>,
    ) -> Result<(), String> {
        let (images, output, calibrated) = (self.images.take(), self.output.take(), std::mem::take(&mut self.calibrated));
        let is_noise = images.is_none() && self.evaluator.is_some();
        self.take_model(model, engine, reference)?;
        (self.output, self.calibrated, self.inherited) = (output, calibrated, repairs);
        match images {
            Some(images) => self.show_images(images),
            None if is_noise => self.show_noise(),
            None => Ok(()),
        }
    }
}
