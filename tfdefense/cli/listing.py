"""Everything that has a name on the command line, with one line each: `bin/train --list`."""

from tfdefense.attacks import ATTACKS
from tfdefense.classifiers import CLASSIFIERS
from tfdefense.data import SOURCES
from tfdefense.defenses import DEFENSES

_ALSO = {
    "dataset": {
        "any TFDS name": "mnist, cifar10, fashion_mnist, svhn_cropped, ..., from --data_dir"
    },
    "defense": {"a+b": "defence a and then b, trained side by side, such as bit_depth+apeganpp"},
    "classifier": {
        "a path": "your own .keras or .h5 file, SavedModel directory, or a run directory"
    },
}


def listing() -> str:
    """Datasets, classifiers, attacks and defences, by name."""
    lines = []
    for registry in (SOURCES, CLASSIFIERS, ATTACKS, DEFENSES):
        entries = {name: registry.summary(name) for name in registry.names()}
        entries |= _ALSO.get(registry.kind, {})
        width = max(map(len, entries))
        lines += [f"--{registry.kind}", *(f"  {k:{width}}  {v}" for k, v in entries.items()), ""]
    return "\n".join(lines).rstrip()
