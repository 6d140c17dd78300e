//! What a session does to its model, step by step, compared with sorting everything anew after each step.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::Path;

use onnx_ir::Message;
use proptest::prelude::*;
use secateur::engine::EngineError;
use secateur::graph::ParameterId;
use secateur::onnx::Values;
use secateur::prune::{Amount, Masked, Method, Recipe, State, Step, Weights};
use secateur::session::Session;
use secateur::watch::Unwatched;

use crate::adapter::adapter;
use crate::tiny;

const DEMO: &str = "assets/mobilenetv4_digits.onnx";

/// A session on linear layers with these weights and biases.
fn session(layers: &[(Vec<f32>, Vec<f32>)]) -> Session {
    let (mut nodes, mut tensors) = (Vec::new(), Vec::new());
    for (i, (weight, bias)) in layers.iter().enumerate() {
        let (weight_name, bias_name, output) = (format!("fc{i}.weight"), format!("fc{i}.bias"), format!("y{i}"));
        nodes.push(tiny::gemm(&["x", &weight_name, &bias_name], &output));
        tensors.push(tiny::tensor(&weight_name, &[1, weight.len()], tiny::FLOAT, tiny::bytes(weight)));
        tensors.push(tiny::tensor(&bias_name, &[bias.len()], tiny::FLOAT, tiny::bytes(bias)));
    }
    open(&tiny::model(nodes, tensors))
}

fn open(model: &onnx_ir::ModelProto) -> Session {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, model.write_to_bytes().unwrap()).unwrap();
    Session::open(&path, &Unwatched).unwrap()
}

/// Sets method and amount as a step of its own.
fn set(session: &mut Session, method: Method, amount: Amount) -> Result<(), EngineError> {
    let recipe = Recipe { method, amount, ..session.state().recipe.clone() };
    session.set(recipe, Step::Amount)?;
    session.end_drag();
    Ok(())
}

fn half(session: &mut Session) {
    set(session, Method::Global, Amount::Fraction(0.5)).unwrap();
}

fn bits(values: &Values) -> Vec<u64> {
    match values {
        Values::F32(v) => v.iter().map(|x| u64::from(x.to_bits())).collect(),
        Values::F64(v) => v.iter().map(|x| x.to_bits()).collect(),
    }
}

/// Every parameter as it is saved, bit for bit.
fn weights(session: &mut Session) -> Vec<Vec<u64>> {
    let model = session.model().clone();
    let mut all: Vec<Vec<u64>> = model.graph.parameters.iter().map(|p| bits(&model.file.floats(p.tensor).unwrap().unwrap())).collect();
    for (id, _, values) in session.engine().pruned_weights(session.state()).unwrap() {
        all[id.0] = bits(&values);
    }
    all
}

/// The same network, by brute force: every element with its mask, and no memory of how it came about.
#[derive(Clone, Debug)]
struct Reference {
    recipe: Recipe,
    values: Vec<Vec<f32>>,
    masks: Vec<Vec<bool>>,
}

impl Reference {
    fn new(session: &Session) -> Self {
        let model = session.model();
        let values: Vec<Vec<f32>> =
            model.graph.parameters.iter().map(|p| model.file.floats(p.tensor).unwrap().unwrap().into_f32()).collect();
        let masks = values.iter().map(|v| vec![false; v.len()]).collect();
        Self { recipe: session.state().recipe.clone(), values, masks }
    }

    fn scope(&self) -> Vec<usize> {
        let inside = |p: &usize| self.recipe.ticked[p / 2] && !self.recipe.locked[p / 2] && (self.recipe.biases || p.is_multiple_of(2));
        (0..self.values.len()).filter(inside).collect()
    }

    /// The masks with the present amount in them; `None` where it does not fit, or there is nothing to prune.
    fn masked(&self) -> Option<Vec<Vec<bool>>> {
        let scope = self.scope();
        if scope.iter().all(|&p| self.values[p].is_empty()) {
            return None;
        }
        let rows = match self.recipe.method {
            Method::Global => vec![scope],
            Method::LayerWise => scope.into_iter().map(|p| vec![p]).collect(),
            other => unreachable!("{other:?} is not among the steps"),
        };
        let mut masks = self.masks.clone();
        for row in rows {
            let mut left: Vec<(u32, usize, usize)> = Vec::new();
            for &p in &row {
                let free = (0..self.values[p].len()).filter(|&i| !self.masks[p][i]);
                left.extend(free.map(|i| (key(self.values[p][i]), p, i)));
            }
            left.sort_unstable();
            let count = match self.recipe.amount {
                Amount::Fraction(f) => (f * left.len() as f64).round_ties_even() as usize,
                Amount::Count(n) => n as usize,
            };
            for &(_, p, i) in left.get(..count)? {
                masks[p][i] = true;
            }
        }
        Some(masks)
    }

    fn without_amount(&mut self) {
        self.recipe.amount = Amount::Fraction(0.0);
    }

    fn weights(&self, masks: &[Vec<bool>]) -> Vec<Vec<u64>> {
        let of = |(values, mask): (&Vec<f32>, &Vec<bool>)| {
            values.iter().zip(mask).map(|(v, &m)| if m { 0 } else { u64::from(v.to_bits()) }).collect()
        };
        self.values.iter().zip(masks).map(of).collect()
    }

    fn fix(&mut self, masks: &[Vec<bool>]) {
        for ((values, mask), applied) in self.values.iter_mut().zip(masks).zip(&mut self.masks) {
            values.iter_mut().zip(mask).filter(|(_, m)| **m).for_each(|(v, _)| *v = 0.0);
            applied.fill(false);
        }
        self.without_amount();
    }
}

/// NaN above infinity; the sign does not matter.
fn key(value: f32) -> u32 {
    if value.is_nan() { u32::MAX } else { value.abs().to_bits() }
}

#[derive(Clone, Debug)]
enum Act {
    Set(Method, Amount),
    Scope { ticked: Vec<bool>, locked: Vec<bool>, biases: bool },
    Apply,
    Fix,
    Reset,
    Undo,
    Redo,
}

fn value() -> impl Strategy<Value = f32> {
    prop_oneof![
        3 => prop::sample::select(vec![0.0, -0.0, 0.25, -0.25, 0.5, -0.5, 1.0, 1e-45, f32::NAN, f32::INFINITY, f32::NEG_INFINITY]),
        1 => any::<f32>(),
    ]
}

fn layers() -> impl Strategy<Value = Vec<(Vec<f32>, Vec<f32>)>> {
    prop::collection::vec((prop::collection::vec(value(), 1..150), prop::collection::vec(value(), 1..5)), 1..4)
}

fn act() -> impl Strategy<Value = Act> {
    let method = prop::sample::select(Method::PAIR.to_vec());
    let amount = prop_oneof![
        (0.0..=1.0).prop_map(Amount::Fraction),
        prop::sample::select(vec![0.0, 0.5, 1.0]).prop_map(Amount::Fraction),
        (0_u64..40).prop_map(Amount::Count)
    ];
    let flags = || prop::collection::vec(prop::bool::weighted(0.7), 3);
    prop_oneof![
        6 => (method, amount).prop_map(|(method, amount)| Act::Set(method, amount)),
        2 => (flags(), flags(), any::<bool>()).prop_map(|(ticked, kept, biases)| Act::Scope { ticked, locked: kept.iter().map(|k| !k).collect(), biases }),
        2 => Just(Act::Apply),
        2 => Just(Act::Fix),
        1 => Just(Act::Reset),
        2 => Just(Act::Undo),
        1 => Just(Act::Redo),
    ]
}

/// One step on both sides; `past` and `future` are the reference's history.
fn step(session: &mut Session, reference: &mut Reference, past: &mut Vec<Reference>, future: &mut Vec<Reference>, act: Act) {
    let before = (session.state().clone(), reference.clone());
    match act {
        Act::Undo | Act::Redo => {
            let is_undo = matches!(act, Act::Undo);
            let (from, to) = if is_undo { (past, future) } else { (future, past) };
            let result = if is_undo { session.undo() } else { session.redo() };
            assert_eq!(result.is_some(), !from.is_empty());
            if let Some(state) = from.pop() {
                to.push(std::mem::replace(reference, state));
            }
            return;
        }
        Act::Set(method, amount) => {
            let recipe = Recipe { method, amount, ..reference.recipe.clone() };
            adopt(session, reference, recipe, Step::Amount);
        }
        Act::Scope { ticked, locked, biases } => {
            let n = reference.recipe.ticked.len();
            let recipe = Recipe { ticked: ticked[..n].to_vec(), locked: locked[..n].to_vec(), biases, ..reference.recipe.clone() };
            adopt(session, reference, recipe, Step::Tick);
        }
        Act::Apply => {
            let masks = reference.masked();
            assert_eq!(session.apply().is_ok(), masks.is_some());
            if let Some(masks) = masks {
                reference.masks = masks;
                reference.without_amount();
            }
        }
        Act::Fix => {
            let masks = reference.masked();
            assert_eq!(session.fix().is_ok(), masks.is_some());
            if let Some(masks) = masks {
                reference.fix(&masks);
            }
        }
        Act::Reset => {
            session.reset();
            reference.masks.iter_mut().for_each(|mask| mask.fill(false));
            reference.without_amount();
        }
    }
    session.end_drag();
    if *session.state() != before.0 {
        past.push(before.1);
        future.clear();
    }
}

/// Recipes that do not fit are refused by both, and change nothing.
fn adopt(session: &mut Session, reference: &mut Reference, recipe: Recipe, step: Step) {
    let wanted = Reference { recipe: recipe.clone(), ..reference.clone() };
    let is_empty = wanted.scope().is_empty();
    let before = session.state().clone();
    let result = session.set(recipe, step);
    assert_eq!(result.is_ok(), is_empty || wanted.masked().is_some(), "{result:?}");
    if result.is_ok() {
        *reference = wanted;
    } else {
        assert_eq!(*session.state(), before);
    }
}

/// Masks, weights and numbers are those of the reference.
fn agree(session: &mut Session, reference: &Reference) {
    let Some(masks) = reference.masked() else { return };
    let outcome = session.engine().outcome(session.state()).unwrap();
    let counts: Vec<u64> = masks.iter().map(|mask| mask.iter().filter(|m| **m).count() as u64).collect();
    assert_eq!(outcome.masked, counts);
    let found = session.engine().masks(session.state()).unwrap();
    assert_eq!(found, session.engine().host_masks(session.state()).unwrap(), "the device's masks and the host's");
    for (id, found) in &found {
        let bits: Vec<bool> = (0..found.mask.len()).map(|i| found.mask.is_pruned(i)).collect();
        assert_eq!(bits, masks[id.0], "mask of parameter {}", id.0);
    }
    for (p, mask) in masks.iter().enumerate() {
        assert!(found.contains_key(&ParameterId(p)) || !mask.contains(&true), "parameter {p} is pruned and has no mask");
    }
    assert_eq!(weights(session), reference.weights(&masks));
    let zeros: Vec<u64> = reference.weights(&masks).iter().map(|w| w.iter().filter(|b| **b << 33 == 0).count() as u64).collect();
    assert_eq!(outcome.zeros, zeros);
    let apart = as_bits(session);
    let same = session.engine().outcome(&apart).unwrap();
    assert_eq!(
        (&same.masked, &same.zeros, &same.emptied, same.pruned),
        (&outcome.masked, &outcome.zeros, &outcome.emptied, outcome.pruned)
    );
    assert_eq!(session.engine().host_masks(&apart).unwrap(), session.engine().host_masks(session.state()).unwrap(), "as bits");
    assert_eq!(session.engine().masks(&apart).unwrap(), found, "as bits, on the device");
}

/// The same state, with masks and fixed elements as bits and not as prefixes of a ranking.
fn as_bits(session: &Session) -> State {
    let (engine, state) = (session.engine(), session.state());
    let before = state.with(Recipe { amount: Amount::Fraction(0.0), ..state.recipe.clone() });
    let masks = engine.host_masks(&before).unwrap();
    let (mut kept, mut weights) = (before.kept.to_vec(), before.weights.to_vec());
    for (id, masks) in masks {
        kept[id.0] = Masked::Bits(masks.mask.into());
        weights[id.0] = Weights::Zeroed(Masked::Bits(masks.fixed.into()));
    }
    State { kept: kept.into(), weights: weights.into(), ..state.clone() }
}

fn run(mut session: Session, acts: Vec<Act>) {
    let dense = Reference::new(&session);
    let mut reference = dense.clone();
    let (mut past, mut future) = (Vec::new(), Vec::new());
    for act in acts {
        step(&mut session, &mut reference, &mut past, &mut future, act);
        agree(&mut session, &reference);
    }
    while session.undo().is_some() {}
    agree(&mut session, &dense);
    assert_eq!(weights(&mut session), dense.weights(&dense.masks), "undone to the first byte");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn any_history_equals_sorting_everything(layers in layers(), acts in prop::collection::vec(act(), 1..15)) {
        run(session(&layers), acts);
    }
}

#[test]
fn any_history_on_the_device_equals_sorting_everything() {
    let Some(device) = adapter() else { return };
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) };
    proptest!(config, |(layers in layers(), acts in prop::collection::vec(act(), 1..10))| {
        let mut session = session(&layers);
        session.use_device(&device);
        run(session, acts);
    });
}

/// 1 to 100, in an order of no meaning.
fn hundred() -> Session {
    session(&[((0..100).map(|i| ((i * 37) % 100 + 1) as f32).collect(), vec![1000.0])])
}

fn zeros(session: &Session) -> u64 {
    session.engine().outcome(session.state()).unwrap().zeros[0]
}

#[test]
fn applied_twice_prunes_what_is_left() {
    let mut session = hundred();
    set(&mut session, Method::LayerWise, Amount::Fraction(0.2)).unwrap();
    session.apply().unwrap();
    assert_eq!(session.state().recipe.amount, Amount::Fraction(0.0));
    assert_eq!(zeros(&session), 20);
    set(&mut session, Method::LayerWise, Amount::Fraction(0.5)).unwrap();
    assert_eq!(zeros(&session), 60);
    session.reset();
    assert_eq!(zeros(&session), 0);
    session.undo().unwrap();
    assert_eq!(zeros(&session), 60);
}

#[test]
fn fixed_zeros_are_simply_the_smallest() {
    let mut session = hundred();
    set(&mut session, Method::LayerWise, Amount::Fraction(0.2)).unwrap();
    session.fix().unwrap();
    assert_eq!((zeros(&session), session.engine().outcome(session.state()).unwrap().masked[0]), (20, 0));
    set(&mut session, Method::LayerWise, Amount::Fraction(0.5)).unwrap();
    assert_eq!((zeros(&session), session.engine().outcome(session.state()).unwrap().masked[0]), (50, 50));
    set(&mut session, Method::LayerWise, Amount::Fraction(0.1)).unwrap();
    let outcome = session.engine().outcome(session.state()).unwrap();
    assert_eq!((outcome.zeros[0], outcome.masked[0], outcome.cuts[0]), (20, 10, Some(0.0)));
    session.reset();
    assert_eq!(zeros(&session), 20, "reset leaves what is fixed");
}

#[test]
fn undo_and_redo_restore_every_byte_of_the_demo() {
    let mut session = Session::open(Path::new(DEMO), &Unwatched).unwrap();
    let mut seen = vec![weights(&mut session)];
    half(&mut session);
    seen.push(weights(&mut session));
    session.fix().unwrap();
    seen.push(weights(&mut session));
    set(&mut session, Method::LayerWise, Amount::Fraction(0.7)).unwrap();
    seen.push(weights(&mut session));
    session.fix().unwrap();
    seen.push(weights(&mut session));
    assert!(seen[0] != seen[1] && seen[1] == seen[2] && seen[2] != seen[3] && seen[3] == seen[4]);
    for wanted in seen.iter().rev().skip(1) {
        session.undo().unwrap();
        assert!(weights(&mut session) == *wanted);
    }
    assert_eq!(session.undo(), None);
    for wanted in &seen[1..] {
        session.redo().unwrap();
        assert!(weights(&mut session) == *wanted);
    }
    assert_eq!(session.redo(), None);
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut session = hundred();
    half(&mut session);
    let before = session.state().clone();
    for amount in [Amount::Fraction(1.1), Amount::Fraction(-0.1), Amount::Fraction(f64::NAN), Amount::Count(102)] {
        assert!(set(&mut session, Method::Global, amount).is_err(), "{amount:?}");
        assert_eq!(*session.state(), before);
    }
    let nothing = Recipe { ticked: vec![false], ..before.recipe.clone() };
    session.set(nothing, Step::Tick).unwrap();
    let before = session.state().clone();
    assert!(
        session.engine().outcome(session.state()).is_err()
            && session.fix().is_err()
            && session.apply().is_err()
            && session.engine().masks(session.state()).is_err()
    );
    assert_eq!(*session.state(), before);
}

#[test]
fn unsaved_is_what_a_save_would_change() {
    let mut session = hundred();
    assert!(!session.is_unsaved());
    half(&mut session);
    session.fix().unwrap();
    assert!(session.is_unsaved());
    let folder = tempfile::tempdir().unwrap();
    let format = secateur::export::Format::Onnx;
    session.save(&folder.path().join("a.onnx"), format, secateur::atomic::Overwrite::Refuse).unwrap();
    assert!(!session.is_unsaved());
    session.undo().unwrap();
    assert!(session.is_unsaved());
    session.redo().unwrap();
    assert!(!session.is_unsaved());
}

#[test]
fn ties_on_the_device_go_by_index_also_after_a_fix() {
    let Some(device) = adapter() else { return };
    let mut session = session(&[(vec![0.5; 70], vec![0.0; 3]), (vec![-0.5; 70], vec![0.5; 3])]);
    session.use_device(&device);
    for count in [1, 4, 40, 73, 100] {
        set(&mut session, Method::Global, Amount::Count(count)).unwrap();
        assert_eq!(session.engine().masks(session.state()).unwrap(), session.engine().host_masks(session.state()).unwrap(), "{count}");
        let (found, host) =
            (session.engine().outcome_on_device(session.state()).unwrap(), session.engine().outcome(session.state()).unwrap());
        assert_eq!(found, host, "{count}");
    }
    set(&mut session, Method::Global, Amount::Count(40)).unwrap();
    session.fix().unwrap();
    for count in [1, 4, 40, 41, 73, 100] {
        set(&mut session, Method::Global, Amount::Count(count)).unwrap();
        assert_eq!(
            session.engine().masks(session.state()).unwrap(),
            session.engine().host_masks(session.state()).unwrap(),
            "{count}, fixed"
        );
        assert_eq!(
            session.engine().outcome_on_device(session.state()).unwrap(),
            session.engine().outcome(session.state()).unwrap(),
            "{count}, fixed"
        );
    }
}

/// Doubles have no place on a GPU. What was pruned of them is not to be lost when they leave the scope.
#[test]
fn pruned_doubles_outside_the_scope_stay_pruned_on_the_device() {
    let Some(device) = adapter() else { return };
    let doubles: Vec<u8> = [3.0_f64, 1.0, 2.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let nodes = vec![tiny::gemm(&["x", "wide.weight"], "a"), tiny::gemm(&["x", "narrow.weight"], "b")];
    let tensors = vec![
        tiny::tensor("wide.weight", &[1, 4], 11, doubles),
        tiny::tensor("narrow.weight", &[1, 4], tiny::FLOAT, tiny::bytes(&[5.0, 7.0, 6.0, 8.0])),
    ];
    for is_fixed in [true, false] {
        let mut session = open(&tiny::model(nodes.clone(), tensors.clone()));
        session.use_device(&device);
        set(&mut session, Method::LayerWise, Amount::Fraction(0.5)).unwrap();
        let pruned = if is_fixed { session.fix() } else { session.apply() };
        pruned.unwrap();
        let recipe = Recipe { ticked: vec![false, true], amount: Amount::Fraction(0.5), ..session.state().recipe.clone() };
        session.set(recipe, Step::Tick).unwrap();
        assert_eq!(session.engine().masks(session.state()).unwrap(), session.engine().host_masks(session.state()).unwrap());
        let wanted: Vec<u64> = [3.0_f64, 0.0, 0.0, 4.0].map(f64::to_bits).to_vec();
        assert_eq!(weights(&mut session)[0], wanted);
    }
}

/// Steps that go on from bits come to what steps from prefixes come to.
#[test]
fn steps_go_on_from_bits() {
    let weights: Vec<f32> = (0..150).map(|i| ((i * 37 % 101) as f32 - 50.0) / 7.0).collect();
    let mut session = session(&[(weights.clone(), vec![0.5, 0.25]), (weights, vec![1.0])]);
    half(&mut session);
    session.fix().unwrap();
    set(&mut session, Method::LayerWise, Amount::Fraction(0.2)).unwrap();
    session.apply().unwrap();
    set(&mut session, Method::Global, Amount::Fraction(0.3)).unwrap();
    let (engine, apart) = (session.engine().clone(), as_bits(&session));
    for (kept, fixed) in [(session.state().clone(), false), (apart, true)].map(|(state, is_bits)| (engine.keep(&state).unwrap(), is_bits)) {
        let fixed_now = engine.fix(&kept).unwrap();
        assert!(fixed_now.kept.iter().all(Masked::is_nothing) && fixed_now.has_fixed());
        assert_eq!(kept.kept.iter().any(|masked| matches!(masked, Masked::Bits(_))), fixed);
        let zeroed = |state: &State| engine.pruned_weights(state).unwrap();
        assert_eq!(zeroed(&kept), zeroed(&fixed_now));
        assert_eq!(zeroed(&kept), zeroed(session.state()));
    }
}
