//! What saving takes in memory: a few tensors at a time, whatever the model. Alone in its file: every allocation is counted.
#![expect(clippy::unwrap_used, reason = "a test")]
#![expect(unsafe_code, reason = "an allocator is unsafe by its signature")]

mod tiny;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use onnx_ir::Message;
use secateur::atomic::Overwrite;
use secateur::export::{self, Changes, Form, Format};
use secateur::prune::{Amount, Method, Recipe, Step};
use secateur::session::Session;
use secateur::watch::Unwatched;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: the system's allocator does the work, and is asked for what was asked for.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Layers, and inputs and outputs of each: a megabyte of weights.
const LAYERS: usize = 32;
const WIDTH: usize = 512;

#[test]
fn saving_holds_a_few_tensors_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let bytes = WIDTH * WIDTH * 4;
    let (mut nodes, mut weights, mut data) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..LAYERS {
        let name = format!("layer{i}");
        nodes.push(tiny::node("MatMul", &["x", &name], "y"));
        weights.push(tiny::external(&name, &[WIDTH, WIDTH], "model.onnx.data", &(i * bytes).to_string(), &bytes.to_string()));
        data.extend((0..WIDTH * WIDTH).flat_map(|e| ((e * 7919 + i) as f32).to_le_bytes()));
    }
    std::fs::write(&path, tiny::model(nodes, weights).write_to_bytes().unwrap()).unwrap();
    std::fs::write(folder.path().join("model.onnx.data"), data).unwrap();

    let mut session = Session::open(&path, &Unwatched).unwrap();
    let recipe = Recipe { method: Method::LayerWise, amount: Amount::Fraction(0.5), ..session.state().recipe.clone() };
    session.set(recipe, Step::Amount).unwrap();
    let changes = Changes { masks: session.engine().masks(session.state()).unwrap(), ..Changes::default() };
    let model = session.model().clone();
    let formats = [
        ("a.onnx", Format::Onnx),
        ("a.safetensors", Format::Safetensors(Form::Fixed)),
        ("b.safetensors", Format::Safetensors(Form::Unfixed)),
        ("a.bpk", Format::Burnpack),
    ];
    for (name, format) in formats {
        let before = LIVE.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let report = export::save(&model.file, &model.graph, &changes, format, &folder.path().join(name), Overwrite::Refuse).unwrap();
        let taken = PEAK.load(Ordering::Relaxed) - before;
        assert_eq!(report.zeros as usize, LAYERS * WIDTH * WIDTH / 2, "{name}");
        // As it is read, turned, and read back, with buffers of a megabyte on both sides and a bit for each element.
        assert!(taken <= 10 * bytes, "{name} takes {taken} bytes of {}", LAYERS * bytes);
    }
}
