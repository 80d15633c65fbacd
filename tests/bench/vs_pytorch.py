#!/usr/bin/env python3
"""Training speed and memory of Lockstep and PyTorch on one core: the same jobs, the same samples.

    python3 tests/bench/vs_pytorch.py [--lockstep build/lockstep] [--rounds 5] [--epochs 3]
        [--job jobs/mnist-mlp-bn.yaml[:MICROBATCH]]... [--samples N] [--core 0]

It pins itself, and with it what it starts, to the core. Network, batch size, loss and optimizer
are the job's; the samples are random, neither shuffled nor augmented, and in memory: Lockstep's
as bytes, PyTorch's as the normalised tensor. Both sides time whole epochs of training steps, the
first epoch left out, in a fresh process for each run. The runs alternate, so that a busy machine
slows down both; printed are medians and their ratio, and the most memory that either process
held. PyTorch runs in the fastest of its settings, found by short runs before, and where that sets
the optimizer's form (fused, foreach, single) also as torch.optim comes without. A PyTorch that a
distribution built without a fast BLAS is no measure: use that of pytorch.org.
"""
import argparse
import importlib.metadata
import importlib.util
import json
import os
import statistics
import sys
import tempfile

for needed in ("torch", "yaml", "numpy"):
    if importlib.util.find_spec(needed) is None:
        print("skipped: this Python has no %s" % needed)
        sys.exit(77)

import made_up  # noqa: E402
import program  # noqa: E402
from resolved_job import JobRefused, set_options  # noqa: E402

# The jobs measured unless told otherwise: name, microbatch (None: the job's).
DEFAULT_JOBS = [("mnist-mlp-bn", 64), ("mnist-mlp-bn", 16), ("mnist-mlp-adam-bn", None),
                ("cifar-lenet-bn", None), ("mnist-lenet-bn", None), ("cifar-cnn", 4),
                ("cifar-resnet20", None)]
LAYOUTS = ["--channels_last"]  # settings that are not the optimizer's form


# ---- one run in a fresh process each: samples per second of epochs, peak bytes ----


def run_lockstep(lockstep, path, sets, out):
    records, peak = program.train([lockstep], path, set_options(sets), out)
    return program.later_rates(records), peak


def run_pytorch(job, *arguments):
    """What train_in_pytorch.py prints, and the memory it took."""
    with tempfile.TemporaryFile("w+") as given:
        json.dump(job, given)
        given.seek(0)
        script = os.path.join(made_up.FOLDER, "train_in_pytorch.py")
        text, peak = program.start([sys.executable, "-B", script, *arguments], stdin=given)
    return json.loads(text.splitlines()[-1]), peak


# ---- a job ----


class Side:
    """One of those compared, and what its runs gave."""

    def __init__(self, name, run):
        self.name, self.run_once = name, run
        self.rates, self.peaks = [], []

    def run(self, number):
        rates, peak = self.run_once(number)
        self.rates += rates
        self.peaks.append(peak)

    def rate(self):
        return statistics.median(self.rates)

    def mebibytes(self):
        return statistics.median(self.peaks) / 2**20


def pytorch_sides(job, epochs):
    """PyTorch in its fastest settings, and with the optimizer's default form if that is another."""
    fastest = run_pytorch(job, "--probe")[0]
    default = [word for word in fastest if word in LAYOUTS]
    sides = []
    for settings in [fastest] if fastest == default else [fastest, default]:
        name = " ".join(settings).replace("--", "") or "default"
        sides.append(Side(name, lambda _, settings=settings: run_pytorch(
            job, "--epochs", str(epochs), *settings)))
    return sides


def compare(arguments, path, microbatch, folder):
    sets, job = made_up.prepare(arguments, path, microbatch, folder)
    lockstep = Side("lockstep", lambda number: run_lockstep(
        arguments.lockstep, path, sets, os.path.join(folder, "run-%d" % number)))
    theirs = pytorch_sides(job, arguments.epochs)
    for number in range(arguments.rounds):
        for side in [lockstep] + theirs:
            side.run(number)
    title = "%-18s batch %3d microbatch %2d" % (made_up.job_name(path), job["train"]["batch_size"],
                                                job["train"]["microbatch"])
    for side in theirs:
        print("%s  lockstep %8.0f samples/s  pytorch %8.0f samples/s (%s)  ratio %5.2f"
              % (title, lockstep.rate(), side.rate(), side.name, lockstep.rate() / side.rate()))
    print("%s  lockstep %8.1f MiB        pytorch %8.1f MiB at most"
          % (title, lockstep.mebibytes(), theirs[0].mebibytes()), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    made_up.add_arguments(parser)
    parser.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    made_up.check_arguments(arguments)
    os.sched_setaffinity(0, {arguments.core})
    print("one core, PyTorch %s" % importlib.metadata.version("torch"), flush=True)
    default = [(made_up.shipped_job(name), microbatch) for name, microbatch in DEFAULT_JOBS]
    for path, microbatch in arguments.job or default:
        with tempfile.TemporaryDirectory() as folder:
            try:
                compare(arguments, path, microbatch, folder)
            except JobRefused as reason:
                print("%s skipped: %s" % (os.path.basename(path), str(reason).partition("\n")[0]),
                      flush=True)
            except program.RunFailed as reason:
                sys.exit(str(reason))


if __name__ == "__main__":
    main()
