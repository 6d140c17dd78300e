//! Means, variances and covariances of a value's channels in two networks, over all images.

use rayon::prelude::*;

use super::gpu;
use super::seen::ImageValues;
use crate::graph::ChannelAxis;
use crate::network::NetworkError;

/// Channels that lie closer together than this are put one after another first.
const FEW: usize = 8;

/// Numbers that are summed side by side: a sum waits for itself otherwise.
const LANES: usize = 8;

/// One channel in both networks. Sums are of squares about the means.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Joint {
    pub(super) dense_mean: f64,
    pub(super) pruned_mean: f64,
    pub(super) dense_square: f64,
    pub(super) pruned_square: f64,
    pub(super) product: f64,
}

/// A value of a channel as y = scale · x + shift.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScaleShift {
    pub(super) scale: f64,
    pub(super) shift: f64,
}

impl ScaleShift {
    pub(super) const IDENTITY: Self = Self { scale: 1.0, shift: 0.0 };
}

/// All channels of a value. Images are added one batch after another, every channel by itself, so that the sums are the same whatever the
/// number of threads. Means and sums about them of two parts are joined as in Chan and others (1979), “Updating formulae”.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Moments {
    count: f64,
    pub(super) channels: Vec<Joint>,
}

impl Moments {
    /// Adds a batch; what is no float array of as many channels as before is not. On a GPU every batch is summed there.
    ///
    /// # Errors
    /// [`NetworkError::Internal`] where the values cannot be read.
    pub(super) fn add(&mut self, dense: &ImageValues, pruned: &ImageValues, channels: ChannelAxis) -> Result<(), NetworkError> {
        let shape = dense.shape();
        let Some(axis) = channels.dimension(shape.len()).filter(|_| pruned.shape() == shape) else { return Ok(()) };
        let channels = shape[axis];
        let (elements, inner) = (shape.iter().product::<usize>(), shape[axis + 1..].iter().product());
        if elements == 0 || !(self.channels.is_empty() || self.channels.len() == channels) {
            return Ok(());
        }
        let on_gpu = match (dense, pruned) {
            (ImageValues::Gpu(dense), ImageValues::Gpu(pruned)) => gpu::joints(dense, pruned, channels, inner),
            _ => None,
        };
        let parts = match on_gpu {
            Some(parts) => parts,
            None => {
                let (d, p) = (dense.read()?, pruned.read()?);
                let turned = (inner < FEW).then(|| (by_channel(&d, channels, inner), by_channel(&p, channels, inner)));
                let (d, p, inner) = turned.as_ref().map_or((&*d, &*p, inner), |(d, p)| (&d[..], &p[..], d.len() / channels));
                (0..channels).into_par_iter().map(|channel| Joint::of(d, p, (channel, channels, inner))).collect()
            }
        };
        self.channels.resize(channels, Joint::default());
        let (before, added) = (self.count, (elements / channels) as f64);
        self.count += added;
        for (known, part) in self.channels.iter_mut().zip(parts) {
            *known = known.joined(before, part, added);
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// Numbers of every channel.
    pub(super) fn count(&self) -> f64 {
        self.count
    }

    pub(super) fn is_finite(&self) -> bool {
        self.channels.iter().all(Joint::is_finite)
    }

    /// Whether both networks give the same.
    pub(super) fn is_same(&self) -> bool {
        self.channels.iter().all(|c| c.dense_mean == c.pruned_mean && c.dense_square == c.pruned_square && c.product == c.dense_square)
    }

    /// Mean square over the images of a channel in the pruned network about its mean.
    pub(super) fn pruned_variance(&self, channel: usize) -> f64 {
        self.channels[channel].pruned_square / self.count
    }

    pub(super) fn dense_deviation(&self, channel: usize) -> f64 {
        (self.channels[channel].dense_square / self.count).sqrt()
    }

    pub(super) fn pruned_deviation(&self, channel: usize) -> f64 {
        self.pruned_variance(channel).sqrt()
    }

    /// ‖dense − pruned‖ / ‖dense‖ where what either gives is seen through lines, one per channel; `None` where the dense network gives
    /// nothing but zeros.
    pub(super) fn relative_error(&self, lines: impl Fn(usize) -> (ScaleShift, ScaleShift)) -> Option<f64> {
        let (mut error, mut whole) = (0.0, 0.0);
        for (channel, c) in self.channels.iter().enumerate() {
            let (d, p) = lines(channel);
            let mean = d.scale * c.dense_mean + d.shift;
            let difference = mean - p.scale * c.pruned_mean - p.shift;
            let about = d.scale.powi(2) * c.dense_square - 2.0 * d.scale * p.scale * c.product + p.scale.powi(2) * c.pruned_square;
            error += self.count * difference.powi(2) + about.max(0.0);
            whole += self.count * mean.powi(2) + d.scale.powi(2) * c.dense_square;
        }
        let relative = (error / whole).sqrt();
        relative.is_finite().then_some(relative)
    }
}

impl Joint {
    /// Of one channel of arrays that hold `channels` after one another, `inner` numbers each, again and again.
    fn of<'v>(dense: &'v [f32], pruned: &'v [f32], (channel, channels, inner): (usize, usize, usize)) -> Self {
        let block = channels * inner;
        let runs = || {
            let run = |values: &'v [f32]| values.chunks_exact(block).map(move |values| &values[channel * inner..(channel + 1) * inner]);
            run(dense).zip(run(pruned))
        };
        let count = runs().map(|(d, _)| d.len()).sum::<usize>() as f64;
        let (mut d_sum, mut p_sum) = ([0.0; LANES], [0.0; LANES]);
        for (d, p) in runs() {
            lanes(d, p, |lane, d, p| {
                d_sum[lane] += d;
                p_sum[lane] += p;
            });
        }
        let (dense_mean, pruned_mean) = (d_sum.iter().sum::<f64>() / count, p_sum.iter().sum::<f64>() / count);
        let (mut dd, mut pp, mut dp) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        for (d, p) in runs() {
            lanes(d, p, |lane, d, p| {
                let (d, p) = (d - dense_mean, p - pruned_mean);
                dd[lane] += d * d;
                pp[lane] += p * p;
                dp[lane] += d * p;
            });
        }
        let sum = |lanes: [f64; LANES]| lanes.iter().sum();
        Self { dense_mean, pruned_mean, dense_square: sum(dd), pruned_square: sum(pp), product: sum(dp) }
    }

    pub(super) fn is_finite(&self) -> bool {
        [self.dense_mean, self.pruned_mean, self.dense_square, self.pruned_square, self.product].iter().all(|x| x.is_finite())
    }

    fn joined(self, count: f64, part: Self, added: f64) -> Self {
        if count == 0.0 {
            return part;
        }
        let whole = count + added;
        let (d, p) = (part.dense_mean - self.dense_mean, part.pruned_mean - self.pruned_mean);
        let between = count * added / whole;
        Self {
            dense_mean: self.dense_mean + d * added / whole,
            pruned_mean: self.pruned_mean + p * added / whole,
            dense_square: self.dense_square + part.dense_square + d * d * between,
            pruned_square: self.pruned_square + part.pruned_square + p * p * between,
            product: self.product + part.product + d * p * between,
        }
    }
}

fn lanes(dense: &[f32], pruned: &[f32], mut add: impl FnMut(usize, f64, f64)) {
    for (d, p) in dense.chunks(LANES).zip(pruned.chunks(LANES)) {
        for (lane, (&d, &p)) in d.iter().zip(p).enumerate() {
            add(lane, f64::from(d), f64::from(p));
        }
    }
}

/// Values of which `channels` lie `inner` numbers each after one another, as one run per channel.
fn by_channel(values: &[f32], channels: usize, inner: usize) -> Vec<f32> {
    let run = values.len() / channels;
    let mut out = vec![0.0; values.len()];
    out.par_chunks_mut(run.max(1)).enumerate().for_each(|(channel, out)| {
        for (block, out) in out.chunks_mut(inner.max(1)).enumerate() {
            let at = (block * channels + channel) * inner;
            out.copy_from_slice(&values[at..at + inner]);
        }
    });
    out
}
