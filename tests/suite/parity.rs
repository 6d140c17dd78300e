//! Pruning compared with `torch.nn.utils.prune`, case by case, on the host and on the device.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::HashMap;
use std::path::Path;

use secateur::device::ComputeDevice;
use secateur::onnx::Values;
use secateur::prune::{Amount, Masked, Method, Pattern, Recipe, Score, Step};
use secateur::session::Session;
use secateur::watch::Unwatched;
use serde_json::Value;

use crate::adapter;

const DIGITS: [&str; 2] = ["mobilenetv4_digits", "assets/mobilenetv4_digits.onnx"];
const ARTICLE: [&str; 2] = ["mobilenetv4_r224_3classes", "tests/models/mobilenetv4_r224_3classes.onnx"];

fn open(file: &str, device: Option<ComputeDevice>) -> Session {
    let mut session = Session::open(Path::new(file), &Unwatched).unwrap();
    if let Some(device) = device {
        session.use_device(&device);
    }
    session
}

/// Numbers per parameter, slices and groups of a model by numpy and PyTorch.
fn allocations(model: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(format!("tests/reference/{model}_allocations.json")).unwrap()).unwrap()
}

/// Every case of a model, or one of so many.
fn compare([model, file]: [&str; 2], step: usize, device: Option<ComputeDevice>) {
    let mut session = open(file, device);
    let reference: Value = serde_json::from_str(&std::fs::read_to_string(format!("tests/reference/{model}.json")).unwrap()).unwrap();
    let cases = reference["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 100);
    for case in cases.iter().step_by(step) {
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
    compare(DIGITS, 1, None);
}

#[test]
fn article_network_is_pruned_as_pytorch_does() {
    compare(ARTICLE, 1, None);
}

#[test]
fn digits_network_is_pruned_as_pytorch_does_on_the_device() {
    let Some(device) = adapter::adapter() else { return };
    // On the host every case is compared; on the device every other one, and every third of the other network.
    compare(DIGITS, 2, Some(device));
}

#[test]
fn article_network_is_pruned_as_pytorch_does_on_the_device() {
    let Some(device) = adapter::adapter() else { return };
    compare(ARTICLE, 3, Some(device));
}

/// Numbers per parameter by the published formulas in numpy: LAMP, norm, Erdős-Rényi-Kernel and uniform+.
fn allocate([model, file]: [&str; 2], device: Option<ComputeDevice>) {
    let (mut session, reference) = (open(file, device), allocations(model));
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
    // The window lets it stand, so that the other method can go on.
    session.set(recipe.clone(), Step::Amount).unwrap();
    let error = session.engine().outcome(session.state()).unwrap_err().to_string();
    let most: f64 = error.split("at most ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    session.set(Recipe { amount: Amount::Fraction(most / 100.0 - 0.001), ..recipe }, Step::Amount).unwrap();
    session.engine().outcome(session.state()).unwrap();
}

/// Slices and N:M groups as PyTorch and numpy choose them, and every choice the same on host and device.
fn patterns([model, file]: [&str; 2], device: Option<ComputeDevice>) {
    let (mut session, reference) = (open(file, device), allocations(model));
    let names: Vec<&str> = reference["parameters"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    let mut compared = 0;
    for case in reference["cases"].as_array().unwrap() {
        let method = case["method"].as_str().unwrap();
        let text = if case["channels"].is_array() { format!("{method}:{}", case["dim"]) } else { method.to_owned() };
        let Ok(pattern) = text.parse::<Pattern>() else { continue };
        let amount = Amount::Fraction(case["amount"].as_f64().unwrap_or(0.0));
        let recipe = Recipe { pattern, method: Method::LayerWise, amount, biases: false, ..session.state().recipe.clone() };
        let what = format!("{model}: {pattern} {amount:?}");
        session.set(recipe, Step::Amount).unwrap();
        let engine = session.engine().clone();
        let graph = &engine.model().graph;
        let outcome = engine.outcome_on_device(session.state()).unwrap();
        let masks = engine.masks(session.state()).unwrap();
        assert!(masks == engine.host_masks(session.state()).unwrap(), "{what}");
        for (i, name) in names.iter().enumerate() {
            let (id, parameter) = graph.parameters.iter().enumerate().find(|(_, p)| p.name == *name).unwrap();
            let row = parameter.elements / parameter.shape[0];
            let mask = masks.get(&secateur::graph::ParameterId(id)).map(|masks| &masks.mask);
            if let Some(channels) = case["channels"].as_array() {
                let mask = mask.unwrap();
                let gone: Vec<u64> = (0..parameter.shape[0])
                    .filter(|channel| (channel * row..(channel + 1) * row).all(|i| mask.is_pruned(i)))
                    .map(|channel| channel as u64)
                    .collect();
                let wanted: Vec<u64> = channels[i].as_array().unwrap().iter().map(|c| c.as_u64().unwrap()).collect();
                assert_eq!(gone, wanted, "{what}: {name}");
                assert_eq!(mask.pruned(), (gone.len() * row) as u64, "{what}: {name}");
            } else if let Some(wanted) = case["pruned"][i].as_u64() {
                assert_eq!(outcome.masked[id], wanted, "{what}: {name}");
                // In every group the kept ones are the largest.
                let Pattern::Groups { keep, of } = pattern else { unreachable!("{what}") };
                let (keep, of) = (usize::from(keep), usize::from(of));
                let Some(Values::F32(values)) = engine.model().file.floats(parameter.tensor).unwrap() else { unreachable!() };
                let kernel: usize = parameter.shape[2..].iter().product();
                for group in 0..parameter.elements / of {
                    let first = group / kernel * of * kernel + group % kernel;
                    let (gone, kept): (Vec<usize>, Vec<usize>) =
                        (0..of).map(|n| first + n * kernel).partition(|&i| mask.unwrap().is_pruned(i));
                    assert_eq!(kept.len(), keep, "{what}: {name}");
                    let most = gone.iter().map(|&i| values[i].abs()).fold(0.0, f32::max);
                    assert!(kept.iter().all(|&i| values[i].abs() >= most), "{what}: {name}");
                }
            } else {
                assert!(mask.is_none(), "{what}: {name} does not divide and is left");
            }
        }
        compared += 1;
    }
    assert_eq!(compared, 7);
}

#[test]
fn slices_and_groups_are_those_of_pytorch() {
    patterns(DIGITS, None);
    patterns(ARTICLE, None);
}

#[test]
fn slices_and_groups_are_those_of_pytorch_on_the_device() {
    let Some(device) = adapter::adapter() else { return };
    patterns(DIGITS, Some(device));
}

/// Twenty steps with other scores, patterns and methods than before: masks only grow, the device makes the same, undo gives back each.
fn mixed_steps(device: Option<ComputeDevice>) {
    let mut session = open(DIGITS[1], device);
    let opened = session.state().clone();
    let recipes = [
        (Score::Magnitude, "elements", Method::Lamp),
        (Score::Random(3), "elements", Method::Global),
        (Score::Magnitude, "l2:0", Method::LayerWise),
        (Score::Magnitude, "elements", Method::Global),
        (Score::Random(4), "l1:1", Method::Erk),
        (Score::Magnitude, "12:16", Method::Global),
        (Score::Magnitude, "linf:0", Method::Global),
    ];
    let mut seen = Vec::new();
    for step in 0..20 {
        let (score, pattern, method) = recipes[step % recipes.len()].clone();
        let recipe =
            Recipe { score, pattern: pattern.parse().unwrap(), method, amount: Amount::Fraction(0.1), ..session.state().recipe.clone() };
        let what = format!("step {step}: {pattern} {method:?}");
        session.set(recipe, Step::Amount).unwrap();
        let outcome = session.engine().outcome_on_device(session.state()).unwrap_or_else(|e| panic!("{what}: {e}"));
        let masks = session.engine().masks(session.state()).unwrap();
        assert!(masks == session.engine().host_masks(session.state()).unwrap(), "{what}");
        for (id, masks) in &masks {
            assert_eq!(masks.mask.pruned(), outcome.masked[id.0], "{what}");
            let mut zeroed = masks.zeroed();
            let parameter = session.model().graph.parameter(*id);
            let mut values = session.model().file.floats(parameter.tensor).unwrap().unwrap();
            zeroed.apply(&mut values);
            assert_eq!(values.zeros(), outcome.zeros[id.0], "{what}: {}", parameter.name);
            if let Some((_, before)) = seen.last().and_then(|before: &secateur::export::Masks| before.get_key_value(id)) {
                zeroed.join(&before.zeroed());
                assert_eq!(zeroed.pruned(), masks.zeroed().pruned(), "{what}: what was masked stays masked");
            }
        }
        seen.push(masks);
        if step % 5 == 4 { session.fix().unwrap() } else { session.apply().unwrap() }
    }
    assert!(session.state().earlier.len() == 20 && session.state().earlier.iter().filter(|step| step.is_fixed).count() == 4);
    for masks in seen.iter().rev() {
        session.undo().unwrap();
        assert!(session.engine().host_masks(session.state()).unwrap() == *masks);
        session.undo().unwrap();
    }
    assert!(session.undo().is_none() && *session.state() == opened && opened.kept.iter().all(Masked::is_nothing));
}

#[test]
fn steps_of_every_kind_follow_one_another() {
    mixed_steps(None);
}

#[test]
fn steps_of_every_kind_follow_one_another_on_the_device() {
    let Some(device) = adapter::adapter() else { return };
    mixed_steps(Some(device));
}
