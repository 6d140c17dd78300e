//! What was found in a folder of pictures and what was left out of it, so that both add up to everything that lies there.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// Why something that lies in the folder is no image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A picture beside the folders that are the classes.
    BesideFolders,
    /// A picture in a folder beside pictures that lie flat.
    BesidePictures,
    /// A picture of a kind that is not read.
    Format,
    /// No picture, by its name.
    NoPicture,
    /// Hidden, in a hidden folder, or left there by a system or a program.
    Hidden,
    /// A link to a folder that it lies in.
    LinkUp,
    /// A link to what is counted where it lies.
    LinkAgain,
    /// A link to nothing.
    LinkNowhere,
    /// Neither file nor folder nor link.
    Special,
    /// A folder that cannot be read.
    Unreadable,
    /// The file that names the labels.
    Labels,
}

/// Some that were left out for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Why.
    pub reason: Reason,
    /// What their names end in, in small letters, where that is the reason.
    pub extension: Option<String>,
    /// How many.
    pub number: usize,
    /// The first of them, below the folder.
    pub example: String,
}

/// What lies in a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Everything that is no folder, links included that are not followed: images and what was left out, together.
    pub entries: usize,
    /// What was left out, by reason.
    pub left_out: Vec<LeftOut>,
    /// Folders that would be classes if a picture were in them.
    pub without_pictures: Vec<String>,
    /// The folder that the classes lie in, where it is not the one that was opened.
    pub inside: Option<String>,
}

/// How many names are told.
const NAMED: usize = 5;

impl Inventory {
    /// Whether everything that lies there is an image of a class, or the labels' file.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.left_out.iter().all(|l| l.reason == Reason::Labels) && self.without_pictures.is_empty() && self.inside.is_none()
    }

    /// Sentences for a person; none where there is nothing to tell.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.inside.iter().map(|name| format!("The classes are the folders in “{name}”")).collect();
        lines.extend(self.left_out.iter().filter(|l| l.reason != Reason::Labels).map(|left| format!("Left out: {left}")));
        if !self.without_pictures.is_empty() {
            lines.push(format!("No classes, because they hold no picture: {}", listed(&self.without_pictures)));
        }
        lines
    }
}

/// Names, the first of many.
pub(super) fn listed(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let first = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}

impl Reason {
    /// As JSON has it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::BesideFolders => "beside class folders",
            Self::BesidePictures => "in a folder beside pictures",
            Self::Format => "format not read",
            Self::NoPicture => "no picture",
            Self::Hidden => "hidden or system",
            Self::LinkUp => "link leads back up",
            Self::LinkAgain => "link to what is counted",
            Self::LinkNowhere => "link to nothing",
            Self::Special => "neither file nor folder",
            Self::Unreadable => "folder cannot be read",
            Self::Labels => "labels",
        }
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.number;
        let by_number = |one: &'static str, many: &'static str| if n == 1 { one } else { many };
        let kind = match self.extension.as_deref() {
            None | Some("") => by_number("file without an ending", "files without an ending").to_owned(),
            Some(extension) => format!(".{extension}"),
        };
        match self.reason {
            Reason::BesideFolders => write!(f, "{n} {} beside the folders that are the classes", by_number("picture", "pictures")),
            Reason::BesidePictures => write!(f, "{n} {} in a folder beside the others", by_number("picture", "pictures")),
            Reason::Format => write!(f, "{n} {kind}, a kind of picture that is not read (PNG, JPEG, WebP and BMP are)"),
            Reason::NoPicture => write!(f, "{n} {kind}, no {}", by_number("picture", "pictures")),
            Reason::Hidden => write!(f, "{n} hidden {}, or left by a system", by_number("file", "files")),
            Reason::LinkUp => write!(f, "{n} {} to a folder that {} in", by_number("link", "links"), by_number("it lies", "they lie")),
            Reason::LinkAgain => write!(f, "{n} {} to what is counted already", by_number("link", "links")),
            Reason::LinkNowhere => write!(f, "{n} {} to nothing", by_number("link", "links")),
            Reason::Special => write!(f, "{n} that {} neither file nor folder", by_number("is", "are")),
            Reason::Unreadable => write!(f, "{n} {} that cannot be read", by_number("folder", "folders")),
            Reason::Labels => write!(f, "{n} file of labels"),
        }?;
        write!(f, ": {}{}", self.example, by_number("", " and others"))
    }
}

/// Counts what is left out.
#[derive(Debug, Default)]
pub(super) struct ReasonCounts(BTreeMap<(Reason, Option<String>), (usize, String)>);

impl ReasonCounts {
    /// One more, at `relative` below the folder.
    pub(super) fn add(&mut self, reason: Reason, relative: &Path) {
        let extension = matches!(reason, Reason::Format | Reason::NoPicture)
            .then(|| relative.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default());
        self.0.entry((reason, extension)).or_insert_with(|| (0, slashed(relative))).0 += 1;
    }

    pub(super) fn into_list(self) -> Vec<LeftOut> {
        let left = |((reason, extension), (number, example))| LeftOut { reason, extension, number, example };
        self.0.into_iter().map(left).collect()
    }
}

/// A path below the folder as it is told, the same on every system.
pub(super) fn slashed(relative: &Path) -> String {
    relative.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}
