//! How much to prune: a fraction or a number of elements.

use std::fmt;
use std::str::FromStr;

/// How many elements to prune.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// Share of the elements, 0..=1.
    Fraction(f64),
    /// That many elements.
    Count(u64),
}

/// Why an amount was refused. Nothing changes.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AmountError {
    /// Not a number, or outside its range.
    #[error("the amount {value} is not between 0 and 1 (0 % and 100 %)")]
    Fraction {
        /// What was given.
        value: f64,
    },
    /// More than there is.
    #[error("the amount {count} is more than the {limit} elements of {what}")]
    Count {
        /// What was given.
        count: u64,
        /// The most that can be pruned.
        limit: u64,
        /// Whose elements they are.
        what: String,
    },
    /// More than there is of whole slices.
    #[error("the amount {count} is more than the {limit} slices of {what}, and slices are what goes")]
    Slices {
        /// What was given.
        count: u64,
        /// The most that can be pruned.
        limit: u64,
        /// Whose slices they are.
        what: String,
    },
    /// More than the method takes, whatever the elements.
    #[error("{method} reaches at most {:.1} % of what is left: {why}; choose less, or another method", most * 100.0)]
    Reach {
        /// Name of the method.
        method: &'static str,
        /// The largest share that it reaches, 0..=1.
        most: f64,
        /// What stops it.
        why: &'static str,
    },
    /// Steps to something that is no fraction.
    #[error("steps lead to one fraction, such as 0.5; several amounts are steps of their own")]
    Steps,
    /// Not an amount at all.
    #[error("“{text}” is no amount; write a fraction (0.5), a percentage (50%) or a whole number of elements (1000)")]
    Text {
        /// What was given.
        text: String,
    },
}

impl Amount {
    /// Number of elements out of `elements`, whose owner is `what` in the error.
    ///
    /// A fraction is rounded half to even, as Python's `round` does in `torch.nn.utils.prune._compute_nparams_toprune`.
    ///
    /// # Errors
    /// A fraction outside 0..=1, a NaN, a count above `elements`.
    pub fn count(self, elements: u64, what: &str) -> Result<u64, AmountError> {
        match self {
            Self::Fraction(value) if (0.0..=1.0).contains(&value) => Ok((value * elements as f64).round_ties_even() as u64),
            Self::Fraction(value) => Err(AmountError::Fraction { value }),
            Self::Count(count) if count <= elements => Ok(count),
            Self::Count(count) => Err(AmountError::Count { count, limit: elements, what: what.to_owned() }),
        }
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    /// `0.5`, `5e-1` and `50%` are fractions, `1000` is a count, as in PyTorch: `1` is one element, `1.0` all of them.
    fn from_str(text: &str) -> Result<Self, AmountError> {
        let refused = || AmountError::Text { text: text.to_owned() };
        let trimmed = text.trim();
        let fraction =
            |value: f64| if (0.0..=1.0).contains(&value) { Ok(Self::Fraction(value)) } else { Err(AmountError::Fraction { value }) };
        if let Some(percent) = trimmed.strip_suffix('%') {
            // With its point moved in the text, 33.3 % is the number that 0.333 is; 33.3 divided by 100 is another.
            let moved = format!("{}e-2", percent.trim()).parse::<f64>();
            let divided = || percent.trim().parse::<f64>().map(|v| v / 100.0);
            return fraction(moved.or_else(|_| divided()).map_err(|_| refused())?);
        }
        if trimmed.bytes().all(|b| b.is_ascii_digit()) && !trimmed.is_empty() {
            return trimmed.parse().map(Self::Count).map_err(|_| refused());
        }
        if trimmed.parse::<i128>().is_ok() {
            // A negative whole number: not a fraction by its form, and no count.
            return Err(refused());
        }
        fraction(trimmed.parse().map_err(|_| refused())?)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fraction(value) => write!(f, "{} %", value * 100.0),
            Self::Count(count) => write!(f, "{count}"),
        }
    }
}

impl serde::Serialize for Amount {
    /// A fraction as a float, a count as an integer.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fraction(value) => serializer.serialize_f64(*value),
            Self::Count(count) => serializer.serialize_u64(*count),
        }
    }
}

impl<'de> serde::Deserialize<'de> for Amount {
    /// As it is written; a text as in [`Amount::from_str`].
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl serde::de::Visitor<'_> for Any {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an amount: a fraction (0.5), a percentage (\"50%\") or a whole number of elements (1000)")
            }

            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Amount, E> {
                Ok(Amount::Fraction(value))
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Amount, E> {
                Ok(Amount::Count(value))
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Amount, E> {
                u64::try_from(value).map(Amount::Count).map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(value), &self))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Amount, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_told_apart() {
        assert_eq!("1".parse(), Ok(Amount::Count(1)));
        assert_eq!("1.0".parse(), Ok(Amount::Fraction(1.0)));
        assert_eq!("50%".parse(), Ok(Amount::Fraction(0.5)));
        assert_eq!("12.5 %".parse(), Ok(Amount::Fraction(0.125)));
        assert_eq!("33.3%".parse(), Ok(Amount::Fraction(0.333)));
        assert_eq!("5e1%".parse(), Ok(Amount::Fraction(0.5)));
        assert_eq!("5e-1".parse(), Ok(Amount::Fraction(0.5)));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for text in ["", "-1", "nan", "1.5", "-0.1", "101%", "half", "inf", "1,5", "99999999999999999999999"] {
            let error = text.parse::<Amount>().unwrap_err().to_string();
            let value = text.trim_end_matches('%').parse::<f64>().map(|v| if text.ends_with('%') { v / 100.0 } else { v });
            assert!(error.contains(text) || value.is_ok_and(|v| error.contains(&v.to_string())), "{text}: {error}");
        }
    }

    #[test]
    fn counts_round_half_to_even() {
        assert_eq!(Amount::Fraction(0.5).count(5, ""), Ok(2));
        assert_eq!(Amount::Fraction(0.5).count(7, ""), Ok(4));
        assert_eq!(Amount::Fraction(0.1).count(25, ""), Ok(2));
        assert!(Amount::Count(6).count(5, "conv").unwrap_err().to_string().contains("5 elements of conv"));
        assert!(Amount::Fraction(f64::NAN).count(5, "").is_err());
    }
}
