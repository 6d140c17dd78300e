//! What a frame of the window costs while the slider is dragged and while something is measured, and how soon that stops.
//!
//! Frames are worked out and cut into triangles, without a display; what the graphics driver does after that is not in it.
#![expect(clippy::unwrap_used, reason = "a bench")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use eframe::egui::accesskit::Role;
use eframe::egui::{Key, Pos2, Vec2, lerp};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use secateur::app::{App, AppState, FileDialogs, Reply, Request};
use secateur::device::DeviceChoice;

/// Positions of one way of the slider.
const POSITIONS: u32 = 200;
/// Nothing takes longer than this.
const PATIENCE: Duration = Duration::from_mins(5);

/// No file is asked for here.
struct NoDialogs;

impl FileDialogs for NoDialogs {
    fn ask(&mut self, _: Request) {}

    fn poll(&mut self) -> Option<Reply> {
        None
    }
}

struct Window(Harness<'static, App>);

impl Window {
    /// On the demo, with its digits measured.
    fn demo() -> Self {
        let builder = Harness::builder().with_size(Vec2::new(1280.0, 800.0));
        let start = |cc: &mut eframe::CreationContext| App::new(cc, None::<PathBuf>, DeviceChoice::Cpu, Box::new(NoDialogs)).unwrap();
        let mut window = Self(builder.build_eframe(start));
        window.wait(|s| s.view.is_some() && s.detail.is_some() && s.costs.cost.as_ref().is_some_and(|c| c.is_whole));
        window
    }

    fn state(&self) -> &AppState {
        self.0.state().state()
    }

    fn wait(&mut self, condition: impl Fn(&AppState) -> bool) {
        let start = Instant::now();
        while !condition(self.state()) {
            assert!(start.elapsed() < PATIENCE, "waited in vain");
            self.0.step();
        }
    }

    fn frame(&mut self) {
        self.0.step();
        let shapes = self.0.output().shapes.clone();
        drop(self.0.ctx.tessellate(shapes, 1.0));
    }

    fn click(&mut self, role: Role, name: &str) {
        self.0.get_by_role_and_label(role, name).scroll_to_me();
        self.0.run_steps(4);
        self.0.get_by_role_and_label(role, name).click();
        self.0.run_steps(2);
    }

    /// Where the slider's handle is at a position.
    fn slider_at(&self, position: u32) -> Pos2 {
        let rect = self.0.get_by_role_and_label(Role::Slider, "Amount").rect();
        let rail = rect.x_range().shrink(rect.height() / 2.5);
        Pos2::new(lerp(rail.min..=rail.max, position as f32 / POSITIONS as f32), rect.center().y)
    }

    /// Starts work by its button, which is called otherwise once some of it is done.
    fn start(&mut self, work: &str) {
        let name = if self.0.query_by_role_and_label(Role::Button, work).is_some() { work } else { "Go on" };
        self.click(Role::Button, name);
        self.wait(|s| s.costs.progress.is_some());
    }
}

fn dragging(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame while dragging");
    let mut window = Window::demo();
    for tab in ["Sparsity", "Weights", "Compare", "Table", "Effect", "Size and speed"] {
        window.click(Role::Tab, tab);
        window.0.hover_at(window.slider_at(0));
        window.0.drag_at(window.slider_at(0));
        window.0.run_steps(2);
        let mut position = 0;
        group.bench_function(tab, |b| {
            b.iter(|| {
                position = (position + 1) % POSITIONS;
                window.0.hover_at(window.slider_at(position));
                window.frame();
            });
        });
        window.0.drop_at(window.slider_at(position));
        window.0.run_steps(2);
    }
}

/// Time that this thread spent on a processor, where the system tells; elsewhere time by the clock.
fn processor_time(start: Instant) -> Duration {
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = spent.and_then(|s| s.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

/// Of the window's own thread: the others have the processors for themselves, as they should.
fn measuring(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame while measuring");
    let mut window = Window::demo();
    window.click(Role::Tab, "Effect");
    let epoch = Instant::now();
    for work in ["Measure the curve", "Scan"] {
        group.bench_function(work, |b| {
            b.iter_custom(|frames| {
                let mut spent = Duration::ZERO;
                for _ in 0..frames {
                    if window.state().costs.progress.is_none() {
                        window.start(work);
                    }
                    let before = processor_time(epoch);
                    window.frame();
                    // The system counts when a thread goes to sleep.
                    std::thread::sleep(Duration::from_micros(200));
                    spent += processor_time(epoch).saturating_sub(before);
                }
                spent
            });
        });
        window.0.key_press(Key::Escape);
        window.wait(|s| s.costs.progress.is_none());
    }
}

/// From Escape to the end of the work, by the clock.
fn stopping(c: &mut Criterion) {
    let mut group = c.benchmark_group("stopping");
    group.sample_size(10);
    let mut window = Window::demo();
    window.click(Role::Tab, "Effect");
    for work in ["Measure the curve", "Scan"] {
        group.bench_function(work, |b| {
            b.iter_custom(|times| {
                let mut spent = Duration::ZERO;
                for _ in 0..times {
                    window.start(work);
                    let start = Instant::now();
                    window.0.key_press(Key::Escape);
                    while window.state().costs.progress.is_some() {
                        window.0.step();
                    }
                    spent += start.elapsed();
                }
                spent
            });
        });
    }
}

criterion_group!(benches, dragging, measuring, stopping);
criterion_main!(benches);
