#!/usr/bin/env python3
"""Write the reference numbers of this folder with PyTorch, or check that they still hold.

    make_reference.py            write one NAME.txt per case beside this script
    make_reference.py --check    compute again and compare with the files

Needs PyTorch 1.13 or later and nothing else. Inputs come from a counter-free integer formula, not
from torch's generator, and are multiples of 1/1024, so every version starts from the same exact
float32 numbers. PyTorch then computes in float64; what is printed (%.9g) names one float32 each.
The format is described in tests/support/reference.h, the cases in README.md.
"""
import argparse
import math
import os
import sys
import zlib

import torch
from torch import nn
from torch.nn import functional as F

FOLDER = os.path.dirname(os.path.abspath(__file__))
DTYPE = torch.float64

# ---- numbers ----


class Numbers:
    """Knuth's MMIX generator, started from the name of the case."""

    def __init__(self, name):
        self.state = zlib.crc32(name.encode())

    def integer(self, below):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % below

    def tensor(self, *shape, centre=0.0, step=1 / 256):
        """Multiples of `step` in [centre - 512 * step, centre + 512 * step)."""
        count = math.prod(shape)
        values = [centre + (self.integer(1024) - 512) * step for _ in range(count)]
        return torch.tensor(values, dtype=DTYPE).reshape(shape)

    def labels(self, count, classes):
        return torch.tensor([self.integer(classes) for _ in range(count)])


def leaf(tensor):
    return tensor.clone().requires_grad_(True)


CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


# ---- one layer each ----


def run_layer(layer, x, dy):
    """Forward, then backward from dy: the arrays every layer case has."""
    x = leaf(x)
    y = layer(x)
    y.backward(dy)
    arrays = {"x": x, "dy": dy, "y": y, "dx": x.grad}
    for name, parameter in layer.named_parameters():
        arrays[name] = parameter
        arrays["d" + name] = parameter.grad
    return arrays


def set_parameters(module, numbers, centre_of_weight=0.0):
    for name, parameter in module.named_parameters():
        centre = centre_of_weight if name.endswith("weight") and parameter.dim() == 1 else 0.0
        parameter.data = numbers.tensor(*parameter.shape, centre=centre, step=1 / 1024)


def linear_case(bias):
    def compute(numbers):
        layer = nn.Linear(7, 5, bias=bias).to(DTYPE)
        set_parameters(layer, numbers)
        return run_layer(layer, numbers.tensor(13, 7), numbers.tensor(13, 5))

    return compute


CASES["linear"] = linear_case(True)
CASES["linear_no_bias"] = linear_case(False)


def running(layer, suffix=""):
    return {
        "running_mean" + suffix: layer.running_mean.clone(),
        "running_var" + suffix: layer.running_var.clone(),
        "num_batches_tracked" + suffix: layer.num_batches_tracked.clone(),
    }


def batch_norm_case(*shape, centre=0.0, step=1 / 256, **options):
    """Training mode, one batch [n, features] or [n, c, h, w], running statistics from 0 and 1."""

    def compute(numbers):
        kind = nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d
        layer = kind(shape[1], **options).to(DTYPE)
        set_parameters(layer, numbers, centre_of_weight=1.0)
        x = numbers.tensor(*shape, centre=centre, step=step)
        return {**run_layer(layer, x, numbers.tensor(*shape)), **running(layer)}

    return compute


for n in (4, 16, 37, 70):
    CASES["batch_norm_%d" % n] = batch_norm_case(n, 6)
CASES["batch_norm_no_affine"] = batch_norm_case(21, 6, affine=False)
CASES["batch_norm_eps"] = batch_norm_case(21, 6, eps=1e-3)
CASES["batch_norm_mean_1000"] = batch_norm_case(70, 6, centre=1000.0, step=7 / 2048)
CASES["batch_norm_2d"] = batch_norm_case(10, 3, 4, 5)
CASES["batch_norm_2d_mean_1000"] = batch_norm_case(10, 3, 4, 5, centre=1000.0, step=7 / 2048)


@case
def batch_norm_cumulative(numbers):
    layer = nn.BatchNorm1d(6, momentum=None).to(DTYPE)
    set_parameters(layer, numbers, centre_of_weight=1.0)
    arrays = {"weight": layer.weight, "bias": layer.bias}
    for index, count in enumerate((16, 16, 9)):
        x = numbers.tensor(count, 6, centre=float(index))
        arrays["x%d" % index] = x
        arrays["y%d" % index] = layer(x)
        arrays.update(running(layer, str(index)))
    return arrays


@case
def batch_norm_eval(numbers):
    layer = nn.BatchNorm1d(6).to(DTYPE).eval()
    set_parameters(layer, numbers, centre_of_weight=1.0)
    layer.running_mean = numbers.tensor(6)
    layer.running_var = numbers.tensor(6, centre=1.0, step=1 / 1024)
    x = numbers.tensor(19, 6)
    y = layer(x)
    return {"weight": layer.weight, "bias": layer.bias, "x": x, "y": y, **running(layer)}


@case
def relu(numbers):
    return run_layer(nn.ReLU(), numbers.tensor(13, 8), numbers.tensor(13, 8))


@case
def log_softmax(numbers):
    return run_layer(nn.LogSoftmax(dim=1), numbers.tensor(13, 10), numbers.tensor(13, 10))


# ---- losses: the mean over the batch ----


def loss_arrays(function, logits, labels):
    logits = leaf(logits)
    loss = function(logits, labels)
    loss.backward()
    return {"x": logits, "labels": labels, "loss": loss, "dx": logits.grad}


@case
def cross_entropy(numbers):
    return loss_arrays(F.cross_entropy, numbers.tensor(13, 10), numbers.labels(13, 10))


@case
def cross_entropy_large(numbers):
    return loss_arrays(F.cross_entropy, numbers.tensor(13, 10, step=0.5), numbers.labels(13, 10))


@case
def nll(numbers):
    return loss_arrays(F.nll_loss, numbers.tensor(13, 10, centre=-3.0), numbers.labels(13, 10))


# ---- batch norm over several ranks is batch norm over the whole batch ----

CASES["sync_batch_norm_64"] = batch_norm_case(64, 5)
CASES["sync_batch_norm_52"] = batch_norm_case(52, 5)
CASES["sync_batch_norm_2d_52"] = batch_norm_case(52, 3, 2, 3)


@case
def group_batch_norm_52(numbers):
    """Statistics over groups of 16 samples (the last has 4). The law of total variance makes the
    running statistics those of the whole batch."""
    layer = nn.BatchNorm1d(5).to(DTYPE)
    set_parameters(layer, numbers, centre_of_weight=1.0)
    x, dy = leaf(numbers.tensor(52, 5)), numbers.tensor(52, 5)
    y = torch.cat([F.batch_norm(part, None, None, layer.weight, layer.bias, True)
                   for part in x.split(16)])
    y.backward(dy)
    layer(x)
    return {"x": x, "dy": dy, "y": y, "dx": x.grad, "weight": layer.weight,
            "dweight": layer.weight.grad, "bias": layer.bias, "dbias": layer.bias.grad,
            **running(layer)}


# ---- whole networks ----

SAMPLES, BATCH, STEPS = 53, 20, 20  # batches of 20, 20 and 13


def build_network(with_batch_norm):
    sizes, layers = (12, 9, 7, 4), []
    for index in range(3):
        is_hidden = index < 2
        bias = not (is_hidden and with_batch_norm)
        layers.append(nn.Linear(sizes[index], sizes[index + 1], bias=bias))
        if is_hidden and with_batch_norm:
            layers.append(nn.BatchNorm1d(sizes[index + 1]))
        if is_hidden:
            layers.append(nn.ReLU())
    network = nn.Sequential(*layers).to(DTYPE)
    name = "mlp_bn" if with_batch_norm else "mlp"
    set_parameters(network, Numbers(name + " parameters"), centre_of_weight=1.0)
    return network


def network_data():
    numbers = Numbers("network data")
    return numbers.tensor(SAMPLES, 12), numbers.labels(SAMPLES, 4)


def batch_of_step(step):
    x, labels = network_data()
    begin = step % 3 * BATCH
    return x[begin:begin + BATCH], labels[begin:begin + BATCH]


def state(network, prefix):
    return {prefix + name: tensor.clone() for name, tensor in network.state_dict().items()}


def network_case(with_batch_norm):
    """The start, and one forward and backward pass on the first batch and on the short one."""

    def compute(_):
        network = build_network(with_batch_norm)
        x, labels = network_data()
        arrays = {"x": x, "labels": labels, **state(network, "initial.")}
        for step, prefix in ((0, "full."), (2, "short.")):
            network = build_network(with_batch_norm)
            inputs, labels = batch_of_step(step)
            inputs = leaf(inputs)
            logits = network(inputs)
            loss = F.cross_entropy(logits, labels)
            loss.backward()
            arrays.update({prefix + "logits": logits, prefix + "loss": loss,
                           prefix + "dx": inputs.grad})
            for name, parameter in network.named_parameters():
                arrays[prefix + "d." + name] = parameter.grad
            arrays.update({name: tensor for name, tensor in state(network, prefix).items()
                           if "running" in name or "tracked" in name})
        return arrays

    return compute


def optimizer_state(optimizer, network):
    arrays = {}
    for name, parameter in network.named_parameters():
        for key, value in optimizer.state[parameter].items():
            if key != "step" and value is not None:
                arrays["%s.%s" % (key, name)] = value
    return arrays


def training_case(with_batch_norm, make_optimizer, max_norm=0.0):
    """20 steps over the batches in order; the parameters after the first, the fifth and the last."""

    def compute(_):
        network = build_network(with_batch_norm)
        optimizer = make_optimizer(network.parameters())
        losses, norms, arrays = [], [], {}
        for step in range(STEPS):
            inputs, labels = batch_of_step(step)
            optimizer.zero_grad()
            loss = F.cross_entropy(network(inputs), labels)
            loss.backward()
            losses.append(loss.item())
            if max_norm > 0:
                norms.append(nn.utils.clip_grad_norm_(network.parameters(), max_norm).item())
            optimizer.step()
            if step + 1 in (1, 5, STEPS):
                arrays.update(state(network, "step%d." % (step + 1)))
        arrays["losses"] = torch.tensor(losses, dtype=DTYPE)
        if norms:
            arrays["norms"] = torch.tensor(norms, dtype=DTYPE)
        return {**arrays, **optimizer_state(optimizer, network)}

    return compute


def sgd(**options):
    return lambda parameters: torch.optim.SGD(parameters, lr=0.1, **options)


OPTIMIZERS = {
    "sgd": sgd(),
    "sgd_momentum": sgd(momentum=0.9),
    "sgd_dampening": sgd(momentum=0.9, dampening=0.1),
    "sgd_nesterov": sgd(momentum=0.9, nesterov=True),
    "sgd_weight_decay": sgd(weight_decay=1e-2),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    "adam_weight_decay": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=1e-2),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=1e-2),
}
for network_name, has_batch_norm in (("mlp", False), ("mlp_bn", True)):
    CASES[network_name] = network_case(has_batch_norm)
    for optimizer_name, maker in OPTIMIZERS.items():
        CASES["%s_%s" % (network_name, optimizer_name)] = training_case(has_batch_norm, maker)
    CASES[network_name + "_clip"] = training_case(has_batch_norm, sgd(), max_norm=0.1)

# ---- learning-rate schedules ----

LR, FINAL_LR, GAMMA, STEP_EPOCHS, STEPS_PER_EPOCH, EPOCHS = 0.1, 0.001, 0.5, 3, 4, 10


def torch_schedule(make_scheduler, steps):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=LR)
    scheduler = make_scheduler(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def schedule_case(rate_after_warmup, make_scheduler=None, warmup_epochs=0.0):
    """lr of every step; without warm-up equal to that of torch's scheduler."""

    def compute(_):
        total = EPOCHS * STEPS_PER_EPOCH
        warmup = round(warmup_epochs * STEPS_PER_EPOCH)
        rates = [LR * (step + 1) / warmup if step < warmup else
                 rate_after_warmup(step, step - warmup, total - warmup) for step in range(total)]
        if make_scheduler:
            for ours, theirs in zip(rates, torch_schedule(make_scheduler, total)):
                if not math.isclose(ours, theirs, rel_tol=1e-9):
                    sys.exit("schedule: the formula gives %g, torch %g" % (ours, theirs))
        return {"lr": torch.tensor(rates, dtype=DTYPE)}

    return compute


def constant_rate(_step, _t, _total):
    return LR


def step_rate(step, _t, _total):
    return LR * GAMMA ** (step // STEPS_PER_EPOCH // STEP_EPOCHS)


def cosine_rate(_step, t, total):
    return FINAL_LR + (LR - FINAL_LR) * (1 + math.cos(math.pi * t / total)) / 2


def linear_rate(_step, t, total):
    return LR + (FINAL_LR - LR) * t / total


RATES = {"constant": constant_rate, "step": step_rate, "cosine": cosine_rate,
         "linear": linear_rate}
TOTAL = EPOCHS * STEPS_PER_EPOCH
SCHEDULERS = {
    "step": lambda o: torch.optim.lr_scheduler.StepLR(o, STEP_EPOCHS * STEPS_PER_EPOCH, GAMMA),
    "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, TOTAL, FINAL_LR),
    "linear": lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, FINAL_LR / LR, TOTAL),
}
for schedule_name, rate in RATES.items():
    CASES["schedule_" + schedule_name] = schedule_case(rate, SCHEDULERS.get(schedule_name))
    CASES["schedule_%s_warmup" % schedule_name] = schedule_case(rate, warmup_epochs=1.5)

# ---- files ----


def path_of(name):
    return os.path.join(FOLDER, name + ".txt")


def compute_case(name):
    arrays = CASES[name](Numbers(name))
    return {key: torch.as_tensor(value).detach() for key, value in arrays.items()}


def write_case(name):
    with open(path_of(name), "w", encoding="ascii") as file:
        for key, tensor in compute_case(name).items():
            file.write(" ".join([key] + [str(size) for size in tensor.shape]) + "\n")
            values = ["%.9g" % value for value in tensor.flatten().tolist()]
            for begin in range(0, len(values), 8):
                file.write(" ".join(values[begin:begin + 8]) + "\n")


def read_case(name):
    """{array name: (shape, values)}; an array's numbers follow the line with its name."""
    arrays = {}
    with open(path_of(name), encoding="ascii") as file:
        for words in map(str.split, file):
            if words[0][0].isalpha():
                values = []
                arrays[words[0]] = ([int(word) for word in words[1:]], values)
            else:
                values.extend(float(word) for word in words)
    return arrays


def check_case(name):
    """What differs, as a list of lines."""
    expected, problems = read_case(name), []
    computed = compute_case(name)
    if list(computed) != list(expected):
        return ["%s: other arrays than in the file" % name]
    for key, tensor in computed.items():
        shape, values = expected[key]
        if shape != list(tensor.shape):
            problems.append("%s: %s has another shape" % (name, key))
            continue
        found = torch.tensor(values, dtype=DTYPE).reshape(tensor.shape)
        if not torch.allclose(tensor.to(DTYPE), found, rtol=1e-7, atol=1e-9):
            problems.append("%s: %s differs by up to %.3g" %
                            (name, key, (tensor - found).abs().max().item()))
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with the files")
    check = parser.parse_args().check
    torch.set_num_threads(1)
    problems = []
    for name in CASES:
        if check:
            problems += check_case(name)
        else:
            write_case(name)
    files = {entry[:-4] for entry in os.listdir(FOLDER) if entry.endswith(".txt")}
    problems += ["%s.txt: no such case" % name for name in sorted(files - set(CASES))]
    print("\n".join(problems + ["%d cases %s with PyTorch %s" % (
        len(CASES), "checked" if check else "written", torch.__version__)]))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
