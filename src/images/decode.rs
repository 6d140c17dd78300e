//! Files become pictures of 8-bit RGB, as Pillow's `Image.open(path).convert("RGB")` makes them.
//!
//! EXIF orientation and colour profiles are left alone and transparency is dropped, as Pillow does. Pillow also cuts 16-bit grey
//! off at 255, and takes the high byte of 16-bit colour.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageReader, Limits};

use super::jpeg;
use super::picture::Picture;
use super::preprocess::PreprocessError;
use crate::panics;

/// More pixels than this are refused: Pillow calls them a decompression bomb.
pub(super) const MAX_PIXELS: u64 = 89_478_485;
/// No picture within [`MAX_PIXELS`] needs a larger file.
const MAX_FILE_BYTES: u64 = 1 << 29;
/// What a decoder may allocate: [`MAX_PIXELS`] of four 8-bit channels, and some.
const MAX_ALLOCATION_BYTES: u64 = 1 << 29;

/// Why one picture could not be used. The others are not touched by it.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The file could not be read.
    #[error("cannot read the picture: {source}: {}", path.display())]
    Read {
        /// What the system said.
        source: std::io::Error,
        /// Which file.
        path: PathBuf,
    },
    /// The bytes are not a whole picture of a known kind.
    #[error("this is not a whole PNG, JPEG, WebP or BMP picture ({reason}): {}", path.display())]
    Decode {
        /// What the decoder said.
        reason: String,
        /// Which file.
        path: PathBuf,
    },
    /// It would need too much memory.
    #[error("the picture has {width} × {height} pixels; the limit is {MAX_PIXELS} in all: {}", path.display())]
    TooManyPixels {
        /// Of the picture.
        width: u32,
        /// Of the picture.
        height: u32,
        /// Which file.
        path: PathBuf,
    },
    /// The file is larger than any picture within the limits.
    #[error("the file has {bytes} bytes; the limit for a picture is {MAX_FILE_BYTES}: {}", path.display())]
    TooManyBytes {
        /// Of the file.
        bytes: u64,
        /// Which file.
        path: PathBuf,
    },
    /// So narrow that it would become too large when its short edge is brought to the network's size.
    #[error("{width} × {height} pixels would become {resized_width} × {resized_height} when resized, more than {MAX_PIXELS} in all")]
    TooNarrow {
        /// Of the picture.
        width: u32,
        /// Of the picture.
        height: u32,
        /// After resizing.
        resized_width: u64,
        /// After resizing.
        resized_height: u64,
    },
    /// Preprocessed numbers whose count is not that of the network's input.
    #[error("the row holds {found} preprocessed numbers, the network takes {expected}")]
    Row {
        /// In the row.
        found: usize,
        /// Of the input.
        expected: usize,
    },
    /// Not in the array.
    #[error("there is no row {index} among {count}")]
    NoRow {
        /// As asked for.
        index: usize,
        /// Rows in the file.
        count: usize,
    },
    /// The settings are at fault, not the picture.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
}

/// Decodes the file at `path`.
pub(super) fn decode(path: &Path) -> Result<Picture, ImageError> {
    let read = |source| ImageError::Read { source, path: path.to_owned() };
    let refused = |reason: String| ImageError::Decode { reason, path: path.to_owned() };
    let file = File::open(path).map_err(read)?;
    let metadata = file.metadata().map_err(read)?;
    if metadata.is_dir() {
        return Err(read(std::io::ErrorKind::IsADirectory.into()));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(ImageError::TooManyBytes { bytes: metadata.len(), path: path.to_owned() });
    }
    let mut file = BufReader::new(file);
    if file.fill_buf().map_err(read)?.starts_with(&[0xFF, 0xD8]) {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(read)?;
        if let Some(picture) = panics::caught(|| jpeg::decode(&bytes, MAX_PIXELS)).ok().flatten() {
            return Ok(picture);
        }
        file.rewind().map_err(read)?;
    }
    let mut reader = ImageReader::new(file).with_guessed_format().map_err(read)?;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_ALLOCATION_BYTES);
    reader.limits(limits);
    // Decoders are other people's code on untrusted bytes.
    let decoded = panics::caught(|| {
        let decoder = reader.into_decoder().map_err(|e| refused(e.to_string()))?;
        let (width, height) = decoder.dimensions();
        if u64::from(width) * u64::from(height) > MAX_PIXELS {
            return Err(ImageError::TooManyPixels { width, height, path: path.to_owned() });
        }
        let is_grey_16 = decoder.original_color_type() == ExtendedColorType::L16;
        let image = DynamicImage::from_decoder(decoder).map_err(|e| refused(e.to_string()))?;
        Ok(to_rgb(&image, is_grey_16))
    });
    let picture = decoded.unwrap_or_else(|panic| Err(refused(panic)))?;
    if picture.width == 0 || picture.height == 0 {
        return Err(refused("it has no pixels".to_owned()));
    }
    Ok(picture)
}

fn to_rgb(image: &DynamicImage, is_grey_16: bool) -> Picture {
    let clipped = |v: u16| v.min(255) as u8;
    let high = |v: u16| (v >> 8) as u8;
    let grey = |v: u8| [v; 3];
    let rgb: Vec<u8> = match image {
        DynamicImage::ImageLuma8(p) => p.pixels().flat_map(|p| grey(p.0[0])).collect(),
        DynamicImage::ImageLumaA8(p) => p.pixels().flat_map(|p| grey(p.0[0])).collect(),
        DynamicImage::ImageRgb8(p) => p.as_raw().clone(),
        DynamicImage::ImageRgba8(p) => p.pixels().flat_map(|p| [p.0[0], p.0[1], p.0[2]]).collect(),
        DynamicImage::ImageLuma16(p) => p.pixels().flat_map(|p| grey(clipped(p.0[0]))).collect(),
        // Grey with one transparent value is decoded to grey with alpha; Pillow keeps it grey.
        DynamicImage::ImageLumaA16(p) if is_grey_16 => p.pixels().flat_map(|p| grey(clipped(p.0[0]))).collect(),
        DynamicImage::ImageLumaA16(p) => p.pixels().flat_map(|p| grey(high(p.0[0]))).collect(),
        DynamicImage::ImageRgb16(p) => p.pixels().flat_map(|p| p.0.map(high)).collect(),
        DynamicImage::ImageRgba16(p) => p.pixels().flat_map(|p| [p.0[0], p.0[1], p.0[2]].map(high)).collect(),
        other => other.to_rgb8().into_raw(),
    };
    Picture { width: image.width(), height: image.height(), rgb }
}
