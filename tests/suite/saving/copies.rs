//! ONNX copies of whole networks: pruned elements are zero, and nothing else is another.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use onnx_ir::{Message, ModelProto};
use secateur::atomic::Overwrite;
use secateur::export::Format;
use secateur::prune::Method;
use tempfile::TempDir;

use super::{DATA, DEFAULT, SEVEN, differences, expected, half, names, open, prune, reload};

#[test]
fn onnx_copies_differ_in_pruned_elements_alone() {
    for path in SEVEN.map(Path::new) {
        for (method, amount) in [(Method::Global, 0.5), (Method::LayerWise, 0.3), (Method::Global, 0.0)] {
            let folder = tempfile::tempdir().unwrap();
            let mut session = open(path);
            let masks = prune(&mut session, method, amount);
            let graph = session.model().graph.clone();
            let out = folder.path().join(path.file_name().unwrap());
            let report = session.save(&out, Format::Onnx, Overwrite::Refuse).unwrap();
            let (model, data) = expected(path, &graph, &masks);
            let mut changed = 0;
            assert!(std::fs::read(&out).unwrap() == model, "{}", path.display());
            changed += differences(&std::fs::read(path).unwrap(), &model);
            for (name, bytes) in &data {
                assert!(std::fs::read(folder.path().join(name)).unwrap() == *bytes, "{name}");
                changed += differences(&std::fs::read(path.with_file_name(name)).unwrap(), bytes);
            }
            assert_eq!(names(folder.path()).len(), 1 + data.len());
            assert_eq!(changed > 0, amount > 0.0, "{}", path.display());
            reload(&session, &report);
        }
    }
}

#[test]
fn fixed_elements_are_saved_whatever_the_amount_and_undone_ones_are_not() {
    let path = Path::new(SEVEN[0]);
    let folder = tempfile::tempdir().unwrap();
    let mut session = open(path);
    let masks = half(&mut session);
    session.fix().unwrap();
    let out = folder.path().join("fixed.onnx");
    session.save(&out, Format::Onnx, Overwrite::Refuse).unwrap();
    let graph = session.model().graph.clone();
    assert!(std::fs::read(&out).unwrap() == expected(path, &graph, &masks).0);
    session.undo().unwrap();
    session.undo().unwrap();
    session.save(&out, Format::Onnx, Overwrite::Allow).unwrap();
    assert!(std::fs::read(&out).unwrap() == std::fs::read(path).unwrap());
}

fn with_external_data() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.onnx");
    std::fs::copy(DEFAULT, &model).unwrap();
    std::fs::copy(format!("{DEFAULT}.data"), folder.path().join(DATA)).unwrap();
    (folder, model)
}

/// The model less the names of its external data files, and those names.
fn without_locations(path: &Path) -> (ModelProto, BTreeSet<String>) {
    let mut model = ModelProto::parse_from_bytes(&std::fs::read(path).unwrap()).unwrap();
    let mut locations = BTreeSet::new();
    for tensor in &mut model.graph.mut_or_insert_default().initializer {
        for entry in tensor.external_data.iter_mut().filter(|e| e.key == "location") {
            locations.insert(std::mem::take(&mut entry.value));
        }
    }
    (model, locations)
}

#[test]
fn external_data_beside_the_opened_model_gets_a_name_of_its_own() {
    let (folder, path) = with_external_data();
    let before = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    let (model, data) = (before("model.onnx"), before(DATA));
    let mut session = open(&path);
    let masks = half(&mut session);
    let (_, wanted) = expected(&path, &session.model().graph.clone(), &masks);
    // The second target's data would have the name of the opened model's data, and must not take it.
    for (target, data_name) in [("pruned.onnx", "pruned.onnx.data".to_owned()), (&DATA[..DATA.len() - 5], format!("{DATA}.1"))] {
        for overwrite in [Overwrite::Refuse, Overwrite::Allow] {
            let out = folder.path().join(target);
            let report = session.save(&out, Format::Onnx, overwrite).unwrap();
            assert_eq!(report.files, [out.clone(), folder.path().join(&data_name)]);
            assert!(before(&data_name) == wanted[DATA], "{target}");
            let (copy, locations) = without_locations(&out);
            assert_eq!(locations, BTreeSet::from([data_name.clone()]));
            assert!(copy == without_locations(&path).0, "{target}");
            reload(&session, &report);
        }
    }
    assert!(before("model.onnx") == model && before(DATA) == data, "the opened model is as it was");
    assert_eq!(names(folder.path()).len(), 6);
}

#[test]
fn the_opened_file_is_replaced_only_when_allowed() {
    let (folder, path) = with_external_data();
    let mut session = open(&path);
    let masks = half(&mut session);
    let graph = session.model().graph.clone();
    let (model, data) = expected(&path, &graph, &masks);
    let old = std::fs::read(folder.path().join(DATA)).unwrap();
    let refused = session.save(&path, Format::Onnx, Overwrite::Refuse).unwrap_err();
    assert!(refused.to_string().contains("is there already"), "{refused}");
    assert!(std::fs::read(folder.path().join(DATA)).unwrap() == old);
    assert!(!session.is_unsaved() || session.state().kept.iter().all(secateur::prune::Masked::is_nothing));

    let report = session.save(&path, Format::Onnx, Overwrite::Allow).unwrap();
    // Whose data that is its name does not say: the model gets its own, and keeps it.
    assert!(std::fs::read(folder.path().join(DATA)).unwrap() == old);
    for _ in 0..2 {
        session.save(&path, Format::Onnx, Overwrite::Allow).unwrap();
        assert!(std::fs::read(folder.path().join("model.onnx.data")).unwrap() == data[DATA]);
        assert_eq!(names(folder.path()), [DATA, "model.onnx", "model.onnx.data"]);
    }
    reload(&session, &report);

    // Its own data is replaced with it, and then nothing differs but zeros.
    let named = tempfile::tempdir().unwrap();
    let path = named.path().join(Path::new(DEFAULT).file_name().unwrap());
    std::fs::copy(DEFAULT, &path).unwrap();
    std::fs::copy(format!("{DEFAULT}.data"), named.path().join(DATA)).unwrap();
    let mut session = open(&path);
    half(&mut session);
    session.save(&path, Format::Onnx, Overwrite::Allow).unwrap();
    assert!(std::fs::read(&path).unwrap() == model && std::fs::read(named.path().join(DATA)).unwrap() == data[DATA]);
    assert_eq!(names(named.path()).len(), 2);

    let demo = folder.path().join("demo.onnx");
    std::fs::copy(SEVEN[0], &demo).unwrap();
    let mut session = open(&demo);
    let masks = half(&mut session);
    let graph = session.model().graph.clone();
    let (model, _) = expected(&demo, &graph, &masks);
    session.save(&demo, Format::Onnx, Overwrite::Refuse).unwrap_err();
    session.save(&demo, Format::Onnx, Overwrite::Allow).unwrap();
    assert!(std::fs::read(&demo).unwrap() == model);
}
