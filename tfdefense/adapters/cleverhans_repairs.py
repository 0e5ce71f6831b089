"""Repairs of cleverhans 4.0.0 for TensorFlow 2.21, Keras 3 and NumPy 2.

| attack | fault | repair |
| --- | --- | --- |
| all gradient attacks | `compute_gradient` keeps every model alive in its `tf.function` | the function inside it is called |
| `basic_iterative_method`, `madry_et_al`, `momentum_iterative_method` | the sanity checks fail on NumPy 2 | `sanity_checks=False`; inputs are checked before |
| `spsa` | its optimizer passes `lr` to Keras, which has `learning_rate`, and reads `self.lr` | `RepairedSPSAAdam` |
| `spsa` | takes one image at a time | one call for each image |
| `carlini_wagner_l2` | calls `optimizer.variables()`, now a list, and sets all of them to 0, now with the learning rate | an optimizer with such a method, without the learning rate |
| `carlini_wagner_l2` | uses one optimizer for the variables of all images, which Keras refuses | one optimizer for each image |
| `carlini_wagner_l2` | its constant has the shape of the images, which does not fit to a loss per image | one image at a time, and the constant divided by the number of pixel values |
| `carlini_wagner_l2` | given labels are always targets | labels are not passed; it takes the model's predictions |
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from cleverhans.tf2 import utils
from cleverhans.tf2.attacks import carlini_wagner_l2, fast_gradient_method, spsa
from cleverhans.tf2.attacks import momentum_iterative_method as momentum


class RepairedSPSAAdam(spsa.SPSAAdam):
    """Optimizer of `spsa` that Keras 3 accepts; arguments as for `SPSAAdam`."""

    def __init__(
        self, lr: float = 0.01, delta: float = 0.01, num_samples: int = 128, num_iters: int = 1
    ) -> None:
        tf.keras.optimizers.Adam.__init__(self, learning_rate=lr)
        assert num_samples % 2 == 0, "number of samples must be even"
        self.lr = lr
        self._delta = delta
        self._num_samples = num_samples // 2
        self._num_iters = num_iters


class _ListedVariables(list):
    """List that returns itself when it is called, as code for Keras 2 does."""

    def __call__(self) -> "_ListedVariables":
        return self


class _AdamWithCallableVariables(tf.keras.optimizers.Adam):
    """Adam whose `variables` can be called, and do not contain the learning rate."""

    @property
    def variables(self) -> Any:
        learning_rate = self._learning_rate
        return _ListedVariables(each for each in super().variables if each is not learning_rate)


class RepairedCarliniWagnerL2(carlini_wagner_l2.CarliniWagnerL2):
    """`CarliniWagnerL2` with optimizers of Keras 3; arguments as for `CarliniWagnerL2`."""

    def _attack(self, x: Any) -> tf.Tensor:
        self.optimizer = _AdamWithCallableVariables(self.learning_rate)
        return super()._attack(x)


@contextlib.contextmanager
def repaired_cleverhans() -> Iterator[None]:
    """Replace the broken parts of cleverhans, and restore them at the end."""
    plain_gradient = utils.compute_gradient.python_function
    replacements = (
        (fast_gradient_method, "compute_gradient", plain_gradient),
        (momentum, "compute_gradient", plain_gradient),
        (spsa, "SPSAAdam", RepairedSPSAAdam),
    )
    originals = [(module, name, getattr(module, name)) for module, name, _ in replacements]
    for module, name, replacement in replacements:
        setattr(module, name, replacement)
    try:
        yield
    finally:
        for module, name, original in originals:
            setattr(module, name, original)
