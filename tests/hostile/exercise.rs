//! All that a person can do to a file, for files that nobody trusts; shared with the fuzz target.

use std::path::Path;

use secateur::atomic::Overwrite;
use secateur::export::Format;
use secateur::network::Array;
use secateur::onnx::{Dtype, OnnxFile, Values};
use secateur::prune::{Amount, Method, Recipe, Step};
use secateur::session::Session;
use secateur::watch::Unwatched;

/// Every element of a mutated network's inputs together; larger networks are opened and pruned, not run.
const MAX_INPUT: usize = 1 << 14;

/// An input of this type: halves, ones or yes.
fn filled(dtype: Dtype, shape: Vec<usize>) -> Array {
    let elements = shape.iter().product();
    match dtype {
        Dtype::Bool => Array::bool(shape, vec![true; elements]),
        dtype if dtype.is_float() => Array { dtype, ..Array::f32(shape, vec![0.5; elements]) },
        dtype => Array { dtype, ..Array::i64(shape, vec![1; elements]) },
    }
}

/// Everything that is done to a file.
pub(crate) fn exercise(path: &Path) {
    let Ok(mut session) = Session::open(path, &Unwatched) else { return };
    for method in Method::PAIR {
        let recipe = Recipe { method, amount: Amount::Fraction(0.5), ..session.state().recipe.clone() };
        let _ = session.set(recipe, Step::Amount);
        let _ = session.engine().figures(session.state(), &Method::PAIR);
        if session.engine().outcome(session.state()).is_ok() {
            session.engine().pruned_weights(session.state()).unwrap();
        }
    }
    let model = session.model().clone();
    for id in (0..model.graph.parameters.len()).map(secateur::graph::ParameterId) {
        let _ = session.engine().detail(session.state(), id);
    }
    let saved = session.save(&path.with_file_name("saved.onnx"), Format::Onnx, Overwrite::Allow);
    if let (Ok(report), Ok(pruned)) = (saved, session.engine().pruned_weights(session.state())) {
        let again = OnnxFile::open(&report.files[0]).unwrap();
        for (id, _, values) in pruned {
            let bits = |values: Values| values.into_f32().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            let tensor = model.graph.parameter(id).tensor;
            assert_eq!(again.floats(tensor).unwrap().map(bits), Some(bits(values)), "what was saved is what was meant");
        }
    }
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
        let arrays: Vec<_> =
            model.graph.inputs.iter().zip(inputs).map(|(input, (name, shape))| (name, filled(input.dtype, shape))).collect();
        // A model may be refused, but whatever is in it, nothing of the program breaks.
        if let Err(error) = session.engine().forward(session.state(), &arrays) {
            assert!(!error.to_string().contains("internal error"), "{error}");
        }
    }
}
