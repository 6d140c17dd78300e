//! Secateur: a desktop inspector for neural-network pruning.
//!
//! A person opens an ONNX model, sees its modules by type, ticks what may be pruned, drags one slider, compares layer-wise with
//! global L1 pruning while both are live, fixes the weights and saves a model that any ONNX runtime opens. The command line
//! does the same for scripts.
//!
//! # The way the data goes
//!
//! ```text
//! file → onnx → graph → network → prune → measure → export
//!        app, cli → worker → session → the rest
//! ```
//!
//! Dependencies point down only. [`onnx`] knows where every byte of the file lies, [`graph`] is the network as plain data,
//! [`network`] runs it on Burn, [`prune`] decides what goes, [`measure`] says what that did, and [`export`] writes it. A
//! [`session::Session`] is one opened model and all that is done to it; [`worker`] is the thread that owns it for the window.
//!
//! # Why masks are numbers
//!
//! Every step of magnitude pruning takes the smallest elements that a parameter has left, ties by lowest index. So the pruned
//! elements of a parameter are always a prefix of its elements in order of magnitude, and a number says which. [`prune::Order`]
//! keeps that order; any position of the slider, for both methods, is found by bisection, and masks are made only where
//! someone looks at them or saves them.

#[cfg(feature = "gui")]
pub mod app;
pub mod atomic;
pub mod cli;
pub mod device;
pub mod export;
pub mod graph;
pub mod network;
pub mod onnx;
#[cfg(test)]
mod tests {
    #[test]
    fn all_open() {
        for f in [
            "assets/mobilenetv4_digits.onnx",
            "tests/models/mobilenetv4_digits_default.onnx",
            "tests/models/mobilenetv4_digits_ts.onnx",
            "tests/models/mobilenetv4_digits_ts_bn.onnx",
            "tests/models/mobilenetv4_digits_raw.onnx",
            "tests/models/mobilenetv4_digits_fp16.onnx",
            "tests/models/mobilenetv4_r224_3classes.onnx",
            "../shared/real/cntk_mnist.onnx",
            "../shared/real/keras_resnet8.onnx",
            "../shared/real/mobilenetv2_int8_qdq.onnx",
            "../shared/real/mobilenetv4_plate_reader.onnx",
            "../shared/real/nanodet_m.onnx",
            "../shared/real/paddle_text_detector.onnx",
        ] {
            let t = std::time::Instant::now();
            let file = crate::onnx::OnnxFile::open(std::path::Path::new(f)).unwrap();
            let g = crate::graph::build(&file);
            println!(
                "{f} {:?} {} {:?} {:?}",
                t.elapsed(),
                g.elements(),
                g.batch_norm,
                g.types().iter().map(|(t, m)| (*t, m.len())).collect::<Vec<_>>()
            );
            println!(
                "   {:?}",
                g.modules
                    .iter()
                    .take(5)
                    .chain(g.modules.iter().rev().take(2))
                    .map(|m| format!("{} {}", m.name, m.role))
                    .collect::<Vec<_>>()
            );
            println!("  unowned {:?}", g.unowned.iter().map(|&t| file.tensor(t).name.clone()).collect::<Vec<_>>());
        }
    }
}
