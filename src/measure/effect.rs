//! What pruning does to a network's answers: accuracy, agreement, cosine and KL divergence, or relative error.

use std::collections::BTreeMap;

use super::answering::{Answering, Answers};
use crate::network::Array;

/// Below the smallest probability that a float32 softmax gives for logits in use; its logarithm is finite.
const SMALLEST_PROBABILITY: f64 = 1e-38;

/// An image that the pruned network takes for another class than the dense one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// Which image of the set.
    pub image: usize,
    /// The dense network's answer.
    pub dense: usize,
    /// The pruned network's answer.
    pub pruned: usize,
}

/// What became of the answers. Shares are 0..=1.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Effect {
    /// Images seen.
    pub images: usize,
    /// Share of the labelled images whose class is the first answer; `None` without labels.
    pub top1: Option<f64>,
    /// Share whose class is among the first five answers; `None` without labels or with fewer than six classes.
    pub top5: Option<f64>,
    /// Share of the images with the dense network's first answer; `None` for networks that do not classify.
    pub agreement: Option<f64>,
    /// Mean cosine between the answers, flattened, of pruned and dense network; `None` where they are no floats.
    pub mean_cosine: Option<f64>,
    /// Mean Kullback-Leibler divergence of the pruned network's classes from the dense one's, in nats:
    /// `kl_div(log_softmax(pruned), log_softmax(dense), log_target=True, reduction="batchmean")`.
    pub mean_kl: Option<f64>,
    /// Every output by name with `|pruned - dense| / |dense|` in the Euclidean norm over all images.
    pub relative_errors: Vec<(String, f64)>,
    /// Images whose answer changed, as they were seen.
    pub changed: Vec<Changed>,
}

/// Adds up the answers of one network, batch by batch.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    images: usize,
    labelled: usize,
    top1: usize,
    top5: usize,
    classes: usize,
    classified: usize,
    compared: usize,
    cosine: f64,
    kl: f64,
    errors: BTreeMap<usize, (String, f64, f64)>,
    changed: Vec<Changed>,
}

impl Tally {
    /// Adds a batch: all outputs of the dense and of the pruned network for the same `images` of the set, and their classes.
    ///
    /// What does not fit together is left out of the figure that it concerns.
    pub fn add(
        &mut self,
        answering: &Answering,
        dense: &[(String, Array)],
        pruned: &[(String, Array)],
        images: &[usize],
        labels: &[Option<usize>],
    ) {
        for (i, ((name, d), (_, p))) in dense.iter().zip(pruned).enumerate() {
            if let (Some(d), Some(p)) = (d.as_f32(), p.as_f32())
                && d.len() == p.len()
            {
                let entry = self.errors.entry(i).or_insert_with(|| (name.clone(), 0.0, 0.0));
                entry.1 += d.iter().zip(p).map(|(&d, &p)| (f64::from(p) - f64::from(d)).powi(2)).sum::<f64>();
                entry.2 += d.iter().map(|&d| f64::from(d).powi(2)).sum::<f64>();
            }
        }
        self.images += images.len();
        let (Some((_, d)), Some((_, p))) = (dense.get(answering.output), pruned.get(answering.output)) else { return };
        if let (Answers::Label, Some(d), Some(p)) = (answering.answers, d.as_i64(), p.as_i64()) {
            for (n, (&d, &p)) in d.iter().zip(p).enumerate().take(images.len()) {
                self.classify(images[n], [usize::try_from(d).unwrap_or(usize::MAX), usize::try_from(p).unwrap_or(usize::MAX)]);
                if let Some(class) = labels.get(n).copied().flatten() {
                    self.labelled += 1;
                    self.top1 += usize::from(usize::try_from(p) == Ok(class));
                }
            }
        }
        let (Some(d), Some(p)) = (d.as_f32(), p.as_f32()) else { return };
        if images.is_empty() || d.len() != p.len() || d.len() % images.len() != 0 || d.is_empty() {
            return;
        }
        let width = d.len() / images.len();
        for (n, (d, p)) in d.chunks_exact(width).zip(p.chunks_exact(width)).enumerate() {
            self.compared += 1;
            self.cosine += cosine(d, p);
            if answering.answers == Answers::Values {
                continue;
            }
            self.classes = width;
            self.kl += divergence(answering.answers, d, p);
            self.classify(images[n], [largest(d), largest(p)]);
            if let Some(class) = labels.get(n).copied().flatten() {
                self.labelled += 1;
                self.top1 += usize::from(largest(p) == class);
                self.top5 += usize::from(rank(p, class).is_some_and(|rank| rank < 5));
            }
        }
    }

    /// Counts the classes that the dense and the pruned network see in an image.
    fn classify(&mut self, image: usize, [dense, pruned]: [usize; 2]) {
        self.classified += 1;
        if dense != pruned {
            self.changed.push(Changed { image, dense, pruned });
        }
    }

    /// The figures so far.
    #[must_use]
    pub fn effect(&self) -> Effect {
        let share = |part: usize, whole: usize| (whole > 0).then(|| part as f64 / whole as f64);
        Effect {
            images: self.images,
            top1: share(self.top1, self.labelled),
            top5: share(self.top5, self.labelled).filter(|_| self.classes > 5),
            agreement: share(self.classified - self.changed.len(), self.classified),
            mean_cosine: (self.compared > 0).then(|| self.cosine / self.compared as f64),
            mean_kl: (self.classified > 0 && self.classes > 0).then(|| self.kl / self.classified as f64),
            relative_errors: self.errors.values().map(|(name, error, norm)| (name.clone(), ratio(*error, *norm))).collect(),
            changed: self.changed.clone(),
        }
    }
}

/// The root of a quotient of squares; 0 where both are 0.
fn ratio(error: f64, norm: f64) -> f64 {
    if error == 0.0 { 0.0 } else { (error / norm).sqrt() }
}

/// Index of the largest score, the first of equals; NaN is the largest, as in PyTorch.
fn largest(scores: &[f32]) -> usize {
    let mut best = 0;
    for (i, &score) in scores.iter().enumerate() {
        if scores[best].is_nan() {
            break;
        }
        if score > scores[best] || score.is_nan() {
            best = i;
        }
    }
    best
}

/// How many classes come before `class`; `None` where there is no such class or its score is NaN.
fn rank(scores: &[f32], class: usize) -> Option<usize> {
    let own = *scores.get(class).filter(|score| !score.is_nan())?;
    Some(scores.iter().enumerate().filter(|&(i, &score)| score > own || score.is_nan() || (score == own && i < class)).count())
}

/// As `torch.nn.functional.cosine_similarity`, each norm held above 1e-8.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
    dot(a, b) / (dot(a, a).sqrt().max(1e-8) * dot(b, b).sqrt().max(1e-8))
}

/// Kullback-Leibler divergence of `pruned` from `dense`, in nats.
fn divergence(answers: Answers, dense: &[f32], pruned: &[f32]) -> f64 {
    let (dense, pruned) = (log_probabilities(answers, dense), log_probabilities(answers, pruned));
    dense.iter().zip(&pruned).map(|(d, p)| d.exp() * (d - p)).sum()
}

fn log_probabilities(answers: Answers, scores: &[f32]) -> Vec<f64> {
    if answers == Answers::Probabilities {
        return scores.iter().map(|&p| f64::from(p).max(SMALLEST_PROBABILITY).ln()).collect();
    }
    let most = scores.iter().fold(f64::NEG_INFINITY, |most, &s| most.max(f64::from(s)));
    let sum: f64 = scores.iter().map(|&s| (f64::from(s) - most).exp()).sum();
    scores.iter().map(|&s| f64::from(s) - most - sum.ln()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(answers: Answers) -> Answering {
        Answering { output: 0, answers, classes: 0, others: Vec::new() }
    }

    fn batch(rows: &[[f32; 3]]) -> Vec<(String, Array)> {
        vec![("logits".into(), Array::f32([rows.len(), 3], rows.concat()))]
    }

    #[test]
    fn answers_are_counted_and_named() {
        let dense = batch(&[[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.0, 0.0, 5.0]]);
        let pruned = batch(&[[3.0, 1.0, 0.0], [2.5, 2.0, 1.0], [f32::NAN, 0.0, 5.0]]);
        let mut tally = Tally::default();
        tally.add(&output(Answers::Logits), &dense, &pruned, &[7, 8, 9], &[Some(0), Some(0), None]);
        let effect = tally.effect();
        assert_eq!((effect.images, effect.top1, effect.top5), (3, Some(1.0), None));
        assert_eq!(effect.agreement, Some(1.0 / 3.0));
        assert_eq!(effect.changed[..], [Changed { image: 8, dense: 1, pruned: 0 }, Changed { image: 9, dense: 2, pruned: 0 }]);
    }

    #[test]
    fn nothing_pruned_costs_nothing() {
        let dense = batch(&[[3.0, 1.0, 0.0], [0.0, 2.0, 1.0]]);
        let mut tally = Tally::default();
        tally.add(&output(Answers::Logits), &dense, &dense, &[0, 1], &[None, None]);
        let effect = tally.effect();
        assert_eq!((effect.agreement, effect.top1), (Some(1.0), None));
        assert!(effect.mean_cosine.is_some_and(|c| (c - 1.0).abs() < 1e-12) && effect.mean_kl.is_some_and(|kl| kl.abs() < 1e-12));
        assert_eq!(effect.relative_errors, [("logits".to_owned(), 0.0)]);
    }

    /// By hand: p = (1/2, 1/2), q = (1/4, 3/4): KL = ln 2 / 2 - ln(3/2) / 2 = 0.143841.
    #[test]
    fn divergence_of_probabilities_and_of_logits_agree() {
        let (p, q) = ([0.5_f32, 0.5], [0.25_f32, 0.75]);
        let logits = |x: [f32; 2]| x.map(|v| v.ln() + 3.0);
        assert!((divergence(Answers::Probabilities, &p, &q) - 0.143_841).abs() < 1e-6);
        assert!((divergence(Answers::Logits, &logits(p), &logits(q)) - 0.143_841).abs() < 1e-6);
    }

    #[test]
    fn networks_that_give_the_class_itself_are_counted_and_have_no_cosine() {
        let of = |classes: Vec<i64>| vec![("label".to_owned(), Array::i64([classes.len()], classes))];
        let mut tally = Tally::default();
        tally.add(&output(Answers::Label), &of(vec![3, 1, -1]), &of(vec![3, 2, -1]), &[4, 5, 6], &[Some(3), Some(2), Some(0)]);
        let effect = tally.effect();
        assert_eq!((effect.top1, effect.agreement), (Some(2.0 / 3.0), Some(2.0 / 3.0)));
        assert_eq!((effect.mean_cosine, effect.mean_kl), (None, None));
        assert_eq!(effect.changed[..], [Changed { image: 5, dense: 1, pruned: 2 }]);
    }

    #[test]
    fn networks_that_do_not_classify_have_a_relative_error() {
        let of = |x: f32| vec![("y".to_owned(), Array::f32([1, 1, 2, 2], vec![3.0, 4.0, 0.0, x]))];
        let mut tally = Tally::default();
        tally.add(&output(Answers::Values), &of(0.0), &of(1.0), &[0], &[None]);
        let effect = tally.effect();
        assert_eq!((effect.agreement, effect.mean_kl), (None, None));
        assert!((effect.relative_errors[0].1 - 0.2).abs() < 1e-9);
    }
}
