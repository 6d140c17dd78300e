#!/usr/bin/env python3
# requires: torch==2.15.0 onnx==1.23.2 onnxscript==0.7.2 numpy
"""Small networks, one for every rule by which channels fall together. Writes one .onnx beside this file for each.

    python tests/channels/make_rules.py
"""

import pathlib

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

HERE = pathlib.Path(__file__).parent
torch.manual_seed(0)
RNG = np.random.default_rng(0)


class Head(nn.Module):
    """What follows the body: an average, and a linear layer of three classes."""

    def __init__(self, body, channels, dims=2):
        super().__init__()
        self.body, self.head, self.dims = body, nn.Linear(channels, 3), dims

    def forward(self, *x):
        x = self.body(*x)
        return self.head(x.mean(tuple(range(2, 2 + self.dims))))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU())
        self.a = nn.Sequential(nn.Conv2d(12, 10, 1, bias=False), nn.BatchNorm2d(10), nn.ReLU(), nn.Conv2d(10, 12, 3, padding=1))
        self.b = nn.Conv2d(12, 12, 3, padding=1, groups=12)

    def forward(self, x):
        x = self.stem(x)
        x = torch.relu(x + self.a(x))
        return x + self.b(x)


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 5, 1), nn.Conv2d(11, 7, 1)

    def forward(self, x):
        a = torch.relu(self.a(x))
        return torch.relu(self.c(torch.cat([a, self.b(a).sigmoid()], 1)))


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.d = nn.Conv2d(3, 12, 3), nn.Conv2d(5, 6, 1), nn.Conv2d(7, 6, 1), nn.Conv2d(12, 8, 1)

    def forward(self, x):
        left, right = torch.split(torch.relu(self.a(x)), [5, 7], 1)
        x = torch.cat([self.b(left), self.c(right)], 1)
        x = torch.cat([x[:, 8:], x[:, :4], x[:, 4:8]], 1)
        return self.d(torch.relu(x))


class Shuffle(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.a, self.b, self.c = nn.Conv2d(3, 16, 3), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(16, 6, 1)

    def shuffle(self, x):
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        for conv in (self.a, self.b):
            left, right = x.chunk(2, 1)
            x = self.shuffle(torch.cat([left, torch.relu(conv(right))], 1))
        return self.c(x)


class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.down, self.up, self.b = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1), nn.Conv2d(16, 6, 1)

    def forward(self, x):
        x = nn.functional.hardswish(self.a(x))
        return self.b(x * torch.sigmoid(self.up(torch.relu(self.down(x.mean((2, 3), keepdim=True))))))


class Grouped(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 12, 1), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 8, 3, groups=4), nn.BatchNorm2d(8), nn.ReLU(),
                                  nn.Conv2d(8, 8, 1))

    def forward(self, x):
        return self.body(x)


class Multiplier(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU(), nn.Conv2d(6, 12, 3, groups=6), nn.ReLU(), nn.Conv2d(12, 5, 1))

    def forward(self, x):
        return self.body(x)


class Upwards(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 6, 2, stride=2), nn.PReLU(6),
                                  nn.ConvTranspose2d(6, 9, 3, groups=3), nn.ReLU(), nn.Conv2d(9, 4, 1))

    def forward(self, x):
        return self.body(x)


class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.a, self.b = nn.Conv2d(3, 6, 3, stride=2), nn.Linear(6 * 9, 10), nn.Linear(10, 3)

    def forward(self, x):
        return self.b(torch.relu(self.a(torch.relu(self.conv(x)).flatten(1))))


class Attention(nn.Module):
    """Two blocks with normalisation of the stream; joint and separate projections."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 12, 4, stride=4)
        self.norm1, self.qkv, self.proj = nn.LayerNorm(12), nn.Linear(12, 36), nn.Linear(12, 12)
        self.norm2, self.fc1, self.fc2 = nn.LayerNorm(12), nn.Linear(12, 20), nn.Linear(20, 12)
        self.q, self.k, self.v, self.out = nn.Linear(12, 8), nn.Linear(12, 8), nn.Linear(12, 10), nn.Linear(10, 12)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        b, n, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(b, n, 3, 3, 4).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.proj(((q * 4**-0.5) @ k.transpose(-2, -1)).softmax(-1).matmul(v).transpose(1, 2).reshape(b, n, c))
        x = x + self.fc2(nn.functional.gelu(self.fc1(self.norm2(x))))
        q, k, v = (layer(x).reshape(b, n, 2, -1).transpose(1, 2) for layer in (self.q, self.k, self.v))
        x = x + self.out((q @ k.transpose(-2, -1)).softmax(-1).matmul(v).transpose(1, 2).flatten(2))
        return x.transpose(1, 2)


class Groups(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(3, 12, 3), nn.GroupNorm(4, 12), nn.Conv2d(12, 8, 1)
        self.alone, self.c = nn.InstanceNorm2d(8, affine=True), nn.Conv2d(8, 6, 1)
        with torch.no_grad():
            for norm in (self.norm, self.alone):
                norm.weight.uniform_(0.5, 1.5)
                norm.bias.uniform_(-0.5, 0.5)

    def forward(self, x):
        return self.c(torch.relu(self.alone(self.b(torch.relu(self.norm(self.a(x)))))))


class Pixels(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 16, 1), nn.Conv2d(4, 8, 1), nn.Conv2d(32, 6, 1)

    def forward(self, x):
        x = torch.relu(self.b(nn.functional.pixel_shuffle(torch.relu(self.a(x)), 2)))
        return self.c(nn.functional.pixel_unshuffle(x, 2))


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 5, 1)

    def forward(self, x):
        x = torch.relu(self.a(x))
        return self.c(torch.relu(self.b(torch.relu(self.b(x)))))


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 9, 1), nn.Conv2d(3, 9, 3, padding=1), nn.Conv2d(9, 6, 1)

    def forward(self, x, y):
        return self.c(torch.relu(self.a(x) * self.b(y)))


class Around(nn.Module):
    """Padding, resizing, pools, picking."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 10, 3), nn.Conv2d(10, 8, 3), nn.Conv2d(4, 6, 1)
        self.register_buffer("picked", torch.tensor([6, 1, 3, 0]))

    def forward(self, x):
        x = nn.functional.pad(torch.relu(self.a(x)), (1, 1, 1, 1))
        x = nn.functional.interpolate(x, size=(12, 12), mode="bilinear")
        x = nn.functional.max_pool2d(self.b(x), 2)
        return self.c(torch.index_select(x, 1, self.picked))


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv1d(3, 8, 3), nn.BatchNorm1d(8), nn.ELU(), nn.Conv1d(8, 8, 3, groups=8), nn.GELU(), nn.Conv1d(8, 5, 1))

    def forward(self, x):
        return self.body(x)


class Volume(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv3d(3, 6, 3), nn.BatchNorm3d(6), nn.SiLU(), nn.Conv3d(6, 5, 1))

    def forward(self, x):
        return self.body(x)


class Normed(nn.Module):
    """A weight that is worked out: its outputs can go, its inputs not."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 3), nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 9, 1)), nn.Conv2d(9, 5, 1)

    def forward(self, x):
        return self.c(torch.relu(self.b(torch.relu(self.a(x)))))


def export(name, net, *shapes, dynamo=False):
    net.train()
    with torch.no_grad():
        for _ in range(3):
            net(*(torch.randn(4, *shape[1:]) for shape in shapes))
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
    net.eval()
    x = tuple(torch.randn(shape) for shape in shapes)
    path = HERE / f"{name}.onnx"
    names = ["x", "y"][: len(x)]
    if dynamo:
        torch.onnx.export(net, x, str(path), dynamo=True, opset_version=18, input_names=names, external_data=False, verbose=False)
    else:
        torch.onnx.export(net, x, str(path), dynamo=False, opset_version=17, input_names=names, output_names=["out"],
                          dynamic_axes={n: {0: "batch"} for n in names})
    print(path.name, path.stat().st_size)


def tensor(name, *shape):
    return numpy_helper.from_array((RNG.standard_normal(shape) / np.sqrt(max(1, np.prod(shape[1:])))).astype("f"), name)


def spelled():
    """By hand, in one graph: Einsum, GroupNormalization, Split with equal parts, Expand and ConstantOfShape by a length, an old Reshape."""
    n = helper.make_node
    ints = lambda name, values: numpy_helper.from_array(np.array(values, "int64"), name)
    nodes = [
        n("Shape", ["w1"], ["w1_shape"]), n("Slice", ["w1_shape", "zero", "one", "zero"], ["outs"]),
        n("ConstantOfShape", ["outs"], ["b1"]), n("Conv", ["x", "w1", "b1"], ["c1"]),
        n("GroupNormalization", ["c1", "g", "gb"], ["c2"], num_groups=4, epsilon=1e-5), n("Relu", ["c2"], ["c3"]),
        n("Split", ["c3"], ["s1", "s2"], axis=1, num_outputs=2), n("Conv", ["s1", "w2"], ["d1"]), n("Conv", ["s2", "w3"], ["d2"]),
        n("Add", ["d1", "d2"], ["d3"]), n("Transpose", ["d3"], ["d4"], perm=[0, 2, 3, 1]),
        n("Einsum", ["d4", "e"], ["d5"], equation="nhwc,cd->nhwd"), n("Add", ["d5", "eb"], ["d6"]), n("Tanh", ["d6"], ["d7"]),
        n("Reshape", ["d7", "flat"], ["d8"]), n("Gemm", ["d8", "f", "fb"], ["out"], transB=1),
    ]
    initializers = [tensor("w1", 16, 3, 3, 3), tensor("g", 16), tensor("gb", 16), tensor("w2", 6, 8, 1, 1), tensor("w3", 6, 8, 1, 1),
                    tensor("e", 6, 7), tensor("eb", 7), tensor("f", 3, 7 * 16), tensor("fb", 3), ints("zero", [0]), ints("one", [1]),
                    ints("flat", [0, 7 * 16])]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "spelled", [value("x", TensorProto.FLOAT, ["n", 3, 6, 6])], [value("out", TensorProto.FLOAT, ["n", 3])],
                              initializers, value_info=[value("c1", TensorProto.FLOAT, ["n", 16, 4, 4]), value("d5", TensorProto.FLOAT, ["n", 4, 4, 7])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, HERE / "spelled.onnx")


IMAGE = (1, 3, 8, 8)
for name, net, shapes in [
    ("residual", Head(Residual(), 12), [IMAGE]), ("dense", Head(Dense(), 7), [IMAGE]), ("parts", Head(Parts(), 8), [IMAGE]),
    ("shuffle", Head(Shuffle(), 6), [IMAGE]), ("gate", Head(Gate(), 6), [IMAGE]), ("grouped", Head(Grouped(), 8), [IMAGE]),
    ("multiplier", Head(Multiplier(), 5), [IMAGE]), ("upwards", Head(Upwards(), 4), [IMAGE]), ("flat", Flat(), [IMAGE]),
    ("attention", Head(Attention(), 12, 1), [IMAGE]), ("groups", Head(Groups(), 6), [IMAGE]), ("pixels", Head(Pixels(), 6), [IMAGE]),
    ("shared", Head(Shared(), 5), [IMAGE]), ("two", Head(Two(), 6), [IMAGE, IMAGE]), ("around", Head(Around(), 6), [IMAGE]),
    ("line", Head(Line(), 5, 1), [(1, 3, 16)]), ("volume", Head(Volume(), 5, 3), [(1, 3, 6, 6, 6)]), ("normed", Head(Normed(), 5), [IMAGE]),
]:
    export(name, net, *shapes)
for name, net, shapes in [("attention_dynamo", Head(Attention(), 12, 1), [IMAGE]), ("shuffle_dynamo", Head(Shuffle(), 6), [IMAGE]),
                          ("grouped_dynamo", Head(Grouped(), 8), [IMAGE]), ("pixels_dynamo", Head(Pixels(), 6), [IMAGE])]:
    export(name, net, *shapes, dynamo=True)
spelled()
