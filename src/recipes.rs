//! Recipes in files: everything that decides the masks, to be read, written by hand, and applied to another model.
//!
//! A recipe is TOML. What stands at the top holds for every `[[step]]`, which says only what it does otherwise; without steps the top is
//! the only one. Steps follow one another as if each were applied in the window: the next takes its amount of what is left.
//!
//! ```toml
//! types = ["Conv2d", "Linear"]   # what may be pruned; or modules = ["blocks.*", "head"]
//! locked = ["conv_stem"]
//! biases = false
//! score = "magnitude"            # or "random:7", "wanda", or a file: "scores.npz"
//! pattern = "elements"           # or "2:4", "l2:0"
//! method = "lamp"
//! amount = 0.5                   # or a number of elements: 1000
//! amount-of = { head = 0.2 }     # modules with an amount of their own
//!
//! [repair]                       # what is left is repaired then
//! images = "photographs"         # the images that calibrate, where no others are given
//! calibration-images = 120
//! thorough = true
//! ```
//!
//! A repair needs images and so is not for a recipe to make: [`RecipeFile::begin`] goes as far as the first step whose repair others follow,
//! and tells which repair is wanted; whoever has images makes it, and goes on from there with [`RecipeFile::go_on`]. What is repaired
//! when all steps are done stands in [`RecipeFile::repair`].

mod scores;
mod step;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::atomic::{self, Overwrite, WriteError};
use crate::engine::{Engine, EngineError};
use crate::graph::Graph;
use crate::prune::{AmountError, InputNorms, PatternError, PruneError, Recipe, Score, State};
pub use scores::{ScoreError, read as read_scores};
pub use step::{RecipeStep, RepairStep, ScoreName, Then};

/// The ending of a recipe's name.
pub const EXTENSION: &str = "toml";

/// More steps than this are a mistake.
pub const MOST_STEPS: u32 = 1000;

/// The key of the list of steps.
const STEP: &str = "step";

/// What [`Score::name`] calls the score that needs images.
const WANDA: &str = "wanda";

/// The largest file that is looked at: a recipe names modules, so it is small.
const LARGEST: u64 = 1 << 24;

/// Why a recipe could not be read, applied or written.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The file is missing or cannot be read.
    #[error("cannot read the recipe: {source}: {}", path.display())]
    Read {
        /// What the system said.
        source: std::io::Error,
        /// Which.
        path: PathBuf,
    },
    /// It is no TOML, or has keys or values that a recipe has not.
    #[error("this is no recipe: {reason}: {}", path.display())]
    Broken {
        /// What is wrong, and where.
        reason: String,
        /// Which.
        path: PathBuf,
    },
    /// A pattern that there is not.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A score that there is not.
    #[error("“{0}” is no score: write magnitude, random:SEED, wanda, or a file (.npz, .npy, .safetensors)")]
    Score(String),
    /// More steps than anybody means.
    #[error("{0} steps are not between 1 and {MOST_STEPS}")]
    Steps(u32),
    /// Scores that need images, without any.
    #[error("the score wanda is worked out on images: say which (--images, or images = \"…\" in the recipe)")]
    NoImages,
    /// A file of scores could not be used.
    #[error(transparent)]
    Scores(#[from] ScoreError),
    /// The session refused it.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl From<PruneError> for RecipeError {
    fn from(error: PruneError) -> Self {
        Self::Engine(error.into())
    }
}

impl From<AmountError> for RecipeError {
    fn from(error: AmountError) -> Self {
        PruneError::from(error).into()
    }
}

/// What a recipe's file says, step by step.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RecipeFile {
    /// Each with what holds for all.
    steps: Vec<RecipeStep>,
    /// The folder that paths in it start from; `None` for one that is no file yet.
    folder: Option<PathBuf>,
}

impl RecipeFile {
    /// One step after another.
    #[must_use]
    pub fn new(steps: Vec<RecipeStep>) -> Self {
        Self { steps, folder: None }
    }

    /// What brought a model to `state`.
    #[must_use]
    pub fn of(state: &State, graph: &Graph) -> Self {
        let earlier = state.earlier.iter().map(|step| {
            let then = if step.is_fixed { Then::Fix } else { Then::Keep };
            let repair = step.repair.as_deref().map(RepairStep::of);
            RecipeStep { repair, ..RecipeStep::of(&step.recipe, graph, Some(then)) }
        });
        Self::new(earlier.chain([RecipeStep::of(&state.recipe, graph, None)]).collect())
    }

    /// Reads a recipe.
    ///
    /// # Errors
    /// [`RecipeError::Read`], [`RecipeError::Broken`]: unknown keys are named.
    pub fn read(path: &Path) -> Result<Self, RecipeError> {
        let unread = |source| RecipeError::Read { source, path: path.to_owned() };
        let broken = |reason: String| RecipeError::Broken { reason: reason.trim_end().to_owned(), path: path.to_owned() };
        let length = std::fs::metadata(path).map_err(unread)?.len();
        if length > LARGEST {
            return Err(broken(format!("it has {length} bytes, and no recipe has more than {LARGEST}")));
        }
        let text = String::from_utf8(std::fs::read(path).map_err(unread)?).map_err(|_| broken("it is no text".to_owned()))?;
        let mut file = Self::parse(&text).map_err(broken)?;
        file.folder = path.parent().map(Path::to_owned);
        Ok(file)
    }

    /// As [`RecipeFile::read`], of a text.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut common: toml::Table = text.parse().map_err(|e: toml::de::Error| e.to_string())?;
        let steps = match common.remove(STEP) {
            None => vec![common.clone()],
            Some(toml::Value::Array(steps)) if !steps.is_empty() => {
                let table = |(i, step)| match step {
                    toml::Value::Table(step) => Ok(common.clone().into_iter().chain(step).collect()),
                    _ => Err(format!("step {}: it is no table: write [[{STEP}]]", i + 1)),
                };
                (0..).zip(steps).map(table).collect::<Result<Vec<toml::Table>, String>>()?
            }
            Some(_) => return Err(format!("“{STEP}” is no list of steps: write [[{STEP}]]")),
        };
        let count = steps.len();
        let step = |(i, table): (usize, toml::Table)| {
            let of_step = |reason: String| if count > 1 { format!("step {}: {reason}", i + 1) } else { reason };
            let step: RecipeStep = table.try_into().map_err(|e: toml::de::Error| of_step(e.to_string()))?;
            step.check().map_err(|e| of_step(e.to_string()))?;
            Ok(step)
        };
        Ok(Self::new(steps.into_iter().enumerate().map(step).collect::<Result<_, String>>()?))
    }

    /// As TOML, with a line that says what it is: what all steps say stands at the top.
    ///
    /// # Errors
    /// A name that TOML cannot hold.
    pub fn text(&self) -> Result<String, toml::ser::Error> {
        let mut steps = self.steps.iter().map(toml::Table::try_from).collect::<Result<Vec<_>, _>>()?;
        let mut file = steps.first().cloned().unwrap_or_default();
        if steps.len() > 1 {
            file.retain(|key, value| steps.iter().all(|step| step.get(key) == Some(value)));
            for step in &mut steps {
                step.retain(|key, _| !file.contains_key(key));
            }
            file.insert(STEP.to_owned(), toml::Value::Array(steps.into_iter().map(toml::Value::Table).collect()));
        }
        Ok(format!("# Pruning recipe, Secateur {}\n{}", env!("CARGO_PKG_VERSION"), toml::to_string(&file)?))
    }

    /// Writes it to a file.
    ///
    /// # Errors
    /// [`RecipeError::Write`], [`RecipeError::Broken`]
    pub fn write(&self, path: &Path, overwrite: Overwrite) -> Result<(), RecipeError> {
        let text = self.text().map_err(|e| RecipeError::Broken { reason: e.to_string(), path: path.to_owned() })?;
        let staged = atomic::stage(path, overwrite, |out| out.write_all(text.as_bytes()))?;
        Ok(atomic::commit(vec![staged])?)
    }

    /// The images that its scores are worked out on: `None` where it needs none, `Some(None)` where it does not say which.
    #[must_use]
    pub fn images(&self) -> Option<Option<PathBuf>> {
        let step = self.steps.iter().find(|step| step.score.as_deref() == Some(WANDA))?;
        Some(step.images.as_ref().map(|images| self.path(images)))
    }

    /// How what all of its steps left is repaired at the end.
    #[must_use]
    pub fn repair(&self) -> Option<RepairStep> {
        self.repair_of(self.last_repair()?)
    }

    /// The step after which the repair at the end comes: no later one prunes.
    fn last_repair(&self) -> Option<usize> {
        let last = self.steps.iter().rposition(|step| step.repair.is_some())?;
        self.steps[last + 1..].iter().all(RecipeStep::prunes_nothing).then_some(last)
    }

    fn repair_of(&self, step: usize) -> Option<RepairStep> {
        let repair = self.steps.get(step)?.repair.as_ref()?;
        Some(RepairStep { images: repair.images.as_ref().map(|images| self.path(images)), ..repair.clone() })
    }

    /// How what step number `step` left is repaired before others follow; `None` where it is not, or where that is the repair at the end.
    fn repair_after(&self, step: usize) -> Option<RepairStep> {
        if self.last_repair() == Some(step) { None } else { self.repair_of(step) }
    }

    /// Whether it repairs between its steps, which [`RecipeFile::repair`] does not tell.
    #[must_use]
    pub fn repairs_between(&self) -> bool {
        self.steps.iter().filter(|step| step.repair.is_some()).count() > usize::from(self.last_repair().is_some())
    }

    /// A path in it, from where it lies.
    fn path(&self, path: &Path) -> PathBuf {
        self.folder.as_ref().map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }

    /// What it makes of the model as opened, without its repairs; the mask of the last step stays open unless it says otherwise. `norms` are
    /// those of [`RecipeFile::images`]. Names that the model does not have are left out and told.
    ///
    /// # Errors
    /// What a step cannot do.
    pub fn apply(&self, engine: &Engine, norms: Option<&Arc<InputNorms>>) -> Result<AppliedRecipe, RecipeError> {
        self.carry_out((engine, norms), engine.opened(), 0, false)
    }

    /// As [`RecipeFile::apply`], to the first step whose repair others follow.
    ///
    /// # Errors
    /// What a step cannot do.
    pub fn begin(&self, engine: &Engine, norms: Option<&Arc<InputNorms>>) -> Result<AppliedRecipe, RecipeError> {
        self.carry_out((engine, norms), engine.opened(), 0, true)
    }

    /// Goes on from `state`, in which what was done before `pending` was repaired, or could not be.
    ///
    /// # Errors
    /// What a step cannot do.
    pub fn go_on(
        &self,
        engine: &Engine,
        norms: Option<&Arc<InputNorms>>,
        state: State,
        pending: &PendingRepair,
    ) -> Result<AppliedRecipe, RecipeError> {
        self.carry_out((engine, norms), state, pending.next, true)
    }

    fn carry_out(
        &self,
        (engine, norms): (&Engine, Option<&Arc<InputNorms>>),
        mut state: State,
        first: usize,
        stops: bool,
    ) -> Result<AppliedRecipe, RecipeError> {
        let graph = &engine.model().graph;
        let mut missing = Vec::new();
        let mut pending = None;
        let mut read: Vec<(PathBuf, Score)> = Vec::new();
        for (i, entry) in self.steps.iter().enumerate().skip(first) {
            let mut recipe = Recipe::new(graph);
            missing.extend(entry.apply_scope(graph, &mut recipe));
            recipe.biases = entry.biases.unwrap_or(recipe.biases);
            recipe.method = entry.method.unwrap_or(recipe.method);
            recipe.pattern = entry.pattern()?;
            recipe.score = match entry.score()? {
                ScoreName::Magnitude => Score::Magnitude,
                ScoreName::Random(seed) => Score::Random(seed),
                ScoreName::Wanda => Score::Wanda(norms.ok_or(RecipeError::NoImages)?.clone()),
                ScoreName::File(path) => {
                    let path = self.path(&path);
                    if let Some((_, score)) = read.iter().find(|(known, _)| *known == path) {
                        score.clone()
                    } else {
                        let (given, unknown) = scores::read(&path, graph)?;
                        missing.extend(unknown);
                        let score = Score::Given(Arc::new(given));
                        read.push((path, score.clone()));
                        score
                    }
                }
            };
            let amounts = entry.amounts()?;
            for (step, &amount) in amounts.iter().enumerate() {
                recipe.amount = amount;
                recipe.own = entry.own(graph, step);
                state = state.with(recipe.clone());
                engine.check(&state).map_err(EngineError::from)?;
                let (is_last, is_last_of_all) = (step + 1 == amounts.len(), i + 1 == self.steps.len());
                let then = entry.then.or(entry.repair.as_ref().map(|_| Then::Fix));
                state = match then {
                    Some(Then::Fix) if is_last => engine.fix(&state)?,
                    None if is_last && is_last_of_all => state,
                    _ => engine.keep(&state)?,
                };
            }
            if let Some(repair) = self.repair_after(i).filter(|_| stops) {
                pending = Some(PendingRepair { repair, next: i + 1 });
                break;
            }
        }
        missing.sort();
        missing.dedup();
        Ok(AppliedRecipe { state, missing, pending })
    }
}

/// What a recipe makes of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct AppliedRecipe {
    /// Masks and weights, with the last step open where all are done.
    pub state: State,
    /// Names in the recipe, or in its files of scores, that the model does not have.
    pub missing: Vec<String>,
    /// What comes before the steps that are still to be done; `None` where all are.
    pub pending: Option<PendingRepair>,
}

/// A repair between two steps of a recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingRepair {
    /// How what the steps before it left is repaired.
    pub repair: RepairStep,
    /// The step after it.
    next: usize,
}

#[cfg(test)]
mod tests;
