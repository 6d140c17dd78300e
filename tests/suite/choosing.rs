//! What goes, by scores, patterns, steps and recipes: beside numpy, and the same through the library, the program and a file.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use secateur::arrays::{self, Overwrite};
use secateur::engine::Engine;
use secateur::evaluate::{Evaluator, Questions};
use secateur::graph::ParameterId;
use secateur::images::{ImageSet, Preprocess};
use secateur::network::Array;
use secateur::prune::{Amount, InputNorms, Method, Recipe, Score, State};
use secateur::watch::Unwatched;
use serde_json::Value;

use crate::adapter;

const DEMO: &str = "assets/mobilenetv4_digits.onnx";

/// Exit code, standard output, standard error.
fn secateur(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secateur"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).args(arguments);
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// What `prune` reports in JSON; `file` is put in for `{}`.
fn prune(arguments: &str, file: &Path) -> Value {
    let file = file.display().to_string();
    let arguments: Vec<String> = arguments.split_whitespace().map(|word| word.replace("{}", &file)).collect();
    let arguments: Vec<&str> =
        ["prune", DEMO, "--device", "cpu", "--json"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
    let (code, out, err) = secateur(&arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {err}");
    serde_json::from_str(&out).unwrap()
}

fn refused(arguments: &str, file: &Path, code: i32, told: &str) {
    let file = file.display().to_string();
    let arguments: Vec<String> = arguments.split_whitespace().map(|word| word.replace("{}", &file)).collect();
    let arguments: Vec<&str> = ["prune", DEMO].into_iter().chain(arguments.iter().map(String::as_str)).collect();
    let (got, out, err) = secateur(&arguments);
    assert_eq!((got, out.as_str()), (Some(code), ""), "{arguments:?}: {err}");
    assert!(err.contains(told), "{arguments:?}: “{told}” is not in {err}");
}

fn engine() -> Engine {
    Engine::open(Path::new(DEMO), &Unwatched).unwrap()
}

fn id(engine: &Engine, name: &str) -> ParameterId {
    ParameterId(engine.model().graph.parameters.iter().position(|p| p.name == name).unwrap())
}

fn norms(engine: Engine) -> InputNorms {
    let graph = engine.model().graph.clone();
    let set = Arc::new(ImageSet::open(Path::new("assets/digits"), None).unwrap());
    let (preprocess, _) = Preprocess::for_model(&graph, Path::new(DEMO));
    let questions = Questions::images(&graph, set, preprocess, None, 60).unwrap();
    Evaluator::new(Arc::new(engine), questions, None).norms(Path::new("assets/digits"), &Unwatched).unwrap()
}

fn with(state: &State, change: impl FnOnce(&mut Recipe)) -> State {
    let mut recipe = state.recipe.clone();
    change(&mut recipe);
    state.with(recipe)
}

#[test]
fn wanda_masks_are_those_of_numpy() {
    let reference: Value = serde_json::from_str(&std::fs::read_to_string("tests/reference/digits_wanda.json").unwrap()).unwrap();
    let norms = norms(engine());
    assert_eq!(reference["images"], norms.count);
    let score = Score::Wanda(Arc::new(norms));
    let mut engines = vec![engine()];
    engines.extend(adapter::adapter().map(|device| engine().on(device)));
    for engine in engines {
        let state = with(&engine.opened(), |r| (r.score, r.method, r.amount) = (score.clone(), Method::LayerWise, Amount::Fraction(0.5)));
        let masks = engine.masks(&state).unwrap();
        for layer in reference["layers"].as_array().unwrap() {
            let name = layer["name"].as_str().unwrap();
            let mask = &masks[&id(&engine, name)].mask;
            let columns = layer["shape"][1].as_u64().unwrap() as usize;
            let bits = layer["gone"].as_str().unwrap();
            assert_eq!(mask.len(), bits.len() * 4);
            for i in 0..mask.len() {
                // Rows of whole bytes, their first element the highest bit.
                assert_eq!(columns % 8, 0);
                let byte = u8::from_str_radix(&bits[i / 8 * 2..i / 8 * 2 + 2], 16).unwrap();
                assert_eq!(mask.is_pruned(i), byte >> (7 - i % 8) & 1 == 1, "{name}: {i}");
            }
        }
        assert!(masks == engine.host_masks(&state).unwrap());
        // Biases multiply nothing, and are left and told.
        let state = with(&state, |r| r.biases = true);
        assert!(state.recipe.left_out(&engine.model().graph).iter().any(|(at, _)| *at == id(&engine, "classifier.bias")));
    }
}

#[test]
fn random_takes_as_many_as_magnitude_and_others_with_another_seed() {
    let engine = engine();
    let of = |seed, method| {
        let state = with(&engine.opened(), |r| (r.score, r.method, r.amount) = (Score::Random(seed), method, Amount::Fraction(0.3)));
        let outcome = engine.outcome(&state).unwrap();
        (outcome.masked, engine.host_masks(&state).unwrap())
    };
    let magnitude = with(&engine.opened(), |r| (r.method, r.amount) = (Method::LayerWise, Amount::Fraction(0.3)));
    let wanted = engine.outcome(&magnitude).unwrap().masked;
    let (first, second) = (of(1, Method::LayerWise), of(2, Method::LayerWise));
    assert_eq!((&first.0, &second.0), (&wanted, &wanted));
    assert!(first.1 != second.1 && first.1 == of(1, Method::LayerWise).1);
    // Chance takes of every large parameter about the same share, and so do two draws of one another.
    let (global, masks) = of(1, Method::Global);
    for (parameter, &masked) in
        engine.model().graph.parameters.iter().zip(&global).filter(|(p, masked)| p.elements > 20_000 && **masked > 0)
    {
        assert!((masked as f64 / parameter.elements as f64 - 0.3).abs() < 0.02, "{}: {masked}", parameter.name);
    }
    let largest = id(&engine, "conv_head.weight");
    let both =
        (0..masks[&largest].mask.len()).filter(|&i| first.1[&largest].mask.is_pruned(i) && second.1[&largest].mask.is_pruned(i)).count();
    assert!((both as f64 / masks[&largest].mask.len() as f64 - 0.09).abs() < 0.005, "{both}");
}

#[test]
fn masks_that_pytorch_keeps_are_taken_over_and_joined() {
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("masks.safetensors");
    let first = prune("--method lamp --amount 0.4 --unfixed -o {}", &saved);
    let again = prune("--score {}", &saved);
    assert_eq!(again["pruned"], first["pruned"]);
    assert_eq!(again["parameters"], first["parameters"]);
    assert_eq!(again["score"], saved.display().to_string());
    // On what random masks left: old × new.
    let engine = engine();
    let graph = &engine.model().graph;
    let (given, missing) = secateur::recipes::read_scores(&saved, graph).unwrap();
    assert!(given.is_mask && missing.is_empty(), "{missing:?}");
    let score = Score::Given(Arc::new(given));
    let alone = engine.host_masks(&with(&engine.opened(), |r| r.score = score.clone())).unwrap();
    let random = with(&engine.opened(), |r| (r.score, r.amount) = (Score::Random(5), Amount::Fraction(0.5)));
    let both = engine.host_masks(&with(&engine.keep(&random).unwrap(), |r| r.score = score.clone())).unwrap();
    let random = engine.host_masks(&random).unwrap();
    for (at, masks) in &both {
        let mut wanted = random[at].mask.clone();
        wanted.join(&alone[at].mask);
        assert!(masks.mask == wanted, "{}", graph.parameter(*at).name);
    }
}

#[test]
fn scores_of_somebody_else_rank_the_elements() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine();
    let graph = &engine.model().graph;
    let (first, second) = (id(&engine, "conv_stem.weight"), id(&engine, "classifier.weight"));
    let shape = |at: ParameterId| graph.parameter(at).shape.clone();
    let count = |at: ParameterId| graph.parameter(at).elements;
    // The last elements have the smallest scores.
    let falling = |at| Array::f32(shape(at), (0..count(at)).map(|i| (count(at) - i) as f32).collect());
    let path = folder.path().join("scores.npz");
    let scores = [("conv_stem.weight".to_owned(), falling(first)), ("classifier.weight".to_owned(), falling(second))];
    arrays::write(&path, &scores, Overwrite::Refuse).unwrap();
    let report = prune("--method layer-wise --amount 0.25 --score {}", &path);
    let (rows, left) = (report["parameters"].as_array().unwrap(), report["left_out"].as_array().unwrap());
    assert_eq!(rows.iter().map(|row| row["name"].as_str().unwrap()).collect::<Vec<_>>(), ["conv_stem.weight", "classifier.weight"]);
    assert!(left.iter().any(|row| row["name"] == "conv_head.weight" && row["reason"].as_str().unwrap().contains("no array")), "{left:?}");
    let (given, _) = secateur::recipes::read_scores(&path, graph).unwrap();
    assert!(!given.is_mask);
    let state = with(&engine.opened(), |r| {
        (r.score, r.method, r.amount) = (Score::Given(Arc::new(given)), Method::LayerWise, Amount::Fraction(0.25));
    });
    let mask = &engine.host_masks(&state).unwrap()[&first].mask;
    assert!((0..mask.len()).all(|i| mask.is_pruned(i) == (i >= mask.len() - mask.len() / 4)));
    refused("--score {}", &path, 2, "holds scores and no masks");

    for (arrays, told) in [
        (vec![("nobody".to_owned(), falling(first))], "none of its arrays (nobody)"),
        (vec![("conv_stem.weight".to_owned(), falling(second))], "conv_stem.weight"),
        (vec![("conv_stem.weight_mask".to_owned(), falling(first))], "a mask holds 0 and 1"),
    ] {
        let path = folder.path().join("broken.npz");
        arrays::write(&path, &arrays, Overwrite::Allow).unwrap();
        refused("--method global --amount 0.5 --score {}", &path, 2, told);
    }
    refused("--method global --amount 0.5 --score {}", &folder.path().join("missing.npz"), 2, "cannot read the file");
    std::fs::write(folder.path().join("cut.safetensors"), [9, 0, 0, 0, 0, 0, 0, 0, b'{']).unwrap();
    refused("--method global --amount 0.5 --score {}", &folder.path().join("cut.safetensors"), 2, "no whole safetensors file");
}

#[test]
fn a_recipe_prunes_to_the_byte_as_the_options_that_it_was_saved_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (case, options) in [
        "--method lamp --amount 0.5 --amount-of classifier=0.2 --amount-of blocks.1.*=0.1",
        "--method erk --amount 30% --steps 4 --schedule cubic --types Conv2d",
        "--method global --amount 0.2 --amount 1000 --score random:9 --biases",
        "--pattern 2:4 --modules blocks.*",
        "--method layer-wise --amount 0.25 --structured l2:0",
        "--method uniform+ --amount 0.4 --score wanda --images assets/digits --limit 60",
    ]
    .into_iter()
    .enumerate()
    {
        let (recipe, pruned) = (path(&format!("{case}.toml")), path(&format!("{case}.onnx")));
        let first = prune(&format!("{options} --save-recipe {{}} -o {}", pruned.display()), &recipe);
        let again = path(&format!("{case}_again.onnx"));
        let limit = if options.contains("wanda") { "--limit 60" } else { "" };
        let second = prune(&format!("--recipe {{}} {limit} -o {}", again.display()), &recipe);
        for key in ["method", "amounts", "score", "pattern", "steps", "pruned", "parameters", "cut"] {
            assert_eq!(first[key], second[key], "{options}: {key}\n{}", std::fs::read_to_string(&recipe).unwrap());
        }
        assert!(std::fs::read(&pruned).unwrap() == std::fs::read(&again).unwrap(), "{options}");
        assert!(first["pruned"].as_u64().unwrap() > 0);
        if options.contains("--steps 4") {
            assert_eq!((first["steps"].as_u64(), first["amounts"].as_array().unwrap().len()), (Some(4), 4));
        }
        // What is there is not written over.
        refused(&format!("{options} --save-recipe {{}}"), &recipe, 2, "is there already");
    }
}

#[test]
fn a_recipe_tells_what_the_model_does_not_have() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recipe.toml");
    std::fs::write(&path, "types = [\"Conv2d\", \"Conv3d\"]\nlocked = [\"backbone.*\"]\nmethod = \"norm\"\namount = 0.5\n").unwrap();
    let report = prune("--recipe {}", &path);
    assert_eq!(report["missing"], serde_json::json!(["Conv3d", "backbone.*"]));
    std::fs::write(&path, "methd = \"norm\"\namount = 0.5\n").unwrap();
    refused("--recipe {}", &path, 2, "unknown field `methd`");
    std::fs::write(&path, "score = \"wanda\"\nmethod = \"norm\"\namount = 0.5\n").unwrap();
    refused("--recipe {}", &path, 2, "--images");
    std::fs::write(&path, "types = [\"Conv3d\"]\namount = 0.5\n").unwrap();
    refused("--recipe {}", &path, 2, "nothing is in the scope");
    refused("--recipe {} --method lamp --amount 0.3", &path, 64, "cannot be used with");
    refused("--recipe {}", &PathBuf::from("missing.toml"), 2, "cannot read the recipe");
}

#[test]
fn half_of_what_it_takes_is_told() {
    let none = Path::new("");
    refused("--method lamp", none, 64, "--amount");
    refused("--amount 0.5", none, 64, "--method");
    refused("--method lamp --amount 0.5 --pattern 4:2", none, 64, "2:4");
    refused("--method lamp --amount 0.5 --pattern l2:0", none, 64, "“l2:0” is no pattern");
    refused("--method lamp --amount 0.5 --structured 2:4", none, 64, "“2:4” is no pattern");
    refused("--method lamp --amount 0.5 --score l1", none, 64, "“l1” is no score");
    refused("--method lamp --amount 0.5 --score random:-1", none, 64, "“random:-1” is no score");
    refused("--method lamp --amount 0.5 --score wanda", none, 2, "--images");
    refused("--score random:3", none, 2, "--method and --amount");
    refused("--structured l1:0 --method lamp", none, 64, "--amount");
    refused("--structured l1:0 --method global --amount 10000000", none, 2, "slices of the scope");
}

#[test]
fn the_amount_says_nothing_where_the_pattern_does() {
    let none = Path::new("");
    let (_, text, _) = secateur(&["prune", DEMO, "--device", "cpu", "--pattern", "1:4"]);
    assert!(text.contains("elements (1:4), on CPU"), "no method is told: {text}");
    let (alone, beside) = (prune("--pattern 1:4", none), prune("--pattern 1:4 --method lamp --amount 0.9", none));
    assert_eq!(alone["pruned"], beside["pruned"]);
    for row in alone["parameters"].as_array().unwrap() {
        assert_eq!(row["pruned"].as_u64().unwrap() * 4, row["elements"].as_u64().unwrap() * 3, "{row}");
    }
    let left = alone["left_out"].as_array().unwrap();
    assert!(
        left.iter().any(|row| row["name"] == "conv_stem.weight" && row["reason"] == "its 3 inputs do not divide into groups of 4"),
        "{left:?}"
    );
}
