#!/usr/bin/env python3
"""Training speed and memory of Lockstep and PyTorch on one core: the same jobs on the same made-up data.

    python3 tests/bench/vs_pytorch.py [--lockstep build/lockstep] [--job jobs/mnist-mlp-bn.yaml[:MICROBATCH]]...
        [--rounds 5] [--epochs 3] [--samples N] [--core 0]

It pins itself, and with it what it starts, to the core. Network, batch size, loss and optimizer are the job's; the
samples are random, neither shuffled nor augmented, and in memory: Lockstep's as bytes, PyTorch's as the normalised
tensor. Both sides time whole epochs of training steps, the first epoch left out, in a fresh process for each run. The
runs alternate, so that a busy machine slows down both; printed are medians and their ratio, and the most memory that
either process held. PyTorch runs in the fastest of its settings, found by short runs before. A PyTorch that a
distribution built without a fast BLAS is no measure: use that of pytorch.org.
"""
import argparse
import importlib.metadata
import importlib.util
import json
import os
import random
import statistics
import struct
import subprocess
import sys
import tempfile

for needed in ("torch", "yaml", "numpy"):
    if importlib.util.find_spec(needed) is None:
        print("skipped: this Python has no %s" % needed)
        sys.exit(77)

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(FOLDER, "..", "reference"))
from resolved_job import JobRefused, read_job, set_options  # noqa: E402

JOBS = os.path.join(FOLDER, "..", "..", "jobs")
TEST_SAMPLES = 64

# The jobs measured unless told otherwise: name, microbatch (None: the job's), training samples.
DEFAULT_JOBS = [("mnist-mlp-bn", 64, 30000), ("mnist-mlp-bn", 16, 30000),
                ("mnist-mlp-adam-bn", None, 30000), ("cifar-lenet-bn", None, 10000),
                ("mnist-lenet-bn", None, 10000), ("cifar-cnn", 4, 4000),
                ("cifar-resnet20", None, 1280)]
DEFAULT_SAMPLES = 10000

# What may be random or change a sample is off on both sides, in whatever version knows it.
OFF = {"valid_split": "0", "pad": "0", "center_crop": "null", "standardize": "none",
       "augment.random_crop": "0", "augment.flip": "false", "augment.cutout": "0"}


# ---- data, made without PyTorch: its memory would count as that of the processes to be started ----

FIFTH_NOT_BLACK = bytes(0 if value < 205 else (value - 205) * 5 + 1 for value in range(256))


def write_records(path, header, count, make_record):
    with open(path, "wb") as file:
        file.write(header)
        for _ in range(count):
            file.write(make_record())


def write_data(folder, shape, count):
    """Random images of which a fifth is not black, as in MNIST, and labels 0..9; returns the format."""
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


# ---- one run in a fresh process each: samples per second of the epochs but the first, peak bytes ----


def start(command, **options):
    """Run a command to its end; its output and the most memory it held, in bytes."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, **options)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode != 0:
        sys.exit("%s failed: %s" % (" ".join(command), text.strip()))
    return text, usage.ru_maxrss * 1024


def run_lockstep(program, path, sets, out):
    _, peak = start([program, "train", path, *set_options(sets), "--out", out, "--progress", "none"],
                    stdin=subprocess.DEVNULL)
    with open(os.path.join(out, "metrics.jsonl"), encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    rates = [record["samples_per_second"] for record in records if "samples_per_second" in record]
    return rates[1:], peak


def run_pytorch(job, *arguments):
    """What train_in_pytorch.py prints, and the memory it took."""
    with tempfile.TemporaryFile("w+") as given:
        json.dump(job, given)
        given.seek(0)
        text, peak = start([sys.executable, "-B", os.path.join(FOLDER, "train_in_pytorch.py"),
                            *arguments], stdin=given)
    return json.loads(text.splitlines()[-1]), peak


# ---- a job ----


def knows(section, key):
    """Whether a resolved section has the key "a.b"."""
    for word in key.split("."):
        if not isinstance(section, dict) or word not in section:
            return False
        section = section[word]
    return True


def prepare(arguments, path, microbatch, samples, folder):
    """Write the data; the changes of the job to measure, and the resolved job."""
    job = read_job(arguments.lockstep, path)
    data_format = write_data(folder, job["model"]["input"], samples)
    sets = ["data.%s=%s" % (key, off) for key, off in OFF.items() if knows(job["data"], key)]
    sets += ["data.format=" + data_format, "data.path=" + json.dumps(folder),
             "train.epochs=%d" % arguments.epochs, "train.shuffle=false",
             "checkpoint.every_epochs=0", "checkpoint.keep_best=none"]
    if microbatch is not None:
        sets.append("train.microbatch=%d" % microbatch)
    return sets, read_job(arguments.lockstep, path, sets)


def mebibytes(peaks):
    return statistics.median(peaks) / 2**20


def compare(arguments, path, microbatch, samples, folder):
    name = os.path.splitext(os.path.basename(path))[0]
    sets, job = prepare(arguments, path, microbatch, samples, folder)
    settings = run_pytorch(job, "--probe")[0]
    theirs, ours, their_peaks, our_peaks = [], [], [], []
    for number in range(arguments.rounds):
        rates, peak = run_lockstep(arguments.lockstep, path, sets,
                                   os.path.join(folder, "run-%d" % number))
        ours += rates
        our_peaks.append(peak)
        result, peak = run_pytorch(job, "--epochs", str(arguments.epochs), *settings)
        theirs += result
        their_peaks.append(peak)
    lockstep, pytorch = statistics.median(ours), statistics.median(theirs)
    title = "%-18s batch %3d microbatch %2d" % (name, job["train"]["batch_size"],
                                                job["train"]["microbatch"])
    print("%s  lockstep %8.0f samples/s  pytorch %8.0f samples/s (%s)  ratio %5.2f"
          % (title, lockstep, pytorch, " ".join(settings).replace("--", "") or "default",
             lockstep / pytorch))
    print("%s  lockstep %8.1f MiB        pytorch %8.1f MiB at most"
          % (title, mebibytes(our_peaks), mebibytes(their_peaks)), flush=True)


def chosen_jobs(arguments):
    """(path, microbatch, samples) of each job asked for."""
    if not arguments.job:
        return [(os.path.join(JOBS, name + ".yaml"), microbatch, arguments.samples or samples)
                for name, microbatch, samples in DEFAULT_JOBS]
    samples = {name: count for name, _, count in DEFAULT_JOBS}
    chosen = []
    for word in arguments.job:
        path, _, microbatch = word.partition(":")
        name = os.path.splitext(os.path.basename(path))[0]
        chosen.append((path, int(microbatch) if microbatch else None,
                       arguments.samples or samples.get(name, DEFAULT_SAMPLES)))
    return chosen


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lockstep", default="build/lockstep")
    parser.add_argument("--job", action="append", help="job file, or FILE:MICROBATCH; repeatable")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each side")
    parser.add_argument("--epochs", type=int, default=3, help="of a run, the first not counted")
    parser.add_argument("--samples", type=int, help="training samples, instead of each job's own")
    parser.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    if not os.access(arguments.lockstep, os.X_OK):
        sys.exit("no program at %s; build it, or give --lockstep" % arguments.lockstep)
    if arguments.epochs < 2 or arguments.rounds < 1:
        sys.exit("wanted are at least 2 epochs, of which the first is not counted, and 1 round")
    arguments.lockstep = os.path.abspath(arguments.lockstep)
    os.sched_setaffinity(0, {arguments.core})
    print("one core, PyTorch %s" % importlib.metadata.version("torch"), flush=True)
    for path, microbatch, samples in chosen_jobs(arguments):
        with tempfile.TemporaryDirectory() as folder:
            try:
                compare(arguments, path, microbatch, samples, folder)
            except JobRefused as reason:
                print("%s skipped: %s" % (os.path.basename(path), str(reason).partition("\n")[0]),
                      flush=True)


if __name__ == "__main__":
    main()
