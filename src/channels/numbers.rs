//! Numbers in a file that count channels: groups, sizes, bounds, shapes, and the vectors that several layers hold.

use std::collections::{BTreeMap, HashMap, HashSet};

use onnx_ir::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};

use super::ints::{Element, Lists, hands_on};
use super::remove::{RemoveError, set_bytes, shape, sliced};
use super::{Channels, Places, Removed, is_gone, left, rules};
use crate::graph::{Node, ValueId};
use crate::onnx::{Dtype, OnnxFile, TensorId};

/// ONNX's numbers for types of integers.
const INT32: i32 = 6;
const INT64: i32 = 7;

/// A list of numbers that takes the place of another.
struct List {
    /// What it takes the place of, where that is a tensor.
    tensor: Option<TensorId>,
    numbers: Vec<i64>,
    /// Places that were set one by one.
    set: Vec<usize>,
    is_scalar: bool,
}

impl List {
    fn of(tensor: Option<TensorId>, numbers: Vec<i64>) -> Self {
        Self { tensor, numbers, set: Vec::new(), is_scalar: false }
    }
}

/// Numbers in the file that count channels.
pub(super) struct Numbers<'a> {
    channels: &'a Channels,
    file: &'a OnnxFile,
    removed: &'a Removed,
    writers: HashMap<ValueId, usize>,
    /// New lists, by the node that reads them and its input.
    lists: BTreeMap<(usize, usize), List>,
    /// New settings of nodes.
    settings: Vec<(usize, &'static str, Vec<i64>)>,
    /// Settings of nodes that no longer hold.
    dropped: Vec<(usize, &'static str)>,
}

impl<'a> Numbers<'a> {
    pub(super) fn new(channels: &'a Channels, file: &'a OnnxFile, removed: &'a Removed) -> Self {
        let writers = channels.graph.writers();
        Self { channels, file, removed, writers, lists: BTreeMap::new(), settings: Vec::new(), dropped: Vec::new() }
    }

    fn tensor(&self, value: ValueId) -> Option<TensorId> {
        self.channels.graph.constants.get(value.0).copied().flatten()
    }

    fn places(&self, value: ValueId, axis: usize) -> Option<&'a Places> {
        let dims = match self.tensor(value) {
            Some(_) => self.channels.tensors.get(&value),
            None => self.channels.values.get(&value),
        };
        dims?.get(axis)?.as_ref()
    }

    fn shape(&self, value: ValueId) -> Vec<usize> {
        match self.tensor(value) {
            Some(id) => self.file.tensor(id).shape.clone(),
            None => self.channels.trace.shapes.get(value.0).cloned().flatten().unwrap_or_default(),
        }
    }

    /// New length of a dimension, where it is another.
    fn length(&self, value: ValueId, axis: usize) -> Option<usize> {
        let places = self.places(value, axis)?;
        let length = left(places, self.removed);
        (length < places.len()).then_some(length)
    }

    fn ints(&self, value: Option<ValueId>) -> Option<Vec<i64>> {
        self.lists().numbers(value?)
    }

    /// Puts all of them right.
    pub(super) fn put_right(mut self, model: &mut ModelProto) -> Result<(), RemoveError> {
        let graph = self.channels.graph.clone();
        for (n, node) in graph.nodes.iter().enumerate() {
            self.node(n, node)?;
            self.keep_lengths(n, node)?;
        }
        let Some(proto) = model.graph.as_mut() else { return Ok(()) };
        // The nodes of the file by what they write.
        let by_output: HashMap<String, usize> =
            proto.node.iter().enumerate().flat_map(|(i, node)| node.output.iter().map(move |name| (name.clone(), i))).collect();
        let place = |n: usize| -> Result<usize, RemoveError> {
            let node = &graph.nodes[n];
            let name = node.outputs.iter().flatten().find_map(|value| by_output.get(&graph.values[value.0]));
            name.copied().ok_or_else(|| RemoveError::NotFound(node.shown_name(n)))
        };
        for (n, name, ints) in std::mem::take(&mut self.settings) {
            set_ints(&mut proto.node[place(n)?], name, ints);
        }
        self.copies(proto, &place)?;
        for (n, name) in std::mem::take(&mut self.dropped) {
            proto.node[place(n)?].attribute.retain(|attribute| attribute.name != name);
        }
        let mut reads: HashMap<String, usize> = HashMap::new();
        count_reads(proto, &mut reads);
        for ((n, input), List { tensor: id, numbers, is_scalar, .. }) in std::mem::take(&mut self.lists) {
            let i = place(n)?;
            let old = id.map(|id| self.file.tensor(id));
            let code = if old.is_some_and(|old| old.dtype == Dtype::from_code(INT32)) { INT32 } else { INT64 };
            let bytes = numbers.iter().flat_map(|&number| {
                let wide = number.to_le_bytes();
                wide.into_iter().take(if code == INT32 { 4 } else { 8 })
            });
            let is_scalar = is_scalar || old.is_some_and(|old| old.shape.is_empty());
            let dims = if is_scalar { Vec::new() } else { vec![numbers.len() as i64] };
            let mut list = TensorProto { dims, data_type: code, ..TensorProto::new() };
            set_bytes(&mut list, bytes.collect());
            // Others may read it too, for another purpose.
            let is_alone = |name: &String| reads.get(name) == Some(&1);
            let name = proto.node[i].input.get(input).filter(|name| is_alone(name)).cloned();
            if let Some(known) = name.as_ref().and_then(|name| proto.initializer.iter_mut().find(|tensor| tensor.name == *name)) {
                list.name.clone_from(&known.name);
                *known = list;
                continue;
            }
            let writer = name.as_ref().and_then(|name| by_output.get(name)).copied();
            if let Some(constant) = writer.map(|i| &mut proto.node[i]).filter(|node| node.op_type == "Constant")
                && let Some(said) = constant.attribute.iter_mut().find(|attribute| attribute.name == "value")
            {
                said.t = Some(list).into();
                continue;
            }
            let base = old.map_or_else(
                || graph.values[graph.nodes[n].outputs[0].map_or(0, |value| value.0)].clone(),
                |old| old.own_name().to_owned(),
            );
            let is_free = |name: &String| {
                !reads.contains_key(name) && !by_output.contains_key(name) && !proto.initializer.iter().any(|t| t.name == *name)
            };
            let name = free_name(&base, is_free);
            list.name.clone_from(&name);
            proto.initializer.push(list);
            let node = &mut proto.node[i];
            if node.input.len() <= input {
                node.input.resize(input + 1, String::new());
            }
            node.input[input].clone_from(&name);
            reads.insert(name, 1);
        }
        self.annotate(proto);
        Ok(())
    }

    /// Vectors that several layers hold: each gets what is left of it there, one for all that need the same.
    fn copies(&self, proto: &mut GraphProto, place: &dyn Fn(usize) -> Result<usize, RemoveError>) -> Result<(), RemoveError> {
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

    fn lists(&self) -> Lists<'_> {
        Lists { graph: &self.channels.graph, file: self.file, writers: &self.writers, trace: &self.channels.trace }
    }

    /// A new list for an input of a node, with one number of it set.
    fn set_number(
        &mut self,
        reader: (usize, usize),
        (tensor, numbers): (Option<TensorId>, Vec<i64>),
        (index, number): (usize, i64),
    ) -> Result<(), RemoveError> {
        let list = self.lists.entry(reader).or_insert_with(|| List::of(tensor, numbers));
        // Two nodes that read one list may need it otherwise.
        if list.set.contains(&index) && list.numbers[index] != number {
            return Err(RemoveError::NotFound(self.channels.graph.nodes[reader.0].shown_name(reader.0)));
        }
        list.numbers[index] = number;
        list.set.push(index);
        Ok(())
    }

    /// A number that says how long a dimension of a node's output is.
    fn set_length(&mut self, (n, input): (usize, usize), list: ValueId, i: usize, length: usize, node: &Node) -> Result<(), RemoveError> {
        match self.lists().element(list, i) {
            Element::Length { of: Some((value, axis)), piece } => {
                let whole = self.shape(value).get(axis).copied();
                if self.length(value, axis).or(whole) == Some(length) {
                    return Ok(());
                }
                // It was the length of something that was as long and no longer is.
                let piece = piece.ok_or_else(|| RemoveError::NotFound(node.shown_name(n)))?;
                self.set_number(piece, (None, vec![0]), (0, length as i64))
            }
            Element::Length { of: None, .. } => Ok(()),
            // Taken from what is read, or worked out from the rest.
            Element::Constant { numbers, index, .. } if numbers[index] <= 0 => Ok(()),
            Element::Constant { reader, tensor, numbers, index } => {
                self.set_number(reader.unwrap_or((n, input)), (tensor, numbers), (index, length as i64))
            }
            Element::Unknown { piece } => {
                let piece = piece.ok_or_else(|| RemoveError::NotFound(node.shown_name(n)))?;
                self.set_number(piece, (None, vec![0]), (0, length as i64))
            }
        }
    }

    /// Lengths that a node calculates with, the scale of attention for one, stay what they were.
    fn keep_lengths(&mut self, n: usize, node: &Node) -> Result<(), RemoveError> {
        for (input, value) in node.inputs.iter().enumerate().filter_map(|(input, value)| Some((input, (*value)?))) {
            let is_shape =
                matches!((node.op.as_str(), input), ("Reshape" | "Expand", 1) | ("ConstantOfShape", 0) | ("Resize", 3) | ("Slice", 1..));
            let writer = self.writers.get(&value).map(|&n| &self.channels.graph.nodes[n]);
            if is_shape || hands_on(node, input) || !writer.is_some_and(|writer| hands_on(writer, 0)) {
                continue;
            }
            let shape = self.shape(value);
            if shape.len() > 1 {
                continue;
            }
            let of = |i: usize| match self.lists().element(value, i) {
                Element::Length { of, .. } => of,
                _ => None,
            };
            let lengths: Vec<Option<(ValueId, usize)>> = (0..shape.iter().product()).map(of).collect();
            if !lengths.iter().flatten().any(|&(value, axis)| self.length(value, axis).is_some()) {
                continue;
            }
            let number = |of: &Option<(ValueId, usize)>| of.filter(|&(value, axis)| self.length(value, axis).is_some());
            let numbers: Option<Vec<i64>> =
                lengths.iter().map(|of| number(of).map(|(value, axis)| self.shape(value)[axis] as i64)).collect();
            let numbers = numbers.ok_or_else(|| RemoveError::NotFound(node.shown_name(n)))?;
            self.lists.insert((n, input), List { is_scalar: shape.is_empty(), ..List::of(None, numbers) });
        }
        Ok(())
    }

    fn node(&mut self, n: usize, node: &Node) -> Result<(), RemoveError> {
        let (Some(x), Some(y)) = (node.input(0), node.output(0)) else { return Ok(()) };
        match node.op.as_str() {
            "Conv" | "FusedConv" | "ConvTranspose" => {
                let Some(w) = node.input(1) else { return Ok(()) };
                let groups = node.attributes.int("group").unwrap_or(1).max(1) as usize;
                if groups > 1 && self.length(w, 0).is_some() {
                    let kept = self.groups_left(w, 0, groups).ok_or_else(|| RemoveError::Uneven(node.shown_name(n)))?;
                    self.settings.push((n, "group", vec![kept as i64]));
                }
            }
            "GroupNormalization" => {
                let groups = node.attributes.int("num_groups").unwrap_or(1).max(1) as usize;
                if self.length(x, 1).is_some() {
                    let kept = self.groups_left(x, 1, groups).ok_or_else(|| RemoveError::Uneven(node.shown_name(n)))?;
                    self.settings.push((n, "num_groups", vec![kept as i64]));
                }
            }
            "Reshape" | "Expand" | "Resize" => {
                let input = if node.op == "Resize" { 3 } else { 1 };
                for axis in 0..self.shape(y).len() {
                    let Some(length) = self.length(y, axis) else { continue };
                    match node.input(input) {
                        Some(list) if node.op != "Resize" || self.shape(list).first() == Some(&self.shape(y).len()) => {
                            self.set_length((n, input), list, axis, length, node)?;
                        }
                        Some(_) => return Err(RemoveError::NotFound(node.shown_name(n))),
                        None => self.set_old_shape(n, node, axis, length),
                    }
                }
            }
            "Split" => self.split(n, node, x),
            "Slice" => self.slice(n, node, x),
            "Gather" => {
                let rank = self.shape(x).len() as i64;
                let axis = node.attributes.int("axis").unwrap_or(0);
                let axis = if axis < 0 { axis + rank } else { axis } as usize;
                let (Some(places), Some(indices)) = (self.places(x, axis), node.input(1)) else { return Ok(()) };
                let Some(chosen) = self.ints(Some(indices)) else { return Ok(()) };
                let id = self.tensor(indices);
                if left(places, self.removed) < places.len() {
                    let (size, rank) = (places.len() as i64, self.shape(indices).len());
                    let kept = |&i: &i64| {
                        let place = (if i < 0 { i + size } else { i }) as usize;
                        (!is_gone(&places[place], self.removed)).then(|| self.before(places, place) as i64)
                    };
                    if rank == 1 {
                        let numbers = chosen.iter().filter_map(kept).collect();
                        self.lists.insert((n, 1), List::of(id, numbers));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Places that are left before one.
    fn before(&self, places: &Places, place: usize) -> usize {
        places[..place.min(places.len())].iter().filter(|place| !is_gone(place, self.removed)).count()
    }

    /// How many groups are left, if those that are have equally many places.
    fn groups_left(&self, value: ValueId, axis: usize, groups: usize) -> Option<usize> {
        let places = self.places(value, axis)?;
        let sizes: Vec<usize> = places
            .chunks(places.len() / groups)
            .map(|group| group.iter().filter(|place| !is_gone(place, self.removed)).count())
            .filter(|&size| size > 0)
            .collect();
        sizes.windows(2).all(|pair| pair[0] == pair[1]).then_some(sizes.len())
    }

    /// Before operator set 5 the shape was a setting.
    fn set_old_shape(&mut self, n: usize, node: &Node, axis: usize, length: usize) {
        let Some(shape) = node.attributes.ints("shape") else { return };
        let known = self.settings.iter().position(|(other, name, _)| *other == n && *name == "shape");
        let known = known.unwrap_or_else(|| {
            self.settings.push((n, "shape", shape.to_vec()));
            self.settings.len() - 1
        });
        if let Some(number) = self.settings[known].2.get_mut(axis).filter(|number| **number > 0) {
            *number = length as i64;
        }
    }

    fn split(&mut self, n: usize, node: &Node, x: ValueId) {
        let rank = self.shape(x).len() as i64;
        let axis = node.attributes.int("axis").unwrap_or(0);
        let axis = if axis < 0 { axis + rank } else { axis } as usize;
        if self.length(x, axis).is_none() {
            return;
        }
        // What nobody reads takes the rest.
        let size = |value: &Option<ValueId>| {
            let value = (*value)?;
            Some(self.length(value, axis).or_else(|| self.shape(value).get(axis).copied())? as i64)
        };
        let mut sizes: Vec<Option<i64>> = node.outputs.iter().map(size).collect();
        let old = match node.input(1) {
            Some(list) => self.ints(Some(list)),
            None => node.attributes.ints("split").map(<[i64]>::to_vec),
        };
        let equal = self.shape(x)[axis].div_ceil(sizes.len().max(1)) as i64;
        let mut start = 0;
        for (i, size) in sizes.iter_mut().enumerate() {
            let whole = old.as_ref().and_then(|old| old.get(i).copied()).unwrap_or(equal);
            if size.is_none()
                && let Some(places) = self.places(x, axis)
            {
                *size = Some((self.before(places, start + whole as usize) - self.before(places, start)) as i64);
            }
            start += whole as usize;
        }
        let sizes: Vec<i64> = sizes.into_iter().flatten().collect();
        match node.input(1) {
            Some(list) => drop(self.lists.insert((n, 1), List::of(self.tensor(list), sizes))),
            // Equal parts need no numbers.
            None if node.attributes.ints("split").is_none() && sizes.windows(2).all(|pair| pair[0] == pair[1]) => {}
            None if node.opset < 13 => self.settings.push((n, "split", sizes)),
            None => {
                self.lists.insert((n, 1), List::of(None, sizes));
                self.dropped.push((n, "num_outputs"));
            }
        }
    }

    fn slice(&mut self, n: usize, node: &Node, x: ValueId) {
        let rank = self.shape(x).len();
        let Some(bounds) = rules::bounds(node, &|value| self.lists().seen(value?), rank) else { return };
        let is_shorter = |&(axis, ..): &(usize, i64, i64, i64)| self.length(x, axis).is_some();
        if !bounds.iter().any(is_shorter) {
            return;
        }
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        for bound in &bounds {
            let &(axis, start, end, _) = bound;
            match self.places(x, axis).filter(|_| is_shorter(bound)) {
                Some(places) => {
                    let (first, count) = rules::run((start, end), places.len());
                    starts.push(self.before(places, first) as i64);
                    ends.push(self.before(places, first + count) as i64);
                }
                None => {
                    starts.push(start);
                    ends.push(end);
                }
            }
        }
        match (node.input(1), node.input(2)) {
            (Some(first), Some(second)) => {
                self.lists.insert((n, 1), List::of(self.tensor(first), starts));
                self.lists.insert((n, 2), List::of(self.tensor(second), ends));
            }
            _ => {
                self.settings.push((n, "starts", starts));
                self.settings.push((n, "ends", ends));
            }
        }
    }

    /// Shapes that the file tells of values.
    fn annotate(&self, proto: &mut GraphProto) {
        let graph = &self.channels.graph;
        // Values of the main graph come first where graphs within it use the same names.
        let by_name: HashMap<&str, ValueId> = graph.values.iter().enumerate().rev().map(|(i, name)| (name.as_str(), ValueId(i))).collect();
        let put_right = |info: &mut ValueInfoProto| {
            let Some(&value) = by_name.get(info.name.as_str()) else { return };
            let Some(declared) = info.type_.as_mut().filter(|declared| declared.has_tensor_type()) else { return };
            let Some(shape) = declared.mut_tensor_type().shape.as_mut() else { return };
            for (axis, dim) in shape.dim.iter_mut().enumerate().filter(|(_, dim)| dim.has_dim_value()) {
                if let Some(length) = self.length(value, axis) {
                    dim.set_dim_value(length as i64);
                }
            }
        };
        // Old files list their initializers among the inputs.
        proto.value_info.iter_mut().chain(&mut proto.input).for_each(put_right);
    }
}

/// The name with the first number behind it that nobody has.
fn free_name(base: &str, is_free: impl Fn(&String) -> bool) -> String {
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
fn count_reads(graph: &GraphProto, reads: &mut HashMap<String, usize>) {
    let outputs = graph.output.iter().map(|info| &info.name);
    for name in outputs.chain(graph.node.iter().flat_map(|node| &node.input)) {
        *reads.entry(name.clone()).or_default() += 1;
    }
    let attributes = graph.node.iter().flat_map(|node| &node.attribute);
    attributes.flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs)).for_each(|graph| count_reads(graph, reads));
}

/// Sets an integer setting of a node, or a list of them.
fn set_ints(node: &mut NodeProto, name: &str, ints: Vec<i64>) {
    use onnx_ir::AttributeType as T;
    let is_list = name != "group" && name != "num_groups";
    let attribute = match node.attribute.iter().position(|attribute| attribute.name == name) {
        Some(i) => &mut node.attribute[i],
        None => {
            node.attribute.push(AttributeProto { name: name.to_owned(), ..AttributeProto::new() });
            let last = node.attribute.len() - 1;
            &mut node.attribute[last]
        }
    };
    if is_list {
        attribute.type_ = T::INTS.into();
        attribute.ints = ints;
    } else {
        attribute.type_ = T::INT.into();
        attribute.i = ints[0];
    }
}
