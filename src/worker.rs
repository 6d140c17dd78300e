//! The one thread that owns a [`Session`]: jobs in, events out, progress, cancel.
//!
//! The window never waits for it. While a slider is dragged only its latest position is shown; a job that panics is told as an internal
//! error, and the thread takes the next one. What is measured goes to the [`Measurer`] directly and waits for nothing here.

mod jobs;
mod messages;
mod recipe;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded};

use crate::atomic::WriteError;
use crate::channels::ChannelScore;
use crate::device::{ComputeDevice, DeviceChoice};
use crate::engine::{EngineError, FoundChannels, ModelId};
use crate::export::ExportError;
use crate::graph::ParameterId;
use crate::measurer::{Measurer, Request};
use crate::onnx::SaveError;
use crate::prune::{Method, State, Weights};
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
        let inside = WorkerThread {
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
struct WorkerThread {
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

impl WorkerThread {
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
}

#[cfg(test)]
mod tests;
