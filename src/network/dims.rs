//! Shapes as numbers: bounds, axes, broadcasting, and where elements lie.

use super::fault::{Checked, because, fault};

/// No value may have more elements than this.
pub(super) const MAX_ELEMENTS: usize = 1 << 31;

/// No value that is made from little may have more.
const MAX_MADE: usize = 1 << 27;

/// Number of elements of a shape, where it is within bounds; so are the other dimensions of what is empty, of which operators
/// make products, too.
pub(super) fn elements(shape: &[usize]) -> Checked<usize> {
    match shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d.max(1))) {
        Some(n) if n <= MAX_ELEMENTS => Ok(if shape.contains(&0) { 0 } else { n }),
        _ => fault!("a result of shape {shape:?} is too large"),
    }
}

/// [`elements`] for results that are made from little, by repeating: what a file asks for here costs it nothing.
pub(super) fn made_elements(shape: &[usize]) -> Checked<usize> {
    match elements(shape)? {
        n if n <= MAX_MADE => Ok(n),
        _ => fault!("a result of shape {shape:?} is too large"),
    }
}

/// An axis of a value of this rank, counted from the end where it is negative.
pub(super) fn axis(axis: i64, rank: usize) -> Checked<usize> {
    let from_start = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    match from_start.and_then(|a| usize::try_from(a).ok()) {
        Some(a) if a < rank => Ok(a),
        _ => fault!("there is no axis {axis} in {rank} dimensions"),
    }
}

/// Axes of a value of this rank, in rising order, each once.
pub(super) fn axes(list: &[i64], rank: usize) -> Checked<Vec<usize>> {
    let mut out = list.iter().map(|&a| axis(a, rank)).collect::<Checked<Vec<_>>>()?;
    out.sort_unstable();
    let before = out.len();
    out.dedup();
    if out.len() < before {
        return fault!("an axis is named twice in {list:?}");
    }
    Ok(out)
}

/// A size that a model gives as an integer.
pub(super) fn size(value: i64) -> Checked<usize> {
    usize::try_from(value).map_err(|_| because!("{value} is no size"))
}

/// The shape that these shapes are broadcast to, as `NumPy` does it.
pub(super) fn broadcast<'s>(shapes: impl IntoIterator<Item = &'s [usize]>) -> Checked<Vec<usize>> {
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
    elements(&out)?;
    Ok(out)
}

/// A shape with ones before it, so that it has `rank` dimensions.
pub(super) fn aligned(shape: &[usize], rank: usize) -> Vec<usize> {
    let mut out = vec![1; rank.saturating_sub(shape.len())];
    out.extend_from_slice(shape);
    out
}

/// Strides of a row-major array.
pub(super) fn row_strides(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1_isize; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i] as isize;
    }
    strides
}

/// Shape and strides of a row-major array seen with its axes in another order.
pub(super) fn permuted(shape: &[usize], order: &[usize]) -> (Vec<usize>, Vec<isize>) {
    let strides = row_strides(shape);
    order.iter().map(|&a| (shape[a], strides[a])).unzip()
}

/// Elements of `data` at `offset + Σ index·stride` for every index of `shape`, in row-major order.
///
/// The caller sees to it that all of them lie within `data`.
pub(super) fn strided<T: Copy>(data: &[T], offset: isize, shape: &[usize], strides: &[isize]) -> Vec<T> {
    let total: usize = shape.iter().product();
    let mut out = Vec::with_capacity(total);
    if total == 0 {
        return out;
    }
    let Some((&inner, outer)) = shape.split_last() else {
        out.push(data[offset as usize]);
        return out;
    };
    let step = strides[outer.len()];
    let mut index = vec![0; outer.len()];
    let mut at = offset;
    loop {
        if step == 1 {
            out.extend_from_slice(&data[at as usize..at as usize + inner]);
        } else {
            out.extend((0..inner as isize).map(|i| data[(at + i * step) as usize]));
        }
        let mut d = outer.len();
        loop {
            if d == 0 {
                return out;
            }
            d -= 1;
            index[d] += 1;
            at += strides[d];
            if index[d] < outer[d] {
                break;
            }
            at -= strides[d] * outer[d] as isize;
            index[d] = 0;
        }
    }
}

/// Elements of `shape` repeated over `out`, which `shape` is broadcast to.
pub(super) fn spread<T: Copy>(data: &[T], shape: &[usize], out: &[usize]) -> Vec<T> {
    if shape == out {
        return data.to_vec();
    }
    let aligned = aligned(shape, out.len());
    let mut strides = vec![0_isize; out.len()];
    let mut stride = 1_isize;
    for i in (0..out.len()).rev() {
        if aligned[i] != 1 {
            strides[i] = stride;
        }
        stride *= aligned[i] as isize;
    }
    strided(data, 0, out, &strides)
}

/// A shape around one axis: what lies before it, along it and after it.
pub(super) struct Lanes {
    pub(super) outer: usize,
    pub(super) length: usize,
    pub(super) inner: usize,
}

impl Lanes {
    pub(super) fn of(shape: &[usize], at: usize) -> Self {
        Self { outer: shape[..at].iter().product(), length: shape[at], inner: shape[at + 1..].iter().product() }
    }

    /// Where the first element of every lane lies, in row-major order of the other axes; its others are `inner` apart.
    pub(super) fn starts(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.outer).flat_map(move |o| (0..self.inner).map(move |i| o * self.length * self.inner + i))
    }
}
