//! Memory of values that nobody reads any more, kept for results to come.
//!
//! A large allocation comes from the system page by page, each cleared and mapped at its first use; that costs as much as a
//! fast convolution does. What a pass has used once it uses again.

use std::sync::{Mutex, PoisonError};

/// Buffers with fewer elements than this are the allocator's business.
const SMALL: usize = 1 << 15;

/// So many are kept, the largest.
const KEPT: usize = 4;

/// Buffers that wait for use. A clone has none.
#[derive(Debug, Default)]
pub(super) struct Spare(Mutex<Vec<Vec<f32>>>);

impl Clone for Spare {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Spare {
    /// A buffer of this length, with anything in it.
    pub(super) fn take(&self, length: usize) -> Vec<f32> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |buffer: &Vec<f32>| (length..=length.saturating_mul(8)).contains(&buffer.capacity());
        let best = kept.iter().enumerate().filter(|(_, b)| fits(b)).min_by_key(|(_, b)| b.capacity()).map(|(i, _)| i);
        let Some(best) = best else { return vec![0.0; length] };
        let mut buffer = kept.swap_remove(best);
        buffer.resize(length, 0.0);
        buffer
    }

    /// Keeps a buffer, or lets the smallest go.
    pub(super) fn keep(&self, buffer: Vec<f32>) {
        if buffer.capacity() < SMALL {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(buffer);
        if kept.len() > KEPT
            && let Some(least) = kept.iter().enumerate().min_by_key(|(_, b)| b.capacity()).map(|(i, _)| i)
        {
            kept.swap_remove(least);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_fit_is_taken_and_the_largest_are_kept() {
        let spare = Spare::default();
        for length in [5, 1, 3, 2, 4].map(|n| n * SMALL) {
            spare.keep(vec![1.0; length]);
        }
        spare.keep(vec![1.0; 10]);
        let buffer = spare.take(SMALL * 2 + 1);
        assert_eq!((buffer.len(), buffer.capacity()), (SMALL * 2 + 1, SMALL * 3));
        assert!(spare.take(SMALL / 9).iter().all(|x| *x == 0.0), "none is taken that is much too large");
        assert_eq!(spare.take(SMALL).capacity(), SMALL * 2, "the smallest of five is gone");
        assert_eq!(spare.take(SMALL * 5).capacity(), SMALL * 5);
        assert_eq!(spare.take(SMALL).capacity(), SMALL * 4);
        assert!(spare.take(SMALL).iter().all(|x| *x == 0.0), "all are taken");
    }
}
