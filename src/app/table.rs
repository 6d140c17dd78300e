//! Tab “Table”: every figure of every parameter, sortable, to be copied and saved as CSV.

use std::cmp::Ordering;

use eframe::egui::{self, Rect, Role, Sense, Ui, WidgetInfo, pos2, vec2};

use crate::engine::Model;
use crate::graph::ParameterId;
use crate::measure::Figures;

use super::commands::{Action, Command};
use super::pair::{self, Side};
use super::state::{AppState, Column};
use super::{chart, text, theme, widgets};

/// Columns with their heads and widths; the first takes what is left, and where a method's begin its name is the head.
const COLUMNS: [(Column, &str, f32); 11] = [
    (Column::Name, "parameter", 0.0),
    (Column::Type, "type", 112.0),
    (Column::Shape, "shape", 98.0),
    (Column::Elements, "elements", 70.0),
    (Column::Pruned(Side::Applied), "", 76.0),
    (Column::Sparsity(Side::Applied), "zero", 58.0),
    (Column::Cut(Side::Applied), "cut", 64.0),
    (Column::Pruned(Side::Beside), "", 76.0),
    (Column::Sparsity(Side::Beside), "zero", 58.0),
    (Column::Cut(Side::Beside), "cut", 64.0),
    (Column::Both, "both", 68.0),
];
/// Least room for the first column. Below it columns are left out that stand elsewhere, too.
const MIN_NAME: f32 = 130.0;
/// Columns that can be left out, the first to go first.
const SPARE: [Column; 3] = [Column::Shape, Column::Type, Column::Both];

/// The columns that fit, and the width of the whole.
struct FittingColumns {
    columns: Vec<(Column, &'static str, f32)>,
    width: f32,
}

impl FittingColumns {
    fn into(available: f32) -> Self {
        let mut columns = COLUMNS.to_vec();
        let fixed = |columns: &[(Column, &str, f32)]| columns.iter().map(|c| c.2).sum::<f32>();
        for spare in SPARE {
            if fixed(&columns) + MIN_NAME > available {
                columns.retain(|c| c.0 != spare);
            }
        }
        let rest = fixed(&columns);
        let width = (rest + MIN_NAME).max(available);
        columns[0].2 = width - rest;
        Self { columns, width }
    }

    /// Left and right edge of every column.
    fn spans(&self, left: f32) -> impl Iterator<Item = (Column, &'static str, f32, f32)> {
        self.columns.iter().scan(left, |at, &(column, head, width)| {
            let start = *at;
            *at += width;
            Some((column, head, start, *at))
        })
    }
}

pub(super) fn show(ui: &mut Ui, state: &AppState, model: &Model, figures: &Figures, commands: &mut Vec<Command>) {
    widgets::section_head(ui, "Pruned elements, share of zeros and cut, both methods", |ui| {
        widgets::action_button(ui, Action::SaveTable, true, commands);
        ui.add_space(6.0);
        widgets::action_button(ui, Action::CopyTable, true, commands);
    });
    pair::obstacles_ui(ui, figures);
    let rows = sorted(model, figures, state.sort);
    let fit = FittingColumns::into(ui.available_width() - 12.0);
    egui::ScrollArea::horizontal().id_salt("table").auto_shrink(false).show(ui, |ui| {
        ui.set_min_width(fit.width);
        ui.spacing_mut().item_spacing.y = 0.0;
        head_ui(ui, state, figures, &fit, commands);
        egui::ScrollArea::vertical().auto_shrink(false).show_rows(ui, theme::ROW_HEIGHT, rows.len(), |ui, range| {
            for &id in &rows[range] {
                row_ui(ui, state, (model, figures), id, &fit, commands);
            }
        });
    });
}

fn is_text(column: Column) -> bool {
    matches!(column, Column::Name | Column::Type)
}

fn head_ui(ui: &mut Ui, state: &AppState, figures: &Figures, fit: &FittingColumns, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    let (rect, _) = ui.allocate_exact_size(vec2(fit.width, 24.0), Sense::hover());
    for (column, head, left, right) in fit.spans(rect.left()) {
        let cell = Rect::from_min_max(pos2(left, rect.top()), pos2(right, rect.bottom()));
        let response = ui.interact(cell, ui.scope_id().with(("head", column_name(figures, column))), Sense::click());
        response.widget_info(|| WidgetInfo::labeled(Role::ColumnHeader, true, format!("Sort by {}", column_name(figures, column))));
        let arrow = match state.sort {
            Some((c, false)) if c == column => " ↑",
            Some((c, true)) if c == column => " ↓",
            _ => "",
        };
        let color = match column {
            Column::Pruned(side) | Column::Sparsity(side) | Column::Cut(side) => palette.side(side),
            _ => palette.weak,
        };
        let head = if let Column::Pruned(side) = column { text::method_within(side.method(figures)) } else { head };
        let label = format!("{head}{arrow}");
        if is_text(column) {
            ui.painter().text(cell.left_center() + vec2(6.0, 0.0), egui::Align2::LEFT_CENTER, label, theme::small(), color);
        } else {
            widgets::paint_right(ui, right - 6.0, cell.center().y, &label, theme::small(), color);
        }
        if response.clicked() {
            commands.push(Command::SortBy(column));
        }
        response.on_hover_text(format!("{}; click to sort", column_name(figures, column)));
    }
    ui.painter().hline(rect.x_range(), rect.bottom(), egui::Stroke::new(1.0, palette.line));
}

fn column_name(figures: &Figures, column: Column) -> String {
    let of = |side: Side| text::method_within(side.method(figures));
    match column {
        Column::Name => "name".into(),
        Column::Type => "module type".into(),
        Column::Shape => "shape".into(),
        Column::Elements => "number of elements".into(),
        Column::Pruned(side) => format!("elements pruned by {}", of(side)),
        Column::Sparsity(side) => format!("share of zeros after {}", of(side)),
        Column::Cut(side) => format!("largest pruned magnitude of {}", of(side)),
        Column::Both => "elements that both methods prune".into(),
    }
}

fn row_ui(
    ui: &mut Ui,
    state: &AppState,
    (model, figures): (&Model, &Figures),
    id: ParameterId,
    fit: &FittingColumns,
    commands: &mut Vec<Command>,
) {
    let palette = theme::palette(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(fit.width, theme::ROW_HEIGHT), Sense::click());
    let is_selected = state.selected == Some(id);
    if is_selected || response.hovered() {
        ui.painter().rect_filled(rect, 4.0, if is_selected { palette.selected } else { palette.raised });
    }
    let in_scope = figures.scope.binary_search(&id).is_ok();
    let parameter = model.graph.parameter(id);
    for (column, _, left, right) in fit.spans(rect.left()) {
        let cell = cell(model, figures, id, column);
        let color = match column {
            Column::Sparsity(side) if side.outcome(figures).is_some_and(|o| o.emptied.contains(&id)) => palette.warning,
            _ if in_scope => palette.text,
            _ => palette.weak,
        };
        if is_text(column) {
            let cell_rect = Rect::from_min_max(pos2(left + 6.0, rect.top()), pos2(right - 4.0, rect.bottom()));
            match column {
                Column::Name => widgets::paint_path(ui, cell_rect, &cell, &theme::normal(), color),
                _ => widgets::paint_clipped(ui, cell_rect, &cell, theme::normal(), color),
            }
        } else {
            widgets::paint_right(ui, right - 6.0, rect.center().y, &cell, theme::normal(), color);
        }
    }
    response.widget_info(|| WidgetInfo::selected(Role::Row, true, is_selected, format!("Row {}", text::name(&parameter.name))));
    if response.clicked() {
        commands.push(Command::Select(id));
    }
}

fn cell(model: &Model, figures: &Figures, id: ParameterId, column: Column) -> String {
    let parameter = model.graph.parameter(id);
    let dash = || "–".to_owned();
    match column {
        Column::Name => text::name(&parameter.name).into_owned(),
        Column::Type => text::name(&model.graph.owner(id).kind).into_owned(),
        Column::Shape => text::shape(parameter),
        Column::Elements => text::count(parameter.elements as u64),
        Column::Pruned(side) => side.outcome(figures).map_or_else(dash, |o| text::count(o.masked[id.0])),
        Column::Sparsity(side) => side.outcome(figures).map_or_else(dash, |o| text::percent(chart::sparsity_of(&model.graph, o, id))),
        Column::Cut(side) => side.outcome(figures).and_then(|o| o.cuts[id.0]).map_or_else(dash, text::number),
        Column::Both => pair::outcomes(figures).map_or_else(dash, |_| text::count(figures.shared(id))),
    }
}

fn sorted(model: &Model, figures: &Figures, sort: Option<(Column, bool)>) -> Vec<ParameterId> {
    let mut rows: Vec<ParameterId> = (0..model.graph.parameters.len()).map(ParameterId).collect();
    let Some((column, is_down)) = sort else { return rows };
    rows.sort_by(|&a, &b| {
        let order = compare(model, figures, column, a, b);
        if is_down { order.reverse() } else { order }
    });
    rows
}

fn compare(model: &Model, figures: &Figures, column: Column, a: ParameterId, b: ParameterId) -> Ordering {
    let graph = &model.graph;
    let number = |f: &dyn Fn(ParameterId) -> f64| f(a).total_cmp(&f(b));
    match column {
        Column::Name => graph.parameter(a).name.cmp(&graph.parameter(b).name),
        Column::Type => graph.owner(a).kind.cmp(&graph.owner(b).kind),
        Column::Shape => graph.parameter(a).shape.cmp(&graph.parameter(b).shape),
        Column::Elements => graph.parameter(a).elements.cmp(&graph.parameter(b).elements),
        Column::Pruned(side) => number(&|id| side.outcome(figures).map_or(0.0, |o| o.masked[id.0] as f64)),
        Column::Sparsity(side) => number(&|id| side.outcome(figures).map_or(0.0, |o| chart::sparsity_of(graph, o, id))),
        Column::Cut(side) => number(&|id| side.outcome(figures).and_then(|o| o.cuts[id.0]).unwrap_or(-1.0)),
        Column::Both => figures.shared(a).cmp(&figures.shared(b)),
    }
}
