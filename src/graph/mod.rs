//! The network as plain data: operators, values, modules, parameters. No Burn types and no protobuf types.
//!
//! [`build`] makes it from an opened file. [`crate::network`] runs it, [`crate::prune`] prunes its parameters.

mod build;
mod module;
mod names;
mod node;

pub use build::build;
pub use module::{BatchNorm, Kind, Layout, Module, ModuleId, Parameter, ParameterId, Role, Stage, stages};
pub use node::{Attribute, Attributes, Node, ValueId};

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
    /// Operators.
    pub nodes: Vec<Node>,
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
    /// Float initializers that no module owns, less the constants that an exporter made and numbered.
    pub unowned: Vec<TensorId>,
}

impl Graph {
    /// The module of this id.
    #[must_use]
    pub fn module(&self, id: ModuleId) -> &Module {
        &self.modules[id.0]
    }

    /// The parameter of this id.
    #[must_use]
    pub fn parameter(&self, id: ParameterId) -> &Parameter {
        &self.parameters[id.0]
    }

    /// The module that owns a parameter.
    #[must_use]
    pub fn owner(&self, id: ParameterId) -> &Module {
        self.module(self.parameter(id).module)
    }

    /// Elements of all parameters together.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.parameters.iter().map(|p| p.elements).sum()
    }

    /// What PyTorch's `state_dict` calls a parameter: `blocks.0.0.conv.weight`.
    #[must_use]
    pub fn torch_name(&self, id: ParameterId) -> String {
        format!("{}.{}", self.owner(id).name, self.parameter(id).attribute)
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
