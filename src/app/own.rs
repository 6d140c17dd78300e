//! Amounts of modules' own: set for one or several, in the panel of a module and in the tree's menu.

use eframe::egui::{self, Ui, WidgetInfo};

use crate::graph::ModuleId;
use crate::prune::{Amount, Recipe, Step};

use super::commands::Command;
use super::state::AppState;

/// Steps of the slider from 0 to 100 %.
const STEPS: f64 = 1000.0;

/// Gives modules an amount of their own, or takes it away.
pub(super) fn set(recipe: &Recipe, targets: &[ModuleId], amount: Option<Amount>, commands: &mut Vec<Command>) {
    let mut recipe = recipe.clone();
    for target in targets {
        recipe.own[target.0] = amount;
    }
    commands.push(Command::Set(Box::new(recipe), Step::OwnAmount));
}

/// What a slider for these modules starts at: the amount that the first of them has, else that of the whole.
pub(super) fn start(state: &AppState, recipe: &Recipe, targets: &[ModuleId]) -> Amount {
    let own = targets.iter().find_map(|target| recipe.own[target.0]);
    own.unwrap_or_else(|| Amount::Fraction((state.fraction() * STEPS).round() / STEPS))
}

/// A slider with a field for the amount that these modules have of their own, by its name; any change sets it for all of them.
pub(super) fn slider_ui(ui: &mut Ui, state: &AppState, recipe: &Recipe, targets: &[ModuleId], name: &str, commands: &mut Vec<Command>) {
    const FIELD: f32 = 62.0;
    let mut percent = match start(state, recipe, targets) {
        Amount::Fraction(fraction) => fraction * 100.0,
        // A number of elements is told as the share that it is of the first module's largest parameter.
        Amount::Count(count) => share(state, targets, count) * 100.0,
    };
    let palette = super::theme::palette(ui);
    ui.visuals_mut().widgets.inactive.bg_fill = palette.line;
    // The handle is no higher than the text beside it.
    let height = std::mem::replace(&mut ui.spacing_mut().interact_size.y, 18.0);
    ui.spacing_mut().slider_width = (ui.available_width() - FIELD - 8.0).clamp(40.0, 180.0);
    let before = percent;
    let slider = ui.add(egui::Slider::new(&mut percent, 0.0..=100.0).step_by(100.0 / STEPS).show_value(false));
    ui.spacing_mut().interact_size.y = height;
    slider.widget_info(|| WidgetInfo::slider(true, percent, format!("{name}, slider")));
    let field = ui.add(egui::DragValue::new(&mut percent).range(0.0..=100.0).speed(0.2).fixed_decimals(1).suffix("\u{2009}%"));
    field.widget_info(|| WidgetInfo::labeled(egui::Role::SpinButton, true, name));
    if (percent - before).abs() > 1e-9 {
        set(recipe, targets, Some(Amount::Fraction((percent * STEPS / 100.0).round() / STEPS)), commands);
    }
    if [&slider, &field].iter().any(|response| response.drag_stopped() || response.lost_focus()) {
        commands.push(Command::EndDrag);
    }
}

/// Part of the elements of the first module's largest parameter, 0..=1.
fn share(state: &AppState, targets: &[ModuleId], count: u64) -> f64 {
    let largest = || {
        let graph = &state.model.as_ref()?.graph;
        graph.module(*targets.first()?).parameters.iter().map(|&p| graph.parameter(p).elements).max()
    };
    (count as f64 / largest().unwrap_or(1).max(1) as f64).min(1.0)
}
