//! Normalisations: by stored statistics, or by those of the value itself.

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Dispatch, Scalar};
use burn::tensor::Shape;

use super::call::{Call, Outcome, fault};
use super::value::Floats;

type D = Dispatch;

/// (x − mean) / √(variance + ε) · scale + bias over dimension 1, with the statistics of training.
///
/// Scale and bias are drawn together with the statistics first, so that the value itself is passed over twice.
pub(super) fn batch(call: &mut Call) -> Outcome {
    if call.flag("training_mode") {
        return fault!("it is in training mode");
    }
    let epsilon = call.float_or("epsilon", 1e-5);
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
}
