//! Which parameters can bear pruning: every one alone, at several amounts.
//!
//! Pruning one parameter leaves everything before its first use unchanged. So the dense forward pass is held there for all
//! batches, and only the rest is run for every amount.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};

use super::{Batch, EvaluateError, Evaluator, Outputs};
use crate::graph::ParameterId;
use crate::measure::{Answers, Effect, Tally};
use crate::network::Pass;
use crate::prune::Amount;
use crate::session::SessionError;

/// Forward passes that are held between parameters, in bytes: 512 MiB. Batches beyond are run from the start.
const HELD_BYTES: usize = 1 << 29;

/// One parameter at one amount.
#[derive(Debug, Clone, PartialEq)]
pub struct SensitivityCase {
    /// Which parameter.
    pub parameter: ParameterId,
    /// Share of its elements that is pruned, 0..=1.
    pub amount: f64,
    /// What that does.
    pub effect: Effect,
}

/// A scan that can be stopped and gone on with.
#[derive(Debug, Clone, Default)]
pub struct Sensitivity {
    /// The parameters, in the order in which the network first uses them.
    pub parameters: Vec<ParameterId>,
    /// Amounts, 0..=1.
    pub amounts: Vec<f64>,
    /// What is done: all amounts of the first parameters.
    pub cases: Vec<SensitivityCase>,
    /// Nodes that were run.
    pub nodes_run: u64,
    /// Nodes that running every case from the start would have taken.
    pub nodes_from_start: u64,
}

impl Sensitivity {
    /// Cases in all.
    #[must_use]
    pub fn num_cases(&self) -> usize {
        self.parameters.len() * self.amounts.len()
    }

    /// Whether every case is done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.cases.len() >= self.num_cases()
    }

    /// The case of a parameter at an amount, by number.
    #[must_use]
    pub fn case(&self, parameter: usize, amount: usize) -> Option<&SensitivityCase> {
        self.cases.get(parameter * self.amounts.len() + amount)
    }
}

impl Evaluator {
    /// A scan of these parameters, nothing of it done; parameters that no node reads are left out.
    ///
    /// # Errors
    /// A network that cannot be built.
    pub fn sensitivity(&mut self, parameters: &[ParameterId], amounts: Vec<f64>) -> Result<Sensitivity, EvaluateError> {
        let network = self.session.dense_network()?;
        let mut used: Vec<(usize, ParameterId)> = parameters.iter().filter_map(|&id| Some((network.first_use(id)?, id))).collect();
        used.sort_unstable();
        Ok(Sensitivity { parameters: used.into_iter().map(|(_, id)| id).collect(), amounts, ..Sensitivity::default() })
    }

    /// Goes on with a scan to its end. `each` is told after every case.
    ///
    /// # Errors
    /// [`SessionError::Cancelled`] when it was stopped: what is done stays in `scan`, and the next call goes on there.
    pub fn scan(
        &mut self,
        scan: &mut Sensitivity,
        is_cancelled: &dyn Fn() -> bool,
        each: &mut dyn FnMut(&Sensitivity),
    ) -> Result<(), EvaluateError> {
        let dense = self.session.dense_network()?;
        let graph = self.session.model().graph.clone();
        let num_nodes = graph.nodes.len();
        let (mut batches, mut held) = (Vec::<Arc<Batch>>::new(), Vec::new());
        // Batches are collected first: the questions keep them, as far as memory allows.
        let mut bytes = 0;
        self.questions.each::<EvaluateError>(is_cancelled, &mut |_, batch| {
            let pass = dense.begin(&batch.inputs)?;
            bytes += pass.bytes();
            batches.push(batch.clone());
            held.push((bytes <= HELD_BYTES).then_some((pass, 0_usize)));
            Ok(())
        })?;
        let mut known: Vec<Outputs> = Vec::with_capacity(batches.len());
        for batch in &batches {
            known.push(dense.finish(dense.begin(&batch.inputs)?, is_cancelled)?);
        }
        let first = scan.cases.len() / scan.amounts.len().max(1);
        scan.cases.truncate(first * scan.amounts.len());
        let left = scan.parameters.split_off(first);
        scan.parameters.extend_from_slice(&left);
        for id in left {
            let node = dense.first_use(id).unwrap_or(0).min(num_nodes);
            let mut passes: Vec<Pass> = Vec::with_capacity(batches.len());
            for (batch, held) in batches.iter().zip(&mut held) {
                let (mut pass, from) = match held.take() {
                    Some(held) => held,
                    None => (dense.begin(&batch.inputs)?, 0),
                };
                dense.advance(&mut pass, node, is_cancelled)?;
                scan.nodes_run += (node - from.min(node)) as u64;
                *held = Some((pass.clone(), node));
                passes.push(pass);
            }
            // What is beyond the limit is let go, and run again for the next parameter.
            let mut bytes = 0;
            for held in &mut held {
                bytes += held.as_ref().map_or(0, |(pass, _)| pass.bytes());
                if bytes > HELD_BYTES {
                    *held = None;
                }
            }
            let elements = graph.parameter(id).elements;
            for amount in scan.amounts.clone() {
                let count = Amount::Fraction(amount)
                    .count(elements as u64, &graph.parameter(id).name)
                    .map_err(|e| SessionError::from(crate::prune::PruneError::from(e)))?;
                let values = self.session.pruned_alone(id, count).map_err(SessionError::from)?;
                let mut network = dense.clone();
                if let Some(values) = values {
                    let data = TensorData::new(values.into_f32(), [elements]);
                    network.set_parameter(id, Tensor::from_data(data, dense.device()));
                }
                let mut tally = Tally::default();
                for ((batch, pass), known) in batches.iter().zip(&passes).zip(&known) {
                    let outputs = network.finish(pass.clone(), is_cancelled)?;
                    let answers = known.first().map_or(Answers::Values, |(_, first)| Answers::of(&graph, first, batch.images.len()));
                    tally.add(answers, known, &outputs, &batch.images, &batch.labels);
                    scan.nodes_run += (num_nodes - node) as u64;
                    scan.nodes_from_start += num_nodes as u64;
                }
                scan.cases.push(SensitivityCase { parameter: id, amount, effect: tally.effect() });
                each(scan);
            }
        }
        Ok(())
    }
}
