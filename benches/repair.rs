//! How long a repair takes.
//!
//! `cargo bench --bench repair` repairs the demo, 90 % of it gone by LAMP, on 120 of its digits, and MobileNetV4-small at 224x224 with random
//! weights on 128: by statistics, and by least squares too. `SECATEUR_MODEL=FILE` takes another network. `benches/compare_squares.py` fits one
//! layer with NumPy. No time is asserted, because machines are shared.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that cannot run has nothing to say")]

use std::env::var;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use secateur::engine::Engine;
use secateur::evaluate::Questions;
use secateur::images::{Channels, ImageSet, Preprocess};
use secateur::prune::{Amount, Method, Recipe};
use secateur::repair::{Options, Repairer, spread};
use secateur::watch::Unwatched;

const DEMO: &str = "assets/mobilenetv4_digits.onnx";
const LARGE: &str = "tests/models/mobilenetv4_r224_3classes.onnx";
const DIGITS: &str = "assets/digits";

fn main() {
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
            let preprocess = Preprocess { channels: Channels::GreyInThree, ..preprocess };
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
