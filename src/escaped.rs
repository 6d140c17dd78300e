//! Text from files made fit to be shown: names are a stranger's words, and some characters are commands to a terminal or turn
//! the order of what stands around them.

use std::borrow::Cow;
use std::io::{self, Write};

/// `text` with characters that a terminal obeys, or that reorder text, written as `\u001b`, a form that JSON reads, too.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    escape(text, is_command)
}

/// A line's end, and nothing else that [`escaped`] escapes, may stand in a program's own output.
fn is_command_in_output(c: char) -> bool {
    c != '\n' && is_command(c)
}

fn is_command(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escape(text: &str, is_bad: fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(is_bad) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_bad(c) {
            out.push_str("\\u");
            let code = u32::from(c);
            let digits = (0..8).rev().skip_while(|&i| i >= 4 && code >> (4 * i) == 0);
            out.extend(digits.filter_map(|i| char::from_digit(code >> (4 * i) & 0xf, 16)));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Passes whole strings on, escaped but for the ends of lines.
pub struct Escaping<W>(pub W);

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(escape(&String::from_utf8_lossy(bytes), is_command_in_output).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_and_other_text_is_as_it_is() {
        assert_eq!(escaped("a\u{1b}[2J\n\u{202e}é"), "a\\u001b[2J\\u000a\\u202eé");
        assert!(matches!(escaped("層.重み ❤"), Cow::Borrowed(_)));
        let mut out = Escaping(Vec::new());
        out.write_all("x\u{9b}\n".as_bytes()).unwrap();
        assert_eq!(out.0, b"x\\u009b\n");
    }
}
