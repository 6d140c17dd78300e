//! The bar along the top: open, save, undo; what is open; the device.

use eframe::egui::{self, Align, Layout, Rect, Sense, Ui, pos2, vec2};

use crate::prune::Step;

use super::commands::{Action, Command};
use super::state::AppState;
use super::{text, theme, widgets};

/// Width of undo and of redo.
const STEP_WIDTH: f32 = 134.0;

pub(super) fn show(ui: &mut Ui, state: &AppState, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    let frame = egui::Frame::new().fill(palette.panel).inner_margin(egui::Margin::symmetric(10, 8));
    egui::Panel::top("top").exact_size(48.0).frame(frame).resizable(false).show(ui, |ui| {
        ui.horizontal_centered(|ui| {
            files_ui(ui, state, commands);
            ui.add_space(6.0);
            let (undoable, redoable) = state.view.as_ref().map_or((None, None), |v| (v.undoable, v.redoable));
            step_ui(ui, Action::Undo, undoable, commands);
            step_ui(ui, Action::Redo, redoable, commands);
            ui.add_space(10.0);
            // From the right, so that the middle gets what is left.
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                right_ui(ui, state, commands);
                ui.with_layout(Layout::left_to_right(Align::Center), |ui| file_ui(ui, state));
            });
        });
    });
}

/// Undo or redo, with the step that it is about. As wide as the longest of them, so that nothing beside it moves.
fn step_ui(ui: &mut Ui, action: Action, step: Option<Step>, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    let label = action.entry().label;
    let name = step.map_or_else(|| label.to_owned(), |step| format!("{label} {}", step.name()));
    let sense = if step.is_some() { Sense::click() } else { Sense::hover() };
    let (rect, response) = ui.allocate_exact_size(vec2(STEP_WIDTH, 28.0), sense);
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, step.is_some(), &name));
    if (response.hovered() && step.is_some()) || response.has_focus() {
        ui.painter().rect_filled(rect, 5.0, palette.raised);
    }
    let color = if step.is_some() { palette.text } else { palette.weak.gamma_multiply(0.5) };
    let icon = Rect::from_center_size(pos2(rect.left() + 14.0, rect.center().y), vec2(14.0, 14.0));
    widgets::paint_turn(ui.painter(), icon, color, action == Action::Undo);
    let room = Rect::from_min_max(pos2(rect.left() + 26.0, rect.top()), pos2(rect.right() - 2.0, rect.bottom()));
    widgets::paint_clipped(ui, room, &name, theme::normal(), color);
    if widgets::hint(response, action).clicked() {
        commands.push(Command::Do(action));
    }
}

fn files_ui(ui: &mut Ui, state: &AppState, commands: &mut Vec<Command>) {
    ui.add_space(2.0);
    widgets::action_button(ui, Action::Open, true, commands);
    ui.add_space(6.0);
    menu(ui, "Recent", |ui| {
        ui.set_min_width(280.0);
        for path in &state.kept.recent {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if ui.button(text::name(&name)).on_hover_text(text::path(path)).clicked() {
                commands.push(Command::OpenPath(path.clone()));
                ui.close();
            }
        }
        if state.kept.recent.is_empty() {
            ui.weak("No files yet");
        }
        ui.separator();
        menu_item(ui, Action::OpenDemo, true, commands);
        ui.separator();
        let own = Action::ToggleDialogs.entry();
        if widgets::tick(ui, state.kept.own_dialogs, true, own.label).on_hover_text(own.tooltip).clicked() {
            commands.push(Command::Do(Action::ToggleDialogs));
        }
    })
    .on_hover_text("Files opened before");
    let has_model = state.model.is_some();
    ui.add_enabled_ui(has_model, |ui| {
        menu(ui, "Save as…", |ui| {
            ui.set_min_width(240.0);
            for action in [Action::SaveOnnx, Action::SaveSafetensors, Action::SaveUnfixed, Action::SaveBurnpack, Action::SaveRust] {
                menu_item(ui, action, has_model, commands);
            }
            ui.separator();
            for action in [Action::SaveTable, Action::CopyTable, Action::SaveChart] {
                menu_item(ui, action, has_model, commands);
            }
        })
        .on_hover_text("Save the model as pruned now, the table, or the chart");
        menu(ui, "Recipe", |ui| {
            ui.set_min_width(200.0);
            for action in [Action::OpenRecipe, Action::SaveRecipe] {
                menu_item(ui, action, has_model, commands);
            }
        })
        .on_hover_text("Everything that decides the masks, in a file");
    });
}

/// A frameless button with a small triangle, which opens a menu.
fn menu(ui: &mut Ui, name: &str, content: impl FnOnce(&mut Ui)) -> egui::Response {
    let button = egui::Button::new(format!("{name}     ")).frame(false);
    let response = egui::containers::menu::MenuButton::from_button(button).ui(ui, content).0;
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, name));
    widgets::paint_down(ui.painter(), response.rect.right_center() + vec2(-12.0, 1.0), theme::palette(ui).weak);
    response
}

fn menu_item(ui: &mut Ui, action: Action, is_enabled: bool, commands: &mut Vec<Command>) {
    let entry = action.entry();
    let mut button = egui::Button::new(entry.label);
    if let Some(shortcut) = entry.shortcut {
        button = button.shortcut_text(ui.ctx().format_shortcut(&shortcut));
    }
    let response = ui.add_enabled(is_enabled, button);
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, is_enabled, entry.label));
    if response.on_hover_text(entry.tooltip).clicked() {
        commands.push(Command::Do(action));
        ui.close();
    }
}

fn file_ui(ui: &mut Ui, state: &AppState) {
    let palette = theme::palette(ui);
    let Some(model) = &state.model else { return };
    let name = model.file.path.file_name().unwrap_or_default().to_string_lossy();
    let mark = if state.is_unsaved() { "• " } else { "" };
    let label = egui::Label::new(egui::RichText::new(format!("{mark}{}", text::name(&name))).font(theme::bold())).truncate();
    ui.add(label).on_hover_text(text::path(&model.file.path));
    let line = egui::Label::new(egui::RichText::new(text::file_line(model)).color(palette.weak)).truncate();
    let producer = if model.file.producer.is_empty() { "unknown exporter" } else { &*text::name(&model.file.producer) };
    let lines = std::iter::once(format!("Exported by {producer}")).chain(model.notes());
    let hover = lines.collect::<Vec<_>>().join("\n\n");
    ui.add(line).on_hover_text(hover);
}

fn right_ui(ui: &mut Ui, state: &AppState, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    let help = egui::Button::new("?").frame(false).min_size(vec2(26.0, 26.0));
    let help = ui.add(help);
    help.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, "Help"));
    if widgets::hint(help, Action::Help).clicked() {
        commands.push(Command::Do(Action::Help));
    }
    if widgets::icon_button(ui, Action::ToggleTheme, true, widgets::paint_theme) {
        commands.push(Command::Do(Action::ToggleTheme));
    }
    let (name, color, hover) = match &state.device {
        Some(device) if device.is_gpu => (device.name.as_str(), palette.good, "Masks are made on this GPU"),
        Some(device) => (device.name.as_str(), palette.weak, "Masks are made on the CPU; start with --device gpu to use an adapter"),
        None => ("…", palette.line, "The device is being started"),
    };
    egui::Frame::new().fill(palette.raised).corner_radius(11).inner_margin(egui::Margin::symmetric(9, 3)).show(ui, |ui| {
        ui.spacing_mut().item_spacing.x = 6.0;
        let note = state.device.as_ref().and_then(|device| device.note.as_deref());
        let hover =
            note.map_or_else(|| hover.to_owned(), |note| format!("{hover}.\nThe GPU that is there is not used: {}", text::message(note)));
        ui.label(egui::RichText::new(name)).on_hover_text(hover);
        let (dot, _) = ui.allocate_exact_size(vec2(8.0, 8.0), Sense::hover());
        ui.painter().circle_filled(dot.center(), 4.0, color);
    });
}
