//! Paths as they are typed: a folder as far as the last separator, and a name behind it.

use std::path::{MAIN_SEPARATOR, MAIN_SEPARATOR_STR, Path, PathBuf, is_separator};

/// What stands before and behind the last separator, which belongs to the folder.
pub(super) fn split(text: &str) -> (&str, &str) {
    text.split_at(text.rfind(is_separator).map_or(0, |i| i + 1))
}

/// A folder as it stands before a name.
pub(super) fn with_separator(folder: &Path) -> String {
    let text = folder.to_string_lossy();
    if text.ends_with(is_separator) { text.into_owned() } else { format!("{text}{MAIN_SEPARATOR}") }
}

/// The path that typed text means: from `base` on where it has no beginning, and from a person's own folder on behind `~`.
pub(super) fn resolved(base: &Path, text: &str) -> PathBuf {
    match below_home(text) {
        Some(rest) => std::env::home_dir().unwrap_or_else(|| base.to_owned()).join(rest.trim_start_matches(is_separator)),
        None => base.join(text),
    }
}

/// A whole path that was typed or pasted behind the folder that stood in the field.
pub(super) fn begun_anew<'a>(folder: &str, text: &'a str) -> Option<&'a str> {
    let rest = text.strip_prefix(folder)?;
    (Path::new(rest).is_absolute() || below_home(rest).is_some_and(|below| !below.is_empty())).then_some(rest)
}

/// What follows a `~` that stands for a person's own folder.
fn below_home(text: &str) -> Option<&str> {
    text.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with(is_separator))
}

/// What can be written in place of `name`: as far as all names agree that begin with it, in any case, and the separator behind a
/// folder that is the only one. Names come with whether they are folders.
pub(super) fn completed<'a>(name: &str, names: impl Iterator<Item = (&'a str, bool)>) -> Option<String> {
    let needle = name.to_lowercase();
    let mut found = names.filter(|(other, _)| !name.is_empty() && other.to_lowercase().starts_with(&needle));
    let (mut common, is_folder) = found.next()?;
    let mut is_alone = true;
    for (other, _) in found {
        is_alone = false;
        let is_same = |(a, b): &(char, char)| a.to_lowercase().eq(b.to_lowercase());
        let shared: usize = common.chars().zip(other.chars()).take_while(is_same).map(|(a, _)| a.len_utf8()).sum();
        common = &common[..shared];
    }
    let end = if is_alone && is_folder { MAIN_SEPARATOR_STR } else { "" };
    let completed = format!("{common}{end}");
    let is_longer = completed.chars().count() > name.chars().count();
    (is_longer || is_alone && completed != name).then_some(completed)
}
