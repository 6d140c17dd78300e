//! The index of a file's tensors: what was parsed, joined with where it was found, and checked.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use onnx_ir::{ModelProto, TensorProto};

use super::external::Files;
use super::sources::Source;
use super::tensor::{Decoded, Tensor, TensorId, decode, elements_in_fields};
use super::wire::{self, Span};
use super::{Dtype, OpenError};

/// Product of the other dimensions of a tensor without elements: nothing holds them to the bytes that are there.
const MAX_EMPTY: usize = 1 << 31;

/// What is known so far.
pub(super) struct Index {
    path: PathBuf,
    /// Bytes of the model file.
    length: usize,
    pub(super) tensors: Vec<Tensor>,
    pub(super) by_name: HashMap<String, TensorId>,
    pub(super) by_attribute: HashMap<(usize, usize), TensorId>,
    pub(super) files: Files,
}

impl Index {
    pub(super) fn new(path: &Path, length: usize) -> Self {
        let (tensors, by_name, by_attribute) = (Vec::new(), HashMap::new(), HashMap::new());
        Self { path: path.to_owned(), length, tensors, by_name, by_attribute, files: Files::new(path) }
    }

    /// Fills `tensors`, joining what was parsed with where it was found. Both lists are in the file's order.
    pub(super) fn fill(&mut self, model: &ModelProto, found: &[wire::Found]) -> Result<(), OpenError> {
        let mut initializer_spans = found.iter().filter(|f| f.owner == wire::Owner::Initializer).map(|f| f.data);
        let mut attribute_spans = HashMap::new();
        for f in found {
            if let wire::Owner::Attribute { node, attribute } = f.owner {
                // A tensor that is given twice in one attribute is merged by the parser: not to be patched.
                attribute_spans.entry((node, attribute)).and_modify(|span| *span = None).or_insert(f.data);
            }
        }
        for proto in &model.graph.initializer {
            let span = initializer_spans.next().flatten();
            let id = self.add(&proto.name, proto, span)?;
            self.by_name.entry(proto.name.clone()).or_insert(id);
        }
        for (n, node) in model.graph.node.iter().enumerate() {
            for (a, attribute) in node.attribute.iter().enumerate() {
                let Some(proto) = attribute.t.as_ref() else { continue };
                let name = node.output.first().map_or(node.name.as_str(), String::as_str);
                let span = attribute_spans.get(&(n, a)).copied().flatten();
                let id = self.add(name, proto, span)?;
                self.by_attribute.insert((n, a), id);
                if node.op_type == "Constant" {
                    self.by_name.entry(name.to_owned()).or_insert(id);
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, name: &str, proto: &TensorProto, span: Option<Span>) -> Result<TensorId, OpenError> {
        let bad = |reason: String| OpenError::BadTensor { tensor: name.to_owned(), reason, path: self.path.clone() };
        let dtype = Dtype::from_code(proto.data_type);
        let shape: Vec<usize> =
            proto.dims.iter().map(|&d| usize::try_from(d).map_err(|_| bad(format!("dimension {d}")))).collect::<Result<_, _>>()?;
        let elements = shape
            .iter()
            .try_fold(1_usize, |n, &d| n.checked_mul(d))
            .filter(|&n| n > 0 || shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d.max(1))).is_some_and(|n| n <= MAX_EMPTY))
            .ok_or_else(|| bad(format!("its shape {shape:?} is beyond any memory")))?;
        let mut tensor = Tensor { name: name.to_owned(), dtype, shape, elements, source: Source::Model, span, decoded: None };
        let too_large = || bad(format!("its shape {:?} is beyond any memory", proto.dims));
        let wanted = dtype.size().map(|size| elements.checked_mul(size).ok_or_else(too_large)).transpose()?;
        // Elements of no whole bytes are at most eight to a byte of the file.
        if wanted.is_none() && elements / 8 > self.length {
            return Err(too_large());
        }
        if proto.data_location.value() == 1 {
            let Some(wanted) = wanted else { return Err(bad(format!("external data of {dtype}"))) };
            let entries: Vec<(&str, &str)> = proto.external_data.iter().map(|e| (e.key.as_str(), e.value.as_str())).collect();
            let place = self.files.place(name, &entries, wanted)?;
            tensor.source = Source::External(place.file);
            tensor.span = Some(Span::Raw { offset: place.offset, length: wanted });
        } else if let Some(Span::Raw { length, .. }) = span {
            if let Some(wanted) = wanted.filter(|&wanted| wanted != length) {
                return Err(bad(format!("{wanted} bytes expected for its shape {:?}, {length} found", tensor.shape)));
            }
        } else {
            tensor.decoded = decode(proto, dtype);
            let have = match (&tensor.decoded, span) {
                (Some(Decoded::Ints(v)), _) => v.len(),
                (Some(Decoded::Floats(v)), _) => v.len(),
                (None, Some(Span::Fixed { elements, .. })) => elements,
                (None, _) => elements_in_fields(proto, dtype),
            };
            if have != elements && wanted.is_some() {
                return Err(bad(format!("{elements} elements expected for its shape {:?}, {have} found", tensor.shape)));
            }
        }
        // The raw span of a type that is not plain numbers is of no use to anyone.
        if dtype.size().is_none() {
            tensor.span = None;
        }
        self.tensors.push(tensor);
        Ok(TensorId(self.tensors.len() - 1))
    }
}
