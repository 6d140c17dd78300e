//! Channels that can really be removed: which slices of which parameters fall together, which of them go, and the smaller model.
//!
//! [`Channels::find`] follows the places of every dimension through the graph, operator by operator. A *unit* is what goes at once: a
//! channel of one layer with all that falls with it. Units with the same slices of the same parameters make a [`Group`].
//!
//! [`Channels::choose`] decides which units go, [`Channels::masks`] are the masks of the network in which they are zero, its masked
//! twin, and [`Channels::smaller`] is the model without them, which answers as the twin does.

mod atoms;
mod choice;
mod copies;
mod follow;
mod ints;
mod numbers;
mod remove;
mod reshape;
mod rules;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rayon::prelude::*;

use crate::graph::{ChannelAxis, Graph, Kind, Layout, ParameterId, ValueId};
use crate::network::{Trace, Work};
use crate::onnx::{OnnxFile, TensorId};
use crate::prune::Mask;
use atoms::PlaceLabel;
pub use choice::{ByHand, ChannelAmount, ChannelScore, Choice, Granularity, Of, Spread};
use follow::Follow;
pub use remove::{RemoveError, Smaller};

/// Number of a unit.
pub type Unit = usize;

/// What the places along a dimension hang on: a place is gone as soon as one of its units is.
type Places = Arc<[Vec<u32>]>;

/// What tells the length of a dimension that is left.
#[derive(Debug)]
enum Length {
    /// So many places stay, and for every unit of a group that is left so many more.
    Sum(usize, Vec<(usize, usize)>),
    /// A place hangs on several units.
    Product(Places),
}

impl Length {
    fn of(places: &Places, group_of: &[usize], sizes: &[usize]) -> Self {
        if places.iter().any(|place| place.len() > 1) {
            return Self::Product(places.clone());
        }
        let mut by_group: BTreeMap<usize, usize> = BTreeMap::new();
        for &unit in places.iter().flatten() {
            *by_group.entry(group_of[unit as usize]).or_default() += 1;
        }
        let stays = places.iter().filter(|place| place.is_empty()).count();
        // Units of a group have equally many slices.
        Self::Sum(stays, by_group.into_iter().map(|(group, count)| (group, count / sizes[group])).collect())
    }

    fn left(&self, kept: &[usize], removed: &Removed) -> usize {
        match self {
            Self::Sum(stays, groups) => stays + groups.iter().map(|&(group, slices)| slices * kept[group]).sum::<usize>(),
            Self::Product(places) => left(places, removed),
        }
    }
}

/// Units with the same slices of the same parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The module whose outputs they are, with a number where it has several groups.
    pub name: String,
    /// What goes with each of them.
    pub members: Vec<Member>,
    /// Its units, in the order of the module's outputs.
    pub units: Vec<Unit>,
}

/// Slices that go with every unit of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The tensor.
    pub tensor: TensorId,
    /// The value that it is there.
    value: ValueId,
    /// The module that owns it, or the tensor's own name.
    pub name: String,
    /// Along which of its dimensions.
    pub axis: usize,
    /// How many slices go with one unit.
    pub slices: usize,
    /// What these slices are.
    pub side: &'static str,
}

/// Channels of a layer that stay, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frozen {
    /// The module.
    pub name: String,
    /// So many of its outputs.
    pub channels: usize,
    /// Of so many.
    pub of: usize,
    /// Why.
    pub reason: String,
    /// Whether they are what the network answers, and so are no channels that anybody would remove.
    pub is_answer: bool,
}

/// What a model holds and does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Size {
    /// Elements of all parameters.
    pub parameters: u64,
    /// Multiply-accumulates of one pass, counted as [`Work`] does.
    pub macs: u64,
    /// Outputs of all layers that can lose some.
    pub channels: u64,
}

/// The channels of one network.
#[derive(Debug)]
pub struct Channels {
    graph: Arc<Graph>,
    /// Groups in graph order.
    pub groups: Vec<Group>,
    /// What stays.
    pub frozen: Vec<Frozen>,
    /// Channels, those that fall together counted once, less what the network answers with.
    counted: usize,
    /// Those of them that stay.
    staying: usize,
    /// Group of every unit.
    group_of: Vec<usize>,
    /// Dimensions of the file's tensors that can become shorter.
    tensors: BTreeMap<ValueId, Vec<Option<Places>>>,
    /// Those of values.
    values: HashMap<ValueId, Vec<Option<Places>>>,
    trace: Trace,
    work: Work,
    uses: HashMap<TensorId, Vec<ValueId>>,
    /// Lengths of the dimensions of every parameter that only one value is.
    lengths: Vec<Option<Vec<Option<Length>>>>,
    /// Dimensions of which nothing might be left though every group keeps some of its units: places hang on several units, or on a part of
    /// a group's.
    endangered: Vec<Places>,
}

/// Which units go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed(Vec<bool>);

impl Removed {
    /// Whether this one goes.
    #[must_use]
    pub fn contains(&self, unit: Unit) -> bool {
        self.0[unit]
    }

    /// How many go.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.iter().filter(|&&gone| gone).count()
    }
}

fn is_gone(place: &[u32], removed: &Removed) -> bool {
    place.iter().any(|&unit| removed.0[unit as usize])
}

/// How many places of a dimension are left.
fn left(places: &Places, removed: &Removed) -> usize {
    places.iter().filter(|place| !is_gone(place, removed)).count()
}

impl Channels {
    /// Finds what falls together. `trace` is what one pass showed, see [`crate::network::Network::work_and_trace`]; `work` is
    /// what it did.
    #[must_use]
    pub fn find(graph: &Arc<Graph>, file: &OnnxFile, mut trace: Trace, work: Work) -> Self {
        let graph = Arc::new(follow::apart(graph, file));
        trace.shapes.resize(graph.values.len(), None);
        let mut follow = Follow::new(&graph, file, &trace);
        follow.run();
        follow.freeze_last();
        let layers = layers(&mut follow);
        let mut numbers: HashMap<u32, u32> = HashMap::new();
        let tensors = follow.tensors.clone();
        let mut known: HashMap<*const PlaceLabel, Places> = HashMap::new();
        let mut numbered = |follow: &mut Follow, dim: &reshape::Dim| -> Option<Places> {
            let labels = dim.as_ref()?;
            if let Some(places) = known.get(&labels.as_ptr()).filter(|places| places.len() == labels.len()) {
                return places.iter().any(|place| !place.is_empty()).then(|| places.clone());
            }
            let mut of = |label: &PlaceLabel| -> Vec<u32> {
                let resolved = follow.atoms.resolve(*label);
                let number = |&atom: &u32| {
                    let next = numbers.len() as u32;
                    *numbers.entry(atom).or_insert(next)
                };
                resolved.atoms().iter().map(number).collect()
            };
            let places: Places = labels.iter().map(&mut of).collect();
            known.insert(labels.as_ptr(), places.clone());
            places.iter().any(|place| !place.is_empty()).then_some(places)
        };
        // Outputs of layers first, in graph order, so that units are numbered as they are met.
        for (tensor, axis) in &layers.outputs {
            let dim = tensors[tensor][*axis].clone();
            let _ = numbered(&mut follow, &dim);
        }
        let tensors: BTreeMap<ValueId, Vec<Option<Places>>> =
            tensors.iter().map(|(&id, dims)| (id, dims.iter().map(|dim| numbered(&mut follow, dim)).collect())).collect();
        let values = follow.take_values();
        let values: HashMap<ValueId, Vec<Option<Places>>> =
            values.iter().map(|(&id, dims)| (id, dims.iter().map(|dim| numbered(&mut follow, dim)).collect())).collect();
        let (groups, group_of) = groups(&graph, file, &tensors, numbers.len());
        let Layers { frozen, channels, staying, .. } = layers;
        let uses = uses(&graph, &tensors);
        let sizes: Vec<usize> = groups.iter().map(|group| group.units.len()).collect();
        let lengths = |tensor: &TensorId| -> Option<Vec<Option<Length>>> {
            let [value] = uses.get(tensor)?[..] else { return None };
            let of = |places: &Option<Places>| places.as_ref().map(|places| Length::of(places, &group_of, &sizes));
            Some(tensors.get(&value)?.iter().map(of).collect())
        };
        let lengths = graph.parameters.iter().map(|parameter| lengths(&parameter.tensor)).collect();
        let dims = tensors.values().chain(values.values()).flatten().flatten();
        let mut seen = std::collections::HashSet::new();
        // One that holds a whole group keeps what the group keeps.
        let is_safe = |places: &Places| {
            let mut held = vec![BTreeSet::new(); sizes.len()];
            for place in places.iter() {
                match place[..] {
                    [] => return true,
                    [unit] => drop(held[group_of[unit as usize]].insert(unit)),
                    _ => return false,
                }
            }
            held.iter().zip(&sizes).any(|(held, &size)| held.len() == size)
        };
        let endangered = dims.filter(|dim| seen.insert(dim.as_ptr()) && !is_safe(dim)).cloned().collect();
        Self { graph, groups, frozen, counted: channels, staying, group_of, tensors, values, trace, work, uses, lengths, endangered }
    }

    /// How many units there are.
    #[must_use]
    pub fn units(&self) -> usize {
        self.group_of.len()
    }

    /// Nothing removed.
    #[must_use]
    pub fn nothing(&self) -> Removed {
        Removed(vec![false; self.units()])
    }

    /// Channels that stay, less what the network answers with, as a share of all, those that fall together counted once, 0..=1.
    #[must_use]
    pub fn frozen_share(&self) -> f64 {
        self.staying as f64 / self.counted.max(1) as f64
    }

    /// The number of elements that a parameter has left; of one that is stored once for several uses, those of all that are left of it.
    fn elements(&self, id: ParameterId, kept: &[usize], removed: &Removed) -> u64 {
        let parameter = self.graph.parameter(id);
        if let Some(lengths) = &self.lengths[id.0] {
            let length =
                |(length, &size): (&Option<Length>, &usize)| length.as_ref().map_or(size, |length| length.left(kept, removed)) as u64;
            return lengths.iter().zip(&parameter.shape).map(length).product();
        }
        let Some(values) = self.uses.get(&parameter.tensor) else { return parameter.elements as u64 };
        // Which places are left, nothing where all are.
        let kept = |value: &ValueId| -> Option<Vec<bool>> {
            let places = self.tensors.get(value)?.iter().flatten().next()?;
            let kept: Vec<bool> = places.iter().map(|place| !is_gone(place, removed)).collect();
            kept.contains(&false).then_some(kept)
        };
        let different: BTreeSet<Option<Vec<bool>>> = values.iter().map(kept).collect();
        let count = |kept: &Option<Vec<bool>>| match kept {
            Some(kept) => kept.iter().filter(|&&kept| kept).count(),
            None => parameter.elements,
        };
        different.iter().map(count).sum::<usize>() as u64
    }

    /// Which places along the channels of a value stay; `None` where all of them always do.
    pub(crate) fn staying(&self, value: ValueId, channels: ChannelAxis, removed: &Removed) -> Option<Vec<bool>> {
        let dims = self.values.get(&value)?;
        let places = dims.get(channels.dimension(dims.len())?)?.as_ref()?;
        Some(places.iter().map(|place| !is_gone(place, removed)).collect())
    }

    /// How many units every group keeps.
    #[must_use]
    pub fn kept(&self, removed: &Removed) -> Vec<usize> {
        let mut kept = vec![0; self.groups.len()];
        for (&group, gone) in self.group_of.iter().zip(&removed.0) {
            kept[group] += usize::from(!gone);
        }
        kept
    }

    /// What is left of the network.
    #[must_use]
    pub fn size(&self, removed: &Removed) -> Size {
        let kept = self.kept(removed);
        let elements: Vec<u64> = (0..self.graph.parameters.len()).map(|i| self.elements(ParameterId(i), &kept, removed)).collect();
        let channels = kept.iter().map(|&kept| kept as u64).sum();
        Size { parameters: elements.iter().sum(), macs: self.work.of(|id| elements[id.0]), channels }
    }

    /// Masks of the masked twin: every slice that goes, of every parameter.
    #[must_use]
    pub fn masks(&self, removed: &Removed) -> BTreeMap<ParameterId, Mask> {
        let one = |i: usize| -> Option<(ParameterId, Mask)> {
            let parameter = &self.graph.parameters[i];
            // What several layers hold in common is not masked: what they feed is.
            let [value] = self.uses.get(&parameter.tensor)?[..] else { return None };
            let dims = self.tensors.get(&value)?;
            let gone: Vec<Option<Vec<bool>>> =
                dims.iter().map(|dim| dim.as_ref().map(|places| places.iter().map(|place| is_gone(place, removed)).collect())).collect();
            if !gone.iter().flatten().flatten().any(|&gone| gone) {
                return None;
            }
            let mut words = vec![0_u64; parameter.elements.div_ceil(64)];
            for (axis, gone) in gone.iter().enumerate().filter_map(|(axis, gone)| Some((axis, gone.as_ref()?))) {
                let step: usize = parameter.shape[axis + 1..].iter().product();
                for run in (0..parameter.elements / step).filter(|run| gone[run % gone.len()]) {
                    for i in run * step..(run + 1) * step {
                        words[i / 64] |= 1 << (i % 64);
                    }
                }
            }
            Some((ParameterId(i), Mask::from_words(words, parameter.elements)))
        };
        (0..self.graph.parameters.len()).into_par_iter().filter_map(one).collect()
    }
}

/// The values that every tensor is that can become smaller.
fn uses(graph: &Graph, tensors: &BTreeMap<ValueId, Vec<Option<Places>>>) -> HashMap<TensorId, Vec<ValueId>> {
    let tensor = |value: &ValueId| graph.constants[value.0];
    let mut uses: HashMap<TensorId, Vec<ValueId>> = tensors.keys().filter_map(|value| Some((tensor(value)?, Vec::new()))).collect();
    let read: BTreeSet<ValueId> = graph.nodes.iter().flat_map(|node| node.inputs.iter().flatten().copied()).collect();
    for value in read {
        if let Some(known) = tensor(&value).and_then(|id| uses.get_mut(&id)) {
            known.push(value);
        }
    }
    uses
}

/// Outputs of layers.
struct Layers {
    outputs: Vec<(ValueId, usize)>,
    frozen: Vec<Frozen>,
    channels: usize,
    staying: usize,
}

/// The dimension of a weight along which its outputs lie.
fn output_axis(graph: &Graph, id: ParameterId) -> Option<usize> {
    let parameter = graph.parameter(id);
    let is_layer = parameter.kind == Kind::Weight && parameter.shape.len() > 1;
    is_layer.then_some(())?;
    match parameter.layout {
        Layout::OutFirst => Some(0),
        Layout::InFirst if graph.owner(id).kind.starts_with("ConvTranspose") => Some(1),
        Layout::InFirst => Some(parameter.shape.len() - 1),
        Layout::Mixed => None,
    }
}

/// All layers, and those whose outputs stay.
fn layers(follow: &mut Follow) -> Layers {
    let graph = follow.graph;
    let mut found = Layers { outputs: Vec::new(), frozen: Vec::new(), channels: 0, staying: 0 };
    let mut counted = std::collections::HashSet::new();
    for id in (0..graph.parameters.len()).map(ParameterId) {
        let Some(axis) = output_axis(graph, id) else { continue };
        let parameter = graph.parameter(id);
        let of = parameter.shape[axis];
        let held = follow.tensors.iter().find(|(value, _)| graph.constants[value.0] == Some(parameter.tensor));
        let Some((value, labels)) = held.and_then(|(&value, dims)| Some((value, dims[axis].clone()?))) else { continue };
        found.outputs.push((value, axis));
        let staying: Vec<PlaceLabel> = labels.iter().copied().filter(|&label| follow.atoms.resolve(label).stays()).collect();
        let reason = staying.first().and_then(|label| label.atoms().first().copied()).and_then(|atom| follow.atoms.why_stays(atom));
        let reason = reason.unwrap_or_else(|| "nothing tells why".to_owned());
        let is_answer = reason == follow::ANSWERS;
        if is_answer {
            let free = of - staying.len();
            found.channels += free;
        } else {
            for label in labels.iter() {
                let Some(&atom) = label.atoms().first() else { continue };
                let stays = follow.atoms.resolve(*label).stays();
                let twin = follow.atoms.twin(atom);
                if counted.insert(twin) {
                    found.channels += 1;
                    found.staying += usize::from(stays);
                }
            }
        }
        if !staying.is_empty() {
            found.frozen.push(Frozen { name: graph.owner(id).name.clone(), channels: staying.len(), of, reason, is_answer });
        }
    }
    found
}

/// Units with the same slices of the same tensors.
fn groups(graph: &Graph, file: &OnnxFile, tensors: &BTreeMap<ValueId, Vec<Option<Places>>>, units: usize) -> (Vec<Group>, Vec<usize>) {
    let mut slices: Vec<BTreeMap<(ValueId, usize), usize>> = vec![BTreeMap::new(); units];
    for (&id, dims) in tensors {
        for (axis, places) in dims.iter().enumerate().filter_map(|(axis, dim)| Some((axis, dim.as_ref()?))) {
            for &unit in places.iter().flatten() {
                *slices[unit as usize].entry((id, axis)).or_default() += 1;
            }
        }
    }
    let owners: HashMap<TensorId, ParameterId> = graph.parameters.iter().enumerate().map(|(i, p)| (p.tensor, ParameterId(i))).collect();
    let mut numbers: HashMap<&BTreeMap<(ValueId, usize), usize>, usize> = HashMap::new();
    let (mut groups, mut group_of): (Vec<Group>, Vec<usize>) = (Vec::new(), Vec::new());
    for (unit, slices) in slices.iter().enumerate() {
        let next = groups.len();
        let number = *numbers.entry(slices).or_insert(next);
        if number == next {
            let mut members: Vec<Member> =
                slices.iter().map(|(&(id, axis), &slices)| member(graph, file, &owners, id, axis, slices)).collect();
            members.sort_by_key(|member| owners.get(&member.tensor).map_or(usize::MAX, |id| id.0));
            let maker = members.iter().find(|member| member.side == OUTPUTS).or_else(|| members.first());
            let name = maker.map_or_else(String::new, |member| member.name.clone());
            groups.push(Group { name, members, units: Vec::new() });
        }
        groups[number].units.push(unit);
        group_of.push(number);
    }
    let mut seen: HashMap<String, usize> = HashMap::new();
    for group in &mut groups {
        let count = seen.entry(group.name.clone()).or_default();
        *count += 1;
        if *count > 1 {
            group.name = format!("{} #{count}", group.name);
        }
    }
    (groups, group_of)
}

/// What slices of a weight along its outputs are.
const OUTPUTS: &str = "outputs";

/// What a normalisation multiplies a channel by.
const SCALE: &str = "scale";

fn member(graph: &Graph, file: &OnnxFile, owners: &HashMap<TensorId, ParameterId>, value: ValueId, axis: usize, slices: usize) -> Member {
    let tensor = graph.constants[value.0].unwrap_or(TensorId(0));
    let Some(&id) = owners.get(&tensor) else {
        let buffer = graph.modules.iter().find(|module| module.buffers.iter().any(|(_, id)| *id == tensor));
        let name = buffer.map_or_else(|| file.tensor(tensor).name.clone(), |module| module.name.clone());
        return Member { tensor, value, name, axis, slices, side: if buffer.is_some() { "statistics" } else { "constant" } };
    };
    let parameter = graph.parameter(id);
    let side = match output_axis(graph, id) {
        Some(output) if output == axis => OUTPUTS,
        Some(_) => "inputs",
        None if parameter.kind == Kind::Bias => "bias",
        None => SCALE,
    };
    Member { tensor, value, name: graph.owner(id).name.clone(), axis, slices, side }
}
