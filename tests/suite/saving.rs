//! Every format, saved and read back without the library's own help: what changed, what did not, and what is left on failure.
#![expect(clippy::unwrap_used, reason = "a test")]
#![allow(clippy::default_trait_access, reason = "the bindings give some of these types no public name")]

mod copies;
mod data_files;
mod encodings;
mod faults;
#[cfg(unix)]
mod links;
mod weights;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use onnx_ir::{Message, ModelProto, TensorProto};
use secateur::export::{Masks, Report};
use secateur::graph::Graph;
use secateur::onnx::Dtype;
use secateur::prune::{Amount, Method, Step};
use secateur::session::Session;
use secateur::watch::Unwatched;
use tempfile::TempDir;

use crate::tiny;

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

fn written(model: &ModelProto) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.onnx");
    std::fs::write(&path, model.write_to_bytes().unwrap()).unwrap();
    (folder, path)
}
