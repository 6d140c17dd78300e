//! Pictures decoded ahead of the network, in batches.
//!
//! Every thread has its share of the pictures in turn and a bounded channel of its own, so the order is kept whatever the threads
//! do, and memory is bounded. Threads end when the loader is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use super::error::ImageError;
use super::preprocess::Preprocess;
use super::set::ImageSet;
use crate::network::Array;

/// How many pictures each thread may be ahead.
const AHEAD: usize = 16;
/// How often a waiting loader looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(20);
/// More threads than this do not help: the network needs the cores too.
const MAX_THREADS: usize = 8;

/// Some pictures, ready for the network.
#[derive(Debug)]
pub struct Prepared {
    /// Of [`Preprocess::shape`], as many as `indices`.
    pub array: Array,
    /// Which pictures of the set they are.
    pub indices: Vec<usize>,
    /// Pictures that would have been in this batch.
    pub broken: Vec<Unusable>,
}

/// A picture that could not be used.
#[derive(Debug)]
pub struct Unusable {
    /// Which of the set.
    pub index: usize,
    /// Its name in the set.
    pub name: String,
    /// Why.
    pub error: ImageError,
}

/// Hands out batches in the order of the indices it was given. The last is smaller; one without any picture tells what broke.
#[derive(Debug)]
pub struct Loader {
    set: Arc<ImageSet>,
    shape: [usize; 3],
    indices: Vec<usize>,
    position: usize,
    batch: usize,
    lanes: Vec<Receiver<Result<Vec<f32>, ImageError>>>,
    stop: Arc<AtomicBool>,
}

impl Loader {
    /// Starts to decode the pictures `indices` of `set`; `batch` of them at a time are handed out. Indices beyond the set are passed
    /// over. Once `stop` is true the loader ends at the next batch, within 20 ms.
    #[must_use]
    pub fn start(set: &Arc<ImageSet>, preprocess: &Preprocess, indices: Vec<usize>, batch: usize, stop: Arc<AtomicBool>) -> Self {
        let indices: Vec<usize> = indices.into_iter().filter(|&i| i < set.images.len()).collect();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = cores.min(MAX_THREADS).min(indices.len()).max(1);
        let lanes = (0..threads)
            .map(|thread| {
                let (sender, receiver) = sync_channel(AHEAD);
                let (set, preprocess, stop) = (set.clone(), preprocess.clone(), stop.clone());
                let share: Vec<usize> = indices.iter().skip(thread).step_by(threads).copied().collect();
                std::thread::spawn(move || {
                    for index in share {
                        if stop.load(Ordering::Relaxed) || sender.send(preprocess.apply(&set.images[index])).is_err() {
                            break;
                        }
                    }
                });
                receiver
            })
            .collect();
        Self { set: set.clone(), shape: preprocess.shape(), indices, position: 0, batch: batch.max(1), lanes, stop }
    }

    /// The next picture's numbers; `None` when the loader is to stop.
    fn receive(&self) -> Option<Result<Vec<f32>, ImageError>> {
        let lane = &self.lanes[self.position % self.lanes.len()];
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            match lane.recv_timeout(LOOK) {
                Ok(numbers) => return Some(numbers),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }
}

impl Iterator for Loader {
    type Item = Prepared;

    fn next(&mut self) -> Option<Prepared> {
        let mut indices = Vec::new();
        let mut broken = Vec::new();
        let mut numbers = Vec::new();
        while indices.len() < self.batch && self.position < self.indices.len() {
            let received = self.receive()?;
            let index = self.indices[self.position];
            self.position += 1;
            match received {
                Ok(picture) => {
                    indices.push(index);
                    numbers.extend(picture);
                }
                Err(error) => broken.push(Unusable { index, name: self.set.images[index].name.clone(), error }),
            }
        }
        if indices.is_empty() && broken.is_empty() {
            return None;
        }
        let shape: Vec<usize> = std::iter::once(indices.len()).chain(self.shape).collect();
        Some(Prepared { array: Array::f32(shape, numbers), indices, broken })
    }
}
