//! What to prune and how much, as the commands that prune take it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use crate::graph::Graph;
use crate::prune::{Amount, AmountError, InputNorms, Method, Pattern, PatternError, PruneError, Recipe, Schedule, State, Step};
use crate::recipes::{AppliedRecipe, RecipeError, RecipeFile, RecipeStep, RepairStep, ScoreName};
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

/// What ranks elements, and which go together.
#[derive(Debug, Args)]
pub(super) struct ChoiceArguments {
    /// What ranks the elements: magnitude, random:SEED, wanda (needs --images), or a file of scores or masks (.npz, .safetensors)
    #[arg(long, value_name = "SCORE", value_parser = score)]
    score: Option<String>,
    /// Elements one by one, or N:M: of every M inputs the N largest stay, whatever the amount
    #[arg(long, value_name = "N:M", conflicts_with = "structured", value_parser = groups)]
    pattern: Option<Pattern>,
    /// Whole slices, as the structured pruning of PyTorch: l1, l2 or linf, and 0 (outputs) or 1 (inputs)
    #[arg(long, value_name = "NORM:DIM", value_parser = slices)]
    structured: Option<Pattern>,
}

impl ChoiceArguments {
    fn pattern(&self) -> Option<Pattern> {
        self.pattern.or(self.structured)
    }

    /// Sets score and pattern, with nothing pruned yet.
    ///
    /// # Errors
    /// [`RecipeError`]
    pub(super) fn apply(&self, session: &mut Session, norms: &mut MeasureInputs) -> anyhow::Result<()> {
        let file = RecipeFile::new(vec![self.entry()]);
        let norms = file.images().map(|images| norms(session, images.as_deref())).transpose()?;
        let state = file.apply(session.engine(), norms.as_ref())?.state;
        Ok(session.go_to(state, Step::Recipe)?)
    }

    fn entry(&self) -> RecipeStep {
        RecipeStep { score: self.score.clone(), pattern: self.pattern().map(|pattern| pattern.to_string()), ..RecipeStep::default() }
    }
}

/// Method, amount and scope. A command that can do without asks [`Pruning::is_given`].
#[derive(Debug, Args)]
pub(super) struct Pruning {
    /// How the amount is shared among the parameters
    #[arg(long, value_enum)]
    pub(super) method: Option<Method>,
    /// A fraction (0.5), a percentage (50%) or a number of elements (1000); again for what is left after the first
    #[arg(long, requires = "method", allow_hyphen_values = true)]
    pub(super) amount: Vec<Amount>,
    /// An amount of its own for every module whose name matches (classifier=0.2); the rest shares what is left of the whole
    #[arg(long, value_name = "GLOB=A", value_parser = amount_of)]
    amount_of: Vec<(String, Amount)>,
    /// Come to the amount in so many steps, each on what the one before left
    #[arg(long, value_name = "N", requires = "amount", value_parser = clap::value_parser!(u32).range(1..=1000))]
    steps: Option<u32>,
    /// How large the steps are
    #[arg(long, value_enum, default_value_t, requires = "steps")]
    schedule: Schedule,
    #[command(flatten)]
    choice: ChoiceArguments,
    /// All of this from a recipe
    #[arg(long, value_name = "FILE", conflicts_with_all = ["method", "amount", "amount_of", "steps", "score", "pattern", "structured", "types", "modules", "biases", "no_biases"])]
    recipe: Option<PathBuf>,
    #[command(flatten)]
    pub(super) scope: ScopeArguments,
}

fn amount_of(text: &str) -> Result<(String, Amount), String> {
    let (name, amount) = text.rsplit_once('=').ok_or_else(|| format!("“{text}” is not NAME=AMOUNT, such as classifier=0.2"))?;
    Ok((name.to_owned(), amount.parse().map_err(|e: AmountError| e.to_string())?))
}

fn score(text: &str) -> Result<String, RecipeError> {
    text.parse::<ScoreName>().map(|_| text.to_owned())
}

fn groups(text: &str) -> Result<Pattern, PatternError> {
    match text.parse()? {
        Pattern::Slices { .. } => Err(PatternError::of(text)),
        pattern => Ok(pattern),
    }
}

fn slices(text: &str) -> Result<Pattern, PatternError> {
    match text.parse()? {
        pattern @ Pattern::Slices { .. } => Ok(pattern),
        _ => Err(PatternError::of(text)),
    }
}

/// Repairs what the steps of a recipe left in a state, before others follow; `None` where it was left as it is, which was told.
pub(super) type RepairBetween<'a> = dyn FnMut(&Session, &State, &RepairStep) -> anyhow::Result<Option<State>> + 'a;

/// Leaves the repairs between the steps of a recipe out, and tells so.
#[expect(clippy::unnecessary_wraps, reason = "stands where repairs can fail")]
pub(super) fn left_out(_: &Session, _: &State, _: &RepairStep) -> anyhow::Result<Option<State>> {
    let _ = writeln!(std::io::stderr(), "The recipe repairs between its steps: that is left out here");
    Ok(None)
}

/// Works out the score `wanda` on the images of this folder, or on those at hand.
pub(super) type MeasureInputs<'a> = dyn FnMut(&Session, Option<&Path>) -> anyhow::Result<Arc<InputNorms>> + 'a;

impl Pruning {
    /// Whether there is anything to prune.
    ///
    /// # Errors
    /// Half of what it takes is a mistake.
    pub(super) fn is_given(&self) -> anyhow::Result<bool> {
        let ChoiceArguments { score, pattern, structured } = &self.choice;
        // N:M and masks say themselves how much goes.
        let is_decided =
            pattern.is_some_and(Pattern::is_decided) || score.as_deref().is_some_and(|s| matches!(s.parse(), Ok(ScoreName::File(_))));
        let is_told = self.method.is_some() && !self.amount.is_empty();
        let has_begun = self.method.is_some() || !self.amount.is_empty() || !self.amount_of.is_empty();
        if self.recipe.is_some() || is_told || (is_decided && self.amount.is_empty()) {
            return Ok(true);
        }
        if has_begun || self.scope.is_given() || score.is_some() || pattern.is_some() || structured.is_some() {
            anyhow::bail!("what is pruned wants --method and --amount, or --pattern N:M, or --recipe FILE");
        }
        Ok(false)
    }

    /// Prunes as asked for, where anything is, one step after another; the last one stays open to be looked at. `norms` measures what the
    /// score `wanda` needs, `between` repairs between the steps of a recipe.
    ///
    /// # Errors
    /// A type or a name that no module has; [`RecipeError`]
    pub(super) fn apply(
        &self,
        session: &mut Session,
        norms: &mut MeasureInputs,
        between: &mut RepairBetween,
    ) -> anyhow::Result<Vec<String>> {
        if !self.is_given()? {
            return Ok(Vec::new());
        }
        let file = self.recipe_file()?;
        // What the command line names and the model does not have is refused; a recipe is for more than one model.
        if self.recipe.is_none() {
            let graph = &session.model().graph;
            let mut recipe = Recipe::new(graph);
            self.scope.apply(graph, &mut recipe)?;
            for (pattern, amount) in &self.amount_of {
                recipe.set_own(graph, pattern, *amount)?;
            }
        }
        let norms = file.images().map(|images| norms(session, images.as_deref())).transpose()?;
        let AppliedRecipe { mut state, mut missing, mut pending } = file.begin(session.engine(), norms.as_ref())?;
        while let Some(next) = pending {
            if let Some(repaired) = between(session, &state, &next.repair)? {
                state = repaired;
            }
            let applied = file.go_on(session.engine(), norms.as_ref(), state, &next)?;
            missing.extend(applied.missing);
            (state, pending) = (applied.state, applied.pending);
        }
        missing.sort();
        missing.dedup();
        if self.recipe.is_none() && self.amount.is_empty() && !state.recipe.is_decided() {
            anyhow::bail!(
                "{} holds scores and no masks, so that --method and --amount have to say how much goes",
                state.recipe.score.name()
            );
        }
        session.go_to(state, Step::Recipe)?;
        Ok(missing)
    }

    /// How a recipe repairs what all of its steps leave.
    ///
    /// # Errors
    /// [`RecipeError`]
    pub(super) fn repair(&self) -> Result<Option<RepairStep>, RecipeError> {
        Ok(self.recipe.as_deref().map(RecipeFile::read).transpose()?.and_then(|file| file.repair()))
    }

    /// Says on standard error that a recipe repairs, and that this is left out here.
    ///
    /// # Errors
    /// [`RecipeError`]
    pub(super) fn leave_repair(&self, why: &str) -> Result<(), RecipeError> {
        if self.repair()?.is_some() {
            let _ = writeln!(std::io::stderr(), "The recipe repairs what is left: {why}");
        }
        Ok(())
    }

    /// The recipe that the options are, or that they name.
    ///
    /// # Errors
    /// [`RecipeError`]
    pub(super) fn recipe_file(&self) -> Result<RecipeFile, RecipeError> {
        if let Some(path) = &self.recipe {
            return RecipeFile::read(path);
        }
        let scope = &self.scope;
        let list = |names: &[String]| (!names.is_empty()).then(|| names.to_vec());
        let entry = RecipeStep {
            types: list(&scope.types),
            modules: list(&scope.modules),
            biases: if scope.biases { Some(true) } else { scope.no_biases.then_some(false) },
            method: self.method,
            steps: self.steps,
            schedule: self.steps.map(|_| self.schedule),
            amount_of: (!self.amount_of.is_empty()).then(|| self.amount_of.iter().cloned().collect()),
            ..self.choice.entry()
        };
        let amounts = if self.amount.is_empty() { vec![None] } else { self.amount.iter().copied().map(Some).collect() };
        if self.steps.is_some() && amounts.len() > 1 {
            return Err(AmountError::Steps.into());
        }
        Ok(RecipeFile::new(amounts.into_iter().map(|amount| RecipeStep { amount, ..entry.clone() }).collect()))
    }
}
