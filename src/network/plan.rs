//! What is known of a network before it runs: constants, every node made ready, and after which node each value can go.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use burn::Tensor;
use burn::module::{Param, ParamId};
use burn::tensor::{Device, TensorData};

use super::NetworkError;
use super::allowance::Allowance;
use super::array::Array;
use super::block::{Block, Fused, NodeAction, PlannedNode};
use super::call::Call;
use super::chain::Surroundings;
use super::control::{self, Control};
use super::dims::MAX_ELEMENTS;
use super::fault::{Checked, Fault, fault};
use super::operator::Operator;
use super::pass::Pass;
use super::products::Products;
use super::setup::Setup;
use super::spare::Spare;
use super::value::{Floats, Ints, Value, is_host, upload};
use crate::graph::{Attribute, Graph, Node, ParameterId, ValueId};
use crate::onnx::{Dtype, OnnxFile, OpenError, TensorId};

/// Constants with more elements than this do not keep a copy on the host.
const MAX_HOST_CONSTANT: usize = 1 << 16;

/// All values that are worked out beforehand have together no more elements than this.
const MAX_FOLDED: u64 = 1 << 26;

/// Everything but the weights.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) graph: Arc<Graph>,
    pub(super) device: Device,
    /// Values known beforehand, less the parameters.
    constants: HashMap<ValueId, Value>,
    /// Values that are parameters or running statistics, by their place among the network's tensors.
    parameters: HashMap<ValueId, usize>,
    /// Running statistics in the order in which they stand behind the parameters.
    pub(super) statistics: Vec<Statistic>,
    /// Elements of both.
    elements: u64,
    /// Elements that may still be worked out beforehand.
    budget: u64,
    /// The main graph.
    pub(super) main: Block,
    /// The graphs that nodes hold.
    pub(super) bodies: Vec<Block>,
}

/// A tensor of running statistics.
#[derive(Debug)]
pub(super) struct Statistic {
    pub(super) tensor: TensorId,
    shape: Vec<usize>,
    dtype: Dtype,
}

/// The running statistics that a network can be given anew.
fn statistics(graph: &Graph, file: &OnnxFile) -> Vec<Statistic> {
    let one = |id| {
        let tensor = file.tensor(id);
        (tensor.dtype.is_float() && tensor.fault.is_none() && tensor.elements > 0).then(|| Statistic {
            tensor: id,
            shape: tensor.shape.clone(),
            dtype: tensor.dtype,
        })
    };
    graph.buffers().into_iter().filter_map(one).collect()
}

/// The weights of a graph on the device, flat, in graph order, and behind them its running statistics.
pub(super) fn parameters(graph: &Graph, file: &OnnxFile, device: &Device) -> Result<Vec<Param<Tensor<1>>>, NetworkError> {
    let load = |id: TensorId| -> Checked<Tensor<1>> {
        let values = match file.floats(id).map_err(unreadable)? {
            Some(values) => values.into_f32(),
            None => match file.ints(id).map_err(unreadable)? {
                Some(values) => values.into_iter().map(|v| v as f32).collect(),
                None => return fault!("{}", file.tensor(id).obstacle()),
            },
        };
        let length = values.len();
        Ok(Tensor::from_data(TensorData::new(values, [length]), device))
    };
    let parameter = |p: &crate::graph::Parameter| match load(p.tensor) {
        Ok(tensor) => Ok(Param::initialized(ParamId::new(), tensor)),
        Err(fault) => Err(NetworkError::Tensor { tensor: p.name.clone(), reason: fault.0 }),
    };
    let statistic = |s: Statistic| match load(s.tensor) {
        Ok(tensor) => Ok(Param::initialized(ParamId::new(), tensor)),
        Err(fault) => Err(NetworkError::Tensor { tensor: file.tensor(s.tensor).name.clone(), reason: fault.0 }),
    };
    graph.parameters.iter().map(parameter).chain(statistics(graph, file).into_iter().map(statistic)).collect()
}

impl Plan {
    pub(super) fn new(graph: Arc<Graph>, file: &OnnxFile, device: &Device) -> Result<Self, NetworkError> {
        let owners: HashMap<TensorId, ParameterId> = graph.parameters.iter().enumerate().map(|(i, p)| (p.tensor, ParameterId(i))).collect();
        let mut plan = Self {
            device: device.clone(),
            constants: HashMap::new(),
            parameters: HashMap::new(),
            statistics: statistics(&graph, file),
            elements: graph.parameters.iter().map(|p| p.elements as u64).sum(),
            budget: MAX_FOLDED,
            main: Block::default(),
            bodies: Vec::new(),
            graph,
        };
        let graph = Arc::clone(&plan.graph);
        // What a node reads, less what another node has to work out first.
        let nodes = || graph.nodes.iter().chain(graph.bodies.iter().flat_map(|body| &body.nodes));
        let mut wanted: Vec<ValueId> = nodes().flat_map(|n| n.inputs.iter().flatten().copied()).collect();
        wanted.extend(graph.outputs.iter().map(|(_, v)| *v).chain(graph.bodies.iter().flat_map(|body| body.outputs.iter().copied())));
        wanted.sort_unstable();
        wanted.dedup();
        for value in wanted {
            let Some(tensor) = graph.constants.get(value.0).copied().flatten() else { continue };
            match owners.get(&tensor) {
                // What is never pruned never changes.
                Some(&parameter) if graph.parameter(parameter).obstacle().is_none() => drop(plan.parameters.insert(value, parameter.0)),
                None if let Some(i) = plan.statistics.iter().position(|s| s.tensor == tensor) => {
                    plan.parameters.insert(value, graph.parameters.len() + i);
                }
                _ => drop(plan.constants.insert(value, constant(file, tensor, device)?)),
            }
        }
        for node in nodes().filter(|node| node.is("Constant")) {
            if let (Some(output), Some(value)) = (node.output(0), constant_node(node)) {
                plan.constants.entry(output).or_insert(value);
            }
        }
        plan.elements += plan.constants.values().map(Value::elements).sum::<u64>();
        plan.prepare(file);
        Ok(plan)
    }

    /// Makes every node ready.
    fn prepare(&mut self, file: &OnnxFile) {
        let graph = Arc::clone(&self.graph);
        // A graph that a node holds is read before the node is.
        let kept = graph.outputs.iter().map(|(_, value)| *value);
        let given: Vec<ValueId> = graph.inputs.iter().map(|input| input.value).collect();
        self.main = self.block(file, &graph.nodes, &given, &kept.collect());
        for body in &graph.bodies {
            let own: HashSet<ValueId> =
                body.inputs.iter().copied().chain(body.nodes.iter().flat_map(|node| node.outputs.iter().flatten().copied())).collect();
            // What stands around it is not its to let go.
            let mut kept: HashSet<ValueId> = body.nodes.iter().flat_map(Node::reads).filter(|id| !own.contains(id)).collect();
            kept.extend(&body.outputs);
            let block = self.block(file, &body.nodes, &body.inputs, &kept);
            self.bodies.push(Block { own: own.into_iter().collect(), ..block });
        }
    }

    /// Makes the nodes of one graph ready. Values that are given are there before them; those that are kept are there after them.
    fn block(&mut self, file: &OnnxFile, nodes: &[Node], given: &[ValueId], kept: &HashSet<ValueId>) -> Block {
        let graph = Arc::clone(&self.graph);
        let device = self.device.clone();
        let tensor = |id| constant(file, id, &device).map_err(|error| Fault(error.to_string()));
        let setup = |node| Setup::new(node, &tensor);
        let mut steps = Vec::with_capacity(nodes.len());
        for (node, last) in nodes.iter().zip(last_uses(nodes, kept)) {
            let action = if node.is("Constant") {
                NodeAction::Nothing
            } else if control::knows(node) {
                Control::of(&setup(node)).map_or_else(NodeAction::Refuse, NodeAction::Control)
            } else {
                match Operator::of(&setup(node)) {
                    Ok(operator) => self.fold(node, operator),
                    Err(fault) => NodeAction::Refuse(fault),
                }
            };
            steps.push(PlannedNode { action, last, first: None, fused: None, products: Products::of(node, &graph) });
        }
        if is_host(&device) {
            let known = |value| self.constants.contains_key(&value) || self.parameters.contains_key(&value);
            let number = |value| match self.constants.get(&value) {
                Some(Value::Float(v)) => v.host_scalar(),
                _ => None,
            };
            let around = Surroundings { nodes, given, kept, is_constant: &known, number: &number };
            for (n, chain) in around.chains() {
                let absorbed = chain.absorbed.clone();
                let Some(fused) = Fused::of(chain, &setup(&nodes[n]), nodes) else { continue };
                for m in absorbed.into_iter().chain([n]) {
                    steps[m].first = Some(n);
                }
                steps[n].fused = Some(fused);
            }
        }
        Block { steps, own: Vec::new() }
    }

    pub(super) fn constant(&self, parameters: &[Param<Tensor<1>>], value: ValueId) -> Option<Value> {
        if let Some(&id) = self.parameters.get(&value) {
            let (shape, dtype) = match self.graph.parameters.get(id) {
                Some(parameter) if parameter.elements == 0 => return Some(Floats::empty(parameter.shape.clone(), parameter.dtype).into()),
                Some(parameter) => (&parameter.shape, parameter.dtype),
                None => self.statistics.get(id - self.graph.parameters.len()).map(|s| (&s.shape, s.dtype))?,
            };
            return Some(Floats::on_device(shape.clone(), dtype, parameters.get(id)?.val().into_dispatch()).into());
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
        Ok(Pass {
            values,
            next: 0,
            spare: Spare::default(),
            is_one_by_one: false,
            trace: None,
            uses: None,
            allowance: Allowance::new(given),
        })
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
        let reads = |value: &ValueId| self.parameters.get(value) == Some(&id.0);
        let uses = self.graph.nodes.iter().enumerate().filter(|(_, node)| self.graph.all_reads(node).iter().any(reads));
        // What follows a convolution is carried out with it.
        let node = uses.map(|(n, _)| self.main.steps[n].first.unwrap_or(n)).min();
        node.or_else(|| self.graph.outputs.iter().any(|(_, value)| reads(value)).then_some(self.graph.nodes.len()))
    }

    /// Works out beforehand what depends on constants alone, where it is no weight and not large.
    ///
    /// A node that fails here fails again, with its name, when the network runs.
    fn fold(&mut self, node: &Node, operator: Operator) -> NodeAction {
        let known = |id: &Option<ValueId>| id.is_none_or(|id| self.constants.contains_key(&id));
        if node.inputs.is_empty() || operator.makes_much || !node.inputs.iter().all(known) {
            return NodeAction::Run(operator);
        }
        let inputs: Vec<Option<Value>> = node.inputs.iter().map(|id| id.and_then(|id| self.constants.get(&id).cloned())).collect();
        let size = |values: &mut dyn Iterator<Item = &Value>| values.map(Value::elements).fold(0, u64::saturating_add);
        if inputs.iter().flatten().any(|input| input.elements() > self.budget) {
            return NodeAction::Run(operator);
        }
        let call = Call { device: &self.device, inputs, spare: &Spare::default(), allowance: &Allowance::new(0) };
        let Ok(Ok(outputs)) = catch_unwind(AssertUnwindSafe(|| operator.call(call))) else { return NodeAction::Run(operator) };
        match self.budget.checked_sub(size(&mut outputs.iter())) {
            Some(left) if outputs.len() >= node.outputs.len() => self.budget = left,
            _ => return NodeAction::Run(operator),
        }
        for (value, output) in outputs.into_iter().zip(&node.outputs) {
            if let Some(id) = output {
                self.constants.insert(*id, value);
            }
        }
        if node.output(0).is_some() { NodeAction::Nothing } else { NodeAction::Run(operator) }
    }
}

/// For every node, the values that nobody reads after it.
fn last_uses(nodes: &[Node], kept: &HashSet<ValueId>) -> Vec<Vec<ValueId>> {
    let mut last: HashMap<ValueId, usize> = HashMap::new();
    for (n, node) in nodes.iter().enumerate() {
        // What is written and never read goes at once.
        for id in node.outputs.iter().flatten().copied().chain(node.reads()) {
            last.insert(id, n);
        }
    }
    last.retain(|id, _| !kept.contains(id));
    let mut out = vec![Vec::new(); nodes.len()];
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
    Err(NetworkError::Tensor { tensor: tensor.name.clone(), reason: tensor.obstacle() })
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
