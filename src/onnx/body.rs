//! The bytes of the `.onnx` file itself after it was parsed: in memory where it is small, on disk where it is large.

use std::borrow::Cow;

use bytes::Bytes;
use onnx_ir::{AttributeProto, GraphProto, ModelProto, TensorProto};

use super::OpenError;
use super::copy::FileContent;
use super::external::External;

/// Where the file's bytes are.
#[derive(Debug)]
pub(super) enum FileBytes {
    Memory(Bytes),
    Disk(External),
}

impl FileBytes {
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
    pub(super) fn content(&self) -> FileContent<'_> {
        match self {
            Self::Memory(bytes) => FileContent::Memory(bytes),
            Self::Disk(file) => FileContent::Disk(file),
        }
    }
}

/// Drops what nobody reads after the tensors were indexed, and whatever else of `model` borrows from the file's bytes, so that
/// these can be let go.
pub(super) fn detach(model: &mut ModelProto) {
    model.training_info = Vec::new();
    for function in &mut model.functions {
        function.node.iter_mut().flat_map(|node| &mut node.attribute).for_each(detach_attribute);
        function.attribute_proto.iter_mut().for_each(detach_attribute);
    }
    if let Some(graph) = model.graph.as_mut() {
        detach_graph(graph);
    }
}

/// Of a sparse initializer the name stays: it is told nowhere else.
fn detach_graph(graph: &mut GraphProto) {
    for initializer in &mut graph.initializer {
        *initializer = TensorProto { name: std::mem::take(&mut initializer.name), ..TensorProto::new() };
    }
    for sparse in &mut graph.sparse_initializer {
        sparse.indices.take();
        sparse.dims = Vec::new();
        let name = sparse.values.take().map(|values| values.name).unwrap_or_default();
        sparse.values = Some(TensorProto { name, ..TensorProto::new() }).into();
    }
    graph.node.iter_mut().flat_map(|node| &mut node.attribute).for_each(detach_attribute);
}

fn detach_attribute(attribute: &mut AttributeProto) {
    attribute.s = Bytes::copy_from_slice(&attribute.s);
    for text in &mut attribute.strings {
        *text = Bytes::copy_from_slice(text);
    }
    attribute.t.take();
    attribute.sparse_tensor.take();
    attribute.tensors = Vec::new();
    attribute.sparse_tensors = Vec::new();
    attribute.g.as_mut().into_iter().chain(&mut attribute.graphs).for_each(detach_graph);
}
