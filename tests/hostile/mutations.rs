//! Tiny models with bytes flipped, put in, cut out and made huge: they are opened, pruned, run and saved, or refused.
//!
//! `SECATEUR_MUTATIONS=first..end` runs these seeds instead of the few that every test run tries, `SECATEUR_MUTATION_SECONDS`
//! ends the run after so long.

use std::path::Path;
use std::time::{Duration, Instant};

use onnx_ir::Message;

use super::exercise::exercise;
use super::tiny;

/// A case takes milliseconds; one that takes so long hangs.
const TOO_LONG: Duration = Duration::from_secs(20);

/// xorshift64* (Vigna 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Models to start from: the fixtures of operators, of nested graphs, functions and sparse tensors that are small, and two of a
/// few bytes.
fn models() -> Vec<Vec<u8>> {
    let folders = ["tests/operators", "tests/kinds"].map(|folder| Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
    let mut paths: Vec<_> = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path())).collect();
    paths.sort();
    let onnx = paths.iter().filter(|p| p.extension().is_some_and(|e| e == "onnx"));
    let mut models: Vec<Vec<u8>> = onnx.map(|p| std::fs::read(p).unwrap()).filter(|m| m.len() < 40_000).collect();
    let weight = tiny::tensor("w", &[3, 2], tiny::FLOAT, tiny::bytes(&[1.0, -2.0, f32::NAN, 0.0, -0.0, 5.0]));
    let gemm = tiny::model(vec![tiny::gemm(&["x", "w"], "y")], vec![weight.clone()]);
    let shared = vec![tiny::gemm(&["x", "w"], "h"), tiny::node("Transpose", &["w"], "t"), tiny::node("MatMul", &["h", "w"], "y")];
    models.push(gemm.write_to_bytes().unwrap());
    models.push(tiny::model(shared, vec![weight]).write_to_bytes().unwrap());
    models
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        // A cut end leaves little that opens: it is the rarest.
        match random.below(25) {
            0..=8 => bytes[at] ^= 1 << random.below(8),
            9..=15 => bytes[at] = random.next() as u8,
            16..=17 => bytes.insert(at, random.next() as u8),
            18..=19 => {
                let end = (at + 1 + random.below(16)).min(bytes.len());
                bytes.drain(at..end);
            }
            20 => bytes.truncate(at),
            // A number that goes on and on.
            21..=22 => drop(bytes.splice(at..at, [0xff; 9].into_iter().chain([1]).take(1 + random.below(10)))),
            _ => {
                let end = (at + random.below(64)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = random.below(bytes.len());
                drop(bytes.splice(to..to, piece));
            }
        }
        if bytes.is_empty() {
            return;
        }
    }
}

#[test]
fn mutated_models_are_opened_or_refused() {
    let range = std::env::var("SECATEUR_MUTATIONS").unwrap_or_else(|_| "0..400".into());
    let (first, end) = range.split_once("..").unwrap();
    let (first, end): (u64, u64) = (first.parse().unwrap(), end.parse().unwrap());
    let seconds = std::env::var("SECATEUR_MUTATION_SECONDS").ok().map(|s| Duration::from_secs(s.parse().unwrap()));
    let models = models();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let start = Instant::now();
    let (mut opened, mut failed, mut done) = (0, Vec::new(), 0);
    for seed in first..end {
        if seconds.is_some_and(|s| start.elapsed() > s) {
            break;
        }
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut bytes = models[random.below(models.len())].clone();
        mutate(&mut bytes, &mut random);
        std::fs::write(&path, &bytes).unwrap();
        let before = Instant::now();
        let result = std::panic::catch_unwind(|| exercise(&path));
        opened += usize::from(secateur::onnx::OnnxFile::open(&path).is_ok());
        done += 1;
        if result.is_err() || before.elapsed() > TOO_LONG {
            eprintln!("seed {seed}: {}", if result.is_err() { "panicked" } else { "took too long" });
            failed.push(seed);
        }
    }
    eprintln!("{done} mutated models, {opened} opened, {:.0} s", start.elapsed().as_secs_f64());
    assert!(failed.is_empty(), "seeds {failed:?}");
    assert!(done < 100 || (opened > 0 && opened < done), "{opened} of {done} opened: the mutations say nothing");
}
