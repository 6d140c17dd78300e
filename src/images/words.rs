//! Preprocessing in words, as the window shows it.

use std::fmt;

use super::preprocess::{Colours, Preprocess};

impl fmt::Display for Preprocess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [height, width] = self.size;
        let channels = match self.channels {
            Colours::Rgb => "RGB",
            Colours::Bgr => "BGR",
            Colours::GreyInThree => "grey in three channels",
            Colours::Grey => "grey",
        };
        let numbers = |values: [f32; 3]| match values {
            [a, b, c] if a == b && b == c => a.to_string(),
            [a, b, c] => format!("[{a}, {b}, {c}]"),
        };
        write!(f, "{width}×{height} · {channels} · mean {} · deviation {}", numbers(self.mean), numbers(self.std))?;
        if self.divisor == 255.0 { Ok(()) } else { write!(f, " of values divided by {}", self.divisor) }
    }
}
