//! The network as a Burn [`Module`]: built from a [`Graph`] at run time, run on a device chosen at run time.
//!
//! Values have their rank at run time, so operators work on Burn's rank-free tensors; integers, bools and shapes stay on the
//! host. All floating types are calculated in float32: a float16 or float64 model runs with float32 activations, and what it
//! puts out is marked with the type that the model means. Operators that move data about in ways that no kernel offers
//! (sorting, scattering, recurrent cells) are carried out on the host.
//!
//! What a prune does to the weights is left to [`crate::prune`]; this folder takes weights and runs.

mod activation;
mod allowance;
mod arithmetic;
mod array;
mod attention;
mod block;
mod call;
mod cast;
mod chain;
mod control;
mod convolution;
mod dense;
mod depthwise;
mod dims;
mod einsum;
mod elementwise;
mod epilogue;
mod fault;
mod fused;
mod gather;
mod generate;
mod heads;
mod integer;
mod linear;
mod movement;
mod normalization;
mod obstacles;
mod operator;
mod pass;
mod plan;
mod pool;
mod probe;
mod products;
mod quantize;
mod recurrent;
mod reduce;
mod resize;
mod rotary;
mod setup;
mod shape;
mod skip;
mod sort;
mod spare;
mod step;
mod value;
mod vector;
mod window;
mod work;

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use burn::Tensor;
use burn::module::{Module, Param};
use burn::tensor::Device;

pub use array::{Array, ArrayData};
pub use pass::Pass;
pub(crate) use probe::FloatElements;
pub(crate) use value::Elements;
pub(crate) use window::{Window, windows};
pub use work::{Trace, Work};

use crate::graph::{Graph, ParameterId, ValueId};
use crate::onnx::{Dtype, OnnxFile, TensorId};
use crate::panics;
use crate::watch::{Unwatched, Watch};
use plan::Plan;

/// Why a network could not be built or run. The network itself stays as it was.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NetworkError {
    /// Operators that this program cannot run, each with the number of its nodes.
    #[error("this model cannot be run: it uses {}", list(operators))]
    Unsupported {
        /// Names and numbers.
        operators: BTreeMap<String, usize>,
    },
    /// A tensor of the file cannot be used.
    #[error("the tensor “{tensor}” cannot be used: {reason}")]
    Tensor {
        /// Its name.
        tensor: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An input that the model wants is not given.
    #[error("the model's input “{name}” is not given")]
    MissingInput {
        /// Its name.
        name: String,
    },
    /// An input is given that the model does not have, or that does not fit.
    #[error("the input “{name}” does not fit: {reason}")]
    WrongInput {
        /// Its name.
        name: String,
        /// Why it does not.
        reason: String,
    },
    /// An operator could not be carried out.
    #[error("{op} at node “{node}”: {reason}")]
    Operator {
        /// The operator.
        op: String,
        /// The node's name, or its first output where it has none.
        node: String,
        /// What is wrong.
        reason: String,
    },
    /// An output could not be read back from the device, or nothing writes it.
    #[error("the output “{name}” could not be read: {reason}")]
    Output {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The caller wanted it to stop.
    #[error("cancelled")]
    Cancelled,
    /// A library below panicked: a fault of this program, not of the model.
    #[error("internal error in {place}: {message}")]
    Internal {
        /// What was being done.
        place: String,
        /// What the panic said.
        message: String,
    },
}

fn list(operators: &BTreeMap<String, usize>) -> String {
    operators.iter().map(|(op, n)| format!("{op} ({n})")).collect::<Vec<_>>().join(", ")
}

/// A network on its device, with one flat tensor per parameter of its graph.
///
/// It is cheap to clone: clones share the plan and, until [`Self::set_parameter`], the weights.
#[derive(Module, Debug)]
pub struct Network {
    /// One per graph parameter, in graph order, and behind them the running statistics; flat, shaped where they are used.
    parameters: Vec<Param<Tensor<1>>>,
    #[module(skip)]
    plan: Arc<Plan>,
    /// Of layers that have none in the file, by what they write.
    #[module(skip)]
    biases: Arc<AddedBiases>,
}

/// Biases of layers that have none in the file, by what they write: flat, and the type that they are of.
type AddedBiases = HashMap<ValueId, (Tensor<1>, Dtype)>;

impl Network {
    /// Every operator of `graph`, which was built from `file`, that cannot be run, by name with the number of its nodes, all at
    /// once; empty where all can. Where only a type of number or a mode is in the way, the name says so: `Cast to float8e5m2`.
    #[must_use]
    pub fn unsupported(graph: &Graph, file: &OnnxFile) -> BTreeMap<String, usize> {
        obstacles::all(graph, file)
    }

    /// Loads the weights of `file`, from which `graph` was built, onto `device`.
    ///
    /// # Errors
    /// [`NetworkError::Unsupported`] where an operator cannot be run, [`NetworkError::Tensor`] where a weight is of a type
    /// that cannot be calculated with.
    pub fn build(graph: Arc<Graph>, file: &OnnxFile, device: &Device) -> Result<Self, NetworkError> {
        let operators = Self::unsupported(&graph, file);
        if !operators.is_empty() {
            return Err(NetworkError::Unsupported { operators });
        }
        guarded("building the network", || {
            let parameters = plan::parameters(&graph, file, device)?;
            Ok(Self { parameters, plan: Arc::new(Plan::new(graph, file, device)?), biases: Arc::default() })
        })
    }

    /// The graph that this network runs.
    #[must_use]
    pub fn graph(&self) -> &Arc<Graph> {
        &self.plan.graph
    }

    /// The device that it runs on.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.plan.device
    }

    /// A parameter as it is now: flat, on the device.
    ///
    /// # Panics
    /// Where `id` is not of this network's graph.
    #[must_use]
    pub fn parameter(&self, id: ParameterId) -> Tensor<1> {
        self.parameters[id.0].val()
    }

    /// Replaces a parameter, by its pruned self for one. `values` is flat, on this network's device, in the file's order.
    ///
    /// # Panics
    /// Where `id` is not of this network's graph or the number of elements is another.
    pub fn set_parameter(&mut self, id: ParameterId, values: Tensor<1>) {
        assert_eq!(values.dims()[0], self.plan.graph.parameter(id).elements, "a parameter keeps its number of elements");
        let parameter = &mut self.parameters[id.0];
        *parameter = Param::initialized(parameter.id, values);
    }

    /// Replaces running statistics, by those of the pruned network for one. `values` is flat, on this network's device. Nothing happens
    /// where the tensor holds none that this network reads.
    ///
    /// # Panics
    /// Where the number of elements is another.
    pub fn set_statistic(&mut self, id: TensorId, values: Tensor<1>) {
        let Some(place) = self.plan.statistics.iter().position(|s| s.tensor == id) else { return };
        let held = &mut self.parameters[self.plan.graph.parameters.len() + place];
        assert_eq!(values.dims(), held.val().dims(), "statistics keep their number");
        *held = Param::initialized(held.id, values);
    }

    /// Gives the layers of the main graph that write `outputs` a bias: a convolution or a `Gemm` as its third input, a `MatMul` as what is
    /// added to its result. `values` is flat, one number per output, on this network's device, meant as `dtype`.
    pub fn set_bias(&mut self, outputs: &[ValueId], values: &Tensor<1>, dtype: Dtype) {
        let biases = Arc::make_mut(&mut self.biases);
        biases.extend(outputs.iter().map(|&output| (output, (values.clone(), dtype))));
    }

    /// Runs the network on `inputs`, in any order, and returns all outputs of the graph, in the graph's order.
    ///
    /// The batch and every other open dimension may be of any size.
    ///
    /// # Errors
    /// [`NetworkError`] tells which input or which node is at fault.
    pub fn forward(&self, inputs: &[(String, Array)]) -> Result<Vec<(String, Array)>, NetworkError> {
        self.finish(self.begin(inputs)?, &Unwatched)
    }

    /// Index of the first node that reads this parameter as it is now; the number of nodes where only an output does, `None`
    /// where nothing does.
    ///
    /// # Panics
    /// Where `id` is not of this network's graph.
    #[must_use]
    pub fn first_use(&self, id: ParameterId) -> Option<usize> {
        assert!(id.0 < self.plan.graph.parameters.len(), "a parameter of this network");
        self.plan.first_use(id)
    }

    /// Begins a forward pass, which then stands before the first node.
    ///
    /// # Errors
    /// [`NetworkError`] tells which input is at fault.
    pub fn begin(&self, inputs: &[(String, Array)]) -> Result<Pass, NetworkError> {
        guarded("the forward pass", || self.plan.begin(inputs))
    }

    /// Carries `pass` on until it stands before `node`. One that stands there or behind stays as it is.
    ///
    /// # Errors
    /// [`NetworkError`] tells which node is at fault; [`NetworkError::Cancelled`] as soon as `watch` says so, which is asked
    /// before every node. The pass is then of no more use.
    pub fn advance(&self, pass: &mut Pass, node: usize, watch: &dyn Watch) -> Result<(), NetworkError> {
        guarded("the forward pass", || step::advance((&self.plan, &self.biases), &self.parameters, pass, node, watch))
    }

    /// Carries `pass` on to the end and returns all outputs of the graph, in the graph's order.
    ///
    /// # Errors
    /// As [`Self::advance`].
    pub fn finish(&self, mut pass: Pass, watch: &dyn Watch) -> Result<Vec<(String, Array)>, NetworkError> {
        self.advance(&mut pass, usize::MAX, watch)?;
        guarded("the forward pass", || self.plan.outputs(&self.parameters, &pass))
    }
}

/// Turns a panic of a library below into an error.
fn guarded<T>(place: &str, work: impl FnOnce() -> Result<T, NetworkError>) -> Result<T, NetworkError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(NetworkError::Internal { place: place.into(), message: panics::text(&*panic) }))
}
