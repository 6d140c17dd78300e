//! `secateur cost`: bytes, multiply-accumulates and time of a model, as opened and as pruned.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::DeviceArgument;
use super::images::on_recipe_images;
use super::pruning::{Pruning, left_out};
use super::rows::OutputArguments;
use super::terminal::{Terminal, open_device};
use crate::engine::Engine;
use crate::escaped::escaped;
use crate::evaluate;
use crate::export;
use crate::graph::{Graph, ParameterId};
use crate::images::Preprocess;
use crate::measure::{self, Bytes, Effort, Encoding, GroupsOfFour, ParameterSize, Speed, Timing};
use crate::network::{Array, Work};
use crate::session::Session;

#[derive(Debug, Args)]
pub(super) struct CostCommand {
    /// Model to weigh
    file: PathBuf,
    #[command(flatten)]
    pruning: Pruning,
    /// Time forward passes as well: dense, masked at every pass, and fixed
    #[arg(long)]
    speed: bool,
    /// Time this other model too, in turn: the one that channels were removed from, for one
    #[arg(long, value_name = "FILE", requires = "speed")]
    beside: Option<PathBuf>,
    /// Images of a timed pass
    #[arg(long, value_name = "N", default_value_t = 1, requires = "speed", value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch: u32,
    /// Timed passes of each kind, at most
    #[arg(long, value_name = "N", default_value_t = 30, requires = "speed", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    passes: u32,
    /// Where the network runs
    #[arg(long, value_enum, default_value_t)]
    device: DeviceArgument,
    #[command(flatten)]
    output: OutputArguments,
}

/// Time that is spent on timing, at most.
const MAX_TIME: Duration = Duration::from_mins(2);

#[derive(Serialize)]
struct CostReport {
    model: String,
    device: String,
    method: Option<&'static str>,
    /// Bytes of the file with its external data.
    file_bytes: u64,
    /// Bytes of the file that are not elements of parameters.
    rest_bytes: u64,
    elements: u64,
    zeros: u64,
    encodings: Vec<EncodingRow>,
    /// `None` where the network cannot be run.
    work: Option<WorkReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    work_failure: Option<String>,
    speed: Option<SpeedReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    beside: Option<PaceReport>,
    parameters: Vec<CostRow>,
}

#[derive(Serialize)]
struct EncodingRow {
    encoding: Encoding,
    /// Bytes of all parameters as opened.
    dense_model: u64,
    /// Bytes of all parameters as pruned.
    pruned: u64,
    /// Sparsity from which it is smaller than dense elements, 0..=1. Of compressors: 0 where they are on the model as opened.
    pays_from: Option<f64>,
}

#[derive(Serialize)]
struct WorkReport {
    /// Shape of every input.
    inputs: Vec<(String, Vec<usize>)>,
    multiply_accumulates: u64,
    zeroed: u64,
}

#[derive(Serialize)]
struct SpeedReport {
    batch: usize,
    passes: usize,
    dense_ms: TimingReport,
    masked_ms: TimingReport,
    fixed_ms: TimingReport,
}

/// Two models in turn.
#[derive(Serialize)]
struct PaceReport {
    model: String,
    batch: usize,
    passes: usize,
    /// Of the other model, and of this one as it was opened.
    other_ms: TimingReport,
    this_ms: TimingReport,
    /// How many times as fast as the other one this is, by the medians.
    times_as_fast: f64,
}

/// Milliseconds.
#[derive(Serialize)]
struct TimingReport {
    median: f64,
    lower_quartile: f64,
    upper_quartile: f64,
}

/// One parameter.
#[derive(Serialize)]
struct CostRow {
    parameter: String,
    #[serde(rename = "type")]
    kind: String,
    elements: u64,
    zeros: u64,
    multiply_accumulates: Option<u64>,
    zeroed_multiply_accumulates: Option<u64>,
    #[serde(flatten)]
    bytes: Bytes,
    /// Groups of four along the inputs, where the shape is one for 2:4.
    pattern: Option<GroupsOfFour>,
}

impl From<Timing> for TimingReport {
    fn from(timing: Timing) -> Self {
        Self { median: timing.median_ms, lower_quartile: timing.low_ms, upper_quartile: timing.high_ms }
    }
}

impl From<Speed> for SpeedReport {
    fn from(speed: Speed) -> Self {
        let Speed { batch, rounds, dense, masked, fixed } = speed;
        Self { batch, passes: rounds, dense_ms: dense.into(), masked_ms: masked.into(), fixed_ms: fixed.into() }
    }
}

impl CostCommand {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        self.output.check()?;
        let prunes = self.pruning.is_given()?;
        let watch = Terminal::new();
        let engine = Engine::open(&self.file, &watch).context("cannot open the model")?;
        // What is counted and not timed is the same everywhere: no device is looked for unless one is asked for.
        let device = open_device(match self.device {
            DeviceArgument::Auto if !self.speed => DeviceArgument::Cpu,
            device => device,
        })?;
        let device_name = device.name.clone();
        let mut session = Session::new(engine.on(device));
        let engine = session.engine().clone();
        let dense = engine.dense_sizes(&watch).context("cannot weigh the model")?;
        if prunes {
            self.pruning.leave_repair("that is left out here")?;
            self.pruning.apply(&mut session, &mut on_recipe_images(&watch), &mut left_out).context("cannot prune the model")?;
            engine.outcome(session.state()).context("cannot prune the model")?;
        }
        let sizes = engine.sizes(session.state(), &dense, &watch).context("cannot weigh the model")?;
        // Operators that cannot be run are told before what the inputs lack.
        let can_run = engine.dense_network().map(drop).map_err(anyhow::Error::from);
        let work = can_run.and_then(|()| {
            let inputs = self.inputs(&engine, 1)?;
            Ok(engine.work(&inputs, &watch)?)
        });
        let speed = if self.speed { Some(self.speed(&session, &watch).context("cannot time the network")?) } else { None };
        let beside = self.beside.as_ref().map(|other| self.pace(&engine, other, &watch)).transpose()?;
        watch.clear();
        let graph = session.model().graph.clone();
        let total: Bytes = sizes.iter().map(|size| size.bytes).sum();
        let file_bytes = session.model().file.size_bytes();
        let (work, work_failure) = match work {
            Ok(work) => (Some(work), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        let report = CostReport {
            model: self.file.display().to_string(),
            device: device_name,
            method: prunes.then(|| session.state().recipe.method.name()),
            file_bytes,
            rest_bytes: file_bytes.saturating_sub(total.dense),
            elements: graph.elements() as u64,
            zeros: sizes.iter().map(|size| size.zeros).sum(),
            encodings: encodings(&graph, &dense, &total),
            work: work.as_ref().map(|work| WorkReport {
                inputs: work.inputs.clone(),
                multiply_accumulates: work.total,
                zeroed: work.of(|id| sizes[id.0].zeros),
            }),
            work_failure,
            speed: speed.map(Into::into),
            beside,
            parameters: rows(&graph, &sizes, work.as_ref()),
        };
        self.output.put(out, &report, &report.csv(), |out| report.print(out))
    }

    fn speed(&self, session: &Session, watch: &Terminal) -> anyhow::Result<Speed> {
        let inputs = self.inputs(session.engine(), self.batch as usize)?;
        let effort = Effort { rounds: self.passes as usize, time: MAX_TIME };
        Ok(session.engine().speed(session.state(), &inputs, effort, watch)?)
    }

    /// Both models in turn, on inputs of the other one.
    fn pace(&self, engine: &Engine, other: &Path, watch: &Terminal) -> anyhow::Result<PaceReport> {
        let opened = Engine::open(other, watch).context("cannot open the other model")?.on(open_device(self.device)?);
        let inputs = self.inputs(engine, self.batch as usize)?;
        let effort = Effort { rounds: self.passes as usize, time: MAX_TIME };
        let networks = [opened.dense_network()?, engine.dense_network()?];
        let pace = measure::pace([&networks[0], &networks[1]], &inputs, effort, watch).context("cannot time the networks")?;
        let [other_ms, this_ms] = pace.timings.map(TimingReport::from);
        let times_as_fast = other_ms.median / this_ms.median;
        Ok(PaceReport { model: other.display().to_string(), batch: pace.batch, passes: pace.rounds, other_ms, this_ms, times_as_fast })
    }

    /// Noise of the size of the model's images.
    fn inputs(&self, engine: &Engine, batch: usize) -> anyhow::Result<Vec<(String, Array)>> {
        let graph = &engine.model().graph;
        let (preprocess, _) = Preprocess::for_model(graph, &self.file);
        Ok(evaluate::noise(graph, batch, Some(preprocess.shape()), 0)?)
    }
}

fn encodings(graph: &Graph, dense: &[ParameterSize], pruned: &Bytes) -> Vec<EncodingRow> {
    let opened: Bytes = dense.iter().map(|size| size.bytes).sum();
    let size = graph.element_bytes();
    let row = |encoding: Encoding| EncodingRow {
        encoding,
        dense_model: opened.of(encoding),
        pruned: pruned.of(encoding),
        pays_from: encoding.pays_from(size, &opened),
    };
    Encoding::ALL.into_iter().map(row).collect()
}

fn rows(graph: &Graph, sizes: &[ParameterSize], work: Option<&Work>) -> Vec<CostRow> {
    let row = |(i, size): (usize, &ParameterSize)| {
        let (id, parameter) = (ParameterId(i), &graph.parameters[i]);
        let uses = work.map(|work| work.uses[i]);
        CostRow {
            parameter: parameter.name.clone(),
            kind: graph.owner(id).kind.clone(),
            elements: parameter.elements as u64,
            zeros: size.zeros,
            multiply_accumulates: uses.map(|uses| uses.saturating_mul(parameter.elements as u64)),
            zeroed_multiply_accumulates: uses.map(|uses| uses.saturating_mul(size.zeros)),
            bytes: size.bytes,
            pattern: size.pattern,
        }
    };
    sizes.iter().enumerate().map(row).collect()
}

pub(super) fn share(part: u64, whole: u64) -> String {
    format!("{:.1} %", part as f64 / whole.max(1) as f64 * 100.0)
}

impl CostReport {
    fn print(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let pruned = self.method.map_or("As opened", |_| "Pruned");
        writeln!(out, "{:<20} {:>16} {:>16} {:>10}", "Parameters, in bytes", "Dense model", pruned, "Pays from")?;
        for row in &self.encodings {
            let pays = match (row.encoding, row.pays_from) {
                (Encoding::Dense, _) => "–".to_owned(),
                (_, Some(sparsity)) => format!("{:.1} %", sparsity * 100.0),
                (_, None) => "unknown".to_owned(),
            };
            writeln!(out, "{:<20} {:>16} {:>16} {:>10}", row.encoding.name(), row.dense_model, row.pruned, pays)?;
        }
        writeln!(out, "The rest of the file takes {} bytes more, of {}", self.rest_bytes, self.file_bytes)?;
        writeln!(out, "Elements: {}, {} of them zero ({})", self.elements, self.zeros, share(self.zeros, self.elements))?;
        match (&self.work, &self.work_failure) {
            (Some(work), _) => {
                let shapes: Vec<String> = work.inputs.iter().map(|(name, shape)| format!("{name} {shape:?}")).collect();
                let (all, zeroed) = (work.multiply_accumulates, work.zeroed);
                writeln!(
                    out,
                    "Multiply-accumulates: {all}, {zeroed} of them with a zero ({}), for {}",
                    share(zeroed, all),
                    shapes.join(", ")
                )?;
            }
            (None, Some(why)) => writeln!(out, "Multiply-accumulates are not known: {why}")?,
            (None, None) => {}
        }
        let patterns: Vec<GroupsOfFour> = self.parameters.iter().filter_map(|row| row.pattern).collect();
        let whole = patterns.iter().filter(|p| p.groups == p.holding).count();
        writeln!(out, "2:4: {} weights have a shape for it, {whole} the pattern throughout", patterns.len())?;
        if let Some(speed) = &self.speed {
            let images = if speed.batch == 1 { "1 image".to_owned() } else { format!("{} images", speed.batch) };
            writeln!(out, "A forward pass of {images} on {}, median and quartiles of {}:", self.device, speed.passes)?;
            for (name, t) in [("dense", &speed.dense_ms), ("masked at every pass", &speed.masked_ms), ("fixed", &speed.fixed_ms)] {
                writeln!(out, "{name:<20} {:>10.3} ms {:>10.3} to {:.3}", t.median, t.lower_quartile, t.upper_quartile)?;
            }
            writeln!(out, "Zeros make dense kernels no faster; what fixing saves is the masking")?;
        }
        if let Some(pace) = &self.beside {
            writeln!(out, "In turn with {}, {} passes each:", escaped(&pace.model), pace.passes)?;
            for (name, t) in [("the other", &pace.other_ms), ("this one", &pace.this_ms)] {
                writeln!(out, "{name:<20} {:>10.3} ms {:>10.3} to {:.3}", t.median, t.lower_quartile, t.upper_quartile)?;
            }
            writeln!(out, "This one is {:.2} times as fast", pace.times_as_fast)?;
        }
        Ok(())
    }

    fn csv(&self) -> String {
        let heads = [
            "parameter",
            "type",
            "elements",
            "zeros",
            "multiply_accumulates",
            "zeroed_multiply_accumulates",
            "dense_bytes",
            "deflate_bytes",
            "zstd_bytes",
            "bitmask_bytes",
            "sparse_tensor_bytes",
            "groups_of_four",
            "groups_2_4",
        ];
        let line = |row: &CostRow| {
            let mut fields = vec![
                row.parameter.clone(),
                row.kind.clone(),
                row.elements.to_string(),
                row.zeros.to_string(),
                export::optional(row.multiply_accumulates),
                export::optional(row.zeroed_multiply_accumulates),
            ];
            fields.extend(Encoding::ALL.map(|encoding| row.bytes.of(encoding).to_string()));
            fields.extend([row.pattern.map(|p| p.groups), row.pattern.map(|p| p.holding)].map(export::optional));
            fields
        };
        export::table(&heads, self.parameters.iter().map(line))
    }
}
