"""The PyTorch peers of `train_step.py` on 32x32x3: CIFAR-CNN, ResNet18 and the robust purifier."""

import sys

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch_purifiers import SmallUNet
from torch_training import serve

INNER_STEPS = 5
EPSILON = 8 / 255


def normalized_convolution(before, after, stride=1, size=3, *, bias=False):
    convolution = nn.Conv2d(before, after, size, stride, size // 2, bias=bias)
    return convolution, nn.BatchNorm2d(after, momentum=0.01)


def cifar_cnn():
    return nn.Sequential(
        *(*normalized_convolution(3, 64, bias=True), nn.ReLU()),
        *(*normalized_convolution(64, 64, bias=True), nn.ReLU(), nn.MaxPool2d(4)),
        *(*normalized_convolution(64, 128, bias=True), nn.ReLU()),
        *(*normalized_convolution(128, 128, bias=True), nn.ReLU(), nn.MaxPool2d(4)),
        *(nn.Flatten(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()),
        nn.Linear(256, 10),
    )


class Block(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.body = nn.Sequential(
            *(*normalized_convolution(before, after, stride), nn.ReLU()),
            *normalized_convolution(after, after),
        )
        shortcut = normalized_convolution(before, after, stride, size=1)
        self.shortcut = nn.Sequential(*shortcut) if stride > 1 else nn.Identity()

    def forward(self, features):
        return F.relu(self.body(features) + self.shortcut(features))


def resnet18():
    widths = (64, 64, 128, 256, 512)
    blocks = [
        Block(before if first else after, after, stride if first else 1)
        for before, after, stride in zip(widths[:-1], widths[1:], (1, 2, 2, 2), strict=True)
        for first in (True, False)
    ]
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))
    return nn.Sequential(*normalized_convolution(3, 64), nn.ReLU(), *blocks, *head)


def frozen_cifar_cnn():
    """Return CIFAR-CNN with its normalisation inside the convolutions, as ours has it when frozen."""
    layers = list(cifar_cnn().eval().requires_grad_(requires_grad=False))
    fused = []
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            fused.append(fuse_conv_bn_eval(fused.pop(), layer))
        else:
            fused.append(layer)
    return nn.Sequential(*fused)


class ClassifierTraining:
    BATCH = 128

    def __init__(self, setting, make_network):
        self.autocast, self.network = setting.autocast, setting.place(make_network())
        self.networks = (self.network,)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), 0.01, momentum=0.9, nesterov=True, fused=True
        )
        self.images = setting.images(self.BATCH, 3, 32, 32)
        self.labels = torch.randint(0, 10, (self.BATCH,))

    def step(self):
        with self.autocast():
            logits = self.network(self.images).float()
        self.optimizer.zero_grad()
        F.cross_entropy(logits, self.labels).backward()
        self.optimizer.step()


class Purifier(nn.Module):
    """Six learned thresholds for each value, and a small U-Net."""

    WIDTHS = (16, 32, 64, 128)

    def __init__(self):
        super().__init__()
        self.slopes = nn.Parameter(torch.full((3, 6), 2.0))
        self.thresholds = nn.Parameter(torch.arange(6).repeat(3, 1) / 6)
        self.network = SmallUNet(18, 3, self.WIDTHS)

    def forward(self, images):
        slopes, thresholds = (x[None, :, :, None, None] for x in (self.slopes, self.thresholds))
        return self.network(F.relu(slopes * (images[:, :, None] - thresholds)).flatten(1, 2))


class RobustTraining:
    BATCH = 128

    def __init__(self, setting):
        self.autocast = setting.autocast
        self.purifier = setting.place(Purifier())
        self.classifier = setting.place(frozen_cifar_cnn())
        self.networks = (self.purifier,)
        self.optimizer = torch.optim.Adam(self.purifier.parameters(), 1e-3, fused=True)
        self.clean = setting.images(self.BATCH, 3, 32, 32)
        self.labels = torch.randint(0, 10, (self.BATCH,))

    def step(self):
        attacked = self._attack()
        with self.autocast():
            purified = self.purifier(attacked)
            logits = self.classifier(purified).float()
        loss = F.cross_entropy(logits, self.labels) + F.mse_loss(purified, self.clean)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def _attack(self):
        self.purifier.requires_grad_(requires_grad=False)
        lower, upper = (self.clean - EPSILON).clamp(0, 1), (self.clean + EPSILON).clamp(0, 1)
        attacked = lower + torch.rand_like(lower) * (upper - lower)
        for _ in range(INNER_STEPS):
            attacked.requires_grad_(requires_grad=True)
            with self.autocast():
                logits = self.classifier(self.purifier(attacked)).float()
            loss = F.cross_entropy(logits, self.labels)
            (gradient,) = torch.autograd.grad(loss, attacked)
            moved = attacked.detach() + EPSILON / 2 * gradient.sign()
            attacked = torch.minimum(torch.maximum(moved, lower), upper)
        self.purifier.requires_grad_(requires_grad=True)
        return attacked


TRAININGS = {
    "cifar_cnn": lambda setting: ClassifierTraining(setting, cifar_cnn),
    "resnet18": lambda setting: ClassifierTraining(setting, resnet18),
    "robust_purifier": RobustTraining,
}

if __name__ == "__main__":
    serve(TRAININGS[sys.argv[1]])
