"""Packs `digits/<class>/<n>.png` into `digits.npz`: `images` [360, 64, 64] of bytes, `labels` [360].

The window unpacks it for the demo, so that the program alone can show what pruning costs. Needs: numpy pillow.
"""
import pathlib

import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).parent
FILES = sorted((HERE / "digits").glob("*/*.png"))

if __name__ == "__main__":
    images = np.stack([np.asarray(Image.open(f).convert("L")) for f in FILES])
    labels = np.array([int(f.parent.name) for f in FILES], dtype=np.int64)
    np.savez_compressed(HERE / "digits.npz", images=images, labels=labels)
