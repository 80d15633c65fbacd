#!/usr/bin/env python3
"""Train the shipped jobs on the real data and hold what they reach against PyTorch's figures.

    python3 tests/bench/figures.py [JOB]... [--data data] [--ranks 2] [--out FOLDER]
        [--lockstep build/lockstep]

A JOB is the name of a file in jobs/ without .yaml; without one all but quickstart are trained, of
which the last, ResNet-20, takes longer than the others together. FOLDER/JOB keeps the run of a job.
A line per figure tells what the run reached, what PyTorch reached with the same settings (one run)
and how far two seeds may be apart, and whether the run is within. The exit code is 1 if a figure is
outside or a job failed.
"""
import argparse
import glob
import os
import sys
import tempfile

import program

JOBS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "jobs")
DATA = {"mnist": "mnist", "cifar": "cifar10"}  # by how a job's name begins


class Near:
    """A reference and how far from it a figure may be."""

    def __init__(self, wanted, spread):
        self.wanted, self.spread = wanted, spread

    def holds(self, value):
        return abs(value - self.wanted) <= self.spread

    def __str__(self):
        return "%.4f +- %.4f" % (self.wanted, self.spread)


class AtLeast:
    """The least that a figure must be."""

    def __init__(self, least):
        self.least = least

    def holds(self, value):
        return value >= self.least

    def __str__(self):
        return "at least %.4f" % self.least


class Beside:
    """A reference of something else: PyTorch's training accuracy is that of the trained network in
    evaluation mode, ours that of the last epoch, while it learned. It is told and not judged."""

    def __init__(self, wanted):
        self.wanted = wanted

    def __str__(self):
        return "%.4f when trained" % self.wanted


def mnist(accuracy):
    return Near(accuracy, 0.006)


def cifar(accuracy):
    return Near(accuracy, 0.02)


# What is judged of each job. Figures without a reference are told alone.
EXPECTED = {
    "mnist-mlp": {
        "first train loss": Near(1.5734, 0.05), "last train loss": Near(0.2159, 0.01),
        "test accuracy": mnist(0.9406)},
    "mnist-mlp-bn": {
        "first train loss": Near(0.3920, 0.03), "last train loss": Near(0.0190, 0.011),
        "test accuracy": mnist(0.9775)},
    "mnist-mlp-adam": {
        "first train loss": Near(0.45, 0.05), "last train loss": Near(0.0566, 0.01),
        "train accuracy": Beside(0.9857), "valid accuracy": mnist(0.9705),
        "test accuracy": mnist(0.9729)},
    "mnist-mlp-adam-bn": {
        "first train loss": Near(0.30, 0.05), "last train loss": Near(0.0241, 0.01),
        "train accuracy": Beside(0.9971), "valid accuracy": mnist(0.9778),
        "test accuracy": mnist(0.9768)},
    "mnist-lenet-bn": {"last train loss": Near(0.0134, 0.006), "test accuracy": mnist(0.9914)},
    "mnist-lenet-inputbn": {"last train loss": Near(0.0147, 0.006), "test accuracy": mnist(0.9904)},
    "mnist-lenet-dropout": {"last train loss": Near(0.971, 0.03), "test accuracy": mnist(0.9853)},
    "mnist-lenet-bn-dropout": {"last train loss": Near(0.992, 0.03),
                               "test accuracy": mnist(0.9838)},
    "cifar-lenet": {
        "first train loss": Near(1.782, 0.08), "last train loss": Near(0.912, 0.06),
        "train accuracy": Beside(0.733), "valid accuracy": cifar(0.614),
        "test accuracy": cifar(0.614)},
    "cifar-lenet-bn": {
        "first train loss": Near(1.628, 0.06), "last train loss": Near(0.885, 0.06),
        "train accuracy": Beside(0.775), "valid accuracy": cifar(0.661),
        "test accuracy": cifar(0.655)},
    "cifar-cnn": {
        "first train loss": Near(1.725, 0.08), "last train loss": Near(0.866, 0.06),
        "test accuracy": cifar(0.599)},
    "cifar-dropout-bn": {
        "first train loss": Near(2.015, 0.06), "last train loss": Near(1.670, 0.06),
        "train accuracy": Beside(0.533), "test accuracy": cifar(0.504)},
    "cifar-resnet20": {"test accuracy": AtLeast(0.80)},
}
# Options of a job beside its file.
SETS = {"cifar-resnet20": ["train.epochs=10"]}


def shipped_jobs():
    """The jobs' names, the longest at the end."""
    paths = glob.glob(os.path.join(JOBS, "*.yaml"))
    names = {os.path.splitext(os.path.basename(path))[0] for path in paths} - {"quickstart"}
    if names != set(EXPECTED):
        sys.exit("jobs/ and the figures here differ in %s" % sorted(names ^ set(EXPECTED)))
    return list(EXPECTED)


def reached(records):
    """What a run's metrics say, by the names in EXPECTED; None where it has no such samples."""
    epochs = [record for record in records if record["type"] == "epoch" and record["epoch"] > 0]
    test = next(record for record in records if record["type"] == "test")
    return {"first train loss": epochs[0]["train_loss"],
            "last train loss": epochs[-1]["train_loss"],
            "train accuracy": epochs[-1]["train_accuracy"],
            "valid accuracy": epochs[-1]["valid_accuracy"],
            "test accuracy": test["test_accuracy"]}


def verdict(value, expected):
    """The end of a figure's line, and whether the figure may stand."""
    if expected is None:
        return "", True
    if isinstance(expected, Beside):
        return "  expected %s" % expected, True
    holds = value is not None and expected.holds(value)
    return "  expected %-20s %s" % (expected, "within" if holds else "outside"), holds


def judge(job, figures):
    """Print a line for each figure; whether all are within."""
    good = True
    for name, value in figures.items():
        expected = EXPECTED[job].get(name)
        if value is None and expected is None:
            continue
        text, holds = verdict(value, expected)
        shown = "none" if value is None else "%.4f" % value
        print("%-24s%-18s%8s%s" % (job, name, shown, text), flush=True)
        good = good and holds
    return good


def run(arguments, job, out):
    """Train a job; whether it reaches its figures."""
    data = os.path.join(arguments.data, DATA[job.partition("-")[0]])
    words = ["--set", "data.path=" + data]
    for assignment in SETS.get(job, []):
        words += ["--set", assignment]
    command = [*program.on_ranks(arguments.ranks), arguments.lockstep]
    try:
        records, _ = program.train(command, os.path.join(JOBS, job + ".yaml"), words,
                                   os.path.join(out, job))
    except program.RunFailed as reason:
        print("%-24sfailed: %s" % (job, reason.told()), flush=True)
        return False
    return judge(job, reached(records))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    shipped = shipped_jobs()
    parser.add_argument("jobs", nargs="*", metavar="JOB", help="of jobs/; all if none is named")
    parser.add_argument("--data", default="data", help="the folder with mnist and cifar10")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--out", help="a folder for the runs, else they are not kept")
    parser.add_argument("--lockstep", default="build/lockstep")
    arguments = parser.parse_args()
    for job in arguments.jobs:
        if job not in shipped:
            parser.error("no job '%s'; there are %s" % (job, ", ".join(shipped)))
    with tempfile.TemporaryDirectory() as folder:
        results = [run(arguments, job, arguments.out or folder)
                   for job in arguments.jobs or shipped]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
