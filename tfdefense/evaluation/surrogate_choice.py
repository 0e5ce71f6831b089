"""Choice of the surrogate gradients that the white-box attacks of an evaluation try."""

from collections.abc import Sequence

from tfdefense.attacks.core.each_surrogate import find_surrogates
from tfdefense.defenses.core.defense import Defense
from tfdefense.errors import require, unknown_name

ALL_SURROGATES = "all"


def check_surrogate_names(names: Sequence[str]) -> None:
    """Raise `UserError` unless `--surrogates` is "all" alone or has at least one name."""
    require(
        len(names) > 0, f"--surrogates: none given; {ALL_SURROGATES} or at least one is needed."
    )
    require(
        ALL_SURROGATES not in names or len(names) == 1,
        f"--surrogates={','.join(names)}: {ALL_SURROGATES} includes the others. Give one or the"
        " other.",
    )


def check_surrogates(names: Sequence[str] | None, defense: Defense) -> None:
    """Raise `UserError` for requested surrogates that the pipeline of a defence does not declare.

    Args:
      names: names in `--surrogates`; None means all.
      defense: the defence, trained or not.
    """
    if names is None:
        return
    shape = defense.classifier.image_shape
    given, found = ",".join(names), find_surrogates(defense.defend(), shape)
    require(
        len(found) > 0,
        f"--surrogates={given}: {defense.name} declares no choice of surrogate gradients. Leave it"
        " out.",
    )
    for name in names:
        if name not in found:
            raise unknown_name("--surrogates", name, found)
    of_classifier = find_surrogates(defense.classifier, shape)
    require(
        not of_classifier or set(of_classifier) & set(names),
        f"--surrogates={given}: the classifier declares {', '.join(of_classifier)}. Add one of them.",
    )


def surrogate_notes(names: Sequence[str] | None, defense: Defense) -> tuple[str, ...]:
    """Return a note if attacks left out surrogates that the defence declares."""
    if names is None:
        return ()
    found = find_surrogates(defense.defend(), defense.classifier.image_shape)
    left_out = [name for name in found if name not in names]
    if not left_out:
        return ()
    return (
        f"The attacks used the surrogate gradients {', '.join(names)} only. Those left out may find"
        f" more: {', '.join(left_out)}.",
    )
