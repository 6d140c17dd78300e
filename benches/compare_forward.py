"""The forward pass: Secateur's CPU beside PyTorch eager and ONNX Runtime, two threads each, in one run on one machine.

Makes the 224x224 network (MobileNetV4-Conv-Small, 3 classes, random weights) in a temporary folder, then goes round: our
benchmark (`cargo bench --bench forward`), PyTorch, ONNX Runtime; the best of all rounds counts for each, since on a shared
machine everything else only adds. Needs: torch 2.15, timm 1.0.31, onnxscript 0.7.2, onnxruntime 1.32, numpy, pillow; run it from
the repository. CARGO_TARGET_DIR is honoured. With arguments, further ONNX models of images are timed beside ONNX Runtime alone.
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
from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent
ASSETS = HERE.parent / "assets"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target"))
THREADS = 2
ROUNDS = 3
R224 = "mobilenetv4_r224"


def best_ms(run, seconds=2.0):
    run()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best * 1e3


def digits():
    paths = sorted(ASSETS.glob("digits/*/*.png"))
    grey = np.stack([np.asarray(Image.open(p), np.float32) for p in paths])
    return np.repeat(((grey / 255 - 0.5) / 0.5)[:, None], 3, axis=1)


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def export(model, path):
    torch.onnx.export(
        model, (torch.zeros(2, 3, 224, 224),), str(path), dynamo=True, external_data=False, input_names=["input"], verbose=False,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )


def ours_ms(name):
    sample = json.loads((TARGET / "criterion" / "forward" / name / "new" / "sample.json").read_text())
    return min(t / n for t, n in zip(sample["times"], sample["iters"])) / 1e6


def main():
    torch.set_num_threads(THREADS)
    folder = tempfile.TemporaryDirectory()
    small = pathlib.Path(folder.name) / f"{R224}.onnx"
    eager = timm.create_model("mobilenetv4_conv_small", num_classes=3).eval()
    export(eager, small)
    eager_digits = timm.create_model("mobilenetv4_conv_small", num_classes=10).eval()
    images = digits()
    batches = [images[i : i + 60] for i in range(0, len(images), 60)]
    runtime = session(ASSETS / "mobilenetv4_digits.onnx")
    cases = {
        "digits, 360 in batches of 60": (
            lambda: [eager_digits(torch.from_numpy(b)) for b in batches],
            lambda: [runtime.run(None, {"input": b}) for b in batches],
        )
    }
    for path in [small, *map(pathlib.Path, sys.argv[1:])]:
        other = session(path)
        entry = other.get_inputs()[0]
        size = [d if isinstance(d, int) else 224 for d in entry.shape[1:]]
        for batch in [1, 16]:
            if isinstance(entry.shape[0], int) and entry.shape[0] != batch:
                continue
            x = np.random.default_rng(0).uniform(-1, 1, [batch, *size]).astype(np.float32)
            theirs = (lambda x=torch.from_numpy(x): eager(x)) if path == small else None
            cases[f"{path.stem}, batch {batch}"] = (theirs, lambda x=x, other=other, entry=entry: other.run(None, {entry.name: x}))
    environment = dict(os.environ, SECATEUR_R224=str(small), SECATEUR_MODELS=":".join(sys.argv[1:]), RAYON_NUM_THREADS=str(THREADS))
    figures = {name: [float("inf")] * 3 for name in cases}
    with torch.inference_mode():
        for _ in range(ROUNDS):
            subprocess.run(["cargo", "bench", "--bench", "forward"], check=True, cwd=HERE.parent, env=environment, stdout=subprocess.DEVNULL)
            for name, (theirs, runtime_run) in cases.items():
                now = [ours_ms(name), best_ms(theirs) if theirs else float("inf"), best_ms(runtime_run)]
                figures[name] = [min(a, b) for a, b in zip(figures[name], now)]
    print(f"{'':34} {'Secateur':>11} {'PyTorch':>11} {'ratio':>7} {'ONNX Runtime':>14} {'ratio':>7}")
    for name, (ours, theirs, runtime_ms) in figures.items():
        print(f"{name:34} {ours:8.2f} ms {theirs:8.2f} ms {theirs / ours:6.2f}x {runtime_ms:11.2f} ms {runtime_ms / ours:6.2f}x")


if __name__ == "__main__":
    main()
