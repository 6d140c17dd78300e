//! Tab “Compare”: the applied method against the one beside it at the same amount, per parameter and in all.

use eframe::egui::{self, Rect, Role, Sense, Ui, WidgetInfo, pos2, vec2};

use crate::engine::Model;
use crate::graph::ParameterId;
use crate::measure::Figures;

use super::commands::Command;
use super::pair::{self, Side};
use super::state::AppState;
use super::{chart, text, theme, widgets};

/// Right edges of the columns of figures, from the right edge of the list.
const EDGES: [f32; 6] = [0.0, 90.0, 146.0, 234.0, 282.0, 346.0];
/// Least room for a name; the bar beside it is left out before the name is cut.
const MIN_NAME: f32 = 190.0;
/// Least length of that bar.
const MIN_BAR: f32 = 40.0;

pub(super) fn show(ui: &mut Ui, state: &AppState, model: &Model, figures: &Figures, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    if figures.scope.is_empty() {
        ui.weak("Nothing is in the scope. Tick a type or a module on the left that may be pruned.");
        return;
    }
    widgets::section_title(ui, "What each method prunes at this amount, in elements");
    ui.add_space(2.0);
    let names = pair::methods(figures).map(text::method_within);
    let both: u64 = figures.scope.iter().map(|&id| figures.shared(id)).sum();
    let only = pair::outcomes(figures).map(|outcomes| outcomes.map(|o| o.pruned - both));
    let dash = || "–".to_owned();
    ui.columns(4, |columns| {
        for (i, side) in Side::BOTH.into_iter().enumerate() {
            let figure = only.map_or_else(dash, |only| text::count(only[i]));
            chart::result_ui(&mut columns[2 * i], &format!("Only {}", names[i]), Some(side), &figure, palette.text);
        }
        chart::result_ui(&mut columns[1], "Both", None, &only.map_or_else(dash, |_| text::count(both)), palette.text);
        let same = only.and_then(|_| figures.agreement()).map_or_else(dash, text::percent);
        chart::result_ui(&mut columns[3], "The same", None, &same, palette.text);
    });
    match only {
        Some(only) => overlap_ui(ui, both, only),
        None => pair::obstacles_ui(ui, figures),
    }
    ui.add_space(6.0);
    ui.separator();
    head_ui(ui, names);
    ui.spacing_mut().item_spacing.y = 0.0;
    egui::ScrollArea::vertical().id_salt("compare").auto_shrink(false).show_rows(
        ui,
        theme::ROW_HEIGHT,
        figures.scope.len(),
        |ui, range| {
            for &id in &figures.scope[range] {
                row_ui(ui, state, model, figures, id, commands);
            }
        },
    );
}

/// One bar: what only the applied method takes, what both take, what only the one beside it takes.
fn overlap_ui(ui: &mut Ui, both: u64, [applied, beside]: [u64; 2]) {
    let palette = theme::palette(ui);
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 10.0), Sense::hover());
    let total = (both + applied + beside).max(1) as f32;
    ui.painter().rect_filled(rect, 2.0, palette.raised);
    let mut left = rect.left();
    for (part, color) in [(applied, palette.applied), (both, palette.weak), (beside, palette.beside)] {
        let width = part as f32 / total * rect.width();
        ui.painter().rect_filled(Rect::from_min_size(pos2(left, rect.top()), vec2(width, rect.height())), 0.0, color);
        left += width;
    }
}

fn head_ui(ui: &mut Ui, [applied, beside]: [&str; 2]) {
    let palette = theme::palette(ui);
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 20.0), Sense::hover());
    let right = rect.right() - 12.0;
    ui.painter().text(rect.left_center() + vec2(6.0, 0.0), egui::Align2::LEFT_CENTER, "parameter", theme::small(), palette.weak);
    let (only_beside, only_applied) = (format!("only {beside}"), format!("only {applied}"));
    let heads = [&*only_beside, "both", &*only_applied, "points", beside, applied];
    for (edge, head) in EDGES.into_iter().zip(heads) {
        widgets::paint_right(ui, right - edge, rect.center().y, head, theme::small(), palette.weak);
    }
}

fn row_ui(ui: &mut Ui, state: &AppState, model: &Model, figures: &Figures, id: ParameterId, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), theme::ROW_HEIGHT), Sense::click());
    let is_selected = state.selected == Some(id);
    if is_selected || response.hovered() {
        ui.painter().rect_filled(rect, 4.0, if is_selected { palette.selected } else { palette.raised });
    }
    let parameter = model.graph.parameter(id);
    let (middle, right) = (rect.center().y, rect.right() - 12.0);
    let shared = figures.shared(id);
    let outcomes = Side::BOTH.map(|side| side.outcome(figures));
    let sparsities = outcomes.map(|outcome| outcome.map(|o| chart::sparsity_of(&model.graph, o, id)));
    let only = pair::outcomes(figures).map(|outcomes| outcomes.map(|o| o.masked[id.0] - shared));
    let difference = sparsities[0].zip(sparsities[1]).map(|(applied, beside)| applied - beside);
    let dash = || "–".to_owned();
    let cells = [
        only.map_or_else(dash, |only| text::count(only[1])),
        only.map_or_else(dash, |_| text::count(shared)),
        only.map_or_else(dash, |only| text::count(only[0])),
        difference.map_or_else(dash, text::points),
        sparsities[1].map_or_else(dash, text::percent),
        sparsities[0].map_or_else(dash, text::percent),
    ];
    for ((edge, cell), i) in EDGES.into_iter().zip(&cells).zip(0..) {
        let color = match difference {
            Some(points) if i == 3 && points.abs() >= 0.0005 => palette.side(if points > 0.0 { Side::Applied } else { Side::Beside }),
            _ => palette.text,
        };
        widgets::paint_right(ui, right - edge, middle, cell, theme::normal(), color);
    }
    // Both sparsities on one scale: a bar for the applied method, a mark for the one beside it.
    let room = rect.width() - EDGES[5] - 76.0;
    let name_width = if room < MIN_NAME + MIN_BAR { room } else { (room * 0.6).max(MIN_NAME) };
    let name = Rect::from_min_max(pos2(rect.left() + 6.0, rect.top()), pos2(rect.left() + name_width, rect.bottom()));
    widgets::paint_path(ui, name, &text::name(&parameter.name), &theme::normal(), palette.text);
    let bar = Rect::from_min_max(pos2(name.right() + 10.0, middle - 4.0), pos2(right - EDGES[5] - 66.0, middle + 4.0));
    if bar.width() >= MIN_BAR {
        widgets::paint_bar(ui.painter(), bar, sparsities[0].unwrap_or(0.0), palette.applied, palette);
        if let Some(beside) = sparsities[1] {
            let mark = bar.left() + bar.width() * beside as f32;
            ui.painter().vline(mark, bar.y_range().expand(2.0), egui::Stroke::new(2.0, palette.beside));
        }
    }
    response.widget_info(|| WidgetInfo::selected(Role::Row, true, is_selected, format!("Compare {}", text::name(&parameter.name))));
    if response.clicked() {
        commands.push(Command::Select(id));
    }
}
