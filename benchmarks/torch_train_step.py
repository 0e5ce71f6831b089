"""The PyTorch peer of `train_step.py`: an optimised training step of APE-GAN++.

It reads one word per line from standard input. A memory format ("contiguous", "channels_last")
selects that format. A number runs that many steps and prints their seconds.
"""

import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

BATCH = 128


def generator():
    return nn.Sequential(
        *(nn.Conv2d(1, 64, 4, 2, 1), nn.BatchNorm2d(64), nn.LeakyReLU(0.01)),
        *(nn.Conv2d(64, 128, 4, 2, 1), nn.BatchNorm2d(128), nn.LeakyReLU(0.01)),
        *(nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.BatchNorm2d(64), nn.LeakyReLU(0.01)),
        *(nn.ConvTranspose2d(64, 1, 4, 2, 1), nn.Tanh()),
    )


def critic():
    return nn.Sequential(
        *(nn.Conv2d(1, 64, 3, 2, 1), nn.LeakyReLU(0.01)),
        *(nn.Conv2d(64, 128, 3, 2, 1), nn.LeakyReLU(0.01)),
        *(nn.Conv2d(128, 256, 3, 2, 1), nn.LeakyReLU(0.01)),
        *(nn.Flatten(), nn.Linear(4 * 4 * 256, 1)),
    )


def classifier():
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(6)),
        *(nn.Dropout(0.25), nn.Flatten(), nn.Linear(1024, 128), nn.Dropout(0.5)),
        nn.Linear(128, 10),
    )


class Training:
    def __init__(self, memory_format):
        self.format = memory_format
        self.generator, self.critic, self.classifier = (
            make().to(memory_format=memory_format) for make in (generator, critic, classifier)
        )
        self.classifier.eval().requires_grad_(requires_grad=False)
        self.generator_optimizer, self.critic_optimizer = (
            torch.optim.Adam(network.parameters(), 5e-4, (0.5, 0.999))
            for network in (self.generator, self.critic)
        )
        self.networks = (self.generator, self.critic)
        draws = torch.Generator().manual_seed(0)
        self.clean = torch.rand(BATCH, 1, 28, 28, generator=draws).to(memory_format=memory_format)
        self.direction = torch.sign(torch.rand(BATCH, 1, 28, 28, generator=draws) - 0.5)
        self.labels = torch.randint(0, 10, (BATCH,), generator=draws)
        self.strengths = torch.tensor([0.1, 0.3, 0.5, 0.7])

    def step(self):
        clean = self.clean
        strength = self.strengths[torch.randint(0, 4, (BATCH, 1, 1, 1))]
        adversarial = (clean + strength * self.direction).clamp(0, 1)
        purified = self.generator(2 * adversarial - 1) * 0.5 + 0.5
        fixed = purified.detach()
        weights = torch.rand(BATCH, 1, 1, 1)
        between = (weights * clean + (1 - weights) * fixed).requires_grad_(requires_grad=True)
        (gradient,) = torch.autograd.grad(
            self.critic(2 * between - 1).sum(), between, create_graph=True
        )
        penalty = ((gradient.square().sum((1, 2, 3)) + 1e-12).sqrt() - 1).square().mean()
        clean_scores, purified_scores = self.critic(2 * torch.cat([clean, fixed]) - 1).chunk(2)
        critic_loss = purified_scores.mean() - clean_scores.mean() + 10 * penalty
        self.critic_optimizer.zero_grad()
        critic_loss.backward()
        self.critic_optimizer.step()
        # The gradients of the critic are not needed here, and computing them would take time.
        self.critic.requires_grad_(requires_grad=False)
        logits = self.classifier(purified)
        loss = (
            -self.critic(2 * purified - 1).mean()
            + 0.5 * F.mse_loss(purified, clean)
            + 0.5 * F.cross_entropy(logits, self.labels)
        )
        self.generator_optimizer.zero_grad()
        loss.backward()
        self.generator_optimizer.step()
        self.critic.requires_grad_(requires_grad=True)


def serve(training_class):
    """Train as standard input says; first print the parameter counts of `networks`."""
    formats = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
    trainings = {name: training_class(memory_format) for name, memory_format in formats.items()}
    training = trainings["contiguous"]
    sizes = [sum(p.numel() for p in network.parameters()) for network in training.networks]
    print(torch.__version__, *sizes, flush=True)
    for line in sys.stdin:
        word = line.strip()
        if word in trainings:
            training = trainings[word]
            continue
        started = time.perf_counter()
        for _ in range(int(word)):
            training.step()
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    serve(Training)
