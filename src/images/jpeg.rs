//! What the markers of a JPEG file tell before it is decoded: whether the file is whole, and what decoding it will take.
//!
//! The decoder below `image`, zune-jpeg, fills what a cut-off file lacks with grey and calls it a picture, and its strict mode
//! overlooks cuts in the last rows; it knows no limit of memory either, and holds all coefficients of a progressive picture. So
//! the markers are walked here, which no library offers without decoding.

use std::io::{self, BufRead, Read};

/// What was found between start and end.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Survey {
    /// Bytes of coefficients that are held at once while it is decoded, beside file and pixels.
    pub(super) coefficient_bytes: u64,
}

/// Colours that a frame can have.
const MAX_COMPONENTS: usize = 4;

/// The frame header, as far as it tells sizes.
#[derive(Debug, Default, Clone, Copy)]
struct Frame {
    is_progressive: bool,
    components: usize,
    coefficients: u64,
}

/// Walks a file from its first byte to its end marker; what comes behind that is not looked at, as libjpeg does.
///
/// # Errors
/// [`io::ErrorKind::UnexpectedEof`] where the file ends before its end marker.
pub(super) fn survey(from: &mut impl BufRead) -> io::Result<Survey> {
    let mut frame = Frame::default();
    let mut survey = Survey::default();
    loop {
        match marker(from)? {
            0xD9 => return Ok(survey),
            // The start, restarts, and a marker for codes of one's own: nothing follows them.
            0x01 | 0xD0..=0xD8 => {}
            kind @ (0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF) => {
                let segment = segment(from)?;
                frame = Frame::of(&segment, matches!(kind, 0xC2 | 0xC6 | 0xCA | 0xCE));
            }
            0xDA => {
                let scanned = segment(from)?.first().copied().map_or(0, usize::from);
                // Colours that come one after the other are held until all are there.
                if frame.is_progressive || scanned < frame.components {
                    survey.coefficient_bytes = survey.coefficient_bytes.max(frame.coefficients * size_of::<i16>() as u64);
                }
            }
            _ => drop(segment(from)?),
        }
    }
}

impl Frame {
    /// Of a segment that is too short nothing is known: the decoder refuses it.
    fn of(segment: &[u8], is_progressive: bool) -> Self {
        let [_, h1, h2, w1, w2, _, parts @ ..] = segment else { return Self::default() };
        let (height, width) = (u64::from(u16::from_be_bytes([*h1, *h2])), u64::from(u16::from_be_bytes([*w1, *w2])));
        let factors: Vec<(u64, u64)> =
            parts.chunks_exact(3).take(MAX_COMPONENTS).map(|p| (u64::from(p[1] >> 4), u64::from(p[1] & 15))).collect();
        let most = |of: fn(&(u64, u64)) -> u64| factors.iter().map(of).max().unwrap_or(1).max(1);
        let (across, down) = (most(|f| f.0), most(|f| f.1));
        let units = width.div_ceil(8 * across) * height.div_ceil(8 * down);
        let coefficients = factors.iter().map(|(across, down)| units * across * down * 64).sum();
        Self { is_progressive, components: factors.len(), coefficients }
    }
}

/// The next marker, whatever lies before it: coded samples, where 0xFF has a zero behind it, or bytes that mean nothing.
fn marker(from: &mut impl BufRead) -> io::Result<u8> {
    loop {
        from.skip_until(0xFF)?;
        let mut kind = byte(from)?;
        while kind == 0xFF {
            kind = byte(from)?;
        }
        if kind != 0 {
            return Ok(kind);
        }
    }
}

fn byte(from: &mut impl BufRead) -> io::Result<u8> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// The bytes of a marker's segment.
fn segment(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let length = u16::from_be_bytes([byte(from)?, byte(from)?]).saturating_sub(2);
    let mut bytes = Vec::new();
    from.take(length.into()).read_to_end(&mut bytes)?;
    if bytes.len() < length.into() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(name: &str) -> Vec<u8> {
        std::fs::read(format!("tests/pictures/{name}")).unwrap()
    }

    #[test]
    fn a_file_is_whole_with_its_end_marker_and_not_before() {
        for name in ["grey.jpg", "large_progressive.jpg", "cmyk.jpg"] {
            let bytes = picture(name);
            assert!(survey(&mut &bytes[..]).is_ok(), "{name}");
            for cut in (0..bytes.len()).filter(|cut| cut % 13 == 0 || cut + 40 > bytes.len()) {
                let error = survey(&mut &bytes[..cut]).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{name} cut to {cut} bytes");
            }
            let behind = [&bytes[..], b"anything \xFF\xDA"].concat();
            assert_eq!(survey(&mut &behind[..]).unwrap(), survey(&mut &bytes[..]).unwrap(), "{name}");
        }
    }

    #[test]
    fn progressive_pictures_hold_their_coefficients() {
        assert_eq!(survey(&mut &picture("subsampled.jpg")[..]).unwrap().coefficient_bytes, 0);
        // 641 × 480 with colours halved both ways: 41 × 30 units of 16 × 16, six blocks in each.
        assert_eq!(survey(&mut &picture("large_progressive.jpg")[..]).unwrap().coefficient_bytes, 41 * 30 * 6 * 64 * 2);
    }

    #[test]
    fn a_colour_at_a_time_is_held_too() {
        // A frame of 17 × 9 in three colours, and a scan of one of them.
        let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, 0, 9, 0, 17, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0];
        bytes.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0, 1, 2, 0xFF, 0, 0xFF, 0xD0, 3, 0xFF, 0xFF, 0xD9]);
        assert_eq!(survey(&mut &bytes[..]).unwrap().coefficient_bytes, 3 * 2 * 3 * 64 * 2);
    }

    #[test]
    fn headers_that_lie_are_no_reason_to_panic() {
        let largest = [0xFF, 0xD8, 0xFF, 0xC2, 0, 20, 8, 0xFF, 0xFF, 0xFF, 0xFF, 4, 1, 0xFF, 0, 2, 0xFF, 0, 3, 0xFF, 0, 4, 0xFF, 0];
        let bytes = [&largest[..], &[0xFF, 0xDA, 0, 2, 0xFF, 0xD9]].concat();
        assert!(survey(&mut &bytes[..]).unwrap().coefficient_bytes > 1 << 34);
        let bytes = [0xFF, 0xD8, 0xFF, 0xC0, 0, 0, 0xFF, 0xDA, 0, 1, 0xFF, 0xD9];
        assert_eq!(survey(&mut &bytes[..]).unwrap(), Survey::default());
    }
}
