//! All that a person can do to a file, for files that nobody trusts; shared with the fuzz target.

use std::path::Path;

use secateur::atomic::Overwrite;
use secateur::export::Format;
use secateur::network::Array;
use secateur::prune::{Amount, Method, Recipe, Step};
use secateur::session::Session;
use secateur::watch::Unwatched;

/// Every element of a mutated network's inputs together; larger networks are opened and pruned, not run.
const MAX_INPUT: usize = 1 << 14;

/// Everything that is done to a file.
pub(crate) fn exercise(path: &Path) {
    let Ok(mut session) = Session::open(path, &Unwatched) else { return };
    for method in Method::ALL {
        let recipe = Recipe { method, amount: Amount::Fraction(0.5), ..session.state().recipe.clone() };
        let _ = session.set(recipe, Step::Amount);
        let _ = session.engine().figures(session.state(), &Method::ALL);
        if session.engine().outcome(session.state()).is_ok() {
            session.engine().pruned_weights(session.state()).unwrap();
        }
    }
    let model = session.model().clone();
    for id in (0..model.graph.parameters.len()).map(secateur::graph::ParameterId) {
        let _ = session.engine().detail(session.state(), id);
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
        let _ = session.engine().forward(session.state(), &arrays.collect::<Vec<_>>());
    }
}
