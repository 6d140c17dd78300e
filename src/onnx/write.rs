//! Saving a pruned model: the opened file with the pruned elements' bytes set to zero and nothing else changed.

use std::collections::HashMap;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::external::External;
use super::wire;
use super::{Dtype, OnnxFile, OpenError, Source, Span, TensorId};
use crate::atomic::{self, Overwrite, WriteError};

/// The elements of one tensor that become zero.
#[derive(Debug, Clone)]
pub struct Zeros {
    /// Which tensor.
    pub tensor: TensorId,
    /// Bit `i % 64` of word `i / 64` is set where element `i` becomes +0.0.
    pub words: Vec<u64>,
}

/// What was written, as read back from disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// The model file.
    pub path: PathBuf,
    /// Every file written, the model first.
    pub files: Vec<PathBuf>,
    /// Bytes of all of them together.
    pub bytes: u64,
    /// Zeros in the changed tensors, counted in the file that was read back.
    pub zeros: u64,
}

/// Why a model could not be saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The disk refused.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A tensor's encoding cannot be changed in place.
    #[error("the weights “{tensor}” are stored in a way that cannot be changed in place; save as safetensors instead")]
    NotInPlace {
        /// Name of the tensor.
        tensor: String,
    },
    /// What is on disk is not what was meant.
    #[error("the file was written, but reading it back gave something else ({reason}); the disk may be failing: {}", path.display())]
    Differs {
        /// What differs.
        reason: String,
        /// Which file.
        path: PathBuf,
    },
    /// The opened model's own data can no longer be read.
    #[error("nothing was written: {0}")]
    Source(OpenError),
    /// The written file could not be opened again.
    #[error("the file was written, but cannot be opened again: {0}")]
    Reopen(#[from] OpenError),
}

/// Bytes of a file that are in memory at once while it is copied.
const PIECE: usize = 1 << 20;

/// What one of the opened files holds.
#[derive(Clone, Copy)]
pub(super) enum Content<'a> {
    Memory(&'a [u8]),
    Disk(&'a External),
}

impl Content<'_> {
    fn len(self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::Disk(external) => external.len() as usize,
        }
    }

    fn read(self, range: Range<usize>, out: &mut Vec<u8>) -> Result<(), OpenError> {
        out.clear();
        match self {
            Self::Memory(bytes) => out.extend_from_slice(&bytes[range]),
            Self::Disk(external) => {
                out.resize(range.len(), 0);
                external.read(range.start as u64, out)?;
            }
        }
        Ok(())
    }
}

/// A change of one tensor, with its place.
struct Patch<'a> {
    span: Span,
    size: usize,
    words: &'a [u64],
}

impl Patch<'_> {
    fn range(&self) -> Range<usize> {
        match self.span {
            Span::Raw { offset, length } | Span::Varints { offset, length } => offset..offset + length,
            // The last element has no tag after it.
            Span::Fixed { offset, stride, elements } => offset..offset + (stride * elements).saturating_sub(stride - self.size),
        }
    }

    /// Zeros the chosen elements in `piece`, the bytes of the file from `start` on. Varints must lie in it whole.
    fn apply(&self, piece: &mut [u8], start: usize) {
        let range = self.range();
        let stride = match self.span {
            Span::Raw { .. } => self.size,
            Span::Fixed { stride, .. } => stride,
            Span::Varints { length, .. } => return zero_varints(&mut piece[range.start - start..range.end - start], length, self.words),
        };
        let (from, to) = (range.start.max(start), range.end.min(start + piece.len()));
        if from >= to {
            return;
        }
        let (first, last) = ((from - range.start) / stride, (to - range.start).div_ceil(stride));
        for w in first / 64..last.div_ceil(64).min(self.words.len()) {
            let mut rest = self.words[w];
            while rest != 0 {
                let at = range.start + (w * 64 + rest.trailing_zeros() as usize) * stride;
                rest &= rest - 1;
                // An element can lie across the ends of a piece.
                let (a, b) = (at.max(from), (at + self.size).min(to));
                if a < b {
                    piece[a - start..b - start].fill(0);
                }
            }
        }
    }
}

/// A variable-length zero of the same length: 0x80 … 0x80 0x00, which every reader takes for 0.
fn zero_varints(bytes: &mut [u8], length: usize, words: &[u64]) {
    let (mut at, mut element) = (0, 0);
    while let Ok((_, next)) = wire::varint(bytes, at, length) {
        if words.get(element / 64).is_some_and(|w| w >> (element % 64) & 1 == 1) {
            bytes[at..next - 1].fill(0x80);
            bytes[next - 1] = 0;
        }
        (at, element) = (next, element + 1);
    }
}

/// Why a copy ended.
enum CopyError {
    Source(OpenError),
    Sink(io::Error),
}

impl CopyError {
    /// `path` is what was written, or read back.
    fn at(self, path: &Path) -> SaveError {
        match self {
            Self::Source(e) => SaveError::Source(e),
            Self::Sink(source) => WriteError::Io { source, path: path.to_owned() }.into(),
        }
    }
}

/// Passes the content of one opened file, patched, to `sink`, piece by piece.
fn stream(content: Content, patches: &mut [Patch], sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<(), CopyError> {
    patches.sort_by_key(|p| p.range().start);
    let mut waiting = patches.iter().peekable();
    let mut active: Vec<&Patch> = Vec::new();
    let mut buffer = Vec::new();
    let mut start = 0;
    while start < content.len() {
        let mut end = content.len().min(start + PIECE);
        while let Some(patch) = waiting.next_if(|p| p.range().start < end) {
            if matches!(patch.span, Span::Varints { .. }) {
                end = end.max(patch.range().end);
            }
            active.push(patch);
        }
        content.read(start..end, &mut buffer).map_err(CopyError::Source)?;
        for patch in &active {
            patch.apply(&mut buffer, start);
        }
        sink(&buffer).map_err(CopyError::Sink)?;
        active.retain(|p| p.range().end > end);
        start = end;
    }
    Ok(())
}

/// Writes one of the opened files, patched, under a temporary name, and compares what is on disk with what was meant.
fn stage(content: Content, patches: &mut [Patch], path: &Path, overwrite: Overwrite) -> Result<atomic::Staged, SaveError> {
    let mut failure = None;
    let staged = atomic::stage(path, overwrite, |out| match stream(content, patches, &mut |piece| out.write_all(piece)) {
        Ok(()) => Ok(()),
        Err(CopyError::Sink(e)) => Err(e),
        Err(CopyError::Source(e)) => {
            failure = Some(e);
            Err(io::Error::other("the opened model cannot be read"))
        }
    });
    if let Some(error) = failure {
        return Err(SaveError::Source(error));
    }
    let staged = staged?;
    check(staged.temporary_path(), path, content, patches)?;
    Ok(staged)
}

/// Writes `file` with `zeros` to `target`, with its external data beside it, and reads both back.
///
/// External data keeps its name where that name is free in the target's folder or belongs to the file that is being
/// replaced; otherwise it is named after the target (`target.onnx.data`) and the model's references are changed to it.
///
/// # Errors
/// [`SaveError`]; a file that was there before is whole, old or new.
pub fn write(file: &OnnxFile, zeros: &[Zeros], target: &Path, overwrite: Overwrite) -> Result<Saved, SaveError> {
    let mut patches: HashMap<Option<usize>, Vec<Patch>> = HashMap::new();
    for z in zeros {
        let tensor = file.tensor(z.tensor);
        let (Some(span), Some(size)) = (tensor.span, tensor.dtype.size()) else {
            return Err(SaveError::NotInPlace { tensor: tensor.name.clone() });
        };
        if matches!(span, Span::Varints { .. }) && !matches!(tensor.dtype, Dtype::F16 | Dtype::Bf16) {
            return Err(SaveError::NotInPlace { tensor: tensor.name.clone() });
        }
        let source = match tensor.source {
            Source::Model => None,
            Source::External(i) => Some(i),
        };
        patches.entry(source).or_default().push(Patch { span, size, words: &z.words });
    }
    if overwrite == Overwrite::Refuse && target.exists() {
        return Err(WriteError::Exists { path: target.to_owned() }.into());
    }
    let places = Places::choose(file, target)?;
    let mut staged = Vec::new();
    for (i, (external, path)) in file.sources.external.iter().zip(&places.paths).enumerate() {
        let own = patches.entry(Some(i)).or_default();
        let permission = if places.replaces_itself { Overwrite::Allow } else { overwrite };
        staged.push(stage(Content::Disk(external), own, path, permission)?);
    }
    let own = patches.entry(None).or_default();
    if places.renamed.is_empty() {
        staged.push(stage(file.sources.body.content(), own, target, overwrite)?);
    } else {
        let mut patched = Vec::with_capacity(file.sources.body.len());
        stream(file.sources.body.content(), own, &mut |piece| {
            patched.extend_from_slice(piece);
            Ok(())
        })
        .map_err(|e| e.at(target))?;
        let moved = wire::relocate(&patched, &places.renamed).map_err(|_| SaveError::NotInPlace { tensor: "external data".into() })?;
        staged.push(stage(Content::Memory(&moved), &mut [], target, overwrite)?);
    }
    atomic::commit(staged)?;
    let files = std::iter::once(target.to_owned()).chain(places.keep()).collect();
    read_back(file, zeros, files)
}

/// Where the external data of a saved model goes.
#[derive(Default)]
struct Places {
    /// One per external data file of the opened model.
    paths: Vec<PathBuf>,
    /// Locations that are told otherwise in the saved model.
    renamed: HashMap<String, String>,
    /// Whether the opened model is overwritten, and its data with it.
    replaces_itself: bool,
    /// Folders made for them, to be removed again when saving fails.
    folders: Vec<PathBuf>,
}

impl Places {
    fn choose(file: &OnnxFile, target: &Path) -> Result<Self, WriteError> {
        let folder = atomic::folder_of(target);
        let home = atomic::folder_of(&file.path);
        let mut places = Self::default();
        places.replaces_itself = same_file(target, &file.path);
        for external in &file.sources.external {
            let mut path = folder.join(&external.location);
            if path.exists() && !places.replaces_itself {
                let name = target.file_name().unwrap_or_default().to_string_lossy();
                // The opened model's own data is never written over while the model stays.
                let is_taken = |path: &PathBuf| {
                    places.paths.contains(path) || file.sources.external.iter().any(|e| same_file(path, &home.join(&e.location)))
                };
                let mut number = 0;
                let location = loop {
                    let location = if number == 0 { format!("{name}.data") } else { format!("{name}.data.{number}") };
                    if !is_taken(&folder.join(&location)) {
                        break location;
                    }
                    number += 1;
                };
                path = folder.join(&location);
                places.renamed.insert(external.location.clone(), location);
            }
            places.make_folder(folder, atomic::folder_of(&path))?;
            places.paths.push(path);
        }
        Ok(places)
    }

    /// Makes `wanted`, a folder below `base`, but never `base` itself.
    fn make_folder(&mut self, base: &Path, wanted: &Path) -> Result<(), WriteError> {
        let missing: Vec<&Path> = wanted.ancestors().take_while(|f| *f != base && f.starts_with(base) && !f.exists()).collect();
        for folder in missing.into_iter().rev() {
            std::fs::create_dir(folder).map_err(|source| WriteError::Io { source, path: folder.to_owned() })?;
            self.folders.push(folder.to_owned());
        }
        Ok(())
    }

    /// All is well: the folders stay.
    fn keep(mut self) -> Vec<PathBuf> {
        self.folders.clear();
        std::mem::take(&mut self.paths)
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        for folder in self.folders.iter().rev() {
            let _ = std::fs::remove_dir(folder);
        }
    }
}

/// Whether both names mean one file on disk.
pub(crate) fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Compares what is on disk with what was meant, byte for byte; `path` is its name in messages.
fn check(on_disk: &Path, path: &Path, content: Content, patches: &mut [Patch]) -> Result<(), SaveError> {
    let failed = |source| WriteError::Io { source, path: path.to_owned() };
    let mut disk = io::BufReader::with_capacity(1 << 20, std::fs::File::open(on_disk).map_err(failed)?);
    let mut buffer = vec![0; 1 << 20];
    let mut same = true;
    stream(content, patches, &mut |piece| {
        for part in piece.chunks(buffer.len()) {
            disk.read_exact(&mut buffer[..part.len()])?;
            same &= buffer[..part.len()] == *part;
        }
        Ok(())
    })
    .map_err(|e| e.at(path))?;
    let whole = disk.read(&mut buffer).map_err(failed)? == 0;
    if same && whole { Ok(()) } else { Err(SaveError::Differs { reason: "other bytes".into(), path: path.to_owned() }) }
}

/// Opens the written model as any other file and counts what became zero.
fn read_back(file: &OnnxFile, zeros: &[Zeros], files: Vec<PathBuf>) -> Result<Saved, SaveError> {
    let path = files[0].clone();
    let again = OnnxFile::open(&path)?;
    let differs = |reason: String| SaveError::Differs { reason, path: path.clone() };
    if again.tensors.len() != file.tensors.len() {
        return Err(differs("another number of tensors".into()));
    }
    let mut total = 0;
    for z in zeros {
        let values = again.floats(z.tensor)?.ok_or_else(|| differs(format!("“{}” is no float tensor", again.tensor(z.tensor).name)))?;
        let is_zero: Box<dyn Fn(usize) -> bool> = match &values {
            super::Values::F32(v) => Box::new(move |i| v[i] == 0.0),
            super::Values::F64(v) => Box::new(move |i| v[i] == 0.0),
        };
        total += (0..values.len()).filter(|&i| is_zero(i)).count() as u64;
        if (0..values.len()).any(|i| z.words[i / 64] >> (i % 64) & 1 == 1 && !is_zero(i)) {
            return Err(differs(format!("“{}” is not zero where it should be", again.tensor(z.tensor).name)));
        }
    }
    let bytes = files.iter().filter_map(|f| f.metadata().ok()).map(|m| m.len()).sum();
    Ok(Saved { path, files, bytes, zeros: total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_become_zeros_of_the_same_length() {
        // 0x3c00 (1.0 in float16), 5, 0x4000.
        let mut bytes = vec![0x80, 0x78, 0x05, 0x80, 0x80, 0x01];
        zero_varints(&mut bytes, 6, &[0b101]);
        assert_eq!(bytes, [0x80, 0x00, 0x05, 0x80, 0x80, 0x00]);
    }

    #[test]
    fn strided_elements_keep_their_tags() {
        let mut bytes = vec![1, 2, 3, 4, 0x25, 5, 6, 7, 8];
        let patch = Patch { span: Span::Fixed { offset: 0, stride: 5, elements: 2 }, size: 4, words: &[0b10] };
        assert_eq!(patch.range(), 0..9);
        patch.apply(&mut bytes, 0);
        assert_eq!(bytes, [1, 2, 3, 4, 0x25, 0, 0, 0, 0]);
    }

    #[test]
    fn shared_bytes_are_patched_by_both() {
        let patches = || {
            [
                Patch { span: Span::Raw { offset: 1, length: 2 }, size: 1, words: &[0b01] },
                Patch { span: Span::Raw { offset: 1, length: 2 }, size: 1, words: &[0b10] },
            ]
        };
        let mut out = Vec::new();
        stream(Content::Memory(&[9, 8, 7, 6]), &mut patches(), &mut |p| {
            out.extend_from_slice(p);
            Ok(())
        })
        .ok()
        .unwrap();
        assert_eq!(out, [9, 0, 0, 6]);
    }

    #[test]
    fn elements_across_the_ends_of_pieces_are_zeroed_whole() {
        // Elements of 8 bytes that start at 3: the one over the first piece's end lies in both.
        let bytes: Vec<u8> = (0..2 * PIECE + 100).map(|i| (i % 251 + 1) as u8).collect();
        let elements = (bytes.len() - 3) / 8;
        let words = vec![0x9249_2492_4924_9249; elements.div_ceil(64)];
        let patch = || [Patch { span: Span::Raw { offset: 3, length: elements * 8 }, size: 8, words: &words }];
        let mut out = Vec::new();
        stream(Content::Memory(&bytes), &mut patch(), &mut |p| {
            out.extend_from_slice(p);
            Ok(())
        })
        .ok()
        .unwrap();
        let mut wanted = bytes.clone();
        for e in (0..elements).filter(|e| words[e / 64] >> (e % 64) & 1 == 1) {
            wanted[3 + e * 8..11 + e * 8].fill(0);
        }
        assert!(out == wanted);
    }
}
