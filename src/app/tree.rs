//! Modules on the left, grouped by type or by path: ticks, elements, sparsity, search.

use eframe::egui::{self, Rect, Role, Sense, Ui, WidgetInfo, pos2, vec2};

use crate::graph::{Graph, ModuleId};
use crate::measure::Outcome;
use crate::prune::{Settings, Step};

use super::commands::Command;
use super::state::{AppState, Grouping};
use super::widgets::Tick;
use super::{text, theme, widgets};

/// Width of the bar that shows a module's sparsity.
const BAR_WIDTH: f32 = 52.0;
/// Room for the number of elements.
const COUNT_WIDTH: f32 = 60.0;

/// One line of the list.
#[derive(Debug, PartialEq)]
struct Row {
    depth: usize,
    label: String,
    /// The whole path; what is told apart by it.
    name: String,
    what: What,
}

#[derive(Debug, PartialEq)]
enum What {
    /// A type or a path, with the modules in it; the key says which is closed.
    Group {
        key: String,
        modules: Vec<ModuleId>,
        is_open: bool,
    },
    Module(ModuleId),
}

pub(super) fn show(ui: &mut Ui, state: &AppState, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    let frame = egui::Frame::new().fill(palette.panel).inner_margin(egui::Margin { left: 10, right: 6, top: 10, bottom: 6 });
    let room = ui.ctx().content_rect().width();
    let width = (ui.available_width() * 0.26).clamp(290.0, 420.0);
    egui::Panel::left("modules").default_size(width).size_range(220.0..=(room * 0.3).max(260.0)).frame(frame).show(ui, |ui| {
        ui.set_min_width(ui.available_width());
        let Some(model) = &state.model else { return };
        head_ui(ui, state, commands);
        let rows = rows(&model.graph, state.kept.grouping, &state.search, &state.closed);
        if rows.is_empty() {
            ui.weak(if state.search.is_empty() { "This model has no modules with weights" } else { "No module has this in its name" });
            return;
        }
        let outcome = state.view.as_ref().and_then(|v| v.figures.chosen().ok());
        ui.spacing_mut().item_spacing.y = 0.0;
        let mut area = egui::ScrollArea::vertical().auto_shrink(false);
        if let Some(at) = revealed(state, &rows, ui) {
            area = area.vertical_scroll_offset(at);
        }
        let output = area.show_rows(ui, theme::ROW_HEIGHT, rows.len(), |ui, range| {
            for row in &rows[range] {
                row_ui(ui, state, &model.graph, row, outcome, commands);
            }
        });
        ui.data_mut(|d| d.insert_temp(scroll_id(), (output.state.clamped_offset().y, output.inner_rect.height())));
    });
}

fn scroll_id() -> egui::Id {
    egui::Id::unique("modules scroll")
}

/// Where to scroll, so that a selection made elsewhere is seen.
fn revealed(state: &AppState, rows: &[Row], ui: &Ui) -> Option<f32> {
    if !state.reveals_selection {
        return None;
    }
    let module = state.model.as_ref()?.graph.parameter(state.selected?).module;
    let at = rows.iter().position(|r| r.what == What::Module(module))? as f32 * theme::ROW_HEIGHT;
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

/// The lines to show. A search opens all groups.
fn rows(graph: &Graph, grouping: Grouping, search: &str, closed: &std::collections::HashSet<String>) -> Vec<Row> {
    let needle = search.to_lowercase();
    let is_found = |id: &ModuleId| {
        needle.is_empty()
            || graph.module(*id).name.to_lowercase().contains(&needle)
            || graph.module(*id).kind.to_lowercase().contains(&needle)
    };
    let is_open = |key: &str| !needle.is_empty() || !closed.contains(key);
    let mut rows = Vec::new();
    match grouping {
        Grouping::Type => {
            for (kind, modules) in graph.types() {
                let modules: Vec<ModuleId> = modules.into_iter().filter(is_found).collect();
                if modules.is_empty() {
                    continue;
                }
                let key = format!("type {kind}");
                let open = is_open(&key);
                let what = What::Group { key, modules: modules.clone(), is_open: open };
                rows.push(Row { depth: 0, label: kind.to_owned(), name: kind.to_owned(), what });
                if open {
                    rows.extend(modules.into_iter().map(|id| Row {
                        depth: 1,
                        label: graph.module(id).name.clone(),
                        name: graph.module(id).name.clone(),
                        what: What::Module(id),
                    }));
                }
            }
        }
        Grouping::Path => {
            let modules: Vec<ModuleId> = (0..graph.modules.len()).map(ModuleId).filter(is_found).collect();
            branch(graph, &modules, "", 0, &is_open, &mut rows);
        }
    }
    rows
}

/// Modules whose path starts with `prefix`, in graph order; runs of the same next part become groups.
fn branch(graph: &Graph, modules: &[ModuleId], prefix: &str, depth: usize, is_open: &dyn Fn(&str) -> bool, rows: &mut Vec<Row>) {
    let rest = |id: ModuleId| &graph.module(id).name[prefix.len()..];
    let mut at = 0;
    while at < modules.len() {
        let name = rest(modules[at]);
        let Some((part, _)) = name.split_once('.') else {
            let whole = graph.module(modules[at]).name.clone();
            rows.push(Row { depth, label: name.to_owned(), name: whole, what: What::Module(modules[at]) });
            at += 1;
            continue;
        };
        let inner = format!("{prefix}{part}.");
        let end = at + modules[at..].iter().take_while(|id| graph.module(**id).name.starts_with(&inner)).count();
        let run = &modules[at..end];
        // The key tells apart two runs of one name, which happens where modules run in another order than they are named.
        let key = format!("path {inner} {}", run[0].0);
        let open = is_open(&key);
        let what = What::Group { key, modules: run.to_vec(), is_open: open };
        rows.push(Row { depth, label: part.to_owned(), name: format!("{prefix}{part}"), what });
        if open {
            branch(graph, run, &inner, depth + 1, is_open, rows);
        }
        at = end;
    }
}

/// Ticked, not ticked, or some of each.
fn ticks(settings: &Settings, modules: &[ModuleId]) -> (bool, bool) {
    let ticked = modules.iter().filter(|m| settings.ticked[m.0]).count();
    (ticked == modules.len(), ticked > 0 && ticked < modules.len())
}

fn row_ui(ui: &mut Ui, state: &AppState, graph: &Graph, row: &Row, outcome: Option<&Outcome>, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), theme::ROW_HEIGHT), Sense::click());
    let Some(settings) = &state.settings else { return };
    let single;
    let (modules, is_group): (&[ModuleId], bool) = match &row.what {
        What::Group { modules, .. } => (modules, true),
        What::Module(id) => {
            single = [*id];
            (&single, false)
        }
    };
    let is_selected = !is_group && state.selected.is_some_and(|id| graph.parameter(id).module == modules[0]);
    if is_selected || response.hovered() {
        ui.painter().rect_filled(rect, 4.0, if is_selected { palette.selected } else { palette.raised });
    }
    let middle = rect.center().y;
    let left = rect.left() + 4.0 + row.depth as f32 * 17.0;
    if let What::Group { is_open, .. } = &row.what {
        paint_triangle(ui, pos2(left + 5.0, middle), *is_open, palette.weak);
    }
    let tick = Rect::from_center_size(pos2(left + 24.0, middle), vec2(18.0, 18.0));
    tick_ui(ui, settings, graph, row, modules, tick, commands);
    let bar = Rect::from_center_size(pos2(rect.right() - BAR_WIDTH / 2.0 - 6.0, middle), vec2(BAR_WIDTH, 8.0));
    let count_right = bar.left() - 9.0;
    let elements: u64 = modules.iter().flat_map(|&m| &graph.module(m).parameters).map(|&p| graph.parameter(p).elements as u64).sum();
    let included = modules.iter().any(|&m| settings.includes(m));
    let color = if included { palette.text } else { palette.weak };
    let label_left = tick.right() + 6.0;
    let font = if is_group { theme::bold() } else { theme::normal() };
    let mut label = Rect::from_min_max(pos2(label_left, rect.top()), pos2(count_right - COUNT_WIDTH, rect.bottom()));
    let locked = modules.iter().filter(|m| settings.locked[m.0]).count();
    if locked > 0 {
        widgets::paint_lock(ui.painter(), pos2(label.right() - 2.0, middle), palette.weak);
        label.max.x -= 12.0;
    }
    if is_group {
        let galley = ui.painter().layout_no_wrap(row.label.clone(), font.clone(), color);
        let width = galley.size().x.min(label.width());
        widgets::paint_clipped(ui, label, &row.label, font, color);
        let number = pos2(label.left() + width + 7.0, middle);
        ui.painter().text(number, egui::Align2::LEFT_CENTER, modules.len().to_string(), theme::normal(), palette.weak);
        let share = elements as f64 / graph.elements().max(1) as f64;
        widgets::paint_right(ui, rect.right() - 6.0, middle, &text::percent(share), theme::normal(), palette.weak);
    } else {
        widgets::paint_path(ui, label, &row.label, &font, color);
        widgets::paint_right(ui, count_right, middle, &text::count(elements), theme::normal(), palette.weak);
        let zeros: u64 = outcome.map_or(0, |o| modules.iter().flat_map(|&m| &graph.module(m).parameters).map(|&p| o.zeros[p.0]).sum());
        widgets::paint_bar(ui.painter(), bar, zeros as f64 / elements.max(1) as f64, palette.method(settings.method), palette);
    }
    response.widget_info(|| WidgetInfo::selected(Role::TreeItem, true, is_selected, &row.name));
    let clicked = response.clicked();
    hover_ui(response, graph, row, outcome);
    if clicked {
        match &row.what {
            What::Group { key, .. } => commands.push(Command::Fold(key.clone())),
            What::Module(id) => commands.extend(state.first_parameter(*id).map(Command::Select)),
        }
    }
}

fn tick_ui(ui: &mut Ui, settings: &Settings, graph: &Graph, row: &Row, modules: &[ModuleId], rect: Rect, commands: &mut Vec<Command>) {
    let prunable = |m: &ModuleId| graph.module(*m).parameters.iter().any(|&p| graph.parameter(p).obstacle().is_none());
    let can = modules.iter().any(prunable);
    let (all, some) = ticks(settings, modules);
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
        let mut settings = settings.clone();
        // A partly ticked group becomes wholly ticked.
        for m in modules.iter().filter(|m| prunable(m)) {
            settings.ticked[m.0] = !all;
        }
        commands.push(Command::Set(Box::new(settings), Step::Tick));
    }
    let obstacle = modules.iter().flat_map(|&m| &graph.module(m).parameters).find_map(|&p| graph.parameter(p).obstacle());
    match obstacle.filter(|_| !can) {
        Some(why) => response.on_hover_text(format!("Cannot be pruned: {why}")),
        None => response.on_hover_text("May be pruned"),
    };
}

fn hover_ui(response: egui::Response, graph: &Graph, row: &Row, outcome: Option<&Outcome>) {
    let What::Module(id) = row.what else { return };
    let module = graph.module(id);
    response.on_hover_ui(|ui| {
        ui.label(egui::RichText::new(&module.name).font(theme::bold()));
        ui.weak(format!("{} · {}", module.kind, module.role));
        for &p in &module.parameters {
            let parameter = graph.parameter(p);
            let zeros = outcome.map_or(0, |o| o.zeros[p.0]);
            let share = zeros as f64 / parameter.elements.max(1) as f64;
            ui.label(format!("{} {} · {} · {} zero", parameter.kind, text::shape(parameter), parameter.dtype, text::percent(share)));
            if let Some(why) = parameter.obstacle() {
                ui.weak(format!("Cannot be pruned: {why}"));
            }
        }
        if module.nodes.len() > 1 {
            ui.weak(format!("Shared by {} operators", module.nodes.len()));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Module, Role as ModuleRole};

    fn graph(names: &[&str]) -> Graph {
        let module = |name: &&str| Module {
            name: (*name).into(),
            kind: "Conv2d".into(),
            role: ModuleRole::Dense,
            parameters: vec![],
            buffers: vec![],
            nodes: vec![],
        };
        Graph { modules: names.iter().map(module).collect(), ..Graph::default() }
    }

    #[test]
    fn paths_nest_and_fold() {
        let graph = graph(&["stem", "blocks.0.conv", "blocks.0.bn", "blocks.1.conv", "head"]);
        let mut closed = std::collections::HashSet::new();
        let all = rows(&graph, Grouping::Path, "", &closed);
        let lines: Vec<(usize, &str)> = all.iter().map(|r| (r.depth, r.label.as_str())).collect();
        assert_eq!(lines, [(0, "stem"), (0, "blocks"), (1, "0"), (2, "conv"), (2, "bn"), (1, "1"), (2, "conv"), (0, "head")]);
        let What::Group { key, .. } = &all[2].what else { panic!() };
        closed.insert(key.clone());
        assert_eq!(rows(&graph, Grouping::Path, "", &closed).len(), 6);
        assert_eq!(rows(&graph, Grouping::Path, "bn", &closed).len(), 3, "a search opens what is closed");
    }
}
