//! Pruning compared with `torch.nn.utils.prune`, case by case.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and says what it skips")]

use std::collections::HashMap;
use std::path::Path;

use secateur::prune::{Amount, Method, Step};
use secateur::session::{Session, Unwatched};
use serde_json::Value;

fn compare(model: &str, file: &str) {
    let mut session = Session::open(Path::new(file), &Unwatched).unwrap();
    let reference: Value = serde_json::from_str(&std::fs::read_to_string(format!("tests/reference/{model}.json")).unwrap()).unwrap();
    let cases = reference["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 100);
    for case in cases {
        let what = format!("{model}: {} {} {}", case["scope"], case["method"], case["amounts"]);
        session.reset();
        let graph = &session.model().clone().graph;
        let mut settings = session.state().settings.clone();
        let scope = case["scope"].as_str().unwrap();
        settings.biases = scope.contains("bias");
        settings.method = if case["method"] == "global" { Method::Global } else { Method::LayerWise };
        for (ticked, module) in settings.ticked.iter_mut().zip(&graph.modules) {
            *ticked = scope.starts_with("all types") || scope.contains(&module.kind);
        }
        let amounts = case["amounts"].as_array().unwrap();
        let mut outcome = None;
        for (i, amount) in amounts.iter().enumerate() {
            settings.amount =
                if amount.is_f64() { Amount::Fraction(amount.as_f64().unwrap()) } else { Amount::Count(amount.as_u64().unwrap()) };
            session.set(settings.clone(), Step::Amount).unwrap_or_else(|e| panic!("{what}: {e}"));
            outcome = Some(session.outcome().unwrap_or_else(|e| panic!("{what}: {e}")));
            if i + 1 < amounts.len() {
                session.apply().unwrap();
            }
        }
        let outcome = outcome.unwrap();
        let ours: HashMap<&str, u64> = graph.parameters.iter().zip(&outcome.masked).map(|(p, &n)| (p.name.as_str(), n)).collect();
        assert_eq!(outcome.pruned, case["total_pruned"].as_u64().unwrap(), "{what}");
        let wanted = case["pruned"].as_object().unwrap();
        let scope_size = session.state().settings.scope(graph).len();
        assert_eq!(scope_size, wanted.len(), "{what}: parameters in scope");
        let ties = case["ties"].as_u64().unwrap_or(0);
        // Where several elements share the cut, PyTorch's choice among them is arbitrary: then only the total counts.
        let slack = if ties > 1 { ties } else { 0 };
        for (name, count) in wanted {
            let count = count.as_u64().unwrap();
            assert!(ours[name.as_str()].abs_diff(count) <= slack, "{what}: {name}: {} instead of {count}", ours[name.as_str()]);
        }
        if case["method"] == "global" {
            // The weights are f32, and the last digits of a parsed f64 are not to be relied on.
            assert_eq!(outcome.cut.map(|c| c as f32), case["threshold"].as_f64().map(|c| c as f32), "{what}: cut");
            assert_eq!(outcome.ties, ties, "{what}: ties");
        }
        let pruned: u64 = session.masks().unwrap().values().map(|m| m.mask.pruned()).sum();
        assert_eq!(pruned, outcome.pruned, "{what}: elements that the masks prune");
    }
}

#[test]
fn digits_network_is_pruned_as_pytorch_does() {
    compare("mobilenetv4_digits", "assets/mobilenetv4_digits.onnx");
}

#[test]
fn article_network_is_pruned_as_pytorch_does() {
    compare("mobilenetv4_r224_3classes", "tests/models/mobilenetv4_r224_3classes.onnx");
}
