//! A tensor that cannot be read stands by itself: the others are pruned and saved.

use std::path::Path;
use std::process::Command;

use onnx_ir::{Message, ModelProto, TensorProto};
use safetensors::SafeTensors;
use secateur::atomic::Overwrite;
use secateur::export::{Form, Format};
use secateur::graph::ParameterId;
use secateur::onnx::{OnnxFile, TensorId, Values};

use super::{differences, half, names, open, tiny, written};

const VALUES: [f32; 4] = [1.0, 2.0, 3.0, 4.0];

/// Three layers; of the one in the middle the weight is `broken`.
fn model(broken: TensorProto) -> ModelProto {
    let whole = |name: &str| tiny::tensor(name, &[2, 2], tiny::FLOAT, tiny::bytes(&VALUES));
    let nodes = vec![
        tiny::node("MatMul", &["x", "first"], "h"),
        tiny::node("MatMul", &["h", "broken"], "i"),
        tiny::node("MatMul", &["i", "last"], "y"),
    ];
    tiny::model(nodes, vec![whole("first"), broken, whole("last")])
}

/// Every way in which one weight can be unreadable, with a word of the reason.
fn broken() -> Vec<(TensorProto, &'static str)> {
    let with = |change: &dyn Fn(&mut TensorProto)| {
        let mut tensor = tiny::tensor("broken", &[2, 2], tiny::FLOAT, tiny::bytes(&VALUES));
        change(&mut tensor);
        tensor
    };
    vec![
        (with(&|t| t.raw_data = t.raw_data.slice(..12)), "16 bytes expected"),
        (with(&|t| t.raw_data = bytes::Bytes::new()), "4 elements expected"),
        (with(&|t| t.dims = vec![-2, 2]), "dimension -2"),
        (with(&|t| t.dims = vec![1 << 40, 1 << 40]), "beyond any memory"),
        (tiny::external("broken", &[2, 2], "gone.data", "0", "16"), "not beside it"),
        (tiny::external("broken", &[2, 2], "../gone.data", "0", "16"), "outside its own folder"),
        (tiny::external("broken", &[2, 2], "short.data", "0", "16"), "which has only 8"),
        (tiny::external("broken", &[2, 2], "short.data", "0", "8"), "8 promised"),
        (tiny::external("broken", &[2, 2], "short.data", "a", "16"), "is no number"),
        (tiny::external("broken", &[2, 2], "", "0", "16"), "no location"),
    ]
}

#[test]
fn one_weight_that_cannot_be_read_leaves_the_others() {
    for (broken, reason) in broken() {
        let (folder, path) = written(&model(broken));
        std::fs::write(folder.path().join("short.data"), [0; 8]).unwrap();
        let mut session = open(&path);
        let graph = session.model().graph.clone();
        let faulty = graph.parameters.iter().position(|p| p.name == "broken");
        // Without a shape it is no layer's weight, but it is listed all the same.
        let told = match faulty {
            Some(i) => graph.parameter(ParameterId(i)).obstacle(),
            None => graph.rest.iter().find_map(|&id| session.model().file.tensor(id).fault.as_ref().map(ToString::to_string)),
        };
        assert!(told.as_ref().is_some_and(|told| told.contains(reason)), "{reason}: {told:?}");
        assert!(session.model().notes().iter().any(|note| note.contains("broken") && note.contains(reason)), "{reason}");
        half(&mut session);
        assert_eq!(session.state().recipe.scope(&graph).len(), 2, "{reason}");
        for target in ["out.onnx", "tiny.onnx"] {
            let out = folder.path().join(target);
            let before = std::fs::read(&path).unwrap();
            let files = names(folder.path());
            let report = session.save(&out, Format::Onnx, Overwrite::Allow).unwrap();
            assert_eq!(report.left.len(), 1);
            assert!(report.left[0].contains("broken") && report.left[0].contains(reason), "{:?}", report.left);
            if target == "tiny.onnx" {
                assert!(differences(&before, &std::fs::read(&out).unwrap()) <= 16, "{reason}");
                assert_eq!(names(folder.path()), files, "{reason}");
            }
            let saved = OnnxFile::open(&out).unwrap();
            for id in [TensorId(0), TensorId(2)] {
                assert_eq!(saved.floats(id).unwrap().as_ref().map(Values::zeros), Some(2), "{reason}");
            }
            assert!(saved.tensor(TensorId(1)).fault.is_some(), "{reason}");
            assert_eq!(report.zeros, 4);
        }
        let weights = folder.path().join("out.safetensors");
        let report = session.save(&weights, Format::Safetensors(Form::Fixed), Overwrite::Refuse).unwrap();
        assert_eq!((report.zeros, report.left.len()), (4, 1));
        let bytes = std::fs::read(weights).unwrap();
        let mut names = SafeTensors::deserialize(&bytes).unwrap().names().into_iter().map(str::to_owned).collect::<Vec<_>>();
        names.sort();
        assert_eq!(names, ["first.weight", "last.weight"]);
    }
}

#[test]
fn the_command_line_tells_what_it_left() {
    let (broken, reason) = broken().remove(0);
    let (folder, path) = written(&model(broken));
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_secateur")).args(arguments).current_dir(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let file = path.to_str().unwrap();
    let inspected = run(&["inspect", file]);
    assert!(inspected.contains("broken cannot be pruned: it is damaged: 16 bytes expected"), "{inspected}");
    let prune = ["prune", file, "--method", "global", "--amount", "0.5", "--device", "cpu", "-o"];
    let pruned = run(&[&prune[..], &["a.onnx"]].concat());
    assert!(pruned.contains("One tensor cannot be read") && pruned.contains(reason), "{pruned}");
    let json: serde_json::Value = serde_json::from_str(&run(&[&prune[..], &["b.onnx", "--json"]].concat())).unwrap();
    assert!(json["saved"]["left"][0].as_str().unwrap().contains(reason), "{json}");
    let missing = json["parameters"].as_array().unwrap().iter().all(|row| row["name"] != "broken");
    assert!(missing && Path::new(file).exists());
}

/// The data file of a whole model was forgotten: nothing is gained by opening what is left of it.
#[test]
fn a_model_without_its_data_file_is_refused() {
    let large = tiny::external("large", &[64, 64], "gone.data", "0", "16384");
    let bias = tiny::tensor("bias", &[64], tiny::FLOAT, tiny::bytes(&[1.0; 64]));
    let nodes = vec![tiny::node("MatMul", &["x", "large"], "h"), tiny::node("Add", &["h", "bias"], "y")];
    let model = tiny::model(nodes, vec![large, bias]);
    let (_folder, path) = written(&model);
    let error = OnnxFile::open(&path).unwrap_err().to_string();
    assert!(error.contains("gone.data") && error.contains("not beside it"), "{error}");
    assert!(ModelProto::parse_from_bytes(&std::fs::read(&path).unwrap()).is_ok());
}
