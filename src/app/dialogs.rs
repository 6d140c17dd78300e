//! The system's file dialogs, behind a trait so that tests can answer them.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::export::Format;

/// What a path is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Open a model.
    Open,
    /// Save the model.
    Save(Format),
    /// Save the table.
    Table,
    /// Save the scan.
    Scan,
    /// Choose a folder of images.
    Images,
    /// Choose a file that names their classes.
    Labels,
    /// Save a picture of the charts.
    Chart,
}

impl Purpose {
    fn filter(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Open | Self::Save(Format::Onnx) => ("ONNX model", &["onnx"]),
            Self::Save(Format::Safetensors(_)) => ("safetensors", &["safetensors"]),
            Self::Save(Format::Burnpack) => ("Burn weights", &["bpk"]),
            Self::Save(Format::RustSource) => ("Rust source", &["rs"]),
            Self::Table | Self::Scan => ("CSV table", &["csv"]),
            Self::Images => ("Images", &["npz", "npy"]),
            Self::Labels => ("Labels", &["txt", "json", "csv", "tsv"]),
            Self::Chart => ("PNG picture", &["png"]),
        }
    }

    /// Extension that its files have, without the dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        self.filter().1[0]
    }
}

/// Asks for paths. Never blocks: the answer comes later.
pub trait FileDialogs {
    /// Asks for a path, proposing `name` where a file is saved, in `folder` where there is one.
    fn ask(&mut self, purpose: Purpose, folder: Option<PathBuf>, name: &str);
    /// An answer, where there is one. A dialog that was closed without an answer gives none.
    fn poll(&mut self) -> Option<(Purpose, PathBuf)>;
}

/// The system's own.
pub struct SystemDialogs {
    sender: Sender<(Purpose, PathBuf)>,
    answers: Receiver<(Purpose, PathBuf)>,
    wake: Box<dyn Fn() -> Box<dyn FnOnce() + Send>>,
}

impl SystemDialogs {
    /// `wake` makes what is called when an answer has come.
    #[must_use]
    pub fn new(wake: impl Fn() -> Box<dyn FnOnce() + Send> + 'static) -> Self {
        let (sender, answers) = channel();
        Self { sender, answers, wake: Box::new(wake) }
    }
}

impl FileDialogs for SystemDialogs {
    fn ask(&mut self, purpose: Purpose, folder: Option<PathBuf>, name: &str) {
        let (kind, extensions) = purpose.filter();
        let mut dialog = rfd::AsyncFileDialog::new().add_filter(kind, extensions);
        if let Some(folder) = folder {
            dialog = dialog.set_directory(folder);
        }
        // Made here, because macOS wants that on the main thread; waited for elsewhere.
        let answer: std::pin::Pin<Box<dyn Future<Output = Option<rfd::FileHandle>> + Send>> = match purpose {
            Purpose::Open | Purpose::Labels => Box::pin(dialog.pick_file()),
            Purpose::Images => Box::pin(dialog.pick_folder()),
            _ => Box::pin(dialog.set_file_name(name).save_file()),
        };
        let (sender, wake) = (self.sender.clone(), (self.wake)());
        let wait = move || {
            if let Some(file) = pollster::block_on(answer) {
                let _ = sender.send((purpose, file.path().to_owned()));
                wake();
            }
        };
        // Without a thread there is no dialog; the button can be pressed again.
        let _ = std::thread::Builder::new().name("file-dialog".into()).spawn(wait);
    }

    fn poll(&mut self) -> Option<(Purpose, PathBuf)> {
        self.answers.try_recv().ok()
    }
}
