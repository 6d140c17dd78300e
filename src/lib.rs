//! Secateur: a desktop inspector for neural-network pruning.
//!
//! A person opens an ONNX model, sees its modules by type, ticks what may be pruned, drags one slider, compares layer-wise with
//! global L1 pruning while both are live, fixes the weights and saves a model that any ONNX runtime opens. The command line
//! does the same for scripts.
//!
//! # The way the data goes
//!
//! ```text
//! file → onnx → graph → network → prune → measure → export
//!                              images → evaluate ↗
//!        app, cli → worker, measurer → evaluate → session → the rest
//! ```
//!
//! Dependencies point down only. [`onnx`] knows where every byte of the file lies, [`graph`] is the network as plain data,
//! [`network`] runs it on Burn, [`prune`] decides what goes, [`measure`] says what that did, and [`export`] writes it. A
//! [`session::Session`] is one opened model and all that is done to it; [`worker`] is the thread that owns it for the window.
//!
//! What pruning costs is measured beside it: [`images`] makes a person's pictures (or [`arrays`]) into a network's input as Pillow
//! does, [`evaluate`] asks the dense and the pruned network the same questions, and [`measurer`] is the thread that does so for the
//! window whenever the slider rests.
//!
//! # Why masks are numbers
//!
//! Every step of magnitude pruning takes the smallest elements that a parameter has left, ties by lowest index. So the pruned
//! elements of a parameter are always a prefix of its elements in order of magnitude, and a number says which. [`prune::Order`]
//! keeps that order; any position of the slider, for both methods, is found by bisection, and masks are made only where
//! someone looks at them or saves them.

#[cfg(feature = "gui")]
pub mod app;
pub mod arrays;
pub mod atomic;
pub mod cli;
pub mod device;
pub mod engine;
pub mod escaped;
pub mod evaluate;
pub mod export;
pub mod graph;
pub mod images;
pub mod measure;
pub mod measurer;
pub mod network;
pub mod onnx;
mod panics;
pub mod prune;
pub mod session;
pub mod watch;
pub mod worker;
