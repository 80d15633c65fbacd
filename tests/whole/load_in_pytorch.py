"""Load a checkpoint's /model into PyTorch, strictly, and print the accuracy on the test set of its job.

    load_in_pytorch.py CHECKPOINT.h5
"""
import os
import sys

import h5py
import numpy as np
import torch
import yaml

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "reference"))
import torch_data  # noqa: E402
import torch_model  # noqa: E402

BATCH = 256


def main():
    torch.set_num_threads(1)
    with h5py.File(sys.argv[1]) as file:
        text = file["config"][()]
        job = yaml.safe_load(text.decode() if isinstance(text, bytes) else text)
        state = {name: torch.from_numpy(np.asarray(data[...])) for name, data in file["model"].items()}
    model = torch_model.build_model(job)
    model.load_state_dict(state, strict=True)
    model.eval()
    x, labels = torch_data.read_set(job, "test")
    with torch.no_grad():
        predicted = torch.cat([model(part).argmax(1) for part in x.split(BATCH)])
    print(f"accuracy {(predicted == labels).sum().item() / len(labels):.4f}")


main()
