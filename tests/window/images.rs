//! Pictures of every view, drawn by the software adapter, compared with those in `tests/images`.
//!
//! To take them anew: `UPDATE_SNAPSHOTS=force cargo test --test window images`.

use std::panic::catch_unwind;

use eframe::egui::accesskit::Role;
use eframe::egui::{Key, Modifiers, Theme};
use eframe::egui_wgpu::RendererOptions;
use eframe::wgpu::DeviceType;
use egui_kittest::kittest::{NodeT, Queryable};
use egui_kittest::wgpu::{WgpuTestRenderer, create_render_state, default_wgpu_setup};
use egui_kittest::{Harness, SnapshotOptions};
use secateur::app::AppState;
use secateur::prune::Step;

use super::driver::{DEMO, SIZE, Window};
use super::effect::{choose_digits, reveal};

/// The software adapter, or `None` where the test is to be skipped: another adapter draws other pixels.
fn renderer() -> Option<WgpuTestRenderer> {
    let state = catch_unwind(|| create_render_state(default_wgpu_setup(), RendererOptions::PREDICTABLE)).ok();
    let found = state.filter(|state| state.adapter.get_info().device_type == DeviceType::Cpu);
    assert!(found.is_some() || std::env::var_os("CI").is_none(), "CI needs a software adapter, such as Mesa's llvmpipe");
    if found.is_none() {
        eprintln!("skipped: no software adapter");
    }
    found.map(WgpuTestRenderer::from_render_state)
}

fn window(theme: Theme) -> Option<Window> {
    let builder = Harness::builder().with_size(SIZE).with_theme(theme).with_render_cursor(false).renderer(renderer()?);
    // Opened as a file it comes without its digits, whose effect would appear at one time or another.
    let mut window = Window::start(builder, Some(DEMO));
    window.wait("the demo", |s| s.view.is_some() && s.device.is_some() && s.progress.is_none());
    window.set_percent("50");
    window.click(Role::TreeItem, "blocks.2.0.pw_exp.conv");
    window.wait("its weights", |s| {
        let name = s.selected.map(|id| s.model.as_ref().unwrap().graph.parameter(id).name.as_str());
        name == Some("blocks.2.0.pw_exp.conv.weight") && s.detail.as_ref().map(|d| d.0) == s.selected
    });
    Some(window)
}

/// Compares what is on screen with a picture, with nothing hovered and nothing going on.
fn compare(window: &mut Window, name: &str) {
    window.harness.remove_cursor();
    window.wait("rest", |s| s.progress.is_none());
    window.harness.run_steps(4);
    let options = SnapshotOptions::new().output_path("tests/images").threshold(0.6).max_failed_pixels(0);
    window.harness.snapshot_options(name, &options);
}

/// As [`compare`], in the light and in the dark, in which the window is left.
fn compare_in_both(window: &mut Window, name: &str) {
    for (theme, ending) in [(Theme::Light, "light"), (Theme::Dark, "dark")] {
        window.harness.ctx.set_theme(theme);
        compare(window, &format!("{name}_{ending}"));
    }
}

#[test]
fn views_look_as_they_did_in_the_dark() {
    let Some(mut window) = window(Theme::Dark) else { return };
    for tab in ["Sparsity", "Weights", "Compare", "Table"] {
        window.click(Role::Tab, tab);
        compare(&mut window, &format!("{}_dark", tab.to_lowercase()));
    }
    window.click(Role::Tab, "Sparsity");
    window.click(Role::CheckBox, "Own amount");
    window.wait("an amount of its own", |s| s.view.as_ref().unwrap().figures.recipe.own.iter().any(Option::is_some));
    window.click(Role::ComboBox, "Applied method");
    compare(&mut window, "methods_dark");
    window.press(Modifiers::NONE, Key::Escape);
    window.click(Role::CheckBox, "Own amount");
    window.click(Role::Tab, "Size and speed");
    window.wait("sizes", |s| s.costs.sizes.is_some() && s.costs.work.is_some());
    compare(&mut window, "size_dark");
}

#[test]
fn views_look_as_they_did_in_the_light() {
    let Some(mut window) = window(Theme::Light) else { return };
    compare(&mut window, "sparsity_light");
}

/// The tab Effect with everything measured, from its top and from the map down.
#[test]
fn effects_look_as_they_did() {
    let Some(mut window) = window(Theme::Dark) else { return };
    choose_digits(&mut window);
    for curve in ["Curve of LAMP", "Curve of norm", "Curve of ERK", "Curve of uniform+"] {
        reveal(&mut window, Role::CheckBox, curve);
        window.click(Role::CheckBox, curve);
    }
    for work in ["Measure the curve", "Find", "Scan"] {
        reveal(&mut window, Role::Button, work);
        window.button(work);
        window.wait("its beginning", |s| s.costs.progress.is_some());
        window.wait("its end", |s| s.costs.progress.is_none());
    }
    let costs = &window.state().costs;
    assert!(costs.curve.is_some() && costs.found.is_some() && costs.scan.as_ref().is_some_and(|s| s.is_done()));
    window.harness.get_by_label_contains("EFFECT OF 50.0").scroll_to_me();
    window.harness.run_steps(8);
    compare_in_both(&mut window, "effect");
    reveal(&mut window, Role::RadioButton, "KL");
    window.click(Role::RadioButton, "KL");
    reveal(&mut window, Role::CheckBox, "List all 48");
    compare_in_both(&mut window, "effect_scan");
}

/// What a repair gave back: its part of the tab Effect with a curve of repaired networks, the question before it, the message after it.
#[test]
fn repairs_look_as_they_did() {
    let Some(mut window) = window(Theme::Dark) else { return };
    choose_digits(&mut window);
    window.set_percent("80");
    reveal(&mut window, Role::CheckBox, "With repair");
    window.click(Role::CheckBox, "With repair");
    window.button("Measure the curve");
    window.wait("its beginning", |s| s.costs.progress.is_some());
    window.wait("its end", |s| s.costs.progress.is_none());
    reveal(&mut window, Role::Button, "Accuracy against amount");
    compare_in_both(&mut window, "repair_curve");
    window.button("Repair");
    window.wait("the question", |s| s.question.is_some());
    compare_in_both(&mut window, "repair_question");
    window.button("Repair now");
    window.wait("a repaired network", |s| s.view.as_ref().unwrap().undoable == Some(Step::Repair));
    window.wait("its effect", |s| s.costs.cost.as_ref().is_some_and(|cost| cost.is_whole && cost.calibrated > 0));
    window.harness.get_by_label_contains("EFFECT OF").scroll_to_me();
    window.harness.run_steps(8);
    compare_in_both(&mut window, "repair");
}

#[test]
fn the_chart_is_saved_as_a_picture() {
    let Some(mut window) = window(Theme::Dark) else { return };
    let path = window.path("chart");
    window.answer(&path);
    window.menu("Save as…", "Chart as PNG…");
    window.wait("a saved picture", |s| s.notices.iter().any(|n| n.title == "Saved"));
    let bytes = std::fs::read(path.with_extension("png")).unwrap();
    // A PNG holds its width and height after its signature and the header's length and name.
    assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    assert!((400..900).contains(&number(16)) && (500..800).contains(&number(20)), "{} x {}", number(16), number(20));
}

/// As every save does; and the picture is that of the chart, not of the question.
#[test]
fn a_picture_replaces_a_file_only_when_that_is_wanted() {
    let Some(mut window) = window(Theme::Dark) else { return };
    let (taken, free) = (window.path("taken.png"), window.path("free.png"));
    std::fs::write(&taken, "precious").unwrap();
    let save = |window: &mut Window, path: &std::path::Path| {
        window.answer(path);
        window.menu("Save as…", "Chart as PNG…");
    };
    let is_saved = |s: &AppState| s.notices.iter().any(|n| n.title == "Saved");
    for answer in ["Cancel", "Replace"] {
        save(&mut window, &taken);
        window.wait("a question", |s| s.question.is_some());
        window.step_twice();
        assert!(window.says("Replace the file?") && window.says(taken.to_str().unwrap()));
        assert_eq!(std::fs::read(&taken).unwrap(), b"precious");
        window.button(answer);
        window.wait("no question", |s| s.question.is_none());
        window.settle();
        assert_eq!(is_saved(window.state()), answer == "Replace");
    }
    window.button("Dismiss");
    save(&mut window, &free);
    window.wait("a saved picture", is_saved);
    assert!(std::fs::read(&taken).unwrap() == std::fs::read(&free).unwrap(), "one picture is not the other");
}

/// A group that is looked at, with channels set by hand; accuracy over all amounts; the smaller network, repaired before.
#[test]
fn channels_look_as_they_did() {
    let Some(mut window) = window(Theme::Dark) else { return };
    window.button("Reset");
    window.click(Role::Tab, "Channels");
    window.wait("groups of channels", |s| s.channels.settled().is_some());
    window.enter_number("Amount of channels in percent", "30");
    let has_bytes = |s: &AppState| {
        let chosen = s.channels.settled().filter(|chosen| chosen.removed.count() > 0);
        s.channels.bytes.as_ref().zip(chosen).is_some_and(|((of, _), chosen)| std::sync::Arc::ptr_eq(of, chosen))
    };
    // One goes by hand, another stays.
    for start in ["Channel 0: ", "Channel 5: ", "Channel 5: "] {
        let square = window.harness.query_all_by_label_contains(start).next().unwrap().accesskit_node().label().unwrap();
        window.button(&square);
    }
    window.wait("what goes", has_bytes);
    compare_in_both(&mut window, "channels");
    choose_digits(&mut window);
    window.click(Role::Tab, "Channels");
    window.wait("its effect", |s| s.channels.twin.as_ref().is_some_and(|twin| twin.is_whole) && s.channels.settled().is_some());
    reveal(&mut window, Role::CheckBox, "With repair");
    window.click(Role::CheckBox, "With repair");
    for work in ["Measure the curve", "Find"] {
        window.button(work);
        window.wait("its beginning", |s| s.costs.progress.is_some());
        window.wait("its end", |s| s.costs.progress.is_none());
    }
    reveal(&mut window, Role::Button, "Accuracy against amount");
    compare_in_both(&mut window, "channels_curve");
    window.click(Role::CheckBox, "Repair");
    window.button("Remove channels");
    window.wait("the question", |s| s.question.is_some());
    window.button("Repair now");
    window.wait("the smaller network", |s| s.view.as_ref().is_some_and(|v| v.removal.is_some()) && s.channels.settled().is_some());
    window.wait("its effect", |s| s.channels.twin.as_ref().is_some_and(|twin| twin.is_whole && twin.calibrated > 0));
    window.wait("its bytes", |s| s.costs.cost.as_ref().is_some_and(|cost| cost.is_whole));
    window.button("Dismiss");
    reveal(&mut window, Role::Button, "Measure the speed");
    compare_in_both(&mut window, "channels_removed");
}
