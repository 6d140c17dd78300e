"""Whether others can use what the program saves: ONNX in ONNX Runtime, safetensors in PyTorch. Run by hand.

    python tests/reference/check_saved.py target/release/secateur

Prunes every model of this repository with the program and, on its own, with torch.nn.utils.prune, and compares masks and logits on
eight digits. Where elements tie at the cut, PyTorch's choice among them is arbitrary: there the masks may differ in such elements
alone, and the logits are compared with those of PyTorch under the program's masks. Reads `assets/digits.pth`, which `assets/train_digits.py` writes.
Needs: torch==2.15.0 timm==1.0.31 onnx==1.23.2 onnxruntime==1.32.0 safetensors==0.8.0 numpy==2.4.6 pillow==13.0.0.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
import timm
import torch
import torch.nn.utils.prune as prune
from onnx import numpy_helper
from PIL import Image
from safetensors.torch import load_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = ROOT / "assets" / "mobilenetv4_digits.onnx"
MODELS = [DEMO, *sorted((ROOT / "tests" / "models").glob("*.onnx"))]
METHODS = ["layer-wise", "global"]
AMOUNT = 0.5


def digits():
    files = sorted((ROOT / "assets" / "digits").glob("*/*.png"))[::45]
    pixels = np.stack([np.asarray(Image.open(f)) for f in files]).astype(np.float32)
    return ((pixels / 255 - 0.5) / 0.5)[:, None].repeat(3, 1)


def secateur(program, model, method, out, *more):
    command = [program, "prune", model, "--method", method, "--amount", str(AMOUNT), "--device", "cpu", "-o", out, "--json", *more]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def network():
    net = timm.create_model("mobilenetv4_conv_small", num_classes=10)
    net.load_state_dict(torch.load(ROOT / "assets" / "digits.pth"))
    return net.eval()


def prunable(net):
    layers = [m for m in net.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    return [(m, n) for m in layers for n in ("weight", "bias") if getattr(m, n) is not None]


def prune_pairs(pairs, method):
    if method == "global":
        prune.global_unstructured(pairs, prune.L1Unstructured, amount=AMOUNT)
    else:
        for module, name in pairs:
            prune.l1_unstructured(module, name, amount=AMOUNT)


def run_torch(net, x):
    with torch.no_grad():
        return net(torch.from_numpy(x)).numpy()


def run_onnx(path, x):
    session = onnxruntime.InferenceSession(path)
    half = "float16" in session.get_inputs()[0].type
    return session.run(None, {"input": x.astype(np.float16 if half else np.float32)})[0].astype(np.float32)


def pruned_by_torch(path, method, names, folder):
    """The model with the named initializers pruned by PyTorch, as a file."""
    model = onnx.load(path)
    tensors = {t.name: t for t in model.graph.initializer if t.name in names}
    holders = {}
    for name in names:
        holders[name] = torch.nn.Module()
        array = numpy_helper.to_array(tensors[name]).astype(np.float32)
        holders[name].weight = torch.nn.Parameter(torch.from_numpy(array.copy()))
    prune_pairs([(h, "weight") for h in holders.values()], method)
    for name, holder in holders.items():
        kind = numpy_helper.to_array(tensors[name]).dtype
        tensors[name].CopyFrom(numpy_helper.from_array(holder.weight.detach().numpy().astype(kind), name))
    out = folder / f"torch_{path.name}"
    onnx.save(model, out)
    return out


def initializers(path):
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


def tied(pairs, originals, method):
    """How many elements two lists of masks choose differently; every one of them must lie at the cut."""
    cuts = [np.unique(np.abs(o[a != b])) for (a, b), o in zip(pairs, originals)]
    for cut in cuts if method == "layer-wise" else [np.unique(np.concatenate(cuts))]:
        assert len(cut) <= 1, cut
    for a, b in pairs:
        assert method == "global" or (a == 0).sum() == (b == 0).sum()
    return sum(int((a != b).sum()) for a, b in pairs)


def main(program):
    digit_images = digits()
    for path in MODELS:
        x = digit_images if "digits" in path.name else np.random.default_rng(0).standard_normal((2, 3, 224, 224), dtype=np.float32)
        for method in METHODS:
            with tempfile.TemporaryDirectory() as folder:
                folder = pathlib.Path(folder)
                out = folder / "ours" / path.name
                out.parent.mkdir()
                report = secateur(program, path, method, out)
                onnx.checker.check_model(out)
                names = [p["name"] for p in report["parameters"]]
                other = pruned_by_torch(path, method, names, folder)
                dense, ours, theirs = initializers(path), initializers(out), initializers(other)
                others = [n for n in dense if n not in names]
                assert all(dense[n].tobytes() == ours[n].tobytes() for n in others)
                moved = tied([(ours[n] != 0, theirs[n] != 0) for n in names], [dense[n] for n in names], method)
                error = np.abs(run_onnx(out, x) - run_onnx(other, x)).max()
                print(f"{path.name}, {method}: {report['ties']} ties, {moved} chosen otherwise; ONNX Runtime: {error:.1e} from pruned by PyTorch")
                assert moved or error == 0, path

    for method in METHODS:
        torch_net = network()
        prune_pairs(prunable(torch_net), method)
        for path in [p for p in MODELS if p == DEMO or p.stem.endswith(("raw", "ts_bn"))]:
            with tempfile.TemporaryDirectory() as folder:
                folder = pathlib.Path(folder)
                out = folder / "unfixed.safetensors"
                secateur(program, path, method, out, "--unfixed")
                unfixed = timm.create_model("mobilenetv4_conv_small", num_classes=10).eval()
                for module, name in prunable(unfixed):
                    prune.identity(module, name)
                unfixed.load_state_dict(load_file(out), strict=True)
                ours, theirs = parts(unfixed, "mask"), parts(torch_net, "mask")
                originals = parts(torch_net, "orig")
                assert all((a == b).all() for a, b in zip(parts(unfixed, "orig"), originals))
                moved = tied(list(zip(ours, theirs)), originals, method)

                # PyTorch under the program's masks.
                net = network()
                for (module, name), mask in zip(prunable(net), ours):
                    prune.custom_from_mask(module, name, torch.from_numpy(mask))
                wanted = run_torch(net, digit_images)
                error = {"unfixed": np.abs(run_torch(unfixed, digit_images) - wanted).max()}

                out = folder / "fixed.safetensors"
                secateur(program, path, method, out)
                fixed = timm.create_model("mobilenetv4_conv_small", num_classes=10).eval()
                fixed.load_state_dict(load_file(out), strict=True)
                error["fixed"] = np.abs(run_torch(fixed, digit_images) - wanted).max()

                out = folder / "model.onnx"
                secateur(program, path, method, out)
                error["ONNX Runtime"] = np.abs(run_onnx(out, digit_images) - wanted).max()
                told = ", ".join(f"{k} {v:.1e}" for k, v in error.items())
                print(f"{path.name}, {method}: {moved} ties chosen otherwise; from the network pruned in PyTorch: {told}")
                assert error["unfixed"] == error["fixed"] == 0 and error["ONNX Runtime"] < 1e-4, path


def parts(net, part):
    """`weight_mask` or `weight_orig` of every pruned parameter."""
    pruned = [(m, n) for m in net.modules() for n in ("weight", "bias") if hasattr(m, f"{n}_mask")]
    return [getattr(m, f"{n}_{part}").detach().numpy() for m, n in pruned]


if __name__ == "__main__":
    main(sys.argv[1])
