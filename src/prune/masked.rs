//! What earlier steps left of a parameter: masked elements, fixed weights, and the ranking of what is still in question.

use std::sync::Arc;

use super::mask::{Mask, smallest};
use super::order::Order;
use super::ranking::Ranking;
use crate::onnx::Values;

/// Which elements of a parameter are masked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Masked {
    /// None.
    #[default]
    Nothing,
    /// So many of the first in the ranking of the weights as opened.
    First(u64),
    /// These.
    Bits(Arc<Mask>),
}

impl Masked {
    /// The first `count` of the ranking.
    #[must_use]
    pub fn first(count: u64) -> Self {
        if count == 0 { Self::Nothing } else { Self::First(count) }
    }

    /// How many elements.
    #[inline]
    #[must_use]
    pub fn count(&self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::First(count) => *count,
            Self::Bits(mask) => mask.pruned(),
        }
    }

    /// Whether there are none.
    #[inline]
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.count() == 0
    }

    /// The number of elements, where they are the first of the ranking.
    #[inline]
    #[must_use]
    pub fn prefix(&self) -> Option<u64> {
        match self {
            Self::Nothing => Some(0),
            Self::First(count) => Some(*count),
            Self::Bits(_) => None,
        }
    }

    /// The bits, of a parameter with these values as opened and this ranking of them.
    #[must_use]
    pub fn mask(&self, opened: &Values, ranking: &Ranking) -> Mask {
        match self {
            Self::Nothing => Mask::from_words(Vec::new(), opened.len()),
            Self::First(count) => smallest(opened, ranking, *count),
            Self::Bits(mask) => (**mask).clone(),
        }
    }
}

/// What became of a parameter's weights.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Weights {
    /// Nothing.
    #[default]
    AsOpened,
    /// These elements are zero for good, the others as opened.
    Zeroed(Masked),
    /// They are others, some of them zero for good.
    Replaced(Arc<Replaced>),
}

/// What a parameter holds in place of what was opened.
#[derive(Debug, Clone)]
pub struct Replaced {
    values: Arc<Values>,
    /// Always as bits: no ranking of what was opened says anything of these.
    zeroed: Masked,
}

impl Replaced {
    /// These values, as numbers of the parameter's type, of which those of `zeroed` are or become +0.0.
    #[must_use]
    pub fn new(mut values: Values, zeroed: Mask) -> Self {
        zeroed.apply(&mut values);
        Self { values: Arc::new(values), zeroed: Masked::Bits(Arc::new(zeroed)) }
    }

    /// The elements as they are.
    #[must_use]
    pub fn values(&self) -> &Arc<Values> {
        &self.values
    }
}

impl PartialEq for Replaced {
    fn eq(&self, other: &Self) -> bool {
        self.zeroed == other.zeroed && self.values.is_same(&other.values)
    }
}

/// Equal bits are equal, so that two that are one and the same are so without a look at them.
impl Eq for Replaced {}

impl Weights {
    /// Elements that were fixed to zero.
    #[inline]
    #[must_use]
    pub fn zeroed(&self) -> &Masked {
        match self {
            Self::AsOpened => &Masked::Nothing,
            Self::Zeroed(masked) => masked,
            Self::Replaced(replaced) => &replaced.zeroed,
        }
    }

    /// What it holds in place of what was opened.
    #[must_use]
    pub fn replaced(&self) -> Option<&Arc<Replaced>> {
        match self {
            Self::Replaced(replaced) => Some(replaced),
            _ => None,
        }
    }
}

/// How a parameter stands before a step.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The order of the elements that are in question.
    pub ranking: Arc<Ranking>,
    /// How many of its first elements are zero because they were fixed, whatever the ranking says of them.
    pub fixed: u64,
    /// How many of its first elements are masked already.
    pub masked: u64,
    /// Masked elements that the ranking does not hold.
    pub apart: u64,
    /// Where the elements do not go one by one in the order of their magnitudes: how they go. Then the ranking is its.
    pub order: Option<Arc<Order>>,
}

impl Standing {
    /// After so many steps' masks, of what is left in another order than that of the magnitudes.
    #[must_use]
    pub fn in_order(order: Arc<Order>, apart: u64) -> Self {
        Self { ranking: order.ranking().clone(), fixed: 0, masked: 0, apart, order: Some(order) }
    }

    /// All elements.
    #[inline]
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.apart + self.order.as_ref().map_or(self.ranking.len() as u64, |order| order.elements())
    }

    /// Masked elements when the first `units` of the ranking are: its elements, or slices.
    #[inline]
    #[must_use]
    pub fn elements_of(&self, units: u64) -> u64 {
        self.apart + self.order.as_ref().map_or(units, |order| order.elements_of(units))
    }

    /// Elements that go in the next step whatever the amount; `None` where the amount says it.
    #[inline]
    #[must_use]
    pub fn decided(&self) -> Option<u64> {
        self.order.as_ref().and_then(|order| order.decided())
    }

    /// Whether what goes are whole slices.
    #[inline]
    pub(super) fn has_slices(&self) -> bool {
        self.order.as_ref().is_some_and(|order| order.has_slices())
    }

    /// Whether the largest that goes is the last to go.
    #[inline]
    pub(super) fn is_ranked(&self) -> bool {
        self.order.as_ref().is_none_or(|order| order.is_ranked())
    }

    /// Masked elements.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.apart + self.masked
    }

    /// Elements that are zero when so many are masked.
    #[inline]
    #[must_use]
    pub fn zeros(&self, masked: u64) -> u64 {
        let masked = masked - self.apart;
        self.apart + self.order.as_ref().map_or_else(|| self.ranking.zeros().max(self.fixed).max(masked), |order| order.zeros(masked))
    }
}
