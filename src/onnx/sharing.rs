//! Tensors that use the same bytes of a data file. Where one changes and another does not, they cannot go on doing so.

use std::collections::HashSet;
use std::ops::Range;

use super::sources::SourceId;
use super::tensor::Decoded;
use super::wire::Span;
use super::write::Change;
use super::{OnnxFile, TensorId};

/// What becomes of a tensor; none for one that stays as it is.
pub(super) type Changes<'a> = dyn Fn(TensorId) -> Option<&'a Change> + 'a;

/// Tensors of data file `number` that need bytes of their own once `changes` are made.
pub(super) fn parted(file: &OnnxFile, number: usize, changes: &Changes) -> HashSet<TensorId> {
    let mut tensors: Vec<(Range<usize>, usize, TensorId)> = Vec::new();
    for (i, tensor) in file.tensors.iter().enumerate() {
        let tensor = match &tensor.decoded {
            Some(Decoded::Sparse(sparse)) => &sparse.0,
            _ => tensor,
        };
        if let (SourceId::External(n), Some(Span::Raw { offset, length }), Some(size)) = (tensor.source, &tensor.span, tensor.dtype.size())
            && n == number
            && *length > 0
        {
            tensors.push((*offset..offset + length, size, TensorId(i)));
        }
    }
    tensors.sort_by_key(|(range, _, id)| (range.start, *id));
    let mut parted = HashSet::new();
    // Those that reach beyond the start of the present one.
    let mut open: Vec<usize> = Vec::new();
    for here in 0..tensors.len() {
        open.retain(|&i| tensors[i].0.end > tensors[here].0.start);
        for &other in &open {
            let (a, b) = (&tensors[other], &tensors[here]);
            if parted.contains(&a.2) || parted.contains(&b.2) {
                continue;
            }
            // The one that changes the other goes.
            if spoils(a, b, changes) {
                parted.insert(a.2);
            } else if spoils(b, a, changes) {
                parted.insert(b.2);
            }
        }
        open.push(here);
    }
    parted
}

/// Whether an element of `a` that changes takes bytes of an element of `b` that does not become the same.
fn spoils(a: &(Range<usize>, usize, TensorId), b: &(Range<usize>, usize, TensorId), changes: &Changes) -> bool {
    let (zeros, others) = match (changes(a.2), changes(b.2)) {
        (None, _) => return false,
        (Some(Change::Zeros(zeros)), None) => (zeros, None),
        (Some(Change::Zeros(zeros)), Some(Change::Zeros(others))) => (zeros, Some(others)),
        // What is there is not known here: new bytes are never the old ones.
        (Some(change), Some(other)) => return a.0 != b.0 || a.1 != b.1 || change != other,
        (Some(_), None) => return true,
    };
    let is_zero = |element: usize| others.is_some_and(|words| words.get(element / 64).is_some_and(|w| w >> (element % 64) & 1 == 1));
    let shared = a.0.start.max(b.0.start)..a.0.end.min(b.0.end);
    let first = (shared.start - a.0.start) / a.1;
    let last = (shared.end - a.0.start).div_ceil(a.1);
    (first..last).filter(|e| zeros.get(e / 64).is_some_and(|w| w >> (e % 64) & 1 == 1)).any(|e| {
        let at = a.0.start + e * a.1;
        let (from, to) = (at.max(shared.start), (at + a.1).min(shared.end));
        ((from - b.0.start) / b.1..(to - b.0.start).div_ceil(b.1)).any(|element| !is_zero(element))
    })
}
