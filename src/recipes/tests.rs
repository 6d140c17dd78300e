use super::*;
use crate::prune::{Amount, Method, Pattern, Repair};
use crate::watch::Unwatched;

const TWO: &str =
    "types = [\"Conv2d\"]\nmethod = \"lamp\"\nbiases = false\n\n[[step]]\namount = 0.25\n\n[[step]]\nscore = \"random:7\"\namount = 100\n";

#[test]
fn what_is_written_is_what_was_read() {
    let file = RecipeFile::parse(TWO).unwrap();
    assert_eq!(file.steps.len(), 2);
    assert_eq!((file.steps[0].amount, file.steps[1].amount), (Some(Amount::Fraction(0.25)), Some(Amount::Count(100))));
    assert!(file.steps.iter().all(|step| step.method == Some(Method::Lamp)));
    let text = file.text().unwrap();
    assert_eq!(RecipeFile::parse(&text).unwrap(), file);
    assert_eq!(text.matches("lamp").count(), 1, "{text}");
    let file = RecipeFile::parse("amount = \"30%\"\nsteps = 3\nschedule = \"cubic\"\namount-of = { \"blocks.*\" = 0.5 }").unwrap();
    assert_eq!(RecipeFile::parse(&file.text().unwrap()).unwrap(), file);
}

#[test]
fn what_is_no_recipe_is_told() {
    for (text, told) in [
        ("amont = 0.5", "amont"),
        ("[[step]]\namount = 0.5\n[[step]]\nmethd = \"lamp\"", "step 2: unknown field `methd`"),
        ("method = \"lump\"", "lump"),
        ("amount = 1.5", "1.5"),
        ("amount = -3", "-3"),
        ("amount = nan", "NaN"),
        ("pattern = \"4:2\"", "4:2"),
        ("score = \"l1\"", "l1"),
        ("score = \"random:x\"", "random:x"),
        ("steps = 0", "0 steps"),
        ("steps = 3\namount = 100", "steps lead to one fraction"),
        ("step = 3", "[[step]]"),
        ("step = []", "[[step]]"),
        ("step = [1]", "step 1"),
        ("types = Conv2d", "TOML"),
        ("then = \"save\"", "save"),
        ("[amount-of]\nhead = 2.0", "2"),
    ] {
        let error = RecipeFile::parse(text).unwrap_err();
        assert!(error.contains(told), "{text}: {error}");
    }
}

#[test]
fn a_recipe_makes_the_state_that_it_was_made_of() {
    let engine = Engine::open(Path::new("assets/mobilenetv4_digits.onnx"), &Unwatched).unwrap();
    let graph = &engine.model().graph;
    let mut state = engine.opened();
    let step = |state: State, change: &dyn Fn(&mut Recipe)| {
        let mut recipe = state.recipe.clone();
        change(&mut recipe);
        state.with(recipe)
    };
    state = engine.keep(&step(state, &|r| (r.amount, r.method) = (Amount::Fraction(0.3), Method::Erk))).unwrap();
    state = engine.fix(&step(state, &|r| (r.amount, r.score) = (Amount::Count(500), Score::Random(3)))).unwrap();
    state = engine.keep(&step(state, &|r| r.pattern = Pattern::Groups { keep: 12, of: 16 })).unwrap();
    state = step(state, &|r| {
        (r.amount, r.score, r.pattern) = (Amount::Fraction(0.1), Score::Magnitude, Pattern::Elements);
        r.ticked[3] = !r.ticked[3];
        r.locked[5] = true;
        r.own[7] = Some(Amount::Fraction(0.25));
    });
    let text = RecipeFile::of(&state, graph).text().unwrap();
    let applied = RecipeFile::parse(&text).unwrap().apply(&engine, None).unwrap();
    assert!(applied.missing.is_empty(), "{:?}", applied.missing);
    assert!(applied.state == state, "{text}");
    assert!(engine.host_masks(&applied.state).unwrap() == engine.host_masks(&state).unwrap());
}

#[test]
fn repairs_are_written_down_and_told_from_those_between_steps() {
    let engine = Engine::open(Path::new("assets/mobilenetv4_digits.onnx"), &Unwatched).unwrap();
    let opened = engine.opened();
    let pruned = |state: &State| state.with(Recipe { amount: Amount::Fraction(0.5), ..state.recipe.clone() });
    let images = Some(PathBuf::from("digits.npz"));
    let repair = Repair { images, calibration_images: 120, is_thorough: true, norms: None, layers: Vec::new(), left: Vec::new() };
    let fixed = engine.fix(&pruned(&opened)).unwrap();
    let repaired = fixed.repaired(fixed.weights.clone(), fixed.statistics.clone(), fixed.biases.clone(), Arc::new(repair));
    let text = RecipeFile::of(&repaired, &engine.model().graph).text().unwrap();
    let file = RecipeFile::parse(&text).unwrap();
    let step = RepairStep { images: Some("digits.npz".into()), calibration_images: Some(120), thorough: true };
    assert_eq!((file.repair(), file.repairs_between()), (Some(step.clone()), false), "{text}");
    assert_eq!(file.begin(&engine, None).unwrap().pending, None, "the one at the end is no step");
    assert!(file.apply(&engine, None).unwrap().state == fixed, "{text}");
    // Pruned further, the same repair is one between steps.
    let file = RecipeFile::of(&pruned(&repaired), &engine.model().graph);
    assert_eq!((file.repair(), file.repairs_between()), (None, true));
    let file = RecipeFile::parse(&file.text().unwrap()).unwrap();
    let begun = file.begin(&engine, None).unwrap();
    let pending = begun.pending.unwrap();
    assert!(begun.state == fixed && pending.repair == step && begun.missing.is_empty());
    let done = file.go_on(&engine, None, repaired.clone(), &pending).unwrap();
    assert!(done.state == pruned(&repaired) && done.pending.is_none());
    assert!(file.apply(&engine, None).unwrap().state == pruned(&fixed), "without its repairs");
    // By hand, in short: of the images that are given.
    let file = RecipeFile::parse("method = \"lamp\"\namount = 0.5\n[repair]\nthorough = true").unwrap();
    assert_eq!(file.repair(), Some(RepairStep { thorough: true, ..RepairStep::default() }));
    assert!(file.apply(&engine, None).unwrap().state.has_fixed());
    assert!(RecipeFile::parse("amount = 0.5\n[repair]\nthoroughly = true").unwrap_err().contains("thoroughly"));
}

#[test]
fn which_images_calibrate_hangs_on_those_that_are_shown() {
    let step = RepairStep { images: Some("assets/digits".into()), calibration_images: Some(7), thorough: false };
    let shown = |path: &str| (step.folder(Path::new(path)).map(Path::to_owned), step.calibration_images_of(Path::new(path)));
    assert_eq!(shown("assets/digits"), (None, Some(7)), "the same images: some of them");
    assert_eq!(shown("assets"), (Some("assets/digits".into()), Some(7)), "others: a folder of its own, and so many of it");
    let gone = RepairStep { images: Some("assets/gone".into()), ..step.clone() };
    assert_eq!((gone.folder(Path::new("assets")), gone.calibration_images_of(Path::new("assets"))), (None, None), "it is not there");
}

#[test]
fn names_that_are_not_there_are_told() {
    let engine = Engine::open(Path::new("assets/mobilenetv4_digits.onnx"), &Unwatched).unwrap();
    let text = "types = [\"Conv2d\", \"Conv9d\"]\nlocked = [\"conv_stem\", \"nobody\"]\namount = 0.5\namount-of = { \"no.*\" = 0.1 }";
    let applied = RecipeFile::parse(text).unwrap().apply(&engine, None).unwrap();
    assert_eq!(applied.missing, ["Conv9d", "no.*", "nobody"]);
    assert!(engine.outcome(&applied.state).unwrap().pruned > 0);
    let wanda = RecipeFile::parse("score = \"wanda\"").unwrap();
    assert_eq!(wanda.images(), Some(None));
    assert!(matches!(wanda.apply(&engine, None), Err(RecipeError::NoImages)));
}
