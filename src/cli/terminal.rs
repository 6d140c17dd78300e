//! Progress of long work on a terminal.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::DeviceArgument;
use crate::device::ComputeDevice;
use crate::escaped::escaped;
use crate::watch::Watch;

/// Opens the device that `choice` asks for, and says on standard error why it is not the GPU that is there.
pub(super) fn open_device(choice: DeviceArgument) -> anyhow::Result<ComputeDevice> {
    let device = ComputeDevice::open(choice.into()).context("cannot start the device")?;
    if let Some(note) = &device.note {
        let _ = writeln!(std::io::stderr(), "Running on the CPU: {}", escaped(note));
    }
    Ok(device)
}

/// Progress on a terminal's standard error, once work has taken a while.
pub(super) struct Terminal {
    start: Instant,
    has_reader: bool,
    last: std::sync::Mutex<Option<Instant>>,
}

impl Terminal {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), has_reader: std::io::stderr().is_terminal(), last: std::sync::Mutex::new(None) }
    }

    pub(super) fn clear(&self) {
        if self.last.lock().is_ok_and(|last| last.is_some()) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

impl Watch for Terminal {
    fn progress(&self, done: f32, what: &str) {
        if !self.has_reader || self.start.elapsed() < Duration::from_millis(300) {
            return;
        }
        let Ok(mut last) = self.last.lock() else { return };
        if last.is_none_or(|t| t.elapsed() > Duration::from_millis(100)) {
            *last = Some(Instant::now());
            let _ = write!(std::io::stderr(), "\r\x1b[K{} {:.0} %", escaped(what), done * 100.0);
        }
    }

    fn is_cancelled(&self) -> bool {
        false
    }
}
