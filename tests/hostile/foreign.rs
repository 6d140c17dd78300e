//! Files that are no ONNX models, whatever their names say: what they are is told, and what to do.

use std::io::Write;
use std::path::Path;

use secateur::onnx::{OnnxFile, OpenError};

use super::tiny;

/// A zip of empty files with these names.
fn zip(names: &[&str]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for name in names {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(b"content").unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn padded(head: &[u8]) -> Vec<u8> {
    [head, &[0xa5; 600]].concat()
}

/// A field with a length.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, content.len() as u8], content].concat()
}

/// Contents, with words of what they are and of what to do.
fn contents() -> Vec<(Vec<u8>, &'static str, &'static str)> {
    let text = |text: &str| text.as_bytes().to_vec();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9999999\n";
    let page = "\n<!DOCTYPE html>\n<html><body>Please log in</body></html>";
    let mut tar = vec![b'a'; 600];
    tar[257..262].copy_from_slice(b"ustar");
    tar[0] = 0xc0;
    let header = "{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
    let safetensors = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 4]].concat();
    let old_pickle = padded(&[0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.']);
    let node = [field(1, b"input"), field(2, b"Placeholder")].concat();
    let graph_def = field(1, &node);
    let tensor = onnx_ir::Message::write_to_bytes(&tiny::tensor("x", &[2], tiny::FLOAT, vec![0; 8])).unwrap();
    let cut = zip(&["archive/data.pkl", "archive/data/0"])[..60].to_vec();
    vec![
        (text(pointer), "a Git LFS pointer for a file of 9999999 bytes", "git lfs pull"),
        (text(page), "a web page", "download the file itself"),
        (text("<?xml version=\"1.0\"?>\n<net name=\"x\"></net>"), "OpenVINO", "made from"),
        (text("../blobs/0123abcd"), "a link to “../blobs/0123abcd” that was copied as text", "copy the file"),
        (text("ir_version: 8\ngraph { }"), "an ONNX model as text", "onnx.save"),
        (text("{\"irVersion\": \"8\"}"), "an ONNX model as text", "onnx.save"),
        (text("{\"error\": \"not found\"}"), "a JSON file", "download"),
        (text("Entry not found, ünd more"), "a text file", "download"),
        (Vec::new(), "an empty file", "again"),
        (vec![0; 4096], "a file of zeros", "fetch it again"),
        (zip(&["readme.txt", "net/model.onnx"]), "a zip archive", "open “net/model.onnx”"),
        (zip(&["readme.txt"]), "a zip archive", "unpack"),
        (zip(&["archive/data.pkl", "archive/data/0"]), "PyTorch (.pt or .pth)", "torch.onnx.export"),
        (cut, "PyTorch (.pt or .pth)", "torch.onnx.export"),
        (zip(&["net/data.pkl", "net/code/__torch__.py", "net/constants.pkl"]), "TorchScript", "torch.onnx.export"),
        (zip(&["metadata.json", "config.json", "model.weights.h5"]), "a model of Keras", "tf2onnx"),
        (zip(&["arr_0.npy"]), "NumPy arrays", ""),
        (padded(&[0x1f, 0x8b, 8, 0]), "a gzip archive", "unpack"),
        (padded(&[b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c]), "a 7z archive", "unpack"),
        (tar, "a tar archive", "unpack"),
        (old_pickle, "PyTorch (.pt or .pth) in its old form", "torch.onnx.export"),
        (padded(&[0x80, 4, 0x95, 0, 0]), "a pickle", ""),
        (safetensors, "a safetensors file", "torch.onnx.export"),
        (padded(b"\x1c\0\0\0TFL3"), "TensorFlow Lite", "tf2onnx.convert --tflite"),
        (padded(b"\x18\0\0\0ORTM"), "(.ort)", "made from"),
        (padded(&[0x89, b'H', b'D', b'F', b'\r', b'\n', 0x1a, b'\n']), "HDF5", "tf2onnx"),
        (padded(b"ftrt\xff\0"), "an engine of TensorRT", "made from"),
        (padded(b"GGUF\x03\0"), "a GGUF file", "made from"),
        (graph_def, "a graph of TensorFlow", "tf2onnx.convert --graphdef"),
        (tensor, "a single tensor", "model.onnx"),
        (padded(&[0x89, b'P', b'N', b'G', b'\r', b'\n']), "a PNG picture", ""),
        (padded(b"\x7fELF\x02\x01"), "a program", ""),
    ]
}

#[test]
fn what_a_file_is_and_what_to_do_is_told_by_its_content() {
    let folder = tempfile::tempdir().unwrap();
    // The name says nothing.
    let path = folder.path().join("model.onnx");
    for (content, what, advice) in contents() {
        std::fs::write(&path, &content).unwrap();
        let error = OnnxFile::open(&path).unwrap_err();
        let told = error.to_string();
        assert!(matches!(error, OpenError::Foreign { .. }) && told.contains(what) && told.contains(advice), "{what}: {told}");
        assert!(told.ends_with("model.onnx") && told.lines().count() == 1, "{told}");
    }
}

#[test]
fn what_is_cut_or_made_of_noise_is_no_whole_onnx_file() {
    let whole = onnx_ir::Message::write_to_bytes(&tiny::model(vec![tiny::node("Relu", &["x"], "y")], vec![])).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let noise: Vec<u8> = (0..5000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for content in [&whole[..whole.len() - 3], &noise] {
        std::fs::write(&path, content).unwrap();
        assert!(matches!(OnnxFile::open(&path), Err(OpenError::NotOnnx { .. })));
    }
}

#[test]
fn a_folder_is_told_with_the_models_in_it() {
    let told = |path: &Path| OnnxFile::open(path).unwrap_err().to_string();
    let folder = tempfile::tempdir().unwrap();
    assert!(told(folder.path()).contains("this is a folder, not an ONNX model; open an .onnx file"), "{}", told(folder.path()));
    for name in ["b.onnx", "a.ONNX", "c.onnx", "d.onnx", "notes.txt"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    let text = told(folder.path());
    assert!(text.contains("open “a.ONNX”, “b.onnx”, “c.onnx” or one of 1 more in it"), "{text}");
    std::fs::write(folder.path().join("saved_model.pb"), "").unwrap();
    assert!(told(folder.path()).contains("SavedModel") && told(folder.path()).contains("--saved-model"));
}

/// Larger than any ONNX file, and so not read: its first bytes tell all the same.
#[test]
fn a_large_file_is_told_by_its_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(5 << 30).unwrap();
    (&file).write_all(&[&[200, 0, 0, 0, 0, 0, 0, 0][..], b"{\"w\":"].concat()).unwrap();
    assert!(OnnxFile::open(&path).unwrap_err().to_string().contains("a safetensors file"));
    let path = folder.path().join("huge.onnx");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(3 << 30).unwrap();
    (&file).write_all(&[8, 10, 0x12, 0xff]).unwrap();
    assert!(matches!(OnnxFile::open(&path), Err(OpenError::TooLarge { .. })));
}
