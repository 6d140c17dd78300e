//! The opened files that a model's bytes lie in.

use std::borrow::Cow;

use super::OpenError;
use super::body::FileBytes;
use super::external::External;

/// Which of them a tensor's bytes lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum SourceId {
    /// The `.onnx` file.
    Model,
    /// Number in the list of external data files.
    External(usize),
}

/// All of them.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) body: FileBytes,
    pub(super) external: Vec<External>,
}

impl Sources {
    /// `length` bytes from `offset`: borrowed from the model, or read from disk.
    pub(super) fn range(&self, source: SourceId, offset: usize, length: usize) -> Result<Cow<'_, [u8]>, OpenError> {
        match source {
            SourceId::Model => self.body.range(offset, length),
            SourceId::External(i) => {
                let mut out = vec![0; length];
                self.external[i].read(offset as u64, &mut out)?;
                Ok(Cow::Owned(out))
            }
        }
    }

    /// Whether reading from `source` costs nothing.
    pub(super) fn is_held(&self, source: SourceId) -> bool {
        source == SourceId::Model && self.body.is_held()
    }

    /// Bytes of the model and of its external data, together.
    pub(super) fn len(&self) -> u64 {
        self.body.len() as u64 + self.external.iter().map(External::len).sum::<u64>()
    }
}
