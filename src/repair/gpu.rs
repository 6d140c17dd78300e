//! The sums of a repair on a GPU: values stay there, and what comes back is a few numbers per channel, or a layer's Gram matrices.
//!
//! A GPU adds in float32. So everything is summed about means, the means that a batch has there, and what their rounding left is summed
//! too; the host joins batches in float64. Where a device fails, or a sum is not finite, there is no answer, and the host takes the values.

use burn::tensor::{Int, Tensor, TensorData};

use super::gram::{Centred, Gram};
use super::moments::Joint;
use super::places::Places;
use super::seen::OnGpu;
use crate::panics;

/// Numbers that the inputs of one product may have together: 64 MB.
const MOST_NUMBERS: usize = 1 << 24;

/// Rows that are multiplied together at least.
const RUN: usize = 256;

/// All channels of a value in both networks, `inner` numbers of a channel after one another.
pub(super) fn joints(dense: &OnGpu, pruned: &OnGpu, channels: usize, inner: usize) -> Option<Vec<Joint>> {
    let elements: usize = dense.shape.iter().product();
    let count = (elements / channels) as f64;
    let told = read(|| {
        let about_mean = |values: &Tensor<1>| {
            let values = values.clone().reshape([elements / channels / inner, channels, inner]);
            let mean = values.clone().mean_dim(2).mean_dim(0);
            (values - mean.clone(), mean.reshape([channels]))
        };
        let sum = |values: Tensor<3>| values.sum_dim(2).sum_dim(0).reshape([channels]);
        let ((d, d_mean), (p, p_mean)) = (about_mean(&dense.values), about_mean(&pruned.values));
        let difference = d.clone() - p.clone();
        let squares = [d.clone() * d.clone(), p.clone() * p.clone(), difference.clone() * difference].map(sum);
        [d_mean, p_mean, sum(d), sum(p)].into_iter().chain(squares).collect()
    })?;
    let [d_means, p_means, d_rests, p_rests, d_squares, p_squares, differences] = parts(&told, [channels; 7])?;
    let joint = |c: usize| {
        let wide = |values: &[f32]| f64::from(values[c]);
        let (d_rest, p_rest) = (wide(d_rests) / count, wide(p_rests) / count);
        let square = |sum: f64, rest: f64| (sum - count * rest * rest).max(0.0);
        let (dense_square, pruned_square) = (square(wide(d_squares), d_rest), square(wide(p_squares), p_rest));
        // By way of the difference, small errors are not lost in large squares.
        let product = (dense_square + pruned_square - square(wide(differences), d_rest - p_rest)) / 2.0;
        Joint { dense_mean: wide(d_means) + d_rest, pruned_mean: wide(p_means) + p_rest, dense_square, pruned_square, product }
    };
    let joints: Vec<Joint> = (0..channels).map(joint).collect();
    joints.iter().all(Joint::is_finite).then_some(joints)
}

/// Adds images to the Gram matrices of all groups, those of `images[0]` to the first of each, the others to the second. Where it fails,
/// nothing is added.
pub(super) fn add_to_grams(grams: &mut [[Gram; 2]], (x, y): (&OnGpu, &OnGpu), places: &Places, images: &[Vec<usize>; 2]) -> bool {
    let Places { groups, inputs, outputs, looked, .. } = *places;
    let at_once = (MOST_NUMBERS / (groups * inputs * looked).max(1)).max(1);
    let mut told = Vec::new();
    for (which, images) in images.iter().enumerate() {
        for images in images.chunks(at_once) {
            let Some(sums) = read(|| sums(x, y, places, images)) else { return false };
            if !sums.iter().all(|sum| sum.is_finite()) {
                return false;
            }
            told.push((which, images.len() * looked, sums));
        }
    }
    for (which, count, sums) in &told {
        let lengths = [inputs, outputs, inputs, outputs, outputs, inputs * inputs, inputs * outputs].map(|length| groups * length);
        let Some(parts) = parts(sums, lengths) else { return false };
        for (group, gram) in grams.iter_mut().enumerate() {
            let [input_means, output_means, input_sums, output_sums, outputs, inputs, across] = parts.map(|part| {
                let length = part.len() / groups;
                &part[group * length..(group + 1) * length]
            });
            let count = *count as f64;
            gram[*which].add_centred(&Centred { count, input_means, output_means, input_sums, output_sums, outputs, inputs, across });
        }
    }
    true
}

/// What [`Centred`] holds, for all groups, of some images.
fn sums(x: &OnGpu, y: &OnGpu, places: &Places, images: &[usize]) -> Vec<Tensor<1>> {
    let (x, y) = matrices(x, y, places, images);
    let about_mean = |values: Tensor<3>| {
        let mean = values.clone().mean_dim(1);
        (values - mean.clone(), mean)
    };
    let ((x, x_mean), (y, y_mean)) = (about_mean(x), about_mean(y));
    let products = products(&x, &y);
    let all = [x_mean, y_mean, x.sum_dim(1), y.sum_dim(1)].into_iter().chain(products);
    all.map(|sums| {
        let length = sums.shape().num_elements();
        sums.reshape([length])
    })
    .collect()
}

/// Squares of what all groups give, and products of what they read with itself and with what they give. Runs of rows are multiplied by
/// themselves and then added up: one sum over very many rows would lose more of float32.
fn products(x: &Tensor<3>, y: &Tensor<3>) -> [Tensor<3>; 3] {
    let ([groups, rows, inputs], [_, _, outputs]) = (x.dims(), y.dims());
    let most = MOST_NUMBERS / (groups * inputs * (inputs + outputs)).max(1);
    let runs = (rows / RUN).clamp(1, most.max(1));
    let run = rows.div_ceil(runs);
    let in_runs = |values: &Tensor<3>, width: usize| {
        let filling = Tensor::zeros([groups, runs * run - rows, width], &values.device());
        Tensor::cat(vec![values.clone(), filling], 1).reshape([groups * runs, run, width])
    };
    let (x, y) = (in_runs(x, inputs), in_runs(y, outputs));
    let turned = x.clone().swap_dims(1, 2);
    let squares = (y.clone() * y.clone()).sum_dim(1);
    let products = [squares, turned.clone().matmul(x), turned.matmul(y)];
    products.map(|products| {
        let [_, rows, columns] = products.dims();
        products.reshape([groups, runs, rows * columns]).sum_dim(1)
    })
}

/// What the groups read and give at the places of these images: groups, places, inputs or outputs.
fn matrices(x: &OnGpu, y: &OnGpu, places: &Places, images: &[usize]) -> (Tensor<3>, Tensor<3>) {
    let &Places { groups, inputs, outputs, positions, looked, .. } = places;
    let device = x.values.device();
    let indices = |indices: Vec<i32>| {
        let length = indices.len();
        Tensor::<1, Int>::from_data(TensorData::new(indices, [length]), &device)
    };
    let rows = images.len() * looked;
    let at: Vec<(usize, usize)> =
        images.iter().flat_map(|&image| (0..looked).map(places.of(image)).map(move |place| (image, place))).collect();
    let chosen = indices(at.iter().map(|(image, place)| (image * positions + place) as i32).collect());
    let Some(windows) = &places.windows else {
        let of = |values: &Tensor<1>, width: usize| {
            let all = values.dims()[0] / width;
            values.clone().reshape([all, width]).select(0, chosen.clone()).reshape([1, rows, width])
        };
        return (of(&x.values, inputs), of(&y.values, outputs));
    };
    let (kernel, plane) = (windows.kernel, windows.plane);
    let channels = groups * inputs / kernel;
    let all = x.values.dims()[0] / (channels * plane);
    let x = x.values.clone().reshape([all, channels, plane]).swap_dims(0, 1).reshape([channels, all * plane]);
    // What lies in the padding is read from one more column.
    let x = Tensor::cat(vec![x, Tensor::zeros([channels, 1], &device)], 1);
    let under = at.iter().flat_map(|&(image, place)| {
        (0..kernel).map(move |k| windows.of(place, k).map_or(all * plane, |inside| image * plane + inside) as i32)
    });
    let x = x.select(1, indices(under.collect())).reshape([groups, inputs / kernel, rows, kernel]);
    let x = x.swap_dims(1, 2).reshape([groups, rows, inputs]);
    let y = y.values.clone().reshape([all, groups * outputs, positions]).swap_dims(0, 1).reshape([groups * outputs, all * positions]);
    (x, y.select(1, chosen).reshape([groups, outputs, rows]).swap_dims(1, 2))
}

/// Reads back what a device works out, one after another; `None` where it fails.
fn read(work: impl FnOnce() -> Vec<Tensor<1>>) -> Option<Vec<f32>> {
    let told = panics::caught(|| {
        let mut all = work();
        // A device that fails can leave zeros, which this would be too.
        all.insert(0, Tensor::ones([1], &all[0].device()));
        Tensor::cat(all, 0).try_into_data().ok()?.try_into_vec::<f32>().ok()
    });
    let mut told = told.ok().flatten()?;
    (told.first() == Some(&1.0)).then(|| told.split_off(1))
}

/// The parts of a list that have these lengths; `None` where it is not as long as they are together.
fn parts<const N: usize>(list: &[f32], lengths: [usize; N]) -> Option<[&[f32]; N]> {
    if list.len() != lengths.iter().sum::<usize>() {
        return None;
    }
    let mut rest = list;
    Some(lengths.map(|length| {
        let (part, others) = rest.split_at(length);
        rest = others;
        part
    }))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::device::adapter_for_tests;
    use crate::graph::ChannelAxis::{self, Last, Second};
    use crate::network::Window;
    use crate::repair::gram::About;
    use crate::repair::moments::Moments;
    use crate::repair::places::Reading;
    use crate::repair::seen::ImageValues;
    use crate::repair::sites::OutputAxis;
    use crate::repair::squares::{Shape, Sums};

    /// Numbers between −1 and 1, the same ones for the same seed.
    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    /// The same value on the host and on the device.
    fn both(shape: &[usize], values: Vec<f32>, device: &Device) -> (ImageValues, ImageValues) {
        let length = values.len();
        let there = Tensor::from_data(TensorData::new(values.clone(), [length]), device);
        (ImageValues::on_host(shape, values), ImageValues::Gpu(OnGpu { shape: shape.to_vec(), values: there }))
    }

    fn is_near(a: f64, b: f64, whole: f64) -> bool {
        (a - b).abs() <= 1e-5 * whole
    }

    #[test]
    fn moments_are_those_of_the_host() {
        let Some(device) = adapter_for_tests() else { return };
        let shapes: [(&[usize], ChannelAxis); 5] =
            [(&[3, 7, 11, 5], Second), (&[37, 13], Last), (&[9, 1, 2], Second), (&[2, 33, 5], Last), (&[1, 4, 90, 91], Second)];
        for (shape, channels) in shapes {
            let axis = channels.dimension(shape.len()).unwrap();
            // Far from zero, and hardly changed.
            let count = shape.iter().product();
            let dense: Vec<f32> = numbers(count, 1).iter().map(|v| v + 100.0).collect();
            let pruned: Vec<f32> = dense.iter().zip(numbers(count, 2)).map(|(d, v)| d + 1e-3 * v).collect();
            let (dense, pruned) = (both(shape, dense, &device.device), both(shape, pruned, &device.device));
            let is_summed_there = match (&dense.1, &pruned.1) {
                (ImageValues::Gpu(dense), ImageValues::Gpu(pruned)) => {
                    joints(dense, pruned, shape[axis], shape[axis + 1..].iter().product()).is_some()
                }
                _ => false,
            };
            assert!(is_summed_there, "{shape:?}");
            let mut host = Moments::default();
            let mut gpu = Moments::default();
            for _ in 0..2 {
                host.add(&dense.0, &pruned.0, channels).unwrap();
                gpu.add(&dense.1, &pruned.1, channels).unwrap();
            }
            assert_eq!((host.count(), host.channels.len()), (gpu.count(), gpu.channels.len()));
            for (host, gpu) in host.channels.iter().zip(&gpu.channels) {
                let between = |joint: &Joint| joint.dense_square + joint.pruned_square - 2.0 * joint.product;
                let is_alike = is_near(host.dense_mean, gpu.dense_mean, 1.0)
                    && is_near(host.pruned_mean, gpu.pruned_mean, 1.0)
                    && is_near(host.dense_square, gpu.dense_square, host.dense_square)
                    && is_near(host.pruned_square, gpu.pruned_square, host.pruned_square)
                    && (between(host) - between(gpu)).abs() <= 1e-2 * between(host) + 1e-9;
                assert!(is_alike, "{shape:?}: {host:?}, and {gpu:?}");
            }
            let mut same = Moments::default();
            same.add(&dense.1, &dense.1, channels).unwrap();
            assert!(same.is_same() && !gpu.is_same(), "{shape:?}");
        }
    }

    #[test]
    fn what_a_gpu_cannot_sum_is_summed_by_the_host() {
        let Some(device) = adapter_for_tests() else { return };
        // Squares of these exceed float32.
        let (host, gpu) = both(&[2, 2, 3], numbers(12, 3).iter().map(|v| v * 1e30).collect(), &device.device);
        let mut moments = [Moments::default(), Moments::default()];
        moments[0].add(&host, &host, ChannelAxis::Second).unwrap();
        moments[1].add(&gpu, &gpu, ChannelAxis::Second).unwrap();
        assert!(moments[0].is_finite() && moments[0] == moments[1]);
        let (_, gpu) = both(&[2, 1], vec![f32::NAN, 1.0], &device.device);
        let mut moments = Moments::default();
        moments.add(&gpu, &gpu, ChannelAxis::Second).unwrap();
        assert!(!moments.is_finite());
    }

    /// A layer's shape, what it reads and gives of one image, and its windows.
    type Layer = (Shape, &'static [usize], &'static [usize], Option<Vec<Window>>);

    fn layers() -> Vec<Layer> {
        let shape = |groups, inputs, outputs, order| Shape { groups, inputs, outputs, order };
        let window = |kernel, stride, dilation, pads| Window { kernel, stride, dilation, pads };
        vec![
            (shape(1, 27, 5, OutputAxis::First), &[3, 9, 7], &[5, 5, 7], Some(vec![window(3, 2, 1, (1, 1)), window(3, 1, 1, (2, 0))])),
            (shape(2, 8, 3, OutputAxis::First), &[4, 6, 6], &[6, 4, 5], Some(vec![window(2, 1, 2, (0, 0)), window(2, 1, 1, (0, 0))])),
            (shape(6, 3, 1, OutputAxis::First), &[6, 13], &[6, 13], Some(vec![window(3, 1, 1, (1, 1))])),
            (shape(1, 11, 4, OutputAxis::Last), &[5, 11], &[5, 4], None),
            (shape(1, 11, 4, OutputAxis::First), &[11], &[4], None),
        ]
    }

    #[test]
    fn grams_are_those_of_the_host() {
        let Some(device) = adapter_for_tests() else { return };
        // Few images are looked at everywhere, of many images only some places are.
        for (layer, of_all) in layers().iter().flat_map(|layer| [(layer, 12), (layer, 9_000)]) {
            let (shape, x_shape, y_shape, windows) = layer;
            let reading = windows.clone().map_or(Reading::Rows, Reading::Windows);
            let (mut host, mut gpu) = (Sums::new(shape.clone(), of_all), Sums::new(shape.clone(), of_all));
            for (images, seed) in [(7, 5), (5, 6), (30, 7), (30, 8)] {
                let value = |shape: &[usize], seed| {
                    let shape: Vec<usize> = std::iter::once(images).chain(shape.iter().copied()).collect();
                    let values = numbers(shape.iter().product(), seed);
                    // About a mean that is larger than what it varies by.
                    both(&shape, values.iter().map(|v| 5.0 + v).collect(), &device.device)
                };
                let (x, y) = (value(x_shape, seed), value(y_shape, seed + 100));
                host.add(&x.0, &y.0, &reading, images).unwrap();
                gpu.add(&x.1, &y.1, &reading, images).unwrap();
                let (ImageValues::Gpu(x), ImageValues::Gpu(y)) = (&x.1, &y.1) else { panic!("two values on a GPU") };
                let places = Places::new(shape, (&x.shape, &y.shape), &reading, (images, 0), 3).unwrap();
                assert!(add_to_grams(&mut gpu.groups.clone(), (x, y), &places, &[vec![0, 2], vec![1]]), "summed there");
            }
            let weights = |output: usize| numbers(shape.inputs, output as u64 + 50).iter().map(|&w| f64::from(w)).collect::<Vec<_>>();
            let kept: Vec<usize> = (0..shape.inputs).collect();
            for (host, gpu) in host.groups.iter().flatten().zip(gpu.groups.iter().flatten()) {
                assert_eq!(host.count, gpu.count);
                for about in [About::Means, About::Bias(None)] {
                    let (host, gpu) = (host.clone().about(&about, 0), gpu.clone().about(&about, 0));
                    for output in 0..shape.outputs {
                        let at = format!("{shape:?} {about:?} {output}");
                        let weights = weights(output);
                        assert!(is_near(host.error(output, &weights), gpu.error(output, &weights), host.error(output, &weights)), "{at}");
                        let solved = [&host, &gpu].map(|gram| gram.solve(output, &weights, &kept, 0.01).unwrap());
                        for (host, gpu) in solved[0].iter().zip(&solved[1]) {
                            assert!((host - gpu).abs() < 1e-4, "{at}: {host}, and {gpu}");
                        }
                    }
                }
            }
        }
    }
}
