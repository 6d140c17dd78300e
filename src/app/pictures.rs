//! Tab “Effect”, the images as the network sees them: those whose answer changed, with both answers.

use std::sync::Arc;

use eframe::egui::{self, TextureHandle, Ui, vec2};

use crate::images::RgbPicture;
use crate::measure::Changed;
use crate::prune::Method;

use super::costs::Costs;
use super::text;
use super::theme;
use super::widgets;

/// Edge of a picture.
const EDGE: f32 = 52.0;
/// Between two of them.
const GAP: f32 = 8.0;

pub(super) fn show(ui: &mut Ui, costs: &Costs, method: Method) {
    let Some(effect) = costs.cost.as_ref().and_then(|c| c.effects.given(method)) else { return };
    if costs.pictures.is_empty() {
        return;
    }
    let changed = |image: usize| effect.changed.iter().find(|c| c.image == image);
    let textures = textures(ui, costs);
    let mut shown: Vec<(&TextureHandle, Option<&Changed>)> = textures.iter().map(|(image, texture)| (texture, changed(*image))).collect();
    if effect.changed.is_empty() {
        widgets::section_title(ui, "What the network sees");
        for (_, changed) in &mut shown {
            *changed = None;
        }
    } else {
        shown.retain(|(_, changed)| changed.is_some());
        let name = text::method_within(method);
        let part =
            if shown.len() < effect.changed.len() { format!(", {} of {}", shown.len(), effect.changed.len()) } else { String::new() };
        widgets::section_title(ui, &format!("Answers that changed under {name}, dense → pruned{part}"));
    }
    ui.add_space(4.0);
    let per_row = (((ui.available_width() + GAP) / (EDGE + GAP)) as usize).max(1);
    for row in shown.chunks(per_row) {
        ui.horizontal(|ui| {
            ui.spacing_mut().item_spacing = vec2(GAP, 2.0);
            for (texture, changed) in row {
                picture_ui(ui, costs, texture, *changed);
            }
        });
        ui.add_space(GAP - ui.spacing().item_spacing.y);
    }
}

/// A few of the images as the network sees them.
pub(super) fn preview(ui: &mut Ui, costs: &Costs) {
    let textures = textures(ui, costs);
    let fit = ((ui.available_width() + GAP) / (EDGE + GAP)) as usize;
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing = vec2(GAP, 2.0);
        // Room is kept while others are made.
        ui.set_min_height(EDGE);
        for (_, texture) in textures.iter().take(fit) {
            picture_ui(ui, costs, texture, None);
        }
    });
}

fn picture_ui(ui: &mut Ui, costs: &Costs, texture: &TextureHandle, changed: Option<&Changed>) {
    let classes = costs.shown.as_ref().map_or(&[][..], |s| &s.classes);
    let class = |i: usize| classes.get(i).map_or_else(|| i.to_string(), |class| text::name(class).into_owned());
    ui.vertical(|ui| {
        ui.set_width(EDGE);
        ui.add(egui::Image::new(texture).fit_to_exact_size(vec2(EDGE, EDGE)).corner_radius(3));
        if let Some(changed) = changed {
            let answers = format!("{} → {}", class(changed.dense), class(changed.pruned));
            let label = egui::Label::new(egui::RichText::new(&answers).font(theme::small()).color(theme::palette(ui).weak));
            ui.add(label.truncate()).on_hover_text(answers);
        }
    });
}

/// The pictures on the graphics device, kept from frame to frame.
fn textures(ui: &Ui, costs: &Costs) -> Vec<(usize, TextureHandle)> {
    type Kept = (usize, Vec<(usize, TextureHandle)>);
    let id = egui::Id::unique("effect pictures");
    let key = Arc::as_ptr(&costs.pictures) as usize;
    if let Some((known, textures)) = ui.data(|d| d.get_temp::<Kept>(id))
        && known == key
    {
        return textures;
    }
    let load = |(image, picture): &(usize, RgbPicture)| {
        let pixels = egui::ColorImage::from_rgb([picture.width as usize, picture.height as usize], &picture.rgb);
        (*image, ui.ctx().load_texture(format!("image {image}"), pixels, egui::TextureOptions::LINEAR))
    };
    let textures: Vec<(usize, TextureHandle)> = costs.pictures.iter().map(load).collect();
    ui.data_mut(|d| d.insert_temp::<Kept>(id, (key, textures.clone())));
    textures
}
