//! One call of an operator: its inputs, checked as they are asked for.

use std::sync::Arc;

use burn::tensor::Device;

use super::allowance::Allowance;
use super::dims;
use super::fault::{Checked, fault};
use super::spare::Spare;
use super::value::{Floats, Ints, Value};

/// An operator about to run.
pub(super) struct Call<'a> {
    pub(super) device: &'a Device,
    pub(super) inputs: Vec<Option<Value>>,
    pub(super) spare: &'a Spare,
    pub(super) allowance: &'a Allowance,
}

impl Call<'_> {
    pub(super) fn has(&self, i: usize) -> bool {
        matches!(self.inputs.get(i), Some(Some(_)))
    }

    /// Input number `i`, which must be there. It is given away: a second call finds nothing.
    pub(super) fn take(&mut self, i: usize) -> Checked<Value> {
        match self.inputs.get_mut(i).and_then(Option::take) {
            Some(value) => Ok(value),
            None => fault!("input {i} is missing"),
        }
    }

    pub(super) fn value(&self, i: usize) -> Checked<&Value> {
        match self.inputs.get(i) {
            Some(Some(value)) => Ok(value),
            _ => fault!("input {i} is missing"),
        }
    }

    pub(super) fn take_floats(&mut self, i: usize) -> Checked<Floats> {
        match self.take(i)? {
            Value::Float(v) => Ok(v),
            Value::Int(v) => fault!("input {i} is {}, not float", v.dtype),
        }
    }

    pub(super) fn optional_floats(&mut self, i: usize) -> Checked<Option<Floats>> {
        if self.has(i) { self.take_floats(i).map(Some) } else { Ok(None) }
    }

    pub(super) fn ints(&self, i: usize) -> Checked<&Ints> {
        match self.value(i)? {
            Value::Int(v) => Ok(v),
            Value::Float(v) => fault!("input {i} is {}, not integer", v.dtype),
        }
    }

    /// The integers of input `i`, where it is given.
    pub(super) fn int_list(&self, i: usize) -> Checked<Option<Vec<i64>>> {
        if self.has(i) { Ok(Some(self.ints(i)?.data.to_vec())) } else { Ok(None) }
    }

    /// The floats of input `i` on the host, where it is given; integers count as floats.
    pub(super) fn float_list(&self, i: usize) -> Checked<Option<Arc<Vec<f32>>>> {
        if !self.has(i) {
            return Ok(None);
        }
        self.value(i)?.clone().into_floats().to_host().map(Some)
    }

    /// The one integer of input `i`, where it is given.
    pub(super) fn scalar_int(&self, i: usize) -> Checked<Option<i64>> {
        match self.int_list(i)? {
            None => Ok(None),
            Some(v) if v.len() == 1 => Ok(Some(v[0])),
            Some(v) => fault!("input {i} should be one number and has {}", v.len()),
        }
    }

    /// The one number of input `i`, where it is given.
    pub(super) fn scalar(&self, i: usize) -> Checked<Option<f32>> {
        match self.float_list(i)? {
            None => Ok(None),
            Some(v) if v.len() == 1 => Ok(Some(v[0])),
            Some(v) => fault!("input {i} should be one number and has {}", v.len()),
        }
    }

    /// Integers from input `i` or, in old operator sets, from a setting.
    pub(super) fn ints_from(&self, i: usize, setting: Option<&Vec<i64>>) -> Checked<Option<Vec<i64>>> {
        match self.int_list(i)? {
            Some(list) => Ok(Some(list)),
            None => Ok(setting.cloned()),
        }
    }

    /// The shape that these shapes are broadcast to, where a value of it may still be worked out.
    pub(super) fn broadcast<'s>(&self, shapes: impl IntoIterator<Item = &'s [usize]>) -> Checked<Vec<usize>> {
        let shape = dims::broadcast(shapes)?;
        self.allowance.fits(&shape)?;
        Ok(shape)
    }
}
