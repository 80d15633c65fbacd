#!/usr/bin/env python3
"""Train a job's PyTorch twin on real data: what Lockstep's losses and accuracies should be like.

    train_reference.py JOB.yaml [--data FOLDER] [--lockstep build/lockstep] [--set a.b=value]... [--threads N]

Same network, start-value rules, normalisation, validation split, epochs, learning rates and loss; other random numbers
(PyTorch's, from the job's seed), so figures agree as two seeds of one program do. Printed are the training loss of each
epoch and, at the end, first and last of them and the accuracies in evaluation mode.
"""
import argparse
import math
import sys

import torch

import torch_data
import torch_model
from resolved_job import JobRefused, read_job

EVALUATION_BATCH = 500


def learning_rate(job, step, steps_per_epoch):
    """As src/schedule.c."""
    schedule, lr = job["schedule"], job["optimizer"]["lr"]
    warmup = round(schedule["warmup_epochs"] * steps_per_epoch)
    if step < warmup:
        return lr * (step + 1) / warmup
    steps = job["train"]["epochs"] * steps_per_epoch
    t = (step - warmup) / (steps - warmup)
    if schedule["name"] == "step":
        return lr * schedule["gamma"] ** (step // steps_per_epoch // schedule["step_epochs"])
    if schedule["name"] == "cosine":
        return schedule["final_lr"] + (lr - schedule["final_lr"]) * (1 + math.cos(math.pi * t)) / 2
    if schedule["name"] == "linear":
        return lr + (schedule["final_lr"] - lr) * t
    return lr


def require_global_batch_norm(layers):
    for layer in layers:
        for options in layer.values() if isinstance(layer, dict) else ():
            if options.get("sync", "global") != "global":
                raise JobRefused("the twin's batch norm is that of the whole batch: sync: global")
            require_global_batch_norm((options.get("layers") or []) + (options.get("projection") or []))


def accuracy(model, x, labels):
    if len(x) == 0:
        return math.nan
    model.eval()
    with torch.no_grad():
        predicted = torch.cat([model(part).argmax(1) for part in x.split(EVALUATION_BATCH)])
    model.train()
    return (predicted == labels).double().mean().item()


def train(job, x, labels):
    """The trained twin, and the mean loss of each epoch while it learned."""
    model, losses, step = torch_model.build_model(job), [], 0
    optimizer = torch_model.build_optimizer(job, model.parameters())
    compute_loss = torch_model.loss_function(job)
    size = job["train"]["batch_size"]
    steps_per_epoch = -(-len(x) // size)
    for epoch in range(job["train"]["epochs"]):
        order = torch.randperm(len(x)) if job["train"]["shuffle"] else torch.arange(len(x))
        total = 0.0
        for part in order.split(size):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(job, step, steps_per_epoch)
            loss = torch_model.train_step(job, model, compute_loss, optimizer, x[part], labels[part])
            total += loss.item() * len(part)
            step += 1
        losses.append(total / len(x))
        print("epoch %d train loss %.4f" % (epoch + 1, losses[-1]), flush=True)
    return model, losses


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("job")
    parser.add_argument("--data", help="the data set's folder, instead of the job's data.path")
    parser.add_argument("--lockstep", default="build/lockstep")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    sets = arguments.set + (["data.path=" + arguments.data] if arguments.data else [])
    try:
        job = read_job(arguments.lockstep, arguments.job, sets)
        require_global_batch_norm(job["model"]["layers"])
        x, labels = torch_data.read_set(job, "train")
        test = torch_data.read_set(job, "test")
    except JobRefused as reason:
        sys.exit(str(reason))
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(job["seed"])
    count = int(len(x) * (1 - job["data"]["valid_split"]) + 1e-9)
    model, losses = train(job, x[:count], labels[:count])
    print("train loss first %.4f last %.4f" % (losses[0], losses[-1]))
    print("accuracy train %.4f valid %.4f test %.4f" % (
        accuracy(model, x[:count], labels[:count]), accuracy(model, x[count:], labels[count:]),
        accuracy(model, *test)))


if __name__ == "__main__":
    main()
