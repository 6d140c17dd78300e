//! libFuzzer's bytes as a model: opened, pruned, looked at, saved and run. Models of `tests/operators`, and of `tests/kinds` for
//! nested graphs, functions and sparse tensors, are a good start:
//! `cargo +nightly fuzz run open --fuzz-dir tests/fuzz -s none tests/fuzz/corpus/open tests/operators tests/kinds`.

#![no_main]

#[path = "../../hostile/exercise.rs"]
mod exercise;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder for temporary files"));

fuzz_target!(|bytes: &[u8]| {
    let path = FOLDER.path().join("model.onnx");
    if std::fs::write(&path, bytes).is_ok() {
        exercise::exercise(&path);
    }
});
