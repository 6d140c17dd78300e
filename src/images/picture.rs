//! A picture of 8-bit RGB, and the ways in which it can be brought to a network's size.

/// 8-bit RGB, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbPicture {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Three bytes for each pixel.
    pub rgb: Vec<u8>,
}

/// How a picture is brought to the network's size before the crop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resize {
    /// Its proportions kept, the shortest edge made to fit; what is too much is cropped.
    #[default]
    Shortest,
    /// Both edges made to fit, proportions lost.
    Squash,
    /// Not at all: cropped, or surrounded with black.
    None,
}

/// How pixels are mixed when a picture is resized. All but nearest are widened when shrinking, as Pillow does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Filter {
    /// No mixing.
    Nearest,
    /// A triangle of two pixels.
    Bilinear,
    /// A cubic over four pixels, a = -0.5.
    #[default]
    Bicubic,
    /// A windowed sinc over six pixels.
    Lanczos,
}

impl Resize {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 3] = [Self::Shortest, Self::Squash, Self::None];

    /// As on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shortest => "shortest",
            Self::Squash => "squash",
            Self::None => "none",
        }
    }
}

impl Filter {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 4] = [Self::Nearest, Self::Bilinear, Self::Bicubic, Self::Lanczos];

    /// As on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Bilinear => "bilinear",
            Self::Bicubic => "bicubic",
            Self::Lanczos => "lanczos",
        }
    }
}

impl RgbPicture {
    /// Grey in three channels, by Pillow's `convert("L")`.
    #[must_use]
    pub fn into_grey(mut self) -> Self {
        for p in self.rgb.chunks_exact_mut(3) {
            let grey = (u32::from(p[0]) * 19_595 + u32::from(p[1]) * 38_470 + u32::from(p[2]) * 7_471 + 0x8000) >> 16;
            p.fill(grey as u8);
        }
        self
    }
}
