//! Channels that are really removed: groups, what goes, what that costs, and the smaller network on screen.

mod by_hand;
mod curve;
mod repaired;
mod steps;

use std::path::Path;

use eframe::egui::accesskit::Role;
use eframe::egui::{Key, Modifiers};
use egui_kittest::kittest::{NodeT, Queryable};
use onnx_ir::Message;
use secateur::app::AppState;
use secateur::channels::Of;
use secateur::engine::{Chosen, Engine};
use secateur::prune::Step;
use secateur::watch::Unwatched;

use super::driver::{CONTROL, CONTROL_SHIFT, DEMO, Window};
use super::effect::window as with_digits;
use super::tiny;

/// What goes by the plan that the controls show.
fn settled(state: &AppState) -> Option<&Chosen> {
    state.channels.settled().map(|chosen| &**chosen)
}

fn gone(state: &AppState) -> usize {
    settled(state).map_or(0, |chosen| chosen.removed.count())
}

/// Shows the channels and waits until they are found.
fn look(window: &mut Window) {
    window.click(Role::Tab, "Channels");
    window.wait("groups of channels", |s| settled(s).is_some());
}

/// Removes nothing yet, but would remove this share.
fn set(window: &mut Window, percent: &str) {
    window.enter_number("Amount of channels in percent", percent);
    window.wait("what goes", |s| settled(s).is_some_and(|chosen| chosen.plan.choice.amount.share > 0.0));
}

fn elements(state: &AppState) -> usize {
    state.model.as_ref().unwrap().graph.elements()
}

fn is_removed(state: &AppState) -> bool {
    state.view.as_ref().is_some_and(|view| view.removal.is_some())
}

/// The kept channels of a group, by its bar.
fn kept(window: &Window, group: &str) -> String {
    let bars = window.harness.query_all_by_role(Role::Button);
    let labels = bars.filter_map(|bar| bar.accesskit_node().label());
    labels.filter_map(|label| label.strip_prefix(&format!("{group}: ")).map(str::to_owned)).find(|rest| rest.ends_with("kept")).unwrap()
}

#[test]
fn a_group_tells_what_falls_together_and_has_a_lock_and_an_amount_of_its_own() {
    let mut window = Window::on(Some(DEMO));
    look(&mut window);
    assert!(window.node(Role::Button, "Remove channels").accesskit_node().is_disabled(), "nothing goes yet");
    assert!(window.says("classifier stay: the network answers with it"));
    window.button("blocks.1.1.conv: 64 of 64 channels kept");
    assert!(window.says("These 64 channels are") || window.says("THESE 64 CHANNELS ARE"));
    for line in ["outputs of blocks.1.1.conv", "scale, bias, statistics of blocks.1.1.bn1", "inputs of blocks.2.0.pw_exp.conv"] {
        assert!(window.says(line), "not told: {line}");
    }
    // The module on the left is the same selection.
    let model = window.state().model.clone().unwrap();
    assert_eq!(model.graph.parameter(window.state().selected.unwrap()).name, "blocks.1.1.conv.weight");
    window.click(Role::TreeItem, "blocks.1.0.conv");
    assert!(window.says("outputs of blocks.1.0.conv"));

    set(&mut window, "30");
    window.button(&format!("conv_head: {}", kept(&window, "conv_head")));
    assert!(window.says("outputs of conv_head"));
    let global = kept(&window, "conv_head");
    assert!(global != "1280 of 1280 channels kept", "{global}");
    window.click(Role::CheckBox, "Lock this group");
    window.wait("what goes now", |s| settled(s).is_some());
    assert_eq!(kept(&window, "conv_head"), "1280 of 1280 channels kept");
    assert!(window.says("1 locked"));
    window.click(Role::CheckBox, "Lock this group");
    window.click(Role::CheckBox, "Own amount");
    window.enter_number("Own amount of the group in percent", "50");
    window.wait("what goes now", |s| settled(s).is_some_and(|chosen| chosen.plan.choice.own.len() == 1));
    assert_eq!(kept(&window, "conv_head"), "640 of 1280 channels kept");
    // The others reach the whole.
    let chosen = settled(window.state()).unwrap();
    assert!((chosen.after.gone(&chosen.before, Of::Macs) - 0.3).abs() < 0.02);
    window.button("Reset");
    window.wait("nothing", |s| settled(s).is_some() && gone(s) == 0);
    assert_eq!(kept(&window, "conv_head"), "1280 of 1280 channels kept");
}

#[test]
fn the_controls_say_what_is_left_before_anything_is_removed() {
    let mut window = Window::on(Some(DEMO));
    look(&mut window);
    set(&mut window, "30");
    let share = |window: &Window, of: Of| {
        let chosen = settled(window.state()).unwrap();
        chosen.after.gone(&chosen.before, of)
    };
    assert!((share(&window, Of::Macs) - 0.3).abs() < 0.02);
    let chosen = settled(window.state()).unwrap();
    let percent = format!("Multiply-accumulates: −{:.1}\u{2009}%", share(&window, Of::Macs) * 100.0);
    assert!(chosen.after.macs < chosen.before.macs && window.says(&percent), "{percent}");
    window.wait("the smaller file's bytes", |s| s.channels.bytes.as_ref().is_some_and(|(_, bytes)| *bytes > 0));
    let bytes = window.state().channels.bytes.as_ref().unwrap().1;
    assert!(window.says(&format!("→ {:.1}\u{2009}MB", bytes as f64 / 1e6)), "{bytes}");
    assert!(!window.node(Role::Button, "Remove channels").accesskit_node().is_disabled());
    // Groups keep multiples of eight, unless one wants it otherwise; then it is told what that does.
    let remainders = |window: &Window, multiple: usize| {
        let chosen = settled(window.state()).unwrap();
        let groups = chosen.found.channels.groups.iter();
        groups.filter(|group| group.units.iter().filter(|&&unit| !chosen.removed.contains(unit)).count() % multiple != 0).count()
    };
    assert_eq!(remainders(&window, 8), 0);
    window.click(Role::ComboBox, "Multiples of");
    window.click(Role::RadioButton, "1");
    window.wait("other multiples", |s| settled(s).is_some_and(|chosen| chosen.plan.choice.granularity.multiple == 1));
    assert!(remainders(&window, 8) > 0);
    assert!(window.says("Fewer multiply-accumulates are not less time"));

    let before = gone(window.state());
    window.click(Role::RadioButton, "Each");
    window.wait("each its share", |s| settled(s).is_some() && gone(s) != before);
    for group in ["conv_stem", "conv_head"] {
        let text = kept(&window, group);
        let mut numbers = text.split(" of ").filter_map(|part| part.split(' ').next()?.parse::<f64>().ok());
        let (left, all) = (numbers.next().unwrap(), numbers.next().unwrap());
        assert!((0.7..1.0).contains(&(left / all)), "{group}: {text}");
    }
    window.click(Role::ComboBox, "Amount of");
    window.click(Role::RadioButton, "Parameters");
    window.wait("a share of the parameters", |s| settled(s).is_some_and(|chosen| chosen.plan.choice.amount.of == Of::Parameters));
    assert!((share(&window, Of::Parameters) - 0.3).abs() < 0.02);
    window.enter_number("Least channels of a group", "32");
    window.wait("a least number", |s| settled(s).is_some_and(|chosen| chosen.plan.choice.granularity.least == 32));
    assert_eq!(kept(&window, "conv_stem"), "32 of 32 channels kept");
    for (score, name) in [("L1", "L1"), ("BatchNorm", "Scale"), ("Random", "Random(0)")] {
        window.click(Role::ComboBox, "Score of channels");
        window.click(Role::RadioButton, score);
        window.wait(score, move |s| settled(s).is_some_and(|chosen| format!("{:?}", chosen.plan.score) == name));
    }
    assert!(!window.state().view.as_ref().unwrap().is_unsaved, "a plan changes nothing");
}

#[test]
fn removing_channels_goes_on_with_the_smaller_network_and_is_undone() {
    let mut window = Window::on(Some(DEMO));
    let opened = elements(window.state());
    look(&mut window);
    set(&mut window, "30");
    let after = settled(window.state()).unwrap().after;
    window.button("Remove channels");
    window.wait("the smaller network", |s| is_removed(s) && settled(s).is_some() && s.detail.is_some());
    assert_eq!(elements(window.state()) as u64, after.parameters);
    let view = window.state().view.as_ref().unwrap();
    let removal = view.removal.unwrap();
    assert_eq!((view.undoable, view.is_unsaved, view.removal.unwrap().after), (Some(Step::Remove), true, after));
    assert!(window.says("• mobilenetv4_digits.onnx") && window.says("It answers as the network in which the channels are zero, to 1e−"));
    assert_eq!((gone(window.state()), window.state().channels.plan.choice.amount.share), (0, 0.0), "by the plan nothing more goes");
    assert_eq!(window.state().kept.recent.len(), 1);

    let macs = format!("{:.1}\u{2009}M → {:.1}\u{2009}M", removal.before.macs as f64 / 1e6, removal.after.macs as f64 / 1e6);
    assert!(window.says(&macs), "{macs}");
    window.button("Measure the speed");
    window.wait("how fast both are", |s| s.channels.pace.is_some());
    assert!(window.says("times as fast. 1 image on CPU"));

    // Elements are pruned in the smaller network.
    window.click(Role::Tab, "Sparsity");
    window.set_percent("50");
    assert_eq!(window.figures().model_elements, after.parameters);
    window.press(CONTROL, Key::Z);
    window.wait("no amount", |s| s.view.as_ref().is_some_and(|view| view.undoable == Some(Step::Remove)));

    window.click(Role::Tab, "Channels");
    window.button("Undo removal");
    window.wait("the opened network", |s| s.view.is_some() && !is_removed(s) && settled(s).is_some_and(|c| c.removed.count() > 0));
    assert_eq!(elements(window.state()), opened);
    assert!(!window.says("• mobilenetv4_digits.onnx"));
    assert_eq!(window.state().channels.plan.choice.amount.share, 0.3, "what was set is there again");
    window.press(CONTROL_SHIFT, Key::Z);
    window.wait("the smaller network again", |s| is_removed(s) && settled(s).is_some());
    assert_eq!(elements(window.state()) as u64, after.parameters);
    // Both steps in a row, before the window has seen the first.
    let seen = window.state().opened.0;
    window.press(CONTROL, Key::Z);
    window.press(CONTROL_SHIFT, Key::Z);
    window.wait("the smaller network once more", |s| s.opened.0 == seen + 2 && is_removed(s) && settled(s).is_some());
    assert!(window.state().notices.iter().all(|notice| !notice.title.contains("failed")), "{:?}", window.state().notices);

    let path = window.path("smaller.onnx");
    window.answer(&path);
    window.press(CONTROL, Key::S);
    window.wait("the saved file", |s| s.view.as_ref().is_some_and(|view| !view.is_unsaved));
    assert_eq!(window.asked().pop().unwrap().name, "mobilenetv4_digits_smaller.onnx");
    let bytes = window.state().view.as_ref().unwrap().removal.unwrap().bytes;
    assert_eq!(bytes, [std::fs::metadata(DEMO).unwrap().len(), std::fs::metadata(&path).unwrap().len()]);
    let read = Engine::open(&path, &Unwatched).unwrap();
    assert_eq!(read.model().graph.elements() as u64, after.parameters);

    // Another file has nothing of it.
    window.open("tests/models/mobilenetv4_r224_3classes.onnx");
    assert!(!is_removed(window.state()) && window.state().view.as_ref().unwrap().undoable.is_none());
    window.wait("its groups", |s| settled(s).is_some());
    assert_eq!(gone(window.state()), 0);
}

#[test]
fn what_removing_costs_is_measured_before_and_compared_with_the_opened_network_after() {
    let mut window = with_digits();
    look(&mut window);
    set(&mut window, "60");
    let is_measured = |s: &AppState| {
        let (twin, chosen) = (s.channels.twin.as_ref(), s.channels.settled());
        twin.zip(chosen).is_some_and(|(twin, chosen)| twin.is_whole && std::sync::Arc::ptr_eq(&twin.chosen, chosen))
    };
    window.wait("its effect", is_measured);
    let twin = window.state().channels.twin.clone().unwrap();
    let (dense, masked) = (twin.dense.top1.unwrap(), twin.effect.top1.unwrap());
    assert!(dense > 0.95 && masked < 0.8, "{dense} {masked}");
    assert!(window.says("Effect of removing channels: 100.0"));
    window.press(CONTROL_SHIFT, Key::D);
    let is_told = |s: &AppState| is_removed(s) && s.costs.cost.as_ref().is_some_and(|cost| cost.is_whole);
    window.wait("the smaller network and its effect", is_told);
    let state = window.state();
    let cost = state.costs.cost.as_ref().unwrap();
    assert_eq!(cost.dense.top1, Some(dense), "dense is the model as opened");
    let method = state.recipe.as_ref().unwrap().method;
    let effect = cost.effects.given(method).unwrap();
    assert_eq!((effect.top1, effect.images), (Some(masked), twin.effect.images), "the smaller network answers as its twin");
    assert_eq!(state.costs.shown.as_ref().unwrap().images, twin.effect.images, "the images go on");
}

/// Noise tells drift where there are no images, and goes on too.
#[test]
fn noise_goes_on_with_the_smaller_network() {
    let mut window = Window::on(Some(DEMO));
    window.click(Role::Tab, "Effect");
    window.button("Use noise");
    window.wait("the effect on noise", |s| s.costs.cost.as_ref().is_some_and(|cost| cost.is_whole));
    look(&mut window);
    set(&mut window, "50");
    // How near the answers are to those of the opened network.
    let cosine = |s: &AppState| {
        let twin = s.channels.twin.as_ref().filter(|twin| twin.is_whole)?;
        let is_present = s.channels.settled().is_some_and(|chosen| std::sync::Arc::ptr_eq(chosen, &twin.chosen));
        twin.effect.mean_cosine.filter(|_| is_present)
    };
    window.wait("the twin on noise", |s| cosine(s).is_some());
    let before = cosine(window.state()).unwrap();
    assert!(before < 0.999, "half of the multiply-accumulates tell: {before}");
    assert!(window.says("TELL DRIFT"));
    window.button("Remove channels");
    window.wait("the smaller network on noise", |s| is_removed(s) && cosine(s).is_some());
    let after = cosine(window.state()).unwrap();
    assert!((after - before).abs() < 1e-4, "{before} {after}");
    assert!(window.says("As it is now"));
}

#[test]
fn a_network_that_cannot_run_says_why_it_shows_no_channels() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strange.onnx");
    let weight = tiny::tensor("fc.weight", &[4, 4], tiny::FLOAT, tiny::bytes(&[0.5; 16]));
    let nodes = vec![tiny::gemm(&["x", "fc.weight"], "y"), tiny::node("Unheard", &["y"], "z")];
    std::fs::write(&path, tiny::model(nodes, vec![weight]).write_to_bytes().unwrap()).unwrap();
    let mut window = Window::on(path.to_str());
    window.click(Role::Tab, "Channels");
    window.wait("the reason", |s| matches!(s.channels.found, Some(Err(_))));
    assert!(window.says("The channels cannot be found") && window.says("Unheard"));
    assert!(window.node(Role::Button, "Remove channels").accesskit_node().is_disabled());
    window.press(CONTROL_SHIFT, Key::D);
    window.press(Modifiers::NONE, Key::Escape);
    window.settle();
    assert!(window.state().notices.iter().all(|notice| !notice.title.contains("Remove")));
    assert!(Path::new(&path).exists());
}
