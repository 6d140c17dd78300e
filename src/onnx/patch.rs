//! Elements of a tensor in the bytes of a file that passes by piece by piece: set to zero or to others, and counted.

use std::ops::Range;

use super::wire::{self, Span};
use super::write::Change;
use super::{Tensor, TensorId};

/// Consecutive elements of a tensor in one run of bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct ElementRun {
    start: usize,
    end: usize,
    /// Bytes from one element to the next; `None` where they differ, as those of varints do.
    stride: Option<usize>,
    /// Bytes of an element.
    size: usize,
    /// Number of its first element in the tensor.
    first: usize,
}

impl ElementRun {
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

    /// Whether its elements are numbers of variable length.
    pub(super) fn is_of_varints(&self) -> bool {
        self.stride.is_none()
    }

    /// Whether the elements of `new`, the tensor's bytes, fit where those of `bytes`, the varints of this part, are.
    pub(super) fn has_room(&self, bytes: &[u8], new: &[u8]) -> bool {
        let (mut at, mut element) = (0, self.first);
        while let Ok((_, next)) = wire::varint(bytes, at, bytes.len()) {
            if half_at(new, element).is_some_and(|value| varint_length(value) > next - at) {
                return false;
            }
            (at, element) = (next, element + 1);
        }
        true
    }

    /// The bytes of `piece`, which starts at `start`, that belong to these elements: where they start and end in the file.
    fn within(&self, piece: &[u8], start: usize) -> Option<(usize, usize)> {
        let (from, to) = (self.start.max(start), self.end.min(start + piece.len()));
        (from < to).then_some((from, to))
    }
}

/// Elements of one tensor that become others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patch<'a> {
    pub(super) part: ElementRun,
    pub(super) change: &'a Change,
}

impl Patch<'_> {
    /// Whether the whole of it must lie in one piece.
    pub(super) fn is_indivisible(&self) -> bool {
        self.part.is_of_varints()
    }

    /// Changes the elements in `piece`, the bytes of the file from `start` on.
    pub(super) fn apply(&self, piece: &mut [u8], start: usize) {
        let Some((from, to)) = self.part.within(piece, start) else { return };
        let ElementRun { start: origin, stride, size, first, .. } = self.part;
        let Some(stride) = stride else { return write_varints(&mut piece[from - start..to - start], self.change, first) };
        let touched = first + (from - origin) / stride..first + (to - origin).div_ceil(stride);
        let words = match self.change {
            Change::Zeros(words) => words,
            Change::Bytes(new) => {
                for element in touched {
                    let at = origin + (element - first) * stride;
                    let (a, b) = (at.max(from), (at + size).min(to));
                    if a < b && (element + 1) * size <= new.len() {
                        piece[a - start..b - start].copy_from_slice(&new[element * size + a - at..element * size + b - at]);
                    }
                }
                return;
            }
        };
        let last = touched.end.div_ceil(64);
        for (w, &word) in words.iter().enumerate().take(last).skip(touched.start / 64) {
            let mut rest = word;
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

/// Variable-length numbers of the same length as those that are there: 0x80 … 0x80 0x00 is a zero to every reader.
fn write_varints(bytes: &mut [u8], change: &Change, first: usize) {
    let (mut at, mut element) = (0, first);
    while let Ok((_, next)) = wire::varint(bytes, at, bytes.len()) {
        let value = match change {
            Change::Zeros(words) => words.get(element / 64).filter(|w| **w >> (element % 64) & 1 == 1).map(|_| 0),
            Change::Bytes(new) => half_at(new, element),
        };
        if let Some(mut value) = value {
            for byte in &mut bytes[at..next - 1] {
                *byte = 0x80 | (value & 0x7f) as u8;
                value >>= 7;
            }
            bytes[next - 1] = (value & 0x7f) as u8;
        }
        (at, element) = (next, element + 1);
    }
}

/// Element of a tensor of 16-bit floats: numbers of variable length stand for no other.
fn half_at(bytes: &[u8], element: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(element * 2..element * 2 + 2)?.try_into().ok()?))
}

/// Bytes of a number of variable length.
fn varint_length(value: u16) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        _ => 3,
    }
}

/// Counts the zeros of either sign in one part.
struct ZeroCount {
    tensor: TensorId,
    part: ElementRun,
    stride: usize,
    zeros: u64,
    /// Whether the bytes so far of an element that lies across the ends of a piece are those of a zero.
    cut_is_zero: bool,
}

impl ZeroCount {
    fn add(&mut self, piece: &[u8], start: usize) {
        let Some((from, to)) = self.part.within(piece, start) else { return };
        let ElementRun { start: origin, size, .. } = self.part;
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
pub(super) fn is_zero(bytes: &[u8], has_sign: bool) -> bool {
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
    pub(super) fn new(parts: impl Iterator<Item = (TensorId, ElementRun)>) -> Self {
        let tally =
            |(tensor, part): (TensorId, ElementRun)| Some(ZeroCount { tensor, part, stride: part.stride?, zeros: 0, cut_is_zero: false });
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

    fn part(start: usize, end: usize, stride: Option<usize>, size: usize, first: usize) -> ElementRun {
        ElementRun { start, end, stride, size, first }
    }

    #[test]
    fn varints_become_zeros_of_the_same_length() {
        // 0x3c00 (1.0 in float16), 5, 0x4000.
        let mut bytes = vec![0x80, 0x78, 0x05, 0x80, 0x80, 0x01];
        write_varints(&mut bytes, &Change::Zeros(vec![0b1010_0000]), 5);
        assert_eq!(bytes, [0x80, 0x00, 0x05, 0x80, 0x80, 0x00]);
        // Others, as long as there is room: 0x4000 has none where 5 is.
        let (mut bytes, new) = (vec![0x80, 0x78, 0x05, 0x80, 0x80, 0x01], [0x12_u16, 7, 0xbc00].map(u16::to_le_bytes).concat());
        assert!(part(0, 6, None, 2, 0).has_room(&bytes, &new));
        write_varints(&mut bytes, &Change::Bytes(new), 0);
        assert_eq!(bytes, [0x92, 0x00, 0x07, 0x80, 0xf8, 0x02]);
        assert!(!part(0, 6, None, 2, 0).has_room(&bytes, &[0_u16, 0x4000, 0].map(u16::to_le_bytes).concat()));
    }

    #[test]
    fn strided_elements_keep_their_tags() {
        let mut bytes = vec![1, 2, 3, 4, 0x25, 5, 6, 7, 8];
        // The first two elements lie elsewhere.
        let zeros = Change::Zeros(vec![0b1011]);
        Patch { part: part(0, 9, Some(5), 4, 2), change: &zeros }.apply(&mut bytes, 0);
        assert_eq!(bytes, [1, 2, 3, 4, 0x25, 0, 0, 0, 0]);
        // Others, of which the last two lie here, piece by piece.
        let others = Change::Bytes((10..26).collect());
        for at in 0..9 {
            Patch { part: part(0, 9, Some(5), 4, 2), change: &others }.apply(&mut bytes[at..=at], at);
        }
        assert_eq!(bytes, [18, 19, 20, 21, 0x25, 22, 23, 24, 25]);
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
