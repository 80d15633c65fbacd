#!/usr/bin/env python3
"""Write a table of single layers, and of layers that hold others, with what PyTorch computes for them.

    parity_cases.py FILE    for tests/reference/parity_table.c, which says how the file looks

Needs PyTorch 1.13 or later and nothing else. Options, shapes, batch sizes and microbatches are drawn
with a fixed seed. Inputs are exact in float32; PyTorch computes in float64.
"""
import math
import random
import struct
import sys

import torch
from torch import nn

from torch_residual import Residual

DTYPE = torch.float64
draw = random.Random(20260101)

# ---- the file ----


def text(value):
    data = value.encode()
    return struct.pack("<i", len(data)) + data


def array(name, tensor):
    values = tensor.detach().to(torch.float32).contiguous().reshape(-1)
    return text(name) + struct.pack("<q", values.numel()) + values.numpy().tobytes()


def flow(value):
    """A value as YAML flow text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{%s}" % ", ".join("%s: %s" % (key, flow(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return "[%s]" % ", ".join(flow(item) for item in value)
    if value is None:
        return "null"
    return repr(value) if isinstance(value, float) else str(value)


class Table:
    def __init__(self):
        self.cases = []

    def add(self, layer, options, shape, arrays, samples, microbatch, is_training):
        """`options` as in a job file; arrays {name: tensor}, batch outermost."""
        data = text(layer) + text(flow({layer: options})) + text(flow(list(shape)))
        data += struct.pack("<iiii", samples, microbatch, is_training, len(arrays))
        self.cases.append(data + b"".join(array(*item) for item in arrays.items()))

    def write(self, path):
        with open(path, "wb") as file:
            file.write(b"LSPARITY" + struct.pack("<i", len(self.cases)))
            file.write(b"".join(self.cases))


TABLE = Table()

# ---- one case ----


BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


MICROBATCHES = (1, 2, 4, 8, 16, 32)  # each has kernels of its own


def numbers(*shape, centre=0.0, step=1 / 256):
    """Multiples of `step` in [centre - 512 * step, centre + 512 * step)."""
    values = [centre + draw.randrange(-512, 512) * step for _ in range(math.prod(shape))]
    return torch.tensor(values, dtype=DTYPE).reshape(shape)


def batch():
    """Samples and microbatch; most have several microbatches and a last one that is not full."""
    return draw.choice((1, 2, 3, 5, 7, 11, 13, 16, 21, 33, 37, 50, 70)), draw.choice(MICROBATCHES)


def small_batch():
    return draw.choice((1, 2, 3, 5, 7, 9, 17)), draw.choice(MICROBATCHES)


def add(layer, options, shape, module, of=small_batch, centre=0.0, step=1 / 256, is_training=True):
    samples, microbatch = of()
    if is_training and any(isinstance(part, BATCH_NORMS) for part in module.modules()):
        samples = max(samples, 2)  # PyTorch refuses one value per channel
    module = module.to(DTYPE).train(is_training)
    arrays = {}
    for name, parameter in module.named_parameters():
        owner, _, last = name.rpartition(".")
        is_norm = "Norm" in type(module.get_submodule(owner)).__name__
        centre_of_weight = 1.0 if last == "weight" and is_norm else 0.0
        parameter.data = numbers(*parameter.shape, centre=centre_of_weight, step=1 / 1024)
        arrays["set." + name] = parameter
    for name, buffer in module.named_buffers():
        if buffer.dim() > 0 and not is_training:
            buffer.copy_(numbers(*buffer.shape, centre=1.5, step=1 / 512))
        arrays["set." + name] = buffer.clone()
    x = numbers(samples, *shape, centre=centre, step=step).requires_grad_(True)
    y = module(x)
    dy = numbers(*y.shape)
    arrays.update(x=x, dy=dy, y=y)
    if is_training:
        y.backward(dy)
        arrays["dx"] = x.grad
        for name, parameter in module.named_parameters():
            arrays["gradient." + name] = parameter.grad
    for name, buffer in module.named_buffers():
        arrays["after." + name] = buffer
    TABLE.add(layer, options, shape, arrays, samples, microbatch, is_training)


def pair(choices):
    """Numbers of the choices for both sides, half the time the same."""
    if draw.random() < 0.5:
        return (draw.choice(choices),) * 2
    return draw.choice(choices), draw.choice(choices)


# ---- layers ----


def room(size, kernel, padding, dilation):
    """The pixels that the window can move down and to the right; negative where it does not fit."""
    return [s + 2 * p - d * (k - 1) - 1 for s, k, p, d in zip(size, kernel, padding, dilation)]


def one_or_two(of_sides):
    return of_sides[0] if len(set(of_sides)) == 1 else of_sides


def convolution(channels, out, groups, image, kernel, stride, padding, dilation, algorithm="auto"):
    """Numbers of both sides; nothing is added where the window does not fit."""
    if min(room(image, kernel, padding, dilation)) < 0:
        return
    has_bias = draw.random() < 0.7
    options = {"out": out, "kernel": one_or_two(kernel), "stride": one_or_two(stride)}
    options.update(padding=one_or_two(padding), dilation=one_or_two(dilation), groups=groups)
    options.update(bias=has_bias, algorithm=algorithm)
    module = nn.Conv2d(channels, out, kernel, stride, padding, dilation, groups, has_bias)
    add("conv2d", options, (channels, *image), module)


def convolutions():
    kinds = [(c, o, 1) for c in (1, 2, 3, 5, 8) for o in (1, 3, 6, 16)]
    kinds += [(c, c, c) for c in (2, 3, 8, 16)] + [(4, 8, 4), (3, 6, 3), (4, 6, 2), (6, 9, 3)]
    images = [(5, 5), (8, 8), (7, 9), (12, 6), (4, 13)]
    for kernel in ((1, 1), (3, 3), (5, 5), (7, 7), (1, 3), (5, 2)):
        for kind in kinds:
            for _ in range(2):
                sides = pair((1, 1, 2, 3)), pair((0, 1, 2, 3)), pair((1, 1, 2))
                convolution(*kind, draw.choice(images), kernel, *sides)


def far_convolutions():
    """Windows that lie in the padding alone, or leave out pixels between them; weights far apart."""
    kinds = [(1, 1, 1), (3, 6, 1), (5, 16, 1), (8, 3, 1), (8, 8, 8), (3, 6, 3), (6, 9, 3)]
    images = [(1, 1), (3, 8), (9, 7), (17, 13), (6, 20)]
    sides = [  # stride, padding, dilation
        ((4, 4), (0, 0), (1, 1)),
        ((5, 5), (4, 4), (1, 1)),
        ((8, 8), (6, 6), (1, 1)),
        ((1, 1), (5, 5), (1, 1)),
        ((1, 1), (3, 3), (3, 3)),
        ((2, 2), (8, 8), (4, 4)),
        ((1, 7), (0, 5), (1, 1)),
        ((6, 1), (7, 0), (1, 3)),
        ((4, 1), (2, 9), (5, 1)),
        ((3, 5), (4, 6), (2, 4)),
    ]
    for kind in kinds:
        for side in sides:
            for kernel in draw.sample(((1, 1), (2, 2), (3, 3), (5, 5), (1, 4), (6, 1)), 3):
                convolution(*kind, draw.choice(images), kernel, *side)
    for kind in kinds:
        for padding in ((0, 0), (1, 1), (4, 4), (0, 5)):
            for algorithm in ("direct", "winograd"):
                convolution(*kind, draw.choice(images), (3, 3), (1, 1), padding, (1, 1), algorithm)


def pooling(sizes, kernels_of, strides_of, paddings_of, dilations_of):
    """A max and an average pooling of numbers that are drawn for one or both sides."""
    size = draw.choice(sizes)
    kernel, stride, padding, dilation = pair(kernels_of), pair(strides_of), pair(paddings_of), pair(dilations_of)
    is_ceil = draw.random() < 0.5
    if any(p > k // 2 for p, k in zip(padding, kernel)):
        padding = (0, 0)
    options = {"kernel": one_or_two(kernel), "stride": one_or_two(stride)}
    options.update(padding=one_or_two(padding), ceil_mode=is_ceil)

    def fits(dilation):
        overhang = [s - 1 if is_ceil else 0 for s in stride]
        return all(r + o >= 0 for r, o in zip(room(size, kernel, padding, dilation), overhang))

    if fits(dilation):
        module = nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=is_ceil)
        add("max_pool2d", {**options, "dilation": one_or_two(dilation)}, (3, *size), module, step=1 / 64)
    if fits((1, 1)):
        counts = draw.random() < 0.5
        module = nn.AvgPool2d(kernel, stride, padding, is_ceil, counts)
        add("avg_pool2d", {**options, "count_include_pad": counts}, (3, *size), module)


def poolings():
    sizes = (4, 4), (5, 7), (8, 8), (9, 6), (11, 11)
    for _ in range(90):
        pooling(sizes, (1, 2, 3, 4), (1, 2, 3), (0, 1), (1, 1, 2))
    for _ in range(60):
        pooling(sizes, (3, 5, 7, 9), (1, 4, 5, 7), (1, 2, 3, 4), (1, 2, 3, 4))
    for _ in range(90):  # windows about as large as the image, or larger
        pooling(((1, 1), (2, 3), (3, 3), (5, 2)), (2, 3, 4, 5), (2, 3, 4), (0, 1), (1,))
    for kernel in (1, 2, 3):
        for size in ((6, 6), (7, 5), (9, 12)):
            for is_ceil in (False, True):
                options = {"kernel": kernel, "ceil_mode": is_ceil}
                add("max_pool2d", options, (2, *size), nn.MaxPool2d(kernel, ceil_mode=is_ceil), step=1 / 2)
                add("avg_pool2d", options, (2, *size), nn.AvgPool2d(kernel, ceil_mode=is_ceil))
    for out in (1, 2, 3, (1, 4), (5, 3), (4, None), 7):
        for size in ((4, 4), (7, 7), (9, 5)):
            add("adaptive_avg_pool2d", {"out": out}, (3, *size), nn.AdaptiveAvgPool2d(out))


SHAPES = ((1,), (3,), (10,), (17,), (2, 1, 1), (3, 2, 2), (5, 3, 4), (4, 5, 1))


def activations():
    for shape in SHAPES:
        add("relu", {}, shape, nn.ReLU(), batch)
        add("leaky_relu", {}, shape, nn.LeakyReLU(), batch)
        add("leaky_relu", {"negative_slope": 0.2}, shape, nn.LeakyReLU(0.2), batch)
        for step in (1 / 256, 1 / 32):
            add("gelu", {}, shape, nn.GELU(), batch, step=step)
            add("gelu", {"approximate": "tanh"}, shape, nn.GELU("tanh"), batch, step=step)
            add("sigmoid", {}, shape, nn.Sigmoid(), batch, step=step)
            add("tanh", {}, shape, nn.Tanh(), batch, step=step)
            add("softmax", {}, shape, nn.Softmax(1), batch, step=step)
            add("log_softmax", {}, shape, nn.LogSoftmax(1), batch, step=step)
    for centre in (-1000.0, 1000.0):
        add("softmax", {}, (10,), nn.Softmax(1), batch, centre, 1 / 16)
        add("log_softmax", {}, (10,), nn.LogSoftmax(1), batch, centre, 1 / 16)


def products():
    for into in (1, 3, 16, 37, 130):
        for out in (1, 5, 16, 31):
            bias = draw.random() < 0.7
            options = {"out": out, "bias": bias}
            add("linear", options, (into,), nn.Linear(into, out, bias), batch, step=1 / 1024)
    for shape in ((2, 1, 1), (3, 2, 2), (5, 3, 4)):
        add("flatten", {}, shape, nn.Flatten(), batch)


def batch_norms():
    for shape in SHAPES:
        kind = nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d
        for momentum in (0.1, 0.3, None):
            for affine in (True, False):
                options = {"momentum": momentum, "affine": affine}
                module = kind(shape[0], momentum=momentum, affine=affine)
                add("batch_norm", options, shape, module, lambda: (draw.randrange(4, 70), 8))
        module = kind(shape[0], eps=1e-3)
        add("batch_norm", {"eps": 1e-3}, shape, module, batch, is_training=False)


def own_norms():
    for shape, groups in [((6,), g) for g in (1, 2, 3)] + [
        ((c, h, w), g) for c, g in ((4, 2), (6, 3), (8, 1)) for h, w in ((1, 2), (3, 3), (5, 2))
    ]:
        for affine in (True, False):
            for centre in (0.0, 100.0):
                options = {"groups": groups, "affine": affine, "eps": draw.choice((1e-5, 1e-3))}
                module = nn.GroupNorm(groups, shape[0], options["eps"], affine)
                add("group_norm", options, shape, module, batch, centre)
    for shape in ((5,), (16,), (33,), (2, 3, 3), (3, 1, 4), (8, 4, 4)):
        for affine in (True, False):
            for centre in (0.0, 100.0):
                options = {"affine": affine, "eps": draw.choice((1e-5, 1e-3))}
                module = nn.LayerNorm(shape, options["eps"], affine)
                add("layer_norm", options, shape, module, batch, centre)


def dropouts():
    """PyTorch's mask cannot be ours: the file has its factor of what is kept."""
    for layer, module, shapes in (
        ("dropout", nn.Dropout, SHAPES),
        ("dropout2d", nn.Dropout2d, [shape for shape in SHAPES if len(shape) == 3]),
    ):
        for shape in shapes:
            for p in (0.0, 0.2, 0.5, 0.9):
                samples, microbatch = batch()
                kept = module(p)(torch.ones(1, 400, *shape[1:], dtype=torch.float32)).max()
                x, dy = numbers(samples, *shape), numbers(samples, *shape)
                arrays = {"x": x, "dy": dy, "kept": kept.reshape(1)}
                TABLE.add(layer, {"p": p}, shape, arrays, samples, microbatch, True)


# ---- layers that hold others: pairs of what the job file says and PyTorch's module ----


def sequential(*parts):
    return {"sequential": {"layers": [job for job, _ in parts]}}, nn.Sequential(*[module for _, module in parts])


def residual(layers, projection=()):
    options, module = {"layers": [job for job, _ in layers]}, None
    if projection:
        options["projection"] = [job for job, _ in projection]
        module = nn.Sequential(*[part for _, part in projection])
    return {"residual": options}, Residual(nn.Sequential(*[part for _, part in layers]), module)


def relu():
    return {"relu": {}}, nn.ReLU()


def gelu():
    return {"gelu": {}}, nn.GELU()


def linear(into, out, bias):
    return {"linear": {"out": out, "bias": bias}}, nn.Linear(into, out, bias)


def conv2d(into, out, kernel, stride, bias):
    """Keeps the size but for the stride."""
    options = {"out": out, "kernel": kernel, "padding": kernel // 2, "stride": stride, "bias": bias}
    return {"conv2d": options}, nn.Conv2d(into, out, kernel, stride, kernel // 2, bias=bias)


def norm(features, is_image):
    return {"batch_norm": {}}, (nn.BatchNorm2d if is_image else nn.BatchNorm1d)(features)


def add_holder(pair, shape, is_training):
    """With samples enough for batch norms over batch norms: of two, they amplify every rounding."""
    (layer, options), = pair[0].items()
    most = 18 if len(shape) == 3 else 70
    add(layer, options, shape, pair[1], lambda: (draw.randrange(8, most), draw.choice(MICROBATCHES)),
        is_training=is_training)


def holders_of(shape, is_training):
    """Blocks on `shape`: shortcuts that are x, and such that are projected, to `wide` features or channels."""
    is_image, narrow = len(shape) == 3, shape[0]
    wide, stride = narrow + 2, 2 if is_image else 1

    def weights(into, out, kernel=3, stride=1, bias=True):
        return conv2d(into, out, kernel, stride, bias) if is_image else linear(into, out, bias)

    def normed(into, out, kernel=3, stride=1):  # a bias would be subtracted again, its gradient be rounding errors
        return [weights(into, out, kernel, stride, bias=False), norm(out, is_image)]

    def body(out, stride=1):
        return [*normed(narrow, out, 3, stride), relu(), *normed(out, out)]

    def shortcut(out, stride=1):
        return normed(narrow, out, 1, stride)

    def projected():
        return residual(body(wide, stride), shortcut(wide, stride))

    for pair in (
        sequential(weights(narrow, wide), gelu()),
        sequential(norm(narrow, is_image), relu()),
        sequential(sequential(relu(), weights(narrow, wide)), sequential(sequential(gelu()))),
        residual(body(narrow)),
        residual([weights(narrow, narrow)]),
        residual([relu()]),
        residual([norm(narrow, is_image), relu(), weights(narrow, narrow)]),
        projected(),
        residual([weights(narrow, wide), gelu()], [weights(narrow, wide, 1)]),
        residual(normed(narrow, wide), [sequential(*shortcut(wide))]),
        sequential(residual(body(narrow)), relu(), projected(), relu()),
        sequential(relu(), projected(), gelu()),
        residual([residual(body(narrow)), relu(), weights(narrow, narrow)]),
        residual([projected(), relu()], [projected()]),
        residual([sequential(residual([norm(narrow, is_image)]), relu()), residual([gelu()])]),
    ):
        add_holder(pair, shape, is_training)


def holders():
    """Not on one feature: scaled by its batch norm, it leaves gradients that are rounding errors alone."""
    for shape in ((5,), (16,), (33,), (2, 5, 4), (3, 8, 8), (4, 3, 7)):
        holders_of(shape, True)
    for shape in ((5,), (3, 8, 8)):
        holders_of(shape, False)


def main():
    torch.manual_seed(1)
    torch.set_num_threads(1)
    for make in (
        convolutions,
        far_convolutions,
        poolings,
        activations,
        products,
        batch_norms,
        own_norms,
        dropouts,
        holders,
    ):
        make()
    TABLE.write(sys.argv[1])


main()
