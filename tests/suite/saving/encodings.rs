//! Every type and encoding of a tensor, changed where it lies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use onnx_ir::{Message, ModelProto, NodeProto, TensorProto};
use secateur::atomic::Overwrite;
use secateur::engine::EngineError;
use secateur::export::Format;
use secateur::onnx::{self, Change, Edit, OnnxFile, SaveError, TensorId, Values};

use super::{differences, half, names, open, reload, tiny, written};

/// How a tiny model keeps its weights.
#[derive(Clone, Copy, Debug)]
pub(super) enum Encoding {
    Raw,
    /// The typed field, packed.
    Field,
    /// The typed field, one tag per element, as the oldest writers do.
    Unpacked,
}

const BF16: i32 = 16;
const F16: i32 = 10;
const F64: i32 = 11;

/// Eight numbers, of which 0, 1, 4 and 6 have the smallest magnitudes; the last is no number.
const WEIGHTS: [f64; 8] = [-0.25, 0.0625, 3.0, -2.0, -0.0, f64::INFINITY, 0.125, f64::NAN];
const PRUNED: [usize; 4] = [0, 1, 4, 6];

/// The bit patterns of [`WEIGHTS`] in a type.
fn patterns(data_type: i32) -> Vec<u64> {
    let pattern = |w: f64| match data_type {
        F16 => u64::from(half::f16::from_f64(w).to_bits()),
        BF16 => u64::from(half::bf16::from_f64(w).to_bits()),
        F64 => w.to_bits(),
        _ => u64::from((w as f32).to_bits()),
    };
    WEIGHTS.iter().map(|&w| pattern(w)).collect()
}

fn size(data_type: i32) -> usize {
    match data_type {
        F16 | BF16 => 2,
        F64 => 8,
        _ => 4,
    }
}

pub(super) fn encoded(data_type: i32, encoding: Encoding) -> TensorProto {
    let patterns = patterns(data_type);
    let raw = patterns.iter().flat_map(|p| p.to_le_bytes()[..size(data_type)].to_vec()).collect();
    let mut tensor = tiny::tensor("fc.weight", &[2, 4], data_type, raw);
    if !matches!(encoding, Encoding::Raw) {
        tensor.raw_data = Bytes::new();
    }
    let unknown = tensor.special_fields.mut_unknown_fields();
    match (encoding, data_type) {
        (Encoding::Raw, _) => {}
        (Encoding::Field, F16 | BF16) => tensor.int32_data = patterns.iter().map(|&p| p as i32).collect(),
        (Encoding::Field, F64) => tensor.double_data = WEIGHTS.to_vec(),
        (Encoding::Field, _) => tensor.float_data = WEIGHTS.map(|w| w as f32).to_vec(),
        (Encoding::Unpacked, F16 | BF16) => patterns.iter().for_each(|&p| unknown.add_varint(5, p)),
        (Encoding::Unpacked, F64) => patterns.iter().for_each(|&p| unknown.add_fixed64(10, p)),
        (Encoding::Unpacked, _) => patterns.iter().for_each(|&p| unknown.add_fixed32(4, p as u32)),
    }
    tensor
}

/// The bit patterns of a saved tensor, from whichever field holds them.
fn decoded(tensor: &TensorProto) -> Vec<u64> {
    let ints = tensor.int32_data.iter().map(|&v| u64::from(v as u16));
    let floats = tensor.float_data.iter().map(|v| u64::from(v.to_bits()));
    let doubles = tensor.double_data.iter().map(|v| v.to_bits());
    let raw = tensor.raw_data.chunks(size(tensor.data_type)).map(|chunk| chunk.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)));
    ints.chain(floats).chain(doubles).chain(raw).collect()
}

/// Saves `model` with half of its one parameter pruned; the bytes before and after.
fn saved(model: &ModelProto) -> Result<(Vec<u8>, Vec<u8>), EngineError> {
    let (folder, path) = written(model);
    let mut session = open(&path);
    assert_eq!(session.model().graph.parameters.len(), 1);
    half(&mut session);
    let out = folder.path().join("out.onnx");
    let result = session.save(&out, Format::Onnx, Overwrite::Refuse);
    assert_eq!(names(folder.path()).len(), 1 + usize::from(result.is_ok()));
    let report = result?;
    reload(&session, &report);
    Ok((std::fs::read(path).unwrap(), std::fs::read(out).unwrap()))
}

/// Pruned elements are +0.0 and the others have their bits.
fn assert_pruned(tensor: &TensorProto, data_type: i32, what: &str) {
    let wanted: Vec<u64> = patterns(data_type).into_iter().enumerate().map(|(i, p)| if PRUNED.contains(&i) { 0 } else { p }).collect();
    assert_eq!(tensor.data_type, data_type, "{what}");
    assert_eq!(decoded(tensor), wanted, "{what}");
}

fn parsed(bytes: &[u8]) -> ModelProto {
    ModelProto::parse_from_bytes(bytes).unwrap()
}

#[test]
fn every_type_and_encoding_is_changed_in_place() {
    for data_type in [tiny::FLOAT, F16, BF16, F64] {
        for encoding in [Encoding::Raw, Encoding::Field, Encoding::Unpacked] {
            let what = format!("type {data_type}, {encoding:?}");
            let model = tiny::model(vec![tiny::gemm(&["x", "fc.weight"], "y")], vec![encoded(data_type, encoding)]);
            let result = saved(&model);
            let (before, after) = result.unwrap();
            // A half is a number of three bytes in the typed field.
            assert!(differences(&before, &after) <= PRUNED.len() * size(data_type).max(3), "{what}");
            assert_pruned(&parsed(&after).graph.initializer[0], data_type, &what);
        }
    }
}

/// A Constant node.
fn constant(tensor: TensorProto, output: &str) -> NodeProto {
    let mut value = onnx_ir::AttributeProto::new();
    "value".clone_into(&mut value.name);
    value.t = Some(tensor).into();
    value.type_ = onnx_ir::AttributeType::TENSOR.into();
    let mut node = tiny::node("Constant", &[], output);
    node.attribute.push(value);
    node
}

#[test]
fn weights_in_constant_nodes_are_changed_there() {
    for data_type in [tiny::FLOAT, F16, BF16, F64] {
        for encoding in [Encoding::Raw, Encoding::Field] {
            let what = format!("type {data_type}, {encoding:?}");
            let nodes = vec![constant(encoded(data_type, encoding), "fc.weight"), tiny::gemm(&["x", "fc.weight"], "y")];
            let (before, after) = saved(&tiny::model(nodes, Vec::new())).unwrap();
            assert!(differences(&before, &after) <= PRUNED.len() * size(data_type).max(3), "{what}");
            assert_pruned(parsed(&after).graph.node[0].attribute[0].t.as_ref().unwrap(), data_type, &what);
        }
    }
}

#[test]
fn weights_are_found_through_operators_that_carry_them() {
    let identity = vec![tiny::node("Identity", &["fc.weight"], "same"), tiny::gemm(&["x", "same"], "y")];
    let turned = vec![tiny::node("Transpose", &["fc.weight"], "turned"), tiny::node("MatMul", &["x", "turned"], "y")];
    for nodes in [identity, turned] {
        let model = tiny::model(nodes, vec![encoded(tiny::FLOAT, Encoding::Raw)]);
        let (_, after) = saved(&model).unwrap();
        assert_pruned(&parsed(&after).graph.initializer[0], tiny::FLOAT, "");
    }
}

#[test]
fn a_weight_that_two_nodes_share_is_one_parameter() {
    let nodes = vec![tiny::gemm(&["x", "fc.weight"], "a"), tiny::gemm(&["x", "fc.weight"], "b"), tiny::node("Add", &["a", "b"], "y")];
    let model = tiny::model(nodes, vec![encoded(tiny::FLOAT, Encoding::Raw)]);
    let (_, path) = &written(&model);
    let session = open(path);
    let graph = &session.model().graph;
    assert_eq!((graph.modules.len(), graph.modules[0].nodes.as_slice(), graph.elements()), (1, &[0, 1][..], 8));
    let (_, after) = saved(&model).unwrap();
    assert_pruned(&parsed(&after).graph.initializer[0], tiny::FLOAT, "");
}

/// The weights of a fixture, by what they are.
fn weights(path: &Path) -> BTreeMap<String, Values> {
    let file = OnnxFile::open(path).unwrap();
    let named = (0..file.tensors.len()).filter_map(|i| Some((file.tensor(TensorId(i)).name.clone(), file.floats(TensorId(i)).unwrap()?)));
    named.collect()
}

#[test]
fn whatever_protobuf_allows_is_read_pruned_and_saved_in_place() {
    let names = ["runs", "overruled", "pieces_of_a_graph", "pieces_of_a_tensor", "split_packed_field"];
    let path = |name: &str| PathBuf::from(format!("tests/cases/{name}.onnx"));
    for name in &names[1..4] {
        assert_eq!(weights(&path(name)), weights(&path("runs")), "{name}: one network in four encodings");
    }
    for name in names {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.onnx");
        let mut session = open(path(name));
        let graph = session.model().graph.clone();
        assert_eq!((graph.parameters.len(), graph.elements()), if name == "split_packed_field" { (2, 180) } else { (2, 24) }, "{name}");
        let masks = half(&mut session);
        let report = session.save(&out, Format::Onnx, Overwrite::Refuse).unwrap();
        assert_eq!(report.zeros, graph.elements() as u64 / 2, "{name}");
        reload(&session, &report);
        let (dense, pruned) = (weights(&path(name)), weights(&out));
        for (id, masks) in &masks {
            let (mut wanted, have) = (dense[&graph.parameter(*id).name].clone(), &pruned[&graph.parameter(*id).name]);
            masks.zeroed().apply(&mut wanted);
            assert_eq!(*have, wanted, "{name}");
        }
        // Numbers of four bytes, or of three and up to eight where they are longer than need be.
        let changed = differences(&std::fs::read(path(name)).unwrap(), &std::fs::read(&out).unwrap());
        assert!(changed > graph.elements() / 2 && changed <= graph.elements() / 2 * 8, "{name}: {changed}");
    }
}

/// Tensors where they are seldom looked for: what is no parameter is as it was, to the byte.
#[test]
fn what_lies_in_other_graphs_and_sparse_stays() {
    for name in ["nested", "functions", "sparse", "training"] {
        let path = PathBuf::from(format!("tests/cases/{name}.onnx"));
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.onnx");
        let mut session = open(&path);
        let masks = half(&mut session);
        session.save(&out, Format::Onnx, Overwrite::Refuse).unwrap();
        let pruned: u64 = masks.values().map(|masks| masks.zeroed().pruned()).sum();
        let changed = differences(&std::fs::read(&path).unwrap(), &std::fs::read(&out).unwrap());
        assert!(pruned > 0 && changed > 0 && changed as u64 <= 4 * pruned, "{name}: {changed} bytes, {pruned} elements");
        let (dense, after) = (OnnxFile::open(&path).unwrap(), OnnxFile::open(&out).unwrap());
        let parameters: Vec<TensorId> = masks.keys().map(|&id| session.model().graph.parameter(id).tensor).collect();
        assert_eq!(dense.tensors.len(), after.tensors.len(), "{name}");
        for id in (0..dense.tensors.len()).map(TensorId).filter(|id| !parameters.contains(id)) {
            assert_eq!(dense.bytes(id).unwrap(), after.bytes(id).unwrap(), "{name}");
        }
    }
}

/// As ONNX defines it: positions row by row, or one coordinate for each dimension.
#[test]
fn sparse_tensors_are_read_whole() {
    let file = OnnxFile::open(Path::new("tests/cases/sparse.onnx")).unwrap();
    let read = |name: &str| {
        let id = file.tensor_named(name).unwrap();
        (file.tensor(id).shape.clone(), file.floats(id).unwrap().unwrap().into_f32())
    };
    assert_eq!(read("flat"), (vec![4, 3], vec![1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 4.0]));
    assert_eq!(read("pairs"), (vec![3, 3], vec![0.0, 7.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 8.0]));
}

#[test]
fn every_type_and_encoding_is_replaced_in_place() {
    // As many bytes as there were, or fewer, but for the last in the second.
    let fits = [-0.5, 0.03, 2.5, -3.0, -0.25, 0.001, 0.0, 1.0];
    let grows = [-0.5, -0.03, 2.5, -3.0, -0.25, 0.0, 0.0, 1.0];
    for data_type in [tiny::FLOAT, F16, BF16, F64] {
        for encoding in [Encoding::Raw, Encoding::Field, Encoding::Unpacked] {
            for values in [fits, grows] {
                let what = format!("type {data_type}, {encoding:?}, {values:?}");
                let model = tiny::model(vec![tiny::gemm(&["x", "fc.weight"], "y")], vec![encoded(data_type, encoding)]);
                let (folder, path) = written(&model);
                let file = OnnxFile::open(&path).unwrap();
                let tensor = file.tensor_named("fc.weight").unwrap();
                let dtype = file.tensor(tensor).dtype;
                let bytes = Values::rounded(&values, dtype).to_bytes(dtype);
                let out = folder.path().join("out.onnx");
                let edits = [Edit { tensor, change: Change::Bytes(bytes.clone()) }];
                let result = onnx::write(&file, &edits, &out, Overwrite::Refuse);
                // −0.03 takes three bytes where 0.0625 took two.
                if values == grows && matches!(data_type, F16 | BF16) && !matches!(encoding, Encoding::Raw) {
                    assert!(matches!(&result, Err(SaveError::NoRoom { tensor }) if tensor == "fc.weight"), "{what}: {result:?}");
                    assert!(!out.exists());
                    continue;
                }
                assert_eq!(result.unwrap().zeros[tensor.0], values.iter().filter(|v| **v == 0.0).count() as u64, "{what}");
                let saved = OnnxFile::open(&out).unwrap();
                assert!(saved.float_bytes(tensor).unwrap().unwrap() == bytes, "{what}");
                let (before, after) = (std::fs::read(&path).unwrap(), std::fs::read(&out).unwrap());
                assert!(differences(&before, &after) <= 8 * size(data_type).max(3), "{what}");
            }
        }
    }
}
