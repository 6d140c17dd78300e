//! The dialog, drawn: the path on top, places on the left, the folder in the middle, answers below.

use eframe::egui::text::{CCursor, CCursorRange};
use eframe::egui::{
    self, Align, Color32, CornerRadius, Event, FocusDirection, Id, Key, Layout, Modifiers, Rect, Role, Sense, Shape, Stroke, TextEdit, Ui,
    WidgetInfo, pos2, vec2,
};

use super::{Act, Caret, Contents, PAGE, Picker, Shortcut, Wanted};
use crate::app::commands::Command;
use crate::app::{messages, text, theme, widgets};

/// Room for the places.
const PLACES_WIDTH: f32 = 150.0;
/// Said once, in the dialog that comes first.
const WHY: &str = "The system has no file dialog (no desktop portal, no zenity); this one is Secateur's own.";

pub(in crate::app) fn show(ctx: &egui::Context, picker: &Picker, commands: &mut Vec<Command>) {
    let room = ctx.content_rect().size();
    let size = vec2((room.x - 120.0).clamp(360.0, 820.0), (room.y - 140.0).clamp(300.0, 560.0));
    let mut acts = Vec::new();
    let modal = egui::Modal::new(Id::unique("picker")).frame(messages::frame(ctx)).show(ctx, |ui| {
        ui.set_width(size.x);
        ui.set_height(size.y);
        ui.label(egui::RichText::new(picker.purpose.title()).font(theme::bold()));
        if picker.explains {
            ui.weak(WHY);
        }
        ui.add_space(4.0);
        path_ui(ui, picker, &mut acts);
        ui.add_space(4.0);
        let bottom = ui.max_rect().bottom() - 42.0;
        ui.horizontal_top(|ui| {
            let height = bottom - ui.cursor().top();
            let down = Layout::top_down(Align::Min);
            ui.allocate_ui_with_layout(vec2(PLACES_WIDTH, height), down, |ui| places_ui(ui, picker, &mut acts));
            ui.add_space(4.0);
            ui.allocate_ui_with_layout(vec2(ui.available_width(), height), down, |ui| folder_ui(ui, picker, &mut acts));
        });
        ui.with_layout(Layout::bottom_up(Align::Min), |ui| {
            ui.horizontal(|ui| foot_ui(ui, picker, &mut acts));
        });
    });
    // A click beside it is a slip: what was typed stays.
    if modal.is_top_modal && !modal.any_popup_open && ctx.input_mut(|i| i.consume_key(Modifiers::NONE, Key::Escape)) {
        acts.push(Act::Cancel);
    }
    commands.extend(acts.into_iter().map(Command::Pick));
}

/// The field with the path, which has the keyboard unless a button took it.
fn path_ui(ui: &mut Ui, picker: &Picker, acts: &mut Vec<Act>) {
    let id = Id::unique("picker path");
    let has_keyboard = ui.memory(|m| m.focused().is_none_or(|focused| focused == id));
    let pressed = if has_keyboard { keys(ui, picker) } else { Vec::new() };
    ui.horizontal(|ui| {
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let above = egui::Button::new("").min_size(vec2(30.0, 28.0));
            let response = ui.add_enabled(picker.folder.parent().is_some(), above);
            response.widget_info(|| WidgetInfo::labeled(Role::Button, true, "Parent folder"));
            paint_up(ui, response.rect.center());
            if response.on_hover_text("Parent folder (Alt+↑)").clicked() {
                acts.push(Act::Up);
            }
            let before = picker.text();
            let mut text = before.clone();
            put_caret(ui, id, picker);
            let field = TextEdit::singleline(&mut text).id(id).desired_width(ui.available_width()).margin(vec2(8.0, 6.0)).lock_focus(true);
            let response = ui.add(field);
            response.widget_info(|| WidgetInfo { label: Some("Path".into()), ..WidgetInfo::text_edit(true, &before, &text, "") });
            if response.changed() {
                acts.push(Act::Type(text));
            }
            if has_keyboard && !response.has_focus() {
                response.request_focus();
            }
            // Keys are about what was typed before them, in the same frame too.
            acts.extend(pressed);
            response.on_hover_text("Type a path: Tab completes it, ↑ and ↓ choose from the list, Enter opens");
        });
    });
}

/// Keys that are the list's, taken before the field sees them.
fn keys(ui: &Ui, picker: &Picker) -> Vec<Act> {
    let mut acts = Vec::new();
    let direction = ui.input_mut(|i| {
        if i.consume_key(Modifiers::ALT, Key::ArrowUp) {
            acts.push(Act::Up);
        }
        for (key, rows) in [(Key::ArrowDown, 1), (Key::ArrowUp, -1), (Key::PageDown, PAGE), (Key::PageUp, -PAGE)] {
            let times = i.count_and_consume_key(Modifiers::NONE, key) as isize;
            if times > 0 {
                acts.push(Act::Move(rows * times));
            }
        }
        let mut direction = FocusDirection::None;
        let is_typed = i.events.iter().any(|event| matches!(event, Event::Text(_) | Event::Paste(_) | Event::Ime(_)));
        if i.consume_key(Modifiers::SHIFT, Key::Tab) {
            direction = FocusDirection::Previous;
        } else if i.consume_key(Modifiers::NONE, Key::Tab) {
            if picker.lets_tab_go() && !is_typed {
                direction = FocusDirection::Next;
            } else {
                acts.push(Act::Complete);
            }
        }
        if i.consume_key(Modifiers::NONE, Key::Enter) {
            acts.push(Act::Accept);
        }
        direction
    });
    if direction != FocusDirection::None {
        ui.memory_mut(|m| m.move_focus(direction));
    }
    acts
}

/// Puts the caret where the program wants it, once after it has written into the field.
fn put_caret(ui: &Ui, id: Id, picker: &Picker) {
    if !is_news(ui, id.with("revision"), picker.revision) {
        return;
    }
    let text = picker.text();
    let end = text.chars().count();
    let start = match picker.caret {
        Caret::End => end,
        Caret::Stem => end - picker.name.chars().count(),
    };
    let end = match (picker.caret, picker.name.rfind('.')) {
        (Caret::Stem, Some(dot)) if dot > 0 => start + picker.name[..dot].chars().count(),
        _ => end,
    };
    let mut state = TextEdit::load_state(ui.ctx(), id).unwrap_or_default();
    state.cursor.set_char_range(Some(CCursorRange::two(CCursor::new(start), CCursor::new(end))));
    state.store(ui.ctx(), id);
    ui.memory_mut(|m| m.request_focus(id));
}

/// Whether `value` is another one than when this was last asked.
fn is_news(ui: &Ui, id: Id, value: u64) -> bool {
    ui.data_mut(|d| d.get_temp_mut_or_default::<Option<u64>>(id).replace(value) != Some(value))
}

fn places_ui(ui: &mut Ui, picker: &Picker, acts: &mut Vec<Act>) {
    ui.set_width(PLACES_WIDTH);
    egui::ScrollArea::vertical().id_salt("places").auto_shrink(false).show(ui, |ui| {
        ui.spacing_mut().item_spacing.y = 0.0;
        for place in &picker.places {
            place_ui(ui, picker, place, acts);
        }
    });
}

fn place_ui(ui: &mut Ui, picker: &Picker, place: &Shortcut, acts: &mut Vec<Act>) {
    let palette = theme::palette(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), theme::ROW_HEIGHT), Sense::click());
    let path = text::path(&place.path);
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("Go to {path}")));
    paint_ground(ui, rect, false, response.hovered() || response.has_focus());
    let color = if place.path == picker.folder { palette.text } else { palette.weak };
    widgets::paint_clipped(ui, rect.shrink2(vec2(8.0, 0.0)), &text::name(&place.label), theme::normal(), color);
    if response.on_hover_text(path).clicked() {
        acts.push(Act::Go(place.path.clone()));
    }
}

fn folder_ui(ui: &mut Ui, picker: &Picker, acts: &mut Vec<Act>) {
    let palette = theme::palette(ui);
    egui::Frame::new().fill(palette.ground).stroke(Stroke::new(1.0, palette.line)).corner_radius(5).inner_margin(3).show(ui, |ui| {
        ui.set_min_size(ui.available_size());
        if picker.rows.is_empty() {
            let note = match &picker.contents {
                Contents::Read { .. } if picker.name.is_empty() || picker.purpose.kind() == Wanted::NewFile => "Nothing to choose here",
                Contents::Read { .. } => "Nothing here is called so",
                Contents::Reading | Contents::Failed { .. } => "",
            };
            ui.centered_and_justified(|ui| ui.weak(note));
            return;
        }
        ui.spacing_mut().item_spacing.y = 0.0;
        let moved = is_news(ui, Id::unique("picker moves"), picker.moves);
        let area = egui::ScrollArea::vertical().id_salt(&picker.folder).auto_shrink(false);
        area.show_rows(ui, theme::ROW_HEIGHT, picker.rows.len(), |ui, range| {
            if let Some(row) = picker.highlighted.filter(|_| moved) {
                let top = ui.max_rect().top() + (row as f32 - range.start as f32) * theme::ROW_HEIGHT;
                let rect = Rect::from_min_size(pos2(ui.max_rect().left(), top), vec2(1.0, theme::ROW_HEIGHT));
                ui.scroll_to_rect(rect, None);
            }
            for row in range {
                row_ui(ui, picker, row, acts);
            }
        });
    });
}

fn row_ui(ui: &mut Ui, picker: &Picker, row: usize, acts: &mut Vec<Act>) {
    let Some(entry) = picker.entry(row) else { return };
    let palette = theme::palette(ui);
    // The keyboard reaches rows by arrows.
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), theme::ROW_HEIGHT), Sense::CLICK);
    let is_highlighted = picker.highlighted == Some(row);
    let name = text::name(&entry.text);
    response.widget_info(|| WidgetInfo::selected(Role::ListBoxOption, true, is_highlighted, name.as_ref()));
    paint_ground(ui, rect, is_highlighted, response.hovered());
    paint_entry(ui, pos2(rect.left() + 17.0, rect.center().y), entry.is_folder);
    let mut right = rect.right() - 10.0;
    if let Some(size) = entry.size {
        let galley = ui.painter().layout_no_wrap(text::bytes(size), theme::normal(), palette.weak);
        right -= galley.size().x;
        ui.painter().galley(pos2(right, rect.center().y - galley.size().y / 2.0), galley, palette.weak);
        right -= 10.0;
    }
    let room = Rect::from_min_max(pos2(rect.left() + 34.0, rect.top()), pos2(right, rect.bottom()));
    widgets::paint_clipped(ui, room, &name, theme::normal(), palette.text);
    if response.double_clicked() {
        acts.push(Act::Enter(row));
    } else if response.clicked() {
        acts.push(Act::Highlight(row));
    }
}

fn foot_ui(ui: &mut Ui, picker: &Picker, acts: &mut Vec<Act>) {
    let palette = theme::palette(ui);
    let kinds: Vec<String> = picker.purpose.filter().1.iter().map(|extension| format!(".{extension}")).collect();
    let hint = format!("Not only {}; hidden ones, too", kinds.join(", "));
    if widgets::tick(ui, picker.shows_all, true, "All files").on_hover_text(hint).clicked() {
        acts.push(Act::ShowAll(!picker.shows_all));
    }
    ui.add_space(6.0);
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        let (label, hint) = picker.answer();
        if ui.button(label).on_hover_text(hint).clicked() {
            acts.push(Act::Take);
        }
        if ui.button("Cancel").on_hover_text("Close without an answer (Escape)").clicked() {
            acts.push(Act::Cancel);
        }
        if picker.can_create() && ui.button("Create the folder").on_hover_text(text::path(&picker.folder)).clicked() {
            acts.push(Act::CreateFolder);
        }
        ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
            let (status, is_complaint) = picker.status();
            let color = if is_complaint { palette.warning } else { palette.weak };
            ui.add(egui::Label::new(egui::RichText::new(text::message(&status)).color(color)).truncate());
        });
    });
}

fn paint_ground(ui: &Ui, rect: Rect, is_selected: bool, is_lit: bool) {
    let palette = theme::palette(ui);
    let fill = match (is_selected, is_lit) {
        (true, _) => palette.selected,
        (false, true) => palette.raised,
        (false, false) => Color32::TRANSPARENT,
    };
    ui.painter().rect_filled(rect, CornerRadius::same(4), fill);
}

/// A folder with its tab, or a sheet.
fn paint_entry(ui: &Ui, center: egui::Pos2, is_folder: bool) {
    let palette = theme::palette(ui);
    let stroke = Stroke::new(1.2, palette.weak);
    if is_folder {
        let body = Rect::from_center_size(center + vec2(0.0, 1.0), vec2(14.0, 9.0));
        let tab = Rect::from_min_size(body.left_top() - vec2(0.0, 2.5), vec2(6.0, 4.0));
        ui.painter().rect_filled(tab, CornerRadius::same(1), palette.weak);
        ui.painter().rect_filled(body, CornerRadius::same(1), palette.weak);
    } else {
        let sheet = Rect::from_center_size(center, vec2(9.0, 12.0));
        ui.painter().rect_stroke(sheet, CornerRadius::same(1), stroke, egui::StrokeKind::Inside);
    }
}

/// An arrow upward.
fn paint_up(ui: &Ui, center: egui::Pos2) {
    let stroke = Stroke::new(1.4, theme::palette(ui).text);
    let tip = center - vec2(0.0, 5.0);
    ui.painter().line_segment([tip, center + vec2(0.0, 5.0)], stroke);
    ui.painter().add(Shape::line(vec![tip + vec2(-4.0, 4.0), tip, tip + vec2(4.0, 4.0)], stroke));
}
