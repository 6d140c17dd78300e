//! The channels of the selected group one by one: which of them go, and those that a person decides.

use eframe::egui::{self, Rect, Sense, Stroke, StrokeKind, Ui, Vec2, WidgetInfo, pos2, vec2};

use crate::channels::{ByHand, Group, Unit};
use crate::engine::ChannelPlan;

use super::super::commands::Command;
use super::super::state::AppState;
use super::super::{text, theme, widgets};
use super::push_step;

/// Edge of a channel's square with the room behind it.
const EDGE: f32 = 13.0;
/// Rows of squares that are seen at once.
const ROWS: usize = 10;

/// What becomes of a channel, and by whose will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fate {
    goes: bool,
    by_hand: Option<ByHand>,
}

impl Fate {
    /// In words, behind the channel's number.
    fn words(self) -> &'static str {
        match (self.goes, self.by_hand) {
            (true, None) => "goes",
            (false, None) => "stays",
            (true, Some(ByHand::Goes)) => "goes, by hand",
            (false, Some(ByHand::Stays)) => "stays, by hand",
            (false, Some(ByHand::Goes)) => "stays, though it is set to go: the group keeps its least number",
            (true, Some(ByHand::Stays)) => "goes, though it is set to stay",
        }
    }

    /// What a click makes of what a person says.
    fn next(self) -> Option<ByHand> {
        match self.by_hand {
            None => Some(ByHand::Goes),
            Some(ByHand::Goes) => Some(ByHand::Stays),
            Some(ByHand::Stays) => None,
        }
    }
}

/// What is known of a channel besides its fate.
struct Channel {
    /// Its number among the module's outputs.
    index: usize,
    unit: Unit,
    score: Option<f64>,
}

/// A square for every channel: what goes is in the colour of what goes, what a person decides has a dot. A click changes that.
pub(super) fn show(ui: &mut Ui, state: &AppState, number: usize, group: &Group, commands: &mut Vec<Command>) {
    let view = &state.channels;
    let plan = &view.plan;
    let is_by_hand = |unit: &Unit| plan.choice.by_hand.contains_key(unit);
    widgets::section_head(ui, "Its channels", |ui| {
        let tick = widgets::tick(ui, view.is_by_score, true, "By score");
        if tick.on_hover_text("Those that go first at the beginning, and not in the order of the module's outputs").clicked() {
            commands.push(Command::SortChannels(!view.is_by_score));
        }
        if group.units.iter().any(is_by_hand) {
            let reset = ui.add(egui::Button::new("Reset").frame(false));
            reset.widget_info(|| WidgetInfo::labeled(egui::Role::Button, true, "Reset channels set by hand"));
            if reset.on_hover_text("As score and amount decide, all of this group's channels").clicked() {
                let mut plan = plan.clone();
                plan.choice.by_hand.retain(|unit, _| !group.units.contains(unit));
                push_step(plan, commands);
            }
        }
    });
    let scores = view.settled().or(view.chosen.as_ref()).map(|chosen| &chosen.scores);
    let channel = |(index, &unit): (usize, &Unit)| Channel { index, unit, score: scores.and_then(|scores| scores.get(unit)).copied() };
    let mut channels: Vec<Channel> = group.units.iter().enumerate().map(channel).collect();
    if view.is_by_score {
        let score = |channel: &Channel| channel.score.unwrap_or(0.0);
        channels.sort_by(|a, b| score(a).total_cmp(&score(b)));
    }
    let columns = ((ui.available_width() / EDGE) as usize).max(1);
    let rows = channels.len().div_ceil(columns);
    let is_locked = view.is_locked(number);
    let area = egui::ScrollArea::vertical().id_salt(("channels of", number)).max_height(ROWS as f32 * EDGE).auto_shrink([false, true]);
    ui.scope(|ui| {
        ui.spacing_mut().item_spacing = Vec2::ZERO;
        area.show_rows(ui, EDGE, rows, |ui, shown| {
            for row in shown {
                let (rect, _) = ui.allocate_exact_size(vec2(columns as f32 * EDGE, EDGE), Sense::hover());
                for (column, channel) in channels.iter().skip(row * columns).take(columns).enumerate() {
                    let square = Rect::from_min_size(pos2(rect.left() + column as f32 * EDGE, rect.top()), Vec2::splat(EDGE - 1.0));
                    square_ui(ui, state, square, channel, is_locked, commands);
                }
            }
        });
    });
    ui.add_space(2.0);
    let hint = match (is_locked, group.units.iter().any(is_by_hand)) {
        (true, _) => "All stay: the group is locked",
        (false, false) => "Click a channel to say that it goes, or stays",
        (false, true) => "With a dot: set by hand",
    };
    ui.add(egui::Label::new(egui::RichText::new(hint).color(theme::palette(ui).weak)).truncate());
    let granularity = plan.choice.granularity;
    let is_off = view.settled().is_some_and(|chosen| chosen.found.channels.off_multiple(&chosen.removed, granularity).contains(&number));
    if is_off {
        let why = format!("No multiple of {} stays: what is set by hand leaves none", granularity.multiple);
        ui.add(egui::Label::new(egui::RichText::new(why).color(theme::palette(ui).warning)).wrap());
    }
}

fn square_ui(ui: &mut Ui, state: &AppState, square: Rect, channel: &Channel, is_locked: bool, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    let view = &state.channels;
    let &Channel { index, unit, score } = channel;
    let goes = view.removed().is_some_and(|removed| removed.contains(unit));
    let fate = Fate { goes, by_hand: view.plan.choice.by_hand.get(&unit).copied() };
    let sense = if is_locked { Sense::hover() } else { Sense::click() };
    let response = ui.interact(square, ui.scope_id().with(("channel", unit)), sense);
    response.widget_info(|| WidgetInfo::labeled(egui::Role::Button, !is_locked, format!("Channel {index}: {}", fate.words())));
    ui.painter().rect_filled(square, 1.0, if goes { palette.applied } else { palette.weak });
    if fate.by_hand.is_some() {
        ui.painter().circle_filled(square.center(), 2.5, palette.ground);
    }
    if !is_locked && (response.hovered() || response.has_focus()) {
        ui.painter().rect_stroke(square, 1.0, Stroke::new(1.5, palette.text), StrokeKind::Outside);
    }
    if response.clicked() {
        push_step(with(&view.plan, unit, fate.next()), commands);
    }
    response.on_hover_ui_at_pointer(|ui| {
        ui.label(egui::RichText::new(format!("Channel {index} {}", fate.words())).font(theme::bold()));
        if let Some(score) = score {
            ui.label(format!("Score {}", text::rough(score)));
        }
        ui.weak(match (is_locked, fate.by_hand) {
            (true, _) => "The group is locked",
            (false, None) => "Score and amount decide. Click: it goes, whatever they say",
            (false, Some(ByHand::Goes)) => "Click: it stays, whatever score and amount say",
            (false, Some(ByHand::Stays)) => "Click: score and amount decide",
        });
    });
}

/// The plan with something else said of a channel.
fn with(plan: &ChannelPlan, unit: Unit, by_hand: Option<ByHand>) -> ChannelPlan {
    let mut plan = plan.clone();
    match by_hand {
        Some(by_hand) => drop(plan.choice.by_hand.insert(unit, by_hand)),
        None => drop(plan.choice.by_hand.remove(&unit)),
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clicks_go_round() {
        let mut fate = Fate { goes: false, by_hand: None };
        let said: Vec<Option<ByHand>> = std::iter::repeat_with(|| {
            fate.by_hand = fate.next();
            fate.by_hand
        })
        .take(4)
        .collect();
        assert_eq!(said, [Some(ByHand::Goes), Some(ByHand::Stays), None, Some(ByHand::Goes)]);
    }
}
