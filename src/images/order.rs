//! The order of class names: as text, as torchvision's `ImageFolder` and scikit-learn have it, or by the numbers in them.
//!
//! Crates for natural order (`natord`, `lexical-sort`) compare the numbers anywhere in a name; here it also counts whether numbers
//! are what the names differ by, because only then the order is in doubt.

use std::cmp::Ordering;

/// Which class comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClassOrder {
    /// Character by character: 0, 1, 10, 11, 2.
    #[default]
    Text,
    /// By number where names have one at the same place: 0, 1, 2, 10, 11.
    Number,
}

impl ClassOrder {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 2] = [Self::Text, Self::Number];

    /// As on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
        }
    }

    /// How two names lie.
    #[must_use]
    pub fn compare(self, a: &str, b: &str) -> Ordering {
        match (self, Numbered::of(a), Numbered::of(b)) {
            (Self::Number, Some(a_parts), Some(b_parts)) if a_parts.before == b_parts.before => {
                a_parts.compare(&b_parts).then_with(|| a.cmp(b))
            }
            _ => a.cmp(b),
        }
    }
}

/// Whether these names are numbered, all in the same way, and their two orders differ: then nothing tells which one was meant.
pub(super) fn is_in_doubt(names: &[String]) -> bool {
    let Some(numbered) = names.iter().map(|name| Numbered::of(name)).collect::<Option<Vec<_>>>() else { return false };
    if numbered.windows(2).any(|pair| pair[0].before != pair[1].before) {
        return false;
    }
    let sorted = |order: ClassOrder| {
        let mut names: Vec<&String> = names.iter().collect();
        names.sort_by(|a, b| order.compare(a, b));
        names
    };
    sorted(ClassOrder::Text) != sorted(ClassOrder::Number)
}

/// A name around its first number.
struct Numbered<'a> {
    /// With the sign, where the name begins with one.
    before: &'a str,
    is_negative: bool,
    /// Digits without zeros in front, of any length.
    digits: &'a str,
    after: &'a str,
}

impl<'a> Numbered<'a> {
    fn of(name: &'a str) -> Option<Self> {
        let start = name.find(|c: char| c.is_ascii_digit())?;
        let end = name[start..].find(|c: char| !c.is_ascii_digit()).map_or(name.len(), |length| start + length);
        let is_negative = &name[..start] == "-";
        let before = if is_negative { "" } else { &name[..start] };
        Some(Self { before, is_negative, digits: name[start..end].trim_start_matches('0'), after: &name[end..] })
    }

    fn compare(&self, other: &Self) -> Ordering {
        let size = |n: &Self| (n.digits.len(), n.digits.to_owned());
        match (self.is_negative, other.is_negative) {
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => size(self).cmp(&size(other)),
            (true, true) => size(other).cmp(&size(self)),
        }
        .then_with(|| self.after.cmp(other.after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doubt(names: &[&str]) -> bool {
        is_in_doubt(&names.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn only_numbers_that_sort_in_two_ways_are_in_doubt() {
        for names in [
            &["0", "1", "2", "10"][..],
            &["class_9", "class_10"],
            &["1_cat", "2_dog", "10_emu"],
            &["1 - cat", "20", "3"],
            &["-1", "-2", "5"],
            &["99999999999999999999999", "100000000000000000000000"],
            &["0.5", "10.5", "2.5"],
        ] {
            assert!(doubt(names), "{names:?}");
        }
        for names in [
            &["0", "1", "2"][..],
            &["00", "01", "10", "11"],
            &["ant", "bee"],
            &["b10", "a9"],
            &["n01440764", "n02102040"],
            &["10", "9", "other"],
            &["7"],
            &[],
            &["1", "01"],
        ] {
            assert!(!doubt(names), "{names:?}");
        }
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        let mut names = ["10", "9", "-3", "-20", "007", "100000000000000000000000", "99999999999999999999999"];
        names.sort_by(|a, b| ClassOrder::Number.compare(a, b));
        assert_eq!(names, ["-20", "-3", "007", "9", "10", "99999999999999999999999", "100000000000000000000000"]);
        names.sort_by(|a, b| ClassOrder::Text.compare(a, b));
        assert_eq!(names[..3], ["-20", "-3", "007"]);
    }
}
