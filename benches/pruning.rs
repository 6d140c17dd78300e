//! How long the parts of pruning take: opening, preparing, one position of the slider, masks, the forward pass.
//!
//! `cargo bench` reports; nothing is asserted, because machines are shared. `compare_torch.py` beside this puts the masks beside
//! `torch.nn.utils.prune` in the same run. The part with a GPU runs where an adapter is found, software adapters included.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]
#![allow(missing_docs, reason = "criterion's macros define public items")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use secateur::device::{ComputeDevice, DeviceChoice};
use secateur::engine::Model;
use secateur::graph::{Graph, Kind, Layout, Module, ModuleId, Parameter, ParameterId, Role};
use secateur::measure::{Ranked, figures};
use secateur::network::Array;
use secateur::onnx::{Dtype, TensorId, Values};
use secateur::prune::{Amount, Method, Ranking, Recipe, Score, Standing, Step};
use secateur::session::Session;
use secateur::watch::Unwatched;

const DEMO: &str = "assets/mobilenetv4_digits.onnx";

fn at(method: Method, fraction: f64) -> Session {
    let mut session = Session::open(Path::new(DEMO), &Unwatched).unwrap();
    let recipe = Recipe { method, amount: Amount::Fraction(fraction), ..session.state().recipe.clone() };
    session.set(recipe, Step::Amount).unwrap();
    session
}

fn demo(c: &mut Criterion) {
    let mut group = c.benchmark_group("demo");
    group.bench_function("open", |b| b.iter(|| Model::open(Path::new(DEMO)).unwrap()));
    let model = Model::open(Path::new(DEMO)).unwrap();
    group.bench_function("prepare", |b| b.iter(|| model.rank(&Unwatched).unwrap()));
    let session = at(Method::Global, 0.5);
    group.bench_function("position of the slider, both methods", |b| {
        b.iter(|| black_box(session.engine().figures(session.state(), &Method::PAIR)));
    });
    for method in Method::ALL {
        group.bench_function(format!("position of the slider, {}", method.name()), |b| {
            b.iter(|| black_box(session.engine().figures(session.state(), &[method])));
        });
    }
    for method in Method::ALL {
        let session = at(method, 0.5);
        group.bench_function(format!("masks and pruned weights, {}", method.name()), |b| {
            b.iter(|| session.engine().pruned_weights(session.state()).unwrap());
        });
    }
    let random = at(Method::Global, 0.5);
    let recipe = Recipe { score: Score::Random(0), ..random.state().recipe.clone() };
    let random_state = random.state().with(recipe);
    group.bench_function("position of the slider, random scores", |b| {
        b.iter(|| black_box(random.engine().figures(&random_state, &Method::PAIR)));
    });
    for method in Method::PAIR {
        let session = at(method, 0.5);
        group.bench_function(format!("prepare, masks and pruned weights, {}", method.name()), |b| {
            b.iter(|| {
                let rankings = model.rank(&Unwatched).unwrap();
                (rankings, session.engine().pruned_weights(session.state()).unwrap())
            });
        });
    }
    let largest = (0..model.graph.parameters.len()).map(ParameterId).max_by_key(|id| model.graph.parameter(*id).elements).unwrap();
    let session = at(Method::Global, 0.5);
    group.bench_function("close look at the largest parameter", |b| b.iter(|| session.engine().detail(session.state(), largest)));
    group.bench_function("forward, 60 images of 64x64, cpu", |b| {
        let input = Array::f32([60, 3, 64, 64], vec![0.5; 60 * 3 * 64 * 64]);
        let session = at(Method::Global, 0.0);
        b.iter_batched(
            || [("input".to_owned(), input.clone())],
            |inputs| session.engine().forward(session.state(), &inputs).unwrap(),
            BatchSize::LargeInput,
        );
    });
}

/// The same on a GPU, or on a software adapter.
fn device(c: &mut Criterion) {
    let Ok(device) = ComputeDevice::open(DeviceChoice::Gpu) else { return };
    let mut group = c.benchmark_group(format!("demo on {}", device.name));
    group.sample_size(10);
    for method in Method::PAIR {
        let mut session = at(method, 0.5);
        session.use_device(&device);
        session.engine().outcome_on_device(session.state()).unwrap();
        group.bench_function(format!("selection, {}", method.name()), |b| {
            b.iter(|| session.engine().outcome_on_device(session.state()).unwrap());
        });
        group
            .bench_function(format!("masks read back, {}", method.name()), |b| b.iter(|| session.engine().masks(session.state()).unwrap()));
    }
}

/// A network of 100 million elements in 200 parameters, which nobody ships as a test file.
fn large(c: &mut Criterion) {
    const PARAMETERS: usize = 200;
    const ELEMENTS: usize = 500_000;
    let mut graph = Graph::default();
    for i in 0..PARAMETERS {
        let parameter = ParameterId(i);
        graph.modules.push(Module {
            name: format!("layers.{i}"),
            kind: "Linear".into(),
            role: Role::Linear,
            parameters: vec![parameter],
            buffers: vec![],
            nodes: vec![i],
        });
        graph.parameters.push(Parameter {
            module: ModuleId(i),
            kind: Kind::Weight,
            name: format!("layers.{i}.weight"),
            attribute: "weight".into(),
            tensor: TensorId(i),
            shape: vec![500, 1000],
            dtype: Dtype::F32,
            elements: ELEMENTS,
            layout: Layout::OutFirst,
            reason: None,
        });
    }
    // Sums of uniform numbers: near a bell, from a fixed seed (xorshift, Marsaglia 2003), wider in deeper layers.
    let mut seed = 0x2545_f491_u32;
    let mut uniform = move || {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        f64::from(seed) / f64::from(u32::MAX) - 0.5
    };
    let mut values =
        |i: usize| Values::F32((0..ELEMENTS).map(|_| ((uniform() + uniform() + uniform()) * (1.0 + i as f64 / 50.0)) as f32).collect());
    let rankings: Vec<_> = (0..PARAMETERS).map(|i| Some(Arc::new(Ranking::new(&values(i))))).collect();
    let standing =
        |ranking: &Option<Arc<Ranking>>| ranking.clone().map(|ranking| Standing { ranking, fixed: 0, masked: 0, apart: 0, order: None });
    let recipe = Recipe { amount: Amount::Fraction(0.37), ..Recipe::new(&graph) };
    let mut group = c.benchmark_group("100 million elements");
    group.bench_function("position of the slider, both methods", |b| {
        b.iter(|| {
            let standings: Vec<_> = rankings.iter().map(standing).collect();
            figures(Ranked { graph: &graph, opened: &rankings, standings: &standings }, black_box(&recipe), &Method::PAIR)
        });
    });
    for method in Method::ALL {
        group.bench_function(format!("position of the slider, {}", method.name()), |b| {
            b.iter(|| {
                let standings: Vec<_> = rankings.iter().map(standing).collect();
                figures(Ranked { graph: &graph, opened: &rankings, standings: &standings }, black_box(&recipe), &[method])
            });
        });
    }
    let one = values(0);
    group.sample_size(10);
    group.bench_function("prepare one of 200 parameters", |b| b.iter(|| Ranking::new(&one)));
}

criterion_group!(benches, demo, device, large);
criterion_main!(benches);
