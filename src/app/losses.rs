//! Tab “Effect”, what can be said without any image: how much of every weight is taken, and what is left wholly zero.

use eframe::egui::{Rect, Sense, Ui, WidgetInfo, pos2, vec2};

use crate::engine::Model;
use crate::graph::ParameterId;
use crate::measure::{Figures, Loss};
use crate::prune::Method;

use super::commands::Command;
use super::costs::Costs;
use super::pair::{self, Side};
use super::{text, theme, widgets};

/// Rows that are listed at first.
const FEW: usize = 8;
/// Height of a row.
const ROW: f32 = 21.0;
/// Where the columns end, as shares of the width.
const ENDS: [f32; 4] = [0.53, 0.71, 0.86, 1.0];
/// Length of a bar.
const BAR: f32 = 34.0;

/// One parameter under both methods.
struct LossRow {
    id: ParameterId,
    beside: Option<f64>,
    applied: Loss,
}

pub(super) fn show(ui: &mut Ui, costs: &Costs, model: &Model, figures: &Figures, commands: &mut Vec<Command>) {
    let methods = pair::methods(figures);
    let rows = rows(costs, methods);
    widgets::section_head(ui, "What is taken from the weights, without any image", |ui| {
        if rows.len() > FEW {
            let label = format!("List all {}", rows.len());
            if widgets::tick(ui, costs.lists_all, true, &label).clicked() {
                commands.push(Command::ListAll(!costs.lists_all));
            }
        }
    });
    let Some(losses) = &costs.losses else {
        ui.weak("Comes when the slider rests.");
        return;
    };
    if rows.is_empty() {
        if figures.scope.is_empty() {
            ui.weak("Nothing is in the scope.");
        } else {
            pair::obstacles_ui(ui, figures);
        }
        return;
    }
    let is_present = losses.recipe.is_but_for_method(&figures.recipe);
    let strength = if is_present { 1.0 } else { 0.5 };
    let is_matrix = |row: &&LossRow| is_matrix(model, row.id);
    let empty = rows.iter().filter(is_matrix).map(|row| (row.applied.empty_outputs.0, row.applied.empty_inputs.0));
    let (outputs, inputs) = empty.fold((0, 0), |(o, i), (outputs, inputs)| (o + outputs, i + inputs));
    let name = text::method(methods[0]);
    ui.weak(format!("{name} empties {} and {}.", counted(outputs, "output"), counted(inputs, "input")));
    heads_ui(ui, methods.map(text::method));
    let shown = if costs.lists_all { rows.len() } else { FEW };
    for row in rows.iter().take(shown) {
        row_ui(ui, model, row, strength, commands);
    }
}

/// Whether a parameter has outputs and inputs that can be empty; zeros of a bias mean something else.
fn is_matrix(model: &Model, id: ParameterId) -> bool {
    model.graph.parameter(id).shape.len() > 1
}

/// Those that lose most first, by the applied method.
fn rows(costs: &Costs, [applied, beside]: [Method; 2]) -> Vec<LossRow> {
    let Some(losses) = &costs.losses else { return Vec::new() };
    let Some(chosen) = losses.losses.given(applied) else { return Vec::new() };
    // Both methods look at the same parameters, except where masks of one are there already.
    let error = |method, id| {
        losses
            .losses
            .given(method)?
            .binary_search_by_key(&id, |l| l.parameter)
            .ok()
            .map(|i| losses.losses.given(method)?.get(i).map(|l| l.error))?
    };
    let row = |loss: &Loss| LossRow { id: loss.parameter, beside: error(beside, loss.parameter), applied: *loss };
    let mut rows: Vec<LossRow> = chosen.iter().map(row).collect();
    rows.sort_by(|a, b| b.applied.error.total_cmp(&a.applied.error));
    rows
}

fn counted(n: usize, what: &str) -> String {
    match n {
        0 => format!("no {what}"),
        1 => format!("1 {what}"),
        _ => format!("{} {what}s", text::count(n as u64)),
    }
}

fn heads_ui(ui: &mut Ui, [applied, beside]: [&str; 2]) {
    let palette = theme::palette(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::hover());
    response.on_hover_text(
        "Error: |w − w·mask| / |w|, the length of what is taken beside that of the whole. Outputs and inputs of the applied method",
    );
    let (applied, beside) = (format!("{applied} error"), format!("{beside} error"));
    for (head, end) in [&*applied, &*beside, "Empty outputs", "Empty inputs"].into_iter().zip(ENDS) {
        widgets::paint_right(ui, rect.left() + rect.width() * end, rect.center().y, head, theme::small(), palette.weak);
    }
}

fn row_ui(ui: &mut Ui, model: &Model, row: &LossRow, strength: f32, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    let name = &*text::name(&model.graph.parameter(row.id).name);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::click());
    let percent = |error: Option<f64>| error.map_or("–".into(), text::percent);
    let is_matrix = is_matrix(model, row.id);
    let part = |(empty, all): (usize, usize)| {
        if is_matrix { format!("{} of {}", text::count(empty as u64), text::count(all as u64)) } else { "–".to_owned() }
    };
    let cells = [percent(Some(row.applied.error)), percent(row.beside), part(row.applied.empty_outputs), part(row.applied.empty_inputs)];
    response.widget_info(|| WidgetInfo::labeled(eframe::egui::Role::Button, true, format!("{name}: {}", cells.join(", "))));
    // Rows that are scrolled away cost nothing.
    if ui.is_rect_visible(rect) {
        if response.hovered() || response.has_focus() {
            ui.painter().rect_filled(rect.expand2(vec2(4.0, 0.0)), 3.0, palette.raised);
        }
        let x = |share: f32| rect.left() + rect.width() * share;
        let is_empty = [false, false, is_matrix && row.applied.empty_outputs.0 > 0, is_matrix && row.applied.empty_inputs.0 > 0];
        for ((cell, end), is_empty) in cells.iter().zip(ENDS).zip(is_empty) {
            let tone = if is_empty { palette.warning } else { palette.text };
            widgets::paint_right(ui, x(end), rect.center().y, cell, theme::normal(), tone.gamma_multiply(strength));
        }
        for ((error, side), end) in [(Some(row.applied.error), Side::Applied), (row.beside, Side::Beside)].into_iter().zip(ENDS) {
            let bar = Rect::from_min_size(pos2(x(end) - 52.0 - BAR, rect.center().y - 3.0), vec2(BAR, 6.0));
            widgets::paint_bar(ui.painter(), bar, error.unwrap_or(0.0), palette.side(side).gamma_multiply(strength), palette);
        }
        let room = Rect::from_min_max(rect.min, pos2(x(ENDS[0]) - 60.0 - BAR, rect.bottom()));
        widgets::paint_path(ui, room, name, &theme::normal(), palette.weak);
    }
    if response.clicked() {
        commands.push(Command::Select(row.id));
    }
}
