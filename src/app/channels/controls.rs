//! What decides which channels go: the lines along the bottom.

use eframe::egui::{self, Align, Layout, Ui, WidgetInfo, vec2};

use crate::channels::{ChannelScore, Of, Spread};
use crate::engine::ChannelPlan;
use crate::measurer::RepairChoice;

use super::super::commands::{Action, Command};
use super::super::recipe::{ListChoice, ListPicker, picker};
use super::super::state::AppState;
use super::super::{repair, text, theme, widgets};
use super::{MOST, kept, of_name};

/// Steps of the slider in a whole.
const STEPS: f64 = 1000.0;
/// The largest number of channels that every group can be told to keep.
const MOST_KEPT: usize = 4096;

/// What keeping multiples is good for: measured at batch 1 and 224x224 on two cores.
const WHY_MULTIPLES: &str = "Fewer multiply-accumulates are not less time: most runtimes take channels in blocks of 8 or 16, and with counts as \
     they come are often slower than with all of them.";

pub(in super::super) fn controls_ui(ui: &mut Ui, state: &AppState, commands: &mut Vec<Command>) {
    let plan = &state.channels.plan;
    ui.spacing_mut().item_spacing.y = 4.0;
    let is_known = state.channels.channels().is_some_and(|channels| !channels.groups.is_empty());
    ui.add_enabled_ui(is_known, |ui| {
        ui.allocate_ui_with_layout(vec2(ui.available_width(), 30.0), Layout::left_to_right(Align::Center), |ui| {
            rules_ui(ui, plan, commands);
        });
        ui.allocate_ui_with_layout(vec2(ui.available_width(), 36.0), Layout::left_to_right(Align::Center), |ui| {
            amount_ui(ui, state, plan, commands);
        });
    });
}

/// Changes the plan, as a step of its own.
fn set(commands: &mut Vec<Command>, plan: &ChannelPlan, change: impl FnOnce(&mut ChannelPlan)) {
    let mut plan = plan.clone();
    change(&mut plan);
    super::push_step(plan, commands);
}

/// Changes the plan where a field or a slider is in hand: the step ends with [`end_drag`].
fn drag(commands: &mut Vec<Command>, plan: &ChannelPlan, change: impl FnOnce(&mut ChannelPlan)) {
    let mut plan = plan.clone();
    change(&mut plan);
    commands.push(Command::Plan(Box::new(plan)));
}

/// Score, spread, multiples and the least number.
fn rules_ui(ui: &mut Ui, plan: &ChannelPlan, commands: &mut Vec<Command>) {
    let weak = theme::palette(ui).weak;
    let label = |ui: &mut Ui, text: &str| drop(ui.label(egui::RichText::new(text).color(weak)));
    label(ui, "Score");
    let seed = if let ChannelScore::Random(seed) = plan.score { seed } else { 0 };
    let choices = [
        (ChannelScore::L2, "L2", "Sums of the squares of a channel's slices, relative to the mean of their group, so that groups compare"),
        (ChannelScore::L1, "L1", "Sums of the magnitudes of a channel's slices, relative to the mean of their group"),
        (
            ChannelScore::Scale,
            "BatchNorm",
            "Magnitudes of the scales of batch normalisation alone (Liu et al. 2017); groups without any by L2",
        ),
        (ChannelScore::Random(seed), "Random", "Chance: what any other score has to beat"),
    ]
    .map(|(value, name, help)| ListChoice { value, name, help });
    let tooltip = "What ranks the channels: the smallest go first";
    let score = ListPicker { name: "Score of channels", tooltip, chosen: plan.score, swatch: None, shown: None, width: 112.0 };
    if let Some(score) = picker(ui, &score, &choices).filter(|score| *score != plan.score) {
        set(commands, plan, |plan| plan.score = score);
    }
    if let ChannelScore::Random(seed) = plan.score {
        let mut edited = seed;
        let field = ui.add(egui::DragValue::new(&mut edited).speed(0.1));
        field.widget_info(|| widgets::labelled(WidgetInfo::drag_value(true, seed as f64), "Seed"));
        let field = widgets::hint_above(field, "Seed: another number is another draw");
        if field.changed() && edited != seed {
            drag(commands, plan, |plan| plan.score = ChannelScore::Random(edited));
        }
        super::end_drag(super::is_let_go(&field), commands);
    }
    ui.add_space(8.0);
    let names = [("Global", "One ranking over all groups: some lose more than others"), ("Each", "The same share of each group")];
    let spreads = [Spread::Global, Spread::Each];
    let now = spreads.iter().position(|spread| *spread == plan.choice.spread).unwrap_or(0);
    if let Some(clicked) = widgets::segmented(ui, names, now) {
        set(commands, plan, |plan| plan.choice.spread = spreads[clicked]);
    }
    ui.add_space(8.0);
    label(ui, "Multiples of");
    let choices = [
        (
            1,
            "1",
            "Counts as they come: nearest to the amount, and in most runtimes slower than the opened network; under the chart stands more",
        ),
        (4, "4", "A group that loses channels keeps a multiple of 4"),
        (8, "8", "A group that loses channels keeps a multiple of 8: what kernels of most runtimes work on at once"),
        (16, "16", "A group that loses channels keeps a multiple of 16: coarser, and with wide vectors faster still"),
    ]
    .map(|(value, name, help)| ListChoice { value, name, help });
    let granularity = plan.choice.granularity;
    let chosen = granularity.multiple;
    let multiples =
        ListPicker { name: "Multiples of", tooltip: WHY_MULTIPLES, chosen, swatch: None, shown: Some(chosen.to_string()), width: 62.0 };
    if let Some(multiple) = picker(ui, &multiples, &choices).filter(|multiple| *multiple != chosen) {
        set(commands, plan, |plan| plan.choice.granularity.multiple = multiple);
    }
    ui.add_space(8.0);
    label(ui, "At least");
    let mut least = granularity.least;
    let field = ui.add(egui::DragValue::new(&mut least).range(1..=MOST_KEPT).speed(0.2));
    field.widget_info(|| widgets::labelled(WidgetInfo::drag_value(true, least as f64), "Least channels of a group"));
    let field = widgets::hint_above(field, "The least number of channels that a group keeps");
    if field.changed() && least != granularity.least {
        drag(commands, plan, |plan| plan.choice.granularity.least = least);
    }
    super::end_drag(super::is_let_go(&field), commands);
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        let is_changed = *plan != ChannelPlan::default();
        let reset = ui.add_enabled(is_changed, egui::Button::new("Reset").frame(false));
        if reset.on_hover_text("Nothing removed, no locks, and the settings that one begins with").clicked() {
            super::push_step(ChannelPlan::default(), commands);
        }
    });
}

/// How many go, and the loud button.
fn amount_ui(ui: &mut Ui, state: &AppState, plan: &ChannelPlan, commands: &mut Vec<Command>) {
    let weak = theme::palette(ui).weak;
    ui.label(egui::RichText::new("Remove").color(weak));
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        remove_ui(ui, state, commands);
        ui.add_space(6.0);
        repair_ui(ui, state, commands);
        ui.add_space(6.0);
        let choices = [
            (Of::Macs, "Mult.-accumulates", "Of the multiply-accumulates of one image: what a pass costs in arithmetic"),
            (Of::Parameters, "Parameters", "Of the elements of all parameters: what the file and the memory hold"),
            (Of::Channels, "Channels", "Of the channels of all groups"),
        ]
        .map(|(value, name, help)| ListChoice { value, name, help });
        let amount = plan.choice.amount;
        let of = ListPicker {
            name: "Amount of",
            tooltip: "What the amount is a share of",
            chosen: amount.of,
            swatch: None,
            shown: None,
            width: 150.0,
        };
        if let Some(of) = picker(ui, &of, &choices).filter(|of| *of != amount.of) {
            set(commands, plan, |plan| plan.choice.amount.of = of);
        }
        ui.label(egui::RichText::new("of").color(weak));
        let mut percent = amount.share * 100.0;
        let field = egui::DragValue::new(&mut percent).range(0.0..=MOST * 100.0).speed(0.2).fixed_decimals(1).suffix("\u{2009}%");
        let field = ui.add_sized(vec2(72.0, 28.0), field);
        field.widget_info(|| WidgetInfo::labeled(egui::Role::SpinButton, true, "Amount of channels in percent"));
        let mut is_let_go = super::is_let_go(&widgets::hint_above(field, "Click to type, or drag"));
        ui.add_space(8.0);
        ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
            let hint = format!("Share of the {} to remove. Arrow keys go by 0.1 %", of_name(amount.of));
            let slider = widgets::amount_slider(ui, &mut percent, MOST * 100.0, "Amount of channels", &hint);
            is_let_go |= super::is_let_go(&slider);
        });
        // Whole thousandths, so that 33.3 % is the number that 0.333 is.
        let share = (percent * STEPS / 100.0).round() / STEPS;
        if (percent / 100.0 - amount.share).abs() > f64::EPSILON && share.to_bits() != amount.share.to_bits() {
            drag(commands, plan, |plan| plan.choice.amount.share = share);
        }
        super::end_drag(is_let_go, commands);
    });
}

/// Whether what the channels are removed from is repaired first, from right to left.
fn repair_ui(ui: &mut Ui, state: &AppState, commands: &mut Vec<Command>) {
    let costs = &state.costs;
    let (is_on, can) = (costs.repairs_before_removal(), costs.shown.is_some());
    let choice = &costs.repair.choice;
    let thorough = widgets::tick(ui, choice.is_thorough && is_on, is_on, "Thorough");
    if widgets::hint_above(thorough, repair::WHAT_IS_THOROUGH).clicked() {
        commands.push(Command::ChooseRepair(RepairChoice { is_thorough: !choice.is_thorough, ..choice.clone() }));
    }
    let tick = widgets::tick(ui, is_on, can, "Repair");
    let hint = match &costs.shown {
        None => "Choose images in the tab “Effect” first: some of them calibrate a repair, and the others judge it".to_owned(),
        Some(shown) if shown.path.is_none() => "Repair the network in which the channels are zero, and then remove them. Noise \
             calibrates, and noise of another kind judges: images repair more"
            .to_owned(),
        Some(_) => format!("Repair the network in which the channels are zero, and then remove them. {}", repair::uses(costs)),
    };
    if widgets::hint_above(tick, &hint).clicked() {
        commands.push(Command::RepairBeforeRemoval(!is_on));
    }
}

fn remove_ui(ui: &mut Ui, state: &AppState, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    let is_enabled = state.removable_channels().is_some();
    let label = Action::RemoveChannels.entry().label;
    let text = egui::RichText::new(label).font(theme::bold()).color(if is_enabled { palette.on_accent } else { palette.weak });
    let fill = if is_enabled { palette.applied } else { palette.raised };
    let button = egui::Button::new(text).fill(fill).corner_radius(6).min_size(vec2(136.0, 34.0));
    if widgets::hint(ui.add_enabled(is_enabled, button), Action::RemoveChannels).clicked() {
        commands.push(Command::Do(Action::RemoveChannels));
    }
}

/// What the plan comes to, for the status line.
pub(in super::super) fn sentence_ui(ui: &mut Ui, state: &AppState) {
    let palette = theme::palette(ui);
    let view = &state.channels;
    let Some(channels) = view.channels() else { return };
    let staying: usize = channels.frozen.iter().filter(|frozen| !frozen.is_answer).map(|frozen| frozen.channels).sum();
    let mut parts = vec![match channels.groups.len() {
        0 => "No channel can be removed".to_owned(),
        1 => "1 group of channels".to_owned(),
        n => format!("{n} groups of channels"),
    }];
    if let Some(chosen) = view.settled() {
        let touched = channels.groups.iter().filter(|group| kept(group, &chosen.removed) < group.units.len()).count();
        let gone = chosen.removed.count() as u64;
        if gone > 0 {
            parts.push(format!("{} of {} channels go, from {touched}", text::count(gone), text::count(channels.units() as u64)));
            let of = chosen.plan.choice.amount.of;
            parts.push(format!("{} of the {}", text::percent(chosen.gone()), of_name(of)));
        }
    }
    if let Some(removal) = state.view.as_ref().and_then(|view| view.removal) {
        let gone = removal.after.gone(&removal.before, Of::Macs);
        let is_repaired = state.view.as_ref().and_then(|view| view.repaired.as_ref()).is_some_and(|judged| judged.is_better());
        let how = if is_repaired { ", and what is left is repaired" } else { "" };
        parts.push(format!("{} of the opened network's multiply-accumulates are removed{how}", text::percent(gone)));
    }
    let locked = (0..channels.groups.len()).filter(|&group| view.is_locked(group)).count();
    if locked > 0 {
        parts.push(format!("{locked} locked"));
    }
    let by_hand = view.plan.choice.by_hand.len();
    if by_hand > 0 {
        parts.push(format!("{by_hand} set by hand"));
    }
    if let Some(chosen) = view.settled() {
        let granularity = chosen.plan.choice.granularity;
        match channels.off_multiple(&chosen.removed, granularity).len() {
            0 => {}
            1 => parts.push(format!("1 group keeps no multiple of {}", granularity.multiple)),
            n => parts.push(format!("{n} groups keep no multiple of {}", granularity.multiple)),
        }
    }
    if staying > 0 {
        parts.push(format!("{} channels stay, see below the chart", text::count(staying as u64)));
    }
    let pruned = state.view.as_ref().and_then(|view| view.figures.chosen().ok()).map_or(0, |outcome| outcome.pruned);
    if pruned > 0 {
        parts.push(format!("{} pruned elements stay zero", text::count(pruned)));
    }
    ui.add(egui::Label::new(egui::RichText::new(parts.join(" · ")).color(palette.weak)).truncate());
}

/// Why multiples, and whether the present one is fit.
pub(super) fn remark(plan: &ChannelPlan) -> (String, bool) {
    match plan.choice.granularity.multiple {
        0..8 => (WHY_MULTIPLES.to_owned(), true),
        multiple => (format!("Groups that lose channels keep multiples of {multiple}. {WHY_MULTIPLES}"), false),
    }
}
