//! Figures of a whole prune, found without touching an element.

use std::sync::Arc;

use crate::graph::{Graph, Kind, ParameterId};
use crate::prune::{Candidate, Method, PerMethod, PruneError, Ranking, Recipe, Standing, select};

/// What figures are computed from. Lists have one entry per parameter of the graph, `None` where it cannot be pruned.
#[derive(Clone, Copy)]
pub struct Ranked<'a> {
    /// The network.
    pub graph: &'a Graph,
    /// Rankings of the parameters as opened.
    pub opened: &'a [Option<Arc<Ranking>>],
    /// How the parameters stand.
    pub standings: &'a [Option<Standing>],
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
    /// Magnitude of the largest pruned element; `None` where elements do not go one by one in the order of their magnitudes.
    pub cuts: Vec<Option<f64>>,
    /// The cut that all parameters share, see [`crate::prune::Selection::cut`]; `None` where each has its own, or nothing is pruned.
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

/// What several methods do at one amount, for the same scope.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// What they belong to.
    pub recipe: Recipe,
    /// Parameters of the scope, in graph order.
    pub scope: Vec<ParameterId>,
    /// Elements of the scope.
    pub scope_elements: u64,
    /// Elements of all parameters.
    pub model_elements: u64,
    /// What each method does, or why it cannot be applied at this amount.
    pub outcomes: PerMethod<Result<Outcome, PruneError>>,
}

impl Figures {
    /// The outcome of a method.
    ///
    /// # Errors
    /// Why it cannot be applied at this amount.
    pub fn of(&self, method: Method) -> Result<&Outcome, &PruneError> {
        self.outcomes.of(method).map_or(Err(&PruneError::NotCompared), Result::as_ref)
    }

    /// The outcome of the chosen method.
    ///
    /// # Errors
    /// Why it cannot be applied at this amount.
    pub fn chosen(&self) -> Result<&Outcome, &PruneError> {
        self.of(self.recipe.method)
    }

    /// The outcomes of all compared methods.
    ///
    /// # Errors
    /// Why the first one that cannot be applied at this amount cannot.
    pub fn all(&self) -> Result<Vec<(Method, &Outcome)>, &PruneError> {
        self.outcomes.iter().map(|(method, outcome)| Ok((method, outcome.as_ref()?))).collect()
    }

    /// Elements of a parameter that all methods prune: all take the first of one ranking, so the smallest of the numbers.
    #[must_use]
    pub fn shared(&self, id: ParameterId) -> u64 {
        let counts = self.outcomes.iter().map(|(_, outcome)| outcome.as_ref().map_or(0, |o| o.masked[id.0]));
        counts.min().unwrap_or(0)
    }

    /// Share of the pruned elements that all methods prune, 0..=1; `None` where nothing is pruned.
    #[must_use]
    pub fn agreement(&self) -> Option<f64> {
        let most = self.outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().ok()).map(|o| o.pruned).max()?;
        let shared: u64 = self.scope.iter().map(|&id| self.shared(id)).sum();
        (most > 0).then(|| shared as f64 / most as f64)
    }
}

/// Each of `methods` under `recipe`.
#[must_use]
pub fn figures(ranked: Ranked, recipe: &Recipe, methods: &[Method]) -> Figures {
    let graph = ranked.graph;
    let scope = recipe.scope(graph);
    let elements = |id: &ParameterId| graph.parameter(*id).elements as u64;
    Figures {
        recipe: recipe.clone(),
        scope_elements: scope.iter().map(elements).sum(),
        model_elements: graph.elements() as u64,
        outcomes: PerMethod::new(methods, |method| of_scope(ranked, &scope, recipe, method)),
        scope,
    }
}

/// What `recipe` does.
///
/// # Errors
/// An empty scope, or an amount that does not fit.
pub fn outcome(ranked: Ranked, recipe: &Recipe) -> Result<Outcome, PruneError> {
    of_scope(ranked, &recipe.scope(ranked.graph), recipe, recipe.method)
}

/// Why a scope is empty: nothing was ticked, or there is nothing to tick.
fn nothing_to_prune(graph: &Graph) -> PruneError {
    let weights = || graph.parameters.iter().filter(|p| p.kind == Kind::Weight);
    let Some((first, obstacle)) = weights().next().and_then(|first| Some((first, first.obstacle()?))) else {
        return PruneError::EmptyScope;
    };
    if weights().any(|p| p.obstacle().is_none()) {
        return PruneError::EmptyScope;
    }
    if first.dtype.is_float() {
        PruneError::Obstructed { name: first.name.clone(), obstacle }
    } else {
        PruneError::Quantized { dtype: first.dtype }
    }
}

fn of_scope(ranked: Ranked, scope: &[ParameterId], recipe: &Recipe, method: Method) -> Result<Outcome, PruneError> {
    let Ranked { graph, opened, standings } = ranked;
    let candidate = |id: &ParameterId| {
        let parameter = graph.parameter(*id);
        let standing = standings[id.0].as_ref()?;
        let own = recipe.own[parameter.module.0];
        Some(Candidate { standing, name: &parameter.name, shape: &parameter.shape, role: graph.owner(*id).role, own })
    };
    let candidates: Vec<Candidate> = scope.iter().filter_map(candidate).collect();
    if candidates.len() != scope.len() || candidates.iter().all(|c| c.standing.elements() == 0) {
        return Err(nothing_to_prune(graph));
    }
    let selection = select(&candidates, method, recipe.amount)?;
    let mut masked: Vec<u64> = standings.iter().map(|standing| standing.as_ref().map_or(0, Standing::count)).collect();
    let mut cuts = vec![None; standings.len()];
    for ((id, count), cut) in scope.iter().zip(&selection.masked).zip(selection.cuts) {
        masked[id.0] = *count;
        cuts[id.0] = cut.filter(|_| recipe.is_by_magnitude());
    }
    let zeros: Vec<u64> =
        standings.iter().zip(&masked).map(|(standing, &masked)| standing.as_ref().map_or(0, |s| s.zeros(masked))).collect();
    let is_emptied = |i: usize, elements: usize| {
        elements > 0 && zeros[i] == elements as u64 && opened[i].as_ref().is_some_and(|ranking| ranking.zeros() < zeros[i])
    };
    let emptied = (0..zeros.len()).filter(|&i| is_emptied(i, graph.parameters[i].elements)).map(ParameterId).collect();
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
