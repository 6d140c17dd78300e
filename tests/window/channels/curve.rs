//! What removing channels costs over all amounts: the curve, with repair and without, what it is of, the search, a click, a cancel.

use std::path::Path;
use std::sync::Arc;

use eframe::egui::accesskit::Role;
use eframe::egui::{Key, Modifiers, Pos2, lerp};
use egui_kittest::kittest::{NodeT, Queryable};
use secateur::app::AppState;
use secateur::engine::Engine;
use secateur::evaluate::{Evaluator, Questions};
use secateur::images::{ImageSet, Preprocess};
use secateur::measure::Effect;
use secateur::measurer::ChannelCurve;
use secateur::watch::Unwatched;

use super::super::driver::{DEMO, Window};
use super::super::effect::{IMAGES, click_at, reveal, window as with_digits};
use super::{look, set, settled};

const TITLE: &str = "Accuracy against amount";

fn window() -> Window {
    let mut window = with_digits();
    start(&mut window);
    window
}

/// Would remove something, and has measured what that costs.
fn start(window: &mut Window) {
    look(window);
    set(window, "30");
    window.wait("its effect", |s| s.channels.twin.as_ref().is_some_and(|twin| twin.is_whole) && settled(s).is_some());
}

/// Does what a button says, and waits for its end.
fn measure(window: &mut Window, button: &str) {
    reveal(window, Role::Button, button);
    window.button(button);
    window.wait("its beginning", |s| s.costs.progress.is_some());
    window.wait("its end", |s| s.costs.progress.is_none());
}

fn curve(state: &AppState) -> Arc<ChannelCurve> {
    state.channels.curve.clone().unwrap()
}

fn top1(points: &[(f64, Effect)], from: f64) -> f64 {
    points.iter().find(|(gone, _)| *gone >= from).unwrap().1.top1.unwrap()
}

#[test]
fn the_curve_is_that_of_masked_twins_and_a_click_moves_the_slider() {
    let mut window = window();
    assert!(window.says("Measure the curve to see how far removing channels can go."));
    measure(&mut window, "Measure the curve");
    let curve = curve(window.state());
    let points = &curve.points;
    assert!(points.len() > 10 && curve.repaired.is_empty(), "{} and {}", points.len(), curve.repaired.len());
    assert!(points.is_sorted_by(|a, b| a.0 < b.0) && points[0].0 == 0.0 && points.last().unwrap().0 > 0.85);

    // As without a window.
    let engine = Arc::new(Engine::open(Path::new(DEMO), &Unwatched).unwrap());
    let set = Arc::new(ImageSet::open(&window.path("some digits"), None).unwrap());
    let graph = engine.model().graph.clone();
    let (preprocess, _) = Preprocess::for_model(&graph, Path::new(DEMO));
    let questions = Questions::images(&graph, set, preprocess, None, IMAGES).unwrap();
    let mut evaluator = Evaluator::new(engine.clone(), questions, None);
    let chosen = settled(window.state()).unwrap();
    for share in [0.0, 0.225, 0.45] {
        let at = chosen.at(share);
        let twin = engine.twin(&engine.opened(), &at.found.channels, &at.removed).unwrap();
        let effect = evaluator.effect(&twin, None, &Unwatched).unwrap();
        let point = points.iter().find(|(gone, _)| *gone == at.gone()).unwrap_or_else(|| panic!("no point at {}", at.gone()));
        assert_eq!((point.1.top1, point.1.mean_cosine), (effect.top1, effect.mean_cosine), "at {share}");
        assert!((at.gone() - share).abs() < 0.03);
    }

    reveal(&mut window, Role::Button, TITLE);
    for wanted in [0.6_f32, 0.2] {
        let rect = window.node(Role::Button, TITLE).rect();
        click_at(&mut window, Pos2::new(lerp(rect.x_range(), wanted), rect.center().y));
        window.wait("what goes there", |s| settled(s).is_some_and(|c| (c.plan.choice.amount.share - f64::from(wanted)).abs() < 0.011));
    }
    // Another amount is a place on the same curve; another rule is another curve.
    assert!(window.says(&TITLE.to_uppercase()));
    window.click(Role::ComboBox, "Multiples of");
    window.click(Role::RadioButton, "16");
    window.wait("other multiples", |s| settled(s).is_some());
    assert!(window.says("OF ANOTHER PLAN"));
    measure(&mut window, "Measure the curve");
    let other = window.state().channels.curve.clone().unwrap();
    assert!(other.plan.choice.granularity.multiple == 16 && other.points.len() > 5);
    assert!(!window.says("OF ANOTHER PLAN"));
}

#[test]
fn repair_within_the_curve_and_the_search_lets_more_channels_go() {
    let mut window = window();
    reveal(&mut window, Role::Button, "Find");
    window.enter_number("Points that may be lost", "15");
    measure(&mut window, "Find");
    let without = window.state().channels.bearable.clone().unwrap();
    window.click(Role::CheckBox, "With repair");
    measure(&mut window, "Find");
    let with = window.state().channels.bearable.clone().unwrap();
    assert!(with.is_repaired && !without.is_repaired && with.gone > without.gone + 0.1, "{} and {}", without.gone, with.gone);
    assert!(with.effect.images < without.effect.images && with.effect.top1.unwrap() >= 0.85 - 1e-9, "{:?}", with.effect.top1);
    let found = window.harness.query_all_by_role(Role::Button).filter_map(|node| node.accesskit_node().label());
    let found = found.into_iter().find(|label| label.ends_with(" repaired")).unwrap();
    window.button(&found);
    window.wait("the slider there", |s| settled(s).is_some_and(|chosen| chosen.plan.choice.amount.share == with.share));
    assert_eq!(settled(window.state()).unwrap().gone(), with.gone);

    measure(&mut window, "Measure the curve");
    let curve = curve(window.state());
    assert_eq!(curve.repaired.len(), curve.points.len());
    assert!(top1(&curve.repaired, 0.35) > top1(&curve.points, 0.35) + 0.3, "{:?}", curve.repair);
    reveal(&mut window, Role::Button, TITLE);
    assert!(window.says("not repaired, on 30 images") && window.says("images that did not calibrate"));
}

#[test]
fn a_curve_is_cancelled_goes_on_where_it_was_and_ends_with_another_plan() {
    let mut window = window();
    reveal(&mut window, Role::Button, "Measure the curve");
    window.click(Role::CheckBox, "With repair");
    window.button("Measure the curve");
    let points = |s: &AppState| s.channels.curve.as_ref().map_or(0, |curve| curve.points.len() + curve.repaired.len());
    window.wait("some points", |s| points(s) >= 4);
    window.press(Modifiers::NONE, Key::Escape);
    window.wait("an end", |s| s.costs.progress.is_none());
    let known = points(window.state());
    assert!(known < 2 * 10, "{known}");
    window.button("Measure the curve");
    window.wait("more points", |s| points(s) != known);
    assert!(points(window.state()) > known, "what was known is kept");
    window.click(Role::RadioButton, "Each");
    window.wait("an end", |s| s.costs.progress.is_none() && settled(s).is_some());
    let kept = points(window.state());
    window.settle();
    assert_eq!(points(window.state()), kept, "the curve of another plan does not grow");
    assert!(window.says("OF ANOTHER PLAN"));
}
