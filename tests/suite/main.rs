//! What needs no process of its own, in one program: it is linked once, and no core waits for the last test of a small one.
#![expect(clippy::unwrap_used, reason = "a test may fail so")]

mod adapter;
mod answering;
mod channels;
mod choosing;
mod command_line;
mod costing;
mod device_selection;
mod evaluating;
mod folders;
mod forward;
mod kinds;
mod networks;
mod parity;
mod preprocessing;
mod quiet;
mod removing;
mod repairing;
mod running;
mod saving;
mod session;
#[path = "../tiny/mod.rs"]
mod tiny;
