//! What pruning saves: bytes, multiply-accumulates, time.

use std::path::Path;

use eframe::egui::Key;
use eframe::egui::Modifiers;
use eframe::egui::accesskit::Role;
use egui_kittest::kittest::Queryable;
use secateur::app::{AppState, Tab};
use secateur::graph::ParameterId;
use secateur::measure::Encoding;
use secateur::measurer::Sizes;
use secateur::prune::{Method, Recipe, Step};
use secateur::session::Session;
use secateur::watch::Unwatched;

use super::driver::{DEMO, Window};

fn is_weighed(state: &AppState) -> bool {
    let recipe = state.recipe.as_ref().unwrap();
    state.costs.sizes.as_ref().is_some_and(|sizes| sizes.recipe.amount == recipe.amount) && state.costs.work.is_some()
}

/// Opened as a file, it comes without its digits, so that nothing else is measured.
fn open() -> Window {
    let mut window = Window::on(Some(DEMO));
    window.set_percent("50");
    window.click(Role::Tab, "Size and speed");
    window.wait("sizes", is_weighed);
    window
}

#[test]
fn bytes_and_work_are_those_of_a_session() {
    let mut window = open();
    let mut session = Session::open(Path::new(DEMO), &Unwatched).unwrap();
    let dense = session.engine().dense_sizes(&Unwatched).unwrap();
    for method in Method::PAIR {
        session.set(Recipe { method, ..window.recipe().clone() }, Step::Amount).unwrap();
        assert_eq!(
            *window.state().costs.sizes.as_ref().unwrap().pruned.given(method).unwrap(),
            session.engine().sizes(session.state(), &dense, &Unwatched).unwrap()
        );
    }
    let sizes = window.state().costs.sizes.clone().unwrap();
    let [opened, global] = [&sizes.dense[..], sizes.pruned.given(Method::Global).unwrap()].map(Sizes::total);
    assert!(global.of(Encoding::Zstd) < opened.of(Encoding::Zstd));
    assert!(window.says("Dense: 10.0\u{2009}MB, 10.0\u{2009}MB, 10.0\u{2009}MB"));
    let megabytes = |bytes: u64| format!("{:.1}\u{2009}MB", bytes as f64 / 1e6);
    let layer_wise = Sizes::total(sizes.pruned.given(Method::LayerWise).unwrap());
    let row = [opened, global, layer_wise].map(|total| megabytes(total.sparse_tensor)).join(", ");
    assert!(window.says(&format!("ONNX sparse tensor: {row}, 66.7\u{2009}%")));
    // The whole network's work, as PyTorch counts it (tests/reference/macs.json), and two thirds of a half of it.
    assert!(window.says("Multiply-accumulates: 16\u{2009}220\u{2009}928, 37.9\u{2009}%, 50.0\u{2009}%"));
    // What the slider does is weighed again when it rests.
    window.set_percent("90");
    window.wait("other sizes", is_weighed);
    let after = Sizes::total(window.state().costs.sizes.as_ref().unwrap().pruned.given(Method::Global).unwrap());
    assert!(after.bitmask < global.bitmask / 2);
}

#[test]
fn a_row_selects_its_weight() {
    let mut window = open();
    let row = window.harness.query_all_by_label_contains("blocks.0.0.conv: 0.4").next().unwrap();
    row.click();
    window.step_twice();
    let selected = window.state().selected.unwrap();
    assert_eq!(window.state().model.as_ref().unwrap().graph.owner(selected).name, "blocks.0.0.conv");
    assert_ne!(selected, ParameterId(0));
}

#[test]
fn passes_are_timed_when_asked_for_and_can_be_stopped() {
    let mut window = open();
    assert!(window.says("Zeros make dense kernels no faster"));
    window.button("Measure the speed");
    window.wait("times", |s| s.costs.timed.is_some() && s.costs.progress.is_none());
    let timed = window.state().costs.timed.clone().unwrap();
    assert_eq!((timed.speed.batch, &timed.recipe), (1, window.recipe()));
    assert!(window.says("Masked: ") && window.says("Fixed: "));
    // Many images take long enough to be stopped.
    window.enter_number("Images of a pass", "512");
    window.button("Measure the speed");
    window.wait("progress", |s| s.costs.progress.is_some());
    window.press(Modifiers::NONE, Key::Escape);
    window.wait("the end of it", |s| s.costs.progress.is_none());
    window.settle();
    assert_eq!(window.state().costs.timed.as_ref().unwrap().speed.batch, 1, "what was stopped tells nothing");
}

/// Nobody looks, nothing is compressed.
#[test]
fn nothing_is_weighed_behind_another_tab() {
    let mut window = open();
    window.click(Role::Tab, "Sparsity");
    window.set_percent("70");
    window.settle();
    assert!(!is_weighed(window.state()));
    assert_eq!(window.state().kept.tab, Tab::Sparsity);
}
