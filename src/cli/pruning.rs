//! What to prune and how much, as the commands that prune take it.

use clap::{Args, ValueEnum};

use crate::engine::EngineError;
use crate::graph::Graph;
use crate::prune::{Amount, AmountError, Method, PruneError, Recipe, Step};
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
    /// How the amount is shared among the parameters
    #[arg(long, value_enum, requires = "amount")]
    pub(super) method: Option<Method>,
    /// A fraction (0.5), a percentage (50%) or a number of elements (1000); again for what is left after the first
    #[arg(long, requires = "method", allow_hyphen_values = true)]
    pub(super) amount: Vec<Amount>,
    /// An amount of its own for every module whose name matches (classifier=0.2); the rest shares what is left of the whole
    #[arg(long, value_name = "GLOB=A", requires = "method", value_parser = amount_of)]
    amount_of: Vec<(String, Amount)>,
    /// Come to the amount in so many steps, each on what the one before left
    #[arg(long, value_name = "N", requires = "amount", value_parser = clap::value_parser!(u32).range(1..=1000))]
    steps: Option<u32>,
    /// How large the steps are
    #[arg(long, value_enum, default_value_t, requires = "steps")]
    schedule: Schedule,
    #[command(flatten)]
    pub(super) scope: ScopeArguments,
}

/// How an amount is divided into steps.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Schedule {
    /// Each takes the same share of what is left (Han et al. 2015)
    #[default]
    Even,
    /// Large ones first: the sparsity after step t of n is the amount × (1 − (1 − t/n)³) (Zhu and Gupta 2017)
    Cubic,
}

impl Schedule {
    /// The share of what is left that each of `steps` steps takes to come to `amount`, 0..=1.
    fn shares(self, amount: f64, steps: u32) -> Vec<f64> {
        let n = f64::from(steps);
        let reached = |step: u32| match self {
            Self::Even => 1.0 - (1.0 - amount).powf(f64::from(step) / n),
            Self::Cubic => amount * (1.0 - (1.0 - f64::from(step) / n).powi(3)),
        };
        // All is gone before the end where all is to go.
        let share = |step: u32| if reached(step - 1) < 1.0 { (reached(step) - reached(step - 1)) / (1.0 - reached(step - 1)) } else { 1.0 };
        (1..=steps).map(|step| share(step).clamp(0.0, 1.0)).collect()
    }
}

fn amount_of(text: &str) -> Result<(String, Amount), String> {
    let (name, amount) = text.rsplit_once('=').ok_or_else(|| format!("“{text}” is not NAME=AMOUNT, such as classifier=0.2"))?;
    Ok((name.to_owned(), amount.parse().map_err(|e: AmountError| e.to_string())?))
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
        recipe.method = self.method.unwrap_or(recipe.method);
        let model = session.model().clone();
        self.scope.apply(&model.graph, &mut recipe)?;
        let amounts = self.amounts().map_err(PruneError::from)?;
        for (i, &amount) in amounts.iter().enumerate() {
            recipe.amount = amount;
            for (pattern, own) in &self.amount_of {
                recipe.set_own(&model.graph, pattern, self.own(*own, i))?;
            }
            session.set(recipe.clone(), Step::Amount)?;
            if i + 1 < amounts.len() {
                session.apply()?;
            }
        }
        Ok(())
    }

    /// What a module with an amount of its own loses in this step, so that it comes to that amount.
    fn own(&self, amount: Amount, step: usize) -> Amount {
        match (amount, self.steps) {
            (Amount::Fraction(amount), Some(steps)) => Amount::Fraction(self.schedule.shares(amount, steps)[step]),
            (amount, _) if step == 0 => amount,
            _ => Amount::Count(0),
        }
    }

    /// The amounts of all steps, one after the other.
    ///
    /// # Errors
    /// Steps towards a number of elements, or towards several amounts.
    pub(super) fn amounts(&self) -> Result<Vec<Amount>, AmountError> {
        let Some(steps) = self.steps else { return Ok(self.amount.clone()) };
        match self.amount[..] {
            [Amount::Fraction(amount)] => Ok(self.schedule.shares(amount, steps).into_iter().map(Amount::Fraction).collect()),
            _ => Err(AmountError::Steps),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_come_to_the_amount() {
        for schedule in [Schedule::Even, Schedule::Cubic] {
            for amount in [0.0, 0.3, 0.5, 0.99, 1.0] {
                for steps in [1, 2, 5, 30] {
                    let shares = schedule.shares(amount, steps);
                    let left = shares.iter().fold(1.0, |left, share| left * (1.0 - share));
                    assert!(shares.len() == steps as usize && (1.0 - left - amount).abs() < 1e-9, "{schedule:?} {amount} {steps}: {left}");
                }
            }
        }
        let even = Schedule::Even.shares(0.5, 5);
        assert!(even.iter().all(|share| (share - even[0]).abs() < 1e-12));
        // By hand: 0.8 × (1 − (1/2)³) = 0.7, then the tenth that is missing of the 0.3 that are left.
        let cubic = Schedule::Cubic.shares(0.8, 2);
        assert!((cubic[0] - 0.7).abs() < 1e-12 && (cubic[1] - 1.0 / 3.0).abs() < 1e-12, "{cubic:?}");
    }
}
