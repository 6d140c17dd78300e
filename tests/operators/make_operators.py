"""Makes the small models of this folder, one for each group of operators, and what ONNX Runtime makes of them.

Every model has its inputs as constants of the JSON file beside it, and one output for each operator or variant of it.

    pip install onnx==1.23.2 onnxruntime==1.32.0 numpy
    python make_operators.py
"""

import json
import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
TYPES = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.int64): TensorProto.INT64, np.dtype(bool): TensorProto.BOOL,
         np.dtype(np.int32): TensorProto.INT32, np.dtype(np.uint8): TensorProto.UINT8, np.dtype(np.int8): TensorProto.INT8}


class Group:
    """A model under construction."""

    def __init__(self, name, opset=20):
        self.name, self.opset = name, opset
        self.rng = np.random.default_rng(sum(name.encode()))
        self.nodes, self.inputs, self.constants, self.outputs = [], {}, [], []

    def input(self, name, value):
        self.inputs[name] = np.asarray(value)
        return name

    def normal(self, name, *shape):
        return self.input(name, self.rng.standard_normal(shape).astype(np.float32))

    def constant(self, value):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weight(self, *shape):
        return self.constant(self.rng.standard_normal(shape).astype(np.float32))

    def node(self, op, inputs, outputs=1, **attributes):
        names = [f"{op}_{len(self.nodes)}_{i}" for i in range(outputs)]
        inputs = [i if isinstance(i, str) else self.constant(i) for i in inputs]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"{op}_{len(self.nodes)}", **attributes))
        self.outputs += names
        return names[0]

    def write(self):
        value = lambda name, v: helper.make_tensor_value_info(name, TYPES[v.dtype], v.shape)
        outputs = [onnx.ValueInfoProto(name=name) for name in self.outputs]
        graph = helper.make_graph(self.nodes, self.name, [value(n, v) for n, v in self.inputs.items()], outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10 if self.opset > 21 else 8)
        inferred = onnx.shape_inference.infer_shapes(model)
        known = {v.name: v for v in list(inferred.graph.output) + list(inferred.graph.value_info)}
        for i, name in enumerate(self.outputs):
            model.graph.output[i].CopyFrom(known[name])
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        results = session.run(self.outputs, self.inputs)
        onnx.save(model, HERE / f"{self.name}.onnx")
        entry = lambda n, v: {"name": n, "type": str(v.dtype), "shape": list(v.shape), "data": listed(v)}
        case = {"inputs": [entry(n, v) for n, v in self.inputs.items()], "outputs": [entry(n, v) for n, v in zip(self.outputs, results)]}
        (HERE / f"{self.name}.json").write_text(json.dumps(case, separators=(",", ":")) + "\n")


def listed(v):
    if v.dtype.kind == "f":
        return [float(f"{x:.7g}") if np.isfinite(x) else str(x) for x in v.flatten()]
    return v.flatten().tolist()


def activations():
    g = Group("activations")
    x = g.normal("x", 2, 3, 5)
    p = g.input("p", np.abs(g.inputs["x"]) + 0.1)
    for op in "Relu LeakyRelu Elu Selu Celu Gelu Sigmoid HardSigmoid HardSwish Mish Tanh Softplus Softsign Erf Abs Neg Exp Floor Ceil Round Sign ThresholdedRelu Sin Cos Tan Sinh Cosh Asinh Atan".split():
        g.node(op, [x])
    for op in "Sqrt Log Reciprocal".split():
        g.node(op, [p])
    g.node("Gelu", [x], approximate="tanh")
    g.node("LeakyRelu", [x], alpha=0.3)
    g.node("PRelu", [x, g.weight(3, 1)])
    g.node("Clip", [x, np.float32(-0.5), np.float32(0.7)])
    g.node("Clip", [x, "", np.float32(0.2)])
    g.node("Tanh", [g.input("large", np.array([-200.0, -20.0, 0.0, 20.0, 200.0], np.float32))])
    return g


def arithmetic():
    g = Group("arithmetic")
    a, b = g.normal("a", 2, 3, 4), g.normal("b", 3, 1)
    p = g.input("p", np.abs(g.inputs["a"]) + 0.1)
    i, j = g.input("i", np.array([[7, -7, 5], [-5, 9, 2]], np.int64)), g.input("j", np.array([3, 3, -2], np.int64))
    for op in "Add Sub Mul Div Min Max Sum Mean".split():
        g.node(op, [a, b])
    for op in "Add Sub Mul Div Mod Min Max".split():
        g.node(op, [i, j])
    for power in (0.5, 2.0, 3.0, -1.0, 1.7):
        g.node("Pow", [p, np.float32(power)])
    g.node("Pow", [a, np.float32(2.0)])
    g.node("Pow", [a, np.array([2, 3, 0, 1], np.int64)])
    g.node("Pow", [p, b])
    g.node("Mod", [a, b], fmod=1)
    for op in "Equal Less LessOrEqual Greater GreaterOrEqual".split():
        g.node(op, [a, b])
        g.node(op, [i, j])
    c = g.node("Greater", [a, np.float32(0.0)])
    d = g.node("Less", [b, np.float32(0.5)])
    for op in "And Or Xor".split():
        g.node(op, [c, d])
    g.node("Not", [c])
    g.node("Where", [c, a, b])
    g.node("Where", [c, a, np.float32(-1.0)])
    g.node("Where", [g.node("Greater", [i, j]), i, j])
    return g


def convolution():
    g = Group("convolution")
    x, line, cube = g.normal("x", 2, 4, 9, 8), g.normal("line", 2, 4, 11), g.normal("cube", 1, 2, 4, 5, 4)
    w = g.weight(6, 4, 3, 3)
    g.node("Conv", [x, w, g.weight(6)], pads=[1, 1, 1, 1])
    g.node("Conv", [x, w], strides=[2, 1], pads=[0, 2, 1, 1])
    g.node("Conv", [x, w], dilations=[2, 2], pads=[2, 2, 2, 2])
    g.node("Conv", [x, g.weight(6, 4, 1, 1)], strides=[2, 2])
    g.node("Conv", [x, g.weight(6, 2, 3, 2)], group=2)
    g.node("Conv", [x, g.weight(4, 1, 3, 3), g.weight(4)], group=4, pads=[1, 1, 1, 1], strides=[2, 2])
    g.node("Conv", [x, g.weight(8, 1, 5, 5)], group=4, pads=[2, 2, 2, 2])
    for auto in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        g.node("Conv", [x, w], auto_pad=auto, strides=[2, 2])
    g.node("Conv", [line, g.weight(5, 4, 3), g.weight(5)], pads=[1, 1], strides=[2])
    g.node("Conv", [cube, g.weight(3, 2, 2, 3, 2)], pads=[1, 1, 0, 0, 1, 1])
    t = g.weight(4, 3, 3, 3)
    g.node("ConvTranspose", [x, t, g.weight(3)], strides=[2, 2], pads=[1, 1, 1, 1])
    g.node("ConvTranspose", [x, t], strides=[2, 3], pads=[0, 1, 1, 0], output_padding=[1, 2])
    g.node("ConvTranspose", [x, t], strides=[2, 2], auto_pad="SAME_UPPER")
    g.node("ConvTranspose", [x, t], strides=[2, 2], output_shape=[19, 18])
    g.node("ConvTranspose", [x, g.weight(4, 2, 2, 2)], group=2, strides=[2, 2], dilations=[2, 1])
    g.node("ConvTranspose", [line, g.weight(4, 2, 4)], strides=[2], pads=[1, 1])
    return g


def pools():
    g = Group("pools")
    x, line, cube = g.normal("x", 2, 3, 9, 8), g.normal("line", 2, 3, 11), g.normal("cube", 1, 2, 4, 5, 4)
    for op in ("MaxPool", "AveragePool"):
        g.node(op, [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        g.node(op, [x], kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1)
        g.node(op, [x], kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])
        g.node(op, [x], kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER")
        g.node(op, [x], kernel_shape=[2, 2], dilations=[2, 2])
        g.node(op, [line], kernel_shape=[3], strides=[2])
        g.node(op, [cube], kernel_shape=[2, 2, 2])
    g.node("AveragePool", [x], kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    g.node("MaxPool", [x], outputs=2, kernel_shape=[2, 2], strides=[2, 2])
    for op in ("GlobalAveragePool", "GlobalMaxPool"):
        g.node(op, [x])
        g.node(op, [cube])
    g.node("LpPool", [x], kernel_shape=[2, 2], p=2)
    return g


def normalisations():
    g = Group("normalisations", opset=21)
    x, rows = g.normal("x", 2, 4, 5, 3), g.normal("rows", 2, 3, 6)
    positive = g.constant(np.abs(g.rng.standard_normal(4)).astype(np.float32) + 0.1)
    g.node("BatchNormalization", [x, g.weight(4), g.weight(4), g.weight(4), positive], epsilon=1e-3)
    g.node("InstanceNormalization", [x, g.weight(4), g.weight(4)])
    g.node("GroupNormalization", [x, g.weight(4), g.weight(4)], num_groups=2)
    g.node("LayerNormalization", [rows, g.weight(6), g.weight(6)])
    g.node("LayerNormalization", [rows, g.weight(6)], epsilon=1e-3)
    g.node("LayerNormalization", [x, g.weight(5, 3), g.weight(5, 3)], axis=2)
    g.node("LRN", [x], size=3)
    g.node("LpNormalization", [rows], axis=1, p=2)
    g.node("MeanVarianceNormalization", [x])
    for axis in (-1, 1):
        g.node("Softmax", [x], axis=axis)
        g.node("LogSoftmax", [x], axis=axis)
    return g


def linear():
    g = Group("linear")
    a, b = g.normal("a", 3, 4), g.normal("b", 2, 3, 4)
    g.node("Gemm", [a, g.weight(4, 5), g.weight(5)])
    g.node("Gemm", [a, g.weight(5, 4), g.weight(3, 1)], transB=1, alpha=0.5, beta=2.0)
    g.node("Gemm", [a, g.weight(3, 2)], transA=1)
    g.node("MatMul", [a, g.weight(4, 2)])
    g.node("MatMul", [b, g.weight(4, 2)])
    g.node("MatMul", [b, g.weight(2, 4, 3)])
    g.node("MatMul", [b, g.weight(5, 1, 4, 3)])
    g.node("MatMul", [b, g.weight(4)])
    g.node("MatMul", [g.weight(3), b])
    g.node("Einsum", [b, g.weight(2, 5, 4)], equation="bij,bkj->bik")
    g.node("Einsum", [a, g.weight(3, 4)], equation="ij,ij->")
    g.node("Einsum", [b], equation="bij->bj")
    g.node("Einsum", [b, g.weight(4, 6)], equation="...i,ij->...j")
    g.node("Einsum", [g.normal("q", 2, 3, 4, 5), g.weight(2, 6, 4, 5)], equation="bqhd,bkhd->bhqk")
    return g


def reductions():
    g = Group("reductions")
    x, i = g.normal("x", 2, 3, 4, 5), g.input("i", np.array([[3, 1, 3], [2, 8, 0]], np.int64))
    for op in "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSumExp ReduceSumSquare".split():
        g.node(op, [x, np.array([1, 3])])
        g.node(op, [x, np.array([-2])], keepdims=0)
        g.node(op, [x])
    for op in "ReduceSum ReduceMax ReduceMin ReduceProd".split():
        g.node(op, [i, np.array([1])])
    for op in ("ArgMax", "ArgMin"):
        g.node(op, [x], axis=2)
        g.node(op, [i], axis=1, keepdims=0)
        g.node(op, [i], axis=1, select_last_index=1)
    g.node("TopK", [x, np.array([2])], outputs=2)
    g.node("TopK", [x, np.array([3])], outputs=2, axis=2, largest=0)
    g.node("CumSum", [x, np.array(1)])
    g.node("CumSum", [i, np.array(1)], exclusive=1, reverse=1)
    return g


def shapes():
    g = Group("shapes")
    x, i = g.normal("x", 2, 3, 4), g.input("i", np.arange(24, dtype=np.int64).reshape(2, 3, 4))
    for v in (x, i):
        g.node("Reshape", [v, np.array([0, -1])])
        g.node("Flatten", [v], axis=2)
        g.node("Transpose", [v], perm=[2, 0, 1])
        g.node("Unsqueeze", [v, np.array([0, -1])])
        g.node("Expand", [v, np.array([2, 2, 3, 4])])
        g.node("Slice", [v, np.array([1, -1]), np.array([3, -9]), np.array([1, 2]), np.array([1, -2])])
        g.node("Concat", [v, v], axis=1)
        g.node("Split", [v, np.array([1, 3])], outputs=2, axis=2)
        g.node("Tile", [v, np.array([2, 1, 3])])
        g.node("Shape", [v], start=1)
        g.node("Size", [v])
        g.node("Gather", [v, np.array([[0, -1], [2, 1]])], axis=1)
        g.node("GatherElements", [v, np.array([[[0, 1, -1, 0]]])], axis=1)
        g.node("GatherND", [v, np.array([[0, 1], [1, 2]])])
        g.node("Pad", [v, np.array([0, 1, 2, 1, 0, 1])])
        g.node("Pad", [v, np.array([0, 1, 2, 0, 2, 1])], mode="reflect")
        g.node("Pad", [v, np.array([0, 1, -1, 0, 2, 1])], mode="edge")
        g.node("ScatterND", [v, np.array([[0, 1], [1, 2]]), g.node("Gather", [g.node("Reshape", [v, np.array([6, 4])]), np.array([1, 2])])])
        g.node("ScatterElements", [v, np.array([[[1, 0, 2, 1]]]), g.node("Slice", [v, np.array([0, 0]), np.array([1, 1]), np.array([0, 1])])], axis=1)
        g.node("Trilu", [v, np.array(1)])
    g.node("Squeeze", [g.node("Unsqueeze", [x, np.array([1])]), np.array([1])])
    g.node("ConstantOfShape", [np.array([2, 3])], value=numpy_helper.from_array(np.array([7], np.int64)))
    g.node("ConstantOfShape", [np.array([2])])
    g.node("Range", [np.array(9), np.array(0), np.array(-2)])
    g.node("Range", [np.float32(0), np.float32(1), np.float32(0.25)])
    g.node("Cast", [x], to=TensorProto.INT64)
    g.node("Cast", [i], to=TensorProto.FLOAT)
    g.node("Cast", [i], to=TensorProto.BOOL)
    g.node("Identity", [x])
    g.node("Dropout", [x])
    g.node("OneHot", [np.array([0, 2, -1]), np.array(4), np.array([0.0, 5.0], np.float32)])
    g.node("NonZero", [i])
    return g


def images():
    g = Group("images")
    x, deep = g.normal("x", 1, 2, 4, 5), g.normal("deep", 1, 8, 2, 3)
    for mode in ("DCR", "CRD"):
        g.node("DepthToSpace", [deep], blocksize=2, mode=mode)
    g.node("SpaceToDepth", [g.normal("even", 1, 2, 4, 6)], blocksize=2)
    up, down = np.array([1, 1, 2, 2.5], np.float32), np.array([1, 1, 0.5, 0.6], np.float32)
    for mode in ("nearest", "linear", "cubic"):
        for coordinates in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"):
            g.node("Resize", [x, "", "", np.array([1, 2, 7, 9])], mode=mode, coordinate_transformation_mode=coordinates)
        g.node("Resize", [x, "", up], mode=mode)
        g.node("Resize", [x, "", down], mode=mode)
    for nearest in ("floor", "ceil", "round_prefer_ceil"):
        g.node("Resize", [x, "", up], nearest_mode=nearest)
    g.node("Resize", [x, "", up], mode="cubic", exclude_outside=1)
    g.node("Resize", [x, "", down], mode="linear", antialias=1)
    return g


def quantised():
    g = Group("quantised")
    x = g.input("x", np.array([[-3.0, -0.5, 0.5], [1.5, 2.5, 300.0]], np.float32))
    q = g.node("QuantizeLinear", [x, np.float32(1.0), np.uint8(128)])
    g.node("DequantizeLinear", [q, np.float32(0.1), np.uint8(128)])
    q = g.node("QuantizeLinear", [x, np.array([0.5, 1.0, 2.0], np.float32), np.array([0, 1, -1], np.int8)], axis=1)
    g.node("DequantizeLinear", [q, np.array([0.5, 1.0, 2.0], np.float32), np.array([0, 1, -1], np.int8)], axis=1)
    return g


def recurrent():
    g = Group("recurrent")
    x, lengths = g.normal("x", 4, 2, 3), g.constant(np.array([4, 2], np.int32))
    for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
        count = 3 if op == "LSTM" else 2
        for directions, direction in ((1, "forward"), (1, "reverse"), (2, "bidirectional")):
            weights = [g.weight(directions, gates * 5, 3), g.weight(directions, gates * 5, 5), g.weight(directions, gates * 10)]
            g.node(op, [x, *weights], outputs=count, hidden_size=5, direction=direction)
            g.node(op, [x, *weights, lengths, g.weight(directions, 2, 5)], outputs=count, hidden_size=5, direction=direction)
    g.node("GRU", [x, g.weight(1, 15, 3), g.weight(1, 15, 5), g.weight(1, 30)], outputs=2, hidden_size=5, linear_before_reset=1)
    return g


def old():
    """Settings that later operator sets turned into inputs."""
    g = Group("old", opset=9)
    x = g.normal("x", 2, 3, 4, 4)
    g.node("Clip", [x], min=-0.5, max=0.5)
    g.node("Slice", [x], axes=[1, 2], starts=[0, -2], ends=[2, 100])
    g.node("Softmax", [x], axis=2)
    g.node("LogSoftmax", [x])
    g.node("ReduceSum", [x], axes=[1, 2], keepdims=0)
    g.node("ReduceMean", [x], axes=[-1])
    g.node("Squeeze", [g.node("Unsqueeze", [x], axes=[0, 2])], axes=[0])
    g.node("Split", [x], outputs=2, axis=1, split=[1, 2])
    g.node("Split", [x], outputs=2, axis=3)
    g.node("Pad", [x], pads=[0, 0, 1, 1, 0, 0, 0, 2], value=3.0)
    g.node("Upsample", [x, np.array([1, 1, 2, 2], np.float32)], mode="nearest")
    g.node("Upsample", [x, np.array([1, 1, 2, 2], np.float32)], mode="linear")
    g.node("Dropout", [x])
    g.node("BatchNormalization", [x, g.weight(3), g.weight(3), g.weight(3), np.array([1.0, 0.5, 2.0], np.float32)])
    return g


def transformer():
    g = Group("transformer", opset=23)
    q, k, v = g.normal("q", 2, 4, 3, 8), g.normal("k", 2, 2, 5, 8), g.normal("v", 2, 2, 5, 6)
    g.node("Attention", [q, k, v])
    g.node("Attention", [q, k, v], is_causal=1, scale=0.3)
    g.node("Attention", [q, k, v, g.weight(3, 5)], softcap=2.0)
    g.node("Attention", [q, k, v, np.array([[1, 0, 1, 1, 1], [1, 1, 0, 0, 1], [0, 1, 1, 1, 0]], bool)])
    flat = g.normal("flat", 2, 3, 12)
    g.node("Attention", [flat, flat, flat], q_num_heads=3, kv_num_heads=3)
    g.node("RMSNormalization", [q, g.weight(8)])
    g.node("RMSNormalization", [q, g.weight(3, 8)], axis=-2, epsilon=1e-3)
    return g


def absurd():
    """A model whose result is as large as its input says."""
    shape = helper.make_tensor_value_info("shape", TensorProto.INT64, ["rank"])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, None)
    model = helper.make_model(helper.make_graph([helper.make_node("ConstantOfShape", ["shape"], ["output"])], "absurd", [shape], [output]), opset_imports=[helper.make_opsetid("", 20)], ir_version=8)
    onnx.save(model, HERE / "absurd.onnx")


def long():
    """Sums over more elements than a shader loop of a software adapter has rounds; the test knows the results."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, "n"])
    names = ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceLogSumExp", "Softmax", "LayerNormalization", "dot"]
    nodes = [helper.make_node(op, ["x"], [op]) for op in names[:5]]
    nodes.append(helper.make_node("Shape", ["x"], ["shape"], start=1))
    nodes.append(helper.make_node("ConstantOfShape", ["shape"], ["ones"], value=numpy_helper.from_array(np.ones(1, np.float32))))
    nodes.append(helper.make_node("LayerNormalization", ["x", "ones"], ["LayerNormalization"]))
    nodes.append(helper.make_node("Transpose", ["x"], ["column"]))
    nodes.append(helper.make_node("MatMul", ["x", "column"], ["dot"]))
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, "n" if n in names[4:6] else 1]) for n in names]
    model = helper.make_model(helper.make_graph(nodes, "long", [x], outputs), opset_imports=[helper.make_opsetid("", 20)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, HERE / "long.onnx")


if __name__ == "__main__":
    absurd()
    long()
    for make in (activations, arithmetic, convolution, pools, normalisations, linear, reductions, shapes, images, quantised, recurrent, transformer, old):
        make().write()
