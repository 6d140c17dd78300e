//! What charts share: plots with set bounds, legends, stages under the columns, results with their names.
//!
//! It knows no view that draws one.

use eframe::egui::{self, Color32, Stroke, Ui, pos2, vec2};
use egui_plot::{GridMark, Line, LineStyle, MarkerShape, Plot, PlotBounds, PlotPoints, PlotUi, Points};

use crate::engine::Model;
use crate::evaluate::Criterion;
use crate::graph::{Graph, ParameterId, stages};
use crate::measure::{Figures, Outcome};

use super::pair::Side;
use super::{text, theme};

/// A plot without zoom, drag and legend, whose bounds are set.
pub(super) fn fixed_plot(id: &str, height: f32) -> Plot<'_> {
    Plot::new(id)
        .height(height)
        .allow_zoom(false)
        .allow_drag(false)
        .allow_scroll(false)
        .allow_boxed_zoom(false)
        .allow_double_click_reset(false)
        .show_background(false)
        .set_margin_fraction(egui::Vec2::ZERO)
        .y_axis_min_width(42.0)
        .show_crosshair(false)
}

/// Likewise, of a figure of the networks in percent against an amount in percent.
pub(super) fn amount_plot(id: &str, criterion: Criterion, grid: Color32) -> Plot<'_> {
    let marks = || [0.0, 25.0, 50.0, 75.0, 100.0].map(|value| GridMark { value, step_size: 100.0 }).to_vec();
    fixed_plot(id, 200.0)
        .show_axes([true, true])
        .show_grid([false, true])
        .grid_color(grid)
        .y_grid_spacer(move |_| marks())
        .x_grid_spacer(move |_| marks())
        // At the origin the other axis's label says the same.
        .x_axis_formatter(|mark, _| if mark.value == 0.0 { String::new() } else { format!("{:.0} %", mark.value) })
        .y_axis_formatter(move |mark, _| match criterion {
            Criterion::Cosine => format!("{:.2}", mark.value / 100.0),
            Criterion::Top1 | Criterion::Agreement => format!("{:.0} %", mark.value),
        })
        .label_formatter(|_| None)
}

/// Points of a network as pruned, joined by a line of this style and width.
pub(super) fn draw_curve(
    plot: &mut PlotUi,
    points: Vec<[f64; 2]>,
    (color, shape): (Color32, MarkerShape),
    (style, width): (LineStyle, f32),
) {
    plot.line(Line::new("", PlotPoints::from(points.clone())).color(color).width(width).style(style).allow_hover(false));
    plot.points(Points::new("", PlotPoints::from(points)).color(color).radius(3.0).shape(shape).allow_hover(false));
}

/// Points of a repaired network: hollow, on a dotted line.
pub(super) fn draw_repaired(plot: &mut PlotUi, points: Vec<[f64; 2]>, (color, shape): (Color32, MarkerShape)) {
    let line = Line::new("", PlotPoints::from(points.clone())).style(LineStyle::Dotted { spacing: 4.0 });
    plot.line(line.color(color).width(1.1).allow_hover(false));
    let hollow = Points::new("", PlotPoints::from(points)).filled(false);
    plot.points(hollow.color(color).radius(3.5).shape(shape).allow_hover(false));
}

/// Small, weak text for axes.
pub(super) fn with_axis_style<R>(ui: &mut Ui, show: impl FnOnce(&mut Ui) -> R) -> R {
    ui.scope(|ui| {
        let weak = theme::palette(ui).weak;
        ui.visuals_mut().override_text_color = Some(weak);
        ui.style_mut().text_styles.insert(egui::TextStyle::Body, theme::small());
        show(ui)
    })
    .inner
}

/// Bounds for one column per parameter.
pub(super) fn columns(n: usize, low: f64, high: f64) -> PlotBounds {
    PlotBounds::from_min_max([-0.6, low], [n as f64 - 0.4, high])
}

/// The swatch and the name of each method, from right to left: a block for the applied one, a dash for the one beside it. Then the
/// edge that marks amounts of modules' own, where there are any.
pub(super) fn legend_ui(ui: &mut Ui, graph: &Graph, figures: &Figures) {
    for side in [Side::Beside, Side::Applied] {
        ui.label(text::method(side.method(figures)));
        let (rect, _) = ui.allocate_exact_size(vec2(10.0, 10.0), egui::Sense::hover());
        paint_swatch(ui, rect, side);
    }
    if figures.scope.iter().any(|&id| figures.recipe.own[graph.parameter(id).module.0].is_some()) {
        ui.label("Own amount");
        let (rect, _) = ui.allocate_exact_size(vec2(10.0, 10.0), egui::Sense::hover());
        ui.painter().hline(rect.x_range(), rect.center().y, Stroke::new(3.0, theme::palette(ui).text));
    }
}

/// A block for the applied method, a dash for the one beside it.
pub(super) fn paint_swatch(ui: &Ui, rect: egui::Rect, side: Side) {
    let color = theme::palette(ui).side(side);
    match side {
        Side::Applied => drop(ui.painter().rect_filled(rect, 1.0, color)),
        Side::Beside => drop(ui.painter().hline(rect.x_range(), rect.center().y, Stroke::new(2.0, color))),
    }
}

/// What a chart says about the parameter under the pointer.
pub(super) fn tooltip_ui(ui: &mut Ui, model: &Model, figures: &Figures, id: ParameterId) {
    let parameter = model.graph.parameter(id);
    let module = model.graph.module(parameter.module);
    ui.set_max_width(320.0);
    ui.label(egui::RichText::new(text::name(&parameter.name)).font(theme::bold()));
    ui.weak(format!("{} elements · {} · {}", text::count(parameter.elements as u64), text::shape(parameter), module.role));
    ui.horizontal(|ui| {
        for side in Side::BOTH {
            let (rect, _) = ui.allocate_exact_size(vec2(10.0, 10.0), egui::Sense::hover());
            paint_swatch(ui, rect, side);
            let name = text::method(side.method(figures));
            ui.label(format!("{name} {}", side.outcome(figures).map_or("–".into(), |o| text::percent(sparsity_of(&model.graph, o, id)))));
        }
    });
    if let Some(own) = figures.recipe.own[parameter.module.0] {
        ui.weak(format!("An amount of its own: {}", text::amount(own)));
    }
}

/// Zeros / elements of one parameter.
pub(super) fn sparsity_of(graph: &Graph, outcome: &Outcome, id: ParameterId) -> f64 {
    outcome.zeros[id.0] as f64 / graph.parameter(id).elements.max(1) as f64
}

/// Stages as runs of columns: label, first and last column.
pub(super) fn stage_columns(graph: &Graph, scope: &[ParameterId]) -> Vec<(String, usize, usize)> {
    let mut out: Vec<(String, usize, usize)> = Vec::new();
    for stage in stages(&graph.modules) {
        let is_in = |id: &ParameterId| (stage.first..=stage.last).contains(&graph.parameter(*id).module);
        let (Some(first), Some(last)) = (scope.iter().position(is_in), scope.iter().rposition(is_in)) else { continue };
        out.push((text::name(&stage.label).into_owned(), first, last));
    }
    out
}

/// Lines and labels of stages below a plot.
pub(super) fn paint_stages(ui: &Ui, stages: &[(String, usize, usize)], top: f32, x: impl Fn(f64) -> f32) {
    let palette = theme::palette(ui);
    let mut free_from = f32::NEG_INFINITY;
    for (label, first, last) in stages {
        let (left, right) = (x(*first as f64 - 0.42), x(*last as f64 + 0.42));
        ui.painter().hline(left..=right, top + 3.0, Stroke::new(1.0, palette.weak.gamma_multiply(0.6)));
        let galley = ui.painter().layout_no_wrap(label.clone(), theme::small(), palette.weak);
        // Labels of narrow stages may stick out, but not into one another: one that is crowded moves a little to the right.
        let wanted = (left + right - galley.size().x) / 2.0;
        let at = wanted.max(free_from);
        if at - wanted < 16.0 {
            free_from = at + galley.size().x + 4.0;
            ui.painter().galley(pos2(at, top + 7.0), galley, palette.weak);
        }
    }
}

/// A figure with its name above it.
pub(super) fn result_ui(ui: &mut Ui, name: &str, side: Option<Side>, figure: &str, color: Color32) {
    ui.vertical(|ui| {
        ui.spacing_mut().item_spacing.y = 3.0;
        ui.horizontal(|ui| {
            if let Some(side) = side {
                let (rect, _) = ui.allocate_exact_size(vec2(9.0, 9.0), egui::Sense::hover());
                paint_swatch(ui, rect, side);
            }
            let weak = theme::palette(ui).weak;
            ui.add(egui::Label::new(egui::RichText::new(name).color(weak)).truncate());
        });
        ui.label(egui::RichText::new(figure).font(theme::large()).color(color));
    });
}
