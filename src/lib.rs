//! Secateur: an inspector for neural-network pruning.
#![allow(unused, missing_docs, reason = "under construction")]
pub mod atomic;
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
