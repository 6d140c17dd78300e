//! Tab “Effect”, the sensitivity of every weight: a map of weights by amounts, and the modules that should be protected.

use eframe::egui::{self, Align, Color32, Layout, Rect, Response, Sense, Ui, WidgetInfo, pos2, vec2};

use crate::engine::Model;
use crate::evaluate::Sensitivity;
use crate::graph::ParameterId;
use crate::measure::{Effect, Figures};
use crate::measurer::TaskKind;
use crate::prune::Step;

use super::commands::{Action, Command};
use super::costs::{Costs, ScanView, Shade};
use super::state::AppState;
use super::theme::{self, Palette};
use super::{text, widgets};

/// Height of a row of the map.
const CELL_HEIGHT: f32 = 13.0;
/// Room for the amounts on the map's left.
const AXIS: f32 = 44.0;
/// Size of the bar that explains the colours.
const KEY: egui::Vec2 = vec2(110.0, 8.0);

pub(super) fn show(ui: &mut Ui, state: &AppState, model: &Model, figures: &Figures, commands: &mut Vec<Command>) {
    let costs = &state.costs;
    let is_done = costs.scan.as_ref().is_some_and(|s| s.is_done());
    widgets::section_head(ui, "Sensitivity: every weight pruned alone", |ui| {
        for action in [Action::SaveScan, Action::CopyScan] {
            if costs.scan.is_some() && widgets::hint(ui.button(action.entry().label), action).clicked() {
                commands.push(Command::Do(action));
            }
        }
        let label = if costs.scan.is_some() { "Go on" } else { Action::ScanSensitivity.entry().label };
        let is_going_on = matches!(costs.progress, Some((_, TaskKind::Scan)));
        if !is_done && !is_going_on && widgets::hint(ui.button(label), Action::ScanSensitivity).clicked() {
            commands.push(Command::Do(Action::ScanSensitivity));
        }
    });
    let Some(scan) = &costs.scan else {
        ui.weak("Scan to see which layers can bear pruning, and to protect those that cannot.");
        return;
    };
    if scan.parameters.is_empty() {
        ui.weak("This network reads no weight that can be pruned.");
        return;
    }
    view_ui(ui, costs, scan, commands);
    ui.add_space(2.0);
    map_ui(ui, costs, model, scan, commands);
    protect_ui(ui, costs, model, scan, figures, commands);
}

/// What the colours mean, and the order of the weights.
fn view_ui(ui: &mut Ui, costs: &Costs, scan: &Sensitivity, commands: &mut Vec<Command>) {
    let view = costs.scan_view;
    ui.horizontal(|ui| {
        // A network that does not classify has one measure only.
        if scan.cases.first().is_none_or(|case| case.effect.mean_kl.is_some()) {
            let names = [
                ("Agreement", "Colours show the share of the images whose answer changes"),
                ("KL", "Colours show the KL divergence from the dense network's classes, in nats"),
            ];
            if let Some(chosen) = widgets::segmented(ui, names, view.shade as usize) {
                let shade = [Shade::Agreement, Shade::Kl][chosen];
                commands.push(Command::ViewScan(ScanView { shade, ..view }));
            }
        }
        ui.add_space(4.0);
        if widgets::tick(ui, view.is_sorted, true, "Most sensitive first").clicked() {
            commands.push(Command::ViewScan(ScanView { is_sorted: !view.is_sorted, ..view }));
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| key_ui(ui, costs.shade(scan)));
    });
}

/// The colours from harmless to harmful, with what they stand for.
fn key_ui(ui: &mut Ui, shade: Shade) {
    const STEPS: usize = 22;
    let palette = theme::palette(ui);
    let weak = |text: &str| egui::RichText::new(text).font(theme::small()).color(palette.weak);
    let (least, most) = match shade {
        Shade::Agreement => ("loses 0\u{2009}%", "100\u{2009}%"),
        Shade::Kl => ("0.001 nats", "10"),
        Shade::Error => ("error 0\u{2009}%", "100\u{2009}%"),
    };
    ui.label(weak(most));
    let (rect, _) = ui.allocate_exact_size(KEY, Sense::hover());
    for i in 0..STEPS {
        let at = |i: usize| rect.left() + rect.width() * i as f32 / STEPS as f32;
        let cell = Rect::from_min_max(pos2(at(i), rect.top()), pos2(at(i + 1), rect.bottom()));
        ui.painter().rect_filled(cell, 0.0, color(palette, i as f32 / (STEPS - 1) as f32));
    }
    ui.label(weak(least));
}

/// From the ground, by way of the warning's colour, to its strongest: brightness alone tells them apart too.
fn color(palette: &Palette, harm: f32) -> Color32 {
    const MIDDLE: f32 = 0.6;
    if harm <= MIDDLE {
        palette.raised.lerp_to_gamma(palette.warning, harm / MIDDLE)
    } else {
        palette.warning.lerp_to_gamma(palette.harm, (harm - MIDDLE) / (1.0 - MIDDLE))
    }
}

/// Where between harmless, 0, and harmful, 1, an effect lies.
fn harm(shade: Shade, effect: &Effect) -> f32 {
    match (shade, effect.mean_kl) {
        (Shade::Kl, Some(kl)) if kl.is_nan() => 1.0,
        // Four powers of ten: 0.001 nats change nothing, at 10 the answer has nothing to do with the dense network's.
        (Shade::Kl, Some(kl)) => ((kl.max(1e-9).log10() + 3.0) / 4.0).clamp(0.0, 1.0) as f32,
        // Small losses are those that matter.
        _ => (Costs::loss(effect).clamp(0.0, 1.0) as f32).sqrt(),
    }
}

/// Columns are weights, rows are amounts.
fn map_ui(ui: &mut Ui, costs: &Costs, model: &Model, scan: &Sensitivity, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    let shade = costs.shade(scan);
    let rows = scan.amounts.len();
    let order = costs.scan_order(scan);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), CELL_HEIGHT * rows as f32 + 4.0), Sense::click());
    response.widget_info(|| {
        WidgetInfo::labeled(egui::Role::Image, true, format!("Sensitivity, {} of {} cases", scan.cases.len(), scan.num_cases()))
    });
    let left = rect.left() + AXIS;
    let width = (rect.right() - left) / order.len().max(1) as f32;
    // Thousands of weights share their pixels; the worst of those that do is seen.
    let gap = if width > 3.0 { 1.0 } else { 0.0 };
    let painter = ui.painter_at(rect);
    for (row, amount) in scan.amounts.iter().enumerate() {
        let y = rect.top() + CELL_HEIGHT * row as f32;
        if row % 2 == 0 {
            let label = format!("{:.0}\u{2009}%", amount * 100.0);
            widgets::paint_right(ui, left - 8.0, y + (CELL_HEIGHT - 1.0) / 2.0, &label, theme::small(), palette.weak);
        }
        for (column, &p) in order.iter().enumerate() {
            let x = left + width * column as f32;
            let cell = Rect::from_min_size(pos2(x, y), vec2((width - gap).max(1.0), CELL_HEIGHT - 1.0));
            let fill = scan.case(p, row).map_or(palette.panel, |case| color(palette, harm(shade, &case.effect)));
            painter.rect_filled(cell, gap, fill);
        }
    }
    if order.is_empty() {
        return;
    }
    let column_at = |x: f32| (((x - left) / width).floor().max(0.0) as usize).min(order.len() - 1);
    let Some(at) = response.hover_pos().filter(|at| at.x >= left) else { return };
    let column = column_at(at.x);
    let row = (((at.y - rect.top()) / CELL_HEIGHT) as usize).min(rows.saturating_sub(1));
    let edge = Rect::from_min_size(
        pos2(left + width * column as f32, rect.top() + CELL_HEIGHT * row as f32),
        vec2((width - gap).max(1.0), CELL_HEIGHT - 1.0),
    );
    painter.rect_stroke(edge, gap, egui::Stroke::new(1.0, palette.text), egui::StrokeKind::Outside);
    let id = scan.parameters[order[column]];
    if response.clicked() {
        commands.push(Command::Select(id));
    }
    tooltip_ui(response, model, scan, (order[column], row), id);
}

fn tooltip_ui(response: Response, model: &Model, scan: &Sensitivity, (p, row): (usize, usize), id: ParameterId) {
    response.on_hover_ui_at_pointer(|ui| {
        ui.set_max_width(320.0);
        ui.label(egui::RichText::new(text::name(&model.graph.parameter(id).name)).font(theme::bold()));
        match scan.case(p, row) {
            Some(case) => {
                ui.label(format!("{} pruned: loses {}", text::percent(case.amount), text::percent(Costs::loss(&case.effect))));
                if let Some(kl) = case.effect.mean_kl {
                    ui.weak(format!("KL divergence {}", text::number(kl)));
                }
            }
            None => drop(ui.weak("not measured yet")),
        }
    });
}

/// “Protect the modules that lose more than …”, and what the scan saved.
fn protect_ui(ui: &mut Ui, costs: &Costs, model: &Model, scan: &Sensitivity, figures: &Figures, commands: &mut Vec<Command>) {
    let weak = theme::palette(ui).weak;
    let view = costs.scan_view;
    ui.horizontal(|ui| {
        let say = |ui: &mut Ui, text: &str| ui.label(egui::RichText::new(text).color(weak));
        say(ui, "Modules that lose more than");
        let mut points = view.protects_from;
        let field = ui.add(egui::DragValue::new(&mut points).range(0.0..=100.0).speed(0.1).fixed_decimals(1));
        field.widget_info(|| WidgetInfo::labeled(egui::Role::SpinButton, true, "Points from which a module is protected"));
        if field.changed() {
            commands.push(Command::ViewScan(ScanView { protects_from: points, ..view }));
        }
        say(ui, "points at");
        let mut percent = view.protects_at * 100.0;
        let field = ui.add(egui::DragValue::new(&mut percent).range(10.0..=90.0).speed(0.5).fixed_decimals(0).suffix("\u{2009}%"));
        field.widget_info(|| WidgetInfo::labeled(egui::Role::SpinButton, true, "Amount at which a module's loss is looked at"));
        if field.changed() {
            // Only what was measured can be looked at.
            commands.push(Command::ViewScan(ScanView { protects_at: (percent / 10.0).round() / 10.0, ..view }));
        }
        let modules = costs.sensitive(model);
        let button = ui.add_enabled(!modules.is_empty(), egui::Button::new(format!("Protect {}", modules.len())));
        if button.on_hover_text("Lock these modules in the tree, so that nothing prunes them").clicked() {
            let mut recipe = figures.recipe.clone();
            for module in modules {
                recipe.locked[module.0] = true;
            }
            commands.push(Command::Set(Box::new(recipe), Step::Lock));
        }
        if scan.nodes_run > 0 {
            let saving = scan.nodes_from_start as f64 / scan.nodes_run as f64;
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                ui.add(egui::Label::new(egui::RichText::new(format!("{saving:.1} times less work")).color(weak)).truncate()).on_hover_text(
                    "Layers before the pruned one give what they gave: their results are kept. Operators run, beside running all of them for every case",
                );
            });
        }
    });
}
