//! Channels that a person decides one by one: clicks, keys, what stands over them, and what a group keeps all the same.

use eframe::egui::accesskit::Role;
use eframe::egui::{Key, Modifiers};
use egui_kittest::kittest::{NodeT, Queryable};
use secateur::app::AppState;
use secateur::channels::ByHand;

use super::super::driver::{DEMO, Window};
use super::{is_removed, kept, look, set, settled};

fn window() -> Window {
    let mut window = Window::on(Some(DEMO));
    look(&mut window);
    set(&mut window, "30");
    window
}

/// Selects a group by its bar.
fn select(window: &mut Window, group: &str) {
    window.button(&format!("{group}: {}", kept(window, group)));
}

/// The names of all squares that are on screen, in no order.
fn squares(window: &Window) -> Vec<String> {
    let buttons = window.harness.query_all_by_role(Role::Button).filter_map(|node| node.accesskit_node().label());
    buttons.filter(|label| label.starts_with("Channel ")).collect()
}

/// What is said of a channel.
fn fate(window: &Window, index: usize) -> String {
    let start = format!("Channel {index}: ");
    squares(window).iter().find_map(|label| label.strip_prefix(&start)).unwrap().to_owned()
}

/// Clicks a channel, and waits for what comes of it.
fn click(window: &mut Window, index: usize) {
    let before = window.state().channels.plan.choice.by_hand.clone();
    let name = format!("Channel {index}: {}", fate(window, index));
    window.button(&name);
    window.wait("another plan", move |s| s.channels.plan.choice.by_hand != before && settled(s).is_some());
}

fn by_hand(state: &AppState) -> usize {
    settled(state).unwrap().plan.choice.by_hand.len()
}

/// How many channels of a group stay.
fn number_kept(window: &Window, group: &str) -> usize {
    kept(window, group).split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_click_makes_a_channel_go_the_next_holds_it_and_the_third_leaves_it_to_its_score() {
    let mut window = window();
    select(&mut window, "blocks.1.1.conv");
    assert_eq!(squares(&window).len(), 64);
    let stays = (0..64).find(|&i| fate(&window, i) == "stays").unwrap();
    let before = number_kept(&window, "blocks.1.1.conv");
    click(&mut window, stays);
    assert_eq!(fate(&window, stays), "goes, by hand");
    assert!(number_kept(&window, "blocks.1.1.conv").is_multiple_of(8) && window.says("channels stay, 1 set by hand"));
    let chosen = settled(window.state()).unwrap();
    let unit = chosen.found.channels.groups[window.state().channels.selected.unwrap()].units[stays];
    assert!(chosen.removed.contains(unit) && chosen.plan.choice.by_hand[&unit] == ByHand::Goes);
    click(&mut window, stays);
    assert_eq!(fate(&window, stays), "stays, by hand");
    click(&mut window, stays);
    assert_eq!((fate(&window, stays).as_str(), by_hand(window.state())), ("stays", 0));
    assert_eq!(number_kept(&window, "blocks.1.1.conv"), before);

    // One that goes by its score is held.
    let goes = (0..64).find(|&i| fate(&window, i) == "goes").unwrap();
    click(&mut window, goes);
    click(&mut window, goes);
    assert_eq!(fate(&window, goes), "stays, by hand");

    // By the keyboard too, and what stands over it tells its score.
    let name = format!("Channel {stays}: {}", fate(&window, stays));
    window.node(Role::Button, &name).focus();
    window.step_twice();
    window.press(Modifiers::NONE, Key::Space);
    window.wait("two by hand", |s| settled(s).is_some_and(|chosen| chosen.plan.choice.by_hand.len() == 2));
    assert_eq!(fate(&window, stays), "goes, by hand");
    let at = window.node(Role::Button, &format!("Channel {stays}: goes, by hand")).rect().center();
    window.harness.hover_at(at);
    window.wait_for("what stands over it", |w| w.says(&format!("Channel {stays} goes, by hand")) && w.says("Score "));
    assert!(window.says("Click: it stays, whatever score and amount say"));
    assert!(window.says("2 set by hand"));

    // The slider decides the others.
    window.enter_number("Amount of channels in percent", "60");
    window.wait("more", |s| settled(s).is_some_and(|chosen| chosen.plan.choice.amount.share == 0.6));
    assert_eq!((fate(&window, goes).as_str(), fate(&window, stays).as_str()), ("stays, by hand", "goes, by hand"));
    window.button("Reset channels set by hand");
    window.wait("nothing by hand", |s| settled(s).is_some_and(|chosen| chosen.plan.choice.by_hand.is_empty()));
    assert!(!window.has(Role::Button, "Reset channels set by hand"));

    // A lock is over all of it.
    window.click(Role::CheckBox, "Lock this group");
    window.wait("a locked group", |s| settled(s).is_some());
    assert!(window.node(Role::Button, "Channel 0: stays").accesskit_node().is_disabled());

    // What is set belongs to the network.
    window.click(Role::CheckBox, "Lock this group");
    click(&mut window, stays);
    window.button("Remove channels");
    window.wait("the smaller network", |s| is_removed(s) && settled(s).is_some());
    assert_eq!(by_hand(window.state()), 0);
    window.button("Undo removal");
    window.wait("the opened network", |s| !is_removed(s) && settled(s).is_some());
    assert_eq!(by_hand(window.state()), 1);
}

#[test]
fn a_group_that_can_keep_no_multiple_says_so() {
    let mut window = window();
    select(&mut window, "conv_stem");
    for index in 0..30 {
        click(&mut window, index);
        click(&mut window, index);
    }
    assert!(!window.says("No multiple of 8 stays"), "all stay");
    click(&mut window, 31);
    assert_eq!((number_kept(&window, "conv_stem"), fate(&window, 31).as_str()), (31, "goes, by hand"));
    assert!(window.says("No multiple of 8 stays: what is set by hand leaves none") && window.says("1 group keeps no multiple of 8"));
}

#[test]
fn channels_are_listed_by_their_scores_and_no_more_of_them_than_are_seen() {
    let mut window = window();
    select(&mut window, "blocks.1.1.conv");
    window.click(Role::CheckBox, "By score");
    let chosen = settled(window.state()).unwrap();
    let units = &chosen.found.channels.groups[window.state().channels.selected.unwrap()].units;
    let least = (0..64).min_by(|&a, &b| chosen.scores[units[a]].total_cmp(&chosen.scores[units[b]])).unwrap();
    let place = |window: &Window, index: usize| {
        let name = format!("Channel {index}: {}", fate(window, index));
        let at = window.node(Role::Button, &name).rect().min;
        (at.y, at.x)
    };
    let first = (0..64).min_by(|&a, &b| place(&window, a).partial_cmp(&place(&window, b)).unwrap()).unwrap();
    assert_eq!((first, fate(&window, first).as_str()), (least, "goes"));
    select(&mut window, "conv_head");
    let seen = squares(&window).len();
    assert!((100..400).contains(&seen), "{seen} of 1280");
}
