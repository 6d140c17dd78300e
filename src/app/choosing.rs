//! Asking for a path: through the system's dialog, or through the window's own where the system has none or a person prefers it.

use std::collections::VecDeque;
use std::path::PathBuf;

use super::dialogs::{FileDialogs, FileQuestion, Purpose, Reply};
use super::picker::{Act, Folders, FollowUp, Picker};
use super::state::{AppState, Notice, Tone};

/// Where paths come from.
pub(super) struct Choosing {
    dialogs: Box<dyn FileDialogs>,
    /// The window's own dialog, while it is open.
    picker: Option<Picker>,
    folders: Folders,
    /// The system could not show a dialog; it is not asked again.
    lacks_dialogs: bool,
    chosen: VecDeque<(Purpose, PathBuf)>,
}

impl Choosing {
    /// `wake` is called, from another thread, when a folder was read.
    pub(super) fn new(dialogs: Box<dyn FileDialogs>, wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { dialogs, picker: None, folders: Folders::new(wake), lacks_dialogs: false, chosen: VecDeque::new() }
    }

    /// The window's own dialog, while it is open.
    pub(super) fn picker(&self) -> Option<&Picker> {
        self.picker.as_ref()
    }

    /// Asks; the answer comes through [`Choosing::poll`].
    pub(super) fn ask(&mut self, request: FileQuestion, state: &AppState) {
        if state.kept.own_dialogs || self.lacks_dialogs {
            self.open(request, state, false);
        } else {
            self.dialogs.ask(request);
        }
    }

    /// Does what a person does to the window's own dialog.
    pub(super) fn act(&mut self, act: Act, state: &mut AppState) {
        if let Some(picker) = &mut self.picker {
            let follow_up = picker.act(act);
            self.follow(follow_up, state);
        }
    }

    /// The next path that was chosen.
    pub(super) fn poll(&mut self, state: &mut AppState) -> Option<(Purpose, PathBuf)> {
        while let Some(reply) = self.dialogs.poll() {
            self.take(reply, state);
        }
        while let Some(news) = self.folders.poll() {
            if let Some(picker) = &mut self.picker {
                let follow_up = picker.take(news);
                self.follow(follow_up, state);
            }
        }
        self.chosen.pop_front()
    }

    fn take(&mut self, reply: Reply, state: &mut AppState) {
        match reply {
            Reply::Chosen(purpose, path) => {
                state.kept.dialogs_work = true;
                self.chosen.push_back((purpose, path));
            }
            Reply::Unavailable(request) => {
                let is_first = !std::mem::replace(&mut self.lacks_dialogs, true);
                self.open(request, state, is_first);
            }
            Reply::Nothing if !state.kept.dialogs_work && !state.kept.own_dialogs => state.tell(Notice {
                tone: Tone::Remark,
                title: "No file was chosen".into(),
                text: "if no dialog appeared, the system's does not work: tick “Secateur's own file dialogs” in the menu Recent".into(),
            }),
            Reply::Nothing => {}
        }
    }

    fn open(&mut self, request: FileQuestion, state: &AppState, explains: bool) {
        let (picker, follow_up) = Picker::open(request, &state.kept.folders, explains);
        self.picker = Some(picker);
        self.folders.find_places();
        if let FollowUp::Read(folder) = follow_up {
            self.folders.read(folder, false);
        }
    }

    /// Does what the window's own dialog wants done.
    fn follow(&mut self, follow_up: FollowUp, state: &mut AppState) {
        match follow_up {
            FollowUp::None => {}
            FollowUp::Read(folder) => self.folders.read(folder, false),
            FollowUp::Create(folder) => self.folders.read(folder, true),
            FollowUp::Cancelled => self.picker = None,
            FollowUp::Chosen(path) => {
                let Some(picker) = self.picker.take() else { return };
                state.remember_folder(picker.folder());
                self.chosen.push_back((picker.purpose(), path));
            }
        }
    }
}
