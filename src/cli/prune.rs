//! `secateur prune`: prune a model, say what that did, save it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::{ArgGroup, Args};
use serde::Serialize;

use super::images::PictureArguments;
use super::pruning::Pruning;
use super::repair::{RepairArguments, RepairReport};
use super::terminal::{Terminal, open_device};
use super::{DeviceArgument, print_json};
use crate::atomic::Overwrite;
use crate::engine::{Engine, Model};
use crate::escaped::escaped;
use crate::export::{Form, Format};
use crate::prune::{Amount, Method, Step};
use crate::recipes::{RecipeError, RecipeFile};
use crate::session::Session;
use crate::watch::Watch;

#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("written").args(["output", "save_recipe"]).multiple(true)),
    mut_arg("repair", |a| a.requires("images")),
    mut_arg("method", |a| a.required_unless_present_any(["recipe", "pattern", "score"])),
    mut_arg("amount", |a| a.required_unless_present_any(["recipe", "pattern", "score"]))
)]
pub(super) struct Prune {
    /// Model to prune
    file: PathBuf,
    #[command(flatten)]
    pruning: Pruning,
    /// Folder of images on which the score wanda is worked out
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    #[command(flatten)]
    pictures: PictureArguments,
    #[command(flatten)]
    repair: RepairArguments,
    /// Where to prune
    #[arg(long, value_enum, default_value_t)]
    device: DeviceArgument,
    /// Save as .onnx, .safetensors, .bpk (Burn) or .rs (Rust source for Burn with its weights)
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    /// In a .safetensors file keep weight_orig and weight_mask apart
    #[arg(long, requires = "output")]
    unfixed: bool,
    /// Write down what was pruned as a recipe
    #[arg(long, value_name = "FILE")]
    save_recipe: Option<PathBuf>,
    /// Replace files where they exist
    #[arg(long, requires = "written")]
    force: bool,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

/// The score and the pattern that a person need not be told.
const MAGNITUDE: &str = "magnitude";
const ELEMENTS: &str = "elements";

#[derive(Serialize)]
struct PruneReport<'a> {
    method: Method,
    amounts: Vec<Amount>,
    score: String,
    pattern: String,
    #[serde(skip)]
    is_decided: bool,
    steps: usize,
    device: String,
    scope_elements: u64,
    pruned: u64,
    cut: Option<f64>,
    ties: u64,
    scope_sparsity: f64,
    model_sparsity: f64,
    emptied: Vec<&'a str>,
    parameters: Vec<PrunedRow<'a>>,
    /// Parameters that are ticked and that score or pattern do not apply to.
    left_out: Vec<LeftOutRow<'a>>,
    /// Names in the recipe, or in the file of scores, that the model does not have.
    missing: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repair: Option<RepairReport>,
    saved: Option<SavedReport>,
}

#[derive(Serialize)]
struct LeftOutRow<'a> {
    name: &'a str,
    reason: String,
}

#[derive(Serialize)]
struct PrunedRow<'a> {
    name: &'a str,
    elements: usize,
    pruned: u64,
    sparsity: f64,
}

#[derive(Serialize)]
struct SavedReport {
    path: String,
    files: Vec<String>,
    bytes: u64,
    sparsity: f64,
    /// Tensors that cannot be read, with the reason.
    left: Vec<String>,
}

impl Prune {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let format = self.format()?;
        if let Some(path) = &self.save_recipe {
            anyhow::ensure!(self.force || !path.exists(), "a file of that name is there already; --force replaces it: {}", path.display());
        }
        let watch = Terminal::new();
        let engine = Engine::open(&self.file, &watch).context("cannot open the model")?;
        let mut session = Session::new(engine.on(open_device(self.device)?));
        let mut measure = |session: &Session, images: Option<&Path>| {
            let images = self.images.as_deref().or(images).ok_or(RecipeError::NoImages)?;
            self.pictures.norms(session, images, &watch)
        };
        let mut between = self.pictures.between(self.images.as_deref(), self.repair.calibration(), &watch);
        let missing = self.pruning.apply(&mut session, &mut measure, &mut between).context("cannot prune the model")?;
        let outcome = session.engine().outcome_on_device(session.state()).context("cannot prune the model")?;
        let overwrite = if self.force { Overwrite::Allow } else { Overwrite::Refuse };
        let pruned = session.state().clone();
        let repair = self.repaired(&mut session, &watch)?;
        let saved = match (&self.output, format) {
            (Some(path), Some(format)) => {
                watch.progress(0.0, "Saving");
                Some(session.save(path, format, overwrite).context("cannot save the model")?)
            }
            _ => None,
        };
        // Of a model that could not be saved there is nothing to write down.
        if let Some(path) = &self.save_recipe {
            let file = RecipeFile::of(session.state(), &session.model().graph);
            file.write(path, overwrite).context("cannot save the recipe")?;
        }
        watch.clear();
        let graph = &session.model().graph;
        let state = &pruned;
        let scope = state.recipe.scope(graph);
        let share = |zeros: u64, elements: u64| if elements == 0 { 0.0 } else { zeros as f64 / elements as f64 };
        let scope_elements = scope.iter().map(|&id| graph.parameter(id).elements as u64).sum();
        let report = PruneReport {
            method: outcome.method,
            amounts: state.earlier.iter().map(|step| step.recipe.amount).chain([state.recipe.amount]).collect(),
            score: state.recipe.score.name(),
            pattern: state.recipe.pattern.to_string(),
            is_decided: state.recipe.is_decided(),
            steps: state.earlier.len() + 1,
            device: session.engine().mask_device(session.state()).to_owned(),
            scope_elements,
            pruned: outcome.pruned,
            cut: outcome.cut,
            ties: outcome.ties,
            scope_sparsity: share(outcome.scope_zeros, scope_elements),
            model_sparsity: share(outcome.model_zeros, graph.elements() as u64),
            emptied: outcome.emptied.iter().map(|&id| graph.parameter(id).name.as_str()).collect(),
            parameters: scope
                .iter()
                .map(|&id| {
                    let p = graph.parameter(id);
                    PrunedRow {
                        name: &p.name,
                        elements: p.elements,
                        pruned: outcome.masked[id.0],
                        sparsity: share(outcome.zeros[id.0], p.elements as u64),
                    }
                })
                .collect(),
            left_out: state
                .recipe
                .left_out(graph)
                .into_iter()
                .map(|(id, reason)| LeftOutRow { name: &graph.parameter(id).name, reason: reason.to_string() })
                .collect(),
            missing,
            repair,
            saved: saved.map(|s| SavedReport {
                path: s.files[0].display().to_string(),
                files: s.files.iter().map(|f| f.display().to_string()).collect(),
                bytes: s.bytes,
                left: s.left.clone(),
                sparsity: s.sparsity(),
            }),
        };
        if self.json { print_json(out, &report) } else { report.print(out, session.model()) }
    }

    /// Repairs the pruned model where that was asked for; one that gets worse stays as it was.
    fn repaired(&self, session: &mut Session, watch: &Terminal) -> anyhow::Result<Option<RepairReport>> {
        let recipe = self.pruning.repair()?;
        // The images of the recipe, where they are still there, as for the score wanda.
        let known = recipe.as_ref().and_then(|recipe| recipe.images.as_deref()).filter(|images| images.exists());
        let Some(images) = self.images.as_deref().or(known) else {
            self.pruning.leave_repair("say on which images, --images")?;
            return Ok(None);
        };
        let Some(calibrating) = self.repair.asked(recipe.as_ref(), Some(images)) else { return Ok(None) };
        let (mut repairer, mut judge) = self.pictures.repairer_and_judge(session, images, &calibrating)?;
        let start = Instant::now();
        let judged = repairer.judged(&mut judge, session.state(), watch).context("cannot repair the model")?;
        let report = RepairReport::of(&judged, session.state(), start.elapsed().as_secs_f64());
        if judged.is_better() {
            session.go_to(judged.state, Step::Repair)?;
        }
        Ok(Some(report))
    }

    fn format(&self) -> anyhow::Result<Option<Format>> {
        let Some(path) = &self.output else { return Ok(None) };
        match Format::from_path(path)? {
            Format::Safetensors(_) if self.unfixed => Ok(Some(Format::Safetensors(Form::Unfixed))),
            _ if self.unfixed => anyhow::bail!("--unfixed keeps masks apart, which only .safetensors can hold: {}", path.display()),
            format => Ok(Some(format)),
        }
    }
}

impl PruneReport<'_> {
    fn print(&self, out: &mut dyn Write, model: &Model) -> anyhow::Result<()> {
        for line in model.notes() {
            writeln!(out, "{line}\n")?;
        }
        for row in &self.parameters {
            writeln!(out, "Sparsity in {}: {:.2}%", escaped(row.name), row.sparsity * 100.0)?;
        }
        for row in &self.left_out {
            writeln!(out, "Left as it is: {}: {}", escaped(row.name), row.reason)?;
        }
        if !self.missing.is_empty() {
            writeln!(out, "Not in this model: {}", escaped(&self.missing.join(", ")))?;
        }
        writeln!(out, "Sparsity of the scope: {:.2}%", self.scope_sparsity * 100.0)?;
        writeln!(out, "Sparsity of the model: {:.2}%", self.model_sparsity * 100.0)?;
        // Where pattern or masks decide, the method says nothing.
        let method = (!self.is_decided).then(|| self.method.name().to_owned());
        let score = (self.score != MAGNITUDE).then(|| escaped(&self.score).to_string());
        let pattern = (self.pattern != ELEMENTS).then(|| self.pattern.clone());
        let choice: Vec<String> = [method, score, pattern].into_iter().flatten().collect();
        write!(out, "Pruned {} of {} elements ({}", self.pruned, self.scope_elements, choice.join(", "))?;
        match self.cut {
            Some(cut) => {
                let is_magnitude = self.method == Method::Global && self.score == MAGNITUDE && self.pattern == ELEMENTS;
                let what = if is_magnitude { "|w| <=" } else { "a score of" };
                writeln!(out, ", cut at {what} {cut}, {}), on {}", ties(self.ties), self.device)?;
            }
            None => writeln!(out, "), on {}", self.device)?,
        }
        if !self.emptied.is_empty() {
            writeln!(out, "Emptied: {}", escaped(&self.emptied.join(", ")))?;
        }
        if let Some(repair) = &self.repair {
            repair.print_rows(out)?;
            repair.print(out)?;
        }
        if let Some(saved) = &self.saved {
            writeln!(
                out,
                "Saved {} ({} bytes, sparsity {:.2}% as read back)",
                escaped(&saved.files.join(", ")),
                saved.bytes,
                saved.sparsity * 100.0
            )?;
        }
        Ok(())
    }
}

/// How many elements tie, in words.
fn ties(ties: u64) -> String {
    match ties {
        0 | 1 => "no ties".to_owned(),
        n => format!("{n} elements tie there"),
    }
}
