//! Weight files: safetensors, Burn's, and Rust source.

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;
use safetensors::SafeTensors;
use secateur::atomic::Overwrite;
use secateur::export::{Form, Format};
use secateur::graph::{Graph, ParameterId, Role};
use secateur::onnx::Dtype;
use secateur::prune::Method;

use super::encodings::{Encoding, encoded};
use super::{SEVEN, half, names, open, places, prune, tiny, written};

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
