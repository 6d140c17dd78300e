//! Rotary position embedding: pairs of a head's elements turned by an angle that follows from the place in the sequence.
//!
//! <https://arxiv.org/abs/2104.09864>. Carried out on the host: a few numbers of every head.

use super::call::Call;
use super::dims::size;
use super::fault::{Checked, fault};
use super::setup::{Run, Setup, one};
use super::value::{Floats, Value};

/// How elements are paired.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rotation {
    /// Neighbours are a pair; otherwise those of the first and the second half.
    pub(super) interleaved: bool,
    /// Elements of a head that are turned, from the first on; all where it is 0.
    pub(super) width: usize,
}

/// Cosines and sines by place: as many of each to a row as there are pairs.
pub(super) struct Angles {
    cos: Vec<f32>,
    sin: Vec<f32>,
    pairs: usize,
}

impl Angles {
    pub(super) fn of(cos: &Floats, sin: &Floats) -> Checked<Self> {
        let Some(&pairs) = cos.shape.last().filter(|_| cos.shape == sin.shape) else {
            return fault!("cosines {:?} and sines {:?} do not fit", cos.shape, sin.shape);
        };
        Ok(Self { cos: cos.to_host()?.to_vec(), sin: sin.to_host()?.to_vec(), pairs })
    }

    fn rows(&self) -> usize {
        self.cos.len() / self.pairs.max(1)
    }
}

impl Rotation {
    /// Turns one head that stands at this place.
    pub(super) fn turn(&self, head: &mut [f32], angles: &Angles, place: usize) -> Checked<()> {
        let width = if self.width == 0 { head.len() } else { self.width };
        if width > head.len() || width != 2 * angles.pairs || place >= angles.rows() {
            return fault!("place {place} of {} with {} angles does not fit heads of {}", angles.rows(), angles.pairs, head.len());
        }
        for i in 0..angles.pairs {
            let (a, b) = if self.interleaved { (2 * i, 2 * i + 1) } else { (i, i + angles.pairs) };
            let (cos, sin) = (angles.cos[place * angles.pairs + i], angles.sin[place * angles.pairs + i]);
            let (x, y) = (head[a], head[b]);
            (head[a], head[b]) = (x * cos - y * sin, y * cos + x * sin);
        }
        Ok(())
    }
}

/// ONNX's operator of set 23, and that of `com.microsoft`, whose inputs stand in another order.
pub(super) fn embedding(setup: &Setup) -> Checked<Run> {
    let is_standard = setup.node.is_standard();
    let heads = size(setup.int_or("num_heads", 0))?;
    let rotation = Rotation { interleaved: setup.flag("interleaved"), width: size(setup.int_or("rotary_embedding_dim", 0))? };
    if setup.flag("is_packed_batching") {
        return fault!("its batch is packed");
    }
    one(move |call| {
        let x = call.take_floats(0)?;
        let (cos, sin, places) = if is_standard { (1, 2, 3) } else { (2, 3, 1) };
        let (cos, sin) = (call.take_floats(cos)?, call.take_floats(sin)?);
        turned(call, x, (&cos, &sin), places, (heads, rotation))
    })
}

fn turned(
    call: &mut Call,
    x: Floats,
    (cos, sin): (&Floats, &Floats),
    places: usize,
    (heads, rotation): (usize, Rotation),
) -> Checked<Value> {
    let angles = Angles::of(cos, sin)?;
    // Heads stand before the sequence, or within it.
    let (batch, length, heads, width, is_apart) = match *x.shape.as_slice() {
        [b, n, s, h] => (b, s, n, h, true),
        [b, s, hidden] => {
            let width = 2 * angles.pairs;
            let heads = if heads == 0 { hidden / width.max(1) } else { heads };
            if heads == 0 || !hidden.is_multiple_of(heads) {
                return fault!("{:?} cannot be split into {heads} heads", x.shape);
            }
            (b, s, heads, hidden / heads, false)
        }
        _ => return fault!("{:?} has no heads", x.shape),
    };
    // Without places the angles are given for every element of the batch.
    let list = match call.int_list(places)? {
        Some(list) if list.len() == 1 => (0..batch * length).map(|i| list[0].saturating_add((i % length.max(1)) as i64)).collect(),
        Some(list) if list.len() == batch * length => list,
        None if angles.rows() == batch * length => (0..(batch * length) as i64).collect(),
        _ => return fault!("its places do not fit {:?}", x.shape),
    };
    let list = list.into_iter().map(size).collect::<Checked<Vec<_>>>()?;
    let mut data = x.to_host()?.to_vec();
    for (i, head) in data.chunks_exact_mut(width.max(1)).enumerate() {
        let (b, s) = if is_apart { (i / (heads * length), i % length) } else { (i / (heads * length), i / heads % length) };
        rotation.turn(head, &angles, list[b * length + s])?;
    }
    Ok(Floats::host(x.shape, x.dtype, data).into())
}
