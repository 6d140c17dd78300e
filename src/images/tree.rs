//! A folder, gone through once: its pictures, its folders, and everything else with the reason why it is no picture.
//!
//! What lies there itself comes first, then what links lead to, so that nothing is counted twice and no circle is followed. The
//! going through is `walkdir`'s; its own way of following links stops at circles only, and counts what two links lead to twice.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::error::ImagesError;
use super::inventory::{Reason, ReasonCounts};

/// Names of pictures end so.
const ENDINGS: [&str; 8] = ["png", "jpg", "jpeg", "jpe", "jfif", "webp", "bmp", "dib"];
/// Pictures that are not read end so.
const OTHER_ENDINGS: [&str; 38] = [
    "gif", "tif", "tiff", "heic", "heif", "avif", "jp2", "j2k", "jpf", "jpx", "jxl", "jxr", "svg", "ico", "psd", "xcf", "ppm", "pgm",
    "pbm", "pnm", "pfm", "tga", "exr", "hdr", "qoi", "pcx", "dds", "raw", "dng", "cr2", "cr3", "nef", "arw", "orf", "rw2", "apng", "dcm",
    "fits",
];
/// What systems and programs leave in folders, besides names that begin with a dot; in small letters.
const SYSTEM_NAMES: [&str; 22] = [
    "__macosx",
    "thumbs.db",
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "desktop.ini",
    "icon\r",
    "@eadir",
    "@tmp",
    "@recycle",
    "@__thumb",
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "system volume information",
    "found.000",
    "lost+found",
    "__pycache__",
    "network trash folder",
    "temporary items",
    "thumbs.db:encryptable",
    "folder.htt",
    "lost.dir",
];
/// More than this is no folder of pictures but a whole disk.
const MAX_ENTRIES: usize = 4_000_000;

/// A picture, not yet looked into.
#[derive(Debug)]
pub(super) struct Listed {
    /// Where it is opened.
    pub(super) path: PathBuf,
    /// Where it lies below the folder, by way of links where there are any.
    pub(super) relative: PathBuf,
}

/// What lies in a folder.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Sorted by where they lie: files of a folder before the folders in it.
    pub(super) pictures: Vec<Listed>,
    /// All folders that are not hidden, below the folder.
    pub(super) folders: BTreeSet<PathBuf>,
    /// Why the rest is none.
    pub(super) left_out: ReasonCounts,
    /// Pictures and the rest.
    pub(super) entries: usize,
}

/// What going through needs to know of what it has seen.
#[derive(Default)]
struct Traversal {
    tree: Tree,
    /// Where pictures really lie, and folders.
    seen: HashSet<PathBuf>,
    links: VecDeque<Listed>,
    labels: Option<PathBuf>,
}

impl Tree {
    /// Goes through the folder `root`; `labels` is a file that is no rest.
    ///
    /// # Errors
    /// [`ImagesError::Read`] where the folder itself cannot be read, [`ImagesError::TooMuch`]
    pub(super) fn of(root: &Path, labels: Option<&Path>) -> Result<Self, ImagesError> {
        let unread = |source| ImagesError::Read { source, path: root.to_owned() };
        let real = root.canonicalize().map_err(unread)?;
        std::fs::read_dir(root).map_err(unread)?;
        let mut walk = Traversal { labels: labels.and_then(|file| file.canonicalize().ok()), ..Traversal::default() };
        // A link to the folder is the folder.
        walk.folder(if root.is_symlink() { &real } else { root }, &real, Path::new(""))?;
        // What links lead to, in the order of their names; what they lead to can hold links in turn.
        walk.links.make_contiguous().sort_by(|a, b| a.relative.cmp(&b.relative));
        while let Some(link) = walk.links.pop_front() {
            walk.link(link, &real)?;
        }
        let mut tree = walk.tree;
        let key = |listed: &Listed| {
            let folder = listed.relative.parent().map(Path::to_owned).unwrap_or_default();
            (folder, listed.relative.clone())
        };
        tree.pictures.sort_by_cached_key(key);
        Ok(tree)
    }
}

impl Traversal {
    /// Everything below `path`, which lies at `relative` below the root and really at `real`. Links are put off.
    fn folder(&mut self, path: &Path, real: &Path, relative: &Path) -> Result<(), ImagesError> {
        for entry in WalkDir::new(path).sort_by_file_name() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let below = error.path().and_then(|p| p.strip_prefix(path).ok()).unwrap_or(Path::new(""));
                    self.leave(Reason::Unreadable, &relative.join(below))?;
                    continue;
                }
            };
            let Ok(below) = entry.path().strip_prefix(path) else { continue };
            let listed = Listed {
                path: entry.path().to_owned(),
                relative: if below == Path::new("") { relative.to_owned() } else { relative.join(below) },
            };
            let is_hidden = listed.relative.iter().any(is_hidden);
            let kind = entry.file_type();
            if kind.is_dir() {
                if !is_hidden && listed.relative != Path::new("") {
                    self.tree.folders.insert(listed.relative);
                }
                if !is_hidden {
                    self.seen.insert(real.join(below));
                }
            } else if is_hidden {
                self.leave(Reason::Hidden, &listed.relative)?;
            } else if kind.is_symlink() && entry.depth() > 0 {
                self.links.push_back(listed);
            } else if kind.is_file() {
                self.file(listed, real.join(below))?;
            } else {
                self.leave(Reason::Special, &listed.relative)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, listed: Listed, real: PathBuf) -> Result<(), ImagesError> {
        if !is_picture(&listed.relative) {
            let reason = match () {
                () if self.labels.as_ref() == Some(&real) => Reason::Labels,
                () if has_ending(&listed.relative, &OTHER_ENDINGS) => Reason::Format,
                () => Reason::NoPicture,
            };
            return self.leave(reason, &listed.relative);
        }
        if !self.seen.insert(real) {
            return self.leave(Reason::LinkAgain, &listed.relative);
        }
        self.tree.pictures.push(listed);
        self.one_more()
    }

    fn link(&mut self, link: Listed, root: &Path) -> Result<(), ImagesError> {
        let Ok(real) = link.path.canonicalize() else { return self.leave(Reason::LinkNowhere, &link.relative) };
        let Ok(metadata) = std::fs::metadata(&real) else { return self.leave(Reason::LinkNowhere, &link.relative) };
        if metadata.is_file() {
            return self.file(link, real);
        }
        if !metadata.is_dir() {
            return self.leave(Reason::Special, &link.relative);
        }
        let home = link.path.parent().and_then(|folder| folder.canonicalize().ok()).unwrap_or_default();
        if home.starts_with(&real) || root.starts_with(&real) {
            return self.leave(Reason::LinkUp, &link.relative);
        }
        if self.seen.contains(&real) {
            return self.leave(Reason::LinkAgain, &link.relative);
        }
        self.folder(&real, &real, &link.relative)
    }

    fn leave(&mut self, reason: Reason, relative: &Path) -> Result<(), ImagesError> {
        self.tree.left_out.add(reason, relative);
        self.one_more()
    }

    fn one_more(&mut self) -> Result<(), ImagesError> {
        self.tree.entries += 1;
        if self.tree.entries > MAX_ENTRIES { Err(ImagesError::TooMuch { limit: MAX_ENTRIES }) } else { Ok(()) }
    }
}

/// Whether a name is hidden, or one that systems and programs leave behind.
fn is_hidden(name: &OsStr) -> bool {
    let name = name.to_string_lossy().to_lowercase();
    name.starts_with('.') || SYSTEM_NAMES.contains(&name.as_str())
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    path.extension().is_some_and(|e| endings.iter().any(|&known| e.eq_ignore_ascii_case(known)))
}

/// By the end of its name.
pub(super) fn is_picture(path: &Path) -> bool {
    has_ending(path, &ENDINGS)
}

/// By the end of its name.
pub(super) fn is_array(path: &Path) -> bool {
    has_ending(path, &["npy", "npz"])
}
