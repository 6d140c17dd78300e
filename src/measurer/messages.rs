//! What is asked of the measurer, and what it tells.

use std::path::PathBuf;
use std::sync::Arc;

use super::{RepairChoice, RepairPart, Repaired, Sizes, Timed};
use crate::engine::{ChannelPlan, Chosen, FoundChannels};
use crate::evaluate::{Broken, Found, Sensitivity};
use crate::images::{ClassOrder, Preprocess, RgbPicture};
use crate::measure::{Effect, Loss, Pace};
use crate::network::Work;
use crate::prune::{InputNorms, Method, PerMethod, Recipe, State};

/// Where the slider is, and what is looked at there.
#[derive(Debug, Clone, PartialEq)]
pub struct Position {
    /// What is applied.
    pub state: State,
    /// The method beside the applied one.
    pub beside: Method,
}

impl Position {
    /// The applied method and the one beside it.
    #[must_use]
    pub fn methods(&self) -> [Method; 2] {
        [self.state.recipe.method, self.beside]
    }
}

/// What a person asks for.
#[derive(Debug, Clone)]
pub enum Request {
    /// Show the networks the images in this folder or array file from now on.
    Images(PathBuf),
    /// The classes of the images are those that this file names.
    Labels(PathBuf),
    /// Numbered classes are in this order.
    ClassOrder(ClassOrder),
    /// The output of this name answers; `None` for the one that classifies.
    Output(Option<String>),
    /// Preprocess images like this from now on; `None` as the files beside the model say.
    Preprocess(Option<Box<Preprocess>>),
    /// Show them noise.
    Noise,
    /// These methods over all amounts, and repaired like this too; what is known already of the same scope is not measured again.
    Curve(Vec<Method>, Option<RepairChoice>),
    /// Every weight of more than one dimension alone, whatever the scope; goes on where it was stopped.
    Scan,
    /// The largest amounts of the two methods on screen that lose at most this share, 0..=1, repaired like this where it is said how.
    Search(f64, Option<RepairChoice>),
    /// This plan over all amounts, and repaired like this too; what is known already of the same plan is not measured again.
    ChannelCurve(Arc<Chosen>, Option<RepairChoice>),
    /// The largest amount of this plan that loses at most this share, 0..=1, repaired like this where it is said how.
    ChannelSearch(Arc<Chosen>, f64, Option<RepairChoice>),
    /// Repair the network as pruned at the slider's position; where channels are to be removed from it, its masked twin.
    Repair(RepairChoice, Option<Arc<Chosen>>),
    /// Whether the parameters are weighed from now on, whenever the slider rests.
    Weigh(bool),
    /// Time forward passes of so many images.
    Time(usize),
    /// Time forward passes of so many images through the model and through the one that it was before channels were removed.
    Pace(usize),
    /// How large the inputs of the layers are, for the score `wanda`.
    Norms,
    /// Whether somebody looks at channels from now on: they are found once for every model.
    Channels(bool),
    /// What is chosen of the channels is this; its masked twin is measured whenever it rests and somebody looks at it.
    Chosen(Arc<Chosen>),
}

/// Long work that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskKind {
    /// See [`Request::Curve`].
    Curve,
    /// See [`Request::Scan`].
    Scan,
    /// See [`Request::Search`].
    Search,
    /// See [`Request::Time`].
    Time,
    /// See [`Request::Norms`].
    Norms,
    /// See [`Request::Repair`].
    Repair,
}

impl TaskKind {
    /// As on screen, beside how far it is.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Curve => "Curve",
            Self::Scan => "Sensitivity",
            Self::Search => "Search",
            Self::Time => "Speed",
            Self::Norms => "Inputs of layers",
            Self::Repair => "Repair",
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// The folder or file; `None` for noise.
    pub path: Option<PathBuf>,
    /// Images.
    pub images: usize,
    /// Names of the classes, where known.
    pub classes: Vec<String>,
    /// Whether classes are known.
    pub is_labelled: bool,
    /// How many classes there are whose labels cannot be used; `remark` says why.
    pub unused_classes: usize,
    /// How they are preprocessed; `None` for noise.
    pub preprocess: Option<Preprocess>,
    /// Where that comes from, in words.
    pub provenance: String,
    /// Why the labels are not used, where that is so.
    pub remark: Option<String>,
    /// What was taken as classes and what was left out of the folder, a line each; empty where nothing was left out.
    pub inventory: Vec<String>,
    /// Whether the classes are numbered, so that their order is a person's choice.
    pub asks_order: bool,
    /// What was chosen.
    pub class_order: Option<ClassOrder>,
}

/// What a position of the slider costs.
#[derive(Debug, Clone)]
pub struct Cost {
    /// The position.
    pub state: State,
    /// Images that are not asked because they calibrated a repair of this state.
    pub calibrated: usize,
    /// The dense network.
    pub dense: Effect,
    /// The pruned ones; `None` where a method cannot be applied here, or was not measured yet.
    pub effects: PerMethod<Option<Effect>>,
    /// Whether all images were seen.
    pub is_whole: bool,
    /// Images that could not be used.
    pub broken: Vec<Broken>,
    /// Which of the model's outputs answers.
    pub output: usize,
    /// Whether a person chose it.
    pub is_output_chosen: bool,
    /// What a person should know of how the network is asked and answers, a line each.
    pub remarks: Vec<String>,
}

/// What removing channels costs, measured on the network in which they are zero.
#[derive(Debug, Clone)]
pub struct TwinCost {
    /// What goes.
    pub chosen: Arc<Chosen>,
    /// Images that are not asked because they calibrated a repair of this network.
    pub calibrated: usize,
    /// The dense network.
    pub dense: Effect,
    /// The masked twin.
    pub effect: Effect,
    /// Whether all images were seen.
    pub is_whole: bool,
}

/// What removing channels costs over amounts, by one plan; filled from coarse to fine.
#[derive(Debug, Clone)]
pub struct ChannelCurve {
    /// What the channels are removed from.
    pub state: State,
    /// What decides which of them go, apart from the amount.
    pub plan: ChannelPlan,
    /// The share that is gone of what the amount is of, 0..=1, and what the masked twin answers; sorted by share.
    pub points: Vec<(f64, Effect)>,
    /// The same, repaired.
    pub repaired: Vec<(f64, Effect)>,
    /// How.
    pub repair: Option<RepairChoice>,
}

impl ChannelCurve {
    /// Nothing measured yet.
    #[must_use]
    pub fn new(state: State, plan: &ChannelPlan) -> Self {
        Self { state, plan: plan.with_share(0.0), points: Vec::new(), repaired: Vec::new(), repair: None }
    }

    /// Whether it is of this state and of this plan, whatever its amount.
    #[must_use]
    pub fn is_of(&self, state: &State, plan: &ChannelPlan) -> bool {
        self.plan == plan.with_share(0.0) && self.state == *state
    }
}

/// The largest amount of channels that loses no more than so much.
#[derive(Debug, Clone)]
pub struct BearableChannels {
    /// What they are removed from.
    pub state: State,
    /// What decides which of them go, apart from the amount.
    pub plan: ChannelPlan,
    /// What may be lost, 0..=1.
    pub drop: f64,
    /// Whether what is left is repaired.
    pub is_repaired: bool,
    /// The amount, 0..=1.
    pub share: f64,
    /// The share that is gone then, as rounding to multiples allows.
    pub gone: f64,
    /// What it costs.
    pub effect: Effect,
}

/// Methods over amounts; filled from coarse to fine.
#[derive(Debug, Clone, Default)]
pub struct Curve {
    /// What was pruned, apart from method and amount.
    pub state: Option<State>,
    /// Amount and effect, sorted by amount; without the amounts that a method does not reach.
    pub points: PerMethod<Vec<(f64, Effect)>>,
    /// The same, repaired.
    pub repaired: PerMethod<Vec<(f64, Effect)>>,
    /// How.
    pub repair: Option<RepairChoice>,
}

/// The largest amounts that lose no more than so much.
#[derive(Debug, Clone)]
pub struct Bearable {
    /// What may be lost, 0..=1.
    pub drop: f64,
    /// Whether what is left is repaired.
    pub is_repaired: bool,
    /// One for every method.
    pub found: Vec<Found>,
}

/// What pruning takes from the weights at a position of the slider, without asking the network.
#[derive(Debug, Clone)]
pub struct Losses {
    /// The position.
    pub recipe: Recipe,
    /// In graph order; `None` where a method cannot be applied here.
    pub losses: PerMethod<Option<Vec<Loss>>>,
}

/// Something that was found out.
#[derive(Debug, Clone)]
pub enum Finding {
    /// What the networks are shown from now on.
    Shown(Shown),
    /// What the slider's position costs, as far as was seen.
    Cost(Box<Cost>),
    /// What the slider's position takes from the weights.
    Losses(Arc<Losses>),
    /// Pictures as the network sees them, by number of the image.
    Pictures(Arc<Vec<(usize, RgbPicture)>>),
    /// A curve so far.
    Curve(Arc<Curve>),
    /// A scan so far.
    Scan(Arc<Sensitivity>),
    /// The largest bearable amounts, by method, and whether what is left is repaired.
    Found(Bearable),
    /// A repair, whether it is any good or not.
    Repaired(Box<Repaired>),
    /// Why nothing was repaired.
    NotRepaired(String),
    /// How far a repair is, 0..=1.
    Repairing(f32, RepairPart),
    /// Multiply-accumulates of the dense model, or why they cannot be counted.
    Work(Result<Arc<Work>, String>),
    /// What the parameters weigh.
    Sizes(Arc<Sizes>),
    /// How large the inputs of the layers are over the images that are shown.
    Norms(Arc<InputNorms>),
    /// How long forward passes take.
    Speed(Box<Timed>),
    /// The channels of the model, or why there are none to be found.
    Channels(Result<Arc<FoundChannels>, String>),
    /// How long forward passes take through the model as opened and as it is.
    Pace(Pace, String),
    /// How many bytes the file without what is chosen has.
    Bytes(Arc<Chosen>, u64),
    /// What removing channels costs, as far as was seen.
    Twin(Box<TwinCost>),
    /// A curve of a plan of channels so far.
    ChannelCurve(Arc<ChannelCurve>),
    /// The largest bearable amount of channels.
    BearableChannels(Box<BearableChannels>),
    /// How far work that was asked for is, 0..=1; `None` when none is left.
    Progress(Option<(f32, TaskKind)>),
    /// It could not be measured.
    Failed(String),
}
