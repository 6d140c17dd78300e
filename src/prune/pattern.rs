//! Which elements of a parameter may go together.

use std::fmt;
use std::str::FromStr;

/// Which elements of a parameter may go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Pattern {
    /// Any, one by one: unstructured.
    #[default]
    Elements,
    /// Of every `of` consecutive inputs the `keep` largest stay, whatever the amount; weights whose inputs do not divide are left.
    Groups {
        /// How many stay, below `of`.
        keep: u8,
        /// How many there are in a group, 2..=16.
        of: u8,
    },
    /// Whole slices along one dimension, PyTorch's `ln_structured`; the amount is a share of them.
    Slices {
        /// By what they are compared.
        norm: SliceNorm,
        /// Along which dimension they lie.
        dimension: Dimension,
    },
}

/// By what slices are compared: the mean over their elements, so that slices of different parameters compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SliceNorm {
    /// The mean magnitude.
    L1,
    /// The mean square.
    L2,
    /// The largest magnitude.
    Max,
}

/// A dimension of a weight as PyTorch keeps it, whatever the file's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// Dimension 0: filters, rows.
    Outputs,
    /// Dimension 1: channels of the input, columns.
    Inputs,
}

/// The largest group of N:M.
pub const LARGEST_GROUP: u8 = 16;

/// A pattern that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "“{0}” is no pattern: it is N:M with N below M and M at most {LARGEST_GROUP}, such as 2:4, or l1, l2 or linf with dimension 0 or 1, such as l2:0"
)]
pub struct PatternError(String);

impl PatternError {
    /// That this is none that is wanted here.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl Pattern {
    /// Whether it says itself how many elements go.
    #[must_use]
    pub fn is_decided(self) -> bool {
        matches!(self, Self::Groups { .. })
    }

    /// What it does and when it is good.
    #[must_use]
    pub fn help(self) -> &'static str {
        match self {
            Self::Elements => {
                "Any element may go. Keeps accuracy best at a given number of zeros, but needs a runtime that knows sparse weights to be faster"
            }
            Self::Groups { .. } => {
                "Of every M consecutive inputs the N largest stay (N:M sparsity, Zhou et al. 2021). 2:4 is what NVIDIA's sparse tensor cores \
                 run faster, from Ampere on"
            }
            Self::Slices { dimension: Dimension::Outputs, .. } => {
                "Whole filters become zero, and the amount is a share of them (Li et al. 2017). The least accurate of the three, and what can be \
                 removed later for any runtime"
            }
            Self::Slices { dimension: Dimension::Inputs, .. } => {
                "Whole input channels become zero, and the amount is a share of them, as in PyTorch's ln_structured along dimension 1. They can be \
                 removed later with what feeds them"
            }
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elements => f.write_str("elements"),
            Self::Groups { keep, of } => write!(f, "{keep}:{of}"),
            Self::Slices { norm, dimension } => {
                let norm = match norm {
                    SliceNorm::L1 => "l1",
                    SliceNorm::L2 => "l2",
                    SliceNorm::Max => "linf",
                };
                write!(f, "{norm}:{}", u8::from(*dimension == Dimension::Inputs))
            }
        }
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    /// As [`Pattern`]'s `Display` writes it.
    fn from_str(text: &str) -> Result<Self, PatternError> {
        let refused = || PatternError::of(text);
        if text == "elements" {
            return Ok(Self::Elements);
        }
        let (first, second) = text.split_once(':').ok_or_else(refused)?;
        let norm = match first {
            "l1" => Some(SliceNorm::L1),
            "l2" => Some(SliceNorm::L2),
            "linf" => Some(SliceNorm::Max),
            _ => None,
        };
        if let Some(norm) = norm {
            let dimension = match second {
                "0" => Dimension::Outputs,
                "1" => Dimension::Inputs,
                _ => return Err(refused()),
            };
            return Ok(Self::Slices { norm, dimension });
        }
        let number = |text: &str| text.parse::<u8>().map_err(|_| refused());
        let (keep, of) = (number(first)?, number(second)?);
        if keep == 0 || keep >= of || of > LARGEST_GROUP { Err(refused()) } else { Ok(Self::Groups { keep, of }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read_as_they_are_written() {
        for text in ["elements", "2:4", "1:2", "15:16", "l1:0", "l2:1", "linf:0"] {
            assert_eq!(text.parse::<Pattern>().unwrap().to_string(), text);
        }
        for text in ["", "4:4", "0:4", "3:2", "1:17", "2:4:8", "l2", "l2:2", "l3:0", "-1:4", "a:b"] {
            let error = text.parse::<Pattern>().unwrap_err().to_string();
            assert!(error.contains(&format!("“{text}”")) && error.contains("2:4"), "{error}");
        }
    }
}
