"""Base class of the defences that learn from an inner attack, with a probe of N-FGSM."""

import math
from typing import Any

import keras

from tfdefense.defenses.core.inner_attack import check_new_inner_attack, make_validation_attack
from tfdefense.defenses.core.learned_defense import LearnedDefense
from tfdefense.defenses.core.overfitting_probe import OverfittingProbe
from tfdefense.training.learning_rates import count_rising_steps
from tfdefense.training.task import VALIDATION_IMAGES, Validate


class ProbedDefense(LearnedDefense):
    """Defence that is trained against an inner attack; with N-FGSM, an `OverfittingProbe` watches.

    `prepare` of a subclass calls `prepare_probe`. `make_validator` measures the accuracy under
    `make_validation_attack`.

    Attributes:
      probe: the probe; only with N-FGSM, after `prepare`.
    """

    training_attributes = ("probe",)
    config: Any  # An `InnerAttackConfig` with `schedule`.
    probe: OverfittingProbe

    @property
    def needs_validation(self) -> bool:  # type: ignore[override]
        """True with N-FGSM: only validation shows that a training has collapsed."""
        return self.config.needs_probe

    @property
    def should_stop(self) -> bool:  # type: ignore[override]
        """True if training against N-FGSM has collapsed: see `OverfittingProbe`."""
        return self.config.needs_probe and self.probe.has_collapsed

    def checkpoint_items(self) -> dict[str, Any]:
        probe = {"probe": self.probe} if self.config.needs_probe else {}
        return {**super().checkpoint_items(), **probe}

    def prepare_probe(self, network: keras.Model, optimizer: Any, steps: int) -> None:
        """Create the probe of `network`, if the inner attack needs one.

        Args:
          network: the only network whose weights are used after training.
          optimizer: its optimizer.
          steps: number of steps of the training.
        """
        if self.config.needs_probe:
            ramp_steps = math.ceil(self.config.rising_fraction * steps)
            self.probe = OverfittingProbe(
                network,
                optimizer,
                steps,
                max(ramp_steps, count_rising_steps(self.config.schedule, steps)),
                self.classifier.num_classes,
            )

    def watch_validation(self, validate: Validate, images: int, prefix: str = "") -> Validate:
        if not self.config.needs_probe:
            return validate
        attack = make_validation_attack(self.config, self.classifier.image_shape)
        count = min(images, VALIDATION_IMAGES)
        return self.probe.watch(validate, f"{prefix}accuracy_{attack.name}", count)

    @classmethod
    def check_new_training(cls, config: Any, image_shape: tuple[int, int, int]) -> None:
        super().check_new_training(config, image_shape)
        check_new_inner_attack(config)
