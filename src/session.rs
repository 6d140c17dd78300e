//! One opened model and all that is done to it, as blocking calls: open, prune, look, fix, undo, save.
//!
//! The window drives a session from [`crate::worker`], the command line directly. A call that fails changes nothing.

mod cost;
mod gpu;
mod model;
mod networks;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use crate::atomic::Overwrite;
use crate::device::ComputeDevice;
use crate::export::{self, ExportError, Format, Masks, ParameterMasks, Report};
use crate::graph::ParameterId;
use crate::measure::{self, Detail, Figures, Loss, Outcome, Subject, Weights};
use crate::network::{Network, NetworkError};
use crate::onnx::{Dtype, OpenError, Values};
use crate::prune::device::DeviceError;
use crate::prune::{self, History, Mask, Method, Order, PruneError, Settings, State, Step};
use gpu::DeviceMasks;
pub use model::Model;

/// How long work reports, and is stopped.
pub trait Watch: Sync {
    /// `done` of 1.0 is finished; `what` names the present part.
    fn progress(&self, done: f32, what: &str);
    /// Whether the person wants it to stop.
    fn is_cancelled(&self) -> bool;
}

/// Watches nothing.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn progress(&self, _: f32, _: &str) {}
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Why a call failed. The session is as it was.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The file could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The settings cannot be applied.
    #[error(transparent)]
    Prune(#[from] PruneError),
    /// The model could not be saved.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The GPU failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The network could not be run.
    #[error("{0}")]
    Network(NetworkError),
    /// A compressor failed.
    #[error("cannot compress “{name}”: {source}")]
    Weigh {
        /// The parameter.
        name: String,
        /// What the compressor said.
        source: std::io::Error,
    },
    /// The person stopped it.
    #[error("cancelled")]
    Cancelled,
    /// Nothing to undo or redo.
    #[error("there is nothing to {what}")]
    NoStep {
        /// `undo` or `redo`.
        what: &'static str,
    },
}

impl From<NetworkError> for SessionError {
    fn from(error: NetworkError) -> Self {
        match error {
            NetworkError::Cancelled => Self::Cancelled,
            error => Self::Network(error),
        }
    }
}

/// Owns a model, its state and its history.
#[derive(Debug)]
pub struct Session {
    model: Arc<Model>,
    orders: Arc<[Option<Order>]>,
    history: History,
    device: Option<ComputeDevice>,
    gpu: Option<DeviceMasks>,
    /// The dense network on the device, made when it is first run.
    network: Option<Network>,
    /// The parameter that is looked at, with the number of its fixed elements.
    subject: Option<((ParameterId, u64), Subject)>,
    /// Fixed and applied elements when the model was last saved, or opened.
    saved: (Arc<[u64]>, Arc<[u64]>),
}

impl Session {
    /// Opens a file and prepares it.
    ///
    /// # Errors
    /// [`SessionError::Open`], [`SessionError::Cancelled`]
    pub fn open(path: &Path, watch: &dyn Watch) -> Result<Self, SessionError> {
        let model = Arc::new(Model::open(path)?);
        let orders = model.prepare(watch)?;
        Ok(Self::new(model, orders))
    }

    /// From a model and what [`Model::prepare`] made of it.
    #[must_use]
    pub fn new(model: Arc<Model>, orders: Vec<Option<Order>>) -> Self {
        Self::shared(model, orders.into())
    }

    fn shared(model: Arc<Model>, orders: Arc<[Option<Order>]>) -> Self {
        let none: Arc<[u64]> = vec![0; orders.len()].into();
        let state = State { settings: Settings::new(&model.graph), masked: none.clone(), fixed: none.clone() };
        Self {
            model,
            orders,
            history: History::new(state),
            device: None,
            gpu: None,
            network: None,
            subject: None,
            saved: (none.clone(), none),
        }
    }

    /// A session on the same model and device with this one's state and a history of its own. The weights are shared.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut fork = Self::shared(self.model.clone(), self.orders.clone());
        fork.device.clone_from(&self.device);
        fork.network.clone_from(&self.network);
        fork.set_state(self.state().clone());
        fork
    }

    /// Puts a state of the same model in place of the present one, without a step that could be undone.
    pub fn set_state(&mut self, state: State) {
        self.history = History::new(state);
    }

    /// A parameter's elements as opened, the `count` smallest of them zero; `None` where it cannot be pruned.
    ///
    /// # Errors
    /// External data that can no longer be read.
    pub fn pruned_alone(&self, id: ParameterId, count: u64) -> Result<Option<Values>, OpenError> {
        let Some(order) = self.orders[id.0].as_ref() else { return Ok(None) };
        let Some(mut values) = self.model.file.floats(self.model.graph.parameter(id).tensor)? else { return Ok(None) };
        prune::smallest(&values, order, count).apply(&mut values);
        Ok(Some(values))
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Settings, masks and fixed elements as they are.
    #[must_use]
    pub fn state(&self) -> &State {
        self.history.present()
    }

    /// Undo and redo.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    fn weights(&self) -> Weights<'_> {
        Weights { graph: &self.model.graph, orders: &self.orders }
    }

    /// Both methods at the present settings.
    #[must_use]
    pub fn figures(&self) -> Figures {
        measure::figures(self.weights(), self.state())
    }

    /// The chosen method at the present settings.
    ///
    /// # Errors
    /// An empty scope, or an amount that does not fit.
    pub fn outcome(&self) -> Result<Outcome, PruneError> {
        let state = self.state();
        measure::outcome(self.weights(), state, &state.settings.scope(&self.model.graph), state.settings.method)
    }

    /// Makes masks on `device` from now on: on a GPU with its kernels, otherwise on the host.
    pub fn use_device(&mut self, device: ComputeDevice) {
        self.device = Some(device);
        self.gpu = None;
        self.network = None;
    }

    /// Where masks of the present scope are made: the adapter's name, or `CPU`.
    #[must_use]
    pub fn device_name(&self) -> &str {
        self.mask_device().map_or("CPU", |d| d.name.as_str())
    }

    /// Where the network runs: the adapter's name, or `CPU`.
    #[must_use]
    pub fn network_device(&self) -> &str {
        self.device.as_ref().map_or("CPU", |d| d.name.as_str())
    }

    /// The GPU that can make the masks. Doubles have no place on it: where they are in the scope or changed, the host prunes.
    fn mask_device(&self) -> Option<&ComputeDevice> {
        let device = self.device.as_ref().filter(|d| d.is_gpu)?;
        let (graph, state) = (&self.model.graph, self.state());
        let is_wide = |id: ParameterId| graph.parameter(id).dtype == Dtype::F64;
        let is_changed = |id: &ParameterId| state.masked[id.0] > 0 || state.fixed[id.0] > 0;
        let scope = state.settings.scope(graph);
        let mut concerned = (0..graph.parameters.len()).map(ParameterId).filter(is_changed).chain(scope);
        (!concerned.any(is_wide)).then_some(device)
    }

    /// The chosen method at the present settings, found on the device in use. On a GPU the kernels find cut, ties and numbers,
    /// and the host's are compared with them.
    ///
    /// # Errors
    /// As [`Session::outcome`], and [`SessionError::Device`].
    pub fn outcome_on_device(&mut self) -> Result<Outcome, SessionError> {
        let outcome = self.outcome()?;
        let Some(device) = self.mask_device().cloned() else { return Ok(outcome) };
        let found = self.with_gpu(&device, |gpu, session| gpu.prune(session, &outcome))?;
        Ok(Outcome { cut: if outcome.method == Method::Global { found.cut } else { None }, ties: found.ties, ..outcome })
    }

    /// Lends the GPU's copy of the weights, made when first asked for; after a failure it is made anew.
    fn with_gpu<T>(
        &mut self,
        device: &ComputeDevice,
        act: impl FnOnce(&mut DeviceMasks, &Self) -> Result<T, DeviceError>,
    ) -> Result<T, SessionError> {
        let mut gpu = match self.gpu.take() {
            Some(gpu) => gpu,
            None => DeviceMasks::new(&self.model, device)?,
        };
        let result = act(&mut gpu, self)?;
        self.gpu = Some(gpu);
        Ok(result)
    }

    /// Changes what is set.
    ///
    /// # Errors
    /// An amount that the chosen method cannot apply to the scope; nothing changes. An empty scope is allowed.
    pub fn set(&mut self, settings: Settings, step: Step) -> Result<(), SessionError> {
        let state = State { settings, ..self.state().clone() };
        let scope = state.settings.scope(&self.model.graph);
        match measure::outcome(self.weights(), &state, &scope, state.settings.method) {
            Ok(_) | Err(PruneError::EmptyScope | PruneError::Quantized { .. }) => {
                self.history.push(step, state);
                Ok(())
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Ends a drag of the slider, so that the next one is a step of its own.
    pub fn end_drag(&mut self) {
        self.history.close();
    }

    /// Keeps the present mask and starts the amount again at nothing: what comes next applies to what is left, as PyTorch's
    /// `PruningContainer` does.
    ///
    /// # Errors
    /// As [`Session::outcome`].
    pub fn apply(&mut self) -> Result<(), SessionError> {
        let outcome = self.outcome()?;
        let state = self.state();
        let state = State { settings: without_amount(&state.settings), masked: outcome.masked.into(), fixed: state.fixed.clone() };
        self.history.push(Step::Apply, state);
        Ok(())
    }

    /// Makes the present mask permanent, as `prune.remove` does on every parameter.
    ///
    /// # Errors
    /// As [`Session::outcome`].
    pub fn fix(&mut self) -> Result<(), SessionError> {
        let outcome = self.outcome()?;
        let state = self.state();
        let fixed = state.fixed.iter().zip(&outcome.masked).map(|(&f, &m)| f.max(m)).collect();
        let state = State { settings: without_amount(&state.settings), masked: vec![0; self.orders.len()].into(), fixed };
        self.history.push(Step::Fix, state);
        Ok(())
    }

    /// Forgets masks and amount; what is fixed stays fixed.
    pub fn reset(&mut self) {
        let state = self.state();
        let state =
            State { settings: without_amount(&state.settings), masked: vec![0; self.orders.len()].into(), fixed: state.fixed.clone() };
        self.history.push(Step::Reset, state);
    }

    /// Goes back one step.
    ///
    /// # Errors
    /// [`SessionError::NoStep`]
    pub fn undo(&mut self) -> Result<Step, SessionError> {
        self.history.undo().ok_or(SessionError::NoStep { what: "undo" })
    }

    /// Takes an undone step again.
    ///
    /// # Errors
    /// [`SessionError::NoStep`]
    pub fn redo(&mut self) -> Result<Step, SessionError> {
        self.history.redo().ok_or(SessionError::NoStep { what: "redo" })
    }

    /// Whether something was fixed or kept since the model was opened or saved.
    #[must_use]
    pub fn is_unsaved(&self) -> bool {
        let state = self.state();
        (&state.fixed, &state.masked) != (&self.saved.0, &self.saved.1)
    }

    /// Fixed elements and mask of one parameter, when the mask prunes `masked` of its elements.
    fn parameter_masks(&self, id: ParameterId, values: &Values, masked: u64) -> Option<ParameterMasks> {
        let order = self.orders[id.0].as_ref()?;
        let fixed_count = self.state().fixed[id.0];
        let fixed = prune::smallest(values, order, fixed_count);
        let mask = if masked >= fixed_count.max(order.zeros()) || fixed_count == 0 {
            prune::smallest(values, order, masked)
        } else {
            prune::first_zeros(values, &fixed, masked)
        };
        Some(ParameterMasks { fixed, mask })
    }

    /// Masks of all parameters that are in the scope or changed, at the present settings, made on the device in use.
    ///
    /// # Errors
    /// As [`Session::outcome`], and [`SessionError::Device`]; an empty scope is no error when something was pruned before.
    pub fn masks(&mut self) -> Result<Masks, SessionError> {
        let Some(device) = self.mask_device().cloned() else { return self.host_masks() };
        let outcome = match self.outcome() {
            Ok(outcome) => outcome,
            Err(PruneError::EmptyScope) => return self.host_masks(),
            Err(e) => return Err(e.into()),
        };
        self.with_gpu(&device, |gpu, session| {
            gpu.prune(session, &outcome)?;
            gpu.masks(session, &outcome)
        })
    }

    /// As [`Session::masks`], on the host whatever the device.
    ///
    /// # Errors
    /// As [`Session::outcome`]; an empty scope is no error when something was pruned before.
    pub fn host_masks(&self) -> Result<Masks, SessionError> {
        Ok(self.host_each(|id, _, masks| (id, masks))?.into_iter().collect())
    }

    /// What pruning takes from every parameter that is in the scope or changed, at the present settings. It ends early
    /// when `is_cancelled`, which is asked for every parameter.
    ///
    /// # Errors
    /// As [`Session::host_masks`]; [`SessionError::Cancelled`]
    pub fn losses(&self, is_cancelled: &(dyn Fn() -> bool + Sync)) -> Result<Vec<Loss>, SessionError> {
        let graph = &self.model.graph;
        let one = |id: ParameterId, values: Values, masks: ParameterMasks| {
            (!is_cancelled()).then(|| Loss::new(id, graph.parameter(id), &values, &masks.zeroed()))
        };
        self.host_each(one)?.into_iter().collect::<Option<Vec<Loss>>>().ok_or(SessionError::Cancelled)
    }

    /// What `make` makes of every parameter that is in the scope or changed, of its values as opened and its masks.
    fn host_each<T: Send>(&self, make: impl Fn(ParameterId, Values, ParameterMasks) -> T + Sync) -> Result<Vec<T>, SessionError> {
        let state = self.state();
        let scope = state.settings.scope(&self.model.graph);
        let masked = match self.outcome() {
            Ok(outcome) => outcome.masked,
            Err(PruneError::EmptyScope) if state.fixed.iter().chain(state.masked.iter()).any(|&n| n > 0) => state.masked.to_vec(),
            Err(e) => return Err(e.into()),
        };
        let wanted: Vec<ParameterId> = (0..masked.len())
            .map(ParameterId)
            .filter(|id| scope.binary_search(id).is_ok() || masked[id.0] > 0 || state.fixed[id.0] > 0)
            .collect();
        let one = |&id: &ParameterId| -> Result<Option<T>, SessionError> {
            let Some(values) = self.model.file.floats(self.model.graph.parameter(id).tensor)? else { return Ok(None) };
            Ok(self.parameter_masks(id, &values, masked[id.0]).map(|masks| make(id, values, masks)))
        };
        let mut made = Vec::with_capacity(wanted.len());
        for batch in self.model.batches(&wanted) {
            made.extend(batch.par_iter().with_max_len(1).filter_map(|id| one(id).transpose()).collect::<Result<Vec<T>, _>>()?);
        }
        Ok(made)
    }

    /// A close look at one parameter under the chosen method; `None` where it has no float elements. What does not depend on the
    /// mask is kept for the next look at the same parameter.
    ///
    /// # Errors
    /// External data that can no longer be read.
    pub fn detail(&mut self, id: ParameterId) -> Result<Option<Detail>, OpenError> {
        let masked = self.outcome().map_or(self.state().masked[id.0], |o| o.masked[id.0]);
        let key = (id, self.state().fixed[id.0]);
        if self.subject.as_ref().is_none_or(|(known, _)| *known != key) {
            let parameter = self.model.graph.parameter(id);
            let Some(mut values) = self.model.file.floats(parameter.tensor)? else { return Ok(None) };
            let Some(masks) = self.parameter_masks(id, &values, masked) else { return Ok(None) };
            masks.fixed.apply(&mut values);
            self.subject = Some((key, Subject::new(parameter, values)));
        }
        let Some((_, subject)) = self.subject.as_ref() else { return Ok(None) };
        Ok(self.mask_after_fixing(id, subject.values(), masked)?.map(|mask| subject.under(&mask)))
    }

    /// The mask of `masked` elements on values in which what was fixed is zero already; `None` where they cannot be pruned.
    fn mask_after_fixing(&self, id: ParameterId, values: &Values, masked: u64) -> Result<Option<Mask>, OpenError> {
        let Some(order) = self.orders[id.0].as_ref() else { return Ok(None) };
        if self.state().fixed[id.0] == 0 {
            return Ok(Some(prune::smallest(values, order, masked)));
        }
        let originals = self.model.file.floats(self.model.graph.parameter(id).tensor)?;
        Ok(originals.and_then(|originals| self.parameter_masks(id, &originals, masked)).map(|masks| masks.mask))
    }

    /// Saves the model as pruned at the present settings.
    ///
    /// # Errors
    /// [`SessionError::Export`], [`SessionError::Prune`]
    pub fn save(&mut self, path: &Path, format: Format, overwrite: Overwrite) -> Result<Report, SessionError> {
        let masks = self.masks()?;
        let report = export::save(&self.model.file, &self.model.graph, &masks, format, path, overwrite)?;
        let state = self.state();
        self.saved = (state.fixed.clone(), state.masked.clone());
        Ok(report)
    }

    /// The table of figures as CSV.
    ///
    /// # Errors
    /// [`SessionError::Export`]
    pub fn save_table(&self, path: &Path, overwrite: Overwrite) -> Result<PathBuf, SessionError> {
        let text = export::csv(&self.model.graph, &self.figures());
        crate::atomic::write(path, overwrite, |out| std::io::Write::write_all(out, text.as_bytes())).map_err(ExportError::from)?;
        Ok(path.to_owned())
    }
}

fn without_amount(settings: &Settings) -> Settings {
    Settings { amount: prune::Amount::Fraction(0.0), ..settings.clone() }
}
