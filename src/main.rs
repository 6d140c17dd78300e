//! Arguments to window or command; the one place that prints errors and picks exit codes.

use std::io::Write;
use std::process::ExitCode;

use secateur::cli::{self, Invocation};
use secateur::escaped::escaped;

/// The command failed.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let plan = match cli::plan(std::env::args_os()) {
        Ok(plan) => plan,
        Err(error) => {
            // A closed pipe is no reason to fail harder.
            let _ = error.print();
            return ExitCode::from(cli::usage_exit_code(&error));
        }
    };
    let result = match plan {
        Invocation::Headless(command) => headless(command),
        Invocation::Window { file, device } => window(file, device),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "secateur: {}", escaped(&told(&error)));
            ExitCode::from(FAILED)
        }
    }
}

/// The error with its causes, less those that a message before has quoted.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match told.as_str() {
        "" => cause,
        before if before.contains(&cause) => told,
        before => format!("{before}: {cause}"),
    })
}

fn headless(command: cli::Headless) -> anyhow::Result<()> {
    #[cfg(all(unix, not(target_os = "macos")))]
    do_without_desktop();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let result = cli::run(command, &mut out).and_then(|()| Ok(out.flush()?));
    match result {
        // Whoever read our output has had enough of it.
        Err(e) if e.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe) => Ok(()),
        other => other,
    }
}

/// Whoever looks for a GPU asks Wayland which one the desktop uses (Mesa's layer that orders them, at every look), and libwayland
/// complains on standard error where there is no runtime directory. A directory that is not there is the same answer, in silence.
#[cfg(all(unix, not(target_os = "macos")))]
fn do_without_desktop() {
    const VARIABLE: &str = "XDG_RUNTIME_DIR";
    if std::env::var_os(VARIABLE).is_none_or(|folder| !std::path::Path::new(&folder).is_absolute()) {
        #[expect(unsafe_code, reason = "no other thread runs yet that could read the environment")]
        unsafe {
            std::env::set_var(VARIABLE, "/nonexistent");
        }
    }
}

#[cfg(feature = "gui")]
fn window(file: Option<std::path::PathBuf>, device: secateur::device::DeviceChoice) -> anyhow::Result<()> {
    secateur::app::open(file, device)
}

#[cfg(not(feature = "gui"))]
fn window(_: Option<std::path::PathBuf>, _: secateur::device::DeviceChoice) -> anyhow::Result<()> {
    anyhow::bail!("this program was built without its window; use `secateur inspect FILE` or `secateur prune FILE`, see `secateur --help`")
}
