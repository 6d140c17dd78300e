//! Saving a pruned model: the opened file with the bytes of changed elements replaced, and nothing else changed.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::copy::{self, FileContent, Segment};
use super::data_files::DataFiles;
use super::patch::{ElementRun, Patch, Tallies, is_zero};
use super::sharing;
use super::sources::SourceId;
use super::tensor::Decoded;
use super::wire::{self, Malformed, Moves, NewBias};
use super::{OnnxFile, OpenError, SaveError, TensorId};
use crate::atomic::{self, Overwrite, WriteError};

/// Where a tensor begins that gets bytes of its own in a data file: what maps the file into memory wants whole pages.
const ALIGNMENT: usize = 4096;

/// What becomes of one tensor.
#[derive(Debug, Clone)]
pub struct Edit {
    /// Which tensor.
    pub tensor: TensorId,
    /// What changes in it.
    pub change: Change,
}

/// How the elements of a tensor change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Bit `i % 64` of word `i / 64` is set where element `i` becomes +0.0; all others stay as they are.
    Zeros(Vec<u64>),
    /// All elements, in the tensor's own type, little-endian.
    Bytes(Vec<u8>),
}

impl Change {
    fn is_nothing(&self) -> bool {
        matches!(self, Self::Zeros(words) if words.iter().all(|&word| word == 0))
    }

    /// Whether element `e`, which is `value`, is zero afterwards, in a tensor of elements of `size` bytes.
    fn leaves_zero(&self, e: usize, value: f32, size: usize) -> bool {
        match self {
            Self::Zeros(words) => value == 0.0 || words.get(e / 64).is_some_and(|w| w >> (e % 64) & 1 == 1),
            Self::Bytes(bytes) => bytes.get(e * size..(e + 1) * size).is_some_and(|bytes| is_zero(bytes, true)),
        }
    }
}

/// What was written, as read back from disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// Every file written, the model first.
    pub files: Vec<PathBuf>,
    /// Bytes of all of them together.
    pub bytes: u64,
    /// Zeros of every tensor of the opened file, counted in what was read back; 0 for those that are no floats.
    pub zeros: Vec<u64>,
}

/// Writes `file` with `edits` to `target`, with its external data beside it. What was written is read back and compared before it
/// takes the place of anything.
///
/// External data is named after the target, and no data file is replaced that another model may use, see `data_files`.
///
/// # Errors
/// [`SaveError`]; what was there before is there.
pub fn write(file: &OnnxFile, edits: &[Edit], target: &Path, overwrite: Overwrite) -> Result<Saved, SaveError> {
    write_with(file, edits, &[], target, overwrite)
}

/// As [`write()`], with biases for layers that have none.
///
/// # Errors
/// As [`write()`].
pub fn write_with(file: &OnnxFile, edits: &[Edit], biases: &[NewBias], target: &Path, overwrite: Overwrite) -> Result<Saved, SaveError> {
    let edits: BTreeMap<TensorId, &Change> =
        edits.iter().filter(|edit| !edit.change.is_nothing()).map(|edit| (edit.tensor, &edit.change)).collect();
    for (&id, change) in &edits {
        fits(file, id, change)?;
    }
    if overwrite == Overwrite::Refuse && target.exists() {
        return Err(WriteError::Exists { path: target.to_owned() }.into());
    }
    let real = target.canonicalize().ok();
    if file.sources.external.iter().any(|e| Some(&e.path) == real.as_ref()) {
        return Err(SaveError::OverData { path: target.to_owned() });
    }
    let is_changed = |number: usize| {
        let is_there = |id: TensorId| file.tensor(id).source == SourceId::External(number);
        edits.keys().any(|&id| is_there(id))
    };
    let data_files = DataFiles::choose(file, target, overwrite, is_changed);
    let mut copies = Copies { file, edits: &edits, biases, moved: HashMap::new(), counted: vec![0; file.tensors.len()] };
    let mut staged = Vec::new();
    for (i, place) in data_files.paths.iter().enumerate() {
        match place {
            Some((path, permission)) => staged.push(copies.data(i, path, *permission)?),
            None => copies.count_data(i).map_err(SaveError::Source)?,
        }
    }
    staged.push(copies.model(data_files.renamed, target, overwrite)?);
    let bytes = staged.iter().filter_map(|s| s.temporary_path().metadata().ok()).map(|m| m.len()).sum();
    let zeros = copies.counted;
    atomic::commit(staged)?;
    let files = std::iter::once(target.to_owned()).chain(data_files.paths.into_iter().flatten().map(|(path, _)| path)).collect();
    Ok(Saved { files, bytes, zeros })
}

/// A copy of a model in memory with biases for layers that have none; `None` where it has no such layers.
#[must_use]
pub fn add_biases(model: &[u8], biases: &[NewBias]) -> Option<Vec<u8>> {
    wire::with_biases(model, biases).ok()
}

/// Refuses what cannot be written where the tensor lies.
fn fits(file: &OnnxFile, id: TensorId, change: &Change) -> Result<(), SaveError> {
    let tensor = file.tensor(id);
    let parts = ElementRun::all_of(tensor);
    if parts.is_empty() {
        return Err(SaveError::NotInPlace { tensor: tensor.name.clone() });
    }
    let Change::Bytes(new) = change else { return Ok(()) };
    let content = file.sources.body.content();
    for part in parts.iter().filter(|part| part.is_of_varints()) {
        let mut bytes = Vec::new();
        content.read(part.range(), &mut bytes).map_err(SaveError::Source)?;
        if !part.has_room(&bytes, new) {
            return Err(SaveError::NoRoom { tensor: tensor.name.clone() });
        }
    }
    Ok(())
}

/// Makes the copies of the opened files.
struct Copies<'a> {
    file: &'a OnnxFile,
    edits: &'a BTreeMap<TensorId, &'a Change>,
    biases: &'a [NewBias],
    /// New offsets of tensors in the copies of their data files.
    moved: HashMap<TensorId, u64>,
    /// Zeros, by tensor.
    counted: Vec<u64>,
}

impl<'a> Copies<'a> {
    /// The elements in one of the opened files, by tensor.
    fn parts(&self, source: SourceId) -> impl Iterator<Item = (TensorId, ElementRun)> + use<'a> {
        let tensors = self.file.tensors.iter().enumerate().filter(move |(_, t)| t.source == source);
        tensors.flat_map(|(i, tensor)| ElementRun::all_of(tensor).into_iter().map(move |part| (TensorId(i), part)))
    }

    fn patch(&self, id: TensorId, part: ElementRun) -> Option<Patch<'a>> {
        self.edits.get(&id).map(|change| Patch { part, change })
    }

    fn count(&mut self, tallies: &Tallies) {
        for (id, zeros) in tallies.zeros() {
            self.counted[id.0] += zeros;
        }
    }

    /// A data file. A tensor whose bytes another one needs as they are gets its own at the end.
    fn data(&mut self, number: usize, path: &Path, overwrite: Overwrite) -> Result<atomic::Staged, SaveError> {
        let content = FileContent::Disk(&self.file.sources.external[number]);
        let parted = sharing::parted(self.file, number, &|id| self.edits.get(&id).copied());
        let (away, there): (Vec<_>, Vec<_>) = self.parts(SourceId::External(number)).partition(|(id, _)| parted.contains(id));
        let patches = there.iter().filter_map(|&(id, part)| self.patch(id, part)).collect();
        let mut segments = vec![Segment::new(content, 0..content.len(), patches, 0)];
        let mut placed = there;
        for (id, part) in away {
            let at = segments.last().map_or(0, Segment::end).next_multiple_of(ALIGNMENT);
            let patches = self.patch(id, part).into_iter().collect();
            segments.push(Segment::new(content, part.range(), patches, at));
            placed.push((id, part.moved(part.range().start, at)));
            self.moved.insert(id, at as u64);
        }
        let mut tallies = Tallies::new(placed.into_iter());
        let staged = copy::stage(&segments, path, overwrite, &mut tallies)?;
        self.count(&tallies);
        Ok(staged)
    }

    /// Counts the zeros in a data file that stays as it is.
    fn count_data(&mut self, number: usize) -> Result<(), OpenError> {
        for (i, tensor) in self.file.tensors.iter().enumerate().filter(|(_, t)| t.source == SourceId::External(number)) {
            self.counted[i] = tensor.floats(&self.file.sources)?.map_or(0, |values| values.zeros());
        }
        Ok(())
    }

    /// The model itself, once its data files are copied.
    fn model(&mut self, renamed: HashMap<String, String>, path: &Path, overwrite: Overwrite) -> Result<atomic::Staged, SaveError> {
        let content = self.file.sources.body.content();
        let parts: Vec<(TensorId, ElementRun)> = self.parts(SourceId::Model).collect();
        let patches = parts.iter().filter_map(|&(id, part)| self.patch(id, part)).collect();
        let segments = [Segment::new(content, 0..content.len(), patches, 0)];
        let mut tallies = Tallies::new(parts.into_iter());
        let staged = if renamed.is_empty() && self.moved.is_empty() && self.biases.is_empty() {
            copy::stage(&segments, path, overwrite, &mut tallies)?
        } else {
            let mut patched = Vec::with_capacity(content.len());
            copy::stream(&segments, &mut |piece, start| {
                tallies.add(piece, start);
                patched.extend_from_slice(piece);
                Ok(())
            })
            .map_err(|e| e.at(path))?;
            let broken = |_| SaveError::Differs { path: path.to_owned() };
            let offsets = self.offsets(&patched).map_err(broken)?;
            let mut told = wire::rewritten(&patched, &Moves { locations: renamed, offsets }).map_err(broken)?;
            if !self.biases.is_empty() {
                told = wire::with_biases(&told, self.biases).map_err(broken)?;
            }
            let whole = [Segment::new(FileContent::Memory(&told), 0..told.len(), Vec::new(), 0)];
            copy::stage(&whole, path, overwrite, &mut Tallies::new(std::iter::empty()))?
        };
        self.count(&tallies);
        self.count_decoded().map_err(SaveError::Source)?;
        Ok(staged)
    }

    /// The new offsets by where the tensors' messages begin in `bytes`, the model.
    fn offsets(&self, bytes: &[u8]) -> Result<HashMap<usize, u64>, Malformed> {
        if self.moved.is_empty() {
            return Ok(HashMap::new());
        }
        let located = wire::locate(bytes)?;
        let starts = |id: TensorId| located[self.file.tensor(id).number].starts.iter();
        Ok(self.moved.iter().flat_map(|(&id, &at)| starts(id).map(move |&start| (start, at))).collect())
    }

    /// Counts the zeros of tensors that do not lie in the file element by element.
    fn count_decoded(&mut self) -> Result<(), OpenError> {
        for (i, tensor) in self.file.tensors.iter().enumerate() {
            if tensor.is_sparse() {
                self.counted[i] = tensor.floats(&self.file.sources)?.map_or(0, |values| values.zeros());
            }
            let Some(Decoded::Floats(values)) = &tensor.decoded else { continue };
            let change = self.edits.get(&TensorId(i));
            let size = tensor.dtype.size().unwrap_or(1);
            let is_zero = |&(e, value): &(usize, &f32)| change.map_or(*value == 0.0, |change| change.leaves_zero(e, *value, size));
            self.counted[i] = values.iter().enumerate().filter(is_zero).count() as u64;
        }
        Ok(())
    }
}
