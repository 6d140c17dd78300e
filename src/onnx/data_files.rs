//! Where the external data of a saved model goes: never over bytes that another model may need.
//!
//! Whose a data file is, no file says: several models can use one. So a saved model gets data files with names of its own,
//! `model.onnx.data`, and one that is there already is replaced only where the model that is being replaced uses it, its name says
//! that it belongs to that model, and no other model beside or above it speaks of it.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use memchr::memmem::Finder;

use super::{MAX_MODEL_BYTES, OnnxFile, wire};
use crate::atomic::{Overwrite, folder_of};

/// Where the external data of a saved model goes.
pub(super) struct DataFiles {
    /// One per external data file of the opened model, and whether it may replace one that is there; `None` where it stays.
    pub(super) paths: Vec<Option<(PathBuf, Overwrite)>>,
    /// Names that are told otherwise in the saved model.
    pub(super) renamed: HashMap<String, String>,
}

impl DataFiles {
    /// For `file` saved as `target`, which may be replaced where `overwrite` says so. Data files that do not change, as
    /// `is_changed` says by their number, stay where they are when the opened model is saved over itself.
    pub(super) fn choose(file: &OnnxFile, target: &Path, overwrite: Overwrite, is_changed: impl Fn(usize) -> bool) -> Self {
        let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let asker = Asker { file, target, overwrite, name: &name };
        let mut data_files = Self { paths: Vec::new(), renamed: HashMap::new() };
        let in_place = is_opened(file, target);
        for (i, external) in file.sources.external.iter().enumerate() {
            if in_place && !is_changed(i) && !external.is_held() {
                data_files.paths.push(None);
                continue;
            }
            let present = external.locations.iter().find(|location| asker.is_own(location)).cloned();
            let numbered = (0..).map(|n| if n == 0 { format!("{name}.data") } else { format!("{name}.data.{n}") });
            // Ends: a name that nothing has is among the numbered ones.
            for candidate in present.into_iter().chain(numbered) {
                let path = target.with_file_name(&candidate);
                if data_files.paths.iter().flatten().any(|(taken, _)| *taken == path) || file.refused.contains(&candidate) {
                    continue;
                }
                let Some(permission) = asker.permission(&candidate, &path) else { continue };
                for location in external.locations.iter().filter(|l| **l != candidate) {
                    data_files.renamed.insert(location.clone(), candidate.clone());
                }
                data_files.paths.push(Some((path, permission)));
                break;
            }
        }
        data_files
    }
}

/// Answers whether a data file may have a name.
struct Asker<'a> {
    file: &'a OnnxFile,
    target: &'a Path,
    overwrite: Overwrite,
    /// Of the target.
    name: &'a str,
}

impl Asker<'_> {
    /// Whether a data file's name says that it belongs to the target: `model.onnx.data`, `model.onnx_data` or `model.bin` to
    /// `model.onnx`.
    fn is_own(&self, location: &str) -> bool {
        let stem = self.name.rsplit_once('.').map_or(self.name, |(stem, _)| stem);
        let is_plain = Path::new(location).file_name().is_some_and(|name| name == location);
        let follows = |start: &str| location.strip_prefix(start).is_some_and(|rest| !rest.is_empty());
        is_plain && !stem.is_empty() && (follows(self.name) || follows(&format!("{stem}.")))
    }

    /// Whether a file may be written there, and whether it then replaces one.
    fn permission(&self, name: &str, path: &Path) -> Option<Overwrite> {
        // Where the folder cannot be looked into, writing says why.
        if path.symlink_metadata().is_err() {
            return Some(Overwrite::Refuse);
        }
        let real = path.canonicalize().ok();
        let is_in_use = self.file.sources.external.iter().any(|e| Some(&e.path) == real.as_ref());
        let is_free = self.overwrite == Overwrite::Allow
            && (!is_in_use || is_opened(self.file, self.target))
            && contains(self.target, &location(name))
            && !self.is_spoken_of(name, path);
        is_free.then_some(Overwrite::Allow)
    }

    /// Whether a model other than the target uses the data file of this name, as far as can be seen. Models can be anywhere above
    /// their data; names of files are looked at there, and what is in the files beside it.
    fn is_spoken_of(&self, name: &str, data: &Path) -> bool {
        let is_link = |path: &Path| path.symlink_metadata().is_ok_and(|m| m.is_symlink());
        let target = self.target.canonicalize().ok().filter(|_| !is_link(self.target));
        let is_other = |path: &Path| {
            let is_target = is_same_entry(path, self.target) || target.is_some() && path.canonicalize().ok() == target;
            !is_target && !is_same_entry(path, data)
        };
        let Ok(folder) = folder_of(self.target).canonicalize() else { return true };
        folder.ancestors().enumerate().any(|(above, folder)| {
            let Ok(entries) = std::fs::read_dir(folder) else { return above == 0 };
            let mut paths = entries.flatten().map(|entry| entry.path());
            paths.any(|path| {
                let is_onnx = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx"));
                (above == 0 || is_onnx) && is_other(&path) && contains(&path, name.as_bytes())
            })
        })
    }
}

/// Whether `path` is where `file` was opened, or what that leads to.
fn is_opened(file: &OnnxFile, path: &Path) -> bool {
    is_same_entry(path, &file.path) || file.path.canonicalize().is_ok_and(|real| is_same_entry(path, &real))
}

/// Whether both are one name in one folder; links are not followed.
fn is_same_entry(a: &Path, b: &Path) -> bool {
    let folders = (folder_of(a).canonicalize(), folder_of(b).canonicalize());
    a.file_name() == b.file_name() && matches!(folders, (Ok(a), Ok(b)) if a == b)
}

/// A data file's name as a model holds it, with its length: no longer name contains it.
fn location(name: &str) -> Vec<u8> {
    let mut entry = Vec::new();
    wire::push_field(&mut entry, 2, name.as_bytes());
    entry
}

/// Whether a file that may be a model contains `bytes`. What cannot be read might.
fn contains(path: &Path, bytes: &[u8]) -> bool {
    let Ok(metadata) = path.metadata() else { return false };
    if !metadata.is_file() || metadata.len() > MAX_MODEL_BYTES {
        return false;
    }
    let Ok(mut file) = File::open(path) else { return true };
    let wanted = Finder::new(bytes);
    let mut buffer = vec![0; 1 << 20];
    let mut held = 0;
    let mut is_first = true;
    loop {
        let Ok(read) = file.read(&mut buffer[held..]) else { return true };
        if read == 0 || (is_first && !may_be_model(&buffer[..read])) {
            return false;
        }
        is_first = false;
        let end = held + read;
        if wanted.find(&buffer[..end]).is_some() {
            return true;
        }
        // They can lie across the ends of what is read at once.
        held = end.min(bytes.len().saturating_sub(1));
        buffer.copy_within(end - held..end, 0);
    }
}

/// Whether a file begins as an ONNX model does, with the tag of one of its fields, or as ONNX Runtime's own format.
fn may_be_model(head: &[u8]) -> bool {
    let is_tag = head.first().is_some_and(|tag| matches!(tag >> 3, 1..=8 | 14) && matches!(tag & 7, 0 | 2));
    let is_high_tag = matches!(head, [0xa2 | 0xca | 0xd2, 0x01, ..]);
    is_tag || is_high_tag || head.get(4..8) == Some(b"ORTM")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_wherever_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        let name = "some.data";
        for at in [1, 500, (1 << 20) - 4, (1 << 20) - 1, 1 << 20, (2 << 20) + 3] {
            let mut bytes = vec![8; at];
            bytes.extend(name.as_bytes());
            std::fs::write(&path, &bytes).unwrap();
            assert!(contains(&path, name.as_bytes()), "{at}");
            assert!(!contains(&path, b"other.data"), "{at}");
        }
        // No model begins so.
        std::fs::write(&path, "{\"weight_map\": \"some.data\"}").unwrap();
        assert!(!contains(&path, name.as_bytes()));
    }

    #[test]
    fn a_longer_name_is_another_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        std::fs::write(&path, [b"\x08\x0a".to_vec(), location("m.onnx.data.1")].concat()).unwrap();
        assert!(contains(&path, &location("m.onnx.data.1")) && !contains(&path, &location("m.onnx.data")));
    }
}
