//! One test per way in which a file can lie.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use onnx_ir::{AttributeProto, AttributeType, Message, ModelProto, NodeProto, TensorProto};
use secateur::engine::EngineError;
use secateur::graph;
use secateur::network::{Array, NetworkError};
use secateur::onnx::{OnnxFile, OpenError, TensorFault, TensorId, Values};
use secateur::prune::{Amount, Method, Recipe, Step};
use secateur::session::Session;
use secateur::watch::Unwatched;
use tempfile::TempDir;

use super::tiny;

/// A folder with `model.onnx` in it.
fn folder(model: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, model).unwrap();
    (folder, path)
}

fn written(model: &ModelProto) -> (TempDir, PathBuf) {
    folder(&model.write_to_bytes().unwrap())
}

fn weight(values: &[f32]) -> TensorProto {
    tiny::tensor("w", &[values.len() / 2, 2], tiny::FLOAT, tiny::bytes(values))
}

/// One `MatMul` by a weight of 2×2 whose data lies in `location`.
fn external(location: &str, offset: &str, length: &str) -> ModelProto {
    tiny::model(vec![tiny::node("MatMul", &["x", "w"], "y")], vec![tiny::external("w", &[2, 2], location, offset, length)])
}

/// A chain of as many layers as `locations`, each with a weight of 2×2 there.
fn externals(locations: &[String]) -> ModelProto {
    let name = |i: usize| format!("w{i}");
    let nodes = (0..locations.len()).map(|i| tiny::node("MatMul", &["x", &name(i)], "y")).collect();
    let weights = locations.iter().enumerate().map(|(i, location)| tiny::external(&name(i), &[2, 2], location, "0", "16")).collect();
    tiny::model(nodes, weights)
}

/// Says that `x` holds float32: `type` (field 2), `tensor_type` (1), `elem_type` (1).
fn typed(mut model: ModelProto) -> ModelProto {
    let graph = model.graph.as_mut().unwrap();
    graph.input[0].merge_from_bytes(&[2 << 3 | 2, 4, 1 << 3 | 2, 2, 1 << 3, tiny::FLOAT as u8]).unwrap();
    model
}

fn refused(path: &Path) -> OpenError {
    OnnxFile::open(path).unwrap_err()
}

/// Why the weight of a model that has one cannot be read.
fn fault(path: &Path) -> TensorFault {
    match refused(path) {
        OpenError::Weights { fault, .. } => fault,
        error => panic!("{error}"),
    }
}

/// The program itself, ended after a while.
fn secateur(arguments: &[&str]) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_secateur"))
        .args(arguments)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > Duration::from_mins(1) {
            child.kill().unwrap();
            panic!("{arguments:?} hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let out = child.wait_with_output().unwrap();
    (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr))
}

#[test]
fn a_file_cut_anywhere_is_a_model_or_a_message() {
    let whole = tiny::model(vec![tiny::gemm(&["x", "w"], "y")], vec![weight(&[1.0, 2.0, 3.0, 4.0])]).write_to_bytes().unwrap();
    for length in 0..whole.len() {
        let (_folder, path) = folder(&whole[..length]);
        if let Ok(file) = OnnxFile::open(&path) {
            let _ = graph::build(&file);
        }
    }
}

#[test]
fn a_length_that_lies_asks_for_no_memory() {
    // A graph of 2^62 bytes; a raw_data of 2^40 in a small file.
    let huge = |tag: u8, bits: usize| {
        let mut out = vec![tag];
        out.extend(vec![0x80; bits / 7]);
        out.push(1 << (bits % 7));
        out
    };
    let (_folder, path) = folder(&huge(7 << 3 | 2, 62));
    assert!(matches!(refused(&path), OpenError::NotOnnx { .. }));
    let tensor = [vec![8, 2, 16, 1], huge(9 << 3 | 2, 40)].concat();
    let graph = [vec![5 << 3 | 2, tensor.len() as u8], tensor].concat();
    let model = [vec![8 << 3 | 2, 2, 2 << 3, 20, 7 << 3 | 2, graph.len() as u8], graph].concat();
    let (_folder, path) = folder(&model);
    assert!(matches!(refused(&path), OpenError::NotOnnx { .. }));
}

#[test]
fn absurd_dimensions_are_refused() {
    for dims in [vec![-1_i64, 2], vec![i64::MAX, 2], vec![1 << 40, 1 << 40], vec![1 << 31, 1 << 31], vec![1 << 33]] {
        let mut w = weight(&[1.0, 2.0, 3.0, 4.0]);
        w.dims.clone_from(&dims);
        let (_folder, path) = written(&tiny::model(vec![tiny::gemm(&["x", "w"], "y")], vec![w]));
        assert!(matches!(fault(&path), TensorFault::Damaged { .. }), "{dims:?}");
    }
}

/// Without elements nothing is promised that the file would have to hold. Found by the fuzz target: a close look asked for a
/// terabyte.
#[test]
fn absurd_dimensions_of_empty_tensors_are_refused() {
    for dims in [vec![1 << 40, 0], vec![0, 1 << 40], vec![1 << 40, 0, 0, 1, 64, 64, 0, 8192], vec![0, 1 << 40, 1 << 40], vec![0, i64::MAX]]
    {
        let w = TensorProto { dims: dims.clone(), ..tiny::tensor("w", &[], tiny::FLOAT, Vec::new()) };
        let (_folder, path) = written(&tiny::model(vec![tiny::node("MatMul", &["x", "w"], "y")], vec![w]));
        assert!(matches!(fault(&path), TensorFault::Damaged { .. }), "{dims:?}");
    }
}

#[test]
fn a_network_that_runs_in_a_circle_opens_and_does_not_run() {
    let nodes = vec![tiny::node("MatMul", &["b", "w"], "a"), tiny::node("Identity", &["a"], "b"), tiny::node("Identity", &["y"], "y")];
    let (_folder, path) = written(&typed(tiny::model(nodes, vec![weight(&[1.0, 2.0, 3.0, 4.0])])));
    let session = Session::open(&path, &Unwatched).unwrap();
    assert_eq!(session.model().graph.parameters.len(), 1);
    assert!(session.engine().forward(session.state(), &[("x".into(), secateur::network::Array::f32(vec![1], vec![1.0]))]).is_err());
    // A weight that comes from itself.
    let nodes = vec![tiny::node("Identity", &["c"], "c"), tiny::node("MatMul", &["x", "c"], "y")];
    let (_folder, path) = written(&tiny::model(nodes, vec![]));
    assert_eq!(Session::open(&path, &Unwatched).unwrap().model().graph.parameters.len(), 0);
}

#[test]
fn of_tensors_with_one_name_the_first_counts() {
    let nodes = vec![tiny::gemm(&["x", "w"], "y"), tiny::gemm(&["y", "w"], "y")];
    let twice = vec![weight(&[1.0, 2.0, 3.0, 4.0]), weight(&[5.0, 6.0])];
    let (_folder, path) = written(&tiny::model(nodes, twice));
    let file = OnnxFile::open(&path).unwrap();
    let graph = graph::build(&file);
    assert_eq!(graph.parameters.len(), 1);
    assert_eq!(graph.parameters[0].shape, [2, 2]);
    assert_eq!(file.floats(graph.parameters[0].tensor).unwrap(), Some(Values::F32(vec![1.0, 2.0, 3.0, 4.0])));
}

#[test]
fn external_data_outside_the_folder_is_not_opened() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    std::fs::write(&secret, [1; 64]).unwrap();
    for location in ["../secret", "sub/../../secret", "/etc/passwd", secret.to_str().unwrap(), ".."] {
        let (_folder, path) = written(&external(location, "0", "16"));
        assert!(matches!(fault(&path), TensorFault::Outside { .. }), "{location}");
    }
}

#[cfg(unix)]
#[test]
fn a_symbolic_link_is_followed_inside_the_folder_alone() {
    use std::os::unix::fs::symlink;
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), [1; 64]).unwrap();
    let (folder, path) = written(&external("link", "0", "16"));
    symlink(outside.path().join("secret"), folder.path().join("link")).unwrap();
    assert!(matches!(fault(&path), TensorFault::LinkedOutside { .. }));
    // A folder that is a link is no way out either.
    let (folder, path) = written(&external("sub/secret", "0", "16"));
    symlink(outside.path(), folder.path().join("sub")).unwrap();
    assert!(matches!(fault(&path), TensorFault::LinkedOutside { .. }));
    let (folder, path) = written(&external("link", "0", "16"));
    std::fs::write(folder.path().join("real"), tiny::bytes(&[1.0, 2.0, 3.0, 4.0])).unwrap();
    symlink(folder.path().join("real"), folder.path().join("link")).unwrap();
    let file = OnnxFile::open(&path).unwrap();
    assert_eq!(file.floats(TensorId(0)).unwrap(), Some(Values::F32(vec![1.0, 2.0, 3.0, 4.0])));
    // A link to itself ends.
    let (folder, path) = written(&external("link", "0", "16"));
    symlink(folder.path().join("link"), folder.path().join("link")).unwrap();
    assert!(matches!(fault(&path), TensorFault::Unreadable { .. }));
}

#[cfg(unix)]
#[test]
fn pipes_devices_and_folders_are_no_files() {
    let (folder, path) = written(&external("pipe", "0", "16"));
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(matches!(fault(&path), TensorFault::Unreadable { .. }));
    for path in [pipe.as_path(), Path::new("/dev/zero"), Path::new("/dev/null")] {
        let error = refused(path);
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }
    let (folder, path) = written(&external("data", "0", "16"));
    std::fs::create_dir(folder.path().join("data")).unwrap();
    assert!(refused(&path).to_string().contains("not a regular file"));
}

#[test]
fn external_data_past_the_end_is_refused() {
    for (offset, length) in
        [("1", "16"), ("18446744073709551615", "16"), ("9223372036854775807", "16"), ("0", "17"), ("-1", "16"), ("x", "16")]
    {
        let (folder, path) = written(&external("data", offset, length));
        std::fs::write(folder.path().join("data"), [0; 16]).unwrap();
        assert!(matches!(fault(&path), TensorFault::Truncated { .. } | TensorFault::Damaged { .. }), "{offset} {length}");
    }
}

#[test]
fn external_data_past_four_gigabytes_is_read() {
    let offset = 5_u64 << 30;
    let (folder, path) = written(&external("data", &offset.to_string(), "16"));
    // Sparse on disk where the system can: nobody writes the first five gigabytes.
    let data = std::fs::File::create(folder.path().join("data")).unwrap();
    data.set_len(offset + 16).unwrap();
    let mut data = data;
    std::io::Seek::seek(&mut data, std::io::SeekFrom::Start(offset)).unwrap();
    std::io::Write::write_all(&mut data, &tiny::bytes(&[1.0, -2.0, 3.0, 4.0])).unwrap();
    drop(data);
    let file = OnnxFile::open(&path).unwrap();
    assert_eq!(file.floats(TensorId(0)).unwrap(), Some(Values::F32(vec![1.0, -2.0, 3.0, 4.0])));
}

#[test]
fn external_data_that_changes_while_its_model_is_open_is_told() {
    let (folder, path) = written(&external("data", "0", "16"));
    let data = folder.path().join("data");
    std::fs::write(&data, tiny::bytes(&[1.0, 2.0, 3.0, 4.0])).unwrap();
    let mut session = Session::open(&path, &Unwatched).unwrap();
    let recipe = Recipe { method: Method::Global, amount: Amount::Fraction(0.5), ..session.state().recipe.clone() };
    session.set(recipe, Step::Amount).unwrap();
    std::fs::OpenOptions::new().write(true).open(&data).unwrap().set_len(8).unwrap();
    let error = session.engine().pruned_weights(session.state()).unwrap_err();
    assert!(matches!(error, EngineError::Open(OpenError::Changed { .. })), "{error}");
    let out = folder.path().join("out.onnx");
    assert!(session.save(&out, secateur::export::Format::Onnx, secateur::atomic::Overwrite::Refuse).is_err());
    assert!(!out.exists());
}

/// So many data files that not all are held open, and the last one is deleted after opening.
#[test]
fn a_look_at_data_that_is_gone_says_so() {
    let locations: Vec<String> = (0..200).map(|i| format!("data{i}")).collect();
    let (folder, path) = written(&externals(&locations));
    for location in &locations {
        std::fs::write(folder.path().join(location), tiny::bytes(&[1.0, 2.0, 3.0, 4.0])).unwrap();
    }
    let session = Session::open(&path, &Unwatched).unwrap();
    let last = secateur::graph::ParameterId(199);
    assert!(session.engine().detail(session.state(), last).unwrap().is_some());
    std::fs::remove_file(folder.path().join("data199")).unwrap();
    assert!(session.engine().detail(session.state(), last).unwrap().is_some(), "what was looked at is kept");
    assert!(session.engine().detail(session.state(), secateur::graph::ParameterId(198)).unwrap().is_some());
    let error = session.engine().detail(session.state(), last).unwrap_err();
    assert!(matches!(error, OpenError::Read { .. }) && error.to_string().contains("data199"), "{error}");
}

/// Tensors may share bytes, but memory for them is bounded by the size of the data.
#[test]
fn data_is_shared_eight_times_and_no_more() {
    for (name, other) in [("data", "data"), ("data", "./data")] {
        for (count, is_fine) in [(8, true), (9, false)] {
            let locations: Vec<String> = (0..count).map(|i| if i % 2 == 0 { name } else { other }.to_owned()).collect();
            let (folder, path) = written(&externals(&locations));
            std::fs::write(folder.path().join("data"), tiny::bytes(&[1.0, 2.0, 3.0, 4.0])).unwrap();
            let file = OnnxFile::open(&path).unwrap();
            let last = file.tensor(TensorId(count - 1)).fault.as_ref().map(ToString::to_string);
            assert_eq!(file.floats(TensorId(7)).unwrap(), Some(Values::F32(vec![1.0, 2.0, 3.0, 4.0])));
            assert_eq!(last.is_none(), is_fine, "{count} of {other}");
            if let Some(fault) = last {
                assert!(fault.contains("more than 8 times"), "{fault}");
                assert_eq!(file.floats(TensorId(8)).unwrap(), None);
            }
        }
    }
}

/// The message with which a model of these nodes and tensors refuses to run on `x`, at once.
fn does_not_run(nodes: Vec<NodeProto>, tensors: Vec<TensorProto>, x: Array) -> String {
    let (_folder, path) = written(&typed(tiny::model(nodes, tensors)));
    let session = Session::open(&path, &Unwatched).unwrap();
    let start = Instant::now();
    let error = session.engine().forward(session.state(), &[("x".into(), x)]).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(matches!(error, EngineError::Network(NetworkError::Operator { .. })), "{error:?}");
    error.to_string()
}

fn sizes(name: &str, list: &[i64]) -> TensorProto {
    tiny::tensor(name, &[list.len()], 7, list.iter().flat_map(|v| v.to_le_bytes()).collect())
}

fn with(mut node: NodeProto, name: &str, set: impl FnOnce(&mut AttributeProto)) -> NodeProto {
    let mut attribute = AttributeProto::new();
    name.clone_into(&mut attribute.name);
    set(&mut attribute);
    node.attribute.push(attribute);
    node
}

/// Forty numbers that become a hundred million, of which each is a sum of four. Seeds 300496502 and 400238099 of the mutations.
#[test]
fn a_small_image_is_not_enlarged_without_end() {
    for size in [[1_048_577, 2, 7, 9], [1, 2, 7_143_431, 9]] {
        let node = with(tiny::node("Resize", &["x", "", "", "to"], "y"), "mode", |a| {
            a.type_ = AttributeType::STRING.into();
            a.s = b"cubic".to_vec().into();
        });
        let message = does_not_run(vec![node], vec![sizes("to", &size)], Array::f32([1, 2, 4, 5], vec![0.5; 40]));
        assert!(message.contains("too large"), "{message}");
    }
}

/// Each node doubles, spreads or repeats what the one before it made; no single one asks for much more than it gets.
#[test]
fn a_chain_of_nodes_that_grow_ends() {
    let chain = |count: usize, node: &dyn Fn(&str, &str) -> NodeProto| -> Vec<NodeProto> {
        let name = |i: usize| match i {
            0 => "x".to_owned(),
            i if i == count => "y".to_owned(),
            i => format!("v{i}"),
        };
        (0..count).map(|i| node(&name(i), &name(i + 1))).collect()
    };
    let x = || Array::f32([1, 1024], vec![0.5; 1024]);
    let concat = |from: &str, to: &str| {
        with(tiny::node("Concat", &[from, from], to), "axis", |a| {
            a.type_ = AttributeType::INT.into();
            a.i = 1;
        })
    };
    let message = does_not_run(chain(40, &concat), vec![], x());
    assert!(message.contains("Concat") && message.contains("too large"), "{message}");
    // A row and a column of a hundred thousand each.
    let wide = tiny::tensor("w", &[100_000, 1], tiny::FLOAT, vec![0; 400_000]);
    let row = Array::f32([1, 100_000], vec![0.5; 100_000]);
    for op in ["Add", "Less"] {
        let message = does_not_run(vec![tiny::node(op, &["w", "x"], "y")], vec![wide.clone()], row.clone());
        assert!(message.contains("too large"), "{message}");
    }
    let message = does_not_run(vec![tiny::node("MatMul", &["w", "x"], "y")], vec![wide], row);
    assert!(message.contains("too large"), "{message}");
    // Every result is a fifth of a gigabyte, and all of them are asked for.
    let expand: Vec<NodeProto> = (0..25).map(|i| tiny::node("Expand", &["x", "to"], &format!("y{i}"))).collect();
    let mut nodes = expand;
    nodes[24].output[0] = "y".into();
    let message = does_not_run(nodes, vec![sizes("to", &[50_000, 1024])], x());
    assert!(message.contains("Expand") && message.contains("too large"), "{message}");
}

/// A state of two axes where three are put in another order.
#[test]
fn axes_that_are_not_there_are_a_message() {
    let node = tiny::node("LSTM", &["x", "w", "r", "", "", "h"], "y");
    let node = with(node, "layout", |a| {
        a.type_ = AttributeType::INT.into();
        a.i = 1;
    });
    let tensors = vec![
        tiny::tensor("w", &[1, 4, 3], tiny::FLOAT, vec![0; 48]),
        tiny::tensor("r", &[1, 4, 1], tiny::FLOAT, vec![0; 16]),
        tiny::tensor("h", &[1, 1], tiny::FLOAT, vec![0; 4]),
    ];
    let message = does_not_run(vec![node], tensors, Array::f32([1, 2, 3], vec![0.5; 6]));
    assert!(message.contains("[1, 0, 2] is no order of 2 dimensions"), "{message}");
}

/// Past 64 MB the weights stay in the file: pruned and saved they are what they would be, and a file that changed is told.
#[test]
fn a_large_model_is_read_where_it_lies() {
    let values: Vec<f32> = (0..4096 * 4200_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 + 1.0).collect();
    let w = tiny::tensor("w", &[4096, 4200], tiny::FLOAT, tiny::bytes(&values));
    let hidden = with(tiny::node("Constant", &[], "c"), "value", |a| {
        a.type_ = AttributeType::TENSOR.into();
        a.t = Some(tiny::tensor("", &[2], tiny::FLOAT, tiny::bytes(&[5.0, 6.0]))).into();
    });
    let (folder, path) = written(&tiny::model(vec![hidden, tiny::node("MatMul", &["x", "w"], "y")], vec![w]));
    let mut session = Session::open(&path, &Unwatched).unwrap();
    let constant = session.model().file.tensor_named("c").unwrap();
    assert_eq!(session.model().file.floats(constant).unwrap(), Some(Values::F32(vec![5.0, 6.0])));
    let recipe = Recipe { method: Method::Global, amount: Amount::Fraction(0.5), ..session.state().recipe.clone() };
    session.set(recipe, Step::Amount).unwrap();
    let out = folder.path().join("out.onnx");
    session.save(&out, secateur::export::Format::Onnx, secateur::atomic::Overwrite::Refuse).unwrap();
    let mut sorted = values.clone();
    sorted.sort_unstable_by(f32::total_cmp);
    let pruned = OnnxFile::open(&out).unwrap().floats(TensorId(0)).unwrap().unwrap().into_f32();
    let cut = sorted[sorted.len() / 2];
    assert!(pruned.iter().zip(&values).all(|(&have, &was)| if was < cut {
        have == 0.0
    } else {
        have == was || was.to_bits() == cut.to_bits()
    }));
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 20).unwrap();
    let error = session.save(&out, secateur::export::Format::Onnx, secateur::atomic::Overwrite::Allow).unwrap_err();
    assert!(error.to_string().contains("was changed after this model was opened"), "{error}");
    assert_eq!(OnnxFile::open(&out).unwrap().floats(TensorId(0)).unwrap().unwrap().into_f32(), pruned, "the file of before is whole");
}

#[cfg(unix)]
#[test]
fn a_file_that_takes_the_datas_name_changes_nothing() {
    let (folder, path) = written(&external("data", "0", "16"));
    std::fs::write(folder.path().join("data"), tiny::bytes(&[1.0, 2.0, 3.0, 4.0])).unwrap();
    let file = OnnxFile::open(&path).unwrap();
    std::fs::write(folder.path().join("new"), [0; 16]).unwrap();
    std::fs::rename(folder.path().join("new"), folder.path().join("data")).unwrap();
    assert_eq!(file.floats(TensorId(0)).unwrap(), Some(Values::F32(vec![1.0, 2.0, 3.0, 4.0])));
}

/// The parameter is empty, whatever its other dimensions: nothing is made for those.
#[test]
fn nothing_is_made_for_dimensions_beside_a_zero() {
    for dims in [&[1 << 31, 0, 1, 1][..], &[0, 16, 1 << 20, 1 << 7], &[1 << 27, 16, 0]] {
        let model = tiny::model(vec![tiny::node("Conv", &["x", "w"], "y")], vec![tiny::tensor("w", dims, tiny::FLOAT, Vec::new())]);
        let (_folder, path) = written(&model);
        let session = Session::open(&path, &Unwatched).unwrap();
        for i in 0..session.model().graph.parameters.len() {
            let detail = session.engine().detail(session.state(), graph::ParameterId(i)).unwrap().unwrap();
            assert_eq!((detail.empty_outputs, detail.picture.kept.len()), ((0, 0), 0));
        }
        let sizes = session.engine().dense_sizes(&Unwatched).unwrap();
        assert!(sizes.iter().all(|size| size.bytes.dense == 0 && size.pattern.is_none()));
    }
}

#[test]
fn nan_everywhere_is_pruned_last_and_to_zero() {
    let (_folder, path) =
        written(&tiny::model(vec![tiny::gemm(&["x", "w"], "y")], vec![weight(&[f32::NAN, f32::NAN, -f32::NAN, f32::NAN])]));
    let mut session = Session::open(&path, &Unwatched).unwrap();
    for method in Method::PAIR {
        let recipe = Recipe { method, amount: Amount::Fraction(0.5), ..session.state().recipe.clone() };
        session.set(recipe, Step::Amount).unwrap();
        let (_, mask, values) = session.engine().pruned_weights(session.state()).unwrap().remove(0);
        assert_eq!(mask.pruned(), 2);
        let values = values.into_f32();
        assert!(values[..2].iter().all(|v| v.to_bits() == 0) && values[2..].iter().all(|v| v.is_nan()));
        assert!(session.engine().detail(session.state(), secateur::graph::ParameterId(0)).unwrap().is_some());
    }
}

#[test]
fn tensors_without_elements_and_scalars_open() {
    let empty = tiny::tensor("w", &[0, 2], tiny::FLOAT, Vec::new());
    let scalar = tiny::tensor("s", &[], tiny::FLOAT, tiny::bytes(&[2.0]));
    for (nodes, tensors) in [
        (vec![tiny::gemm(&["x", "w"], "y")], vec![empty]),
        (vec![tiny::node("PRelu", &["x", "s"], "y")], vec![scalar.clone()]),
        (vec![tiny::gemm(&["x", "s"], "y")], vec![scalar]),
    ] {
        let (_folder, path) = written(&tiny::model(nodes, tensors));
        let mut session = Session::open(&path, &Unwatched).unwrap();
        for method in Method::PAIR {
            for amount in [0.0, 0.5, 1.0] {
                let recipe = Recipe { method, amount: Amount::Fraction(amount), ..session.state().recipe.clone() };
                let _ = session.set(recipe, Step::Amount);
                let _ = (session.engine().figures(session.state(), &Method::PAIR), session.engine().pruned_weights(session.state()));
                for id in 0..session.model().graph.parameters.len() {
                    let _ = session.engine().detail(session.state(), secateur::graph::ParameterId(id));
                }
            }
        }
        let _ = session.engine().forward(session.state(), &[("x".into(), secateur::network::Array::f32(Vec::new(), vec![1.0]))]);
    }
}

#[test]
fn control_characters_in_names_reach_no_terminal() {
    let name = "w\u{1b}[2J\u{7}\n\u{9b}31m\u{202e}";
    let mut w = weight(&[1.0, 2.0, 3.0, 4.0]);
    name.clone_into(&mut w.name);
    let mut model = tiny::model(
        vec![tiny::gemm(&["x", name], "y"), tiny::node("\u{1b}[31mOdd", &["y"], "z")],
        vec![w.clone(), {
            let mut other = w;
            "o\u{1b}[5m".clone_into(&mut other.name);
            other
        }],
    );
    "evil\u{1b}]0;title\u{7}".clone_into(&mut model.producer_name);
    let (_folder, path) = written(&model);
    let file = path.to_str().unwrap();
    let prune = ["prune", file, "--method", "global", "--amount", "0.5", "--device", "cpu"];
    let bad = [&prune[..], &["--types", "\u{1b}[1mNone"]].concat();
    for arguments in [&["inspect", file][..], &["inspect", file, "--json"], &prune, &bad] {
        let (_, text) = secateur(arguments);
        let raw: Vec<char> = text.chars().filter(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}').collect();
        assert!(raw.is_empty(), "{arguments:?}: {raw:?} in {text:?}");
        assert!(!text.is_empty());
    }
}

#[test]
fn a_million_empty_nodes_open_in_seconds() {
    // Field 1 of the graph, length 0.
    let nodes = [1 << 3 | 2, 0].repeat(1_000_000);
    let mut model = tiny::model(vec![], vec![weight(&[1.0, 2.0, 3.0, 4.0])]).write_to_bytes().unwrap();
    // A second graph field is merged into the first.
    model.push(7 << 3 | 2);
    let mut length = nodes.len();
    while length >= 0x80 {
        model.push(length as u8 | 0x80);
        length >>= 7;
    }
    model.push(length as u8);
    model.extend(nodes);
    let (_folder, path) = folder(&model);
    let start = Instant::now();
    let session = Session::open(&path, &Unwatched).unwrap();
    assert_eq!(session.model().graph.nodes.len(), 1_000_000);
    let _ = session.engine().forward(session.state(), &[]);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

#[test]
fn many_modules_of_one_name_open_in_seconds() {
    let mut nodes = Vec::new();
    let mut tensors = Vec::new();
    for i in 0..20_000 {
        let name = format!("onnx::w_{i}");
        let mut node = tiny::node("MatMul", &["x", &name], "y");
        "/same/MatMul".clone_into(&mut node.name);
        nodes.push(node);
        tensors.push(tiny::tensor(&name, &[1, 1], tiny::FLOAT, tiny::bytes(&[1.0])));
    }
    let (_folder, path) = written(&tiny::model(nodes, tensors));
    let start = Instant::now();
    let file = OnnxFile::open(&path).unwrap();
    assert_eq!(graph::build(&file).modules.len(), 20_000);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn graphs_within_graphs_end() {
    // A node (field 1) with an attribute (field 5) with a graph (field 6) with a node, and so on.
    let mut bytes: Vec<u8> = Vec::new();
    let wrap = |tag: u8, content: &[u8]| {
        let mut out = vec![tag];
        let mut length = content.len();
        while length >= 0x80 {
            out.push(length as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend(content);
        out
    };
    for _ in 0..10_000 {
        bytes = wrap(1 << 3 | 2, &wrap(5 << 3 | 2, &wrap(6 << 3 | 2, &bytes)));
    }
    let model = [vec![8 << 3 | 2, 2, 2 << 3, 20], wrap(7 << 3 | 2, &bytes)].concat();
    let (_folder, path) = folder(&model);
    // Known by its exit code: a stack that overflows ends the whole program.
    let (code, text) = secateur(&["inspect", path.to_str().unwrap()]);
    assert!(matches!(code, Some(0 | 2)), "{code:?} {text}");
}

#[test]
fn a_kernel_may_reach_past_a_narrow_image() {
    let ints = |name: &str, values: &[i64]| {
        let mut attribute = AttributeProto::new();
        name.clone_into(&mut attribute.name);
        attribute.type_ = AttributeType::INTS.into();
        attribute.ints = values.to_vec();
        attribute
    };
    let mut conv = tiny::node("Conv", &["x", "w"], "y");
    conv.attribute = vec![ints("dilations", &[1, 2]), ints("pads", &[0, 0, 0, 2])];
    let w = tiny::tensor("w", &[1, 1, 1, 2], tiny::FLOAT, tiny::bytes(&[3.0, 5.0]));
    let (_folder, path) = written(&typed(tiny::model(vec![conv], vec![w])));
    let mut session = Session::open(&path, &Unwatched).unwrap();
    let recipe = Recipe { amount: Amount::Count(0), ..session.state().recipe.clone() };
    session.set(recipe, Step::Amount).unwrap();
    let x = secateur::network::Array::f32(vec![1, 1, 1, 1], vec![2.0]);
    let outputs = session.engine().forward(session.state(), &[("x".into(), x)]).unwrap();
    assert_eq!(outputs[0].1, secateur::network::Array::f32(vec![1, 1, 1, 1], vec![6.0]));
}

#[test]
fn a_shared_weight_is_listed_once_with_all_its_users() {
    let mut first = tiny::gemm(&["x", "w", "b"], "h");
    "first".clone_into(&mut first.name);
    let nodes = vec![first, tiny::gemm(&["h", "w", "b"], "i"), tiny::node("MatMul", &["i", "v"], "y")];
    let bias = tiny::tensor("b", &[2], tiny::FLOAT, tiny::bytes(&[1.0, 2.0]));
    let v = tiny::tensor("v", &[2, 2], 3, vec![1, 2, 3, 4]);
    let loose = tiny::tensor("loose", &[3], 7, [1_i64, 2, 3].iter().flat_map(|v| v.to_le_bytes()).collect());
    let (_folder, path) = written(&tiny::model(nodes, vec![weight(&[1.0, 2.0, 3.0, 4.0]), bias, v, loose]));
    let file = OnnxFile::open(&path).unwrap();
    let graph = graph::build(&file);
    let names: Vec<&str> = graph.parameters.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["w", "b", "v"]);
    let users = |i| graph.user_names(secateur::graph::ParameterId(i));
    assert_eq!([users(0), users(1), users(2)], [vec!["first", "Gemm 1"], vec!["first", "Gemm 1"], vec!["MatMul 2"]]);
    assert!(graph.parameters[2].obstacle().unwrap().contains("int8"));
    assert_eq!(graph.rest, [TensorId(3)]);
    let (_, text) = secateur(&["inspect", path.to_str().unwrap()]);
    assert!(text.contains("w is used by first, Gemm 1") && text.contains("v cannot be pruned: its elements are int8"), "{text}");
    assert!(text.contains("10 parameter elements in modules, 3 elements in 1 tensor that no module owns"), "{text}");
}
