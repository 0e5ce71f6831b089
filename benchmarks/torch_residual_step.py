"""The PyTorch peer of `train_step.py` for the robust purifier with `--recipe=color`."""

import itertools
import sys

import torch
import torch.nn.functional as F
from torch import nn
from torch_color_step import EPSILON, frozen_cifar_cnn
from torch_training import serve

WIDTHS, BLOCKS = (32, 64, 128, 128), (0, 2, 1, 1)
CLASSES, AVERAGE = 10, 0.995


class Block(nn.Module):
    def __init__(self, filters):
        super().__init__()
        self.first = nn.Conv2d(filters, filters, 3, 1, 1)
        self.second = nn.Conv2d(filters, filters, 3, 1, 1)
        self.gain = nn.Parameter(torch.zeros(1))

    def forward(self, features):
        residual = self.second(F.silu(self.first(F.silu(features))))
        return features + self.gain.to(residual.dtype) * residual


class ResidualUNet(nn.Module):
    """U-Net with residual blocks. The forward pass returns purified images and deepest features."""

    def __init__(self):
        super().__init__()
        pairs = list(itertools.pairwise(WIDTHS))
        self.first = nn.Conv2d(3, WIDTHS[0], 3, 1, 1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in pairs)
        self.blocks = nn.ModuleList(
            nn.Sequential(*(Block(filters) for _ in range(depth)))
            for filters, depth in zip(WIDTHS, BLOCKS, strict=True)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 4, 2, 1) for a, b in reversed(pairs))
        self.join = nn.ModuleList(nn.Conv2d(2 * a, a, 1) for a, _ in reversed(pairs))
        self.last = nn.Conv2d(WIDTHS[0], 3, 3, 1, 1)

    def forward(self, images):
        hidden = self.blocks[0](self.first(images))
        skips = []
        for down, blocks in zip(self.down, self.blocks[1:], strict=True):
            skips.append(hidden)
            hidden = blocks(down(F.silu(hidden)))
        deepest = F.silu(hidden).float().mean((2, 3))
        for up, join in zip(self.up, self.join, strict=True):
            hidden = torch.cat([up(F.silu(hidden)), skips.pop()], 1)
            hidden = join(F.silu(hidden))
        return torch.sigmoid(self.last(F.silu(hidden)).float()), deepest


class ResidualTraining:
    """N-FGSM through purifier and frozen classifier, with the auxiliary head of `--recipe=color`."""

    BATCH = 128

    def __init__(self, setting):
        self.autocast = setting.autocast
        self.purifier = setting.place(ResidualUNet())
        self.classifier = setting.place(frozen_cifar_cnn())
        self.head = nn.Linear(WIDTHS[-1], CLASSES)
        self.networks = (self.purifier,)
        self.weights = [*self.purifier.parameters()]
        self.averages = [weight.detach().clone() for weight in self.weights]
        self.optimizer = torch.optim.AdamW(
            [*self.weights, *self.head.parameters()], 1e-3, weight_decay=0.5, fused=True
        )
        self.clean = setting.images(self.BATCH, 3, 32, 32)
        self.labels = torch.randint(0, CLASSES, (self.BATCH,))

    def step(self):
        attacked = self._attack()
        with self.autocast():
            purified, features = self.purifier(attacked)
            logits = self.classifier(purified).float()
            auxiliary = F.cross_entropy(self.head(features).float(), self.labels)
        loss = F.cross_entropy(logits, self.labels) + 0.5 * auxiliary
        loss = loss + 0.1 * F.mse_loss(purified, self.clean)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights, 1.0, foreach=True)
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.averages, self.weights, 1 - AVERAGE)

    def _attack(self):
        self.purifier.requires_grad_(requires_grad=False)
        noise = EPSILON * (2 * torch.rand_like(self.clean) - 1)
        noisy = (self.clean + noise).clamp(0, 1).requires_grad_(requires_grad=True)
        with self.autocast():
            logits = self.classifier(self.purifier(noisy)[0]).float()
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, self.labels), noisy)
        self.purifier.requires_grad_(requires_grad=True)
        return (noisy.detach() + EPSILON * gradient.sign()).clamp(0, 1)


if __name__ == "__main__":
    serve({"color_purifier": ResidualTraining}[sys.argv[1]])
