"""The same made-up samples for everything that is compared in speed. Imports no PyTorch: its memory
would count as that of the processes to be started."""
import json
import os
import random
import struct
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(FOLDER, "..", "reference"))
from resolved_job import JobRefused, read_job  # noqa: E402

JOBS = os.path.join(FOLDER, "..", "..", "jobs")
TEST_SAMPLES = 64

# Training samples of the shipped jobs: an epoch of a second or so on one core.
SAMPLES = {"mnist-mlp": 30000, "mnist-mlp-bn": 30000, "mnist-mlp-adam": 30000,
           "mnist-mlp-adam-bn": 30000, "cifar-cnn": 4000, "cifar-resnet20": 1280}
DEFAULT_SAMPLES = 10000

# What may be random or change a sample is off, in whatever version knows it.
OFF = {"valid_split": "0", "pad": "0", "center_crop": "null", "standardize": "none",
       "augment.random_crop": "0", "augment.flip": "false", "augment.cutout": "0"}

FIFTH_NOT_BLACK = bytes(0 if value < 205 else (value - 205) * 5 + 1 for value in range(256))


def job_name(path):
    return os.path.splitext(os.path.basename(path))[0]


def job_argument(word):
    """"FILE" or "FILE:MICROBATCH" as (path, microbatch or None)."""
    path, _, microbatch = word.partition(":")
    return path, int(microbatch) if microbatch else None


def shipped_job(name):
    return os.path.join(JOBS, name + ".yaml")


# ---- the files ----


def write_records(path, header, count, make_record):
    with open(path, "wb") as file:
        file.write(header)
        for _ in range(count):
            file.write(make_record())


def write_data(folder, shape, count):
    """Random images of which a fifth is not black, as in MNIST, labels 0..9; returns the format."""
    numbers = random.Random(1)
    channels, height, width = shape

    def image():
        return numbers.randbytes(channels * height * width).translate(FIFTH_NOT_BLACK)

    def label():
        return bytes([numbers.randrange(10)])

    if channels == 1:
        for stem, size in (("train", count), ("t10k", TEST_SAMPLES)):
            path = os.path.join(folder, stem)
            write_records(path + "-images-idx3-ubyte",
                          struct.pack(">4i", 0x803, size, height, width), size, image)
            write_records(path + "-labels-idx1-ubyte", struct.pack(">2i", 0x801, size), size, label)
        return "idx"
    if list(shape) == [3, 32, 32]:
        for name, size in (("data_batch_1.bin", count), ("test_batch.bin", TEST_SAMPLES)):
            write_records(os.path.join(folder, name), b"", size, lambda: label() + image())
        return "cifar"
    raise JobRefused("no data format here for samples of %s" % shape)


# ---- a job on them ----


def knows(section, key):
    """Whether a resolved section has the key "a.b"."""
    for word in key.split("."):
        if not isinstance(section, dict) or word not in section:
            return False
        section = section[word]
    return True


def prepare(arguments, path, microbatch, folder):
    """Write the data; the changes of the job to measure, and the resolved job.

    `arguments` has lockstep, epochs, and samples, which may be None: the job's own."""
    job = read_job(arguments.lockstep, path)
    samples = arguments.samples or SAMPLES.get(job_name(path), DEFAULT_SAMPLES)
    data_format = write_data(folder, job["model"]["input"], samples)
    sets = ["data.%s=%s" % (key, off) for key, off in OFF.items() if knows(job["data"], key)]
    sets += ["data.format=" + data_format, "data.path=" + json.dumps(folder),
             "train.epochs=%d" % arguments.epochs, "train.shuffle=false",
             "checkpoint.every_epochs=0", "checkpoint.keep_best=none"]
    if microbatch is not None:
        sets.append("train.microbatch=%d" % microbatch)
    return sets, read_job(arguments.lockstep, path, sets)


# ---- the command line of what compares ----


def add_arguments(parser):
    parser.add_argument("--lockstep", default="build/lockstep")
    parser.add_argument("--job", action="append", type=job_argument, metavar="FILE[:MICROBATCH]",
                        help="a job to measure; repeatable")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each side")
    parser.add_argument("--epochs", type=int, default=3, help="of a run, the first not counted")
    parser.add_argument("--samples", type=int, help="training samples, instead of each job's own")


def check_arguments(arguments):
    if not os.access(arguments.lockstep, os.X_OK):
        sys.exit("no program at %s; build it, or give --lockstep" % arguments.lockstep)
    if arguments.epochs < 2 or arguments.rounds < 1:
        sys.exit("wanted are at least 2 epochs, of which the first is not counted, and 1 round")
    arguments.lockstep = os.path.abspath(arguments.lockstep)
