//! How much the sensitivity scan saves by keeping what comes before the pruned weight.
//!
//! `cargo bench --bench sensitivity` scans the demo (47 weights, 9 amounts) on its digits and, weight by weight in turn, runs
//! every case from the start; both give the same answers, which is checked. `SECATEUR_IMAGES=60` takes that many images.
//! No ratio is asserted, because machines are shared.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that cannot run has nothing to say")]

use std::env::var;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secateur::evaluate::{Evaluator, Questions, Sensitivity};
use secateur::graph::{Kind, ModuleId, ParameterId};
use secateur::images::{ImageSet, Preprocess};
use secateur::prune::{Amount, Method, Recipe};
use secateur::session::Session;
use secateur::watch::Unwatched;

const DEMO: &str = "assets/mobilenetv4_digits.onnx";
const DIGITS: &str = "assets/digits";
const BATCH: usize = 60;

fn evaluator(session: &Session, limit: Option<usize>) -> Evaluator {
    let graph = &session.model().graph;
    let set = Arc::new(ImageSet::open(Path::new(DIGITS), None).unwrap());
    let (preprocess, _) = Preprocess::for_model(graph, Path::new(DEMO));
    let questions = Questions::images(graph, set, preprocess, limit, BATCH).unwrap();
    let mut evaluator = Evaluator::new(session.engine().clone(), questions, None);
    // Images are decoded and the dense network has answered before anything is timed.
    evaluator.dense(None, &Unwatched).unwrap();
    evaluator
}

fn main() {
    let limit = var("SECATEUR_IMAGES").ok().map(|n| n.parse().unwrap());
    let session = Session::open(Path::new(DEMO), &Unwatched).unwrap();
    let graph = session.model().graph.clone();
    let is_scanned = |id: &ParameterId| graph.parameter(*id).kind == Kind::Weight && graph.parameter(*id).shape.len() > 1;
    let weights: Vec<ParameterId> = (0..graph.parameters.len()).map(ParameterId).filter(is_scanned).collect();
    let amounts: Vec<f64> = (1..=9).map(|tenth| f64::from(tenth) / 10.0).collect();
    let (mut scanner, mut walker) = (evaluator(&session, limit), evaluator(&session, limit));
    let mut scan = scanner.start_scan(&weights, amounts).unwrap();

    // In turn, so that a machine that drifts favours neither: behind every weight of the scan its cases are run from the start.
    let images = scanner.questions().num_images();
    let state = session.state();
    let (mut from_start, mut paired) = (Duration::ZERO, 0);
    let mut each = |scan: &Sensitivity| {
        let is_whole = scan.cases.last().is_some_and(|case| case.effect.images == images);
        if !is_whole {
            return;
        }
        let start = Instant::now();
        for case in &scan.cases[paired..] {
            let locked = (0..graph.modules.len()).map(|m| ModuleId(m) != graph.parameter(case.parameter).module).collect();
            let amount = Amount::Fraction(case.amount);
            let recipe = Recipe { method: Method::LayerWise, amount, biases: false, locked, ..state.recipe.clone() };
            let effect = walker.effect_at(state, recipe, &Unwatched).unwrap();
            assert_eq!(case.effect.agreement, effect.agreement, "{} at {}", graph.parameter(case.parameter).name, case.amount);
        }
        paired = scan.cases.len();
        from_start += start.elapsed();
    };
    let start = Instant::now();
    scanner.scan(&mut scan, &Unwatched, &mut each).unwrap();
    let kept = start.elapsed().saturating_sub(from_start);
    let scan = scan.found();
    assert!(scan.is_done());
    println!("{} cases, {images} images each", scan.cases.len());
    println!("  from the start  {:8.2} s", from_start.as_secs_f64());
    println!("  as a scan       {:8.2} s, {:.2} times as fast", kept.as_secs_f64(), from_start.as_secs_f64() / kept.as_secs_f64());
    println!(
        "  operators run   {} of {}, {:.2} times fewer",
        scan.nodes_run,
        scan.nodes_from_start,
        scan.nodes_from_start as f64 / scan.nodes_run as f64
    );
}
