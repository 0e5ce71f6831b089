"""The PyTorch peer of `train_step.py`: an optimised training step of APE-GAN++."""

import torch
import torch.nn.functional as F
from torch import nn
from torch_training import serve

BATCH = 128
SLOPE = 0.01


def generator():
    return nn.Sequential(
        *(nn.Conv2d(1, 64, 4, 2, 1), nn.BatchNorm2d(64), nn.LeakyReLU(0.01)),
        *(nn.Conv2d(64, 128, 4, 2, 1), nn.BatchNorm2d(128), nn.LeakyReLU(0.01)),
        *(nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.BatchNorm2d(64), nn.LeakyReLU(0.01)),
        *(nn.ConvTranspose2d(64, 1, 4, 2, 1), nn.Tanh()),
    )


class LeakyGradient(torch.autograd.Function):
    """Leaky ReLU whose gradient does not depend on its input, as it is piecewise constant.

    PyTorch's own has a second derivative of zeros, which would go back through the critic.
    """

    @staticmethod
    def forward(ctx, features):
        ctx.save_for_backward(features)
        return F.leaky_relu(features, SLOPE)

    @staticmethod
    def backward(ctx, upstream):
        (features,) = ctx.saved_tensors
        return torch.ops.aten.leaky_relu_backward(
            upstream, features.detach(), SLOPE, self_is_result=False
        )


class LeakyReLU(nn.Module):
    def forward(self, features):
        return LeakyGradient.apply(features)


def critic():
    return nn.Sequential(
        *(nn.Conv2d(1, 64, 3, 2, 1), LeakyReLU()),
        *(nn.Conv2d(64, 128, 3, 2, 1), LeakyReLU()),
        *(nn.Conv2d(128, 256, 3, 2, 1), LeakyReLU()),
        *(nn.Flatten(), nn.Linear(4 * 4 * 256, 1)),
    )


def classifier():
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(6)),
        *(nn.Dropout(0.25), nn.Flatten(), nn.Linear(1024, 128), nn.Dropout(0.5)),
        nn.Linear(128, 10),
    )


class Training:
    def __init__(self, setting):
        self.autocast = setting.autocast
        frozen = classifier().eval().requires_grad_(requires_grad=False)
        self.generator, self.classifier = setting.place(generator()), setting.place(frozen)
        # PyTorch cannot compile the gradient of a gradient, which the penalty needs.
        self.critic = setting.place(critic(), compilable=False)
        self.networks = (self.generator, self.critic)
        self.generator_optimizer, self.critic_optimizer = (
            torch.optim.Adam(network.parameters(), 5e-4, (0.5, 0.999), fused=True)
            for network in self.networks
        )
        self.clean = setting.images(BATCH, 1, 28, 28)
        self.direction = torch.sign(setting.images(BATCH, 1, 28, 28, seed=1) - 0.5)
        self.labels = torch.randint(0, 10, (BATCH,))
        self.strengths = torch.tensor([0.1, 0.3, 0.5, 0.7])

    def step(self):
        clean = self.clean
        strength = self.strengths[torch.randint(0, 4, (BATCH, 1, 1, 1))]
        adversarial = (clean + strength * self.direction).clamp(0, 1)
        with self.autocast():
            purified = self.generator(2 * adversarial - 1).float() * 0.5 + 0.5
        fixed = purified.detach()
        weights = torch.rand(BATCH, 1, 1, 1)
        between = (weights * clean + (1 - weights) * fixed).requires_grad_(requires_grad=True)
        with self.autocast():
            scores = self.critic(2 * between - 1).float().sum()
            (gradient,) = torch.autograd.grad(scores, between, create_graph=True)
            clean_scores, purified_scores = (
                self.critic(2 * torch.cat([clean, fixed]) - 1).float().chunk(2)
            )
        penalty = ((gradient.square().sum((1, 2, 3)) + 1e-12).sqrt() - 1).square().mean()
        critic_loss = purified_scores.mean() - clean_scores.mean() + 10 * penalty
        self.critic_optimizer.zero_grad()
        critic_loss.backward()
        self.critic_optimizer.step()
        # The gradients of the critic are not needed here, and computing them would take time.
        self.critic.requires_grad_(requires_grad=False)
        with self.autocast():
            logits = self.classifier(purified).float()
            score = self.critic(2 * purified - 1).float().mean()
        loss = (
            -score + 0.5 * F.mse_loss(purified, clean) + 0.5 * F.cross_entropy(logits, self.labels)
        )
        self.generator_optimizer.zero_grad()
        loss.backward()
        self.generator_optimizer.step()
        self.critic.requires_grad_(requires_grad=True)


if __name__ == "__main__":
    serve(Training)
