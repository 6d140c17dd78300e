//! External data: the files beside a model that hold its large tensors.
//!
//! The format is ONNX's (<https://onnx.ai/onnx/repo-docs/ExternalData.html>): a relative `location`, an `offset` and a
//! `length`, all strings. A location stays inside the model's folder, symbolic links followed, or it is refused.

use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use super::OpenError;

/// A data file, read whole once and shared by all tensors in it.
#[derive(Debug)]
pub(super) struct External {
    /// The name that the model gives, relative to the model's folder.
    pub location: String,
    /// Its content.
    pub bytes: Bytes,
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
}

impl Files {
    pub(super) fn new(model: &Path) -> Self {
        Self { model: model.to_owned(), list: Vec::new() }
    }

    pub(super) fn into_list(self) -> Vec<External> {
        self.list
    }

    /// Finds the `wanted` bytes of `tensor`, reading the file that holds them if it is new.
    pub(super) fn place(&mut self, tensor: &str, entries: &[(&str, &str)], wanted: usize) -> Result<Place, OpenError> {
        let path = || self.model.clone();
        let value = |key: &str| entries.iter().find(|e| e.0 == key).map(|e| e.1);
        let bad = |reason: String| OpenError::BadTensor { tensor: tensor.to_owned(), reason, path: path() };
        let number = |key: &str| {
            value(key).map(|v| v.parse::<u64>().map_err(|_| bad(format!("{key} “{v}” of its external data is no number")))).transpose()
        };
        let location =
            value("location").filter(|l| !l.is_empty()).ok_or_else(|| bad("its external data has no location".into()))?.to_owned();
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        if let Some(length) = length.filter(|&l| l != wanted as u64) {
            return Err(bad(format!("{wanted} bytes expected for its shape, {length} promised in “{location}”")));
        }
        let file = match self.list.iter().position(|e| e.location == location) {
            Some(file) => file,
            None => self.read(location.clone())?,
        };
        let available = self.list[file].bytes.len() as u64;
        let end = offset.saturating_add(wanted as u64);
        if end > available {
            return Err(OpenError::ExternalTruncated {
                tensor: tensor.to_owned(),
                location,
                offset,
                end,
                length: available,
                path: self.model.clone(),
            });
        }
        Ok(Place { file, offset: offset as usize })
    }

    fn read(&mut self, location: String) -> Result<usize, OpenError> {
        let escapes = || OpenError::ExternalEscapes { location: location.clone(), path: self.model.clone() };
        let relative = Path::new(&location);
        if !relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir)) {
            return Err(escapes());
        }
        let folder = self.model.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let target = folder.join(relative);
        let missing = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => OpenError::ExternalMissing { location: location.clone(), path: self.model.clone() },
            _ => OpenError::Read { source, path: target.clone() },
        };
        let real = target.canonicalize().map_err(missing)?;
        let root = folder.canonicalize().map_err(|source| OpenError::Read { source, path: folder.to_owned() })?;
        if !real.starts_with(&root) {
            return Err(escapes());
        }
        // A pipe or a device has no length, and reading it might never end.
        if !real.metadata().map_err(missing)?.is_file() {
            return Err(OpenError::Read { source: std::io::Error::other("not a regular file"), path: target });
        }
        let bytes = Bytes::from(std::fs::read(&real).map_err(missing)?);
        self.list.push(External { location, bytes });
        Ok(self.list.len() - 1)
    }
}
