//! A person's own pictures, as a network gets them: a folder or an array file, decoded, resized, cropped and normalised.
//!
//! What a picture becomes is what Pillow and torchvision make of it, because that is what the networks were trained on. What the
//! network makes of them is left to [`crate::measure`].

mod config;
mod decode;
mod error;
mod fit;
mod inventory;
mod jpeg;
mod labels;
mod loader;
mod noise;
mod order;
mod picture;
mod preprocess;
mod resample;
mod rows;
mod set;
mod tree;
mod words;

pub use config::Provenance;
pub use error::{ImageError, ImagesError, MAX_EDGE, PreprocessError};
pub use inventory::{Inventory, LeftOut, Reason};
pub use loader::{Loader, Prepared, Unusable};
pub use noise::NoiseKind;
pub use order::ClassOrder;
pub use picture::{Filter, Resize, RgbPicture};
pub use preprocess::{ChannelOrder, Colours, IMAGENET_MEAN, IMAGENET_STD, Preprocess};
pub use rows::ArrayRows;
pub use set::{ImageRef, ImageSet, Origin};
