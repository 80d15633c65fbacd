"""Load a checkpoint's /model into PyTorch, strictly, and print the accuracy on an IDX test set.

    load_in_pytorch.py CHECKPOINT.h5 FOLDER-OF-IDX-FILES
"""
import gzip
import os
import sys
from collections import OrderedDict

import h5py
import numpy as np
import torch
import yaml


def read_idx(folder, name, header):
    path = os.path.join(folder, name)
    opened = open(path, "rb") if os.path.exists(path) else gzip.open(path + ".gz", "rb")
    with opened as file:
        return np.frombuffer(file.read(), np.uint8, offset=header)


class Residual(torch.nn.Module):
    def __init__(self, layers, projection):
        super().__init__()
        self.layers, self.projection = layers, projection

    def forward(self, x):
        return self.layers(x) + (x if self.projection is None else self.projection(x))


def build(layers, features):
    """A list of layers of the job in the file as a torch.nn.Sequential, and its output features."""
    modules = OrderedDict()
    for layer in layers:
        name, options = (layer, {}) if isinstance(layer, str) else next(iter(layer.items()))
        if name == "flatten":
            module = torch.nn.Flatten()
        elif name == "linear":
            module = torch.nn.Linear(features, options["out"], bias=options["bias"])
            features = options["out"]
        elif name == "batch_norm":
            module = torch.nn.BatchNorm1d(features, eps=options["eps"])
        elif name == "relu":
            module = torch.nn.ReLU()
        elif name == "log_softmax":
            module = torch.nn.LogSoftmax(dim=1)
        elif name == "sequential":
            module, features = build(options["layers"], features)
        elif name == "residual":
            projection = options.get("projection")
            module = Residual(build(options["layers"], features)[0],
                              projection and build(projection, features)[0])
            features = build(options["layers"], features)[1]
        else:
            sys.exit(f"no such layer here: {name}")
        modules[options.get("name", str(len(modules)))] = module
    return torch.nn.Sequential(modules), features


def main():
    torch.set_num_threads(1)
    with h5py.File(sys.argv[1]) as f:
        job = f["config"][()]
        job = yaml.safe_load(job.decode() if isinstance(job, bytes) else job)
        model = build(job["model"]["layers"], 784)[0]
        model.load_state_dict({k: torch.from_numpy(np.asarray(v[...])) for k, v in f["model"].items()}, strict=True)
    normalize = job["data"]["normalize"]
    images = read_idx(sys.argv[2], "t10k-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28)
    labels = torch.from_numpy(read_idx(sys.argv[2], "t10k-labels-idx1-ubyte", 8).astype(np.int64))
    x = torch.from_numpy(images.astype(np.float32) / 255)
    x = (x - normalize["mean"][0]) / normalize["std"][0]
    model.eval()
    with torch.no_grad():
        right = (model(x).argmax(1) == labels).sum().item()
    print(f"accuracy {right / len(labels):.4f}")


main()
