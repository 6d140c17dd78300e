//! Pruning compared with `torch.nn.utils.prune`, case by case, on the host and on the device.
#![allow(clippy::unwrap_used, reason = "a test")]

mod adapter;

use std::collections::HashMap;
use std::path::Path;

use secateur::device::ComputeDevice;
use secateur::prune::{Amount, Method, Recipe, Step};
use secateur::session::Session;
use secateur::watch::Unwatched;
use serde_json::Value;

const DIGITS: [&str; 2] = ["mobilenetv4_digits", "assets/mobilenetv4_digits.onnx"];
const ARTICLE: [&str; 2] = ["mobilenetv4_r224_3classes", "tests/models/mobilenetv4_r224_3classes.onnx"];

fn compare([model, file]: [&str; 2], device: Option<ComputeDevice>) {
    let mut session = Session::open(Path::new(file), &Unwatched).unwrap();
    if let Some(device) = device {
        session.use_engine(session.engine().on(device));
    }
    let reference: Value = serde_json::from_str(&std::fs::read_to_string(format!("tests/reference/{model}.json")).unwrap()).unwrap();
    let cases = reference["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 100);
    for case in cases {
        let what = format!("{model}: {} {} {}", case["scope"], case["method"], case["amounts"]);
        session.reset();
        let graph = &session.model().clone().graph;
        let mut recipe = session.state().recipe.clone();
        let scope = case["scope"].as_str().unwrap();
        recipe.biases = scope.contains("bias");
        recipe.method = if case["method"] == "global" { Method::Global } else { Method::LayerWise };
        for (ticked, module) in recipe.ticked.iter_mut().zip(&graph.modules) {
            *ticked = scope.starts_with("all types") || scope.contains(&module.kind);
        }
        let amounts = case["amounts"].as_array().unwrap();
        let mut outcome = None;
        for (i, amount) in amounts.iter().enumerate() {
            recipe.amount =
                if amount.is_f64() { Amount::Fraction(amount.as_f64().unwrap()) } else { Amount::Count(amount.as_u64().unwrap()) };
            session.set(recipe.clone(), Step::Amount).unwrap_or_else(|e| panic!("{what}: {e}"));
            // The device's own cut and ties; its numbers of elements are compared with the host's whenever it makes masks.
            let is_cut = recipe.method == Method::Global && i + 1 == amounts.len();
            let result = if is_cut {
                session.engine().outcome_on_device(session.state())
            } else {
                session.engine().outcome(session.state()).map_err(Into::into)
            };
            outcome = Some(result.unwrap_or_else(|e| panic!("{what}: {e}")));
            if i + 1 < amounts.len() {
                session.apply().unwrap();
            }
        }
        let outcome = outcome.unwrap();
        let ours: HashMap<&str, u64> = graph.parameters.iter().zip(&outcome.masked).map(|(p, &n)| (p.name.as_str(), n)).collect();
        assert_eq!(outcome.pruned, case["total_pruned"].as_u64().unwrap(), "{what}");
        let wanted = case["pruned"].as_object().unwrap();
        let scope_size = session.state().recipe.scope(graph).len();
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
        let masks = session.engine().masks(session.state()).unwrap();
        assert!(masks == session.engine().host_masks(session.state()).unwrap(), "{what}: the masks of host and device");
        assert_eq!(masks.values().map(|m| m.mask.pruned()).sum::<u64>(), outcome.pruned, "{what}: elements that the masks prune");
    }
}

#[test]
fn digits_network_is_pruned_as_pytorch_does() {
    compare(DIGITS, None);
}

#[test]
fn article_network_is_pruned_as_pytorch_does() {
    compare(ARTICLE, None);
}

#[test]
fn digits_network_is_pruned_as_pytorch_does_on_the_device() {
    let Some(device) = adapter::adapter() else { return };
    compare(DIGITS, Some(device));
}

#[test]
fn article_network_is_pruned_as_pytorch_does_on_the_device() {
    let Some(device) = adapter::adapter() else { return };
    compare(ARTICLE, Some(device));
}

/// Numbers per parameter by the published formulas in numpy: LAMP, norm, Erdős-Rényi-Kernel and uniform+.
fn allocate([model, file]: [&str; 2], device: Option<ComputeDevice>) {
    let mut session = Session::open(Path::new(file), &Unwatched).unwrap();
    if let Some(device) = device {
        session.use_engine(session.engine().on(device));
    }
    let reference = std::fs::read_to_string(format!("tests/reference/{model}_allocations.json")).unwrap();
    let reference: Value = serde_json::from_str(&reference).unwrap();
    let names: Vec<&str> = reference["parameters"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    let mut compared = 0;
    for case in reference["cases"].as_array().unwrap() {
        let Some(&method) = Method::ALL.iter().find(|method| case["method"] == method.name()) else { continue };
        let graph = session.model().graph.clone();
        let amount = case["amount"].as_f64().unwrap();
        let recipe = Recipe { method, amount: Amount::Fraction(amount), biases: false, ..session.state().recipe.clone() };
        let what = format!("{model}: {method:?} {amount}");
        session.set(recipe, Step::Amount).unwrap();
        let outcome = session.engine().outcome_on_device(session.state()).unwrap();
        let ours: HashMap<&str, u64> = graph.parameters.iter().zip(&outcome.masked).map(|(p, &n)| (p.name.as_str(), n)).collect();
        let wanted: Vec<u64> = case["pruned"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
        assert_eq!(session.state().recipe.scope(&graph).len(), names.len(), "{what}");
        if case["ties"].as_u64().is_some_and(|ties| ties > 1) {
            assert_eq!(outcome.pruned, wanted.iter().sum::<u64>(), "{what}");
        } else {
            let found: Vec<u64> = names.iter().map(|name| ours[name]).collect();
            assert_eq!(found, wanted, "{what}");
        }
        if method == Method::Lamp {
            assert!(outcome.emptied.is_empty(), "{what}");
        }
        // The masks are the smallest magnitudes of every parameter, wherever they are made.
        if amount == 0.7 {
            let masks = session.engine().masks(session.state()).unwrap();
            let host = session.engine().host_masks(session.state()).unwrap();
            assert_eq!(masks.len(), host.len(), "{what}");
            for ((id, masks), (host_id, host)) in masks.iter().zip(&host) {
                assert_eq!((id, &masks.mask), (host_id, &host.mask), "{what}");
                assert_eq!(masks.mask.pruned(), outcome.masked[id.0], "{what}");
            }
        }
        compared += 1;
    }
    // uniform+ does not reach every amount of both models.
    assert!((20..=24).contains(&compared), "{compared}");
}

#[test]
fn digits_network_is_shared_as_the_formulas_say() {
    allocate(DIGITS, None);
}

#[test]
fn article_network_is_shared_as_the_formulas_say() {
    allocate(ARTICLE, None);
}

#[test]
fn digits_network_is_shared_as_the_formulas_say_on_the_device() {
    let Some(device) = adapter::adapter() else { return };
    allocate(DIGITS, Some(device));
}

#[test]
fn article_network_is_shared_as_the_formulas_say_on_the_device() {
    let Some(device) = adapter::adapter() else { return };
    allocate(ARTICLE, Some(device));
}

#[test]
fn a_method_that_does_not_reach_the_amount_says_how_far_it_goes() {
    let mut session = Session::open(Path::new(DIGITS[1]), &Unwatched).unwrap();
    let recipe = Recipe { method: Method::UniformPlus, amount: Amount::Fraction(1.0), biases: false, ..session.state().recipe.clone() };
    let error = session.set(recipe.clone(), Step::Amount).unwrap_err().to_string();
    let most: f64 = error.split("at most ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    session.set(Recipe { amount: Amount::Fraction(most / 100.0 - 0.001), ..recipe }, Step::Amount).unwrap();
}
