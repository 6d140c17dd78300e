//! What pruning costs: starting, watching and stopping measurements, and what their results lead to.
//!
//! The figures on screen are those that an evaluator without a window gives.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use eframe::egui::accesskit::{Role, Toggled};
use eframe::egui::{Key, Modifiers, OutputCommand, Pos2, lerp, vec2};
use egui_kittest::kittest::{NodeT, Queryable};
use secateur::app::{AppState, Purpose};
use secateur::evaluate::{Evaluator, Questions, Sensitivity};
use secateur::graph::{ModuleId, ParameterId};
use secateur::images::{ImageSet, Preprocess};
use secateur::measure::Effect;
use secateur::measurer::{Bearable, TaskKind};
use secateur::onnx::Values;
use secateur::prune::{Amount, Method, Recipe, State, Step};
use secateur::session::Session;
use secateur::watch::Unwatched;

use super::driver::{CONTROL, DEMO, OTHER, Window};

/// Images of each class in the folder that the tests choose.
const PER_CLASS: usize = 3;
pub(super) const IMAGES: usize = 10 * PER_CLASS;
/// Images that come with the demo.
const DIGITS: usize = 360;
/// Conv2d and Linear weights of the demo, and amounts of a scan.
const CASES: usize = 47 * 9;

/// Some digits of every class, one folder per class.
pub(super) fn some_digits(folder: &Path) -> PathBuf {
    digits(folder, PER_CLASS)
}

/// So many digits of every class, one folder per class.
pub(super) fn digits(folder: &Path, per_class: usize) -> PathBuf {
    let chosen = folder.join("some digits");
    for class in 0..10 {
        let source = Path::new("assets/digits").join(class.to_string());
        let mut files: Vec<PathBuf> = std::fs::read_dir(source).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        let target = chosen.join(class.to_string());
        std::fs::create_dir_all(&target).unwrap();
        for file in &files[..per_class] {
            std::fs::copy(file, target.join(file.file_name().unwrap())).unwrap();
        }
    }
    chosen
}

/// A folder with an image on which the network never was: noise.
pub(super) fn noise_folder(window: &Window) -> PathBuf {
    let folder = window.path("noise");
    std::fs::create_dir(&folder).unwrap();
    let mut seed = 1_u32;
    let bytes = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if seed >> 31 == 0 { 0 } else { 255 }
    });
    image::GrayImage::from_raw(64, 64, bytes.take(64 * 64).collect()).unwrap().save(folder.join("noise.png")).unwrap();
    folder
}

/// On the demo with some digits chosen, all of them measured.
pub(super) fn window() -> Window {
    let mut window = Window::on(Some(DEMO));
    choose_digits(&mut window);
    window
}

/// Shows the networks some digits, chosen through the dialog of the tab Effect.
pub(super) fn choose_digits(window: &mut Window) {
    let folder = some_digits(window.folder.path());
    choose(window, &folder, IMAGES);
}

/// The same with a folder that holds so many.
pub(super) fn choose(window: &mut Window, folder: &Path, images: usize) {
    window.click(Role::Tab, "Effect");
    window.answer(folder);
    window.button("Choose images…");
    window.wait("the chosen images' effect", |s| is_measured(s, images));
    assert_eq!(window.asked().pop().unwrap().purpose, Purpose::Images);
}

/// Whether the effect of the slider's position is on screen, from all of so many images.
pub(super) fn is_measured(state: &AppState, images: usize) -> bool {
    let cost = state.costs.cost.as_ref();
    cost.is_some_and(|c| c.is_whole && c.dense.images == images && Some(&c.state.recipe) == state.recipe.as_ref())
}

/// Moves the slider and waits for what that costs.
fn set_percent(window: &mut Window, percent: &str) {
    window.set_percent(percent);
    window.wait("the effect of the position", |s| is_measured(s, IMAGES));
}

/// What an evaluator without a window measures on the images that the window chose.
struct Beside {
    evaluator: Evaluator,
    state: State,
}

impl Beside {
    fn new(window: &Window) -> Self {
        let session = Session::open(Path::new(DEMO), &Unwatched).unwrap();
        let set = Arc::new(ImageSet::open(&window.path("some digits"), None).unwrap());
        let (preprocess, _) = Preprocess::for_model(&session.model().graph, Path::new(DEMO));
        let questions = Questions::images(&session.model().graph, set, preprocess, None, IMAGES).unwrap();
        let state = session.state().clone();
        Self { evaluator: Evaluator::new(session.engine().clone(), questions, None), state }
    }

    fn effect(&mut self, method: Method, amount: f64) -> Effect {
        let recipe = Recipe { method, amount: Amount::Fraction(amount), ..self.state.recipe.clone() };
        self.evaluator.effect_at(&self.state, recipe, &Unwatched).unwrap()
    }

    fn dense(&mut self) -> Effect {
        self.evaluator.dense(None, &Unwatched).unwrap()
    }
}

/// The same answers; numbers to what another order of sums may change.
fn assert_same(got: &Effect, wanted: &Effect) {
    assert_eq!((got.top1, got.top5, got.agreement, got.images), (wanted.top1, wanted.top5, wanted.agreement, wanted.images));
    assert!((got.mean_cosine.unwrap() - wanted.mean_cosine.unwrap()).abs() < 1e-4, "{:?} and {:?}", got.mean_cosine, wanted.mean_cosine);
    let (got, wanted) = (got.mean_kl.unwrap(), wanted.mean_kl.unwrap());
    assert!((got - wanted).abs() < 1e-4 * wanted.max(1.0), "{got} and {wanted}");
}

/// `93.3 %`, as on screen.
fn percent(fraction: f64) -> String {
    format!("{:.1}\u{2009}%", fraction * 100.0)
}

fn scan(state: &AppState) -> Option<&Sensitivity> {
    state.costs.scan.as_deref()
}

/// Brings something below the fold into view.
pub(super) fn reveal(window: &mut Window, role: Role, name: &str) {
    window.node(role, name).scroll_to_me();
    window.harness.run_steps(4);
}

pub(super) fn click_at(window: &mut Window, at: Pos2) {
    window.harness.hover_at(at);
    window.harness.drag_at(at);
    window.harness.drop_at(at);
    window.step_twice();
}

/// The scan goes to the clipboard and into a file, one row per case.
fn assert_is_scan_table(window: &mut Window, found: &Sensitivity) {
    let graph = window.state().model.as_ref().unwrap().graph.clone();
    let copied = |window: &Window| {
        window.harness.output().platform_output.commands.iter().find_map(|c| match c {
            OutputCommand::CopyText(text) => Some(text.clone()),
            _ => None,
        })
    };
    reveal(window, Role::Button, "Copy the scan");
    window.node(Role::Button, "Copy the scan").click();
    window.wait_for("a copy", |w| copied(w).is_some());
    let text = copied(window).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows[0], ["parameter", "amount", "top1", "top5", "agreement", "mean_cosine", "mean_kl", "images"]);
    assert_eq!(rows.len(), 1 + CASES);
    for (row, case) in rows[1..].iter().zip(&found.cases) {
        assert_eq!(row[0], graph.parameter(case.parameter).name);
        let number = |i: usize| row[i].parse::<f64>().unwrap();
        let effect = &case.effect;
        assert_eq!((number(1), Some(number(2)), Some(number(4))), (case.amount, effect.top1, effect.agreement));
        assert_eq!((Some(number(5)), Some(number(6)), row[7]), (effect.mean_cosine, effect.mean_kl, "30"));
    }
    let path = window.path("scan");
    window.answer(&path);
    window.button("Scan as CSV…");
    window.wait("a saved scan", |s| s.notices.iter().any(|n| n.title == "Saved"));
    assert_eq!(window.asked().pop().unwrap().name, "mobilenetv4_digits_sensitivity.csv");
    assert_eq!(std::fs::read_to_string(path.with_extension("csv")).unwrap(), text);
    // Again, onto the same file.
    window.answer(&path);
    window.button("Scan as CSV…");
    window.wait("a question", |s| s.question.is_some());
    window.button("Cancel");
}

#[test]
fn the_effect_of_the_position_is_measured_whenever_the_slider_rests() {
    let mut window = window();
    set_percent(&mut window, "65");
    let mut beside = Beside::new(&window);
    let (dense, layer_wise, global) = (beside.dense(), beside.effect(Method::LayerWise, 0.65), beside.effect(Method::Global, 0.65));
    let cost = window.state().costs.cost.as_ref().unwrap();
    assert_same(&cost.dense, &dense);
    assert_eq!(cost.effects.given(Method::Global).unwrap().changed, global.changed);
    assert_same(cost.effects.given(Method::LayerWise).unwrap(), &layer_wise);
    assert_same(cost.effects.given(Method::Global).unwrap(), &global);
    assert!(dense.top1 == Some(1.0) && layer_wise.top1 < Some(1.0) && layer_wise.top1 != global.top1, "nothing to tell apart");
    let figures = |row: &str, of: fn(&Effect) -> Option<f64>| {
        let figures = [&dense, &global, &layer_wise].map(|e| percent(of(e).unwrap()));
        format!("{row}: {}", figures.join(", "))
    };
    for told in [
        figures("Dense, global, layer-wise", |e| e.top1),
        figures("Top-1 accuracy", |e| e.top1),
        figures("Top-5 accuracy", |e| e.top5),
        figures("Agreement", |e| e.agreement),
        format!("Answers that changed: –, {}, {}", global.changed.len(), layer_wise.changed.len()),
    ] {
        assert!(window.has(Role::Label, &told), "“{told}” is not on screen");
    }
    assert!(window.says("30 images · 10 classes"));
    assert!(window.says("EFFECT OF 65.0\u{2009}% · 30 OF 30 IMAGES"));
    // Pictures of the images whose answer changed, each once.
    window.wait("pictures", |s| !s.costs.pictures.is_empty());
    let shown: Vec<usize> = window.state().costs.pictures.iter().map(|p| p.0).collect();
    assert!(global.changed.iter().all(|c| shown.contains(&c.image)));
}

#[test]
fn a_part_is_seen_first_and_a_move_of_the_slider_stops_the_rest() {
    let mut window = Window::demo();
    window.click(Role::Tab, "Effect");
    window.wait("the demo's own images", |s| is_measured(s, DIGITS));
    window.set_percent("60");
    window.wait("a part of them", |s| s.costs.cost.as_ref().is_some_and(|c| c.state.recipe.amount == Amount::Fraction(0.6)));
    let cost = window.state().costs.cost.as_ref().unwrap();
    assert!(!cost.is_whole && cost.dense.images == 30, "{} images at first", cost.dense.images);
    assert!(window.says("30 OF 360 IMAGES"));
    window.set_percent("70");
    window
        .wait("the next position", |s| s.costs.cost.as_ref().is_some_and(|c| c.state.recipe.amount == Amount::Fraction(0.7) || c.is_whole));
    assert_eq!(window.state().costs.cost.as_ref().unwrap().state.recipe.amount, Amount::Fraction(0.7), "the rest was measured first");
    window.wait("all of it", |s| is_measured(s, DIGITS));
    assert!(window.says("360 OF 360 IMAGES"));
}

#[test]
fn a_curve_grows_from_coarse_to_fine_and_a_click_on_it_moves_the_slider() {
    let mut window = window();
    window.button("Measure the curve");
    window.wait("a few points", |s| s.costs.curve.as_ref().is_some_and(|c| c.points.of(Method::Global).unwrap().len() == 3));
    let amounts: Vec<f64> = window.state().costs.curve.as_ref().unwrap().points.of(Method::Global).unwrap().iter().map(|p| p.0).collect();
    assert_eq!(amounts, [0.0, 0.5, 1.0], "the coarse ones come first");
    let done = window.state().costs.progress.unwrap();
    assert!(done.1 == TaskKind::Curve && done.0 > 0.0 && done.0 < 1.0, "{done:?}");
    assert!(window.has(Role::Button, "Cancel") && window.says("Curve"));
    window.wait("the curve", |s| s.costs.curve.is_some() && s.costs.progress.is_none());
    let curve = window.state().costs.curve.clone().unwrap();
    let mut beside = Beside::new(&window);
    for method in Method::PAIR {
        let points = curve.points.of(method).unwrap();
        assert_eq!(points.iter().map(|p| p.0).collect::<Vec<_>>(), (0..=16).map(|i| f64::from(i) / 16.0).collect::<Vec<_>>());
        for at in [0, 12, 15] {
            assert_same(&points[at].1, &beside.effect(method, points[at].0));
        }
    }
    reveal(&mut window, Role::Button, "Accuracy against amount");
    for wanted in [0.75_f32, 0.2] {
        let rect = window.node(Role::Button, "Accuracy against amount").rect();
        let at = Pos2::new(lerp(rect.x_range(), wanted), rect.center().y);
        click_at(&mut window, at);
        window.wait("the slider there", |s| s.recipe.as_ref().unwrap().amount != Amount::Fraction(0.0));
        window.wait("what it costs", |s| is_measured(s, IMAGES));
        let Amount::Fraction(amount) = window.recipe().amount else { panic!("a count") };
        assert!((amount - f64::from(wanted)).abs() < 0.011, "{amount}, clicked at {wanted}");
        let rail = window.slider_at(amount as f32);
        assert!(window.slider().contains(rail));
        window.assert_as_session(DEMO);
    }
    // A click is one step, and the curve stays for the next.
    assert!(window.state().costs.curve.is_some());
    window.press(CONTROL, Key::Z);
    window.wait("the amount before", |s| matches!(s.view.as_ref().unwrap().figures.recipe.amount, Amount::Fraction(a) if a > 0.7));
}

#[test]
fn work_is_cancelled_by_its_button_and_by_escape_and_goes_on_where_it_was() {
    let mut window = window();
    window.button("Scan");
    window.wait("some cases", |s| scan(s).is_some_and(|s| s.cases.len() >= 9));
    assert_eq!(window.state().costs.progress.unwrap().1, TaskKind::Scan);
    assert!(!window.has(Role::Button, "Scan") && !window.has(Role::Button, "Go on"), "it is going on");
    window.button("Cancel");
    window.wait("an end", |s| s.costs.progress.is_none());
    let done = scan(window.state()).unwrap().cases.clone();
    assert!(done.len() < CASES, "it was done before it was cancelled");
    window.settle();
    assert_eq!(scan(window.state()).unwrap().cases, done, "it went on");
    assert!(!window.has(Role::Button, "Cancel"));

    // The window is as usable as before.
    set_percent(&mut window, "80");
    assert!(window.state().costs.failure.is_none());
    window.button("Go on");
    window.wait("more cases", |s| scan(s).is_some_and(|s| s.cases.len() > done.len()));
    assert_eq!(scan(window.state()).unwrap().cases[..done.len() / 9 * 9], done[..done.len() / 9 * 9], "what was done is kept");
    window.press(Modifiers::NONE, Key::Escape);
    window.wait("an end", |s| s.costs.progress.is_none());
    assert!(!scan(window.state()).unwrap().is_done());

    for (start, is_begun) in
        [("Measure the curve", (|s| s.costs.curve.is_some()) as fn(&AppState) -> bool), ("Find", |s| s.costs.progress.is_some())]
    {
        window.button(start);
        window.wait("a beginning", is_begun);
        window.press(Modifiers::NONE, Key::Escape);
        window.wait("an end", |s| s.costs.progress.is_none());
    }
    window.settle();
    assert!(
        window.state().costs.found.is_none() && window.state().costs.curve.as_ref().unwrap().points.of(Method::Global).unwrap().len() < 17
    );
}

#[test]
fn the_largest_bearable_amount_is_found_and_offered() {
    let mut window = window();
    window.node(Role::SpinButton, "Points that may be lost").set_value_accesskit(10.0);
    window.step_twice();
    window.button("Find");
    window.wait("an end of the search", |s| s.costs.found.is_some() && s.costs.progress.is_none());
    let Bearable { drop, found, is_repaired } = window.state().costs.found.clone().unwrap();
    assert!(!is_repaired);
    assert!((drop - 0.1).abs() < 1e-9, "{drop}");
    let mut beside = Beside::new(&window);
    let least = beside.dense().top1.unwrap() - 0.1 - 1e-9;
    for (method, found) in [Method::Global, Method::LayerWise].into_iter().zip(&found) {
        assert_eq!(found.method, method);
        assert!(beside.effect(method, found.amount).top1.unwrap() >= least, "{method:?} at {} loses more", found.amount);
        let beyond = beside.effect(method, found.amount + 0.005).top1.unwrap();
        assert!(found.amount > 0.1 && beyond < least, "{method:?} bears {} too", found.amount + 0.005);
        let name = if method == Method::Global { "Global" } else { "Layer-wise" };
        let label = format!("{name} {} → {}", percent(found.amount), percent(found.effect.top1.unwrap()));
        window.button(&label);
        window.wait("that amount", |s| {
            s.view.as_ref().unwrap().figures.recipe.amount == Amount::Fraction(found.amount) && s.recipe.as_ref().unwrap().method == method
        });
        window.assert_as_session(DEMO);
    }
}

#[test]
fn a_scan_leads_to_locks_and_a_table() {
    let mut window = window();
    window.button("Scan");
    window.wait("every case", |s| scan(s).is_some_and(Sensitivity::is_done) && s.costs.progress.is_none());
    let found = scan(window.state()).unwrap().clone();
    assert_eq!(found.cases.len(), CASES);
    assert!(!window.has(Role::Button, "Scan"), "it is done");
    assert!(window.has(Role::Image, &format!("Sensitivity, {CASES} of {CASES} cases")));

    // One case beside the whole network from the start.
    let stem = window.state().model.as_ref().unwrap().graph.parameter(found.parameters[0]).clone();
    assert_eq!(stem.name, "conv_stem.weight");
    let mut beside = Beside::new(&window);
    let graph = window.state().model.as_ref().unwrap().graph.clone();
    for i in 0..graph.modules.len() {
        beside.state.recipe.locked[i] = ModuleId(i) != stem.module;
    }
    let alone = beside.effect(Method::LayerWise, found.cases[8].amount);
    assert_same(&found.cases[8].effect, &alone);
    assert!(alone.agreement < Some(1.0), "nothing to tell apart");

    assert_is_scan_table(&mut window, &found);

    // Colours and order are only ways to look at it.
    reveal(&mut window, Role::RadioButton, "KL");
    window.click(Role::RadioButton, "KL");
    window.click(Role::CheckBox, "Most sensitive first");
    assert_eq!(window.toggled("Most sensitive first"), Some(Toggled::True));
    // The first column is the weight that loses most, and a click on it selects it.
    let total = |p: usize| (0..9).map(|a| found.case(p, a).unwrap().effect.mean_kl.unwrap()).sum::<f64>();
    let worst = (0..found.parameters.len()).max_by(|&a, &b| total(a).total_cmp(&total(b))).unwrap();
    let map = window.node(Role::Image, &format!("Sensitivity, {CASES} of {CASES} cases")).rect();
    click_at(&mut window, map.left_top() + vec2(50.0, 6.0));
    assert_eq!(window.state().selected, Some(found.parameters[worst]));
    window.click(Role::CheckBox, "Most sensitive first");
    click_at(&mut window, map.right_top() + vec2(-4.0, 6.0));
    assert_eq!(window.state().selected, found.parameters.last().copied());

    // What loses more than 20 points at 90 %.
    let loses = |id: ModuleId| {
        let of = |c: &&secateur::evaluate::SensitivityCase| graph.parameter(c.parameter).module == id && (c.amount - 0.9).abs() < 1e-9;
        found.cases.iter().filter(of).any(|c| 1.0 - c.effect.agreement.unwrap() > 0.2)
    };
    let sensitive: Vec<bool> = (0..graph.modules.len()).map(|i| loses(ModuleId(i))).collect();
    let count = sensitive.iter().filter(|s| **s).count();
    assert!(count > 0 && count < 47, "{count} modules to protect");
    window.node(Role::SpinButton, "Points from which a module is protected").set_value_accesskit(20.0);
    window.step_twice();
    window.node(Role::SpinButton, "Amount at which a module's loss is looked at").set_value_accesskit(90.0);
    window.step_twice();
    let protect = format!("Protect {count}");
    reveal(&mut window, Role::Button, &protect);
    window.button(&protect);
    window.wait("locks", |s| s.view.as_ref().unwrap().figures.recipe.locked == sensitive);
    assert!(window.figures().scope.iter().all(|id| !sensitive[graph.parameter(*id).module.0]), "nothing of them is pruned");
    // The stem is one of them; its column is the first in graph order.
    assert!(sensitive[stem.module.0]);
    let map = window.node(Role::Image, &format!("Sensitivity, {CASES} of {CASES} cases")).rect();
    click_at(&mut window, map.left_top() + vec2(50.0, 6.0));
    assert_eq!(window.toggled("Lock this module"), Some(Toggled::True));
    window.press(CONTROL, Key::Z);
    window.wait("no locks", |s| !s.view.as_ref().unwrap().figures.recipe.locked.contains(&true));
}

#[test]
fn what_is_taken_from_the_weights_is_told_without_any_image() {
    let mut window = Window::on(Some(OTHER));
    window.click(Role::Tab, "Effect");
    window.set_percent("90");
    window.wait("losses", |s| s.costs.losses.as_ref().is_some_and(|l| Some(&l.recipe) == s.recipe.as_ref()));
    assert!(window.state().costs.shown.is_none() && window.says("Choose a folder with images"));
    let mut session = Session::open(Path::new(OTHER), &Unwatched).unwrap();
    session.set(window.recipe().clone(), Step::Amount).unwrap();
    let graph = session.model().graph.clone();
    let mut wanted = Vec::new();
    for (id, masks) in session.engine().host_masks(session.state()).unwrap() {
        let Some(Values::F32(values)) = session.model().file.floats(graph.parameter(id).tensor).unwrap() else { panic!("no floats") };
        let norm = |takes: &dyn Fn(usize) -> bool| {
            let squares = values.iter().enumerate().filter(|(i, _)| takes(*i)).map(|(_, v)| f64::from(*v) * f64::from(*v));
            squares.sum::<f64>().sqrt()
        };
        let parameter = graph.parameter(id);
        let mask = masks.zeroed();
        let per_output = parameter.elements / parameter.shape[0];
        let is_empty = |o: &usize| (o * per_output..(o + 1) * per_output).all(|i| mask.is_pruned(i));
        let empty = (0..parameter.shape[0]).filter(is_empty).count();
        wanted.push((norm(&|i| mask.is_pruned(i)) / norm(&|_| true).max(1e-30), id, empty, parameter.shape[0]));
    }
    wanted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let told = window.state().costs.losses.clone().unwrap();
    let told = told.losses.given(Method::Global).unwrap();
    assert_eq!(told.len(), wanted.len());
    for (error, id, empty, outputs) in &wanted {
        let loss = told.iter().find(|l| l.parameter == *id).unwrap();
        assert!((loss.error - error).abs() < 1e-6, "{} and {error}", loss.error);
        assert_eq!(loss.empty_outputs, (*empty, *outputs));
    }
    assert!(wanted.iter().any(|w| w.2 > 0), "nothing is emptied");
    // Those that lose most are on screen, the least are not.
    let rows = |window: &Window, id: ParameterId| {
        let start = format!("{}: ", graph.parameter(id).name);
        window.harness.query_all_by_role(Role::Button).find_map(|n| n.accesskit_node().label().filter(|l| l.starts_with(&start)))
    };
    let (error, worst, empty, outputs) = wanted[0];
    let row = rows(&window, worst).unwrap().replace('\u{2009}', "");
    assert!(row.contains(&percent(error).replace('\u{2009}', "")) && row.contains(&format!("{empty} of {outputs}")), "{row}");
    let least = wanted.last().unwrap().1;
    assert!(rows(&window, least).is_none());
    let all = format!("List all {}", wanted.len());
    window.click(Role::CheckBox, &all);
    let row = rows(&window, least).unwrap();
    reveal(&mut window, Role::Button, &row);
    window.button(&row);
    assert_eq!(window.state().selected, Some(least));
}

#[test]
fn what_cannot_be_shown_is_told_and_the_window_goes_on() {
    let mut window = window();
    let effect = window.state().costs.cost.clone().unwrap().dense;
    let folder = |name: &str, files: &[&str]| {
        let folder = window.path(name);
        std::fs::create_dir_all(&folder).unwrap();
        for file in files {
            std::fs::write(folder.join(file), "no picture").unwrap();
        }
        folder
    };
    let (empty, text, broken) = (folder("empty", &[]), folder("text", &["a.txt", "b.md"]), folder("broken", &["a.jpg"]));
    let both = folder("both", &["a.jpg"]);
    std::fs::copy(window.path("some digits/7").read_dir().unwrap().next().unwrap().unwrap().path(), both.join("b.png")).unwrap();
    for folder in [&empty, &text] {
        window.answer(folder);
        window.button("Choose images…");
        window.wait("a failure", |s| s.costs.failure.as_ref().is_some_and(|why| why.contains("no PNG, JPEG, WebP or BMP")));
        // What was shown before is shown still.
        assert_eq!(window.state().costs.cost.as_ref().unwrap().dense, effect);
        window.answer(window.path("some digits"));
        window.button("Choose images…");
        window.wait("the images again", |s| s.costs.failure.is_none() && is_measured(s, IMAGES));
    }
    window.answer(&broken);
    window.button("Choose images…");
    window.wait("a failure", |s| s.costs.failure.as_ref().is_some_and(|why| why.contains("none of the images") && why.contains("a.jpg")));
    assert!(!window.says("Measuring"), "nothing is measured any more");
    // One broken picture among others is named and left out.
    window.answer(&both);
    window.button("Choose images…");
    window.wait("the one that is whole", |s| s.costs.cost.as_ref().is_some_and(|c| c.is_whole && c.dense.images == 1));
    assert_eq!(window.state().costs.cost.as_ref().unwrap().broken[0].name, "a.jpg");
    assert!(window.says("1 COULD NOT BE READ") && window.state().costs.failure.is_none());
    window.button("Use noise");
    window.wait("noise", |s| s.costs.cost.as_ref().is_some_and(|c| c.dense.images == 32));
    assert!(window.says("WHICH TELL DRIFT, NOT ACCURACY"));
    assert!(window.has(Role::Button, "Measure the curve") && window.says("AGREEMENT ON NOISE AGAINST AMOUNT"));
}
