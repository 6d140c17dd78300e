//! Models whose batch or whose outputs are not what they seem: found out before anything is measured, and told.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const PICTURES: &str = "tests/folders/stray";

fn model(name: &str) -> PathBuf {
    Path::new("tests/answering").join(name).with_extension("onnx")
}

/// Exit code, the report, and what was told beside it.
fn evaluate(name: &str, more: &str) -> (Option<i32>, Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secateur"));
    command.arg("evaluate").arg(model(name)).args(more.split_whitespace()).args(["--json", "--device", "cpu"]);
    if !more.contains("--noise") {
        command.args(["--images", PICTURES]);
    }
    let output = command.output().unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), report, String::from_utf8(output.stderr).unwrap())
}

/// How many of the 36 pictures are answered rightly, and what is told.
fn right(name: &str, more: &str) -> (u64, Value, String) {
    let (code, report, told) = evaluate(name, more);
    assert_eq!(code, Some(0), "{name}: {told}");
    let row = &report["rows"][0];
    assert_eq!(row["images"], 36, "{name}");
    ((row["top1"].as_f64().unwrap_or(0.0) * 36.0).round() as u64, report, told)
}

#[test]
fn a_batch_that_is_not_free_is_found_out() {
    for (name, batch, remark) in [
        ("reshape_1_4", 1, "one by one"),
        ("mixes_the_batch", 1, "one by one"),
        ("centred", 1, "one by one"),
        ("reshape_4_4", 4, "4 at a time"),
        ("reshape_pairs", 2, "2 at a time"),
        ("state_of_3", 3, "3 at a time"),
        ("first_of_all", 1, "one by one"),
        ("declared_5", 5, ""),
        ("softmax_4d", 60, ""),
    ] {
        let (right, report, told) = right(name, "");
        assert_eq!((right, report["batch"].as_u64()), (36, Some(batch)), "{name}: {told}");
        assert!(told.contains(remark) && (!remark.is_empty() || !told.contains("through the network")), "{name}: {told}");
    }
}

/// The last batch is filled up, whatever its number of images.
#[test]
fn images_that_fill_no_batch_are_answered_too() {
    for (name, limit) in [("reshape_pairs", 35), ("state_of_3", 34), ("reshape_4_4", 33)] {
        let (code, report, told) = evaluate(name, &format!("--limit {limit}"));
        assert_eq!((code, report["rows"][0]["images"].as_u64()), (Some(0), Some(limit)), "{told}");
        assert_eq!(report["rows"][0]["top1"], 1.0, "{name}");
    }
}

/// The figures of a pruned network are those of the images asked one at a time, whatever the batch.
#[test]
fn what_pruning_costs_hangs_on_no_batch() {
    let pruned = |name: &str, more: &str| {
        let (_, report, told) = evaluate(name, &format!("--method global --amount 0.4 --types Linear,Conv2d {more}"));
        let row = report["rows"][1].clone();
        assert!(row["top1"].as_f64().is_some(), "{told}");
        row
    };
    for name in ["reshape_4_4", "declared_5", "reshape_1_4"] {
        let row = pruned(name, "");
        let wanted = pruned("probabilities_then_logits", "--batch 1");
        for key in ["top1", "agreement", "images"] {
            assert_eq!(row[key], wanted[key], "{name}: {key}");
        }
        let near = (row["mean_kl"].as_f64().unwrap() - wanted["mean_kl"].as_f64().unwrap()).abs();
        assert!(near < 1e-6, "{name}: {near}");
    }
}

#[test]
fn noise_is_asked_one_by_one_as_well() {
    for (name, batch) in [("reshape_1_4", 1), ("mixes_the_batch", 1), ("reshape_4_4", 4), ("softmax_4d", 60)] {
        let (code, report, told) = evaluate(name, "--noise");
        assert_eq!(code, Some(0), "{name}: {told}");
        assert_eq!((report["batch"].as_u64(), report["rows"][0]["images"].as_u64()), (Some(batch), Some(32)), "{name}: {told}");
        assert!((report["rows"][0]["mean_cosine"].as_f64().unwrap() - 1.0).abs() < 1e-6, "{name}");
    }
}

#[test]
fn the_output_that_classifies_answers_and_the_choice_is_told() {
    for (name, output, told_of) in [
        ("features_then_logits", "logits", "“features” could be meant as well"),
        ("features_of_12", "logits", "“embedding” could be meant as well"),
        ("label_then_logits", "logits", "output “logits”, one of 2"),
        ("probabilities_then_logits", "logits", "output “logits”, one of 2"),
        ("auxiliary", "main_logits", "“aux” could be meant as well"),
        ("softmax_4d", "prob", ""),
        ("label_only", "label", ""),
        ("two_heads", "StatefulPartitionedCall:1", "“StatefulPartitionedCall:0” could be meant as well"),
        ("loss_then_logits", "logits", "output “logits”, one of 2"),
        ("no_sizes", "logits", "“maps” could be meant as well"),
    ] {
        let (right, report, told) = right(name, "");
        assert_eq!((right, report["output"].as_str()), (36, Some(output)), "{name}: {told}");
        assert!(told.contains(told_of), "{name}: {told}");
        assert_eq!(told_of.is_empty(), !told.contains("Answers are"), "{name}: {told}");
    }
    // Without labels, which would tell the number of classes, features are features all the same.
    let (_, report, _) = evaluate("features_then_logits", "--noise");
    assert_eq!(report["output"], "logits");
}

#[test]
fn an_output_can_be_chosen() {
    let (wrong, report, told) = right("auxiliary", "--output aux");
    assert!(wrong < 36 && report["output"] == "aux", "{wrong} {told}");
    let (right_ones, report, _) = right("label_then_logits", "--output label");
    assert_eq!((right_ones, report["output"].as_str()), (36, Some("label")));
    let (code, _, told) = evaluate("auxiliary", "--output nothing");
    assert_eq!(code, Some(2));
    assert!(told.contains("no output “nothing”") && told.contains("“aux”, “main_logits”"), "{told}");
    // Features are no answer of twelve classes: the labels cannot be theirs.
    let (code, _, told) = evaluate("features_then_logits", "--output features");
    assert!(code == Some(2) && told.contains("12 classes and 64 outputs"), "{code:?} {told}");
}

#[test]
fn outputs_of_sequences_are_no_classes() {
    let (code, report, told) = evaluate("sequence", "");
    assert_eq!(code, Some(0), "{told}");
    let row = &report["rows"][0];
    assert!(row["top1"].is_null() && row["agreement"].is_null(), "{row}");
    assert!((row["mean_cosine"].as_f64().unwrap() - 1.0).abs() < 1e-6);
}

#[test]
fn a_background_class_is_named_by_a_file() {
    let (all, _, told) = right("background_first", "--labels tests/answering/labels_13.txt");
    assert_eq!(all, 36, "{told}");
    let (code, _, told) = evaluate("background_first", "");
    assert!(code == Some(2) && told.contains("12 classes and 13 outputs"), "{code:?} {told}");
}
