//! Scans: the coefficients of some or all colours, whole or a few bits of them.

use super::entropy::{Bits, Table};
use super::{Reader, ZIGZAG};

/// More scans than any encoder writes; each goes over the whole picture.
const MAX_SCANS: usize = 256;

/// What a scan brings.
struct Header {
    /// Of each colour in it: its number, and its tables for the first and for the other coefficients.
    parts: Vec<(usize, usize, usize)>,
    /// First and last coefficient.
    first: usize,
    last: usize,
    /// Bits known before, 0 where none; and the lowest bit that is brought.
    before: u8,
    low: u8,
}

/// What one block does not know by itself.
struct Decoder<'a, 'b> {
    bits: Bits<'a>,
    header: &'b Header,
    is_progressive: bool,
    /// The last first coefficient of each colour.
    last: [i32; 4],
    /// Blocks in which nothing more comes.
    run: u32,
}

impl Reader<'_> {
    pub(super) fn scan(&mut self) -> Option<()> {
        self.num_scans += 1;
        let segment = self.segment()?;
        let frame = self.frame.as_mut()?;
        let (&count, rest) = segment.split_first()?;
        let (selectors, range) = rest.split_at_checked(usize::from(count) * 2)?;
        let [first, last, bits] = *range else { return None };
        let parts = selectors.chunks_exact(2).map(|s| {
            let number = frame.components.iter().position(|c| c.id == s[0])?;
            Some((number, usize::from(s[1] >> 4), usize::from(s[1] & 15)))
        });
        let header =
            Header { parts: parts.collect::<Option<_>>()?, first: first.into(), last: last.into(), before: bits >> 4, low: bits & 15 };
        if !header.is_possible(frame.is_progressive) || self.num_scans > MAX_SCANS {
            return None;
        }
        for &(number, ..) in &header.parts {
            let component = &mut frame.components[number];
            if component.steps.is_none() {
                component.steps = self.steps[component.table];
            }
            component.steps?;
        }
        let mut decoder =
            Decoder { bits: Bits::new(self.bytes, self.at), header: &header, is_progressive: frame.is_progressive, last: [0; 4], run: 0 };
        let (direct, alternating) = (&self.direct, &self.alternating);
        let (units_across, units_down) = match header.parts[..] {
            [(number, ..)] => (frame.components[number].blocks_across, frame.components[number].blocks_down),
            _ => (frame.width.div_ceil(8 * frame.across), frame.height.div_ceil(8 * frame.down)),
        };
        for unit in 0..units_across * units_down {
            if self.restart > 0 && unit > 0 && unit % self.restart == 0 {
                decoder.restart(unit / self.restart - 1)?;
            }
            let (x, y) = (unit % units_across, unit / units_across);
            for &(number, d, a) in &header.parts {
                let component = &mut frame.components[number];
                let (across, down) = if header.parts.len() == 1 { (1, 1) } else { (component.across, component.down) };
                for block in 0..across * down {
                    let place = (y * down + block / across) * component.stride + x * across + block % across;
                    let (d, a) = (direct.get(d)?.as_ref(), alternating.get(a)?.as_ref());
                    decoder.block(component.coefficients.get_mut(place)?, number, d, a)?;
                }
            }
        }
        self.at = decoder.bits.end()?;
        Some(())
    }
}

impl Header {
    fn is_possible(&self, is_progressive: bool) -> bool {
        let distinct = (1..self.parts.len()).all(|i| self.parts[..i].iter().all(|p| p.0 != self.parts[i].0));
        let range = match (is_progressive, self.first) {
            (false, _) => self.first == 0 && self.last == 63 && self.before == 0 && self.low == 0,
            (true, 0) => self.last == 0,
            (true, _) => self.first <= self.last && self.last < 64 && self.parts.len() == 1,
        };
        let bits = self.low <= 13 && (self.before == 0 || self.before == self.low + 1);
        (1..=4).contains(&self.parts.len()) && distinct && range && bits
    }
}

impl Decoder<'_, '_> {
    fn restart(&mut self, number: usize) -> Option<()> {
        (self.last, self.run) = ([0; 4], 0);
        self.bits.restart(number)
    }

    fn block(&mut self, block: &mut [i16; 64], number: usize, direct: Option<&Table>, alternating: Option<&Table>) -> Option<()> {
        let low = self.header.low;
        if self.header.first == 0 {
            if self.header.before > 0 {
                block[0] |= (self.bits.take(1)? << low) as i16;
            } else {
                let size = self.bits.symbol(direct?)?;
                self.last[number] = self.last[number].wrapping_add(self.bits.number(size)?);
                block[0] = (self.last[number] << low) as i16;
            }
            return if self.is_progressive { Some(()) } else { self.sequential(block, alternating?) };
        }
        if self.header.before > 0 { self.refine(block, alternating?) } else { self.band(block, alternating?) }
    }

    fn sequential(&mut self, block: &mut [i16; 64], table: &Table) -> Option<()> {
        let mut k = 1;
        while k < 64 {
            let symbol = self.bits.symbol(table)?;
            let (zeros, size) = (usize::from(symbol >> 4), symbol & 15);
            match (zeros, size) {
                (15, 0) => k += 16,
                (_, 0) => break,
                _ => {
                    k += zeros;
                    block[usize::from(*ZIGZAG.get(k)?)] = self.bits.number(size)? as i16;
                    k += 1;
                }
            }
        }
        Some(())
    }

    /// The first bits of a band of coefficients.
    fn band(&mut self, block: &mut [i16; 64], table: &Table) -> Option<()> {
        if self.run > 0 {
            self.run -= 1;
            return Some(());
        }
        let mut k = self.header.first;
        while k <= self.header.last {
            let symbol = self.bits.symbol(table)?;
            let (zeros, size) = (symbol >> 4, symbol & 15);
            match (zeros, size) {
                (15, 0) => k += 16,
                (_, 0) => {
                    self.run = self.run_of(zeros)? - 1;
                    break;
                }
                _ => {
                    k += usize::from(zeros);
                    block[usize::from(*ZIGZAG.get(k)?)] = (self.bits.number(size)? << self.header.low) as i16;
                    k += 1;
                }
            }
        }
        Some(())
    }

    /// How many blocks an end-of-band symbol stands for, this one included.
    fn run_of(&mut self, size: u8) -> Option<u32> {
        Some((1 << size) + self.bits.take(size.into())?)
    }

    /// One more bit of a band: of the coefficients that are known to be there, and new ones of that bit alone.
    fn refine(&mut self, block: &mut [i16; 64], table: &Table) -> Option<()> {
        let bit = 1_i16 << self.header.low;
        let mut k = self.header.first;
        while self.run == 0 && k <= self.header.last {
            let symbol = self.bits.symbol(table)?;
            let (mut zeros, size) = (symbol >> 4, symbol & 15);
            let new = match size {
                0 if zeros < 15 => {
                    self.run = self.run_of(zeros)?;
                    break;
                }
                0 => 0,
                1 => {
                    if self.bits.take(1)? == 1 {
                        bit
                    } else {
                        -bit
                    }
                }
                _ => return None,
            };
            while k <= self.header.last {
                let place = usize::from(ZIGZAG[k]);
                if block[place] != 0 {
                    self.sharpen(&mut block[place], bit)?;
                } else if zeros == 0 {
                    block[place] = new;
                    break;
                } else {
                    zeros -= 1;
                }
                k += 1;
            }
            k += 1;
        }
        if self.run > 0 {
            self.run -= 1;
            for &place in ZIGZAG.get(k..=self.header.last).unwrap_or_default() {
                if block[usize::from(place)] != 0 {
                    self.sharpen(&mut block[usize::from(place)], bit)?;
                }
            }
        }
        Some(())
    }

    fn sharpen(&mut self, coefficient: &mut i16, bit: i16) -> Option<()> {
        if self.bits.take(1)? == 1 && *coefficient & bit == 0 {
            *coefficient = coefficient.wrapping_add(if *coefficient >= 0 { bit } else { -bit });
        }
        Some(())
    }
}
