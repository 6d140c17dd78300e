//! A person's own pictures, as a network gets them: a folder or an array file, decoded, resized, cropped and normalised.
//!
//! What a picture becomes is what Pillow and torchvision make of it, because that is what the networks were trained on. What the
//! network makes of them is left to [`crate::measure`].

mod config;
mod decode;
mod jpeg;
mod labels;
mod loader;
mod picture;
mod preprocess;
mod resample;
mod rows;
mod set;
mod words;

pub use config::Provenance;
pub use decode::ImageError;
pub use loader::{Batch, Broken, Loader};
pub use picture::{Filter, Picture, Resize};
pub use preprocess::{Channels, IMAGENET_MEAN, IMAGENET_STD, Layout, MAX_EDGE, Preprocess, PreprocessError};
pub use rows::Rows;
pub use set::{ImageRef, ImageSet, ImagesError, Source};
