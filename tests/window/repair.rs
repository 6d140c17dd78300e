//! Repair in the window: the accuracy falls, comes back, is undone, saved and pruned further; what is told, refused and cancelled.

use std::path::Path;
use std::sync::Arc;

use eframe::egui::accesskit::{Role, Toggled};
use eframe::egui::{Key, Modifiers};
use egui_kittest::kittest::{NodeT, Queryable};
use secateur::app::AppState;
use secateur::evaluate::{Evaluator, Questions};
use secateur::images::{ImageSet, Preprocess};
use secateur::measurer::TaskKind;
use secateur::prune::{Method, Step};
use secateur::repair::split;
use secateur::session::Session;
use secateur::watch::Unwatched;

use super::driver::{CONTROL, DEMO, Window};
use super::effect::{choose, choose_digits, digits, noise_folder, reveal, some_digits};

/// Digits of each class, all of them, and those that judge where a third calibrates.
const PER_CLASS: usize = 9;
const ALL: usize = 10 * PER_CLASS;
const JUDGING: usize = 60;

/// The demo with some of its digits.
fn with_digits() -> Window {
    let mut window = Window::on(Some(DEMO));
    let folder = digits(window.folder.path(), PER_CLASS);
    choose(&mut window, &folder, ALL);
    window
}

/// With so much of it pruned globally, and its effect on screen.
fn pruned(percent: &str) -> Window {
    let mut window = with_digits();
    window.set_percent(percent);
    window.wait("the effect", |s| is_measured(s, ALL));
    window
}

/// Whether the cost on screen is that of the present state, on so many images.
fn is_measured(state: &AppState, images: usize) -> bool {
    let (Some(cost), Some(view)) = (&state.costs.cost, &state.view) else { return false };
    cost.is_whole && cost.dense.images == images && cost.state == view.state
}

fn top1(state: &AppState) -> f64 {
    state.costs.cost.as_ref().unwrap().effects.given(Method::Global).unwrap().top1.unwrap()
}

fn is_repaired(state: &AppState) -> bool {
    state.view.as_ref().is_some_and(|view| view.undoable == Some(Step::Repair))
}

fn is_idle(state: &AppState) -> bool {
    state.costs.progress.is_none()
}

/// Asks for the first repair.
fn ask(window: &mut Window) {
    window.button("Repair");
    window.wait("the question", |s| s.question.is_some());
}

/// Repairs, for the first time.
fn repair(window: &mut Window) {
    ask(window);
    window.button("Repair now");
    window.wait("a repaired network", is_repaired);
}

fn notice<'a>(state: &'a AppState, title: &str) -> &'a str {
    state.notices.iter().find(|notice| notice.title == title).map_or("", |notice| &notice.text)
}

#[test]
fn what_pruning_broke_comes_back_is_undone_and_saved() {
    let mut window = Window::demo();
    assert!(!is_enabled(&window), "nothing is pruned");
    window.wait("the digits", |s| s.costs.shown.as_ref().is_some_and(|shown| shown.images == 360));
    window.set_percent("80");
    window.wait("the effect", |s| is_measured(s, 360));
    assert!(top1(window.state()) < 0.3, "{}", top1(window.state()));
    assert!(is_enabled(&window));

    ask(&mut window);
    assert!(window.says("what is pruned stays zero") && window.says("120 of the 360 images calibrate, and the other 240 judge"));
    assert!(!is_repaired(window.state()), "it asks first");
    window.button("Cancel");
    window.settle();
    assert!(window.state().question.is_none() && is_idle(window.state()) && !window.state().kept.knows_repair);
    repair(&mut window);
    let repaired = window.state().costs.repair.last.clone().unwrap();
    let (before, after) = (&repaired.judged.before, &repaired.judged.after);
    assert_eq!((before.images, after.images, repaired.judged.repair.calibration_images), (240, 240, 120));
    assert!(before.top1.unwrap() < 0.3 && after.top1.unwrap() > 0.98, "{:?} → {:?}", before.top1, after.top1);
    let told = notice(window.state(), "Repaired");
    assert!(told.contains("→") && told.contains("agreement") && told.contains("240 images that did not calibrate"), "{told}");
    window.wait("the effect of the repaired network", |s| is_measured(s, 240));
    assert_eq!(Some(top1(window.state())), after.top1, "what is measured is what was judged");
    assert!(window.says("Top-1 accuracy, 240 images that did not calibrate".to_uppercase().as_str()));

    // As undone as any step, and known when it comes again.
    window.button("Undo repair");
    window.wait("the pruned network", |s| is_measured(s, 360));
    assert!(top1(window.state()) < 0.3 && !window.state().view.as_ref().unwrap().is_fixed);
    window.button("Redo repair");
    window.wait("the repaired network", |s| is_measured(s, 240));
    assert_eq!(Some(top1(window.state())), after.top1);

    // Saved and read back it answers as it did here, and what was pruned is zero.
    let path = window.path("repaired.onnx");
    window.answer(&path);
    window.press(CONTROL, Key::S);
    window.wait("a saved file", |s| s.notices.iter().any(|n| n.title == "Saved"));
    assert!(!window.state().view.as_ref().unwrap().is_unsaved);
    let session = Session::open(&path, &Unwatched).unwrap();
    let (_, judged) = split(&ImageSet::open(Path::new("assets/digits.npz"), None).unwrap(), None).unwrap();
    let graph = &session.model().graph;
    let (preprocess, _) = Preprocess::for_model(graph, Path::new(DEMO));
    let questions = Questions::images(graph, Arc::new(judged), preprocess, None, 60).unwrap();
    let mut evaluator = Evaluator::new(session.engine().clone(), questions, None);
    assert_eq!(evaluator.dense(None, &Unwatched).unwrap().top1, after.top1);
    let zeros = session.engine().outcome(session.state()).unwrap().scope_zeros;
    assert_eq!(zeros, 1_984_597, "80 % of the scope");

    // Pruned further from here.
    window.set_percent("30");
    window.wait("the effect of both", |s| is_measured(s, 240));
    assert!(window.pruned(Method::Global) > 0);
    window.button("Repair");
    window.wait("a second repair", |s| s.view.as_ref().unwrap().state.earlier.iter().filter(|step| step.repair.is_some()).count() == 2);
    assert!(window.state().question.is_none(), "what it does is told once");
}

fn is_enabled(window: &Window) -> bool {
    !window.node(Role::Button, "Repair").accesskit_node().is_disabled()
}

#[test]
fn what_fixed_weights_answer_is_repaired_too_and_figures_are_of_the_present_ones() {
    let mut window = pruned("80");
    window.press(CONTROL, Key::Enter);
    window.wait("fixed weights", |s| s.view.as_ref().unwrap().is_fixed && is_measured(s, ALL));
    let before = top1(window.state());
    window.press(CONTROL, Key::R);
    window.wait("the question", |s| s.question.is_some());
    window.button("Repair now");
    window.wait("a repaired network", is_repaired);
    // The recipe is the same, and so a look at the recipe alone would take the old figures for the new ones.
    let state = window.state();
    let old = state.costs.cost.as_ref().unwrap();
    assert!(!old.state.has_same_base(&state.view.as_ref().unwrap().state) || old.dense.images == JUDGING);
    window.wait("its effect", |s| is_measured(s, JUDGING));
    assert!(before < 0.3 && top1(window.state()) > 0.98);
}

#[test]
fn the_tab_effect_says_how_it_repairs_and_what_every_layer_gained() {
    let mut window = pruned("80");
    window.click(Role::Tab, "Effect");
    reveal(&mut window, Role::SpinButton, "Images that calibrate");
    assert!(window.says("of 90 images calibrate, the other 60 judge"));
    window.enter_number("Images that calibrate", "15");
    window.wait_for("other images", |w| w.says("of 90 images calibrate, the other 75 judge"));
    window.click(Role::CheckBox, "Thorough");
    assert_eq!(window.toggled("Thorough"), Some(Toggled::True));
    repair(&mut window);
    let repaired = window.state().costs.repair.last.clone().unwrap();
    assert_eq!((repaired.judged.after.images, repaired.judged.repair.calibration_images), (75, 15));
    assert!(repaired.judged.repair.is_thorough && repaired.judged.repair.layers.iter().any(|layer| layer.lambda.is_some()));
    window.wait("its effect", |s| is_measured(s, 75));
    assert!(window.says("on 75 images that did not calibrate") && window.says("by least squares and statistics, on 15 images"));
    let layers = repaired.judged.repair.layers.len();
    let all = format!("List all {layers} layers");
    reveal(&mut window, Role::CheckBox, &all);
    let listed = |window: &Window| window.harness.query_all_by_label_contains(": error ").count();
    assert_eq!(listed(&window), 5);
    window.click(Role::CheckBox, &all);
    assert_eq!(listed(&window), layers);

    // A module's gain stands with its weights.
    window.click(Role::Tab, "Weights");
    window.wait_for("the gain of the first module", |w| w.says("Repaired: error of the output of "));
}

#[test]
fn a_folder_of_its_own_calibrates_and_all_that_is_shown_judges() {
    let mut window = pruned("80");
    window.click(Role::Tab, "Effect");
    let folder = some_digits(&window.path("few"));
    window.answer(&folder);
    reveal(&mut window, Role::Button, "Calibration folder…");
    window.button("Calibration folder…");
    window.wait_for("the folder", |w| w.says("calibrate, all 90 that are shown judge"));
    repair(&mut window);
    let repaired = window.state().costs.repair.last.clone().unwrap();
    assert_eq!(repaired.judged.after.images, ALL);
    assert_eq!(repaired.judged.repair.images.as_deref(), Some(&*folder));
    window.wait("its effect on all", |s| is_measured(s, ALL));
    window.button("Images shown");
    assert!(window.says("of 90 images calibrate, the other 60 judge"));
}

#[test]
fn without_images_they_are_asked_for_or_noise_stands_in_by_its_name() {
    let mut window = Window::on(Some(DEMO));
    window.set_percent("80");
    ask(&mut window);
    assert!(window.says("It needs images, without labels"));
    // A dialog that is closed without an answer repairs nothing, and nothing later on.
    window.button("Choose the images…");
    window.settle();
    assert!(is_idle(window.state()) && !is_repaired(window.state()));

    ask(&mut window);
    window.button("Use noise instead");
    window.wait("an end", |s| s.notices.iter().any(|n| n.title.ends_with("epaired")));
    let repaired = window.state().costs.repair.last.clone().unwrap();
    let title = if repaired.judged.is_better() { "Repaired" } else { "Not repaired" };
    assert!(
        repaired.judged.is_by_noise
            && notice(window.state(), title).contains("inputs of noise, of another kind than those that calibrated")
    );
    assert_eq!(repaired.judged.repair.images, None);
    window.wait("rest", is_idle);
    window.settle();
    assert_eq!(is_repaired(window.state()), repaired.judged.is_better(), "what does harm is not applied");
    if is_repaired(window.state()) {
        window.button("Undo repair");
        window.wait("the pruned network", |s| !is_repaired(s));
    }
    window.click(Role::Tab, "Effect");
    reveal(&mut window, Role::CheckBox, "Thorough");
    assert!(window.says("Noise calibrates, and noise of another kind judges"));

    choose_digits(&mut window);
    window.button("Repair");
    window.wait("a repaired network", is_repaired);
    assert!(window.state().costs.repair.last.as_ref().unwrap().judged.repair.images.is_some());
}

#[test]
fn images_that_are_chosen_for_it_repair_at_once() {
    let mut window = Window::on(Some(DEMO));
    window.set_percent("80");
    let folder = digits(window.folder.path(), PER_CLASS);
    window.answer(&folder);
    window.press(CONTROL, Key::R);
    window.wait("the question", |s| s.question.is_some());
    window.button("Choose the images…");
    window.wait("a repaired network", is_repaired);
    assert!(window.state().costs.repair.last.as_ref().unwrap().judged.after.top1.unwrap() > 0.98);
}

#[test]
fn a_repair_is_cancelled_and_is_dropped_when_the_slider_moves() {
    let mut window = pruned("80");
    window.click(Role::Tab, "Effect");
    reveal(&mut window, Role::CheckBox, "Thorough");
    window.click(Role::CheckBox, "Thorough");
    let before = window.state().view.as_ref().unwrap().state.clone();
    ask(&mut window);
    window.button("Repair now");
    window.wait("a layer", |s| s.costs.repair.part.as_ref().is_some_and(|part| part.what.starts_with("Repairing ")));
    assert!(!is_enabled(&window), "it is going on");
    assert_eq!(window.state().costs.progress.unwrap().1, TaskKind::Repair);
    window.press(Modifiers::NONE, Key::Escape);
    window.wait("an end", is_idle);
    assert!(notice(window.state(), "Not repaired").contains("stopped as asked; nothing was changed"));
    window.settle();
    assert_eq!(window.state().view.as_ref().unwrap().state, before);

    window.button("Dismiss");
    window.button("Repair");
    window.wait("a beginning", |s| !is_idle(s));
    window.set_percent("70");
    window.wait("an end", is_idle);
    assert!(notice(window.state(), "Not repaired").contains("what is pruned was changed"));
    window.wait("the effect", |s| is_measured(s, ALL));
    assert!(!is_repaired(window.state()));

    // What is beside it is another question, and leaves the repair alone.
    window.button("Repair");
    window.wait("a beginning", |s| !is_idle(s));
    window.compare("LAMP");
    window.wait("a repaired network", is_repaired);
}

#[test]
fn curves_and_searches_are_of_repaired_networks_where_that_is_wanted() {
    let mut window = Window::on(Some(DEMO));
    choose_digits(&mut window);
    window.set_percent("50");
    reveal(&mut window, Role::CheckBox, "Curve of layer-wise");
    window.click(Role::CheckBox, "Curve of layer-wise");
    assert_eq!(window.toggled("With repair"), Some(Toggled::False), "it costs more");
    window.button("Measure the curve");
    window.wait("the curve", |s| s.costs.curve.is_some() && is_idle(s));
    let curve = window.state().costs.curve.clone().unwrap();
    assert!(curve.repaired.of(Method::Global).is_none() && curve.points.of(Method::Global).unwrap().len() == 17);

    window.click(Role::CheckBox, "With repair");
    window.button("Measure the curve");
    window.wait("a beginning", |s| !is_idle(s));
    window.wait("the curve", is_idle);
    let curve = window.state().costs.curve.clone().unwrap();
    let at = |points: &[(f64, secateur::measure::Effect)], amount: f64| {
        let point = points.iter().find(|(a, _)| *a == amount).unwrap();
        (point.1.top1.unwrap(), point.1.images)
    };
    let (plain, repaired) = (curve.points.of(Method::Global).unwrap(), curve.repaired.of(Method::Global).unwrap());
    assert_eq!((plain.len(), repaired.len()), (17, 17));
    let ((fallen, all), (back, judged)) = (at(plain, 0.75), at(repaired, 0.75));
    assert!(judged < all && back > fallen + 0.3, "{fallen} of {all}, {back} of {judged}");
    reveal(&mut window, Role::Button, "Accuracy against amount");
    assert!(window.says("images that did not calibrate"));

    let search = |window: &mut Window| {
        window.button("Find");
        window.wait("a beginning", |s| !is_idle(s));
        window.wait("an end", |s| s.costs.found.is_some() && is_idle(s));
        window.state().costs.found.clone().unwrap()
    };
    let with = search(&mut window);
    window.click(Role::CheckBox, "With repair");
    let without = search(&mut window);
    assert!(with.is_repaired && !without.is_repaired);
    assert!(with.found[0].amount > without.found[0].amount + 0.05, "{} and {}", with.found[0].amount, without.found[0].amount);
}

#[test]
fn a_repair_that_does_harm_is_not_applied() {
    let mut window = pruned("40");
    let before = window.state().view.as_ref().unwrap().state.clone();
    let folder = noise_folder(&window);
    window.click(Role::Tab, "Effect");
    window.answer(&folder);
    reveal(&mut window, Role::Button, "Calibration folder…");
    window.button("Calibration folder…");
    ask(&mut window);
    window.button("Repair now");
    window.wait("an end", |s| s.costs.repair.last.is_some() && is_idle(s));
    window.settle();
    let repaired = window.state().costs.repair.last.clone().unwrap();
    assert!(!repaired.judged.is_better(), "{:?} → {:?}", repaired.judged.before.agreement, repaired.judged.after.agreement);
    assert!(notice(window.state(), "Repair not applied").contains("nothing was changed"));
    assert!(window.says("Not applied, because agreement with the dense network fell"));
    assert_eq!(window.state().view.as_ref().unwrap().state, before);
}

#[test]
fn a_recipe_repairs_again() {
    let mut window = with_digits();
    window.set_percent("80");
    reveal(&mut window, Role::SpinButton, "Images that calibrate");
    window.enter_number("Images that calibrate", "20");
    repair(&mut window);
    let save = |window: &mut Window, menu: &str, entry: &str, name: &str| {
        let path = window.path(name);
        window.answer(&path);
        window.menu(menu, entry);
        window.wait_for("a saved file", |_| path.exists());
        std::fs::read(path).unwrap()
    };
    let recipe = String::from_utf8(save(&mut window, "Recipe", "Save the recipe…", "recipe.toml")).unwrap();
    assert!(recipe.contains("calibration-images = 20") && recipe.contains("some digits"), "{recipe}");
    let first = save(&mut window, "Save as…", "ONNX model…", "first.onnx");

    // In a window that knows nothing of it; what it repairs on is chosen first.
    let path = window.path("recipe.toml");
    let mut other = Window::on(Some(DEMO));
    other.answer(&path);
    other.menu("Recipe", "Open a recipe…");
    other.wait("the recipe", |s| notice(s, "The recipe repairs").contains("needs images"));
    other.button("Undo recipe");
    choose(&mut other, &window.path("some digits"), ALL);
    other.answer(&path);
    other.menu("Recipe", "Open a recipe…");
    other.wait("the question", |s| s.question.is_some());
    assert!(other.says("20 of the 90 images calibrate"));
    // What can be undone has the focus.
    other.press(Modifiers::NONE, Key::Enter);
    other.wait("a repaired network", is_repaired);
    let second = save(&mut other, "Save as…", "ONNX model…", "second.onnx");
    assert!(first == second);
}

#[test]
fn a_recipe_repairs_between_its_steps() {
    let open = |window: &mut Window, path: &Path| {
        window.answer(path);
        window.menu("Recipe", "Open a recipe…");
        let repairs = |s: &AppState| s.view.as_ref().unwrap().state.earlier.iter().filter(|step| step.repair.is_some()).count();
        window.wait("both repairs", |s| repairs(s) == 2 && is_idle(s));
    };
    let save = |window: &mut Window, menu: &str, entry: &str, name: &str| {
        let path = window.path(name);
        window.answer(&path);
        window.menu(menu, entry);
        window.wait_for("a saved file", |_| path.exists());
        path
    };
    let mut window = with_digits();
    let by_hand = window.path("by_hand.toml");
    let steps =
        "[[step]]\namount = 0.8\nrepair = { calibration-images = 20 }\n[[step]]\namount = 0.9\nrepair = { calibration-images = 15 }\n";
    std::fs::write(&by_hand, format!("method = \"global\"\nbiases = false\n{steps}")).unwrap();
    open(&mut window, &by_hand);
    let first = save(&mut window, "Save as…", "ONNX model…", "first.onnx");
    let recipe = save(&mut window, "Recipe", "Save the recipe…", "recipe.toml");
    // What was written down does the same elsewhere.
    let mut other = with_digits();
    open(&mut other, &recipe);
    let second = save(&mut other, "Save as…", "ONNX model…", "second.onnx");
    assert!(std::fs::read(first).unwrap() == std::fs::read(second).unwrap());
    // Back step by step.
    for step in ["Undo repair", "Undo recipe", "Undo repair", "Undo recipe"] {
        window.button(step);
        window.settle();
    }
    assert!(window.state().view.as_ref().unwrap().state.earlier.is_empty());
    // A repair that is cancelled ends the recipe, and says so.
    window.answer(&recipe);
    window.menu("Recipe", "Open a recipe…");
    window.wait("the first repair", |s| s.costs.progress.is_some_and(|(_, task)| task == TaskKind::Repair));
    window.press(Modifiers::NONE, Key::Escape);
    window.wait("its end", |s| s.costs.progress.is_none());
    window.settle();
    notice(window.state(), "The rest of the recipe was left out");
    let earlier = &window.state().view.as_ref().unwrap().state.earlier;
    assert!(!earlier.is_empty() && earlier.iter().all(|step| step.repair.is_none()), "{earlier:?}");
    // Without images it is told what is missing.
    let mut bare = Window::on(Some(DEMO));
    bare.answer(&recipe);
    bare.menu("Recipe", "Open a recipe…");
    bare.wait("what is missing", |s| notice(s, "The recipe repairs").contains("between its steps"));
}
