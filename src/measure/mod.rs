//! What pruning did: sparsity per parameter and in all, histograms and statistics of one parameter.

mod detail;
mod outcome;

pub use detail::{Detail, Histogram, Picture, Statistics, Subject};
pub use outcome::{Figures, Outcome, Weights, figures, outcome};
