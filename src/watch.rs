//! How long work reports, and how it is stopped: one way for everything that takes a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whoever waits for long work.
pub trait Watch: Sync {
    /// `done` of 1.0 is finished; `what` names the present part.
    fn progress(&self, done: f32, what: &str);
    /// Whether it is to stop.
    fn is_cancelled(&self) -> bool;
}

/// Watches nothing.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn progress(&self, _: f32, _: &str) {}

    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Stops one task, from any thread; its copies stop the same task. As a [`Watch`] it takes no reports.
#[derive(Debug, Clone, Default)]
pub struct Token(Arc<AtomicBool>);

impl Token {
    /// Stops the task, for good.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Watch for Token {
    fn progress(&self, _: f32, _: &str) {}

    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A part of longer work: its progress is a stretch of the whole's, and it stops with the whole.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    /// Who waits for the whole.
    pub whole: &'a dyn Watch,
    /// What of the whole is done when the part begins, 0..=1.
    pub before: f32,
    /// The part's share of the whole, 0..=1.
    pub share: f32,
    /// What the whole is called; `None` where it is called what the part says.
    pub what: Option<&'static str>,
}

impl Watch for Part<'_> {
    fn progress(&self, done: f32, what: &str) {
        self.whole.progress(self.before + done * self.share, self.what.unwrap_or(what));
    }

    fn is_cancelled(&self) -> bool {
        self.whole.is_cancelled()
    }
}
