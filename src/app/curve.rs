//! Tab “Effect”, over all amounts: curves of any set of methods, repaired or not, and the largest amount whose cost is bearable.

use eframe::egui::{self, Color32, Sense, Ui, WidgetInfo, vec2};
use egui_plot::{HLine, LineStyle, MarkerShape, PlotBounds, VLine};

use crate::evaluate::Criterion;
use crate::measure::{Effect, Figures};
use crate::measurer::{Bearable, RepairChoice};
use crate::prune::{Amount, Method, PerMethod, Recipe, Step};

use super::commands::{Action, Command};
use super::costs::Costs;
use super::effect::{figure_text, is_noise};
use super::state::AppState;
use super::{chart, pair, text, theme, widgets};

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
pub(super) fn show(ui: &mut Ui, state: &AppState, figures: &Figures, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    let costs = &state.costs;
    let criterion = costs.criterion();
    let name = figure_name(costs);
    let of = match (costs.curve.as_ref().and_then(|curve| curve.state.as_ref()), &state.view) {
        (Some(of), _) if !of.recipe.is_but_for_method(&Recipe { amount: of.recipe.amount, ..figures.recipe.clone() }) => {
            " · as the scope was before"
        }
        (Some(of), Some(view)) if !of.has_same_base(&view.state) => " · as the weights were before",
        _ => "",
    };
    widgets::section_head(ui, &format!("{name} against amount{of}"), |ui| {
        if widgets::hint(ui.button(Action::MeasureCurve.entry().label), Action::MeasureCurve).clicked() {
            commands.push(Command::Do(Action::MeasureCurve));
        }
        with_repair_ui(ui, costs, commands);
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
    let plot = chart::amount_plot("curve", criterion, palette.line);
    let response = chart::with_axis_style(ui, |ui| {
        plot.show(ui, |plot| {
            plot.set_plot_bounds(PlotBounds::from_min_max([0.0, 0.0], [100.0, 104.0]));
            if let Some(dense) = dense {
                plot.hline(HLine::new("", dense * 100.0).color(palette.weak).width(1.0).style(LineStyle::Dotted { spacing: 5.0 }));
            }
            plot.vline(VLine::new("", state.fraction() * 100.0).color(palette.text).width(1.0));
            for &method in &ticked {
                let color = palette.among(method, pair);
                let points = |of: &PerMethod<Vec<(f64, Effect)>>| -> Vec<[f64; 2]> {
                    let points = of.of(method).into_iter().flatten();
                    points.filter_map(|(amount, e)| Some([amount * 100.0, criterion.of(e)? * 100.0])).collect()
                };
                chart::draw_repaired(plot, points(&curve.repaired), (color, marker(method)));
                let line = if method == pair[0] { (LineStyle::Solid, 2.2) } else { (LineStyle::Dashed { length: 6.0 }, 1.6) };
                chart::draw_curve(plot, points(&curve.points), (color, marker(method)), line);
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
                for (of, how) in [(&curve.points, ""), (&curve.repaired, " repaired")] {
                    let nearest = of.of(method).into_iter().flatten().min_by(|a, b| (a.0 - amount).abs().total_cmp(&(b.0 - amount).abs()));
                    if let Some((at, value)) = nearest.and_then(|(at, e)| Some((at, criterion.of(e)?))) {
                        let name = text::method(method);
                        ui.label(format!("{name}{how}, at {}: {}", text::percent(*at), figure_text(criterion, value)));
                    }
                }
            }
            ui.weak("Click to put the slider here");
        });
    }
    let images = |of: &PerMethod<Vec<(f64, Effect)>>| of.iter().find_map(|(_, points)| points.first()).map(|(_, effect)| effect.images);
    if let (Some(pruned), Some(repaired)) = (images(&curve.points), images(&curve.repaired)) {
        legend_ui(ui, costs, ("as pruned", pruned), (curve.repair.as_ref(), repaired));
    }
}

/// What a curve shows, in short.
pub(super) fn figure_name(costs: &Costs) -> &'static str {
    match costs.criterion() {
        Criterion::Top1 => "Accuracy",
        Criterion::Agreement if is_noise(costs) => "Agreement on noise",
        Criterion::Agreement => "Agreement",
        Criterion::Cosine if is_noise(costs) => "Mean cosine on noise",
        Criterion::Cosine => "Mean cosine",
    }
}

/// Whether curves and searches are of repaired networks too.
pub(super) fn with_repair_ui(ui: &mut Ui, costs: &Costs, commands: &mut Vec<Command>) {
    let with_repair = widgets::tick(ui, costs.repair.in_curves, true, "With repair");
    let hint = "Measure the networks repaired too, and search with repair: that takes a repair for every amount";
    if with_repair.on_hover_text(hint).clicked() {
        commands.push(Command::WithRepair(!costs.repair.in_curves));
    }
}

/// Which line is of repaired networks and how, and on how many images each kind is measured.
pub(super) fn legend_ui(ui: &mut Ui, costs: &Costs, (name, pruned): (&str, usize), (repair, repaired): (Option<&RepairChoice>, usize)) {
    let weak = theme::palette(ui).weak;
    let what = if is_noise(costs) { "inputs of noise" } else { "images" };
    let how = if repair.is_some_and(|repair| repair.is_thorough) { "thoroughly repaired" } else { "repaired" };
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 6.0;
        for (is_hollow, line) in [
            (false, format!("{name}, on {} {what}", text::count(pruned as u64))),
            (true, format!("{how}, on {} {what} that did not calibrate", text::count(repaired as u64))),
        ] {
            let (rect, _) = ui.allocate_exact_size(vec2(SAMPLE, 18.0), Sense::hover());
            let (left, right, y) = (rect.left() + 2.0, rect.right() - 2.0, rect.center().y);
            let stroke = egui::Stroke::new(1.6, weak);
            if is_hollow {
                let ends = [egui::pos2(left, y), egui::pos2(right, y)];
                ui.painter().extend(egui::Shape::dotted_line(&ends, weak, 4.0, 1.0));
                ui.painter().circle(rect.center(), 3.5, theme::palette(ui).ground, stroke);
            } else {
                ui.painter().hline(left..=right, y, stroke);
                ui.painter().circle_filled(rect.center(), 3.0, weak);
            }
            ui.label(egui::RichText::new(line).color(weak));
            ui.add_space(10.0);
        }
    });
}

/// “Largest amount that loses at most …”, and the button that finds it.
pub(super) fn bearable_ui(ui: &mut Ui, costs: &Costs, find: Action, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    ui.label(egui::RichText::new("Largest amount that loses at most").color(palette.weak));
    let mut points = costs.bearable;
    let field = ui.add(egui::DragValue::new(&mut points).range(0.0..=100.0).speed(0.1).fixed_decimals(1));
    field.widget_info(|| WidgetInfo::labeled(egui::Role::SpinButton, true, "Points that may be lost"));
    if field.changed() {
        commands.push(Command::Bearable(points));
    }
    ui.label(egui::RichText::new("points").color(palette.weak));
    if widgets::hint(ui.button(find.entry().label), find).clicked() {
        commands.push(Command::Do(find));
    }
}

/// The search, and what it found.
fn search_ui(ui: &mut Ui, costs: &Costs, figures: &Figures, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    ui.horizontal(|ui| bearable_ui(ui, costs, Action::FindAmount, commands));
    let Some(Bearable { found, is_repaired, .. }) = &costs.found else { return };
    ui.horizontal_wrapped(|ui| {
        for found in found {
            let how = if *is_repaired { " repaired" } else { "" };
            let value = costs.criterion().of(&found.effect);
            let value = value.map_or(String::new(), |v| format!(" → {}{how}", figure_text(costs.criterion(), v)));
            let label = format!("{} {}{value}", text::method(found.method), text::percent(found.amount));
            let color = palette.among(found.method, pair::methods(figures));
            let button = ui.add(egui::Button::new(egui::RichText::new(label).color(color)));
            let hint = match is_repaired {
                true => {
                    format!("Prune this much with this method; repair then, as on {} images here", text::count(found.effect.images as u64))
                }
                false => "Prune this much with this method".to_owned(),
            };
            if button.on_hover_text(hint).clicked() {
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
