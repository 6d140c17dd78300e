//! Folders of pictures as people have them: what is taken as classes, what is left out, and that both add up.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use secateur::images::{ClassOrder, ImageSet, ImagesError, Reason};
use serde_json::Value;

const CASES: &str = "tests/folders";

/// Exit code, standard output, standard error of `evaluate` on the classifier of twelve grey levels.
fn evaluate(folder: &Path, more: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secateur"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).args(["evaluate", "tests/folders/grey.onnx", "--images"]);
    command.arg(folder).args("--mean 0,0,0 --std 1,1,1 --crop 1 --filter bilinear --device cpu".split(' '));
    let output = command.args(more.split_whitespace()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Right answers and images, the report's folder, and what was told.
fn answers(folder: &Path, more: &str) -> ((u64, u64), Value, String) {
    let (code, out, told) = evaluate(folder, &format!("{more} --json"));
    assert_eq!(code, Some(0), "{told}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let row = &report["rows"][0];
    let images = row["images"].as_u64().unwrap();
    (((row["top1"].as_f64().unwrap() * images as f64).round() as u64, images), report["folder"].clone(), told)
}

fn case(name: &str) -> PathBuf {
    Path::new(CASES).join(name)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The twelve classes with three pictures each, and nothing else.
fn twelve() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&case("stray"), folder.path());
    std::fs::remove_file(folder.path().join("preview.png")).unwrap();
    std::fs::remove_file(folder.path().join("README.md")).unwrap();
    folder
}

fn put(folder: &Path, names: &[&str]) {
    for name in names {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "something").unwrap();
    }
}

/// Every number that the report has adds up to everything that lies there.
fn adds_up(set: &ImageSet) {
    let left_out: usize = set.inventory.left_out.iter().map(|l| l.number).sum();
    assert_eq!(set.images.len() + left_out, set.inventory.entries, "{:?}", set.inventory);
    let in_classes: usize = set.class_sizes().iter().map(|(_, images)| images).sum();
    assert_eq!(in_classes, set.images.iter().filter(|i| i.class.is_some()).count());
}

fn number_of(set: &ImageSet, reason: &Reason) -> usize {
    set.inventory.left_out.iter().filter(|l| l.reason == *reason).map(|l| l.number).sum()
}

#[test]
fn nothing_is_told_where_nothing_was_left_out() {
    let (right, report, told) = answers(twelve().path(), "");
    assert_eq!((right, told.as_str()), ((36, 36), ""));
    assert_eq!((&report["entries"], &report["images"], &report["left_out"]), (&36.into(), &36.into(), &Value::Array(Vec::new())));
    assert_eq!((&report["classes"][11]["name"], &report["classes"][11]["images"]), (&"lynx".into(), &3.into()));
}

#[test]
fn numbered_folders_ask_for_their_order() {
    let numeric = case("numeric");
    let (code, out, told) = evaluate(&numeric, "");
    assert_eq!((code, out.as_str()), (Some(2), ""), "{told}");
    assert!(
        told.contains("--class-order") && told.contains("as text 0, 1, 10, 11, 2 and 7 more; by number 0, 1, 2, 3, 4 and 7 more"),
        "{told}"
    );
    assert_eq!(answers(&numeric, "--class-order number").0, (36, 36));
    assert_eq!(answers(&numeric, "--class-order text").0, (6, 36));
    assert_eq!(answers(&numeric, "--labels tests/folders/numeric_labels.txt").0, (36, 36));
}

#[test]
fn other_numbers_ask_too() {
    let names = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "ibis", "jay", "koi", "lynx"];
    let renamed = |name: &dyn Fn(usize) -> String| {
        let folder = twelve();
        for (i, old) in names.iter().enumerate() {
            std::fs::rename(folder.path().join(old), folder.path().join(name(i))).unwrap();
        }
        folder
    };
    let with_name = |i: usize| format!("{}_{}", i + 1, names[i]);
    // Names among numbers: behind them, and before 1, where 0 is free.
    let with_other = |i: usize| if i == 11 { "other".to_owned() } else { i.to_string() };
    let with_background = |i: usize| if i == 0 { "background".to_owned() } else { i.to_string() };
    let times_fifty = |i: usize| (i * 50).to_string();
    let with_class = |i: usize| format!("class {i}");
    for name in [&with_class, &with_name, &times_fifty, &with_other, &with_background] as [&dyn Fn(usize) -> String; 5] {
        let folder = renamed(name);
        let (code, _, told) = evaluate(folder.path(), "");
        assert!(code == Some(2) && told.starts_with("12 classes, 36 images\nClasses are numbered"), "{told}");
        assert!(told.contains("names of the 12 classes have numbers"), "{told}");
        assert_eq!(answers(folder.path(), "--class-order number").0, (36, 36), "{}", name(1));
        assert!(answers(folder.path(), "--class-order text").0.0 < 36, "{}", name(1));
    }
    // Zeros in front leave one order only, and so does a name behind numbers of one digit.
    let with_letters = |i: usize| if i < 10 { i.to_string() } else { names[i].to_owned() };
    for name in [&|i| format!("{i:03}"), &with_letters] as [&dyn Fn(usize) -> String; 2] {
        let (right, _, told) = answers(renamed(name).path(), "");
        assert_eq!((right, told.as_str()), ((36, 36), ""));
    }
}

#[test]
fn a_stray_picture_makes_no_folder_flat() {
    let (right, report, told) = answers(&case("stray"), "");
    assert_eq!(right, (36, 36));
    assert!(told.starts_with("12 classes, 36 images\n"), "{told}");
    assert!(told.contains("1 picture beside the folders that are the classes: preview.png"), "{told}");
    assert!(told.contains("1 .md, no picture: README.md"), "{told}");
    assert_eq!((&report["entries"], &report["left_out"][0]["reason"]), (&38.into(), &"beside class folders".into()));
}

#[test]
fn more_strays_and_folders_around_the_classes() {
    // More strays than pictures.
    let folder = twelve();
    for i in 0..50 {
        std::fs::copy(case("stray").join("preview.png"), folder.path().join(format!("IMG_{i}.PNG"))).unwrap();
    }
    let (right, _, told) = answers(folder.path(), "");
    assert_eq!(right, (36, 36));
    assert!(told.contains("50 pictures beside the folders that are the classes: IMG_0.PNG and others"), "{told}");
    // In the folder that an archive was unpacked into, the pictures deeper than their classes.
    let around = tempfile::tempdir().unwrap();
    copy(folder.path(), &around.path().join("data set/images"));
    let (right, report, told) = answers(around.path(), "");
    assert_eq!((right, &report["inside"]), ((36, 36), &"data set/images".into()));
    assert!(told.contains("The classes are the folders in “data set/images”"), "{told}");
    // One folder of small pictures beside many large ones is no class.
    let flat = tempfile::tempdir().unwrap();
    copy(&case("stray/ant"), flat.path());
    std::fs::create_dir(flat.path().join("thumbs")).unwrap();
    std::fs::copy(case("stray").join("preview.png"), flat.path().join("thumbs/a.png")).unwrap();
    let set = ImageSet::open(flat.path(), None).unwrap();
    assert_eq!((set.images.len(), set.is_labelled(), number_of(&set, &Reason::BesidePictures)), (3, false, 1));
    adds_up(&set);
}

#[test]
fn junk_and_empty_folders_are_no_classes() {
    let (right, report, told) = answers(&case("junk"), "");
    assert_eq!((right, report["classes"].as_array().unwrap().len()), ((36, 36), 12));
    assert!(told.starts_with("12 classes, 36 images\n") && told.contains("hidden files, or left by a system"), "{told}");
    let (code, out, told) = evaluate(&case("missing"), "");
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(told.contains("11 classes and 12 outputs of the network do not go together"), "{told}");
}

#[test]
fn junk_of_other_systems() {
    let systems: [&[&str]; 3] = [
        &["$RECYCLE.BIN/S-1-5/$R1.png", "System Volume Information/x.png", "ant/desktop.ini", "ant/Thumbs.db", "FOUND.000/FILE0000.jpg"],
        &[
            ".Trash-1000/files/1.png",
            "lost+found/#12.png",
            ".thumbnails/normal/a.png",
            ".git/objects/a.png",
            "bee/.directory",
            ".cache/1.webp",
        ],
        &[
            "@eaDir/ant/0.png@SYNO.png",
            "ant/@eaDir/0.png",
            "#recycle/0.png",
            "cat/._1.png",
            ".AppleDouble/a.png",
            "cat/Icon\r",
            "__pycache__/a.png",
        ],
    ];
    for names in systems {
        let folder = twelve();
        put(folder.path(), names);
        let (right, _, told) = answers(folder.path(), "");
        assert_eq!(right, (36, 36), "{names:?}");
        assert!(told.contains(&format!("Left out: {} hidden files", names.len())), "{told}");
        adds_up(&ImageSet::open(folder.path(), None).unwrap());
    }
    let folder = twelve();
    std::fs::create_dir_all(folder.path().join("empty/and deep")).unwrap();
    put(folder.path(), &["notes/a.txt", "scans/a.tiff"]);
    let (right, report, told) = answers(folder.path(), "");
    assert_eq!(right, (36, 36));
    assert!(told.contains("No classes, because they hold no picture: empty, notes, scans"), "{told}");
    assert_eq!(report["without_pictures"], Value::from(vec!["empty", "notes", "scans"]));
    assert!(told.contains("1 .tiff, a kind of picture that is not read"), "{told}");
}

#[test]
fn pictures_that_are_not_read_are_counted_by_kind() {
    let folder = tempfile::tempdir().unwrap();
    copy(&case("stray/ant"), &folder.path().join("a"));
    copy(&case("stray/bee"), &folder.path().join("b/deep/deeper"));
    put(folder.path(), &["a/1.gif", "a/2.GIF", "b/3.HEIC", "b/4", "b/6", "b/5.tar.gz"]);
    std::fs::rename(folder.path().join("a/0.png"), folder.path().join("a/0.PNG")).unwrap();
    let set = ImageSet::open(folder.path(), None).unwrap();
    adds_up(&set);
    assert_eq!(set.class_sizes(), [("a", 3), ("b", 3)]);
    let told = set.remarks().join("\n");
    for line in ["2 .gif, a kind", "1 .heic, a kind", "2 files without an ending, no pictures: b/4 and others", "1 .gz, no picture"] {
        assert!(told.contains(line), "{told}");
    }
    let none = tempfile::tempdir().unwrap();
    put(none.path(), &["x/a.gif", "x/b.gif"]);
    let error = ImageSet::open(none.path(), None).unwrap_err().to_string();
    assert!(error.contains("there is no PNG") && error.contains("2 .gif"), "{error}");
}

#[test]
fn parts_of_a_data_set_are_no_classes() {
    for names in [["train", "val"], ["Training", "TEST"], ["dev", "holdout"]] {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            copy(twelve().path(), &folder.path().join(name));
        }
        let error = ImageSet::open(folder.path(), None).unwrap_err();
        assert!(matches!(&error, ImagesError::Parts { .. }) && error.to_string().contains("choose one of them"), "{error}");
        assert_eq!(answers(&folder.path().join(names[1]), "").0, (36, 36));
    }
    // One part alone is what is there, and a class may be called train.
    let folder = tempfile::tempdir().unwrap();
    copy(twelve().path(), &folder.path().join("val"));
    assert_eq!(answers(folder.path(), "").0, (36, 36));
    let vehicles = tempfile::tempdir().unwrap();
    for name in ["bus", "train"] {
        copy(&case("stray/ant"), &vehicles.path().join(name));
    }
    assert_eq!(ImageSet::open(vehicles.path(), None).unwrap().classes, ["bus", "train"]);
}

#[cfg(unix)]
#[test]
fn links_are_followed_once_and_never_in_circles() {
    use std::os::unix::fs::symlink;

    let folder = twelve();
    let root = folder.path();
    symlink("..", root.join("ant/up")).unwrap();
    symlink(".", root.join("bee/here")).unwrap();
    symlink(root, root.join("itself")).unwrap();
    symlink("ant", root.join("zebra")).unwrap();
    symlink("../cat/0.png", root.join("dog/copy.png")).unwrap();
    symlink("nowhere", root.join("dog/gone.png")).unwrap();
    let set = ImageSet::open(root, None).unwrap();
    adds_up(&set);
    assert_eq!((set.images.len(), set.classes.len()), (36, 12));
    assert_eq!(number_of(&set, &Reason::LinkUp), 3);
    assert_eq!(number_of(&set, &Reason::LinkAgain), 2);
    assert_eq!(number_of(&set, &Reason::LinkNowhere), 1);
    assert_eq!(answers(root, "").0, (36, 36));

    // Classes that are links to folders elsewhere, two of them to one, and two folders there that link to one another.
    let elsewhere = twelve();
    symlink(elsewhere.path().join("koi"), elsewhere.path().join("jay/other")).unwrap();
    symlink(elsewhere.path().join("jay"), elsewhere.path().join("koi/other")).unwrap();
    let links = tempfile::tempdir().unwrap();
    for name in ["jay", "koi", "lynx"] {
        symlink(elsewhere.path().join(name), links.path().join(name)).unwrap();
    }
    symlink(elsewhere.path().join("lynx"), links.path().join("lynx again")).unwrap();
    let set = ImageSet::open(links.path(), None).unwrap();
    adds_up(&set);
    assert_eq!(set.class_sizes(), [("jay", 3), ("koi", 3), ("lynx", 3)]);
    assert_eq!(number_of(&set, &Reason::LinkAgain), 3);

    // Pictures in a hidden store that classes link to, as git-annex and DVC keep them, and the folder by way of a link.
    let store = tempfile::tempdir().unwrap();
    copy(&case("stray/ant"), &store.path().join(".store"));
    std::fs::create_dir(store.path().join("a")).unwrap();
    symlink("../.store/0.png", store.path().join("a/first.png")).unwrap();
    symlink("../.store/0.png", store.path().join("a/second.png")).unwrap();
    let by_link = links.path().join("by link");
    symlink(store.path(), &by_link).unwrap();
    let set = ImageSet::open(&by_link, None).unwrap();
    adds_up(&set);
    assert_eq!(set.images.iter().map(|i| i.name.as_str()).collect::<Vec<_>>(), ["a/first.png"]);
    assert_eq!((number_of(&set, &Reason::LinkAgain), number_of(&set, &Reason::Hidden)), (1, 3));
}

#[test]
fn an_order_is_chosen_for_tables_too() {
    let folder = tempfile::tempdir().unwrap();
    copy(&case("stray/ant"), folder.path());
    let table = folder.path().join("labels.csv");
    std::fs::write(&table, "0.png,class 10\n1.png,class 9\n2.png,class 10\n").unwrap();
    let set = ImageSet::open(folder.path(), Some(&table)).unwrap();
    adds_up(&set);
    assert!(matches!(set.fits(2), Err(ImagesError::Order { .. })) && set.is_order_in_doubt());
    assert_eq!(set.images[0].class, Some(0));
    let set = set.ordered(ClassOrder::Number);
    assert!(set.fits(2).is_ok() && set.images[0].class == Some(1) && set.classes == ["class 9", "class 10"]);
    // Classes that are given up are still counted.
    put(folder.path(), &["notes.txt"]);
    let dropped = ImageSet::open(folder.path(), Some(&table)).unwrap().without_labels();
    assert!(!dropped.is_labelled() && dropped.unused_classes() == 2);
    assert_eq!(dropped.remarks()[0], "2 classes that are not used, 3 images");
    assert_eq!(number_of(&set, &Reason::Labels), 1);
}

/// Names of folders and files as they come, some of them junk.
fn folder_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "10", "9", "train", "val", "Ä", "__MACOSX", ".git", "@eaDir", "empty", "x y"])
}

fn file_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "1.png",
        "2.PNG",
        "3.jpeg",
        "4.webp",
        "5.bmp",
        "._1.png",
        ".DS_Store",
        "Thumbs.db",
        "a.txt",
        "b.gif",
        "c.TIFF",
        "noending",
        "d.tar.gz",
        "é.jpg",
    ])
}

/// Where a link leads.
#[derive(Debug, Clone)]
enum Target {
    /// One of the files, or of the folders, by a number beyond any.
    File(usize),
    Folder(usize),
    /// The folder that it lies in, and the one above that.
    Here,
    Parent,
    Root,
    Nowhere,
}

fn link() -> impl Strategy<Value = (Vec<&'static str>, &'static str, Target)> {
    let target = prop_oneof![
        3 => (0..1000_usize).prop_map(Target::File),
        4 => (0..1000_usize).prop_map(Target::Folder),
        1 => Just(Target::Here),
        1 => Just(Target::Parent),
        1 => Just(Target::Root),
        1 => Just(Target::Nowhere),
    ];
    let name = prop::sample::select(vec!["a", "train", "l", "m", "val", "7.png", "8.JPG", "9.txt", "e.gif", ".l", ".7.png"]);
    (prop::collection::vec(folder_name(), 0..3), name, target)
}

/// Lays a link at `at`, where nothing lies yet and the system has such.
fn lay(at: &Path, target: &Path) {
    if at.symlink_metadata().is_err() {
        #[cfg(unix)]
        std::os::unix::fs::symlink(target, at).unwrap();
        #[cfg(not(unix))]
        let _ = target;
    }
}

/// What is to be found, by a walk of its own: what lies there itself, then what links lead to.
#[derive(Debug, Default)]
struct Expected {
    pictures: Vec<PathBuf>,
    left_out: BTreeMap<&'static str, usize>,
    seen: HashSet<PathBuf>,
    links: VecDeque<(PathBuf, PathBuf)>,
}

impl Expected {
    fn of(root: &Path) -> Self {
        let mut expected = Self::default();
        expected.folder(root, Path::new(""), false);
        expected.links.make_contiguous().sort_by(|a, b| a.1.cmp(&b.1));
        while let Some((path, relative)) = expected.links.pop_front() {
            let home = path.parent().unwrap().canonicalize().unwrap();
            match path.canonicalize() {
                Err(_) => expected.leave("link to nothing"),
                Ok(real) if real.is_file() => expected.file(real, relative),
                Ok(real) if home.starts_with(&real) || root.starts_with(&real) => expected.leave("link leads back up"),
                Ok(real) if expected.seen.contains(&real) => expected.leave("link to what is counted"),
                Ok(real) => expected.folder(&real, &relative, false),
            }
        }
        expected
    }

    fn folder(&mut self, folder: &Path, relative: &Path, is_hidden: bool) {
        if !is_hidden {
            self.seen.insert(folder.to_owned());
        }
        let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            let (path, relative) = (folder.join(&name), relative.join(&name));
            let name = name.to_str().unwrap();
            let is_hidden = is_hidden || name.starts_with('.') || ["__MACOSX", "@eaDir", "Thumbs.db"].contains(&name);
            if path.is_dir() && !path.is_symlink() {
                self.folder(&path, &relative, is_hidden);
            } else if is_hidden {
                self.leave("hidden or system");
            } else if path.is_symlink() {
                self.links.push_back((path, relative));
            } else {
                self.file(path, relative);
            }
        }
    }

    fn file(&mut self, real: PathBuf, relative: PathBuf) {
        let extension = relative.extension().unwrap_or_default().to_str().unwrap().to_lowercase();
        match extension.as_str() {
            "gif" | "tiff" => self.leave("format not read"),
            "png" | "jpg" | "jpeg" | "webp" | "bmp" => {
                if self.seen.insert(real) {
                    self.pictures.push(relative);
                } else {
                    self.leave("link to what is counted");
                }
            }
            _ => self.leave("no picture"),
        }
    }

    fn leave(&mut self, reason: &'static str) {
        *self.left_out.entry(reason).or_default() += 1;
    }

    /// The folder that the classes are in, and how many pictures each of its folders holds.
    fn classes(&self) -> (PathBuf, BTreeMap<String, usize>) {
        let mut inside = PathBuf::new();
        loop {
            let (mut classes, mut deeper, mut direct) = (BTreeMap::<String, usize>::new(), HashSet::new(), 0);
            for below in self.pictures.iter().map(|picture| picture.strip_prefix(&inside).unwrap()) {
                let parts: Vec<&str> = below.iter().map(|part| part.to_str().unwrap()).collect();
                if let [class, rest @ .., _] = &parts[..] {
                    *classes.entry((*class).to_owned()).or_default() += 1;
                    match rest.first() {
                        Some(folder) => drop(deeper.insert((*folder).to_owned())),
                        None => direct += 1,
                    }
                }
            }
            let in_folders: usize = classes.values().sum();
            match classes.keys().next() {
                Some(only) if classes.len() == 1 && in_folders == self.pictures.len() && (direct == 0 || deeper.len() > 1) => {
                    inside.push(only);
                }
                _ => return (inside, classes),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Every file and every link is an image or left out for the reason that it has, and what cannot be used is refused for what it is.
    #[test]
    fn every_file_is_an_image_or_left_out(
        files in prop::collection::vec((prop::collection::vec(folder_name(), 0..4), file_name()), 0..40),
        folders in prop::collection::vec(prop::collection::vec(folder_name(), 1..4), 0..5),
        links in prop::collection::vec(link(), 0..10),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap().join("images");
        let at = |path: &[&str]| {
            let folder = root.join(path.iter().collect::<PathBuf>());
            std::fs::create_dir_all(&folder).unwrap();
            folder
        };
        let mut all_folders: Vec<PathBuf> = folders.iter().map(|path| at(path)).chain([at(&[])]).collect();
        let mut all_files = Vec::new();
        for (path, name) in &files {
            all_folders.push(at(path));
            all_files.push(at(path).join(name));
            std::fs::write(&all_files[all_files.len() - 1], "x").unwrap();
        }
        for (path, name, target) in &links {
            // A link that was laid before may stand where a folder would.
            let home = root.join(path.iter().collect::<PathBuf>());
            if std::fs::create_dir_all(&home).is_err() {
                continue;
            }
            match target {
                Target::File(_) if all_files.is_empty() => {}
                Target::File(i) => lay(&home.join(name), &all_files[i % all_files.len()]),
                Target::Folder(i) => lay(&home.join(name), &all_folders[i % all_folders.len()]),
                Target::Here => lay(&home.join(name), Path::new(".")),
                Target::Parent => lay(&home.join(name), Path::new("..")),
                Target::Root => lay(&home.join(name), &root),
                Target::Nowhere => lay(&home.join(name), Path::new("nowhere")),
            }
        }
        let mut expected = Expected::of(&root);
        let (inside, classes) = expected.classes();
        let are_parts = classes.len() > 1 && classes.keys().all(|name| ["train", "val"].contains(&name.as_str()));
        let set = match ImageSet::open(&root, None) {
            Ok(set) => set,
            Err(ImagesError::Empty { path, left_out }) => {
                prop_assert_eq!((&path, expected.pictures.len()), (&root, 0));
                let told: usize = left_out.split("Left out: ").skip(1).map(|line| line.split(' ').next().unwrap().parse::<usize>().unwrap()).sum();
                prop_assert_eq!(told, expected.left_out.values().sum::<usize>());
                return Ok(());
            }
            Err(ImagesError::Parts { names, path }) => {
                prop_assert_eq!((names, path, are_parts), ("train, val".to_owned(), root.join(&inside), true));
                return Ok(());
            }
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        prop_assert!(!are_parts && !expected.pictures.is_empty());

        let in_folders: usize = classes.values().sum();
        let beside = expected.pictures.len() - in_folders;
        let is_flat = classes.is_empty() || (classes.len() == 1 && beside > in_folders);
        let (reason, number) = if is_flat { ("in a folder beside pictures", in_folders) } else { ("beside class folders", beside) };
        if number > 0 {
            expected.left_out.insert(reason, number);
        }
        let mut left_out = BTreeMap::new();
        for left in &set.inventory.left_out {
            *left_out.entry(left.reason.name()).or_default() += left.number;
        }
        prop_assert_eq!(&left_out, &expected.left_out);
        prop_assert_eq!(set.images.len() + left_out.values().sum::<usize>(), set.inventory.entries);
        // Every image once, in the class whose folder it is in.
        let real: HashSet<PathBuf> = set.images.iter().map(|i| root.join(&i.name).canonicalize().unwrap()).collect();
        prop_assert_eq!((real.len(), real.is_subset(&expected.seen)), (set.images.len(), true));
        if is_flat {
            prop_assert!(set.classes.is_empty() && set.images.iter().all(|i| i.class.is_none() && !i.name.contains('/')));
        } else {
            let sizes: BTreeMap<String, usize> = set.class_sizes().into_iter().map(|(name, images)| (name.to_owned(), images)).collect();
            prop_assert_eq!((&sizes, set.classes.len()), (&classes, classes.len()));
            let is_in_class = |i: &secateur::images::ImageRef| root.join(&i.name).starts_with(root.join(&inside).join(&set.classes[i.class.unwrap()]));
            prop_assert!(set.images.iter().all(is_in_class));
        }
        prop_assert_eq!(set.remarks().is_empty(), left_out.is_empty() && set.inventory.is_plain() && !set.is_order_in_doubt());
    }
}
