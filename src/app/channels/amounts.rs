//! What removing channels costs over all amounts: the curve of the present plan, repaired or not, and the largest amount that is bearable.

use eframe::egui::{self, Ui, WidgetInfo};
use egui_plot::{HLine, LineStyle, MarkerShape, PlotBounds, VLine};

use crate::measure::Effect;
use crate::measurer::BearableChannels;

use super::super::commands::{Action, Command};
use super::super::effect::figure_text;
use super::super::state::AppState;
use super::super::{chart, curve, text, theme, widgets};
use super::{MOST, of_name, push_step};

/// A click puts the slider to whole parts of this many in a whole.
const PARTS: f64 = 200.0;

pub(super) fn show(ui: &mut Ui, state: &AppState, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    let (view, costs) = (&state.channels, &state.costs);
    let Some(now) = state.view.as_ref().map(|view| &view.state) else { return };
    let is_present = view.curve.as_ref().is_none_or(|curve| view.is_of(now, &curve.state, &curve.plan));
    let of = of_name(view.curve.as_ref().map_or(view.plan.choice.amount.of, |curve| curve.plan.choice.amount.of));
    let name = format!("{} against amount", curve::figure_name(costs));
    let title = if is_present { name.clone() } else { format!("{name} · of another plan") };
    widgets::section_head(ui, &title, |ui| {
        let action = Action::MeasureChannelCurve;
        if widgets::hint(ui.button(action.entry().label), action).clicked() {
            commands.push(Command::Do(action));
        }
        curve::with_repair_ui(ui, costs, commands);
    });
    ui.horizontal_wrapped(|ui| {
        curve::bearable_ui(ui, costs, Action::FindChannels, commands);
        if let Some(found) = &view.bearable {
            found_ui(ui, state, found, view.is_of(now, &found.state, &found.plan), commands);
        }
    });
    let Some(curve) = &view.curve else {
        ui.weak("Measure the curve to see how far removing channels can go.");
        return;
    };
    let criterion = costs.criterion();
    let points = |of: &[(f64, Effect)]| -> Vec<[f64; 2]> {
        of.iter().filter_map(|(gone, effect)| Some([gone * 100.0, criterion.of(effect)? * 100.0])).collect()
    };
    let color = palette.applied.gamma_multiply(if is_present { 1.0 } else { 0.4 });
    let dense = costs.cost.as_ref().and_then(|cost| criterion.of(&cost.dense));
    let here = view.settled().map_or(view.plan.choice.amount.share, |chosen| chosen.gone());
    let plot = chart::amount_plot("curve of channels", criterion, palette.line);
    let response = chart::with_axis_style(ui, |ui| {
        plot.show(ui, |plot| {
            plot.set_plot_bounds(PlotBounds::from_min_max([0.0, 0.0], [100.0, 104.0]));
            if let Some(dense) = dense {
                plot.hline(HLine::new("", dense * 100.0).color(palette.weak).width(1.0).style(LineStyle::Dotted { spacing: 5.0 }));
            }
            plot.vline(VLine::new("", here * 100.0).color(palette.text).width(1.0));
            chart::draw_repaired(plot, points(&curve.repaired), (color, MarkerShape::Circle));
            chart::draw_curve(plot, points(&curve.points), (color, MarkerShape::Circle), (LineStyle::Solid, 2.2));
        })
    });
    let amount = response.response.hover_pos().map(|at| (response.transform.value_from_position(at).x / 100.0).clamp(0.0, MOST));
    response.response.widget_info(|| WidgetInfo::labeled(egui::Role::Button, true, &*name));
    if let Some(amount) = amount {
        if response.response.clicked() {
            push_step(view.plan.with_share((amount * PARTS).round() / PARTS), commands);
        }
        response.response.on_hover_ui_at_pointer(|ui| {
            ui.label(egui::RichText::new(format!("{} of the {of} removed", text::percent(amount))).font(theme::bold()));
            for (of, how) in [(&curve.points, "Not repaired"), (&curve.repaired, "Repaired")] {
                let nearest = of.iter().min_by(|a, b| (a.0 - amount).abs().total_cmp(&(b.0 - amount).abs()));
                if let Some((at, value)) = nearest.and_then(|(at, effect)| Some((at, criterion.of(effect)?))) {
                    ui.label(format!("{how}, at {}: {}", text::percent(*at), figure_text(criterion, value)));
                }
            }
            ui.weak("Click to put the slider here");
        });
    }
    let images = |of: &[(f64, Effect)]| of.first().map(|(_, effect)| effect.images);
    if let (Some(pruned), Some(repaired)) = (images(&curve.points), images(&curve.repaired)) {
        curve::legend_ui(ui, costs, ("not repaired", pruned), (curve.repair.as_ref(), repaired));
    }
}

/// What the search found; a click moves the slider there.
fn found_ui(ui: &mut Ui, state: &AppState, found: &BearableChannels, is_present: bool, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    let criterion = state.costs.criterion();
    let how = if found.is_repaired { " repaired" } else { "" };
    let value = criterion.of(&found.effect).map_or(String::new(), |value| format!(" → {}{how}", figure_text(criterion, value)));
    let label = egui::RichText::new(format!("{}{value}", text::percent(found.share)));
    let color = if is_present { palette.applied } else { palette.weak };
    let button = ui.add_enabled(is_present, egui::Button::new(label.color(color)));
    let goes = format!("{} of the {} go", text::percent(found.gone), of_name(found.plan.choice.amount.of));
    let images = text::count(found.effect.images as u64);
    let then = if found.is_repaired { format!(". Repair then, as on {images} images here") } else { String::new() };
    let hint = format!("Remove this much: {goes}{then}");
    if button.on_hover_text(hint).on_disabled_hover_text("Found for another plan: find it again").clicked() {
        push_step(state.channels.plan.with_share(found.share), commands);
    }
}
