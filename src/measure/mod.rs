//! What pruning did: sparsity per parameter and in all, histograms and statistics of one parameter; and what it costs: what
//! became of the network's answers, and the time of a forward pass.

mod detail;
mod effect;
mod loss;
mod outcome;
mod speed;

pub use detail::{Detail, Histogram, Picture, Statistics, Subject};
pub use effect::{Answers, Changed, Effect, Tally};
pub use loss::Loss;
pub use outcome::{Figures, Outcome, Weights, figures, outcome};
pub use speed::{Effort, Speed, Timing, speed};
