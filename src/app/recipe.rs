//! The line of the bottom bar that says how elements are chosen: the applied method, the one that it is compared with, score and pattern.
//!
//! Each is a [`picker`]: a list in which every choice says what it does.

use eframe::egui::{self, Rect, Role, Sense, Ui, WidgetInfo, pos2, vec2};

use crate::prune::{Dimension, LARGEST_GROUP, Method, Pattern, Recipe, Score, SliceNorm, Step};

use super::commands::{Action, Command, ScoreChoice};
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
    ui.add_space(8.0);
    score_ui(ui, recipe, commands);
    ui.add_space(8.0);
    pattern_ui(ui, recipe, commands);
}

/// What ranks the elements, and the seed where it is chance.
fn score_ui(ui: &mut Ui, recipe: &Recipe, commands: &mut Vec<Command>) {
    ui.label(egui::RichText::new("Score").color(theme::palette(ui).weak));
    let (chosen, seed) = match &recipe.score {
        Score::Magnitude => (ScoreChoice::Magnitude, None),
        Score::Random(seed) => (ScoreChoice::Random(*seed), Some(*seed)),
        Score::Wanda(_) => (ScoreChoice::Wanda, None),
        Score::Given(_) => (ScoreChoice::File, None),
    };
    let help = |choice| match choice {
        ScoreChoice::Magnitude => Score::Magnitude.help(),
        ScoreChoice::Random(seed) => Score::Random(seed).help(),
        ScoreChoice::Wanda => Score::WANDA_HELP,
        ScoreChoice::File => Score::GIVEN_HELP,
    };
    let file = match &recipe.score {
        Score::Given(given) => given.path.file_name().map(|name| text::name(&name.to_string_lossy()).into_owned()),
        _ => None,
    };
    let choices = [
        (ScoreChoice::Magnitude, "Magnitude"),
        (ScoreChoice::Random(seed.unwrap_or(0)), "Random"),
        (ScoreChoice::Wanda, "Wanda"),
        (ScoreChoice::File, "From a file…"),
    ]
    .map(|(value, name)| ListChoice { value, name, help: help(value) });
    let tooltip = "What ranks the elements: the smallest go first";
    let score = ListPicker { name: "Score", tooltip, chosen, swatch: None, shown: file, width: 112.0 };
    let clicked = picker(ui, &score, &choices);
    // Another file can be chosen in place of one.
    if let Some(choice) = clicked.filter(|&choice| choice != chosen || choice == ScoreChoice::File) {
        commands.push(Command::Score(choice));
    }
    if let Some(seed) = seed {
        let mut edited = seed;
        let field = ui.add(egui::DragValue::new(&mut edited).speed(0.1));
        field.widget_info(|| widgets::labelled(WidgetInfo::drag_value(true, seed as f64), "Seed"));
        let field = widgets::hint_above(field, "Seed: another number is another draw");
        if field.changed() && edited != seed {
            commands.push(Command::Score(ScoreChoice::Random(edited)));
        }
    }
}

/// Which elements go together, and the numbers of a pattern that has some.
fn pattern_ui(ui: &mut Ui, recipe: &Recipe, commands: &mut Vec<Command>) {
    let weak = theme::palette(ui).weak;
    ui.label(egui::RichText::new("Pattern").color(weak));
    let norm = if let Pattern::Slices { norm, .. } = recipe.pattern { norm } else { SliceNorm::L2 };
    let groups = if let Pattern::Groups { .. } = recipe.pattern { recipe.pattern } else { Pattern::Groups { keep: 2, of: 4 } };
    let slices = |dimension| Pattern::Slices { norm, dimension };
    let choices = [
        (Pattern::Elements, "Elements"),
        (groups, "N:M groups"),
        (slices(Dimension::Outputs), "Filters"),
        (slices(Dimension::Inputs), "Inputs"),
    ]
    .map(|(value, name)| ListChoice { value, name, help: value.help() });
    let tooltip = "Which elements may go together";
    let chosen = recipe.pattern;
    let clicked = picker(ui, &ListPicker { name: "Pattern", tooltip, chosen, swatch: None, shown: None, width: 112.0 }, &choices);
    let mut next = clicked.unwrap_or(chosen);
    match &mut next {
        Pattern::Elements => {}
        Pattern::Groups { keep, of } => {
            let highest = *of - 1;
            number_ui(ui, keep, 1..=highest, ("Kept of a group", "N: so many of every group stay, the largest"));
            ui.label(egui::RichText::new(":").color(weak));
            number_ui(ui, of, 2..=LARGEST_GROUP, ("Length of a group", "M: so many consecutive inputs are a group"));
            *keep = (*keep).min(*of - 1);
        }
        Pattern::Slices { norm, .. } => {
            let names = [(SliceNorm::L1, "L1"), (SliceNorm::L2, "L2"), (SliceNorm::Max, "L∞")];
            for (value, name) in names {
                let button = ui.selectable_label(*norm == value, name);
                let button = widgets::hint_above(button, "By what whole slices are compared");
                if button.clicked() {
                    *norm = value;
                }
            }
        }
    }
    if next != chosen {
        commands.push(Command::Set(Box::new(Recipe { pattern: next, ..recipe.clone() }), Step::Pattern));
    }
}

fn number_ui(ui: &mut Ui, value: &mut u8, range: std::ops::RangeInclusive<u8>, (name, tooltip): (&str, &str)) {
    ui.spacing_mut().interact_size.x = 30.0;
    let field = ui.add(egui::DragValue::new(value).range(range).speed(0.05));
    field.widget_info(|| widgets::labelled(WidgetInfo::drag_value(true, f64::from(*value)), name));
    widgets::hint_above(field, tooltip);
}

fn method_picker(ui: &mut Ui, side: Side, chosen: Method) -> Option<Method> {
    let (name, tooltip) = match side {
        Side::Applied => ("Applied method", "What chooses the elements that go; solid in every chart"),
        Side::Beside => ("Method beside", "What the applied method is compared with, at the same amount; a line in every chart"),
    };
    let choices = Method::ALL.map(|method| ListChoice { value: method, name: text::method(method), help: method.help() });
    let methods = ListPicker { name, tooltip, chosen, swatch: Some(side), shown: None, width: PICKER };
    picker(ui, &methods, &choices).filter(|method| *method != chosen)
}

/// What a picker is called, and what it shows while it is closed.
pub(super) struct ListPicker<T> {
    pub name: &'static str,
    pub tooltip: &'static str,
    pub chosen: T,
    /// The colour of what is chosen, where it has one.
    pub swatch: Option<Side>,
    /// What is shown in place of its name.
    pub shown: Option<String>,
    pub width: f32,
}

/// One of a picker's list.
pub(super) struct ListChoice<T> {
    pub value: T,
    pub name: &'static str,
    /// What it does and when it is good.
    pub help: &'static str,
}

/// A button that shows what is chosen and opens a list, in which every choice says what it does. Returns what was clicked.
pub(super) fn picker<T: Copy + PartialEq>(ui: &mut Ui, picker: &ListPicker<T>, choices: &[ListChoice<T>]) -> Option<T> {
    let palette = theme::palette(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(picker.width, 28.0), Sense::click());
    let shown = choices.iter().find(|choice| choice.value == picker.chosen).map_or("", |choice| choice.name);
    let shown = picker.shown.as_deref().unwrap_or(shown);
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
        for choice in choices {
            if choice_ui(ui, choice, choice.value == picker.chosen).clicked() {
                clicked = Some(choice.value);
                ui.close();
            }
        }
    });
    clicked
}

/// A name with what it means under it.
fn choice_ui<T>(ui: &mut Ui, choice: &ListChoice<T>, is_chosen: bool) -> egui::Response {
    let palette = theme::palette(ui);
    let name = ui.painter().layout_no_wrap(choice.name.to_owned(), theme::bold(), palette.text);
    let help = ui.painter().layout(choice.help.to_owned(), theme::normal(), palette.weak, LIST - 24.0);
    let size = vec2(LIST, name.size().y + help.size().y + 15.0);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::RadioButton, true, is_chosen, choice.name));
    if is_chosen || response.hovered() || response.has_focus() {
        ui.painter().rect_filled(rect, 4.0, if is_chosen { palette.selected } else { palette.raised });
    }
    let at = rect.min + vec2(12.0, 6.0);
    let under = at + vec2(0.0, name.size().y + 2.0);
    ui.painter().galley(at, name, palette.text);
    ui.painter().galley(under, help, palette.weak);
    response
}
