//! Removing channels as a step of a session: undone, done again, saved.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::sync::Arc;

use secateur::atomic::Overwrite;
use secateur::channels;
use secateur::engine::{ChannelPlan, Chosen, Engine, EngineError, FoundChannels};
use secateur::evaluate::{Evaluator, Questions, noise};
use secateur::export::Format;
use secateur::graph::Graph;
use secateur::images::{ImageSet, Preprocess};
use secateur::prune::{Amount, Method, Recipe, Step};
use secateur::repair::{Judged, Options, Repairer, split};
use secateur::session::Session;
use secateur::watch::{Unwatched, Watch};

const DEMO: &str = "assets/mobilenetv4_digits.onnx";

fn session() -> Session {
    Session::open(Path::new(DEMO), &Unwatched).unwrap()
}

/// What goes of the network as it is at this share of the multiply-accumulates.
fn chosen(session: &Session, share: f64) -> Chosen {
    let (engine, model) = (session.engine(), session.model());
    let (preprocess, _) = Preprocess::for_model(&model.graph, &model.file.path);
    let inputs = noise(&model.graph, 1, Some(preprocess.shape()), 0).unwrap();
    let channels = engine.channels(&inputs, &Unwatched).unwrap();
    let scores = engine.channel_scores(session.state(), &channels, channels::ChannelScore::L2).unwrap();
    let plan = ChannelPlan {
        choice: channels::Choice { amount: channels::ChannelAmount { share, of: channels::Of::Macs }, ..channels::Choice::default() },
        ..ChannelPlan::default()
    };
    Chosen::new(Arc::new(FoundChannels { channels, inputs }), scores.into(), plan)
}

fn set(session: &mut Session, amount: f64) {
    let recipe = Recipe { amount: Amount::Fraction(amount), ..session.state().recipe.clone() };
    session.set(recipe, Step::Amount).unwrap();
    session.end_drag();
}

fn elements(session: &Session) -> usize {
    session.model().graph.elements()
}

#[test]
fn removing_channels_is_a_step_that_is_undone_and_done_again() {
    let mut session = session();
    let opened = (session.model().clone(), session.state().clone(), elements(&session));
    let first = chosen(&session, 0.3);
    session.remove_channels(&first, None, &Unwatched).unwrap();
    assert_eq!(session.history().undoable(), Some(Step::Remove));
    let removal = session.removal().unwrap();
    assert_eq!((removal.before, removal.after), (first.before, first.after));
    assert_eq!(elements(&session) as u64, first.after.parameters, "what was counted before is what is there");
    assert!(removal.difference < 1e-5 && removal.bytes[1] < removal.bytes[0], "{removal:?}");
    assert!(session.is_unsaved());
    assert!(Arc::ptr_eq(session.opened().model(), &opened.0));

    // A second time, of what is left; both are told together.
    let smaller = session.model().clone();
    let second = chosen(&session, 0.3);
    session.remove_channels(&second, None, &Unwatched).unwrap();
    let both = session.removal().unwrap();
    assert_eq!((both.before, both.after, both.bytes[0]), (first.before, second.after, removal.bytes[0]));
    let smallest = session.model().clone();

    assert_eq!(session.undo(), Some(Step::Remove));
    assert!(Arc::ptr_eq(session.model(), &smaller));
    assert_eq!(session.removal(), Some(removal));
    assert_eq!(session.undo(), Some(Step::Remove));
    assert!(Arc::ptr_eq(session.model(), &opened.0) && session.state() == &opened.1);
    assert_eq!((session.removal(), session.is_unsaved(), session.undo()), (None, false, None));
    assert_eq!((session.redo(), session.redo(), session.redo()), (Some(Step::Remove), Some(Step::Remove), None));
    assert!(Arc::ptr_eq(session.model(), &smallest) && session.is_unsaved());

    // A step that is taken after undoing forgets the smaller network.
    session.undo();
    set(&mut session, 0.5);
    assert_eq!(session.redo(), None);
    assert_eq!((session.undo(), session.undo(), session.undo()), (Some(Step::Amount), Some(Step::Remove), None));
    assert!(Arc::ptr_eq(session.model(), &opened.0));
    assert_eq!(session.redo(), Some(Step::Remove));
    assert!(Arc::ptr_eq(session.model(), &smaller), "not the one that was forgotten");
}

#[test]
fn what_is_to_go_of_the_channels_is_undone_like_anything_else() {
    let mut session = session();
    let rules = ChannelPlan { score: channels::ChannelScore::L1, ..ChannelPlan::default() };
    for share in [0.1, 0.2, 0.3] {
        session.set_plan(rules.with_share(share));
    }
    session.end_drag();
    set(&mut session, 0.5);
    session.set_plan(rules.with_share(0.6));
    assert_eq!((session.undo(), session.plan()), (Some(Step::Channels), &rules.with_share(0.3)));
    assert_eq!(session.state().recipe.amount, Amount::Fraction(0.5), "of the elements nothing is undone");
    assert_eq!((session.undo(), session.undo(), session.undo()), (Some(Step::Amount), Some(Step::Channels), None));
    assert_eq!(session.plan(), &ChannelPlan::default());
    session.redo();
    let chosen = chosen(&session, 0.3);
    session.remove_channels(&chosen, None, &Unwatched).unwrap();
    assert_eq!(session.plan(), &rules.with_share(0.0), "the same rules, and nothing more goes");
    session.undo();
    assert_eq!(session.plan(), &rules.with_share(0.3));
}

#[test]
fn the_smaller_network_is_saved_and_the_file_is_the_smaller_network() {
    let mut session = session();
    set(&mut session, 0.5);
    session.fix().unwrap();
    let chosen = chosen(&session, 0.4);
    session.remove_channels(&chosen, None, &Unwatched).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("smaller.onnx");
    let report = session.save(&path, Format::Onnx, Overwrite::Refuse).unwrap();
    assert!(!session.is_unsaved());
    assert_eq!(report.bytes, session.removal().unwrap().bytes[1], "as many bytes as were told");

    let read = Engine::open(&path, &Unwatched).unwrap();
    assert_eq!(read.model().graph.elements() as u64, chosen.after.parameters);
    let inputs = &chosen.found.inputs;
    assert_eq!(read.forward(&read.opened(), inputs).unwrap(), session.engine().forward(session.state(), inputs).unwrap());
    // Half of the weights were zero before: what is left of them is so.
    let zeros = |engine: &Engine| engine.model().zeros().unwrap().iter().sum::<u64>();
    assert!(zeros(&read) as f64 > 0.3 * chosen.after.parameters as f64);

    // What is undone is not what was saved; done again it is.
    session.undo();
    assert!(session.is_unsaved());
    session.redo();
    assert!(!session.is_unsaved());
    set(&mut session, 0.5);
    session.fix().unwrap();
    let pruned = folder.path().join("pruned.onnx");
    session.save(&pruned, Format::Onnx, Overwrite::Refuse).unwrap();
    assert_eq!(std::fs::metadata(&pruned).unwrap().len(), report.bytes, "pruning goes on in the smaller network");
}

#[test]
fn what_means_the_same_in_the_smaller_network_stays() {
    let mut session = session();
    let recipe = session.state().recipe.clone();
    let mut changed = Recipe { method: Method::Lamp, amount: Amount::Fraction(0.25), biases: !recipe.biases, ..recipe };
    changed.ticked[3] = !changed.ticked[3];
    changed.locked[5] = true;
    changed.own[7] = Some(Amount::Fraction(0.5));
    session.set(changed.clone(), Step::Tick).unwrap();
    let chosen = chosen(&session, 0.2);
    session.remove_channels(&chosen, None, &Unwatched).unwrap();
    let now = &session.state().recipe;
    assert_eq!((now.method, now.biases, &now.ticked, &now.locked), (Method::Lamp, changed.biases, &changed.ticked, &changed.locked));
    assert_eq!(now.amount, Amount::Fraction(0.0), "what was masked is zero for good");
    assert!(now.own.iter().all(Option::is_none));
    session.undo();
    assert_eq!(session.state().recipe, changed);
}

/// One step: undo gives the opened weights back, and what calibrated stays known.
#[test]
fn channels_go_from_the_repaired_twin_where_that_is_better() {
    let mut session = session();
    let chosen = chosen(&session, 0.4);
    let engine = session.engine().clone();
    let graph = engine.model().graph.clone();
    let (preprocess, _) = Preprocess::for_model(&graph, Path::new(DEMO));
    let (calibrating, judging) = split(&ImageSet::open(Path::new("assets/digits.npz"), None).unwrap(), None).unwrap();
    let ask = |graph: &Graph, set: &ImageSet| Questions::images(graph, Arc::new(set.clone()), preprocess.clone(), None, 60).unwrap();
    let twin = engine.twin(session.state(), &chosen.found.channels, &chosen.removed).unwrap();
    let mut judge = Evaluator::new(engine.clone(), ask(&graph, &judging), None);
    let mut repairer = Repairer::new(engine, ask(&graph, &calibrating), Options::default());
    let judged = repairer.judged(&mut judge, &twin, &Unwatched).unwrap();
    let (before, after) = (judged.before.top1.unwrap(), judged.after.top1.unwrap());
    assert!(before < 0.3 && after > 0.95, "{before} → {after}");
    let top1 = |session: &Session| {
        let questions = ask(&session.model().graph, &judging);
        Evaluator::new(session.engine().clone(), questions, None).dense(None, &Unwatched).unwrap().top1.unwrap()
    };

    session.remove_channels(&chosen, Some(judged.clone()), &Unwatched).unwrap();
    assert_eq!(top1(&session), after);
    assert!(session.removal().unwrap().difference < 1e-5, "compared with the repaired twin: {:?}", session.removal());
    assert!(Arc::ptr_eq(&session.repaired().unwrap().repair, &judged.repair));
    assert!(Arc::ptr_eq(&session.repairs()[0], &judged.repair) && session.repairs().len() == 1);
    assert_eq!(session.undo(), Some(Step::Remove));
    assert!(session.repaired().is_none() && session.repairs().is_empty() && !session.is_unsaved());
    session.redo();
    assert_eq!((top1(&session), session.repairs().len()), (after, 1));
    session.undo();

    let worse = Judged { before: judged.after.clone(), after: judged.before.clone(), ..judged };
    session.remove_channels(&chosen, Some(worse), &Unwatched).unwrap();
    assert_eq!(top1(&session), before);
    assert!(session.repaired().is_some_and(|judged| !judged.is_better()) && session.repairs().is_empty());
}

#[test]
fn a_removal_that_is_stopped_changes_nothing() {
    struct Stop;
    impl Watch for Stop {
        fn progress(&self, _: f32, _: &str) {}
        fn is_cancelled(&self) -> bool {
            true
        }
    }
    let mut session = session();
    let chosen = chosen(&session, 0.3);
    assert!(matches!(session.remove_channels(&chosen, None, &Stop), Err(EngineError::Cancelled)));
    assert_eq!((session.history().undoable(), session.removal(), session.is_unsaved()), (None, None, false));
}

#[test]
fn external_data_lies_beside_the_smaller_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let read = |name: &str| std::fs::read(path(name)).unwrap();
    for name in ["model.onnx", "beside_unbiased.onnx.data"] {
        let from = if name == "model.onnx" { "beside_unbiased.onnx" } else { name };
        std::fs::copy(Path::new("tests/repair").join(from), path(name)).unwrap();
    }
    let mut session = Session::open(&path("model.onnx"), &Unwatched).unwrap();
    set(&mut session, 0.3);
    session.fix().unwrap();
    let choose = |session: &Session| {
        let found = chosen(session, 0.0).found;
        let scores = session.engine().channel_scores(session.state(), &found.channels, channels::ChannelScore::L2).unwrap();
        let choice = channels::Choice {
            amount: channels::ChannelAmount { share: 0.3, of: channels::Of::Channels },
            granularity: channels::Granularity { multiple: 1, least: 1 },
            ..channels::Choice::default()
        };
        Chosen::new(found, scores.into(), ChannelPlan { choice, ..ChannelPlan::default() })
    };
    let answers = |engine: &Engine| {
        let inputs = noise(&engine.model().graph, 1, None, 3).unwrap();
        engine.forward(&engine.opened(), &inputs).unwrap()[0].1.clone()
    };
    // Of the opened model, and of what was made smaller before.
    for round in 1..3 {
        let chosen = choose(&session);
        assert!(chosen.removed.count() > 0, "{round}");
        session.remove_channels(&chosen, None, &Unwatched).unwrap();
        let (name, data) = (format!("{round}.onnx"), format!("{round}.onnx.data"));
        let report = session.save(&path(&name), Format::Onnx, Overwrite::Refuse).unwrap();
        assert_eq!(report.files, [path(&name), path(&data)]);
        assert!(report.bytes.abs_diff(session.removal().unwrap().bytes[1]) < 200, "{report:?}");
        let again = Engine::open(&path(&name), &Unwatched).unwrap();
        let floats = again.model().graph.parameters.iter().map(|parameter| parameter.elements * 4).sum::<usize>();
        assert!(read(&data).len() >= floats && read(&data).len() < floats + 64 && again.model().file.size_bytes() == report.bytes);
        assert_eq!(answers(&again), answers(session.engine()), "{round}");
        // What is there is asked about first; then it is replaced with its data.
        let before = (read(&name), read(&data));
        assert!(session.save(&path(&name), Format::Onnx, Overwrite::Refuse).is_err());
        session.save(&path(&name), Format::Onnx, Overwrite::Allow).unwrap();
        assert!((read(&name), read(&data)) == before, "{round}");
    }
    // Over the opened model: its data is another's perhaps, and stays; what was removed can be undone all the same.
    session.save(&path("model.onnx"), Format::Onnx, Overwrite::Allow).unwrap();
    assert_eq!(answers(&Engine::open(&path("model.onnx"), &Unwatched).unwrap()), answers(session.engine()));
    assert!(read("beside_unbiased.onnx.data") == std::fs::read("tests/repair/beside_unbiased.onnx.data").unwrap());
    while session.undo().is_some() {}
    session.save(&path("undone.onnx"), Format::Onnx, Overwrite::Refuse).unwrap();
    assert!(read("undone.onnx.data") == read("beside_unbiased.onnx.data"));
}
