"""The generators of robust purifiers in PyTorch, with the weights of Keras."""

import itertools

import torch
import torch.nn.functional as F
from torch import nn

SLOPE_BELOW = 0.1
# Derivatives in place of that of a ReLU, by the names of `PixelThresholds`.
DERIVATIVES = {
    "true": lambda compared: (compared > 0).to(compared.dtype),
    "leaky": lambda compared: torch.where(compared > 0, 1.0, SLOPE_BELOW),
    "softplus_0.3": lambda compared: torch.sigmoid(compared / 0.3),
    "softplus_1": torch.sigmoid,
}


class SurrogateReLU(torch.autograd.Function):
    """ReLU whose gradient is that of a surrogate."""

    @staticmethod
    def forward(ctx, compared, surrogate):
        ctx.save_for_backward(compared)
        ctx.surrogate = surrogate
        return compared.relu()

    @staticmethod
    def backward(ctx, upstream):
        (compared,) = ctx.saved_tensors
        return upstream * DERIVATIVES[ctx.surrogate](compared), None


class PixelThresholds(nn.Module):
    """relu(slope * (pixel - threshold)): [N, C, H, W] -> [N, C * count, H, W]."""

    def __init__(self, channels, count, surrogate):
        super().__init__()
        self.thresholds = nn.Parameter(torch.zeros(channels, count))
        self.slopes = nn.Parameter(torch.zeros(channels, count))
        self.surrogate = surrogate

    def forward(self, images):
        compared = images.unsqueeze(2) - self.thresholds[:, :, None, None]
        compared = self.slopes[:, :, None, None] * compared
        return SurrogateReLU.apply(compared, self.surrogate).flatten(1, 2)


class ResidualBlock(nn.Module):
    def __init__(self, filters):
        super().__init__()
        self.first = nn.Conv2d(filters, filters, 3, 1, 1)
        self.second = nn.Conv2d(filters, filters, 3, 1, 1)
        self.gain = nn.Parameter(torch.zeros(1))

    def forward(self, features):
        residual = self.second(F.silu(self.first(F.silu(features))))
        return features + self.gain.to(residual.dtype) * residual


class SameConvolution(nn.Conv2d):
    """3x3 convolution with stride 2 and the padding "same" of Keras."""

    def __init__(self, into, filters):
        super().__init__(into, filters, 3, 2)

    def forward(self, features):
        # One row and one column, at the end.
        return super().forward(F.pad(features, (0, 1, 0, 1)))


class ResidualUNet(nn.Module):
    """`tfdefense.networks.residual_unet.ResidualUNet`, of `into` input channels."""

    def __init__(self, into, channels, filters, blocks):
        super().__init__()
        pairs = list(itertools.pairwise(filters))
        self.first = nn.Conv2d(into, filters[0], 3, 1, 1)
        self.down = nn.ModuleList(SameConvolution(a, b) for a, b in pairs)
        self.blocks = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(count) for _ in range(depth)))
            for count, depth in zip(filters, blocks, strict=True)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 4, 2, 1) for a, b in reversed(pairs))
        self.join = nn.ModuleList(nn.Conv2d(2 * a, a, 1) for a, _ in reversed(pairs))
        self.last = nn.Conv2d(filters[0], channels, 3, 1, 1)

    def forward(self, images):
        return self.purify_and_encode(images)[0]

    def purify_and_encode(self, images):
        """Return purified images and the means over all places of the deepest features."""
        height, width = images.shape[2:]
        padded = pad_to_multiple(images, 2 ** len(self.down))
        activated = F.silu(self.blocks[0](self.first(padded)))
        skips = []
        for down, blocks in zip(self.down, self.blocks[1:], strict=True):
            skips.append(activated)
            activated = F.silu(blocks(down(activated)))
        deepest = activated.float().mean((2, 3))
        for up, join in zip(self.up, self.join, strict=True):
            # Without a concatenation, which copies.
            own, skipped = join.weight.chunk(2, 1)
            hidden = F.conv2d(F.silu(up(activated)), own, join.bias)
            activated = F.silu(hidden + F.conv2d(skips.pop(), skipped))
        purified = torch.sigmoid(self.last(activated).float())
        return purified[:, :, :height, :width], deepest


class SmallUNet(nn.Module):
    """`tfdefense.networks.small_unet.SmallUNet`, of `into` input channels."""

    def __init__(self, into, channels, filters):
        super().__init__()
        pairs = list(itertools.pairwise(filters))
        before_up = [filters[-1], *(2 * count for count in reversed(filters[1:-1]))]
        self.first = nn.Conv2d(into, filters[0], 3, 1, 1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairs)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(before, after, 4, 2, 1)
            for before, after in zip(before_up, reversed(filters[:-1]), strict=True)
        )
        self.last = nn.Conv2d(2 * filters[0], channels, 3, 1, 1)

    def forward(self, images):
        height, width = images.shape[2:]
        hidden = self.first(pad_to_multiple(images, 2 ** len(self.down))).relu()
        skips = []
        for down in self.down:
            skips.append(hidden)
            hidden = down(hidden).relu()
        for up in self.up:
            hidden = torch.cat([up(hidden).relu(), skips.pop()], 1)
        return torch.sigmoid(self.last(hidden).float())[:, :, :height, :width]


def pad_to_multiple(images, multiple):
    """Pad images with zeros at the bottom and on the right."""
    height, width = (-size % multiple for size in images.shape[2:])
    return F.pad(images, (0, width, 0, height)) if height or width else images


def build_purifier(settings, weights):
    """Return the purifier that `describe_purifier` of `auto_attack_task.py` described.

    Args:
      settings: its network, the sizes of that, and the thresholds before it.
      weights: parameter name of the modules here -> array as Keras stores it.
    """
    channels, thresholds = settings["channels"], settings["thresholds"]
    into = channels * (thresholds or 1)
    if settings["network"] == "ResidualUNet":
        network = ResidualUNet(into, channels, settings["filters"], settings["blocks"])
    else:
        network = SmallUNet(into, channels, settings["filters"])
    purifier = nn.Sequential()
    if thresholds:
        purifier.add_module(
            "thresholds", PixelThresholds(channels, thresholds, settings["surrogate"])
        )
    purifier.add_module("network", network)
    purifier.load_state_dict({name: from_keras(weight) for name, weight in weights.items()})
    return purifier


def from_keras(weight):
    """Return a weight in PyTorch's layout; kernels have height and width first in Keras."""
    weight = torch.tensor(weight)
    return weight.permute(3, 2, 0, 1).contiguous() if weight.ndim == 4 else weight
