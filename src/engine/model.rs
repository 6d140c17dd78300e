//! An opened file with its network.

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use super::EngineError;
use crate::escaped::escaped;
use crate::graph::{self, BatchNorm, Graph, Parameter, ParameterId};
use crate::network::Network;
use crate::onnx::{OnnxFile, OpenError, Tensor};
use crate::prune::Ranking;
use crate::watch::Watch;

/// Values of at most so many elements are in memory at once, beyond what is kept: 256 MB.
const BATCH_ELEMENTS: usize = 1 << 26;

/// Tensors that cannot be read, of which so many are told one by one.
const MAX_TOLD: usize = 3;

/// Number of a model, counted as they are opened in one window: what is meant for one is not done to the next. 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ModelId(pub u64);

impl ModelId {
    /// That of the next model.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// An opened model, shared with whoever shows it. Nothing in it changes.
#[derive(Debug)]
pub struct Model {
    /// The file.
    pub file: OnnxFile,
    /// The network.
    pub graph: Arc<Graph>,
    /// Operators that cannot be run, with their number.
    pub unsupported: std::collections::BTreeMap<String, usize>,
}

impl Model {
    /// Reads a file and builds its network.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Ok(Self::of(OnnxFile::open(path)?))
    }

    /// A model in memory, as if it had been opened at `path`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) fn of_bytes(path: &Path, bytes: Vec<u8>, data: Vec<(String, Vec<u8>)>) -> Result<Self, OpenError> {
        Ok(Self::of(OnnxFile::of_bytes(path, bytes, data)?))
    }

    fn of(file: OnnxFile) -> Self {
        let graph = Arc::new(graph::build(&file));
        let unsupported = Network::unsupported(&graph, &file);
        Self { file, graph, unsupported }
    }

    /// What a person should know about the file before pruning it.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.graph.batch_norm.and_then(BatchNorm::note).map(str::to_owned).into_iter().collect();
        notes.extend(self.graph.notes.iter().cloned());
        if !self.unsupported.is_empty() {
            let list: Vec<String> = self.unsupported.iter().map(|(op, n)| format!("{} ({n})", escaped(op))).collect();
            notes.push(format!("The network cannot be run here: {}. It can be inspected, pruned and saved.", list.join(", ")));
        }
        let told = |t: &Tensor| Some(format!("{}: {}", escaped(&t.name), escaped(&t.fault.as_ref()?.to_string())));
        let faulty: Vec<String> = self.file.tensors.iter().filter_map(told).collect();
        if !faulty.is_empty() {
            let what = if faulty.len() == 1 { "One tensor".to_owned() } else { format!("{} tensors", faulty.len()) };
            let list = faulty[..faulty.len().min(MAX_TOLD)].join("; ");
            notes.push(format!("{what} cannot be read; saving leaves the file's own bytes there. {list}"));
        }
        notes
    }

    /// Zeros of every parameter in the file; 0 for those that are not floats.
    ///
    /// # Errors
    /// External data that can no longer be read.
    pub fn zeros(&self) -> Result<Vec<u64>, OpenError> {
        self.each_parameter(|p| Ok(self.file.floats(p.tensor)?.map_or(0, |values| values.zeros())))
    }

    /// Ranks the elements of every parameter by magnitude, so that any cut is found at once.
    ///
    /// # Errors
    /// [`EngineError::Cancelled`], or external data that can no longer be read.
    pub fn rank(&self, watch: &dyn Watch) -> Result<Vec<Option<Ranking>>, EngineError> {
        let total = self.graph.elements().max(1);
        let done = std::sync::atomic::AtomicUsize::new(0);
        self.each_parameter(|p| {
            if watch.is_cancelled() {
                return Err(EngineError::Cancelled);
            }
            let ranking = self.file.floats(p.tensor)?.map(|values| Ranking::of(&values, p.dtype));
            let before = done.fetch_add(p.elements, std::sync::atomic::Ordering::Relaxed);
            watch.progress((before + p.elements) as f32 / total as f32, "Sorting magnitudes");
            Ok(ranking)
        })
    }

    /// What `make` makes of every parameter, in parallel.
    pub(super) fn each_parameter<T: Send, E: Send>(&self, make: impl Fn(&Parameter) -> Result<T, E> + Sync) -> Result<Vec<T>, E> {
        let all: Vec<ParameterId> = (0..self.graph.parameters.len()).map(ParameterId).collect();
        let mut made = Vec::with_capacity(all.len());
        for batch in self.batches(&all) {
            made.extend(batch.par_iter().map(|id| make(self.graph.parameter(*id))).collect::<Result<Vec<T>, E>>()?);
        }
        Ok(made)
    }

    /// Parameters in runs whose values may be in memory together, however many threads there are.
    pub(super) fn batches<'a>(&self, ids: &'a [ParameterId]) -> impl Iterator<Item = &'a [ParameterId]> {
        let mut rest = ids;
        std::iter::from_fn(move || {
            let mut elements = 0;
            let fits = |id: &&ParameterId| {
                elements += self.graph.parameter(**id).elements;
                elements <= BATCH_ELEMENTS
            };
            let count = rest.iter().take_while(fits).count().max(1).min(rest.len());
            let (batch, behind) = rest.split_at(count);
            rest = behind;
            (!batch.is_empty()).then_some(batch)
        })
    }
}
