//! Measurements, printed and not asserted: what a frame costs on the processor while the slider is dragged and while something is
//! measured, and how soon that stops. `cargo test --release --test window speed -- --nocapture` prints those of the release build.

use std::time::{Duration, Instant};

use eframe::egui::Key;
use eframe::egui::accesskit::Role;

use super::driver::{DEMO, OTHER, Window};
use super::effect::{choose_digits, reveal};

const FRAMES: u32 = 200;
const ROUNDS: u64 = 12;

#[test]
fn frames_while_dragging() {
    let mut window = Window::demo();
    for tab in ["Sparsity", "Weights", "Compare", "Table"] {
        window.click(Role::Tab, tab);
        window.harness.hover_at(window.slider_at(0.0));
        window.harness.drag_at(window.slider_at(0.0));
        window.step_twice();
        let (mut frames, mut meshes) = (Vec::new(), Vec::new());
        for i in 1..=FRAMES {
            window.harness.hover_at(window.slider_at(i as f32 / FRAMES as f32));
            let start = Instant::now();
            window.harness.step();
            frames.push(start.elapsed());
            let shapes = window.harness.output().shapes.clone();
            let start = Instant::now();
            drop(window.harness.ctx.tessellate(shapes, 1.0));
            meshes.push(start.elapsed());
        }
        window.harness.drop_at(window.slider_at(1.0));
        window.step_twice();
        eprintln!(
            "{tab:>8}: frame {:.2} ms (95 %: {:.2}), triangles {:.2} ms (95 %: {:.2})",
            ms(&mut frames, 50),
            ms(&mut frames, 95),
            ms(&mut meshes, 50),
            ms(&mut meshes, 95)
        );
    }
}

/// Time that this thread spent on a processor, where the system tells; elsewhere time by the clock, with the sleep in it.
fn processor_time(start: Instant) -> Duration {
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = spent.and_then(|s| s.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

fn ms(times: &mut [Duration], share: usize) -> f64 {
    times.sort();
    times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3
}

/// Frames while a curve and a scan are measured, and the time from Escape to the end of the work.
#[test]
fn frames_and_cancelling_while_measuring() {
    let epoch = Instant::now();
    for (name, file) in [("64x64", DEMO), ("224x224", OTHER)] {
        let mut window = Window::on(Some(file));
        choose_digits(&mut window);
        window.set_percent("50");
        for work in ["Measure the curve", "Scan"] {
            let (mut frames, mut stops) = (Vec::new(), Vec::new());
            for round in 0..ROUNDS {
                // The button's other name, once there is a scan.
                let button = if window.has(Role::Button, work) { work } else { "Go on" };
                reveal(&mut window, Role::Button, button);
                window.button(button);
                window.wait("its beginning", |s| s.costs.progress.is_some());
                let start = Instant::now();
                while start.elapsed() < Duration::from_millis(150 + 37 * round) && window.state().costs.progress.is_some() {
                    let before = processor_time(epoch);
                    window.harness.step();
                    let shapes = window.harness.output().shapes.clone();
                    drop(window.harness.ctx.tessellate(shapes, 1.0));
                    // The system counts when a thread goes to sleep.
                    std::thread::sleep(Duration::from_millis(4));
                    frames.push(processor_time(epoch).saturating_sub(before));
                }
                if window.state().costs.progress.is_none() {
                    continue;
                }
                let start = Instant::now();
                window.harness.key_press(Key::Escape);
                while window.state().costs.progress.is_some() {
                    window.harness.step();
                }
                stops.push(start.elapsed());
            }
            let (stopped, drawn) = (stops.len(), frames.len());
            eprintln!(
                "{name:>8}, {work:>18}: {drawn} frames {:.2} ms (95 %: {:.2}, worst {:.2}); {stopped} times stopped after {:.0} ms (worst {:.0})",
                ms(&mut frames, 50),
                ms(&mut frames, 95),
                ms(&mut frames, 100),
                ms(&mut stops, 50),
                ms(&mut stops, 100)
            );
        }
    }
}
