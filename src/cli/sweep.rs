//! `secateur sweep`: what pruning costs, amount by amount.

use std::io::Write;

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::amounts::Amounts;
use super::images::{ImageArguments, Progress};
use super::pruning::ScopeArguments;
use super::rows::{OutputArguments, Report, Row};
use super::terminal::Terminal;
use crate::prune::{Method, Settings};

#[derive(Debug, Args)]
pub(super) struct Sweep {
    #[command(flatten)]
    images: ImageArguments,
    /// Each parameter on its own, all together, or one after the other
    #[arg(long, value_enum, default_value_t)]
    method: Methods,
    /// A list (0.1,0.5) or first:last:step (0:0.9:0.05)
    #[arg(long, default_value = "0:0.9:0.1")]
    amounts: Amounts,
    #[command(flatten)]
    scope: ScopeArguments,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Methods {
    #[default]
    Both,
    LayerWise,
    Global,
}

impl Methods {
    fn list(self) -> &'static [Method] {
        match self {
            Self::Both => &Method::ALL,
            Self::LayerWise => &[Method::LayerWise],
            Self::Global => &[Method::Global],
        }
    }
}

impl Sweep {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        self.output.check()?;
        let watch = Terminal::new();
        let mut settings = None;
        let mut measured = self.images.open(&watch, |session| {
            let mut scope = session.state().settings.clone();
            self.scope.apply(&session.model().graph, &mut scope).context("cannot prune the model")?;
            settings = Some(scope);
            Ok(())
        })?;
        let Some(settings) = settings else { return Ok(()) };
        let images = measured.evaluator.questions().num_images();
        let cases: Vec<_> = self.method.list().iter().flat_map(|&m| self.amounts.0.iter().map(move |&a| (m, a))).collect();
        let share = 1.0 / (cases.len() + 1) as f32;
        let progress = |case: usize| Progress { terminal: &watch, what: "Evaluating", before: case as f32 * share, share, images };
        // The dense network first: what its labels cannot be is told before anything is pruned.
        measured.dense(&mut progress(0))?;
        let state = measured.evaluator.session().state().clone();
        let mut rows = Vec::with_capacity(cases.len());
        for (i, (method, amount)) in cases.into_iter().enumerate() {
            let settings = Settings { method, amount, ..settings.clone() };
            let effect = measured.evaluator.effect_at(&state, settings, &mut progress(i + 1));
            rows.push(Row::of(method.name(), Some(amount), &effect.context("cannot measure the pruned model")?));
        }
        watch.clear();
        self.output.put_rows(out, &Report { shown: measured.finish(), rows })
    }
}
