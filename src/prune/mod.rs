//! Pruning by magnitude: scope, amount, method, masks, history; exact on the CPU and on the GPU.

mod amount;
pub mod device;
mod history;
mod kernels;
mod mask;
mod order;
mod scope;
mod select;
mod tally;

pub use amount::{Amount, AmountError};
pub use history::{History, State, Step};
pub use mask::{Mask, first_zeros, smallest};
pub use order::{Order, narrow_key, wide_key};
pub use scope::{Settings, glob};
pub use select::{Candidate, Method, Selection, select};

/// Why pruning was refused. Nothing changes.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PruneError {
    /// The amount does not fit.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// Nothing is ticked, or all that is ticked is locked.
    #[error("nothing is in the scope; tick a module or a type that may be pruned")]
    EmptyScope,
    /// No parameter of the model holds floats.
    #[error("the weights of this model are {dtype}: pruning by magnitude needs float weights, so prune the model before it is quantised")]
    Quantized {
        /// The type of the first weight.
        dtype: crate::onnx::Dtype,
    },
    /// No module has this type.
    #[error("the network has no module of type “{name}”; its types are {known}")]
    UnknownType {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// No module has such a name.
    #[error("no module's name matches “{pattern}”; `secateur inspect` lists the names")]
    UnknownModule {
        /// What was asked for.
        pattern: String,
    },
}
