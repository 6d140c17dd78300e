//! Fixing, keeping masks, undoing and doing again.

use eframe::egui::Key;
use eframe::egui::accesskit::Role;
use egui_kittest::kittest::NodeT;
use secateur::app::AppState;
use secateur::measure::Figures;
use secateur::prune::{Amount, Method};

use super::driver::{CONTROL, CONTROL_SHIFT, DEMO, Window};

fn figures(state: &AppState) -> &Figures {
    &state.view.as_ref().unwrap().figures
}

fn is_fixed(state: &AppState) -> bool {
    state.view.as_ref().unwrap().is_fixed
}

fn zeros(state: &AppState) -> u64 {
    figures(state).of(Method::Global).unwrap().model_zeros
}

#[test]
fn weights_are_fixed_undone_and_fixed_again() {
    let mut window = Window::demo();
    assert!(window.node(Role::Button, "Fix weights").accesskit_node().is_disabled(), "there is nothing to fix");
    assert!(window.node(Role::Button, "Undo").accesskit_node().is_disabled());
    window.set_percent("50");
    let masked = window.figures().clone();
    window.button("Fix weights");
    window.wait("fixed weights", is_fixed);
    assert_eq!(window.recipe().amount, Amount::Fraction(0.0));
    assert_eq!(zeros(window.state()), 1_240_373);
    assert!(window.says("weights fixed") && window.says("• mobilenetv4_digits.onnx"));

    window.button("Undo fix weights");
    window.wait("masks again", |s| !is_fixed(s));
    assert_eq!(window.figures(), &masked);
    assert!(!window.says("• mobilenetv4_digits.onnx"));
    window.press(CONTROL_SHIFT, Key::Z);
    window.wait("fixed weights again", is_fixed);
    assert!(window.node(Role::Button, "Redo").accesskit_node().is_disabled());
    window.press(CONTROL, Key::Z);
    window.wait("masks again", |s| !is_fixed(s));
    window.button("Redo fix weights");
    window.wait("fixed weights again", is_fixed);

    // After that the zeros are simply the smallest.
    window.set_percent("60");
    assert_eq!(window.pruned(Method::Global), 1_488_448);
    assert_eq!(zeros(window.state()), 1_488_448);
}

#[test]
fn masks_are_kept_and_what_is_left_is_pruned_further() {
    let mut window = Window::demo();
    window.set_percent("20");
    window.press(CONTROL_SHIFT, Key::Enter);
    window.wait("kept masks", |s| s.view.as_ref().unwrap().is_applied);
    assert!(!is_fixed(window.state()), "kept is not fixed");
    assert_eq!(window.recipe().amount, Amount::Fraction(0.0));
    assert_eq!(zeros(window.state()), 496_149);
    window.set_percent("50");
    // As PyTorch's PruningContainer counts: 20 %, then half of what is left.
    assert_eq!(window.pruned(Method::Global), 1_488_447);
    assert!(window.says("on top of kept masks"));
    window.button("Reset");
    window.wait("no masks", |s| !s.view.as_ref().unwrap().is_applied && zeros(s) == 0);
    window.press(CONTROL, Key::Z);
    window.wait("both masks again", |s| zeros(s) == 1_488_447);
    window.button("Keep masks, prune further");
    window.wait("more kept masks", |s| figures(s).recipe.amount == Amount::Fraction(0.0));
    assert_eq!(zeros(window.state()), 1_488_447);
}

#[test]
fn reset_forgets_masks_but_nothing_that_is_fixed() {
    let mut window = Window::demo();
    window.set_percent("30");
    window.press(CONTROL, Key::Enter);
    window.wait("fixed weights", is_fixed);
    window.set_percent("50");
    window.press(CONTROL_SHIFT, Key::R);
    window.wait("no masks", |s| figures(s).recipe.amount == Amount::Fraction(0.0));
    assert_eq!(zeros(window.state()), 744_224);
    assert!(is_fixed(window.state()));
}

#[test]
fn every_kind_of_step_is_undone_in_turn() {
    let mut window = Window::demo();
    let start = window.recipe().clone();
    window.set_percent("50");
    window.apply("Layer-wise");
    window.click(Role::CheckBox, "Biases");
    window.click(Role::CheckBox, "Prune conv_stem");
    window.click(Role::CheckBox, "Lock this module");
    window.wait("five steps", |s| figures(s).recipe.locked[0]);
    for _ in 0..5 {
        let before = window.recipe().clone();
        window.press(CONTROL, Key::Z);
        window.wait("a step back", |s| figures(s).recipe != before);
    }
    assert_eq!(window.recipe(), &start);
    window.assert_as_session(DEMO);
    // A new step forgets what was undone.
    window.set_percent("10");
    assert!(window.node(Role::Button, "Redo").accesskit_node().is_disabled());
}
