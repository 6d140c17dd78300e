//! What is known of a network before it runs: constants, and after which node each value can go.

use std::collections::{HashMap, HashSet};

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use burn::Tensor;
use burn::backend::DispatchDevice;
use burn::module::{Param, ParamId};
use burn::tensor::{Device, TensorData};

use super::NetworkError;
use super::allowance::Allowance;
use super::array::Array;
use super::call::{Call, Fault, Outcome, fault};
use super::chain::{Chain, Chains};
use super::convolution::{self, Tail};
use super::operator;
use super::pass::Pass;
use super::spare::Spare;
use super::value::{Floats, Ints, MAX_ELEMENTS, Value, upload};
use crate::graph::{Attribute, Graph, Node, ParameterId, ValueId};
use crate::onnx::{Dtype, OnnxFile, OpenError, TensorId};
use crate::panics;

/// Constants with more elements than this do not keep a copy on the host.
const MAX_HOST_CONSTANT: usize = 1 << 16;

/// All values that are worked out beforehand have together no more elements than this.
const MAX_FOLDED: usize = 1 << 26;

/// Everything but the weights.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) graph: Arc<Graph>,
    pub(super) device: Device,
    /// Values known beforehand, less the parameters.
    constants: HashMap<ValueId, Value>,
    /// Values that are parameters.
    parameters: HashMap<ValueId, ParameterId>,
    /// Elements of both.
    elements: u64,
    /// First outputs of nodes whose outputs are among the constants.
    folded: HashSet<ValueId>,
    /// For every node, the values that nobody reads after it.
    last_uses: Vec<Vec<ValueId>>,
    /// Convolutions with what follows them, where the device has loops of ours for both in one.
    chains: Chains,
}

/// The weights of a graph on the device, flat, in graph order.
pub(super) fn parameters(graph: &Graph, file: &OnnxFile, device: &Device) -> Result<Vec<Param<Tensor<1>>>, NetworkError> {
    let load = |id: TensorId| -> Outcome<Tensor<1>> {
        let values = match file.floats(id).map_err(unreadable)? {
            Some(values) => values.into_f32(),
            None => match file.ints(id).map_err(unreadable)? {
                Some(values) => values.into_iter().map(|v| v as f32).collect(),
                None => return fault!("its elements are {}", file.tensor(id).dtype),
            },
        };
        let length = values.len();
        Ok(Tensor::from_data(TensorData::new(values, [length]), device))
    };
    let parameter = |p: &crate::graph::Parameter| match load(p.tensor) {
        Ok(tensor) => Ok(Param::initialized(ParamId::new(), tensor)),
        Err(fault) => Err(NetworkError::Tensor { tensor: p.name.clone(), reason: fault.0 }),
    };
    graph.parameters.iter().map(parameter).collect()
}

impl Plan {
    pub(super) fn new(graph: Arc<Graph>, file: &OnnxFile, device: &Device) -> Result<Self, NetworkError> {
        let owners: HashMap<TensorId, ParameterId> = graph.parameters.iter().enumerate().map(|(i, p)| (p.tensor, ParameterId(i))).collect();
        let mut plan = Self {
            device: device.clone(),
            constants: HashMap::new(),
            parameters: HashMap::new(),
            elements: graph.parameters.iter().map(|p| p.elements as u64).sum(),
            folded: HashSet::new(),
            last_uses: last_uses(&graph),
            chains: Chains::default(),
            graph,
        };
        let graph = Arc::clone(&plan.graph);
        // What a node reads, less what another node has to work out first.
        let mut wanted: Vec<ValueId> = graph.nodes.iter().flat_map(|n| n.inputs.iter().flatten().copied()).collect();
        wanted.extend(graph.outputs.iter().map(|(_, v)| *v));
        wanted.sort_unstable();
        wanted.dedup();
        for value in wanted {
            let Some(tensor) = graph.constants.get(value.0).copied().flatten() else { continue };
            match owners.get(&tensor) {
                Some(&parameter) if file.tensor(tensor).dtype.is_float() => drop(plan.parameters.insert(value, parameter)),
                _ => drop(plan.constants.insert(value, constant(file, tensor, device)?)),
            }
        }
        for node in &graph.nodes {
            if let (Some(output), Some(value)) = (node.output(0).filter(|_| node.op == "Constant"), constant_node(node)) {
                plan.constants.entry(output).or_insert(value);
            }
            if let ("ConstantOfShape", Some(tensor)) = (node.op.as_str(), node.attributes.tensor("value"))
                && let Some(output) = node.output(0)
            {
                plan.constants.insert(fill_of(output, &graph), constant(file, tensor, device)?);
            }
        }
        plan.elements += plan.constants.values().map(size).sum::<u64>();
        plan.fold();
        if matches!(device.as_dispatch(), DispatchDevice::Flex(_)) {
            let known = |value| plan.constants.contains_key(&value) || plan.parameters.contains_key(&value);
            let number = |value| match plan.constants.get(&value) {
                Some(Value::Float(v)) => v.host_scalar(),
                _ => None,
            };
            plan.chains = Chains::find(&graph, &known, &number);
        }
        Ok(plan)
    }

    pub(super) fn constant(&self, parameters: &[Param<Tensor<1>>], value: ValueId) -> Option<Value> {
        if let Some(&id) = self.parameters.get(&value) {
            let parameter = self.graph.parameter(id);
            let shape = parameter.shape.clone();
            return Some(match parameter.elements {
                0 => Floats::empty(shape, parameter.dtype).into(),
                _ => Floats::on_device(shape, parameter.dtype, parameters.get(id.0)?.val().into_dispatch()).into(),
            });
        }
        self.constants.get(&value).cloned()
    }

    /// A pass that stands before the first node.
    pub(super) fn begin(&self, inputs: &[(String, Array)]) -> Result<Pass, NetworkError> {
        let graph = &self.graph;
        let mut values: Vec<Option<Value>> = vec![None; graph.values.len()];
        for (name, array) in inputs {
            let wrong = |reason: String| NetworkError::WrongInput { name: name.clone(), reason };
            let Some(input) = graph.inputs.iter().find(|i| i.name == *name) else {
                return Err(wrong("the model has no input of this name".into()));
            };
            let fits = input.shape.len() == array.shape.len()
                && input.shape.iter().zip(&array.shape).all(|(want, &have)| want.is_none_or(|want| want == have));
            if !input.shape.is_empty() && !fits {
                return Err(wrong(format!("the model wants {}, this is {:?}", shape_text(&input.shape), array.shape)));
            }
            if !super::cast::is_value_type(input.dtype) {
                return Err(wrong(format!("this program cannot calculate with {}", input.dtype)));
            }
            let kind = |dtype: Dtype| (dtype.is_float(), dtype == Dtype::Bool);
            if kind(input.dtype) != kind(array.dtype) {
                return Err(wrong(format!("the model wants {}, this is {}", input.dtype, array.dtype)));
            }
            let value = Value::from_array(array, &self.device).map_err(|fault| wrong(fault.0))?;
            values[input.value.0] = Some(super::cast::declared(value, input.dtype).map_err(|fault| wrong(fault.0))?);
        }
        if let Some(missing) = graph.inputs.iter().find(|i| values[i.value.0].is_none()) {
            return Err(NetworkError::MissingInput { name: missing.name.clone() });
        }
        let given = self.elements.saturating_add(inputs.iter().map(|(_, array)| array.shape.iter().product::<usize>() as u64).sum());
        Ok(Pass { values, next: 0, spare: Spare::default(), is_one_by_one: false, allowance: Allowance::new(given) })
    }

    /// Carries out the nodes before `end` that the pass has before it.
    pub(super) fn advance(
        &self,
        parameters: &[Param<Tensor<1>>],
        pass: &mut Pass,
        end: usize,
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<(), NetworkError> {
        while let Some(node) = self.graph.nodes.get(pass.next).filter(|_| pass.next < end) {
            if is_cancelled() {
                return Err(NetworkError::Cancelled);
            }
            self.step(node, parameters, pass)?;
            pass.next += 1;
        }
        Ok(())
    }

    /// Reads the outputs of the graph from a pass that has no node before it.
    pub(super) fn outputs(&self, parameters: &[Param<Tensor<1>>], pass: &Pass) -> Result<Vec<(String, Array)>, NetworkError> {
        let read = |(name, id): &(String, ValueId)| {
            let failed = |reason: String| NetworkError::Output { name: name.clone(), reason };
            let value =
                pass.values[id.0].clone().or_else(|| self.constant(parameters, *id)).ok_or_else(|| failed("nothing writes it".into()))?;
            Ok((name.clone(), value.to_array().map_err(|fault| failed(fault.0))?))
        };
        self.graph.outputs.iter().map(read).collect()
    }

    /// Index of the first node that reads this parameter, or the number of nodes where only an output does.
    pub(super) fn first_use(&self, id: ParameterId) -> Option<usize> {
        let reads = |value: &ValueId| self.parameters.get(value) == Some(&id);
        let uses = self.graph.nodes.iter().enumerate().filter(|(_, node)| node.inputs.iter().flatten().any(reads));
        // What follows a convolution is carried out with it.
        let node = uses.map(|(n, _)| self.chains.first_of.get(&n).copied().unwrap_or(n)).min();
        node.or_else(|| self.graph.outputs.iter().any(|(_, value)| reads(value)).then_some(self.graph.nodes.len()))
    }

    /// Runs the node that comes next: takes its inputs from the pass, puts its outputs there.
    fn step(&self, node: &Node, parameters: &[Param<Tensor<1>>], pass: &mut Pass) -> Result<(), NetworkError> {
        let (n, is_fused) = (pass.next, !pass.is_one_by_one);
        let (values, stock) = (&mut pass.values, (&pass.spare, &pass.allowance));
        let failed = |reason: String| {
            let first = node.output(0).map(|v| self.graph.values[v.0].clone());
            let name = if node.name.is_empty() { first.unwrap_or_default() } else { node.name.clone() };
            NetworkError::Operator { op: node.full_op(), node: name, reason }
        };
        if node.op == "Constant" || node.output(0).is_some_and(|first| self.folded.contains(&first)) {
            return Ok(());
        }
        let last = self.last_uses.get(n).map_or(&[][..], Vec::as_slice);
        let start = self.chains.first_of.get(&n).copied().unwrap_or(n);
        if let Some(chain) = self.chains.by_first.get(&start).filter(|_| is_fused)
            && let Some(output) = chain.output
        {
            if start == n
                && let Some(value) = self.chain(n, chain, (parameters, &*values), stock).map_err(|fault| failed(fault.0))?
            {
                stock.1.spend(size(&value), value.shape()).map_err(|fault| failed(fault.0))?;
                values[output.0] = Some(value);
            }
            if values[output.0].is_some() {
                for id in last {
                    free(&mut values[id.0], stock.0);
                }
                return Ok(());
            }
        }
        let mut inputs = Vec::with_capacity(node.inputs.len() + 1);
        for (i, input) in node.inputs.iter().enumerate() {
            let Some(id) = input else {
                inputs.push(None);
                continue;
            };
            let again = node.inputs[i + 1..].contains(input);
            let value = if last.contains(id) && !again { values[id.0].take() } else { values[id.0].clone() };
            match value.or_else(|| self.constant(parameters, *id)) {
                Some(value) => inputs.push(Some(value)),
                None => return Err(failed(format!("its input “{}” is written by nobody before it", self.graph.values[id.0]))),
            }
        }
        if let ("ConstantOfShape", Some(output)) = (node.op.as_str(), node.output(0)) {
            inputs.push(self.constants.get(&fill_of(output, &self.graph)).cloned());
        }
        let outputs = catch_unwind(AssertUnwindSafe(|| self.call(node, inputs, stock)))
            .map_err(|panic| NetworkError::Internal {
                place: format!("{} at node “{}”", node.full_op(), node.name),
                message: panics::text(&*panic),
            })?
            .map_err(|fault| failed(fault.0))?;
        for output in &outputs {
            stock.1.spend(size(output), output.shape()).map_err(|fault| failed(fault.0))?;
        }
        let mut outputs = outputs.into_iter();
        for (i, output) in node.outputs.iter().enumerate() {
            match (outputs.next(), output) {
                (Some(value), Some(id)) => values[id.0] = Some(value),
                (None, Some(_)) => return Err(failed(format!("its output {i} is not worked out by this program"))),
                _ => {}
            }
        }
        for id in last {
            free(&mut values[id.0], stock.0);
        }
        Ok(())
    }

    /// Carries a convolution out with what follows it; `None` where they have to be carried out one by one.
    fn chain(
        &self,
        n: usize,
        chain: &Chain,
        (parameters, values): (&[Param<Tensor<1>>], &[Option<Value>]),
        (spare, allowance): (&Spare, &Allowance),
    ) -> Outcome<Option<Value>> {
        let graph = &self.graph;
        let get = |id: ValueId| values[id.0].clone().or_else(|| self.constant(parameters, id));
        let floats = |id: Option<ValueId>| match id.and_then(get) {
            Some(Value::Float(v)) => Some(v),
            _ => None,
        };
        let mut tail = Tail { first: chain.first, second: chain.second, ..Tail::default() };
        if let Some(norm) = chain.norm.map(|m| &graph.nodes[m]) {
            let [Some(scale), Some(bias), Some(mean), Some(variance)] = [1, 2, 3, 4].map(|i| floats(norm.input(i))) else {
                return Ok(None);
            };
            tail.norm = Some(([scale, bias, mean, variance], norm.attributes.float("epsilon").unwrap_or(1e-5)));
        }
        if chain.residual.is_some() {
            tail.residual = floats(chain.residual);
            if tail.residual.is_none() {
                return Ok(None);
            }
        }
        let inputs: Vec<Option<Value>> = graph.nodes[n].inputs.iter().map(|id| id.and_then(get)).collect();
        // One that is missing is told where nodes are carried out one by one.
        if inputs.iter().zip(&graph.nodes[n].inputs).any(|(value, id)| value.is_none() && id.is_some()) {
            return Ok(None);
        }
        let mut call = Call { node: &graph.nodes[n], opset: graph.opset, device: &self.device, inputs, spare, allowance };
        catch_unwind(AssertUnwindSafe(|| convolution::conv_with(&mut call, &tail)))
            .unwrap_or_else(|panic| fault!("internal error: {}", panics::text(&*panic)))
            .map(|result| result.map(Value::from))
    }

    /// Carries one node out on these inputs.
    fn call(&self, node: &Node, mut inputs: Vec<Option<Value>>, (spare, allowance): (&Spare, &Allowance)) -> Outcome<Vec<Value>> {
        let Some(operator) = operator::find(node) else { return fault!("it cannot be run") };
        if !operator::takes_quantized(&node.op) {
            inputs = inputs.into_iter().map(|v| v.map(Value::with_ints_on_host).transpose()).collect::<Outcome<_>>()?;
        }
        let mut call = Call { node, opset: self.graph.opset, device: &self.device, inputs, spare, allowance };
        operator.call(&mut call)?.into_iter().map(|v| v.with_floats_on_device(&self.device)).collect()
    }

    /// Works out beforehand what depends on constants alone, where it is no weight and not large.
    ///
    /// A node that fails here fails again, with its name, when the network runs.
    fn fold(&mut self) {
        let graph = Arc::clone(&self.graph);
        let mut budget = MAX_FOLDED;
        for node in &graph.nodes {
            let known = |id: &Option<ValueId>| id.is_none_or(|id| self.constants.contains_key(&id));
            if node.op == "Constant" || node.inputs.is_empty() || !node.inputs.iter().all(known) {
                continue;
            }
            let inputs: Vec<Option<Value>> = node.inputs.iter().map(|id| id.and_then(|id| self.constants.get(&id).cloned())).collect();
            let largest = inputs.iter().flatten().map(|v| v.shape().iter().product::<usize>()).max().unwrap_or(0);
            if largest > budget || operator::makes_much(&node.op) {
                continue;
            }
            let stock = (&Spare::default(), &Allowance::new(0));
            let Ok(Ok(outputs)) = catch_unwind(AssertUnwindSafe(|| self.call(node, inputs, stock))) else { continue };
            let size: usize = outputs.iter().map(|v| v.shape().iter().product::<usize>()).sum();
            let Some(left) = budget.checked_sub(size).filter(|_| outputs.len() >= node.outputs.len()) else { continue };
            budget = left;
            for (value, output) in outputs.into_iter().zip(&node.outputs) {
                if let Some(id) = output {
                    self.constants.insert(*id, value);
                }
            }
            if let Some(first) = node.output(0) {
                self.folded.insert(first);
            }
        }
    }
}

/// Number of elements.
fn size(value: &Value) -> u64 {
    value.shape().iter().product::<usize>() as u64
}

/// Lets a value go, and keeps its memory where that can be used again.
fn free(value: &mut Option<Value>, spare: &Spare) {
    if let Some(Value::Float(value)) = value.take()
        && let Some(buffer) = value.into_buffer()
    {
        spare.keep(buffer);
    }
}

/// Where the value of a `ConstantOfShape` node's attribute is kept: beside all values that the file names.
fn fill_of(output: ValueId, graph: &Graph) -> ValueId {
    ValueId(graph.values.len() + output.0)
}

fn last_uses(graph: &Graph) -> Vec<Vec<ValueId>> {
    let mut last: HashMap<ValueId, usize> = HashMap::new();
    for (n, node) in graph.nodes.iter().enumerate() {
        // What is written and never read goes at once.
        for &id in node.outputs.iter().chain(&node.inputs).flatten() {
            last.insert(id, n);
        }
    }
    for (_, output) in &graph.outputs {
        last.remove(output);
    }
    let mut out = vec![Vec::new(); graph.nodes.len()];
    for (id, n) in last {
        out[n].push(id);
    }
    out
}

#[expect(clippy::needless_pass_by_value, reason = "maps an error")]
fn unreadable(error: OpenError) -> Fault {
    Fault(error.to_string())
}

fn constant(file: &OnnxFile, id: TensorId, device: &Device) -> Result<Value, NetworkError> {
    let tensor = file.tensor(id);
    let shape = tensor.shape.clone();
    if tensor.elements <= MAX_ELEMENTS {
        let failed = |e| NetworkError::Tensor { tensor: tensor.name.clone(), reason: unreadable(e).0 };
        if let Some(values) = file.floats(id).map_err(failed)? {
            let values = values.into_f32();
            let large = values.len() > MAX_HOST_CONSTANT;
            let value = if large {
                Floats::on_device(shape, tensor.dtype, upload(values, device))
            } else {
                Floats::host(shape, tensor.dtype, values)
            };
            return Ok(value.into());
        }
        if let Some(values) = file.ints(id).map_err(failed)? {
            return Ok(Ints::typed(shape, tensor.dtype, values).into());
        }
    }
    Err(NetworkError::Tensor { tensor: tensor.name.clone(), reason: format!("its elements are {}", tensor.dtype) })
}

/// The value of a Constant node that holds no tensor.
fn constant_node(node: &Node) -> Option<Value> {
    let (_, attribute) = node.attributes.0.first()?;
    Some(match attribute {
        Attribute::Int(v) => Ints::new(Vec::new(), vec![*v]).into(),
        Attribute::Ints(v) => Ints::new(vec![v.len()], v.clone()).into(),
        Attribute::Float(v) => Floats::host(Vec::new(), Dtype::F32, vec![*v]).into(),
        Attribute::Floats(v) => Floats::host(vec![v.len()], Dtype::F32, v.clone()).into(),
        _ => return None,
    })
}

fn shape_text(shape: &[Option<usize>]) -> String {
    let dims: Vec<String> = shape.iter().map(|d| d.map_or("any".to_owned(), |d| d.to_string())).collect();
    format!("[{}]", dims.join(", "))
}
