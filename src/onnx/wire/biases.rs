//! A copy of a model in which some nodes of the main graph have a bias that they had not.
//!
//! A `Conv`, a `ConvTranspose` or a `Gemm` reads it as its third input; behind a `MatMul` an `Add` puts it, which writes what the `MatMul`
//! wrote before. All other bytes are copied, but for the lengths of the messages around what is new.

use std::collections::{HashMap, HashSet};

use super::merge::merged;
use super::schema::{MessageKind, MessagePlace, below};
use super::{Field, Fields, MAX_DEPTH, Malformed, Wire, push_field, push_varint, varint};
use crate::onnx::Dtype;

/// From this operator set on, `Add` broadcasts as NumPy does without being told.
const BROADCASTS: u64 = 7;

/// From this version of the format on, initializers need not stand among the graph's inputs.
const NEED_NO_INPUTS: u64 = 4;

/// Where a convolution and a `Gemm` read a bias.
const BIAS: usize = 2;

/// Of an attribute that is a whole number, `AttributeProto.AttributeType.INT`.
const INT: u64 = 2;

/// A bias for layers that have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBias {
    /// What it is called, if nothing in the main graph is called so; otherwise a number follows.
    pub name: String,
    /// Type of its elements.
    pub dtype: Dtype,
    /// Its elements, one for every output of the layers, little-endian.
    pub bytes: Vec<u8>,
    /// What the layers write, which are nodes of the main graph.
    pub outputs: Vec<String>,
}

/// A copy of the model with these biases.
///
/// # Errors
/// A model without the layers, or whose layers have more or fewer inputs than such a node.
pub(in crate::onnx) fn with_biases(bytes: &[u8], biases: &[NewBias]) -> Result<Vec<u8>, Malformed> {
    let whole = merged(bytes)?;
    let bytes = whole.as_deref().unwrap_or(bytes);
    let mut versions = Versions { format: 0, opset: 0 };
    let mut taken = HashSet::new();
    let mut fields = Fields { bytes, at: 0, end: bytes.len() };
    while let Some(field) = fields.next()? {
        match (field.number, field.wire) {
            (1, Wire::Varint) => versions.format = varint(bytes, field.start, field.end)?.0,
            (7, Wire::Length) => names(bytes, (field.start, field.end), MessageKind::Graph, &mut taken, 0)?,
            (8, Wire::Length) => versions.opset = versions.opset.max(opset(bytes, &field)?),
            _ => {}
        }
    }
    let mut adder = Adder { bytes, versions, taken, by_output: HashMap::new(), names: Vec::new(), left: 0 };
    for (i, bias) in biases.iter().enumerate() {
        let name = adder.free(bias.name.as_bytes());
        adder.names.push(name);
        for output in &bias.outputs {
            adder.by_output.insert(output.as_bytes(), i);
        }
    }
    adder.left = adder.by_output.len();
    let mut out = Vec::with_capacity(bytes.len() + biases.iter().map(|bias| bias.bytes.len() + 256).sum::<usize>());
    let mut fields = Fields { bytes, at: 0, end: bytes.len() };
    while let Some(field) = fields.next()? {
        if (field.number, field.wire) == (7, Wire::Length) {
            push_field(&mut out, field.number, &adder.graph(&field, biases)?);
        } else {
            out.extend_from_slice(&bytes[field.tag..field.end]);
        }
    }
    if adder.left == 0 { Ok(out) } else { Err(Malformed) }
}

/// Of the file's format, and of the default operator set.
#[derive(Clone, Copy)]
struct Versions {
    format: u64,
    opset: u64,
}

/// Version of the default operator set, where the field tells it.
fn opset(bytes: &[u8], field: &Field) -> Result<u64, Malformed> {
    let (mut domain, mut version) = (&[][..], 0);
    let mut fields = Fields { bytes, at: field.start, end: field.end };
    while let Some(part) = fields.next()? {
        match (part.number, part.wire) {
            (1, Wire::Length) => domain = &bytes[part.start..part.end],
            (2, Wire::Varint) => version = varint(bytes, part.start, part.end)?.0,
            _ => {}
        }
    }
    Ok(if domain.is_empty() || domain == b"ai.onnx" { version } else { 0 })
}

/// All names in a message, and in the graphs within it: what hides another is another.
fn names<'a>(
    bytes: &'a [u8],
    (start, end): (usize, usize),
    kind: MessageKind,
    taken: &mut HashSet<&'a [u8]>,
    depth: usize,
) -> Result<(), Malformed> {
    use MessageKind::{Attribute, Graph, Node, Sparse, Tensor, Value};
    if depth > MAX_DEPTH {
        return Err(Malformed);
    }
    MessagePlace::new(start, end).each_field(bytes, |field| {
        match (kind, field.number, field.wire) {
            (Node, 1..=3, Wire::Length) | (Tensor, 8, Wire::Length) | (Value, 1, Wire::Length) => {
                taken.insert(&bytes[field.start..field.end]);
            }
            _ => {
                if let Some((inner @ (Attribute | Graph | Node | Sparse | Tensor | Value), _)) = below(kind, &field) {
                    names(bytes, (field.start, field.end), inner, taken, depth + 1)?;
                }
            }
        }
        Ok(())
    })
}

/// Makes the copy of the graph.
struct Adder<'a> {
    bytes: &'a [u8],
    versions: Versions,
    /// Names that something has.
    taken: HashSet<&'a [u8]>,
    /// Which bias a layer gets, by what it writes.
    by_output: HashMap<&'a [u8], usize>,
    /// What the biases are called.
    names: Vec<Vec<u8>>,
    /// Layers that are still to come.
    left: usize,
}

impl<'a> Adder<'a> {
    /// `base`, or `base` with the first number behind it that makes a name that nothing has.
    fn free(&self, base: &[u8]) -> Vec<u8> {
        let is_free = |name: &[u8]| !name.is_empty() && !self.taken.contains(name) && !self.names.iter().any(|known| known == name);
        if is_free(base) {
            return base.to_vec();
        }
        let mut number = 1_u64;
        loop {
            let name = [base, b"_", number.to_string().as_bytes()].concat();
            if is_free(&name) {
                return name;
            }
            number += 1;
        }
    }

    fn graph(&mut self, graph: &Field, biases: &[NewBias]) -> Result<Vec<u8>, Malformed> {
        let mut out = Vec::with_capacity(graph.end - graph.start + 256);
        let mut fields = Fields { bytes: self.bytes, at: graph.start, end: graph.end };
        while let Some(field) = fields.next()? {
            let bias = match (field.number, field.wire) {
                (1, Wire::Length) => self.first_output(&field)?.and_then(|output| self.by_output.get(output).copied()),
                _ => None,
            };
            match bias {
                Some(bias) => {
                    self.left = self.left.checked_sub(1).ok_or(Malformed)?;
                    for node in self.layer(&field, bias)? {
                        push_field(&mut out, field.number, &node);
                    }
                }
                None => out.extend_from_slice(&self.bytes[field.tag..field.end]),
            }
        }
        for (bias, name) in biases.iter().zip(&self.names) {
            let code = u64::try_from(bias.dtype.code()).map_err(|_| Malformed)?;
            let elements = (bias.bytes.len() / bias.dtype.size().ok_or(Malformed)?) as u64;
            push_field(&mut out, 5, &[number(1, elements), number(2, code), text(8, name), text(9, &bias.bytes)].concat());
            if self.versions.format < NEED_NO_INPUTS {
                let shape = text(2, &text(1, &number(1, elements)));
                let declared = text(1, &[number(1, code), shape].concat());
                push_field(&mut out, 11, &[text(1, name), text(2, &declared)].concat());
            }
        }
        Ok(out)
    }

    fn first_output(&self, node: &Field) -> Result<Option<&'a [u8]>, Malformed> {
        let mut fields = Fields { bytes: self.bytes, at: node.start, end: node.end };
        while let Some(part) = fields.next()? {
            if (part.number, part.wire) == (2, Wire::Length) {
                return Ok(Some(&self.bytes[part.start..part.end]));
            }
        }
        Ok(None)
    }

    /// A layer with this bias: itself, and perhaps an `Add` behind it.
    fn layer(&mut self, node: &Field, bias: usize) -> Result<Vec<Vec<u8>>, Malformed> {
        let bytes = self.bytes;
        let (mut name, mut op, mut output, mut inputs) = (&[][..], &[][..], None, 0);
        MessagePlace::new(node.start, node.end).each_field(bytes, |part| {
            let content = &bytes[part.start..part.end];
            match (part.number, part.wire) {
                (1, Wire::Length) => inputs += 1,
                (2, Wire::Length) => output = output.or(Some(content)),
                (3, Wire::Length) => name = content,
                (4, Wire::Length) => op = content,
                _ => {}
            }
            Ok(())
        })?;
        let Some(output) = output else { return Err(Malformed) };
        let bias = self.names[bias].clone();
        if op != b"MatMul" {
            return Ok(vec![self.with_input(node, inputs, &bias)?]);
        }
        let product = self.free(&[output, b"_product"].concat());
        let mut own = Vec::with_capacity(node.end - node.start + product.len());
        let mut is_told = false;
        MessagePlace::new(node.start, node.end).each_field(bytes, |part| {
            if (part.number, part.wire, is_told) == (2, Wire::Length, false) {
                push_field(&mut own, 2, &product);
                is_told = true;
            } else {
                own.extend_from_slice(&bytes[part.tag..part.end]);
            }
            Ok(())
        })?;
        let mut add = [text(1, &product), text(1, &bias), text(2, output)].concat();
        if !name.is_empty() {
            push_field(&mut add, 3, &self.free(&[name, b"_bias"].concat()));
        }
        push_field(&mut add, 4, b"Add");
        if self.versions.opset < BROADCASTS {
            push_field(&mut add, 5, &[text(1, b"broadcast"), number(3, 1), number(20, INT)].concat());
        }
        self.names.push(product);
        Ok(vec![own, add])
    }

    /// A node of so many inputs with a bias as its third.
    fn with_input(&self, node: &Field, inputs: usize, bias: &[u8]) -> Result<Vec<u8>, Malformed> {
        if inputs < BIAS {
            return Err(Malformed);
        }
        let mut out = Vec::with_capacity(node.end - node.start + bias.len() + 8);
        let mut seen = 0;
        MessagePlace::new(node.start, node.end).each_field(self.bytes, |part| {
            let is_input = (part.number, part.wire) == (1, Wire::Length);
            seen += usize::from(is_input);
            match is_input.then_some(seen) {
                // One that was left out by an empty name.
                Some(place) if place == BIAS + 1 => push_field(&mut out, 1, bias),
                place => {
                    out.extend_from_slice(&self.bytes[part.tag..part.end]);
                    if place == Some(BIAS) && inputs == BIAS {
                        push_field(&mut out, 1, bias);
                    }
                }
            }
            Ok(())
        })?;
        Ok(out)
    }
}

fn text(number: u64, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    push_field(&mut out, number, content);
    out
}

fn number(field: u64, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    push_varint(&mut out, field << 3);
    push_varint(&mut out, value);
    out
}

#[cfg(test)]
mod tests {
    use onnx_ir::{Message as _, ModelProto, NodeProto};

    use super::super::build::{field, group};
    use super::*;

    fn node(op: &str, inputs: &[&str], outputs: &[&str], name: &str) -> Vec<u8> {
        let inputs = inputs.iter().flat_map(|name| field(1, name.as_bytes()));
        let outputs = outputs.iter().flat_map(|name| field(2, name.as_bytes()));
        // What nobody knows is copied too.
        let odd = [group(77, &number(1, 1)), field(99, b"?")].concat();
        [outputs.collect(), odd, inputs.collect(), field(3, name.as_bytes()), field(4, op.as_bytes())].concat()
    }

    fn model(format: u64, opset: u64, nodes: &[Vec<u8>]) -> Vec<u8> {
        let nodes: Vec<u8> = nodes.iter().flat_map(|node| field(1, node)).collect();
        let rest = [field(5, &field(8, b"conv.weight")), field(11, &field(1, b"x")), field(10, b"documented")].concat();
        let sets = [field(8, &number(2, opset)), field(8, &[field(1, b"other"), number(2, 99)].concat())].concat();
        [field(7, &[nodes, rest].concat()), number(1, format), sets, field(98, b"!")].concat()
    }

    fn bias(name: &str, outputs: &[&str]) -> NewBias {
        let outputs = outputs.iter().map(|&output| output.to_owned()).collect();
        NewBias { name: name.into(), dtype: Dtype::F16, bytes: vec![0, 0x3c, 0, 0x40], outputs }
    }

    fn inputs(node: &NodeProto) -> Vec<&str> {
        node.input.iter().map(String::as_str).collect()
    }

    #[test]
    fn layers_get_what_they_read_and_nothing_else_changes() {
        let body = field(6, &field(1, &node("Relu", &["inner"], &["conv.bias_1"], "")));
        let held = [node("If", &["x"], &["z"], "if"), field(5, &body)].concat();
        let nodes = [
            node("Conv", &["x", "w"], &["a"], ""),
            node("Relu", &["a"], &["conv.bias"], ""),
            node("ConvTranspose", &["x", "w", ""], &["b"], ""),
            held,
            node("MatMul", &["x", "w"], &["y"], "product"),
        ];
        let old = model(8, 17, &nodes);
        let told = with_biases(&old, &[bias("conv.bias", &["a", "b"]), bias("linear.bias", &["y"])]).unwrap();
        let proto = ModelProto::parse_from_bytes(&told).unwrap();
        let graph = proto.graph.as_ref().unwrap();
        assert_eq!(inputs(&graph.node[0]), ["x", "w", "conv.bias_2"], "other names are taken");
        assert_eq!(inputs(&graph.node[2]), ["x", "w", "conv.bias_2"], "one bias for both");
        let (product, add) = (&graph.node[4], &graph.node[5]);
        assert_eq!((inputs(product), &product.output[..]), (vec!["x", "w"], &["y_product".to_owned()][..]));
        assert_eq!((inputs(add), &add.output[..]), (vec!["y_product", "linear.bias"], &["y".to_owned()][..]));
        assert_eq!((add.op_type.as_str(), add.name.as_str(), add.attribute.len()), ("Add", "product_bias", 0));
        let new = &graph.initializer[1..];
        assert_eq!(new.iter().map(|tensor| tensor.name.as_str()).collect::<Vec<_>>(), ["conv.bias_2", "linear.bias"]);
        for tensor in new {
            assert_eq!((&tensor.dims[..], tensor.data_type, &tensor.raw_data[..]), (&[2][..], 10, &[0, 0x3c, 0, 0x40][..]));
        }
        assert_eq!(graph.input.len(), 1);
        // All else is as it was.
        for part in [&nodes[1], &nodes[3], &field(10, b"documented"), &field(98, b"!"), &field(5, &field(8, b"conv.weight"))] {
            assert!(told.windows(part.len()).any(|window| window == &part[..]));
        }
        let odd = field(99, b"?");
        let count = |bytes: &[u8]| bytes.windows(odd.len()).filter(|window| *window == odd).count();
        assert_eq!(count(&told), count(&old));
    }

    #[test]
    fn old_files_are_told_what_they_ask_for() {
        let nodes = [node("MatMul", &["x", "w"], &["y"], "")];
        for (format, opset) in [(3, 6), (3, 9), (7, 6), (4, 7)] {
            let told = with_biases(&model(format, opset, &nodes), &[bias("b", &["y"])]).unwrap();
            let proto = ModelProto::parse_from_bytes(&told).unwrap();
            let graph = proto.graph.as_ref().unwrap();
            let add = &graph.node[1];
            let broadcast: Vec<_> = add.attribute.iter().map(|a| (a.name.as_str(), a.i, a.type_.value())).collect();
            assert_eq!(broadcast, if opset < 7 { vec![("broadcast", 1, 2)] } else { vec![] }, "{format} {opset}");
            let given: Vec<_> = graph.input.iter().map(|info| info.name.as_str()).collect();
            assert_eq!(given, if format < 4 { vec!["x", "b"] } else { vec!["x"] }, "{format} {opset}");
            if let Some(info) = graph.input.get(1) {
                let declared = info.type_.as_ref().unwrap().tensor_type();
                assert_eq!((declared.elem_type, declared.shape.dim.len(), declared.shape.dim[0].dim_value()), (10, 1, 2));
            }
        }
    }

    #[test]
    fn what_is_not_there_is_told() {
        let nodes = [node("Conv", &["x", "w"], &["a"], ""), node("Conv", &["x"], &["b"], "")];
        let old = model(8, 17, &nodes);
        assert!(with_biases(&old, &[bias("b", &["a"])]).is_ok());
        for outputs in [&["c"][..], &["a", "c"], &["b"]] {
            assert_eq!(with_biases(&old, &[bias("b", outputs)]), Err(Malformed), "{outputs:?}");
        }
        assert_eq!(with_biases(&old[1..], &[bias("b", &["a"])]).ok(), None);
        // The graph in pieces.
        let pieces = [field(7, &field(1, &nodes[0])), number(1, 8), field(7, &field(5, &field(8, b"b")))].concat();
        let told = with_biases(&pieces, &[bias("b", &["a"])]).unwrap();
        assert_eq!(inputs(&ModelProto::parse_from_bytes(&told).unwrap().graph.node[0]), ["x", "w", "b_1"]);
    }
}
