//! `evaluate`, `sweep` and `sensitivity` through the program, beside what PyTorch measures on the same network and images.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use secateur::engine::{Engine, EngineError};
use secateur::evaluate::{EvaluateError, Evaluator, Questions, Scan};
use secateur::graph::ParameterId;
use secateur::images::{ImageSet, Preprocess};
use secateur::prune::{Amount, Recipe};
use secateur::watch::{Token, Unwatched, Watch};
use serde_json::Value;

use crate::adapter;

const DEMO: &str = "assets/mobilenetv4_digits.onnx";
const DIGITS: &str = "assets/digits";

/// Exit code, standard output, standard error.
fn secateur(arguments: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secateur"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).args(arguments.split_whitespace());
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn succeeds(arguments: &str) -> String {
    let (code, out, err) = secateur(arguments);
    assert_eq!(code, Some(0), "{arguments}: {err}");
    out
}

fn json(arguments: &str) -> Value {
    serde_json::from_str(&succeeds(&format!("{arguments} --json"))).unwrap()
}

fn fails(arguments: &str, code: i32, told: &str) {
    let (got, out, err) = secateur(arguments);
    assert_eq!((got, out.as_str()), (Some(code), ""), "{arguments}: {err}");
    assert!(err.contains(told), "{arguments}: {err}");
}

/// A row of the reference and a row of the program are within one image, and 1e-3 in cosine and KL.
fn agree(wanted: &Value, got: &Value) {
    let number = |row: &Value, key: &str| row[key].as_f64().unwrap_or_else(|| panic!("{key} of {row}"));
    assert_eq!(number(wanted, "amount"), number(got, "amount"));
    assert_eq!(got["images"], 360);
    for (key, tolerance) in [("top1", 1.01 / 360.0), ("agreement", 1.01 / 360.0), ("mean_cosine", 1e-3), ("mean_kl", 1e-3)] {
        let (w, g) = (number(wanted, key), number(got, key));
        assert!((w - g).abs() <= tolerance, "{key}: {g}, and {w} in PyTorch\n{got}\n{wanted}");
    }
}

fn reference() -> Vec<Value> {
    let text = std::fs::read_to_string("tests/reference/digits_accuracy.json").unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    value["rows"].as_array().unwrap().clone()
}

#[test]
fn a_sweep_measures_what_pytorch_measures() {
    let rows = reference();
    assert_eq!(rows.len(), 24);
    let amounts: Vec<String> = rows[..12].iter().map(|r| format!("{:?}", r["amount"].as_f64().unwrap())).collect();
    let report = json(&format!("sweep {DEMO} --images {DIGITS} --method both --amounts {} --device cpu", amounts.join(",")));
    let got = report["rows"].as_array().unwrap();
    assert_eq!(got.len(), 24);
    for (wanted, got) in rows.iter().zip(got) {
        let method = if wanted["method"] == "layer" { "layer-wise" } else { "global" };
        assert_eq!(got["method"], method);
        agree(wanted, got);
    }
    assert_eq!((&report["classes"], &report["broken"]), (&Value::from(10), &Value::Array(Vec::new())));
    assert_eq!(report["preprocessing"]["channels"], "grey3");
}

#[test]
fn a_sweep_on_the_adapter_measures_the_same() {
    if adapter::adapter().is_none() {
        return;
    }
    // A batch of sixty, and one that is left.
    let on = |device: &str| json(&format!("sweep {DEMO} --images {DIGITS} --limit 61 --amounts 0.7 --device {device}"));
    let (gpu, cpu) = (on("gpu"), on("cpu"));
    assert_ne!(gpu["device"], cpu["device"]);
    let (got, wanted) = (gpu["rows"].as_array().unwrap(), cpu["rows"].as_array().unwrap());
    assert_eq!((got.len(), wanted.len()), (2, 2));
    for (wanted, got) in wanted.iter().zip(got) {
        for key in ["method", "amount", "images", "top1", "agreement"] {
            assert_eq!(wanted[key], got[key], "{wanted}, and {got}");
        }
        let off = (wanted["mean_cosine"].as_f64().unwrap() - got["mean_cosine"].as_f64().unwrap()).abs();
        assert!(off < 1e-5, "{wanted}, and {got}");
    }
}

#[test]
fn rows_have_the_agreed_keys() {
    let report = json(&format!("evaluate {DEMO} --images {DIGITS} --limit 30 --method global --amount 50% --device cpu"));
    let rows = report["rows"].as_array().unwrap();
    let wanted = BTreeSet::from(["method", "amount", "top1", "top5", "agreement", "mean_cosine", "mean_kl", "images"]);
    for row in rows {
        assert_eq!(row.as_object().unwrap().keys().map(String::as_str).collect::<BTreeSet<_>>(), wanted);
        assert_eq!(row["images"], 30);
    }
    assert_eq!((&rows[0]["method"], &rows[0]["amount"], &rows[0]["agreement"]), (&"dense".into(), &Value::Null, &1.0.into()));
    assert_eq!((&rows[1]["method"], &rows[1]["amount"]), (&"global".into(), &0.5.into()));
    assert!(rows[1]["mean_kl"].as_f64().unwrap() > 0.0);
}

#[test]
fn without_labels_there_is_no_accuracy_and_a_table_gives_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = String::from("file,label\n");
    for class in ["3", "8"] {
        let mut files: Vec<_> = std::fs::read_dir(Path::new(DIGITS).join(class)).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        for file in &files[..3] {
            let name = format!("{class}_{}", file.file_name().unwrap().to_str().unwrap());
            std::fs::copy(file, folder.path().join(&name)).unwrap();
            table.extend([&name, ",", class, "\n"]);
        }
    }
    std::fs::write(folder.path().join("0_broken.png"), "not a picture").unwrap();
    let flat = folder.path().display();
    let report = json(&format!("evaluate {DEMO} --images {flat} --device cpu"));
    assert_eq!((&report["rows"][0]["top1"], &report["rows"][0]["images"]), (&Value::Null, &6.into()));
    assert_eq!(report["broken"][0]["name"], "0_broken.png");
    let text = succeeds(&format!("evaluate {DEMO} --images {flat} --device cpu"));
    assert!(text.contains("no labels") && text.contains("Left out: 0_broken.png: this is not a whole PNG"), "{text}");
    std::fs::remove_file(folder.path().join("0_broken.png")).unwrap();
    let labels = folder.path().join("labels.csv");
    std::fs::write(&labels, table).unwrap();
    let report = json(&format!("evaluate {DEMO} --images {flat} --labels {} --device cpu", labels.display()));
    assert_eq!(report["rows"][0]["top1"], 1.0);
}

#[test]
fn a_part_of_the_classes_needs_a_labels_file() {
    let folder = tempfile::tempdir().unwrap();
    for class in ["3", "8"] {
        std::fs::create_dir(folder.path().join(class)).unwrap();
        let file = std::fs::read_dir(Path::new(DIGITS).join(class)).unwrap().next().unwrap().unwrap().path();
        std::fs::copy(file, folder.path().join(class).join("a.png")).unwrap();
    }
    let images = folder.path().display();
    fails(&format!("evaluate {DEMO} --images {images} --device cpu"), 2, "give a labels file");
    let labels = folder.path().join("labels.txt");
    std::fs::write(&labels, "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n").unwrap();
    let report = json(&format!("evaluate {DEMO} --images {images} --labels {} --device cpu", labels.display()));
    assert_eq!((&report["rows"][0]["top1"], &report["rows"][0]["images"]), (&1.0.into(), &2.into()));
}

#[test]
fn preprocessing_is_what_the_flags_say() {
    let of = |flags: &str| json(&format!("evaluate {DEMO} --images {DIGITS} --limit 60 --device cpu {flags}"));
    let known = of("");
    assert_eq!(known["preprocessing"]["from"], "from mobilenetv4_digits.config.json");
    let same = of("--mean 0.5 --std 0.5,0.5,0.5 --channels rgb --size 64x64");
    assert_eq!(same["preprocessing"]["from"], "as chosen");
    assert_eq!(same["rows"], known["rows"], "grey pictures are grey in RGB");
    let other = of("--mean -0.5 --std 2 --divisor 1 --crop 0.7 --filter bilinear --resize squash --channels bgr");
    let p = &other["preprocessing"];
    assert_eq!(
        (&p["crop"], &p["filter"], &p["resize"], &p["channels"]),
        (&0.7.into(), &"bilinear".into(), &"squash".into(), &"bgr".into())
    );
    assert!(other["rows"][0]["top1"].as_f64().unwrap() < known["rows"][0]["top1"].as_f64().unwrap());
}

#[test]
fn tables_go_to_a_file_or_to_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.csv");
    let sweep = format!("sweep {DEMO} --images {DIGITS} --limit 10 --amounts 0:0.5:0.25 --method layer-wise --device cpu");
    let printed = succeeds(&format!("{sweep} --csv -"));
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[0], "method,amount,top1,top5,agreement,mean_cosine,mean_kl,images");
    assert_eq!((lines.len(), &lines[1][..17], &lines[3][..15]), (4, "layer-wise,0.0,1,", "layer-wise,0.5,"));
    let text = succeeds(&format!("{sweep} --csv {}", file.display()));
    assert!(text.contains("layer-wise     25.0 %"), "{text}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), printed);
    fails(&format!("{sweep} --csv {}", file.display()), 2, "add --force");
    succeeds(&format!("{sweep} --csv {} --force", file.display()));
}

#[test]
fn a_scan_measures_what_pruning_one_module_does() {
    let scan = format!("sensitivity {DEMO} --images {DIGITS} --limit 40 --modules classifier,conv_stem --device cpu");
    let modules = "--modules classifier --modules conv_stem";
    let scan = scan.replace("--modules classifier,conv_stem", modules);
    let report = json(&format!("{scan} --amounts 0.5,0.9"));
    let rows = report["rows"].as_array().unwrap();
    let named: Vec<_> = rows.iter().map(|r| (r["parameter"].as_str().unwrap(), r["amount"].as_f64().unwrap())).collect();
    assert_eq!(named, [("conv_stem.weight", 0.5), ("conv_stem.weight", 0.9), ("classifier.weight", 0.5), ("classifier.weight", 0.9)]);
    for row in rows {
        let module = row["parameter"].as_str().unwrap().strip_suffix(".weight").unwrap();
        let alone = json(&format!(
            "evaluate {DEMO} --images {DIGITS} --limit 40 --modules {module} --no-biases --method layer-wise --amount {:?} --device cpu",
            row["amount"].as_f64().unwrap()
        ));
        for key in ["top1", "top5", "agreement", "images"] {
            assert_eq!(row[key], alone["rows"][1][key], "{key} of {row}");
        }
        let kl = |v: &Value| v["mean_kl"].as_f64().unwrap();
        assert!((kl(row) - kl(&alone["rows"][1])).abs() < 1e-6, "{row} {alone}");
    }
    assert!(report["nodes_run"].as_u64().unwrap() < report["nodes_from_start"].as_u64().unwrap());
    let text = succeeds(&format!("{scan} --amounts 0.5"));
    assert!(text.contains("conv_stem.weight") && text.contains("from the start"), "{text}");
    let table = succeeds(&format!("{scan} --amounts 0.5 --csv -"));
    assert!(table.starts_with("parameter,amount,top1,") && table.contains("\nclassifier.weight,0.5,"), "{table}");
}

#[test]
fn noise_is_called_noise() {
    let text = succeeds(&format!("evaluate {DEMO} --noise --method global --amount 0.3 --device cpu"));
    assert!(text.starts_with("Noise, not images"), "{text}");
    let report = json(&format!("evaluate {DEMO} --noise --device cpu"));
    assert_eq!((&report["images"], &report["rows"][0]["top1"]), (&Value::Null, &Value::Null));
}

#[test]
fn wrong_usage_and_failures_have_their_codes() {
    fails(&format!("evaluate {DEMO}"), 64, "--images");
    fails(&format!("sweep {DEMO} --images {DIGITS} --amounts 0:2:0.1"), 64, "first:last:step");
    fails(&format!("sweep {DEMO} --images {DIGITS} --filter box"), 64, "lanczos");
    fails(&format!("evaluate {DEMO} --images {DIGITS} --size big"), 64, "no size");
    fails(&format!("evaluate {DEMO} --images {DIGITS} --crop 0"), 2, "above 0 and at most 1");
    fails(&format!("evaluate {DEMO} --images {DIGITS} --size 0"), 2, "from 1 to 8192");
    fails(&format!("evaluate {DEMO} --images nowhere"), 2, "cannot use the images");
    fails(&format!("sensitivity {DEMO} --images {DIGITS} --amounts 10,20"), 2, "a number of elements");
    fails(&format!("sweep {DEMO} --images {DIGITS} --json --csv - --amounts 0.1"), 2, "standard output");
    fails(&format!("sweep {DEMO} --images {DIGITS} --types Nothing --device cpu"), 2, "no module of type");
}

fn evaluator(images: usize, batch: usize) -> Evaluator {
    let engine = Engine::open(Path::new(DEMO), &Unwatched).unwrap();
    let graph = engine.model().graph.clone();
    let (preprocess, _) = Preprocess::for_model(&graph, Path::new(DEMO));
    let set = Arc::new(ImageSet::open(Path::new(DIGITS), None).unwrap());
    let questions = Questions::images(&graph, set, preprocess, Some(images), batch).unwrap();
    Evaluator::new(Arc::new(engine), questions, None)
}

/// Stopped behind every second batch and gone on with, a scan finds what it finds in one go, and runs hardly more for it.
#[test]
fn a_scan_that_is_interrupted_keeps_what_it_had() {
    let mut evaluator = evaluator(24, 6);
    let weights = [ParameterId(0), ParameterId(3), ParameterId(9)];
    let start = |evaluator: &mut Evaluator| -> Scan { evaluator.start_scan(&weights, vec![0.3, 0.8]).unwrap() };
    let mut whole = start(&mut evaluator);
    evaluator.scan(&mut whole, &Unwatched, &mut |_| {}).unwrap();
    assert_eq!(whole.found().cases.len(), 6);

    let (mut scan, mut stops) = (start(&mut evaluator), 0);
    loop {
        let (token, mut batches, before) = (Token::default(), 0, scan.found().cases.clone());
        let result = evaluator.scan(&mut scan, &token, &mut |_| {
            batches += 1;
            if batches == 2 {
                token.cancel();
            }
        });
        let seen = |cases: &[secateur::evaluate::SensitivityCase]| cases.iter().map(|case| case.effect.images).sum::<usize>();
        match result {
            Ok(()) => break,
            Err(EvaluateError::Engine(EngineError::Cancelled)) => {
                stops += 1;
                assert!(seen(&scan.found().cases) > seen(&before), "nothing is done twice");
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(stops >= 4, "{stops}");
    assert_eq!(scan.found().cases, whole.found().cases);
    assert_eq!((scan.found().nodes_run, scan.found().nodes_from_start), (whole.found().nodes_run, whole.found().nodes_from_start));
}

/// Cancelled at the question of that number.
struct CancelledAt(std::sync::atomic::AtomicUsize);

impl Watch for CancelledAt {
    fn progress(&self, _: f32, _: &str) {}

    fn is_cancelled(&self) -> bool {
        let left = self.0.load(std::sync::atomic::Ordering::Relaxed);
        self.0.store(left.saturating_sub(1), std::sync::atomic::Ordering::Relaxed);
        left == 0
    }
}

/// Stopped wherever it may be, also before the first batch of a parameter, a scan goes on with what is due.
#[test]
fn a_scan_that_is_stopped_anywhere_finds_the_same() {
    let mut evaluator = evaluator(4, 2);
    let weights = [ParameterId(0), ParameterId(3), ParameterId(9)];
    let mut whole = evaluator.start_scan(&weights, vec![0.5]).unwrap();
    evaluator.scan(&mut whole, &Unwatched, &mut |_| {}).unwrap();
    for patience in [0, 1, 2, 3, 5, 150, 400] {
        let mut scan = evaluator.start_scan(&weights, vec![0.5]).unwrap();
        for _ in 0..3 {
            let watch = CancelledAt(patience.into());
            let _ = evaluator.scan(&mut scan, &watch, &mut |_| {});
        }
        evaluator.scan(&mut scan, &Unwatched, &mut |_| {}).unwrap();
        assert_eq!(scan.found().cases, whole.found().cases, "stopped at question {patience}");
    }
}

/// Counts what it is told, and never stops.
#[derive(Default)]
struct Counting(std::sync::Mutex<Vec<f32>>);

impl Watch for Counting {
    fn progress(&self, done: f32, _: &str) {
        self.0.lock().unwrap().push(done);
    }

    fn is_cancelled(&self) -> bool {
        false
    }
}

#[test]
fn progress_goes_to_its_end_and_a_part_stops_early() {
    let mut evaluator = evaluator(12, 3);
    let watch = Counting::default();
    assert_eq!(evaluator.dense(None, &watch).unwrap().agreement, Some(1.0));
    assert_eq!(*watch.0.lock().unwrap(), [0.25, 0.5, 0.75, 1.0]);
    let opened = evaluator.engine().opened();
    let state = opened.with(Recipe { amount: Amount::Fraction(0.4), ..opened.recipe.clone() });
    assert_eq!(evaluator.effect(&state, Some(4), &Unwatched).unwrap().images, 6, "two batches reach four images");
    let token = Token::default();
    token.cancel();
    assert!(matches!(evaluator.effect(&state, None, &token), Err(EvaluateError::Engine(EngineError::Cancelled))));
}
