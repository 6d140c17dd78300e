//! An amount that is reached in steps.

/// How an amount is divided into steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Each takes the same share of what is left (Han et al. 2015).
    #[default]
    Even,
    /// Large ones first: the sparsity after step t of n is the amount × (1 − (1 − t/n)³) (Zhu and Gupta 2017).
    Cubic,
}

impl Schedule {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Even, Self::Cubic];

    /// As on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Even => "even",
            Self::Cubic => "cubic",
        }
    }

    /// What it does, with the paper that it is from.
    #[must_use]
    pub fn help(self) -> &'static str {
        match self {
            Self::Even => "Each takes the same share of what is left (Han et al. 2015)",
            Self::Cubic => "Large ones first: the sparsity after step t of n is the amount × (1 − (1 − t/n)³) (Zhu and Gupta 2017)",
        }
    }

    /// The share of what is left that each of `steps` steps takes to come to `amount`, all 0..=1.
    #[must_use]
    pub fn shares(self, amount: f64, steps: u32) -> Vec<f64> {
        let n = f64::from(steps);
        let reached = |step: u32| match self {
            Self::Even => 1.0 - (1.0 - amount).powf(f64::from(step) / n),
            Self::Cubic => amount * (1.0 - (1.0 - f64::from(step) / n).powi(3)),
        };
        // All is gone before the end where all is to go.
        let share = |step: u32| if reached(step - 1) < 1.0 { (reached(step) - reached(step - 1)) / (1.0 - reached(step - 1)) } else { 1.0 };
        (1..=steps).map(|step| share(step).clamp(0.0, 1.0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_come_to_the_amount() {
        for schedule in Schedule::ALL {
            for amount in [0.0, 0.3, 0.5, 0.99, 1.0] {
                for steps in [1, 2, 5, 30] {
                    let shares = schedule.shares(amount, steps);
                    let left = shares.iter().fold(1.0, |left, share| left * (1.0 - share));
                    assert!(shares.len() == steps as usize && (1.0 - left - amount).abs() < 1e-9, "{schedule:?} {amount} {steps}: {left}");
                }
            }
        }
        let even = Schedule::Even.shares(0.5, 5);
        assert!(even.iter().all(|share| (share - even[0]).abs() < 1e-12));
        // By hand: 0.8 × (1 − (1/2)³) = 0.7, then the tenth that is missing of the 0.3 that are left.
        let cubic = Schedule::Cubic.shares(0.8, 2);
        assert!((cubic[0] - 0.7).abs() < 1e-12 && (cubic[1] - 1.0 / 3.0).abs() < 1e-12, "{cubic:?}");
    }
}
