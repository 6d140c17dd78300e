//! From an opened file to a [`Graph`]: nodes and values, the modules found among them, and what became of batch normalisation.

use onnx_ir::NodeProto;

use super::module::BatchNorm;
use super::node::{Node, ValueId};
use super::{Graph, discover, names, read, sequences};
use crate::onnx::OnnxFile;

/// Builds the graph of `file`. Operators that cannot be run are kept as they are.
#[must_use]
pub fn build(file: &OnnxFile) -> Graph {
    let mut read = read::read(file);
    sequences::dissolve(&mut read.graph);
    discover::discover(file, &mut read);
    let protos = read.main.iter().chain(read.bodies.iter().flatten());
    let batch_norm = batch_norm(protos.copied());
    let notes = notes(file, &read.graph);
    Graph { batch_norm: Some(batch_norm), notes, ..read.graph }
}

/// What a person should know of how the network is run.
fn notes(file: &OnnxFile, graph: &Graph) -> Vec<String> {
    let nodes = graph.nodes.iter().chain(graph.bodies.iter().flat_map(|body| &body.nodes));
    let is_off = |value: ValueId| {
        let tensor = graph.constants[value.0];
        tensor.and_then(|id| file.ints(id).ok().flatten()).is_some_and(|mode| mode.iter().all(|&v| v == 0))
    };
    let trains = |node: &&Node| node.is("Dropout") && node.input(2).is_some_and(|mode| !is_off(mode));
    let mut notes = match nodes.clone().filter(trains).count() {
        0 => Vec::new(),
        count => vec![format!(
            "Dropout was exported in training mode ({count}). It is run as in inference, where nothing is dropped; other runtimes may drop \
             elements at random. Export with model.eval()."
        )],
    };
    let maps = nodes.filter(|node| node.op == "ZipMap" && node.domain == "ai.onnx.ml").count();
    if maps > 0 {
        notes.push(format!(
            "ZipMap puts the numbers of an output under the names of their classes ({maps}). Here the numbers are given as they go in, a \
             row for each image; saving changes nothing of it."
        ));
    }
    notes
}

/// Folded where more convolutions carry a folded normalisation than normalisations are left.
fn batch_norm<'a>(nodes: impl Iterator<Item = &'a NodeProto>) -> BatchNorm {
    let (mut kept, mut folded) = (0, 0);
    for node in nodes {
        kept += usize::from(node.op_type == "BatchNormalization");
        folded += usize::from(node.op_type == "Conv" && is_folded(node));
    }
    match (kept, folded) {
        (0, 0) => BatchNorm::None,
        (kept, folded) if folded > kept => BatchNorm::Folded,
        _ => BatchNorm::Kept,
    }
}

/// Signs that an exporter multiplied a normalisation into this convolution: it says so in its metadata (PyTorch), it had to
/// make up new names for the weights (TorchScript), or it named them so (tf2onnx).
fn is_folded(node: &NodeProto) -> bool {
    let told = node.metadata_props.iter().any(|p| p.key.starts_with("pkg.") && p.value.contains("BatchNorm"));
    let weight = node.input.get(1).map_or("", String::as_str);
    told || (node.input.len() > 2 && names::is_made_up(weight)) || weight.contains("fused_bn")
}
