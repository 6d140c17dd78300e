//! How images are preprocessed: seen, changed, and taken back.

use eframe::egui::accesskit::Role;
use egui_kittest::kittest::NodeT;
use secateur::app::{AppState, Tab};
use secateur::images::{Colours, Preprocess};

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
    assert_eq!((before.mean, before.std, before.channels), ([0.5; 3], [0.5; 3], Colours::GreyInThree), "the file beside the model");
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
    window.wait("other channels", |s| shown(s).channels == Colours::Bgr && is_measured(s, IMAGES));
    assert_eq!((shown(window.state()).mean, shown(window.state()).std), ([0.0; 3], [1.0; 3]));
    window.button("Use noise");
    window.wait("noise", |s| s.costs.shown.as_ref().is_some_and(|shown| shown.path.is_none()));
    assert!(!window.has(Role::Button, "Preprocessing"), "noise is not preprocessed");
}

#[test]
fn images_are_dropped_on_the_window() {
    let mut window = Window::on(Some(super::driver::DEMO));
    window.drop_file("assets/digits.npz");
    window.wait("the digits", |s| s.costs.shown.as_ref().is_some_and(|shown| shown.images == 360));
    assert_eq!(window.state().kept.tab, Tab::Effect);
    assert!(window.state().notices.is_empty() && window.state().model.is_some());
}

/// Three folders say nothing about which of ten outputs they are; a file does.
#[test]
fn labels_that_do_not_fit_are_told_and_a_file_makes_them_fit() {
    let mut window = Window::on(Some(super::driver::DEMO));
    window.click(Role::Tab, "Effect");
    let folder = window.path("some classes");
    for class in ["3", "5", "8"] {
        let target = folder.join(class);
        std::fs::create_dir_all(&target).unwrap();
        let source = std::fs::read_dir(format!("assets/digits/{class}")).unwrap().map(|e| e.unwrap().path()).min().unwrap();
        std::fs::copy(&source, target.join("one.png")).unwrap();
    }
    window.answer(&folder);
    window.button("Choose images…");
    window.wait("the effect", |s| is_measured(s, 3));
    assert!(window.says("The labels are not used: 3 classes and 10 outputs of the network do not go together"));
    assert!(window.says("3 images · 3 classes, not used"));
    let cost = window.state().costs.cost.clone().unwrap();
    assert_eq!((cost.dense.top1, cost.dense.agreement), (None, Some(1.0)));

    let labels = window.path("labels.txt");
    std::fs::write(&labels, "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n").unwrap();
    window.answer(&labels);
    window.button("Labels…");
    window.wait("labels", |s| is_measured(s, 3) && s.costs.cost.as_ref().unwrap().dense.top1.is_some());
    assert!((accuracy(&window) - 1.0).abs() < 1e-9 && !window.says("The labels are not used"));
}

/// Numbers from 5 to 14 sort in two ways; only a person knows which one the network was trained with.
#[test]
fn the_order_of_numbered_classes_is_chosen_and_what_is_left_out_is_told() {
    let mut window = Window::on(Some(super::driver::DEMO));
    window.click(Role::Tab, "Effect");
    let folder = window.path("numbered");
    for class in 0..10 {
        let target = folder.join((class + 5).to_string());
        std::fs::create_dir_all(&target).unwrap();
        let source = std::fs::read_dir(format!("assets/digits/{class}")).unwrap().map(|e| e.unwrap().path()).min().unwrap();
        std::fs::copy(&source, target.join("one.png")).unwrap();
    }
    std::fs::write(folder.join("notes.txt"), "no picture").unwrap();
    window.answer(&folder);
    window.button("Choose images…");
    window.wait("the effect", |s| is_measured(s, 10));
    assert!(window.says("The labels are not used: names of the 10 classes have numbers"));
    assert!(window.says("10 classes that are not used, 10 images"));
    assert!(window.says("Left out: 1 .txt, no picture: notes.txt"));
    assert_eq!(window.state().costs.cost.as_ref().unwrap().dense.top1, None);

    window.click(Role::RadioButton, "By number");
    window.wait("labels", |s| is_measured(s, 10) && s.costs.cost.as_ref().unwrap().dense.top1.is_some());
    assert!((accuracy(&window) - 1.0).abs() < 1e-9 && !window.says("The labels are not used"));
    window.click(Role::RadioButton, "As text");
    window.wait("other labels", |s| is_measured(s, 10) && s.costs.cost.as_ref().unwrap().dense.top1.is_some_and(|top1| top1 < 0.5));
}

/// A network that gives features before its classes: the classes answer, that is said, and another output can be chosen.
#[test]
fn the_output_that_answers_is_told_and_chosen() {
    let folder = "tests/folders/stray";
    let mut window = Window::on(Some("tests/answering/features_then_logits.onnx"));
    window.click(Role::Tab, "Effect");
    window.answer(std::path::Path::new(folder));
    window.button("Choose images…");
    window.wait("the effect", |s| is_measured(s, 36));
    assert!((accuracy(&window) - 1.0).abs() < 1e-9);
    assert!(window.says("taken from the output “logits”; “features” could be meant as well"));
    window.click(Role::ComboBox, "Output that answers");
    window.button("features");
    window.wait("features", |s| is_measured(s, 36) && s.costs.cost.as_ref().unwrap().output == 0);
    assert!(window.says("The labels are not used: 12 classes and 64 outputs"));
    window.click(Role::ComboBox, "Output that answers");
    window.button("Found by itself");
    window.wait("classes", |s| is_measured(s, 36) && s.costs.cost.as_ref().unwrap().dense.top1 == Some(1.0));
    assert!(!window.says("The labels are not used"));
}
