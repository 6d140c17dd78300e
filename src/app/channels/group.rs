//! The panel on the right: what the channels of the selected group are, which of them go, its lock and its own amount.

use eframe::egui::{self, Rect, Sense, Ui, WidgetInfo, pos2, vec2};

use crate::channels::Member;

use super::super::commands::Command;
use super::super::state::AppState;
use super::super::{text, theme, widgets};
use super::{MOST, end_drag, is_let_go, kept, push_step, units};

/// Steps of the slider in a whole.
const STEPS: f64 = 1000.0;
/// Members of which each is told in a line of its own.
const MOST_MEMBERS: usize = 200;
/// Height of a line.
const LINE: f32 = 19.0;

pub(in super::super) fn show(ui: &mut Ui, state: &AppState, commands: &mut Vec<Command>) {
    let view = &state.channels;
    let weak = theme::palette(ui).weak;
    let Some((i, group)) = view.selected.and_then(|i| Some((i, view.channels()?.groups.get(i)?))) else {
        let text = if view.channels().is_some_and(|channels| !channels.groups.is_empty()) {
            "Click a bar, or a module on the left: here stands what falls with its channels"
        } else {
            ""
        };
        ui.add(egui::Label::new(egui::RichText::new(text).color(weak)).wrap());
        return;
    };
    ui.add(egui::Label::new(egui::RichText::new(text::name(&group.name)).font(theme::bold())).truncate())
        .on_hover_text(text::name(&group.name));
    let removed = view.removed();
    let left = removed.map_or(group.units.len(), |removed| kept(group, removed));
    let by_hand = group.units.iter().filter(|unit| view.plan.choice.by_hand.contains_key(unit)).count();
    let said = if by_hand > 0 { format!(", {by_hand} set by hand") } else { String::new() };
    let line = format!("{} of {} channels stay{said}", text::count(left as u64), text::count(group.units.len() as u64));
    ui.label(egui::RichText::new(line).color(weak));
    ui.add_space(8.0);
    units::show(ui, state, i, group, commands);
    ui.add_space(10.0);
    foot_ui(ui, state, i, commands);
    ui.add_space(10.0);
    let what = if group.units.len() == 1 {
        "This channel is".to_owned()
    } else {
        format!("These {} channels are", text::count(group.units.len() as u64))
    };
    widgets::section_title(ui, &what);
    ui.spacing_mut().item_spacing.y = 1.0;
    let lines = lines(&group.members);
    for line in lines.iter().take(MOST_MEMBERS) {
        line_ui(ui, line);
    }
    if let Some(rest) = lines.len().checked_sub(MOST_MEMBERS).filter(|rest| *rest > 0) {
        ui.label(egui::RichText::new(format!("and {rest} more")).color(weak));
    }
}

/// What a module, or a tensor that is no module's, has of every channel.
#[derive(Debug, PartialEq)]
struct MemberLine<'a> {
    sides: Vec<&'static str>,
    name: &'a str,
    slices: usize,
}

/// Members of one module in one line.
fn lines(members: &[Member]) -> Vec<MemberLine<'_>> {
    let mut lines: Vec<MemberLine> = Vec::new();
    for member in members {
        match lines.iter_mut().find(|line| line.name == member.name && line.slices == member.slices) {
            Some(line) if line.sides.contains(&member.side) => {}
            Some(line) => line.sides.push(member.side),
            None => lines.push(MemberLine { sides: vec![member.side], name: &member.name, slices: member.slices }),
        }
    }
    lines
}

fn line_ui(ui: &mut Ui, line: &MemberLine) {
    let palette = theme::palette(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), LINE), Sense::hover());
    let name = text::name(line.name);
    let sides = line.sides.join(", ");
    let times = if line.slices > 1 { format!(" × {}", line.slices) } else { String::new() };
    response.widget_info(|| WidgetInfo::labeled(egui::Role::Label, true, format!("{sides}{times} of {name}")));
    let what = ui.painter().layout_no_wrap(format!("{sides}{times}"), theme::normal(), palette.weak);
    let split = rect.right() - what.size().x;
    widgets::paint_path(ui, Rect::from_min_max(rect.min, pos2(split - 8.0, rect.bottom())), &name, &theme::normal(), palette.text);
    ui.painter().galley(pos2(split, rect.center().y - what.size().y / 2.0), what, palette.weak);
    let slices = if line.slices > 1 { format!("\n{} slices for every channel", line.slices) } else { String::new() };
    response.on_hover_text(format!("{name}: {sides}{slices}"));
}

/// Lock and own amount.
fn foot_ui(ui: &mut Ui, state: &AppState, group: usize, commands: &mut Vec<Command>) {
    let view = &state.channels;
    let plan = &view.plan;
    let is_locked = view.is_locked(group);
    if widgets::tick(ui, is_locked, true, "Lock this group").on_hover_text("Keep all of its channels, whatever the amount").clicked() {
        let mut plan = plan.clone();
        let locked = &mut plan.choice.locked;
        locked.resize(locked.len().max(group + 1), false);
        locked[group] = !is_locked;
        if !locked.contains(&true) {
            locked.clear();
        }
        push_step(plan, commands);
    }
    let own = plan.choice.own.get(&group).copied();
    ui.horizontal(|ui| {
        let hint = "A share of its channels of its own: the amount leaves this group alone, and the others reach it where they can";
        if widgets::tick(ui, own.is_some(), !is_locked, "Own amount").on_hover_text(hint).clicked() {
            let mut plan = plan.clone();
            match own {
                Some(_) => drop(plan.choice.own.remove(&group)),
                None => drop(plan.choice.own.insert(group, present(state, group))),
            }
            push_step(plan, commands);
        }
        if let Some(share) = own.filter(|_| !is_locked) {
            let mut percent = share * 100.0;
            ui.spacing_mut().slider_width = (ui.available_width() - 70.0).clamp(40.0, 180.0);
            let palette = theme::palette(ui);
            ui.visuals_mut().widgets.inactive.bg_fill = palette.line;
            // The handle is no higher than the text beside it.
            let height = std::mem::replace(&mut ui.spacing_mut().interact_size.y, 18.0);
            let slider = ui.add(egui::Slider::new(&mut percent, 0.0..=MOST * 100.0).step_by(100.0 / STEPS).show_value(false));
            ui.spacing_mut().interact_size.y = height;
            slider.widget_info(|| WidgetInfo::slider(true, percent, "Own amount of the group, slider"));
            let field = egui::DragValue::new(&mut percent).range(0.0..=MOST * 100.0).speed(0.2).fixed_decimals(1).suffix("\u{2009}%");
            let field = ui.add(field);
            field.widget_info(|| WidgetInfo::labeled(egui::Role::SpinButton, true, "Own amount of the group in percent"));
            let is_let_go = is_let_go(&slider) || is_let_go(&field);
            let edited = (percent * STEPS / 100.0).round() / STEPS;
            if (edited - share).abs() > 1e-9 {
                let mut plan = plan.clone();
                plan.choice.own.insert(group, edited);
                commands.push(Command::Plan(Box::new(plan)));
            }
            end_drag(is_let_go, commands);
        }
    });
}

/// The share of a group's channels that goes now.
fn present(state: &AppState, group: usize) -> f64 {
    let view = &state.channels;
    let share = || {
        let (group, chosen) = (view.channels()?.groups.get(group)?, view.settled()?);
        Some(1.0 - kept(group, &chosen.removed) as f64 / group.units.len().max(1) as f64)
    };
    (share().unwrap_or(0.0) * STEPS).round() / STEPS
}
