//! What a recipe's file says of one step.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{MOST_STEPS, RecipeError, WANDA, scores};
use crate::graph::Graph;
use crate::prune::{Amount, AmountError, Method, Pattern, Recipe, Repair, Schedule, Score, glob};

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
    pub(super) fn of(repair: &Repair) -> Self {
        let calibration_images = repair.images.as_ref().map(|_| repair.calibration_images);
        Self { images: repair.images.clone(), calibration_images, thorough: repair.is_thorough }
    }

    /// The folder of its own that calibrates where `shown` is what judges: not that one, and still there.
    #[must_use]
    pub fn folder(&self, shown: &Path) -> Option<&Path> {
        let shown = std::path::absolute(shown).unwrap_or_else(|_| shown.to_owned());
        self.images.as_deref().filter(|images| std::path::absolute(images).is_ok_and(|images| images != shown) && images.exists())
    }

    /// How many images calibrate where `shown` is what judges: as many as it says, if it says so of these, or of a folder that is there.
    #[must_use]
    pub fn calibration_images_of(&self, shown: &Path) -> Option<usize> {
        let shown = std::path::absolute(shown).unwrap_or_else(|_| shown.to_owned());
        let is_of_these = self.images.as_deref().is_none_or(|images| std::path::absolute(images).is_ok_and(|images| images == shown));
        self.calibration_images.filter(|_| is_of_these || self.folder(&shown).is_some())
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
    pub(super) fn of(recipe: &Recipe, graph: &Graph, then: Option<Then>) -> Self {
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
    pub(super) fn prunes_nothing(&self) -> bool {
        let is_nothing = |amount: Amount| matches!(amount, Amount::Fraction(0.0) | Amount::Count(0));
        let is_decided = self.pattern().is_ok_and(Pattern::is_decided) || matches!(self.score(), Ok(ScoreName::File(_)));
        self.amount.is_none_or(is_nothing) && !is_decided && self.amount_of.is_none()
    }

    /// Whether it can be understood at all.
    pub(super) fn check(&self) -> Result<(), RecipeError> {
        self.score()?;
        self.pattern()?;
        let amount = |amount: &Amount| match *amount {
            Amount::Fraction(value) if !(0.0..=1.0).contains(&value) => Err(AmountError::Fraction { value }),
            _ => Ok(()),
        };
        self.amount.iter().chain(self.amount_of.iter().flat_map(BTreeMap::values)).try_for_each(amount)?;
        self.amounts().map(drop)
    }

    pub(super) fn score(&self) -> Result<ScoreName, RecipeError> {
        self.score.as_deref().map_or(Ok(ScoreName::Magnitude), str::parse)
    }

    pub(super) fn pattern(&self) -> Result<Pattern, RecipeError> {
        Ok(self.pattern.as_deref().map_or(Ok(Pattern::Elements), str::parse)?)
    }

    /// The amounts of its steps.
    pub(super) fn amounts(&self) -> Result<Vec<Amount>, RecipeError> {
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
    pub(super) fn own(&self, graph: &Graph, step: usize) -> Vec<Option<Amount>> {
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
    pub(super) fn apply_scope(&self, graph: &Graph, recipe: &mut Recipe) -> Vec<String> {
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
