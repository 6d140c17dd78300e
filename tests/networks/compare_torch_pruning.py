#!/usr/bin/env python3
# requires: torch==2.15.0 timm==1.0.31 torch-pruning==1.6.1 onnx==1.23.2 numpy
"""The channels that `secateur shrink` keeps of ResNet-18 and MobileNetV2 beside those that Torch-Pruning keeps: the same score
(magnitude of groups, L2), the same share of channels, with and without rounding, globally and of each group.

    python tests/networks/compare_torch_pruning.py PROGRAM

Weights and the scales of BatchNorm are random, every filter at a scale of its own. Without rounding, counts may differ by one channel per
group, because a share of all channels is rounded otherwise; where both keep equally many, the filters must be the same ones. With multiples
of 8 Torch-Pruning takes away less than asked, and never more than it would without rounding, while `shrink` meets the amount as nearly as
multiples allow. Ends with 1 where counts without rounding differ by more than one, or equally many filters are not the same.
"""

import copy
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import timm
import torch
import torch_pruning


def network(name):
    torch.manual_seed(0)
    net = timm.create_model(name).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.mul_(torch.rand(len(module.weight), 1, 1, 1, generator=generator) + 0.5)
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.copy_(torch.rand(module.weight.shape, generator=generator) + 0.5)
    return net


def theirs(net, x, share, method, multiple):
    net = copy.deepcopy(net)
    for parameter in net.parameters():
        parameter.requires_grad_(True)
    importance = torch_pruning.importance.GroupMagnitudeImportance(p=2)
    torch_pruning.pruner.MagnitudePruner(
        net, x, importance=importance, pruning_ratio=share, global_pruning=method == "global",
        round_to=multiple if multiple > 1 else None, ignored_layers=[net.get_classifier()]).step()
    return {n: m.weight.detach().numpy() for n, m in net.named_modules() if isinstance(m, torch.nn.Conv2d)}


def ours(program, path, out, share, method, multiple):
    command = [program, "shrink", path, "--amount", str(share), "--of", "channels", "--method", method, "--multiple", str(multiple),
               "-o", out, "--force"]
    subprocess.run(command, check=True, capture_output=True)
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(out).graph.initializer}


program = sys.argv[1]
is_good = True
print("| network | method | multiple | share | convolutions | other counts | by at most | equal counts, the same filters |\n|---|---|---|---|---|---|---|---|")
with tempfile.TemporaryDirectory() as folder:
    path, out = pathlib.Path(folder) / "net.onnx", pathlib.Path(folder) / "smaller.onnx"
    for name in ("resnet18", "mobilenetv2_100"):
        net, x = network(name), torch.randn(1, 3, 224, 224)
        # BatchNorm stays.
        torch.onnx.export(net, (x,), str(path), dynamo=False, opset_version=17, training=torch.onnx.TrainingMode.PRESERVE,
                          do_constant_folding=False)
        for method in ("global", "each"):
            for multiple in (1, 8):
                for share in (0.1, 0.3, 0.5):
                    want = theirs(net, x, share, method, multiple)
                    have = ours(program, path, out, share, method, multiple)
                    have = {n: have[f"{n}.weight"] for n in want}
                    off = [abs(len(have[n]) - len(want[n])) for n in want]
                    alike = [n for n in want if have[n].shape == want[n].shape]
                    same = sum(np.array_equal(have[n], want[n]) for n in alike)
                    is_good &= same == len(alike) and (multiple > 1 or max(off) <= 1)
                    print(f"| {name} | {method} | {multiple} | {share} | {len(want)} | {sum(o > 0 for o in off)} | {max(off)} | {same} of {len(alike)} |", flush=True)
sys.exit(not is_good)
