//! Two networks gone through side by side, all images of one layer before the next layer, within a limit of memory.

use std::sync::Arc;

use super::RepairError;
use super::seen::Seen;
use super::sites::Read;
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
    pub(super) dense: Read,
    pub(super) pruned: Read,
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

    /// Hands every one of `reads` to `see` as both networks give it from the image on, with its number; images in their order.
    pub(super) fn look(
        &self,
        reads: &[Read],
        watch: &dyn Watch,
        see: &mut dyn FnMut(usize, &Seen, &Seen) -> Result<(), RepairError>,
    ) -> Result<(), RepairError> {
        let mut order: Vec<usize> = (0..reads.len()).collect();
        order.sort_by_key(|&i| reads[i].before);
        for chunk in &self.chunks {
            let (mut dense, mut pruned) = (chunk.dense.clone(), chunk.pruned.clone());
            for &i in &order {
                self.dense.advance(&mut dense, reads[i].before, watch)?;
                self.pruned.advance(&mut pruned, reads[i].before, watch)?;
                let value = reads[i].value;
                let d = Seen::of(&self.dense, &dense, value, &chunk.batch)?;
                if let (Some(d), Some(p)) = (d, Seen::of(&self.pruned, &pruned, value, &chunk.batch)?) {
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
        see: &mut dyn FnMut(&Seen, &Seen, usize) -> Result<(), RepairError>,
    ) -> Result<(), RepairError> {
        let first_read = reads.iter().map(|pair| pair.dense.before).min().unwrap_or(start);
        for chunk in &mut self.chunks {
            let (mut dense, mut pruned) = (chunk.dense.clone(), chunk.pruned.clone());
            // What never changes need not be gone through again.
            self.dense.advance(&mut dense, first_read.min(next).max(start), watch)?;
            self.pruned.advance(&mut pruned, start, watch)?;
            let bytes = dense.bytes() + pruned.bytes();
            if self.held - chunk.bytes + bytes <= self.memory {
                self.held = self.held - chunk.bytes + bytes;
                (chunk.dense, chunk.pruned, chunk.bytes) = (dense.clone(), pruned.clone(), bytes);
            }
            for pair in reads {
                self.dense.advance(&mut dense, pair.dense.before, watch)?;
                self.pruned.advance(&mut pruned, pair.pruned.before, watch)?;
                let d = Seen::of(&self.dense, &dense, pair.dense.value, &chunk.batch)?;
                let p = Seen::of(&self.pruned, &pruned, pair.pruned.value, &chunk.batch)?;
                if let (Some(d), Some(p)) = (d, p) {
                    see(&d, &p, chunk.batch.images.len())?;
                }
            }
        }
        Ok(())
    }
}
