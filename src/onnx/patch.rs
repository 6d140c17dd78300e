//! Elements of a tensor in the bytes of a file that passes by piece by piece: set to zero, and counted.

use std::ops::Range;

use super::wire::{self, Span};
use super::{Tensor, TensorId};

/// Consecutive elements of a tensor in one run of bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    start: usize,
    end: usize,
    /// Bytes from one element to the next; `None` where they differ, as those of varints do.
    stride: Option<usize>,
    /// Bytes of an element.
    size: usize,
    /// Number of its first element in the tensor.
    first: usize,
}

impl Part {
    /// The parts of a float tensor; none where its bytes are not known.
    pub(super) fn all_of(tensor: &Tensor) -> Vec<Self> {
        let Some(size) = tensor.dtype.size().filter(|_| tensor.dtype.is_float() && tensor.fault.is_none()) else { return Vec::new() };
        let mut first = 0;
        let mut part = |start: usize, end: usize, stride: Option<usize>, elements: usize| {
            let part = Self { start, end, stride, size, first };
            first += elements;
            part
        };
        match &tensor.span {
            None => Vec::new(),
            Some(Span::Raw { offset, length }) => vec![part(*offset, offset + length, Some(size), length / size)],
            // The last element has no tag after it.
            Some(Span::Runs(runs)) => runs
                .iter()
                .map(|run| part(run.offset, run.offset + run.stride * (run.elements - 1) + size, Some(run.stride), run.elements))
                .collect(),
            Some(Span::Varints(runs)) => {
                runs.iter().map(|&(offset, length, elements)| part(offset, offset + length, None, elements)).collect()
            }
        }
    }

    /// The same elements where they lie `by` bytes further on than `from` says.
    pub(super) fn moved(self, from: usize, to: usize) -> Self {
        Self { start: self.start - from + to, end: self.end - from + to, ..self }
    }

    pub(super) fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// The bytes of `piece`, which starts at `start`, that belong to these elements: where they start and end in the file.
    fn within(&self, piece: &[u8], start: usize) -> Option<(usize, usize)> {
        let (from, to) = (self.start.max(start), self.end.min(start + piece.len()));
        (from < to).then_some((from, to))
    }
}

/// Elements of one tensor that become zero.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patch<'a> {
    pub(super) part: Part,
    /// Bit `i % 64` of word `i / 64` is set where the tensor's element `i` becomes +0.0.
    pub(super) words: &'a [u64],
}

impl Patch<'_> {
    /// Whether the whole of it must lie in one piece.
    pub(super) fn is_indivisible(&self) -> bool {
        self.part.stride.is_none()
    }

    /// Zeros the chosen elements in `piece`, the bytes of the file from `start` on.
    pub(super) fn apply(&self, piece: &mut [u8], start: usize) {
        let Some((from, to)) = self.part.within(piece, start) else { return };
        let Part { start: origin, stride, size, first, .. } = self.part;
        let Some(stride) = stride else { return zero_varints(&mut piece[from - start..to - start], self.words, first) };
        let touched = first + (from - origin) / stride..first + (to - origin).div_ceil(stride);
        for w in touched.start / 64..touched.end.div_ceil(64).min(self.words.len()) {
            let mut rest = self.words[w];
            while rest != 0 {
                let element = w * 64 + rest.trailing_zeros() as usize;
                rest &= rest - 1;
                if !touched.contains(&element) {
                    continue;
                }
                let at = origin + (element - first) * stride;
                // An element can lie across the ends of a piece.
                let (a, b) = (at.max(from), (at + size).min(to));
                if a < b {
                    piece[a - start..b - start].fill(0);
                }
            }
        }
    }
}

/// A variable-length zero of the same length: 0x80 … 0x80 0x00, which every reader takes for 0.
fn zero_varints(bytes: &mut [u8], words: &[u64], first: usize) {
    let (mut at, mut element) = (0, first);
    while let Ok((_, next)) = wire::varint(bytes, at, bytes.len()) {
        if words.get(element / 64).is_some_and(|w| w >> (element % 64) & 1 == 1) {
            bytes[at..next - 1].fill(0x80);
            bytes[next - 1] = 0;
        }
        (at, element) = (next, element + 1);
    }
}

/// Counts the zeros of either sign in one part.
struct ZeroCount {
    tensor: TensorId,
    part: Part,
    stride: usize,
    zeros: u64,
    /// Whether the bytes so far of an element that lies across the ends of a piece are those of a zero.
    cut_is_zero: bool,
}

impl ZeroCount {
    fn add(&mut self, piece: &[u8], start: usize) {
        let Some((from, to)) = self.part.within(piece, start) else { return };
        let Part { start: origin, size, .. } = self.part;
        for e in (from - origin) / self.stride..(to - origin).div_ceil(self.stride) {
            let at = origin + e * self.stride;
            let (a, b) = (at.max(from), (at + size).min(to));
            if a >= b {
                continue;
            }
            let is_end = b == at + size;
            let is_zero = is_zero(&piece[a - start..b - start], is_end) && (a == at || self.cut_is_zero);
            if is_end {
                self.zeros += u64::from(is_zero);
            } else {
                self.cut_is_zero = is_zero;
            }
        }
    }
}

/// Whether bytes of a little-endian number are zero, but for the sign where they are its last.
fn is_zero(bytes: &[u8], has_sign: bool) -> bool {
    match bytes.split_last() {
        Some((last, rest)) if has_sign => last.trailing_zeros() >= 7 && rest.iter().all(|&b| b == 0),
        _ => bytes.iter().all(|&b| b == 0),
    }
}

/// Counts the zeros of many tensors in one file.
pub(super) struct Tallies {
    /// By where they start.
    all: Vec<ZeroCount>,
    /// The first that no piece has come to.
    next: usize,
    /// Those that the last piece ended in.
    active: Vec<usize>,
}

impl Tallies {
    /// Of these parts; varints are not counted here, they are in memory.
    pub(super) fn new(parts: impl Iterator<Item = (TensorId, Part)>) -> Self {
        let tally = |(tensor, part): (TensorId, Part)| Some(ZeroCount { tensor, part, stride: part.stride?, zeros: 0, cut_is_zero: false });
        let mut all: Vec<ZeroCount> = parts.filter_map(tally).collect();
        all.sort_by_key(|t| t.part.start);
        Self { all, next: 0, active: Vec::new() }
    }

    /// Looks at the bytes of the file from `start` on; pieces come in order.
    pub(super) fn add(&mut self, piece: &[u8], start: usize) {
        let end = start + piece.len();
        while self.all.get(self.next).is_some_and(|t| t.part.start < end) {
            self.active.push(self.next);
            self.next += 1;
        }
        for &i in &self.active {
            self.all[i].add(piece, start);
        }
        self.active.retain(|&i| self.all[i].part.end > end);
    }

    pub(super) fn zeros(&self) -> impl Iterator<Item = (TensorId, u64)> {
        self.all.iter().map(|t| (t.tensor, t.zeros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(start: usize, end: usize, stride: Option<usize>, size: usize, first: usize) -> Part {
        Part { start, end, stride, size, first }
    }

    #[test]
    fn varints_become_zeros_of_the_same_length() {
        // 0x3c00 (1.0 in float16), 5, 0x4000.
        let mut bytes = vec![0x80, 0x78, 0x05, 0x80, 0x80, 0x01];
        zero_varints(&mut bytes, &[0b1010_0000], 5);
        assert_eq!(bytes, [0x80, 0x00, 0x05, 0x80, 0x80, 0x00]);
    }

    #[test]
    fn strided_elements_keep_their_tags() {
        let mut bytes = vec![1, 2, 3, 4, 0x25, 5, 6, 7, 8];
        // The first two elements lie elsewhere.
        let patch = Patch { part: part(0, 9, Some(5), 4, 2), words: &[0b1011] };
        patch.apply(&mut bytes, 0);
        assert_eq!(bytes, [1, 2, 3, 4, 0x25, 0, 0, 0, 0]);
    }

    #[test]
    fn zeros_are_counted_however_the_bytes_are_cut() {
        // +0, -0, a subnormal, -0 with something behind its sign, NaN, +0; a tag of one byte between them.
        let elements = [0_u32, 0x8000_0000, 1, 0x8000_0001, 0x7fc0_0000, 0];
        let strided: Vec<u8> = elements.iter().flat_map(|e| [&e.to_le_bytes()[..], &[0x25]].concat()).collect();
        for cut in 1..strided.len() {
            let packed: Vec<u8> = elements.iter().flat_map(|e| e.to_le_bytes()).collect();
            for (bytes, stride) in [(&packed, 4), (&strided, 5)] {
                let one = part(0, 5 * stride + 4, Some(stride), 4, 0);
                let mut tallies = Tallies::new([(TensorId(7), one), (TensorId(8), part(4, 8, Some(4), 4, 0))].into_iter());
                for (i, piece) in bytes.chunks(cut).enumerate() {
                    tallies.add(piece, i * cut);
                }
                let zeros: Vec<(TensorId, u64)> = tallies.zeros().collect();
                assert_eq!(zeros[0], (TensorId(7), 3), "{cut} {stride}");
            }
        }
    }
}
