//! How much a forward pass may work out.
//!
//! A file of a few bytes can ask for results of any size: repeat a number a billion times, enlarge an image a thousandfold,
//! put a value beside itself, and that once more in the next node. All results of a pass are counted together and compared
//! with what the person and the file put in, before memory is asked for.

use std::sync::atomic::{AtomicU64, Ordering};

use super::dims::{elements, made_elements};
use super::fault::{Checked, fault};

/// Elements that may be worked out whatever goes in: 1 GiB, not all of it at once.
const FREE: u64 = 1 << 28;

/// Elements that may be worked out for every element that goes in. An image network makes some hundreds.
const PER_ELEMENT: u64 = 1 << 12;

/// What is left to one pass.
#[derive(Debug)]
pub(super) struct Allowance {
    left: AtomicU64,
    given: u64,
}

impl Allowance {
    /// For a pass into which so many elements go, as inputs, weights and constants.
    pub(super) fn new(given: u64) -> Self {
        Self { left: AtomicU64::new(given.saturating_mul(PER_ELEMENT).saturating_add(FREE)), given }
    }

    /// Number of elements of a result, where it may still be worked out.
    pub(super) fn fits(&self, shape: &[usize]) -> Checked<usize> {
        let elements = elements(shape)?;
        if elements as u64 > self.left.load(Ordering::Relaxed) {
            return self.refuse(shape);
        }
        Ok(elements)
    }

    /// As [`Self::fits`], for a result that is made from little, by repeating.
    pub(super) fn made(&self, shape: &[usize]) -> Checked<usize> {
        made_elements(shape)?;
        self.fits(shape)
    }

    /// Counts `work` elements, on the way to a result of `shape` or its own.
    pub(super) fn spend(&self, work: u64, shape: &[usize]) -> Checked<()> {
        let spend = |left: u64| left.checked_sub(work);
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend) {
            Ok(_) => Ok(()),
            Err(_) => self.refuse(shape),
        }
    }

    fn refuse<T>(&self, shape: &[usize]) -> Checked<T> {
        fault!("a result of shape {shape:?} is too large, with all results before it, for a network and inputs of {} elements", self.given)
    }
}

impl Clone for Allowance {
    fn clone(&self) -> Self {
        Self { left: AtomicU64::new(self.left.load(Ordering::Relaxed)), given: self.given }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worked_out_adds_up_over_the_pass() {
        let allowance = Allowance::new(0);
        for _ in 0..2 {
            assert_eq!(allowance.made(&[1 << 27]), Ok(1 << 27));
            allowance.spend(1 << 27, &[1 << 27]).unwrap();
        }
        let refused = allowance.fits(&[1]).unwrap_err();
        assert!(refused.0.contains("too large"), "{}", refused.0);
        assert_eq!(allowance.fits(&[0, 5]), Ok(0), "nothing costs nothing");
        let allowance = Allowance::new(1);
        allowance.spend(FREE, &[]).unwrap();
        assert!(allowance.fits(&[4096]).is_ok() && allowance.fits(&[4097]).is_err(), "what goes in counts");
        assert!(allowance.clone().fits(&[4097]).is_err(), "a pass that is carried on has no more than it had");
    }
}
