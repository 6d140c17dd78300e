//! `--amounts`: a list, or a range with a step.

use std::str::FromStr;

use crate::prune::Amount;

/// More amounts than this are a mistake.
const MOST: usize = 10_000;

/// Amounts in the order in which they were given.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Amounts(pub(super) Vec<Amount>);

impl FromStr for Amounts {
    type Err = String;

    /// `0.1,50%,1000`, each as in `--amount`; beside fractions, a bare 0 or 1 is one too. `0:0.9:0.05` is first, last and step,
    /// fractions or percentages, the last one included where a step meets it.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains(':') {
            return range(text).map(Self);
        }
        let mut amounts: Vec<Amount> =
            text.split(',').map(|part| part.parse::<Amount>().map_err(|e| e.to_string())).collect::<Result<_, _>>()?;
        if amounts.iter().any(|a| matches!(a, Amount::Fraction(_))) {
            for amount in &mut amounts {
                if let Amount::Count(count @ (0 | 1)) = *amount {
                    *amount = Amount::Fraction(count as f64);
                }
            }
        }
        if amounts.len() > MOST { Err(format!("{} amounts are more than {MOST}", amounts.len())) } else { Ok(Self(amounts)) }
    }
}

impl Amounts {
    /// As fractions, where all are.
    pub(super) fn fractions(&self) -> anyhow::Result<Vec<f64>> {
        let fraction = |amount: &Amount| match *amount {
            Amount::Fraction(value) => Ok(value),
            Amount::Count(count) => {
                anyhow::bail!("--amounts has to be fractions here, because parameters differ in size, and {count} is a number of elements")
            }
        };
        self.0.iter().map(fraction).collect()
    }
}

fn range(text: &str) -> Result<Vec<Amount>, String> {
    let refused = || format!("“{text}” is no range of amounts; write first:last:step, such as 0:0.9:0.05, each between 0 and 1");
    let number = |part: &str| match part.trim().parse::<Amount>() {
        Ok(Amount::Fraction(value)) => Ok(value),
        Ok(Amount::Count(count @ (0 | 1))) => Ok(count as f64),
        _ => Err(refused()),
    };
    let [first, last, step] = text.split(':').map(number).collect::<Result<Vec<_>, _>>()?[..] else { return Err(refused()) };
    if first > last || step <= 0.0 {
        return Err(refused());
    }
    // A step that misses the last one by rounding alone meets it.
    let steps = (last - first) / step + 1e-9;
    if steps >= MOST as f64 {
        return Err(format!("“{text}” is more than {MOST} amounts"));
    }
    // Rounded to a decimal fraction: the third of 0:1:0.05 is the 0.15 that a person writes.
    let decimal = |value: f64| (value * 1e9).round() / 1e9;
    Ok((0..=steps as usize).map(|i| Amount::Fraction(decimal(first + i as f64 * step).min(1.0))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fractions(text: &str) -> Vec<f64> {
        text.parse::<Amounts>().unwrap().fractions().unwrap()
    }

    #[test]
    fn ranges_are_the_decimals_that_a_person_writes() {
        let twentieths = fractions("0:0.9:0.05");
        assert_eq!(twentieths.len(), 19);
        assert_eq!((twentieths[3], twentieths[18]), (0.15, 0.9));
        assert_eq!(fractions("10%:90%:10%"), [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]);
        assert_eq!(fractions("0:1:0.4"), [0.0, 0.4, 0.8]);
        assert_eq!(fractions("0.5:0.5:1"), [0.5]);
        for broken in ["0:1", "0:1:0", "1:0:0.1", "0:2:0.1", "a:b:c", "0:1:0.1:3", "::", "0:1:1e-12", "0:1:-0.1"] {
            assert!(broken.parse::<Amounts>().is_err(), "{broken}");
        }
    }

    #[test]
    fn lists_are_amounts() {
        assert_eq!(fractions("0,0.1, 50%,1"), [0.0, 0.1, 0.5, 1.0]);
        assert_eq!("0,1000".parse::<Amounts>().unwrap().0, [Amount::Count(0), Amount::Count(1000)]);
        assert!("0,1000".parse::<Amounts>().unwrap().fractions().is_err());
        assert!("0.1,,".parse::<Amounts>().is_err() && "1.5".parse::<Amounts>().is_err());
    }
}
