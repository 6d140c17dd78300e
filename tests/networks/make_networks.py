#!/usr/bin/env python3
# requires: torch==2.15.0 timm==1.0.31 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 numpy
"""timm's tiny test networks, exported in three ways, with what ONNX Runtime makes of them.

    python tests/networks/make_networks.py

Writes beside itself, for every network:

    NAME_default.onnx   PyTorch's present exporter as it comes: optimised, fixed shapes
    NAME_raw.onnx       the same, not optimised, with dynamic batch and, where the network allows it, image size
    NAME_ts.onnx        TorchScript's exporter with dynamic batch
    input.npy           two images of noise, float16
    noise.bin           all large weights of all networks
    expected.npz        ONNX Runtime's outputs: NAME_WAY for both images, NAME_raw_small for their upper left corners

Weights are random, so one file of noise serves all networks: every float initializer of 256 elements or more becomes external
data that lies somewhere in noise.bin, in the part whose deviation is nearest to its own. That keeps 24 networks to 4 MB.
"""

import hashlib
import pathlib
import tempfile
import warnings

import numpy as np
import onnx
import onnxruntime
import timm
import torch

FOLDER = pathlib.Path(__file__).parent
NETWORKS = ["test_byobnet", "test_convnext", "test_efficientnet", "test_mambaout", "test_nfnet", "test_resnet", "test_vit", "test_vit3"]
SIZE, SMALL, CLASSES = 96, 64, 10
DEVIATIONS = [0.02, 0.05, 0.12, 0.3]
LENGTH = 170_000


def noise():
    rng = np.random.default_rng(0)
    return np.concatenate([rng.standard_normal(LENGTH).astype("<f4") * np.float32(d) for d in DEVIATIONS])


def share_weights(model):
    """Replaces large weights with references into noise.bin."""
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        # Masks are no weights, and a variance must stay positive.
        if values.size < 256 or not np.isfinite(values).all() or (values == 0).mean() > 0.01 or values.min() >= 0:
            continue
        assert values.size <= LENGTH, (tensor.name, values.shape)
        part = int(np.abs(np.log(DEVIATIONS) - np.log(values.std() + 1e-9)).argmin())
        name = int.from_bytes(hashlib.sha256(tensor.name.encode()).digest()[:4], "little")
        first = part * LENGTH + name % (LENGTH - values.size + 1)
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        del tensor.external_data[:]
        for key, value in [("location", "noise.bin"), ("offset", first * 4), ("length", values.size * 4)]:
            tensor.external_data.add(key=key, value=str(value))
    # Where in whose Python a node was made is most of a file and nothing to anybody else.
    for node in model.graph.node:
        kept = [p for p in node.metadata_props if p.key in ("pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy")]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)


def unsettle(module):
    """Fresh networks switch whole branches off, by zeros in their last normalisation or by tiny scales; here nothing is."""
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.weight.uniform_(0.5, 1.5)
                part.bias.normal_(0, 0.1)
                part.running_mean.normal_(0, 0.1)
                part.running_var.uniform_(0.5, 1.5)
        for name, parameter in module.named_parameters():
            if name.rpartition(".")[2] in ("gamma", "gain", "skipinit_gain"):
                parameter.uniform_(0.5, 1.5)


def exports(name, module, fixed_size):
    x = torch.randn(2, 3, SIZE, SIZE)
    names = {"input_names": ["x"], "output_names": ["logits"]}
    batch, size = torch.export.Dim.DYNAMIC, torch.export.Dim.STATIC if fixed_size else torch.export.Dim.DYNAMIC
    yield "default", {"dynamo": True, **names}, x
    yield "raw", {"dynamo": True, "optimize": False, "dynamic_shapes": ({0: batch, 2: size, 3: size},), **names}, x
    yield "ts", {"dynamo": False, "opset_version": 17, "dynamic_axes": {"x": {0: "batch"}, "logits": {0: "batch"}}, **names}, x


def run(path, x):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def main():
    warnings.filterwarnings("ignore")
    noise().tofile(FOLDER / "noise.bin")
    images = np.random.default_rng(1).standard_normal((2, 3, SIZE, SIZE)).astype(np.float16)
    np.save(FOLDER / "input.npy", images)
    images = images.astype(np.float32)
    expected = {}
    for name in NETWORKS:
        fixed_size = bool(timm.get_pretrained_cfg(name).fixed_input_size)
        torch.manual_seed(0)
        module = timm.create_model(name, num_classes=CLASSES, **({"img_size": SIZE} if fixed_size else {})).eval()
        unsettle(module)
        for way, options, x in exports(name, module, fixed_size):
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / "model.onnx"
                torch.onnx.export(module, (x,), str(path), **options)
                model = onnx.load(path)
            share_weights(model)
            path = FOLDER / f"{name}_{way}.onnx"
            onnx.save(model, path)
            expected[path.stem] = run(path, images)
            if way == "raw" and not fixed_size:
                expected[f"{path.stem}_small"] = run(path, images[:, :, :SMALL, :SMALL].copy())
            print(path.name, path.stat().st_size, np.abs(expected[path.stem]).max(), flush=True)
    np.savez_compressed(FOLDER / "expected.npz", **expected)


if __name__ == "__main__":
    main()
