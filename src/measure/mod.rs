//! What pruning did: sparsity per parameter and in all, histograms and statistics of one parameter, the time of a forward pass.

mod detail;
mod outcome;
mod speed;

pub use detail::{Detail, Histogram, Picture, Statistics, Subject};
pub use outcome::{Figures, Outcome, Weights, figures, outcome};
pub use speed::{Effort, Speed, Timing, speed};
