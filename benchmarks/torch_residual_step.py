"""The PyTorch peer of `train_step.py` for the robust purifier with `--recipe=color`."""

import itertools
import sys

import torch
import torch.nn.functional as F
from torch import nn
from torch_color_step import EPSILON, frozen_cifar_cnn
from torch_purifiers import ResidualUNet
from torch_training import serve

WIDTHS, BLOCKS = (32, 64, 128, 128), (0, 2, 1, 1)
CLASSES, AVERAGE = 10, 0.995


class EncodingUNet(ResidualUNet):
    """The residual U-Net, whose forward pass returns its deepest features too."""

    def __init__(self):
        super().__init__(3, 3, WIDTHS, BLOCKS)
        # PyTorch's own padding is faster than that of Keras, and the work is the same.
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in itertools.pairwise(WIDTHS))

    def forward(self, images):
        return self.purify_and_encode(images)


class ResidualTraining:
    """N-FGSM through purifier and frozen classifier, with the auxiliary head of `--recipe=color`."""

    BATCH = 128

    def __init__(self, setting):
        self.autocast = setting.autocast
        self.purifier = setting.place(EncodingUNet())
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
