//! Modules on the left, grouped by type or by path: ticks, elements, sparsity, search. Below them what no module prunes.

mod rows;

use std::collections::BTreeSet;

use eframe::egui::{self, Rect, Role, Sense, Ui, WidgetInfo, pos2, vec2};

use crate::engine::Model;
use crate::graph::{Graph, ModuleId};
use crate::measure::Outcome;
use crate::onnx::TensorId;
use crate::prune::{Amount, Recipe, Step};

use super::commands::Command;
use super::state::{AppState, Grouping};
use super::widgets::Tick;
use super::{own, text, theme, widgets};
use rows::{Heap, Listing, RowKind, TreeRow};

/// Width of the bar that shows a module's sparsity.
const BAR_WIDTH: f32 = 52.0;
/// Room for the number of elements.
const COUNT_WIDTH: f32 = 60.0;

pub(super) fn show(ui: &mut Ui, state: &AppState, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    let frame = egui::Frame::new().fill(palette.panel).inner_margin(egui::Margin { left: 10, right: 6, top: 10, bottom: 6 });
    let room = ui.ctx().content_rect().width();
    let width = (ui.available_width() * 0.26).clamp(290.0, 420.0);
    egui::Panel::left("modules").default_size(width).size_range(220.0..=(room * 0.3).max(260.0)).frame(frame).show(ui, |ui| {
        ui.set_min_width(ui.available_width());
        let Some(model) = &state.model else { return };
        head_ui(ui, state, commands);
        let rows =
            Listing { graph: &model.graph, file: &model.file, grouping: state.kept.grouping, search: &state.search, folds: &state.folds }
                .rows();
        if rows.is_empty() {
            ui.weak(if state.search.is_empty() { "This model has no modules with weights" } else { "No module has this in its name" });
            return;
        }
        let outcome = state.view.as_ref().and_then(|v| v.figures.chosen().ok());
        let seen = TreeView { state, model, outcome, elements: rows::elements(model), rows: &rows };
        ui.spacing_mut().item_spacing.y = 0.0;
        let mut area = egui::ScrollArea::vertical().auto_shrink(false);
        if let Some(at) = revealed(state, &rows, ui) {
            area = area.vertical_scroll_offset(at);
        }
        let output = area.show_rows(ui, theme::ROW_HEIGHT, rows.len(), |ui, range| {
            for row in &rows[range] {
                row_ui(ui, &seen, row, commands);
            }
        });
        ui.data_mut(|d| d.insert_temp(scroll_id(), (output.state.clamped_offset().y, output.inner_rect.height())));
    });
}

fn scroll_id() -> egui::Id {
    egui::Id::unique("modules scroll")
}

/// Where to scroll, so that a selection made elsewhere is seen.
fn revealed(state: &AppState, rows: &[TreeRow<'_>], ui: &Ui) -> Option<f32> {
    if !state.reveals_selection {
        return None;
    }
    let module = state.model.as_ref()?.graph.parameter(state.selected?).module;
    let at = rows.iter().position(|r| r.what == RowKind::Module(module))? as f32 * theme::ROW_HEIGHT;
    let (offset, height) = ui.data(|d| d.get_temp::<(f32, f32)>(scroll_id()))?;
    let is_seen = at >= offset && at + theme::ROW_HEIGHT <= offset + height;
    (!is_seen).then_some((at - height / 2.0).max(0.0))
}

fn head_ui(ui: &mut Ui, state: &AppState, commands: &mut Vec<Command>) {
    ui.horizontal(|ui| {
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let palette = theme::palette(ui);
            for (grouping, name) in [(Grouping::Path, "By path"), (Grouping::Type, "By type")] {
                let is_chosen = state.kept.grouping == grouping;
                let color = if is_chosen { palette.text } else { palette.weak };
                let text = egui::RichText::new(name).color(color).font(if is_chosen { theme::bold() } else { theme::normal() });
                if ui.add(egui::Button::new(text).frame(false)).on_hover_text("How modules are grouped").clicked() {
                    commands.push(Command::Group(grouping));
                }
            }
            let mut search = state.search.clone();
            let field =
                egui::TextEdit::singleline(&mut search).hint_text("Find a module").desired_width(f32::INFINITY).margin(vec2(8.0, 6.0));
            let response = ui.add(field);
            response.widget_info(|| {
                let mut info = WidgetInfo::text_edit(true, &state.search, &search, "Find a module");
                info.label = Some("Find a module".into());
                info
            });
            if response.on_hover_text("Part of a module's name or type").changed() {
                commands.push(Command::Search(search));
            }
        });
    });
    ui.add_space(6.0);
}

/// Ticked, not ticked, or some of each.
fn ticks(recipe: &Recipe, modules: &[ModuleId]) -> (bool, bool) {
    let ticked = modules.iter().filter(|m| recipe.ticked[m.0]).count();
    (ticked == modules.len(), ticked > 0 && ticked < modules.len())
}

/// What all lines are drawn from.
struct TreeView<'a> {
    state: &'a AppState,
    model: &'a Model,
    outcome: Option<&'a Outcome>,
    /// Elements of all lines together.
    elements: u64,
    rows: &'a [TreeRow<'a>],
}

impl TreeView<'_> {
    /// Part of the whole list.
    fn share(&self, elements: u64) -> String {
        text::percent(elements as f64 / self.elements.max(1) as f64)
    }
}

/// One line's place.
struct RowPlace {
    rect: Rect,
    /// Where the triangle, the tick and the label start.
    left: f32,
    middle: f32,
}

impl RowPlace {
    fn label(&self) -> Rect {
        Rect::from_min_max(pos2(self.left + 39.0, self.rect.top()), pos2(self.count_right() - COUNT_WIDTH, self.rect.bottom()))
    }

    /// Right end of a number of elements, with room for a bar behind it.
    fn count_right(&self) -> f32 {
        self.rect.right() - BAR_WIDTH - 15.0
    }
}

fn row_ui(ui: &mut Ui, seen: &TreeView<'_>, row: &TreeRow<'_>, commands: &mut Vec<Command>) {
    let TreeView { state, model, outcome, .. } = *seen;
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), theme::ROW_HEIGHT), Sense::click());
    let line = RowPlace { rect, left: rect.left() + 4.0 + row.depth as f32 * 17.0, middle: rect.center().y };
    let single;
    let (modules, is_group): (&[ModuleId], bool) = match &row.what {
        RowKind::Group { modules, .. } => (modules, true),
        RowKind::Module(id) => {
            single = [*id];
            (&single, false)
        }
        RowKind::Heap { .. } | RowKind::Tensor(..) => return rest_ui(ui, seen, row, &line, response, commands),
    };
    let (graph, palette, middle) = (&*model.graph, theme::palette(ui), line.middle);
    let Some(recipe) = &state.recipe else { return };
    let is_shown = state.selected.is_some_and(|id| graph.parameter(id).module == modules[0]);
    let is_selected = !is_group && (is_shown || state.marked.contains(&modules[0]));
    if is_selected || response.hovered() {
        ui.painter().rect_filled(rect, 4.0, if is_selected { palette.selected } else { palette.raised });
    }
    if let RowKind::Group { is_open, .. } = &row.what {
        paint_triangle(ui, pos2(line.left + 5.0, middle), *is_open, palette.weak);
    }
    let tick = Rect::from_center_size(pos2(line.left + 24.0, middle), vec2(18.0, 18.0));
    tick_ui(ui, recipe, graph, row, modules, tick, commands);
    let elements: u64 = modules.iter().flat_map(|&m| &graph.module(m).parameters).map(|&p| graph.parameter(p).elements as u64).sum();
    let included = modules.iter().any(|&m| recipe.includes(m));
    let color = if included { palette.text } else { palette.weak };
    let mut label = line.label();
    let locked = modules.iter().filter(|m| recipe.locked[m.0]).count();
    if locked > 0 {
        widgets::paint_lock(ui.painter(), pos2(label.right() - 2.0, middle), palette.weak);
        label.max.x -= 12.0;
    }
    if is_group {
        group_ui(ui, row, &line, label, (modules.len(), color));
        widgets::paint_right(ui, rect.right() - 6.0, middle, &seen.share(elements), theme::normal(), palette.weak);
    } else {
        widgets::paint_path(ui, label, &row.label, &theme::normal(), color);
        // An amount of its own stands where the elements do, which the tooltip tells.
        match recipe.own[modules[0].0] {
            Some(own) => paint_own(ui, pos2(line.count_right() + 5.0, middle), own),
            None => widgets::paint_right(ui, line.count_right(), middle, &text::count(elements), theme::normal(), palette.weak),
        }
        let bar = Rect::from_center_size(pos2(rect.right() - BAR_WIDTH / 2.0 - 6.0, middle), vec2(BAR_WIDTH, 8.0));
        let zeros: u64 = outcome.map_or(0, |o| modules.iter().flat_map(|&m| &graph.module(m).parameters).map(|&p| o.zeros[p.0]).sum());
        widgets::paint_bar(ui.painter(), bar, zeros as f64 / elements.max(1) as f64, palette.applied, palette);
    }
    response.widget_info(|| WidgetInfo::selected(Role::TreeItem, true, is_selected, &*row.name));
    let clicked = response.clicked();
    menu_ui(&response, seen, recipe, row, modules, commands);
    hover_ui(response, graph, row, outcome);
    if clicked {
        let modifiers = ui.input(|i| i.modifiers);
        match &row.what {
            RowKind::Group { key, .. } => commands.push(Command::Fold(key.clone())),
            RowKind::Module(id) if modifiers.command || modifiers.shift => {
                commands.push(Command::Mark(marked(seen, *id, modifiers.shift)));
            }
            RowKind::Module(id) => commands.extend(state.first_parameter(*id).map(Command::Select)),
            RowKind::Heap { .. } | RowKind::Tensor(..) => {}
        }
    }
}

/// What is marked after a click with Control, which marks one more or one less, or with Shift, which marks all from the selected
/// module to this one.
fn marked(seen: &TreeView<'_>, clicked: ModuleId, is_range: bool) -> BTreeSet<ModuleId> {
    let TreeView { state, model, rows, .. } = *seen;
    let selected = state.selected.map(|id| model.graph.parameter(id).module);
    if is_range {
        let listed: Vec<ModuleId> =
            rows.iter().filter_map(|row| if let RowKind::Module(id) = row.what { Some(id) } else { None }).collect();
        let at = |id: ModuleId| listed.iter().position(|other| *other == id);
        let (Some(from), Some(to)) = (selected.and_then(at), at(clicked)) else { return [clicked].into() };
        return listed[from.min(to)..=from.max(to)].iter().copied().collect();
    }
    let mut marked = state.marked.clone();
    if marked.is_empty() {
        marked.extend(selected);
    }
    if !marked.remove(&clicked) {
        marked.insert(clicked);
    }
    marked
}

/// What a right click offers: an amount of its own and a lock, for the module, for all that are marked with it, or for a group.
fn menu_ui(
    response: &egui::Response,
    seen: &TreeView<'_>,
    recipe: &Recipe,
    row: &TreeRow<'_>,
    modules: &[ModuleId],
    commands: &mut Vec<Command>,
) {
    let TreeView { state, model, .. } = *seen;
    let are_marked = matches!(row.what, RowKind::Module(id) if state.marked.contains(&id));
    let mut targets: Vec<ModuleId> = if are_marked { state.marked.iter().copied().collect() } else { modules.to_vec() };
    targets.retain(|&m| is_prunable(&model.graph, m));
    if targets.is_empty() {
        return;
    }
    let menu = egui::Popup::context_menu(response).close_behavior(egui::PopupCloseBehavior::CloseOnClickOutside);
    menu.show(|ui| {
        ui.set_min_width(300.0);
        let title = match targets.as_slice() {
            [one] => text::name(&model.graph.module(*one).name),
            many => format!("{} modules", text::count(many.len() as u64)).into(),
        };
        ui.add(egui::Label::new(egui::RichText::new(title).font(theme::bold())).truncate());
        ui.horizontal(|ui| {
            ui.label("Own amount");
            own::slider_ui(ui, state, recipe, &targets, "Own amount of these modules", commands);
        });
        let set = ui.button("Set own amount").on_hover_text("The method leaves it alone, and the others share what is left of the whole");
        if set.clicked() {
            own::set(recipe, &targets, Some(own::start(state, recipe, &targets)), commands);
            commands.push(Command::EndDrag);
            ui.close();
        }
        let has_own = targets.iter().any(|m| recipe.own[m.0].is_some());
        let clear = ui.add_enabled(has_own, egui::Button::new("Clear own amount"));
        if clear.on_hover_text("The method gives the amount again").clicked() {
            own::set(recipe, &targets, None, commands);
            commands.push(Command::EndDrag);
            ui.close();
        }
        ui.separator();
        let are_locked = targets.iter().all(|m| recipe.locked[m.0]);
        let lock = ui.button(if are_locked { "Unlock" } else { "Lock" });
        if lock.on_hover_text("Protect from pruning, whatever is ticked").clicked() {
            let mut recipe = recipe.clone();
            for target in &targets {
                recipe.locked[target.0] = !are_locked;
            }
            commands.push(Command::Set(Box::new(recipe), Step::Lock));
            ui.close();
        }
    });
}

/// An amount of a module's own, framed, that ends at `right`.
fn paint_own(ui: &Ui, right: egui::Pos2, own: Amount) {
    let palette = theme::palette(ui);
    let shown = match own {
        Amount::Fraction(fraction) => text::percent(fraction),
        Amount::Count(count) => text::count(count),
    };
    let galley = ui.painter().layout_no_wrap(shown, theme::small(), palette.text);
    let frame = Rect::from_min_max(right - vec2(galley.size().x + 10.0, 8.0), right + vec2(0.0, 8.0));
    ui.painter().rect_stroke(frame, 4.0, egui::Stroke::new(1.0, palette.weak), egui::StrokeKind::Inside);
    ui.painter().galley(frame.center() - galley.size() / 2.0, galley, palette.text);
}

/// A group's name, and how many are in it.
fn group_ui(ui: &Ui, row: &TreeRow<'_>, line: &RowPlace, label: Rect, (count, color): (usize, egui::Color32)) {
    let galley = ui.painter().layout_no_wrap(row.label.to_string(), theme::bold(), color);
    let width = galley.size().x.min(label.width());
    widgets::paint_clipped(ui, label, &row.label, theme::bold(), color);
    let number = pos2(label.left() + width + 7.0, line.middle);
    ui.painter().text(number, egui::Align2::LEFT_CENTER, text::count(count as u64), theme::normal(), theme::palette(ui).weak);
}

/// A line of what is no parameter: greyed, without a tick that could be set, and why.
fn rest_ui(ui: &Ui, seen: &TreeView<'_>, row: &TreeRow<'_>, line: &RowPlace, response: egui::Response, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    if response.hovered() {
        ui.painter().rect_filled(line.rect, 4.0, palette.raised);
    }
    response.widget_info(|| WidgetInfo::selected(Role::TreeItem, true, false, &*row.name));
    let elements = |ids: &[TensorId]| ids.iter().map(|&id| seen.model.file.tensor(id).elements as u64).sum::<u64>();
    let figure = |right: f32, text: &str| widgets::paint_right(ui, right, line.middle, text, theme::normal(), palette.weak);
    match &row.what {
        RowKind::Heap { heap, tensors, is_open } => {
            paint_triangle(ui, pos2(line.left + 5.0, line.middle), *is_open, palette.weak);
            group_ui(ui, row, line, line.label(), (tensors.len(), palette.weak));
            let elements = elements(tensors);
            figure(line.rect.right() - 6.0, &seen.share(elements));
            if response.clicked() {
                commands.push(Command::Fold(heap.key().to_owned()));
            }
            response.on_hover_text(format!("{}\n{} elements in {} tensors", heap.meaning(), text::count(elements), tensors.len()));
        }
        RowKind::Tensor(heap, id) => {
            widgets::paint_path(ui, line.label(), &row.label, &theme::normal(), palette.weak);
            figure(line.count_right(), &text::count(elements(&[*id])));
            response.on_hover_ui(|ui| tensor_ui(ui, seen.model, *heap, *id));
        }
        RowKind::Group { .. } | RowKind::Module(_) => {}
    }
}

fn tensor_ui(ui: &mut Ui, model: &Model, heap: Heap, id: TensorId) {
    let tensor = model.file.tensor(id);
    ui.label(egui::RichText::new(text::name(&tensor.name)).font(theme::bold()));
    ui.weak(format!("{} · {}", text::dimensions(&tensor.shape), tensor.dtype));
    ui.weak(format!("Cannot be pruned: {}", heap.obstacle(tensor)));
}

/// Whether a module has a parameter that can be pruned.
fn is_prunable(graph: &Graph, module: ModuleId) -> bool {
    graph.module(module).parameters.iter().any(|&p| graph.parameter(p).obstacle().is_none())
}

fn tick_ui(ui: &mut Ui, recipe: &Recipe, graph: &Graph, row: &TreeRow<'_>, modules: &[ModuleId], rect: Rect, commands: &mut Vec<Command>) {
    let prunable = |m: &ModuleId| is_prunable(graph, *m);
    let can = modules.iter().any(prunable);
    let (all, some) = ticks(recipe, modules);
    let shown = match (can, all, some) {
        (false, ..) => Tick::Barred,
        (_, true, _) => Tick::On,
        (_, _, true) => Tick::Part,
        _ => Tick::Off,
    };
    // Two groups may have one name, but not one first module and depth.
    let id = ui.scope_id().with(("tick", row.depth, modules.first().map(|m| m.0)));
    let response = widgets::tick_box(ui, rect, id, shown, &format!("Prune {}", row.name));
    if response.clicked() {
        let mut recipe = recipe.clone();
        // A partly ticked group becomes wholly ticked.
        for m in modules.iter().filter(|m| prunable(m)) {
            recipe.ticked[m.0] = !all;
        }
        commands.push(Command::Set(Box::new(recipe), Step::Tick));
    }
    let obstacle = modules.iter().flat_map(|&m| &graph.module(m).parameters).find_map(|&p| graph.parameter(p).obstacle());
    match obstacle.filter(|_| !can) {
        Some(why) => response.on_hover_text(format!("Cannot be pruned: {why}")),
        None => response.on_hover_text("May be pruned"),
    };
}

fn hover_ui(response: egui::Response, graph: &Graph, row: &TreeRow<'_>, outcome: Option<&Outcome>) {
    let id = match &row.what {
        RowKind::Module(id) => *id,
        RowKind::Group { modules, .. } => {
            let elements: u64 =
                modules.iter().flat_map(|&m| &graph.module(m).parameters).map(|&p| graph.parameter(p).elements as u64).sum();
            response.on_hover_text(format!("{} elements in {} modules", text::count(elements), text::count(modules.len() as u64)));
            return;
        }
        RowKind::Heap { .. } | RowKind::Tensor(..) => return,
    };
    let module = graph.module(id);
    response.on_hover_ui(|ui| {
        ui.label(egui::RichText::new(text::name(&module.name)).font(theme::bold()));
        ui.weak(format!("{} · {}", text::name(&module.kind), module.role));
        for &p in &module.parameters {
            let parameter = graph.parameter(p);
            let zeros = outcome.map_or(0, |o| o.zeros[p.0]);
            let share = zeros as f64 / parameter.elements.max(1) as f64;
            let elements = text::count(parameter.elements as u64);
            let shape = text::shape(parameter);
            ui.label(format!("{} {shape} · {elements} elements · {} · {} zero", parameter.kind, parameter.dtype, text::percent(share)));
            if let Some(why) = parameter.obstacle() {
                ui.weak(format!("Cannot be pruned: {why}"));
            }
        }
        for &p in &module.parameters {
            if let Some(users) = text::users(graph, p) {
                ui.weak(format!("{} is {users}", graph.parameter(p).attribute));
            }
        }
    });
}

fn paint_triangle(ui: &Ui, center: egui::Pos2, is_open: bool, color: egui::Color32) {
    let points = if is_open {
        vec![center + vec2(-4.0, -2.5), center + vec2(4.0, -2.5), center + vec2(0.0, 3.5)]
    } else {
        vec![center + vec2(-2.5, -4.0), center + vec2(3.5, 0.0), center + vec2(-2.5, 4.0)]
    };
    ui.painter().add(egui::Shape::convex_polygon(points, color, egui::Stroke::NONE));
}
