//! The middle: groups as bars in graph order, what is left of the network, and what stays and why.

use eframe::egui::{self, Rect, Sense, Stroke, Ui, WidgetInfo, pos2, vec2};

use crate::channels::{Frozen, Group};
use crate::engine::{Model, Removal};
use crate::evaluate::Criterion;
use crate::measure::Figures;
use crate::measurer::TwinCost;

use super::super::commands::{Action, Command};
use super::super::state::AppState;
use super::super::{chart, effect, repair, text, theme, widgets};
use super::{amounts, controls, kept, maker};

/// Room for the figures on the left of the bars.
const AXIS: f32 = 44.0;
/// Room for the stages under them.
const STAGES: f32 = 24.0;
/// The least height of the bars.
const LEAST_HEIGHT: f32 = 150.0;
/// Height of what stands under the bars.
const RESULTS: f32 = 330.0;
/// Height of what stands there of a smaller network.
const SMALLER: f32 = 90.0;
/// Height of the head of what is known over all amounts.
const AMOUNTS: f32 = 70.0;
/// Layers that stay of which each is told in a line of its own.
const MOST_FROZEN: usize = 200;

pub(in super::super) fn show(ui: &mut Ui, state: &AppState, model: &Model, figures: &Figures, commands: &mut Vec<Command>) {
    let view = &state.channels;
    let weak = theme::palette(ui).weak;
    let channels = match &view.found {
        None => {
            ui.label(egui::RichText::new("Finding which channels fall together: one pass of noise …").color(weak));
            return;
        }
        Some(Err(why)) => {
            ui.label(
                egui::RichText::new("The channels cannot be found: a pass through the network shows how far each reaches.").color(weak),
            );
            ui.label(egui::RichText::new(text::sentence(&text::message(why))).color(theme::palette(ui).warning));
            return;
        }
        Some(Ok(found)) => &found.channels,
    };
    egui::ScrollArea::vertical().id_salt("channels").auto_shrink(false).show(ui, |ui| {
        let removal = state.view.as_ref().and_then(|view| view.removal);
        let below = if removal.is_some() { SMALLER } else { 0.0 } + if state.costs.shown.is_some() { AMOUNTS } else { 0.0 };
        let room = ui.available_height() - below;
        // The bar that scrolls covers nothing.
        ui.set_max_width(ui.available_width() - 12.0);
        if channels.groups.is_empty() {
            // Where nothing is told below, the weights themselves are in the way.
            let obstacle = model.graph.parameters.iter().find_map(crate::graph::Parameter::obstacle).filter(|_| channels.frozen.is_empty());
            let why = obstacle.map_or_else(String::new, |why| format!(": {why}"));
            ui.add(egui::Label::new(egui::RichText::new(format!("No channel of this network can be removed{why}.")).color(weak)).wrap());
        } else {
            widgets::section_head(ui, "Channels per group, in graph order", legend_ui);
            bars_ui(ui, state, model, (room - RESULTS).max(LEAST_HEIGHT), commands);
            ui.add_space(8.0);
            results_ui(ui, state, model);
            effect_ui(ui, state, figures);
            if let Some(removal) = &removal {
                ui.add_space(8.0);
                removal_ui(ui, state, removal, commands);
            }
            if state.costs.shown.is_some() {
                ui.add_space(12.0);
                amounts::show(ui, state, commands);
            }
            let (remark, is_warning) = controls::remark(&view.plan);
            let color = if is_warning { theme::palette(ui).warning } else { weak };
            ui.add_space(4.0);
            ui.add(egui::Label::new(egui::RichText::new(remark).color(color)).wrap());
        }
        ui.add_space(12.0);
        frozen_ui(ui, &channels.frozen, channels.frozen_share());
        ui.add_space(8.0);
    });
}

/// What the parts of a bar are, from right to left.
fn legend_ui(ui: &mut Ui) {
    let palette = theme::palette(ui);
    for (name, color) in [("Removed", palette.applied), ("Kept", palette.weak)] {
        ui.label(name);
        let (rect, _) = ui.allocate_exact_size(vec2(10.0, 10.0), Sense::hover());
        ui.painter().rect_filled(rect, 1.0, color);
    }
}

/// Round numbers of channels up to `most`, for the axis.
fn marks(most: usize) -> Vec<usize> {
    let round = |n: &usize| *n <= most;
    let all: Vec<usize> = (0..6).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_usize.pow(power))).take_while(round).collect();
    // Heights go by the root: every mark is twice and a half as high as the second before it.
    let from = all.len().saturating_sub(7);
    all.into_iter().skip(from).step_by(2).collect()
}

/// One bar per group: as high as the root of its channels, so that small groups are seen beside large ones; filled from below as far as
/// they stay.
fn bars_ui(ui: &mut Ui, state: &AppState, model: &Model, height: f32, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    let view = &state.channels;
    let Some(channels) = view.channels() else { return };
    let groups = &channels.groups;
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), height + STAGES), Sense::hover());
    let plot = Rect::from_min_max(pos2(rect.left() + AXIS, rect.top() + 8.0), pos2(rect.right(), rect.bottom() - STAGES));
    let most = groups.iter().map(|group| group.units.len()).max().unwrap_or(1).max(1);
    let share = |n: usize| (n as f32 / most as f32).sqrt();
    for mark in marks(most) {
        let y = plot.bottom() - plot.height() * share(mark);
        ui.painter().hline(plot.x_range(), y, Stroke::new(1.0, palette.line));
        widgets::paint_right(ui, plot.left() - 8.0, y, &text::count(mark as u64), theme::small(), palette.weak);
    }
    ui.painter().hline(plot.x_range(), plot.bottom(), Stroke::new(1.0, palette.line));
    let step = plot.width() / groups.len() as f32;
    let width = (step * 0.72).min(44.0);
    let removed = view.removed();
    let x = |column: f64| plot.left() + (column as f32 + 0.5) * step;
    for (i, group) in groups.iter().enumerate() {
        let column = Rect::from_center_size(pos2(x(i as f64), plot.center().y), vec2(step, plot.height()));
        let response = ui.interact(column, ui.scope_id().with(("group", i)), Sense::click());
        let kept = removed.map_or(group.units.len(), |removed| kept(group, removed));
        response.widget_info(|| {
            let name = format!("{}: {kept} of {} channels kept", text::name(&group.name), group.units.len());
            WidgetInfo::selected(egui::Role::Button, true, view.selected == Some(i), name)
        });
        let is_strong = view.selected == Some(i) || response.hovered() || response.has_focus();
        if is_strong {
            let color = if view.selected == Some(i) { palette.raised } else { palette.raised.gamma_multiply(0.7) };
            ui.painter().rect_filled(column, 0.0, color);
        }
        let full = plot.height() * share(group.units.len());
        let left = full * kept as f32 / group.units.len().max(1) as f32;
        let bar = |from: f32, to: f32| {
            Rect::from_min_max(
                pos2(column.center().x - width / 2.0, plot.bottom() - to),
                pos2(column.center().x + width / 2.0, plot.bottom() - from),
            )
        };
        let tone = |color: egui::Color32| if is_strong { color } else { color.gamma_multiply(0.86) };
        ui.painter().rect_filled(bar(0.0, left), 0.0, tone(palette.weak));
        ui.painter().rect_filled(bar(left, full), 0.0, tone(palette.applied));
        if view.plan.choice.own.contains_key(&i) {
            ui.painter().hline(bar(0.0, left).x_range(), plot.bottom() - left, Stroke::new(3.0, palette.text));
        }
        if view.is_locked(i) {
            widgets::paint_lock(ui.painter(), pos2(column.center().x, plot.bottom() - full - 10.0), palette.text);
        }
        if response.clicked() {
            commands.push(Command::SelectGroup(i));
        }
        response.on_hover_ui_at_pointer(|ui| tooltip_ui(ui, group, kept));
    }
    if view.settled().is_some_and(|chosen| chosen.removed.count() == 0) && state.view.as_ref().is_some_and(|view| view.removal.is_none()) {
        let text = "Drag the slider below: bars show what every group loses";
        let galley = ui.painter().layout_no_wrap(text.to_owned(), theme::normal(), palette.weak);
        let place = Rect::from_min_size(plot.left_top() + vec2(8.0, 4.0), galley.size());
        let response = ui.interact(place, ui.scope_id().with("remark"), Sense::hover());
        response.widget_info(|| WidgetInfo::labeled(egui::Role::Label, true, text));
        ui.painter().rect_filled(place.expand(6.0), 4.0, palette.ground);
        ui.painter().galley(place.min, galley, palette.weak);
    }
    let makers: Vec<_> = groups.iter().filter_map(|group| maker(group, &model.graph)).collect();
    if makers.len() == groups.len() && makers.is_sorted() {
        chart::paint_stages(ui, &chart::stage_columns(&model.graph, &makers), plot.bottom() + 2.0, x);
    }
}

fn tooltip_ui(ui: &mut Ui, group: &Group, kept: usize) {
    ui.set_max_width(320.0);
    ui.label(egui::RichText::new(text::name(&group.name)).font(theme::bold()));
    let all = group.units.len();
    ui.label(match all - kept {
        0 => format!("{all} channels, none goes"),
        gone => format!("{kept} of {all} channels stay, {gone} go"),
    });
    ui.weak(format!("With each go slices of {} tensors", group.members.len()));
}

/// A figure under its name, and what it is made of under that.
fn result_ui(ui: &mut Ui, name: &str, figure: &str, under: &str, color: egui::Color32) {
    chart::result_ui(ui, name, None, figure, color);
    let weak = theme::palette(ui).weak;
    ui.add(egui::Label::new(egui::RichText::new(under).color(weak)).truncate());
}

/// The part that is gone, and the two numbers.
fn less_ui(ui: &mut Ui, name: &str, before: u64, after: Option<u64>, shown: impl Fn(u64) -> String) {
    let palette = theme::palette(ui);
    let gone = after.map(|after| 1.0 - after as f64 / before.max(1) as f64);
    let figure = match gone {
        None => "–".to_owned(),
        Some(gone) if gone > 0.0 => format!("−{}", text::percent(gone)),
        Some(gone) if gone < 0.0 => format!("+{}", text::percent(-gone)),
        Some(_) => text::percent(0.0),
    };
    let under = match after {
        Some(after) if after != before => format!("{} → {}", shown(before), shown(after)),
        _ => shown(before),
    };
    let response = ui.scope(|ui| result_ui(ui, name, &figure, &under, palette.text)).response;
    response.widget_info(|| WidgetInfo::labeled(egui::Role::Label, true, format!("{name}: {figure}, {under}")));
    let after = after.map_or_else(String::new, |after| format!(" → {}", text::count(after)));
    response.on_hover_text(format!("{}{after}", text::count(before)));
}

/// What is left of the network as opened, by the plan and what was removed before.
fn results_ui(ui: &mut Ui, state: &AppState, model: &Model) {
    let view = &state.channels;
    let Some(chosen) = &view.chosen else { return };
    let removal = state.view.as_ref().and_then(|view| view.removal);
    let (before, after) = (removal.map_or(chosen.before, |removal| removal.before), chosen.after);
    let file = model.file.size_bytes();
    let bytes = match &view.bytes {
        _ if chosen.removed.count() == 0 => Some(file),
        Some((known, bytes)) if std::sync::Arc::ptr_eq(known, chosen) => Some(*bytes),
        _ => None,
    };
    ui.columns(4, |columns| {
        less_ui(&mut columns[0], "Multiply-accumulates", before.macs, Some(after.macs), text::large);
        less_ui(&mut columns[1], "Parameters", before.parameters, Some(after.parameters), text::large);
        less_ui(&mut columns[2], "Channels", before.channels, Some(after.channels), text::count);
        less_ui(&mut columns[3], "File", removal.map_or(file, |removal| removal.bytes[0]), bytes, text::bytes);
    });
}

/// What the plan costs on the images that are loaded.
fn effect_ui(ui: &mut Ui, state: &AppState, figures: &Figures) {
    let palette = theme::palette(ui);
    ui.add_space(8.0);
    ui.separator();
    let view = &state.channels;
    let costs = &state.costs;
    let Some(shown) = &costs.shown else {
        let text = "Choose images in the tab “Effect” to see here what removing them costs";
        ui.label(egui::RichText::new(text).color(palette.weak));
        return;
    };
    let (Some(cost), Some(chosen)) = (&view.twin, &view.chosen) else {
        match &costs.failure {
            Some(why) => drop(ui.label(egui::RichText::new(text::message(why)).color(palette.weak))),
            // As high as what comes, so that nothing below it moves.
            None => {
                widgets::section_title(ui, "Measuring …");
                ui.columns(2, |columns| {
                    chart::result_ui(&mut columns[0], "Dense", None, "–", palette.weak);
                    chart::result_ui(&mut columns[1], "Without these channels", None, "–", palette.weak);
                });
                ui.add_space(4.0);
            }
        }
        return;
    };
    let TwinCost { dense, effect: twin, is_whole, .. } = &**cost;
    let criterion = Criterion::suiting(dense);
    let is_present = std::sync::Arc::ptr_eq(&cost.chosen, chosen) && view.settled().is_some();
    let what = match cost.calibrated {
        _ if shown.path.is_none() => "inputs of noise, which tell drift",
        0 => "images",
        _ => "images that did not calibrate",
    };
    let mut title = format!(
        "{} on {} of {} {what}",
        effect::criterion_name(criterion),
        text::count(dense.images as u64),
        text::count(shown.images.saturating_sub(cost.calibrated) as u64)
    );
    let is_measuring = !(is_present && *is_whole);
    if is_measuring && costs.failure.is_none() {
        title.push_str(" · measuring …");
    }
    widgets::section_title(ui, &title);
    if let Some(why) = costs.failure.as_ref().filter(|_| is_measuring) {
        ui.label(egui::RichText::new(text::message(why)).color(palette.warning));
    }
    let figure =
        |effect: &crate::measure::Effect| criterion.of(effect).map_or("–".to_owned(), |value| effect::figure_text(criterion, value));
    let (before, after) = (figure(dense), figure(twin));
    let falls_short = matches!((criterion.of(dense), criterion.of(twin)), (Some(a), Some(b)) if b < a - 0.01 || b.is_nan());
    let strength = if is_present { 1.0 } else { 0.5 };
    let color = if falls_short { palette.warning } else { palette.text };
    let agreement = twin.agreement.map_or("–".to_owned(), text::percent);
    let pruned = figures.chosen().map_or(0, |outcome| outcome.pruned);
    let goes = chosen.removed.count() > 0;
    let is_smaller = state.view.as_ref().is_some_and(|view| view.removal.is_some());
    let with = match (goes, is_smaller) {
        (true, false) if pruned > 0 => "Without these channels, and pruned",
        (true, false) => "Without these channels",
        (true, true) => "Without these too",
        (false, _) => "As it is now",
    };
    let response = ui
        .scope(|ui| {
            ui.columns(3, |columns| {
                chart::result_ui(&mut columns[0], "Dense", None, &before, palette.text);
                chart::result_ui(&mut columns[1], with, None, &after, color.gamma_multiply(strength));
                if criterion != Criterion::Agreement {
                    chart::result_ui(&mut columns[2], "Agreement with dense", None, &agreement, palette.text.gamma_multiply(strength));
                }
            });
        })
        .response;
    response.widget_info(|| WidgetInfo::labeled(egui::Role::Label, true, format!("Effect of removing channels: {before} → {after}")));
    ui.add_space(4.0);
}

/// What is to be known of a network that lost channels: whether it answers as it should, and how fast.
fn removal_ui(ui: &mut Ui, state: &AppState, removal: &Removal, commands: &mut Vec<Command>) {
    let weak = theme::palette(ui).weak;
    widgets::section_head(ui, "The smaller network", |ui| {
        if widgets::hint(ui.button(Action::MeasurePace.entry().label), Action::MeasurePace).clicked() {
            commands.push(Command::Do(Action::MeasurePace));
        }
    });
    let text = format!("It answers as the network in which the channels are zero, {}.", closeness(removal.difference));
    ui.add(egui::Label::new(egui::RichText::new(text).color(weak)).wrap());
    if let Some(judged) = state.view.as_ref().and_then(|view| view.repaired.as_ref()) {
        repair::result_ui(ui, judged, None);
    }
    let text = match &state.channels.pace {
        Some((pace, device)) => {
            let [opened, now] = pace.timings.map(|timing| timing.median_ms);
            format!(
                "A pass takes {} ms, as opened {} ms: {} times as fast. {} image on {device}, median of {} passes of each in turn.",
                text::rough(now),
                text::rough(opened),
                text::rough(opened / now.max(f64::MIN_POSITIVE)),
                pace.batch,
                pace.rounds
            )
        }
        None => "Other runtimes have other kernels: measure the saved file where it is to run.".to_owned(),
    };
    ui.add(egui::Label::new(egui::RichText::new(text).color(weak)).wrap());
}

/// How near two answers are, to a power of ten.
fn closeness(difference: f64) -> String {
    if difference == 0.0 {
        return "exactly".to_owned();
    }
    format!("to 1e{} of the largest output", difference.log10().ceil() as i32).replace('-', "−")
}

/// Layers whose channels stay, and why.
fn frozen_ui(ui: &mut Ui, frozen: &[Frozen], share: f64) {
    if frozen.is_empty() {
        return;
    }
    let palette = theme::palette(ui);
    let title =
        if share > 0.0 { format!("Channels that stay · {} of all", text::percent(share)) } else { "Channels that stay".to_owned() };
    widgets::section_title(ui, &title);
    ui.spacing_mut().item_spacing.y = 2.0;
    for row in frozen.iter().take(MOST_FROZEN) {
        let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 19.0), Sense::hover());
        let figure = format!("{} of {}", text::count(row.channels as u64), text::count(row.of as u64));
        let reason = text::message(&row.reason);
        response.widget_info(|| WidgetInfo::labeled(egui::Role::Label, true, format!("{} stay: {reason}", text::name(&row.name))));
        let at = |share: f32| rect.left() + rect.width() * share;
        let name = Rect::from_min_max(rect.min, pos2(at(0.34), rect.bottom()));
        widgets::paint_path(ui, name, &text::name(&row.name), &theme::normal(), palette.text);
        widgets::paint_right(ui, at(0.5), rect.center().y, &figure, theme::normal(), palette.weak);
        let why = Rect::from_min_max(pos2(at(0.5) + 16.0, rect.top()), rect.max);
        widgets::paint_clipped(ui, why, &reason, theme::normal(), palette.weak);
        response.on_hover_text(&*reason);
    }
    if let Some(rest) = frozen.len().checked_sub(MOST_FROZEN).filter(|rest| *rest > 0) {
        ui.label(egui::RichText::new(format!("and {rest} more")).color(palette.weak));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_told_by_powers_of_ten() {
        assert_eq!([0.0, 3.1e-8, 2e-4].map(closeness), ["exactly", "to 1e−7 of the largest output", "to 1e−3 of the largest output"]);
    }

    #[test]
    fn marks_are_few_and_round() {
        assert_eq!(marks(1280), [10, 50, 200, 1000]);
        assert_eq!(marks(64), [1, 5, 20]);
        assert_eq!(marks(1), [1]);
    }
}
