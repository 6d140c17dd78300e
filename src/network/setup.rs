//! A node before it runs: its settings, read once, and what is made of them.

use super::call::Call;
use super::fault::{Checked, because};
use super::value::Value;
use crate::graph::{Attributes, Node};
use crate::onnx::TensorId;

/// What carries a node out, as often as is wanted; it knows the node's settings.
pub(super) type Run = Box<dyn Fn(&mut Call) -> Checked<Vec<Value>> + Send + Sync>;

/// One that gives one value.
#[expect(clippy::unnecessary_wraps, reason = "ends what can fail")]
pub(super) fn one(run: impl Fn(&mut Call) -> Checked<Value> + Send + Sync + 'static) -> Checked<Run> {
    Ok(Box::new(move |call| Ok(vec![run(call)?])))
}

/// One that gives several.
#[expect(clippy::unnecessary_wraps, reason = "ends what can fail")]
pub(super) fn many(run: impl Fn(&mut Call) -> Checked<Vec<Value>> + Send + Sync + 'static) -> Checked<Run> {
    Ok(Box::new(run))
}

/// A node that is about to be made ready, with the version of the operator set that it is written in.
#[derive(Clone, Copy)]
pub(super) struct Setup<'a> {
    pub(super) node: &'a Node,
    pub(super) opset: i64,
    /// The value of a tensor of the file.
    pub(super) tensor: &'a dyn Fn(TensorId) -> Checked<Value>,
}

impl<'a> Setup<'a> {
    /// Of a node that stands in a graph.
    pub(super) fn new(node: &'a Node, tensor: &'a dyn Fn(TensorId) -> Checked<Value>) -> Self {
        Self { node, opset: node.opset, tensor }
    }

    pub(super) fn attributes(&self) -> &'a Attributes {
        &self.node.attributes
    }

    pub(super) fn int(&self, name: &str) -> Option<i64> {
        self.node.attributes.int(name)
    }

    pub(super) fn int_or(&self, name: &str, default: i64) -> i64 {
        self.int(name).unwrap_or(default)
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.int_or(name, 0) != 0
    }

    pub(super) fn float(&self, name: &str) -> Option<f32> {
        self.node.attributes.float(name)
    }

    pub(super) fn float_or(&self, name: &str, default: f32) -> f32 {
        self.float(name).unwrap_or(default)
    }

    pub(super) fn string_or(&self, name: &str, default: &'a str) -> &'a str {
        self.node.attributes.string(name).unwrap_or(default)
    }

    pub(super) fn ints(&self, name: &str) -> Option<Vec<i64>> {
        self.node.attributes.ints(name).map(<[i64]>::to_vec)
    }

    /// A list of sizes, where the setting is there.
    pub(super) fn sizes(&self, name: &str) -> Checked<Option<Vec<usize>>> {
        let Some(list) = self.node.attributes.ints(name) else { return Ok(None) };
        list.iter().map(|&v| usize::try_from(v).map_err(|_| because!("{name} is {list:?}"))).collect::<Checked<_>>().map(Some)
    }

    /// Whether somebody wants output number `i`.
    pub(super) fn wants(&self, i: usize) -> bool {
        self.node.output(i).is_some()
    }
}
