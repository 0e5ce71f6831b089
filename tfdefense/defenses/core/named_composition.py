"""Defences in sequence by name: "a+b" is a class like that of one defence."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, cast

from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.composition import Composition, LearnedComposition, check_order
from tfdefense.defenses.core.defense import Defense
from tfdefense.defenses.core.hyperparameters import hyperparameter
from tfdefense.defenses.core.learned_defense import LearnedDefense
from tfdefense.defenses.registry import DEFENSES
from tfdefense.errors import UserError, require


@functools.cache
def make_composition_class(name: str) -> type[Composition]:
    """Return the class of "a+b", the registered defences a and then b.

    Its configuration has the hyperparameters of all parts; one that several parts have is set for
    all of them. None means the part's default.

    Raises:
      UserError: an unknown name, or an order that `check_order` rejects.
    """
    parts = name.split("+")
    if "" in parts:
        meant = name.replace("++", "pp")
        raise UserError(
            f"--defense={name}: a defence is missing before or after a '+'."
            + (f" Did you mean {meant!r}?" if meant in DEFENSES.names() else "")
            + f" Known: {', '.join(DEFENSES.names())}."
        )
    kinds: list[type[Defense]] = [DEFENSES.get(part) for part in parts]
    check_order(kinds)
    learned: list[type[LearnedDefense]] = [
        kind for kind in kinds if issubclass(kind, LearnedDefense)
    ]
    base: type[Composition] = LearnedComposition if learned else Composition

    def create(self: Composition, classifier: Any, seed: int = 0, **hyperparameters: Any) -> None:
        Defense.__init__(self, classifier, seed, **hyperparameters)
        config = self.config
        parts = [
            kind(self.classifier, seed, **_select_fields(kind, vars(config))) for kind in kinds
        ]
        base.__init__(self, parts, config)

    def default_epochs(cls: type[Composition], train: Split) -> int:
        """Return the number of epochs of the part that needs most."""
        return max(kind.default_epochs(train) for kind in learned)

    def default_batch_size(cls: type[Composition], train: Split) -> int:
        """Return the batch size of the part with the largest batches."""
        return max(kind.default_batch_size(train) for kind in learned)

    def check_new_training(
        cls: type[Composition], config: Any, image_shape: tuple[int, int, int]
    ) -> None:
        """Raise `UserError` if a part may not be trained, or not together with the others."""
        parts = {kind: kind.config_type(**_select_fields(kind, vars(config))) for kind in learned}
        for kind, part in parts.items():
            kind.check_new_training(part, image_shape)
        probed = any(getattr(part, "needs_probe", False) for part in parts.values())
        require(
            not probed or len(parts) == 1,
            f"--inner_attack=nfgsm: --defense={cls.name} trains {len(parts)} parts together, and the"
            " most robust weights are kept of one part only. Give --inner_attack=pgd or fast.",
        )

    members = {
        "__doc__": f"Sequence of {', '.join(kind.name for kind in kinds)}.",
        "__module__": __name__,
        "__init__": create,
        "name": "+".join(kind.name for kind in kinds),
        "config_type": _make_config_type(kinds),
        "is_randomized": any(kind.is_randomized for kind in kinds),
        "check_new_training": classmethod(check_new_training),
        "default_epochs": classmethod(default_epochs),
        "default_batch_size": classmethod(default_batch_size),
    }
    return cast(type[Composition], type("NamedComposition", (base,), members))


def _make_config_type(kinds: Sequence[type[Defense]]) -> type:
    """Return a dataclass with the hyperparameters of all `kinds`, each None by default.

    A default that is not stored (`omit_default`) is None too if it is given: it is no other setting.
    """
    part_fields = [field for kind in kinds for field in dataclasses.fields(kind.config_type)]
    fields = {
        field.name: (field.name, field.type, hyperparameter(None, **field.metadata))
        for field in part_fields
    }

    def check_parts(config: Any) -> None:
        for kind in kinds:
            kind.config_type(**_select_fields(kind, vars(config)))
        for name in fields:
            named = [field for field in part_fields if field.name == name]
            if all(
                field.metadata.get("omit_default") and getattr(config, name) == field.default
                for field in named
            ):
                object.__setattr__(config, name, None)  # The dataclass is frozen.

    return dataclasses.make_dataclass(
        "CompositionConfig",
        fields.values(),
        namespace={"__post_init__": check_parts},
        frozen=True,
    )


def _select_fields(kind: type[Defense], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters of `kind` that have a value."""
    names = [field.name for field in dataclasses.fields(kind.config_type)]
    return {name: values[name] for name in names if values.get(name) is not None}
