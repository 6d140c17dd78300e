//! `secateur run`: the network on given arrays.

use std::borrow::Cow;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::images::on_recipe_images;
use super::pruning::{Pruning, left_out};
use super::terminal::{Terminal, open_device};
use super::{DeviceArgument, print_json};
use crate::arrays::{self, Container};
use crate::atomic::Overwrite;
use crate::device::ComputeDevice;
use crate::engine::{Engine, Model};
use crate::escaped::escaped;
use crate::graph::Input;
use crate::network::{Array, Network};
use crate::session::Session;
use crate::watch::Watch;

#[derive(Debug, Args)]
#[command(
    mut_arg("types", |a| a.requires("method")),
    mut_arg("modules", |a| a.requires("method")),
    mut_arg("biases", |a| a.requires("method")),
    mut_arg("no_biases", |a| a.requires("method"))
)]
pub(super) struct Run {
    /// Model to run
    file: PathBuf,
    /// An input: NAME=FILE.npy; FILE.npy alone where the model has one input; or FILE.npz with all inputs by name
    #[arg(long, value_name = "NAME=FILE")]
    input: Vec<PathBuf>,
    /// Write the outputs to .npz by name, or to .npy where the model has one
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    #[command(flatten)]
    pruning: Pruning,
    /// Where to run
    #[arg(long, value_enum, default_value_t)]
    device: DeviceArgument,
    /// Run once to warm up, then N times, and tell the median time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    repeat: Option<u32>,
    /// Replace OUT where it exists
    #[arg(long, requires = "output")]
    force: bool,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct RunReport {
    device: String,
    inputs: Vec<ArrayRow>,
    outputs: Vec<ArrayRow>,
    /// Of one forward pass, arrays in and out included; the median where there were several.
    seconds: f64,
    runs: u32,
    saved: Option<String>,
}

#[derive(Serialize)]
struct ArrayRow {
    name: String,
    shape: Vec<usize>,
    dtype: &'static str,
}

impl ArrayRow {
    fn of((name, array): &(String, Array)) -> Self {
        Self { name: name.clone(), shape: array.shape.clone(), dtype: arrays::numpy_type(array) }
    }
}

impl Run {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let overwrite = if self.force { Overwrite::Allow } else { Overwrite::Refuse };
        if let Some(path) = &self.output {
            // Told before minutes of work rather than after them.
            Container::of(path)?;
            anyhow::ensure!(self.force || !path.exists(), "a file of that name is there already; --force replaces it: {}", path.display());
        }
        let is_pruned = self.pruning.is_given()?;
        let watch = Terminal::new();
        let model = Model::open(&self.file).context("cannot open the model")?;
        let inputs = self.inputs(&model.graph.inputs)?;
        let device = open_device(self.device)?;
        let device_name = device.name.clone();
        let network = self.network(model, device, is_pruned, &watch)?;
        let (outputs, seconds) = self.forward(&network, &inputs, &watch).context("cannot run the network")?;
        if let Some(path) = &self.output {
            arrays::write(path, &outputs, overwrite).context("cannot save the outputs")?;
        }
        watch.clear();
        let report = RunReport {
            device: device_name,
            inputs: inputs.iter().map(ArrayRow::of).collect(),
            outputs: outputs.iter().map(ArrayRow::of).collect(),
            seconds,
            runs: self.repeat.unwrap_or(1),
            saved: self.output.as_ref().map(|path| path.display().to_string()),
        };
        if self.json { print_json(out, &report) } else { report.print(out) }
    }

    /// The network as it is to run. Magnitudes are sorted only where something is pruned.
    fn network(&self, model: Model, device: ComputeDevice, is_pruned: bool, watch: &Terminal) -> anyhow::Result<Network> {
        if !is_pruned {
            return Network::build(model.graph.clone(), &model.file, &device.device).context("cannot run the network");
        }
        let rankings = model.rank(watch)?;
        let mut session = Session::new(Engine::new(model.into(), rankings).on(device));
        self.pruning.leave_repair("that is left out here")?;
        self.pruning.apply(&mut session, &mut on_recipe_images(watch), &mut left_out).context("cannot prune the model")?;
        session.engine().outcome(session.state()).context("cannot prune the model")?;
        session.engine().pruned_network(session.state()).context("cannot run the network")
    }

    fn inputs(&self, wanted: &[Input]) -> anyhow::Result<Vec<(String, Array)>> {
        let mut out: Vec<(String, Array)> = Vec::new();
        for argument in &self.input {
            let (name, path) = split(argument, wanted);
            let arrays = arrays::read(&path).context("cannot read an input")?;
            let named = match (name, Container::of(&path)?) {
                (Some(name), _) => match <[_; 1]>::try_from(arrays) {
                    Ok([(_, array)]) => vec![(name, array)],
                    Err(arrays) => anyhow::bail!("{} arrays are given for the input “{name}”: {}", arrays.len(), path.display()),
                },
                (None, Container::Archive) => arrays,
                (None, Container::One) => match wanted {
                    [input] => arrays.into_iter().map(|(_, array)| (input.name.clone(), array)).collect(),
                    several => anyhow::bail!(
                        "the model has {} inputs ({}); say which one this is, as NAME=FILE: {}",
                        several.len(),
                        several.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join(", "),
                        path.display()
                    ),
                },
            };
            for (name, array) in named {
                anyhow::ensure!(!out.iter().any(|(known, _)| *known == name), "the input “{name}” is given twice: {}", path.display());
                out.push((name, array));
            }
        }
        Ok(out)
    }

    /// The outputs, and seconds per pass.
    fn forward(&self, network: &Network, inputs: &[(String, Array)], watch: &Terminal) -> anyhow::Result<(Vec<(String, Array)>, f64)> {
        let runs = self.repeat.unwrap_or(1);
        if self.repeat.is_some() {
            network.forward(inputs)?;
        }
        let mut times = Vec::new();
        loop {
            watch.progress(times.len() as f32 / runs as f32, "Running");
            let start = Instant::now();
            let outputs = network.forward(inputs)?;
            times.push(start.elapsed().as_secs_f64());
            if times.len() >= runs as usize {
                times.sort_by(f64::total_cmp);
                return Ok((outputs, f64::midpoint(times[(times.len() - 1) / 2], times[times.len() / 2])));
            }
        }
    }
}

/// `NAME=FILE` as name and path. Names and paths may hold an equals sign: a name that the model has goes first, then a file
/// that is there.
fn split<'a>(argument: &'a Path, wanted: &[Input]) -> (Option<String>, Cow<'a, Path>) {
    let Some(text) = argument.to_str() else { return (None, argument.into()) };
    for input in wanted {
        if let Some(path) = text.strip_prefix(input.name.as_str()).and_then(|rest| rest.strip_prefix('=')) {
            return (Some(input.name.clone()), Path::new(path).into());
        }
    }
    match text.split_once('=') {
        Some((name, path)) if !argument.exists() => (Some(name.to_owned()), Path::new(path).into()),
        _ => (None, argument.into()),
    }
}

impl RunReport {
    fn print(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        for (what, rows) in [("Input", &self.inputs), ("Output", &self.outputs)] {
            for row in rows {
                writeln!(out, "{what} {}: {} {:?}", escaped(&row.name), row.dtype, row.shape)?;
            }
        }
        let median = if self.runs > 1 { format!(", the median of {}", self.runs) } else { String::new() };
        writeln!(out, "{:.4} s{median}, on {}", self.seconds, self.device)?;
        if let Some(saved) = &self.saved {
            writeln!(out, "Saved {}", escaped(saved))?;
        }
        Ok(())
    }
}
