//! Which parameters can bear pruning: every one alone, at several amounts.
//!
//! Pruning one parameter leaves everything before its first use unchanged. So the dense forward pass is held there for all
//! batches, and only the rest is run for every amount.

use std::collections::HashMap;
use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};

use super::{EvaluateError, Evaluator};
use crate::engine::{Engine, EngineError};
use crate::graph::ParameterId;
use crate::measure::{Effect, Tally};
use crate::network::{Network, Pass};
use crate::prune::Amount;
use crate::watch::Watch;

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

/// What a scan found, as far as it went.
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

/// A scan that can be stopped at any batch and gone on with: nothing is run again that memory could keep.
#[derive(Debug, Default)]
pub struct Scan {
    found: Sensitivity,
    /// Forward passes of the dense network by number of the batch, and the node before which they stand.
    held: HashMap<usize, (Pass, usize)>,
    /// The parameter at which it stopped, where that is not done.
    begun: Option<Begun>,
}

/// A parameter of which a part of the batches is done.
#[derive(Debug)]
struct Begun {
    /// One for every amount.
    tallies: Vec<Tally>,
    /// Batches that are done.
    batches: usize,
    /// Bytes of the passes that are held behind this parameter.
    bytes: usize,
}

impl Scan {
    /// What was found so far.
    #[must_use]
    pub fn found(&self) -> &Sensitivity {
        &self.found
    }
}

impl Evaluator {
    /// A scan of these parameters, nothing of it done; parameters that no node reads are left out.
    ///
    /// # Errors
    /// A network that cannot be built.
    pub fn start_scan(&mut self, parameters: &[ParameterId], amounts: Vec<f64>) -> Result<Scan, EvaluateError> {
        let network = self.engine.dense_network()?;
        let mut used: Vec<(usize, ParameterId)> = parameters.iter().filter_map(|&id| Some((network.first_use(id)?, id))).collect();
        used.sort_unstable();
        let parameters = used.into_iter().map(|(_, id)| id).collect();
        Ok(Scan { found: Sensitivity { parameters, amounts, ..Sensitivity::default() }, ..Scan::default() })
    }

    /// Goes on with a scan to its end. `each` is told after every batch; the last cases are those of one parameter, as far as it
    /// was seen.
    ///
    /// # Errors
    /// [`EngineError::Cancelled`] when it was stopped: what is done stays in `scan`, and the next call goes on behind it.
    pub fn scan(&mut self, scan: &mut Scan, watch: &dyn Watch, each: &mut dyn FnMut(&Sensitivity)) -> Result<(), EvaluateError> {
        loop {
            // A parameter that was stopped before its first batch has no cases yet.
            let begun = usize::from(scan.begun.as_ref().is_some_and(|begun| begun.batches > 0));
            let number = (scan.found.cases.len() / scan.found.amounts.len().max(1)).saturating_sub(begun);
            if number >= scan.found.parameters.len() || scan.found.amounts.is_empty() {
                return Ok(());
            }
            self.scan_parameter(scan, number, watch, each)?;
        }
    }

    /// All amounts of one parameter, by number: every batch goes to its first use once.
    fn scan_parameter(
        &mut self,
        scan: &mut Scan,
        number: usize,
        watch: &dyn Watch,
        each: &mut dyn FnMut(&Sensitivity),
    ) -> Result<(), EvaluateError> {
        self.settle(watch)?;
        let Self { engine, reference, questions, known, .. } = self;
        let dense = engine.dense_network()?;
        let other = (!Arc::ptr_eq(engine, reference)).then(|| reference.dense_network()).transpose()?;
        let graph = &engine.model().graph;
        let num_nodes = graph.nodes.len();
        let Scan { found, held, begun } = scan;
        let id = found.parameters[number];
        let node = dense.first_use(id).unwrap_or(0).min(num_nodes);
        let networks = found.amounts.iter().map(|&amount| pruned_alone(engine, &dense, id, amount)).collect::<Result<Vec<_>, _>>()?;
        let fresh = || Begun { tallies: vec![Tally::default(); networks.len()], batches: 0, bytes: 0 };
        let begun = begun.get_or_insert_with(fresh);
        questions.each::<EvaluateError>(&|_| watch.is_cancelled(), &mut |i, batch| {
            if i < begun.batches {
                return Ok(());
            }
            let (mut pass, from) = match held.remove(&i) {
                Some(held) => held,
                None => (dense.begin(&batch.inputs)?, 0),
            };
            dense.advance(&mut pass, node, watch)?;
            found.nodes_run += (node - from.min(node)) as u64;
            let outputs = networks.iter().map(|network| network.finish(pass.clone(), watch)).collect::<Result<Vec<_>, _>>();
            let expected = || match &other {
                Some(network) => network.finish(network.begin(&batch.inputs)?, watch),
                None => dense.finish(pass.clone(), watch),
            };
            let answered = outputs.and_then(|outputs| Ok((outputs, known.answers(graph, (i, batch), expected)?)));
            // Of what is beyond the limit every parameter runs the batch from the start again.
            let bytes = pass.bytes();
            if begun.bytes + bytes <= HELD_BYTES {
                held.insert(i, (pass, node));
            }
            let (outputs, (known, answering)) = answered?;
            begun.bytes += bytes;
            for (outputs, tally) in outputs.into_iter().zip(&mut begun.tallies) {
                tally.add(answering, &known, &batch.answers(outputs), &batch.images, &batch.labels);
                found.nodes_run += (num_nodes - node) as u64;
                found.nodes_from_start += num_nodes as u64;
            }
            begun.batches = i + 1;
            found.cases.truncate(number * found.amounts.len());
            found.cases.extend(found.amounts.iter().zip(&begun.tallies).map(|(&amount, tally)| SensitivityCase {
                parameter: id,
                amount,
                effect: Effect { changed: Vec::new(), ..tally.effect() },
            }));
            each(found);
            Ok(())
        })?;
        if watch.is_cancelled() {
            return Err(EngineError::Cancelled.into());
        }
        let has_seen = found.cases.len() > number * found.amounts.len();
        scan.begun = None;
        self.refuse_nothing(has_seen)
    }
}

/// The dense network with one parameter pruned.
fn pruned_alone(engine: &Engine, dense: &Network, id: ParameterId, amount: f64) -> Result<Network, EvaluateError> {
    let parameter = engine.model().graph.parameter(id);
    let count = Amount::Fraction(amount)
        .count(parameter.elements as u64, &parameter.name)
        .map_err(|e| EngineError::from(crate::prune::PruneError::from(e)))?;
    let mut network = dense.clone();
    if let Some(values) = engine.pruned_alone(id, count).map_err(EngineError::from)? {
        let data = TensorData::new(values.into_f32(), [parameter.elements]);
        network.set_parameter(id, Tensor::from_data(data, dense.device()));
    }
    Ok(network)
}
