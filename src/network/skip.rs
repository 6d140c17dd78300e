//! Layer normalisation with what stands before it, as ONNX Runtime joins them (`com.microsoft`).

use super::arithmetic::{Binary, floats};
use super::call::Call;
use super::fault::{Checked, fault};
use super::fused::{carried_out, part, prepared};
use super::gather::select;
use super::normalization;
use super::setup::{Run, Setup, many};
use super::value::{Floats, Ints, Value};
use crate::onnx::Dtype;

/// What a value is normalised by: mean and deviation, or the mean of squares alone.
fn normalisation(setup: &Setup, is_simplified: bool, default: f32) -> Checked<Run> {
    let epsilon = [("epsilon", setup.float_or("epsilon", default))];
    if is_simplified {
        prepared(setup, &part("RMSNormalization", &epsilon), normalization::rms)
    } else {
        prepared(setup, &part("LayerNormalization", &epsilon), normalization::layer)
    }
}

/// Input, skip and bias added, then normalised; the sum goes out too.
pub(super) fn layer(setup: &Setup) -> Checked<Run> {
    let is_simplified = setup.node.op == "SkipSimplifiedLayerNormalization";
    let normalise = normalisation(setup, is_simplified, 1e-12)?;
    let outputs = setup.node.outputs.len();
    if setup.wants(1) || setup.wants(2) {
        return fault!("its mean and deviation are asked for");
    }
    many(move |call| {
        let (x, skip, gamma) = (call.take_floats(0)?, call.take_floats(1)?, call.take_floats(2)?);
        let (beta, bias) =
            if is_simplified { (None, call.optional_floats(3)?) } else { (call.optional_floats(3)?, call.optional_floats(4)?) };
        let shape = x.shape.clone();
        let mut sum = floats(call, Binary::Add, x, skip)?;
        if let Some(bias) = bias {
            sum = floats(call, Binary::Add, sum, bias)?;
        }
        if sum.shape != shape {
            return fault!("its skip does not fit {shape:?}");
        }
        let inputs = vec![Some(sum.clone().into()), Some(gamma.into()), beta.map(Value::from)];
        let y = carried_out(call, &normalise, inputs)?;
        let unused = || Value::from(Floats::empty(vec![0], Dtype::F32));
        Ok([y, unused(), unused(), sum.into()].into_iter().take(outputs.max(1)).collect())
    })
}

/// Rows of a table, one for each of these numbers.
fn rows(call: &Call, table: Floats, numbers: &Ints) -> Checked<Floats> {
    let &[length, width] = table.shape.as_slice() else { return fault!("{:?} is no table", table.shape) };
    let places: Option<Vec<usize>> = numbers.data.iter().map(|&i| usize::try_from(i).ok().filter(|&i| i < length)).collect();
    let Some(places) = places else { return fault!("a number is not among the {length} of a table") };
    let mut shape = numbers.shape.clone();
    shape.push(width);
    select(call, table.into(), 0, &places)?.into_floats().reshaped(shape)
}

/// Words, places and segments looked up, added and normalised.
pub(super) fn embedding(setup: &Setup) -> Checked<Run> {
    let normalise = normalisation(setup, false, 1e-12)?;
    let is_counted = setup.int_or("mask_index_type", 1) == 1;
    let outputs = setup.node.outputs.len();
    many(move |call| {
        let words = call.ints(0)?.clone();
        let &[batch, length] = words.shape.as_slice() else { return fault!("its words are {:?}", words.shape) };
        let segments = if call.has(1) { Some(call.ints(1)?.clone()) } else { None };
        let mask = call.int_list(7)?;
        let places = if call.has(8) { call.ints(8)?.clone() } else { Ints::new(vec![1, length], (0..length as i64).collect()) };
        let (word_table, place_table) = (call.take_floats(2)?, call.take_floats(3)?);
        let segment_table = call.optional_floats(4)?;
        let (gamma, beta) = (call.take_floats(5)?, call.take_floats(6)?);
        let mut sum = rows(call, word_table, &words)?;
        let shape = sum.shape.clone();
        let place = rows(call, place_table, &places)?;
        sum = floats(call, Binary::Add, sum, place)?;
        if let (Some(segments), Some(table)) = (segments, segment_table) {
            let segment = rows(call, table, &segments)?;
            sum = floats(call, Binary::Add, sum, segment)?;
        }
        if sum.shape != shape {
            return fault!("its tables do not fit {shape:?}");
        }
        let y = carried_out(call, &normalise, vec![Some(sum.clone().into()), Some(gamma.into()), Some(beta.into())])?;
        let counts = match mask {
            Some(mask) if is_counted && mask.len() == batch * length => {
                (0..batch).map(|b| mask[b * length..(b + 1) * length].iter().filter(|&&m| m == 1).count() as i64).collect()
            }
            _ => vec![0; batch],
        };
        let index = Ints::typed(vec![batch], Dtype::I32, counts);
        Ok([y, index.into(), sum.into()].into_iter().take(outputs.max(1)).collect())
    })
}
