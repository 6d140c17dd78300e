//! `secateur inspect`: a model's modules by type.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::print_json;
use crate::engine::Model;
use crate::escaped::escaped;
use crate::graph::{BatchNorm, Kind, ModuleId, ParameterId, rest_obstacle};
use crate::onnx::OpenError;

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// Model to look at
    file: PathBuf,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let model = Model::open(&self.file).context("cannot open the model")?;
        let report = Inspection::of(&model, &self.file).context("cannot read the weights")?;
        if self.json {
            return print_json(out, &report);
        }
        writeln!(
            out,
            "{}: {}, opset {}, {}",
            escaped(&report.file),
            escaped(named(report.producer)),
            report.opset,
            count(report.elements, "element")
        )?;
        for line in model.notes() {
            writeln!(out, "{line}")?;
        }
        for group in &report.types {
            writeln!(out, "\n{} ({}, {})", escaped(group.kind), count(group.modules as u64, "module"), count(group.elements, "element"))?;
            for module in report.modules.iter().filter(|m| m.kind == group.kind) {
                let name = escaped(module.name);
                let weight = module.parameters.first();
                let shape = weight.map(|w| w.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×")).unwrap_or_default();
                writeln!(out, "  {:<40} {:>20}  {}", name, shape, module.role)?;
                for line in module.remarks() {
                    writeln!(out, "    {}", escaped(&line))?;
                }
            }
        }
        writeln!(out, "\n{}", report.sum())?;
        for row in &report.rest {
            let shape = row.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×");
            writeln!(out, "  {:<40} {:>20}  {}", escaped(row.name), shape, row.dtype)?;
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct Inspection<'a> {
    file: String,
    producer: &'a str,
    opset: i64,
    batch_norm: BatchNorm,
    elements: u64,
    types: Vec<TypeRow<'a>>,
    modules: Vec<ModuleRow<'a>>,
    buffer_elements: u64,
    rest_elements: u64,
    rest: Vec<RestRow<'a>>,
    unsupported_operators: &'a std::collections::BTreeMap<String, usize>,
}

/// A tensor that no module owns.
#[derive(Serialize)]
struct RestRow<'a> {
    name: &'a str,
    shape: &'a [usize],
    dtype: String,
    elements: usize,
    obstacle: String,
}

#[derive(Serialize)]
struct TypeRow<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    modules: usize,
    elements: u64,
}

#[derive(Serialize)]
struct ModuleRow<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    role: String,
    parameters: Vec<InspectedParameter<'a>>,
}

#[derive(Serialize)]
struct InspectedParameter<'a> {
    kind: Kind,
    name: &'a str,
    shape: &'a [usize],
    dtype: String,
    elements: usize,
    zeros: u64,
    /// The nodes that use it.
    users: Vec<String>,
    /// Why it cannot be pruned.
    obstacle: Option<String>,
}

impl ModuleRow<'_> {
    /// What is unusual about its parameters.
    fn remarks(&self) -> impl Iterator<Item = String> {
        let shared = self.parameters.iter().filter(|p| p.users.len() > 1);
        let shared = shared.map(|p| format!("{} is used by {}", p.name, p.users.join(", ")));
        shared.chain(self.parameters.iter().filter_map(|p| Some(format!("{} cannot be pruned: {}", p.name, p.obstacle.as_ref()?))))
    }
}

impl<'a> Inspection<'a> {
    fn of(model: &'a Model, file: &Path) -> Result<Self, OpenError> {
        let graph = &model.graph;
        let zeros = model.zeros()?;
        let elements = |modules: &[ModuleId]| {
            modules.iter().flat_map(|&m| &graph.module(m).parameters).map(|&p| graph.parameter(p).elements as u64).sum()
        };
        let parameter = |&id: &ParameterId| {
            let p = graph.parameter(id);
            InspectedParameter {
                kind: p.kind,
                name: &p.name,
                shape: &p.shape,
                dtype: p.dtype.to_string(),
                elements: p.elements,
                zeros: zeros[id.0],
                users: graph.user_names(id),
                obstacle: p.obstacle(),
            }
        };
        Ok(Self {
            file: file.display().to_string(),
            producer: &model.file.producer,
            opset: graph.opset,
            batch_norm: graph.batch_norm.unwrap_or(BatchNorm::None),
            elements: graph.elements() as u64,
            types: graph
                .types()
                .into_iter()
                .map(|(kind, modules)| TypeRow { kind, modules: modules.len(), elements: elements(&modules) })
                .collect(),
            modules: graph
                .modules
                .iter()
                .map(|m| ModuleRow {
                    name: &m.name,
                    kind: &m.kind,
                    role: m.role.to_string(),
                    parameters: m.parameters.iter().map(parameter).collect(),
                })
                .collect(),
            buffer_elements: graph.buffers().iter().map(|&id| model.file.tensor(id).elements as u64).sum(),
            rest_elements: graph.rest.iter().map(|&id| model.file.tensor(id).elements as u64).sum(),
            rest: graph
                .rest
                .iter()
                .map(|&id| model.file.tensor(id))
                .map(|t| RestRow {
                    name: &t.name,
                    shape: &t.shape,
                    dtype: t.dtype.to_string(),
                    elements: t.elements,
                    obstacle: rest_obstacle(t),
                })
                .collect(),
            unsupported_operators: &model.unsupported,
        })
    }

    /// Where the file's elements are, so that they add up.
    fn sum(&self) -> String {
        let mut parts = vec![format!("{} in modules", count(self.elements, "parameter element"))];
        if self.buffer_elements > 0 {
            parts.push(format!("{} of running statistics", count(self.buffer_elements, "element")));
        }
        if !self.rest.is_empty() {
            let tensors = count(self.rest.len() as u64, "tensor");
            parts.push(format!("{} in {tensors} that no module owns", count(self.rest_elements, "element")));
        }
        parts.join(", ")
    }
}

fn named(producer: &str) -> &str {
    if producer.is_empty() { "unknown exporter" } else { producer }
}

pub(super) fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
