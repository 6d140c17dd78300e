use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::atomic::Overwrite;
use crate::export::Format;
use crate::prune::{Amount, Recipe, Step};

const DEMO: &str = "assets/mobilenetv4_digits.onnx";

/// Events until `is_last`, that included.
fn until(worker: &mut Worker, is_last: impl Fn(&Event) -> bool) -> Vec<Event> {
    let start = Instant::now();
    let mut events = Vec::new();
    loop {
        worker.flush();
        if let Some(told) = worker.poll() {
            events.push(told.event);
            if events.last().is_some_and(&is_last) {
                return events;
            }
        } else {
            assert!(start.elapsed() < Duration::from_mins(2), "{events:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Opens the demo and waits until nothing is left to do: the thread may have rested before it was asked.
fn open(worker: &mut Worker) -> Vec<Event> {
    worker.send(Job::Open(DEMO.into()));
    let events = until(worker, |event| matches!(event, Event::Changed(_)));
    until(worker, |event| matches!(event, Event::Idle));
    events
}

fn recipe(events: &[Event]) -> Recipe {
    let views = events.iter().rev().filter_map(|event| if let Event::Changed(view) = event { Some(view) } else { None });
    views.map(|view| view.figures.recipe.clone()).next().unwrap()
}

#[test]
fn a_panic_is_told_and_the_next_job_is_done() {
    let panics = Arc::new(AtomicBool::new(false));
    let is_next = panics.clone();
    let wake = move || assert!(!is_next.swap(false, Ordering::Relaxed), "the window is confused");
    let mut worker = Worker::start(DeviceChoice::Cpu, wake).unwrap();
    // The device is chosen, which is no job.
    until(&mut worker, |event| matches!(event, Event::Idle));
    panics.store(true, Ordering::Relaxed);
    worker.send(Job::Open(DEMO.into()));
    let told = until(&mut worker, |event| matches!(event, Event::Failed { .. }));
    assert!(matches!(told.last(), Some(Event::Failed { what: "Open", message }) if message.contains("the window is confused")));
    worker.send(Job::Open(DEMO.into()));
    until(&mut worker, |event| matches!(event, Event::Changed(_)));
}

/// Two recipes at once, the second of them refused: on screen is the first, which the session holds.
#[test]
fn behind_a_refused_job_is_shown_what_the_session_holds() {
    let gate = Arc::new(Mutex::new(()));
    let inside = gate.clone();
    let wake = move || drop(inside.lock().unwrap_or_else(PoisonError::into_inner));
    let mut worker = Worker::start(DeviceChoice::Cpu, wake).unwrap();
    let opened = recipe(&open(&mut worker));
    {
        // The thread stands at the gate behind this job's event while the two are sent.
        let closed = gate.lock().unwrap();
        worker.send(Job::Look(Some(ParameterId(0))));
        until(&mut worker, |event| matches!(event, Event::Looked(..)));
        let good = Recipe { method: Method::LayerWise, amount: Amount::Fraction(0.3), ..opened.clone() };
        let refused = Recipe { amount: Amount::Count(u64::MAX), ..good.clone() };
        worker.send(Job::Set(Box::new(good), Step::Amount));
        worker.send(Job::Set(Box::new(refused), Step::Amount));
        drop(closed);
    }
    let events = until(&mut worker, |event| matches!(event, Event::Idle));
    assert!(events.iter().any(|event| matches!(event, Event::Failed { what: "Prune", .. })), "{events:?}");
    assert_eq!(recipe(&events).amount, Amount::Fraction(0.3));
}

#[test]
fn events_name_their_model_and_jobs_theirs() {
    let mut worker = Worker::start(DeviceChoice::Cpu, || {}).unwrap();
    open(&mut worker);
    assert_eq!(worker.seen, ModelId(1));
    // Asked for while the first model is on screen, behind the opening of the next.
    worker.send(Job::Open(DEMO.into()));
    worker.send(Job::Fix);
    let events = until(&mut worker, |event| matches!(event, Event::Idle));
    assert_eq!(worker.seen, ModelId(2));
    assert!(events.iter().any(|event| matches!(event, Event::Failed { what: "Fix weights", .. })), "{events:?}");
    worker.send(Job::Save(Path::new("assets").into(), Format::Onnx, Overwrite::Refuse));
    let events = until(&mut worker, |event| matches!(event, Event::Idle));
    assert!(events.iter().any(|event| matches!(event, Event::Failed { .. } | Event::Occupied(..))), "{events:?}");
}
