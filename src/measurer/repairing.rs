//! Repair: the images that are shown calibrate and judge, or a folder of its own calibrates, or noise does.
//!
//! Images that calibrated a repair judge nothing that was repaired with them: what is measured of such a state is measured on the others.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::showing::{Images, batch};
use super::{Finding, MeasurerThread, Tell};
use crate::engine::{Chosen, EngineError, ModelId};
use crate::evaluate::{Criterion, EvaluateError, Evaluator, Found, Questions, QuestionsError, largest_bearable};
use crate::images::{ImageSet, ImagesError, Preprocess};
use crate::measure::Effect;
use crate::prune::{Method, Repair, State};
use crate::repair::{self, Judged, NotEnough, Options, RepairError, Repairer, USUAL_CALIBRATION};
use crate::watch::{Token, Watch};

/// After so long it is told how long the rest will take.
const FORESIGHT: Duration = Duration::from_secs(1);

/// How to repair.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RepairChoice {
    /// So many images calibrate; `None` for the usual number, see [`repair::split`].
    pub calibration_images: Option<usize>,
    /// The folder or file whose images calibrate; `None` where some of those that are shown do.
    pub folder: Option<PathBuf>,
    /// Whether kept weights are fitted too.
    pub is_thorough: bool,
}

/// A repair as it was judged.
#[derive(Debug, Clone)]
pub struct Repaired {
    /// What was repaired.
    pub from: State,
    /// The channels that are to be removed from it, where its masked twin was repaired.
    pub removing: Option<Arc<Chosen>>,
    /// What became of it.
    pub judged: Judged,
    /// How long it took.
    pub seconds: f64,
}

/// Where a repair is.
#[derive(Debug, Clone, PartialEq)]
pub struct RepairPart {
    /// What is being done, and to which layer.
    pub what: String,
    /// How long the rest will take, where that can be said.
    pub left: Option<Duration>,
}

/// Why nothing can be repaired with what was chosen.
#[derive(Debug, thiserror::Error)]
enum ClinicError {
    #[error("the networks are shown nothing: choose images, or noise")]
    Nothing,
    #[error("the images that calibrate: {0}")]
    Images(#[from] ImagesError),
    #[error(transparent)]
    Split(#[from] NotEnough),
    #[error(transparent)]
    Questions(#[from] QuestionsError),
}

/// What repairs, ready for the next state.
#[derive(Debug)]
pub(super) struct ReadyRepairer {
    choice: RepairChoice,
    repairer: Repairer,
    /// The images of those that are shown that calibrate, by number.
    calibrating: Vec<usize>,
}

/// What judges where some of the images calibrated.
#[derive(Debug)]
pub(super) struct Judge {
    left_out: Vec<usize>,
    pub(super) set: Arc<ImageSet>,
    evaluator: Evaluator,
}

/// The images that calibrated a repair, by number in what was shown then.
#[derive(Debug)]
pub(super) struct Calibrated {
    repair: Arc<Repair>,
    path: PathBuf,
    images: Vec<usize>,
}

/// Tells where a repair is.
struct RepairWatch<'a> {
    tell: &'a Tell,
    model: ModelId,
    token: &'a Token,
    start: Instant,
}

impl Watch for RepairWatch<'_> {
    fn progress(&self, done: f32, what: &str) {
        let passed = self.start.elapsed();
        let left = (passed > FORESIGHT && done > 0.0).then(|| passed.mul_f32((1.0 - done).max(0.0) / done));
        (self.tell)(self.model, Finding::Repairing(done, RepairPart { what: what.to_owned(), left }));
    }

    fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }
}

impl MeasurerThread {
    /// The images that calibrated what was repaired in `state`, by number, sorted.
    pub(super) fn calibrated(&self, state: &State) -> Vec<usize> {
        let Some(Images { path, .. }) = &self.images else { return Vec::new() };
        let repairs = state.earlier.iter().filter_map(|step| step.repair.as_ref()).chain(self.inherited.iter());
        let known = |repair| self.calibrated.iter().find(|known| known.path == *path && Arc::ptr_eq(&known.repair, repair));
        let mut images: Vec<usize> = repairs.filter_map(known).flat_map(|known| known.images.iter().copied()).collect();
        images.sort_unstable();
        images.dedup();
        images
    }

    /// What compares networks on the images that are shown, without these; `None` where none are shown, or none would be left.
    pub(super) fn judge(&mut self, left_out: &[usize]) -> Result<Option<&mut Evaluator>, EvaluateError> {
        let (Some(engine), Some(Images { set, preprocess, .. })) = (&self.engine, &self.images) else { return Ok(self.evaluator.as_mut()) };
        let reference = self.reference.as_ref().unwrap_or(engine);
        if left_out.is_empty() {
            return Ok(self.evaluator.as_mut());
        }
        let known = self.judge.take().filter(|judge| judge.left_out == left_out);
        let judge = match known {
            Some(judge) => judge,
            None => {
                let set = Arc::new(set.of(&repair::others(set, left_out)));
                let questions = Questions::images(&engine.model().graph, set.clone(), preprocess.clone(), None, batch(preprocess))?;
                let classes = set.is_labelled().then_some(set.classes.len());
                let mut evaluator = Evaluator::new(engine.clone(), questions, classes).compared_with(reference.clone());
                // Of another model it is not.
                let _ = evaluator.choose_output(self.output.as_deref());
                Judge { left_out: left_out.to_vec(), set, evaluator }
            }
        };
        let judge = self.judge.insert(judge);
        Ok(Some(&mut judge.evaluator).filter(|evaluator| evaluator.questions().num_images() > 0))
    }

    /// What repairs as chosen: what did so last, or another one.
    fn ready_repairer(&mut self, choice: &RepairChoice) -> Result<ReadyRepairer, ClinicError> {
        let (Some(engine), Some(_)) = (&self.engine, &self.evaluator) else { return Err(ClinicError::Nothing) };
        if let Some(known) = self.ready_repairer.take().filter(|ready_repairer| ready_repairer.choice == *choice) {
            return Ok(known);
        }
        let model = engine.model();
        let graph = &model.graph;
        let (questions, calibrating, images) = match (&self.images, &choice.folder) {
            (None, _) => {
                let (preprocess, _) = Preprocess::for_model(graph, &model.file.path);
                (Questions::calibrating_noise(graph, &preprocess, batch(&preprocess))?, Vec::new(), None)
            }
            (Some(Images { set, preprocess, path, .. }), folder) => {
                let (calibration, calibrating) = match folder {
                    None => {
                        let calibrating = repair::calibrating(set, choice.calibration_images)?;
                        (set.of(&calibrating), calibrating)
                    }
                    Some(folder) => {
                        let set = ImageSet::open(folder, None)?;
                        let images = choice.calibration_images.unwrap_or(USUAL_CALIBRATION).min(set.images.len());
                        (repair::spread(&set, images), Vec::new())
                    }
                };
                let questions = Questions::images(graph, Arc::new(calibration), preprocess.clone(), None, batch(preprocess))?;
                (questions, calibrating, Some(folder.as_ref().unwrap_or(path)))
            }
        };
        let images = images.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()));
        let options = Options { is_thorough: choice.is_thorough, images, ..Options::default() };
        Ok(ReadyRepairer { choice: choice.clone(), repairer: Repairer::new(engine.clone(), questions, options), calibrating })
    }

    /// The images that cannot judge `state` once it was repaired.
    fn left_out(&self, ready_repairer: &ReadyRepairer, state: &State) -> Vec<usize> {
        let mut left_out = self.calibrated(state);
        left_out.extend(&ready_repairer.calibrating);
        left_out.sort_unstable();
        left_out.dedup();
        left_out
    }

    /// The images that do not judge `state` once it is repaired, by number, or why nothing can repair it.
    pub(super) fn not_judging(&mut self, state: &State, choice: &RepairChoice) -> Result<Vec<usize>, String> {
        let ready_repairer = self.ready_repairer(choice).map_err(|why| why.to_string())?;
        let left_out = self.left_out(&ready_repairer, state);
        self.ready_repairer = Some(ready_repairer);
        Ok(left_out)
    }

    /// Repairs `state`, or its masked twin where channels are to be removed, and tells what came of it.
    pub(super) fn repair(
        &mut self,
        state: &State,
        choice: &RepairChoice,
        removing: Option<&Arc<Chosen>>,
        token: &Token,
    ) -> Result<(), EvaluateError> {
        let twin = match (&self.engine, removing) {
            (Some(engine), Some(chosen)) => Some(engine.twin(state, &chosen.found.channels, &chosen.removed)?),
            _ => None,
        };
        let pruned = twin.as_ref().unwrap_or(state);
        let mut ready_repairer = match self.ready_repairer(choice) {
            Ok(ready_repairer) => ready_repairer,
            Err(why) => {
                self.tell(Finding::NotRepaired(why.to_string()));
                return Ok(());
            }
        };
        let (tell, model, start) = (self.tell.clone(), self.model, Instant::now());
        let left_out = self.left_out(&ready_repairer, state);
        let Some(judge) = self.judge(&left_out)? else {
            self.tell(Finding::NotRepaired(
                "all of the images have calibrated, and none is left to judge: choose a folder that calibrates".into(),
            ));
            return Ok(());
        };
        let result = ready_repairer.repairer.judged(judge, pruned, &RepairWatch { tell: &tell, model, token, start });
        let finding = match result {
            Ok(judged) => {
                if let Some(Images { path, .. }) = &self.images
                    && !ready_repairer.calibrating.is_empty()
                {
                    let (path, images) = (path.clone(), ready_repairer.calibrating.clone());
                    self.calibrated.push(Calibrated { repair: judged.repair.clone(), path, images });
                }
                let (from, seconds) = (state.clone(), start.elapsed().as_secs_f64());
                Finding::Repaired(Box::new(Repaired { from, removing: removing.cloned(), judged, seconds }))
            }
            Err(RepairError::Evaluate(EvaluateError::Engine(EngineError::Cancelled))) => return Err(EngineError::Cancelled.into()),
            Err(error) => Finding::NotRepaired(error.to_string()),
        };
        self.ready_repairer = Some(ready_repairer);
        self.tell(finding);
        Ok(())
    }

    /// What `state` costs once it is repaired; `None` where its method does not reach its amount, or nothing can repair.
    pub(super) fn repaired_effect(&mut self, state: &State, choice: &RepairChoice, token: &Token) -> Result<Option<Effect>, EvaluateError> {
        let Ok(mut ready_repairer) = self.ready_repairer(choice) else { return Ok(None) };
        let left_out = self.left_out(&ready_repairer, state);
        let Some(judge) = self.judge(&left_out)? else { return Ok(None) };
        let effect = ready_repairer.repairer.effect(judge, state, token);
        self.ready_repairer = Some(ready_repairer);
        effect
    }

    /// As [`Evaluator::largest_amount`], of networks that are repaired.
    pub(super) fn largest_repaired(
        &mut self,
        (state, method, drop): (&State, Method, f64),
        choice: &RepairChoice,
        token: &Token,
    ) -> Result<Option<Found>, EvaluateError> {
        let Ok(mut ready_repairer) = self.ready_repairer(choice) else { return Ok(None) };
        let left_out = self.left_out(&ready_repairer, state);
        let Some(judge) = self.judge(&left_out)? else { return Ok(None) };
        let dense = judge.dense(None, token)?;
        let criterion = Criterion::suiting(&dense);
        let Some(dense) = criterion.of(&dense) else { return Ok(None) };
        let repairer = &mut ready_repairer.repairer;
        let found = largest_bearable(state, method, (criterion, dense - drop), &mut |state| repairer.effect(judge, state, token));
        self.ready_repairer = Some(ready_repairer);
        found.map(Some)
    }
}
