//! A copy of an opened file with some elements changed, made piece by piece, and compared with what was meant.

use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use super::OpenError;
use super::error::SaveError;
use super::external::External;
use super::patch::{Patch, Tallies};
use crate::atomic::{self, Overwrite, WriteError};

/// Bytes of a file that are in memory at once while it is copied.
const PIECE: usize = 1 << 20;

/// What one of the opened files holds.
#[derive(Clone, Copy)]
pub(super) enum FileContent<'a> {
    Memory(&'a [u8]),
    Disk(&'a External),
}

impl FileContent<'_> {
    pub(super) fn len(self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::Disk(external) => external.len() as usize,
        }
    }

    pub(super) fn read(self, range: Range<usize>, out: &mut Vec<u8>) -> Result<(), OpenError> {
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

/// Bytes of an opened file that go into a copy, patched.
pub(super) struct Segment<'a> {
    content: FileContent<'a>,
    range: Range<usize>,
    /// By where they start.
    patches: Vec<Patch<'a>>,
    /// Where it starts in the copy; what is between two segments is zero.
    pub(super) at: usize,
}

impl<'a> Segment<'a> {
    /// `range` of `content`, to lie at `at` of the copy.
    pub(super) fn new(content: FileContent<'a>, range: Range<usize>, mut patches: Vec<Patch<'a>>, at: usize) -> Self {
        patches.sort_by_key(|p| p.part.range().start);
        Self { content, range, patches, at }
    }

    pub(super) fn end(&self) -> usize {
        self.at + self.range.len()
    }
}

/// Why a copy ended.
pub(super) enum CopyError {
    Source(OpenError),
    Sink(io::Error),
}

impl CopyError {
    /// `path` is what was written, or read back.
    pub(super) fn at(self, path: &Path) -> SaveError {
        match self {
            Self::Source(e) => SaveError::Source(e),
            Self::Sink(source) => WriteError::Io { source, path: path.to_owned() }.into(),
        }
    }
}

/// Passes the copy to `sink`, piece by piece, each with its position.
pub(super) fn stream(segments: &[Segment], sink: &mut dyn FnMut(&[u8], usize) -> io::Result<()>) -> Result<(), CopyError> {
    let mut at = 0;
    for segment in segments {
        let gap = vec![0; segment.at - at];
        sink(&gap, at).map_err(CopyError::Sink)?;
        pass(segment, sink)?;
        at = segment.end();
    }
    Ok(())
}

fn pass(segment: &Segment, sink: &mut dyn FnMut(&[u8], usize) -> io::Result<()>) -> Result<(), CopyError> {
    let mut waiting = segment.patches.iter().peekable();
    let mut active: Vec<&Patch> = Vec::new();
    let mut buffer = Vec::new();
    let mut start = segment.range.start;
    while start < segment.range.end {
        let mut end = segment.range.end.min(start + PIECE);
        while let Some(patch) = waiting.next_if(|p| p.part.range().start < end) {
            if patch.is_indivisible() {
                end = end.max(patch.part.range().end);
            }
            active.push(patch);
        }
        segment.content.read(start..end, &mut buffer).map_err(CopyError::Source)?;
        for patch in &active {
            patch.apply(&mut buffer, start);
        }
        sink(&buffer, segment.at + start - segment.range.start).map_err(CopyError::Sink)?;
        active.retain(|p| p.part.range().end > end);
        start = end;
    }
    Ok(())
}

/// Writes the copy under a temporary name and reads it back: it is verified here, before it takes the place of anything, and
/// nowhere else. What was read back is shown to `tallies`.
pub(super) fn stage(segments: &[Segment], path: &Path, overwrite: Overwrite, tallies: &mut Tallies) -> Result<atomic::Staged, SaveError> {
    let staged = atomic::stage(path, overwrite, |out| {
        stream(segments, &mut |piece, _| out.write_all(piece)).map_err(|e| match e {
            CopyError::Sink(e) => e,
            CopyError::Source(e) => io::Error::other(e),
        })
    })?;
    check(staged.temporary_path(), path, segments, tallies)?;
    Ok(staged)
}

/// Compares what is on disk with what was meant, byte for byte; `path` is its name in messages.
fn check(on_disk: &Path, path: &Path, segments: &[Segment], tallies: &mut Tallies) -> Result<(), SaveError> {
    let failed = |source| WriteError::Io { source, path: path.to_owned() };
    let mut disk = io::BufReader::with_capacity(PIECE, std::fs::File::open(on_disk).map_err(failed)?);
    let mut buffer = Vec::new();
    let mut same = true;
    stream(segments, &mut |piece, start| {
        buffer.resize(piece.len(), 0);
        disk.read_exact(&mut buffer)?;
        same &= buffer == piece;
        tallies.add(&buffer, start);
        Ok(())
    })
    .map_err(|e| e.at(path))?;
    let whole = disk.read(&mut [0]).map_err(failed)? == 0;
    if same && whole { Ok(()) } else { Err(SaveError::Differs { path: path.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::super::Tensor;
    use super::super::patch::ElementRun;
    use super::super::sources::SourceId;
    use super::super::wire::Span;
    use super::super::write::Change;
    use super::super::{Dtype, TensorId};
    use super::*;

    fn tensor(dtype: Dtype, offset: usize, length: usize) -> Tensor {
        let elements = length / dtype.size().unwrap();
        let span = Some(Span::Raw { offset, length });
        Tensor {
            name: "w".into(),
            scope: 0,
            dtype,
            shape: vec![elements],
            elements,
            is_initializer: true,
            fault: None,
            number: 0,
            source: SourceId::Model,
            span,
            decoded: None,
        }
    }

    fn patch<'a>(tensor: &Tensor, change: &'a Change) -> Vec<Patch<'a>> {
        ElementRun::all_of(tensor).into_iter().map(|part| Patch { part, change }).collect()
    }

    fn copied(segments: &[Segment]) -> Vec<u8> {
        let mut out = Vec::new();
        stream(segments, &mut |piece, at| {
            assert_eq!(at, out.len());
            out.extend_from_slice(piece);
            Ok(())
        })
        .ok()
        .unwrap();
        out
    }

    #[test]
    fn shared_bytes_are_patched_by_both() {
        let bytes = [9, 9, 8, 8, 7, 7, 6, 6];
        let tensor = tensor(Dtype::F16, 2, 4);
        let (first, second) = (Change::Zeros(vec![0b01]), Change::Zeros(vec![0b10]));
        let patches = [patch(&tensor, &first), patch(&tensor, &second)].concat();
        assert_eq!(copied(&[Segment::new(FileContent::Memory(&bytes), 0..8, patches, 0)]), [9, 9, 0, 0, 0, 0, 6, 6]);
    }

    #[test]
    fn segments_lie_where_they_should() {
        let bytes = [1, 2, 3, 4, 5, 6];
        let whole = Segment::new(FileContent::Memory(&bytes), 0..6, Vec::new(), 0);
        let change = Change::Zeros(vec![0b10]);
        let again = Segment::new(FileContent::Memory(&bytes), 2..6, patch(&tensor(Dtype::F16, 2, 4), &change), 8);
        assert_eq!(copied(&[whole, again]), [1, 2, 3, 4, 5, 6, 0, 0, 3, 4, 0, 0]);
    }

    #[test]
    fn elements_across_the_ends_of_pieces_are_zeroed_whole_and_counted() {
        // Elements of 8 bytes that start at 3: the one over the first piece's end lies in both.
        let bytes: Vec<u8> = (0..2 * PIECE + 100).map(|i| (i % 251 + 1) as u8).collect();
        let tensor = tensor(Dtype::F64, 3, (bytes.len() - 3) / 8 * 8);
        let words = vec![0x9249_2492_4924_9249; tensor.elements.div_ceil(64)];
        let change = Change::Zeros(words.clone());
        let segments = [Segment::new(FileContent::Memory(&bytes), 0..bytes.len(), patch(&tensor, &change), 0)];
        let mut wanted = bytes.clone();
        let chosen = |e: &usize| words[e / 64] >> (e % 64) & 1 == 1;
        for e in (0..tensor.elements).filter(chosen) {
            wanted[3 + e * 8..11 + e * 8].fill(0);
        }
        assert!(copied(&segments) == wanted);

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy");
        let mut tallies = Tallies::new(ElementRun::all_of(&tensor).into_iter().map(|part| (TensorId(0), part)));
        let staged = stage(&segments, &path, Overwrite::Refuse, &mut tallies).unwrap();
        let zeros = (0..tensor.elements).filter(chosen).count() as u64;
        assert_eq!(tallies.zeros().collect::<Vec<_>>(), [(TensorId(0), zeros)]);
        // One byte that the disk holds otherwise, one that it has lost, one too many.
        let on_disk = staged.temporary_path().to_owned();
        let none = || Tallies::new(std::iter::empty());
        let mut broken = wanted.clone();
        broken[PIECE + 7] ^= 1;
        for content in [&broken[..], &[&wanted[..], &[0]].concat()] {
            std::fs::write(&on_disk, content).unwrap();
            assert!(matches!(check(&on_disk, &path, &segments, &mut none()), Err(SaveError::Differs { .. })));
        }
        std::fs::write(&on_disk, &wanted[1..]).unwrap();
        assert!(check(&on_disk, &path, &segments, &mut none()).is_err());
        std::fs::write(&on_disk, &wanted).unwrap();
        assert!(check(&on_disk, &path, &segments, &mut none()).is_ok());
    }
}
