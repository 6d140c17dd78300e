//! What can go wrong on the GPU, in words for the person at the screen.

use thiserror::Error;

/// Why the GPU did not do what was asked. Whatever the error, weights and masks are what they were before.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum DeviceError {
    /// The device is not a wgpu adapter.
    #[error("the selection's kernels need a GPU, and {device} is none. Use the CPU's own selection there")]
    NotGpu {
        /// The device's name.
        device: String,
    },
    /// The weights do not fit one buffer of the adapter.
    #[error("the model needs {needed} {what}, and {adapter} takes {limit} at most. Choose the CPU (--device cpu)")]
    TooLarge {
        /// The adapter's name.
        adapter: String,
        /// What is too many.
        what: &'static str,
        /// How many there are.
        needed: u64,
        /// How many there may be.
        limit: u64,
    },
    /// An argument has one entry too few or too many.
    #[error("{what} has {found} entries instead of {expected}")]
    Length {
        /// The argument.
        what: &'static str,
        /// The entries it must have.
        expected: usize,
        /// The entries it has.
        found: usize,
    },
    /// There is no such parameter.
    #[error("there is no parameter {parameter}, only {parameters}")]
    NoSuchParameter {
        /// The index asked for.
        parameter: usize,
        /// The number of parameters.
        parameters: usize,
    },
    /// More elements are wanted than are left.
    #[error("{wanted} more elements are to be pruned in row {row}, and {available} are left")]
    TooMany {
        /// The row: the parameter's index with [`super::Rows::Each`], 0 with [`super::Rows::Together`].
        row: usize,
        /// The elements wanted.
        wanted: u64,
        /// The elements in scope that are not masked yet.
        available: u64,
    },
    /// What came back contradicts what went in.
    #[error(
        "{adapter} returned a wrong result while {step}: {what} is {found} instead of {expected}, so nothing of it was used. \
         Choose the CPU (--device cpu), or update the GPU's driver"
    )]
    Disagrees {
        /// The adapter's name.
        adapter: String,
        /// What was being done.
        step: &'static str,
        /// The figure that disagrees.
        what: &'static str,
        /// What it must be.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// The device is lost, out of memory, or refused a kernel.
    #[error("{adapter} failed while {step}: {reason}. Choose the CPU (--device cpu), or start the program again")]
    Failed {
        /// The adapter's name.
        adapter: String,
        /// What was being done.
        step: &'static str,
        /// What the runtime said.
        reason: String,
    },
}
