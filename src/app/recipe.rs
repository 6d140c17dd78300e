//! The line of the bottom bar that says how elements are chosen: the applied method, and the one that it is compared with.
//!
//! What else decides which elements go, and is chosen from a list with its meaning, is a [`picker`] in this line, too.

use eframe::egui::{self, Rect, Role, Sense, Ui, WidgetInfo, pos2, vec2};

use crate::prune::{Method, Recipe, Step};

use super::commands::{Action, Command};
use super::pair::Side;
use super::state::AppState;
use super::{chart, text, theme, widgets};

/// Width of a picker, whatever is chosen: nothing beside it moves.
const PICKER: f32 = 122.0;
/// Width of its list.
const LIST: f32 = 640.0;

pub(super) fn show(ui: &mut Ui, state: &AppState, recipe: &Recipe, commands: &mut Vec<Command>) {
    let weak = theme::palette(ui).weak;
    ui.label(egui::RichText::new("Method").color(weak));
    if let Some(method) = method_picker(ui, Side::Applied, recipe.method) {
        commands.push(Command::Set(Box::new(Recipe { method, ..recipe.clone() }), Step::Method));
    }
    ui.label(egui::RichText::new("beside").color(weak));
    if let Some(method) = state.kept.beside.and_then(|beside| method_picker(ui, Side::Beside, beside)) {
        commands.push(Command::Compare(method));
    }
    if widgets::icon_button(ui, Action::SwapMethods, true, widgets::paint_swap) {
        commands.push(Command::Do(Action::SwapMethods));
    }
}

fn method_picker(ui: &mut Ui, side: Side, chosen: Method) -> Option<Method> {
    let (name, tooltip) = match side {
        Side::Applied => ("Applied method", "What chooses the elements that go; solid in every chart"),
        Side::Beside => ("Method beside", "What the applied method is compared with, at the same amount; a line in every chart"),
    };
    let entries = Method::ALL.map(|method| Entry { value: method, name: text::method(method), help: method.help() });
    picker(ui, &Picker { name, tooltip, chosen, swatch: Some(side) }, &entries)
}

/// What a picker is called, and what it shows while it is closed.
struct Picker<T> {
    name: &'static str,
    tooltip: &'static str,
    chosen: T,
    /// The colour of what is chosen, where it has one.
    swatch: Option<Side>,
}

/// One of a picker's list.
struct Entry<T> {
    value: T,
    name: &'static str,
    /// What it does and when it is good.
    help: &'static str,
}

/// A button that shows what is chosen and opens a list, in which every entry says what it does. Returns what was clicked.
fn picker<T: Copy + PartialEq>(ui: &mut Ui, picker: &Picker<T>, entries: &[Entry<T>]) -> Option<T> {
    let palette = theme::palette(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(PICKER, 28.0), Sense::click());
    let shown = entries.iter().find(|entry| entry.value == picker.chosen).map_or("", |entry| entry.name);
    response.widget_info(|| {
        let mut info = WidgetInfo::labeled(Role::ComboBox, true, picker.name);
        info.current_text_value = Some(shown.to_owned());
        info
    });
    let fill = if response.hovered() || response.has_focus() { palette.line } else { palette.raised };
    ui.painter().rect_filled(rect, 5.0, fill);
    let mut left = rect.left() + 10.0;
    if let Some(side) = picker.swatch {
        chart::paint_swatch(ui, Rect::from_center_size(pos2(left + 5.0, rect.center().y), vec2(10.0, 10.0)), side);
        left += 18.0;
    }
    let room = Rect::from_min_max(pos2(left, rect.top()), pos2(rect.right() - 20.0, rect.bottom()));
    widgets::paint_clipped(ui, room, shown, theme::bold(), palette.text);
    widgets::paint_down(ui.painter(), pos2(rect.right() - 12.0, rect.center().y), palette.weak);
    let response = widgets::hint_above(response, picker.tooltip);
    let mut clicked = None;
    let list = egui::Popup::menu(&response).align(egui::RectAlign::TOP_START).width(LIST).gap(6.0);
    list.show(|ui| {
        ui.spacing_mut().item_spacing.y = 0.0;
        for entry in entries {
            if entry_ui(ui, entry, entry.value == picker.chosen).clicked() {
                clicked = Some(entry.value);
                ui.close();
            }
        }
    });
    clicked.filter(|value| *value != picker.chosen)
}

/// A name with what it means under it.
fn entry_ui<T>(ui: &mut Ui, entry: &Entry<T>, is_chosen: bool) -> egui::Response {
    let palette = theme::palette(ui);
    let name = ui.painter().layout_no_wrap(entry.name.to_owned(), theme::bold(), palette.text);
    let help = ui.painter().layout(entry.help.to_owned(), theme::normal(), palette.weak, LIST - 24.0);
    let size = vec2(LIST, name.size().y + help.size().y + 15.0);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::RadioButton, true, is_chosen, entry.name));
    if is_chosen || response.hovered() || response.has_focus() {
        ui.painter().rect_filled(rect, 4.0, if is_chosen { palette.selected } else { palette.raised });
    }
    let at = rect.min + vec2(12.0, 6.0);
    let under = at + vec2(0.0, name.size().y + 2.0);
    ui.painter().galley(at, name, palette.text);
    ui.painter().galley(under, help, palette.weak);
    response
}
