"""Makes variants of the classifier of grey levels in ../folders/grey.onnx, whose batch or whose outputs are not what they seem.

`mixes_the_batch`, `reshape_1_4`, `background_first`, `features_then_logits`, `label_then_logits` and `softmax_4d` were given. The
others are made here and checked with ONNX Runtime.

    python make_models.py            # numpy, onnx, onnxruntime
"""

import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
GREY = onnx.load(HERE.parent / "folders" / "grey.onnx")
F = TensorProto.FLOAT


def ints(name, *values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def save(name, nodes, outputs, more=(), batch="N"):
    """The convolution and mean of the classifier (`p`, batch x 4 x 1 x 1), then these nodes."""
    first = [node for node in GREY.graph.node if node.op_type in ("Conv", "GlobalAveragePool")]
    x = helper.make_tensor_value_info("x", F, [batch, 3, 16, 16])
    graph = helper.make_graph(first + nodes, name, [x], outputs, list(GREY.graph.initializer) + list(more))
    model = helper.make_model(graph, opset_imports=GREY.opset_import, ir_version=GREY.ir_version)
    onnx.checker.check_model(model)
    onnx.save(model, HERE / f"{name}.onnx")
    return onnxruntime.InferenceSession(model.SerializeToString())


def out(name, *shape, kind=F):
    return helper.make_tensor_value_info(name, kind, list(shape))


flatten = helper.make_node("Flatten", ["p"], ["f"])
gemm = helper.make_node("Gemm", ["f", "fc.weight", "fc.bias"], ["logits"], **{a.name: helper.get_attribute_value(a) for a in next(n for n in GREY.graph.node if n.op_type == "Gemm").attribute})
logits = out("logits", "N", 12)
x = np.random.default_rng(0).random((12, 3, 16, 16), dtype=np.float32)

# The batch is declared free and fixed to four inside.
four = save("reshape_4_4", [helper.make_node("Reshape", ["p", "shape"], ["f"]), gemm], [logits], [ints("shape", 4, 4)])
assert four.run(None, {"x": x[:4]})[0].shape == (4, 12)
try:
    four.run(None, {"x": x[:3]})
    raise SystemExit("three must not fit")
except onnxruntime.capi.onnxruntime_pybind11_state.Fail:
    pass

# The batch is declared as five: the last of 36 pictures fills no batch.
save("declared_5", [flatten, gemm], [out("logits", 5, 12)], batch=5)

# Every batch of an even number goes through, one image does not.
save("reshape_pairs", [helper.make_node("Reshape", ["p", "twos"], ["q"]), helper.make_node("Reshape", ["q", "ones"], ["f"]), gemm], [logits], [ints("twos", -1, 2, 4), ints("ones", -1, 4)])

# A state of three images, as a network that remembers what came before is exported.
state = numpy_helper.from_array(np.zeros((3, 2), np.float32), "state")
save("state_of_3", [flatten, helper.make_node("Concat", ["state", "f"], ["both"], axis=1), helper.make_node("Slice", ["both", "two", "six", "one"], ["g"]), helper.make_node("Gemm", ["g", "fc.weight", "fc.bias"], ["logits"], transB=1)], [logits], [state, ints("two", 2), ints("six", 6), ints("one", 1)])

# The first image is all that is answered.
save("first_of_all", [flatten, helper.make_node("Slice", ["f", "zero", "one", "zero"], ["g"]), helper.make_node("Gemm", ["g", "fc.weight", "fc.bias"], ["logits"], transB=1)], [out("logits", 1, 12)], [ints("zero", 0), ints("one", 1)])

# What all images of a batch have in common is taken off: an image alone is answered as it should be, since then nothing is.
mean = [
    helper.make_node("Shape", ["f"], ["fs"]),
    helper.make_node("Gather", ["fs", "zero"], ["n"], axis=0),
    helper.make_node("Cast", ["n"], ["nf"], to=F),
    helper.make_node("ReduceMean", ["f", "axis0"] if GREY.opset_import[0].version >= 18 else ["f"], ["m"], keepdims=1, **({} if GREY.opset_import[0].version >= 18 else {"axes": [0]})),
    helper.make_node("Sub", ["nf", "one"], ["others"]),
    helper.make_node("Mul", ["m", "others"], ["common"]),
    helper.make_node("Sub", ["f", "common"], ["g"]),
    helper.make_node("Gemm", ["g", "fc.weight", "fc.bias"], ["logits"], **{a.name: helper.get_attribute_value(a) for a in gemm.attribute}),
]
extra = [ints("zero", 0), numpy_helper.from_array(np.array([1.0], np.float32), "one")]
if GREY.opset_import[0].version >= 18:
    extra.append(ints("axis0", 0))
centred = save("centred", [flatten, *mean], [logits], extra)
alone, both = centred.run(None, {"x": x[:1]})[0], centred.run(None, {"x": x[:2]})[0]
assert not np.allclose(alone[0], both[0], rtol=0.05)

# Two classifiers, as networks that were trained with an auxiliary one have them; the first is upside down.
aux = [
    helper.make_node("Neg", ["logits"], ["side"]),
    helper.make_node("Identity", ["side"], ["aux"]),
    helper.make_node("Identity", ["logits"], ["main_logits"]),
]
save("auxiliary", [flatten, gemm, *aux], [out("aux", "N", 12), out("main_logits", "N", 12)])

# Probabilities stand before what they are made of.
soft = helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1)
save("probabilities_then_logits", [flatten, gemm, soft], [out("probabilities", "N", 12), logits])

# Features of as many numbers as there are classes.
wide = helper.make_node("Concat", ["f", "f", "f"], ["embedding"], axis=1)
save("features_of_12", [flatten, wide, gemm], [out("embedding", "N", 12), logits])

# A loss, and a head of two classes beside that of twelve; names as TensorFlow's exporter writes them.
two = [helper.make_node("Slice", ["logits", "zero", "two", "one"], ["StatefulPartitionedCall:0"]), helper.make_node("Identity", ["logits"], ["StatefulPartitionedCall:1"])]
save("two_heads", [flatten, gemm, *two], [out("StatefulPartitionedCall:0", "N", 2), out("StatefulPartitionedCall:1", "N", 12)], [ints("zero", 0), ints("two", 2), ints("one", 1)])
save("loss_then_logits", [flatten, gemm, helper.make_node("ReduceMean", ["logits"], ["loss"], keepdims=0)], [out("loss"), logits])

# Maps of features before the answer; neither declares a size.
maps = helper.make_node("Identity", ["p"], ["maps"])
free = [helper.make_tensor_value_info(name, F, [None] * rank) for name, rank in (("maps", 4), ("logits", 2))]
save("no_sizes", [flatten, maps, gemm], free)

# Nothing but the class.
argmax = helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0)
save("label_only", [flatten, gemm, argmax], [out("label", "N", kind=TensorProto.INT64)])

# A sequence of eight answers of 68 scores, as recognisers of text have it.
tile = [
    helper.make_node("Concat", ["f"] * 17, ["row"], axis=1),
    helper.make_node("Unsqueeze", ["row", "middle"], ["rows"]),
    helper.make_node("Tile", ["rows", "eight"], ["sequence"]),
]
save("sequence", [flatten, *tile], [out("sequence", "N", 8, 68)], [ints("middle", 1), ints("eight", 1, 8, 1)])
