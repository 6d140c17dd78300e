//! Biases that repair adds to layers without one: what is saved, what stays as it was, and what comes after.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use onnx_ir::{Message, ModelProto, NodeProto};
use secateur::arrays;
use secateur::atomic::Overwrite;
use secateur::channels::{ChannelAmount, ChannelScore, Choice, Granularity, Of};
use secateur::engine::{ChannelPlan, Chosen, Engine, FoundChannels};
use secateur::export::{Form, Format};
use secateur::graph::ParameterId;
use secateur::network::Array;
use secateur::onnx::TensorId;
use secateur::prune::{Amount, Mask, Masked, Method, Recipe, State, Step};
use secateur::repair::Options;
use secateur::session::Session;
use secateur::watch::Unwatched;

use super::{UNBIASED, adapter, halved, repairer};

/// Files without biases; [`UNBIASED`] and those of other kinds.
fn names() -> Vec<String> {
    UNBIASED.into_iter().chain(["beside", "taken", "old", "held"]).map(|name| format!("{name}_unbiased")).collect()
}

fn opened(name: &str) -> std::path::PathBuf {
    Path::new("tests/repair").join(format!("{name}.onnx"))
}

/// The images, and what `engine` answers to them in `state`.
fn answers(engine: &Engine, state: &State) -> Vec<f32> {
    let images = arrays::read(Path::new("tests/repair/images.npy")).unwrap().remove(0).1;
    engine.forward(state, &[("x".to_owned(), images)]).unwrap()[0].1.as_f32().unwrap().to_vec()
}

fn agree(what: &str, found: &[f32], wanted: &[f32]) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let largest = wanted.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    let off = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off <= 1e-4 * largest, "{what}: {off} of {largest}");
}

/// The main graph's nodes by what they write.
fn nodes(path: &Path) -> HashMap<String, NodeProto> {
    let proto = ModelProto::parse_from_bytes(&std::fs::read(path).unwrap()).unwrap();
    proto.graph.node.iter().map(|node| (node.output[0].clone(), node.clone())).collect()
}

#[test]
fn files_answer_as_measured_and_hold_nothing_else_that_is_new() {
    for name in names() {
        let (engine, state) = halved(&name);
        let graph = &engine.model().graph;
        let (repaired, repair) = repairer(&engine, Options::default()).repair(&state, &Unwatched).unwrap();
        let added = repair.layers.iter().filter(|layer| layer.adds_bias).count();
        assert!(added > 0 && added == repaired.biases.len(), "{name}: {:?}", repair.layers);
        let left: Vec<&str> = repair.left.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(left, if name == "held_unbiased" { vec!["own", "held"] } else { vec![] }, "{:?}", repair.left);
        // Masks, numbers and scope are what they were.
        let after = repaired.with(Recipe { amount: Amount::Fraction(0.5), ..state.recipe.clone() });
        let (was, is) = (engine.outcome(&state).unwrap(), engine.outcome(&after).unwrap());
        assert_eq!((was.pruned, &was.masked, state.recipe.scope(graph)), (is.pruned, &is.masked, after.recipe.scope(graph)), "{name}");

        let folder = tempfile::tempdir().unwrap();
        let mut session = Session::new(Engine::open(&opened(&name), &Unwatched).unwrap());
        let before = session.state().clone();
        session.go_to(repaired.clone(), Step::Repair).unwrap();
        assert!(session.is_unsaved());
        let path = folder.path().join("repaired.onnx");
        session.save(&path, Format::Onnx, Overwrite::Refuse).unwrap();
        assert!(!session.is_unsaved());
        let again = Engine::open(&path, &Unwatched).unwrap();
        agree(&name, &answers(&again, &again.opened()), &answers(&engine, &repaired));
        // Tensors that were not repaired are as they were, and zeros are zeros.
        let masks = engine.host_masks(&repaired).unwrap();
        for (i, tensor) in engine.model().file.tensors.iter().enumerate() {
            let id = TensorId(i);
            let there = again.model().file.tensors.iter().position(|other| other.name == tensor.name).map(TensorId).unwrap();
            let bytes = again.model().file.bytes(there).unwrap();
            let parameter = graph.parameters.iter().position(|parameter| parameter.tensor == id).map(ParameterId);
            match parameter.filter(|id| repaired.has_changed(id.0)) {
                None => assert_eq!(bytes, engine.model().file.bytes(id).unwrap(), "{name}: {}", tensor.name),
                Some(parameter) => {
                    let (bytes, zeroed) = (bytes.unwrap(), masks[&parameter].zeroed());
                    assert!(
                        bytes.chunks(4).enumerate().all(|(e, bytes)| !zeroed.is_pruned(e) || bytes == [0; 4]),
                        "{name}: {}",
                        tensor.name
                    );
                }
            }
        }
        assert_eq!(again.model().file.tensors.len(), engine.model().file.tensors.len() + added, "{name}");
        let biases = again.model().graph.parameters.len() - graph.parameters.len();
        assert_eq!(biases, added, "{name}: they are parameters once they are opened");
        // Nodes are what they were, but for a third input and for what stands behind a product.
        let (old, new) = (nodes(&opened(&name)), nodes(&path));
        for (output, node) in &old {
            let now = &new[output];
            if now.op_type == "Add" {
                let product = &new[&now.input[0]];
                assert_eq!((&product.input, &product.op_type, node.op_type.as_str()), (&node.input, &node.op_type, "MatMul"), "{name}");
            } else {
                let cut = NodeProto { input: now.input[..node.input.len()].to_vec(), ..now.clone() };
                assert!(cut == *node && now.input.len() <= node.input.len() + 1, "{name}: {output}");
            }
        }
        let products = new.values().filter(|node| node.op_type == "Add").count();
        assert_eq!(new.len(), old.len() + products, "{name}");

        // Undone to the first byte, and done again.
        session.undo().unwrap();
        assert_eq!(session.state(), &before);
        let undone = folder.path().join("undone.onnx");
        session.save(&undone, Format::Onnx, Overwrite::Refuse).unwrap();
        if name == "beside_unbiased" {
            let data = |path: &Path| std::fs::read(path.with_extension("onnx.data")).unwrap();
            assert!(data(&undone) == data(&opened(&name)));
        } else {
            assert!(std::fs::read(&undone).unwrap() == std::fs::read(opened(&name)).unwrap(), "{name}");
        }
        session.redo().unwrap();
        assert_eq!(session.state(), &repaired);
    }
}

#[test]
fn weight_files_and_sources_hold_the_biases_too() {
    for name in ["dense_unbiased", "matmul_unbiased", "taken_unbiased", "transposed_unbiased"] {
        let (engine, state) = halved(name);
        let (repaired, _) = repairer(&engine, Options::default()).repair(&state, &Unwatched).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let save = |file: &str, format| engine.save(&repaired, &folder.path().join(file), format, Overwrite::Refuse).unwrap();
        save("repaired.safetensors", Format::Safetensors(Form::Fixed));
        save("repaired.bpk", Format::Burnpack);
        let bytes = std::fs::read(folder.path().join("repaired.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let pack = burn_pack::Reader::from_file(folder.path().join("repaired.bpk")).unwrap();
        for (&id, bias) in repaired.biases.iter() {
            let bias_name = format!("{}.bias", engine.model().graph.owner(id).name);
            let wanted = bias.values.to_bytes(engine.model().graph.parameter(id).dtype);
            let saved = tensors.tensor(&bias_name).unwrap();
            assert!(saved.data() == wanted && saved.shape() == [bias.values.len()], "{name}: {bias_name}");
            assert!(pack.tensor_data(&bias_name).unwrap()[..] == wanted, "{name}: {bias_name}");
        }
        // Burn's importer takes a product and a sum for a linear layer with a bias.
        save("source.rs", Format::RustSource);
        engine.save(&engine.opened(), &folder.path().join("opened.rs"), Format::RustSource, Overwrite::Refuse).unwrap();
        let [source, opened] = ["source.rs", "opened.rs"].map(|file| std::fs::read_to_string(folder.path().join(file)).unwrap());
        let count = |text: &str, what: &str| text.matches(what).count();
        let [before, after] = [&opened, &source].map(|text| [count(text, "with_bias(true)"), count(text, "with_bias(false)")]);
        assert!(after[0] > before[0] && after[1] < before[1].max(1), "{name}: {before:?}, {after:?}");
    }
}

#[test]
fn what_was_given_a_bias_is_pruned_further_and_repaired_again() {
    for name in names() {
        let (engine, state) = halved(&name);
        for is_thorough in [false, true] {
            let mut repairer = repairer(&engine, Options { is_thorough, ..Options::default() });
            let (once, _) = repairer.repair(&state, &Unwatched).unwrap();
            let more = once.with(Recipe { amount: Amount::Fraction(0.6), ..state.recipe.clone() });
            let kept = engine.keep(&more).unwrap();
            assert_eq!((&more.biases, &kept.biases), (&once.biases, &once.biases));
            let (twice, repair) = repairer.repair(&more, &Unwatched).unwrap();
            assert!(repair.layers.iter().all(|layer| !layer.adds_bias), "{name}: they have one by now");
            assert!(twice.biases.keys().eq(once.biases.keys()) && twice.biases != once.biases, "{name}");
            let zeros = |state: &State| engine.pruned_weights(state).unwrap().iter().map(|(_, zeroed, _)| zeroed.pruned()).sum::<u64>();
            assert_eq!(zeros(&twice), zeros(&more), "{name}");
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("twice.onnx");
            engine.save(&twice, &path, Format::Onnx, Overwrite::Refuse).unwrap();
            let again = Engine::open(&path, &Unwatched).unwrap();
            agree(&name, &answers(&again, &again.opened()), &answers(&engine, &twice));
        }
    }
}

#[test]
fn a_smaller_network_keeps_what_is_left_of_them() {
    for name in ["dense_unbiased", "transposed_unbiased", "gemm_unbiased", "matmul_unbiased", "depthwise_unbiased"] {
        let (engine, state) = halved(name);
        let (repaired, _) = repairer(&engine, Options::default()).repair(&state, &Unwatched).unwrap();
        let images = Array::f32([1, 3, 6, 6], (0..108).map(|i| (i as f32 * 0.37).sin()).collect());
        let inputs = vec![("x".to_owned(), images)];
        let channels = engine.channels(&inputs, &Unwatched).unwrap();
        let found = Arc::new(FoundChannels { channels, inputs: inputs.clone() });
        let scores = engine.channel_scores(&repaired, &found.channels, ChannelScore::L2).unwrap();
        let choice = Choice {
            amount: ChannelAmount { share: 0.4, of: Of::Channels },
            granularity: Granularity { multiple: 1, least: 1 },
            ..Default::default()
        };
        let plan = ChannelPlan { score: ChannelScore::L2, choice };
        let chosen = Chosen::new(found, scores.into(), plan);
        assert!(chosen.removed.count() > 0, "{name}");
        // Of nothing else than the slices that go.
        let (smaller, removal) = engine.shrink(&repaired, &chosen, &Unwatched).unwrap();
        assert!(removal.difference < 1e-5, "{name}: {}", removal.difference);
        let graph = &smaller.model().graph;
        assert_eq!(graph.parameters.len(), engine.model().graph.parameters.len() + repaired.biases.len(), "{name}");
        // Repaired after the choice, what is gone stays gone.
        let twin = engine.twin(&state, &chosen.found.channels, &chosen.removed).unwrap();
        let (repaired, _) = repairer(&engine, Options::default()).repair(&twin, &Unwatched).unwrap();
        let (smaller, _) = engine.shrink(&repaired, &chosen, &Unwatched).unwrap();
        let measured = engine.forward(&repaired, &inputs).unwrap()[0].1.as_f32().unwrap().to_vec();
        agree(name, smaller.forward(&smaller.opened(), &inputs).unwrap()[0].1.as_f32().unwrap(), &measured);
    }
}

#[test]
fn an_output_without_weights_gives_its_mean_afterwards() {
    for name in ["dense_unbiased", "grouped_unbiased", "depthwise_unbiased"] {
        let engine = Arc::new(Engine::open(&opened(name), &Unwatched).unwrap());
        let mut state = engine.opened();
        let mut kept = state.kept.to_vec();
        let layers = engine.model().graph.layers();
        for layer in &layers[..layers.len() - 1] {
            let parameter = engine.model().graph.parameter(layer.weight);
            let row = parameter.elements / parameter.shape[0];
            kept[layer.weight.0] = Masked::Bits(Arc::new(Mask::of(parameter.elements, |i| (i / row).is_multiple_of(2))));
        }
        state.kept = kept.into();
        let (repaired, repair) = repairer(&engine, Options::default()).repair(&state, &Unwatched).unwrap();
        assert!(repair.left.is_empty(), "{name}: {:?}", repair.left);
        let first = &repaired.biases[&layers[0].weight].values.to_f64();
        assert!(first.iter().step_by(2).all(|&bias| bias != 0.0), "{name}: {first:?}");
        let dense = answers(&engine, &engine.opened());
        let off = |state: &State| -> f32 { answers(&engine, state).iter().zip(&dense).map(|(a, b)| (a - b).powi(2)).sum() };
        assert!(off(&repaired) < 0.5 * off(&state), "{name}: {} and {}", off(&repaired), off(&state));
    }
}

#[test]
fn a_gpu_repairs_and_runs_them_too() {
    let Some(device) = adapter::adapter() else { return };
    for name in ["dense_unbiased", "grouped_unbiased", "transposed_unbiased", "gemm_unbiased", "matmul_unbiased"] {
        let (engine, state) = halved(name);
        let there = Arc::new(engine.on(device.clone()));
        let thorough = || Options { is_thorough: true, ..Options::default() };
        let (repaired, repair) = repairer(&engine, thorough()).repair(&state, &Unwatched).unwrap();
        let (repaired_there, repair_there) = repairer(&there, thorough()).repair(&state, &Unwatched).unwrap();
        agree(name, &answers(&engine, &repaired_there), &answers(&engine, &repaired));
        assert_eq!(repair.layers.len(), repair_there.layers.len(), "{name}");
        for (here, there) in repair.layers.iter().zip(&repair_there.layers) {
            let off = |a: Option<f64>, b: Option<f64>| (a.unwrap_or_default() - b.unwrap_or_default()).abs();
            let is_alike = off(here.error_before, there.error_before) < 1e-3 && off(here.error_after, there.error_after) < 1e-3;
            assert!(is_alike && (&here.name, here.lambda) == (&there.name, there.lambda), "{name}: {here:?}, and {there:?}");
        }
        let repaired = repaired.with(Recipe { method: Method::Global, amount: Amount::Fraction(0.6), ..state.recipe.clone() });
        agree(name, &answers(&there, &repaired), &answers(&engine, &repaired));
    }
}
