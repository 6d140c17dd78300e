//! Long work that was asked for: curve, scan, search, timing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::channel_amounts::{ChannelCases, ChannelSearch};
use super::{Bearable, Curve, Finding, MeasurerThread, Position, RepairChoice, TaskKind};
use crate::engine::Chosen;
use crate::evaluate::{Criterion, EvaluateError, Found, Sensitivity, coarse_to_fine};
use crate::graph::{Kind, Parameter, ParameterId};
use crate::measure::Effect;
use crate::prune::{Amount, Method, PerMethod, Recipe, State};
use crate::watch::{Token, Watch};

/// A curve's amounts are `1 / 2^4` apart at its finest.
const CURVE_LEVELS: u32 = 4;
/// Amounts of a scan, in tenths.
const SCAN_TENTHS: std::ops::RangeInclusive<u32> = 1..=9;
/// Between two states of a scan that are told.
const SCAN_PAUSE: Duration = Duration::from_millis(200);

/// A point of a curve.
#[derive(Debug)]
pub(super) struct CurvePoint {
    method: Method,
    amount: f64,
    /// How it is repaired.
    repair: Option<RepairChoice>,
}

/// Long work that was asked for.
#[derive(Debug)]
pub(super) enum Task {
    Curve { state: State, left: Vec<CurvePoint>, total: usize },
    Scan,
    Search { position: Position, drop: f64, repair: Option<RepairChoice>, found: Vec<Found> },
    Repair { state: State, choice: RepairChoice, removing: Option<Arc<Chosen>> },
    Time { state: State, batch: usize },
    Pace { state: State, batch: usize },
    Norms,
    ChannelCurve(ChannelCases),
    ChannelSearch(ChannelSearch),
}

impl Task {
    pub(super) fn kind(&self) -> TaskKind {
        match self {
            Self::Curve { .. } | Self::ChannelCurve(_) => TaskKind::Curve,
            Self::Scan => TaskKind::Scan,
            Self::Search { .. } | Self::ChannelSearch(_) => TaskKind::Search,
            Self::Time { .. } | Self::Pace { .. } => TaskKind::Time,
            Self::Norms => TaskKind::Norms,
            Self::Repair { .. } => TaskKind::Repair,
        }
    }
}

/// Tells how far a task is while the measurer's parts are in use.
struct CallbackWatch<'a> {
    progress: &'a (dyn Fn(f32) + Sync),
    token: &'a Token,
}

impl Watch for CallbackWatch<'_> {
    fn progress(&self, done: f32, _: &str) {
        (self.progress)(done);
    }

    fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }
}

impl MeasurerThread {
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
            Task::Pace { state, batch } => {
                self.pace(state, *batch, token)?;
                Ok(true)
            }
            Task::Curve { state, left, total } => {
                let Some(case) = left.last() else { return Ok(true) };
                let CurvePoint { method, amount, ref repair } = *case;
                let recipe = Recipe { method, amount: Amount::Fraction(amount), ..state.recipe.clone() };
                let effect = match repair {
                    Some(choice) => self.repaired_effect(&state.with(recipe), choice, token)?,
                    None => {
                        let calibrated = self.calibrated(state);
                        let Some(evaluator) = self.judge(&calibrated)? else { return Ok(true) };
                        match evaluator.effect_at(state, recipe, token) {
                            Err(error) if error.is_beyond_reach() => None,
                            effect => Some(effect?),
                        }
                    }
                };
                if let Some((_, curve)) = &mut self.curve {
                    let points = if repair.is_some() { &mut curve.repaired } else { &mut curve.points };
                    if let (Some(points), Some(effect)) = (points.of_mut(method), effect) {
                        let place = points.partition_point(|(a, _)| *a < amount);
                        points.insert(place, (amount, effect));
                    }
                    let curve = Arc::new(curve.clone());
                    self.tell(Finding::Curve(curve));
                }
                left.pop();
                self.tell(Finding::Progress(Some((1.0 - left.len() as f32 / (*total).max(1) as f32, TaskKind::Curve))));
                Ok(left.is_empty())
            }
            Task::Search { position, drop, repair, found } => {
                let methods = position.methods();
                let Some(&method) = methods.get(found.len()) else { return Ok(true) };
                self.tell(Finding::Progress(Some((found.len() as f32 / methods.len() as f32, TaskKind::Search))));
                let best = match repair {
                    Some(choice) => self.largest_repaired((&position.state, method, *drop), choice, token)?,
                    None => {
                        let calibrated = self.calibrated(&position.state);
                        let Some(evaluator) = self.judge(&calibrated)? else { return Ok(true) };
                        let criterion = Criterion::suiting(&evaluator.dense(None, token)?);
                        evaluator.largest_amount(&position.state, method, (criterion, *drop), token)?
                    }
                };
                let is_done = best.is_none() || found.len() + 1 == methods.len();
                found.extend(best);
                if is_done {
                    let found = Bearable { drop: *drop, is_repaired: repair.is_some(), found: found.clone() };
                    self.tell(Finding::Found(found));
                }
                Ok(is_done)
            }
            Task::Repair { state, choice, removing } => {
                self.repair(state, choice, removing.as_ref(), token)?;
                Ok(true)
            }
            Task::ChannelCurve(cases) => self.channel_curve(cases, token),
            Task::ChannelSearch(search) => {
                self.search_channels(search, token)?;
                Ok(true)
            }
            Task::Scan => self.scan(token),
            Task::Norms => {
                self.measure_norms(token)?;
                Ok(true)
            }
        }
    }

    /// Measures the inputs of the layers, once for a model and its images.
    fn measure_norms(&mut self, token: &Token) -> Result<(), EvaluateError> {
        let Some(evaluator) = &mut self.evaluator else { return Ok(()) };
        let norms = match &self.norms {
            Some(norms) => norms.clone(),
            None => {
                let path = self.images.as_ref().map(|images| images.path.clone()).unwrap_or_default();
                let (tell, model) = (&self.tell, self.model);
                let progress = |done| tell(model, Finding::Progress(Some((done, TaskKind::Norms))));
                Arc::new(evaluator.norms(&path, &CallbackWatch { progress: &progress, token })?)
            }
        };
        self.norms = Some(norms.clone());
        self.tell(Finding::Norms(norms));
        Ok(())
    }

    /// Measures these methods over all amounts, and repaired as `repair` says, apart from what is known already; where all of it is, once
    /// more.
    pub(super) fn start_curve(&mut self, state: State, methods: &[Method], repair: Option<RepairChoice>) {
        let is_same = |of: &State| {
            let recipe = Recipe { method: state.recipe.method, amount: state.recipe.amount, ..of.recipe.clone() };
            of.with(recipe) == state
        };
        let known = self.curve.take().filter(|(of, _)| is_same(of)).map(|(_, curve)| curve).unwrap_or_default();
        // Those that were repaired in another way are of no use; those that are not asked for now stay.
        let is_wanted = |of: &Option<RepairChoice>| repair.is_none() || *of == repair;
        let known_repaired = if is_wanted(&known.repair) { known.repaired } else { PerMethod::default() };
        let cases = |repair: Option<RepairChoice>| {
            let case = move |amount, method| CurvePoint { method, amount, repair: repair.clone() };
            coarse_to_fine(CURVE_LEVELS).into_iter().flat_map(move |amount| {
                let case = case.clone();
                methods.iter().map(move |&method| case(amount, method))
            })
        };
        let all = || cases(None).chain(repair.clone().into_iter().flat_map(|repair| cases(Some(repair))));
        let is_known = |case: &CurvePoint| {
            let points = if case.repair.is_some() { &known_repaired } else { &known.points };
            points.of(case.method).is_some_and(|points| points.iter().any(|(amount, _)| *amount == case.amount))
        };
        let mut left: Vec<CurvePoint> = all().filter(|case| !is_known(case)).collect();
        let is_again = left.is_empty();
        if is_again {
            left.extend(all());
        }
        left.reverse();
        let of = |known: &PerMethod<Vec<(f64, Effect)>>, is_asked: bool| {
            let is_listed = |m: &Method| (is_asked && methods.contains(m)) || known.of(*m).is_some();
            let wanted: Vec<Method> = Method::ALL.into_iter().filter(is_listed).collect();
            PerMethod::new(&wanted, |method| {
                let is_dropped = is_again && is_asked && methods.contains(&method);
                known.of(method).filter(|_| !is_dropped).cloned().unwrap_or_default()
            })
        };
        let (points, repaired) = (of(&known.points, true), of(&known_repaired, repair.is_some()));
        let repair = repair.or(known.repair);
        self.curve = Some((state.clone(), Curve { state: Some(state.clone()), points, repaired, repair }));
        if !left.is_empty() {
            self.add_task(Task::Curve { state, total: left.len(), left });
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
