//! Weights that are not where one looks: in graphs that nodes hold, in local functions, sparse, worked out by nodes, in fused
//! operators; and networks in training mode. The models are made by `tests/kinds/make_kinds.py`.
#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use burn::tensor::Device;
use secateur::arrays;
use secateur::graph::{self, Graph, Layout};
use secateur::network::{Array, Network, NetworkError};
use secateur::onnx::OnnxFile;
use secateur::watch::Unwatched;

fn path(name: &str) -> PathBuf {
    Path::new("tests/kinds").join(format!("{name}.onnx"))
}

fn open(path: &Path) -> (OnnxFile, Arc<Graph>) {
    let file = OnnxFile::open(path).unwrap();
    let graph = Arc::new(graph::build(&file));
    (file, graph)
}

fn network(path: &Path) -> Network {
    let (file, graph) = open(path);
    Network::build(graph, &file, &Device::flex()).unwrap()
}

/// Inputs of a model and what ONNX Runtime made of them.
fn case(name: &str) -> [Vec<(String, Array)>; 2] {
    let arrays = arrays::read(&path(name).with_extension("npz")).unwrap();
    ["in.", "out."]
        .map(|part| arrays.iter().filter_map(|(name, array)| Some((name.strip_prefix(part)?.to_owned(), array.clone()))).collect())
}

/// Largest difference of two values, relative to the largest of both.
fn difference(a: &Array, b: &Array) -> f32 {
    assert_eq!(a.shape, b.shape);
    let (Some(a), Some(b)) = (a.as_f32(), b.as_f32()) else { return if a.data == b.data { 0.0 } else { f32::INFINITY } };
    let largest = a.iter().chain(b).fold(1e-6_f32, |m, v| m.max(v.abs()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
}

/// The program itself, which must end well.
fn secateur(arguments: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_secateur")).args(arguments).output().unwrap();
    assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn inspected(path: &Path) -> serde_json::Value {
    serde_json::from_str(&secateur(&["inspect", path.to_str().unwrap(), "--json"])).unwrap()
}

/// Module, type, and for every parameter its name and whether it can be pruned.
type Listed = (String, String, Vec<(String, bool)>);

fn listed(graph: &Graph) -> Vec<Listed> {
    let parameters = |module: &graph::Module| {
        module.parameters.iter().map(|&id| (graph.parameter(id).attribute.clone(), graph.parameter(id).obstacle().is_none())).collect()
    };
    graph.modules.iter().map(|module| (module.name.clone(), module.kind.clone(), parameters(module))).collect()
}

fn row(name: &str, kind: &str, parameters: &[(&str, bool)]) -> Listed {
    (name.to_owned(), kind.to_owned(), parameters.iter().map(|&(name, can)| (name.to_owned(), can)).collect())
}

const RUN: [&str; 47] = [
    "branches",
    "branches_else",
    "rounds",
    "scanned",
    "nested",
    "functions",
    "modules",
    "passing",
    "sparse_conv",
    "sparse_places",
    "sparse_branch",
    "sparse_double",
    "weight_norm",
    "norm_parametrised",
    "norm_spelled",
    "norm_transposed",
    "standard_spelled",
    "standard_batch",
    "standard_layer",
    "small_mul",
    "small_zero",
    "small_div",
    "quantised_onnx",
    "scaled",
    "adapted",
    "positions",
    "dropout_training",
    "calls_turning",
    "squeezed",
    "sparse_constant",
    "sparse_turns",
    "norm_called",
    "spectral",
    "binary",
    "symmetric",
    "masked",
    "looked_up",
    "small_table",
    "put_together",
    "chosen",
    "scanned_batch",
    "products",
    "norm_whole",
    "half_bytes",
    "half_bytes_typed",
    "held",
    "zip_map",
];

#[test]
fn all_of_them_answer_as_onnx_runtime_does() {
    let others = ["quantised_brevitas", "quantised_qonnx", "quantised_finn", "dropout_worked_out"];
    for name in RUN.iter().chain(&others) {
        let [inputs, wanted] = case(name);
        let outputs = network(&path(name)).forward(&inputs).unwrap();
        assert_eq!(outputs.len(), wanted.len(), "{name}");
        for (output, have) in &outputs {
            let want = &wanted.iter().find(|(name, _)| name == output).unwrap().1;
            let error = difference(have, want);
            assert!(error < 2e-6, "{name}: {output} differs by {error}");
        }
    }
}

/// Lengths that ONNX Runtime refuses: nothing at all, which is no round, and more than there is.
#[test]
fn a_batch_is_scanned_as_far_as_each_of_its_elements_goes() {
    let (network, [mut inputs, wanted]) = (network(&path("scanned_batch")), case("scanned_batch"));
    let at = inputs.iter().position(|(name, _)| name == "lengths").unwrap();
    let start = inputs.iter().find(|(name, _)| name == "start").unwrap().1.as_f32().unwrap().to_vec();
    let of = |outputs: &[(String, Array)], name: &str| outputs.iter().find(|(n, _)| n == name).unwrap().1.as_f32().unwrap().to_vec();
    inputs[at].1 = Array::i64([3], vec![3, 5, 0]);
    let outputs = network.forward(&inputs).unwrap();
    assert_eq!(of(&outputs, "end")[6..], start[6..], "as it came");
    assert!(of(&outputs, "all")[30..].iter().all(|&x| x == 0.0));
    assert!(of(&outputs, "all")[..30].iter().zip(&of(&wanted, "all")).all(|(have, want)| (have - want).abs() < 2e-6));
    inputs[at].1 = Array::i64([3], vec![0; 3]);
    assert_eq!(of(&network.forward(&inputs).unwrap(), "end"), start);
    for (lengths, why) in [(vec![3, 6, 1], "not all from 0 to 5"), (vec![3, -1, 1], "not all from 0 to 5")] {
        inputs[at].1 = Array::i64([3], lengths);
        let error = network.forward(&inputs).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn weights_in_graphs_that_nodes_hold_are_listed_under_the_node() {
    let weight = &[("weight", true)];
    assert_eq!(
        listed(&open(&path("branches")).1),
        [row("If_0.else_branch.w", "Linear", weight), row("If_0.then_branch.w", "Linear", &[("weight", true), ("bias", true)])]
    );
    assert_eq!(listed(&open(&path("rounds")).1), [row("layers.Loop.body.turn", "Linear", weight)]);
    assert_eq!(listed(&open(&path("scanned")).1), [row("Scan_end.body.inner", "Linear", weight), row("outer", "Linear", weight)]);
    assert_eq!(
        listed(&open(&path("nested")).1),
        [
            row("stem", "Conv2d", weight),
            row("If_0.then_branch.first", "Conv2d", weight),
            row("If_0.then_branch.Loop_1.body.If_2.else_branch.k", "Conv2d", weight),
            row("If_0.then_branch.Loop_1.body.If_2.then_branch.k", "Conv2d", weight),
        ]
    );
    let (_, graph) = open(&path("foreign"));
    assert_eq!(listed(&graph), [row("fuse.body.conv", "Conv2d", weight)]);
    let report = inspected(&path("foreign"));
    assert_eq!(report["rest_elements"], 35, "the table that no known operator reads");
    assert_eq!(report["rest"][0]["name"], "fuse.body.table");
    assert_eq!(report["unsupported_operators"], serde_json::json!({"acme.Fuse": 1}));
    // One tensor that two calls use, of the function's own; the weight of the main graph after them.
    let (_, graph) = open(&path("functions"));
    assert_eq!(listed(&graph), [row("Layer.w", "Linear", weight), row("head", "Linear", weight)]);
    assert_eq!(graph.user_names(graph::ParameterId(0)), ["first", "second"]);
    let linear = &[("weight", true), ("bias", true)];
    let names = ["blocks.0.fc1", "blocks.0.fc2", "blocks.1.fc1", "blocks.1.fc2"];
    assert_eq!(listed(&open(&path("modules")).1), names.map(|name| row(name, "Linear", linear)));
}

/// Prunes half of a model globally, saves it, and gives the saved file's path with the elements that changed in it.
fn pruned(folder: &Path, name: &str) -> (PathBuf, usize) {
    let (from, to) = (path(name), folder.join(format!("{name}.onnx")));
    secateur(&[
        "prune",
        from.to_str().unwrap(),
        "--method",
        "global",
        "--amount",
        "0.5",
        "--no-biases",
        "--device",
        "cpu",
        "-o",
        to.to_str().unwrap(),
    ]);
    let (before, after) = (std::fs::read(&from).unwrap(), std::fs::read(&to).unwrap());
    assert_eq!(before.len(), after.len(), "{name}");
    assert!(before.iter().zip(&after).all(|(b, a)| b == a || *a == 0), "{name}: bytes become zero and nothing else");
    (to, before.iter().zip(&after).filter(|(b, a)| b != a).count())
}

#[test]
fn what_is_saved_is_the_file_with_zeros_in_the_right_one_of_two_tensors_of_a_name() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "branches",
        "rounds",
        "scanned",
        "nested",
        "foreign",
        "functions",
        "sparse_branch",
        "quantised_brevitas",
        "scaled",
        "quantised_onnx",
        "calls_turning",
        "sparse_constant",
        "masked",
        "small_table",
        "put_together",
        "chosen",
    ] {
        let (saved, changed) = pruned(folder.path(), name);
        assert!(changed > 0, "{name}");
        let ((before, graph), (after, again)) = (open(&path(name)), open(&saved));
        assert_eq!(listed(&graph), listed(&again), "{name}");
        // By magnitude over all that can be pruned: what is kept is at least as large as what goes.
        let (mut kept, mut gone) = (f32::INFINITY, 0.0_f32);
        for parameter in graph.parameters.iter().filter(|p| p.obstacle().is_none() && p.kind == graph::Kind::Weight && p.shape.len() > 1) {
            let read = |file: &OnnxFile| file.floats(parameter.tensor).unwrap().unwrap().into_f32();
            for (was, is) in read(&before).into_iter().zip(read(&after)) {
                assert!(is == was || is.to_bits() == 0, "{name}: {}", parameter.name);
                if is == was { kept = kept.min(was.abs()) } else { gone = gone.max(was.abs()) }
            }
        }
        assert!(gone <= kept && gone > 0.0, "{name}: {gone} goes, {kept} stays");
    }
}

#[test]
fn a_pruned_weight_in_a_branch_changes_what_that_branch_gives_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (saved, _) = pruned(folder.path(), "branches");
    let (before, after) = (network(&path("branches")), network(&saved));
    let [inputs, _] = case("branches");
    let x = inputs.iter().find(|(name, _)| name == "x").unwrap().clone();
    let run =
        |network: &Network, flag: bool| network.forward(&[("flag".into(), Array::bool([1], vec![flag])), x.clone()]).unwrap().remove(0).1;
    for flag in [true, false] {
        assert!(difference(&run(&before, flag), &run(&after, flag)) > 1e-3, "{flag}");
        // The branch alone, with the weights of the saved file put into the opened network.
        let mut partly = before.clone();
        let name = if flag { "If_0.then_branch.w" } else { "If_0.else_branch.w" };
        let id = graph::ParameterId(before.graph().parameters.iter().position(|p| p.name == name).unwrap());
        partly.set_parameter(id, after.parameter(id));
        assert_eq!(run(&partly, flag), run(&after, flag));
        assert_eq!(run(&partly, !flag), run(&before, !flag));
    }
}

#[test]
fn work_is_counted_where_it_is_done() {
    let work = |name: &str, flag: bool| {
        let [mut inputs, _] = case(name);
        if let Some((_, array)) = inputs.iter_mut().find(|(name, _)| name == "flag") {
            *array = Array::bool(array.shape.clone(), vec![flag]);
        }
        let network = network(&path(name));
        let work = network.work(&inputs, &Unwatched).unwrap();
        let names: Vec<_> = network.graph().parameters.iter().map(|p| p.name.clone()).collect();
        names.into_iter().zip(work.uses).collect::<BTreeMap<_, _>>()
    };
    // Two rows of inputs through one branch.
    assert_eq!(
        work("branches", true),
        BTreeMap::from([("If_0.then_branch.w".into(), 2), ("If_0.else_branch.w".into(), 0), ("shift".into(), 0)])
    );
    // Four by four places; three rounds, of which the second is odd.
    let nested = work("nested", true);
    assert_eq!(nested["If_0.then_branch.first"], 16);
    assert_eq!(nested["If_0.then_branch.Loop_1.body.If_2.else_branch.k"], 32);
    assert_eq!(nested["If_0.then_branch.Loop_1.body.If_2.then_branch.k"], 16);
    assert_eq!(nested["stem.weight"], 0);
    // Five steps of two rows.
    assert_eq!(work("scanned", true), BTreeMap::from([("Scan_end.body.inner".into(), 10), ("outer".into(), 10)]));
    // Three elements of a batch, of three, five steps and one.
    assert_eq!(work("scanned_batch", true), BTreeMap::from([("Scan_end.body.inner".into(), 9)]));
    // Two rows, through every expert.
    let products = work("products", true);
    assert!(products.iter().all(|(name, &uses)| uses == if name.ends_with("weight") { 2 } else { 0 }), "{products:?}");
}

#[test]
fn sparse_weights_are_listed_with_their_zeros_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let report = inspected(&path("sparse_conv"));
    let parameter = &report["modules"][0]["parameters"][0];
    assert_eq!((&parameter["name"], &parameter["elements"], &parameter["zeros"]), (&"conv.weight".into(), &12.into(), &4.into()));
    assert!(parameter["obstacle"].as_str().unwrap().contains("sparse"), "{parameter}");
    for (name, elements) in [("sparse_conv", 12), ("sparse_places", 30), ("sparse_double", 6)] {
        let (file, graph) = open(&path(name));
        let parameter = &graph.parameters[0];
        assert_eq!((parameter.elements, parameter.obstacle().is_some()), (elements, true), "{name}");
        assert!(file.floats(parameter.tensor).unwrap().unwrap().zeros() > 0);
    }
    for name in ["sparse_conv", "sparse_places"] {
        let (saved, _) = pruned(folder.path(), name);
        let ((before, graph), (after, _)) = (open(&path(name)), open(&saved));
        let tensor = graph.parameters[0].tensor;
        assert_eq!(before.floats(tensor).unwrap(), after.floats(tensor).unwrap(), "{name}");
    }
}

#[test]
fn a_weight_that_is_worked_out_is_a_module_with_what_it_owns_and_the_reason() {
    let of = |name: &str| listed(&open(&path(name)).1);
    let conv = |parameters: &[(&str, bool)]| row("conv", "Conv2d", parameters);
    let norm = &[("weight_v", false), ("weight_g", false)];
    assert_eq!(of("weight_norm")[0], conv(norm));
    assert_eq!(
        of("norm_parametrised"),
        [row(
            "fc",
            "Linear",
            &[("parametrizations.weight.original1", false), ("parametrizations.weight.original0", false), ("bias", true)]
        )]
    );
    assert_eq!(of("norm_spelled"), [row("conv", "Conv1d", &[norm[0], norm[1], ("bias", true)])]);
    assert_eq!(of("norm_transposed"), [row("up", "ConvTranspose2d", norm)]);
    assert_eq!(of("norm_whole"), [row("fc", "Linear", &[norm[0], norm[1], ("bias", true)])]);
    assert!(open(&path("norm_whole")).1.rest.is_empty(), "one number is owned like many");
    assert_eq!(of("standard_spelled"), [row("stem", "Conv2d", &[("weight", false)])]);
    assert_eq!(of("standard_layer").last().unwrap().0, "fc");
    assert!(of("standard_batch").contains(&conv(&[("weight", false), ("bias", true)])), "{:?}", of("standard_batch"));
    assert_eq!(of("small_mul"), [conv(&[("weight", false), ("scale", false)])]);
    assert_eq!(of("small_zero"), [row("fc", "Linear", &[("weight", false)])]);
    assert_eq!(of("small_div"), [row("fc", "Linear", &[("weight", false)])]);
    assert_eq!(of("quantised_onnx"), [row("fc", "Linear", &[("weight", true), ("scale", false), ("bias", true)])]);
    assert_eq!(of("scaled"), [row("to_rgb", "Conv2d", &[("weight", true), ("bias", true)])]);
    assert_eq!(of("adapted"), [row("fc", "Linear", &[("weight", false), ("scale", false), ("scale_2", false)])]);
    assert_eq!(of("positions"), [], "a table of angles is no weight");
    for name in ["quantised_brevitas", "quantised_qonnx", "quantised_finn"] {
        assert_eq!(of(name)[0], conv(&[("weight", true), ("scale", false)]), "{name}");
    }
    let reason = |name: &str| open(&path(name)).1.parameters[0].obstacle().unwrap();
    assert!(reason("weight_norm").contains("‖v‖") && reason("weight_norm").contains("remove_weight_norm"), "{}", reason("weight_norm"));
    assert!(reason("standard_spelled").contains("mean"), "{}", reason("standard_spelled"));
    assert!(reason("small_mul").contains("int8"), "{}", reason("small_mul"));
    assert!(reason("adapted").contains("MatMul"), "{}", reason("adapted"));
}

#[test]
fn the_same_kinds_in_other_shapes_are_modules_too() {
    let of = |name: &str| listed(&open(&path(name)).1);
    let (can, cannot) = (&[("weight", true)], &[("weight", false)]);
    assert_eq!(of("calls_turning"), [row("rnn", "Linear", can)]);
    assert_eq!(of("squeezed"), [row("first", "Conv2d", can), row("second", "Conv2d", can)]);
    assert_eq!(of("sparse_constant"), [row("held", "Linear", cannot), row("fc", "Linear", &[("weight", true), ("bias", false)])]);
    assert_eq!(of("sparse_turns"), [row("turns.body.w", "Linear", cannot), row("none", "Linear", cannot)]);
    let norm = &[("weight_v", false), ("weight_g", false)];
    assert_eq!(of("norm_called"), [row("a", "Linear", norm), row("b", "Linear", norm)]);
    assert_eq!(of("spectral"), [row("fc", "Linear", &[("weight_orig", false), ("weight_u", false), ("weight_v", false), ("bias", true)])]);
    assert_eq!(of("binary"), [row("conv", "Conv2d", cannot)]);
    assert_eq!(of("symmetric"), [row("fc", "Linear", &[("parametrizations.weight.original", false)])]);
    assert_eq!(of("masked"), [row("fc", "Linear", &[("weight_orig", true), ("weight_mask", false), ("bias", true)])]);
    assert_eq!(of("looked_up"), [row("codes", "Linear", &[("weight", false), ("scale", false)])]);
    assert_eq!(of("small_table"), [row("words", "Embedding", cannot), row("fc", "Linear", can)]);
    let three = &[("weight", true), ("weight_2", true), ("weight_3", true)];
    assert_eq!(of("put_together"), [row("q", "Linear", three), row("out_proj", "Linear", can), row("points", "Conv2d", can)]);
    assert_eq!(of("chosen"), [row("fc", "Linear", &[("weight", true), ("weight_2", true)])]);
    assert_eq!(of("blocked"), [row("conv", "Conv2d", &[("weight", false), ("bias", false)])]);
    let reason = |name: &str| open(&path(name)).1.parameters[0].obstacle().unwrap();
    for (name, why) in [
        ("blocked", "for one processor"),
        ("norm_called", "‖v‖"),
        ("spectral", "Div"),
        ("binary", "Sign"),
        ("symmetric", "Trilu"),
        ("looked_up", "int64"),
    ] {
        assert!(reason(name).contains(why), "{}", reason(name));
    }
}

/// Where there is nothing to prune the reason is told, and not that a person forgot to tick it.
#[test]
fn a_model_without_a_weight_to_prune_says_why() {
    for (name, why) in [
        ("norm_called", "no weight of this model can be pruned; a.weight_v: the weight is worked out from it at every pass, as g · v"),
        ("sparse_turns", "no weight of this model can be pruned; turns.body.w: it is stored sparse"),
        ("symmetric", "by Add, Trilu"),
        ("small_div", "the weights of this model are int8: pruning by magnitude needs float weights"),
        ("looked_up", "the weights of this model are int64"),
    ] {
        let out = Command::new(env!("CARGO_BIN_EXE_secateur"))
            .args(["prune", path(name).to_str().unwrap()])
            .args("--method global --amount 0.5 --device cpu".split(' '))
            .output()
            .unwrap();
        let told = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.code() == Some(2) && told.contains(why), "{name}: {told}");
    }
}

#[test]
fn what_is_pruned_behind_a_quantiser_is_zero_in_the_weight() {
    for name in ["quantised_brevitas", "quantised_onnx", "scaled"] {
        let network = network(&path(name));
        let [inputs, _] = case(name);
        let mut pruned = network.clone();
        let id = graph::ParameterId(0);
        pruned.set_parameter(id, network.parameter(id).zeros_like());
        let out = pruned.forward(&inputs).unwrap().remove(0).1;
        let out = out.as_f32().unwrap();
        // What is left is the bias, the same for all places and rows of an output.
        let bias = network.graph().parameters.iter().position(|p| p.attribute == "bias");
        let bias = bias.map(|i| network.parameter(graph::ParameterId(i)).into_data().try_into_vec::<f32>().unwrap());
        let wanted = |i: usize| match (&bias, name) {
            (Some(bias), "scaled") => bias[i / 9],
            (Some(bias), _) => bias[i % bias.len()],
            (None, _) => 0.0,
        };
        assert!(out.iter().enumerate().all(|(i, &v)| (v - wanted(i)).abs() < 1e-6), "{name}: {out:?}");
    }
}

/// Every weight that a sum of products mixes is one that can be pruned; what only scales is none.
#[test]
fn weights_in_sums_of_products_are_modules() {
    let (file, graph) = open(&path("products"));
    let (weight, biased) = (&[("weight", true)], &[("weight", true), ("bias", true)]);
    let names = [("up", &biased[..]), ("down", weight), ("experts", weight), ("query", biased), ("out", weight)];
    assert_eq!(listed(&graph), names.map(|(name, parameters)| row(name, "Linear", parameters)));
    let of = |name: &str| graph.parameters.iter().find(|p| p.name == format!("{name}.weight")).unwrap();
    let layouts = ["up", "down", "experts", "query", "out"].map(|name| of(name).layout);
    assert_eq!(layouts, [Layout::InFirst, Layout::OutFirst, Layout::InFirst, Layout::Mixed, Layout::Mixed]);
    assert_eq!(graph.rest.iter().map(|&id| file.tensor(id).name.as_str()).collect::<Vec<_>>(), ["gain"]);

    let folder = tempfile::tempdir().unwrap();
    let (saved, _) = pruned(folder.path(), "products");
    let (file, after) = open(&saved);
    let weights = || after.parameters.iter().filter(|p| p.kind == graph::Kind::Weight);
    let zeros: u64 = weights().map(|p| file.floats(p.tensor).unwrap().unwrap().zeros()).sum();
    assert_eq!((zeros, weights().map(|p| p.elements).sum()), (72, 144_usize));
    let [inputs, wanted] = case("products");
    let outputs = network(&saved).forward(&inputs).unwrap();
    assert!(difference(&outputs[0].1, &wanted[0].1) > 1e-3, "it is run with what was saved");
}

#[test]
fn fused_operators_are_modules() {
    let (_, graph) = open(Path::new("tests/operators/fused.onnx"));
    let kinds: BTreeMap<&str, usize> = graph.types().into_iter().map(|(kind, modules)| (kind, modules.len())).collect();
    assert_eq!(kinds["Conv2d"], 2, "six convolutions, of which five share a weight: {kinds:?}");
    assert_eq!((kinds["LayerNorm"], kinds["RMSNorm"], kinds["Embeddings"]), (2, 3, 1), "{kinds:?}");
    assert!(kinds["Linear"] >= 6, "{kinds:?}");
    let (_, graph) = open(Path::new("tests/operators/heads.onnx"));
    let attention = graph.modules.iter().find(|module| module.kind == "Attention").unwrap();
    let names: Vec<_> = attention.parameters.iter().map(|&id| graph.parameter(id).attribute.as_str()).collect();
    assert_eq!(names, ["in_proj_weight", "in_proj_bias"]);
    let (_, graph) = open(Path::new("tests/operators/integers.onnx"));
    let small = graph.parameters.iter().filter(|p| p.kind == graph::Kind::Weight && !p.dtype.is_float());
    assert!(small.clone().count() >= 8 && small.into_iter().all(|p| p.obstacle().unwrap().contains("int8")));
}

#[test]
fn dropout_in_training_mode_runs_as_in_inference_and_is_told() {
    for name in ["dropout_training", "dropout_worked_out"] {
        let text = secateur(&["inspect", path(name).to_str().unwrap()]);
        assert!(text.contains("Dropout") && text.contains("training mode"), "{text}");
    }
    assert!(!secateur(&["inspect", path("scaled").to_str().unwrap()]).contains("training"));
}

/// What looks like a weight and is in no module is told, a setting is not.
#[test]
fn weights_that_nodes_hold_are_told_where_no_module_owns_them() {
    let report = inspected(&path("held"));
    assert_eq!((&report["elements"], &report["rest_elements"]), (&8.into(), &4.into()));
    assert_eq!(report["rest"].as_array().unwrap().iter().map(|t| &t["name"]).collect::<Vec<_>>(), ["conv.b_0", "shift.b_0"]);
}

#[test]
fn names_of_classes_that_numbers_are_put_under_are_passed_over_and_that_is_told() {
    let (file, graph) = open(&path("zip_map"));
    assert!(Network::unsupported(&graph, &file).is_empty() && graph.notes.len() == 1, "{:?}", graph.notes);
    assert!(secateur(&["inspect", path("zip_map").to_str().unwrap()]).contains("ZipMap puts the numbers"));
}

#[test]
fn batch_normalisation_in_training_mode_is_refused() {
    let (file, graph) = open(&path("batch_training"));
    let error = Network::build(graph, &file, &Device::flex()).unwrap_err();
    assert!(matches!(error, NetworkError::Unsupported { .. }) && error.to_string().contains("training"), "{error}");
    let (file, graph) = open(&path("standard_batch"));
    assert!(Network::unsupported(&graph, &file).is_empty(), "of weights it gives the same at every pass");
}

#[test]
fn external_data_of_a_branch_goes_with_the_model() {
    let folder = tempfile::tempdir().unwrap();
    // Another model's data lies where this one's would go.
    std::fs::write(folder.path().join("apart.data"), b"another's").unwrap();
    let saved = folder.path().join("saved.onnx");
    let to = saved.to_str().unwrap();
    secateur(&[
        "prune",
        path("apart").to_str().unwrap(),
        "--method",
        "global",
        "--amount",
        "0.5",
        "--no-biases",
        "--device",
        "cpu",
        "-o",
        to,
    ]);
    assert_eq!(std::fs::read(folder.path().join("apart.data")).unwrap(), b"another's");
    let ((before, graph), (after, again)) = (open(&path("apart")), open(&saved));
    assert_eq!(listed(&graph), listed(&again));
    let mut zeros = 0;
    for parameter in &graph.parameters {
        let read = |file: &OnnxFile| file.floats(parameter.tensor).unwrap().unwrap().into_f32();
        let (was, is) = (read(&before), read(&after));
        assert!(was.iter().zip(&is).all(|(was, is)| is == was || is.to_bits() == 0), "{}", parameter.name);
        zeros += is.iter().filter(|v| **v == 0.0).count();
    }
    assert_eq!(zeros, 12, "half of two weights of 12");
}
