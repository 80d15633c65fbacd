"""HDF5 sets that a program must refuse: broken_hdf5.py FOLDER.

Each is FOLDER/NAME, beside FOLDER/NAME.expect: line 1 is the exit code, line 2 a part of the message.
"""

import os
import struct
import sys

import h5py
import numpy as np

folder = sys.argv[1]


def good(file, skip=()):
    """A small good set of 8 and 4 images of 3 x 5, but for the names to skip."""
    for name, data in (
        ("train/images", np.zeros((8, 3, 5), np.uint8)),
        ("train/labels", np.arange(8)),
        ("test/images", np.zeros((4, 3, 5), np.uint8)),
        ("test/labels", np.arange(4)),
    ):
        if name not in skip:
            file[name] = data


def broken(code, fragment):
    """Decorates a function that writes the file at its path; its name is the case's."""

    def write(function):
        path = f"{folder}/{function.__name__}"
        with open(path + ".expect", "w") as file:
            file.write(f"{code}\n{fragment}\n")
        function(path)

    return write


def broken_set(code, fragment, skip=("train/images",)):
    """Decorates a function that adds what is wrong to a good set."""

    def write(function):
        def write_file(path):
            with h5py.File(path, "w") as file:
                good(file, skip)
                function(file)

        write_file.__name__ = function.__name__
        broken(code, fragment)(write_file)

    return write


def write_good(path):
    with h5py.File(path, "w") as file:
        good(file)


@broken(66, "cannot open: No such file")
def missing(path):
    pass


@broken(65, "is not a regular file")
def a_folder(path):
    os.mkdir(path)


@broken(65, "byte 0: the file ends here")
def empty(path):
    open(path, "w").close()


@broken(65, "found a zip archive")
def zip_archive(path):
    with open(path, "wb") as file:
        file.write(b"PK\3\4" + bytes(100))


@broken(65, "HDF5 cannot open it: file signature not found")
def noise(path):
    with open(path, "wb") as file:
        file.write(bytes(range(256)) * 20)


@broken(65, "HDF5 cannot open it: truncated file: eof = ")
def cut(path):
    write_good(path)
    os.truncate(path, os.path.getsize(path) - 50)


@broken(65, "HDF5 cannot open it")
def damaged_superblock(path):
    write_good(path)
    with open(path, "r+b") as file:
        file.seek(8)
        file.write(b"\xff" * 40)


@broken_set(66, "has no training images; looked for /train/images, /train_images, /images_train, /images (or image, x or data for images); the file has test/, train/")
def no_images(file):
    pass


@broken_set(66, "has no test labels", skip=("test/labels",))
def no_test_labels(file):
    pass


@broken_set(65, "has /images and /train/images; keep one of them", skip=())
def two_images(file):
    file["images"] = np.zeros((8, 3, 5), np.uint8)


@broken_set(65, "images are (N, H, W), (N, C, H, W) or (N, H, W, C)")
def flat_images(file):
    file["train/images"] = np.zeros((8, 15), np.uint8)


@broken_set(65, "say which with data.layout")
def which_layout(file):
    file["train/images"] = np.zeros((8, 3, 5, 3), np.uint8)


@broken_set(65, "a.astype(np.uint8)")
def integer_images(file):
    file["train/images"] = np.zeros((8, 3, 5), np.int64)


@broken_set(65, "its elements are no numbers")
def text_images(file):
    file["train/images"] = np.full((8, 3, 5), b"a")


@broken_set(65, "its elements are no numbers")
def compound_images(file):
    file["train/images"] = np.zeros((8, 3, 5), [("a", "u1"), ("b", "u1")])


@broken_set(65, "has no shape")
def scalar_images(file):
    file["train/images"] = 5


@broken_set(65, "size 0 of dimension 0 found")
def no_samples(file):
    file["train/images"] = np.zeros((0, 3, 5), np.uint8)


@broken_set(65, "only 0 are stored in this file")
def never_written(file):
    file.create_dataset("train/images", (100000, 3, 4000), "u1")


@broken_set(65, "only 0 are stored in this file")
def never_written_chunks(file):
    file.create_dataset("train/images", (2000000000, 3, 4000), "u1", chunks=(1, 3, 4000))


@broken_set(65, "of its 4 chunks were ever written")
def a_chunk_missing(file):
    images = file.create_dataset("train/images", (8, 3, 5), "u1", chunks=(2, 3, 5), compression="gzip")
    images[0:2] = 1
    images[4:8] = 1


@broken_set(65, "its chunks have 300000000 bytes")
def huge_chunks(file):
    file.create_dataset("train/images", (75000, 20, 200), "u1", chunks=(75000, 20, 200), compression="gzip")[...] = 0


@broken_set(65, "is compressed or filtered")
def unknown_filter(file):
    file.create_dataset("train/images", data=np.zeros((8, 3, 5), np.uint8), compression="lzf")


@broken_set(65, "keeps its data in another file")
def external_storage(file):
    file.create_dataset("train/images", (8, 3, 5), "u1", external=[("/etc/passwd", 0, 120)])


@broken_set(65, "is a link to elsewhere")
def soft_link(file):
    file["train/images"] = h5py.SoftLink("/test/images")


@broken_set(65, "is a link to elsewhere")
def external_link(file):
    file["train/images"] = h5py.ExternalLink("other.h5", "/images")


@broken_set(65, "is virtual")
def virtual_dataset(file):
    layout = h5py.VirtualLayout((8, 3, 5), "u1")
    layout[0:4] = h5py.VirtualSource(".", "test/images", (4, 3, 5))
    file.create_virtual_dataset("train/images", layout)


@broken_set(65, "sample 3 has a number that is not a number (NaN), element 14")
def not_a_number(file):
    images = np.zeros((8, 3, 5), np.float32)
    images[3, 2, 4] = np.nan
    file["train/images"] = images


@broken_set(65, "is infinite, or too large for float32")
def too_large(file):
    file["train/images"] = np.full((8, 3, 5), 1e300)


@broken_set(65, "/test/images: the images are floats, but those of", skip=("test/images",))
def float_test(file):
    file["test/images"] = np.zeros((4, 3, 5), np.float32)


@broken_set(65, "/train/images are floats; uint8 is scaled by 1/255")
def byte_test(file):
    file["train/images"] = np.zeros((8, 3, 5), np.float16)


@broken_set(65, "6 labels found, 8 expected", skip=("train/labels",))
def label_count(file):
    file["train/labels"] = np.zeros(6, np.uint8)


@broken_set(65, "sample 5 has label -2; labels count from 0", skip=("train/labels",))
def negative_label(file):
    file["train/labels"] = np.array([0, 1, 2, 3, 4, -2, 6, 7], np.int8)


@broken_set(65, "not one-hot rows: save a.argmax(axis=1) of these", skip=("train/labels",))
def one_hot_labels(file):
    file["train/labels"] = np.eye(8, 2, dtype=np.float32)


@broken_set(65, "the labels are floats", skip=("train/labels",))
def float_labels(file):
    file["train/labels"] = np.zeros(8)


@broken_set(65, "sample 2 has label 9, but the training labels end at 7", skip=("test/labels",))
def test_label(file):
    file["test/labels"] = np.array([0, 1, 9, 1])


@broken(65, "chunk at (2, 0, 0): its gzip data is damaged")
def damaged_chunk(path):
    with h5py.File(path, "w") as file:
        good(file, ("train/images",))
        data = np.random.RandomState(1).randint(0, 255, (8, 3, 5)).astype(np.uint8)
        images = file.create_dataset("train/images", data=data, chunks=(2, 3, 5), compression="gzip")
        offset = images.id.get_chunk_info(1).byte_offset
    with open(path, "r+b") as file:
        file.seek(offset + 5)
        file.write(struct.pack("<Q", 0x5555555555555555))
