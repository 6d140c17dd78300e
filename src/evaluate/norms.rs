//! How large the inputs of layers are: what the score `wanda` multiplies weights by.

use std::path::Path;

use rayon::prelude::*;

use super::{EvaluateError, Evaluator};
use crate::engine::EngineError;
use crate::graph::Layer;
use crate::network::Array;
use crate::prune::InputNorms;
use crate::watch::Watch;

impl Evaluator {
    /// Runs the dense network on all images, node by node, and sums the squares of what every layer reads. `images` is where they are.
    ///
    /// # Errors
    /// As [`Self::effect`].
    pub fn norms(&mut self, images: &Path, watch: &dyn Watch) -> Result<InputNorms, EvaluateError> {
        self.settle(watch)?;
        let network = self.engine.dense_network()?;
        let graph = self.engine.model().graph.clone();
        let layers = graph.layers();
        let mut sums: Vec<Option<Vec<f64>>> = vec![None; graph.parameters.len()];
        let total = self.questions.num_images().max(1);
        let mut seen = 0;
        self.questions.each::<EvaluateError>(&|_| watch.is_cancelled(), &mut |_, batch| {
            let mut pass = network.begin_one_by_one(&batch.inputs)?;
            for layer in &layers {
                network.advance(&mut pass, layer.node, watch)?;
                let Some(array) = network.value(&pass, layer.input)? else { continue };
                add(&batch.own_rows(array), layer, &mut sums[layer.weight.0]);
            }
            seen += batch.images.len();
            watch.progress(seen as f32 / total as f32, "Measuring inputs");
            Ok(())
        })?;
        if watch.is_cancelled() {
            return Err(EngineError::Cancelled.into());
        }
        self.refuse_nothing(seen > 0)?;
        let root = |sums: Vec<f64>| sums.into_iter().map(|sum| sum.sqrt() as f32).collect();
        Ok(InputNorms { images: images.to_owned(), count: seen, inputs: sums.into_iter().map(|sums| sums.map(root)).collect() })
    }
}

/// Adds the squares of every channel of a layer's input, one after another, whatever the number of threads.
fn add(array: &Array, layer: &Layer, sums: &mut Option<Vec<f64>>) {
    let (Some(values), Some(axis)) = (array.as_f32(), layer.channels.dimension(array.shape.len())) else { return };
    let channels = array.shape[axis];
    let inner: usize = array.shape[axis + 1..].iter().product();
    let sums = sums.get_or_insert_with(|| vec![0.0; channels]);
    if sums.len() != channels || inner == 0 || channels == 0 {
        return;
    }
    let block = channels * inner;
    sums.par_iter_mut().enumerate().for_each(|(channel, sum)| {
        for values in values.chunks_exact(block) {
            for &x in &values[channel * inner..(channel + 1) * inner] {
                *sum += f64::from(x).powi(2);
            }
        }
    });
}
