"""The samples of a job as PyTorch tensors, made ready as the job's data section says.

Reads the formats idx and cifar, plain and gzip, and knows `normalize` and `resize`; every other change of the samples
that a job may ask for is refused, as is random augmentation.
"""
import glob
import gzip
import os

import numpy as np
import torch

from resolved_job import JobRefused

# What a data section may hold beside format, path, normalize and resize, and which values change nothing.
WITHOUT_EFFECT = {
    "pad": (None, 0), "center_crop": (None, []), "standardize": ("none",),
    "augment": (None, {"random_crop": 0, "flip": False, "cutout": 0}),
}


def read_bytes(path, header):
    for name, opened in ((path, open), (path + ".gz", gzip.open)):
        if os.path.exists(name):
            with opened(name, "rb") as file:
                return np.frombuffer(file.read(), np.uint8)[header:]
    raise JobRefused("no file %s" % path)


def read_idx(folder, split):
    stem = os.path.join(folder, {"train": "train", "test": "t10k"}[split])
    sizes = read_bytes(stem + "-images-idx3-ubyte", 0)[8:16].tobytes()
    height, width = np.frombuffer(sizes, ">i4")
    images = read_bytes(stem + "-images-idx3-ubyte", 16).reshape(-1, 1, height, width)
    return images, read_bytes(stem + "-labels-idx1-ubyte", 8)


def read_cifar(folder, split):
    names = ["test_batch.bin"]
    if split == "train":
        found = glob.glob(os.path.join(glob.escape(folder), "data_batch_?.bin*"))
        names = sorted({os.path.basename(path).replace(".gz", "") for path in found})
    if not names:
        raise JobRefused("no file data_batch_1.bin in %s" % folder)
    records = [read_bytes(os.path.join(folder, name), 0).reshape(-1, 3073) for name in names]
    records = np.concatenate(records)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


def resize(images, size):
    from PIL import Image
    height, width = size
    resized = [[Image.fromarray(plane).resize((width, height), Image.BILINEAR) for plane in image]
               for image in images]
    return np.stack([np.stack([np.asarray(plane) for plane in image]) for image in resized])


def read_set(job, split):
    """x [n, channels, height, width], normalised, and labels [n] of the "train" or the "test" set."""
    data = job["data"]
    for key, harmless in WITHOUT_EFFECT.items():
        if data.get(key) not in harmless and key in data:
            raise JobRefused("torch_data.py does not know data.%s: %s" % (key, data[key]))
    readers = {"idx": read_idx, "cifar": read_cifar}
    if data["format"] not in readers:
        raise JobRefused("torch_data.py does not read the format %s" % data["format"])
    images, labels = readers[data["format"]](data["path"], split)
    if data.get("resize") and list(images.shape[2:]) != list(data["resize"]):
        images = resize(images, data["resize"])
    x = torch.from_numpy(images.astype(np.float32)).div_(255)
    for key, change in (("mean", x.sub_), ("std", x.div_)):
        change(torch.tensor(data["normalize"][key], dtype=torch.float32).reshape(-1, 1, 1))
    return x, torch.from_numpy(labels.astype(np.int64))
