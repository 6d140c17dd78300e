//! What is known of the cost of pruning, as plain data: part of the window's state.

use std::sync::Arc;

use crate::engine::Model;
use crate::evaluate::{Criterion, Sensitivity, SensitivityCase};
use crate::export::{amount_field, effect_fields, effects};
use crate::graph::ModuleId;
use crate::images::RgbPicture;
use crate::measure::{Effect, Figures};
use crate::measurer::{Bearable, Cost, Curve, Finding, Losses, RepairChoice, RepairPart, Repaired, Shown, Sizes, TaskKind, Timed};
use crate::network::Work;
use crate::prune::{Amount, Method, State};
use crate::repair;

/// What the colours of the scan stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shade {
    /// Share of the images whose answer changes.
    Agreement,
    /// KL divergence from the dense network's classes.
    Kl,
    /// Relative error, of networks that do not classify.
    Error,
}

/// How the scan is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScanView {
    /// What colours stand for, where the network classifies.
    pub shade: Shade,
    /// The most sensitive weights first, or all in graph order.
    pub is_sorted: bool,
    /// Points that a module may lose before it is protected.
    pub protects_from: f64,
    /// The amount at which that is looked at, 0..=1.
    pub protects_at: f64,
}

impl Default for ScanView {
    fn default() -> Self {
        Self { shade: Shade::Agreement, is_sorted: false, protects_from: 5.0, protects_at: 0.8 }
    }
}

/// How to repair, and what came of it.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own on screen")]
pub struct Repairing {
    /// How, as chosen.
    pub choice: RepairChoice,
    /// Whether curves and searches are of repaired networks too.
    pub in_curves: bool,
    /// Whether channels are removed from a repaired network, where there are images to repair on.
    pub before_removal: bool,
    /// The last repair, whether it was applied or not, and perhaps of another state than the present one.
    pub last: Option<Box<Repaired>>,
    /// Whether it is still to be taken over by what is on screen.
    pub is_due: bool,
    /// Where a repair is that is going on.
    pub part: Option<RepairPart>,
    /// Whether all repaired layers are listed, or those that gained most.
    pub lists_layers: bool,
}

impl Repairing {
    /// Nothing done, everything chosen that is not about the images.
    fn emptied(&self) -> Self {
        let choice = RepairChoice { calibration_images: None, ..self.choice.clone() };
        Self { choice, in_curves: self.in_curves, before_removal: self.before_removal, lists_layers: self.lists_layers, ..Self::default() }
    }
}

/// Everything that was measured on the model on screen.
#[derive(Debug, Clone)]
pub struct Costs {
    /// What the networks are shown.
    pub shown: Option<Shown>,
    /// What a position of the slider costs; perhaps not the present one's, see [`Self::is_of`].
    pub cost: Option<Box<Cost>>,
    /// Pictures by number of the image.
    pub pictures: Arc<Vec<(usize, RgbPicture)>>,
    /// Accuracy or agreement against the amount.
    pub curve: Option<Arc<Curve>>,
    /// The methods that curves are measured and drawn of, as ticked; `None` for the two on screen.
    pub curves_of: Option<Vec<Method>>,
    /// Every weight alone.
    pub scan: Option<Arc<Sensitivity>>,
    /// How the scan is looked at.
    pub scan_view: ScanView,
    /// What pruning takes from every weight at a position of the slider.
    pub losses: Option<Arc<Losses>>,
    /// Whether all weights are listed, or those that lose most.
    pub lists_all: bool,
    /// The largest amounts that lose no more than so much.
    pub found: Option<Bearable>,
    /// How to repair, and what came of it.
    pub repair: Repairing,
    /// Multiply-accumulates of the dense model, or why they are not known.
    pub work: Option<Result<Arc<Work>, String>>,
    /// What the parameters weigh, perhaps not at the present position.
    pub sizes: Option<Arc<Sizes>>,
    /// Time of a forward pass, perhaps not at the present position.
    pub timed: Option<Box<Timed>>,
    /// Images of a timed pass, as typed.
    pub batch: usize,
    /// Whether the fields for the preprocessing are open.
    pub edits_preprocessing: bool,
    /// Work that was asked for: how far, and what.
    pub progress: Option<(f32, TaskKind)>,
    /// Why the last measurement failed.
    pub failure: Option<String>,
    /// Points of accuracy that may be lost, as typed.
    pub bearable: f64,
}

impl Default for Costs {
    fn default() -> Self {
        Self {
            shown: None,
            cost: None,
            pictures: Arc::default(),
            curve: None,
            curves_of: None,
            scan: None,
            scan_view: ScanView::default(),
            losses: None,
            lists_all: false,
            found: None,
            repair: Repairing::default(),
            work: None,
            sizes: None,
            timed: None,
            batch: 1,
            edits_preprocessing: false,
            progress: None,
            failure: None,
            bearable: 1.0,
        }
    }
}

impl Costs {
    /// Nothing is known of a model that was just opened.
    pub(super) fn opened(&mut self) {
        *self = self.emptied();
    }

    /// Nothing measured, everything typed.
    fn emptied(&self) -> Self {
        Self {
            bearable: self.bearable,
            curves_of: self.curves_of.clone(),
            scan_view: self.scan_view,
            lists_all: self.lists_all,
            batch: self.batch,
            repair: self.repair.emptied(),
            edits_preprocessing: self.edits_preprocessing,
            ..Self::default()
        }
    }

    /// Takes in what was measured.
    pub(super) fn take(&mut self, finding: Finding) {
        match finding {
            Finding::Shown(shown) => {
                // Other images are shown to the same model. A repair that was just made is taken over all the same.
                let emptied = self.emptied();
                let known = std::mem::take(self);
                let Self { losses, work, sizes, timed, .. } = known;
                let repair = Repairing { last: known.repair.last, is_due: known.repair.is_due, ..emptied.repair };
                *self = Self { shown: Some(shown), losses, work, sizes, timed, repair, ..emptied };
            }
            Finding::Cost(cost) => {
                self.failure = None;
                self.cost = Some(cost);
            }
            Finding::Losses(losses) => self.losses = Some(losses),
            Finding::Pictures(pictures) => self.pictures = pictures,
            Finding::Curve(curve) => self.curve = Some(curve),
            Finding::Scan(scan) => self.scan = Some(scan),
            Finding::Found(found) => self.found = Some(found),
            Finding::Repaired(repaired) => self.repair.last = Some(repaired),
            // What the window does with it, see [`super::App::logic`].
            Finding::NotRepaired(_) => {}
            Finding::Repairing(done, part) => {
                self.progress = Some((done, TaskKind::Repair));
                self.repair.part = Some(part);
            }
            Finding::Work(work) => self.work = Some(work),
            Finding::Sizes(sizes) => self.sizes = Some(sizes),
            // What the window does with it, see [`super::App::logic`].
            Finding::Norms(_) => {}
            // The tab “Channels” has a state of its own.
            Finding::Channels(_) | Finding::Bytes(..) | Finding::Pace(..) => {}
            Finding::ChannelCurve(_) | Finding::BearableChannels(_) => {}
            Finding::Twin(_) => self.failure = None,
            Finding::Speed(timed) => self.timed = Some(timed),
            Finding::Progress(progress) => {
                self.progress = progress;
                self.repair.part = None;
            }
            Finding::Failed(why) => self.failure = Some(why),
        }
    }

    /// Whether the cost on screen belongs to this state, and tells of both methods.
    pub(super) fn is_of(&self, state: &State, figures: &Figures) -> bool {
        self.cost.as_ref().is_some_and(|cost| {
            let tells = |(method, _)| cost.effects.of(method).is_some();
            cost.state.recipe.is_but_for_method(&state.recipe) && cost.state.has_same_base(state) && figures.outcomes.iter().all(tells)
        })
    }

    /// How curves and searches repair, where they do.
    pub(super) fn repair_within(&self) -> Option<RepairChoice> {
        self.repair.in_curves.then(|| self.repair.choice.clone())
    }

    /// Whether what channels are removed from is repaired first.
    pub(super) fn repairs_before_removal(&self) -> bool {
        self.repair.before_removal && self.shown.is_some()
    }

    /// Whether a repair is going on.
    pub(super) fn is_repairing(&self) -> bool {
        matches!(self.progress, Some((_, TaskKind::Repair)))
    }

    /// How many of the images that are shown calibrate: as chosen, as far as that leaves some to judge.
    pub(super) fn calibration_images(&self) -> Option<usize> {
        let shown = self.shown.as_ref().filter(|shown| shown.path.is_some())?.images;
        Some(self.repair.choice.calibration_images.unwrap_or(repair::usual_calibration(shown)).clamp(1, shown.saturating_sub(1).max(1)))
    }

    /// The methods that curves are measured and drawn of, in the order in which all are shown; `pair` is on screen.
    pub(super) fn curve_methods(&self, pair: [Method; 2]) -> Vec<Method> {
        let wanted = self.curves_of.as_deref().unwrap_or(&pair);
        Method::ALL.into_iter().filter(|method| wanted.contains(method)).collect()
    }

    /// Ticks a method for the curves, or takes its tick away.
    pub(super) fn tick_curve(&mut self, method: Method, is_on: bool, pair: [Method; 2]) {
        let mut methods = self.curve_methods(pair);
        methods.retain(|other| *other != method);
        methods.extend(is_on.then_some(method));
        self.curves_of = Some(methods);
    }

    /// Share of the multiply-accumulates that the chosen method makes zero, 0..=1; `None` where that is not known.
    pub(super) fn work_zeroed(&self, figures: &Figures) -> Option<f64> {
        let work = self.work.as_ref()?.as_ref().ok()?;
        let (outcome, total) = (figures.chosen().ok()?, work.total);
        (total > 0).then(|| work.of(|id| outcome.zeros[id.0]) as f64 / total as f64)
    }

    /// The figure that curves and scans show: accuracy where there are labels, else agreement, else the cosine.
    pub(super) fn criterion(&self) -> Criterion {
        let is_labelled = self.shown.as_ref().is_some_and(|s| s.is_labelled);
        match &self.cost {
            Some(cost) => Criterion::suiting(&cost.dense),
            None if is_labelled => Criterion::Top1,
            None => Criterion::Agreement,
        }
    }

    /// What an effect lost of the agreement with the dense network, 0..=1; for networks that do not classify the relative error of
    /// the first output, at most 1.
    pub(super) fn loss(effect: &Effect) -> f64 {
        match effect.agreement {
            Some(agreement) => 1.0 - agreement,
            None => effect.relative_errors.first().map_or(0.0, |(_, error)| error.min(1.0)),
        }
    }

    /// What the colours of the scan stand for.
    pub(super) fn shade(&self, scan: &Sensitivity) -> Shade {
        match scan.cases.first() {
            Some(case) if case.effect.mean_kl.is_none() => Shade::Error,
            _ => self.scan_view.shade,
        }
    }

    /// The parameters of the scan, by number, in the order in which they are shown.
    pub(super) fn scan_order(&self, scan: &Sensitivity) -> Vec<usize> {
        let mut order: Vec<usize> = (0..scan.parameters.len()).collect();
        if self.scan_view.is_sorted {
            let of_case = |case: &SensitivityCase| match self.shade(scan) {
                Shade::Kl => case.effect.mean_kl.unwrap_or(0.0),
                Shade::Agreement | Shade::Error => Self::loss(&case.effect),
            };
            let total = |p: usize| (0..scan.amounts.len()).filter_map(|a| scan.case(p, a)).map(of_case).sum::<f64>();
            let totals: Vec<f64> = order.iter().map(|&p| total(p)).collect();
            order.sort_by(|&a, &b| totals[b].total_cmp(&totals[a]));
        }
        order
    }

    /// Modules of which a weight lost more than is set at the scanned amount nearest to the one that is set.
    pub(super) fn sensitive(&self, model: &Model) -> Vec<ModuleId> {
        let Some(scan) = &self.scan else { return Vec::new() };
        let ScanView { protects_from, protects_at, .. } = self.scan_view;
        let distance = |i: &usize| (scan.amounts[*i] - protects_at).abs();
        let Some(at) = (0..scan.amounts.len()).min_by(|a, b| distance(a).total_cmp(&distance(b))) else { return Vec::new() };
        let mut modules: Vec<ModuleId> = scan
            .parameters
            .iter()
            .enumerate()
            .filter(|(i, _)| scan.case(*i, at).is_some_and(|case| Self::loss(&case.effect) > protects_from / 100.0))
            .map(|(_, id)| model.graph.parameter(*id).module)
            .collect();
        modules.sort_unstable();
        modules.dedup();
        modules
    }

    /// The scan as CSV: one row per parameter and amount.
    pub(super) fn scan_csv(&self, model: &Model) -> String {
        let row = |case: &SensitivityCase| {
            let first = vec![model.graph.parameter(case.parameter).name.clone(), amount_field(Amount::Fraction(case.amount))];
            (first, effect_fields(&case.effect))
        };
        effects(&["parameter", "amount"], self.scan.iter().flat_map(|s| &s.cases).map(row))
    }
}
