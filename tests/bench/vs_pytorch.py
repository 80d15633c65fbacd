#!/usr/bin/env python3
"""Training speed of Lockstep and PyTorch on one core: the same networks, batches and data.

    python3 tests/bench/vs_pytorch.py [--lockstep build/lockstep] [--rounds 5] [--core 0]

It pins itself, and with it what it starts, to the core.
Both sides time whole epochs of training steps over data in memory, the first epoch left out. The
runs alternate, so that a busy machine slows down both; printed are medians and their ratio.
PyTorch takes slices of one normalised tensor and keeps the fastest form of its optimizer.
"""
import argparse
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError:
    print("skipped: this Python has no PyTorch")
    sys.exit(77)

BATCH, SAMPLES, TEST_SAMPLES, EPOCHS = 64, 30000, 64, 3

# name: features of each layer, bias of hidden layers, loss, optimizer in both languages
NETWORKS = {
    "mnist-mlp-bn": ((784, 512, 256, 10), False, "cross_entropy", "{name: sgd, lr: 0.01}",
                     lambda p, **form: torch.optim.SGD(p, lr=0.01, **form)),
    "mnist-mlp-adam-bn": ((784, 128, 64, 10), True, "nll", "{name: adam, lr: 0.001}",
                          lambda p, **form: torch.optim.Adam(p, lr=0.001, **form)),
}
MICROBATCHES = (16, 64)

# ---- data ----


def make_data():
    """Images of which a fifth of the pixels is not black, as in MNIST; labels 0..9."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (SAMPLES, 784), dtype=torch.uint8, generator=generator)
    images *= torch.rand(SAMPLES, 784, generator=generator) < 0.2
    return images, torch.randint(0, 10, (SAMPLES,), generator=generator)


def write_idx(folder, images, labels):
    for name, count in (("train", SAMPLES), ("t10k", TEST_SAMPLES)):
        with open(os.path.join(folder, name + "-images-idx3-ubyte"), "wb") as file:
            file.write(struct.pack(">4i", 0x803, count, 28, 28))
            file.write(images[:count].numpy().tobytes())
        with open(os.path.join(folder, name + "-labels-idx1-ubyte"), "wb") as file:
            file.write(struct.pack(">2i", 0x801, count))
            file.write(labels[:count].to(torch.uint8).numpy().tobytes())


# ---- Lockstep ----


def write_job(path, data_folder, network, microbatch):
    features, bias, loss, optimizer, _ = NETWORKS[network]
    layers = ["flatten"]
    for out in features[1:-1]:
        layers += ["linear: {out: %d, bias: %s}" % (out, str(bias).lower()), "batch_norm", "relu"]
    layers.append("linear: {out: %d}" % features[-1])
    if loss == "nll":
        layers.append("log_softmax")
    with open(path, "w", encoding="utf-8") as file:
        file.write("data: {format: idx, path: %s, normalize: {mean: 0.5, std: 0.5}}\n"
                   % json.dumps(data_folder))
        file.write("model:\n  input: [1, 28, 28]\n  layers:\n")
        file.writelines("    - %s\n" % layer for layer in layers)
        file.write("loss: %s\noptimizer: %s\n" % (loss, optimizer))
        file.write("train: {epochs: %d, batch_size: %d, microbatch: %d, shuffle: false}\n"
                   % (EPOCHS, BATCH, microbatch))
        file.write("checkpoint: {every_epochs: 0}\n")


def run_lockstep(program, job, out):
    """Samples per second of each epoch but the first."""
    subprocess.run([program, "train", job, "--out", out, "--threads", "1", "--progress", "none"],
                   check=True, stdin=subprocess.DEVNULL)
    with open(os.path.join(out, "metrics.jsonl"), encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    rates = [record["samples_per_second"] for record in records if "samples_per_second" in record]
    return rates[1:]


# ---- PyTorch ----


def build(network):
    features, bias, loss, _, make_optimizer = NETWORKS[network]
    layers = []
    for inputs, outputs in zip(features[:-2], features[1:-1]):
        layers += [nn.Linear(inputs, outputs, bias=bias), nn.BatchNorm1d(outputs),
                   nn.ReLU(inplace=True)]
    layers.append(nn.Linear(features[-2], features[-1]))
    if loss == "nll":
        layers.append(nn.LogSoftmax(dim=1))
    function = F.nll_loss if loss == "nll" else F.cross_entropy
    return nn.Sequential(*layers), function, make_optimizer


def run_pytorch(network, form, x, labels, epochs=EPOCHS):
    """Samples per second of each epoch but the first."""
    model, loss_function, make_optimizer = build(network)
    optimizer = make_optimizer(model.parameters(), **form)
    rates = []
    for _ in range(epochs):
        begin_seconds = time.perf_counter()
        total = torch.zeros(())
        for begin in range(0, len(x), BATCH):
            optimizer.zero_grad(set_to_none=True)
            loss = loss_function(model(x[begin:begin + BATCH]), labels[begin:begin + BATCH])
            loss.backward()
            optimizer.step()
            total += loss.detach()
        total.item()
        rates.append(len(x) / (time.perf_counter() - begin_seconds))
    return rates[1:]


def fastest_form(network, x, labels):
    """The optimizer's loop, multi-tensor or fused form, whichever this version has and is fastest."""
    speeds = []
    for form in ({}, {"foreach": True}, {"fused": True}):
        try:
            rates = run_pytorch(network, form, x[:6400], labels[:6400])
            speeds.append((statistics.median(rates), form))
        except (TypeError, RuntimeError):
            continue
    return max(speeds, key=lambda speed: speed[0])[1]


# ---- both ----


def compare(network, arguments, folder, x, labels):
    form = fastest_form(network, x, labels)
    jobs = {}
    for microbatch in MICROBATCHES:
        jobs[microbatch] = os.path.join(folder, "%s-%d.yaml" % (network, microbatch))
        write_job(jobs[microbatch], folder, network, microbatch)
    theirs, ours = [], {microbatch: [] for microbatch in MICROBATCHES}
    for number in range(arguments.rounds):
        theirs += run_pytorch(network, form, x, labels)
        for microbatch, job in jobs.items():
            out = "%s-%d" % (job, number)
            ours[microbatch] += run_lockstep(arguments.lockstep, job, out)
    pytorch = statistics.median(theirs)
    print("%s: pytorch %.0f samples/s (optimizer %s)" % (network, pytorch, form or "default"))
    for microbatch, rates in ours.items():
        lockstep = statistics.median(rates)
        print("%s microbatch %d: lockstep %.0f samples/s, %.2f x pytorch"
              % (network, microbatch, lockstep, lockstep / pytorch), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lockstep", default="build/lockstep")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    if not os.access(arguments.lockstep, os.X_OK):
        sys.exit("no program at %s; build it, or give --lockstep" % arguments.lockstep)
    arguments.lockstep = os.path.abspath(arguments.lockstep)
    os.sched_setaffinity(0, {arguments.core})
    torch.set_num_threads(1)
    images, labels = make_data()
    x = (images.float() / 255 - 0.5) / 0.5
    print("one core, batch %d, PyTorch %s" % (BATCH, torch.__version__), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        write_idx(folder, images, labels)
        for network in NETWORKS:
            compare(network, arguments, folder, x, labels)


if __name__ == "__main__":
    main()
