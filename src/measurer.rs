//! The one thread that measures what pruning costs, beside the one that prunes; both share the engine of the opened model.
//!
//! The slider comes first: whenever it rests, the effect of its position is measured, and a curve or a scan that is going on waits
//! for that and goes on behind it. Every piece of work has a token of its own, which is cancelled by what makes the work moot: another
//! position, other images, another model. It then stops between two operators of the network.

mod channel_amounts;
mod channels;
mod messages;
mod position;
mod repairing;
mod requests;
mod saving;
mod showing;
mod tasks;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use crate::engine::{Engine, EngineError, ModelId};
use crate::evaluate::{EvaluateError, Evaluator, Scan};
use crate::measure::ParameterSize;
use crate::panics;
use crate::prune::{InputNorms, Repair, State};
use crate::watch::{Token, Watch};
pub use channel_amounts::LARGEST_SHARE;
use channels::ChannelsInHand;
pub use messages::{Bearable, BearableChannels, ChannelCurve, Cost, Curve, Finding, Losses, Position, Request, Shown, TaskKind, TwinCost};
use repairing::{Calibrated, Judge, ReadyRepairer};
pub use repairing::{RepairChoice, RepairPart, Repaired};
pub use saving::{Sizes, Timed};
use showing::Images;
use tasks::Task;

/// The slider rests when nothing came for so long.
const REST: Duration = Duration::from_millis(150);

/// The other end of the thread. Dropping it ends the thread.
#[derive(Debug)]
pub struct Measurer {
    sender: Sender<Message>,
    desk: Arc<Mutex<Desk>>,
}

/// What both ends see.
#[derive(Debug, Default)]
struct Desk {
    /// What is being done.
    running: Option<(Doing, Token)>,
    /// The position that was sent last.
    position: Option<(ModelId, Position)>,
}

/// What the thread is told.
enum Message {
    /// Measure this model from now on, and compare it with the second as opened. The same number again is the same model on another
    /// device.
    Model(ModelId, Arc<Engine>, Arc<Engine>),
    /// Likewise, of a model that takes the same images as the one before: it has fewer channels, or has them again. These repairs were made
    /// before, and it holds them for good.
    Replaced(ModelId, [Arc<Engine>; 2], Arc<[Arc<Repair>]>),
    /// The slider is here.
    Position(ModelId, Position),
    /// Asked for by a person who sees this model.
    Request(ModelId, Request),
    /// Stop what was asked for.
    Stop,
}

/// What can be going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// What belongs to the slider's position.
    Position,
    /// Long work.
    Task(TaskKind),
}

impl Message {
    /// Whether it makes `work` moot, or has to come before it.
    fn interrupts(&self, work: Doing) -> bool {
        let is_task = |kind| work == Doing::Task(kind);
        match self {
            Self::Model(..) | Self::Replaced(..) | Self::Position(..) => true,
            Self::Request(_, request) => match request {
                Request::Images(_)
                | Request::Labels(_)
                | Request::ClassOrder(_)
                | Request::Output(_)
                | Request::Preprocess(_)
                | Request::Chosen(_)
                | Request::Noise => true,
                Request::Weigh(_) | Request::Channels(_) => work != Doing::Position,
                Request::Curve(..) | Request::ChannelCurve(..) => is_task(TaskKind::Curve),
                Request::Search(..) | Request::ChannelSearch(..) => is_task(TaskKind::Search),
                Request::Time(_) | Request::Pace(_) => is_task(TaskKind::Time),
                // What is stopped for it goes on behind it.
                Request::Repair(..) => work != Doing::Position,
                // A scan goes on, and norms are the same.
                Request::Scan | Request::Norms => false,
            },
            Self::Stop => work != Doing::Position,
        }
    }
}

impl Measurer {
    /// Starts the thread; `tell` is called from it.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(tell: impl Fn(ModelId, Finding) + Send + Sync + 'static) -> std::io::Result<Self> {
        let (sender, receiver) = unbounded();
        let desk = Arc::new(Mutex::new(Desk::default()));
        let inside = MeasurerThread::new(receiver, desk.clone(), Arc::new(tell));
        std::thread::Builder::new().name("measurer".into()).spawn(move || inside.run())?;
        Ok(Self { sender, desk })
    }

    /// Another model, or the same one on another device; what was measured of the one before is over. It is compared with `reference`, the
    /// same engine, or that of the network before channels were removed.
    pub fn open(&self, model: ModelId, engine: Arc<Engine>, reference: Arc<Engine>) {
        self.send(Message::Model(model, engine, reference));
    }

    /// Likewise, with the images that the model before was shown. It holds these repairs for good: what calibrated them does not judge it.
    pub fn replace(&self, model: ModelId, [engine, reference]: [Arc<Engine>; 2], repairs: Arc<[Arc<Repair>]>) {
        self.send(Message::Replaced(model, [engine, reference], repairs));
    }

    /// The slider is here. A position that is sent again changes nothing.
    pub fn move_to(&self, model: ModelId, position: Position) {
        {
            let mut desk = lock(&self.desk);
            if desk.position.as_ref().is_some_and(|(known, before)| *known == model && *before == position) {
                return;
            }
            desk.position = Some((model, position.clone()));
        }
        self.send(Message::Position(model, position));
    }

    /// Asks for something. Never blocks. What is meant for a model that is no longer measured is dropped.
    pub fn ask(&self, model: ModelId, request: Request) {
        self.send(Message::Request(model, request));
    }

    /// Stops curve, scan, search and timing. What belongs to the slider's position is measured all the same.
    pub fn stop(&self) {
        self.send(Message::Stop);
    }

    fn send(&self, message: Message) {
        let desk = lock(&self.desk);
        if let Some((work, token)) = &desk.running
            && message.interrupts(*work)
        {
            token.cancel();
        }
        // A thread that is gone takes nothing; it goes with the window only.
        let _ = self.sender.send(message);
    }
}

fn lock(desk: &Mutex<Desk>) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whom findings are told.
type Tell = Arc<dyn Fn(ModelId, Finding) + Send + Sync>;

/// The thread's end, and what it has in hand.
struct MeasurerThread {
    receiver: Receiver<Message>,
    desk: Arc<Mutex<Desk>>,
    tell: Tell,
    model: ModelId,
    engine: Option<Arc<Engine>>,
    /// Whose network as opened is the dense one.
    reference: Option<Arc<Engine>>,
    evaluator: Option<Evaluator>,
    images: Option<Images>,
    /// The output that a person wants the answers from.
    output: Option<String>,
    position: Option<Position>,
    /// When the position is due to be measured.
    due: Option<Instant>,
    /// The position of which the effect was told last.
    measured: Option<Position>,
    /// Whether the parameters are to be weighed.
    weighs: bool,
    /// The position at which they were weighed last.
    weighed: Option<Position>,
    /// Whether the model's multiply-accumulates were counted.
    has_work: bool,
    dense_sizes: Option<Arc<[ParameterSize]>>,
    channels: ChannelsInHand,
    /// Work that was asked for, the first of it going on.
    tasks: VecDeque<Task>,
    scan: Option<Scan>,
    /// How large the inputs of the layers are over the images that are shown.
    norms: Option<Arc<InputNorms>>,
    /// The curves so far, and the state that they are of, apart from method and amount.
    curve: Option<(State, Curve)>,
    /// What repaired last.
    ready_repairer: Option<ReadyRepairer>,
    /// What judged last where some of the images calibrated.
    judge: Option<Judge>,
    /// What was repaired with images that were shown.
    calibrated: Vec<Calibrated>,
    /// The repairs that were made before channels were removed.
    inherited: Arc<[Arc<Repair>]>,
}

/// Tells how far a task is, and stops with its token.
struct TaskWatch<'a> {
    inside: &'a MeasurerThread,
    token: &'a Token,
    kind: TaskKind,
}

impl Watch for TaskWatch<'_> {
    fn progress(&self, done: f32, _: &str) {
        self.inside.tell(Finding::Progress(Some((done, self.kind))));
    }

    fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }
}

impl MeasurerThread {
    fn new(receiver: Receiver<Message>, desk: Arc<Mutex<Desk>>, tell: Tell) -> Self {
        Self {
            receiver,
            desk,
            tell,
            model: ModelId::default(),
            engine: None,
            reference: None,
            evaluator: None,
            images: None,
            output: None,
            position: None,
            due: None,
            measured: None,
            weighs: false,
            weighed: None,
            has_work: false,
            dense_sizes: None,
            channels: ChannelsInHand::default(),
            tasks: VecDeque::new(),
            scan: None,
            norms: None,
            curve: None,
            ready_repairer: None,
            judge: None,
            calibrated: Vec::new(),
            inherited: Arc::default(),
        }
    }

    fn tell(&self, finding: Finding) {
        (self.tell)(self.model, finding);
    }

    fn run(mut self) {
        loop {
            while let Ok(message) = self.receiver.try_recv() {
                self.take_guarded(message);
            }
            let now = Instant::now();
            if self.due.is_some_and(|due| due <= now) {
                // What was stopped by other news is measured behind it.
                if matches!(self.work_guarded(Doing::Position, Self::measure_here), Some(Ending::Done | Ending::Failed)) {
                    self.due = None;
                }
            } else if let Some(kind) = self.tasks.front().map(Task::kind) {
                self.work_guarded(Doing::Task(kind), Self::work);
            } else {
                let wait = self.due.map_or(Duration::from_hours(1), |due| due - now);
                match self.receiver.recv_timeout(wait) {
                    Ok(message) => self.take_guarded(message),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        }
    }

    /// Does a piece of work under a token of its own; `None` where news came first.
    fn work_guarded(&mut self, work: Doing, act: fn(&mut Self, &Token) -> Result<(), EvaluateError>) -> Option<Ending> {
        let token = Token::default();
        lock(&self.desk).running = Some((work, token.clone()));
        // From here on news cancels the token; what came before it goes first.
        let has_news = !self.receiver.is_empty();
        let result = (!has_news).then(|| catch_unwind(AssertUnwindSafe(|| act(self, &token))));
        lock(&self.desk).running = None;
        Some(match result? {
            Ok(Ok(())) => Ending::Done,
            Ok(Err(EvaluateError::Engine(EngineError::Cancelled))) => Ending::Stopped,
            Ok(Err(error)) => self.fail(error.to_string()),
            Err(panic) => self.fail(format!("internal error: {}", panics::text(&*panic))),
        })
    }

    /// News that cannot be taken in, because a folder or a file is not what it seems, ends nothing but itself.
    fn take_guarded(&mut self, message: Message) {
        match catch_unwind(AssertUnwindSafe(|| self.take(message))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => drop(self.fail(error)),
            Err(panic) => drop(self.fail(format!("internal error: {}", panics::text(&*panic)))),
        }
    }

    fn fail(&mut self, error: String) -> Ending {
        self.tasks.clear();
        self.tell(Finding::Progress(None));
        self.tell(Finding::Failed(error));
        Ending::Failed
    }

    /// Something that was asked for; it is under way, and can be cancelled, before its first result.
    fn add_task(&mut self, task: Task) {
        if self.tasks.is_empty() {
            self.tell(Finding::Progress(Some((0.0, task.kind()))));
        }
        self.tasks.push_back(task);
    }

    /// The first task is done.
    fn end_task(&mut self) {
        self.tasks.pop_front();
        self.tell_next();
    }

    /// Which task is under way now, if one is.
    fn tell_next(&self) {
        self.tell(Finding::Progress(self.tasks.front().map(|task| (0.0, task.kind()))));
    }

    fn drop_tasks(&mut self, why: &str) {
        if !self.tasks.is_empty() {
            self.drop_repair(why);
            self.tasks.clear();
            self.tell(Finding::Progress(None));
        }
    }

    /// Drops a repair that was asked for, and tells why.
    fn drop_repair(&mut self, why: &str) {
        if self.tasks.iter().any(|task| task.kind() == TaskKind::Repair) {
            self.drop_tasks_of(TaskKind::Repair);
            self.tell(Finding::NotRepaired(format!("{why}; nothing was changed")));
            self.tell_next();
        }
    }

    fn drop_tasks_of(&mut self, kind: TaskKind) {
        self.tasks.retain(|task| task.kind() != kind);
    }
}

/// How a piece of work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Done,
    /// Its token was cancelled.
    Stopped,
    /// What went wrong was told.
    Failed,
}

#[cfg(test)]
mod tests;
