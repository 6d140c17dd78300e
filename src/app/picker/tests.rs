//! The dialog as plain data: what typing, Tab, arrows and Enter do before anything is drawn.

use super::*;
use crate::export::Format;

fn entry(name: &str, is_folder: bool) -> FolderEntry {
    FolderEntry { name: name.into(), text: name.into(), is_folder, size: None }
}

/// A dialog in `/here`, which holds what is given; names that end in `/` are folders.
fn picker(purpose: Purpose, names: &[&str]) -> Picker {
    let request = FileQuestion { purpose, folder: Some("/here".into()), name: "new.onnx".into() };
    let (mut picker, follow_up) = Picker::open(request, &[], false);
    assert_eq!(follow_up, FollowUp::Read("/here".into()));
    assert_eq!(picker.take(holds("/here", names)), FollowUp::None);
    picker
}

fn holds(folder: &str, names: &[&str]) -> News {
    let entries = names.iter().map(|name| entry(name.trim_end_matches('/'), name.ends_with('/'))).collect();
    News::Folder(folder.into(), Contents::Read { entries, is_whole: true })
}

fn rows(picker: &Picker) -> Vec<&str> {
    (0..picker.rows.len()).map(|row| picker.entry(row).unwrap().text.as_str()).collect()
}

fn highlighted(picker: &Picker) -> Option<&str> {
    picker.entry(picker.highlighted?).map(|entry| entry.text.as_str())
}

fn type_text(picker: &mut Picker, text: &str) -> FollowUp {
    picker.act(Act::Type(text.into()))
}

#[test]
fn a_name_narrows_the_list_and_its_beginning_counts_most() {
    let mut picker = picker(Purpose::Open, &["net/", "planet/", "Network.onnx", "a.onnx", "net.txt"]);
    assert_eq!(rows(&picker), ["net", "planet", "Network.onnx", "a.onnx"]);
    assert_eq!(highlighted(&picker), None);
    type_text(&mut picker, "/here/netw");
    assert_eq!((rows(&picker), highlighted(&picker)), (vec!["Network.onnx"], Some("Network.onnx")));
    type_text(&mut picker, "/here/NE");
    assert_eq!(rows(&picker), ["net", "Network.onnx", "planet"]);
    type_text(&mut picker, "/here/");
    assert_eq!((rows(&picker).len(), highlighted(&picker)), (4, None));
}

#[test]
fn tab_waits_for_a_folder_that_is_still_read() {
    let mut picker = picker(Purpose::Open, &["modern.onnx"]);
    assert!(picker.lets_tab_go(), "nothing is typed");
    assert_eq!(type_text(&mut picker, "/there/mod"), FollowUp::Read("/there".into()));
    assert!(!picker.lets_tab_go());
    assert_eq!(picker.act(Act::Complete), FollowUp::None);
    assert_eq!((picker.text().as_str(), picker.lets_tab_go()), ("/there/mod", false));
    assert_eq!(picker.take(holds("/here", &["modern.onnx"])), FollowUp::None);
    assert_eq!(picker.take(holds("/there", &["models/", "net.onnx"])), FollowUp::Read("/there/models".into()));
    assert_eq!(picker.text(), "/there/models/");
    // Typing takes the Tab back, and an Enter behind it counts instead.
    picker.act(Act::Complete);
    assert_eq!(type_text(&mut picker, "/there/models/n"), FollowUp::None);
    assert_eq!(picker.take(holds("/there/models", &["next.onnx"])), FollowUp::None);
    assert_eq!(picker.text(), "/there/models/n");
    type_text(&mut picker, "/there/net.onnx");
    picker.act(Act::Complete);
    assert_eq!(picker.act(Act::Accept), FollowUp::None);
    assert_eq!(picker.take(holds("/there", &["net.onnx"])), FollowUp::Chosen("/there/net.onnx".into()));
}

/// Tab stays with a typed name once, though there is nothing to complete: Enter behind it is not a button's.
#[test]
fn tab_leaves_a_name_only_when_it_is_known_to_be_complete() {
    for purpose in [Purpose::Open, Purpose::Table] {
        let mut picker = picker(purpose, &["net.onnx", "net.csv"]);
        for name in ["net.onnx", "other"] {
            type_text(&mut picker, &format!("/here/{name}"));
            assert!(!picker.lets_tab_go(), "{name}");
            assert_eq!(picker.act(Act::Complete), FollowUp::None);
            assert_eq!((picker.text(), picker.lets_tab_go()), (format!("/here/{name}"), true));
            type_text(&mut picker, &format!("/here/{name}x"));
            assert!(!picker.lets_tab_go(), "{name}x");
        }
    }
}

/// What is called exactly as typed is meant, before anything that merely begins so, and though it is not listed.
#[test]
fn enter_takes_what_is_called_as_typed() {
    let mut picker = picker(Purpose::Open, &["a/", "a.onnx.old/", "a.onnx", "a.txt", "a.txt.onnx"]);
    type_text(&mut picker, "/here/a.onnx");
    assert_eq!(highlighted(&picker), Some("a.onnx"));
    assert_eq!(picker.act(Act::Accept), FollowUp::Chosen("/here/a.onnx".into()));
    type_text(&mut picker, "/here/a.txt");
    assert_eq!(picker.act(Act::Accept), FollowUp::Chosen("/here/a.txt".into()));
    type_text(&mut picker, "/here/a");
    assert_eq!(picker.act(Act::Accept), FollowUp::Read("/here/a".into()));
}

#[test]
fn enter_waits_for_a_folder_that_is_still_read() {
    let mut picker = picker(Purpose::Open, &[]);
    assert_eq!(type_text(&mut picker, "/there/model.onnx"), FollowUp::Read("/there".into()));
    assert_eq!(picker.act(Act::Accept), FollowUp::None);
    // News of the folder before is no news.
    assert_eq!(picker.take(holds("/here", &["model.onnx"])), FollowUp::None);
    assert_eq!(picker.take(holds("/there", &["model.onnx"])), FollowUp::Chosen("/there/model.onnx".into()));

    // Whoever types on has thought better of it.
    type_text(&mut picker, "/far/model.onnx");
    picker.act(Act::Accept);
    type_text(&mut picker, "/far/mode");
    assert_eq!(picker.take(holds("/far", &["model.onnx"])), FollowUp::None);
}

#[test]
fn tab_completes_as_far_as_names_agree() {
    let mut picker = picker(Purpose::Open, &["Models/", "model_a.onnx", "model_b.onnx", "zoé/"]);
    let complete = |picker: &mut Picker, text: &str| {
        type_text(picker, text);
        let completes = picker.completion().is_some();
        let follow_up = picker.act(Act::Complete);
        assert_eq!(picker.caret, Caret::End);
        (completes, picker.text(), follow_up)
    };
    assert_eq!(complete(&mut picker, "/here/m"), (true, "/here/Model".into(), FollowUp::None));
    assert_eq!(complete(&mut picker, "/here/model_"), (false, "/here/model_".into(), FollowUp::None));
    assert_eq!(complete(&mut picker, "/here/model_b"), (true, "/here/model_b.onnx".into(), FollowUp::None));
    assert_eq!(complete(&mut picker, "/here/x"), (false, "/here/x".into(), FollowUp::None));
    assert_eq!(complete(&mut picker, "/here/"), (false, "/here/".into(), FollowUp::None));
    assert_eq!(complete(&mut picker, "/here/z"), (true, "/here/zoé/".into(), FollowUp::Read("/here/zoé".into())));
}

#[test]
fn a_path_begins_anew_behind_the_folder_or_at_home() {
    let mut picker = picker(Purpose::Open, &["sub/"]);
    assert_eq!(type_text(&mut picker, "/here//abs/x"), FollowUp::Read("/abs".into()));
    assert_eq!(picker.text(), "/abs/x");
    // A path that is written so is not touched.
    assert_eq!(type_text(&mut picker, "/one//two/"), FollowUp::Read("/one//two".into()));
    let home = std::env::home_dir().unwrap();
    assert_eq!(type_text(&mut picker, "/one//two/~/pictures/"), FollowUp::Read(home.join("pictures")));
    assert_eq!(picker.text(), "~/pictures/");
    assert_eq!(type_text(&mut picker, "~"), FollowUp::Read("/here".into()), "a name so far");
    assert_eq!(picker.act(Act::Accept), FollowUp::Read(home));
    // Without a beginning, in the folder where the dialog was opened.
    assert_eq!(type_text(&mut picker, "sub/x.onnx"), FollowUp::Read("/here/sub".into()));
    type_text(&mut picker, "..");
    assert!(matches!(picker.act(Act::Accept), FollowUp::Read(folder) if folder == Path::new("/here/..")));
}

#[test]
fn a_new_file_keeps_its_name_from_folder_to_folder() {
    let mut picker = picker(Purpose::Save(Format::Onnx), &["sub/", "old.onnx", "other.bin"]);
    assert_eq!(picker.text(), "/here/new.onnx");
    assert_eq!((rows(&picker), highlighted(&picker)), (vec!["sub", "old.onnx"], None), "the name narrows nothing");
    assert_eq!(picker.act(Act::Enter(0)), FollowUp::Read("/here/sub".into()));
    assert_eq!(picker.text(), "/here/sub/new.onnx");
    picker.take(holds("/here/sub", &["there.onnx"]));
    assert_eq!(picker.act(Act::Accept), FollowUp::Chosen("/here/sub/new.onnx".into()));
    assert_eq!(picker.act(Act::Up), FollowUp::Read("/here".into()));
    picker.take(holds("/here", &["old.onnx"]));
    picker.act(Act::Move(1));
    assert_eq!(picker.text(), "/here/old.onnx");
    type_text(&mut picker, "/here/");
    assert_eq!(picker.act(Act::Accept), FollowUp::None);
    assert!(picker.status().1, "a name is missing");
}

/// In a folder that is gone nothing is saved, and only there it can be made.
#[test]
fn a_folder_that_is_not_there_is_made_on_demand() {
    let mut saving = picker(Purpose::Table, &[]);
    type_text(&mut saving, "/gone/t.csv");
    saving.take(News::Folder("/gone".into(), Contents::Failed { why: "no".into(), is_missing: true }));
    assert_eq!(saving.act(Act::Accept), FollowUp::None);
    assert_eq!((saving.status(), saving.can_create()), (("no".to_owned(), true), true));
    assert_eq!(saving.act(Act::CreateFolder), FollowUp::Create("/gone".into()));
    let mut opening = picker(Purpose::Open, &[]);
    type_text(&mut opening, "/gone/t.onnx");
    opening.take(News::Folder("/gone".into(), Contents::Failed { why: "no".into(), is_missing: true }));
    assert!(!opening.can_create());
}

#[test]
fn a_folder_is_taken_by_the_button_and_entered_by_the_key() {
    let mut picker = picker(Purpose::Images, &["cats/", "all.npz", "cat.png"]);
    assert_eq!(rows(&picker), ["cats", "all.npz"]);
    assert_eq!(picker.act(Act::Take), FollowUp::Chosen("/here".into()));
    picker.act(Act::Highlight(0));
    assert_eq!(picker.answer().0, "Choose the folder");
    assert_eq!(picker.act(Act::Take), FollowUp::Chosen("/here/cats".into()));
    assert_eq!(picker.act(Act::Accept), FollowUp::Read("/here/cats".into()));
    picker.take(holds("/here/cats", &[]));
    assert_eq!(picker.act(Act::Accept), FollowUp::Chosen("/here/cats".into()));
    picker.act(Act::Go("/here".into()));
    picker.take(holds("/here", &["all.npz"]));
    picker.act(Act::Highlight(0));
    assert_eq!(picker.answer().0, "Choose the file");
    assert_eq!(picker.act(Act::Take), FollowUp::Chosen("/here/all.npz".into()));
}

/// A name that is no text is shown with marks, and chosen as it is.
#[cfg(unix)]
#[test]
fn names_that_are_no_text_are_chosen_as_they_are() {
    use std::os::unix::ffi::OsStringExt;
    let name = std::ffi::OsString::from_vec(b"caf\xe9".to_vec());
    let mut picker = picker(Purpose::Open, &[]);
    let entries = vec![FolderEntry { text: name.to_string_lossy().into_owned(), name: name.clone(), is_folder: true, size: None }];
    picker.take(News::Folder("/here".into(), Contents::Read { entries, is_whole: true }));
    let folder = Path::new("/here").join(&name);
    assert_eq!(picker.act(Act::Enter(0)), FollowUp::Read(folder.clone()));
    let News::Folder(_, contents) = holds("", &["x.onnx"]) else { unreachable!() };
    picker.take(News::Folder(folder.clone(), contents));
    // Typing behind it does not lose it.
    let text = format!("{}x", picker.text());
    assert_eq!(type_text(&mut picker, &text), FollowUp::None);
    assert_eq!(picker.act(Act::Accept), FollowUp::Chosen(folder.join("x.onnx")));
}

#[test]
fn arrows_stay_in_the_list_and_numbers_say_what_is_left_out() {
    let mut picker = picker(Purpose::Open, &["a.onnx", "b.onnx", "c.onnx", "d.txt", ".e.onnx"]);
    assert_eq!(picker.status(), ("0 folders · 3 files · 2 not shown".to_owned(), false));
    for (rows, expected) in [(-1, "c.onnx"), (PAGE, "c.onnx"), (-PAGE, "a.onnx"), (1, "b.onnx")] {
        picker.act(Act::Move(rows));
        assert_eq!(highlighted(&picker), Some(expected));
    }
    picker.act(Act::ShowAll(true));
    assert_eq!(rows(&picker).len(), 5);
    let more = News::Folder("/here".into(), Contents::Read { entries: vec![entry("a.onnx", false)], is_whole: false });
    picker.take(more);
    assert_eq!(picker.status().0, "0 folders · 1 file · the folder holds more");
}
