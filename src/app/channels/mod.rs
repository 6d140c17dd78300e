//! Tab “Channels”: which slices of which parameters can only go together, how many of them go, and what is left.
//!
//! While it is on screen, the controls along the bottom and the panel on the right are its own.

mod amounts;
mod controls;
mod group;
mod tab;
mod units;

use std::sync::{Arc, Weak};

use eframe::egui::Response;

use super::commands::Command;
use crate::channels::{Channels, Group, Of, Removed};
use crate::engine::{ChannelPlan, Chosen, FoundChannels, Model};
use crate::graph::{Graph, ParameterId};
use crate::measure::Pace;
use crate::measurer::{BearableChannels, ChannelCurve, Finding, TwinCost};
use crate::prune::State;

use crate::measurer::LARGEST_SHARE as MOST;
pub(super) use controls::{controls_ui, sentence_ui};
pub(super) use group::show as group_ui;
pub(super) use tab::show;

/// What is known of the channels of the model on screen, and what a person wants of them.
#[derive(Debug, Default)]
pub struct ChannelsView {
    /// The channels, or why there are none to be found; `None` while nobody looked for them.
    pub found: Option<Result<Arc<FoundChannels>, String>>,
    /// What the controls show.
    pub plan: ChannelPlan,
    /// What a plan takes; perhaps not the one that the controls show, see [`Self::settled`].
    pub chosen: Option<Arc<Chosen>>,
    /// What that costs; perhaps not of this choice.
    pub twin: Option<Box<TwinCost>>,
    /// Bytes of the smaller file; perhaps not of this choice.
    pub bytes: Option<(Arc<Chosen>, u64)>,
    /// What removing channels costs over amounts; perhaps of another plan or state, see [`ChannelCurve::is_of`].
    pub curve: Option<Arc<ChannelCurve>>,
    /// The largest amount that loses no more than so much; likewise.
    pub bearable: Option<Box<BearableChannels>>,
    /// Time of a pass as opened and as it is, and where.
    pub pace: Option<(Pace, String)>,
    /// The group that is looked at.
    pub selected: Option<usize>,
    /// Whether its channels are in the order of their scores.
    pub is_by_score: bool,
    /// The plan that the worker was asked about last.
    asked: Option<ChannelPlan>,
    /// The same of models that undo and redo can give back.
    shelf: Vec<(Weak<Model>, Self)>,
}

impl ChannelsView {
    /// A model was opened, which nothing here is about.
    pub(super) fn opened(&mut self) {
        *self = Self::default();
    }

    /// Another network of the model goes on: what was set for it is there again, and what was set for the one before is kept.
    pub(super) fn replaced(&mut self, before: Option<&Arc<Model>>, now: &Arc<Model>) {
        let mut shelf = std::mem::take(&mut self.shelf);
        shelf.retain(|(model, _)| model.strong_count() > 0);
        let known = shelf.iter().position(|(model, _)| model.as_ptr() == Arc::as_ptr(now)).map(|at| shelf.remove(at).1);
        // A network that was just made smaller starts with nothing removed, by the same rules.
        let fresh = || {
            let (plan, is_by_score) = (self.plan.emptied(), self.is_by_score);
            Self { plan, is_by_score, ..Self::default() }
        };
        let mut next = known.unwrap_or_else(fresh);
        next.asked = None;
        let here = std::mem::replace(self, next);
        if let Some(before) = before {
            shelf.retain(|(model, _)| model.as_ptr() != Arc::as_ptr(before));
            shelf.push((Arc::downgrade(before), here));
        }
        self.shelf = shelf;
    }

    /// Takes in what was measured.
    pub(super) fn take(&mut self, finding: &Finding) {
        match finding {
            Finding::Channels(found) => {
                self.asked = None;
                if let Ok(found) = found {
                    self.selected = self.selected.filter(|&group| group < found.channels.groups.len());
                }
                self.found = Some(found.clone());
            }
            Finding::Twin(cost) => self.twin = Some(cost.clone()),
            Finding::Bytes(chosen, bytes) => self.bytes = Some((chosen.clone(), *bytes)),
            Finding::Pace(pace, device) => self.pace = Some((*pace, device.clone())),
            // Other images: what was measured of those before says nothing.
            Finding::Shown(_) => (self.twin, self.curve, self.bearable) = (None, None, None),
            Finding::ChannelCurve(curve) => self.curve = Some(curve.clone()),
            Finding::BearableChannels(found) => self.bearable = Some(found.clone()),
            _ => {}
        }
    }

    /// Weights may have changed, and with them the scores.
    pub(super) fn ask_again(&mut self) {
        self.asked = None;
    }

    /// What the worker is to be asked, where that was not done yet.
    pub(super) fn question(&mut self) -> Option<(Arc<FoundChannels>, ChannelPlan)> {
        let found = self.found.as_ref()?.as_ref().ok()?;
        if self.asked.as_ref() == Some(&self.plan) {
            return None;
        }
        self.asked = Some(self.plan.clone());
        Some((found.clone(), self.plan.clone()))
    }

    fn channels(&self) -> Option<&Channels> {
        Some(&self.found.as_ref()?.as_ref().ok()?.channels)
    }

    /// What goes by the plan that the controls show, once that is known.
    #[must_use]
    pub fn settled(&self) -> Option<&Arc<Chosen>> {
        self.chosen.as_ref().filter(|chosen| chosen.plan == self.plan)
    }

    /// Whether something measured of `plan`, whatever its amount, on `state` is of what is on screen.
    fn is_of(&self, now: &State, state: &State, plan: &ChannelPlan) -> bool {
        *now == *state && self.plan.with_share(0.0) == plan.with_share(0.0)
    }

    /// What goes by the present plan and is something.
    pub(super) fn removable(&self) -> Option<&Arc<Chosen>> {
        self.settled().filter(|chosen| chosen.removed.count() > 0)
    }

    /// The group whose outputs a parameter makes, else one that it has a slice in.
    pub(super) fn group_of(&self, graph: &Graph, id: ParameterId) -> Option<usize> {
        let tensor = graph.parameter(id).tensor;
        let groups = &self.channels()?.groups;
        let made = groups.iter().position(|group| maker(group, graph) == Some(id));
        made.or_else(|| groups.iter().position(|group| group.members.iter().any(|member| member.tensor == tensor)))
    }

    /// The parameter that makes the channels of a group.
    pub(super) fn maker_of(&self, graph: &Graph, group: usize) -> Option<ParameterId> {
        maker(self.channels()?.groups.get(group)?, graph)
    }

    /// What goes, as far as that is known of the channels on screen.
    fn removed(&self) -> Option<&Removed> {
        let found = self.found.as_ref()?.as_ref().ok()?;
        self.chosen.as_ref().filter(|chosen| Arc::ptr_eq(&chosen.found, found)).map(|chosen| &chosen.removed)
    }

    fn is_locked(&self, group: usize) -> bool {
        self.plan.choice.locked.get(group).copied().unwrap_or(false)
    }
}

/// The weight whose outputs a group is.
fn maker(group: &Group, graph: &Graph) -> Option<ParameterId> {
    let member = group.members.iter().find(|member| member.side == "outputs").or_else(|| group.members.first())?;
    graph.parameters.iter().position(|parameter| parameter.tensor == member.tensor).map(ParameterId)
}

/// How many of a group's channels stay.
fn kept(group: &Group, removed: &Removed) -> usize {
    group.units.iter().filter(|&&unit| !removed.contains(unit)).count()
}

/// Sets a plan, as a step of its own.
fn push_step(plan: ChannelPlan, commands: &mut Vec<Command>) {
    commands.push(Command::Plan(Box::new(plan)));
    commands.push(Command::EndDrag);
}

/// Whether a slider or a field is no longer in hand.
fn is_let_go(response: &Response) -> bool {
    response.drag_stopped() || response.lost_focus()
}

/// Ends the step that one was in hand for, behind its last change.
fn end_drag(is_let_go: bool, commands: &mut Vec<Command>) {
    if is_let_go {
        commands.push(Command::EndDrag);
    }
}

/// As in “30 % of the multiply-accumulates”.
fn of_name(of: Of) -> &'static str {
    match of {
        Of::Macs => "multiply-accumulates",
        Of::Parameters => "parameters",
        Of::Channels => "channels",
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::AppState;
    use super::*;
    use crate::channels::Choice;
    use crate::engine::Engine;
    use crate::prune::Method;
    use crate::watch::Unwatched;
    use crate::worker::{Event, Told, View};

    /// What is told of the state may be from before the last move of the slider.
    #[test]
    fn a_plan_that_is_on_its_way_is_not_taken_back() {
        let engine = Engine::open(std::path::Path::new("assets/mobilenetv4_digits.onnx"), &Unwatched).unwrap();
        let state = engine.opened();
        let view = |share: f64, planned: u64| View {
            figures: engine.figures(&state, &Method::PAIR),
            state: state.clone(),
            plan: ChannelPlan::default().with_share(share),
            planned,
            undoable: None,
            redoable: None,
            removal: None,
            repaired: None,
            is_unsaved: false,
            is_fixed: false,
            is_applied: false,
        };
        let mut shown = AppState { plans: 2, ..AppState::default() };
        shown.channels.plan = ChannelPlan::default().with_share(0.2);
        let mut share_after = |share, planned| {
            let event = Event::Changed(Box::new(view(share, planned)));
            shown.take(Told { model: shown.opened, event });
            shown.channels.plan.choice.amount.share
        };
        assert_eq!((share_after(0.1, 1), share_after(0.0, 2)), (0.2, 0.0), "an older one, and what undo gave back");
    }

    /// Undo gives back what was set, and a smaller network starts with nothing removed.
    #[test]
    fn what_is_set_belongs_to_a_network() {
        let model = || Arc::new(Model::open(std::path::Path::new("assets/mobilenetv4_digits.onnx")).unwrap());
        let (opened, smaller) = (model(), model());
        let mut view = ChannelsView { selected: Some(2), ..ChannelsView::default() };
        view.plan.choice = Choice { locked: vec![true], ..Choice::default() };
        view.plan.choice.amount.share = 0.3;
        view.plan.choice.granularity.multiple = 16;
        view.replaced(Some(&opened), &smaller);
        let choice = &view.plan.choice;
        assert_eq!((choice.amount.share, choice.locked.len(), choice.granularity.multiple, view.selected), (0.0, 0, 16, None));
        view.plan.choice.amount.share = 0.1;
        view.replaced(Some(&smaller), &opened);
        assert_eq!((view.plan.choice.amount.share, view.is_locked(0), view.selected), (0.3, true, Some(2)));
        view.replaced(Some(&opened), &smaller);
        assert_eq!(view.plan.choice.amount.share, 0.1);
        // Undone, and another removal in its place: nothing is held of a network that is gone.
        view.replaced(Some(&smaller), &opened);
        drop(smaller);
        let other = model();
        view.replaced(Some(&opened), &other);
        assert_eq!(view.shelf.len(), 1);
    }
}
