//! What is asked of the worker, and what it tells.

use std::path::PathBuf;
use std::sync::Arc;

use crate::atomic::Overwrite;
use crate::device::ComputeDevice;
use crate::engine::{ChannelPlan, Chosen, FoundChannels, Model, ModelId, Removal};
use crate::export::{Format, Report};
use crate::graph::ParameterId;
use crate::measure::{Detail, Figures};
use crate::measurer::{Finding, Repaired};
use crate::prune::{InputNorms, Method, Recipe, State, Step};
use crate::recipes::{PendingRepair, RecipeFile, RepairStep};
use crate::repair::Judged;

/// Something to do.
#[derive(Debug, Clone)]
pub enum Job {
    /// Open a file in place of the present one.
    Open(PathBuf),
    /// Change the recipe. Many in a row are shown once.
    Set(Box<Recipe>, Step),
    /// Show this method beside the applied one from now on, whatever the model.
    Compare(Method),
    /// A drag has ended.
    EndDrag,
    /// Keep the mask, prune further.
    Apply,
    /// Make the mask permanent.
    Fix,
    /// Go on with the second of these states, which is the first one repaired; refused where the model is no longer in the first.
    Repair(Box<[State; 2]>),
    /// This plan of what goes of the channels is set from now on; the number counts the plans that the window sets.
    Plan(Box<ChannelPlan>, u64),
    /// Say which channels go by this plan. Many in a row are told once.
    Choose(Arc<FoundChannels>, Box<ChannelPlan>),
    /// Remove these channels; of what their masked twin became, where it was repaired. Refused where the model is no longer in the state
    /// that was repaired.
    Remove(Arc<Chosen>, Option<Box<Repaired>>),
    /// Forget masks and amount.
    Reset,
    /// One step back.
    Undo,
    /// One step forward.
    Redo,
    /// Look closely at a parameter from now on, or at none.
    Look(Option<ParameterId>),
    /// Save the model as pruned now.
    Save(PathBuf, Format, Overwrite),
    /// Save the table of figures.
    SaveTable(PathBuf, Overwrite),
    /// Rank the elements by the scores in this file, or take over its masks.
    ReadScores(PathBuf),
    /// Do what this recipe says; where its scores need images, with these norms.
    OpenRecipe(PathBuf, Option<Arc<InputNorms>>),
    /// Do what a recipe says after a repair.
    GoOn(Box<RestOfRecipe>),
    /// Save what was done as a recipe.
    SaveRecipe(PathBuf, Overwrite),
    /// Save a text that the window made.
    SaveText(PathBuf, Arc<str>, Overwrite),
}

/// What a recipe that was opened does after a repair.
#[derive(Debug, Clone)]
pub struct RestOfRecipe {
    /// All of it.
    pub file: RecipeFile,
    /// What its scores need.
    pub norms: Option<Arc<InputNorms>>,
    /// The repair.
    pub pending: PendingRepair,
}

/// Something that happened, and the model that it is about; the first, 0, is none.
#[derive(Debug, Clone)]
pub struct Told {
    /// Which of the models that were opened.
    pub model: ModelId,
    /// What happened.
    pub event: Event,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// The device on which networks run is known.
    DeviceChosen(Arc<ComputeDevice>),
    /// Long work is going on; `done` is 0..=1.
    Progressed {
        /// How far.
        done: f32,
        /// What part.
        what: String,
    },
    /// A model is open; figures follow.
    Opened(Arc<Model>),
    /// The same model with other channels, after some were removed or that was undone; figures follow.
    Replaced(Arc<Model>),
    /// What a plan takes.
    Chosen(Arc<Chosen>),
    /// What undo would take back, and redo do again, after a plan was set.
    Planned([Option<Step>; 2]),
    /// The state changed, by whatever job; these belong together.
    Changed(Box<View>),
    /// The parameter that is looked at.
    Looked(ParameterId, Look),
    /// Names in a recipe, or in a file of scores, that the model does not have.
    Missing(Vec<String>),
    /// The recipe that was opened repairs what it left, like this; more of its steps may follow.
    WantsRepair(RepairStep, Option<Box<RestOfRecipe>>),
    /// This recipe wants the norms of inputs, over these images where it says which.
    WantsNorms(PathBuf, Option<PathBuf>),
    /// Files were written.
    Saved(Report),
    /// The table was written.
    TableSaved(PathBuf),
    /// There is a file of that name: ask, and send the job again.
    Occupied(PathBuf, Box<Job>),
    /// A job failed; what was there stays.
    Failed {
        /// What was tried.
        what: &'static str,
        /// What went wrong and what to do.
        message: String,
    },
    /// Something was measured.
    Measured(Finding),
    /// No job is left.
    Idle,
}

/// A parameter looked at closely, or why it can no longer be read.
pub type Look = Result<Arc<Detail>, String>;

/// Everything on screen that depends on the state.
#[derive(Debug, Clone)]
pub struct View {
    /// The applied method and the one beside it, in this order, under the present recipe.
    pub figures: Figures,
    /// What they are of.
    pub state: State,
    /// What undo would take back.
    pub undoable: Option<Step>,
    /// What redo would do again.
    pub redoable: Option<Step>,
    /// What is to go of the channels.
    pub plan: ChannelPlan,
    /// The number of the plan that was set last, whatever became of it since.
    pub planned: u64,
    /// What became of the model as opened by removing channels.
    pub removal: Option<Removal>,
    /// How it was repaired before that.
    pub repaired: Option<Arc<Judged>>,
    /// Something was fixed, kept or removed and not saved.
    pub is_unsaved: bool,
    /// Something is fixed.
    pub is_fixed: bool,
    /// Masks were kept from earlier amounts.
    pub is_applied: bool,
}

impl Job {
    /// What is being tried, for an error's title.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Open(_) => "Open",
            Self::Set(..) | Self::EndDrag | Self::Apply => "Prune",
            Self::Compare(_) => "Compare",
            Self::Fix => "Fix weights",
            Self::Repair(_) => "Repair",
            Self::Plan(..) | Self::Choose(..) => "Choose channels",
            Self::Remove(..) => "Remove channels",
            Self::Reset => "Reset",
            Self::Undo => "Undo",
            Self::Redo => "Redo",
            Self::Look(_) => "Look at a parameter",
            Self::Save(..) => "Save",
            Self::ReadScores(_) => "Read the scores",
            Self::OpenRecipe(..) | Self::GoOn(_) => "Open the recipe",
            Self::SaveRecipe(..) => "Save the recipe",
            Self::SaveTable(..) | Self::SaveText(..) => "Save the table",
        }
    }

    /// The same job, with leave to replace a file.
    #[must_use]
    pub fn overwriting(self) -> Self {
        match self {
            Self::Save(path, format, _) => Self::Save(path, format, Overwrite::Allow),
            Self::SaveTable(path, _) => Self::SaveTable(path, Overwrite::Allow),
            Self::SaveRecipe(path, _) => Self::SaveRecipe(path, Overwrite::Allow),
            Self::SaveText(path, text, _) => Self::SaveText(path, text, Overwrite::Allow),
            other => other,
        }
    }
}
