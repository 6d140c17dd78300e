//! `secateur run` through the binary: what it reads, what it works out, what it writes, and what it refuses.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use onnx_ir::Message;
use secateur::arrays::{self, Overwrite};
use secateur::network::Array;

use crate::tiny;

const DEMO: &str = "assets/mobilenetv4_digits.onnx";

struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs `secateur run`, on the CPU, with these arguments between spaces.
fn run(arguments: &str) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secateur"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    let output = command.arg("run").args(arguments.split_whitespace()).args(["--device", "cpu"]).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn succeeds(arguments: &str) -> String {
    let run = run(arguments);
    assert_eq!(run.code, Some(0), "{arguments}: {}", run.err);
    run.out
}

fn fails(arguments: &str, code: i32, told: &[&str]) {
    let run = run(arguments);
    assert_eq!(run.code, Some(code), "{arguments}: {}", run.err);
    assert_eq!(run.out, "", "{arguments}");
    for told in told {
        assert!(run.err.contains(told), "{arguments}: “{told}” is not in {}", run.err);
    }
}

/// A temporary folder with arrays and models in it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn with(&self, name: &str, arrays: &[(&str, Array)]) -> String {
        let arrays: Vec<_> = arrays.iter().map(|(name, array)| ((*name).to_owned(), array.clone())).collect();
        arrays::write(&self.0.path().join(name), &arrays, Overwrite::Allow).unwrap();
        self.at(name)
    }

    fn read(&self, name: &str) -> Vec<(String, Array)> {
        arrays::read(&self.0.path().join(name)).unwrap()
    }
}

/// Numbers that look like an image: as many as `shape` asks for, the same at every call.
fn image(shape: [usize; 4]) -> Array {
    let numbers = (0..shape.iter().product::<usize>()).map(|i| ((i * 7919) % 1009) as f32 / 504.0 - 1.0);
    Array::f32(shape.to_vec(), numbers.collect())
}

/// An array as `tests/operators/make_operators.py` lists it.
fn listed(value: &serde_json::Value) -> (String, Array) {
    let name = value["name"].as_str().unwrap().to_owned();
    let shape: Vec<usize> = serde_json::from_value(value["shape"].clone()).unwrap();
    let data = value["data"].as_array().unwrap();
    let array = match value["type"].as_str().unwrap() {
        "float32" => Array::f32(shape, data.iter().map(|v| v.as_f64().map_or(f32::NAN, |v| v as f32)).collect()),
        "bool" => Array::bool(shape, data.iter().map(|v| v.as_bool().unwrap()).collect()),
        _ => Array::i64(shape, data.iter().map(|v| v.as_i64().unwrap()).collect()),
    };
    (name, array)
}

#[test]
fn the_digits_become_the_logits_of_pytorch() {
    let folder = Folder::new();
    let reference: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string("tests/reference/digits_accuracy.json").unwrap()).unwrap();
    let images: Vec<PathBuf> = serde_json::from_value(reference["images"].clone()).unwrap();
    let dense: Vec<Vec<f32>> = serde_json::from_value(reference["dense_logits"].clone()).unwrap();
    let mut pixels = Vec::new();
    for path in &images {
        let grey = image::open(Path::new("assets/digits").join(path)).unwrap().into_luma8().into_raw();
        (0..3).for_each(|_| pixels.extend(grey.iter().map(|&v| (f32::from(v) / 255.0 - 0.5) / 0.5)));
    }
    let input = folder.with("digits.npy", &[("", Array::f32([images.len(), 3, 64, 64], pixels))]);
    let out = succeeds(&format!("{DEMO} --input {input} --output {} --repeat 2 --json", folder.at("out.npz")));
    let outputs = folder.read("out.npz");
    assert_eq!(outputs.len(), 1);
    assert_eq!((outputs[0].0.as_str(), outputs[0].1.shape.as_slice()), ("logits", &[images.len(), 10][..]));
    for (have, want) in outputs[0].1.as_f32().unwrap().iter().zip(dense.iter().flatten()) {
        assert!((have - want).abs() < 1e-4, "{have} and {want}");
    }
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["inputs"][0], serde_json::json!({ "name": "input", "shape": [images.len(), 3, 64, 64], "dtype": "float32" }));
    assert_eq!(report["outputs"][0], serde_json::json!({ "name": "logits", "shape": [images.len(), 10], "dtype": "float32" }));
    assert_eq!((report["runs"].as_u64(), report["device"].as_str()), (Some(2), Some("CPU")));
    assert!(report["seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(report["saved"], folder.at("out.npz"));
}

#[test]
fn every_batch_gives_what_its_images_give_alone() {
    let folder = Folder::new();
    let both = image([2, 3, 64, 64]);
    let (first, second) = both.as_f32().unwrap().split_at(3 * 64 * 64);
    let mut alone = Vec::new();
    for half in [first, second] {
        let input = folder.with("one.npy", &[("", Array::f32([1, 3, 64, 64], half.to_vec()))]);
        succeeds(&format!("{DEMO} --input {input} -o {} --force", folder.at("one_out.npy")));
        alone.extend_from_slice(folder.read("one_out.npy")[0].1.as_f32().unwrap());
    }
    let input = folder.with("both.npy", &[("", both)]);
    succeeds(&format!("{DEMO} --input {input} -o {}", folder.at("out.npy")));
    let outputs = folder.read("out.npy");
    let together = outputs[0].1.as_f32().unwrap();
    assert_eq!(together.len(), 20);
    for (a, b) in together.iter().zip(&alone) {
        assert!((a - b).abs() < 1e-4, "{a} and {b}");
    }
    assert!(together[..10] != together[10..]);
    let input = folder.with("none.npy", &[("", Array::f32([0, 3, 64, 64], Vec::new()))]);
    succeeds(&format!("{DEMO} --input {input} -o {}", folder.at("none_out.npy")));
    assert_eq!(folder.read("none_out.npy")[0].1, Array::f32([0, 10], Vec::new()));
}

#[test]
fn it_prunes_as_prune_does() {
    let folder = Folder::new();
    let input = folder.with("x.npz", &[("input", image([1, 3, 64, 64]))]);
    let pruning = "--method global --amount 0.3 --amount 0.5 --types Conv2d --no-biases";
    succeeds(&format!("{DEMO} --input {input} -o {}", folder.at("dense.npy")));
    succeeds(&format!("{DEMO} --input {input} -o {} {pruning}", folder.at("pruned.npy")));
    let saved = folder.at("pruned.onnx");
    let prune = Command::new(env!("CARGO_BIN_EXE_secateur"))
        .args(format!("prune {DEMO} {pruning} --device cpu -o {saved}").split_whitespace())
        .output()
        .unwrap();
    assert!(prune.status.success());
    succeeds(&format!("{saved} --input {input} -o {}", folder.at("saved.npy")));
    let logits = |name: &str| folder.read(name).remove(0).1;
    assert_eq!(logits("pruned.npy"), logits("saved.npy"));
    assert_ne!(logits("pruned.npy"), logits("dense.npy"));
}

#[test]
fn several_inputs_and_outputs_go_by_name() {
    let folder = Folder::new();
    let case: serde_json::Value = serde_json::from_str(&std::fs::read_to_string("tests/operators/arithmetic.json").unwrap()).unwrap();
    let mut arguments = "tests/operators/arithmetic.onnx".to_owned();
    let inputs: Vec<_> = case["inputs"].as_array().unwrap().iter().map(listed).collect();
    // One alone, the others together.
    let (name, array) = &inputs[0];
    arguments.extend([" --input ", name, "=", &folder.with("first.npy", &[(name, array.clone())])]);
    let rest: Vec<_> = inputs[1..].iter().map(|(name, array)| (name.as_str(), array.clone())).collect();
    arguments.extend([" --input ", &folder.with("rest.npz", &rest)]);
    fails(&format!("{arguments} -o {}", folder.at("out.npy")), 2, &["a .npy file holds one array", ".npz", "out.npy"]);
    assert!(!Path::new(&folder.at("out.npy")).exists());
    succeeds(&format!("{arguments} -o {}", folder.at("out.npz")));
    let outputs = folder.read("out.npz");
    let wanted: Vec<_> = case["outputs"].as_array().unwrap().iter().map(listed).collect();
    assert_eq!(outputs.len(), wanted.len());
    for ((name, have), (wanted_name, want)) in outputs.iter().zip(&wanted) {
        assert_eq!((name, &have.shape, have.dtype.is_float()), (wanted_name, &want.shape, want.dtype.is_float()));
        if !want.dtype.is_float() {
            assert_eq!(have.data, want.data, "{name}");
        }
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let folder = Folder::new();
    let x = folder.with("x.npy", &[("", image([1, 3, 64, 64]))]);
    let flat = folder.with("flat.npy", &[("", Array::f32([1, 3, 64], vec![0.0; 192]))]);
    let whole = folder.with("whole.npy", &[("", Array::i64([1, 3, 64, 64], vec![0; 12288]))]);
    std::fs::write(folder.at("broken.npy"), b"\x93NUMPY\x01\x00").unwrap();
    fails(DEMO, 2, &["the model's input “input” is not given"]);
    fails(&format!("{DEMO} --input {flat}"), 2, &["“input” does not fit", "[1, 3, 64]"]);
    fails(&format!("{DEMO} --input {whole}"), 2, &["the model wants float32, this is int64"]);
    fails(&format!("{DEMO} --input image={x}"), 2, &["“image” does not fit", "no input of this name"]);
    fails(&format!("{DEMO} --input {x} --input input={x}"), 2, &["“input” is given twice"]);
    fails(&format!("{DEMO} --input {}", folder.at("none.npy")), 2, &["cannot read an input", "none.npy"]);
    fails(&format!("{DEMO} --input {}", folder.at("broken.npy")), 2, &["it ends too early", "broken.npy"]);
    fails(&format!("{DEMO} --input {DEMO}"), 2, &["this is neither", DEMO]);
    fails(&format!("tests/operators/arithmetic.onnx --input {x}"), 2, &["has 5 inputs (a, b, p, i, j)", "NAME=FILE"]);
    fails(&format!("{DEMO} --input {x} --amount 0.5"), 64, &["--method"]);
    fails(&format!("{DEMO} --input {x} --types Conv2d"), 64, &["--method"]);
    fails(&format!("{DEMO} --input {x} --method global --amount 1.5"), 64, &["--amount", "1.5"]);
    fails(&format!("{DEMO} --input {x} --method global --amount 99999999"), 2, &["cannot prune the model", "99999999"]);
    fails(&format!("{DEMO} --input {x} --repeat 0"), 64, &["--repeat"]);
}

#[test]
fn an_output_is_not_replaced_silently() {
    let folder = Folder::new();
    let x = folder.with("x.npy", &[("", image([1, 3, 64, 64]))]);
    let out = folder.at("out.npz");
    std::fs::write(&out, "precious").unwrap();
    fails(&format!("{DEMO} --input {x} -o {out}"), 2, &["--force", "out.npz"]);
    assert_eq!(std::fs::read(&out).unwrap(), b"precious");
    succeeds(&format!("{DEMO} --input {x} -o {out} --force"));
    assert_eq!(folder.read("out.npz").len(), 1);
    fails(&format!("{DEMO} --input {x} -o {}", folder.at("out.csv")), 2, &[".npy and .npz"]);
}

#[test]
fn whole_numbers_of_any_width_fit_where_they_can() {
    let folder = Folder::new();
    let shape = "tests/operators/absurd.onnx";
    let narrow = Array { dtype: secateur::onnx::Dtype::U8, ..Array::i64([2], vec![2, 3]) };
    succeeds(&format!("{shape} --input {} -o {}", folder.with("narrow.npy", &[("", narrow)]), folder.at("out.npy")));
    assert_eq!(folder.read("out.npy")[0].1, Array::f32([2, 3], vec![0.0; 6]));
    let flags = folder.with("flags.npy", &[("", Array::bool([2], vec![true, false]))]);
    fails(&format!("{shape} --input {flags}"), 2, &["the model wants int64, this is bool"]);
}

#[test]
fn all_that_cannot_be_run_is_told_at_once() {
    let folder = Folder::new();
    let nodes = vec![
        tiny::node("StringNormalizer", &["x"], "a"),
        tiny::node("Relu", &["a"], "b"),
        tiny::node("TfIdfVectorizer", &["b"], "c"),
        tiny::node("StringNormalizer", &["c"], "d"),
        tiny::node("Dropout", &["d", "", "mode"], "e"),
        tiny::node("Add", &["e", "small"], "y"),
    ];
    let constants = vec![tiny::tensor("mode", &[], 9, vec![1]), tiny::tensor("small", &[1], 19, vec![0])];
    let path = folder.at("strange.onnx");
    std::fs::write(&path, tiny::model(nodes, constants).write_to_bytes().unwrap()).unwrap();
    let x = folder.with("x.npy", &[("", image([1, 1, 2, 2]))]);
    let list = "Add of float8e5m2 (1), StringNormalizer (2), TfIdfVectorizer (1)";
    fails(&format!("{path} --input {x} -o {}", folder.at("out.npy")), 2, &[&format!("this model cannot be run: it uses {list}")]);
    assert!(!Path::new(&folder.at("out.npy")).exists());
    let inspect = Command::new(env!("CARGO_BIN_EXE_secateur")).args(["inspect", &path]).output().unwrap();
    assert!(String::from_utf8(inspect.stdout).unwrap().contains(list), "inspect tells the same");
    // Types that values cannot have, where no node reads them.
    for (code, name) in [(25, "uint2"), (8, "string")] {
        let path = folder.at("given.onnx");
        std::fs::write(&path, tiny::model(vec![], vec![tiny::tensor("y", &[1], code, vec![0])]).write_to_bytes().unwrap()).unwrap();
        let inspect = Command::new(env!("CARGO_BIN_EXE_secateur")).args(["inspect", &path]).output().unwrap();
        let told = String::from_utf8(inspect.stdout).unwrap();
        assert!(told.contains(&format!("output of {name} (1)")), "{told}");
    }
    // The same mode, switched off, is nothing to stop for.
    let nodes = vec![tiny::node("Dropout", &["x", "", "mode"], "y")];
    let path = folder.at("off.onnx");
    std::fs::write(&path, tiny::model(nodes, vec![tiny::tensor("mode", &[], 9, vec![0])]).write_to_bytes().unwrap()).unwrap();
    let inspect = Command::new(env!("CARGO_BIN_EXE_secateur")).args(["inspect", &path]).output().unwrap();
    assert!(!String::from_utf8(inspect.stdout).unwrap().contains("cannot be run"));
}
