//! What may be pruned, how much, and how: ticks, lock, slider, fields, methods, biases; and finding one's way in the tree.

use eframe::egui::accesskit::{Role, Toggled};
use eframe::egui::{Key, Modifiers};
use egui_kittest::kittest::{NodeT, Queryable};
use secateur::prune::{Amount, Method};

use super::driver::{DEMO, Window};

/// Elements of all Conv2d and Linear modules of the demo, and of its Linear alone.
const SCOPE: u64 = 2_480_746;
const LINEAR: u64 = 12_810;

#[test]
fn types_and_modules_are_ticked_and_the_figures_follow() {
    let mut window = Window::demo();
    window.set_percent("50");
    assert_eq!(window.toggled("Prune Conv2d"), Some(Toggled::True));

    // A module of a type: the type is ticked in part.
    window.click(Role::CheckBox, "Prune conv_stem");
    window.wait("a scope without conv_stem", |s| s.view.as_ref().unwrap().figures.scope_elements == SCOPE - 864);
    assert_eq!(window.toggled("Prune conv_stem"), Some(Toggled::False));
    assert_eq!(window.toggled("Prune Conv2d"), Some(Toggled::Mixed));
    window.assert_as_session(DEMO);

    // Ticked in part becomes wholly ticked, then not at all.
    window.click(Role::CheckBox, "Prune Conv2d");
    window.wait("the whole scope", |s| s.view.as_ref().unwrap().figures.scope_elements == SCOPE);
    window.click(Role::CheckBox, "Prune Conv2d");
    window.wait("Linear alone", |s| s.view.as_ref().unwrap().figures.scope_elements == LINEAR);
    assert_eq!(window.toggled("Prune Conv2d"), Some(Toggled::False));
    assert_eq!(window.pruned(Method::Global), 6405);

    // A type that starts unticked; its rows are below the fold.
    window.click(Role::TreeItem, "Conv2d");
    window.click(Role::CheckBox, "Prune BatchNormAct2d");
    window.click(Role::CheckBox, "Prune Conv2d");
    window.wait("all types", |s| s.view.as_ref().unwrap().figures.scope_elements == 2_505_834);
    assert_eq!(window.pruned(Method::Global), 1_252_917);
    window.assert_as_session(DEMO);
}

#[test]
fn nothing_ticked_is_said_and_nothing_can_be_fixed() {
    let mut window = Window::demo();
    window.set_percent("50");
    window.click(Role::TreeItem, "Conv2d");
    window.click(Role::TreeItem, "BatchNormAct2d");
    window.click(Role::CheckBox, "Prune Conv2d");
    window.click(Role::CheckBox, "Prune Linear");
    window.wait("an empty scope", |s| s.view.as_ref().unwrap().figures.scope.is_empty());
    assert!(window.says("Nothing is in the scope"));
    assert!(window.node(Role::Button, "Fix weights").accesskit_node().is_disabled());
    for tab in ["Weights", "Compare", "Table", "Sparsity"] {
        window.click(Role::Tab, tab);
        window.step_twice();
    }
    window.click(Role::CheckBox, "Prune Linear");
    window.wait("Linear alone", |s| s.view.as_ref().unwrap().figures.scope_elements == LINEAR);
}

#[test]
fn a_lock_protects_a_module() {
    let mut window = Window::demo();
    window.set_percent("50");
    window.click(Role::TreeItem, "blocks.0.0.conv");
    window.wait("the module's weights", |s| {
        s.selected.is_some() && s.detail.as_ref().map(|d| d.0) == s.selected && s.selected.unwrap().0 > 0
    });
    window.click(Role::CheckBox, "Lock this module");
    window.wait("a scope without it", |s| s.view.as_ref().unwrap().figures.scope_elements == SCOPE - 9216);
    assert_eq!(window.toggled("Lock this module"), Some(Toggled::True));
    assert_eq!(window.toggled("Prune blocks.0.0.conv"), Some(Toggled::True), "ticked or not is another matter");
    let id = window.state().selected.unwrap();
    assert_eq!(window.figures().of(Method::Global).unwrap().masked[id.0], 0);
    window.assert_as_session(DEMO);
    // Neither its type's tick nor another method changes that.
    window.click(Role::CheckBox, "Prune Conv2d");
    window.click(Role::CheckBox, "Prune Conv2d");
    window.apply("Layer-wise");
    window.wait("layer-wise figures", |s| s.view.as_ref().unwrap().figures.recipe.method == Method::LayerWise);
    assert_eq!(window.figures().of(Method::LayerWise).unwrap().masked[id.0], 0);
    window.click(Role::CheckBox, "Lock this module");
    window.wait("it again", |s| s.view.as_ref().unwrap().figures.scope_elements == SCOPE);
}

#[test]
fn the_slider_is_dragged_and_a_drag_is_one_step() {
    let mut window = Window::demo();
    window.harness.hover_at(window.slider_at(0.0));
    window.harness.drag_at(window.slider_at(0.0));
    window.step_twice();
    for percent in 1..=50 {
        window.harness.hover_at(window.slider_at(percent as f32 / 100.0));
        window.harness.step();
    }
    window.wait("figures at 50 %", |s| s.view.as_ref().unwrap().figures.recipe.amount == Amount::Fraction(0.5));
    window.harness.drop_at(window.slider_at(0.5));
    window.step_twice();
    assert_eq!(window.pruned(Method::Global), 1_240_373);
    assert_eq!(window.pruned(Method::LayerWise), 1_240_373);
    window.assert_as_session(DEMO);
    let emptied = &window.figures().of(Method::Global).unwrap().emptied;
    let names: Vec<&str> = emptied.iter().map(|&id| window.state().model.as_ref().unwrap().graph.parameter(id).name.as_str()).collect();
    assert_eq!(names, ["classifier.bias"]);
    assert!(window.says("classifier.bias is emptied") && window.says("of 2\u{2009}480\u{2009}746") && window.says("no ties"));

    // A second drag is a step of its own.
    window.harness.hover_at(window.slider_at(0.5));
    window.harness.drag_at(window.slider_at(0.5));
    window.harness.hover_at(window.slider_at(0.8));
    window.harness.drop_at(window.slider_at(0.8));
    window.wait("figures at 80 %", |s| s.view.as_ref().unwrap().figures.recipe.amount == Amount::Fraction(0.8));
    for amount in [0.5, 0.0] {
        window.button("Undo amount");
        window.wait("the amount before", |s| s.view.as_ref().unwrap().figures.recipe.amount == Amount::Fraction(amount));
    }
    assert!(window.state().view.as_ref().unwrap().undoable.is_none());
}

#[test]
fn arrow_keys_move_the_slider_by_a_tenth_of_a_percent() {
    let mut window = Window::demo();
    window.node(Role::Slider, "Amount").focus();
    window.step_twice();
    for thousandths in 1..=3 {
        window.press(Modifiers::NONE, Key::ArrowRight);
        let amount = Amount::Fraction(f64::from(thousandths) / 1000.0);
        window.wait("a step to the right", |s| s.view.as_ref().unwrap().figures.recipe.amount == amount);
    }
    window.press(Modifiers::NONE, Key::ArrowLeft);
    window.wait("a step to the left", |s| s.view.as_ref().unwrap().figures.recipe.amount == Amount::Fraction(0.002));
    window.assert_as_session(DEMO);
    assert_eq!(window.node(Role::Slider, "Amount").accesskit_node().numeric_value(), Some(0.2));
}

#[test]
fn amounts_are_typed() {
    let mut window = Window::demo();
    for (text, amount) in [("50", 0.5), ("33,3 %", 0.333), ("12.34%", 0.1234), ("100", 1.0), ("0", 0.0)] {
        window.enter("Amount in percent", text);
        window.wait("the typed share", |s| s.view.as_ref().unwrap().figures.recipe.amount == Amount::Fraction(amount));
        window.assert_as_session(DEMO);
    }
    window.enter("Elements to prune", "1 000");
    window.wait("the typed number", |s| s.view.as_ref().unwrap().figures.recipe.amount == Amount::Count(1000));
    assert_eq!(window.pruned(Method::Global), 1000);
    // Left with Tab it counts, left with Escape it does not.
    window.type_into("Elements to prune", "2000");
    window.press(Modifiers::NONE, Key::Tab);
    window.wait("the typed number", |s| s.view.as_ref().unwrap().figures.recipe.amount == Amount::Count(2000));
    window.type_into("Elements to prune", "3000");
    window.press(Modifiers::NONE, Key::Escape);
    window.settle();
    assert_eq!(window.recipe().amount, Amount::Count(2000));
    assert_eq!(window.node(Role::TextInput, "Elements to prune").value().as_deref(), Some("2\u{2009}000"));
}

#[test]
fn what_is_no_amount_is_told_and_changes_nothing() {
    let mut window = Window::demo();
    window.set_percent("50");
    let before = window.figures().clone();
    for (field, text, told) in [
        ("Amount in percent", "half", "half"),
        ("Amount in percent", "101", "1.01"),
        ("Amount in percent", "-1", "-0.01"),
        ("Amount in percent", "nan", "nan"),
        ("Amount in percent", "", "%"),
        ("Elements to prune", "1.5", "1.5"),
        ("Elements to prune", "-3", "-3"),
        ("Elements to prune", "", "no number"),
        ("Elements to prune", "99999999999999999999999", "99999999999999999999999"),
        ("Elements to prune", "2480747", "2480746"),
    ] {
        while !window.state().notices.is_empty() {
            window.harness.get_all_by_label("Dismiss").next().unwrap().click();
            window.step_twice();
        }
        window.enter(field, text);
        window.wait(&format!("a complaint about “{text}”"), |s| !s.notices.is_empty());
        window.settle();
        let notice = &window.state().notices[0].text;
        assert!(notice.to_lowercase().contains(&told.to_lowercase()), "{field} “{text}”: {notice}");
        assert_eq!(window.recipe(), &before.recipe, "{field} “{text}”");
        assert_eq!(window.figures(), &before, "{field} “{text}”");
    }
}

#[test]
fn biases_are_left_out_and_taken_in() {
    let mut window = Window::demo();
    window.set_percent("50");
    window.click(Role::CheckBox, "Biases");
    window.wait("weights alone", |s| s.view.as_ref().unwrap().figures.scope_elements == SCOPE - 10);
    assert_eq!(window.pruned(Method::Global), 1_240_368);
    assert_eq!(window.toggled("Biases"), Some(Toggled::False));
    window.click(Role::CheckBox, "Biases");
    window.wait("biases, too", |s| s.view.as_ref().unwrap().figures.scope_elements == SCOPE);
}

#[test]
fn modules_are_found_by_name_and_by_type() {
    let mut window = Window::demo();
    window.type_into("Find a module", "CLASS");
    window.wait("the one that is found", |s| s.search == "CLASS");
    assert!(window.has(Role::TreeItem, "classifier") && window.has(Role::TreeItem, "Linear"));
    assert!(!window.has(Role::TreeItem, "conv_stem") && !window.has(Role::TreeItem, "Conv2d"));
    window.type_into("Find a module", "batchnorm");
    window.wait("a type", |s| s.search == "batchnorm");
    assert!(window.has(Role::TreeItem, "bn1") && !window.has(Role::TreeItem, "conv_stem"));
    window.type_into("Find a module", "nothing has this");
    window.wait("nothing", |s| s.search == "nothing has this");
    assert!(window.says("No module has this in its name"));
    window.type_into("Find a module", "");
    window.wait("everything", |s| s.search.is_empty());
    assert!(window.has(Role::TreeItem, "conv_stem"));
}

/// A type's tick acts on what is shown under it, which a search narrows.
#[test]
fn ticking_what_a_search_found_leaves_the_rest() {
    let mut window = Window::demo();
    window.type_into("Find a module", "dw_start");
    window.wait("the search", |s| s.search == "dw_start");
    window.click(Role::CheckBox, "Prune Conv2d");
    window.wait("fewer ticks", |s| s.view.as_ref().unwrap().figures.scope_elements < SCOPE);
    let graph = &window.state().model.as_ref().unwrap().graph;
    for (module, ticked) in graph.modules.iter().zip(&window.recipe().ticked) {
        if module.kind == "Conv2d" {
            assert_eq!(*ticked, !module.name.contains("dw_start"), "{}", module.name);
        }
    }
}

#[test]
fn modules_are_listed_by_path_and_groups_fold() {
    let mut window = Window::demo();
    window.button("By path");
    window.wait_for("paths", |w| w.has(Role::TreeItem, "blocks"));
    assert!(!window.has(Role::TreeItem, "Conv2d"));
    let lines = |window: &Window| window.harness.query_all_by_role(Role::TreeItem).count();
    window.click(Role::TreeItem, "blocks");
    window.wait_for("a folded group", |w| lines(w) < 15);
    assert!(window.has(Role::TreeItem, "classifier"));
    // Its tick covers all that is in it.
    window.click(Role::CheckBox, "Prune blocks");
    window.wait("ticks of a path", |s| s.view.as_ref().unwrap().figures.scope_elements != SCOPE);
    assert_eq!(window.toggled("Prune blocks"), Some(Toggled::True));
    window.click(Role::TreeItem, "blocks");
    window.wait_for("an open group", |w| lines(w) > 20);
    window.button("By type");
    window.wait_for("types", |w| w.has(Role::TreeItem, "Conv2d"));
    assert_eq!(window.toggled("Prune Conv2d"), Some(Toggled::True));
}

#[test]
fn one_selection_holds_in_all_views() {
    let mut window = Window::demo();
    window.set_percent("50");
    window.click(Role::TreeItem, "blocks.1.0.conv");
    let selected = |name: &'static str| {
        move |s: &secateur::app::AppState| {
            s.selected.is_some_and(|id| s.model.as_ref().unwrap().graph.parameter(id).name == name)
                && s.detail.as_ref().map(|d| d.0) == s.selected
        }
    };
    window.wait("the selection", selected("blocks.1.0.conv.weight"));
    window.click(Role::Tab, "Compare");
    window.wait_for("the row", |w| w.node(Role::Row, "Compare blocks.1.0.conv.weight").accesskit_node().toggled() == Some(Toggled::True));
    window.click(Role::Row, "Compare conv_stem.weight");
    window.wait("another selection", selected("conv_stem.weight"));
    window.click(Role::Tab, "Table");
    window.wait_for("the row", |w| w.node(Role::Row, "Row conv_stem.weight").accesskit_node().toggled() == Some(Toggled::True));
    window.click(Role::Row, "Row blocks.0.0.conv.weight");
    window.wait("another selection", selected("blocks.0.0.conv.weight"));
    assert_eq!(window.node(Role::TreeItem, "blocks.0.0.conv").accesskit_node().toggled(), Some(Toggled::True));
    // Both parameters of a module; originals and masked values.
    window.type_into("Find a module", "classifier");
    window.wait_for("the classifier", |w| w.has(Role::TreeItem, "classifier"));
    window.click(Role::TreeItem, "classifier");
    window.wait("another selection", selected("classifier.weight"));
    window.button("bias");
    window.wait("its bias", selected("classifier.bias"));
    assert!(window.says("Pruned: 10 of 10"));
    window.click(Role::CheckBox, "Show original");
    window.wait("the original", |s| s.shows_original);
    window.click(Role::Tab, "Weights");
    window.wait_for("its title", |w| w.says("DISTRIBUTION") && w.says("classifier.bias"));
    window.click(Role::CheckBox, "Original");
    window.wait("the pruned", |s| !s.shows_original);
}
