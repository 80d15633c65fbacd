#!/usr/bin/env python3
"""Write resize.csv, or with --check compare it: what Pillow's Image.resize(BILINEAR) makes of planes that are
drawn by a formula. One line per case: type, height and width before and after, FNV-1a hash of the result's bytes
(floats little-endian). They are Pillow 9.4's; 13.0 rounds some pixels otherwise, and is not compared."""
import sys
from array import array
from pathlib import Path

import PIL
from PIL import Image

SIZES = [
    (28, 28, 32, 32), (32, 32, 28, 28), (32, 32, 224, 224), (37, 100, 32, 32), (100, 37, 32, 32), (28, 28, 28, 56),
    (28, 28, 7, 28), (1, 1, 5, 3), (5, 3, 1, 1), (2, 2, 3, 3), (64, 48, 21, 47), (255, 254, 31, 33), (600, 3, 4, 9),
]


def draw(count):
    """Bytes of a linear congruential generator (Numerical Recipes)."""
    state, values = 1, []
    for _ in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        values.append(state >> 24)
    return values


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def resize(kind, height, width, new_height, new_width):
    values = draw(height * width)
    if kind == "byte":
        image = Image.frombytes("L", (width, height), bytes(values))
    else:
        floats = array("f", [value / 256 - 0.25 for value in values])
        image = Image.frombytes("F", (width, height), floats.tobytes())
    return image.resize((new_width, new_height), Image.BILINEAR).tobytes()


lines = [f"{kind},{','.join(map(str, sizes))},{fnv(resize(kind, *sizes)):016x}\n" for kind in ("byte", "float")
         for sizes in SIZES]
path = Path(__file__).with_name("resize.csv")
if sys.argv[1:] == ["--check"]:
    if path.read_text().splitlines(True) != lines:
        if int(PIL.__version__.split(".")[0]) >= 13:
            print(f"not compared: Pillow {PIL.__version__} rounds otherwise")
            sys.exit(0)
        sys.exit(f"{path} is not what Pillow computes")
    print(f"{len(lines)} resized planes are Pillow's")
else:
    path.write_text("".join(lines))
