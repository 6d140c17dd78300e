//! How images are preprocessed: seen and changed, above what it leads to.

use eframe::egui::{self, Ui, WidgetInfo};

use crate::graph::Graph;
use crate::images::{ChannelOrder, Colours, Filter, IMAGENET_MEAN, IMAGENET_STD, MAX_EDGE, Preprocess, Resize};

use super::commands::Command;
use super::costs::Costs;
use super::{pictures, text, theme};

/// Means and deviations that are in use, by name.
const NORMALIZATIONS: [(&str, [f32; 3], [f32; 3]); 3] =
    [("ImageNet", IMAGENET_MEAN, IMAGENET_STD), ("−1 to 1", [0.5; 3], [0.5; 3]), ("0 to 1", [0.0; 3], [1.0; 3])];

/// The fields, where they were asked for.
pub(super) fn show(ui: &mut Ui, costs: &Costs, graph: &Graph, commands: &mut Vec<Command>) {
    let Some(shown) = costs.shown.as_ref().filter(|_| costs.edits_preprocessing) else { return };
    let Some(before) = &shown.preprocess else { return };
    let mut after = before.clone();
    let palette = theme::palette(ui);
    let frame = egui::Frame::new().fill(palette.panel).corner_radius(6).inner_margin(egui::Margin::symmetric(12, 8));
    ui.add_space(6.0);
    frame.show(ui, |ui| {
        ui.spacing_mut().item_spacing.y = 8.0;
        ui.horizontal(|ui| {
            label(ui, "Size");
            size_ui(ui, graph, &mut after);
            label(ui, "Resize");
            choice(ui, "Resize", "What a picture's edges become before the crop", Resize::ALL, Resize::name, &mut after.resize);
            label(ui, "Filter");
            choice(ui, "Filter", "How pixels are mixed, as Pillow does", Filter::ALL, Filter::name, &mut after.filter);
            label(ui, "Crop");
            let mut percent = after.crop * 100.0;
            number(ui, "Crop", &mut percent, 1.0..=100.0, "Share of the resized picture that the centre crop keeps", " %");
            after.crop = if percent == after.crop * 100.0 { after.crop } else { percent / 100.0 };
        });
        ui.horizontal(|ui| {
            label(ui, "Channels");
            choice(ui, "Channels", "Colours in the order in which the model wants them", Colours::ALL, channels_name, &mut after.channels);
            label(ui, "Values");
            normalization_ui(ui, &mut after);
        });
        ui.horizontal(|ui| {
            label(ui, "Mean");
            three(ui, "Mean", "Taken off, per channel, of values from 0 to 1", &mut after.mean, -1024.0);
            label(ui, "Deviation");
            three(ui, "Deviation", "Divides, per channel", &mut after.std, 1e-4);
        });
        ui.horizontal(|ui| {
            let order = if after.layout == ChannelOrder::Nchw { "channels first" } else { "channels last" };
            let line = format!("{} · {order}, as the model's input has it", shown.provenance);
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                let reset = ui.add(egui::Button::new("As the model's files say").frame(false));
                if reset.on_hover_text("Forget what was chosen here").clicked() {
                    commands.push(Command::Preprocess(None));
                }
                ui.with_layout(egui::Layout::left_to_right(egui::Align::Center), |ui| {
                    ui.add(egui::Label::new(egui::RichText::new(text::message(&line)).color(palette.weak)).truncate());
                });
            });
        });
        pictures::preview(ui, costs);
    });
    if after != *before {
        commands.push(Command::Preprocess(Some(Box::new(after))));
    }
}

/// The button that opens and closes the fields.
pub(super) fn button(ui: &mut Ui, costs: &Costs, commands: &mut Vec<Command>) {
    if costs.shown.as_ref().is_none_or(|shown| shown.preprocess.is_none()) {
        return;
    }
    let is_open = costs.edits_preprocessing;
    let button = ui.add(egui::Button::new("Preprocessing").selected(is_open));
    if button.on_hover_text("See and change how images become the network's input").clicked() {
        commands.push(Command::EditPreprocessing(!is_open));
    }
}

fn label(ui: &mut Ui, text: &str) {
    ui.label(egui::RichText::new(text).color(theme::palette(ui).weak));
}

fn channels_name(channels: Colours) -> &'static str {
    match channels {
        Colours::Rgb => "RGB",
        Colours::Bgr => "BGR",
        Colours::GreyInThree => "grey, three times",
        Colours::Grey => "grey",
    }
}

/// One of several, by name.
fn choice<T: Copy + PartialEq, const N: usize>(
    ui: &mut Ui,
    name: &str,
    tooltip: &str,
    all: [T; N],
    name_of: impl Fn(T) -> &'static str,
    chosen: &mut T,
) {
    let box_ = egui::ComboBox::from_id_salt(("preprocessing", name)).selected_text(name_of(*chosen)).width(84.0);
    let response = box_.show_ui(ui, |ui| {
        for one in all {
            ui.selectable_value(chosen, one, name_of(one));
        }
    });
    response.response.widget_info(|| WidgetInfo::labeled(egui::Role::ComboBox, true, name));
    response.response.on_hover_text(tooltip);
}

fn number(ui: &mut Ui, name: &str, value: &mut f64, range: std::ops::RangeInclusive<f64>, tooltip: &str, unit: &str) {
    let field = ui.add(egui::DragValue::new(value).range(range).speed(0.1).max_decimals(4).suffix(unit));
    field.widget_info(|| WidgetInfo::labeled(egui::Role::SpinButton, true, name));
    field.on_hover_text(tooltip);
}

/// Height and width; what the model fixes cannot be changed.
fn size_ui(ui: &mut Ui, graph: &Graph, after: &mut Preprocess) {
    let [rows, columns] = if after.layout == ChannelOrder::Nchw { [2, 3] } else { [1, 2] };
    let is_open = |axis: usize| graph.inputs.first().is_some_and(|input| input.shape.get(axis).is_none_or(Option::is_none));
    for (i, (name, axis)) in [("Height", rows), ("Width", columns)].into_iter().enumerate() {
        let mut edge = after.size[i];
        let field = egui::DragValue::new(&mut edge).range(1..=MAX_EDGE).speed(1.0);
        let field = ui.add_enabled(is_open(axis), field);
        field.widget_info(|| WidgetInfo::labeled(egui::Role::SpinButton, is_open(axis), name));
        field.on_hover_text(format!("{name} of the network's input")).on_disabled_hover_text("The model fixes it");
        after.size[i] = edge;
        if i == 0 {
            label(ui, "×");
        }
    }
}

/// A mean and a deviation that are in use, by name, or those that were typed.
fn normalization_ui(ui: &mut Ui, after: &mut Preprocess) {
    let now = NORMALIZATIONS.iter().position(|(_, mean, std)| after.divisor == 255.0 && (*mean, *std) == (after.mean, after.std));
    let bytes = (after.divisor, after.mean, after.std) == (1.0, [0.0; 3], [1.0; 3]);
    let name = match now {
        Some(i) => NORMALIZATIONS[i].0,
        None if bytes => "0 to 255",
        None => "typed",
    };
    let response = egui::ComboBox::from_id_salt("normalization").selected_text(name).width(84.0).show_ui(ui, |ui| {
        for (i, (name, mean, std)) in NORMALIZATIONS.iter().enumerate() {
            if ui.selectable_label(now == Some(i), *name).clicked() {
                (after.divisor, after.mean, after.std) = (255.0, *mean, *std);
            }
        }
        if ui.selectable_label(bytes, "0 to 255").clicked() {
            (after.divisor, after.mean, after.std) = (1.0, [0.0; 3], [1.0; 3]);
        }
    });
    response.response.widget_info(|| WidgetInfo::labeled(egui::Role::ComboBox, true, "Values"));
    response.response.on_hover_text("Mean and deviation by name; type others in the fields");
}

fn three(ui: &mut Ui, name: &str, tooltip: &str, values: &mut [f32; 3], least: f64) {
    for (value, channel) in values.iter_mut().zip(["first", "second", "third"]) {
        let mut wide = f64::from((*value * 1e6).round()) / 1e6;
        let before = wide;
        number(ui, &format!("{name}, {channel} channel"), &mut wide, least..=1024.0, tooltip, "");
        if wide != before {
            *value = wide as f32;
        }
    }
}
