//! Colours at full size, and from the file's kind of colours to RGB, as libjpeg-turbo and Pillow round them.

use super::{Adobe, Component, Frame, transform};
use crate::images::picture::Picture;

/// Samples of one colour, row by row.
struct Plane {
    width: usize,
    height: usize,
    samples: Vec<u8>,
}

/// What the components are.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Grey,
    Rgb,
    YCbCr,
    /// Stored inverted, as Pillow takes all of them to be.
    Cmyk,
    Ycck,
}

/// The whole picture; `None` where sampling factors do not divide, or where a colour never came.
pub(super) fn picture(frame: Frame, has_jfif: bool, adobe: Adobe) -> Option<Picture> {
    let kind = kind(&frame, has_jfif, adobe);
    let (width, height) = (frame.width, frame.height);
    let planes: Vec<Plane> = frame
        .components
        .into_iter()
        .map(|component| {
            let factors = (frame.across.checked_rem(component.across)? == 0 && frame.down.checked_rem(component.down)? == 0)
                .then(|| (frame.across / component.across, frame.down / component.down))?;
            Some(enlarged(plane(component)?, factors))
        })
        .collect::<Option<_>>()?;
    let mut rgb = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        let row = |c: usize| &planes[c].samples[y * planes[c].width..y * planes[c].width + width];
        match kind {
            Kind::Grey => rgb.extend(row(0).iter().flat_map(|&v| [v; 3])),
            Kind::Rgb => rgb.extend((0..width).flat_map(|x| [row(0)[x], row(1)[x], row(2)[x]])),
            Kind::YCbCr => {
                let (luma, blue, red) = (row(0), row(1), row(2));
                rgb.extend((0..width).flat_map(|x| from_ycc(luma[x], blue[x], red[x])));
            }
            Kind::Cmyk | Kind::Ycck => {
                let rows = [row(0), row(1), row(2), row(3)];
                rgb.extend((0..width).flat_map(|x| {
                    let inks = [rows[0][x], rows[1][x], rows[2][x]];
                    let inks = if kind == Kind::Ycck { from_ycc(inks[0], inks[1], inks[2]).map(|v| 255 - v) } else { inks };
                    inks.map(|ink| from_ink(ink, rows[3][x]))
                }));
            }
        }
    }
    Some(Picture { width: width as u32, height: height as u32, rgb })
}

/// libjpeg's `default_decompress_parms`.
fn kind(frame: &Frame, has_jfif: bool, adobe: Adobe) -> Kind {
    let ids: Vec<u8> = frame.components.iter().map(|c| c.id).collect();
    match (ids.len(), adobe) {
        (1, _) => Kind::Grey,
        (3, _) if has_jfif => Kind::YCbCr,
        (3, Adobe::Transform(0)) => Kind::Rgb,
        (3, Adobe::Absent) if ids == *b"RGB" => Kind::Rgb,
        (3, _) => Kind::YCbCr,
        (_, Adobe::Transform(2)) => Kind::Ycck,
        _ => Kind::Cmyk,
    }
}

fn plane(component: Component) -> Option<Plane> {
    let steps = component.steps?;
    let row = component.stride * 8;
    let (width, height) = (component.width, component.height);
    let mut samples = vec![0; row * component.blocks_down * 8];
    for y in 0..component.blocks_down {
        for x in 0..component.blocks_across {
            let block = transform::samples(&component.coefficients[y * component.stride + x], &steps);
            for (line, values) in block.chunks_exact(8).enumerate() {
                let at = (y * 8 + line) * row + x * 8;
                samples[at..at + 8].copy_from_slice(values);
            }
        }
    }
    drop(component);
    // Rows without the padding of their last block.
    for y in 1..height {
        samples.copy_within(y * row..y * row + width, y * width);
    }
    samples.truncate(width * height);
    Some(Plane { width, height, samples })
}

/// A plane `across` times as wide and `down` times as high: libjpeg's "fancy" upsampling by two, repetition otherwise.
fn enlarged(plane: Plane, (across, down): (usize, usize)) -> Plane {
    // So narrow that a sample has no two neighbours: repeated.
    let is_narrow = plane.width <= 2;
    match (across, down) {
        (1, 1) => plane,
        (2, 1) if !is_narrow => by_rows(&plane, 2, 1, |row, _, _| row.iter().map(|&v| u16::from(v)).collect(), spread),
        (1, 2) => by_rows(&plane, 1, 2, nearer_and_farther, |sums, out, side| {
            // Rounded up and down by turns.
            out.extend(sums.iter().map(|&sum| ((sum + 1 + side as u16) >> 2) as u8));
        }),
        (2, 2) if !is_narrow => by_rows(&plane, 2, 2, nearer_and_farther, spread_sums),
        _ => {
            let wide = |row: &[u8]| row.iter().flat_map(|&v| std::iter::repeat_n(v, across)).collect::<Vec<u8>>();
            let rows = plane.samples.chunks_exact(plane.width).map(wide);
            let samples = rows.flat_map(|row| std::iter::repeat_n(row, down)).flatten().collect();
            Plane { width: plane.width * across, height: plane.height * down, samples }
        }
    }
}

/// Makes `down` rows of each row: `mix` of it and its neighbour above or below, then `widen`, told which of them it is.
fn by_rows(
    plane: &Plane,
    across: usize,
    down: usize,
    mix: impl Fn(&[u8], &[u8], usize) -> Vec<u16>,
    widen: impl Fn(&[u16], &mut Vec<u8>, usize),
) -> Plane {
    let row = |y: usize| &plane.samples[y * plane.width..(y + 1) * plane.width];
    let mut samples = Vec::with_capacity(plane.samples.len() * across * down);
    for y in 0..plane.height {
        for side in 0..down {
            let neighbour = if side == 0 { y.saturating_sub(1) } else { (y + 1).min(plane.height - 1) };
            widen(&mix(row(y), row(neighbour), side), &mut samples, side);
        }
    }
    Plane { width: plane.width * across, height: plane.height * down, samples }
}

/// Three parts of the nearer row and one of the farther.
fn nearer_and_farther(near: &[u8], far: &[u8], _: usize) -> Vec<u16> {
    near.iter().zip(far).map(|(&n, &f)| 3 * u16::from(n) + u16::from(f)).collect()
}

/// Each sample twice, mixed with the neighbour on its side; `h2v1_fancy_upsample`.
fn spread(row: &[u16], out: &mut Vec<u8>, _: usize) {
    let last = row.len() - 1;
    for (x, &v) in row.iter().enumerate() {
        out.push(if x == 0 { v } else { (3 * v + row[x - 1] + 1) >> 2 } as u8);
        out.push(if x == last { v } else { (3 * v + row[x + 1] + 2) >> 2 } as u8);
    }
}

/// As [`spread`], of sums of four; `h2v2_fancy_upsample`.
fn spread_sums(row: &[u16], out: &mut Vec<u8>, _: usize) {
    let last = row.len() - 1;
    for (x, &v) in row.iter().enumerate() {
        out.push(((3 * v + row[x.saturating_sub(1)] + 8) >> 4) as u8);
        out.push(((3 * v + row[(x + 1).min(last)] + 7) >> 4) as u8);
    }
}

/// libjpeg's `ycc_rgb_convert`, with 16 bits after the point.
fn from_ycc(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    const fn fixed(value: f64) -> i32 {
        (value * 65536.0 + 0.5) as i32
    }
    let (luma, blue, red) = (i32::from(luma), i32::from(blue) - 128, i32::from(red) - 128);
    let r = luma + ((fixed(1.402) * red + HALF) >> 16);
    let g = luma + ((HALF - fixed(0.344_14) * blue - fixed(0.714_14) * red) >> 16);
    let b = luma + ((fixed(1.772) * blue + HALF) >> 16);
    [r, g, b].map(|v| v.clamp(0, 255) as u8)
}

/// Pillow's `cmyk2rgb`, of inks that are stored inverted.
fn from_ink(ink: u8, black: u8) -> u8 {
    let product = u32::from(255 - ink) * u32::from(black) + 128;
    black.saturating_sub(((product + (product >> 8)) >> 8) as u8)
}
