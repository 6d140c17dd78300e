"""Makes the models of this folder that no exporter writes and every reader must read, and checks that ONNX Runtime reads them.

`shared/` (two models on one data file), `hub/` (the blobs of a Hugging Face cache: a model, its data, its config; the links to them
are made by the tests) and `split_packed_field.onnx` were given. The others are `network()` in encodings that protobuf allows:
fields in several runs and pieces, values that are overruled later, unknown fields and groups, numbers longer than they need be; and with
its weights spread over data files in every way that ONNX allows.

`nested.onnx`, `functions.onnx`, `sparse.onnx` and `training.onnx` hold tensors where they are seldom looked for: in branches and bodies
that use one name for two, in local functions and the defaults of their attributes, as elements other than zero, in lists of
attributes of another domain, in graphs for training.

    python make_files.py            # numpy, onnx, onnxruntime
"""

import pathlib
import struct

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(7)
W = rng.normal(size=(4, 3)).astype(np.float32)
V = rng.normal(size=(3, 4)).astype(np.float16)


def varint(value, longer=0):
    """`longer` bytes more than it needs."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    for _ in range(longer):
        out[-1] |= 0x80
        out.append(0)
    return bytes(out)


def field(number, content, longer=0):
    return varint(number << 3 | 2, longer) + varint(len(content), longer) + content


def number(field_number, value, longer=0):
    return varint(field_number << 3) + varint(value, longer)


def group(number, content):
    return varint(number << 3 | 3) + content + varint(number << 3 | 4)


UNKNOWN = group(500, number(1, 7) + group(2, field(3, b"deep"))) + field(501, b"unknown") + varint(502 << 3 | 1) + b"8 bytes!"


def packed(values):
    return field(4, values.astype("<f4").tobytes())


def unpacked(values):
    return b"".join(varint(4 << 3 | 5) + struct.pack("<f", v) for v in values)


def dims(*shape):
    return b"".join(number(1, d) for d in shape)


def entries(*pairs):
    return b"".join(field(13, field(1, k.encode()) + field(2, v.encode())) for k, v in pairs)


def network():
    """y = (x · w) · v, without the two weights."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Cast", ["h"], ["h16"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["h16", "v"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT16, [1, 4])]
    graph = b"".join(field(1, n.SerializeToString()) for n in nodes)
    graph += field(2, b"odd") + b"".join(field(11, i.SerializeToString()) for i in inputs)
    graph += b"".join(field(12, o.SerializeToString()) for o in outputs)
    return graph


def model(graph):
    return number(1, 8) + field(2, b"make_files") + field(8, number(2, 17)) + field(7, graph)


def in_place(name, w, v):
    """A model whose weights are the messages `w` and `v`."""
    write(name, model(field(5, w) + network() + field(5, v)))


def write(name, content):
    path = HERE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def check(name):
    x = np.array([[1.0, -2.0, 0.5, 3.0]], np.float32)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(HERE / name), options, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": x})
    wanted = (x @ W).astype(np.float16) @ V
    assert np.allclose(y.astype(np.float32), wanted.astype(np.float32), atol=0.02), (name, y, wanted)


def encodings():
    flat, halves = W.ravel(), V.ravel().view(np.uint16)
    raw_w = dims(4, 3) + number(2, 1) + field(8, b"w") + field(9, W.tobytes())
    raw_v = dims(3, 4) + number(2, 10) + field(8, b"v") + field(9, V.tobytes())
    ints = lambda values, longer: field(5, b"".join(varint(int(h), longer) for h in values))
    single = lambda values, longer: b"".join(number(5, int(h), longer) for h in values)

    # Runs of both kinds, empty ones and strangers between them; halves as integers of all lengths.
    w = dims(4, 3) + packed(flat[:5]) + UNKNOWN + unpacked(flat[5:7]) + field(4, b"") + number(2, 1) + packed(flat[7:8])
    w += unpacked(flat[8:11]) + field(8, b"w") + unpacked(flat[11:])
    v = field(8, b"v") + ints(halves[:4], 0) + single(halves[4:7], 2) + number(2, 10) + dims(3, 4) + UNKNOWN + ints(halves[7:], 5)
    in_place("runs.onnx", w, v)

    # What comes later counts: of a name, a type, raw data. Dimensions in two runs, lengths longer than they need be.
    w = field(8, b"no") + number(2, 7) + field(9, b"\1" * 48) + field(1, varint(4)) + field(9, W.tobytes(), 3) + number(2, 1, 4)
    w += number(1, 3) + field(8, b"w", 2)
    in_place("overruled.onnx", w, raw_v)

    # The graph in three pieces, strangers between them.
    start = number(1, 8) + field(2, b"make_files") + UNKNOWN
    pieces = field(7, field(5, raw_w)) + field(8, number(2, 17)) + field(7, UNKNOWN + network()) + UNKNOWN + field(7, field(5, raw_v))
    write("pieces_of_a_graph.onnx", start + pieces)

    # A Constant whose tensor is given in three pieces, the attribute's other fields between them.
    tensor = [dims(3) + number(2, 1), UNKNOWN + dims(4) + field(9, b"overruled"), number(2, 10) + field(9, V.tobytes())]
    attribute = field(5, tensor[0]) + field(1, b"value") + UNKNOWN + field(5, tensor[1]) + number(20, 4) + field(5, tensor[2])
    constant = field(2, b"v") + field(4, b"Constant") + field(5, attribute)
    write("pieces_of_a_tensor.onnx", model(field(5, raw_w) + field(1, constant) + network()))
    for name in ["runs", "overruled", "pieces_of_a_graph", "pieces_of_a_tensor"]:
        check(f"{name}.onnx")


def external(shape, data_type, name, *pairs):
    return dims(*shape) + number(2, data_type) + field(8, name) + entries(*pairs) + number(14, 1)


def data_files():
    both = W.tobytes().ljust(64, b"\xaa") + V.tobytes()
    w = lambda location: external((4, 3), 1, b"w", ("location", location), ("offset", "0"), ("length", "48"))
    v = lambda location: external((3, 4), 10, b"v", ("location", location), ("offset", "64"), ("length", "24"))

    # A model above its data, and another beside them: the second one's data has a name of its own kind.
    write("folders/weights/deep.data", both)
    in_place("folders/top.onnx", w("weights/deep.data"), v("./weights/deep.data"))
    in_place("folders/weights/deep.onnx", w("deep.data"), v("./deep.data"))

    # A file for each tensor, without offsets or lengths, as onnx.save_model writes it; and one that both of two models use.
    write("each/w", W.tobytes())
    write("each/v", V.tobytes())
    in_place("each/model.onnx", external((4, 3), 1, b"w", ("location", "w")), external((3, 4), 10, b"v", ("location", "v")))
    in_place("each/half.onnx", dims(4, 3) + number(2, 1) + field(8, b"w") + field(9, W.tobytes()), external((3, 4), 10, b"v", ("location", "v")))

    # The data has the name that a save of the other one would give its own.
    write("named/first.onnx.data", both)
    in_place("named/first.onnx", w("first.onnx.data"), v("first.onnx.data"))
    in_place("named/second.onnx", w("first.onnx.data"), v("first.onnx.data"))
    for name in ["folders/top", "folders/weights/deep", "each/model", "each/half", "named/first", "named/second"]:
        check(f"{name}.onnx")


def tensor(name, *shape, mark=1.0):
    return numpy_helper.from_array((np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + 1) * mark, name)


def value(name, *shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def saved(name, graph, functions=(), domains=()):
    sets = [helper.make_opsetid("", 17)] + [helper.make_opsetid(domain, 1) for domain in domains]
    made = helper.make_model(graph, opset_imports=sets, functions=list(functions), ir_version=8, producer_name="make_files")
    (HERE / name).write_bytes(made.SerializeToString())
    return made


def hidden():
    # Both branches call their weight `w`; so does the body of a loop, which has a Constant, too, and the graph around them.
    def branch(name, mark):
        nodes = [helper.make_node("MatMul", ["x", "w"], [name + "_y"], name=name + "_fc")]
        return helper.make_graph(nodes, name, [], [value(name + "_y", 1, 3)], [tensor("w", 4, 3, mark=mark)])

    body = helper.make_graph(
        [
            helper.make_node("Constant", [], ["v"], value=tensor("v", 3, 3, mark=0.1)),
            helper.make_node("MatMul", ["s", "v"], ["t"]),
            helper.make_node("Add", ["t", "w"], ["s_out"]),
            helper.make_node("Identity", ["on"], ["on_out"]),
        ],
        "body",
        [value("i", kind=TensorProto.INT64), value("on", kind=TensorProto.BOOL), value("s", 1, 3)],
        [value("on_out", kind=TensorProto.BOOL), value("s_out", 1, 3)],
        [tensor("w", 1, 3, mark=7)],
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Greater", ["m", "zero"], ["is_large"]),
        helper.make_node("If", ["is_large"], ["a"], then_branch=branch("large", 1), else_branch=branch("small", -1)),
        helper.make_node("Loop", ["count", "", "a"], ["b"], body=body),
        helper.make_node("MatMul", ["b", "w"], ["y"], name="head"),
    ]
    constants = [tensor("w", 3, 2), numpy_helper.from_array(np.float32(0), "zero"), numpy_helper.from_array(np.int64(3), "count")]
    made = saved("nested.onnx", helper.make_graph(nodes, "nested", [value("x", 1, 4)], [value("y", 1, 2)], constants))
    onnx.checker.check_model(made)

    # A function with a weight of its own and a default that is a tensor, called twice; an operator of another domain with lists.
    inner = [
        helper.make_node("Constant", [], ["w"], value=tensor("w", 4, 4)),
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["y"]),
    ]
    layer = helper.make_function("local", "Layer", ["x"], ["y"], inner, [helper.make_opsetid("", 17)])
    layer.attribute_proto.append(helper.make_attribute("table", tensor("table", 2, 2)))
    odd = helper.make_node("Odd", ["b"], ["unused"], domain="odd", tables=[tensor("p", 2, 2), tensor("q", 1, 2)])
    nodes = [
        helper.make_node("Layer", ["x"], ["a"], domain="local"),
        helper.make_node("Layer", ["a"], ["b"], domain="local"),
        helper.make_node("MatMul", ["b", "w"], ["y"]),
    ]
    graph = helper.make_graph(nodes + [odd], "calls", [value("x", 1, 4)], [value("y", 1, 2)], [tensor("w", 4, 2)])
    saved("functions.onnx", graph, [layer], ["local", "odd"])

    # Sparse weights by position and by coordinates, and one in a Constant; a dense one after them.
    def sparse(name, shape, values, indices):
        held = numpy_helper.from_array(np.array(values, np.float32), name)
        return helper.make_sparse_tensor(held, numpy_helper.from_array(np.array(indices, np.int64), name + "_indices"), shape)

    nodes = [
        helper.make_node("MatMul", ["x", "flat"], ["a"]),
        helper.make_node("Constant", [], ["c"], sparse_value=sparse("", [3, 3], [5, 6], [0, 8])),
        helper.make_node("MatMul", ["a", "c"], ["b"]),
        helper.make_node("MatMul", ["b", "pairs"], ["d"]),
        helper.make_node("MatMul", ["d", "w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "sparse",
        [value("x", 1, 4)],
        [value("y", 1, 2)],
        [tensor("w", 3, 2)],
        sparse_initializer=[sparse("flat", [4, 3], [1, 2, 3, 4], [0, 4, 7, 11]), sparse("pairs", [3, 3], [7, 8], [[0, 1], [2, 2]])],
    )
    saved("sparse.onnx", graph)

    # Graphs for training hold weights that no forward pass uses.
    made = saved("training.onnx", helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [value("x", 1, 4)], [value("y", 1, 2)], [tensor("w", 4, 2)]))
    for mark in (3, 4):
        step = made.training_info.add()
        step.initialization.CopyFrom(helper.make_graph([helper.make_node("Constant", [], ["w0"], value=tensor("w0", 4, 2, mark=mark))], "start", [], [value("w0", 4, 2)]))
        step.algorithm.CopyFrom(helper.make_graph([], "step", [], [], [tensor("rate", 1, mark=mark)]))
    (HERE / "training.onnx").write_bytes(made.SerializeToString())


encodings()
data_files()
hidden()
