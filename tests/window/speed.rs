//! A measurement, printed and not asserted: what a frame costs on the processor while the slider is dragged.

use std::time::{Duration, Instant};

use eframe::egui::accesskit::Role;

use super::driver::Window;

const FRAMES: u32 = 200;

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
        let ms = |times: &mut Vec<Duration>, share: usize| {
            times.sort();
            times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3
        };
        eprintln!(
            "{tab:>8}: frame {:.2} ms (95 %: {:.2}), triangles {:.2} ms (95 %: {:.2})",
            ms(&mut frames, 50),
            ms(&mut frames, 95),
            ms(&mut meshes, 50),
            ms(&mut meshes, 95)
        );
    }
}
