//! The forward pass against what `PyTorch` and ONNX Runtime worked out.
#![expect(clippy::float_cmp, clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail so, and its figures are worth reading")]

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use onnx_ir::{AttributeProto, AttributeType, Message, NodeProto, TensorProto};
use secateur::graph::{self, ParameterId};
use secateur::network::{Array, Network, NetworkError};
use secateur::onnx::OnnxFile;
use secateur::watch::{Token, Unwatched, Watch};

use crate::adapter::adapter;
use crate::tiny;

const DIGITS: [&str; 6] = [
    "assets/mobilenetv4_digits.onnx",
    "tests/models/mobilenetv4_digits_default.onnx",
    "tests/models/mobilenetv4_digits_ts.onnx",
    "tests/models/mobilenetv4_digits_ts_bn.onnx",
    "tests/models/mobilenetv4_digits_raw.onnx",
    "tests/models/mobilenetv4_digits_fp16.onnx",
];

fn open(path: impl AsRef<Path>, device: &Device) -> Network {
    let file = OnnxFile::open(path.as_ref()).unwrap();
    Network::build(Arc::new(graph::build(&file)), &file, device).unwrap()
}

/// The wgpu device. It is opened where all tests open it: a process sets it up once.
fn wgpu() -> Option<Device> {
    adapter().map(|adapter| adapter.device)
}

/// Grey value in three channels, (v/255 − 0.5)/0.5.
fn digits(paths: &[String]) -> Array {
    let mut data = Vec::new();
    for path in paths {
        let image = image::open(Path::new("assets/digits").join(path)).unwrap().into_luma8();
        assert_eq!(image.dimensions(), (64, 64));
        let plane: Vec<f32> = image.into_raw().into_iter().map(|v| (f32::from(v) / 255.0 - 0.5) / 0.5).collect();
        (0..3).for_each(|_| data.extend_from_slice(&plane));
    }
    Array::f32([paths.len(), 3, 64, 64], data)
}

fn logits_agree(device: &Device) {
    let reference: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string("tests/reference/digits_accuracy.json").unwrap()).unwrap();
    let images: Vec<String> = serde_json::from_value(reference["images"].clone()).unwrap();
    let dense: Vec<Vec<f32>> = serde_json::from_value(reference["dense_logits"].clone()).unwrap();
    let input = digits(&images);
    for path in DIGITS {
        let half = path.contains("fp16");
        let network = open(path, device);
        let name = network.graph().inputs[0].name.clone();
        let input = Array { dtype: network.graph().inputs[0].dtype, ..input.clone() };
        let outputs = network.forward(&[(name, input)]).unwrap();
        assert_eq!(outputs.len(), 1);
        assert_eq!(outputs[0].1.shape, [8, 10]);
        let logits = outputs[0].1.as_f32().unwrap();
        let error = logits.iter().zip(dense.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("{path}: largest error {error:e}");
        assert!(error < if half { 2e-2 } else { 1e-4 }, "{path}: {error}");
    }
}

#[test]
fn the_digits_networks_agree_with_pytorch_on_flex() {
    logits_agree(&Device::flex());
}

#[test]
fn the_digits_networks_agree_with_pytorch_on_wgpu() {
    if let Some(device) = wgpu() {
        logits_agree(&device);
    }
}

const GROUPS: [&str; 16] = [
    "activations",
    "arithmetic",
    "convolution",
    "fused",
    "heads",
    "images",
    "integers",
    "linear",
    "normalisations",
    "old",
    "pools",
    "quantised",
    "recurrent",
    "reductions",
    "shapes",
    "transformer",
];

/// An array as `make_operators.py` writes it.
fn listed(value: &serde_json::Value) -> (String, Array) {
    let (name, shape): (String, Vec<usize>) =
        (serde_json::from_value(value["name"].clone()).unwrap(), serde_json::from_value(value["shape"].clone()).unwrap());
    let data = value["data"].as_array().unwrap();
    let array = match value["type"].as_str().unwrap() {
        "float32" => {
            Array::f32(shape, data.iter().map(|v| v.as_f64().map_or_else(|| v.as_str().unwrap().parse().unwrap(), |v| v as f32)).collect())
        }
        "bool" => Array::bool(shape, data.iter().map(|v| v.as_bool().unwrap()).collect()),
        _ => Array::i64(shape, data.iter().map(|v| v.as_i64().unwrap()).collect()),
    };
    (name, array)
}

fn operators_agree(device: &Device) {
    for group in GROUPS {
        let network = open(format!("tests/operators/{group}.onnx"), device);
        let case: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(format!("tests/operators/{group}.json")).unwrap()).unwrap();
        let inputs: Vec<_> = case["inputs"].as_array().unwrap().iter().map(listed).collect();
        let wanted: Vec<_> = case["outputs"].as_array().unwrap().iter().map(listed).collect();
        let outputs = network.forward(&inputs).unwrap();
        assert_eq!(outputs.len(), wanted.len());
        let mut largest: f32 = 0.0;
        for ((name, have), (wanted_name, want)) in outputs.iter().zip(&wanted) {
            assert_eq!(name, wanted_name);
            assert_eq!(have.shape, want.shape, "{group}: {name}");
            let (Some(have), Some(want)) = (have.as_f32(), want.as_f32()) else {
                assert_eq!(have.data, want.data, "{group}: {name}");
                continue;
            };
            for (i, (h, w)) in have.iter().zip(want).enumerate() {
                let error = if h == w { 0.0 } else { (h - w).abs() / w.abs().max(1.0) };
                assert!(error < 1e-4, "{group}: {name}[{i}] is {h} and should be {w}");
                largest = largest.max(error);
            }
        }
        println!("{group}: {} results, largest error {largest:e}", outputs.len());
    }
}

#[test]
fn every_operator_agrees_with_onnx_runtime_on_flex() {
    operators_agree(&Device::flex());
}

#[test]
fn every_operator_agrees_with_onnx_runtime_on_wgpu() {
    if let Some(device) = wgpu() {
        operators_agree(&device);
    }
}

/// Sums longer than the loops that Mesa's software adapter carries to their end.
fn long_sums_are_whole(device: &Device) {
    let n = 200_003;
    let x: Vec<f32> = (0..n).map(|i| ((i * 7919) % 1009) as f32 / 504.0 - 0.5).collect();
    let wide: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
    let sum: f64 = wide.iter().sum();
    let mean = sum / f64::from(n);
    let deviation = (wide.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / f64::from(n) + 1e-5).sqrt();
    let exp: f64 = wide.iter().map(|v| v.exp()).sum();
    let most = wide.iter().copied().fold(f64::MIN, f64::max);
    let outputs = open("tests/operators/long.onnx", device).forward(&[("x".to_owned(), Array::f32([1, n as usize], x))]).unwrap();
    for (name, array) in outputs {
        let have = array.as_f32().unwrap();
        let want = |i: usize| match name.as_str() {
            "ReduceSum" => sum,
            "ReduceMean" => mean,
            "ReduceMax" => most,
            "ReduceLogSumExp" => exp.ln(),
            "Softmax" => wide[i].exp() / exp,
            "LayerNormalization" => (wide[i] - mean) / deviation,
            _ => wide.iter().map(|v| v * v).sum(),
        };
        let many = matches!(name.as_str(), "Softmax" | "LayerNormalization");
        assert_eq!(have.len(), if many { n as usize } else { 1 });
        let scale = want(0).abs();
        for (i, &have) in have.iter().enumerate() {
            let error = (f64::from(have) - want(i)).abs() / scale;
            assert!(error < 1e-3, "{name}[{i}] is {have} and should be {}", want(i));
        }
    }
}

#[test]
fn long_sums_are_whole_on_flex() {
    long_sums_are_whole(&Device::flex());
}

#[test]
fn long_sums_are_whole_on_wgpu() {
    if let Some(device) = wgpu() {
        long_sums_are_whole(&device);
    }
}

#[test]
fn a_pruned_parameter_changes_the_result() {
    let device = Device::flex();
    let mut network = open("assets/mobilenetv4_digits.onnx", &device);
    let input = vec![("input".to_owned(), digits(&["0/0078.png".to_owned()]))];
    let dense = network.forward(&input).unwrap();
    let classifier = network.graph().parameters.iter().position(|p| p.name == "classifier.weight").unwrap();
    let id = ParameterId(classifier);
    let zeros = network.parameter(id).zeros_like();
    let kept = network.clone();
    network.set_parameter(id, zeros);
    let pruned = network.forward(&input).unwrap();
    let bias = network.graph().parameters.iter().position(|p| p.name == "classifier.bias").unwrap();
    let bias = network.parameter(ParameterId(bias)).into_data().try_into_vec::<f32>().unwrap();
    assert_eq!(pruned[0].1.as_f32().unwrap(), bias);
    assert_eq!(kept.forward(&input).unwrap(), dense, "a clone keeps its weights");
}

#[test]
fn a_pass_is_carried_on_by_other_weights() {
    let network = open("assets/mobilenetv4_digits.onnx", &Device::flex());
    let input = [("input".to_owned(), digits(&["0/0078.png".to_owned()]))];
    let mut pass = network.begin(&input).unwrap();
    let begun = pass.bytes();
    assert_eq!(begun, 3 * 64 * 64 * 4, "the image alone");
    let mut last = 0;
    for i in 0..network.graph().parameters.len() {
        let id = ParameterId(i);
        let node = network.first_use(id).unwrap();
        assert!(node >= last, "this file's parameters are in the order of their use");
        last = node;
        network.advance(&mut pass, node, &Unwatched).unwrap();
        let mut pruned = network.clone();
        pruned.set_parameter(id, network.parameter(id).mul_scalar(0.5));
        assert_eq!(pruned.finish(pass.clone(), &Unwatched).unwrap(), pruned.forward(&input).unwrap(), "{}", network.graph().torch_name(id));
    }
    assert_eq!(network.finish(pass.clone(), &Unwatched).unwrap(), network.forward(&input).unwrap());
    // Before the last layer one vector of 1280 is left of all that was worked out.
    assert_eq!(pass.bytes(), 1280 * 4);
}

/// Stops what it watches when it is asked for the third time.
#[derive(Default)]
struct Third(std::sync::atomic::AtomicUsize);

impl Watch for Third {
    fn progress(&self, _: f32, _: &str) {}

    fn is_cancelled(&self) -> bool {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 2
    }
}

#[test]
fn a_pass_stops_when_it_is_told_to() {
    let network = open("assets/mobilenetv4_digits.onnx", &Device::flex());
    let input = [("input".to_owned(), digits(&["0/0078.png".to_owned()]))];
    let third = Third::default();
    assert!(matches!(network.finish(network.begin(&input).unwrap(), &third), Err(NetworkError::Cancelled)));
    assert_eq!(third.0.into_inner(), 3);
    let mut pass = network.begin(&input).unwrap();
    let stopped = Token::default();
    stopped.cancel();
    assert!(matches!(network.advance(&mut pass, 5, &stopped), Err(NetworkError::Cancelled)));
}

#[test]
fn wrong_inputs_are_refused() {
    let network = open("assets/mobilenetv4_digits.onnx", &Device::flex());
    assert!(matches!(network.forward(&[]), Err(NetworkError::MissingInput { .. })));
    let input = |name: &str, array| network.forward(&[(name.to_owned(), array)]);
    assert!(matches!(input("other", Array::f32([1], vec![0.0])), Err(NetworkError::WrongInput { .. })));
    assert!(matches!(input("input", Array::f32([1, 3, 64], vec![0.0; 192])), Err(NetworkError::WrongInput { .. })));
    assert!(matches!(input("input", Array::f32([1, 3, 64, 64], vec![0.0; 5])), Err(NetworkError::WrongInput { .. })));
    assert!(matches!(input("input", Array::i64([1, 3, 64, 64], vec![0; 12288])), Err(NetworkError::WrongInput { .. })));
}

#[test]
fn an_absurd_size_is_refused() {
    let network = open("tests/operators/absurd.onnx", &Device::flex());
    for shape in [vec![1 << 20, 1 << 20], vec![i64::MAX, 2], vec![-1], vec![1 << 28]] {
        let result = network.forward(&[("shape".to_owned(), Array::i64([shape.len()], shape.clone()))]);
        assert!(matches!(result, Err(NetworkError::Operator { .. })), "{shape:?}: {result:?}");
    }
    let outputs = network.forward(&[("shape".to_owned(), Array::i64([2], vec![2, 3]))]).unwrap();
    assert_eq!(outputs[0].1, Array::f32([2, 3], vec![0.0; 6]));
}

#[test]
fn no_images_give_no_logits() {
    let network = open("assets/mobilenetv4_digits.onnx", &Device::flex());
    let outputs = network.forward(&[("input".to_owned(), Array::f32([0, 3, 64, 64], Vec::new()))]).unwrap();
    assert_eq!(outputs[0].1.shape, [0, 10]);
}

fn setting(name: &str, value: f32) -> AttributeProto {
    let mut attribute = AttributeProto::new();
    name.clone_into(&mut attribute.name);
    attribute.f = value;
    attribute.type_ = AttributeType::FLOAT.into();
    attribute
}

fn whole(name: &str, value: i64) -> AttributeProto {
    let mut attribute = AttributeProto::new();
    name.clone_into(&mut attribute.name);
    attribute.i = value;
    attribute.type_ = AttributeType::INT.into();
    attribute
}

/// What one node makes of `x`, which it is given beside `weights`.
fn of_one(op: &str, attributes: &[AttributeProto], weights: &[(&[usize], &[f32])], x: Array) -> Result<Vec<f32>, NetworkError> {
    let names: Vec<String> = (0..weights.len()).map(|i| format!("w{i}")).collect();
    let inputs: Vec<&str> = std::iter::once("x").chain(names.iter().map(String::as_str)).collect();
    let mut node: NodeProto = tiny::node(op, &inputs, "y");
    node.attribute = attributes.to_vec();
    let tensors: Vec<TensorProto> =
        names.iter().zip(weights).map(|(name, (shape, values))| tiny::tensor(name, shape, tiny::FLOAT, tiny::bytes(values))).collect();
    let mut model = tiny::model(vec![node], tensors);
    // Type of the input: `type` (field 2), `tensor_type` (1), `elem_type` (1).
    model.graph.as_mut().unwrap().input[0].merge_from_bytes(&[2 << 3 | 2, 4, 1 << 3 | 2, 2, 1 << 3, tiny::FLOAT as u8]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, model.write_to_bytes().unwrap()).unwrap();
    let outputs = open(&path, &Device::flex()).forward(&[("x".to_owned(), x)])?;
    Ok(outputs[0].1.as_f32().unwrap().to_vec())
}

#[test]
fn limits_that_are_no_numbers_hold_nothing() {
    let steps: Vec<f32> = (0..6).map(|i| i as f32 / 2.0 - 1.0).collect();
    for (op, gates) in [("LSTM", 4), ("GRU", 3), ("RNN", 1)] {
        let weights: Vec<f32> = (0..gates * 2 * 3).map(|i| (i * 7 % 5) as f32 - 2.0).collect();
        let hidden: Vec<f32> = (0..gates * 2 * 2).map(|i| (i * 5 % 3) as f32 - 1.0).collect();
        let run = |attributes: &[AttributeProto]| {
            let weights: [(&[usize], &[f32]); 2] = [(&[1, gates * 2, 3], &weights), (&[1, gates * 2, 2], &hidden)];
            of_one(op, attributes, &weights, Array::f32([2, 1, 3], steps.clone())).unwrap()
        };
        let free = run(&[whole("hidden_size", 2)]);
        assert_eq!(run(&[whole("hidden_size", 2), setting("clip", f32::NAN)]), free, "{op}");
        assert_eq!(run(&[whole("hidden_size", 2), setting("clip", f32::INFINITY)]), free, "{op}");
        assert_ne!(run(&[whole("hidden_size", 2), setting("clip", -0.25)]), free, "{op}: a limit holds, whatever its sign");
    }
}

#[test]
fn limits_in_the_wrong_order_end_in_numbers() {
    // The small value stays on the host, the large one is worked out on the device.
    for count in [4, 1 << 15] {
        let x = Array::f32([count], (0..count).map(|i| [-2.0, 0.0, 0.5, 3.0][i % 4]).collect());
        let clip = |low: f32, high: f32| of_one("Clip", &[], &[(&[], &[low]), (&[], &[high])], x.clone()).unwrap()[..4].to_vec();
        assert_eq!(clip(1.0, -1.0), [-1.0; 4], "the upper limit is applied last");
        assert_eq!(clip(-1.0, 1.0), [-1.0, 0.0, 0.5, 1.0]);
        assert_eq!(clip(f32::NAN, 1.0).len(), 4);
        assert_eq!(clip(-1.0, f32::NAN).len(), 4);
        for (op, names) in [("HardSigmoid", ["alpha", "beta"]), ("ThresholdedRelu", ["alpha", "gamma"]), ("Shrink", ["lambd", "bias"])] {
            let recipe = names.map(|name| setting(name, f32::NAN));
            assert_eq!(of_one(op, &recipe, &[], x.clone()).unwrap().len(), count, "{op}");
        }
        let slope = of_one("HardSigmoid", &[setting("alpha", f32::INFINITY)], &[], x.clone()).unwrap();
        assert_eq!(slope[0], 0.0);
    }
    for cap in [f32::NAN, f32::NEG_INFINITY, f32::INFINITY] {
        let heads = [whole("q_num_heads", 1), whole("kv_num_heads", 1), setting("softcap", cap)];
        let x: Vec<f32> = vec![0.1, -0.2, 0.3, 0.4];
        let out = of_one("Attention", &heads, &[(&[1, 2, 2], &x), (&[1, 2, 2], &x)], Array::f32([1, 2, 2], x.clone())).unwrap();
        assert_eq!(out.len(), 4);
    }
    let image = Array::f32([1, 1, 2, 2], vec![1.0, 2.0, 3.0, 4.0]);
    for scale in [f32::NAN, f32::INFINITY, -1.0, 1e-30] {
        let result = of_one("Upsample", &[], &[(&[4], &[1.0, 1.0, scale, 1.0])], image.clone());
        assert!(!matches!(result, Err(NetworkError::Internal { .. })), "{scale}: {result:?}");
    }
}
