//! Repair in the window: the button's way to it, its part of the tab “Effect”, and what each layer gained.

use std::path::Path;
use std::sync::Arc;

use eframe::egui::{self, Color32, Rect, Sense, Ui, WidgetInfo, pos2, vec2};

use crate::engine::{Chosen, Model};
use crate::evaluate::Criterion;
use crate::graph::{Module, ModuleId};
use crate::measure::Effect;
use crate::measurer::{Finding, RepairChoice, Repaired, Request};
use crate::prune::{Repair, RepairedLayer};
use crate::recipes::RepairStep;
use crate::repair::{Judged, USUAL_CALIBRATION};
use crate::worker::{Event, Job, Told};

use super::App;
use super::commands::{Action, Answer, Command};
use super::costs::Costs;
use super::dialogs::Purpose;
use super::effect::{figure_text, headline_name, headline_text, short_name};
use super::scoring::Waiting;
use super::state::{AppState, Notice, Question, Tone};
use super::{text, theme, widgets};

/// Layers that are listed at first.
const FEW: usize = 5;
/// Height of a row.
const ROW: f32 = 21.0;
/// Where the columns end, as shares of the width.
const ENDS: [f32; 3] = [0.62, 0.82, 1.0];
/// Length of a bar.
const BAR: f32 = 34.0;
/// Layers that were left which a tooltip names.
const MAX_LINES: usize = 20;

/// What a repair changes, in one sentence.
pub(super) const WHAT_IT_CHANGES: &str = "Repair changes kept weights, biases and the statistics of BatchNorm so that each layer's \
     outputs have the dense network's means and deviations; what is pruned stays zero, no labels are used, and it can be undone.";

/// What a thorough repair does more.
pub(super) const WHAT_IS_THOROUGH: &str = "Fit the kept weights by least squares first: better where much is gone, and slower";

impl AppState {
    /// Whether there is something to repair and nothing stands in the way.
    pub(super) fn can_repair(&self) -> bool {
        let is_pruned = self.view.as_ref().is_some_and(|view| {
            view.is_fixed || view.figures.chosen().is_ok_and(|outcome| outcome.masked.iter().any(|&masked| masked > 0))
        });
        is_pruned && !self.costs.is_repairing()
    }

    /// The channels that can be removed now.
    pub(super) fn removable_channels(&self) -> Option<&Arc<Chosen>> {
        self.channels.removable().filter(|_| self.progress.is_none() && !self.costs.is_repairing())
    }
}

impl App {
    /// Repairs as chosen; before the first time, and where the networks are shown nothing, it is asked.
    pub(super) fn repair(&mut self) {
        if !self.state.can_repair() {
            return;
        }
        if self.state.costs.shown.is_some() && self.state.kept.knows_repair {
            self.start_repair(None);
        } else {
            self.state.question = Some(Question::Repair(None));
        }
    }

    /// Removes channels; where that is wanted, of what their masked twin becomes once it is repaired.
    pub(super) fn remove_channels(&mut self, chosen: Arc<Chosen>) {
        if !self.state.costs.repairs_before_removal() {
            self.worker.send(Job::Remove(chosen, None));
        } else if self.state.kept.knows_repair {
            self.start_repair(Some(chosen));
        } else {
            self.state.question = Some(Question::Repair(Some(chosen)));
        }
    }

    /// What a person answers to the question before it.
    pub(super) fn answer_repair(&mut self, answer: Answer, removing: Option<Arc<Chosen>>) {
        match answer {
            Answer::Yes => self.start_repair(removing),
            Answer::Noise => {
                self.worker.measure(Request::Noise);
                self.start_repair(removing);
            }
            Answer::Images => {
                self.waiting = Some(Waiting::Repair);
                self.ask(Purpose::Images);
            }
            Answer::Save | Answer::No => {}
        }
    }

    /// Repairs what is pruned, or, where channels are to be removed behind it, their masked twin.
    pub(super) fn start_repair(&mut self, removing: Option<Arc<Chosen>>) {
        self.state.kept.knows_repair = true;
        self.worker.measure(Request::Repair(self.state.costs.repair.choice.clone(), removing));
    }

    /// Goes on with a network that was repaired, where that is better, and tells how it ended.
    pub(super) fn take_repair(&mut self, told: &Told) {
        if told.model != self.state.opened {
            return;
        }
        match &told.event {
            Event::Measured(Finding::Repaired(repaired)) => {
                let is_better = repaired.judged.is_better();
                self.state.costs.repair.is_due = is_better || repaired.removing.is_some();
                if let Some(chosen) = &repaired.removing {
                    self.worker.send(Job::Remove(chosen.clone(), Some(repaired.clone())));
                } else if is_better {
                    self.worker.send(Job::Repair(Box::new([repaired.from.clone(), repaired.judged.state.clone()])));
                } else {
                    self.state.tell(notice(repaired));
                    self.go_on_with_recipe();
                }
            }
            // Something else may have been done to the model before it.
            Event::Changed(view) if self.state.costs.repair.is_due => {
                let repaired = self.state.costs.repair.last.as_deref();
                let last = match repaired {
                    Some(Repaired { removing: Some(_), .. }) => view.repaired.as_ref().map(|judged| &judged.repair),
                    _ => view.state.last_repair(),
                };
                let is_of = |repaired: &&Repaired| last.is_some_and(|repair| Arc::ptr_eq(repair, &repaired.judged.repair));
                if let Some(notice) = repaired.filter(is_of).map(notice) {
                    self.state.costs.repair.is_due = false;
                    self.state.tell(notice);
                    self.go_on_with_recipe();
                }
            }
            Event::Measured(Finding::NotRepaired(why)) => {
                let rest = if self.rest.take().is_some() { "; what the recipe does after it was left out" } else { "" };
                self.state.tell(Notice { tone: Tone::Remark, title: "Not repaired".into(), text: format!("{why}{rest}") });
            }
            Event::Failed { .. } => self.rest = None,
            Event::WantsRepair(step, rest) => {
                self.rest.clone_from(rest);
                self.repair_as(step);
            }
            _ => {}
        }
    }

    /// Has the steps of a recipe carried out that follow a repair.
    fn go_on_with_recipe(&mut self) {
        if let Some(rest) = self.rest.take() {
            self.worker.send(Job::GoOn(rest));
        }
    }

    /// Repairs as a recipe says, on the images that are shown; without any it is left to the person.
    fn repair_as(&mut self, step: &RepairStep) {
        let shown = self.state.costs.shown.as_ref().and_then(|shown| shown.path.clone());
        let choice = RepairChoice {
            calibration_images: shown.as_deref().and_then(|shown| step.calibration_images_of(shown)),
            folder: shown.as_deref().and_then(|shown| step.folder(shown)).map(Path::to_owned),
            is_thorough: step.thorough,
        };
        self.state.costs.repair.choice = choice;
        let has_rest = self.rest.is_some();
        if shown.is_some() && has_rest {
            self.start_repair(None);
        } else if shown.is_some() {
            self.repair();
        } else {
            let next = if has_rest { "open it again" } else { "click Repair" };
            let what = if has_rest { "between its steps" } else { "what is left" };
            let text = format!("it repairs {what}, and that needs images: choose some in the tab Effect, and {next}");
            self.rest = None;
            self.state.tell(Notice { tone: Tone::Remark, title: "The recipe repairs".into(), text });
        }
    }
}

/// On what a repair was judged.
fn judged_on(judged: &Judged) -> String {
    let images = text::count(judged.after.images as u64);
    if judged.is_by_noise {
        format!("{images} inputs of noise, of another kind than those that calibrated")
    } else {
        format!("{images} images that did not calibrate")
    }
}

/// What tells one of the two networks of a repair from the other, and its name.
fn figure(judged: &Judged, effect: &Effect) -> (&'static str, String) {
    match effect.mean_cosine {
        Some(cosine) if judged.is_by_noise => (short_name(Criterion::Cosine), figure_text(Criterion::Cosine, cosine)),
        _ => (headline_name(effect), headline_text(effect)),
    }
}

/// Agreement before and after, where that is another figure.
fn agreement(judged: &Judged) -> Option<String> {
    let (before, after) = (judged.before.agreement?, judged.after.agreement?);
    (figure(judged, &judged.after).0 != short_name(Criterion::Agreement))
        .then(|| format!("agreement {} → {}", text::percent(before), text::percent(after)))
}

/// What a repair must not lower.
fn likeness(judged: &Judged) -> &'static str {
    if judged.is_by_noise { "likeness to the dense network's outputs" } else { "agreement with the dense network" }
}

/// What the two figures of a repair are.
fn meaning(judged: &Judged) -> String {
    let agreement = agreement(judged).map_or(String::new(), |agreement| format!("; {agreement}"));
    format!("{} on {}{agreement}", figure(judged, &judged.after).0, judged_on(judged))
}

fn notice(repaired: &Repaired) -> Notice {
    let mut text = meaning(&repaired.judged);
    if repaired.judged.is_better() {
        if repaired.removing.is_some() {
            text.push_str("; then the channels were removed");
        }
        Notice { tone: Tone::Success, title: Notice::REPAIRED.into(), text }
    } else {
        let end = if repaired.removing.is_some() { "the channels were removed without it" } else { "nothing was changed" };
        let text = format!("{text}. {} would fall: {end}", text::sentence(likeness(&repaired.judged)));
        Notice { tone: Tone::Remark, title: Notice::NOT_APPLIED.into(), text }
    }
}

/// What is asked before the first repair: the title, what it does, and what it would use.
pub(super) fn question(costs: &Costs, is_before_removal: bool) -> (&'static str, String) {
    let uses = match &costs.shown {
        None => "It needs images, without labels: some of them calibrate, and the others judge. Noise can stand in: it repairs less, and \
                 noise of another kind judges."
            .to_owned(),
        Some(shown) if shown.path.is_none() => "No images are shown: noise calibrates, and noise of another kind judges. Images repair \
             more."
            .to_owned(),
        Some(_) => format!("{}.", uses(costs)),
    };
    let end = match &costs.shown {
        Some(shown) if shown.path.is_none() => "A repair after which its outputs are less like the dense network's is not applied.",
        _ => "A repair after which the network agrees less with the dense one is not applied.",
    };
    if is_before_removal {
        let what = "The network in which the channels are zero is repaired, and then they are removed, as one step.";
        return ("Repair, then remove the channels?", format!("{what} {WHAT_IT_CHANGES}\n\n{uses} {end}"));
    }
    ("Repair what pruning left?", format!("{WHAT_IT_CHANGES}\n\n{uses} {end}"))
}

/// What calibrates and what judges.
pub(super) fn uses(costs: &Costs) -> String {
    let (Some(shown), Some(calibrating)) = (&costs.shown, costs.calibration_images()) else { return String::new() };
    let count = |n: usize| text::count(n as u64);
    match &costs.repair.choice.folder {
        Some(_) => format!("Images of a folder of their own calibrate, and all {} that are shown judge", count(shown.images)),
        None => format!(
            "{} of the {} images calibrate, and the other {} judge",
            count(calibrating),
            count(shown.images),
            count(shown.images.saturating_sub(calibrating))
        ),
    }
}

/// How it repairs and what came of it.
pub(super) fn show(ui: &mut Ui, state: &AppState, commands: &mut Vec<Command>) {
    let costs = &state.costs;
    widgets::section_head(ui, "Repair", |ui| {
        let thorough = widgets::tick(ui, costs.repair.choice.is_thorough, true, "Thorough");
        if thorough.on_hover_text(WHAT_IS_THOROUGH).clicked() {
            commands
                .push(Command::ChooseRepair(RepairChoice { is_thorough: !costs.repair.choice.is_thorough, ..costs.repair.choice.clone() }));
        }
    });
    choice_ui(ui, costs, commands);
    let Some(view) = &state.view else { return };
    let repair = view.state.last_repair();
    if let Some(repaired) = costs.repair.last.as_ref().filter(|repaired| repaired.removing.is_none()) {
        let is_present = repair.is_some_and(|repair| Arc::ptr_eq(repair, &repaired.judged.repair));
        if is_present || (!repaired.judged.is_better() && repaired.from == view.state) {
            ui.add_space(6.0);
            result_ui(ui, &repaired.judged, Some(repaired.seconds));
        }
    }
    match repair {
        Some(repair) => {
            ui.add_space(6.0);
            layers_ui(ui, repair, costs.repair.lists_layers, commands);
        }
        None if !state.can_repair() && !costs.is_repairing() => {
            ui.weak("There is nothing to repair: nothing is pruned.");
        }
        None => {}
    }
}

/// Which images calibrate.
fn choice_ui(ui: &mut Ui, costs: &Costs, commands: &mut Vec<Command>) {
    let weak = |text: String| egui::RichText::new(text).color(theme::palette(ui).weak);
    let Some(shown) = &costs.shown else { return };
    let Some(mut calibrating) = costs.calibration_images() else {
        ui.label(weak("Noise calibrates, and noise of another kind judges: images repair more, and tell more".to_owned()));
        return;
    };
    let label = |text: &str| egui::Label::new(weak(text.to_owned()));
    let count = |n: usize| text::count(n as u64);
    let (before, after, most) = match &costs.repair.choice.folder {
        None => (
            String::new(),
            format!("of {} images calibrate, the other {} judge", count(shown.images), count(shown.images.saturating_sub(calibrating))),
            shown.images.saturating_sub(1).max(1),
        ),
        Some(folder) => {
            calibrating = costs.repair.choice.calibration_images.unwrap_or(USUAL_CALIBRATION);
            let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
            (
                "At most".to_owned(),
                format!("images of {} calibrate, all {} that are shown judge", text::name(&name), count(shown.images)),
                65_536,
            )
        }
    };
    let labels = [label(&before), label(&after)];
    ui.horizontal(|ui| {
        let [first, second] = labels;
        if !before.is_empty() {
            ui.add(first);
        }
        let now = calibrating;
        let field = ui.add(egui::DragValue::new(&mut calibrating).range(1..=most).speed(0.5));
        field.widget_info(|| WidgetInfo::labeled(egui::Role::SpinButton, true, "Images that calibrate"));
        let field = field.on_hover_text("From all classes; a third of the images, and at most 256, where nothing else is said");
        if field.changed() && calibrating != now {
            commands.push(Command::ChooseRepair(RepairChoice { calibration_images: Some(calibrating), ..costs.repair.choice.clone() }));
        }
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            if costs.repair.choice.folder.is_some() {
                let own = ui.button("Images shown").on_hover_text("Calibrate on some of the images that are shown");
                if own.clicked() {
                    commands.push(Command::ChooseRepair(RepairChoice {
                        folder: None,
                        calibration_images: None,
                        ..costs.repair.choice.clone()
                    }));
                }
            }
            if widgets::hint(ui.button(Action::ChooseCalibration.entry().label), Action::ChooseCalibration).clicked() {
                commands.push(Command::Do(Action::ChooseCalibration));
            }
            ui.with_layout(egui::Layout::left_to_right(egui::Align::Center), |ui| {
                ui.add(second.truncate());
            });
        });
    });
}

/// Before and after as two figures.
pub(super) fn figures_ui(ui: &mut Ui, judged: &Judged) {
    let palette = theme::palette(ui);
    let tone = if judged.is_better() { palette.good } else { palette.warning };
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 14.0;
        let figure_ui = |ui: &mut Ui, name: &str, effect: &Effect, color: Color32| {
            ui.vertical(|ui| {
                ui.spacing_mut().item_spacing.y = 2.0;
                ui.label(egui::RichText::new(name).color(palette.weak));
                ui.label(egui::RichText::new(figure(judged, effect).1).font(theme::large()).color(color));
            });
        };
        figure_ui(ui, "Before", &judged.before, palette.text);
        ui.vertical(|ui| {
            ui.spacing_mut().item_spacing.y = 2.0;
            ui.label("");
            ui.label(egui::RichText::new("→").font(theme::large()).color(palette.weak));
        });
        figure_ui(ui, "After", &judged.after, tone);
    });
}

/// How many layers got a bias, in words.
fn added(judged: &Judged) -> String {
    match judged.repair.layers.iter().filter(|layer| layer.adds_bias).count() {
        0 => String::new(),
        1 => "; one got a bias".to_owned(),
        added => format!("; {added} got a bias"),
    }
}

/// Before and after, what these are, what was done, and how long it took where that is known.
pub(super) fn result_ui(ui: &mut Ui, judged: &Judged, seconds: Option<f64>) {
    let palette = theme::palette(ui);
    let Repair { calibration_images, is_thorough, layers, .. } = &*judged.repair;
    ui.horizontal(|ui| {
        figures_ui(ui, judged);
        ui.add_space(10.0);
        ui.vertical(|ui| {
            ui.spacing_mut().item_spacing.y = 2.0;
            let what = format!("{} on {}", figure(judged, &judged.after).0, judged_on(judged));
            for line in std::iter::once(what).chain(agreement(judged).map(|agreement| text::sentence(&agreement))) {
                ui.add(egui::Label::new(egui::RichText::new(line).color(palette.weak)).wrap());
            }
            let how = if *is_thorough { "by least squares and statistics" } else { "by statistics" };
            let on = if judged.is_by_noise { "inputs of noise" } else { "images" };
            let (line, color) = if judged.is_better() {
                let (layers, images) = (layers.len(), text::count(*calibration_images as u64));
                (format!("{layers} layers {how}, on {images} {on}{}", added(judged)), palette.weak)
            } else {
                (format!("Not applied, because {} fell", likeness(judged)), palette.warning)
            };
            let line = ui.add(egui::Label::new(egui::RichText::new(line).color(color)).wrap());
            if let Some(seconds) = seconds {
                line.on_hover_text(format!("It took {seconds:.1} s"));
            }
        });
    });
}

/// What a repair did to a module: to itself, or to the normalisation that follows it in the file.
pub(super) fn layer_of<'a>(repair: &'a Repair, model: &Model, module: ModuleId) -> Option<&'a RepairedLayer> {
    let modules = &model.graph.modules;
    let named = |module: &Module| repair.layers.iter().find(|layer| layer.name == module.name);
    let next = || modules.get(module.0 + 1).filter(|next| next.kind.contains("Norm"));
    modules.get(module.0).and_then(named).or_else(|| next().and_then(named))
}

/// What one layer gained, in words.
pub(super) fn gain(layer: &RepairedLayer) -> String {
    let error = |error: Option<f64>| error.map_or("–".into(), text::percent);
    let bias = if layer.adds_bias { ", with a bias that was added" } else { "" };
    format!("{} → {}{bias}", error(layer.error_before), error(layer.error_after))
}

/// How strongly a fit was pulled towards the dense weights.
fn lambda(layer: &RepairedLayer) -> String {
    match layer.lambda {
        None => "–".to_owned(),
        Some(lambda) if lambda.is_infinite() => "∞".to_owned(),
        Some(lambda) => text::short(lambda),
    }
}

/// What every layer gained, those that gained most first.
fn layers_ui(ui: &mut Ui, repair: &Repair, lists_all: bool, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    let gained = |layer: &RepairedLayer| layer.error_before.unwrap_or(0.0) - layer.error_after.unwrap_or(0.0);
    let mut layers: Vec<&RepairedLayer> = repair.layers.iter().collect();
    if !lists_all {
        layers.sort_by(|a, b| gained(b).total_cmp(&gained(a)));
        layers.truncate(FEW);
    }
    let title = format!("What each layer gained, on the {} that calibrated", text::count(repair.calibration_images as u64));
    widgets::section_head(ui, &title, |ui| {
        if repair.layers.len() > FEW && widgets::tick(ui, lists_all, true, &format!("List all {} layers", repair.layers.len())).clicked() {
            commands.push(Command::ListLayers(!lists_all));
        }
    });
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::hover());
    response.on_hover_text(
        "Relative error of its output, |dense − pruned| / |dense|. λ: how strongly a fit was pulled towards the dense weights; ∞ where it left them",
    );
    let is_fitted = repair.layers.iter().any(|layer| layer.lambda.is_some());
    let ends = if is_fitted { &ENDS[..] } else { &[ENDS[1], ENDS[2]] };
    for (head, end) in ["Error before", "Error after", "λ"].into_iter().zip(ends) {
        widgets::paint_right(ui, rect.left() + rect.width() * end, rect.center().y, head, theme::small(), palette.weak);
    }
    for layer in layers {
        layer_ui(ui, layer, ends);
    }
    if !repair.left.is_empty() {
        let mut lines: Vec<String> =
            repair.left.iter().take(MAX_LINES).map(|(name, why)| format!("{}: {}", text::name(name), text::message(why))).collect();
        if repair.left.len() > MAX_LINES {
            lines.push(format!("and {} more", repair.left.len() - MAX_LINES));
        }
        let shown = match &repair.left[..] {
            [(name, why)] => format!("{} was left as it was: {}", text::name(name), text::message(why)),
            left => format!("{} layers were left as they were; the first, {}", left.len(), lines[0]),
        };
        ui.weak(shown).on_hover_text(lines.join("\n"));
    }
}

fn layer_ui(ui: &mut Ui, layer: &RepairedLayer, ends: &[f32]) {
    let palette = theme::palette(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::hover());
    let name = &*text::name(&layer.name);
    response.widget_info(|| WidgetInfo::labeled(egui::Role::Label, true, format!("{name}: error {}", gain(layer))));
    if !ui.is_rect_visible(rect) {
        return;
    }
    let x = |share: f32| rect.left() + rect.width() * share;
    let errors = [(layer.error_before, palette.weak), (layer.error_after, palette.good)];
    for ((error, color), &end) in errors.into_iter().zip(ends) {
        let cell = error.map_or("–".into(), text::percent);
        widgets::paint_right(ui, x(end), rect.center().y, &cell, theme::normal(), palette.text);
        let bar = Rect::from_min_size(pos2(x(end) - 58.0 - BAR, rect.center().y - 3.0), vec2(BAR, 6.0));
        widgets::paint_bar(ui.painter(), bar, error.unwrap_or(0.0).min(1.0), color, palette);
    }
    if let Some(&end) = ends.get(2) {
        widgets::paint_right(ui, x(end), rect.center().y, &lambda(layer), theme::normal(), palette.text);
    }
    let room = Rect::from_min_max(rect.min, pos2(x(ends[0]) - 66.0 - BAR, rect.bottom()));
    widgets::paint_path(ui, room, name, &theme::normal(), palette.weak);
}
