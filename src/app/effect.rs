//! Tab “Effect”: what pruning costs on a person's own images, at the slider's position and over all amounts, and which weights
//! can bear it.

use eframe::egui::{self, Color32, Rect, Sense, Ui, WidgetInfo, pos2, vec2};
use egui_plot::{HLine, Line, LineStyle, MarkerShape, PlotBounds, PlotPoints, Points, VLine};

use crate::engine::Model;
use crate::evaluate::Criterion;
use crate::images::ClassOrder;
use crate::measure::{Effect, Figures};
use crate::prune::{Amount, Method, Recipe, Step};

use super::commands::{Action, Command};
use super::costs::Costs;
use super::pair::{self, Side};
use super::state::AppState;
use super::{chart, losses, pictures, preprocessing, scan, text, theme, widgets};

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
            cost_ui(ui, costs, figures);
            output_ui(ui, costs, model, commands);
            ui.add_space(16.0);
            curve_ui(ui, state, figures, commands);
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
fn is_noise(costs: &Costs) -> bool {
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
fn cost_ui(ui: &mut Ui, costs: &Costs, figures: &Figures) {
    let palette = theme::palette(ui);
    let is_present = costs.is_of(figures);
    let Some(cost) = &costs.cost else {
        // Where it failed, that was told above.
        if costs.failure.is_none() {
            widgets::section_title(ui, "Effect");
            pair::obstacles_ui(ui, figures);
            ui.weak("Measuring …");
        }
        return;
    };
    let total = costs.shown.as_ref().map_or(0, |s| s.images);
    let what = if is_noise(costs) { "inputs of noise, which tell drift, not accuracy" } else { "images" };
    let seen = format!("{} of {} {what}", text::count(cost.dense.images as u64), text::count(total as u64));
    let broken = if cost.broken.is_empty() { String::new() } else { format!(" · {} could not be read", cost.broken.len()) };
    let waiting = if is_present { "" } else { " · measuring the present position …" };
    let title = format!("Effect of {} · {seen}{broken}{waiting}", text::amount(cost.recipe.amount));
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

fn headline(effect: &Effect) -> Option<f64> {
    Criterion::suiting(effect).of(effect)
}

fn headline_text(effect: &Effect) -> String {
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

/// The form of a method's points: what tells curves apart without their colours.
fn marker(method: Method) -> MarkerShape {
    match method {
        Method::LayerWise => MarkerShape::Circle,
        Method::Global => MarkerShape::Square,
        Method::Lamp => MarkerShape::Up,
        Method::Norm => MarkerShape::Diamond,
        Method::Erk => MarkerShape::Down,
        Method::UniformPlus => MarkerShape::Plus,
    }
}

/// The same form, painted.
fn paint_marker(painter: &egui::Painter, center: egui::Pos2, method: Method, color: Color32) {
    const R: f32 = 3.5;
    let polygon = |points: &[(f32, f32)]| {
        let points = points.iter().map(|&(x, y)| center + vec2(x, y) * R).collect();
        painter.add(egui::Shape::convex_polygon(points, color, egui::Stroke::NONE));
    };
    match method {
        Method::LayerWise => drop(painter.circle_filled(center, R, color)),
        Method::Global => polygon(&[(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)]),
        Method::Lamp => polygon(&[(0.0, -1.0), (0.95, 0.8), (-0.95, 0.8)]),
        Method::Norm => polygon(&[(0.0, -1.1), (1.1, 0.0), (0.0, 1.1), (-1.1, 0.0)]),
        Method::Erk => polygon(&[(0.0, 1.0), (0.95, -0.8), (-0.95, -0.8)]),
        Method::UniformPlus => {
            let stroke = egui::Stroke::new(1.5, color);
            painter.line_segment([center - vec2(R, 0.0), center + vec2(R, 0.0)], stroke);
            painter.line_segment([center - vec2(0.0, R), center + vec2(0.0, R)], stroke);
        }
    }
}

/// Width of a curve's sample with the room behind it.
const SAMPLE: f32 = 24.0;

/// Which methods are in the chart, and how each is drawn there: ticks and legend in one.
fn ticks_ui(ui: &mut Ui, ticked: &[Method], pair: [Method; 2], commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = vec2(4.0, 0.0);
        for method in Method::ALL {
            let is_on = ticked.contains(&method);
            let name = format!("Curve of {}", text::method_within(method));
            // A tick and its sample stay together.
            if ui.available_size_before_wrap().x < widgets::tick_width(ui, text::method(method)) + SAMPLE + 4.0 {
                ui.end_row();
            }
            let response = widgets::tick_named(ui, is_on, true, text::method(method), &name);
            if response.on_hover_text(method.help()).clicked() {
                commands.push(Command::TickCurve(method, !is_on));
            }
            let (rect, _) = ui.allocate_exact_size(vec2(SAMPLE, 24.0), Sense::hover());
            let color = if is_on { palette.among(method, pair) } else { palette.line };
            let line = rect.center() - vec2(2.0, 0.0);
            ui.painter().hline(line.x - 8.0..=line.x + 8.0, line.y, egui::Stroke::new(if method == pair[0] { 2.2 } else { 1.4 }, color));
            paint_marker(ui.painter(), line, method, color);
        }
    });
}

/// Accuracy, or agreement, against the amount.
fn curve_ui(ui: &mut Ui, state: &AppState, figures: &Figures, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    let costs = &state.costs;
    let criterion = costs.criterion();
    let name = match criterion {
        Criterion::Top1 => "Accuracy",
        Criterion::Agreement if is_noise(costs) => "Agreement on noise",
        Criterion::Agreement => "Agreement",
        Criterion::Cosine if is_noise(costs) => "Mean cosine on noise",
        Criterion::Cosine => "Mean cosine",
    };
    let is_earlier = costs.curve.as_ref().and_then(|curve| curve.recipe.as_ref()).is_some_and(|of| {
        let present = Recipe { amount: of.amount, ..figures.recipe.clone() };
        !of.is_but_for_method(&present)
    });
    let of = if is_earlier { " · as the scope was before" } else { "" };
    widgets::section_head(ui, &format!("{name} against amount{of}"), |ui| {
        if widgets::hint(ui.button(Action::MeasureCurve.entry().label), Action::MeasureCurve).clicked() {
            commands.push(Command::Do(Action::MeasureCurve));
        }
    });
    let pair = pair::methods(figures);
    let ticked = costs.curve_methods(pair);
    ticks_ui(ui, &ticked, pair, commands);
    search_ui(ui, costs, figures, commands);
    let Some(curve) = &costs.curve else {
        ui.weak("Measure the curve to see how far pruning can go.");
        return;
    };
    let dense = costs.cost.as_ref().and_then(|c| criterion.of(&c.dense));
    let plot = chart::fixed_plot("curve", 200.0)
        .show_axes([true, true])
        .show_grid([false, true])
        .grid_color(palette.line)
        .y_grid_spacer(|_| [0.0, 25.0, 50.0, 75.0, 100.0].map(|value| egui_plot::GridMark { value, step_size: 100.0 }).to_vec())
        .x_grid_spacer(|_| [0.0, 25.0, 50.0, 75.0, 100.0].map(|value| egui_plot::GridMark { value, step_size: 100.0 }).to_vec())
        // At the origin the other axis's label says the same.
        .x_axis_formatter(|mark, _| if mark.value == 0.0 { String::new() } else { format!("{:.0} %", mark.value) })
        .y_axis_formatter(move |mark, _| match criterion {
            Criterion::Cosine => format!("{:.2}", mark.value / 100.0),
            Criterion::Top1 | Criterion::Agreement => format!("{:.0} %", mark.value),
        })
        .label_formatter(|_| None);
    let response = chart::with_axis_style(ui, |ui| {
        plot.show(ui, |plot| {
            plot.set_plot_bounds(PlotBounds::from_min_max([0.0, 0.0], [100.0, 104.0]));
            if let Some(dense) = dense {
                plot.hline(HLine::new("", dense * 100.0).color(palette.weak).width(1.0).style(LineStyle::Dotted { spacing: 5.0 }));
            }
            plot.vline(VLine::new("", state.fraction() * 100.0).color(palette.text).width(1.0));
            for &method in &ticked {
                let color = palette.among(method, pair);
                let points: Vec<[f64; 2]> = curve
                    .points
                    .of(method)
                    .into_iter()
                    .flatten()
                    .filter_map(|(amount, e)| Some([amount * 100.0, criterion.of(e)? * 100.0]))
                    .collect();
                let (style, width) = if method == pair[0] { (LineStyle::Solid, 2.2) } else { (LineStyle::Dashed { length: 6.0 }, 1.6) };
                plot.line(Line::new("", PlotPoints::from(points.clone())).color(color).width(width).style(style).allow_hover(false));
                plot.points(Points::new("", PlotPoints::from(points)).color(color).radius(3.0).shape(marker(method)).allow_hover(false));
            }
        })
    });
    let amount = response.response.hover_pos().map(|at| (response.transform.value_from_position(at).x / 100.0).clamp(0.0, 1.0));
    response.response.widget_info(|| WidgetInfo::labeled(egui::Role::Button, true, format!("{name} against amount")));
    if let Some(amount) = amount {
        if response.response.clicked() {
            set_amount(state, (amount * 200.0).round() / 200.0, None, commands);
        }
        response.response.on_hover_ui_at_pointer(|ui| {
            ui.label(egui::RichText::new(text::percent(amount)).font(theme::bold()));
            for &method in &ticked {
                let nearest =
                    curve.points.of(method).into_iter().flatten().min_by(|a, b| (a.0 - amount).abs().total_cmp(&(b.0 - amount).abs()));
                if let Some((at, value)) = nearest.and_then(|(at, e)| Some((at, criterion.of(e)?))) {
                    ui.label(format!("{}, at {}: {}", text::method(method), text::percent(*at), figure_text(criterion, value)));
                }
            }
            ui.weak("Click to put the slider here");
        });
    }
}

pub(super) fn figure_text(criterion: Criterion, value: f64) -> String {
    match criterion {
        Criterion::Top1 | Criterion::Agreement => text::percent(value),
        Criterion::Cosine => format!("{value:.3}").replace('-', "−"),
    }
}

/// “Largest amount that loses at most …”.
fn search_ui(ui: &mut Ui, costs: &Costs, figures: &Figures, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    ui.horizontal(|ui| {
        ui.label(egui::RichText::new("Largest amount that loses at most").color(palette.weak));
        let mut points = costs.bearable;
        let field = ui.add(egui::DragValue::new(&mut points).range(0.0..=100.0).speed(0.1).fixed_decimals(1));
        field.widget_info(|| WidgetInfo::labeled(egui::Role::SpinButton, true, "Points that may be lost"));
        if field.changed() {
            commands.push(Command::Bearable(points));
        }
        ui.label(egui::RichText::new("points").color(palette.weak));
        if widgets::hint(ui.button(Action::FindAmount.entry().label), Action::FindAmount).clicked() {
            commands.push(Command::Do(Action::FindAmount));
        }
    });
    let Some((_, found)) = &costs.found else { return };
    ui.horizontal(|ui| {
        for found in found {
            let value = costs.criterion().of(&found.effect).map_or(String::new(), |v| format!(" → {}", figure_text(costs.criterion(), v)));
            let label = format!("{} {}{value}", text::method(found.method), text::percent(found.amount));
            let color = palette.among(found.method, pair::methods(figures));
            let button = ui.add(egui::Button::new(egui::RichText::new(label).color(color)));
            if button.on_hover_text("Prune this much with this method").clicked() {
                let recipe = Recipe { method: found.method, amount: Amount::Fraction(found.amount), ..figures.recipe.clone() };
                commands.push(Command::Set(Box::new(recipe), Step::Amount));
                commands.push(Command::EndDrag);
            }
        }
    });
}

fn set_amount(state: &AppState, amount: f64, method: Option<Method>, commands: &mut Vec<Command>) {
    let Some(recipe) = &state.recipe else { return };
    let recipe = Recipe { method: method.unwrap_or(recipe.method), amount: Amount::Fraction(amount), ..recipe.clone() };
    commands.push(Command::Set(Box::new(recipe), Step::Amount));
    commands.push(Command::EndDrag);
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
pub(super) fn results(costs: &Costs, figures: &Figures) -> Option<Results> {
    let cost = costs.cost.as_ref().filter(|_| costs.is_of(figures))?;
    let of = |method: Method| {
        let effect = cost.effects.given(method);
        (effect.map_or("–".into(), headline_text), effect.is_some_and(|e| falls_short(e, &cost.dense)))
    };
    let name = criterion_name(Criterion::suiting(&cost.dense));
    let images = text::count(cost.dense.images as u64);
    let what = if is_noise(costs) { format!("{name}, {images} inputs of noise") } else { format!("{name}, {images} images") };
    Some(Results { what, dense: headline_text(&cost.dense), methods: pair::methods(figures).map(of) })
}
