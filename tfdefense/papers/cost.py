"""How long artefacts take, roughly: multiplications by a rate that is corrected by what has been made already."""

import functools
import math

import keras

from tfdefense.attacks.core.spec import attack_from
from tfdefense.classifiers import CLASSIFIERS
from tfdefense.papers.measurements import Cell
from tfdefense.papers.store import Store
from tfdefense.papers.targets import Artefact, Classifier, Examples, Trained

# Multiplications with additions a second, of two CPU cores with a training step: where nothing is known yet.
_FIRST_RATE = 3.5e10
_BACKWARD = 3  # A gradient costs its forward pass and twice as much again.
# For one image of 28x28x1: forward through what purifies it, and a training step of that.
_PURIFY_MACS = {"defense_gan": 2.5e10, "cgan": 1.2e8, "apegan": 1e7, "apeganpp": 1e7}
_STEP_MACS = {"defense_gan": 6e7, "cgan": 3e8, "apegan": 6e7, "apeganpp": 1e8}
_OTHER_MACS = 1e6
# Gradients through the classifier for each training image: once, for the direction of FGSM, and with each pass.
_GRADIENTS = {"apegan": (1, 0), "apeganpp": (1, 1), "cgan": (1, 1), "adversarial_training": (0, 2)}
_OVERHEAD_SECONDS = 5.0


class Cost:
    """Estimates in seconds, which learn from `made`."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._multiplications = 0.0
        self._seconds = 0.0

    def seconds(self, artefact: Artefact) -> float:
        """How long it will take."""
        rate = _FIRST_RATE
        if self._seconds > 0 and self._multiplications > 0:
            rate = self._multiplications / self._seconds
        return _OVERHEAD_SECONDS + self.multiplications(artefact) / rate

    def made(self, artefact: Artefact, seconds: float) -> None:
        """It was made, in so many seconds."""
        self._multiplications += self.multiplications(artefact)
        self._seconds += max(seconds - _OVERHEAD_SECONDS, 0.0)

    def multiplications(self, artefact: Artefact) -> float:
        """In all."""
        match artefact:
            case Classifier():
                train = self._train(artefact)
                passes = artefact.passes or self._recipe_passes(artefact)
                return passes * train * _BACKWARD * self._macs(artefact)
            case Examples():
                images = artefact.images or self._train(artefact.classifier)
                return images * self._attack(artefact, self._macs(artefact.classifier))
            case Trained():
                if artefact.passes is None:
                    return 0.0
                return self._training(artefact)
            case Cell():
                return self._cell(artefact)
        raise TypeError(type(artefact))

    def _training(self, trained: Trained) -> float:
        train = trained.train_images or self._train(trained.classifier)
        step = _STEP_MACS.get(trained.defense, _OTHER_MACS) * self._pixels(trained.classifier)
        gradient = _BACKWARD * self._macs(trained.classifier)
        once, each_pass = _GRADIENTS.get(trained.defense, (0, 0))
        return train * (once * gradient + trained.passes * (step + each_pass * gradient))

    def _cell(self, cell: Cell) -> float:
        classifier = self._macs(cell.classifier)
        if cell.defense is None:
            return cell.images * classifier
        purify = _PURIFY_MACS.get(cell.defense.defense, _OTHER_MACS) * self._pixels(cell.classifier)
        total = cell.images * (purify + 2 * classifier)
        if cell.examples is not None:
            total += cell.white_box_images * self._attack(cell.examples, purify + classifier)
        return total

    def _attack(self, examples: Examples, macs: float) -> float:
        """Of one image, where the gradient of what is attacked costs `_BACKWARD * macs`."""
        attack = attack_from(examples.attack)
        steps = {
            "fgsm": 1,
            "bim": getattr(attack, "steps", 1),
            "deepfool": 10 * 4,
            # A gradient for each class and pair of values; stronger changes need fewer pairs.
            "jsma": 10 * 6 / abs(getattr(attack, "theta", 1.0)),
            "cw": getattr(attack, "steps", 1) * getattr(attack, "searches", 1),
        }
        return steps.get(attack.name, 100) * _BACKWARD * macs

    def _macs(self, classifier: Classifier) -> float:
        return _macs_of(classifier.name, self.store.dataset(classifier.dataset).image_shape)

    def _train(self, classifier: Classifier) -> int:
        """How many training images there are."""
        return len(self.store.dataset(classifier.dataset).train)

    def _recipe_passes(self, classifier: Classifier) -> int:
        image_shape = self.store.dataset(classifier.dataset).image_shape
        recipe = CLASSIFIERS.get(classifier.name).recipe(image_shape)
        return recipe.passes(self._train(classifier))

    def _pixels(self, classifier: Classifier) -> float:
        """Of an image, as a share of MNIST's."""
        return math.prod(self.store.dataset(classifier.dataset).image_shape[:2]) / 784


@functools.cache
def _macs_of(name: str, image_shape: tuple[int, int, int]) -> float:
    """Multiplications of a forward pass of one image: of its convolutions and dense layers."""
    model = CLASSIFIERS.get(name).build(image_shape, 10)
    total = 0.0
    for layer in _layers(model):
        if isinstance(layer, keras.layers.Dense):
            total += math.prod(layer.kernel.shape)
        elif isinstance(layer, keras.layers.Conv2D):
            total += math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:3])
    return total


def _layers(model: keras.Layer) -> list[keras.Layer]:
    parts = getattr(model, "layers", [])
    return [model, *(each for part in parts for each in _layers(part))]


def spoken(seconds: float) -> str:
    """Seconds as a person says them: 40 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
