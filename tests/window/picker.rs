//! The window's own file dialog, on a system that has none: by keys, by the pointer, for every kind of path.

use std::path::{Path, PathBuf};

use eframe::egui::accesskit::{Role, Toggled};
use eframe::egui::{Event, Key, Modifiers, PointerButton};
use egui_kittest::kittest::NodeT;
use secateur::app::AppState;
use secateur::engine::Model;

use super::driver::{CONTROL, OTHER, Window};
use super::effect::some_digits;

const WHY: &str = "The system has no file dialog";
const ALT: Modifiers = Modifiers { alt: true, ctrl: false, shift: false, mac_cmd: false, command: false };

/// A window on the demo, on a system without dialogs.
fn bare() -> Window {
    let window = Window::demo();
    window.take_dialogs_away();
    window
}

/// Presses a button and waits for the dialog, its folder read.
fn ask(window: &mut Window, press: impl Fn(&mut Window)) {
    press(window);
    window.wait_for("the dialog", |w| w.has(Role::TextInput, "Path"));
    read(window);
}

/// Waits until the folder is read.
fn read(window: &mut Window) {
    window.wait_for("the folder", |w| w.says("folder") && !w.says("Reading…"));
    window.step_twice();
}

fn is_open(window: &Window) -> bool {
    window.has(Role::TextInput, "Path")
}

fn path(window: &Window) -> String {
    window.node(Role::TextInput, "Path").value().unwrap_or_default()
}

/// Types over the whole path.
fn type_path(window: &mut Window, path: impl AsRef<Path>) {
    window.type_into("Path", path.as_ref().to_str().unwrap());
    window.step_twice();
}

fn shows(window: &Window, entry: &str) -> bool {
    window.has(Role::ListBoxOption, entry)
}

fn is_highlighted(window: &Window, entry: &str) -> bool {
    window.node(Role::ListBoxOption, entry).accesskit_node().toggled() == Some(Toggled::True)
}

/// In one frame, as the harness lets a quarter of a second go by between frames.
fn double_click(window: &mut Window, entry: &str) {
    let pos = window.node(Role::ListBoxOption, entry).rect().center();
    window.harness.hover_at(pos);
    window.harness.step();
    let button = |pressed| Event::PointerButton { pos, button: PointerButton::Primary, pressed, modifiers: Modifiers::NONE };
    window.harness.input_mut().events.extend([true, false, true, false].map(button));
    window.step_twice();
}

fn opened(path: PathBuf) -> impl Fn(&AppState) -> bool {
    move |s| s.view.is_some() && s.model.as_ref().is_some_and(|m| m.file.path == path)
}

fn saved(state: &AppState) -> bool {
    state.notices.iter().any(|n| n.title == "Saved")
}

/// `models/net.onnx`, `models/next.txt`, `models/.hidden.onnx` and the empty `models/nest`.
fn lay_out(window: &Window) -> PathBuf {
    let models = window.path("models");
    std::fs::create_dir_all(models.join("nest")).unwrap();
    std::fs::copy(OTHER, models.join("net.onnx")).unwrap();
    std::fs::copy(OTHER, models.join(".hidden.onnx")).unwrap();
    std::fs::write(models.join("next.txt"), "text").unwrap();
    models
}

#[test]
fn a_model_is_opened_by_its_path_and_the_reason_is_told_once() {
    let mut window = bare();
    let models = lay_out(&window);
    ask(&mut window, |w| w.button("Open…"));
    assert!(window.says(WHY) && window.says("Open a model"));
    window.press(Modifiers::NONE, Key::Escape);
    assert!(!is_open(&window));

    ask(&mut window, |w| w.press(CONTROL, Key::O));
    assert!(!window.says(WHY), "once");
    // Enter comes before the folder can have been read.
    type_path(&mut window, models.join("net.onnx"));
    window.press(Modifiers::NONE, Key::Enter);
    window.wait("the model", opened(models.join("net.onnx")));
    assert!(!is_open(&window));
    // The system is not asked again, and the next dialog begins where this one ended.
    assert_eq!(window.asked().len(), 1);
    window.press(CONTROL, Key::O);
    window.wait_for("the dialog", is_open);
    assert_eq!(Path::new(&path(&window)), models);
}

#[test]
fn keys_walk_through_folders_and_complete_names() {
    let mut window = bare();
    let models = lay_out(&window);
    ask(&mut window, |w| w.button("Open…"));
    let beginning = window.path("mod");
    type_path(&mut window, beginning);
    read(&mut window);
    assert!(is_highlighted(&window, "models"), "what Enter would take");
    window.press(Modifiers::NONE, Key::Tab);
    read(&mut window);
    assert_eq!(path(&window), format!("{}/", models.display()));
    assert!(shows(&window, "nest") && shows(&window, "net.onnx"));
    assert!(!shows(&window, "next.txt") && !shows(&window, ".hidden.onnx"), "neither the wrong kind nor hidden");
    assert!(window.says("1 folder · 1 file · 2 not shown"));

    // As far as the names agree.
    window.node(Role::TextInput, "Path").type_text("N");
    window.step_twice();
    window.press(Modifiers::NONE, Key::Tab);
    assert_eq!(path(&window), format!("{}/ne", models.display()));
    window.press(Modifiers::NONE, Key::ArrowDown);
    assert!(is_highlighted(&window, "net.onnx") && !is_highlighted(&window, "nest"));
    window.press(Modifiers::NONE, Key::ArrowUp);
    assert!(is_highlighted(&window, "nest"));
    window.press(Modifiers::NONE, Key::Enter);
    read(&mut window);
    assert_eq!(path(&window), format!("{}/nest/", models.display()));
    window.press(ALT, Key::ArrowUp);
    read(&mut window);
    assert_eq!(path(&window), format!("{}/", models.display()));

    type_path(&mut window, models.join("nothing"));
    window.press(Modifiers::NONE, Key::Enter);
    assert!(is_open(&window) && window.says("There is nothing of that name here"));
    type_path(&mut window, models.join("net"));
    window.press(Modifiers::NONE, Key::Enter);
    window.wait("the model", opened(models.join("net.onnx")));
}

/// Tab and Enter come before the folder can have been read, in the very frame of the text as well.
#[test]
fn a_typed_path_survives_every_haste() {
    let mut window = bare();
    let models = lay_out(&window);
    let key = |key| Event::Key { key, physical_key: None, pressed: true, repeat: false, modifiers: Modifiers::NONE };
    ask(&mut window, |w| w.button("Open…"));
    let beginning = window.path("mod");
    let text = Event::Paste(beginning.to_str().unwrap().to_owned());
    window.harness.input_mut().events.extend([text, key(Key::Tab)]);
    window.wait_for("the completed path", |w| path(w) == format!("{}/", models.display()));
    read(&mut window);

    let whole = models.join("net.onnx");
    let text = Event::Paste(whole.to_str().unwrap().to_owned());
    window.harness.input_mut().events.extend([text, key(Key::Tab), key(Key::Enter)]);
    window.wait("the model", opened(whole.clone()));
    assert!(!is_open(&window));

    // Nothing is left to complete: Tab stays, and goes on when it is pressed again.
    ask(&mut window, |w| w.button("Open…"));
    type_path(&mut window, &whole);
    read(&mut window);
    window.press(Modifiers::NONE, Key::Tab);
    assert!(window.node(Role::TextInput, "Path").is_focused() && path(&window) == whole.to_str().unwrap());
    window.press(Modifiers::NONE, Key::Tab);
    assert!(!window.node(Role::TextInput, "Path").is_focused());
    window.press(Modifiers { shift: true, ..Modifiers::NONE }, Key::Tab);
    assert!(window.node(Role::TextInput, "Path").is_focused());
    window.press(Modifiers { shift: true, ..Modifiers::NONE }, Key::Tab);
    assert!(window.node(Role::Button, "Parent folder").is_focused());
}

#[test]
fn the_pointer_does_it_all_as_well() {
    let mut window = bare();
    let models = lay_out(&window);
    ask(&mut window, |w| w.button("Open…"));
    type_path(&mut window, format!("{}/nest/", models.display()));
    read(&mut window);
    window.button("Parent folder");
    read(&mut window);
    window.click(Role::CheckBox, "All files");
    assert!(shows(&window, "next.txt") && shows(&window, ".hidden.onnx"));
    window.click(Role::ListBoxOption, "next.txt");
    assert!(is_highlighted(&window, "next.txt"));
    window.click(Role::CheckBox, "All files");
    assert!(!shows(&window, "next.txt"));
    window.button("Cancel");
    assert!(!is_open(&window));

    ask(&mut window, |w| w.button("Open…"));
    type_path(&mut window, format!("{}/", models.display()));
    read(&mut window);
    double_click(&mut window, "net.onnx");
    window.wait("the model", opened(models.join("net.onnx")));

    ask(&mut window, |w| w.button("Open…"));
    window.click(Role::ListBoxOption, "net.onnx");
    window.button("Open");
    window.wait_for("the end of the dialog", |w| !is_open(w));
    // A place leads back to a folder that was used.
    ask(&mut window, |w| w.button("Open…"));
    type_path(&mut window, "/");
    read(&mut window);
    window.button(&format!("Go to {}", models.display()));
    read(&mut window);
    assert!(shows(&window, "net.onnx"));
}

#[test]
fn a_model_is_saved_under_a_name_and_over_one_only_when_that_is_wanted() {
    let mut window = bare();
    window.set_percent("50");
    ask(&mut window, |w| w.menu("Save as…", "ONNX model…"));
    assert!(window.says("Save as ONNX model"));
    assert!(path(&window).ends_with("/mobilenetv4_digits_pruned.onnx"), "{}", path(&window));
    // The proposed name, as far as its extension, is typed over.
    window.node(Role::TextInput, "Path").type_text("mine");
    window.step_twice();
    assert!(path(&window).ends_with("/mine.onnx"), "{}", path(&window));
    let target = window.path("half.onnx");
    type_path(&mut window, &target);
    read(&mut window);
    window.button("Save");
    window.wait("a saved file", saved);
    let zeros = |path: &Path| -> u64 { Model::open(path).unwrap().zeros().unwrap().iter().sum() };
    assert_eq!(zeros(&target), 1_240_373);

    std::fs::write(&target, "precious").unwrap();
    for answer in ["Cancel", "Replace"] {
        ask(&mut window, |w| w.press(CONTROL, Key::S));
        // A click on what is there takes its name.
        window.click(Role::ListBoxOption, "half.onnx");
        assert_eq!(path(&window), target.to_str().unwrap());
        window.press(Modifiers::NONE, Key::Enter);
        window.wait("a question", |s| s.question.is_some());
        window.step_twice();
        assert!(!is_open(&window) && window.says("Replace the file?"));
        assert_eq!(std::fs::read(&target).unwrap(), b"precious");
        window.button(answer);
    }
    window.wait_for("the file replaced", |_| std::fs::read(&target).unwrap() != b"precious");
}

#[test]
fn a_folder_that_is_not_there_is_told_and_can_be_made() {
    let mut window = bare();
    ask(&mut window, |w| w.menu("Save as…", "Table as CSV…"));
    let target = window.path("new/deep/table.csv");
    type_path(&mut window, &target);
    window.wait_for("the folder's lack", |w| w.says("There is no folder of that name"));
    window.press(Modifiers::NONE, Key::Enter);
    assert!(is_open(&window) && !target.parent().unwrap().exists());
    window.button("Create the folder");
    read(&mut window);
    assert!(target.parent().unwrap().is_dir() && !window.has(Role::Button, "Create the folder"));
    assert_eq!(path(&window), target.to_str().unwrap());
    window.press(Modifiers::NONE, Key::Enter);
    window.wait("a saved table", saved);
    assert!(target.is_file());
}

#[test]
fn images_are_a_folder_or_an_array() {
    let mut window = bare();
    window.click(Role::Tab, "Effect");
    let digits = some_digits(window.folder.path());
    ask(&mut window, |w| w.button("Choose images…"));
    type_path(&mut window, format!("{}/", digits.display()));
    read(&mut window);
    // The folder whose list it is: its classes are folders in it.
    window.button("Choose the folder");
    window.wait("the effect", |s| s.costs.shown.as_ref().is_some_and(|shown| shown.path.as_ref() == Some(&digits)));

    ask(&mut window, |w| w.button("Choose images…"));
    type_path(&mut window, std::env::current_dir().unwrap().join("assets/digits.n"));
    read(&mut window);
    window.press(Modifiers::NONE, Key::Enter);
    window.wait("the array", |s| s.costs.shown.as_ref().and_then(|shown| shown.path.as_deref()).is_some_and(|p| p.ends_with("digits.npz")));
}

/// Keys of the window do nothing behind the dialog, and Escape closes it without stopping any work.
#[test]
fn keys_do_not_reach_past_the_dialog() {
    let mut window = bare();
    window.set_percent("50");
    let before = window.figures().clone();
    ask(&mut window, |w| w.button("Open…"));
    for key in [Key::Enter, Key::Z, Key::M, Key::S] {
        window.press(CONTROL, key);
    }
    window.settle();
    assert_eq!(window.figures(), &before);
    assert_eq!(window.asked().len(), 1);
    assert!(is_open(&window));
    window.press(Modifiers::NONE, Key::Escape);
    assert!(!is_open(&window));
    window.press(CONTROL, Key::Z);
    window.wait("the amount taken back", |s| s.view.as_ref().unwrap().figures != before);
}

#[test]
fn everything_in_the_dialog_has_a_name_and_a_tooltip() {
    let mut window = bare();
    lay_out(&window);
    ask(&mut window, |w| w.menu("Save as…", "ONNX model…"));
    let missing = window.path("missing/x.onnx");
    type_path(&mut window, missing);
    window.wait_for("the folder's lack", |w| w.has(Role::Button, "Create the folder"));
    assert!(window.harness.unnamed_widgets().is_empty(), "{:?}", window.harness.unnamed_widgets());
    let count = |window: &Window| window.harness.root().children_recursive().count();
    for (role, name) in [
        (Role::TextInput, "Path"),
        (Role::Button, "Parent folder"),
        (Role::Button, "Create the folder"),
        (Role::Button, "Cancel"),
        (Role::Button, "Save"),
        (Role::CheckBox, "All files"),
    ] {
        window.harness.hover_at([4.0, 4.0].into());
        window.harness.run_steps(4);
        let before = count(&window);
        window.node(role, name).hover();
        window.harness.run_steps(6);
        assert!(count(&window) > before, "{name} has no tooltip");
    }
}

/// What a system's dialog that ends without a path means is known to nobody: it is told until one has answered.
#[test]
fn a_dialog_that_may_not_have_been_seen_is_told_with_a_way_on() {
    let mut window = Window::demo();
    let told = |window: &Window| window.says("No file was chosen");
    window.button("Open…");
    window.end_dialog();
    window.settle();
    assert!(told(&window) && window.says("Secateur's own file dialogs"));
    window.button("Dismiss");
    // Taken at its word.
    window.button("Recent");
    window.click(Role::CheckBox, "Secateur's own file dialogs");
    window.press(Modifiers::NONE, Key::Escape);
    ask(&mut window, |w| w.button("Open…"));
    assert!(!window.says(WHY));
    window.press(Modifiers::NONE, Key::Escape);
    window.button("Recent");
    window.click(Role::CheckBox, "Secateur's own file dialogs");
    window.press(Modifiers::NONE, Key::Escape);

    window.open(OTHER);
    window.button("Open…");
    window.end_dialog();
    window.settle();
    assert!(!told(&window), "this system's dialogs are seen");
}
