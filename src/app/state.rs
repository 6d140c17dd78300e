//! What the window shows, as plain data: no egui types, so that it is tested without a window.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::device::ComputeDevice;
use crate::engine::{Chosen, Model, ModelId};
use crate::export::Report;
use crate::graph::{ModuleId, ParameterId};
use crate::measure::Figures;
use crate::measurer::{RepairPart, TaskKind};
use crate::prune::{Amount, Method, Recipe};
use crate::worker::{Event, Job, Look, Told, View};

use super::channels::ChannelsView;
use super::costs::Costs;
use super::pair::Side;
use super::text;

/// The views in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum Tab {
    /// Sparsity of every parameter.
    #[default]
    Sparsity,
    /// Histogram of the selected parameter.
    Weights,
    /// Both methods side by side.
    Compare,
    /// All figures.
    Table,
    /// What it costs.
    Effect,
    /// What it saves.
    Size,
    /// Channels that are really removed.
    Channels,
}

impl Tab {
    pub(super) const ALL: [Self; 7] = [Self::Sparsity, Self::Weights, Self::Compare, Self::Table, Self::Effect, Self::Size, Self::Channels];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sparsity => "Sparsity",
            Self::Weights => "Weights",
            Self::Compare => "Compare",
            Self::Table => "Table",
            Self::Effect => "Effect",
            Self::Size => "Size and speed",
            Self::Channels => "Channels",
        }
    }

    pub(super) fn tooltip(self) -> &'static str {
        match self {
            Self::Sparsity => "Sparsity of every parameter, and where the methods differ",
            Self::Weights => "Histogram of the selected parameter with both methods' cuts",
            Self::Compare => "What each method prunes that the other leaves",
            Self::Table => "All figures of both methods",
            Self::Effect => "What pruning costs on your own images",
            Self::Size => "What pruning saves: bytes, multiply-accumulates, time",
            Self::Channels => "Channels that fall together, and a smaller network without some",
        }
    }
}

/// How modules are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum Grouping {
    /// `Conv2d`, `Linear`, …
    #[default]
    Type,
    /// `blocks` › `0` › `0`, …
    Path,
}

/// How a notice is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Something failed; stays until it is dismissed.
    Failure,
    /// Something to know about the model; stays until it is dismissed.
    Remark,
    /// Something was done; goes when work goes on.
    Success,
}

/// A message at the foot of the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How it is meant.
    pub tone: Tone,
    /// What was tried, or done.
    pub title: String,
    /// What happened and what to do.
    pub text: String,
}

impl Notice {
    /// Title of a refused amount.
    pub(super) const NOT_AN_AMOUNT: &str = "Not an amount";
    /// Title of a repair that was applied.
    pub(super) const REPAIRED: &str = "Repaired";
    /// Title of a repair that did harm.
    pub(super) const NOT_APPLIED: &str = "Repair not applied";
    /// Title of a recipe that could not be applied.
    pub(super) const PRUNE_FAILED: &str = "Prune failed";

    /// Whether it tells of two figures, before and after a repair.
    pub(super) fn is_of_repair(&self) -> bool {
        self.title == Self::REPAIRED || self.title == Self::NOT_APPLIED
    }

    /// Whether it stays when the recipe changes: a refusal is over with the next amount, and success is old news.
    pub(super) fn outlasts_pruning(&self) -> bool {
        self.tone != Tone::Success && self.title != Self::NOT_AN_AMOUNT && self.title != Self::PRUNE_FAILED
    }
}

/// A question that must be answered first.
#[derive(Debug, Clone)]
pub enum Question {
    /// There is a file of that name.
    Replace(PathBuf, Box<Job>),
    /// Likewise, for a picture that was taken: its PNG.
    ReplacePicture(PathBuf, Arc<[u8]>),
    /// Weights were fixed and not saved; then go on with this.
    Unsaved(AfterUnsaved),
    /// What a repair changes, before the first one, and what calibrates it; these channels are to be removed behind it.
    Repair(Option<Arc<Chosen>>),
    /// Not a question: help.
    Help,
}

/// What would lose unsaved work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AfterUnsaved {
    /// Close the window.
    Close,
    /// Open another file.
    Open(PathBuf),
}

/// Work that is going on.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// 0..=1.
    pub done: f32,
    /// Which part.
    pub what: String,
}

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    Name,
    Type,
    Shape,
    Elements,
    Pruned(Side),
    Sparsity(Side),
    Cut(Side),
    Both,
}

/// What is kept between runs.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Kept {
    /// Files opened before, the latest first.
    pub recent: Vec<PathBuf>,
    /// Last tab.
    pub tab: Tab,
    /// Last grouping.
    pub grouping: Grouping,
    /// Folders that were chosen from or saved in, the latest first.
    pub folders: Vec<PathBuf>,
    /// The window's own file dialogs are wanted even where the system has some.
    pub own_dialogs: bool,
    /// The system's file dialogs have answered with a path.
    pub dialogs_work: bool,
    /// The method beside the applied one; `None` before one was shown.
    pub beside: Option<Method>,
    /// What a repair changes was told.
    pub knows_repair: bool,
}

/// Number of files that are remembered.
const MAX_RECENT: usize = 10;
/// Likewise, of folders.
const MAX_FOLDERS: usize = 5;
/// Notices that are shown at once.
const MAX_NOTICES: usize = 3;

/// Everything on screen.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own on screen")]
pub struct AppState {
    /// The opened model.
    pub model: Option<Arc<Model>>,
    /// Which of the models that were opened it is.
    pub opened: ModelId,
    /// What the controls show; runs ahead of `view` by a frame while dragging.
    pub recipe: Option<Recipe>,
    /// Figures, all for one amount.
    pub view: Option<Box<View>>,
    /// Where networks run.
    pub device: Option<Arc<ComputeDevice>>,
    /// The parameter that all panels show.
    pub selected: Option<ParameterId>,
    /// Modules that are marked in the tree, to be changed together; empty where only one is selected.
    pub marked: BTreeSet<ModuleId>,
    /// A close look at it.
    pub detail: Option<(ParameterId, Look)>,
    /// Kept between runs.
    pub kept: Kept,
    /// Part of the names looked for.
    pub search: String,
    /// Groups of the tree that were folded or unfolded by hand.
    pub folds: HashSet<String>,
    /// Long work.
    pub progress: Option<Progress>,
    /// What pruning costs, as far as it was measured.
    pub costs: Costs,
    /// Channels, and what is to become of them.
    pub channels: ChannelsView,
    /// Plans of channels that were set in this window.
    pub plans: u64,
    /// Messages, the latest last.
    pub notices: VecDeque<Notice>,
    /// What must be answered first.
    pub question: Option<Question>,
    /// The table's order, and whether it is downward.
    pub sort: Option<(Column, bool)>,
    /// Show the selected parameter as it was before the mask.
    pub shows_original: bool,
    /// Show zeros in histograms as a bar.
    pub shows_zeros: bool,
    /// The amount fields while they are edited.
    pub percent_text: Option<String>,
    /// Likewise, number of elements.
    pub count_text: Option<String>,
    /// The tree scrolls to the selection in the next frame.
    pub reveals_selection: bool,
    /// Something is fixed or saved and no question stands in the way of closing.
    pub may_close: bool,
}

impl AppState {
    /// The figures and the model that they belong to.
    pub(super) fn shown(&self) -> Option<(&Model, &Figures)> {
        Some((self.model.as_deref()?, &self.view.as_ref()?.figures))
    }

    /// Whether work would be lost by closing.
    pub(super) fn is_unsaved(&self) -> bool {
        self.view.as_ref().is_some_and(|v| v.is_unsaved)
    }

    /// Remembers the folder that a path was chosen in.
    pub(super) fn remember_folder(&mut self, folder: &Path) {
        self.kept.folders.retain(|known| known != folder);
        self.kept.folders.insert(0, folder.to_owned());
        self.kept.folders.truncate(MAX_FOLDERS);
    }

    /// Long work: what holds up the model, else what is measured beside it.
    pub(super) fn work(&self) -> Option<Progress> {
        let what = |task: TaskKind| match &self.costs.repair.part {
            Some(part) => repairing(part),
            None => task.name().to_owned(),
        };
        let measured = || self.costs.progress.map(|(done, task)| Progress { done, what: what(task) });
        self.progress.clone().or_else(measured)
    }

    /// The slider's position, 0..=1.
    pub(super) fn fraction(&self) -> f64 {
        match (self.recipe.as_ref().map(|s| s.amount), &self.view) {
            (Some(Amount::Fraction(fraction)), _) => fraction,
            (Some(Amount::Count(count)), Some(view)) if view.figures.scope_elements > 0 => {
                let pruned = view.figures.chosen().map_or(count, |o| o.pruned);
                (pruned as f64 / view.figures.scope_elements as f64).min(1.0)
            }
            _ => 0.0,
        }
    }

    /// The weight, or else the first parameter, of a module.
    pub(super) fn first_parameter(&self, module: ModuleId) -> Option<ParameterId> {
        self.model.as_ref()?.graph.module(module).parameters.first().copied()
    }

    pub(super) fn tell(&mut self, mut notice: Notice) {
        // Messages quote names from files.
        notice.text = text::message(&notice.text).into_owned();
        if notice.tone == Tone::Success {
            self.notices.retain(|n| n.tone != Tone::Success);
        }
        self.notices.push_back(notice);
        while self.notices.len() > MAX_NOTICES {
            self.notices.pop_front();
        }
    }

    /// What the controls show from now on. The worker will say the same: a method that was beside the applied one and is applied now
    /// has changed places with it.
    pub(super) fn take_recipe(&mut self, recipe: &Recipe) {
        if let Some(before) = self.recipe.replace(recipe.clone())
            && self.kept.beside == Some(recipe.method)
            && before.method != recipe.method
        {
            self.kept.beside = Some(before.method);
        }
    }

    /// Takes in what the worker says. Returns the parameter that it should look at from now on, where that changes.
    pub(super) fn take(&mut self, Told { model: about, event }: Told) -> Option<ParameterId> {
        let is_of_another = about != self.opened;
        match event {
            // What is known of a model that is no longer on screen.
            Event::Changed(_) | Event::Looked(..) | Event::Measured(_) | Event::Chosen(_) | Event::Planned(_) if is_of_another => {}
            Event::DeviceChosen(device) => self.device = Some(device),
            Event::Progressed { done, what } => self.progress = Some(Progress { done, what }),
            Event::Opened(model) => return self.opened(about, model),
            Event::Replaced(model) => return self.replaced(about, model),
            Event::Chosen(chosen) => self.channels.chosen = Some(chosen),
            Event::Planned([undoable, redoable]) => {
                if let Some(view) = &mut self.view {
                    (view.undoable, view.redoable) = (undoable, redoable);
                }
            }
            Event::Changed(view) => {
                self.kept.beside = Some(Side::Beside.method(&view.figures));
                self.recipe = Some(view.figures.recipe.clone());
                // One that was set since is on its way.
                if view.planned == self.plans {
                    self.channels.plan.clone_from(&view.plan);
                }
                self.view = Some(view);
                self.channels.ask_again();
            }
            Event::Looked(id, look) => self.looked(id, look),
            Event::Saved(report) => self.tell(saved(&report)),
            Event::Missing(names) => {
                let text = format!("this model has none of these, and they were left out: {}", names.join(", "));
                self.tell(Notice { tone: Tone::Remark, title: "Not in this model".into(), text });
            }
            // What the window does about it, see [`super::App::logic`].
            Event::WantsNorms(..) | Event::WantsRepair(..) => {}
            Event::TableSaved(path) => self.tell(Notice { tone: Tone::Success, title: "Saved".into(), text: text::path(&path) }),
            Event::Occupied(path, job) => self.question = Some(Question::Replace(path, job)),
            Event::Failed { what, message } => {
                // What the controls show is what holds.
                self.recipe = self.view.as_ref().map(|v| v.figures.recipe.clone());
                self.tell(Notice { tone: Tone::Failure, title: format!("{what} failed"), text: message });
            }
            Event::Measured(finding) => {
                self.channels.take(&finding);
                if self.channels.selected.is_none()
                    && let (Some(model), Some(id)) = (&self.model, self.selected)
                {
                    self.channels.selected = self.channels.group_of(&model.graph, id);
                }
                self.costs.take(finding);
            }
            Event::Idle => self.progress = None,
        }
        None
    }

    /// A failure is told once, however often the slider asks for the same again.
    fn looked(&mut self, id: ParameterId, look: Look) {
        if let Err(why) = &look
            && self.detail.as_ref().is_none_or(|(_, before)| before.as_ref().err() != Some(why))
        {
            self.tell(Notice { tone: Tone::Failure, title: "Look at a parameter failed".into(), text: why.clone() });
        }
        self.detail = Some((id, look));
    }

    fn opened(&mut self, id: ModelId, model: Arc<Model>) -> Option<ParameterId> {
        let path = model.file.path.canonicalize().unwrap_or_else(|_| model.file.path.clone());
        self.kept.recent.retain(|p| *p != path);
        self.kept.recent.insert(0, path);
        self.kept.recent.truncate(MAX_RECENT);
        self.selected = (!model.graph.parameters.is_empty()).then_some(ParameterId(0));
        self.notices.clear();
        if let Some(note) = text::folded_note(&model) {
            self.tell(Notice { tone: Tone::Remark, title: "BatchNorm is folded".into(), text: note.into() });
        }
        if model.graph.parameters.is_empty() {
            self.tell(Notice {
                tone: Tone::Failure,
                title: "Nothing to prune".into(),
                text: "this file holds no module with weights of its own".into(),
            });
        }
        self.channels.opened();
        self.show_model(id, model);
        self.search.clear();
        self.folds.clear();
        self.selected
    }

    /// Another network of the same file: what is looked at stays where it was.
    fn replaced(&mut self, id: ModelId, model: Arc<Model>) -> Option<ParameterId> {
        let name = self.model.as_ref().zip(self.selected).map(|(model, id)| model.graph.parameter(id).name.clone());
        let same = model.graph.parameters.iter().position(|parameter| Some(&parameter.name) == name.as_ref());
        self.selected = (!model.graph.parameters.is_empty()).then_some(ParameterId(same.unwrap_or(0)));
        self.channels.replaced(self.model.as_ref(), &model);
        // What is still to be told of the repair that made it.
        let (last, is_due) = (self.costs.repair.last.take(), self.costs.repair.is_due);
        self.show_model(id, model);
        (self.costs.repair.last, self.costs.repair.is_due) = (last, is_due);
        self.selected
    }

    /// Nothing of what was known of the model before is known of this one.
    fn show_model(&mut self, id: ModelId, model: Arc<Model>) {
        self.model = Some(model);
        self.opened = id;
        self.recipe = None;
        self.view = None;
        self.detail = None;
        self.costs.opened();
        self.marked.clear();
        self.percent_text = None;
        self.count_text = None;
    }
}

/// `Repairing blocks.0.0 · 3 s left`.
fn repairing(part: &RepairPart) -> String {
    let what = text::name(&part.what);
    match part.left {
        Some(left) => format!("{what} · {} s left", left.as_secs_f64().ceil() as u64),
        None => what.into_owned(),
    }
}

fn saved(report: &Report) -> Notice {
    let files: Vec<String> = report.files.iter().map(|f| text::path(f)).collect();
    let text = format!("{} · {} · {} sparsity as read back", files.join(", "), text::bytes(report.bytes), text::percent(report.sparsity()));
    Notice { tone: Tone::Success, title: "Saved".into(), text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measurer::{Finding, Shown};

    fn told(model: u64, event: Event) -> Told {
        Told { model: ModelId(model), event }
    }

    #[test]
    fn a_failed_job_leaves_the_model_and_says_why() {
        let mut state = AppState::default();
        state.take(told(0, Event::Failed { what: "Open", message: "no such file".into() }));
        assert_eq!(state.notices.len(), 1);
        assert!(state.notices[0].tone == Tone::Failure && state.notices[0].text.contains("no such file"));
        for _ in 0..10 {
            state.take(told(0, Event::Failed { what: "Open", message: "again".into() }));
        }
        assert_eq!(state.notices.len(), MAX_NOTICES);
    }

    /// Every move of the slider looks again.
    #[test]
    fn a_parameter_that_cannot_be_read_is_told_once() {
        let mut state = AppState::default();
        for _ in 0..3 {
            state.take(told(0, Event::Looked(ParameterId(0), Err("gone".into()))));
        }
        assert_eq!(state.notices.len(), 1);
        assert_eq!(state.detail.unwrap().1.unwrap_err(), "gone");
    }

    /// Between its opening and its first figures, a model must not be drawn with ticks of another one's length.
    #[test]
    fn a_model_that_opens_takes_the_settings_of_the_one_before_away() {
        let model = Arc::new(Model::open(std::path::Path::new("assets/mobilenetv4_digits.onnx")).unwrap());
        let mut state = AppState { recipe: Some(Recipe::new(&model.graph)), ..AppState::default() };
        state.take(told(2, Event::Opened(model)));
        assert!(state.recipe.is_none() && state.view.is_none() && state.detail.is_none());
        // What is still said of the model before is not believed of this one.
        let late = Event::Measured(Finding::Scan(Arc::default()));
        state.take(told(1, late.clone()));
        assert!(state.costs.scan.is_none());
        state.take(told(2, late));
        assert!(state.costs.scan.is_some());
    }

    /// A smaller network is shown the images before it is told to be on screen, or after it.
    #[test]
    fn images_that_are_shown_leave_a_repair_due() {
        let mut state = AppState::default();
        state.costs.repair.is_due = true;
        let shown = Shown { images: 3, provenance: "a test".into(), ..Shown::default() };
        state.take(told(0, Event::Measured(Finding::Shown(shown))));
        assert!(state.costs.repair.is_due && state.costs.shown.is_some_and(|shown| shown.images == 3));
    }
}
