"""Whether random, structured and custom pruning take what torch.nn.utils.prune takes. Run by hand.

    python tests/reference/check_choosing.py target/release/secateur

Prunes the demo with the program and its weights with PyTorch: `random_unstructured` and `random_structured` by their numbers, whose
choice is each one's own; `ln_structured` with n = 1, 2 and infinity along both dimensions, element by element; `custom_from_mask` and
`ln_structured` on top of what an earlier step masked. Needs: torch==2.15.0 onnx==1.23.2 safetensors==0.8.0 numpy==2.4.6.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import torch
import torch.nn.utils.prune as prune
from onnx import numpy_helper
from safetensors.numpy import load_file, save_file

MODEL = pathlib.Path(__file__).resolve().parents[2] / "assets" / "mobilenetv4_digits.onnx"
initializers = {t.name: numpy_helper.to_array(t) for t in onnx.load(MODEL).graph.initializer}
weights = {name: w for name, w in initializers.items() if w.ndim > 1}
work = pathlib.Path(tempfile.mkdtemp())


def program(*options):
    """Masks by name, True where pruned, and the report."""
    out = work / "out.safetensors"
    command = [sys.argv[1], "prune", MODEL, "--device", "cpu", "--no-biases", "--json", "--unfixed", "--force", "-o", out, *options]
    report = json.loads(subprocess.run(list(map(str, command)), check=True, capture_output=True).stdout)
    arrays = load_file(out)
    return {n: arrays[n + "_mask"] == 0 if n + "_mask" in arrays else np.zeros(w.shape, bool) for n, w in weights.items()}, report


def pytorch(*steps):
    masks = {}
    for name, w in weights.items():
        holder = torch.nn.Module()
        holder.weight = torch.nn.Parameter(torch.from_numpy(w.copy()))
        for step in steps:
            step(holder, name)
        masks[name] = holder.weight_mask.numpy() == 0
    return masks


def same(what, ours, theirs):
    for name, mask in theirs.items():
        # Among elements that tie at a cut PyTorch's choice is arbitrary.
        other = np.abs(weights[name][ours[name] != mask])
        assert len(np.unique(other)) <= 1 and ours[name].sum() == mask.sum(), f"{what}: {name}: {len(other)} of {mask.size} differ"
    print(f"{what}: {sum(int(m.sum()) for m in theirs.values())} elements, the same")


def same_number(what, ours, theirs):
    for name, mask in theirs.items():
        assert ours[name].sum() == mask.sum(), f"{what}: {name}: {ours[name].sum()} and {mask.sum()}"
    print(f"{what}: the same numbers in {len(theirs)} parameters")


layer_wise = ("--method", "layer-wise", "--amount")
for n, label in ((1, "l1"), (2, "l2"), (float("inf"), "linf")):
    for dim in (0, 1):
        for amount in (0.1, 0.25, 0.5):
            ours, _ = program(*layer_wise, amount, "--structured", f"{label}:{dim}")
            same(f"{label}:{dim} {amount}", ours, pytorch(lambda h, _: prune.ln_structured(h, "weight", amount=amount, n=n, dim=dim)))
for amount in (0.1, 0.33, 0.5):
    ours, _ = program(*layer_wise, amount, "--score", "random:3")
    same_number(f"random {amount}", ours, pytorch(lambda h, _: prune.random_unstructured(h, "weight", amount=amount)))
    ours, _ = program(*layer_wise, amount, "--score", "random:3", "--structured", "l2:0")
    same_number(f"random slices {amount}", ours, pytorch(lambda h, _: prune.random_structured(h, "weight", amount=amount, dim=0)))

chance = np.random.default_rng(0)
custom = {name: chance.random(w.shape) < 0.6 for name, w in weights.items()}
save_file({name + "_mask": mask.astype(np.float32) for name, mask in custom.items()}, work / "custom.safetensors")
kept = torch.from_numpy
ours, _ = program("--score", work / "custom.safetensors")
same("custom_from_mask", ours, pytorch(lambda h, name: prune.custom_from_mask(h, "weight", kept(custom[name]))))

recipe = work / "steps.toml"
first = 'biases = false\nmethod = "layer-wise"\n[[step]]\namount = 0.3\n[[step]]\n'
for what, step, theirs in (
    ("custom on l1", 'score = "custom.safetensors"', lambda h, name: prune.custom_from_mask(h, "weight", kept(custom[name]))),
    ("l2:0 on l1", 'pattern = "l2:0"\namount = 0.25', lambda h, _: prune.ln_structured(h, "weight", amount=0.25, n=2, dim=0)),
):
    recipe.write_text(first + step + "\n")
    out = work / "out.safetensors"
    command = [sys.argv[1], "prune", MODEL, "--device", "cpu", "--unfixed", "--force", "-o", out, "--recipe", recipe]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    arrays = load_file(out)
    ours = {n: arrays[n + "_mask"] == 0 for n in weights}
    same(what, ours, pytorch(lambda h, _: prune.l1_unstructured(h, "weight", amount=0.3), theirs))
