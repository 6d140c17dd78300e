//! Figures of a whole prune, found without touching an element.

use crate::graph::{Graph, ParameterId};
use crate::prune::{Candidate, Method, Order, PruneError, Settings, State, select};

/// What figures are computed from: the graph and its parameters in order of magnitude.
#[derive(Clone, Copy)]
pub struct Weights<'a> {
    /// The network.
    pub graph: &'a Graph,
    /// One per parameter of the graph; `None` where it cannot be pruned.
    pub orders: &'a [Option<Order>],
}

/// What one method does at one amount. All lists have one entry per parameter of the graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Which method.
    pub method: Method,
    /// Elements that the mask prunes.
    pub masked: Vec<u64>,
    /// Elements that are zero: pruned, fixed before, or zero in the file.
    pub zeros: Vec<u64>,
    /// Magnitude of the largest pruned element.
    pub cuts: Vec<Option<f64>>,
    /// Magnitude of the cut that all parameters share; `None` for layer-wise and where nothing is pruned.
    pub cut: Option<f64>,
    /// Elements that share the cut's magnitude, see [`crate::prune::Selection::ties`].
    pub ties: u64,
    /// Pruned elements in the scope.
    pub pruned: u64,
    /// Zeros in the scope.
    pub scope_zeros: u64,
    /// Zeros in all parameters.
    pub model_zeros: u64,
    /// Parameters that are wholly zero and were not when the file was opened.
    pub emptied: Vec<ParameterId>,
}

/// Both methods at one amount, for the same scope.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// What they belong to.
    pub settings: Settings,
    /// Parameters of the scope, in graph order.
    pub scope: Vec<ParameterId>,
    /// Elements of the scope.
    pub scope_elements: u64,
    /// Elements of all parameters.
    pub model_elements: u64,
    /// `prune.l1_unstructured` on each.
    pub layer_wise: Result<Outcome, PruneError>,
    /// `prune.global_unstructured` on all.
    pub global: Result<Outcome, PruneError>,
}

impl Figures {
    /// The outcome of a method.
    ///
    /// # Errors
    /// Why it cannot be applied at this amount.
    pub fn of(&self, method: Method) -> Result<&Outcome, &PruneError> {
        match method {
            Method::LayerWise => self.layer_wise.as_ref(),
            Method::Global => self.global.as_ref(),
        }
    }

    /// The outcome of the chosen method.
    ///
    /// # Errors
    /// Why it cannot be applied at this amount.
    pub fn chosen(&self) -> Result<&Outcome, &PruneError> {
        self.of(self.settings.method)
    }

    /// Elements of a parameter that both methods prune: both take the smallest first, so the smaller number of the two.
    #[must_use]
    pub fn shared(&self, id: ParameterId) -> u64 {
        match (&self.layer_wise, &self.global) {
            (Ok(a), Ok(b)) => a.masked[id.0].min(b.masked[id.0]),
            _ => 0,
        }
    }

    /// Share of the pruned elements that both methods prune, 0..=1; `None` where nothing is pruned.
    #[must_use]
    pub fn agreement(&self) -> Option<f64> {
        let most = [&self.layer_wise, &self.global].into_iter().flatten().map(|o| o.pruned).max()?;
        let shared: u64 = self.scope.iter().map(|&id| self.shared(id)).sum();
        (most > 0).then(|| shared as f64 / most as f64)
    }
}

/// Both methods at the settings of `state`.
#[must_use]
pub fn figures(weights: Weights, state: &State) -> Figures {
    let graph = weights.graph;
    let scope = state.settings.scope(graph);
    let of = |method| outcome(weights, state, &scope, method);
    let elements = |id: &ParameterId| graph.parameter(*id).elements as u64;
    Figures {
        settings: state.settings.clone(),
        scope_elements: scope.iter().map(elements).sum(),
        model_elements: graph.elements() as u64,
        layer_wise: of(Method::LayerWise),
        global: of(Method::Global),
        scope,
    }
}

/// One method at the amount of `state`, on `scope`.
///
/// # Errors
/// An empty scope, or an amount that does not fit.
pub fn outcome(weights: Weights, state: &State, scope: &[ParameterId], method: Method) -> Result<Outcome, PruneError> {
    let Weights { graph, orders } = weights;
    let names: Vec<&str> = scope.iter().map(|&id| graph.parameter(id).name.as_str()).collect();
    let candidates: Vec<Candidate> = scope
        .iter()
        .zip(names)
        .filter_map(|(id, name)| {
            Some(Candidate { order: orders[id.0].as_ref()?, fixed: state.fixed[id.0], masked: state.masked[id.0], name })
        })
        .collect();
    if candidates.len() != scope.len() || candidates.iter().all(|c| c.order.is_empty()) {
        return Err(match graph.parameters.first() {
            Some(first) if graph.parameters.iter().all(|p| p.obstacle().is_some()) => PruneError::Quantized { dtype: first.dtype },
            _ => PruneError::EmptyScope,
        });
    }
    let selection = select(&candidates, method, state.settings.amount)?;
    let mut masked = state.masked.to_vec();
    let mut cuts = vec![None; orders.len()];
    for ((id, count), cut) in scope.iter().zip(&selection.masked).zip(selection.cuts) {
        masked[id.0] = *count;
        cuts[id.0] = cut;
    }
    let zeros: Vec<u64> =
        orders.iter().enumerate().map(|(i, order)| order.as_ref().map_or(0, |o| o.zeros().max(state.fixed[i]).max(masked[i]))).collect();
    let emptied = graph
        .parameters
        .iter()
        .enumerate()
        .filter(|(i, p)| p.elements > 0 && zeros[*i] == p.elements as u64 && orders[*i].as_ref().is_some_and(|o| o.zeros() < zeros[*i]))
        .map(|(i, _)| ParameterId(i))
        .collect();
    Ok(Outcome {
        method,
        cut: selection.cut,
        ties: selection.ties,
        pruned: selection.masked.iter().sum(),
        scope_zeros: scope.iter().map(|id| zeros[id.0]).sum(),
        model_zeros: zeros.iter().sum(),
        masked,
        zeros,
        cuts,
        emptied,
    })
}
