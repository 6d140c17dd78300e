//! Numbers, names and phrases as they are shown.

use std::borrow::Cow;

use crate::engine::Model;
use crate::escaped::escaped;
use crate::graph::{BatchNorm, Graph, Parameter, ParameterId};
use crate::prune::{Amount, Method};

/// Between groups of three digits.
const THIN_SPACE: char = '\u{2009}';
/// Bytes of a name that are shown; names of real networks are much shorter, and laying out a megabyte takes seconds.
const MAX_NAME_BYTES: usize = 400;
/// Likewise, of a message.
const MAX_MESSAGE_BYTES: usize = 2000;
/// Users of a shared parameter that are named.
const MAX_USERS: usize = 12;

/// `1 240 373`, with thin spaces.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 * THIN_SPACE.len_utf8());
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(THIN_SPACE);
        }
        out.push(digit);
    }
    out
}

/// `16.2 M`: a large number as it is told at a glance.
pub(super) fn large(n: u64) -> String {
    let (scale, unit) = match n {
        0..100_000 => return count(n),
        100_000..1_000_000 => (1e3, "k"),
        1_000_000..1_000_000_000 => (1e6, "M"),
        _ => (1e9, "G"),
    };
    let scaled = n as f64 / scale;
    let digits = if scaled < 10.0 { 2 } else { usize::from(scaled < 100.0) };
    format!("{scaled:.digits$}{THIN_SPACE}{unit}")
}

/// `50.0 %`.
pub(super) fn percent(fraction: f64) -> String {
    let percent = fraction * 100.0;
    // Nearly all is not all, nearly nothing is not nothing.
    let shown = match (percent * 10.0).round() / 10.0 {
        p if p >= 100.0 && fraction < 1.0 => 99.9,
        p if p <= 0.0 && fraction > 0.0 => return format!("<{THIN_SPACE}0.1{THIN_SPACE}%"),
        p => p,
    };
    format!("{shown:.1}{THIN_SPACE}%")
}

/// A method's name at the head of something.
pub(super) fn method(method: Method) -> &'static str {
    match method {
        Method::LayerWise => "Layer-wise",
        Method::Global => "Global",
        Method::Lamp => "LAMP",
        Method::Norm => "Norm",
        Method::Erk => "ERK",
        Method::UniformPlus => "Uniform+",
    }
}

/// A method's name within a sentence, and at the head of a column.
pub(super) fn method_within(method: Method) -> &'static str {
    match method {
        Method::Lamp | Method::Erk => self::method(method),
        Method::LayerWise | Method::Global | Method::Norm | Method::UniformPlus => method.name(),
    }
}

/// With a capital at its start.
pub(super) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// `50.0 %`, `1 240 373 elements`.
pub(super) fn amount(amount: Amount) -> String {
    match amount {
        Amount::Fraction(fraction) => percent(fraction),
        Amount::Count(count) => format!("{} elements", self::count(count)),
    }
}

/// `+12.3`, `−4.0`, `0.0`: a difference of two fractions, in points.
pub(super) fn points(difference: f64) -> String {
    let points = (difference * 1000.0).round() / 10.0;
    match points {
        p if p > 0.0 => format!("+{p:.1}"),
        p if p < 0.0 => format!("−{:.1}", -p),
        _ => "0.0".to_owned(),
    }
}

/// Four significant digits: `0.04097`, `−0.0007120`, `1.020e−9`.
pub(super) fn number(x: f64) -> String {
    significant(x, 4)
}

/// Two significant digits, for axes.
pub(super) fn short(x: f64) -> String {
    let exponent = x.abs().log10().floor() as i32;
    let text = if (-4..5).contains(&exponent) { format!("{x:.*}", (1 - exponent).max(0) as usize) } else { format!("{x:.1e}") };
    text.replace('-', "−")
}

/// Three significant digits, for pairs.
pub(super) fn rough(x: f64) -> String {
    significant(x, 3)
}

fn significant(x: f64, digits: i32) -> String {
    if x == 0.0 {
        return "0".into();
    }
    if !x.is_finite() {
        return if x.is_nan() { "NaN".into() } else { if x > 0.0 { "∞" } else { "−∞" }.into() };
    }
    let exponent = x.abs().log10().floor() as i32;
    let text = if (-5..6).contains(&exponent) {
        format!("{x:.*}", (digits - 1 - exponent).max(0) as usize)
    } else {
        format!("{x:.*e}", digits as usize - 1)
    };
    text.replace('-', "−")
}

/// `10.4 MB`: decimal units, as file managers count.
pub(super) fn bytes(n: u64) -> String {
    match n {
        0..1_000 => format!("{n}{THIN_SPACE}B"),
        1_000..1_000_000 => format!("{:.1}{THIN_SPACE}kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1}{THIN_SPACE}MB", n as f64 / 1e6),
        _ => format!("{:.2}{THIN_SPACE}GB", n as f64 / 1e9),
    }
}

/// A name from a file, fit to be shown: every name passes through here on its way to the screen. It stays on one line and what
/// stands around it in its order, whatever characters it has.
pub(super) fn name(name: &str) -> Cow<'_, str> {
    if name.len() <= MAX_NAME_BYTES {
        return escaped(name);
    }
    // The end tells more than the start.
    Cow::Owned(format!("…{}", escaped(&name[name.ceil_char_boundary(name.len() - MAX_NAME_BYTES)..])))
}

/// Likewise, of a path.
pub(super) fn path(path: &std::path::Path) -> String {
    name(&path.display().to_string()).into_owned()
}

/// A message that may quote names from a file.
pub(super) fn message(text: &str) -> Cow<'_, str> {
    let Some(end) = (text.len() > MAX_MESSAGE_BYTES).then(|| text.floor_char_boundary(MAX_MESSAGE_BYTES)) else { return escaped(text) };
    Cow::Owned(format!("{}…", escaped(&text[..end])))
}

/// Likewise, of a name that does not live long enough to be borrowed.
pub(super) fn owned_name(text: &str) -> Cow<'static, str> {
    Cow::Owned(name(text).into_owned())
}

/// `used by 2 operators: /encoder/MatMul, /decoder/MatMul`, where a parameter is shared.
pub(super) fn users(graph: &Graph, id: ParameterId) -> Option<String> {
    let users = graph.user_names(id);
    if users.len() < 2 {
        return None;
    }
    let named: Vec<Cow<'_, str>> = users.iter().take(MAX_USERS).map(|user| name(user)).collect();
    let more = users.len() - named.len();
    let end = if more > 0 { format!(", and {} more", count(more as u64)) } else { String::new() };
    Some(format!("used by {} operators: {}{end}", count(users.len() as u64), named.join(", ")))
}

/// `512×128×1×1`.
pub(super) fn shape(parameter: &Parameter) -> String {
    dimensions(&parameter.shape)
}

/// Likewise, of any tensor.
pub(super) fn dimensions(shape: &[usize]) -> String {
    match shape {
        [] => "scalar".into(),
        dims => dims.iter().map(ToString::to_string).collect::<Vec<_>>().join("×"),
    }
}

/// What folding means, where it happened.
pub(super) fn folded_note(model: &Model) -> Option<&'static str> {
    model.graph.batch_norm.and_then(BatchNorm::note)
}

/// One line about the file.
pub(super) fn file_line(model: &Model) -> String {
    let norm = match model.graph.batch_norm {
        Some(BatchNorm::Kept) => " · BatchNorm kept",
        Some(BatchNorm::Folded) => " · BatchNorm folded",
        _ => "",
    };
    format!("{} parameters · {} · opset {}{norm}", count(model.graph.elements() as u64), bytes(model.file.size_bytes()), model.graph.opset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(2_480_746), "2\u{2009}480\u{2009}746");
        assert_eq!(large(99_999), count(99_999));
        assert_eq!([16_220_928, 4_089_184_256, 250_123].map(large), ["16.2\u{2009}M", "4.09\u{2009}G", "250\u{2009}k"]);
        assert_eq!(percent(0.5), "50.0\u{2009}%");
        assert_eq!(percent(0.999_99), "99.9\u{2009}%");
        assert_eq!(percent(0.000_01), "<\u{2009}0.1\u{2009}%");
        assert_eq!(points(-0.123), "−12.3");
        assert_eq!(number(0.040_973_7), "0.04097");
        assert_eq!(number(-0.000_712), "−0.0007120");
        assert_eq!(number(1.02e-9), "1.020e−9");
        assert_eq!(bytes(10_390_391), "10.4\u{2009}MB");
    }
}
