//! ONNX models of a few bytes, built field by field.
#![allow(dead_code, reason = "no test uses all of them")]
#![allow(clippy::default_trait_access, reason = "the bindings give some of these types no public name")]

use onnx_ir::{AttributeProto, AttributeType, GraphProto, Message, ModelProto, NodeProto, TensorProto, ValueInfoProto};

/// `TensorProto.DataType.FLOAT`
pub(crate) const FLOAT: i32 = 1;

/// An initializer with its elements in `raw_data`.
pub(crate) fn tensor(name: &str, dims: &[usize], data_type: i32, raw: Vec<u8>) -> TensorProto {
    let mut tensor = TensorProto::new();
    name.clone_into(&mut tensor.name);
    tensor.dims = dims.iter().map(|&d| d as i64).collect();
    tensor.data_type = data_type;
    tensor.raw_data = raw.into();
    tensor
}

/// A float initializer whose elements lie in the file `location`; all three texts as the model gives them, of up to 100 bytes.
#[allow(dead_code, reason = "not every test that has these models needs it")]
pub(crate) fn external(name: &str, dims: &[usize], location: &str, offset: &str, length: &str) -> TensorProto {
    let mut tensor = tensor(name, dims, FLOAT, Vec::new());
    // data_location (field 14) is external, and three entries of external_data (field 13), each a key and a value.
    let mut fields = vec![14 << 3, 1];
    for (key, value) in [("location", location), ("offset", offset), ("length", length)] {
        let entry = [vec![1 << 3 | 2, key.len() as u8], key.into(), vec![2 << 3 | 2, value.len() as u8], value.into()].concat();
        fields.extend([13 << 3 | 2, entry.len() as u8]);
        fields.extend(entry);
    }
    tensor.merge_from_bytes(&fields).unwrap();
    tensor
}

/// Little-endian.
pub(crate) fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// An operator with one output.
pub(crate) fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    let mut node = NodeProto::new();
    op.clone_into(&mut node.op_type);
    node.input = inputs.iter().map(ToString::to_string).collect();
    node.output = vec![output.to_owned()];
    node
}

/// A linear layer as PyTorch exports it, outputs first.
pub(crate) fn gemm(inputs: &[&str], output: &str) -> NodeProto {
    let mut turned = AttributeProto::new();
    "transB".clone_into(&mut turned.name);
    turned.i = 1;
    turned.type_ = AttributeType::INT.into();
    let mut node = node("Gemm", inputs, output);
    node.attribute.push(turned);
    node
}

fn value(name: &str) -> ValueInfoProto {
    let mut value = ValueInfoProto::new();
    name.clone_into(&mut value.name);
    value
}

/// From input `x` to output `y`.
pub(crate) fn model(nodes: Vec<NodeProto>, initializers: Vec<TensorProto>) -> ModelProto {
    let mut graph = GraphProto::new();
    graph.node = nodes;
    graph.initializer = initializers;
    graph.input = vec![value("x")];
    graph.output = vec![value("y")];
    let mut model = ModelProto::new();
    model.ir_version = 10;
    "tiny".clone_into(&mut model.producer_name);
    // A message whose type has no public name: field 2 of an empty one, the version, is 20.
    model.merge_from_bytes(&[8 << 3 | 2, 2, 2 << 3, 20]).unwrap();
    model.graph = Some(graph).into();
    model
}
