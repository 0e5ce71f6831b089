"""One part of PyTorch's AutoAttack on a task that `auto_attack.py` wrote; it needs no TensorFlow.

    python benchmarks/auto_attack_peer.py TASK.npz PART RESULT.json

The attack is `pyautoattack.AutoAttack(version="standard")` with no parameter changed. For one part,
`attacks_to_run` names that part alone, as `run_standard_evaluation_individual` of that library does.
Before the attack, logits and input gradients are compared with those of the task. The part "none"
only compares them, and does not need pyautoattack.
"""

import importlib.metadata
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch_purifiers import build_purifier

# Part -> attacks of the standard; None leaves all four, in the standard's order.
PARTS = {
    "apgd_ce": ["apgd-ce"],
    "apgd_t": ["apgd-t"],
    "fab_t": ["fab-t"],
    "square": ["square"],
    "standard": None,
}
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "linear": nn.Identity}
LARGEST_LOGIT_DIFFERENCE = 1e-4
LARGEST_GRADIENT_DIFFERENCE = 1e-3  # Relative to the largest gradient of the image.


class FlattenChannelsLast(nn.Module):
    """Flatten [N, C, H, W] in the order of Keras: height, width, channel."""

    def forward(self, x):
        return x.permute(0, 2, 3, 1).flatten(1)


def build_network(layers, weights):
    """Return the PyTorch network of a chain of Keras layers.

    Args:
      layers: for each layer its class name, its settings and its number of weights.
      weights: the weights of all layers in order, as Keras stores them.
    """
    modules, remaining = [], list(weights)
    for kind, settings, count in layers:
        taken = [torch.tensor(remaining.pop(0)) for _ in range(count)]
        modules += make_modules(kind, settings, taken)
    return nn.Sequential(*modules).eval()


def make_modules(kind, settings, weights):
    """Return the PyTorch modules of one Keras layer."""
    activation = [ACTIVATIONS[settings["activation"]]()] if settings["activation"] else []
    match kind:
        case "Conv2D":
            kernel, bias = weights
            out, into, height, width = kernel.permute(3, 2, 0, 1).shape
            same = settings["padding"] == "same"
            module = nn.Conv2d(into, out, (height, width), settings["strides"], 0)
            module.padding = ((height - 1) // 2, (width - 1) // 2) if same else (0, 0)
            module.weight.data, module.bias.data = kernel.permute(3, 2, 0, 1).contiguous(), bias
        case "Dense":
            kernel, bias = weights
            module = nn.Linear(*kernel.shape)
            module.weight.data, module.bias.data = kernel.T.contiguous(), bias
        case "BatchNormalization":
            module = nn.BatchNorm2d(len(weights[0]), eps=settings["epsilon"])
            module.weight.data, module.bias.data, module.running_mean, module.running_var = weights
        case "MaxPooling2D":
            module = nn.MaxPool2d(settings["pool_size"])
        case "AveragePooling2D":
            module = nn.AvgPool2d(settings["pool_size"])
        case "Flatten":
            module = FlattenChannelsLast()
        case "ReLU":
            module = nn.ReLU()
        case "Dropout":
            module = nn.Identity()
        case _:
            raise SystemExit(f"--run: a layer {kind} given; the peer knows no such layer.")
    return [module, *activation]


def load_network(arrays):
    """Return the network of a task, [N, C, H, W] -> logits, and its settings."""
    settings = json.loads(str(arrays["settings"]))
    count = sum(count for *_, count in settings["layers"])
    weights = [arrays[f"weight_{index}"] for index in range(count)]
    network = build_network(settings["layers"], weights)
    if "purifier" in settings:
        prefix = "purifier/"
        weights = {
            name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)
        }
        network = nn.Sequential(build_purifier(settings["purifier"], weights), network)
    return network.eval().requires_grad_(requires_grad=False), settings


def compare_networks(network, arrays):
    """Return the largest difference of logits, and of input gradients relative to their image.

    The gradients are those of a weighted sum of the logits.
    """
    images = channels_first(arrays["images"])
    with torch.no_grad():
        logits = np.abs(network(images).numpy() - arrays["logits"]).max()
    expected = channels_first(arrays["gradients"])
    few = images[: len(expected)].clone().requires_grad_(requires_grad=True)
    total = (torch.tensor(arrays["logit_weights"]) * network(few)).sum()
    (found,) = torch.autograd.grad(total, few)
    largest = expected.abs().amax((1, 2, 3))
    gradients = ((found - expected).abs().amax((1, 2, 3)) / largest).max()
    return {"logits": float(logits), "gradients": float(gradients)}


def channels_first(images):
    return torch.tensor(images).permute(0, 3, 1, 2).contiguous()


def attack_network(network, arrays, settings, part):
    """Run one part of the original; return accuracy, seconds and the largest norm."""
    from pyautoattack import AutoAttack

    images, labels = channels_first(arrays["images"]), torch.tensor(arrays["labels"]).long()
    norm = {"linf": "Linf", "l2": "L2"}[settings["norm"]]
    attack = AutoAttack(network, norm=norm, eps=settings["epsilon"], version="standard", seed=0)
    if PARTS[part] is not None:
        attack.attacks_to_run = PARTS[part]
    started, started_cpu = time.perf_counter(), time.process_time()
    adversarial, _ = attack.run_standard_evaluation(images, labels)
    found = {
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - started_cpu, 1),
    }
    with torch.no_grad():
        found["accuracy"] = float((network(adversarial).argmax(1) == labels).float().mean())
    order = np.inf if settings["norm"] == "linf" else 2
    change = (adversarial - images).flatten(1).numpy()
    found["largest_norm"] = float(np.linalg.norm(change, order, axis=1).max())
    packages = ("torch", "pyautoattack")
    found["versions"] = {name: importlib.metadata.version(name) for name in packages}
    return found


def main():
    task, part, result = sys.argv[1:]
    arrays = np.load(task)
    network, settings = load_network(arrays)
    differences = compare_networks(network, arrays)
    assert differences["logits"] < LARGEST_LOGIT_DIFFERENCE, differences
    assert differences["gradients"] < LARGEST_GRADIENT_DIFFERENCE, differences
    found = {} if part == "none" else attack_network(network, arrays, settings, part)
    Path(result).write_text(json.dumps({**found, "differences": differences}))


if __name__ == "__main__":
    main()
