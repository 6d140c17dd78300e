//! Numbers that order as magnitudes do.

/// The largest 32-bit key, which all NaNs share; infinity is one less.
pub(super) const NARROW_NAN: u32 = 0x7f80_0001;
/// The largest 64-bit key.
pub(super) const WIDE_NAN: u64 = 0x7ff0_0000_0000_0001;

/// Rank of an f32: its bits without the sign, which order as the magnitudes do. NaN ranks above infinity.
#[inline]
#[must_use]
pub fn narrow_key(value: f32) -> u32 {
    (value.to_bits() & 0x7fff_ffff).min(NARROW_NAN)
}

/// Rank of an f64, likewise.
#[inline]
#[must_use]
pub fn wide_key(value: f64) -> u64 {
    (value.to_bits() & (u64::MAX >> 1)).min(WIDE_NAN)
}

/// The magnitude that a narrow key stands for.
#[inline]
pub(super) fn narrow_magnitude(key: u32) -> f32 {
    f32::from_bits(key)
}
