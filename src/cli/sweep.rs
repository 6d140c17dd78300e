//! `secateur sweep`: what pruning costs, amount by amount.

use std::io::Write;

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::amounts::Amounts;
use super::images::{ImageArguments, Measured};
use super::pruning::{ChoiceArguments, ScopeArguments};
use super::repair::{RepairArguments, repaired};
use super::rows::{MeasuredReport, OutputArguments, Row, SearchReport};
use super::terminal::Terminal;
use crate::evaluate::{Criterion, Found, MOST_PROBES, largest_bearable};
use crate::prune::{Amount, Method, Recipe, Step};
use crate::watch::{Part, Watch};

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
    /// Instead of amounts: the largest, to half a percent, that loses at most so many points of top-1; without labels of agreement, and
    /// of the cosine where nothing is classified
    #[arg(long, value_name = "POINTS", conflicts_with = "amounts", value_parser = points)]
    loses_at_most: Option<f64>,
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

fn points(text: &str) -> Result<f64, String> {
    let points: Option<f64> = text.trim().parse().ok().filter(|points| (0.0..=100.0).contains(points));
    points.ok_or_else(|| format!("“{text}” is no number of points between 0 and 100"))
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
        if let Some(points) = self.loses_at_most {
            let (search, rows) = largest(&mut measured, methods, points, &watch)?;
            watch.clear();
            return self.output.put_rows(out, &MeasuredReport { shown: measured.finish(), search: Some(search), rows });
        }
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
        self.output.put_rows(out, &MeasuredReport { shown: measured.finish(), search: None, rows })
    }
}

/// The largest amount of every method that loses at most so many points.
fn largest(measured: &mut Measured, methods: &[Method], points: f64, watch: &dyn Watch) -> anyhow::Result<(SearchReport, Vec<Row>)> {
    let share = 1.0 / (methods.len() * MOST_PROBES as usize + 1) as f32;
    let part = |probe: usize| Part { whole: watch, what: Some("Searching"), before: probe as f32 * share, share };
    let Measured { evaluator, state, repairer, .. } = measured;
    let dense = evaluator.dense(None, &part(0)).context("cannot measure the model")?;
    let criterion = Criterion::suiting(&dense);
    let dense = criterion.of(&dense).context("this model has no figure that could fall")?;
    let mut rows = Vec::with_capacity(methods.len());
    for (i, &method) in methods.iter().enumerate() {
        let mut probe = i * MOST_PROBES as usize;
        let found = largest_bearable(state, method, (criterion, dense - points / 100.0), &mut |state| {
            probe += 1;
            match repairer {
                Some(repairer) => repairer.effect(evaluator, state, &part(probe)),
                None => evaluator.effect_within_reach(state, &part(probe)),
            }
        });
        let Found { amount, effect, .. } = found.context("cannot measure the pruned model")?;
        rows.push(Row::of(method.name(), Some(Amount::Fraction(amount)), &effect));
    }
    Ok((SearchReport { criterion, loses_at_most: points, repaired: repairer.is_some() }, rows))
}
