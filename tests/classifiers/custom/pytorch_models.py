"""Exports small PyTorch models with the code of the guide, in a process of its own.

Usage: python -m tests.classifiers.custom.pytorch_models MODEL NAME

PyTorch and TensorFlow are not imported into one process: `torch.onnx.export` can crash there.
"""

import sys

import torch
from torch import nn

from tests.docs.markdown import ROOT, blocks

IMAGE_SHAPE = (3, 16, 16)


def convolutions():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1, groups=2),
        nn.LeakyReLU(0.1),
        nn.Flatten(),  # The order of the features depends on the order of the channels.
        nn.Dropout(),
        nn.Linear(8 * 8 * 8, 10),
    )


def mobile_block():
    class SqueezeAndExcite(nn.Module):
        def __init__(self):
            super().__init__()
            self.gates = nn.Sequential(
                nn.AdaptiveAvgPool2d(1),
                nn.Conv2d(8, 2, 1),
                nn.ReLU(),
                nn.Conv2d(2, 8, 1),
                nn.Hardsigmoid(),
            )

        def forward(self, features):
            return features * self.gates(features)

    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.Hardswish(),
        nn.Conv2d(8, 8, 5, padding=2, groups=8),
        nn.SiLU(),
        SqueezeAndExcite(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )


def residual_block():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(8, 8, 3, padding=1)
            self.norm = nn.BatchNorm2d(8)

        def forward(self, features):
            return nn.functional.relu(features + self.norm(self.first(features)))

    return nn.Sequential(
        nn.Conv2d(3, 8, 7, stride=2, padding=3),
        nn.MaxPool2d(3, stride=2, padding=1),
        Residual(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )


def seeded(make):
    """Make a model with random weights and moving averages."""
    torch.manual_seed(0)
    model = make()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return model


def main():
    _, model, name = sys.argv
    page = ROOT / "docs" / "guides" / "from-pytorch.md"
    code = next(block.text for block in blocks(page) if block.language == "python")
    functions = {}
    exec(code, functions)
    # The guide's code switches to inference.
    functions["export"](seeded(globals()[model]).train(), IMAGE_SHAPE, name)


if __name__ == "__main__":
    main()
