#!/usr/bin/env python3
"""Multiply-accumulates against accuracy of the demo with whole channels removed: as it is, repaired, repaired thoroughly.

    python assets/plot_channels.py PROGRAM

PROGRAM is a release build of `secateur`. Writes channels.svg beside this file, and the figures to standard output.
"""

import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
AMOUNTS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
KINDS = [("removed", "#c2410c", None), ("repaired", "#2563eb", []), ("thoroughly", "#15803d", ["--thorough"])]


def measure(amount, arguments):
    """Share of multiply-accumulates that is gone, top-1 before and after repair, images."""
    command = [sys.argv[1], "shrink", HERE / "mobilenetv4_digits.onnx", "--images", HERE / "digits", "--amount", str(amount), "--repair", "--json"]
    report = json.loads(subprocess.run([*command, *arguments], capture_output=True, text=True, check=True).stdout)
    before, after = report["macs"]
    repair = report["effect"]["repair"]
    return 1 - after / before, repair["before"]["top1"], repair["after"]["top1"], repair["after"]["images"]


lines = {name: [(0.0, 1.0)] for name, _, _ in KINDS}
for amount in AMOUNTS:
    for name, _, arguments in KINDS[1:]:
        gone, before, after, images = measure(amount, arguments)
        lines[name].append((gone, after))
        if name == "repaired":
            lines["removed"].append((gone, before))
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 760, 360, 60, 24, 130, 48
x = lambda gone: LEFT + gone / 0.9 * (WIDTH - LEFT - RIGHT)
y = lambda top1: TOP + (1 - top1) * (HEIGHT - TOP - BOTTOM)
svg = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">',
       f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
for percent in range(0, 101, 20):
    at = y(percent / 100)
    svg += [f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#e5e7eb"/>',
            f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end" fill="#4b5563">{percent} %</text>']
for percent in range(0, 91, 10):
    svg.append(f'<text x="{x(percent / 100):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle" fill="#4b5563">{percent}</text>')
svg.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle" fill="#4b5563">fewer multiply-accumulates, % · top-1 on {images} digits</text>')
for name, colour, _ in KINDS:
    points = " ".join(f"{x(gone):.1f},{y(top1):.1f}" for gone, top1 in lines[name])
    svg.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    svg += [f'<circle cx="{x(gone):.1f}" cy="{y(top1):.1f}" r="3" fill="{colour}"/>' for gone, top1 in lines[name]]
    gone, top1 = lines[name][-1]
    svg.append(f'<text x="{x(gone) + 10:.1f}" y="{y(top1) + 4:.1f}" fill="{colour}">{name}</text>')
    print(name, [(round(gone, 3), round(top1, 4)) for gone, top1 in lines[name]])
(HERE / "channels.svg").write_text("\n".join([*svg, "</svg>"]) + "\n")
