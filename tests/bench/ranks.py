#!/usr/bin/env python3
"""What more ranks give: the same job, the same global batch, on each number of ranks in turns.

    python3 tests/bench/ranks.py [--lockstep build/lockstep] [--ranks 1,2] [--rounds 5]
        [--job jobs/cifar-lenet-bn.yaml[:MICROBATCH]]... [--epochs 3] [--samples N]

Samples and settings are those of vs_pytorch.py. Each run is a fresh process and times whole
epochs, the first left out; a rank has one thread and keeps to one core where there are as many
(more ranks than cores show nothing). For each job and number of ranks a line tells the median of
samples/s, how many times that of the first number it is, and what two ranks are meant to reach.

For jobs with batch norm over the whole batch two more lines tell of the last number of ranks.
First, what rank 0 spends on batch norm's communication, waiting for the others included:
synchronising costs no more. Second, what the same job gains with `sync: none`, the statistics of
single microbatches. That may be nothing: to merge the running statistics the ranks still meet in
every layer.
"""
import argparse
import importlib.util
import os
import re
import statistics
import sys
import tempfile

if importlib.util.find_spec("yaml") is None:
    print("skipped: this Python has no yaml")
    sys.exit(77)

import made_up  # noqa: E402
import program  # noqa: E402
from resolved_job import JobRefused, print_job, set_options  # noqa: E402

DEFAULT_JOBS = ["mnist-mlp-bn", "mnist-mlp-adam-bn", "mnist-lenet-bn", "cifar-lenet-bn",
                "cifar-cnn", "cifar-resnet20"]

# What two ranks are meant to reach with convolutions and without, and percent for batch norm.
CONVOLUTION_TARGET, LINEAR_TARGET, SYNC_TARGET = 1.8, 1.6, 3


def communication_percent(out):
    """Batch norm's part of the profiled steps of a run."""
    with open(os.path.join(out, "log.txt"), encoding="utf-8") as file:
        return float(re.search(r"batch-norm communication .* ([0-9.]+)%", file.read()).group(1))


def without_sync(arguments, path, sets, folder):
    """The job with statistics of single microbatches; None where it has none of the batch."""
    text, count = re.subn("sync: global", "sync: none", print_job(arguments.lockstep, path, sets))
    if count == 0:
        return None
    path = os.path.join(folder, "without-sync.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


class Case:
    """A job on a number of ranks, and what its runs gave."""

    def __init__(self, path, ranks):
        self.path, self.ranks = path, ranks
        self.rates, self.percents = [], []

    def run(self, arguments, sets, out):
        words = set_options(sets) + ["--threads", "1", "--profile"]
        command = [*program.on_ranks(self.ranks, bound=True), arguments.lockstep]
        records, _ = program.train(command, self.path, words, out)
        self.rates += program.later_rates(records)
        self.percents.append(communication_percent(out))

    def rate(self):
        return statistics.median(self.rates)


def measure(arguments, path, microbatch, folder):
    sets, job = made_up.prepare(arguments, path, microbatch, folder)
    plain = without_sync(arguments, path, sets, folder)
    cases = [Case(path, ranks) for ranks in arguments.ranks]
    first, last = cases[0], cases[-1]
    turns = cases + ([Case(plain, last.ranks)] if plain and last.ranks > 1 else [])
    for number in range(arguments.rounds):
        for i, case in enumerate(turns):
            case.run(arguments, sets, os.path.join(folder, "run-%d-%d" % (number, i)))
    title = "%-18s batch %3d microbatch %2d" % (
        made_up.job_name(path), job["train"]["batch_size"], job["train"]["microbatch"])
    speed_up = CONVOLUTION_TARGET if "conv2d" in str(job["model"]) else LINEAR_TARGET
    for case in cases:
        target = "  (target %.1f)" % speed_up if (first.ranks, case.ranks) == (1, 2) else ""
        print("%s  %2d ranks %8.0f samples/s  ratio %5.2f%s" %
              (title, case.ranks, case.rate(), case.rate() / first.rate(), target))
    if len(turns) > len(cases):
        print("%s  %2d ranks batch norm communicates %5.1f %% of a step  (target < %d %%)" %
              (title, last.ranks, statistics.median(last.percents), SYNC_TARGET))
        print("%s  %2d ranks sync: global costs %5.1f %% against none" %
              (title, last.ranks, 100 * (turns[-1].rate() / last.rate() - 1)))
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    made_up.add_arguments(parser)
    parser.add_argument("--ranks", default=[1, 2], metavar="N,N...",
                        type=lambda text: [int(word) for word in text.split(",")])
    arguments = parser.parse_args()
    made_up.check_arguments(arguments)
    jobs = arguments.job or [(made_up.shipped_job(name), None) for name in DEFAULT_JOBS]
    for path, microbatch in jobs:
        with tempfile.TemporaryDirectory() as folder:
            try:
                measure(arguments, path, microbatch, folder)
            except (JobRefused, program.RunFailed) as reason:
                sys.exit(str(reason))


if __name__ == "__main__":
    main()
