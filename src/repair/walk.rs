//! Two networks gone through side by side, all images of one layer before the next layer, within a limit of memory.

use std::sync::Arc;

use super::RepairError;
use super::seen::ImageValues;
use super::sites::ValueAt;
use crate::evaluate::Batch;
use crate::network::{Network, Pass};
use crate::watch::Watch;

/// Some images on their way through both networks.
#[derive(Clone)]
struct Chunk {
    batch: Arc<Batch>,
    dense: Pass,
    pruned: Pass,
    bytes: usize,
}

/// What is looked at in both networks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    pub(super) dense: ValueAt,
    pub(super) pruned: ValueAt,
}

/// Both networks, and where the images stand in them. Images whose activations exceed the memory stay where they stood last, and go from
/// there again.
#[derive(Clone)]
pub(super) struct Walk {
    dense: Network,
    /// As repaired so far.
    pub(super) pruned: Network,
    chunks: Vec<Chunk>,
    /// Bytes that all chunks may hold.
    memory: usize,
    held: usize,
}

impl Walk {
    pub(super) fn new(dense: Network, pruned: Network, batches: Vec<Arc<Batch>>, memory: usize) -> Result<Self, RepairError> {
        let chunk = |batch: Arc<Batch>| -> Result<Chunk, RepairError> {
            let (dense, pruned) = (dense.begin_one_by_one(&batch.inputs)?, pruned.begin_one_by_one(&batch.inputs)?);
            let bytes = dense.bytes() + pruned.bytes();
            Ok(Chunk { batch, dense, pruned, bytes })
        };
        let chunks = batches.into_iter().map(chunk).collect::<Result<Vec<_>, _>>()?;
        let held = chunks.iter().map(|chunk| chunk.bytes).sum();
        Ok(Self { dense, pruned, chunks, memory, held })
    }

    /// The same, to hold no more than so many bytes.
    pub(super) fn within(self, memory: usize) -> Self {
        Self { memory, ..self }
    }

    pub(super) fn is_on_gpu(&self) -> bool {
        self.dense.is_on_gpu()
    }

    /// Hands every one of `reads` to `see` as both networks give it from the image on, with its number; images in their order.
    pub(super) fn look(
        &self,
        reads: &[ValueAt],
        watch: &dyn Watch,
        see: &mut dyn FnMut(usize, &ImageValues, &ImageValues) -> Result<(), RepairError>,
    ) -> Result<(), RepairError> {
        let mut order: Vec<usize> = (0..reads.len()).collect();
        order.sort_by_key(|&i| reads[i].before);
        for chunk in &self.chunks {
            let (mut dense, mut pruned) = (chunk.dense.clone(), chunk.pruned.clone());
            for &i in &order {
                self.advance((&mut dense, reads[i].before), (&mut pruned, reads[i].before), watch)?;
                let value = reads[i].value;
                let d = ImageValues::of(&self.dense, &dense, value, &chunk.batch)?;
                if let (Some(d), Some(p)) = (d, ImageValues::of(&self.pruned, &pruned, value, &chunk.batch)?) {
                    see(i, &d, &p)?;
                }
            }
        }
        Ok(())
    }

    /// Hands values of the dense and of the pruned network to `see`, with the number of images that they are of, images in their order.
    /// Afterwards the pruned network stands before `start`, and what it reads from there on may change. `next` is where the next change
    /// begins.
    pub(super) fn measure(
        &mut self,
        (start, next): (usize, usize),
        reads: &[Pair],
        watch: &dyn Watch,
        see: &mut dyn FnMut(&ImageValues, &ImageValues, usize) -> Result<(), RepairError>,
    ) -> Result<(), RepairError> {
        let first_read = reads.iter().map(|pair| pair.dense.before).min().unwrap_or(start);
        for at in 0..self.chunks.len() {
            let chunk = &self.chunks[at];
            let (mut dense, mut pruned) = (chunk.dense.clone(), chunk.pruned.clone());
            // What never changes need not be gone through again.
            self.advance((&mut dense, first_read.min(next).max(start)), (&mut pruned, start), watch)?;
            let bytes = dense.bytes() + pruned.bytes();
            let held = self.held - chunk.bytes + bytes;
            if held <= self.memory {
                self.held = held;
                let batch = chunk.batch.clone();
                self.chunks[at] = Chunk { batch, dense: dense.clone(), pruned: pruned.clone(), bytes };
            }
            let chunk = &self.chunks[at];
            for pair in reads {
                self.advance((&mut dense, pair.dense.before), (&mut pruned, pair.pruned.before), watch)?;
                let d = ImageValues::of(&self.dense, &dense, pair.dense.value, &chunk.batch)?;
                let p = ImageValues::of(&self.pruned, &pruned, pair.pruned.value, &chunk.batch)?;
                if let (Some(d), Some(p)) = (d, p) {
                    see(&d, &p, chunk.batch.images.len())?;
                }
            }
        }
        Ok(())
    }

    /// Carries passes through the dense and the pruned network on until they stand before these nodes. Side by side on the host: one
    /// layer of some images is often too little for all cores.
    fn advance(&self, dense: (&mut Pass, usize), pruned: (&mut Pass, usize), watch: &dyn Watch) -> Result<(), RepairError> {
        let advance = |network: &Network, (pass, node): (&mut Pass, usize)| network.advance(pass, node, watch);
        let (dense, pruned) = if self.is_on_gpu() {
            (advance(&self.dense, dense), advance(&self.pruned, pruned))
        } else {
            rayon::join(|| advance(&self.dense, dense), || advance(&self.pruned, pruned))
        };
        dense?;
        Ok(pruned?)
    }
}
