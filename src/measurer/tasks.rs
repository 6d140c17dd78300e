//! Long work that was asked for: curve, scan, search, timing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Bench, Curve, Measured, Watcher};
use crate::evaluate::{Criterion, EvaluateError, Found};
use crate::graph::{Kind, Parameter, ParameterId};
use crate::prune::{Amount, Method, Settings, State};

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
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Curve { .. } => "Curve",
            Self::Scan => "Sensitivity",
            Self::Search { .. } => "Search",
            Self::Time { .. } => "Speed",
        }
    }
}

impl Bench {
    /// One step of the work that was asked for. What news interrupts is done again.
    pub(super) fn work(&mut self) -> Result<(), EvaluateError> {
        if let Some(Task::Time { state, batch }) = self.tasks.front() {
            let (state, batch) = (state.clone(), *batch);
            self.time(state, batch)?;
            self.end_task();
            return Ok(());
        }
        let Some(evaluator) = &mut self.evaluator else {
            self.tasks.clear();
            return Ok(());
        };
        let (inbox, tell) = (&self.inbox, &self.tell);
        let mut observer = Watcher { inbox, seen: &mut |_| {} };
        let is_done = match self.tasks.front_mut() {
            None | Some(Task::Time { .. }) => return Ok(()),
            Some(Task::Curve { state, left, total, curve }) => {
                if let Some(&(method, amount)) = left.last() {
                    let settings = Settings { method, amount: Amount::Fraction(amount), ..state.settings.clone() };
                    let effect = evaluator.effect_at(state, settings, &mut observer)?;
                    let points = if method == Method::LayerWise { &mut curve.layer_wise } else { &mut curve.global };
                    let place = points.partition_point(|(a, _)| *a < amount);
                    points.insert(place, (amount, effect));
                    left.pop();
                    tell(Measured::Curve(Arc::new(curve.clone())));
                }
                tell(Measured::Progress(Some((1.0 - left.len() as f32 / (*total).max(1) as f32, "Curve"))));
                left.is_empty()
            }
            Some(Task::Search { state, drop, found }) => {
                let method = [Method::LayerWise, Method::Global][found.len().min(1)];
                tell(Measured::Progress(Some((found.len() as f32 / 2.0, "Search"))));
                let dense = evaluator.dense(None, &mut observer)?;
                let criterion = Criterion::suiting(&dense);
                let best = evaluator.largest_amount(state, method, (criterion, *drop), &mut observer)?;
                let is_over = best.is_none();
                found.extend(best);
                let is_done = found.len() == 2 || is_over;
                if is_done {
                    tell(Measured::Found(*drop, found.clone()));
                }
                is_done
            }
            Some(Task::Scan) => {
                let mut scan = if let Some(scan) = self.scan.take() {
                    scan
                } else {
                    let graph = evaluator.session().model().graph.clone();
                    let weights: Vec<ParameterId> =
                        (0..graph.parameters.len()).map(ParameterId).filter(|&id| is_scanned(graph.parameter(id))).collect();
                    evaluator.sensitivity(&weights, SCAN_TENTHS.map(|tenth| f64::from(tenth) / 10.0).collect())?
                };
                let images = evaluator.questions().num_images();
                let mut told: Option<Instant> = None;
                let result = evaluator.scan(&mut scan, &|| inbox.has_news(), &mut |scan| {
                    // A map of thousands of cases is copied for the window no more often than it is looked at.
                    if told.is_none_or(|told| told.elapsed() > SCAN_PAUSE) {
                        told = Some(Instant::now());
                        tell(Measured::Scan(Arc::new(scan.clone())));
                        tell(Measured::Progress(Some((scan.share_done(images), "Sensitivity"))));
                    }
                });
                tell(Measured::Scan(Arc::new(scan.clone())));
                let is_done = scan.is_done();
                self.scan = Some(scan);
                result?;
                is_done
            }
        };
        if is_done {
            self.end_task();
        }
        Ok(())
    }
}

/// Weights with more than one dimension: what the default scope ticks.
fn is_scanned(parameter: &Parameter) -> bool {
    parameter.kind == Kind::Weight && parameter.shape.len() > 1 && parameter.obstacle().is_none()
}
