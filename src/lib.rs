//! Secateur: a desktop inspector for neural-network pruning.
//!
//! A person opens an ONNX model, sees its modules by type, ticks what may be pruned, drags one slider, compares any two
//! methods while both are live, fixes the weights and saves a model that any ONNX runtime opens. The command line
//! does the same for scripts.
//!
//! # The way the data goes
//!
//! ```text
//! file → onnx → graph → network → prune → measure → export
//!                   ↘ channels ↗   images → evaluate → repair ↗
//!        app, cli → worker, measurer → evaluate, recipes, session → engine → the rest
//! ```
//!
//! Dependencies point down only. [`onnx`] knows where every byte of the file lies, [`graph`] is the network as plain data,
//! [`network`] runs it on Burn, [`prune`] decides what goes, [`measure`] says what that did, and [`export`] writes it. [`channels`] finds
//! which slices of its parameters fall together, and makes a smaller model without some of them.
//!
//! An [`engine::Engine`] knows how: it holds one opened model and what is made once for it, and every call takes the
//! [`prune::State`] that it is about. So the window, the measurer and the commands share one engine. A [`session::Session`] knows what
//! was done: it keeps the state and its history; [`worker`] is the thread that owns it for the window. A [`recipes::RecipeFile`] writes
//! down what made a state, and makes it again of this model or another.
//!
//! What pruning costs is measured beside it: [`images`] makes a person's pictures (or [`arrays`]) into a network's input as Pillow
//! does, [`evaluate`] asks the dense and the pruned network the same questions, and [`measurer`] is the thread that does so for the
//! window whenever the slider rests. [`repair`] gives back what pruning broke: it walks through both networks and changes what is
//! left. Long work is watched and stopped in one way: [`watch::Watch`].
//!
//! # Why most masks are numbers
//!
//! A step prunes the first elements that a parameter has left in its ranking, ties by lowest index. As long as all steps rank
//! alike, the pruned elements of a parameter are a prefix of its [`prune::Ranking`], and a number says which: any position of the slider,
//! for every method, is found by bisection, and bits are made only where someone looks at them or saves them. Where steps rank
//! differently, what is masked is kept as bits ([`prune::Masked`]), and what is left gets a ranking of its own. Under other scores, and
//! where whole slices go, the elements that are left have a [`prune::Order`], and the mask is its beginning: a number again.

#[cfg(feature = "gui")]
pub mod app;
pub mod arrays;
pub mod atomic;
pub mod channels;
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
mod random;
pub mod recipes;
pub mod repair;
pub mod session;
pub mod watch;
pub mod worker;
