"""Wanda (Sun et al. 2024) on two layers of the demo network, in numpy: |w| * ||x||_2 of the input, the smallest of every output row.

Reads the model and the digits of `assets/`, writes `digits_wanda.json` beside this file. The layers' inputs are those of ONNX Runtime.
Needs: onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 pillow==13.0.0.
"""
import json
import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper as nh

from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent
ASSETS = HERE.parents[1] / "assets"
m = onnx.load(ASSETS / "mobilenetv4_digits.onnx")
init = {t.name: nh.to_array(t) for t in m.graph.initializer}
nodes = [n for n in m.graph.node if n.op_type in ("Conv", "Gemm") and n.input[1] in init]
pointwise = next(n for n in nodes if n.op_type == "Conv" and init[n.input[1]].shape[2:] == (1, 1) and init[n.input[1]].shape[1] >= 64)
chosen = [pointwise, next(n for n in nodes if n.op_type == "Gemm")]
given = {i.name for i in m.graph.input}
m.graph.output.extend(onnx.helper.make_empty_tensor_value_info(n.input[0]) for n in chosen if n.input[0] not in given)
session = onnxruntime.InferenceSession(m.SerializeToString())
pixels = np.stack([np.asarray(Image.open(f)) for f in sorted((ASSETS / "digits").glob("*/*.png"))]).astype(np.float32)
x = np.repeat(((pixels / 255 - 0.5) / 0.5)[:, None], 3, axis=1)
sums = [0.0, 0.0]
for start in range(0, len(x), 60):
    values = session.run([n.input[0] for n in chosen], {session.get_inputs()[0].name: x[start : start + 60]})
    for i, v in enumerate(values):
        sums[i] = sums[i] + (v.astype(np.float64) ** 2).sum(axis=tuple(d for d in range(v.ndim) if d != 1))
res = []
for n, s in zip(chosen, sums):
    w = init[n.input[1]].reshape(len(init[n.input[1]]), -1)
    score = np.abs(w) * np.sqrt(s)[None]
    order = np.argsort(score, axis=1, kind="stable")
    gone = np.zeros(w.shape, bool)
    np.put_along_axis(gone, order[:, : w.shape[1] // 2], True, axis=1)
    ranked = np.sort(score, axis=1)
    half = w.shape[1] // 2
    gap = float(((ranked[:, half] - ranked[:, half - 1]) / ranked[:, half]).min())
    res.append({"name": n.input[1], "amount": 0.5, "shape": list(w.shape), "gone": np.packbits(gone, axis=1).tobytes().hex(), "closest": gap})
(HERE / "digits_wanda.json").write_text(json.dumps({"images": len(x), "layers": res}) + "\n")
print([(r["name"], r["shape"], r["closest"]) for r in res])
