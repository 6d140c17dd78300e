//! Which parameters can bear pruning: every one alone, at several amounts.
//!
//! Pruning one parameter leaves everything before its first use unchanged. So the dense forward pass is held there for all
//! batches, and only the rest is run for every amount.

use std::collections::HashMap;
use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};

use super::{EvaluateError, Evaluator, KEPT_ANSWERS, Outputs, bytes};
use crate::graph::ParameterId;
use crate::measure::{Answers, Effect, Tally};
use crate::network::{Network, Pass};
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
    /// What that does, without the list of images whose answer changed.
    pub effect: Effect,
}

/// A scan that can be stopped and gone on with.
#[derive(Debug, Clone, Default)]
pub struct Sensitivity {
    /// The parameters, in the order in which the network first uses them.
    pub parameters: Vec<ParameterId>,
    /// Amounts, 0..=1.
    pub amounts: Vec<f64>,
    /// What is done: all amounts of the first parameters. While a scan goes on, those of the last one may be of a part of the
    /// images.
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

    /// How much of it is done, 0..=1, when there are so many images.
    #[must_use]
    pub fn share_done(&self, images: usize) -> f32 {
        let seen: usize = self.cases.iter().map(|case| case.effect.images).sum();
        (seen as f32 / (self.num_cases() * images).max(1) as f32).min(1.0)
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

    /// Goes on with a scan to its end. `each` is told after every batch; the last cases are those of one parameter, as far as it
    /// was seen.
    ///
    /// # Errors
    /// [`SessionError::Cancelled`] when it was stopped: parameters that are done stay in `scan`, and the next call goes on behind
    /// them.
    pub fn scan(
        &mut self,
        scan: &mut Sensitivity,
        is_cancelled: &dyn Fn() -> bool,
        each: &mut dyn FnMut(&Sensitivity),
    ) -> Result<(), EvaluateError> {
        let mut held = Held::default();
        for done in scan.cases.len() / scan.amounts.len().max(1)..scan.parameters.len() {
            if let Err(error) = self.scan_parameter(scan, done, &mut held, is_cancelled, each) {
                scan.cases.truncate(done * scan.amounts.len());
                each(scan);
                return Err(error);
            }
        }
        Ok(())
    }

    /// All amounts of one parameter, by number: every batch goes to its first use once.
    fn scan_parameter(
        &mut self,
        scan: &mut Sensitivity,
        number: usize,
        held: &mut Held,
        is_cancelled: &dyn Fn() -> bool,
        each: &mut dyn FnMut(&Sensitivity),
    ) -> Result<(), EvaluateError> {
        let dense = self.session.dense_network()?;
        let graph = self.session.model().graph.clone();
        let num_nodes = graph.nodes.len();
        let id = scan.parameters[number];
        let node = dense.first_use(id).unwrap_or(0).min(num_nodes);
        let networks = scan.amounts.iter().map(|&amount| self.pruned_alone(&dense, id, amount)).collect::<Result<Vec<_>, _>>()?;
        let mut tallies = vec![Tally::default(); networks.len()];
        let mut bytes = 0;
        self.questions.each::<EvaluateError>(is_cancelled, &mut |i, batch| {
            let (mut pass, from) = match held.passes.remove(&i) {
                Some(held) => held,
                None => (dense.begin(&batch.inputs)?, 0),
            };
            dense.advance(&mut pass, node, is_cancelled)?;
            scan.nodes_run += (node - from.min(node)) as u64;
            let known = match held.answers.get(&i) {
                Some(known) => known.clone(),
                None => held.keep(i, dense.finish(pass.clone(), is_cancelled)?),
            };
            let answers = known.first().map_or(Answers::Values, |(_, first)| Answers::of(&graph, first, batch.images.len()));
            for (network, tally) in networks.iter().zip(&mut tallies) {
                let outputs = network.finish(pass.clone(), is_cancelled)?;
                tally.add(answers, &known, &outputs, &batch.images, &batch.labels);
                scan.nodes_run += (num_nodes - node) as u64;
                scan.nodes_from_start += num_nodes as u64;
            }
            // What is beyond the limit is run again from the start for the next parameter.
            bytes += pass.bytes();
            if bytes <= HELD_BYTES {
                held.passes.insert(i, (pass, node));
            }
            scan.cases.truncate(number * scan.amounts.len());
            scan.cases.extend(scan.amounts.iter().zip(&tallies).map(|(&amount, tally)| SensitivityCase {
                parameter: id,
                amount,
                effect: Effect { changed: Vec::new(), ..tally.effect() },
            }));
            each(scan);
            Ok(())
        })?;
        if is_cancelled() {
            return Err(SessionError::Cancelled.into());
        }
        self.refuse_nothing(scan.cases.len() > number * scan.amounts.len())
    }

    /// The dense network with one parameter pruned.
    fn pruned_alone(&self, dense: &Network, id: ParameterId, amount: f64) -> Result<Network, EvaluateError> {
        let parameter = self.session.model().graph.parameter(id);
        let count = Amount::Fraction(amount)
            .count(parameter.elements as u64, &parameter.name)
            .map_err(|e| SessionError::from(crate::prune::PruneError::from(e)))?;
        let mut network = dense.clone();
        if let Some(values) = self.session.pruned_alone(id, count).map_err(SessionError::from)? {
            let data = TensorData::new(values.into_f32(), [parameter.elements]);
            network.set_parameter(id, Tensor::from_data(data, dense.device()));
        }
        Ok(network)
    }
}

/// What is kept from parameter to parameter, by number of the batch.
#[derive(Debug, Default)]
struct Held {
    /// Forward passes of the dense network, and the node before which they stand.
    passes: HashMap<usize, (Pass, usize)>,
    /// Answers of the dense network.
    answers: HashMap<usize, Arc<Outputs>>,
    answer_bytes: usize,
}

impl Held {
    /// Keeps the dense network's answers to a batch where memory allows.
    fn keep(&mut self, batch: usize, answers: Outputs) -> Arc<Outputs> {
        let answers = Arc::new(answers);
        let bytes = bytes(&answers);
        if self.answer_bytes + bytes <= KEPT_ANSWERS {
            self.answer_bytes += bytes;
            self.answers.insert(batch, answers.clone());
        }
        answers
    }
}
