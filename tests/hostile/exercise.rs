//! All that a person can do to a file, for files that nobody trusts; shared with the fuzz target.

use std::ffi::OsString;
use std::path::Path;

use secateur::atomic::Overwrite;
use secateur::channels::{ChannelAmount, ChannelScore, Choice, Of};
use secateur::cli::{self, Invocation};
use secateur::export::{Form, Format};
use secateur::graph::Input;
use secateur::network::Array;
use secateur::onnx::{Dtype, OnnxFile, Values};
use secateur::prune::{Amount, Method, Recipe, Step};
use secateur::session::Session;
use secateur::watch::Unwatched;

/// Every element of a mutated network's inputs together; larger networks are opened and pruned, not run.
const MAX_INPUT: usize = 1 << 14;

/// An input of this type: halves, ones and yes, or halves, threes and no, so that both branches run and loops turn.
fn filled(dtype: Dtype, shape: Vec<usize>, yes: bool) -> Array {
    let elements = shape.iter().product();
    match dtype {
        Dtype::Bool => Array::bool(shape, vec![yes; elements]),
        dtype if dtype.is_float() => Array { dtype, ..Array::f32(shape, vec![0.5; elements]) },
        dtype => Array { dtype, ..Array::i64(shape, vec![if yes { 1 } else { 3 }; elements]) },
    }
}

/// `secateur inspect`, as text and as JSON; what opens can be told.
fn inspect(path: &Path, opens: bool) {
    for json in [None, Some("--json")] {
        let arguments = ["secateur", "inspect"].map(OsString::from).into_iter().chain([path.into()]).chain(json.map(OsString::from));
        let Ok(Invocation::Headless(command)) = cli::plan(arguments) else { panic!("a command") };
        let mut out = Vec::new();
        let result = cli::run(command, &mut out);
        assert_eq!((result.is_ok(), out.is_empty()), (opens, !opens), "{result:?}");
    }
}

/// Everything that is done to a file.
pub(crate) fn exercise(path: &Path) {
    let opened = Session::open(path, &Unwatched);
    inspect(path, opened.is_ok());
    let Ok(mut session) = opened else { return };
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
    for format in [Format::Safetensors(Form::Fixed), Format::Safetensors(Form::Unfixed), Format::Burnpack] {
        let _ = session.save(&path.with_file_name("saved").with_extension(format.extension()), format, Overwrite::Allow);
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
    for yes in [true, false] {
        if elements.is_none_or(|n| n > MAX_INPUT) {
            break;
        }
        let filled = |(input, (name, shape)): (&Input, &(String, Vec<usize>))| (name.clone(), filled(input.dtype, shape.clone(), yes));
        let arrays: Vec<_> = model.graph.inputs.iter().zip(&inputs).map(filled).collect();
        // A model may be refused, but whatever is in it, nothing of the program breaks.
        if let Err(error) = session.engine().forward(session.state(), &arrays) {
            assert!(!error.to_string().contains("internal error"), "{error}");
        }
        // Whatever falls together in it, what is left is a model that runs as the masked one does, or is refused.
        if let Ok(channels) = session.engine().channels(&arrays, &Unwatched) {
            let opened = session.engine().opened();
            let scores = session.engine().channel_scores(&opened, &channels, ChannelScore::L2).unwrap();
            let choice = Choice { amount: ChannelAmount { share: 0.5, of: Of::Channels }, ..Choice::default() };
            let removed = channels.choose(&scores, &choice);
            if let Ok(bytes) = session.engine().smaller_bytes(&opened, &channels, &removed) {
                let _ = session.engine().of_bytes(bytes, &Unwatched).map(|smaller| smaller.forward(&smaller.opened(), &arrays));
            }
        }
        // Another pass would say the same.
        if arrays.iter().all(|(_, array)| array.dtype.is_float()) {
            break;
        }
    }
    // Over itself, and what comes of that opens.
    if let Ok(report) = session.save(path, Format::Onnx, Overwrite::Allow) {
        OnnxFile::open(&report.files[0]).unwrap();
    }
}
