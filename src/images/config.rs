//! What a model's own files say about its preprocessing.
//!
//! Looked for beside the model, first under the model's name (`NAME.config.json`), then as `preprocessor_config.json` and
//! `config.json`, and one folder up for a model in a folder `onnx`, as on Hugging Face. Two forms are known: timm's
//! `pretrained_cfg`, and the fields of Hugging Face's image processors. The model's own input shape wins over the size they name.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::error::MAX_EDGE;
use super::picture::{Filter, Resize};
use super::preprocess::{ChannelOrder, Colours, Preprocess};
use crate::graph::Graph;
use crate::onnx::Dtype;

/// A configuration of more bytes than this is not one.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Where preprocessing comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provenance {
    /// This file beside the model.
    File(PathBuf),
    /// Nothing beside the model says how: the shape of its input, and ImageNet's mean and deviation.
    Default,
    /// Nothing beside the model says how, and its input takes bytes.
    Bytes,
    /// A person chose it.
    Chosen,
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "from {}", path.file_name().unwrap_or(path.as_os_str()).to_string_lossy()),
            Self::Default => f.write_str("ImageNet's mean and deviation, because no file beside the model says how"),
            Self::Bytes => f.write_str("values from 0 to 255, because the model takes bytes"),
            Self::Chosen => f.write_str("as chosen"),
        }
    }
}

impl Preprocess {
    /// What the files beside the model at `path` say, else what its input's shape says with ImageNet's numbers. Which of both is
    /// in the second value.
    #[must_use]
    pub fn for_model(graph: &Graph, path: &Path) -> (Self, Provenance) {
        let input = FirstInput::of(graph);
        let mut preprocess = Preprocess { channels: input.channels, layout: input.layout, ..Preprocess::default() };
        preprocess.size = input.size.unwrap_or(preprocess.size);
        for candidate in candidates(path) {
            let Some(config) = read(&candidate) else { continue };
            let described = timm(&config, &preprocess, input.size).or_else(|| hugging_face(&config, &preprocess, input.size));
            if let Some(described) = described.filter(|p| p.check().is_ok()) {
                return (described, Provenance::File(candidate));
            }
        }
        if input.takes_bytes {
            let plain = Preprocess { divisor: 1.0, mean: [0.0; 3], std: [1.0; 3], ..preprocess };
            return (plain, Provenance::Bytes);
        }
        (preprocess, Provenance::Default)
    }
}

fn candidates(model: &Path) -> Vec<PathBuf> {
    let folder = model.parent().unwrap_or(Path::new(""));
    let mut named = model.file_stem().unwrap_or_default().to_owned();
    named.push(".config.json");
    let mut list = vec![folder.join(named)];
    let above = folder.parent().filter(|_| folder.file_name().is_some_and(|n| n == "onnx"));
    for folder in std::iter::once(folder).chain(above) {
        list.extend(["preprocessor_config.json", "config.json"].map(|name| folder.join(name)));
    }
    list
}

fn read(path: &Path) -> Option<Value> {
    let mut text = String::new();
    // One byte more than the limit tells a file that is too large.
    let bytes = File::open(path).ok()?.take(MAX_CONFIG_BYTES + 1).read_to_string(&mut text).ok()?;
    (bytes as u64 <= MAX_CONFIG_BYTES).then(|| serde_json::from_str(&text).ok()).flatten()
}

/// What the shape of a model's first input tells.
struct FirstInput {
    size: Option<[usize; 2]>,
    channels: Colours,
    layout: ChannelOrder,
    takes_bytes: bool,
}

impl FirstInput {
    fn of(graph: &Graph) -> Self {
        let mut found = Self { size: None, channels: Colours::Rgb, layout: ChannelOrder::Nchw, takes_bytes: false };
        let Some(input) = graph.inputs.iter().find(|i| i.shape.len() == 4) else { return found };
        found.takes_bytes = input.dtype == Dtype::U8;
        let is_colour = |d: Option<usize>| matches!(d, Some(1 | 3));
        found.layout = if !is_colour(input.shape[1]) && is_colour(input.shape[3]) { ChannelOrder::Nhwc } else { ChannelOrder::Nchw };
        let [count, height, width] = match found.layout {
            ChannelOrder::Nchw => [1, 2, 3],
            ChannelOrder::Nhwc => [3, 1, 2],
        };
        if input.shape[count] == Some(1) {
            found.channels = Colours::Grey;
        }
        let edge = |d: usize| input.shape[d].filter(|e| (1..=MAX_EDGE).contains(e));
        found.size = edge(height).zip(edge(width)).map(|(h, w)| [h, w]);
        found
    }
}

fn number(value: &Value, key: &str) -> Option<f64> {
    value.get(key)?.as_f64()
}

fn edge(value: Option<&Value>) -> Option<usize> {
    usize::try_from(value?.as_u64()?).ok()
}

/// Three numbers; one number or a list of one stands for all three.
fn three(value: Option<&Value>) -> Option<[f32; 3]> {
    match value? {
        Value::Array(list) => match list.as_slice() {
            [v] => Some([v.as_f64()? as f32; 3]),
            [a, b, c] => Some([a.as_f64()? as f32, b.as_f64()? as f32, c.as_f64()? as f32]),
            _ => None,
        },
        v => Some([v.as_f64()? as f32; 3]),
    }
}

/// timm's `pretrained_cfg`, in a `config.json` or on its own.
fn timm(config: &Value, base: &Preprocess, fixed: Option<[usize; 2]>) -> Option<Preprocess> {
    let config = config.get("pretrained_cfg").unwrap_or(config);
    let size = |key: &str| match config.get(key)?.as_array()?.as_slice() {
        [_, h, w] => Some([edge(Some(h))?, edge(Some(w))?]),
        _ => None,
    };
    let mut p = base.clone();
    p.mean = three(config.get("mean"))?;
    p.std = three(config.get("std"))?;
    p.size = fixed.or(size("input_size")).unwrap_or(base.size);
    // Exported at the larger size that timm tests at, the crop is the one for that size.
    let test = number(config, "test_crop_pct").filter(|_| size("test_input_size") == Some(p.size));
    p.crop = test.or(number(config, "crop_pct")).unwrap_or(p.crop);
    p.filter = filter_named(config.get("interpolation").and_then(Value::as_str)).unwrap_or(p.filter);
    if config.get("crop_mode").and_then(Value::as_str) == Some("squash") {
        p.resize = Resize::Squash;
    }
    p.channels = grey(config, p.channels);
    Some(p)
}

fn filter_named(name: Option<&str>) -> Option<Filter> {
    match name? {
        "nearest" => Some(Filter::Nearest),
        "bilinear" => Some(Filter::Bilinear),
        "bicubic" => Some(Filter::Bicubic),
        "lanczos" => Some(Filter::Lanczos),
        _ => None,
    }
}

/// `"do_grayscale": true`, a field of some of Hugging Face's processors, read in both forms: grey in as many channels as the model
/// takes.
fn grey(config: &Value, channels: Colours) -> Colours {
    let wanted = config.get("do_grayscale").and_then(Value::as_bool).unwrap_or(false);
    if wanted && channels == Colours::Rgb { Colours::GreyInThree } else { channels }
}

/// Hugging Face's `preprocessor_config.json`.
fn hugging_face(config: &Value, base: &Preprocess, fixed: Option<[usize; 2]>) -> Option<Preprocess> {
    let does = |key: &str| config.get(key).and_then(Value::as_bool);
    config.as_object()?.keys().find(|k| matches!(k.as_str(), "image_mean" | "do_normalize" | "do_resize" | "do_rescale"))?;
    let mut p = base.clone();
    if does("do_normalize").unwrap_or(config.get("image_mean").is_some()) {
        p.mean = three(config.get("image_mean")).unwrap_or(base.mean);
        p.std = three(config.get("image_std")).unwrap_or(base.std);
    } else {
        (p.mean, p.std) = ([0.0; 3], [1.0; 3]);
    }
    p.divisor = match (does("do_rescale"), number(config, "rescale_factor")) {
        (Some(false), _) => 1.0,
        (_, Some(factor)) if factor > 0.0 => divisor(factor),
        _ => 255.0,
    };
    // EfficientNet's and ViViT's processors: from -1 to 1 before mean and deviation.
    if does("rescale_offset").or(does("offset")) == Some(true) && does("do_rescale") != Some(false) {
        p.mean = p.mean.map(|mean| mean + 1.0);
    }
    p.filter = match config.get("resample").and_then(Value::as_u64) {
        Some(0) => Filter::Nearest,
        Some(1) => Filter::Lanczos,
        Some(2) => Filter::Bilinear,
        _ => Filter::Bicubic,
    };
    let size = config.get("size");
    let both = |v: Option<&Value>| Some([edge(v?.get("height"))?, edge(v?.get("width"))?]);
    let shortest = edge(size.and_then(|s| s.get("shortest_edge")));
    // Older files give one number: the shortest edge where a crop follows, both edges otherwise.
    let plain = edge(size);
    let crop = config.get("crop_size");
    let cropped = both(crop).or(edge(crop).map(|e| [e, e])).filter(|_| does("do_center_crop") != Some(false));
    p.size = fixed.or(cropped).or(both(size)).or(shortest.or(plain).map(|e| [e, e])).unwrap_or(base.size);
    let target = p.size[0].min(p.size[1]);
    (p.resize, p.crop) = if does("do_resize") == Some(false) {
        (Resize::None, 1.0)
    } else if let Some(crop) = number(config, "crop_pct").filter(|_| shortest.is_some_and(|s| s < 384)) {
        // ConvNeXt's processor.
        (Resize::Shortest, crop)
    } else {
        match (both(size), shortest.or(plain.filter(|_| cropped.is_some()))) {
            (Some([height, width]), _) => (Resize::Squash, fraction(target, height.min(width))),
            (None, Some(edge)) => (Resize::Shortest, fraction(target, edge)),
            _ => (Resize::Squash, 1.0),
        }
    };
    p.channels = grey(config, p.channels);
    Some(p)
}

/// What divides as `factor` multiplies. A file has 1 / 255 with as many digits as a float64: 255 is meant, not what its rounding
/// makes of it.
fn divisor(factor: f64) -> f64 {
    let exact = 1.0 / factor;
    let short = f64::from(exact as f32);
    if (short * factor - 1.0).abs() <= 4.0 * f64::EPSILON { short } else { exact }
}

/// The crop for which the edge before it is `before`.
fn fraction(size: usize, before: usize) -> f64 {
    if before <= size {
        return 1.0;
    }
    let mut crop = size as f64 / before as f64;
    // The quotient, rounded, can divide back to a hair below.
    while (size as f64 / crop).floor() < before as f64 {
        crop = crop.next_down();
    }
    crop
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::ValueId;

    fn graph(shape: &[Option<usize>], dtype: Dtype) -> Graph {
        let input = crate::graph::Input { name: "x".into(), value: ValueId(0), dtype, shape: shape.to_vec() };
        Graph { inputs: vec![input], ..Graph::default() }
    }

    fn described(name: &str, text: &str, shape: &[Option<usize>]) -> (Preprocess, Provenance) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), text).unwrap();
        Preprocess::for_model(&graph(shape, Dtype::F32), &folder.path().join("m.onnx"))
    }

    const OPEN: [Option<usize>; 4] = [None, Some(3), None, None];

    #[test]
    fn the_shape_tells_size_layout_and_channels() {
        let of = |shape: [Option<usize>; 4]| Preprocess::for_model(&graph(&shape, Dtype::F32), Path::new("nowhere/m.onnx"));
        let (p, from) = of([None, Some(3), Some(192), Some(160)]);
        assert_eq!((p.size, p.layout, p.channels, from), ([192, 160], ChannelOrder::Nchw, Colours::Rgb, Provenance::Default));
        let (p, _) = of([Some(1), Some(28), Some(28), Some(1)]);
        assert_eq!((p.size, p.layout, p.channels, p.shape()), ([28, 28], ChannelOrder::Nhwc, Colours::Grey, [28, 28, 1]));
        assert_eq!(of(OPEN).0.size, [224, 224]);
        assert_eq!(of([None, Some(3), Some(usize::MAX), Some(2)]).0.size, [224, 224], "beyond any memory");
        let (p, from) = Preprocess::for_model(&graph(&[None, Some(64), Some(128), Some(3)], Dtype::U8), Path::new("m.onnx"));
        assert_eq!((p.divisor, p.mean, p.std, from), (1.0, [0.0; 3], [1.0; 3], Provenance::Bytes));
    }

    #[test]
    fn timm_is_read() {
        let text = r#"{"architecture": "x", "pretrained_cfg": {"input_size": [3, 224, 224], "test_input_size": [3, 256, 256],
            "test_crop_pct": 0.95, "crop_pct": 0.9, "interpolation": "bilinear", "crop_mode": "squash",
            "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}}"#;
        let (p, from) = described("config.json", text, &OPEN);
        assert!(matches!(from, Provenance::File(path) if path.ends_with("config.json")));
        assert_eq!((p.size, p.crop, p.filter, p.resize), ([224, 224], 0.9, Filter::Bilinear, Resize::Squash));
        assert_eq!((p.mean, p.std), ([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]));
        let (p, _) = described("m.config.json", text, &[None, Some(3), Some(256), Some(256)]);
        assert_eq!((p.size, p.crop), ([256, 256], 0.95));
    }

    #[test]
    fn hugging_face_is_read() {
        let clip = r#"{"crop_size": {"height": 224, "width": 224}, "size": {"shortest_edge": 235}, "do_center_crop": true,
            "image_mean": [0.48, 0.45, 0.4], "image_std": [0.26, 0.26, 0.27], "resample": 3, "rescale_factor": 0.00392156862745098}"#;
        let (p, _) = described("preprocessor_config.json", clip, &OPEN);
        assert_eq!((p.size, p.resize, p.filter, p.divisor), ([224, 224], Resize::Shortest, Filter::Bicubic, 255.0));
        assert_eq!((224.0 / p.crop).floor(), 235.0);
        let vit = r#"{"do_normalize": true, "do_resize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
            "resample": 2, "size": 384}"#;
        let (p, _) = described("preprocessor_config.json", vit, &OPEN);
        assert_eq!((p.size, p.resize, p.crop, p.filter), ([384, 384], Resize::Squash, 1.0, Filter::Bilinear));
        let plain = r#"{"do_normalize": false, "do_rescale": false, "do_resize": false, "size": {"height": 32, "width": 48}}"#;
        let (p, _) = described("preprocessor_config.json", plain, &OPEN);
        assert_eq!((p.size, p.resize, p.divisor, p.mean, p.std), ([32, 48], Resize::None, 1.0, [0.0; 3], [1.0; 3]));
    }

    #[test]
    fn a_rescale_factor_is_what_it_says() {
        let of = |factor: &str, more: &str| {
            let text = format!(r#"{{"do_normalize": false, "rescale_factor": {factor}{more}}}"#);
            let (p, from) = described("preprocessor_config.json", &text, &OPEN);
            assert!(matches!(from, Provenance::File(_)), "{factor}");
            (p.divisor, p.mean)
        };
        assert_eq!(of("0.00392156862745098", ""), (255.0, [0.0; 3]));
        assert_eq!(of("0.003921568627451", "").0, 1.0 / 0.003_921_568_627_451);
        assert_eq!(of("0.00784313725490196", r#", "rescale_offset": true"#), (127.5, [1.0; 3]));
        assert_eq!(of("0.0078125", "").0, 128.0);
        assert_eq!(of("1.0", "").0, 1.0);
        assert_eq!(of("0.0123", "").0, 1.0 / 0.0123);
        assert_eq!(of("1.52587890625e-05", "").0, 65536.0);
        assert_eq!(of("0.00392156862745098", r#", "do_rescale": false, "offset": true"#), (1.0, [0.0; 3]));
    }

    #[test]
    fn other_files_and_broken_ones_are_passed_over() {
        for text in ["", "[]", "{\"model_type\": \"vit\"}", "{\"mean\": [1], \"std\": [0, 0, 0]}", "{\"image_mean\": 1, \"image_std\": 0}"]
        {
            let (p, from) = described("config.json", text, &OPEN);
            assert_eq!((p, from), (Preprocess::default(), Provenance::Default), "{text}");
        }
    }
}
