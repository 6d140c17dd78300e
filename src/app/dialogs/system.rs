//! The system's own file dialogs.
//!
//! On Linux and the BSDs they are the desktop portal's, and zenity's where there is no portal. rfd 0.17 answers with nothing
//! when neither could be shown, just as when a person cancels. It says which in the log alone, so the log is listened to.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::{FileDialogs, FileQuestion, Reply, Wanted};

/// The system's own dialogs.
pub struct SystemDialogs {
    sender: Sender<Reply>,
    replies: Receiver<Reply>,
    wake: Box<dyn Fn() -> Box<dyn FnOnce() + Send>>,
}

impl SystemDialogs {
    /// `wake` makes what is called when a reply has come.
    #[must_use]
    pub fn new(wake: impl Fn() -> Box<dyn FnOnce() + Send> + 'static) -> Self {
        let (sender, replies) = channel();
        Self { sender, replies, wake: Box::new(wake) }
    }
}

impl FileDialogs for SystemDialogs {
    fn ask(&mut self, request: FileQuestion) {
        let (sender, wake) = (self.sender.clone(), (self.wake)());
        let again = request.clone();
        // Made here, because macOS wants that on the main thread; waited for elsewhere.
        let answer = shown(request);
        let wait = move || {
            if let Some(reply) = answer() {
                let _ = sender.send(reply);
                wake();
            }
        };
        if std::thread::Builder::new().name("file-dialog".into()).spawn(wait).is_err() {
            let _ = self.sender.send(Reply::Unavailable(again));
        }
    }

    fn poll(&mut self) -> Option<Reply> {
        self.replies.try_recv().ok()
    }
}

/// The dialog, ready to be waited for. These systems always have one.
#[cfg(any(windows, target_os = "macos"))]
fn shown(request: FileQuestion) -> impl FnOnce() -> Option<Reply> + Send {
    let (kind, extensions) = request.purpose.filter();
    let mut dialog = rfd::AsyncFileDialog::new().add_filter(kind, extensions);
    if let Some(folder) = request.folder {
        dialog = dialog.set_directory(folder);
    }
    let answer: std::pin::Pin<Box<dyn Future<Output = Option<rfd::FileHandle>> + Send>> = match request.purpose.kind() {
        Wanted::File => Box::pin(dialog.pick_file()),
        Wanted::FolderOrFile => Box::pin(dialog.pick_folder()),
        Wanted::NewFile => Box::pin(dialog.set_file_name(request.name).save_file()),
    };
    move || Some(Reply::Chosen(request.purpose, pollster::block_on(answer)?.path().to_owned()))
}

/// The dialog, ready to be shown and waited for: on one thread from beginning to end, so that what rfd logs is known to be about
/// this dialog.
#[cfg(not(any(windows, target_os = "macos")))]
fn shown(request: FileQuestion) -> impl FnOnce() -> Option<Reply> + Send {
    ear::listen();
    move || {
        let (answer, failed) = ear::heard(|| pick(&request));
        Some(match answer {
            Some(path) => Reply::Chosen(request.purpose, path),
            None if failed => Reply::Unavailable(request),
            // A portal without a working back end, and a zenity without a display, end like this as well.
            None => Reply::Nothing,
        })
    }
}

#[cfg(not(any(windows, target_os = "macos")))]
fn pick(request: &FileQuestion) -> Option<std::path::PathBuf> {
    let (kind, extensions) = request.purpose.filter();
    let mut dialog = rfd::FileDialog::new().add_filter(kind, extensions);
    if let Some(folder) = &request.folder {
        dialog = dialog.set_directory(folder);
    }
    match request.purpose.kind() {
        Wanted::File => dialog.pick_file(),
        Wanted::FolderOrFile => dialog.pick_folder(),
        Wanted::NewFile => dialog.set_file_name(&request.name).save_file(),
    }
}

/// Hears in the log that rfd could not show a dialog.
#[cfg(not(any(windows, target_os = "macos")))]
mod ear {
    use std::cell::Cell;

    use log::{LevelFilter, Metadata, Record};

    /// What rfd 0.17 logs under when the last resort has failed; the portal's failures before it have names below this one.
    const LAST_RESORT: &str = "rfd::backend::xdg_desktop_portal";

    thread_local! {
        static HEARD: Cell<bool> = const { Cell::new(false) };
    }

    struct Ear;

    impl log::Log for Ear {
        fn enabled(&self, metadata: &Metadata) -> bool {
            metadata.level() == log::Level::Error && metadata.target() == LAST_RESORT
        }

        fn log(&self, record: &Record) {
            if self.enabled(record.metadata()) {
                HEARD.set(true);
            }
        }

        fn flush(&self) {}
    }

    /// Listens from now on. Where somebody else has the log already, nothing is heard.
    pub(super) fn listen() {
        if log::set_logger(&Ear).is_ok() {
            log::set_max_level(LevelFilter::Error);
        }
    }

    /// What `action` gives, and whether on this thread rfd told meanwhile that it could not show a dialog.
    pub(super) fn heard<T>(action: impl FnOnce() -> T) -> (T, bool) {
        HEARD.set(false);
        let result = action();
        (result, HEARD.take())
    }
}

#[cfg(all(test, not(any(windows, target_os = "macos"))))]
mod tests {
    use super::super::Purpose;
    use super::*;
    use crate::export::Format;

    /// Set for the process that really asks.
    const ASKS: &str = "SECATEUR_TEST_ASKS";

    /// In a process of its own, which finds neither a session bus nor zenity, whatever the machine has.
    #[test]
    fn a_dialog_that_cannot_be_shown_is_told_from_one_that_is_cancelled() {
        let this = std::env::current_exe().unwrap();
        let name = "app::dialogs::system::tests::asks_for_paths_of_every_kind";
        let child = std::process::Command::new(this)
            .args(["--exact", name, "--nocapture"])
            .env_clear()
            .env(ASKS, "1")
            .env("PATH", "/nonexistent")
            .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&child.stdout).into_owned();
        assert!(child.status.success() && told.contains("1 passed"), "{told}\n{}", String::from_utf8_lossy(&child.stderr));
    }

    /// The other half of the test above; alone it does nothing, as it would open real dialogs.
    #[test]
    fn asks_for_paths_of_every_kind() {
        if std::env::var_os(ASKS).is_none() {
            return;
        }
        for purpose in [Purpose::Open, Purpose::Save(Format::Onnx), Purpose::Images] {
            let request = FileQuestion { purpose, folder: Some("/tmp".into()), name: "a.onnx".into() };
            assert_eq!(shown(request.clone())(), Some(Reply::Unavailable(request)));
        }
    }

    /// A portal that is not there is no failure yet: zenity may be.
    #[test]
    fn only_the_last_resort_counts() {
        ear::listen();
        let tell = |target: &str| ear::heard(|| log::error!(target: target, "no")).1;
        assert!(tell("rfd::backend::xdg_desktop_portal"));
        assert!(!tell("rfd::backend::xdg_desktop_portal::portal::libdbus"));
        assert!(!ear::heard(|| log::warn!(target: "rfd::backend::xdg_desktop_portal", "using zenity")).1);
        assert!(!ear::heard(|| ()).1);
    }
}
