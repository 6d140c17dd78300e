//! What becomes of every job.

use std::path::PathBuf;
use std::sync::Arc;

use super::{ChannelScores, Event, Job, JobWatch, View, WorkerThread};
use crate::atomic::{self, Overwrite};
use crate::engine::{ChannelPlan, Chosen, Engine, EngineError, FoundChannels};
use crate::export::{self, ExportError};
use crate::measurer::Position;
use crate::prune::{Method, Recipe, Score, State, Step};
use crate::recipes::{self, RecipeFile};
use crate::session::Session;
use crate::watch::{Token, Watch};

impl WorkerThread {
    pub(super) fn work(&mut self, job: Job, is_superseded: bool, token: Token) -> Result<(), EngineError> {
        let events = self.events.clone();
        let watch = JobWatch { events: &events, model: self.model, token };
        if let Job::Open(path) = job {
            return self.open(&path, &watch);
        }
        if let Job::Compare(method) = job {
            self.beside = method;
            return self.show();
        }
        if let Job::Choose(found, plan) = job {
            return if is_superseded { Ok(()) } else { self.choose(found, *plan) };
        }
        let Some(session) = self.session.as_mut() else { return Ok(()) };
        let model = session.model().clone();
        match job {
            Job::Open(_) | Job::Compare(_) | Job::Choose(..) => {}
            Job::Set(recipe, step) => {
                session.set(*recipe, step)?;
                if is_superseded {
                    return Ok(());
                }
            }
            Job::Plan(plan, _) => {
                session.set_plan(*plan);
                let steps = [session.history().undoable(), session.history().redoable()];
                self.tell(Event::Planned(steps));
                return Ok(());
            }
            Job::EndDrag => {
                session.end_drag();
                return Ok(());
            }
            Job::Apply => session.apply()?,
            Job::Fix => session.fix()?,
            Job::Repair(states) => {
                if let Some(refused) = repaired(session, *states)? {
                    self.tell(refused);
                    return Ok(());
                }
            }
            Job::Remove(chosen, repaired) => {
                if repaired.as_ref().is_some_and(|repaired| repaired.from != *session.state()) {
                    self.tell(changed_before("Remove channels"));
                    return Ok(());
                }
                session.remove_channels(&chosen, repaired.map(|repaired| repaired.judged), &watch)?;
            }
            Job::Reset => session.reset(),
            // Of what is not there nothing is taken back; the buttons say so.
            Job::Undo => drop(session.undo()),
            Job::Redo => drop(session.redo()),
            Job::Look(id) => {
                self.looked = id;
                self.look();
                return Ok(());
            }
            Job::Save(path, format, overwrite) => {
                watch.progress(0.0, "Saving");
                let report = session.save(&path, format, overwrite)?;
                self.tell(Event::Saved(report));
            }
            Job::SaveTable(path, overwrite) => {
                let figures = session.engine().figures(session.state(), &[session.state().recipe.method, self.beside]);
                let text = export::csv(&session.model().graph, &figures);
                return self.save_text(path, &text, overwrite);
            }
            Job::ReadScores(path) => match recipes::read_scores(&path, &session.model().graph) {
                Ok((given, missing)) => {
                    let recipe = Recipe { score: Score::Given(Arc::new(given)), ..session.state().recipe.clone() };
                    session.set(recipe, Step::Score)?;
                    self.tell_missing(missing);
                }
                Err(error) => self.tell(Event::Failed { what: "Read the scores", message: error.to_string() }),
            },
            Job::OpenRecipe(path, norms) => {
                watch.progress(0.0, "Applying the recipe");
                return self.open_recipe(path, norms);
            }
            Job::GoOn(rest) => {
                watch.progress(0.0, "Applying the recipe");
                return self.go_on_with_recipe(*rest);
            }
            Job::SaveRecipe(path, overwrite) => match RecipeFile::of(session.state(), &session.model().graph).text() {
                Ok(text) => return self.save_text(path, &text, overwrite),
                Err(error) => {
                    self.tell(Event::Failed { what: "Save the recipe", message: error.to_string() });
                    return Ok(());
                }
            },
            Job::SaveText(path, text, overwrite) => return self.save_text(path, &text, overwrite),
        }
        if self.session.as_ref().is_some_and(|session| !Arc::ptr_eq(session.model(), &model)) {
            self.replace();
        }
        self.show()
    }

    /// Tells what a plan takes from the network as it is.
    fn choose(&mut self, found: Arc<FoundChannels>, plan: ChannelPlan) -> Result<(), EngineError> {
        let Some(session) = &self.session else { return Ok(()) };
        let state = session.state();
        let known = self.scores.take().filter(|known| known.is_of(&found, plan.score, state));
        let known = match known {
            Some(known) => known,
            None => {
                let scores = session.engine().channel_scores(state, &found.channels, plan.score)?.into();
                ChannelScores { found: found.clone(), score: plan.score, weights: state.weights.clone(), scores }
            }
        };
        let chosen = Chosen::new(found, known.scores.clone(), plan);
        self.scores = Some(known);
        self.tell(Event::Chosen(Arc::new(chosen)));
        Ok(())
    }

    /// Another network of the same file goes on; the images that it is measured with do too.
    fn replace(&mut self) {
        let Some(session) = &self.session else { return };
        let (model, engine, opened) = (session.model().clone(), session.engine().clone(), session.opened().clone());
        let repairs = session.repairs().clone();
        self.model = self.model.next();
        (self.looked, self.shown, self.scores) = (None, None, None);
        self.tell(Event::Replaced(model));
        self.measurer.replace(self.model, [engine, opened], repairs);
    }

    fn save_text(&self, path: PathBuf, text: &str, overwrite: Overwrite) -> Result<(), EngineError> {
        atomic::write(&path, overwrite, |out| std::io::Write::write_all(out, text.as_bytes())).map_err(ExportError::from)?;
        self.tell(Event::TableSaved(path));
        Ok(())
    }

    /// The old model stays until the new one is whole: read and ranked.
    fn open(&mut self, path: &std::path::Path, watch: &dyn Watch) -> Result<(), EngineError> {
        watch.progress(0.0, "Opening");
        let engine = Engine::open(path, watch)?;
        let engine = match &self.device {
            Some(device) => engine.on((**device).clone()),
            None => engine,
        };
        let session = Session::new(engine);
        let (engine, model) = (session.engine().clone(), session.model().clone());
        self.session = Some(session);
        self.model = self.model.next();
        self.first = self.model;
        (self.looked, self.shown, self.scores) = (None, None, None);
        self.measurer.open(self.model, engine.clone(), engine);
        self.tell(Event::Opened(model));
        self.show()
    }

    pub(super) fn show(&mut self) -> Result<(), EngineError> {
        let Some(session) = self.session.as_ref() else { return Ok(()) };
        let state = session.state().clone();
        let applied = state.recipe.method;
        if applied == self.beside {
            // The two have changed places, by choice or by undoing one.
            let before = self.shown.as_ref().map(|shown| shown.recipe.method);
            self.beside = before.into_iter().chain(Method::PAIR).find(|method| *method != applied).unwrap_or(applied);
        }
        let figures = session.engine().figures_on_device(&state, &[applied, self.beside])?;
        self.measurer.move_to(self.model, Position { state: state.clone(), beside: self.beside });
        self.tell(Event::Changed(Box::new(View {
            figures,
            plan: session.plan().clone(),
            planned: self.planned,
            undoable: session.history().undoable(),
            redoable: session.history().redoable(),
            removal: session.removal(),
            repaired: session.repaired().cloned(),
            is_unsaved: session.is_unsaved(),
            is_fixed: state.has_fixed(),
            is_applied: state.has_kept(),
            state: state.clone(),
        })));
        self.shown = Some(state);
        self.look();
        Ok(())
    }

    fn look(&self) {
        if let (Some(session), Some(id)) = (&self.session, self.looked)
            && let Some(look) = session.engine().detail(session.state(), id).transpose()
        {
            self.tell(Event::Looked(id, look.map(Arc::new).map_err(|e| e.to_string())));
        }
    }
}

/// Goes on with the second state, which is the first one repaired; what to say where the model is no longer in the first.
fn repaired(session: &mut Session, [from, to]: [State; 2]) -> Result<Option<Event>, EngineError> {
    if *session.state() == from {
        session.go_to(to, Step::Repair)?;
        return Ok(None);
    }
    Ok(Some(changed_before("Repair")))
}

/// Why nothing comes of what was made of another state.
fn changed_before(what: &'static str) -> Event {
    Event::Failed { what, message: "what is pruned was changed before it was done; nothing else was changed".to_owned() }
}
