//! The window: the only folder that names egui.
//!
//! [`state::AppState`] is plain data; panels are functions that draw it and push [`commands::Command`]s; [`App::logic`] takes
//! in what the worker says and runs the commands. No panel blocks, locks, or touches files or the GPU.

mod acting;
mod bottom;
mod channels;
mod chart;
mod choosing;
mod commands;
mod compare;
mod costs;
mod curve;
mod dialogs;
mod effect;
mod losses;
mod messages;
mod module;
mod own;
mod pair;
mod picker;
mod pictures;
mod preprocessing;
mod recipe;
mod repair;
mod scan;
mod scoring;
mod screenshot;
mod size;
mod sparsity;
mod state;
mod table;
mod tabs;
mod text;
mod theme;
mod top;
mod tree;
mod weights;
mod widgets;

use std::path::{Path, PathBuf};

use eframe::egui;

use crate::device::DeviceChoice;
use crate::measurer::Request;
use crate::recipes;
use crate::worker::{Event, Job, RestOfRecipe, Worker};

use choosing::Choosing;
use commands::{Action, Command};
pub use dialogs::{FileDialogs, FileQuestion, Purpose, Reply, SystemDialogs};
use scoring::Waiting;
use screenshot::{Screenshots, Shot};
use state::{AfterUnsaved, Kept, Notice, Question, Tone};
pub use state::{AppState, Grouping, Tab};

/// The demo, part of the program.
const DEMO: &[u8] = include_bytes!("../../assets/mobilenetv4_digits.onnx");
/// Name under which the demo is unpacked.
const DEMO_NAME: &str = "mobilenetv4_digits.onnx";
/// Images that the demo was not trained on, with their classes.
const DIGITS: &[u8] = include_bytes!("../../assets/digits.npz");
/// Name under which they are unpacked.
const DIGITS_NAME: &str = "digits.npz";
/// How the demo's images are preprocessed.
const CONFIG: &[u8] = include_bytes!("../../assets/mobilenetv4_digits.config.json");
/// Name under which that is unpacked.
const CONFIG_NAME: &str = "mobilenetv4_digits.config.json";
/// Where settings are kept, in eframe's storage.
const STORAGE_KEY: &str = "secateur";

/// Opens the window on `file`, or on the demo, and returns when it is closed.
///
/// # Errors
/// No display, no adapter that can draw.
pub fn open(file: Option<PathBuf>, device: DeviceChoice) -> anyhow::Result<()> {
    const ELSE: &str = "without a window, use `secateur inspect FILE` or `secateur prune FILE`, see `secateur --help`";
    if cfg!(target_os = "linux")
        && ["DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"].iter().all(|v| std::env::var_os(v).is_none_or(|v| v.is_empty()))
    {
        anyhow::bail!("there is no display to open a window on; {ELSE}");
    }
    let options = eframe::NativeOptions {
        viewport: egui::ViewportBuilder::default()
            .with_title("Secateur")
            .with_app_id("secateur")
            .with_inner_size([1440.0, 900.0])
            .with_min_inner_size([1040.0, 660.0])
            .with_icon(icon()),
        ..Default::default()
    };
    eframe::run_native(
        "secateur",
        options,
        Box::new(move |context| {
            let waker = context.egui_ctx.clone();
            let dialogs = SystemDialogs::new(move || {
                let waker = waker.clone();
                Box::new(move || waker.request_repaint())
            });
            Ok(Box::new(App::new(context, file, device, Box::new(dialogs))?))
        }),
    )
    .map_err(|e| anyhow::anyhow!("cannot open a window: {e}; {ELSE}"))
}

/// The program's icon: a leaf cut in two, drawn here.
fn icon() -> egui::IconData {
    const SIZE: u32 = 64;
    let mut rgba = Vec::with_capacity((SIZE * SIZE * 4) as usize);
    for y in 0..SIZE {
        for x in 0..SIZE {
            let (u, v) = (x as f32 / 32.0 - 1.0, y as f32 / 32.0 - 1.0);
            let inside = u * u + v * v < 0.92;
            let pruned = u + v > 0.0 && (x / 8 + y / 8) % 2 == 0;
            let cut = (u + v).abs() < 0.09;
            let color = if !inside || cut {
                [0, 0, 0, 0]
            } else if pruned {
                [0x3a, 0x40, 0x4b, 255]
            } else {
                [0xe6, 0x9f, 0x00, 255]
            };
            rgba.extend(color);
        }
    }
    egui::IconData { rgba, width: SIZE, height: SIZE }
}

/// Whether a dropped path is one of images and not of a model.
fn is_of_images(path: &Path) -> bool {
    path.is_dir() || path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz") || e.eq_ignore_ascii_case("npy"))
}

/// The window's program.
pub struct App {
    state: AppState,
    worker: Worker,
    choosing: Choosing,
    commands: Vec<Command>,
    /// The middle of the window in the last frame, for pictures.
    chart_area: Option<egui::Rect>,
    screenshots: Screenshots,
    /// The picture of a mask, and what it was drawn from.
    mask_texture: module::MaskTexture,
    title: String,
    /// What waits for images, or for something measured on them.
    waiting: Option<Waiting>,
    /// What a recipe does after the repair that is going on.
    rest: Option<Box<RestOfRecipe>>,
    /// Whether the measurer was told to weigh the parameters.
    weighs: bool,
    /// Whether it was told that somebody looks at channels.
    looks_at_channels: bool,
    /// A demo unpacked into a folder of its own lives as long as the window.
    demo: Option<tempfile::TempDir>,
}

impl App {
    /// Starts the worker and opens `file`, or the demo.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn new(
        context: &eframe::CreationContext,
        file: Option<PathBuf>,
        device: DeviceChoice,
        dialogs: Box<dyn FileDialogs>,
    ) -> std::io::Result<Self> {
        theme::install(&context.egui_ctx);
        let waker = context.egui_ctx.clone();
        let worker = Worker::start(device, move || waker.request_repaint())?;
        let waker = context.egui_ctx.clone();
        let kept: Kept = context.storage.and_then(|s| eframe::get_value(s, STORAGE_KEY)).unwrap_or_default();
        let mut app = Self {
            state: AppState { kept, ..AppState::default() },
            worker,
            choosing: Choosing::new(dialogs, move || waker.request_repaint()),
            commands: Vec::new(),
            chart_area: None,
            screenshots: Screenshots::default(),
            mask_texture: module::MaskTexture::default(),
            title: String::new(),
            waiting: None,
            rest: None,
            weighs: false,
            looks_at_channels: false,
            demo: None,
        };
        if let Some(beside) = app.state.kept.beside {
            app.worker.send(Job::Compare(beside));
        }
        match file {
            Some(file) => app.worker.send(Job::Open(file)),
            None => app.open_demo(),
        }
        Ok(app)
    }

    /// What is shown, for tests.
    #[must_use]
    pub fn state(&self) -> &AppState {
        &self.state
    }

    fn open_demo(&mut self) {
        let unpack = || -> std::io::Result<tempfile::TempDir> {
            let folder = tempfile::Builder::new().prefix("secateur-demo-").tempdir()?;
            for (name, bytes) in [(DEMO_NAME, DEMO), (DIGITS_NAME, DIGITS), (CONFIG_NAME, CONFIG)] {
                std::fs::write(folder.path().join(name), bytes)?;
            }
            Ok(folder)
        };
        let unpacked = match self.demo.take() {
            Some(folder) => Ok(folder),
            None => unpack(),
        };
        match unpacked {
            Ok(folder) => {
                let path = folder.path().join(DEMO_NAME);
                self.demo = Some(folder);
                self.open_path(path);
            }
            Err(e) => self.state.tell(Notice {
                tone: Tone::Failure,
                title: "Open the demo failed".into(),
                text: format!("no room for temporary files: {e}"),
            }),
        }
    }

    /// Weighs the parameters while somebody looks.
    fn weigh(&mut self) {
        let weighs = self.state.kept.tab == Tab::Size;
        if weighs != self.weighs && self.state.model.is_some() {
            self.weighs = weighs;
            self.worker.measure(Request::Weigh(weighs));
        }
    }

    /// Finds channels, and says what goes of them, while somebody looks.
    fn follow_channels(&mut self) {
        let looks = self.state.kept.tab == Tab::Channels;
        if looks != self.looks_at_channels && self.state.model.is_some() {
            self.looks_at_channels = looks;
            self.worker.measure(Request::Channels(looks));
        }
        if looks && let Some((found, plan)) = self.state.channels.question() {
            self.worker.send(Job::Choose(found, Box::new(plan)));
        }
    }

    /// Shows the demo its digits.
    fn show_digits(&mut self) {
        if let Some(folder) = &self.demo {
            self.worker.measure(Request::Images(folder.path().join(DIGITS_NAME)));
        }
    }

    fn open_path(&mut self, path: PathBuf) {
        if self.state.is_unsaved() {
            self.state.question = Some(Question::Unsaved(AfterUnsaved::Open(path)));
        } else {
            self.worker.send(Job::Open(path));
        }
    }

    fn take_screenshots(&mut self) {
        while let Some(shot) = self.screenshots.poll() {
            match shot {
                Shot::Saved(path) => self.state.tell(Notice { tone: Tone::Success, title: "Saved".into(), text: text::path(&path) }),
                Shot::Occupied(path, png) => self.state.question = Some(Question::ReplacePicture(path, png)),
                Shot::Failed(text) => self.state.tell(Notice { tone: Tone::Failure, title: "Save the chart failed".into(), text }),
            }
        }
    }

    fn take_input(&mut self, ctx: &egui::Context) {
        // Egui overlooks a Shift that a shortcut lacks, so those that have it take their keys first.
        let has_shift = |action: &Action| action.entry().shortcut.is_some_and(|s| s.modifiers.shift);
        let (shifted, plain): (Vec<Action>, Vec<Action>) = Action::ALL.into_iter().partition(has_shift);
        for action in shifted.into_iter().chain(plain) {
            if let Some(shortcut) = action.entry().shortcut
                && self.may_take(ctx, action, shortcut)
                && ctx.input_mut(|i| i.consume_shortcut(&shortcut))
            {
                self.commands.push(Command::Do(action));
            }
        }
        let dropped = ctx.input(|i| i.raw.dropped_files.first().map(|f| f.path().to_owned()));
        match dropped {
            Some(path) if self.state.model.is_some() && is_of_images(&path) => {
                self.state.kept.tab = Tab::Effect;
                self.worker.measure(Request::Images(path));
            }
            Some(path) if self.state.model.is_some() && path.extension().is_some_and(|e| e.eq_ignore_ascii_case(recipes::EXTENSION)) => {
                self.worker.send(Job::OpenRecipe(path, None));
            }
            Some(path) => self.commands.push(Command::OpenPath(path)),
            None => {}
        }
        if ctx.input(|i| i.viewport().close_requested()) && self.state.is_unsaved() && !self.state.may_close {
            ctx.send_viewport_cmd(egui::ViewportCommand::CancelClose);
            self.state.question = Some(Question::Unsaved(AfterUnsaved::Close));
        }
    }

    /// Whether a shortcut is the program's, or belongs to a question, an open menu or a text field.
    fn may_take(&self, ctx: &egui::Context, action: Action, shortcut: egui::KeyboardShortcut) -> bool {
        let is_asked = self.state.question.is_some() || self.choosing.picker().is_some();
        if action == Action::Cancel {
            // Menus, questions and fields close by themselves.
            let is_typing = self.state.percent_text.is_some() || self.state.count_text.is_some();
            return self.state.work().is_some() && !is_asked && !is_typing && !egui::Popup::is_any_open(ctx);
        }
        let is_barred = is_asked && !matches!(action, Action::Quit | Action::ToggleTheme);
        let is_typing = ctx.text_edit_focused() && shortcut.logical_key == egui::Key::Z;
        !is_barred && !is_typing
    }

    fn set_title(&mut self, ctx: &egui::Context) {
        let title = match &self.state.model {
            Some(model) => {
                let name = model.file.path.file_name().unwrap_or_default().to_string_lossy();
                format!("{}{name} – Secateur", if self.state.is_unsaved() { "• " } else { "" })
            }
            None => "Secateur".to_owned(),
        };
        if title != self.title {
            ctx.send_viewport_cmd(egui::ViewportCommand::Title(title.clone()));
            self.title = title;
        }
    }
}

impl eframe::App for App {
    fn logic(&mut self, ctx: &egui::Context, _: &mut eframe::Frame) {
        self.worker.flush();
        while let Some(told) = self.worker.poll() {
            self.take_scores(&told);
            self.take_repair(&told);
            let is_demo = match &told.event {
                Event::Opened(model) | Event::Replaced(model) => {
                    self.mask_texture = module::MaskTexture::default();
                    (self.weighs, self.looks_at_channels, self.rest) = (false, false, None);
                    // What the last frame asked of the model before.
                    let is_over =
                        |c: &Command| matches!(c, Command::Set(..) | Command::Select(_) | Command::Plan(_) | Command::SelectGroup(_));
                    self.commands.retain(|c| !is_over(c));
                    let is_opened = matches!(told.event, Event::Opened(_));
                    is_opened && self.demo.as_ref().is_some_and(|d| model.file.path.starts_with(d.path()))
                }
                _ => false,
            };
            if let Event::Chosen(chosen) = &told.event
                && told.model == self.state.opened
            {
                self.worker.measure(Request::Chosen(chosen.clone()));
            }
            let look = self.state.take(told);
            if is_demo {
                // It has an entry of its own, and its folder goes when the window closes.
                self.state.kept.recent.remove(0);
                self.show_digits();
            }
            if let Some(id) = look {
                self.worker.send(Job::Look(Some(id)));
            }
        }
        self.take_screenshots();
        self.take_input(ctx);
        for command in std::mem::take(&mut self.commands) {
            self.run(ctx, command);
        }
        while let Some((purpose, path)) = self.choosing.poll(&mut self.state) {
            self.chosen(ctx, purpose, path);
        }
        self.weigh();
        self.follow_channels();
        self.set_title(ctx);
    }

    fn ui(&mut self, ui: &mut egui::Ui, _: &mut eframe::Frame) {
        let commands = &mut self.commands;
        let state = &self.state;
        let before = commands.len();
        top::show(ui, state, commands);
        bottom::show(ui, state, commands);
        tree::show(ui, state, commands);
        module::show(ui, state, &mut self.mask_texture, commands);
        self.chart_area = Some(tabs::show(ui, state, commands));
        if let Some(picker) = self.choosing.picker() {
            picker::show(ui.ctx(), picker, commands);
        }
        messages::show(ui, state, commands);
        if commands.len() > before {
            ui.ctx().request_repaint();
        }
        self.state.reveals_selection = false;
    }

    fn save(&mut self, storage: &mut dyn eframe::Storage) {
        eframe::set_value(storage, STORAGE_KEY, &self.state.kept);
    }

    fn clear_color(&self, visuals: &egui::Visuals) -> [f32; 4] {
        visuals.panel_fill.to_normalized_gamma_f32()
    }
}
