"""The PyTorch peer of `train_step.py --training=cgan`: an optimised training step of pix2pix."""

import torch
import torch.nn.functional as F
from torch import nn
from torch_train_step import BATCH, classifier
from torch_training import serve

FILTERS = (64, 128, 256, 512, 512)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        levels = len(FILTERS)
        before = (1, *FILTERS[:-1])
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 4, 2, 1) for a, b in zip(before, FILTERS, strict=True)
        )
        after = (*reversed(FILTERS[:-1]), 1)
        inputs = (FILTERS[-1], *(2 * count for count in after[:-1]))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in zip(inputs, after, strict=True)
        )
        self.down_norms = nn.ModuleList(nn.BatchNorm2d(count) for count in FILTERS[1 : levels - 1])
        self.up_norms = nn.ModuleList(nn.BatchNorm2d(count) for count in after[:-1])

    def forward(self, images):
        hidden = F.pad(2 * images - 1, (0, 4, 0, 4), value=-1.0)
        last, encoded = len(self.down) - 1, []
        for depth, convolution in enumerate(self.down):
            hidden = F.leaky_relu(hidden, 0.2) if depth else hidden
            if depth == last:  # Of 2x2 pixels; the rest of the kernel meets the padding.
                hidden = F.conv2d(hidden, convolution.weight[:, :, 1:3, 1:3], convolution.bias)
            else:
                hidden = convolution(hidden)
            if 0 < depth < last:
                hidden = self.down_norms[depth - 1](hidden)
            encoded.append(hidden)
        for depth, convolution in enumerate(self.up):
            if depth:
                hidden = torch.cat([hidden, encoded[last - depth]], 1)
            hidden = F.relu(hidden)
            if depth:
                hidden = convolution(hidden)
            else:
                hidden = F.conv_transpose2d(
                    hidden, convolution.weight[:, :, 1:3, 1:3], convolution.bias
                )
            if depth < last:
                hidden = self.up_norms[depth](hidden)
            if depth < 3:
                hidden = F.dropout(hidden, 0.5)
        return (0.5 * torch.tanh(hidden) + 0.5)[:, :, :28, :28]


class PatchGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(2, 64, 4, 2, 1), nn.LeakyReLU(0.2)),
            *(nn.Conv2d(64, 128, 4, 2, 1), nn.BatchNorm2d(128), nn.LeakyReLU(0.2)),
            *(nn.Conv2d(128, 256, 4, 1, "same"), nn.BatchNorm2d(256), nn.LeakyReLU(0.2)),
            nn.Conv2d(256, 1, 4, 1, "same"),
        )

    def forward(self, condition, images):
        return self.layers(2 * torch.cat([condition, images], 1) - 1)


class Training:
    def __init__(self, setting):
        self.autocast = setting.autocast
        frozen = classifier().eval().requires_grad_(requires_grad=False)
        self.generator, self.discriminator, self.classifier = (
            setting.place(network) for network in (UNet(), PatchGAN(), frozen)
        )
        self.networks = (self.generator, self.discriminator)
        self.generator_optimizer, self.discriminator_optimizer = (
            torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999), fused=True)
            for network in self.networks
        )
        self.clean = setting.images(BATCH, 1, 28, 28)
        self.direction = torch.sign(setting.images(BATCH, 1, 28, 28, seed=1) - 0.5)
        self.labels = torch.randint(0, 10, (BATCH,))

    def step(self):
        clean = self.clean
        adversarial = (clean + 0.15 * self.direction).clamp(0, 1)
        with self.autocast():
            purified = self.generator(adversarial).float()
            real = self.discriminator(adversarial, clean).float()
            fake = self.discriminator(adversarial, purified.detach()).float()
        discriminator_loss = 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())
        self.discriminator_optimizer.zero_grad()
        discriminator_loss.backward()
        self.discriminator_optimizer.step()
        # The gradients of the discriminator are not needed here, and would take time.
        self.discriminator.requires_grad_(requires_grad=False)
        with self.autocast():
            scores = self.discriminator(adversarial, purified).float()
            logits = self.classifier(purified).float()
        loss = (
            F.softplus(-scores).mean()
            + 100 * F.l1_loss(purified, clean)
            + F.cross_entropy(logits, self.labels)
        )
        self.generator_optimizer.zero_grad()
        loss.backward()
        self.generator_optimizer.step()
        self.discriminator.requires_grad_(requires_grad=True)


if __name__ == "__main__":
    serve(Training)
