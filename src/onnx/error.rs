//! Why a file could not be opened, or read later, and why a single tensor cannot be read.

use std::path::PathBuf;

use crate::atomic::WriteError;

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
    /// The bytes are those of something else.
    #[error("this is {what}, not an ONNX model; {advice}: {}", path.display())]
    Foreign {
        /// What it is: “a Git LFS pointer”.
        what: String,
        /// What to do: “fetch it with …”.
        advice: String,
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
    /// None of the weights can be read, or next to none.
    #[error("the weights cannot be read, “{tensor}” first: {fault}: {}", path.display())]
    Weights {
        /// Name of the first.
        tensor: String,
        /// Why.
        fault: TensorFault,
        /// Which file.
        path: PathBuf,
    },
    /// Somebody wrote to the model or to a data file while the model was open, or was being opened.
    #[error("“{location}” was changed after this model was opened, so its weights are no longer known; open the model again: {}", path.display())]
    Changed {
        /// The name that the model gives, or the model's own.
        location: String,
        /// The data file, or the model.
        path: PathBuf,
    },
}

/// Why a tensor's elements cannot be read. The others can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorFault {
    /// Its data and its shape disagree.
    #[error("it is damaged: {reason}")]
    Damaged {
        /// What disagrees.
        reason: String,
    },
    /// The file that it lies in is not beside the model.
    #[error("the model keeps it in “{location}”, which is not beside it; put both files into one folder")]
    Missing {
        /// The name that the model gives.
        location: String,
    },
    /// The model points outside its own folder.
    #[error("the model refers to “{location}”, outside its own folder; such a file is not opened")]
    Outside {
        /// The name that the model gives.
        location: String,
    },
    /// The name is that of a link that leads elsewhere.
    #[error(
        "the model keeps it in “{location}”, a link to a file that is neither in its folder nor beside what its own name leads to; such \
         a file is not opened: copy both into one folder"
    )]
    LinkedOutside {
        /// The name that the model gives.
        location: String,
    },
    /// The external file is shorter than the model says.
    #[error("it should lie in bytes {offset} to {end} of “{location}”, which has only {length}; fetch that file again")]
    Truncated {
        /// The name of the data file.
        location: String,
        /// First byte.
        offset: u64,
        /// One past the last byte.
        end: u64,
        /// Length of the data file in bytes.
        length: u64,
    },
    /// The file that it lies in cannot be read.
    #[error("the model keeps it in “{location}”, which cannot be read: {reason}")]
    Unreadable {
        /// The name that the model gives.
        location: String,
        /// What the system said.
        reason: String,
    },
}

/// Why a model could not be saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The disk refused.
    #[error(transparent)]
    Write(WriteError),
    /// Elements of a tensor were to be zeroed whose bytes are not known, or of which the file holds only those other than zero.
    #[error("the weights “{tensor}” are not stored element by element, and so cannot be pruned in the file; leave them out")]
    NotInPlace {
        /// Name of the tensor.
        tensor: String,
    },
    /// Elements of a tensor were to become others that take more bytes than there are.
    #[error(
        "the weights “{tensor}” are stored as numbers of variable length, and what they have become takes more bytes than the file has for \
         them; convert the model so that its weights are raw data, or save as .safetensors"
    )]
    NoRoom {
        /// Name of the tensor.
        tensor: String,
    },
    /// The name is that of a data file of the opened model.
    #[error("this file holds weights of the opened model; choose another name: {}", path.display())]
    OverData {
        /// Which file.
        path: PathBuf,
    },
    /// What is on disk is not what was meant.
    #[error("nothing was changed: reading back what was written gave something else; the disk may be failing: {}", path.display())]
    Differs {
        /// Which file.
        path: PathBuf,
    },
    /// The opened model's own data can no longer be read.
    #[error("nothing was written: {0}")]
    Source(OpenError),
}

impl From<WriteError> for SaveError {
    fn from(error: WriteError) -> Self {
        match error.into_cause() {
            Ok(cause) => Self::Source(cause),
            Err(error) => Self::Write(error),
        }
    }
}
