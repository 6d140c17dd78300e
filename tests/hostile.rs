//! Files that lie: whatever the bytes, the answer is a model or a message, soon, in little memory, from the model's own folder.
#![expect(clippy::unwrap_used, reason = "a test")]
#![allow(clippy::default_trait_access, reason = "the bindings give some of these types no public name")]

#[path = "hostile/exercise.rs"]
mod exercise;
#[path = "hostile/files.rs"]
mod files;
#[path = "hostile/foreign.rs"]
mod foreign;
#[path = "hostile/mutations.rs"]
mod mutations;
#[path = "hostile/structure.rs"]
mod structure;
#[path = "tiny/mod.rs"]
mod tiny;
