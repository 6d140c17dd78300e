//! The selected module on the right: histogram with both cuts, statistics, its mask as a picture, lock.

use std::sync::Arc;

use eframe::egui::{self, Color32, ColorImage, Rect, Role, Sense, Stroke, TextureHandle, TextureOptions, Ui, WidgetInfo, pos2, vec2};

use crate::engine::Model;
use crate::graph::{Layout, Parameter, ParameterId};
use crate::measure::{Detail, Histogram, MaskPicture};
use crate::prune::{Recipe, Step};

use super::commands::Command;
use super::pair::Side;
use super::state::{AppState, Tab};
use super::{channels, own, text, theme, widgets};

/// The picture of the mask on the graphics card, and what it was made from.
#[derive(Default)]
pub(super) struct MaskTexture(Option<(Arc<Detail>, bool, TextureHandle)>);

impl MaskTexture {
    fn of(&mut self, ui: &Ui, detail: &Arc<Detail>) -> egui::TextureId {
        let dark = ui.visuals().dark_mode;
        if let Some((made_from, was_dark, texture)) = &mut self.0 {
            if Arc::ptr_eq(made_from, detail) && *was_dark == dark {
                return texture.id();
            }
            texture.set(picture(ui, detail), TextureOptions::NEAREST);
            *made_from = detail.clone();
            *was_dark = dark;
            return texture.id();
        }
        let texture = ui.ctx().load_texture("mask", picture(ui, detail), TextureOptions::NEAREST);
        let id = texture.id();
        self.0 = Some((detail.clone(), dark, texture));
        id
    }
}

/// Kept elements light on dark ground, or dark on light ground.
fn picture(ui: &Ui, detail: &Detail) -> ColorImage {
    let palette = theme::palette(ui);
    let mix = |a: u8, b: u8, t: u8| ((u32::from(a) * (255 - u32::from(t)) + u32::from(b) * u32::from(t)) / 255) as u8;
    let kept = if ui.visuals().dark_mode { palette.text } else { palette.text.gamma_multiply(0.85) };
    let pruned = palette.ground;
    let pixels = detail
        .picture
        .kept
        .iter()
        .map(|&t| Color32::from_rgb(mix(pruned.r(), kept.r(), t), mix(pruned.g(), kept.g(), t), mix(pruned.b(), kept.b(), t)));
    ColorImage::new([detail.picture.width, detail.picture.height], pixels.collect())
}

pub(super) fn show(ui: &mut Ui, state: &AppState, texture: &mut MaskTexture, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    let frame = egui::Frame::new().fill(palette.panel).inner_margin(egui::Margin::symmetric(18, 14));
    let room = ui.ctx().content_rect().width();
    let width = (ui.available_width() * 0.32).clamp(270.0, 360.0);
    egui::Panel::right("module").default_size(width).size_range(220.0..=(room * 0.3).max(250.0)).frame(frame).show(ui, |ui| {
        ui.set_min_width(ui.available_width());
        if state.kept.tab == Tab::Channels {
            egui::ScrollArea::vertical().id_salt("group").auto_shrink(false).show(ui, |ui| channels::group_ui(ui, state, commands));
            return;
        }
        let (Some(model), Some(id)) = (&state.model, state.selected) else {
            ui.weak("Select a module to look at its weights");
            return;
        };
        let bottom = ui.max_rect().bottom();
        egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
            head_ui(ui, model, id, commands);
            match &state.detail {
                Some((shown, Err(why))) if *shown == id => {
                    ui.label(egui::RichText::new(text::message(why)).color(palette.warning));
                }
                Some((shown, Ok(detail))) if *shown == id => {
                    detail_ui(ui, state, model, detail, &mut MaskPlace { texture, bottom: bottom - 108.0 });
                }
                _ => {
                    let why = model.graph.parameter(id).obstacle();
                    ui.weak(why.map_or_else(|| "…".to_owned(), |why| format!("Cannot be pruned: {why}")));
                }
            }
            ui.add_space(8.0);
            foot_ui(ui, state, model, id, commands);
        });
    });
}

fn head_ui(ui: &mut Ui, model: &Model, id: ParameterId, commands: &mut Vec<Command>) {
    let parameter = model.graph.parameter(id);
    let module = model.graph.module(parameter.module);
    ui.add(egui::Label::new(egui::RichText::new(text::name(&module.name)).font(theme::bold())).truncate())
        .on_hover_text(text::name(&parameter.name));
    let line = format!("{} · {} · {} · {}", text::name(&module.kind), module.role, text::shape(parameter), parameter.dtype);
    ui.add(egui::Label::new(egui::RichText::new(&line).color(theme::palette(ui).weak)).truncate()).on_hover_text(&line);
    if module.parameters.len() > 1 {
        ui.add_space(2.0);
        ui.horizontal(|ui| {
            for &other in &module.parameters {
                let name = &model.graph.parameter(other).attribute;
                let is_chosen = other == id;
                let color = if is_chosen { theme::palette(ui).text } else { theme::palette(ui).weak };
                let text = egui::RichText::new(name).color(color).font(if is_chosen { theme::bold() } else { theme::normal() });
                let fill = if is_chosen { theme::palette(ui).raised } else { Color32::TRANSPARENT };
                if ui.add(egui::Button::new(text).fill(fill)).on_hover_text(text::name(&model.graph.parameter(other).name)).clicked() {
                    commands.push(Command::Select(other));
                }
            }
        });
    }
    if let Some(users) = text::users(&model.graph, id) {
        let line = format!("Shared, {users}");
        ui.add(egui::Label::new(egui::RichText::new(&line).color(theme::palette(ui).weak)).wrap());
    }
    ui.add_space(8.0);
}

fn detail_ui(ui: &mut Ui, state: &AppState, model: &Model, detail: &Arc<Detail>, place: &mut MaskPlace) {
    let Some(id) = state.selected else { return };
    let parameter = model.graph.parameter(id);
    let figures = state.view.as_ref().map(|v| &v.figures);
    widgets::section_title(ui, "Weights and the cut");
    let cuts = Side::BOTH.map(|side| figures.and_then(|f| side.outcome(f)?.cuts[id.0]));
    histogram_ui(ui, &detail.histogram, cuts, state.shows_original);
    ui.add_space(6.0);
    let outcome = figures.and_then(|f| f.chosen().ok());
    let masked = outcome.map_or(0, |o| o.masked[id.0]);
    widgets::figure_row(ui, "Pruned", &format!("{} of {}", text::count(masked), text::count(parameter.elements as u64)));
    widgets::figure_row(ui, "Zeros", &text::percent(outcome.map_or(0, |o| o.zeros[id.0]) as f64 / parameter.elements.max(1) as f64));
    widgets::figure_row(ui, "Cut", &outcome.and_then(|o| o.cuts[id.0]).map_or("–".into(), |c| format!("|w| ≤ {}", text::number(c))));
    let seen = if state.shows_original { &detail.original } else { &detail.pruned };
    widgets::figure_row(ui, "Mean · deviation", &format!("{} · {}", text::rough(seen.mean), text::rough(seen.deviation)));
    widgets::figure_row(ui, "Smallest · largest", &format!("{} · {}", text::rough(seen.min), text::rough(seen.max)));
    if seen.not_finite > 0 {
        widgets::figure_row(ui, "Infinite or NaN", &text::count(seen.not_finite));
    }
    let (outputs, inputs) = (detail.empty_outputs, detail.empty_inputs);
    if parameter.shape.len() > 1 && parameter.layout != Layout::Mixed {
        widgets::figure_row(ui, "Empty filters · inputs", &format!("{} of {} · {} of {}", outputs.0, outputs.1, inputs.0, inputs.1));
    }
    ui.add_space(10.0);
    widgets::section_title(ui, &PictureAxes::of(parameter).title(&detail.picture));
    mask_ui(ui, detail, &PictureAxes::of(parameter), place);
}

/// Where the mask's picture goes: down to `bottom`, so that what follows is seen without scrolling.
struct MaskPlace<'a> {
    texture: &'a mut MaskTexture,
    bottom: f32,
}

/// Bars with both cuts; between the applied method's cuts the bars are faint, as what is pruned.
fn histogram_ui(ui: &mut Ui, histogram: &Histogram, cuts: [Option<f64>; 2], whole: bool) {
    let palette = theme::palette(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 150.0), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, "Histogram of the selected parameter"));
    let plot = Rect::from_min_max(rect.min, pos2(rect.right(), rect.bottom() - 18.0));
    let painter = ui.painter();
    let top = histogram.bars.iter().copied().max().unwrap_or(0).max(1) as f32;
    let width = plot.width() / histogram.bars.len() as f32;
    let x = |value: f64| plot.left() + f64::midpoint(value / histogram.limit, 1.0) as f32 * plot.width();
    let cut = cuts[0].filter(|_| !whole);
    for (i, &n) in histogram.bars.iter().enumerate() {
        let center = ((i as f64 + 0.5) / histogram.bars.len() as f64 * 2.0 - 1.0) * histogram.limit;
        let is_pruned = cut.is_some_and(|c| center.abs() <= c);
        let color = if is_pruned { palette.weak.gamma_multiply(0.35) } else { palette.text.gamma_multiply(0.8) };
        let height = n as f32 / top * (plot.height() - 4.0);
        let left = plot.left() + i as f32 * width;
        painter.rect_filled(Rect::from_min_max(pos2(left, plot.bottom() - height), pos2(left + width - 0.4, plot.bottom())), 0.0, color);
    }
    painter.line_segment([plot.left_bottom(), plot.right_bottom()], Stroke::new(1.0, palette.line));
    if histogram.limit <= 0.0 {
        painter.text(plot.center(), egui::Align2::CENTER_CENTER, "All elements are zero", theme::normal(), palette.weak);
        return;
    }
    for (side, cut) in Side::BOTH.into_iter().zip(cuts) {
        for sign in [-1.0, 1.0] {
            let Some(at) = cut.map(|c| c * sign).filter(|c| c.abs() < histogram.limit) else { continue };
            let ends = [pos2(x(at), plot.top()), pos2(x(at), plot.bottom())];
            let stroke = Stroke::new(1.5, palette.side(side));
            if side == Side::Applied {
                painter.line_segment(ends, stroke);
            } else {
                painter.extend(egui::Shape::dashed_line(&ends, stroke, 3.0, 3.0));
            }
        }
    }
    for (at, align) in [(-0.75, egui::Align2::CENTER_BOTTOM), (0.0, egui::Align2::CENTER_BOTTOM), (0.75, egui::Align2::CENTER_BOTTOM)] {
        let value = at * histogram.limit;
        let label = if at == 0.0 { "0".to_owned() } else { text::short(value) };
        painter.text(pos2(x(value), rect.bottom()), align, label, theme::small(), palette.weak);
    }
    if response.hovered() {
        response.on_hover_text(format!(
            "{} zeros are not drawn\n{} elements lie beyond ±{}",
            text::count(histogram.zeros),
            text::count(histogram.outside),
            text::number(histogram.limit)
        ));
    }
}

fn mask_ui(ui: &mut Ui, detail: &Arc<Detail>, axes: &PictureAxes, place: &mut MaskPlace) {
    let picture = &detail.picture;
    if picture.width == 0 || picture.height == 0 {
        ui.weak("No elements");
        return;
    }
    let id = place.texture.of(ui, detail);
    // As tall as its rows, but neither a thread nor a tower.
    let width = ui.available_width();
    let height = (width * picture.rows as f32 / picture.columns.max(1) as f32).clamp(width * 0.15, width * 0.9);
    let height = height.min((place.bottom - ui.cursor().top()).max(width * 0.3));
    let image = egui::Image::new((id, vec2(width, height)));
    let response = ui.add(image);
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, "Mask of the selected parameter"));
    let block = match picture.block {
        (1, 1) => "each pixel is one element".to_owned(),
        (w, h) => format!("each pixel is {w} × {h} elements, the lighter the more are kept"),
    };
    response.on_hover_text(format!("weight_mask: {}; {block}", axes.meaning()));
}

/// What the rows and the columns of a mask's picture are.
#[derive(Debug, PartialEq, Eq)]
enum PictureAxes {
    /// One row of elements, cut into several for its length.
    Row(usize),
    /// Outputs down; inputs across, each with its kernel positions.
    Matrix { outputs: usize, inputs: usize, kernel: Vec<usize> },
}

impl PictureAxes {
    fn of(parameter: &Parameter) -> Self {
        match parameter.shape.as_slice() {
            [first, second, kernel @ ..] if parameter.elements > 0 && parameter.layout != Layout::Mixed => {
                let (outputs, inputs) = if parameter.layout == Layout::InFirst { (*second, *first) } else { (*first, *second) };
                if parameter.elements == outputs { Self::Row(outputs) } else { Self::Matrix { outputs, inputs, kernel: kernel.to_vec() } }
            }
            _ => Self::Row(parameter.elements),
        }
    }

    fn title(&self, picture: &MaskPicture) -> String {
        match self {
            Self::Row(elements) if picture.rows > 1 => format!("Mask, {elements} elements in rows of {}", picture.columns),
            Self::Row(1) => "Mask, 1 element".to_owned(),
            Self::Row(elements) => format!("Mask, {elements} elements"),
            Self::Matrix { outputs, inputs, kernel } if kernel.iter().all(|&edge| edge == 1) => {
                format!("Mask, {outputs} out × {inputs} in")
            }
            Self::Matrix { outputs, inputs, kernel } => format!("Mask, {outputs} out × {inputs} in of {}", text::dimensions(kernel)),
        }
    }

    fn meaning(&self) -> &'static str {
        match self {
            Self::Row(_) => "element after element, row by row",
            Self::Matrix { .. } => "rows are outputs, columns inputs with their kernel positions",
        }
    }
}

fn foot_ui(ui: &mut Ui, state: &AppState, model: &Model, id: ParameterId, commands: &mut Vec<Command>) {
    let module = model.graph.parameter(id).module;
    let Some(recipe) = &state.recipe else { return };
    let locked = recipe.locked[module.0];
    if widgets::tick(ui, locked, true, "Lock this module").on_hover_text("Protect it from pruning, whatever is ticked").clicked() {
        let mut recipe = recipe.clone();
        recipe.locked[module.0] = !locked;
        commands.push(Command::Set(Box::new(recipe), Step::Lock));
    }
    own_ui(ui, state, model, recipe, id, commands);
    let hint = "Show values and statistics as they were before the mask (weight_orig)";
    if widgets::tick(ui, state.shows_original, true, "Show original").on_hover_text(hint).clicked() {
        commands.push(Command::ShowOriginal(!state.shows_original));
    }
}

/// An amount of the module's own: whether it has one, and how much.
fn own_ui(ui: &mut Ui, state: &AppState, model: &Model, recipe: &Recipe, id: ParameterId, commands: &mut Vec<Command>) {
    let module = model.graph.parameter(id).module;
    let targets = [module];
    let is_on = recipe.own[module.0].is_some();
    ui.horizontal(|ui| {
        let hint = "The method leaves this module's amount alone, and the others share what is left of the whole";
        if widgets::tick(ui, is_on, recipe.includes(module), "Own amount").on_hover_text(hint).clicked() {
            let amount = (!is_on).then(|| own::start(state, recipe, &targets));
            own::set(recipe, &targets, amount, commands);
            commands.push(Command::EndDrag);
        }
        if is_on {
            own::slider_ui(ui, state, recipe, &targets, "Own amount in percent", commands);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Subject;
    use crate::onnx::{Dtype, Values};
    use crate::prune::Mask;

    fn title(shape: &[usize], layout: Layout) -> String {
        let parameter = Parameter::of_shape(shape, layout, Dtype::F32);
        let mask = Mask::from_words(Vec::new(), parameter.elements);
        let picture = Subject::new(&parameter, Values::F32(vec![1.0; parameter.elements])).under(&mask).picture;
        PictureAxes::of(&parameter).title(&picture)
    }

    /// What a title says is what is drawn, and what the shape says.
    #[test]
    fn masks_are_titled_by_what_their_rows_and_columns_are() {
        for (shape, layout, expected) in [
            (&[10, 1, 1, 1][..], Layout::OutFirst, "Mask, 10 elements in rows of 4"),
            (&[1, 10, 1, 1], Layout::InFirst, "Mask, 10 elements in rows of 4"),
            (&[1, 10, 1, 1], Layout::OutFirst, "Mask, 1 out × 10 in"),
            (&[10, 1, 1, 1], Layout::InFirst, "Mask, 1 out × 10 in"),
            (&[16, 1, 3, 3], Layout::OutFirst, "Mask, 16 out × 1 in of 3×3"),
            (&[1, 1, 3, 3], Layout::OutFirst, "Mask, 1 out × 1 in of 3×3"),
            (&[8, 4, 1, 1], Layout::OutFirst, "Mask, 8 out × 4 in"),
            (&[8, 4, 1, 5], Layout::OutFirst, "Mask, 8 out × 4 in of 1×5"),
            (&[8, 4, 2], Layout::InFirst, "Mask, 4 out × 8 in of 2"),
            (&[3, 2], Layout::OutFirst, "Mask, 3 out × 2 in"),
            (&[3, 2], Layout::InFirst, "Mask, 2 out × 3 in"),
            (&[7, 1], Layout::OutFirst, "Mask, 7 elements in rows of 3"),
            (&[6], Layout::OutFirst, "Mask, 6 elements in rows of 3"),
            (&[1], Layout::OutFirst, "Mask, 1 element"),
            (&[], Layout::OutFirst, "Mask, 1 element"),
            (&[1, 1], Layout::OutFirst, "Mask, 1 element"),
            (&[2], Layout::OutFirst, "Mask, 2 elements"),
            (&[0, 3], Layout::OutFirst, "Mask, 0 elements"),
            (&[0], Layout::OutFirst, "Mask, 0 elements"),
        ] {
            assert_eq!(title(shape, layout), expected, "{shape:?} {layout:?}");
        }
    }
}
