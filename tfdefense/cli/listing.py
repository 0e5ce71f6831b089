"""Every name that the command line knows, one line each: `bin/train --list`."""

from tfdefense.attacks import ATTACKS
from tfdefense.classifiers import CLASSIFIERS
from tfdefense.data import SOURCES
from tfdefense.defenses.registry import DEFENSES

_OTHERS = {
    "dataset": {
        "any TFDS name": "mnist, cifar10, fashion_mnist, svhn_cropped, ..., from --data_dir"
    },
    "defense": {"a+b": "defence a and then b, trained together, such as bit_depth+apeganpp"},
    "attack": {
        "art:NAME, cleverhans:NAME, foolbox:NAME": "an attack of that library, with parameters"
        " after colons (only --attacks)"
    },
    "classifier": {"a path": "a custom .keras or .h5 file, SavedModel directory or run directory"},
}


def registry_listing() -> str:
    """Return datasets, classifiers, attacks and defences by name."""
    lines = []
    for registry in (SOURCES, CLASSIFIERS, ATTACKS, DEFENSES):
        entries = {name: registry.summary(name) for name in registry.names()}
        entries |= _OTHERS.get(registry.kind, {})
        width = max(map(len, entries))
        lines += [f"--{registry.kind}", *(f"  {k:{width}}  {v}" for k, v in entries.items()), ""]
    return "\n".join(lines).rstrip()
