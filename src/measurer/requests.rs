//! What the thread is told, and what becomes of it.

use std::sync::Arc;
use std::time::Instant;

use super::channel_amounts::ChannelSearch;
use super::channels::ChannelsInHand;
use super::{MeasurerThread, Message, Position, REST, Request, Task, TaskKind};
use crate::engine::{Engine, ModelId};

impl MeasurerThread {
    pub(super) fn take(&mut self, message: Message) -> Result<(), String> {
        match message {
            Message::Model(model, engine, reference) => return self.take_model(model, engine, reference),
            Message::Replaced(model, engines, repairs) => return self.replace_model(model, engines, repairs),
            Message::Position(model, position) => {
                if model == self.model {
                    if self.tasks.iter().any(|task| matches!(task, Task::Repair { state, .. } if *state != position.state)) {
                        self.drop_repair("what is pruned was changed before it was done");
                    }
                    self.drop_other_channels(&position.state, None);
                    self.position = Some(position);
                    self.due = Some(Instant::now() + REST);
                }
            }
            Message::Request(model, request) => {
                if model == self.model {
                    return self.take_request(request);
                }
            }
            Message::Stop => self.drop_tasks("stopped as asked"),
        }
        Ok(())
    }

    pub(super) fn take_model(&mut self, model: ModelId, engine: Arc<Engine>, reference: Arc<Engine>) -> Result<(), String> {
        self.drop_tasks("the device is another");
        self.engine = Some(engine);
        self.reference = Some(reference);
        (self.evaluator, self.ready_repairer, self.judge) = (None, None, None);
        if model == self.model {
            // Only the device is another: the same images go on.
            return self.ask_again();
        }
        self.model = model;
        (self.images, self.output, self.scan, self.curve, self.position, self.due) = (None, None, None, None, None, None);
        (self.measured, self.weighed, self.dense_sizes, self.has_work) = (None, None, None, false);
        self.channels = ChannelsInHand::default();
        self.weighs = false;
        self.calibrated.clear();
        self.inherited = Arc::default();
        Ok(())
    }

    fn take_request(&mut self, request: Request) -> Result<(), String> {
        match request {
            Request::Images(path) => return self.show(&path),
            Request::Labels(path) => return self.label(&path),
            Request::ClassOrder(order) => return self.order(order),
            Request::Output(name) => return self.answer_with(name),
            Request::Preprocess(preprocess) => return self.preprocess(preprocess.map(|p| *p)),
            Request::Noise => return self.show_noise(),
            Request::Weigh(weighs) => {
                self.weighs = weighs;
                if weighs && self.position.is_some() {
                    self.due.get_or_insert_with(Instant::now);
                }
            }
            Request::Channels(looks) => {
                self.channels.is_watched = looks;
                if looks && self.position.is_some() {
                    self.due.get_or_insert_with(Instant::now);
                }
            }
            Request::Chosen(chosen) => {
                let is_of_another =
                    |task: &Task| matches!(task, Task::Repair { removing: Some(before), .. } if before.removed != chosen.removed);
                if self.tasks.iter().any(is_of_another) {
                    self.drop_repair("what is to be removed was changed before it was done");
                }
                if let Some(Position { state, .. }) = self.position.clone() {
                    self.drop_other_channels(&state, Some(&chosen.plan));
                }
                self.channels.chosen = Some(chosen);
                self.due = self.position.as_ref().map(|_| Instant::now() + REST);
            }
            Request::Time(batch) => {
                let Some(Position { state, .. }) = self.position.clone() else { return Ok(()) };
                self.drop_tasks_of(TaskKind::Time);
                self.add_task(Task::Time { state, batch });
            }
            Request::Pace(batch) => {
                let Some(Position { state, .. }) = self.position.clone() else { return Ok(()) };
                self.drop_tasks_of(TaskKind::Time);
                self.add_task(Task::Pace { state, batch });
            }
            Request::Curve(methods, repair) => {
                let Some(Position { state, .. }) = self.position.clone().filter(|_| self.evaluator.is_some()) else { return Ok(()) };
                self.drop_tasks_of(TaskKind::Curve);
                self.start_curve(state, &methods, repair);
            }
            Request::ChannelCurve(chosen, repair) => {
                let Some(Position { state, .. }) = self.position.clone().filter(|_| self.evaluator.is_some()) else { return Ok(()) };
                self.drop_tasks_of(TaskKind::Curve);
                self.start_channel_curve(state, &chosen, repair);
            }
            Request::ChannelSearch(chosen, drop, repair) => {
                let Some(Position { state, .. }) = self.position.clone().filter(|_| self.evaluator.is_some()) else { return Ok(()) };
                self.drop_tasks_of(TaskKind::Search);
                self.add_task(Task::ChannelSearch(ChannelSearch { state, chosen, drop, repair }));
            }
            Request::Repair(choice, removing) => {
                let Some(Position { state, .. }) = self.position.clone() else { return Ok(()) };
                self.drop_tasks_of(TaskKind::Repair);
                // A person waits for it, and looks on while a curve grows.
                self.tasks.push_front(Task::Repair { state, choice, removing });
                self.tell_next();
            }
            Request::Scan => {
                if self.evaluator.is_some() && !self.tasks.iter().any(|task| task.kind() == TaskKind::Scan) {
                    self.add_task(Task::Scan);
                }
            }
            Request::Norms => {
                if self.evaluator.is_some() && !self.tasks.iter().any(|task| task.kind() == TaskKind::Norms) {
                    self.add_task(Task::Norms);
                }
            }
            Request::Search(drop, repair) => {
                let Some(position) = self.position.clone().filter(|_| self.evaluator.is_some()) else { return Ok(()) };
                self.drop_tasks_of(TaskKind::Search);
                self.add_task(Task::Search { position, drop, repair, found: Vec::new() });
            }
        }
        Ok(())
    }
}
