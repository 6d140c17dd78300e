//! How long a repair takes.
//!
//! `cargo bench --bench repair` repairs the demo, 90 % of it gone by LAMP, on 120 of its digits, and MobileNetV4-small at 224x224 with random
//! weights on 128: by statistics, and by least squares too. `SECATEUR_MODEL=FILE` takes another network. Then it fits one layer of `MobileNetV2`
//! alone, as `benches/compare_squares.py` does with NumPy. No time is asserted, because machines are shared.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that cannot run has nothing to say")]

use std::env::var;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use faer::Mat;
use rayon::prelude::*;
use secateur::engine::Engine;
use secateur::evaluate::Questions;
use secateur::images::{Colours, ImageSet, Preprocess};
use secateur::prune::{Amount, Method, Recipe};
use secateur::repair::{Gram, Options, Repairer, spread};
use secateur::watch::Unwatched;

const DEMO: &str = "assets/mobilenetv4_digits.onnx";
const LARGE: &str = "tests/models/mobilenetv4_r224_3classes.onnx";
const DIGITS: &str = "assets/digits";

fn main() {
    one_layer();
    let models =
        var("SECATEUR_MODEL").map_or_else(|_| vec![(DEMO.to_owned(), 0.9, 120), (LARGE.to_owned(), 0.5, 128)], |m| vec![(m, 0.5, 128)]);
    for (model, amount, images) in models {
        let engine = Arc::new(Engine::open(Path::new(&model), &Unwatched).unwrap());
        let opened = engine.opened();
        let recipe = Recipe { method: Method::Lamp, amount: Amount::Fraction(amount), biases: false, ..opened.recipe.clone() };
        let state = opened.with(recipe);
        let set = spread(&ImageSet::open(Path::new(DIGITS), None).unwrap(), images);
        for is_thorough in [false, true] {
            let (preprocess, _) = Preprocess::for_model(&engine.model().graph, Path::new(&model));
            let preprocess = Preprocess { channels: Colours::GreyInThree, ..preprocess };
            let questions = Questions::images(&engine.model().graph, Arc::new(set.clone()), preprocess, None, 60).unwrap();
            let mut repairer = Repairer::new(engine.clone(), questions, Options { is_thorough, ..Options::default() });
            let start = Instant::now();
            let (_, repair) = repairer.repair(&state, &Unwatched).unwrap();
            let what = if is_thorough { "least squares too" } else { "statistics" };
            let layers = repair.layers.len();
            println!("{model}, {images} images, {what}: {:.2} s, {layers} layers", start.elapsed().as_secs_f64());
        }
    }
}

/// A projection of `MobileNetV2`, 90 % pruned, on 128 images of 7x7.
fn one_layer() {
    let mut seed = 1_u64;
    let mut number = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as f64 / f64::from(1_u32 << 30) - 1.0
    };
    let (x, y) = (Mat::from_fn(6272, 960, |_, _| number()), Mat::from_fn(6272, 160, |_, _| number()));
    let weights: Vec<f64> = (0..960).map(|_| number()).collect();
    let kept: Vec<Vec<usize>> = (0..160).map(|_| (0..960).filter(|_| number() < -0.8).collect()).collect();
    let start = Instant::now();
    let mut gram = Gram::new(960, 160);
    gram.add(x.as_ref(), y.as_ref());
    let gram = gram.centred();
    let sums = start.elapsed();
    let start = Instant::now();
    let solved: Vec<_> = (0..160).into_par_iter().map(|o| gram.solve(o, &weights, &kept[o], 0.1).unwrap()).collect();
    println!("one layer: sums {} ms, {} rows {} ms", sums.as_millis(), solved.len(), start.elapsed().as_millis());
}
