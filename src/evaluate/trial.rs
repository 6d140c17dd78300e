//! What has to be known of a network before it is measured: how many images it takes at once, and which of its outputs answers.
//!
//! What a file declares of its batch is often not what happens inside: a reshape is fixed to the batch of the export, or a sum goes
//! over it. So two images are shown alone and together, and only a network that answers the same is shown batches.

use super::questions::{Batching, Inputs};
use super::{EvaluateError, Evaluator, Outputs};
use crate::engine::{Engine, EngineError};
use crate::network::{Array, ArrayData, Network, NetworkError};
use crate::watch::Watch;

/// The answer to an image alone and that to two at once are the same when they are this close, relative to the answer's length: products
/// of other shapes are summed in another order.
const SAME: f64 = 1e-2;

/// Batches beyond this are not tried.
const MAX_BATCH: i64 = 1024;

/// Batches that are tried where the graph speaks of none that works: a state or a token of a batch may be of any operator.
const OFTEN: [usize; 11] = [2, 3, 4, 5, 6, 8, 10, 16, 32, 64, 128];

/// Why images go through a network in batches that it does not declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchRemark {
    /// It cannot take two images at once, or their answers depend on one another.
    OneByOne,
    /// Something inside is fixed to so many.
    Fixed(usize),
}

impl std::fmt::Display for BatchRemark {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::OneByOne => write!(f, "Images go through the network one by one: two at once are not answered as each alone"),
            Self::Fixed(n) => write!(f, "Images go through the network {n} at a time: its batch is declared free and fixed inside"),
        }
    }
}

impl Evaluator {
    /// Finds out what [`Self::batch_remark`] and [`Self::answering`] tell, once.
    ///
    /// # Errors
    /// [`EngineError::Cancelled`] when it was stopped; a network that cannot be built or asked, as when it is measured.
    pub fn settle(&mut self, watch: &dyn Watch) -> Result<(), EvaluateError> {
        if self.is_settled {
            return Ok(());
        }
        let network = self.engine.dense_network()?;
        let ask = |inputs: &Inputs| network.finish(network.begin(inputs)?, watch);
        if let Some(samples) = self.questions.samples() {
            let alone = samples.each_ref().map(ask);
            let [first, second] = match alone {
                [Ok(first), Ok(second)] => [Some(first), Some(second)],
                [Err(NetworkError::Cancelled), _] | [_, Err(NetworkError::Cancelled)] => return Err(EngineError::Cancelled.into()),
                [first, second] => [first.ok(), second.ok()],
            };
            match (first, second) {
                (Some(first), Some(second)) => {
                    let together = self.questions.together(&[&samples[0], &samples[1]]).map(|inputs| ask(&inputs));
                    if let Some(Err(NetworkError::Cancelled)) = together {
                        return Err(EngineError::Cancelled.into());
                    }
                    if !together.and_then(Result::ok).is_some_and(|together| is_each_alone(&first, &second, &together)) {
                        self.questions.set_batching(Batching::UpTo(1));
                        self.batch_remark = Some(BatchRemark::OneByOne);
                    }
                }
                _ => {
                    if let Some(batch) = fixed_batch(&self.engine, &network, self, &samples[0], watch)? {
                        self.questions.set_batching(Batching::Exactly(batch));
                        self.batch_remark = Some(BatchRemark::Fixed(batch));
                    }
                }
            }
        }
        self.is_settled = true;
        Ok(())
    }

    /// What a person should know of how the network is asked and answers, once it has answered.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        self.batch_remark.map(|remark| remark.to_string()).into_iter().chain(self.output_remark()).collect()
    }

    /// Which output answers, in words; `None` where the network has one output, or has not answered yet.
    fn output_remark(&self) -> Option<String> {
        let answering = self.known.answering.as_ref()?;
        let outputs = &self.engine.model().graph.outputs;
        let name = |i: usize| outputs.get(i).map_or_else(String::new, |(name, _)| format!("“{name}”"));
        if outputs.len() < 2 {
            return None;
        }
        let taken = name(answering.output);
        let others: Vec<String> = answering.others.iter().map(|&i| name(i)).collect();
        Some(match (others.is_empty(), self.known.chosen) {
            (_, Some(_)) => format!("Answers are those of the output {taken}"),
            (true, None) => format!("Answers are those of the output {taken}, one of {}", outputs.len()),
            (false, None) => format!("Answers are taken from the output {taken}; {} could be meant as well", others.join(" and ")),
        })
    }
}

/// A batch that something inside the network is fixed to: of those that the graph speaks of and then of usual ones, the first that
/// works.
fn fixed_batch(
    engine: &Engine,
    network: &Network,
    evaluator: &Evaluator,
    sample: &Inputs,
    watch: &dyn Watch,
) -> Result<Option<usize>, EvaluateError> {
    let model = engine.model();
    let shapes = model.graph.nodes.iter().filter(|node| node.op == "Reshape" || node.op == "Expand").filter_map(|node| {
        let tensor = model.graph.constants.get(node.input(1)?.0).copied().flatten()?;
        model.file.ints(tensor).ok().flatten()?.first().copied()
    });
    let mut batches: Vec<usize> = shapes.filter(|n| (2..=MAX_BATCH).contains(n)).map(|n| n as usize).collect();
    batches.sort_unstable();
    batches.dedup();
    let usual: Vec<usize> = OFTEN.into_iter().filter(|batch| !batches.contains(batch)).collect();
    for batch in batches.into_iter().chain(usual) {
        let Some(inputs) = evaluator.questions.together(&vec![sample; batch]) else { continue };
        match network.finish(network.begin(&inputs)?, watch) {
            Ok(_) => return Ok(Some(batch)),
            Err(NetworkError::Cancelled) => return Err(EngineError::Cancelled.into()),
            Err(_) => {}
        }
    }
    Ok(None)
}

/// Whether two images at once were answered as each alone.
fn is_each_alone(first: &Outputs, second: &Outputs, together: &Outputs) -> bool {
    first.iter().zip(second).zip(together).all(|(((_, first), (_, second)), (_, both))| {
        // What does not hang on the images at all, such as anchors.
        let is_constant = first == second && is_near(first, both);
        let rows = |array: &Array| array.shape.first().copied().unwrap_or(0);
        let (middle, end) = (rows(first), rows(first) + rows(second));
        // Each on its own: beside a long answer a short one would not count.
        let is_part = |alone: &Array, rows| both.rows(rows).is_some_and(|part| is_near(alone, &part));
        is_constant || (rows(both) == end && is_part(first, 0..middle) && is_part(second, middle..end))
    })
}

/// Whether two arrays hold the same, less what is lost by rounding.
fn is_near(a: &Array, b: &Array) -> bool {
    if a.shape != b.shape {
        return false;
    }
    let (ArrayData::F32(a), ArrayData::F32(b)) = (&a.data, &b.data) else { return a.data == b.data };
    let mut difference = 0.0;
    let mut length = 0.0;
    for (&a, &b) in a.iter().zip(b) {
        if a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()) {
            continue;
        }
        difference += (f64::from(a) - f64::from(b)).powi(2);
    }
    for &a in a.iter().filter(|a| a.is_finite()) {
        length += f64::from(a).powi(2);
    }
    difference <= SAME * SAME * length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: &[[f32; 2]]) -> Outputs {
        vec![("y".to_owned(), Array::f32([rows.len(), 2], rows.concat()))]
    }

    #[test]
    fn rows_that_depend_on_one_another_are_seen() {
        let (first, second) = (of(&[[1.0, 2.0]]), of(&[[3.0, -1.0]]));
        assert!(is_each_alone(&first, &second, &of(&[[1.0, 2.0], [3.0, -1.000_001]])));
        for other in
            [of(&[[1.0, 2.0], [3.0, -0.5]]), of(&[[3.0, -1.0], [1.0, 2.0]]), of(&[[4.0, 1.0]]), of(&[[f32::NAN, 2.0], [3.0, -1.0]])]
        {
            assert!(!is_each_alone(&first, &second, &other), "{other:?}");
        }
        // A short answer beside a long one counts as much.
        let (long, short) = (of(&[[1000.0, 2000.0]]), of(&[[0.1, 0.2]]));
        assert!(!is_each_alone(&long, &short, &of(&[[1000.0, 2000.0], [0.2, 0.1]])));
        let constant = of(&[[5.0, 5.0]]);
        assert!(is_each_alone(&constant, &constant, &constant));
        assert!(!is_each_alone(&first, &first, &of(&[[1.0, 2.1]])));
    }
}
