//! Vectors that several layers hold: what is left of them is another for each.

use std::collections::{HashMap, HashSet};

use onnx_ir::GraphProto;

use super::is_gone;
use super::numbers::Numbers;
use super::remove::{RemoveError, set_bytes, shape, sliced};
use crate::onnx::TensorId;

impl Numbers<'_> {
    /// Vectors that several layers hold: each gets what is left of it there, one for all that need the same.
    pub(super) fn copies(&self, proto: &mut GraphProto, place: &dyn Fn(usize) -> Result<usize, RemoveError>) -> Result<(), RemoveError> {
        let graph = &self.channels.graph;
        let mut names: HashMap<(TensorId, Vec<bool>), String> = HashMap::new();
        let mut taken: HashSet<String> = proto.initializer.iter().map(|tensor| tensor.name.clone()).collect();
        let mut reads = HashMap::new();
        count_reads(proto, &mut reads);
        for (n, node) in graph.nodes.iter().enumerate() {
            for (input, value) in node.inputs.iter().enumerate().filter_map(|(input, value)| Some((input, (*value)?))) {
                let Some(id) = self.tensor(value).filter(|id| self.channels.uses.get(id).is_some_and(|uses| uses.len() > 1)) else {
                    continue;
                };
                let Some(dims) =
                    self.channels.tensors.get(&value).filter(|_| (0..self.shape(value).len()).any(|a| self.length(value, a).is_some()))
                else {
                    continue;
                };
                let kept: Vec<bool> = dims.iter().flatten().flat_map(|p| p.iter()).map(|place| !is_gone(place, self.removed)).collect();
                let name = match names.get(&(id, kept.clone())) {
                    Some(name) => name.clone(),
                    None => {
                        let tensor = self.file.tensor(id);
                        let whole = proto.initializer.iter().find(|proto| proto.name == tensor.own_name()).cloned();
                        let Some(mut copy) = whole else { return Err(RemoveError::NotFound(tensor.name.clone())) };
                        let bytes =
                            if copy.raw_data.is_empty() { self.file.bytes(id)?.unwrap_or_default() } else { copy.raw_data.to_vec() };
                        copy.dims = shape(&tensor.shape, dims, self.removed).into_iter().map(|size| size as i64).collect();
                        set_bytes(&mut copy, sliced(bytes, &tensor.shape, dims, self.removed, tensor.dtype.size().unwrap_or(1)));
                        let is_free = |name: &String| !taken.contains(name) && !reads.contains_key(name);
                        copy.name = free_name(tensor.own_name(), is_free);
                        taken.insert(copy.name.clone());
                        names.insert((id, kept), copy.name.clone());
                        let name = copy.name.clone();
                        proto.initializer.push(copy);
                        name
                    }
                };
                proto.node[place(n)?].input[input] = name;
            }
        }
        let mut reads = HashMap::new();
        count_reads(proto, &mut reads);
        let is_spent = |name: &str| !reads.contains_key(name) && names.keys().any(|(id, _)| self.file.tensor(*id).own_name() == name);
        proto.initializer.retain(|tensor| !is_spent(&tensor.name));
        proto.input.retain(|info| !is_spent(&info.name));
        Ok(())
    }
}

/// The name with the first number behind it that nobody has.
pub(super) fn free_name(base: &str, is_free: impl Fn(&String) -> bool) -> String {
    let mut number = 1_u64;
    loop {
        let name = format!("{base}_{number}");
        if is_free(&name) {
            return name;
        }
        number += 1;
    }
}

/// How often every name is read, within graphs that nodes hold too.
pub(super) fn count_reads(graph: &GraphProto, reads: &mut HashMap<String, usize>) {
    let outputs = graph.output.iter().map(|info| &info.name);
    for name in outputs.chain(graph.node.iter().flat_map(|node| &node.input)) {
        *reads.entry(name.clone()).or_default() += 1;
    }
    let attributes = graph.node.iter().flat_map(|node| &node.attribute);
    attributes.flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs)).for_each(|graph| count_reads(graph, reads));
}
