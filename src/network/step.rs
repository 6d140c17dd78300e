//! How nodes that were made ready are carried out in a pass.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::Tensor;
use burn::module::Param;
use burn::tensor::Device;

use super::allowance::Allowance;
use super::arithmetic::{Binary, floats};
use super::block::{Block, Fused, NodeAction, PlannedNode};
use super::call::Call;
use super::control::Holder;
use super::convolution::{self, Tail};
use super::fault::{Checked, Fault};
use super::pass::Pass;
use super::plan::Plan;
use super::spare::Spare;
use super::value::{Floats, Value};
use super::{AddedBiases, NetworkError};
use crate::graph::{BodyId, Node, ValueId};
use crate::panics;
use crate::watch::Watch;

/// Carries out the nodes of the main graph before `end` that the pass has before it.
pub(super) fn advance(
    (plan, biases): (&Plan, &AddedBiases),
    parameters: &[Param<Tensor<1>>],
    pass: &mut Pass,
    end: usize,
    watch: &dyn Watch,
) -> Result<(), NetworkError> {
    let runner = Runner { plan, biases, parameters, watch };
    while pass.next < end.min(plan.main.steps.len()) {
        runner.step(&plan.graph.nodes, &plan.main, pass.next, pass)?;
        pass.next += 1;
    }
    Ok(())
}

/// Where a convolution and a `Gemm` read a bias.
const BIAS: usize = 2;

/// What nodes are carried out with.
struct Runner<'r> {
    plan: &'r Plan,
    biases: &'r AddedBiases,
    parameters: &'r [Param<Tensor<1>>],
    watch: &'r dyn Watch,
}

impl Runner<'_> {
    /// Runs one node: takes its inputs from the pass, puts its outputs there.
    fn step(&self, nodes: &[Node], block: &Block, n: usize, pass: &mut Pass) -> Result<(), NetworkError> {
        if self.watch.is_cancelled() {
            return Err(NetworkError::Cancelled);
        }
        let (node, step) = (&nodes[n], &block.steps[n]);
        let failed = |fault| self.failed(node, fault);
        if matches!(step.action, NodeAction::Nothing) {
            return Ok(());
        }
        let fused = step.first.and_then(|first| Some((first, block.steps[first].fused.as_ref()?)));
        if let (Some((first, fused)), false) = (fused, pass.is_one_by_one) {
            let (values, stock) = (&mut pass.values, (&pass.spare, &pass.allowance));
            let output = fused.chain.output;
            if first == n
                && let Some(value) = self.fused(nodes, n, fused, values, stock)?
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
        let inputs = self.inputs(node, step, pass)?;
        let read = step.products.first_shape(&inputs, pass.uses.is_some());
        let outputs = match &step.action {
            NodeAction::Run(operator) => {
                let call = self.call(inputs, pass);
                let outputs = self.guarded(node, || operator.call(call))?;
                self.with_bias(node, outputs, pass)?
            }
            NodeAction::Control(control) => control.run(self, node, inputs, pass)?,
            NodeAction::Refuse(fault) => return Err(failed(fault.clone())),
            NodeAction::Nothing => return Ok(()),
        };
        for output in &outputs {
            pass.allowance.spend(output.elements(), output.shape()).map_err(failed)?;
        }
        let mut outputs = outputs.into_iter();
        for (i, output) in node.outputs.iter().enumerate() {
            match (outputs.next(), output) {
                (Some(value), Some(id)) => {
                    if let Some(trace) = &mut pass.trace {
                        trace.see(*id, &value);
                    }
                    pass.values[id.0] = Some(value);
                }
                (None, Some(_)) => return Err(failed(Fault(format!("its output {i} is not worked out by this program")))),
                _ => {}
            }
        }
        for id in &step.last {
            free(&mut pass.values[id.0], &pass.spare);
        }
        if let Some(uses) = &mut pass.uses {
            let written = node.output(0).and_then(|id| pass.values[id.0].as_ref()).map(Value::shape);
            step.products.count(&self.plan.graph, read.as_deref(), written, uses);
        }
        Ok(())
    }

    /// The inputs of a node; those that nobody reads after it are taken out of the pass.
    fn inputs(&self, node: &Node, step: &PlannedNode, pass: &mut Pass) -> Result<Vec<Option<Value>>, NetworkError> {
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for (i, input) in node.inputs.iter().enumerate() {
            let Some(id) = input else {
                inputs.push(None);
                continue;
            };
            let again = node.inputs[i + 1..].contains(input) || node.captures.contains(id);
            let held = &mut pass.values[id.0];
            let value = if step.last.contains(id) && !again { held.take() } else { held.clone() };
            match value.or_else(|| self.plan.constant(self.parameters, *id)) {
                Some(value) => inputs.push(Some(value)),
                None => {
                    let name = &self.plan.graph.values[id.0];
                    return Err(self.failed(node, Fault(format!("its input “{name}” is written by nobody before it"))));
                }
            }
        }
        self.add_bias(node, &mut inputs);
        Ok(inputs)
    }

    /// The bias that a node was given.
    fn bias(&self, node: &Node) -> Option<Value> {
        let (bias, dtype) = self.biases.get(&node.output(0)?)?;
        Some(Floats::on_device(bias.dims().to_vec(), *dtype, bias.clone().into_dispatch()).into())
    }

    /// Puts the bias that a node was given where it reads one.
    fn add_bias(&self, node: &Node, inputs: &mut Vec<Option<Value>>) {
        if let Some(bias) = self.bias(node).filter(|_| !node.is("MatMul")) {
            inputs.resize(inputs.len().max(BIAS + 1), None);
            inputs[BIAS] = Some(bias);
        }
    }

    /// What a product of matrices gave, with the bias that it was given.
    fn with_bias(&self, node: &Node, mut outputs: Vec<Value>, pass: &Pass) -> Result<Vec<Value>, NetworkError> {
        if let Some(Value::Float(bias)) = self.bias(node).filter(|_| node.is("MatMul"))
            && let Some(Value::Float(product)) = outputs.pop()
        {
            let call = self.call(Vec::new(), pass);
            outputs.push(self.guarded(node, || Ok(floats(&call, Binary::Add, product, bias)?.into()))?);
        }
        Ok(outputs)
    }

    /// An operator about to run on these inputs.
    fn call<'c>(&'c self, inputs: Vec<Option<Value>>, pass: &'c Pass) -> Call<'c> {
        Call { device: &self.plan.device, inputs, spare: &pass.spare, allowance: &pass.allowance }
    }

    /// What a person knows a node by.
    fn name(&self, node: &Node) -> String {
        let first = node.output(0).map(|v| self.plan.graph.values[v.0].clone());
        if node.name.is_empty() { first.unwrap_or_default() } else { node.name.clone() }
    }

    /// Carries a convolution out with what follows it; `None` where they have to be carried out one by one.
    fn fused(
        &self,
        nodes: &[Node],
        n: usize,
        fused: &Fused,
        values: &[Option<Value>],
        (spare, allowance): (&Spare, &Allowance),
    ) -> Result<Option<Value>, NetworkError> {
        let (node, chain) = (&nodes[n], &fused.chain);
        let get = |id: ValueId| values[id.0].clone().or_else(|| self.plan.constant(self.parameters, id));
        let floats = |id: Option<ValueId>| match id.and_then(get) {
            Some(Value::Float(v)) => Some(v),
            _ => None,
        };
        let mut tail = Tail { first: chain.first, second: chain.second, ..Tail::default() };
        if let Some(norm) = chain.norm.map(|m| &nodes[m]) {
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
        let mut inputs: Vec<Option<Value>> = node.inputs.iter().map(|id| id.and_then(get)).collect();
        // One that is missing is told where nodes are carried out one by one.
        if inputs.iter().zip(&node.inputs).any(|(value, id)| value.is_none() && id.is_some()) {
            return Ok(None);
        }
        self.add_bias(node, &mut inputs);
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
}

impl Holder for Runner<'_> {
    fn body(&self, holder: &Node, id: BodyId, inputs: Vec<Value>, pass: &mut Pass) -> Result<Vec<Value>, NetworkError> {
        let (body, block) = (&self.plan.graph.bodies[id.0], &self.plan.bodies[id.0]);
        if body.inputs.len() != inputs.len() {
            let fault = Fault(format!("its {} takes {} values, and {} are given", body.name, body.inputs.len(), inputs.len()));
            return Err(self.failed(holder, fault));
        }
        // What an earlier round left is not what this one works out.
        for id in &block.own {
            pass.values[id.0] = None;
        }
        for (id, value) in body.inputs.iter().zip(inputs) {
            pass.values[id.0] = Some(value);
        }
        for n in 0..block.steps.len() {
            self.step(&body.nodes, block, n, pass)?;
        }
        let mut out = Vec::with_capacity(body.outputs.len());
        for id in &body.outputs {
            match pass.values[id.0].clone().or_else(|| self.plan.constant(self.parameters, *id)) {
                Some(value) => out.push(value),
                None => {
                    let fault = Fault(format!("nothing writes “{}”, which its {} gives", self.plan.graph.values[id.0], body.name));
                    return Err(self.failed(holder, fault));
                }
            }
        }
        for id in &block.own {
            free(&mut pass.values[id.0], &pass.spare);
        }
        Ok(out)
    }

    fn failed(&self, node: &Node, fault: Fault) -> NetworkError {
        NetworkError::Operator { op: node.full_op(), node: self.name(node), reason: fault.0 }
    }

    fn num_outputs(&self, body: BodyId) -> usize {
        self.plan.graph.bodies[body.0].outputs.len()
    }

    fn device(&self) -> &Device {
        &self.plan.device
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
