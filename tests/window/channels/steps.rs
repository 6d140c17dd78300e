//! Changes of what is to go of the channels are steps: undone, done again, and one for a whole drag.

use eframe::egui::accesskit::Role;
use eframe::egui::{Key, Pos2, lerp};
use secateur::app::AppState;
use secateur::engine::ChannelPlan;
use secateur::prune::Step;

use super::super::driver::{CONTROL, CONTROL_SHIFT, DEMO, Window};
use super::{gone, is_removed, kept, look, set, settled};

fn plan(state: &AppState) -> &ChannelPlan {
    &settled(state).unwrap().plan
}

fn undoable(state: &AppState) -> Option<Step> {
    state.view.as_ref().unwrap().undoable
}

/// Where the slider's handle is at `share`.
fn slider_at(window: &Window, share: f32) -> Pos2 {
    let rect = window.node(Role::Slider, "Amount of channels").rect();
    Pos2::new(lerp(rect.x_range().shrink(rect.height() / 2.5), share / 0.9), rect.center().y)
}

/// Takes the last step back, and waits for the plan before it.
fn undo(window: &mut Window, what: &str, is_before: impl Fn(&ChannelPlan) -> bool) {
    window.press(CONTROL, Key::Z);
    window.wait(what, |s| settled(s).is_some_and(|chosen| is_before(&chosen.plan)));
}

#[test]
fn a_drag_is_one_step_and_so_is_every_click() {
    let mut window = Window::on(Some(DEMO));
    look(&mut window);
    assert_eq!(undoable(window.state()), None);
    window.harness.hover_at(slider_at(&window, 0.0));
    window.harness.drag_at(slider_at(&window, 0.0));
    window.step_twice();
    for percent in 1..=40 {
        window.harness.hover_at(slider_at(&window, percent as f32 / 100.0));
        window.harness.step();
    }
    window.harness.drop_at(slider_at(&window, 0.4));
    window.wait("what goes at 40 %", |s| settled(s).is_some_and(|chosen| (chosen.plan.choice.amount.share - 0.4).abs() < 0.005));
    window.wait("a step", |s| undoable(s) == Some(Step::Channels));
    let dragged = plan(window.state()).choice.amount.share;
    set(&mut window, "20");
    window.click(Role::RadioButton, "Each");
    window.click(Role::CheckBox, "Lock this group");
    window.click(Role::CheckBox, "Lock this group");
    window.click(Role::CheckBox, "Own amount");
    window.enter_number("Own amount of the group in percent", "50");
    window.enter_number("Least channels of a group", "16");
    window.wait("all of it", |s| settled(s).is_some_and(|c| c.plan.choice.granularity.least == 16 && c.plan.choice.own.len() == 1));
    let last = plan(window.state()).clone();
    assert_eq!(last.choice.own.values().copied().next(), Some(0.5));

    undo(&mut window, "the least number", |plan| plan.choice.granularity.least == 1);
    undo(&mut window, "the own amount that it began with", |plan| plan.choice.own.values().any(|share| *share != 0.5));
    undo(&mut window, "no own amount", |plan| plan.choice.own.is_empty());
    undo(&mut window, "a lock", |plan| plan.choice.locked.contains(&true));
    undo(&mut window, "no lock", |plan| !plan.choice.locked.contains(&true));
    undo(&mut window, "one ranking", |plan| *plan == ChannelPlan::default().with_share(0.2));
    undo(&mut window, "the amount before", |plan| plan.choice.amount.share == dragged);
    assert!(gone(window.state()) > 0);
    window.button("Undo channels");
    window.wait("nothing", |s| settled(s).is_some() && gone(s) == 0);
    window.wait("no step", |s| undoable(s).is_none());
    assert_eq!(kept(&window, "conv_head"), "1280 of 1280 channels kept");
    for _ in 0..8 {
        window.press(CONTROL_SHIFT, Key::Z);
    }
    window.wait("all of it again", |s| settled(s).is_some_and(|chosen| chosen.plan == last));
    assert!(!window.state().view.as_ref().unwrap().is_unsaved, "a plan changes nothing");
}

/// Steps of elements and of channels are one history, and what is removed begins with an empty plan.
#[test]
fn plans_stand_between_other_steps() {
    let mut window = Window::on(Some(DEMO));
    window.set_percent("30");
    look(&mut window);
    set(&mut window, "30");
    window.button("Remove channels");
    window.wait("the smaller network", |s| is_removed(s) && settled(s).is_some());
    assert_eq!(*plan(window.state()), ChannelPlan::default());
    set(&mut window, "10");
    for (what, share, is_smaller) in [("the smaller network", 0.0, true), ("the plan before", 0.3, false), ("no plan", 0.0, false)] {
        window.press(CONTROL, Key::Z);
        window.wait(what, |s| is_removed(s) == is_smaller && settled(s).is_some_and(|c| c.plan.choice.amount.share == share));
    }
    assert_eq!(undoable(window.state()), Some(Step::Amount));
    for _ in 0..3 {
        window.press(CONTROL_SHIFT, Key::Z);
    }
    window.wait("all of it again", |s| is_removed(s) && settled(s).is_some_and(|chosen| chosen.plan.choice.amount.share == 0.1));
}
