//! Opening: the demo, files by name, by dialog and by dropping them; files that cannot be opened.

use std::sync::Arc;

use eframe::egui::accesskit::Role;
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};
use secateur::prune::Recipe;

use super::driver::{DEMO, FOLDED, OTHER, SIZE, Window};

#[test]
fn the_demo_opens_when_nothing_is_named() {
    let mut window = Window::start(Harness::builder().with_size([1280.0, 3200.0]), None);
    window.wait("the demo", |s| s.view.is_some());
    // The window is tall enough for the whole tree.
    let lines: Vec<String> = window.harness.query_all_by_role(Role::TreeItem).filter_map(|n| n.accesskit_node().label()).collect();
    let at = |name: &str| lines.iter().position(|l| l == name).unwrap();
    assert_eq!((at("Conv2d"), at("BatchNormAct2d"), at("Linear"), lines.len()), (0, 47, 94, 98));
    assert_eq!((lines[1].as_str(), lines[95].as_str()), ("conv_stem", "classifier"));
    assert_eq!(lines[96..], ["Running statistics", "Not in a module"]);
    assert!(window.says("mobilenetv4_digits.onnx") && window.says("BatchNorm kept"));
    assert!(window.state().kept.recent.is_empty(), "the unpacked demo is gone after this run");
}

#[test]
fn a_named_file_opens() {
    let window = Window::on(Some(OTHER));
    assert!(window.says("mobilenetv4_r224_3classes.onnx"));
    assert_eq!(window.state().kept.recent.len(), 1);
    assert!(window.state().notices.is_empty());
}

#[test]
fn a_file_that_is_missing_or_no_model_is_told_and_the_model_stays() {
    let mut window = Window::start(Harness::builder().with_size(SIZE), Some("no/such/model.onnx"));
    window.wait("a notice", |s| !s.notices.is_empty() && s.progress.is_none());
    window.step_twice();
    assert!(window.says("no/such/model.onnx") && window.state().model.is_none());
    assert!(window.says("Open an ONNX model, or drop one here"));
    window.open(DEMO);
    assert!(window.state().notices.is_empty(), "a model that opens takes the old complaint away");

    let model = window.state().model.clone().unwrap();
    let missing = window.path("gone.onnx");
    let text = window.path("text.onnx");
    std::fs::write(&text, "This is no model.").unwrap();
    for (path, notices) in [(missing, 1), (text, 2)] {
        window.answer(&path);
        window.button("Open…");
        window.wait("a notice", |s| s.notices.len() == notices);
        window.step_twice();
        assert!(window.says(path.to_str().unwrap()));
    }
    assert!(Arc::ptr_eq(&model, window.state().model.as_ref().unwrap()));
    window.set_percent("50");
    window.assert_as_session(DEMO);
    window.harness.get_all_by_label("Dismiss").next().unwrap().click();
    window.wait("one notice less", |s| s.notices.len() == 1);
}

#[test]
fn a_dropped_file_opens() {
    let mut window = Window::demo();
    window.drop_file(OTHER);
    window.wait("the other model", |s| {
        s.view.is_some() && s.model.as_ref().is_some_and(|m| m.file.path.ends_with("mobilenetv4_r224_3classes.onnx"))
    });
    assert_eq!(window.figures().scope_elements, 2_471_779);
}

#[test]
fn recent_files_open_from_their_menu() {
    let mut window = Window::on(Some(OTHER));
    window.menu("Recent", "Open the demo");
    window.wait("the demo", |s| s.view.is_some() && s.model.as_ref().is_some_and(|m| m.file.path.ends_with("mobilenetv4_digits.onnx")));
    window.menu("Recent", "mobilenetv4_r224_3classes.onnx");
    window.wait("the first file", |s| {
        s.view.is_some() && s.model.as_ref().is_some_and(|m| m.file.path.ends_with("mobilenetv4_r224_3classes.onnx"))
    });
}

#[test]
fn folded_batch_norm_is_noted_and_its_biases_start_left_out() {
    let mut window = Window::on(Some(FOLDED));
    assert!(window.says("BatchNorm is folded"));
    let text = &window.state().notices[0].text;
    assert!(text.contains("Biases") && text.contains("export"), "{text}");
    assert!(!window.recipe().biases);
    window.set_percent("50");
    window.assert_as_session(FOLDED);
    assert!(!window.state().notices.is_empty(), "it stays while work goes on");
}

/// Models with fewer and with more modules in turn: nothing of the one is drawn with the other.
#[test]
fn models_of_other_sizes_follow_one_another() {
    let mut window = Window::on(Some(FOLDED));
    for file in [DEMO, FOLDED, DEMO, FOLDED, DEMO] {
        window.open(file);
        window.assert_as_session(file);
    }
}

/// What is clicked while another model is being opened was meant for the one on screen.
#[test]
fn what_was_meant_for_the_old_model_does_not_reach_the_new_one() {
    let mut window = Window::demo();
    for file in [FOLDED, DEMO] {
        window.answer(file);
        window.button("Open…");
        window.click(Role::CheckBox, "Prune Conv2d");
        window.wait("the other model", |s| {
            s.view.is_some() && s.progress.is_none() && s.model.as_ref().is_some_and(|m| m.file.path.to_str() == Some(file))
        });
        window.settle();
        assert_eq!(window.figures().recipe, Recipe::new(&window.state().model.as_ref().unwrap().graph));
        assert!(window.state().notices.iter().all(|n| !n.text.contains("internal")), "{:?}", window.state().notices);
    }
}
