//! Models whose weights lie in files beside them, which other models may use, too: saving one changes no byte of another.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use secateur::atomic::Overwrite;
use secateur::engine::EngineError;
use secateur::export::{Form, Format, Report};
use secateur::graph::ModuleId;
use secateur::onnx::{OnnxFile, TensorId, Values};
use secateur::prune::{Amount, Method, Recipe, Step};
use tempfile::TempDir;

use super::{half, names, open, tiny, written};

/// Everything below a folder: the content of files, where links lead.
pub(super) fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let kind = path.symlink_metadata().unwrap();
        if kind.is_symlink() {
            found.insert(path.clone(), std::fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes());
        } else if kind.is_dir() {
            found.extend(tree(&path));
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

/// A copy of a folder of fixtures.
fn copied(name: &str) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    let from = Path::new(name);
    for (path, content) in tree(from) {
        let to = copy.path().join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(to, content).unwrap();
    }
    copy
}

/// All float tensors of a model.
pub(super) fn floats(path: &Path) -> Vec<Values> {
    let file = OnnxFile::open(path).unwrap();
    (0..file.tensors.len()).filter_map(|i| file.floats(TensorId(i)).unwrap()).collect()
}

fn zeros(path: &Path) -> u64 {
    floats(path).iter().map(Values::zeros).sum()
}

/// Prunes half of a model and saves it.
pub(super) fn save_half(model: &Path, target: &Path, overwrite: Overwrite) -> Result<Report, EngineError> {
    let mut session = open(model);
    half(&mut session);
    session.save(target, Format::Onnx, overwrite)
}

/// Files that are not as they were, by their names.
pub(super) fn changes(before: &BTreeMap<PathBuf, Vec<u8>>, folder: &Path) -> Vec<String> {
    differences(before, &tree(folder), folder)
}

/// The same of two looks at a folder.
fn differences(before: &BTreeMap<PathBuf, Vec<u8>>, after: &BTreeMap<PathBuf, Vec<u8>>, folder: &Path) -> Vec<String> {
    let all: BTreeSet<&PathBuf> = before.keys().chain(after.keys()).collect();
    let changed: Vec<String> =
        all.into_iter().filter(|path| before.get(*path) != after.get(*path)).map(|path| path.display().to_string()).collect();
    let prefix = format!("{}/", folder.display());
    changed.iter().map(|path| path.strip_prefix(&prefix).unwrap().replace('\\', "/")).collect()
}

/// Every folder of models below `tests` and the demo's, with what lies beside and below them.
const FOLDERS: [&str; 10] = [
    "assets",
    "tests/answering",
    "tests/cases",
    "tests/channels",
    "tests/folders",
    "tests/kinds",
    "tests/models",
    "tests/networks",
    "tests/operators",
    "tests/repair",
];

const FORMATS: [Format; 5] =
    [Format::Onnx, Format::Safetensors(Form::Fixed), Format::Safetensors(Form::Unfixed), Format::Burnpack, Format::RustSource];

fn is_onnx(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "onnx")
}

#[test]
fn no_folder_of_models_is_forgotten() {
    let all = walkdir::WalkDir::new("tests").into_iter().map(|entry| entry.unwrap().into_path());
    for model in all.filter(|path| is_onnx(path)) {
        assert!(FOLDERS.iter().any(|folder| model.starts_with(folder)), "{}", model.display());
    }
}

#[test]
fn no_other_file_changes_whatever_model_is_saved() {
    let both = |a: [usize; FORMATS.len()], b: [usize; FORMATS.len()]| std::array::from_fn(|i| a[i] + b[i]);
    let saved = FOLDERS.par_iter().map(|folder| saves_in(folder)).reduce(|| [0; FORMATS.len()], both);
    println!("{saved:?} saves");
    assert!(saved.iter().all(|&number| number > 100), "{saved:?} saves");
}

/// Saves every model of a folder everywhere, and looks at all other files: how often each format was saved.
fn saves_in(folder: &str) -> [usize; FORMATS.len()] {
    let mut saved = [0; FORMATS.len()];
    let copy = copied(folder);
    let out = tempfile::tempdir().unwrap();
    std::fs::write(out.path().join("shared.data"), "somebody else's").unwrap();
    let models: Vec<PathBuf> = tree(copy.path()).into_keys().filter(|path| is_onnx(path)).collect();
    assert!(!models.is_empty(), "{folder}");
    let folders = [copy.path(), out.path()];
    let mut known = folders.map(tree);
    for model in models {
        let mut session = open(&model);
        let recipe = Recipe { method: Method::Global, amount: Amount::Fraction(0.5), ..session.state().recipe.clone() };
        session.set(recipe, Step::Amount).unwrap();
        let beside = |format: Format| model.with_file_name("saved").with_extension(format.extension());
        let elsewhere = |format: Format| out.path().join(model.file_name().unwrap()).with_extension(format.extension());
        // Beside the model and its data, elsewhere, and over the model itself. What is refused leaves nothing behind.
        let rounds: [Vec<_>; 3] = [
            FORMATS.map(|format| (format, beside(format))).into(),
            FORMATS.map(|format| (format, elsewhere(format))).into(),
            vec![(Format::Onnx, model.clone())],
        ];
        for targets in rounds {
            let mut files = Vec::new();
            for (format, target) in targets {
                // A model without a weight to prune is not saved, one with a stranger's operator not as Rust source.
                if let Ok(report) = session.save(&target, format, Overwrite::Allow) {
                    files.extend(report.files);
                    saved[FORMATS.iter().position(|f| *f == format).unwrap()] += 1;
                }
            }
            for (folder, before) in folders.into_iter().zip(&mut known) {
                let after = tree(folder);
                let strange = differences(before, &after, folder).into_iter().find(|name| !files.contains(&folder.join(name)));
                assert_eq!(strange, None, "{}", model.display());
                *before = after;
            }
        }
    }
    assert_eq!(std::fs::read(out.path().join("shared.data")).unwrap(), b"somebody else's");
    saved
}

/// Saves `model` over itself, twice: what changes is listed, and `others` are as they were.
fn saved_over_itself(folder: &TempDir, model: &str, others: &[&str], changed: &[&str]) {
    let at = |name: &str| folder.path().join(name);
    let dense: Vec<_> = others.iter().map(|other| floats(&at(other))).collect();
    let (elements, before) = (floats(&at(model)).iter().map(Values::len).sum::<usize>() as u64, tree(folder.path()));
    let report = save_half(&at(model), &at(model), Overwrite::Allow).unwrap();
    assert_eq!(changes(&before, folder.path()), changed, "{model}");
    assert!(zeros(&at(model)) >= elements / 2 - 1, "{model}");
    let after = tree(folder.path());
    let again = save_half(&at(model), &at(model), Overwrite::Allow).unwrap();
    assert_eq!((again.files, again.bytes), (report.files, report.bytes), "it grows");
    assert_eq!(tree(folder.path()).keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "{model}");
    for (other, dense) in others.iter().zip(dense) {
        assert_eq!(floats(&at(other)), dense, "{other}");
    }
}

#[test]
fn two_models_on_one_data_file_stay_two() {
    let folder = copied("tests/cases/shared");
    saved_over_itself(&folder, "encoder.onnx", &["decoder.onnx"], &["encoder.onnx", "encoder.onnx.data"]);
    saved_over_itself(&folder, "decoder.onnx", &["encoder.onnx"], &["decoder.onnx", "decoder.onnx.data"]);
}

#[test]
fn data_that_a_model_above_uses_stays() {
    let folder = copied("tests/cases/folders");
    saved_over_itself(&folder, "weights/deep.onnx", &["top.onnx"], &["weights/deep.onnx", "weights/deep.onnx.data"]);
    saved_over_itself(&folder, "top.onnx", &["weights/deep.onnx"], &["top.onnx", "top.onnx.data"]);
}

#[test]
fn a_file_for_each_tensor_stays_where_it_is() {
    let folder = copied("tests/cases/each");
    saved_over_itself(&folder, "model.onnx", &["half.onnx"], &["model.onnx", "model.onnx.data", "model.onnx.data.1"]);
    saved_over_itself(&folder, "half.onnx", &["model.onnx"], &["half.onnx", "half.onnx.data"]);
}

#[test]
fn a_name_alone_gives_no_right_to_a_data_file() {
    let folder = copied("tests/cases/named");
    saved_over_itself(&folder, "first.onnx", &["second.onnx"], &["first.onnx", "first.onnx.data.1"]);
    saved_over_itself(&folder, "second.onnx", &["first.onnx"], &["second.onnx", "second.onnx.data"]);
    // Without the other one it is the model's own.
    let alone = copied("tests/cases/named");
    std::fs::remove_file(alone.path().join("second.onnx")).unwrap();
    saved_over_itself(&alone, "first.onnx", &[], &["first.onnx.data"]);
}

#[test]
fn one_model_after_the_other_goes_to_one_folder() {
    let (from, to) = (copied("tests/cases/shared"), tempfile::tempdir().unwrap());
    let at = |name: &str| to.path().join(name);
    for overwrite in [Overwrite::Refuse, Overwrite::Allow] {
        for model in ["encoder.onnx", "decoder.onnx"] {
            save_half(&from.path().join(model), &at(model), overwrite).unwrap();
        }
        assert_eq!(names(to.path()), ["decoder.onnx", "decoder.onnx.data", "encoder.onnx", "encoder.onnx.data"]);
    }
    // Data of that name that belongs to nobody, and to a model that is not replaced.
    std::fs::write(at("new.onnx.data"), "nobody's").unwrap();
    for overwrite in [Overwrite::Refuse, Overwrite::Allow] {
        let report = save_half(&at("encoder.onnx"), &at("new.onnx"), overwrite).unwrap();
        assert_eq!(report.files[1], at("new.onnx.data.1"));
        assert_eq!(std::fs::read(at("new.onnx.data")).unwrap(), b"nobody's");
        let dense = floats(&at("new.onnx"));
        save_half(&at("decoder.onnx"), &at("other.onnx"), overwrite).unwrap();
        assert_eq!(floats(&at("new.onnx")), dense);
    }
}

#[test]
fn a_model_does_not_take_the_name_of_its_own_data() {
    let folder = copied("tests/cases/shared");
    let before = tree(folder.path());
    let error = save_half(&folder.path().join("encoder.onnx"), &folder.path().join("shared.data"), Overwrite::Allow).unwrap_err();
    assert!(error.to_string().contains("holds weights of the opened model"), "{error}");
    assert_eq!(changes(&before, folder.path()), [""; 0]);
}

#[test]
fn one_file_under_two_names_is_saved_once() {
    let weights = [tiny::external("a", &[2, 2], "data", "0", "16"), tiny::external("b", &[2, 2], "./data", "16", "16")];
    let nodes = vec![tiny::node("MatMul", &["x", "a"], "h"), tiny::node("MatMul", &["h", "b"], "y")];
    let (folder, path) = written(&tiny::model(nodes, weights.to_vec()));
    let values: Vec<f32> = (1..=8).map(|v| v as f32).collect();
    std::fs::write(folder.path().join("data"), tiny::bytes(&values)).unwrap();
    let out = tempfile::tempdir().unwrap();
    let report = save_half(&path, &out.path().join("tiny.onnx"), Overwrite::Refuse).unwrap();
    assert_eq!(names(out.path()), ["tiny.onnx", "tiny.onnx.data"]);
    assert_eq!(report.zeros, 4);
    assert_eq!(floats(&report.files[0]), [Values::F32(vec![0.0; 4]), Values::F32(vec![5.0, 6.0, 7.0, 8.0])]);
}

/// Two layers whose weights share bytes of `data`: the second starts `offset` bytes into the first.
fn sharing(offset: usize) -> (TempDir, PathBuf) {
    let offset = offset.to_string();
    let weights = [tiny::external("a", &[2, 2], "data", "0", "16"), tiny::external("b", &[2, 2], "data", &offset, "16")];
    let nodes = vec![tiny::node("MatMul", &["x", "a"], "h"), tiny::node("MatMul", &["h", "b"], "y")];
    let (folder, path) = written(&tiny::model(nodes, weights.to_vec()));
    let values: Vec<f32> = (1..=6).map(|v| v as f32).collect();
    std::fs::write(folder.path().join("data"), tiny::bytes(&values)).unwrap();
    (folder, path)
}

#[test]
fn tensors_that_share_bytes_are_pruned_each_on_its_own() {
    for (offset, second) in [(0, [1.0, 2.0, 3.0, 4.0]), (8, [3.0, 4.0, 5.0, 6.0])] {
        for locked in [0, 1] {
            let (folder, path) = sharing(offset);
            let out = folder.path().join("out.onnx");
            let mut session = open(&path);
            let mut recipe = Recipe { method: Method::LayerWise, amount: Amount::Fraction(0.5), ..session.state().recipe.clone() };
            recipe.locked[ModuleId(locked).0] = true;
            session.set(recipe, Step::Amount).unwrap();
            let mut wanted = [vec![1.0, 2.0, 3.0, 4.0], second.to_vec()];
            wanted[1 - locked][..2].fill(0.0);
            for target in [&out, &path] {
                let report = session.save(target, Format::Onnx, Overwrite::Allow).unwrap();
                assert_eq!(floats(target), wanted.clone().map(Values::F32), "from {offset}, {locked} locked");
                assert_eq!(report.zeros, 2);
            }
            // What has its own bytes now keeps them, and they are no more than before.
            let again = save_half(&path, &path, Overwrite::Allow).unwrap();
            let third = save_half(&path, &path, Overwrite::Allow).unwrap();
            assert_eq!((again.files, again.bytes), (third.files, third.bytes));
        }
        // Both pruned, each as it is, whatever the other one is.
        let (folder, path) = sharing(offset);
        let mut session = open(&path);
        let recipe = Recipe { method: Method::LayerWise, amount: Amount::Fraction(0.5), ..session.state().recipe.clone() };
        session.set(recipe, Step::Amount).unwrap();
        let report = session.save(&folder.path().join("out.onnx"), Format::Onnx, Overwrite::Refuse).unwrap();
        let pruned = |values: [f32; 4]| Values::F32(vec![0.0, 0.0, values[2], values[3]]);
        assert_eq!(floats(&report.files[0]), [pruned([1.0, 2.0, 3.0, 4.0]), pruned(second)], "from {offset}");
        // Where both become the same, nothing is there twice.
        assert_eq!(report.files[1].metadata().unwrap().len() == 24, offset == 0);
    }
}
