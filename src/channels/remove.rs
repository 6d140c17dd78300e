//! The model without the removed units: tensors sliced, and every number in it put right that counts them, see [`super::numbers`].

use std::borrow::Cow;

use bytes::Bytes;
use onnx_ir::{AttributeProto, GraphProto, Message, ModelProto, NodeProto, TensorProto};

use super::numbers::Numbers;
use super::{Channels, Places, Removed, is_gone, left};
use crate::onnx::{OnnxFile, OpenError, TensorId, Turn};

/// A protobuf message is no larger.
const MAX_BYTES: u64 = i32::MAX as u64;

/// Why there is no smaller model.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The opened file can no longer be read.
    #[error(transparent)]
    Source(#[from] OpenError),
    /// The groups of a layer would not be equally large.
    #[error("“{0}” would have groups of different size")]
    Uneven(String),
    /// The file holds a node or number otherwise than the network that was followed.
    #[error("“{0}” cannot be put right in the file")]
    NotFound(String),
    /// What is left is too much for one file.
    #[error("the smaller model has {0} bytes, and a file without external data at most {MAX_BYTES}")]
    TooLarge(u64),
}

/// What the file says of what was removed.
const REMOVED: &str = "secateur.channels";

/// Where a tensor begins in external data, if it is large: what maps the file into memory wants whole pages.
const PAGE: usize = 4096;

/// Where others begin.
const WORD: usize = 16;

/// A smaller model in memory.
#[derive(Debug)]
pub struct Smaller {
    /// The model's own file.
    pub model: Vec<u8>,
    /// Its external data, by the names that it has there.
    pub data: Vec<(String, Vec<u8>)>,
}

impl Smaller {
    /// Bytes of all of it.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.model.len() as u64 + self.data.iter().map(|(_, data)| data.len() as u64).sum::<u64>()
    }
}

impl Channels {
    /// The model without what was removed, its tensors as `read` gives them in their own type, little-endian; `None` for what is as opened.
    /// What was external data is so again. Names, metadata, the order of nodes and versions stay.
    ///
    /// # Errors
    /// [`RemoveError`]
    pub fn smaller(
        &self,
        file: &OnnxFile,
        removed: &Removed,
        read: &dyn Fn(TensorId) -> Result<Option<Vec<u8>>, OpenError>,
    ) -> Result<Smaller, RemoveError> {
        let mut model = file.whole_model()?;
        let mut size = 0;
        let mut data = vec![Vec::new(); file.num_data_files()];
        // In one order, whatever that of the map.
        let mut ways: Vec<_> = file.ways().collect();
        ways.sort_by_key(|(_, id)| *id);
        for (way, id) in ways {
            let Some(proto) = tensor_mut(&mut model, way) else { continue };
            let tensor = file.tensor(id);
            // One that several layers hold is made smaller below, for each of them.
            let dims = self.uses.get(&id).filter(|uses| uses.len() == 1).and_then(|uses| self.tensors.get(&uses[0]));
            let dims = dims.filter(|dims| dims.iter().flatten().any(|places| left(places, removed) < places.len()));
            let replaced = read(id)?;
            if dims.is_none() && replaced.is_none() && proto.external_data.is_empty() {
                size += proto.raw_data.len() as u64;
                continue;
            }
            let whole = match replaced {
                Some(bytes) => Some(bytes),
                None => file.bytes(id)?,
            };
            let Some(bytes) = whole else { continue };
            let bytes = match dims {
                Some(dims) => {
                    let element = tensor.dtype.size().unwrap_or(1);
                    proto.dims = shape(&tensor.shape, dims, removed).into_iter().map(|size| size as i64).collect();
                    sliced(bytes, &tensor.shape, dims, removed, element)
                }
                None => bytes,
            };
            // What several layers hold is copied from here.
            let is_shared = self.uses.get(&id).is_some_and(|uses| uses.len() > 1);
            if let Some(number) = file.data_file(id).filter(|_| !is_shared && !proto.external_data.is_empty()) {
                let there = &mut data[number];
                there.resize(there.len().next_multiple_of(if bytes.len() < PAGE { WORD } else { PAGE }), 0);
                set_external(proto, &data_name(number), there.len(), bytes.len());
                there.extend_from_slice(&bytes);
                continue;
            }
            size += bytes.len() as u64;
            if size > MAX_BYTES {
                return Err(RemoveError::TooLarge(size));
            }
            set_bytes(proto, bytes);
        }
        Numbers::new(self, file, removed).put_right(&mut model)?;
        let kept = self.kept(removed);
        let shorter = self.groups.iter().zip(kept).filter(|(group, kept)| *kept < group.units.len());
        let removed_text: Vec<String> = shorter.map(|(group, kept)| format!("{}: {kept} of {}", group.name, group.units.len())).collect();
        if !removed_text.is_empty() {
            if !model.metadata_props.iter().any(|entry| entry.key == REMOVED) {
                let mut metadata = ModelProto::new();
                // An empty entry, field 1 of a message whose type has no public name.
                metadata.merge_from_bytes(&[14 << 3 | 2, 0]).map_err(|error| RemoveError::NotFound(error.to_string()))?;
                model.metadata_props.append(&mut metadata.metadata_props);
            }
            // A model can be made smaller again.
            let known = model.metadata_props.iter().position(|entry| entry.key == REMOVED);
            let place = known.unwrap_or(model.metadata_props.len() - 1);
            if let Some(entry) = model.metadata_props.get_mut(place) {
                REMOVED.clone_into(&mut entry.key);
                let known = std::mem::take(&mut entry.value);
                entry.value = known.lines().map(str::to_owned).chain(removed_text).collect::<Vec<_>>().join("\n");
            }
        }
        let bytes = model.write_to_bytes().map_err(|error| RemoveError::NotFound(error.to_string()))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(RemoveError::TooLarge(bytes.len() as u64));
        }
        let data = data.into_iter().enumerate().filter(|(_, data)| !data.is_empty());
        Ok(Smaller { model: bytes, data: data.map(|(number, data)| (data_name(number), data)).collect() })
    }
}

/// What external data is called before it is saved: as no file beside a model that is its own.
fn data_name(number: usize) -> String {
    format!("smaller-{number}")
}

/// A tensor's elements as external data; it has such already.
fn set_external(proto: &mut TensorProto, location: &str, offset: usize, length: usize) {
    let Some(entry) = proto.external_data.first().cloned() else { return };
    proto.external_data.clear();
    for (key, value) in [("location", location.to_owned()), ("offset", offset.to_string()), ("length", length.to_string())] {
        let mut entry = entry.clone();
        (entry.key, entry.value) = (key.to_owned(), value);
        proto.external_data.push(entry);
    }
}

/// The tensor at the end of a way.
fn tensor_mut<'m>(model: &'m mut ModelProto, way: &[Turn]) -> Option<&'m mut TensorProto> {
    enum Spot<'m> {
        Graph(&'m mut GraphProto),
        Nodes(&'m mut Vec<NodeProto>),
        Node(&'m mut NodeProto),
        Attribute(&'m mut AttributeProto),
    }
    let (mut at, rest) = match way.split_first()? {
        (Turn::Function(f), rest) => (Spot::Nodes(&mut model.functions.get_mut(*f)?.node), rest),
        _ => (Spot::Graph(model.graph.as_mut()?), way),
    };
    for turn in rest {
        at = match (at, turn) {
            (Spot::Graph(graph), Turn::Initializer(i)) => return graph.initializer.get_mut(*i),
            (Spot::Graph(graph), Turn::Node(n)) => Spot::Node(graph.node.get_mut(*n)?),
            (Spot::Nodes(nodes), Turn::Node(n)) => Spot::Node(nodes.get_mut(*n)?),
            (Spot::Node(node), Turn::Attribute(a)) => Spot::Attribute(node.attribute.get_mut(*a)?),
            (Spot::Attribute(attribute), Turn::Graph(0)) => Spot::Graph(attribute.g.as_mut()?),
            (Spot::Attribute(attribute), Turn::Graph(i)) => Spot::Graph(attribute.graphs.get_mut(i - 1)?),
            (Spot::Attribute(attribute), Turn::Tensor) => return attribute.t.as_mut(),
            _ => return None,
        };
    }
    None
}

/// A tensor's elements as raw data, and nowhere else.
pub(super) fn set_bytes(proto: &mut TensorProto, bytes: Vec<u8>) {
    proto.float_data.clear();
    proto.double_data.clear();
    proto.int32_data.clear();
    proto.int64_data.clear();
    proto.uint64_data.clear();
    proto.external_data.clear();
    proto.data_location = TensorProto::new().data_location;
    proto.raw_data = Bytes::from(bytes);
}

/// Dimensions of what is left.
pub(super) fn shape(shape: &[usize], dims: &[Option<Places>], removed: &Removed) -> Vec<usize> {
    shape.iter().zip(dims).map(|(&size, dim)| dim.as_ref().map_or(size, |places| left(places, removed))).collect()
}

/// What is left of the elements.
pub(super) fn sliced(bytes: Vec<u8>, shape: &[usize], dims: &[Option<Places>], removed: &Removed, element: usize) -> Vec<u8> {
    let mut bytes = Cow::<[u8]>::Owned(bytes);
    // One dimension after another, from the last, so that the steps of those before stay as they are counted.
    let mut sizes = shape.to_vec();
    for axis in (0..shape.len()).rev() {
        let Some(places) = dims[axis].as_ref().filter(|places| left(places, removed) < places.len()) else { continue };
        let step = sizes[axis + 1..].iter().product::<usize>() * element;
        let kept: Vec<bool> = places.iter().map(|place| !is_gone(place, removed)).collect();
        let runs = bytes.chunks_exact(step.max(1)).zip(kept.iter().cycle());
        bytes = Cow::Owned(runs.filter(|(_, kept)| **kept).flat_map(|(run, _)| run.iter().copied()).collect());
        sizes[axis] = kept.iter().filter(|&&kept| kept).count();
    }
    bytes.into_owned()
}
