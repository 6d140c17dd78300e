//! Long work that was asked for: curve, scan, search, timing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Curve, Finding, Inside, TaskKind};
use crate::evaluate::{Criterion, EvaluateError, Found, Sensitivity};
use crate::graph::{Kind, Parameter, ParameterId};
use crate::prune::{Amount, Method, Recipe, State};
use crate::watch::Token;

/// A curve's amounts are `1 / 2^4` apart at its finest.
pub(super) const CURVE_LEVELS: u32 = 4;
/// Amounts of a scan, in tenths.
const SCAN_TENTHS: std::ops::RangeInclusive<u32> = 1..=9;
/// Between two states of a scan that are told.
const SCAN_PAUSE: Duration = Duration::from_millis(200);

/// Long work that was asked for.
#[derive(Debug)]
pub(super) enum Task {
    Curve { state: State, left: Vec<(Method, f64)>, total: usize, curve: Curve },
    Scan,
    Search { state: State, drop: f64, found: Vec<Found> },
    Time { state: State, batch: usize },
}

impl Task {
    pub(super) fn kind(&self) -> TaskKind {
        match self {
            Self::Curve { .. } => TaskKind::Curve,
            Self::Scan => TaskKind::Scan,
            Self::Search { .. } => TaskKind::Search,
            Self::Time { .. } => TaskKind::Time,
        }
    }
}

impl Inside {
    /// One step of the first task. It stays in its place until it is done: what is stopped goes on behind the news.
    pub(super) fn work(&mut self, token: &Token) -> Result<(), EvaluateError> {
        let Some(mut task) = self.tasks.pop_front() else { return Ok(()) };
        let result = self.step(&mut task, token);
        let is_done = matches!(result, Ok(true));
        self.tasks.push_front(task);
        if is_done {
            self.end_task();
        }
        result.map(drop)
    }

    /// Whether the task is done.
    fn step(&mut self, task: &mut Task, token: &Token) -> Result<bool, EvaluateError> {
        match task {
            Task::Time { state, batch } => {
                self.time(state, *batch, token)?;
                Ok(true)
            }
            Task::Curve { state, left, total, curve } => {
                let Some(evaluator) = &mut self.evaluator else { return Ok(true) };
                let Some(&(method, amount)) = left.last() else { return Ok(true) };
                let recipe = Recipe { method, amount: Amount::Fraction(amount), ..state.recipe.clone() };
                let effect = evaluator.effect_at(state, recipe, token)?;
                if let Some(points) = curve.points.of_mut(method) {
                    let place = points.partition_point(|(a, _)| *a < amount);
                    points.insert(place, (amount, effect));
                }
                left.pop();
                self.tell(Finding::Curve(Arc::new(curve.clone())));
                self.tell(Finding::Progress(Some((1.0 - left.len() as f32 / (*total).max(1) as f32, TaskKind::Curve))));
                Ok(left.is_empty())
            }
            Task::Search { state, drop, found } => {
                let methods = Method::PAIR;
                let Some(&method) = methods.get(found.len()) else { return Ok(true) };
                self.tell(Finding::Progress(Some((found.len() as f32 / methods.len() as f32, TaskKind::Search))));
                let Some(evaluator) = &mut self.evaluator else { return Ok(true) };
                let criterion = Criterion::suiting(&evaluator.dense(None, token)?);
                let best = evaluator.largest_amount(state, method, (criterion, *drop), token)?;
                let is_done = best.is_none() || found.len() + 1 == methods.len();
                found.extend(best);
                if is_done {
                    self.tell(Finding::Found(*drop, found.clone()));
                }
                Ok(is_done)
            }
            Task::Scan => self.scan(token),
        }
    }

    /// Goes on with the scan; whether it is done.
    fn scan(&mut self, token: &Token) -> Result<bool, EvaluateError> {
        let Some(evaluator) = &mut self.evaluator else { return Ok(true) };
        let mut scan = match self.scan.take() {
            Some(scan) => scan,
            None => {
                let graph = evaluator.engine().model().graph.clone();
                let weights: Vec<ParameterId> =
                    (0..graph.parameters.len()).map(ParameterId).filter(|&id| is_scanned(graph.parameter(id))).collect();
                evaluator.start_scan(&weights, SCAN_TENTHS.map(|tenth| f64::from(tenth) / 10.0).collect())?
            }
        };
        let images = evaluator.questions().num_images();
        let (tell, model) = (&self.tell, self.model);
        let mut told: Option<Instant> = None;
        let result = evaluator.scan(&mut scan, token, &mut |found: &Sensitivity| {
            // A map of thousands of cases is copied for the window no more often than it is looked at.
            if told.is_none_or(|told| told.elapsed() > SCAN_PAUSE) {
                told = Some(Instant::now());
                tell(model, Finding::Scan(Arc::new(found.clone())));
                tell(model, Finding::Progress(Some((found.share_done(images), TaskKind::Scan))));
            }
        });
        tell(model, Finding::Scan(Arc::new(scan.found().clone())));
        self.scan = Some(scan);
        result?;
        Ok(true)
    }
}

/// Weights with more than one dimension: what the default scope ticks.
fn is_scanned(parameter: &Parameter) -> bool {
    parameter.kind == Kind::Weight && parameter.shape.len() > 1 && parameter.obstacle().is_none()
}
