//! Repair, beside what PyTorch makes of the same networks and images.
#![expect(clippy::unwrap_used, reason = "a test")]

mod biases;

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use secateur::arrays;
use secateur::atomic::Overwrite;
use secateur::device::{ComputeDevice, DeviceChoice};
use secateur::engine::{Engine, EngineError};
use secateur::evaluate::{EvaluateError, Evaluator, Questions};
use secateur::export::{Form, Format};
use secateur::graph::ParameterId;
use secateur::images::{ImageSet, Preprocess};
use secateur::measure::Effect;
use secateur::onnx::{self, Change, Edit, OnnxFile};
use secateur::prune::{Amount, Method, NormStatistics, Recipe, State, Step};
use secateur::repair::{Judged, Options, RepairError, Repairer, split, spread};
use secateur::session::Session;
use secateur::watch::{Unwatched, Watch};
use serde_json::Value;

use crate::adapter;

const KEPT: &str = "assets/mobilenetv4_digits.onnx";
const FOLDED: &str = "tests/models/mobilenetv4_digits_default.onnx";
const DIGITS: &str = "assets/digits";

/// Kinds of layers of which there is a network with biases and one without.
const UNBIASED: [&str; 7] = ["dense", "grouped", "depthwise", "transposed", "shared", "gemm", "matmul"];

/// A model, and images that calibrate and judge.
struct Setup {
    engine: Arc<Engine>,
    repairer: Repairer,
    judge: Evaluator,
}

impl Setup {
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

/// All rows of one form of the demo come back as they do in PyTorch.
fn rows_come_back(form: &str, model: &str) {
    let text = std::fs::read_to_string("tests/reference/digits_repair.json").unwrap();
    let reference: Value = serde_json::from_str(&text).unwrap();
    let all = reference["rows"].as_array().unwrap();
    let rows: Vec<&Value> = all.iter().filter(|row| row["form"] == form).collect();
    assert_eq!((rows.len(), all.len()), (14, 28));
    let mut setup = Setup::new(model, Options::default());
    for row in rows {
        let method = Method::ALL.into_iter().find(|m| m.name() == row["method"]).unwrap();
        let state = setup.pruned(method, row["amount"].as_f64().unwrap());
        let judged = setup.repairer.judged(&mut setup.judge, &state, &Unwatched).unwrap();
        let what = format!("{form}, {} {}", row["method"], row["amount"]);
        for (side, effect) in [("before", &judged.before), ("after", &judged.after)] {
            agree(&what, &row[side], effect);
        }
        assert_eq!(judged.repair.calibration_images, 120);
        assert!(judged.repair.left.is_empty(), "{:?}", judged.repair.left);
    }
}

#[test]
fn a_network_with_batch_normalisation_comes_back_as_in_pytorch() {
    rows_come_back("kept", KEPT);
}

#[test]
fn a_network_with_batch_normalisation_folded_comes_back_as_in_pytorch() {
    rows_come_back("folded", FOLDED);
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

/// A network of a few layers, half of it pruned.
fn halved(name: &str) -> (Arc<Engine>, State) {
    let engine = Arc::new(Engine::open(Path::new(&format!("tests/repair/{name}.onnx")), &Unwatched).unwrap());
    let opened = engine.opened();
    let state = opened.with(Recipe { method: Method::LayerWise, amount: Amount::Fraction(0.5), biases: false, ..opened.recipe.clone() });
    (engine, state)
}

/// All images of `tests/repair`.
fn every_image(engine: &Engine) -> Questions {
    let graph = &engine.model().graph;
    let set = ImageSet::open(Path::new("tests/repair/images.npy"), None).unwrap();
    let (preprocess, _) = Preprocess::for_model(graph, &engine.model().file.path);
    Questions::images(graph, Arc::new(set), preprocess, None, 10).unwrap()
}

/// What all images of `tests/repair` repair.
fn repairer(engine: &Arc<Engine>, options: Options) -> Repairer {
    Repairer::new(engine.clone(), every_image(engine), options)
}

/// A network of a few layers, repaired on all of its images: every tensor that changed, by name.
fn small(name: &str, options: Options) -> HashMap<String, Vec<f32>> {
    let (engine, state) = halved(name);
    let (model, graph) = (engine.model(), &engine.model().graph);
    let (state, repair) = repairer(&engine, options).repair(&state, &Unwatched).unwrap();
    assert!(repair.left.is_empty() && repair.calibration_images == 24, "{name}: {:?}", repair.left);
    let biases = state.biases.iter().map(|(&id, bias)| (format!("{}.bias", graph.owner(id).name), (*bias.values).clone()));
    let biases: Vec<_> = biases.collect();
    let parameters = (0..graph.parameters.len()).filter(|&i| state.weights[i].replaced().is_some()).map(ParameterId);
    let parameters = parameters.map(|id| (graph.parameter(id).name.clone(), engine.values(&state, id).unwrap().unwrap()));
    let statistics = state.statistics.iter().map(|(&id, values)| (model.file.tensor(id).name.clone(), (**values).clone()));
    parameters.chain(statistics).chain(biases).map(|(name, values)| (name, values.into_f32())).collect()
}

#[test]
fn every_kind_of_layer_becomes_what_float64_says() {
    let mut expected = arrays::read(Path::new("tests/repair/repaired.npz")).unwrap();
    expected.extend(arrays::read(Path::new("tests/repair/unbiased.npz")).unwrap());
    let mut seen = 0;
    let unbiased = UNBIASED.map(|name| format!("{name}_unbiased"));
    for name in UNBIASED.into_iter().chain(["normalised", "matched"]).chain(unbiased.iter().map(String::as_str)) {
        let (file, norms) = if name == "matched" { ("normalised", NormStatistics::Matched) } else { (name, NormStatistics::Estimated) };
        let found = small(file, Options { norms: Some(norms), ..Options::default() });
        for (tensor, wanted) in expected.iter().filter_map(|(key, array)| Some((key.strip_prefix(&format!("{name}/"))?, array))) {
            // What is pruned and not repaired is no other tensor.
            let Some(found) = found.get(tensor) else {
                let is_normalised = file == "normalised" || tensor == "two.weight";
                assert!(is_normalised && tensor.ends_with(".weight"), "{name}: {tensor} was not repaired");
                continue;
            };
            for (i, (found, wanted)) in found.iter().zip(wanted.as_f32().unwrap()).enumerate() {
                assert!((found - wanted).abs() <= 1e-4 * (1.0 + wanted.abs()), "{name}: {tensor}[{i}] is {found}, and {wanted} in float64");
                assert!(*wanted != 0.0 || found.to_bits() == 0, "{name}: {tensor}[{i}]");
            }
            seen += 1;
        }
    }
    assert!(seen >= 60, "{seen} tensors");
}

/// This network's running statistics are of other images, the demo's of such as these.
#[test]
fn running_statistics_become_what_agrees_more() {
    let (engine, state) = halved("centred");
    let [estimated, matched, chosen] = [Some(NormStatistics::Estimated), Some(NormStatistics::Matched), None]
        .map(|norms| repairer(&engine, Options { norms, ..Options::default() }).repair(&state, &Unwatched).unwrap());
    let mut judge = Evaluator::new(engine.clone(), every_image(&engine), None);
    let mut agreement = |state: &State| judge.effect(state, None, &Unwatched).unwrap().agreement.unwrap();
    let (e, m) = (agreement(&estimated.0), agreement(&matched.0));
    assert!(m > e + 0.02, "{m} and {e}");
    assert_eq!(chosen.1.norms, Some(NormStatistics::Matched));
    assert_eq!(chosen.0.statistics, matched.0.statistics);
    assert_ne!(chosen.0.statistics, estimated.0.statistics);
    let mut demo = Setup::new(KEPT, Options::default());
    let state = demo.pruned(Method::Global, 0.7);
    assert_eq!(demo.repairer.repair(&state, &Unwatched).unwrap().1.norms, Some(NormStatistics::Estimated));
}

#[test]
fn fitting_comes_closer_than_statistics_alone() {
    let mut setup = Setup::new(KEPT, Options { is_thorough: true, ..Options::default() });
    let state = setup.pruned(Method::Lamp, 0.95);
    let judged = setup.repairer.judged(&mut setup.judge, &state, &Unwatched).unwrap();
    // Statistics alone give 20 %.
    assert!(judged.is_better() && judged.after.top1.unwrap() > 0.9, "{:?}", judged.after);
    let fitted: Vec<_> = judged.repair.layers.iter().filter(|layer| layer.lambda.is_some_and(f64::is_finite)).collect();
    assert!(fitted.len() > 40, "{} layers", fitted.len());
    assert!(fitted.iter().all(|layer| layer.error_after <= layer.error_before), "{fitted:?}");
}

#[test]
fn what_answers_is_fitted_where_images_enough_call_for_every_answer() {
    // Ten for each of ten digits. Where batch normalisation was folded it is shifted all the same, and so not left.
    for (model, images, is_fitted, is_left) in [(KEPT, 99, false, true), (KEPT, 100, true, false), (FOLDED, 99, false, false)] {
        let setup = Setup::new(model, Options::default());
        let graph = &setup.engine.model().graph;
        let ticked = graph.modules.iter().map(|module| module.name == "classifier" || module.name.starts_with("blocks.0")).collect();
        let state = setup.pruned(Method::Lamp, 0.95);
        let state = state.with(Recipe { ticked, ..state.recipe.clone() });
        let set = spread(&ImageSet::open(Path::new(DIGITS), None).unwrap(), images);
        let (preprocess, _) = Preprocess::for_model(graph, Path::new(KEPT));
        let questions = Questions::images(graph, Arc::new(set), preprocess, None, 60).unwrap();
        let options = Options { is_thorough: true, norms: Some(NormStatistics::Estimated), ..Options::default() };
        let (_, repair) = Repairer::new(setup.engine.clone(), questions, options).repair(&state, &Unwatched).unwrap();
        let lambdas: Vec<_> = repair.layers.iter().filter(|layer| layer.name == "classifier").map(|layer| layer.lambda).collect();
        assert_eq!(lambdas.iter().any(Option::is_some), is_fitted, "{model}, {images}");
        assert_eq!(lambdas.is_empty(), is_left, "{model}, {images}");
        let told = repair.left.iter().any(|(name, reason)| name == "classifier" && reason.contains("99 calibrate"));
        assert_eq!(told, is_left, "{model}, {images}");
    }
}

#[test]
fn a_repair_is_the_same_whatever_the_threads_and_the_memory() {
    // With batch normalisation kept, two repairs go on side by side.
    for (model, is_thorough) in [(FOLDED, false), (FOLDED, true), (KEPT, false)] {
        let with = |threads: usize, memory: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let setup = Setup::new(model, Options::default());
                let graph = &setup.engine.model().graph;
                // Of few layers, for what is fitted takes long.
                let ticked = graph.modules.iter().map(|module| !is_thorough || module.name.starts_with("blocks.1")).collect();
                let state = setup.pruned(Method::Lamp, 0.9);
                let state = state.with(Recipe { ticked, ..state.recipe.clone() });
                let few = spread(&ImageSet::open(Path::new(DIGITS), None).unwrap(), 40);
                let (preprocess, _) = Preprocess::for_model(graph, Path::new(KEPT));
                let questions = Questions::images(graph, Arc::new(few), preprocess, None, 15).unwrap();
                let options = Options { is_thorough, memory, ..Options::default() };
                let (state, _) = Repairer::new(setup.engine.clone(), questions, options).repair(&state, &Unwatched).unwrap();
                (state.weights, state.statistics)
            })
        };
        assert!(with(1, usize::MAX) == with(2, 1_000_000), "{model}, thorough: {is_thorough}");
    }
}

#[test]
fn zeros_stay_undo_gives_everything_back_and_what_is_repaired_goes_on() {
    for model in [KEPT, FOLDED] {
        let mut setup = Setup::new(model, Options::default());
        let mut session = Session::new(Engine::open(Path::new(model), &Unwatched).unwrap());
        let state = setup.pruned(Method::Global, 0.6);
        let opened = session.state().clone();
        let (repaired, repair) = setup.repairer.repair(&state, &Unwatched).unwrap();
        assert_eq!(repaired.earlier.last().unwrap().repair, Some(repair));
        let engine = setup.engine.clone();
        for (id, masks) in engine.host_masks(&state).unwrap() {
            let (values, zeroed) = (engine.values(&repaired, id).unwrap().unwrap(), engine.fixed(&repaired, id).unwrap().unwrap().1);
            assert_eq!(zeroed, masks.zeroed());
            let mut zeros = values.clone();
            zeroed.apply(&mut zeros);
            assert!(repaired.weights[id.0].replaced().is_none() || values.is_same(&zeros), "{model}: pruned elements are +0.0");
        }
        // A file that answers the same, and opened again is what was saved.
        let folder = tempfile::tempdir().unwrap();
        session.go_to(repaired.clone(), Step::Repair).unwrap();
        assert!(session.is_unsaved());
        let [onnx, tensors] = ["repaired.onnx", "repaired.safetensors"].map(|name| folder.path().join(name));
        session.save(&onnx, Format::Onnx, Overwrite::Refuse).unwrap();
        session.save(&tensors, Format::Safetensors(Form::Fixed), Overwrite::Refuse).unwrap();
        assert!(!session.is_unsaved());
        let again = Engine::open(&onnx, &Unwatched).unwrap();
        let bytes = std::fs::read(&tensors).unwrap();
        let named = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        for id in (0..repaired.weights.len()).map(ParameterId) {
            let (_, _, wanted) =
                engine.pruned_weights(&repaired).unwrap().into_iter().find(|(found, ..)| *found == id).unwrap_or_else(|| {
                    let values = engine.values(&repaired, id).unwrap().unwrap();
                    (id, engine.fixed(&repaired, id).unwrap().unwrap().1, values)
                });
            assert!(again.values(&again.opened(), id).unwrap().unwrap().is_same(&wanted), "{model}");
            let saved = named.tensor(&engine.model().graph.torch_name(id)).unwrap();
            assert!(saved.data() == wanted.to_bytes(engine.model().graph.parameter(id).dtype), "{model}");
        }
        for (&id, values) in repaired.statistics.iter() {
            assert!(again.model().file.floats(id).unwrap().unwrap().is_same(values), "{model}");
        }
        let x = setup.judge.batches(&Unwatched).unwrap()[0].inputs.clone();
        let (here, there) = (engine.forward(&repaired, &x).unwrap(), again.forward(&again.opened(), &x).unwrap());
        let pairs = here[0].1.as_f32().unwrap().iter().zip(there[0].1.as_f32().unwrap());
        assert!(pairs.clone().all(|(a, b)| (a - b).abs() <= 1e-4 * (1.0 + b.abs())), "{model}");
        // Undone to the first byte.
        session.undo().unwrap();
        assert_eq!(session.state(), &opened);
        session.save(&folder.path().join("undone.onnx"), Format::Onnx, Overwrite::Refuse).unwrap();
        if model == KEPT {
            assert!(std::fs::read(folder.path().join("undone.onnx")).unwrap() == std::fs::read(model).unwrap());
        }
        // Pruned further, and repaired again.
        let more = repaired.with(Recipe { method: Method::Global, amount: Amount::Fraction(0.75), ..state.recipe.clone() });
        let zeros = |state: &State| engine.pruned_weights(state).unwrap().iter().map(|(_, zeroed, _)| zeroed.pruned()).sum::<u64>();
        let scope: u64 =
            state.recipe.scope(&engine.model().graph).iter().map(|&id| engine.model().graph.parameter(id).elements as u64).sum();
        assert_eq!(zeros(&more), (0.75 * scope as f64).round_ties_even() as u64);
        let judged = setup.repairer.judged(&mut setup.judge, &more, &Unwatched).unwrap();
        assert!(judged.is_better() && zeros(&judged.state) == zeros(&more), "{:?}", judged.after);
    }
}

#[test]
fn nothing_pruned_is_nothing_to_repair() {
    let mut setup = Setup::new(KEPT, Options::default());
    let opened = setup.engine.opened();
    assert!(matches!(setup.repairer.repair(&opened, &Unwatched), Err(RepairError::Unpruned)));
}

/// Cancels at the first report of a layer.
struct Impatient {
    seen: AtomicUsize,
}

impl Watch for Impatient {
    fn progress(&self, _: f32, what: &str) {
        if what.starts_with("Repairing") {
            self.seen.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn is_cancelled(&self) -> bool {
        self.seen.load(Ordering::Relaxed) > 3
    }
}

#[test]
fn a_repair_stops_when_asked() {
    let mut setup = Setup::new(FOLDED, Options { is_thorough: true, ..Options::default() });
    let state = setup.pruned(Method::Lamp, 0.8);
    let start = Instant::now();
    let watch = Impatient { seen: AtomicUsize::new(0) };
    let stopped = setup.repairer.repair(&state, &watch);
    assert!(matches!(stopped, Err(RepairError::Evaluate(EvaluateError::Engine(EngineError::Cancelled)))));
    assert!(watch.seen.load(Ordering::Relaxed) < 6 && start.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_third_calibrates_and_the_others_judge() {
    let set = ImageSet::open(Path::new(DIGITS), None).unwrap();
    let (calibration, judged) = split(&set, None).unwrap();
    assert_eq!((calibration.images.len(), judged.images.len()), (120, 240));
    assert!(calibration.images.iter().all(|image| judged.images.iter().all(|other| other.name != image.name)));
    let mut classes = [0; 10];
    calibration.images.iter().for_each(|image| classes[image.class.unwrap()] += 1);
    assert!(classes.iter().all(|n| (11..=13).contains(n)), "{classes:?}");
    assert!(split(&set, Some(360)).is_err() && split(&set.of(&[0]), None).is_err());
    assert_eq!(split(&set, Some(10)).unwrap().0.images.len(), 10);
}

#[test]
fn what_was_repaired_is_masked_and_run_on_a_gpu_as_on_the_host() {
    let Some(device) = adapter::adapter() else { return };
    let mut setup = Setup::new(FOLDED, Options::default());
    let state = setup.pruned(Method::Global, 0.6);
    let (repaired, _) = setup.repairer.repair(&state, &Unwatched).unwrap();
    let engine = setup.engine.on(device);
    // The weights as opened are there first, and others after them.
    for state in [&state, &repaired.with(Recipe { amount: Amount::Fraction(0.7), ..state.recipe.clone() }), &state] {
        assert_eq!(engine.masks(state).unwrap(), setup.engine.host_masks(state).unwrap());
        let x: Vec<_> = setup.judge.batches(&Unwatched).unwrap()[0].inputs.clone();
        let x = vec![(x[0].0.clone(), x[0].1.rows(0..4).unwrap())];
        let (there, here) = (engine.forward(state, &x).unwrap(), setup.engine.forward(state, &x).unwrap());
        let pairs = there[0].1.as_f32().unwrap().iter().zip(here[0].1.as_f32().unwrap());
        assert!(pairs.clone().all(|(a, b)| (a - b).abs() <= 1e-3 * (1.0 + b.abs())), "{there:?} {here:?}");
    }
}

/// Nine digits of every class, one folder per class.
fn few_digits(folder: &Path) -> String {
    let chosen = folder.join("few_digits");
    for class in 0..10 {
        let mut files: Vec<_> = std::fs::read_dir(format!("{DIGITS}/{class}")).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        let target = chosen.join(class.to_string());
        std::fs::create_dir_all(&target).unwrap();
        for file in &files[..9] {
            std::fs::copy(file, target.join(file.file_name().unwrap())).unwrap();
        }
    }
    chosen.display().to_string()
}

/// Pruned, repaired, pruned further, repaired again: what a recipe says of it, and what is written down of that, gives the same file.
#[test]
fn a_recipe_repairs_between_its_steps() {
    let folder = tempfile::tempdir().unwrap();
    let digits = few_digits(folder.path());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (by_hand, written, first, second, without) =
        (path("by_hand.toml"), path("written.toml"), path("1.onnx"), path("2.onnx"), path("3.onnx"));
    // Few layers, for what is fitted takes long.
    let all = "modules = [\"blocks.1*\"]\nmethod = \"global\"\nbiases = false\n";
    let steps = "[[step]]\namount = 0.8\nrepair = { calibration-images = 40, thorough = true }\n[[step]]\namount = 0.9\nrepair = { calibration-images = 30 }\n";
    std::fs::write(&by_hand, format!("{all}{steps}")).unwrap();
    let shown = format!("--images {digits} --device cpu --json");
    let report = json(&format!("prune {KEPT} --recipe {by_hand} {shown} -o {first} --save-recipe {written}"));
    assert_eq!((&report["repair"]["calibration_images"], &report["repair"]["applied"]), (&30.into(), &true.into()));
    let text = std::fs::read_to_string(&written).unwrap();
    for (part, times) in [("calibration-images = 40", 1), ("calibration-images = 30", 1), ("[step.repair]", 2)] {
        assert_eq!(text.matches(part).count(), times, "{part}: {text}");
    }
    json(&format!("prune {KEPT} --recipe {written} {shown} -o {second}"));
    let bytes = |path: &str| std::fs::read(path).unwrap();
    assert!(bytes(&first) == bytes(&second));
    // Without the first of the repairs it is another.
    std::fs::write(
        &by_hand,
        format!("{all}{}", steps.replacen("repair = { calibration-images = 40, thorough = true }\n", "then = \"fix\"\n", 1)),
    )
    .unwrap();
    json(&format!("prune {KEPT} --recipe {by_hand} {shown} -o {without}"));
    assert!(bytes(&first) != bytes(&without));
    let rows = json(&format!("evaluate {KEPT} --recipe {written} {shown}"))["rows"].clone();
    assert_eq!((&rows[2]["repaired"], &rows[2]["images"]), (&true.into(), &60.into()));
}

/// An engine on a model of `tests/repair` in which one tensor was changed, and the state of it with half pruned.
fn spoilt(name: &str, tensor: &str, values: &[f32]) -> (Arc<Engine>, State, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spoilt.onnx");
    let file = OnnxFile::open(Path::new(&format!("tests/repair/{name}.onnx"))).unwrap();
    let id = file.tensor_named(tensor).unwrap();
    let mut all = file.floats(id).unwrap().unwrap().into_f32();
    all[..values.len()].copy_from_slice(values);
    let bytes = all.iter().flat_map(|v| v.to_le_bytes()).collect();
    onnx::write(&file, &[Edit { tensor: id, change: Change::Bytes(bytes) }], &path, Overwrite::Refuse).unwrap();
    let engine = Arc::new(Engine::open(&path, &Unwatched).unwrap());
    let opened = engine.opened();
    let state = opened.with(Recipe { method: Method::LayerWise, amount: Amount::Fraction(0.5), biases: false, ..opened.recipe.clone() });
    (engine, state, folder)
}

#[test]
fn nothing_that_is_not_finite_is_ever_written() {
    let nothing: &[f32] = &[];
    let cases = [
        ("dense", "stem.bias", &[f32::NAN][..]),
        ("dense", "conv.bias", &[f32::INFINITY]),
        ("dense", "stem.weight", &[0.0; 12]),
        ("dense", "conv.weight", &[1e38; 36]),
        ("normalised", "conv.weight", &[f32::NAN]),
        ("normalised", "conv.weight", &[0.0; 162]),
        ("matmul", "ln.weight", &[0.0; 6]),
        ("gemm", "one.weight", nothing),
    ];
    for (name, tensor, values) in cases {
        let (engine, state, _folder) = spoilt(name, tensor, values);
        let graph = &engine.model().graph;
        for (images, is_thorough) in [(1, false), (1, true), (24, false), (24, true)] {
            let set = ImageSet::open(Path::new("tests/repair/images.npy"), None).unwrap();
            let (preprocess, _) = Preprocess::for_model(graph, &engine.model().file.path);
            let questions = Questions::images(graph, Arc::new(set), preprocess, Some(images), 10).unwrap();
            let repair = Repairer::new(engine.clone(), questions, Options { is_thorough, ..Options::default() }).repair(&state, &Unwatched);
            let (state, repair) = match repair {
                Ok(repaired) => repaired,
                Err(RepairError::Nothing { .. }) => continue,
                Err(error) => panic!("{name} {tensor}: {error}"),
            };
            assert!(!values.iter().any(|v| !v.is_finite()) || !repair.left.is_empty(), "{name} {tensor}: nothing is said of it");
            let replaced = state.weights.iter().filter_map(|weights| Some(weights.replaced()?.values().to_f64()));
            for values in replaced.chain(state.statistics.values().map(|values| values.to_f64())) {
                assert!(values.iter().all(|v| v.is_finite()), "{name} {tensor}, {images} images, thorough {is_thorough}");
            }
        }
    }
}

/// What the program prints as JSON.
fn json(arguments: &str) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secateur"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).args(arguments.split_whitespace());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_command_line_repairs_alone_and_with_other_commands() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["one.onnx", "two.onnx"].map(|name| folder.path().join(name).display().to_string());
    let pruned = format!("{KEPT} --images {DIGITS} --no-biases --method global --amount 0.8 --device cpu --json");
    let report = json(&format!("repair {pruned} -o {one}"));
    assert_eq!((&report["calibration_images"], &report["judged_images"], &report["applied"]), (&120.into(), &240.into(), &true.into()));
    assert!(report["before"]["top1"].as_f64().unwrap() < 0.2 && report["after"]["top1"].as_f64().unwrap() > 0.99);
    let layers = report["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 46);
    let gained = layers.iter().filter(|layer| layer["error_after"].as_f64() < layer["error_before"].as_f64()).count();
    assert!(gained > 23 && layers.iter().all(|layer| layer["lambda"].is_null()), "{gained} layers");
    assert!(report["seconds"].as_f64().unwrap() > 0.0);
    // Another way to the same file.
    let report = json(&format!("prune {pruned} --repair -o {two}"));
    assert!(report["repair"]["after"]["top1"].as_f64().unwrap() > 0.99);
    assert!(std::fs::read(&one).unwrap() == std::fs::read(&two).unwrap());
    // Rows with and without, on fewer images.
    let digits = few_digits(folder.path());
    let pruned = pruned.replace(DIGITS, &digits);
    let rows = json(&format!("evaluate {pruned} --repair"))["rows"].clone();
    assert_eq!(rows.as_array().unwrap().len(), 3);
    assert_eq!((&rows[2]["repaired"], &rows[1]["repaired"]), (&true.into(), &Value::Null));
    let rows =
        json(&format!("sweep {KEPT} --images {digits} --no-biases --method global --amounts 0,0.8 --repair --device cpu --json"))["rows"]
            .clone();
    let found: Vec<_> = rows.as_array().unwrap().iter().map(|row| (row["amount"].as_f64().unwrap(), row["repaired"].as_bool())).collect();
    assert_eq!(found, [(0.0, None), (0.8, None), (0.8, Some(true))]);
    // Searched amounts, repaired before they are judged.
    let search = format!("sweep {KEPT} --images {DIGITS} --limit 60 --no-biases --method global --loses-at-most 5 --device cpu --json")
        .replace(DIGITS, &digits);
    let (report, repaired) = (json(&search), json(&format!("{search} --repair --calibration-images 40")));
    let amount = |report: &Value| report["rows"][0]["amount"].as_f64().unwrap();
    assert!(amount(&repaired) > amount(&report) + 0.1, "{} and repaired {}", amount(&report), amount(&repaired));
    assert_eq!((&report["repaired"], &repaired["repaired"]), (&false.into(), &true.into()));
    // A folder of its own, few images, nothing pruned, noise.
    let report = json(&format!("repair {pruned} --calibration {DIGITS}/3 --calibration-images 7 --thorough --limit 20"));
    assert_eq!((&report["calibration_images"], &report["judged_images"]), (&7.into(), &20.into()));
    let report = json(&format!("repair {KEPT} --noise --no-biases --method global --amount 0.5 --device cpu --json"));
    assert_eq!((&report["calibration_images"], &report["judged_images"], &report["noise"]), (&64.into(), &32.into(), &true.into()));
}

/// Without a single image, the demo pruned to what answers nothing right answers nearly all of them right again.
#[test]
fn noise_repairs_where_there_are_no_images() {
    let folder = tempfile::tempdir().unwrap();
    let repaired = folder.path().join("mobilenetv4_digits.onnx");
    std::fs::copy(Path::new(KEPT).with_extension("config.json"), repaired.with_extension("config.json")).unwrap();
    let pruning = "--no-biases --method global --amount 0.8 --device cpu --json";
    let report = json(&format!("repair {KEPT} --noise {pruning} -o {}", repaired.display()));
    assert!(report["applied"] == true && report["running_statistics"] == "matched", "{report}");
    let top1 = |of: &str| json(of)["rows"].as_array().unwrap().last().unwrap()["top1"].as_f64().unwrap();
    let before = top1(&format!("evaluate {KEPT} --images {DIGITS} --limit 120 {pruning}"));
    let after = top1(&format!("evaluate {} --images {DIGITS} --limit 120 --device cpu --json", repaired.display()));
    assert!(before < 0.2 && after > 0.9, "{before} → {after}");
}

/// Of noise the first answers are often the same few classes: its mean cosine decides, where images have their agreement.
#[test]
fn a_repair_by_noise_is_judged_by_the_cosine() {
    let engine = Arc::new(Engine::open(Path::new(KEPT), &Unwatched).unwrap());
    let model = engine.model();
    let (preprocess, _) = Preprocess::for_model(&model.graph, Path::new(KEPT));
    let mut session = Session::new(Engine::open(Path::new(KEPT), &Unwatched).unwrap());
    let recipe = Recipe { method: Method::Global, amount: Amount::Fraction(0.8), ..session.state().recipe.clone() };
    session.set(recipe, Step::Amount).unwrap();
    let calibrating = Questions::calibrating_noise(&model.graph, &preprocess, 30).unwrap();
    let questions = Questions::noise(&model.graph, &preprocess, Some(12), 30).unwrap();
    assert!(calibrating.is_noise() && questions.is_noise() && (calibrating.num_images(), questions.num_images()) == (64, 12));
    let mut judge = Evaluator::new(engine.clone(), questions, None);
    let mut repairer = Repairer::new(engine.clone(), calibrating, Options::default());
    let judged = repairer.judged(&mut judge, session.state(), &Unwatched).unwrap();
    assert!(judged.is_by_noise && judged.is_better());
    assert_eq!(judged.repair.norms, Some(NormStatistics::Matched), "estimates would be the noise's own");
    let [less, more] = [0.5, 0.6].map(|cosine| Effect { mean_cosine: Some(cosine), ..judged.before.clone() });
    let [agreeing, other] = [(&less, 0.9), (&more, 0.1)].map(|(effect, agreement)| Effect { agreement: Some(agreement), ..effect.clone() });
    for is_by_noise in [false, true] {
        let of = |before: &Effect, after: &Effect| {
            Judged { is_by_noise, before: before.clone(), after: after.clone(), ..judged.clone() }.is_better()
        };
        assert_eq!((of(&agreeing, &other), of(&other, &agreeing)), (is_by_noise, !is_by_noise));
        let broken = Effect { mean_cosine: Some(f64::NAN), agreement: Some(f64::NAN), ..less.clone() };
        assert_eq!((of(&broken, &other), of(&other, &broken)), (true, false), "an answer is better than none");
    }
}

/// What a recipe repaired it repairs again, on the images that are given or on its own; where that cannot be, it is told.
#[test]
fn a_recipe_repairs_again_and_what_it_leaves_out_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let digits = few_digits(folder.path());
    let (recipe, first, second, third) = (path("recipe.toml"), path("first.onnx"), path("second.onnx"), path("third.onnx"));
    let calibrating = "--calibration-images 40 --thorough";
    json(&format!(
        "prune {KEPT} --modules blocks.1* --images {digits} --no-biases --method lamp --amount 0.95 --device cpu --json --repair {calibrating} \
         --save-recipe {recipe} -o {first}"
    ));
    let text = std::fs::read_to_string(&recipe).unwrap();
    assert!(text.contains("calibration-images = 40") && text.contains("thorough = true") && text.contains("few_digits"), "{text}");
    json(&format!("prune {KEPT} --recipe {recipe} --images {digits} --device cpu --json -o {second}"));
    json(&format!("prune {KEPT} --recipe {recipe} --device cpu --json -o {third}"));
    let bytes = |path: &str| std::fs::read(path).unwrap();
    assert!(bytes(&first) == bytes(&second), "on the images that are given");
    assert!(bytes(&first) == bytes(&third), "on its own");
    let rows = json(&format!("evaluate {KEPT} --recipe {recipe} --images {digits} --device cpu --json"))["rows"].clone();
    assert_eq!((&rows[2]["repaired"], &rows[2]["images"]), (&true.into(), &50.into()));
    let report = json(&format!("repair {KEPT} --recipe {recipe} --images {digits} --device cpu --json"));
    assert_eq!(report["calibration_images"], 40);
    assert!(report["layers"].as_array().unwrap().iter().any(|layer| !layer["lambda"].is_null()), "thorough, as it says");

    let told = |arguments: &str| {
        let ran = Command::new(env!("CARGO_BIN_EXE_secateur")).args(arguments.split_whitespace()).stdin(Stdio::null()).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stderr).unwrap()
    };
    assert!(
        told(&format!("cost {KEPT} --recipe {recipe} --device cpu")).contains("The recipe repairs what is left: that is left out here")
    );
    std::fs::write(&recipe, "method = \"lamp\"\n[[step]]\namount = 0.5\nrepair = {}\n[[step]]\namount = 0.5\n").unwrap();
    assert!(told(&format!("cost {KEPT} --recipe {recipe} --device cpu")).contains("repairs between its steps: that is left out here"));
    assert!(told(&format!("prune {KEPT} --recipe {recipe} --device cpu")).contains("repairs between its steps: say on which images"));
    std::fs::write(&recipe, "method = \"lamp\"\namount = 0.5\nrepair = {}\n").unwrap();
    assert!(told(&format!("prune {KEPT} --recipe {recipe} --device cpu")).contains("say on which images, --images"));
}
