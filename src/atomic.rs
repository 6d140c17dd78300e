//! A file that appears whole or not at all: written under a temporary name in its folder, flushed, renamed.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// May a file of that name be replaced?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// No: an existing file is an error.
    Refuse,
    /// Yes: the person was asked.
    Allow,
}

/// Why a file could not be written. Nothing of it remains, and what was there before is untouched.
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

/// Gives every file its name. Where one cannot have it, those before it that are new are removed again.
///
/// # Errors
/// [`WriteError`]
pub fn commit(files: Vec<Staged>) -> Result<(), WriteError> {
    let mut new = Vec::new();
    for file in files {
        let path = file.path.clone();
        let is_new = !path.exists();
        if let Err(error) = file.rename() {
            for path in &new {
                let _ = std::fs::remove_file(path);
            }
            return Err(error);
        }
        if is_new {
            new.push(path);
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

    #[test]
    fn files_are_there_together_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("old"), "old").unwrap();
        std::fs::create_dir(at("taken")).unwrap();
        let staged = |name: &str| stage(&folder.path().join(name), Overwrite::Allow, |out| out.write_all(b"new")).unwrap();
        assert!(matches!(commit(vec![staged("new"), staged("old"), staged("taken")]), Err(WriteError::Io { .. })));
        assert!(!at("new").exists());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        drop(staged("dropped"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        commit(vec![staged("new"), staged("old")]).unwrap();
        assert_eq!(std::fs::read(at("new")).unwrap(), b"new");
    }

    #[test]
    fn a_missing_folder_is_told() {
        let error = write(Path::new("/nowhere/at/all.onnx"), Overwrite::Refuse, |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all.onnx"), "{error}");
        assert!(!error.to_string().contains(".part"), "{error}");
    }
}
