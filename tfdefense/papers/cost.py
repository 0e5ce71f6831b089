"""Rough time estimates of targets: multiply-accumulate operations (MACs) divided by rates.

The rates and other constants of cells are fitted to the durations of the 312 cells in `results/`,
measured by version 0.1.0 on two CPU cores: least squares of the logarithm of each cell's and of
each table's duration. 12 of the 13 tables took within a factor of 1.5 of their estimate (table IV
took twice its estimate), and all together 1.05 times their estimate. 61 % of the cells are within a
factor of 1.5, and 90 % within 2.4.

In training and attacks, each value that a layer gives counts as 75 MACs, for its way through memory.
In densely connected networks this is most of the time. The rates then give the speeds of the
classifiers in colour (docs/results/classifiers.md and speed.md) within a factor of 1.5. VGG16 in
bfloat16, beside other work: APE-GAN took 6.5 minutes (estimate 4), five sets of examples 6.4 (6.9). A
run corrects the rates of both precisions by the targets that it has made.
"""

import collections
import dataclasses
import math
from typing import Any

from tfdefense.attacks.core.attack import Attack
from tfdefense.attacks.core.spec import parse_attack
from tfdefense.classifiers import CLASSIFIERS
from tfdefense.defenses.registry import DEFENSES
from tfdefense.networks.pixel_thresholds import SURROGATES
from tfdefense.papers.classifier_sizes import (
    NUM_CLASSES,
    classifier_layers,
    classifier_macs,
    classifier_values,
)
from tfdefense.papers.measurements import PaperCell
from tfdefense.papers.store import TargetStore
from tfdefense.papers.stored_target import StoredTarget
from tfdefense.papers.targets import ClassifierTarget, DefenseTarget, ExamplesTarget

# How far the totals of a dry run may be from what a run takes.
ESTIMATE_ACCURACY = "within a factor of two on two CPU cores (in bfloat16, cores with AMX)"

# MACs per second on two CPU cores: of predictions, of gradients of a cell's white box, and of the
# steps of a training in each precision.
_PREDICTION_RATE = 6.5e10
_GRADIENT_RATE = 3.9e10
_TRAINING_RATES = {"float32": 1.2e11, "bfloat16": 3.5e11}
_GENERATOR_RATES = {"float32": 4.5e10, "bfloat16": 9e10}
_MACS_PER_VALUE = 75  # In training and attacks.
# Forward passes that take as long: for a gradient by the images, and for one by the weights too.
_IMAGE_GRADIENT, _WEIGHT_GRADIENT = 2, 3
_BACKWARD = 3  # For a gradient by the images in cells, whose rates were fitted with it.
# MACs per image of 28x28x1, by defence: for purifying, and for a training step.
_PURIFY_MACS = {
    "defense_gan": 4.8e10,
    "total_variation": 8.4e7,
    "cgan": 3.9e7,
    "spatial_smoothing": 7.9e6,
    "apegan": 6e6,
    "apeganpp": 6e6,
}
_STEP_MACS = {"defense_gan": 6e7, "cgan": 3e8, "apegan": 6e7, "apeganpp": 1e8}
_OTHER_MACS = 1e6
# Defences whose gradient is replaced by that of the identity, which has no backward pass.
_WITHOUT_BACKWARD = ("bit_depth", "defense_gan", "total_variation")
# Forward passes of the classifier per training image: once (for the FGSM direction), and in each epoch.
# Adversarial training attacks each image, and learns from it and from the result.
_CLASSIFIER_PASSES = {
    "apegan": (_IMAGE_GRADIENT, 0),
    "apeganpp": (_IMAGE_GRADIENT, _IMAGE_GRADIENT),
    "cgan": (_IMAGE_GRADIENT, _IMAGE_GRADIENT),
    "adversarial_training": (0, _IMAGE_GRADIENT + 2 * _WEIGHT_GRADIENT),
}
_OVERHEAD_SECONDS = 5.0
_SHORTEST_SECONDS = 30.0  # Shorter targets do not show a rate: starting takes as long.
# A cell traces each layer of its classifier for predictions alone and behind the defence, and
# twice for the white box, which also loads and compiles the attack.
_LAYER_SECONDS = 0.1
_WHITE_BOX_SECONDS = 2.0
# Fraction of images on which an attack through one surrogate gradient of thresholds fails, and
# takes its largest cost.
_FAILURE_FRACTION = 0.64
_UNKNOWN_GRADIENTS = 100.0  # Of an attack that does not know its cost.


@dataclasses.dataclass(frozen=True)
class MeasuringMethod:
    """Method by which cells are measured.

    Attributes:
      surrogates: number of gradients that a white box tries on a purifier with thresholds.
      shares_predictions: predict with the classifier alone once for all cells of the same images.
    """

    surrogates: int = len(SURROGATES.names)
    shares_predictions: bool = True


@dataclasses.dataclass(frozen=True)
class _Work:
    """Seconds at the rates above, and seconds of an overhead that a run does not correct."""

    seconds: float
    overhead: float = _OVERHEAD_SECONDS
    precision: str = "float32"


class CostEstimator:
    """Time estimates for targets, corrected by the times passed to `record`.

    Args:
      store: the store, which knows the sizes of datasets.
      method: how cells are measured.
    """

    def __init__(self, store: TargetStore, method: MeasuringMethod | None = None) -> None:
        self.store = store
        self.method = method or MeasuringMethod()
        self._estimated_seconds: dict[str, float] = collections.defaultdict(float)
        self._spent_seconds: dict[str, float] = collections.defaultdict(float)

    def seconds(self, target: StoredTarget) -> float:
        """Return the estimated time to make a target."""
        work = self._work(target)
        slowdown = 1.0
        if self._spent_seconds[work.precision] > 0:
            slowdown = self._spent_seconds[work.precision] / self._estimated_seconds[work.precision]
        return work.overhead + slowdown * work.seconds

    def record(self, target: StoredTarget, seconds: float) -> None:
        """Correct the rates by the measured time of a target that was made from its beginning."""
        work = self._work(target)
        if work.seconds < _SHORTEST_SECONDS:
            return
        self._estimated_seconds[work.precision] += work.seconds
        self._spent_seconds[work.precision] += max(seconds - work.overhead, 0.0)

    def _work(self, target: StoredTarget) -> _Work:
        match target:
            case ClassifierTarget():
                passes = target.passes or self._recipe_passes(target)
                images = passes * self._train_images(target)
                macs = images * _WEIGHT_GRADIENT * self._pass_macs(target)
                precision = _precision(target.options)
                return _Work(macs / _TRAINING_RATES[precision], precision=precision)
            case ExamplesTarget():
                return _Work(self._examples_seconds(target))
            case DefenseTarget():
                return self._defense_work(target)
            case PaperCell():
                return self._cell_work(target)
        raise TypeError(type(target))

    def _examples_seconds(self, target: ExamplesTarget) -> float:
        classifier = self._classifier_macs(target.classifier)
        images = target.images or self._train_images(target.classifier)
        gradients = self._typical_cost(parse_attack(target.attack), target.classifier)
        macs = gradients * _IMAGE_GRADIENT * self._pass_macs(target.classifier)
        attacking = images * macs / _TRAINING_RATES["float32"]
        # The first cell predicts for all examples, and the others share its predictions.
        is_predicted = self.method.shares_predictions and target.split == "test"
        return attacking + is_predicted * images * classifier / _PREDICTION_RATE

    def _defense_work(self, target: DefenseTarget) -> _Work:
        if target.passes is None:
            return _Work(0.0)
        precision = _precision(target.options)
        images = target.train_images or self._train_images(target.classifier)
        step = _STEP_MACS.get(target.defense, _OTHER_MACS) * self._relative_size(target.classifier)
        once, each_epoch = _CLASSIFIER_PASSES.get(target.defense, (0, 0))
        passes = once + target.passes * each_epoch
        seconds = images * passes * self._pass_macs(target.classifier) / _TRAINING_RATES[precision]
        seconds += images * target.passes * step / _GENERATOR_RATES[precision]
        return _Work(seconds, precision=precision)

    def _cell_work(self, cell: PaperCell) -> _Work:
        classifier = self._classifier_macs(cell.classifier)
        layers = classifier_layers(cell.classifier.name, self._image_shape(cell.classifier))
        overhead = _LAYER_SECONDS * layers
        alone = 0 if self.method.shares_predictions and cell.examples else 1 + cell.fooled_only
        seconds = cell.images * alone * classifier / _PREDICTION_RATE
        if cell.defense is None:
            return _Work(seconds, overhead)
        purify = 0.0
        if cell.defense.defense != "adversarial_training":
            purify = _PURIFY_MACS.get(cell.defense.defense, _OTHER_MACS)
            purify *= self._relative_size(cell.classifier)
        seconds += cell.images * (purify + classifier) / _PREDICTION_RATE
        if cell.examples is not None:
            overhead += _WHITE_BOX_SECONDS + 2 * _LAYER_SECONDS * layers
            passes = 1 if cell.defense.defense in _WITHOUT_BACKWARD else _BACKWARD
            gradient = (_BACKWARD * classifier + passes * purify) / _GRADIENT_RATE
            seconds += cell.white_box_images * gradient * self._white_box_gradients(cell)
        return _Work(seconds, overhead)

    def _white_box_gradients(self, cell: PaperCell) -> float:
        """Return the cost of a white box for one image in gradients, over all surrogates."""
        assert cell.examples is not None
        attack = parse_attack(cell.examples.attack)
        typical = self._typical_cost(attack, cell.classifier)
        if cell.defense is None or not _has_thresholds(cell.defense):
            return typical
        cost = attack.largest_cost(self._image_shape(cell.classifier), NUM_CLASSES)
        largest = typical if cost is None else cost.in_gradients
        gradients = _FAILURE_FRACTION * largest + (1 - _FAILURE_FRACTION) * typical
        if not attack.tries_surrogates:
            return gradients
        # Within a radius, a surrogate attacks only what withstood those before it.
        left = _FAILURE_FRACTION if attack.minimized_norm is None else 1.0
        return gradients * sum(left**index for index in range(self.method.surrogates))

    def _typical_cost(self, attack: Attack, classifier: ClassifierTarget) -> float:
        cost = attack.typical_cost(self._image_shape(classifier), NUM_CLASSES)
        return _UNKNOWN_GRADIENTS if cost is None else cost

    def _image_shape(self, classifier: ClassifierTarget) -> tuple[int, int, int]:
        return self.store.size(classifier.dataset).image_shape

    def _classifier_macs(self, classifier: ClassifierTarget) -> float:
        return classifier_macs(classifier.name, self._image_shape(classifier))

    def _pass_macs(self, classifier: ClassifierTarget) -> float:
        """Return the MACs of a forward pass in training and attacks, with those for its values."""
        values = classifier_values(classifier.name, self._image_shape(classifier))
        return self._classifier_macs(classifier) + _MACS_PER_VALUE * values

    def _train_images(self, classifier: ClassifierTarget) -> int:
        return self.store.size(classifier.dataset).train_images

    def _recipe_passes(self, classifier: ClassifierTarget) -> int:
        recipe = CLASSIFIERS.get(classifier.name).recipe(self._image_shape(classifier))
        return recipe.count_epochs(self._train_images(classifier))

    def _relative_size(self, classifier: ClassifierTarget) -> float:
        """Return the pixels of an image divided by those of an MNIST image."""
        return math.prod(self._image_shape(classifier)[:2]) / 784


def _precision(options: tuple[tuple[str, Any], ...]) -> str:
    return str(dict(options).get("mixed_precision", "float32"))


def _has_thresholds(defense: DefenseTarget) -> bool:
    """Return whether a defence compares pixels with thresholds, which declare surrogates."""
    default = getattr(DEFENSES.get(defense.defense).config_type, "thresholds", 0)
    return bool(dict(defense.options).get("thresholds", default))
