//! Tab “Size and speed”: bytes in the formats that make use of zeros, multiply-accumulates, and the time of a forward pass.

use eframe::egui::{self, Color32, Rect, Sense, Ui, WidgetInfo, pos2, vec2};

use crate::engine::Model;
use crate::graph::{Graph, ParameterId};
use crate::measure::{Bytes, Encoding, Figures, Outcome, ParameterSize, Speed, Timing};
use crate::measurer::{Sizes, Timed};
use crate::network::Work;
use crate::prune::{Method, Recipe};

use super::commands::{Action, Command};
use super::costs::Costs;
use super::pair::{self, Side};
use super::state::AppState;
use super::{chart, text, theme, widgets};

/// Height of a row of figures.
const ROW: f32 = 21.0;
/// Edge within a column, to its right.
const EDGE: f32 = 4.0;

pub(super) fn show(ui: &mut Ui, state: &AppState, model: &Model, figures: &Figures, commands: &mut Vec<Command>) {
    egui::ScrollArea::vertical().id_salt("size").auto_shrink(false).show(ui, |ui| {
        // The bar that scrolls covers nothing.
        ui.set_max_width(ui.available_width() - 12.0);
        ui.spacing_mut().item_spacing.y = 2.0;
        bytes_ui(ui, &state.costs, model, figures);
        ui.add_space(18.0);
        budgets_ui(ui, &state.costs, figures);
        ui.add_space(18.0);
        speed_ui(ui, &state.costs, figures, commands);
        ui.add_space(18.0);
        modules_ui(ui, state, model, figures, commands);
        ui.add_space(8.0);
    });
}

/// A column of names and four of figures.
fn columns(rect: Rect) -> [f32; 4] {
    let names = rect.width() * 0.34;
    let width = (rect.width() - names) / 4.0;
    [1.0, 2.0, 3.0, 4.0].map(|i| rect.left() + names + width * i - EDGE)
}

/// A figure of a row, with its colour, perhaps bold.
struct FigureCell {
    text: String,
    color: Color32,
    is_bold: bool,
}

impl FigureCell {
    fn new(ui: &Ui, text: impl Into<String>) -> Self {
        Self { text: text.into(), color: theme::palette(ui).text, is_bold: false }
    }
}

fn row_ui(ui: &mut Ui, name: &str, tooltip: &str, cells: &[FigureCell; 4]) {
    let palette = theme::palette(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::hover());
    let figures: Vec<&str> = cells.iter().map(|cell| cell.text.as_str()).filter(|text| !text.is_empty()).collect();
    response.widget_info(|| WidgetInfo::labeled(egui::Role::Label, true, format!("{name}: {}", figures.join(", "))));
    if !tooltip.is_empty() {
        response.on_hover_text(tooltip);
    }
    for (cell, right) in cells.iter().zip(columns(rect)) {
        let font = if cell.is_bold { theme::bold() } else { theme::normal() };
        widgets::paint_right(ui, right, rect.center().y, &cell.text, font, cell.color);
    }
    let room = Rect::from_min_max(rect.min, pos2(rect.left() + rect.width() * 0.34, rect.bottom()));
    widgets::paint_clipped(ui, room, name, theme::normal(), palette.weak);
}

/// Heads of the columns, the methods with their colours.
fn heads_ui(ui: &mut Ui, figures: &Figures, last: &str) {
    let palette = theme::palette(ui);
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 20.0), Sense::hover());
    let [applied, beside] = Side::BOTH.map(|side| (text::method(side.method(figures)), Some(side)));
    for ((name, side), right) in [("Dense", None), applied, beside, (last, None)].into_iter().zip(columns(rect)) {
        widgets::paint_right(ui, right, rect.center().y, name, theme::normal(), palette.weak);
        if let Some(side) = side {
            let width = ui.painter().layout_no_wrap(name.to_owned(), theme::normal(), palette.weak).size().x;
            let swatch = Rect::from_center_size(pos2(right - width - 12.0, rect.center().y), vec2(9.0, 9.0));
            chart::paint_swatch(ui, swatch, side);
        }
    }
    ui.painter().hline(rect.x_range(), rect.bottom(), egui::Stroke::new(1.0, palette.line));
    ui.add_space(3.0);
}

/// Whether the parameters were weighed for this recipe under both methods.
fn is_of(sizes: &Sizes, figures: &Figures) -> bool {
    sizes.recipe.is_but_for_method(&figures.recipe) && figures.outcomes.iter().all(|(method, _)| sizes.pruned.of(method).is_some())
}

/// Bytes of all parameters in every encoding.
fn bytes_ui(ui: &mut Ui, costs: &Costs, model: &Model, figures: &Figures) {
    let palette = theme::palette(ui);
    let sizes = costs.sizes.as_deref();
    let is_present = sizes.is_some_and(|sizes| is_of(sizes, figures));
    let waiting = if is_present { "" } else { " · compressing …" };
    widgets::section_title(ui, &format!("Bytes of the parameters{waiting}"));
    heads_ui(ui, figures, "Pays from");
    pair::obstacles_ui(ui, figures);
    let dense = sizes.map(|sizes| Sizes::total(&sizes.dense));
    let pruned = pair::methods(figures).map(|method| sizes.and_then(|s| s.pruned.given(method)).map(|s| Sizes::total(s)));
    let strength = if is_present { 1.0 } else { 0.5 };
    for encoding in Encoding::ALL {
        let cell = |bytes: Option<u64>, is_smallest: bool| FigureCell {
            text: bytes.map_or("–".into(), text::bytes),
            color: palette.text.gamma_multiply(strength),
            is_bold: is_smallest,
        };
        let pays = match encoding {
            Encoding::Dense => String::new(),
            _ => dense.and_then(|dense| encoding.pays_from(model.graph.element_bytes(), &dense)).map_or("–".into(), text::percent),
        };
        let of = |total: Option<Bytes>| cell(total.map(|t| t.of(encoding)), total.is_some_and(|t| t.smallest() == encoding));
        let [applied, beside] = pruned.map(of);
        let opened = FigureCell { color: palette.text, ..of(dense) };
        row_ui(ui, encoding.name(), tooltip(encoding), &[opened, applied, beside, FigureCell::new(ui, pays)]);
    }
    ui.add_space(2.0);
    let bytes: u64 = model.graph.parameters.iter().map(|p| p.elements as u64 * p.dtype.size().unwrap_or(0) as u64).sum();
    let rest = model.file.size_bytes().saturating_sub(bytes);
    let note = format!(
        "The rest of the file takes {} more. Bold is the smallest. Saving writes dense elements: zip the file, or send it compressed, to gain from zeros.",
        text::bytes(rest)
    );
    ui.add(egui::Label::new(egui::RichText::new(note).color(palette.weak)).wrap());
}

fn tooltip(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Dense => "Every element, zero or not: what ONNX files hold",
        Encoding::Deflate => "Each parameter compressed as zip and gzip do, level 6",
        Encoding::Zstd => "Each parameter compressed by Zstandard, level 3",
        Encoding::Bitmask => "One bit per element, and the elements that are not zero",
        Encoding::SparseTensor => "ONNX's sparse tensors: every element that is not zero with an index of 8 bytes",
    }
}

/// Elements, multiply-accumulates and 2:4 groups.
fn budgets_ui(ui: &mut Ui, costs: &Costs, figures: &Figures) {
    let palette = theme::palette(ui);
    widgets::section_title(ui, "Elements and multiply-accumulates, zeroed");
    heads_ui(ui, figures, "");
    let outcomes = Side::BOTH.map(|side| side.outcome(figures));
    let share = |part: u64, whole: u64| text::percent(part as f64 / whole.max(1) as f64);
    let elements = figures.model_elements;
    let [applied, beside] = outcomes.map(|o| FigureCell::new(ui, o.map_or("–".into(), |o| share(o.model_zeros, elements))));
    let tip = "Of all parameters of the model";
    row_ui(ui, "Elements", tip, &[FigureCell::new(ui, text::count(elements)), applied, beside, FigureCell::new(ui, "")]);
    match &costs.work {
        Some(Ok(work)) => {
            let zeroed = |o: &Outcome| share(work.of(|id| o.zeros[id.0]), work.total);
            let [applied, beside] = outcomes.map(|o| FigureCell::new(ui, o.map_or("–".into(), zeroed)));
            let inputs: Vec<String> = work
                .inputs
                .iter()
                .map(|(name, shape)| {
                    format!("{} {}", text::name(name), shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×"))
                })
                .collect();
            let tip = format!(
                "Of convolutions, linear and recurrent layers, in one forward pass over {}. Biases, normalisation and products of two activations are not counted",
                inputs.join(", ")
            );
            row_ui(
                ui,
                "Multiply-accumulates",
                &tip,
                &[FigureCell::new(ui, text::count(work.total)), applied, beside, FigureCell::new(ui, "")],
            );
        }
        Some(Err(why)) => {
            ui.label(egui::RichText::new(format!("Multiply-accumulates are not known: {}", text::message(why))).color(palette.warning));
        }
        None => row_ui(
            ui,
            "Multiply-accumulates",
            "",
            &[FigureCell::new(ui, "…"), FigureCell::new(ui, ""), FigureCell::new(ui, ""), FigureCell::new(ui, "")],
        ),
    }
    let sizes = costs.sizes.as_deref();
    let groups = |sizes: &[ParameterSize]| {
        let patterns = sizes.iter().filter_map(|size| size.pattern);
        patterns.fold((0, 0), |(groups, holding), p| (groups + p.groups, holding + p.holding))
    };
    let eligible = sizes.map(|sizes| sizes.dense.iter().filter(|size| size.pattern.is_some()).count());
    let cell = |method: Method| {
        let found = sizes.and_then(|sizes| sizes.pruned.given(method)).map(|sizes| groups(sizes)).filter(|(all, _)| *all > 0);
        FigureCell::new(ui, found.map_or("–".into(), |(all, holding)| text::percent(holding as f64 / all as f64)))
    };
    let weights = eligible.map_or("–".into(), |n| if n == 1 { "1 weight".to_owned() } else { format!("{n} weights") });
    let [applied, beside] = pair::methods(figures).map(cell);
    let cells = [FigureCell::new(ui, weights), applied, beside, FigureCell::new(ui, "")];
    let tip = "Sparse tensor cores double the speed of weights that have at most two elements other than zero in every four along the \
               inputs, outputs a multiple of 8 and inputs of 16. Dense: weights of such a shape. Methods: share of their groups of four \
               that have the pattern; all of them must";
    row_ui(ui, "2:4 groups", tip, &cells);
}

/// Dense, masked and fixed, as ranges on one scale.
fn speed_ui(ui: &mut Ui, costs: &Costs, figures: &Figures, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui);
    widgets::section_head(ui, "Time of a forward pass", |ui| {
        if widgets::hint(ui.button(Action::MeasureSpeed.entry().label), Action::MeasureSpeed).clicked() {
            commands.push(Command::Do(Action::MeasureSpeed));
        }
        let mut batch = costs.batch;
        let field = ui.add(egui::DragValue::new(&mut batch).range(1..=1024).speed(0.1));
        field.widget_info(|| WidgetInfo::labeled(egui::Role::SpinButton, true, "Images of a pass"));
        if field.changed() {
            commands.push(Command::Batch(batch));
        }
        ui.label(egui::RichText::new("Images").color(palette.weak));
    });
    let Some(timed) = &costs.timed else {
        ui.add(egui::Label::new(egui::RichText::new(HONEST).color(palette.weak)).wrap());
        return;
    };
    let Timed { recipe, speed, device } = &**timed;
    ui.add_space(2.0);
    let longest = [speed.dense, speed.masked, speed.fixed].iter().map(|t| t.high_ms).fold(f64::MIN_POSITIVE, f64::max);
    for (name, timing, tooltip) in [
        ("Dense", speed.dense, "The model as it was opened"),
        ("Masked", speed.masked, "Original × mask before every pass, as PyTorch's hook does until prune.remove"),
        ("Fixed", speed.fixed, "Original × mask once: what “Fix weights” makes"),
    ] {
        timing_ui(ui, name, tooltip, timing, longest);
    }
    ui.add_space(2.0);
    let note = format!("{}. {HONEST}", condition(recipe, speed, device, *recipe == figures.recipe));
    ui.add(egui::Label::new(egui::RichText::new(note).color(palette.weak)).wrap());
}

const HONEST: &str = "Zeros make dense kernels no faster; what fixing saves is the masking.";

fn condition(recipe: &Recipe, speed: &Speed, device: &str, is_present: bool) -> String {
    let images = if speed.batch == 1 { "1 image".to_owned() } else { format!("{} images", speed.batch) };
    let when = if is_present { String::new() } else { ", an earlier position".to_owned() };
    format!(
        "{images} on {device} at {} {}{when}, median of {} passes of each and the half about it",
        recipe.method.name(),
        text::amount(recipe.amount),
        speed.rounds
    )
}

fn timing_ui(ui: &mut Ui, name: &str, tooltip: &str, timing: Timing, longest: f64) {
    let palette = theme::palette(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::hover());
    let median = format!("{} ms", text::rough(timing.median_ms));
    let spread = format!("{} to {} ms", text::rough(timing.low_ms), text::rough(timing.high_ms));
    response.widget_info(|| WidgetInfo::labeled(egui::Role::Label, true, format!("{name}: {median}, {spread}")));
    response.on_hover_text(format!("{tooltip}\n{spread} is the middle half"));
    let edges = columns(rect);
    widgets::paint_clipped(ui, Rect::from_min_max(rect.min, pos2(edges[0] - 90.0, rect.bottom())), name, theme::normal(), palette.weak);
    widgets::paint_right(ui, edges[0], rect.center().y, &median, theme::bold(), palette.text);
    let track = Rect::from_min_max(pos2(edges[0] + 24.0, rect.center().y - 4.0), pos2(rect.right() - EDGE, rect.center().y + 4.0));
    let x = |ms: f64| track.left() + track.width() * (ms / longest).clamp(0.0, 1.0) as f32;
    let painter = ui.painter();
    painter.rect_filled(Rect::from_min_max(track.min, pos2(x(timing.median_ms), track.bottom())), 2.0, palette.weak.gamma_multiply(0.55));
    painter.hline(x(timing.low_ms)..=x(timing.high_ms), track.center().y, egui::Stroke::new(2.0, palette.text));
}

/// Every weight with its share of the elements and of the work.
fn modules_ui(ui: &mut Ui, state: &AppState, model: &Model, figures: &Figures, commands: &mut Vec<Command>) {
    let graph = &model.graph;
    let work = state.costs.work.as_ref().and_then(|work| work.as_ref().ok()).map(|work| &**work);
    widgets::section_title(ui, "Where elements and multiply-accumulates are");
    let Ok(outcome) = figures.chosen() else {
        ui.weak(figures.chosen().err().map_or_else(String::new, |why| text::sentence(&why.to_string())));
        return;
    };
    let weights: Vec<ParameterId> = (0..graph.parameters.len())
        .map(ParameterId)
        .filter(|&id| graph.parameter(id).kind == crate::graph::Kind::Weight && graph.parameter(id).shape.len() > 1)
        .collect();
    let most = |figure: &dyn Fn(ParameterId) -> f64| weights.iter().map(|id| figure(*id)).fold(f64::MIN_POSITIVE, f64::max);
    let shares = Shares { graph, work, outcome };
    let scales = (most(&|id| shares.elements(id)), most(&|id| shares.work(id)));
    module_heads_ui(ui, figures.recipe.method);
    let sizes = state.costs.sizes.as_deref().filter(|sizes| is_of(sizes, figures));
    let sizes = sizes.and_then(|sizes| sizes.pruned.given(figures.recipe.method));
    for &id in &weights {
        module_ui(ui, state, &shares, scales, sizes.map(|sizes| &sizes[id.0]), id, commands);
    }
}

/// Shares of the whole, 0..=1.
struct Shares<'a> {
    graph: &'a Graph,
    work: Option<&'a Work>,
    outcome: &'a Outcome,
}

impl Shares<'_> {
    fn elements(&self, id: ParameterId) -> f64 {
        self.graph.parameter(id).elements as f64 / self.graph.elements().max(1) as f64
    }

    fn work(&self, id: ParameterId) -> f64 {
        self.work.map_or(0.0, |work| work.uses[id.0] as f64 * self.graph.parameter(id).elements as f64 / work.total.max(1) as f64)
    }

    fn sparsity(&self, id: ParameterId) -> f64 {
        self.outcome.zeros[id.0] as f64 / self.graph.parameter(id).elements.max(1) as f64
    }
}

/// Left edges of the two bars and right edges of the figures.
struct BarPlaces {
    name: f32,
    bars: [Rect; 2],
    figures: [f32; 4],
}

impl BarPlaces {
    fn of(rect: Rect) -> Self {
        let at = |share: f32| rect.left() + rect.width() * share;
        let bar = |from: f32, to: f32| Rect::from_min_max(pos2(at(from), rect.center().y - 4.0), pos2(at(to), rect.center().y + 4.0));
        Self { name: at(0.31), bars: [bar(0.33, 0.42), bar(0.54, 0.63)], figures: [at(0.51), at(0.72), at(0.85), at(1.0) - EDGE] }
    }
}

fn module_heads_ui(ui: &mut Ui, method: Method) {
    let palette = theme::palette(ui);
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 20.0), Sense::hover());
    let places = BarPlaces::of(rect);
    let zeroed = format!("{}, zero", text::method_within(method));
    for (name, right, color) in [
        ("elements", places.figures[0], palette.weak),
        ("mult.-acc.", places.figures[1], palette.weak),
        (&*zeroed, places.figures[2], palette.applied),
        ("2:4 groups", places.figures[3], palette.weak),
    ] {
        widgets::paint_right(ui, right, rect.center().y, name, theme::small(), color);
    }
    ui.painter().hline(rect.x_range(), rect.bottom(), egui::Stroke::new(1.0, palette.line));
}

fn module_ui(
    ui: &mut Ui,
    state: &AppState,
    shares: &Shares,
    scales: (f64, f64),
    size: Option<&ParameterSize>,
    id: ParameterId,
    commands: &mut Vec<Command>,
) {
    let palette = theme::palette(ui);
    let name = &*text::name(&shares.graph.owner(id).name);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::click());
    if !ui.is_rect_visible(rect) {
        return;
    }
    let (elements, work, sparsity) = (shares.elements(id), shares.work(id), shares.sparsity(id));
    let pattern = match size {
        Some(ParameterSize { pattern: Some(pattern), .. }) => text::percent(pattern.share()),
        Some(_) => "–".to_owned(),
        None => String::new(),
    };
    let figures = [text::percent(elements), shares.work.map_or("–".into(), |_| text::percent(work)), text::percent(sparsity), pattern];
    response.widget_info(|| {
        let [elements, work, zeroed, _] = &figures;
        WidgetInfo::labeled(egui::Role::Button, true, format!("{name}: {elements} of elements, {work} of work, {zeroed} zeroed"))
    });
    if state.selected == Some(id) {
        ui.painter().rect_filled(rect, 3.0, palette.selected);
    } else if response.hovered() {
        ui.painter().rect_filled(rect, 3.0, palette.raised);
    }
    let places = BarPlaces::of(rect);
    widgets::paint_path(
        ui,
        Rect::from_min_max(pos2(rect.left() + 4.0, rect.top()), pos2(places.name, rect.bottom())),
        name,
        &theme::normal(),
        palette.text,
    );
    let bars = [(elements / scales.0, palette.weak), (work / scales.1, palette.text)];
    for ((share, color), bar) in bars.into_iter().zip(places.bars) {
        widgets::paint_bar(ui.painter(), bar, share, color, palette);
    }
    for (figure, right) in figures.iter().zip(places.figures) {
        widgets::paint_right(ui, right, rect.center().y, figure, theme::normal(), palette.text);
    }
    if response.clicked() {
        commands.push(Command::Select(id));
    }
}
