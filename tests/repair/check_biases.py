"""Whether others can use files with biases that repair added: ONNX's checker and ONNX Runtime. Run by hand.

    python tests/repair/check_biases.py target/release/secateur

Repairs every *_unbiased.onnx of this folder with half of it pruned, or more, and compares ONNX Runtime's answers with the program's own. ONNX Runtime
runs nothing below operator set 7: such a file is first brought to a newer one by ONNX's own converter.
Needs: numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import version_converter

HERE = pathlib.Path(__file__).parent
IMAGES = HERE / "images.npy"
program = sys.argv[1]
for model in sorted(HERE.glob("*_unbiased.onnx")):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        out, answers = folder / "repaired.onnx", folder / "answers.npz"
        how = ["--images", IMAGES, "--calibration", IMAGES, "--method", "layer-wise", "--no-biases", "--device", "cpu", "-o", out, "--json", "--force"]
        # Of so small a network any answer may get worse; then nothing is applied.
        for amount in ["0.5", "0.8"]:
            report = json.loads(subprocess.run([program, "repair", model, *how, "--amount", amount], check=True, capture_output=True).stdout)
            if report["applied"]:
                break
        subprocess.run([program, "run", out, "--input", f"x={IMAGES}", "-o", answers, "--device", "cpu"], check=True, capture_output=True)
        onnx.checker.check_model(str(out), full_check=True)
        proto, opened = onnx.load(out), onnx.load(model)
        opset = next(o.version for o in proto.opset_import if not o.domain)
        if opset < 7:
            proto = version_converter.convert_version(proto, 13)
        session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        theirs, ours = session.run(["y"], {"x": np.load(IMAGES)})[0], np.load(answers)["y"]
        error = float(np.abs(theirs - ours).max() / np.abs(theirs).max())
        added = [t.name for t in onnx.load(out).graph.initializer if t.name not in {t.name for t in opened.graph.initializer}]
        told = [layer["name"] for layer in report["layers"] if layer.get("bias_added")]
        print(f"{model.stem}: {added}, told of {told}, left {[row['name'] for row in report['left']]}, {amount} pruned, error {error:.1e}")
        assert report["applied"] and error < 1e-4 and len(added) == len(told) > 0, model
