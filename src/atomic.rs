//! A file that appears whole or not at all: written under a temporary name in its folder, flushed, renamed.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

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

/// Writes `path` with `fill`, in one step as seen by others.
///
/// # Errors
/// [`WriteError`], with nothing changed on disk.
pub fn write(path: &Path, overwrite: Overwrite, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), WriteError> {
    let failed = |source| WriteError::Io { source, path: path.to_owned() };
    if overwrite == Overwrite::Refuse && path.exists() {
        return Err(WriteError::Exists { path: path.to_owned() });
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".secateur-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As for any new file, the user's umask applies; the default for temporary files would keep others out.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut temporary = builder.tempfile_in(folder).map_err(failed)?;
    {
        let mut out = BufWriter::with_capacity(1 << 20, temporary.as_file_mut());
        fill(&mut out).map_err(failed)?;
        out.flush().map_err(failed)?;
    }
    temporary.as_file().sync_all().map_err(failed)?;
    let persisted = match overwrite {
        Overwrite::Allow => temporary.persist(path),
        Overwrite::Refuse => temporary.persist_noclobber(path),
    };
    match persisted {
        Ok(_) => Ok(()),
        Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Err(WriteError::Exists { path: path.to_owned() }),
        Err(e) => Err(failed(e.error)),
    }?;
    // The rename itself lasts only when the folder is on disk, too; some file systems cannot do that, and need not.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
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
    fn a_missing_folder_is_told() {
        let error = write(Path::new("/nowhere/at/all.onnx"), Overwrite::Refuse, |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all.onnx"), "{error}");
    }
}
