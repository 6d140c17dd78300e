//! What the window does when it is told to: commands, actions, answers to questions and to dialogs.

use std::path::{Path, PathBuf};

use eframe::egui;

use super::commands::{Action, Answer, Command};
use super::dialogs::{FileQuestion, Purpose};
use super::state::{AfterUnsaved, Notice, Question, Tab, Tone};
use super::{App, pair};
use crate::atomic::Overwrite;
use crate::export;
use crate::measurer::Request;
use crate::prune::{Recipe, Step};
use crate::worker::Job;

impl App {
    pub(super) fn run(&mut self, ctx: &egui::Context, command: Command) {
        let state = &mut self.state;
        match command {
            Command::Do(action) => self.act(ctx, action),
            Command::OpenPath(path) => self.open_path(path),
            Command::Set(recipe, step) => {
                state.take_recipe(&recipe);
                state.notices.retain(Notice::outlasts_pruning);
                self.worker.send(Job::Set(recipe, step));
            }
            Command::Score(choice) => self.score(choice),
            Command::Compare(method) => match &state.recipe {
                Some(recipe) if recipe.method == method => self.act(ctx, Action::SwapMethods),
                _ => {
                    state.kept.beside = Some(method);
                    self.worker.send(Job::Compare(method));
                }
            },
            Command::TickCurve(method, is_on) => {
                if let Some(view) = &state.view {
                    let pair = pair::methods(&view.figures);
                    state.costs.tick_curve(method, is_on, pair);
                }
            }
            Command::EndDrag => self.worker.send(Job::EndDrag),
            Command::Select(id) => {
                state.selected = Some(id);
                if let Some(model) = &state.model {
                    state.channels.selected = state.channels.group_of(&model.graph, id).or(state.channels.selected);
                }
                state.marked.clear();
                state.reveals_selection = true;
                self.worker.send(Job::Look(Some(id)));
            }
            Command::Plan(plan) => {
                state.channels.plan = (*plan).clone();
                state.plans += 1;
                state.notices.retain(Notice::outlasts_pruning);
                self.worker.send(Job::Plan(plan, state.plans));
            }
            Command::SelectGroup(group) => {
                state.channels.selected = Some(group);
                let maker = state.model.as_ref().and_then(|model| state.channels.maker_of(&model.graph, group));
                if let Some(id) = maker {
                    state.selected = Some(id);
                    state.marked.clear();
                    state.reveals_selection = true;
                    self.worker.send(Job::Look(Some(id)));
                }
            }
            Command::SortChannels(by_score) => state.channels.is_by_score = by_score,
            Command::Mark(modules) => state.marked = modules,
            Command::Show(tab) => state.kept.tab = tab,
            Command::Group(grouping) => state.kept.grouping = grouping,
            Command::Search(text) => state.search = text,
            Command::Fold(key) => {
                if !state.folds.remove(&key) {
                    state.folds.insert(key);
                }
            }
            Command::SortBy(column) => {
                state.sort = match state.sort {
                    Some((c, false)) if c == column => Some((column, true)),
                    Some((c, true)) if c == column => None,
                    _ => Some((column, false)),
                };
            }
            Command::Bearable(points) => state.costs.bearable = points,
            Command::EditPreprocessing(on) => state.costs.edits_preprocessing = on,
            Command::Output(name) => self.worker.measure(Request::Output(name)),
            Command::OrderClasses(order) => self.worker.measure(Request::ClassOrder(order)),
            Command::Preprocess(preprocess) => {
                // The fields show it at once.
                if let (Some(shown), Some(preprocess)) = (&mut state.costs.shown, &preprocess) {
                    shown.preprocess = Some((**preprocess).clone());
                }
                self.worker.measure(Request::Preprocess(preprocess));
            }
            Command::ChooseRepair(choice) => state.costs.repair.choice = choice,
            Command::WithRepair(on) => state.costs.repair.in_curves = on,
            Command::RepairBeforeRemoval(on) => state.costs.repair.before_removal = on,
            Command::ListLayers(on) => state.costs.repair.lists_layers = on,
            Command::Batch(images) => state.costs.batch = images,
            Command::ViewScan(view) => state.costs.scan_view = view,
            Command::ListAll(on) => state.costs.lists_all = on,
            Command::ShowOriginal(on) => state.shows_original = on,
            Command::ShowZeros(on) => state.shows_zeros = on,
            Command::PercentText(text) => state.percent_text = text,
            Command::CountText(text) => state.count_text = text,
            Command::Dismiss(i) => drop(state.notices.remove(i)),
            Command::Complain(text) => state.tell(Notice { tone: Tone::Failure, title: Notice::NOT_AN_AMOUNT.into(), text }),
            Command::Answer(answer) => self.answer(ctx, answer),
            Command::Pick(act) => self.choosing.act(act, &mut self.state),
        }
    }

    /// Puts a table into the clipboard.
    fn copy(&mut self, ctx: &egui::Context, table: String, what: &str) {
        ctx.copy_text(table);
        self.state.tell(Notice { tone: Tone::Success, title: "Copied".into(), text: format!("{what} is in the clipboard, as CSV") });
    }

    pub(super) fn act(&mut self, ctx: &egui::Context, action: Action) {
        let has_model = self.state.model.is_some();
        if let Some(format) = action.format().filter(|_| has_model) {
            return self.ask(Purpose::Save(format));
        }
        match action {
            Action::Open => self.ask(Purpose::Open),
            Action::OpenDemo => self.open_demo(),
            Action::SaveTable if has_model => self.ask(Purpose::Table),
            Action::OpenRecipe if has_model => self.ask(Purpose::Recipe),
            Action::SaveRecipe if has_model => self.ask(Purpose::SaveRecipe),
            Action::SaveChart if has_model => self.ask(Purpose::Chart),
            Action::CopyTable => {
                if let Some((model, figures)) = self.state.shown() {
                    let table = export::csv(&model.graph, figures);
                    self.copy(ctx, table, "the table");
                }
            }
            Action::ChooseImages if has_model => {
                self.waiting = None;
                self.ask(Purpose::Images);
            }
            Action::ChooseLabels if has_model => self.ask(Purpose::Labels),
            Action::UseNoise => self.worker.measure(Request::Noise),
            Action::MeasureCurve => {
                if let Some((_, figures)) = self.state.shown() {
                    let methods = self.state.costs.curve_methods(pair::methods(figures));
                    self.worker.measure(Request::Curve(methods, self.state.costs.repair_within()));
                }
            }
            Action::ScanSensitivity => self.worker.measure(Request::Scan),
            Action::FindAmount => {
                let costs = &self.state.costs;
                self.worker.measure(Request::Search(costs.bearable / 100.0, costs.repair_within()));
            }
            Action::MeasureChannelCurve => {
                if let Some(chosen) = self.state.channels.settled() {
                    self.worker.measure(Request::ChannelCurve(chosen.clone(), self.state.costs.repair_within()));
                }
            }
            Action::FindChannels => {
                let costs = &self.state.costs;
                if let Some(chosen) = self.state.channels.settled() {
                    self.worker.measure(Request::ChannelSearch(chosen.clone(), costs.bearable / 100.0, costs.repair_within()));
                }
            }
            Action::CopyScan => {
                if let Some((model, _)) = self.state.shown() {
                    let table = self.state.costs.scan_csv(model);
                    self.copy(ctx, table, "the scan");
                }
            }
            Action::MeasureSpeed => self.worker.measure(Request::Time(self.state.costs.batch)),
            Action::MeasurePace => self.worker.measure(Request::Pace(1)),
            Action::SaveScan if has_model => self.ask(Purpose::Scan),
            Action::Undo => self.worker.send(Job::Undo),
            Action::Redo => self.worker.send(Job::Redo),
            Action::Fix => self.worker.send(Job::Fix),
            Action::Repair => self.repair(),
            Action::ChooseCalibration if has_model => self.ask(Purpose::Calibration),
            Action::RemoveChannels => {
                if let Some(chosen) = self.state.removable_channels().filter(|_| self.state.kept.tab == Tab::Channels) {
                    self.remove_channels(chosen.clone());
                }
            }
            Action::Apply => self.worker.send(Job::Apply),
            Action::Reset => self.worker.send(Job::Reset),
            Action::Cancel => match self.state.question.take() {
                Some(_) => {}
                None => {
                    if self.rest.take().is_some() {
                        let text = "the step before it was cancelled; what was done stays, and can be undone".into();
                        self.state.tell(Notice { tone: Tone::Remark, title: "The rest of the recipe was left out".into(), text });
                    }
                    self.worker.cancel();
                }
            },
            Action::ToggleTheme => {
                let theme = if ctx.theme() == egui::Theme::Dark { egui::Theme::Light } else { egui::Theme::Dark };
                ctx.set_theme(theme);
            }
            Action::SwapMethods => {
                if let (Some(recipe), Some(beside)) = (&self.state.recipe, self.state.kept.beside) {
                    let recipe = Recipe { method: beside, ..recipe.clone() };
                    self.state.take_recipe(&recipe);
                    self.worker.send(Job::Set(Box::new(recipe), Step::Method));
                }
            }
            Action::ToggleDialogs => self.state.kept.own_dialogs = !self.state.kept.own_dialogs,
            Action::Help => self.state.question = Some(Question::Help),
            Action::NextTab => {
                let at = Tab::ALL.iter().position(|t| *t == self.state.kept.tab).unwrap_or(0);
                self.state.kept.tab = Tab::ALL[(at + 1) % Tab::ALL.len()];
            }
            Action::Quit => ctx.send_viewport_cmd(egui::ViewportCommand::Close),
            _ => {}
        }
    }

    pub(super) fn answer(&mut self, ctx: &egui::Context, answer: Answer) {
        match (self.state.question.take(), answer) {
            (Some(Question::Replace(_, job)), Answer::Yes) => self.worker.send(job.overwriting()),
            (Some(Question::ReplacePicture(path, png)), Answer::Yes) => self.screenshots.replace(ctx, path, png),
            (Some(Question::Unsaved(AfterUnsaved::Close)), Answer::Yes) => {
                self.state.may_close = true;
                ctx.send_viewport_cmd(egui::ViewportCommand::Close);
            }
            (Some(Question::Unsaved(AfterUnsaved::Open(path))), Answer::Yes) => self.worker.send(Job::Open(path)),
            (Some(Question::Repair(removing)), answer) => self.answer_repair(answer, removing),
            (Some(Question::Unsaved(_)), Answer::Save) => self.ask(Purpose::Save(crate::export::Format::Onnx)),
            _ => {}
        }
    }

    /// Asks for a path in the model's folder, or for the demo in the person's own.
    pub(super) fn ask(&mut self, purpose: Purpose) {
        let path = self.state.model.as_ref().map(|m| m.file.path.clone());
        let stem = path.as_deref().and_then(Path::file_stem).unwrap_or_default().to_string_lossy().into_owned();
        let suffix = match purpose {
            Purpose::Save(_) if self.state.view.as_ref().is_some_and(|view| view.removal.is_some()) => "_smaller",
            Purpose::Save(_) => "_pruned",
            Purpose::Scan => "_sensitivity",
            _ => "",
        };
        let is_demo = self.demo.as_ref().is_some_and(|d| path.as_deref().is_some_and(|p| p.starts_with(d.path())));
        let folder = path.filter(|_| !is_demo).and_then(|p| p.parent().map(Path::to_owned)).filter(|p| !p.as_os_str().is_empty());
        let request = FileQuestion { purpose, folder, name: format!("{stem}{suffix}.{}", purpose.extension()) };
        self.choosing.ask(request, &self.state);
    }

    pub(super) fn chosen(&mut self, ctx: &egui::Context, purpose: Purpose, path: PathBuf) {
        // Some dialogs give back what was typed, without the extension. A dialog that confirmed replacing that other name did
        // not ask for this one.
        let path = match (purpose, path.extension()) {
            (Purpose::Open | Purpose::Images | Purpose::Calibration | Purpose::Labels | Purpose::Recipe | Purpose::Scores, _)
            | (_, Some(_)) => path,
            _ => path.with_extension(purpose.extension()),
        };
        match purpose {
            Purpose::Open => self.open_path(path),
            Purpose::Images => {
                self.worker.measure(Request::Images(path));
                self.take_images();
            }
            Purpose::Recipe => self.worker.send(Job::OpenRecipe(path, None)),
            Purpose::SaveRecipe => self.worker.send(Job::SaveRecipe(path, Overwrite::Refuse)),
            Purpose::Scores => self.worker.send(Job::ReadScores(path)),
            Purpose::Calibration => {
                let repair = &mut self.state.costs.repair.choice;
                (repair.folder, repair.calibration_images) = (Some(path), None);
            }
            Purpose::Labels => self.worker.measure(Request::Labels(path)),
            Purpose::Save(format) => self.worker.send(Job::Save(path, format, Overwrite::Refuse)),
            Purpose::Table => self.worker.send(Job::SaveTable(path, Overwrite::Refuse)),
            Purpose::Scan => {
                if let Some((model, _)) = self.state.shown() {
                    let text = self.state.costs.scan_csv(model);
                    self.worker.send(Job::SaveText(path, text.into(), Overwrite::Refuse));
                }
            }
            Purpose::Chart => {
                if let Some(area) = self.chart_area {
                    self.screenshots.take(ctx, area, path);
                }
            }
        }
    }
}
