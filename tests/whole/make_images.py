"""make_images.py FOLDER: folders of PNG and JPEG images for test_convert.sh, good and broken; beside each broken
folder NAME a file NAME.expect with a part of the message. make_images.py --compare FILE.h5 FOLDER [HEIGHT WIDTH]
[MODE]: the file holds what Pillow makes of the folder."""
import os
import random
import struct
import sys
import zlib
from pathlib import Path

import h5py
import numpy
from PIL import Image


def draw(mode, size, seed):
    generator = random.Random(seed)
    bands = len(Image.new(mode, (1, 1)).getbands())
    data = bytes(generator.randrange(256) for _ in range(size[0] * size[1] * bands))
    return Image.frombytes(mode, size, data)


def save(image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def make_deep(top):
    """A class with folders, and the same images in one folder in the order of torchvision's ImageFolder."""
    deep = top / "deep/train/a"
    for i, name in enumerate(("b/c/0.png", "b/1.png", "z.png", "b!/2.png", "B/3.png", "b/4.png", "c d/e/f/5.png")):
        save(draw("RGB", (5, 4), i), deep / name)
    paths = [os.path.join(root, name) for root, _, names in sorted(os.walk(deep)) for name in sorted(names)]
    for i, path in enumerate(paths):
        save(Image.open(path), top / "flat/train/a" / f"{i:02}.png")


def make_good(top):
    for split, count in (("train", 5), ("test", 2)):
        for label, name in enumerate(("Zebra", "ant", "b c")):
            for i in range(count):
                suffix = ("png", "jpg", "JPEG")[i % 3]
                options = {"quality": 90} if suffix != "png" else {}
                save(draw("RGB", (20, 14), 100 * label + i), top / "mixed" / split / name / f"{i:02}.{suffix}", **options)
    (top / "mixed/train/ant/notes.txt").write_text("not an image")
    (top / "mixed/train/ant/.hidden.png").write_text("not an image")
    for i, mode in enumerate(("L", "RGB", "RGBA", "LA", "P", "1")):
        image = draw("RGB", (9, 7), i)
        save(image if mode == "RGB" else image.convert(mode), top / "modes" / "only" / f"{i}.png")
    save(draw("L", (9, 7), 6), top / "modes/only/6.jpg")
    save(draw("RGB", (9, 7), 7), top / "modes/only/7.jpg", progressive=True)
    cmyk = save(draw("CMYK", (9, 7), 8), top / "modes/only/8.jpg").read_bytes()
    adobe = cmyk.index(b"Adobe")
    (top / "modes/only/9.jpg").write_bytes(cmyk[:adobe + 11] + b"\2" + cmyk[adobe + 12:])  # read as YCCK
    gone = cmyk[:adobe - 4] + cmyk[adobe + 12:]
    (top / "modes/only/a.jpg").write_bytes(gone)  # not known to be Adobe's
    make_deep(top)
    for label in range(300):
        save(draw("RGB", (4, 5), label), top / "many" / f"{label:03}{'x' * 220}" / "only.png")
    for i, size in enumerate(((30, 20), (9, 12), (64, 64))):
        save(draw("RGB", size, i), top / "sizes/a" / f"{i}.png")
        save(draw("L", size, i), top / "sizes/b" / f"{i}.jpg")


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of(width, height, data=b"", bits=8, color=0):
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b""))


def make_broken(top):
    scratch = top / "scratch"
    png = bytearray(save(draw("RGB", (20, 14), 1), scratch / "good.png").read_bytes())
    jpeg = bytearray(save(draw("RGB", (20, 14), 1), scratch / "good.jpg").read_bytes())
    middle = png.index(b"IDAT") + 40
    flipped = png[:middle] + bytes([png[middle] ^ 1]) + png[middle + 1:]
    frame = jpeg.index(b"\xff\xc0")
    huge = jpeg[:frame + 5] + b"\xf0\x00\xf0\x00" + jpeg[frame + 9:]
    tables = jpeg.index(b"\xff\xdb")
    cases = {
        "empty.png": (b"", "is empty"),
        "text.png": (b"<html>not found</html>", "found a web page"),
        "noise.png": (b"\1\2\3", "byte 0: found something else, expected a JPEG or PNG image"),
        "gif.jpg": (b"GIF89a\x01\x00\x01\x00", "byte 0: found a GIF image, expected a JPEG or PNG image"),
        "webp.png": (b"RIFF\x40\0\0\0WEBPVP8 ", "found a WebP image"),
        "signature.png": (png[:8], "the file is cut off"),
        "cut-header.png": (png[:20], "the file is cut off"),
        "cut-data.png": (png[:middle], "the file is cut off"),
        "no-end.png": (png[:-12], "the file is cut off"),
        "flipped.png": (flipped, "PNG image: IDAT: incorrect data check"),
        "checksum.png": (png[:-14] + bytes([png[-14] ^ 1]) + png[-13:], "PNG image: IDAT: CRC error"),
        "bits.png": (png_of(4, 4, b"\0" * 20, bits=3), "Invalid IHDR"),
        "no-pixels.png": (png_of(0, 4), "Invalid IHDR"),
        "little-data.png": (png_of(64, 64, b"\0" * 65), "Not enough"),
        "bomb.png": (png_of(16000, 16000), "16000 x 16000 pixels"),
        "sides-bomb.png": (png_of(60000, 60000), "60000 x 60000 pixels; a side has 1 to 16384"),
        "wide-bomb.png": (png_of(2**31 - 1, 1), "1 x 2147483647 pixels; a side has 1 to 16384"),
        "signature.jpg": (jpeg[:3], "JPEG image"),
        "cut-header.jpg": (jpeg[:frame + 3], "JPEG image"),
        "cut-data.jpg": (jpeg[:-200], "JPEG image"),
        "bomb.jpg": (huge, "61440 x 61440 pixels"),
        "no-tables.jpg": (jpeg[:tables + 1] + b"\xfe" + jpeg[tables + 2:], "JPEG image"),
    }
    for name, (data, message) in cases.items():
        path = top / "broken" / name / "class" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        (top / "broken" / f"{name}.expect").write_text(f"{message}\n")


def expected(folder, size, mode):
    images, labels = [], []
    classes = sorted(path.name for path in folder.iterdir())
    for path in sorted(folder.glob("*/**/*")):
        if path.suffix.lower() in (".png", ".jpg", ".jpeg") and path.name[0] != ".":
            image = Image.open(path).convert(mode)
            if size:
                image = image.resize((size[1], size[0]), Image.BILINEAR)
            pixels = numpy.asarray(image)
            images.append(pixels[None] if mode == "L" else pixels.transpose(2, 0, 1))
            labels.append(classes.index(path.relative_to(folder).parts[0]))
    return classes, numpy.stack(images), labels


def compare(file, folder, size, mode):
    splits = {name: folder / name for name in ("train", "test") if (folder / name).is_dir()} or {"train": folder}
    with h5py.File(file) as found:
        assert sorted(found) == sorted(splits), list(found)
        for split, path in splits.items():
            classes, images, labels = expected(path, size, mode)
            dataset = found[split]["images"]
            assert dataset.dtype == numpy.uint8 and dataset.fletcher32
            assert dataset.shape == images.shape, (dataset.shape, images.shape)
            stored = found[split]["labels"][...].tolist()
            mixed = sorted((label, image.tobytes()) for label, image in zip(stored, dataset[...]))
            wanted = sorted((label, image.tobytes()) for label, image in zip(labels, images))
            assert mixed == wanted, f"{split}: labels or pixels differ from Pillow's"
            assert len(stored) < 10 or len(set(stored)) == 1 or stored != sorted(stored), f"{split}: class after class"
            if split == "train":
                assert [name.decode() for name in found.attrs["classes"]] == classes


if sys.argv[1] == "--compare":
    numbers = [int(word) for word in sys.argv[4:6]] if len(sys.argv) > 5 else None
    compare(sys.argv[2], Path(sys.argv[3]), numbers, "L" if sys.argv[-1] == "L" else "RGB")
else:
    make_good(Path(sys.argv[1]))
    make_broken(Path(sys.argv[1]))
