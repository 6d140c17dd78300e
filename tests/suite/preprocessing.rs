//! Pictures become what Pillow, torchvision and timm make of them, and folders become classes.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use secateur::arrays;
use secateur::engine::Model;
use secateur::images::{ChannelOrder, Colours, Filter, ImageError, ImageSet, ImagesError, Loader, Preprocess, Provenance, Resize};

const PICTURES: &str = "tests/pictures";

/// `bicubic 48x48 0.875` and the like, as `make_pictures.py` names them.
fn way(text: &str) -> Preprocess {
    let words: Vec<&str> = text.split(' ').collect();
    let [resize, filter, size, crop] = words[..] else { panic!("{text}") };
    let (height, width) = size.split_once('x').unwrap();
    Preprocess {
        size: [height.parse().unwrap(), width.parse().unwrap()],
        crop: crop.parse().unwrap(),
        resize: Resize::ALL.into_iter().find(|r| r.name() == resize).unwrap(),
        filter: Filter::ALL.into_iter().find(|f| f.name() == filter).unwrap(),
        ..Preprocess::default()
    }
}

#[test]
fn pictures_are_those_of_pillow() {
    let mut expected = arrays::read(&Path::new(PICTURES).join("expected.npz")).unwrap();
    expected.extend(arrays::read(&Path::new(PICTURES).join("resized.npz")).unwrap());
    assert!(expected.len() > 130, "{} cases", expected.len());
    let mut wrong = Vec::new();
    for (name, array) in &expected {
        let (file, text) = name.split_once(' ').unwrap();
        let set = ImageSet::open(&Path::new(PICTURES).join(file), None).unwrap();
        let got = way(text).view(&set.images[0]).unwrap();
        assert_eq!([got.height as usize, got.width as usize, 3], array.shape[..], "{name}");
        let differences: Vec<u64> = array.as_i64().unwrap().iter().zip(&got.rgb).map(|(&e, &g)| e.abs_diff(i64::from(g))).collect();
        let largest = differences.iter().max().copied().unwrap();
        let apart = differences.iter().filter(|d| **d > 0).count();
        println!("{largest:3} {apart:5} of {:5}  {name}", differences.len());
        // The standard leaves the last bits of a JPEG open, and how subsampled colours are spread.
        let (most, mean) = if Path::new(file).extension().is_some_and(|e| e.eq_ignore_ascii_case("jpg")) { (4, 0.5) } else { (0, 0.0) };
        if largest > most || differences.iter().sum::<u64>() as f64 / differences.len() as f64 > mean {
            wrong.push(format!("{name}: {largest}"));
        }
    }
    assert!(wrong.is_empty(), "grey levels apart:\n{}", wrong.join("\n"));
}

/// `cut_pictures.py` asked Pillow how much of a file it needs.
#[test]
fn a_picture_that_ends_early_is_none() {
    let least: HashMap<String, usize> =
        serde_json::from_str(&std::fs::read_to_string(Path::new(PICTURES).join("cuts.json")).unwrap()).unwrap();
    assert!(least.len() > 20, "{} pictures", least.len());
    let folder = tempfile::tempdir().unwrap();
    let as_it_is = Preprocess { size: [16, 16], resize: Resize::None, ..Preprocess::default() };
    let view = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        as_it_is.view(&ImageSet::open(&path, None).unwrap().images[0])
    };
    for (name, &least) in &least {
        let whole = std::fs::read(Path::new(PICTURES).join(name)).unwrap();
        let picture = view(name, &whole).unwrap();
        let lengths = (0..whole.len()).filter(|n| n % 97 == 0 || whole.len() - n < 30);
        for length in lengths {
            match view(name, &whole[..length]) {
                Err(ImageError::Decode { path, .. }) => assert!(path.ends_with(name)),
                Err(error) => panic!("{name} cut to {length} bytes: {error}"),
                // Of the end that Pillow does not miss, a PNG's checksums and a BMP's filling, the decoders may miss some.
                Ok(view) => assert!(length >= least && view == picture, "{name} cut to {length} of {} bytes", whole.len()),
            }
        }
        for junk in [&b"\0"[..], b"junk", b"\xFF\xD8\xFF", &[0; 5000]] {
            assert_eq!(view(name, &[&whole[..], junk].concat()).unwrap(), picture, "{name} with something behind it");
        }
    }
}

#[test]
fn the_demo_has_its_settings_beside_it() {
    let path = Path::new("assets/mobilenetv4_digits.onnx");
    let model = Model::open(path).unwrap();
    let (preprocess, from) = Preprocess::for_model(&model.graph, path);
    assert_eq!(from, Provenance::File("assets/mobilenetv4_digits.config.json".into()));
    let set = ImageSet::open(Path::new("assets/digits"), None).unwrap();
    assert_eq!((set.images.len(), set.classes.len(), set.is_labelled()), (360, 10, true));
    assert_eq!((set.images[0].name.as_str(), set.images[359].class), ("0/0078.png", Some(9)));
    let index = set.images.iter().position(|i| i.class == Some(3)).unwrap();
    let raw = image::open(Path::new("assets/digits").join(&set.images[index].name)).unwrap().into_luma8();
    let numbers = preprocess.apply(&set.images[index]).unwrap();
    let wanted: Vec<f32> = raw.as_raw().iter().map(|&v| (f32::from(v) / 255.0 - 0.5) / 0.5).collect();
    assert_eq!(numbers, [&wanted[..], &wanted, &wanted].concat());
}

/// A folder of pictures of one colour, with these names.
fn folder(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (i, name) in names.iter().enumerate() {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::RgbImage::from_pixel(3, 2, image::Rgb([i as u8, 100, 200])).save(path).unwrap();
    }
    folder
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    std::fs::write(folder.join(name), text).unwrap();
    folder.join(name)
}

fn classes(set: &ImageSet) -> Vec<(&str, Option<usize>)> {
    set.images.iter().map(|i| (i.name.as_str(), i.class)).collect()
}

#[test]
fn folders_are_classes_in_the_order_of_their_names() {
    let f = folder(&["b/1.png", "a/2.png", "a/deep/3.png", "B/4.png", ".hidden/5.png"]);
    write(f.path(), "a/notes.txt", "not a picture");
    let set = ImageSet::open(f.path(), None).unwrap();
    assert_eq!(set.classes, ["B", "a", "b"]);
    assert_eq!(classes(&set), [("B/4.png", Some(0)), ("a/2.png", Some(1)), ("a/deep/3.png", Some(1)), ("b/1.png", Some(2))]);
    assert!(set.fits(3).is_ok());
    let error = set.fits(2).unwrap_err().to_string();
    assert!(error.contains("3 classes and 2 outputs"), "{error}");
    let error = set.fits(10).unwrap_err().to_string();
    assert!(error.contains("give a labels file that lists all classes in order"), "{error}");
}

#[test]
fn labels_files_put_folders_in_order() {
    let f = folder(&["n02102040/1.png", "n01440764/2.png"]);
    let outside = tempfile::tempdir().unwrap();
    let error = ImageSet::open(f.path(), None).unwrap().fits(1000).unwrap_err().to_string();
    assert!(error.contains("ImageNet") && error.contains("labels file"), "{error}");
    for (name, text) in [
        ("a.txt", "n01440764 tench, Tinca tinca\nx\nn02102040 English springer\n"),
        ("b.json", r#"{"0": ["n01440764", "tench, Tinca tinca"], "2": ["n02102040", "English springer"]}"#),
        ("c.json", r#"["n01440764", "x", "n02102040"]"#),
    ] {
        let set = ImageSet::open(f.path(), Some(&write(outside.path(), name, text))).unwrap();
        assert_eq!(classes(&set), [("n01440764/2.png", Some(0)), ("n02102040/1.png", Some(2))], "{name}");
        assert_eq!(set.classes.len(), 3);
        assert!(set.fits(1000).is_ok() && set.fits(2).is_err());
    }
    let error = ImageSet::open(f.path(), Some(&write(outside.path(), "d.txt", "n01440764"))).unwrap_err().to_string();
    assert!(error.contains("the folder “n02102040” is not in it"), "{error}");
}

#[test]
fn a_table_labels_a_flat_folder() {
    let f = folder(&["1.png", "2.png", "3.png"]);
    let set = ImageSet::open(f.path(), None).unwrap();
    assert!(!set.is_labelled() && set.classes.is_empty() && set.fits(5).is_ok());
    let table = write(f.path(), "labels.csv", "file,label\n2.png,4\n1.png,0\n3.png,4\n");
    let set = ImageSet::open(f.path(), Some(&table)).unwrap();
    assert_eq!(classes(&set), [("1.png", Some(0)), ("2.png", Some(4)), ("3.png", Some(4))]);
    assert_eq!((set.classes.len(), set.is_labelled()), (5, true));
    let table = write(f.path(), "labels.csv", "id;breed\n2;\"dog; big\"\n1;cat\n3;dog\n");
    let set = ImageSet::open(f.path(), Some(&table)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(set.images[0].class.map(|c| set.classes[c].as_str()), Some("cat"));
    assert_eq!(set.images[1].class.map(|c| set.classes[c].as_str()), Some("dog; big"));
    let table = write(f.path(), "labels.csv", "1.png,0\n2.png,1\n");
    let error = ImageSet::open(f.path(), Some(&table)).unwrap_err().to_string();
    assert!(error.contains("“3.png” is not in it"), "{error}");
}

#[test]
fn arrays_hold_pictures_and_labels() {
    let f = tempfile::tempdir().unwrap();
    let path = f.path().join("test.npz");
    let mut pixels = secateur::network::Array::i64([2, 1, 2, 3], (0..12).map(|v| v * 20).collect());
    pixels.dtype = secateur::onnx::Dtype::U8;
    let labels = secateur::network::Array::i64([2], vec![3, 1]);
    arrays::write(&path, &[("x".into(), pixels), ("y".into(), labels)], secateur::atomic::Overwrite::Refuse).unwrap();
    let set = ImageSet::open(&path, None).unwrap();
    assert_eq!(classes(&set), [("test.npz row 0", Some(3)), ("test.npz row 1", Some(1))]);
    assert_eq!(set.classes.len(), 4);
    let plain = Preprocess {
        size: [1, 2],
        crop: 1.0,
        divisor: 1.0,
        mean: [0.0; 3],
        std: [1.0; 3],
        layout: ChannelOrder::Nhwc,
        ..Preprocess::default()
    };
    assert_eq!(plain.apply(&set.images[1]).unwrap(), [120.0, 140.0, 160.0, 180.0, 200.0, 220.0]);
    let bgr = Preprocess { channels: Colours::Bgr, layout: ChannelOrder::Nchw, mean: [160.0, 0.0, 0.0], ..plain.clone() };
    assert_eq!(bgr.apply(&set.images[1]).unwrap(), [0.0, 60.0, 140.0, 200.0, 120.0, 180.0], "mean in the network's order");

    let path = f.path().join("ready.npy");
    let floats = secateur::network::Array::f32([1, 3, 1, 2], vec![-1.0, 1.0, -1.0, 0.0, 2.0, 0.0]);
    arrays::write(&path, &[("ready".into(), floats)], secateur::atomic::Overwrite::Refuse).unwrap();
    let set = ImageSet::open(&path, None).unwrap();
    let halves = Preprocess { size: [1, 2], mean: [0.5; 3], std: [0.5; 3], ..Preprocess::default() };
    assert_eq!(halves.apply(&set.images[0]).unwrap(), [-1.0, 1.0, -1.0, 0.0, 2.0, 0.0]);
    assert_eq!(halves.view(&set.images[0]).unwrap().rgb, [0, 0, 255, 255, 128, 128]);
    let error = Preprocess { size: [2, 2], ..halves }.apply(&set.images[0]).unwrap_err().to_string();
    assert!(error.contains("6 preprocessed numbers, the network takes 12"), "{error}");
}

/// A `.npy` file of bytes, with this shape and nothing behind its header.
fn bytes_of_shape(shape: &str) -> Vec<u8> {
    let text = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n");
    [&b"\x93NUMPY\x01\0"[..], &(text.len() as u16).to_le_bytes(), text.as_bytes()].concat()
}

#[test]
fn arrays_without_pictures_are_refused() {
    let f = tempfile::tempdir().unwrap();
    let path = f.path().join("empty.npy");
    for (shape, told) in [
        ("(0, 4294967295, 4294967295, 3)", "is too large"),
        ("(0, 2147483648, 2147483648, 1)", "there is nothing in it"),
        ("(0, 224, 224, 3)", "there is nothing in it"),
        ("(0,)", "there is nothing in it"),
    ] {
        std::fs::write(&path, bytes_of_shape(shape)).unwrap();
        let error = ImageSet::open(&path, None).unwrap_err().to_string();
        assert!(error.contains(told) && error.contains("empty.npy"), "{shape}: {error}");
    }
}

#[test]
fn what_is_no_folder_of_pictures_is_told() {
    let f = folder(&[]);
    write(f.path(), "a.txt", "x");
    assert!(matches!(ImageSet::open(f.path(), None), Err(ImagesError::Empty { .. })));
    assert!(matches!(ImageSet::open(&f.path().join("nowhere"), None), Err(ImagesError::Read { .. })));
    assert!(ImageSet::open(&f.path().join("a.txt"), None).is_err());
}

#[test]
fn broken_pictures_are_named_and_the_others_come_in_order() {
    let names: Vec<String> = (0..50).map(|i| format!("{i:02}.png")).collect();
    let f = folder(&names.iter().map(String::as_str).collect::<Vec<_>>());
    write(f.path(), "07.png", "not a picture");
    let whole = std::fs::read(f.path().join("20.png")).unwrap();
    std::fs::write(f.path().join("20.png"), &whole[..whole.len() / 2]).unwrap();
    // A PNG that says 60000 x 60000.
    let mut bomb = whole.clone();
    bomb[16..24].copy_from_slice(&[0, 0, 0xEA, 0x60, 0, 0, 0xEA, 0x60]);
    let sum = crc(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&sum.to_be_bytes());
    std::fs::write(f.path().join("33.png"), bomb).unwrap();
    let set = Arc::new(ImageSet::open(f.path(), None).unwrap());
    let plain = Preprocess { size: [2, 3], crop: 1.0, divisor: 1.0, mean: [0.0; 3], std: [1.0; 3], ..Preprocess::default() };
    let indices: Vec<usize> = (0..50).rev().chain([99]).collect();
    let batches: Vec<_> = Loader::start(&set, &plain, indices, 8, Arc::default()).collect();
    let sizes: Vec<usize> = batches.iter().map(|b| b.indices.len()).collect();
    assert_eq!(sizes, [8, 8, 8, 8, 8, 7]);
    let got: Vec<usize> = batches.iter().flat_map(|b| b.indices.clone()).collect();
    assert_eq!(got, (0..50).rev().filter(|i| ![7, 20, 33].contains(i)).collect::<Vec<_>>());
    for batch in &batches {
        assert_eq!(batch.array.shape, [batch.indices.len(), 3, 2, 3]);
        let reds: Vec<usize> = batch.array.as_f32().unwrap().chunks(18).map(|p| p[0] as usize).collect();
        assert_eq!(reds, batch.indices);
    }
    let broken: Vec<(usize, String)> = batches.iter().flat_map(|b| &b.broken).map(|b| (b.index, b.error.to_string())).collect();
    assert_eq!(broken.iter().map(|b| b.0).collect::<Vec<_>>(), [33, 20, 7]);
    assert!(broken[0].1.contains("60000 × 60000 pixels; the limit is 89478485"), "{}", broken[0].1);
    assert!(broken[2].1.contains("not a whole PNG, JPEG, WebP or BMP"), "{}", broken[2].1);
}

/// PNG's checksum, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    let step = |c: u32| if c & 1 == 1 { 0xEDB8_8320 ^ (c >> 1) } else { c >> 1 };
    !bytes.iter().fold(!0, |c, &b| (0..8).fold(c ^ u32::from(b), |c, _| step(c)))
}

#[test]
fn a_stopped_loader_ends() {
    let set = Arc::new(ImageSet::open(Path::new("assets/digits"), None).unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let mut loader = Loader::start(&set, &Preprocess::default(), (0..360).collect(), 20, stop.clone());
    assert!(loader.next().is_some());
    stop.store(true, Ordering::Relaxed);
    assert!(loader.next().is_none());
}

#[test]
fn flipped_bytes_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let plain = Preprocess { size: [8, 8], ..Preprocess::default() };
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    for name in
        ["tiny.png", "palette_4_bits.png", "subsampled_422.jpg", "subsampled.jpg", "cmyk.jpg", "alpha.webp", "rgb.bmp", "palette.bmp"]
    {
        let whole = std::fs::read(Path::new(PICTURES).join(name)).unwrap();
        for round in 0..40 {
            let mut bytes = whole.clone();
            for _ in 0..=round % 8 {
                let at = if round % 2 == 0 { next() % bytes.len().min(256) } else { next() % bytes.len() };
                bytes[at] ^= 1 << (next() % 8);
            }
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let set = ImageSet::open(&path, None).unwrap();
            let _ = plain.apply(&set.images[0]);
        }
    }
}
