//! What a file is that is no ONNX model, told by its content, and what to do with it.

use std::borrow::Cow;
use std::path::Path;

use onnx_ir::{Message, TensorProto};

use super::{OpenError, wire};

/// Bytes from the start of a file that tell what it is.
pub(super) const HEAD: usize = 1 << 16;

/// Names of models in a folder or an archive that are told.
const MAX_TOLD: usize = 3;

/// What it is, with its article, and what to do.
type Told = (String, String);

const UNPACK: &str = "unpack it and open the .onnx file in it";
const EXPORT: &str = "export the network where it was made, with torch.onnx.export(model, inputs, \"model.onnx\")";
const CONVERT: &str = "turn it into ONNX with tf2onnx, or with model.export(\"model.onnx\", format=\"onnx\") of Keras";
const SOURCE: &str = "open the ONNX file that it was made from";
const DOWNLOAD: &str = "download the file itself";

/// What the bytes from the start of a file are, where they are known.
pub(super) fn recognised(path: &Path, bytes: &[u8]) -> Option<OpenError> {
    let head = &bytes[..bytes.len().min(HEAD)];
    let (what, advice) = empty(head)
        .or_else(|| text(head))
        .or_else(|| archive(path, head))
        .or_else(|| model(head))
        .or_else(|| protobuf(path, bytes))
        .or_else(|| other(head))?;
    Some(OpenError::Foreign { what, advice, path: path.to_owned() })
}

/// What a folder is, and the models in it.
pub(super) fn folder(path: &Path) -> OpenError {
    let has = |name: &str| path.join(name).exists();
    let (what, advice) = if has("saved_model.pb") {
        told("a SavedModel of TensorFlow", "turn it into ONNX with python -m tf2onnx.convert --saved-model FOLDER --output model.onnx")
    } else if path.extension().is_some_and(|e| e == "mlpackage") || has("Manifest.json") && has("Data") {
        told("a package of Core ML", SOURCE)
    } else if has("pytorch_model.bin") || has("model.safetensors") {
        told("a folder with weights of PyTorch", "export the network as ONNX: optimum-cli export onnx --model FOLDER OUT")
    } else {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        told("a folder", &models(entries).map_or_else(|| "open an .onnx file".to_owned(), |names| format!("open {names} in it")))
    };
    OpenError::Foreign { what, advice, path: path.to_owned() }
}

fn told(what: &str, advice: &str) -> Told {
    (what.to_owned(), advice.to_owned())
}

/// The ONNX models among names, a few of them, as text.
fn models(names: impl Iterator<Item = String>) -> Option<String> {
    let mut models: Vec<String> = names.filter(|name| name.to_ascii_lowercase().ends_with(".onnx")).collect();
    models.sort();
    let more = models.len().saturating_sub(MAX_TOLD);
    let list = models.iter().take(MAX_TOLD).map(|name| format!("“{name}”")).collect::<Vec<_>>().join(", ");
    match more {
        _ if models.is_empty() => None,
        0 => Some(list),
        more => Some(format!("{list} or one of {more} more")),
    }
}

fn empty(head: &[u8]) -> Option<Told> {
    if head.is_empty() {
        return Some(told("an empty file", "copy or download it again"));
    }
    head.iter().all(|&b| b == 0).then(|| told("a file of zeros", "a download that broke off leaves such: fetch it again"))
}

/// Anything that people read.
fn text(head: &[u8]) -> Option<Told> {
    let whole = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    // The last character can be cut.
    let valid = match std::str::from_utf8(whole) {
        Ok(text) => text,
        Err(e) if e.error_len().is_none() => std::str::from_utf8(&whole[..e.valid_up_to()]).unwrap_or_default(),
        Err(_) => return None,
    };
    let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}');
    if valid.is_empty() || valid.contains(is_control) {
        return None;
    }
    let trimmed = valid.trim_start();
    let starts = |prefix: &str| trimmed.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    if starts("version https://git-lfs.github.com/spec/") {
        let size = trimmed.lines().find_map(|line| line.strip_prefix("size ")).and_then(|size| size.trim().parse::<u64>().ok());
        let size = size.map(|size| format!(" for a file of {size} bytes")).unwrap_or_default();
        let advice = "fetch the file itself: git lfs pull in its repository, or download it from there";
        return Some((format!("a Git LFS pointer{size}"), advice.to_owned()));
    }
    if ["<!doctype html", "<html", "<head", "<script"].iter().any(|tag| starts(tag)) {
        return Some(told("a web page", "the download gave a page instead of the file, often one to log in: download the file itself"));
    }
    if starts("<?xml") || starts("<net ") {
        let is_network = trimmed.contains("<net ");
        return Some(if is_network { told("a network of OpenVINO", SOURCE) } else { told("an XML file", DOWNLOAD) });
    }
    let is_onnx_text = starts("ir_version")
        || starts("<\n   ir_version")
        || starts("<ir_version")
        || trimmed.starts_with('{') && valid.contains("\"irVersion\"");
    if is_onnx_text {
        return Some(told("an ONNX model as text", "write it as a binary file: onnx.save(onnx.load(…), \"model.onnx\")"));
    }
    if starts("7767517") {
        return Some(told("a network of ncnn", SOURCE));
    }
    if trimmed.starts_with(['{', '[']) {
        return Some(told("a JSON file", DOWNLOAD));
    }
    let line = trimmed.trim_end();
    let is_path = !line.contains(char::is_whitespace) && line.contains(['/', '\\']) && line.len() < 1024;
    if is_path {
        return Some((format!("a link to “{line}” that was copied as text"), "copy the file that it names".to_owned()));
    }
    Some(told("a text file", DOWNLOAD))
}

fn archive(path: &Path, head: &[u8]) -> Option<Told> {
    let is_tar = head.get(257..262) == Some(b"ustar");
    let packed = match head {
        [b'P', b'K', 3 | 5 | 7, ..] => return Some(zipped(path, head)),
        [0x1f, 0x8b, ..] => "a gzip archive",
        [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => "a 7z archive",
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => "an xz archive",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "a Zstandard archive",
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => "a bzip2 archive",
        [b'R', b'a', b'r', b'!', ..] => "a RAR archive",
        _ if is_tar => "a tar archive",
        _ => return None,
    };
    Some(told(packed, UNPACK))
}

/// A zip, which many formats are inside.
fn zipped(path: &Path, head: &[u8]) -> Told {
    let opened = std::fs::File::open(path).ok().and_then(|file| zip::ZipArchive::new(std::io::BufReader::new(file)).ok());
    // A zip that broke off has no list of its files; the first name is at its start.
    let first = || head.get(30..).map(|rest| String::from_utf8_lossy(&rest[..rest.len().min(200)]).into_owned());
    let names: Vec<String> =
        opened.map_or_else(|| first().into_iter().collect(), |zip| zip.file_names().filter_map(Result::ok).map(Cow::into_owned).collect());
    let has = |end: &str| names.iter().any(|name| name.ends_with(end) || name.contains(&format!("{end}PK")));
    let any = |part: &str| names.iter().any(|name| name.contains(part));
    if let Some(models) = models(names.iter().cloned()) {
        return ("a zip archive".to_owned(), format!("unpack it and open {models}"));
    }
    if any("/code/") && any("constants.pkl") {
        return told(
            "a TorchScript file of PyTorch",
            "export the network it was made from, with torch.onnx.export(model, inputs, \"model.onnx\")",
        );
    }
    if any("data.pkl") {
        return told("a file of PyTorch (.pt or .pth)", EXPORT);
    }
    if any("model.weights.h5") || any("metadata.json") && any("config.json") {
        return told("a model of Keras", CONVERT);
    }
    if has(".npy") {
        return told("an archive of NumPy arrays (.npz)", EXPORT);
    }
    told("a zip archive", UNPACK)
}

/// Models and weights of other programs that begin with a mark of their own.
fn model(head: &[u8]) -> Option<Told> {
    let header = head.first_chunk().map(|length| u64::from_le_bytes(*length));
    let is_safetensors = header.is_some_and(|length| length > 1 && length < 1 << 32) && head.get(8) == Some(&b'{');
    let is_pickle = matches!(head, [0x80, 2..=5, ..]);
    Some(match (head, head.get(4..8)) {
        _ if is_safetensors => told("a safetensors file: weights alone, without a network", EXPORT),
        // Written with pickle's second protocol: a number of 10 bytes that PyTorch chose.
        ([0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, ..], _) => told("a file of PyTorch (.pt or .pth) in its old form", EXPORT),
        _ if is_pickle => told("a pickle of Python", EXPORT),
        (_, Some(b"TFL3")) => {
            told("a model of TensorFlow Lite", "turn it into ONNX with python -m tf2onnx.convert --tflite model.tflite --output model.onnx")
        }
        (_, Some(b"ORTM")) => told("a model in ONNX Runtime's own format (.ort)", SOURCE),
        ([0x89, b'H', b'D', b'F', b'\r', b'\n', ..], _) => told("an HDF5 file (.h5), as Keras writes", CONVERT),
        ([b'f' | b'p', b't', b'r', b't', ..], _) => told("an engine of TensorRT, made for one kind of GPU", SOURCE),
        ([b'G', b'G', b'U', b'F', ..], _) => told("a GGUF file, as llama.cpp reads", SOURCE),
        ([b'R', b'K', b'N', b'N', ..], _) => told("a model of RKNN, made for one kind of chip", SOURCE),
        ([0x93, b'N', b'U', b'M', b'P', b'Y', ..], _) => told("a NumPy array (.npy)", EXPORT),
        _ => return None,
    })
}

/// Files that are protobuf, too.
fn protobuf(path: &Path, bytes: &[u8]) -> Option<Told> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    if is_graph_def(bytes).is_some_and(|is_one| is_one) {
        let advice = "turn it into ONNX with python -m tf2onnx.convert --graphdef FILE --output model.onnx";
        return Some(told("a graph of TensorFlow (.pb)", advice));
    }
    if extension == "mlmodel" {
        return Some(told("a model of Core ML", SOURCE));
    }
    if matches!(bytes, [0x08, 1, 0x12, ..]) && extension == "pb" {
        return Some(told(
            "a SavedModel of TensorFlow",
            "turn it into ONNX with python -m tf2onnx.convert --saved-model FOLDER --output model.onnx",
        ));
    }
    let tensor = TensorProto::parse_from_bytes(bytes).ok().filter(|t| (1..=32).contains(&t.data_type));
    let holds = |t: &TensorProto| !(t.raw_data.is_empty() && t.float_data.is_empty() && t.int32_data.is_empty() && t.int64_data.is_empty());
    tensor.filter(holds).map(|_| told("a single tensor of ONNX, as its tests have", "open the model.onnx that it belongs to"))
}

/// Whether the first field is a node of TensorFlow's `GraphDef`: its name, then its operator.
fn is_graph_def(bytes: &[u8]) -> Option<bool> {
    let length = |tag: u8, at: usize| {
        let (length, start) = wire::varint(bytes, at + 1, bytes.len()).ok()?;
        (bytes.get(at) == Some(&tag)).then_some((usize::try_from(length).ok()?, start))
    };
    let (_, node) = length(0x0a, 0)?;
    let (name, at) = length(0x0a, node)?;
    let (_, operator) = length(0x12, at.checked_add(name)?)?;
    bytes.get(operator).map(u8::is_ascii_uppercase)
}

/// Anything else that is often met.
fn other(head: &[u8]) -> Option<Told> {
    let what = match head {
        [0x89, b'P', b'N', b'G', ..] => "a PNG picture",
        [0xff, 0xd8, 0xff, ..] => "a JPEG picture",
        [b'G', b'I', b'F', b'8', ..] => "a GIF picture",
        [b'%', b'P', b'D', b'F', ..] => "a PDF document",
        [0x7f, b'E', b'L', b'F', ..] | [b'M', b'Z', ..] => "a program or library",
        // With a mark of its order of bytes, as PowerShell writes it.
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "a text file",
        _ => return None,
    };
    Some(told(what, "open an .onnx file"))
}
