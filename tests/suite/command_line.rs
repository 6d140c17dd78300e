//! The whole program in temporary folders: what it prints, what it writes, its exit codes, and what is left when it fails.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::adapter;

const DEMO: &str = "assets/mobilenetv4_digits.onnx";
const FOLDED: &str = "tests/models/mobilenetv4_digits_default.onnx";

/// What one run of the program did.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secateur"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    for variable in ["DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"] {
        command.env_remove(variable);
    }
    command
}

fn secateur<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Run {
    let output = program().args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Runs a line of arguments without quotes in it.
fn line(arguments: &str) -> Run {
    secateur(arguments.split_whitespace())
}

fn succeeds(arguments: &str) -> Run {
    let run = line(arguments);
    assert_eq!(run.code, Some(0), "{arguments}: {run:?}");
    run
}

fn json(arguments: &str) -> Value {
    serde_json::from_str(&succeeds(arguments).out).unwrap()
}

/// Fails with `code`, prints nothing to standard output, and an error that holds all of `told`.
fn fails(arguments: &str, code: i32, told: &[&str]) {
    let run = line(arguments);
    assert_eq!(run.code, Some(code), "{arguments}: {run:?}");
    assert_eq!(run.out, "", "{arguments}");
    for told in told {
        assert!(run.err.contains(told), "{arguments}: “{told}” is not in {}", run.err);
    }
    if code == 2 {
        assert!(run.err.starts_with("secateur: "), "{}", run.err);
        let lines: Vec<&str> = run.err.lines().filter(|line| !line.starts_with("error: XDG_RUNTIME_DIR")).collect();
        assert_eq!(lines.len(), 1, "{arguments}: {}", run.err);
    }
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn set<'a>(names: &[&'a str]) -> BTreeSet<&'a str> {
    names.iter().copied().collect()
}

fn reference(model: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(format!("tests/reference/{model}.json")).unwrap()).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// One of the seven files, and what is to be found in it.
struct Known {
    file: &'static str,
    reference: &'static str,
    /// The type of its normalisation; none where it was folded.
    norm: Option<&'static str>,
    convolution: u64,
    linear: u64,
    dtype: &'static str,
}

const fn known(file: &'static str, norm: Option<&'static str>) -> Known {
    let convolution = if norm.is_some() { 2_467_936 } else { 2_480_480 };
    Known { file, reference: "mobilenetv4_digits", norm, convolution, linear: 12_810, dtype: "float32" }
}

const SEVEN: [Known; 7] = [
    known(DEMO, Some("BatchNormAct2d")),
    known(FOLDED, None),
    known("tests/models/mobilenetv4_digits_raw.onnx", Some("BatchNormAct2d")),
    known("tests/models/mobilenetv4_digits_ts.onnx", None),
    known("tests/models/mobilenetv4_digits_ts_bn.onnx", Some("BatchNorm2d")),
    Known { dtype: "float16", ..known("tests/models/mobilenetv4_digits_fp16.onnx", Some("BatchNormAct2d")) },
    Known {
        reference: "mobilenetv4_r224_3classes",
        linear: 3843,
        ..known("tests/models/mobilenetv4_r224_3classes.onnx", Some("BatchNormAct2d"))
    },
];

#[test]
fn inspect_tells_the_modules_of_all_seven_files() {
    for known in &SEVEN {
        let file = known.file;
        let report = json(&format!("inspect {file} --json"));
        assert_eq!(
            keys(&report),
            set(&[
                "file",
                "producer",
                "opset",
                "batch_norm",
                "elements",
                "types",
                "modules",
                "buffer_elements",
                "rest_elements",
                "rest",
                "unsupported_operators"
            ]),
            "{file}"
        );
        assert_eq!(report["file"], file);
        assert!(report["producer"].as_str().unwrap().starts_with("pytorch 2."), "{file}: {}", report["producer"]);
        assert_eq!(report["opset"], 20, "{file}");
        assert_eq!(report["batch_norm"], if known.norm.is_some() { "kept" } else { "folded" }, "{file}");
        assert_eq!(report["unsupported_operators"], serde_json::json!({}), "{file}");

        let mut types = vec![serde_json::json!({"type": "Conv2d", "modules": 46, "elements": known.convolution})];
        types.extend(known.norm.map(|norm| serde_json::json!({"type": norm, "modules": 46, "elements": 25_088})));
        types.push(serde_json::json!({"type": "Linear", "modules": 1, "elements": known.linear}));
        assert_eq!(report["types"].as_array().unwrap(), &types, "{file}");
        let elements: u64 = types.iter().map(|kind| kind["elements"].as_u64().unwrap()).sum();
        assert_eq!(report["elements"], elements, "{file}");
        modules_are_known(known, &report);
        assert_eq!(report["buffer_elements"], if known.norm.is_some() { 25_088 } else { 0 }, "{file}");
        // Parameters, buffers and the rest make the file's sum.
        let opened = secateur::onnx::OnnxFile::open(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        let initializers = (0..opened.tensors.len()).map(secateur::onnx::TensorId).filter(|&id| opened.is_initializer(id));
        let sum: usize = initializers.map(|id| opened.tensor(id).elements).sum();
        let told = |key: &str| report[key].as_u64().unwrap() as usize;
        assert_eq!(told("elements") + told("buffer_elements") + told("rest_elements"), sum, "{file}");
        let rest: u64 = report["rest"].as_array().unwrap().iter().map(|t| t["elements"].as_u64().unwrap()).sum();
        assert_eq!(report["rest_elements"], rest, "{file}");
    }
}

fn modules_are_known(known: &Known, report: &Value) {
    let file = known.file;
    // What the article's network is made of, in order, from PyTorch.
    let reference = reference(known.reference);
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    let mut shapes = std::collections::HashMap::new();
    for row in reference["modules"].as_array().unwrap() {
        let (name, kind) = (row["name"].as_str().unwrap(), row["type"].as_str().unwrap());
        shapes.insert((name, row["parameter"].as_str().unwrap()), &row["shape"]);
        let Some(kind) = (if kind == "BatchNormAct2d" { known.norm } else { Some(kind) }) else { continue };
        if wanted.last() != Some(&(name, kind)) {
            wanted.push((name, kind));
        }
    }
    let modules = report["modules"].as_array().unwrap();
    let found: Vec<(&str, &str)> = modules.iter().map(|m| (m["name"].as_str().unwrap(), m["type"].as_str().unwrap())).collect();
    assert_eq!(found, wanted, "{file}");

    let mut elements = 0;
    for module in modules {
        assert_eq!(keys(module), set(&["name", "type", "role", "parameters"]), "{file}");
        for parameter in module["parameters"].as_array().unwrap() {
            assert_eq!(keys(parameter), set(&["kind", "name", "shape", "dtype", "elements", "zeros", "users", "obstacle"]), "{file}");
            let (name, kind) = (module["name"].as_str().unwrap(), parameter["kind"].as_str().unwrap());
            if let Some(shape) = shapes.get(&(name, kind)) {
                assert_eq!(&&parameter["shape"], shape, "{file}: {name}.{kind}");
            }
            assert_eq!(parameter["dtype"], known.dtype, "{file}: {name}.{kind}");
            let product: u64 = parameter["shape"].as_array().unwrap().iter().map(|d| d.as_u64().unwrap()).product();
            assert_eq!(parameter["elements"], product, "{file}: {name}.{kind}");
            elements += product;
        }
    }
    assert_eq!(report["elements"], elements, "{file}");
    let role = |name: &str| &modules.iter().find(|m| m["name"] == name).unwrap()["role"];
    assert_eq!(role("conv_stem"), "stem");
    assert_eq!(role("blocks.0.0.conv"), "dense convolution");
    assert_eq!(role("blocks.2.0.dw_mid.conv"), "depthwise");
    assert_eq!(role("blocks.2.0.pw_exp.conv"), "pointwise");
    assert_eq!(role("classifier"), "head");
}

#[test]
fn inspect_prints_every_type_then_its_modules() {
    for known in &SEVEN {
        let text = succeeds(&format!("inspect {}", known.file)).out;
        let heads: Vec<&str> = text.lines().filter(|l| l.ends_with(" elements)")).map(|l| l.split(' ').next().unwrap()).collect();
        let wanted: Vec<&str> = [Some("Conv2d"), known.norm, Some("Linear")].into_iter().flatten().collect();
        assert_eq!(heads, wanted, "{}", known.file);
        assert!(text.contains(&format!("Conv2d (46 modules, {} elements)", known.convolution)), "{}: {text}", known.file);
        assert!(text.contains(&format!("Linear (1 module, {} elements)", known.linear)), "{}", known.file);
        let below: Vec<&str> = text.lines().take_while(|l| !l.contains(" in modules")).filter(|l| l.starts_with("  ")).collect();
        assert_eq!(below.len(), 47 + if known.norm.is_some() { 46 } else { 0 }, "{}", known.file);
        assert!(below[0].trim_start().starts_with("conv_stem ") && below[0].contains("32×3×3×3"), "{}", below[0]);
        // The note says what folding means for the masks, and how to export without it.
        let note = ["BatchNorm was folded", "masks", "optimize=False"].iter().all(|part| text.contains(part));
        assert_eq!(note, known.norm.is_none(), "{}", known.file);
    }
}

#[test]
fn prune_reports_in_the_agreed_form() {
    let keys_wanted = set(&[
        "method",
        "amounts",
        "score",
        "pattern",
        "steps",
        "left_out",
        "missing",
        "device",
        "scope_elements",
        "pruned",
        "cut",
        "ties",
        "scope_sparsity",
        "model_sparsity",
        "emptied",
        "parameters",
        "saved",
    ]);
    let global = json(&format!("prune {DEMO} --method global --amount 0.5 --device cpu --json"));
    assert_eq!(keys(&global), keys_wanted);
    assert_eq!((&global["method"], &global["device"], &global["saved"]), (&Value::from("global"), &Value::from("CPU"), &Value::Null));
    assert_eq!(global["amounts"], serde_json::json!([0.5]));
    assert_eq!((global["scope_elements"].as_u64(), global["pruned"].as_u64()), (Some(2_480_746), Some(1_240_373)));
    assert_eq!(global["ties"], 1);
    assert_eq!(global["scope_sparsity"], 0.5);
    assert!((global["model_sparsity"].as_f64().unwrap() - 1_240_373.0 / 2_505_834.0).abs() < 1e-15);
    assert_eq!(global["emptied"], serde_json::json!(["classifier.bias"]));
    assert_eq!(global["parameters"].as_array().unwrap().len(), 48);
    let cases = reference("mobilenetv4_digits");
    let case = case(&cases, "Conv2d+Linear weight+bias", "global", &serde_json::json!([0.5]));
    assert_eq!(global["cut"].as_f64().unwrap() as f32, case["threshold"].as_f64().unwrap() as f32);
    for row in global["parameters"].as_array().unwrap() {
        assert_eq!(keys(row), set(&["name", "elements", "pruned", "sparsity"]));
        assert_eq!(row["pruned"], case["pruned"][row["name"].as_str().unwrap()]);
        let sparsity = row["pruned"].as_f64().unwrap() / row["elements"].as_f64().unwrap();
        assert!((row["sparsity"].as_f64().unwrap() - sparsity).abs() < 1e-15, "{row}");
    }

    let each = json(&format!("prune {DEMO} --method layer-wise --amount 0.5 --device cpu --json"));
    assert_eq!(keys(&each), keys_wanted);
    assert_eq!(each["method"], "layer-wise");
    assert_eq!(each["cut"], Value::Null);
    for row in each["parameters"].as_array().unwrap() {
        assert_eq!(row["pruned"], (row["elements"].as_f64().unwrap() * 0.5).round_ties_even() as u64);
    }
}

fn case<'a>(reference: &'a Value, scope: &str, method: &str, amounts: &Value) -> &'a Value {
    let cases = reference["cases"].as_array().unwrap();
    cases.iter().find(|c| c["scope"] == scope && c["method"] == method && c["amounts"] == *amounts).unwrap()
}

#[test]
fn amounts_with_a_dot_or_a_percent_sign_are_fractions() {
    let prune = |amounts: &str| json(&format!("prune {DEMO} --method global {amounts} --device cpu --json"));
    let half = prune("--amount 0.5");
    for same in ["--amount 50%", "--amount 5e-1", "--amount 50.0%"] {
        assert_eq!(prune(same), half, "{same}");
    }
    let count = prune("--amount 1240373");
    assert_eq!(count["amounts"], serde_json::json!([1_240_373]));
    for key in ["pruned", "cut", "ties", "parameters", "emptied"] {
        assert_eq!(count[key], half[key], "{key}");
    }
    assert_eq!(prune("--amount 1")["pruned"], 1);
    let all = prune("--amount 1.0");
    assert_eq!(all["pruned"], all["scope_elements"]);
    assert_eq!(all["emptied"].as_array().unwrap().len(), 48);
    let none = prune("--amount 0.0");
    assert_eq!((&none["pruned"], &none["cut"], &none["ties"]), (&Value::from(0), &Value::Null, &Value::from(0)));
}

#[test]
fn several_amounts_apply_to_what_is_left() {
    let reference = reference("mobilenetv4_digits");
    for (method, name) in [("global", "global"), ("layer-wise", "layer")] {
        for amounts in [serde_json::json!([0.2, 0.5]), serde_json::json!([0.2, 0.2, 0.2, 0.2, 0.2])] {
            let list: Vec<String> = amounts.as_array().unwrap().iter().map(|a| format!("--amount {a}")).collect();
            let report = json(&format!("prune {DEMO} --method {method} {} --device cpu --json", list.join(" ")));
            let case = case(&reference, "Conv2d+Linear weight+bias", name, &amounts);
            assert_eq!(report["amounts"], amounts);
            assert_eq!(report["pruned"], case["total_pruned"], "{method} {amounts}");
            for row in report["parameters"].as_array().unwrap() {
                assert_eq!(row["pruned"], case["pruned"][row["name"].as_str().unwrap()], "{method} {amounts}: {}", row["name"]);
            }
        }
    }
}

#[test]
fn the_scope_follows_types_names_and_biases() {
    let scope = |arguments: &str| json(&format!("prune --method global --amount 0.5 --device cpu --json {arguments}"));
    let elements = |arguments: &str| scope(arguments)["scope_elements"].as_u64().unwrap();
    assert_eq!(elements(&format!("{DEMO} --types Linear")), 12_810);
    assert_eq!(elements(&format!("{DEMO} --types Conv2d,Linear")), 2_480_746);
    assert_eq!(elements(&format!("{DEMO} --types Conv2d --types BatchNormAct2d")), 2_467_936 + 25_088);
    assert_eq!(elements(&format!("{DEMO} --no-biases")), 2_480_736);
    assert_eq!(elements(&format!("{DEMO} --no-biases --biases")), 2_480_746);
    assert_eq!(elements(&format!("{DEMO} --biases --no-biases")), 2_480_736);
    // Folded: the biases are not the network's own, and stay out unless asked for.
    assert_eq!(elements(FOLDED), 2_480_736);
    assert_eq!(elements(&format!("{FOLDED} --biases")), 2_493_290);

    let blocks = scope(&format!("{DEMO} --modules blocks.0.*"));
    let names: Vec<&str> = blocks["parameters"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    let wanted = [
        "blocks.0.0.conv.weight",
        "blocks.0.0.bn1.weight",
        "blocks.0.0.bn1.bias",
        "blocks.0.1.conv.weight",
        "blocks.0.1.bn1.weight",
        "blocks.0.1.bn1.bias",
    ];
    assert_eq!(names, wanted);
    assert_eq!(elements(&format!("{DEMO} --types Conv2d --modules blocks.0.*")), 32 * 32 * 9 + 32 * 32);
    assert_eq!(elements(&format!("{DEMO} --modules blocks.0.?.conv --modules classifier")), 32 * 32 * 9 + 32 * 32 + 12_810);
}

#[test]
fn ties_and_emptied_parameters_are_told() {
    let half = "tests/models/mobilenetv4_digits_fp16.onnx";
    let report = json(&format!("prune {half} --method global --amount 0.5 --device cpu --json"));
    let ties = report["ties"].as_u64().unwrap();
    assert!(ties > 1, "float16 weights share magnitudes: {ties}");
    let text = succeeds(&format!("prune {half} --method global --amount 0.5 --device cpu")).out;
    assert!(text.contains(&format!("{ties} elements tie there")), "{text}");
}

#[test]
fn prune_prints_the_sparsity_of_every_parameter() {
    let text = succeeds(&format!("prune {DEMO} --method global --amount 0.5 --device cpu")).out;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 52, "{text}");
    assert_eq!(lines[0], "Sparsity in conv_stem.weight: 35.88%");
    assert_eq!(lines[47], "Sparsity in classifier.bias: 100.00%");
    assert_eq!(lines[48], "Sparsity of the scope: 50.00%");
    assert_eq!(lines[49], "Sparsity of the model: 49.50%");
    assert!(lines[50].starts_with("Pruned 1240373 of 2480746 elements (global, cut at |w| <= 0.0409737"), "{}", lines[50]);
    assert!(lines[50].ends_with(", no ties), on CPU"), "{}", lines[50]);
    assert_eq!(lines[51], "Emptied: classifier.bias");
    let folded = succeeds(&format!("prune {FOLDED} --method layer-wise --amount 0.5 --device cpu")).out;
    assert!(folded.starts_with("BatchNorm was folded"), "{folded}");
}

#[test]
fn every_format_is_saved_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    for (name, files) in [
        ("a.onnx", &["a.onnx"][..]),
        ("a.safetensors", &["a.safetensors"]),
        ("a.bpk", &["a.bpk"]),
        ("model.rs", &["model.rs", "model.bpk"]),
    ] {
        let out = at(name);
        let report = json(&format!("prune {DEMO} --method global --amount 0.5 --device cpu -o {out} --json"));
        let saved = &report["saved"];
        let wanted: Vec<String> = files.iter().map(|file| at(file)).collect();
        assert_eq!(serde_json::from_value::<Vec<String>>(saved["files"].clone()).unwrap(), wanted);
        let bytes: u64 = wanted.iter().map(|file| std::fs::metadata(file).unwrap().len()).sum();
        assert_eq!(saved["bytes"], bytes, "{name}");
        assert_eq!(saved["sparsity"], report["model_sparsity"], "{name}");
    }
    let unfixed = json(&format!("prune {DEMO} --method global --amount 0.5 --device cpu --unfixed -o {} --json", at("u.safetensors")));
    assert_eq!(unfixed["saved"]["sparsity"], unfixed["model_sparsity"]);
    assert_eq!(names(folder.path()), ["a.bpk", "a.onnx", "a.safetensors", "model.bpk", "model.rs", "u.safetensors"]);

    let again = json(&format!("inspect {} --json", at("a.onnx")));
    let zeros: u64 = again["modules"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|m| m["parameters"].as_array().unwrap())
        .map(|p| p["zeros"].as_u64().unwrap())
        .sum();
    assert_eq!(zeros, 1_240_373);
    let text = succeeds(&format!("prune {DEMO} --method global --amount 0.5 --device cpu --force -o {}", at("a.onnx"))).out;
    let last = text.lines().last().unwrap();
    assert!(last.starts_with(&format!("Saved {} (", at("a.onnx"))) && last.contains("sparsity 49.50% as read back"), "{last}");
}

#[test]
fn external_data_goes_along() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["mobilenetv4_digits_default.onnx", "mobilenetv4_digits_default.onnx.data"] {
        std::fs::copy(Path::new("tests/models").join(name), folder.path().join(name)).unwrap();
    }
    let (input, out) = (folder.path().join("mobilenetv4_digits_default.onnx"), folder.path().join("pruned.onnx"));
    let report = json(&format!("prune {} --method global --amount 0.5 --device cpu -o {} --json", input.display(), out.display()));
    let data = folder.path().join("pruned.onnx.data").display().to_string();
    assert_eq!(report["saved"]["files"], serde_json::json!([out.display().to_string(), data]));
    let again = json(&format!("prune {} --method global --amount 0.0 --device cpu --json", out.display()));
    assert_eq!(again["model_sparsity"], report["model_sparsity"]);
}

#[test]
fn wrong_usage_is_64() {
    fails("prune", 64, &["Usage"]);
    fails("inspect", 64, &["Usage"]);
    fails("--no-such-flag", 64, &["--no-such-flag"]);
    fails(&format!("prune {DEMO} --amount 0.5"), 64, &["--method"]);
    fails(&format!("prune {DEMO} --method global"), 64, &["--amount"]);
    fails(&format!("prune {DEMO} --method structured --amount 0.5"), 64, &["structured", "layer-wise", "global"]);
    fails(&format!("prune {DEMO} --method global --amount 0.5 --device tpu"), 64, &["tpu", "auto", "gpu", "cpu"]);
    fails(&format!("prune {DEMO} --method global --amount 0.5 --force"), 64, &["--output"]);
    for (amount, told) in [
        ("1.5", "1.5"),
        ("-1", "“-1”"),
        ("-0.5", "-0.5"),
        ("nan", "NaN"),
        ("inf", "inf"),
        ("50x", "“50x”"),
        ("101%", "1.01"),
        ("1,5", "“1,5”"),
        ("99999999999999999999999", "“99999999999999999999999”"),
    ] {
        fails(&format!("prune {DEMO} --method global --amount {amount}"), 64, &[told]);
    }
}

#[test]
fn help_and_version_are_no_errors() {
    assert!(succeeds("--help").out.contains("inspect"));
    assert!(succeeds("prune --help").out.contains("--amount"));
    assert_eq!(succeeds("--version").out, format!("secateur {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn files_that_are_no_whole_model_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let demo = std::fs::read(DEMO).unwrap();
    for length in [1, 100, 5000, demo.len() / 2, demo.len() - 1] {
        std::fs::write(at("truncated.onnx"), &demo[..length]).unwrap();
        refused(&at("truncated.onnx"), &["not a whole ONNX file", "fetch it again"]);
    }
    std::fs::write(at("empty.onnx"), []).unwrap();
    refused(&at("empty.onnx"), &["empty"]);
    std::fs::copy("assets/digits/0/0078.png", at("picture.onnx")).unwrap();
    refused(&at("picture.onnx"), &["this is a PNG picture, not an ONNX model"]);
    std::fs::write(at("text.onnx"), "Not a model at all.\n").unwrap();
    refused(&at("text.onnx"), &["this is a text file, not an ONNX model", "download the file itself"]);
    refused(&at("missing.onnx"), &["cannot read the file"]);
    refused(
        folder.path(),
        &["this is a folder, not an ONNX model", "open “empty.onnx”, “picture.onnx”, “text.onnx” or one of 1 more in it"],
    );
}

/// Both commands refuse `file` by name, and change nothing in its folder.
fn refused(file: &Path, told: &[&str]) {
    let folder = if file.is_dir() { file } else { file.parent().unwrap() };
    let before = names(folder);
    let shown = file.display().to_string();
    let told: Vec<&str> = told.iter().copied().chain([shown.as_str(), "cannot open the model"]).collect();
    fails(&format!("inspect {shown}"), 2, &told);
    fails(&format!("inspect {shown} --json"), 2, &told);
    let out = folder.join("out.onnx").display().to_string();
    fails(&format!("prune {shown} --method global --amount 0.5 --device cpu -o {out}"), 2, &told);
    assert_eq!(names(folder), before);
}

#[test]
fn external_data_that_is_missing_short_or_elsewhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.onnx");
    std::fs::copy(FOLDED, &model).unwrap();
    let data = "mobilenetv4_digits_default.onnx.data";
    refused(&model, &[data, "which is not beside it"]);
    let bytes = std::fs::read(format!("{FOLDED}.data")).unwrap();
    std::fs::write(folder.path().join(data), &bytes[..bytes.len() - 4]).unwrap();
    // One tensor is cut; the others are there.
    let told = succeeds(&format!("inspect {}", model.display())).out;
    assert!(told.contains("One tensor cannot be read") && told.contains("fetch that file again"), "{told}");
    // The same file, which now points out of its folder.
    let outside = format!("../{}", &data[3..]);
    let text = std::fs::read(&model).unwrap();
    std::fs::write(&model, replaced(&text, data.as_bytes(), outside.as_bytes())).unwrap();
    refused(&model, &[&outside, "outside its own folder"]);
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut out = bytes.to_vec();
    for at in 0..=bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            out[at..at + from.len()].copy_from_slice(to);
        }
    }
    out
}

#[test]
fn settings_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.onnx");
    let refuse = |arguments: &str, told: &[&str]| {
        fails(&format!("prune {DEMO} --device cpu -o {} {arguments}", out.display()), 2, told);
        assert_eq!(names(folder.path()), Vec::<String>::new());
    };
    refuse("--method global --amount 2480747", &["2480747", "2480746 elements of the scope"]);
    refuse("--method layer-wise --amount 865", &["865", "864 elements of conv_stem.weight"]);
    refuse("--method global --amount 2480000 --amount 747", &["747", "746 elements of the scope"]);
    refuse("--method global --amount 0.5 --types Conv3d", &["“Conv3d”", "Conv2d, BatchNormAct2d, Linear"]);
    refuse("--method global --amount 0.5 --modules blocks.9.*", &["“blocks.9.*”", "secateur inspect"]);
    refuse("--method global --amount 0.5 --types Linear --modules conv_stem", &["nothing is in the scope"]);
}

#[test]
fn outputs_that_cannot_be_written_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(at("file.txt"), "mine").unwrap();
    std::fs::write(at("there.onnx"), "mine").unwrap();
    std::fs::write(at("there.safetensors"), "mine").unwrap();
    std::fs::write(at("there.bpk"), "mine").unwrap();
    std::fs::create_dir(at("folder.onnx")).unwrap();
    let before = names(folder.path());
    for model in [DEMO, FOLDED] {
        let refuse = |arguments: &str, told: &[&str]| {
            fails(&format!("prune {model} --method global --amount 0.5 --device cpu {arguments}"), 2, told);
            assert_eq!(names(folder.path()), before, "{arguments}");
            assert_eq!(names(&folder.path().join("folder.onnx")), Vec::<String>::new());
        };
        for there in ["there.onnx", "there.safetensors", "there.bpk", "there.rs"] {
            refuse(&format!("-o {}", at(there)), &["is there already", &at("there.")]);
        }
        refuse(&format!("-o {}", at("file.txt/out.onnx")), &["cannot write the file", &at("file.txt/")]);
        refuse(&format!("-o {}", at("missing/out.onnx")), &["cannot write the file", &at("missing/")]);
        refuse(&format!("-o {}", at("missing/out.safetensors")), &["cannot write the file", &at("missing/out.safetensors")]);
        refuse(&format!("-o {} --force", at("folder.onnx")), &["cannot write the file", &at("folder.onnx")]);
        refuse(&format!("-o {}", at("out.pt")), &[".onnx, .safetensors, .bpk or .rs", &at("out.pt")]);
        refuse(&format!("-o {}", at("out")), &[".onnx, .safetensors, .bpk or .rs"]);
        refuse(&format!("--unfixed -o {}", at("out.onnx")), &["--unfixed", ".safetensors"]);
    }
    for file in ["file.txt", "there.onnx", "there.safetensors", "there.bpk"] {
        assert_eq!(std::fs::read_to_string(at(file)).unwrap(), "mine");
    }
    succeeds(&format!("prune {DEMO} --method global --amount 0.5 --device cpu --force -o {}", at("there.onnx")));
    assert_eq!(names(folder.path()), before);
}

#[test]
fn without_a_display_the_commands_are_named() {
    if !cfg!(target_os = "linux") {
        return;
    }
    for arguments in ["", DEMO] {
        fails(arguments, 2, &["no display", "secateur inspect FILE", "secateur prune FILE"]);
    }
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let mut child = program().args(["inspect", DEMO, "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(0), ""));
}

#[test]
fn names_in_any_script_are_read_and_written() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out): (PathBuf, PathBuf) = (folder.path().join("модель 模型.onnx"), folder.path().join("ausgedünnt ✂.onnx"));
    std::fs::copy(DEMO, &input).unwrap();
    let run = secateur([
        "prune".as_ref(),
        input.as_os_str(),
        "--method".as_ref(),
        "global".as_ref(),
        "--amount".as_ref(),
        "50%".as_ref(),
        "--device".as_ref(),
        "cpu".as_ref(),
        "-o".as_ref(),
        out.as_os_str(),
    ]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(names(folder.path()).len(), 2);
}

#[test]
fn the_gpu_prunes_as_the_cpu_does() {
    if adapter::adapter().is_none() {
        return;
    }
    for arguments in [
        "--method global --amount 0.5",
        "--method layer-wise --amount 0.3",
        "--method global --amount 0.2 --amount 1000 --types BatchNormAct2d,Linear",
    ] {
        let on = |device: &str| json(&format!("prune {DEMO} {arguments} --device {device} --json"));
        let (mut gpu, mut cpu) = (on("gpu"), on("cpu"));
        assert_eq!(cpu["device"].take(), "CPU");
        let name = gpu["device"].take();
        assert!(!["", "CPU"].contains(&name.as_str().unwrap()), "{name}");
        assert_eq!(gpu, cpu, "{arguments}");
    }
}

/// An amount of its own is exact, the whole comes to the amount, and steps come to what one step comes to.
#[test]
fn amounts_of_ones_own_and_steps_come_to_the_whole() {
    let prune = format!("prune {DEMO} --device cpu --json --no-biases --method");
    for method in ["layer-wise", "global", "lamp", "norm", "erk", "uniform+"] {
        for more in ["", "--steps 5", "--steps 4 --schedule cubic"] {
            let report = json(&format!("{prune} {method} --amount 0.5 --amount-of classifier=0.2 --amount-of conv_stem=0 {more}"));
            let of = |name: &str| {
                let rows = report["parameters"].as_array().unwrap();
                let row = rows.iter().find(|row| row["name"] == name).unwrap();
                (row["pruned"].as_u64().unwrap(), row["elements"].as_u64().unwrap())
            };
            let (pruned, elements) = of("classifier.weight");
            // Every step rounds.
            assert!((pruned as f64 - 0.2 * elements as f64).abs() <= 2.5, "{method} {more}: {pruned} of {elements}");
            assert_eq!(of("conv_stem.weight").0, 0, "{method} {more}");
            let (all, scope) = (report["pruned"].as_u64().unwrap() as f64, report["scope_elements"].as_u64().unwrap() as f64);
            assert!((all - 0.5 * scope).abs() <= 24.0 * 5.0, "{method} {more}: {all} of {scope}");
        }
    }
    fails(&format!("prune {DEMO} --method global --amount 0.5 --amount-of nothing=0.1"), 2, &["no module's name matches “nothing”"]);
    fails(&format!("prune {DEMO} --method global --amount 1000 --steps 3"), 2, &["steps lead to one fraction"]);
}

#[test]
fn a_sweep_takes_any_methods() {
    let rows = json(&format!("sweep {DEMO} --images assets/digits --limit 20 --methods lamp,erk --amounts 0.8 --device cpu --json"));
    let methods: Vec<&str> = rows["rows"].as_array().unwrap().iter().map(|row| row["method"].as_str().unwrap()).collect();
    assert_eq!(methods, ["lamp", "erk"]);
}

/// What is found loses no more than was said, and half a percent further more is lost.
#[test]
fn a_sweep_finds_the_largest_amount() {
    let sweep = format!("sweep {DEMO} --images assets/digits --limit 60 --methods layer-wise,lamp --device cpu --json");
    let report = json(&format!("{sweep} --loses-at-most 10"));
    assert_eq!((&report["criterion"], &report["loses_at_most"], &report["repaired"]), (&"top1".into(), &10.0.into(), &false.into()));
    for (i, method) in ["layer-wise", "lamp"].into_iter().enumerate() {
        let row = &report["rows"][i];
        let amount = row["amount"].as_f64().unwrap();
        let rows = json(&format!("{sweep} --amounts 0,{amount:.3},{:.3}", amount + 0.005))["rows"].clone();
        let top1 = |k: usize| rows[3 * i + k]["top1"].as_f64().unwrap();
        assert_eq!(row["method"], method);
        assert_eq!(row["top1"], top1(1), "{method} {amount}");
        assert!(top1(0) - top1(1) <= 0.1 + 1e-9 && top1(0) - top1(2) > 0.1, "{method} {amount}: {}, {}, {}", top1(0), top1(1), top1(2));
    }
    let unlabelled = json(&format!("sweep {DEMO} --noise --limit 10 --method lamp --device cpu --json --loses-at-most 0"));
    assert_eq!(unlabelled["criterion"], "agreement");
    assert_eq!(unlabelled["rows"][0]["agreement"], 1.0);
    fails(&format!("{sweep} --loses-at-most 101"), 64, &["no number of points between 0 and 100"]);
    fails(&format!("{sweep} --loses-at-most 1 --amounts 0.5"), 64, &["cannot be used with"]);
}
