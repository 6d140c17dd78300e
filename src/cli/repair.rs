//! `secateur repair`: prune a model, repair what is left on images, say what that gave back, save it. And `--repair` of other commands.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::images::{ImageArguments, Measured};
use super::inspect::count;
use super::print_json;
use super::pruning::Pruning;
use super::rows::{Row, print};
use super::terminal::Terminal;
use crate::atomic::Overwrite;
use crate::escaped::escaped;
use crate::export::Format;
use crate::images::ImageSet;
use crate::prune::{NormStatistics, Repair, State};
use crate::recipes::RepairStep;
use crate::repair::{Judged, Options, RepairError, USUAL_CALIBRATION, split, spread};
use crate::watch::Watch;

/// Which images calibrate, and what they may take.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Repair")]
pub(super) struct CalibrationArguments {
    /// Folder of images that calibrate, without labels; otherwise a third of --images does, and at most 256, and the others judge
    #[arg(long, value_name = "DIR")]
    calibration: Option<PathBuf>,
    /// Fit the kept weights by least squares too: better where much is gone, and slower
    #[arg(long)]
    thorough: bool,
    /// So many images calibrate
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    calibration_images: Option<u32>,
    /// What both networks' activations may take together: 500MB, 2GB
    #[arg(long, value_name = "SIZE", default_value = "1GB", value_parser = memory)]
    memory: usize,
}

/// Whether other commands repair, and how.
#[derive(Debug, Args)]
pub(super) struct RepairArguments {
    /// Repair what is left on some of the images, and judge it on the others
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    calibration: CalibrationArguments,
}

impl RepairArguments {
    /// Which images calibrate, where anything is repaired.
    pub(super) fn calibration(&self) -> &CalibrationArguments {
        &self.calibration
    }

    /// How, where they do: because it is asked for, or because `recipe` says so of what all of its steps leave.
    pub(super) fn asked(&self, recipe: Option<&RepairStep>, images: Option<&Path>) -> Option<CalibrationArguments> {
        (self.repair || recipe.is_some()).then(|| self.calibration.or(recipe, images))
    }
}

impl CalibrationArguments {
    /// What these leave open as `recipe` says, where `images` judge.
    pub(super) fn or(&self, recipe: Option<&RepairStep>, images: Option<&Path>) -> Self {
        let Some(recipe) = recipe else { return self.clone() };
        let folder = || images.and_then(|images| recipe.folder(images)).map(Path::to_owned);
        let number = || images.and_then(|images| recipe.calibration_images_of(images)).and_then(|n| u32::try_from(n).ok());
        Self {
            calibration: self.calibration.clone().or_else(folder),
            thorough: self.thorough || recipe.thorough,
            calibration_images: self.calibration_images.or_else(number),
            memory: self.memory,
        }
    }

    /// The images that calibrate, and those that judge.
    pub(super) fn divide(&self, set: ImageSet) -> anyhow::Result<(ImageSet, ImageSet)> {
        let number = self.calibration_images.map(|n| n as usize);
        let Some(path) = &self.calibration else { return split(&set, number).context("cannot use the images") };
        let calibration = ImageSet::open(path, None).context("cannot use the images that calibrate")?;
        let number = number.unwrap_or(USUAL_CALIBRATION).min(calibration.images.len());
        Ok((spread(&calibration, number), set))
    }

    /// How to repair, on the images there.
    pub(super) fn options(&self, images: Option<&Path>) -> Options {
        let images = self.calibration.as_deref().or(images);
        let memory = self.memory;
        Options {
            is_thorough: self.thorough,
            memory,
            images: images.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned())),
            norms: None,
        }
    }
}

/// Bytes: `1GB`, `500 MB`, `4096`.
fn memory(text: &str) -> Result<usize, String> {
    let refused = || format!("“{text}” is no size; write 500MB, or 2GB");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 1.0,
        "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        _ => return Err(refused()),
    };
    let number: f64 = digits.trim().parse().map_err(|_| refused())?;
    let bytes = number * unit;
    if bytes.is_finite() && (1.0..=1e15).contains(&bytes) { Ok(bytes as usize) } else { Err(refused()) }
}

#[derive(Debug, Args)]
pub(super) struct RepairCommand {
    #[command(flatten)]
    images: ImageArguments,
    #[command(flatten)]
    calibration: CalibrationArguments,
    #[command(flatten)]
    pruning: Pruning,
    /// Save as .onnx, .safetensors, .bpk (Burn) or .rs (Rust source for Burn with its weights)
    #[arg(short = 'o', long = "save", value_name = "OUT")]
    saved: Option<PathBuf>,
    /// Replace OUT where it exists
    #[arg(long, requires = "saved")]
    force: bool,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

/// What a repair did, as JSON.
#[derive(Serialize)]
pub(super) struct RepairReport {
    before: Row,
    after: Row,
    layers: Vec<LayerRow>,
    /// What was left as it was.
    left: Vec<LeftRow>,
    /// Whether it was kept: one that lowers agreement is not.
    applied: bool,
    calibration_images: usize,
    judged_images: usize,
    /// Whether both are noise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    noise: bool,
    /// What running statistics became, where any was repaired.
    #[serde(skip_serializing_if = "Option::is_none")]
    running_statistics: Option<NormStatistics>,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    saved: Option<String>,
}

#[derive(Serialize)]
struct LayerRow {
    name: String,
    error_before: Option<f64>,
    error_after: Option<f64>,
    /// `null` where nothing was fitted, “inf” where the weights stay.
    lambda: Option<Lambda>,
    /// Whether it got a bias, which it had not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    bias_added: bool,
}

/// JSON has no infinity.
#[derive(Serialize)]
#[serde(untagged)]
enum Lambda {
    Finite(f64),
    Infinite(&'static str),
}

#[derive(Serialize)]
struct LeftRow {
    name: String,
    reason: String,
}

impl RepairReport {
    pub(super) fn of(judged: &Judged, state: &State, seconds: f64) -> Self {
        let Judged { repair, before, after, .. } = judged;
        let Repair { layers, left, calibration_images, .. } = &**repair;
        let recipe = &state.recipe;
        let layer = |layer: &crate::prune::RepairedLayer| LayerRow {
            name: layer.name.clone(),
            error_before: layer.error_before,
            error_after: layer.error_after,
            lambda: layer.lambda.map(|lambda| if lambda.is_finite() { Lambda::Finite(lambda) } else { Lambda::Infinite("inf") }),
            bias_added: layer.adds_bias,
        };
        Self {
            before: Row::of(recipe.method.name(), Some(recipe.amount), before),
            after: Row::of(recipe.method.name(), Some(recipe.amount), after),
            layers: layers.iter().map(layer).collect(),
            left: left.iter().map(|(name, reason)| LeftRow { name: name.clone(), reason: reason.clone() }).collect(),
            applied: judged.is_better(),
            calibration_images: *calibration_images,
            judged_images: after.images,
            noise: judged.is_by_noise,
            running_statistics: repair.norms,
            seconds,
            saved: None,
        }
    }

    /// The network as it is kept: repaired, where that did good.
    pub(super) fn kept(&self) -> Row {
        if self.applied { self.after.clone() } else { self.before.clone() }
    }

    /// The network as pruned, and as repaired.
    pub(super) fn rows(self) -> [Row; 2] {
        [self.before, self.after.repaired(self.applied)]
    }

    /// Both as a table.
    pub(super) fn print_rows(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        print(out, &[self.before.titled("before"), self.after.titled("after")])
    }

    /// Lines for a person.
    pub(super) fn print(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        for row in &self.left {
            writeln!(out, "Not repaired: {}: {}", escaped(&row.name), row.reason)?;
        }
        let added = match self.layers.iter().filter(|layer| layer.bias_added).count() {
            0 => String::new(),
            1 => ", one of which got a bias,".to_owned(),
            added => format!(", {added} of which got a bias,"),
        };
        let layers = count(self.layers.len() as u64, "layer");
        let images = match self.calibration_images {
            inputs if self.noise => format!("{inputs} inputs of noise"),
            images => count(images as u64, "image"),
        };
        writeln!(out, "Repaired {layers}{added} on {images} in {:.1} s", self.seconds)?;
        if self.running_statistics == Some(NormStatistics::Matched) {
            let why = if self.noise { "estimates would be the noise's" } else { "that agrees more with it than estimates do" };
            writeln!(out, "Running statistics are matched with the dense network's: {why}")?;
        }
        if !self.applied {
            let less = if self.noise { "has outputs less like the dense one's" } else { "agrees less with the dense one" };
            writeln!(out, "The repaired network {less} than before: the repair is not applied")?;
        }
        if let Some(saved) = &self.saved {
            writeln!(out, "Saved {}", escaped(saved))?;
        }
        Ok(())
    }
}

/// The repaired state, and the report; the state as it was where the repair did harm.
pub(super) fn repaired(measured: &mut Measured, watch: &dyn Watch) -> anyhow::Result<(State, Option<RepairReport>)> {
    let Measured { evaluator, state, repairer, .. } = measured;
    let Some(repairer) = repairer else { return Ok((state.clone(), None)) };
    let start = Instant::now();
    match repairer.judged(evaluator, state, watch) {
        Ok(judged) => {
            let report = RepairReport::of(&judged, state, start.elapsed().as_secs_f64());
            Ok((if report.applied { judged.state } else { state.clone() }, Some(report)))
        }
        // A row without anything pruned is one without anything to repair.
        Err(RepairError::Unpruned) => Ok((state.clone(), None)),
        Err(error) => Err(error).context("cannot repair the model"),
    }
}

impl RepairCommand {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let format = self.saved.as_deref().map(Format::from_path).transpose()?;
        if let Some(path) = &self.saved {
            anyhow::ensure!(self.force || !path.exists(), "a file of that name is there already; --force replaces it: {}", path.display());
        }
        self.pruning.is_given()?;
        let calibration = self.calibration.or(self.pruning.repair()?.as_ref(), self.images.images.as_deref());
        let watch = Terminal::new();
        let mut between = self.images.between(&self.calibration, &watch);
        let mut measured = self.images.open_with(Some(&calibration), &watch, |session, norms| {
            self.pruning.apply(session, norms, &mut between).context("cannot prune the model").map(drop)
        })?;
        let (state, Some(mut report)) = repaired(&mut measured, &watch)? else {
            watch.clear();
            anyhow::bail!(RepairError::Unpruned);
        };
        if let (Some(path), Some(format)) = (&self.saved, format) {
            watch.progress(0.0, "Saving");
            let overwrite = if self.force { Overwrite::Allow } else { Overwrite::Refuse };
            measured.evaluator.engine().save(&state, path, format, overwrite).context("cannot save the model")?;
            report.saved = Some(path.display().to_string());
        }
        watch.clear();
        let shown = measured.finish();
        if self.json {
            return print_json(out, &report);
        }
        for line in shown.lines() {
            writeln!(out, "{line}")?;
        }
        report.print_rows(out)?;
        report.print(out)
    }
}
