//! The one thread that measures what pruning costs, beside the one that prunes.
//!
//! It has a session of its own on the opened model. The slider comes first: whenever it rests, the effect of its position is
//! measured, and a curve or a scan that is going on waits for that and goes on behind it. A move of the slider stops what belongs
//! to the position before, between two operators of the network.

mod saving;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::evaluate::{Broken, Criterion, EvaluateError, Evaluator, Found, Observer, Questions, Sensitivity, coarse_to_fine};
use crate::graph::ParameterId;
use crate::images::{ImageSet, Picture, Preprocess, Provenance};
use crate::measure::{Effect, Loss, ParameterSize};
use crate::network::Work;
use crate::panics;
use crate::prune::{Amount, Method, Settings, State};
use crate::session::{Session, SessionError};
pub use saving::{Sizes, Timed};

/// The slider rests when nothing came for so long.
const REST: Duration = Duration::from_millis(150);
/// Images that go through the network at once, and that are the first part looked at: no more than this,
const BATCH: usize = 30;
/// and of large ones only so many that their pixels are no more than this.
const BATCH_PIXELS: usize = 1 << 20;
/// A curve's amounts are `1 / 2^4` apart at its finest.
const CURVE_LEVELS: u32 = 4;
/// Amounts of a scan, in tenths.
const SCAN_TENTHS: std::ops::RangeInclusive<u32> = 1..=9;
/// Between two states of a scan that are told.
const SCAN_PAUSE: Duration = Duration::from_millis(200);
/// Pictures that are shown of the images whose answer changed.
const MAX_PICTURES: usize = 24;

/// Something to measure.
#[derive(Debug)]
pub enum Measure {
    /// Another model, or another device; what was measured on the one before is over.
    Model(Box<Session>),
    /// Show the networks the images in this folder or array file from now on.
    Images(PathBuf),
    /// The classes of the images are those that this file names.
    Labels(PathBuf),
    /// Preprocess images like this from now on; `None` as the files beside the model say.
    Preprocess(Option<Box<Preprocess>>),
    /// Show them noise.
    Noise,
    /// The slider is here.
    Position(State),
    /// Both methods over all amounts.
    Curve,
    /// Every parameter of the scope alone; goes on where it was stopped.
    Scan,
    /// The largest amounts that lose at most this share, 0..=1.
    Search(f64),
    /// Whether the parameters are weighed from now on, whenever the slider rests.
    Weigh(bool),
    /// Time forward passes of so many images.
    Time(usize),
    /// Stop curve, scan, search and timing.
    Stop,
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The folder or file; `None` for noise.
    pub path: Option<PathBuf>,
    /// Images.
    pub images: usize,
    /// Names of the classes, where known.
    pub classes: Vec<String>,
    /// Whether classes are known.
    pub is_labelled: bool,
    /// How they are preprocessed; `None` for noise.
    pub preprocess: Option<Preprocess>,
    /// Where that comes from, in words.
    pub provenance: String,
    /// Why the labels are not used, where there are any.
    pub remark: Option<String>,
}

/// What a position of the slider costs.
#[derive(Debug, Clone)]
pub struct Cost {
    /// The position.
    pub settings: Settings,
    /// The dense network.
    pub dense: Effect,
    /// Layer-wise; `None` where it cannot be applied here.
    pub layer_wise: Option<Effect>,
    /// Global; `None` where it cannot be applied here.
    pub global: Option<Effect>,
    /// Whether all images were seen.
    pub is_whole: bool,
    /// Images that could not be used.
    pub broken: Vec<Broken>,
}

impl Cost {
    /// The effect of a method.
    #[must_use]
    pub fn of(&self, method: Method) -> Option<&Effect> {
        match method {
            Method::LayerWise => self.layer_wise.as_ref(),
            Method::Global => self.global.as_ref(),
        }
    }
}

/// Both methods over amounts, sorted; filled from coarse to fine.
#[derive(Debug, Clone, Default)]
pub struct Curve {
    /// What the settings were, apart from method and amount.
    pub settings: Option<Settings>,
    /// Amount and effect.
    pub layer_wise: Vec<(f64, Effect)>,
    /// Amount and effect.
    pub global: Vec<(f64, Effect)>,
}

impl Curve {
    /// The points of a method.
    #[must_use]
    pub fn of(&self, method: Method) -> &[(f64, Effect)] {
        match method {
            Method::LayerWise => &self.layer_wise,
            Method::Global => &self.global,
        }
    }
}

/// What pruning takes from the weights at a position of the slider, without asking the network.
#[derive(Debug, Clone)]
pub struct Losses {
    /// The position.
    pub settings: Settings,
    /// Layer-wise, in graph order; `None` where it cannot be applied here.
    pub layer_wise: Option<Vec<Loss>>,
    /// Global, in graph order; `None` where it cannot be applied here.
    pub global: Option<Vec<Loss>>,
}

impl Losses {
    /// Those of a method.
    #[must_use]
    pub fn of(&self, method: Method) -> Option<&[Loss]> {
        match method {
            Method::LayerWise => self.layer_wise.as_deref(),
            Method::Global => self.global.as_deref(),
        }
    }
}

/// Something that was measured.
#[derive(Debug, Clone)]
pub enum Measured {
    /// What the networks are shown from now on; `None` after another model came.
    Shown(Option<Shown>),
    /// What the slider's position costs, as far as was seen.
    Cost(Box<Cost>),
    /// What the slider's position takes from the weights.
    Losses(Arc<Losses>),
    /// Pictures as the network sees them, by number of the image.
    Pictures(Arc<Vec<(usize, Picture)>>),
    /// A curve so far.
    Curve(Arc<Curve>),
    /// A scan so far.
    Scan(Arc<Sensitivity>),
    /// The largest bearable amounts, by method.
    Found(f64, Vec<Found>),
    /// Multiply-accumulates of the dense model, or why they cannot be counted.
    Work(Result<Arc<Work>, String>),
    /// What the parameters weigh.
    Sizes(Arc<Sizes>),
    /// How long forward passes take.
    Speed(Box<Timed>),
    /// How far work that was asked for is, 0..=1; `None` when none is left.
    Progress(Option<(f32, &'static str)>),
    /// It could not be measured.
    Failed(String),
}

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

/// Long work that was asked for.
#[derive(Debug)]
enum Task {
    Curve { state: State, left: Vec<(Method, f64)>, total: usize, curve: Curve },
    Scan,
    Search { state: State, drop: f64, found: Vec<Found> },
    Time { state: State, batch: usize },
}

/// What the networks are shown.
#[derive(Clone)]
struct Images {
    set: Arc<ImageSet>,
    path: PathBuf,
    preprocess: Preprocess,
    provenance: Provenance,
    remark: Option<String>,
}

impl Task {
    fn name(&self) -> &'static str {
        match self {
            Self::Curve { .. } => "Curve",
            Self::Scan => "Sensitivity",
            Self::Search { .. } => "Search",
            Self::Time { .. } => "Speed",
        }
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

    fn show(&mut self, path: &Path) -> Result<(), String> {
        let Some(session) = &self.session else { return Ok(()) };
        let set = Arc::new(ImageSet::open(path, None).map_err(|e| e.to_string())?);
        let (preprocess, provenance) = Preprocess::for_model(&session.model().graph, &session.model().file.path);
        self.show_images(Images { set, path: path.to_owned(), preprocess, provenance, remark: None })
    }

    /// The images in hand, with classes that a file names.
    fn label(&mut self, labels: &Path) -> Result<(), String> {
        let Some(images) = self.images.clone() else { return Ok(()) };
        let set = Arc::new(ImageSet::open(&images.path, Some(labels)).map_err(|e| e.to_string())?);
        self.show_images(Images { set, remark: None, ..images })
    }

    /// The images in hand, preprocessed in another way.
    fn preprocess(&mut self, chosen: Option<Preprocess>) -> Result<(), String> {
        let (Some(session), Some(images)) = (&self.session, self.images.clone()) else { return Ok(()) };
        let (preprocess, provenance) = match chosen {
            Some(preprocess) => (preprocess, Provenance::Chosen),
            None => Preprocess::for_model(&session.model().graph, &session.model().file.path),
        };
        preprocess.check().map_err(|e| e.to_string())?;
        self.show_images(Images { preprocess, provenance, ..images })
    }

    fn show_images(&mut self, images: Images) -> Result<(), String> {
        let shown = Shown {
            path: Some(images.path.clone()),
            images: images.set.images.len(),
            classes: images.set.classes.clone(),
            is_labelled: images.set.is_labelled(),
            preprocess: Some(images.preprocess.clone()),
            provenance: images.provenance.to_string(),
            remark: images.remark.clone(),
        };
        let before = self.images.replace(images);
        if let Err(error) = self.ask_again() {
            self.images = before;
            return Err(error);
        }
        (self.tell)(Measured::Shown(Some(shown)));
        Ok(())
    }

    /// Goes on without labels that cannot be those of the network's outputs, whose number the first images tell.
    fn check_labels(&mut self) -> Result<(), EvaluateError> {
        let (Some(evaluator), Some(images)) = (&mut self.evaluator, &self.images) else { return Ok(()) };
        if evaluator.num_classes().is_some() {
            return Ok(());
        }
        evaluator.dense(Some(1), &mut Watcher { inbox: &self.inbox, seen: &mut |_| {} })?;
        let Some(Err(error)) = evaluator.num_classes().map(|classes| images.set.fits(classes)) else { return Ok(()) };
        let set = Arc::new(images.set.without_labels());
        let remark = Some(format!("The labels are not used: {error}"));
        let images = Images { set, remark, ..images.clone() };
        // The same images and the same model: nothing else can be in the way. They are due at once.
        let _ = self.show_images(images);
        Err(SessionError::Cancelled.into())
    }

    /// Makes the evaluator for the images in hand.
    fn ask_again(&mut self) -> Result<(), String> {
        let (Some(session), Some(Images { set, preprocess, .. })) = (&mut self.session, &self.images) else { return Ok(()) };
        let batch = batch(preprocess);
        let questions =
            Questions::images(&session.model().graph, set.clone(), preprocess.clone(), None, batch).map_err(|e| e.to_string())?;
        self.ask(questions);
        Ok(())
    }

    /// These questions from now on.
    fn ask(&mut self, questions: Questions) {
        let Some(session) = &mut self.session else { return };
        // Built before the fork, it is there once; why it cannot be is told when it is run.
        let _ = session.dense_network();
        self.evaluator = Some(Evaluator::new(session.fork(), questions));
        self.renew();
    }

    fn show_noise(&mut self) -> Result<(), String> {
        let Some(session) = &self.session else { return Ok(()) };
        let questions = Questions::noise(&session.model().graph, 0).map_err(|e| e.to_string())?;
        let shown = Shown {
            path: None,
            images: questions.num_images(),
            classes: Vec::new(),
            is_labelled: false,
            preprocess: None,
            provenance: String::new(),
            remark: None,
        };
        self.images = None;
        self.ask(questions);
        (self.tell)(Measured::Shown(Some(shown)));
        Ok(())
    }

    /// Other questions: what was measured with those before is over.
    fn renew(&mut self) {
        self.drop_tasks();
        self.scan = None;
        self.measured = None;
        self.due = self.position.as_ref().map(|_| Instant::now());
    }

    /// Everything that belongs to the slider's position: first what somebody looks at. A network that cannot be run can be
    /// weighed.
    fn measure_here(&mut self) -> Result<(), EvaluateError> {
        if self.weighs {
            self.measure_savings()?;
            return self.measure_position();
        }
        let effect = self.measure_position();
        if !matches!(effect, Err(EvaluateError::Session(SessionError::Cancelled))) {
            self.measure_savings()?;
        }
        effect
    }

    /// What the position takes from the weights, which needs no images and little time.
    fn weigh_position(&mut self, state: &State) -> Result<(), EvaluateError> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let waiting = &self.inbox.waiting;
        let mut of = |method| {
            session.set_state(State { settings: Settings { method, ..state.settings.clone() }, ..state.clone() });
            match session.losses(&|| waiting.load(Ordering::Relaxed) > 0) {
                Ok(losses) => Ok(Some(losses)),
                Err(SessionError::Prune(_)) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let (layer_wise, global) = (of(Method::LayerWise)?, of(Method::Global)?);
        (self.tell)(Measured::Losses(Arc::new(Losses { settings: state.settings.clone(), layer_wise, global })));
        Ok(())
    }

    fn measure_position(&mut self) -> Result<(), EvaluateError> {
        let Some(state) = self.position.clone() else { return Ok(()) };
        if self.measured.as_ref() == Some(&state) {
            return Ok(());
        }
        self.weigh_position(&state)?;
        self.check_labels()?;
        let Some(evaluator) = &mut self.evaluator else {
            self.measured = Some(state);
            return Ok(());
        };
        let (inbox, tell) = (&self.inbox, &self.tell);
        let total = evaluator.questions().num_images();
        let mut cost = Cost {
            settings: state.settings.clone(),
            dense: Effect::default(),
            layer_wise: None,
            global: None,
            is_whole: false,
            broken: Vec::new(),
        };
        // A first look at a part, then everything.
        let part = self.images.as_ref().map_or(BATCH, |images| batch(&images.preprocess));
        for limit in [Some(part), None] {
            if limit.is_some_and(|limit| total <= limit) {
                continue;
            }
            let mut observer = Watcher { inbox, seen: &mut |_| {} };
            cost.dense = evaluator.dense(limit, &mut observer)?;
            for method in [Method::LayerWise, Method::Global] {
                let state = State { settings: Settings { method, ..state.settings.clone() }, ..state.clone() };
                let effect = match evaluator.effect(&state, limit, &mut Watcher { inbox, seen: &mut |_| {} }) {
                    Ok(effect) => Some(effect),
                    Err(EvaluateError::Session(SessionError::Prune(_))) => None,
                    Err(error) => return Err(error),
                };
                match method {
                    Method::LayerWise => cost.layer_wise = effect,
                    Method::Global => cost.global = effect,
                }
            }
            cost.is_whole = limit.is_none();
            cost.broken = evaluator.questions().broken().to_vec();
            tell(Measured::Cost(Box::new(cost.clone())));
        }
        self.tell_pictures(&cost);
        self.measured = Some(state);
        Ok(())
    }

    /// Pictures of the images whose answer changed, of the chosen method first.
    fn tell_pictures(&self, cost: &Cost) {
        let Some(Images { set, preprocess, .. }) = &self.images else { return };
        let method = cost.settings.method;
        let mut wanted: Vec<usize> = Vec::new();
        for effect in [method, method.other()].into_iter().filter_map(|m| cost.of(m)) {
            wanted.extend(spread(effect.changed.len()).map(|i| effect.changed[i].image));
        }
        if wanted.is_empty() {
            wanted = spread(set.images.len()).collect();
        }
        wanted.sort_unstable();
        wanted.dedup();
        let mut pictures = Vec::with_capacity(wanted.len());
        for image in wanted {
            if self.inbox.has_news() {
                return;
            }
            if let Some(Ok(picture)) = set.images.get(image).map(|i| preprocess.view(i)) {
                pictures.push((image, picture));
            }
        }
        (self.tell)(Measured::Pictures(Arc::new(pictures)));
    }

    /// One step of the work that was asked for. What news interrupts is done again.
    fn work(&mut self) -> Result<(), EvaluateError> {
        if let Some(Task::Time { state, batch }) = self.tasks.front() {
            let (state, batch) = (state.clone(), *batch);
            self.time(state, batch)?;
            self.end_task();
            return Ok(());
        }
        let Some(evaluator) = &mut self.evaluator else {
            self.tasks.clear();
            return Ok(());
        };
        let (inbox, tell) = (&self.inbox, &self.tell);
        let mut observer = Watcher { inbox, seen: &mut |_| {} };
        let is_done = match self.tasks.front_mut() {
            None | Some(Task::Time { .. }) => return Ok(()),
            Some(Task::Curve { state, left, total, curve }) => {
                if let Some(&(method, amount)) = left.last() {
                    let settings = Settings { method, amount: Amount::Fraction(amount), ..state.settings.clone() };
                    let effect = evaluator.effect_at(state, settings, &mut observer)?;
                    let points = if method == Method::LayerWise { &mut curve.layer_wise } else { &mut curve.global };
                    let place = points.partition_point(|(a, _)| *a < amount);
                    points.insert(place, (amount, effect));
                    left.pop();
                    tell(Measured::Curve(Arc::new(curve.clone())));
                }
                tell(Measured::Progress(Some((1.0 - left.len() as f32 / (*total).max(1) as f32, "Curve"))));
                left.is_empty()
            }
            Some(Task::Search { state, drop, found }) => {
                let method = [Method::LayerWise, Method::Global][found.len().min(1)];
                tell(Measured::Progress(Some((found.len() as f32 / 2.0, "Search"))));
                let dense = evaluator.dense(None, &mut observer)?;
                let criterion = Criterion::suiting(&dense);
                let best = evaluator.largest_amount(state, method, (criterion, *drop), &mut observer)?;
                let is_over = best.is_none();
                found.extend(best);
                let is_done = found.len() == 2 || is_over;
                if is_done {
                    tell(Measured::Found(*drop, found.clone()));
                }
                is_done
            }
            Some(Task::Scan) => {
                let mut scan = if let Some(scan) = self.scan.take() {
                    scan
                } else {
                    let graph = evaluator.session().model().graph.clone();
                    let weights: Vec<ParameterId> =
                        (0..graph.parameters.len()).map(ParameterId).filter(|&id| is_scanned(graph.parameter(id))).collect();
                    evaluator.sensitivity(&weights, SCAN_TENTHS.map(|tenth| f64::from(tenth) / 10.0).collect())?
                };
                let images = evaluator.questions().num_images();
                let mut told: Option<Instant> = None;
                let result = evaluator.scan(&mut scan, &|| inbox.has_news(), &mut |scan| {
                    // A map of thousands of cases is copied for the window no more often than it is looked at.
                    if told.is_none_or(|told| told.elapsed() > SCAN_PAUSE) {
                        told = Some(Instant::now());
                        tell(Measured::Scan(Arc::new(scan.clone())));
                        tell(Measured::Progress(Some((scan.share_done(images), "Sensitivity"))));
                    }
                });
                tell(Measured::Scan(Arc::new(scan.clone())));
                let is_done = scan.is_done();
                self.scan = Some(scan);
                result?;
                is_done
            }
        };
        if is_done {
            self.end_task();
        }
        Ok(())
    }
}

/// How many images go through a network of this preprocessing's size at once.
fn batch(preprocess: &Preprocess) -> usize {
    let [height, width] = preprocess.size;
    (BATCH_PIXELS / (height * width).max(1)).clamp(1, BATCH)
}

/// Which of `count` pictures are shown: from all over them, so that most classes are seen.
fn spread(count: usize) -> impl Iterator<Item = usize> {
    let shown = count.min(MAX_PICTURES);
    (0..shown).map(move |i| i * count / shown)
}

/// Weights with more than one dimension: what the default scope ticks.
fn is_scanned(parameter: &crate::graph::Parameter) -> bool {
    parameter.kind == crate::graph::Kind::Weight && parameter.shape.len() > 1 && parameter.obstacle().is_none()
}
