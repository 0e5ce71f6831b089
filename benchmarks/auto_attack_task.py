"""The task of `auto_attack.py`: networks, images, and a ball, as arrays for the peer."""

import dataclasses
import hashlib
import json
import sys
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

import tfdefense
from tfdefense.networks.pixel_thresholds import SURROGATES, PixelThresholds
from tfdefense.networks.residual_unet import ResidualUNet
from tfdefense.networks.surrogates import use_surrogates
from tfdefense.training.run_directory import RunDirectory

BATCH = 250  # The default of the original.
GRADIENT_IMAGES = 8
GENERATORS = ("residual_unet", "small_unet")
SETTINGS = ("activation", "padding", "strides", "pool_size", "epsilon")


@dataclasses.dataclass(frozen=True)
class Networks:
    """The networks that are attacked.

    Attributes:
      model: images -> logits; `classifier`, or the pipeline of a purifier and it.
      classifier: a chain of Keras layers.
      generator: the network of the purifier; None if there is none.
      surrogate: name of the gradient of its thresholds; None if it has none.
    """

    model: Callable
    classifier: keras.Model
    generator: keras.Model | None = None
    surrogate: str | None = None


class Task:
    """Networks, correctly classified images with their labels, and a ball, also as arrays."""

    def __init__(self, networks, images, labels, norm, epsilon):
        self.model, self.surrogate = networks.model, networks.surrogate
        self.name = networks.classifier.name
        self.images, self.labels = images, labels
        self.norm, self.epsilon = norm, epsilon
        chain = list(flat_layers(networks.classifier))
        layers = [describe_layer(layer) for layer in chain]
        settings = {"norm": norm, "epsilon": epsilon, "layers": layers}
        purifier_weights = {}
        if networks.generator is not None:
            settings["purifier"], purifier_weights = describe_purifier(networks)
        weights = [weight for layer in chain for weight in layer.get_weights()]
        self.arrays = {
            "settings": json.dumps(settings),
            "images": images,
            "labels": labels,
            "logits": predict(self.model, images),
            **{f"weight_{i}": weight for i, weight in enumerate(weights)},
            **{f"purifier/{name}": weight for name, weight in purifier_weights.items()},
        }

    def fingerprint(self):
        """Return a hash of everything that a result depends on, except the attack."""
        contents = hashlib.sha256()
        for name, array in self.arrays.items():
            contents.update(name.encode() + np.asarray(array).tobytes())
        return contents.hexdigest()[:12]

    def surrogates(self):
        """Request the surrogate gradient of the task in a `with` block."""
        return use_surrogates(*([self.surrogate] if self.surrogate else []))

    def save(self, path):
        """Write the arrays, and the gradient of a random sum of the logits for a few images."""
        images = tf.constant(self.images[:GRADIENT_IMAGES])
        shape = (len(images), self.arrays["logits"].shape[1])
        logit_weights = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        with self.surrogates(), tf.GradientTape() as tape:
            tape.watch(images)
            total = tf.reduce_sum(logit_weights * self.model(images))
        gradients = tape.gradient(total, images).numpy()
        np.savez(path, **self.arrays, logit_weights=logit_weights, gradients=gradients)


def load_task(arguments):
    """Return the task that the flags of `auto_attack.py` describe."""
    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(arguments.threads)
    networks = load_networks(arguments)
    size = tuple(networks.classifier.input_shape[1:3])
    test = tfdefense.data.load(arguments.dataset, arguments.data_dir, image_size=size).test
    test = test.take(4 * arguments.images)
    right = np.flatnonzero(np.argmax(predict(networks.model, test.images), 1) == test.labels)
    right = right[: arguments.images]
    if len(right) < arguments.images:
        sys.exit(f"--images: {arguments.images} given, {len(right)} are classified correctly.")
    images, labels = test.images[right], test.labels[right]
    return Task(networks, images, labels, arguments.norm, arguments.epsilon)


def load_networks(arguments):
    """Return the classifier of --run, or the purifier of --pretrained in front of its classifier."""
    name, surrogate = arguments.pretrained, arguments.surrogate
    if name is None:
        require_no_surrogate(surrogate, "only --pretrained takes it")
        classifier = RunDirectory(arguments.run).load_classifier()
        return Networks(classifier, classifier)
    pretrained = tfdefense.zoo.load(name)
    generator = pretrained.hyperparameters.get("generator")
    if generator not in GENERATORS:
        sys.exit(
            f"--pretrained={name}: its generator is {generator}; the peer knows"
            f" {' and '.join(GENERATORS)}."
        )
    if not pretrained.hyperparameters["thresholds"]:
        require_no_surrogate(surrogate, f"{name} has no thresholds")
    elif surrogate is None:
        surrogate = SURROGATES.default
    defense = pretrained.before(pretrained.classifier())
    return Networks(defense.defend(), defense.classifier.model, defense.generator, surrogate)


def require_no_surrogate(surrogate, reason):
    if surrogate is not None:
        sys.exit(f"--surrogate={surrogate}: {reason}. Leave it out.")


def predict(model, images):
    """Return logits float32 [N, K]."""
    batches = range(0, len(images), BATCH)
    return np.concatenate([np.asarray(model(tf.constant(images[i : i + BATCH]))) for i in batches])


def flat_layers(model):
    """Yield the layers of a chain, and those of a chain in it."""
    for layer in model.layers:
        if isinstance(layer, keras.Sequential):
            yield from flat_layers(layer)
        elif not isinstance(layer, keras.layers.InputLayer):
            yield layer


def describe_layer(layer):
    """Return the class name, the settings and the number of weights of a layer."""
    settings = layer.get_config()
    return (
        type(layer).__name__,
        {name: settings.get(name) for name in SETTINGS},
        len(layer.weights),
    )


def describe_purifier(networks):
    """Return settings and weights of a purifier by the names of `torch_purifiers.py`."""
    first, *others = networks.generator.layers
    has_thresholds = isinstance(first, PixelThresholds)
    network = others[0] if has_thresholds else networks.generator
    settings = {
        "network": type(network).__name__,
        "channels": network.channels,
        "filters": network.filters,
        "thresholds": first.count if has_thresholds else 0,
        "surrogate": networks.surrogate,
    }
    layers = {"first": network.first, "last": network.last}
    weights = {}
    for name in ("down", "up", *(["join"] if isinstance(network, ResidualUNet) else [])):
        layers |= {f"{name}.{i}": layer for i, layer in enumerate(getattr(network, name))}
    if isinstance(network, ResidualUNet):
        settings["blocks"] = network.blocks
        for level, blocks in enumerate(network.residual):
            for i, block in enumerate(blocks):
                prefix = f"blocks.{level}.{i}"
                layers |= dict(
                    zip((f"{prefix}.first", f"{prefix}.second"), block.convolutions, strict=True)
                )
                weights[f"network.{prefix}.gain"] = block.gain.gain
    for name, layer in layers.items():
        weights |= {f"network.{name}.weight": layer.kernel, f"network.{name}.bias": layer.bias}
    if has_thresholds:
        weights["thresholds.thresholds"] = first.thresholds
        weights["thresholds.slopes"] = first.slopes
    return settings, {name: weight.numpy() for name, weight in weights.items()}
