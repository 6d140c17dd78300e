//! Which units go: how they are ranked, how the amount is spread over the groups, and what counts as the amount.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;

use super::{Channels, Group, Member, OUTPUTS, Removed, SCALE, Size, Unit};
use crate::graph::{Kind, ParameterId, Role};
use crate::onnx::{OpenError, TensorId, Values};
use crate::prune::chance;

/// Shares that are tried where every group loses the same.
const STEPS: usize = 4096;

/// What units are ranked by: what their slices weigh, the mean over the members of the group that are weights, relative to the mean over the
/// group's units, so that units of different groups compare. That is the group magnitude of Fang et al. 2023 (`DepGraph`), as Torch-Pruning
/// works it out: biases do not count, nor do filters of depthwise convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelScore {
    /// Sums of magnitudes.
    L1,
    /// Sums of squares.
    #[default]
    L2,
    /// Magnitudes of the scales of normalisations alone, as in Liu et al. 2017; groups without any are ranked by L2.
    Scale,
    /// Chance, of this seed.
    Random(u64),
}

/// How the amount is spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Spread {
    /// One ranking over all groups.
    #[default]
    Global,
    /// The same share of each group.
    Each,
}

/// What the amount is a share of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Of {
    /// Units of all groups.
    Channels,
    /// Elements of all parameters.
    Parameters,
    /// Multiply-accumulates of one pass.
    #[default]
    Macs,
}

/// How much goes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ChannelAmount {
    /// The share, 0..=1.
    pub share: f64,
    /// Of what.
    pub of: Of,
}

/// What a group may be left with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granularity {
    /// A group that loses any keeps a multiple of so many channels: others make most runtimes slower.
    pub multiple: usize,
    /// The least number of channels of a group; one stays whatever this says.
    pub least: usize,
}

impl Default for Granularity {
    fn default() -> Self {
        Self { multiple: 8, least: 1 }
    }
}

/// What a person says of a unit, whatever its score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByHand {
    /// It goes.
    Goes,
    /// It stays.
    Stays,
}

/// What decides which units go. A lock comes first. Then a group keeps its least number: where more are set to go by hand, those of the
/// largest scores stay. Then what is set by hand holds. Then the multiple is met, by ranked units that are not set by hand: as many fewer
/// go as that takes, or where that would be fewer than go by hand, as many more; where neither can be, it is not met, see
/// [`Channels::off_multiple`]. Ranked units meet the amount at last.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Choice {
    /// How much.
    pub amount: ChannelAmount,
    /// How it is spread.
    pub spread: Spread,
    /// What a group may be left with.
    pub granularity: Granularity,
    /// Per group: it stays as it is. Groups beyond its end are not locked.
    pub locked: Vec<bool>,
    /// Per group that has one: a share of its units that goes, 0..=1, whatever the amount.
    pub own: BTreeMap<usize, f64>,
    /// Units that a person decides.
    pub by_hand: BTreeMap<Unit, ByHand>,
}

/// What the slices of a tensor along a dimension weigh.
fn slice_sums(values: &Values, shape: &[usize], axis: usize, weigh: impl Fn(f64) -> f64 + Sync) -> Vec<f64> {
    let (size, step) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let one = |place: usize| -> f64 {
        let mut sum = 0.0;
        let mut start = place * step;
        while start < values.len() {
            sum += match values {
                Values::F32(v) => v[start..start + step].iter().map(|&x| weigh(f64::from(x))).sum::<f64>(),
                Values::F64(v) => v[start..start + step].iter().map(|&x| weigh(x)).sum::<f64>(),
            };
            start += step * size;
        }
        sum
    };
    (0..size).into_par_iter().map(one).collect()
}

/// Scores of all units.
fn rank(
    channels: &Channels,
    score: ChannelScore,
    read: impl Fn(ParameterId) -> Result<Option<Values>, OpenError> + Sync,
) -> Result<Vec<f64>, OpenError> {
    let graph = &channels.graph;
    let mut scores = vec![0.0; channels.units()];
    if let ChannelScore::Random(seed) = score {
        for (unit, score) in scores.iter_mut().enumerate() {
            *score = f64::from(chance(seed, ParameterId(0), unit));
        }
        return Ok(scores);
    }
    // What every slice of every weight weighs.
    let mut weights: BTreeMap<(TensorId, usize), Vec<f64>> = BTreeMap::new();
    for (i, parameter) in graph.parameters.iter().enumerate() {
        let (Some(uses), Kind::Weight) = (channels.uses.get(&parameter.tensor), parameter.kind) else { continue };
        let axes: Vec<usize> = (0..parameter.shape.len())
            .filter(|&axis| uses.iter().any(|value| channels.tensors.get(value).is_some_and(|dims| dims[axis].is_some())))
            .collect();
        if axes.is_empty() {
            continue;
        }
        let Some(values) = read(ParameterId(i))? else { continue };
        for axis in axes {
            let sums = match score {
                ChannelScore::L1 => slice_sums(&values, &parameter.shape, axis, f64::abs),
                _ => slice_sums(&values, &parameter.shape, axis, |x| x * x),
            };
            weights.insert((parameter.tensor, axis), sums);
        }
    }
    let is_depthwise = |member: &&Member| {
        let parameter = graph.parameters.iter().position(|parameter| parameter.tensor == member.tensor);
        parameter.is_some_and(|i| graph.owner(ParameterId(i)).role == Role::Depthwise)
    };
    for group in &channels.groups {
        let is_scaled = score == ChannelScore::Scale && group.members.iter().any(|member| member.side == SCALE);
        let counted: Vec<&Member> =
            group.members.iter().filter(|member| if is_scaled { member.side == SCALE } else { !is_depthwise(member) }).collect();
        let mut sums = vec![0.0; group.units.len()];
        for member in &counted {
            for (sum, weight) in sums.iter_mut().zip(by_unit(channels, group, member, &weights).into_iter().flatten()) {
                *sum += weight;
            }
        }
        let mean = sums.iter().sum::<f64>() / sums.len().max(1) as f64;
        for (&unit, sum) in group.units.iter().zip(sums) {
            scores[unit] = if mean > 0.0 && mean.is_finite() { sum / mean } else { sum };
        }
    }
    Ok(scores)
}

/// What the slices of one member weigh, by unit of the group; `None` of what is no weight.
fn by_unit(channels: &Channels, group: &Group, member: &Member, weights: &BTreeMap<(TensorId, usize), Vec<f64>>) -> Option<Vec<f64>> {
    let sums = weights.get(&(member.tensor, member.axis))?;
    let places = channels.tensors.get(&member.value)?[member.axis].as_ref()?;
    let mut by_unit = vec![0.0; group.units.len()];
    let number: HashMap<Unit, usize> = group.units.iter().enumerate().map(|(place, &unit)| (unit, place)).collect();
    for (place, sum) in places.iter().zip(sums) {
        for place in place.iter().filter_map(|&unit| number.get(&(unit as usize))) {
            by_unit[*place] += sum;
        }
    }
    Some(by_unit)
}

/// The units of a group in the order in which they go, without those that stay by hand.
struct UnitOrder {
    /// Those that go by hand.
    by_hand: Vec<Unit>,
    /// Those that are ranked.
    ranked: Vec<Unit>,
    /// How many units the group has.
    units: usize,
}

/// The units of all groups in the order in which they go.
struct UnitSelection<'a> {
    channels: &'a Channels,
    choice: &'a Choice,
    /// Per group.
    orders: Vec<UnitOrder>,
    /// Groups of the units that the amount decides, in the order of one ranking.
    merged: Vec<usize>,
}

impl UnitSelection<'_> {
    /// How many of a group's units go when so many are asked for.
    fn rounded(&self, group: usize, asked: usize) -> usize {
        let UnitOrder { by_hand, ranked, units } = &self.orders[group];
        let Rounding { multiple, least } = self.channels.step(group, self.choice.granularity);
        let most = units.saturating_sub(least);
        let (by_hand, reach) = (by_hand.len().min(most), (by_hand.len() + ranked.len()).min(most));
        let asked = asked.clamp(by_hand, reach);
        let fewer = units.saturating_sub((units - asked).div_ceil(multiple) * multiple);
        if fewer >= by_hand {
            return fewer;
        }
        let kept = (units - by_hand) / multiple * multiple;
        let more = units - kept;
        if kept >= least && more <= reach { more } else { by_hand }
    }

    /// Which units go at a position of the search.
    fn at(&self, position: usize) -> Removed {
        let mut asked: Vec<usize> = self.orders.iter().map(|order| order.by_hand.len()).collect();
        match self.choice.spread {
            Spread::Global => {
                for &group in &self.merged[..position] {
                    asked[group] += 1;
                }
            }
            Spread::Each => {
                for (group, asked) in asked.iter_mut().enumerate() {
                    *asked = (self.orders[group].units as f64 * position as f64 / STEPS as f64).round() as usize;
                }
            }
        }
        let mut removed = self.channels.nothing();
        for (group, order) in self.orders.iter().enumerate() {
            let is_locked = self.choice.locked.get(group).copied().unwrap_or(false);
            let asked = match self.choice.own.get(&group) {
                Some(share) => (order.units as f64 * share).round() as usize,
                None => asked[group],
            };
            let count = if is_locked { 0 } else { self.rounded(group, asked) };
            for &unit in order.by_hand.iter().chain(&order.ranked).take(count) {
                removed.0[unit] = true;
            }
        }
        removed
    }

    fn positions(&self) -> usize {
        if self.choice.spread == Spread::Global { self.merged.len() } else { STEPS }
    }
}

/// In which numbers units of a group stay.
struct Rounding {
    /// A multiple of so many, where any go,
    multiple: usize,
    /// and no fewer than these.
    least: usize,
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Size {
    /// The part of `whole` that is gone.
    #[must_use]
    pub fn gone(&self, whole: &Self, of: Of) -> f64 {
        let (left, all) = match of {
            Of::Channels => (self.channels, whole.channels),
            Of::Parameters => (self.parameters, whole.parameters),
            Of::Macs => (self.macs, whole.macs),
        };
        if all == 0 { 0.0 } else { 1.0 - left as f64 / all as f64 }
    }
}

impl Channels {
    /// Scores of all units, the smallest going first; `read` gives the elements of a parameter.
    ///
    /// # Errors
    /// As `read`.
    pub fn rank(
        &self,
        score: ChannelScore,
        read: impl Fn(ParameterId) -> Result<Option<Values>, OpenError> + Sync,
    ) -> Result<Vec<f64>, OpenError> {
        rank(self, score, read)
    }

    /// The units that go: of all positions that rounding allows, the one whose share is nearest to the amount. `scores` are those of
    /// [`Channels::rank`].
    #[must_use]
    pub fn choose(&self, scores: &[f64], choice: &Choice) -> Removed {
        let order = |units: &[Unit]| {
            let mut order = units.to_vec();
            order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(a.cmp(&b)));
            order
        };
        let is_ranked = |unit: &Unit| !choice.by_hand.contains_key(unit);
        let order_of = |group: &Group| {
            let goes = group.units.iter().copied().filter(|unit| choice.by_hand.get(unit) == Some(&ByHand::Goes));
            let ranked = group.units.iter().copied().filter(is_ranked);
            let [by_hand, ranked] = [goes.collect::<Vec<_>>(), ranked.collect()].map(|units| order(&units));
            UnitOrder { by_hand, ranked, units: group.units.len() }
        };
        let orders: Vec<UnitOrder> = self.groups.iter().map(order_of).collect();
        let is_free = |group: usize| !choice.locked.get(group).copied().unwrap_or(false) && !choice.own.contains_key(&group);
        let free: Vec<Unit> = (0..self.units()).filter(|&unit| is_free(self.group_of[unit]) && is_ranked(&unit)).collect();
        let merged = order(&free).into_iter().map(|unit| self.group_of[unit]).collect();
        let plan = UnitSelection { channels: self, choice, orders, merged };
        let whole = self.size(&self.nothing());
        let gone = |position: usize| self.size(&plan.at(position)).gone(&whole, choice.amount.of);
        // The first position that reaches the amount, or the one before.
        let (mut low, mut high) = (0, plan.positions());
        while low < high {
            let middle = usize::midpoint(low, high);
            if gone(middle) < choice.amount.share { low = middle + 1 } else { high = middle }
        }
        // Most positions round to the same: before it stands the last of another share.
        let before = low.saturating_sub(1);
        let off = |position: usize| (gone(position) - choice.amount.share).abs();
        let position = if off(before) <= off(low) { before } else { low };
        self.whole(plan.at(position), scores)
    }

    /// In which numbers the units of a group stay.
    fn step(&self, group: usize, Granularity { multiple, least }: Granularity) -> Rounding {
        let Group { members, units, .. } = &self.groups[group];
        let per_unit = members.iter().filter(|m| m.side == OUTPUTS).map(|m| m.slices).min().unwrap_or(1);
        let multiple = (multiple.max(1) / gcd(multiple.max(1), per_unit)).max(1);
        Rounding { multiple, least: least.div_ceil(per_unit).clamp(1, units.len().max(1)) }
    }

    /// Groups that lose some of their units and do not keep the multiple, because what is set by hand leaves no way to.
    #[must_use]
    pub fn off_multiple(&self, removed: &Removed, granularity: Granularity) -> Vec<usize> {
        let kept = self.kept(removed);
        let is_off = |&group: &usize| {
            kept[group] < self.groups[group].units.len() && !kept[group].is_multiple_of(self.step(group, granularity).multiple)
        };
        (0..kept.len()).filter(is_off).collect()
    }

    /// Takes units back until something is left of every dimension.
    fn whole(&self, mut removed: Removed, scores: &[f64]) -> Removed {
        while let Some(places) = self.endangered.iter().find(|places| super::left(places, &removed) == 0) {
            let score = |place: &[u32]| place.iter().map(|&unit| scores[unit as usize]).sum::<f64>();
            let Some(best) = places.iter().max_by(|a, b| score(a).total_cmp(&score(b))) else { break };
            for &unit in best {
                removed.0[unit as usize] = false;
            }
        }
        removed
    }
}
