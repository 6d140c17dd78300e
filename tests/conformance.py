#!/usr/bin/env python3
# requires: onnx==1.23.2, numpy, ml_dtypes
"""The ONNX project's own node tests, run through `secateur run`.

    python tests/conformance.py PROGRAM [--device cpu|gpu] [--jobs 2] [--only GLOB] [--verbose] [--json FILE]

PROGRAM is the built `secateur`. Where the package `onnx` is missing, an environment of its own is made for it in a temporary
folder (`--venv FOLDER` keeps it). The cases are those of `onnx.backend.test.case.node`: each a model with inputs and the outputs
that are expected. All are written to a temporary folder.

A case is claimed where `secateur inspect` names nothing that keeps it from being run. A case that is not claimed is counted under
what is named, or under what the files of arrays cannot hold. Of those claimed each runs in a process of its own, and its outputs
are compared as ONNX's runner compares them: the same shape and kind of number, and |have - want| <= atol + rtol * |want| with
the case's own tolerances (1e-7 and 1e-3 where it has none); for bfloat16, rtol is two steps of that type.

The exit code is 1 where a claimed case fails.
"""

import argparse
import collections
import concurrent.futures
import fnmatch
import json
import os
import pathlib
import subprocess
import sys
import tempfile

PINNED = ["onnx==1.23.2", "numpy", "ml_dtypes"]


def own_environment(folder):
    """Runs this script again with a Python that has what it needs."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = pathlib.Path(folder) / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PINNED], check=True)
    sys.exit(subprocess.run([python, *sys.argv]).returncode)


def kept(array):
    """An array in a type that NumPy's files can hold, without loss; None where there is none."""
    import numpy as np
    import onnx

    if isinstance(array, onnx.TensorProto):
        array = onnx.numpy_helper.to_array(array)
    if not isinstance(array, (np.ndarray, np.generic)):
        return None
    array = np.asarray(array)
    name = array.dtype.name
    if name in ("bool", "float16", "float32", "float64", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))):
        return array
    if name == "bfloat16":
        return array.astype(np.float32)
    if name in ("int4", "int2"):
        return array.astype(np.int8)
    if name in ("uint4", "uint2"):
        return array.astype(np.uint8)
    return None


def write(case, folder):
    """The case as files; the reason where it cannot be."""
    import numpy as np
    import onnx

    onnx.save(case.model, folder / "model.onnx")
    inputs, outputs = case.data_sets[0]
    names = [value.name for value in case.model.graph.input]
    arrays = {}
    for name, value in zip(names, inputs):
        array = kept(value)
        if array is None:
            return "inputs that are no arrays of numbers"
        arrays[name] = array
    np.savez(folder / "inputs.npz", **arrays)
    if any(kept(value) is None for value in outputs):
        return "outputs that are no arrays of numbers"
    if any(node.op_type == "Dropout" and len(node.input) > 2 for node in case.model.graph.node):
        return "Dropout in training mode, which is run as in inference"
    return None


def compare(case, path):
    """What is wrong with the outputs; None where nothing is."""
    import numpy as np
    import onnx

    have = np.load(path)
    for value, want in zip(case.model.graph.output, case.data_sets[0][1]):
        rtol = max(case.rtol, 2**-6) if value.type.tensor_type.elem_type == onnx.TensorProto.BFLOAT16 else case.rtol
        want = kept(want)
        got = have[value.name]
        if got.shape != want.shape:
            return f"{value.name} has shape {got.shape}, should be {want.shape}"
        if got.dtype != want.dtype:
            return f"{value.name} is {got.dtype}, should be {want.dtype}"
        if want.dtype.kind == "f":
            close = np.isclose(got.astype(np.float64), want.astype(np.float64), rtol=rtol, atol=case.atol, equal_nan=True)
        else:
            close = got == want
        if not close.all():
            at = tuple(int(i) for i in np.argwhere(~close)[0]) if want.shape else ()
            return f"{value.name}{list(at)} is {got[at]}, should be {want[at]} ({int((~close).sum())} of {close.size} differ)"
    return None


def program(*arguments):
    done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True, timeout=120)
    lines = [line for line in done.stderr.splitlines() if line.startswith("secateur: ")]
    return done.returncode, done.stdout, lines[0] if lines else done.stderr.strip()


def judge(case, options, root):
    """("passed" | "failed" | "not claimed", why)"""
    folder = root / case.name
    folder.mkdir()
    told = write(case, folder)
    code, out, error = program(options.program, "inspect", folder / "model.onnx", "--json")
    if code:
        return "failed", f"does not open: {error}"
    operators = json.loads(out)["unsupported_operators"]
    if operators:
        return "not claimed", sorted(operators)
    if told:
        return "not claimed", [told]
    arguments = ["run", folder / "model.onnx", "--input", folder / "inputs.npz", "--output", folder / "out.npz", "--device", options.device]
    if not case.data_sets[0][0]:
        arguments[2:4] = []
    try:
        code, _, error = program(options.program, *arguments)
    except subprocess.TimeoutExpired:
        return "failed", "does not end"
    wrong = error if code else compare(case, folder / "out.npz")
    for file in folder.iterdir():
        file.unlink()
    return ("failed", wrong) if wrong else ("passed", None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=lambda p: pathlib.Path(p).resolve())
    parser.add_argument("--device", default="cpu", choices=["cpu", "gpu"])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="*", metavar="GLOB", help="cases whose name matches")
    parser.add_argument("--verbose", action="store_true", help="every reason with its cases")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="the verdict on every case")
    parser.add_argument("--venv", metavar="FOLDER", help="where the environment of its own is made")
    options = parser.parse_args()
    try:
        import ml_dtypes  # noqa: F401
        import onnx
        from onnx.backend.test.case.node import collect_testcases
    except ImportError:
        if os.environ.get("SECATEUR_CONFORMANCE"):
            raise
        os.environ["SECATEUR_CONFORMANCE"] = "1"
        own_environment(options.venv or tempfile.mkdtemp(prefix="secateur-conformance-"))

    cases = [c for c in collect_testcases(None) if c.data_sets and fnmatch.fnmatch(c.name, options.only)]
    verdicts = {}
    with tempfile.TemporaryDirectory() as root, concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        judged = pool.map(lambda case: judge(case, options, pathlib.Path(root)), cases)
        for case, verdict in zip(cases, judged):
            verdicts[case.name] = verdict
            if verdict[0] == "failed":
                print(f"failed: {case.name}: {verdict[1]}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(verdicts, indent=1))

    count = collections.Counter(verdict for verdict, _ in verdicts.values())
    reasons = collections.defaultdict(list)
    for name, (verdict, why) in verdicts.items():
        if verdict == "not claimed":
            reasons[", ".join(why)].append(name)
    claimed = count["passed"] + count["failed"]
    print(f"\nonnx {onnx.__version__}, device {options.device}\n")
    print("| cases | claimed | passed | not claimed |\n|---|---|---|---|")
    print(f"| {len(cases)} | {claimed} | {count['passed']} | {count['not claimed']} |")
    print("\n| not claimed because of | cases |\n|---|---|")
    for why, names in sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0])):
        print(f"| {why} | {len(names)} |" + (f" {', '.join(names)}" if options.verbose else ""))
    return 1 if count["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
