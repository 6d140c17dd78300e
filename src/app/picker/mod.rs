//! A file dialog of the window's own, for systems that have none: what is typed, what is listed, and what a key does to both, as
//! plain data. [`ui`] draws it and [`folder`] reads folders.
//!
//! One field holds the whole path. What stands behind its last separator narrows the list; Tab completes it, the arrows move
//! through the list, Enter goes into a folder or takes a file. No dialog crate is used: `egui-file-dialog` 0.15 is made for an egui
//! before this one, reads folders on the thread that draws, and has no field that completes.

mod folder;
mod path;
#[cfg(test)]
mod tests;
mod ui;

use std::path::{MAIN_SEPARATOR, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::dialogs::{FileQuestion, Purpose, Wanted};
use super::text;

use folder::{Contents, FolderEntry, Shortcut};
pub(super) use folder::{Folders, News};
pub(super) use ui::show;

/// Rows that Page Up and Page Down go over.
const PAGE: isize = 10;

/// Something that a person does to the dialog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// Other text in the field.
    Type(String),
    /// Tab.
    Complete,
    /// Arrows: so many rows down.
    Move(isize),
    /// A click on a row.
    Highlight(usize),
    /// A second click on it.
    Enter(usize),
    /// The Enter key.
    Accept,
    /// The button that takes what is chosen, a folder too where one is asked for.
    Take,
    /// The folder above.
    Up,
    /// A place.
    Go(PathBuf),
    /// All files, hidden ones too, or those of the right kind.
    ShowAll(bool),
    /// Make the folder that is not there.
    CreateFolder,
    /// Close without an answer.
    Cancel,
}

/// What has to be done about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FollowUp {
    /// Nothing.
    None,
    /// A folder is to be read.
    Read(PathBuf),
    /// A folder is to be made and read.
    Create(PathBuf),
    /// The dialog is over, with this path.
    Chosen(PathBuf),
    /// The dialog is over.
    Cancelled,
}

/// Where the caret goes when the program has written into the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caret {
    End,
    /// A file's name is marked as far as its extension, to be typed over.
    Stem,
}

/// A key that came before the folder was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EarlyKey {
    Accept,
    Complete,
}

/// The dialog.
#[derive(Debug)]
pub(super) struct Picker {
    purpose: Purpose,
    /// Where a path that is typed without its beginning begins.
    base: PathBuf,
    /// The folder that is listed, exactly; `folder_text` stands for it in the field.
    folder: PathBuf,
    folder_text: String,
    /// What stands behind the last separator.
    name: String,
    contents: Contents,
    /// The entries on screen.
    rows: Vec<usize>,
    highlighted: Option<usize>,
    shows_all: bool,
    places: Vec<Shortcut>,
    complaint: Option<String>,
    /// Whether it says why it is there.
    explains: bool,
    /// What is to be done once the folder is read.
    waiting: Option<EarlyKey>,
    /// Tab found nothing to write and nothing has been done since.
    is_completed: bool,
    /// Another one whenever the program has written into the field.
    revision: u64,
    caret: Caret,
    /// Another one whenever keys have moved the highlight, which is then scrolled to.
    moves: u64,
}

impl Picker {
    /// Opened for `request`: in its folder, in the one used last or at home. `recent` are folders used before, the latest first; they
    /// are places. What follows is that the folder is read.
    pub(super) fn open(request: FileQuestion, recent: &[PathBuf], explains: bool) -> (Self, FollowUp) {
        let home = || std::env::home_dir().filter(|home| home.is_absolute());
        let start = request.folder.or_else(|| recent.first().cloned()).or_else(home);
        let start = start.and_then(|start| std::path::absolute(start).ok()).unwrap_or_else(|| MAIN_SEPARATOR.to_string().into());
        let place =
            |path: &PathBuf| Shortcut { label: path.file_name().unwrap_or_default().to_string_lossy().into_owned(), path: path.clone() };
        let mut picker = Self {
            purpose: request.purpose,
            base: start.clone(),
            folder: start.clone(),
            folder_text: String::new(),
            name: String::new(),
            contents: Contents::Reading,
            rows: Vec::new(),
            highlighted: None,
            shows_all: false,
            places: recent.iter().filter(|path| path.file_name().is_some()).map(place).collect(),
            complaint: None,
            explains,
            waiting: None,
            is_completed: false,
            revision: stamp(),
            caret: Caret::End,
            moves: stamp(),
        };
        let follow_up = picker.go(start);
        if request.purpose.kind() == Wanted::NewFile {
            picker.write(request.name, Caret::Stem);
        }
        (picker, follow_up)
    }

    pub(super) fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The folder that is listed.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the field holds.
    fn text(&self) -> String {
        format!("{}{}", self.folder_text, self.name)
    }

    fn entry(&self, row: usize) -> Option<&FolderEntry> {
        let Contents::Read { entries, .. } = &self.contents else { return None };
        entries.get(*self.rows.get(row)?)
    }

    /// Takes in what was found out. What follows is that of an Enter or Tab that came before it.
    pub(super) fn take(&mut self, news: News) -> FollowUp {
        match news {
            News::Places(mut places) => {
                places.append(&mut self.places);
                let mut known: Vec<PathBuf> = Vec::new();
                places.retain(|place| {
                    let is_new = !known.contains(&place.path);
                    known.push(place.path.clone());
                    is_new
                });
                self.places = places;
            }
            News::Folder(folder, contents) if folder == self.folder => {
                // Sizes that come after names leave the highlight where it is.
                let is_first = self.contents == Contents::Reading;
                self.contents = contents;
                self.list();
                if is_first {
                    self.highlight_first();
                }
                match self.waiting.take() {
                    Some(EarlyKey::Accept) => return self.accept(),
                    Some(EarlyKey::Complete) => return self.complete(),
                    None => {}
                }
            }
            News::Folder(..) => {}
        }
        FollowUp::None
    }

    /// Does what a person does.
    pub(super) fn act(&mut self, act: Act) -> FollowUp {
        self.complaint = None;
        self.waiting = None;
        self.is_completed = false;
        match act {
            Act::Type(text) => return self.typed(&text),
            Act::Complete => return self.complete(),
            Act::Move(rows) => self.move_highlight(rows),
            Act::Highlight(row) => self.highlight(row),
            Act::Enter(row) => {
                self.highlight(row);
                return self.accept();
            }
            Act::Accept => return self.accept(),
            Act::Take => return self.take_path(),
            Act::Up => {
                if let Some(above) = self.folder.parent().map(Path::to_owned) {
                    return self.go(above);
                }
            }
            Act::Go(folder) => return self.go(folder),
            Act::ShowAll(on) => {
                self.shows_all = on;
                self.list();
                self.highlight_first();
            }
            Act::CreateFolder => {
                self.contents = Contents::Reading;
                return FollowUp::Create(self.folder.clone());
            }
            Act::Cancel => return FollowUp::Cancelled,
        }
        FollowUp::None
    }

    /// Goes into a folder. The name of a file that is saved goes with it.
    fn go(&mut self, folder: PathBuf) -> FollowUp {
        let name = if self.purpose.kind() == Wanted::NewFile { std::mem::take(&mut self.name) } else { String::new() };
        self.folder_text = path::with_separator(&folder);
        self.write(name, Caret::Stem);
        self.read(folder)
    }

    fn read(&mut self, folder: PathBuf) -> FollowUp {
        self.folder.clone_from(&folder);
        self.contents = Contents::Reading;
        self.list();
        self.highlighted = None;
        FollowUp::Read(folder)
    }

    /// Writes behind the last separator.
    fn write(&mut self, name: String, caret: Caret) {
        self.name = name;
        self.mark(caret);
    }

    fn mark(&mut self, caret: Caret) {
        self.caret = caret;
        self.revision = stamp();
    }

    fn typed(&mut self, text: &str) -> FollowUp {
        let anew = path::begun_anew(&self.folder_text, text);
        if anew.is_some() {
            self.mark(Caret::End);
        }
        let (folder, name) = path::split(anew.unwrap_or(text));
        name.clone_into(&mut self.name);
        if folder != self.folder_text {
            folder.clone_into(&mut self.folder_text);
            let folder = path::resolved(&self.base, folder);
            if folder != self.folder {
                return self.read(folder);
            }
        }
        self.list();
        self.highlight_first();
        FollowUp::None
    }

    /// Whether an entry is of the right kind.
    fn is_offered(&self, entry: &FolderEntry) -> bool {
        let is_hidden = entry.text.starts_with('.') && !self.name.starts_with('.');
        let extension = Path::new(&entry.name).extension().unwrap_or_default();
        let is_right = || self.purpose.filter().1.iter().any(|wanted| extension.eq_ignore_ascii_case(wanted));
        self.shows_all || !is_hidden && (entry.is_folder || is_right())
    }

    /// Fills the rows: what begins with the name, then what holds it; of a file that is saved the name says nothing yet.
    fn list(&mut self) {
        self.highlighted = self.highlighted.filter(|_| self.contents != Contents::Reading);
        let needle = if self.purpose.kind() == Wanted::NewFile { String::new() } else { self.name.to_lowercase() };
        let Contents::Read { entries, .. } = &self.contents else {
            self.rows.clear();
            return;
        };
        let (mut rows, mut behind) = (Vec::new(), Vec::new());
        for (i, entry) in entries.iter().enumerate().filter(|(_, entry)| self.is_offered(entry)) {
            match entry.text.to_lowercase().find(&needle) {
                Some(0) => rows.push(i),
                Some(_) => behind.push(i),
                None => {}
            }
        }
        rows.append(&mut behind);
        self.rows = rows;
    }

    /// While a name is typed, Enter takes what is called so, or else the first that fits.
    fn highlight_first(&mut self) {
        self.moves = stamp();
        self.highlighted = None;
        let Contents::Read { entries, .. } = &self.contents else { return };
        if self.purpose.kind() != Wanted::NewFile && !self.name.is_empty() && !self.rows.is_empty() {
            self.highlighted = match entries.iter().position(|entry| entry.text == self.name) {
                // One that is not listed has been typed in full all the same.
                Some(named) => self.rows.iter().position(|entry| *entry == named),
                None => Some(0),
            };
        }
    }

    fn move_highlight(&mut self, rows: isize) {
        let Some(last) = self.rows.len().checked_sub(1) else { return };
        let row = match self.highlighted {
            None if rows > 0 => 0,
            None => last,
            Some(row) => row.saturating_add_signed(rows).min(last),
        };
        self.highlight(row);
        self.moves = stamp();
    }

    /// The name of a file that may be replaced goes into the field.
    fn highlight(&mut self, row: usize) {
        self.highlighted = Some(row).filter(|row| *row < self.rows.len());
        if self.purpose.kind() == Wanted::NewFile
            && let Some(name) = self.entry(row).filter(|entry| !entry.is_folder).map(|entry| entry.text.clone())
        {
            self.write(name, Caret::Stem);
        }
    }

    /// What Enter does: into a folder, or out with a file.
    fn accept(&mut self) -> FollowUp {
        match self.highlighted.and_then(|row| self.entry(row)) {
            Some(entry) if entry.is_folder => self.go(self.folder.join(&entry.name)),
            Some(entry) => FollowUp::Chosen(self.folder.join(&entry.name)),
            None => self.accept_typed(),
        }
    }

    /// What the button does: as Enter, but a folder that is asked for is taken.
    fn take_path(&mut self) -> FollowUp {
        match self.highlighted.and_then(|row| self.entry(row)) {
            Some(entry) if self.purpose.kind() == Wanted::FolderOrFile => FollowUp::Chosen(self.folder.join(&entry.name)),
            _ => self.accept(),
        }
    }

    fn accept_typed(&mut self) -> FollowUp {
        if ["~", ".", ".."].contains(&self.name.as_str()) {
            return self.go(path::resolved(&self.base, &self.text()));
        }
        let entries = match &self.contents {
            Contents::Reading => {
                self.waiting = Some(EarlyKey::Accept);
                return FollowUp::None;
            }
            Contents::Failed { why, .. } => {
                self.complaint = Some(why.clone());
                return FollowUp::None;
            }
            Contents::Read { entries, .. } => entries,
        };
        let found = entries.iter().find(|entry| entry.text == self.name);
        let path = self.folder.join(found.map_or(self.name.as_ref(), |entry| entry.name.as_os_str()));
        match (self.purpose.kind(), found) {
            (Wanted::FolderOrFile, None) if self.name.is_empty() => FollowUp::Chosen(self.folder.clone()),
            (_, None) if self.name.is_empty() => self.complain("Type or choose a file's name"),
            (_, Some(entry)) if entry.is_folder => self.go(path),
            (Wanted::NewFile, _) | (_, Some(_)) => FollowUp::Chosen(path),
            (_, None) => self.complain("There is nothing of that name here"),
        }
    }

    fn complain(&mut self, why: &str) -> FollowUp {
        self.complaint = Some(why.to_owned());
        FollowUp::None
    }

    /// What Tab does, at once or when the folder is read.
    fn complete(&mut self) -> FollowUp {
        if self.contents == Contents::Reading {
            self.waiting = Some(EarlyKey::Complete);
            return FollowUp::None;
        }
        let Some(text) = self.completion() else {
            self.is_completed = true;
            return FollowUp::None;
        };
        let follow_up = self.typed(&text);
        self.mark(Caret::End);
        follow_up
    }

    /// Whether Tab leaves the field, as in any other window: a typed name keeps it there until it is known to be complete, so that
    /// Enter behind it takes that name and no button.
    fn lets_tab_go(&self) -> bool {
        self.contents != Contents::Reading && (self.name.is_empty() || self.is_completed)
    }

    /// What Tab would write.
    fn completion(&self) -> Option<String> {
        let Contents::Read { entries, .. } = &self.contents else { return None };
        let offered = entries.iter().filter(|entry| self.is_offered(entry)).map(|entry| (entry.text.as_str(), entry.is_folder));
        path::completed(&self.name, offered).map(|name| format!("{}{name}", self.folder_text))
    }

    /// What is listed, in numbers, or why nothing is; and whether that is a complaint.
    fn status(&self) -> (String, bool) {
        if let Some(complaint) = &self.complaint {
            return (complaint.clone(), true);
        }
        let (entries, is_whole) = match &self.contents {
            Contents::Reading => return ("Reading…".to_owned(), false),
            Contents::Failed { why, .. } => return (why.clone(), true),
            Contents::Read { entries, is_whole } => (entries, *is_whole),
        };
        let offered: Vec<&FolderEntry> = entries.iter().filter(|entry| self.is_offered(entry)).collect();
        let folders = offered.iter().filter(|entry| entry.is_folder).count();
        let left_out = entries.len() - offered.len();
        let count = |n: usize, one: &str, more: &str| format!("{} {}", text::count(n as u64), if n == 1 { one } else { more });
        let mut parts = vec![count(folders, "folder", "folders"), count(offered.len() - folders, "file", "files")];
        if left_out > 0 {
            parts.push(format!("{} not shown", text::count(left_out as u64)));
        }
        if !is_whole {
            parts.push("the folder holds more".to_owned());
        }
        (parts.join(" · "), false)
    }

    /// The button that answers: its name, and what it does.
    fn answer(&self) -> (&'static str, &'static str) {
        let is_folder = self.highlighted.and_then(|row| self.entry(row)).is_none_or(|entry| entry.is_folder);
        match self.purpose.kind() {
            Wanted::File if self.purpose == Purpose::Open => ("Open", "Open the file, or the folder (Enter)"),
            Wanted::File => ("Choose", "Choose the file, or open the folder (Enter)"),
            Wanted::NewFile => ("Save", "Save under this name, or open the folder (Enter)"),
            Wanted::FolderOrFile if is_folder => ("Choose the folder", "Choose the folder in the list, or else the one whose list this is"),
            Wanted::FolderOrFile => ("Choose the file", "Choose the file (Enter)"),
        }
    }

    /// Whether the folder could be made.
    fn can_create(&self) -> bool {
        self.purpose.kind() == Wanted::NewFile && matches!(self.contents, Contents::Failed { is_missing: true, .. })
    }
}

/// A number that no dialog has had before.
fn stamp() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}
