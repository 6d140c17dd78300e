//! How images are preprocessed: seen, changed, and taken back.

use eframe::egui::accesskit::Role;
use egui_kittest::kittest::NodeT;
use secateur::app::AppState;
use secateur::images::{Channels, Preprocess};

use super::driver::Window;
use super::effect::{IMAGES, is_measured, window};

fn shown(state: &AppState) -> &Preprocess {
    state.costs.shown.as_ref().unwrap().preprocess.as_ref().unwrap()
}

fn accuracy(window: &Window) -> f64 {
    window.state().costs.cost.as_ref().unwrap().dense.top1.unwrap()
}

#[test]
fn preprocessing_is_changed_by_its_fields_and_measured_again() {
    let mut window = window();
    let before = shown(window.state()).clone();
    assert_eq!((before.mean, before.std, before.channels), ([0.5; 3], [0.5; 3], Channels::GreyInThree), "the file beside the model");
    assert!((accuracy(&window) - 1.0).abs() < 1e-9);
    assert!(!window.has(Role::SpinButton, "Mean, first channel"), "the fields are closed");

    window.button("Preprocessing");
    assert!(window.says("from mobilenetv4_digits.config.json"));
    assert!(window.node(Role::SpinButton, "Height").accesskit_node().is_disabled(), "the model fixes its size");
    for channel in ["first", "second", "third"] {
        window.enter_number(&format!("Mean, {channel} channel"), "3");
        window.wait("the effect", |s| is_measured(s, IMAGES) && shown(s).mean != [0.5; 3]);
    }
    assert_eq!(shown(window.state()).mean, [3.0; 3]);
    assert!(window.says("as chosen"));
    assert!(accuracy(&window) < 0.9, "images of nothing but −5 are no digits: {}", accuracy(&window));

    window.button("As the model's files say");
    window.wait("the effect as before", |s| is_measured(s, IMAGES) && s.costs.shown.as_ref().unwrap().provenance.starts_with("from"));
    assert_eq!(shown(window.state()), &before);
    assert!((accuracy(&window) - 1.0).abs() < 1e-9);
}

#[test]
fn values_and_colours_are_chosen_by_name() {
    let mut window = window();
    window.button("Preprocessing");
    window.click(Role::ComboBox, "Values");
    window.button("0 to 255");
    window.wait("other values", |s| shown(s).divisor == 1.0);
    window.click(Role::ComboBox, "Channels");
    window.button("BGR");
    window.wait("other channels", |s| shown(s).channels == Channels::Bgr && is_measured(s, IMAGES));
    assert_eq!((shown(window.state()).mean, shown(window.state()).std), ([0.0; 3], [1.0; 3]));
    window.button("Use noise");
    window.wait("noise", |s| s.costs.shown.as_ref().is_some_and(|shown| shown.path.is_none()));
    assert!(!window.has(Role::Button, "Preprocessing"), "noise is not preprocessed");
}
