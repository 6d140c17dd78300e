//! The nodes of one graph, made ready.

use std::fmt;

use super::chain::Chain;
use super::control::Control;
use super::convolution::ConvSettings;
use super::fault::Fault;
use super::operator::Operator;
use super::products::Products;
use super::setup::Setup;
use crate::graph::{Node, ValueId};

/// What is done where a node stands.
pub(super) enum NodeAction {
    /// Nothing: its results are known beforehand.
    Nothing,
    Run(Operator),
    /// Graphs that the node holds are carried out.
    Control(Control),
    /// Nothing can be done, whatever goes in.
    Refuse(Fault),
}

/// One node in a plan.
pub(super) struct PlannedNode {
    pub(super) action: NodeAction,
    /// The values that nobody reads after it.
    pub(super) last: Vec<ValueId>,
    /// The convolution that it is carried out with, where it is carried out with one: its own place where it is that.
    pub(super) first: Option<usize>,
    /// A convolution with what follows it.
    pub(super) fused: Option<Fused>,
    /// Weights that it multiplies.
    pub(super) products: Products,
}

impl fmt::Debug for PlannedNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match &self.action {
            NodeAction::Nothing => "nothing",
            NodeAction::Run(_) => "run",
            NodeAction::Control(_) => "control",
            NodeAction::Refuse(fault) => &fault.0,
        };
        f.debug_struct("PlannedNode").field("action", &action).field("last", &self.last).finish_non_exhaustive()
    }
}

/// A convolution with the nodes after it whose results it works out with its own.
pub(super) struct Fused {
    pub(super) chain: Chain,
    pub(super) settings: ConvSettings,
    /// ε of the batch normalisation among them.
    pub(super) epsilon: f32,
}

impl Fused {
    /// `None` where the convolution's settings are at fault, which is then told where it is carried out by itself.
    pub(super) fn of(chain: Chain, setup: &Setup, nodes: &[Node]) -> Option<Self> {
        let epsilon = chain.norm.and_then(|m| nodes[m].attributes.float("epsilon")).unwrap_or(1e-5);
        Some(Self { settings: ConvSettings::of(setup).ok()?, chain, epsilon })
    }
}

/// The nodes of one graph, made ready.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// One per node.
    pub(super) steps: Vec<PlannedNode>,
    /// What is given to it and what its nodes write.
    pub(super) own: Vec<ValueId>,
}
