#!/usr/bin/env python3
"""What more ranks give: training steps of the same job, the same global batch, on each number of ranks in turns.

    python3 tests/bench/ranks.py [--lockstep build/lockstep] [--job jobs/cifar-lenet-bn.yaml[:MICROBATCH]]...
        [--ranks 1,2] [--rounds 5]

For each job a line per number of ranks: the median of its samples/s over the rounds, and how many times those of the
first number they are. For jobs with batch norm one more: what taking the statistics over the whole batch costs on the
last number of ranks, against those of single microbatches, which no rank sends. `lockstep bench step` measures; ranks are
bound to a core each where there are as many, so that nothing moves. More ranks than cores show nothing.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

JOBS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "jobs")
DEFAULT_JOBS = ["mnist-mlp-bn", "mnist-mlp-adam-bn", "mnist-lenet-bn", "cifar-lenet-bn", "cifar-cnn", "cifar-resnet20"]


def mpirun(ranks):
    version = subprocess.run(["mpirun", "--version"], capture_output=True, text=True, check=True).stdout
    if "Open MPI" not in version:
        return ["mpirun", "-n", str(ranks)]
    has_cores = ranks <= len(os.sched_getaffinity(0))
    binding = ["--bind-to", "core"] if has_cores else ["--bind-to", "none", "--oversubscribe"]
    return ["mpirun", "-n", str(ranks), *binding]


def samples_per_second(program, job, microbatch, ranks):
    sets = ["--set", "train.microbatch=%d" % microbatch] if microbatch else []
    command = [*mpirun(ranks), program, "bench", "step", job, "--repeats", "3", "--json", *sets]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit("%s failed: %s" % (" ".join(command), run.stderr.strip()))
    figures = [json.loads(line) for line in run.stdout.splitlines()]
    return next(figure["value"] for figure in figures if figure["name"] == "training")


def without_sync(job, folder):
    """The job with every batch norm over single microbatches, or None where there is none without options."""
    with open(job, encoding="utf-8") as file:
        text, count = re.subn(r"- batch_norm$", "- batch_norm: {sync: none}", file.read(), flags=re.M)
    if count == 0:
        return None
    path = os.path.join(folder, os.path.basename(job))
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def measure(options, job, microbatch, folder):
    name = os.path.basename(job).removesuffix(".yaml")
    name = "%s microbatch %d" % (name, microbatch) if microbatch else name
    plain = without_sync(job, folder)
    last = options.ranks[-1]
    cases = [(job, ranks) for ranks in options.ranks] + ([(plain, last)] if plain and last > 1 else [])
    rates = {case: [] for case in cases}
    for _ in range(options.rounds):
        for case in cases:
            rates[case].append(samples_per_second(options.lockstep, case[0], microbatch, case[1]))
    median = {case: statistics.median(values) for case, values in rates.items()}
    for ranks in options.ranks:
        print("%-36s %2d ranks %10.0f samples/s  ratio %5.2f" %
              (name, ranks, median[job, ranks], median[job, ranks] / median[job, options.ranks[0]]))
    if (plain, last) in median:
        cost = median[plain, last] / median[job, last] - 1
        print("%-36s %2d ranks synchronised batch norm costs %5.1f %%" % (name, last, 100 * cost))
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lockstep", default="build/lockstep")
    parser.add_argument("--job", action="append", help="a job file, or file:MICROBATCH")
    parser.add_argument("--ranks", default=[1, 2], type=lambda text: [int(word) for word in text.split(",")])
    parser.add_argument("--rounds", default=5, type=int)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for job in options.job or [os.path.join(JOBS, name + ".yaml") for name in DEFAULT_JOBS]:
            path, _, microbatch = job.partition(":")
            measure(options, path, int(microbatch or 0), folder)


main()
