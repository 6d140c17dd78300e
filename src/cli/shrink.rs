//! `secateur shrink`: remove whole channels, say what that does, save the smaller model.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use clap::builder::Resettable;
use clap::{Args, Id, ValueEnum};
use serde::Serialize;

use super::by_hand::{Named, by_hand, named};
use super::cost::share;
use super::images::{ImageArguments, Measured};
use super::print_json;
use super::repair::{RepairArguments, RepairReport, repaired};
use super::rows::{Row, print};
use super::terminal::Terminal;
use crate::atomic::Overwrite;
use crate::channels::{ChannelAmount, ChannelScore, Channels, Choice, Granularity, Of, Spread};
use crate::engine::{ChannelPlan, Chosen, Engine, FoundChannels};
use crate::escaped::escaped;
use crate::evaluate;
use crate::export::Format;
use crate::images::Preprocess;
use crate::network::Array;
use crate::prune::{State, glob};
use crate::watch::{Part, Watch};

/// `--of`
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum OfArgument {
    /// Multiply-accumulates of one image
    #[default]
    Macs,
    /// Elements of all parameters
    Params,
    /// Channels of all groups
    Channels,
}

/// `--score`
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum ScoreArgument {
    /// Sums of squares, relative to the mean of the group
    #[default]
    L2,
    /// Sums of magnitudes, relative to the mean of the group
    L1,
    /// Scales of batch normalisation
    Bn,
    /// Chance, see --seed
    Random,
}

/// `--method`
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum MethodArgument {
    /// One ranking over all groups
    #[default]
    Global,
    /// The same share of each group
    Each,
}

#[derive(Debug, Args)]
// Without images nothing is measured.
#[command(mut_arg("images", |arg| arg.required_unless_present(Resettable::<Id>::Reset)))]
pub(super) struct Shrink {
    #[command(flatten)]
    images: ImageArguments,
    #[command(flatten)]
    repair: RepairArguments,
    /// Share that is removed, 0 to 1
    #[arg(long, value_name = "SHARE", value_parser = amount)]
    amount: f64,
    /// What the amount is a share of
    #[arg(long, value_enum, default_value_t)]
    of: OfArgument,
    /// What channels are ranked by
    #[arg(long, value_enum, default_value_t)]
    score: ScoreArgument,
    /// Seed of --score random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How the amount is spread over the groups
    #[arg(long, value_enum, default_value_t)]
    method: MethodArgument,
    /// A group that loses channels keeps a multiple of so many: others make most runtimes slower than the opened network
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024))]
    multiple: u32,
    /// The least number of channels of a group
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    least: u32,
    /// Modules whose groups stay as they are; * and ? stand for any text and any character
    #[arg(long, value_name = "GLOB")]
    keep: Vec<String>,
    /// Channels that go whatever their scores, by the group's name and their numbers; --plan lists the groups
    #[arg(long, value_name = "GROUP=0,3,5-9", value_parser = named)]
    remove_channels: Vec<Named>,
    /// Channels that stay whatever their scores, likewise
    #[arg(long, value_name = "GROUP=0,3,5-9", value_parser = named)]
    keep_channels: Vec<Named>,
    /// Show what would go and write nothing
    #[arg(long, conflicts_with = "saved")]
    plan: bool,
    /// Save as .onnx, .safetensors, .bpk (Burn) or .rs (Rust source for Burn with its weights)
    #[arg(short = 'o', long = "save", value_name = "OUT")]
    saved: Option<PathBuf>,
    /// Save the masked twin too, the network with zeros where channels would go: both answer the same
    #[arg(long, value_name = "TWIN", requires = "saved")]
    masked: Option<PathBuf>,
    /// Replace files that exist
    #[arg(long, requires = "saved")]
    force: bool,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

fn amount(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.0..1.0).contains(share));
    share.ok_or_else(|| format!("“{text}” is no share of channels: a number from 0 up to and without 1"))
}

#[derive(Serialize)]
struct ShrinkReport {
    model: String,
    groups: Vec<GroupRow>,
    /// Groups that do not keep the multiple, because channels that were named leave no way to.
    off_multiple: Vec<String>,
    /// Before and after.
    macs: [u64; 2],
    parameters: [u64; 2],
    channels: [u64; 2],
    /// Of the files, with external data.
    bytes: [u64; 2],
    frozen: Vec<FrozenRow>,
    /// Channels that stay, of all but those that the network answers with, 0..=1.
    frozen_share: f64,
    /// Largest difference between the smaller network's outputs and those of the masked twin, relative to the largest output.
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<EffectReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    saved: Option<String>,
    /// To find the groups; to choose.
    seconds: [f64; 2],
}

#[derive(Serialize)]
struct GroupRow {
    name: String,
    channels: usize,
    kept: usize,
    members: Vec<String>,
}

#[derive(Serialize)]
struct FrozenRow {
    name: String,
    channels: usize,
    reason: String,
}

#[derive(Serialize)]
struct EffectReport {
    dense: Row,
    smaller: Row,
    #[serde(skip_serializing_if = "Option::is_none")]
    repair: Option<RepairReport>,
}

impl Shrink {
    fn choice(&self, channels: &Channels) -> anyhow::Result<Choice> {
        let is_kept = |names: &mut dyn Iterator<Item = &str>| {
            let names: Vec<&str> = names.collect();
            self.keep.iter().any(|pattern| names.iter().any(|name| glob(pattern, name)))
        };
        for pattern in &self.keep {
            let mut members = channels.groups.iter().flat_map(|group| &group.members);
            anyhow::ensure!(
                members.any(|member| glob(pattern, &member.name)),
                "“{pattern}” names no module with channels that can be removed; shrink --plan lists them"
            );
        }
        let locked = channels.groups.iter().map(|group| is_kept(&mut group.members.iter().map(|member| member.name.as_str()))).collect();
        Ok(Choice {
            amount: ChannelAmount {
                share: self.amount,
                of: match self.of {
                    OfArgument::Macs => Of::Macs,
                    OfArgument::Params => Of::Parameters,
                    OfArgument::Channels => Of::Channels,
                },
            },
            spread: match self.method {
                MethodArgument::Global => Spread::Global,
                MethodArgument::Each => Spread::Each,
            },
            granularity: Granularity { multiple: self.multiple as usize, least: self.least as usize },
            locked,
            by_hand: by_hand(channels, &self.remove_channels, &self.keep_channels)?,
            ..Choice::default()
        })
    }

    fn score(&self) -> ChannelScore {
        match self.score {
            ScoreArgument::L2 => ChannelScore::L2,
            ScoreArgument::L1 => ChannelScore::L1,
            ScoreArgument::Bn => ChannelScore::Scale,
            ScoreArgument::Random => ChannelScore::Random(self.seed),
        }
    }

    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let format = self.saved.as_deref().map(Format::from_path).transpose()?;
        let masked_format = self.masked.as_deref().map(Format::from_path).transpose()?;
        for path in self.saved.iter().chain(&self.masked) {
            anyhow::ensure!(self.force || !path.exists(), "a file of that name is there already; --force replaces it: {}", path.display());
        }
        let watch = Terminal::new();
        let mut measured = self.images.open_with(self.repair.asked(None, None).as_ref(), &watch, |_, _| Ok(()))?;
        let engine = measured.evaluator.engine().clone();
        watch.progress(0.0, "Finding channels");
        let start = Instant::now();
        let inputs = noise(&engine)?;
        let channels = engine.channels(&inputs, &watch).context("cannot find the channels of the network")?;
        let found = start.elapsed();
        let choice = self.choice(&channels)?;
        let start = Instant::now();
        let scores = engine.channel_scores(&measured.state, &channels, self.score())?;
        let found_channels = Arc::new(FoundChannels { channels, inputs });
        let chosen = Chosen::new(found_channels, scores.into(), ChannelPlan { score: self.score(), choice });
        let mut report = report(&engine, &chosen, [found.as_secs_f64(), start.elapsed().as_secs_f64()]);
        measured.state = engine.twin(&measured.state, &chosen.found.channels, &chosen.removed)?;
        let state = if self.images.has_images() { self.effect(&mut measured, &mut report, &watch)? } else { measured.state.clone() };
        let (smaller, removal) = engine.shrink(&state, &chosen, &watch).context("cannot remove the channels")?;
        (report.bytes, report.difference) = (removal.bytes, Some(removal.difference));
        if let (Some(path), Some(format)) = (&self.saved, format) {
            watch.progress(0.95, "Saving");
            let overwrite = if self.force { Overwrite::Allow } else { Overwrite::Refuse };
            let saved = smaller.save_opened(path, format, overwrite).context("cannot save the model")?;
            report.bytes[1] = saved.bytes;
            if let (Some(path), Some(format)) = (&self.masked, masked_format) {
                engine.save(&state, path, format, overwrite).context("cannot save the masked twin")?;
            }
            report.saved = Some(path.display().to_string());
        }
        watch.clear();
        if self.json {
            return print_json(out, &report);
        }
        if self.images.has_images() {
            for line in measured.finish().lines() {
                writeln!(out, "{line}")?;
            }
        }
        report.print(out)
    }

    /// What the masked twin answers, before repair and after. The state that is to be made smaller.
    fn effect(&self, measured: &mut Measured, report: &mut ShrinkReport, watch: &Terminal) -> anyhow::Result<State> {
        let part = |before: f32| Part { whole: watch, what: Some("Evaluating"), before, share: 0.45 };
        let dense = Row::of("dense", None, &measured.dense(part(0.0))?);
        let (state, repair) = if self.repair.asked(None, None).is_some() && report.channels[0] != report.channels[1] {
            repaired(measured, &part(0.45))?
        } else {
            (measured.state.clone(), None)
        };
        let smaller = match &repair {
            Some(repair) => repair.kept(),
            None => Row::of("smaller", None, &measured.evaluator.effect(&measured.state, None, &part(0.45)).context("cannot measure")?),
        };
        report.effect = Some(EffectReport { dense, smaller: smaller.titled("smaller"), repair });
        Ok(state)
    }
}

/// What is told of a choice.
fn report(engine: &Engine, chosen: &Chosen, seconds: [f64; 2]) -> ShrinkReport {
    let Chosen { found, plan, removed, before, after, .. } = chosen;
    let channels = &found.channels;
    let group = |group: &crate::channels::Group| GroupRow {
        name: group.name.clone(),
        channels: group.units.len(),
        kept: group.units.iter().filter(|&&unit| !removed.contains(unit)).count(),
        members: group.members.iter().map(|member| format!("{}.{}", member.name, member.side)).collect(),
    };
    let frozen = channels.frozen.iter();
    let off_multiple = channels.off_multiple(removed, plan.choice.granularity).into_iter();
    let file = &engine.model().file;
    ShrinkReport {
        model: file.path.display().to_string(),
        groups: channels.groups.iter().map(group).collect(),
        off_multiple: off_multiple.map(|group| channels.groups[group].name.clone()).collect(),
        macs: [before.macs, after.macs],
        parameters: [before.parameters, after.parameters],
        channels: [before.channels, after.channels],
        bytes: [file.size_bytes(), file.size_bytes()],
        frozen: frozen.map(|f| FrozenRow { name: f.name.clone(), channels: f.channels, reason: f.reason.clone() }).collect(),
        frozen_share: channels.frozen_share(),
        difference: None,
        effect: None,
        saved: None,
        seconds,
    }
}

/// One image of noise.
fn noise(engine: &Engine) -> anyhow::Result<Vec<(String, Array)>> {
    let model = engine.model();
    let (preprocess, _) = Preprocess::for_model(&model.graph, &model.file.path);
    Ok(evaluate::noise(&model.graph, 1, Some(preprocess.shape()), 0)?)
}

impl ShrinkReport {
    fn print(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        writeln!(out, "{:<44} {:>8} {:>8}  with it go", "Group", "channels", "kept")?;
        for row in &self.groups {
            let more = row.members.len().saturating_sub(3);
            let members = row.members.iter().take(3).map(|name| escaped(name).into_owned()).collect::<Vec<_>>().join(", ");
            let members = if more > 0 { format!("{members} and {more} more") } else { members };
            writeln!(out, "{:<44} {:>8} {:>8}  {members}", escaped(&row.name), row.channels, row.kept)?;
        }
        for name in &self.off_multiple {
            writeln!(out, "No multiple stays of {}: the channels that were named leave no way to", escaped(name))?;
        }
        for row in &self.frozen {
            writeln!(out, "Stays: {} channels of {}: {}", row.channels, escaped(&row.name), row.reason)?;
        }
        for (what, [before, after]) in
            [("Channels", self.channels), ("Parameters", self.parameters), ("Multiply-accumulates", self.macs), ("Bytes", self.bytes)]
        {
            writeln!(out, "{what:<22} {before:>14} → {after:>14}  {} fewer", share(before.saturating_sub(after), before))?;
        }
        if let Some(difference) = self.difference {
            writeln!(out, "The smaller network answers as the masked one does, to {difference:.1e} of the largest output")?;
        }
        if let Some(effect) = &self.effect {
            match &effect.repair {
                Some(repair) => {
                    print(out, std::slice::from_ref(&effect.dense))?;
                    repair.print_rows(out)?;
                    repair.print(out)?;
                }
                None => print(out, &[effect.dense.clone(), effect.smaller.clone()])?,
            }
        }
        if let Some(saved) = &self.saved {
            writeln!(out, "Saved {}", escaped(saved))?;
        }
        Ok(())
    }
}
