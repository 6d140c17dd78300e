#!/usr/bin/env python3
# requires: torch==2.15.0 timm==1.0.31 torch-pruning==1.6.1 onnx==1.23.2 onnxruntime==1.32.0 numpy
"""How much faster ONNX Runtime is with 30 % fewer multiply-accumulates, removed by `secateur shrink` and by Torch-Pruning: the same network,
the same score (magnitude of groups, L2), all files timed in turn in one run.

    python tests/networks/compare_speed.py PROGRAM [NAME …]

Torch-Pruning removes of each group alike, rounded to multiples of 8 and 16; its share is searched so that multiply-accumulates come as near
to 30 % fewer as it gets. Weights are random. Times are medians of passes of one image on all cores.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import timm
import torch
import torch_pruning

from timing import passes

FEWER = 0.3


def network(name):
    torch.manual_seed(0)
    return timm.create_model(name).eval()


def export(net, path):
    net.eval()
    torch.onnx.export(net, (torch.randn(1, 3, 224, 224),), str(path), dynamo=False, opset_version=17)


def work(net):
    return torch_pruning.utils.count_ops_and_params(net, torch.randn(1, 3, 224, 224))[0]


def theirs(name, multiple):
    """The network with about 30 % fewer multiply-accumulates, and how many fewer they are."""
    found, (low, high) = [], (0.0, 0.6)
    for _ in range(9):
        net, share = network(name), (low + high) / 2
        before = work(net)
        importance = torch_pruning.importance.GroupMagnitudeImportance(p=2)
        torch_pruning.pruner.MagnitudePruner(
            net, torch.randn(1, 3, 224, 224), importance=importance, pruning_ratio=share, global_pruning=False, round_to=multiple,
            ignored_layers=[net.get_classifier()]).step()
        fewer = 1 - work(net) / before
        found.append((abs(fewer - FEWER), fewer, net))
        low, high = (share, high) if fewer < FEWER else (low, share)
    _, fewer, net = min(found, key=lambda one: one[0])
    return net, fewer


program = sys.argv[1]
names = sys.argv[2:] or ["mobilenetv2_100", "mobilenetv4_conv_small", "mobilenetv4_conv_medium", "resnet50"]
x = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)
print("| network | by | multiple | fewer MACs | ms | times as fast |\n|---|---|---|---|---|---|")
for name in names:
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        files = [folder / "opened.onnx"]
        export(network(name), files[0])
        rows = [("opened", "", 0.0)]
        for multiple in (8, 16):
            net, fewer = theirs(name, multiple)
            files.append(folder / f"theirs_{multiple}.onnx")
            export(net, files[-1])
            rows.append(("Torch-Pruning", multiple, fewer))
        for method in ("global", "each"):
            for multiple in (8, 16, 32):
                files.append(folder / f"{method}_{multiple}.onnx")
                command = [program, "shrink", files[0], "--amount", str(FEWER), "--method", method, "--multiple", str(multiple), "-o",
                           files[-1], "--json"]
                macs = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["macs"]
                rows.append((f"`{method}`", multiple, 1 - macs[1] / macs[0]))
        times = passes(files, x)
        for (by, multiple, fewer), time in zip(rows, times):
            print(f"| {name} | {by} | {multiple} | {fewer:.1%} | {time:.2f} | {times[0] / time:.2f} |", flush=True)
