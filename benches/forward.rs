//! How long the forward pass takes on the CPU, and which operators take it.
//!
//! `cargo bench --bench forward` times the demo on all 360 digits in batches of 60, and the 224x224 network where
//! `SECATEUR_R224` names its file, at batch 1 and 16; any other model of images is timed with `SECATEUR_MODELS=a.onnx:b.onnx`.
//! `SECATEUR_PROFILE=1` prints for each how the time divides among its operators, `SECATEUR_PROFILE=nodes` among its nodes. `compare_forward.py` beside this puts the
//! figures beside PyTorch's and ONNX Runtime's. Nothing is asserted, because machines are shared.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that cannot run has nothing to say")]
#![allow(missing_docs, reason = "criterion's macros define public items")]

use std::collections::BTreeMap;
use std::env::var;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use criterion::{Criterion, criterion_group, criterion_main};
use secateur::graph;
use secateur::network::{Array, Network};
use secateur::onnx::OnnxFile;

const DEMO: &str = "assets/mobilenetv4_digits.onnx";
const BATCH: usize = 60;
const PROFILED: usize = 20;

fn open(path: &str) -> Network {
    let file = OnnxFile::open(Path::new(path)).unwrap();
    Network::build(Arc::new(graph::build(&file)), &file, &Device::flex()).unwrap()
}

/// The held-out images in batches, under the name of the network's input.
fn digits(network: &Network) -> Vec<[(String, Array); 1]> {
    let folders = (0..10).map(|class| format!("assets/digits/{class}"));
    let files: Vec<_> = folders.flat_map(|f| std::fs::read_dir(f).unwrap().map(|entry| entry.unwrap().path())).collect();
    let image = |path: &std::path::PathBuf| {
        let plane: Vec<f32> =
            image::open(path).unwrap().into_luma8().into_raw().into_iter().map(|v| (f32::from(v) / 255.0 - 0.5) / 0.5).collect();
        plane.repeat(3)
    };
    let batch = |files: &[_]| {
        [(network.graph().inputs[0].name.clone(), Array::f32([files.len(), 3, 64, 64], files.iter().flat_map(image).collect()))]
    };
    files.chunks(BATCH).map(batch).collect()
}

/// Numbers between −1 and 1 of the network's own size, open dimensions taken as 224.
fn noise(network: &Network, batch: usize) -> [(String, Array); 1] {
    let input = &network.graph().inputs[0];
    let mut shape: Vec<usize> = input.shape.iter().map(|d| d.unwrap_or(224)).collect();
    shape[0] = batch;
    let data = (0..shape.iter().product()).map(|i: usize| (i.wrapping_mul(2_654_435_761) >> 7 & 0xffff) as f32 / 32_768.0 - 1.0);
    [(input.name.clone(), Array::f32(shape.clone(), data.collect()))]
}

/// Prints how the time of a forward pass divides among operators; of every node the best of some rounds.
fn profile(name: &str, network: &Network, inputs: &[(String, Array)]) {
    let Ok(detail) = var("SECATEUR_PROFILE") else { return };
    let nodes = &network.graph().nodes;
    let mut best = vec![Duration::MAX; nodes.len()];
    for _ in 0..PROFILED {
        let mut pass = network.begin(inputs).unwrap();
        for (i, best) in best.iter_mut().enumerate() {
            let start = Instant::now();
            network.advance(&mut pass, i + 1, &secateur::watch::Unwatched).unwrap();
            *best = (*best).min(start.elapsed());
        }
    }
    let mut spent: BTreeMap<String, (usize, Duration)> = BTreeMap::new();
    for ((i, node), time) in nodes.iter().enumerate().zip(&best) {
        let tensor = node.input(1).and_then(|v| network.graph().constants[v.0]);
        let weights = network.graph().parameters.iter().find(|p| Some(p.tensor) == tensor).map_or(&[][..], |p| &p.shape);
        let key = match weights {
            _ if detail == "nodes" => format!("{i:3} {} {weights:?}", node.op),
            [_, 1, h, w] => format!("{} depthwise {h}x{w}", node.op),
            [_, _, h, w] => format!("{} {h}x{w}", node.op),
            _ => node.op.clone(),
        };
        let entry = spent.entry(key).or_default();
        entry.0 += 1;
        entry.1 += *time;
    }
    let mut rows: Vec<_> = spent.into_iter().collect();
    rows.sort_by_key(|(_, (_, time))| std::cmp::Reverse(*time));
    println!("{name}: {:.2} ms", best.iter().sum::<Duration>().as_secs_f64() * 1e3);
    for (op, (count, time)) in rows {
        println!("  {op:32} {count:4} nodes {:8.3} ms", time.as_secs_f64() * 1e3);
    }
}

fn forward(c: &mut Criterion) {
    let mut group = c.benchmark_group("forward");
    // Many short samples: on a shared machine some of them are left alone.
    group.sample_size(50);
    let demo = open(DEMO);
    let batches = digits(&demo);
    profile("digits, 60 of 360", &demo, &batches[0]);
    group
        .bench_function("digits, 360 in batches of 60", |b| b.iter(|| batches.iter().for_each(|batch| drop(demo.forward(batch).unwrap()))));
    let others = var("SECATEUR_MODELS").unwrap_or_default();
    for path in var("SECATEUR_R224").iter().map(String::as_str).chain(others.split(':').filter(|path| !path.is_empty())) {
        let network = open(path);
        let stem = Path::new(path).file_stem().unwrap().to_string_lossy().into_owned();
        for batch in [1, 16] {
            let inputs = noise(&network, batch);
            profile(&format!("{stem}, batch {batch}"), &network, &inputs);
            group.bench_function(format!("{stem}, batch {batch}"), |b| b.iter(|| network.forward(&inputs).unwrap()));
        }
    }
}

criterion_group!(benches, forward);
criterion_main!(benches);
