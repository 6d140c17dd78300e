//! Bytes, multiply-accumulates and time: against PyTorch's counts (`tests/reference/make_macs.py`), and against each other.
#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use burn::tensor::Device;
use secateur::export::Format;
use secateur::graph;
use secateur::measure::{Effort, Encoding, is_eligible};
use secateur::network::{Array, Network};
use secateur::onnx::{Dtype, OnnxFile};
use secateur::prune::{Amount, Method, Recipe, Step};
use secateur::session::Session;
use secateur::watch::Unwatched;
use secateur::{arrays, atomic::Overwrite};
use serde_json::Value;

use crate::tiny;

const DEMO: &str = "assets/mobilenetv4_digits.onnx";

fn reference() -> Value {
    serde_json::from_str(&std::fs::read_to_string("tests/reference/macs.json").unwrap()).unwrap()
}

fn cost(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_secateur")).arg("cost").args(arguments).output().unwrap()
}

fn report(arguments: &[&str]) -> Value {
    let output = cost(&[arguments, &["--device", "cpu", "--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Multiply-accumulates of all weights, and how many could be 2:4.
fn counted(path: &Path, inputs: &[(String, Array)]) -> (u64, u64) {
    let file = OnnxFile::open(path).unwrap();
    let network = Network::build(Arc::new(graph::build(&file)), &file, &Device::flex()).unwrap();
    let graph = network.graph();
    let work = network.work(inputs, &secateur::watch::Unwatched).unwrap();
    let eligible = graph.parameters.iter().filter(|p| is_eligible(p, graph.module(p.module))).count();
    assert_eq!(work.of(|id| graph.parameter(id).elements as u64), work.total);
    (work.total, eligible as u64)
}

#[test]
fn every_export_has_the_multiply_accumulates_that_torch_counts() {
    let images = arrays::read(Path::new("tests/networks/input.npy")).unwrap().remove(0).1;
    let images = [("x".to_owned(), Array { dtype: Dtype::F32, ..images })];
    let mut files = 0;
    for (name, want) in reference().as_object().unwrap().iter().filter(|(name, _)| name.starts_with("test_")) {
        for way in ["default", "raw", "ts"] {
            let path = PathBuf::from(format!("tests/networks/{name}_{way}.onnx"));
            let (work, eligible) = counted(&path, &images);
            assert_eq!((work, eligible), (want["multiply_accumulates"].as_u64().unwrap(), want["eligible"].as_u64().unwrap()), "{path:?}");
            files += 1;
        }
    }
    assert_eq!(files, 18);
}

#[test]
fn the_command_says_what_the_demo_costs() {
    let want = &reference()["mobilenetv4_digits"];
    let opened = report(&[DEMO]);
    assert_eq!(opened["work"]["multiply_accumulates"], want["multiply_accumulates"]);
    assert_eq!(opened["work"]["zeroed"], 0);
    let rows = opened["parameters"].as_array().unwrap();
    assert_eq!(rows.iter().filter(|row| !row["pattern"].is_null()).count() as u64, want["eligible"].as_u64().unwrap());
    let bytes = std::fs::metadata(DEMO).unwrap().len();
    assert_eq!(opened["file_bytes"], bytes);
    assert_eq!(opened["encodings"][0]["pruned"].as_u64().unwrap() + opened["rest_bytes"].as_u64().unwrap(), bytes);
    // Elements and work are different budgets.
    let pruned = report(&[DEMO, "--method", "global", "--amount", "0.5"]);
    let share = |part: &Value, whole: &Value| part.as_f64().unwrap() / whole.as_f64().unwrap();
    let (zeros, work) = (share(&pruned["zeros"], &pruned["elements"]), &pruned["work"]);
    assert!((zeros - 0.495).abs() < 0.001 && share(&work["zeroed"], &work["multiply_accumulates"]) < 0.45, "{zeros} {work}");
    let rows = pruned["parameters"].as_array().unwrap();
    let sum = |key: &str| rows.iter().map(|row| row[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("zeros"), sum("zeroed_multiply_accumulates")), (pruned["zeros"].as_u64().unwrap(), work["zeroed"].as_u64().unwrap()));
    for (i, key) in ["dense", "deflate", "zstd", "bitmask", "sparse_tensor"].into_iter().enumerate() {
        assert_eq!(sum(key), pruned["encodings"][i]["pruned"].as_u64().unwrap(), "{key}");
    }
}

/// What is weighed is what is saved.
#[test]
fn sizes_are_those_of_the_saved_weights() {
    let folder = tempfile::tempdir().unwrap();
    for file in [DEMO, "tests/models/mobilenetv4_digits_fp16.onnx"] {
        let mut session = Session::open(Path::new(file), &Unwatched).unwrap();
        let dense = session.engine().dense_sizes(&Unwatched).unwrap();
        let recipe = Recipe { method: Method::Global, amount: Amount::Fraction(0.7), ..session.state().recipe.clone() };
        session.set(recipe, Step::Amount).unwrap();
        let sizes = session.engine().sizes(session.state(), &dense, &Unwatched).unwrap();
        let path = folder.path().join("pruned.onnx");
        session.save(&path, Format::Onnx, Overwrite::Allow).unwrap();
        let saved = Session::open(&path, &Unwatched).unwrap();
        assert_eq!(saved.engine().dense_sizes(&Unwatched).unwrap(), sizes, "{file}");
        assert_ne!(dense, sizes);
        let bytes = |encoding: Encoding| sizes.iter().map(|size| size.bytes.of(encoding)).sum::<u64>();
        assert!(Encoding::ALL[1..4].iter().all(|&e| bytes(e) < bytes(Encoding::Dense)));
    }
}

/// What was fixed stays zero beneath a new mask.
#[test]
fn fixed_elements_are_weighed_as_zeros() {
    let mut session = Session::open(Path::new(DEMO), &Unwatched).unwrap();
    let dense = session.engine().dense_sizes(&Unwatched).unwrap();
    assert_eq!(session.engine().sizes(session.state(), &dense, &Unwatched).unwrap(), dense);
    let recipe = Recipe { amount: Amount::Fraction(0.5), ..session.state().recipe.clone() };
    session.set(recipe, Step::Amount).unwrap();
    let masked = session.engine().sizes(session.state(), &dense, &Unwatched).unwrap();
    session.fix().unwrap();
    assert_eq!(session.engine().sizes(session.state(), &dense, &Unwatched).unwrap(), masked);
}

#[test]
fn time_is_measured_where_it_is_asked_for() {
    let plain = report(&[DEMO]);
    assert!(plain["speed"].is_null());
    let timed = report(&[DEMO, "--method", "layer-wise", "--amount", "0.5", "--speed", "--batch", "2", "--passes", "3"]);
    let speed = &timed["speed"];
    assert_eq!((&speed["batch"], &speed["passes"]), (&2.into(), &3.into()));
    for kind in ["dense_ms", "masked_ms", "fixed_ms"] {
        let figure = |key: &str| speed[kind][key].as_f64().unwrap();
        let (low, median, high) = (figure("lower_quartile"), figure("median"), figure("upper_quartile"));
        assert!(low > 0.0 && low <= median && median <= high, "{speed}");
    }
    let session = Session::open(Path::new(DEMO), &Unwatched).unwrap();
    let wrong = [("input".to_owned(), Array::f32([1, 3, 8, 8], vec![0.0; 192]))];
    assert!(session.engine().speed(session.state(), &wrong, Effort::default(), &Unwatched).is_err());
}

#[test]
fn a_network_that_cannot_be_run_is_weighed_all_the_same() {
    let weight = tiny::tensor("w", &[8, 16], tiny::FLOAT, tiny::bytes(&[0.5; 128]));
    let nodes = vec![tiny::gemm(&["x", "w"], "h"), tiny::node("FancyUnknown", &["h"], "y")];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fancy.onnx");
    std::fs::write(&path, onnx_ir::Message::write_to_bytes(&tiny::model(nodes, vec![weight])).unwrap()).unwrap();
    let report = report(&[path.to_str().unwrap()]);
    assert!(report["work"].is_null() && report["work_failure"].as_str().unwrap().contains("cannot be run"), "{report}");
    assert!(report["encodings"][0]["pruned"].as_u64().unwrap() > 0);
}
