//! The bytes of the `.onnx` file itself after it was parsed: in memory where it is small, on disk where it is large.

use std::borrow::Cow;

use bytes::Bytes;
use onnx_ir::ModelProto;

use super::OpenError;
use super::copy::Content;
use super::external::External;

/// Where the file's bytes are.
#[derive(Debug)]
pub(super) enum Body {
    Memory(Bytes),
    Disk(External),
}

impl Body {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::Disk(file) => file.len() as usize,
        }
    }

    /// Whether reading costs nothing.
    pub(super) fn is_held(&self) -> bool {
        matches!(self, Self::Memory(_))
    }

    /// `length` bytes from `offset`, which lie within the file.
    pub(super) fn range(&self, offset: usize, length: usize) -> Result<Cow<'_, [u8]>, OpenError> {
        match self {
            Self::Memory(bytes) => Ok(Cow::Borrowed(bytes.get(offset..offset + length).unwrap_or_default())),
            Self::Disk(file) => {
                let mut out = vec![0; length];
                file.read(offset as u64, &mut out)?;
                Ok(Cow::Owned(out))
            }
        }
    }

    /// All of it, to be copied.
    pub(super) fn content(&self) -> Content<'_> {
        match self {
            Self::Memory(bytes) => Content::Memory(bytes),
            Self::Disk(file) => Content::Disk(file),
        }
    }
}

/// Drops what nobody reads after the tensors were indexed, and whatever else of `model` borrows from the file's bytes, so that
/// these can be let go.
pub(super) fn detach(model: &mut ModelProto) {
    model.training_info = Vec::new();
    model.functions = Vec::new();
    let Some(graph) = model.graph.as_mut() else { return };
    graph.initializer = Vec::new();
    graph.sparse_initializer = Vec::new();
    for attribute in graph.node.iter_mut().flat_map(|node| &mut node.attribute) {
        attribute.s = Bytes::copy_from_slice(&attribute.s);
        for text in &mut attribute.strings {
            *text = Bytes::copy_from_slice(text);
        }
        attribute.t.take();
        attribute.g.take();
        attribute.sparse_tensor.take();
        attribute.tensors = Vec::new();
        attribute.graphs = Vec::new();
        attribute.sparse_tensors = Vec::new();
    }
}
