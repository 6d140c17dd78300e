//! Where a network can be repaired: batch normalisations, layers with a bias, and the affine parts of other normalisations.

use super::finder::Finder;
use super::squares::Shape;
use crate::graph::{ChannelAxis, Graph, Kind, ParameterId, Role, ValueId};
use crate::onnx::{OnnxFile, TensorId};
use crate::prune::State;

/// A place where something can be repaired.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Site {
    /// The module.
    pub(super) name: String,
    /// The first node that reads what changes.
    pub(super) start: usize,
    /// What tells how to change it; several where weights are shared.
    pub(super) reads: Vec<ValueAt>,
    /// Where the channels of these values lie.
    pub(super) channels: ChannelAxis,
    pub(super) fix: Fix,
}

/// A value to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ValueAt {
    /// It is there when a pass stands before this node.
    pub(super) before: usize,
    pub(super) value: ValueId,
}

/// What changes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fix {
    Statistics(Norm),
    Rows(BiasedLayer),
    Affine(Affine),
}

/// A batch normalisation with stored statistics.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Norm {
    pub(super) mean: TensorId,
    pub(super) variance: TensorId,
    pub(super) scale: Option<ParameterId>,
    pub(super) shift: Option<ParameterId>,
    pub(super) epsilon: f64,
}

/// A layer with its bias.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BiasedLayer {
    pub(super) weight: ParameterId,
    pub(super) bias: Bias,
    pub(super) order: OutputAxis,
    /// What the bias is multiplied by.
    pub(super) beta: f64,
    /// The last linear layer is shifted and not scaled.
    pub(super) is_last: bool,
}

/// What is added to a layer's outputs.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Bias {
    /// A parameter of the file.
    Parameter(ParameterId),
    /// One that the file has not, of the layers that write these values: there perhaps since an earlier repair.
    Added(Vec<ValueId>),
}

/// Where the outputs of a weight lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputAxis {
    /// First: convolutions, rows of a matrix.
    First,
    /// Last: columns of a matrix.
    Last,
    /// Second, within one of so many groups of inputs: transposed convolutions.
    Second(usize),
}

impl Site {
    /// Whether it is the layer that answers.
    pub(super) fn is_last(&self) -> bool {
        matches!(self.fix, Fix::Rows(BiasedLayer { is_last: true, .. }))
    }
}

impl OutputAxis {
    /// How many outputs a weight of this shape has.
    pub(super) fn outputs(self, shape: &[usize]) -> usize {
        match self {
            Self::First => shape[0],
            Self::Last => shape[1],
            Self::Second(groups) => shape[1] * groups,
        }
    }

    /// The output that element `i` of a weight of this shape belongs to.
    pub(super) fn output(self, shape: &[usize], i: usize) -> usize {
        match self {
            Self::First => i / shape[1..].iter().product::<usize>(),
            Self::Last => i % shape[shape.len() - 1],
            Self::Second(groups) => {
                let inner: usize = shape[2..].iter().product();
                let input = i / (shape[1] * inner);
                input / (shape[0] / groups) * shape[1] + i / inner % shape[1]
            }
        }
    }
}

/// Scale and shift of a normalisation, one number per channel.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Affine {
    pub(super) scale: ParameterId,
    /// `None` where it only scales.
    pub(super) shift: Option<ParameterId>,
}

/// A layer whose kept weights can be fitted.
#[derive(Debug, Clone)]
pub(super) struct Fit {
    /// The module.
    pub(super) name: String,
    pub(super) node: usize,
    /// The first node that reads the weight.
    pub(super) start: usize,
    pub(super) weight: ParameterId,
    /// What is added to its output in the same node, where the file has it.
    pub(super) bias: Option<ParameterId>,
    pub(super) input: ValueId,
    pub(super) output: ValueId,
    pub(super) shape: Shape,
    /// Sizes of the windows of a convolution.
    pub(super) kernel: Option<Vec<usize>>,
    /// Whether what comes next sees to the means of its output.
    pub(super) is_about_means: bool,
    /// The last linear layer, which answers.
    pub(super) is_last: bool,
}

/// All of them in the order in which they are come to, and the layers that are none, with the reason.
#[derive(Debug, Clone, Default)]
pub(super) struct Sites {
    pub(super) list: Vec<Site>,
    pub(super) fits: Vec<Fit>,
    pub(super) left: Vec<(String, String)>,
}

impl Sites {
    pub(super) fn of(graph: &Graph, file: &OnnxFile, state: &State) -> Self {
        let finder = Finder::new(graph, file);
        let mut sites = Self::default();
        let mut refused: Vec<(ParameterId, String)> = Vec::new();
        let layers = finder.layers();
        let last = layers.last().filter(|layer| matches!(graph.owner(layer.weight).role, Role::Head | Role::Linear)).map(|l| l.weight);
        for (n, node) in graph.nodes.iter().enumerate() {
            sites.add(finder.norm(n, node));
        }
        for layer in &layers {
            let is_last = last == Some(layer.weight);
            if state.has_changed(layer.weight.0) {
                sites.fits.extend(finder.fit(layer, is_last));
            }
            match finder.layer(layer, is_last) {
                Ok(site) => sites.add(site),
                Err(reason) => refused.push((layer.weight, reason)),
            }
        }
        sites.list.sort_by_key(|site| site.start);
        // A fit about the means leaves them to what comes next.
        for fit in &mut sites.fits {
            let is_row = |site: &Site| matches!(&site.fix, Fix::Rows(rows) if rows.weight == fit.weight);
            fit.is_about_means = finder.is_normalised(fit.output) || sites.list.iter().any(is_row);
        }
        // What was pruned and is in none of them is told.
        for (i, parameter) in graph.parameters.iter().enumerate() {
            let id = ParameterId(i);
            if parameter.kind != Kind::Weight || parameter.shape.len() < 2 || !state.has_changed(i) {
                continue;
            }
            let told = refused.iter().find(|(weight, _)| *weight == id).map(|(_, reason)| reason.clone());
            let is_known = layers.iter().any(|layer| layer.weight == id);
            if let Some(reason) = told.or_else(|| (!is_known).then(|| "no convolution or product of matrices reads it as it is".to_owned()))
            {
                sites.left.push((graph.owner(id).name.clone(), reason));
            }
        }
        sites
    }

    /// Whether there are batch normalisations among them.
    pub(super) fn has_norms(&self) -> bool {
        self.list.iter().any(|site| matches!(site.fix, Fix::Statistics(_)))
    }

    /// Adds a place; one that changes the same as an earlier one is another use of it.
    fn add(&mut self, site: Option<Site>) {
        let Some(site) = site else { return };
        match self.list.iter_mut().find(|known| known.fix == site.fix) {
            Some(known) => known.reads.extend(site.reads),
            None => self.list.push(site),
        }
    }
}
