//! What is done to a picture before the network gets it, and the numbers that come of it.

use super::decode;
use super::error::{ImageError, MAX_EDGE, PreprocessError};
use super::picture::{Filter, Resize, RgbPicture};
use super::set::{ImageRef, Origin};

/// Mean of ImageNet's red, green and blue, from 0 to 1.
pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Deviation of ImageNet's red, green and blue.
pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// Which of a picture's colours a network gets, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Colours {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// The grey value three times.
    GreyInThree,
    /// The grey value, one channel.
    Grey,
}

/// Order of a network's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChannelOrder {
    /// Channels, rows, columns.
    #[default]
    Nchw,
    /// Rows, columns, channels.
    Nhwc,
}

/// How pictures become a network's input: resize, crop, channels, `(v / divisor - mean) / std`, layout.
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocess {
    /// Height and width of the network's input.
    pub size: [usize; 2],
    /// Share of the resized picture's edge that the crop keeps, in 0..=1 and not 0: timm's `crop_pct`.
    pub crop: f64,
    /// What keeps, or loses, the proportions.
    pub resize: Resize,
    /// How pixels are mixed.
    pub filter: Filter,
    /// 255 to have values from 0 to 1 before `mean` and `std`; 1 to leave them from 0 to 255.
    pub divisor: f64,
    /// Taken off, in the order of the network's channels; of one channel the first counts.
    pub mean: [f32; 3],
    /// Divides, in the order of the network's channels.
    pub std: [f32; 3],
    /// Colours.
    pub channels: Colours,
    /// Order of the numbers.
    pub layout: ChannelOrder,
}

impl Default for Preprocess {
    /// What timm does for ImageNet at 224 × 224.
    fn default() -> Self {
        Self {
            size: [224, 224],
            crop: 0.875,
            resize: Resize::Shortest,
            filter: Filter::Bicubic,
            divisor: 255.0,
            mean: IMAGENET_MEAN,
            std: IMAGENET_STD,
            channels: Colours::Rgb,
            layout: ChannelOrder::Nchw,
        }
    }
}

impl Colours {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 4] = [Self::Rgb, Self::Bgr, Self::GreyInThree, Self::Grey];

    /// As on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rgb => "rgb",
            Self::Bgr => "bgr",
            Self::GreyInThree => "grey3",
            Self::Grey => "grey",
        }
    }

    /// How many.
    #[must_use]
    pub const fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            _ => 3,
        }
    }

    /// Which byte of a pixel the network's channel number `channel` is.
    const fn byte(self, channel: usize) -> usize {
        match self {
            Self::Bgr => 2 - channel,
            _ => channel,
        }
    }
}

impl ChannelOrder {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 2] = [Self::Nchw, Self::Nhwc];

    /// As on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nchw => "nchw",
            Self::Nhwc => "nhwc",
        }
    }
}

impl Preprocess {
    /// Whether every number is one that can be calculated with.
    ///
    /// # Errors
    /// [`PreprocessError`]
    pub fn check(&self) -> Result<(), PreprocessError> {
        let [height, width] = self.size;
        if ![height, width].iter().all(|edge| (1..=MAX_EDGE).contains(edge)) {
            return Err(PreprocessError::Size { height, width });
        }
        if !(self.crop > 0.0 && self.crop <= 1.0) {
            return Err(PreprocessError::Crop { crop: self.crop });
        }
        let divides = |v: f32| v.is_normal() && v > 0.0;
        let number = |what, value, limit| Err(PreprocessError::Number { what, value, limit });
        if !divides(self.divisor as f32) {
            return number("the divisor", self.divisor as f32, "it has to be above 0");
        }
        if let Some(&std) = self.std.iter().find(|v| !divides(**v)) {
            return number("the deviation", std, "it has to be above 0");
        }
        match self.mean.iter().find(|v| !v.is_finite()) {
            Some(&mean) => number("the mean", mean, "it has to be a number"),
            None => Ok(()),
        }
    }

    /// Shape of one picture's numbers, without the batch.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        let [height, width] = self.size;
        match self.layout {
            ChannelOrder::Nchw => [self.channels.count(), height, width],
            ChannelOrder::Nhwc => [height, width, self.channels.count()],
        }
    }

    /// One picture as the network sees it, before `mean` and `std`: resized, cropped, grey where it gets grey. Red stays red for a
    /// network that gets blue first. Rows that are preprocessed already are turned back.
    ///
    /// # Errors
    /// [`ImageError`]
    pub fn view(&self, image: &ImageRef) -> Result<RgbPicture, ImageError> {
        self.check()?;
        let picture = match &image.source {
            Origin::File(path) => decode::decode(path)?,
            Origin::Row { rows, index } => match rows.numbers(*index) {
                Some(numbers) => return Ok(self.turned_back(self.fitting(numbers)?)),
                None => rows.picture(*index).ok_or(ImageError::NoRow { index: *index, count: rows.count })?,
            },
        };
        let picture = match self.channels {
            Colours::Grey | Colours::GreyInThree => picture.into_grey(),
            Colours::Rgb | Colours::Bgr => picture,
        };
        picture.fitted(self.size, self.crop, self.resize, self.filter)
    }

    /// The network's numbers for one picture, of [`Preprocess::shape`].
    ///
    /// # Errors
    /// [`ImageError`]
    pub fn apply(&self, image: &ImageRef) -> Result<Vec<f32>, ImageError> {
        if let Origin::Row { rows, index } = &image.source
            && let Some(numbers) = rows.numbers(*index)
        {
            return self.fitting(numbers).map(<[f32]>::to_vec);
        }
        Ok(self.numbers(&self.view(image)?))
    }

    /// Preprocessed numbers, where they are as many as the network takes.
    fn fitting<'a>(&self, numbers: &'a [f32]) -> Result<&'a [f32], ImageError> {
        let expected = self.shape().iter().product();
        if numbers.len() == expected { Ok(numbers) } else { Err(ImageError::Row { found: numbers.len(), expected }) }
    }

    /// The picture that preprocessed numbers came from, as near as 8 bits allow.
    fn turned_back(&self, numbers: &[f32]) -> RgbPicture {
        let [height, width] = self.size;
        let count = self.channels.count();
        let byte = |pixel: usize, colour: usize| {
            let channel = if count == 1 { 0 } else { self.channels.byte(colour) };
            let number = match self.layout {
                ChannelOrder::Nchw => numbers[channel * height * width + pixel],
                ChannelOrder::Nhwc => numbers[pixel * count + channel],
            };
            // `as` keeps within 0..=255 and makes 0 of NaN.
            (f64::from(number * self.std[channel] + self.mean[channel]) * self.divisor).round() as u8
        };
        let rgb = (0..height * width).flat_map(|p| [byte(p, 0), byte(p, 1), byte(p, 2)]).collect();
        RgbPicture { width: width as u32, height: height as u32, rgb }
    }

    /// `(v / divisor - mean) / std`, in the order of torchvision's `ToTensor` and `Normalize`: the quotient, which Hugging Face's
    /// processors work out in float64, rounded to float32, and what follows in float32.
    fn numbers(&self, picture: &RgbPicture) -> Vec<f32> {
        let count = self.channels.count();
        let value = |channel: usize, v: u8| ((f64::from(v) / self.divisor) as f32 - self.mean[channel]) / self.std[channel];
        let tables: Vec<[f32; 256]> = (0..count).map(|c| std::array::from_fn(|v| value(c, v as u8))).collect();
        let pixels = || picture.rgb.chunks_exact(3);
        let number = |pixel: &[u8], c: usize| tables[c][usize::from(pixel[self.channels.byte(c)])];
        match self.layout {
            ChannelOrder::Nchw => (0..count).flat_map(|c| pixels().map(move |p| number(p, c))).collect(),
            ChannelOrder::Nhwc => pixels().flat_map(|p| (0..count).map(move |c| number(p, c))).collect(),
        }
    }
}
