//! Convolutions over one, two or three dimensions, and their transposes.

use burn::backend::Dispatch;
use burn::backend::ops::{ConvOptions, ConvTransposeOptions, FloatTensorOps, ModuleOps};
use burn::tensor::Slice;

use super::activation::Activation;
use super::call::Call;
use super::dense::{self, Dense};
use super::depthwise::Depthwise;
use super::dims::elements;
use super::epilogue::Epilogue;
use super::fault::{Checked, because, fault};
use super::movement::padded;
use super::setup::{Run, Setup, one};
use super::value::{Floats, Value, is_host, upload};
use super::window::{AutoPad, MAX_SETTING, Sliding, Window, seen_elements};

/// Per filter; `None` where there is nothing to multiply or to add.
type ScaleAndShift = (Option<Vec<f32>>, Option<Vec<f32>>);

type D = Dispatch;

fn bias(call: &mut Call, channels: usize) -> Checked<Option<Floats>> {
    let Some(bias) = call.optional_floats(2)? else { return Ok(None) };
    if bias.shape != [channels] {
        return fault!("the bias {:?} does not fit {channels} channels", bias.shape);
    }
    Ok(Some(bias))
}

/// A convolution that was checked: everything fits.
struct Conv {
    x: Floats,
    w: Floats,
    bias: Option<Floats>,
    groups: usize,
    windows: Vec<Window>,
    /// Of the result.
    shape: Vec<usize>,
}

/// What a convolution's node says beside its inputs.
pub(super) struct ConvSettings {
    groups: usize,
    kernel: Option<Vec<i64>>,
    sliding: Sliding,
}

impl ConvSettings {
    pub(super) fn of(setup: &Setup) -> Checked<Self> {
        let groups = usize::try_from(setup.int_or("group", 1)).unwrap_or(0);
        Ok(Self { groups, kernel: setup.ints("kernel_shape"), sliding: Sliding::of(setup)? })
    }
}

fn checked(call: &mut Call, settings: &ConvSettings) -> Checked<Conv> {
    let (x, w) = (call.take_floats(0)?, call.take_floats(1)?);
    if x.rank() != w.rank() || !(3..=5).contains(&x.rank()) {
        return fault!("{:?} and a kernel of {:?} are no convolution", x.shape, w.shape);
    }
    let (groups, filters) = (settings.groups, w.shape[0]);
    if groups == 0 || x.shape[1] != w.shape[1].saturating_mul(groups) || !filters.is_multiple_of(groups) || filters == 0 {
        return fault!("a kernel of {:?} in {groups} groups does not fit {:?}", w.shape, x.shape);
    }
    if settings.kernel.as_ref().is_some_and(|k| !k.iter().map(|&k| k as usize).eq(w.shape[2..].iter().copied())) {
        return fault!("the kernel {:?} is not of the shape that the settings tell", w.shape);
    }
    let windows = settings.sliding.over(&w.shape[2..], &x.shape[2..])?;
    let mut shape = vec![x.shape[0], filters];
    for (window, &length) in windows.iter().zip(&x.shape[2..]) {
        match window.places(length) {
            Some(places) => shape.push(places),
            None => return fault!("a kernel of {:?} is larger than {:?}", w.shape, x.shape),
        }
    }
    let bias = bias(call, filters)?;
    seen_elements(call, &shape, &windows)?;
    Ok(Conv { x, w, bias, groups, windows, shape })
}

pub(super) fn conv(setup: &Setup) -> Checked<Run> {
    let settings = ConvSettings::of(setup)?;
    one(move |call| {
        let conv = checked(call, &settings)?;
        let dtype = conv.x.dtype;
        if elements(&conv.shape)? == 0 || conv.x.elements() == 0 {
            return Ok(Floats::host(conv.shape.clone(), dtype, vec![0.0; elements(&conv.shape)?]).into());
        }
        if let Some(result) = conv.on_host(call, &Tail::default())? {
            return Ok(result.into());
        }
        let bias = conv.bias.map(|b| b.into_device(call.device)).transpose()?;
        let (x, w) = (conv.x.into_device(call.device)?, conv.w.into_device(call.device)?);
        let t = match *conv.windows.as_slice() {
            [a] => D::conv1d(x, w, bias, options(&[a], conv.groups)),
            [a, b] => D::conv2d(x, w, bias, options(&[a, b], conv.groups)),
            [a, b, c] => D::conv3d(x, w, bias, options(&[a, b, c], conv.groups)),
            _ => return fault!("{} spatial dimensions", conv.windows.len()),
        };
        Ok(Floats::on_device(conv.shape, dtype, t).into())
    })
}

/// What is done to the result of a convolution before it is written.
#[derive(Default)]
pub(super) struct Tail {
    /// Scale, bias, mean and variance of a batch normalisation, and its ε.
    pub(super) norm: Option<([Floats; 4], f32)>,
    pub(super) first: Option<Activation>,
    pub(super) residual: Option<Floats>,
    pub(super) second: Option<Activation>,
}

/// A convolution and its tail in one; `None` where they have to be carried out one by one.
pub(super) fn conv_with(call: &mut Call, settings: &ConvSettings, tail: &Tail) -> Checked<Option<Floats>> {
    let conv = checked(call, settings)?;
    let filters = conv.shape[1];
    let fits = conv.x.elements() > 0
        && elements(&conv.shape)? > 0
        && tail.norm.iter().flat_map(|(norm, _)| norm).all(|v| v.shape == [filters])
        && tail.residual.as_ref().is_none_or(|v| v.shape == conv.shape);
    if fits { conv.on_host(call, tail) } else { Ok(None) }
}

impl Conv {
    /// The convolution by loops of our own, where they suit: on the CPU, over lines and planes.
    fn on_host(&self, call: &Call, tail: &Tail) -> Checked<Option<Floats>> {
        const LINE: Window = Window { kernel: 1, stride: 1, dilation: 1, pads: (0, 0) };
        let (windows, size, places) = match *self.windows.as_slice() {
            [a] => ([LINE, a], [1, self.x.shape[2]], [1, self.shape[2]]),
            [a, b] => ([a, b], [self.x.shape[2], self.x.shape[3]], [self.shape[2], self.shape[3]]),
            _ => return Ok(None),
        };
        let shape = [self.x.shape[0], self.x.shape[1], size[0], size[1]];
        let filters = self.shape[1];
        if !is_host(call.device) || !dense::fits(shape, &windows, self.shape.iter().product()) {
            return Ok(None);
        }
        let residual = tail.residual.as_ref().map(Floats::read).transpose()?;
        let (scale, shift) = self.scale_and_shift(tail)?;
        let epilogue = Epilogue { scale, shift, first: tail.first, residual: residual.as_deref(), second: tail.second };
        let (x, weights) = (self.x.read()?, self.w.read()?);
        // One row of a matrix product would be worked out six times.
        let buffer = call.spare.take(self.shape.iter().product());
        let out = if self.w.shape[1] == 1 && (self.groups > 1 || filters == 1) && windows[0].kernel * windows[1].kernel > 1 {
            Depthwise { x: &x, shape, weights: &weights, filters, windows, places, epilogue }.run(buffer)
        } else {
            Dense { x: &x, shape, weights: &weights, filters, groups: self.groups, windows, places, epilogue }.run(buffer)
        };
        Ok(Some(Floats::on_device(self.shape.clone(), self.x.dtype, upload(out, call.device))))
    }

    /// Bias and batch normalisation as one factor and one summand per filter.
    fn scale_and_shift(&self, tail: &Tail) -> Checked<ScaleAndShift> {
        let bias = self.bias.as_ref().map(|bias| bias.read().map(|bias| bias.to_vec())).transpose()?;
        let Some((norm, epsilon)) = &tail.norm else { return Ok((None, bias)) };
        let [gamma, beta, mean, variance] = [norm[0].read()?, norm[1].read()?, norm[2].read()?, norm[3].read()?];
        let scale: Vec<f32> = gamma.iter().zip(variance.iter()).map(|(gamma, variance)| gamma / (variance + epsilon).sqrt()).collect();
        let mut shift: Vec<f32> = scale.iter().zip(mean.iter()).zip(beta.iter()).map(|((scale, mean), beta)| beta - mean * scale).collect();
        if let Some(bias) = bias {
            shift.iter_mut().zip(&scale).zip(&bias).for_each(|((shift, scale), bias)| *shift += scale * bias);
        }
        Ok((Some(scale), Some(shift)))
    }
}

fn options<const N: usize>(windows: &[Window; N], groups: usize) -> ConvOptions<N> {
    ConvOptions::new_with_padding(windows.map(|w| w.stride), windows.map(|w| w.pads), windows.map(|w| w.dilation), groups)
}

/// What the node of a transposed convolution says beside its inputs.
struct Transposed {
    groups: usize,
    strides: Option<Vec<usize>>,
    dilations: Option<Vec<usize>>,
    /// Elements added at the end.
    extra: Option<Vec<usize>>,
    pads: Option<Vec<i64>>,
    /// The result's spatial dimensions.
    wanted: Option<Vec<i64>>,
    auto: AutoPad,
}

/// The transposed convolution without pads, of which the pads are then cut away; negative ones are added.
pub(super) fn conv_transpose(setup: &Setup) -> Checked<Run> {
    let settings = Transposed {
        groups: usize::try_from(setup.int_or("group", 1)).unwrap_or(0),
        strides: setup.sizes("strides")?,
        dilations: setup.sizes("dilations")?,
        extra: setup.sizes("output_padding")?,
        pads: setup.ints("pads"),
        wanted: setup.ints("output_shape"),
        auto: AutoPad::of(setup),
    };
    one(move |call| spread_out(call, &settings))
}

fn spread_out(call: &mut Call, settings: &Transposed) -> Checked<Value> {
    let (x, w) = (call.take_floats(0)?, call.take_floats(1)?);
    if x.rank() != w.rank() || !(3..=5).contains(&x.rank()) {
        return fault!("{:?} and a kernel of {:?} are no convolution", x.shape, w.shape);
    }
    let (n, groups, channels) = (x.rank() - 2, settings.groups, x.shape[1]);
    if groups == 0 || channels != w.shape[0] || !channels.is_multiple_of(groups) {
        return fault!("a kernel of {:?} in {groups} groups does not fit {:?}", w.shape, x.shape);
    }
    let filters = w.shape[1].saturating_mul(groups);
    // The automatic pads of a transposed convolution follow from its result, not from its input.
    let or = |list: &Option<Vec<usize>>, default| list.clone().unwrap_or_else(|| vec![default; n]);
    let (strides, dilations, extra) = (or(&settings.strides, 1), or(&settings.dilations, 1), or(&settings.extra, 0));
    let mut pads = settings.pads.clone().unwrap_or_else(|| vec![0; 2 * n]);
    let (wanted, auto) = (&settings.wanted, settings.auto);
    let kernel = &w.shape[2..];
    let limits = kernel.iter().chain(&strides).chain(&dilations);
    if strides.len() != n
        || dilations.len() != n
        || extra.len() != n
        || pads.len() != 2 * n
        || wanted.as_ref().is_some_and(|s| s.len() != n)
    {
        return fault!("its settings do not fit {n} spatial dimensions");
    }
    if limits.into_iter().any(|&v| v == 0 || v > MAX_SETTING)
        || extra.iter().any(|&v| v > MAX_SETTING)
        || pads.iter().any(|v| v.unsigned_abs() as usize > MAX_SETTING)
    {
        return fault!(
            "kernel {kernel:?}, strides {strides:?}, dilations {dilations:?}, pads {pads:?} or output padding {extra:?} are out of bounds"
        );
    }
    let mut full = vec![x.shape[0], filters];
    for i in 0..n {
        let length = (x.shape[2 + i].max(1) - 1).saturating_mul(strides[i]) + (kernel[i] - 1) * dilations[i] + 1 + extra[i];
        full.push(length);
        let result = match (wanted, auto) {
            (Some(wanted), _) => wanted[i],
            (None, AutoPad::SameUpper | AutoPad::SameLower) => x.shape[2 + i].saturating_mul(strides[i]) as i64,
            _ => continue,
        };
        let total = (length as i64).saturating_sub(result);
        // A result that is wanted larger than it is grows at its end.
        let small = total.max(0) / 2;
        (pads[i], pads[n + i]) = if auto == AutoPad::SameUpper || total < 0 { (small, total - small) } else { (total - small, small) };
    }
    call.allowance.made(&full)?;
    let bias = bias(call, filters)?.map(|b| b.into_device(call.device)).transpose()?;
    let mut shape = full[..2].to_vec();
    for i in 0..n {
        let length = full[2 + i] as i64 - pads[i] - pads[n + i];
        shape.push(usize::try_from(length).map_err(|_| because!("its pads {pads:?} are larger than its result {full:?}"))?);
    }
    let dtype = x.dtype;
    if elements(&shape)? == 0 || x.elements() == 0 || w.elements() == 0 {
        return Ok(Floats::host(shape.clone(), dtype, vec![0.0; elements(&shape)?]).into());
    }
    let (x, w) = (x.into_device(call.device)?, w.into_device(call.device)?);
    let t = match n {
        1 => D::conv_transpose1d(x, w, bias, transposed(&strides, &extra, &dilations, groups)?),
        2 => D::conv_transpose2d(x, w, bias, transposed(&strides, &extra, &dilations, groups)?),
        _ => D::conv_transpose3d(x, w, bias, transposed(&strides, &extra, &dilations, groups)?),
    };
    let mut ranges = vec![Slice::from(0..full[0]), Slice::from(0..full[1])];
    let mut grow = vec![(0, 0); n];
    for i in 0..n {
        let (before, after) = (pads[i].max(0) as usize, pads[n + i].max(0) as usize);
        ranges.push(Slice::from(before..full[2 + i].saturating_sub(after).max(before)));
        grow[i] = (pads[i].min(0).unsigned_abs() as usize, pads[n + i].min(0).unsigned_abs() as usize);
    }
    let t = D::float_slice(t, &ranges);
    let t = if grow.iter().any(|&g| g != (0, 0)) { padded(t, &grow, 0.0) } else { t };
    Ok(Floats::on_device(shape, dtype, t).into())
}

fn transposed<const N: usize>(strides: &[usize], extra: &[usize], dilations: &[usize], groups: usize) -> Checked<ConvTransposeOptions<N>> {
    let array = |v: &[usize]| <[usize; N]>::try_from(v).map_err(|_| because!("{} spatial dimensions", v.len()));
    Ok(ConvTransposeOptions::new(array(strides)?, [0; N], array(extra)?, array(dilations)?, groups))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A convolution of numbers that a generator gives, with scale, shift and activation.
    struct Case {
        shape: [usize; 4],
        filters: usize,
        groups: usize,
        windows: [Window; 2],
    }

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i + seed).wrapping_mul(2_654_435_761) >> 11 & 0x3ff) as f32 / 512.0 - 1.0).collect()
    }

    impl Case {
        fn places(&self) -> [usize; 2] {
            [0, 1].map(|i| self.windows[i].places(self.shape[2 + i]).unwrap())
        }

        /// By the definition, in double precision.
        fn defined(&self, x: &[f32], weights: &[f32], epilogue: &Epilogue) -> Vec<f32> {
            let [images, channels, height, width] = self.shape;
            let ([v, h], [down, across]) = (self.windows, self.places());
            let (inputs, outputs) = (channels / self.groups, self.filters / self.groups);
            let mut out = Vec::new();
            for i in 0..images * self.filters * down * across {
                let (ox, oy, f, n) =
                    (i % across, i / across % down, i / (across * down) % self.filters, i / (across * down * self.filters));
                let mut sum = 0.0;
                for (c, ky, kx) in (0..inputs).flat_map(|c| (0..v.kernel).flat_map(move |y| (0..h.kernel).map(move |x| (c, y, x)))) {
                    let y = (oy * v.stride + ky * v.dilation).wrapping_sub(v.pads.0);
                    let column = (ox * h.stride + kx * h.dilation).wrapping_sub(h.pads.0);
                    if y < height && column < width {
                        let channel = f / outputs * inputs + c;
                        sum += f64::from(x[((n * channels + channel) * height + y) * width + column])
                            * f64::from(weights[((f * inputs + c) * v.kernel + ky) * h.kernel + kx]);
                    }
                }
                let scaled = sum * f64::from(epilogue.scale.as_ref().unwrap()[f]) + f64::from(epilogue.shift.as_ref().unwrap()[f]);
                out.push(scaled.max(0.0) as f32 + epilogue.residual.unwrap()[i]);
            }
            out
        }

        fn check(&self) {
            let [images, channels, height, width] = self.shape;
            let kernel = self.windows[0].kernel * self.windows[1].kernel;
            let [down, across] = self.places();
            let x = numbers(images * channels * height * width, 1);
            let weights = numbers(self.filters * channels / self.groups * kernel, 2);
            let residual = numbers(images * self.filters * down * across, 5);
            let epilogue = || Epilogue {
                scale: Some(numbers(self.filters, 3)),
                shift: Some(numbers(self.filters, 4)),
                first: Some(Activation::Relu),
                residual: Some(&residual),
                second: None,
            };
            let wanted = self.defined(&x, &weights, &epilogue());
            let (shape, filters, windows, places) = (self.shape, self.filters, self.windows, self.places());
            let close = |have: &[f32], what: &str| {
                assert_eq!(have.len(), wanted.len());
                for (i, (have, want)) in have.iter().zip(&wanted).enumerate() {
                    assert!(
                        (have - want).abs() < 1e-4,
                        "{what} of {shape:?} with {windows:?}, {filters} filters: {i} is {have}, not {want}"
                    );
                }
            };
            close(
                &Dense { x: &x, shape, weights: &weights, filters, groups: self.groups, windows, places, epilogue: epilogue() }
                    .run(vec![f32::NAN; wanted.len()]),
                "dense",
            );
            if self.groups == channels {
                close(
                    &Depthwise { x: &x, shape, weights: &weights, filters, windows, places, epilogue: epilogue() }
                        .run(vec![f32::NAN; wanted.len()]),
                    "depthwise",
                );
            }
        }
    }

    #[test]
    fn loops_of_our_own_do_what_a_convolution_is_defined_to_do() {
        let window = |kernel, stride, dilation, pads| Window { kernel, stride, dilation, pads };
        let windows = [
            [window(1, 1, 1, (0, 0)), window(1, 1, 1, (0, 0))],
            [window(3, 1, 1, (1, 1)), window(3, 1, 1, (1, 1))],
            [window(3, 2, 1, (1, 0)), window(3, 2, 1, (0, 1))],
            [window(5, 2, 1, (2, 2)), window(3, 3, 2, (2, 1))],
            [window(1, 2, 1, (0, 0)), window(4, 1, 2, (3, 5))],
            [window(2, 4, 1, (3, 0)), window(2, 5, 1, (1, 4))],
        ];
        for windows in windows {
            for (images, height, width) in [(1, 9, 9), (1, 40, 37), (1, 60, 64), (3, 9, 11), (9, 9, 9), (33, 6, 7)] {
                for (channels, filters, groups) in [(1, 1, 1), (4, 7, 1), (6, 6, 6), (3, 6, 3), (4, 26, 2)] {
                    Case { shape: [images, channels, height, width], filters, groups, windows }.check();
                }
            }
        }
    }
}
