//! A forward pass that can be held between two nodes and carried on from there.

use super::allowance::Allowance;
use super::spare::Spare;
use super::value::Value;
use super::work::Trace;

/// A forward pass that stands before a node: the inputs, and what was worked out so far and is still to be read.
///
/// Clones are cheap: they share their tensors. A pass belongs to the plan of the network that began it, not to its weights: a
/// clone of that network with other weights may carry it on, and gives what it would have given from the start wherever those
/// weights are first read at or after the node that the pass stands before (see [`super::Network::first_use`]).
#[derive(Debug, Clone)]
pub struct Pass {
    /// By value; `None` before it is written and after it was read for the last time.
    pub(super) values: Vec<Option<Value>>,
    /// The node that comes next.
    pub(super) next: usize,
    /// Memory of values that are gone.
    pub(super) spare: Spare,
    /// Carry every node out by itself, so that every value is there.
    pub(super) is_one_by_one: bool,
    /// What was seen so far, where somebody wants to know.
    pub(super) trace: Option<Trace>,
    /// How often every element of each parameter was multiplied so far, where somebody counts.
    pub(super) uses: Option<Vec<u64>>,
    /// What may still be made from little.
    pub(super) allowance: Allowance,
}

impl Pass {
    /// Index of the node that it stands before; the number of nodes at the end.
    #[must_use]
    pub fn node(&self) -> usize {
        self.next
    }

    /// Bytes of the values that it holds; one that several names share counts for each of them. Memory
    /// that waits for use is not among them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.values.iter().flatten().map(Value::bytes).sum()
    }
}
