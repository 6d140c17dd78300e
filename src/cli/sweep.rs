//! `secateur sweep`: what pruning costs, amount by amount.

use std::io::Write;

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::amounts::Amounts;
use super::images::ImageArguments;
use super::pruning::{ChoiceArguments, ScopeArguments};
use super::repair::{RepairArguments, repaired};
use super::rows::{OutputArguments, Report, Row};
use super::terminal::Terminal;
use crate::prune::{Method, Recipe, Step};
use crate::watch::Part;

#[derive(Debug, Args)]
pub(super) struct Sweep {
    #[command(flatten)]
    images: ImageArguments,
    /// One method, or layer-wise and global one after the other
    #[arg(long, default_value = "both", value_parser = methods)]
    method: Methods,
    /// Several methods, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', conflicts_with = "method")]
    methods: Vec<Method>,
    /// A list (0.1,0.5) or first:last:step (0:0.9:0.05)
    #[arg(long, default_value = "0:0.9:0.1")]
    amounts: Amounts,
    #[command(flatten)]
    scope: ScopeArguments,
    #[command(flatten)]
    choice: ChoiceArguments,
    #[command(flatten)]
    repair: RepairArguments,
    #[command(flatten)]
    output: OutputArguments,
}

/// What `--method` names.
#[derive(Debug, Clone)]
struct Methods(Vec<Method>);

fn methods(text: &str) -> Result<Methods, String> {
    if text == "both" {
        return Ok(Methods(Method::PAIR.to_vec()));
    }
    Method::from_str(text, false).map(|method| Methods(vec![method])).map_err(|_| {
        let names = Method::ALL.map(Method::name).join(", ");
        format!("“{text}” is no method; write both, {names}")
    })
}

impl Sweep {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        self.output.check()?;
        let watch = Terminal::new();
        let mut measured = self.images.open_with(self.repair.asked(None, None).as_ref(), &watch, |session, norms| {
            self.choice.apply(session, norms).context("cannot prune the model")?;
            let mut recipe = session.state().recipe.clone();
            self.scope.apply(&session.model().graph, &mut recipe).context("cannot prune the model")?;
            session.set(recipe, Step::Tick).context("cannot prune the model")
        })?;
        let methods = if self.methods.is_empty() { &self.method.0 } else { &self.methods };
        let cases: Vec<_> = methods.iter().flat_map(|&m| self.amounts.0.iter().map(move |&a| (m, a))).collect();
        let share = 1.0 / (cases.len() + 1) as f32;
        let progress = |case: usize| Part { whole: &watch, what: Some("Evaluating"), before: case as f32 * share, share };
        // The dense network first: what its labels cannot be is told before anything is pruned.
        measured.dense(progress(0))?;
        let opened = measured.state.clone();
        let mut rows = Vec::with_capacity(cases.len());
        for (i, (method, amount)) in cases.into_iter().enumerate() {
            measured.state = opened.with(Recipe { method, amount, ..opened.recipe.clone() });
            if let (_, Some(repair)) = repaired(&mut measured, &progress(i + 1))? {
                rows.extend(repair.rows());
                continue;
            }
            let effect = measured.evaluator.effect(&measured.state, None, &progress(i + 1));
            rows.push(Row::of(method.name(), Some(amount), &effect.context("cannot measure the pruned model")?));
        }
        watch.clear();
        self.output.put_rows(out, &Report { shown: measured.finish(), rows })
    }
}
