//! The one thread that owns a [`Session`]: jobs in, events out, progress, cancel.
//!
//! The window never waits for it. While a slider is dragged only its latest position is worked on; a job that panics is told
//! as an internal error, and the thread takes the next one.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};

use crate::atomic::{self, Overwrite, WriteError};
use crate::device::{ComputeDevice, DeviceChoice};
use crate::export::{ExportError, Format, Report};
use crate::graph::ParameterId;
use crate::images::Preprocess;
use crate::measure::{Detail, Figures};
use crate::measurer::{Measure, Measured, Measurer};
use crate::onnx::SaveError;
use crate::prune::{Settings, Step};
use crate::session::{Model, Session, SessionError, Watch};

/// Jobs that may wait; more than a person can ask for.
const MAX_WAITING: usize = 256;

/// Something to do.
#[derive(Debug, Clone)]
pub enum Job {
    /// Open a file in place of the present one.
    Open(PathBuf),
    /// Change what is set. Many in a row are worked on once.
    Set(Box<Settings>, Step),
    /// A drag has ended.
    EndDrag,
    /// Keep the mask, prune further.
    Apply,
    /// Make the mask permanent.
    Fix,
    /// Forget masks and amount.
    Reset,
    /// One step back.
    Undo,
    /// One step forward.
    Redo,
    /// Look closely at a parameter from now on, or at none.
    Look(Option<ParameterId>),
    /// Save the model as pruned now.
    Save(PathBuf, Format, Overwrite),
    /// Save the table of figures.
    SaveTable(PathBuf, Overwrite),
    /// Save a text that the window made.
    SaveText(PathBuf, Arc<str>, Overwrite),
    /// Measure something; it is done beside what is done here.
    Measure(Measurement),
}

/// What a person asks the [`Measurer`] for.
#[derive(Debug, Clone)]
pub enum Measurement {
    /// See [`Measure::Images`].
    Images(PathBuf),
    /// See [`Measure::Labels`].
    Labels(PathBuf),
    /// See [`Measure::Preprocess`].
    Preprocess(Option<Box<Preprocess>>),
    /// See [`Measure::Noise`].
    Noise,
    /// See [`Measure::Curve`].
    Curve,
    /// See [`Measure::Scan`].
    Scan,
    /// See [`Measure::Weigh`].
    Weigh(bool),
    /// See [`Measure::Time`].
    Time(usize),
    /// See [`Measure::Search`].
    Search(f64),
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// The device on which networks run is known.
    DeviceChosen(Arc<ComputeDevice>),
    /// Long work is going on; `done` is 0..=1.
    Progressed {
        /// How far.
        done: f32,
        /// What part.
        what: String,
    },
    /// A model is open; figures follow.
    Opened(Arc<Model>),
    /// Settings changed, by whatever job; these belong together.
    Changed(Box<View>),
    /// The parameter that is looked at.
    Looked(ParameterId, Look),
    /// Files were written.
    Saved(Report),
    /// The table was written.
    TableSaved(PathBuf),
    /// There is a file of that name: ask, and send the job again.
    Occupied(PathBuf, Box<Job>),
    /// A job failed; what was there stays.
    Failed {
        /// What was tried.
        what: &'static str,
        /// What went wrong and what to do.
        message: String,
    },
    /// Something was measured.
    Measured(Measured),
    /// No job is left.
    Idle,
}

/// A parameter looked at closely, or why it can no longer be read.
pub type Look = Result<Arc<Detail>, String>;

/// Everything on screen that depends on settings.
#[derive(Debug, Clone)]
pub struct View {
    /// Both methods at the present settings.
    pub figures: Figures,
    /// What undo would take back.
    pub undoable: Option<Step>,
    /// What redo would do again.
    pub redoable: Option<Step>,
    /// Something was fixed or kept and not saved.
    pub is_unsaved: bool,
    /// Something is fixed.
    pub is_fixed: bool,
    /// Masks were kept from earlier amounts.
    pub is_applied: bool,
}

/// A job, and how many models the window had seen opened when it asked: what is meant for one model is not done to the next.
#[derive(Debug)]
struct Errand {
    seen: u64,
    job: Job,
}

/// The window's end of the worker.
#[derive(Debug)]
pub struct Worker {
    jobs: SyncSender<Errand>,
    events: Receiver<Event>,
    waiting: VecDeque<Errand>,
    /// Models that the window has seen opened.
    seen: u64,
    cancel: Arc<AtomicBool>,
    measurer: Arc<Measurer>,
}

impl Worker {
    /// Starts the thread. `wake` is called after every event, from that thread.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(choice: DeviceChoice, wake: impl Fn() + Send + Sync + 'static) -> std::io::Result<Self> {
        let (jobs, job_receiver) = sync_channel(MAX_WAITING);
        // Events are bounded by jobs: a few for each, and progress is dropped when nobody reads.
        let (event_sender, events) = sync_channel(MAX_WAITING * 8);
        let cancel = Arc::new(AtomicBool::new(false));
        let outlet = Arc::new(Outlet { events: event_sender, wake: Box::new(wake), cancel: cancel.clone() });
        let outside = outlet.clone();
        let measurer = Arc::new(Measurer::start(move |measured| outside.send(Event::Measured(measured)))?);
        let inside = measurer.clone();
        std::thread::Builder::new().name("gpu-worker".into()).spawn(move || work(&job_receiver, &outlet, choice, inside))?;
        Ok(Self { jobs, events, waiting: VecDeque::new(), seen: 0, cancel, measurer })
    }

    /// Asks for a job. Never blocks.
    pub fn send(&mut self, job: Job) {
        self.waiting.push_back(Errand { seen: self.seen, job });
        self.flush();
    }

    /// Passes on jobs that found the queue full.
    pub fn flush(&mut self) {
        while let Some(errand) = self.waiting.pop_front() {
            if let Err(TrySendError::Full(errand)) = self.jobs.try_send(errand) {
                self.waiting.push_front(errand);
                return;
            }
        }
    }

    /// The next event, if there is one.
    pub fn poll(&mut self) -> Option<Event> {
        let event = self.events.try_recv().ok()?;
        self.seen += u64::from(matches!(event, Event::Opened(_)));
        Some(event)
    }

    /// Stops the long job that is going on; a short one is not worth it.
    pub fn cancel(&self) {
        self.cancel.store(true, Ordering::Relaxed);
        self.measurer.send(Measure::Stop);
    }
}

/// The thread's end.
struct Outlet {
    events: SyncSender<Event>,
    wake: Box<dyn Fn() + Send + Sync>,
    cancel: Arc<AtomicBool>,
}

impl Outlet {
    fn send(&self, event: Event) {
        let progress = matches!(event, Event::Progressed { .. });
        if progress {
            let _ = self.events.try_send(event);
        } else {
            // Blocks only while the window is not drawing; the window never waits for this thread.
            let _ = self.events.send(event);
        }
        (self.wake)();
    }
}

impl Watch for Outlet {
    fn progress(&self, done: f32, what: &str) {
        self.send(Event::Progressed { done, what: what.to_owned() });
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}

fn work(jobs: &Receiver<Errand>, outlet: &Outlet, choice: DeviceChoice, measurer: Arc<Measurer>) {
    let mut desk = Desk { session: None, opened: 0, looked: None, device: None, measurer };
    let mut queue = VecDeque::new();
    let mut pending_choice = Some(choice);
    loop {
        match jobs.try_recv() {
            Ok(errand) => {
                queue.push_back(errand);
                continue;
            }
            Err(TryRecvError::Disconnected) if queue.is_empty() => return,
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
        }
        let Some(Errand { seen, job }) = queue.pop_front() else {
            // The first model is on screen before a driver is loaded, which can take longer than opening it.
            if let Some(choice) = pending_choice.take() {
                desk.choose_device(choice, outlet);
                continue;
            }
            outlet.send(Event::Idle);
            let Ok(errand) = jobs.recv() else { return };
            queue.push_back(errand);
            continue;
        };
        if seen != desk.opened && !matches!(job, Job::Open(_)) {
            // Controls of a model that is no longer there; what was asked for aloud is answered.
            if !matches!(job, Job::Set(..) | Job::EndDrag | Job::Look(_)) {
                outlet.send(Event::Failed { what: job.name(), message: "another model was opened before it was done".into() });
            }
            continue;
        }
        outlet.cancel.store(false, Ordering::Relaxed);
        let superseded = matches!((&job, queue.front()), (Job::Set(..), Some(Errand { job: Job::Set(..), .. })));
        let what = job.name();
        let again = job.clone();
        match catch_unwind(AssertUnwindSafe(|| desk.run(job, superseded, outlet))) {
            Ok(Ok(())) => {}
            Ok(Err(SessionError::Cancelled)) => {
                outlet.send(Event::Failed { what, message: "stopped as asked; nothing was changed".into() });
            }
            Ok(Err(SessionError::Device(error))) => {
                outlet.send(Event::Failed { what, message: format!("{error}. This window goes on with the CPU; try again") });
                desk.choose_device(DeviceChoice::Cpu, outlet);
            }
            Ok(Err(error)) => match occupied(&error) {
                Some(path) => outlet.send(Event::Occupied(path, Box::new(again))),
                None => outlet.send(Event::Failed { what, message: error.to_string() }),
            },
            Err(panic) => {
                let message = format!("internal error: {}; the model is as it was before", crate::panics::text(&*panic));
                outlet.send(Event::Failed { what, message });
            }
        }
    }
}

/// The file that stands in the way, where that is what went wrong.
fn occupied(error: &SessionError) -> Option<PathBuf> {
    match error {
        SessionError::Export(
            ExportError::Write(WriteError::Exists { path }) | ExportError::Onnx(SaveError::Write(WriteError::Exists { path })),
        ) => Some(path.clone()),
        _ => None,
    }
}

impl Job {
    /// What is being tried, for an error's title.
    fn name(&self) -> &'static str {
        match self {
            Self::Open(_) => "Open",
            Self::Set(..) | Self::EndDrag | Self::Apply => "Prune",
            Self::Fix => "Fix weights",
            Self::Reset => "Reset",
            Self::Undo => "Undo",
            Self::Redo => "Redo",
            Self::Look(_) => "Look at a parameter",
            Self::Save(..) => "Save",
            Self::SaveTable(..) | Self::SaveText(..) => "Save the table",
            Self::Measure(_) => "Measure",
        }
    }

    /// The same job, with leave to replace a file.
    #[must_use]
    pub fn overwriting(self) -> Self {
        match self {
            Self::Save(path, format, _) => Self::Save(path, format, Overwrite::Allow),
            Self::SaveTable(path, _) => Self::SaveTable(path, Overwrite::Allow),
            Self::SaveText(path, text, _) => Self::SaveText(path, text, Overwrite::Allow),
            other => other,
        }
    }
}

/// What the thread has in hand.
struct Desk {
    session: Option<Session>,
    /// Models opened so far.
    opened: u64,
    looked: Option<ParameterId>,
    device: Option<Arc<ComputeDevice>>,
    measurer: Arc<Measurer>,
}

impl Desk {
    fn choose_device(&mut self, choice: DeviceChoice, outlet: &Outlet) {
        match ComputeDevice::open(choice) {
            Ok(device) => {
                let device = Arc::new(device);
                if let Some(session) = &mut self.session {
                    session.use_device((*device).clone());
                    self.measurer.send(Measure::Model(Box::new(session.fork())));
                    self.measurer.send(Measure::Position(session.state().clone()));
                }
                self.device = Some(device.clone());
                outlet.send(Event::DeviceChosen(device));
            }
            Err(e) => outlet.send(Event::Failed { what: "Start the device", message: e.to_string() }),
        }
    }

    fn run(&mut self, job: Job, superseded: bool, outlet: &Outlet) -> Result<(), SessionError> {
        if let Job::Open(path) = job {
            return self.open(&path, outlet);
        }
        let Some(session) = self.session.as_mut() else { return Ok(()) };
        match job {
            Job::Open(_) => {}
            Job::Set(settings, step) => {
                session.set(*settings, step)?;
                if superseded {
                    return Ok(());
                }
            }
            Job::EndDrag => {
                session.end_drag();
                return Ok(());
            }
            Job::Apply => session.apply()?,
            Job::Fix => session.fix()?,
            Job::Reset => session.reset(),
            Job::Undo => drop(session.undo()?),
            Job::Redo => drop(session.redo()?),
            Job::Look(id) => {
                self.looked = id;
                self.look(outlet);
                return Ok(());
            }
            Job::Save(path, format, overwrite) => {
                outlet.progress(0.0, "Saving");
                let report = session.save(&path, format, overwrite)?;
                outlet.send(Event::Saved(report));
            }
            Job::SaveTable(path, overwrite) => {
                let path = session.save_table(&path, overwrite)?;
                outlet.send(Event::TableSaved(path));
                return Ok(());
            }
            Job::SaveText(path, text, overwrite) => {
                atomic::write(&path, overwrite, |out| std::io::Write::write_all(out, text.as_bytes())).map_err(ExportError::from)?;
                outlet.send(Event::TableSaved(path));
                return Ok(());
            }
            Job::Measure(errand) => {
                self.measurer.send(match errand {
                    Measurement::Images(path) => Measure::Images(path),
                    Measurement::Labels(path) => Measure::Labels(path),
                    Measurement::Preprocess(preprocess) => Measure::Preprocess(preprocess),
                    Measurement::Noise => Measure::Noise,
                    Measurement::Curve => Measure::Curve,
                    Measurement::Scan => Measure::Scan,
                    Measurement::Weigh(weighs) => Measure::Weigh(weighs),
                    Measurement::Time(batch) => Measure::Time(batch),
                    Measurement::Search(drop) => Measure::Search(drop),
                });
                return Ok(());
            }
        }
        self.show(outlet);
        Ok(())
    }

    /// The tree can be shown as soon as the file is read; sorting follows. The old model stays until the new one is whole.
    fn open(&mut self, path: &std::path::Path, outlet: &Outlet) -> Result<(), SessionError> {
        outlet.progress(0.0, "Opening");
        let model = Arc::new(Model::open(path)?);
        let orders = model.prepare(outlet)?;
        let mut session = Session::new(model.clone(), orders);
        if let Some(device) = &self.device {
            session.use_device((**device).clone());
        }
        let fork = Box::new(session.fork());
        self.session = Some(session);
        self.opened += 1;
        self.looked = None;
        outlet.send(Event::Opened(model));
        // After that event: the window takes what was measured before it for what belongs to the model before.
        self.measurer.send(Measure::Model(fork));
        self.show(outlet);
        Ok(())
    }

    fn show(&mut self, outlet: &Outlet) {
        let Some(session) = &self.session else { return };
        let state = session.state();
        self.measurer.send(Measure::Position(state.clone()));
        outlet.send(Event::Changed(Box::new(View {
            figures: session.figures(),
            undoable: session.history().undoable(),
            redoable: session.history().redoable(),
            is_unsaved: session.is_unsaved(),
            is_fixed: state.fixed.iter().any(|&n| n > 0),
            is_applied: state.masked.iter().any(|&n| n > 0),
        })));
        self.look(outlet);
    }

    fn look(&mut self, outlet: &Outlet) {
        if let (Some(session), Some(id)) = (&mut self.session, self.looked)
            && let Some(look) = session.detail(id).transpose()
        {
            outlet.send(Event::Looked(id, look.map(Arc::new).map_err(|e| e.to_string())));
        }
    }
}
