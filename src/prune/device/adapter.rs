//! An adapter and its memory: buffers of 32-bit words, read back with their errors.
//!
//! What the words mean is the business of [`super`].

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::backend::wgpu::{CubeBackend, CubeTensor};
use burn::backend::{DType, DispatchDevice};
use burn::cubecl::client::Client;
use burn::cubecl::prelude::BufferArg;
use burn::cubecl::server::Handle;
use burn::cubecl::{CubeCount, Device as CubeDevice};
use burn::tensor::{Bytes, Device, Shape, Tensor};

use super::DeviceError;
use crate::panics;

/// Workgroups along x; further ones go along y. WebGPU grants 65,535 along each.
const GROUPS_X: u32 = 32_768;

/// A buffer of 32-bit words. Cloning shares it.
#[derive(Clone, Debug)]
pub(super) struct Words {
    handle: Handle,
    len: usize,
}

/// An opened wgpu adapter.
pub(super) struct Adapter {
    pub(super) client: Client,
    pub(super) name: String,
    device: CubeDevice,
}

impl Adapter {
    pub(super) fn new(device: &Device) -> Result<Self, DeviceError> {
        let DispatchDevice::Cube(device) = device.as_dispatch() else {
            return Err(DeviceError::NotGpu { device: format!("{device:?}") });
        };
        let client = attempt("the GPU", "opening the device", || Ok(device.client()))?;
        Ok(Self { name: client.properties().identity.name.clone(), device: device.clone(), client })
    }

    /// The largest buffer, in bytes.
    pub(super) fn max_buffer_bytes(&self) -> u64 {
        self.client.properties().memory.max_page_size
    }

    /// A buffer with these words.
    pub(super) fn create(&self, words: Vec<u32>) -> Words {
        Words { len: words.len(), handle: self.client.create(Bytes::from_elems(words)) }
    }

    /// A buffer with arbitrary contents.
    pub(super) fn empty(&self, len: usize) -> Words {
        Words { handle: self.client.empty(4 * len), len }
    }

    /// A kernel's view of a buffer. Kernels are launched with bounds checks, so a wrong index reaches no other memory.
    pub(super) fn arg(&self, words: &Words) -> BufferArg {
        self.tensor(words.handle.clone(), words.len, DType::U32).into_buffer_arg()
    }

    /// A tensor that shares `len` words from word `start`, taken for f32.
    pub(super) fn float_tensor(&self, words: &Words, start: usize, len: usize) -> Result<Tensor<1>, DeviceError> {
        self.attempt("handing out weights", || {
            Ok(Tensor::from_primitive::<CubeBackend>(self.tensor(words.window(start, len), len, DType::F32)))
        })
    }

    fn tensor(&self, handle: Handle, len: usize, dtype: DType) -> CubeTensor {
        CubeTensor::new_contiguous(self.client.clone(), self.device.clone(), Shape::new([len]), handle, dtype)
    }

    /// Reads `len` words from word `start`, once everything launched before is done.
    pub(super) fn read(&self, words: &Words, start: usize, len: usize) -> Result<Vec<u32>, DeviceError> {
        if len == 0 {
            return Ok(Vec::new());
        }
        let mut read = self.read_all(vec![words.window(start, len)])?;
        let read = read.pop().unwrap_or_default();
        self.agree("reading back from it", "the number of words", len as u64, read.len() as u64)?;
        Ok(read)
    }

    /// Reads two buffers in one go.
    pub(super) fn read_both(&self, first: &Words, second: &Words) -> Result<(Vec<u32>, Vec<u32>), DeviceError> {
        let mut read = self.read_all(vec![first.window(0, first.len), second.window(0, second.len)])?.into_iter();
        Ok((read.next().unwrap_or_default(), read.next().unwrap_or_default()))
    }

    fn read_all(&self, handles: Vec<Handle>) -> Result<Vec<Vec<u32>>, DeviceError> {
        let step = "reading back from it";
        let read = self.attempt(step, || self.client.read(handles).map_err(|error| failed(&self.name, step, &error.to_string())))?;
        Ok(read
            .iter()
            .map(|bytes| bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect())
            .collect())
    }

    /// An error when a figure that came back is not what it must be.
    pub(super) fn agree(&self, step: &'static str, what: &'static str, expected: u64, found: u64) -> Result<(), DeviceError> {
        if expected == found {
            return Ok(());
        }
        Err(DeviceError::Disagrees { adapter: self.name.clone(), step, what, expected, found })
    }

    /// Runs `action`; a panic of the runtime, which is how it reports a lost device to most calls, becomes an error.
    pub(super) fn attempt<T>(&self, step: &'static str, action: impl FnOnce() -> Result<T, DeviceError>) -> Result<T, DeviceError> {
        attempt(&self.name, step, action)
    }
}

impl Words {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// `len` words from word `start`. The allocation may be larger than what was asked for.
    fn window(&self, start: usize, len: usize) -> Handle {
        let slack = self.handle.size_in_used().saturating_sub(4 * self.len as u64);
        self.handle.clone().offset_start(4 * start as u64).offset_end(slack + 4 * (self.len - start - len) as u64)
    }
}

fn attempt<T>(adapter: &str, step: &'static str, action: impl FnOnce() -> Result<T, DeviceError>) -> Result<T, DeviceError> {
    catch_unwind(AssertUnwindSafe(action)).unwrap_or_else(|panic| Err(failed(adapter, step, &panics::text(&*panic))))
}

/// The error of a runtime that failed; its text without the backtrace that `CubeCL` appends.
fn failed(adapter: &str, step: &'static str, reason: &str) -> DeviceError {
    let reason = reason.split("\nBacktrace:").next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    DeviceError::Failed { adapter: adapter.to_owned(), step, reason }
}

/// `count` workgroups, spread over x and y. Kernels skip those too many.
pub(super) fn groups(count: u32) -> CubeCount {
    let x = count.clamp(1, GROUPS_X);
    CubeCount::Static(x, count.div_ceil(x).max(1), 1)
}
