"""Small pictures in many modes and formats, and what timm's and torchvision's evaluation transforms on Pillow make of them.

Writes the pictures beside this file and `expected.npz`: for each picture and each way of fitting it, the uint8 result
[height, width, 3]. The pictures are made from seeded noise with a photograph's spectrum, edges and gradients.
Needs: torch==2.15.0 torchvision==0.29.2 timm==1.0.31 numpy==2.4.6 pillow==13.0.0. Run: python make_pictures.py
"""
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image
from timm.data.transforms_factory import transforms_imagenet_eval
from torchvision.transforms import CenterCrop

HERE = pathlib.Path(__file__).resolve().parent


def photo(seed, height, width, channels=3):
    """Noise whose amplitude falls with frequency, as in photographs, with a few hard edges; float 0 to 1."""
    rng = np.random.default_rng(seed)
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
    fall = 1 / np.maximum(np.hypot(fy, fx), 1 / max(height, width)) ** 1.3
    common = rng.standard_normal((height, width))
    planes = []
    for _ in range(channels):
        noise = 0.8 * common + 0.4 * rng.standard_normal((height, width))
        plane = np.fft.ifft2(np.fft.fft2(noise) * fall).real
        planes.append((plane - plane.mean()) / plane.std() * 0.18 + 0.5)
    picture = np.stack(planes, -1)
    y, x = np.mgrid[:height, :width]
    for _ in range(4):
        angle, offset, colour = rng.uniform(0, np.pi), rng.uniform(0.2, 0.8), rng.uniform(-0.35, 0.35, channels)
        picture[np.cos(angle) * x / width + np.sin(angle) * y / height > offset] += colour
    return picture.clip(0, 1)


def bytes_of(picture):
    return (picture * 255).round().astype(np.uint8)


def png16(path, samples, colour_type):
    """A 16-bit PNG, which Pillow does not write in colour."""
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def make():
    rgb = Image.fromarray(bytes_of(photo(1, 203, 301)))
    rgb.save(HERE / "subsampled.jpg", quality=85)
    rgb.save(HERE / "full_chroma.jpg", quality=92, subsampling=0)
    rgb.convert("L").save(HERE / "grey.jpg", quality=90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, which Pillow leaves to the reader
    Image.fromarray(bytes_of(photo(2, 480, 641))).save(HERE / "large_progressive.jpg", quality=75, progressive=True, exif=exif)
    Image.fromarray(bytes_of(photo(3, 121, 160))).save(HERE / "subsampled_422.jpg", quality=90, subsampling="4:2:2")
    small = bytes_of(photo(4, 97, 131, 4))
    Image.fromarray(small[..., :3]).convert("CMYK").save(HERE / "cmyk.jpg", quality=90)
    Image.fromarray(small[..., :3]).save(HERE / "rgb.png", optimize=True)
    Image.fromarray(small).save(HERE / "rgba.png", optimize=True)
    Image.fromarray(small).convert("LA").save(HERE / "grey_alpha.png", optimize=True)
    Image.fromarray(small[..., 0]).save(HERE / "grey.png", optimize=True)
    palette = Image.fromarray(small[..., :3]).quantize(200)
    palette.save(HERE / "palette.png", transparency=3)
    palette.save(HERE / "palette.bmp")
    Image.fromarray(small[..., :3]).quantize(13).save(HERE / "palette_4_bits.png", bits=4)
    Image.fromarray(small[..., 0]).convert("1").save(HERE / "one_bit.png")
    Image.fromarray(small[:60, :70, :3]).save(HERE / "rgb.bmp")
    Image.fromarray(small[:33, :59]).save(HERE / "alpha.webp", lossless=True)
    rgb.save(HERE / "lossy.webp", quality=80)
    Image.fromarray(small[:17, :23, :3]).save(HERE / "tiny.png")
    Image.fromarray((photo(5, 40, 50, 1)[..., 0] * 400).astype(np.uint16)).save(HERE / "grey_16.png")
    png16(HERE / "rgb_16.png", (photo(6, 40, 50) * 65535).astype(np.uint16), 2)
    png16(HERE / "rgba_16.png", (photo(7, 40, 50, 4) * 65535).astype(np.uint16), 6)


WAYS = {
    "shortest bicubic 48x48 0.875": dict(img_size=(48, 48), crop_pct=0.875, interpolation="bicubic"),
    "shortest bilinear 32x48 1": dict(img_size=(32, 48), crop_pct=1.0, interpolation="bilinear"),
    "squash lanczos 30x40 0.9": dict(img_size=(30, 40), crop_pct=0.9, crop_mode="squash", interpolation="lanczos"),
    "shortest nearest 40x40 0.95": dict(img_size=(40, 40), crop_pct=0.95, interpolation="nearest"),
}


def main():
    make()
    expected = {}
    for path in sorted(p for p in HERE.iterdir() if p.suffix in (".png", ".jpg", ".webp", ".bmp")):
        picture = Image.open(path).convert("RGB")  # torchvision's default loader
        for way, options in WAYS.items():
            expected[f"{path.name} {way}"] = transforms_imagenet_eval(**options, normalize=False)(picture).permute(1, 2, 0).numpy()
        expected[f"{path.name} none nearest 41x54 1"] = np.asarray(CenterCrop((41, 54))(picture))
    np.savez_compressed(HERE / "expected.npz", **expected)


if __name__ == "__main__":
    main()
