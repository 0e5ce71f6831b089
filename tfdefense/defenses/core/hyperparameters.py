"""Hyperparameters of a defence as dataclass fields, and the range checks that several defences share."""

import dataclasses
from typing import Any

from tfdefense.errors import require, unknown_name

SCHEDULES = ("constant", "cosine", "triangle")
SCHEDULE_HELP = (
    "learning rate over time: constant, cosine (to zero) or triangle (up from zero in the first 20 % of"
    " the steps, then down to zero)"
)


WEIGHT_DECAY_HELP = "share of each kernel that is subtracted per step and unit of learning rate"
CLIP_HELP = "largest norm of the generator's gradient in a step; 0 for no limit"


def hyperparameter(default: Any, help: str, *, omit_default: bool = False) -> Any:
    """Return a dataclass field that also becomes a command-line flag.

    Args:
      default: default value.
      help: help text of the flag.
      omit_default: leave the default value out of `stored_hyperparameters` and `config_text`. A
        field that is added to a configuration needs it, so that the settings and fingerprints of
        older runs do not change.
    """
    return dataclasses.field(default=default, metadata={"help": help, "omit_default": omit_default})


def check_strengths(config: Any) -> None:
    """Convert `config.strengths` to a tuple and check it; None is allowed.

    Raises:
      UserError: no strength, or one outside [0, 1].
    """
    if config.strengths is None:
        return
    # The dataclass is frozen.
    object.__setattr__(config, "strengths", tuple(config.strengths))
    require(len(config.strengths) > 0, "--strengths: at least one is needed.")
    for strength in config.strengths:
        require(0 <= strength <= 1, f"--strengths: {strength} given, values in [0, 1] are needed.")


def check_not_negative(config: Any, *names: str) -> None:
    """Raise `UserError` if a hyperparameter of these names is negative."""
    for name in names:
        value = getattr(config, name)
        require(value >= 0, f"--{name}={value}: 0 or more is needed.")


def check_fraction(config: Any, *names: str) -> None:
    """Raise `UserError` if a hyperparameter of these names is outside [0, 1]; None is allowed."""
    for name in names:
        value = getattr(config, name)
        require(
            value is None or 0 <= value <= 1, f"--{name}={value}: a number in [0, 1] is needed."
        )


def check_learning_rate(config: Any) -> None:
    """Raise `UserError` if `learning_rate` is not positive or `schedule` is unknown."""
    rate, schedule = config.learning_rate, config.schedule
    require(rate > 0, f"--learning_rate={rate}: more than 0 is needed.")
    if schedule not in SCHEDULES:
        raise unknown_name("--schedule", schedule, SCHEDULES)


def stored_hyperparameters(config: Any) -> dict[str, Any]:
    """Return name -> value of the hyperparameters that settings and fingerprints contain.

    Args:
      config: a dataclass of `hyperparameter` fields, or another object whose attributes are all
        contained.
    """
    if not dataclasses.is_dataclass(config):
        return dict(vars(config))
    return {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if not field.metadata.get("omit_default") or getattr(config, field.name) != field.default
    }


def config_text(config: Any) -> str:
    """Return `repr(config)` under the class name "Config", of the stored hyperparameters.

    Fingerprints contain this text, so they do not change if a configuration class is renamed.
    """
    if not dataclasses.is_dataclass(config):
        return repr(config)
    values = stored_hyperparameters(config).items()
    return f"Config({', '.join(f'{name}={value!r}' for name, value in values)})"
