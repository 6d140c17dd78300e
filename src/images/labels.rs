//! Files that name classes: one name per line, JSON as ImageNet, timm and Hugging Face write it, or a table of pictures and labels.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use super::error::ImagesError;

/// A labels file of more bytes than this is not read.
const MAX_BYTES: u64 = 1 << 26;
/// No network has more classes.
pub(super) const MAX_CLASSES: usize = 1 << 20;

/// What a labels file says.
#[derive(Debug)]
pub(super) enum Labels {
    /// Names of every class, by index.
    Classes(Vec<Class>),
    /// Rows of picture and label; the first can be a heading.
    Pictures(Vec<(String, String)>),
}

/// One class: what it is called, and what its folder can be called.
#[derive(Debug, Default)]
pub(super) struct Class {
    pub(super) name: String,
    pub(super) folders: Vec<String>,
}

impl Class {
    /// A line as ImageNet's lists have them, `n01440764 tench, Tinca tinca`, or a plain name.
    fn from_line(line: &str) -> Self {
        let line = line.trim();
        match line.split_once(char::is_whitespace) {
            Some((id, name)) if is_wnid(id) => Self { name: name.trim().to_owned(), folders: vec![id.to_owned()] },
            _ => Self { name: line.to_owned(), folders: Vec::new() },
        }
    }

    fn from_json(value: &Value) -> Option<Self> {
        match value {
            Value::String(name) => Some(Self::from_line(name)),
            // ["n01440764", "tench"]
            Value::Array(names) => {
                let mut names: Vec<String> = names.iter().map(|n| n.as_str().map(str::to_owned)).collect::<Option<_>>()?;
                Some(Self { name: names.pop()?, folders: names })
            }
            _ => None,
        }
    }

    pub(super) fn is_called(&self, folder: &str) -> bool {
        self.name == folder || self.folders.iter().any(|f| f == folder)
    }
}

/// Whether a name is a WordNet id as ImageNet's folders have it: `n01440764`.
pub(super) fn is_wnid(name: &str) -> bool {
    name.len() == 9 && name.starts_with('n') && name[1..].bytes().all(|b| b.is_ascii_digit())
}

/// Reads a labels file; its ending tells its form.
pub(super) fn read(path: &Path) -> Result<Labels, ImagesError> {
    let bad = |reason: String| ImagesError::Labels { reason, path: path.to_owned() };
    let unread = |source| ImagesError::Read { source, path: path.to_owned() };
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(unread)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(bad(format!("it is larger than {MAX_BYTES} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|_| bad("it is not UTF-8 text".to_owned()))?;
    let text = text.trim_start_matches('\u{feff}');
    let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    match ending.as_deref() {
        Some("csv" | "tsv") => table(text).map(Labels::Pictures).map_err(bad),
        Some("json") => json(text).map(Labels::Classes).map_err(bad),
        _ => {
            let classes: Vec<Class> = text.trim_end().lines().map(Class::from_line).collect();
            if classes.is_empty() { Err(bad("it is empty".to_owned())) } else { Ok(Labels::Classes(classes)) }
        }
    }
}

fn json(text: &str) -> Result<Vec<Class>, String> {
    const FORMS: &str =
        "a list of names, a map from index to name or from name to index, or a model's config.json with id2label is expected";
    let value: Value = serde_json::from_str(text).map_err(|e| format!("it is not JSON: {e}"))?;
    let value = ["id2label", "label_names"].iter().find_map(|key| value.get(key)).unwrap_or(&value);
    let classes = match value {
        Value::Array(list) => list.iter().map(Class::from_json).collect(),
        Value::Object(map) => by_index(map).or_else(|| by_name(map)),
        _ => None,
    };
    classes.filter(|c| !c.is_empty()).ok_or_else(|| FORMS.to_owned())
}

/// `{"0": "cat", "1": ["n01440764", "tench"]}`
fn by_index(map: &Map<String, Value>) -> Option<Vec<Class>> {
    let entries = map.iter().map(|(index, name)| Some((index.parse().ok()?, Class::from_json(name)?)));
    in_order(entries.collect::<Option<_>>()?)
}

/// `{"cat": 0}`
fn by_name(map: &Map<String, Value>) -> Option<Vec<Class>> {
    let entries = map.iter().map(|(name, index)| Some((usize::try_from(index.as_u64()?).ok()?, Class::from_line(name))));
    in_order(entries.collect::<Option<_>>()?)
}

/// Indices that are not named get their number as a name.
fn in_order(mut classes: BTreeMap<usize, Class>) -> Option<Vec<Class>> {
    let last = *classes.keys().last()?;
    let class = |i: usize| classes.remove(&i).unwrap_or_else(|| Class { name: i.to_string(), folders: Vec::new() });
    (last < MAX_CLASSES).then(|| (0..=last).map(class).collect())
}

/// The first two columns, separated by comma, semicolon or tab.
fn table(text: &str) -> Result<Vec<(String, String)>, String> {
    let first = text.lines().next().unwrap_or_default();
    let separator = [',', '\t', ';'].into_iter().find(|&s| first.contains(s)).ok_or("its first line has one column, two are expected")?;
    let mut reader = csv::ReaderBuilder::new();
    let mut reader = reader.delimiter(separator as u8).has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| format!("it is no table: {e}"))?;
        match (record.get(0), record.get(1)) {
            (Some(file), Some(label)) => rows.push((file.to_owned(), label.to_owned())),
            (Some(""), None) => {}
            _ => return Err(format!("line {} has one column, two are expected", record.position().map_or(0, csv::Position::line))),
        }
    }
    Ok(rows)
}

/// Names of classes for labels as a table gives them, and every label's index: numbers are indices, other labels are sorted.
pub(super) fn classes_of<'a>(labels: impl Iterator<Item = &'a str> + Clone) -> Result<(Vec<String>, HashMap<String, usize>), String> {
    let numbers: Option<Vec<usize>> = labels.clone().map(|l| l.parse().ok()).collect();
    let names: Vec<String> = if let Some(numbers) = numbers {
        let last = numbers.iter().max().copied().unwrap_or(0);
        if last >= MAX_CLASSES {
            return Err(format!("the class {last} is beyond the limit of {MAX_CLASSES}"));
        }
        return Ok(((0..=last).map(|i| i.to_string()).collect(), labels.zip(&numbers).map(|(l, &n)| (l.to_owned(), n)).collect()));
    } else {
        let mut names: Vec<String> = labels.map(str::to_owned).collect();
        names.sort();
        names.dedup();
        names
    };
    let index = names.iter().enumerate().map(|(i, n)| (n.clone(), i)).collect();
    Ok((names, index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_in_every_form() {
        let names = |text: &str| json(text).map(|c| c.iter().map(|c| c.name.clone()).collect::<Vec<_>>());
        assert_eq!(names(r#"["b", "a"]"#).unwrap(), ["b", "a"]);
        assert_eq!(names(r#"{"2": "c", "0": "a", "10": "k"}"#).unwrap()[..3], ["a", "1", "c"]);
        assert_eq!(names(r#"{"dog": 1, "cat": 0}"#).unwrap(), ["cat", "dog"]);
        assert_eq!(names(r#"{"id2label": {"0": "x"}}"#).unwrap(), ["x"]);
        let class = &json(r#"{"0": ["n01440764", "tench"]}"#).unwrap()[0];
        assert!(class.is_called("n01440764") && class.is_called("tench") && !class.is_called("n01440765"));
        for broken in ["", "3", "[]", "{}", "[1]", r#"{"a": "b"}"#, r#"{"a": 18446744073709551615}"#] {
            assert!(names(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn tables_and_lines() {
        let rows = table("\"a, \"\"b\"\"\",  2 ,3\r\n\n \n\"two\nlines\",x\n").unwrap();
        assert_eq!(rows, [(r#"a, "b""#.to_owned(), "2".to_owned()), ("two\nlines".to_owned(), "x".to_owned())]);
        assert!(table("a.png\n").is_err());
        assert_eq!(table("a.png,1\nb.png\n").unwrap_err(), "line 2 has one column, two are expected");
        let class = Class::from_line("n01440764 tench, Tinca tinca");
        assert_eq!((class.name.as_str(), class.is_called("n01440764")), ("tench, Tinca tinca", true));
        let (names, index) = classes_of(["10", "2", "10"].into_iter()).unwrap();
        assert_eq!((names.len(), index["10"], index["2"]), (11, 10, 2), "numbers are indices");
        let (names, index) = classes_of(["b", "a", "b"].into_iter()).unwrap();
        assert_eq!((names, index["b"]), (vec!["a".to_owned(), "b".to_owned()], 1));
        assert!(classes_of(["99999999"].into_iter()).is_err());
    }
}
