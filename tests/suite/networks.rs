//! timm's tiny networks as three exporters write them, beside what ONNX Runtime makes of them: `tests/networks/make_networks.py`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail so, and its figures are worth reading")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use secateur::network::{Array, Network};
use secateur::onnx::{Dtype, OnnxFile};
use secateur::{arrays, graph};

use crate::adapter::adapter;

const FOLDER: &str = "tests/networks";

fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(FOLDER).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "onnx")).collect();
    files.sort();
    files
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

fn open(path: &Path, device: &Device) -> Network {
    let file = OnnxFile::open(path).unwrap();
    Network::build(Arc::new(graph::build(&file)), &file, device).unwrap()
}

/// The two images.
fn images() -> Array {
    let images = arrays::read(&Path::new(FOLDER).join("input.npy")).unwrap().remove(0).1;
    Array { dtype: Dtype::F32, ..images }
}

/// Some of the images, by number, in this order; the upper left corner of `size` pixels of each.
fn picked(images: &Array, numbers: &[usize], size: usize) -> Array {
    let (planes, side) = (images.shape[1], images.shape[2]);
    let row = |image: usize, plane: usize, y: usize| {
        let first = ((image * planes + plane) * side + y) * side;
        &images.as_f32().unwrap()[first..first + size]
    };
    let rows = numbers.iter().flat_map(|&n| (0..planes).flat_map(move |p| (0..size).map(move |y| row(n, p, y))));
    Array::f32([numbers.len(), planes, size, size], rows.flatten().copied().collect())
}

fn logits(network: &Network, images: Array) -> Vec<f32> {
    let mut outputs = network.forward(&[("x".to_owned(), images)]).unwrap();
    assert_eq!(outputs.len(), 1);
    outputs.remove(0).1.as_f32().unwrap().to_vec()
}

/// Largest difference, relative to the largest wanted.
fn error(have: &[f32], want: &[f32]) -> f32 {
    assert_eq!(have.len(), want.len());
    let largest = want.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    assert!(largest > 0.0 && have.iter().all(|v| v.is_finite()));
    have.iter().zip(want).map(|(h, w)| (h - w).abs()).fold(0.0, f32::max) / largest
}

fn agree(device: &Device, wanted: impl Fn(&str) -> bool) -> usize {
    let expected: HashMap<String, Array> = arrays::read(&Path::new(FOLDER).join("expected.npz")).unwrap().into_iter().collect();
    let images = images();
    let mut networks = 0;
    for path in files().iter().filter(|path| wanted(&stem(path))) {
        let name = stem(path);
        let network = open(path, device);
        let want = expected[&name].as_f32().unwrap();
        let mut errors = vec![error(&logits(&network, images.clone()), want)];
        let shape = &network.graph().inputs[0].shape;
        if shape[0].is_none() {
            // As many images as were never exported or run: second, first, second.
            let three: Vec<f32> = [&want[10..], want].concat();
            errors.push(error(&logits(&network, picked(&images, &[1, 0, 1], 96)), &three));
        }
        if shape[2].is_none() {
            let want = expected[&format!("{name}_small")].as_f32().unwrap();
            errors.push(error(&logits(&network, picked(&images, &[0, 1], 64)), want));
        }
        println!("{name}: {errors:?}");
        assert!(errors.iter().all(|&e| e < 1e-4), "{name}: {errors:?}");
        networks += 1;
    }
    networks
}

#[test]
fn every_export_of_every_network_agrees_with_onnx_runtime() {
    assert_eq!(agree(&Device::flex(), |_| true), 24);
}

#[test]
fn some_agree_on_wgpu() {
    let Some(adapter) = adapter() else { return };
    let some = ["test_efficientnet_default", "test_resnet_raw", "test_vit_ts"];
    assert_eq!(agree(&adapter.device, |name| some.contains(&name)), 3);
}

#[test]
fn values_go_after_their_last_use() {
    for path in files() {
        let network = open(&path, &Device::flex());
        let mut pass = network.begin(&[("x".to_owned(), images())]).unwrap();
        let (input, nodes) = (pass.bytes(), network.graph().nodes.len());
        assert_eq!(input, 2 * 3 * 96 * 96 * 4);
        let mut most = 0;
        for node in 1..=nodes {
            network.advance(&mut pass, node, &secateur::watch::Unwatched).unwrap();
            most = most.max(pass.bytes());
        }
        // Two images have ten logits each, and nothing else is left.
        assert_eq!(pass.bytes(), 2 * 10 * 4, "{}", path.display());
        println!("{}: at most {most} bytes at once", path.display());
        assert!(most < 40 * input, "{}: {most}", path.display());
    }
}
