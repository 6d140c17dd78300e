//! That everything can be reached: every control has a name and a tooltip, every action a button, an entry or a shortcut.

use eframe::egui::accesskit::Role;
use eframe::egui::{Key, Modifiers, Theme, ViewportCommand};
use egui_kittest::kittest::{NodeT, Queryable};
use secateur::app::{AppState, Purpose, Tab};
use secateur::export::Format;
use secateur::prune::Method;

use super::driver::{CONTROL, CONTROL_SHIFT, Window};

const TABS: [&str; 5] = ["Sparsity", "Weights", "Compare", "Table", "Effect"];

#[test]
fn every_control_has_a_name() {
    let mut window = Window::demo();
    window.set_percent("50");
    let check = |window: &Window, place: &str| {
        let unnamed = window.harness.unnamed_widgets();
        assert!(unnamed.is_empty(), "{place}: {unnamed:?}");
        for role in [Role::Button, Role::CheckBox, Role::ComboBox, Role::TextInput, Role::Tab, Role::RadioButton, Role::TreeItem] {
            let mut names: Vec<String> = window.harness.query_all_by_role(role).filter_map(|n| n.accesskit_node().label()).collect();
            let all = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), all, "{place}: two {role:?} of one name in {names:?}");
        }
    };
    for grouping in ["By path", "By type"] {
        window.button(grouping);
        window.step_twice();
        check(&window, grouping);
    }
    for tab in TABS {
        window.click(Role::Tab, tab);
        window.step_twice();
        check(&window, tab);
    }
    // The table has buttons that are in the menu, too.
    window.click(Role::Tab, "Sparsity");
    for menu in ["Recent", "Save as…"] {
        window.button(menu);
        window.step_twice();
        check(&window, menu);
        window.press(Modifiers::NONE, Key::Escape);
        window.step_twice();
    }
    window.press(Modifiers::NONE, Key::F1);
    window.step_twice();
    check(&window, "help");
}

#[test]
fn every_button_has_a_tooltip() {
    let mut window = Window::demo();
    window.set_percent("50");
    window.click(Role::Tab, "Table");
    let controls: Vec<(Role, String)> =
        [Role::Button, Role::CheckBox, Role::ComboBox, Role::RadioButton, Role::Tab, Role::TextInput, Role::Slider]
            .into_iter()
            .flat_map(|role| {
                window.harness.query_all_by_role(role).map(move |n| (role, n.accesskit_node().label().unwrap())).collect::<Vec<_>>()
            })
            // One of the many ticks stands for the others.
            .filter(|(_, name)| !name.starts_with("Prune ") || name == "Prune Conv2d")
            .collect();
    assert!(controls.len() > 15, "{controls:?}");
    let count = |window: &Window| window.harness.root().children_recursive().count();
    let mut bare = Vec::new();
    for (role, name) in controls {
        // Where nothing is.
        window.harness.hover_at([900.0, 785.0].into());
        window.harness.run_steps(4);
        let before = count(&window);
        window.node(role, &name).hover();
        window.harness.run_steps(6);
        if count(&window) <= before {
            bare.push(name);
        }
    }
    assert!(bare.is_empty(), "without a tooltip: {bare:?}");
}

/// Presses a shortcut and waits for what it does.
fn press(window: &mut Window, modifiers: Modifiers, key: Key, condition: impl Fn(&AppState) -> bool) {
    window.press(modifiers, key);
    window.wait(&format!("what {modifiers:?} {key:?} does"), condition);
}

#[test]
fn every_shortcut_does_what_help_says() {
    let mut window = Window::demo();
    let asks = |window: &mut Window, modifiers: Modifiers, key: Key, purpose: Purpose| {
        window.press(modifiers, key);
        assert_eq!(window.asked().pop().unwrap().purpose, purpose, "{modifiers:?} {key:?}");
    };
    asks(&mut window, CONTROL, Key::O, Purpose::Open);
    asks(&mut window, CONTROL, Key::S, Purpose::Save(Format::Onnx));
    asks(&mut window, CONTROL_SHIFT, Key::E, Purpose::Table);
    asks(&mut window, CONTROL_SHIFT, Key::P, Purpose::Chart);
    assert_eq!(window.asked().len(), 4, "one dialog each");
    press(&mut window, CONTROL_SHIFT, Key::C, |s| s.notices.iter().any(|n| n.title == "Copied"));
    press(&mut window, CONTROL, Key::M, |s| s.view.as_ref().unwrap().figures.recipe.method == Method::LayerWise);
    press(&mut window, CONTROL, Key::Z, |s| s.view.as_ref().unwrap().figures.recipe.method == Method::Global);
    press(&mut window, CONTROL_SHIFT, Key::Z, |s| s.view.as_ref().unwrap().figures.recipe.method == Method::LayerWise);
    window.set_percent("20");
    press(&mut window, CONTROL_SHIFT, Key::Enter, |s| s.view.as_ref().unwrap().is_applied);
    press(&mut window, CONTROL, Key::Enter, |s| s.view.as_ref().unwrap().is_fixed);
    window.set_percent("20");
    press(&mut window, CONTROL_SHIFT, Key::R, |s| s.view.as_ref().unwrap().figures.chosen().unwrap().pruned == 0);
    for tab in [Tab::Weights, Tab::Compare, Tab::Table, Tab::Effect, Tab::Size, Tab::Channels, Tab::Sparsity] {
        press(&mut window, Modifiers::CTRL, Key::Tab, |s| s.kept.tab == tab);
    }
    press(&mut window, CONTROL, Key::T, |_| true);
    assert_eq!(window.harness.ctx.theme(), Theme::Light);

    press(&mut window, Modifiers::NONE, Key::F1, |s| s.question.is_some());
    // Help lists them all.
    let listed: Vec<String> = window.harness.query_all_by_role(Role::Label).filter_map(|n| n.value()).filter(|t| t.contains('+')).collect();
    for shortcut in [
        "Ctrl+O",
        "Ctrl+S",
        "Ctrl+Shift+E",
        "Ctrl+Shift+C",
        "Ctrl+Shift+P",
        "Ctrl+Z",
        "Ctrl+Shift+Z",
        "Ctrl+Enter",
        "Ctrl+Shift+Enter",
        "Ctrl+Shift+R",
        "Ctrl+Shift+D",
        "Ctrl+T",
        "Ctrl+M",
        "Ctrl+Tab",
        "Ctrl+Q",
    ] {
        assert!(listed.iter().any(|l| l == shortcut), "{shortcut} not in {listed:?}");
    }
    press(&mut window, Modifiers::NONE, Key::Escape, |s| s.question.is_none());

    window.press_in_one_frame(CONTROL, Key::Q);
    assert!(window.viewport_commands().contains(&ViewportCommand::Close));
}

#[test]
fn every_action_without_a_shortcut_is_a_menu_entry() {
    let mut window = Window::demo();
    window.button("Save as…");
    for entry in [
        "ONNX model…",
        "PyTorch weights (safetensors)…",
        "PyTorch weights with masks…",
        "Burn weights…",
        "Rust source for Burn…",
        "Table as CSV…",
        "Copy the table",
        "Chart as PNG…",
    ] {
        assert!(window.has(Role::Button, entry), "{entry}");
    }
    window.press(Modifiers::NONE, Key::Escape);
    window.step_twice();
    assert!(!window.has(Role::Button, "ONNX model…"), "Escape closes a menu");
    window.button("Recent");
    assert!(window.has(Role::Button, "Open the demo"));
}

#[test]
fn help_opens_and_closes_and_the_theme_changes() {
    let mut window = Window::demo();
    window.button("Help");
    window.wait("help", |s| s.question.is_some());
    window.step_twice();
    assert!(window.says("zeros divided by elements"));
    window.button("Close");
    window.wait("no help", |s| s.question.is_none());
    window.button("Dark or light");
    assert_eq!(window.harness.ctx.theme(), Theme::Light);
    window.button("Dark or light");
    assert_eq!(window.harness.ctx.theme(), Theme::Dark);
}

/// Keys that would change the model do nothing behind a question, nor while text is typed.
#[test]
fn keys_do_not_reach_past_a_question_or_a_field() {
    let mut window = Window::demo();
    window.set_percent("50");
    let before = window.figures().clone();
    window.press(Modifiers::NONE, Key::F1);
    window.wait("help", |s| s.question.is_some());
    for key in [Key::Enter, Key::Z, Key::M] {
        window.press(CONTROL, key);
    }
    window.settle();
    assert_eq!(window.figures(), &before);
    window.press(Modifiers::NONE, Key::Escape);
    window.wait("no help", |s| s.question.is_none());

    window.type_into("Find a module", "conv");
    window.press(CONTROL, Key::Z);
    window.settle();
    assert_eq!(window.figures(), &before, "undo is the field's own");
}

/// A screen reader sets the slider without a pointer.
#[test]
fn the_slider_is_set_in_percent_by_its_name() {
    let mut window = Window::demo();
    window.node(Role::Slider, "Amount").set_value_accesskit(50.0);
    window.wait("figures at 50 %", |s| s.view.as_ref().unwrap().figures.chosen().unwrap().pruned == 1_240_373);
    let node = window.node(Role::Slider, "Amount").accesskit_node();
    assert_eq!((node.numeric_value(), node.min_numeric_value(), node.max_numeric_value()), (Some(50.0), Some(0.0), Some(100.0)));
}
