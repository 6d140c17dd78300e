//! Reading folders away from the window's thread: a folder on a sleeping disk or a network holds nothing up but its own list.

use std::ffi::OsString;
use std::fs::{self, DirEntry};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

/// Entries that are listed; what lies beyond them can still be typed.
const MAX_ENTRIES: usize = 20_000;
/// Folders under one's own where people keep models and pictures, by the names that they have in English.
const OWN_FOLDERS: [&str; 4] = ["Desktop", "Documents", "Downloads", "Pictures"];

/// Something in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::app) struct FolderEntry {
    pub name: OsString,
    /// The name as text, with marks for what is no text.
    pub text: String,
    /// Of links, what they lead to.
    pub is_folder: bool,
    /// Bytes of a file, once that is known.
    pub size: Option<u64>,
}

/// What is known of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::app) enum Contents {
    /// It is being read.
    Reading,
    /// Folders first, then files, each by name; `is_whole` where nothing was left out.
    Read { entries: Vec<FolderEntry>, is_whole: bool },
    /// Why it cannot be read.
    Failed { why: String, is_missing: bool },
}

/// A folder that one click leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::app) struct Shortcut {
    pub label: String,
    pub path: PathBuf,
}

/// What was found out.
#[derive(Debug)]
pub(in crate::app) enum News {
    /// What lies in a folder.
    Folder(PathBuf, Contents),
    /// Places that are there.
    Places(Vec<Shortcut>),
}

/// Reads what is asked for last.
pub(in crate::app) struct Folders {
    /// Number of the latest question; a thread that works on an earlier one gives up.
    latest: Arc<AtomicU64>,
    sender: Sender<(u64, News)>,
    news: Receiver<(u64, News)>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl Folders {
    /// `wake` is called, from another thread, when there is news.
    pub(in crate::app) fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        let (sender, news) = channel();
        Self { latest: Arc::default(), sender, news, wake: Arc::new(wake) }
    }

    /// Reads `folder`; with `creates` it is made before.
    pub(in crate::app) fn read(&self, folder: PathBuf, creates: bool) {
        let number = self.latest.fetch_add(1, Ordering::Relaxed) + 1;
        let (latest, sender, wake) = (self.latest.clone(), self.sender.clone(), self.wake.clone());
        let failed = News::Folder(folder.clone(), failure(&io::Error::from(ErrorKind::ResourceBusy)));
        let work = move || {
            let is_wanted = || latest.load(Ordering::Relaxed) == number;
            let tell = |contents| {
                let _ = sender.send((number, News::Folder(folder.clone(), contents)));
                wake();
            };
            let read =
                if creates { fs::create_dir_all(&folder).and_then(|()| list(&folder, &is_wanted)) } else { list(&folder, &is_wanted) };
            match read {
                Ok((entries, is_whole)) => {
                    tell(Contents::Read { entries: entries.clone(), is_whole });
                    // Sizes ask the disk once more for every file; names come first.
                    if let Some(entries) = weighed(&folder, entries, &is_wanted) {
                        tell(Contents::Read { entries, is_whole });
                    }
                }
                Err(e) => tell(failure(&e)),
            }
        };
        if std::thread::Builder::new().name("folder".into()).spawn(work).is_err() {
            let _ = self.sender.send((number, failed));
        }
    }

    /// Looks which usual places there are.
    pub(in crate::app) fn find_places(&self) {
        let (sender, wake) = (self.sender.clone(), self.wake.clone());
        let work = move || {
            let _ = sender.send((0, News::Places(places())));
            wake();
        };
        // Without a thread there are no places, and paths can still be typed.
        let _ = std::thread::Builder::new().name("places".into()).spawn(work);
    }

    /// The next news that is still wanted.
    pub(in crate::app) fn poll(&self) -> Option<News> {
        let latest = self.latest.load(Ordering::Relaxed);
        self.news.try_iter().find(|(number, news)| *number == latest || matches!(news, News::Places(_))).map(|(_, news)| news)
    }
}

/// What is in `folder`, and whether that is all. Ends early when nobody wants it any more.
fn list(folder: &Path, is_wanted: &dyn Fn() -> bool) -> io::Result<(Vec<FolderEntry>, bool)> {
    let mut entries = Vec::new();
    let mut is_whole = true;
    for found in fs::read_dir(folder)? {
        if entries.len() == MAX_ENTRIES || !is_wanted() {
            is_whole = false;
            break;
        }
        entries.push(entry(&found?));
    }
    entries.sort_by_cached_key(|entry: &FolderEntry| (!entry.is_folder, entry.text.to_lowercase(), entry.name.clone()));
    Ok((entries, is_whole))
}

fn entry(found: &DirEntry) -> FolderEntry {
    let name = found.file_name();
    let kind = found.file_type().ok();
    let is_folder = match kind {
        Some(kind) if kind.is_symlink() => fs::metadata(found.path()).is_ok_and(|m| m.is_dir()),
        kind => kind.is_some_and(|k| k.is_dir()),
    };
    FolderEntry { text: name.to_string_lossy().into_owned(), name, is_folder, size: None }
}

/// The entries with the sizes of files, or `None` when nobody wants them any more.
fn weighed(folder: &Path, mut entries: Vec<FolderEntry>, is_wanted: &dyn Fn() -> bool) -> Option<Vec<FolderEntry>> {
    for entry in entries.iter_mut().filter(|e| !e.is_folder) {
        if !is_wanted() {
            return None;
        }
        entry.size = fs::metadata(folder.join(&entry.name)).ok().map(|m| m.len());
    }
    Some(entries)
}

fn failure(error: &io::Error) -> Contents {
    let why = match error.kind() {
        ErrorKind::NotFound => "There is no folder of that name".to_owned(),
        ErrorKind::NotADirectory => "That is a file, not a folder".to_owned(),
        ErrorKind::PermissionDenied => "You may not read this folder".to_owned(),
        _ => format!("This folder cannot be read: {error}"),
    };
    Contents::Failed { why, is_missing: error.kind() == ErrorKind::NotFound }
}

fn places() -> Vec<Shortcut> {
    let mut places = Vec::new();
    let mut add = |label: &str, path: PathBuf| {
        if path.is_dir() && places.iter().all(|p: &Shortcut| p.path != path) {
            places.push(Shortcut { label: label.to_owned(), path });
        }
    };
    if let Some(home) = std::env::home_dir().filter(|home| home.is_absolute()) {
        add("Home", home.clone());
        for name in OWN_FOLDERS {
            add(name, home.join(name));
        }
    }
    if let Ok(folder) = std::env::current_dir() {
        add("Working folder", folder.clone());
        if let Some(root) = folder.ancestors().last() {
            add("Computer", root.to_owned());
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn next(folders: &Folders) -> News {
        let start = Instant::now();
        loop {
            if let Some(news) = folders.poll() {
                return news;
            }
            assert!(start.elapsed() < Duration::from_mins(1), "nothing was read");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn names(contents: &Contents) -> Vec<(&str, bool, Option<u64>)> {
        let Contents::Read { entries, is_whole: true } = contents else { panic!("{contents:?}") };
        entries.iter().map(|e| (e.text.as_str(), e.is_folder, e.size)).collect()
    }

    #[test]
    fn names_come_first_and_sizes_after_them() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("b.onnx"), [0; 12]).unwrap();
        fs::write(folder.path().join("A.txt"), "").unwrap();
        fs::create_dir(folder.path().join("z")).unwrap();
        let folders = Folders::new(|| ());
        folders.read(folder.path().to_owned(), false);
        let News::Folder(path, contents) = next(&folders) else { panic!() };
        assert_eq!(path, folder.path());
        assert_eq!(names(&contents), [("z", true, None), ("A.txt", false, None), ("b.onnx", false, None)]);
        let News::Folder(_, contents) = next(&folders) else { panic!() };
        assert_eq!(names(&contents), [("z", true, None), ("A.txt", false, Some(0)), ("b.onnx", false, Some(12))]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_what_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", folder.path().join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("loose")).unwrap();
        let (entries, _) = list(folder.path(), &|| true).unwrap();
        let found: Vec<_> = entries.iter().map(|e| (e.text.as_str(), e.is_folder)).collect();
        assert_eq!(found, [("link", true), ("real", true), ("loose", false)]);
    }

    #[test]
    fn a_folder_that_is_not_there_can_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b");
        let folders = Folders::new(|| ());
        folders.read(deep.clone(), false);
        assert!(matches!(next(&folders), News::Folder(_, Contents::Failed { is_missing: true, .. })));
        folders.read(deep.clone(), true);
        let News::Folder(_, contents) = next(&folders) else { panic!() };
        assert!(names(&contents).is_empty() && deep.is_dir());
        fs::write(deep.join("file"), "").unwrap();
        folders.read(deep.join("file"), false);
        assert!(loop {
            match next(&folders) {
                News::Folder(path, Contents::Failed { is_missing, .. }) if path.ends_with("file") => break !is_missing,
                _ => {}
            }
        });
    }

    #[test]
    fn only_what_was_asked_for_last_is_told() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folders = Folders::new(|| ());
        folders.read(first.path().to_owned(), false);
        folders.read(second.path().to_owned(), false);
        // Names, and sizes after them.
        for _ in 0..2 {
            let News::Folder(path, _) = next(&folders) else { panic!() };
            assert_eq!(path, second.path());
        }
        assert!(folders.poll().is_none());
    }
}
