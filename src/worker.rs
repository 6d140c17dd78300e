//! The one thread that owns a [`Session`]: jobs in, events out, progress, cancel.
//!
//! The window never waits for it. While a slider is dragged only its latest position is shown; a job that panics is told as an internal
//! error, and the thread takes the next one. What is measured goes to the [`Measurer`] directly and waits for nothing here.

mod messages;
mod recipe;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded};

use crate::atomic::{self, Overwrite, WriteError};
use crate::channels::ChannelScore;
use crate::device::{ComputeDevice, DeviceChoice};
use crate::engine::{ChannelPlan, Chosen, Engine, EngineError, FoundChannels, ModelId};
use crate::export::{self, ExportError};
use crate::graph::ParameterId;
use crate::measurer::{Measurer, Position, Request};
use crate::onnx::SaveError;
use crate::prune::{Method, Recipe, Score, State, Step, Weights};
use crate::recipes::{self, RecipeFile};
use crate::session::Session;
use crate::watch::{Token, Watch};
pub use messages::{Event, Job, Look, RestOfRecipe, Told, View};

/// Jobs that may wait; more than a person can ask for.
const MAX_WAITING: usize = 256;

/// A job, and the model on screen when it was asked for: what is meant for one model is not done to the next.
#[derive(Debug)]
struct Asked {
    model: ModelId,
    job: Job,
}

/// The window's end of the worker.
#[derive(Debug)]
pub struct Worker {
    jobs: Sender<Asked>,
    events: Receiver<Told>,
    waiting: VecDeque<Asked>,
    /// The model that the window saw opened last.
    seen: ModelId,
    running: Running,
    measurer: Arc<Measurer>,
}

/// The token of the job that is going on.
type Running = Arc<Mutex<Option<Token>>>;

impl Worker {
    /// Starts the thread. `wake` is called after every event, from the thread that the event comes from.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(choice: DeviceChoice, wake: impl Fn() + Send + Sync + 'static) -> std::io::Result<Self> {
        let (jobs, job_receiver) = bounded(MAX_WAITING);
        // Events are bounded by jobs: a few for each, and progress is dropped when nobody reads.
        let (event_sender, events) = bounded(MAX_WAITING * 8);
        let outlet = Arc::new(EventSender { events: event_sender, wake: Box::new(wake) });
        let outside = outlet.clone();
        let measurer = Arc::new(Measurer::start(move |model, finding| outside.send(model, Event::Measured(finding)))?);
        let running = Running::default();
        let inside = Inside {
            events: outlet,
            running: running.clone(),
            measurer: measurer.clone(),
            session: None,
            model: ModelId::default(),
            shown: None,
            looked: None,
            first: ModelId::default(),
            scores: None,
            planned: 0,
            device: None,
            beside: Method::LayerWise,
        };
        std::thread::Builder::new().name("gpu-worker".into()).spawn(move || inside.run(&job_receiver, choice))?;
        Ok(Self { jobs, events, waiting: VecDeque::new(), seen: ModelId::default(), running, measurer })
    }

    /// Asks for a job. Never blocks.
    pub fn send(&mut self, job: Job) {
        self.waiting.push_back(Asked { model: self.seen, job });
        self.flush();
    }

    /// Asks for something to be measured on the model on screen. Never blocks, and waits for no job.
    pub fn measure(&self, request: Request) {
        self.measurer.ask(self.seen, request);
    }

    /// Passes on jobs that found the queue full.
    pub fn flush(&mut self) {
        while let Some(asked) = self.waiting.pop_front() {
            if let Err(TrySendError::Full(asked)) = self.jobs.try_send(asked) {
                self.waiting.push_front(asked);
                return;
            }
        }
    }

    /// The next event, if there is one.
    pub fn poll(&mut self) -> Option<Told> {
        let told = self.events.try_recv().ok()?;
        if matches!(told.event, Event::Opened(_) | Event::Replaced(_)) {
            self.seen = told.model;
        }
        Some(told)
    }

    /// Stops the long job that is going on, and what is measured beside it; a short one is not worth it.
    pub fn cancel(&self) {
        if let Some(token) = &*self.running.lock().unwrap_or_else(PoisonError::into_inner) {
            token.cancel();
        }
        self.measurer.stop();
    }
}

/// Where events go.
struct EventSender {
    events: Sender<Told>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl EventSender {
    fn send(&self, model: ModelId, event: Event) {
        let told = Told { model, event };
        if matches!(told.event, Event::Progressed { .. }) {
            let _ = self.events.try_send(told);
        } else {
            // Blocks only while the window is not drawing; the window never waits for this thread.
            let _ = self.events.send(told);
        }
        (self.wake)();
    }
}

/// Tells how far a job is, and stops with its token.
struct JobWatch<'a> {
    events: &'a EventSender,
    model: ModelId,
    token: Token,
}

impl Watch for JobWatch<'_> {
    fn progress(&self, done: f32, what: &str) {
        self.events.send(self.model, Event::Progressed { done, what: what.to_owned() });
    }

    fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }
}

/// The file that stands in the way, where that is what went wrong.
fn occupied(error: &EngineError) -> Option<PathBuf> {
    match error {
        EngineError::Export(
            ExportError::Write(WriteError::Exists { path }) | ExportError::Onnx(SaveError::Write(WriteError::Exists { path })),
        ) => Some(path.clone()),
        _ => None,
    }
}

/// Scores of the channels of a network with these weights: the same for every position of the slider.
struct ChannelScores {
    found: Arc<FoundChannels>,
    score: ChannelScore,
    weights: Arc<[Weights]>,
    scores: Arc<[f64]>,
}

impl ChannelScores {
    fn is_of(&self, found: &Arc<FoundChannels>, score: ChannelScore, state: &State) -> bool {
        Arc::ptr_eq(&self.found, found) && self.score == score && self.weights == state.weights
    }
}

/// The thread's end, and what it has in hand.
struct Inside {
    events: Arc<EventSender>,
    running: Running,
    measurer: Arc<Measurer>,
    session: Option<Session>,
    /// The model in hand.
    model: ModelId,
    /// The state that the window was shown last.
    shown: Option<State>,
    looked: Option<ParameterId>,
    /// The number that the model had when it was opened; it has had others since where channels were removed.
    first: ModelId,
    /// Scores of channels, and what they are of.
    scores: Option<ChannelScores>,
    /// The number of the plan of channels that was set last.
    planned: u64,
    device: Option<Arc<ComputeDevice>>,
    /// The method beside the applied one.
    beside: Method,
}

impl Inside {
    fn run(mut self, jobs: &Receiver<Asked>, choice: DeviceChoice) {
        let mut queue = VecDeque::new();
        let mut pending_choice = Some(choice);
        loop {
            match jobs.try_recv() {
                Ok(asked) => {
                    queue.push_back(asked);
                    continue;
                }
                Err(TryRecvError::Disconnected) if queue.is_empty() => return,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
            }
            if let Some(asked) = queue.pop_front() {
                let next = queue.front().map(|next: &Asked| &next.job);
                let is_superseded =
                    matches!((&asked.job, next), (Job::Set(..), Some(Job::Set(..))) | (Job::Choose(..), Some(Job::Choose(..))));
                self.take(asked, is_superseded);
                continue;
            }
            // The first model is on screen before a driver is loaded, which can take longer than opening it.
            if let Some(choice) = pending_choice.take() {
                self.choose_device(choice);
                continue;
            }
            self.tell(Event::Idle);
            let Ok(asked) = jobs.recv() else { return };
            queue.push_back(asked);
        }
    }

    fn tell(&self, event: Event) {
        self.events.send(self.model, event);
    }

    /// Does a job under a token of its own, and tells how it ended.
    fn take(&mut self, Asked { model, job }: Asked, is_superseded: bool) {
        let what = job.name();
        let failed = |message: String| Event::Failed { what, message };
        if let Job::Plan(_, number) = &job {
            self.planned = *number;
        }
        // Steps are those of the file, whatever channels it has.
        let is_of_file = matches!(job, Job::Undo | Job::Redo) && model >= self.first;
        if model != self.model && !is_of_file && !matches!(job, Job::Open(_) | Job::Compare(_)) {
            // Controls of a model that is no longer there; what was asked for aloud is answered.
            if !matches!(job, Job::Set(..) | Job::EndDrag | Job::Look(_) | Job::Plan(..) | Job::Choose(..)) {
                self.events.send(model, failed("another model came on screen before it was done".into()));
            }
            return;
        }
        let token = Token::default();
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        let again = job.clone();
        let result = catch_unwind(AssertUnwindSafe(|| self.work(job, is_superseded, token)));
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = None;
        match result {
            Ok(Ok(())) => return,
            Ok(Err(EngineError::Cancelled)) => self.tell(failed("stopped as asked; nothing was changed".into())),
            Ok(Err(EngineError::Device(error))) => {
                self.tell(failed(format!("{error}. This window goes on with the CPU; try again")));
                self.choose_device(DeviceChoice::Cpu);
            }
            Ok(Err(error)) => match occupied(&error) {
                Some(path) => self.tell(Event::Occupied(path, Box::new(again))),
                None => self.tell(failed(error.to_string())),
            },
            Err(panic) => {
                let message = format!("internal error: {}; the model is as it was before", crate::panics::text(&*panic));
                self.tell(failed(message));
            }
        }
        // A job before it may have changed what was not shown, because this one was to be.
        if self.session.as_ref().is_some_and(|session| self.shown.as_ref() != Some(session.state())) {
            let shown = catch_unwind(AssertUnwindSafe(|| self.show()));
            if let Ok(Err(error)) = shown {
                self.tell(failed(error.to_string()));
            }
        }
    }

    fn choose_device(&mut self, choice: DeviceChoice) {
        match ComputeDevice::open(choice) {
            Ok(device) => {
                let device = Arc::new(device);
                if let Some(session) = &mut self.session {
                    session.use_device(&device);
                    self.measurer.open(self.model, session.engine().clone(), session.opened().clone());
                }
                self.device = Some(device.clone());
                self.tell(Event::DeviceChosen(device));
            }
            Err(e) => self.tell(Event::Failed { what: "Start the device", message: e.to_string() }),
        }
    }

    fn work(&mut self, job: Job, is_superseded: bool, token: Token) -> Result<(), EngineError> {
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

    fn show(&mut self) -> Result<(), EngineError> {
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

#[cfg(test)]
mod tests;
