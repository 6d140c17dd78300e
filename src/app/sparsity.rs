//! Tab “Sparsity”: one bar per parameter in graph order, the other method as a line, and where the two differ.

use eframe::egui::{self, Rect, Sense, Ui, WidgetInfo, pos2, vec2};
use egui_plot::{Bar, BarChart, Line, LineStyle, PlotPoints};

use crate::engine::Model;
use crate::graph::ParameterId;
use crate::measure::{Figures, Outcome};

use super::commands::Command;
use super::pair::{self, Side};
use super::state::AppState;
use super::{chart, effect, text, theme, widgets};

pub(super) fn show(ui: &mut Ui, state: &AppState, model: &Model, figures: &Figures, commands: &mut Vec<Command>) {
    if figures.scope.is_empty() {
        ui.weak("Nothing is in the scope. Tick a type or a module on the left that may be pruned.");
        return;
    }
    let room = ui.available_height();
    let results = 112.0;
    let upper = ((room - results) * 0.66 - 60.0).max(120.0);
    let lower = ((room - results) * 0.34 - 44.0).max(60.0);
    widgets::section_head(ui, "Sparsity per parameter, in graph order", |ui| chart::legend_ui(ui, &model.graph, figures));
    let place = bars_ui(ui, state, model, figures, upper, commands);
    remark_ui(ui, state, figures, place);
    ui.add_space(28.0);
    let title = match pair::outcomes(figures).and_then(|_| figures.agreement()) {
        Some(share) => format!("Where they differ, in points · {} of the pruned elements are the same", text::percent(share)),
        None => "Where they differ, in points".to_owned(),
    };
    widgets::section_title(ui, &title);
    differences_ui(ui, state, model, figures, lower, commands);
    ui.add_space(8.0);
    ui.separator();
    results_ui(ui, state, figures);
}

/// The column that is hovered: last frame's pointer is good enough to draw a band under the bars.
fn hovered(ui: &Ui, id: &str, columns: usize) -> Option<usize> {
    ui.data(|d| d.get_temp::<usize>(egui::Id::unique(id))).filter(|&c| c < columns)
}

fn remember(ui: &Ui, id: &str, column: Option<usize>) {
    let id = egui::Id::unique(id);
    ui.data_mut(|d| match column {
        Some(column) => drop(d.insert_temp(id, column)),
        None => drop(d.remove_temp::<usize>(id)),
    });
}

/// In the chart: what there is to do where nothing was done, or how far the applied method goes where it goes no further.
fn remark_ui(ui: &Ui, state: &AppState, figures: &Figures, place: Rect) {
    let is_begun = state.is_unsaved() || state.view.as_ref().is_some_and(|view| view.is_fixed || view.is_applied);
    let text = match figures.chosen() {
        Ok(outcome) if outcome.pruned == 0 && !is_begun => "Drag the slider below: bars show what every parameter loses".to_owned(),
        Ok(_) => return,
        Err(why) => text::sentence(&why.to_string()),
    };
    let color = theme::palette(ui).weak;
    let galley = ui.painter().layout(text.clone(), theme::normal(), color, place.width() * 0.8);
    let at = place.center() - galley.size() / 2.0;
    let rect = Rect::from_min_size(at, galley.size());
    let response = ui.interact(rect, ui.scope_id().with("remark"), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(egui::Role::Label, true, &text));
    ui.painter().rect_filled(rect.expand(8.0), 4.0, theme::palette(ui).ground);
    ui.painter().galley(at, galley, color);
}

/// Bars of a chart over the scope, with hover, selection and stages. Returns where they are.
fn columns_ui(ui: &mut Ui, state: &AppState, model: &Model, figures: &Figures, look: &Look, commands: &mut Vec<Command>) -> Rect {
    let palette = theme::palette(ui);
    let scope = &figures.scope;
    let band = hovered(ui, look.id, scope.len());
    let selected = state.selected.and_then(|id| scope.binary_search(&id).ok());
    let is_own = |id: &ParameterId| figures.recipe.own[model.graph.parameter(*id).module.0].is_some();
    let plot = chart::fixed_plot(look.id, look.height)
        .show_axes([false, true])
        .show_grid([false, true])
        .grid_color(palette.line)
        .y_grid_spacer(|_| look.marks.iter().map(|&value| egui_plot::GridMark { value, step_size: 100.0 }).collect())
        .y_axis_formatter(|mark, _| (look.axis)(mark.value))
        .label_formatter(|_| None);
    let response = chart::with_axis_style(ui, |ui| {
        plot.show(ui, |plot| {
            plot.set_plot_bounds(chart::columns(scope.len(), look.low, look.high));
            for (column, color) in [(band, palette.raised.gamma_multiply(0.7)), (selected, palette.raised)] {
                if let Some(column) = column {
                    let bar = Bar::new(column as f64, look.high - look.low)
                        .base_offset(look.low)
                        .width(1.0)
                        .fill(color)
                        .stroke(egui::Stroke::NONE);
                    plot.bar_chart(BarChart::new("", vec![bar]).allow_hover(false));
                }
            }
            let bars = scope.iter().enumerate().map(|(i, &id)| {
                let (value, color) = (look.bar)(id);
                let strong = Some(i) == selected || Some(i) == band;
                let fill = if strong { color } else { color.gamma_multiply(0.86) };
                Bar::new(i as f64, value).width(0.72).fill(fill).stroke(egui::Stroke::NONE)
            });
            plot.bar_chart(BarChart::new("", bars.collect()).allow_hover(false));
            for (i, &id) in scope.iter().enumerate().filter(|(_, id)| look.is_main && is_own(id)) {
                let (value, _) = (look.bar)(id);
                let edge = PlotPoints::from(vec![[i as f64 - 0.36, value], [i as f64 + 0.36, value]]);
                plot.line(Line::new("", edge).color(palette.text).width(3.0).allow_hover(false));
            }
            if let Some((line, color)) = &look.line {
                for run in line {
                    let points: PlotPoints = run.iter().copied().collect();
                    plot.line(Line::new("", points).color(*color).width(1.6).style(LineStyle::Dashed { length: 6.0 }).allow_hover(false));
                }
            }
        })
    });
    let transform = response.transform;
    let x = |column: f64| transform.position_from_point(&egui_plot::PlotPoint::new(column, 0.0)).x;
    if look.is_main {
        chart::paint_stages(ui, &chart::stage_columns(&model.graph, scope), response.response.rect.bottom() + 2.0, x);
    }
    let column = response
        .response
        .hover_pos()
        .map(|at| transform.value_from_position(pos2(at.x, at.y)).x.round())
        .filter(|c| *c >= 0.0 && *c < scope.len() as f64);
    remember(ui, look.id, column.map(|c| c as usize));
    if let Some(id) = column.map(|c| scope[c as usize]) {
        if response.response.clicked() {
            commands.push(Command::Select(id));
        }
        response.response.on_hover_ui_at_pointer(|ui| chart::tooltip_ui(ui, model, figures, id));
    }
    *transform.frame()
}

/// What one chart of columns shows.
struct Look<'a> {
    id: &'a str,
    height: f32,
    low: f64,
    high: f64,
    marks: &'a [f64],
    axis: &'a dyn Fn(f64) -> String,
    bar: &'a dyn Fn(ParameterId) -> (f64, egui::Color32),
    line: Option<(Vec<Vec<[f64; 2]>>, egui::Color32)>,
    /// Stages stand under it, and amounts of modules' own are marked in it.
    is_main: bool,
}

fn bars_ui(ui: &mut Ui, state: &AppState, model: &Model, figures: &Figures, height: f32, commands: &mut Vec<Command>) -> Rect {
    let palette = theme::palette(ui);
    let sparsity = |outcome: Option<&Outcome>, id: ParameterId| outcome.map_or(0.0, |o| chart::sparsity_of(&model.graph, o, id) * 100.0);
    let [mine, other] = Side::BOTH.map(|side| side.outcome(figures));
    let look = Look {
        id: "sparsity",
        height,
        low: 0.0,
        high: 102.0,
        marks: &[0.0, 25.0, 50.0, 75.0, 100.0],
        axis: &|value| format!("{value:.0} %"),
        bar: &|id| (sparsity(mine, id), palette.applied),
        line: other.map(|_| (steps(figures, &|id| sparsity(other, id)), palette.beside)),
        is_main: true,
    };
    columns_ui(ui, state, model, figures, &look, commands)
}

/// A line through all columns, level over each; joined where neighbours are equal.
fn steps(figures: &Figures, value: &dyn Fn(ParameterId) -> f64) -> Vec<Vec<[f64; 2]>> {
    let mut runs: Vec<Vec<[f64; 2]>> = Vec::new();
    for (i, &id) in figures.scope.iter().enumerate() {
        let (x, y) = (i as f64, value(id));
        match runs.last_mut().and_then(|run| run.last_mut()) {
            Some(end) if (end[1] - y).abs() < 0.05 => end[0] = x + 0.5,
            _ => runs.push(vec![[x - 0.5, y], [x + 0.5, y]]),
        }
    }
    runs
}

fn differences_ui(ui: &mut Ui, state: &AppState, model: &Model, figures: &Figures, height: f32, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    let Some([applied, beside]) = pair::outcomes(figures) else {
        let top = ui.cursor().top();
        // Of the applied method the chart above says it.
        if figures.chosen().is_ok() {
            pair::obstacles_ui(ui, figures);
        }
        ui.add_space((height - (ui.cursor().top() - top)).max(0.0));
        return;
    };
    let difference =
        |id: ParameterId| (chart::sparsity_of(&model.graph, applied, id) - chart::sparsity_of(&model.graph, beside, id)) * 100.0;
    let look = Look {
        id: "differences",
        height,
        low: -105.0,
        high: 105.0,
        marks: &[-50.0, 0.0, 50.0],
        axis: &|value| if value > 0.0 { format!("+{value:.0}") } else { format!("{value:.0}").replace('-', "−") },
        bar: &|id| {
            let d = difference(id);
            (d, if d > 0.0 { palette.applied } else { palette.beside })
        },
        line: None,
        is_main: false,
    };
    columns_ui(ui, state, model, figures, &look, commands);
}

/// The few figures that matter, of both methods, and what they are.
fn results_ui(ui: &mut Ui, state: &AppState, figures: &Figures) {
    let palette = theme::palette(ui);
    ui.add_space(2.0);
    let measured = state.view.as_ref().and_then(|view| effect::results(&state.costs, &view.state, figures));
    let share = |zeros: u64| text::percent(zeros as f64 / figures.model_elements.max(1) as f64);
    let Some(effect::Results { what, dense, methods }) = measured else {
        widgets::section_title(ui, "Zeros in the whole model, and parameters emptied");
        let zeros =
            |side: Side| (text::method(side.method(figures)), side, side.outcome(figures).map_or("–".into(), |o| share(o.model_zeros)));
        let emptied = |side: Side| side.outcome(figures).map(|o| o.emptied.len());
        ui.columns(4, |columns| {
            for (i, side) in Side::BOTH.into_iter().enumerate() {
                let (name, side, figure) = zeros(side);
                chart::result_ui(&mut columns[i], &format!("{name}, zero"), Some(side), &figure, palette.text);
                let n = emptied(side);
                let color = if n.is_some_and(|n| n > 0) { palette.warning } else { palette.text };
                let figure = n.map_or("–".into(), |n| n.to_string());
                chart::result_ui(&mut columns[2 + i], &format!("{name}, emptied"), Some(side), &figure, color);
            }
        });
        return;
    };
    widgets::section_title(ui, &what);
    let last = match &state.costs.work {
        Some(Ok(_)) => ("Multiply-accumulates zeroed", state.costs.work_zeroed(figures).map_or("–".into(), text::percent)),
        _ => ("Model zeroed", figures.chosen().map_or("–".into(), |o| share(o.model_zeros))),
    };
    // The longest title has the room that it needs; the others share the rest.
    let longest = ui.painter().layout_no_wrap(last.0.to_owned(), theme::normal(), palette.text).size().x.ceil() + 2.0;
    let gap = ui.spacing().item_spacing.x;
    let width = ((ui.available_width() - longest) / 3.0 - gap).max(40.0);
    let [applied, beside] = methods;
    ui.horizontal_top(|ui| {
        let result = |ui: &mut Ui, width: f32, name: &str, side: Option<Side>, (figure, is_worse): (String, bool)| {
            let color = if is_worse { palette.warning } else { palette.text };
            ui.allocate_ui(vec2(width, 44.0), |ui| {
                ui.set_width(width);
                chart::result_ui(ui, name, side, &figure, color);
            });
        };
        result(ui, width, "Dense", None, (dense, false));
        for (side, figure) in Side::BOTH.into_iter().zip([applied, beside]) {
            result(ui, width, text::method(side.method(figures)), Some(side), figure);
        }
        result(ui, longest, last.0, None, (last.1, false));
    });
}
