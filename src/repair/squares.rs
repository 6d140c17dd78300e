//! Least squares: the kept weights of a layer that, on what the pruned network gives it, come closest to the dense network's output.
//!
//! Per row ‖Y − w·X‖² + λ · s · ‖w − w₀‖² is smallest, over the elements that are not pruned, where w₀ are the weights as they are and s is
//! the mean square of an input. Inputs and outputs are taken about their means where what follows sees to those, else as they are. λ is
//! chosen per layer by the error on a quarter of the images that was held back.

use rayon::prelude::*;

use super::gpu;
use super::gram::{About, Gram};
use super::places::{Places, Reading};
use super::seen::ImageValues;
use super::sites::OutputAxis;
use crate::network::NetworkError;
use crate::prune::Mask;
use crate::watch::Watch;

/// What λ is chosen from; infinite, the weights stay as they are, comes on top.
const LAMBDAS: [f64; 5] = [10.0, 1.0, 0.1, 0.01, 0.001];

/// λ is chosen by so many rows of a layer.
const TRIED_ROWS: usize = 32;

/// One image of so many is held back.
const HELD_BACK: usize = 4;

/// Places that an output is looked at, for every input and at least.
const PLACES_PER_INPUT: usize = 48;
const LEAST_PLACES: usize = 32_768;

/// More multiplications than this are not spent on one layer.
const MOST_WORK: f64 = 1e12;

/// The shape of a layer.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) groups: usize,
    /// Of one group, elements of the kernel included.
    pub(super) inputs: usize,
    /// Of one group.
    pub(super) outputs: usize,
    pub(super) order: OutputAxis,
}

impl Shape {
    /// The element of the weight that joins an input and an output of a group.
    fn element(&self, group: usize, output: usize, input: usize) -> usize {
        match self.order {
            OutputAxis::Last => input * self.outputs + output,
            _ => (group * self.outputs + output) * self.inputs + input,
        }
    }
}

/// Sums of one layer: per group of those that fit, and of those that were held back.
pub(super) struct Sums {
    shape: Shape,
    pub(super) groups: Vec<[Gram; 2]>,
    /// Places of one image that are looked at.
    places: usize,
    /// Images so far.
    seen: usize,
}

/// What was found for a layer.
pub(super) struct Fitted {
    /// All elements of the weight; `None` where nothing was better than they are.
    pub(super) weights: Option<Vec<f64>>,
    pub(super) lambda: f64,
    /// Relative errors before and after.
    pub(super) errors: (Option<f64>, Option<f64>),
}

impl Sums {
    /// Of so many images in all.
    pub(super) fn new(shape: Shape, images: usize) -> Self {
        let gram = || Gram::new(shape.inputs, shape.outputs);
        let groups = (0..shape.groups).map(|_| [gram(), gram()]).collect();
        let places = (PLACES_PER_INPUT * shape.inputs).max(LEAST_PLACES).div_ceil(images.max(1));
        Self { shape, groups, places, seen: 0 }
    }

    /// Whether a layer is small enough to be worked out, where so many elements of every row stay.
    pub(super) fn is_bearable(shape: &Shape, kept: f64) -> bool {
        let row = (shape.inputs as f64 * kept).powi(3) / 3.0;
        (shape.inputs as f64).powi(2) * ((PLACES_PER_INPUT * shape.inputs).max(LEAST_PLACES) as f64) < MOST_WORK
            && row * (shape.outputs * shape.groups) as f64 <= MOST_WORK
    }

    /// Adds images: what the layer reads in the pruned network, and what it gives in the dense one. On a GPU they are summed there.
    ///
    /// # Errors
    /// [`NetworkError::Internal`] where the values cannot be read.
    pub(super) fn add(&mut self, x: &ImageValues, y: &ImageValues, reading: &Reading, images: usize) -> Result<(), NetworkError> {
        let Some(places) = Places::new(&self.shape, (x.shape(), y.shape()), reading, (images, self.seen), self.places) else {
            return Ok(());
        };
        let held: [Vec<usize>; 2] =
            [false, true].map(|is_held| (0..images).filter(|i| ((self.seen + i) % HELD_BACK == HELD_BACK - 1) == is_held).collect());
        self.seen += images;
        if let (ImageValues::Gpu(x), ImageValues::Gpu(y)) = (x, y)
            && gpu::add_to_grams(&mut self.groups, (x, y), &places, &held)
        {
            return Ok(());
        }
        let (x, y) = (x.read()?, y.read()?);
        self.groups.par_iter_mut().enumerate().for_each(|(group, grams)| {
            for (gram, images) in grams.iter_mut().zip(&held).filter(|(_, images)| !images.is_empty()) {
                let (x, y) = places.matrices((&x, &y), group, images);
                gram.add(x.as_ref(), y.as_ref());
            }
        });
        Ok(())
    }

    /// The best weights; `weights` are those that are there, `zeroed` those that stay zero. Nothing where the sums are not finite or nobody
    /// was seen.
    pub(super) fn fit(self, weights: &[f64], zeroed: &Mask, about: &About, watch: &dyn Watch) -> Option<Fitted> {
        let Self { shape, groups, .. } = self;
        if groups.iter().any(|[fit, held]| fit.count == 0.0 || held.count == 0.0) {
            return None;
        }
        let groups: Vec<[Gram; 3]> = groups
            .into_par_iter()
            .enumerate()
            .map(|(group, [fit, held])| [fit.joined(&held), fit, held].map(|gram| gram.about(about, group)))
            .collect();
        if !groups.iter().flatten().all(Gram::is_finite) {
            return None;
        }
        let all: Vec<(usize, usize)> = (0..shape.groups).flat_map(|g| (0..shape.outputs).map(move |o| (g, o))).collect();
        let row = |&(g, o): &(usize, usize)| -> (Vec<f64>, Vec<usize>) {
            let elements = (0..shape.inputs).map(|k| shape.element(g, o, k));
            let kept = elements.clone().enumerate().filter(|(_, e)| !zeroed.is_pruned(*e)).map(|(k, _)| k).collect();
            (elements.map(|e| weights[e]).collect(), kept)
        };
        let tried: Vec<(usize, usize)> = all.iter().copied().step_by(all.len().div_ceil(TRIED_ROWS).max(1)).collect();
        let held_error = |lambda: Option<f64>| -> f64 {
            let one = |at: &(usize, usize)| {
                // What was found so far is not asked for any more.
                if watch.is_cancelled() {
                    return 0.0;
                }
                let (weights, kept) = row(at);
                let [_, fit, held] = &groups[at.0];
                let found = lambda.and_then(|lambda| fit.solve(at.1, &weights, &kept, lambda));
                held.error(at.1, found.as_deref().unwrap_or(&weights))
            };
            tried.par_iter().with_max_len(1).map(one).collect::<Vec<_>>().into_iter().sum()
        };
        let (mut lambda, mut best) = (f64::INFINITY, held_error(None));
        for tried in LAMBDAS {
            let error = held_error(Some(tried));
            if error < best {
                (lambda, best) = (tried, error);
            } else if lambda.is_finite() {
                // Beyond the best it only gets worse.
                break;
            }
        }
        let solve = |at: &(usize, usize)| {
            let (weights, kept) = row(at);
            let whole = &groups[at.0][0];
            let found = if lambda.is_finite() && !watch.is_cancelled() { whole.solve(at.1, &weights, &kept, lambda) } else { None };
            let errors = (whole.error(at.1, &weights), whole.error(at.1, found.as_deref().unwrap_or(&weights)), whole.outputs[at.1]);
            (found, errors)
        };
        let solved: Vec<_> = all.par_iter().with_max_len(1).map(solve).collect();
        let mut out = weights.to_vec();
        let (mut before, mut after, mut norm) = (0.0, 0.0, 0.0);
        for (&(g, o), (found, errors)) in all.iter().zip(&solved) {
            before += errors.0;
            after += errors.1;
            norm += errors.2;
            for (k, &value) in found.iter().flatten().enumerate() {
                out[shape.element(g, o, k)] = value;
            }
        }
        let relative = |error: f64| Some((error / norm).sqrt()).filter(|e| e.is_finite());
        Some(Fitted { weights: lambda.is_finite().then_some(out), lambda, errors: (relative(before), relative(after)) })
    }
}
