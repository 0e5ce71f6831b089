"""Attacks of the Adversarial Robustness Toolbox (ART) in our reports: `art:NAME:key=value`.

NAME is a class of `art.attacks.evasion`. What is set here and not by the user:
- `eps` is the epsilon of the report. An `eps_step` that is not given keeps its default share of
  `eps`, because ART refuses one that is larger than `eps`.
- `batch_size` is the size of the batch, up to 256. ART's default of 1 makes many attacks slow.
- `norm=inf` is infinity for every attack.
- True labels are passed, except to `SaliencyMapMethod`, which takes them for targets.
"""

import dataclasses
import importlib.util
import inspect
import logging
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
from art.attacks import evasion
from art.attacks.attack import EvasionAttack
from art.exceptions import EstimatorError

from tfdefense.adapters.art import art_classifier
from tfdefense.adapters.parameter_names import (
    check_parameter_names,
    check_parameter_types,
    parameter_defaults,
)
from tfdefense.attacks.core.counted_model import CountedModel
from tfdefense.attacks.core.foreign_attack import ForeignAttack
from tfdefense.attacks.core.foreign_batch import ForeignBatch
from tfdefense.attacks.core.foreign_facts import AttackFacts
from tfdefense.attacks.core.foreign_names import require_attack_name
from tfdefense.attacks.core.foreign_parameters import Value
from tfdefense.errors import UserError, require, short_reason

_RESERVED = ("self", "classifier", "estimator", "targeted", "verbose", "summary_writer")
_MAX_BATCH = 256
_PROBE_SHAPE, _PROBE_CLASSES = (28, 28, 1), 10

# Attacks that cannot be attacks on single images of a classifier.
_REFUSED: Mapping[str, str] = {
    **dict.fromkeys(
        ("AdversarialPatch", "AdversarialPatchNumpy", "AdversarialPatchTensorFlowV2"),
        "returns a patch and no images",
    ),
    **dict.fromkeys(
        ("FeatureAdversariesNumpy", "FeatureAdversariesTensorFlowV2"),
        "needs guide images and the name of a layer",
    ),
    "FrameSaliencyAttack": "attacks videos",
    "GeoDA": "calls np.mat, which NumPy 2 does not have",
    "GRAPHITEBlackbox": "needs images of the target class and a mask",
    "LowProFool": "attacks tables",
    "MalwareGDTensorFlow": "attacks programs",
    "MomentumIterativeMethod": "is disabled by ART for TensorFlow; cleverhans has one",
    "SimBA": "needs a model that returns probabilities",
    "TargetedUniversalPerturbation": "needs a target class for each image",
    "VirtualAdversarialMethod": "needs a model that returns probabilities; foolbox has one",
}
# Modules that ART imports only when the attack runs.
_MODULES: Mapping[str, str] = {"AutoAttack": "multiprocess"}
_EVOLUTION_MODULE = "cma"  # For the attacks with `es`, if it is 0.
# They need an image of the target class.
_UNTARGETED = ("SignOPTAttack",)
_NORMS: Mapping[Any, str] = {"inf": "linf", np.inf: "linf", 2: "l2", 1: "l1"}
# Norms of attacks without a parameter `norm`; the others without one are not in a ball.
_FIXED_NORMS: Mapping[str, str] = {
    "BasicIterativeMethod": "linf",
    "CarliniL0Method": "l0",
    "CarliniL2Method": "l2",
    "CarliniLInfMethod": "linf",
    "BoundaryAttack": "l2",
    "DeepFool": "l2",
    "ElasticNet": "l1",
    "NewtonFool": "l2",
    "SaliencyMapMethod": "l0",
    "SignOPTAttack": "l2",
    "ZooAttack": "l2",
}
_LABELS_ARE_TARGETS = ("SaliencyMapMethod",)
_RATIO_LOSS = "difference_logits_ratio"


@dataclasses.dataclass(frozen=True)
class ArtAttack(ForeignAttack):
    """Attack of `art.attacks.evasion`; see `ForeignAttack` and this module."""

    library: ClassVar[str] = "art"
    distribution: ClassVar[str] = "adversarial-robustness-toolbox"

    @classmethod
    def find_facts(cls, method: str, values: Mapping[str, Value]) -> AttackFacts:
        kind = _find_class(method)
        defaults = parameter_defaults(kind, _RESERVED)
        label = f"art:{method}"
        check_parameter_names(values, [name for name in defaults if name != "eps"], label)
        check_parameter_types(values, kind, label)
        for name, default in defaults.items():
            require(
                default is not inspect.Parameter.empty or name in values,
                f"--attacks={label}: needs {name}, which has no default.",
            )
        _require_modules(method, {**defaults, **values})
        norm = _find_norm(method, {**defaults, **values})
        has_radius = "eps" in defaults and norm != "none"
        _make_attack(kind, _probe_classifier(), values, None)
        uses_ratio = method == "AutoAttack" or values.get("loss_type") == _RATIO_LOSS
        return AttackFacts(
            norm=norm,
            needs_radius=has_radius,
            accepts_radius=has_radius,
            takes_targets=_takes_targets(method, kind),
            min_classes=3 if uses_ratio else 2,
        )

    def generate(self, model: CountedModel, batch: ForeignBatch) -> Any:
        classifier = art_classifier(model, model.image_shape, model.num_classes)
        values = {**self.values, "targeted": batch.targets is not None}
        values.setdefault("batch_size", min(len(batch.images), _MAX_BATCH))
        attack = _make_attack(_find_class(self.method), classifier, values, self.epsilon)
        labels = batch.labels if batch.targets is None else batch.targets
        if batch.targets is None and self.method in _LABELS_ARE_TARGETS:
            return attack.generate(batch.images)
        return attack.generate(batch.images, np.eye(model.num_classes, dtype=np.float32)[labels])


def _find_class(method: str) -> type[EvasionAttack]:
    """Return the class of an attack; raise `UserError` if it is unknown or refused."""
    require_attack_name("art", method)
    reason = "attacks PyTorch models" if method.endswith("PyTorch") else _REFUSED.get(method)
    require(reason is None, f"--attacks=art:{method}: {reason}; choose another.")
    return getattr(evasion, method)


def _takes_targets(method: str, kind: type[EvasionAttack]) -> bool:
    if method in _UNTARGETED:
        return False
    return method in _LABELS_ARE_TARGETS or "targeted" in inspect.signature(kind).parameters


def _require_modules(method: str, values: Mapping[str, Any]) -> None:
    """Raise `UserError` if the attack needs a module that is not installed."""
    needed = _EVOLUTION_MODULE if values.get("es") == 0 else _MODULES.get(method)
    require(
        needed is None or importlib.util.find_spec(needed) is not None,
        f"--attacks=art:{method}: needs the module {needed}. Install it: pip install {needed}",
    )


def _find_norm(method: str, values: Mapping[str, Any]) -> str:
    """Return the norm of an attack with these parameters, or "none"."""
    if method == "Wasserstein":  # Its radius is a transport distance.
        return "none"
    if "norm" in values:
        return _NORMS.get(values["norm"], "none")
    return _FIXED_NORMS.get(method, "none")


def _make_attack(
    kind: type[EvasionAttack], classifier: Any, values: Mapping[str, Any], epsilon: float | None
) -> EvasionAttack:
    """Return ART's attack on a classifier.

    Raises:
      UserError: ART refuses a value, or the attack is not for image classifiers.
    """
    known = inspect.signature(kind).parameters
    arguments = {name: value for name, value in values.items() if name in known}
    if arguments.get("norm") == "inf":
        arguments["norm"] = np.inf
    if epsilon is not None and "eps" in known:
        arguments["eps"] = epsilon
        if "eps_step" in known and "eps_step" not in arguments:
            share = known["eps_step"].default / known["eps"].default
            arguments["eps_step"] = share * epsilon
    if "verbose" in known:
        arguments["verbose"] = False
    logging.getLogger(kind.__module__).setLevel(logging.ERROR)
    try:
        return kind(classifier, **arguments)
    except EstimatorError as error:
        raise UserError(
            f"--attacks=art:{kind.__name__}: attacks other models than image classifiers; choose"
            " another."
        ) from error
    except Exception as error:
        raise UserError(f"--attacks=art:{kind.__name__}: {short_reason(error)}") from error


def _probe_classifier() -> Any:
    """Return a classifier that is never run, with which ART checks values."""

    def logits(images: tf.Tensor) -> tf.Tensor:
        return tf.zeros([tf.shape(images)[0], _PROBE_CLASSES])

    return art_classifier(logits, _PROBE_SHAPE, _PROBE_CLASSES)
