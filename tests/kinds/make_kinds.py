"""Makes models whose weights are not where one looks, with what ONNX Runtime makes of them.

    pip install onnx==1.23.2 onnxruntime==1.32.0 numpy
    python make_kinds.py

NAME.onnx and, where ONNX Runtime runs it, the arrays `in.*` and `out.*` of NAME.npz. `sparse_conv.onnx` and `weight_norm.onnx` were
given with a bug report; only their arrays are made here.
"""

import pathlib

import numpy as np
import onnx
import onnx.reference
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
RNG = np.random.default_rng(7)
FLOAT = TensorProto.FLOAT


def weight(name, *shape):
    return numpy_helper.from_array(RNG.standard_normal(shape).astype(np.float32), name)


def constant(name, value):
    return numpy_helper.from_array(np.asarray(value), name)


def info(name, shape=None, dtype=FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), name=attributes.pop("name", op + "_" + outputs.split()[0]), **attributes)


def graph(name, nodes, inputs, outputs, weights=(), sparse=()):
    return helper.make_graph(nodes, name, inputs, outputs, list(weights), sparse_initializer=list(sparse))


def model(main, functions=(), sets=(("", 18),)):
    return helper.make_model(main, functions=list(functions), opset_imports=[helper.make_opsetid(*s) for s in sets], ir_version=10, producer_name="kinds")


def run(made, inputs):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return {o.name: v for o, v in zip(session.get_outputs(), session.run(None, inputs))}


def write(name, made, inputs=None, outputs=None):
    if made is None:
        made = onnx.load(HERE / f"{name}.onnx")
    else:
        onnx.save(made, HERE / f"{name}.onnx")
    if inputs is not None:
        outputs = outputs or run(made, inputs)
        np.savez(HERE / f"{name}.npz", **{f"in.{k}": v for k, v in inputs.items()}, **{f"out.{k}": v for k, v in outputs.items()})


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


# Graphs that nodes hold.

def branches():
    """Two branches with a weight of one name each, and one that both read from around them."""
    then = graph("then", [node("MatMul", "x w", "h", name="fc"), node("Add", "h shift", "a")], [], [info("a")], [weight("w", 4, 3)])
    other = graph("else", [node("MatMul", "x w", "h", name="fc"), node("Relu", "h", "r"), node("Sub", "r shift", "b")], [], [info("b")], [weight("w", 4, 3)])
    main = graph("branches", [node("If", "flag", "y", name="If_0", then_branch=then, else_branch=other)],
                 [info("flag", [1], TensorProto.BOOL), info("x", ["n", 4])], [info("y", ["n", 3])], [weight("shift", 3)])
    return model(main)


def rounds():
    """A loop that multiplies by a weight of its body and keeps every round; it ends when a condition does."""
    nodes = [node("MatMul", "state turn", "next"), node("Tanh", "next", "kept"), node("Identity", "kept", "out"),
             node("ReduceMax", "kept", "most", keepdims=0), node("Less", "most limit", "goes")]
    body = graph("body", nodes, [info("i", [], TensorProto.INT64), info("c", [], TensorProto.BOOL), info("state", ["n", 3])],
                 [info("goes", [], TensorProto.BOOL), info("kept", ["n", 3]), info("out", ["n", 3])], [weight("turn", 3, 3), constant("limit", np.float32(0.99))])
    main = graph("rounds", [node("Loop", "count  x", "last all", body=body, name="/layers/Loop")],
                 [info("count", [], TensorProto.INT64), info("x", ["n", 3])], [info("last", ["n", 3]), info("all", ["m", "n", 3])])
    main.node[0].input[:] = ["count", "", "x"]
    return model(main)


def scanned():
    """A recurrent cell spelled out, over the second axis and from its end; one weight within, one around."""
    nodes = [node("MatMul", "step inner", "a"), node("MatMul", "h outer", "b"), node("Add", "a b", "s"), node("Tanh", "s", "g"), node("Identity", "g", "o")]
    body = graph("cell", nodes, [info("h", [2, 3]), info("step", [2, 4])], [info("g", [2, 3]), info("o", [2, 3])], [weight("inner", 4, 3)])
    scan = node("Scan", "start x", "end all", body=body, num_scan_inputs=1, scan_input_axes=[1], scan_input_directions=[1], scan_output_axes=[1], scan_output_directions=[1])
    main = graph("scanned", [scan], [info("start", [2, 3]), info("x", [2, 5, 4])], [info("end", [2, 3]), info("all", [2, 5, 3])], [weight("outer", 3, 3)])
    return model(main)


def nested():
    """A branch in a loop in a branch, with a convolution in each and a constant that is a node; no node has a name."""
    def conv(x, w, y):
        return helper.make_node("Conv", [x, w], [y], pads=[1, 1, 1, 1])
    inner_then = graph("t", [conv("s", "k", "p")], [], [info("p")], [weight("k", 2, 2, 3, 3)])
    inner_else = graph("e", [helper.make_node("Constant", [], ["k"], value=weight("", 2, 2, 3, 3)), conv("s", "k", "p")], [], [info("p")])
    nodes = [helper.make_node("Mod", ["i", "two"], ["odd"]), helper.make_node("Cast", ["odd"], ["is_odd"], to=TensorProto.BOOL),
             helper.make_node("If", ["is_odd"], ["p"], then_branch=inner_then, else_branch=inner_else), helper.make_node("Tanh", ["p"], ["q"]), helper.make_node("Identity", ["c"], ["goes"])]
    body = graph("b", nodes, [info("i", [], TensorProto.INT64), info("c", [], TensorProto.BOOL), info("s")], [info("goes", [], TensorProto.BOOL), info("q")], [constant("two", np.int64(2))])
    loop = helper.make_node("Loop", ["three", "", "h"], ["r"], body=body)
    then = graph("then", [conv("x", "first", "h"), loop], [], [info("r")], [weight("first", 2, 2, 3, 3), constant("three", np.int64(3))])
    other = graph("else", [conv("x", "stem.weight", "o")], [], [info("o")])
    main = graph("nested", [helper.make_node("If", ["flag"], ["y"], then_branch=then, else_branch=other)],
                 [info("flag", [], TensorProto.BOOL), info("x", [1, 2, 4, 4])], [info("y", [1, 2, 4, 4])], [weight("stem.weight", 2, 2, 3, 3)])
    return model(main, sets=(("", 19),))


def foreign():
    """A graph in an attribute of a domain that nobody knows."""
    body = graph("body", [node("Conv", "a conv.weight", "b", name="conv"), node("Other", "b table", "c", domain="acme")], [info("a")], [info("c")],
                 [weight("conv.weight", 4, 2, 3, 3), weight("table", 5, 7)])
    main = graph("foreign", [node("Fuse", "x", "y", domain="acme", body=body, name="fuse")], [info("x", [1, 2, 8, 8])], [info("y")])
    return model(main, sets=(("", 18), ("acme", 1)))


def apart():
    """The same as `branches`, the weights of both branches in a file beside the model."""
    made = branches()
    data = b""
    for attribute in made.graph.node[0].attribute:
        tensor = attribute.g.initializer[0]
        entries = {"location": "apart.data", "offset": str(len(data)), "length": str(len(tensor.raw_data))}
        data += tensor.raw_data
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)
    (HERE / "apart.data").write_bytes(data)
    return made


# Local functions.

def functions():
    """One that calls another, with settings of the call and of its own; an operator set of its own; a weight within, used twice."""
    own = [helper.make_opsetid("", 12), helper.make_opsetid("acme", 1)]
    leaky = helper.make_node("LeakyRelu", ["a"], ["b"])
    leaky.attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT))
    soft = helper.make_function("acme", "Soft", ["a"], ["y"], [leaky, helper.make_node("Softmax", ["b"], ["y"])], own, attributes=["slope"])
    call = helper.make_node("Soft", ["n"], ["out"], domain="acme")
    call.attribute.append(onnx.AttributeProto(name="slope", ref_attr_name="tilt", type=onnx.AttributeProto.FLOAT))
    tilt = helper.make_attribute("tilt", 0.3)
    layer = helper.make_function("acme", "Layer", ["x", "scale"], ["out", "same"],
                                 [helper.make_node("Constant", [], ["w"], value=weight("", 4, 4)), helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Mul", ["m", "scale"], ["n"]), call, helper.make_node("Identity", ["scale"], ["same"])],
                                 own, attribute_protos=[tilt])
    nodes = [node("Layer", "x first.weight", "h s", domain="acme", name="first"), node("Layer", "h second.weight", "y t", domain="acme", name="second", tilt=-0.5), node("Softmax", "y", "z"), node("MatMul", "z head.weight", "logits")]
    main = graph("functions", nodes, [info("x", [2, 3, 4])], [info("logits"), info("s")], [weight("first.weight", 4), weight("second.weight", 4), weight("head.weight", 4, 5)])
    return model(main, [soft, layer], (("", 18), ("acme", 1)))


def called(made, x):
    """What `functions` gives. ONNX Runtime 1.32 goes by the model's operator set within functions, not by their own as ONNX says:
    before set 13 Softmax is over all axes from the second on."""
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    inner = next(n for f in made.functions for n in f.node if n.op_type == "Constant")
    turn = numpy_helper.to_array(inner.attribute[0].t)
    for name, slope in (("first.weight", 0.3), ("second.weight", -0.5)):
        n = x @ turn * weights[name]
        n = np.where(n < 0, slope * n, n).reshape(len(x), -1)
        x = (np.exp(n) / np.exp(n).sum(1, keepdims=True)).reshape(x.shape)
    last = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    return {"logits": (last @ weights["head.weight"]).astype(np.float32), "s": weights["first.weight"]}


def passing():
    """A function that gives an input on as it is, leaves one out, and holds a branch with a weight."""
    then = graph("t", [helper.make_node("MatMul", ["a", "w"], ["p"])], [], [info("p")], [weight("w", 3, 3)])
    other = graph("e", [helper.make_node("Neg", ["a"], ["p"])], [], [info("p")])
    pick = helper.make_function("acme", "Pick", ["a", "low", "flag"], ["a", "y"],
                                [helper.make_node("If", ["flag"], ["q"], then_branch=then, else_branch=other), helper.make_node("Clip", ["q", "low"], ["y"])], [helper.make_opsetid("", 18)])
    nodes = [helper.make_node("Pick", ["x", "", "flag"], ["u", "v"], domain="acme"), helper.make_node("Pick", ["v", "zero", "flag"], ["s", "w"], domain="acme"), helper.make_node("Add", ["u", "w"], ["y"])]
    main = graph("passing", nodes, [info("x", [2, 3]), info("flag", [], TensorProto.BOOL)], [info("y"), info("s")], [constant("zero", np.float32(0))])
    return model(main, [pick], (("", 18), ("acme", 1)))


def modules():
    """As PyTorch's exporter writes modules: each a function, in a domain of its own, with the weights of the main graph given to it."""
    sets = [helper.make_opsetid("", 18), helper.make_opsetid("pkg.torch.nn", 1)]
    linear = helper.make_function("pkg.torch.nn", "Linear", ["x", "weight", "bias"], ["y"], [helper.make_node("Gemm", ["x", "weight", "bias"], ["y"], transB=1)], sets)
    block = helper.make_function("pkg.torch.nn", "Mlp", ["x", "w1", "b1", "w2", "b2"], ["y"],
                                 [helper.make_node("Linear", ["x", "w1", "b1"], ["h"], domain="pkg.torch.nn", name="fc1"), helper.make_node("Relu", ["h"], ["r"]), helper.make_node("Linear", ["r", "w2", "b2"], ["m"], domain="pkg.torch.nn", name="fc2"), helper.make_node("Add", ["x", "m"], ["y"])], sets)
    names = [[f"blocks.{b}.{p}" for p in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")] for b in (0, 1)]
    nodes = [helper.make_node("Mlp", ["x", *names[0]], ["h"], domain="pkg.torch.nn", name="blocks.0"), helper.make_node("Mlp", ["h", *names[1]], ["y"], domain="pkg.torch.nn", name="blocks.1")]
    shapes = [(6, 4), (6,), (4, 6), (4,)]
    return model(graph("modules", nodes, [info("x", ["n", 4])], [info("y", ["n", 4])], [weight(n, *s) for b in names for n, s in zip(b, shapes)]), [linear, block], (("", 18), ("pkg.torch.nn", 1)))


# Sparse weights.

def sparse(name, dense, by_place):
    at = np.argwhere(dense != 0) if by_place else np.flatnonzero(dense)
    values = numpy_helper.from_array(dense[dense != 0], name)
    return helper.make_sparse_tensor(values, constant(f"{name}_indices", at.astype(np.int64)), list(dense.shape))


def holes(*shape, dtype=np.float32):
    return (normal(*shape) * (RNG.uniform(size=shape) < 0.4)).astype(dtype)


def sparse_places():
    """Places by one number for each dimension, in a linear layer; a plain layer beside it."""
    main = graph("sparse_places", [node("MatMul", "x fc.weight", "h"), node("Gemm", "h head.weight", "y", transB=1)], [info("x", ["n", 6])], [info("y", ["n", 3])],
                 [weight("head.weight", 3, 5)], [sparse("fc.weight", holes(6, 5), True)])
    return model(main)


def sparse_branch():
    """In a branch, under the name that a dense one has in the other."""
    then = graph("t", [node("MatMul", "x w", "p")], [], [info("p")], [], [sparse("w", holes(4, 4), False)])
    other = graph("e", [node("MatMul", "x w", "p")], [], [info("p")], [weight("w", 4, 4)])
    main = graph("sparse_branch", [node("If", "flag", "y", then_branch=then, else_branch=other)], [info("flag", [], TensorProto.BOOL), info("x", [2, 4])], [info("y", [2, 4])])
    return model(main)


def sparse_double():
    """Of doubles, behind a Cast; all of one kernel is zero."""
    dense = holes(2, 3, 1, 1, dtype=np.float64)
    dense[1] = 0
    main = graph("sparse_double", [node("Cast", "k", "w", to=FLOAT), node("Conv", "x w", "y")], [info("x", [1, 3, 2, 2])], [info("y", [1, 2, 2, 2])], [], [sparse("k", dense, True)])
    return model(main)


# Weights that are worked out.

def norm_parametrised():
    """As PyTorch's parametrizations name it, a linear layer."""
    names = ["fc.parametrizations.weight.original0", "fc.parametrizations.weight.original1"]
    nodes = [node("ReduceL2", f"{names[1]} axes", "n"), node("Div", f"{names[1]} n", "u"), node("Mul", f"u {names[0]}", "w"), node("Gemm", "x w fc.bias", "y", transB=1)]
    return model(graph("p", nodes, [info("x", [2, 4])], [info("y", [2, 3])], [weight(names[0], 3, 1), weight(names[1], 3, 4), weight("fc.bias", 3), constant("axes", [1])]))


def norm_spelled():
    """The norm as a root of a sum of squares, in a convolution over lines."""
    nodes = [node("Mul", "conv.weight_v conv.weight_v", "q"), node("ReduceSum", "q axes", "s"), node("Sqrt", "s", "n"), node("Div", "conv.weight_g n", "f"), node("Mul", "conv.weight_v f", "w"), node("Conv", "x w conv.bias", "y")]
    return model(graph("s", nodes, [info("x", [1, 2, 9])], [info("y")], [weight("conv.weight_v", 3, 2, 3), weight("conv.weight_g", 3, 1, 1), weight("conv.bias", 3), constant("axes", [1, 2])]))


def norm_transposed():
    """Of a transposed convolution, over all but its second axis."""
    nodes = [node("Pow", "up.weight_v two", "q"), node("ReduceSum", "q axes", "s"), node("Pow", "s half", "n"), node("Div", "up.weight_v n", "u"), node("Mul", "u up.weight_g", "w"), node("ConvTranspose", "x w", "y", strides=[2, 2])]
    return model(graph("t", nodes, [info("x", [1, 3, 3, 3])], [info("y")], [weight("up.weight_v", 3, 2, 2, 2), weight("up.weight_g", 1, 2, 1, 1), constant("axes", [0, 2, 3]), constant("two", np.float32(2)), constant("half", np.float32(0.5))]))


def standard_spelled():
    """Weight standardisation, operator by operator."""
    nodes = [node("ReduceMean", "stem.weight axes", "m"), node("Sub", "stem.weight m", "d"), node("Mul", "d d", "q"), node("ReduceMean", "q axes", "v"), node("Add", "v eps", "e"), node("Sqrt", "e", "r"), node("Div", "d r", "w"), node("Conv", "x w", "y")]
    return model(graph("s", nodes, [info("x", [1, 3, 6, 6])], [info("y")], [weight("stem.weight", 4, 3, 3, 3), constant("axes", [1, 2, 3]), constant("eps", np.float32(1e-5))]))


def standard_batch():
    """The same by a batch normalisation in training mode, as timm writes it."""
    names = "flat gain zero zero_m one_v"
    nodes = [node("Reshape", "conv.weight shape", "flat"), node("BatchNormalization", names, "n rm rv", training_mode=1, epsilon=1e-5), node("Reshape", "n back", "w"), node("Conv", "x w conv.bias", "y")]
    zero, one = np.zeros(4, np.float32), np.ones(4, np.float32)
    return model(graph("b", nodes, [info("x", [1, 3, 6, 6])], [info("y")], [weight("conv.weight", 4, 3, 3, 3), weight("conv.bias", 4), weight("gain", 4), constant("zero", zero), constant("zero_m", zero), constant("one_v", one), constant("shape", [1, 4, -1]), constant("back", [4, 3, 3, 3])]))


def standard_layer():
    """The same by a layer normalisation, a linear layer."""
    nodes = [node("LayerNormalization", "fc.weight one", "w"), node("Gemm", "x w", "y", transB=1)]
    return model(graph("l", nodes, [info("x", [2, 6])], [info("y")], [weight("fc.weight", 3, 6), constant("one", np.ones(6, np.float32))]))


def bytes_(name, *shape):
    return constant(name, RNG.integers(-128, 128, shape).astype(np.int8))


def small_mul():
    """Bytes made floats by Cast and Mul."""
    nodes = [node("Cast", "conv.weight", "f", to=FLOAT), node("Mul", "f scale", "w"), node("Conv", "x w", "y")]
    return model(graph("m", nodes, [info("x", [1, 2, 5, 5])], [info("y")], [bytes_("conv.weight", 4, 2, 3, 3), constant("scale", RNG.uniform(0.01, 0.05, (4, 1, 1, 1)).astype(np.float32))]))


def small_zero():
    """With a zero point, turned, in a product of matrices."""
    nodes = [node("Cast", "fc.weight", "f", to=FLOAT), node("Sub", "f zero", "d"), node("Mul", "d scale", "s"), node("Transpose", "s", "w"), node("MatMul", "x w", "y")]
    return model(graph("z", nodes, [info("x", [2, 5])], [info("y")], [constant("fc.weight", RNG.integers(0, 256, (3, 5)).astype(np.uint8)), constant("zero", np.float32(120)), constant("scale", np.float32(0.02))]))


def small_div():
    """Divided by a scale in half precision, behind a Cast."""
    nodes = [node("Cast", "fc.weight", "f", to=TensorProto.FLOAT16), node("Div", "f scale", "h"), node("Cast", "h", "w", to=FLOAT), node("Gemm", "x w", "y")]
    return model(graph("d", nodes, [info("x", [2, 5])], [info("y")], [bytes_("fc.weight", 5, 3), constant("scale", np.float16(32))]))


def quant(x, scale, bits, signed=1, narrow=0):
    high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
    low = -(2 ** (bits - 1)) + narrow if signed else 0
    return np.clip(np.round(x / scale), low, high) * scale


def quantised(name, domain, bits):
    """Brevitas and QONNX: floats that are made small and floats again at every pass."""
    def make():
        nodes = [node("Quant", "conv.weight scale zero bits", "w", domain=domain, signed=1, narrow=1, rounding_mode="ROUND"), node("Conv", "x w", "c"), node("Quant", "c act zero bits", "y", domain=domain, signed=1, narrow=0, rounding_mode="ROUND")]
        main = graph(name, nodes, [info("x", [1, 2, 5, 5])], [info("y", [1, 4, 3, 3])],
                     [weight("conv.weight", 4, 2, 3, 3), constant("scale", np.full((4, 1, 1, 1), 0.5, np.float32)), constant("act", np.float32(0.25)), constant("zero", np.float32(0)), constant("bits", np.float32(bits))])
        made, x = model(main, sets=(("", 18), (domain, 1))), normal(1, 2, 5, 5)
        w = numpy_helper.to_array(main.initializer[0])
        plain = model(graph("c", [node("Conv", "x w", "c")], [info("x", [1, 2, 5, 5])], [info("c")], [constant("w", quant(w, 0.5, bits, narrow=1).astype(np.float32))]))
        write(name, made, {"x": x}, {"y": quant(run(plain, {"x": x})["c"], 0.25, bits).astype(np.float32)})
    return make


def quantised_onnx():
    """Floats through QuantizeLinear and back, as training for small numbers writes them."""
    nodes = [node("QuantizeLinear", "fc.weight scale zero", "q", axis=0), node("DequantizeLinear", "q scale zero", "w", axis=0), node("Gemm", "x w fc.bias", "y", transB=1)]
    return model(graph("q", nodes, [info("x", [2, 6])], [info("y")], [weight("fc.weight", 3, 6), weight("fc.bias", 3), constant("scale", np.array([0.01, 0.02, 0.03], np.float32)), constant("zero", np.zeros(3, np.int8))]))


def scaled():
    """Times a number, as an equalised learning rate writes it."""
    nodes = [node("Mul", "to_rgb.weight rate", "w"), node("Conv", "x w to_rgb.bias", "y")]
    return model(graph("s", nodes, [info("x", [1, 4, 3, 3])], [info("y")], [weight("to_rgb.weight", 3, 4, 1, 1), weight("to_rgb.bias", 3), constant("rate", np.float32(0.5))]))


def adapted():
    """A low-rank adapter that was not merged."""
    nodes = [node("MatMul", "lora_B lora_A", "d"), node("Mul", "d alpha", "s"), node("Add", "fc.weight s", "w"), node("Gemm", "x w", "y", transB=1)]
    return model(graph("a", nodes, [info("x", [2, 6])], [info("y")], [weight("fc.weight", 5, 6), weight("lora_A", 2, 6), weight("lora_B", 5, 2), constant("alpha", np.float32(0.5))]))


def positions():
    """What only looks like it: a table of angles, worked out from a vector, times places."""
    nodes = [node("Unsqueeze", "freq axes", "f"), node("Expand", "f wide", "e"), node("MatMul", "e x", "a"), node("Cos", "a", "y")]
    return model(graph("p", nodes, [info("x", [1, 1, 4])], [info("y")], [weight("freq", 8), constant("axes", [0, 2]), constant("wide", [1, 8, 1])]))


# The same kinds in other shapes.

def calls_turning():
    """A loop in a function, which calls another one; the weight comes from the main graph."""
    sets = [helper.make_opsetid("", 18), helper.make_opsetid("acme", 1)]
    body = graph("turn", [helper.make_node("Layer", ["state", "w"], ["next"], domain="acme"), helper.make_node("Identity", ["next"], ["kept"]), helper.make_node("Identity", ["c"], ["goes"])],
                 [info("i", [], TensorProto.INT64), info("c", [], TensorProto.BOOL), info("state")], [info("goes", [], TensorProto.BOOL), info("next"), info("kept")])
    layer = helper.make_function("acme", "Layer", ["a", "w"], ["y"], [helper.make_node("MatMul", ["a", "w"], ["m"]), helper.make_node("Tanh", ["m"], ["y"])], sets[:1])
    turns = helper.make_function("acme", "Turns", ["x", "w"], ["last", "all"], [helper.make_node("Constant", [], ["n"], value=constant("", np.int64(3))), helper.make_node("Loop", ["n", "", "x"], ["last", "all"], body=body)], sets)
    main = graph("calls_turning", [helper.make_node("Turns", ["x", "rnn.weight"], ["y", "all"], domain="acme", name="rnn")], [info("x", [2, 3])], [info("y"), info("all")], [weight("rnn.weight", 3, 3)])
    return model(main, [layer, turns], (("", 18), ("acme", 1)))


def squeezed():
    """A branch without weights, as PyTorch's `squeeze` is written where a size is not known, between two convolutions."""
    then = graph("t", [node("Squeeze", "h last", "s"), node("Unsqueeze", "s last", "u")], [], [info("u")])
    other = graph("e", [node("Identity", "h", "k")], [], [info("k")])
    nodes = [node("Conv", "x first.weight", "h"), node("Shape", "h", "shape"), node("Gather", "shape last", "size"), node("Equal", "size one", "is_one"), node("If", "is_one", "m", then_branch=then, else_branch=other), node("Conv", "m second.weight", "y")]
    return model(graph("s", nodes, [info("x", [1, 2, 3, 3])], [info("y")], [weight("first.weight", 4, 2, 3, 3), weight("second.weight", 2, 4, 1, 1), constant("last", [3]), constant("one", [1])]))


def sparse_constant():
    """In a node, by places; dense and sparse layers in turn, and a bias by number."""
    nodes = [helper.make_node("Constant", [], ["held"], sparse_value=sparse("", holes(4, 4), True)), node("MatMul", "x held", "h"), node("Gemm", "h fc.weight fc.bias", "y")]
    return model(graph("c", nodes, [info("x", [2, 4])], [info("y")], [weight("fc.weight", 4, 3)], [sparse("fc.bias", np.array([0, 1.5, 0], np.float32), False)]))


def sparse_turns():
    """In the body of a loop; and one without an element that is not zero."""
    body = graph("b", [node("MatMul", "s w", "o"), node("Identity", "c", "goes")], [info("i", [], TensorProto.INT64), info("c", [], TensorProto.BOOL), info("s")], [info("goes", [], TensorProto.BOOL), info("o")], [], [sparse("w", holes(3, 3), False)])
    loop = node("Loop", "count x", "h", body=body, name="turns")
    loop.input[:] = ["count", "", "x"]
    return model(graph("t", [loop, node("MatMul", "h none", "z"), node("Add", "h z", "y")], [info("x", [2, 3])], [info("y")], [constant("count", np.int64(2))], [sparse("none", np.zeros((3, 3), np.float32), False)]))


def norm_called():
    """In a local function that two layers call."""
    own = [helper.make_opsetid("", 17)]
    nodes = [helper.make_node("ReduceL2", ["v"], ["n"], axes=[1]), helper.make_node("Div", ["v", "n"], ["u"]), helper.make_node("Mul", ["u", "g"], ["w"]), helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)]
    layer = helper.make_function("acme", "Normed", ["x", "v", "g"], ["y"], nodes, own)
    calls = [helper.make_node("Normed", ["x", "a.weight_v", "a.weight_g"], ["h"], domain="acme", name="a"), helper.make_node("Normed", ["h", "b.weight_v", "b.weight_g"], ["y"], domain="acme", name="b")]
    return model(graph("n", calls, [info("x", [2, 4])], [info("y")], [weight("a.weight_v", 3, 4), weight("a.weight_g", 3, 1), weight("b.weight_v", 2, 3), weight("b.weight_g", 2, 1)]), [layer], (("", 17), ("acme", 1)))


def spectral():
    """Divided by its largest singular value, as spectral normalisation estimates it."""
    nodes = [node("MatMul", "fc.weight_orig fc.weight_v", "wv"), node("Mul", "fc.weight_u wv", "p"), node("ReduceSum", "p", "s", keepdims=0), node("Div", "fc.weight_orig s", "w"), node("Gemm", "x w fc.bias", "y", transB=1)]
    return model(graph("s", nodes, [info("x", [2, 4])], [info("y")], [weight("fc.weight_orig", 3, 4), weight("fc.weight_u", 3), weight("fc.weight_v", 4), weight("fc.bias", 3)]))


def binary():
    """Signs of a weight, times the mean of its magnitudes."""
    nodes = [node("Sign", "conv.weight", "s"), node("Abs", "conv.weight", "a"), node("ReduceMean", "a axes", "m"), node("Mul", "s m", "w"), node("Conv", "x w", "y")]
    return model(graph("b", nodes, [info("x", [1, 2, 5, 5])], [info("y")], [weight("conv.weight", 3, 2, 3, 3), constant("axes", [1, 2, 3])]))


def symmetric():
    """A triangle and its mirror image, by a parametrisation."""
    nodes = [node("Trilu", "fc.parametrizations.weight.original", "t"), node("Transpose", "t", "o"), node("Add", "t o", "w"), node("Gemm", "x w", "y", transB=1)]
    return model(graph("s", nodes, [info("x", [2, 4])], [info("y")], [weight("fc.parametrizations.weight.original", 4, 4)]))


def masked():
    """Pruned by PyTorch and exported before `prune.remove`."""
    nodes = [node("Mul", "fc.weight_orig fc.weight_mask", "w"), node("Gemm", "x w fc.bias", "y", transB=1)]
    return model(graph("m", nodes, [info("x", [2, 4])], [info("y")], [weight("fc.weight_orig", 3, 4), constant("fc.weight_mask", (np.arange(12).reshape(3, 4) % 3 > 0).astype(np.float32)), weight("fc.bias", 3)]))


def looked_up():
    """Four values, and which of them every element is."""
    nodes = [node("Gather", "values codes", "w"), node("Gemm", "x w", "y", transB=1)]
    return model(graph("l", nodes, [info("x", [2, 4])], [info("y")], [weight("values", 4), constant("codes", RNG.integers(0, 4, (3, 4)))]))


def small_table():
    """Words as bytes, made floats after they are looked up, as ONNX Runtime's quantisation leaves them."""
    nodes = [node("Gather", "words.weight ids", "e"), node("Cast", "e", "f", to=FLOAT), node("Mul", "f scale", "d"), node("MatMul", "d fc.weight", "y")]
    return model(graph("t", nodes, [info("ids", [2, 3], TensorProto.INT64)], [info("y")], [bytes_("words.weight", 10, 4), constant("scale", np.float32(0.1)), weight("fc.weight", 4, 3)]))


def chosen():
    """A weight that is one of two, by a branch that gives it; one of them is turned there."""
    then = graph("t", [node("Identity", "fc.weight", "a")], [], [info("a")])
    other = graph("e", [node("Transpose", "w", "b")], [], [info("b")], [weight("w", 4, 3)])
    nodes = [node("If", "flag", "chosen", then_branch=then, else_branch=other), node("Gemm", "x chosen", "y", transB=1)]
    return model(graph("c", nodes, [info("flag", [], TensorProto.BOOL), info("x", [2, 4])], [info("y")], [weight("fc.weight", 3, 4)]))


def blocked():
    """A convolution as ONNX Runtime lays it out for one processor."""
    nodes = [node("ReorderInput", "x", "b", domain="com.microsoft.nchwc"), node("Conv", "b conv.weight conv.bias", "c", domain="com.microsoft.nchwc", kernel_shape=[1, 1]), node("ReorderOutput", "c", "y", domain="com.microsoft.nchwc", channels=4)]
    return model(graph("b", nodes, [info("x", [1, 8, 3, 3])], [info("y")], [weight("conv.weight", 8, 8, 1, 1), weight("conv.bias", 8)]), sets=(("", 18), ("com.microsoft.nchwc", 1)))


def put_together():
    """A weight of three, one of a part, and a matrix that a convolution takes for points."""
    nodes = [node("Concat", "q.weight k.weight v.weight", "qkv", axis=0), node("Gemm", "x qkv", "h", transB=1), node("Slice", "out_proj.weight start end", "part"), node("Gemm", "h part", "o", transB=1), node("Unsqueeze", "o places", "i"), node("Unsqueeze", "points.weight places", "w"), node("Conv", "i w", "y", kernel_shape=[1, 1])]
    return model(graph("p", nodes, [info("x", [2, 4])], [info("y")], [*(weight(f"{n}.weight", 2, 4) for n in "qkv"), weight("out_proj.weight", 5, 6), weight("points.weight", 2, 3), constant("start", [1]), constant("end", [4]), constant("places", [2, 3])]))


# Networks in training mode.

def dropout_training():
    """Of a constant."""
    nodes = [node("Gemm", "x fc.weight", "h", transB=1), node("Dropout", "h half yes", "d m"), node("Relu", "d", "y")]
    return model(graph("d", nodes, [info("x", [2, 4])], [info("y", [2, 3])], [weight("fc.weight", 3, 4), constant("half", np.float32(0.5)), constant("yes", True)]))


def dropout_worked_out():
    """Of a mode that is given."""
    nodes = [node("Gemm", "x fc.weight", "h", transB=1), node("Dropout", "h  mode", "d")]
    nodes[1].input[:] = ["h", "", "mode"]
    return model(graph("d", nodes, [info("x", [2, 4]), info("mode", [], TensorProto.BOOL)], [info("d", [2, 3])], [weight("fc.weight", 3, 4)]))


def batch_training():
    """A batch normalisation that goes by what it is shown."""
    nodes = [node("Conv", "x conv.weight", "c"), node("BatchNormalization", "c bn.weight bn.bias bn.mean bn.var", "y m v", training_mode=1)]
    return model(graph("b", nodes, [info("x", [2, 2, 4, 4])], [info("y")], [weight("conv.weight", 3, 2, 1, 1), weight("bn.weight", 3), weight("bn.bias", 3), weight("bn.mean", 3), constant("bn.var", np.ones(3, np.float32))]))


def scanned_batch():
    """As operator set 8 has it: a batch, each of its elements of a length of its own, from the end."""
    nodes = [node("MatMul", "step inner", "a"), node("Add", "h a", "s"), node("Tanh", "s", "g"), node("Neg", "g", "o")]
    body = graph("cell", nodes, [info("h", [3]), info("step", [4])], [info("g", [3]), info("o", [3])], [weight("inner", 4, 3)])
    scan = node("Scan", "lengths start x", "end all", body=body, num_scan_inputs=1, directions=[1])
    inputs = [info("lengths", [3], TensorProto.INT64), info("start", [3, 3]), info("x", [3, 5, 4])]
    return model(graph("scanned_batch", [scan], inputs, [info("end", [3, 3]), info("all", [3, 5, 3])]), sets=(("", 8),))


def products():
    """Weights in sums of products: a linear layer either way round with its bias, experts, heads with theirs and back, a scale."""
    def einsum(inputs, output, equation):
        return node("Einsum", inputs, output, equation=equation)
    nodes = [einsum("x up.weight", "a", "bti,ij->btj"), node("Add", "a up.bias", "h"), einsum("down.weight h", "d", "ij,...j->...i"),
             einsum("d experts.weight", "e", "btd,edf->ebtf"), node("ReduceMean", "e", "m", axes=[0], keepdims=0), einsum("m query.weight", "q", "btd,dhk->bthk"),
             node("Add", "q query.bias", "r"), einsum("r gain", "s", "bthk,hk->bthk"), einsum("s out.weight", "y", "bthk,hkd->btd")]
    weights = [weight("up.weight", 4, 6), weight("up.bias", 6), weight("down.weight", 4, 6), weight("experts.weight", 3, 4, 4), weight("query.weight", 4, 2, 3), weight("query.bias", 2, 3), weight("gain", 2, 3), weight("out.weight", 2, 3, 4)]
    return model(graph("products", nodes, [info("x", [1, 2, 4])], [info("y")], weights), sets=(("", 17),))


def norm_whole():
    """By the norm of the whole weight: one number in place of it, as `dim=None` has it."""
    nodes = [node("ReduceL2", "fc.weight_v", "n", keepdims=0), node("Div", "fc.weight_v n", "u"), node("Mul", "fc.weight_g u", "w"), node("Gemm", "x w fc.bias", "y", transB=1)]
    return model(graph("w", nodes, [info("x", [2, 4])], [info("y", [2, 3])], [weight("fc.weight_g"), weight("fc.weight_v", 3, 4), weight("fc.bias", 3)]))


def half_bytes(typed):
    """Weights of four bits, with and without a sign, an odd number of them; in bytes or in numbers of 32 bits."""
    def packed(name, dtype, values):
        tensor = helper.make_tensor(name, dtype, values.shape, values.flatten())
        if not typed:
            tensor.raw_data = bytes(tensor.int32_data)
            tensor.ClearField("int32_data")
        return tensor
    signed, unsigned = RNG.integers(-8, 8, (5, 3)), RNG.integers(0, 16, (3, 3))
    nodes = [node("DequantizeLinear", "first.weight fine", "a"), node("MatMul", "x a", "h"), node("DequantizeLinear", "second.weight fine middle", "b"), node("MatMul", "h b", "y")]
    weights = [packed("first.weight", TensorProto.INT4, signed), packed("second.weight", TensorProto.UINT4, unsigned), helper.make_tensor("middle", TensorProto.UINT4, [], [7]), constant("fine", np.float32(0.125))]
    return model(graph("half_bytes", nodes, [info("x", [2, 5])], [info("y", [2, 3])], weights), sets=(("", 21),))


def zip_map():
    """Probabilities under the names of their classes, as tools for classical models and image services export them."""
    nodes = [node("MatMul", "x fc.weight", "h"), node("Softmax", "h", "p"), node("ZipMap", "p", "probabilities", domain="ai.onnx.ml", classlabels_strings=["ant", "bee", "cat"])]
    kind = helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(FLOAT, [])))
    output = helper.make_value_info("probabilities", kind)
    return model(graph("zip_map", nodes, [info("x", [2, 4])], [output], [weight("fc.weight", 4, 3)]), sets=(("", 18), ("ai.onnx.ml", 1)))


def held():
    """Everything in nodes, as PaddlePaddle exports it: a weight, a bias that is given a shape and one of one number, and settings."""
    def held_by(name, array):
        return helper.make_node("Constant", [], [name], value=constant("", array))
    nodes = [held_by("conv.w_0", normal(1, 2, 2, 2)), held_by("conv.b_0", normal(1)), held_by("shift.b_0", normal(3)), held_by("shape", np.array([1, 1, 1, 3])), held_by("two", np.float32(2)),
             node("Conv", "x conv.w_0", "c"), node("Reshape", "conv.b_0 one", "b"), node("Add", "c b", "d"), node("Reshape", "shift.b_0 shape", "s"), node("Add", "d s", "e"), node("Pow", "e two", "y")]
    nodes.insert(5, held_by("one", np.array([1, 1, 1, 1])))
    return model(graph("held", nodes, [info("x", [1, 2, 4, 4])], [info("y")]))


def main():
    yes, no = np.array(True), np.array(False)
    write("branches", branches(), {"flag": np.array([True]), "x": normal(2, 4)})
    write("branches_else", branches(), {"flag": np.array([False]), "x": normal(2, 4)})
    write("rounds", rounds(), {"count": np.array(5), "x": normal(2, 3) * 0.1})
    write("scanned", scanned(), {"start": normal(2, 3), "x": normal(2, 5, 4)})
    write("nested", nested(), {"flag": yes, "x": normal(1, 2, 4, 4)})
    write("foreign", foreign())
    write("apart", apart())
    made, x = functions(), normal(2, 3, 4)
    write("functions", made, {"x": x}, called(made, x))
    write("modules", modules(), {"x": normal(2, 4)})
    made, inputs = passing(), {"x": normal(2, 3), "flag": yes}
    # ONNX Runtime 1.32 refuses a call that leaves an input out.
    write("passing", made, inputs, dict(zip(["y", "s"], onnx.reference.ReferenceEvaluator(made).run(None, inputs))))
    for name in ("sparse_conv", "weight_norm"):
        write(name, None, {"x": normal(2, 3, 16, 16)})
    write("sparse_places", sparse_places(), {"x": normal(2, 6)})
    write("sparse_branch", sparse_branch(), {"flag": yes, "x": normal(2, 4)})
    write("sparse_double", sparse_double(), {"x": normal(1, 3, 2, 2)})
    for name, made, inputs in [
        ("norm_parametrised", norm_parametrised(), {"x": normal(2, 4)}), ("norm_spelled", norm_spelled(), {"x": normal(1, 2, 9)}),
        ("norm_transposed", norm_transposed(), {"x": normal(1, 3, 3, 3)}), ("standard_spelled", standard_spelled(), {"x": normal(1, 3, 6, 6)}),
        ("standard_batch", standard_batch(), {"x": normal(1, 3, 6, 6)}), ("standard_layer", standard_layer(), {"x": normal(2, 6)}),
        ("small_mul", small_mul(), {"x": normal(1, 2, 5, 5)}), ("small_zero", small_zero(), {"x": normal(2, 5)}), ("small_div", small_div(), {"x": normal(2, 5)}),
        ("quantised_onnx", quantised_onnx(), {"x": normal(2, 6)}), ("scaled", scaled(), {"x": normal(1, 4, 3, 3)}), ("adapted", adapted(), {"x": normal(2, 6)}),
        ("positions", positions(), {"x": normal(1, 1, 4)})]:
        write(name, made, inputs)
    for name, domain, bits in [("quantised_brevitas", "onnx.brevitas", 4), ("quantised_qonnx", "qonnx.custom_op.general", 3), ("quantised_finn", "finn.custom_op.general", 8)]:
        quantised(name, domain, bits)()
    for name, made, inputs in [("dropout_training", dropout_training(), {"x": normal(2, 4)}), ("dropout_worked_out", dropout_worked_out(), {"x": normal(2, 4), "mode": yes})]:
        plain = onnx.ModelProto()
        plain.CopyFrom(made)
        at = next(i for i, n in enumerate(plain.graph.node) if n.op_type == "Dropout")
        del plain.graph.node[at].input[1:]
        write(name, made, inputs, run(plain, inputs))
    write("batch_training", batch_training())
    for name, made, inputs in [
        ("calls_turning", calls_turning(), {"x": normal(2, 3)}), ("squeezed", squeezed(), {"x": normal(1, 2, 3, 3)}),
        ("sparse_constant", sparse_constant(), {"x": normal(2, 4)}), ("sparse_turns", sparse_turns(), {"x": normal(2, 3)}),
        ("norm_called", norm_called(), {"x": normal(2, 4)}), ("spectral", spectral(), {"x": normal(2, 4)}), ("binary", binary(), {"x": normal(1, 2, 5, 5)}),
        ("symmetric", symmetric(), {"x": normal(2, 4)}), ("masked", masked(), {"x": normal(2, 4)}), ("looked_up", looked_up(), {"x": normal(2, 4)}),
        ("small_table", small_table(), {"ids": np.array([[1, 2, 3], [9, 0, 4]])}), ("put_together", put_together(), {"x": normal(2, 4)}),
        ("chosen", chosen(), {"flag": no, "x": normal(2, 4)})]:
        write(name, made, inputs)
    write("blocked", blocked())
    write("scanned_batch", scanned_batch(), {"lengths": np.array([3, 5, 1]), "start": normal(3, 3), "x": normal(3, 5, 4)})
    write("products", products(), {"x": normal(1, 2, 4)})
    write("norm_whole", norm_whole(), {"x": normal(2, 4)})
    write("half_bytes", half_bytes(False), {"x": normal(2, 5)})
    write("half_bytes_typed", half_bytes(True), {"x": normal(2, 5)})
    write("held", held(), {"x": normal(1, 2, 4, 4)})
    made, inputs = zip_map(), {"x": normal(2, 4)}
    rows = run(made, inputs)["probabilities"]
    write("zip_map", made, inputs, {"probabilities": np.array([[row[name] for name in ("ant", "bee", "cat")] for row in rows], np.float32)})


if __name__ == "__main__":
    main()
