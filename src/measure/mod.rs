//! What pruning did: sparsity per parameter and in all, histograms and statistics of one parameter; and what it costs: what
//! became of the network's answers, the time of a forward pass, and the bytes of the weights.

mod answering;
mod detail;
mod effect;
mod loss;
mod outcome;
mod size;
mod speed;

pub use answering::{Answering, Answers};
pub use detail::{Detail, Histogram, MaskPicture, Statistics, Subject};
pub use effect::{Changed, Effect, Tally};
pub use loss::Loss;
pub use outcome::{Figures, Outcome, Ranked, figures, outcome};
pub(crate) use size::weigh;
pub use size::{Bytes, Encoding, GroupsOfFour, ParameterSize, is_eligible};
pub use speed::{Effort, Pace, Speed, Timing, pace, speed};
