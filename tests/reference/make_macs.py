#!/usr/bin/env python3
# requires: torch==2.15.0 timm==1.0.31 numpy
"""What PyTorch says of multiply-accumulates and of 2:4 sparsity.

    python tests/reference/make_macs.py

Writes macs.json beside itself: for the demo's network at 64x64 and for the tiny networks of tests/networks on two images of 96x96
(as tests/networks/input.npy has them), the multiply-accumulates of all convolutions and linear layers, counted by forward hooks, and
the number of weights whose shape NVIDIA's ASP prunes 2:4: dimension 0 a multiple of 8 and dimension 1 of 16.
"""

import json
import pathlib

import timm
import torch

# Without test_nfnet, whose convolutions work their weights out of what the file holds, so that those are no parameters of theirs,
# and without test_vit3, of which exporters fold the linear layer of a learnt query into a constant.
TINY = "byobnet convnext efficientnet mambaout resnet vit"


def count(model, images):
    found = {"multiply_accumulates": 0, "eligible": 0}

    def hook(module, inputs, output):
        outputs = module.weight.shape[0]
        channel = 1 if isinstance(module, torch.nn.modules.conv._ConvNd) else -1
        assert output.shape[channel] == outputs
        found["multiply_accumulates"] += output.numel() // outputs * module.weight.numel()

    for module in model.modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.modules.conv._ConvNd)):
            module.register_forward_hook(hook)
            shape = module.weight.shape
            found["eligible"] += shape[0] % 8 == 0 and shape[1] % 16 == 0
    with torch.no_grad():
        model.eval()(images)
    return found


if __name__ == "__main__":
    table = {"mobilenetv4_digits": count(timm.create_model("mobilenetv4_conv_small", num_classes=10), torch.zeros(1, 3, 64, 64))}
    for name in TINY.split():
        size = {"img_size": 96} if name.startswith("vit") else {}
        table[f"test_{name}"] = count(timm.create_model(f"test_{name}", num_classes=10, **size), torch.zeros(2, 3, 96, 96))
    path = pathlib.Path(__file__).with_name("macs.json")
    path.write_text(json.dumps(table, indent=1) + "\n")
