//! How long it takes to find what falls together, to choose at one position of the slider, and to make the smaller model.
//!
//! `cargo bench --bench channels` on the demo and on MobileNetV4-small at 224x224; `SECATEUR_MODEL=FILE` takes another network. No time is
//! asserted, because machines are shared.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

use std::env::var;
use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use secateur::channels::{ChannelAmount, ChannelScore, Choice, Of};
use secateur::engine::Engine;
use secateur::evaluate;
use secateur::images::Preprocess;
use secateur::watch::Unwatched;

const MODELS: [&str; 2] = ["assets/mobilenetv4_digits.onnx", "tests/models/mobilenetv4_r224_3classes.onnx"];

fn channels(c: &mut Criterion) {
    let models = var("SECATEUR_MODEL").map_or_else(|_| MODELS.map(str::to_owned).to_vec(), |model| vec![model]);
    for model in models {
        let engine = Engine::open(Path::new(&model), &Unwatched).unwrap();
        let state = engine.opened();
        let graph = &engine.model().graph;
        let (preprocess, _) = Preprocess::for_model(graph, Path::new(&model));
        let inputs = evaluate::noise(graph, 1, Some(preprocess.shape()), 0).unwrap();
        let mut group = c.benchmark_group(format!("channels of {model}"));
        group.sample_size(10);
        group.bench_function("found", |b| b.iter(|| engine.channels(black_box(&inputs), &Unwatched).unwrap()));
        let channels = engine.channels(&inputs, &Unwatched).unwrap();
        group.bench_function("ranked", |b| b.iter(|| engine.channel_scores(&state, &channels, ChannelScore::L2).unwrap()));
        let scores = engine.channel_scores(&state, &channels, ChannelScore::L2).unwrap();
        let choice = Choice { amount: ChannelAmount { share: 0.3, of: Of::Macs }, ..Choice::default() };
        group.bench_function("one position", |b| {
            b.iter(|| {
                let removed = channels.choose(black_box(&scores), &choice);
                (channels.size(&removed), removed)
            });
        });
        let removed = channels.choose(&scores, &choice);
        group.bench_function("removed", |b| b.iter(|| engine.smaller_bytes(&state, &channels, black_box(&removed)).unwrap().size_bytes()));
    }
}

criterion_group!(benches, channels);
criterion_main!(benches);
