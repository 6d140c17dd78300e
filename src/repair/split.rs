//! Which of a person's images calibrate, and which judge.

use crate::images::ImageSet;

/// So many images calibrate at most, where nobody says otherwise.
pub const USUAL_CALIBRATION: usize = 256;

/// There are too few images for some to calibrate and others to judge.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("{images} of {all} images would calibrate, and none be left to judge; name a folder of its own that calibrates, or take fewer")]
pub struct NotEnough {
    images: usize,
    all: usize,
}

/// The images of `set` that calibrate, and the others, which judge: so many, or a third and at most [`USUAL_CALIBRATION`], evenly spread
/// over the classes, and always the same.
///
/// # Errors
/// [`NotEnough`] where no image would be left for either.
pub fn split(set: &ImageSet, calibration: Option<usize>) -> Result<(ImageSet, ImageSet), NotEnough> {
    let calibrating = calibrating(set, calibration)?;
    Ok((set.of(&calibrating), set.of(&others(set, &calibrating))))
}

/// The numbers of the images that calibrate in a [`split`], sorted.
///
/// # Errors
/// As [`split`].
pub fn calibrating(set: &ImageSet, calibration: Option<usize>) -> Result<Vec<usize>, NotEnough> {
    let all = set.images.len();
    let images = calibration.unwrap_or(usual_calibration(all));
    if images == 0 || images >= all {
        return Err(NotEnough { images, all });
    }
    Ok(chosen(set, images))
}

/// How many of so many images calibrate, where nobody says otherwise.
#[must_use]
pub fn usual_calibration(all: usize) -> usize {
    (all / 3).clamp(1, USUAL_CALIBRATION)
}

/// The numbers of the images of `set` that are not in `calibrating`, which is sorted.
#[must_use]
pub fn others(set: &ImageSet, calibrating: &[usize]) -> Vec<usize> {
    (0..set.images.len()).filter(|i| calibrating.binary_search(i).is_err()).collect()
}

/// So many images of `set`, evenly spread over the classes, and always the same.
///
/// # Panics
/// Where there are fewer.
#[must_use]
pub fn spread(set: &ImageSet, images: usize) -> ImageSet {
    set.of(&chosen(set, images))
}

fn chosen(set: &ImageSet, images: usize) -> Vec<usize> {
    let all = set.images.len();
    // One class after another, whatever the order of the files.
    let mut by_class: Vec<usize> = (0..all).collect();
    by_class.sort_by_key(|&i| (set.images[i].class, i));
    let mut chosen: Vec<usize> = (0..images).map(|i| by_class[(i as u128 * all as u128 / images as u128) as usize]).collect();
    chosen.sort_unstable();
    chosen
}
