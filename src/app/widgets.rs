//! Small things that several panels draw.

use eframe::egui::{
    self, Align2, Color32, CornerRadius, FontId, Rect, RectAlign, Response, Role, Sense, Shape, Stroke, Ui, Vec2, WidgetInfo, pos2, vec2,
};

use super::commands::{Action, Command};
use super::theme::{self, Palette};

/// A section's title, in small capitals' stead.
pub(super) fn section_title(ui: &mut Ui, text: &str) {
    let color = theme::palette(ui).weak;
    ui.label(egui::RichText::new(text.to_uppercase()).font(theme::small()).color(color));
}

/// A section's title on the left, cut where what stands on the right needs the room.
pub(super) fn section_head(ui: &mut Ui, text: &str, right: impl FnOnce(&mut Ui)) {
    ui.horizontal(|ui| {
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            right(ui);
            ui.with_layout(egui::Layout::left_to_right(egui::Align::Center), |ui| {
                let title = egui::RichText::new(text.to_uppercase()).font(theme::small()).color(theme::palette(ui).weak);
                ui.add(egui::Label::new(title).truncate());
            });
        });
    });
}

/// A name on the left, a figure on the right.
pub(super) fn figure_row(ui: &mut Ui, name: &str, figure: &str) {
    let palette = theme::palette(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 17.0), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, format!("{name}: {figure}")));
    let galley = ui.painter().layout_no_wrap(figure.to_owned(), theme::normal(), palette.text);
    let left = rect.right() - galley.size().x;
    ui.painter().galley(pos2(left, rect.center().y - galley.size().y / 2.0), galley, palette.text);
    paint_clipped(ui, Rect::from_min_max(rect.min, pos2(left - 8.0, rect.bottom())), name, theme::normal(), palette.weak);
}

/// A box that is ticked, not ticked, or ticked in part; `rect` is where it is clicked.
pub(super) fn tick_box(ui: &mut Ui, rect: Rect, id: egui::Id, state: Tick, name: &str) -> Response {
    let is_enabled = state != Tick::Barred;
    let response = ui.interact(rect, id, if is_enabled { Sense::click() } else { Sense::hover() });
    // A box without a selection is told as mixed.
    let selected = (state != Tick::Part).then_some(state == Tick::On);
    response.widget_info(|| WidgetInfo { selected, ..WidgetInfo::selected(Role::CheckBox, is_enabled, false, name) });
    paint_tick(ui, Rect::from_center_size(rect.center(), Vec2::splat(14.0)), state, response.hovered() || response.has_focus());
    response
}

/// A tick with its label beside it.
pub(super) fn tick(ui: &mut Ui, is_on: bool, is_enabled: bool, label: &str) -> Response {
    tick_named(ui, is_on, is_enabled, label, label)
}

/// Likewise, with another name for those who do not see where it stands.
pub(super) fn tick_named(ui: &mut Ui, is_on: bool, is_enabled: bool, label: &str, name: &str) -> Response {
    let palette = theme::palette(ui);
    let color = if is_enabled { palette.text } else { palette.weak };
    let galley = ui.painter().layout_no_wrap(label.to_owned(), theme::normal(), color);
    let sense = if is_enabled { Sense::click() } else { Sense::hover() };
    let (rect, response) = ui.allocate_exact_size(vec2(galley.size().x + 22.0, 24.0), sense);
    response.widget_info(|| WidgetInfo::selected(Role::CheckBox, is_enabled, is_on, name));
    let state = match (is_enabled, is_on) {
        (false, _) => Tick::Barred,
        (true, true) => Tick::On,
        (true, false) => Tick::Off,
    };
    let box_rect = Rect::from_center_size(pos2(rect.left() + 7.0, rect.center().y), Vec2::splat(14.0));
    paint_tick(ui, box_rect, state, response.hovered() || response.has_focus());
    ui.painter().galley(pos2(rect.left() + 22.0, rect.center().y - galley.size().y / 2.0), galley, color);
    response
}

/// Width of a tick with its label.
pub(super) fn tick_width(ui: &Ui, label: &str) -> f32 {
    ui.painter().layout_no_wrap(label.to_owned(), theme::normal(), Color32::WHITE).size().x + 22.0
}

/// What a tick box shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tick {
    On,
    Off,
    Part,
    /// It cannot be ticked.
    Barred,
}

fn paint_tick(ui: &Ui, rect: Rect, state: Tick, is_lit: bool) {
    let palette = theme::palette(ui);
    let painter = ui.painter();
    let edge = if is_lit { palette.text } else { palette.weak };
    match state {
        Tick::On => {
            painter.rect_filled(rect, CornerRadius::same(3), palette.text);
            let at = |x: f32, y: f32| rect.min + vec2(x, y) * rect.width();
            let check = vec![at(0.22, 0.52), at(0.43, 0.72), at(0.78, 0.30)];
            painter.add(Shape::line(check, Stroke::new(1.8, palette.panel)));
        }
        Tick::Part => {
            painter.rect_filled(rect, CornerRadius::same(3), palette.weak);
            painter.hline(rect.shrink(3.5).x_range(), rect.center().y, Stroke::new(1.8, palette.panel));
        }
        Tick::Off => {
            painter.rect_stroke(rect, CornerRadius::same(3), Stroke::new(1.2, edge.gamma_multiply(0.7)), egui::StrokeKind::Inside);
        }
        Tick::Barred => {
            painter.rect_stroke(rect, CornerRadius::same(3), Stroke::new(1.0, palette.line), egui::StrokeKind::Inside);
        }
    }
}

/// Buttons side by side, one of which is pressed. Names with tooltips; returns the one that was clicked.
pub(super) fn segmented<const N: usize>(ui: &mut Ui, names: [(&str, &str); N], chosen: usize) -> Option<usize> {
    let palette = theme::palette(ui);
    let mut clicked = None;
    egui::Frame::new().fill(palette.raised).corner_radius(6).inner_margin(2).show(ui, |ui| {
        ui.spacing_mut().item_spacing.x = 0.0;
        for (i, (name, tooltip)) in names.into_iter().enumerate() {
            let font = if i == chosen { theme::bold() } else { theme::normal() };
            let color = if i == chosen { palette.text } else { palette.weak };
            let fill = if i == chosen { palette.ground } else { Color32::TRANSPARENT };
            let text = egui::RichText::new(name).font(font).color(color);
            let button = ui.add(egui::Button::new(text).fill(fill).corner_radius(5).min_size(vec2(64.0, 26.0)));
            button.widget_info(|| WidgetInfo::selected(Role::RadioButton, true, i == chosen, name));
            if button.on_hover_text(tooltip).clicked() {
                clicked = Some(i);
            }
        }
    });
    clicked
}

/// A plain button for an action of the table, with its tooltip.
pub(super) fn action_button(ui: &mut Ui, action: Action, is_enabled: bool, commands: &mut Vec<Command>) {
    let entry = action.entry();
    let button = egui::Button::new(entry.label).frame(false);
    if hint(ui.add_enabled(is_enabled, button), action).clicked() {
        commands.push(Command::Do(action));
    }
}

/// Adds an action's tooltip with its shortcut.
pub(super) fn hint(response: Response, action: Action) -> Response {
    let entry = action.entry();
    let text = match entry.shortcut {
        Some(shortcut) => format!("{} ({})", entry.tooltip, response.ctx.format_shortcut(&shortcut)),
        None => entry.tooltip.to_owned(),
    };
    response.on_hover_text(text.clone()).on_disabled_hover_text(text)
}

/// The slider of an amount, from 0 to `most` percent in steps of 0.1 %, over the whole width that is there.
pub(super) fn amount_slider(ui: &mut Ui, percent: &mut f64, most: f64, name: &str, hint: &str) -> Response {
    let palette = theme::palette(ui);
    ui.spacing_mut().slider_width = ui.available_width() - 10.0;
    ui.spacing_mut().interact_size.y = 20.0;
    ui.visuals_mut().selection.bg_fill = palette.applied;
    ui.visuals_mut().widgets.inactive.bg_fill = palette.line;
    let slider = egui::Slider::new(percent, 0.0..=most).step_by(0.1).show_value(false).trailing_fill(true);
    // An amount that was typed lies between two steps and stays there until the slider is moved.
    let response = ui.add(slider.clamping(egui::SliderClamping::Edits));
    response.widget_info(|| WidgetInfo::slider(true, *percent, name));
    // The handle stands out from the rail in both themes.
    let radius = response.rect.height() / 2.5;
    let range = response.rect.x_range().shrink(radius);
    let handle = pos2(egui::lerp(range.min..=range.max, (*percent / most) as f32), response.rect.center().y);
    ui.painter().circle_filled(handle, radius + 0.5, palette.text);
    if response.has_focus() {
        ui.painter().circle_stroke(handle, 10.5, Stroke::new(1.5, palette.applied));
    }
    // Whoever has just moved it knows what it does, and wants to see what stands above it.
    let moved = response.id.with("moved");
    if response.dragged() || response.clicked() {
        ui.data_mut(|data| data.insert_temp(moved, true));
    } else if !response.hovered() {
        ui.data_mut(|data| data.remove_temp::<bool>(moved));
    }
    if ui.data(|data| data.get_temp(moved).unwrap_or(false)) { response } else { hint_above(response, hint) }
}

/// What is said of a widget, under this name.
pub(super) fn labelled(mut info: WidgetInfo, name: &str) -> WidgetInfo {
    info.label = Some(name.to_owned());
    info
}

/// A tooltip over the widget instead of under it, where under it stands what changes with it.
pub(super) fn hint_above(response: Response, text: &str) -> Response {
    const ABOVE: [RectAlign; 2] = [RectAlign::TOP_START, RectAlign::TOP_END];
    let mut tooltip = egui::Tooltip::for_enabled(&response);
    tooltip.popup = tooltip.popup.align(ABOVE[0]).align_alternatives(&ABOVE).gap(8.0);
    tooltip.show(|ui| ui.label(text));
    response
}

/// A drawn symbol that can be clicked.
pub(super) fn icon_button(ui: &mut Ui, action: Action, is_enabled: bool, paint: impl FnOnce(&egui::Painter, Rect, Color32)) -> bool {
    let palette = theme::palette(ui);
    let sense = if is_enabled { Sense::click() } else { Sense::hover() };
    let (rect, response) = ui.allocate_exact_size(Vec2::splat(26.0), sense);
    response.widget_info(|| WidgetInfo::labeled(Role::Button, is_enabled, action.entry().label));
    if (response.hovered() && is_enabled) || response.has_focus() {
        ui.painter().rect_filled(rect, CornerRadius::same(5), palette.raised);
    }
    let color = if is_enabled { palette.text } else { palette.line };
    paint(ui.painter(), rect.shrink(6.0), color);
    hint(response, action).clicked()
}

/// An arrow that bends back, to the left or to the right.
pub(super) fn paint_turn(painter: &egui::Painter, rect: Rect, color: Color32, is_left: bool) {
    let x = |t: f32| if is_left { rect.left() + t * rect.width() } else { rect.right() - t * rect.width() };
    let y = |t: f32| rect.top() + t * rect.height();
    let arc: Vec<egui::Pos2> = (0..=12)
        .map(|i| {
            let angle = std::f32::consts::PI * (1.0 - i as f32 / 12.0);
            pos2(x(0.55 + 0.4 * angle.cos()), y(0.62 - 0.36 * angle.sin()))
        })
        .collect();
    let tip = arc[0];
    let stroke = Stroke::new(1.4, color);
    let side = if is_left { 1.0 } else { -1.0 };
    painter.add(Shape::line(arc, stroke));
    painter.line_segment([tip, tip + vec2(-3.4 * side, -3.2)], stroke);
    painter.line_segment([tip, tip + vec2(3.4 * side, -2.2)], stroke);
}

/// Two arrows past each other.
pub(super) fn paint_swap(painter: &egui::Painter, rect: Rect, color: Color32) {
    let stroke = Stroke::new(1.3, color);
    for (side, y) in [(1.0, -0.2), (-1.0, 0.2)] {
        let middle = rect.center() + vec2(0.0, y * rect.height());
        let tip = middle + vec2(0.45 * side * rect.width(), 0.0);
        painter.line_segment([middle - vec2(0.45 * side * rect.width(), 0.0), tip], stroke);
        painter.line_segment([tip, tip + vec2(-3.0 * side, 3.0 * y.signum())], stroke);
    }
}

/// A small triangle that says that something opens.
pub(super) fn paint_down(painter: &egui::Painter, center: egui::Pos2, color: Color32) {
    let points = vec![center + vec2(-3.5, -2.0), center + vec2(3.5, -2.0), center + vec2(0.0, 2.5)];
    painter.add(Shape::convex_polygon(points, color, Stroke::NONE));
}

/// A disc, half filled.
pub(super) fn paint_theme(painter: &egui::Painter, rect: Rect, color: Color32) {
    let (center, radius) = (rect.center(), rect.width() * 0.42);
    painter.circle_stroke(center, radius, Stroke::new(1.3, color));
    let half: Vec<egui::Pos2> = (0..=16)
        .map(|i| {
            let angle = std::f32::consts::PI * (0.5 + i as f32 / 16.0);
            center + radius * vec2(angle.cos(), angle.sin())
        })
        .collect();
    painter.add(Shape::convex_polygon(half, color, Stroke::NONE));
}

/// A padlock.
pub(super) fn paint_lock(painter: &egui::Painter, center: egui::Pos2, color: Color32) {
    let body = Rect::from_center_size(center + vec2(0.0, 2.0), vec2(9.0, 7.0));
    painter.rect_filled(body, CornerRadius::same(1), color);
    let shackle: Vec<egui::Pos2> = (0..=8)
        .map(|i| {
            let angle = std::f32::consts::PI * (1.0 + i as f32 / 8.0);
            center + vec2(0.0, -1.5) + vec2(3.0 * angle.cos(), 3.6 * angle.sin())
        })
        .collect();
    painter.add(Shape::line(shackle, Stroke::new(1.3, color)));
}

/// A bar that is partly filled; `fraction` of 0..=1.
pub(super) fn paint_bar(painter: &egui::Painter, rect: Rect, fraction: f64, fill: Color32, palette: &Palette) {
    painter.rect_filled(rect, CornerRadius::same(2), palette.raised);
    if fraction > 0.0 {
        let width = (rect.width() * fraction as f32).clamp(1.0, rect.width());
        painter.rect_filled(Rect::from_min_size(rect.min, vec2(width, rect.height())), CornerRadius::same(2), fill);
    }
}

/// Text that ends in … where it is too long.
pub(super) fn paint_clipped(ui: &Ui, rect: Rect, text: &str, font: FontId, color: Color32) {
    let mut job = egui::text::LayoutJob::simple_singleline(text.to_owned(), font, color);
    job.wrap = egui::text::TextWrapping::truncate_at_width(rect.width());
    let galley = ui.fonts_mut(|f| f.layout_job(job));
    let at = pos2(rect.left(), rect.center().y - galley.size().y / 2.0);
    ui.painter().galley(at, galley, color);
}

/// A path that begins in … where it is too long: its end tells more than its start.
pub(super) fn paint_path(ui: &Ui, rect: Rect, path: &str, font: &FontId, color: Color32) {
    let layout = |text: String| ui.painter().layout_no_wrap(text, font.clone(), color);
    let mut galley = layout(path.to_owned());
    let mut skipped = 0;
    let length = path.chars().count();
    while galley.size().x > rect.width() && skipped < length {
        let excess = (galley.size().x - rect.width()) / galley.size().x * (length - skipped) as f32;
        skipped += (excess as usize).max(1);
        let rest: String = path.chars().skip(skipped).collect();
        // From the next part on, where there is one.
        let whole = rest.split_once('.').map_or(rest.as_str(), |(_, after)| after);
        galley = layout(format!("…{}", if whole.is_empty() { &rest } else { whole }));
    }
    let at = pos2(rect.left(), rect.center().y - galley.size().y / 2.0);
    ui.painter().galley(at, galley, color);
}

/// Text that ends at the right edge.
pub(super) fn paint_right(ui: &Ui, right: f32, y: f32, text: &str, font: FontId, color: Color32) {
    ui.painter().text(pos2(right, y), Align2::RIGHT_CENTER, text, font, color);
}
