//! One call of an operator: its inputs and settings, checked as they are asked for.

use std::sync::Arc;

use burn::tensor::Device;

use super::allowance::Allowance;
use super::spare::Spare;
use super::value::{Floats, Ints, Value};
use crate::graph::Node;

/// Why an operator could not be carried out: a sentence without the node's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault(pub(super) String);

/// What an operator gives.
pub(super) type Outcome<T = Value> = Result<T, Fault>;

/// A [`Fault`] with this message.
macro_rules! because {
    ($($arg:tt)*) => { $crate::network::call::Fault(format!($($arg)*)) };
}
pub(super) use because;

/// Returns a [`Fault`] with this message.
macro_rules! fault {
    ($($arg:tt)*) => { Err($crate::network::call::Fault(format!($($arg)*))) };
}
pub(super) use fault;

/// An operator about to run.
pub(super) struct Call<'a> {
    pub(super) node: &'a Node,
    pub(super) opset: i64,
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
    pub(super) fn take(&mut self, i: usize) -> Outcome {
        match self.inputs.get_mut(i).and_then(Option::take) {
            Some(value) => Ok(value),
            None => fault!("input {i} is missing"),
        }
    }

    pub(super) fn value(&self, i: usize) -> Outcome<&Value> {
        match self.inputs.get(i) {
            Some(Some(value)) => Ok(value),
            _ => fault!("input {i} is missing"),
        }
    }

    pub(super) fn take_floats(&mut self, i: usize) -> Outcome<Floats> {
        match self.take(i)? {
            Value::Float(v) => Ok(v),
            Value::Int(v) => fault!("input {i} is {}, not float", v.dtype),
        }
    }

    pub(super) fn optional_floats(&mut self, i: usize) -> Outcome<Option<Floats>> {
        if self.has(i) { self.take_floats(i).map(Some) } else { Ok(None) }
    }

    pub(super) fn ints(&self, i: usize) -> Outcome<&Ints> {
        match self.value(i)? {
            Value::Int(v) => Ok(v),
            Value::Float(v) => fault!("input {i} is {}, not integer", v.dtype),
        }
    }

    /// The integers of input `i`, where it is given.
    pub(super) fn int_list(&self, i: usize) -> Outcome<Option<Vec<i64>>> {
        if self.has(i) { Ok(Some(self.ints(i)?.data.to_vec())) } else { Ok(None) }
    }

    /// The floats of input `i` on the host, where it is given; integers count as floats.
    pub(super) fn float_list(&self, i: usize) -> Outcome<Option<Arc<Vec<f32>>>> {
        if !self.has(i) {
            return Ok(None);
        }
        self.value(i)?.clone().into_floats().to_host().map(Some)
    }

    /// The one integer of input `i`, where it is given.
    pub(super) fn scalar_int(&self, i: usize) -> Outcome<Option<i64>> {
        match self.int_list(i)? {
            None => Ok(None),
            Some(v) if v.len() == 1 => Ok(Some(v[0])),
            Some(v) => fault!("input {i} should be one number and has {}", v.len()),
        }
    }

    /// The one number of input `i`, where it is given.
    pub(super) fn scalar(&self, i: usize) -> Outcome<Option<f32>> {
        match self.float_list(i)? {
            None => Ok(None),
            Some(v) if v.len() == 1 => Ok(Some(v[0])),
            Some(v) => fault!("input {i} should be one number and has {}", v.len()),
        }
    }

    /// The shape that these shapes are broadcast to, where a value of it may still be worked out.
    pub(super) fn broadcast<'s>(&self, shapes: impl IntoIterator<Item = &'s [usize]>) -> Outcome<Vec<usize>> {
        let shape = broadcast(shapes)?;
        self.allowance.fits(&shape)?;
        Ok(shape)
    }

    pub(super) fn int_or(&self, name: &str, default: i64) -> i64 {
        self.node.attributes.int(name).unwrap_or(default)
    }

    pub(super) fn float_or(&self, name: &str, default: f32) -> f32 {
        self.node.attributes.float(name).unwrap_or(default)
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.int_or(name, 0) != 0
    }

    pub(super) fn string_or<'s>(&'s self, name: &str, default: &'s str) -> &'s str {
        self.node.attributes.string(name).unwrap_or(default)
    }

    /// A list of sizes; `default` where the setting is not there.
    pub(super) fn sizes_or(&self, name: &str, default: &[usize]) -> Outcome<Vec<usize>> {
        let Some(list) = self.node.attributes.ints(name) else { return Ok(default.to_vec()) };
        list.iter().map(|&v| usize::try_from(v).map_err(|_| because!("{name} is {list:?}"))).collect()
    }

    /// Integers from input `i` or, in old operator sets, from the setting of this name.
    pub(super) fn ints_from(&self, i: usize, name: &str) -> Outcome<Option<Vec<i64>>> {
        match self.int_list(i)? {
            Some(list) => Ok(Some(list)),
            None => Ok(self.node.attributes.ints(name).map(<[i64]>::to_vec)),
        }
    }
}

/// An axis of a value of this rank, counted from the end where it is negative.
pub(super) fn axis(axis: i64, rank: usize) -> Outcome<usize> {
    let from_start = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    match from_start.and_then(|a| usize::try_from(a).ok()) {
        Some(a) if a < rank => Ok(a),
        _ => fault!("there is no axis {axis} in {rank} dimensions"),
    }
}

/// Axes of a value of this rank, in rising order, each once.
pub(super) fn axes(list: &[i64], rank: usize) -> Outcome<Vec<usize>> {
    let mut out = list.iter().map(|&a| axis(a, rank)).collect::<Outcome<Vec<_>>>()?;
    out.sort_unstable();
    let before = out.len();
    out.dedup();
    if out.len() < before {
        return fault!("an axis is named twice in {list:?}");
    }
    Ok(out)
}

/// A size that a model gives as an integer.
pub(super) fn size(value: i64) -> Outcome<usize> {
    usize::try_from(value).map_err(|_| because!("{value} is no size"))
}

/// The shape that these shapes are broadcast to, as `NumPy` does it.
pub(super) fn broadcast<'s>(shapes: impl IntoIterator<Item = &'s [usize]>) -> Outcome<Vec<usize>> {
    let mut out: Vec<usize> = Vec::new();
    for shape in shapes {
        if shape.len() > out.len() {
            out.splice(0..0, std::iter::repeat_n(1, shape.len() - out.len()));
        }
        let skip = out.len() - shape.len();
        for (o, &d) in out[skip..].iter_mut().zip(shape) {
            *o = match (*o, d) {
                (a, b) if a == b => a,
                (1, b) => b,
                (a, 1) => a,
                (a, b) => return fault!("shapes do not fit together: {a} against {b} in {shape:?}"),
            };
        }
    }
    super::value::elements(&out)?;
    Ok(out)
}
