"""How much of each picture Pillow needs before it takes it for whole: writes `cuts.json`, from file name to number of bytes.

Cut to fewer bytes, Pillow refuses the picture; cut to this many or more, or with anything behind it, it gives all of its pixels.
Both are checked here, at every length of small files and at many of large ones.
Needs: pillow==13.0.0. Run: python cut_pictures.py
"""
import io
import json
import pathlib

from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent
JUNK = [b"\0", b"junk" * 100, b"\xff\xd8\xff", b"\xff\xd9"]


def pixels(data):
    """Of a picture that Pillow takes, else nothing."""
    try:
        return Image.open(io.BytesIO(data)).convert("RGB").tobytes()
    except (OSError, SyntaxError):
        return None


def main():
    least = {}
    for path in sorted(p for p in HERE.iterdir() if p.suffix in (".png", ".jpg", ".webp", ".bmp")):
        data = path.read_bytes()
        whole = pixels(data)
        lengths = [n for n in range(len(data) + 1) if len(data) < 6000 or n % 61 == 0 or n + 64 > len(data)]
        taken = {n for n in lengths if pixels(data[:n]) is not None}
        first = min(taken)
        assert taken == {n for n in lengths if n >= first}, path
        assert all(pixels(data[:n]) == whole for n in taken), path
        assert all(pixels(data + junk) == whole for junk in JUNK), path
        least[path.name] = first
    (HERE / "cuts.json").write_text(json.dumps(least, indent=1) + "\n")


if __name__ == "__main__":
    main()
