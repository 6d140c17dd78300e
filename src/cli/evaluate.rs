//! `secateur evaluate`: what a model answers to images, dense and pruned.

use std::io::Write;

use anyhow::Context;
use clap::Args;

use super::images::{ImageArguments, Measured};
use super::pruning::Pruning;
use super::repair::{RepairArguments, repaired};
use super::rows::{MeasuredReport, OutputArguments, Row};
use super::terminal::Terminal;
use crate::repair::RepairError;
use crate::watch::Part;

#[derive(Debug, Args)]
pub(super) struct Evaluate {
    #[command(flatten)]
    images: ImageArguments,
    #[command(flatten)]
    pruning: Pruning,
    #[command(flatten)]
    repair: RepairArguments,
    #[command(flatten)]
    output: OutputArguments,
}

impl Evaluate {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        self.output.check()?;
        let prunes = self.pruning.is_given()?;
        let watch = Terminal::new();
        let calibrating = self.repair.asked(self.pruning.repair()?.as_ref(), self.images.images.as_deref());
        anyhow::ensure!(prunes || calibrating.is_none(), RepairError::Unpruned);
        let mut between = self.images.between(self.repair.calibration(), &watch);
        let mut measured = self.images.open_with(calibrating.as_ref(), &watch, |session, norms| {
            self.pruning.apply(session, norms, &mut between).context("cannot prune the model").map(drop)
        })?;
        let parts = if prunes { 2.0 } else { 1.0 };
        let progress = |part: f32| Part { whole: &watch, what: Some("Evaluating"), before: part / parts, share: 1.0 / parts };
        let mut rows = vec![Row::of("dense", None, &measured.dense(progress(0.0))?)];
        if prunes {
            let (_, repair) = repaired(&mut measured, &progress(1.0))?;
            let Measured { evaluator, state, .. } = &mut measured;
            match repair {
                Some(repair) => rows.extend(repair.rows()),
                None => {
                    let effect = evaluator.effect(state, None, &progress(1.0)).context("cannot measure the pruned model")?;
                    rows.push(Row::of(state.recipe.method.name(), Some(state.recipe.amount), &effect));
                }
            }
        }
        watch.clear();
        self.output.put_rows(out, &MeasuredReport { shown: measured.finish(), search: None, rows })
    }
}
