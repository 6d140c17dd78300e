#!/usr/bin/env python3
# requires: torch==2.15.0 torchvision==0.29.2 timm==1.0.31 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 numpy
"""The full-size networks of zoo.py with 30 % of their multiply-accumulates removed: which shrink, which answer as their masked twins in
ONNX Runtime, how many channels are frozen, how much faster ONNX Runtime is.

    python tests/networks/zoo_shrink.py PROGRAM [--multiple 8] [--method global] [--keep GLOB …] [--speed] [NAME …]

PROGRAM is a release build of `secateur`. A network agrees where onnx's checker takes the smaller file and ONNX Runtime's answers to it are
within 1e-4 of those to the twin, relative to the largest. Times are medians of passes of one image on all cores, both networks in turn.
Ends with 1 where fewer than 35 networks agree with less than a fifth of their channels frozen.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

import numpy as np
import onnx

import zoo
from timing import answers, opened, passes


parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("--multiple", default="8")
parser.add_argument("--method", default="global")
parser.add_argument("--keep", action="append", default=[])
parser.add_argument("--speed", action="store_true")
parser.add_argument("names", nargs="*")
arguments = parser.parse_intermixed_args()
good = 0
print(f"{'network':32} {'agrees':>8} {'frozen':>7} {'MACs':>7} {'bytes':>7} {'ms':>8} {'ms':>8} {'times':>6}")
names = arguments.names or zoo.TIMM + zoo.TORCHVISION
for name in names:
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        path, x, _ = zoo.export(name, folder)
        smaller, twin = folder / "smaller.onnx", folder / "twin.onnx"
        command = [arguments.program, "shrink", path, "--amount", "0.3", "--multiple", arguments.multiple,
                   "--method", arguments.method, "-o", smaller, "--masked", twin, "--json"]
        command += [word for glob in arguments.keep for word in ("--keep", glob)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"{name:32} {done.stderr.strip().splitlines()[-1]}", flush=True)
            continue
        report = json.loads(done.stdout)
        onnx.checker.check_model(str(smaller), full_check=True)
        have, want = answers(opened(smaller), x), answers(opened(twin), x)
        off = max(float(np.abs(h - w).max() / max(np.abs(w).max(), 1e-30)) for h, w in zip(have, want))
        less = lambda key: 1 - report[key][1] / report[key][0]
        line = f"{name:32} {off:8.1e} {report['frozen_share']:7.1%} {less('macs'):7.1%} {less('bytes'):7.1%}"
        if arguments.speed:
            before, after = passes([path, smaller], x)
            line += f" {before:8.2f} {after:8.2f} {before / after:6.2f}"
        print(line, flush=True)
        good += off < 1e-4 and report["frozen_share"] < 0.2
print(f"{good} of {len(names)} agree, with less than a fifth of their channels frozen")
raise SystemExit(0 if arguments.names or good >= 35 else 1)
