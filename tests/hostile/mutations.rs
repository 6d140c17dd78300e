//! Tiny models with bytes flipped, put in, cut out and made huge: they are opened, pruned, run and saved, or refused.
//!
//! `SECATEUR_MUTATIONS=first..end` runs these seeds instead of the few that every test run tries, `SECATEUR_MUTATION_SECONDS`
//! ends the run after so long.

use std::path::Path;
use std::time::{Duration, Instant};

use onnx_ir::Message;
use secateur::atomic::Overwrite;
use secateur::export::Format;
use secateur::network::Array;
use secateur::prune::{Amount, Method, Settings, Step};
use secateur::session::{Session, Unwatched};

use super::tiny;

/// A case takes milliseconds; one that takes so long hangs.
const TOO_LONG: Duration = Duration::from_secs(20);

/// Every element of a mutated network's inputs together; larger networks are opened and pruned, not run.
const MAX_INPUT: usize = 1 << 14;

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

/// Models to start from: the operators' fixtures that are small, and two of a few bytes.
fn models() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/operators");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
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
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(7) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes.insert(at, random.next() as u8),
            3 => {
                let end = (at + 1 + random.below(16)).min(bytes.len());
                bytes.drain(at..end);
            }
            4 => bytes.truncate(at),
            // A number that goes on and on.
            5 => drop(bytes.splice(at..at, [0xff; 9].into_iter().chain([1]).take(1 + random.below(10)))),
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

/// Everything that is done to a file.
fn exercise(path: &Path) {
    let Ok(mut session) = Session::open(path, &Unwatched) else { return };
    for method in Method::ALL {
        let settings = Settings { method, amount: Amount::Fraction(0.5), ..session.state().settings.clone() };
        let _ = session.set(settings, Step::Amount);
        let _ = session.figures();
        if session.outcome().is_ok() {
            session.pruned_weights().unwrap();
        }
    }
    let model = session.model().clone();
    for id in (0..model.graph.parameters.len()).map(secateur::graph::ParameterId) {
        let _ = session.detail(id);
    }
    let _ = session.save(&path.with_file_name("saved.onnx"), Format::Onnx, Overwrite::Allow);
    let inputs: Vec<(String, Vec<usize>)> = model
        .graph
        .inputs
        .iter()
        .map(|input| (input.name.clone(), input.shape.iter().map(|d| d.unwrap_or(1)).collect::<Vec<_>>()))
        .collect();
    let elements = inputs
        .iter()
        .try_fold(0_usize, |n, (_, shape)| shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)).and_then(|e| n.checked_add(e)));
    if elements.is_some_and(|n| n <= MAX_INPUT) {
        let arrays = inputs.into_iter().map(|(name, shape)| (name, Array::f32(shape.clone(), vec![0.5; shape.iter().product()])));
        let _ = session.forward(&arrays.collect::<Vec<_>>());
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
