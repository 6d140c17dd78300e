//! What files name: everything in the tree, every user of what is shared, and names that are made to deceive.

use std::path::PathBuf;

use eframe::egui::accesskit::Role;
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};
use onnx_ir::Message;
use secateur::engine::Model;

use super::driver::{DEMO, Window};
use super::tiny;

/// Clears a screen, breaks a line, turns what follows round, and is far too long.
const EVIL: &str = "w\u{1b}[2J\n\u{202e}\u{2028}\u{9b}31m";
/// What of it may be shown.
const SHOWN: &str = "w\\u001b[2J\\u000a\\u202e\\u2028\\u009b31m";

/// Two layers with one weight, and initializers that nobody owns.
fn shared(weight: &str) -> (tempfile::TempDir, PathBuf) {
    let mut first = tiny::gemm(&["x", weight], "h");
    format!("first{}", &weight[1..]).clone_into(&mut first.name);
    let tensors = vec![
        tiny::tensor(weight, &[2, 2], tiny::FLOAT, tiny::bytes(&[1.0, 2.0, 3.0, 4.0])),
        tiny::tensor("loose", &[3], 7, vec![0; 24]),
        tiny::tensor("scale", &[1], tiny::FLOAT, tiny::bytes(&[0.5])),
    ];
    let nodes = vec![first, tiny::gemm(&["h", weight], "i"), tiny::node("Mul", &["i", "scale"], "y")];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, tiny::model(nodes, tensors).write_to_bytes().unwrap()).unwrap();
    (folder, path)
}

fn lines(window: &Window) -> Vec<String> {
    window.harness.query_all_by_role(Role::TreeItem).filter_map(|n| n.accesskit_node().label()).collect()
}

#[test]
fn what_no_module_owns_is_in_the_tree_with_the_reason() {
    let (_folder, path) = shared("w");
    let mut window = Window::on(path.to_str());
    for grouping in ["By type", "By path"] {
        window.button(grouping);
        let last = lines(&window).pop();
        assert_eq!(last.as_deref(), Some("Not in a module"), "it starts folded");
        window.click(Role::TreeItem, "Not in a module");
        let lines = lines(&window);
        assert_eq!(&lines[lines.len() - 3..], ["Not in a module", "loose", "scale"]);
        assert!(!window.has(Role::CheckBox, "Prune loose") && window.has(Role::CheckBox, "Prune w"));
        window.node(Role::TreeItem, "loose").hover();
        window.wait_for("the reason", |w| w.says("Cannot be pruned: no module owns it, and its elements are int64"));
        window.node(Role::TreeItem, "Not in a module").hover();
        window.wait_for("the sum", |w| w.says("4 elements in 2 tensors"));
        window.click(Role::TreeItem, "Not in a module");
    }
    window.type_into("Find a module", "sca");
    assert_eq!(lines(&window), ["Not in a module", "scale"], "they can be found like modules");
}

#[test]
fn running_statistics_are_in_the_tree() {
    let mut window = Window::start(Harness::builder().with_size([1280.0, 6000.0]), Some(DEMO));
    window.wait("the demo", |s| s.view.is_some());
    let before = lines(&window).len();
    window.click(Role::TreeItem, "Running statistics");
    let buffers = Model::open(std::path::Path::new(DEMO)).unwrap().graph.buffers().len();
    assert!(buffers == 92 && lines(&window).len() == before + buffers, "{before} {buffers}");
}

#[test]
fn every_user_of_a_shared_weight_is_named() {
    let (_folder, path) = shared("w");
    let mut window = Window::on(path.to_str());
    assert!(window.says("Shared, used by 2 operators: first, Gemm 1"));
    window.node(Role::TreeItem, "w").hover();
    window.wait_for("the users", |w| w.says("weight is used by 2 operators: first, Gemm 1"));
    assert!(!Window::demo().says("Shared, used by"));
}

/// The data is shortened while its model is on screen.
#[test]
fn weights_that_can_no_longer_be_read_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (path, data) = (folder.path().join("model.onnx"), folder.path().join("data"));
    let weights = vec![tiny::external("v", &[2, 2], "data", "0", "16"), tiny::external("w", &[2, 2], "data", "16", "16")];
    let nodes = vec![tiny::gemm(&["x", "v"], "h"), tiny::gemm(&["h", "w"], "y")];
    std::fs::write(&path, tiny::model(nodes, weights).write_to_bytes().unwrap()).unwrap();
    std::fs::write(&data, tiny::bytes(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])).unwrap();
    let mut window = Window::on(path.to_str());
    std::fs::OpenOptions::new().write(true).open(&data).unwrap().set_len(20).unwrap();
    window.click(Role::TreeItem, "w");
    window.wait("a notice", |s| !s.notices.is_empty());
    window.step_twice();
    assert!(window.says("Look at a parameter failed") && window.state().notices[0].text.contains("changed"));
    // The slider goes on, what is known of the magnitudes is enough for it, and nobody complains again.
    window.set_percent("50");
    window.set_percent("75");
    window.settle();
    assert_eq!((window.pruned(secateur::prune::Method::Global), window.state().notices.len()), (6, 1));
    window.button("Dismiss");
    assert!(window.harness.query_all_by_label_contains("changed").count() == 1, "the panel says why it is empty");
}

/// Everything that a screen reader would say, which is what is painted.
fn assert_no_command(window: &Window, place: &str) {
    for node in window.harness.root().children_recursive() {
        let node = node.accesskit_node();
        for text in [node.label(), node.value(), node.description(), node.placeholder().map(str::to_owned)].into_iter().flatten() {
            let is_bad = |c: char| c == '\u{1b}' || c == '\u{9b}' || c == '\u{202e}' || c == '\u{2028}';
            assert!(!text.contains(is_bad) && !text.contains("[2J\n"), "{place}: {text:?}");
        }
    }
}

#[test]
fn names_with_commands_in_them_are_shown_escaped() {
    let (_folder, path) = shared(EVIL);
    let mut window = Window::on(path.to_str());
    assert!(lines(&window).contains(&SHOWN.to_owned()), "{:?}", lines(&window));
    assert!(window.says(&format!("used by 2 operators: first{}, Gemm 1", &SHOWN[1..])));
    window.set_percent("100");
    for tab in ["Sparsity", "Weights", "Compare", "Table", "Effect"] {
        window.click(Role::Tab, tab);
        assert_no_command(&window, tab);
    }
    window.node(Role::TreeItem, SHOWN).hover();
    window.wait_for("the tooltip", |w| w.says("weight is used by"));
    assert_no_command(&window, "the tree's tooltip");
    window.button("By path");
    assert_no_command(&window, "by path");
    // A message quotes the name of a file that is not there.
    window.answer(format!("no/{EVIL}.onnx"));
    window.button("Open…");
    window.wait("a notice", |s| !s.notices.is_empty());
    window.step_twice();
    assert!(window.says(&format!("no/{SHOWN}.onnx")));
    assert_no_command(&window, "a message");
}

#[test]
fn a_name_of_a_million_letters_is_cut_before_it_is_laid_out() {
    let (_folder, path) = shared(&format!("w{}.end", "é".repeat(300_000)));
    let mut window = Window::on(path.to_str());
    let longest = lines(&window).iter().map(String::len).max().unwrap();
    assert!(longest < 1000, "{longest}");
    let start = std::time::Instant::now();
    window.step_twice();
    assert!(start.elapsed() < std::time::Duration::from_secs(2), "{:?}", start.elapsed());
}
