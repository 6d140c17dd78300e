"""Masks and pruned weights of the demo network: Secateur beside torch.nn.utils.prune, in one run on one machine.

Runs `cargo bench --bench pruning -- demo`, reads criterion's estimates, times PyTorch on the same weights and prints both with
their ratio. Needs: torch 2.15, onnx 1.23, numpy; run it from the repository. CARGO_TARGET_DIR is honoured.
"""
import json
import os
import pathlib
import subprocess
import time

import numpy as np
import onnx
import torch
import torch.nn.utils.prune as prune
from onnx import numpy_helper

HERE = pathlib.Path(__file__).parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target"))
ROUNDS = 7


class Holder(torch.nn.Module):
    def __init__(self, array):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.from_numpy(np.array(array)))


def weights():
    model = onnx.load(HERE.parent / "assets" / "mobilenetv4_digits.onnx")
    arrays = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    nodes = [n for n in model.graph.node if n.op_type in ("Conv", "Gemm")]
    return [arrays[name] for n in nodes for name in n.input[1:3] if name in arrays]


def torch_ms(method, arrays):
    best = float("inf")
    for _ in range(ROUNDS):
        holders = [Holder(a) for a in arrays]
        start = time.perf_counter()
        if method == "layer-wise":
            for h in holders:
                prune.l1_unstructured(h, "weight", amount=0.5)
        else:
            prune.global_unstructured([(h, "weight") for h in holders], prune.L1Unstructured, amount=0.5)
        best = min(best, time.perf_counter() - start)
    return best * 1e3


def ours_ms(name):
    folder = TARGET / "criterion" / "demo" / name
    return json.loads((folder / "new" / "estimates.json").read_text())["median"]["point_estimate"] / 1e6


def main():
    subprocess.run(["cargo", "bench", "--bench", "pruning", "--", "demo/"], check=True, cwd=HERE.parent)
    arrays = weights()
    print(f"\n{sum(a.size for a in arrays)} elements in {len(arrays)} parameters, amount 0.5, {torch.get_num_threads()} threads")
    print(f"{'':12} {'PyTorch':>10} {'Secateur':>10} {'ratio':>7}   {'with sorting':>12} {'ratio':>7}")
    for method in ["layer-wise", "global"]:
        theirs = torch_ms(method, arrays)
        ours = ours_ms(f"masks and pruned weights, {method}")
        whole = ours_ms(f"prepare, masks and pruned weights, {method}")
        print(f"{method:12} {theirs:8.1f} ms {ours:8.2f} ms {theirs / ours:6.1f}x   {whole:9.2f} ms {theirs / whole:6.1f}x")


if __name__ == "__main__":
    main()
