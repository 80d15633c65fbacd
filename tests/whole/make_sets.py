"""Write one small drawn set in several formats: make_sets.py FOLDER.

FOLDER/idx, FOLDER/npy (plain), FOLDER/npy-nhwc (big-endian labels, an image's channel last, the
other names), FOLDER/npy-float (the pixels divided by 255, as float64), FOLDER/npy-half (as float16).
FOLDER/hdf5.h5 (groups, plain), FOLDER/hdf5-nhwc.h5 (other names, channel last, gzip in chunks of 7
samples), FOLDER/hdf5-float.h5 (float32, checksums), FOLDER/hdf5-half.h5 (float16).

A second set, of 3 x 32 x 32: FOLDER/cifar (two training batches, one packed), FOLDER/cifar100 (the same
images and labels), FOLDER/cifar-npy, FOLDER/cifar.h5.
"""

import gzip
import os
import struct
import sys

import h5py
import numpy as np

TRAIN, TEST, HEIGHT, WIDTH, CLASSES = 170, 40, 9, 11, 7
SPLITS = ("train", "test")


def draw(count, seed):
    """Stripes whose slope tells the class, and noise."""
    random = np.random.RandomState(seed)
    labels = random.randint(0, CLASSES, count)
    labels[:CLASSES] = np.arange(CLASSES)
    row, column = np.mgrid[0:HEIGHT, 0:WIDTH]
    stripes = (row[None] * labels[:, None, None] + 3 * column[None]) % 13 * 15
    return (stripes + random.randint(0, 60, stripes.shape)).astype(np.uint8), labels.astype(np.uint8)


def write_idx(folder, sets):
    os.makedirs(folder)
    for name, (images, labels) in zip(("train", "t10k"), sets):
        with open(f"{folder}/{name}-images-idx3-ubyte", "wb") as file:
            file.write(struct.pack(">4B3I", 0, 0, 8, 3, *images.shape) + images.tobytes())
        with open(f"{folder}/{name}-labels-idx1-ubyte", "wb") as file:
            file.write(struct.pack(">4BI", 0, 0, 8, 1, len(labels)) + labels.tobytes())


def write_npy(folder, sets, names, change_images, change_labels):
    os.makedirs(folder)
    for split, (images, labels) in zip(SPLITS, sets):
        np.save(f"{folder}/{names[0].format(split)}.npy", change_images(images))
        np.save(f"{folder}/{names[1].format(split)}.npy", change_labels(labels))


def write_hdf5(path, sets, names, change_images, change_labels, **storage):
    with h5py.File(path, "w") as file:
        for name, (images, labels) in zip(names, sets):
            images = change_images(images)
            chunks = {"chunks": (7, *images.shape[1:])} if storage else {}
            file.create_dataset(name[0], data=images, **chunks, **storage)
            file.create_dataset(name[1], data=change_labels(labels))


def write_cifar(folder, sets, names, coarse):
    os.makedirs(folder)
    for name, (images, labels) in zip(names, sets):
        records = b"".join(coarse + bytes([label]) + image.tobytes() for image, label in zip(images, labels))
        with (gzip.open if name.endswith(".gz") else open)(f"{folder}/{name}", "wb") as file:
            file.write(records)


def draw_coloured(count, seed):
    images, labels = draw(count, seed)
    wide = np.tile(images, (1, 4, 3))[:, :32, :32]
    return np.stack([wide, 255 - wide, wide // 2], 1), labels


def write_coloured_sets(folder):
    train, test = draw_coloured(TRAIN, 3), draw_coloured(TEST, 4)
    first, second = [x[:100] for x in train], [x[100:] for x in train]
    names = "data_batch_1.bin.gz", "data_batch_2.bin", "test_batch.bin"
    write_cifar(f"{folder}/cifar", (first, second, test), names, b"")
    write_cifar(f"{folder}/cifar100", (train, test), ("train.bin", "test.bin.gz"), b"\x13")
    write_npy(f"{folder}/cifar-npy", (train, test), ("{}_images", "{}_labels"), lambda x: x.transpose(0, 2, 3, 1),
              lambda y: y)
    write_hdf5(f"{folder}/cifar.h5", (train, test), (("train/x", "train/y"), ("test/data", "test/label")),
               lambda x: x, lambda y: y, compression="gzip")


def main(folder):
    sets = draw(TRAIN, 1), draw(TEST, 2)
    long_names, short_names = ("{}_images", "{}_labels"), ("x_{}", "y_{}")
    write_idx(f"{folder}/idx", sets)
    write_npy(f"{folder}/npy", sets, long_names, lambda x: x, lambda y: y.astype("<i8"))
    write_npy(f"{folder}/npy-nhwc", sets, short_names, lambda x: x[..., None], lambda y: y[:, None].astype(">u2"))
    write_npy(f"{folder}/npy-float", sets, long_names, lambda x: (x[:, None].astype(np.float32) / np.float32(255)).astype(">f8"), lambda y: y)
    groups = ("train/images", "train/labels"), ("test/x", "test/targets")
    beside = ("images", "labels"), ("test_images", "test_labels")
    keras = ("x_train", "y_train"), ("x_test", "y_test")
    write_hdf5(f"{folder}/hdf5.h5", sets, groups, lambda x: x, lambda y: y)
    write_hdf5(f"{folder}/hdf5-nhwc.h5", sets, keras, lambda x: x[..., None], lambda y: y[:, None].astype(">i8"),
               compression="gzip", shuffle=True)
    write_hdf5(f"{folder}/hdf5-float.h5", sets, beside, lambda x: x[:, None].astype(np.float32) / np.float32(255),
               lambda y: y.astype(np.uint32), fletcher32=True)
    write_npy(f"{folder}/npy-half", sets, short_names, lambda x: (x / 255).astype(">f2"), lambda y: y)
    write_hdf5(f"{folder}/hdf5-half.h5", sets, keras, lambda x: (x / 255).astype("<f2"), lambda y: y)
    write_hdf5(f"{folder}/no-test.h5", sets[:1], groups[:1], lambda x: x, lambda y: y)
    write_npy(f"{folder}/no-test", sets[:1], long_names, lambda x: x, lambda y: y)
    write_coloured_sets(folder)


main(sys.argv[1])
