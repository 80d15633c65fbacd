"""PyTorch's twin of the layer residual. Needs PyTorch and nothing else."""
from torch import nn


class Residual(nn.Module):
    """y = layers(x) + projection(x), or + x without a projection (He et al. 2016)."""

    def __init__(self, layers, projection):
        super().__init__()
        self.layers = layers
        self.projection = projection

    def forward(self, x):
        return self.layers(x) + (x if self.projection is None else self.projection(x))
