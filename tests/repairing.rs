//! Repair, beside what PyTorch makes of the same networks and images.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::sync::Arc;

use secateur::device::{ComputeDevice, DeviceChoice};
use secateur::engine::Engine;
use secateur::evaluate::{Evaluator, Questions};
use secateur::images::{ImageSet, Preprocess};
use secateur::measure::Effect;
use secateur::prune::{Amount, Method, Recipe, State};
use secateur::repair::{Options, Repairer};
use secateur::watch::Unwatched;
use serde_json::Value;

const KEPT: &str = "assets/mobilenetv4_digits.onnx";
const FOLDED: &str = "tests/models/mobilenetv4_digits_default.onnx";
const DIGITS: &str = "assets/digits";

/// A model, and images that calibrate and judge.
struct Clinic {
    engine: Arc<Engine>,
    repairer: Repairer,
    judge: Evaluator,
}

impl Clinic {
    /// Every third image in sorted order calibrates.
    fn new(model: &str, options: Options) -> Self {
        let engine = Engine::open(Path::new(model), &Unwatched).unwrap();
        let engine = Arc::new(engine.on(ComputeDevice::open(DeviceChoice::Cpu).unwrap()));
        let set = ImageSet::open(Path::new(DIGITS), None).unwrap();
        let mut sorted: Vec<usize> = (0..set.images.len()).collect();
        sorted.sort_by_key(|&i| set.images[i].name.clone());
        let (calibration, judged): (Vec<(usize, usize)>, Vec<_>) = sorted.into_iter().enumerate().partition(|(place, _)| place % 3 == 0);
        let [calibration, judged] = [calibration, judged].map(|part| set.of(&part.into_iter().map(|(_, i)| i).collect::<Vec<_>>()));
        assert_eq!((calibration.images.len(), judged.images.len()), (120, 240));
        let questions = |set: ImageSet| {
            // What the pictures become is said beside the demo alone.
            let (preprocess, _) = Preprocess::for_model(&engine.model().graph, Path::new(KEPT));
            Questions::images(&engine.model().graph, Arc::new(set), preprocess, None, 60).unwrap()
        };
        let repairer = Repairer::new(engine.clone(), questions(calibration), options);
        let judge = Evaluator::new(engine.clone(), questions(judged), Some(10));
        Self { engine, repairer, judge }
    }

    /// Weights of convolutions and linear layers pruned, biases not.
    fn pruned(&self, method: Method, amount: f64) -> State {
        let opened = self.engine.opened();
        opened.with(Recipe { method, amount: Amount::Fraction(amount), biases: false, ..opened.recipe.clone() })
    }
}

#[test]
fn all_rows_come_back_as_in_pytorch() {
    let text = std::fs::read_to_string("tests/reference/digits_repair.json").unwrap();
    let reference: Value = serde_json::from_str(&text).unwrap();
    let rows = reference["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 28);
    for (form, model) in [("kept", KEPT), ("folded", FOLDED)] {
        let mut clinic = Clinic::new(model, Options::default());
        for row in rows.iter().filter(|row| row["form"] == form) {
            let method = Method::ALL.into_iter().find(|m| m.name() == row["method"]).unwrap();
            let state = clinic.pruned(method, row["amount"].as_f64().unwrap());
            let judged = clinic.repairer.judged(&mut clinic.judge, &state, &Unwatched).unwrap();
            let what = format!("{form}, {} {}", row["method"], row["amount"]);
            println!("{what}: {:?} -> {:?} ({} -> {})", judged.before.top1, judged.after.top1, row["before"]["top1"], row["after"]["top1"]);
            for (side, effect) in [("before", &judged.before), ("after", &judged.after)] {
                agree(&what, &row[side], effect);
            }
            assert_eq!(judged.repair.calibration_images, 120);
            assert!(judged.repair.left.is_empty(), "{:?}", judged.repair.left);
        }
    }
}

/// Within two images and 0.01 of cosine where top-1 is above 0.9; below, what is left of the networks is chaotic.
fn agree(what: &str, wanted: &Value, found: &Effect) {
    let wanted_top1 = wanted["top1"].as_f64().unwrap();
    let images = (found.top1.unwrap() - wanted_top1).abs() * 240.0;
    let cosine = (found.mean_cosine.unwrap() - wanted["mean_cosine"].as_f64().unwrap()).abs();
    if wanted_top1 > 0.9 {
        assert!(images < 2.5 && cosine <= 0.01, "{what}: {found:?}, and {wanted}");
    } else {
        assert!(images < 10.5, "{what}: {found:?}, and {wanted}");
    }
}
