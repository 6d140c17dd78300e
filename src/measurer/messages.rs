//! What is asked of the measurer, and what it tells.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Sizes, Timed};
use crate::evaluate::{Broken, Found, Sensitivity};
use crate::images::{Picture, Preprocess};
use crate::measure::{Effect, Loss};
use crate::network::Work;
use crate::prune::{Method, Settings, State};
use crate::session::Session;

/// Something to measure.
#[derive(Debug)]
pub enum Measure {
    /// Another model, or another device; what was measured on the one before is over.
    Model(Box<Session>),
    /// Show the networks the images in this folder or array file from now on.
    Images(PathBuf),
    /// The classes of the images are those that this file names.
    Labels(PathBuf),
    /// Preprocess images like this from now on; `None` as the files beside the model say.
    Preprocess(Option<Box<Preprocess>>),
    /// Show them noise.
    Noise,
    /// The slider is here.
    Position(State),
    /// Both methods over all amounts.
    Curve,
    /// Every parameter of the scope alone; goes on where it was stopped.
    Scan,
    /// The largest amounts that lose at most this share, 0..=1.
    Search(f64),
    /// Whether the parameters are weighed from now on, whenever the slider rests.
    Weigh(bool),
    /// Time forward passes of so many images.
    Time(usize),
    /// Stop curve, scan, search and timing.
    Stop,
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The folder or file; `None` for noise.
    pub path: Option<PathBuf>,
    /// Images.
    pub images: usize,
    /// Names of the classes, where known.
    pub classes: Vec<String>,
    /// Whether classes are known.
    pub is_labelled: bool,
    /// How they are preprocessed; `None` for noise.
    pub preprocess: Option<Preprocess>,
    /// Where that comes from, in words.
    pub provenance: String,
    /// Why the labels are not used, where there are any.
    pub remark: Option<String>,
}

/// What a position of the slider costs.
#[derive(Debug, Clone)]
pub struct Cost {
    /// The position.
    pub settings: Settings,
    /// The dense network.
    pub dense: Effect,
    /// Layer-wise; `None` where it cannot be applied here.
    pub layer_wise: Option<Effect>,
    /// Global; `None` where it cannot be applied here.
    pub global: Option<Effect>,
    /// Whether all images were seen.
    pub is_whole: bool,
    /// Images that could not be used.
    pub broken: Vec<Broken>,
}

impl Cost {
    /// The effect of a method.
    #[must_use]
    pub fn of(&self, method: Method) -> Option<&Effect> {
        match method {
            Method::LayerWise => self.layer_wise.as_ref(),
            Method::Global => self.global.as_ref(),
        }
    }
}

/// Both methods over amounts, sorted; filled from coarse to fine.
#[derive(Debug, Clone, Default)]
pub struct Curve {
    /// What the settings were, apart from method and amount.
    pub settings: Option<Settings>,
    /// Amount and effect.
    pub layer_wise: Vec<(f64, Effect)>,
    /// Amount and effect.
    pub global: Vec<(f64, Effect)>,
}

impl Curve {
    /// The points of a method.
    #[must_use]
    pub fn of(&self, method: Method) -> &[(f64, Effect)] {
        match method {
            Method::LayerWise => &self.layer_wise,
            Method::Global => &self.global,
        }
    }
}

/// What pruning takes from the weights at a position of the slider, without asking the network.
#[derive(Debug, Clone)]
pub struct Losses {
    /// The position.
    pub settings: Settings,
    /// Layer-wise, in graph order; `None` where it cannot be applied here.
    pub layer_wise: Option<Vec<Loss>>,
    /// Global, in graph order; `None` where it cannot be applied here.
    pub global: Option<Vec<Loss>>,
}

impl Losses {
    /// Those of a method.
    #[must_use]
    pub fn of(&self, method: Method) -> Option<&[Loss]> {
        match method {
            Method::LayerWise => self.layer_wise.as_deref(),
            Method::Global => self.global.as_deref(),
        }
    }
}

/// Something that was measured.
#[derive(Debug, Clone)]
pub enum Measured {
    /// What the networks are shown from now on; `None` after another model came.
    Shown(Option<Shown>),
    /// What the slider's position costs, as far as was seen.
    Cost(Box<Cost>),
    /// What the slider's position takes from the weights.
    Losses(Arc<Losses>),
    /// Pictures as the network sees them, by number of the image.
    Pictures(Arc<Vec<(usize, Picture)>>),
    /// A curve so far.
    Curve(Arc<Curve>),
    /// A scan so far.
    Scan(Arc<Sensitivity>),
    /// The largest bearable amounts, by method.
    Found(f64, Vec<Found>),
    /// Multiply-accumulates of the dense model, or why they cannot be counted.
    Work(Result<Arc<Work>, String>),
    /// What the parameters weigh.
    Sizes(Arc<Sizes>),
    /// How long forward passes take.
    Speed(Box<Timed>),
    /// How far work that was asked for is, 0..=1; `None` when none is left.
    Progress(Option<(f32, &'static str)>),
    /// It could not be measured.
    Failed(String),
}
