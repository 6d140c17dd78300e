//! Tab “Effect”: what pruning costs on a person's own images, at the slider's position and over all amounts, and which weights
//! can bear it.

use eframe::egui::{self, Color32, Rect, Sense, Ui, WidgetInfo, pos2, vec2};

use crate::engine::Model;
use crate::evaluate::Criterion;
use crate::images::ClassOrder;
use crate::measure::{Effect, Figures};
use crate::prune::{Amount, Method, State};

use super::commands::{Action, Command};
use super::costs::Costs;
use super::pair::{self, Side};
use super::state::AppState;
use super::{chart, curve, losses, pictures, preprocessing, repair, scan, text, theme, widgets};

pub(super) fn show(ui: &mut Ui, state: &AppState, model: &Model, figures: &Figures, commands: &mut Vec<Command>) {
    let costs = &state.costs;
    images_ui(ui, costs, commands);
    preprocessing::show(ui, costs, &model.graph, commands);
    if let Some(remark) = costs.shown.as_ref().and_then(|shown| shown.remark.as_ref()) {
        ui.add_space(4.0);
        ui.label(egui::RichText::new(text::message(remark)).color(theme::palette(ui).warning));
    }
    if let Some(shown) = costs.shown.as_ref().filter(|shown| !shown.inventory.is_empty()) {
        inventory_ui(ui, &shown.inventory);
    }
    if let Some(shown) = costs.shown.as_ref().filter(|shown| shown.asks_order) {
        order_ui(ui, shown.class_order, commands);
    }
    if let Some(why) = &costs.failure {
        ui.add_space(4.0);
        ui.label(egui::RichText::new(text::message(why)).color(theme::palette(ui).warning));
    }
    ui.add_space(10.0);
    egui::ScrollArea::vertical().id_salt("effect").auto_shrink(false).show(ui, |ui| {
        // The bar that scrolls covers nothing.
        ui.set_max_width(ui.available_width() - 12.0);
        if costs.shown.is_some() {
            if let Some(view) = &state.view {
                cost_ui(ui, costs, &view.state, figures);
            }
            output_ui(ui, costs, model, commands);
            ui.add_space(16.0);
            repair::show(ui, state, commands);
            ui.add_space(16.0);
            curve::show(ui, state, figures, commands);
            ui.add_space(16.0);
            scan::show(ui, state, model, figures, commands);
            ui.add_space(16.0);
        } else {
            ui.weak("Choose a folder with images: one subfolder per class, or flat. PNG, JPEG, WebP, BMP, or an array in .npy or .npz.");
            ui.weak("Without images, noise shows how far the outputs drift, which says little about accuracy.");
            ui.add_space(16.0);
        }
        losses::show(ui, costs, model, figures, commands);
        ui.add_space(16.0);
        pictures::show(ui, costs, figures.recipe.method);
        ui.add_space(8.0);
    });
}

/// Lines on what was left out of a folder that are shown; the others are told where the mouse rests on the last.
const INVENTORY_LINES: usize = 5;

/// What was taken as classes and what was left out.
fn inventory_ui(ui: &mut Ui, lines: &[String]) {
    let weak = theme::palette(ui).weak;
    ui.add_space(4.0);
    ui.scope(|ui| {
        ui.spacing_mut().item_spacing.y = 2.0;
        for line in lines.iter().take(INVENTORY_LINES) {
            ui.label(egui::RichText::new(text::message(line)).color(weak));
        }
        if let Some(rest) = lines.get(INVENTORY_LINES..).filter(|rest| !rest.is_empty()) {
            let all: Vec<String> = rest.iter().map(|line| text::message(line).into_owned()).collect();
            ui.label(egui::RichText::new(format!("and {} more", rest.len())).color(weak)).on_hover_text(all.join("\n"));
        }
    });
}

/// Which order numbered classes are in.
fn order_ui(ui: &mut Ui, chosen: Option<ClassOrder>, commands: &mut Vec<Command>) {
    let names = [
        ("As text", "Classes sorted as torchvision's ImageFolder sorts them: 0, 1, 10, 11, 2"),
        ("By number", "Classes sorted by their numbers: 0, 1, 2, 10, 11"),
    ];
    ui.horizontal(|ui| {
        ui.label("Order of the numbered classes");
        // Nothing is lit until it is chosen.
        let now = ClassOrder::ALL.iter().position(|order| Some(*order) == chosen).unwrap_or(names.len());
        if let Some(order) = widgets::segmented(ui, names, now) {
            commands.push(Command::OrderClasses(ClassOrder::ALL[order]));
        }
    });
}

/// Which output answers, where the model has several, and what is to be known of how the network is asked.
fn output_ui(ui: &mut Ui, costs: &Costs, model: &Model, commands: &mut Vec<Command>) {
    let Some(cost) = &costs.cost else { return };
    let outputs = &model.graph.outputs;
    let weak = theme::palette(ui).weak;
    if outputs.len() > 1 {
        ui.add_space(6.0);
        ui.horizontal(|ui| {
            ui.label(egui::RichText::new("Answers come from").color(weak));
            let name = |i: usize| outputs.get(i).map_or_else(String::new, |(name, _)| text::name(name).into_owned());
            let mut chosen = if cost.is_output_chosen { Some(cost.output) } else { None };
            let before = chosen;
            let found = format!("{} (found)", name(cost.output));
            let shown = if cost.is_output_chosen { name(cost.output) } else { found };
            let list = egui::ComboBox::from_id_salt("output").selected_text(shown).show_ui(ui, |ui| {
                ui.selectable_value(&mut chosen, None, "Found by itself");
                for i in 0..outputs.len() {
                    ui.selectable_value(&mut chosen, Some(i), name(i));
                }
            });
            list.response.widget_info(|| WidgetInfo::labeled(egui::Role::ComboBox, true, "Output that answers"));
            if chosen != before {
                commands.push(Command::Output(chosen.and_then(|i| outputs.get(i)).map(|(name, _)| name.clone())));
            }
        });
    }
    for remark in &cost.remarks {
        ui.label(egui::RichText::new(text::message(remark)).color(weak));
    }
}

/// What is shown to the networks, and the buttons that change it.
fn images_ui(ui: &mut Ui, costs: &Costs, commands: &mut Vec<Command>) {
    ui.horizontal(|ui| {
        if widgets::hint(ui.button(Action::ChooseImages.entry().label), Action::ChooseImages).clicked() {
            commands.push(Command::Do(Action::ChooseImages));
        }
        if widgets::hint(ui.button(Action::UseNoise.entry().label), Action::UseNoise).clicked() {
            commands.push(Command::Do(Action::UseNoise));
        }
        if costs.shown.as_ref().is_some_and(|shown| shown.preprocess.is_some())
            && widgets::hint(ui.button(Action::ChooseLabels.entry().label), Action::ChooseLabels).clicked()
        {
            commands.push(Command::Do(Action::ChooseLabels));
        }
        preprocessing::button(ui, costs, commands);
        ui.add_space(6.0);
        let Some(shown) = &costs.shown else { return };
        let line = match &shown.path {
            None => format!("Noise, {} inputs: drift, not accuracy", text::count(shown.images as u64)),
            Some(path) => {
                let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
                let classes = match shown.unused_classes {
                    _ if shown.is_labelled => format!(" · {} classes", shown.classes.len()),
                    0 => " · no labels".to_owned(),
                    1 => " · 1 class, not used".to_owned(),
                    unused => format!(" · {unused} classes, not used"),
                };
                let how = shown.preprocess.as_ref().map_or(String::new(), |p| format!(" · {p} · {}", text::message(&shown.provenance)));
                format!("{} · {} images{classes}{how}", text::name(&name), text::count(shown.images as u64))
            }
        };
        let weak = theme::palette(ui).weak;
        ui.add(egui::Label::new(egui::RichText::new(&line).color(weak)).truncate()).on_hover_text(line);
    });
}

/// A figure of an effect by name, as text, and whether it is worse than the dense network's.
type Row = (&'static str, &'static str, fn(&Effect) -> Option<String>);

/// Of noise, figures tell how far the outputs drift and nothing about accuracy.
pub(super) fn is_noise(costs: &Costs) -> bool {
    costs.shown.as_ref().is_some_and(|shown| shown.path.is_none())
}

const ROWS: [Row; 5] = [
    ("Top-1 accuracy", "Share of the labelled images whose class is the first answer", |e| e.top1.map(text::percent)),
    ("Top-5 accuracy", "Share of the labelled images whose class is among the first five answers", |e| e.top5.map(text::percent)),
    ("Agreement", "Share of the images with the dense network's first answer", |e| e.agreement.map(text::percent)),
    ("Mean cosine", "Cosine between the outputs of pruned and dense network", |e| {
        e.mean_cosine.map(|c| format!("{c:.4}").replace('-', "−"))
    }),
    ("Mean KL divergence", "Of the pruned network's classes from the dense one's, in nats", |e| e.mean_kl.map(|kl| format!("{kl:.4}"))),
];

/// The dense network and both pruned ones side by side.
fn cost_ui(ui: &mut Ui, costs: &Costs, state: &State, figures: &Figures) {
    let palette = theme::palette(ui);
    let is_present = costs.is_of(state, figures);
    let Some(cost) = &costs.cost else {
        // Where it failed, that was told above.
        if costs.failure.is_none() {
            widgets::section_title(ui, "Effect");
            pair::obstacles_ui(ui, figures);
            ui.weak("Measuring …");
        }
        return;
    };
    let total = costs.shown.as_ref().map_or(0, |s| s.images.saturating_sub(cost.calibrated));
    let what = match cost.calibrated {
        _ if is_noise(costs) => "inputs of noise, which tell drift, not accuracy",
        0 => "images",
        _ => "images that did not calibrate",
    };
    let seen = format!("{} of {} {what}", text::count(cost.dense.images as u64), text::count(total as u64));
    let broken = if cost.broken.is_empty() { String::new() } else { format!(" · {} could not be read", cost.broken.len()) };
    let waiting = if is_present { "" } else { " · measuring the present position …" };
    let title = format!("Effect of {} · {seen}{broken}{waiting}", effect_of(&cost.state));
    let response = ui.scope(|ui| widgets::section_title(ui, &title)).response;
    if !cost.broken.is_empty() {
        let list: Vec<String> =
            cost.broken.iter().take(12).map(|b| format!("{}: {}", text::name(&b.name), text::message(&b.reason))).collect();
        response.on_hover_text(list.join("\n"));
    }
    ui.add_space(4.0);
    let strength = if is_present { 1.0 } else { 0.5 };
    let color = |color: Color32| color.gamma_multiply(strength);
    let headline = headline_text;
    let [applied, beside] = pair::methods(figures);
    let top = ui.cursor().top();
    let places = Columns::of(ui.max_rect());
    let effects = [Some(&cost.dense), cost.effects.given(applied), cost.effects.given(beside)];
    for (i, (side, effect)) in [None, Some(Side::Applied), Some(Side::Beside)].into_iter().zip(effects).enumerate() {
        let tone = if effect.is_some_and(|e| falls_short(e, &cost.dense)) { palette.warning } else { palette.text };
        let name = side.map_or("Dense", |side| text::method(side.method(figures)));
        let figure = effect.map_or("–".into(), headline);
        let right = places.right(i);
        widgets::paint_right(ui, right, top + 9.0, name, theme::normal(), palette.weak);
        if let Some(side) = side {
            let width = ui.painter().layout_no_wrap(name.to_owned(), theme::normal(), palette.weak).size().x;
            let swatch = Rect::from_center_size(pos2(right - width - 12.0, top + 9.0), vec2(9.0, 9.0));
            chart::paint_swatch(ui, swatch, side);
        }
        widgets::paint_right(ui, right, top + 33.0, &figure, theme::large(), color(tone));
    }
    let (_, response) = ui.allocate_exact_size(vec2(ui.available_width(), 48.0), Sense::hover());
    let told: Vec<String> = effects.map(|e| e.map_or("–".into(), headline)).to_vec();
    let heads = format!("Dense, {}, {}", text::method_within(applied), text::method_within(beside));
    response.widget_info(|| WidgetInfo::labeled(egui::Role::Label, true, format!("{heads}: {}", told.join(", "))));
    pair::obstacles_ui(ui, figures);
    ui.add_space(6.0);
    for (name, tooltip, figure) in ROWS {
        let cells = effects.map(|e| e.and_then(figure));
        if cells.iter().any(Option::is_some) {
            row_ui(ui, name, tooltip, &cells.map(|c| c.unwrap_or_else(|| "–".into())), strength);
        }
    }
    let pruned = [None, effects[1], effects[2]];
    let changed = pruned.map(|e| e.map(|e| text::count(e.changed.len() as u64)));
    if cost.dense.agreement.is_some() {
        row_ui(
            ui,
            "Answers that changed",
            "Images that the pruned network takes for another class",
            &changed.map(|c| c.unwrap_or_else(|| "–".into())),
            strength,
        );
    }
    // Logits that differ are no loss where the answers are the same.
    let errors = if cost.dense.agreement.is_none() { &cost.dense.relative_errors[..] } else { &[] };
    for (i, (name, _)) in errors.iter().enumerate().take(6) {
        let error = |e: &Effect| e.relative_errors.get(i).map_or("–".into(), |(_, error)| text::percent(*error));
        let cells = pruned.map(|e| e.map_or("–".into(), error));
        let label = format!("Relative error of “{name}”");
        row_ui(ui, &label, "|pruned − dense| / |dense| over all images", &cells, strength);
    }
}

/// What has the effect: the amount, and what it is taken from where that is not the opened model.
fn effect_of(state: &State) -> String {
    let amount = text::amount(state.recipe.amount);
    let base = match state.last_repair() {
        Some(_) => "repaired",
        None if state.has_fixed() => "fixed",
        None if state.has_kept() => return format!("{amount} of what the masks kept"),
        None => return amount,
    };
    match state.recipe.amount {
        Amount::Fraction(0.0) | Amount::Count(0) => format!("the {base} weights"),
        _ => format!("{amount} of the {base} weights"),
    }
}

fn headline(effect: &Effect) -> Option<f64> {
    Criterion::suiting(effect).of(effect)
}

/// What [`headline_text`] is.
pub(super) fn headline_name(effect: &Effect) -> &'static str {
    short_name(Criterion::suiting(effect))
}

/// What [`figure_text`] is, where there is little room.
pub(super) fn short_name(criterion: Criterion) -> &'static str {
    match criterion {
        Criterion::Top1 => "Top-1 accuracy",
        Criterion::Agreement => "Agreement",
        Criterion::Cosine => "Mean cosine",
    }
}

pub(super) fn headline_text(effect: &Effect) -> String {
    headline(effect).map_or("–".into(), |value| figure_text(Criterion::suiting(effect), value))
}

/// Whether a method lost more than a point.
fn falls_short(effect: &Effect, dense: &Effect) -> bool {
    matches!((headline(effect), headline(dense)), (Some(a), Some(b)) if a < b - 0.01 || a.is_nan())
}

/// Where the figures of the three networks end, to the right of their names.
struct Columns {
    left: f32,
    width: f32,
}

impl Columns {
    fn of(rect: Rect) -> Self {
        let names = rect.width() * 0.3;
        Self { left: rect.left() + names, width: (rect.width() - names) / 3.0 }
    }

    fn right(&self, i: usize) -> f32 {
        self.left + self.width * (i as f32 + 1.0)
    }
}

/// A name and three figures, each under its heading.
fn row_ui(ui: &mut Ui, name: &str, tooltip: &str, cells: &[String; 3], strength: f32) {
    let palette = theme::palette(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 19.0), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(egui::Role::Label, true, format!("{name}: {}", cells.join(", "))));
    response.on_hover_text(tooltip);
    let places = Columns::of(rect);
    let font = theme::normal();
    for (i, cell) in cells.iter().enumerate() {
        widgets::paint_right(ui, places.right(i), rect.center().y, cell, font.clone(), palette.text.gamma_multiply(strength));
    }
    let room = Rect::from_min_max(rect.min, pos2(places.right(0) - 80.0, rect.bottom()));
    widgets::paint_clipped(ui, room, name, font, palette.weak);
}

pub(super) fn figure_text(criterion: Criterion, value: f64) -> String {
    match criterion {
        Criterion::Top1 | Criterion::Agreement => text::percent(value),
        Criterion::Cosine => format!("{value:.3}").replace('-', "−"),
    }
}

/// The few results that matter, for the foot of another tab.
pub(super) struct Results {
    /// What the figures are.
    pub what: String,
    /// Of the dense network.
    pub dense: String,
    /// Of the applied method and the one beside it, and whether each is worse than the dense network.
    pub methods: [(String, bool); 2],
}

/// What a figure is.
pub(super) fn criterion_name(criterion: Criterion) -> &'static str {
    match criterion {
        Criterion::Top1 => "Top-1 accuracy",
        Criterion::Agreement => "Agreement with the dense network",
        Criterion::Cosine => "Mean cosine to the dense network",
    }
}

/// What was measured for this recipe; `None` where nothing was.
pub(super) fn results(costs: &Costs, state: &State, figures: &Figures) -> Option<Results> {
    let cost = costs.cost.as_ref().filter(|_| costs.is_of(state, figures))?;
    let of = |method: Method| {
        let effect = cost.effects.given(method);
        (effect.map_or("–".into(), headline_text), effect.is_some_and(|e| falls_short(e, &cost.dense)))
    };
    let name = criterion_name(Criterion::suiting(&cost.dense));
    let images = text::count(cost.dense.images as u64);
    let what = match cost.calibrated {
        _ if is_noise(costs) => format!("{name}, {images} inputs of noise"),
        0 => format!("{name}, {images} images"),
        _ => format!("{name}, {images} images that did not calibrate"),
    };
    Some(Results { what, dense: headline_text(&cost.dense), methods: pair::methods(figures).map(of) })
}
