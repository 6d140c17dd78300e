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
//! A repair needs images and so is not for [`RecipeFile::apply`]: it tells that one is wanted, and whoever has images does it. What a
//! recipe repairs between its steps is left out, and told.

mod scores;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::atomic::{self, Overwrite, WriteError};
use crate::engine::{Engine, EngineError};
use crate::graph::Graph;
use crate::prune::{
    Amount, AmountError, InputNorms, Method, Pattern, PatternError, PruneError, Recipe, Repair, Schedule, Score, State, glob,
};
pub use scores::{ScoreError, read as read_scores};

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

/// What is said of a step; `None` leaves what holds for all, or else what a person starts with.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RecipeStep {
    /// Only modules of these types.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub types: Option<Vec<String>>,
    /// Only modules whose names match; * stands for any text, ? for one character.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modules: Option<Vec<String>>,
    /// Modules that stay as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked: Option<Vec<String>>,
    /// Whether biases are pruned like weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub biases: Option<bool>,
    /// As [`Score::name`] writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<String>,
    /// The images on which the score `wanda` is worked out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<PathBuf>,
    /// As [`Pattern`]'s `Display` writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// How the amount is shared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// A fraction of what is left, or a number of elements.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
    /// Come to the amount in so many steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// How large these are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// What becomes of the mask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub then: Option<Then>,
    /// Amounts of their own, by name; where two match a module, the longer one counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_of: Option<BTreeMap<String, Amount>>,
    /// How what is left is repaired then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<RepairStep>,
}

/// How what a step left is repaired.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RepairStep {
    /// Where the images that calibrate are; `None` where it was noise, or nobody says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<PathBuf>,
    /// So many of them calibrate; `None` for the usual number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration_images: Option<usize>,
    /// Whether kept weights are fitted too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub thorough: bool,
}

impl RepairStep {
    fn of(repair: &Repair) -> Self {
        let calibration_images = repair.images.as_ref().map(|_| repair.calibration_images);
        Self { images: repair.images.clone(), calibration_images, thorough: repair.is_thorough }
    }

    /// The folder of its own that calibrates where `shown` is what judges: not that one, and still there.
    #[must_use]
    pub fn folder(&self, shown: &Path) -> Option<&Path> {
        let shown = std::path::absolute(shown).unwrap_or_else(|_| shown.to_owned());
        self.images.as_deref().filter(|images| std::path::absolute(images).is_ok_and(|images| images != shown) && images.exists())
    }

    /// How many of `all` images of `shown` calibrate where no folder of its own does: as many as it says, if it says so of these images.
    #[must_use]
    pub fn calibration_images_of(&self, shown: &Path) -> Option<usize> {
        let shown = std::path::absolute(shown).unwrap_or_else(|_| shown.to_owned());
        let is_of_these = self.images.as_deref().is_none_or(|images| std::path::absolute(images).is_ok_and(|images| images == shown));
        self.calibration_images.filter(|_| is_of_these)
    }
}

/// What becomes of a step's mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// It is kept, and the next step takes of what is left. The mask of the last step stays open unless it says otherwise.
    Keep,
    /// Its zeros become the weights.
    Fix,
}

/// A score as a recipe names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScoreName {
    /// [`Score::Magnitude`].
    Magnitude,
    /// [`Score::Random`].
    Random(u64),
    /// [`Score::Wanda`].
    Wanda,
    /// [`Score::Given`].
    File(PathBuf),
}

impl FromStr for ScoreName {
    type Err = RecipeError;

    fn from_str(text: &str) -> Result<Self, RecipeError> {
        match text.split_once(':') {
            _ if text == "magnitude" => Ok(Self::Magnitude),
            _ if text == WANDA => Ok(Self::Wanda),
            Some(("random", seed)) => seed.parse().map(Self::Random).map_err(|_| RecipeError::Score(text.to_owned())),
            _ if scores::is_known(Path::new(text)) => Ok(Self::File(text.into())),
            _ => Err(RecipeError::Score(text.to_owned())),
        }
    }
}

impl RecipeStep {
    /// What `recipe` says.
    fn of(recipe: &Recipe, graph: &Graph, then: Option<Then>) -> Self {
        let names = |is_in: &dyn Fn(usize) -> bool| -> Vec<String> {
            graph.modules.iter().enumerate().filter(|(i, _)| is_in(*i)).map(|(_, module)| module.name.clone()).collect()
        };
        // Whole types say more than a list of modules.
        let ticked = |kind: &str| graph.modules.iter().zip(&recipe.ticked).filter(|(m, _)| m.kind == kind).all(|(_, ticked)| *ticked);
        let types: Vec<String> = graph.types().iter().map(|(kind, _)| (*kind).to_owned()).filter(|kind| ticked(kind)).collect();
        let is_by_type =
            !types.is_empty() && graph.modules.iter().zip(&recipe.ticked).all(|(m, &ticked)| ticked == types.contains(&m.kind));
        let own = graph.modules.iter().zip(&recipe.own).filter_map(|(module, own)| Some((module.name.clone(), (*own)?)));
        let (own, locked): (BTreeMap<_, _>, _) = (own.collect(), names(&|i| recipe.locked[i]));
        Self {
            modules: (!is_by_type).then(|| names(&|i| recipe.ticked[i])),
            types: is_by_type.then_some(types),
            locked: (!locked.is_empty()).then_some(locked),
            biases: Some(recipe.biases),
            score: Some(recipe.score.name()),
            images: if let Score::Wanda(norms) = &recipe.score { Some(norms.images.clone()) } else { None },
            pattern: Some(recipe.pattern.to_string()),
            method: Some(recipe.method),
            amount: Some(recipe.amount),
            steps: None,
            schedule: None,
            then,
            amount_of: (!own.is_empty()).then_some(own),
            repair: None,
        }
    }

    /// Whether its mask is empty whatever the model.
    fn prunes_nothing(&self) -> bool {
        let is_nothing = |amount: Amount| matches!(amount, Amount::Fraction(0.0) | Amount::Count(0));
        let is_decided = self.pattern().is_ok_and(Pattern::is_decided) || matches!(self.score(), Ok(ScoreName::File(_)));
        self.amount.is_none_or(is_nothing) && !is_decided && self.amount_of.is_none()
    }

    /// Whether it can be understood at all.
    fn check(&self) -> Result<(), RecipeError> {
        self.score()?;
        self.pattern()?;
        let amount = |amount: &Amount| match *amount {
            Amount::Fraction(value) if !(0.0..=1.0).contains(&value) => Err(AmountError::Fraction { value }),
            _ => Ok(()),
        };
        self.amount.iter().chain(self.amount_of.iter().flat_map(BTreeMap::values)).try_for_each(amount)?;
        self.amounts().map(drop)
    }

    fn score(&self) -> Result<ScoreName, RecipeError> {
        self.score.as_deref().map_or(Ok(ScoreName::Magnitude), str::parse)
    }

    fn pattern(&self) -> Result<Pattern, RecipeError> {
        Ok(self.pattern.as_deref().map_or(Ok(Pattern::Elements), str::parse)?)
    }

    /// The amounts of its steps.
    fn amounts(&self) -> Result<Vec<Amount>, RecipeError> {
        let amount = self.amount.unwrap_or(Amount::Fraction(0.0));
        let Some(steps) = self.steps else { return Ok(vec![amount]) };
        if !(1..=MOST_STEPS).contains(&steps) {
            return Err(RecipeError::Steps(steps));
        }
        match amount {
            Amount::Fraction(amount) => {
                Ok(self.schedule.unwrap_or_default().shares(amount, steps).into_iter().map(Amount::Fraction).collect())
            }
            Amount::Count(_) => Err(AmountError::Steps.into()),
        }
    }

    /// What modules with an amount of their own lose in this step of several, so that they come to that amount.
    fn own(&self, graph: &Graph, step: usize) -> Vec<Option<Amount>> {
        let mut named: Vec<(&String, Amount)> = self.amount_of.iter().flatten().map(|(name, &amount)| (name, amount)).collect();
        named.sort_by_key(|(name, _)| name.len());
        for (_, amount) in &mut named {
            *amount = match (*amount, self.steps) {
                (Amount::Fraction(amount), Some(steps)) => {
                    let shares = self.schedule.unwrap_or_default().shares(amount, steps);
                    Amount::Fraction(shares.get(step).copied().unwrap_or(0.0))
                }
                (amount, _) if step == 0 => amount,
                _ => Amount::Count(0),
            };
        }
        let own = |name: &str| named.iter().rev().find(|(pattern, _)| glob(pattern, name)).map(|(_, amount)| *amount);
        graph.modules.iter().map(|module| own(&module.name)).collect()
    }

    /// Ticks and locks as it says; returns the names that no module has.
    fn apply_scope(&self, graph: &Graph, recipe: &mut Recipe) -> Vec<String> {
        let mut missing = Vec::new();
        if let Some(types) = &self.types {
            missing.extend(types.iter().filter(|kind| !graph.modules.iter().any(|m| m.kind == **kind)).cloned());
        }
        for pattern in self.modules.iter().chain(&self.locked).flatten().chain(self.amount_of.iter().flat_map(BTreeMap::keys)) {
            if !graph.modules.iter().any(|m| glob(pattern, &m.name)) {
                missing.push(pattern.clone());
            }
        }
        let matches = |patterns: &[String], name: &str| patterns.iter().any(|pattern| glob(pattern, name));
        for (i, module) in graph.modules.iter().enumerate() {
            if self.types.is_some() || self.modules.is_some() {
                recipe.ticked[i] = self.types.as_ref().is_none_or(|types| types.contains(&module.kind))
                    && self.modules.as_ref().is_none_or(|patterns| matches(patterns, &module.name));
            }
            recipe.locked[i] = self.locked.as_ref().is_some_and(|patterns| matches(patterns, &module.name));
        }
        missing
    }
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
        let repair = self.steps.get(self.last_repair()?)?.repair.as_ref()?;
        Some(RepairStep { images: repair.images.as_ref().map(|images| self.path(images)), ..repair.clone() })
    }

    /// The step after which the repair at the end comes: no later one prunes.
    fn last_repair(&self) -> Option<usize> {
        let last = self.steps.iter().rposition(|step| step.repair.is_some())?;
        self.steps[last + 1..].iter().all(RecipeStep::prunes_nothing).then_some(last)
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

    /// What it makes of the model as opened, without its repairs; the mask of the last step stays open unless it says otherwise. `norms` are those of
    /// [`RecipeFile::images`]. Names that the model does not have are left out and told.
    ///
    /// # Errors
    /// What a step cannot do.
    pub fn apply(&self, engine: &Engine, norms: Option<&Arc<InputNorms>>) -> Result<AppliedRecipe, RecipeError> {
        let graph = &engine.model().graph;
        let mut state = engine.opened();
        let mut missing = Vec::new();
        let mut read: Vec<(PathBuf, Score)> = Vec::new();
        for (i, entry) in self.steps.iter().enumerate() {
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
        }
        missing.sort();
        missing.dedup();
        Ok(AppliedRecipe { state, missing })
    }
}

/// What a recipe makes of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct AppliedRecipe {
    /// Masks and weights, with the last step open.
    pub state: State,
    /// Names in the recipe, or in its files of scores, that the model does not have.
    pub missing: Vec<String>,
}

#[cfg(test)]
mod tests;
