//! What to prune and how much, as the commands that prune take it.

use clap::Args;

use super::MethodArgument;
use crate::engine::EngineError;
use crate::graph::Graph;
use crate::prune::{Amount, Method, PruneError, Recipe, Step};
use crate::session::Session;

/// Which modules, and which of their parameters.
#[derive(Debug, Args)]
pub(super) struct ScopeArguments {
    /// Only modules of these types, separated by commas
    #[arg(long, value_delimiter = ',')]
    types: Vec<String>,
    /// Only modules whose name matches; * stands for any text, ? for one character
    #[arg(long, value_name = "GLOB")]
    modules: Vec<String>,
    /// Prune biases like weights
    #[arg(long, overrides_with = "no_biases")]
    pub(super) biases: bool,
    /// Leave biases alone
    #[arg(long, overrides_with = "biases")]
    no_biases: bool,
}

impl ScopeArguments {
    /// Whether anything was said.
    pub(super) fn is_given(&self) -> bool {
        !self.types.is_empty() || !self.modules.is_empty() || self.biases || self.no_biases
    }

    /// Narrows the scope of `recipe`.
    ///
    /// # Errors
    /// A type or a name that no module has.
    pub(super) fn apply(&self, graph: &Graph, recipe: &mut Recipe) -> Result<(), PruneError> {
        recipe.biases = if self.biases { true } else { recipe.biases && !self.no_biases };
        recipe.tick_only(graph, &self.types, &self.modules)
    }
}

/// Method, amount and scope. A command that can do without asks [`Pruning::is_given`].
#[derive(Debug, Args)]
pub(super) struct Pruning {
    /// Each parameter on its own, or all together
    #[arg(long, value_enum, requires = "amount")]
    pub(super) method: Option<MethodArgument>,
    /// A fraction (0.5), a percentage (50%) or a number of elements (1000); again for what is left after the first
    #[arg(long, requires = "method", allow_hyphen_values = true)]
    pub(super) amount: Vec<Amount>,
    #[command(flatten)]
    pub(super) scope: ScopeArguments,
}

impl Pruning {
    /// Whether there is anything to prune.
    ///
    /// # Errors
    /// A scope without a method is a mistake.
    pub(super) fn is_given(&self) -> anyhow::Result<bool> {
        if self.method.is_none() && self.scope.is_given() {
            anyhow::bail!("--types, --modules and --biases say what is pruned and want --method and --amount beside them");
        }
        Ok(self.method.is_some())
    }

    /// Prunes as asked for, one amount after the other; the last one stays open to be looked at.
    ///
    /// # Errors
    /// [`EngineError::Prune`]
    pub(super) fn apply(&self, session: &mut Session) -> Result<(), EngineError> {
        let mut recipe = session.state().recipe.clone();
        recipe.method = match self.method {
            Some(MethodArgument::Global) => Method::Global,
            Some(MethodArgument::LayerWise) => Method::LayerWise,
            None => recipe.method,
        };
        let model = session.model().clone();
        self.scope.apply(&model.graph, &mut recipe)?;
        for (i, &amount) in self.amount.iter().enumerate() {
            recipe.amount = amount;
            session.set(recipe.clone(), Step::Amount)?;
            if i + 1 < self.amount.len() {
                session.apply()?;
            }
        }
        Ok(())
    }
}
