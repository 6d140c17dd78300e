//! Saving to a path, replacing a file, leaving with unsaved work; the table and the chart.

use std::path::Path;

use eframe::egui::accesskit::Role;
use eframe::egui::{Key, Modifiers, OutputCommand, ViewportCommand};
use egui_kittest::kittest::Queryable;
use secateur::app::{AppState, Purpose};
use secateur::engine::Model;
use secateur::export::{Form, Format};

use super::driver::{CONTROL, CONTROL_SHIFT, OTHER, Window};

fn saved(state: &AppState) -> bool {
    state.notices.iter().any(|n| n.title == "Saved")
}

/// A window on the demo at 50 %, not fixed.
fn half() -> Window {
    let mut window = Window::demo();
    window.set_percent("50");
    window
}

fn zeros(path: &Path) -> u64 {
    Model::open(path).unwrap().zeros().unwrap().iter().sum()
}

#[test]
fn a_model_saved_as_onnx_has_the_zeros_that_were_shown() {
    let mut window = half();
    let path = window.path("half.onnx");
    window.answer(&path);
    window.menu("Save as…", "ONNX model…");
    window.wait("a saved file", saved);
    let notice = &window.state().notices[0].text;
    assert!(notice.contains(path.to_str().unwrap()) && notice.contains("49.5\u{2009}% sparsity"), "{notice}");
    assert_eq!(zeros(&path), 1_240_373);

    // Opened again, the same figures are zeros of the file.
    let shown = window.figures().of(secateur::prune::Method::Global).cloned().unwrap();
    window.open(path.to_str().unwrap());
    let opened = window.figures().of(secateur::prune::Method::Global).cloned().unwrap();
    assert_eq!(opened.zeros, shown.zeros);
    assert_eq!((opened.pruned, opened.emptied.len()), (0, 0), "what was empty when the file was opened is not emptied");
}

#[test]
fn a_name_is_proposed_and_the_demo_is_not_saved_beside_itself() {
    let mut window = half();
    window.press(CONTROL, Key::S);
    assert_eq!(window.asked().len(), 1);
    let asked = &window.asked()[0];
    assert_eq!((asked.purpose, &asked.folder, asked.name.as_str()), (Purpose::Save(Format::Onnx), &None, "mobilenetv4_digits_pruned.onnx"));
    window.open(OTHER);
    window.press(CONTROL, Key::S);
    let asked = window.asked().pop().unwrap();
    assert_eq!((asked.folder.as_deref(), asked.name.as_str()), (Path::new(OTHER).parent(), "mobilenetv4_r224_3classes_pruned.onnx"));
}

#[test]
fn every_format_is_saved_from_the_menu() {
    let mut window = half();
    for (entry, format, name, least) in [
        ("PyTorch weights (safetensors)…", Format::Safetensors(Form::Fixed), "fixed.safetensors", 9_000_000),
        ("PyTorch weights with masks…", Format::Safetensors(Form::Unfixed), "masks.safetensors", 18_000_000),
        ("Burn weights…", Format::Burnpack, "weights.bpk", 9_000_000),
        ("Rust source for Burn…", Format::RustSource, "network.rs", 1_000),
    ] {
        let path = window.path(name);
        // Without its extension, as some dialogs give a name back.
        window.answer(path.with_extension(""));
        window.menu("Save as…", entry);
        assert_eq!(window.asked().pop().unwrap().purpose, Purpose::Save(format));
        window.wait(entry, |s| s.notices.iter().any(|n| n.title == "Saved" && n.text.contains(path.to_str().unwrap())));
        assert!(path.metadata().unwrap().len() > least, "{name}");
    }
}

#[test]
fn a_file_is_replaced_only_when_that_is_wanted() {
    let mut window = half();
    let path = window.path("taken.onnx");
    std::fs::write(&path, "precious").unwrap();
    let save = |window: &mut Window| {
        window.answer(&path);
        window.menu("Save as…", "ONNX model…");
        window.wait("a question", |s| s.question.is_some());
        window.step_twice();
        assert!(window.says("Replace the file?") && window.says(path.to_str().unwrap()));
    };
    save(&mut window);
    window.button("Cancel");
    window.wait("no question", |s| s.question.is_none());
    save(&mut window);
    window.press(Modifiers::NONE, Key::Escape);
    window.wait("no question", |s| s.question.is_none());
    window.settle();
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    assert!(!saved(window.state()));

    save(&mut window);
    window.button("Replace");
    window.wait("a saved file", saved);
    assert_eq!(zeros(&path), 1_240_373);
}

#[test]
fn saving_into_a_folder_that_is_not_there_is_told() {
    let mut window = half();
    let path = window.path("no/such/folder/model.onnx");
    window.answer(&path);
    window.menu("Save as…", "ONNX model…");
    window.wait("a complaint", |s| !s.notices.is_empty());
    assert!(window.says("Save failed") && window.says(path.to_str().unwrap()));
    assert_eq!(window.pruned(secateur::prune::Method::Global), 1_240_373);
}

#[test]
fn closing_asks_when_fixed_weights_are_not_saved() {
    let mut window = half();
    assert!(!window.close().contains(&ViewportCommand::CancelClose), "masks alone are no work to lose");
    window.button("Fix weights");
    window.wait("fixed weights", |s| s.view.as_ref().unwrap().is_fixed);

    assert!(window.close().contains(&ViewportCommand::CancelClose));
    window.step_twice();
    assert!(window.says("Go on without saving?"));
    window.button("Cancel");
    window.wait("no question", |s| s.question.is_none());

    // Saving first, through the same question.
    window.close();
    window.step_twice();
    let path = window.path("fixed.onnx");
    window.answer(&path);
    window.button("Save…");
    window.wait("a saved file", saved);
    assert_eq!(zeros(&path), 1_240_373);
    window.wait("nothing unsaved", |s| !s.view.as_ref().unwrap().is_unsaved);
    assert!(!window.close().contains(&ViewportCommand::CancelClose));
}

#[test]
fn closing_goes_on_without_saving_when_told_so() {
    let mut window = half();
    window.press(CONTROL, Key::Enter);
    window.wait("fixed weights", |s| s.view.as_ref().unwrap().is_fixed);
    assert!(window.close().contains(&ViewportCommand::CancelClose));
    window.step_twice();
    window.harness.get_by_role_and_label(Role::Button, "Go on without saving").click();
    window.wait_for("the window to close", |w| w.viewport_commands().contains(&ViewportCommand::Close));
    assert!(!window.close().contains(&ViewportCommand::CancelClose));
}

#[test]
fn opening_asks_when_fixed_weights_are_not_saved() {
    let mut window = half();
    window.press(CONTROL, Key::Enter);
    window.wait("fixed weights", |s| s.view.as_ref().unwrap().is_fixed);
    let model = window.state().model.clone().unwrap();

    // By dialog, by dropping, and the demo again.
    for way in 0..3 {
        match way {
            0 => {
                window.answer(OTHER);
                window.button("Open…");
            }
            1 => window.drop_file(OTHER),
            _ => window.menu("Recent", "Open the demo"),
        }
        window.wait("a question", |s| s.question.is_some());
        window.step_twice();
        window.button("Cancel");
        window.wait("no question", |s| s.question.is_none());
        window.settle();
        assert!(std::sync::Arc::ptr_eq(&model, window.state().model.as_ref().unwrap()), "way {way}");
    }
    window.drop_file(OTHER);
    window.wait("a question", |s| s.question.is_some());
    window.step_twice();
    window.button("Go on without saving");
    window.wait("the other model", |s| s.view.is_some() && s.model.as_ref().is_some_and(|m| m.file.path == Path::new(OTHER)));
    assert!(!window.state().view.as_ref().unwrap().is_unsaved);
}

/// The lines of a table, without its head.
fn lines(csv: &str) -> Vec<Vec<String>> {
    let mut lines = csv.split_terminator('\n').map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let head = lines.next().unwrap();
    assert_eq!((head[0].as_str(), head[7].as_str(), head[9].as_str()), ("parameter", "elements", "global_pruned"));
    lines.collect()
}

fn assert_is_table(csv: &str) {
    let lines = lines(csv);
    assert_eq!(lines.len(), 140);
    let number = |line: &Vec<String>, i: usize| line[i].parse::<u64>().unwrap();
    assert_eq!(lines.iter().map(|l| number(l, 7)).sum::<u64>(), 2_505_834);
    assert_eq!(lines.iter().map(|l| number(l, 9)).sum::<u64>(), 1_240_373);
    assert_eq!(lines.iter().map(|l| number(l, 12)).sum::<u64>(), 1_240_373);
}

#[test]
fn the_table_is_copied_and_saved() {
    let mut window = half();
    window.click(Role::Tab, "Table");
    let copied = |window: &Window| {
        window.harness.output().platform_output.commands.iter().find_map(|c| match c {
            OutputCommand::CopyText(text) => Some(text.clone()),
            _ => None,
        })
    };
    window.harness.get_by_role_and_label(Role::Button, "Copy the table").click();
    window.wait_for("a copy", |w| copied(w).is_some());
    assert_is_table(&copied(&window).unwrap());
    window.press_in_one_frame(CONTROL_SHIFT, Key::C);
    assert_is_table(&copied(&window).unwrap());

    let path = window.path("table.csv");
    window.answer(&path);
    window.button("Table as CSV…");
    window.wait("a saved table", saved);
    assert_is_table(&std::fs::read_to_string(&path).unwrap());
    assert_eq!(window.asked().pop().unwrap().name, "mobilenetv4_digits.csv");
    // Again, onto the same file.
    window.answer(&path);
    window.press(CONTROL_SHIFT, Key::E);
    window.wait("a question", |s| s.question.is_some());
    window.step_twice();
    std::fs::write(&path, "old").unwrap();
    window.button("Replace");
    window.wait_for("a new table", |_| std::fs::read_to_string(&path).unwrap() != "old");
    assert_is_table(&std::fs::read_to_string(&path).unwrap());
}

#[test]
fn the_table_is_sorted_by_its_columns() {
    let mut window = half();
    window.click(Role::Tab, "Table");
    let rows = |window: &Window| -> Vec<(f32, String)> {
        use egui_kittest::kittest::NodeT;
        let mut rows: Vec<(f32, String)> =
            window.harness.query_all_by_role(Role::Row).map(|n| (n.rect().top(), n.accesskit_node().label().unwrap())).collect();
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        rows
    };
    let first = |window: &Window| rows(window)[0].1.clone();
    assert_eq!(first(&window), "Row conv_stem.weight", "graph order");
    window.click(Role::ColumnHeader, "Sort by number of elements");
    assert_eq!(first(&window), "Row classifier.bias", "the smallest first");
    window.click(Role::ColumnHeader, "Sort by number of elements");
    let graph = &window.state().model.as_ref().unwrap().graph;
    let largest = graph.parameters.iter().max_by_key(|p| p.elements).unwrap();
    let found = first(&window);
    let found = graph.parameters.iter().find(|p| format!("Row {}", p.name) == found).unwrap();
    assert_eq!(found.elements, largest.elements);
    window.click(Role::ColumnHeader, "Sort by number of elements");
    assert_eq!(first(&window), "Row conv_stem.weight");
    window.click(Role::ColumnHeader, "Sort by share of zeros after global");
    window.click(Role::ColumnHeader, "Sort by share of zeros after global");
    assert_eq!(first(&window), "Row classifier.bias", "the emptied one");
    window.click(Role::ColumnHeader, "Sort by name");
    assert_eq!(first(&window), "Row blocks.0.0.bn1.bias");
}
