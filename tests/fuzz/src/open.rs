//! libFuzzer's bytes as a model: opened, pruned, looked at, saved and run. Half of the changes are to bytes, half to fields, so
//! that graphs within graphs, functions and sparse tensors are reached, too. Models of these folders are a good start:
//! `cargo +nightly fuzz run open --fuzz-dir tests/fuzz -s none tests/fuzz/corpus/open tests/operators tests/kinds tests/cases`.

#![no_main]

#[path = "../../hostile/exercise.rs"]
mod exercise;
#[path = "../../hostile/structure.rs"]
mod structure;

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder for temporary files"));

/// Models that lend their fields.
static MODELS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders = ["operators", "kinds", "cases"].into_iter().filter_map(|name| std::fs::read_dir(tests.join(name)).ok());
    let paths = folders.flatten().filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| path.extension().is_some_and(|e| e == "onnx")).filter_map(|path| std::fs::read(path).ok()).collect()
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    // splitmix64 (Steele, Lea and Flood 2014).
    let mut state = u64::from(seed);
    let mut random = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb) >> 8
    };
    let changed = structure::changed(&data[..size], &MODELS, &mut random);
    if seed % 2 == 0 || changed.len() > max_size || changed == data[..size] {
        return fuzzer_mutate(data, size, max_size);
    }
    data[..changed.len()].copy_from_slice(&changed);
    changed.len()
});

fuzz_target!(|bytes: &[u8]| {
    let path = FOLDER.path().join("model.onnx");
    if std::fs::write(&path, bytes).is_ok() {
        exercise::exercise(&path);
    }
});
