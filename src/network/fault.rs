//! Why an operator could not be carried out.

/// A sentence without the node's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault(pub(super) String);

/// What was asked for, where all that it was made from fits.
pub(super) type Checked<T> = Result<T, Fault>;

/// A [`Fault`] with this message.
macro_rules! because {
    ($($arg:tt)*) => { $crate::network::fault::Fault(format!($($arg)*)) };
}
pub(super) use because;

/// Returns a [`Fault`] with this message.
macro_rules! fault {
    ($($arg:tt)*) => { Err($crate::network::fault::Fault(format!($($arg)*))) };
}
pub(super) use fault;
