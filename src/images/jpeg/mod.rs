//! JPEG to RGB with the very bytes of libjpeg-turbo, which is Pillow's decoder: the standard leaves the inverse transform and the
//! spreading of subsampled colour open, and other decoders are up to four grey levels apart.
//!
//! Baseline, extended and progressive files of 8 bits with Huffman codes. For anything else, and for files with errors,
//! [`decode`] returns `None`, and another decoder has the word.

mod colour;
mod entropy;
mod scan;
mod transform;

use super::picture::Picture;
use entropy::Table;

/// One colour of the frame.
#[derive(Debug, Default)]
struct Component {
    id: u8,
    /// Sampling factors across and down, 1 to 4.
    across: usize,
    down: usize,
    /// Which quantisation table, and that table once a scan has begun.
    table: usize,
    steps: Option<[u16; 64]>,
    /// Samples that the picture has of this colour.
    width: usize,
    height: usize,
    /// Blocks of those samples, and blocks in a row of `coefficients`, which has whole units of all colours.
    blocks_across: usize,
    blocks_down: usize,
    stride: usize,
    coefficients: Vec<[i16; 64]>,
}

/// The frame header.
#[derive(Debug)]
struct Frame {
    width: usize,
    height: usize,
    is_progressive: bool,
    /// Largest sampling factors.
    across: usize,
    down: usize,
    components: Vec<Component>,
}

/// What Adobe's marker says of colours.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Adobe {
    Absent,
    Transform(u8),
}

/// What has been read so far.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    steps: [Option<[u16; 64]>; 4],
    direct: [Option<Table>; 4],
    alternating: [Option<Table>; 4],
    restart: usize,
    num_scans: usize,
    frame: Option<Frame>,
    has_jfif: bool,
    adobe: Adobe,
}

/// Where the coefficients lie that a file lists from low to high frequency.
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28, 35, 42, 49, 56,
    57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// The picture, of at most `max_pixels`.
pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Option<Picture> {
    let mut reader = Reader {
        bytes: bytes.strip_prefix(&[0xFF, 0xD8])?,
        at: 0,
        steps: [None; 4],
        direct: [const { None }; 4],
        alternating: [const { None }; 4],
        restart: 0,
        num_scans: 0,
        frame: None,
        has_jfif: false,
        adobe: Adobe::Absent,
    };
    loop {
        match reader.marker()? {
            0xD9 => break,
            0xC0..=0xC2 => reader.frame(max_pixels)?,
            0xC4 => reader.huffman()?,
            0xDA => reader.scan()?,
            0xDB => reader.quantisation()?,
            0xDD => reader.restart = reader.segment().and_then(|s| Some(usize::from(u16::from_be_bytes(s.try_into().ok()?))))?,
            0xE0 => reader.has_jfif |= reader.segment()?.starts_with(b"JFIF\0"),
            0xEE => {
                if let [b'A', b'd', b'o', b'b', b'e', _, _, _, _, _, _, transform, ..] = reader.segment()? {
                    reader.adobe = Adobe::Transform(*transform);
                }
            }
            // Arithmetic codes, losslessness, hierarchies, heights told later.
            0xC3 | 0xC5..=0xC7 | 0xC9..=0xCF | 0xDC | 0xDE | 0xDF => return None,
            0xE1..=0xED | 0xEF | 0xFE => drop(reader.segment()?),
            _ => return None,
        }
    }
    let (has_jfif, adobe) = (reader.has_jfif, reader.adobe);
    colour::picture(reader.frame?, has_jfif, adobe)
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// The next marker, with its fill bytes passed over.
    fn marker(&mut self) -> Option<u8> {
        if self.byte()? != 0xFF {
            return None;
        }
        loop {
            match self.byte()? {
                0xFF => {}
                0 => return None,
                marker => return Some(marker),
            }
        }
    }

    /// The bytes of a marker's segment.
    fn segment(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(u16::from_be_bytes([self.byte()?, self.byte()?])).checked_sub(2)?;
        let segment = self.bytes.get(self.at..self.at + length)?;
        self.at += length;
        Some(segment)
    }

    fn quantisation(&mut self) -> Option<()> {
        let mut rest = self.segment()?;
        while let Some((&head, tables)) = rest.split_first() {
            let wide = usize::from(head >> 4);
            let table = self.steps.get_mut(usize::from(head & 15))?;
            if wide > 1 {
                return None;
            }
            let values = tables.get(..64 * (wide + 1))?;
            let step = |i: usize| if wide == 0 { u16::from(values[i]) } else { u16::from_be_bytes([values[2 * i], values[2 * i + 1]]) };
            let mut steps = [0; 64];
            for (i, &place) in ZIGZAG.iter().enumerate() {
                steps[usize::from(place)] = step(i);
            }
            *table = Some(steps);
            rest = &tables[values.len()..];
        }
        Some(())
    }

    fn huffman(&mut self) -> Option<()> {
        let mut rest = self.segment()?;
        while let Some((&head, tables)) = rest.split_first() {
            let counts = tables.get(..16)?;
            let length = counts.iter().map(|&c| usize::from(c)).sum::<usize>();
            let symbols = tables.get(16..16 + length)?;
            let place = if head >> 4 == 0 { &mut self.direct } else { &mut self.alternating };
            *place.get_mut(usize::from(head & 15)).filter(|_| head >> 4 <= 1)? = Some(Table::new(counts, symbols)?);
            rest = &tables[16 + length..];
        }
        Some(())
    }

    fn frame(&mut self, max_pixels: u64) -> Option<()> {
        let is_progressive = self.bytes[self.at - 1] == 0xC2;
        let segment = self.segment()?;
        let [8, h1, h2, w1, w2, count, parts @ ..] = segment else { return None };
        let (height, width) = (usize::from(u16::from_be_bytes([*h1, *h2])), usize::from(u16::from_be_bytes([*w1, *w2])));
        let is_known = matches!(count, 1 | 3 | 4) && parts.len() == usize::from(*count) * 3 && self.frame.is_none();
        if !is_known || width == 0 || height == 0 || (width * height) as u64 > max_pixels {
            return None;
        }
        let mut components: Vec<Component> = parts
            .chunks_exact(3)
            .map(|p| Component {
                id: p[0],
                across: usize::from(p[1] >> 4),
                down: usize::from(p[1] & 15),
                table: usize::from(p[2]),
                ..Component::default()
            })
            .collect();
        let is_factor = |f: usize| (1..=4).contains(&f);
        if !components.iter().all(|c| is_factor(c.across) && is_factor(c.down) && c.table < 4) {
            return None;
        }
        let across = components.iter().map(|c| c.across).max()?;
        let down = components.iter().map(|c| c.down).max()?;
        let units = (width.div_ceil(8 * across), height.div_ceil(8 * down));
        for c in &mut components {
            (c.width, c.height) = ((width * c.across).div_ceil(across), (height * c.down).div_ceil(down));
            (c.blocks_across, c.blocks_down) = (c.width.div_ceil(8), c.height.div_ceil(8));
            c.stride = units.0 * c.across;
            c.coefficients = vec![[0; 64]; c.stride * units.1 * c.down];
        }
        self.frame = Some(Frame { width, height, is_progressive, across, down, components });
        Some(())
    }
}
