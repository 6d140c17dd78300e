//! Channels that are removed from a network that was repaired first: before, after, undone, cancelled, refused.

use std::path::Path;

use eframe::egui::accesskit::{Role, Toggled};
use eframe::egui::{Key, Modifiers};
use egui_kittest::kittest::NodeT;
use secateur::app::AppState;
use secateur::evaluate::{Evaluator, Questions};
use secateur::images::{ImageSet, Preprocess};
use secateur::measurer::TaskKind;
use secateur::prune::Step;
use secateur::repair::{Judged, split};
use secateur::session::Session;
use secateur::watch::Unwatched;

use super::super::driver::{CONTROL, DEMO, Window};
use super::super::effect::{choose, digits, noise_folder, reveal};
use super::{elements, is_removed, look, set, settled};

/// Digits of each class, all of them, and those that judge.
const PER_CLASS: usize = 12;
const ALL: usize = 10 * PER_CLASS;
const JUDGING: usize = 80;

/// The demo with its digits, so much of it to be removed, of a repaired network.
fn window(percent: &str) -> Window {
    let mut window = Window::on(Some(DEMO));
    let folder = digits(window.folder.path(), PER_CLASS);
    choose(&mut window, &folder, ALL);
    look(&mut window);
    set(&mut window, percent);
    assert!(window.node(Role::CheckBox, "Thorough").accesskit_node().is_disabled());
    window.click(Role::CheckBox, "Repair");
    assert_eq!(window.toggled("Repair"), Some(Toggled::True));
    window
}

fn repaired(state: &AppState) -> Option<&Judged> {
    state.view.as_ref()?.repaired.as_deref()
}

/// Whether what is on screen was measured on so many images, and its accuracy.
fn top1(state: &AppState, images: usize) -> Option<f64> {
    let (cost, view) = (state.costs.cost.as_ref()?, state.view.as_ref()?);
    let is_present = cost.is_whole && cost.dense.images == images && cost.state == view.state;
    cost.effects.given(view.state.recipe.method)?.top1.filter(|_| is_present)
}

fn is_repairing(state: &AppState) -> bool {
    matches!(state.costs.progress, Some((_, TaskKind::Repair)))
}

fn notice<'a>(state: &'a AppState, title: &str) -> &'a str {
    state.notices.iter().find(|notice| notice.title == title).map_or("", |notice| &notice.text)
}

#[test]
fn channels_go_from_a_repaired_network_as_one_step() {
    let mut window = window("40");
    let opened = elements(window.state());
    let after = settled(window.state()).unwrap().after;
    window.button("Remove channels");
    window.wait("the question", |s| s.question.is_some());
    assert!(window.says("and then they are removed, as one step") && window.says("40 of the 120 images calibrate"));
    assert!(!is_removed(window.state()));
    window.button("Repair now");
    window.wait("the smaller network", |s| is_removed(s) && settled(s).is_some());
    assert_eq!(elements(window.state()) as u64, after.parameters);
    let judged = repaired(window.state()).unwrap().clone();
    let (before, now) = (judged.before.top1.unwrap(), judged.after.top1.unwrap());
    assert_eq!((judged.after.images, judged.repair.calibration_images), (JUDGING, 40));
    assert!(before < 0.3 && now > 0.95, "{before} → {now}");
    let told = notice(window.state(), "Repaired");
    assert!(told.contains("80 images that did not calibrate") && told.contains("then the channels were removed"), "{told}");
    for line in ["Before", "After", "on 80 images that did not calibrate", "layers by statistics, on 40 images"] {
        assert!(window.says(line), "not told: {line}");
    }
    assert!(window.says("are removed, and what is left is repaired"));

    // The smaller network answers as its repaired twin did, to the images that did not calibrate.
    window.wait("its effect", |s| top1(s, JUDGING).is_some());
    assert_eq!(top1(window.state(), JUDGING), Some(now));
    assert_eq!(window.state().view.as_ref().unwrap().undoable, Some(Step::Remove));
    let path = window.path("smaller.onnx");
    window.answer(&path);
    window.press(CONTROL, Key::S);
    window.wait("the saved file", |s| s.view.as_ref().is_some_and(|view| !view.is_unsaved));
    let session = Session::open(&path, &Unwatched).unwrap();
    let graph = &session.model().graph;
    let (_, judging) = split(&ImageSet::open(&window.path("some digits"), None).unwrap(), None).unwrap();
    let (preprocess, _) = Preprocess::for_model(graph, Path::new(DEMO));
    let questions = Questions::images(graph, std::sync::Arc::new(judging), preprocess, None, 60).unwrap();
    assert_eq!(Evaluator::new(session.engine().clone(), questions, None).dense(None, &Unwatched).unwrap().top1, Some(now));

    // One step back, and forward again.
    window.button("Undo removal");
    window.wait("the opened network", |s| !is_removed(s) && top1(s, ALL).is_some());
    assert_eq!((elements(window.state()), repaired(window.state()).is_none()), (opened, true));
    assert!(!window.state().view.as_ref().unwrap().is_fixed, "nothing of the repair is left");
    window.button("Redo removal");
    window.wait("the smaller network again", |s| is_removed(s) && top1(s, JUDGING).is_some());
    assert_eq!((top1(window.state(), JUDGING), repaired(window.state()).unwrap().after.top1), (Some(now), Some(now)));
}

#[test]
fn a_repair_before_a_removal_is_cancelled_and_is_dropped_when_the_plan_changes() {
    let mut window = window("40");
    window.click(Role::CheckBox, "Thorough");
    assert_eq!(window.toggled("Thorough"), Some(Toggled::True));
    let opened = elements(window.state());
    window.button("Remove channels");
    window.wait("the question", |s| s.question.is_some());
    window.button("Repair now");
    window.wait("a layer", |s| s.costs.repair.part.as_ref().is_some_and(|part| part.what.starts_with("Repairing ")));
    assert!(window.node(Role::Button, "Remove channels").accesskit_node().is_disabled(), "it is going on");
    window.press(Modifiers::NONE, Key::Escape);
    window.wait("an end", |s| s.costs.progress.is_none());
    window.settle();
    assert!(notice(window.state(), "Not repaired").contains("stopped as asked; nothing was changed"));
    assert_eq!((is_removed(window.state()), elements(window.state())), (false, opened));

    window.button("Dismiss");
    window.button("Remove channels");
    window.wait("a beginning", is_repairing);
    window.enter_number("Amount of channels in percent", "20");
    window.wait("an end", |s| !is_repairing(s));
    window.settle();
    assert!(notice(window.state(), "Not repaired").contains("what is to be removed was changed before it was done"));
    assert!(!is_removed(window.state()));

    // Without the tick nothing is repaired.
    window.click(Role::CheckBox, "Repair");
    window.button("Remove channels");
    window.wait("the smaller network", |s| is_removed(s) && settled(s).is_some());
    assert!(repaired(window.state()).is_none() && !window.says("layers by statistics"));
}

/// As with elements; the channels go all the same, as the command does it.
#[test]
fn a_repair_that_does_harm_is_left_out() {
    let mut window = window("10");
    let folder = noise_folder(&window);
    window.click(Role::Tab, "Effect");
    window.answer(&folder);
    reveal(&mut window, Role::Button, "Calibration folder…");
    window.button("Calibration folder…");
    window.click(Role::Tab, "Channels");
    window.button("Remove channels");
    window.wait("the question", |s| s.question.is_some());
    window.button("Repair now");
    window.wait("the smaller network", |s| is_removed(s) && settled(s).is_some());
    let judged = repaired(window.state()).unwrap().clone();
    assert!(!judged.is_better(), "{:?} → {:?}", judged.before.agreement, judged.after.agreement);
    assert!(notice(window.state(), "Repair not applied").contains("the channels were removed without it"));
    assert!(window.says("Not applied, because agreement with the dense network fell"));
    window.wait("its effect", |s| top1(s, ALL).is_some());
    assert_eq!(top1(window.state(), ALL), judged.before.top1);
}

#[test]
fn without_images_nothing_can_be_repaired() {
    let mut window = Window::on(Some(DEMO));
    look(&mut window);
    set(&mut window, "30");
    for tick in ["Repair", "Thorough"] {
        assert!(window.node(Role::CheckBox, tick).accesskit_node().is_disabled(), "{tick}");
    }
}

/// By its name, as with elements.
#[test]
fn noise_can_stand_in_for_images() {
    let mut window = Window::on(Some(DEMO));
    window.click(Role::Tab, "Effect");
    window.button("Use noise");
    window.wait("the effect on noise", |s| s.costs.cost.as_ref().is_some_and(|cost| cost.is_whole));
    look(&mut window);
    set(&mut window, "40");
    window.click(Role::CheckBox, "Repair");
    window.button("Remove channels");
    window.wait("the question", |s| s.question.is_some());
    assert!(window.says("noise of another kind judges"));
    assert!(window.says("its outputs are less like the dense network's"));
    window.button("Repair now");
    window.wait("the smaller network", |s| is_removed(s) && settled(s).is_some());
    let judged = repaired(window.state()).unwrap().clone();
    let title = if judged.is_better() { "Repaired" } else { "Repair not applied" };
    assert!(
        judged.repair.images.is_none()
            && notice(window.state(), title).contains("inputs of noise, of another kind than those that calibrated")
    );
}
