"""Rough time estimates of targets: multiply-accumulate operations (MACs) divided by a rate.

The rate is measured on the targets made so far.
"""

import math

from tfdefense.attacks.core.spec import parse_attack
from tfdefense.classifiers import CLASSIFIERS
from tfdefense.papers.classifier_macs import classifier_macs
from tfdefense.papers.measurements import PaperCell
from tfdefense.papers.store import TargetStore
from tfdefense.papers.stored_target import StoredTarget
from tfdefense.papers.targets import ClassifierTarget, DefenseTarget, ExamplesTarget

# MACs per second of a training step on two CPU cores, used until a target was made.
_INITIAL_RATE = 3.5e10
_BACKWARD = 3  # A gradient costs three forward passes: one forward, and two for the backward pass.
# MACs per image of 28x28x1, by defence: for purifying, and for a training step.
_PURIFY_MACS = {"defense_gan": 2.5e10, "cgan": 1.2e8, "apegan": 1e7, "apeganpp": 1e7}
_STEP_MACS = {"defense_gan": 6e7, "cgan": 3e8, "apegan": 6e7, "apeganpp": 1e8}
_OTHER_MACS = 1e6
# Classifier gradients per training image: once (for the FGSM direction), and in each epoch.
_GRADIENTS = {"apegan": (1, 0), "apeganpp": (1, 1), "cgan": (1, 1), "adversarial_training": (0, 2)}
_OVERHEAD_SECONDS = 5.0


class CostEstimator:
    """Time estimates for targets, corrected by the times passed to `record`."""

    def __init__(self, store: TargetStore) -> None:
        self.store = store
        self._macs_done = 0.0
        self._seconds_spent = 0.0

    def seconds(self, target: StoredTarget) -> float:
        """Return the estimated time to make a target."""
        rate = _INITIAL_RATE
        if self._seconds_spent > 0 and self._macs_done > 0:
            rate = self._macs_done / self._seconds_spent
        return _OVERHEAD_SECONDS + self.macs(target) / rate

    def record(self, target: StoredTarget, seconds: float) -> None:
        """Correct the rate by the measured time of a target."""
        self._macs_done += self.macs(target)
        self._seconds_spent += max(seconds - _OVERHEAD_SECONDS, 0.0)

    def macs(self, target: StoredTarget) -> float:
        """Return the multiply-accumulate operations needed to make a target."""
        match target:
            case ClassifierTarget():
                passes = target.passes or self._recipe_passes(target)
                images = passes * self._train_images(target)
                return images * _BACKWARD * self._classifier_macs(target)
            case ExamplesTarget():
                images = target.images or self._train_images(target.classifier)
                return images * self._attack_macs(target, self._classifier_macs(target.classifier))
            case DefenseTarget():
                return 0.0 if target.passes is None else self._training_macs(target, target.passes)
            case PaperCell():
                return self._cell_macs(target)
        raise TypeError(type(target))

    def _training_macs(self, target: DefenseTarget, passes: int) -> float:
        images = target.train_images or self._train_images(target.classifier)
        step = _STEP_MACS.get(target.defense, _OTHER_MACS) * self._relative_size(target.classifier)
        gradient = _BACKWARD * self._classifier_macs(target.classifier)
        once, each_pass = _GRADIENTS.get(target.defense, (0, 0))
        return images * (once * gradient + passes * (step + each_pass * gradient))

    def _cell_macs(self, cell: PaperCell) -> float:
        classifier = self._classifier_macs(cell.classifier)
        if cell.defense is None:
            return cell.images * classifier
        purify = _PURIFY_MACS.get(cell.defense.defense, _OTHER_MACS)
        purify *= self._relative_size(cell.classifier)
        total = cell.images * (purify + 2 * classifier)
        if cell.examples is not None:
            total += cell.white_box_images * self._attack_macs(cell.examples, purify + classifier)
        return total

    def _attack_macs(self, examples: ExamplesTarget, model_macs: float) -> float:
        """Return the MACs to attack one image if a forward pass of the model costs `model_macs`."""
        attack = parse_attack(examples.attack)
        gradients = {
            "fgsm": 1,
            "bim": getattr(attack, "steps", 1),
            "deepfool": 10 * 4,
            # JSMA: one gradient per class and pixel pair; larger changes need fewer pairs.
            "jsma": 10 * 6 / abs(getattr(attack, "theta", 1.0)),
            "cw": getattr(attack, "steps", 1) * getattr(attack, "searches", 1),
        }
        return gradients.get(attack.name, 100) * _BACKWARD * model_macs

    def _classifier_macs(self, classifier: ClassifierTarget) -> float:
        image_shape = self.store.size(classifier.dataset).image_shape
        return classifier_macs(classifier.name, image_shape)

    def _train_images(self, classifier: ClassifierTarget) -> int:
        return self.store.size(classifier.dataset).train_images

    def _recipe_passes(self, classifier: ClassifierTarget) -> int:
        image_shape = self.store.size(classifier.dataset).image_shape
        recipe = CLASSIFIERS.get(classifier.name).recipe(image_shape)
        return recipe.count_epochs(self._train_images(classifier))

    def _relative_size(self, classifier: ClassifierTarget) -> float:
        """Return the pixels of an image divided by those of an MNIST image."""
        return math.prod(self.store.size(classifier.dataset).image_shape[:2]) / 784
