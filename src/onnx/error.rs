//! Why a file could not be opened, or read later.

use std::path::PathBuf;

/// Why a file could not be opened. Nothing that was open before is touched.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file, or one that it refers to, could not be read.
    #[error("cannot read the file: {source}: {}", path.display())]
    Read {
        /// What the system said.
        source: std::io::Error,
        /// Which file.
        path: PathBuf,
    },
    /// Too large to be a protobuf message.
    #[error("the file is larger than 2 GiB, the most an ONNX file can be; larger weights belong into an external data file: {}", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// The bytes are not an ONNX model.
    #[error("this is not a whole ONNX file ({reason}); if it was copied or downloaded, fetch it again: {}", path.display())]
    NotOnnx {
        /// What is wrong with the bytes.
        reason: String,
        /// Which file.
        path: PathBuf,
    },
    /// A tensor's data and its shape disagree.
    #[error("the tensor “{tensor}” is damaged: {reason}: {}", path.display())]
    BadTensor {
        /// Name of the tensor.
        tensor: String,
        /// What disagrees.
        reason: String,
        /// Which file.
        path: PathBuf,
    },
    /// The file with the weights is not beside the model.
    #[error("the weights of this model lie in “{location}”, which is not beside it; put both files into one folder: {}", path.display())]
    ExternalMissing {
        /// The name that the model gives.
        location: String,
        /// The model file.
        path: PathBuf,
    },
    /// The model points outside its own folder.
    #[error("the model refers to “{location}”, outside its own folder; such a file is not opened: {}", path.display())]
    ExternalEscapes {
        /// The name that the model gives.
        location: String,
        /// The model file.
        path: PathBuf,
    },
    /// The external file is shorter than the model says.
    #[error("the tensor “{tensor}” should lie in bytes {offset} to {end} of “{location}”, which has only {length}; fetch that file again: {}", path.display())]
    ExternalTruncated {
        /// Name of the tensor.
        tensor: String,
        /// The name of the data file.
        location: String,
        /// First byte.
        offset: u64,
        /// One past the last byte.
        end: u64,
        /// Length of the data file in bytes.
        length: u64,
        /// The model file.
        path: PathBuf,
    },
    /// Somebody wrote to the model or to a data file while the model was open.
    #[error("“{location}” was changed after this model was opened, so its weights are no longer known; open the model again: {}", path.display())]
    Changed {
        /// The name that the model gives, or the model's own.
        location: String,
        /// The data file, or the model.
        path: PathBuf,
    },
}
