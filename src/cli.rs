//! The command line: raw arguments become a validated plan, and headless commands run on the same [`Session`] as the window.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::atomic::Overwrite;
use crate::device::{ComputeDevice, DeviceChoice};
use crate::export::{Form, Format};
use crate::graph::{BatchNorm, Kind, ModuleId, ParameterId};
use crate::measure::Outcome;
use crate::prune::{Amount, Method, Step};
use crate::session::{Model, Session, Watch};

/// Exit code for wrong usage, as in BSD's sysexits.
pub const EX_USAGE: u8 = 64;

/// Inspect and prune neural networks: ONNX in, ONNX out.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Arguments {
    /// Model to open in the window; the demo where none is named
    pub file: Option<PathBuf>,
    /// Where networks run in the window
    #[arg(long, value_enum, default_value_t)]
    pub device: DeviceArgument,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List a model's modules by type
    Inspect(Inspect),
    /// Prune a model and say what that did; save it with -o
    Prune(Prune),
}

#[derive(Debug, Args)]
struct Inspect {
    /// Model to look at
    file: PathBuf,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct Prune {
    /// Model to prune
    file: PathBuf,
    /// Each parameter on its own, or all together
    #[arg(long, value_enum)]
    method: MethodArgument,
    /// A fraction (0.5), a percentage (50%) or a number of elements (1000); again for what is left after the first
    #[arg(long, required = true, allow_hyphen_values = true)]
    amount: Vec<Amount>,
    /// Only modules of these types, separated by commas
    #[arg(long, value_delimiter = ',')]
    types: Vec<String>,
    /// Only modules whose name matches; * stands for any text, ? for one character
    #[arg(long, value_name = "GLOB")]
    modules: Vec<String>,
    /// Prune biases like weights
    #[arg(long, overrides_with = "no_biases")]
    biases: bool,
    /// Leave biases alone
    #[arg(long, overrides_with = "biases")]
    no_biases: bool,
    /// Where to prune
    #[arg(long, value_enum, default_value_t)]
    device: DeviceArgument,
    /// Save as .onnx, .safetensors, .bpk (Burn) or .rs (Rust source for Burn with its weights)
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    /// In a .safetensors file keep weight_orig and weight_mask apart
    #[arg(long, requires = "output")]
    unfixed: bool,
    /// Replace OUT where it exists
    #[arg(long, requires = "output")]
    force: bool,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum MethodArgument {
    LayerWise,
    Global,
}

/// `--device`
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum DeviceArgument {
    /// A real GPU where there is one, otherwise the CPU
    #[default]
    Auto,
    /// A GPU through wgpu, or a software adapter
    Gpu,
    /// The CPU
    Cpu,
}

impl From<DeviceArgument> for DeviceChoice {
    fn from(argument: DeviceArgument) -> Self {
        match argument {
            DeviceArgument::Auto => Self::Auto,
            DeviceArgument::Gpu => Self::Gpu,
            DeviceArgument::Cpu => Self::Cpu,
        }
    }
}

/// What the arguments ask for.
#[derive(Debug)]
pub enum Plan {
    /// Open the window.
    Window {
        /// On this model, or on the demo.
        file: Option<PathBuf>,
        /// Where networks run.
        device: DeviceChoice,
    },
    /// Run a command and end.
    Headless(Headless),
}

/// A command that needs no window.
#[derive(Debug)]
pub struct Headless(Command);

/// Reads the arguments.
///
/// # Errors
/// Clap's message, for help and version too; [`usage_exit_code`] tells which.
pub fn plan(arguments: impl IntoIterator<Item = OsString>) -> Result<Plan, clap::Error> {
    let arguments = Arguments::try_parse_from(arguments)?;
    Ok(match arguments.command {
        None => Plan::Window { file: arguments.file, device: arguments.device.into() },
        Some(command) => Plan::Headless(Headless(command)),
    })
}

/// 0 for help and version, 64 for wrong usage.
#[must_use]
pub fn usage_exit_code(error: &clap::Error) -> u8 {
    if error.use_stderr() { EX_USAGE } else { 0 }
}

/// Runs a command; what it prints goes to `out`.
///
/// # Errors
/// What failed, ready to be printed; exit code 2.
pub fn run(command: Headless, out: &mut dyn Write) -> anyhow::Result<()> {
    match command.0 {
        Command::Inspect(inspect) => inspect.run(out),
        Command::Prune(prune) => prune.run(out),
    }
}

impl Inspect {
    fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let model = Model::open(&self.file).context("cannot open the model")?;
        let report = Inspection::of(&model, &self.file);
        if self.json {
            return print_json(out, &report);
        }
        writeln!(out, "{}: {}, opset {}, {}", report.file, named(report.producer), report.opset, count(report.elements, "element"))?;
        for line in notes(&model) {
            writeln!(out, "{line}")?;
        }
        for group in &report.types {
            writeln!(out, "\n{} ({}, {})", group.kind, count(group.modules as u64, "module"), count(group.elements, "element"))?;
            for module in report.modules.iter().filter(|m| m.kind == group.kind) {
                let weight = module.parameters.first();
                let shape = weight.map(|w| w.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×")).unwrap_or_default();
                writeln!(out, "  {:<40} {:>20}  {}", module.name, shape, module.role)?;
            }
        }
        Ok(())
    }
}

/// What a person should know about the file before pruning it.
fn notes(model: &Model) -> Vec<String> {
    let mut notes = Vec::new();
    if model.graph.batch_norm == Some(BatchNorm::Folded) {
        notes.push(FOLDED.to_owned());
    }
    if !model.unsupported.is_empty() {
        let list: Vec<String> = model.unsupported.iter().map(|(op, n)| format!("{op} ({n})")).collect();
        notes.push(format!("The network cannot be run here: {}. It can be inspected, pruned and saved.", list.join(", ")));
    }
    notes
}

/// What folding means for masks, and the way round it.
pub const FOLDED: &str = "BatchNorm was folded into the convolutions when this file was exported. Magnitudes, and so masks, are those of the \
folded weights, which are scaled per filter; they differ from masks on the PyTorch weights. Biases stand for the BatchNorm shift and are \
left out unless asked for. To keep BatchNorm, export with torch.onnx.export(…, dynamo=True, optimize=False), or with \
dynamo=False, do_constant_folding=False.";

#[derive(Serialize)]
struct Inspection<'a> {
    file: String,
    producer: &'a str,
    opset: i64,
    batch_norm: BatchNorm,
    elements: u64,
    types: Vec<TypeRow<'a>>,
    modules: Vec<ModuleRow<'a>>,
    unsupported_operators: &'a std::collections::BTreeMap<String, usize>,
}

#[derive(Serialize)]
struct TypeRow<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    modules: usize,
    elements: u64,
}

#[derive(Serialize)]
struct ModuleRow<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    role: String,
    parameters: Vec<ParameterRow<'a>>,
}

#[derive(Serialize)]
struct ParameterRow<'a> {
    kind: Kind,
    name: &'a str,
    shape: &'a [usize],
    dtype: String,
    elements: usize,
    zeros: u64,
}

impl<'a> Inspection<'a> {
    fn of(model: &'a Model, file: &Path) -> Self {
        let graph = &model.graph;
        let zeros = model.zeros();
        let elements = |modules: &[ModuleId]| {
            modules.iter().flat_map(|&m| &graph.module(m).parameters).map(|&p| graph.parameter(p).elements as u64).sum()
        };
        let parameter = |&id: &ParameterId| {
            let p = graph.parameter(id);
            ParameterRow {
                kind: p.kind,
                name: &p.name,
                shape: &p.shape,
                dtype: p.dtype.to_string(),
                elements: p.elements,
                zeros: zeros[id.0],
            }
        };
        Self {
            file: file.display().to_string(),
            producer: &model.file.producer,
            opset: graph.opset,
            batch_norm: graph.batch_norm.unwrap_or(BatchNorm::None),
            elements: graph.elements() as u64,
            types: graph
                .types()
                .into_iter()
                .map(|(kind, modules)| TypeRow { kind, modules: modules.len(), elements: elements(&modules) })
                .collect(),
            modules: graph
                .modules
                .iter()
                .map(|m| ModuleRow {
                    name: &m.name,
                    kind: &m.kind,
                    role: m.role.to_string(),
                    parameters: m.parameters.iter().map(parameter).collect(),
                })
                .collect(),
            unsupported_operators: &model.unsupported,
        }
    }
}

#[derive(Serialize)]
struct PruneReport<'a> {
    method: Method,
    amounts: &'a [Amount],
    device: String,
    scope_elements: u64,
    pruned: u64,
    cut: Option<f64>,
    ties: u64,
    scope_sparsity: f64,
    model_sparsity: f64,
    emptied: Vec<&'a str>,
    parameters: Vec<PrunedRow<'a>>,
    saved: Option<SavedReport>,
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
}

impl Prune {
    fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let format = self.format()?;
        let watch = Terminal::new();
        let device = ComputeDevice::open(self.device.into()).context("cannot start the device")?;
        let mut session = Session::open(&self.file, &watch).context("cannot open the model")?;
        session.use_device(device);
        let outcome = self.prune(&mut session).context("cannot prune the model")?;
        let saved = match (&self.output, format) {
            (Some(path), Some(format)) => {
                watch.progress(0.0, "Saving");
                let overwrite = if self.force { Overwrite::Allow } else { Overwrite::Refuse };
                Some(session.save(path, format, overwrite).context("cannot save the model")?)
            }
            _ => None,
        };
        watch.clear();
        let graph = &session.model().graph;
        let scope = session.state().settings.scope(graph);
        let share = |zeros: u64, elements: u64| if elements == 0 { 0.0 } else { zeros as f64 / elements as f64 };
        let scope_elements = scope.iter().map(|&id| graph.parameter(id).elements as u64).sum();
        let report = PruneReport {
            method: outcome.method,
            amounts: &self.amount,
            device: session.device_name().to_owned(),
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
            saved: saved.map(|s| SavedReport {
                path: s.files[0].display().to_string(),
                files: s.files.iter().map(|f| f.display().to_string()).collect(),
                bytes: s.bytes,
                sparsity: s.sparsity(),
            }),
        };
        if self.json { print_json(out, &report) } else { report.print(out, session.model()) }
    }

    fn format(&self) -> anyhow::Result<Option<Format>> {
        let Some(path) = &self.output else { return Ok(None) };
        match Format::from_path(path)? {
            Format::Safetensors(_) if self.unfixed => Ok(Some(Format::Safetensors(Form::Unfixed))),
            _ if self.unfixed => anyhow::bail!("--unfixed keeps masks apart, which only .safetensors can hold: {}", path.display()),
            format => Ok(Some(format)),
        }
    }

    fn prune(&self, session: &mut Session) -> anyhow::Result<Outcome> {
        let model = session.model().clone();
        let mut settings = session.state().settings.clone();
        settings.method = match self.method {
            MethodArgument::LayerWise => Method::LayerWise,
            MethodArgument::Global => Method::Global,
        };
        settings.biases = if self.biases { true } else { settings.biases && !self.no_biases };
        settings.tick_only(&model.graph, &self.types, &self.modules)?;
        let last = self.amount.len() - 1;
        for (i, &amount) in self.amount.iter().enumerate() {
            settings.amount = amount;
            session.set(settings.clone(), Step::Amount)?;
            if i < last {
                session.apply()?;
            }
        }
        Ok(session.outcome_on_device()?)
    }
}

impl PruneReport<'_> {
    fn print(&self, out: &mut dyn Write, model: &Model) -> anyhow::Result<()> {
        for line in notes(model) {
            writeln!(out, "{line}\n")?;
        }
        for row in &self.parameters {
            writeln!(out, "Sparsity in {}: {:.2}%", row.name, row.sparsity * 100.0)?;
        }
        writeln!(out, "Sparsity of the scope: {:.2}%", self.scope_sparsity * 100.0)?;
        writeln!(out, "Sparsity of the model: {:.2}%", self.model_sparsity * 100.0)?;
        write!(out, "Pruned {} of {} elements ({}", self.pruned, self.scope_elements, self.method.name())?;
        match self.cut {
            Some(cut) => writeln!(out, ", cut at |w| <= {cut}, {}), on {}", ties(self.ties), self.device)?,
            None => writeln!(out, "), on {}", self.device)?,
        }
        if !self.emptied.is_empty() {
            writeln!(out, "Emptied: {}", self.emptied.join(", "))?;
        }
        if let Some(saved) = &self.saved {
            writeln!(
                out,
                "Saved {} ({} bytes, sparsity {:.2}% as read back)",
                saved.files.join(", "),
                saved.bytes,
                saved.sparsity * 100.0
            )?;
        }
        Ok(())
    }
}

/// How many elements tie, in words.
#[must_use]
pub fn ties(ties: u64) -> String {
    match ties {
        0 | 1 => "no ties".to_owned(),
        n => format!("{n} elements tie there"),
    }
}

fn named(producer: &str) -> &str {
    if producer.is_empty() { "unknown exporter" } else { producer }
}

fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn print_json(out: &mut dyn Write, value: &impl Serialize) -> anyhow::Result<()> {
    // As what it is: a reader that has left is told apart.
    serde_json::to_writer_pretty(&mut *out, value).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

/// Progress on a terminal's standard error, once work has taken a while.
struct Terminal {
    start: Instant,
    has_reader: bool,
    last: std::sync::Mutex<Option<Instant>>,
}

impl Terminal {
    fn new() -> Self {
        Self { start: Instant::now(), has_reader: std::io::stderr().is_terminal(), last: std::sync::Mutex::new(None) }
    }

    fn clear(&self) {
        if self.last.lock().is_ok_and(|last| last.is_some()) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

impl Watch for Terminal {
    fn progress(&self, done: f32, what: &str) {
        if !self.has_reader || self.start.elapsed() < Duration::from_millis(300) {
            return;
        }
        let Ok(mut last) = self.last.lock() else { return };
        if last.is_none_or(|t| t.elapsed() > Duration::from_millis(100)) {
            *last = Some(Instant::now());
            let _ = write!(std::io::stderr(), "\r\x1b[K{what} {:.0} %", done * 100.0);
        }
    }

    fn is_cancelled(&self) -> bool {
        false
    }
}
