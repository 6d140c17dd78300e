//! Windows that slide over a value's spatial dimensions, as convolutions and pools have them.

use super::call::Call;
use super::fault::{Checked, Fault, fault};
use super::setup::Setup;
use crate::graph::Node;

/// Where a window lies along one axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) dilation: usize,
    /// Elements added before and after.
    pub(crate) pads: (usize, usize),
}

impl Window {
    /// How far the window reaches: elements from its first to its last.
    pub(super) fn extent(&self) -> usize {
        (self.kernel - 1) * self.dilation + 1
    }

    /// Number of places that the window fits into.
    pub(super) fn places(&self, length: usize) -> Option<usize> {
        let room = (length + self.pads.0 + self.pads.1).checked_sub(self.extent())?;
        Some(room / self.stride + 1)
    }
}

/// Largest stride, dilation, kernel or pad that is believed.
pub(super) const MAX_SETTING: usize = 1 << 20;

/// What follows from `auto_pad`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AutoPad {
    /// Nothing: the pads are given.
    Off,
    /// As many places as strides fit, an odd pad at the end.
    SameUpper,
    /// The same, an odd pad at the start.
    SameLower,
    /// No pads.
    Valid,
}

impl AutoPad {
    pub(super) fn of(setup: &Setup) -> Self {
        match setup.string_or("auto_pad", "NOTSET") {
            "SAME_UPPER" => Self::SameUpper,
            "SAME_LOWER" => Self::SameLower,
            "VALID" => Self::Valid,
            _ => Self::Off,
        }
    }
}

/// The settings of windows, which hold for any number of spatial dimensions where they are not given.
#[derive(Debug, Clone)]
pub(super) struct Sliding {
    strides: Option<Vec<usize>>,
    dilations: Option<Vec<usize>>,
    pads: Option<Vec<usize>>,
    auto: AutoPad,
}

impl Sliding {
    pub(super) fn of(setup: &Setup) -> Checked<Self> {
        let (strides, dilations) = (setup.sizes("strides")?, setup.sizes("dilations")?);
        Ok(Self { strides, dilations, pads: setup.sizes("pads")?, auto: AutoPad::of(setup) })
    }

    /// The windows over a value with these spatial dimensions.
    pub(super) fn over(&self, kernel: &[usize], spatial: &[usize]) -> Checked<Vec<Window>> {
        let n = spatial.len();
        let or = |list: &Option<Vec<usize>>, default: usize, length: usize| list.clone().unwrap_or_else(|| vec![default; length]);
        let (strides, dilations, pads) = (or(&self.strides, 1, n), or(&self.dilations, 1, n), or(&self.pads, 0, 2 * n));
        if kernel.len() != n || strides.len() != n || dilations.len() != n || pads.len() != 2 * n {
            return fault!("its settings do not fit {n} spatial dimensions");
        }
        let all = || kernel.iter().chain(&strides).chain(&dilations);
        if all().any(|&v| v == 0 || v > MAX_SETTING) || pads.iter().any(|&v| v > MAX_SETTING) {
            return fault!("kernel {kernel:?}, strides {strides:?}, dilations {dilations:?} or pads {pads:?} are out of bounds");
        }
        let window = |i: usize| {
            let mut window = Window { kernel: kernel[i], stride: strides[i], dilation: dilations[i], pads: (pads[i], pads[n + i]) };
            match self.auto {
                AutoPad::SameUpper | AutoPad::SameLower => {
                    let places = spatial[i].div_ceil(window.stride);
                    let total = (places.saturating_sub(1) * window.stride + window.extent()).saturating_sub(spatial[i]);
                    let small = total / 2;
                    window.pads = if self.auto == AutoPad::SameUpper { (small, total - small) } else { (total - small, small) };
                }
                AutoPad::Valid => window.pads = (0, 0),
                AutoPad::Off => {}
            }
            window
        };
        Ok((0..n).map(window).collect())
    }
}

/// The windows of a convolution over a value with these spatial dimensions; `None` where its settings do not fit them.
pub(crate) fn windows(node: &Node, kernel: &[usize], spatial: &[usize]) -> Option<Vec<Window>> {
    let none = |_| Err(Fault("a convolution's settings are no tensors".into()));
    Sliding::of(&Setup::new(node, &none)).ok()?.over(kernel, spatial).ok()
}

/// Elements of a result, with less patience where pads make most of it.
pub(super) fn seen_elements(call: &Call, shape: &[usize], windows: &[Window]) -> Checked<usize> {
    let wide = windows.iter().any(|w| w.pads.0.max(w.pads.1) > w.extent());
    if wide { call.allowance.made(shape) } else { call.allowance.fits(shape) }
}
