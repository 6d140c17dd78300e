//! The wgpu adapter for tests that need one; a software adapter will do.

use secateur::device::{ComputeDevice, DeviceChoice};

/// The adapter, or `None` where the test is to be skipped: without one, tests fail where `CI` is set.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub(crate) fn adapter() -> Option<ComputeDevice> {
    match ComputeDevice::open(DeviceChoice::Gpu) {
        Ok(device) => Some(device),
        Err(error) if std::env::var_os("CI").is_some() => panic!("CI needs an adapter: {error}"),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}
