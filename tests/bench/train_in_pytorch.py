#!/usr/bin/env python3
"""Train a job's PyTorch twin on one thread and print, as JSON, samples per second of each epoch but the first.

    train_in_pytorch.py --epochs N [--channels_last] [--foreach | --fused | --single] < JOB.json
    train_in_pytorch.py --probe < JOB.json      print the fastest of these settings instead, as a list

Called by vs_pytorch.py. Data is read before the clock starts; batches are slices of one tensor in the set's order. Subnormal numbers are
flushed to zero, as Lockstep does and PyTorch only when asked.
"""
import argparse
import json
import os
import statistics
import sys
import time

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "reference"))
import torch_data  # noqa: E402
import torch_model  # noqa: E402

PROBE_SECONDS, PROBE_STEPS = 0.3, 10
# PyTorch's optimizer steps over one tensor after the other, over lists of them, or in one kernel.
FORMS = {"single": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}


class Trainer:
    """A new twin of the job with the settings."""

    def __init__(self, job, settings):
        self.job = job
        self.model = torch_model.build_model(job)
        if "--channels_last" in settings:
            self.model = self.model.to(memory_format=torch.channels_last)
        form = next((FORMS[name] for name in FORMS if "--" + name in settings), {})
        self.optimizer = torch_model.build_optimizer(job, self.model.parameters(), **form)
        self.loss = torch_model.loss_function(job)

    def step(self, x, labels):
        return torch_model.train_step(self.job, self.model, self.loss, self.optimizer, x, labels)


def run_epochs(trainer, batches, epochs):
    rates = []
    for _ in range(epochs):
        begin = time.perf_counter()
        total, count = torch.zeros(()), 0
        for x, labels in batches:
            total += trainer.step(x, labels) * len(labels)
            count += len(labels)
        total.item()
        rates.append(count / (time.perf_counter() - begin))
    return rates


def arranged(batches, settings):
    if "--channels_last" not in settings:
        return batches
    return [(x.contiguous(memory_format=torch.channels_last), labels) for x, labels in batches]


def probe(job, batches, settings):
    """Samples per second in short runs; 0 where this version of PyTorch has no such form."""
    batches = arranged(batches[:PROBE_STEPS], settings)
    try:
        trainer = Trainer(job, settings)
        run_epochs(trainer, batches, 1)
        rates, end = [], time.perf_counter() + PROBE_SECONDS
        while len(rates) < 3 or time.perf_counter() < end:
            rates += run_epochs(trainer, batches, 1)
    except (TypeError, ValueError, RuntimeError):
        return 0
    return statistics.median(rates)


def fastest(job, batches, candidates):
    return max(candidates, key=lambda settings: probe(job, batches, settings))


def find_settings(job, batches):
    """First the layout of images, then the optimizer's form."""
    layouts = [[]]
    if "conv2d" in json.dumps(job["model"]):
        layouts.append(["--channels_last"])
    layout = fastest(job, batches, layouts)
    return fastest(job, batches, [layout] + [layout + ["--" + form] for form in FORMS])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--probe", action="store_true")
    parser.add_argument("--epochs", type=int)
    for word in ["channels_last", *FORMS]:
        parser.add_argument("--" + word, action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    assert torch.set_flush_denormal(True), "this PyTorch cannot flush subnormal numbers"
    job = json.load(sys.stdin)
    size = job["train"]["batch_size"]
    batches = list(zip(*(part.split(size) for part in torch_data.read_set(job, "train"))))
    if arguments.probe:
        print(json.dumps(find_settings(job, batches)))
        return
    settings = ["--" + word for word in ["channels_last", *FORMS] if getattr(arguments, word)]
    trainer = Trainer(job, settings)
    print(json.dumps(run_epochs(trainer, arranged(batches, settings), arguments.epochs)[1:]))


if __name__ == "__main__":
    main()
