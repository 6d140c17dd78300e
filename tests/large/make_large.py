"""Makes a large ONNX model with external data: MATMULS float32 weights of 2048x2048, 16 MiB each, from a fixed seed.

    python make_large.py FOLDER [MATMULS]      # 90 by default: 1.5 GB; 270 make more than 4 GiB

Needs numpy==2.4.6 and onnx==1.23.2. Every weight is a bell of its own width. The model is FOLDER/large.onnx, its weights lie in
FOLDER/large.onnx.data. Then, with the memory that it took at most:

    /usr/bin/time -v secateur prune FOLDER/large.onnx --method global --amount 0.5 -o FOLDER/pruned.onnx --device cpu
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

SIDE = 2048


def main() -> None:
    folder, matmuls = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 90
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(7)
    nodes, weights = [], []
    with (folder / "large.onnx.data").open("wb") as data:
        for i in range(matmuls):
            weight = TensorProto(name=f"layers.{i}.weight", data_type=TensorProto.FLOAT, dims=[SIDE, SIDE])
            weight.data_location = TensorProto.EXTERNAL
            entries = {"location": "large.onnx.data", "offset": data.tell(), "length": SIDE * SIDE * 4}
            for key, value in entries.items():
                weight.external_data.add(key=key, value=str(value))
            data.write((random.standard_normal((SIDE, SIDE), dtype=np.float32) * (0.01 + 0.001 * i)).tobytes())
            weights.append(weight)
            nodes.append(helper.make_node("MatMul", [f"x{i}" if i else "x", weight.name], [f"x{i + 1}"], name=f"layer_{i}"))
    shape = ["batch", SIDE]
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(f"x{matmuls}", TensorProto.FLOAT, shape)],
        initializer=weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    (folder / "large.onnx").write_bytes(model.SerializeToString())


if __name__ == "__main__":
    main()
