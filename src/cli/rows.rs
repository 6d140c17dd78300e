//! Rows of figures: as JSON, as CSV, and as a table for a person.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::images::ImagesReport;
use super::print_json;
use crate::atomic::{self, Overwrite};
use crate::escaped::escaped;
use crate::evaluate::Criterion;
use crate::export;
use crate::measure::Effect;
use crate::prune::Amount;

/// How rows are put out.
#[derive(Debug, Args)]
pub(super) struct OutputArguments {
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
    /// Write the rows as CSV, to standard output with -
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Replace FILE where it exists
    #[arg(long, requires = "csv")]
    force: bool,
}

/// What one state of the network costs. Shares are 0..=1; what cannot be measured is null.
#[derive(Clone, Serialize)]
pub(super) struct Row {
    pub(super) method: &'static str,
    pub(super) amount: Option<Amount>,
    /// Of a network that was repaired: whether that did good, so that it would be kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) repaired: Option<bool>,
    top1: Option<f64>,
    top5: Option<f64>,
    agreement: Option<f64>,
    mean_cosine: Option<f64>,
    mean_kl: Option<f64>,
    images: usize,
    /// Of networks that do not classify: every output with its relative error.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    relative_errors: Vec<(String, f64)>,
    /// The figures as a table has them.
    #[serde(skip)]
    pub(super) fields: [String; 6],
}

impl Row {
    /// Of what became of the network by repair; whether that did good.
    pub(super) fn repaired(self, applied: bool) -> Self {
        Self { repaired: Some(applied), ..self }
    }

    /// Under another title.
    pub(super) fn titled(&self, method: &'static str) -> Self {
        Self { method, ..self.clone() }
    }

    pub(super) fn of(method: &'static str, amount: Option<Amount>, effect: &Effect) -> Self {
        let classifies = effect.agreement.is_some();
        Self {
            method,
            amount,
            repaired: None,
            top1: effect.top1,
            top5: effect.top5,
            agreement: effect.agreement,
            mean_cosine: effect.mean_cosine,
            mean_kl: effect.mean_kl,
            images: effect.images,
            relative_errors: if classifies { Vec::new() } else { effect.relative_errors.clone() },
            fields: export::effect_fields(effect),
        }
    }
}

/// An amount as [`export::amount_field`] has it; nothing of the dense network.
pub(super) fn typed(amount: Option<Amount>) -> String {
    amount.map(export::amount_field).unwrap_or_default()
}

/// What is printed of every command that measures.
#[derive(Serialize)]
pub(super) struct MeasuredReport<R> {
    #[serde(flatten)]
    pub(super) shown: ImagesReport,
    /// What the amounts were searched by, where they were.
    #[serde(flatten)]
    pub(super) search: Option<SearchReport>,
    pub(super) rows: Vec<R>,
}

/// Amounts that were searched.
#[derive(Serialize)]
pub(super) struct SearchReport {
    /// The figure that may fall, as the rows name it.
    pub(super) criterion: Criterion,
    /// By how many points.
    pub(super) loses_at_most: f64,
    /// Whether what was pruned was repaired, wherever that does good, before it was judged.
    pub(super) repaired: bool,
}

impl SearchReport {
    /// A line for a person.
    fn print(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let repaired = if self.repaired { ", repaired," } else { "" };
        let of = match self.criterion {
            Criterion::Top1 => "top-1",
            Criterion::Agreement => "agreement",
            Criterion::Cosine => "the cosine",
        };
        writeln!(out, "Largest amounts, to half a percent, that{repaired} lose at most {} points of {of}", self.loses_at_most)
    }
}

impl OutputArguments {
    /// Whether everything can be put out as asked, before hours of work.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        match &self.csv {
            Some(path) if !self.force && !is_standard_output(path) && path.exists() => {
                anyhow::bail!("a file of that name is there already; choose another name or add --force: {}", path.display())
            }
            Some(path) if self.json && is_standard_output(path) => {
                anyhow::bail!("--json and --csv - cannot both go to standard output; name a file for one of them")
            }
            _ => Ok(()),
        }
    }

    /// Writes rows of methods and amounts as was asked for.
    pub(super) fn put_rows(&self, out: &mut dyn Write, report: &MeasuredReport<Row>) -> anyhow::Result<()> {
        // A column of its own only where something was repaired.
        let is_repaired = report.rows.iter().any(|r| r.repaired.is_some());
        let repaired = |r: &Row| is_repaired.then(|| r.repaired.map_or("no", |_| "yes").to_owned());
        let rows = report.rows.iter().map(|r| {
            let names = [r.method.to_owned(), typed(r.amount)].into_iter().chain(repaired(r)).collect();
            (names, r.fields.clone())
        });
        let names: &[&str] = if is_repaired { &["method", "amount", "repaired"] } else { &["method", "amount"] };
        let csv = export::effects(names, rows);
        self.put(out, report, &csv, |out| {
            for line in report.shown.lines() {
                writeln!(out, "{line}")?;
            }
            if let Some(search) = &report.search {
                search.print(out)?;
            }
            print(out, &report.rows)
        })
    }

    /// Writes what was asked for; `print` is for a person.
    pub(super) fn put<R: Serialize>(
        &self,
        out: &mut dyn Write,
        report: &R,
        csv: &str,
        print: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if let Some(path) = &self.csv {
            if is_standard_output(path) {
                out.write_all(csv.as_bytes())?;
                return Ok(());
            }
            let overwrite = if self.force { Overwrite::Allow } else { Overwrite::Refuse };
            atomic::write(path, overwrite, |file| file.write_all(csv.as_bytes())).context("cannot write the table")?;
        }
        if self.json { print_json(out, report) } else { print(out) }
    }
}

fn is_standard_output(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{:.2} %", share * 100.0))
}

/// The rows for a person, figures aligned.
pub(super) fn print(out: &mut dyn Write, rows: &[Row]) -> anyhow::Result<()> {
    let six = |figure: Option<f64>| figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.6}"));
    let head = ("Method", "Amount", "Top-1", "Top-5", "Agreement", "Cosine", "KL");
    writeln!(out, "{:<10} {:>10} {:>9} {:>9} {:>9} {:>9} {:>10}", head.0, head.1, head.2, head.3, head.4, head.5, head.6)?;
    for row in rows {
        let amount = row.amount.map_or_else(|| "–".to_owned(), amount_for_people);
        writeln!(
            out,
            "{:<10} {:>10} {:>9} {:>9} {:>9} {:>9} {:>10}",
            if row.repaired.is_some() { "repaired" } else { row.method },
            amount,
            percent(row.top1),
            percent(row.top5),
            percent(row.agreement),
            six(row.mean_cosine),
            six(row.mean_kl)
        )?;
        for (output, error) in &row.relative_errors {
            writeln!(out, "{:<10} {:>10} “{}”: relative error {error:.6}", "", "", escaped(output))?;
        }
    }
    let images = rows.iter().map(|r| r.images).max().unwrap_or(0);
    writeln!(out, "{images} image{}", if images == 1 { "" } else { "s" })?;
    Ok(())
}

fn amount_for_people(amount: Amount) -> String {
    match amount {
        Amount::Fraction(value) => format!("{:.1} %", value * 100.0),
        Amount::Count(count) => count.to_string(),
    }
}
