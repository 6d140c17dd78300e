//! Normalisations: by stored statistics, or by those of the value itself.

use burn::backend::ops::{FloatTensorOps, ModuleOps};
use burn::backend::{Dispatch, DispatchTensor, Scalar, TensorMetadata};
use burn::tensor::Shape;

use super::arithmetic::{Binary, floats};
use super::call::Call;
use super::dims::{Lanes, axes, axis, broadcast};
use super::fault::{Checked, fault};
use super::reduce::{Fold, LOOP, fold_rows};
use super::setup::{Run, Setup, many, one};
use super::shape::{expanded, permute};
use super::value::{Floats, Value};
use crate::onnx::Dtype;

type D = Dispatch;

/// (x − mean) / √(variance + ε) · scale + bias over dimension 1, with the statistics of training.
///
/// Scale and bias are drawn together with the statistics first, so that the value itself is passed over twice.
pub(super) fn batch(setup: &Setup) -> Checked<Run> {
    let epsilon = setup.float_or("epsilon", 1e-5);
    one(move |call| {
        let x = call.take_floats(0)?;
        let [scale, bias, mean, variance] = [call.take_floats(1)?, call.take_floats(2)?, call.take_floats(3)?, call.take_floats(4)?];
        let channels = if x.rank() < 2 { 1 } else { x.shape[1] };
        for v in [&scale, &bias, &mean, &variance] {
            if v.shape != [channels] {
                return fault!("{:?} does not fit the {channels} channels of {:?}", v.shape, x.shape);
            }
        }
        if x.elements() == 0 {
            return Ok(x.into());
        }
        let device = call.device;
        let [scale, bias, mean, variance] =
            [scale.to_device(device)?, bias.to_device(device)?, mean.to_device(device)?, variance.to_device(device)?];
        let deviation = D::float_sqrt(D::float_add_scalar(variance, Scalar::Float(f64::from(epsilon))));
        let scale = D::float_div(scale, deviation);
        let shift = D::float_sub(bias, D::float_mul(mean, scale.clone()));
        let wide: Vec<usize> = (0..x.rank().max(1)).map(|i| if i == 1 { channels } else { 1 }).collect();
        let (scale, shift) = (D::float_reshape(scale, Shape::from(wide.clone())), D::float_reshape(shift, Shape::from(wide)));
        let (shape, dtype) = (x.shape.clone(), x.dtype);
        let t = D::float_add(D::float_mul(x.into_device(device)?, scale), shift);
        Ok(Floats::on_device(shape, dtype, t).into())
    })
}

/// As [`batch`], with the statistics of the value itself; exporters write standardised weights so.
///
/// With the result go the running mean and variance that training would keep.
pub(super) fn batch_in_training(setup: &Setup) -> Checked<Run> {
    let (epsilon, momentum) = (setup.float_or("epsilon", 1e-5), setup.float_or("momentum", 0.9));
    let outputs = setup.node.outputs.len();
    many(move |call| {
        let x = call.take_floats(0)?;
        let (scale, bias) = (call.take_floats(1)?, call.take_floats(2)?);
        let running = [call.take_floats(3)?, call.take_floats(4)?];
        let (rank, dtype) = (x.rank(), x.dtype);
        if rank < 2 || x.elements() == 0 {
            return fault!("{:?} has no statistics", x.shape);
        }
        let channels = x.shape[1];
        if [&scale, &bias, &running[0], &running[1]].iter().any(|v| v.shape != [channels]) {
            return fault!("its statistics do not fit the {channels} channels of {:?}", x.shape);
        }
        let order: Vec<usize> = [1, 0].into_iter().chain(2..rank).collect();
        let turned = permute(call, x, &order)?;
        let wide = turned.shape.clone();
        let rows = turned.shaped(call.device, &[channels, turned.elements() / channels])?;
        let mut out = vec![Value::from(Floats::host(vec![0], dtype, Vec::new()))];
        if outputs > 1 {
            let by = Scalar::Float(1.0 / rows.shape()[1] as f64);
            let mean = D::float_mul_scalar(fold_rows(rows.clone(), Fold::Sum), by);
            let centred = D::float_sub(rows.clone(), mean.clone());
            let variance = D::float_mul_scalar(fold_rows(D::float_mul(centred.clone(), centred), Fold::Sum), by);
            for (old, new) in running.into_iter().zip([mean, variance]) {
                let of = |v| Floats::host(Vec::new(), Dtype::F32, vec![v]);
                let new = floats(call, Binary::Mul, Floats::on_device(vec![channels], dtype, new), of(1.0 - momentum))?;
                let old = floats(call, Binary::Mul, old, of(momentum))?;
                out.push(floats(call, Binary::Add, old, new)?.into());
            }
        }
        let standard = Floats::on_device(wide, dtype, standard_rows(rows, epsilon));
        let mut column = vec![1; rank];
        column[0] = channels;
        let y = affine(call, standard, Some(scale.reshaped(column.clone())?), Some(bias.reshaped(column)?))?;
        out[0] = permute(call, y, &order)?.into();
        Ok(out)
    })
}

/// Rows of a matrix brought to mean 0 and variance 1.
fn standard_rows(t: DispatchTensor, epsilon: f32) -> DispatchTensor {
    let scale = Scalar::Float(1.0 / t.shape()[1] as f64);
    let mean = D::float_mul_scalar(fold_rows(t.clone(), Fold::Sum), scale);
    let centred = D::float_sub(t, mean);
    let variance = D::float_mul_scalar(fold_rows(D::float_mul(centred.clone(), centred.clone()), Fold::Sum), scale);
    D::float_div(centred, D::float_sqrt(D::float_add_scalar(variance, Scalar::Float(f64::from(epsilon)))))
}

/// Times a scale and plus a bias, both broadcast to the value.
fn affine(call: &Call, v: Floats, scale: Option<Floats>, bias: Option<Floats>) -> Checked<Floats> {
    let shape = v.shape.clone();
    let dtype = v.dtype;
    let mut out = v;
    for (operator, factor) in [(Binary::Mul, scale), (Binary::Add, bias)] {
        if let Some(factor) = factor {
            if broadcast([factor.shape.as_slice(), &shape])? != shape {
                return fault!("{:?} does not fit {shape:?}", factor.shape);
            }
            out = floats(call, operator, out, factor)?;
        }
    }
    Ok(out.marked(dtype))
}

/// Over all axes from `axis` on.
pub(super) fn layer(setup: &Setup) -> Checked<Run> {
    let (epsilon, along) = (setup.float_or("epsilon", 1e-5), setup.int_or("axis", -1));
    let wants_statistics = setup.wants(1) || setup.wants(2);
    many(move |call| {
        let x = call.take_floats(0)?;
        let (scale, bias) = (call.take_floats(1)?, call.optional_floats(2)?);
        let at = axis(along, x.rank())?;
        let (outer, inner) = (x.shape[..at].iter().product::<usize>(), x.shape[at..].iter().product::<usize>());
        let (shape, dtype) = (x.shape.clone(), x.dtype);
        if x.elements() == 0 {
            return Ok(vec![x.into()]);
        }
        let rows = x.shaped(call.device, &[outer, inner])?;
        let mut statistics = Vec::new();
        if wants_statistics {
            let mut reduced = shape.clone();
            reduced[at..].fill(1);
            let by = Scalar::Float(1.0 / inner as f64);
            let mean = D::float_mul_scalar(fold_rows(rows.clone(), Fold::Sum), by);
            let centred = D::float_sub(rows.clone(), mean.clone());
            let variance = D::float_mul_scalar(fold_rows(D::float_mul(centred.clone(), centred), Fold::Sum), by);
            let deviation = D::float_recip(D::float_sqrt(D::float_add_scalar(variance, Scalar::Float(f64::from(epsilon)))));
            statistics.push(Floats::on_device(reduced.clone(), Dtype::F32, mean).into());
            statistics.push(Floats::on_device(reduced, Dtype::F32, deviation).into());
        }
        let whole = scale.shape == shape[at..] && bias.as_ref().is_none_or(|b| b.shape == shape[at..]);
        let y = if whole && inner <= LOOP {
            let (scale, bias) = (scale.shaped(call.device, &[inner])?, bias.map(|b| b.shaped(call.device, &[inner])).transpose()?);
            Floats::on_device(shape, dtype, D::layer_norm(rows, scale, bias, f64::from(epsilon)))
        } else {
            affine(call, Floats::on_device(shape, dtype, standard_rows(rows, epsilon)), Some(scale), bias)?
        };
        let mut out = vec![y.into()];
        out.append(&mut statistics);
        Ok(out)
    })
}

/// x / √(mean(x²) + ε) · scale over all axes from `axis` on.
pub(super) fn rms(setup: &Setup) -> Checked<Run> {
    let (epsilon, along) = (setup.float_or("epsilon", 1e-5), setup.int_or("axis", -1));
    one(move |call| {
        let x = call.take_floats(0)?;
        let scale = call.take_floats(1)?;
        let at = axis(along, x.rank())?;
        let (outer, inner) = (x.shape[..at].iter().product::<usize>(), x.shape[at..].iter().product::<usize>());
        let (shape, dtype) = (x.shape.clone(), x.dtype);
        if x.elements() == 0 {
            return Ok(x.into());
        }
        let rows = x.shaped(call.device, &[outer, inner])?;
        let mean = D::float_mul_scalar(fold_rows(D::float_mul(rows.clone(), rows.clone()), Fold::Sum), Scalar::Float(1.0 / inner as f64));
        let t = D::float_div(rows, D::float_sqrt(D::float_add_scalar(mean, Scalar::Float(f64::from(epsilon)))));
        Ok(affine(call, Floats::on_device(shape, dtype, t), Some(scale), None)?.into())
    })
}

/// Each channel of each image by its own statistics.
pub(super) fn instance(setup: &Setup) -> Checked<Run> {
    let epsilon = setup.float_or("epsilon", 1e-5);
    one(move |call| {
        let x = call.take_floats(0)?;
        let (scale, bias) = (call.take_floats(1)?, call.take_floats(2)?);
        let channels = if x.rank() < 2 { return fault!("{:?} has no channels", x.shape) } else { x.shape[1] };
        grouped(call, x, [scale, bias], channels, epsilon)
    })
}

/// Groups of channels by their statistics; scale and bias are given by group before operator set 21, by channel since.
pub(super) fn group(setup: &Setup) -> Checked<Run> {
    let epsilon = setup.float_or("epsilon", 1e-5);
    let groups = usize::try_from(setup.int_or("num_groups", 0)).unwrap_or(0);
    one(move |call| {
        let x = call.take_floats(0)?;
        let (scale, bias) = (call.take_floats(1)?, call.take_floats(2)?);
        grouped(call, x, [scale, bias], groups, epsilon)
    })
}

fn grouped(call: &mut Call, x: Floats, [scale, bias]: [Floats; 2], groups: usize, epsilon: f32) -> Checked<Value> {
    let channels = if x.rank() < 2 { return fault!("{:?} has no channels", x.shape) } else { x.shape[1] };
    if x.elements() == 0 {
        return Ok(x.into());
    }
    if groups == 0 || !channels.is_multiple_of(groups) {
        return fault!("{channels} channels cannot be {groups} groups");
    }
    let (shape, dtype, rank) = (x.shape.clone(), x.dtype, x.rank());
    let columns = x.elements() / (shape[0] * groups);
    let t = standard_rows(x.shaped(call.device, &[shape[0] * groups, columns])?, epsilon);
    let fit = |v: Floats| -> Checked<Floats> {
        let mut wide = vec![1; rank];
        wide[1] = channels;
        if v.shape == [channels] {
            return v.reshaped(wide);
        }
        if v.shape != [groups] {
            return fault!("{:?} does not fit {channels} channels in {groups} groups", v.shape);
        }
        let by_group = expanded(call, v.reshaped(vec![groups, 1])?, &[groups, channels / groups])?;
        by_group.reshaped(wide)
    };
    let (scale, bias) = (fit(scale)?, fit(bias)?);
    Ok(affine(call, Floats::on_device(shape, dtype, t), Some(scale), Some(bias))?.into())
}

/// To mean 0 and variance 1 over the named axes.
pub(super) fn mean_variance(setup: &Setup) -> Checked<Run> {
    let list = setup.ints("axes").unwrap_or_else(|| vec![0, 2, 3]);
    one(move |call| {
        let x = call.take_floats(0)?;
        let gone = axes(&list, x.rank())?;
        if x.elements() == 0 {
            return Ok(x.into());
        }
        let mut order: Vec<usize> = (0..x.rank()).filter(|i| !gone.contains(i)).collect();
        let rows: usize = order.iter().map(|&i| x.shape[i]).product();
        order.extend_from_slice(&gone);
        let turned = permute(call, x, &order)?;
        let (wide, dtype) = (turned.shape.clone(), turned.dtype);
        let columns = turned.elements() / rows;
        let t = standard_rows(turned.shaped(call.device, &[rows, columns])?, 1e-9);
        let mut back = vec![0; order.len()];
        order.iter().enumerate().for_each(|(i, &a)| back[a] = i);
        Ok(permute(call, Floats::on_device(wide, dtype, t), &back)?.into())
    })
}

/// Lanes along one axis brought to length 1.
pub(super) fn lp(setup: &Setup) -> Checked<Run> {
    let (p, along) = (setup.int_or("p", 2), setup.int_or("axis", -1));
    one(move |call| {
        let x = call.take_floats(0)?;
        let at = axis(along, x.rank())?;
        let lanes = Lanes::of(&x.shape, at);
        let mut data = x.to_host()?.to_vec();
        for start in lanes.starts() {
            let lane = || (0..lanes.length).map(|i| start + i * lanes.inner);
            let norm =
                if p == 1 { lane().map(|i| data[i].abs()).sum::<f32>() } else { lane().map(|i| data[i] * data[i]).sum::<f32>().sqrt() };
            if norm != 0.0 {
                lane().for_each(|i| data[i] /= norm);
            }
        }
        Ok(Floats::host(x.shape, x.dtype, data).into())
    })
}

/// x / (bias + α/size · Σ x²)^β, summed over neighbouring channels.
pub(super) fn local_response(setup: &Setup) -> Checked<Run> {
    let (alpha, beta, bias) = (setup.float_or("alpha", 1e-4), setup.float_or("beta", 0.75), setup.float_or("bias", 1.0));
    let count = usize::try_from(setup.int_or("size", 0)).unwrap_or(0);
    one(move |call| {
        let x = call.take_floats(0)?;
        if x.rank() < 2 || count == 0 {
            return fault!("{count} channels of {:?}", x.shape);
        }
        let lanes = Lanes::of(&x.shape, 1);
        let data = x.to_host()?;
        let mut out = vec![0.0; data.len()];
        for start in lanes.starts() {
            for c in 0..lanes.length {
                let (from, to) = (c.saturating_sub((count - 1) / 2), (c + count / 2).min(lanes.length - 1));
                let sum: f32 = (from..=to).map(|i| data[start + i * lanes.inner].powi(2)).sum();
                let at = start + c * lanes.inner;
                out[at] = data[at] / (bias + alpha / count as f32 * sum).powf(beta);
            }
        }
        Ok(Floats::host(x.shape, x.dtype, out).into())
    })
}
