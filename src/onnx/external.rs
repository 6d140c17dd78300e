//! External data: the files beside a model that hold its large tensors.
//!
//! The format is ONNX's (<https://onnx.ai/onnx/repo-docs/ExternalData.html>): a relative `location`, an `offset` and a
//! `length`, all strings. A location stays inside the model's folder, symbolic links followed, or it is refused.
//!
//! Data files can be larger than memory should hold, so they are read by range when someone asks. A mapping would be
//! simpler, but ends the program when somebody shortens the file; a read ends in an error.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use super::OpenError;

/// Data files held open at once. Where a model has more, the rest is opened again for every read: systems limit open files,
/// and some exporters write one file per tensor.
const MAX_HELD: usize = 128;

/// How many times over the tensors of a model may use the bytes of a data file: each has memory of its own later, and tensors
/// that share bytes are rare.
const MAX_SHARING: u64 = 8;

/// What tells that a file is the one that was opened, and as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    /// Device and file number, where the system has them.
    number: (u64, u64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let number = {
            use std::os::unix::fs::MetadataExt;
            (metadata.dev(), metadata.ino())
        };
        #[cfg(not(unix))]
        let number = (0, 0);
        Self { length: metadata.len(), modified: metadata.modified().ok(), number }
    }
}

/// A data file, shared by all tensors in it.
#[derive(Debug)]
pub(super) struct External {
    /// The name that the model gives, relative to the model's folder.
    pub location: String,
    /// Where it is, symbolic links followed.
    path: PathBuf,
    /// Held, so that it can be read after another file took its name.
    handle: Option<File>,
    stamp: Stamp,
}

impl External {
    /// A model's own file as one to read from.
    pub(super) fn own(path: &Path, handle: File) -> io::Result<Self> {
        let stamp = Stamp::of(&handle.metadata()?);
        let location = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { location, path: path.to_owned(), handle: Some(handle), stamp })
    }

    /// Bytes in the file when it was opened.
    pub(super) fn len(&self) -> u64 {
        self.stamp.length
    }

    /// Fills `out` from the bytes at `offset`.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), OpenError> {
        let failed = |source| OpenError::Read { source, path: self.path.clone() };
        let opened;
        let file = if let Some(file) = &self.handle {
            file
        } else {
            opened = File::open(&self.path).map_err(failed)?;
            &opened
        };
        let same = || Ok(Stamp::of(&file.metadata().map_err(failed)?) == self.stamp);
        let read = if same()? { read_at(file, offset, out).map_err(failed) } else { Ok(()) };
        // Looked at again: what changed while it was read is no more to be trusted.
        if same()? { read } else { Err(OpenError::Changed { location: self.location.clone(), path: self.path.clone() }) }
    }
}

#[cfg(unix)]
fn read_at(file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, offset)
}

#[cfg(windows)]
fn read_at(file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < out.len() {
        match std::os::windows::fs::FileExt::seek_read(file, &mut out[done..], offset + done as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => done += n,
        }
    }
    Ok(())
}

/// Where one tensor lies.
#[derive(Debug)]
pub(super) struct Place {
    /// Number of the file in the list.
    pub file: usize,
    /// Position of its first byte.
    pub offset: usize,
}

/// The external files met so far.
pub(super) struct Files {
    model: PathBuf,
    list: Vec<External>,
    by_location: HashMap<String, usize>,
    /// Bytes that the tensors met so far take from each file, whatever the names under which the model knows it.
    taken: HashMap<PathBuf, u64>,
}

impl Files {
    pub(super) fn new(model: &Path) -> Self {
        Self { model: model.to_owned(), list: Vec::new(), by_location: HashMap::new(), taken: HashMap::new() }
    }

    pub(super) fn into_list(self) -> Vec<External> {
        self.list
    }

    /// Finds the `wanted` bytes of `tensor`, opening the file that holds them if it is new.
    pub(super) fn place(&mut self, tensor: &str, entries: &[(&str, &str)], wanted: usize) -> Result<Place, OpenError> {
        let path = self.model.clone();
        let value = |key: &str| entries.iter().find(|e| e.0 == key).map(|e| e.1);
        let bad = |reason: String| OpenError::BadTensor { tensor: tensor.to_owned(), reason, path: path.clone() };
        let number = |key: &str| {
            value(key).map(|v| v.parse::<u64>().map_err(|_| bad(format!("{key} “{v}” of its external data is no number")))).transpose()
        };
        let location =
            value("location").filter(|l| !l.is_empty()).ok_or_else(|| bad("its external data has no location".into()))?.to_owned();
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        if let Some(length) = length.filter(|&l| l != wanted as u64) {
            return Err(bad(format!("{wanted} bytes expected for its shape, {length} promised in “{location}”")));
        }
        let file = match self.by_location.get(&location) {
            Some(&file) => file,
            None => self.open(location.clone())?,
        };
        let available = self.list[file].len();
        let end = offset.saturating_add(wanted as u64);
        let taken = self.taken.entry(self.list[file].path.clone()).or_default();
        *taken = taken.saturating_add(wanted as u64);
        if end <= available && *taken > available.saturating_mul(MAX_SHARING) {
            return Err(bad(format!(
                "together with other tensors it uses the {available} bytes of “{location}” more than {MAX_SHARING} times"
            )));
        }
        match usize::try_from(offset) {
            Ok(offset) if end <= available => Ok(Place { file, offset }),
            _ => Err(OpenError::ExternalTruncated {
                tensor: tensor.to_owned(),
                location,
                offset,
                end,
                length: available,
                path: self.model.clone(),
            }),
        }
    }

    fn open(&mut self, location: String) -> Result<usize, OpenError> {
        let escapes = || OpenError::ExternalEscapes { location: location.clone(), path: self.model.clone() };
        let relative = Path::new(&location);
        if !relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir)) {
            return Err(escapes());
        }
        let folder = self.model.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let target = folder.join(relative);
        let missing = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => OpenError::ExternalMissing { location: location.clone(), path: self.model.clone() },
            _ => OpenError::Read { source, path: target.clone() },
        };
        let real = target.canonicalize().map_err(missing)?;
        let root = folder.canonicalize().map_err(|source| OpenError::Read { source, path: folder.to_owned() })?;
        if !real.starts_with(&root) {
            return Err(escapes());
        }
        // A pipe or a device has no length, and opening or reading it might never end.
        let irregular = || OpenError::Read { source: io::Error::other("not a regular file"), path: target.clone() };
        if !real.metadata().map_err(missing)?.is_file() {
            return Err(irregular());
        }
        let handle = File::open(&real).map_err(missing)?;
        let metadata = handle.metadata().map_err(missing)?;
        if !metadata.is_file() {
            return Err(irregular());
        }
        let handle = (self.list.len() < MAX_HELD).then_some(handle);
        self.by_location.insert(location.clone(), self.list.len());
        self.list.push(External { location, path: real, handle, stamp: Stamp::of(&metadata) });
        Ok(self.list.len() - 1)
    }
}
