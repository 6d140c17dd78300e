//! Tab “Compare”: layer-wise against global at the same amount, per parameter and in all.

use eframe::egui::{self, Rect, Role, Sense, Ui, WidgetInfo, pos2, vec2};

use crate::engine::Model;
use crate::graph::ParameterId;
use crate::measure::Figures;
use crate::prune::Method;

use super::commands::Command;
use super::state::AppState;
use super::{chart, text, theme, widgets};

/// Right edges of the columns of figures, from the right edge of the list.
const EDGES: [f32; 6] = [0.0, 76.0, 142.0, 236.0, 288.0, 342.0];
/// Least room for a name; the bar beside it is left out before the name is cut.
const MIN_NAME: f32 = 190.0;
/// Least length of that bar.
const MIN_BAR: f32 = 40.0;
/// What stands in them.
const HEADS: [&str; 6] = ["only global", "both", "only layer-wise", "points", "global", "layer-wise"];

pub(super) fn show(ui: &mut Ui, state: &AppState, model: &Model, figures: &Figures, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    if let Some(error) = Method::PAIR.iter().find_map(|&m| figures.of(m).err()) {
        ui.label(egui::RichText::new(error.to_string()).color(palette.warning));
        return;
    }
    let (Ok(layer_wise), Ok(global)) = (figures.of(Method::LayerWise), figures.of(Method::Global)) else { return };
    let both: u64 = figures.scope.iter().map(|&id| figures.shared(id)).sum();
    widgets::section_title(ui, "What each method prunes at this amount, in elements");
    ui.add_space(2.0);
    ui.columns(4, |columns| {
        let only = |pruned: u64| text::count(pruned - both);
        chart::result_ui(&mut columns[0], "Only layer-wise", Some(palette.layer_wise), &only(layer_wise.pruned), palette.text);
        chart::result_ui(&mut columns[1], "Both", None, &text::count(both), palette.text);
        chart::result_ui(&mut columns[2], "Only global", Some(palette.global), &only(global.pruned), palette.text);
        let same = figures.agreement().map_or("–".into(), text::percent);
        chart::result_ui(&mut columns[3], "The same", None, &same, palette.text);
    });
    overlap_ui(ui, both, layer_wise.pruned - both, global.pruned - both);
    ui.add_space(6.0);
    ui.separator();
    head_ui(ui);
    ui.spacing_mut().item_spacing.y = 0.0;
    egui::ScrollArea::vertical().auto_shrink(false).show_rows(ui, theme::ROW_HEIGHT, figures.scope.len(), |ui, range| {
        for &id in &figures.scope[range] {
            row_ui(ui, state, model, figures, id, commands);
        }
    });
}

/// One bar: what only layer-wise takes, what both take, what only global takes.
fn overlap_ui(ui: &mut Ui, both: u64, only_layer_wise: u64, only_global: u64) {
    let palette = theme::palette(ui);
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 10.0), Sense::hover());
    let total = (both + only_layer_wise + only_global).max(1) as f32;
    ui.painter().rect_filled(rect, 2.0, palette.raised);
    let mut left = rect.left();
    for (part, color) in [(only_layer_wise, palette.layer_wise), (both, palette.weak), (only_global, palette.global)] {
        let width = part as f32 / total * rect.width();
        ui.painter().rect_filled(Rect::from_min_size(pos2(left, rect.top()), vec2(width, rect.height())), 0.0, color);
        left += width;
    }
}

fn head_ui(ui: &mut Ui) {
    let palette = theme::palette(ui);
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 20.0), Sense::hover());
    let right = rect.right() - 12.0;
    ui.painter().text(rect.left_center() + vec2(6.0, 0.0), egui::Align2::LEFT_CENTER, "parameter", theme::small(), palette.weak);
    for (edge, head) in EDGES.into_iter().zip(HEADS) {
        widgets::paint_right(ui, right - edge, rect.center().y, head, theme::small(), palette.weak);
    }
}

fn row_ui(ui: &mut Ui, state: &AppState, model: &Model, figures: &Figures, id: ParameterId, commands: &mut Vec<Command>) {
    let (Ok(layer_wise), Ok(global)) = (figures.of(Method::LayerWise), figures.of(Method::Global)) else { return };
    let palette = theme::palette(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), theme::ROW_HEIGHT), Sense::click());
    let is_selected = state.selected == Some(id);
    if is_selected || response.hovered() {
        ui.painter().rect_filled(rect, 4.0, if is_selected { palette.selected } else { palette.raised });
    }
    let parameter = model.graph.parameter(id);
    let (middle, right) = (rect.center().y, rect.right() - 12.0);
    let shared = figures.shared(id);
    let sparsity = |outcome| chart::sparsity_of(&model.graph, outcome, id);
    let (l, g) = (sparsity(layer_wise), sparsity(global));
    let cells = [
        text::count(global.masked[id.0] - shared),
        text::count(shared),
        text::count(layer_wise.masked[id.0] - shared),
        text::points(g - l),
        text::percent(g),
        text::percent(l),
    ];
    for ((edge, cell), i) in EDGES.into_iter().zip(&cells).zip(0..) {
        let color = match i {
            3 if (g - l).abs() >= 0.0005 => palette.method(if g > l { Method::Global } else { Method::LayerWise }),
            _ => palette.text,
        };
        widgets::paint_right(ui, right - edge, middle, cell, theme::normal(), color);
    }
    // Both sparsities on one scale: a bar for global, a mark for layer-wise.
    let room = rect.width() - EDGES[5] - 84.0;
    let name_width = if room < MIN_NAME + MIN_BAR { room } else { (room * 0.6).max(MIN_NAME) };
    let name = Rect::from_min_max(pos2(rect.left() + 6.0, rect.top()), pos2(rect.left() + name_width, rect.bottom()));
    widgets::paint_path(ui, name, &text::name(&parameter.name), &theme::normal(), palette.text);
    let bar = Rect::from_min_max(pos2(name.right() + 10.0, middle - 4.0), pos2(right - EDGES[5] - 72.0, middle + 4.0));
    if bar.width() >= MIN_BAR {
        widgets::paint_bar(ui.painter(), bar, g, palette.global, palette);
        let mark = bar.left() + bar.width() * l as f32;
        ui.painter().vline(mark, bar.y_range().expand(2.0), egui::Stroke::new(2.0, palette.layer_wise));
    }
    response.widget_info(|| WidgetInfo::selected(Role::Row, true, is_selected, format!("Compare {}", text::name(&parameter.name))));
    if response.clicked() {
        commands.push(Command::Select(id));
    }
}
