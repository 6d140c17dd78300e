//! Convolutions with what follows them: operators that are carried out on a convolution's result before it is written.

use std::collections::{HashMap, HashSet};

use super::activation::Activation;
use crate::graph::{Node, ValueId};

/// A convolution and the nodes whose results it works out with its own.
#[derive(Debug)]
pub(super) struct Chain {
    /// The nodes after the convolution.
    pub(super) absorbed: Vec<usize>,
    /// The node of a batch normalisation.
    pub(super) norm: Option<usize>,
    pub(super) first: Option<Activation>,
    /// A value of the result's shape that is added.
    pub(super) residual: Option<ValueId>,
    pub(super) second: Option<Activation>,
    /// Where the result goes.
    pub(super) output: ValueId,
}

/// What has to be known of the nodes of one graph to find them.
pub(super) struct Surroundings<'g> {
    pub(super) nodes: &'g [Node],
    /// Values that are there before the nodes run.
    pub(super) given: &'g [ValueId],
    /// Values that are read by others than these nodes.
    pub(super) kept: &'g HashSet<ValueId>,
    /// Values that are there before any node of any graph runs.
    pub(super) is_constant: &'g dyn Fn(ValueId) -> bool,
    /// The one number of a constant.
    pub(super) number: &'g dyn Fn(ValueId) -> Option<f32>,
}

/// Who reads and who writes every value.
struct Edges<'g> {
    of: &'g Surroundings<'g>,
    readers: HashMap<ValueId, Vec<usize>>,
    writers: HashMap<ValueId, Vec<usize>>,
}

impl Surroundings<'_> {
    /// All chains, each with its convolution's node.
    pub(super) fn chains(&self) -> Vec<(usize, Chain)> {
        let mut edges = Edges { of: self, readers: HashMap::new(), writers: HashMap::new() };
        for (n, node) in self.nodes.iter().enumerate() {
            node.reads().for_each(|value| edges.readers.entry(value).or_default().push(n));
            node.outputs.iter().flatten().for_each(|value| edges.writers.entry(*value).or_default().push(n));
        }
        for &value in self.given {
            edges.writers.entry(value).or_default().push(0);
        }
        let convolutions = self.nodes.iter().enumerate().filter(|(_, node)| node.is("Conv"));
        convolutions.filter_map(|(n, _)| Some((n, edges.chain(n)?))).collect()
    }
}

impl Edges<'_> {
    /// What follows the convolution at node `n`; `None` where nothing can be absorbed.
    fn chain(&self, n: usize) -> Option<Chain> {
        let mut output = self.of.nodes[n].output(0)?;
        let mut chain = Chain { absorbed: Vec::new(), norm: None, first: None, residual: None, second: None, output };
        while let Some(next) = self.next(n, output, &mut chain) {
            output = next;
        }
        chain.output = output;
        (!chain.absorbed.is_empty()).then_some(chain)
    }

    /// Absorbs what reads `value`, and gives what it writes.
    fn next(&self, first: usize, value: ValueId, chain: &mut Chain) -> Option<ValueId> {
        if self.of.kept.contains(&value) || self.writers.get(&value)?.len() != 1 || (self.of.is_constant)(value) {
            return None;
        }
        let readers = self.readers.get(&value)?;
        if let &[a, b] = readers.as_slice() {
            return self.gate(value, a, b, chain);
        }
        let &[reader] = readers.as_slice() else { return None };
        let node = &self.of.nodes[reader];
        let output = node.output(0).filter(|output| reader > first && self.writers.get(output).is_some_and(|w| w.len() == 1))?;
        if !node.is_standard() || node.outputs.iter().skip(1).any(Option::is_some) || (self.of.is_constant)(output) {
            return None;
        }
        let untouched = chain.first.is_none() && chain.residual.is_none();
        match node.op.as_str() {
            "BatchNormalization" if untouched && chain.norm.is_none() => {
                let training = node.attributes.int("training_mode").unwrap_or(0) != 0;
                let known = (1..5).all(|i| node.input(i).is_some_and(self.of.is_constant));
                if training || !known || node.input(0) != Some(value) {
                    return None;
                }
                chain.norm = Some(reader);
            }
            "Add" if chain.residual.is_none() => {
                let (a, b) = (node.input(0)?, node.input(1)?);
                let other = if a == value { b } else { a };
                // It must be there when the convolution runs, and be no weight: those are broadcast.
                let before = self.writers.get(&other).is_some_and(|writers| writers.iter().all(|w| *w < first));
                if other == value || !before || (self.of.is_constant)(other) {
                    return None;
                }
                chain.residual = Some(other);
            }
            _ if node.input(0) == Some(value) => self.absorb(self.activation(node)?, chain)?,
            _ => return None,
        }
        chain.absorbed.push(reader);
        Some(output)
    }

    fn activation(&self, node: &Node) -> Option<Activation> {
        if node.op != "Clip" {
            return Activation::of(node);
        }
        let limit = |i: usize, name: &str, none: f32| match node.input(i) {
            Some(value) => (self.of.number)(value),
            None => Some(node.attributes.float(name).unwrap_or(none)),
        };
        let (low, high) = (limit(1, "min", f32::NEG_INFINITY)?, limit(2, "max", f32::INFINITY)?);
        (low <= high).then_some(Activation::Clip(low, high))
    }

    #[expect(clippy::unused_self, reason = "reads as the others do")]
    fn absorb(&self, activation: Activation, chain: &mut Chain) -> Option<()> {
        let place = if chain.first.is_none() && chain.residual.is_none() { &mut chain.first } else { &mut chain.second };
        if place.is_some() {
            return None;
        }
        *place = Some(activation);
        Some(())
    }

    /// x · sigmoid(x) and x · hardsigmoid(x), as exporters write them: one reader works the gate out, the other multiplies.
    fn gate(&self, value: ValueId, a: usize, b: usize, chain: &mut Chain) -> Option<ValueId> {
        let (gate, product) = (&self.of.nodes[a], &self.of.nodes[b]);
        let activation = match Activation::of(gate)? {
            Activation::Sigmoid => Activation::Swish(1.0),
            Activation::HardSigmoid(alpha, beta) if (alpha - 1.0 / 6.0).abs() < 1e-7 && (beta - 0.5).abs() < 1e-7 => Activation::HardSwish,
            _ => return None,
        };
        let opened = gate.output(0)?;
        let output = product.output(0)?;
        let factors = [product.input(0)?, product.input(1)?];
        let fits = product.op == "Mul"
            && product.is_standard()
            && a < b
            && (factors == [value, opened] || factors == [opened, value])
            && !self.of.kept.contains(&opened)
            && self.readers.get(&opened).is_some_and(|readers| *readers == [b])
            && [opened, output].iter().all(|v| self.writers.get(v).is_some_and(|w| w.len() == 1) && !(self.of.is_constant)(*v));
        if !fits {
            return None;
        }
        self.absorb(activation, chain)?;
        chain.absorbed.extend([a, b]);
        Some(output)
    }
}
