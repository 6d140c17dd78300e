//! Every format, saved and read back without the library's own help: what changed, what did not, and what is left on failure.
#![expect(clippy::unwrap_used, reason = "a test")]

mod tiny;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use onnx_ir::{Message, ModelProto, NodeProto, TensorProto};
use safetensors::SafeTensors;
use secateur::atomic::Overwrite;
use secateur::engine::EngineError;
use secateur::export::{Form, Format, Masks, Report};
use secateur::graph::{Graph, ParameterId, Role};
use secateur::onnx::Dtype;
use secateur::prune::{Amount, Method, Step};
use secateur::session::Session;
use secateur::watch::Unwatched;
use tempfile::TempDir;

const SEVEN: [&str; 7] = [
    "assets/mobilenetv4_digits.onnx",
    DEFAULT,
    "tests/models/mobilenetv4_digits_raw.onnx",
    "tests/models/mobilenetv4_digits_ts.onnx",
    "tests/models/mobilenetv4_digits_ts_bn.onnx",
    "tests/models/mobilenetv4_digits_fp16.onnx",
    "tests/models/mobilenetv4_r224_3classes.onnx",
];
/// The one with external data.
const DEFAULT: &str = "tests/models/mobilenetv4_digits_default.onnx";
const DATA: &str = "mobilenetv4_digits_default.onnx.data";

fn open(path: impl AsRef<Path>) -> Session {
    Session::open(path.as_ref(), &Unwatched).unwrap()
}

fn prune(session: &mut Session, method: Method, amount: f64) -> Masks {
    let recipe = secateur::prune::Recipe { method, amount: Amount::Fraction(amount), ..session.state().recipe.clone() };
    session.set(recipe, Step::Amount).unwrap();
    session.engine().masks(session.state()).unwrap()
}

fn half(session: &mut Session) -> Masks {
    prune(session, Method::Global, 0.5)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Where an initializer's bytes lie: in the model, or in the external file of that name.
type Places = HashMap<String, (Option<String>, Range<usize>)>;

/// Finds every initializer of a model that keeps its weights in `raw_data` or outside: parsed bytes are slices of the file.
fn places(file: &Bytes) -> Places {
    let model = ModelProto::parse_from_tokio_bytes(file).unwrap();
    let place = |tensor: &TensorProto| {
        let entry = |key: &str| tensor.external_data.iter().find(|e| e.key == key).map(|e| e.value.clone());
        if let Some(location) = entry("location") {
            let number = |key: &str| entry(key).unwrap().parse::<usize>().unwrap();
            return (Some(location), number("offset")..number("offset") + number("length"));
        }
        let start = tensor.raw_data.as_ptr().addr().wrapping_sub(file.as_ptr().addr());
        assert_eq!(file[start..start + tensor.raw_data.len()], tensor.raw_data, "{}", tensor.name);
        (None, start..start + tensor.raw_data.len())
    };
    model.graph.initializer.iter().map(|tensor| (tensor.name.clone(), place(tensor))).collect()
}

/// What the model and its external data must be once `masks` are in them.
fn expected(path: &Path, graph: &Graph, masks: &Masks) -> (Vec<u8>, BTreeMap<String, Vec<u8>>) {
    let file = Bytes::from(std::fs::read(path).unwrap());
    let places = places(&file);
    let (mut model, mut data) = (file.to_vec(), BTreeMap::new());
    for (id, masks) in masks {
        let parameter = graph.parameter(*id);
        let (location, range) = &places[&parameter.name];
        let bytes = match location {
            None => &mut model,
            Some(name) => data.entry(name.clone()).or_insert_with(|| std::fs::read(path.with_file_name(name)).unwrap()),
        };
        let size = range.len() / parameter.elements;
        assert_eq!(size, if parameter.dtype == Dtype::F16 { 2 } else { 4 });
        let zeroed = masks.zeroed();
        for (i, element) in bytes[range.clone()].chunks_mut(size).enumerate() {
            if zeroed.is_pruned(i) {
                element.fill(0);
            }
        }
    }
    (model, data)
}

/// Counts the bytes that differ, having checked that the files are as long as each other.
fn differences(a: &[u8], b: &[u8]) -> usize {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).filter(|(a, b)| a != b).count()
}

/// Opens what was saved, and finds the zeros and types that `session` meant.
fn reload(session: &Session, report: &Report) {
    let (graph, outcome) = (session.model().graph.clone(), session.engine().outcome(session.state()).unwrap());
    let again = open(&report.files[0]);
    assert_eq!(again.model().zeros().unwrap(), outcome.zeros);
    let dtypes = |graph: &Graph| graph.parameters.iter().map(|p| (p.name.clone(), p.dtype, p.shape.clone())).collect::<Vec<_>>();
    assert_eq!(dtypes(&again.model().graph), dtypes(&graph));
    assert_eq!((report.zeros, report.elements), (outcome.model_zeros, graph.elements() as u64));
    let on_disk: u64 = report.files.iter().map(|file| file.metadata().unwrap().len()).sum();
    assert_eq!(report.bytes, on_disk);
}

#[test]
fn onnx_copies_differ_in_pruned_elements_alone() {
    for path in SEVEN.map(Path::new) {
        for (method, amount) in [(Method::Global, 0.5), (Method::LayerWise, 0.3), (Method::Global, 0.0)] {
            let folder = tempfile::tempdir().unwrap();
            let mut session = open(path);
            let masks = prune(&mut session, method, amount);
            let graph = session.model().graph.clone();
            let out = folder.path().join(path.file_name().unwrap());
            let report = session.save(&out, Format::Onnx, Overwrite::Refuse).unwrap();
            let (model, data) = expected(path, &graph, &masks);
            let mut changed = 0;
            assert!(std::fs::read(&out).unwrap() == model, "{}", path.display());
            changed += differences(&std::fs::read(path).unwrap(), &model);
            for (name, bytes) in &data {
                assert!(std::fs::read(folder.path().join(name)).unwrap() == *bytes, "{name}");
                changed += differences(&std::fs::read(path.with_file_name(name)).unwrap(), bytes);
            }
            assert_eq!(names(folder.path()).len(), 1 + data.len());
            assert_eq!(changed > 0, amount > 0.0, "{}", path.display());
            reload(&session, &report);
        }
    }
}

#[test]
fn fixed_elements_are_saved_whatever_the_amount_and_undone_ones_are_not() {
    let path = Path::new(SEVEN[0]);
    let folder = tempfile::tempdir().unwrap();
    let mut session = open(path);
    let masks = half(&mut session);
    session.fix().unwrap();
    let out = folder.path().join("fixed.onnx");
    session.save(&out, Format::Onnx, Overwrite::Refuse).unwrap();
    let graph = session.model().graph.clone();
    assert!(std::fs::read(&out).unwrap() == expected(path, &graph, &masks).0);
    session.undo().unwrap();
    session.undo().unwrap();
    session.save(&out, Format::Onnx, Overwrite::Allow).unwrap();
    assert!(std::fs::read(&out).unwrap() == std::fs::read(path).unwrap());
}

fn with_external_data() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.onnx");
    std::fs::copy(DEFAULT, &model).unwrap();
    std::fs::copy(format!("{DEFAULT}.data"), folder.path().join(DATA)).unwrap();
    (folder, model)
}

/// The model less the names of its external data files, and those names.
fn without_locations(path: &Path) -> (ModelProto, BTreeSet<String>) {
    let mut model = ModelProto::parse_from_bytes(&std::fs::read(path).unwrap()).unwrap();
    let mut locations = BTreeSet::new();
    for tensor in &mut model.graph.mut_or_insert_default().initializer {
        for entry in tensor.external_data.iter_mut().filter(|e| e.key == "location") {
            locations.insert(std::mem::take(&mut entry.value));
        }
    }
    (model, locations)
}

#[test]
fn external_data_beside_the_opened_model_gets_a_name_of_its_own() {
    let (folder, path) = with_external_data();
    let before = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    let (model, data) = (before("model.onnx"), before(DATA));
    let mut session = open(&path);
    let masks = half(&mut session);
    let (_, wanted) = expected(&path, &session.model().graph.clone(), &masks);
    // The second target's data would have the name of the opened model's data, and must not take it.
    for (target, data_name) in [("pruned.onnx", "pruned.onnx.data".to_owned()), (&DATA[..DATA.len() - 5], format!("{DATA}.1"))] {
        for overwrite in [Overwrite::Refuse, Overwrite::Allow] {
            let out = folder.path().join(target);
            let report = session.save(&out, Format::Onnx, overwrite).unwrap();
            assert_eq!(report.files, [out.clone(), folder.path().join(&data_name)]);
            assert!(before(&data_name) == wanted[DATA], "{target}");
            let (copy, locations) = without_locations(&out);
            assert_eq!(locations, BTreeSet::from([data_name.clone()]));
            assert!(copy == without_locations(&path).0, "{target}");
            reload(&session, &report);
        }
    }
    assert!(before("model.onnx") == model && before(DATA) == data, "the opened model is as it was");
    assert_eq!(names(folder.path()).len(), 6);
}

#[test]
fn the_opened_file_is_replaced_only_when_allowed() {
    let (folder, path) = with_external_data();
    let mut session = open(&path);
    let masks = half(&mut session);
    let graph = session.model().graph.clone();
    let (model, data) = expected(&path, &graph, &masks);
    let old = std::fs::read(folder.path().join(DATA)).unwrap();
    let refused = session.save(&path, Format::Onnx, Overwrite::Refuse).unwrap_err();
    assert!(refused.to_string().contains("is there already"), "{refused}");
    assert!(std::fs::read(folder.path().join(DATA)).unwrap() == old);
    assert!(!session.is_unsaved() || session.state().kept.iter().all(secateur::prune::Masked::is_nothing));

    let report = session.save(&path, Format::Onnx, Overwrite::Allow).unwrap();
    assert!(std::fs::read(&path).unwrap() == model && std::fs::read(folder.path().join(DATA)).unwrap() == data[DATA]);
    assert_eq!(names(folder.path()), [DATA, "model.onnx"]);
    reload(&session, &report);

    let demo = folder.path().join("demo.onnx");
    std::fs::copy(SEVEN[0], &demo).unwrap();
    let mut session = open(&demo);
    let masks = half(&mut session);
    let graph = session.model().graph.clone();
    let (model, _) = expected(&demo, &graph, &masks);
    session.save(&demo, Format::Onnx, Overwrite::Refuse).unwrap_err();
    session.save(&demo, Format::Onnx, Overwrite::Allow).unwrap();
    assert!(std::fs::read(&demo).unwrap() == model);
}

/// How a tiny model keeps its weights.
#[derive(Clone, Copy, Debug)]
enum Encoding {
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

fn encoded(data_type: i32, encoding: Encoding) -> TensorProto {
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

fn written(model: &ModelProto) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.onnx");
    std::fs::write(&path, model.write_to_bytes().unwrap()).unwrap();
    (folder, path)
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
            if size(data_type) == 2 && matches!(encoding, Encoding::Unpacked) {
                let refused = result.unwrap_err().to_string();
                assert!(refused.contains("fc.weight") && refused.contains("safetensors"), "{what}: {refused}");
                continue;
            }
            let (before, after) = result.unwrap();
            assert!(differences(&before, &after) <= PRUNED.len() * size(data_type), "{what}");
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
            assert!(differences(&before, &after) <= PRUNED.len() * size(data_type), "{what}");
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

/// PyTorch's name of every tensor that its state dict would hold and the file has.
fn state_dict(graph: &Graph) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for module in &graph.modules {
        for &id in &module.parameters {
            names.insert(format!("{}.{}", module.name, graph.parameter(id).kind));
        }
        if module.role == Role::Normalization {
            names.insert(format!("{}.running_mean", module.name));
            names.insert(format!("{}.running_var", module.name));
        }
    }
    names
}

fn float_size(dtype: Dtype) -> (usize, safetensors::Dtype) {
    match dtype {
        Dtype::F16 => (2, safetensors::Dtype::F16),
        _ => (4, safetensors::Dtype::F32),
    }
}

/// A parameter's bytes as opened.
fn original(path: &Path, name: &str) -> Vec<u8> {
    let file = Bytes::from(std::fs::read(path).unwrap());
    let (location, range) = places(&file).remove(name).unwrap();
    location.map_or_else(|| file.to_vec(), |name| std::fs::read(path.with_file_name(name)).unwrap())[range].to_vec()
}

#[test]
fn safetensors_hold_what_a_state_dict_holds() {
    for path in SEVEN.map(Path::new) {
        let folder = tempfile::tempdir().unwrap();
        let mut session = open(path);
        let masks = half(&mut session);
        let graph = session.model().graph.clone();
        let outcome = session.engine().outcome(session.state()).unwrap();
        let out = |form: &str| folder.path().join(format!("{form}.safetensors"));
        let fixed = session.save(&out("fixed"), Format::Safetensors(Form::Fixed), Overwrite::Refuse).unwrap();
        let unfixed = session.save(&out("unfixed"), Format::Safetensors(Form::Unfixed), Overwrite::Refuse).unwrap();
        for report in [&fixed, &unfixed] {
            assert_eq!((report.zeros, report.elements), (outcome.model_zeros, graph.elements() as u64), "{}", path.display());
        }
        let (fixed, unfixed) = (std::fs::read(out("fixed")).unwrap(), std::fs::read(out("unfixed")).unwrap());
        let (_, metadata) = SafeTensors::read_metadata(&fixed).unwrap();
        assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
        let (fixed, unfixed) = (SafeTensors::deserialize(&fixed).unwrap(), SafeTensors::deserialize(&unfixed).unwrap());

        let names: BTreeSet<String> = fixed.names().into_iter().map(str::to_owned).collect();
        assert_eq!(names, state_dict(&graph), "{}", path.display());
        let forms = |name: &String| [format!("{name}_orig"), format!("{name}_mask")];
        let masked: BTreeSet<String> = masks.keys().map(|&id| graph.torch_name(id)).collect();
        let wanted = names.iter().flat_map(|n| if masked.contains(n) { forms(n).to_vec() } else { vec![n.clone()] }).collect();
        assert_eq!(unfixed.names().into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), wanted, "{}", path.display());

        for (i, parameter) in graph.parameters.iter().enumerate().step_by(7) {
            let (size, dtype) = float_size(parameter.dtype);
            let dense = original(path, &parameter.name);
            let name = graph.torch_name(ParameterId(i));
            let tensor = fixed.tensor(&name).unwrap();
            assert_eq!((tensor.dtype(), tensor.shape()), (dtype, parameter.shape.as_slice()), "{name}");
            let Some(masks) = masks.get(&ParameterId(i)) else {
                assert!(tensor.data() == dense, "{name}");
                continue;
            };
            let (originals, mask) = (unfixed.tensor(&forms(&name)[0]).unwrap(), unfixed.tensor(&forms(&name)[1]).unwrap());
            assert!(originals.data() == dense, "{name}");
            assert_eq!((mask.dtype(), mask.shape()), (dtype, parameter.shape.as_slice()), "{name}");
            let one: &[u8] = if size == 2 { &[0, 0x3c] } else { &[0, 0, 0x80, 0x3f] };
            for i in 0..parameter.elements {
                let at = i * size..(i + 1) * size;
                let (kept, zero) = (!masks.mask.is_pruned(i), &[0; 4][..size]);
                assert_eq!(&tensor.data()[at.clone()], if kept { &dense[at.clone()] } else { zero }, "{name} {i}");
                assert_eq!(&mask.data()[at], if kept { one } else { zero }, "{name} {i}");
            }
        }
    }
}

#[test]
fn a_matrix_that_the_file_keeps_inputs_first_is_turned() {
    let values: Vec<f32> = (1..=6).map(|v| v as f32).collect();
    let model = tiny::model(
        vec![tiny::node("MatMul", &["x", "fc.weight"], "y")],
        vec![tiny::tensor("fc.weight", &[2, 3], tiny::FLOAT, tiny::bytes(&values))],
    );
    let (folder, path) = written(&model);
    let mut session = open(&path);
    prune(&mut session, Method::Global, 0.0);
    let out = folder.path().join("out.safetensors");
    session.save(&out, Format::Safetensors(Form::Fixed), Overwrite::Refuse).unwrap();
    let bytes = std::fs::read(out).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor("fc.weight").unwrap();
    assert_eq!(tensor.shape(), [3, 2]);
    assert_eq!(tensor.data(), tiny::bytes(&[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]));
}

#[test]
fn burnpack_holds_burns_names_and_layouts() {
    for path in SEVEN.map(Path::new) {
        let folder = tempfile::tempdir().unwrap();
        let mut session = open(path);
        let masks = half(&mut session);
        let graph = session.model().graph.clone();
        let out = folder.path().join("weights.bpk");
        let report = session.save(&out, Format::Burnpack, Overwrite::Refuse).unwrap();
        assert_eq!(
            (report.zeros, report.elements),
            (session.engine().outcome(session.state()).unwrap().model_zeros, graph.elements() as u64)
        );
        let reader = burn_pack::Reader::from_file(&out).unwrap();
        let burn = |name: String| {
            let (module, attribute) = name.rsplit_once('.').unwrap();
            let is_norm = graph.modules.iter().any(|m| m.name == module && m.role == Role::Normalization);
            match attribute {
                "weight" if is_norm => format!("{module}.gamma"),
                "bias" if is_norm => format!("{module}.beta"),
                _ => name,
            }
        };
        let wanted: BTreeSet<String> = state_dict(&graph).into_iter().map(burn).collect();
        assert_eq!(reader.tensor_names().into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), wanted, "{}", path.display());

        let stem = graph.parameters.iter().position(|p| p.shape == [32, 3, 3, 3]).unwrap();
        let mut dense = original(path, &graph.parameters[stem].name);
        let size = dense.len() / graph.parameters[stem].elements;
        let zeroed = masks[&ParameterId(stem)].zeroed();
        dense.chunks_mut(size).enumerate().filter(|(i, _)| zeroed.is_pruned(*i)).for_each(|(_, element)| element.fill(0));
        assert!(reader.tensor_data("conv_stem.weight").unwrap() == dense);

        let linear = graph.parameters.iter().find(|p| p.shape.len() == 2).unwrap();
        let (rows, columns) = (linear.shape[0], linear.shape[1]);
        let data = reader.tensor_data("classifier.weight").unwrap();
        let dense = original(path, &linear.name);
        let element = |bytes: &[u8], at: usize| bytes[at * size..(at + 1) * size].to_vec();
        let mut kept = 0;
        for row in 0..rows {
            for column in 0..columns {
                let (ours, theirs) = (element(&data, column * rows + row), element(&dense, row * columns + column));
                assert!(ours == theirs || ours.iter().all(|&b| b == 0), "{row} {column}");
                kept += usize::from(ours == theirs);
            }
        }
        assert!(kept > rows * columns / 2);
    }
}

#[test]
fn rust_source_comes_with_its_weights() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = open(SEVEN[0]);
    half(&mut session);
    let out = folder.path().join("pruned_digits.rs");
    let report = session.save(&out, Format::RustSource, Overwrite::Refuse).unwrap();
    assert_eq!(report.files, [out.clone(), folder.path().join("pruned_digits.bpk")]);
    assert_eq!(report.zeros, session.engine().outcome(session.state()).unwrap().model_zeros);
    assert_eq!(names(folder.path()), ["pruned_digits.bpk", "pruned_digits.rs"]);
    let source = std::fs::read_to_string(&out).unwrap();
    for part in ["pub struct Model", "pub fn forward(&self", "\"pruned_digits.bpk\""] {
        assert!(source.contains(part), "{part}");
    }
    let temporary = std::env::temp_dir().display().to_string();
    assert!(!source.contains(&temporary) && !source.contains(env!("CARGO_MANIFEST_DIR")), "a path of this machine");
    let reader = burn_pack::Reader::from_file(&report.files[1]).unwrap();
    let zeros: usize = reader
        .tensor_names()
        .iter()
        .map(|name| reader.tensor_data(name).unwrap().chunks(4).filter(|c| c.iter().all(|&b| b == 0)).count())
        .sum();
    assert!(zeros as u64 >= report.zeros, "{zeros}");
    assert!(session.save(&out, Format::RustSource, Overwrite::Refuse).is_err());
}

#[test]
fn what_the_importer_does_not_know_is_an_error_and_no_panic() {
    let mut odd = tiny::node("Frobnicate", &["h"], "y");
    "com.example".clone_into(&mut odd.domain);
    let model = tiny::model(vec![tiny::gemm(&["x", "fc.weight"], "h"), odd], vec![encoded(tiny::FLOAT, Encoding::Raw)]);
    let (folder, path) = written(&model);
    let mut session = open(&path);
    half(&mut session);
    let refused = session.save(&folder.path().join("out.rs"), Format::RustSource, Overwrite::Refuse).unwrap_err();
    assert!(refused.to_string().contains("Frobnicate"), "{refused}");
    assert_eq!(names(folder.path()), ["tiny.onnx"]);

    let arguments = ["--method", "global", "--amount", "0.5", "--device", "cpu", "-o"];
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_secateur"))
        .args(["prune".as_ref(), path.as_os_str()])
        .args(arguments)
        .arg(folder.path().join("out.rs"))
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(!told.contains(&std::env::temp_dir().display().to_string()), "{told}");
    assert!(told.starts_with("secateur: cannot save the model: Burn's importer") && told.lines().count() == 1, "{told}");
    assert_eq!(names(folder.path()), ["tiny.onnx"]);
}
