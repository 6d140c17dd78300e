//! Plane convolutions on the CPU as one large matrix product.
//!
//! Burn's flex backend 0.22.1 multiplies image by image, in tiles; where images are small, as they are deep in a network,
//! that is several times slower than one product over the whole batch.

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Dispatch, DispatchDevice};
use burn::tensor::Device;
use rayon::prelude::*;

use super::call::Outcome;
use super::convolution::Window;
use super::value::{Floats, upload};

/// The matrix of what all windows show has at most this many elements; larger batches are taken in parts.
const MAX_COLUMNS: usize = 1 << 24;

/// A pointwise convolution over planes of more places than this is left to Burn.
const MAX_POINTWISE: usize = 128;

/// Whether [`convolve`] is the faster way.
pub(super) fn suits(device: &Device, windows: &[Window], groups: usize, places: &[usize]) -> bool {
    let plane: usize = places.iter().product();
    let kernel: usize = windows.iter().map(|w| w.kernel).product();
    matches!(device.as_dispatch(), DispatchDevice::Flex(_)) && windows.len() == 2 && groups == 1 && (kernel > 1 || plane <= MAX_POINTWISE)
}

/// `x` convolved with `w`, of which the caller has checked that they fit; `shape` is the result's.
pub(super) fn convolve(
    device: &Device,
    x: &Floats,
    w: &Floats,
    bias: Option<&Floats>,
    windows: &[Window],
    shape: &[usize],
) -> Outcome<Floats> {
    let [height, width] = [x.shape[2], x.shape[3]];
    let (batch, channels, filters) = (x.shape[0], x.shape[1], shape[1]);
    let (rows, plane) = (channels * windows[0].kernel * windows[1].kernel, shape[2] * shape[3]);
    let data = x.to_host()?;
    let bias = bias.map(Floats::to_host).transpose()?;
    let weights = w.shaped(device, &[filters, rows])?;
    let part = (MAX_COLUMNS / (rows * plane)).clamp(1, batch);
    let mut out = vec![0.0_f32; batch * filters * plane];
    for first in (0..batch).step_by(part) {
        let count = part.min(batch - first);
        let image = channels * height * width;
        let columns =
            columns(&data[first * image..(first + count) * image], [count, channels, height, width], windows, [shape[2], shape[3]]);
        let columns = Floats::on_device(vec![rows, count * plane], x.dtype, upload(columns, device)).into_device(device)?;
        let product = Dispatch::float_matmul(weights.clone(), columns);
        let product = Floats::on_device(vec![filters, count * plane], x.dtype, product).to_host()?;
        // Filters come first in the product, images in the result.
        out[first * filters * plane..(first + count) * filters * plane].par_chunks_mut(plane).enumerate().for_each(|(i, to)| {
            let (n, f) = (i / filters, i % filters);
            let from = &product[(f * count + n) * plane..(f * count + n + 1) * plane];
            match &bias {
                Some(bias) => to.iter_mut().zip(from).for_each(|(to, from)| *to = from + bias[f]),
                None => to.copy_from_slice(from),
            }
        });
    }
    Ok(Floats::on_device(shape.to_vec(), x.dtype, upload(out, device)))
}

/// What every window shows: a row for each channel and place in the kernel, a column for each image and place of the window.
fn columns(data: &[f32], [count, channels, height, width]: [usize; 4], windows: &[Window], [down, across]: [usize; 2]) -> Vec<f32> {
    let (v, h) = (windows[0], windows[1]);
    let mut out = vec![0.0_f32; channels * v.kernel * h.kernel * count * down * across];
    out.par_chunks_mut(count * down * across).enumerate().for_each(|(row, out)| {
        let (channel, ky, kx) = (row / (v.kernel * h.kernel), row / h.kernel % v.kernel, row % h.kernel);
        // Places whose window shows an element of the image here, and not a pad.
        let shift = kx * h.dilation;
        let first = h.pads.0.saturating_sub(shift).div_ceil(h.stride).min(across);
        let last = (width + h.pads.0).saturating_sub(shift).div_ceil(h.stride).clamp(first, across);
        for (line, to) in out.chunks_exact_mut(across).enumerate() {
            let (n, y) = (line / down, line % down);
            let Some(y) = (y * v.stride + ky * v.dilation).checked_sub(v.pads.0).filter(|&y| y < height) else { continue };
            let from = &data[((n * channels + channel) * height + y) * width..][..width];
            let start = first * h.stride + shift - h.pads.0.min(first * h.stride + shift);
            let to = &mut to[first..last];
            if h.stride == 1 {
                to.copy_from_slice(&from[start..start + to.len()]);
            } else if !to.is_empty() {
                to.iter_mut().zip(from[start..].iter().step_by(h.stride)).for_each(|(to, from)| *to = *from);
            }
        }
    });
    out
}
