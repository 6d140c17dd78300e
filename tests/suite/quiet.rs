//! Standard error of the commands in a script on a machine without a desktop: nothing but what they have to say.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::process::{Command, Output, Stdio};

use crate::adapter;

const DEMO: &str = "assets/mobilenetv4_digits.onnx";
const DIGITS: &str = "assets/digits.npz";

/// Runs the program as a script on a server does: no display, no Wayland, no runtime directory.
fn secateur(arguments: &str, runtime: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secateur"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).args(arguments.split_whitespace());
    for variable in ["DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET", "XDG_RUNTIME_DIR"] {
        command.env_remove(variable);
    }
    if let Some(folder) = runtime {
        command.env("XDG_RUNTIME_DIR", folder);
    }
    command.output().unwrap()
}

/// Every command, as it is written without a thought of devices.
fn commands(folder: &str) -> Vec<String> {
    let prune = "--method global --amount 0.5";
    let out = format!("{folder}/out.npz");
    vec![
        format!("inspect {DEMO}"),
        format!("inspect {DEMO} --json"),
        format!("prune {DEMO} {prune} -o {folder}/out.onnx"),
        format!("prune {DEMO} --method layer-wise --amount 0.5 --amount 0.5"),
        format!("run {DEMO} --input {folder}/input.npy -o {out}"),
        format!("run {DEMO} --input {folder}/input.npy {prune} --repeat 2"),
        format!("cost {DEMO}"),
        format!("cost {DEMO} {prune} --speed --passes 1"),
        format!("evaluate {DEMO} --images {DIGITS} --limit 8 {prune}"),
        format!("sweep {DEMO} --images {DIGITS} --limit 8 --amounts 0.5"),
        format!("sensitivity {DEMO} --images {DIGITS} --limit 2 --amounts 0.5"),
    ]
}

/// One image of zeros, as NumPy writes it.
fn write_input(path: &std::path::Path) {
    let mut header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 64, 64), }".to_owned();
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + 4 * 3 * 64 * 64, 0);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_script_hears_nothing_from_drivers() {
    let folder = tempfile::tempdir().unwrap();
    write_input(&folder.path().join("input.npy"));
    for command in commands(folder.path().to_str().unwrap()) {
        let output = secateur(&command, None);
        assert!(output.status.success(), "{command}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{command}");
    }
    // A variable that says nothing is as good as none.
    let output = secateur(&format!("prune {DEMO} --method global --amount 0.5"), Some("not/absolute"));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_device_that_is_asked_for_is_found_in_silence() {
    if adapter::adapter().is_none() {
        return;
    }
    let output = secateur(&format!("prune {DEMO} --method global --amount 0.5 --device gpu"), None);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// What the program itself has to say still comes through, and at once: a file that is not there needs no device.
#[test]
fn errors_are_not_silenced() {
    let output = secateur("prune no/such/file.onnx --method global --amount 0.5", None);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), told.lines().count()), (Some(2), 1), "{told}");
    assert!(told.starts_with("secateur: cannot open the model: "), "{told}");
}

/// Drivers are not even loaded where nothing needs them. Vulkan's loader tells what it does when it is asked to.
#[cfg(target_os = "linux")]
#[test]
fn what_needs_no_device_looks_for_none() {
    let told = |arguments: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_secateur"));
        command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).args(arguments.split_whitespace());
        command.env("VK_LOADER_DEBUG", "all");
        String::from_utf8_lossy(&command.output().unwrap().stderr).into_owned()
    };
    for command in [format!("inspect {DEMO}"), format!("cost {DEMO}"), "evaluate no.onnx --images assets/digits.npz".to_owned()] {
        let told = told(&command);
        assert!(!told.contains("Vulkan Loader") && !told.contains("libvulkan"), "{command}: {told}");
    }
    if adapter::adapter().is_some() {
        // The loader does speak where a device is looked for.
        let told = told(&format!("prune {DEMO} --method global --amount 0.5"));
        assert!(told.contains("Vulkan Loader"), "{told}");
    }
}
