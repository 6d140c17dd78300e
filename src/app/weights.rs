//! Tab “Weights”: the distribution of the selected parameter with both cuts, before and after the mask.

use eframe::egui::{self, Align, Layout, Ui};
use egui_plot::{Bar, BarChart, LineStyle, VLine};

use crate::engine::Model;
use crate::graph::ParameterId;
use crate::measure::{Detail, Figures, Statistics};
use crate::prune::Method;

use super::commands::Command;
use super::pair::Side;
use super::state::AppState;
use super::{chart, repair, text, theme, widgets};

pub(super) fn show(ui: &mut Ui, state: &AppState, model: &Model, figures: &Figures, commands: &mut Vec<Command>) {
    let (Some(id), Some((shown, look))) = (state.selected, &state.detail) else {
        ui.weak("Select a module on the left to look at its weights.");
        return;
    };
    if *shown != id {
        ui.weak(model.graph.parameter(id).obstacle().unwrap_or_else(|| "…".to_owned()));
        return;
    }
    let detail = match look {
        Ok(detail) => detail,
        Err(why) => {
            ui.label(egui::RichText::new(text::message(why)).color(theme::palette(ui).warning));
            return;
        }
    };
    let parameter = model.graph.parameter(id);
    ui.horizontal(|ui| {
        widgets::section_title(ui, "Distribution");
        ui.add(egui::Label::new(egui::RichText::new(text::name(&parameter.name)).font(theme::small())).truncate());
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let zeros = format!("Draw {} zeros", text::count(detail.histogram.zeros));
            if widgets::tick(ui, state.shows_zeros, true, &zeros).on_hover_text("Zeros can dwarf every other bar").clicked() {
                commands.push(Command::ShowZeros(!state.shows_zeros));
            }
            ui.add_space(10.0);
            if widgets::tick(ui, state.shows_original, true, "Original").on_hover_text("As before the mask (weight_orig)").clicked() {
                commands.push(Command::ShowOriginal(!state.shows_original));
            }
        });
    });
    repair_ui(ui, state, model, id);
    let cuts = Side::BOTH.map(|side| side.outcome(figures).and_then(|o| o.cuts[id.0]));
    histogram_ui(ui, state, figures, detail, cuts, ui.available_height() - 150.0);
    ui.add_space(6.0);
    ui.separator();
    ui.spacing_mut().item_spacing.x = 28.0;
    ui.columns(2, |columns| {
        statistics_ui(&mut columns[0], "Original", &detail.original);
        statistics_ui(&mut columns[1], "Pruned", &detail.pruned);
    });
}

/// What the last repair gave the module that the parameter is of, and the normalisation behind it.
fn repair_ui(ui: &mut Ui, state: &AppState, model: &Model, id: ParameterId) {
    let Some(repair) = state.view.as_ref().and_then(|view| view.state.last_repair()) else { return };
    let module = model.graph.parameter(id).module;
    let Some(layer) = repair::layer_of(repair, model, module) else {
        ui.weak("The last repair left this module as it was.");
        return;
    };
    let line = format!("Repaired: error of the output of {} {}", text::name(&layer.name), repair::gain(layer));
    let hint =
        format!("Relative error, |dense − pruned| / |dense|, before and after, on the {} that calibrated", repair.calibration_images);
    ui.add(egui::Label::new(egui::RichText::new(line).color(theme::palette(ui).weak)).truncate()).on_hover_text(hint);
}

fn histogram_ui(ui: &mut Ui, state: &AppState, figures: &Figures, detail: &Detail, cuts: [Option<f64>; 2], height: f32) {
    let palette = theme::palette(ui);
    let histogram = &detail.histogram;
    if histogram.limit <= 0.0 {
        ui.weak("All elements are zero.");
        ui.add_space((height - 20.0).max(0.0));
        return;
    }
    let cut = cuts[0].filter(|_| !state.shows_original);
    let width = 2.0 * histogram.limit / histogram.bars.len() as f64;
    let center = |i: usize| (i as f64 + 0.5) * width - histogram.limit;
    let mut top = histogram.bars.iter().copied().max().unwrap_or(1);
    let mut bars: Vec<Bar> = histogram
        .bars
        .iter()
        .enumerate()
        .map(|(i, &n)| {
            let is_pruned = cut.is_some_and(|c| center(i).abs() <= c);
            let color = if is_pruned { palette.weak.gamma_multiply(0.35) } else { palette.text.gamma_multiply(0.8) };
            Bar::new(center(i), n as f64).width(width * 0.92).fill(color).stroke(egui::Stroke::NONE)
        })
        .collect();
    if state.shows_zeros && histogram.zeros > 0 {
        top = top.max(histogram.zeros);
        bars.push(Bar::new(0.0, histogram.zeros as f64).width(width * 0.5).fill(palette.warning).stroke(egui::Stroke::NONE));
    }
    let plot = chart::fixed_plot("weights", height.max(120.0))
        .show_grid([false, true])
        .grid_color(palette.line)
        .y_grid_spacer(move |_| marks(top as f64).into_iter().map(|value| egui_plot::GridMark { value, step_size: top as f64 }).collect())
        .y_axis_formatter(|mark, _| text::count(mark.value.max(0.0) as u64))
        .x_axis_formatter(|mark, _| if mark.value == 0.0 { "0".into() } else { text::short(mark.value) })
        .label_formatter(|_| None);
    let response = chart::with_axis_style(ui, |ui| {
        plot.show(ui, |plot| {
            plot.set_plot_bounds(egui_plot::PlotBounds::from_min_max([-histogram.limit, 0.0], [histogram.limit, top as f64 * 1.06]));
            plot.bar_chart(BarChart::new("", bars).allow_hover(false));
            for (side, cut) in Side::BOTH.into_iter().zip(cuts) {
                for sign in [-1.0, 1.0] {
                    let Some(at) = cut.map(|c| c * sign).filter(|c| c.is_finite()) else { continue };
                    let style = if side == Side::Applied { LineStyle::Solid } else { LineStyle::Dashed { length: 6.0 } };
                    plot.vline(VLine::new("", at).color(palette.side(side)).width(1.8).style(style).allow_hover(false));
                }
            }
        })
    });
    if let Some(at) = response.response.hover_pos() {
        let x = response.transform.value_from_position(at).x;
        let i = (((x + histogram.limit) / width) as usize).min(histogram.bars.len() - 1);
        let (low, high) = (center(i) - width / 2.0, center(i) + width / 2.0);
        response.response.on_hover_ui_at_pointer(|ui| {
            ui.label(format!("{} elements from {} to {}", text::count(histogram.bars[i]), text::number(low), text::number(high)));
        });
    }
    ui.horizontal(|ui| {
        for (side, cut) in Side::BOTH.into_iter().zip(cuts) {
            let (rect, _) = ui.allocate_exact_size(egui::vec2(12.0, 10.0), egui::Sense::hover());
            ui.painter().hline(rect.x_range(), rect.center().y, egui::Stroke::new(2.0, palette.side(side)));
            let method = side.method(figures);
            let name = text::method(method);
            ui.label(format!(
                "{name}: {}",
                cut.map_or_else(|| nothing(figures, method).to_owned(), |c| format!("|w| ≤ {}", text::number(c)))
            ));
            ui.add_space(12.0);
        }
        if histogram.outside > 0 {
            ui.weak(format!("{} elements beyond ±{}", text::count(histogram.outside), text::number(histogram.limit)));
        }
    });
}

/// Why there is no cut.
fn nothing(figures: &Figures, method: Method) -> &'static str {
    match figures.of(method) {
        Err(_) => "does not reach this amount",
        Ok(_) if !figures.recipe.is_by_magnitude() => "no cut",
        Ok(_) => "nothing pruned",
    }
}

/// About four round numbers from 0 up to `top`.
fn marks(top: f64) -> Vec<f64> {
    let rough = (top / 4.0).max(1.0);
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough).unwrap_or(rough);
    (0..=(top / step) as usize).map(|i| i as f64 * step).collect()
}

fn statistics_ui(ui: &mut Ui, title: &str, statistics: &Statistics) {
    widgets::section_title(ui, title);
    widgets::figure_row(ui, "Mean · deviation", &format!("{} · {}", text::number(statistics.mean), text::number(statistics.deviation)));
    widgets::figure_row(ui, "Smallest · largest", &format!("{} · {}", text::number(statistics.min), text::number(statistics.max)));
    widgets::figure_row(ui, "Sum of magnitudes (L1)", &text::number(statistics.l1));
}
