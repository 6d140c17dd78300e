"""Small networks with one kind of layer each, what repair makes of their weights in float64, and one least-squares problem.

The two networks are gone through as `make_repair.py` does: half of every weight pruned by magnitude, layer after layer, the pruned network's
own activations as inputs. Writes NAME.onnx, `images.npy`, `repaired.npz` (NAME/TENSOR) and `fit.npz` beside this file. Of those of NAME_unbiased.onnx
the layers have no bias in the file; in `unbiased.npz` stands the one that they get, which is one of zeros before.
Needs: numpy==2.4.6 onnx==1.23.2 torch==2.15.0.
"""
import pathlib

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
random = np.random.default_rng(7)
IMAGES = random.normal(size=(24, 3, 6, 6)).astype(np.float32) + np.array([0.5, -0.2, 0.0], np.float32)[:, None, None]


def number(*shape, scale=1.0):
    return (random.normal(size=shape) * scale).astype(np.float32)


def run(nodes, parameters, x):
    """Every value, in float64."""
    values = {"x": torch.from_numpy(x).double(), **{k: torch.from_numpy(v).double() for k, v in parameters.items()}}
    for op, inputs, output, a in nodes:
        v = [values[i] for i in inputs]
        if op == "Conv":
            values[output] = F.conv2d(v[0], v[1], v[2] if len(v) > 2 else None, a.get("strides", [1, 1]), a.get("pads", [0] * 4)[:2], groups=a.get("group", 1))
        elif op == "ConvTranspose":
            values[output] = F.conv_transpose2d(v[0], v[1], v[2], a.get("strides", [1, 1]), a.get("pads", [0] * 4)[:2], groups=a.get("group", 1))
        elif op == "Gemm":
            values[output] = v[0] @ (v[1].T if a.get("transB") else v[1]) + a.get("beta", 1.0) * v[2]
        elif op == "BatchNormalization":
            values[output] = F.batch_norm(v[0], v[3], v[4], v[1], v[2], eps=1e-5)
        elif op == "LayerNormalization":
            values[output] = F.layer_norm(v[0], v[1].shape, v[1], v[2], eps=1e-5)
        else:
            values[output] = {"Relu": lambda: v[0].relu(), "MatMul": lambda: v[0] @ v[1], "Add": lambda: v[0] + v[1], "Transpose": lambda: v[0].T,
                              "GlobalAveragePool": lambda: v[0].mean((2, 3), keepdim=True), "Flatten": lambda: v[0].flatten(1)}[op]()
    return values


def repaired(nodes, dense, sites, pruned):
    """Sites: what is read, and ("rows", weight, bias, axis of the outputs or groups, beta) and the like."""
    new = {k: v.astype(np.float64) for k, v in dense.items()}
    for name in pruned:
        flat = new[name].reshape(-1)
        flat[np.abs(dense[name].reshape(-1)).argsort(kind="stable")[: round(0.5 * flat.size)]] = 0
    x = IMAGES
    for reads, kind, *what in sites:
        d, p = run(nodes, dense, x), run(nodes, new, x)
        last = d[reads[0]].dim() == 2 or kind == "norm"
        lines = lambda values: torch.cat([(values[r] if last else values[r].movedim(1, -1)).reshape(-1, values[r].shape[-1 if last else 1]) for r in reads])
        d, p = lines(d), lines(p)
        md, sd, mp, sp = d.mean(0).numpy(), d.std(0, unbiased=False).numpy(), p.mean(0).numpy(), p.std(0, unbiased=False).numpy()
        if kind == "statistics":
            mean, variance = what
            new[mean], new[variance] = mp, p.var(0, unbiased=True).numpy()
            continue
        if kind == "matched":
            # What follows has the dense network's mean and deviation.
            mean, variance = what
            ratio = sp / sd
            new[mean], new[variance] = mp - (md - dense[mean]) * ratio, (dense[variance].astype(np.float64) + 1e-5) * ratio**2 - 1e-5
            continue
        a = np.where(np.minimum(sd, sp) < 1e-6, 1.0, np.clip(sd / np.maximum(sp, 1e-12), 0.2, 5))
        if kind == "norm":
            weight, bias = what
            new[weight], new[bias] = new[weight] * a, new[bias] * a + md - a * mp
            continue
        weight, bias, order, beta = what
        if kind == "last":
            a = np.ones_like(a)
        w = new[weight]
        if order == "first":
            new[weight] = w * a.reshape(-1, *[1] * (w.ndim - 1))
        elif order == "last":
            new[weight] = w * a
        else:
            groups = w.reshape(order, w.shape[0] // order, *w.shape[1:]) * a.reshape(order, 1, w.shape[1], 1, 1)
            new[weight] = groups.reshape(w.shape)
        new[bias] = new[bias] * a + (md - a * mp) / beta
    return {k: v for k, v in new.items() if not np.array_equal(v, dense[k].astype(np.float64))}


def head(before, width):
    """Nodes and parameters of the last linear layer on images of so many channels."""
    nodes = [("GlobalAveragePool", [before], "pooled", {}), ("Flatten", ["pooled"], "flat", {}), ("Gemm", ["flat", "head.weight", "head.bias"], "y", {"transB": 1})]
    return nodes, {"head.weight": number(5, width), "head.bias": number(5)}, [(["y"], "last", "head.weight", "head.bias", "first", 1.0)]


MODELS = {}


def model(name, nodes, parameters, sites, width, before="r"):
    more, own, last = head(before, width)
    statistics = any(site[1] == "statistics" for site in sites)
    MODELS[name] = (nodes + more, {**parameters, **own}, sites + ([] if statistics else last))


def convolution(name, shape, **a):
    model(name, [("Conv", ["x", "stem.weight", "stem.bias"], "s", {}), ("Relu", ["s"], "sr", {}),
                 ("Conv", ["sr", "conv.weight", "conv.bias"], "c", a), ("Relu", ["c"], "r", {})],
          {"stem.weight": number(4, 3, 1, 1), "stem.bias": number(4), "conv.weight": number(*shape), "conv.bias": number(shape[0])},
          [(["s"], "rows", "stem.weight", "stem.bias", "first", 1.0), (["c"], "rows", "conv.weight", "conv.bias", "first", 1.0)], shape[0])


convolution("dense", (6, 4, 3, 3), strides=[2, 2], pads=[1] * 4)
convolution("grouped", (6, 2, 3, 3), group=2)
convolution("depthwise", (4, 1, 3, 3), group=4, pads=[1] * 4)
model("transposed", [("Conv", ["x", "stem.weight", "stem.bias"], "s", {}), ("Relu", ["s"], "sr", {}),
                     ("ConvTranspose", ["sr", "up.weight", "up.bias"], "c", {"strides": [2, 2], "group": 2}), ("Relu", ["c"], "r", {})],
      {"stem.weight": number(4, 3, 1, 1), "stem.bias": number(4), "up.weight": number(4, 3, 2, 2), "up.bias": number(6)},
      [(["s"], "rows", "stem.weight", "stem.bias", "first", 1.0), (["c"], "rows", "up.weight", "up.bias", 2, 1.0)], 6)
model("shared", [("Conv", ["x", "conv.weight", "conv.bias"], "a", {"pads": [1] * 4}), ("Relu", ["a"], "ar", {}),
                 ("Conv", ["ar", "conv.weight", "conv.bias"], "b", {"pads": [1] * 4}), ("Relu", ["b"], "r", {})],
      {"conv.weight": number(3, 3, 3, 3, scale=0.4), "conv.bias": number(3)}, [(["a", "b"], "rows", "conv.weight", "conv.bias", "first", 1.0)], 3)
model("normalised", [("Conv", ["x", "conv.weight"], "c", {}), ("BatchNormalization", ["c", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"], "n", {}),
                     ("Relu", ["n"], "r", {})],
      {"conv.weight": number(6, 3, 3, 3), "bn.weight": number(6), "bn.bias": number(6), "bn.running_mean": number(6), "bn.running_var": number(6) ** 2 + 1},
      [(["c"], "statistics", "bn.running_mean", "bn.running_var")], 6)


def linear(name, nodes, parameters, sites):
    flat = [("Flatten", ["x"], "f", {})]
    MODELS[name] = (flat + nodes, parameters, sites)


linear("gemm", [("Gemm", ["f", "one.weight", "one.bias"], "a", {"transB": 1}), ("Relu", ["a"], "ar", {}),
                ("Gemm", ["ar", "two.weight", "two.bias"], "b", {"beta": 0.5}), ("Relu", ["b"], "br", {}),
                ("Gemm", ["br", "head.weight", "head.bias"], "y", {"transB": 1})],
       {"one.weight": number(8, 108, scale=0.2), "one.bias": number(8), "two.weight": number(8, 6), "two.bias": number(6), "head.weight": number(5, 6), "head.bias": number(5)},
       [(["a"], "rows", "one.weight", "one.bias", "first", 1.0), (["b"], "rows", "two.weight", "two.bias", "last", 0.5), (["y"], "last", "head.weight", "head.bias", "first", 1.0)])
linear("matmul", [("MatMul", ["f", "one.weight"], "am", {}), ("Add", ["am", "one.bias"], "a", {}), ("Relu", ["a"], "ar", {}),
                  ("Transpose", ["two.weight"], "turned", {}), ("MatMul", ["ar", "turned"], "bm", {}), ("Add", ["two.bias", "bm"], "b", {}),
                  ("LayerNormalization", ["b", "ln.weight", "ln.bias"], "n", {}), ("Relu", ["n"], "br", {}), ("Gemm", ["br", "head.weight", "head.bias"], "y", {"transB": 1})],
       {"one.weight": number(108, 8, scale=0.2), "one.bias": number(8), "two.weight": number(6, 8), "two.bias": number(6), "ln.weight": number(6) + 2, "ln.bias": number(6),
        "head.weight": number(5, 6), "head.bias": number(5)},
       [(["a"], "rows", "one.weight", "one.bias", "last", 1.0), (["b"], "rows", "two.weight", "two.bias", "first", 1.0),
        (["n"], "norm", "ln.weight", "ln.bias"), (["y"], "last", "head.weight", "head.bias", "first", 1.0)])



def write(name, nodes, parameters, **more):
    made = [helper.make_node(op, inputs, [output], name=output, **a) for op, inputs, output, a in nodes]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 6, 6])
    graph = helper.make_graph(made, name, [given], [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 5])],
                              [numpy_helper.from_array(v, k) for k, v in parameters.items()])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(proto)
    onnx.save(proto, HERE / f"{name}.onnx")


def unbiased(nodes, parameters, sites):
    """The nodes as they stand in a file without biases, its parameters, those of the reference, whose biases are zeros, and what is left of the
    sites."""
    gone = {k for k in parameters if k.endswith(".bias") and not k.startswith("ln.")}
    kept, named = [], {}
    for op, inputs, output, a in nodes:
        if op == "Add" and gone & set(inputs):
            named[next(i for i in inputs if i not in gone)] = output
        else:
            kept.append((op, [i for i in inputs if i not in gone], output, a))
    kept = [(op, inputs, named.get(output, output), a) for op, inputs, output, a in kept]
    normalised = {inputs[0] for op, inputs, _, _ in nodes if op == "LayerNormalization"}
    zeros = {k: np.zeros_like(v) if k in gone else v for k, v in parameters.items()}
    return kept, {k: v for k, v in parameters.items() if k not in gone}, zeros, [site for site in sites if site[0][0] not in normalised]


expected, added = {}, {}
for name, (nodes, parameters, sites) in MODELS.items():
    write(name, nodes, parameters)
    pruned = [k for k, v in parameters.items() if v.ndim > 1]
    for tensor, values in repaired(nodes, parameters, sites, pruned).items():
        expected[f"{name}/{tensor}"] = values.astype(np.float32)
    if name == "normalised":
        continue
    kept, own, zeros, left = unbiased(nodes, parameters, sites)
    write(f"{name}_unbiased", kept, own)
    for tensor, values in repaired(nodes, zeros, left, pruned).items():
        added[f"{name}_unbiased/{tensor}"] = values.astype(np.float32)
np.savez(HERE / "unbiased.npz", **added)

# Files of other kinds, without biases: their weights beside them, an old format, names that are taken, layers in a function and in a branch.
nodes, parameters, *_ = unbiased(*MODELS["dense"])
taken = [(op, ["conv.bias" if i == "r" else i for i in inputs], "conv.bias" if output == "r" else output, a) for op, inputs, output, a in nodes]
write("taken_unbiased", taken, parameters)
proto = onnx.load(HERE / "dense_unbiased.onnx")
onnx.save(proto, HERE / "beside_unbiased.onnx", save_as_external_data=True, location="beside_unbiased.onnx.data", size_threshold=0)

weights = {"one.weight": MODELS["gemm"][1]["one.weight"].T.copy(), "two.weight": MODELS["gemm"][1]["two.weight"][:, :5].copy()}
nodes = [("Flatten", ["x"], "f"), ("MatMul", ["f", "one.weight"], "a"), ("Relu", ["a"], "r"), ("MatMul", ["r", "two.weight"], "y")]
given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [24, 3, 6, 6])]
given += [helper.make_tensor_value_info(k, TensorProto.FLOAT, v.shape) for k, v in weights.items()]
graph = helper.make_graph([helper.make_node(op, i, [o]) for op, i, o in nodes], "old", given, [helper.make_tensor_value_info("y", TensorProto.FLOAT, [24, 5])],
                          [numpy_helper.from_array(v, k) for k, v in weights.items()])
proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 6)], ir_version=3)
onnx.checker.check_model(proto)
onnx.save(proto, HERE / "old_unbiased.onnx")

standard, own = helper.make_opsetid("", 17), helper.make_opsetid("own", 1)
function = helper.make_function("own", "Layer", ["i", "w"], ["o"], [helper.make_node("Conv", ["i", "w"], ["o"])], [standard])
branch = lambda name: helper.make_graph([helper.make_node("Conv", ["c", "held.weight"], [name])], name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)])
weights = {"stem.weight": MODELS["dense"][1]["stem.weight"], "own.weight": MODELS["dense"][1]["conv.weight"], "held.weight": MODELS["dense"][1]["head.weight"][..., None, None]}
graph = helper.make_graph(
    [helper.make_node("Conv", ["x", "stem.weight"], ["s"]), helper.make_node("Layer", ["s", "own.weight"], ["c"], domain="own"),
     helper.make_node("If", ["is"], ["h"], then_branch=branch("t"), else_branch=branch("e")), helper.make_node("GlobalAveragePool", ["h"], ["p"]),
     helper.make_node("Flatten", ["p"], ["y"])], "held", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 6, 6])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 5])],
    [numpy_helper.from_array(v, k) for k, v in weights.items()] + [numpy_helper.from_array(np.array(True), "is")])
proto = helper.make_model(graph, opset_imports=[standard, own], functions=[function], ir_version=8)
onnx.checker.check_model(proto)
onnx.save(proto, HERE / "held_unbiased.onnx")

nodes, parameters, sites = MODELS["normalised"]
for tensor, values in repaired(nodes, parameters, [(reads, "matched", *what) for reads, _, *what in sites], ["conv.weight"]).items():
    expected[f"matched/{tensor}"] = values.astype(np.float32)
# The same with classes that differ from image to image: what the mean image answers is taken off.
centred = {**parameters, "head.bias": parameters["head.bias"] - run(nodes, {k: v.astype(np.float64) for k, v in parameters.items()}, IMAGES)["y"].mean(0).numpy().astype(np.float32)}
write("centred", nodes, centred)
np.save(HERE / "images.npy", IMAGES)
np.savez(HERE / "repaired.npz", **expected)

# One layer's inputs, outputs, weights and mask; what the rows become for two strengths of the pull.
x, y, w = number(200, 12) + 0.3, number(200, 3), number(3, 12)
x[:, 4] = 0
keep = random.random((3, 12)) < 0.6
keep[2] = False
fit = {"x": x, "y": y, "w": w * keep, "keep": keep.astype(np.int64)}
xc, yc = (v.astype(np.float64) - v.mean(0, dtype=np.float64) for v in (x, y))
gram, across = xc.T @ xc, xc.T @ yc
for lam in (0.01, 1.0):
    pull = lam * np.trace(gram) / 12
    rows = (w * keep).astype(np.float64)
    for o in range(3):
        s = keep[o]
        if s.any():
            rows[o, s] = np.linalg.solve(gram[np.ix_(s, s)] + pull * np.eye(s.sum()), across[s, o] + pull * rows[o, s])
    fit[f"rows_{lam}"] = rows.astype(np.float32)
np.savez(HERE / "fit.npz", **fit)
