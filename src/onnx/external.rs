//! External data: the files beside a model that hold its large tensors.
//!
//! The format is ONNX's (<https://onnx.ai/onnx/repo-docs/ExternalData.html>): a relative `location`, an `offset` and a
//! `length`, all strings. A location stays inside the model's folder. Symbolic links are followed where they lead into that
//! folder, or to a file right beside the one that the model's own name leads to: caches keep a model and its data in one
//! folder, and give them their names by links elsewhere.
//!
//! Data files can be larger than memory should hold, so they are read by range when someone asks. A mapping would be
//! simpler, but ends the program when somebody shortens the file; a read ends in an error.

use std::collections::{HashMap, HashSet};
use std::fs::{File, Metadata};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use super::error::{OpenError, TensorFault};
use crate::atomic::folder_of;

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

/// A file that is read by range, as it was when it was opened: a data file, shared by all tensors in it, or a model.
#[derive(Debug)]
pub(super) struct External {
    /// The names that the model gives it, relative to the model's folder, or a model's own name.
    pub(super) locations: Vec<String>,
    /// Where it is, symbolic links followed.
    pub(super) path: PathBuf,
    /// Held, so that it can be read after another file took its name.
    handle: Option<File>,
    stamp: Stamp,
    /// Its bytes, where it is no file yet.
    held: Option<Vec<u8>>,
}

impl External {
    /// Opens a model's own file.
    pub(super) fn own(path: &Path) -> io::Result<Self> {
        let handle = File::open(path)?;
        let stamp = Stamp::of(&handle.metadata()?);
        let location = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { locations: vec![location], path: path.to_owned(), handle: Some(handle), stamp, held: None })
    }

    /// Whether it is in memory, and no file yet.
    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Bytes in the file when it was opened.
    pub(super) fn len(&self) -> u64 {
        self.stamp.length
    }

    /// Fills `out` from the bytes at `offset`.
    ///
    /// # Errors
    /// [`OpenError::Changed`] where the file is not as it was when it was opened, before or after reading.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), OpenError> {
        self.read_while(offset, out, || {})
    }

    /// As [`Self::read`]; `meanwhile` runs when the bytes were read and are not yet known to be good.
    pub(super) fn read_while(&self, offset: u64, out: &mut [u8], meanwhile: impl FnOnce()) -> Result<(), OpenError> {
        let failed = |source| OpenError::Read { source, path: self.path.clone() };
        if let Some(held) = &self.held {
            let wanted = usize::try_from(offset).ok().and_then(|at| held.get(at..at.checked_add(out.len())?));
            let Some(wanted) = wanted else { return Err(failed(io::ErrorKind::UnexpectedEof.into())) };
            out.copy_from_slice(wanted);
            return Ok(());
        }
        let opened;
        let file = if let Some(file) = &self.handle {
            file
        } else {
            opened = File::open(&self.path).map_err(failed)?;
            &opened
        };
        let same = || Ok(Stamp::of(&file.metadata().map_err(failed)?) == self.stamp);
        let read = if same()? { read_at(file, offset, out).map_err(failed) } else { Ok(()) };
        meanwhile();
        // Looked at again: what changed while it was read is no more to be trusted.
        if same()? {
            return read;
        }
        Err(OpenError::Changed { location: self.locations.first().cloned().unwrap_or_default(), path: self.path.clone() })
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
pub(super) struct Extent {
    /// Number of the file in the list.
    pub(super) file: usize,
    /// Position of its first byte.
    pub(super) offset: usize,
}

/// The external files met so far.
pub(super) struct Files {
    /// The folder in which the model was opened.
    folder: PathBuf,
    /// The folder of the file that the model's name leads to.
    real_folder: Option<PathBuf>,
    pub(super) list: Vec<External>,
    /// Names that lead to no file that may be read.
    pub(super) refused: HashSet<String>,
    by_location: HashMap<String, Result<usize, TensorFault>>,
    by_path: HashMap<PathBuf, usize>,
    /// Bytes that the tensors met so far take from each file, whatever the names under which the model knows it.
    taken: Vec<u64>,
}

impl Files {
    pub(super) fn new(model: &Path) -> Self {
        let real = model.canonicalize().ok();
        Self {
            folder: folder_of(model).to_owned(),
            real_folder: real.as_deref().map(|path| folder_of(path).to_owned()),
            list: Vec::new(),
            refused: HashSet::new(),
            by_location: HashMap::new(),
            by_path: HashMap::new(),
            taken: Vec::new(),
        }
    }

    /// Files in memory, by the names that the model at `path` gives them.
    pub(super) fn held(path: &Path, data: Vec<(String, Vec<u8>)>) -> Self {
        let mut files = Self::new(path);
        for (number, (location, bytes)) in data.into_iter().enumerate() {
            let stamp = Stamp { length: bytes.len() as u64, modified: None, number: (0, 0) };
            let locations = vec![location.clone()];
            files.list.push(External { locations, path: PathBuf::from(&location), handle: None, stamp, held: Some(bytes) });
            files.by_location.insert(location, Ok(number));
            files.taken.push(0);
        }
        files
    }

    /// Finds the `wanted` bytes of a tensor, opening the file that holds them if it is new.
    pub(super) fn place(&mut self, entries: &[(&str, &str)], wanted: usize) -> Result<Extent, TensorFault> {
        // Of a key that occurs twice the last value counts, as where others read it.
        let value = |key: &str| entries.iter().rfind(|e| e.0 == key).map(|e| e.1);
        let bad = |reason: String| TensorFault::Damaged { reason };
        let number = |key: &str| {
            value(key).map(|v| v.parse::<u64>().map_err(|_| bad(format!("{key} “{v}” of its external data is no number")))).transpose()
        };
        let location =
            value("location").filter(|l| !l.is_empty()).ok_or_else(|| bad("its external data has no location".into()))?.to_owned();
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        let file = match self.by_location.get(&location) {
            Some(known) => known.clone(),
            None => self.open(&location),
        }?;
        if let Some(length) = length.filter(|&l| l != wanted as u64) {
            return Err(bad(format!("{wanted} bytes expected for its shape, {length} promised in “{location}”")));
        }
        let available = self.list[file].len();
        let end = offset.saturating_add(wanted as u64);
        let offset = match usize::try_from(offset) {
            Ok(offset) if end <= available => offset,
            _ => return Err(TensorFault::Truncated { location, offset, end, length: available }),
        };
        let taken = self.taken[file].saturating_add(wanted as u64);
        if taken > available.saturating_mul(MAX_SHARING) {
            return Err(bad(format!(
                "together with other tensors it uses the {available} bytes of “{location}” more than {MAX_SHARING} times"
            )));
        }
        self.taken[file] = taken;
        Ok(Extent { file, offset })
    }

    fn open(&mut self, location: &str) -> Result<usize, TensorFault> {
        let file = self.resolve(location).and_then(|real| match self.by_path.get(&real) {
            Some(&known) => Ok(known),
            None => self.add(location, real),
        });
        match &file {
            Ok(file) => self.list[*file].locations.push(location.to_owned()),
            Err(_) => drop(self.refused.insert(location.to_owned())),
        }
        self.by_location.insert(location.to_owned(), file.clone());
        file
    }

    /// The file that a location means, symbolic links followed, where it may be read.
    fn resolve(&self, location: &str) -> Result<PathBuf, TensorFault> {
        let relative = Path::new(location);
        if !relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir)) {
            return Err(TensorFault::Outside { location: location.to_owned() });
        }
        let unreadable = |e: io::Error| unreadable(location, &e);
        let linked_outside = || TensorFault::LinkedOutside { location: location.to_owned() };
        match self.folder.join(relative).canonicalize() {
            Ok(real) => {
                let is_inside = real.starts_with(self.folder.canonicalize().map_err(unreadable)?);
                let is_beside = self.real_folder.as_deref() == real.parent();
                if is_inside || is_beside { Ok(real) } else { Err(linked_outside()) }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                // The model alone may be a link.
                let missing = || TensorFault::Missing { location: location.to_owned() };
                let folder = self.real_folder.as_deref().ok_or_else(missing)?;
                let real = folder.join(relative).canonicalize().map_err(|_| missing())?;
                if real.starts_with(folder) { Ok(real) } else { Err(linked_outside()) }
            }
            Err(e) => Err(unreadable(e)),
        }
    }

    fn add(&mut self, location: &str, real: PathBuf) -> Result<usize, TensorFault> {
        let unreadable = |e: io::Error| unreadable(location, &e);
        // A pipe or a device has no length, and opening or reading it might never end.
        let irregular = || unreadable(io::Error::other("not a regular file"));
        if !real.metadata().map_err(unreadable)?.is_file() {
            return Err(irregular());
        }
        let handle = File::open(&real).map_err(unreadable)?;
        let metadata = handle.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(irregular());
        }
        let handle = (self.list.len() < MAX_HELD).then_some(handle);
        self.by_path.insert(real.clone(), self.list.len());
        self.list.push(External { locations: Vec::new(), path: real, handle, stamp: Stamp::of(&metadata), held: None });
        self.taken.push(0);
        Ok(self.list.len() - 1)
    }
}

fn unreadable(location: &str, error: &io::Error) -> TensorFault {
    TensorFault::Unreadable { location: location.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_while_it_is_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        std::fs::write(&path, [1; 16]).unwrap();
        let file = External::own(&path).unwrap();
        let mut out = [0; 16];
        file.read_while(0, &mut out, || {}).unwrap();
        assert_eq!(out, [1; 16]);
        let error = file.read_while(0, &mut out, || std::fs::write(&path, [2; 24]).unwrap()).unwrap_err();
        assert!(matches!(&error, OpenError::Changed { location, .. } if location == "data"), "{error}");
        assert!(matches!(file.read(0, &mut out), Err(OpenError::Changed { .. })));
    }
}
