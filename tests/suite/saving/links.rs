//! Models that are links, as caches keep them: what a link leads to is read where it may be, and saving replaces the link alone.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use secateur::atomic::Overwrite;
use secateur::onnx::{OnnxFile, OpenError, TensorFault};
use tempfile::TempDir;

use super::data_files::{changes, floats, save_half, tree};
use super::{tiny, written};

const MODEL: &str = "ac1496f43c3ba81d2a7f1bc45ea41b45965617a6e5d348966c58f7181a03e14c";
const DATA: &str = "3128db2922e730064016631c8b7a9c5f7e3964a69f2d5bdcebe60023555b9ec0";
const REVISION: &str = "0123456789abcdef0123456789abcdef01234567";

/// A cache as Hugging Face's libraries make it, with the model's folder in it: blobs named by their hashes, links to them.
fn hub() -> (TempDir, PathBuf) {
    let cache = tempfile::tempdir().unwrap();
    let at = |name: &str| cache.path().join("models--someone--grey").join(name);
    let snapshot = at(&format!("snapshots/{REVISION}/onnx"));
    for folder in [&at("blobs"), &at("refs"), &snapshot] {
        std::fs::create_dir_all(folder).unwrap();
    }
    for entry in std::fs::read_dir("tests/cases/hub").unwrap() {
        let blob = entry.unwrap().path();
        std::fs::copy(&blob, at("blobs").join(blob.file_name().unwrap())).unwrap();
    }
    std::fs::write(at("refs/main"), REVISION).unwrap();
    symlink(format!("../../../blobs/{MODEL}"), snapshot.join("model.onnx")).unwrap();
    symlink(format!("../../../blobs/{DATA}"), snapshot.join("model.onnx_data")).unwrap();
    (cache, snapshot)
}

fn fault(model: &Path) -> TensorFault {
    match OnnxFile::open(model) {
        Err(OpenError::Weights { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_model_in_the_hubs_cache_opens_and_its_blobs_stay() {
    let (cache, snapshot) = hub();
    let model = snapshot.join("model.onnx");
    let dense = floats(&model);
    assert_eq!(dense.len(), 3);
    let before = tree(cache.path());
    // Elsewhere, beside it, over it, and again.
    let out = tempfile::tempdir().unwrap();
    save_half(&model, &out.path().join("out.onnx"), Overwrite::Refuse).unwrap();
    assert_eq!(changes(&before, cache.path()), [""; 0]);
    save_half(&model, &snapshot.join("pruned.onnx"), Overwrite::Refuse).unwrap();
    assert_eq!(floats(&model), dense);
    let pruned = floats(&snapshot.join("pruned.onnx"));
    assert_eq!(floats(&out.path().join("out.onnx")), pruned);
    for _ in 0..2 {
        save_half(&model, &model, Overwrite::Allow).unwrap();
        assert_eq!(floats(&model), pruned);
        let folder = format!("models--someone--grey/snapshots/{REVISION}/onnx");
        let wanted = ["model.onnx_data", "pruned.onnx", "pruned.onnx.data"].map(|name| format!("{folder}/{name}"));
        assert_eq!(changes(&before, cache.path()).into_iter().filter(|name| !name.ends_with("/model.onnx")).collect::<Vec<_>>(), wanted);
        assert!(model.symlink_metadata().unwrap().is_file() && snapshot.join("model.onnx_data").symlink_metadata().unwrap().is_file());
    }
}

#[test]
fn a_model_in_the_hubs_cache_answers() {
    let (_cache, snapshot) = hub();
    let model = snapshot.join("model.onnx");
    let right = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_secateur"));
        command.arg("evaluate").arg(&model).args("--images tests/folders/stray --json --device cpu".split(' '));
        let output = command.args("--mean 0,0,0 --std 1,1,1 --crop 1 --filter bilinear".split(' ')).output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let row = &report["rows"][0];
        (row["top1"].as_f64().unwrap() * 36.0, row["images"].as_u64().unwrap())
    };
    assert_eq!(right(), (36.0, 36));
    save_half(&model, &model, Overwrite::Allow).unwrap();
    assert_eq!(right().1, 36, "what was saved over it");
}

#[test]
fn a_save_over_one_revision_leaves_the_other() {
    let (_cache, snapshot) = hub();
    let other = snapshot.parent().unwrap().with_file_name("fedcba9876543210fedcba9876543210fedcba98");
    std::fs::create_dir_all(other.join("onnx")).unwrap();
    for name in ["model.onnx", "model.onnx_data"] {
        symlink(std::fs::read_link(snapshot.join(name)).unwrap(), other.join("onnx").join(name)).unwrap();
    }
    let dense = floats(&other.join("onnx/model.onnx"));
    save_half(&snapshot.join("model.onnx"), &snapshot.join("model.onnx"), Overwrite::Allow).unwrap();
    assert_eq!(floats(&other.join("onnx/model.onnx")), dense);
}

#[test]
fn a_model_opens_through_links_to_links_and_to_folders() {
    let (cache, snapshot) = hub();
    let dense = floats(&snapshot.join("model.onnx"));
    let links = tempfile::tempdir().unwrap();
    symlink(&snapshot, links.path().join("folder")).unwrap();
    assert_eq!(floats(&links.path().join("folder/model.onnx")), dense);
    for name in ["model.onnx", "model.onnx_data"] {
        symlink(snapshot.join(name), links.path().join(name)).unwrap();
    }
    assert_eq!(floats(&links.path().join("model.onnx")), dense, "links to links");
    let before = tree(cache.path());
    save_half(&links.path().join("model.onnx"), &links.path().join("model.onnx"), Overwrite::Allow).unwrap();
    assert_eq!(changes(&before, cache.path()), [""; 0]);
    // The model alone is a link: its data lies beside what it leads to.
    let home = tempfile::tempdir().unwrap();
    std::fs::copy(snapshot.join("model.onnx"), home.path().join("model.onnx")).unwrap();
    std::fs::copy(snapshot.join("model.onnx_data"), home.path().join("model.onnx_data")).unwrap();
    let alone = tempfile::tempdir().unwrap();
    let link = alone.path().join("grey.onnx");
    symlink(home.path().join("model.onnx"), &link).unwrap();
    assert_eq!(floats(&link), dense);
    let before = tree(home.path());
    let report = save_half(&link, &link, Overwrite::Allow).unwrap();
    assert_eq!(report.files, [link.clone(), alone.path().join("grey.onnx.data")]);
    assert_eq!(changes(&before, home.path()), [""; 0]);
}

#[test]
fn a_link_to_a_model_beside_it_is_not_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (from, to) in [("first.onnx", "model.onnx"), ("first.onnx.data", "first.onnx.data")] {
        std::fs::copy(Path::new("tests/cases/named").join(from), at(to)).unwrap();
    }
    symlink("model.onnx", at("alias.onnx")).unwrap();
    symlink("first.onnx.data", at("alias.onnx.data")).unwrap();
    let (dense, before) = (floats(&at("model.onnx")), tree(folder.path()));
    // What is replaced is the link; neither the model nor what another link leads to.
    save_half(&at("alias.onnx"), &at("alias.onnx"), Overwrite::Allow).unwrap();
    assert_eq!(floats(&at("model.onnx")), dense);
    assert_ne!(floats(&at("alias.onnx")), dense);
    assert_eq!(changes(&before, folder.path()), ["alias.onnx", "alias.onnx.data.1"]);
}

/// As Kubernetes mounts a volume: names lead into `..data`, which leads to the folder of one revision.
#[test]
fn a_model_on_a_mounted_volume_opens_and_its_revision_stays() {
    let volume = tempfile::tempdir().unwrap();
    let at = |name: &str| volume.path().join(name);
    let revision = "..2026_01_31_23_59_59.123456789";
    std::fs::create_dir(at(revision)).unwrap();
    symlink(revision, at("..data")).unwrap();
    for name in ["first.onnx", "first.onnx.data"] {
        std::fs::copy(Path::new("tests/cases/named").join(name), at(revision).join(name)).unwrap();
        symlink(format!("..data/{name}"), at(name)).unwrap();
    }
    let (dense, before) = (floats(Path::new("tests/cases/named/first.onnx")), tree(volume.path()));
    assert_eq!(floats(&at("first.onnx")), dense);
    let report = save_half(&at("first.onnx"), &at("first.onnx"), Overwrite::Allow).unwrap();
    assert!(changes(&before, volume.path()).iter().all(|name| report.files.contains(&at(name))), "{:?}", report.files);
    assert_eq!(floats(&at(revision).join("first.onnx")), dense);
    assert_ne!(floats(&at("first.onnx")), dense);
}

/// As git-annex keeps files: each in a folder of its own below `.git`. What lies below the folder of the opened model is its own.
#[test]
fn a_store_with_a_folder_for_each_file_opens_and_its_objects_stay() {
    let annex = tempfile::tempdir().unwrap();
    for (name, key) in [("first.onnx", "XZ/9q/SHA256E-s1--aa.onnx"), ("first.onnx.data", "p3/Kv/SHA256E-s2--bb.data")] {
        let object = Path::new(".git/annex/objects").join(key).join(Path::new(key).file_name().unwrap());
        std::fs::create_dir_all(annex.path().join(&object).parent().unwrap()).unwrap();
        std::fs::copy(Path::new("tests/cases/named").join(name), annex.path().join(&object)).unwrap();
        symlink(object, annex.path().join(name)).unwrap();
    }
    let model = annex.path().join("first.onnx");
    let (dense, objects) = (floats(Path::new("tests/cases/named/first.onnx")), tree(&annex.path().join(".git")));
    assert_eq!(floats(&model), dense);
    save_half(&model, &model, Overwrite::Allow).unwrap();
    assert_ne!(floats(&model), dense);
    assert_eq!(changes(&objects, &annex.path().join(".git")), [""; 0]);
}

#[test]
fn nothing_else_is_read_through_a_link() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), [1; 9000]).unwrap();
    std::fs::create_dir(outside.path().join("deep")).unwrap();
    std::fs::write(outside.path().join("deep/secret"), [1; 9000]).unwrap();
    for target in
        [PathBuf::from("/etc/passwd"), outside.path().join("secret"), "../../../refs/main".into(), "../../../blobs/deep/data".into()]
    {
        let (cache, snapshot) = hub();
        let deep = cache.path().join("models--someone--grey/blobs/deep");
        std::fs::create_dir(&deep).unwrap();
        std::fs::write(deep.join("data"), [1; 9000]).unwrap();
        std::fs::remove_file(snapshot.join("model.onnx_data")).unwrap();
        symlink(&target, snapshot.join("model.onnx_data")).unwrap();
        let fault = fault(&snapshot.join("model.onnx"));
        assert!(matches!(fault, TensorFault::LinkedOutside { .. }), "{}: {fault:?}", target.display());
        assert!(fault.to_string().contains("copy both into one folder"), "{fault}");
    }
    // A folder that is a link, and a chain that ends outside.
    let external = |location: &str| {
        written(&tiny::model(vec![tiny::node("MatMul", &["x", "w"], "y")], vec![tiny::external("w", &[2, 2], location, "0", "16")]))
    };
    let (folder, path) = external("sub/secret");
    symlink(outside.path(), folder.path().join("sub")).unwrap();
    assert!(matches!(fault(&path), TensorFault::LinkedOutside { .. }));
    let (folder, path) = external("first");
    symlink("second", folder.path().join("first")).unwrap();
    symlink(outside.path().join("secret"), folder.path().join("second")).unwrap();
    assert!(matches!(fault(&path), TensorFault::LinkedOutside { .. }));
    // A location that climbs is none, link or not; a link that leads nowhere is told.
    let (_cache, snapshot) = hub();
    let climbing = tiny::model(vec![tiny::node("MatMul", &["x", "w"], "y")], vec![tiny::external("w", &[2, 2], "../secret", "0", "16")]);
    let blob = snapshot.join("climbing.onnx");
    std::fs::write(&blob, onnx_ir::Message::write_to_bytes(&climbing).unwrap()).unwrap();
    assert!(matches!(fault(&blob), TensorFault::Outside { .. }));
    std::fs::remove_file(snapshot.join("model.onnx_data")).unwrap();
    symlink("../../../blobs/gone", snapshot.join("model.onnx_data")).unwrap();
    assert!(matches!(fault(&snapshot.join("model.onnx")), TensorFault::Missing { .. }));
}

/// Git without links, and what unpacks archives without them, write where a link leads into a file of its name.
#[test]
fn a_link_that_was_copied_as_text_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, format!("../../../blobs/{MODEL}")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_secateur")).arg("inspect").arg(&path).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(told.contains(&format!("a link to “../../../blobs/{MODEL}” that was copied as text")), "{told}");
}
