//! The command line: raw arguments become a validated plan, and headless commands run on the same
//! [`Session`](crate::session::Session) as the window.

mod amounts;
mod by_hand;
mod cost;
mod evaluate;
mod images;
mod inspect;
mod prune;
mod pruning;
mod repair;
mod rows;
mod run;
mod sensitivity;
mod shrink;
mod sweep;
mod terminal;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::device::DeviceChoice;
use crate::escaped::Escaping;
use crate::prune::{Method, Schedule};
use cost::CostCommand;
use evaluate::Evaluate;
use inspect::Inspect;
use prune::Prune;
use repair::RepairCommand;
use run::Run;
use sensitivity::SensitivityCommand;
use shrink::Shrink;
use sweep::Sweep;

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
    command: Option<CliCommand>,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// List a model's modules by type
    Inspect(Inspect),
    /// Prune a model and say what that did; save it with -o
    Prune(Box<Prune>),
    /// Run a model on arrays, pruned or as it is, and write what it puts out
    Run(Box<Run>),
    /// Weigh a model, dense and pruned: bytes, multiply-accumulates, and time with --speed
    Cost(Box<CostCommand>),
    /// Show images to a model, dense and pruned, and compare the answers
    Evaluate(Box<Evaluate>),
    /// Prune a model and repair what is left on images without labels; save it with -o
    Repair(Box<RepairCommand>),
    /// Remove whole channels: a smaller and faster model; save it with -o
    Shrink(Box<Shrink>),
    /// Show images to a model pruned by one amount after the other
    Sweep(Box<Sweep>),
    /// Show images to a model with one parameter pruned at a time
    Sensitivity(Box<SensitivityCommand>),
}

/// `--method`: the methods under their names.
impl ValueEnum for Method {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.name()).help(self.help()))
    }
}

/// `--schedule`
impl ValueEnum for Schedule {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.name()).help(self.help()))
    }
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
pub enum Invocation {
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
pub struct Headless(CliCommand);

/// Reads the arguments.
///
/// # Errors
/// Clap's message, for help and version too; [`usage_exit_code`] tells which.
pub fn plan(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, clap::Error> {
    let arguments = Arguments::try_parse_from(arguments)?;
    Ok(match arguments.command {
        None => Invocation::Window { file: arguments.file, device: arguments.device.into() },
        Some(command) => Invocation::Headless(Headless(command)),
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
    // Names from the file reach a terminal escaped.
    let out: &mut dyn Write = &mut Escaping(out);
    match command.0 {
        CliCommand::Inspect(inspect) => inspect.run(out),
        CliCommand::Prune(prune) => prune.run(out),
        CliCommand::Run(run) => run.run(out),
        CliCommand::Cost(cost) => cost.run(out),
        CliCommand::Evaluate(evaluate) => evaluate.run(out),
        CliCommand::Repair(repair) => repair.run(out),
        CliCommand::Shrink(shrink) => shrink.run(out),
        CliCommand::Sweep(sweep) => sweep.run(out),
        CliCommand::Sensitivity(sensitivity) => sensitivity.run(out),
    }
}

fn print_json(out: &mut dyn Write, value: &impl Serialize) -> anyhow::Result<()> {
    // As what it is: a reader that has left is told apart.
    serde_json::to_writer_pretty(&mut *out, value).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(())
}
