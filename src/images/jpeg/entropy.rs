//! Huffman codes: tables and the bits of a scan.

/// Bits that a table looks up at once; longer codes are rare.
const LOOK: u32 = 9;

/// One Huffman table.
#[derive(Debug)]
pub(super) struct Table {
    /// Length and symbol by the next [`LOOK`] bits; length 0 where the code is longer.
    short: Vec<(u8, u8)>,
    /// By length: one past the last code, and what makes a symbol's number of a code.
    ends: [u32; 17],
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

impl Table {
    /// From the number of codes of each length, 1 to 16, and their symbols in order.
    pub(super) fn new(counts: &[u8], symbols: &[u8]) -> Option<Self> {
        let mut table = Self { short: vec![(0, 0); 1 << LOOK], ends: [0; 17], offsets: [0; 17], symbols: symbols.to_vec() };
        let (mut code, mut number) = (0_u32, 0_usize);
        for (i, &count) in counts.iter().enumerate() {
            let length = i as u32 + 1;
            table.offsets[i + 1] = number as i32 - code as i32;
            for _ in 0..count {
                if code >= 1 << length {
                    return None;
                }
                if length <= LOOK {
                    let first = (code << (LOOK - length)) as usize;
                    table.short[first..first + (1 << (LOOK - length))].fill((length as u8, *symbols.get(number)?));
                }
                code += 1;
                number += 1;
            }
            table.ends[i + 1] = code;
            code <<= 1;
        }
        Some(table)
    }
}

/// Bits of a scan, up to its marker.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    buffer: u64,
    have: u32,
    /// Bits of zero that stand in for what is not there.
    missing: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, buffer: 0, have: 0, missing: 0 }
    }

    fn fill(&mut self) {
        while self.have <= 48 {
            let byte = match (self.bytes.get(self.at), self.bytes.get(self.at + 1)) {
                (Some(0xFF), Some(0)) => {
                    self.at += 2;
                    0xFF
                }
                (Some(0xFF) | None, _) => {
                    self.missing += 8;
                    0
                }
                (Some(&byte), _) => {
                    self.at += 1;
                    byte
                }
            };
            self.buffer = self.buffer << 8 | u64::from(byte);
            self.have += 8;
        }
    }

    fn peek(&mut self, count: u32) -> u32 {
        if self.have < count {
            self.fill();
        }
        (self.buffer >> (self.have - count)) as u32 & ((1 << count) - 1)
    }

    /// The next `count` bits, at most 16; `None` beyond the scan's end.
    pub(super) fn take(&mut self, count: u32) -> Option<u32> {
        let bits = self.peek(count);
        self.have -= count;
        (self.have >= self.missing).then_some(bits)
    }

    pub(super) fn symbol(&mut self, table: &Table) -> Option<u8> {
        let bits = self.peek(16);
        let (length, symbol) = table.short[(bits >> (16 - LOOK)) as usize];
        if length > 0 {
            return self.take(u32::from(length)).map(|_| symbol);
        }
        for length in LOOK + 1..=16 {
            let code = bits >> (16 - length);
            if code < table.ends[length as usize] {
                self.take(length)?;
                return table.symbols.get(usize::try_from(code as i32 + table.offsets[length as usize]).ok()?).copied();
            }
        }
        None
    }

    /// A number of `size` bits, whose highest bit tells its sign.
    pub(super) fn number(&mut self, size: u8) -> Option<i32> {
        if size == 0 {
            return Some(0);
        }
        if size > 15 {
            return None;
        }
        let bits = self.take(size.into())? as i32;
        Some(if bits < 1 << (size - 1) { bits - (1 << size) + 1 } else { bits })
    }

    /// Ends at a byte: what is left of it is fill. Returns where the next marker lies.
    pub(super) fn end(&mut self) -> Option<usize> {
        // Whole bytes in hand that are no stand-ins were read too far.
        if self.have.checked_sub(self.missing)? >= 8 {
            return None;
        }
        (self.buffer, self.have, self.missing) = (0, 0, 0);
        Some(self.at)
    }

    /// Passes over the restart marker number `number`.
    pub(super) fn restart(&mut self, number: usize) -> Option<()> {
        let at = self.end()?;
        let is_there = self.bytes.get(at..at + 2)? == [0xFF, 0xD0 + (number % 8) as u8];
        self.at = at + 2;
        is_there.then_some(())
    }
}
