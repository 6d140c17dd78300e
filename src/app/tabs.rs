//! The middle of the window: its tabs, and the view that is chosen.

use eframe::egui::{self, Rect, Stroke, Ui, pos2, vec2};

use super::commands::{Action, Command};
use super::state::{AppState, Tab};
use super::{channels, compare, effect, size, sparsity, table, theme, weights, widgets};

/// Draws the tabs and the chosen view. Returns where, for pictures.
pub(super) fn show(ui: &mut Ui, state: &AppState, commands: &mut Vec<Command>) -> Rect {
    let palette = theme::palette(ui);
    let frame = egui::Frame::new().fill(palette.ground);
    let response = egui::CentralPanel::default().frame(frame).show(ui, |ui| {
        tabs_ui(ui, state, commands);
        egui::Frame::new().inner_margin(egui::Margin { left: 22, right: 22, top: 12, bottom: 10 }).show(ui, |ui| {
            let Some((model, figures)) = state.shown() else {
                empty_ui(ui, state, commands);
                return;
            };
            match state.kept.tab {
                Tab::Sparsity => sparsity::show(ui, state, model, figures, commands),
                Tab::Weights => weights::show(ui, state, model, figures, commands),
                Tab::Compare => compare::show(ui, state, model, figures, commands),
                Tab::Table => table::show(ui, state, model, figures, commands),
                Tab::Effect => effect::show(ui, state, model, figures, commands),
                Tab::Size => size::show(ui, state, model, figures, commands),
                Tab::Channels => channels::show(ui, state, model, figures, commands),
            }
        });
    });
    response.response.rect
}

fn tabs_ui(ui: &mut Ui, state: &AppState, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    let top = ui.cursor().top();
    ui.horizontal(|ui| {
        ui.add_space(14.0);
        ui.spacing_mut().item_spacing.x = GAP;
        ui.spacing_mut().button_padding.x = 0.0;
        for (tab, width) in Tab::ALL.into_iter().zip(widths(ui)) {
            let is_chosen = state.kept.tab == tab;
            let color = if is_chosen { palette.text } else { palette.weak };
            let text = egui::RichText::new(tab.name()).color(color).font(if is_chosen { theme::bold() } else { theme::normal() });
            let button = ui.add(egui::Button::new(text).frame(false).min_size(vec2(width, 42.0)));
            button.widget_info(|| egui::WidgetInfo::selected(egui::Role::Tab, true, is_chosen, tab.name()));
            if is_chosen {
                let line = Rect::from_min_max(pos2(button.rect.left() + 8.0, top + 40.0), pos2(button.rect.right() - 8.0, top + 42.0));
                ui.painter().rect_filled(line, 0.0, palette.text);
            }
            if button.on_hover_text(tab.tooltip()).clicked() {
                commands.push(Command::Show(tab));
            }
        }
    });
    let bottom = top + 42.0;
    ui.painter().hline(ui.max_rect().x_range(), bottom, Stroke::new(1.0, palette.line));
}

/// Between two tabs.
const GAP: f32 = 4.0;

/// Widths of all tabs: ample, or as they fit beside one another in a narrow window.
fn widths(ui: &Ui) -> [f32; Tab::ALL.len()] {
    let names = Tab::ALL.map(|tab| ui.painter().layout_no_wrap(tab.name().to_owned(), theme::bold(), egui::Color32::WHITE).size().x);
    let ample = names.map(|name| (name + 16.0).max(76.0));
    let count = names.len() as f32;
    let room = ui.available_width() - GAP * count;
    if ample.iter().sum::<f32>() <= room {
        return ample;
    }
    let extra = ((room - names.iter().sum::<f32>()) / count).max(0.0);
    names.map(|name| name + extra)
}

fn empty_ui(ui: &mut Ui, state: &AppState, commands: &mut Vec<Command>) {
    if state.progress.is_some() || state.model.is_some() {
        return;
    }
    ui.vertical_centered(|ui| {
        ui.add_space(ui.available_height() * 0.35);
        ui.label(egui::RichText::new("Open an ONNX model, or drop one here").font(theme::bold()));
        ui.add_space(8.0);
        widgets::action_button(ui, Action::Open, true, commands);
        widgets::action_button(ui, Action::OpenDemo, true, commands);
    });
}
