#!/usr/bin/env python3
# requires: torch==2.15.0 torchvision==0.29.2 timm==1.0.31 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 numpy
"""Full-size networks of timm and torchvision in random weights: which open, which run, how far from ONNX Runtime, how fast.

    python tests/networks/zoo.py PROGRAM [NAME …]

PROGRAM is a release build of `secateur`. Each network is exported by TorchScript to a temporary folder, with BatchNorm's statistics
taken from a pass in training mode so that values neither vanish nor grow without limit; then PROGRAM and ONNX Runtime, with as many
threads as there are cores, run the same image, one after the other, and the median of five passes counts for each. Prints a table;
errors are max |have - want| / max |want|. Ends with 1 where a network does not run or is more than 1e-3 apart.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime
import timm
import torch
import torchvision

TIMM = """
mobilenetv2_050 mobilenetv2_100 mobilenetv2_140 mobilenetv3_small_050 mobilenetv3_small_100 mobilenetv3_large_100
mobilenetv4_conv_small mobilenetv4_conv_medium mobilenetv4_conv_large mobilenetv4_hybrid_medium mobilenetv4_hybrid_large
efficientnet_b0 efficientnet_lite0 regnetx_008 regnety_008 resnet18 resnet50 resnext50_32x4d convnext_tiny convnextv2_atto
densenet121 mobileone_s0 ghostnet_100 ghostnetv2_100 repvit_m1 fastvit_t8 vit_tiny_patch16_224 vit_small_patch16_224
deit_tiny_patch16_224 deit3_small_patch16_224 swin_tiny_patch4_window7_224 levit_128 levit_256 edgenext_xx_small edgenext_small
""".split()
TORCHVISION = ["squeezenet1_1", "shufflenet_v2_x1_0", "mnasnet1_0", "googlenet"]
PASSES = 5


def build(name):
    torch.manual_seed(0)
    if name in TORCHVISION:
        extra = {"init_weights": True, "aux_logits": False} if name == "googlenet" else {}
        return torchvision.models.get_model(name, weights=None, **extra), 224
    net = timm.create_model(name, pretrained=False)
    return net, net.pretrained_cfg["input_size"][1]


def export(name, folder):
    net, size = build(name)
    net.train()
    with torch.no_grad():
        for _ in range(2):
            net(torch.randn(4, 3, size, size))
    net.eval()
    x = torch.randn(1, 3, size, size)
    path = folder / f"{name}.onnx"
    torch.onnx.export(net, (x,), str(path), dynamo=False, opset_version=17, input_names=["x"], output_names=["y"])
    return path, x.numpy(), sum(p.numel() for p in net.parameters())


def reference(path, x):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    times = []
    for _ in range(PASSES + 1):
        start = time.perf_counter()
        y = session.run(None, {"x": x})[0]
        times.append(time.perf_counter() - start)
    return y, float(np.median(times[1:]))


def ours(program, path, x, folder):
    np.save(folder / "x.npy", x)
    out = folder / "y.npy"
    command = [program, "run", path, "--input", folder / "x.npy", "-o", out, "--force", "--device", "cpu", "--repeat", str(PASSES), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return np.load(out), json.loads(done.stdout)["seconds"]


def main():
    program, *names = sys.argv[1:]
    is_good = True
    print("| network | parameters | runs | largest error | here, ms | ONNX Runtime, ms | ratio |\n|---|---|---|---|---|---|---|")
    for name in names or TIMM + TORCHVISION:
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            try:
                path, x, parameters = export(name, folder)
            except Exception as error:  # noqa: BLE001: the exporter's, not ours
                print(f"| {name} | | not exported: {type(error).__name__} | | | | |", flush=True)
                continue
            want, theirs = reference(path, x)
            try:
                have, seconds = ours(program, path, x, folder)
            except RuntimeError as error:
                is_good = False
                print(f"| {name} | {parameters:,} | no: {error} | | | {theirs * 1e3:.1f} | |", flush=True)
                continue
            error = float(np.abs(have - want).max() / np.abs(want).max())
            is_good &= error < 1e-3
            print(f"| {name} | {parameters:,} | yes | {error:.1e} | {seconds * 1e3:.1f} | {theirs * 1e3:.1f} | {seconds / theirs:.1f} |", flush=True)
    sys.exit(not is_good)


if __name__ == "__main__":
    main()
