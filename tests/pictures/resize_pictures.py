"""What Pillow's `resize` makes of one picture at proportions where it goes over columns first, and at their edge: `resized.npz`.

Pillow goes over columns first where the picture becomes lower by more than twice of what it becomes narrower; that is checked
here. Needs: numpy==2.4.6 pillow==13.0.0. Run: python resize_pictures.py
"""
import pathlib

import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent
FILTERS = {f.name.lower(): f for f in (Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)}
# Width and height; the picture has 23 x 17.
SIZES = [(20, 10), (20, 11), (40, 9), (7, 3), (30, 22), (23, 5), (40, 17), (3, 40), (24, 16)]


def main():
    name = "tiny.png"
    picture = Image.open(HERE / name).convert("RGB")
    (width, height), results = picture.size, {}
    differing = 0
    for new_width, new_height in SIZES:
        for word, kind in FILTERS.items():
            result = picture.resize((new_width, new_height), kind)
            results[f"{name} squash {word} {new_height}x{new_width} 1"] = np.asarray(result)
            if kind != Image.Resampling.NEAREST:
                rows_first = picture.resize((new_width, height), kind).resize((new_width, new_height), kind)
                columns_first = picture.resize((width, new_height), kind).resize((new_width, new_height), kind)
                is_lower = height > new_height and height - new_height > 2 * (width - new_width)
                assert result.tobytes() == (columns_first if is_lower else rows_first).tobytes()
                differing += is_lower and columns_first.tobytes() != rows_first.tobytes()
    assert differing >= 3, differing
    np.savez_compressed(HERE / "resized.npz", **results)


if __name__ == "__main__":
    main()
