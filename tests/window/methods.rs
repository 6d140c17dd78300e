//! Any two methods beside each other, curves of any set of them, and amounts that modules have of their own.

use eframe::egui::accesskit::{Role, Toggled};
use eframe::egui::{Key, Modifiers, Pos2, Rect};
use egui_kittest::kittest::{NodeT, Queryable};
use secateur::prune::{Amount, Method, Step};

use super::driver::{CONTROL, DEMO, Window};
use super::effect::{reveal, window as with_digits};

const ALL: [&str; 6] = ["Layer-wise", "Global", "LAMP", "Norm", "ERK", "Uniform+"];

/// What a picker shows.
fn chosen(window: &Window, picker: &str) -> String {
    window.node(Role::ComboBox, picker).accesskit_node().value().unwrap()
}

#[test]
fn any_two_methods_are_compared_and_one_chosen_twice_swaps_them() {
    let mut window = Window::demo();
    window.set_percent("50");
    assert_eq!(window.pair(), [Method::Global, Method::LayerWise], "what one starts with");
    window.apply("LAMP");
    window.wait("another method", |s| s.view.as_ref().unwrap().figures.recipe.method == Method::Lamp);
    assert_eq!((window.pair(), chosen(&window, "Applied method")), (vec![Method::Lamp, Method::LayerWise], "LAMP".into()));
    window.assert_as_session(DEMO);
    window.compare("ERK");
    window.wait("another beside it", |s| s.view.as_ref().unwrap().figures.of(Method::Erk).is_ok());
    assert_eq!((window.pair(), chosen(&window, "Method beside")), (vec![Method::Lamp, Method::Erk], "ERK".into()));
    window.assert_as_session(DEMO);

    // What is chosen in one picker and stands in the other changes places with it.
    window.apply("ERK");
    window.wait("a swap", |s| s.view.as_ref().unwrap().figures.recipe.method == Method::Erk);
    assert_eq!(window.pair(), [Method::Erk, Method::Lamp]);
    window.compare("ERK");
    window.wait("a swap back", |s| s.view.as_ref().unwrap().figures.recipe.method == Method::Lamp);
    assert_eq!(window.pair(), [Method::Lamp, Method::Erk]);
    window.press(CONTROL, Key::M);
    window.wait("a swap by key", |s| s.view.as_ref().unwrap().figures.recipe.method == Method::Erk);
    window.button("Swap the methods");
    window.wait("a swap by button", |s| s.view.as_ref().unwrap().figures.recipe.method == Method::Lamp);

    // What is applied is a step, what is beside it a setting; undone, the two are never one.
    for wanted in [Method::Erk, Method::Lamp, Method::Erk, Method::Lamp, Method::Global] {
        window.button("Undo method");
        window.wait("the method before", |s| s.view.as_ref().unwrap().figures.recipe.method == wanted);
        assert_eq!(window.pair()[0], wanted);
        assert_ne!(window.pair()[1], wanted);
    }
    assert!(window.has(Role::Button, "Undo amount") && window.has(Role::Button, "Redo method"));
}

#[test]
fn every_view_tells_of_the_two_that_are_chosen() {
    let mut window = Window::demo();
    window.set_percent("60");
    window.apply("Norm");
    window.compare("ERK");
    window.wait("both", |s| s.view.as_ref().unwrap().figures.of(Method::Erk).is_ok() && s.recipe.as_ref().unwrap().method == Method::Norm);
    window.wait("what they cost", |s| s.costs.cost.as_ref().is_some_and(|c| c.is_whole && c.effects.given(Method::Erk).is_some()));
    window.wait("their work", |s| s.costs.work.is_some());
    assert!(window.says("TOP-1 ACCURACY, 360 IMAGES") && window.says("Multiply-accumulates zeroed"));
    for (tab, said) in [
        ("Sparsity", vec!["Norm", "ERK"]),
        ("Weights", vec!["Norm: ", "ERK: "]),
        ("Compare", vec!["Only norm", "Only ERK"]),
        ("Effect", vec!["Dense, norm, ERK: ", "Norm empties"]),
    ] {
        window.click(Role::Tab, tab);
        for text in said {
            assert!(window.says(text), "{text} is not in {tab}");
        }
    }
    window.click(Role::Tab, "Table");
    assert!(window.has(Role::ColumnHeader, "Sort by share of zeros after norm"));
    assert!(window.has(Role::ColumnHeader, "Sort by largest pruned magnitude of ERK"));
    window.click(Role::Tab, "Size and speed");
    window.wait("both weighed", |s| s.costs.sizes.as_ref().is_some_and(|sizes| sizes.pruned.given(Method::Erk).is_some()));
    let path = window.path("table.csv");
    window.answer(&path);
    window.menu("Save as…", "Table as CSV…");
    window.wait("a table", |s| s.notices.iter().any(|n| n.title == "Saved"));
    let table = std::fs::read_to_string(&path).unwrap();
    let heads = "in_scope,norm_pruned,norm_sparsity,norm_cut,erk_pruned,erk_sparsity,erk_cut,pruned_by_both\n";
    assert!(table.lines().next().is_some_and(|line| format!("{line}\n").ends_with(heads)), "{table:.300}");
}

#[test]
fn every_method_says_in_the_list_what_it_does() {
    let mut window = Window::demo();
    for picker in ["Applied method", "Method beside"] {
        window.click(Role::ComboBox, picker);
        let screen = Rect::from_min_size(Pos2::ZERO, super::driver::SIZE);
        for name in ALL {
            assert!(screen.contains_rect(window.node(Role::RadioButton, name).rect()), "{name}");
        }
        let is_on = |name: &str| window.node(Role::RadioButton, name).accesskit_node().toggled() == Some(Toggled::True);
        assert_eq!(ALL.into_iter().filter(|name| is_on(name)).collect::<Vec<_>>(), [chosen(&window, picker)]);
        window.press(Modifiers::NONE, Key::Escape);
        window.step_twice();
        assert!(!window.has(Role::RadioButton, "LAMP"), "Escape closes the list");
    }
    for method in Method::ALL {
        let help = method.help();
        let has_paper = help.contains(" 20") || method == Method::Norm;
        assert!(help.matches(". ").count() >= 1 && help.ends_with('.') && has_paper, "{}: {help}", method.name());
    }
}

/// The first convolution stays and the last layer keeps a fifth: not all of the scope can go.
#[test]
fn a_method_that_does_not_reach_the_amount_says_how_far_it_goes() {
    let mut window = Window::demo();
    window.set_percent("99.9");
    window.compare("Uniform+");
    window.wait("another beside it", |s| s.view.as_ref().unwrap().figures.outcomes.of(Method::UniformPlus).is_some());
    assert!(window.figures().of(Method::UniformPlus).is_err() && window.figures().of(Method::Global).is_ok());
    for tab in ["Sparsity", "Compare", "Table", "Effect", "Size and speed"] {
        window.click(Role::Tab, tab);
        assert!(window.says("Uniform+ reaches at most"), "{tab} does not say it");
    }
    assert!(!window.node(Role::Button, "Fix weights").accesskit_node().is_disabled(), "it is not in the other's way");
    // Applied it is told just so; nothing is refused, and the slider is where it was put.
    window.click(Role::Tab, "Sparsity");
    window.apply("Uniform+");
    window.wait("a swap", |s| s.view.as_ref().unwrap().figures.recipe.method == Method::UniformPlus);
    assert!(window.says("Uniform+ reaches at most") && window.state().notices.is_empty());
    assert_eq!(window.recipe().amount, Amount::Fraction(0.999));
    assert!(window.node(Role::Button, "Fix weights").accesskit_node().is_disabled());
    window.set_percent("50");
    assert!(!window.says("reaches at most") && window.figures().chosen().is_ok());
    window.assert_as_session(DEMO);
}

#[test]
fn curves_of_any_methods_are_in_one_chart_and_what_is_known_is_kept() {
    let mut window = with_digits();
    let points = |window: &Window, method: Method| window.state().costs.curve.as_ref().and_then(|c| c.points.of(method).map(Vec::len));
    let ticks: Vec<Option<Toggled>> =
        ["Curve of layer-wise", "Curve of global", "Curve of LAMP"].into_iter().map(|name| window.toggled(name)).collect();
    assert_eq!(ticks, [Some(Toggled::True), Some(Toggled::True), Some(Toggled::False)], "the two on screen");
    window.click(Role::CheckBox, "Curve of layer-wise");
    window.click(Role::CheckBox, "Curve of uniform+");
    window.button("Measure the curve");
    window.wait("some of it", |s| s.costs.curve.as_ref().is_some_and(|c| c.points.of(Method::Global).unwrap().len() == 4));
    window.press(Modifiers::NONE, Key::Escape);
    window.wait("an end", |s| s.costs.progress.is_none());
    window.settle();
    let before = points(&window, Method::Global).unwrap();
    assert!((4..17).contains(&before), "cancelled, it keeps {before} points");
    assert_eq!(points(&window, Method::LayerWise), None, "it is not ticked");

    window.click(Role::CheckBox, "Curve of LAMP");
    window.button("Measure the curve");
    window.wait("a beginning", |s| s.costs.progress.is_some());
    assert!(points(&window, Method::Global).unwrap() >= before, "what is known is not forgotten");
    window.wait("all of it", |s| s.costs.progress.is_none());
    assert_eq!((points(&window, Method::Global), points(&window, Method::Lamp)), (Some(17), Some(17)));
    let reached = points(&window, Method::UniformPlus).unwrap();
    assert!((15..17).contains(&reached), "it does not reach everything, and ends nothing: {reached} points");
    reveal(&mut window, Role::Button, "Accuracy against amount");
    window.node(Role::Button, "Accuracy against amount").hover();
    window.wait_for("three figures", |w| w.says("Global, at") && w.says("LAMP, at") && w.says("Uniform+, at"));
    assert!(!window.says("Layer-wise, at"));
}

/// Its zeros, elements, and what the others lose.
fn share(window: &Window, module: &str) -> f64 {
    let graph = &window.state().model.as_ref().unwrap().graph;
    let at = graph.parameters.iter().position(|p| p.name == format!("{module}.weight")).unwrap();
    window.figures().chosen().unwrap().zeros[at] as f64 / graph.parameters[at].elements as f64
}

fn owns(window: &Window) -> usize {
    window.recipe().own.iter().filter(|own| own.is_some()).count()
}

#[test]
fn a_module_has_an_amount_of_its_own_and_the_others_share_what_is_left() {
    let mut window = Window::demo();
    window.set_percent("50");
    window.click(Role::TreeItem, "blocks.1.0.conv");
    window.wait("the module's weights", |s| s.selected.unwrap().0 > 0 && s.detail.as_ref().map(|d| d.0) == s.selected);
    window.click(Role::CheckBox, "Own amount");
    window.wait("an amount of its own", |s| s.view.as_ref().unwrap().figures.recipe.own.iter().any(Option::is_some));
    assert!((share(&window, "blocks.1.0.conv") - 0.5).abs() < 1e-4, "it starts at what the slider says");
    window.enter_number("Own amount in percent", "20");
    window.wait("that amount", |s| s.view.as_ref().unwrap().figures.recipe.own.contains(&Some(Amount::Fraction(0.2))));
    assert!((share(&window, "blocks.1.0.conv") - 0.2).abs() < 1e-4);
    assert_eq!(window.pruned(Method::Global), 1_240_373, "the whole loses as much");
    assert!(window.says("Own amount"), "the chart's legend says what the edge is");
    window.assert_as_session(DEMO);
    // The slider leaves it alone.
    window.set_percent("80");
    assert!((share(&window, "blocks.1.0.conv") - 0.2).abs() < 1e-4);
    for wanted in ["Undo amount", "Undo own amount", "Undo own amount"] {
        let before = window.recipe().clone();
        window.button(wanted);
        window.wait("a step back", |s| s.view.as_ref().unwrap().figures.recipe != before);
    }
    assert_eq!((owns(&window), window.recipe().amount), (0, Amount::Fraction(0.5)));
    window.button("Redo own amount");
    window.wait("it again", |s| {
        s.view.as_ref().unwrap().redoable == Some(Step::OwnAmount) && s.recipe.as_ref().unwrap().own.iter().any(Option::is_some)
    });
    window.click(Role::CheckBox, "Own amount");
    window.wait("none", |s| s.view.as_ref().unwrap().figures.recipe.own.iter().all(Option::is_none));
}

#[test]
fn modules_that_are_marked_and_whole_types_get_amounts_of_their_own() {
    let mut window = Window::demo();
    window.set_percent("50");
    let with = |window: &mut Window, modifiers: Modifiers, name: &str| {
        window.node(Role::TreeItem, name).click_modifiers(modifiers);
        window.step_twice();
    };
    window.click(Role::TreeItem, "conv_stem");
    with(&mut window, Modifiers::SHIFT, "blocks.1.0.conv");
    assert_eq!(window.state().marked.len(), 4);
    with(&mut window, CONTROL, "blocks.0.1.conv");
    assert_eq!(window.state().marked.len(), 3, "one less");
    window.node(Role::TreeItem, "blocks.1.0.conv").click_secondary();
    window.step_twice();
    assert!(window.says("3 modules"));
    window.enter_number("Own amount of these modules", "10");
    window.wait("three amounts", |s| s.view.as_ref().unwrap().figures.recipe.own.iter().flatten().count() == 3);
    window.press(Modifiers::NONE, Key::Escape);
    for (module, wanted) in [("conv_stem", 0.1), ("blocks.0.0.conv", 0.1), ("blocks.1.0.conv", 0.1)] {
        assert!((share(&window, module) - wanted).abs() < 1e-3, "{module}: {}", share(&window, module));
    }
    assert_eq!(window.pruned(Method::Global), 1_240_373);

    window.click(Role::TreeItem, "blocks.0.1.conv");
    assert!(window.state().marked.is_empty(), "a plain click marks nothing");
    window.node(Role::TreeItem, "Conv2d").click_secondary();
    window.step_twice();
    window.button("Clear own amount");
    window.wait("none", |s| s.view.as_ref().unwrap().figures.recipe.own.iter().all(Option::is_none));
    assert!(!window.has(Role::Button, "Clear own amount"), "the menu is closed");
    window.node(Role::TreeItem, "Conv2d").click_secondary();
    window.step_twice();
    window.button("Set own amount");
    window.wait("all of a type", |s| s.view.as_ref().unwrap().figures.recipe.own.iter().flatten().count() == 46);
    window.assert_as_session(DEMO);
    // Undone in one step, and fixed they are gone: what is fixed is not pruned again.
    window.button("Undo own amount");
    window.wait("none", |s| s.view.as_ref().unwrap().figures.recipe.own.iter().all(Option::is_none));
    window.button("Redo own amount");
    window.wait("all again", |s| s.view.as_ref().unwrap().figures.recipe.own.iter().flatten().count() == 46);
    window.button("Fix weights");
    window.wait("fixed weights", |s| s.view.as_ref().unwrap().is_fixed);
    assert_eq!((owns(&window), window.pruned(Method::Global)), (0, 0));
}

#[test]
fn the_first_minute_says_what_to_do_and_nothing_covers_what_is_read() {
    let mut window = Window::demo();
    assert!(window.says("Drag the slider below"));
    // Under the slider stands what changes with it.
    window.node(Role::Slider, "Amount").hover();
    window.wait_for("the tooltip", |w| w.says("Arrow keys go by"));
    let tooltip = window.harness.query_by_label_contains("Arrow keys go by").unwrap().rect();
    assert!(tooltip.bottom() <= window.slider().top(), "{tooltip:?}");
    window.set_percent("20");
    assert!(!window.says("Drag the slider below"));
    // Undo and redo say what they are about, and stay where they are.
    let place = |window: &Window, name: &str| window.node(Role::Button, name).rect();
    let before = (place(&window, "Undo amount"), place(&window, "Redo"));
    window.button("Fix weights");
    window.wait("fixed weights", |s| s.view.as_ref().unwrap().is_fixed);
    assert_eq!((place(&window, "Undo fix weights"), place(&window, "Redo")), before);
    window.button("Undo fix weights");
    window.wait("masks again", |s| !s.view.as_ref().unwrap().is_fixed);
    assert_eq!((place(&window, "Undo amount"), place(&window, "Redo fix weights")), before);
}
