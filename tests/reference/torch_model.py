"""The PyTorch twin of a job: its network, loss and optimizer.

The job is the resolved one that `lockstep config JOB.yaml` prints, or that a checkpoint holds. The twin's state_dict
has the names and shapes of a checkpoint's /model, so load_state_dict(..., strict=True) takes it. Batch norm is that of
the whole batch: in training the twin of a job whose `sync` is not global learns something else.

Works with PyTorch 1.13 and later.
"""
from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F

from resolved_job import JobRefused
from torch_residual import Residual


# ---- layers: functions of the layer's options and the shape of one sample before it ----


def pair(sizes):
    """[n] or n for both sides, or [height, width]."""
    sizes = sizes if isinstance(sizes, list) else [sizes]
    return tuple(sizes) if len(sizes) == 2 else (sizes[0], sizes[0])


def stride_of_pool(options):
    """null: windows side by side."""
    return pair(options["stride"] or options["kernel"])


def batch_norm(options, shape):
    kind = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
    module = kind(shape[0], eps=options["eps"], momentum=options["momentum"],
                  affine=options["affine"])
    if options["affine"] and options["init_gamma"] == "uniform":
        nn.init.uniform_(module.weight)
    return module


def conv2d(options, shape):
    return nn.Conv2d(shape[0], options["out"], pair(options["kernel"]), pair(options["stride"]),
                     pair(options["padding"]), pair(options["dilation"]), options["groups"],
                     options["bias"])


def max_pool2d(options, shape):
    return nn.MaxPool2d(pair(options["kernel"]), stride_of_pool(options), pair(options["padding"]),
                        pair(options["dilation"]), ceil_mode=options["ceil_mode"])


def avg_pool2d(options, shape):
    return nn.AvgPool2d(pair(options["kernel"]), stride_of_pool(options), pair(options["padding"]),
                        options["ceil_mode"], options["count_include_pad"])


def residual(options, shape):
    projection = options.get("projection")
    return Residual(build_layers(options["layers"], shape)[0],
                    build_layers(projection, shape)[0] if projection else None)


LAYERS = {
    "linear": lambda options, shape: nn.Linear(shape[0], options["out"], options["bias"]),
    "conv2d": conv2d,
    "batch_norm": batch_norm,
    "group_norm": lambda options, shape: nn.GroupNorm(options["groups"], shape[0], options["eps"],
                                                      options["affine"]),
    "layer_norm": lambda options, shape: nn.LayerNorm(shape, options["eps"], options["affine"]),
    "relu": lambda options, shape: nn.ReLU(),
    "leaky_relu": lambda options, shape: nn.LeakyReLU(options["negative_slope"]),
    "gelu": lambda options, shape: nn.GELU(approximate=options["approximate"]),
    "sigmoid": lambda options, shape: nn.Sigmoid(),
    "tanh": lambda options, shape: nn.Tanh(),
    "softmax": lambda options, shape: nn.Softmax(dim=1),
    "log_softmax": lambda options, shape: nn.LogSoftmax(dim=1),
    "dropout": lambda options, shape: nn.Dropout(options["p"]),
    "dropout2d": lambda options, shape: nn.Dropout2d(options["p"]),
    "max_pool2d": max_pool2d,
    "avg_pool2d": avg_pool2d,
    "adaptive_avg_pool2d": lambda options, shape: nn.AdaptiveAvgPool2d(pair(options["out"])),
    "flatten": lambda options, shape: nn.Flatten(),
    "sequential": lambda options, shape: build_layers(options["layers"], shape)[0],
    "residual": residual,
}


def build_layers(specs, shape):
    """A Sequential of the layers, and the shape of one sample behind them."""
    modules = OrderedDict()
    for index, spec in enumerate(specs):
        word, options = (spec, {}) if isinstance(spec, str) else next(iter(spec.items()))
        if word not in LAYERS:
            raise JobRefused("torch_model.py has no twin of the layer '%s'" % word)
        module = LAYERS[word](options, shape)
        modules[options.get("name", str(index))] = module
        with torch.no_grad():
            shape = list(module.eval()(torch.zeros(1, *shape)).shape[1:])
        module.train()
    return nn.Sequential(modules), shape


# ---- the parts of a training ----


def build_model(job):
    return build_layers(job["model"]["layers"], job["model"]["input"])[0]


def loss_function(job):
    """Of the network's outputs and the labels: the mean over the batch."""
    return {"cross_entropy": F.cross_entropy, "nll": F.nll_loss}[job["loss"]]


def build_optimizer(job, parameters, **form):
    """`form`: PyTorch's choice of loop, foreach=... or fused=..."""
    options = job["optimizer"]
    common = {"lr": options["lr"], "weight_decay": options["weight_decay"], **form}
    if options["name"] == "sgd":
        return torch.optim.SGD(parameters, momentum=options["momentum"],
                               dampening=options["dampening"], nesterov=options["nesterov"],
                               **common)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[options["name"]]
    return kind(parameters, betas=tuple(options["betas"]), eps=options["eps"], **common)


def train_step(job, model, compute_loss, optimizer, x, labels):
    """One step on one batch; its loss, detached."""
    optimizer.zero_grad(set_to_none=True)
    loss = compute_loss(model(x), labels)
    loss.backward()
    if job["optimizer"]["clip_norm"] > 0:
        nn.utils.clip_grad_norm_(model.parameters(), job["optimizer"]["clip_norm"])
    optimizer.step()
    return loss.detach()
