//! What to prune and how much, as the commands that prune take it.

use clap::Args;

use super::MethodArgument;
use crate::graph::Graph;
use crate::prune::{Amount, Method, PruneError, Settings, Step};
use crate::session::{Session, SessionError};

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
    biases: bool,
    /// Leave biases alone
    #[arg(long, overrides_with = "biases")]
    no_biases: bool,
}

impl ScopeArguments {
    /// Narrows the scope of `settings`.
    ///
    /// # Errors
    /// A type or a name that no module has.
    pub(super) fn apply(&self, graph: &Graph, settings: &mut Settings) -> Result<(), PruneError> {
        settings.biases = if self.biases { true } else { settings.biases && !self.no_biases };
        settings.tick_only(graph, &self.types, &self.modules)
    }
}

/// Method, amount and scope. A command that can do without asks [`Pruning::is_given`].
#[derive(Debug, Args)]
pub(super) struct Pruning {
    /// Each parameter on its own, or all together
    #[arg(long, value_enum, requires = "amount")]
    method: Option<MethodArgument>,
    /// A fraction (0.5), a percentage (50%) or a number of elements (1000); again for what is left after the first
    #[arg(long, requires = "method", allow_hyphen_values = true)]
    pub(super) amount: Vec<Amount>,
    #[command(flatten)]
    scope: ScopeArguments,
}

impl Pruning {
    /// Whether there is anything to prune.
    pub(super) fn is_given(&self) -> bool {
        self.method.is_some()
    }

    /// Prunes as asked for, one amount after the other; the last one stays open to be looked at.
    ///
    /// # Errors
    /// [`SessionError::Prune`]
    pub(super) fn apply(&self, session: &mut Session) -> Result<(), SessionError> {
        let mut settings = session.state().settings.clone();
        settings.method = match self.method {
            Some(MethodArgument::Global) => Method::Global,
            Some(MethodArgument::LayerWise) => Method::LayerWise,
            None => settings.method,
        };
        let model = session.model().clone();
        self.scope.apply(&model.graph, &mut settings)?;
        for (i, &amount) in self.amount.iter().enumerate() {
            settings.amount = amount;
            session.set(settings.clone(), Step::Amount)?;
            if i + 1 < self.amount.len() {
                session.apply()?;
            }
        }
        Ok(())
    }
}
