//! The lines of the tree: modules by type or by path, and after them the tensors that no module prunes, so that the elements of
//! all lines are those of the file.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::app::state::Grouping;
use crate::app::text;
use crate::engine::Model;
use crate::graph::{Graph, ModuleId, rest_obstacle};
use crate::onnx::{OnnxFile, Tensor, TensorId};

/// One line of the list.
#[derive(Debug, PartialEq)]
pub(super) struct TreeRow<'a> {
    pub(super) depth: usize,
    pub(super) label: Cow<'a, str>,
    /// The whole path; what is told apart by it.
    pub(super) name: Cow<'a, str>,
    pub(super) what: RowKind,
}

#[derive(Debug, PartialEq)]
pub(super) enum RowKind {
    /// A type or a path, with the modules in it; the key says which is folded.
    Group {
        key: String,
        modules: Vec<ModuleId>,
        is_open: bool,
    },
    Module(ModuleId),
    /// Tensors that are not parameters.
    Heap {
        heap: Heap,
        tensors: Vec<TensorId>,
        is_open: bool,
    },
    Tensor(Heap, TensorId),
}

/// Why tensors are not parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heap {
    /// Modules own them, and training measures them.
    Statistics,
    /// No module owns them.
    Rest,
}

impl Heap {
    const ALL: [Self; 2] = [Self::Statistics, Self::Rest];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Statistics => "Running statistics",
            Self::Rest => "Not in a module",
        }
    }

    fn tensors(self, graph: &Graph) -> Vec<TensorId> {
        match self {
            Self::Statistics => graph.buffers().into_iter().collect(),
            Self::Rest => graph.rest.clone(),
        }
    }

    /// Why one of them is not pruned.
    pub(super) fn obstacle(self, tensor: &Tensor) -> String {
        match self {
            Self::Statistics => "it was measured in training, not learnt".to_owned(),
            Self::Rest => rest_obstacle(tensor),
        }
    }

    /// What all of them are.
    pub(super) fn meaning(self) -> &'static str {
        match self {
            Self::Statistics => "Means and variances of normalizations; measured, not learnt, so they are not pruned",
            Self::Rest => "Constants that no module owns; they are not pruned",
        }
    }

    /// The key under which its fold is kept.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Statistics => "heap statistics",
            Self::Rest => "heap rest",
        }
    }
}

/// Elements of all lines together.
pub(super) fn elements(model: &Model) -> u64 {
    let tensor = |id: &TensorId| model.file.tensor(*id).elements as u64;
    model.graph.elements() as u64 + model.graph.buffers().iter().chain(&model.graph.rest).map(tensor).sum::<u64>()
}

/// What the list is made of, and how.
pub(super) struct Listing<'a> {
    pub(super) graph: &'a Graph,
    pub(super) file: &'a OnnxFile,
    pub(super) grouping: Grouping,
    /// Part of the names wanted, in any case; it opens all groups.
    pub(super) search: &'a str,
    /// Keys of the groups whose fold is not the one they start with.
    pub(super) folds: &'a HashSet<String>,
}

impl<'a> Listing<'a> {
    /// The lines to show.
    pub(super) fn rows(&self) -> Vec<TreeRow<'a>> {
        let modules = Modules { graph: self.graph, needle: self.search.to_lowercase(), folds: self.folds };
        let mut rows = modules.rows(self.grouping);
        for heap in Heap::ALL {
            self.heap(heap, &modules.needle, &mut rows);
        }
        rows
    }

    /// A group that starts folded: it is there for the sum more than to be read.
    fn heap(&self, heap: Heap, needle: &str, rows: &mut Vec<TreeRow<'a>>) {
        let name = |id: TensorId| self.file.tensor(id).name.as_str();
        let mut tensors = heap.tensors(self.graph);
        if !needle.is_empty() && !heap.name().to_lowercase().contains(needle) {
            tensors.retain(|&id| name(id).to_lowercase().contains(needle));
        }
        if tensors.is_empty() {
            return;
        }
        let is_open = !needle.is_empty() || self.folds.contains(heap.key());
        let title = Cow::Borrowed(heap.name());
        let what = RowKind::Heap { heap, tensors: tensors.clone(), is_open };
        rows.push(TreeRow { depth: 0, label: title.clone(), name: title, what });
        if is_open {
            rows.extend(tensors.into_iter().map(|id| {
                let label = if name(id).is_empty() { "(no name)".into() } else { text::name(name(id)) };
                TreeRow { depth: 1, label: label.clone(), name: label, what: RowKind::Tensor(heap, id) }
            }));
        }
    }
}

/// The part of the list that is pruned.
struct Modules<'a, 'b> {
    graph: &'a Graph,
    /// Part of the names wanted, in lower case.
    needle: String,
    folds: &'b HashSet<String>,
}

impl<'a> Modules<'a, '_> {
    fn is_found(&self, id: ModuleId) -> bool {
        let module = self.graph.module(id);
        self.needle.is_empty() || [&module.name, &module.kind].iter().any(|text| text.to_lowercase().contains(&self.needle))
    }

    fn is_open(&self, key: &str) -> bool {
        !self.needle.is_empty() || !self.folds.contains(key)
    }

    fn rows(&self, grouping: Grouping) -> Vec<TreeRow<'a>> {
        let mut rows = Vec::new();
        match grouping {
            Grouping::Type => self.types(&mut rows),
            Grouping::Path => {
                let modules: Vec<ModuleId> = (0..self.graph.modules.len()).map(ModuleId).filter(|&id| self.is_found(id)).collect();
                self.branch(&modules, "", 0, &mut rows);
            }
        }
        rows
    }

    fn types(&self, rows: &mut Vec<TreeRow<'a>>) {
        for (kind, mut modules) in self.graph.types() {
            modules.retain(|&id| self.is_found(id));
            if modules.is_empty() {
                continue;
            }
            let key = format!("type {kind}");
            let is_open = self.is_open(&key);
            let what = RowKind::Group { key, modules: modules.clone(), is_open };
            rows.push(TreeRow { depth: 0, label: text::name(kind), name: text::name(kind), what });
            if is_open {
                rows.extend(modules.into_iter().map(|id| {
                    let name = text::name(&self.graph.module(id).name);
                    TreeRow { depth: 1, label: name.clone(), name, what: RowKind::Module(id) }
                }));
            }
        }
    }

    /// Modules whose path starts with `prefix`, in graph order; runs of the same next part become groups.
    fn branch(&self, modules: &[ModuleId], prefix: &str, depth: usize, rows: &mut Vec<TreeRow<'a>>) {
        let whole = |id: ModuleId| self.graph.module(id).name.as_str();
        let mut at = 0;
        while at < modules.len() {
            let rest = &whole(modules[at])[prefix.len()..];
            let Some((part, _)) = rest.split_once('.').filter(|_| depth < MAX_DEPTH) else {
                let name = text::name(whole(modules[at]));
                rows.push(TreeRow { depth, label: text::name(rest), name, what: RowKind::Module(modules[at]) });
                at += 1;
                continue;
            };
            let inner = format!("{prefix}{part}.");
            let end = at + modules[at..].iter().take_while(|id| whole(**id).starts_with(&inner)).count();
            let run = &modules[at..end];
            // The key tells apart two runs of one name, which happens where modules run in another order than they are named.
            let key = format!("path {inner} {}", run[0].0);
            let is_open = self.is_open(&key);
            let what = RowKind::Group { key, modules: run.to_vec(), is_open };
            rows.push(TreeRow { depth, label: text::name(part), name: text::owned_name(&inner[..inner.len() - 1]), what });
            if is_open {
                self.branch(run, &inner, depth + 1, rows);
            }
            at = end;
        }
    }
}

/// How deep paths nest; a name of a thousand dots is a name, not a thousand groups.
const MAX_DEPTH: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Module, Role as ModuleRole};

    fn graph(names: &[&str]) -> Graph {
        let module = |name: &&str| Module {
            name: (*name).into(),
            kind: "Conv2d".into(),
            role: ModuleRole::Dense,
            parameters: vec![],
            buffers: vec![],
            nodes: vec![],
        };
        Graph { modules: names.iter().map(module).collect(), ..Graph::default() }
    }

    fn paths<'a>(graph: &'a Graph, search: &str, folds: &HashSet<String>) -> Vec<TreeRow<'a>> {
        Modules { graph, needle: search.into(), folds }.rows(Grouping::Path)
    }

    #[test]
    fn paths_nest_and_fold() {
        let graph = graph(&["stem", "blocks.0.conv", "blocks.0.bn", "blocks.1.conv", "head"]);
        let mut folds = HashSet::new();
        let all = paths(&graph, "", &folds);
        let lines: Vec<(usize, &str)> = all.iter().map(|r| (r.depth, r.label.as_ref())).collect();
        assert_eq!(lines, [(0, "stem"), (0, "blocks"), (1, "0"), (2, "conv"), (2, "bn"), (1, "1"), (2, "conv"), (0, "head")]);
        let RowKind::Group { key, .. } = &all[2].what else { panic!() };
        folds.insert(key.clone());
        assert_eq!(paths(&graph, "", &folds).len(), 6);
        assert_eq!(paths(&graph, "bn", &folds).len(), 3, "a search opens what is closed");
    }

    #[test]
    fn a_path_of_very_many_parts_ends_somewhere() {
        let name = "a.".repeat(50_000) + "b";
        let rows = paths(&graph(&[&name]), "", &HashSet::new()).len();
        assert_eq!(rows, MAX_DEPTH + 1);
    }

    /// Every initializer of the file is in exactly one line, however modules are grouped.
    #[test]
    fn the_lines_add_up_to_the_file() {
        let folds: HashSet<String> = Heap::ALL.iter().map(|h| h.key().to_owned()).collect();
        for file in ["assets/mobilenetv4_digits.onnx", "tests/networks/test_vit_default.onnx", "tests/operators/quantised.onnx"] {
            let model = Model::open(std::path::Path::new(file)).unwrap();
            let (graph, file) = (&*model.graph, &model.file);
            let mut all: Vec<TensorId> = (0..file.tensors.len()).map(TensorId).filter(|&id| file.is_initializer(id)).collect();
            all.sort_unstable();
            for grouping in [Grouping::Type, Grouping::Path] {
                let rows = Listing { graph, file, grouping, search: "", folds: &folds }.rows();
                let mut listed: Vec<TensorId> = rows
                    .iter()
                    .flat_map(|row| match &row.what {
                        RowKind::Module(id) => graph.module(*id).parameters.iter().map(|&p| graph.parameter(p).tensor).collect(),
                        RowKind::Tensor(_, id) => vec![*id],
                        _ => vec![],
                    })
                    .collect();
                listed.retain(|&id| file.is_initializer(id));
                listed.sort_unstable();
                assert_eq!(listed, all);
            }
        }
    }
}
