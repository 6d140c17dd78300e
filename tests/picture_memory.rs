//! What the largest pictures take in memory. Alone in its file: the peak is that of a whole process.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use secateur::images::{ImageError, ImageSet, Preprocess, RgbPicture};

/// Just below the limit of pixels.
const EDGE: u32 = 9400;
/// What one picture may take, and what measuring it does.
const MOST: u64 = (1 << 29) + (1 << 24);

fn view(path: &Path) -> Result<RgbPicture, ImageError> {
    Preprocess::default().view(&ImageSet::open(path, None).unwrap().images[0])
}

/// What `act` takes at its peak, in bytes beyond what is taken before it; 0 where the system does not tell.
fn peak<T>(act: impl FnOnce() -> T) -> (T, u64) {
    let of = |key: &str| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("0");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    };
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let before = of("VmRSS:");
    let done = act();
    (done, of("VmHWM:").saturating_sub(before))
}

/// A progressive JPEG whose header says that it has [`EDGE`] × [`EDGE`] pixels, all colours at full size.
fn progressive(folder: &Path) -> PathBuf {
    let mut bytes = std::fs::read("tests/pictures/large_progressive.jpg").unwrap();
    let frame = bytes.windows(2).position(|marker| marker == [0xFF, 0xC2]).unwrap();
    let edge = (EDGE as u16).to_be_bytes();
    bytes[frame + 5..frame + 9].copy_from_slice(&[edge, edge].concat());
    for component in 0..3 {
        bytes[frame + 11 + component * 3] = 0x11;
    }
    let path = folder.join("progressive.jpg");
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_large_picture_stays_within_the_limit_or_is_refused_before_it_is_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.jpg");
    let row: Vec<u8> = (0..EDGE).flat_map(|x| [(x / 40) as u8, 100, 200]).collect();
    let pixels = row.repeat(EDGE as usize);
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    JpegEncoder::new_with_quality(&mut file, 75).encode(&pixels, EDGE, EDGE, image::ExtendedColorType::Rgb8).unwrap();
    drop((file, pixels));
    let (picture, bytes) = peak(|| view(&path).unwrap());
    assert!(bytes <= MOST, "{bytes} bytes");
    let colour = &picture.rgb[..3];
    assert!(colour[0].abs_diff(14) < 3 && colour[1].abs_diff(100) < 3 && colour[2].abs_diff(200) < 3, "{colour:?}");

    let (refused, bytes) = peak(|| view(&progressive(folder.path())).unwrap_err());
    // Two bytes of each coefficient and a byte of each sample, and the file.
    assert!(matches!(refused, ImageError::TooManyBytes { bytes, .. } if bytes > 3 * 3 * u64::from(EDGE) * u64::from(EDGE)), "{refused}");
    assert!(refused.to_string().contains("the limit is 536870912"), "{refused}");
    assert!(bytes < 1 << 24, "{bytes} bytes");
}
