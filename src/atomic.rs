//! Files that appear whole or not at all: written under temporary names in their folder, flushed, renamed; several of them
//! together or none.
//!
//! `tempfile` makes the names, and renames with and without replacing. What writes one file that way (`atomicwrites`,
//! `atomic-write-file`, burn-pack's `AtomicFile`) forgets what it replaced as soon as it is replaced, so that a model would be
//! left with new weights when its second file fails; hence [`commit`] is written here.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempPath};

/// May a file of that name be replaced?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// No: an existing file is an error.
    Refuse,
    /// Yes: the person was asked.
    Allow,
}

/// Why a file could not be written. Nothing of it remains, and what was there before is there.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// There is a file of that name.
    #[error("a file of that name is there already; choose another name or allow it to be replaced: {}", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// The folder is missing, read-only or full.
    #[error("cannot write the file: {source}; choose another folder or make room: {}", path.display())]
    Io {
        /// What the system said.
        source: io::Error,
        /// Which.
        path: PathBuf,
    },
    /// A later file failed, and this one could not be put back: the exception to what is said above.
    #[error("{failure}; what was in “{name}” before could not be put back ({source}) and is kept in another file: {}", kept.display())]
    NotRestored {
        /// Why it had to be put back.
        failure: Box<WriteError>,
        /// What the system said.
        source: io::Error,
        /// Name of the file that has its new content.
        name: String,
        /// Where its old content is.
        kept: PathBuf,
    },
}

/// A file that lies whole under a temporary name in its folder. It takes its own name with [`commit`]; dropped before that,
/// nothing of it remains.
#[derive(Debug)]
pub struct Staged {
    temporary: NamedTempFile,
    path: PathBuf,
    overwrite: Overwrite,
}

impl Staged {
    /// Where the content lies until [`commit`].
    #[must_use]
    pub fn temporary_path(&self) -> &Path {
        self.temporary.path()
    }

    fn rename(self) -> Result<(), WriteError> {
        let Self { temporary, path, overwrite } = self;
        let persisted = match overwrite {
            Overwrite::Allow => temporary.persist(&path),
            Overwrite::Refuse => temporary.persist_noclobber(&path),
        };
        match persisted {
            Ok(_) => {}
            Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => return Err(WriteError::Exists { path }),
            Err(e) => return Err(WriteError::Io { source: e.error, path }),
        }
        // The rename itself lasts only when the folder is on disk, too; some file systems cannot do that, and need not.
        if let Ok(folder) = File::open(folder_of(&path)) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

/// A name that was given to a new file, with what had it before.
struct Taken {
    path: PathBuf,
    /// The old file under a temporary name, removed when this is dropped.
    old: Option<TempPath>,
}

impl Taken {
    /// Keeps what has the name `path` now, with `link`, which gives a file a second name.
    fn keep(path: &Path, link: impl Fn(&Path, &Path) -> io::Result<()>) -> Result<Self, WriteError> {
        let failed = |source| WriteError::Io { source, path: path.to_owned() };
        let mut taken = Self { path: path.to_owned(), old: None };
        match path.symlink_metadata() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(taken),
            Err(e) => return Err(failed(e)),
            Ok(metadata) if metadata.is_dir() => return Err(failed(io::ErrorKind::IsADirectory.into())),
            Ok(_) => {}
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(".secateur-").suffix(".old");
        let folder = folder_of(path);
        // Where a file cannot have two names, its own is missing until the new one has it.
        let kept = builder.make_in(folder, |old| link(path, old)).or_else(|_| builder.make_in(folder, |old| std::fs::rename(path, old)));
        taken.old = Some(kept.map_err(|e| failed(without_path(&e)))?.into_temp_path());
        Ok(taken)
    }

    /// Puts back what was there, because of `failure`.
    fn undo(self, failure: WriteError) -> WriteError {
        let Some(old) = self.old else {
            let _ = std::fs::remove_file(&self.path);
            return failure;
        };
        match old.persist(&self.path) {
            Ok(()) => failure,
            Err(e) => {
                let mut old = e.path;
                // Dropped, it would be gone.
                old.disable_cleanup(true);
                let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                WriteError::NotRestored { failure: failure.into(), source: e.error, name, kept: old.to_path_buf() }
            }
        }
    }
}

/// Writes the content of `path` with `fill`, under a temporary name.
///
/// # Errors
/// [`WriteError`], with nothing changed on disk.
pub fn stage(path: &Path, overwrite: Overwrite, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Staged, WriteError> {
    let failed = |source| WriteError::Io { source, path: path.to_owned() };
    if overwrite == Overwrite::Refuse && path.exists() {
        return Err(WriteError::Exists { path: path.to_owned() });
    }
    let mut builder = tempfile::Builder::new();
    builder.prefix(".secateur-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As for any new file, the user's umask applies; the default for temporary files would keep others out.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut temporary = builder.tempfile_in(folder_of(path)).map_err(|e| failed(without_path(&e)))?;
    {
        let mut out = BufWriter::with_capacity(1 << 20, temporary.as_file_mut());
        fill(&mut out).map_err(failed)?;
        out.flush().map_err(failed)?;
    }
    temporary.as_file().sync_all().map_err(failed)?;
    Ok(Staged { temporary, path: path.to_owned(), overwrite })
}

/// Gives every file its name, in this order. Where one cannot have it, those before it give theirs back to what had them.
///
/// # Errors
/// [`WriteError`]
pub fn commit(files: Vec<Staged>) -> Result<(), WriteError> {
    commit_with(files, |old, new| std::fs::hard_link(old, new))
}

fn commit_with(files: Vec<Staged>, link: impl Fn(&Path, &Path) -> io::Result<()> + Copy) -> Result<(), WriteError> {
    let mut taken = Vec::new();
    let mut rest = files.into_iter().peekable();
    while let Some(file) = rest.next() {
        let renamed = match (file.overwrite, rest.peek()) {
            // Nothing comes after it that could fail.
            (_, None) => file.rename(),
            (Overwrite::Refuse, _) => {
                let path = file.path.clone();
                file.rename().map(|()| taken.push(Taken { path, old: None }))
            }
            (Overwrite::Allow, _) => Taken::keep(&file.path, link).and_then(|old| match file.rename() {
                Ok(()) => {
                    taken.push(old);
                    Ok(())
                }
                Err(e) if old.old.is_some() => Err(old.undo(e)),
                Err(e) => Err(e),
            }),
        };
        if let Err(error) = renamed {
            return Err(taken.into_iter().rev().fold(error, |error, file| file.undo(error)));
        }
    }
    Ok(())
}

/// Writes `path` with `fill`, in one step as seen by others.
///
/// # Errors
/// [`WriteError`], with nothing changed on disk.
pub fn write(path: &Path, overwrite: Overwrite, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), WriteError> {
    stage(path, overwrite, fill)?.rename()
}

/// The folder that `path` lies in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The system's own words: `tempfile` adds the temporary name, which nobody has heard of.
fn without_path(error: &io::Error) -> io::Error {
    let inner = error.get_ref().and_then(std::error::Error::source).and_then(|e| e.downcast_ref::<io::Error>());
    match inner.and_then(io::Error::raw_os_error) {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::from(error.kind()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        write(&path, Overwrite::Refuse, |out| out.write_all(b"old")).unwrap();
        assert!(matches!(write(&path, Overwrite::Refuse, |out| out.write_all(b"new")), Err(WriteError::Exists { .. })));
        let full = write(&path, Overwrite::Allow, |out| {
            out.write_all(b"half")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        assert!(matches!(full, Err(WriteError::Io { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        write(&path, Overwrite::Allow, |out| out.write_all(b"new")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    /// Everything in a folder, by name.
    fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
        let mut files: Vec<_> = entries.map(|path| (name(&path), std::fs::read(&path).unwrap_or_default())).collect();
        files.sort();
        files
    }

    #[test]
    fn files_are_there_together_or_not_at_all() {
        let no_links = |_: &Path, _: &Path| Err(io::Error::from(io::ErrorKind::Unsupported));
        let links = |old: &Path, new: &Path| std::fs::hard_link(old, new);
        for link in [links as fn(&Path, &Path) -> io::Result<()>, no_links] {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            std::fs::write(at("first"), "old first").unwrap();
            std::fs::write(at("second"), "old second").unwrap();
            std::fs::create_dir(at("taken")).unwrap();
            let before = files(folder.path());
            let staged = |name: &str, overwrite| stage(&at(name), overwrite, |out| out.write_all(b"new")).unwrap();
            let allowed = |names: &[&str]| names.iter().map(|name| staged(name, Overwrite::Allow)).collect::<Vec<_>>();
            for names in [["new", "first", "second", "taken"], ["first", "taken", "second", "new"], ["taken", "first", "second", "new"]] {
                assert!(matches!(commit_with(allowed(&names), link), Err(WriteError::Io { .. })), "{names:?}");
                assert_eq!(files(folder.path()), before, "{names:?}");
            }
            // One that came meanwhile, and is not to be replaced.
            let late = vec![staged("first", Overwrite::Allow), staged("late", Overwrite::Refuse), staged("new", Overwrite::Refuse)];
            std::fs::write(at("late"), "late").unwrap();
            assert!(matches!(commit_with(late, link), Err(WriteError::Exists { path }) if path == at("late")));
            std::fs::remove_file(at("late")).unwrap();
            assert_eq!(files(folder.path()), before);

            drop(staged("dropped", Overwrite::Allow));
            assert_eq!(files(folder.path()), before);
            commit_with(allowed(&["new", "first", "second"]), link).unwrap();
            let new = |name: &str| (name.to_owned(), b"new".to_vec());
            assert_eq!(files(folder.path()), [new("first"), new("new"), new("second"), ("taken".to_owned(), Vec::new())]);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_replaced_and_put_back_as_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("blob"), "old").unwrap();
        std::os::unix::fs::symlink("blob", at("link")).unwrap();
        std::fs::create_dir(at("taken")).unwrap();
        let staged = |name: &str| stage(&at(name), Overwrite::Allow, |out| out.write_all(b"new")).unwrap();
        commit(vec![staged("link"), staged("taken")]).unwrap_err();
        assert_eq!(std::fs::read_link(at("link")).unwrap(), Path::new("blob"));
        commit(vec![staged("link"), staged("other")]).unwrap();
        assert_eq!((std::fs::read(at("link")).unwrap(), std::fs::read(at("blob")).unwrap()), (b"new".to_vec(), b"old".to_vec()));
        assert!(at("link").symlink_metadata().unwrap().is_file());
    }

    #[cfg(unix)]
    #[test]
    fn what_cannot_be_put_back_is_kept_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, "old").unwrap();
        let taken = Taken::keep(&path, |old, new| std::fs::rename(old, new)).unwrap();
        std::fs::create_dir(&path).unwrap();
        let failure = WriteError::Exists { path: folder.path().join("other") };
        let error = taken.undo(failure);
        let WriteError::NotRestored { kept, .. } = &error else { panic!("{error}") };
        assert_eq!(std::fs::read(kept).unwrap(), b"old");
        assert!(error.to_string().contains(&*kept.to_string_lossy()) && error.to_string().contains("model.onnx"), "{error}");
    }

    #[test]
    fn a_missing_folder_is_told() {
        let error = write(Path::new("/nowhere/at/all.onnx"), Overwrite::Refuse, |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all.onnx"), "{error}");
        assert!(!error.to_string().contains(".part"), "{error}");
    }
}
