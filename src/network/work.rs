//! Multiply-accumulates that a forward pass spends on every weight.

use std::collections::HashMap;

use burn::Tensor;
use burn::module::Param;

use super::plan::Plan;
use super::step;
use super::value::Value;
use super::{AddedBiases, Array, Network, NetworkError, guarded};
use crate::graph::{ParameterId, ValueId};
use crate::watch::Watch;

/// Multiply-accumulates of one forward pass, for inputs of these shapes.
///
/// Counted are the products of weights: convolutions, linear and recurrent layers, at every position of the kernel, those
/// that read padding included, as is usual. Not counted are biases, normalisation, activations, tables, and products of two
/// activations, as in attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Name and shape of every input.
    pub inputs: Vec<(String, Vec<usize>)>,
    /// For every parameter of the graph: how often each of its elements is multiplied, which is the number of places where the
    /// network applies it.
    pub uses: Vec<u64>,
    /// Multiply-accumulates of the dense network.
    pub total: u64,
}

impl Work {
    /// Multiply-accumulates of so many elements of every parameter: of those that are zero, for one.
    #[must_use]
    pub fn of(&self, elements: impl Fn(ParameterId) -> u64) -> u64 {
        self.uses.iter().enumerate().map(|(i, uses)| uses.saturating_mul(elements(ParameterId(i)))).fold(0, u64::saturating_add)
    }
}

/// Lists of at most so many whole numbers are remembered.
const REMEMBERED: u64 = 16;

/// What was seen of the values of one pass.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// Shapes, by value; `None` of those that the pass did not come to.
    pub shapes: Vec<Option<Vec<usize>>>,
    /// Short lists of whole numbers: lengths, and what is worked out from them.
    pub numbers: HashMap<ValueId, Vec<i64>>,
}

impl Trace {
    pub(super) fn see(&mut self, id: ValueId, value: &Value) {
        self.shapes[id.0] = Some(value.shape().to_vec());
        if value.elements() <= REMEMBERED
            && let Ok(array) = value.to_array()
            && let Some(numbers) = array.as_i64()
        {
            self.numbers.insert(id, numbers.to_vec());
        }
    }
}

impl Network {
    /// Runs the network on `inputs` and counts what it does with every parameter.
    ///
    /// # Errors
    /// As [`Self::forward`]; [`NetworkError::Cancelled`] as soon as `watch` says so, which is asked before every node.
    pub fn work(&self, inputs: &[(String, Array)], watch: &dyn Watch) -> Result<Work, NetworkError> {
        self.work_and_trace(inputs, watch).map(|(work, _)| work)
    }

    /// As [`Self::work`], with what was seen of the values on the way.
    ///
    /// # Errors
    /// As [`Self::work`].
    pub fn work_and_trace(&self, inputs: &[(String, Array)], watch: &dyn Watch) -> Result<(Work, Trace), NetworkError> {
        let (uses, trace) = guarded("the forward pass", || self.plan.uses(&self.parameters, inputs, watch))?;
        let inputs = inputs.iter().map(|(name, array)| (name.clone(), array.shape.clone())).collect();
        let work = Work { inputs, uses, total: 0 };
        let total = work.of(|id| self.plan.graph.parameter(id).elements as u64);
        Ok((Work { total, ..work }, trace))
    }
}

impl Plan {
    fn uses(
        &self,
        parameters: &[Param<Tensor<1>>],
        inputs: &[(String, Array)],
        watch: &dyn Watch,
    ) -> Result<(Vec<u64>, Trace), NetworkError> {
        let mut pass = self.begin(inputs)?;
        // What a fused convolution puts out is never there.
        pass.is_one_by_one = true;
        pass.uses = Some(vec![0; self.graph.parameters.len()]);
        let mut trace = Trace { shapes: vec![None; self.graph.values.len()], numbers: HashMap::new() };
        for id in (0..self.graph.values.len()).map(ValueId) {
            if let Some(value) = pass.values[id.0].clone().or_else(|| self.constant(parameters, id)) {
                trace.see(id, &value);
            }
        }
        pass.trace = Some(trace);
        step::advance((self, &AddedBiases::default()), parameters, &mut pass, usize::MAX, watch)?;
        Ok((pass.uses.unwrap_or_default(), pass.trace.unwrap_or_default()))
    }
}
