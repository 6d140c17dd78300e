//! Means and deviations of the dense network, given back to the pruned one.

use super::RepairError;
use super::moments::{Joint, Moments, ScaleShift};
use super::sites::{Affine, Bias, BiasedLayer, Norm};
use super::work::{NewValues, RepairWork};
use crate::graph::{ChannelAxis, ParameterId};
use crate::prune::{Mask, NormStatistics};

/// A row is multiplied by no less and no more than this.
const SCALES: std::ops::RangeInclusive<f64> = 0.2..=5.0;

/// A deviation is about 0 below so much, and below so much of the largest of its layer.
const ABOUT_ZERO: f64 = 1e-6;

/// Relative errors before and after, or why nothing was changed.
pub(super) type Outcome = Result<(Option<f64>, Option<f64>), String>;

/// Deviations of these channels that are no larger are 0.
fn about_zero(moments: &Moments) -> f64 {
    let largest = (0..moments.channels.len()).map(|c| moments.dense_deviation(c)).fold(0.0, f64::max);
    ABOUT_ZERO * largest.min(1.0)
}

/// What brings every channel's mean and deviation to the dense network's.
fn lines(moments: &Moments, can_scale: bool, can_shift: impl Fn(usize) -> bool) -> Vec<ScaleShift> {
    let channels = 0..moments.channels.len();
    let about_zero = about_zero(moments);
    let line = |c: usize| {
        if !can_shift(c) {
            return ScaleShift::IDENTITY;
        }
        let (dense, pruned) = (moments.dense_deviation(c), moments.pruned_deviation(c));
        let scale = if !can_scale || dense <= about_zero || pruned <= about_zero {
            1.0
        } else {
            (dense / pruned).clamp(*SCALES.start(), *SCALES.end())
        };
        let known = &moments.channels[c];
        ScaleShift { scale, shift: known.dense_mean - scale * known.pruned_mean }
    };
    channels.map(line).collect()
}

impl RepairWork<'_> {
    /// A layer: rows are scaled, and the bias is scaled and shifted. A pruned bias stays zero, and so its row as it is.
    /// So does one that is added, of a channel that is to be removed.
    pub(super) fn rows(
        &mut self,
        (rows, channels): (&BiasedLayer, ChannelAxis),
        moments: &Moments,
        before: &Moments,
    ) -> Result<Outcome, RepairError> {
        let shape = self.graph().parameter(rows.weight).shape.clone();
        let Some(mut weight) = self.held(rows.weight)? else { return Ok(Err("its elements cannot be read".into())) };
        let bias = match &rows.bias {
            Bias::Parameter(id) => self.held(*id)?,
            Bias::Added(writes) => {
                let outputs = rows.order.outputs(&shape);
                let known = self.biases.get(&rows.weight).map(|added| added.values.to_f64());
                let going = writes.first().and_then(|output| self.fixed.going.get(output)).filter(|going| going.len() == outputs);
                Some(NewValues {
                    values: known.unwrap_or_else(|| vec![0.0; outputs]),
                    zeroed: Mask::of(outputs, |i| going.is_some_and(|going| going.is_pruned(i))),
                })
            }
        };
        let Some(mut bias) = bias else { return Ok(Err("its elements cannot be read".into())) };
        if bias.values.len() != moments.channels.len() {
            return Ok(Err("its outputs are no channels of what it gives".into()));
        }
        let lines = lines(moments, !rows.is_last, |c| !bias.zeroed.is_pruned(c));
        for (i, value) in weight.values.iter_mut().enumerate() {
            *value *= lines[rows.order.output(&shape, i)].scale;
        }
        for (value, line) in bias.values.iter_mut().zip(&lines) {
            *value = *value * line.scale + line.shift / rows.beta;
        }
        let errors = errors(before, moments, &lines);
        let is_replaced = match &rows.bias {
            Bias::Parameter(id) => self.replace(vec![(rows.weight, weight), (*id, bias)]),
            Bias::Added(outputs) => self.replace_with_bias((rows.weight, weight), &bias.values, outputs, channels),
        };
        Ok(if is_replaced { Ok(errors) } else { Err("what it would become is not finite in its type".into()) })
    }

    /// Scale and shift of a normalisation.
    pub(super) fn affine(&mut self, affine: &Affine, moments: &Moments, before: &Moments) -> Result<Outcome, RepairError> {
        let Some(mut scale) = self.held(affine.scale)? else { return Ok(Err("its elements cannot be read".into())) };
        let shift = affine.shift.map(|id| self.held(id)).transpose()?.flatten();
        if scale.values.len() != moments.channels.len() || affine.shift.is_some() != shift.is_some() {
            return Ok(Err("it does not scale every channel by itself".into()));
        }
        let mut lines = match &shift {
            Some(shift) => lines(moments, true, |c| !shift.zeroed.is_pruned(c)),
            None => lines(moments, true, |_| true),
        };
        let mut changed = Vec::new();
        if let (Some(id), Some(mut shift)) = (affine.shift, shift) {
            for (value, line) in shift.values.iter_mut().zip(&lines) {
                *value = *value * line.scale + line.shift;
            }
            changed.push((id, shift));
        } else {
            for line in &mut lines {
                line.shift = 0.0;
            }
        }
        for (value, line) in scale.values.iter_mut().zip(&lines) {
            *value *= line.scale;
        }
        changed.push((affine.scale, scale));
        let errors = errors(before, moments, &lines);
        Ok(if self.replace(changed) { Ok(errors) } else { Err("what it would become is not finite in its type".into()) })
    }

    /// Running mean and variance of a batch normalisation.
    pub(super) fn statistics(&mut self, norm: &Norm, moments: &Moments, before: &Moments) -> Result<Outcome, RepairError> {
        let (opened, present) = (self.running(norm, false)?, self.running(norm, true)?);
        let (Some(opened), Some(present)) = (opened, present) else { return Ok(Err("its statistics cannot be read".into())) };
        let channels = moments.channels.len();
        let is_fitting = |running: &Running| running.mean.len() == channels && running.variance.len() == channels;
        if !is_fitting(&opened) || !is_fitting(&present) {
            return Ok(Err("its statistics do not fit what it reads".into()));
        }
        if moments.count() < 2.0 {
            return Ok(Err("one number has no variance: more images are needed".into()));
        }
        let (dense, after) = match self.norms {
            NormStatistics::Estimated => estimated(moments, present.variance.clone()),
            NormStatistics::Matched => {
                let after = matched(moments, &opened, norm.epsilon);
                (opened.clone(), after)
            }
        };
        let affine = |id: Option<ParameterId>, other: f64| -> Result<(Vec<f64>, Vec<f64>), RepairError> {
            let Some(id) = id else { return Ok((vec![other; channels], vec![other; channels])) };
            let dense = self.engine.model().file.floats(self.graph().parameter(id).tensor)?;
            let pruned = self.held(id)?;
            Ok((dense.map_or_else(Vec::new, |v| v.to_f64()), pruned.map_or_else(Vec::new, |held| held.values)))
        };
        let (scale, shift) = (affine(norm.scale, 1.0)?, affine(norm.shift, 0.0)?);
        let line = |scale: &[f64], shift: &[f64], running: &Running, c: usize| {
            let by = scale.get(c).copied().unwrap_or(1.0) / (running.variance[c] + norm.epsilon).sqrt();
            ScaleShift { scale: by, shift: shift.get(c).copied().unwrap_or(0.0) - running.mean[c] * by }
        };
        let error = |moments: &Moments, dense: &Running, pruned: &Running| {
            moments.relative_error(|c| (line(&scale.0, &shift.0, dense, c), line(&scale.1, &shift.1, pruned, c)))
        };
        let errors = (error(before, &opened, &present), error(moments, &dense, &after));
        let changed = [(norm.mean, after.mean), (norm.variance, after.variance)];
        Ok(if self.replace_statistics(changed) { Ok(errors) } else { Err("its statistics are not finite in their type".into()) })
    }

    /// Statistics as opened, or at present.
    fn running(&self, norm: &Norm, is_present: bool) -> Result<Option<Running>, RepairError> {
        let read = |id| -> Result<Option<Vec<f64>>, RepairError> {
            match self.statistics.get(&id).filter(|_| is_present) {
                Some(values) => Ok(Some(values.to_f64())),
                None => Ok(self.engine.model().file.floats(id)?.map(|values| values.to_f64())),
            }
        };
        let pair = read(norm.mean)?.zip(read(norm.variance)?);
        Ok(pair.map(|(mean, variance)| Running { mean, variance }))
    }
}

/// Running statistics of a batch normalisation.
#[derive(Clone)]
struct Running {
    mean: Vec<f64>,
    variance: Vec<f64>,
}

/// Statistics of what is read over these images, in the dense network and in the pruned one; the variance without bias, as training keeps
/// it, and `present` where what is read is constant.
fn estimated(moments: &Moments, present: Vec<f64>) -> (Running, Running) {
    let unbiased = moments.count() / (moments.count() - 1.0);
    let channels = || moments.channels.iter().enumerate();
    let dense = Running {
        mean: channels().map(|(_, joint)| joint.dense_mean).collect(),
        variance: channels().map(|(c, _)| moments.dense_deviation(c).powi(2) * unbiased).collect(),
    };
    // A channel that is constant has no deviation to go by.
    let variance = |(c, present): (usize, f64)| match moments.pruned_variance(c) * unbiased {
        0.0 => present,
        variance => variance,
    };
    let mean = channels().map(|(_, joint)| joint.pruned_mean).collect();
    (dense, Running { mean, variance: present.into_iter().enumerate().map(variance).collect() })
}

/// Statistics through which what is read has the mean and the deviation over these images that it has in the dense network through those
/// `opened`.
fn matched(moments: &Moments, opened: &Running, epsilon: f64) -> Running {
    let about_zero = about_zero(moments);
    let statistics = |(c, joint): (usize, &Joint)| {
        let (dense, pruned) = (moments.dense_deviation(c), moments.pruned_deviation(c));
        // A channel that is constant has no deviation to go by.
        let ratio = if dense <= about_zero || pruned <= about_zero { 1.0 } else { pruned / dense };
        let mean = joint.pruned_mean - (joint.dense_mean - opened.mean[c]) * ratio;
        (mean, ((opened.variance[c] + epsilon) * ratio * ratio - epsilon).max(0.0))
    };
    let (mean, variance) = moments.channels.iter().enumerate().map(statistics).unzip();
    Running { mean, variance }
}

/// Relative errors of what a layer gave `before`, and of what it gives now through `lines`.
fn errors(before: &Moments, now: &Moments, lines: &[ScaleShift]) -> (Option<f64>, Option<f64>) {
    (before.relative_error(|_| (ScaleShift::IDENTITY, ScaleShift::IDENTITY)), now.relative_error(|c| (ScaleShift::IDENTITY, lines[c])))
}
