//! A window under test: waiting, clicking, typing, and dialogs that are answered from a list.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use eframe::egui::accesskit::{Role, Toggled};
use eframe::egui::{self, Key, Modifiers, Pos2, Rect, Vec2, ViewportCommand, ViewportId};
use egui_kittest::kittest::{NodeT, Queryable};
use egui_kittest::{Harness, HarnessBuilder, Node};
use secateur::app::{App, AppState, FileDialogs, FileQuestion, Reply};
use secateur::device::DeviceChoice;
use secateur::measure::Figures;
use secateur::prune::{Method, Recipe, Step};
use secateur::session::Session;
use secateur::watch::Unwatched;

/// The demo's file.
pub(super) const DEMO: &str = "assets/mobilenetv4_digits.onnx";
/// Another network of the same kind, BatchNorm kept.
pub(super) const OTHER: &str = "tests/models/mobilenetv4_r224_3classes.onnx";
/// The demo with BatchNorm folded into its convolutions.
pub(super) const FOLDED: &str = "tests/models/mobilenetv4_digits_ts.onnx";
/// Size of the window, as the pictures have it.
pub(super) const SIZE: Vec2 = Vec2::new(1280.0, 800.0);
/// Control, on the system that the harness reports.
pub(super) const CONTROL: Modifiers = Modifiers { alt: false, ctrl: true, shift: false, mac_cmd: false, command: true };
/// Control and Shift.
pub(super) const CONTROL_SHIFT: Modifiers = Modifiers { shift: true, ..CONTROL };

/// How long something may take before a test gives up; much longer than it does on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Between two looks at a window that is waited for.
const LONGEST_PAUSE: Duration = Duration::from_millis(25);

/// Dialogs that are answered at once with the paths laid ready, and closed without an answer when there are none; or dialogs that
/// the system cannot show.
#[derive(Clone, Default)]
pub(super) struct Dialogs(Rc<RefCell<Desk>>);

#[derive(Default)]
struct Desk {
    ready: VecDeque<PathBuf>,
    replies: VecDeque<Reply>,
    asked: Vec<FileQuestion>,
    cannot_show: bool,
}

impl FileDialogs for Dialogs {
    fn ask(&mut self, request: FileQuestion) {
        let mut desk = self.0.borrow_mut();
        desk.asked.push(request.clone());
        let ready = desk.ready.pop_front();
        if desk.cannot_show {
            desk.replies.push_back(Reply::Unavailable(request));
        } else if let Some(path) = ready {
            desk.replies.push_back(Reply::Chosen(request.purpose, path));
        }
    }

    fn poll(&mut self) -> Option<Reply> {
        self.0.borrow_mut().replies.pop_front()
    }
}

/// The program's window, its dialogs, and a folder to save in.
pub(super) struct Window {
    pub(super) harness: Harness<'static, App>,
    pub(super) folder: tempfile::TempDir,
    dialogs: Dialogs,
}

impl Window {
    /// On `file`, or on the demo; returns when the model is on screen.
    pub(super) fn on(file: Option<&str>) -> Self {
        let mut window = Self::start(Harness::builder().with_size(SIZE), file);
        window.wait("a model", |s| s.view.is_some() && s.detail.is_some() && s.device.is_some() && s.progress.is_none());
        window
    }

    /// On the demo.
    pub(super) fn demo() -> Self {
        Self::on(None)
    }

    /// Does not wait for anything.
    pub(super) fn start(builder: HarnessBuilder<App>, file: Option<&str>) -> Self {
        let dialogs = Dialogs::default();
        let for_app = dialogs.clone();
        let file = file.map(PathBuf::from);
        let harness = builder.build_eframe(|cc| App::new(cc, file, DeviceChoice::Cpu, Box::new(for_app)).unwrap());
        Self { harness, folder: tempfile::tempdir().unwrap(), dialogs }
    }

    pub(super) fn state(&self) -> &AppState {
        self.harness.state().state()
    }

    /// Draws frames until `condition` holds.
    pub(super) fn wait(&mut self, what: &str, condition: impl Fn(&AppState) -> bool) {
        self.wait_for(what, |window| condition(window.state()));
        // What appears is measured in its first frame and shown in the second.
        self.harness.step();
    }

    /// As [`Window::wait`], looking at the whole window.
    pub(super) fn wait_for(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        loop {
            self.harness.step();
            if condition(self) {
                return;
            }
            let waited = start.elapsed();
            assert!(waited < PATIENCE, "waited for {what} in vain; {}", self.describe());
            // What takes long is left the cores to: drawing without a pause would keep one of them.
            std::thread::sleep((waited / 4).clamp(Duration::from_millis(1), LONGEST_PAUSE));
        }
    }

    /// Draws some frames, for what must not happen.
    pub(super) fn settle(&mut self) {
        for _ in 0..20 {
            self.harness.step();
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What is to be seen, for a failure's message.
    fn describe(&self) -> String {
        let state = self.state();
        let names: Vec<String> = self.harness.root().children_recursive().filter_map(|n| n.accesskit_node().label()).collect();
        format!(
            "amount {:?}, progress {:?}, question {:?}, notices {:?}, on screen {names:?}",
            state.recipe.as_ref().map(|s| s.amount),
            state.progress,
            state.question,
            state.notices
        )
    }

    /// The one node of that role and name.
    pub(super) fn node<'a>(&'a self, role: Role, name: &'a str) -> Node<'a> {
        self.harness.query_by_role_and_label(role, name).unwrap_or_else(|| panic!("no {role:?} “{name}”; {}", self.describe()))
    }

    pub(super) fn has(&self, role: Role, name: &str) -> bool {
        self.harness.query_all_by_role_and_label(role, name).next().is_some()
    }

    /// Whether that text is on screen as a label.
    pub(super) fn says(&self, text: &str) -> bool {
        self.harness.query_all_by_label_contains(text).next().is_some()
    }

    /// Clicks with the pointer, so that whatever covers the node gets the click.
    pub(super) fn click(&mut self, role: Role, name: &str) {
        self.node(role, name).click();
        self.step_twice();
    }

    pub(super) fn button(&mut self, name: &str) {
        self.click(Role::Button, name);
    }

    /// Opens a menu of the top bar and clicks an entry.
    pub(super) fn menu(&mut self, menu: &str, entry: &str) {
        self.button(menu);
        self.button(entry);
    }

    pub(super) fn press(&mut self, modifiers: Modifiers, key: Key) {
        self.harness.key_press_modifiers(modifiers, key);
        self.step_twice();
    }

    /// Presses a key in a single frame, so that what it led to is the last output.
    pub(super) fn press_in_one_frame(&mut self, modifiers: Modifiers, key: Key) {
        let event = egui::Event::Key { key, physical_key: None, pressed: true, repeat: false, modifiers };
        let input = self.harness.input_mut();
        input.events.extend([egui::Event::ModifiersChanged(modifiers), event, egui::Event::ModifiersChanged(Modifiers::NONE)]);
        self.harness.step();
    }

    /// One frame for the input, one for the commands that it led to.
    pub(super) fn step_twice(&mut self) {
        self.harness.step();
        self.harness.step();
    }

    /// Chooses a method in the picker of what is applied.
    pub(super) fn apply(&mut self, method: &str) {
        self.click(Role::ComboBox, "Applied method");
        self.click(Role::RadioButton, method);
    }

    /// Chooses the method beside it.
    pub(super) fn compare(&mut self, method: &str) {
        self.click(Role::ComboBox, "Method beside");
        self.click(Role::RadioButton, method);
    }

    /// The applied method and the one beside it, as the figures have them.
    pub(super) fn pair(&self) -> Vec<Method> {
        self.figures().outcomes.iter().map(|(method, _)| method).collect()
    }

    /// Types over what a field holds.
    pub(super) fn type_into(&mut self, field: &str, text: &str) {
        self.node(Role::TextInput, field).focus();
        self.step_twice();
        self.harness.key_press_modifiers(CONTROL, Key::A);
        self.step_twice();
        match text {
            "" => self.harness.key_press(Key::Backspace),
            text => self.node(Role::TextInput, field).type_text(text),
        }
        self.step_twice();
    }

    /// As [`Window::type_into`], and Enter.
    pub(super) fn enter(&mut self, field: &str, text: &str) {
        self.type_into(field, text);
        self.press(Modifiers::NONE, Key::Enter);
    }

    /// Types a number into a field that can also be dragged.
    pub(super) fn enter_number(&mut self, field: &str, number: &str) {
        self.click(Role::SpinButton, field);
        self.harness.key_press_modifiers(CONTROL, Key::A);
        self.step_twice();
        self.harness.input_mut().events.push(egui::Event::Text(number.to_owned()));
        self.step_twice();
        self.press(Modifiers::NONE, Key::Enter);
    }

    /// Sets the amount by its field and waits for the figures.
    pub(super) fn set_percent(&mut self, percent: &str) {
        let before = self.figures().clone();
        self.enter("Amount in percent", percent);
        self.wait("other figures", |s| s.view.as_ref().is_some_and(|v| v.figures != before));
    }

    pub(super) fn toggled(&self, name: &str) -> Option<Toggled> {
        self.node(Role::CheckBox, name).accesskit_node().toggled()
    }

    pub(super) fn slider(&self) -> Rect {
        self.node(Role::Slider, "Amount").rect()
    }

    /// Where the slider's handle is at `fraction`.
    pub(super) fn slider_at(&self, fraction: f32) -> Pos2 {
        let rect = self.slider();
        let rail = rect.x_range().shrink(rect.height() / 2.5);
        Pos2::new(egui::lerp(rail.min..=rail.max, fraction), rect.center().y)
    }

    pub(super) fn figures(&self) -> &Figures {
        &self.state().view.as_ref().unwrap().figures
    }

    pub(super) fn recipe(&self) -> &Recipe {
        self.state().recipe.as_ref().unwrap()
    }

    /// Pruned elements of a method at the present recipe.
    pub(super) fn pruned(&self, method: Method) -> u64 {
        self.figures().of(method).unwrap().pruned
    }

    /// Asserts that the figures on screen are those that a session without a window gives for the same recipe.
    pub(super) fn assert_as_session(&self, file: &str) {
        let mut session = Session::open(Path::new(file), &Unwatched).unwrap();
        session.set(self.recipe().clone(), Step::Amount).unwrap();
        assert_eq!(self.figures(), &session.engine().figures(session.state(), &self.pair()));
    }

    /// The dialogs opened so far.
    pub(super) fn asked(&self) -> Vec<FileQuestion> {
        self.dialogs.0.borrow().asked.clone()
    }

    /// From now on the system has no dialogs.
    pub(super) fn take_dialogs_away(&self) {
        self.dialogs.0.borrow_mut().cannot_show = true;
    }

    /// A dialog of the system ends without a path, and nobody knows whether it was seen.
    pub(super) fn end_dialog(&self) {
        self.dialogs.0.borrow_mut().replies.push_back(Reply::Nothing);
    }

    /// Lays a path ready for the next dialog.
    pub(super) fn answer(&self, path: impl AsRef<Path>) {
        self.dialogs.0.borrow_mut().ready.push_back(path.as_ref().to_owned());
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Opens a file through the dialog and waits until it is on screen.
    pub(super) fn open(&mut self, path: &str) {
        self.answer(path);
        self.press(CONTROL, Key::O);
        let path = PathBuf::from(path);
        self.wait("the other model", move |s| {
            s.view.is_some() && s.progress.is_none() && s.model.as_ref().is_some_and(|m| m.file.path == path)
        });
    }

    /// Asks the window to close, as its frame's button does; returns what it answers the system.
    pub(super) fn close(&mut self) -> Vec<ViewportCommand> {
        let root = self.harness.input_mut().viewports.get_mut(&ViewportId::ROOT).unwrap();
        root.events.push(egui::ViewportEvent::Close);
        self.harness.step();
        self.viewport_commands()
    }

    /// What the last frame asked of the system's window.
    pub(super) fn viewport_commands(&self) -> Vec<ViewportCommand> {
        self.harness.output().viewport_output[&ViewportId::ROOT].commands.clone()
    }

    /// Drops a file on the window.
    pub(super) fn drop_file(&mut self, path: &str) {
        let file: egui::DroppedFileHandle = std::sync::Arc::new(Dropped(PathBuf::from(path)));
        self.harness.input_mut().dropped_files.push(file);
        self.step_twice();
    }
}

/// A file as the system drops it.
#[derive(Debug)]
struct Dropped(PathBuf);

impl egui::DroppedFile for Dropped {
    fn path(&self) -> &Path {
        &self.0
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        std::fs::read(&self.0).map_err(|e| e.to_string())
    }
}
