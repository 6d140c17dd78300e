//! Pruning: scope, score, pattern, method, amount, masks, history; exact on the CPU and on the GPU.

mod amount;
mod counts;
pub mod device;
mod history;
mod kernels;
mod keys;
mod mask;
mod masked;
mod method;
mod order;
mod pattern;
mod ranking;
mod recipe;
mod schedule;
mod score;
mod select;
mod shares;

pub use amount::{Amount, AmountError};
pub use history::{AddedBias, AddedBiases, Earlier, History, NormStatistics, Repair, RepairedLayer, RunningStatistics, State, Step};
pub use keys::{narrow_key, wide_key};
pub use mask::{Mask, first_zeros, smallest, smallest_left};
pub use masked::{Masked, Replaced, Standing, Weights};
pub use method::{Method, PerMethod};
pub use order::{Order, Unordered};
pub use pattern::{Dimension, LARGEST_GROUP, Pattern, PatternError, SliceNorm};
pub use ranking::Ranking;
pub use recipe::{Exempt, Recipe, glob};
pub use schedule::Schedule;
pub(crate) use score::chance;
pub use score::{GivenScores, InputNorms, Score};
pub use select::{Candidate, Selection, select};

/// Why pruning was refused. Nothing changes.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PruneError {
    /// The amount does not fit.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// Nothing is ticked, or all that is ticked is locked.
    #[error("nothing is in the scope; tick a module or a type that may be pruned")]
    EmptyScope,
    /// The weights of the model are no floats.
    #[error("the weights of this model are {dtype}: pruning by magnitude needs float weights, so prune the model before it is quantised")]
    Quantized {
        /// The type of the first weight.
        dtype: crate::onnx::Dtype,
    },
    /// Every weight of the model has a reason why it is not pruned.
    #[error("no weight of this model can be pruned; {name}: {obstacle}")]
    Obstructed {
        /// The first weight, as the file calls it.
        name: String,
        /// Its reason.
        obstacle: String,
    },
    /// The method is not among those that figures were asked for.
    #[error("this method was not compared")]
    NotCompared,
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
