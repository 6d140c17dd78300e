//! From a position of the channels' slider to a smaller network that answers as its masked twin does.

use std::sync::Arc;

use super::{Engine, EngineError};
use crate::channels::{ChannelScore, Channels, Choice, Removed, Size};
use crate::network::Array;
use crate::prune::State;
use crate::watch::Watch;

/// Larger differences between the smaller network and its masked twin, relative to the largest output, are a fault of this program.
const MAX_DIFFERENCE: f64 = 1e-3;

/// What falls together in a network, and the inputs of the pass that showed it.
#[derive(Debug)]
pub struct FoundChannels {
    /// Its channels.
    pub channels: Channels,
    /// One image of noise. The smaller network is compared with its twin on it.
    pub inputs: Vec<(String, Array)>,
}

/// Everything that a person sets to decide which channels go.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChannelPlan {
    /// What ranks them.
    pub score: ChannelScore,
    /// How many go, and from where.
    pub choice: Choice,
}

impl ChannelPlan {
    /// The same rules with nothing to go, of another network.
    #[must_use]
    pub fn emptied(&self) -> Self {
        let mut plan = self.with_share(0.0);
        (plan.choice.locked, plan.choice.own, plan.choice.by_hand) = Default::default();
        plan
    }

    /// The same with another amount, 0..=1.
    #[must_use]
    pub fn with_share(&self, share: f64) -> Self {
        let mut plan = self.clone();
        plan.choice.amount.share = share;
        plan
    }
}

/// What a plan takes from a network.
#[derive(Debug)]
pub struct Chosen {
    /// Of what.
    pub found: Arc<FoundChannels>,
    /// Scores of all units, see [`Engine::channel_scores`].
    pub scores: Arc<[f64]>,
    /// The plan.
    pub plan: ChannelPlan,
    /// What goes.
    pub removed: Removed,
    /// The network as it is.
    pub before: Size,
    /// The network without what goes.
    pub after: Size,
}

impl Chosen {
    /// What `plan` takes, by these [`Engine::channel_scores`].
    #[must_use]
    pub fn new(found: Arc<FoundChannels>, scores: Arc<[f64]>, plan: ChannelPlan) -> Self {
        let channels = &found.channels;
        let removed = channels.choose(&scores, &plan.choice);
        let (before, after) = (channels.size(&channels.nothing()), channels.size(&removed));
        Self { found, scores, plan, removed, before, after }
    }

    /// What the same plan takes with another amount, 0..=1.
    #[must_use]
    pub fn at(&self, share: f64) -> Self {
        Self::new(self.found.clone(), self.scores.clone(), self.plan.with_share(share))
    }

    /// The share that goes of what the amount is of, 0..=1.
    #[must_use]
    pub fn gone(&self) -> f64 {
        self.after.gone(&self.before, self.plan.choice.amount.of)
    }
}

/// What removing channels did to a network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Removal {
    /// The network before.
    pub before: Size,
    /// The network after.
    pub after: Size,
    /// Bytes of the file before and after, external data included.
    pub bytes: [u64; 2],
    /// Largest difference between the outputs of the smaller network and of its masked twin, relative to the largest output.
    pub difference: f64,
}

impl Engine {
    /// An engine of the network without what was chosen, as pruned in `state`; what is masked there is zero in it for good.
    ///
    /// # Errors
    /// [`EngineError::Remove`]; [`EngineError::Differs`] where the smaller network does not answer as its masked twin does; as
    /// [`Engine::masks`] and [`Engine::forward`].
    pub fn shrink(&self, state: &State, chosen: &Chosen, watch: &dyn Watch) -> Result<(Self, Removal), EngineError> {
        let FoundChannels { channels, inputs } = &*chosen.found;
        let go_on = |done: f32, what: &str| {
            watch.progress(done, what);
            if watch.is_cancelled() { Err(EngineError::Cancelled) } else { Ok(()) }
        };
        go_on(0.0, "Removing channels")?;
        let twin = self.twin(state, channels, &chosen.removed)?;
        let made = self.smaller_bytes(&twin, channels, &chosen.removed)?;
        let bytes_of = [self.model.file.size_bytes(), made.size_bytes()];
        let smaller = self.of_bytes(made, watch)?;
        go_on(0.5, "Comparing with the masked network")?;
        let expected = self.forward(&twin, inputs)?;
        let answered = smaller.forward(&smaller.opened(), inputs)?;
        let difference = difference(&expected, &answered);
        // What is no number is no agreement.
        if difference.is_nan() || difference > MAX_DIFFERENCE {
            return Err(EngineError::Differs(difference));
        }
        go_on(1.0, "Comparing with the masked network")?;
        Ok((smaller, Removal { before: chosen.before, after: chosen.after, bytes: bytes_of, difference }))
    }
}

/// The largest difference of two answers, relative to the largest element of the first; infinite where they are not of one shape.
fn difference(expected: &[(String, Array)], answered: &[(String, Array)]) -> f64 {
    if expected.len() != answered.len() {
        return f64::INFINITY;
    }
    let of_output = |((_, a), (_, b)): (&(String, Array), &(String, Array))| -> f64 {
        if a.shape != b.shape {
            return f64::INFINITY;
        }
        let (Some(a), Some(b)) = (a.as_f32(), b.as_f32()) else { return if a.data == b.data { 0.0 } else { f64::INFINITY } };
        let largest = a.iter().fold(f64::MIN_POSITIVE, |largest, &x| largest.max(f64::from(x).abs()));
        let off = |(&x, &y): (&f32, &f32)| if x == y || (x.is_nan() && y.is_nan()) { 0.0 } else { (f64::from(x) - f64::from(y)).abs() };
        a.iter().zip(b).map(off).fold(0.0, larger) / largest
    };
    expected.iter().zip(answered).map(of_output).fold(0.0, larger)
}

/// As `f64::max`, but what is no number stays so.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_compared_relative_to_the_largest() {
        let answer = |values: &[f32]| vec![("y".to_owned(), Array::f32([values.len()], values.to_vec()))];
        assert_eq!(difference(&answer(&[1.0, -4.0]), &answer(&[1.0, -4.0])), 0.0);
        assert_eq!(difference(&answer(&[1.0, -4.0]), &answer(&[2.0, -4.0])), 0.25);
        assert_eq!(difference(&answer(&[f32::NAN, 1.0]), &answer(&[f32::NAN, 1.0])), 0.0);
        assert!(difference(&answer(&[1.0, 4.0]), &answer(&[f32::NAN, 4.0])).is_nan());
        assert_eq!(difference(&answer(&[1.0]), &answer(&[1.0, 1.0])), f64::INFINITY);
        assert_eq!(difference(&answer(&[1.0]), &[]), f64::INFINITY);
    }
}
