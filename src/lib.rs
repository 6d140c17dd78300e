//! Secateur: an inspector for neural-network pruning.
#![allow(unused, missing_docs, reason = "under construction")]
#[cfg(feature = "gui")]
pub mod app;
pub mod atomic;
pub mod cli;
pub mod device;
pub mod export;
pub mod graph;
pub mod measure;
pub mod onnx;
pub mod prune;
pub mod session;
pub mod worker;

/// What a caught panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no message").to_owned()
}
