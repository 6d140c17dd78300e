//! The `CubeCL` kernels of the selection on the GPU: a radix select over the magnitudes, and the masks that follow from it.
//!
//! Nothing here allocates or checks: [`super::device`] lays out the buffers, launches and verifies. Weights are u32 bit patterns
//! throughout, because arithmetic on f32 may flush subnormal numbers and change NaN payloads.
//!
//! | buffer | words | contents |
//! |---|---|---|
//! | weights, pruned | one per element | all parameters; each starts at a multiple of [`ALIGN`], zeros between |
//! | mask | one per 32 elements | bit `i % 32` of word `i / 32` is set where element `i` is pruned |
//! | tiles | [`TILE_WORDS`] per tile | first element, end, parameter, ties; a tile never crosses a parameter's border |
//! | plan | [`ROW_WORDS`] per row, then one per parameter | first tile, elements available, and (prefix, remaining) before each pass and after the last; then each parameter's row, or [`OUT_OF_SCOPE`] |
//! | digits | [`UNITS`] per row | how many elements still in question have each value of the present digit |
//! | report | [`REPORT_WORDS`], parameters, rows | newly masked, elements visited, masked (or a checksum), unused; masked per parameter; ties per row |
//!
//! Every workgroup has [`UNITS`] units and no loop runs longer than 65,535 times, at which Mesa's software Vulkan stops a loop without a
//! word. Branches never surround a barrier, at most seven storage buffers are bound (WebGPU grants eight, `CubeCL` takes one for the
//! scalars), and no kernel reads a word that another unit of the same launch writes, except in workgroup memory or atomically.

use burn::cubecl;
use burn::cubecl::prelude::*;

/// Units of a workgroup, and values of a digit.
pub(super) const UNITS: u32 = 256;
/// Elements of a tile: each unit owns one word of the mask.
pub(super) const TILE: u32 = UNITS * 32;
/// Elements to whose multiples each parameter's start is rounded up: 256 bytes, the strictest offset WebGPU can ask of a binding.
pub(super) const ALIGN: u32 = 64;
/// Words of a tile's record.
pub(super) const TILE_WORDS: u32 = 4;
/// Words of a row's record.
pub(super) const ROW_WORDS: u32 = 12;
/// Word of a row's record where the (prefix, remaining) pairs start.
pub(super) const ROW_PAIRS: u32 = 2;
/// Word of a row's record with the cut's key once all passes are done; how many of its ties to take follows.
pub(super) const ROW_CUT: u32 = ROW_PAIRS + 2 * PASSES.len() as u32;
/// Words at the start of the report.
pub(super) const REPORT_WORDS: u32 = 4;
/// The row of a parameter that is not in scope.
pub(super) const OUT_OF_SCOPE: u32 = u32::MAX;
/// The digits of a 31-bit key, most significant first: (bits below it, bits of it).
pub(super) const PASSES: [(u32, u32); 4] = [(23, 8), (15, 8), (7, 8), (0, 7)];

/// A magnitude as an integer of the same order: the bits less the sign, every NaN alike and above infinity.
#[cube]
fn key_of(bits: u32) -> u32 {
    min(bits & 0x7fff_ffffu32, 0x7f80_0001u32)
}

/// The workgroup's place in a launch that is spread over x and y.
#[cube]
fn group() -> u32 {
    CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X
}

/// The sum of `value` over this unit and those before it. Every unit of the workgroup must call it, once per kernel.
#[cube]
fn inclusive_sum(value: u32) -> u32 {
    let mut sums = Shared::<[u32]>::new_slice(256usize);
    let unit = UNIT_POS as usize;
    sums[unit] = value;
    sync_cube();
    #[unroll]
    for level in 0..8u32 {
        let mut carried = 0u32;
        if UNIT_POS >= (1u32 << level) {
            carried = sums[(UNIT_POS - (1u32 << level)) as usize];
        }
        sync_cube();
        sums[unit] += carried;
        sync_cube();
    }
    sums[unit]
}

/// Sets `words` words of `buffer` to zero, a word per unit.
#[cube(launch)]
pub(super) fn clear(buffer: &mut [u32], words: u32) {
    let at = group() * UNITS + UNIT_POS;
    if at < words {
        buffer[at as usize] = 0u32;
    }
}

/// One workgroup per tile: adds to each row's `digits` how many elements not masked yet have each value of the digit of `width` bits
/// above bit `shift`, among those that agree with the row's prefix above the digit.
#[cube(launch)]
#[expect(clippy::too_many_arguments, reason = "buffers and sizes of a kernel")]
pub(super) fn histogram(
    weights: &[u32],
    mask: &[u32],
    tiles: &[u32],
    plan: &[u32],
    digits: &[Atomic<u32>],
    num_tiles: u32,
    row_table: u32,
    pass: u32,
    shift: u32,
    width: u32,
) {
    let counts = Shared::<[Atomic<u32>]>::new_slice(256usize);
    counts[UNIT_POS as usize].store(0u32);
    let tile = group();
    let mut first = 0u32;
    let mut end = 0u32;
    let mut row = 0u32;
    let mut prefix = 0u32;
    if tile < num_tiles {
        let record = tile * TILE_WORDS;
        row = plan[(row_table + tiles[(record + 2u32) as usize]) as usize];
        if row != OUT_OF_SCOPE {
            first = tiles[record as usize];
            end = tiles[(record + 1u32) as usize];
            prefix = plan[(row * ROW_WORDS + ROW_PAIRS + 2u32 * pass) as usize];
        }
    }
    sync_cube();
    let steps = (end - first).div_ceil(UNITS);
    for step in 0..steps {
        let element = first + step * UNITS + UNIT_POS;
        if element < end {
            let gone = (mask[(element / 32u32) as usize] >> (element % 32u32)) & 1u32;
            let key = key_of(weights[element as usize]);
            if gone == 0u32 && (key >> (shift + width)) == (prefix >> (shift + width)) {
                let digit = (key >> shift) & ((1u32 << width) - 1u32);
                counts[digit as usize].fetch_add(1u32);
            }
        }
    }
    sync_cube();
    let count = counts[UNIT_POS as usize].load();
    if count > 0u32 {
        digits[(row * UNITS + UNIT_POS) as usize].fetch_add(count);
    }
}

/// One workgroup per row: finds the digit in which the row's cut lies, appends it to the prefix, takes the elements below it from those
/// still to be found, and zeroes `digits` for the next pass. The first pass also records how many elements were available.
#[cube(launch)]
pub(super) fn narrow(digits: &mut [u32], plan: &mut [u32], num_rows: u32, pass: u32, shift: u32) {
    let row = group();
    let mut count = 0u32;
    if row < num_rows {
        let at = (row * UNITS + UNIT_POS) as usize;
        count = digits[at];
        digits[at] = 0u32;
    }
    let upto = inclusive_sum(count);
    if row < num_rows {
        let record = row * ROW_WORDS;
        let pair = record + ROW_PAIRS + 2u32 * pass;
        let wanted = plan[(pair + 1u32) as usize];
        if upto - count < wanted && wanted <= upto {
            plan[(pair + 2u32) as usize] = plan[pair as usize] | (UNIT_POS << shift);
            plan[(pair + 3u32) as usize] = wanted - (upto - count);
        }
        if pass == 0u32 && UNIT_POS == UNITS - 1u32 {
            plan[(record + 1u32) as usize] = upto;
        }
    }
}

/// One workgroup per tile: counts the elements whose key equals their row's cut: those not masked yet into the tile's record, all of
/// them into the report.
#[cube(launch)]
pub(super) fn count_ties(
    weights: &[u32],
    mask: &[u32],
    tiles: &mut [u32],
    plan: &[u32],
    report: &[Atomic<u32>],
    num_tiles: u32,
    row_table: u32,
    row_ties: u32,
) {
    let counts = Shared::<[Atomic<u32>]>::new_slice(2usize);
    if UNIT_POS < 2u32 {
        counts[UNIT_POS as usize].store(0u32);
    }
    let tile = group();
    let record = tile * TILE_WORDS;
    let mut first = 0u32;
    let mut end = 0u32;
    let mut row = 0u32;
    let mut cut = 0u32;
    if tile < num_tiles {
        row = plan[(row_table + tiles[(record + 2u32) as usize]) as usize];
        if row != OUT_OF_SCOPE {
            let found = row * ROW_WORDS + ROW_CUT;
            // A row without a cut has no ties.
            if plan[(found + 1u32) as usize] > 0u32 {
                first = tiles[record as usize];
                end = tiles[(record + 1u32) as usize];
                cut = plan[found as usize];
            }
        }
    }
    sync_cube();
    let mut free = 0u32;
    let mut all = 0u32;
    let steps = (end - first).div_ceil(UNITS);
    for step in 0..steps {
        let element = first + step * UNITS + UNIT_POS;
        if element < end && key_of(weights[element as usize]) == cut {
            all += 1u32;
            free += 1u32 - ((mask[(element / 32u32) as usize] >> (element % 32u32)) & 1u32);
        }
    }
    if all > 0u32 {
        counts[0].fetch_add(free);
        counts[1].fetch_add(all);
    }
    sync_cube();
    if UNIT_POS == 0u32 && tile < num_tiles {
        tiles[(record + 3u32) as usize] = counts[0].load();
        let tile_ties = counts[1].load();
        if tile_ties > 0u32 {
            report[(row_ties + row) as usize].fetch_add(tile_ties);
        }
    }
}

/// One workgroup in all: replaces the ties of each tile by the ties of all tiles before it.
#[cube(launch)]
pub(super) fn scan_ties(tiles: &mut [u32], num_tiles: u32) {
    let share = num_tiles.div_ceil(UNITS);
    let first = min(UNIT_POS * share, num_tiles);
    let end = min(first + share, num_tiles);
    let mut ties = 0u32;
    for tile in first..end {
        ties += tiles[(tile * TILE_WORDS + 3u32) as usize];
    }
    let mut before = inclusive_sum(ties) - ties;
    for tile in first..end {
        let at = (tile * TILE_WORDS + 3u32) as usize;
        let here = tiles[at];
        tiles[at] = before;
        before += here;
    }
}

/// One workgroup per tile, one unit per word of the mask: writes the mask with what lies below the cut, and as many of the ties, in
/// order, as the row still wants. Adds what it did to the report.
#[cube(launch)]
#[expect(clippy::too_many_arguments, reason = "buffers and sizes of a kernel")]
pub(super) fn apply(
    weights: &[u32],
    mask: &[u32],
    tiles: &[u32],
    plan: &[u32],
    masked: &mut [u32],
    report: &[Atomic<u32>],
    num_tiles: u32,
    row_table: u32,
) {
    let totals = Shared::<[Atomic<u32>]>::new_slice(3usize);
    if UNIT_POS < 3u32 {
        totals[UNIT_POS as usize].store(0u32);
    }
    let tile = group();
    let record = tile * TILE_WORDS;
    let mut first = 0u32;
    let mut end = 0u32;
    let mut parameter = 0u32;
    let mut cut = 0u32;
    let mut wanted = 0u32;
    let mut ties_before = 0u32;
    if tile < num_tiles {
        first = tiles[record as usize];
        end = tiles[(record + 1u32) as usize];
        parameter = tiles[(record + 2u32) as usize];
        let row = plan[(row_table + parameter) as usize];
        if row != OUT_OF_SCOPE {
            let at = row * ROW_WORDS;
            cut = plan[(at + ROW_CUT) as usize];
            wanted = plan[(at + ROW_CUT + 1u32) as usize];
            ties_before = tiles[(record + 3u32) as usize] - tiles[(plan[at as usize] * TILE_WORDS + 3u32) as usize];
        }
    }
    let start = first + UNIT_POS * 32u32;
    let visited = min(max(start, end) - start, 32u32);
    // The last tile of a parameter also writes the words of the gap behind it.
    let owned = start < end.div_ceil(ALIGN) * ALIGN;
    let mut old = 0u32;
    if owned {
        old = mask[(start / 32u32) as usize];
    }
    let mut below = 0u32;
    let mut ties = 0u32;
    if wanted > 0u32 {
        for bit in 0..visited {
            let key = key_of(weights[(start + bit) as usize]);
            if key < cut {
                below |= 1u32 << bit;
            }
            if key == cut {
                ties |= 1u32 << bit;
            }
        }
    }
    below &= !old;
    ties &= !old;
    let num_ties = ties.count_ones();
    let rank = ties_before + inclusive_sum(num_ties) - num_ties;
    let mut take = 0u32;
    if rank < wanted {
        take = min(wanted - rank, num_ties);
    }
    // Clears the lowest `take` ties; what is missing afterwards was taken.
    let mut left = ties;
    for _tie in 0..take {
        left &= left - 1u32;
    }
    let new = old | below | (ties ^ left);
    if owned {
        masked[(start / 32u32) as usize] = new;
        totals[0].fetch_add((new ^ old).count_ones());
        totals[1].fetch_add(visited);
        totals[2].fetch_add(new.count_ones());
    }
    sync_cube();
    if UNIT_POS == 0u32 && tile < num_tiles {
        report[0].fetch_add(totals[0].load());
        report[1].fetch_add(totals[1].load());
        report[(REPORT_WORDS + parameter) as usize].fetch_add(totals[2].load());
    }
}

/// One workgroup per [`TILE`] words of the buffers: writes the weights with +0.0 where the mask is set, and reports how many words it
/// visited and how many are masked.
#[cube(launch)]
pub(super) fn prune(weights: &[u32], mask: &[u32], pruned: &mut [u32], report: &[Atomic<u32>], words: u32) {
    let total = Shared::<[Atomic<u32>]>::new_slice(2usize);
    if UNIT_POS < 2u32 {
        total[UNIT_POS as usize].store(0u32);
    }
    sync_cube();
    let first = group() * TILE + UNIT_POS;
    let mut visited = 0u32;
    let mut masked = 0u32;
    for step in 0..32u32 {
        let element = first + step * UNITS;
        if element < words {
            let gone = (mask[(element / 32u32) as usize] >> (element % 32u32)) & 1u32;
            visited += 1u32;
            masked += gone;
            pruned[element as usize] = select(gone == 1u32, 0u32, weights[element as usize]);
        }
    }
    total[0].fetch_add(visited);
    total[1].fetch_add(masked);
    sync_cube();
    if UNIT_POS == 0u32 {
        report[1].fetch_add(total[0].load());
        report[2].fetch_add(total[1].load());
    }
}

/// One workgroup per [`TILE`] words: reports how many words it visited, and the sum of bits times twice the position plus one, modulo
/// 2^32, which tells a word that was lost, changed or moved.
#[cube(launch)]
pub(super) fn checksum(weights: &[u32], report: &[Atomic<u32>], words: u32) {
    let total = Shared::<[Atomic<u32>]>::new_slice(2usize);
    if UNIT_POS < 2u32 {
        total[UNIT_POS as usize].store(0u32);
    }
    sync_cube();
    let first = group() * TILE + UNIT_POS;
    let mut visited = 0u32;
    let mut sum = 0u32;
    for step in 0..32u32 {
        let element = first + step * UNITS;
        if element < words {
            visited += 1u32;
            sum += weights[element as usize] * (2u32 * element + 1u32);
        }
    }
    total[0].fetch_add(visited);
    total[1].fetch_add(sum);
    sync_cube();
    if UNIT_POS == 0u32 {
        report[1].fetch_add(total[0].load());
        report[2].fetch_add(total[1].load());
    }
}
