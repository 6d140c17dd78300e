//! `secateur sensitivity`: what pruning costs, one parameter at a time.

use std::io::Write;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::amounts::Amounts;
use super::images::ImageArguments;
use super::pruning::ScopeArguments;
use super::rows::{self, MeasuredReport, OutputArguments, Row};
use super::terminal::Terminal;
use crate::escaped::escaped;
use crate::export;
use crate::graph::Kind;
use crate::prune::Amount;
use crate::watch::{Part, Watch};

#[derive(Debug, Args)]
pub(super) struct SensitivityCommand {
    #[command(flatten)]
    images: ImageArguments,
    /// A list (0.1,0.5) or first:last:step (0.1:0.9:0.1), fractions of every parameter
    #[arg(long, default_value = "0.1:0.9:0.1")]
    amounts: Amounts,
    #[command(flatten)]
    scope: ScopeArguments,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Serialize)]
struct ParameterRow {
    parameter: String,
    #[serde(flatten)]
    row: Row,
}

#[derive(Serialize)]
struct ScanReport {
    #[serde(flatten)]
    report: MeasuredReport<ParameterRow>,
    /// Operators that were run, and that running every case from the start would have taken.
    nodes_run: u64,
    nodes_from_start: u64,
}

/// What failed, where a scan did.
const CANNOT: &str = "cannot measure the pruned model";

impl SensitivityCommand {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        self.output.check()?;
        let amounts = self.amounts.fractions()?;
        let watch = Terminal::new();
        let mut parameters = Vec::new();
        let mut measured = self.images.open(&watch, |session, _| {
            let graph = &session.model().graph;
            let mut recipe = session.state().recipe.clone();
            self.scope.apply(graph, &mut recipe).context("cannot prune the model")?;
            // A bias on its own is a handful of numbers: only where they are asked for.
            let wanted = |kind: Kind| kind == Kind::Weight || self.scope.biases;
            parameters = recipe.scope(graph).into_iter().filter(|&id| wanted(graph.parameter(id).kind)).collect();
            anyhow::ensure!(!parameters.is_empty(), "cannot prune the model: nothing is in the scope");
            Ok(())
        })?;
        let images = measured.evaluator.questions().num_images();
        let dense = measured.dense(Part { whole: &watch, what: Some("Evaluating"), before: 0.0, share: 0.0 })?;
        let mut scan = measured.evaluator.start_scan(&parameters, amounts.clone()).context(CANNOT)?;
        let each = &mut |scan: &crate::evaluate::Sensitivity| {
            watch.progress(scan.share_done(images), "Pruning one parameter at a time");
        };
        measured.evaluator.scan(&mut scan, &watch, each).context(CANNOT)?;
        watch.clear();
        let scan = scan.found();
        let graph = measured.evaluator.engine().model().graph.clone();
        let rows = scan.cases.iter().map(|case| ParameterRow {
            parameter: graph.parameter(case.parameter).name.clone(),
            row: Row::of("alone", Some(Amount::Fraction(case.amount)), &case.effect),
        });
        let rows: Vec<ParameterRow> = rows.collect();
        let report = MeasuredReport { shown: measured.finish(), search: None, rows };
        let rows = report.rows.iter().map(|r| (vec![r.parameter.clone(), rows::typed(r.row.amount)], r.row.fields.clone()));
        let csv = export::effects(&["parameter", "amount"], rows);
        let is_classifier = dense.agreement.is_some();
        let (nodes_run, nodes_from_start) = (scan.nodes_run, scan.nodes_from_start);
        let report = ScanReport { report, nodes_run, nodes_from_start };
        self.output.put(out, &report, &csv, |out| {
            for line in report.report.shown.lines() {
                writeln!(out, "{line}")?;
            }
            let what = if is_classifier { "Agreement with the dense model" } else { "Cosine with the dense model" };
            writeln!(out, "{what}, in percent, with one parameter pruned:")?;
            let heads: Vec<String> = amounts.iter().map(|a| format!("{:>7}", format!("{:.0} %", a * 100.0))).collect();
            writeln!(out, "{:<40} {}", "Parameter", heads.join(""))?;
            for (i, &id) in scan.parameters.iter().enumerate() {
                let cases = (0..amounts.len()).filter_map(|a| scan.case(i, a));
                let figure = |effect: &crate::measure::Effect| effect.agreement.or(effect.mean_cosine).unwrap_or(f64::NAN) * 100.0;
                let figures = cases.map(|case| format!("{:>7.1}", figure(&case.effect))).collect::<Vec<_>>().concat();
                writeln!(out, "{:<40} {figures}", escaped(&graph.parameter(id).name))?;
            }
            writeln!(out, "Ran {nodes_run} operators; from the start, every case would have taken {nodes_from_start}")?;
            Ok(())
        })
    }
}
