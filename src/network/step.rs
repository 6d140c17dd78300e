//! A node that was made ready, and how one is carried out in a pass.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::Tensor;
use burn::module::Param;

use super::NetworkError;
use super::allowance::Allowance;
use super::call::Call;
use super::chain::Chain;
use super::convolution::{self, ConvSettings, Tail};
use super::fault::{Checked, Fault};
use super::operator::Operator;
use super::pass::Pass;
use super::plan::Plan;
use super::setup::Setup;
use super::spare::Spare;
use super::value::Value;
use super::work::Products;
use crate::graph::{Node, ValueId};
use crate::panics;

/// What is done where a node stands.
pub(super) enum Action {
    /// Nothing: its results are known beforehand.
    Nothing,
    Run(Operator),
    /// Nothing can be done, whatever goes in.
    Refuse(Fault),
}

/// One node in a plan.
pub(super) struct Step {
    pub(super) action: Action,
    /// The values that nobody reads after it.
    pub(super) last: Vec<ValueId>,
    /// The convolution that it is carried out with, where it is carried out with one: its own place where it is that.
    pub(super) first: Option<usize>,
    /// A convolution with what follows it.
    pub(super) fused: Option<Fused>,
    /// Weights that it multiplies.
    pub(super) products: Products,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match &self.action {
            Action::Nothing => "nothing",
            Action::Run(_) => "run",
            Action::Refuse(fault) => &fault.0,
        };
        f.debug_struct("Step").field("action", &action).field("last", &self.last).finish_non_exhaustive()
    }
}

/// A convolution with the nodes after it whose results it works out with its own.
pub(super) struct Fused {
    pub(super) chain: Chain,
    pub(super) settings: ConvSettings,
    /// ε of the batch normalisation among them.
    pub(super) epsilon: f32,
}

impl Fused {
    /// `None` where the convolution's settings are at fault, which is then told where it is carried out by itself.
    pub(super) fn of(chain: Chain, setup: &Setup, nodes: &[Node]) -> Option<Self> {
        let epsilon = chain.norm.and_then(|m| nodes[m].attributes.float("epsilon")).unwrap_or(1e-5);
        Some(Self { settings: ConvSettings::of(setup).ok()?, chain, epsilon })
    }
}

/// What nodes are carried out with.
pub(super) struct Runner<'r> {
    pub(super) plan: &'r Plan,
    pub(super) parameters: &'r [Param<Tensor<1>>],
}

impl Runner<'_> {
    /// Runs the node that comes next: takes its inputs from the pass, puts its outputs there.
    pub(super) fn step(&self, pass: &mut Pass) -> Result<(), NetworkError> {
        let n = pass.next;
        let (node, step) = (&self.plan.graph.nodes[n], &self.plan.steps[n]);
        let (values, stock) = (&mut pass.values, (&pass.spare, &pass.allowance));
        let failed = |fault| self.failed(node, fault);
        let operator = match &step.action {
            Action::Nothing => return Ok(()),
            Action::Run(operator) => Ok(operator),
            Action::Refuse(fault) => Err(fault),
        };
        let fused = step.first.and_then(|first| Some((first, self.plan.steps[first].fused.as_ref()?)));
        if let (Some((first, fused)), false) = (fused, pass.is_one_by_one) {
            let output = fused.chain.output;
            if first == n
                && let Some(value) = self.fused(node, fused, values, stock)?
            {
                stock.1.spend(value.elements(), value.shape()).map_err(failed)?;
                values[output.0] = Some(value);
            }
            if values[output.0].is_some() {
                for id in &step.last {
                    free(&mut values[id.0], stock.0);
                }
                return Ok(());
            }
        }
        let operator = operator.map_err(|fault| failed(fault.clone()))?;
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for (i, input) in node.inputs.iter().enumerate() {
            let Some(id) = input else {
                inputs.push(None);
                continue;
            };
            let again = node.inputs[i + 1..].contains(input);
            let value = if step.last.contains(id) && !again { values[id.0].take() } else { values[id.0].clone() };
            match value.or_else(|| self.plan.constant(self.parameters, *id)) {
                Some(value) => inputs.push(Some(value)),
                None => {
                    let name = &self.plan.graph.values[id.0];
                    return Err(failed(Fault(format!("its input “{name}” is written by nobody before it"))));
                }
            }
        }
        let read = step.products.first_shape(&inputs, pass.uses.is_some());
        let call = Call { device: &self.plan.device, inputs, spare: stock.0, allowance: stock.1 };
        let outputs = self.guarded(node, || operator.call(call))?;
        for output in &outputs {
            stock.1.spend(output.elements(), output.shape()).map_err(failed)?;
        }
        let mut outputs = outputs.into_iter();
        for (i, output) in node.outputs.iter().enumerate() {
            match (outputs.next(), output) {
                (Some(value), Some(id)) => values[id.0] = Some(value),
                (None, Some(_)) => return Err(failed(Fault(format!("its output {i} is not worked out by this program")))),
                _ => {}
            }
        }
        for id in &step.last {
            free(&mut values[id.0], stock.0);
        }
        if let Some(uses) = &mut pass.uses {
            let written = node.output(0).and_then(|id| values[id.0].as_ref()).map(Value::shape);
            step.products.count(&self.plan.graph, read.as_deref(), written, uses);
        }
        Ok(())
    }

    /// What a person knows a node by.
    fn name(&self, node: &Node) -> String {
        let first = node.output(0).map(|v| self.plan.graph.values[v.0].clone());
        if node.name.is_empty() { first.unwrap_or_default() } else { node.name.clone() }
    }

    /// Carries a convolution out with what follows it; `None` where they have to be carried out one by one.
    fn fused(
        &self,
        node: &Node,
        fused: &Fused,
        values: &[Option<Value>],
        (spare, allowance): (&Spare, &Allowance),
    ) -> Result<Option<Value>, NetworkError> {
        let (graph, chain) = (&self.plan.graph, &fused.chain);
        let get = |id: ValueId| values[id.0].clone().or_else(|| self.plan.constant(self.parameters, id));
        let floats = |id: Option<ValueId>| match id.and_then(get) {
            Some(Value::Float(v)) => Some(v),
            _ => None,
        };
        let mut tail = Tail { first: chain.first, second: chain.second, ..Tail::default() };
        if let Some(norm) = chain.norm.map(|m| &graph.nodes[m]) {
            let [Some(scale), Some(bias), Some(mean), Some(variance)] = [1, 2, 3, 4].map(|i| floats(norm.input(i))) else {
                return Ok(None);
            };
            tail.norm = Some(([scale, bias, mean, variance], fused.epsilon));
        }
        if chain.residual.is_some() {
            tail.residual = floats(chain.residual);
            if tail.residual.is_none() {
                return Ok(None);
            }
        }
        let inputs: Vec<Option<Value>> = node.inputs.iter().map(|id| id.and_then(get)).collect();
        // One that is missing is told where nodes are carried out one by one.
        if inputs.iter().zip(&node.inputs).any(|(value, id)| value.is_none() && id.is_some()) {
            return Ok(None);
        }
        let mut call = Call { device: &self.plan.device, inputs, spare, allowance };
        self.guarded(node, || convolution::conv_with(&mut call, &fused.settings, &tail)).map(|result| result.map(Value::from))
    }

    /// Turns a fault into an error that names the node, and so a panic of a library below.
    fn guarded<T>(&self, node: &Node, work: impl FnOnce() -> Checked<T>) -> Result<T, NetworkError> {
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(result) => result.map_err(|fault| self.failed(node, fault)),
            Err(panic) => Err(NetworkError::Internal {
                place: format!("{} at node “{}”", node.full_op(), self.name(node)),
                message: panics::text(&*panic),
            }),
        }
    }

    fn failed(&self, node: &Node, fault: Fault) -> NetworkError {
        NetworkError::Operator { op: node.full_op(), node: self.name(node), reason: fault.0 }
    }
}

/// Lets a value go, and keeps its memory where that can be used again.
fn free(value: &mut Option<Value>, spare: &Spare) {
    if let Some(Value::Float(value)) = value.take()
        && let Some(buffer) = value.into_buffer()
    {
        spare.keep(buffer);
    }
}
