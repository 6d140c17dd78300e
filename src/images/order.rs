//! The order of class names: as text, as torchvision's `ImageFolder` and scikit-learn have it, or by the numbers in them.
//!
//! Crates for natural order (`natord`, `lexical-sort`) compare the numbers anywhere in a name; here only the first one
//! counts, behind the same beginning, and whether both orders differ, because only then the order is in doubt.

use std::cmp::Ordering;

/// Which class comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClassOrder {
    /// Character by character: 0, 1, 10, 11, 2.
    #[default]
    Text,
    /// By number where names have one at the same place: 0, 1, 2, 10, 11, background.
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

    /// The places of names in this order. By number, numbers that go on where the named classes end are their own indices:
    /// `background` comes before 1, 2 and 3, as 0 is free; in any other mixture names lie among numbers as they do in text.
    #[must_use]
    pub fn sorted<N: AsRef<str>>(self, names: &[N]) -> Vec<usize> {
        let mut places: Vec<usize> = (0..names.len()).collect();
        let name = |place: usize| names[place].as_ref();
        match self {
            Self::Text => places.sort_by(|&a, &b| name(a).cmp(name(b))),
            Self::Number => {
                let are_named_first = are_indices_behind_named(names.iter().map(AsRef::as_ref));
                let is_first = |name: &str| are_named_first && index(name).is_none();
                places.sort_by(|&a, &b| {
                    let (a, b) = (name(a), name(b));
                    is_first(b).cmp(&is_first(a)).then_with(|| by_number(a, b))
                });
            }
        }
        places
    }
}

/// By number where both have one at the same place, else as text.
fn by_number(a: &str, b: &str) -> Ordering {
    match (Numbered::of(a), Numbered::of(b)) {
        (Some(a_parts), Some(b_parts)) if a_parts.before == b_parts.before => a_parts.compare(&b_parts).then_with(|| a.cmp(b)),
        _ => a.cmp(b),
    }
}

/// The number that is all of a name.
fn index(name: &str) -> Option<usize> {
    name.bytes().all(|b| b.is_ascii_digit()).then(|| name.parse().ok()).flatten()
}

/// Whether some names are numbers, the others are as many as there are indices below the first, and no number is left out: then all
/// numbers are indices, once the others come first.
fn are_indices_behind_named<'a>(names: impl Iterator<Item = &'a str>) -> bool {
    let (mut named, mut indices) = (0, Vec::new());
    for name in names {
        match index(name) {
            Some(index) => indices.push(index),
            None => named += 1,
        }
    }
    indices.sort_unstable();
    named > 0 && !indices.is_empty() && indices.iter().copied().eq(named..named + indices.len())
}

/// Whether the two orders of these names differ: then nothing tells which one was meant.
pub(super) fn is_in_doubt(names: &[String]) -> bool {
    ClassOrder::Text.sorted(names) != ClassOrder::Number.sorted(names)
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
            &["10", "9", "other"],
            &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "background"],
            &["_none", "class_10", "class_9"],
            &["ant", "b10", "b9", "cat 3"],
            // 1 is the second output where the background is the first.
            &["1", "2", "3", "background"],
            &["02", "03", "ignore", "void"],
        ] {
            assert!(doubt(names), "{names:?}");
        }
        for names in [
            &["0", "1", "2"][..],
            &["00", "01", "10", "11"],
            &["ant", "bee"],
            &["b10", "a9"],
            &["n01440764", "n02102040"],
            &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "background"],
            &["1", "2", "4", "other"],
            &["2", "3", "other"],
            &["02", "2", "other"],
            &["background", "class_1", "class_2"],
            &["resnet18", "vgg9"],
            &["7"],
            &[],
            &["1", "01"],
        ] {
            assert!(!doubt(names), "{names:?}");
        }
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        let sorted = |order: ClassOrder, names: &[&'static str]| order.sorted(names).into_iter().map(|i| names[i]).collect::<Vec<_>>();
        let names = ["10", "9", "-3", "-20", "007", "100000000000000000000000", "99999999999999999999999"];
        let by_number = ["-20", "-3", "007", "9", "10", "99999999999999999999999", "100000000000000000000000"];
        assert_eq!(sorted(ClassOrder::Number, &names), by_number);
        assert_eq!(sorted(ClassOrder::Text, &names)[..3], ["-20", "-3", "007"]);
        let names = ["10", "2", "apple", "1", "-1", "pear", "+"];
        assert_eq!(sorted(ClassOrder::Number, &names), ["+", "-1", "1", "2", "10", "apple", "pear"]);
        let names = ["1", "10", "2", "3", "4", "5", "6", "7", "8", "9", "background"];
        assert_eq!(sorted(ClassOrder::Number, &names), ["background", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]);
    }
}
