//! The network as plain data: operators, values, modules, parameters. No Burn types and no protobuf types.
//!
//! [`build`] makes it from an opened file. [`crate::network`] runs it, [`crate::prune`] prunes its parameters.

mod axes;
mod build;
mod discover;
mod einsum;
mod layers;
mod module;
mod names;
mod node;
mod read;
mod rules;
mod sequences;
mod sources;

pub use axes::{Axes, Lines};
pub use build::build;
pub use layers::{ChannelAxis, Layer};
pub use module::{BatchNorm, Kind, Layout, Module, ModuleId, Parameter, ParameterId, Role, Stage, rest_obstacle, stages};
pub use node::{Attribute, Attributes, Body, BodyId, Node, ValueId};

use std::collections::HashMap;

use crate::onnx::{Dtype, TensorId};

/// A value that the caller provides.
#[derive(Debug, Clone)]
pub struct Input {
    /// Its name in the file.
    pub name: String,
    /// Where it enters.
    pub value: ValueId,
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions; `None` where the file leaves one open.
    pub shape: Vec<Option<usize>>,
}

/// A network: nodes in the file's order, which is an order of execution.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// Version of the default operator set.
    pub opset: i64,
    /// What the caller provides, less the initializers that old files list here.
    pub inputs: Vec<Input>,
    /// What the caller gets, by name.
    pub outputs: Vec<(String, ValueId)>,
    /// Operators. Calls of local functions are replaced by what the functions hold.
    pub nodes: Vec<Node>,
    /// Graphs that nodes hold.
    pub bodies: Vec<Body>,
    /// Name of every value.
    pub values: Vec<String>,
    /// The tensor behind a value, where it is a constant of the file.
    pub constants: Vec<Option<TensorId>>,
    /// Parts that own parameters, in graph order.
    pub modules: Vec<Module>,
    /// All parameters, in graph order.
    pub parameters: Vec<Parameter>,
    /// What became of batch normalisation.
    pub batch_norm: Option<BatchNorm>,
    /// What a person should know of how it is run.
    pub notes: Vec<String>,
    /// Those of `rest` that are floats, less the constants that an exporter made and numbered.
    pub unowned: Vec<TensorId>,
    /// All initializers that are neither a parameter nor a buffer of a module, of any type, and the floats of Constant nodes that are
    /// none either, less single numbers that are not named like a parameter; in the file's order. With the elements of parameters
    /// and buffers theirs make the file's sum.
    pub rest: Vec<TensorId>,
    /// The nodes that use a parameter, or hold those that do, by index, for every parameter; more than one where it is shared.
    pub users: Vec<Vec<usize>>,
}

impl Graph {
    /// The module of this id.
    #[inline]
    #[must_use]
    pub fn module(&self, id: ModuleId) -> &Module {
        &self.modules[id.0]
    }

    /// The parameter of this id.
    #[inline]
    #[must_use]
    pub fn parameter(&self, id: ParameterId) -> &Parameter {
        &self.parameters[id.0]
    }

    /// The module that owns a parameter.
    #[inline]
    #[must_use]
    pub fn owner(&self, id: ParameterId) -> &Module {
        self.module(self.parameter(id).module)
    }

    /// Elements of all parameters together.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.parameters.iter().map(|p| p.elements).sum()
    }

    /// Bytes of an element of most of the parameters' elements; 4 where there are none.
    #[must_use]
    pub fn element_bytes(&self) -> usize {
        let mut elements = std::collections::BTreeMap::new();
        for parameter in &self.parameters {
            *elements.entry(parameter.dtype.size().unwrap_or(4)).or_insert(0) += parameter.elements;
        }
        elements.into_iter().max_by_key(|(_, elements)| *elements).map_or(4, |(size, _)| size)
    }

    /// The nodes of the main graph by what they write.
    #[must_use]
    pub fn writers(&self) -> HashMap<ValueId, usize> {
        let written = |(n, node): (usize, &Node)| node.outputs.iter().flatten().map(|&value| (value, n)).collect::<Vec<_>>();
        self.nodes.iter().enumerate().flat_map(written).collect()
    }

    /// The nodes of the main graph by what they and the graphs that they hold read, once for every time; `usize::MAX` for the caller, who
    /// gets an output.
    #[must_use]
    pub fn readers(&self) -> HashMap<ValueId, Vec<usize>> {
        let mut readers: HashMap<ValueId, Vec<usize>> = HashMap::new();
        for (n, node) in self.nodes.iter().enumerate() {
            self.all_reads(node).into_iter().for_each(|value| readers.entry(value).or_default().push(n));
        }
        self.outputs.iter().for_each(|(_, value)| readers.entry(*value).or_default().push(usize::MAX));
        readers
    }

    /// All values that a node reads, and that the graphs it holds read, constants among them.
    #[must_use]
    pub fn all_reads(&self, node: &Node) -> Vec<ValueId> {
        let mut out: Vec<ValueId> = node.reads().collect();
        for body in node.bodies() {
            let body = &self.bodies[body.0];
            out.extend(body.nodes.iter().flat_map(|node| self.all_reads(node)).chain(body.outputs.iter().copied()));
        }
        out
    }

    /// What PyTorch's `state_dict` calls a parameter: `blocks.0.0.conv.weight`.
    #[must_use]
    pub fn torch_name(&self, id: ParameterId) -> String {
        format!("{}.{}", self.owner(id).name, self.parameter(id).attribute)
    }

    /// The running statistics of all modules, each tensor once.
    #[must_use]
    pub fn buffers(&self) -> std::collections::BTreeSet<TensorId> {
        let parameters: std::collections::BTreeSet<TensorId> = self.parameters.iter().map(|p| p.tensor).collect();
        self.modules.iter().flat_map(|m| m.buffers.iter().map(|(_, id)| *id)).filter(|id| !parameters.contains(id)).collect()
    }

    /// The nodes that use a parameter, by name; where a node has none, by operator and number.
    #[must_use]
    pub fn user_names(&self, id: ParameterId) -> Vec<String> {
        let name = |&n: &usize| self.nodes.get(n).map_or_else(String::new, |node| node.shown_name(n));
        self.users.get(id.0).map(|users| users.iter().map(name).collect()).unwrap_or_default()
    }

    /// Module types in order of first appearance, each with its modules.
    #[must_use]
    pub fn types(&self) -> Vec<(&str, Vec<ModuleId>)> {
        let mut types: Vec<(&str, Vec<ModuleId>)> = Vec::new();
        for (i, module) in self.modules.iter().enumerate() {
            match types.iter_mut().find(|(kind, _)| *kind == module.kind) {
                Some((_, modules)) => modules.push(ModuleId(i)),
                None => types.push((&module.kind, vec![ModuleId(i)])),
            }
        }
        types
    }
}
