"""Settings and timing of the PyTorch peers of `train_step.py`.

A peer reads one line at a time from standard input. A setting, such as
`channels_last/bfloat16/compiled`, builds its training, if it is new, and prints the parameter counts
of its networks, or `error` and a reason. A number runs that many steps and prints their seconds.
"""

import sys
import time

import torch

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


class Setting:
    """A memory format, a precision and a mode of PyTorch.

    Args:
      text: `contiguous` or `channels_last`, `float32` or `bfloat16` (autocast), and `eager` or
        `compiled`, with slashes between.
    """

    def __init__(self, text):
        memory_format, self.precision, self.mode = text.split("/")
        self.format = FORMATS[memory_format]

    def place(self, network, *, compilable=True):
        """Return the network in the memory format of the setting, compiled if the mode says so."""
        network = network.to(memory_format=self.format)
        return torch.compile(network) if compilable and self.mode == "compiled" else network

    def images(self, *shape, seed=0):
        """Return random images in [0, 1] in the memory format of the setting."""
        draws = torch.Generator().manual_seed(seed)
        return torch.rand(*shape, generator=draws).to(memory_format=self.format)

    def autocast(self):
        """Return the context of forward passes. Weights are cast once in each context."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16")


def count_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def serve(make_training):
    """Train as standard input says.

    Args:
      make_training: setting -> training with `networks` and `step()`.
    """
    print(torch.__version__, flush=True)
    trainings = {}
    for line in sys.stdin:
        word = line.strip()
        if not word.isdigit():
            try:
                if word not in trainings:
                    trainings[word] = make_training(Setting(word))
                    trainings[word].step()
            except Exception as error:
                print("error", (str(error) or type(error).__name__).splitlines()[0], flush=True)
                continue
            training = trainings[word]
            print(*[count_parameters(network) for network in training.networks], flush=True)
            continue
        started = time.perf_counter()
        for _ in range(int(word)):
            training.step()
        print(time.perf_counter() - started, flush=True)
