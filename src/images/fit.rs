//! Pictures brought to a network's size: resized and cropped as Pillow and torchvision do.

use super::error::{ImageError, MAX_PIXELS};
use super::picture::{Filter, Resize, RgbPicture};
use super::resample::{Edge, resample};

impl RgbPicture {
    /// What is left after resizing for `size` (height, width), of which the crop keeps the fraction `crop`, and cropping to it by
    /// torchvision's `center_crop`; black where the picture ends.
    pub(super) fn fitted(self, size: [usize; 2], crop: f64, resize: Resize, filter: Filter) -> Result<Self, ImageError> {
        let [resized_height, resized_width] = resized(size, crop, resize, self.width, self.height);
        if resized_width.saturating_mul(resized_height) > MAX_PIXELS {
            return Err(self.too_narrow(resized_width, resized_height));
        }
        let [height, width] = size;
        let (left, columns) = middle(resized_width as usize, width);
        let (top, rows) = middle(resized_height as usize, height);
        let part = resample(&self, &columns, &rows, filter);
        if (columns.part.len(), rows.part.len()) == (width, height) {
            return Ok(part);
        }
        let mut rgb = vec![0; width * height * 3];
        let row = columns.part.len() * 3;
        for (source, target) in part.rgb.chunks_exact(row).zip(rgb.chunks_exact_mut(width * 3).skip(top)) {
            target[left * 3..left * 3 + row].copy_from_slice(source);
        }
        Ok(Self { width: width as u32, height: height as u32, rgb })
    }

    fn too_narrow(&self, resized_width: u64, resized_height: u64) -> ImageError {
        ImageError::TooNarrow { width: self.width, height: self.height, resized_width, resized_height }
    }
}

/// Along one edge: what is left free before, and which part is taken of it.
fn middle(have: usize, want: usize) -> (usize, Edge) {
    if have < want {
        return ((want - have) / 2, Edge { length: have, part: 0..have });
    }
    // Python's `round`: halves to even.
    let from = ((have - want) as f64 / 2.0).round_ties_even() as usize;
    (0, Edge { length: have, part: from..from + want })
}

/// Height and width before the crop, as timm's `transforms_imagenet_eval` and torchvision's `Resize` choose them.
fn resized([height, width]: [usize; 2], crop: f64, resize: Resize, have_width: u32, have_height: u32) -> [u64; 2] {
    let (have_width, have_height) = (f64::from(have_width), f64::from(have_height));
    let [target_height, target_width] = [height, width].map(|edge| (edge as f64 / crop).floor().max(1.0));
    let new = match resize {
        Resize::None => [have_height, have_width],
        Resize::Squash => [target_height, target_width],
        Resize::Shortest if target_height == target_width => {
            let (short, long) = (have_width.min(have_height), have_width.max(have_height));
            let new_long = (target_height * long / short).trunc();
            if have_width <= have_height { [new_long, target_height] } else { [target_height, new_long] }
        }
        Resize::Shortest => {
            let ratio = (have_height / target_height).min(have_width / target_width);
            [(have_height / ratio).round_ties_even(), (have_width / ratio).round_ties_even()]
        }
    };
    new.map(|edge| edge.max(1.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_before_the_crop_are_those_of_timm() {
        // timm: floor(224 / 0.875) = 256, floor(224 / 0.95) = 235; torchvision cuts the long edge off, not round.
        assert_eq!(resized([224, 224], 0.875, Resize::Shortest, 500, 333), [256, 384]);
        assert_eq!(resized([224, 224], 0.95, Resize::Shortest, 333, 500), [352, 235]);
        assert_eq!(resized([224, 224], 0.95, Resize::Squash, 333, 500), [235, 235]);
        assert_eq!(resized([224, 224], 0.95, Resize::None, 333, 500), [500, 333]);
        // Not square: the edge that has less to give fits, the other is rounded.
        assert_eq!(resized([64, 128], 1.0, Resize::Shortest, 333, 500), [192, 128]);
    }

    #[test]
    fn the_crop_rounds_halves_to_even() {
        let of = |have, want| {
            let (free, edge) = middle(have, want);
            (free, edge.part)
        };
        assert_eq!(of(5, 4), (0, 0..4));
        assert_eq!(of(7, 4), (0, 2..6));
        assert_eq!(of(3, 4), (0, 0..3));
        assert_eq!(of(1, 4), (1, 0..1));
    }

    #[test]
    fn a_thread_of_pixels_is_refused_before_it_becomes_a_blanket() {
        let thread = RgbPicture { width: 65_535, height: 1, rgb: vec![0; 65_535 * 3] };
        let error = thread.fitted([224, 224], 0.875, Resize::Shortest, Filter::Bicubic).unwrap_err();
        assert!(matches!(error, ImageError::TooNarrow { resized_width: 16_776_960, resized_height: 256, .. }), "{error}");
    }
}
