//! The order of many elements of two bytes each: there are only 32 thousand magnitudes, so counting them is sorting them.

use half::{bf16, f16};

use super::keys::{NARROW_NAN, narrow_key};
use crate::onnx::Dtype;

/// Fewer elements are not worth a table.
const MANY: usize = 1 << 16;

/// Magnitudes in a table: all 15-bit patterns.
const MAGNITUDES: usize = 1 << 15;

/// How many elements have each magnitude.
#[derive(Debug)]
pub(super) struct MagnitudeCounts {
    kind: HalfType,
    /// For every magnitude, the number of elements that have it or a smaller one.
    through: Vec<u64>,
}

/// A type of two bytes whose bits, less the sign, order as the magnitudes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HalfType {
    F16,
    Bf16,
}

impl HalfType {
    /// Place of a magnitude in the table; all NaNs have the one behind infinity. `value` is a number of this type.
    #[inline]
    fn place(self, value: f32) -> usize {
        let (bits, infinity) = match self {
            Self::F16 => (f16::from_f32(value).to_bits(), f16::INFINITY.to_bits()),
            Self::Bf16 => (bf16::from_f32(value).to_bits(), bf16::INFINITY.to_bits()),
        };
        usize::from((bits & 0x7fff).min(infinity + 1))
    }

    /// The narrow key of the magnitude in this place.
    #[inline]
    fn key(self, place: usize) -> u32 {
        let bits = place as u16;
        let value = match self {
            Self::F16 => f16::from_bits(bits).to_f32(),
            Self::Bf16 => bf16::from_bits(bits).to_f32(),
        };
        if value.is_nan() { NARROW_NAN } else { narrow_key(value) }
    }
}

impl MagnitudeCounts {
    /// Counts `values`, which were read from elements of `dtype`; `None` where these are wider than two bytes, or few.
    pub(super) fn of(values: &[f32], dtype: Dtype) -> Option<Self> {
        let kind = match dtype {
            Dtype::F16 => HalfType::F16,
            Dtype::Bf16 => HalfType::Bf16,
            _ => return None,
        };
        if values.len() < MANY {
            return None;
        }
        let mut through = vec![0_u64; MAGNITUDES];
        for &value in values {
            through[kind.place(value)] += 1;
        }
        let mut total = 0;
        for count in &mut through {
            total += *count;
            *count = total;
        }
        Some(Self { kind, through })
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.through.last().map_or(0, |&n| n as usize)
    }

    pub(super) fn zeros(&self) -> u64 {
        self.through[0]
    }

    /// Place of the `rank`-th smallest.
    fn place(&self, rank: usize) -> usize {
        self.through.partition_point(|&n| n <= rank as u64)
    }

    /// Narrow key of the `rank`-th smallest, from 0.
    pub(super) fn key(&self, rank: usize) -> u32 {
        self.kind.key(self.place(rank))
    }

    /// How many are smaller than the `rank`-th smallest, and how many are not larger.
    #[inline]
    pub(super) fn around(&self, rank: usize) -> (usize, usize) {
        let place = self.place(rank);
        let below = place.checked_sub(1).map_or(0, |before| self.through[before]);
        (below as usize, self.through[place] as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::Values;
    use crate::prune::ranking::Ranking;

    /// Every pattern of two bytes several times, NaNs, infinities and both zeros among them, ranks as in the sorted list.
    #[test]
    fn a_table_says_what_the_sorted_list_says() {
        for dtype in [Dtype::F16, Dtype::Bf16] {
            let read = |bits: u16| if dtype == Dtype::F16 { f16::from_bits(bits).to_f32() } else { bf16::from_bits(bits).to_f32() };
            let mut values: Vec<f32> = (0..=u16::MAX).map(read).collect();
            values.extend((0..200_000_u32).map(|i| read((i.wrapping_mul(2_654_435_761) >> 17) as u16 & 0x3fff)));
            let values = Values::F32(values);
            let (table, list) = (Ranking::of(&values, dtype), Ranking::new(&values));
            assert_eq!((table.len(), table.zeros()), (list.len(), list.zeros()));
            for rank in (0..list.len()).step_by(97).chain([list.len() - 1]) {
                let (a, b) = (table.magnitude(rank), list.magnitude(rank));
                assert!(a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()), "{dtype} {rank}: {a} {b}");
                assert_eq!(table.around(rank), list.around(rank), "{dtype} {rank}");
            }
        }
    }

    #[test]
    fn few_elements_and_wide_ones_have_no_table() {
        assert!(MagnitudeCounts::of(&[1.0; 100], Dtype::F16).is_none());
        assert!(MagnitudeCounts::of(&vec![1.0; MANY], Dtype::F32).is_none());
    }
}
