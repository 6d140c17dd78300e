//! Pictures as rows of an array: bytes are pictures, floats are taken as preprocessed already.

use std::path::{Path, PathBuf};

use super::error::ImagesError;
use super::noise::NoiseKind;
use super::picture::RgbPicture;
use crate::arrays;
use crate::network::{Array, ArrayData};
use crate::onnx::Dtype;

/// Pictures of one size, row by row of an array file.
#[derive(Debug, Clone, PartialEq)]
pub struct ArrayRows {
    /// The file; empty where there is none.
    pub path: PathBuf,
    /// How many.
    pub count: usize,
    /// Numbers of one row.
    length: usize,
    data: RowData,
}

#[derive(Debug, Clone, PartialEq)]
enum RowData {
    /// 8-bit pictures.
    Bytes { height: usize, width: usize, channels: usize, is_channels_first: bool, bytes: Vec<u8> },
    /// The network's numbers.
    Floats(Vec<f32>),
}

/// Names under which an archive holds labels.
const LABELS: [&str; 6] = ["labels", "label", "y", "targets", "y_test", "test_labels"];
/// Names under which an archive holds pictures, where there are several arrays.
const PICTURES: [&str; 6] = ["images", "x", "data", "pixels", "x_test", "test_images"];

/// Reads pictures, and the classes that an archive holds beside them.
pub(super) fn read(path: &Path) -> Result<(ArrayRows, Option<Vec<usize>>), ImagesError> {
    let bad = |reason: String| ImagesError::Array { reason, path: path.to_owned() };
    let mut arrays = arrays::read(path).map_err(|source| ImagesError::Arrays { source })?;
    let named = |arrays: &[(String, Array)], names: &[&str]| {
        names.iter().find_map(|n| arrays.iter().position(|(name, _)| name.eq_ignore_ascii_case(n)))
    };
    let labels = named(&arrays, &LABELS).map(|i| arrays.swap_remove(i));
    let pictures = match arrays.len() {
        1 => 0,
        _ => named(&arrays, &PICTURES).ok_or_else(|| bad(format!("of its arrays, none is named {}", PICTURES.join(" or "))))?,
    };
    let (name, array) = arrays.swap_remove(pictures);
    let rows = ArrayRows::of(path, array).map_err(|reason| bad(format!("{}{reason}", prefix(&name))))?;
    let labels = labels.map(|(name, array)| classes(&array, rows.count).map_err(|reason| bad(format!("{}{reason}", prefix(&name)))));
    Ok((rows, labels.transpose()?))
}

fn prefix(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!("“{name}”: ") }
}

fn classes(array: &Array, count: usize) -> Result<Vec<usize>, String> {
    let numbers = array.as_i64().ok_or("labels have to be whole numbers")?;
    if numbers.len() != count {
        return Err(format!("{} labels for {count} pictures", numbers.len()));
    }
    let class = |&n: &i64| usize::try_from(n).ok().filter(|&c| c < super::labels::MAX_CLASSES).ok_or_else(|| format!("{n} is no class"));
    numbers.iter().map(class).collect()
}

impl ArrayRows {
    fn of(path: &Path, array: Array) -> Result<Self, String> {
        let shape = array.shape.clone();
        if shape.contains(&0) {
            return Err(format!("its shape is {shape:?}: there is nothing in it"));
        }
        let refused = || {
            format!(
                "its shape is {shape:?} and its type {}: bytes of [rows, height, width, 1, 3 or 4 channels] are pictures, floats of [rows, channels, height, width] are preprocessed ones",
                array.dtype
            )
        };
        let colours = |d: usize| matches!(d, 1 | 3 | 4);
        match array.data {
            ArrayData::I64(values) if array.dtype == Dtype::U8 => {
                let (count, height, width, channels, is_channels_first) = match *shape.as_slice() {
                    [h, w] => (1, h, w, 1, false),
                    [h, w, c] if matches!(c, 3 | 4) => (1, h, w, c, false),
                    [n, h, w] => (n, h, w, 1, false),
                    [n, h, w, c] if colours(c) => (n, h, w, c, false),
                    [n, c, h, w] if colours(c) => (n, h, w, c, true),
                    _ => return Err(refused()),
                };
                if u32::try_from(height).is_err() || u32::try_from(width).is_err() {
                    return Err(refused());
                }
                let bytes = values.iter().map(|&v| v as u8).collect();
                let data = RowData::Bytes { height, width, channels, is_channels_first, bytes };
                Ok(Self { path: path.to_owned(), count, length: height * width * channels, data })
            }
            ArrayData::F32(values) => {
                let count = match shape.len() {
                    3 => 1,
                    4 => shape[0],
                    _ => return Err(refused()),
                };
                let length = values.len().checked_div(count).unwrap_or(0);
                Ok(Self { path: path.to_owned(), count, length, data: RowData::Floats(values) })
            }
            _ => Err(refused()),
        }
    }

    /// Pictures of noise.
    pub(super) fn noise(kind: NoiseKind, size: [usize; 2], count: usize, seed: u64) -> Self {
        let [height, width] = size;
        let data = RowData::Bytes { height, width, channels: 3, is_channels_first: false, bytes: kind.pictures(size, count, seed) };
        Self { path: PathBuf::new(), count, length: height * width * 3, data }
    }

    /// The network's numbers of a row, where the file holds such.
    #[must_use]
    pub fn numbers(&self, index: usize) -> Option<&[f32]> {
        match &self.data {
            RowData::Floats(values) => values.get(index * self.length..(index + 1) * self.length),
            RowData::Bytes { .. } => None,
        }
    }

    /// The picture of a row, where the file holds such.
    #[must_use]
    pub fn picture(&self, index: usize) -> Option<RgbPicture> {
        let RowData::Bytes { height, width, channels, is_channels_first, bytes } = &self.data else { return None };
        let row = bytes.get(index * self.length..(index + 1) * self.length)?;
        let pixels = height * width;
        // Grey stands for all three colours, transparency is dropped.
        let colour = |c: usize| if *channels == 1 { 0 } else { c };
        let byte =
            |pixel: usize, c: usize| if *is_channels_first { row[colour(c) * pixels + pixel] } else { row[pixel * channels + colour(c)] };
        let rgb = (0..pixels).flat_map(|p| [byte(p, 0), byte(p, 1), byte(p, 2)]).collect();
        Some(RgbPicture { width: *width as u32, height: *height as u32, rgb })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(shape: &[usize]) -> Array {
        let data = (0..shape.iter().product::<usize>() as i64).collect();
        Array { shape: shape.to_vec(), dtype: Dtype::U8, data: ArrayData::I64(data) }
    }

    #[test]
    fn bytes_are_pictures_in_both_layouts() {
        let last = ArrayRows::of(Path::new("x"), bytes(&[2, 1, 2, 3])).unwrap();
        assert_eq!(last.picture(1).unwrap(), RgbPicture { width: 2, height: 1, rgb: vec![6, 7, 8, 9, 10, 11] });
        let first = ArrayRows::of(Path::new("x"), bytes(&[1, 3, 1, 2])).unwrap();
        assert_eq!(first.picture(0).unwrap().rgb, [0, 2, 4, 1, 3, 5]);
        let grey = ArrayRows::of(Path::new("x"), bytes(&[2, 1, 2])).unwrap();
        assert_eq!((grey.count, grey.picture(1).unwrap().rgb), (2, vec![2, 2, 2, 3, 3, 3]));
        assert!(grey.picture(2).is_none() && grey.numbers(0).is_none());
    }

    #[test]
    fn floats_are_numbers() {
        let rows = ArrayRows::of(Path::new("x"), Array::f32([2, 1, 1, 2], vec![1.0, 2.0, 3.0, 4.0])).unwrap();
        assert_eq!(rows.numbers(1), Some(&[3.0, 4.0][..]));
        assert!(ArrayRows::of(Path::new("x"), Array::f32([2, 2], vec![0.0; 4])).is_err());
        assert!(ArrayRows::of(Path::new("x"), Array::i64([1, 1, 1, 3], vec![0; 3])).is_err());
        for shape in [[0, 1 << 31, 1 << 31, 3], [0, 3, 224, 224], [4, 3, 0, 224]] {
            for array in [bytes(&shape), Array::f32(shape, Vec::new())] {
                assert!(ArrayRows::of(Path::new("x"), array).unwrap_err().contains("nothing in it"), "{shape:?}");
            }
        }
        assert!(classes(&Array::i64([2], vec![1, -1]), 2).is_err() && classes(&Array::i64([2], vec![1, 0]), 3).is_err());
    }
}
