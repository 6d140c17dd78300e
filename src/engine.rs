//! What a model can be asked, whatever was done to it: figures, masks, weights, networks, files.
//!
//! An [`Engine`] knows how: it holds the model, the rankings of its elements, the device, and what was made on it once for all. What
//! was done to the model is a [`State`], which every call takes. So one engine serves the window, the measurer and the commands at
//! once, and its weights go up to a GPU once.

mod channels;
mod cost;
mod gpu;
mod looking;
mod masks;
mod model;
mod networks;
mod shrink;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use crate::atomic::Overwrite;
use crate::channels::RemoveError;
use crate::device::ComputeDevice;
use crate::export::{self, Changes, ExportError, Format, ParameterMasks, Report};
use crate::graph::ParameterId;
use crate::measure::{self, Figures, Outcome};
use crate::network::{Network, NetworkError};
use crate::onnx::{Dtype, OpenError, Values};
use crate::prune::device::DeviceError;
use crate::prune::{
    self, AmountError, Masked, Method, Order, Pattern, PruneError, Ranking, Recipe, Score, Standing, State, Unordered, Weights,
};
use crate::watch::Watch;
use gpu::Gpu;
use looking::Looked;
pub use model::{Model, ModelId};
pub use shrink::{ChannelPlan, Chosen, FoundChannels, Removal};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The file could not be opened, or can no longer be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The recipe cannot be applied.
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
    /// Channels could not be removed.
    #[error(transparent)]
    Remove(RemoveError),
    /// A network without channels does not answer as the one in which they are zero.
    #[error("the smaller network does not answer as the masked one does (a difference of {0:.1e}): a fault of this program")]
    Differs(f64),
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
}

impl From<NetworkError> for EngineError {
    fn from(error: NetworkError) -> Self {
        match error {
            NetworkError::Cancelled => Self::Cancelled,
            error => Self::Network(error),
        }
    }
}

/// One ranking per parameter of the graph; `None` where it cannot be pruned.
type Rankings = Arc<[Option<Arc<Ranking>>]>;

/// How a parameter stands where that is no matter of prefixes of its ranking as opened, and in which states it does.
#[derive(Debug)]
struct Derived {
    weights: Weights,
    kept: Masked,
    /// `None` where its elements go one by one in the order of their magnitudes.
    order: Option<(Score, Pattern)>,
    standing: Standing,
}

/// Knows how to prune, run, measure and save one model. Shared between threads; see the module's head.
#[derive(Debug)]
pub struct Engine {
    model: Arc<Model>,
    rankings: Rankings,
    /// The latest of every parameter.
    derived: Mutex<HashMap<ParameterId, Derived>>,
    device: Option<ComputeDevice>,
    gpu: Mutex<Gpu>,
    /// The dense network on the device, made when it is first run.
    network: Mutex<Option<Network>>,
    /// The parameter that was looked at last.
    looked: Mutex<Option<Looked>>,
}

impl Engine {
    /// Opens a file and ranks the elements of its parameters.
    ///
    /// # Errors
    /// [`EngineError::Open`], [`EngineError::Cancelled`]
    pub fn open(path: &Path, watch: &dyn Watch) -> Result<Self, EngineError> {
        let model = Arc::new(Model::open(path)?);
        let rankings = model.rank(watch)?;
        Ok(Self::new(model, rankings))
    }

    /// From a model and what [`Model::rank`] made of it. The network runs on the CPU, and masks are made there.
    #[must_use]
    pub fn new(model: Arc<Model>, rankings: Vec<Option<Ranking>>) -> Self {
        Self::with(model, rankings.into_iter().map(|ranking| ranking.map(Arc::new)).collect(), None)
    }

    /// The same model on `device`: networks run there, and a GPU makes the masks with its kernels.
    #[must_use]
    pub fn on(&self, device: ComputeDevice) -> Self {
        Self::with(self.model.clone(), self.rankings.clone(), Some(device))
    }

    fn with(model: Arc<Model>, rankings: Rankings, device: Option<ComputeDevice>) -> Self {
        Self {
            model,
            rankings,
            derived: Mutex::default(),
            device,
            gpu: Mutex::default(),
            network: Mutex::default(),
            looked: Mutex::default(),
        }
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The model as opened, under the recipe that a person starts with.
    #[must_use]
    pub fn opened(&self) -> State {
        State::new(Recipe::new(&self.model.graph), self.rankings.len())
    }

    /// The elements of a parameter before those that `state` fixed and masked are zero: as opened, or as they were replaced. `None` where it
    /// has no float elements.
    ///
    /// # Errors
    /// External data that can no longer be read.
    pub fn values(&self, state: &State, id: ParameterId) -> Result<Option<Values>, OpenError> {
        match state.weights[id.0].replaced() {
            Some(replaced) => Ok(Some(replaced.values().as_ref().clone())),
            None => self.model.file.floats(self.model.graph.parameter(id).tensor),
        }
    }

    /// How a parameter stands before the step of `state`; `None` where it cannot be pruned, or can no longer be read.
    fn standing(&self, state: &State, id: ParameterId) -> Option<Standing> {
        let ranking = self.rankings[id.0].as_ref()?;
        if let Some((fixed, masked)) = self.prefixes(state, id) {
            return Some(Standing { ranking: ranking.clone(), fixed, masked, apart: 0, order: None });
        }
        self.derived(state, id).ok().flatten()
    }

    fn standings(&self, state: &State) -> Vec<Option<Standing>> {
        let ids = 0..self.rankings.len();
        let prefixes: Option<Vec<(u64, u64)>> = ids.clone().map(|i| self.prefixes(state, ParameterId(i))).collect();
        if let Some(prefixes) = prefixes {
            let standing = |(ranking, (fixed, masked)): (&Option<Arc<Ranking>>, _)| {
                ranking.clone().map(|ranking| Standing { ranking, fixed, masked, apart: 0, order: None })
            };
            return self.rankings.iter().zip(prefixes).map(standing).collect();
        }
        ids.into_par_iter().with_max_len(1).map(|i| self.standing(state, ParameterId(i))).collect()
    }

    /// How many of the first elements of a parameter's ranking as opened are fixed, and how many masked, where nothing else is and the next
    /// step takes the next ones.
    fn prefixes(&self, state: &State, id: ParameterId) -> Option<(u64, u64)> {
        let prefixes = state.weights[id.0].zeroed().prefix().zip(state.kept[id.0].prefix());
        prefixes.filter(|_| !state.recipe.orders(&self.model.graph, id))
    }

    /// How a parameter stands whose next elements are not the next ones of its ranking as opened.
    fn derived(&self, state: &State, id: ParameterId) -> Result<Option<Standing>, OpenError> {
        let (weights, kept, recipe) = (&state.weights[id.0], &state.kept[id.0], &state.recipe);
        let order = recipe.orders(&self.model.graph, id).then(|| (recipe.score.clone(), recipe.pattern));
        let is_known = |known: &&Derived| known.weights == *weights && known.kept == *kept && known.order == order;
        if let Some(known) = lock(&self.derived).get(&id).filter(is_known) {
            return Ok(Some(known.standing.clone()));
        }
        let parameter = self.model.graph.parameter(id);
        let Some(mut values) = self.values(state, id)? else { return Ok(None) };
        let Some(ParameterMasks { fixed, mask }) = self.earlier_masks(state, id, &values) else { return Ok(None) };
        fixed.apply(&mut values);
        let apart = mask.pruned();
        let standing = if let Some((score, pattern)) = &order {
            let unordered = Unordered { parameter, id, role: self.model.graph.owner(id).role, values: &values, kept: &mask };
            let Some(order) = Order::new(score, *pattern, unordered) else { return Ok(None) };
            Standing::in_order(Arc::new(order), apart)
        } else {
            let ranking = Arc::new(Ranking::of(&mask.left(&values), parameter.dtype));
            Standing { ranking, fixed: 0, masked: 0, apart, order: None }
        };
        let known = Derived { weights: weights.clone(), kept: kept.clone(), order, standing: standing.clone() };
        lock(&self.derived).insert(id, known);
        Ok(Some(standing))
    }

    /// What earlier steps fixed and masked in a parameter with these [`Engine::values`].
    fn earlier_masks(&self, state: &State, id: ParameterId, opened: &Values) -> Option<ParameterMasks> {
        let ranking = self.rankings[id.0].as_ref()?;
        let (kept, zeroed) = (&state.kept[id.0], state.weights[id.0].zeroed());
        let fixed = zeroed.mask(opened, ranking);
        let mask = match (zeroed.prefix(), kept.prefix()) {
            // Fixed elements are zeros, and so the first of the order in which masked ones were counted.
            (Some(count), Some(masked)) if count > 0 && masked < count.max(ranking.zeros()) => prune::first_zeros(opened, &fixed, masked),
            _ => kept.mask(opened, ranking),
        };
        Some(ParameterMasks { fixed, mask })
    }

    fn ranked<'a>(&'a self, standings: &'a [Option<Standing>]) -> measure::Ranked<'a> {
        measure::Ranked { graph: &self.model.graph, opened: &self.rankings, standings }
    }

    /// What each of `methods` does in `state`.
    #[must_use]
    pub fn figures(&self, state: &State, methods: &[Method]) -> Figures {
        measure::figures(self.ranked(&self.standings(state)), &state.recipe, methods)
    }

    /// As [`Engine::figures`]. On a GPU its kernels find cuts and ties, and the host's numbers are compared with theirs.
    ///
    /// # Errors
    /// [`EngineError::Device`]; a recipe that cannot be applied is part of the figures.
    pub fn figures_on_device(&self, state: &State, methods: &[Method]) -> Result<Figures, EngineError> {
        let mut figures = self.figures(state, methods);
        for &method in methods {
            if let Some(Ok(outcome)) = figures.outcomes.of_mut(method) {
                *outcome = self.checked_on_device(&state.under(method), outcome.clone())?;
            }
        }
        Ok(figures)
    }

    /// What the recipe of `state` does.
    ///
    /// # Errors
    /// An empty scope, or an amount that does not fit.
    pub fn outcome(&self, state: &State) -> Result<Outcome, PruneError> {
        measure::outcome(self.ranked(&self.standings(state)), &state.recipe)
    }

    /// As [`Engine::outcome`]. On a GPU its kernels find cut, ties and numbers, and the host's numbers are compared with them.
    ///
    /// # Errors
    /// As [`Engine::outcome`], and [`EngineError::Device`].
    pub fn outcome_on_device(&self, state: &State) -> Result<Outcome, EngineError> {
        self.checked_on_device(state, self.outcome(state)?)
    }

    fn checked_on_device(&self, state: &State, outcome: Outcome) -> Result<Outcome, EngineError> {
        let found = self.with_gpu(state, |gpu| gpu.prune(self, state, &outcome))?;
        Ok(match found {
            Some(found) => Outcome { cut: found.cut, ties: found.ties, ..outcome },
            None => outcome,
        })
    }

    /// Whether the recipe of `state` may stand: everything that it can be refused for, but for an empty scope, and for an amount
    /// that the method does not reach, which another method may.
    ///
    /// # Errors
    /// An amount that does not fit.
    pub fn check(&self, state: &State) -> Result<(), PruneError> {
        match self.outcome(state) {
            Ok(_)
            | Err(
                PruneError::EmptyScope
                | PruneError::Quantized { .. }
                | PruneError::Obstructed { .. }
                | PruneError::Amount(AmountError::Reach { .. }),
            ) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Where masks are made in `state`: the adapter's name, or `CPU`.
    #[must_use]
    pub fn mask_device(&self, state: &State) -> &str {
        self.gpu_for(state).map_or("CPU", |d| d.name.as_str())
    }

    /// Where the network runs: the adapter's name, or `CPU`.
    #[must_use]
    pub fn network_device(&self) -> &str {
        self.device.as_ref().map_or("CPU", |d| d.name.as_str())
    }

    /// The GPU that can make the masks. Doubles have no place on it: where they are in the scope or changed, the host prunes; so it
    /// does where the weights were found to exceed the GPU.
    fn gpu_for(&self, state: &State) -> Option<&ComputeDevice> {
        let device = self.device.as_ref().filter(|d| d.is_gpu)?;
        if matches!(*lock(&self.gpu), Gpu::TooSmall) {
            return None;
        }
        let graph = &self.model.graph;
        let is_wide = |id: ParameterId| graph.parameter(id).dtype == Dtype::F64;
        let changed = (0..graph.parameters.len()).filter(|&i| state.has_changed(i)).map(ParameterId);
        (!changed.chain(state.recipe.scope(graph)).any(is_wide)).then_some(device)
    }

    /// Saves the model as pruned in `state`.
    ///
    /// # Errors
    /// [`EngineError::Export`], [`EngineError::Prune`]
    pub fn save(&self, state: &State, path: &Path, format: Format, overwrite: Overwrite) -> Result<Report, EngineError> {
        let graph = &self.model.graph;
        let replaced = graph.parameters.iter().zip(state.weights.iter());
        let replaced = replaced.filter_map(|(parameter, weights)| Some((parameter.tensor, weights.replaced()?.values().clone())));
        let values = replaced.chain(state.statistics.iter().map(|(&id, values)| (id, values.clone()))).collect();
        let changes = Changes { masks: self.masks(state)?, values, biases: state.biases.clone() };
        Ok(export::save(&self.model.file, graph, &changes, format, path, overwrite)?)
    }
}

/// What a panic left locked is whole: nothing here is changed half.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
