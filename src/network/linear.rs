//! Matrix products.

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Dispatch, DispatchTensor, Scalar};
use burn::tensor::Shape;

use super::arithmetic::{Binary, floats};
use super::call::Call;
use super::dims::{aligned, broadcast};
use super::fault::{Checked, fault};
use super::setup::{Run, Setup, one};
use super::shape::expanded;
use super::value::{Floats, Value};
use crate::onnx::Dtype;

type D = Dispatch;

/// α·A·B + β·C, with A and B transposed where the settings say so.
pub(super) fn gemm(setup: &Setup) -> Checked<Run> {
    let (alpha, beta) = (setup.float_or("alpha", 1.0), setup.float_or("beta", 1.0));
    let (ta, tb) = (setup.flag("transA"), setup.flag("transB"));
    one(move |call| {
        let (a, b) = (call.take_floats(0)?, call.take_floats(1)?);
        let c = call.optional_floats(2)?;
        let (&[ra, ca], &[rb, cb]) = (a.shape.as_slice(), b.shape.as_slice()) else {
            return fault!("{:?} and {:?} are not two matrices", a.shape, b.shape);
        };
        let (m, k) = if ta { (ca, ra) } else { (ra, ca) };
        let (kb, n) = if tb { (cb, rb) } else { (rb, cb) };
        if k != kb {
            return fault!("{:?} and {:?} cannot be multiplied", a.shape, b.shape);
        }
        let (shape, dtype) = (vec![m, n], a.dtype);
        if let Some(c) = &c
            && broadcast([c.shape.as_slice(), &shape])? != shape
        {
            return fault!("{:?} cannot be added to {shape:?}", c.shape);
        }
        if call.allowance.fits(&shape)? == 0 {
            return Ok(Floats::empty(shape, dtype).into());
        }
        let product = if k == 0 {
            zeros(&shape, dtype)
        } else {
            let turn = |t, turned| if turned { D::float_swap_dims(t, 0, 1) } else { t };
            let t = D::float_matmul(turn(a.into_device(call.device)?, ta), turn(b.into_device(call.device)?, tb));
            scaled(Floats::on_device(shape.clone(), dtype, t), alpha, call)?
        };
        match c {
            Some(c) if beta != 0.0 => Ok(floats(call, Binary::Add, product, scaled(c, beta, call)?)?.into()),
            _ => Ok(product.into()),
        }
    })
}

fn zeros(shape: &[usize], dtype: Dtype) -> Floats {
    Floats::host(shape.to_vec(), dtype, vec![0.0; shape.iter().product()])
}

fn scaled(v: Floats, by: f32, call: &Call) -> Checked<Floats> {
    if by.to_bits() == 1.0_f32.to_bits() || v.elements() == 0 {
        return Ok(v);
    }
    let (shape, dtype) = (v.shape.clone(), v.dtype);
    Ok(Floats::on_device(shape, dtype, D::float_mul_scalar(v.into_device(call.device)?, Scalar::Float(f64::from(by)))))
}

pub(super) fn matmul(_: &Setup) -> Checked<Run> {
    one(move |call| match (call.take(0)?, call.take(1)?) {
        (Value::Float(a), Value::Float(b)) => Ok(product(call, a, b)?.into()),
        (a, b) => fault!("its inputs are {} and {}", a.dtype(), b.dtype()),
    })
}

/// The product as `numpy.matmul` defines it: the last two axes are matrices, those before are broadcast, a vector is a row
/// on the left and a column on the right.
pub(super) fn product(call: &Call, a: Floats, b: Floats) -> Checked<Floats> {
    let (Some(&_), Some(&_)) = (a.shape.last(), b.shape.last()) else { return fault!("a single number cannot be multiplied so") };
    let (row, column) = (a.rank() == 1, b.rank() == 1);
    let sa = aligned(&a.shape, 2);
    let sb = if column { vec![b.shape[0], 1] } else { b.shape.clone() };
    let (m, k, n) = (sa[sa.len() - 2], sa[sa.len() - 1], sb[sb.len() - 1]);
    if sb[sb.len() - 2] != k {
        return fault!("{:?} and {:?} cannot be multiplied", a.shape, b.shape);
    }
    let (ba, bb) = (&sa[..sa.len() - 2], &sb[..sb.len() - 2]);
    let batch = broadcast([ba, bb])?;
    let mut shape = batch.clone();
    if !row {
        shape.push(m);
    }
    if !column {
        shape.push(n);
    }
    let dtype = a.dtype;
    if call.allowance.fits(&shape)? == 0 {
        return Ok(Floats::empty(shape, dtype));
    }
    if k == 0 {
        return Ok(zeros(&shape, dtype));
    }
    let device = call.device;
    let many: usize = batch.iter().product();
    let t = if bb.iter().product::<usize>() == 1 {
        // One matrix on the right: all rows on the left are one matrix.
        let t = D::float_matmul(a.shaped(device, &[many * m, k])?, b.shaped(device, &[k, n])?);
        D::float_reshape(t, Shape::from(vec![many, m, n]))
    } else {
        let x = spread_batch(call, a.reshaped(sa.clone())?, &batch, [m, k])?;
        let y = spread_batch(call, b.reshaped(sb.clone())?, &batch, [k, n])?;
        D::float_matmul(x, y)
    };
    Ok(Floats::on_device(shape, dtype, t))
}

/// A stack of matrices of one batch dimension.
fn spread_batch(call: &Call, v: Floats, batch: &[usize], matrix: [usize; 2]) -> Checked<DispatchTensor> {
    let mut wide = batch.to_vec();
    wide.extend(matrix);
    let v = expanded(call, v, &wide)?;
    v.shaped(call.device, &[batch.iter().product(), matrix[0], matrix[1]])
}
