//! Asking for paths: what is asked, and how the answer comes back. Behind a trait, so that tests can answer.
//!
//! [`system`] shows the system's own dialogs; where it has none, the window's [`picker`](super::picker) takes over.

mod system;

use std::path::PathBuf;

use crate::export::Format;

pub use system::SystemDialogs;

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
    /// Choose a folder of images that calibrate a repair.
    Calibration,
    /// Choose a file that names their classes.
    Labels,
    /// Save a picture of the charts.
    Chart,
    /// Open a recipe.
    Recipe,
    /// Save a recipe.
    SaveRecipe,
    /// Choose a file of scores or masks.
    Scores,
}

/// What kind of path answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A file that is there.
    File,
    /// A file that is to be written.
    NewFile,
    /// A folder, or one file that holds as much.
    FolderOrFile,
}

impl Purpose {
    /// What its files are called, and their extensions without the dot.
    pub(super) fn filter(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Open | Self::Save(Format::Onnx) => ("ONNX model", &["onnx"]),
            Self::Save(Format::Safetensors(_)) => ("safetensors", &["safetensors"]),
            Self::Save(Format::Burnpack) => ("Burn weights", &["bpk"]),
            Self::Save(Format::RustSource) => ("Rust source", &["rs"]),
            Self::Table | Self::Scan => ("CSV table", &["csv"]),
            Self::Images | Self::Calibration => ("Images", &["npz", "npy"]),
            Self::Labels => ("Labels", &["txt", "json", "csv", "tsv"]),
            Self::Chart => ("PNG picture", &["png"]),
            Self::Recipe | Self::SaveRecipe => ("Recipe", &["toml"]),
            Self::Scores => ("Scores or masks", &["npz", "npy", "safetensors"]),
        }
    }

    /// Extension that its files have, without the dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        self.filter().1[0]
    }

    /// What a dialog says that it is for.
    pub(super) fn title(self) -> String {
        match self {
            Self::Open => "Open a model".to_owned(),
            Self::Images => "Choose a folder of images, or an array of them".to_owned(),
            Self::Calibration => "Choose images that calibrate, a folder or an array of them".to_owned(),
            Self::Labels => "Choose a file that names the classes".to_owned(),
            Self::Recipe => "Open a recipe".to_owned(),
            Self::Scores => "Choose a file of scores or masks".to_owned(),
            Self::Save(_) | Self::Table | Self::Scan | Self::Chart | Self::SaveRecipe => format!("Save as {}", self.filter().0),
        }
    }

    pub(super) fn kind(self) -> Wanted {
        match self {
            Self::Open | Self::Labels | Self::Recipe | Self::Scores => Wanted::File,
            Self::Images | Self::Calibration => Wanted::FolderOrFile,
            Self::Save(_) | Self::Table | Self::Scan | Self::Chart | Self::SaveRecipe => Wanted::NewFile,
        }
    }
}

/// A path that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileQuestion {
    /// What for.
    pub purpose: Purpose,
    /// Where to begin, where that is known.
    pub folder: Option<PathBuf>,
    /// Name that is proposed for a file that is saved.
    pub name: String,
}

/// What came of a [`FileQuestion`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// This path.
    Chosen(Purpose, PathBuf),
    /// The dialog could not be shown: ask in another way.
    Unavailable(FileQuestion),
    /// The dialog ended without a path, and whether a person saw it is not known.
    Nothing,
}

/// Asks for paths. Never blocks: the reply comes later.
pub trait FileDialogs {
    /// Asks for a path.
    fn ask(&mut self, request: FileQuestion);
    /// A reply, where there is one. A dialog that a person is known to have closed without an answer gives none.
    fn poll(&mut self) -> Option<Reply>;
}
