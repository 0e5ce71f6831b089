"""Time that attacks take at most, estimated before they begin, and its limit."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfdefense.attacks import Attack, AutoAttack, Expectation
from tfdefense.attacks.core.attack_cost import AttackCost, total_cost
from tfdefense.attacks.core.each_surrogate import surrogate_names
from tfdefense.attacks.core.input_gradients import loss_gradient
from tfdefense.attacks.core.losses import cross_entropy
from tfdefense.attacks.core.model import Model
from tfdefense.attacks.core.spec import format_attack
from tfdefense.attacks.strongest_of import StrongestOf
from tfdefense.data.core.dataset import Split
from tfdefense.errors import require
from tfdefense.training.distribute import multi_worker
from tfdefense.training.distribute.batching import split_over_replicas
from tfdefense.utils import cluster
from tfdefense.utils.batch_size import fitting_batch_size
from tfdefense.utils.duration import duration_text
from tfdefense.utils.progress import print_line

DEFAULT_MAX_HOURS = 2.0

# As many computations of a model are not timed: that needs a compilation.
_FEW_COMPUTATIONS = 3_000
_TOLD_SECONDS = 10 * 60  # Shorter estimates are not printed.
_TIMED_IMAGES = 64


class PlannedAttack(NamedTuple):
    """An attack that will run.

    Attributes:
      attack: the attack.
      model: images float32 [N, H, W, C] in [0, 1] -> logits [N, K].
      split: the images that it attacks.
      count_missing: returns how many of them are not stored yet; None if none is stored.
      is_slow: time the model however few its computations are.
      of: the attack that the user gave, if this one only completes it; None for this one.
    """

    attack: Attack
    model: Model
    split: Split
    count_missing: Callable[[], int] | None = None
    is_slow: bool = False
    of: Attack | None = None

    @property
    def cost(self) -> AttackCost:
        """Largest cost for all images, over all surrogate gradients; 0 if it is unknown.

        The draws of a model that is an `Expectation` belong to the time of its computations.
        """
        image_shape, num_classes = self.split.image_shape, self.split.num_classes
        costs = []
        for part in _parts(self.attack, num_classes):
            cost = part.largest_cost(image_shape, num_classes)
            if cost is None:
                return AttackCost(0, 0)
            surrogates = surrogate_names(part, self.model, image_shape)
            costs.append(cost.times(max(1, len(surrogates))))
        total = total_cost(costs)
        assert total is not None
        draws = 1
        if isinstance(self.attack, AutoAttack) and not isinstance(self.model, Expectation):
            draws = self.attack.draws
        return total.times(draws * len(self.split))


class _ModelSeconds(NamedTuple):
    """Seconds of one gradient and of one prediction of one image."""

    gradient: float
    prediction: float


def _parts(attack: Attack, num_classes: int) -> Sequence[Attack]:
    """Return the attacks that an attack runs, each of which tries the surrogates by itself."""
    if isinstance(attack, AutoAttack):
        return attack.attacks(num_classes)
    return attack.attacks if isinstance(attack, StrongestOf) else (attack,)


def require_hours(max_hours: float) -> None:
    """Raise `UserError` for a limit that is not a number above 0."""
    require(0 < max_hours < math.inf, f"--max_hours={max_hours:g}: a number above 0 is needed.")


def require_time(
    planned: Sequence[PlannedAttack],
    max_hours: float,
    count_flags: str = "--images and --white_box_images",
) -> None:
    """Raise `UserError` if attacks may take longer than `max_hours`; print a long estimate.

    The estimate is the largest number of gradients and predictions of each attack, times their
    measured seconds. Stored images of an earlier evaluation cost nothing.

    Args:
      planned: the attacks.
      max_hours: limit for all attacks together.
      count_flags: flags that give the number of images, for the message.
    """
    limit = min(_TOLD_SECONDS, 3600 * max_hours)
    timed: dict[int, _ModelSeconds] = {}
    if any(each.is_slow for each in planned):  # To measure a slow model takes long.
        planned = _without_stored(planned)
    seconds = estimate_seconds(planned, timed)
    if sum(seconds.values()) > limit:
        seconds = estimate_seconds(_without_stored(planned), timed)
    total = sum(seconds.values())
    if total <= limit:
        return
    longest = max(seconds, key=lambda label: seconds[label])
    of_longest = f"{longest} up to {duration_text(seconds[longest])}"
    require(
        total <= 3600 * max_hours,
        f"--max_hours={max_hours:g}: the attacks may take {duration_text(total)} ({of_longest})."
        f" Attack fewer images ({count_flags}), choose a cheaper attack, or raise --max_hours.",
    )
    print_line(
        f"Attacks take up to {duration_text(total)} ({of_longest}); less if images are fooled early."
    )


def estimate_seconds(
    planned: Iterable[PlannedAttack], timed: dict[int, _ModelSeconds] | None = None
) -> dict[str, float]:
    """Return the largest number of seconds of the attacks of each label.

    Attacks of unknown cost, and models with few computations that are not slow, count as 0. All workers get the
    estimate of the chief.

    Args:
      planned: the attacks.
      timed: ID of a model -> its seconds, for models that are timed already; others are added.
    """
    timed = {} if timed is None else timed
    groups: dict[int, list[PlannedAttack]] = {}
    for each in planned:
        groups.setdefault(id(each.model), []).append(each)
    totals: dict[str, float] = {}
    for model_id, group in groups.items():
        costs = [each.cost for each in group]
        computations = sum(cost.gradients + cost.predictions for cost in costs)
        seconds = _ModelSeconds(0.0, 0.0)
        is_slow = computations > 0 and any(each.is_slow for each in group)
        if is_slow or computations > _FEW_COMPUTATIONS:
            if model_id not in timed:
                largest = max((each.split for each in group), key=len)
                timed[model_id] = _measure(group[0].model, largest)
            seconds = timed[model_id]
        for each, cost in zip(group, costs, strict=True):
            label = format_attack(each.of or each.attack)
            spent = cost.gradients * seconds.gradient + cost.predictions * seconds.prediction
            totals[label] = totals.get(label, 0.0) + spent / cluster.worker_count()
    return totals


def _without_stored(planned: Sequence[PlannedAttack]) -> list[PlannedAttack]:
    """Return the attacks on as many images as are not stored yet."""
    rest = []
    for each in planned:
        count = len(each.split) if each.count_missing is None else each.count_missing()
        if count:
            rest.append(each._replace(split=each.split.take(count), count_missing=None))
    return rest


def _measure(model: Model, split: Split) -> _ModelSeconds:
    """Return the seconds of a model, measured with a few images on all devices of the process."""
    few = split.take(fitting_batch_size(split.image_shape, min(_TIMED_IMAGES, len(split))))
    images, labels = tf.constant(few.images[:]), tf.constant(few.labels, tf.int32)
    signature = [
        tf.TensorSpec([None, *split.image_shape], tf.float32),
        tf.TensorSpec([None], tf.int32),
    ]

    def gradient(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return loss_gradient(model, images, cross_entropy(labels))[2]

    def prediction(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        del labels
        return model(images)

    seconds = [
        _warm_seconds(
            tf.function(split_over_replicas(work), signature, autograph=False), images, labels
        )
        for work in (gradient, prediction)
    ]
    of_chief = multi_worker.gather_arrays(np.array([seconds], np.float64))[0]
    return _ModelSeconds(*(of_chief / len(few)).tolist())


def _warm_seconds(work: Callable[..., Any], *arguments: tf.Tensor) -> float:
    work(*arguments).numpy()  # Waits for devices that compute asynchronously.
    start = time.monotonic()
    work(*arguments).numpy()
    return time.monotonic() - start
