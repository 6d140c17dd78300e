"""Makes models of the operators that ONNX Runtime adds to ONNX's, and what ONNX Runtime makes of them.

As `make_operators.py`, whose groups these are: `fused` (com.microsoft, floats), `heads` (its attention), `integers` (small integers,
its own and ONNX's).

    pip install onnx==1.23.2 onnxruntime==1.32.0 numpy
    python make_fused.py
"""

import json

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from make_operators import HERE, TYPES, Group, listed

TYPES[np.dtype(np.float16)] = onnx.TensorProto.FLOAT16


class Fused(Group):
    def node(self, op, inputs, outputs=1, domain="com.microsoft", **attributes):
        return super().node(op, inputs, outputs, domain=domain, **attributes)

    def write(self):
        value = lambda name, v: helper.make_tensor_value_info(name, TYPES[v.dtype], v.shape)
        names = [name for node in self.nodes for name in node.output if name]
        graph = helper.make_graph(self.nodes, self.name, [value(n, v) for n, v in self.inputs.items()], [onnx.ValueInfoProto(name=n) for n in names], self.constants)
        sets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=sets, ir_version=10)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        results = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(names, self.inputs)
        del model.graph.output[:]
        model.graph.output.extend(value(n, v) for n, v in zip(names, results))
        onnx.save(model, HERE / f"{self.name}.onnx")
        entry = lambda n, v: {"name": n, "type": str(v.dtype), "shape": list(v.shape), "data": listed(v)}
        case = {"inputs": [entry(n, v) for n, v in self.inputs.items()], "outputs": [entry(n, v) for n, v in zip(names, results)]}
        (HERE / f"{self.name}.json").write_text(json.dumps(case, separators=(",", ":")) + "\n")
        print(self.name, len(names))


def fused():
    g = Fused("fused")
    x, image = g.normal("x", 2, 3, 8), g.normal("image", 2, 4, 7, 6)
    for op in ("Gelu", "FastGelu", "QuickGelu"):
        g.node(op, [x])
    g.node("QuickGelu", [x], alpha=1.0)
    g.node("FastGelu", [x, g.weight(8)])
    g.node("BiasGelu", [x, g.weight(8)])
    w = g.weight(6, 4, 3, 3)
    g.node("FusedConv", [image, w, g.weight(6)], pads=[1, 1, 1, 1], activation="Relu")
    g.node("FusedConv", [image, w, g.weight(6), g.weight(2, 6, 7, 6)], pads=[1, 1, 1, 1], activation="Relu")
    g.node("FusedConv", [image, w], strides=[2, 2], activation="Clip", activation_params=[-0.5, 0.75])
    g.node("FusedConv", [image, g.weight(4, 1, 3, 3)], group=4, activation="LeakyRelu", activation_params=[0.2])
    g.node("FusedConv", [image, w], activation="HardSigmoid", activation_params=[0.3, 0.4])
    g.node("FusedConv", [image, w], activation="Tanh")
    a = g.normal("a", 3, 8)
    for activation, settings in (("Relu", {}), ("LeakyRelu", {"activation_alpha": 0.3}), ("Elu", {"activation_alpha": 0.7})):
        g.node("FusedGemm", [a, g.weight(5, 8), g.weight(5)], transB=1, activation=activation, **settings)
    g.node("FusedMatMul", [x, g.weight(8, 5)], alpha=0.5)
    g.node("FusedMatMul", [x, g.weight(2, 5, 8)], transB=1, alpha=2.0)
    g.node("FusedMatMul", [x, g.weight(2, 3, 5)], transA=1)
    g.node("FusedMatMul", [x, g.weight(3, 8, 2)], transBatchA=1)
    g.node("SkipLayerNormalization", [x, g.normal("skip", 2, 3, 8), g.weight(8), g.weight(8), g.weight(8)], epsilon=1e-5)
    names = ["sum_0", "", "", "sum_3"]
    g.nodes.append(helper.make_node("SkipLayerNormalization", [x, g.weight(3, 8), g.weight(8), g.weight(8)], names, domain="com.microsoft", epsilon=1e-3))
    g.node("SkipSimplifiedLayerNormalization", [x, "skip", g.weight(8)], epsilon=1e-5)
    g.node("SkipSimplifiedLayerNormalization", [x, "skip", g.weight(8), g.weight(8)], epsilon=1e-5)
    g.node("SimplifiedLayerNormalization", [x, g.weight(8)], domain="", axis=-1, epsilon=1e-5)
    words = g.input("words", np.array([[3, 0, 5, 1], [2, 2, 0, 4]], np.int32))
    segments = g.input("segments", np.array([[0, 0, 1, 1], [1, 0, 0, 1]], np.int32))
    mask = g.input("mask", np.array([[1, 1, 1, 0], [1, 1, 0, 0]], np.int32))
    tables = [g.weight(6, 8), g.weight(5, 8), g.weight(2, 8), g.weight(8), g.weight(8)]
    g.node("EmbedLayerNormalization", [words, segments, *tables, mask], outputs=2, epsilon=1e-5)
    g.node("EmbedLayerNormalization", [words, "", tables[0], tables[1], "", tables[3], tables[4]], outputs=2)
    return g


def heads():
    g = Fused("heads")
    x = g.normal("x", 2, 4, 8)
    w, b = g.weight(8, 24), g.weight(24)
    g.node("Attention", [x, w, b], num_heads=2)
    g.node("Attention", [x, w, b, g.input("mask", np.array([[1, 1, 1, 0], [1, 1, 1, 1]], np.int32))], num_heads=2)
    g.node("Attention", [x, w, b, g.input("lengths", np.array([3, 2], np.int32))], num_heads=4)
    g.node("Attention", [x, w, b], num_heads=2, unidirectional=1, scale=0.3)
    g.node("Attention", [x, w, b, "", g.weight(2, 2, 2, 3, 4)], outputs=2, num_heads=2, unidirectional=1)
    g.node("Attention", [x, w, b, "", "", g.weight(2, 2, 4, 4)], num_heads=2)
    g.node("Attention", [x, g.weight(8, 20), g.weight(20)], num_heads=2, qkv_hidden_sizes=[8, 8, 4])
    q, k, v = g.normal("q", 2, 4, 8), g.normal("k", 2, 5, 8), g.normal("v", 2, 5, 8)
    g.node("MultiHeadAttention", [q, k, v], num_heads=2)
    g.node("MultiHeadAttention", [q, k, v, g.weight(24)], num_heads=2)
    g.node("MultiHeadAttention", [q, k, v, "", g.input("keys", np.array([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]], np.int32))], num_heads=2)
    g.node("MultiHeadAttention", [q, k, v, "", "", g.weight(1, 2, 4, 5)], num_heads=2, scale=0.7)
    g.node("MultiHeadAttention", [q, q, q, "", "", "", g.weight(2, 2, 3, 4), g.weight(2, 2, 3, 4)], outputs=3, num_heads=2)
    g.node("MultiHeadAttention", [q, q, q], num_heads=2, unidirectional=1)
    angles = g.rng.uniform(0, 3, (6, 2)).astype(np.float32)
    cos, sin = g.constant(np.cos(angles)), g.constant(np.sin(angles))
    places = g.input("places", np.array([[0, 1, 2, 3], [2, 3, 4, 5]]))
    for interleaved in (0, 1):
        g.node("RotaryEmbedding", [g.normal(f"turn{interleaved}", 2, 2, 4, 4), places, cos, sin], interleaved=interleaved)
        g.node("RotaryEmbedding", [x, g.input(f"from{interleaved}", np.array([1])), cos, sin], interleaved=interleaved)
    wide = g.normal("wide", 2, 4, 32)
    angles = g.rng.uniform(0, 3, (6, 8)).astype(np.float32)
    cos, sin = g.constant(np.cos(angles)), g.constant(np.sin(angles))
    new = [g.normal("new_k", 2, 4, 16), g.normal("new_v", 2, 4, 16), "", ""]
    whole = [g.input("last", np.array([3, 3], np.int32)), g.input("total", np.array(4, np.int32))]
    groups = {"outputs": 3, "num_heads": 2, "kv_num_heads": 1}
    for interleaved in (0, 1):
        g.node("GroupQueryAttention", [wide, *new, *whole, cos, sin], do_rotary=1, rotary_interleaved=interleaved, **groups)
    g.node("GroupQueryAttention", [wide, *new, *whole], local_window_size=2, softcap=5.0, **groups)
    next = [g.normal("next", 2, 1, 32), g.normal("next_k", 2, 1, 16), g.normal("next_v", 2, 1, 16), g.weight(2, 1, 3, 16), g.weight(2, 1, 3, 16)]
    g.node("GroupQueryAttention", [*next, "last", "total"], **groups)
    return g


def integers():
    g = Fused("integers")
    u8, i8 = lambda *shape: g.rng.integers(0, 256, shape).astype(np.uint8), lambda *shape: g.rng.integers(-128, 128, shape).astype(np.int8)
    a, image = g.input("a", u8(2, 3, 300)), g.input("image", u8(2, 4, 7, 6))
    s, z = (lambda v: np.float32(v)), (lambda v: np.uint8(v))
    g.node("MatMulInteger", [a, i8(300, 5)], domain="")
    g.node("MatMulInteger", [a, u8(300, 5), z(7), u8(5)], domain="")
    g.node("ConvInteger", [image, u8(6, 4, 3, 3), z(9), z(100)], domain="", pads=[1, 1, 1, 1])
    g.node("QLinearConv", [image, s(0.1), z(12), i8(6, 4, 3, 3), g.rng.uniform(0.01, 0.05, 6).astype(np.float32), np.zeros(6, np.int8), s(1.5), z(128), g.rng.integers(-9000, 9000, 6).astype(np.int32)], domain="", strides=[2, 2])
    g.node("QLinearConv", [image, s(0.1), z(12), u8(4, 1, 3, 3), s(0.03), z(120), s(0.5), z(100)], domain="", group=4)
    g.node("QLinearMatMul", [a, s(0.02), z(100), i8(300, 5), s(0.03), np.int8(3), s(0.9), z(120)], domain="")
    x = g.input("x", g.rng.standard_normal((2, 3, 4)).astype(np.float32) * 3)
    g.node("DynamicQuantizeLinear", [x], outputs=3, domain="")
    g.node("DynamicQuantizeMatMul", [x, i8(4, 5), g.rng.uniform(0.01, 0.05, 5).astype(np.float32), np.zeros(5, np.int8), g.weight(5)])
    g.node("MatMulIntegerToFloat", [a, i8(300, 5), s(0.02), s(0.01), z(120), np.int8(0), g.weight(5)])
    b = g.input("b", u8(2, 4, 7, 6))
    for op in ("QLinearAdd", "QLinearMul"):
        g.node(op, [image, s(0.1137), z(12), b, s(0.0731), z(99), s(0.4113), z(50)])
    for op, settings in (("QLinearSigmoid", {}), ("QLinearLeakyRelu", {"alpha": 0.1})):
        g.node(op, [image, s(0.05), z(128), s(0.02), z(3)], **settings)
    g.node("QLinearGlobalAveragePool", [image, s(0.05), z(12), s(0.04), z(7)], channels_last=0)
    g.node("QLinearConcat", [s(0.2), z(4), image, s(0.1), z(12), b, s(0.3), z(0)], axis=1)
    return g


if __name__ == "__main__":
    for make in (fused, heads, integers):
        make().write()
