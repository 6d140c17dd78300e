//! The window, driven by the accessible names that a screen reader finds, without a display.
//!
//! The worker behind it is the real one, a thread of its own, so every test waits until what it expects is there.
#![cfg(feature = "gui")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a test")]

mod access;
mod channels;
mod driver;
mod effect;
mod files;
mod images;
mod methods;
mod names;
mod opening;
mod picker;
mod preprocessing;
mod pruning;
mod recipes;
mod repair;
mod savings;
mod steps;
#[path = "../tiny/mod.rs"]
mod tiny;
