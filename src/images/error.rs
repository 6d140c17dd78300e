//! Why pictures, their folders and their preprocessing cannot be used, and the limits that such refusals name.

use std::path::PathBuf;

use crate::arrays::ArraysError;

/// No edge of a network's input may be longer.
pub const MAX_EDGE: usize = 8192;
/// More pixels than this are refused: Pillow calls them a decompression bomb.
pub(super) const MAX_PIXELS: u64 = 89_478_485;
/// What decoding one picture may take in memory, the file and what the decoder holds included.
pub(super) const MAX_BYTES: u64 = 1 << 29;

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
    /// Its pixels are few enough, and what its kind of file takes beside them is too much.
    #[error("decoding the picture takes {bytes} bytes of memory; the limit is {MAX_BYTES}: {}", path.display())]
    TooManyBytes {
        /// That it takes.
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

/// Why preprocessing cannot be done as it is set.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PreprocessError {
    /// No pixels, or too many.
    #[error("the size {height} × {width} is not possible: each edge has to be from 1 to {MAX_EDGE}")]
    Size {
        /// As set.
        height: usize,
        /// As set.
        width: usize,
    },
    /// Not a share.
    #[error("the crop {crop} is not possible: it has to be above 0 and at most 1")]
    Crop {
        /// As set.
        crop: f64,
    },
    /// Nothing that can divide, or that can be taken off.
    #[error("{what} {value} is not possible: {limit}")]
    Number {
        /// Which number.
        what: &'static str,
        /// As set.
        value: f32,
        /// What it has to be.
        limit: &'static str,
    },
}

/// Why a folder could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ImagesError {
    /// The folder, or something in it, could not be read.
    #[error("cannot read the images: {source}: {}", path.display())]
    Read {
        /// What the system said.
        source: std::io::Error,
        /// Which file or folder.
        path: PathBuf,
    },
    /// No pictures.
    #[error("there is no PNG, JPEG, WebP or BMP picture in this folder nor in the folders in it: {}{left_out}", path.display())]
    Empty {
        /// Which folder.
        path: PathBuf,
        /// What lies there instead; empty, or sentences behind semicolons.
        left_out: String,
    },
    /// A whole disk, or the like.
    #[error("more than {limit} files lie in this folder and the folders in it; choose one that holds the images")]
    TooMuch {
        /// How many are gone through.
        limit: usize,
    },
    /// Parts of a data set and no classes.
    #[error("this folder holds parts of a data set ({names}), and no classes; choose one of them: {}", path.display())]
    Parts {
        /// Their names.
        names: String,
        /// The folder that they are in.
        path: PathBuf,
    },
    /// Numbered classes that sort in two ways.
    #[error(
        "names of the {classes} classes have numbers, and which output each is depends on how they were sorted for the training ({orders}); say which one (on the command line: --class-order text or --class-order number), or give a labels file that lists all classes in order: {}",
        path.display()
    )]
    Order {
        /// Number of classes found.
        classes: usize,
        /// The first names, in both orders.
        orders: String,
        /// The folder.
        path: PathBuf,
    },
    /// An array file could not be read.
    #[error("cannot read the images: {source}")]
    Arrays {
        /// What is wrong with it.
        source: ArraysError,
    },
    /// An array file holds something else.
    #[error("these arrays are no pictures: {reason}: {}", path.display())]
    Array {
        /// What is wrong.
        reason: String,
        /// Which file.
        path: PathBuf,
    },
    /// The labels file cannot be used.
    #[error("the labels cannot be used: {reason}: {}", path.display())]
    Labels {
        /// What is wrong.
        reason: String,
        /// Which file.
        path: PathBuf,
    },
    /// The classes cannot be the network's.
    #[error("{classes} {} and {outputs} outputs of the network do not go together: {reason}: {}", if *classes == 1 { "class" } else { "classes" }, path.display())]
    Classes {
        /// Number of classes found.
        classes: usize,
        /// Outputs of the network.
        outputs: usize,
        /// Why, and what helps.
        reason: String,
        /// The folder.
        path: PathBuf,
    },
}
