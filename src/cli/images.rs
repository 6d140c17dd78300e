//! Images and their preprocessing, as the commands that measure take them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::DeviceArgument;
use super::pruning::MeasureInputs;
use super::repair::CalibrationArguments;
use super::terminal::{Terminal, open_device};
use crate::engine::Engine;
use crate::escaped::escaped;
use crate::evaluate::{Evaluator, Questions};
use crate::graph::Graph;
use crate::images::{ChannelOrder, ClassOrder, Colours, Filter, ImageSet, ImagesError, LeftOut, Preprocess, Provenance, Resize};
use crate::measure::Effect;
use crate::prune::{InputNorms, State};
use crate::recipes::{RecipeError, RepairStep};
use crate::repair::Repairer;
use crate::session::Session;
use crate::watch::Part;

/// A model and what it is shown.
#[derive(Debug, Args)]
pub(super) struct ImageArguments {
    /// Model to measure
    pub(super) file: PathBuf,
    /// Folder with one folder per class, or a flat one; or .npy, .npz; or one picture
    #[arg(long, value_name = "DIR", required_unless_present = "noise")]
    pub(super) images: Option<PathBuf>,
    /// Measure on seeded noise, without images: what it says of real ones is little
    #[arg(long, conflicts_with = "images")]
    noise: bool,
    /// Names of all classes in order (text, JSON), or a table of pictures and labels (.csv)
    #[arg(long, value_name = "FILE", requires = "images")]
    labels: Option<PathBuf>,
    /// Order of numbered class folders: as torchvision sorts them (0, 1, 10, 2), or by number (0, 1, 2, 10)
    #[arg(long, value_enum, value_name = "ORDER", requires = "images")]
    class_order: Option<ClassOrder>,
    /// The output that answers, where the one that is taken by itself is not meant
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    #[command(flatten)]
    pictures: PictureArguments,
    /// Where the network runs
    #[arg(long, value_enum, default_value_t)]
    device: DeviceArgument,
}

/// How pictures become inputs.
#[derive(Debug, Args)]
pub(super) struct PictureArguments {
    /// At most so many images, from all classes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Images at a time
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch: u32,
    #[command(flatten)]
    preprocess: PreprocessArguments,
}

impl Default for PictureArguments {
    fn default() -> Self {
        Self { limit: None, batch: 60, preprocess: PreprocessArguments::default() }
    }
}

impl PictureArguments {
    /// The pictures of a set as questions to a model, with what they become.
    fn questions(&self, graph: &Graph, file: &Path, set: Arc<ImageSet>) -> anyhow::Result<(Questions, PreprocessReport)> {
        self.limited(graph, file, set, self.limit.map(|n| n as usize))
    }

    fn limited(
        &self,
        graph: &Graph,
        file: &Path,
        set: Arc<ImageSet>,
        limit: Option<usize>,
    ) -> anyhow::Result<(Questions, PreprocessReport)> {
        let (preprocess, from) = self.preprocess.apply(Preprocess::for_model(graph, file));
        preprocess.check().context("cannot use the images")?;
        let report = PreprocessReport::of(&preprocess, &from);
        let questions = Questions::images(graph, set, preprocess, limit, self.batch as usize);
        Ok((questions.context("cannot use the images")?, report))
    }

    /// How pictures are preprocessed, noise among them.
    fn preprocess(&self, graph: &Graph, file: &Path) -> Preprocess {
        self.preprocess.apply(Preprocess::for_model(graph, file)).0
    }

    /// What repairs a session's model on some of the images of a folder, or on those of another, and what judges it on the others.
    pub(super) fn repairer_and_judge(
        &self,
        session: &Session,
        images: &Path,
        calibrating: &CalibrationArguments,
    ) -> anyhow::Result<(Repairer, Evaluator)> {
        let set = ImageSet::open(images, None).context("cannot use the images")?;
        let (calibration, judged) = calibrating.divide(set)?;
        let (model, engine) = (session.model(), session.engine());
        let (questions, _) = self.limited(&model.graph, &model.file.path, Arc::new(calibration), None)?;
        let repairer = Repairer::new(engine.clone(), questions, calibrating.options(Some(images)));
        let classes = judged.is_labelled().then_some(judged.classes.len());
        let (questions, _) = self.questions(&model.graph, &model.file.path, Arc::new(judged))?;
        Ok((repairer, Evaluator::new(engine.clone(), questions, classes)))
    }

    /// Repairs between the steps of a recipe, on the images of this folder, or where it is none on those that the recipe names.
    pub(super) fn between<'a>(
        &'a self,
        images: Option<&'a Path>,
        calibrating: &'a CalibrationArguments,
        watch: &'a Terminal,
    ) -> impl FnMut(&Session, &State, &RepairStep) -> anyhow::Result<Option<State>> + 'a {
        move |session, state, step| {
            let known = step.images.as_deref().filter(|images| images.exists());
            let Some(images) = images.or(known) else {
                let _ = writeln!(std::io::stderr(), "The recipe repairs between its steps: say on which images, --images");
                return Ok(None);
            };
            let (mut repairer, mut judge) = self.repairer_and_judge(session, images, &calibrating.or(Some(step), Some(images)))?;
            let judged = repairer.judged(&mut judge, state, watch).context("cannot repair between the steps of the recipe")?;
            if !judged.is_better() {
                let why = "the network would agree less with the dense one";
                let _ = writeln!(std::io::stderr(), "A repair between the recipe's steps is not applied: {why}");
                return Ok(None);
            }
            Ok(Some(judged.state))
        }
    }

    /// How large the inputs of the layers of a session's model are on the images of a folder.
    pub(super) fn norms(&self, session: &Session, images: &Path, watch: &Terminal) -> anyhow::Result<Arc<InputNorms>> {
        let set = ImageSet::open(images, None).context("cannot use the images")?;
        let model = session.model();
        let (questions, _) = self.questions(&model.graph, &model.file.path, Arc::new(set))?;
        let images = std::path::absolute(images).unwrap_or_else(|_| images.to_owned());
        let norms = Evaluator::new(session.engine().clone(), questions, None).norms(&images, watch);
        Ok(Arc::new(norms.context("cannot measure the inputs of the layers")?))
    }
}

/// Measures inputs on the images that a recipe names, for commands that take none themselves.
pub(super) fn on_recipe_images(watch: &Terminal) -> impl FnMut(&Session, Option<&Path>) -> anyhow::Result<Arc<InputNorms>> {
    |session, images| PictureArguments::default().norms(session, images.ok_or(RecipeError::NoImages)?, watch)
}

#[derive(Debug, Args, Default)]
#[command(next_help_heading = "Preprocessing, where the files beside the model do not say it")]
struct PreprocessArguments {
    /// Height and width of the input (224, or 224x320)
    #[arg(long, value_parser = size)]
    size: Option<[usize; 2]>,
    /// Share of the resized picture that the centre crop keeps
    #[arg(long)]
    crop: Option<f64>,
    /// What the picture's edges become before the crop
    #[arg(long, value_enum)]
    resize: Option<Resize>,
    /// How pixels are mixed
    #[arg(long, value_enum)]
    filter: Option<Filter>,
    /// What values of 0 to 255 are divided by first: 255, or 1
    #[arg(long)]
    divisor: Option<f64>,
    /// Then taken off: one number, or one per channel (0.485,0.456,0.406)
    #[arg(long, value_parser = three, allow_hyphen_values = true)]
    mean: Option<[f32; 3]>,
    /// Then divides: one number, or one per channel
    #[arg(long, value_parser = three)]
    std: Option<[f32; 3]>,
    /// Colours of the input
    #[arg(long, value_enum)]
    channels: Option<Colours>,
    /// Order of the input
    #[arg(long, value_enum)]
    layout: Option<ChannelOrder>,
}

/// The values of `--channels` and its like are their names.
macro_rules! named_values {
    ($($type:ty),*) => {$(
        impl ValueEnum for $type {
            fn value_variants<'a>() -> &'a [Self] {
                &Self::ALL
            }

            fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
                Some(clap::builder::PossibleValue::new(self.name()))
            }
        }
    )*};
}

named_values!(Resize, Filter, Colours, ChannelOrder, ClassOrder);

fn size(text: &str) -> Result<[usize; 2], String> {
    let edge = |edge: &str| edge.trim().parse::<usize>().map_err(|_| format!("“{text}” is no size; write 224, or height x width: 224x320"));
    match text.split_once(['x', '×', ',']) {
        Some((height, width)) => Ok([edge(height)?, edge(width)?]),
        None => edge(text).map(|e| [e, e]),
    }
}

fn three(text: &str) -> Result<[f32; 3], String> {
    let refused = |_| format!("“{text}” is not one number nor three, such as 0.485,0.456,0.406");
    let numbers = text.split(',').map(|n| n.trim().parse::<f32>()).collect::<Result<Vec<_>, _>>().map_err(refused)?;
    match numbers[..] {
        [n] => Ok([n; 3]),
        [a, b, c] => Ok([a, b, c]),
        _ => Err(format!("“{text}” is not one number nor three, such as 0.485,0.456,0.406")),
    }
}

impl PreprocessArguments {
    fn apply(&self, (p, from): (Preprocess, Provenance)) -> (Preprocess, Provenance) {
        let chosen = Preprocess {
            size: self.size.unwrap_or(p.size),
            crop: self.crop.unwrap_or(p.crop),
            resize: self.resize.unwrap_or(p.resize),
            filter: self.filter.unwrap_or(p.filter),
            divisor: self.divisor.unwrap_or(p.divisor),
            mean: self.mean.unwrap_or(p.mean),
            std: self.std.unwrap_or(p.std),
            channels: self.channels.unwrap_or(p.channels),
            layout: self.layout.unwrap_or(p.layout),
        };
        let from = if chosen == p { from } else { Provenance::Chosen };
        (chosen, from)
    }
}

/// What the images were, in a report.
#[derive(Serialize)]
pub(super) struct ImagesReport {
    model: String,
    device: String,
    /// `None` for noise.
    images: Option<String>,
    classes: usize,
    preprocessing: Option<PreprocessReport>,
    broken: Vec<BrokenReport>,
    /// The output that the answers are taken from.
    output: Option<String>,
    /// Images that went through the network at once.
    batch: usize,
    /// What lies in the folder; `None` for noise.
    folder: Option<FolderReport>,
}

/// Images and what was left out, which add up to everything that lies there.
#[derive(Serialize)]
struct FolderReport {
    entries: usize,
    images: usize,
    classes: Vec<ClassReport>,
    inside: Option<String>,
    without_pictures: Vec<String>,
    left_out: Vec<LeftOutReport>,
    is_order_in_doubt: bool,
}

#[derive(Serialize)]
struct ClassReport {
    name: String,
    images: usize,
}

#[derive(Serialize)]
struct LeftOutReport {
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    extension: Option<String>,
    number: usize,
    example: String,
}

#[derive(Serialize)]
struct PreprocessReport {
    size: [usize; 2],
    crop: f64,
    resize: &'static str,
    filter: &'static str,
    divisor: f64,
    mean: [f32; 3],
    std: [f32; 3],
    channels: &'static str,
    layout: &'static str,
    from: String,
    #[serde(skip)]
    words: String,
}

#[derive(Serialize)]
struct BrokenReport {
    name: String,
    reason: String,
}

/// How many broken pictures are named on a terminal; JSON has them all.
const NAMED: usize = 10;

impl ImagesReport {
    /// Lines for a person.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match (&self.images, &self.preprocessing) {
            (Some(images), Some(p)) => {
                let classes = if self.classes > 0 { format!("{} classes", self.classes) } else { "no labels".to_owned() };
                lines.push(format!("{}: {classes}; {} · crop {} · {}; {}", escaped(images), p.words, p.crop, p.filter, p.from));
            }
            _ => lines.push("Noise, not images: what it says of real ones is little".to_owned()),
        }
        for broken in self.broken.iter().take(NAMED) {
            lines.push(format!("Left out: {}: {}", escaped(&broken.name), escaped(&broken.reason)));
        }
        if self.broken.len() > NAMED {
            lines.push(format!("Left out as well: {} more", self.broken.len() - NAMED));
        }
        lines
    }
}

/// An evaluator, and what to say of its images once they have been seen.
pub(super) struct Measured {
    pub(super) evaluator: Evaluator,
    /// What was done to the model.
    pub(super) state: State,
    /// Where the model is to be repaired.
    pub(super) repairer: Option<Repairer>,
    shown: ImagesReport,
    set: Option<Arc<ImageSet>>,
}

impl ImageArguments {
    /// Whether images are named, and not noise.
    pub(super) fn has_images(&self) -> bool {
        self.images.is_some()
    }

    /// As [`PictureArguments::between`], on these images.
    pub(super) fn between<'a>(
        &'a self,
        calibrating: &'a CalibrationArguments,
        watch: &'a Terminal,
    ) -> impl FnMut(&Session, &State, &RepairStep) -> anyhow::Result<Option<State>> + 'a {
        self.pictures.between(self.images.as_deref(), calibrating, watch)
    }

    /// Opens model and images. `prepare` prunes, or sets the scope, before anything is measured; with what it is given, the score `wanda` is
    /// worked out on the images of another folder, or on these.
    pub(super) fn open(
        &self,
        watch: &Terminal,
        prepare: impl FnOnce(&mut Session, &mut MeasureInputs) -> anyhow::Result<()>,
    ) -> anyhow::Result<Measured> {
        self.open_with(None, watch, prepare)
    }

    /// As [`Self::open`]. Where the model is to be repaired some of the images calibrate, or those of another folder, and the others are
    /// measured on.
    pub(super) fn open_with(
        &self,
        calibrating: Option<&CalibrationArguments>,
        watch: &Terminal,
        prepare: impl FnOnce(&mut Session, &mut MeasureInputs) -> anyhow::Result<()>,
    ) -> anyhow::Result<Measured> {
        // What is quick to refuse comes first.
        let set = self.images.as_ref().map(|path| self.set(path)).transpose().context("cannot use the images")?;
        let engine = Engine::open(&self.file, watch).context("cannot open the model")?;
        let device = open_device(self.device)?;
        let device_name = device.name.clone();
        let mut session = Session::new(engine.on(device));
        prepare(&mut session, &mut |session, images| {
            let images = images.or(self.images.as_deref()).ok_or(RecipeError::NoImages)?;
            self.pictures.norms(session, images, watch)
        })?;
        let graph = session.model().graph.clone();
        let folder = set.as_ref().map(FolderReport::of);
        let (calibrating_set, set) = match (calibrating, set) {
            (Some(arguments), Some(set)) => {
                let (calibration, judged) = arguments.divide(set)?;
                (Some(calibration), Some(judged))
            }
            (_, set) => (None, set),
        };
        let repairer = calibrating.map(|arguments| self.repairer(&session, arguments, calibrating_set)).transpose()?;
        let set = set.map(Arc::new);
        let (questions, preprocessing) = match &set {
            None => {
                let (pictures, preprocess) = (&self.pictures, self.pictures.preprocess(&graph, &self.file));
                let noise = Questions::noise(&graph, &preprocess, pictures.limit.map(|n| n as usize), pictures.batch as usize);
                (noise.context("cannot make noise")?, None)
            }
            Some(set) => {
                let (questions, report) = self.pictures.questions(&graph, &self.file, set.clone())?;
                (questions, Some(report))
            }
        };
        let shown = ImagesReport {
            model: self.file.display().to_string(),
            device: device_name,
            images: self.images.as_ref().map(|path| path.display().to_string()),
            classes: set.as_ref().map_or(0, |set| set.classes.len()),
            preprocessing,
            broken: Vec::new(),
            output: None,
            batch: self.pictures.batch as usize,
            folder,
        };
        let state = session.state().clone();
        let classes = set.as_ref().filter(|set| set.is_labelled()).map(|set| set.classes.len());
        let mut evaluator = Evaluator::new(session.engine().clone(), questions, classes);
        evaluator.choose_output(self.output.as_deref())?;
        Ok(Measured { evaluator, state, repairer, shown, set })
    }
}

impl ImageArguments {
    /// Calibrates on these images, or on noise.
    fn repairer(&self, session: &Session, calibrating: &CalibrationArguments, set: Option<ImageSet>) -> anyhow::Result<Repairer> {
        let graph = &session.model().graph;
        let images = self.images.as_deref().filter(|_| set.is_some());
        let questions = match set {
            Some(set) => self.pictures.limited(graph, &self.file, Arc::new(set), None)?.0,
            None => {
                let preprocess = self.pictures.preprocess(graph, &self.file);
                Questions::calibrating_noise(graph, &preprocess, self.pictures.batch as usize).context("cannot calibrate")?
            }
        };
        Ok(Repairer::new(session.engine().clone(), questions, calibrating.options(images)))
    }

    /// The images at `path`; what a person is to know of them is told on standard error.
    fn set(&self, path: &Path) -> Result<ImageSet, ImagesError> {
        let set = ImageSet::open(path, self.labels.as_deref())?;
        let set = match self.class_order {
            Some(order) => set.ordered(order),
            None => set,
        };
        for line in set.remarks() {
            let _ = writeln!(std::io::stderr(), "{}", escaped(&line));
        }
        Ok(set)
    }
}

impl FolderReport {
    fn of(set: &ImageSet) -> Self {
        let class = |(name, images): (&str, usize)| ClassReport { name: name.to_owned(), images };
        let left_out = |left: &LeftOut| LeftOutReport {
            reason: left.reason.name(),
            extension: left.extension.clone(),
            number: left.number,
            example: left.example.clone(),
        };
        Self {
            entries: set.inventory.entries,
            images: set.images.len(),
            classes: set.class_sizes().into_iter().map(class).collect(),
            inside: set.inventory.inside.clone(),
            without_pictures: set.inventory.without_pictures.clone(),
            left_out: set.inventory.left_out.iter().map(left_out).collect(),
            is_order_in_doubt: set.is_order_in_doubt(),
        }
    }
}

impl PreprocessReport {
    fn of(p: &Preprocess, from: &Provenance) -> Self {
        Self {
            size: p.size,
            crop: p.crop,
            resize: p.resize.name(),
            filter: p.filter.name(),
            divisor: p.divisor,
            mean: p.mean,
            std: p.std,
            channels: p.channels.name(),
            layout: p.layout.name(),
            from: from.to_string(),
            words: p.to_string(),
        }
    }
}

impl Measured {
    /// The dense network's figures over all images, once its classes are known to be those of the labels.
    pub(super) fn dense(&mut self, watch: Part<'_>) -> anyhow::Result<Effect> {
        const CANNOT: &str = "cannot measure the model";
        self.evaluator.dense(Some(1), &Part { share: 0.0, ..watch }).context(CANNOT)?;
        for remark in self.evaluator.remarks() {
            let _ = writeln!(std::io::stderr(), "{}", escaped(&remark));
        }
        if let (Some(set), Some(classes)) = (&self.set, self.evaluator.num_classes()) {
            set.fits(classes).context("cannot use the labels")?;
            if set.is_labelled() && set.classes.len() != classes {
                let _ = writeln!(std::io::stderr(), "{} classes and {classes} outputs", set.classes.len());
            }
        }
        self.evaluator.dense(None, &watch).context(CANNOT)
    }

    /// What was shown, with the pictures that broke.
    pub(super) fn finish(mut self) -> ImagesReport {
        let broken = self.evaluator.questions().broken().iter();
        let output = self.evaluator.answering().map(|answering| answering.output);
        self.shown.output = output.and_then(|i| self.evaluator.engine().model().graph.outputs.get(i)).map(|(name, _)| name.clone());
        self.shown.batch = self.evaluator.questions().batching().size();
        self.shown.broken = broken.map(|b| BrokenReport { name: b.name.clone(), reason: b.reason.clone() }).collect();
        self.shown
    }
}
