//! Has the linker fold functions of the same code into one where it can: the program is a twentieth smaller by it.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// What `lld` calls it, the usual linker of Rust on Linux; others may not know it.
const FOLD: &str = "-Wl,--icf=all";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Linkers of other systems fold by themselves, or are not tried out here.
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") && env::var("HOST") == env::var("TARGET") && is_known() {
        println!("cargo::rustc-link-arg-bins={FOLD}");
    }
}

/// Whether a program of nothing can be linked with it.
fn is_known() -> bool {
    let (Ok(folder), Ok(rustc)) = (env::var("OUT_DIR"), env::var("RUSTC")) else { return false };
    let source = Path::new(&folder).join("nothing.rs");
    let mut command = Command::new(rustc);
    command.arg(&source).arg("--out-dir").arg(&folder).arg("-C").arg(format!("link-arg={FOLD}"));
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        command.arg("-C").arg(format!("linker={linker}"));
    }
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    command.args(flags.split('\u{1f}').filter(|flag| !flag.is_empty()));
    fs::write(&source, "fn main() {}").is_ok() && command.output().is_ok_and(|output| output.status.success())
}
