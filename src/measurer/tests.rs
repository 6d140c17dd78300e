use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::prune::{Amount, Method, Recipe};
use crate::watch::Unwatched;

const MODEL: ModelId = ModelId(1);
/// A finding that does not come in this time does not come.
const PATIENCE: Duration = Duration::from_mins(2);

fn engine() -> Arc<Engine> {
    Arc::new(Engine::open(Path::new("assets/mobilenetv4_digits.onnx"), &Unwatched).unwrap())
}

fn at(engine: &Engine, amount: f64) -> Position {
    let opened = engine.opened();
    let state = opened.with(Recipe { amount: Amount::Fraction(amount), ..opened.recipe.clone() });
    Position { state, beside: Method::LayerWise }
}

/// What is found until `is_last`, that included.
fn until(findings: &Receiver<Finding>, is_last: impl Fn(&Finding) -> bool) -> Vec<Finding> {
    let mut found = Vec::new();
    loop {
        found.push(findings.recv_timeout(PATIENCE).unwrap());
        if found.last().is_some_and(&is_last) {
            return found;
        }
    }
}

fn losses(found: &[Finding]) -> usize {
    found.iter().filter(|finding| matches!(finding, Finding::Losses(_))).count()
}

#[test]
fn a_panic_is_told_and_the_next_request_is_done() {
    let (sender, findings) = unbounded();
    let panics = AtomicBool::new(true);
    let measurer = Measurer::start(move |_, finding| {
        assert!(!matches!(finding, Finding::Losses(_)) || !panics.swap(false, Ordering::Relaxed), "the window is confused");
        sender.send(finding).unwrap();
    })
    .unwrap();
    let engine = engine();
    measurer.open(MODEL, engine.clone(), engine.clone());
    measurer.move_to(MODEL, at(&engine, 0.5));
    let told = until(&findings, |finding| matches!(finding, Finding::Failed(_)));
    assert!(matches!(told.last(), Some(Finding::Failed(why)) if why.contains("the window is confused")), "{told:?}");
    measurer.ask(MODEL, Request::Time(1));
    until(&findings, |finding| matches!(finding, Finding::Speed(_)));
    measurer.move_to(MODEL, at(&engine, 0.6));
    until(&findings, |finding| matches!(finding, Finding::Losses(_)));
}

#[test]
fn a_repeated_position_is_measured_once() {
    let (sender, findings) = unbounded();
    let measurer = Measurer::start(move |_, finding| drop(sender.send(finding))).unwrap();
    let engine = engine();
    measurer.open(MODEL, engine.clone(), engine.clone());
    measurer.move_to(MODEL, at(&engine, 0.5));
    assert_eq!(losses(&until(&findings, |finding| matches!(finding, Finding::Losses(_)))), 1);
    for _ in 0..5 {
        measurer.move_to(MODEL, at(&engine, 0.5));
    }
    measurer.ask(MODEL, Request::Noise);
    measurer.ask(MODEL, Request::Weigh(true));
    let found = until(&findings, |finding| matches!(finding, Finding::Sizes(_)));
    assert!(losses(&found) <= 1, "the noise is another question; the position is not: {}", losses(&found));
    measurer.move_to(MODEL, at(&engine, 0.7));
    until(&findings, |finding| matches!(finding, Finding::Sizes(sizes) if sizes.recipe.amount == Amount::Fraction(0.7)));
}

#[test]
fn what_is_meant_for_another_model_is_dropped() {
    let (sender, findings) = unbounded();
    let measurer = Measurer::start(move |model, finding| drop(sender.send((model, finding)))).unwrap();
    let engine = engine();
    measurer.open(ModelId(2), engine.clone(), engine.clone());
    measurer.ask(MODEL, Request::Noise);
    measurer.move_to(MODEL, at(&engine, 0.5));
    measurer.move_to(ModelId(2), at(&engine, 0.1));
    let (model, first) = findings.recv_timeout(PATIENCE).unwrap();
    assert_eq!(model, ModelId(2));
    assert!(matches!(first, Finding::Losses(losses) if losses.recipe.amount == Amount::Fraction(0.1)));
}

/// Behind a cancel no layer is begun but the one that may be on its way to be told.
#[test]
fn a_repair_ends_at_once_where_it_is_cancelled() {
    let (sender, findings) = unbounded();
    let measurer = Measurer::start(move |_, finding| drop(sender.send(finding))).unwrap();
    let engine = engine();
    measurer.open(MODEL, engine.clone(), engine.clone());
    measurer.ask(MODEL, Request::Images("assets/digits.npz".into()));
    measurer.move_to(MODEL, at(&engine, 0.8));
    until(&findings, |finding| matches!(finding, Finding::Cost(cost) if cost.is_whole));
    for (is_thorough, layer) in [false, true].into_iter().flat_map(|thorough| (0..5).map(move |layer| (thorough, layer * 9))) {
        measurer.ask(MODEL, Request::Repair(RepairChoice { is_thorough, ..RepairChoice::default() }, None));
        for _ in 0..=layer {
            until(&findings, |finding| matches!(finding, Finding::Repairing(_, part) if part.what.starts_with("Repairing")));
        }
        // Anywhere within a layer.
        std::thread::sleep(Duration::from_millis(3 * layer));
        while findings.try_recv().is_ok() {}
        measurer.stop();
        let told = until(&findings, |finding| matches!(finding, Finding::NotRepaired(_)));
        let begun = told.iter().filter(|finding| matches!(finding, Finding::Repairing(..))).count();
        assert!(begun <= 2, "{begun} more layers of {}", told.len());
        assert!(!told.iter().any(|finding| matches!(finding, Finding::Repaired(_))));
    }
}

#[test]
fn a_repair_comes_before_a_curve_that_goes_on_behind_it() {
    let (sender, findings) = unbounded();
    let measurer = Measurer::start(move |_, finding| drop(sender.send(finding))).unwrap();
    let engine = engine();
    measurer.open(MODEL, engine.clone(), engine.clone());
    measurer.ask(MODEL, Request::Images("assets/digits/3".into()));
    measurer.move_to(MODEL, at(&engine, 0.8));
    until(&findings, |finding| matches!(finding, Finding::Cost(cost) if cost.is_whole));
    measurer.ask(MODEL, Request::Curve(vec![Method::Global], None));
    until(&findings, |finding| matches!(finding, Finding::Curve(_)));
    measurer.ask(MODEL, Request::Repair(RepairChoice::default(), None));
    let before = until(&findings, |finding| matches!(finding, Finding::Repaired(_)));
    let behind = until(&findings, |finding| matches!(finding, Finding::Progress(None)));
    let points = |found: &[Finding]| {
        let mut curves = found.iter().rev().filter_map(|finding| if let Finding::Curve(curve) = finding { Some(curve) } else { None });
        curves.next().map(|curve| curve.points.of(Method::Global).unwrap().len())
    };
    assert!(points(&before).is_none_or(|points| points < 17));
    assert_eq!(points(&behind), Some(17));
}

#[test]
fn a_token_is_cancelled_by_what_makes_its_work_moot() {
    let noise = Message::Request(MODEL, Request::Noise);
    let scan = Message::Request(MODEL, Request::Scan);
    for kind in [TaskKind::Curve, TaskKind::Scan, TaskKind::Search, TaskKind::Time, TaskKind::Repair] {
        assert!(Message::Stop.interrupts(Doing::Task(kind)) && noise.interrupts(Doing::Task(kind)));
        assert!(!scan.interrupts(Doing::Task(kind)));
        assert_eq!(Message::Request(MODEL, Request::Curve(Vec::new(), None)).interrupts(Doing::Task(kind)), kind == TaskKind::Curve);
    }
    assert!(!Message::Stop.interrupts(Doing::Position) && noise.interrupts(Doing::Position));
    assert!(!Message::Request(MODEL, Request::Search(0.1, None)).interrupts(Doing::Position));
}
