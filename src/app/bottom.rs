//! The bar along the bottom: what chooses, the one slider, amounts, and the status line under it.

use eframe::egui::{self, Align, Layout, Ui, WidgetInfo, vec2};

use crate::engine::Model;
use crate::graph::{Kind, ParameterId};
use crate::prune::{Amount, AmountError, Exempt, Method, PruneError, Recipe, Step};

use super::commands::{Action, Command};
use super::state::{AppState, Tab};
use super::{channels, recipe, text, theme, widgets};

/// Height of the status line.
const STATUS: f32 = 35.0;
/// Height of what is above it.
const CONTROLS: f32 = 94.0;
/// Height of both.
pub(super) const HEIGHT: f32 = STATUS + CONTROLS;
/// Steps of the slider from 0 to 100 %.
const STEPS: f64 = 1000.0;
/// How many emptied parameters the status line names.
const MAX_NAMED: usize = 2;
/// How many lines what hovers over the status line has.
const MAX_LINES: usize = 20;

pub(super) fn show(ui: &mut Ui, state: &AppState, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    // As high inside as a button, so that nothing moves when “Cancel” comes and goes.
    let frame = egui::Frame::new().fill(palette.ground).inner_margin(egui::Margin::symmetric(16, 4));
    egui::Panel::bottom("status").exact_size(STATUS).frame(frame).resizable(false).show(ui, |ui| {
        ui.horizontal_centered(|ui| status_ui(ui, state, commands));
    });
    let frame = egui::Frame::new().fill(palette.panel).inner_margin(egui::Margin::symmetric(16, 12));
    egui::Panel::bottom("controls").exact_size(CONTROLS).frame(frame).resizable(false).show(ui, |ui| {
        let Some(recipe) = &state.recipe else { return };
        if state.kept.tab == Tab::Channels {
            channels::controls_ui(ui, state, commands);
            return;
        }
        ui.spacing_mut().item_spacing.y = 4.0;
        ui.allocate_ui_with_layout(vec2(ui.available_width(), 30.0), Layout::left_to_right(Align::Center), |ui| {
            choice_ui(ui, state, recipe, commands);
        });
        ui.allocate_ui_with_layout(vec2(ui.available_width(), 36.0), Layout::left_to_right(Align::Center), |ui| {
            amount_ui(ui, state, recipe, commands);
        });
    });
}

/// How elements are chosen, and what is done with the choice.
fn choice_ui(ui: &mut Ui, state: &AppState, recipe: &Recipe, commands: &mut Vec<Command>) {
    recipe::show(ui, state, recipe, commands);
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        widgets::action_button(ui, Action::Reset, true, commands);
        ui.add_space(6.0);
        keep_ui(ui, state, commands);
        ui.add_space(6.0);
        let has_biases = state.model.as_ref().is_some_and(|m| m.graph.parameters.iter().any(|p| p.kind == Kind::Bias));
        let why = match state.model.as_deref().and_then(text::folded_note) {
            Some(_) => "Prune biases like weights. They start left out, because in this file they stand for the folded BatchNorm",
            None => "Prune biases like weights",
        };
        if widgets::tick(ui, recipe.biases, has_biases, "Biases").on_hover_text(why).clicked() {
            let recipe = Recipe { biases: !recipe.biases, ..recipe.clone() };
            commands.push(Command::Set(Box::new(recipe), Step::Biases));
        }
    });
}

/// How many go.
fn amount_ui(ui: &mut Ui, state: &AppState, recipe: &Recipe, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    ui.label(egui::RichText::new("Amount").color(palette.weak));
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        fix_ui(ui, state, commands);
        repair_ui(ui, state, commands);
        ui.add_space(10.0);
        let elements = state.view.as_ref().map_or(0, |v| v.figures.scope_elements);
        ui.label(egui::RichText::new(format!("of {}", text::count(elements))).color(palette.weak));
        // Where pattern or masks decide, no amount says anything.
        ui.add_enabled_ui(!recipe.is_decided(), |ui| {
            count_ui(ui, state, recipe, commands);
            percent_ui(ui, state, recipe, commands);
            ui.add_space(8.0);
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| slider_ui(ui, state, recipe, commands));
        });
    });
}

fn slider_ui(ui: &mut Ui, state: &AppState, recipe: &Recipe, commands: &mut Vec<Command>) {
    let mut percent = state.fraction() * 100.0;
    let hint = "Share of the elements in the scope to prune. Arrow keys go by 0.1 %";
    let response = widgets::amount_slider(ui, &mut percent, 100.0, "Amount", hint);
    if response.changed() {
        // Whole thousandths, so that 33.3 % is the number that 0.333 is.
        let amount = Amount::Fraction((percent * STEPS / 100.0).round() / STEPS);
        commands.push(Command::Set(Box::new(Recipe { amount, ..recipe.clone() }), Step::Amount));
    }
    if response.drag_stopped() || response.lost_focus() {
        commands.push(Command::EndDrag);
    }
}

/// A field that is edited as text and read when it is left or Enter is pressed.
fn amount_field(ui: &mut Ui, name: &str, shown: String, edited: Option<&String>, width: f32) -> FieldResult {
    let mut text = edited.cloned().unwrap_or_else(|| shown.clone());
    let field = egui::TextEdit::singleline(&mut text).desired_width(width).align(egui::Align2::RIGHT_CENTER).margin(vec2(8.0, 5.0));
    let response = ui.add(field);
    response.widget_info(|| widgets::labelled(WidgetInfo::text_edit(true, &shown, &text, ""), name));
    let result = if response.lost_focus() {
        let cancelled = ui.input(|i| i.key_pressed(egui::Key::Escape));
        if cancelled || text == shown { FieldResult::Leave } else { FieldResult::Done(text) }
    } else if response.gained_focus() {
        FieldResult::Edit(shown)
    } else if response.changed() {
        FieldResult::Edit(text)
    } else {
        FieldResult::Nothing
    };
    widgets::hint_above(response, &format!("{name}; type and press Enter"));
    result
}

enum FieldResult {
    Nothing,
    Edit(String),
    Leave,
    Done(String),
}

fn percent_ui(ui: &mut Ui, state: &AppState, recipe: &Recipe, commands: &mut Vec<Command>) {
    let shown = text::percent(state.fraction());
    match amount_field(ui, "Amount in percent", shown, state.percent_text.as_ref(), 64.0) {
        FieldResult::Nothing => {}
        FieldResult::Edit(text) => commands.push(Command::PercentText(Some(text))),
        FieldResult::Leave => commands.push(Command::PercentText(None)),
        FieldResult::Done(text) => {
            commands.push(Command::PercentText(None));
            let digits: String = text.chars().filter(|c| !c.is_whitespace() && *c != '%').collect();
            commands.push(typed(&format!("{}%", digits.replace(',', ".")), recipe));
        }
    }
}

fn count_ui(ui: &mut Ui, state: &AppState, recipe: &Recipe, commands: &mut Vec<Command>) {
    let pruned = state.view.as_ref().and_then(|v| v.figures.chosen().ok()).map_or(0, |o| o.pruned);
    let name = if recipe.method == Method::LayerWise { "Elements to prune of each parameter" } else { "Elements to prune" };
    match amount_field(ui, name, text::count(pruned), state.count_text.as_ref(), 84.0) {
        FieldResult::Nothing => {}
        FieldResult::Edit(text) => commands.push(Command::CountText(Some(text))),
        FieldResult::Leave => commands.push(Command::CountText(None)),
        FieldResult::Done(text) => {
            commands.push(Command::CountText(None));
            let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
            match digits.parse::<u64>() {
                Ok(_) => commands.push(typed(&digits, recipe)),
                Err(_) => {
                    commands.push(Command::Complain(format!("“{text}” is no number of elements; write a whole number, such as 1000")));
                }
            }
        }
    }
}

fn typed(text: &str, recipe: &Recipe) -> Command {
    match text.parse::<Amount>() {
        Ok(amount) => Command::Set(Box::new(Recipe { amount, ..recipe.clone() }), Step::Amount),
        Err(e) => Command::Complain(e.to_string()),
    }
}

/// The one loud button.
fn fix_ui(ui: &mut Ui, state: &AppState, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    let entry = Action::Fix.entry();
    let is_enabled = state.view.as_ref().is_some_and(|v| v.figures.chosen().is_ok_and(|o| o.masked.iter().any(|&n| n > 0)));
    let text = egui::RichText::new(entry.label).font(theme::bold()).color(if is_enabled { palette.on_accent } else { palette.weak });
    let button = egui::Button::new(text)
        .fill(if is_enabled { palette.applied } else { palette.raised })
        .corner_radius(6)
        .min_size(vec2(136.0, 34.0));
    if widgets::hint(ui.add_enabled(is_enabled, button), Action::Fix).clicked() {
        commands.push(Command::Do(Action::Fix));
    }
}

/// Beside it, what gives back what pruning broke.
fn repair_ui(ui: &mut Ui, state: &AppState, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    let entry = Action::Repair.entry();
    let is_enabled = state.can_repair();
    let text = egui::RichText::new(entry.label).font(theme::bold()).color(if is_enabled { palette.text } else { palette.weak });
    let button = egui::Button::new(text).fill(palette.raised).corner_radius(6).min_size(vec2(84.0, 34.0));
    if widgets::hint(ui.add_enabled(is_enabled, button), Action::Repair).clicked() {
        commands.push(Command::Do(Action::Repair));
    }
}

/// Keeps the masks and prunes further; the short form of its name fits the bar.
fn keep_ui(ui: &mut Ui, state: &AppState, commands: &mut Vec<Command>) {
    let is_enabled = state.view.as_ref().is_some_and(|v| v.figures.chosen().is_ok_and(|o| o.pruned > 0));
    let response = ui.add_enabled(is_enabled, egui::Button::new("Keep masks").frame(false));
    response.widget_info(|| WidgetInfo::labeled(egui::Role::Button, is_enabled, Action::Apply.entry().label));
    if widgets::hint(response, Action::Apply).clicked() {
        commands.push(Command::Do(Action::Apply));
    }
}

fn status_ui(ui: &mut Ui, state: &AppState, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        if let Some(progress) = &state.work() {
            widgets::action_button(ui, Action::Cancel, true, commands);
            ui.add(egui::ProgressBar::new(progress.done).desired_width(140.0).desired_height(6.0).fill(palette.weak));
            // From the right: the sentence on the left has what a long name leaves of the room.
            let room = ui.available_width() * 0.45;
            ui.allocate_ui_with_layout(vec2(room, 20.0), Layout::right_to_left(Align::Center), |ui| {
                ui.add(egui::Label::new(egui::RichText::new(&progress.what).color(palette.weak)).truncate());
            });
        }
        ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
            ui.spacing_mut().item_spacing.x = 0.0;
            match state.kept.tab {
                Tab::Channels => channels::sentence_ui(ui, state),
                _ => sentence_ui(ui, state),
            }
        });
    });
}

fn sentence_ui(ui: &mut Ui, state: &AppState) {
    let palette = theme::palette(ui);
    let Some((model, figures)) = state.shown() else {
        let text = if state.work().is_some() { "" } else { "Open a model, or drop one on this window" };
        ui.label(egui::RichText::new(text).color(palette.weak));
        return;
    };
    let outcome = match figures.chosen() {
        Ok(outcome) => outcome,
        Err(e) => {
            let is_calm = matches!(e, PruneError::EmptyScope | PruneError::Amount(AmountError::Reach { .. }));
            let color = if is_calm { palette.weak } else { palette.warning };
            ui.add(egui::Label::new(egui::RichText::new(text::sentence(&e.to_string())).color(color)).truncate());
            return;
        }
    };
    let share = |part: u64, whole: u64| text::percent(if whole == 0 { 0.0 } else { part as f64 / whole as f64 });
    let mut parts = vec![
        format!("{} of {} pruned", text::count(outcome.pruned), text::count(figures.scope_elements)),
        format!("{} of the scope is zero", share(outcome.scope_zeros, figures.scope_elements)),
        format!("{} of the model", share(outcome.model_zeros, figures.model_elements)),
    ];
    if let Some(cut) = outcome.cut {
        let what = if outcome.method == Method::Global && figures.recipe.is_by_magnitude() { "|w| ≤" } else { "a score of" };
        parts.push(format!("cut at {what} {}", text::number(cut)));
    }
    if outcome.pruned > 0 {
        parts.push(match outcome.ties {
            0 | 1 => "no ties".to_owned(),
            n => format!("{} elements tie at the cut", text::count(n)),
        });
    }
    let view = state.view.as_ref();
    let recipe = &figures.recipe;
    if recipe.is_decided() {
        let what = if recipe.score.is_mask() { "The masks decide".to_owned() } else { format!("{} decides", recipe.pattern) };
        parts.insert(0, format!("{what} how many"));
    }
    if view.is_some_and(|v| v.is_applied) {
        parts.push("on top of kept masks".to_owned());
    }
    if view.is_some_and(|v| v.is_fixed) {
        let is_repaired = view.is_some_and(|v| v.state.last_repair().is_some());
        parts.push(if is_repaired { "weights fixed and repaired" } else { "weights fixed" }.to_owned());
    }
    let line = parts.join(" · ");
    let names: Vec<_> = outcome.emptied.iter().map(|&id| text::name(&model.graph.parameter(id).name)).collect();
    ui.add(egui::Label::new(egui::RichText::new(line).color(palette.weak)).truncate());
    left_out_ui(ui, model, recipe);
    if !names.is_empty() {
        let shown = match names.len() {
            1 => format!("{} is emptied", names[0]),
            n if n <= MAX_NAMED => format!("{} are emptied", names.join(", ")),
            n => format!("{} and {} more are emptied", names[..MAX_NAMED].join(", "), n - MAX_NAMED),
        };
        ui.label(egui::RichText::new(" · ").color(palette.weak));
        let label = egui::Label::new(egui::RichText::new(shown).color(palette.warning)).truncate();
        ui.add(label).on_hover_text(format!("Every element of these is pruned:\n{}", names.join("\n")));
    }
}

/// How many parameters score or pattern leave as they are, and on hover which and why.
fn left_out_ui(ui: &mut Ui, model: &Model, recipe: &Recipe) {
    let left_out = recipe.left_out(&model.graph);
    if left_out.is_empty() {
        return;
    }
    let weak = theme::palette(ui).weak;
    let line = |(id, why): &(ParameterId, Exempt)| format!("{}: {why}", text::name(&model.graph.parameter(*id).name));
    let mut lines: Vec<String> = left_out.iter().take(MAX_LINES).map(line).collect();
    if left_out.len() > MAX_LINES {
        lines.push(format!("and {} more", left_out.len() - MAX_LINES));
    }
    let shown = if left_out.len() == 1 {
        "1 parameter left as it is".to_owned()
    } else {
        format!("{} parameters left as they are", left_out.len())
    };
    ui.label(egui::RichText::new(" · ").color(weak));
    ui.label(egui::RichText::new(shown).color(weak)).on_hover_text(lines.join("\n"));
}
