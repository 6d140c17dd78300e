//! The one thread that measures what pruning costs, beside the one that prunes.
//!
//! It has a session of its own on the opened model. The slider comes first: whenever it rests, the effect of its position is
//! measured, and a curve or a scan that is going on waits for that and goes on behind it. A move of the slider stops what belongs
//! to the position before, between two operators of the network.

mod messages;
mod position;
mod saving;
mod showing;
mod tasks;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::evaluate::{EvaluateError, Evaluator, Observer, Sensitivity, coarse_to_fine};
use crate::measure::{Effect, ParameterSize};
use crate::panics;
use crate::prune::{Method, State};
use crate::session::{Session, SessionError};
pub use messages::{Cost, Curve, Losses, Measure, Measured, Shown};
pub use saving::{Sizes, Timed};
use showing::Images;
use tasks::{CURVE_LEVELS, Task};

/// The slider rests when nothing came for so long.
const REST: Duration = Duration::from_millis(150);

/// The other end of the thread. Dropping it ends the thread.
#[derive(Debug)]
pub struct Measurer {
    sender: Sender<Measure>,
    waiting: Arc<AtomicUsize>,
}

impl Measurer {
    /// Starts the thread; `tell` is called from it.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(tell: impl Fn(Measured) + Send + Sync + 'static) -> std::io::Result<Self> {
        let (sender, receiver) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let inbox = Inbox { receiver, waiting: waiting.clone() };
        std::thread::Builder::new().name("measurer".into()).spawn(move || Bench::new(inbox, Box::new(tell)).run())?;
        Ok(Self { sender, waiting })
    }

    /// Asks for something. Never blocks.
    pub fn send(&self, measure: Measure) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // A thread that is gone takes nothing; it goes with the window only.
        let _ = self.sender.send(measure);
    }
}

struct Inbox {
    receiver: Receiver<Measure>,
    waiting: Arc<AtomicUsize>,
}

impl Inbox {
    /// Whether something came that was not looked at.
    fn has_news(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    fn took(&self, measure: Measure) -> Measure {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        measure
    }
}

/// What the thread has in hand.
struct Bench {
    inbox: Inbox,
    tell: Box<dyn Fn(Measured) + Send + Sync>,
    session: Option<Session>,
    evaluator: Option<Evaluator>,
    images: Option<Images>,
    position: Option<State>,
    /// When the position is due to be measured.
    due: Option<Instant>,
    /// The position of which the effect was told last.
    measured: Option<State>,
    /// Whether the parameters are to be weighed.
    weighs: bool,
    /// The position at which they were weighed last.
    weighed: Option<State>,
    /// Whether the model's multiply-accumulates were counted.
    has_work: bool,
    dense_sizes: Option<Arc<[ParameterSize]>>,
    /// Work that was asked for, the first of it going on.
    tasks: VecDeque<Task>,
    scan: Option<Sensitivity>,
}

/// Stops at news; tells what was seen.
struct Watcher<'a> {
    inbox: &'a Inbox,
    seen: &'a mut dyn FnMut(&Effect),
}

impl Observer for Watcher<'_> {
    fn seen(&mut self, so_far: &Effect) {
        (self.seen)(so_far);
    }

    fn is_cancelled(&self) -> bool {
        self.inbox.has_news()
    }
}

impl Bench {
    fn new(inbox: Inbox, tell: Box<dyn Fn(Measured) + Send + Sync>) -> Self {
        Self {
            inbox,
            tell,
            session: None,
            evaluator: None,
            images: None,
            position: None,
            due: None,
            measured: None,
            weighs: false,
            weighed: None,
            has_work: false,
            dense_sizes: None,
            tasks: VecDeque::new(),
            scan: None,
        }
    }

    fn run(&mut self) {
        loop {
            while let Ok(measure) = self.inbox.receiver.try_recv() {
                let measure = self.inbox.took(measure);
                self.take(measure);
            }
            let now = Instant::now();
            let result = match self.due {
                Some(due) if due <= now => {
                    let result = self.guarded(Self::measure_here);
                    // What was stopped by other news is measured behind it.
                    if !matches!(result, Ok(false)) {
                        self.due = None;
                    }
                    result.map(drop)
                }
                _ if !self.tasks.is_empty() => self.guarded(Self::work).map(drop),
                due => {
                    let wait = due.map_or(Duration::from_hours(1), |due| due - now);
                    match self.inbox.receiver.recv_timeout(wait) {
                        Ok(measure) => {
                            let measure = self.inbox.took(measure);
                            self.take(measure);
                        }
                        Err(RecvTimeoutError::Timeout) => {}
                        Err(RecvTimeoutError::Disconnected) => return,
                    }
                    Ok(())
                }
            };
            if let Err(error) = result {
                self.fail(error);
            }
        }
    }

    /// Whether the work was done to its end, and not stopped by news.
    fn guarded(&mut self, work: fn(&mut Self) -> Result<(), EvaluateError>) -> Result<bool, String> {
        match catch_unwind(AssertUnwindSafe(|| work(self))) {
            Ok(Ok(())) => Ok(true),
            Ok(Err(EvaluateError::Session(SessionError::Cancelled))) => Ok(false),
            Ok(Err(error)) => Err(error.to_string()),
            Err(panic) => Err(format!("internal error: {}", panics::text(&*panic))),
        }
    }

    fn fail(&mut self, error: String) {
        self.drop_tasks();
        (self.tell)(Measured::Failed(error));
    }

    /// Something that was asked for; what is asked for is under way, and can be cancelled, before its first result.
    fn add_task(&mut self, task: Task) {
        if self.tasks.is_empty() {
            (self.tell)(Measured::Progress(Some((0.0, task.name()))));
        }
        self.tasks.push_back(task);
    }

    /// The first task is done.
    fn end_task(&mut self) {
        self.tasks.pop_front();
        if self.tasks.is_empty() {
            (self.tell)(Measured::Progress(None));
        }
    }

    fn drop_tasks(&mut self) {
        if !self.tasks.is_empty() {
            self.tasks.clear();
            (self.tell)(Measured::Progress(None));
        }
    }

    fn take(&mut self, measure: Measure) {
        match measure {
            Measure::Model(session) => {
                let is_same = self.session.as_ref().is_some_and(|old| Arc::ptr_eq(old.model(), session.model()));
                self.drop_tasks();
                self.session = Some(*session);
                self.evaluator = None;
                if is_same {
                    // Only the device is another: the same images go on.
                    if let Err(error) = self.ask_again() {
                        self.fail(error);
                    }
                } else {
                    (self.images, self.scan, self.position, self.due) = (None, None, None, None);
                    (self.measured, self.weighed, self.dense_sizes, self.has_work) = (None, None, None, false);
                    (self.tell)(Measured::Shown(None));
                }
            }
            Measure::Images(path) => {
                if let Err(error) = self.show(&path) {
                    self.fail(error);
                }
            }
            Measure::Labels(path) => {
                if let Err(error) = self.label(&path) {
                    self.fail(error);
                }
            }
            Measure::Preprocess(preprocess) => {
                if let Err(error) = self.preprocess(preprocess.map(|p| *p)) {
                    self.fail(error);
                }
            }
            Measure::Noise => {
                if let Err(error) = self.show_noise() {
                    self.fail(error);
                }
            }
            Measure::Position(state) => {
                self.position = Some(state);
                self.due = Some(Instant::now() + REST);
            }
            Measure::Weigh(weighs) => {
                self.weighs = weighs;
                if weighs && self.position.is_some() {
                    self.due.get_or_insert_with(Instant::now);
                }
            }
            Measure::Time(batch) => {
                let Some(state) = self.position.clone() else { return };
                self.tasks.retain(|task| !matches!(task, Task::Time { .. }));
                self.add_task(Task::Time { state, batch });
            }
            Measure::Curve => {
                let Some(state) = self.position.clone().filter(|_| self.evaluator.is_some()) else { return };
                let amounts = coarse_to_fine(CURVE_LEVELS);
                let mut left: Vec<(Method, f64)> =
                    amounts.into_iter().flat_map(|a| [(Method::LayerWise, a), (Method::Global, a)]).collect();
                left.reverse();
                let curve = Curve { settings: Some(state.settings.clone()), ..Curve::default() };
                self.tasks.retain(|task| !matches!(task, Task::Curve { .. }));
                self.add_task(Task::Curve { state, total: left.len(), left, curve });
            }
            Measure::Scan => {
                if self.evaluator.is_some() && !self.tasks.iter().any(|task| matches!(task, Task::Scan)) {
                    self.add_task(Task::Scan);
                }
            }
            Measure::Search(drop) => {
                let Some(state) = self.position.clone().filter(|_| self.evaluator.is_some()) else { return };
                self.tasks.retain(|task| !matches!(task, Task::Search { .. }));
                self.add_task(Task::Search { state, drop, found: Vec::new() });
            }
            Measure::Stop => self.drop_tasks(),
        }
    }
}
