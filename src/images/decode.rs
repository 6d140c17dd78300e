//! Files become pictures of 8-bit RGB, as Pillow's `Image.open(path).convert("RGB")` makes them, by the decoders of `image`.
//!
//! EXIF orientation and colour profiles are left alone and transparency is dropped, as Pillow does. Pillow also cuts 16-bit grey
//! off at 255, and takes the high byte of 16-bit colour. Only of JPEG the standard leaves the last bits open: there samples are
//! up to 3 grey levels from libjpeg-turbo's, and more, rarely, where colours are subsampled.
//!
//! A file that ends early is refused, as Pillow refuses it, and what decoding takes is worked out before it begins.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Seek};
use std::path::Path;

use image::{ColorType, DynamicImage, ExtendedColorType, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::error::{ImageError, MAX_BYTES, MAX_PIXELS};
use super::jpeg;
use super::picture::RgbPicture;
use crate::panics;

/// Bytes of a pixel of [`RgbPicture`].
const RGB_BYTES: u64 = 3;

/// Decodes the file at `path`.
pub(super) fn decode(path: &Path) -> Result<RgbPicture, ImageError> {
    let read = |source| ImageError::Read { source, path: path.to_owned() };
    let refused = |reason: String| ImageError::Decode { reason, path: path.to_owned() };
    let file = File::open(path).map_err(read)?;
    let metadata = file.metadata().map_err(read)?;
    if metadata.is_dir() {
        return Err(read(ErrorKind::IsADirectory.into()));
    }
    let too_many = |bytes| ImageError::TooManyBytes { bytes, path: path.to_owned() };
    if metadata.len() > MAX_BYTES {
        return Err(too_many(metadata.len()));
    }
    let mut file = BufReader::new(file);
    let format = image::guess_format(file.fill_buf().map_err(read)?).map_err(|e| refused(e.to_string()))?;
    let held = DecoderMemory::of(format, &mut file, metadata.len()).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => refused("it ends too early".to_owned()),
        _ => read(error),
    })?;
    file.rewind().map_err(read)?;
    let mut reader = ImageReader::with_format(file, format);
    // What is worked out below is more than what this counts; it stands in for what a header hides.
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    // Decoders are other people's code on untrusted bytes.
    let decoded = panics::caught(|| {
        let decoder = reader.into_decoder().map_err(|e| refused(e.to_string()))?;
        let (width, height) = decoder.dimensions();
        let pixels = u64::from(width) * u64::from(height);
        if pixels > MAX_PIXELS {
            return Err(ImageError::TooManyPixels { width, height, path: path.to_owned() });
        }
        let converted = if decoder.color_type() == ColorType::Rgb8 { 0 } else { pixels * RGB_BYTES };
        let bytes = decoder.total_bytes().saturating_add(converted).saturating_add(held.bytes(pixels));
        if bytes > MAX_BYTES {
            return Err(too_many(bytes));
        }
        let is_grey_16 = decoder.original_color_type() == ExtendedColorType::L16;
        let image = DynamicImage::from_decoder(decoder).map_err(|e| refused(e.to_string()))?;
        Ok(to_rgb(image, is_grey_16))
    });
    let picture = decoded.unwrap_or_else(|panic| Err(refused(panic)))?;
    if picture.width == 0 || picture.height == 0 {
        return Err(refused("it has no pixels".to_owned()));
    }
    Ok(picture)
}

/// What a decoder holds beside the pixels that it hands out; `image` leaves it out of its limits.
#[derive(Debug, Clone, Copy, Default)]
struct DecoderMemory {
    fixed: u64,
    per_pixel: u64,
}

impl DecoderMemory {
    /// Looks at the file's frame. [`ErrorKind::UnexpectedEof`] where that says that the file is cut off.
    fn of(format: ImageFormat, file: &mut BufReader<File>, length: u64) -> std::io::Result<Self> {
        match format {
            ImageFormat::Jpeg => Ok(Self { fixed: length + jpeg::survey(file)?.coefficient_bytes, per_pixel: 0 }),
            ImageFormat::WebP => {
                let head = file.fill_buf()?;
                // The length behind the first four bytes counts what follows it.
                let Some(Ok(size)) = head.get(4..8).map(<[u8; 4]>::try_from) else { return Err(ErrorKind::UnexpectedEof.into()) };
                if u64::from(u32::from_le_bytes(size)) + 8 > length {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                // Four bytes of colour and transparency; where there are frames, of a frame and of what they are laid on.
                let is_animated = head.get(12..16) == Some(b"VP8X") && head.get(20).is_some_and(|flags| flags & 2 != 0);
                Ok(Self { fixed: length, per_pixel: if is_animated { 8 } else { 4 } })
            }
            _ => Ok(Self::default()),
        }
    }

    fn bytes(self, pixels: u64) -> u64 {
        self.fixed + self.per_pixel * pixels
    }
}

fn to_rgb(image: DynamicImage, is_grey_16: bool) -> RgbPicture {
    let (width, height) = (image.width(), image.height());
    let clipped = |v: u16| v.min(255) as u8;
    let high = |v: u16| (v >> 8) as u8;
    let grey = |v: u8| [v; 3];
    let rgb: Vec<u8> = match image {
        DynamicImage::ImageLuma8(p) => p.pixels().flat_map(|p| grey(p.0[0])).collect(),
        DynamicImage::ImageLumaA8(p) => p.pixels().flat_map(|p| grey(p.0[0])).collect(),
        DynamicImage::ImageRgb8(p) => p.into_raw(),
        DynamicImage::ImageRgba8(p) => p.pixels().flat_map(|p| [p.0[0], p.0[1], p.0[2]]).collect(),
        DynamicImage::ImageLuma16(p) => p.pixels().flat_map(|p| grey(clipped(p.0[0]))).collect(),
        // Grey with one transparent value is decoded to grey with alpha; Pillow keeps it grey.
        DynamicImage::ImageLumaA16(p) if is_grey_16 => p.pixels().flat_map(|p| grey(clipped(p.0[0]))).collect(),
        DynamicImage::ImageLumaA16(p) => p.pixels().flat_map(|p| grey(high(p.0[0]))).collect(),
        DynamicImage::ImageRgb16(p) => p.pixels().flat_map(|p| p.0.map(high)).collect(),
        DynamicImage::ImageRgba16(p) => p.pixels().flat_map(|p| [p.0[0], p.0[1], p.0[2]].map(high)).collect(),
        other => other.to_rgb8().into_raw(),
    };
    RgbPicture { width, height, rgb }
}
