//! Scores, patterns and recipes.

use eframe::egui::accesskit::Role;
use secateur::engine::Engine;
use secateur::export::Format;
use secateur::prune::{Amount, Dimension, Pattern, Score, SliceNorm};
use secateur::recipes::RecipeFile;
use secateur::watch::Unwatched;

use super::driver::{DEMO, Window};
use super::effect::window as with_digits;

fn choose(window: &mut Window, picker: &str, entry: &str) {
    window.click(Role::ComboBox, picker);
    window.click(Role::RadioButton, entry);
}

#[test]
fn patterns_are_chosen_and_their_numbers_edited() {
    let mut window = Window::demo();
    choose(&mut window, "Pattern", "N:M groups");
    window.wait("2:4", |s| s.view.as_ref().unwrap().figures.recipe.pattern == Pattern::Groups { keep: 2, of: 4 });
    assert!(window.says("2:4 decides how many") && window.says("parameters left as they are"), "depthwise convolutions have one input");
    let pruned = |window: &Window| window.figures().chosen().unwrap().pruned;
    let two = pruned(&window);
    window.enter_number("Kept of a group", "1");
    window.wait("1:4", |s| s.view.as_ref().unwrap().figures.recipe.pattern == Pattern::Groups { keep: 1, of: 4 });
    assert_eq!(pruned(&window) * 2, two * 3);
    window.enter_number("Length of a group", "2");
    window.wait("1:2", |s| s.view.as_ref().unwrap().figures.recipe.pattern == Pattern::Groups { keep: 1, of: 2 });
    window.button("Undo pattern");
    window.wait("1:4 again", |s| s.view.as_ref().unwrap().figures.recipe.pattern == Pattern::Groups { keep: 1, of: 4 });
    window.assert_as_session(DEMO);

    choose(&mut window, "Pattern", "Filters");
    window.set_percent("25");
    window.wait("filters", |s| {
        let recipe = &s.view.as_ref().unwrap().figures.recipe;
        recipe.pattern == Pattern::Slices { norm: SliceNorm::L2, dimension: Dimension::Outputs } && recipe.amount == Amount::Fraction(0.25)
    });
    assert!(pruned(&window) > 0 && !window.says("decides how many"));
    window.button("L1");
    window.wait("L1", |s| matches!(s.view.as_ref().unwrap().figures.recipe.pattern, Pattern::Slices { norm: SliceNorm::L1, .. }));
    window.assert_as_session(DEMO);
    choose(&mut window, "Pattern", "Elements");
    window.wait("elements", |s| s.view.as_ref().unwrap().figures.recipe.pattern == Pattern::Elements);
}

#[test]
fn scores_are_chosen_drawn_again_measured_and_read() {
    let mut window = with_digits();
    window.set_percent("40");
    choose(&mut window, "Score", "Random");
    window.wait("chance", |s| s.view.as_ref().unwrap().figures.recipe.score == Score::Random(0));
    window.enter_number("Seed", "7");
    window.wait("another draw", |s| s.view.as_ref().unwrap().figures.recipe.score == Score::Random(7));
    window.assert_as_session(DEMO);
    choose(&mut window, "Score", "Wanda");
    window.wait("measured inputs", |s| matches!(&s.view.as_ref().unwrap().figures.recipe.score, Score::Wanda(norms) if norms.count > 0));
    window.assert_as_session(DEMO);
    let wanda = window.figures().clone();
    // Masks from a file of weights with masks.
    let path = window.path("masks.safetensors");
    window.answer(&path);
    window.menu("Save as…", "PyTorch weights with masks…");
    window.wait("a saved file", |s| s.notices.iter().any(|n| n.title == "Saved"));
    window.answer(&path);
    choose(&mut window, "Score", "From a file…");
    window.wait("the masks", |s| s.view.as_ref().unwrap().figures.recipe.score.is_mask());
    assert!(window.says("The masks decide how many"));
    let (masks, wanda) = (window.figures().chosen().unwrap(), wanda.chosen().unwrap());
    assert_eq!((&masks.masked, masks.pruned), (&wanda.masked, wanda.pruned));
    window.click(Role::Tab, "Weights");
    assert!(window.says("no cut") && !window.says("nothing pruned"));
    window.button("Undo score");
    window.wait("the score before", |s| matches!(&s.view.as_ref().unwrap().figures.recipe.score, Score::Wanda(_)));
    // A file that holds none is told, and nothing changes.
    let broken = window.path("none.npz");
    std::fs::write(&broken, "no archive").unwrap();
    window.answer(&broken);
    choose(&mut window, "Score", "From a file…");
    window.wait("a refusal", |s| s.notices.iter().any(|n| n.title == "Read the scores failed"));
    assert!(matches!(&window.recipe().score, Score::Wanda(_)));
}

#[test]
fn a_score_that_needs_images_asks_for_them() {
    // Opened by its path, the demo brings no digits.
    let mut window = Window::on(Some(DEMO));
    choose(&mut window, "Score", "Wanda");
    window.wait_for("the question", |w| !w.asked().is_empty());
    assert_eq!(window.asked().pop().unwrap().purpose, secateur::app::Purpose::Images);
    assert_eq!(window.recipe().score, Score::Magnitude);
}

#[test]
fn a_recipe_that_is_saved_and_opened_prunes_to_the_same_bytes_here_and_without_a_window() {
    let mut window = Window::demo();
    window.apply("LAMP");
    window.set_percent("30");
    window.wait("LAMP at 30 %", |s| {
        let figures = &s.view.as_ref().unwrap().figures;
        figures.recipe.amount == Amount::Fraction(0.3) && figures.chosen().is_ok_and(|outcome| outcome.pruned > 0)
    });
    window.step_twice();
    window.button("Keep masks, prune further");
    window.wait("kept masks", |s| s.view.as_ref().unwrap().is_applied);
    choose(&mut window, "Score", "Random");
    window.set_percent("10");
    window.wait("both steps", |s| s.view.as_ref().unwrap().figures.recipe.amount == Amount::Fraction(0.1));
    let (recipe, first, second, third) =
        (window.path("recipe.toml"), window.path("first.onnx"), window.path("second.onnx"), window.path("third.onnx"));
    window.answer(&recipe);
    window.menu("Recipe", "Save the recipe…");
    window.wait("a saved recipe", |s| s.notices.iter().any(|n| n.title == "Saved"));
    window.answer(&first);
    window.menu("Save as…", "ONNX model…");
    window.wait_for("a saved model", |_| first.exists());
    let wanted = window.figures().clone();

    window.button("Reset");
    window.wait("nothing pruned", |s| s.view.as_ref().unwrap().figures.chosen().unwrap().pruned == 0);
    window.drop_file(recipe.to_str().unwrap());
    window.wait("the recipe", |s| s.view.as_ref().unwrap().figures.recipe.amount == Amount::Fraction(0.1));
    assert_eq!(window.figures(), &wanted);
    assert!(window.has(Role::Button, "Undo recipe"));
    window.answer(&second);
    window.menu("Save as…", "ONNX model…");
    window.wait_for("a saved model", |_| second.exists());

    let engine = Engine::open(std::path::Path::new(DEMO), &Unwatched).unwrap();
    let state = RecipeFile::read(&recipe).unwrap().apply(&engine, None).unwrap().state;
    engine.save(&state, &third, Format::Onnx, secateur::atomic::Overwrite::Refuse).unwrap();
    let bytes = |path: &std::path::Path| std::fs::read(path).unwrap();
    assert!(bytes(&first) == bytes(&second) && bytes(&first) == bytes(&third));

    // What is there is replaced only when that is wanted.
    window.answer(&recipe);
    window.menu("Recipe", "Save the recipe…");
    window.wait("a question", |s| s.question.is_some());
}

#[test]
fn what_a_recipe_names_and_the_model_does_not_have_is_told() {
    let mut window = Window::demo();
    let path = window.path("other.toml");
    std::fs::write(&path, "types = [\"Conv2d\", \"Conv3d\"]\nmethod = \"erk\"\namount = 0.5\n").unwrap();
    window.answer(&path);
    window.menu("Recipe", "Open a recipe…");
    window.wait("what is missing", |s| s.notices.iter().any(|n| n.title == "Not in this model" && n.text.contains("Conv3d")));
    window.wait("the recipe", |s| s.view.as_ref().unwrap().figures.recipe.amount == Amount::Fraction(0.5));
    std::fs::write(&path, "types = [\"Conv2d\"]\namout = 0.7\n").unwrap();
    window.answer(&path);
    window.menu("Recipe", "Open a recipe…");
    window.wait("a refusal", |s| s.notices.iter().any(|n| n.title == "Open the recipe failed" && n.text.contains("amout")));
    assert_eq!(window.recipe().amount, Amount::Fraction(0.5));
}
